use super::arbitrary;
use super::*;
use kafka_protocol::protocol::VersionRange;
use proptest::prelude::*;
use smallvec::smallvec;

fn decode(bytes: &Bytes, like: &Frame) -> Result<Frame, DecodeError> {
    match like {
        Frame::Request(..) => decode_request(bytes),
        Frame::Response(_, response) => decode_response(bytes, response.api()),
    }
}

/// A frame around this body, with the header of a request of `api`.
fn request_frame(api: ApiKey, version: i16, body: &[u8]) -> Bytes {
    let mut frame = vec![0; LENGTH_PREFIX];
    frame.extend((api as i16).to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(77i32.to_be_bytes());
    frame.extend((-1i16).to_be_bytes());
    frame.push(0);
    frame.extend(body);
    with_prefix(frame)
}

fn response_frame(api: ApiKey, body: &[u8]) -> Bytes {
    let mut frame = vec![0; LENGTH_PREFIX];
    frame.extend(77i32.to_be_bytes());
    if response_header(api) == 1 {
        frame.push(0);
    }
    frame.extend(body);
    with_prefix(frame)
}

fn with_prefix(mut frame: Vec<u8>) -> Bytes {
    let length = (frame.len() - LENGTH_PREFIX) as i32;
    frame[..LENGTH_PREFIX].copy_from_slice(&length.to_be_bytes());
    Bytes::from(frame)
}

fn encode_kafka<M: Encodable>(message: &M, api: ApiKey) -> Vec<u8> {
    let mut buf = BytesMut::new();
    message
        .encode(&mut buf, api.version())
        .expect("test message encodes");
    buf.to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_frame_survives_encoding_at_the_size_by_formula(frame in arbitrary::frame()) {
        let bytes = encode(&frame);
        prop_assert_eq!(bytes.len() as u64, frame.encoded_size());
        let prefix = i32::from_be_bytes(bytes[..4].try_into().unwrap());
        prop_assert_eq!(prefix as usize, bytes.len() - 4);
        prop_assert_eq!(decode(&bytes, &frame), Ok(frame));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        api in proptest::sample::select(ApiKey::ALL.as_slice()),
    ) {
        let raw = Bytes::from(bytes.clone());
        let _ = decode_request(&raw);
        let _ = decode_response(&raw, api);
        // Behind a valid header they reach the bodies.
        let _ = decode_request(&request_frame(api, api.version(), &bytes));
        let _ = decode_response(&response_frame(api, &bytes), api);
    }

    #[test]
    fn mutated_frames_never_panic(
        frame in arbitrary::frame(),
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = encode(&frame).to_vec();
        // The start of a frame holds its lengths; a long record batch must not draw all the fire.
        let reach = bytes.len().min(200);
        for (at, value) in mutations {
            let at = at.index(reach);
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            let length = cut.index(bytes.len()).max(LENGTH_PREFIX);
            bytes.truncate(length);
        }
        let bytes = with_prefix(bytes);
        let _ = decode_request(&bytes);
        for api in ApiKey::ALL {
            let _ = decode_response(&bytes, api);
        }
    }

    #[test]
    fn every_truncation_is_an_error(
        frame in arbitrary::frame(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = encode(&frame);
        let length = cut.index(bytes.len());
        prop_assert!(decode(&bytes.slice(..length), &frame).is_err());
        if length >= LENGTH_PREFIX {
            let patched = with_prefix(bytes[..length].to_vec());
            prop_assert!(decode(&patched, &frame).is_err());
        }
    }

    #[test]
    fn trailing_bytes_are_ignored(frame in arbitrary::frame(), tail in "[a-z]{1,3}") {
        let mut bytes = encode(&frame).to_vec();
        bytes.extend(tail.as_bytes());
        prop_assert_eq!(decode(&with_prefix(bytes), &frame), Ok(frame));
    }
}

#[test]
fn every_api_is_drawn_and_survives_encoding() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for api in ApiKey::ALL {
        for is_request in [true, false] {
            for _ in 0..50 {
                let strategy = arbitrary::frame_of(api, is_request);
                let frame = strategy.new_tree(&mut runner).expect("draws").current();
                let bytes = encode(&frame);
                assert_eq!(bytes.len() as u64, frame.encoded_size());
                assert_eq!(decode(&bytes, &frame), Ok(frame));
            }
        }
    }
}

#[test]
fn every_version_is_in_the_range_of_both_schemas() {
    fn range<Req: Wire, Resp: Wire>() -> (ApiKey, VersionRange) {
        assert_eq!(Req::API, Resp::API);
        (
            Req::API,
            Req::Kafka::VERSIONS.intersect(&Resp::Kafka::VERSIONS),
        )
    }
    let ranges = [
        range::<ProduceRequest, ProduceResponse>(),
        range::<FetchRequest, FetchResponse>(),
        range::<ListOffsetsRequest, ListOffsetsResponse>(),
        range::<MetadataRequest, MetadataResponse>(),
        range::<OffsetCommitRequest, OffsetCommitResponse>(),
        range::<OffsetFetchRequest, OffsetFetchResponse>(),
        range::<FindCoordinatorRequest, FindCoordinatorResponse>(),
        range::<ApiVersionsRequest, ApiVersionsResponse>(),
        range::<CreateTopicsRequest, CreateTopicsResponse>(),
        range::<DeleteRecordsRequest, DeleteRecordsResponse>(),
        range::<InitProducerIdRequest, InitProducerIdResponse>(),
        range::<OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse>(),
        range::<AlterPartitionRequest, AlterPartitionResponse>(),
        range::<BrokerRegistrationRequest, BrokerRegistrationResponse>(),
        range::<BrokerHeartbeatRequest, BrokerHeartbeatResponse>(),
        range::<AllocateProducerIdsRequest, AllocateProducerIdsResponse>(),
    ];
    assert_eq!(ranges.map(|(api, _)| api), ApiKey::ALL);
    for (api, range) in ranges {
        // Fetch v18 only adds the replica's high watermark (KIP-1166), which nobody here sends.
        let newest = if api == ApiKey::Fetch {
            18
        } else {
            api.version()
        };
        assert_eq!(newest, range.max, "{api:?}");
        assert!(range.min <= api.version(), "{api:?}");
    }
}

#[test]
fn a_fetch_of_a_follower_is_byte_for_byte_what_kafkas_schema_says() {
    let frame = Frame::request(
        5,
        Request::Fetch(FetchRequest {
            replica_id: 2,
            replica_epoch: 7,
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation_level: 0,
            topics: vec![(
                TopicId::METADATA,
                smallvec![FetchPartition {
                    partition: 0,
                    current_leader_epoch: 3,
                    fetch_offset: 9,
                    last_fetched_epoch: 3,
                    log_start_offset: 0,
                    partition_max_bytes: 4096,
                }],
            )],
        }),
    );
    let mut expected = vec![0, 0, 0, 110];
    expected.extend([0, 1, 0, 17, 0, 0, 0, 5, 0, 8]); // key, version, correlation id, text length
    expected.extend(b"everyack\0"); // client id, no tags
    expected.extend([0, 0, 1, 244, 0, 0, 0, 1, 0, 16, 0, 0, 0]); // wait, min, max, isolation
    expected.extend([0, 0, 0, 0, 255, 255, 255, 255]); // no session
    expected.extend([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]); // one topic, its id
    expected.extend([2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9]); // partition, epoch, offset
    expected.extend([0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0]); // to its tags
    expected.extend([0, 1, 1]); // topic's tags, nothing forgotten, no rack
    expected.extend([1, 1, 13, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0]); // replica state
    assert_eq!(encode(&frame), expected);
}

#[test]
fn an_answer_of_a_former_leader_names_the_new_one_and_where_it_is() {
    let partition = |partition, current_leader| ProducePartitionResult {
        partition,
        error: ErrorCode::NotLeaderOrFollower,
        base_offset: -1,
        log_start_offset: -1,
        current_leader,
    };
    let partitions = smallvec![
        partition(0, (12, 4)),
        partition(1, (12, 6)),
        partition(2, (-1, 6)),
    ];
    let response = ProduceResponse {
        topics: vec![(TopicId(8), partitions)],
        node_endpoints: vec![12],
    };
    let bytes = encode(&Frame::response(1, Response::Produce(response)));
    let mut body = bytes.slice(9..);
    let read = kafka::ProduceResponse::decode(&mut body, 13).expect("decodes");
    let endpoints: Vec<_> = read
        .node_endpoints
        .iter()
        .map(|e| (e.node_id.0, e.host.as_str(), e.port))
        .collect();
    assert_eq!(endpoints, [(12, "broker-12", 9092)]);
    let leaders: Vec<_> = read.responses[0]
        .partition_responses
        .iter()
        .map(|p| (p.current_leader.leader_id.0, p.current_leader.leader_epoch))
        .collect();
    assert_eq!(leaders, [(12, 4), (12, 6), (-1, 6)]);
}

#[test]
fn records_share_the_memory_of_the_frame() {
    let records = Bytes::from(vec![7u8; 5000]);
    let partition = ProducePartition {
        partition: 0,
        records,
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 1,
        topics: vec![(TopicId(8), smallvec![partition])],
    };
    let bytes = encode(&Frame::request(1, Request::Produce(request)));
    let Ok(Frame::Request(_, request)) = decode_request(&bytes) else {
        panic!("a request comes back");
    };
    let Request::Produce(read) = *request else {
        panic!("a Produce comes back");
    };
    let records = &read.topics[0].1[0].records;
    assert!(
        bytes.as_ptr_range().contains(&records.as_ptr()),
        "records were copied"
    );
}

#[test]
fn a_hostile_array_length_is_an_error_and_reserves_nothing() {
    // 2^32 - 2 topics, in each API whose body starts with an array after `lead` bytes.
    let hostile = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let leads: [(ApiKey, usize); 7] = [
        (ApiKey::Metadata, 0),
        (ApiKey::DeleteRecords, 0),
        (ApiKey::OffsetFetch, 0),
        (ApiKey::FindCoordinator, 1),
        (ApiKey::ListOffsets, 5),
        (ApiKey::Fetch, 21),
        (ApiKey::AlterPartition, 12),
    ];
    for (api, lead) in leads {
        let mut body = vec![0; lead];
        body.extend(hostile);
        body.extend([0; 40]);
        let read = decode_request(&request_frame(api, api.version(), &body));
        let expected = DecodeError::Length {
            api,
            length: u64::from(u32::MAX - 1),
            remaining: 40,
        };
        assert_eq!(read, Err(expected), "{api:?}");
    }
}

#[test]
fn a_hostile_length_inside_a_tagged_field_is_an_error() {
    let api = ApiKey::Produce;
    // No topics, throttle time, one tagged field: endpoints, which claim to be many.
    let body = [1, 0, 0, 0, 0, 1, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let read = decode_response(&response_frame(api, &body), api);
    let expected = DecodeError::Length {
        api,
        length: u64::from(u32::MAX - 1),
        remaining: 0,
    };
    assert_eq!(read, Err(expected));
    // And one whose size says something else than its content.
    let body = [1, 0, 0, 0, 0, 1, 0, 3, 1, 0, 0];
    let read = decode_response(&response_frame(api, &body), api);
    assert_eq!(
        read,
        Err(DecodeError::Length {
            api,
            length: 3,
            remaining: 2
        })
    );
}

#[test]
fn a_varint_past_32_bits_is_an_error() {
    let read = decode_request(&request_frame(
        ApiKey::Metadata,
        13,
        &[0x82, 0x80, 0x80, 0x80, 0x10],
    ));
    assert!(
        matches!(
            read,
            Err(DecodeError::Malformed {
                api: ApiKey::Metadata,
                ..
            })
        ),
        "{read:?}"
    );
}

#[test]
fn unknown_tagged_fields_are_skipped() {
    let api = ApiKey::FindCoordinator;
    let body = [0, 2, 3, b'g', b'1', 2, 9, 2, 0xff, 0xff, 40, 0];
    let request = FindCoordinatorRequest { group: name("g1") };
    let expected = Frame::request(77, Request::FindCoordinator(request));
    assert_eq!(
        decode_request(&request_frame(api, api.version(), &body)),
        Ok(expected)
    );
}

#[test]
fn headers_that_are_not_spoken_are_errors_that_can_be_answered() {
    let read = decode_request(&request_frame(ApiKey::Metadata, 1, &[]));
    let expected = DecodeError::UnsupportedVersion {
        api: ApiKey::Metadata,
        version: 1,
        correlation_id: 77,
    };
    assert_eq!(read, Err(expected));

    let mut join_group = request_frame(ApiKey::Metadata, 1, &[]).to_vec();
    join_group[5] = 11;
    let read = decode_request(&Bytes::from(join_group));
    assert_eq!(
        read,
        Err(DecodeError::UnknownApi {
            key: 11,
            correlation_id: 77
        })
    );

    let read = decode_request(&Bytes::from_static(&[0, 0, 0, 2, 0, 3]));
    assert_eq!(
        read,
        Err(DecodeError::FrameLength {
            wanted: 12,
            actual: 6
        })
    );
}

#[test]
fn what_the_typed_values_cannot_express_is_refused() {
    let refused = |api: ApiKey, body: Vec<u8>| {
        let read = decode_request(&request_frame(api, api.version(), &body));
        assert!(
            matches!(read, Err(DecodeError::NotSpoken { .. })),
            "{api:?}: {read:?}"
        );
    };
    let transactional = || Some(kafka::TransactionalId(str_bytes("t")));
    let produce = kafka::ProduceRequest::default().with_transactional_id(transactional());
    refused(ApiKey::Produce, encode_kafka(&produce, ApiKey::Produce));
    let init = kafka::InitProducerIdRequest::default().with_transactional_id(transactional());
    refused(
        ApiKey::InitProducerId,
        encode_kafka(&init, ApiKey::InitProducerId),
    );
    let fetch = kafka::FetchRequest::default()
        .with_session_id(3)
        .with_session_epoch(1);
    refused(ApiKey::Fetch, encode_kafka(&fetch, ApiKey::Fetch));
    let offset_fetch = kafka::OffsetFetchRequest::default();
    refused(
        ApiKey::OffsetFetch,
        encode_kafka(&offset_fetch, ApiKey::OffsetFetch),
    );
    let coordinator = kafka::FindCoordinatorRequest::default()
        .with_key_type(1)
        .with_coordinator_keys(vec![str_bytes("t")]);
    refused(
        ApiKey::FindCoordinator,
        encode_kafka(&coordinator, ApiKey::FindCoordinator),
    );
}

#[test]
fn nobody_is_advertised_as_no_node() {
    assert_eq!(advertised_endpoint(3), ("broker-3".to_owned(), 9092));
    assert_eq!(advertised_endpoint(NO_BROKER), (String::new(), -1));
}

/// The shapes hold all of the schema, also the fields that our own frames leave empty.
mod shapes {
    use super::*;
    use kafka_protocol::messages::{
        api_versions_response, broker_registration_request, fetch_request, fetch_response,
        metadata_response, produce_response,
    };

    fn walks_to_its_end<M: Wire>(message: &M::Kafka) {
        let mut body = encode_kafka(message, M::API);
        assert_eq!(shape::walk(M::API, M::SHAPE, &body), Ok(0), "{:?}", M::API);
        body.pop();
        let cut = shape::walk(M::API, M::SHAPE, &body);
        assert!(cut.is_err(), "{:?} without its last byte: {cut:?}", M::API);
    }

    fn some_uuid() -> uuid::Uuid {
        uuid::Uuid::from_u128(0x1234)
    }

    fn text(text: &str) -> StrBytes {
        str_bytes(text)
    }

    #[test]
    fn produce_response_with_record_errors() {
        let record = produce_response::BatchIndexAndErrorMessage::default()
            .with_batch_index(4)
            .with_batch_index_error_message(Some(text("no key")));
        let partition = produce_response::PartitionProduceResponse::default()
            .with_record_errors(vec![record.clone(), record])
            .with_error_message(Some(text("bad batch")))
            .with_current_leader(
                produce_response::LeaderIdAndEpoch::default().with_leader_epoch(3),
            );
        let topic = produce_response::TopicProduceResponse::default()
            .with_partition_responses(vec![partition]);
        let endpoint = produce_response::NodeEndpoint::default()
            .with_host(text("h"))
            .with_rack(Some(text("r")));
        walks_to_its_end::<ProduceResponse>(
            &kafka::ProduceResponse::default()
                .with_responses(vec![topic])
                .with_node_endpoints(vec![endpoint]),
        );
    }

    #[test]
    fn fetch_request_with_forgotten_topics() {
        let partition =
            fetch_request::FetchPartition::default().with_replica_directory_id(some_uuid());
        let topic = fetch_request::FetchTopic::default().with_partitions(vec![partition]);
        let forgotten = fetch_request::ForgottenTopic::default().with_partitions(vec![1, 2]);
        walks_to_its_end::<FetchRequest>(
            &kafka::FetchRequest::default()
                .with_topics(vec![topic])
                .with_forgotten_topics_data(vec![forgotten])
                .with_rack_id(text("rack"))
                .with_cluster_id(Some(text("cluster")))
                .with_replica_state(fetch_request::ReplicaState::default().with_replica_epoch(1)),
        );
    }

    #[test]
    fn fetch_response_with_aborted_transactions_and_a_snapshot() {
        let aborted = fetch_response::AbortedTransaction::default();
        let partition = fetch_response::PartitionData::default()
            .with_aborted_transactions(Some(vec![aborted.clone(), aborted]))
            .with_snapshot_id(fetch_response::SnapshotId::default().with_epoch(1))
            .with_records(Some(Bytes::from_static(b"batch")));
        let topic =
            fetch_response::FetchableTopicResponse::default().with_partitions(vec![partition]);
        walks_to_its_end::<FetchResponse>(
            &kafka::FetchResponse::default()
                .with_responses(vec![topic])
                .with_node_endpoints(vec![fetch_response::NodeEndpoint::default()]),
        );
    }

    #[test]
    fn metadata_response_with_racks_and_offline_replicas() {
        let partition = metadata_response::MetadataResponsePartition::default()
            .with_offline_replicas(vec![1.into(), 2.into()]);
        let topic =
            metadata_response::MetadataResponseTopic::default().with_partitions(vec![partition]);
        let broker =
            metadata_response::MetadataResponseBroker::default().with_rack(Some(text("rack")));
        walks_to_its_end::<MetadataResponse>(
            &kafka::MetadataResponse::default()
                .with_brokers(vec![broker])
                .with_cluster_id(Some(text("cluster")))
                .with_topics(vec![topic]),
        );
    }

    #[test]
    fn broker_registration_with_listeners_features_and_directories() {
        let listener = broker_registration_request::Listener::default()
            .with_name(text("PLAINTEXT"))
            .with_host(text("broker-1"))
            .with_port(9092);
        let feature =
            broker_registration_request::Feature::default().with_name(text("metadata.version"));
        walks_to_its_end::<BrokerRegistrationRequest>(
            &kafka::BrokerRegistrationRequest::default()
                .with_cluster_id(text("cluster"))
                .with_listeners(vec![listener])
                .with_features(vec![feature.clone(), feature])
                .with_rack(Some(text("rack")))
                .with_log_dirs(vec![some_uuid(), some_uuid()]),
        );
    }

    #[test]
    fn api_versions_response_with_features() {
        let supported = api_versions_response::SupportedFeatureKey::default().with_name(text("f"));
        let finalized = api_versions_response::FinalizedFeatureKey::default().with_name(text("f"));
        walks_to_its_end::<ApiVersionsResponse>(
            &kafka::ApiVersionsResponse::default()
                .with_supported_features(vec![supported])
                .with_finalized_features_epoch(3)
                .with_finalized_features(vec![finalized])
                .with_zk_migration_ready(true),
        );
    }

    #[test]
    fn broker_heartbeat_with_offline_directories() {
        walks_to_its_end::<BrokerHeartbeatRequest>(
            &kafka::BrokerHeartbeatRequest::default()
                .with_offline_log_dirs(vec![some_uuid(), some_uuid()]),
        );
    }
}
