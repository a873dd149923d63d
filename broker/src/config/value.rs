//! From text to values, as `ConfigDef.parseType` reads them, and the error when it cannot be done.
//!
//! Not modelled: digits outside ASCII, which Java's number parsers accept.

use super::catalogue::{self, Kind, Property, Scope};
use super::types::CleanupPolicy;
use std::collections::BTreeMap;

/// Properties by name, in Kafka's own strings.
pub type PropertyMap = BTreeMap<String, String>;

/// A value, or a combination of values, with which Kafka would not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} ({scope}): found {found}, allowed is {allowed}")]
pub struct ConfigError {
    /// Where the property is set.
    pub scope: Scope,
    /// Its name. Of a combination: one of the properties that were set.
    pub key: String,
    /// What was found: the text in quotes, with what it collides with, if anything.
    pub found: String,
    /// What is allowed instead.
    pub allowed: String,
}

impl ConfigError {
    /// An error of a property's value that the catalogue can explain by itself.
    fn of(property: &Property, text: &str) -> Self {
        Self::new(
            property.scope,
            property.name,
            quoted(text),
            property.allowed.to_string(),
        )
    }

    /// An error with these words.
    pub(super) fn new(scope: Scope, key: &str, found: String, allowed: String) -> Self {
        Self {
            scope,
            key: key.to_string(),
            found,
            allowed,
        }
    }
}

/// Text as an error shows it: on one line, control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}

/// `String.trim` of Java: everything up to U+0020 is white space, nothing above is.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// Reads one scope's properties from a map, defaults from the catalogue. Each getter panics when
/// the catalogue lacks the name or has it with another type: that is an error of this program.
pub(super) struct Reader<'a> {
    scope: Scope,
    map: &'a PropertyMap,
}

impl<'a> Reader<'a> {
    pub(super) fn new(scope: Scope, map: &'a PropertyMap) -> Self {
        Self { scope, map }
    }

    /// Whether the property was set, as `AbstractConfig.originals().containsKey`.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// The text in force: as set, or the default.
    fn text(&self, property: &'static Property) -> &'a str {
        match self.map.get(property.name) {
            Some(text) => text,
            None => property.default,
        }
    }

    fn property(&self, name: &str) -> &'static Property {
        match catalogue::find(self.scope, name) {
            Some(property) => property,
            None => panic!("the catalogue has no {} property {name}", self.scope),
        }
    }

    fn number(&self, name: &str, min: i64, max: i64) -> Result<i64, ConfigError> {
        let property = self.property(name);
        let text = self.text(property);
        parse_number(property, text, min, max)
    }

    /// A property of type `INT`.
    pub(super) fn int(&self, name: &str) -> Result<i32, ConfigError> {
        let Kind::Int(min) = self.property(name).kind else {
            panic!("{name} is not an INT");
        };
        let value = self.number(name, min.max(i32::MIN.into()), i32::MAX.into())?;
        Ok(i32::try_from(value).expect("the number was checked against the bounds of an i32"))
    }

    /// A property of type `SHORT`.
    pub(super) fn short(&self, name: &str) -> Result<i16, ConfigError> {
        let Kind::Short(min) = self.property(name).kind else {
            panic!("{name} is not a SHORT");
        };
        let value = self.number(name, min.max(i16::MIN.into()), i16::MAX.into())?;
        Ok(i16::try_from(value).expect("the number was checked against the bounds of an i16"))
    }

    /// A property of type `LONG`.
    pub(super) fn long(&self, name: &str) -> Result<i64, ConfigError> {
        let Kind::Long(min) = self.property(name).kind else {
            panic!("{name} is not a LONG");
        };
        self.number(name, min, i64::MAX)
    }

    /// A property of type `LONG` that is nothing unless set.
    pub(super) fn optional_long(&self, name: &str) -> Result<Option<i64>, ConfigError> {
        assert_eq!(self.property(name).default, "null", "{name} has a default");
        if self.is_set(name) {
            self.long(name).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A property of type `INT` that is nothing unless set.
    pub(super) fn optional_int(&self, name: &str) -> Result<Option<i32>, ConfigError> {
        assert_eq!(self.property(name).default, "null", "{name} has a default");
        if self.is_set(name) {
            self.int(name).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A property of type `DOUBLE` from 0 to 1, in millionths, rounded to the nearest.
    pub(super) fn millionths(&self, name: &str) -> Result<u32, ConfigError> {
        let property = self.property(name);
        assert_eq!(property.kind, Kind::Fraction, "{name} is not a DOUBLE");
        let text = self.text(property);
        match trim(text).parse::<f64>() {
            Ok(value) if (0.0..=1.0).contains(&value) => Ok((value * 1e6).round() as u32),
            _ => Err(ConfigError::of(property, text)),
        }
    }

    /// `cleanup.policy`: a list without order, words in lower case (`ConfigDef.ValidList`). Since 4.1
    /// an empty list is legal.
    pub(super) fn cleanup_policy(&self, name: &str) -> Result<CleanupPolicy, ConfigError> {
        let property = self.property(name);
        assert_eq!(property.kind, Kind::CleanupPolicy, "{name} is another list");
        let text = self.text(property);
        let mut policy = CleanupPolicy {
            delete: false,
            compact: false,
        };
        for word in text.split(',').map(trim).filter(|word| !word.is_empty()) {
            match word {
                "delete" => policy.delete = true,
                "compact" => policy.compact = true,
                _ => return Err(ConfigError::of(property, text)),
            }
        }
        Ok(policy)
    }

    /// A time in milliseconds of type `INT`, as the state machines hold times.
    pub(super) fn int_ms(&self, name: &str) -> Result<i64, ConfigError> {
        self.int(name).map(i64::from)
    }

    /// A property of type `BOOLEAN`.
    pub(super) fn boolean(&self, name: &str) -> Result<bool, ConfigError> {
        let property = self.property(name);
        assert_eq!(property.kind, Kind::Boolean, "{name} is not a BOOLEAN");
        let text = self.text(property);
        let trimmed = trim(text);
        if trimmed.eq_ignore_ascii_case("true") {
            Ok(true)
        } else if trimmed.eq_ignore_ascii_case("false") {
            Ok(false)
        } else {
            Err(ConfigError::of(property, text))
        }
    }

    /// A property that is one of several words. The case matters, as in `ConfigDef.ValidString`.
    pub(super) fn one_of(&self, name: &str) -> Result<&'static str, ConfigError> {
        let property = self.property(name);
        let Kind::OneOf(words) = property.kind else {
            panic!("{name} is not one of several words");
        };
        let text = self.text(property);
        words
            .iter()
            .copied()
            .find(|word| *word == trim(text))
            .ok_or_else(|| ConfigError::of(property, text))
    }

    /// A property of type `STRING` without a default: trimmed at both ends, otherwise as given.
    pub(super) fn optional_string(&self, name: &str) -> Option<String> {
        let property = self.property(name);
        assert_eq!(property.kind, Kind::String, "{name} is not a STRING");
        assert_eq!(property.default, "null", "{name} has a default");
        self.map.get(name).map(|text| trim(text).to_string())
    }

    /// The text of a property with a validator of its own, trimmed.
    pub(super) fn trimmed(&self, name: &str) -> &'a str {
        trim(self.text(self.property(name)))
    }

    /// The error that the property's value is not allowed.
    pub(super) fn refuse(&self, name: &str) -> ConfigError {
        let property = self.property(name);
        ConfigError::of(property, self.text(property))
    }

    /// The error that the property's value is not allowed in this combination.
    pub(super) fn refuse_beside(&self, name: &str, beside: &str, allowed: String) -> ConfigError {
        let text = match self.map.get(name) {
            Some(text) => text.as_str(),
            None => self.text(self.property(name)),
        };
        ConfigError::new(
            self.scope,
            name,
            format!("{} beside {beside}", quoted(text)),
            allowed,
        )
    }
}

/// `Integer.parseInt` and its kin after `trim`, then `ConfigDef.Range`.
fn parse_number(
    property: &'static Property,
    text: &str,
    min: i64,
    max: i64,
) -> Result<i64, ConfigError> {
    match trim(text).parse::<i64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(ConfigError::of(property, text)),
    }
}
