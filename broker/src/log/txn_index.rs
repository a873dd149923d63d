//! The aborted transactions of a segment (`.txnindex`, Kafka's `TransactionIndex`, `AbortedTxn`):
//! what a read-committed consumer is told to leave out.
//!
//! Entries follow each other in the order in which the transactions were aborted. The file is there
//! only where the segment has one.

use crate::ids::{Offset, ProducerId};
use crate::log::malformed::Malformed;

/// Bytes of an entry (`AbortedTxn.TOTAL_SIZE`).
pub const ABORTED_TXN_BYTES: usize = 34;

const VERSION: i16 = 0;

/// One aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// Its first record.
    pub first_offset: Offset,
    /// Its abort marker.
    pub last_offset: Offset,
    /// The last stable offset once it was aborted: the start of the oldest other open transaction,
    /// else the offset behind the marker.
    pub last_stable_offset: Offset,
}

impl AbortedTxn {
    /// As the file has it.
    pub fn encode(&self) -> [u8; ABORTED_TXN_BYTES] {
        let mut bytes = [0; ABORTED_TXN_BYTES];
        bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
        bytes[2..10].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[10..18].copy_from_slice(&self.first_offset.to_be_bytes());
        bytes[18..26].copy_from_slice(&self.last_offset.to_be_bytes());
        bytes[26..].copy_from_slice(&self.last_stable_offset.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; ABORTED_TXN_BYTES]) -> Result<AbortedTxn, Malformed> {
        let version = i16::from_be_bytes([bytes[0], bytes[1]]);
        if version != VERSION {
            return Err(Malformed::new(0, format!("version {version} is not 0")));
        }
        let field = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight"));
        let txn = AbortedTxn {
            producer_id: field(2),
            first_offset: field(10),
            last_offset: field(18),
            last_stable_offset: field(26),
        };
        if txn.producer_id < 0 {
            let what = format!("producer id {} is negative", txn.producer_id);
            return Err(Malformed::new(2, what));
        }
        if txn.first_offset < 0 || txn.first_offset > txn.last_offset {
            let AbortedTxn {
                first_offset,
                last_offset,
                ..
            } = txn;
            let what = format!("transaction reaches from {first_offset} to {last_offset}");
            return Err(Malformed::new(10, what));
        }
        Ok(txn)
    }
}

/// Reads the file of the segment that starts at `base_offset`.
///
/// # Errors
/// Where bytes are left behind the last entry (Kafka overlooks them, and appends behind them), a
/// version is unknown, fields contradict each other, a transaction ended before the segment
/// (`TransactionIndex.sanityCheck`) or before the one that stands before it (`append`).
pub fn parse_txn_index(bytes: &[u8], base_offset: Offset) -> Result<Vec<AbortedTxn>, Malformed> {
    let (raw, rest) = bytes.as_chunks::<ABORTED_TXN_BYTES>();
    let mut found: Vec<AbortedTxn> = Vec::with_capacity(raw.len());
    for (number, entry) in raw.iter().enumerate() {
        let start = (number * ABORTED_TXN_BYTES) as u64;
        let txn = AbortedTxn::decode(entry).map_err(|error| Malformed {
            at: start + error.at,
            ..error
        })?;
        let last_offset = txn.last_offset;
        let floor = found.last().map_or(base_offset - 1, |txn| txn.last_offset);
        if last_offset <= floor {
            let what = format!("last offset {last_offset} is not above {floor}");
            return Err(Malformed::new(start + 18, what));
        }
        found.push(txn);
    }
    if !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let what = format!(
            "{} bytes are no whole entry of {ABORTED_TXN_BYTES} bytes",
            rest.len()
        );
        return Err(Malformed::new(at as u64, what));
    }
    Ok(found)
}

/// How many of a segment's entries stay when the log is cut at `offset` (`truncateTo`).
pub fn kept_by_truncation(entries: &[AbortedTxn], offset: Offset) -> usize {
    entries.partition_point(|txn| txn.last_offset < offset)
}

/// The aborted transactions that have records from `fetch_offset` up to `upper_bound_offset`, and
/// whether no later segment can have more of them (`collectAbortedTxns`).
pub fn collect_aborted(
    entries: &[AbortedTxn],
    fetch_offset: Offset,
    upper_bound_offset: Offset,
) -> (Vec<AbortedTxn>, bool) {
    let mut found = Vec::new();
    for txn in entries {
        if txn.last_offset >= fetch_offset && txn.first_offset < upper_bound_offset {
            found.push(*txn);
        }
        if txn.last_stable_offset >= upper_bound_offset {
            return (found, true);
        }
    }
    (found, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn txn(first_offset: Offset, last_offset: Offset) -> AbortedTxn {
        AbortedTxn {
            producer_id: 5,
            first_offset,
            last_offset,
            last_stable_offset: last_offset + 1,
        }
    }

    fn file(entries: &[AbortedTxn]) -> Vec<u8> {
        entries.iter().flat_map(AbortedTxn::encode).collect()
    }

    #[test]
    fn a_transaction_takes_thirty_four_bytes_in_kafkas_order() {
        let bytes = txn(0x16, 0x20).encode();
        assert_eq!(bytes[..10], [0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!((bytes[17], bytes[25], bytes[33]), (0x16, 0x20, 0x21));
    }

    #[test]
    fn errors_say_where_and_what() {
        let told = |bytes: &[u8]| parse_txn_index(bytes, 10).unwrap_err().to_string();
        assert_eq!(
            told(&[0; 20]),
            "byte 0: 20 bytes are no whole entry of 34 bytes"
        );
        assert_eq!(
            told(&file(&[txn(2, 9)])),
            "byte 18: last offset 9 is not above 9"
        );
        assert_eq!(
            told(&file(&[txn(2, 12), txn(3, 12)])),
            "byte 52: last offset 12 is not above 12"
        );
        assert_eq!(
            told(&file(&[txn(2, 12), txn(14, 13)])),
            "byte 44: transaction reaches from 14 to 13"
        );
        let mut other = file(&[txn(2, 12)]);
        other[1] = 7;
        assert_eq!(told(&other), "byte 0: version 7 is not 0");
        other[1] = 0;
        other[2] = 255;
        assert!(told(&other).starts_with("byte 2: producer id -"));
    }

    #[test]
    fn truncation_removes_transactions_whose_marker_goes() {
        let entries = [txn(0, 12), txn(5, 20)];
        assert_eq!(kept_by_truncation(&entries, 12), 0);
        assert_eq!(kept_by_truncation(&entries, 13), 1);
        assert_eq!(kept_by_truncation(&entries, 20), 1);
        assert_eq!(kept_by_truncation(&entries, 21), 2);
    }

    #[test]
    fn a_reader_gets_the_transactions_that_overlap_its_range() {
        let entries = [txn(0, 12), txn(5, 20), txn(30, 40)];
        assert_eq!(
            collect_aborted(&entries, 13, 25),
            (vec![entries[1]], true),
            "behind the third no stable offset lies below 25"
        );
        assert_eq!(collect_aborted(&entries, 12, 50), (entries.to_vec(), false));
        assert_eq!(collect_aborted(&entries, 41, 50), (Vec::new(), false));
    }

    proptest! {
        #[test]
        fn files_come_back(lengths in proptest::collection::vec((1..50i64, 0..50i64), 0..10)) {
            let mut last = 9;
            let mut entries = Vec::new();
            for (step, length) in lengths {
                last += step;
                entries.push(txn((last - length).max(0), last));
            }
            prop_assert_eq!(parse_txn_index(&file(&entries), 10), Ok(entries));
        }

        #[test]
        fn damaged_files_are_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..150), base in any::<i64>(),
        ) {
            let base = base.max(0);
            if let Ok(entries) = parse_txn_index(&bytes, base) {
                prop_assert_eq!(file(&entries), bytes);
            }
        }
    }
}
