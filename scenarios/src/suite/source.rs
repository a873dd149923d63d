//! A suite's text: tables whose keys are taken one by one, with the line of whatever is wrong.

use super::SuiteError;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The text, to find lines in.
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// Line (from 1) of a byte.
    pub(super) fn line(&self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// Line of `twin = "NAME"`.
    pub(super) fn line_of(&self, twin: &str) -> Option<usize> {
        let wanted = format!("\"{twin}\"");
        let mut lines = self.text.lines();
        let at =
            lines.position(|line| line.trim_start().starts_with("twin") && line.contains(&wanted));
        at.map(|at| at + 1)
    }
}

/// A table from which keys are taken; what is left is unknown.
pub(super) struct Table<'a> {
    pub(super) source: &'a Source<'a>,
    path: String,
    table: &'a DeTable<'a>,
    start: usize,
    taken: Vec<String>,
}

/// Lists of values, each with its line.
type Lists = Vec<(usize, Vec<String>)>;

impl<'a> Table<'a> {
    pub(super) fn of(
        source: &'a Source<'a>,
        path: &str,
        table: &'a DeTable<'a>,
        start: usize,
    ) -> Table<'a> {
        Table {
            source,
            path: path.to_owned(),
            table,
            start,
            taken: Vec::new(),
        }
    }

    pub(super) fn line(&self) -> usize {
        self.source.line(self.start)
    }

    fn full(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.table
            .keys()
            .map(|key| key.get_ref().to_string())
            .collect()
    }

    pub(super) fn line_of(&self, key: &str) -> usize {
        let found = self.table.keys().find(|k| k.get_ref().as_ref() == key);
        found.map_or(self.line(), |key| self.source.line(key.span().start))
    }

    pub(super) fn wrong(&self, key: &str, found: &str, allowed: &str) -> SuiteError {
        let line = self.line_of(key);
        let what = format!("found \"{found}\", allowed is {allowed}");
        SuiteError::new(self.source.file, Some(line), &self.full(key), what)
    }

    pub(super) fn wrong_at(&self, line: usize, key: &str, what: String) -> SuiteError {
        SuiteError::new(self.source.file, Some(line), &self.full(key), what)
    }

    pub(super) fn missing(&self, key: &str) -> SuiteError {
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

    pub(super) fn nothing_else(&self) -> Result<(), SuiteError> {
        match self
            .keys()
            .into_iter()
            .find(|key| !self.taken.contains(key))
        {
            Some(key) => Err(self.wrong(&key, &key, &self.taken.join(", "))),
            None => Ok(()),
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, SuiteError> {
        match self.take(key).map(Spanned::get_ref) {
            None => Ok(None),
            Some(DeValue::String(text)) => Ok(Some(text.to_string())),
            Some(other) => Err(self.wrong(key, other.type_str(), "a string")),
        }
    }

    pub(super) fn number(&mut self, key: &str, least: u64) -> Result<Option<u64>, SuiteError> {
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

    pub(super) fn small(
        &mut self,
        key: &str,
        least: u64,
        most: u64,
    ) -> Result<Option<u32>, SuiteError> {
        match self.number(key, least)? {
            Some(value) if value > most => {
                let allowed = format!("{least} to {most}");
                Err(self.wrong(key, &value.to_string(), &allowed))
            }
            value => Ok(value.map(|value| u32::try_from(value).expect("bounds fit u32"))),
        }
    }

    /// One string, or a list of strings.
    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, SuiteError> {
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
    pub(super) fn scalars(&mut self, key: &str) -> Result<Vec<String>, SuiteError> {
        match self.take(key).map(Spanned::get_ref) {
            None => Ok(Vec::new()),
            Some(DeValue::Array(list)) => {
                let values = list.iter().map(|item| self.scalar(key, item.get_ref()));
                values.collect()
            }
            Some(value) => self.scalar(key, value).map(|text| vec![text]),
        }
    }

    fn scalar(&self, key: &str, value: &DeValue<'_>) -> Result<String, SuiteError> {
        match value {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) => Ok(number.to_string()),
            DeValue::Boolean(value) => Ok(value.to_string()),
            other => {
                let allowed = "a string, a whole number, true or false, or a list of them";
                Err(self.wrong(key, other.type_str(), allowed))
            }
        }
    }

    /// A list of lists of values, each with its line.
    pub(super) fn lists(&mut self, key: &str) -> Result<Option<Lists>, SuiteError> {
        let list = match self.take(key).map(Spanned::get_ref) {
            None => return Ok(None),
            Some(DeValue::Array(list)) => list,
            Some(other) => return Err(self.wrong(key, other.type_str(), "a list of lists")),
        };
        let one = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
            DeValue::Array(values) => {
                let line = self.source.line(item.span().start);
                let values = values.iter().map(|value| self.scalar(key, value.get_ref()));
                Ok((line, values.collect::<Result<_, SuiteError>>()?))
            }
            other => Err(self.wrong(key, other.type_str(), "a list of lists")),
        };
        list.iter().map(one).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn table(&mut self, key: &str) -> Result<Option<Table<'a>>, SuiteError> {
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

    pub(super) fn tables(&mut self, key: &str) -> Result<Vec<Table<'a>>, SuiteError> {
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
