//! Control records: what a broker writes into a log that no consumer sees (`ControlRecordType`,
//! `EndTransactionMarker`, KIP-98).

use crate::log::batch::BatchError;
use crate::log::record::Record;

const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// What a control record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlRecord {
    /// The end of its producer's transaction in this partition.
    EndTxn {
        /// Committed, else aborted.
        committed: bool,
        /// Epoch of the transaction coordinator that wrote it.
        coordinator_epoch: i32,
    },
    /// Another type, such as those of a KRaft quorum.
    Other(i16),
}

impl ControlRecord {
    /// Reads a record of a control batch. Later versions are read as this one, as in Kafka.
    ///
    /// # Errors
    /// Where key or value are too short or of a negative version.
    pub fn of(record: &Record) -> Result<ControlRecord, BatchError> {
        let wrong = |what| BatchError::Record { at: 0, what };
        let key = record.key.as_deref().unwrap_or_default();
        let Some(&[v0, v1, t0, t1]) = key.first_chunk() else {
            return Err(wrong("key of the control record is too short"));
        };
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(wrong("version of the control record is negative"));
        }
        let kind = i16::from_be_bytes([t0, t1]);
        if kind != ABORT && kind != COMMIT {
            return Ok(ControlRecord::Other(kind));
        }
        let value = record.value.as_deref().unwrap_or_default();
        let Some(&[v0, v1, e0, e1, e2, e3]) = value.first_chunk() else {
            return Err(wrong("value of the transaction marker is too short"));
        };
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(wrong("version of the transaction marker is negative"));
        }
        Ok(ControlRecord::EndTxn {
            committed: kind == COMMIT,
            coordinator_epoch: i32::from_be_bytes([e0, e1, e2, e3]),
        })
    }
}

/// Key and value of the marker that ends a transaction.
pub fn end_txn_marker(committed: bool, coordinator_epoch: i32) -> ([u8; 4], [u8; 6]) {
    let [k0, k1] = if committed { COMMIT } else { ABORT }.to_be_bytes();
    let [e0, e1, e2, e3] = coordinator_epoch.to_be_bytes();
    ([0, 0, k0, k1], [0, 0, e0, e1, e2, e3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch::records;
    use crate::log::record::BatchBuilder;

    fn read(key: &[u8], value: &[u8]) -> Result<ControlRecord, BatchError> {
        let mut builder = BatchBuilder::new();
        builder.append(5, Some(key), Some(value), &[]);
        let record = records(&builder.build()).unwrap().next().unwrap().unwrap();
        ControlRecord::of(&record)
    }

    #[test]
    fn markers_come_back_and_other_types_are_named() {
        for committed in [true, false] {
            let (key, value) = end_txn_marker(committed, 7);
            let expected = ControlRecord::EndTxn {
                committed,
                coordinator_epoch: 7,
            };
            assert_eq!(read(&key, &value), Ok(expected));
        }
        assert_eq!(read(&[0, 0, 0, 2], &[]), Ok(ControlRecord::Other(2)));
        assert_eq!(read(&[0, 9, 0, 2], &[]), Ok(ControlRecord::Other(2)));
    }

    #[test]
    fn short_and_negative_ones_are_refused() {
        let (key, value) = end_txn_marker(true, 7);
        for (key, value) in [
            (&key[..3], &value[..]),
            (&[255, 0, 0, 1], &value[..]),
            (&key[..], &value[..5]),
            (&key[..], &[255, 0, 0, 0, 0, 7]),
        ] {
            assert!(read(key, value).is_err(), "{key:?} {value:?}");
        }
    }
}
