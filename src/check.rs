//! `check`: an operator's own configuration, as a suite of one row.

use crate::args::CheckArguments;
use crate::campaign;
use crate::exit::{Error, Status};
use crate::input::{self, Files};
use everyack_scenarios::report::shell_word;
use everyack_scenarios::suite::{CheckInput, Tolerate, check_suite};
use everyack_sim::fault::Family;

/// Judges the files that are named.
pub fn check(arguments: &CheckArguments) -> Result<Status, Error> {
    let files = input::files(
        &arguments.server,
        arguments.topic.as_deref(),
        arguments.producer.as_deref(),
        arguments.consumer.as_deref(),
    )?;
    let faults = arguments.faults.as_deref().map(families).transpose()?;
    let mut warnings = assumptions(&files, arguments.brokers);
    warnings.extend(files.warnings);
    let input = CheckInput {
        server: files.server,
        topic: files.topic,
        producer: files.producer,
        consumer: files.consumer,
        brokers: arguments.brokers,
        faults,
        tolerate: Tolerate::parse(&arguments.tolerate).map_err(Error::Input)?,
    };
    let mut suite = check_suite(&input).map_err(|error| Error::Input(error.to_string()))?;
    suite.warnings.splice(0..0, warnings);
    campaign::judge(&suite, command(arguments), &arguments.campaign)
}

/// What was asked for, to ask it again.
fn command(arguments: &CheckArguments) -> String {
    let mut words = vec!["everyack check".to_string()];
    let mut add = |flag: &str, value: String| words.push(format!("{flag} {}", shell_word(&value)));
    let files = [
        ("--server", Some(&arguments.server)),
        ("--topic", arguments.topic.as_ref()),
        ("--producer", arguments.producer.as_ref()),
        ("--consumer", arguments.consumer.as_ref()),
    ];
    for (flag, file) in files {
        if let Some(file) = file {
            add(flag, file.display().to_string());
        }
    }
    if let Some(faults) = &arguments.faults {
        add("--faults", faults.clone());
    }
    add("--brokers", arguments.brokers.to_string());
    add("--tolerate", arguments.tolerate.clone());
    words.join(" ")
}

/// Reads `--faults a,b`.
fn families(list: &str) -> Result<Vec<Family>, Error> {
    let family = |name: &str| {
        Family::from_name(name).ok_or_else(|| {
            let allowed = Family::ALL.map(Family::name).join(", ");
            Error::Input(format!(
                "--faults: found \"{name}\", allowed is any of {allowed}"
            ))
        })
    };
    list.split(',').map(str::trim).map(family).collect()
}

/// What is taken for granted because no file says otherwise.
fn assumptions(files: &Files, brokers: u32) -> Vec<String> {
    let mut lines = vec![format!(
        "assumed: {brokers} brokers and one controller, the server file for all of them, and one \
         topic of three partitions"
    )];
    if !files
        .server
        .contains_key("eligible.leader.replicas.version")
    {
        lines.push(
            "assumed: eligible.leader.replicas.version=0, as in a cluster that was upgraded; new \
             clusters since 4.1 have 1, which is not modelled yet"
                .to_string(),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_read_by_their_names_and_a_wrong_one_is_told_with_those_allowed() {
        assert_eq!(
            families("none, leader-crash"),
            Ok(vec![Family::None, Family::LeaderCrash])
        );
        let error = families("leader-crahs").unwrap_err().to_string();
        assert!(
            error.contains("\"leader-crahs\"") && error.contains("leader-crash"),
            "{error}"
        );
    }

    #[test]
    fn what_is_assumed_is_said() {
        let mut files = Files::default();
        assert!(assumptions(&files, 5)[0].contains("5 brokers"));
        assert_eq!(assumptions(&files, 5).len(), 2);
        files.server.insert(
            "eligible.leader.replicas.version".to_string(),
            "0".to_string(),
        );
        assert_eq!(assumptions(&files, 5).len(), 1);
    }
}
