//! Leader and follower roles of a broker's replicas.
//!
//! - [`partition`] one replica: ISR, high watermark, roles
//! - [`manager`] all of them, and what metadata and the scheduler do to them (`ReplicaManager`)
//! - [`roles`] which of them lead and follow
//! - [`produce`] appending as leader, waiting for the ISR
//! - [`alter_partition`] proposals of an ISR on their way to the controller
//! - [`fetch`] reading as leader, waiting for data; `offset_by_time` finding a record by its time
//! - `delete_records` deleting from the front as leader, waiting for followers to do the same
//! - [`fetcher`], [`follow`] copying from leaders (`ReplicaFetcherThread`); `answers` what they gave,
//!   `start_anew` where a copy begins elsewhere
//! - `durability` flushes, checkpoints, and what a failing disk does
//! - `locks` who waits for a flush, and in which order
//! - `leader_hint` who leads instead
//! - [`purgatory`] requests that wait

pub mod alter_partition;
mod answers;
mod compaction;
mod delete_records;
mod durability;
pub mod fetch;
pub mod fetcher;
pub mod follow;
mod leader_hint;
mod locks;
pub mod manager;
mod offset_by_time;
pub mod partition;
#[cfg(test)]
mod planted;
pub mod produce;
pub mod purgatory;
pub mod roles;
mod start_anew;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traps;

pub use manager::ReplicaManager;
pub use partition::Partition;
