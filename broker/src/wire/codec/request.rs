//! Requests of clients and followers in the schema crate's words.

use super::shape::Field::{Array, Fixed, Tags, Text};
use super::shape::{INTS, NO_TAGS, Shape};
use super::*;
use kafka::{
    fetch_request as fetch, list_offsets_request as list_offsets, metadata_request as metadata,
    offset_commit_request as offset_commit, offset_fetch_request as offset_fetch,
    offset_for_leader_epoch_request as offset_for_leader_epoch, produce_request as produce,
};

impl Wire for ProduceRequest {
    type Kafka = kafka::ProduceRequest;
    const API: ApiKey = ApiKey::Produce;
    const SHAPE: Shape = &[
        Text,
        Fixed(2 + 4),
        Array(&[Fixed(16), Array(&[Fixed(4), Text, NO_TAGS]), NO_TAGS]),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let partition = |p: &ProducePartition| {
            produce::PartitionProduceData::default()
                .with_index(p.partition)
                .with_records(Some(p.records.clone()))
        };
        let topic = |(id, partitions): &(TopicId, Items<ProducePartition>)| {
            produce::TopicProduceData::default()
                .with_topic_id(uuid(*id))
                .with_partition_data(partitions.iter().map(partition).collect())
        };
        kafka::ProduceRequest::default()
            .with_acks(self.acks)
            .with_timeout_ms(self.timeout_ms)
            .with_topic_data(self.topics.iter().map(topic).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        if body.transactional_id.is_some() {
            return Self::not_spoken("a transactional id");
        }
        let partition = |p: produce::PartitionProduceData| ProducePartition {
            partition: p.index,
            records: p.records.unwrap_or_default(),
        };
        let topic = |t: produce::TopicProduceData| {
            (
                topic_id(t.topic_id),
                t.partition_data.into_iter().map(partition).collect(),
            )
        };
        Ok(ProduceRequest {
            acks: body.acks,
            timeout_ms: body.timeout_ms,
            topics: body.topic_data.into_iter().map(topic).collect(),
        })
    }
}

impl Wire for FetchRequest {
    type Kafka = kafka::FetchRequest;
    const API: ApiKey = ApiKey::Fetch;
    const SHAPE: Shape = &[
        Fixed(4 + 4 + 4 + 1 + 4 + 4),
        Array(&[
            Fixed(16),
            Array(&[Fixed(4 + 4 + 8 + 4 + 8 + 4), Tags(&[(0, &[Fixed(16)])])]),
            NO_TAGS,
        ]),
        Array(&[Fixed(16), INTS, NO_TAGS]),
        Text,
        // Cluster id; replica id and epoch (KIP-903).
        Tags(&[(0, &[Text]), (1, &[Fixed(4 + 8), NO_TAGS])]),
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let partition = |p: &FetchPartition| {
            fetch::FetchPartition::default()
                .with_partition(p.partition)
                .with_current_leader_epoch(p.current_leader_epoch)
                .with_fetch_offset(p.fetch_offset)
                .with_last_fetched_epoch(p.last_fetched_epoch)
                .with_log_start_offset(p.log_start_offset)
                .with_partition_max_bytes(p.partition_max_bytes)
        };
        let topic = |(id, partitions): &(TopicId, Items<FetchPartition>)| {
            fetch::FetchTopic::default()
                .with_topic_id(uuid(*id))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        let replica = fetch::ReplicaState::default()
            .with_replica_id(self.replica_id.into())
            .with_replica_epoch(self.replica_epoch);
        kafka::FetchRequest::default()
            .with_replica_state(replica)
            .with_max_wait_ms(self.max_wait_ms)
            .with_min_bytes(self.min_bytes)
            .with_max_bytes(self.max_bytes)
            .with_isolation_level(self.isolation_level)
            // Id 0 and epoch -1: a full fetch that asks for no session (`FetchMetadata.LEGACY`).
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(self.topics.iter().map(topic).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        // Epoch 0 asks for a new session, which a broker may decline by answering session id 0;
        // from 1 on the request names only what has changed.
        if body.session_epoch > 0 || !body.forgotten_topics_data.is_empty() {
            return Self::not_spoken("an incremental fetch");
        }
        let partition = |p: fetch::FetchPartition| FetchPartition {
            partition: p.partition,
            current_leader_epoch: p.current_leader_epoch,
            fetch_offset: p.fetch_offset,
            last_fetched_epoch: p.last_fetched_epoch,
            log_start_offset: p.log_start_offset,
            partition_max_bytes: p.partition_max_bytes,
        };
        let topic = |t: fetch::FetchTopic| {
            (
                topic_id(t.topic_id),
                t.partitions.into_iter().map(partition).collect(),
            )
        };
        Ok(FetchRequest {
            replica_id: body.replica_state.replica_id.0,
            replica_epoch: body.replica_state.replica_epoch,
            max_wait_ms: body.max_wait_ms,
            min_bytes: body.min_bytes,
            max_bytes: body.max_bytes,
            isolation_level: body.isolation_level,
            topics: body.topics.into_iter().map(topic).collect(),
        })
    }
}

impl Wire for ListOffsetsRequest {
    type Kafka = kafka::ListOffsetsRequest;
    const API: ApiKey = ApiKey::ListOffsets;
    const SHAPE: Shape = &[
        Fixed(4 + 1),
        Array(&[Text, Array(&[Fixed(4 + 4 + 8), NO_TAGS]), NO_TAGS]),
        Fixed(4),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let partition = |p: &ListOffsetsPartition| {
            list_offsets::ListOffsetsPartition::default()
                .with_partition_index(p.partition)
                .with_current_leader_epoch(p.current_leader_epoch)
                .with_timestamp(p.timestamp)
        };
        let topic = |(name, partitions): &(TopicName, Items<ListOffsetsPartition>)| {
            list_offsets::ListOffsetsTopic::default()
                .with_name(kafka_name(name))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        kafka::ListOffsetsRequest::default()
            .with_replica_id(self.replica_id.into())
            .with_isolation_level(self.isolation_level)
            .with_topics(self.topics.iter().map(topic).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let partition = |p: list_offsets::ListOffsetsPartition| ListOffsetsPartition {
            partition: p.partition_index,
            current_leader_epoch: p.current_leader_epoch,
            timestamp: p.timestamp,
        };
        let topic = |t: list_offsets::ListOffsetsTopic| {
            (
                name(&t.name),
                t.partitions.into_iter().map(partition).collect(),
            )
        };
        Ok(ListOffsetsRequest {
            replica_id: body.replica_id.0,
            isolation_level: body.isolation_level,
            topics: body.topics.into_iter().map(topic).collect(),
        })
    }
}

impl Wire for MetadataRequest {
    type Kafka = kafka::MetadataRequest;
    const API: ApiKey = ApiKey::Metadata;
    const SHAPE: Shape = &[Array(&[Fixed(16), Text, NO_TAGS]), Fixed(1 + 1), NO_TAGS];

    fn to_kafka(&self) -> Self::Kafka {
        let topic = |name: &TopicName| {
            metadata::MetadataRequestTopic::default().with_name(Some(kafka_name(name)))
        };
        let topics = self.topics.as_ref();
        kafka::MetadataRequest::default()
            .with_topics(topics.map(|names| names.iter().map(topic).collect()))
            .with_allow_auto_topic_creation(self.allow_auto_topic_creation)
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let topic = |t: metadata::MetadataRequestTopic| match t.name {
            Some(text) => Ok(name(&text)),
            None => Self::not_spoken("a topic asked for by its id"),
        };
        let topics = body
            .topics
            .map(|topics| topics.into_iter().map(topic).collect());
        Ok(MetadataRequest {
            topics: topics.transpose()?,
            allow_auto_topic_creation: body.allow_auto_topic_creation,
        })
    }
}

impl Wire for OffsetCommitRequest {
    type Kafka = kafka::OffsetCommitRequest;
    const API: ApiKey = ApiKey::OffsetCommit;
    const SHAPE: Shape = &[
        Text,
        Fixed(4),
        Text,
        Text,
        Array(&[Text, Array(&[Fixed(4 + 8 + 4), Text, NO_TAGS]), NO_TAGS]),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let partition = |p: &CommitPartition| {
            offset_commit::OffsetCommitRequestPartition::default()
                .with_partition_index(p.partition)
                .with_committed_offset(p.offset)
                .with_committed_leader_epoch(p.leader_epoch)
        };
        let topic = |(name, partitions): &(TopicName, Items<CommitPartition>)| {
            offset_commit::OffsetCommitRequestTopic::default()
                .with_name(kafka_name(name))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        kafka::OffsetCommitRequest::default()
            .with_group_id(kafka::GroupId(str_bytes(&self.group)))
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(str_bytes(&self.member_id))
            .with_topics(self.topics.iter().map(topic).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let partition = |p: offset_commit::OffsetCommitRequestPartition| CommitPartition {
            partition: p.partition_index,
            offset: p.committed_offset,
            leader_epoch: p.committed_leader_epoch,
        };
        let topic = |t: offset_commit::OffsetCommitRequestTopic| {
            (
                name(&t.name),
                t.partitions.into_iter().map(partition).collect(),
            )
        };
        Ok(OffsetCommitRequest {
            group: name(&body.group_id),
            generation: body.generation_id_or_member_epoch,
            member_id: name(&body.member_id),
            topics: body.topics.into_iter().map(topic).collect(),
        })
    }
}

impl Wire for OffsetFetchRequest {
    type Kafka = kafka::OffsetFetchRequest;
    const API: ApiKey = ApiKey::OffsetFetch;
    const SHAPE: Shape = &[
        Array(&[Text, Text, Fixed(4), Array(&[Text, INTS, NO_TAGS]), NO_TAGS]),
        Fixed(1),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let topic = |(name, partitions): &(TopicName, Items<i32>)| {
            offset_fetch::OffsetFetchRequestTopics::default()
                .with_name(kafka_name(name))
                .with_partition_indexes(partitions.to_vec())
        };
        let group = offset_fetch::OffsetFetchRequestGroup::default()
            .with_group_id(kafka::GroupId(str_bytes(&self.group)))
            .with_topics(Some(self.topics.iter().map(topic).collect()));
        kafka::OffsetFetchRequest::default()
            .with_groups(vec![group])
            .with_require_stable(self.require_stable)
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let group = only::<Self, _>(body.groups, "OffsetFetch for other than one group")?;
        let Some(topics) = group.topics else {
            return Self::not_spoken("OffsetFetch for all partitions of a group");
        };
        let topic =
            |t: offset_fetch::OffsetFetchRequestTopics| (name(&t.name), t.partition_indexes.into());
        Ok(OffsetFetchRequest {
            group: name(&group.group_id),
            require_stable: body.require_stable,
            topics: topics.into_iter().map(topic).collect(),
        })
    }
}

impl Wire for FindCoordinatorRequest {
    type Kafka = kafka::FindCoordinatorRequest;
    const API: ApiKey = ApiKey::FindCoordinator;
    const SHAPE: Shape = &[Fixed(1), Array(&[Text]), NO_TAGS];

    fn to_kafka(&self) -> Self::Kafka {
        kafka::FindCoordinatorRequest::default()
            .with_key_type(GROUP_COORDINATOR)
            .with_coordinator_keys(vec![str_bytes(&self.group)])
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        if body.key_type != GROUP_COORDINATOR {
            return Self::not_spoken("a coordinator of anything but groups");
        }
        let key = only::<Self, _>(
            body.coordinator_keys,
            "FindCoordinator for other than one key",
        )?;
        Ok(FindCoordinatorRequest { group: name(&key) })
    }
}

/// `FindCoordinatorRequest.CoordinatorType.GROUP`.
const GROUP_COORDINATOR: i8 = 0;

impl Wire for ApiVersionsRequest {
    type Kafka = kafka::ApiVersionsRequest;
    const API: ApiKey = ApiKey::ApiVersions;
    const SHAPE: Shape = &[Text, Text, NO_TAGS];

    fn to_kafka(&self) -> Self::Kafka {
        kafka::ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(CLIENT_ID))
            .with_client_software_version(StrBytes::from_static_str(CLIENT_SOFTWARE_VERSION))
    }

    fn from_kafka(_: Self::Kafka) -> Result<Self, DecodeError> {
        Ok(ApiVersionsRequest)
    }
}

impl Wire for InitProducerIdRequest {
    type Kafka = kafka::InitProducerIdRequest;
    const API: ApiKey = ApiKey::InitProducerId;
    const SHAPE: Shape = &[Text, Fixed(4 + 8 + 2), NO_TAGS];

    fn to_kafka(&self) -> Self::Kafka {
        kafka::InitProducerIdRequest::default()
            .with_transactional_id(None)
            // What Kafka's producer sends where there is no transaction to time out.
            .with_transaction_timeout_ms(i32::MAX)
            .with_producer_id(self.producer_id.into())
            .with_producer_epoch(self.producer_epoch)
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        if body.transactional_id.is_some() {
            return Self::not_spoken("a transactional id");
        }
        Ok(InitProducerIdRequest {
            producer_id: body.producer_id.0,
            producer_epoch: body.producer_epoch,
        })
    }
}

impl Wire for OffsetForLeaderEpochRequest {
    type Kafka = kafka::OffsetForLeaderEpochRequest;
    const API: ApiKey = ApiKey::OffsetForLeaderEpoch;
    const SHAPE: Shape = &[
        Fixed(4),
        Array(&[Text, Array(&[Fixed(4 + 4 + 4), NO_TAGS]), NO_TAGS]),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let partition = |p: &EpochPartition| {
            offset_for_leader_epoch::OffsetForLeaderPartition::default()
                .with_partition(p.partition)
                .with_current_leader_epoch(p.current_leader_epoch)
                .with_leader_epoch(p.leader_epoch)
        };
        let topic = |(name, partitions): &(TopicName, Items<EpochPartition>)| {
            offset_for_leader_epoch::OffsetForLeaderTopic::default()
                .with_topic(kafka_name(name))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        kafka::OffsetForLeaderEpochRequest::default()
            .with_replica_id(self.replica_id.into())
            .with_topics(self.topics.iter().map(topic).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let partition = |p: offset_for_leader_epoch::OffsetForLeaderPartition| EpochPartition {
            partition: p.partition,
            current_leader_epoch: p.current_leader_epoch,
            leader_epoch: p.leader_epoch,
        };
        let topic = |t: offset_for_leader_epoch::OffsetForLeaderTopic| {
            (
                name(&t.topic),
                t.partitions.into_iter().map(partition).collect(),
            )
        };
        Ok(OffsetForLeaderEpochRequest {
            replica_id: body.replica_id.0,
            topics: body.topics.into_iter().map(topic).collect(),
        })
    }
}
