//! Kafka's configuration files: Java `.properties` text with line numbers, held against the
//! catalogue.
//!
//! The syntax is that of `java.util.Properties.load`: `key=value`, `key:value` or `key value`,
//! comments with `#` and `!`, a backslash at the end of a line to continue it, escapes, and the
//! last of several lines with one key counts. Text is UTF-8 where it is valid as such, otherwise
//! Latin-1. Kafka's own tools always read Latin-1, which is the same for ASCII; where it is not,
//! a warning says so.
//!
//! Not modelled: `${provider:path:key}` references (`config.providers`), which stay as they are;
//! and an escaped surrogate pair, which is refused with its line.
//!
//! Nothing here opens a file: the command line reads, and hands in name and bytes.

use everyack_broker::config::{
    BrokerConfig, Class, ConfigError, ConsumerConfig, ProducerConfig, PropertyMap, Scope,
    TopicConfig, Warning, classify, warnings,
};
use java_properties::{LineContent, PropertiesIter};
use std::collections::BTreeMap;

/// Input that is wrong, in one line: file, line, key, what was found and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {}{reason}", key_prefix(key))]
pub struct PropertiesError {
    /// The file's name as it was handed in.
    pub file: String,
    /// The line, counted from 1: of a continued line the first.
    pub line: usize,
    /// The key, where the line could be read that far.
    pub key: Option<String>,
    /// What was found and what is allowed.
    pub reason: String,
}

fn key_prefix(key: &Option<String>) -> String {
    key.as_ref()
        .map_or_else(String::new, |key| format!("{}: ", key.escape_debug()))
}

/// One setting of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Key, unescaped.
    pub key: String,
    /// Value, unescaped; white space at its end is kept, as Java keeps it.
    pub value: String,
    /// The line on which it begins, counted from 1.
    pub line: usize,
}

/// A file that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertiesFile {
    /// The name as it was handed in.
    pub name: String,
    /// Every setting in the file's order, those that a later one overrides too.
    pub entries: Vec<Entry>,
    /// One line each: keys set twice, and text that Kafka would read otherwise.
    pub warnings: Vec<String>,
}

impl PropertiesFile {
    /// The settings that count, in Kafka's own strings.
    pub fn map(&self) -> PropertyMap {
        self.effective()
            .into_iter()
            .map(|(key, entry)| (key.to_string(), entry.value.clone()))
            .collect()
    }

    /// The line of the setting that counts for this key.
    pub fn line(&self, key: &str) -> Option<usize> {
        let entry = self.entries.iter().rev().find(|entry| entry.key == key)?;
        Some(entry.line)
    }

    /// The last entry of each key.
    fn effective(&self) -> BTreeMap<&str, &Entry> {
        self.entries
            .iter()
            .map(|entry| (entry.key.as_str(), entry))
            .collect()
    }

    /// The error of a configuration, with the line of its key. An error always names a key that
    /// was set, since Kafka's defaults are legal together.
    fn error(&self, error: ConfigError) -> PropertiesError {
        let line = self
            .line(&error.key)
            .unwrap_or_else(|| panic!("{}: {} is refused and was never set", self.name, error.key));
        PropertiesError {
            file: self.name.clone(),
            line,
            reason: format!("found {}, allowed is {}", error.found, error.allowed),
            key: Some(error.key),
        }
    }
}

/// Reads `.properties` text. `file_name` is only for messages.
///
/// # Errors
/// A malformed escape, and a byte-order mark, which Java takes for a part of the first key.
pub fn read(file_name: &str, text: &[u8]) -> Result<PropertiesFile, PropertiesError> {
    let mut file = PropertiesFile {
        name: file_name.to_string(),
        entries: Vec::new(),
        warnings: Vec::new(),
    };
    let text = without_comments(&decode(&mut file, text)?);
    for line in PropertiesIter::new_with_encoding(text.as_bytes(), encoding_rs::UTF_8) {
        let line = line.map_err(|error| malformed(file_name, &text, &error))?;
        let number = line.line_number();
        if let LineContent::KVPair(key, value) = line.consume_content() {
            file.add(Entry {
                key,
                value,
                line: number,
            });
        }
    }
    Ok(file)
}

impl PropertiesFile {
    fn add(&mut self, entry: Entry) {
        if let Some(before) = self.line(&entry.key) {
            self.warnings.push(format!(
                "{}:{}: {}: overrides line {before}, as the last setting of a key counts",
                self.name,
                entry.line,
                entry.key.escape_debug()
            ));
        }
        self.entries.push(entry);
    }
}

/// The text of the bytes: UTF-8, or else Latin-1, where every byte is the character of its number.
fn decode(file: &mut PropertiesFile, bytes: &[u8]) -> Result<String, PropertiesError> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(PropertiesError {
            file: file.name.clone(),
            line: 1,
            key: None,
            reason:
                "found a byte-order mark, which Java takes for a part of the first key, allowed is text without one"
                    .to_string(),
        });
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(bytes.iter().copied().map(char::from).collect());
    };
    if let Some(at) = bytes.iter().position(|byte| !byte.is_ascii()) {
        let line = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count();
        file.warnings.push(format!(
            "{}:{line}: read as UTF-8; Kafka's own tools read Latin-1 and see other characters here",
            file.name
        ));
    }
    Ok(text.to_string())
}

/// The same text with empty lines for comments, and a line end at its end.
///
/// The reader of crate `java-properties` unescapes comments and refuses malformed escapes in them
/// (`# C:\users`), where Java skips comments unread; and it drops a last line that ends in a
/// backslash, where Java keeps it. Line numbers stay as they are.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    let mut continues = false;
    for line in natural_lines(text) {
        let blank_before = |c| matches!(c, ' ' | '\t' | '\x0c');
        let comment = !continues
            && line
                .trim_start_matches(blank_before)
                .starts_with(['#', '!']);
        if !comment {
            out.push_str(line);
        }
        out.push('\n');
        let backslashes = line.chars().rev().take_while(|c| *c == '\\').count();
        continues = !comment && backslashes % 2 == 1;
    }
    out
}

/// Lines as Java ends them: at `\n`, `\r` or `\r\n`.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split('\r')
    })
}

/// The error of a line that is no setting. It shows the escape alone: the rest of the line may be a
/// password.
fn malformed(file: &str, text: &str, error: &java_properties::PropertiesError) -> PropertiesError {
    let line = error.line_number().unwrap_or(1);
    let found = natural_lines(text)
        .skip(line - 1)
        .find_map(malformed_escape)
        .unwrap_or_default();
    PropertiesError {
        file: file.to_string(),
        line,
        key: None,
        reason: format!(
            "found the escape \"{}\", allowed is \\u with four hexadecimal digits that are no half of a surrogate pair; a backslash itself is written \\\\",
            found.escape_default()
        ),
    }
}

/// The first escape of a line that is not `\u` and the number of a character.
fn malformed_escape(line: &str) -> Option<String> {
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c != '\\' || rest.next() != Some('u') {
            continue;
        }
        let digits: String = rest.clone().take(4).collect();
        let number = u32::from_str_radix(&digits, 16).ok();
        if digits.chars().count() < 4 || number.and_then(char::from_u32).is_none() {
            return Some(format!("\\u{digits}"));
        }
    }
    None
}

/// A setting that Kafka reads and the simulation does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotModelled {
    /// Key. The value is left out: it may be a password.
    pub key: String,
    /// Line.
    pub line: usize,
    /// What is judged instead, where that needs saying.
    pub note: Option<&'static str>,
}

/// A file whose settings are all legal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The settings that count and that the simulation reads, as the configurations'
    /// `from_properties` take them. Nothing else is in it: the map goes into failure files, and
    /// what is not modelled may be a password.
    pub map: PropertyMap,
    /// One line each, with file and line where one is to blame.
    pub warnings: Vec<String>,
    /// What changes nothing, in the file's order.
    pub not_modelled: Vec<NotModelled>,
}

/// Holds a file against the catalogue: every value, the combinations that Kafka refuses, names
/// that nobody knows.
///
/// # Errors
/// The first setting with which Kafka would not start, or that the simulation cannot stand for
/// (`auto.offset.reset=by_duration:...`).
pub fn check(scope: Scope, file: &PropertiesFile) -> Result<Checked, PropertiesError> {
    let map = file.map();
    validate(scope, &map).map_err(|error| file.error(error))?;
    let odd = warnings(scope, &map).map_err(|error| file.error(error))?;
    let mut checked = Checked {
        warnings: file.warnings.clone(),
        not_modelled: Vec::new(),
        map: PropertyMap::new(),
    };
    let mut effective: Vec<&Entry> = file.effective().into_values().collect();
    effective.sort_by_key(|entry| entry.line);
    for entry in effective {
        match classify(scope, &entry.key) {
            Class::Known(_) => {
                checked.not_modelled.extend(unmodelled_level(entry));
                checked.map.insert(entry.key.clone(), entry.value.clone());
            }
            Class::NotModelled => checked.not_modelled.push(not_modelled(entry, None)),
            Class::Unknown { nearest } => checked.warnings.push(format!(
                "{}:{}: {}: nobody knows this {scope} property; it changes nothing{}",
                file.name,
                entry.line,
                entry.key.escape_debug(),
                nearest.map_or_else(String::new, |meant| match meant.scope == scope {
                    true => format!(" (meant: {}?)", meant.name),
                    false => format!(" ({} is a {} property)", meant.name, meant.scope),
                })
            )),
        }
    }
    checked
        .warnings
        .extend(odd.iter().map(|warning| located(file, warning)));
    Ok(checked)
}

/// Every value and combination that concerns one file.
fn validate(scope: Scope, map: &PropertyMap) -> Result<(), ConfigError> {
    match scope {
        Scope::Broker => BrokerConfig::from_properties(map).map(drop),
        Scope::Topic => {
            let broker = BrokerConfig::from_properties(&PropertyMap::new())?;
            TopicConfig::resolve(&broker, map).map(drop)
        }
        Scope::Producer => ProducerConfig::from_properties(map).map(drop),
        Scope::Consumer => ConsumerConfig::from_properties(map).map(drop),
    }
}

fn not_modelled(entry: &Entry, note: Option<&'static str>) -> NotModelled {
    NotModelled {
        key: entry.key.clone(),
        line: entry.line,
        note,
    }
}

/// A feature level above the one that is simulated.
fn unmodelled_level(entry: &Entry) -> Option<NotModelled> {
    let is_level = matches!(
        entry.key.as_str(),
        "eligible.leader.replicas.version" | "transaction.version"
    );
    (is_level && entry.value.trim() != "0").then(|| not_modelled(entry, Some("judged at 0")))
}

/// A warning with the line of its property, where that was set.
fn located(file: &PropertiesFile, warning: &Warning) -> String {
    match file.line(warning.key) {
        Some(line) => format!("{}:{line}: {warning}", file.name),
        None => format!("{}: {warning}", file.name),
    }
}

#[cfg(test)]
mod tests;
