//! Arbitrary frames of every API for property tests. Lengths lie around the places where a varint
//! grows; all that the format can carry is drawn, also what no broker would say.

use super::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Any frame.
pub(in crate::wire) fn frame() -> BoxedStrategy<Frame> {
    prop_oneof![
        (any::<i32>(), request()).prop_map(|(id, r)| Frame::request(id, r)),
        (any::<i32>(), response()).prop_map(|(id, r)| Frame::response(id, r)),
    ]
    .boxed()
}

/// Any frame of this API: its request, or its response.
pub(in crate::wire) fn frame_of(api: ApiKey, is_request: bool) -> BoxedStrategy<Frame> {
    if is_request {
        (any::<i32>(), request_of(api))
            .prop_map(|(id, r)| Frame::request(id, r))
            .boxed()
    } else {
        (any::<i32>(), response_of(api))
            .prop_map(|(id, r)| Frame::response(id, r))
            .boxed()
    }
}

fn request() -> impl Strategy<Value = Request> {
    select(ApiKey::ALL.as_slice()).prop_flat_map(request_of)
}

fn response() -> impl Strategy<Value = Response> {
    select(ApiKey::ALL.as_slice()).prop_flat_map(response_of)
}

fn text() -> impl Strategy<Value = TopicName> {
    prop_oneof![
        4 => "[a-zA-Z0-9._-]{0,20}".prop_map(|s| TopicName::from(s.as_str())),
        1 => "\\PC{0,10}".prop_map(|s| TopicName::from(s.as_str())),
        1 => (120usize..135).prop_map(|n| TopicName::from("n".repeat(n).as_str())),
    ]
}

fn records() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        60 => vec(any::<u8>(), 0..200).prop_map(Bytes::from),
        6 => (16_380usize..16_388).prop_map(|n| Bytes::from(vec![0x5a; n])),
        1 => (2_097_148usize..2_097_156).prop_map(|n| Bytes::from(vec![0xa5; n])),
    ]
}

fn error() -> impl Strategy<Value = ErrorCode> + Clone {
    select(ErrorCode::ALL)
}

/// Ids as they are, of every length in decimal, "none" often.
fn broker() -> impl Strategy<Value = BrokerId> {
    prop_oneof![
        2 => Just(-1),
        3 => 0..4,
        1 => select(vec![9, 10, 99, 100, 999, 1000, 999_999_999, 1_000_000_000, i32::MAX]),
        1 => any::<i32>(),
    ]
}

fn leader() -> impl Strategy<Value = (BrokerId, LeaderEpoch)> {
    prop_oneof![
        Just((-1, -1)),
        (broker(), prop_oneof![Just(-1), any::<i32>()])
    ]
}

fn topic() -> impl Strategy<Value = TopicId> {
    prop_oneof![
        Just(TopicId::METADATA),
        Just(TopicId(0)),
        any::<u128>().prop_map(TopicId)
    ]
}

fn items<T: std::fmt::Debug + Clone + 'static>(
    item: impl Strategy<Value = T> + 'static,
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = Items<T>> {
    vec(item, count).prop_map(Items::from)
}

fn by_id<T: std::fmt::Debug + Clone + 'static>(
    item: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<ByTopicId<T>> {
    vec((topic(), items(item, 0..5)), 0..4).boxed()
}

/// Sometimes enough items for a length of two bytes.
fn by_name<T: std::fmt::Debug + Clone + 'static>(
    item: impl Strategy<Value = T> + Clone + 'static,
) -> BoxedStrategy<ByTopicName<T>> {
    let few = vec((text(), items(item.clone(), 0..5)), 0..4);
    let many = vec((text(), items(item, 124..131)), 1);
    prop_oneof![8 => few, 1 => many].boxed()
}

fn request_of(api: ApiKey) -> BoxedStrategy<Request> {
    match api {
        ApiKey::Produce => {
            let partition = (any::<i32>(), records())
                .prop_map(|(partition, records)| ProducePartition { partition, records });
            (any::<i16>(), any::<i32>(), by_id(partition))
                .prop_map(|(acks, timeout_ms, topics)| ProduceRequest {
                    acks,
                    timeout_ms,
                    topics,
                })
                .prop_map(Request::Produce)
                .boxed()
        }
        ApiKey::Fetch => fetch_request().prop_map(Request::Fetch).boxed(),
        ApiKey::ListOffsets => {
            let partition = any::<(i32, i32, i64)>().prop_map(|(partition, epoch, timestamp)| {
                ListOffsetsPartition {
                    partition,
                    current_leader_epoch: epoch,
                    timestamp,
                }
            });
            (broker(), any::<i8>(), by_name(partition))
                .prop_map(|(replica_id, isolation_level, topics)| ListOffsetsRequest {
                    replica_id,
                    isolation_level,
                    topics,
                })
                .prop_map(Request::ListOffsets)
                .boxed()
        }
        ApiKey::Metadata => (option::of(vec(text(), 0..5)), any::<bool>())
            .prop_map(|(topics, allow_auto_topic_creation)| MetadataRequest {
                topics,
                allow_auto_topic_creation,
            })
            .prop_map(Request::Metadata)
            .boxed(),
        ApiKey::OffsetCommit => {
            let partition =
                any::<(i32, i64, i32)>().prop_map(|(partition, offset, leader_epoch)| {
                    CommitPartition {
                        partition,
                        offset,
                        leader_epoch,
                    }
                });
            (text(), any::<i32>(), text(), by_name(partition))
                .prop_map(
                    |(group, generation, member_id, topics)| OffsetCommitRequest {
                        group,
                        generation,
                        member_id,
                        topics,
                    },
                )
                .prop_map(Request::OffsetCommit)
                .boxed()
        }
        ApiKey::OffsetFetch => (text(), any::<bool>(), by_name(any::<i32>()))
            .prop_map(|(group, require_stable, topics)| OffsetFetchRequest {
                group,
                require_stable,
                topics,
            })
            .prop_map(Request::OffsetFetch)
            .boxed(),
        ApiKey::FindCoordinator => text()
            .prop_map(|group| Request::FindCoordinator(FindCoordinatorRequest { group }))
            .boxed(),
        ApiKey::ApiVersions => Just(Request::ApiVersions(ApiVersionsRequest)).boxed(),
        ApiKey::CreateTopics => (vec(creatable_topic(), 0..4), any::<i32>(), any::<bool>())
            .prop_map(|(topics, timeout_ms, validate_only)| CreateTopicsRequest {
                topics,
                timeout_ms,
                validate_only,
            })
            .prop_map(Request::CreateTopics)
            .boxed(),
        ApiKey::DeleteRecords => {
            let partition = any::<(i32, i64)>()
                .prop_map(|(partition, offset)| DeleteRecordsPartition { partition, offset });
            (by_name(partition), any::<i32>())
                .prop_map(|(topics, timeout_ms)| DeleteRecordsRequest { topics, timeout_ms })
                .prop_map(Request::DeleteRecords)
                .boxed()
        }
        ApiKey::OffsetForLeaderEpoch => {
            let partition = any::<(i32, i32, i32)>().prop_map(
                |(partition, current_leader_epoch, leader_epoch)| EpochPartition {
                    partition,
                    current_leader_epoch,
                    leader_epoch,
                },
            );
            (broker(), by_name(partition))
                .prop_map(|(replica_id, topics)| OffsetForLeaderEpochRequest { replica_id, topics })
                .prop_map(Request::OffsetForLeaderEpoch)
                .boxed()
        }
        _ => controller_request_of(api),
    }
}

fn controller_request_of(api: ApiKey) -> BoxedStrategy<Request> {
    match api {
        ApiKey::InitProducerId => any::<(i64, i16)>()
            .prop_map(|(producer_id, producer_epoch)| {
                Request::InitProducerId(InitProducerIdRequest {
                    producer_id,
                    producer_epoch,
                })
            })
            .boxed(),
        ApiKey::AlterPartition => {
            let isr = vec((broker(), any::<i64>()), 0..4);
            let partition = (any::<(i32, i32, i32)>(), isr).prop_map(
                |((partition, leader_epoch, partition_epoch), new_isr)| AlterPartition {
                    partition,
                    leader_epoch,
                    partition_epoch,
                    new_isr,
                },
            );
            (broker(), any::<i64>(), by_id(partition))
                .prop_map(|(broker, broker_epoch, topics)| AlterPartitionRequest {
                    broker,
                    broker_epoch,
                    topics,
                })
                .prop_map(Request::AlterPartition)
                .boxed()
        }
        ApiKey::BrokerRegistration => (broker(), any::<u128>().prop_map(Incarnation), any::<i64>())
            .prop_map(
                |(broker, incarnation, previous_broker_epoch)| BrokerRegistrationRequest {
                    broker,
                    incarnation,
                    previous_broker_epoch,
                },
            )
            .prop_map(Request::BrokerRegistration)
            .boxed(),
        ApiKey::BrokerHeartbeat => (broker(), any::<(i64, i64, bool, bool)>())
            .prop_map(
                |(broker, (broker_epoch, offset, want_fence, want_shut_down))| {
                    BrokerHeartbeatRequest {
                        broker,
                        broker_epoch,
                        current_metadata_offset: offset,
                        want_fence,
                        want_shut_down,
                    }
                },
            )
            .prop_map(Request::BrokerHeartbeat)
            .boxed(),
        ApiKey::AllocateProducerIds => (broker(), any::<i64>())
            .prop_map(|(broker, broker_epoch)| AllocateProducerIdsRequest {
                broker,
                broker_epoch,
            })
            .prop_map(Request::AllocateProducerIds)
            .boxed(),
        other => unreachable!("{other:?} is drawn above"),
    }
}

fn fetch_request() -> impl Strategy<Value = FetchRequest> {
    let partition = any::<(i32, i32, i64, i32, i64, i32)>().prop_map(|p| FetchPartition {
        partition: p.0,
        current_leader_epoch: p.1,
        fetch_offset: p.2,
        last_fetched_epoch: p.3,
        log_start_offset: p.4,
        partition_max_bytes: p.5,
    });
    let epoch = prop_oneof![Just(-1), any::<i64>()];
    (
        broker(),
        epoch,
        any::<(i32, i32, i32, i8)>(),
        by_id(partition),
    )
        .prop_map(
            |(
                replica_id,
                replica_epoch,
                (max_wait_ms, min_bytes, max_bytes, isolation),
                topics,
            )| {
                FetchRequest {
                    replica_id,
                    replica_epoch,
                    max_wait_ms,
                    min_bytes,
                    max_bytes,
                    isolation_level: isolation,
                    topics,
                }
            },
        )
}

fn response_of(api: ApiKey) -> BoxedStrategy<Response> {
    match api {
        ApiKey::Produce => {
            let partition = (any::<(i32, i64, i64)>(), error(), leader()).prop_map(
                |((partition, base_offset, log_start_offset), error, current_leader)| {
                    ProducePartitionResult {
                        partition,
                        error,
                        base_offset,
                        log_start_offset,
                        current_leader,
                    }
                },
            );
            (by_id(partition), vec(0..2_000, 0..3))
                .prop_map(|(topics, node_endpoints)| ProduceResponse {
                    topics,
                    node_endpoints,
                })
                .prop_map(Response::Produce)
                .boxed()
        }
        ApiKey::Fetch => fetch_response().prop_map(Response::Fetch).boxed(),
        ApiKey::ListOffsets => {
            let partition = (any::<(i32, i64, i64, i32)>(), error()).prop_map(
                |((partition, timestamp, offset, leader_epoch), error)| {
                    ListOffsetsPartitionResult {
                        partition,
                        error,
                        timestamp,
                        offset,
                        leader_epoch,
                    }
                },
            );
            by_name(partition)
                .prop_map(|topics| Response::ListOffsets(ListOffsetsResponse { topics }))
                .boxed()
        }
        ApiKey::Metadata => metadata_response().prop_map(Response::Metadata).boxed(),
        ApiKey::OffsetCommit => by_name((any::<i32>(), error()))
            .prop_map(|topics| Response::OffsetCommit(OffsetCommitResponse { topics }))
            .boxed(),
        ApiKey::OffsetFetch => {
            let partition = (any::<(i32, i64, i32)>(), error()).prop_map(
                |((partition, offset, leader_epoch), error)| FetchedOffset {
                    partition,
                    offset,
                    leader_epoch,
                    error,
                },
            );
            (text(), error(), by_name(partition))
                .prop_map(|(group, error, topics)| OffsetFetchResponse {
                    group,
                    error,
                    topics,
                })
                .prop_map(Response::OffsetFetch)
                .boxed()
        }
        ApiKey::FindCoordinator => (text(), broker(), error())
            .prop_map(|(group, node, error)| FindCoordinatorResponse { group, node, error })
            .prop_map(Response::FindCoordinator)
            .boxed(),
        ApiKey::CreateTopics => vec(created_topic(), 0..4)
            .prop_map(|topics| Response::CreateTopics(CreateTopicsResponse { topics }))
            .boxed(),
        ApiKey::DeleteRecords => {
            let partition =
                (any::<(i32, i64)>(), error()).prop_map(|((partition, low_watermark), error)| {
                    DeleteRecordsPartitionResult {
                        partition,
                        low_watermark,
                        error,
                    }
                });
            by_name(partition)
                .prop_map(|topics| DeleteRecordsResponse { topics })
                .prop_map(Response::DeleteRecords)
                .boxed()
        }
        ApiKey::ApiVersions => (error(), vec(any::<(i16, i16, i16)>(), 0..140))
            .prop_map(|(error, apis)| Response::ApiVersions(ApiVersionsResponse { error, apis }))
            .boxed(),
        ApiKey::OffsetForLeaderEpoch => {
            let partition = (any::<(i32, i32, i64)>(), error()).prop_map(
                |((partition, leader_epoch, end_offset), error)| EpochEnd {
                    partition,
                    error,
                    leader_epoch,
                    end_offset,
                },
            );
            by_name(partition)
                .prop_map(|topics| OffsetForLeaderEpochResponse { topics })
                .prop_map(Response::OffsetForLeaderEpoch)
                .boxed()
        }
        _ => controller_response_of(api),
    }
}

fn controller_response_of(api: ApiKey) -> BoxedStrategy<Response> {
    match api {
        ApiKey::InitProducerId => (error(), any::<(i64, i16)>())
            .prop_map(
                |(error, (producer_id, producer_epoch))| InitProducerIdResponse {
                    error,
                    producer_id,
                    producer_epoch,
                },
            )
            .prop_map(Response::InitProducerId)
            .boxed(),
        ApiKey::AlterPartition => {
            let partition = (
                any::<(i32, i32, i32)>(),
                error(),
                broker(),
                vec(broker(), 0..4),
            )
                .prop_map(
                    |((partition, leader_epoch, partition_epoch), error, leader, isr)| {
                        AlterPartitionResult {
                            partition,
                            error,
                            leader,
                            leader_epoch,
                            isr,
                            partition_epoch,
                        }
                    },
                );
            (error(), by_id(partition))
                .prop_map(|(error, topics)| AlterPartitionResponse { error, topics })
                .prop_map(Response::AlterPartition)
                .boxed()
        }
        ApiKey::BrokerRegistration => (error(), any::<i64>())
            .prop_map(|(error, broker_epoch)| BrokerRegistrationResponse {
                error,
                broker_epoch,
            })
            .prop_map(Response::BrokerRegistration)
            .boxed(),
        ApiKey::BrokerHeartbeat => (error(), any::<(bool, bool, bool)>())
            .prop_map(|(error, (is_caught_up, is_fenced, should_shut_down))| {
                BrokerHeartbeatResponse {
                    error,
                    is_caught_up,
                    is_fenced,
                    should_shut_down,
                }
            })
            .prop_map(Response::BrokerHeartbeat)
            .boxed(),
        ApiKey::AllocateProducerIds => (error(), any::<(i64, i32)>())
            .prop_map(|(error, (first, count))| AllocateProducerIdsResponse {
                error,
                first,
                count,
            })
            .prop_map(Response::AllocateProducerIds)
            .boxed(),
        other => unreachable!("{other:?} is drawn above"),
    }
}

fn fetch_response() -> impl Strategy<Value = FetchResponse> {
    let diverging =
        option::of(any::<(i32, i64)>().prop_filter("(-1, -1) is none", |d| *d != (-1, -1)));
    let fixed = any::<(i32, i64, i64, i64)>();
    let partition = (fixed, error(), diverging, leader(), records()).prop_map(
        |(fixed, error, diverging_epoch, current_leader, records)| FetchPartitionResult {
            partition: fixed.0,
            error,
            high_watermark: fixed.1,
            last_stable_offset: fixed.2,
            log_start_offset: fixed.3,
            diverging_epoch,
            current_leader,
            records,
        },
    );
    (error(), by_id(partition), vec(0..2_000, 0..3)).prop_map(|(error, topics, node_endpoints)| {
        FetchResponse {
            error,
            topics,
            node_endpoints,
        }
    })
}

fn metadata_response() -> impl Strategy<Value = MetadataResponse> {
    let ids = || vec(broker(), 0..5).prop_map(Arc::from);
    let partition = (error(), any::<(i32, i32)>(), broker(), ids(), ids()).prop_map(
        |(error, (partition, leader_epoch), leader, replicas, isr)| PartitionMetadata {
            error,
            partition,
            leader,
            leader_epoch,
            replicas,
            isr,
        },
    );
    let topic = (error(), text(), topic(), vec(partition, 0..5)).prop_map(
        |(error, name, id, partitions)| TopicMetadata {
            error,
            name,
            id,
            partitions,
        },
    );
    (vec(broker(), 0..5), broker(), vec(topic, 0..4)).prop_map(|(brokers, controller, topics)| {
        MetadataResponse {
            brokers,
            controller,
            topics,
        }
    })
}

fn creatable_topic() -> impl Strategy<Value = CreatableTopic> {
    let assignment = (any::<i32>(), vec(broker(), 0..4));
    let config = (text(), option::of(text()));
    let numbers = any::<(i32, i16)>();
    (text(), numbers, vec(assignment, 0..4), vec(config, 0..4)).prop_map(
        |(name, (num_partitions, replication_factor), assignments, configs)| CreatableTopic {
            name,
            num_partitions,
            replication_factor,
            assignments,
            configs,
        },
    )
}

fn created_topic() -> impl Strategy<Value = CreatedTopic> {
    let numbers = any::<(i32, i16)>();
    (text(), topic(), error(), option::of(text()), numbers).prop_map(
        |(name, id, error, message, (num_partitions, replication_factor))| CreatedTopic {
            name,
            id,
            error,
            message,
            num_partitions,
            replication_factor,
        },
    )
}
