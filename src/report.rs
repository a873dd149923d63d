//! `report`: the results of several runs or shards, merged and rendered again. Nothing is run.

use crate::args::{Format, ReportArguments};
use crate::campaign::{self, Results};
use crate::exit::{Error, Status};
use crate::input;
use crate::output::Output;
use everyack_scenarios::merge::{Source, merge};
use everyack_scenarios::report::Report;
use everyack_scenarios::runner;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Merges what stands in the directories, and judges it as `run` would have judged it whole.
pub fn report(arguments: &ReportArguments) -> Result<Status, Error> {
    apart(&arguments.directories, &arguments.out)?;
    let mut sources = Vec::new();
    let mut saved = Vec::new();
    for directory in &arguments.directories {
        let file = directory.join("report.json");
        let (report, _): (Report, _) = read(&file, "a report.json")?;
        for witness in report.cells.iter().flat_map(|cell| &cell.witnesses) {
            let shrunk = witness.shrunk.as_ref().map(|shrunk| &shrunk.spec);
            for spec in [Some(&witness.spec), shrunk].into_iter().flatten() {
                saved.push((directory, spec.clone()));
            }
        }
        sources.push(Source {
            file: file.display().to_string(),
            report,
        });
    }
    let out = arguments.out.display().to_string();
    let merged =
        merge(&sources, &out, arguments.strict).map_err(|error| Error::Input(error.to_string()))?;
    // The merge has seen that every spec is a plain name under failures/.
    let mut texts = Vec::new();
    let mut failures = BTreeMap::new();
    for (directory, spec) in saved {
        let (failure, text) = read(&directory.join(&spec), "a failure file")?;
        texts.push((spec.clone(), text));
        failures.insert(spec, failure);
    }

    let output = Output::create(&arguments.out)?;
    for (name, text) in &texts {
        output.write(name, text)?;
    }
    for source in sources.iter().filter(|s| s.report.asked.interrupted) {
        eprintln!("everyack: {}: this run was interrupted", source.file);
    }
    let (here, all) = (merged.cells.len(), merged.asked.suite_cells);
    if here < all && arguments.format == Format::Text {
        eprintln!("everyack: {here} of the suite's {all} cells are here");
    }
    let exit = runner::exit(&merged);
    campaign::publish(
        &output,
        &Results {
            report: &merged,
            failures: &failures,
            github: arguments.github,
        },
        arguments.format,
    )?;
    Ok(campaign::status(exit))
}

/// Merging several directories into one of them would destroy what was merged.
fn apart(directories: &[PathBuf], out: &Path) -> Result<(), Error> {
    let Ok(real) = out.canonicalize() else {
        return Ok(()); // not there yet
    };
    let same = |directory: &PathBuf| directory.canonicalize().is_ok_and(|d| d == real);
    match directories.len() > 1 && directories.iter().any(same) {
        true => Err(Error::Input(format!(
            "--out {}: found one of the directories to merge, allowed is another one",
            out.display()
        ))),
        false => Ok(()),
    }
}

/// What a file says, and its text as it stands there.
fn read<T: DeserializeOwned>(path: &Path, kind: &str) -> Result<(T, String), Error> {
    let wrong = |found: String| {
        Error::Input(format!(
            "{}: found {found}, allowed is {kind} as this version of everyack writes it",
            path.display()
        ))
    };
    let bytes = input::read(path)?;
    let text = String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
    let value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    Ok((value, text))
}
