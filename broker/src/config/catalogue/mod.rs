//! The catalogue of Kafka's properties: what each is called, what it defaults to, which values
//! Kafka accepts, and where it acts in the simulation.
//!
//! Names, types, defaults and bounds are those of Kafka 4.1's `ConfigDef`s; each entry names the
//! class that defines it. A property is in the tables of this module only when the simulation
//! reads it. Every other name that Kafka knows is in `names` and is *not modelled*: it
//! is reported, and changes nothing.
//!
//! Not modelled here: types `CLASS` and `PASSWORD` (no modelled property has one),
//! importance, dynamic update modes, and the documentation texts.

mod broker;
mod consumer;
mod producer;
mod topic;

use super::names;
use std::fmt;

/// Which of Kafka's files, or entities, a property belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `server.properties`, of brokers and controllers.
    Broker,
    /// A topic's own settings, as `kafka-configs` and `kafka-topics --config` take them.
    Topic,
    /// `producer.properties`.
    Producer,
    /// `consumer.properties`.
    Consumer,
}

impl Scope {
    /// All scopes, in the order in which they are listed.
    pub const ALL: [Scope; 4] = [
        Scope::Broker,
        Scope::Topic,
        Scope::Producer,
        Scope::Consumer,
    ];

    /// The scope as one lower-case word.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Broker => "broker",
            Scope::Topic => "topic",
            Scope::Producer => "producer",
            Scope::Consumer => "consumer",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The type of a property with its validator, as `ConfigDef.Type` and `ConfigDef.Validator`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `INT`: 32 bits, at least this.
    Int(i64),
    /// `LONG`: 64 bits, at least this.
    Long(i64),
    /// `SHORT`: 16 bits, at least this.
    Short(i64),
    /// `BOOLEAN`: `true` or `false` in any case.
    Boolean,
    /// `STRING` without a validator.
    String,
    /// `STRING`, exactly one of these (`ConfigDef.ValidString`).
    OneOf(&'static [&'static str]),
    /// `auto.offset.reset` (`AutoOffsetResetStrategy.Validator`).
    OffsetReset,
    /// `DOUBLE` from 0 to 1.
    Fraction,
    /// `LIST` of `delete` and `compact`.
    CleanupPolicy,
}

/// A property that the simulation reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Property {
    /// Kafka's name.
    pub name: &'static str,
    /// Where it is set.
    pub scope: Scope,
    /// Type and validator.
    pub kind: Kind,
    /// The default as Kafka writes it; `null` where there is none.
    pub default: &'static str,
    /// One phrase: bounds, or the allowed values.
    pub allowed: &'static str,
    /// The class of Kafka that defines it.
    pub source: &'static str,
    /// One sentence: where it acts in the simulation.
    pub acts: &'static str,
}

/// What the catalogue says of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The simulation reads it.
    Known(&'static Property),
    /// Kafka knows it in this scope, and the simulation does not read it.
    NotModelled,
    /// Kafka does not know it in this scope.
    Unknown {
        /// The name that was probably meant, in this scope or in another.
        nearest: Option<Suggestion>,
    },
}

/// A name that an unknown one probably stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suggestion {
    /// The known name.
    pub name: &'static str,
    /// The scope in which Kafka knows it.
    pub scope: Scope,
}

/// The modelled properties of one scope, sorted by name.
pub fn properties(scope: Scope) -> &'static [Property] {
    match scope {
        Scope::Broker => broker::PROPERTIES,
        Scope::Topic => topic::PROPERTIES,
        Scope::Producer => producer::PROPERTIES,
        Scope::Consumer => consumer::PROPERTIES,
    }
}

/// The modelled property of this name, if it is one.
pub fn find(scope: Scope, name: &str) -> Option<&'static Property> {
    properties(scope).iter().find(|p| p.name == name)
}

/// What Kafka, and the simulation, make of a name in a scope.
pub fn classify(scope: Scope, name: &str) -> Class {
    if let Some(property) = find(scope, name) {
        return Class::Known(property);
    }
    if names::not_modelled(scope, name) {
        return Class::NotModelled;
    }
    Class::Unknown {
        nearest: nearest(scope, name),
    }
}

/// Topic properties and the broker properties that set their defaults, where the two names differ
/// (`ServerTopicConfigSynonyms.ALL_TOPIC_CONFIG_SYNONYMS`, modelled ones only).
const TOPIC_SYNONYMS: &[(&str, &str)] = &[
    ("cleanup.policy", "log.cleanup.policy"),
    ("delete.retention.ms", "log.cleaner.delete.retention.ms"),
    ("file.delete.delay.ms", "log.segment.delete.delay.ms"),
    ("flush.messages", "log.flush.interval.messages"),
    ("flush.ms", "log.flush.interval.ms"),
    ("index.interval.bytes", "log.index.interval.bytes"),
    ("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
    ("max.message.bytes", "message.max.bytes"),
    (
        "message.timestamp.after.max.ms",
        "log.message.timestamp.after.max.ms",
    ),
    (
        "message.timestamp.before.max.ms",
        "log.message.timestamp.before.max.ms",
    ),
    ("message.timestamp.type", "log.message.timestamp.type"),
    (
        "min.cleanable.dirty.ratio",
        "log.cleaner.min.cleanable.ratio",
    ),
    ("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"),
    ("retention.bytes", "log.retention.bytes"),
    ("retention.ms", "log.retention.ms"),
    ("segment.bytes", "log.segment.bytes"),
    ("segment.index.bytes", "log.index.size.max.bytes"),
    ("segment.ms", "log.roll.ms"),
];

/// The broker property that sets a topic property's default.
pub fn broker_synonym(topic: &str) -> &str {
    let synonym = TOPIC_SYNONYMS.iter().find(|(name, _)| *name == topic);
    synonym.map_or(topic, |(_, broker)| broker)
}

/// The known name that an unknown one probably stands for: the same setting under the name that
/// this scope has for it, then the same name in another scope, then the name at the smallest edit
/// distance, of this scope first. Beyond a quarter of the name's length (2 at least, 6 at most)
/// nothing is suggested.
fn nearest(scope: Scope, name: &str) -> Option<Suggestion> {
    for (topic, broker) in TOPIC_SYNONYMS {
        if scope == Scope::Broker && name == *topic {
            return Some(Suggestion {
                name: broker,
                scope,
            });
        }
        if scope == Scope::Topic && name == *broker {
            return Some(Suggestion { name: topic, scope });
        }
    }
    let limit = (name.chars().count() / 4).clamp(2, 6);
    let mut best: Option<(usize, Suggestion)> = None;
    let others = Scope::ALL.into_iter().filter(|other| *other != scope);
    for candidate_scope in std::iter::once(scope).chain(others) {
        let modelled = properties(candidate_scope).iter().map(|p| p.name);
        for candidate in modelled.chain(names::listed(candidate_scope)) {
            let distance = strsim::osa_distance(name, candidate);
            if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
                best = Some((
                    distance,
                    Suggestion {
                        name: candidate,
                        scope: candidate_scope,
                    },
                ));
            }
        }
    }
    best.map(|(_, suggestion)| suggestion)
}

/// The least 64-bit number, for a property whose `ConfigDef` has no lower bound.
const ANY: i64 = i64::MIN;

/// The phrase for a number of a type with a lower bound. Every phrase in use is listed, so that
/// the tables stay constants; a bound without one does not compile.
const fn number(kind: Kind) -> &'static str {
    match kind {
        Kind::Int(ANY) => "a 32-bit integer",
        Kind::Int(0) => "a 32-bit integer, at least 0",
        Kind::Int(1) => "a 32-bit integer, at least 1",
        Kind::Int(4) => "a 32-bit integer, at least 4",
        Kind::Int(1_048_576) => "a 32-bit integer, at least 1048576",
        Kind::Int(1024) => "a 32-bit integer, at least 1024",
        Kind::Long(ANY) => "a 64-bit integer",
        Kind::Long(-1) => "a 64-bit integer, at least -1",
        Kind::Long(0) => "a 64-bit integer, at least 0",
        Kind::Long(1) => "a 64-bit integer, at least 1",
        Kind::Short(1) => "a 16-bit integer, at least 1",
        _ => panic!("no phrase for this type and bound"),
    }
}

/// An entry for a property of number type. `where_acts` is (class of Kafka, where it acts).
const fn numeric(
    scope: Scope,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    where_acts: (&'static str, &'static str),
) -> Property {
    Property {
        name,
        scope,
        kind,
        default,
        allowed: number(kind),
        source: where_acts.0,
        acts: where_acts.1,
    }
}

/// An entry for a boolean property. `where_acts` is (class of Kafka, where it acts).
const fn boolean(
    scope: Scope,
    name: &'static str,
    default: &'static str,
    where_acts: (&'static str, &'static str),
) -> Property {
    Property {
        name,
        scope,
        kind: Kind::Boolean,
        default,
        allowed: "true or false",
        source: where_acts.0,
        acts: where_acts.1,
    }
}

#[cfg(test)]
mod tests;
