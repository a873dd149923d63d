//! Producer and consumer engines: Kafka's Java client as sans-IO state machines.
//!
//! An application calls its engine ([`Call`]) and gets answers ([`Reply`]); the engine speaks only
//! the wire protocol with the brokers.
//!
//! - [`Producer`] `KafkaProducer` with its `RecordAccumulator`, `Sender` and `TransactionManager`
//! - [`Consumer`] `KafkaConsumer` without group membership
//! - `network` `NetworkClient`, `metadata` `Metadata`, `backoff` `ExponentialBackoff`, `alarm` its
//!   one timer: for both

mod alarm;
mod api;
mod backoff;
mod consumer;
#[cfg(test)]
mod harness;
mod metadata;
mod network;
mod producer;

pub use api::*;
pub use consumer::Consumer;
pub use producer::Producer;
