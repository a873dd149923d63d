//! The records of a batch, read where it lies: for whoever looks at many and keeps none.

use crate::ids::Offset;
use crate::log::batch::{BatchError, BatchHeader, HEADER_BYTES};
use crate::log::record::parse_record;

/// What names and fills a record, as slices of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Position in the partition.
    pub offset: Offset,
    /// Key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// Iterator over the records of a batch, see [`BatchHeader::records_in`]. Ends at the first error.
#[derive(Debug, Clone)]
pub struct RecordRefs<'a> {
    batch: &'a [u8],
    base_offset: Offset,
    at: usize,
    left: i32,
}

impl BatchHeader {
    /// The records of this batch, which stands whole at the start of `bytes`, lazily.
    ///
    /// # Errors
    /// Where it is not whole, or compressed.
    pub fn records_in<'a>(&self, bytes: &'a [u8]) -> Result<RecordRefs<'a>, BatchError> {
        if self.compression() != 0 {
            return Err(BatchError::Compressed(self.compression()));
        }
        let batch = bytes.get(..self.size());
        Ok(RecordRefs {
            batch: batch.ok_or(BatchError::Length(self.batch_length))?,
            base_offset: self.base_offset,
            at: HEADER_BYTES,
            left: self.record_count,
        })
    }
}

impl<'a> Iterator for RecordRefs<'a> {
    type Item = Result<RecordRef<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        let batch = self.batch;
        let record = parse_record(batch, self.at).map(|raw| {
            self.at = raw.end;
            RecordRef {
                offset: self.base_offset.wrapping_add(i64::from(raw.offset_delta)),
                key: raw.key.map(|range| &batch[range]),
                value: raw.value.map(|range| &batch[range]),
            }
        });
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{BatchBuilder, records};
    use bytes::Bytes;

    fn batch() -> Vec<u8> {
        let mut batch = BatchBuilder::new();
        let large = vec![7; 70_000];
        let headers = [(&b"header"[..], None), (&b"other"[..], Some(&b"value"[..]))];
        batch.append(1_700_000_000_000, None, Some(b"value"), &[]);
        batch.append(1_700_000_005_000, Some(b"key"), Some(&large), &headers);
        batch.append(1_700_000_000_000, Some(b"key"), None, &headers[1..]);
        batch.set_base(40, 2);
        batch.build().to_vec()
    }

    #[test]
    fn they_are_those_that_are_read_with_their_memory_shared() {
        let mut bytes = batch();
        let header = BatchHeader::read(&bytes).unwrap();
        let shared = records(&Bytes::from(bytes.clone())).unwrap();
        // What comes behind is not the batch's.
        bytes.extend_from_slice(b"more");
        let mut refs = header.records_in(&bytes).unwrap();
        for record in shared.map(Result::unwrap) {
            let found = refs.next().unwrap().unwrap();
            assert_eq!(found.offset, record.offset);
            assert_eq!(found.key, record.key.as_deref());
            assert_eq!(found.value, record.value.as_deref());
        }
        assert_eq!(refs.next(), None);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_the_last() {
        let mut bytes = batch();
        let header = BatchHeader::read(&bytes).unwrap();
        assert!(header.records_in(&bytes[..bytes.len() - 1]).is_err());
        // The first record's size.
        bytes[HEADER_BYTES] = 1;
        let mut refs = header.records_in(&bytes).unwrap();
        assert!(refs.next().unwrap().is_err());
        assert_eq!(refs.next(), None);
    }
}
