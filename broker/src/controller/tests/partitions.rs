//! Topics, elections, ISR changes and planned moves.

use super::*;

#[test]
fn topics_come_once_all_their_brokers_are_unfenced_with_the_whole_assignment_in_sync() {
    let mut world = World::start(config(false), topics(), MemoryDisk::default());
    for broker in 0..3 {
        world.register(broker, 9, -1);
    }
    world.heartbeat(0);
    world.heartbeat(1);
    world.run_for(SECONDS);
    assert!(world.controller.image().topics().is_empty());
    world.heartbeat(2);
    world.run_for(10 * MILLIS);
    assert_eq!(world.state(0).leader, 0);
    assert_eq!(&world.state(1).isr[..], &[1, 2, 0]);
    assert_eq!((world.state(1).leader, world.state(1).leader_epoch), (1, 0));
    let image = world.controller.image();
    assert_eq!(
        image.topic_config("payments", "min.insync.replicas"),
        Some("2")
    );
}

/// Fences 1 and 2, then 0: broker 0 is the last member of both ISRs.
fn fence_all_but_last(world: &mut World) {
    world.pass(12 * SECONDS, &[0]);
    assert_eq!(&world.state(0).isr[..], &[0]);
    world.pass(12 * SECONDS, &[]);
    world.run_for(12 * SECONDS);
    assert!(!world.controller.image().is_active(0));
}

#[test]
fn the_last_isr_member_stays_and_is_elected_again_when_it_is_back() {
    let mut world = World::with_three_brokers(false);
    fence_all_but_last(&mut world);
    let offline = world.state(0);
    assert_eq!((&offline.isr[..], offline.leader), (&[0][..], NO_BROKER));
    // A replica that is not in the ISR does not help.
    assert!(!world.heartbeat(2).is_fenced);
    assert_eq!(world.state(0), offline);
    assert!(!world.heartbeat(0).is_fenced);
    let back = world.state(0);
    assert_eq!(
        (back.leader, back.leader_epoch),
        (0, offline.leader_epoch + 1)
    );
    assert!(!back.recovering);
}

#[test]
fn unclean_election_takes_a_replica_outside_the_isr_as_it_is_unfenced() {
    let mut world = World::with_three_brokers(true);
    fence_all_but_last(&mut world);
    assert!(!world.heartbeat(2).is_fenced);
    let state = world.state(0);
    assert_eq!(
        (state.leader, &state.isr[..], state.recovering),
        (2, &[2][..], true)
    );
    let fact = Fact::PartitionChanged {
        partition: tp(0),
        leader: 2,
        leader_epoch: state.leader_epoch,
        isr: vec![2],
        unclean: true,
    };
    assert_eq!(world.count(&fact), 1);
    // The leader's first proposal ends the recovery.
    let proposal = world.proposal(&[2]);
    assert_eq!(world.alter_one(2, proposal).error, ErrorCode::None);
    assert!(!world.state(0).recovering);
}

#[test]
fn a_topics_own_setting_overrides_the_controllers_default_of_unclean_election() {
    let mut specs = topics();
    specs[0]
        .configs
        .push(("unclean.leader.election.enable".into(), "false".into()));
    let mut world = World::start(config(true), specs, MemoryDisk::default());
    for broker in 0..3 {
        world.register(broker, 1, -1);
        world.heartbeat(broker);
    }
    world.run_for(10 * MILLIS);
    fence_all_but_last(&mut world);
    world.heartbeat(2);
    assert_eq!(world.state(0).leader, NO_BROKER);
}

#[test]
fn an_isr_change_by_the_leader_is_answered_with_the_new_state() {
    let mut world = World::with_three_brokers(false);
    let shrink = world.proposal(&[1, 0]);
    let result = world.alter_one(0, shrink);
    assert_eq!(
        (result.error, result.leader, result.leader_epoch),
        (ErrorCode::None, 0, 0)
    );
    assert_eq!((result.isr, result.partition_epoch), (vec![0, 1], 1));
    let expand = world.proposal(&[0, 1, 2]);
    assert_eq!(world.alter_one(0, expand).partition_epoch, 2);
    assert_eq!(&world.state(0).isr[..], &[0, 1, 2]);
}

#[test]
fn alter_partition_refuses_what_kafka_refuses_and_changes_nothing() {
    let mut world = World::with_three_brokers(false);
    let shrink = world.proposal(&[0, 1]);
    world.alter_one(0, shrink);
    let before = world.state(0);
    let good = world.proposal(&[0, 1, 2]);
    let epochs = world.epochs.clone();
    let refused: Vec<(&str, BrokerId, AlterPartition, ErrorCode)> = vec![
        (
            "leader epoch ahead",
            0,
            AlterPartition {
                leader_epoch: 1,
                ..good.clone()
            },
            ErrorCode::NotController,
        ),
        (
            "partition epoch ahead",
            0,
            AlterPartition {
                partition_epoch: 2,
                ..good.clone()
            },
            ErrorCode::NotController,
        ),
        (
            "leader epoch behind",
            0,
            AlterPartition {
                leader_epoch: -1,
                ..good.clone()
            },
            ErrorCode::FencedLeaderEpoch,
        ),
        ("not the leader", 1, good.clone(), ErrorCode::InvalidRequest),
        (
            "partition epoch behind",
            0,
            AlterPartition {
                partition_epoch: 0,
                ..good.clone()
            },
            ErrorCode::InvalidUpdateVersion,
        ),
        (
            "without the leader",
            0,
            AlterPartition {
                new_isr: vec![(1, epochs[&1])],
                ..good.clone()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            "a stranger",
            0,
            AlterPartition {
                new_isr: vec![(0, epochs[&0]), (8, -1)],
                ..good.clone()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            "one twice",
            0,
            AlterPartition {
                new_isr: vec![(0, -1), (0, -1)],
                ..good.clone()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            "another incarnation",
            0,
            AlterPartition {
                new_isr: vec![(0, epochs[&0]), (2, epochs[&2] - 1)],
                ..good.clone()
            },
            ErrorCode::IneligibleReplica,
        ),
        (
            "no such partition",
            0,
            AlterPartition {
                partition: 9,
                ..good.clone()
            },
            ErrorCode::UnknownTopicOrPartition,
        ),
    ];
    for (why, broker, proposal, error) in refused {
        let result = world.alter_one(broker, proposal);
        assert_eq!(result.error, error, "{why}");
        assert_eq!(result.leader, NO_BROKER, "{why}");
        assert_eq!(world.state(0), before, "{why}");
    }
    let stale = world.alter(0, epochs[&0] - 1, good.clone());
    assert_eq!(stale.error, ErrorCode::StaleBrokerEpoch);
    // The proposal that all of them spoiled is good.
    assert_eq!(world.alter_one(0, good).error, ErrorCode::None);
}

#[test]
fn fenced_and_shutting_down_replicas_may_not_join_the_isr() {
    let mut world = World::with_three_brokers(false);
    world.pass(12 * SECONDS, &[0, 1]);
    assert_eq!(&world.state(0).isr[..], &[0, 1]);
    let fenced = world.proposal(&[0, 1, 2]);
    assert_eq!(
        world.alter_one(0, fenced).error,
        ErrorCode::IneligibleReplica
    );
    let leaves = BrokerHeartbeatRequest {
        want_shut_down: true,
        ..world.heartbeat_request(1)
    };
    assert!(!world.beat(leaves).should_shut_down);
    assert_eq!(&world.state(0).isr[..], &[0]);
    let leaving = world.proposal(&[0, 1]);
    assert_eq!(
        world.alter_one(0, leaving).error,
        ErrorCode::IneligibleReplica
    );
}

#[test]
fn a_planned_move_reorders_the_replicas_and_elects_the_first_of_them() {
    let mut world = World::with_three_brokers(false);
    let command = AdminCommand::MoveLeader {
        partition: tp(0),
        to: 2,
    };
    world.step(Input::Admin(command.clone()));
    world.run_for(10 * MILLIS);
    let moved = world.state(0);
    assert_eq!(
        (moved.leader, moved.leader_epoch, moved.partition_epoch),
        (2, 1, 2)
    );
    assert_eq!(
        (&moved.replicas[..], &moved.isr[..]),
        (&[2, 0, 1][..], &[0, 1, 2][..])
    );
    world.step(Input::Admin(command));
    world.run_for(10 * MILLIS);
    assert_eq!(world.state(0), moved);
}

#[test]
fn a_planned_move_to_a_replica_that_is_fenced_or_out_of_sync_does_nothing() {
    let mut world = World::with_three_brokers(false);
    let shrink = world.proposal(&[0, 1]);
    world.alter_one(0, shrink);
    let before = world.state(0);
    world.step(Input::Admin(AdminCommand::MoveLeader {
        partition: tp(0),
        to: 2,
    }));
    world.run_for(10 * MILLIS);
    assert_eq!(world.state(0), before);
}

/// The settings of the controller count, and they may be others when it starts again.
#[test]
fn partitions_left_without_leader_are_retried_every_unclean_election_interval() {
    let mut world = World::with_three_brokers(false);
    fence_all_but_last(&mut world);
    world.heartbeat(2);
    assert_eq!(world.state(0).leader, NO_BROKER);
    let epochs = world.epochs.clone();
    let mut again = World::start(config(true), topics(), world.disk);
    again.epochs = epochs;
    again.pass(298 * SECONDS, &[2]);
    assert_eq!(again.state(0).leader, NO_BROKER);
    again.pass(4 * SECONDS, &[2]);
    assert_eq!(
        (again.state(0).leader, again.state(0).recovering),
        (2, true)
    );
}

#[test]
fn leaderships_go_back_to_preferred_replicas_every_leader_imbalance_check_interval() {
    for (enabled, expected) in [("true", 0), ("false", 1)] {
        let properties = PropertyMap::from([
            (
                "auto.leader.rebalance.enable".to_string(),
                enabled.to_string(),
            ),
            (
                "leader.imbalance.check.interval.seconds".to_string(),
                "30".to_string(),
            ),
        ]);
        let config = BrokerConfig::from_properties(&properties).expect("a valid configuration");
        let mut world = World::start(config, topics(), MemoryDisk::default());
        for broker in 0..3 {
            world.register(broker, broker as u128, -1);
            world.heartbeat(broker);
        }
        world.run_for(10 * MILLIS);
        // Broker 0 is silent past its session, then back and in sync.
        world.pass(12 * SECONDS, &[1, 2]);
        assert_eq!(world.state(0).leader, 1);
        assert!(!world.heartbeat(0).is_fenced);
        let proposal = world.proposal(&[0, 1, 2]);
        assert!(world.alter_one(1, proposal).error.is_none());
        assert_eq!(world.state(0).leader, 1, "nothing moves by itself at once");
        world.pass(30 * SECONDS, &[0, 1, 2]);
        assert_eq!(world.state(0).leader, expected);
    }
}
