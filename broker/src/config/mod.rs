//! Kafka's properties: the catalogue, typed configurations and their validation.
//!
//! - [`catalogue`] names, types, defaults, bounds, and where each acts
//! - `names` the names that Kafka knows and the simulation does not read
//! - `value` from text to values, and [`ConfigError`]
//! - `resolve` `from_properties` of the typed configurations, with Kafka's rules between them
//! - `types` the typed configurations
//! - `warnings` what is legal and yet not what it seems

pub mod catalogue;
mod names;
mod resolve;
mod types;
mod value;
mod warnings;

pub use catalogue::{
    Class, Kind, Property, Scope, Suggestion, broker_synonym, classify, find, properties,
};
pub use types::*;
pub use value::{ConfigError, PropertyMap};
pub use warnings::{Warning, topic_warnings, warnings};

#[cfg(test)]
mod tests;
