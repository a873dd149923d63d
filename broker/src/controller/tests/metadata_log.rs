//! Commits, observers and what survives a restart.

use super::*;
use smallvec::smallvec;

#[test]
fn blocks_of_producer_ids_do_not_overlap() {
    let mut world = World::with_three_brokers(false);
    let mut first = Vec::new();
    for broker in [1, 2] {
        let request = AllocateProducerIdsRequest {
            broker,
            broker_epoch: world.epochs[&broker],
        };
        match world.ask(Request::AllocateProducerIds(request)) {
            Response::AllocateProducerIds(r) => first.push((r.error, r.first, r.count)),
            other => panic!("{other:?}"),
        }
    }
    let none = ErrorCode::None;
    assert_eq!(first, vec![(none, 0, 1000), (none, 1000, 1000)]);
}

#[test]
fn an_observer_that_fetches_everything_has_the_controllers_image() {
    let mut world = World::with_three_brokers(false);
    world.pass(12 * SECONDS, &[1, 2]);
    let mut image = MetadataImage::new();
    let mut next = 0;
    loop {
        let mut request = world.fetch_request(next, 0);
        request.max_bytes = 100; // a batch at a time
        let answer = world.fetch(request);
        let decoded = decode_batches(&answer.records).unwrap();
        for (offset, record) in &decoded.records {
            image.apply(record, *offset);
        }
        match decoded.end {
            Some((end, epoch)) => {
                assert_eq!(epoch, 1);
                next = end;
            }
            None => break,
        }
    }
    assert_eq!(&image, world.controller.image());
    assert_eq!(
        image.feature_level(METADATA_VERSION_FEATURE),
        METADATA_VERSION_LEVEL
    );
}

#[test]
fn a_metadata_fetch_waits_for_new_records_and_is_answered_when_they_commit() {
    let mut world = World::with_three_brokers(false);
    let end = world.controller.log().unwrap().high_watermark();
    let fetch = world.fetch_request(end, 500);
    let waiting = world.send(Request::Fetch(fetch));
    world.run_for(100 * MILLIS);
    assert!(world.answer(waiting).is_none());
    let shrink = world.proposal(&[0, 1]);
    let started = world.now;
    world.alter_one(0, shrink);
    let Some(Response::Fetch(answer)) = world.answer(waiting) else {
        panic!("answered by {:?} after {started}", world.answers.last());
    };
    let result = &answer.topics[0].1[0];
    assert_eq!(result.high_watermark, end + 1);
    let decoded = decode_batches(&result.records).unwrap();
    assert_eq!(decoded.records.len(), 1);
    assert_eq!(decoded.records[0].0, end);
}

#[test]
fn a_metadata_fetch_without_news_is_answered_empty_after_its_wait() {
    let mut world = World::with_three_brokers(false);
    let end = world.controller.log().unwrap().high_watermark();
    let fetch = world.fetch_request(end, 500);
    let waiting = world.send(Request::Fetch(fetch));
    world.run_for(499 * MILLIS);
    assert!(world.answer(waiting).is_none());
    world.run_for(2 * MILLIS);
    let Some(Response::Fetch(answer)) = world.answer(waiting) else {
        panic!("not answered");
    };
    assert!(answer.topics[0].1[0].records.is_empty());
    assert_eq!(answer.topics[0].1[0].high_watermark, end);
}

#[test]
fn a_metadata_fetch_in_another_epoch_or_beyond_the_end_learns_so() {
    let mut world = World::with_three_brokers(false);
    let end = world.controller.log().unwrap().high_watermark();
    let mut fetch = |offset, leader_epoch, last_epoch| {
        let mut request = world.fetch_request(offset, 500);
        request.topics[0].1[0].current_leader_epoch = leader_epoch;
        request.topics[0].1[0].last_fetched_epoch = last_epoch;
        world.fetch(request)
    };
    let controller = NodeId::FIRST_CONTROLLER as i32;
    let fenced = fetch(0, 0, 0);
    assert_eq!(
        (fenced.error, fenced.current_leader),
        (ErrorCode::FencedLeaderEpoch, (controller, 1))
    );
    assert_eq!(fetch(0, 2, 0).error, ErrorCode::UnknownLeaderEpoch);
    assert_eq!(fetch(end + 5, 1, 1).diverging_epoch, Some((1, end)));
    assert_eq!(fetch(-1, 1, -1).error, ErrorCode::InvalidRequest);
}

#[test]
fn nothing_is_answered_and_no_fact_is_told_before_the_sync() {
    let mut world = World::with_three_brokers(false);
    let facts = world.facts.len();
    let request = AlterPartitionRequest {
        broker: 0,
        broker_epoch: world.epochs[&0],
        topics: vec![(TOPIC, smallvec![world.proposal(&[0, 1])])],
    };
    let change = world.send(Request::AlterPartition(request.clone()));
    // Writes nothing, but what it would say rests on the change before it.
    let read = world.send(Request::AlterPartition(request));
    world.run_for(SYNC_TIME);
    assert_eq!(&world.state(0).isr[..], &[0, 1]);
    assert!(world.answer(change).is_none() && world.answer(read).is_none());
    assert_eq!(world.facts.len(), facts);
    world.run_for(MILLIS);
    assert!(world.answer(change).is_some() && world.answer(read).is_some());
    assert_eq!(world.facts.len(), facts + 1);
}

#[test]
fn the_log_survives_a_restart_and_unfenced_brokers_get_a_fresh_session() {
    let mut world = World::with_three_brokers(false);
    world.pass(12 * SECONDS, &[0, 1]);
    let image = world.controller.image().clone();
    let epochs = world.epochs.clone();
    let mut again = World::start(config(false), topics(), world.disk);
    again.epochs = epochs;
    assert_eq!(again.controller.image(), &image);
    assert_eq!(again.controller.log().unwrap().leader_epoch(), 2);
    assert!(again.facts.is_empty(), "{:?}", again.facts);
    again.pass(8 * SECONDS, &[0]);
    assert!(again.controller.image().is_active(1));
    again.pass(4 * SECONDS, &[0]);
    assert!(!again.controller.image().is_active(1));
    // Offsets go on behind the batch that opened the epoch.
    assert!(again.register(2, 0xd00d, -1).broker_epoch > image.offset() + 1);
}

#[test]
fn a_torn_batch_at_the_end_of_the_log_is_cut_off() {
    let mut world = World::with_three_brokers(false);
    let before = world.controller.image().clone();
    let shrink = world.proposal(&[0, 1]);
    world.alter_one(0, shrink);
    let mut disk = world.disk;
    let file = disk.open(METADATA_SEGMENT).unwrap();
    let torn = disk.len(file) - 1;
    disk.truncate(file, torn).unwrap();
    let mut again = World::start(config(false), topics(), disk);
    assert_eq!(again.controller.image(), &before);
    assert_eq!(again.fetch_all().offset(), before.offset());
}

#[test]
fn a_flipped_bit_in_fetched_records_is_noticed() {
    let mut world = World::with_three_brokers(false);
    let request = world.fetch_request(0, 0);
    let records = world.fetch(request).records;
    assert!(decode_batches(&records).is_ok());
    for at in [20, 30, records.len() - 1] {
        let mut flipped = records.to_vec();
        flipped[at] ^= 1;
        assert!(decode_batches(&flipped.into()).is_err(), "byte {at}");
    }
}

#[test]
fn a_connection_that_asks_for_a_brokers_api_is_closed() {
    let mut world = World::with_three_brokers(false);
    world.send(Request::Metadata(MetadataRequest {
        topics: None,
        allow_auto_topic_creation: false,
    }));
    assert_eq!(world.closed, vec![ConnId(100)]);
}

#[test]
fn the_versions_on_offer_are_those_of_the_controller_listener() {
    let mut world = World::start(config(false), Vec::new(), MemoryDisk::default());
    let Response::ApiVersions(answer) = world.ask(Request::ApiVersions(ApiVersionsRequest)) else {
        panic!("not ApiVersions");
    };
    let keys: Vec<i16> = answer.apis.iter().map(|(key, _, _)| *key).collect();
    assert_eq!(keys, vec![1, 18, 19, 56, 62, 63, 67]);
}

#[test]
fn a_sync_commits_only_what_was_appended_before_it_began() {
    let mut world = World::with_three_brokers(false);
    let mut send = |partition: i32, leader: BrokerId, isr: &[BrokerId]| {
        let proposal = AlterPartition {
            partition,
            leader_epoch: 0,
            partition_epoch: 0,
            new_isr: isr.iter().map(|id| (*id, -1)).collect(),
        };
        let request = AlterPartitionRequest {
            broker: leader,
            broker_epoch: world.epochs[&leader],
            topics: vec![(TOPIC, smallvec![proposal])],
        };
        let correlation = world.send(Request::AlterPartition(request));
        world.run_for(SYNC_TIME / 2);
        correlation
    };
    let first = send(0, 0, &[0, 1]);
    let second = send(1, 1, &[1, 2]);
    world.run_for(SYNC_TIME / 2);
    assert!(world.answer(first).is_some());
    assert!(world.answer(second).is_none());
    let end = world.controller.log().unwrap().end_offset();
    assert_eq!(world.controller.log().unwrap().high_watermark(), end - 1);
    world.run_for(SYNC_TIME);
    assert!(world.answer(second).is_some());
}

#[test]
fn a_controller_whose_log_cannot_be_made_durable_ends_without_an_answer() {
    let mut world = World::with_three_brokers(false);
    let request = AllocateProducerIdsRequest {
        broker: 0,
        broker_epoch: world.epochs[&0],
    };
    let asked = world.send(Request::AllocateProducerIds(request));
    world.run_for(MILLIS);
    let (at, token) = world
        .events
        .iter()
        .find_map(|(at, input)| match input {
            Input::Synced(token, _) => Some((*at, *token)),
            _ => None,
        })
        .expect("a sync under way");
    let failed = Input::Synced(token, Err(crate::disk::DiskError::Io));
    world.events.insert(at, failed);
    world.run_for(10 * MILLIS);
    assert!(world.halted);
    assert!(world.answer(asked).is_none());
}
