//! Metadata records as bytes, in Kafka's own serialization (`MetadataRecordSerde`: frame version, api
//! key and version as unsigned varints, then the fields of the schema, all of them flexible).
//!
//! Each record is written at the version that metadata.version 4.0-IV3 writes and read at that
//! version alone. Fields that are not modelled are written empty; empty log directory ids Kafka reads
//! as `MIGRATING`, a directory not known.

use super::record::*;
use crate::ids::*;
use crate::quorum::varint::{put_unsigned, take_unsigned};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;

/// Why bytes are no metadata record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end early, or go on behind the last field.
    #[error("metadata record of {0} bytes does not have the length of its fields")]
    Length(usize),
    /// A frame version other than 1.
    #[error("metadata record has frame version {0}, expected 1")]
    FrameVersion(u64),
    /// An api key and version that this build does not write.
    #[error("metadata record has api key {0} version {1}, which is not modelled")]
    Unknown(u64, u64),
    /// A field has a value that its schema or this model does not allow.
    #[error("metadata record with api key {0} has a value that is not modelled in field {1}")]
    Value(u64, &'static str),
}

impl MetadataRecord {
    /// The api key of its schema and the version it is written at.
    fn key_and_version(&self) -> (u64, u64) {
        match self {
            MetadataRecord::RegisterBroker(_) => (0, 3),
            MetadataRecord::UnregisterBroker { .. } => (1, 0),
            MetadataRecord::Topic { .. } => (2, 0),
            MetadataRecord::Partition(_) => (3, 2),
            MetadataRecord::Config { .. } => (4, 0),
            MetadataRecord::PartitionChange(_) => (5, 2),
            MetadataRecord::FeatureLevel { .. } => (12, 0),
            MetadataRecord::ProducerIds { .. } => (15, 0),
            MetadataRecord::BrokerRegistrationChange(r) => {
                (17, u64::from(r.in_controlled_shutdown))
            }
        }
    }

    /// The record as the value of a Kafka record.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        let (key, version) = self.key_and_version();
        put_unsigned(&mut out, 1);
        put_unsigned(&mut out, key);
        put_unsigned(&mut out, version);
        match self {
            MetadataRecord::RegisterBroker(r) => {
                out.put_i32(r.broker);
                out.put_u8(0); // IsMigratingZkBroker
                out.put_u128(r.incarnation.0);
                out.put_i64(r.epoch);
                put_unsigned(&mut out, 1); // EndPoints
                put_unsigned(&mut out, 1); // Features
                put_unsigned(&mut out, 0); // Rack
                out.put_u8(r.fenced.into());
                out.put_u8(r.in_controlled_shutdown.into());
                put_tags(&mut out, &[]);
            }
            MetadataRecord::UnregisterBroker { broker, epoch } => {
                out.put_i32(*broker);
                out.put_i64(*epoch);
                put_tags(&mut out, &[]);
            }
            MetadataRecord::Topic { name, id } => {
                put_string(&mut out, name);
                out.put_u128(id.0);
                put_tags(&mut out, &[]);
            }
            MetadataRecord::Partition(r) => encode_partition(&mut out, r),
            MetadataRecord::Config {
                resource_type,
                resource,
                key,
                value,
            } => {
                out.put_i8(*resource_type);
                put_string(&mut out, resource);
                put_string(&mut out, key);
                match value {
                    Some(value) => put_string(&mut out, value),
                    None => put_unsigned(&mut out, 0),
                }
                put_tags(&mut out, &[]);
            }
            MetadataRecord::PartitionChange(r) => encode_partition_change(&mut out, r),
            MetadataRecord::FeatureLevel { name, level } => {
                put_string(&mut out, name);
                out.put_i16(*level);
                put_tags(&mut out, &[]);
            }
            MetadataRecord::ProducerIds {
                broker,
                broker_epoch,
                next_producer_id,
            } => {
                out.put_i32(*broker);
                out.put_i64(*broker_epoch);
                out.put_i64(*next_producer_id);
                put_tags(&mut out, &[]);
            }
            MetadataRecord::BrokerRegistrationChange(r) => {
                out.put_i32(r.broker);
                out.put_i64(r.epoch);
                let mut tags = Vec::new();
                if let Some(fenced) = r.fenced {
                    tags.push((0, vec![if fenced { 1u8 } else { 0xff }]));
                }
                if r.in_controlled_shutdown {
                    tags.push((1, vec![1]));
                }
                put_tags(&mut out, &tags);
            }
        }
        out.freeze()
    }

    /// Reads what [`encode`](Self::encode) writes.
    ///
    /// # Errors
    /// Another frame version, a record or a version that is not modelled, a value that is not, and
    /// bytes that are too few or too many.
    pub fn decode(bytes: &[u8]) -> Result<MetadataRecord, RecordError> {
        let mut input = Input {
            bytes,
            total: bytes.len(),
            key: 0,
        };
        let frame = input.unsigned()?;
        if frame != 1 {
            return Err(RecordError::FrameVersion(frame));
        }
        input.key = input.unsigned()?;
        let version = input.unsigned()?;
        let record = decode_fields(&mut input, version)?;
        if input.bytes.is_empty() {
            Ok(record)
        } else {
            Err(RecordError::Length(bytes.len()))
        }
    }
}

fn encode_partition(out: &mut BytesMut, r: &PartitionRecord) {
    out.put_i32(r.partition.partition);
    out.put_u128(r.partition.topic.0);
    put_ids(out, &r.replicas);
    put_ids(out, &r.isr);
    put_ids(out, &[]); // RemovingReplicas
    put_ids(out, &[]); // AddingReplicas
    out.put_i32(r.leader);
    out.put_i32(r.leader_epoch);
    out.put_i32(r.partition_epoch);
    put_ids(out, &[]); // Directories
    if r.recovering {
        put_tags(out, &[(0, vec![1])]);
    } else {
        put_tags(out, &[]);
    }
}

fn encode_partition_change(out: &mut BytesMut, r: &PartitionChangeRecord) {
    out.put_i32(r.partition.partition);
    out.put_u128(r.partition.topic.0);
    let ids = |ids: &[BrokerId]| {
        let mut bytes = BytesMut::new();
        put_ids(&mut bytes, ids);
        bytes.to_vec()
    };
    let mut tags = Vec::new();
    if let Some(isr) = &r.isr {
        tags.push((0, ids(isr)));
    }
    if let Some(leader) = r.leader {
        tags.push((1, leader.to_be_bytes().to_vec()));
    }
    if let Some(replicas) = &r.replicas {
        tags.push((2, ids(replicas)));
    }
    if let Some(recovering) = r.recovering {
        tags.push((5, vec![u8::from(recovering)]));
    }
    put_tags(out, &tags);
}

fn put_string(out: &mut BytesMut, value: &str) {
    put_unsigned(out, value.len() as u64 + 1);
    out.put_slice(value.as_bytes());
}

fn put_ids(out: &mut BytesMut, ids: &[BrokerId]) {
    put_unsigned(out, ids.len() as u64 + 1);
    for id in ids {
        out.put_i32(*id);
    }
}

fn put_tags(out: &mut BytesMut, tags: &[(u64, Vec<u8>)]) {
    put_unsigned(out, tags.len() as u64);
    for (tag, value) in tags {
        put_unsigned(out, *tag);
        put_unsigned(out, value.len() as u64);
        out.put_slice(value);
    }
}

/// The rest of a record's bytes.
struct Input<'a> {
    bytes: &'a [u8],
    total: usize,
    key: u64,
}

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], RecordError> {
        if n > self.bytes.len() {
            return Err(RecordError::Length(self.total));
        }
        let (taken, rest) = self.bytes.split_at(n);
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    fn unsigned(&mut self) -> Result<u64, RecordError> {
        take_unsigned(&mut self.bytes).ok_or(RecordError::Length(self.total))
    }

    fn i8(&mut self) -> Result<i8, RecordError> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    fn i16(&mut self) -> Result<i16, RecordError> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    fn u128(&mut self) -> Result<u128, RecordError> {
        Ok(u128::from_be_bytes(self.array()?))
    }

    fn bool(&mut self) -> Result<bool, RecordError> {
        Ok(self.i8()? != 0)
    }

    /// A compact length, `None` for null. Bounded by the bytes that are left.
    fn length(&mut self) -> Result<Option<usize>, RecordError> {
        match self.unsigned()? {
            0 => Ok(None),
            n if n - 1 <= self.bytes.len() as u64 => Ok(Some((n - 1) as usize)),
            _ => Err(RecordError::Length(self.total)),
        }
    }

    fn nullable_string(&mut self) -> Result<Option<String>, RecordError> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| RecordError::Value(self.key, "string"))
    }

    fn string(&mut self) -> Result<String, RecordError> {
        self.nullable_string()?
            .ok_or(RecordError::Value(self.key, "string"))
    }

    fn ids(&mut self) -> Result<Arc<[BrokerId]>, RecordError> {
        let length = self
            .length()?
            .ok_or(RecordError::Value(self.key, "array"))?;
        (0..length).map(|_| self.i32()).collect()
    }

    /// An array that this model leaves empty.
    fn empty(&mut self, field: &'static str) -> Result<(), RecordError> {
        match self.unsigned()? {
            0 | 1 => Ok(()),
            _ => Err(RecordError::Value(self.key, field)),
        }
    }

    /// The tagged fields: tag and bytes.
    fn tags(&mut self) -> Result<Vec<(u64, Input<'a>)>, RecordError> {
        let mut tags = Vec::new();
        for _ in 0..self.unsigned()? {
            let tag = self.unsigned()?;
            let length =
                usize::try_from(self.unsigned()?).map_err(|_| RecordError::Length(self.total))?;
            let bytes = self.take(length)?;
            let total = bytes.len();
            let key = self.key;
            tags.push((tag, Input { bytes, total, key }));
        }
        Ok(tags)
    }

    fn no_tags(&mut self) -> Result<(), RecordError> {
        if self.tags()?.is_empty() {
            Ok(())
        } else {
            Err(RecordError::Value(self.key, "tagged fields"))
        }
    }
}

fn decode_fields(input: &mut Input<'_>, version: u64) -> Result<MetadataRecord, RecordError> {
    let record = match (input.key, version) {
        (0, 3) => decode_register_broker(input)?,
        (1, 0) => MetadataRecord::UnregisterBroker {
            broker: input.i32()?,
            epoch: input.i64()?,
        },
        (2, 0) => MetadataRecord::Topic {
            name: input.string()?.into(),
            id: TopicId(input.u128()?),
        },
        (3, 2) => return decode_partition(input),
        (4, 0) => MetadataRecord::Config {
            resource_type: input.i8()?,
            resource: input.string()?.into(),
            key: input.string()?,
            value: input.nullable_string()?,
        },
        (5, 2) => return decode_partition_change(input),
        (12, 0) => MetadataRecord::FeatureLevel {
            name: input.string()?,
            level: input.i16()?,
        },
        (15, 0) => MetadataRecord::ProducerIds {
            broker: input.i32()?,
            broker_epoch: input.i64()?,
            next_producer_id: input.i64()?,
        },
        (17, 0 | 1) => return decode_registration_change(input),
        (key, version) => return Err(RecordError::Unknown(key, version)),
    };
    input.no_tags()?;
    Ok(record)
}

fn decode_register_broker(input: &mut Input<'_>) -> Result<MetadataRecord, RecordError> {
    let broker = input.i32()?;
    if input.bool()? {
        return Err(RecordError::Value(0, "IsMigratingZkBroker"));
    }
    let incarnation = Incarnation(input.u128()?);
    let epoch = input.i64()?;
    input.empty("EndPoints")?;
    input.empty("Features")?;
    input.empty("Rack")?;
    Ok(MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker,
        incarnation,
        epoch,
        fenced: input.bool()?,
        in_controlled_shutdown: input.bool()?,
    }))
}

fn decode_partition(input: &mut Input<'_>) -> Result<MetadataRecord, RecordError> {
    let partition = input.i32()?;
    let topic = TopicId(input.u128()?);
    let replicas = input.ids()?;
    let isr = input.ids()?;
    input.empty("RemovingReplicas")?;
    input.empty("AddingReplicas")?;
    let leader = input.i32()?;
    let leader_epoch = input.i32()?;
    let partition_epoch = input.i32()?;
    input.empty("Directories")?;
    let mut recovering = false;
    for (tag, mut value) in input.tags()? {
        match tag {
            0 => recovering = value.bool()?,
            _ => return Err(RecordError::Value(3, "EligibleLeaderReplicas")),
        }
    }
    Ok(MetadataRecord::Partition(PartitionRecord {
        partition: TopicPartition::new(topic, partition),
        replicas,
        isr,
        leader,
        recovering,
        leader_epoch,
        partition_epoch,
    }))
}

fn decode_partition_change(input: &mut Input<'_>) -> Result<MetadataRecord, RecordError> {
    let partition = input.i32()?;
    let topic = TopicId(input.u128()?);
    let mut change = PartitionChangeRecord::none(TopicPartition::new(topic, partition));
    for (tag, mut value) in input.tags()? {
        match tag {
            0 => change.isr = Some(value.ids()?),
            1 => change.leader = Some(value.i32()?),
            2 => change.replicas = Some(value.ids()?),
            5 => change.recovering = Some(value.bool()?),
            _ => return Err(RecordError::Value(5, "tagged fields")),
        }
    }
    Ok(MetadataRecord::PartitionChange(change))
}

fn decode_registration_change(input: &mut Input<'_>) -> Result<MetadataRecord, RecordError> {
    let mut change = BrokerRegistrationChangeRecord {
        broker: input.i32()?,
        epoch: input.i64()?,
        fenced: None,
        in_controlled_shutdown: false,
    };
    for (tag, mut value) in input.tags()? {
        match (tag, value.i8()?) {
            (0, 1) => change.fenced = Some(true),
            (0, -1) => change.fenced = Some(false),
            (1, 1) => change.in_controlled_shutdown = true,
            _ => return Err(RecordError::Value(17, "tagged fields")),
        }
    }
    Ok(MetadataRecord::BrokerRegistrationChange(change))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp() -> TopicPartition {
        TopicPartition::new(TopicId(0xdead_beef), 2)
    }

    fn samples() -> Vec<MetadataRecord> {
        let registration = RegisterBrokerRecord {
            broker: 2,
            incarnation: Incarnation(u128::MAX - 5),
            epoch: 1 << 40,
            fenced: true,
            in_controlled_shutdown: false,
        };
        let change = BrokerRegistrationChangeRecord {
            broker: 2,
            epoch: 77,
            fenced: Some(false),
            in_controlled_shutdown: false,
        };
        let partition = PartitionRecord {
            partition: tp(),
            replicas: [0, 1, 2].into(),
            isr: [1].into(),
            leader: 1,
            recovering: false,
            leader_epoch: 300,
            partition_epoch: 301,
        };
        let none = PartitionChangeRecord::none(tp());
        vec![
            MetadataRecord::RegisterBroker(registration),
            MetadataRecord::RegisterBroker(RegisterBrokerRecord {
                fenced: false,
                in_controlled_shutdown: true,
                ..registration
            }),
            MetadataRecord::UnregisterBroker {
                broker: 9,
                epoch: 8,
            },
            MetadataRecord::Topic {
                name: "payments".into(),
                id: TopicId(7),
            },
            MetadataRecord::Partition(partition.clone()),
            MetadataRecord::Partition(PartitionRecord {
                recovering: true,
                ..partition
            }),
            MetadataRecord::Config {
                resource_type: TOPIC_RESOURCE,
                resource: "payments".into(),
                key: "min.insync.replicas".into(),
                value: Some("2".into()),
            },
            MetadataRecord::Config {
                resource_type: TOPIC_RESOURCE,
                resource: "payments".into(),
                key: "min.insync.replicas".into(),
                value: None,
            },
            MetadataRecord::PartitionChange(PartitionChangeRecord {
                isr: Some([2, 0].into()),
                leader: Some(NO_BROKER),
                replicas: Some([2, 1, 0].into()),
                recovering: Some(true),
                ..none.clone()
            }),
            MetadataRecord::PartitionChange(PartitionChangeRecord {
                recovering: Some(false),
                ..none
            }),
            MetadataRecord::FeatureLevel {
                name: METADATA_VERSION_FEATURE.into(),
                level: 25,
            },
            MetadataRecord::ProducerIds {
                broker: 1,
                broker_epoch: 5,
                next_producer_id: 2000,
            },
            MetadataRecord::BrokerRegistrationChange(change),
            MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                fenced: Some(true),
                ..change
            }),
            MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                fenced: None,
                in_controlled_shutdown: true,
                ..change
            }),
        ]
    }

    #[test]
    fn every_record_reads_back_as_it_was_written() {
        for record in samples() {
            assert_eq!(MetadataRecord::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn a_record_cut_short_or_followed_by_bytes_is_refused() {
        for record in samples() {
            let bytes = record.encode();
            for end in 0..bytes.len() {
                assert!(
                    MetadataRecord::decode(&bytes[..end]).is_err(),
                    "{record:?} cut at {end}"
                );
            }
            let mut longer = bytes.to_vec();
            longer.push(0);
            assert_eq!(
                MetadataRecord::decode(&longer),
                Err(RecordError::Length(longer.len()))
            );
        }
    }

    /// Written out by hand after the schema, as `MetadataRecordSerde` lays it out.
    #[test]
    fn a_fencing_record_has_kafkas_bytes() {
        let record = MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
            broker: 1,
            epoch: 10,
            fenced: Some(true),
            in_controlled_shutdown: false,
        });
        let expected = [
            1, 17, 0, // frame version, api key, version
            0, 0, 0, 1, // BrokerId
            0, 0, 0, 0, 0, 0, 0, 10, // BrokerEpoch
            1, 0, 1, 1, // one tag: 0, of one byte, FENCE
        ];
        assert_eq!(&record.encode()[..], &expected);
    }

    #[test]
    fn records_of_other_versions_are_refused_not_misread() {
        let mut bytes = samples()[0].encode().to_vec();
        bytes[2] = 1;
        assert_eq!(
            MetadataRecord::decode(&bytes),
            Err(RecordError::Unknown(0, 1))
        );
        bytes[0] = 0;
        assert_eq!(
            MetadataRecord::decode(&bytes),
            Err(RecordError::FrameVersion(0))
        );
    }
}
