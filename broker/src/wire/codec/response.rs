//! Answers to clients and followers in the schema crate's words.

use super::shape::Field::{Array, Fixed, Tags, Text};
use super::shape::{Field, INTS, NO_TAGS, Shape};
use super::*;
use kafka::{
    api_versions_response as api_versions, fetch_response as fetch,
    find_coordinator_response as find_coordinator, list_offsets_response as list_offsets,
    metadata_response as metadata, offset_commit_response as offset_commit,
    offset_fetch_response as offset_fetch,
    offset_for_leader_epoch_response as offset_for_leader_epoch, produce_response as produce,
};

/// Leader id and epoch (KIP-951).
const CURRENT_LEADER: Shape = &[Fixed(4 + 4), NO_TAGS];
/// Where those leaders are (KIP-951).
const NODE_ENDPOINTS: Field = Array(&[Fixed(4), Text, Fixed(4), Text, NO_TAGS]);

impl Wire for ProduceResponse {
    type Kafka = kafka::ProduceResponse;
    const API: ApiKey = ApiKey::Produce;
    const SHAPE: Shape = &[
        Array(&[
            Fixed(16),
            Array(&[
                Fixed(4 + 2 + 8 + 8 + 8),
                Array(&[Fixed(4), Text, NO_TAGS]),
                Text,
                Tags(&[(0, CURRENT_LEADER)]),
            ]),
            NO_TAGS,
        ]),
        Fixed(4),
        Tags(&[(0, &[NODE_ENDPOINTS])]),
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let partition = |p: &ProducePartitionResult| {
            let (leader, epoch) = p.current_leader;
            produce::PartitionProduceResponse::default()
                .with_index(p.partition)
                .with_error_code(p.error as i16)
                .with_base_offset(p.base_offset)
                .with_log_start_offset(p.log_start_offset)
                .with_current_leader(
                    produce::LeaderIdAndEpoch::default()
                        .with_leader_id(leader.into())
                        .with_leader_epoch(epoch),
                )
        };
        let topic = |(id, partitions): &(TopicId, Items<ProducePartitionResult>)| {
            produce::TopicProduceResponse::default()
                .with_topic_id(uuid(*id))
                .with_partition_responses(partitions.iter().map(partition).collect())
        };
        let endpoint = |leader: &BrokerId| {
            let (host, port) = host_and_port(*leader);
            produce::NodeEndpoint::default()
                .with_node_id((*leader).into())
                .with_host(host)
                .with_port(port)
        };
        kafka::ProduceResponse::default()
            .with_responses(self.topics.iter().map(topic).collect())
            .with_node_endpoints(self.node_endpoints.iter().map(endpoint).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let partition = |p: produce::PartitionProduceResponse| ProducePartitionResult {
            partition: p.index,
            error: error(p.error_code),
            base_offset: p.base_offset,
            log_start_offset: p.log_start_offset,
            current_leader: (p.current_leader.leader_id.0, p.current_leader.leader_epoch),
        };
        let topic = |t: produce::TopicProduceResponse| {
            (
                topic_id(t.topic_id),
                t.partition_responses.into_iter().map(partition).collect(),
            )
        };
        Ok(ProduceResponse {
            topics: body.responses.into_iter().map(topic).collect(),
            node_endpoints: body.node_endpoints.iter().map(|e| e.node_id.0).collect(),
        })
    }
}

impl Wire for FetchResponse {
    type Kafka = kafka::FetchResponse;
    const API: ApiKey = ApiKey::Fetch;
    const SHAPE: Shape = &[
        Fixed(4 + 2 + 4),
        Array(&[
            Fixed(16),
            Array(&[
                Fixed(4 + 2 + 8 + 8 + 8),
                Array(&[Fixed(8 + 8), NO_TAGS]),
                Fixed(4),
                Text,
                // Diverging epoch and its end (KIP-595), current leader, snapshot id (KIP-630).
                Tags(&[
                    (0, &[Fixed(4 + 8), NO_TAGS]),
                    (1, CURRENT_LEADER),
                    (2, &[Fixed(8 + 4), NO_TAGS]),
                ]),
            ]),
            NO_TAGS,
        ]),
        Tags(&[(0, &[NODE_ENDPOINTS])]),
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let topic = |(id, partitions): &(TopicId, Items<FetchPartitionResult>)| {
            fetch::FetchableTopicResponse::default()
                .with_topic_id(uuid(*id))
                .with_partitions(partitions.iter().map(fetched_partition).collect())
        };
        let endpoint = |leader: &BrokerId| {
            let (host, port) = host_and_port(*leader);
            fetch::NodeEndpoint::default()
                .with_node_id((*leader).into())
                .with_host(host)
                .with_port(port)
        };
        kafka::FetchResponse::default()
            .with_error_code(self.error as i16)
            .with_responses(self.topics.iter().map(topic).collect())
            .with_node_endpoints(self.node_endpoints.iter().map(endpoint).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let topic = |t: fetch::FetchableTopicResponse| {
            let partitions = t.partitions.into_iter().map(read_fetched_partition);
            Ok((topic_id(t.topic_id), partitions.collect::<Result<_, _>>()?))
        };
        Ok(FetchResponse {
            error: error(body.error_code),
            topics: body
                .responses
                .into_iter()
                .map(topic)
                .collect::<Result<_, _>>()?,
            node_endpoints: body.node_endpoints.iter().map(|e| e.node_id.0).collect(),
        })
    }
}

fn fetched_partition(p: &FetchPartitionResult) -> fetch::PartitionData {
    let (leader, leader_epoch) = p.current_leader;
    let data = fetch::PartitionData::default()
        .with_partition_index(p.partition)
        .with_error_code(p.error as i16)
        .with_high_watermark(p.high_watermark)
        .with_last_stable_offset(p.last_stable_offset)
        .with_log_start_offset(p.log_start_offset)
        .with_current_leader(
            fetch::LeaderIdAndEpoch::default()
                .with_leader_id(leader.into())
                .with_leader_epoch(leader_epoch),
        )
        .with_aborted_transactions(None)
        .with_records(Some(p.records.clone()));
    let Some((epoch, end_offset)) = p.diverging_epoch else {
        return data;
    };
    assert_ne!(
        (epoch, end_offset),
        (-1, -1),
        "partition {}: no diverging epoch",
        p.partition
    );
    data.with_diverging_epoch(
        fetch::EpochEndOffset::default()
            .with_epoch(epoch)
            .with_end_offset(end_offset),
    )
}

fn read_fetched_partition(p: fetch::PartitionData) -> Result<FetchPartitionResult, DecodeError> {
    if p.aborted_transactions
        .is_some_and(|aborted| !aborted.is_empty())
    {
        return FetchResponse::not_spoken("an aborted transaction");
    }
    if p.snapshot_id != fetch::SnapshotId::default() {
        return FetchResponse::not_spoken("a snapshot to fetch");
    }
    let diverging_epoch = (p.diverging_epoch.epoch, p.diverging_epoch.end_offset);
    Ok(FetchPartitionResult {
        partition: p.partition_index,
        error: error(p.error_code),
        high_watermark: p.high_watermark,
        last_stable_offset: p.last_stable_offset,
        log_start_offset: p.log_start_offset,
        diverging_epoch: (diverging_epoch != (-1, -1)).then_some(diverging_epoch),
        current_leader: (p.current_leader.leader_id.0, p.current_leader.leader_epoch),
        records: p.records.unwrap_or_default(),
    })
}

impl Wire for ListOffsetsResponse {
    type Kafka = kafka::ListOffsetsResponse;
    const API: ApiKey = ApiKey::ListOffsets;
    const SHAPE: Shape = &[
        Fixed(4),
        Array(&[Text, Array(&[Fixed(4 + 2 + 8 + 8 + 4), NO_TAGS]), NO_TAGS]),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let partition = |p: &ListOffsetsPartitionResult| {
            list_offsets::ListOffsetsPartitionResponse::default()
                .with_partition_index(p.partition)
                .with_error_code(p.error as i16)
                .with_timestamp(p.timestamp)
                .with_offset(p.offset)
                .with_leader_epoch(p.leader_epoch)
        };
        let topic = |(name, partitions): &(TopicName, Items<ListOffsetsPartitionResult>)| {
            list_offsets::ListOffsetsTopicResponse::default()
                .with_name(kafka_name(name))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        kafka::ListOffsetsResponse::default().with_topics(self.topics.iter().map(topic).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let partition =
            |p: list_offsets::ListOffsetsPartitionResponse| ListOffsetsPartitionResult {
                partition: p.partition_index,
                error: error(p.error_code),
                timestamp: p.timestamp,
                offset: p.offset,
                leader_epoch: p.leader_epoch,
            };
        let topic = |t: list_offsets::ListOffsetsTopicResponse| {
            (
                name(&t.name),
                t.partitions.into_iter().map(partition).collect(),
            )
        };
        Ok(ListOffsetsResponse {
            topics: body.topics.into_iter().map(topic).collect(),
        })
    }
}

impl Wire for MetadataResponse {
    type Kafka = kafka::MetadataResponse;
    const API: ApiKey = ApiKey::Metadata;
    const SHAPE: Shape = &[
        Fixed(4),
        Array(&[Fixed(4), Text, Fixed(4), Text, NO_TAGS]),
        Text,
        Fixed(4),
        Array(&[
            Fixed(2),
            Text,
            Fixed(16 + 1),
            Array(&[Fixed(2 + 4 + 4 + 4), INTS, INTS, INTS, NO_TAGS]),
            Fixed(4),
            NO_TAGS,
        ]),
        Fixed(2),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let broker = |broker: &BrokerId| {
            let (host, port) = host_and_port(*broker);
            metadata::MetadataResponseBroker::default()
                .with_node_id((*broker).into())
                .with_host(host)
                .with_port(port)
        };
        let ids = |ids: &[BrokerId]| ids.iter().map(|id| (*id).into()).collect();
        let partition = |p: &PartitionMetadata| {
            metadata::MetadataResponsePartition::default()
                .with_error_code(p.error as i16)
                .with_partition_index(p.partition)
                .with_leader_id(p.leader.into())
                .with_leader_epoch(p.leader_epoch)
                .with_replica_nodes(ids(&p.replicas))
                .with_isr_nodes(ids(&p.isr))
        };
        let topic = |t: &TopicMetadata| {
            metadata::MetadataResponseTopic::default()
                .with_error_code(t.error as i16)
                .with_name(Some(kafka_name(&t.name)))
                .with_topic_id(uuid(t.id))
                .with_partitions(t.partitions.iter().map(partition).collect())
        };
        kafka::MetadataResponse::default()
            .with_brokers(self.brokers.iter().map(broker).collect())
            .with_controller_id(self.controller.into())
            .with_topics(self.topics.iter().map(topic).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        if body.error_code != 0 {
            return Self::not_spoken("an error for all of Metadata");
        }
        let ids = |ids: Vec<kafka::BrokerId>| ids.into_iter().map(|id| id.0).collect();
        let partition = |p: metadata::MetadataResponsePartition| PartitionMetadata {
            error: error(p.error_code),
            partition: p.partition_index,
            leader: p.leader_id.0,
            leader_epoch: p.leader_epoch,
            replicas: ids(p.replica_nodes),
            isr: ids(p.isr_nodes),
        };
        let topic = |t: metadata::MetadataResponseTopic| match t.name {
            None => Self::not_spoken("a topic without name"),
            Some(text) => Ok(TopicMetadata {
                error: error(t.error_code),
                name: name(&text),
                id: topic_id(t.topic_id),
                partitions: t.partitions.into_iter().map(partition).collect(),
            }),
        };
        Ok(MetadataResponse {
            brokers: body.brokers.into_iter().map(|b| b.node_id.0).collect(),
            controller: body.controller_id.0,
            topics: body
                .topics
                .into_iter()
                .map(topic)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Wire for OffsetCommitResponse {
    type Kafka = kafka::OffsetCommitResponse;
    const API: ApiKey = ApiKey::OffsetCommit;
    const SHAPE: Shape = &[
        Fixed(4),
        Array(&[Text, Array(&[Fixed(4 + 2), NO_TAGS]), NO_TAGS]),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let partition = |(partition, error): &(i32, ErrorCode)| {
            offset_commit::OffsetCommitResponsePartition::default()
                .with_partition_index(*partition)
                .with_error_code(*error as i16)
        };
        let topic = |(name, partitions): &(TopicName, Items<(i32, ErrorCode)>)| {
            offset_commit::OffsetCommitResponseTopic::default()
                .with_name(kafka_name(name))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        kafka::OffsetCommitResponse::default().with_topics(self.topics.iter().map(topic).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let partition = |p: offset_commit::OffsetCommitResponsePartition| {
            (p.partition_index, error(p.error_code))
        };
        let topic = |t: offset_commit::OffsetCommitResponseTopic| {
            (
                name(&t.name),
                t.partitions.into_iter().map(partition).collect(),
            )
        };
        Ok(OffsetCommitResponse {
            topics: body.topics.into_iter().map(topic).collect(),
        })
    }
}

impl Wire for OffsetFetchResponse {
    type Kafka = kafka::OffsetFetchResponse;
    const API: ApiKey = ApiKey::OffsetFetch;
    const SHAPE: Shape = &[
        Fixed(4),
        Array(&[
            Text,
            Array(&[
                Text,
                Array(&[Fixed(4 + 8 + 4), Text, Fixed(2), NO_TAGS]),
                NO_TAGS,
            ]),
            Fixed(2),
            NO_TAGS,
        ]),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let partition = |p: &FetchedOffset| {
            offset_fetch::OffsetFetchResponsePartitions::default()
                .with_partition_index(p.partition)
                .with_committed_offset(p.offset)
                .with_committed_leader_epoch(p.leader_epoch)
                .with_error_code(p.error as i16)
        };
        let topic = |(name, partitions): &(TopicName, Items<FetchedOffset>)| {
            offset_fetch::OffsetFetchResponseTopics::default()
                .with_name(kafka_name(name))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        let group = offset_fetch::OffsetFetchResponseGroup::default()
            .with_group_id(kafka::GroupId(str_bytes(&self.group)))
            .with_topics(self.topics.iter().map(topic).collect())
            .with_error_code(self.error as i16);
        kafka::OffsetFetchResponse::default().with_groups(vec![group])
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let group = only::<Self, _>(body.groups, "OffsetFetch for other than one group")?;
        let partition = |p: offset_fetch::OffsetFetchResponsePartitions| FetchedOffset {
            partition: p.partition_index,
            offset: p.committed_offset,
            leader_epoch: p.committed_leader_epoch,
            error: error(p.error_code),
        };
        let topic = |t: offset_fetch::OffsetFetchResponseTopics| {
            (
                name(&t.name),
                t.partitions.into_iter().map(partition).collect(),
            )
        };
        Ok(OffsetFetchResponse {
            group: name(&group.group_id),
            error: error(group.error_code),
            topics: group.topics.into_iter().map(topic).collect(),
        })
    }
}

impl Wire for FindCoordinatorResponse {
    type Kafka = kafka::FindCoordinatorResponse;
    const API: ApiKey = ApiKey::FindCoordinator;
    const SHAPE: Shape = &[
        Fixed(4),
        Array(&[Text, Fixed(4), Text, Fixed(4 + 2), Text, NO_TAGS]),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let (host, port) = host_and_port(self.node);
        let coordinator = find_coordinator::Coordinator::default()
            .with_key(str_bytes(&self.group))
            .with_node_id(self.node.into())
            .with_host(host)
            .with_port(port)
            .with_error_code(self.error as i16);
        kafka::FindCoordinatorResponse::default().with_coordinators(vec![coordinator])
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let what = "FindCoordinator for other than one key";
        let coordinator = only::<Self, _>(body.coordinators, what)?;
        Ok(FindCoordinatorResponse {
            group: name(&coordinator.key),
            node: coordinator.node_id.0,
            error: error(coordinator.error_code),
        })
    }
}

impl Wire for ApiVersionsResponse {
    type Kafka = kafka::ApiVersionsResponse;
    const API: ApiKey = ApiKey::ApiVersions;
    const SHAPE: Shape = &[
        Fixed(2),
        Array(&[Fixed(2 + 2 + 2), NO_TAGS]),
        Fixed(4),
        // Features supported, epoch of the finalized ones, these themselves, readiness to migrate.
        Tags(&[
            (0, &[Array(&[Text, Fixed(2 + 2), NO_TAGS])]),
            (1, &[Fixed(8)]),
            (2, &[Array(&[Text, Fixed(2 + 2), NO_TAGS])]),
            (3, &[Fixed(1)]),
        ]),
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let api = |(key, min, max): &(i16, i16, i16)| {
            api_versions::ApiVersion::default()
                .with_api_key(*key)
                .with_min_version(*min)
                .with_max_version(*max)
        };
        kafka::ApiVersionsResponse::default()
            .with_error_code(self.error as i16)
            .with_api_keys(self.apis.iter().map(api).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let api = |a: api_versions::ApiVersion| (a.api_key, a.min_version, a.max_version);
        Ok(ApiVersionsResponse {
            error: error(body.error_code),
            apis: body.api_keys.into_iter().map(api).collect(),
        })
    }
}

impl Wire for InitProducerIdResponse {
    type Kafka = kafka::InitProducerIdResponse;
    const API: ApiKey = ApiKey::InitProducerId;
    const SHAPE: Shape = &[Fixed(4 + 2 + 8 + 2), NO_TAGS];

    fn to_kafka(&self) -> Self::Kafka {
        kafka::InitProducerIdResponse::default()
            .with_error_code(self.error as i16)
            .with_producer_id(self.producer_id.into())
            .with_producer_epoch(self.producer_epoch)
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        Ok(InitProducerIdResponse {
            error: error(body.error_code),
            producer_id: body.producer_id.0,
            producer_epoch: body.producer_epoch,
        })
    }
}

impl Wire for OffsetForLeaderEpochResponse {
    type Kafka = kafka::OffsetForLeaderEpochResponse;
    const API: ApiKey = ApiKey::OffsetForLeaderEpoch;
    const SHAPE: Shape = &[
        Fixed(4),
        Array(&[Text, Array(&[Fixed(2 + 4 + 4 + 8), NO_TAGS]), NO_TAGS]),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let partition = |p: &EpochEnd| {
            offset_for_leader_epoch::EpochEndOffset::default()
                .with_error_code(p.error as i16)
                .with_partition(p.partition)
                .with_leader_epoch(p.leader_epoch)
                .with_end_offset(p.end_offset)
        };
        let topic = |(name, partitions): &(TopicName, Items<EpochEnd>)| {
            offset_for_leader_epoch::OffsetForLeaderTopicResult::default()
                .with_topic(kafka_name(name))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        kafka::OffsetForLeaderEpochResponse::default()
            .with_topics(self.topics.iter().map(topic).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let partition = |p: offset_for_leader_epoch::EpochEndOffset| EpochEnd {
            partition: p.partition,
            error: error(p.error_code),
            leader_epoch: p.leader_epoch,
            end_offset: p.end_offset,
        };
        let topic = |t: offset_for_leader_epoch::OffsetForLeaderTopicResult| {
            (
                name(&t.topic),
                t.partitions.into_iter().map(partition).collect(),
            )
        };
        Ok(OffsetForLeaderEpochResponse {
            topics: body.topics.into_iter().map(topic).collect(),
        })
    }
}
