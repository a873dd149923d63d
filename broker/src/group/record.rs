//! Records of `__consumer_offsets`: `OffsetCommitKey` version 1 and `OffsetCommitValue` version 3.
//!
//! Not modelled: `expireTimestamp` (version 1 values), group metadata records, tombstones.

use crate::ids::*;
use bytes::{Buf, BufMut, Bytes};

/// The key: whose offset, for what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetKey {
    /// `group.id`.
    pub group: TopicName,
    /// Topic.
    pub topic: TopicName,
    /// Partition.
    pub partition: i32,
}

/// The value: the offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetValue {
    /// The next offset to read.
    pub offset: Offset,
    /// Epoch of the last record read, -1 for none (KIP-320).
    pub leader_epoch: LeaderEpoch,
    /// When, in milliseconds since 1970.
    pub commit_timestamp: i64,
}

fn put_string(out: &mut Vec<u8>, s: &str) {
    out.put_i16(i16::try_from(s.len()).expect("Kafka's names are short"));
    out.put_slice(s.as_bytes());
}

fn get_string(from: &mut Bytes) -> Option<TopicName> {
    if from.remaining() < 2 {
        return None;
    }
    let len = usize::try_from(from.get_i16()).ok()?;
    if from.remaining() < len {
        return None;
    }
    let bytes = from.split_to(len);
    std::str::from_utf8(&bytes).ok().map(TopicName::from)
}

impl OffsetKey {
    /// As a record's key, into a buffer whose content it replaces.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(10 + self.group.len() + self.topic.len());
        out.put_i16(1);
        put_string(out, &self.group);
        put_string(out, &self.topic);
        out.put_i32(self.partition);
    }

    /// From a record's key; `None` for other kinds of records.
    pub fn decode(mut from: Bytes) -> Option<OffsetKey> {
        if from.remaining() < 2 || from.get_i16() != 1 {
            return None;
        }
        let group = get_string(&mut from)?;
        let topic = get_string(&mut from)?;
        let partition = (from.remaining() >= 4).then(|| from.get_i32())?;
        Some(OffsetKey {
            group,
            topic,
            partition,
        })
    }
}

impl OffsetValue {
    /// As a record's value, with empty metadata, into a buffer whose content it replaces.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(24);
        out.put_i16(3);
        out.put_i64(self.offset);
        out.put_i32(self.leader_epoch);
        put_string(out, "");
        out.put_i64(self.commit_timestamp);
    }

    /// From a record's value; `None` for other versions.
    pub fn decode(mut from: Bytes) -> Option<OffsetValue> {
        if from.remaining() < 14 || from.get_i16() != 3 {
            return None;
        }
        let offset = from.get_i64();
        let leader_epoch = from.get_i32();
        get_string(&mut from)?;
        let commit_timestamp = (from.remaining() >= 8).then(|| from.get_i64())?;
        Some(OffsetValue {
            offset,
            leader_epoch,
            commit_timestamp,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_reads_back_as_it_was_written() {
        let key = OffsetKey {
            group: "test - group".into(),
            topic: "orders".into(),
            partition: 2,
        };
        let value = OffsetValue {
            offset: 120,
            leader_epoch: 3,
            commit_timestamp: 1_700_000_000_000,
        };
        let mut bytes = vec![7];
        key.encode(&mut bytes);
        // The fixed parts stand where Kafka's schema puts them.
        assert_eq!(&bytes[..4], &[0, 1, 0, 12]);
        assert_eq!(OffsetKey::decode(bytes.clone().into()), Some(key.clone()));
        value.encode(&mut bytes);
        assert_eq!(bytes.len(), 24);
        assert_eq!(OffsetValue::decode(bytes.into()), Some(value));
    }

    #[test]
    fn other_records_of_the_topic_are_passed_over() {
        assert_eq!(
            OffsetKey::decode(Bytes::from_static(&[0, 2, 0, 1, b'g'])),
            None
        );
        assert_eq!(OffsetKey::decode(Bytes::from_static(&[0])), None);
        assert_eq!(OffsetValue::decode(Bytes::from_static(&[0, 1])), None);
    }
}
