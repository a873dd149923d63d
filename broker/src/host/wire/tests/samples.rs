//! A request of every API at every version, and answers to them.

use super::*;
use kafka_protocol::messages::ApiKey;

/// Two of everything, and every field that this version has.
pub(super) fn body(api: ApiKey, version: i16) -> Vec<u8> {
    use kafka::*;
    let since = |from: i16| version >= from;
    let pair = |n: usize| if n == 0 { "orders" } else { "nowhere" };
    let both = [0usize, 1];
    match api {
        ApiKey::Produce => {
            use produce_request::*;
            let partitions = || {
                let one = |i| {
                    PartitionProduceData::default()
                        .with_index(i)
                        .with_records(Some(Bytes::from_static(b"records")))
                };
                vec![one(0), one(1)]
            };
            let topic = |n: usize| {
                let topic = TopicProduceData::default().with_partition_data(partitions());
                if since(13) {
                    topic.with_topic_id(uuid(TopicId(0x11 + n as u128 * 99)))
                } else {
                    topic.with_name(named(pair(n)))
                }
            };
            let request = ProduceRequest::default()
                .with_acks(-1)
                .with_timeout_ms(1500)
                .with_topic_data(both.map(topic).into());
            encoded(request, version)
        }
        ApiKey::Fetch => {
            use fetch_request::*;
            let partition = |i| {
                let mut p = FetchPartition::default()
                    .with_partition(i)
                    .with_fetch_offset(5)
                    .with_partition_max_bytes(1 << 20);
                if since(9) {
                    p.current_leader_epoch = 3;
                }
                if since(17) {
                    p.replica_directory_id = uuid(TopicId(9));
                }
                p
            };
            let topic = |n: usize| {
                let topic = FetchTopic::default().with_partitions(vec![partition(0), partition(1)]);
                if since(13) {
                    topic.with_topic_id(uuid(TopicId(0x11 + n as u128 * 99)))
                } else {
                    topic.with_topic(named(pair(n)))
                }
            };
            let mut request = FetchRequest::default()
                .with_max_wait_ms(500)
                .with_min_bytes(1)
                .with_max_bytes(1 << 25)
                .with_isolation_level(1)
                .with_topics(both.map(topic).into());
            if since(7) {
                request.session_epoch = 0;
            }
            if since(11) {
                request.rack_id = text("rack");
            }
            if since(12) {
                request.cluster_id = Some(text("cluster"));
            }
            if since(15) {
                request.replica_state.replica_epoch = 4;
            }
            encoded(request, version)
        }
        ApiKey::ListOffsets => {
            use list_offsets_request::*;
            let partition = |i| {
                let epoch = if since(4) { 2 } else { -1 };
                ListOffsetsPartition::default()
                    .with_partition_index(i)
                    .with_current_leader_epoch(epoch)
                    .with_timestamp(-1)
            };
            let topic = |n: usize| {
                ListOffsetsTopic::default()
                    .with_name(named(pair(n)))
                    .with_partitions(vec![partition(0), partition(1)])
            };
            let request = ListOffsetsRequest::default()
                .with_replica_id((-1).into())
                .with_isolation_level(i8::from(since(2)))
                .with_topics(both.map(topic).into());
            encoded(request, version)
        }
        ApiKey::Metadata => {
            use metadata_request::*;
            let topic = |n: usize| MetadataRequestTopic::default().with_name(Some(named(pair(n))));
            let request = MetadataRequest::default()
                .with_topics(Some(both.map(topic).into()))
                .with_allow_auto_topic_creation(!since(4))
                .with_include_topic_authorized_operations(since(8));
            encoded(request, version)
        }
        ApiKey::OffsetCommit => {
            use offset_commit_request::*;
            let partition = |i| {
                let epoch = if since(6) { 2 } else { -1 };
                OffsetCommitRequestPartition::default()
                    .with_partition_index(i)
                    .with_committed_offset(7)
                    .with_committed_leader_epoch(epoch)
                    .with_committed_metadata(Some(text("note")))
            };
            let topic = |n: usize| {
                OffsetCommitRequestTopic::default()
                    .with_name(named(pair(n)))
                    .with_partitions(vec![partition(0), partition(1)])
            };
            let request = OffsetCommitRequest::default()
                .with_group_id(GroupId(text("group")))
                .with_topics(both.map(topic).into());
            encoded(request, version)
        }
        ApiKey::OffsetFetch if !since(8) => {
            use offset_fetch_request::*;
            let topic = |n: usize| {
                OffsetFetchRequestTopic::default()
                    .with_name(named(pair(n)))
                    .with_partition_indexes(vec![0, 1])
            };
            let request = OffsetFetchRequest::default()
                .with_group_id(GroupId(text("group")))
                .with_require_stable(since(7))
                .with_topics(Some(both.map(topic).into()));
            encoded(request, version)
        }
        ApiKey::OffsetFetch => {
            use offset_fetch_request::*;
            let topic = |n: usize| {
                OffsetFetchRequestTopics::default()
                    .with_name(named(pair(n)))
                    .with_partition_indexes(vec![0, 1])
            };
            let group = |n: usize| {
                OffsetFetchRequestGroup::default()
                    .with_group_id(GroupId(text(["group", "other"][n])))
                    .with_topics((n == 0).then(|| both.map(topic).into()))
            };
            let request = OffsetFetchRequest::default().with_groups(both.map(group).into());
            encoded(request, version)
        }
        ApiKey::FindCoordinator => {
            let request = FindCoordinatorRequest::default();
            let request = if since(4) {
                request.with_coordinator_keys(vec![text("group"), text("other")])
            } else {
                request.with_key(text("group"))
            };
            encoded(request, version)
        }
        ApiKey::ApiVersions => {
            let request = ApiVersionsRequest::default();
            let request = if since(3) {
                request
                    .with_client_software_name(text("test"))
                    .with_client_software_version(text("1.0"))
            } else {
                request
            };
            encoded(request, version)
        }
        ApiKey::CreateTopics => {
            use create_topics_request::*;
            let topic = |n: usize| {
                let assignment = CreatableReplicaAssignment::default()
                    .with_partition_index(0)
                    .with_broker_ids(vec![1.into(), 2.into()]);
                let config = CreatableTopicConfig::default()
                    .with_name(text("min.insync.replicas"))
                    .with_value((n == 0).then(|| text("2")));
                CreatableTopic::default()
                    .with_name(named(pair(n)))
                    .with_num_partitions(-1)
                    .with_replication_factor(-1)
                    .with_assignments(vec![assignment])
                    .with_configs(vec![config])
            };
            let request = CreateTopicsRequest::default()
                .with_topics(both.map(topic).into())
                .with_validate_only(true);
            encoded(request, version)
        }
        ApiKey::DeleteTopics => {
            use delete_topics_request::*;
            let request = DeleteTopicsRequest::default().with_timeout_ms(100);
            let request = if since(6) {
                let by_name = DeleteTopicState::default().with_name(Some(named("orders")));
                let by_id = DeleteTopicState::default().with_topic_id(uuid(OFFSETS));
                request.with_topics(vec![by_name, by_id])
            } else {
                request.with_topic_names(vec![named("orders"), named("nowhere")])
            };
            encoded(request, version)
        }
        ApiKey::DeleteRecords => {
            use delete_records_request::*;
            let partition = |(i, offset)| {
                DeleteRecordsPartition::default()
                    .with_partition_index(i)
                    .with_offset(offset)
            };
            let topic = |n: usize| {
                DeleteRecordsTopic::default()
                    .with_name(named(pair(n)))
                    .with_partitions([(0, 5), (1, -1)].map(partition).into())
            };
            let request = DeleteRecordsRequest::default()
                .with_topics(both.map(topic).into())
                .with_timeout_ms(1500);
            encoded(request, version)
        }
        ApiKey::InitProducerId => {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_transaction_timeout_ms(1000);
            let request = if since(3) {
                request.with_producer_id(5.into()).with_producer_epoch(2)
            } else {
                request
            };
            encoded(request, version)
        }
        ApiKey::OffsetForLeaderEpoch => {
            use offset_for_leader_epoch_request::*;
            let partition = |i| {
                OffsetForLeaderPartition::default()
                    .with_partition(i)
                    .with_current_leader_epoch(1)
                    .with_leader_epoch(1)
            };
            let topic = |n: usize| {
                OffsetForLeaderTopic::default()
                    .with_topic(named(pair(n)))
                    .with_partitions(vec![partition(0), partition(1)])
            };
            let request =
                OffsetForLeaderEpochRequest::default().with_topics(both.map(topic).into());
            encoded(request, version)
        }
        ApiKey::DescribeConfigs => {
            use describe_configs_request::*;
            let resource = |kind, name: &str, keys: Option<Vec<StrBytes>>| {
                DescribeConfigsResource::default()
                    .with_resource_type(kind)
                    .with_resource_name(text(name))
                    .with_configuration_keys(keys)
            };
            let keys = Some(vec![text("num.partitions"), text("fetch.max.bytes")]);
            let request = DescribeConfigsRequest::default()
                .with_resources(vec![resource(2, "orders", None), resource(4, "1", keys)])
                .with_include_documentation(since(3));
            encoded(request, version)
        }
        ApiKey::DescribeCluster => {
            let request = DescribeClusterRequest::default().with_include_fenced_brokers(since(2));
            encoded(request, version)
        }
        other => panic!("{other:?} is not served"),
    }
}

/// What a broker might answer, of every kind of field.
pub(super) fn answer_to(request: &Request) -> Response {
    let leader = (2, 5);
    match request {
        Request::Produce(r) => {
            let result = |p: &ProducePartition| ProducePartitionResult {
                partition: p.partition,
                error: ErrorCode::NotLeaderOrFollower,
                base_offset: -1,
                log_start_offset: 3,
                current_leader: leader,
            };
            let topics = r.topics.iter();
            let topics = topics.map(|(id, ps)| (*id, ps.iter().map(result).collect()));
            Response::Produce(ProduceResponse {
                topics: topics.collect(),
                node_endpoints: vec![leader.0],
            })
        }
        Request::Fetch(r) => {
            let result = |p: &FetchPartition| FetchPartitionResult {
                partition: p.partition,
                error: ErrorCode::None,
                high_watermark: 9,
                last_stable_offset: 9,
                log_start_offset: 1,
                diverging_epoch: None,
                current_leader: leader,
                records: Bytes::from_static(b"records"),
            };
            let topics = r.topics.iter();
            let topics = topics.map(|(id, ps)| (*id, ps.iter().map(result).collect()));
            Response::Fetch(FetchResponse {
                error: ErrorCode::None,
                topics: topics.collect(),
                node_endpoints: vec![leader.0],
            })
        }
        Request::ListOffsets(r) => {
            let result = |p: &ListOffsetsPartition| ListOffsetsPartitionResult {
                partition: p.partition,
                error: ErrorCode::None,
                timestamp: 11,
                offset: 12,
                leader_epoch: 13,
            };
            let topics = r.topics.iter();
            let topics = topics.map(|(t, ps)| (t.clone(), ps.iter().map(result).collect()));
            Response::ListOffsets(ListOffsetsResponse {
                topics: topics.collect(),
            })
        }
        Request::Metadata(r) => {
            let partition = PartitionMetadata {
                error: ErrorCode::None,
                partition: 0,
                leader: 2,
                leader_epoch: 4,
                replicas: [2, 3].into(),
                isr: [2].into(),
            };
            let topic = |name: &TopicName| TopicMetadata {
                error: ErrorCode::None,
                name: name.clone(),
                id: ORDERS,
                partitions: vec![partition.clone()],
            };
            let all = vec!["orders".into(), "__consumer_offsets".into()];
            let names = r.topics.as_ref().unwrap_or(&all);
            Response::Metadata(MetadataResponse {
                brokers: vec![1, 2],
                controller: 1,
                topics: names.iter().map(topic).collect(),
            })
        }
        Request::OffsetCommit(r) => {
            let result = |p: &CommitPartition| (p.partition, ErrorCode::None);
            let topics = r.topics.iter();
            let topics = topics.map(|(t, ps)| (t.clone(), ps.iter().map(result).collect()));
            Response::OffsetCommit(OffsetCommitResponse {
                topics: topics.collect(),
            })
        }
        Request::OffsetFetch(r) => {
            // Partition 1 has a committed offset, partition 0 has none.
            let result = |p: &i32| FetchedOffset {
                partition: *p,
                offset: if *p == 1 { 42 } else { -1 },
                leader_epoch: 3,
                error: ErrorCode::None,
            };
            let topics = r.topics.iter();
            let topics = topics.map(|(t, ps)| (t.clone(), ps.iter().map(result).collect()));
            Response::OffsetFetch(OffsetFetchResponse {
                group: r.group.clone(),
                error: ErrorCode::None,
                topics: topics.collect(),
            })
        }
        Request::FindCoordinator(r) => Response::FindCoordinator(FindCoordinatorResponse {
            group: r.group.clone(),
            node: 2,
            error: ErrorCode::None,
        }),
        Request::CreateTopics(r) => {
            let created = |t: &CreatableTopic| CreatedTopic {
                name: t.name.clone(),
                id: ORDERS,
                error: ErrorCode::TopicAlreadyExists,
                message: Some("why".into()),
                num_partitions: 3,
                replication_factor: 2,
            };
            Response::CreateTopics(CreateTopicsResponse {
                topics: r.topics.iter().map(created).collect(),
            })
        }
        Request::DeleteRecords(r) => {
            let result = |p: &DeleteRecordsPartition| DeleteRecordsPartitionResult {
                partition: p.partition,
                low_watermark: p.offset,
                error: match p.offset {
                    DELETE_TO_HIGH_WATERMARK => ErrorCode::RequestTimedOut,
                    _ => ErrorCode::None,
                },
            };
            let topics = r.topics.iter();
            let topics = topics.map(|(t, ps)| (t.clone(), ps.iter().map(result).collect()));
            Response::DeleteRecords(DeleteRecordsResponse {
                topics: topics.collect(),
            })
        }
        Request::InitProducerId(_) => Response::InitProducerId(InitProducerIdResponse {
            error: ErrorCode::None,
            producer_id: 1000,
            producer_epoch: 0,
        }),
        Request::OffsetForLeaderEpoch(r) => {
            let result = |p: &EpochPartition| EpochEnd {
                partition: p.partition,
                error: ErrorCode::None,
                leader_epoch: 2,
                end_offset: 8,
            };
            let topics = r.topics.iter();
            let topics = topics.map(|(t, ps)| (t.clone(), ps.iter().map(result).collect()));
            Response::OffsetForLeaderEpoch(OffsetForLeaderEpochResponse {
                topics: topics.collect(),
            })
        }
        other => panic!("{:?} is not asked of a broker", other.api()),
    }
}
