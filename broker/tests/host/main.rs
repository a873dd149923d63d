//! Clusters on loopback sockets and real folders, spoken to in frames.

#![allow(clippy::disallowed_types, clippy::disallowed_methods)] // clocks, threads and files

mod client;
mod hostile;
mod round_trip;
