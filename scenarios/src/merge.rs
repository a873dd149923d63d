//! Several reports of one suite, of its shards or of other parts, into the report that one run gives.
//!
//! A cell is never split between runs: its rates, percentiles and witnesses are taken over as they
//! are, and a cell that two reports hold is refused, since its runs would be the same ones twice.
//! What crosses cells is put together again: the order, the twins, the counts of marks, and whether
//! witnesses and required marks are demanded, which they are once the whole suite is there.

use crate::report::{
    Asked, Canary, Cell, MarkCount, Part, Report, Throughput, Witness, shell_word,
};
use crate::runner::statistics::rounded;
use crate::runner::{judged_again, link_twins};
use std::collections::BTreeMap;

/// A report, and the name of the file it stands in.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// For errors.
    pub file: String,
    /// The report.
    pub report: Report,
}

/// Why reports cannot be merged: one line that names file, key, what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {key}: {what}")]
pub struct MergeError {
    /// The file.
    pub file: String,
    /// The key.
    pub key: String,
    /// What was found, and what is allowed.
    pub what: String,
}

fn wrong(source: &Source, key: &str, what: String) -> MergeError {
    MergeError {
        file: source.file.clone(),
        key: key.to_owned(),
        what,
    }
}

/// Merges reports. Commands that replay a witness name the folder `out`; `strict` demands witnesses
/// and marks even of a part.
///
/// # Errors
/// Without a report; where two are not of the same work or hold the same cell; where one contradicts
/// itself.
pub fn merge(sources: &[Source], out: &str, strict: bool) -> Result<Report, MergeError> {
    let Some((first, others)) = sources.split_first() else {
        return Err(MergeError {
            file: "report".to_owned(),
            key: "DIR".to_owned(),
            what: "found none, allowed is one or more".to_owned(),
        });
    };
    for source in sources {
        consistent(source)?;
    }
    for other in others {
        same_work(first, other)?;
    }
    let mut merged = Report {
        asked: asked(sources, strict),
        canary: canary(sources)?,
        marks: marks(sources),
        warnings: warnings(sources),
        cells: cells(sources)?,
        ..first.report.clone()
    };
    (merged.wall_s, merged.jobs, merged.throughput) = pace(sources);
    if merged.cells.len() == merged.asked.suite_cells {
        merged.asked.parts = Vec::new();
    }
    let demanded = merged.demanded();
    for cell in &mut merged.cells {
        judged_again(cell, demanded);
        for witness in &mut cell.witnesses {
            witness.command = replay_command(out, &witness.spec);
            if let Some(shrunk) = &mut witness.shrunk {
                shrunk.command = replay_command(out, &shrunk.spec);
            }
        }
    }
    link_twins(&mut merged.cells);
    Ok(merged)
}

/// What runs a saved run again, from the folder that the campaign wrote to.
pub fn replay_command(out: &str, spec: &str) -> String {
    let path = format!("{}/{spec}", out.trim_end_matches('/'));
    format!("everyack replay {}", shell_word(&path))
}

/// What a report can say wrong of itself: it was edited, or put together by something else.
fn consistent(source: &Source) -> Result<(), MergeError> {
    let report = &source.report;
    let most = report.asked.suite_cells;
    for cell in &report.cells {
        if cell.index >= most {
            let what = format!(
                "found {}, allowed is less than suite_cells={most}",
                cell.index
            );
            return Err(wrong(source, &format!("cells: {}: index", cell.id), what));
        }
        let shrunk = |witness: &Witness| witness.shrunk.as_ref().map(|run| run.spec.clone());
        let specs = cell.witnesses.iter();
        let specs = specs
            .flat_map(|w| [Some(w.spec.clone()), shrunk(w)])
            .flatten();
        for spec in specs {
            if !spec.strip_prefix("failures/").is_some_and(is_plain) {
                let what = format!("found \"{spec}\", allowed is failures/NAME.json");
                return Err(wrong(source, &format!("cells: {}: spec", cell.id), what));
            }
        }
    }
    Ok(())
}

/// The name of a file that stands in its folder and nowhere else.
fn is_plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.ends_with(".json") && !name.starts_with('.') && name.chars().all(allowed)
}

/// Everything that two reports of parts of one campaign share.
fn same_work(first: &Source, other: &Source) -> Result<(), MergeError> {
    let facts = |source: &Source| -> Vec<(&'static str, String)> {
        let report = &source.report;
        let asked = &report.asked;
        let none = || "none".to_owned();
        vec![
            ("everyack", report.everyack.clone()),
            ("commit", report.commit.clone()),
            ("suite", report.suite.clone()),
            ("seed_base", report.seed_base.clone()),
            ("asked.fingerprint", asked.fingerprint.clone()),
            ("asked.suite_cells", asked.suite_cells.to_string()),
            ("asked.seeds", asked.seeds.to_string()),
            (
                "asked.budget_s",
                asked.budget_s.map_or_else(none, |s| s.to_string()),
            ),
            ("asked.shrink_budget_s", asked.shrink_budget_s.to_string()),
            ("asked.bug", asked.bug.clone().unwrap_or_else(none)),
            ("asked.wire", asked.wire.clone()),
            ("asked.strict", asked.strict.to_string()),
            ("asked.bundled", asked.bundled.to_string()),
        ]
    };
    let differing = facts(first).into_iter().zip(facts(other));
    match differing.into_iter().find(|(here, there)| here != there) {
        None => Ok(()),
        Some(((key, here), (_, there))) => {
            let what = format!("found {there}, allowed is {here} as in {}", first.file);
            Err(wrong(other, key, what))
        }
    }
}

fn asked(sources: &[Source], strict: bool) -> Asked {
    let mut parts: Vec<Part> = Vec::new();
    for part in sources.iter().flat_map(|source| &source.report.asked.parts) {
        if !parts.contains(part) {
            parts.push(part.clone());
        }
    }
    let first = &sources[0].report.asked;
    Asked {
        interrupted: sources.iter().any(|source| source.report.asked.interrupted),
        strict: strict || first.strict,
        parts,
        ..first.clone()
    }
}

/// The same planted bug under the same seeds in every part: one fate. Where a part was interrupted
/// before its canary ran, there is none.
fn canary(sources: &[Source]) -> Result<Option<Canary>, MergeError> {
    let told: Vec<(&Source, &Canary)> = sources
        .iter()
        .filter_map(|source| Some((source, source.report.canary.as_ref()?)))
        .collect();
    let Some((first, canary)) = told.first() else {
        return Ok(None);
    };
    if let Some((other, found)) = told.iter().find(|(_, other)| other != canary) {
        let fate = |canary: &Canary| {
            let caught = if canary.caught { "caught" } else { "missed" };
            format!("{} {caught} after {} seeds", canary.bug, canary.seeds)
        };
        let what = format!(
            "found {}, allowed is {} as in {}: the same seeds have one outcome",
            fate(found),
            fate(canary),
            first.file
        );
        return Err(wrong(other, "canary", what));
    }
    Ok((told.len() == sources.len()).then(|| (*canary).clone()))
}

fn marks(sources: &[Source]) -> Vec<MarkCount> {
    let mut marks: BTreeMap<&str, MarkCount> = BTreeMap::new();
    for mark in sources.iter().flat_map(|source| &source.report.marks) {
        match marks.get_mut(mark.name.as_str()) {
            Some(sum) => {
                sum.runs += mark.runs;
                sum.required |= mark.required;
            }
            None => {
                marks.insert(&mark.name, mark.clone());
            }
        }
    }
    marks.into_values().collect()
}

fn warnings(sources: &[Source]) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for warning in sources.iter().flat_map(|source| &source.report.warnings) {
        if !warnings.contains(warning) {
            warnings.push(warning.clone());
        }
    }
    warnings
}

/// Every cell, in the order of the suite.
fn cells(sources: &[Source]) -> Result<Vec<Cell>, MergeError> {
    let mut cells: BTreeMap<usize, (&Source, &Cell)> = BTreeMap::new();
    for source in sources {
        for cell in &source.report.cells {
            if let Some((other, _)) = cells.insert(cell.index, (source, cell)) {
                let what = format!(
                    "found it in {} too, allowed is each cell once: with one seed base its runs are \
                     the same",
                    other.file
                );
                return Err(wrong(source, &format!("cells: {}", cell.id), what));
            }
        }
    }
    Ok(cells.into_values().map(|(_, cell)| cell.clone()).collect())
}

/// Time spent in all, the most jobs, and the mean pace over that time.
fn pace(sources: &[Source]) -> (f64, usize, Throughput) {
    let reports = || sources.iter().map(|source| &source.report);
    let wall: f64 = reports().map(|report| report.wall_s).sum();
    let mean = |of: fn(&Throughput) -> f64| {
        let amount: f64 = reports().map(|r| of(&r.throughput) * r.wall_s).sum();
        if wall > 0.0 {
            rounded(amount / wall)
        } else {
            0.0
        }
    };
    let throughput = Throughput {
        runs_per_s: mean(|pace| pace.runs_per_s),
        simulated_s_per_s: mean(|pace| pace.simulated_s_per_s),
        messages_per_s: mean(|pace| pace.messages_per_s),
    };
    let jobs = reports().map(|report| report.jobs).max().unwrap_or(0);
    (rounded(wall), jobs, throughput)
}

#[cfg(test)]
mod tests;
