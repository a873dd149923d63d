//! The messages in the bytes of a log, read in place: this is done for every batch that a leader appends.
//!
//! Only whole, uncompressed batches whose checksum is right are read; the first other one is the end. Of a
//! record its key and its value are looked at, and its size is believed.

use crate::event::MessageId;
use everyack_broker::ids::*;
use everyack_broker::log::BatchHeader;

/// Where the records of a batch begin.
const RECORDS_AT: usize = 61;

/// A message in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Who it is.
    pub id: MessageId,
    /// Its offset.
    pub offset: Offset,
    /// Its record's key, if it has one.
    pub key: Option<&'a [u8]>,
}

/// The messages in batches of a partition that lie one behind the other, in order.
pub fn messages_in(log: &[u8], partition: i32) -> Messages<'_> {
    Messages {
        log,
        partition,
        base_offset: 0,
        records: &[],
        left: 0,
    }
}

/// See [`messages_in`].
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    /// Behind the batch that is read.
    log: &'a [u8],
    partition: i32,
    base_offset: Offset,
    /// What is left of the batch.
    records: &'a [u8],
    /// Records in it.
    left: i32,
}

/// What is read of a record.
struct Record<'a> {
    offset: Offset,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

impl<'a> Messages<'a> {
    /// Goes on with the next batch, if it can be read.
    fn begin_batch(&mut self) -> Option<()> {
        let header = BatchHeader::next(self.log).ok().flatten()?;
        header.check_crc(self.log).ok()?;
        if header.compression() != 0 {
            return None;
        }
        let (batch, behind) = self.log.split_at(header.size());
        self.log = behind;
        self.base_offset = header.base_offset;
        self.records = &batch[RECORDS_AT..];
        self.left = header.record_count;
        Some(())
    }

    /// The next record of the batch.
    #[inline]
    fn record(&mut self) -> Option<Record<'a>> {
        self.left -= 1;
        let size = varint(&mut self.records)?;
        let (record, behind) = self.records.split_at_checked(usize::try_from(size).ok()?)?;
        self.records = behind;
        let (_attributes, mut fields) = record.split_first()?;
        let _timestamp_delta = varint(&mut fields)?;
        Some(Record {
            offset: self.base_offset.wrapping_add(varint(&mut fields)?),
            key: nullable(&mut fields)?,
            value: nullable(&mut fields)?,
        })
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        loop {
            if self.left <= 0 {
                if self.begin_batch().is_none() {
                    self.log = &[];
                    return None;
                }
                continue;
            }
            let Some(Record { offset, key, value }) = self.record() else {
                // Nothing of this batch can be told any more.
                self.left = 0;
                continue;
            };
            if let Some(id) = value.and_then(MessageId::from_value) {
                let id = id.at(self.partition);
                return Some(Found { id, offset, key });
            }
        }
    }
}

/// A zig-zag varint or varlong.
#[inline]
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let raw = match bytes.split_first()? {
        // Most numbers are small.
        (&byte, behind) if byte < 0x80 => {
            *bytes = behind;
            u64::from(byte)
        }
        _ => of_several_bytes(bytes)?,
    };
    Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

fn of_several_bytes(bytes: &mut &[u8]) -> Option<u64> {
    let mut raw = 0;
    for shift in (0..64).step_by(7) {
        let (byte, behind) = bytes.split_first()?;
        *bytes = behind;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(raw);
        }
    }
    None
}

/// A length and that many bytes; a negative length is null.
#[inline]
fn nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let Ok(length) = usize::try_from(varint(bytes)?) else {
        return Some(None);
    };
    let (field, behind) = bytes.split_at_checked(length)?;
    *bytes = behind;
    Some(Some(field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use everyack_broker::log::{BatchBuilder, batches, records};

    fn id(sequence: u32) -> MessageId {
        MessageId {
            producer: 3,
            sequence,
            partition: 1,
        }
    }

    /// Batches from offset 7 on of records with and without key, value and headers, large and small.
    fn log() -> Bytes {
        let mut log = Vec::new();
        let mut offset = 7;
        for sizes in [&[16][..], &[12, 500, 70_000], &[13, 14]] {
            let mut batch = BatchBuilder::new();
            for (n, size) in sizes.iter().enumerate() {
                let value = id(*size as u32).to_value(*size);
                let key = (n > 0).then_some(&b"a key"[..]);
                let headers = [(&b"header"[..], None), (&b"other"[..], Some(&b"value"[..]))];
                let at = 1_700_000_000_000 + 5_000 * n as i64;
                batch.append(at, key, Some(&value), &headers[..n % 3]);
            }
            batch.append(1_700_000_000_000, Some(b"no message"), None, &[]);
            batch.append(1_700_000_000_000, None, Some(b"too short"), &[]);
            batch.set_base(offset, 2);
            offset += sizes.len() as i64 + 2;
            log.extend_from_slice(&batch.build());
        }
        Bytes::from(log)
    }

    #[test]
    fn they_are_those_that_the_broker_reads() {
        let log = log();
        let batches = batches(&log).map(|batch| batch.unwrap().bytes);
        let all = batches.flat_map(|batch| records(&batch).unwrap());
        let mut messages = messages_in(&log, 1);
        for record in all.map(Result::unwrap) {
            let Some(id) = record.value.as_deref().and_then(MessageId::from_value) else {
                continue;
            };
            let offset = record.offset;
            let key = record.key.as_deref();
            assert_eq!(messages.next(), Some(Found { id, offset, key }));
        }
        assert_eq!(messages.next(), None);
        assert_eq!(messages.next(), None);
        assert_eq!(messages_in(&log, 1).count(), 6);
    }

    #[test]
    fn a_damaged_batch_is_the_end() {
        let mut log = log().to_vec();
        let last = log.len() - 1;
        log[last] ^= 1;
        assert_eq!(messages_in(&log, 1).count(), 4);
        let whole = batches(&Bytes::from(log.clone())).next().unwrap().unwrap();
        let cut = &log[..whole.bytes.len() + 100];
        assert_eq!(messages_in(cut, 1).count(), 1, "cut off inside the next");
    }
}
