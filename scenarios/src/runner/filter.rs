//! `--filter`: only some cells.

use crate::suite::CellPlan;
use std::fmt;

/// Terms that a cell must all match; none matches every cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter(Vec<(String, String)>);

impl Filter {
    /// Reads `acks=all,faults=leader-crash`: the keys are `row`, `faults`, `application`, and Kafka's
    /// names as rows set them.
    ///
    /// # Errors
    /// One line, where a term is no `key=value`.
    pub fn parse(text: &str) -> Result<Filter, String> {
        let terms = text.split(',').filter(|term| !term.trim().is_empty());
        terms
            .map(|term| match term.split_once('=') {
                Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
                None => Err(format!(
                    "--filter: found \"{term}\", allowed is key=value with row, faults, application or a property as the key"
                )),
            })
            .collect::<Result<_, String>>()
            .map(Filter)
    }

    /// Whether it leaves every cell.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the command line has it: `acks=all,faults=leader-crash`.
    pub fn text(&self) -> String {
        let terms: Vec<String> = self.0.iter().map(|(k, v)| format!("{k}={v}")).collect();
        terms.join(",")
    }

    /// Whether a cell matches.
    pub fn matches(&self, cell: &CellPlan) -> bool {
        self.0.iter().all(|(key, value)| match key.as_str() {
            "row" => cell.row == *value,
            "faults" => cell.family.name() == value,
            "application" => cell.application() == value,
            property => cell.config.get(property) == Some(value),
        })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.text())
    }
}
