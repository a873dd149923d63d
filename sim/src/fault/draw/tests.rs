//! Drawn plans keep to the definitions of their families.

use super::*;
use crate::spec::PropertyFiles;

fn context() -> DrawContext {
    let topology = Topology {
        brokers: 3,
        controllers: 1,
        topic: "t".into(),
        partitions: 3,
        replication_factor: 3,
    };
    let workload = Workload {
        messages_per_producer: 500,
        message_bytes: 100,
        spread_ms: 15_000,
        processing_us: 100,
    };
    let timeouts = Timeouts::from_properties(&PropertyFiles::default()).unwrap();
    DrawContext::new(timeouts, &topology, &workload, 2, 2)
}

fn plans(family: Family) -> Vec<FaultPlan> {
    (0..400)
        .map(|seed| draw(family, &context(), &mut Stream::new(seed, PLAN_STREAM)))
        .collect()
}

#[test]
fn the_same_stream_draws_the_same_plan() {
    for family in Family::ALL {
        assert_eq!(plans(family), plans(family));
    }
}

#[test]
fn outages_fall_on_both_sides_of_the_timeout_and_stay_in_its_bounds() {
    for family in [
        Family::LeaderCrash,
        Family::LeaderPowerLoss,
        Family::RollingCrash,
        Family::ClusterPowerLoss,
        Family::ZonePowerLoss,
        Family::MixedRestart,
        Family::LeaderCutFromController,
        Family::LeaderCutFromFollowers,
        Family::LeaderCutFromClients,
        Family::ZombieLeader,
        Family::RollingRestart,
        Family::DiskFull,
        Family::DiskError,
        Family::DiskDestroyed,
        Family::SlowFollower,
        Family::SlowLeader,
        Family::ClockJump,
    ] {
        let noticed = context().timeouts.noticed_after_ms(family);
        let outages: Vec<u64> = plans(family).iter().map(|p| p.faults[0].for_ms).collect();
        assert!(
            outages
                .iter()
                .all(|ms| (noticed / 2..=noticed * 3).contains(ms))
        );
        assert!(outages.iter().any(|ms| *ms < noticed));
        assert!(outages.iter().any(|ms| *ms > noticed * 2));
    }
}

#[test]
fn moves_are_one_to_six_and_some_follow_as_soon_as_the_metadata_is_applied() {
    let plans = plans(Family::LeaderMove);
    let counts: std::collections::BTreeSet<usize> = plans.iter().map(|p| p.faults.len()).collect();
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        vec![1, 2, 3, 4, 5, 6]
    );
    let at_once = |f: &Fault| {
        matches!(
            f.when,
            When::After {
                event: Trigger::LeaderApplied,
                ..
            }
        )
    };
    assert!(plans.iter().flat_map(|p| &p.faults).any(at_once));
    assert!(
        plans
            .iter()
            .flat_map(|p| &p.faults)
            .all(|f| f.what == What::MoveLeader)
    );
}

#[test]
fn connections_are_lost_one_to_five_times_by_reset_and_by_silence() {
    let plans = plans(Family::ConnectionLoss);
    assert!(plans.iter().all(|p| (1..=5).contains(&p.faults.len())));
    for what in [What::ResetConnections, What::CutConnections] {
        assert!(plans.iter().flat_map(|p| &p.faults).any(|f| f.what == what));
    }
}

#[test]
fn cuts_go_both_ways_and_with_some_seeds_one_way() {
    let drawn = plans(Family::LeaderCutFromController);
    for direction in [Direction::Both, Direction::Outbound, Direction::Inbound] {
        let what = What::CutFromController { direction };
        assert!(drawn.iter().any(|p| p.faults[0].what == what));
    }
}

#[test]
fn bit_rot_damages_one_replica_at_an_instant_mostly_the_leaders() {
    let plans = plans(Family::BitRot);
    assert!(
        plans
            .iter()
            .all(|p| p.faults.len() == 1 && p.faults[0].for_ms == 0)
    );
    let faults: Vec<&Fault> = plans.iter().map(|p| &p.faults[0]).collect();
    let count = |test: &dyn Fn(&Fault) -> bool| faults.iter().filter(|f| test(f)).count();
    let flips = count(&|f| matches!(f.what, What::FlipBits { .. }));
    let strays = count(&|f| matches!(f.what, What::MisdirectWrite { .. }));
    assert_eq!(flips + strays, 400);
    assert!(flips > 200 && strays > 80, "{flips} {strays}");
    let at_leader = count(&|f| matches!(f.whom, Whom::LeaderOf(_)));
    let at_follower = count(&|f| matches!(f.whom, Whom::FollowerOf(..)));
    assert_eq!(at_leader + at_follower, 400);
    assert!(at_leader > 240 && at_follower > 50);
}

#[test]
fn every_disk_lies_from_the_start_until_all_lose_their_power() {
    for plan in plans(Family::LyingDisk) {
        let [lie, power] = &plan.faults[..] else {
            panic!("{plan:?}");
        };
        assert_eq!((&lie.when, lie.what), (&When::AtUs(0), What::LieAboutSyncs));
        assert_eq!(lie.counted_from, Some(1));
        assert!(matches!(power.what, What::PowerLoss { .. }));
        assert_eq!((lie.whom, power.whom), (Whom::AllBrokers, Whom::AllBrokers));
        assert!(Family::LyingDisk.is_preparation(&plan, 0));
        assert!(!Family::LyingDisk.is_preparation(&plan, 1));
    }
}

#[test]
fn random_reaches_every_family_and_stays_short() {
    let plans = plans(Family::Random);
    let lengths = plans.iter().map(|p| p.faults.len());
    let shortest_and_longest = (lengths.clone().min(), lengths.max());
    // Three drawn once and one compound family of three faults.
    assert_eq!(shortest_and_longest, (Some(1), Some(6)));
    let has = |test: &dyn Fn(&Fault) -> bool| plans.iter().flat_map(|p| &p.faults).any(test);
    assert!(has(
        &|f| f.what == What::Crash && matches!(f.whom, Whom::LeaderOf(_))
    ));
    assert!(has(&|f| f.whom == Whom::AllBrokers));
    assert!(has(&|f| matches!(f.whom, Whom::LeaderAndFollowerOf(..))));
    assert!(has(&|f| matches!(f.what, What::CutFromFollowers { .. })));
    assert!(has(&|f| matches!(f.what, What::CutFromController { .. })));
    assert!(has(&|f| matches!(f.what, What::CutFromClients { .. })));
    assert!(has(&|f| matches!(f.what, What::CutFromCluster { .. })));
    for what in [
        What::MoveLeader,
        What::Pause,
        What::ShutDown,
        What::DestroyDisk,
        What::ResetConnections,
    ] {
        assert!(has(&|f| f.what == what), "{what:?}");
    }
    assert!(has(&|f| matches!(f.what, What::SlowDisk { .. })));
    assert!(has(&|f| matches!(f.what, What::FillDisk { .. })));
    assert!(has(&|f| matches!(f.what, What::FailDisk { .. })));
    assert!(has(&|f| matches!(f.what, What::FlipBits { .. })));
    assert!(has(&|f| matches!(f.what, What::MisdirectWrite { .. })));
    assert!(has(&|f| f.what == What::LieAboutSyncs));
    assert!(has(&|f| matches!(f.what, What::ClockJump { .. })));
    assert!(has(&|f| matches!(f.what, What::ClockDrift { .. })));
    assert!(has(&|f| matches!(f.what, What::FailProcessing { .. })));
    assert!(has(&|f| matches!(f.whom, Whom::Producer(_))));
    assert!(has(&|f| matches!(
        f.whom,
        Whom::Consumer(_) | Whom::WhereItHappened
    )));
    let waits = |event| {
        let awaits = move |f: &Fault| matches!(f.when, When::Then { event: e, .. } if e == event);
        plans.iter().flat_map(|p| &p.faults).any(awaits)
    };
    assert!(waits(Trigger::LeaderElected) && waits(Trigger::IsrIsLeader));
    for plan in &plans {
        let starts = plan
            .faults
            .iter()
            .filter(|f| f.what == What::StartConsumers);
        assert!(starts.count() <= 1, "a group starts once");
    }
}

/// The plans of a family on a topic with one replica.
fn plans_of_one_replica(family: Family) -> Vec<FaultPlan> {
    let context = DrawContext {
        replication_factor: 1,
        ..context()
    };
    let plan = |seed| draw(family, &context, &mut Stream::new(seed, PLAN_STREAM));
    (0..50).map(plan).collect()
}

#[test]
fn every_family_but_none_has_a_plan_whatever_the_replication_and_the_cluster() {
    let mut contexts = Vec::new();
    for (brokers, replication_factor) in [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (5, 3)] {
        contexts.push(DrawContext {
            brokers,
            replication_factor,
            ..context()
        });
    }
    for family in Family::ALL.into_iter().filter(|f| *f != Family::None) {
        for context in &contexts {
            for seed in 0..20 {
                let plan = draw(family, context, &mut Stream::new(seed, PLAN_STREAM));
                assert!(!plan.faults.is_empty(), "{family} with {context:?}");
            }
        }
    }
}

#[test]
fn a_paused_leader_stops_for_longer_than_its_session() {
    let session = context().timeouts.broker_session_timeout_ms;
    for plan in plans(Family::LeaderPause) {
        assert_eq!(plan.faults[0].what, What::Pause);
        assert!(plan.faults[0].for_ms >= session);
    }
}

#[test]
fn each_leader_in_turn_falls_right_after_its_election() {
    for family in [Family::RollingCrash, Family::RollingPowerLoss] {
        for plan in plans(family) {
            assert_eq!(plan.faults.len(), 3);
            for (i, fault) in plan.faults.iter().enumerate() {
                assert_eq!(fault.whom, Whom::LeaderOf(0));
                let waits = matches!(
                    fault.when,
                    When::Then { fault, event: Trigger::LeaderElected, nth: 1, .. }
                        if fault + 1 == i
                );
                assert_eq!(waits, i > 0);
                if let (Family::RollingCrash, When::Then { delay_us, .. }) = (family, &fault.when) {
                    assert!(*delay_us <= 20_000, "the former has not caught up");
                }
                // Power comes back once all have lost it.
                let until_all = family == Family::RollingPowerLoss && i < 2;
                assert_eq!(fault.counted_from, until_all.then_some(2));
            }
        }
    }
    for plan in plans_of_one_replica(Family::RollingPowerLoss) {
        assert_eq!(plan.faults.len(), 2, "its leader, twice");
        let waits = plan.faults.iter().any(|f| f.counted_from.is_some());
        assert!(!waits, "nobody else could be elected meanwhile");
    }
}

#[test]
fn kills_and_power_losses_are_mixed_over_all_replicas_within_the_first_outage() {
    for plan in plans(Family::MixedRestart) {
        let mut hit: Vec<u32> = plan
            .faults
            .iter()
            .map(|f| match f.whom {
                Whom::ReplicaOf(0, n) => n,
                ref other => panic!("{other:?}"),
            })
            .collect();
        hit.sort_unstable();
        assert_eq!(hit, [0, 1, 2]);
        let kills = plan.faults.iter().filter(|f| f.what == What::Crash).count();
        assert!((1..=2).contains(&kills));
        for fault in &plan.faults[1..] {
            let When::AfterFault { fault: 0, delay_ms } = fault.when else {
                panic!("{fault:?}");
            };
            assert!(delay_ms <= plan.faults[0].for_ms);
        }
    }
}

#[test]
fn brokers_are_restarted_one_after_the_other() {
    for plan in plans(Family::RollingRestart) {
        let brokers = plan.faults.iter().map(|f| f.whom);
        let brokers: Vec<Whom> = brokers.collect();
        assert!((1..=3).all(|b| brokers.contains(&Whom::Broker(b))));
        for (i, fault) in plan.faults.iter().enumerate() {
            assert_eq!(fault.what, What::ShutDown);
            let waits = matches!(fault.when, When::AfterOutage { fault, .. } if fault + 1 == i);
            assert_eq!(waits, i > 0);
        }
    }
}

/// The last fault of a plan waits for a leader alone behind its preparations, and hits that leader.
fn assert_waits_alone(plan: &FaultPlan, family: Family) {
    let main = plan.faults.len() - 1;
    let last = &plan.faults[main];
    assert_eq!(last.whom, Whom::LeaderOf(0));
    let waits = matches!(
        last.when,
        When::Then { fault, event: Trigger::IsrIsLeader, nth: 1, .. } if fault + 1 == main
    );
    assert!(waits, "{last:?}");
    for (i, fault) in plan.faults.iter().enumerate() {
        assert_eq!(family.is_preparation(plan, i), i < main);
        assert_eq!(fault.counted_from, (i < main).then_some(main));
    }
}

#[test]
fn the_isr_shrinks_by_cuts_or_by_slow_followers_that_live() {
    let mut cut = 0;
    let lag = context().timeouts.replica_lag_time_max_ms;
    for family in [
        Family::ShrunkIsrCrash,
        Family::ShrunkIsrPowerLoss,
        Family::ShrunkIsrDiskDestroyed,
    ] {
        for plan in plans(family) {
            assert_waits_alone(&plan, family);
            for fault in &plan.faults[..plan.faults.len() - 1] {
                match fault.what {
                    What::CutFromFollowers { .. } => cut += 1,
                    What::SlowDisk { stall_ms } => assert!(stall_ms >= 2 * lag),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert!((600..1_000).contains(&cut), "{cut} of 1200");
}

#[test]
fn the_others_are_killed_first_and_are_back_before_the_last() {
    for family in [Family::LastIsrCrash, Family::LastIsrPowerLoss] {
        for plan in plans(family) {
            assert_eq!(plan.faults.len(), 3);
            assert_waits_alone(&plan, family);
            let others = &plan.faults[..2];
            assert!(others.iter().all(|f| f.what == What::Crash));
            assert!(others.iter().all(|f| f.for_ms < plan.faults[2].for_ms));
            let followers: Vec<Whom> = others.iter().map(|f| f.whom).collect();
            assert_eq!(followers, [Whom::FollowerOf(0, 0), Whom::FollowerOf(0, 1)]);
        }
    }
    for plan in plans_of_one_replica(Family::LastIsrCrash) {
        assert_eq!(plan.faults.len(), 3, "the brokers without a replica count");
    }
}

#[test]
fn a_disk_fails_writes_and_syncs_once_or_for_good() {
    let plans = plans(Family::DiskError);
    for operation in [DiskOperation::Write, DiskOperation::Sync] {
        for lasting in [false, true] {
            let drawn = |p: &FaultPlan| {
                matches!(p.faults[0].what, What::FailDisk { operation: o, lasting: l, .. }
                    if o == operation && l == lasting)
            };
            assert!(plans.iter().any(drawn), "{operation:?} {lasting}");
        }
    }
}

#[test]
fn clocks_jump_both_ways_and_drift() {
    let plans = plans(Family::ClockJump);
    let has = |test: &dyn Fn(What) -> bool| plans.iter().any(|p| test(p.faults[0].what));
    assert!(has(
        &|w| matches!(w, What::ClockJump { by_ms } if by_ms > 3_600_000)
    ));
    assert!(has(
        &|w| matches!(w, What::ClockJump { by_ms } if by_ms < -3_600_000)
    ));
    assert!(has(&|w| matches!(w, What::ClockDrift { ppm } if ppm > 0)));
    assert!(has(&|w| matches!(w, What::ClockDrift { ppm } if ppm < 0)));
}

#[test]
fn handlers_fail_once_or_for_as_long_as_the_outage_lasts() {
    let plans = plans(Family::ProcessingException);
    for wanted in [1, u32::MAX] {
        let fails = |p: &FaultPlan| {
            matches!(p.faults[0].what, What::FailProcessing { times, records: 1..=3 }
                if times == wanted)
        };
        assert!(plans.iter().any(fails));
    }
}

#[test]
fn an_index_of_another_fault_points_backwards() {
    for family in Family::ALL {
        for plan in plans(family) {
            for (i, fault) in plan.faults.iter().enumerate() {
                if let When::AfterFault { fault: other, .. }
                | When::AfterOutage { fault: other, .. }
                | When::Then { fault: other, .. } = fault.when
                {
                    assert!(other < i);
                }
                assert!(fault.counted_from.is_none_or(|o| o < plan.faults.len()));
            }
        }
    }
}

#[test]
fn late_messages_never_make_a_broker_miss_that_it_led_and_lost_the_leadership() {
    // Kafka would go on with what the followers told its former leadership.
    for plan in plans(Family::LateMessages) {
        let moves = plan
            .faults
            .iter()
            .filter(|f| f.what == What::GiveLeadership);
        let leaders: Vec<Whom> = moves.map(|f| f.whom).collect();
        for late in plan.faults.iter().filter(|f| is_late_metadata(f)) {
            let led_at_first = usize::from(late.whom == Whom::ReplicaOf(0, 0));
            let leads = leaders.iter().filter(|to| **to == late.whom).count();
            assert!(led_at_first + leads <= 1, "{plan:?}");
            assert!(leads == 0 || leaders.last() == Some(&late.whom), "{plan:?}");
            let crashes = plan.faults.iter().any(|f| f.whom == Whom::LeaderOf(0));
            assert!(led_at_first == 0 || !crashes, "{plan:?}");
        }
    }
}

fn is_late_metadata(fault: &Fault) -> bool {
    matches!(fault.what, What::LateMetadata { .. })
}

#[test]
fn late_messages_are_late_for_less_than_anybody_would_notice() {
    let timeouts = context().timeouts;
    let noticed_us = timeouts
        .replica_lag_time_max_ms
        .min(timeouts.broker_session_timeout_ms)
        * 1_000;
    let plans = plans(Family::LateMessages);
    let faults = || plans.iter().flat_map(|p| &p.faults);
    let late = faults().filter_map(|f| match f.what {
        What::LateMetadata { extra_us } | What::SlowCopies { extra_us } => Some(extra_us),
        _ => None,
    });
    assert!(late.clone().all(|us| us <= noticed_us / 4));
    assert!(late.max() > Some(noticed_us / 5));
    for what in [What::HoldIsrProposals, What::DestroyDisk, What::Pause] {
        assert!(faults().any(|f| f.what == what), "{what:?}");
    }
    assert!(faults().any(is_late_metadata));
}
