//! The snapshot of a partition's producers (`<offset>.snapshot`,
//! `ProducerStateManager.writeSnapshot`, `ProducerSnapshot.json`): what a restart begins with before
//! it replays the batches behind that offset.
//!
//! Only the last batch of each producer is in it. Version 1, a CRC-32C over what follows it, then the
//! entries, big endian.

use crate::ids::{Offset, ProducerId};
use crate::log::malformed::Malformed;

const VERSION: i16 = 1;
const CRC_AT: usize = 2;
/// First byte that the checksum covers (`PRODUCER_ENTRIES_OFFSET`).
const COUNT_AT: usize = 6;
const ENTRIES_AT: usize = 10;
const ENTRY_BYTES: usize = 46;

/// What a snapshot keeps of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// Which producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Last sequence of its last batch, -1 without one.
    pub last_sequence: i32,
    /// Last offset of its last batch, -1 without one.
    pub last_offset: Offset,
    /// Records of its last batch less one.
    pub offset_delta: i32,
    /// Max timestamp of its last batch or marker.
    pub timestamp: i64,
    /// Epoch of the coordinator that wrote its last marker, -1 without one.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction, -1 without one.
    pub current_txn_first_offset: Offset,
}

impl SnapshotEntry {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.producer_id.to_be_bytes());
        out.extend(self.producer_epoch.to_be_bytes());
        out.extend(self.last_sequence.to_be_bytes());
        out.extend(self.last_offset.to_be_bytes());
        out.extend(self.offset_delta.to_be_bytes());
        out.extend(self.timestamp.to_be_bytes());
        out.extend(self.coordinator_epoch.to_be_bytes());
        out.extend(self.current_txn_first_offset.to_be_bytes());
    }

    fn read(bytes: &[u8; ENTRY_BYTES]) -> SnapshotEntry {
        let long = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight"));
        let int = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four"));
        SnapshotEntry {
            producer_id: long(0),
            producer_epoch: i16::from_be_bytes([bytes[8], bytes[9]]),
            last_sequence: int(10),
            last_offset: long(14),
            offset_delta: int(22),
            timestamp: long(26),
            coordinator_epoch: int(34),
            current_txn_first_offset: long(38),
        }
    }
}

/// Name of the snapshot that covers everything below `offset`.
pub fn snapshot_file_name(dir: &str, offset: Offset) -> String {
    format!("{dir}/{offset:020}.snapshot")
}

/// First byte of the entry with that number, counted from 0.
pub(super) fn entry_position(number: usize) -> u64 {
    (ENTRIES_AT + number * ENTRY_BYTES) as u64
}

/// The file's bytes.
pub fn encode_snapshot(entries: impl ExactSizeIterator<Item = SnapshotEntry>) -> Vec<u8> {
    let count = entries.len();
    let mut out = Vec::with_capacity(ENTRIES_AT + count * ENTRY_BYTES);
    out.extend(VERSION.to_be_bytes());
    out.extend([0; COUNT_AT - CRC_AT]);
    out.extend((count as i32).to_be_bytes());
    for entry in entries {
        entry.put(&mut out);
    }
    let crc = crc32c::crc32c(&out[COUNT_AT..]);
    out[CRC_AT..COUNT_AT].copy_from_slice(&crc.to_be_bytes());
    out
}

/// Reads a file.
///
/// # Errors
/// On another version, another checksum, or a length that does not follow from the number of
/// entries. Kafka then deletes the file and takes the one before it (`CorruptSnapshotException`).
pub fn decode_snapshot(bytes: &[u8]) -> Result<Vec<SnapshotEntry>, Malformed> {
    if bytes.len() < ENTRIES_AT {
        let what = format!("snapshot of {} bytes ends in its header", bytes.len());
        return Err(Malformed::new(bytes.len() as u64, what));
    }
    let version = i16::from_be_bytes([bytes[0], bytes[1]]);
    if version != VERSION {
        let what = format!("snapshot version {version} is not {VERSION}");
        return Err(Malformed::new(0, what));
    }
    let int = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let (stored, count) = (int(CRC_AT) as u32, int(COUNT_AT));
    let computed = crc32c::crc32c(&bytes[COUNT_AT..]);
    if stored != computed {
        let what = format!("snapshot crc is {stored:#010x}, its bytes give {computed:#010x}");
        return Err(Malformed::new(CRC_AT as u64, what));
    }
    let (raw, rest) = bytes[ENTRIES_AT..].as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() || usize::try_from(count) != Ok(raw.len()) {
        let what = format!("{count} producers do not fill {} bytes", bytes.len());
        return Err(Malformed::new(COUNT_AT as u64, what));
    }
    Ok(raw.iter().map(SnapshotEntry::read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = SnapshotEntry> {
        let batch = (any::<i32>(), any::<i64>(), any::<i32>(), any::<i64>());
        let owner = (any::<i64>(), any::<i16>(), any::<i32>(), any::<i64>());
        (batch, owner).prop_map(|(batch, owner)| SnapshotEntry {
            producer_id: owner.0,
            producer_epoch: owner.1,
            last_sequence: batch.0,
            last_offset: batch.1,
            offset_delta: batch.2,
            timestamp: batch.3,
            coordinator_epoch: owner.2,
            current_txn_first_offset: owner.3,
        })
    }

    #[test]
    fn an_empty_snapshot_is_that_of_kafka() {
        let bytes = encode_snapshot([].into_iter());
        assert_eq!(bytes, [0, 1, 0x48, 0x67, 0x4b, 0xc7, 0, 0, 0, 0]);
        assert_eq!(decode_snapshot(&bytes), Ok(Vec::new()));
        assert_eq!(
            snapshot_file_name("t-0", 7),
            "t-0/00000000000000000007.snapshot"
        );
    }

    #[test]
    fn errors_say_where_and_what() {
        let told = |bytes: &[u8]| decode_snapshot(bytes).unwrap_err().to_string();
        let whole = encode_snapshot([].into_iter());
        assert_eq!(
            told(&whole[..9]),
            "byte 9: snapshot of 9 bytes ends in its header"
        );
        let mut other = whole.clone();
        other[1] = 2;
        assert_eq!(told(&other), "byte 0: snapshot version 2 is not 1");
        other = whole.clone();
        other[9] = 1;
        assert!(told(&other).starts_with("byte 2: snapshot crc is 0x48674bc7, its bytes give"));
        let crc = crc32c::crc32c(&other[6..]).to_be_bytes();
        other[2..6].copy_from_slice(&crc);
        assert_eq!(told(&other), "byte 6: 1 producers do not fill 10 bytes");
    }

    proptest! {
        #[test]
        fn snapshots_come_back(entries in proptest::collection::vec(entry(), 0..5)) {
            let bytes = encode_snapshot(entries.iter().copied());
            prop_assert_eq!(decode_snapshot(&bytes), Ok(entries));
        }

        #[test]
        fn any_flipped_bit_and_any_cut_is_noticed(
            entries in proptest::collection::vec(entry(), 0..3), at in any::<prop::sample::Index>(), bit in 0..8u32,
        ) {
            let whole = encode_snapshot(entries.iter().copied());
            let at = at.index(whole.len());
            prop_assert!(decode_snapshot(&whole[..at]).is_err());
            let mut flipped = whole;
            flipped[at] ^= 1u8 << bit;
            prop_assert!(decode_snapshot(&flipped).is_err());
        }
    }
}
