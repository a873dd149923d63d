//! A suite from TOML, with the line of whatever is wrong.
//!
//! Every key is known here; an unknown one is an error, as is a Kafka property that nobody knows. A
//! property that Kafka knows and the simulation does not read is a warning: it changes nothing.

use super::{Canary, Load, Point, Row, Suite, SuiteError};
use crate::model::Application;
use everyack_broker::bug::Bug;
use everyack_broker::config::{Class, Scope, classify};
use everyack_sim::fault::Family;
use everyack_sim::spec::{Properties, PropertyFiles};
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Drawn plans a cell, unless the suite says.
const SEEDS: u64 = 100;
/// Cap of the search, unless the suite says.
const SEARCH: u64 = 300;
/// Seeds a canonical plan, unless the suite says.
const TRIES: u64 = 8;

/// Reads a suite; `file` is its name in errors.
///
/// # Errors
/// The first thing wrong, on one line with its line, key, what was found and what is allowed.
pub fn parse(file: &str, text: &str) -> Result<Suite, SuiteError> {
    let source = Source { file, text };
    let root = DeTable::parse(text).map_err(|error| {
        let line = error.span().map(|span| source.line(span.start));
        SuiteError::new(file, line, "syntax", error.message().to_owned())
    })?;
    let mut top = Table::of(&source, "", root.get_ref(), root.span().start);
    let mut suite = Suite {
        name: top.text("name")?.ok_or_else(|| top.missing("name"))?,
        bundled: false,
        seeds: top.number("seeds", 1)?.unwrap_or(SEEDS),
        search: top.number("search", 0)?.unwrap_or(SEARCH),
        tries: top.number("tries", 1)?.unwrap_or(TRIES),
        required_marks: top.texts("required-marks")?.unwrap_or_default(),
        canary: canary(top.table("canary")?)?,
        shortened: PropertyFiles::default(),
        rows: Vec::new(),
        tolerate: Vec::new(),
        warnings: Vec::new(),
    };
    top.text("description")?;
    let mut lines = Lines::new();
    suite.shortened = shortened(top.table("shortened")?, &mut suite.warnings, &mut lines)?;
    let cluster = cluster(top.table("cluster")?)?;
    let load = load(top.table("workload")?)?;
    let rows = top.tables("row")?;
    top.nothing_else()?;
    if rows.is_empty() {
        return Err(top.missing("row"));
    }
    for mut table in rows {
        let at = table.line();
        let mut lines = lines.clone();
        let row = row(&mut table, cluster, load, &mut suite.warnings, &mut lines)?;
        if suite.rows.iter().any(|other| other.name == row.name) {
            return Err(table.wrong("name", &row.name, "a name of its own for each row"));
        }
        judgeable(&source, &suite, &row, at, &lines)?;
        suite.rows.push(row);
    }
    twins_exist(&source, &suite)?;
    Ok(suite)
}

/// Line of each property that was set.
type Lines = BTreeMap<(Scope, String), usize>;

/// Every configuration of a row can be judged.
fn judgeable(
    source: &Source<'_>,
    suite: &Suite,
    row: &Row,
    at: usize,
    lines: &Lines,
) -> Result<(), SuiteError> {
    for point in &row.points {
        for family in &row.families {
            suite.cell(row, point, *family, 0).map_err(|error| {
                let line = Scope::ALL
                    .into_iter()
                    .find_map(|scope| lines.get(&(scope, error.key.clone())));
                SuiteError {
                    file: source.file.to_owned(),
                    line: Some(line.copied().unwrap_or(at)),
                    ..error
                }
            })?;
        }
    }
    Ok(())
}

/// Every twin is another row, and no chain of twins returns to its start.
fn twins_exist(source: &Source<'_>, suite: &Suite) -> Result<(), SuiteError> {
    let names = || {
        let names: Vec<&str> = suite.rows.iter().map(|row| row.name.as_str()).collect();
        names.join(", ")
    };
    for row in &suite.rows {
        let mut at = row;
        for _ in 0..suite.rows.len() {
            let Some(twin) = &at.twin else { break };
            at = suite
                .rows
                .iter()
                .find(|other| other.name == *twin)
                .ok_or_else(|| {
                    let what = format!("found \"{twin}\", allowed is of {}", names());
                    SuiteError::new(source.file, source.line_of(twin), "twin", what)
                })?;
        }
        if at.twin.is_some() {
            let what = format!(
                "found a circle at \"{}\", allowed is a weaker row",
                row.name
            );
            return Err(SuiteError::new(source.file, None, "twin", what));
        }
    }
    Ok(())
}

fn canary(table: Option<Table<'_>>) -> Result<Canary, SuiteError> {
    let mut canary = Canary::default();
    let Some(mut table) = table else {
        return Ok(canary);
    };
    if let Some(name) = table.text("bug")? {
        let allowed = || Bug::ALL.map(Bug::name).join(", ");
        canary.bug = Bug::from_name(&name).ok_or_else(|| table.wrong("bug", &name, &allowed()))?;
    }
    if let Some(seeds) = table.number("seeds", 1)? {
        canary.seeds = seeds;
    }
    table.nothing_else()?;
    Ok(canary)
}

fn cluster(table: Option<Table<'_>>) -> Result<(u32, i32), SuiteError> {
    let Some(mut table) = table else {
        return Ok((3, 3));
    };
    let brokers = table.small("brokers", 1, 99)?.unwrap_or(3);
    let partitions = table.small("partitions", 1, 99)?.unwrap_or(3);
    table.nothing_else()?;
    Ok((brokers, partitions as i32))
}

fn load(table: Option<Table<'_>>) -> Result<Load, SuiteError> {
    let mut load = Load::default();
    let Some(mut table) = table else {
        return Ok(load);
    };
    load.producers = table.small("producers", 1, 99)?.unwrap_or(load.producers);
    load.consumers = table.small("consumers", 1, 99)?.unwrap_or(load.consumers);
    load.messages = table
        .small("messages", 1, 10_000_000)?
        .unwrap_or(load.messages);
    load.bytes = table.small("bytes", 16, 1_000_000)?.unwrap_or(load.bytes);
    load.spread_ms = table.number("spread-ms", 1)?;
    load.processing_us = table
        .number("processing-us", 0)?
        .unwrap_or(load.processing_us);
    table.nothing_else()?;
    Ok(load)
}

fn shortened(
    table: Option<Table<'_>>,
    warnings: &mut Vec<String>,
    lines: &mut Lines,
) -> Result<PropertyFiles, SuiteError> {
    let Some(mut table) = table else {
        return Ok(PropertyFiles::default());
    };
    let mut files = PropertyFiles::default();
    for (scope, map) in [
        (Scope::Broker, &mut files.broker),
        (Scope::Producer, &mut files.producer),
        (Scope::Consumer, &mut files.consumer),
    ] {
        for (key, values) in properties(&mut table, scope, warnings, lines)? {
            match values.as_slice() {
                [value] => map.insert(key, value.clone()),
                _ => {
                    return Err(table.wrong(
                        &key,
                        "a list",
                        "one value: nothing spans a matrix here",
                    ));
                }
            };
        }
    }
    table.nothing_else()?;
    Ok(files)
}

fn row(
    table: &mut Table<'_>,
    cluster: (u32, i32),
    load: Load,
    warnings: &mut Vec<String>,
    lines: &mut Lines,
) -> Result<Row, SuiteError> {
    let name = table.text("name")?.ok_or_else(|| table.missing("name"))?;
    let claim = table.text("claim")?.ok_or_else(|| table.missing("claim"))?;
    let twin = table.text("twin")?;
    let brokers = table.small("brokers", 1, 99)?.unwrap_or(cluster.0);
    let mut families = Vec::new();
    for name in table
        .texts("faults")?
        .ok_or_else(|| table.missing("faults"))?
    {
        let allowed = || Family::ALL.map(Family::name).join(", ");
        let family =
            Family::from_name(&name).ok_or_else(|| table.wrong("faults", &name, &allowed()))?;
        families.push(family);
    }
    let mut applications = Vec::new();
    let named = table.texts("application")?;
    for name in named.unwrap_or_else(|| vec![Application::CommitAfterProcessing.name().to_owned()])
    {
        let allowed = || Application::ALL.map(Application::name).join(", ");
        let application = Application::from_name(&name)
            .ok_or_else(|| table.wrong("application", &name, &allowed()))?;
        applications.push(application);
    }
    let mut points: Vec<PropertyFiles> = vec![PropertyFiles::default()];
    for scope in Scope::ALL {
        for (key, values) in properties(table, scope, warnings, lines)? {
            points = spread(&points, scope, &key, &values);
        }
    }
    table.nothing_else()?;
    for (key, empty) in [
        ("faults", families.is_empty()),
        ("application", applications.is_empty()),
    ] {
        if empty {
            return Err(table.wrong(key, "nothing", "one name or more"));
        }
    }
    let points = points
        .into_iter()
        .flat_map(|files| {
            applications.iter().map(move |application| Point {
                files: files.clone(),
                application: *application,
            })
        })
        .collect();
    Ok(Row {
        name,
        claim,
        points,
        families,
        twin,
        brokers,
        partitions: cluster.1,
        load,
    })
}

/// The matrix with one more property: every configuration so far with each of the values.
fn spread(
    points: &[PropertyFiles],
    scope: Scope,
    key: &str,
    values: &[String],
) -> Vec<PropertyFiles> {
    let mut out = Vec::new();
    for point in points {
        for value in values {
            let mut files = point.clone();
            let map: &mut Properties = match scope {
                Scope::Broker => &mut files.broker,
                Scope::Topic => &mut files.topic,
                Scope::Producer => &mut files.producer,
                Scope::Consumer => &mut files.consumer,
            };
            map.insert(key.to_owned(), value.clone());
            out.push(files);
        }
    }
    out
}

/// The properties of one kind of file: key and values, in the order of the keys.
fn properties(
    table: &mut Table<'_>,
    scope: Scope,
    warnings: &mut Vec<String>,
    lines: &mut Lines,
) -> Result<Vec<(String, Vec<String>)>, SuiteError> {
    let Some(mut map) = table.table(scope.name())? else {
        return Ok(Vec::new());
    };
    let mut out = Vec::new();
    for key in map.keys() {
        let line = map.line_of(&key);
        match classify(scope, &key) {
            Class::Known(_) => {}
            Class::NotModelled => warnings.push(format!(
                "{}:{line}: {key}: not modelled, changes nothing",
                map.source.file
            )),
            Class::Unknown { nearest } => {
                let allowed = match nearest {
                    Some(meant) if meant.scope == scope => {
                        format!("a {scope} property of Kafka (meant: {}?)", meant.name)
                    }
                    Some(meant) => format!(
                        "a {scope} property of Kafka ({} is a {} property)",
                        meant.name, meant.scope
                    ),
                    None => format!("a {scope} property of Kafka"),
                };
                return Err(map.wrong(&key, &key, &allowed));
            }
        }
        lines.insert((scope, key.clone()), line);
        let values = map.scalars(&key)?;
        if values.is_empty() {
            return Err(map.wrong(&key, "nothing", "one value or more"));
        }
        out.push((key, values));
    }
    Ok(out)
}

/// The text, to find lines in.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

impl Source<'_> {
    /// Line (from 1) of a byte.
    fn line(&self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Line of `twin = "NAME"`.
    fn line_of(&self, twin: &str) -> Option<usize> {
        let wanted = format!("\"{twin}\"");
        let mut lines = self.text.lines();
        let at =
            lines.position(|line| line.trim_start().starts_with("twin") && line.contains(&wanted));
        at.map(|at| at + 1)
    }
}

/// A table from which keys are taken; what is left is unknown.
struct Table<'a> {
    source: &'a Source<'a>,
    path: String,
    table: &'a DeTable<'a>,
    start: usize,
    taken: Vec<String>,
}

impl<'a> Table<'a> {
    fn of(source: &'a Source<'a>, path: &str, table: &'a DeTable<'a>, start: usize) -> Table<'a> {
        Table {
            source,
            path: path.to_owned(),
            table,
            start,
            taken: Vec::new(),
        }
    }

    fn line(&self) -> usize {
        self.source.line(self.start)
    }

    fn full(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    fn keys(&self) -> Vec<String> {
        self.table
            .keys()
            .map(|key| key.get_ref().to_string())
            .collect()
    }

    fn line_of(&self, key: &str) -> usize {
        let found = self.table.keys().find(|k| k.get_ref().as_ref() == key);
        found.map_or(self.line(), |key| self.source.line(key.span().start))
    }

    fn wrong(&self, key: &str, found: &str, allowed: &str) -> SuiteError {
        let line = self.line_of(key);
        let what = format!("found \"{found}\", allowed is {allowed}");
        SuiteError::new(self.source.file, Some(line), &self.full(key), what)
    }

    fn missing(&self, key: &str) -> SuiteError {
        let what = "found nothing, allowed is a value: the key must be there".to_owned();
        SuiteError::new(self.source.file, Some(self.line()), &self.full(key), what)
    }

    fn take(&mut self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.taken.push(key.to_owned());
        self.table
            .iter()
            .find(|(k, _)| k.get_ref().as_ref() == key)
            .map(|(_, value)| value)
    }

    fn nothing_else(&self) -> Result<(), SuiteError> {
        match self
            .keys()
            .into_iter()
            .find(|key| !self.taken.contains(key))
        {
            Some(key) => Err(self.wrong(&key, &key, &self.taken.join(", "))),
            None => Ok(()),
        }
    }

    fn text(&mut self, key: &str) -> Result<Option<String>, SuiteError> {
        match self.take(key).map(Spanned::get_ref) {
            None => Ok(None),
            Some(DeValue::String(text)) => Ok(Some(text.to_string())),
            Some(other) => Err(self.wrong(key, other.type_str(), "a string")),
        }
    }

    fn number(&mut self, key: &str, least: u64) -> Result<Option<u64>, SuiteError> {
        let allowed = format!("a whole number of {least} or more");
        match self.take(key).map(Spanned::get_ref) {
            None => Ok(None),
            Some(DeValue::Integer(number)) => {
                match u64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(value) if value >= least => Ok(Some(value)),
                    _ => Err(self.wrong(key, number.as_str(), &allowed)),
                }
            }
            Some(other) => Err(self.wrong(key, other.type_str(), &allowed)),
        }
    }

    fn small(&mut self, key: &str, least: u64, most: u64) -> Result<Option<u32>, SuiteError> {
        match self.number(key, least)? {
            Some(value) if value > most => {
                let allowed = format!("{least} to {most}");
                Err(self.wrong(key, &value.to_string(), &allowed))
            }
            value => Ok(value.map(|value| u32::try_from(value).expect("bounds fit u32"))),
        }
    }

    /// One string, or a list of strings.
    fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, SuiteError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let one = |value: &DeValue<'_>| match value {
            DeValue::String(text) => Ok(text.to_string()),
            other => Err(self.wrong(key, other.type_str(), "a string, or a list of strings")),
        };
        match value.get_ref() {
            DeValue::Array(list) => {
                let texts: Result<Vec<String>, SuiteError> =
                    list.iter().map(|item| one(item.get_ref())).collect();
                texts.map(Some)
            }
            value => one(value).map(|text| Some(vec![text])),
        }
    }

    /// A property's value or values, as Kafka would read them from a file.
    fn scalars(&mut self, key: &str) -> Result<Vec<String>, SuiteError> {
        let one = |table: &Table<'_>, value: &DeValue<'_>| match value {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) => Ok(number.to_string()),
            DeValue::Boolean(value) => Ok(value.to_string()),
            other => {
                let allowed = "a string, a whole number, true or false, or a list of them";
                Err(table.wrong(key, other.type_str(), allowed))
            }
        };
        match self.take(key).map(Spanned::get_ref) {
            None => Ok(Vec::new()),
            Some(DeValue::Array(list)) => {
                list.iter().map(|item| one(self, item.get_ref())).collect()
            }
            Some(value) => one(self, value).map(|text| vec![text]),
        }
    }

    fn table(&mut self, key: &str) -> Result<Option<Table<'a>>, SuiteError> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => Ok(Some(Table::of(
                    self.source,
                    &self.full(key),
                    table,
                    value.span().start,
                ))),
                other => Err(self.wrong(key, other.type_str(), "a table")),
            },
        }
    }

    fn tables(&mut self, key: &str) -> Result<Vec<Table<'a>>, SuiteError> {
        let list = match self.take(key).map(Spanned::get_ref) {
            None => return Ok(Vec::new()),
            Some(DeValue::Array(list)) => list,
            Some(other) => return Err(self.wrong(key, other.type_str(), "[[row]] tables")),
        };
        list.iter()
            .map(|item| match item.get_ref() {
                DeValue::Table(table) => Ok(Table::of(self.source, key, table, item.span().start)),
                other => Err(self.wrong(key, other.type_str(), "[[row]] tables")),
            })
            .collect()
    }
}
