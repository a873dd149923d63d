//! Suites: what to run.
//!
//! A suite is rows; a row is a named configuration, or a matrix of them; a cell is one configuration
//! under one fault family. Bundled suites are ordinary TOML files, to copy and edit.
//!
//! - [`parse`](fn@parse) a suite from TOML
//! - `check` a suite of one configuration, an operator's own
//! - [`cell`] rows spread out into cells

pub mod cell;
mod check;
mod parse;
mod source;

pub use cell::CellPlan;
pub use check::{CheckInput, Tolerate, check_suite};
pub use parse::parse;

use crate::model::{Application, CellConfigError};
use everyack_broker::bug::Bug;
use everyack_sim::fault::Family;
use everyack_sim::spec::{Properties, PropertyFiles};
use std::collections::BTreeMap;

/// The bundled suites: name and text.
pub const BUNDLED: [(&str, &str); 5] = [
    ("guide", include_str!("../../suites/guide.toml")),
    ("standard", include_str!("../../suites/standard.toml")),
    ("replication", include_str!("../../suites/replication.toml")),
    ("table", include_str!("../../suites/table.toml")),
    ("elections", include_str!("../../suites/elections.toml")),
];

/// The bundled suite of that name, parsed.
///
/// # Errors
/// None in a correct build; a test parses every one of them.
pub fn bundled(name: &str) -> Option<Result<Suite, SuiteError>> {
    let (_, text) = BUNDLED.iter().find(|(bundled, _)| *bundled == name)?;
    Some(parse(&format!("{name}.toml"), text).map(|suite| Suite {
        bundled: true,
        ..suite
    }))
}

/// What to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// One of [`BUNDLED`]: its witnesses and marks are judged at its own seeds per cell.
    pub bundled: bool,
    /// Drawn plans a cell: the batch that rates come from.
    pub seeds: u64,
    /// Cap of the search for a mechanism without a witness, in runs a cell.
    pub search: u64,
    /// Seeds with which a canonical plan is tried.
    pub tries: u64,
    /// Marks that some run must reach.
    pub required_marks: Vec<String>,
    /// The planted bug that the campaign must catch.
    pub canary: Canary,
    /// Timeouts that the suite shortens, under every row.
    pub shortened: PropertyFiles,
    /// Rows, in order.
    pub rows: Vec<Row>,
    /// Families that must be survived whatever the model expects (`check`).
    pub tolerate: Vec<Family>,
    /// One line each: what is legal and may surprise.
    pub warnings: Vec<String>,
}

impl Suite {
    /// Of everything that decides what is run and how it is judged; neither of its name nor of its
    /// warnings, which name files. Two suites with the same fingerprint have the same cells.
    pub fn fingerprint(&self) -> u64 {
        let Suite {
            name: _,
            bundled: _,
            seeds,
            search,
            tries,
            required_marks,
            canary,
            shortened,
            rows,
            tolerate,
            warnings: _,
        } = self;
        let text = format!(
            "{seeds} {search} {tries} {required_marks:?} {canary:?} {shortened:?} {rows:?} {tolerate:?}"
        );
        fnv_1a(&text)
    }
}

/// FNV-1a, 64 bits.
pub(crate) fn fnv_1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A planted bug, and how soon it must be caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canary {
    /// Which.
    pub bug: Bug,
    /// Within so many drawn plans of leader-crash under acks=all.
    pub seeds: u64,
}

impl Default for Canary {
    fn default() -> Canary {
        Canary {
            bug: Bug::AckBeforeReplication,
            seeds: 400,
        }
    }
}

/// A named configuration, or a matrix of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name, unique in the suite.
    pub name: String,
    /// The claim that it shows.
    pub claim: String,
    /// The configurations, in the order of the matrix.
    pub points: Vec<Point>,
    /// Its cells in order: which of the configurations, under which family.
    pub cells: Vec<(usize, Family)>,
    /// The weaker row beside which it stands, under the same plans.
    pub twin: Option<String>,
    /// Brokers.
    pub brokers: u32,
    /// Partitions of the topic.
    pub partitions: i32,
    /// What is sent and by how many.
    pub load: Load,
}

/// One configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// What the row sets, file by file, without the shortened timeouts.
    pub files: PropertyFiles,
    /// The consumer application.
    pub application: Application,
}

/// What is sent, by how many, and how long processing takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// The producer application, by its name in the registry, where it is not one that checks the result
    /// of every send.
    pub producer: Option<&'static str>,
    /// Producer applications.
    pub producers: u32,
    /// Consumer applications.
    pub consumers: u32,
    /// Messages of each producer.
    pub messages: u32,
    /// Bytes of each value.
    pub bytes: u32,
    /// Milliseconds over which a producer spreads them; by default as long as the family's faults
    /// and their outages take at the configured timeouts.
    pub spread_ms: Option<u64>,
    /// Mean microseconds to process a record: 30 ms unless told, a write to a database. Consumers
    /// that are never behind have nothing to lose with the brokers' power.
    pub processing_us: u64,
}

impl Default for Load {
    fn default() -> Load {
        Load {
            producer: None,
            producers: 2,
            consumers: 2,
            messages: 500,
            bytes: 100,
            spread_ms: None,
            processing_us: 30_000,
        }
    }
}

/// An input that cannot be run: one line that names file, line, key, what was found and what is
/// allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {key}: {what}", .line.map_or_else(String::new, |line| format!(":{line}")))]
pub struct SuiteError {
    /// The file.
    pub file: String,
    /// Its line, from 1, where one is to blame.
    pub line: Option<usize>,
    /// The key.
    pub key: String,
    /// What was found, and what is allowed.
    pub what: String,
}

impl SuiteError {
    fn new(file: &str, line: Option<usize>, key: &str, what: String) -> SuiteError {
        SuiteError {
            file: file.to_owned(),
            line,
            key: key.to_owned(),
            what: what.replace('\n', " "),
        }
    }
}

/// The key that a configuration's error is about, and what is wrong with it.
fn explain(error: &CellConfigError) -> (String, String) {
    match error {
        CellConfigError::Property(error) => (
            error.key.clone(),
            format!("found {}, allowed is {}", error.found, error.allowed),
        ),
        other => {
            let text = other.to_string();
            match text.split_once(": ") {
                Some((key, what)) => (key.to_owned(), what.to_owned()),
                None => (String::new(), text),
            }
        }
    }
}

/// What a configuration sets, as one map: a key that two files set to different values carries the
/// file's name.
fn flat(files: &PropertyFiles) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let maps: [(&str, &Properties); 4] = [
        ("broker", &files.broker),
        ("topic", &files.topic),
        ("producer", &files.producer),
        ("consumer", &files.consumer),
    ];
    for (scope, map) in maps {
        for (key, value) in map {
            match all.get(key) {
                Some(other) if other != value => {
                    all.insert(format!("{scope}.{key}"), value.clone());
                }
                _ => {
                    all.insert(key.clone(), value.clone());
                }
            }
        }
    }
    all
}

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
