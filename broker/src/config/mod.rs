//! Kafka's properties: the catalogue, typed configurations and their validation.

mod types;

pub use types::*;
