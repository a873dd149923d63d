//! The controller: registration and fencing of brokers, elections, ISR changes, leader moves.
//!
//! - [`record`] what the metadata log consists of, [`record_codec`] its bytes; [`image`] what it adds
//!   up to, in every broker too
//! - [`controller`] the process: its queue, its sessions, its purgatory
//! - `replication` and `partition_change` the rules of elections and ISRs; `create_topics` those of
//!   new topics; `heartbeat` those of sessions and controlled shutdowns

mod admin;
#[allow(clippy::module_inception)] // the process is the module's noun
pub mod controller;
mod create_topics;
mod heartbeat;
pub mod image;
mod partition_change;
pub mod record;
pub mod record_codec;
mod replication;

pub use admin::*;
pub use controller::Controller;
pub use create_topics::topic_name_error;
pub use image::*;
pub use record::*;
pub use record_codec::RecordError;
