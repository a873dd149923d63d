//! Every API at every version: what is read, and how it is answered.

mod samples;

use super::*;
use crate::controller::{MetadataRecord, PartitionRecord, RegisterBrokerRecord};
use crate::wire::*;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Message;
use proptest::prelude::*;
use samples::{answer_to, body};

const ORDERS: TopicId = TopicId(0x11);
const OFFSETS: TopicId = TopicId(0x22);

/// Brokers 1 and 2, topics `orders` and `__consumer_offsets` of two partitions.
fn image() -> MetadataImage {
    let mut image = MetadataImage::new();
    let mut records = Vec::new();
    for broker in [1, 2] {
        records.push(MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker,
            incarnation: Incarnation(1),
            epoch: 1,
            fenced: false,
            in_controlled_shutdown: false,
        }));
    }
    for (name, id) in [("orders", ORDERS), ("__consumer_offsets", OFFSETS)] {
        records.push(MetadataRecord::Topic {
            name: name.into(),
            id,
        });
        for partition in 0..2 {
            records.push(MetadataRecord::Partition(PartitionRecord {
                partition: TopicPartition::new(id, partition),
                replicas: [1, 2].into(),
                isr: [1, 2].into(),
                leader: 1,
                recovering: false,
                leader_epoch: 0,
                partition_epoch: 0,
            }));
        }
    }
    for (offset, record) in (0..).zip(&records) {
        image.apply(record, offset);
    }
    image
}

fn with_view<T>(run: impl FnOnce(&View<'_>) -> T) -> T {
    let ends = [
        (1, ("127.0.0.1".to_string(), 9092)),
        (2, ("127.0.0.1".to_string(), 9093)),
    ];
    let (image, properties) = (image(), PropertyMap::new());
    run(&View {
        image: &image,
        properties: &properties,
        endpoints: &Arc::new(Endpoints(ends.into())),
        cluster_id: "cluster",
    })
}

fn uuid(id: TopicId) -> uuid::Uuid {
    uuid::Uuid::from_u128(id.0)
}

/// A request frame without its length.
fn request(api: ApiKey, version: i16, body: &[u8]) -> Bytes {
    let mut buf = BytesMut::new();
    buf.put_i16(api as i16);
    buf.put_i16(version);
    buf.put_i32(77);
    buf.put_i16(4);
    buf.put_slice(b"test");
    if api.request_header_version(version) >= 2 {
        buf.put_u8(0);
    }
    buf.put_slice(body);
    buf.freeze()
}

fn encoded<M: Encodable>(message: M, version: i16) -> Vec<u8> {
    let mut buf = BytesMut::new();
    message.encode(&mut buf, version).expect("it encodes");
    buf.to_vec()
}

fn named(name: &str) -> kafka::TopicName {
    kafka_name(name)
}

/// The frame that answers this request, without its length.
fn answered(frame: Bytes) -> Bytes {
    let incoming = read(frame).expect("it reads");
    let bytes = match with_view(|view| incoming.plan(view)) {
        Plan::Ask(requests, finish) => finish(requests.iter().map(answer_to).collect()),
        Plan::Answer(bytes) => bytes,
        Plan::Tell(..) | Plan::Close => panic!("no answer"),
    };
    let length = i32::from_be_bytes(bytes[..4].try_into().unwrap());
    assert_eq!(length as usize, bytes.len() - 4);
    bytes.slice(4..)
}

/// The answer to the standard request of a version, decoded.
fn answer<M: Decodable + HeaderVersion>(api: ApiKey, version: i16) -> M {
    decoded(
        answered(request(api, version, &body(api, version))),
        version,
    )
}

fn decoded<M: Decodable + HeaderVersion>(mut bytes: Bytes, version: i16) -> M {
    let header = kafka::ResponseHeader::decode(&mut bytes, M::header_version(version)).unwrap();
    assert_eq!(header.correlation_id, 77);
    let answer = M::decode(&mut bytes, version).unwrap();
    assert!(bytes.is_empty(), "{} bytes trail", bytes.len());
    answer
}

fn versions() -> impl Iterator<Item = (ApiKey, i16)> {
    let all = APIS.iter();
    all.flat_map(|api| (api.versions.0..=api.versions.1).map(|version| (api.key, version)))
}

#[test]
fn every_version_of_every_api_is_read_with_its_trailing_bytes_and_answered() {
    for (api, version) in versions() {
        let mut body = body(api, version);
        read(request(api, version, &body)).unwrap_or_else(|e| panic!("{e}"));
        // The debug assertion in `read` holds the outline against the decoder.
        body.extend([1, 2, 3]);
        let answer = answered(request(api, version, &body));
        assert!(answer.len() > 4, "{api:?} v{version}");
    }
}

#[test]
fn every_truncation_is_refused() {
    for (api, version) in versions() {
        let whole = request(api, version, &body(api, version));
        for length in 0..whole.len() {
            let outcome = read(whole.slice(..length));
            assert!(
                outcome.is_err(),
                "{api:?} v{version} cut to {length}: {outcome:?}"
            );
        }
    }
}

#[test]
fn versions_are_those_of_both_schemas() {
    fn both<Req: Message, Resp: Message>() -> (i16, i16) {
        let range = Req::VERSIONS.intersect(&Resp::VERSIONS);
        (range.min, range.max)
    }
    use kafka::*;
    for api in APIS {
        let schemas = match api.key {
            ApiKey::Produce => both::<ProduceRequest, ProduceResponse>(),
            ApiKey::Fetch => both::<FetchRequest, FetchResponse>(),
            ApiKey::ListOffsets => both::<ListOffsetsRequest, ListOffsetsResponse>(),
            ApiKey::Metadata => both::<MetadataRequest, MetadataResponse>(),
            ApiKey::OffsetCommit => both::<OffsetCommitRequest, OffsetCommitResponse>(),
            ApiKey::OffsetFetch => both::<OffsetFetchRequest, OffsetFetchResponse>(),
            ApiKey::FindCoordinator => both::<FindCoordinatorRequest, FindCoordinatorResponse>(),
            ApiKey::ApiVersions => both::<ApiVersionsRequest, ApiVersionsResponse>(),
            ApiKey::CreateTopics => both::<CreateTopicsRequest, CreateTopicsResponse>(),
            ApiKey::DeleteTopics => both::<DeleteTopicsRequest, DeleteTopicsResponse>(),
            ApiKey::DeleteRecords => both::<DeleteRecordsRequest, DeleteRecordsResponse>(),
            ApiKey::InitProducerId => both::<InitProducerIdRequest, InitProducerIdResponse>(),
            ApiKey::OffsetForLeaderEpoch => {
                both::<OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse>()
            }
            ApiKey::DescribeConfigs => both::<DescribeConfigsRequest, DescribeConfigsResponse>(),
            ApiKey::DescribeCluster => both::<DescribeClusterRequest, DescribeClusterResponse>(),
            other => panic!("{other:?} is not served"),
        };
        assert_eq!(api.versions, schemas, "{:?}", api.key);
    }
}

#[test]
fn a_produce_by_name_and_by_id_is_answered_in_the_words_of_its_version() {
    for version in 3..=13 {
        let answer: kafka::ProduceResponse = answer(ApiKey::Produce, version);
        let [known, other] = &answer.responses[..] else {
            panic!("two topics were asked: {answer:?}");
        };
        let codes = |t: &kafka::produce_response::TopicProduceResponse| {
            let partitions = t.partition_responses.iter();
            partitions.map(|p| p.error_code).collect::<Vec<_>>()
        };
        assert_eq!(codes(known), [6, 6], "v{version}");
        if version >= 13 {
            assert_eq!(
                (topic_id(known.topic_id), codes(other)),
                (ORDERS, vec![6, 6])
            );
        } else {
            assert_eq!(&**known.name, "orders");
            assert_eq!((&**other.name, codes(other)), ("nowhere", vec![3, 3]));
        }
        let ends = answer.node_endpoints.iter().map(|e| (&*e.host, e.port));
        let expected: &[_] = if version >= 10 {
            &[("127.0.0.1", 9093)]
        } else {
            &[]
        };
        assert_eq!(ends.collect::<Vec<_>>(), expected, "v{version}");
    }
}

#[test]
fn a_fetch_by_name_and_by_id_is_answered_without_a_session() {
    for version in 4..=18 {
        let answer: kafka::FetchResponse = answer(ApiKey::Fetch, version);
        assert_eq!((answer.error_code, answer.session_id), (0, 0));
        let known = &answer.responses[0];
        let partition = &known.partitions[1];
        assert_eq!(partition.records.as_deref(), Some(&b"records"[..]));
        assert_eq!(
            partition.aborted_transactions,
            Some(vec![]),
            "read_committed"
        );
        if version >= 13 {
            assert_eq!(topic_id(known.topic_id), ORDERS);
        } else {
            assert_eq!(&**known.topic, "orders");
            let other = &answer.responses[1];
            assert_eq!(
                (&**other.topic, other.partitions[0].error_code),
                ("nowhere", 3)
            );
        }
        assert_eq!(answer.node_endpoints.len(), usize::from(version >= 16));
    }
}

#[test]
fn a_session_is_not_found_and_nobody_from_outside_is_a_follower() {
    for version in [7, 12, 13, 18] {
        let going_on = kafka::FetchRequest::default()
            .with_session_id(9)
            .with_session_epoch(1);
        let frame = request(ApiKey::Fetch, version, &encoded(going_on, version));
        let answer: kafka::FetchResponse = decoded(answered(frame), version);
        assert_eq!((answer.error_code, answer.responses.len()), (70, 0));
        let follower = kafka::FetchRequest::default();
        let follower = if version >= 15 {
            let state = kafka::fetch_request::ReplicaState::default();
            follower.with_replica_state(state.with_replica_id(2.into()))
        } else {
            follower.with_replica_id(2.into())
        };
        let frame = request(ApiKey::Fetch, version, &encoded(follower, version));
        let answer: kafka::FetchResponse = decoded(answered(frame), version);
        assert_eq!(answer.error_code, 31, "v{version}");
    }
}

#[test]
fn metadata_tells_where_the_brokers_are_at_every_version() {
    for version in 0..=13 {
        let answer: kafka::MetadataResponse = answer(ApiKey::Metadata, version);
        let ends = answer
            .brokers
            .iter()
            .map(|b| (b.node_id.0, &*b.host, b.port));
        let expected = [(1, "127.0.0.1", 9092), (2, "127.0.0.1", 9093)];
        assert_eq!(ends.collect::<Vec<_>>(), expected);
        let cluster_id = (version >= 2).then_some("cluster");
        assert_eq!(answer.cluster_id.as_deref(), cluster_id);
        let partition = &answer.topics[0].partitions[0];
        let offline: &[kafka::BrokerId] = if version >= 5 {
            &[kafka::BrokerId(3)]
        } else {
            &[]
        };
        assert_eq!(partition.offline_replicas, offline);
    }
}

#[test]
fn all_topics_are_asked_for_by_an_empty_list_at_first_and_by_null_since() {
    let asked = |version: i16, topics| -> Option<Vec<TopicName>> {
        let message = kafka::MetadataRequest::default().with_topics(topics);
        let frame = request(ApiKey::Metadata, version, &encoded(message, version));
        match with_view(|view| read(frame).unwrap().plan(view)) {
            Plan::Ask(requests, _) => match &requests[0] {
                Request::Metadata(r) => r.topics.clone(),
                other => panic!("{other:?}"),
            },
            _ => panic!("the broker is asked"),
        }
    };
    assert_eq!(asked(0, Some(Vec::new())), None);
    assert_eq!(asked(1, Some(Vec::new())), Some(Vec::new()));
    assert_eq!(asked(1, None), None);
    let by_id = kafka::metadata_request::MetadataRequestTopic::default();
    let ids = [ORDERS, TopicId(5)].map(|id| by_id.clone().with_name(None).with_topic_id(uuid(id)));
    assert_eq!(asked(12, Some(ids.to_vec())), Some(vec!["orders".into()]));
    let message = kafka::MetadataRequest::default().with_topics(Some(ids.to_vec()));
    let frame = request(ApiKey::Metadata, 12, &encoded(message, 12));
    let answer: kafka::MetadataResponse = decoded(answered(frame), 12);
    let unknown = &answer.topics[1];
    assert_eq!((unknown.error_code, unknown.name.is_none()), (100, true));
    assert_eq!(topic_id(unknown.topic_id), TopicId(5));
}

#[test]
fn coordinators_and_committed_offsets_come_one_or_several_at_once() {
    for version in 0..=6 {
        let answer: kafka::FindCoordinatorResponse = answer(ApiKey::FindCoordinator, version);
        if version < 4 {
            assert_eq!((answer.node_id.0, answer.port), (2, 9093));
        } else {
            let keys = answer.coordinators.iter().map(|c| (&*c.key, c.port));
            assert_eq!(keys.collect::<Vec<_>>(), [("group", 9093), ("other", 9093)]);
        }
    }
    for version in 1..=9 {
        let answer: kafka::OffsetFetchResponse = answer(ApiKey::OffsetFetch, version);
        if version < 8 {
            let partitions = &answer.topics[0].partitions;
            let offsets = partitions.iter().map(|p| p.committed_offset);
            assert_eq!(offsets.collect::<Vec<_>>(), [-1, 42]);
            let epoch = if version >= 5 { 3 } else { -1 };
            assert_eq!(partitions[1].committed_leader_epoch, epoch);
        } else {
            assert_eq!(answer.groups[0].topics.len(), 2);
            // The second asks for all of its partitions: those with a committed offset.
            let of_all = answer.groups[1].topics.iter();
            let indexes = of_all.flat_map(|t| t.partitions.iter().map(|p| p.partition_index));
            assert_eq!(indexes.collect::<Vec<_>>(), [1, 1]);
        }
    }
}

#[test]
fn a_producer_is_given_an_id_but_for_transactions_which_are_refused_once_and_for_all() {
    let message = kafka::InitProducerIdRequest::default()
        .with_transactional_id(Some(kafka::TransactionalId(text("t"))));
    let frame = request(ApiKey::InitProducerId, 4, &encoded(message, 4));
    let answer: kafka::InitProducerIdResponse = decoded(answered(frame), 4);
    assert_eq!((answer.error_code, answer.producer_id.0), (53, -1));
    for version in 0..=5 {
        let answer: kafka::InitProducerIdResponse = self::answer(ApiKey::InitProducerId, version);
        assert_eq!((answer.error_code, answer.producer_id.0), (0, 1000));
    }
    let message = kafka::FindCoordinatorRequest::default()
        .with_key_type(1)
        .with_key(text("t"));
    let frame = request(ApiKey::FindCoordinator, 2, &encoded(message, 2));
    let answer: kafka::FindCoordinatorResponse = decoded(answered(frame), 2);
    assert_eq!((answer.error_code, answer.node_id.0), (53, -1));
}

#[test]
fn commits_to_what_does_not_exist_are_refused_and_the_others_go_through() {
    for version in 2..=9 {
        let answer: kafka::OffsetCommitResponse = answer(ApiKey::OffsetCommit, version);
        let told = answer.topics.iter().map(|t| {
            let codes = t.partitions.iter().map(|p| p.error_code);
            (&**t.name, codes.collect::<Vec<_>>())
        });
        let expected = [("orders", vec![0, 0]), ("nowhere", vec![3, 3])];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
    let nothing = kafka::OffsetCommitRequest::default();
    let frame = request(ApiKey::OffsetCommit, 8, &encoded(nothing, 8));
    let answer: kafka::OffsetCommitResponse = decoded(answered(frame), 8);
    assert!(answer.topics.is_empty());
}

#[test]
fn records_are_deleted_by_the_broker_and_each_partition_has_its_answer() {
    for version in 0..=2 {
        let answer: kafka::DeleteRecordsResponse = answer(ApiKey::DeleteRecords, version);
        let told = answer.topics.iter().map(|t| {
            let partitions = t.partitions.iter();
            let told = partitions.map(|p| (p.partition_index, p.low_watermark, p.error_code));
            (&**t.name, told.collect::<Vec<_>>())
        });
        let both = || vec![(0, 5, 0), (1, -1, 7)];
        let expected = [("orders", both()), ("nowhere", both())];
        assert_eq!(told.collect::<Vec<_>>(), expected, "v{version}");
    }
}

#[test]
fn acks_decide_whether_a_produce_is_answered() {
    let plan = |acks: i16, topic: &str| {
        use kafka::produce_request::*;
        let partition = PartitionProduceData::default().with_records(Some(Bytes::new()));
        let topic = TopicProduceData::default()
            .with_name(named(topic))
            .with_partition_data(vec![partition]);
        let message = kafka::ProduceRequest::default()
            .with_acks(acks)
            .with_topic_data(vec![topic]);
        let frame = request(ApiKey::Produce, 7, &encoded(message, 7));
        with_view(|view| read(frame).unwrap().plan(view))
    };
    assert!(matches!(plan(0, "orders"), Plan::Tell(_, false)));
    assert!(matches!(plan(0, "nowhere"), Plan::Close));
    assert!(matches!(plan(1, "orders"), Plan::Ask(..)));
    for (acks, topic, error) in [(2, "orders", 21), (1, "__consumer_offsets", 17)] {
        let Plan::Ask(requests, finish) = plan(acks, topic) else {
            panic!("it is answered");
        };
        let bytes = finish(requests.iter().map(answer_to).collect());
        let answer: kafka::ProduceResponse = decoded(bytes.slice(4..), 7);
        let topics = answer.responses;
        assert_eq!(topics.len(), 1);
        assert_eq!(topics[0].partition_responses[0].error_code, error);
    }
}

#[test]
fn a_newer_api_versions_is_answered_in_the_words_of_version_0() {
    let mut frame = BytesMut::from(&request(ApiKey::ApiVersions, 4, &[])[..]);
    frame[2..4].copy_from_slice(&99i16.to_be_bytes());
    let answer: kafka::ApiVersionsResponse = decoded(answered(frame.freeze()), 0);
    assert_eq!(answer.error_code, 35);
    let produce = answer.api_keys.iter().find(|a| a.api_key == 0).unwrap();
    assert_eq!((produce.min_version, produce.max_version), (0, 13));
}

#[test]
fn other_apis_and_versions_are_refused() {
    for (api, version, expected) in [
        (ApiKey::Produce, 2i16, "Produce v2"),
        (ApiKey::Fetch, 99, "Fetch v99"),
        (ApiKey::BrokerHeartbeat, 0, "API key 63"),
        (ApiKey::JoinGroup, 5, "API key 11"),
    ] {
        let mut frame = BytesMut::from(&request(api, 0, &[])[..]);
        frame[2..4].copy_from_slice(&version.to_be_bytes());
        let error = read(frame.freeze()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn hostile_lengths_are_refused_before_anything_is_reserved() {
    // PROTOCOL: 2^31 - 1 topics in a Metadata v1 of four bytes.
    let topics = i32::MAX.to_be_bytes();
    let error = read(request(ApiKey::Metadata, 1, &topics)).unwrap_err();
    let refused = Refused::Length {
        length: i64::from(i32::MAX),
        remaining: 0,
    };
    let (api, version) = (ApiKey::Metadata, 1);
    assert_eq!(
        error,
        Unreadable::Guarded {
            api,
            version,
            refused
        }
    );
    // As many as the frame has bytes for, each of two bytes.
    let mut body = BytesMut::new();
    body.put_i32(150_000);
    body.put_bytes(0, 300_000);
    let error = read(request(ApiKey::Metadata, 1, &body)).unwrap_err();
    let refused = Refused::Items;
    assert_eq!(
        error,
        Unreadable::Guarded {
            api,
            version,
            refused
        }
    );
    // A tagged field for every third byte.
    let mut body = BytesMut::from(&[1, 0, 0, 0xe0, 0xa7, 0x12][..]);
    body.put_bytes(1, 2_000_000);
    assert!(read(request(ApiKey::Metadata, 12, &body)).is_err());
    // A string longer than Kafka's strings.
    let mut body = BytesMut::from(&[0x81, 0x80, 0x04][..]);
    body.put_bytes(b'a', 70_000);
    let error = read(request(ApiKey::InitProducerId, 2, &body)).unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
    ) {
        let _ = read(Bytes::from(bytes.clone()));
        let all: Vec<_> = versions().collect();
        let (api, version) = all[at.index(all.len())];
        let _ = read(request(api, version, &bytes));
    }

    #[test]
    fn mutated_requests_never_panic_and_what_is_read_is_planned(
        at in any::<prop::sample::Index>(),
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let all: Vec<_> = versions().collect();
        let (api, version) = all[at.index(all.len())];
        let mut frame = BytesMut::from(&request(api, version, &body(api, version))[..]);
        for (at, value) in mutations {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        if let Ok(incoming) = read(frame.freeze())
            && let Plan::Ask(requests, finish) = with_view(|view| incoming.plan(view))
        {
            let _ = finish(requests.iter().map(answer_to).collect());
        }
    }
}
