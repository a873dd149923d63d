//! Offsets by time: `UnifiedLog.fetchOffsetByTimestamp`.
//!
//! Kafka looks for the first batch whose largest timestamp is not below the one asked for, by segment,
//! time index and then batch by batch, and for the first record in it that is not below either. What
//! batches there are is in memory here, so that one look at the disk is enough.

use crate::disk::Disk;
use crate::ids::*;
use crate::log::{BatchMetadata, PartitionLog, codec};
use crate::wire::ErrorCode;

/// The most bytes that a batch may decompress to.
const DECOMPRESSED_MAX: usize = 256 << 20;

/// What is found, as ListOffsets tells it: timestamp, offset, epoch.
type Found = (i64, Offset, LeaderEpoch);

/// Nothing, which is no error.
const NONE: Found = (-1, -1, NO_EPOCH);

/// The first record from the log start on whose timestamp is not below this one, if it lies below
/// `upper_bound`.
pub(super) fn at_or_after(
    timestamp: i64,
    log: &PartitionLog,
    upper_bound: Offset,
    disk: &dyn Disk,
) -> Result<Found, ErrorCode> {
    let batches = log.batches_metadata_from(log.log_start_offset());
    let mut late = batches.iter().filter(|b| b.max_timestamp >= timestamp);
    // The log may begin in the middle of its first batch, behind the record that is late enough.
    while let Some(batch) = late.next().filter(|b| b.base_offset < upper_bound) {
        let found = first_in(batch, timestamp, log, disk)?;
        if let Some((timestamp, offset)) = found {
            let is_below = offset < upper_bound;
            let found = (timestamp, offset, batch.leader_epoch);
            return Ok(if is_below { found } else { NONE });
        }
    }
    Ok(NONE)
}

/// The first record with the largest timestamp (`MAX_TIMESTAMP`, KIP-734), if it lies below
/// `upper_bound`.
pub(super) fn of_largest(
    log: &PartitionLog,
    upper_bound: Offset,
    disk: &dyn Disk,
) -> Result<Found, ErrorCode> {
    let batches = log.batches_metadata_from(log.log_start_offset());
    match batches.iter().map(|b| b.max_timestamp).max() {
        Some(largest) if largest >= 0 => at_or_after(largest, log, upper_bound, disk),
        _ => Ok(NONE),
    }
}

fn first_in(
    batch: &BatchMetadata,
    timestamp: i64,
    log: &PartitionLog,
    disk: &dyn Disk,
) -> Result<Option<(i64, Offset)>, ErrorCode> {
    let start = log.log_start_offset();
    let from = batch.base_offset.max(start);
    let bytes = log
        .read(from, 0, batch.last_offset + 1, disk, true)
        .map_err(|_| ErrorCode::KafkaStorageError)?;
    let records = codec::records(&bytes, DECOMPRESSED_MAX);
    for record in records.map_err(|_| ErrorCode::CorruptMessage)? {
        let record = record.map_err(|_| ErrorCode::CorruptMessage)?;
        if record.timestamp >= timestamp && record.offset >= start {
            return Ok(Some((record.timestamp, record.offset)));
        }
    }
    Ok(None)
}
