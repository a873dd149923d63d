//! The system under test: a Kafka broker, its controller and its client engines as pure,
//! synchronous, deterministic state machines. Nothing here knows a clock, a thread, a socket or a
//! file system; the world hands them in through [`env::Env`].
//!
//! - [`wire`] Kafka's requests and responses, typed and as bytes
//! - [`log`] the partition log: record batch v2, epochs, producer state, recovery, flush
//! - [`disk`] the storage boundary
//! - [`replica`] leader and follower roles
//! - [`quorum`] the metadata log
//! - [`controller`] registration, fencing, elections, ISR, leader moves
//! - [`group`] the coordinator of committed offsets
//! - [`client`] producer and consumer engines
//! - [`broker`] one Kafka process; [`lifecycle`] its registration and heartbeats; `requests` its APIs;
//!   `forwarding` what the controller does for it; `shutdown` its orderly end
//! - [`config`] the catalogue of properties
//! - [`channel`] a broker's outgoing connection
//! - [`interleavings`] which of Kafka's operations are several inputs, and why
//! - `host` (with the feature of that name) a broker on a real machine
//! - `sorted_map` where a step looks up connections and partitions
//! - [`bug`] known bugs that can be planted
//! - [`mod@env`] inputs, outputs and what a step may touch; [`fact`] what happened

pub mod broker;
pub mod bug;
pub mod channel;
pub mod client;
pub mod config;
pub mod controller;
pub mod disk;
pub mod env;
pub mod fact;
mod forwarding;
pub mod group;
#[cfg(feature = "host")]
pub mod host;
pub mod ids;
pub mod interleavings;
pub mod lifecycle;
pub mod log;
pub mod quorum;
pub mod replica;
mod requests;
mod shutdown;
mod sorted_map;
#[cfg(test)]
mod test_cluster;
pub mod time;
pub mod wire;
