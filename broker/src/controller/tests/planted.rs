//! Planted bugs of the controller: what each switch changes.

use super::*;

fn world(bug: Option<Bug>) -> World {
    let world = World::with_bug(config(false), topics(), MemoryDisk::default(), bug);
    World::three_brokers(world)
}

#[test]
fn registration_ignores_incarnation_keeps_epoch_and_isr_of_a_process_that_is_gone() {
    for (bug, error) in [
        (None, ErrorCode::DuplicateBrokerRegistration),
        (Some(Bug::RegistrationIgnoresIncarnation), ErrorCode::None),
    ] {
        let mut world = world(bug);
        let epoch = world.epochs[&2];
        let answer = world.register(2, 99, -1);
        assert_eq!(answer.error, error, "{bug:?}");
        assert!(world.state(0).isr.contains(&2));
        assert_eq!(world.epochs[&2], epoch);
    }
}

#[test]
fn stale_broker_epoch_isr_adds_another_incarnation_than_the_leader_means() {
    for (bug, error) in [
        (None, ErrorCode::IneligibleReplica),
        (Some(Bug::StaleBrokerEpochIsr), ErrorCode::None),
    ] {
        let mut world = world(bug);
        let mut proposal = world.proposal(&[0, 1, 2]);
        proposal.new_isr[2].1 -= 1;
        assert_eq!(world.alter_one(0, proposal).error, error, "{bug:?}");
    }
}

#[test]
fn no_partition_epoch_check_takes_an_overtaken_proposal() {
    for (bug, error, members) in [
        (None, ErrorCode::InvalidUpdateVersion, 2),
        (Some(Bug::NoPartitionEpochCheck), ErrorCode::None, 3),
    ] {
        let mut world = world(bug);
        let overtaken = world.proposal(&[0, 1, 2]);
        let shrink = world.proposal(&[0, 1]);
        assert_eq!(world.alter_one(0, shrink).error, ErrorCode::None);
        assert_eq!(world.alter_one(0, overtaken).error, error, "{bug:?}");
        assert_eq!(world.state(0).isr.len(), members);
    }
}
