//! Registration, sessions, fencing and controlled shutdown.

use super::*;

#[test]
fn a_broker_is_unfenced_only_when_it_has_applied_its_own_registration() {
    let mut world = World::start(config(false), Vec::new(), MemoryDisk::default());
    let epoch = world.register(1, 7, -1).broker_epoch;
    let behind = BrokerHeartbeatRequest {
        current_metadata_offset: epoch - 1,
        ..world.heartbeat_request(1)
    };
    let answer = world.beat(behind);
    assert!(answer.is_fenced && !answer.is_caught_up);
    assert_eq!(world.count(&Fact::BrokerUnfenced { broker: 1 }), 0);
    let answer = world.heartbeat(1);
    assert!(!answer.is_fenced && answer.is_caught_up);
    assert_eq!(world.count(&Fact::BrokerUnfenced { broker: 1 }), 1);
    assert_eq!(world.count(&Fact::BrokerRegistered { broker: 1, epoch }), 1);
}

#[test]
fn a_heartbeat_of_another_epoch_is_stale_and_changes_nothing() {
    let mut world = World::with_three_brokers(false);
    let request = BrokerHeartbeatRequest {
        broker_epoch: world.epochs[&1] - 1,
        want_fence: true,
        ..world.heartbeat_request(1)
    };
    assert_eq!(world.beat(request).error, ErrorCode::StaleBrokerEpoch);
    assert!(world.controller.image().is_active(1));
}

#[test]
fn registering_the_same_incarnation_again_keeps_its_epoch_and_its_state() {
    let mut world = World::with_three_brokers(false);
    let epoch = world.epochs[&1];
    assert_eq!(world.register(1, 1, -1).broker_epoch, epoch);
    assert!(world.controller.image().is_active(1));
    assert_eq!(&world.state(0).isr[..], &[0, 1, 2]);
    assert_eq!(world.count(&Fact::BrokerRegistered { broker: 1, epoch }), 1);
}

#[test]
fn another_incarnation_is_a_duplicate_until_the_session_ends_and_then_gets_a_new_epoch() {
    let mut world = World::with_three_brokers(false);
    let former = world.epochs[&1];
    let refused = world.register(1, 0xbeef, former);
    assert_eq!(refused.error, ErrorCode::DuplicateBrokerRegistration);
    assert_eq!(refused.broker_epoch, -1);
    world.pass(SESSION - SECONDS, &[0, 2]);
    let refused = world.register(1, 0xbeef, former);
    assert_eq!(refused.error, ErrorCode::DuplicateBrokerRegistration);
    world.pass(2 * SECONDS, &[0, 2]);
    let accepted = world.register(1, 0xbeef, former);
    assert_eq!(accepted.error, ErrorCode::None);
    assert!(accepted.broker_epoch > former);
}

/// KAFKA-18106: the sweep that fences comes up to an eighth of a session after its end.
#[test]
fn a_new_incarnation_before_the_fencing_takes_the_old_one_out_of_isr_and_leadership() {
    let mut world = World::with_three_brokers(false);
    let last_heard = world.now;
    world.pass(SESSION - SECONDS, &[0, 2]);
    // Just behind the session's end; the next sweep is still to come.
    while world.now <= last_heard + SESSION {
        world.run_for(MILLIS);
    }
    assert!(world.controller.image().is_active(1), "fenced already");
    assert_eq!(world.register(1, 0xbeef, -1).error, ErrorCode::None);
    assert_eq!(&world.state(0).isr[..], &[0, 2]);
    assert_eq!((world.state(1).leader, world.state(1).leader_epoch), (2, 1));
    assert_eq!(world.count(&Fact::BrokerFenced { broker: 1 }), 1);
}

#[test]
fn a_silent_broker_is_fenced_after_its_session_and_its_partitions_get_leaders_from_the_isr() {
    let mut world = World::with_three_brokers(false);
    world.pass(SESSION - SECONDS, &[1, 2]);
    assert!(world.controller.image().is_active(0));
    world.pass(3 * SECONDS, &[1, 2]);
    assert!(!world.controller.image().is_active(0));
    let led = world.state(0);
    assert_eq!(
        (led.leader, led.leader_epoch, led.partition_epoch),
        (1, 1, 1)
    );
    assert_eq!(&led.isr[..], &[1, 2]);
    // It only followed in the other: the ISR shrinks and the leader epoch stays (KAFKA-15021).
    let followed = world.state(1);
    assert_eq!(
        (
            followed.leader,
            followed.leader_epoch,
            followed.partition_epoch
        ),
        (1, 0, 1)
    );
    let fact = Fact::PartitionChanged {
        partition: tp(0),
        leader: 1,
        leader_epoch: 1,
        isr: vec![1, 2],
        unclean: false,
    };
    assert_eq!(world.count(&fact), 1);
    assert_eq!(world.count(&Fact::BrokerFenced { broker: 0 }), 1);
}

/// KAFKA-17793: the sweep was queued before the heartbeat came, and is handled before it.
#[test]
fn a_heartbeat_counts_as_it_arrives_not_as_it_is_handled() {
    let mut world = World::with_three_brokers(false);
    let last_heard = world.now;
    world.pass(SESSION - SECONDS, &[0, 2]);
    while world.now <= last_heard + SESSION {
        world.run_for(MILLIS);
    }
    world.step(Input::Timer(FENCE_STALE));
    let request = world.heartbeat_request(1);
    world.send(Request::BrokerHeartbeat(request));
    world.run_for(SECONDS);
    assert!(world.controller.image().is_active(1));
}

#[test]
fn controlled_shutdown_moves_leaders_away_and_waits_until_the_others_have_applied_it() {
    let mut world = World::with_three_brokers(false);
    let leaves = BrokerHeartbeatRequest {
        want_shut_down: true,
        ..world.heartbeat_request(0)
    };
    let answer = world.beat(leaves);
    assert!(!answer.is_fenced && !answer.should_shut_down);
    assert_eq!(
        (world.state(0).leader, &world.state(0).isr[..]),
        (1, &[1, 2][..])
    );
    // Broker 2 has not applied the move yet.
    world.heartbeat(1);
    let behind = BrokerHeartbeatRequest {
        current_metadata_offset: world.epochs[&2],
        ..world.heartbeat_request(2)
    };
    world.beat(behind);
    assert!(!world.beat(leaves).should_shut_down);
    world.heartbeat(2);
    let answer = world.beat(leaves);
    assert!(answer.should_shut_down && answer.is_fenced);
}

/// `SHUTDOWN_NOW` fences the broker and leaves its session alone.
#[test]
fn a_broker_that_was_let_go_is_a_duplicate_until_its_session_ends() {
    let mut world = World::with_three_brokers(false);
    let leaves = BrokerHeartbeatRequest {
        want_shut_down: true,
        ..world.heartbeat_request(0)
    };
    world.beat(leaves);
    world.heartbeat(1);
    world.heartbeat(2);
    let former = world.epochs[&0];
    assert!(world.beat(leaves).should_shut_down);
    let is_leaving = |world: &World| {
        let image = world.controller.image();
        image.broker(0).expect("registered").in_controlled_shutdown
    };
    assert!(is_leaving(&world));
    let refused = world.register(0, 0xcafe, former);
    assert_eq!(refused.error, ErrorCode::DuplicateBrokerRegistration);
    world.pass(SESSION - SECONDS, &[1, 2]);
    let refused = world.register(0, 0xcafe, former);
    assert_eq!(refused.error, ErrorCode::DuplicateBrokerRegistration);
    world.pass(2 * SECONDS, &[1, 2]);
    assert_eq!(world.register(0, 0xcafe, former).error, ErrorCode::None);
    assert!(!is_leaving(&world));
}
