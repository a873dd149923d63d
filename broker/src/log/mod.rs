//! The partition log: Kafka's own bytes on the disk boundary.
//!
//! - [`batch`] record batch v2: header reader, validation, the broker's patch, iteration
//! - [`record`] the records inside a batch: varints, lazy iterator, builder; `record_ref` read in place
//! - [`epoch`] which leader epoch begins at which offset (KIP-101, KIP-279)
//! - [`producer_state`] idempotent producers: five-batch window, sequences, epochs (KIP-98)
//! - [`checkpoint`] Kafka's checkpoint files and their atomic replacement
//! - [`clean_shutdown`] the marker of an orderly shutdown
//! - [`partition_log`] one replica's log: read, truncate, high watermark, epochs
//! - [`append`] the leader's and the follower's append with their validation
//! - `segment`, `roll` one segment, and when the next one begins
//! - [`retention`] what a log forgets from its front
//! - [`recovery`] loading after a clean and after an unclean end
//! - [`cleaner`] compaction of one log
//! - [`flush`] making a log durable: flushes and the leader-epoch checkpoint
//! - [`codec`] compressed batches: gzip, snappy, lz4, zstd
//! - [`control`] control records: the markers that end transactions
//! - [`index`] offset index and time index of a segment
//! - [`txn_index`] the aborted transactions of a segment
//! - [`snapshot`], `producer_snapshots` the snapshot file of producer state, and when one is written
//! - [`partition_metadata`], [`meta_properties`] whom a folder belongs to
//! - [`inspect`] checks a whole log directory
//! - [`malformed`] what is wrong with a file, and where
//!
//! What is modelled: segments in Kafka's on-disk format; batches are validated record by record,
//! compressed ones too.
//!
//! What is NOT modelled: transactions (their batches count as idempotent data), message formats before v2,
//! `segment.jitter.ms`, preallocation, tiered storage.

pub mod append;
pub mod batch;
pub mod checkpoint;
pub mod clean_shutdown;
pub mod cleaner;
pub mod codec;
pub mod control;
pub mod epoch;
pub mod flush;
pub mod index;
pub mod inspect;
pub mod malformed;
#[cfg(test)]
pub mod memory_disk;
pub mod meta_properties;
pub mod partition_log;
pub mod partition_metadata;
mod producer_snapshots;
pub mod producer_state;
pub mod record;
mod record_ref;
pub mod recovery;
pub mod retention;
mod roll;
mod segment;
pub mod snapshot;
pub mod txn_index;

pub use append::{AppendError, FollowerAppend, LeaderAppend};
pub use batch::{Batch, BatchError, BatchHeader, Batches, batches, patch, records};
pub use checkpoint::{CheckpointProgress, CheckpointWrite, MalformedCheckpoint};
pub use epoch::{EpochEntry, LeaderEpochCache};
pub use flush::FlushProgress;
pub use malformed::{CorruptFile, Malformed};
pub use partition_log::{BatchMetadata, LogBatches, PartitionLog, ReadError};
pub use producer_state::{ProducerStateError, ProducerStateManager};
pub use record::{BatchBuilder, Record, Records};
pub use record_ref::{RecordRef, RecordRefs};
pub use recovery::{LoadFrom, Recovery};
pub use retention::LogStartReason;
pub use segment::DeletedSegment;
