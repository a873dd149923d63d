//! `list`: what can be named on the command line and in suites, with a sentence each.

use crate::args::{Format, ListArguments, Listed};
use crate::exit::{Error, Status};
use crate::output;
use everyack_broker::bug::Bug;
use everyack_broker::config::{Scope, properties};
use everyack_scenarios::bug_bench;
use everyack_scenarios::suite;
use everyack_sim::fault::Family;
use everyack_sim::marks::{self, Mark};
use everyack_sim::mechanism::Mechanism;
use serde_json::{Value, json};
use std::fmt::Write;

/// Prints the list that was asked for.
pub fn list(arguments: &ListArguments) -> Result<Status, Error> {
    let entries = entries(arguments.what);
    let text = match arguments.format {
        Format::Json => pretty(&Value::Array(
            entries.into_iter().map(|entry| entry.json).collect(),
        )),
        Format::Text => entries.into_iter().map(|entry| entry.text).collect(),
    };
    output::print(&text)?;
    Ok(Status::AsPromised)
}

/// One entry, in both formats.
struct Entry {
    text: String,
    json: Value,
}

fn entries(what: Listed) -> Vec<Entry> {
    match what {
        Listed::Suites => suites(),
        Listed::Faults => faults(),
        Listed::Properties => modelled_properties(),
        Listed::Bugs => bugs(),
        Listed::Marks => marks(),
        Listed::Mechanisms => mechanisms(),
    }
}

fn suites() -> Vec<Entry> {
    let bundled = suite::BUNDLED
        .into_iter()
        .filter_map(|(name, _)| suite::bundled(name)?.ok());
    bundled
        .map(|suite| {
            let cells = suite.cells().map_or(0, |cells| cells.len());
            let rows: Vec<Value> = suite
                .rows
                .iter()
                .map(|row| json!({ "name": row.name, "claim": row.claim }))
                .collect();
            let size = format!(
                "{} rows, {cells} cells, {} seeds a cell",
                rows.len(),
                suite.seeds
            );
            let claims: Vec<String> = suite
                .rows
                .iter()
                .map(|row| format!("{}: {}", row.name, row.claim))
                .collect();
            Entry {
                text: paragraph(&suite.name, &size, &claims.join("\n    ")),
                json: json!({
                    "id": suite.name,
                    "cells": cells,
                    "seeds": suite.seeds,
                    "rows": rows,
                }),
            }
        })
        .collect()
}

fn marks() -> Vec<Entry> {
    let entry = |mark: &Mark| Entry {
        text: paragraph(mark.name, mark.sentence, ""),
        json: json!({ "id": mark.name, "sentence": mark.sentence }),
    };
    marks::ALL.iter().map(entry).collect()
}

fn faults() -> Vec<Entry> {
    let entry = |family: Family| Entry {
        text: paragraph(family.name(), family.describe(), ""),
        json: json!({
            "id": family.name(),
            "what": family.describe(),
            "single_fault": family.is_single_fault(),
        }),
    };
    Family::ALL.into_iter().map(entry).collect()
}

fn modelled_properties() -> Vec<Entry> {
    let all = Scope::ALL.into_iter().flat_map(properties);
    all.map(|property| Entry {
        text: paragraph(
            &format!("{} {}", property.scope, property.name),
            property.acts,
            &format!(
                "default {}; allowed: {}",
                property.default, property.allowed
            ),
        ),
        json: json!({
            "id": property.name,
            "scope": property.scope.name(),
            "default": property.default,
            "allowed": property.allowed,
            "acts": property.acts,
            "source": property.source,
        }),
    })
    .collect()
}

/// `seeds_*` and `found_by` are null until they have been measured, and for what nothing finds.
fn bugs() -> Vec<Entry> {
    let measured = bug_bench::table();
    let entry = |bug: Bug| {
        let line = measured
            .iter()
            .find(|line| line.bug == bug && line.found > 0);
        Entry {
            text: paragraph(bug.name(), bug.breaks(), bug.source()),
            json: json!({
                "id": bug.name(),
                "source": bug.source(),
                "breaks": bug.breaks(),
                "found_by": line.and_then(|line| line.found_by.as_ref()),
                "suite": line.map(|line| &line.suite),
                "seeds_median": line.and_then(|line| line.seeds_median),
                "seeds_p90": line.and_then(|line| line.seeds_p90),
            }),
        }
    };
    Bug::ALL.into_iter().map(entry).collect()
}

fn mechanisms() -> Vec<Entry> {
    let entry = |mechanism: Mechanism| Entry {
        text: paragraph(
            &format!("{} {}", mechanism.id(), mechanism.name()),
            mechanism.sentence(),
            mechanism.source(),
        ),
        json: json!({
            "id": mechanism.id(),
            "name": mechanism.name(),
            "sentence": mechanism.sentence(),
            "source": mechanism.source(),
        }),
    };
    Mechanism::ALL.into_iter().map(entry).collect()
}

/// A name, and what there is to say of it on indented lines.
fn paragraph(name: &str, what: &str, more: &str) -> String {
    let mut text = format!("{name}\n");
    for line in [what, more] {
        if !line.is_empty() {
            writeln!(text, "    {line}").expect("a string takes every line");
        }
    }
    text
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a value always serialises");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_has_entries_with_distinct_ids() {
        for what in [
            Listed::Suites,
            Listed::Faults,
            Listed::Properties,
            Listed::Bugs,
            Listed::Marks,
            Listed::Mechanisms,
        ] {
            let mut ids: Vec<String> = entries(what)
                .iter()
                .map(|entry| format!("{}{}", entry.json["scope"], entry.json["id"]))
                .collect();
            assert!(!ids.is_empty(), "{what:?}");
            let all = ids.len();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), all, "{what:?}");
        }
    }

    #[test]
    fn bugs_have_the_fields_that_scripts_rely_on() {
        let bug = &bugs()[0].json;
        for key in [
            "id",
            "source",
            "breaks",
            "found_by",
            "suite",
            "seeds_median",
            "seeds_p90",
        ] {
            assert!(bug.get(key).is_some(), "{key}");
        }
    }
}
