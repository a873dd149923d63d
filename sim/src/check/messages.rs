//! The messages in the bytes of a log, read in place: this is done for every batch that a leader appends.
//!
//! Only whole, uncompressed batches whose checksum is right are read; the first other one is the end.

use crate::event::MessageId;
use everyack_broker::ids::*;
use everyack_broker::log::{BatchHeader, RecordRef, RecordRefs};

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
        records: None,
    }
}

/// See [`messages_in`].
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    /// Behind the batch that is read.
    log: &'a [u8],
    partition: i32,
    /// What is left of that.
    records: Option<RecordRefs<'a>>,
}

impl<'a> Messages<'a> {
    /// Goes on with the next batch, if it can be read.
    fn begin_batch(&mut self) -> Option<()> {
        let log = std::mem::take(&mut self.log);
        let header = BatchHeader::next(log).ok().flatten()?;
        header.check_crc(log).ok()?;
        self.records = Some(header.records_in(log).ok()?);
        self.log = &log[header.size()..];
        Some(())
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        loop {
            let Some(Ok(RecordRef { offset, key, value })) =
                self.records.as_mut().and_then(Iterator::next)
            else {
                self.records = None;
                self.begin_batch()?;
                continue;
            };
            if let Some(id) = value.and_then(MessageId::from_value) {
                let id = id.at(self.partition);
                return Some(Found { id, offset, key });
            }
        }
    }
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
