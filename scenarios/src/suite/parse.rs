//! A suite from TOML, with the line of whatever is wrong.
//!
//! Every key is known here; an unknown one is an error, as is a Kafka property that nobody knows. A
//! property that Kafka knows and the simulation does not read is a warning: it changes nothing.

use super::source::{Source, Table};
use super::{Canary, Load, Point, Row, Suite, SuiteError};
use crate::model::Application;
use everyack_broker::bug::Bug;
use everyack_broker::config::{Class, Scope, classify};
use everyack_sim::application::registry;
use everyack_sim::fault::Family;
use everyack_sim::spec::{Properties, PropertyFiles};
use std::collections::BTreeMap;
use toml::de::DeTable;

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
    let load = load(top.table("workload")?, Load::default())?;
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
    for (point, family) in &row.cells {
        suite
            .cell(row, &row.points[*point], *family, 0)
            .map_err(|error| {
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

/// What the table sets, over `load`.
fn load(table: Option<Table<'_>>, mut load: Load) -> Result<Load, SuiteError> {
    let Some(mut table) = table else {
        return Ok(load);
    };
    if let Some(name) = table.text("producer")? {
        let names = || registry::PRODUCERS.map(|entry| entry.name).join(", ");
        let entry = registry::producer(&name);
        let entry = entry.ok_or_else(|| table.wrong("producer", &name, &names()))?;
        load.producer = Some(entry.name);
    }
    load.producers = table.small("producers", 1, 99)?.unwrap_or(load.producers);
    load.consumers = table.small("consumers", 1, 99)?.unwrap_or(load.consumers);
    load.messages = table
        .small("messages", 1, 10_000_000)?
        .unwrap_or(load.messages);
    load.bytes = table.small("bytes", 16, 1_000_000)?.unwrap_or(load.bytes);
    load.spread_ms = table.number("spread-ms", 1)?.or(load.spread_ms);
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
    under: Load,
    warnings: &mut Vec<String>,
    lines: &mut Lines,
) -> Result<Row, SuiteError> {
    let name = table.text("name")?.ok_or_else(|| table.missing("name"))?;
    let claim = table.text("claim")?.ok_or_else(|| table.missing("claim"))?;
    let twin = table.text("twin")?;
    let brokers = table.small("brokers", 1, 99)?.unwrap_or(cluster.0);
    let partitions = table
        .small("partitions", 1, 99)?
        .map_or(cluster.1, |n| n as i32);
    let mut families = Vec::new();
    for name in table.texts("faults")?.unwrap_or_default() {
        families.push(family(table, "faults", &name)?);
    }
    let mut applications = Vec::new();
    let named = table.texts("application")?;
    for name in named.unwrap_or_else(|| vec![Application::CommitAfterProcessing.name().to_owned()])
    {
        applications.push(application(table, "application", &name)?);
    }
    let load = load(table.table("workload")?, under)?;
    let mut files: Vec<PropertyFiles> = vec![PropertyFiles::default()];
    for scope in Scope::ALL {
        for (key, values) in properties(table, scope, warnings, lines)? {
            files = spread(&files, scope, &key, &values);
        }
    }
    let points = files.into_iter().flat_map(|files| {
        applications.iter().map(move |application| Point {
            files: files.clone(),
            application: *application,
        })
    });
    let points: Vec<Point> = points.collect();
    let listed = listed(table, warnings, lines)?;
    table.nothing_else()?;
    if applications.is_empty() {
        return Err(table.wrong("application", "nothing", "one name or more"));
    }
    let (points, cells) = match listed {
        Some(columns) => columns.over(table, points, &families)?,
        None if families.is_empty() => return Err(table.missing("faults")),
        None => {
            let product = (0..points.len())
                .flat_map(|point| families.iter().map(move |family| (point, *family)));
            let product = product.collect();
            (points, product)
        }
    };
    Ok(Row {
        name,
        claim,
        points,
        cells,
        twin,
        brokers,
        partitions,
        load,
    })
}

fn family(table: &Table<'_>, key: &str, name: &str) -> Result<Family, SuiteError> {
    let allowed = || Family::ALL.map(Family::name).join(", ");
    Family::from_name(name).ok_or_else(|| table.wrong(key, name, &allowed()))
}

fn application(table: &Table<'_>, key: &str, name: &str) -> Result<Application, SuiteError> {
    let allowed = || Application::ALL.map(Application::name).join(", ");
    Application::from_name(name).ok_or_else(|| table.wrong(key, name, &allowed()))
}

/// Cells listed one by one, instead of a whole product: `columns` says what each value of a line of
/// `cells` sets.
struct Listed {
    columns: Vec<Column>,
    cells: Vec<(usize, Vec<String>)>,
}

enum Column {
    Faults,
    Application,
    Property(Scope, String),
}

fn listed(
    table: &mut Table<'_>,
    warnings: &mut Vec<String>,
    lines: &mut Lines,
) -> Result<Option<Listed>, SuiteError> {
    let names = table.texts("columns")?;
    let cells = table.lists("cells")?;
    let (names, cells) = match (names, cells) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(table.missing("cells")),
        (None, Some(_)) => return Err(table.missing("columns")),
        (Some(names), Some(cells)) => (names, cells),
    };
    let mut columns = Vec::new();
    for name in &names {
        let scoped = Scope::ALL.into_iter().find_map(|scope| {
            let key = name.strip_prefix(scope.name())?.strip_prefix('.')?;
            Some((scope, key))
        });
        columns.push(match (name.as_str(), scoped) {
            ("faults", _) => Column::Faults,
            ("application", _) => Column::Application,
            (_, Some((scope, key))) => {
                known(table, "columns", scope, key, warnings)?;
                lines.insert((scope, key.to_owned()), table.line_of("columns"));
                Column::Property(scope, key.to_owned())
            }
            _ => {
                let allowed = "faults, application, or a property behind the file that it is of, as producer.acks";
                return Err(table.wrong("columns", name, allowed));
            }
        });
    }
    for (line, cell) in &cells {
        if cell.len() != columns.len() {
            let what = format!(
                "found {} values, allowed is {}, one a column",
                cell.len(),
                columns.len()
            );
            return Err(table.wrong_at(*line, "cells", what));
        }
    }
    Ok(Some(Listed { columns, cells }))
}

/// Configurations, and the cells as the number of one with a family.
type Cells = (Vec<Point>, Vec<(usize, Family)>);

impl Listed {
    /// The configurations and cells that the lines say, over what the row sets for all of them.
    fn over(
        self,
        table: &Table<'_>,
        base: Vec<Point>,
        families: &[Family],
    ) -> Result<Cells, SuiteError> {
        let [base] = base.as_slice() else {
            let allowed = "one value a property and one application: the lines of cells vary them";
            return Err(table.wrong("cells", "a matrix", allowed));
        };
        let mut points: Vec<Point> = Vec::new();
        let mut cells = Vec::new();
        for (line, values) in &self.cells {
            let mut point = base.clone();
            let mut family_of_line = families.to_vec();
            for (column, value) in self.columns.iter().zip(values) {
                match column {
                    Column::Faults => {
                        let named = family(table, "cells", value);
                        family_of_line = vec![named.map_err(|e| SuiteError {
                            line: Some(*line),
                            ..e
                        })?];
                    }
                    Column::Application => {
                        let named = application(table, "cells", value);
                        point.application = named.map_err(|e| SuiteError {
                            line: Some(*line),
                            ..e
                        })?;
                    }
                    Column::Property(scope, key) => {
                        map_of(&mut point.files, *scope).insert(key.clone(), value.clone());
                    }
                }
            }
            if family_of_line.is_empty() {
                return Err(table.missing("faults"));
            }
            let at = points.iter().position(|known| *known == point);
            let at = at.unwrap_or_else(|| {
                points.push(point);
                points.len() - 1
            });
            for family in family_of_line {
                if cells.contains(&(at, family)) {
                    let what = "found a cell a second time, allowed is each once".to_owned();
                    return Err(table.wrong_at(*line, "cells", what));
                }
                cells.push((at, family));
            }
        }
        if cells.is_empty() {
            return Err(table.wrong("cells", "nothing", "one line or more"));
        }
        Ok((points, cells))
    }
}

fn map_of(files: &mut PropertyFiles, scope: Scope) -> &mut Properties {
    match scope {
        Scope::Broker => &mut files.broker,
        Scope::Topic => &mut files.topic,
        Scope::Producer => &mut files.producer,
        Scope::Consumer => &mut files.consumer,
    }
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
            map_of(&mut files, scope).insert(key.to_owned(), value.clone());
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
        known(&map, &key, scope, &key, warnings)?;
        lines.insert((scope, key.clone()), line);
        let values = map.scalars(&key)?;
        if values.is_empty() {
            return Err(map.wrong(&key, "nothing", "one value or more"));
        }
        out.push((key, values));
    }
    Ok(out)
}

/// A property that Kafka knows; one that the simulation does not read is a warning. `at` is the key
/// of the table that names it.
fn known(
    table: &Table<'_>,
    at: &str,
    scope: Scope,
    key: &str,
    warnings: &mut Vec<String>,
) -> Result<(), SuiteError> {
    match classify(scope, key) {
        Class::Known(_) => Ok(()),
        Class::NotModelled => {
            let (file, line) = (table.source.file, table.line_of(at));
            warnings.push(format!(
                "{file}:{line}: {key}: not modelled, changes nothing"
            ));
            Ok(())
        }
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
            Err(table.wrong(at, key, &allowed))
        }
    }
}
