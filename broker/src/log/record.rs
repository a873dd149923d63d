//! The records inside a batch (`DefaultRecord`): zig-zag varints, lazy reading, building.

use crate::ids::{Offset, ProducerId};
use crate::log::batch::{
    BatchError, BatchHeader, CONTROL_FLAG, HEADER_BYTES, LOG_OVERHEAD, NO_PRODUCER_EPOCH,
    NO_SEQUENCE, NO_TIMESTAMP, TRANSACTIONAL_FLAG, rewrite_crc,
};
use bytes::Bytes;
use std::ops::Range;

/// A record header to write: key and value, which may be null.
pub type HeaderRef<'a> = (&'a [u8], Option<&'a [u8]>);

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Bytes that a varint or varlong takes (`ByteUtils.sizeOfVarint`).
#[inline]
fn varint_size(value: i64) -> usize {
    if zigzag(value) < 0x80 {
        return 1;
    }
    let bits = 64 - zigzag(value).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[inline]
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}

fn bytes_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |b| varint_size(b.len() as i64) + b.len())
}

/// Reads one record's fields; every error says where.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    #[cold]
    fn wrong<T>(&self, what: &'static str) -> Result<T, BatchError> {
        Err(BatchError::Record { at: self.at, what })
    }

    fn byte(&mut self) -> Result<u8, BatchError> {
        let Some(&byte) = self.bytes.get(self.at) else {
            return self.wrong("bytes end inside the record");
        };
        self.at += 1;
        Ok(byte)
    }

    #[inline(always)]
    fn unsigned(&mut self, bytes_max: u32) -> Result<u64, BatchError> {
        // Most numbers are small.
        match self.bytes.get(self.at..) {
            Some(&[byte @ ..0x80, ..]) => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            Some(&[low, high @ ..0x80, ..]) => {
                self.at += 2;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.unsigned_of_several_bytes(bytes_max),
        }
    }

    #[cold]
    fn unsigned_of_several_bytes(&mut self, bytes_max: u32) -> Result<u64, BatchError> {
        let mut value = 0u64;
        for index in 0..bytes_max {
            let byte = self.byte()?;
            // The tenth byte of a varlong holds one bit; what Java shifts out is shifted out here.
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        self.wrong("varint is too long")
    }

    #[inline(always)]
    fn varlong(&mut self) -> Result<i64, BatchError> {
        let raw = self.unsigned(10)?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<i32, BatchError> {
        let raw = self.unsigned(5)? as u32;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// A length and that many bytes; a negative length is null (`Utils.readBytes`).
    #[inline(always)]
    fn nullable(&mut self) -> Result<Option<Range<usize>>, BatchError> {
        let length = self.varint()?;
        if length < 0 {
            return Ok(None);
        }
        if self.bytes.len() - self.at < length as usize {
            return self.wrong("field is longer than the batch");
        }
        let range = self.at..self.at + length as usize;
        self.at = range.end;
        Ok(Some(range))
    }

    /// Checks that many record headers.
    #[inline(never)]
    fn skip_headers(&mut self, count: i32) -> Result<(), BatchError> {
        for _ in 0..count {
            if self.nullable()?.is_none() {
                return self.wrong("header key is null");
            }
            self.nullable()?;
        }
        Ok(())
    }
}

/// Where a record's parts are within its batch.
pub(super) struct RawRecord {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<Range<usize>>,
    pub(super) value: Option<Range<usize>>,
    header_count: i32,
    headers: Range<usize>,
    /// First byte behind the record.
    pub(super) end: usize,
}

/// Parses the record that begins at byte `at` of a whole batch.
#[inline]
pub(super) fn parse_record(batch: &[u8], at: usize) -> Result<RawRecord, BatchError> {
    let mut cursor = Cursor { bytes: batch, at };
    let size = cursor.varint()?;
    if size < 0 || (batch.len() - cursor.at) < size as usize {
        return cursor.wrong("record size is not valid");
    }
    let end = cursor.at + size as usize;
    // No field may reach into the next record.
    cursor.bytes = &batch[..end];
    cursor.byte()?;
    let timestamp_delta = cursor.varlong()?;
    let offset_delta = cursor.varint()?;
    let key = cursor.nullable()?;
    let value = cursor.nullable()?;
    let header_count = cursor.varint()?;
    if header_count < 0 || header_count as usize > end - cursor.at {
        return cursor.wrong("number of headers is not valid");
    }
    let headers_start = cursor.at;
    if header_count > 0 {
        cursor.skip_headers(header_count)?;
    }
    if cursor.at != end {
        return cursor.wrong("record ends before its size");
    }
    Ok(RawRecord {
        timestamp_delta,
        offset_delta,
        key,
        value,
        header_count,
        headers: headers_start..end,
        end,
    })
}

/// A record, as slices of its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Position in the partition.
    pub offset: Offset,
    /// Milliseconds since 1970, -1 for none.
    pub timestamp: i64,
    /// Key, if it has one.
    pub key: Option<Bytes>,
    /// Value; `None` is a tombstone.
    pub value: Option<Bytes>,
    header_count: i32,
    headers: Bytes,
}

impl Record {
    /// Its headers in order; Kafka allows the same key several times.
    pub fn headers(&self) -> impl Iterator<Item = (Bytes, Option<Bytes>)> + '_ {
        let mut cursor = Cursor {
            bytes: &self.headers,
            at: 0,
        };
        (0..self.header_count).map(move |_| {
            let checked = "headers were checked when the record was parsed";
            let key = cursor.nullable().expect(checked).expect(checked);
            let value = cursor.nullable().expect(checked);
            let value = value.map(|range| self.headers.slice(range));
            (self.headers.slice(key), value)
        })
    }
}

/// Iterator over the records of a batch, see [`records`](crate::log::batch::records). Ends at the first error.
#[derive(Debug, Clone)]
pub struct Records {
    batch: Bytes,
    base_offset: Offset,
    base_timestamp: i64,
    /// The timestamp of every record where the broker stamped the batch.
    log_append_time: Option<i64>,
    at: usize,
    left: i32,
}

impl Records {
    pub(super) fn new(batch: Bytes, header: &BatchHeader) -> Records {
        Records {
            batch,
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            log_append_time: header.is_log_append_time().then_some(header.max_timestamp),
            at: HEADER_BYTES,
            left: header.record_count,
        }
    }

    fn read(&mut self) -> Result<Record, BatchError> {
        let raw = parse_record(&self.batch, self.at)?;
        self.at = raw.end;
        let headers = if raw.header_count == 0 {
            Bytes::new()
        } else {
            self.batch.slice(raw.headers)
        };
        Ok(Record {
            offset: self.base_offset.wrapping_add(i64::from(raw.offset_delta)),
            timestamp: self
                .log_append_time
                .unwrap_or(self.base_timestamp.wrapping_add(raw.timestamp_delta)),
            key: raw.key.map(|range| self.batch.slice(range)),
            value: raw.value.map(|range| self.batch.slice(range)),
            header_count: raw.header_count,
            headers,
        })
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let record = self.read();
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

/// Writes records of another batch anew, in a header that is that batch's but for what the caller
/// changed (cleaning).
pub(super) struct RecordWriter {
    bytes: Vec<u8>,
}

impl RecordWriter {
    pub(super) fn new() -> RecordWriter {
        RecordWriter {
            bytes: vec![0; HEADER_BYTES],
        }
    }

    pub(super) fn put(&mut self, record: &Record, timestamp_delta: i64, offset_delta: i64) {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let count = i64::from(record.header_count);
        let body = 1
            + varint_size(timestamp_delta)
            + varint_size(offset_delta)
            + bytes_size(key)
            + bytes_size(value)
            + varint_size(count)
            + record.headers.len();
        let out = &mut self.bytes;
        put_varint(out, body as i64);
        out.push(0);
        put_varint(out, timestamp_delta);
        put_varint(out, offset_delta);
        put_bytes(out, key);
        put_bytes(out, value);
        put_varint(out, count);
        out.extend_from_slice(&record.headers);
    }

    /// The uncompressed batch with that header, of its length and with its checksum.
    pub(super) fn finish(mut self, mut header: BatchHeader) -> Bytes {
        header.batch_length = (self.bytes.len() - LOG_OVERHEAD) as i32;
        header.write(&mut self.bytes);
        rewrite_crc(&mut self.bytes);
        self.bytes.into()
    }
}

/// Encodes one uncompressed batch as a producer does (`MemoryRecordsBuilder`): base offset 0, no
/// leader epoch, CreateTime.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    bytes: Vec<u8>,
    header: BatchHeader,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        BatchBuilder::new()
    }
}

impl BatchBuilder {
    /// An empty batch without producer id.
    pub fn new() -> BatchBuilder {
        BatchBuilder::with_capacity(0)
    }

    /// The same with room for `capacity` bytes, header included.
    pub fn with_capacity(capacity: usize) -> BatchBuilder {
        let mut bytes = Vec::with_capacity(capacity.max(HEADER_BYTES));
        bytes.resize(HEADER_BYTES, 0);
        BatchBuilder {
            bytes,
            header: BatchHeader::of_producer(),
        }
    }

    /// Bytes of the batch if it were built now.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Records so far.
    pub fn record_count(&self) -> i32 {
        self.header.record_count
    }

    /// Bytes that one more record would add.
    pub fn record_size(
        &self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) -> usize {
        let body = self.body_size(timestamp, key, value, headers);
        varint_size(body as i64) + body
    }

    fn timestamp_delta(&self, timestamp: i64) -> i64 {
        if self.header.record_count == 0 {
            return 0;
        }
        timestamp - self.header.base_timestamp
    }

    fn body_size(
        &self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) -> usize {
        let headers_size: usize = headers
            .iter()
            .map(|&(key, value)| bytes_size(Some(key)) + bytes_size(value))
            .sum();
        1 + varint_size(self.timestamp_delta(timestamp))
            + varint_size(i64::from(self.header.record_count))
            + bytes_size(key)
            + bytes_size(value)
            + varint_size(headers.len() as i64)
            + headers_size
    }

    /// Adds a record; its offset within the batch is the number of records before it.
    ///
    /// # Panics
    /// On a negative timestamp other than -1, which Kafka refuses too.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) {
        assert!(timestamp >= NO_TIMESTAMP, "record timestamp {timestamp}");
        let body = self.body_size(timestamp, key, value, headers);
        let delta = self.timestamp_delta(timestamp);
        if self.header.record_count == 0 {
            self.header.base_timestamp = timestamp;
        }
        let out = &mut self.bytes;
        out.reserve(varint_size(body as i64) + body);
        put_varint(out, body as i64);
        out.push(0);
        put_varint(out, delta);
        put_varint(out, i64::from(self.header.record_count));
        put_bytes(out, key);
        put_bytes(out, value);
        put_varint(out, headers.len() as i64);
        for &(key, value) in headers {
            put_bytes(out, Some(key));
            put_bytes(out, value);
        }
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        self.header.last_offset_delta = self.header.record_count;
        self.header.record_count += 1;
    }

    /// Makes it a batch of an idempotent producer; `base_sequence` is its first record's.
    ///
    /// # Panics
    /// On a producer id without epoch, or with data and without sequence.
    pub fn set_producer_state(&mut self, id: ProducerId, epoch: i16, base_sequence: i32) {
        let may_lack_sequence = self.header.is_control();
        assert!(
            id < 0
                || (epoch > NO_PRODUCER_EPOCH
                    && (base_sequence > NO_SEQUENCE || may_lack_sequence)),
            "producer id {id} with epoch {epoch} and sequence {base_sequence}"
        );
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
    }

    /// Makes it part of its producer's transaction: data, or the marker that ends it
    /// ([`end_txn_marker`](crate::log::control::end_txn_marker)).
    pub fn set_transactional(&mut self, is_control: bool) {
        self.header.attributes |= TRANSACTIONAL_FLAG;
        if is_control {
            self.header.attributes |= CONTROL_FLAG;
        }
    }

    /// Marks the batch's records as written at these offsets by this leader: for batches that a
    /// test or a log of the broker's own builds without a producer.
    pub fn set_base(&mut self, base_offset: Offset, leader_epoch: i32) {
        self.header.base_offset = base_offset;
        self.header.partition_leader_epoch = leader_epoch;
    }

    /// The batch's bytes.
    ///
    /// # Panics
    /// Where no record was added: Kafka has no empty batches from producers.
    pub fn build(mut self) -> Bytes {
        assert!(self.header.record_count > 0, "batch without records");
        self.header.batch_length = (self.bytes.len() - LOG_OVERHEAD) as i32;
        self.header.write(&mut self.bytes);
        rewrite_crc(&mut self.bytes);
        Bytes::from(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch::{batches, increment_sequence, patch, records};
    use proptest::prelude::*;

    #[test]
    fn varints_have_the_size_that_is_written_and_read_back() {
        for value in [
            0,
            -1,
            1,
            63,
            -64,
            64,
            8191,
            8192,
            i64::from(i32::MAX),
            i64::MIN,
            i64::MAX,
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_size(value), "{value}");
            let mut cursor = Cursor { bytes: &out, at: 0 };
            assert_eq!(cursor.varlong().unwrap(), value);
            assert_eq!(cursor.at, out.len());
        }
    }

    #[test]
    fn sequences_wrap_from_the_largest_to_zero_and_back() {
        use crate::log::batch::decrement_sequence;
        assert_eq!(increment_sequence(i32::MAX, 1), 0);
        assert_eq!(increment_sequence(i32::MAX - 1, 3), 1);
        assert_eq!(decrement_sequence(1, 3), i32::MAX - 1);
        assert_eq!(decrement_sequence(0, 1), i32::MAX);
        assert_eq!(increment_sequence(5, 3), 8);
    }

    /// Kafka's own crate must read what is written here, with the same checksum.
    #[test]
    fn another_implementation_decodes_the_batch() {
        let mut builder = BatchBuilder::new();
        builder.append(
            1_000,
            Some(b"k"),
            Some(b"value"),
            &[(b"h", Some(b"x")), (b"h", None)],
        );
        builder.append(1_007, None, None, &[]);
        builder.set_producer_state(7, 3, 41);
        let mut bytes = builder.build().to_vec();
        patch(&mut bytes, 500, 9);
        let mut bytes = Bytes::from(bytes);
        let decoded =
            kafka_protocol::records::RecordBatchDecoder::decode(&mut bytes).expect("decodes");
        assert_eq!(decoded.records.len(), 2);
        let first = &decoded.records[0];
        assert_eq!(
            (first.offset, first.timestamp, first.sequence),
            (500, 1_000, 41)
        );
        assert_eq!((first.producer_id, first.producer_epoch), (7, 3));
        assert_eq!(first.partition_leader_epoch, 9);
        assert_eq!(first.value.as_deref(), Some(&b"value"[..]));
        assert_eq!(decoded.records[1].timestamp, 1_007);
        assert_eq!(decoded.records[1].key, None);
    }

    type Plain = (
        i64,
        Option<Vec<u8>>,
        Option<Vec<u8>>,
        Vec<(Vec<u8>, Option<Vec<u8>>)>,
    );

    fn plain() -> impl Strategy<Value = Plain> {
        let blob = || proptest::collection::vec(any::<u8>(), 0..150);
        let optional = move || proptest::option::of(blob());
        let headers = proptest::collection::vec((blob(), optional()), 0..3);
        (0..4_000_000_000_000i64, optional(), optional(), headers)
    }

    fn build(plains: &[Plain]) -> Bytes {
        let mut builder = BatchBuilder::new();
        for (timestamp, key, value, headers) in plains {
            let headers: Vec<HeaderRef<'_>> = headers
                .iter()
                .map(|(k, v)| (&k[..], v.as_deref()))
                .collect();
            let before = builder.size();
            let size = builder.record_size(*timestamp, key.as_deref(), value.as_deref(), &headers);
            builder.append(*timestamp, key.as_deref(), value.as_deref(), &headers);
            assert_eq!(builder.size(), before + size);
        }
        builder.build()
    }

    proptest! {
        #[test]
        fn records_come_back_as_they_were_appended(plains in proptest::collection::vec(plain(), 1..20)) {
            let bytes = build(&plains);
            let header = BatchHeader::read(&bytes).unwrap();
            header.check_crc(&bytes).unwrap();
            prop_assert_eq!(header.record_count as usize, plains.len());
            prop_assert_eq!(header.max_timestamp, plains.iter().map(|p| p.0).max().unwrap());
            let read: Vec<Record> = records(&bytes).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), plains.len());
            for (index, (record, (timestamp, key, value, headers))) in read.iter().zip(&plains).enumerate() {
                prop_assert_eq!(record.offset, index as i64);
                prop_assert_eq!(record.timestamp, *timestamp);
                prop_assert_eq!(record.key.as_deref(), key.as_deref());
                prop_assert_eq!(record.value.as_deref(), value.as_deref());
                let back: Vec<_> = record.headers().map(|(k, v)| (k.to_vec(), v.map(|v| v.to_vec()))).collect();
                prop_assert_eq!(&back, headers);
            }
        }

        #[test]
        fn any_flipped_bit_behind_the_magic_is_noticed(
            plains in proptest::collection::vec(plain(), 1..4), at in any::<proptest::sample::Index>(), bit in 0..8u32,
        ) {
            let mut bytes = build(&plains).to_vec();
            let at = 17 + at.index(bytes.len() - 17);
            bytes[at] ^= 1u8 << bit;
            let header = BatchHeader::read(&bytes).unwrap();
            prop_assert!(header.check_crc(&bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), length in 0..300i32) {
            let mut bytes = bytes;
            if bytes.len() > 20 {
                bytes[8..12].copy_from_slice(&length.to_be_bytes());
                bytes[16] = 2;
            }
            let bytes = Bytes::from(bytes);
            for batch in batches(&bytes) {
                let Ok(batch) = batch else { break };
                let _ = batch.header.check_crc(&batch.bytes);
                let Ok(records) = records(&batch.bytes) else { continue };
                for record in records.flatten() {
                    let _ = record.headers().count();
                }
            }
        }

        #[test]
        fn concatenated_batches_come_apart_and_a_cut_one_is_left_out(
            one in proptest::collection::vec(plain(), 1..4), two in proptest::collection::vec(plain(), 1..4), cut in any::<proptest::sample::Index>(),
        ) {
            let (one, two) = (build(&one), build(&two));
            let whole = Bytes::from([&one[..], &two[..]].concat());
            let apart: Vec<Bytes> = batches(&whole).map(|b| b.unwrap().bytes).collect();
            prop_assert_eq!(&apart, &vec![one.clone(), two.clone()]);
            let cut = whole.slice(..one.len() + cut.index(two.len()));
            let left: Vec<Bytes> = batches(&cut).filter_map(Result::ok).map(|b| b.bytes).collect();
            prop_assert_eq!(left, vec![one]);
        }
    }
}
