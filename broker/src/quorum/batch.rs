//! Record batches v2 of the metadata log: uncompressed, without producer id, keys null but in
//! control batches. Layout: `DefaultRecordBatch` and `DefaultRecord`.

use super::QuorumError;
use crate::controller::MetadataRecord;
use crate::ids::{LeaderEpoch, Offset};
use crate::quorum::varint;
use bytes::{BufMut, Bytes, BytesMut};

/// Bytes before the first record.
const HEADER_BYTES: usize = 61;
/// Base offset and batch length, which the batch length does not count.
const LENGTH_PREFIX_BYTES: usize = 12;
/// The CRC covers what follows it, from the attributes on.
const CRC_START: usize = 21;
const CONTROL_ATTRIBUTE: u16 = 0x20;
/// `ControlRecordType.LEADER_CHANGE`.
const LEADER_CHANGE: i16 = 2;

/// What the header of a batch says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub total_bytes: usize,
    pub records: i32,
    pub is_control: bool,
}

fn put_record(out: &mut BytesMut, offset_delta: usize, key: Option<&[u8]>, value: &[u8]) {
    let mut body = BytesMut::with_capacity(value.len() + 16);
    body.put_i8(0);
    varint::put_zigzag(&mut body, 0);
    varint::put_zigzag(&mut body, offset_delta as i64);
    match key {
        Some(key) => {
            varint::put_zigzag(&mut body, key.len() as i64);
            body.put_slice(key);
        }
        None => varint::put_zigzag(&mut body, -1),
    }
    varint::put_zigzag(&mut body, value.len() as i64);
    body.put_slice(value);
    varint::put_zigzag(&mut body, 0);
    varint::put_zigzag(out, body.len() as i64);
    out.put_slice(&body);
}

fn seal(
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    timestamp_ms: i64,
    is_control: bool,
    values: &[(Option<Bytes>, Bytes)],
) -> Bytes {
    assert!(!values.is_empty(), "an empty batch at offset {base_offset}");
    let mut tail = BytesMut::new();
    tail.put_u16(if is_control { CONTROL_ATTRIBUTE } else { 0 });
    tail.put_i32(values.len() as i32 - 1);
    tail.put_i64(timestamp_ms);
    tail.put_i64(timestamp_ms);
    tail.put_i64(-1);
    tail.put_i16(-1);
    tail.put_i32(-1);
    tail.put_i32(values.len() as i32);
    for (delta, (key, value)) in values.iter().enumerate() {
        put_record(&mut tail, delta, key.as_deref(), value);
    }
    let mut batch = BytesMut::with_capacity(CRC_START + tail.len());
    batch.put_i64(base_offset);
    batch.put_i32((CRC_START - LENGTH_PREFIX_BYTES + tail.len()) as i32);
    batch.put_i32(leader_epoch);
    batch.put_i8(2);
    batch.put_u32(crc32c::crc32c(&tail));
    batch.put_slice(&tail);
    batch.freeze()
}

/// One batch of metadata records, in order.
pub(super) fn encode(
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    timestamp_ms: i64,
    records: &[MetadataRecord],
) -> Bytes {
    let values: Vec<(Option<Bytes>, Bytes)> = records.iter().map(|r| (None, r.encode())).collect();
    seal(base_offset, leader_epoch, timestamp_ms, false, &values)
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
        varint::put_unsigned(&mut value, 2);
        value.put_i32(node);
        varint::put_unsigned(&mut value, 0);
    }
    varint::put_unsigned(&mut value, 0);
    let values = [(Some(key.freeze()), value.freeze())];
    seal(base_offset, leader_epoch, timestamp_ms, true, &values)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("N bytes were sliced")
}

/// The first batch in `bytes`, whole and with a valid CRC; `None` where there is no such batch.
pub(super) fn header(bytes: &[u8]) -> Option<BatchHeader> {
    if bytes.len() < HEADER_BYTES {
        return None;
    }
    let length = usize::try_from(i32::from_be_bytes(array(bytes, 8))).ok()?;
    let total_bytes = length.checked_add(LENGTH_PREFIX_BYTES)?;
    if total_bytes < HEADER_BYTES || total_bytes > bytes.len() || bytes[16] != 2 {
        return None;
    }
    let crc = u32::from_be_bytes(array(bytes, 17));
    if crc != crc32c::crc32c(&bytes[CRC_START..total_bytes]) {
        return None;
    }
    let base_offset = i64::from_be_bytes(array(bytes, 0));
    let delta = i32::from_be_bytes(array(bytes, 23));
    Some(BatchHeader {
        base_offset,
        last_offset: base_offset.checked_add(i64::from(delta))?,
        leader_epoch: i32::from_be_bytes(array(bytes, 12)),
        total_bytes,
        records: i32::from_be_bytes(array(bytes, 57)),
        is_control: u16::from_be_bytes(array(bytes, 21)) & CONTROL_ATTRIBUTE != 0,
    })
}

/// The metadata records of concatenated batches, as a Fetch answers them, with their offsets, and
/// the epoch of the last batch. Control batches hold no metadata and are passed over.
///
/// # Errors
/// A batch that is cut short or whose CRC does not match, and a record that is not one of
/// [`MetadataRecord`]'s.
pub fn decode_batches(mut bytes: &[u8]) -> Result<DecodedBatches, QuorumError> {
    let mut decoded = DecodedBatches {
        records: Vec::new(),
        end: None,
    };
    while !bytes.is_empty() {
        let header = header(bytes).ok_or(QuorumError::CorruptBatch)?;
        let (batch, rest) = bytes.split_at(header.total_bytes);
        bytes = rest;
        decoded.end = Some((header.last_offset + 1, header.leader_epoch));
        if !header.is_control {
            decode_records(&header, &batch[HEADER_BYTES..], &mut decoded.records)?;
        }
    }
    Ok(decoded)
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

fn decode_records(
    header: &BatchHeader,
    mut bytes: &[u8],
    out: &mut Vec<(Offset, MetadataRecord)>,
) -> Result<(), QuorumError> {
    for _ in 0..header.records {
        let length = take_length(&mut bytes)?.ok_or(QuorumError::CorruptBatch)?;
        let (mut record, rest) = bytes.split_at(length);
        bytes = rest;
        record = record.get(1..).ok_or(QuorumError::CorruptBatch)?;
        varint::take_zigzag(&mut record).ok_or(QuorumError::CorruptBatch)?;
        let delta = varint::take_zigzag(&mut record).ok_or(QuorumError::CorruptBatch)?;
        if let Some(key) = take_length(&mut record)? {
            record = &record[key..];
        }
        let length = take_length(&mut record)?.ok_or(QuorumError::CorruptBatch)?;
        let value = MetadataRecord::decode(&record[..length])?;
        out.push((header.base_offset + delta, value));
    }
    if bytes.is_empty() {
        Ok(())
    } else {
        Err(QuorumError::CorruptBatch)
    }
}

/// A length that the bytes behind it hold; `None` for -1.
fn take_length(bytes: &mut &[u8]) -> Result<Option<usize>, QuorumError> {
    match varint::take_zigzag(bytes).ok_or(QuorumError::CorruptBatch)? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) if length <= bytes.len() => Ok(Some(length)),
            _ => Err(QuorumError::CorruptBatch),
        },
    }
}
