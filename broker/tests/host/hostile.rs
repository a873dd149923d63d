//! Clients that send what is no request, or do not go on: the server survives, memory stays bounded,
//! others are served.

use crate::client::{Client, Server, frame, raw_frame};
use crate::round_trip::{batch, create, fetch_request, name, produce};
use bytes::{BufMut, Bytes, BytesMut};
use everyack_broker::env::Stream;
use kafka_protocol::messages::{self as kafka, ApiKey};
use kafka_protocol::protocol::StrBytes;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// Held by tests that measure this process's memory, which they share.
static MEASURING: Mutex<()> = Mutex::new(());

fn measuring() -> MutexGuard<'static, ()> {
    // Another test's failure is told by itself.
    MEASURING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What this process has in memory, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        * 1024
}

#[test]
fn random_and_damaged_frames_end_their_connection_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(1, dir.path(), &[]);
    let mut draw = Stream::new(0x5e77e, 0);
    let whole = frame(&kafka::MetadataRequest::default().with_topics(None), 12, 1);
    let apis: Vec<i16> = (0..=92).collect();
    for round in 0..400 {
        let mut client = server.connect();
        let mut bytes: Vec<u8> = match round % 4 {
            // Anything.
            0 => (0..draw.below(300)).map(|_| draw.bits() as u8).collect(),
            // A length, then anything.
            1 => {
                let body: Vec<u8> = (0..draw.below(300)).map(|_| draw.bits() as u8).collect();
                [&(body.len() as i32).to_be_bytes()[..], &body].concat()
            }
            // The header of some API, then anything.
            2 => {
                let key = apis[draw.below(apis.len() as u64) as usize];
                let mut buf = BytesMut::new();
                buf.put_i16(key);
                buf.put_i16(draw.below(14) as i16);
                buf.put_i32(1);
                buf.put_i16(-1);
                (0..draw.below(100)).for_each(|_| buf.put_u8(draw.bits() as u8));
                [&(buf.len() as i32).to_be_bytes()[..], &buf].concat()
            }
            // A good one with some bytes changed.
            _ => whole.to_vec(),
        };
        if round % 4 == 3 {
            for _ in 0..1 + draw.below(4) {
                let at = draw.below(bytes.len() as u64) as usize;
                bytes[at] = draw.bits() as u8;
            }
        }
        // The server may close before all of it is written.
        let _ = client.stream.write_all(&bytes);
        if round % 50 == 0 {
            server.answers();
        }
    }
    server.answers();
    server.shut_down();
}

/// Requests that a client might send, at versions that differ in their encoding.
fn good_frames() -> Vec<Bytes> {
    use kafka::*;
    let records = batch(&[Bytes::from_static(b"value")], -1, -1);
    let partition = produce_request::PartitionProduceData::default().with_records(Some(records));
    let produced = produce_request::TopicProduceData::default()
        .with_name(name("orders"))
        .with_partition_data(vec![partition.clone(), partition]);
    let produce = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(100)
        .with_topic_data(vec![produced]);
    let listed = list_offsets_request::ListOffsetsTopic::default()
        .with_name(name("orders"))
        .with_partitions(vec![Default::default(); 2]);
    let list = ListOffsetsRequest::default().with_topics(vec![listed]);
    let committed = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(name("orders"))
        .with_partitions(vec![Default::default(); 2]);
    let commit = OffsetCommitRequest::default().with_topics(vec![committed]);
    let fetched = offset_fetch_request::OffsetFetchRequestGroup::default().with_topics(None);
    let fetch = OffsetFetchRequest::default().with_groups(vec![fetched.clone(), fetched]);
    let keys = vec![Default::default(), StrBytes::from_static_str("group")];
    let find = FindCoordinatorRequest::default().with_coordinator_keys(keys);
    let asked = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
        .with_topic(name("orders"))
        .with_partitions(vec![Default::default(); 2]);
    let epochs = OffsetForLeaderEpochRequest::default().with_topics(vec![asked]);
    let wanted = create_topics_request::CreatableTopic::default()
        .with_name(name("other"))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let create = CreateTopicsRequest::default()
        .with_validate_only(true)
        .with_topics(vec![wanted]);
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(StrBytes::from_static_str("orders"));
    let describe = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let init = InitProducerIdRequest::default().with_transactional_id(None);
    vec![
        frame(&produce, 7, 1),
        frame(&produce, 9, 1),
        frame(&fetch_request("orders", 0), 4, 1),
        frame(&fetch_request("orders", 0), 12, 1),
        frame(&list, 1, 1),
        frame(&list, 6, 1),
        frame(&commit, 3, 1),
        frame(&commit, 8, 1),
        frame(&fetch, 8, 1),
        frame(&find, 4, 1),
        frame(&epochs, 4, 1),
        frame(&create, 4, 1),
        frame(&create, 6, 1),
        frame(&describe, 1, 1),
        frame(&init, 2, 1),
    ]
}

#[test]
fn damaged_requests_of_every_kind_are_answered_or_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(1, dir.path(), &[]);
    create(&server, "orders", 1);
    let good = good_frames();
    let mut draw = Stream::new(0xda3a6e, 0);
    for round in 0..1500 {
        let mut bytes = good[round % good.len()].to_vec();
        // The first rounds of each are as they should be; the API and its version stay.
        for _ in 0..draw.below(4).min(round as u64 / 100) {
            let at = 8 + draw.below(bytes.len() as u64 - 8) as usize;
            bytes[at] = draw.bits() as u8;
        }
        let mut client = server.connect();
        client.stream.write_all(&bytes).expect("it is read");
        if round < 100 {
            client.read_frame().expect("an answer");
        }
    }
    server.answers();
    server.shut_down();
}

#[test]
fn every_truncation_of_a_frame_leaves_the_server_serving() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(1, dir.path(), &[]);
    let whole = frame(&fetch_request("orders", 0), 11, 1);
    for length in 0..whole.len() {
        // Cut off in the middle, and then gone.
        let _ = server.connect().stream.write_all(&whole[..length]);
        // Cut off, with a length that says so.
        if length >= 4 {
            let mut cut = BytesMut::from(&whole[..length]);
            cut[..4].copy_from_slice(&(length as i32 - 4).to_be_bytes());
            let mut client = server.connect();
            client.stream.write_all(&cut).expect("it is read");
            client.until_closed();
        }
    }
    server.answers();
    server.shut_down();
}

#[test]
fn huge_lengths_reserve_nothing() {
    let _alone = measuring();
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(1, dir.path(), &[]);
    server.answers();
    let before = resident();
    // Frames past the bound: 2 GiB, and less than nothing.
    for length in [i32::MAX, -1, i32::MIN, 100 * MIB as i32 + 1] {
        let mut client = server.connect();
        client
            .stream
            .write_all(&length.to_be_bytes())
            .expect("it is read");
        client.until_closed();
    }
    // Arrays of 2^31 - 1 items in every API that begins with one.
    let most = i32::MAX.to_be_bytes();
    let compact = [0xff, 0xff, 0xff, 0xff, 0x07];
    for (api, version, body) in [
        (ApiKey::Metadata, 1, &most[..]),
        (ApiKey::Metadata, 12, &compact[..]),
        (ApiKey::CreateTopics, 2, &most[..]),
        (ApiKey::CreateTopics, 7, &compact[..]),
        (ApiKey::DeleteTopics, 1, &most[..]),
        (ApiKey::DeleteRecords, 0, &most[..]),
        (ApiKey::DeleteRecords, 2, &compact[..]),
        (ApiKey::DescribeConfigs, 1, &most[..]),
        (ApiKey::OffsetFetch, 8, &compact[..]),
        (ApiKey::FindCoordinator, 4, &[&[0], &compact[..]].concat()),
    ] {
        let mut client = server.connect();
        let frame = raw_frame(api, version, body);
        client.stream.write_all(&frame).expect("it is read");
        client.until_closed();
    }
    // Claims within the bound, of which next to nothing comes: all at once.
    let mut claims: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    for client in &mut claims {
        let claim = (100 * MIB as i32).to_be_bytes();
        client.stream.write_all(&claim).expect("it is read");
        client.stream.write_all(&[0; 1000]).expect("it is read");
    }
    server.answers();
    let grown = resident().saturating_sub(before);
    assert!(grown < 100 * MIB, "{} MiB more than before", grown / MIB);
    drop(claims);
    server.shut_down();
}

#[test]
fn half_open_connections_are_closed_in_time_and_others_are_served_meanwhile() {
    let dir = tempfile::tempdir().expect("a folder");
    let idle = [("connections.max.idle.ms", "1500")];
    let server = Server::start(1, dir.path(), &idle);
    let began = Instant::now();
    let half = frame(&fetch_request("orders", 0), 11, 1);
    let half = &half[..half.len() / 2];
    let mut stuck: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    for (n, client) in stuck.iter_mut().enumerate() {
        // Some say nothing at all.
        if n % 2 == 0 {
            client.stream.write_all(half).expect("it is read");
        }
    }
    while began.elapsed() < Duration::from_secs(1) {
        server.answers();
    }
    for client in &mut stuck {
        client.until_closed();
    }
    assert!(began.elapsed() >= Duration::from_millis(1500));
    server.answers();
    server.shut_down();
}

#[test]
fn a_client_that_reads_no_answer_holds_one_and_others_are_served() {
    let _alone = measuring();
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(1, dir.path(), &[]);
    create(&server, "orders", 1);
    let mut writer = server.connect();
    let value = Bytes::from(vec![b'x'; 500_000]);
    for _ in 0..20 {
        let records = batch(std::slice::from_ref(&value), -1, -1);
        assert_eq!(produce(&mut writer, "orders", records).0, 0);
    }
    let before = resident();
    // Each asks for 10 MB a hundred times and reads none of it.
    let mut deaf: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    for client in &mut deaf {
        for _ in 0..100 {
            client.send(&fetch_request("orders", 0), 11);
        }
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        server.answers();
        let records = batch(std::slice::from_ref(&value), -1, -1);
        assert_eq!(produce(&mut writer, "orders", records).0, 0);
    }
    let grown = resident().saturating_sub(before);
    // One answer each, while it is made and sent: 20 MB.
    assert!(grown < 300 * MIB, "{} MiB more than before", grown / MIB);
    drop(deaf);
    server.answers();
    server.shut_down();
}

#[test]
fn what_is_not_served_ends_the_connection_and_a_newer_api_versions_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(1, dir.path(), &[]);
    for (api, version) in [
        (ApiKey::JoinGroup, 5),
        (ApiKey::BrokerHeartbeat, 0),
        (ApiKey::Produce, 2),
    ] {
        let mut client = server.connect();
        let frame = raw_frame_of_any(api, version);
        client.stream.write_all(&frame).expect("it is read");
        client.until_closed();
    }
    let mut client = server.connect();
    let frame = raw_frame_of_any(ApiKey::ApiVersions, 77);
    client.stream.write_all(&frame).expect("it is read");
    let answer = client.read_frame().expect("an answer");
    // Header and body of version 0: correlation id, error 35, then the versions.
    assert_eq!(&answer[4..6], &35i16.to_be_bytes());
    // And the connection goes on.
    let versions = client.ask(&kafka::ApiVersionsRequest::default(), 0);
    assert_eq!(versions.error_code, 0);
    server.shut_down();
}

/// A header of version 1, whatever the API wants.
fn raw_frame_of_any(api: ApiKey, version: i16) -> Bytes {
    let mut buf = BytesMut::new();
    buf.put_i32(10);
    buf.put_i16(api as i16);
    buf.put_i16(version);
    buf.put_i32(9);
    buf.put_i16(-1);
    buf.freeze()
}
