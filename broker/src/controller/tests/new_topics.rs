//! Topics that somebody asks for.

use super::*;
use crate::controller::PartitionRegistration;
use std::collections::BTreeSet;

fn topic(name: &str, partitions: i32, factor: i16) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: factor,
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}

fn create(
    world: &mut World,
    topics: Vec<CreatableTopic>,
    validate_only: bool,
) -> Vec<CreatedTopic> {
    let request = CreateTopicsRequest {
        topics,
        timeout_ms: 30_000,
        validate_only,
    };
    match world.ask(Request::CreateTopics(request)) {
        Response::CreateTopics(r) => r.topics,
        other => panic!("{other:?}"),
    }
}

/// The one topic's error and message.
fn refused(world: &mut World, topic: CreatableTopic) -> (ErrorCode, String) {
    let name = topic.name.clone();
    let created = create(world, vec![topic], false).remove(0);
    assert_eq!((&created.name, created.num_partitions), (&name, -1));
    let message = created.message.expect("a refusal says why");
    (created.error, message.to_string())
}

fn partitions(world: &World, name: &str) -> Vec<PartitionRegistration> {
    let image = world.controller.image();
    let topic = image.topic_by_name(name).expect("it was created");
    topic.partitions.values().cloned().collect()
}

#[test]
fn a_new_topic_has_its_replicas_in_rings_and_is_answered_once_it_is_committed() {
    let mut world = World::with_three_brokers(false);
    let request = CreateTopicsRequest {
        topics: vec![topic("orders", 6, 2)],
        timeout_ms: 30_000,
        validate_only: false,
    };
    let asked = world.send(Request::CreateTopics(request));
    world.run_for(MILLIS);
    assert!(world.answer(asked).is_none(), "its sync takes longer");
    world.run_for(10 * MILLIS);
    let Some(Response::CreateTopics(answer)) = world.answer(asked) else {
        panic!("no answer");
    };
    let created = &answer.topics[0];
    assert_eq!(created.error, ErrorCode::None);
    assert_eq!((created.num_partitions, created.replication_factor), (6, 2));
    let id = world.controller.image().topic_id("orders");
    assert_eq!(id, Some(created.id));
    let partitions = partitions(&world, "orders");
    for p in &partitions {
        assert_eq!(p.replicas.len(), 2);
        assert_eq!((p.leader, &p.isr), (p.replicas[0], &p.replicas));
        assert_eq!((p.leader_epoch, p.partition_epoch), (0, 0));
        assert_ne!(p.replicas[0], p.replicas[1]);
    }
    let leads = |broker| partitions.iter().filter(|p| p.leader == broker).count();
    assert_eq!([leads(0), leads(1), leads(2)], [2, 2, 2]);
}

#[test]
fn defaults_stand_for_minus_one_and_settings_are_kept() {
    let mut world = World::with_three_brokers(false);
    let mut orders = topic("orders", -1, -1);
    orders.configs = vec![
        ("min.insync.replicas".into(), Some("2".into())),
        ("retention.ms".into(), Some("1000".into())),
    ];
    let created = create(&mut world, vec![orders], false);
    assert_eq!(created[0].error, ErrorCode::None);
    assert_eq!(
        (created[0].num_partitions, created[0].replication_factor),
        (1, 1)
    );
    let image = world.controller.image();
    assert_eq!(
        image.topic_config("orders", "min.insync.replicas"),
        Some("2")
    );
    assert_eq!(image.topic_config("orders", "retention.ms"), Some("1000"));
}

#[test]
fn a_fenced_broker_is_a_replica_only_where_it_is_needed_and_never_in_sync() {
    let mut world = World::with_three_brokers(false);
    world.run_for(SESSION / 2);
    world.heartbeat(0);
    world.heartbeat(2);
    world.run_for(SESSION / 2 + 3 * SECONDS);
    assert!(!world.controller.image().is_active(1));
    create(
        &mut world,
        vec![topic("two", 4, 2), topic("three", 4, 3)],
        false,
    );
    let of_two: BTreeSet<BrokerId> = partitions(&world, "two")
        .iter()
        .flat_map(|p| p.replicas.to_vec())
        .collect();
    assert_eq!(of_two, BTreeSet::from([0, 2]));
    for p in partitions(&world, "three") {
        assert_eq!(p.replicas[2], 1);
        assert_eq!(p.isr, p.replicas[..2].into());
    }
}

#[test]
fn a_broker_in_controlled_shutdown_is_no_replica_and_does_not_count_for_the_factor() {
    let mut world = World::with_three_brokers(false);
    let leaves = BrokerHeartbeatRequest {
        want_shut_down: true,
        ..world.heartbeat_request(0)
    };
    assert!(!world.beat(leaves).should_shut_down);
    let (error, message) = refused(&mut world, topic("three", 1, 3));
    assert_eq!(error, ErrorCode::InvalidReplicationFactor);
    assert!(message.contains("only 2 broker(s)"), "{message}");
    create(&mut world, vec![topic("two", 4, 2)], false);
    for p in partitions(&world, "two") {
        assert!(!p.replicas.contains(&0), "{p:?}");
    }
    // Fenced at its end, it may follow like any other.
    world.heartbeat(1);
    world.heartbeat(2);
    assert!(world.beat(leaves).should_shut_down);
    create(&mut world, vec![topic("three", 1, 3)], false);
    let three = &partitions(&world, "three")[0];
    assert_eq!((three.replicas[2], three.isr.len()), (0, 2));
}

#[test]
fn what_kafka_refuses_is_refused_with_its_code() {
    use ErrorCode::*;
    let mut world = World::with_three_brokers(false);
    let with = |change: &dyn Fn(&mut CreatableTopic)| {
        let mut topic = topic("orders", 1, 1);
        change(&mut topic);
        topic
    };
    let setting = |key: &str, value: &str| {
        let (key, value) = (TopicName::from(key), TopicName::from(value));
        with(&move |t| t.configs = vec![(key.clone(), Some(value.clone()))])
    };
    let assigned = |replicas: Vec<(i32, Vec<BrokerId>)>| CreatableTopic {
        assignments: replicas,
        ..topic("orders", -1, -1)
    };
    let cases = [
        (
            topic("a/../b", 1, 1),
            InvalidTopicException,
            "alphanumerics",
        ),
        (topic("..", 1, 1), InvalidTopicException, "not allowed"),
        (topic("", 1, 1), InvalidTopicException, "empty"),
        (
            topic(&"n".repeat(250), 1, 1),
            InvalidTopicException,
            "longer",
        ),
        (
            topic("payments", 1, 1),
            TopicAlreadyExists,
            "already exists",
        ),
        (
            topic("__cluster_metadata", 1, 1),
            InvalidRequest,
            "prohibited",
        ),
        (topic("orders", 0, 1), InvalidPartitions, "non-positive"),
        (topic("orders", -2, 1), InvalidPartitions, "non-positive"),
        (topic("orders", i32::MAX, 1), PolicyViolation, "large"),
        (
            topic("orders", 1, 0),
            InvalidReplicationFactor,
            "larger than 0",
        ),
        (
            topic("orders", 1, 4),
            InvalidReplicationFactor,
            "only 3 broker(s)",
        ),
        (setting("min.insync.replica", "1"), InvalidConfig, "Unknown"),
        (
            setting("min.insync.replicas", "none"),
            InvalidConfig,
            "min.insync.replicas",
        ),
        (
            assigned(vec![(0, vec![])]),
            InvalidReplicaAssignment,
            "empty replica list",
        ),
        (
            assigned(vec![(0, vec![7])]),
            InvalidReplicaAssignment,
            "no such broker",
        ),
        (
            assigned(vec![(0, vec![1, 1])]),
            InvalidReplicaAssignment,
            "more than once",
        ),
        (
            assigned(vec![(0, vec![1]), (0, vec![2])]),
            InvalidReplicaAssignment,
            "multiple",
        ),
        (
            assigned(vec![(1, vec![1])]),
            InvalidReplicaAssignment,
            "consecutive",
        ),
        (
            assigned(vec![(0, vec![1]), (1, vec![0, 2])]),
            InvalidReplicaAssignment,
            "consistent",
        ),
        (
            with(&|t| t.assignments = vec![(0, vec![1])]),
            InvalidRequest,
            "-1",
        ),
    ];
    for (topic, error, says) in cases {
        let wanted = format!("{topic:?}");
        let (found, message) = refused(&mut world, topic);
        assert_eq!(found, error, "{wanted}: {message}");
        assert!(message.contains(says), "{wanted}: {message}");
    }
    assert_eq!(
        world.controller.image().topics().len(),
        1,
        "only that of the start"
    );
}

#[test]
fn names_that_differ_in_a_dot_and_an_underscore_collide() {
    let mut world = World::with_three_brokers(false);
    create(&mut world, vec![topic("a.b", 1, 1)], false);
    let (error, message) = refused(&mut world, topic("a_b", 1, 1));
    assert_eq!(error, ErrorCode::InvalidTopicException);
    assert!(message.contains("a.b"), "{message}");
}

#[test]
fn one_refusal_leaves_the_others_alone_and_a_name_twice_is_none_of_them() {
    let mut world = World::with_three_brokers(false);
    let asked = vec![
        topic("good", 1, 1),
        topic("twice", 1, 1),
        topic("bad", 1, 9),
        topic("twice", 1, 1),
    ];
    let errors = create(&mut world, asked, false)
        .into_iter()
        .map(|t| t.error);
    use ErrorCode::*;
    let expected = [
        None,
        InvalidRequest,
        InvalidReplicationFactor,
        InvalidRequest,
    ];
    assert_eq!(errors.collect::<Vec<_>>(), expected);
    let image = world.controller.image();
    assert!(image.topic_id("good").is_some() && image.topic_id("twice").is_none());
}

#[test]
fn validating_creates_nothing() {
    let mut world = World::with_three_brokers(false);
    let before = world.controller.image().offset();
    let validated = create(&mut world, vec![topic("orders", 3, 3)], true);
    assert_eq!(
        (validated[0].error, validated[0].num_partitions),
        (ErrorCode::None, 3)
    );
    assert_eq!(world.controller.image().offset(), before);
}

#[test]
fn an_assignment_that_somebody_gives_is_taken_as_it_is() {
    let mut world = World::with_three_brokers(false);
    let mut orders = topic("orders", -1, -1);
    orders.assignments = vec![(1, vec![2, 0]), (0, vec![1, 2])];
    assert_eq!(create(&mut world, vec![orders], false)[0].num_partitions, 2);
    let replicas: Vec<Vec<BrokerId>> = partitions(&world, "orders")
        .iter()
        .map(|p| p.replicas.to_vec())
        .collect();
    assert_eq!(replicas, [[1, 2], [2, 0]]);
}
