//! Record batch v2 as bytes (`DefaultRecordBatch`; the layout is in Kafka's protocol guide).
//!
//! A batch is encoded once by its producer and stays the same bytes on every replica; a broker
//! patches only the base offset and the leader epoch, which the checksum does not cover. Corrupt
//! bytes are errors, never panics.

use crate::ids::{LeaderEpoch, NO_EPOCH, NO_PRODUCER_ID, Offset, ProducerId};
use crate::log::record::{Records, parse_record};
use bytes::Bytes;

/// `LOG_OVERHEAD`: bytes of base offset and length, which the length does not count.
pub const LOG_OVERHEAD: usize = 12;
/// `RECORD_BATCH_OVERHEAD`: bytes before the first record.
pub const HEADER_BYTES: usize = 61;
/// `HEADER_SIZE_UP_TO_MAGIC`: fewer bytes than this are not looked at.
const HEADER_SIZE_UP_TO_MAGIC: usize = 17;
/// `LegacyRecord.RECORD_OVERHEAD_V0`: a smaller length is corrupt in every format.
const RECORD_OVERHEAD_V0: i32 = 14;
/// The only message format of Kafka 4 (KIP-724).
pub const MAGIC_V2: i8 = 2;
/// A batch without producer epoch.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// A batch without sequence.
pub const NO_SEQUENCE: i32 = -1;
/// `RecordBatch.NO_TIMESTAMP`.
pub const NO_TIMESTAMP: i64 = -1;

const LENGTH_AT: usize = 8;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
/// First byte that the checksum covers.
pub(super) const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;

const COMPRESSION_MASK: i16 = 0x07;
const LOG_APPEND_TIME_FLAG: i16 = 0x08;
pub(super) const TRANSACTIONAL_FLAG: i16 = 0x10;
pub(super) const CONTROL_FLAG: i16 = 0x20;
const DELETE_HORIZON_FLAG: i16 = 0x40;

/// What is wrong with a batch's bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end inside the header.
    #[error("batch header needs {HEADER_BYTES} bytes, {0} are there")]
    ShortHeader(usize),
    /// The length field is below what a batch needs, or differs from the bytes given.
    #[error("batch length {0} is not valid")]
    Length(i32),
    /// A format other than v2.
    #[error("batch magic {0} is not 2")]
    Magic(i8),
    /// The checksum does not match.
    #[error("batch crc is {stored:#010x}, its bytes give {computed:#010x}")]
    Crc {
        /// As the header says.
        stored: u32,
        /// Over the bytes from `attributes` on.
        computed: u32,
    },
    /// The records are compressed, which only [`codec`](crate::log::codec) reads.
    #[error("batch is compressed with codec {0}")]
    Compressed(i16),
    /// A record's bytes make no sense.
    #[error("record at byte {at} of the batch: {what}")]
    Record {
        /// Position within the batch.
        at: usize,
        /// Which field, and how.
        what: &'static str,
    },
}

/// The 61 bytes before a batch's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the fields of Kafka's record batch, in its order
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Bytes behind the length field; the whole batch is 12 bytes longer.
    pub batch_length: i32,
    pub partition_leader_epoch: LeaderEpoch,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: ProducerId,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

#[inline]
fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

#[inline]
fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

#[inline]
fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, of which the records may be missing.
    #[inline]
    pub fn read(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        // Of known length, so that no field is checked for being there.
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::ShortHeader(bytes.len()));
        };
        let header = BatchHeader {
            base_offset: i64_at(bytes, 0),
            batch_length: i32_at(bytes, LENGTH_AT),
            partition_leader_epoch: i32_at(bytes, LEADER_EPOCH_AT),
            magic: bytes[MAGIC_AT] as i8,
            crc: i32_at(bytes, CRC_AT) as u32,
            attributes: i16_at(bytes, ATTRIBUTES_AT),
            last_offset_delta: i32_at(bytes, 23),
            base_timestamp: i64_at(bytes, 27),
            max_timestamp: i64_at(bytes, MAX_TIMESTAMP_AT),
            producer_id: i64_at(bytes, PRODUCER_ID_AT),
            producer_epoch: i16_at(bytes, PRODUCER_EPOCH_AT),
            base_sequence: i32_at(bytes, BASE_SEQUENCE_AT),
            record_count: i32_at(bytes, 57),
        };
        if header.magic != MAGIC_V2 {
            return Err(BatchError::Magic(header.magic));
        }
        if header.batch_length < (HEADER_BYTES - LOG_OVERHEAD) as i32 {
            return Err(BatchError::Length(header.batch_length));
        }
        Ok(header)
    }

    /// The next whole batch at the start of `bytes`; `None` where they end before it does. The order
    /// of the checks is that of `FileLogInputStream.nextBatch`.
    #[inline]
    pub fn next(bytes: &[u8]) -> Result<Option<BatchHeader>, BatchError> {
        if bytes.len() < HEADER_SIZE_UP_TO_MAGIC {
            return Ok(None);
        }
        let length = i32_at(bytes, LENGTH_AT);
        if length < RECORD_OVERHEAD_V0 {
            return Err(BatchError::Length(length));
        }
        if bytes.len() - LOG_OVERHEAD < length as usize {
            return Ok(None);
        }
        if bytes.len() < HEADER_BYTES {
            return Err(BatchError::Length(length));
        }
        BatchHeader::read(bytes).map(Some)
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        LOG_OVERHEAD + self.batch_length as usize
    }

    /// Offset of the last record; wraps on nonsense, as in Java.
    pub fn last_offset(&self) -> Offset {
        self.base_offset
            .wrapping_add(i64::from(self.last_offset_delta))
    }

    /// Whether an idempotent producer wrote it.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// Sequence of the last record, -1 without sequence.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        increment_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// Compression codec, 0 for none.
    pub fn compression(&self) -> i16 {
        self.attributes & COMPRESSION_MASK
    }

    /// Whether the broker's clock stamped it.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME_FLAG != 0
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_FLAG != 0
    }

    /// Whether it holds markers instead of data.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_FLAG != 0
    }

    /// When its tombstones, or its marker, may go (KIP-534): milliseconds of the wall clock. It stands
    /// in the place of the base timestamp.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON_FLAG != 0).then_some(self.base_timestamp)
    }

    pub(super) fn set_delete_horizon(&mut self, has: bool) {
        self.attributes &= !DELETE_HORIZON_FLAG;
        if has {
            self.attributes |= DELETE_HORIZON_FLAG;
        }
    }

    /// The checksum that stands in an encoded batch.
    pub(super) fn crc_of(batch: &[u8]) -> u32 {
        i32_at(batch, CRC_AT) as u32
    }

    /// Checks the checksum over the whole batch at the start of `bytes` (`ensureValid`).
    pub fn check_crc(&self, bytes: &[u8]) -> Result<(), BatchError> {
        let size = self.size();
        if bytes.len() < size {
            return Err(BatchError::Length(self.batch_length));
        }
        let computed = crc32c::crc32c(&bytes[ATTRIBUTES_AT..size]);
        if computed != self.crc {
            let stored = self.crc;
            return Err(BatchError::Crc { stored, computed });
        }
        Ok(())
    }

    pub(super) fn write(&self, out: &mut [u8]) {
        let out = out
            .first_chunk_mut::<HEADER_BYTES>()
            .expect("a buffer begins with room for the header");
        out[..8].copy_from_slice(&self.base_offset.to_be_bytes());
        out[LENGTH_AT..12].copy_from_slice(&self.batch_length.to_be_bytes());
        out[LEADER_EPOCH_AT..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        out[MAGIC_AT] = self.magic as u8;
        out[CRC_AT..21].copy_from_slice(&self.crc.to_be_bytes());
        out[ATTRIBUTES_AT..23].copy_from_slice(&self.attributes.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[MAX_TIMESTAMP_AT..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[PRODUCER_ID_AT..51].copy_from_slice(&self.producer_id.to_be_bytes());
        out[PRODUCER_EPOCH_AT..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[BASE_SEQUENCE_AT..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..HEADER_BYTES].copy_from_slice(&self.record_count.to_be_bytes());
    }

    /// The header that a producer gives a batch before the broker patches it.
    pub(super) fn of_producer() -> BatchHeader {
        BatchHeader {
            base_offset: 0,
            batch_length: 0,
            partition_leader_epoch: NO_EPOCH,
            magic: MAGIC_V2,
            crc: 0,
            attributes: 0,
            last_offset_delta: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            record_count: 0,
        }
    }
}

/// `DefaultRecordBatch.incrementSequence`: sequences wrap from `i32::MAX` to 0.
pub fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    if sequence > i32::MAX.wrapping_sub(increment) {
        return increment
            .wrapping_sub(i32::MAX.wrapping_sub(sequence))
            .wrapping_sub(1);
    }
    sequence.wrapping_add(increment)
}

/// `DefaultRecordBatch.decrementSequence`, the inverse.
pub fn decrement_sequence(sequence: i32, decrement: i32) -> i32 {
    if sequence < decrement {
        return i32::MAX
            .wrapping_sub(decrement.wrapping_sub(sequence))
            .wrapping_add(1);
    }
    sequence.wrapping_sub(decrement)
}

/// Stamps a batch as the leader does. The checksum begins at byte 21 and stays valid.
///
/// # Panics
/// Where `batch` is shorter than its header: the caller has validated it.
pub fn patch(batch: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) {
    assert!(
        batch.len() >= HEADER_BYTES,
        "patch of {} bytes",
        batch.len()
    );
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[LEADER_EPOCH_AT..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Replaces the max timestamp, whose it is, and the checksum (`DefaultRecordBatch.setMaxTimestamp`).
pub(super) fn set_max_timestamp(batch: &mut [u8], max_timestamp: i64, log_append_time: bool) {
    if log_append_time {
        batch[ATTRIBUTES_AT + 1] |= LOG_APPEND_TIME_FLAG as u8;
    }
    batch[MAX_TIMESTAMP_AT..43].copy_from_slice(&max_timestamp.to_be_bytes());
    rewrite_crc(batch);
}

/// Gives an encoded batch another producer id, epoch and sequence, and its new checksum: what the
/// producer does to its unsent batches when its epoch is bumped (`resetProducerState`, KIP-360).
///
/// # Panics
/// Where `batch` is shorter than its header.
pub fn set_producer_state(batch: &mut [u8], id: ProducerId, epoch: i16, base_sequence: i32) {
    batch[PRODUCER_ID_AT..51].copy_from_slice(&id.to_be_bytes());
    batch[PRODUCER_EPOCH_AT..53].copy_from_slice(&epoch.to_be_bytes());
    batch[BASE_SEQUENCE_AT..57].copy_from_slice(&base_sequence.to_be_bytes());
    rewrite_crc(batch);
}

pub(super) fn rewrite_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..21].copy_from_slice(&crc.to_be_bytes());
}

/// One batch of several, as a slice of their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its header.
    pub header: BatchHeader,
    /// The whole batch.
    pub bytes: Bytes,
}

/// The batches in `bytes`, one after the other. A batch cut off at the end is left out, as a
/// consumer leaves it out; corrupt lengths and formats end the iteration with an error. Checksums
/// are the caller's to check ([`BatchHeader::check_crc`]).
pub fn batches(bytes: &Bytes) -> Batches {
    Batches {
        bytes: bytes.clone(),
        at: 0,
    }
}

/// Iterator over concatenated batches, see [`batches`].
#[derive(Debug, Clone)]
pub struct Batches {
    bytes: Bytes,
    at: usize,
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        match BatchHeader::next(&self.bytes[self.at..]) {
            Ok(None) => {
                self.at = self.bytes.len();
                None
            }
            Ok(Some(header)) => {
                let bytes = self.bytes.slice(self.at..self.at + header.size());
                self.at += header.size();
                Some(Ok(Batch { header, bytes }))
            }
            Err(error) => {
                self.at = self.bytes.len();
                Some(Err(error))
            }
        }
    }
}

/// The records of one whole batch, lazily, as slices of its bytes.
///
/// # Errors
/// Where the header is not valid, the bytes are not one whole batch, or they are compressed.
pub fn records(batch: &Bytes) -> Result<Records, BatchError> {
    let header = BatchHeader::read(batch)?;
    if batch.len() != header.size() {
        return Err(BatchError::Length(header.batch_length));
    }
    if header.compression() != 0 {
        return Err(BatchError::Compressed(header.compression()));
    }
    Ok(Records::new(batch.clone(), &header))
}

/// Walks all records of an uncompressed batch without allocating, as the leader's validation does,
/// and hands each record's timestamp, and whether it has a key, to `see`.
pub(super) fn check_records(
    bytes: &[u8],
    header: &BatchHeader,
    mut see: impl FnMut(i64, bool),
) -> Result<(), BatchError> {
    let batch = &bytes[..header.size()];
    let mut at = HEADER_BYTES;
    for _ in 0..header.record_count {
        let record = parse_record(batch, at)?;
        let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
        see(timestamp, record.key.is_some());
        at = record.end;
    }
    if at != batch.len() {
        let what = "bytes are left behind the last record";
        return Err(BatchError::Record { at, what });
    }
    Ok(())
}
