//! The real world around a broker: what the simulation does in `everyack-sim`, on a machine.
//!
//! - [`cluster`] brokers and their controller in one process, on sockets and folders
//! - `node` a thread that steps one of them; `telling` its log lines
//! - `connection` clients from outside; [`wire`] what they speak, at all its versions
//! - [`data_dir`] where the nodes keep what they have; [`disk`] files below one folder, with real syncs
//!
//! Not modelled: several processes to a cluster (nodes of one process talk through channels), TLS, SASL,
//! quotas.

#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // clocks, threads and files are here

pub mod cluster;
mod connection;
pub mod data_dir;
pub mod disk;
mod node;
mod telling;
pub mod wire;

pub use cluster::{Cluster, HostError, Settings};
pub use data_dir::DataDir;

/// The message of a panic.
fn message_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_string()
}
