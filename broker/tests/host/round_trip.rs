//! What is written is read back, also after an orderly restart and with another leader.

use crate::client::{Client, Server, eventually};
use bytes::{Bytes, BytesMut};
use kafka::create_topics_request::CreatableTopic;
use kafka::fetch_request::{FetchPartition, FetchTopic};
use kafka::metadata_request::MetadataRequestTopic;
use kafka::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages as kafka;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use std::time::{SystemTime, UNIX_EPOCH};

pub fn name(text: &'static str) -> kafka::TopicName {
    kafka::TopicName(StrBytes::from_static_str(text))
}

/// Creates a topic of one partition and waits for its leader; answers which broker that is.
pub fn create(server: &Server, topic: &'static str, replicas: i16) -> i32 {
    let wanted = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(1)
        .with_replication_factor(replicas);
    let request = kafka::CreateTopicsRequest::default().with_topics(vec![wanted]);
    let created = server.connect().ask(&request, 7);
    assert_eq!(created.topics[0].error_code, 0, "{created:?}");
    leader(server, topic)
}

/// The topic's leader, once every broker knows one.
fn leader(server: &Server, topic: &'static str) -> i32 {
    let asked = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request = kafka::MetadataRequest::default()
        .with_topics(Some(vec![asked]))
        .with_allow_auto_topic_creation(false);
    eventually("a leader", || {
        let mut leaders = server.addresses.iter().map(|address| {
            let answer = Client::to(address).ask(&request, 12);
            let partition = answer.topics[0].partitions.first()?;
            let known = partition.leader_id.0 >= 0
                && partition.isr_nodes.len() == partition.replica_nodes.len();
            known.then_some(partition.leader_id.0)
        });
        let first = leaders.next()??;
        leaders.all(|leader| leader == Some(first)).then_some(first)
    })
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_millis() as i64
}

/// A batch of an idempotent producer, or of none.
pub fn batch(values: &[Bytes], producer_id: i64, sequence: i32) -> Bytes {
    batch_from(now_ms(), 0, values, producer_id, sequence)
}

/// One whose first record is of that time, and each next one so many milliseconds later.
fn batch_from(
    first_ms: i64,
    step_ms: i64,
    values: &[Bytes],
    producer_id: i64,
    sequence: i32,
) -> Bytes {
    let record = |(n, value): (usize, &Bytes)| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id,
        producer_epoch: if producer_id < 0 { -1 } else { 0 },
        timestamp_type: TimestampType::Creation,
        offset: n as i64,
        // The encoder makes one batch of those whose sequences follow one another, also from -1 on.
        sequence: sequence + n as i32,
        timestamp: first_ms + n as i64 * step_ms,
        key: None,
        value: Some(value.clone()),
        headers: Default::default(),
    };
    let records: Vec<Record> = values.iter().enumerate().map(record).collect();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    let mut buf = BytesMut::new();
    RecordBatchEncoder::encode(&mut buf, &records, &options).expect("records");
    buf.freeze()
}

/// Appends a batch by name, with acks=all; answers the offset of its first record.
pub fn produce(client: &mut Client, topic: &'static str, records: Bytes) -> (i16, i64) {
    let partition = PartitionProduceData::default().with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(name(topic))
        .with_partition_data(vec![partition]);
    let request = kafka::ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic]);
    let answer = client.ask(&request, 9);
    let partition = &answer.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

pub fn fetch_request(topic: &'static str, offset: i64) -> kafka::FetchRequest {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_partition_max_bytes(64 << 20);
    let topic = FetchTopic::default()
        .with_topic(name(topic))
        .with_partitions(vec![partition]);
    kafka::FetchRequest::default()
        .with_max_wait_ms(100)
        .with_min_bytes(1)
        .with_max_bytes(64 << 20)
        .with_topics(vec![topic])
}

/// Every value from the beginning up to the high watermark.
fn fetch_all(client: &mut Client, topic: &'static str) -> Vec<Bytes> {
    let mut values = Vec::new();
    loop {
        let answer = client.ask(&fetch_request(topic, values.len() as i64), 11);
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let mut bytes = partition.records.clone().unwrap_or_default();
        if bytes.is_empty() {
            assert_eq!(values.len() as i64, partition.high_watermark);
            return values;
        }
        let sets = RecordBatchDecoder::decode_all(&mut bytes).expect("whole batches");
        for record in sets.into_iter().flat_map(|set| set.records) {
            assert_eq!(record.offset, values.len() as i64);
            values.push(record.value.expect("a value"));
        }
    }
}

fn producer_id(client: &mut Client) -> i64 {
    eventually("a producer id", || {
        let request = kafka::InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(1000)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let answer = client.ask(&request, 4);
        // COORDINATOR_LOAD_IN_PROGRESS until the controller has given a block.
        (answer.error_code != 14).then(|| {
            assert_eq!(answer.error_code, 0);
            answer.producer_id.0
        })
    })
}

fn values(from: usize, to: usize) -> Vec<Bytes> {
    (from..to)
        .map(|n| Bytes::from(format!("value {n}")))
        .collect()
}

fn connect_to(server: &Server, broker: i32) -> Client {
    Client::to(&server.addresses[broker as usize - 1])
}

fn written_and_read_back_after_a_restart(brokers: u16) {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(brokers, dir.path(), &[]);
    let leader_id = create(&server, "orders", brokers as i16);
    let mut client = connect_to(&server, leader_id);
    let producer = producer_id(&mut client);
    for n in 0..10 {
        let records = batch(&values(n * 100, n * 100 + 100), producer, n as i32 * 100);
        assert_eq!(produce(&mut client, "orders", records), (0, n as i64 * 100));
    }
    // A retry is answered with the offset that it has, and one with a gap is refused.
    let retry = batch(&values(900, 1000), producer, 900);
    assert_eq!(produce(&mut client, "orders", retry), (0, 900));
    let gap = batch(&values(0, 1), producer, 5000);
    assert_eq!(produce(&mut client, "orders", gap), (45, -1));
    assert_eq!(fetch_all(&mut client, "orders"), values(0, 1000));
    server.shut_down();

    let server = Server::start(brokers, dir.path(), &[]);
    let mut client = connect_to(&server, leader(&server, "orders"));
    assert_eq!(fetch_all(&mut client, "orders"), values(0, 1000));
    // The producer is still known, and so is what it wrote last.
    let retry = batch(&values(900, 1000), producer, 900);
    assert_eq!(produce(&mut client, "orders", retry), (0, 900));
    let next = batch(&values(1000, 1100), producer, 1000);
    assert_eq!(produce(&mut client, "orders", next), (0, 1000));
    assert!(producer_id(&mut client) > producer, "ids are given once");
    assert_eq!(fetch_all(&mut client, "orders"), values(0, 1100));
    server.shut_down();
}

#[test]
fn one_broker_keeps_what_was_produced_over_an_orderly_restart() {
    written_and_read_back_after_a_restart(1);
}

#[test]
fn three_brokers_keep_what_was_produced_over_an_orderly_restart() {
    written_and_read_back_after_a_restart(3);
}

#[test]
fn a_data_directory_keeps_its_number_of_brokers_and_is_used_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(1, dir.path(), &[]);
    let error = Server::try_start(1, dir.path(), &[]).map(drop).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    server.shut_down();
    let error = Server::try_start(3, dir.path(), &[]).map(drop).unwrap_err();
    assert!(error.to_string().contains("1 brokers"), "{error}");
}

#[test]
fn offsets_are_found_by_time() {
    use kafka::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(1, dir.path(), &[]);
    create(&server, "orders", 1);
    let mut client = server.connect();
    // Records at 0, 10, .. 90 and at 100, 110, .. 190 ms, but for the last batch, which is old.
    let first = now_ms() - 10_000;
    for (ms, from) in [(0, 0), (100, 10), (50, 20)] {
        let records = batch_from(first + ms, 10, &values(from, from + 10), -1, -1);
        assert_eq!(produce(&mut client, "orders", records).0, 0);
    }
    let mut find = |timestamp: i64| {
        let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(name("orders"))
            .with_partitions(vec![partition]);
        let request = kafka::ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_topics(vec![topic]);
        let answer = client.ask(&request, 7);
        let found = &answer.topics[0].partitions[0];
        assert_eq!(found.error_code, 0, "{found:?}");
        (found.offset, found.timestamp)
    };
    assert_eq!(find(-2).0, 0);
    assert_eq!(find(-1).0, 30);
    assert_eq!(find(0), (0, first));
    assert_eq!(find(first + 85), (9, first + 90));
    assert_eq!(find(first + 100), (10, first + 100));
    assert_eq!(find(first + 141), (15, first + 150));
    assert_eq!(find(first + 191), (-1, -1));
    assert_eq!(find(-3), (19, first + 190));
    server.shut_down();
}
