//! Producer and consumer engines: Kafka's Java client as sans-IO state machines.
//!
//! An application calls its engine ([`Call`]) and gets answers ([`Reply`]); the engine speaks only
//! the wire protocol with the brokers.

mod api;

pub use api::*;
