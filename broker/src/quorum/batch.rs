//! Batches of the metadata log: uncompressed, without producer id, keys null but in control batches.

use super::QuorumError;
use super::varint::put_unsigned;
use crate::controller::MetadataRecord;
use crate::ids::{LeaderEpoch, Offset};
use crate::log::{BatchBuilder, BatchHeader, batches, records};
use bytes::{BufMut, Bytes, BytesMut};

/// `ControlRecordType.LEADER_CHANGE`.
const LEADER_CHANGE: i16 = 2;
/// Where the attributes stand, from which on the checksum counts, and where the checksum stands.
const ATTRIBUTES_AT: usize = 21;
const CRC_AT: usize = 17;
const CONTROL_FLAG: i16 = 0x20;

/// One batch of metadata records, in order.
pub(super) fn encode(
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    timestamp_ms: i64,
    records: &[MetadataRecord],
) -> Bytes {
    let mut builder = BatchBuilder::new();
    for record in records {
        builder.append(timestamp_ms, None, Some(&record.encode()), &[]);
    }
    builder.set_base(base_offset, leader_epoch);
    builder.build()
}

/// The control batch that opens an epoch, `LeaderState.appendStartOfEpochControlRecords`: a
/// `LeaderChangeMessage` version 0 with `node` as only voter.
pub(super) fn encode_leader_change(
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    timestamp_ms: i64,
    node: i32,
) -> Bytes {
    let mut key = BytesMut::new();
    key.put_i16(0);
    key.put_i16(LEADER_CHANGE);
    let mut value = BytesMut::new();
    value.put_i16(0);
    value.put_i32(node);
    for _voters_then_granting_voters in 0..2 {
        put_unsigned(&mut value, 2);
        value.put_i32(node);
        put_unsigned(&mut value, 0);
    }
    put_unsigned(&mut value, 0);
    let mut builder = BatchBuilder::new();
    builder.append(timestamp_ms, Some(&key), Some(&value), &[]);
    builder.set_base(base_offset, leader_epoch);
    let mut batch = builder.build().to_vec();
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&CONTROL_FLAG.to_be_bytes());
    let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

/// The first batch in `bytes`, where it is whole and its checksum matches.
pub(super) fn whole(bytes: &[u8]) -> Option<BatchHeader> {
    let header = BatchHeader::next(bytes).ok()??;
    header.check_crc(bytes).ok()?;
    Some(header)
}

/// What [`decode_batches`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedBatches {
    /// Metadata records with their offsets, ascending.
    pub records: Vec<(Offset, MetadataRecord)>,
    /// The offset after the last batch, control batches included, and that batch's epoch: the next
    /// Fetch's `fetch_offset` and `last_fetched_epoch`. `None` where there was no batch.
    pub end: Option<(Offset, LeaderEpoch)>,
}

/// The metadata records of concatenated batches, as a Fetch answers them. Control batches hold no
/// metadata and are passed over.
///
/// # Errors
/// A batch that is cut short or corrupt, and a record that is none of [`MetadataRecord`]'s.
pub fn decode_batches(bytes: &Bytes) -> Result<DecodedBatches, QuorumError> {
    let mut decoded = DecodedBatches {
        records: Vec::new(),
        end: None,
    };
    let mut read = 0;
    for batch in batches(bytes) {
        let batch = batch?;
        batch.header.check_crc(&batch.bytes)?;
        read += batch.bytes.len();
        let epoch = batch.header.partition_leader_epoch;
        decoded.end = Some((batch.header.last_offset() + 1, epoch));
        if batch.header.is_control() {
            continue;
        }
        for record in records(&batch.bytes)? {
            let record = record?;
            let value = record.value.unwrap_or_default();
            let value = MetadataRecord::decode(&value)?;
            decoded.records.push((record.offset, value));
        }
    }
    if read == bytes.len() {
        Ok(decoded)
    } else {
        Err(QuorumError::CutShort(bytes.len() - read))
    }
}
