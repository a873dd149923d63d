//! What the user hands in: suites, `.properties` files and failure files. Wrong input is one line that names file,
//! line, key, what was found and what is allowed; it is told before anything runs.

use crate::exit::Error;
use everyack_broker::config::{BrokerConfig, PropertyMap, Scope, topic_warnings};
use everyack_scenarios::failure::Failure;
use everyack_scenarios::model::CellConfig;
use everyack_scenarios::properties::{self, Checked};
use everyack_scenarios::suite::{self, Suite};
use everyack_sim::fault::Family;
use std::path::Path;

/// The suite of that name, or in that file.
pub fn suite(named: &str) -> Result<Suite, Error> {
    if let Some(bundled) = suite::bundled(named) {
        return bundled
            .map_err(|error| Error::Testbed(format!("a bundled suite is wrong: {error}")));
    }
    let path = Path::new(named);
    if path.extension().is_none() && !path.exists() {
        let names: Vec<&str> = suite::BUNDLED.iter().map(|(name, _)| *name).collect();
        let allowed = format!("{}, or a path to a .toml", names.join(", "));
        return Err(Error::Input(format!(
            "SUITE: found \"{named}\", allowed is {allowed}"
        )));
    }
    let bytes = read(path)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::Input(format!(
            "{named}: found a byte that is no UTF-8 at {at}, allowed is a TOML file"
        ))
    })?;
    suite::parse(named, &text).map_err(|error| Error::Input(error.to_string()))
}

/// A failure file that can be run.
pub fn failure(file: &Path) -> Result<Failure, Error> {
    let bytes = read(file)?;
    let wrong = |what: String| {
        let allowed = "allowed is a failure file as everyack writes it";
        Error::Input(format!("{}: {what}; {allowed}", file.display()))
    };
    let failure: Failure =
        serde_json::from_slice(&bytes).map_err(|error| wrong(format!("found {error}")))?;
    let spec = &failure.spec;
    if Family::from_name(&spec.family).is_none() {
        return Err(wrong(format!("spec.family: found \"{}\"", spec.family)));
    }
    CellConfig::new(&spec.topology, &spec.properties, &spec.applications)
        .map_err(|error| wrong(format!("spec: found {error}")))?;
    Ok(failure)
}

/// The files of `check`, and what is to be said of them.
#[derive(Debug, Default)]
pub struct Files {
    /// server.properties.
    pub server: PropertyMap,
    /// The topic's settings.
    pub topic: PropertyMap,
    /// producer.properties.
    pub producer: PropertyMap,
    /// consumer.properties.
    pub consumer: PropertyMap,
    /// One line each.
    pub warnings: Vec<String>,
}

/// Reads the files of `check`; one that was not given sets nothing.
pub fn files(
    server: &Path,
    topic: Option<&Path>,
    producer: Option<&Path>,
    consumer: Option<&Path>,
) -> Result<Files, Error> {
    let mut warnings = Vec::new();
    let mut take = |scope, path: Option<&Path>| -> Result<PropertyMap, Error> {
        let Some(path) = path else {
            return Ok(PropertyMap::new());
        };
        let checked = property_file(scope, path)?;
        warnings.extend(said_of(path, &checked));
        Ok(checked.map)
    };
    let server = take(Scope::Broker, Some(server))?;
    let topic_file = topic;
    let topic = take(Scope::Topic, topic_file)?;
    let producer = take(Scope::Producer, producer)?;
    let consumer = take(Scope::Consumer, consumer)?;
    if let Some(path) = topic_file {
        warnings.extend(said_of_topic(path, &server, &topic)?);
    }
    Ok(Files {
        server,
        topic,
        producer,
        consumer,
        warnings,
    })
}

/// Reads a server.properties alone; says what is to be said of it, a line each.
pub fn server(path: &Path) -> Result<(PropertyMap, Vec<String>), Error> {
    let checked = property_file(Scope::Broker, path)?;
    let warnings = said_of(path, &checked);
    Ok((checked.map, warnings))
}

fn property_file(scope: Scope, path: &Path) -> Result<Checked, Error> {
    let bytes = read(path)?;
    let name = path.display().to_string();
    properties::read(&name, &bytes)
        .and_then(|file| properties::check(scope, &file))
        .map_err(|error| Error::Input(error.to_string()))
}

/// The warnings of one file, and what in it changes nothing: each key with its line, in one line.
fn said_of(path: &Path, checked: &Checked) -> Vec<String> {
    let mut lines = checked.warnings.clone();
    let keys: Vec<String> = checked
        .not_modelled
        .iter()
        .map(|setting| match setting.note {
            Some(note) => format!("{} (line {}, {note})", setting.key, setting.line),
            None => format!("{} (line {})", setting.key, setting.line),
        })
        .collect();
    if !keys.is_empty() {
        let path = path.display();
        lines.push(format!(
            "{path}: not modelled, so it changes nothing here: {}",
            keys.join(", ")
        ));
    }
    lines
}

fn said_of_topic(
    path: &Path,
    server: &PropertyMap,
    topic: &PropertyMap,
) -> Result<Vec<String>, Error> {
    let broker = BrokerConfig::from_properties(server).map_err(input)?;
    let replicas = broker.default_replication_factor;
    let warnings = topic_warnings(&broker, topic, replicas).map_err(input)?;
    let path = path.display();
    Ok(warnings
        .iter()
        .map(|warning| format!("{path}: {warning}"))
        .collect())
}

fn input(error: impl std::fmt::Display) -> Error {
    Error::Input(error.to_string())
}

/// The bytes of a file.
#[allow(clippy::disallowed_methods)] // the command line reads what the user names
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path)
        .map_err(|error| Error::Input(format!("{}: cannot be read: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_that_nobody_knows_names_those_that_there_are() {
        let error = suite("giude").unwrap_err().to_string();
        assert!(
            error.contains("\"giude\"") && error.contains("standard"),
            "{error}"
        );
        let error = suite("nowhere/my.toml").unwrap_err();
        assert!(
            matches!(&error, Error::Input(line) if line.starts_with("nowhere/my.toml: ")),
            "{error}"
        );
    }

    #[test]
    fn every_bundled_suite_reads_by_its_name() {
        for (name, _) in suite::BUNDLED {
            assert_eq!(suite(name).unwrap().name, name);
        }
    }
}
