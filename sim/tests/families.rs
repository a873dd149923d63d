//! Each fault family on a small cluster: it fires, it finds records where it can take them, a sound
//! configuration keeps its promise under what it should survive, and what a weaker one loses has the
//! name of the family's mechanism.

mod small_cluster;

use everyack_sim::fault::{Family, Trigger, When};
use everyack_sim::mechanism::Mechanism;
use everyack_sim::result::RunResult;
use everyack_sim::spec::*;
use small_cluster::{finished, map};
use std::collections::BTreeSet;

/// What a test varies; the rest is three brokers, timeouts of seconds, and Kafka's defaults.
#[derive(Clone, Copy)]
struct Setup {
    acks: &'static str,
    replicas: i16,
    min_isr: &'static str,
    unclean: &'static str,
    flush_messages: &'static str,
    /// Above 30 ms the consumers have a backlog all the time.
    processing_us: u64,
    producer: &'static str,
    consumer: &'static str,
    auto_commit: &'static str,
    topic: &'static [(&'static str, &'static str)],
}

const SOUND: Setup = Setup {
    acks: "all",
    replicas: 3,
    min_isr: "2",
    unclean: "false",
    flush_messages: "9223372036854775807",
    processing_us: 30_000,
    producer: "checks-results",
    consumer: "commit-after-processing",
    auto_commit: "false",
    topic: &[],
};

fn spec(family: Family, setup: Setup, seed: u64) -> RunSpec {
    let mut properties = small_cluster::properties();
    let replicas = setup.replicas.to_string();
    properties.broker.extend(map(&[
        ("default.replication.factor", &replicas),
        ("min.insync.replicas", setup.min_isr),
        ("unclean.leader.election.enable", setup.unclean),
        ("log.flush.interval.messages", setup.flush_messages),
        ("log.retention.check.interval.ms", "700"),
        ("log.cleaner.backoff.ms", "700"),
    ]));
    properties.topic = map(setup.topic);
    properties.producer.extend(map(&[("acks", setup.acks)]));
    let commits = [("enable.auto.commit", setup.auto_commit)];
    properties.consumer.extend(map(&commits));
    let mut spec = small_cluster::spec(family, properties, 300, setup.processing_us, seed);
    spec.applications.producer = setup.producer.into();
    spec.applications.consumer = setup.consumer.into();
    spec
}

/// Runs the family with seeds from 0; every run must be judged, without an anomaly.
fn runs(family: Family, setup: Setup, seeds: u64) -> Vec<RunResult> {
    let judged = |seed| {
        let result = finished(&spec(family, setup, seed));
        assert_eq!(result.anomalies, [], "{family} seed {seed}");
        result
    };
    (0..seeds).map(judged).collect()
}

/// The mechanisms of all losses; each loss must have one.
fn mechanisms(family: Family, runs: &[RunResult]) -> BTreeSet<Mechanism> {
    let losses = runs.iter().enumerate().flat_map(|(seed, run)| {
        let of_run = run.losses.iter();
        of_run.map(move |loss| (seed, loss))
    });
    losses
        .map(|(seed, loss)| {
            let explained = loss.mechanism;
            explained.unwrap_or_else(|| panic!("{family} seed {seed}: unexplained {loss:?}"))
        })
        .collect()
}

/// Some runs lose, by these mechanisms and no other.
fn assert_loses(family: Family, setup: Setup, seeds: u64, by: &[Mechanism]) {
    let runs = runs(family, setup, seeds);
    let seen = mechanisms(family, &runs);
    let wanted: BTreeSet<Mechanism> = by.iter().copied().collect();
    assert_eq!(seen, wanted, "{family}");
}

#[test]
fn every_family_fires_and_is_exposed() {
    for family in Family::ALL {
        let runs = runs(family, SOUND, 8);
        let fired = runs.iter().filter(|r| r.fired).count();
        // A disk whose syncs fail may have none to fail within the outage.
        let least = if family == Family::DiskError { 4 } else { 8 };
        assert!(fired >= least, "{family} fired {fired} times of 8");
        let exposed = runs.iter().filter(|r| r.fired && r.exposed).count();
        assert!(
            exposed > 0,
            "{family} never found a record where it could take it"
        );
        mechanisms(family, &runs);
    }
}

#[test]
fn every_family_runs_with_one_replica() {
    let setup = Setup {
        replicas: 1,
        min_isr: "1",
        ..SOUND
    };
    for family in Family::ALL {
        let runs = runs(family, setup, 3);
        let fired = runs.iter().filter(|r| r.fired).count();
        assert!(fired > 0, "{family} never fired");
        mechanisms(family, &runs);
    }
}

#[test]
fn a_group_whose_late_start_never_came_starts_at_the_heal_and_that_counts_as_late() {
    let mut spec = spec(Family::LateStart, SOUND, 1);
    spec.properties
        .consumer
        .insert("auto.offset.reset".into(), "latest".into());
    for fault in &mut spec.plan.faults {
        fault.when = When::After {
            event: Trigger::Acked,
            nth: u32::MAX,
            delay_us: 0,
        };
    }
    let result = finished(&spec);
    assert!(result.fired && result.exposed);
    assert!(
        !result.losses.is_empty(),
        "what was acknowledged was passed"
    );
    for loss in &result.losses {
        assert_eq!(loss.mechanism, Some(Mechanism::C12));
    }
}

#[test]
fn acks_all_keeps_its_promise_under_all_but_lost_power_of_a_last_member() {
    for family in Family::ALL {
        if matches!(
            family,
            Family::RollingPowerLoss
                | Family::ClusterPowerLoss
                | Family::MixedRestart
                | Family::BitRot
                | Family::LyingDisk
                | Family::ShrunkIsrPowerLoss
                | Family::ShrunkIsrDiskDestroyed
                | Family::LastIsrPowerLoss
                | Family::Random
        ) {
            continue;
        }
        for result in runs(family, SOUND, 12) {
            assert_eq!(result.losses, [], "{family}");
        }
    }
}

#[test]
fn acks_all_loses_what_the_last_members_lost_with_power_or_disk() {
    use Mechanism::*;
    let behind = Setup {
        processing_us: 120_000,
        ..SOUND
    };
    assert_loses(Family::RollingPowerLoss, behind, 12, &[S02]);
    assert_loses(Family::MixedRestart, behind, 30, &[R05, S02]);
    assert_loses(Family::LastIsrPowerLoss, behind, 12, &[R05]);
    assert_loses(Family::ShrunkIsrPowerLoss, behind, 12, &[R05]);
    assert_loses(Family::ShrunkIsrDiskDestroyed, behind, 12, &[S20]);
}

#[test]
fn flushing_every_message_keeps_what_a_power_loss_would_take_and_no_replaced_disk() {
    let flushed = Setup {
        flush_messages: "1",
        processing_us: 120_000,
        ..SOUND
    };
    for family in [
        Family::RollingPowerLoss,
        Family::RollingCrash,
        Family::LastIsrPowerLoss,
        Family::ShrunkIsrPowerLoss,
    ] {
        for result in runs(family, flushed, 8) {
            assert_eq!(result.losses, [], "{family}");
        }
    }
    assert_loses(
        Family::ShrunkIsrDiskDestroyed,
        flushed,
        8,
        &[Mechanism::S20],
    );
}

#[test]
fn a_lying_disk_takes_what_every_replica_was_told_is_durable() {
    use Mechanism::*;
    let behind = Setup {
        processing_us: 120_000,
        ..SOUND
    };
    let flushing = |flush_messages| Setup {
        flush_messages,
        ..behind
    };
    assert_loses(Family::LyingDisk, flushing("1"), 12, &[S12]);
    assert_loses(Family::LyingDisk, flushing("10"), 12, &[S02, S12]);
    assert_loses(Family::LyingDisk, behind, 12, &[S02]);
    let single = Setup {
        replicas: 1,
        min_isr: "1",
        ..flushing("1")
    };
    assert_loses(Family::LyingDisk, single, 12, &[S12]);
}

#[test]
fn a_damaged_batch_of_the_leader_hides_what_is_behind_it_whatever_the_setting() {
    let settings = ["1", "10", "9223372036854775807"].map(|flush_messages| Setup {
        flush_messages,
        processing_us: 120_000,
        ..SOUND
    });
    for safe in settings {
        let single = Setup {
            replicas: 1,
            min_isr: "1",
            ..safe
        };
        for setup in [safe, single] {
            assert_loses(Family::BitRot, setup, 16, &[Mechanism::S09]);
        }
    }
}

#[test]
fn acks_1_loses_wherever_another_replica_is_elected() {
    use Mechanism::*;
    let weak = Setup {
        acks: "1",
        processing_us: 120_000,
        ..SOUND
    };
    for family in [
        Family::RollingCrash,
        Family::ZonePowerLoss,
        Family::DiskDestroyed,
    ] {
        assert_loses(family, weak, 40, &[P04]);
    }
    for family in [Family::ZombieLeader, Family::LeaderPause] {
        assert_loses(family, weak, 40, &[P06]);
    }
    assert_loses(Family::ShrunkIsrDiskDestroyed, weak, 12, &[R01, S20]);
}

#[test]
fn acks_1_keeps_its_promise_where_the_leader_stays() {
    let weak = Setup { acks: "1", ..SOUND };
    for family in [
        Family::LeaderCutFromClients,
        Family::SlowFollower,
        Family::SlowLeader,
        Family::ShrunkIsrCrash,
        Family::ClockJump,
        Family::ProcessingException,
    ] {
        for result in runs(family, weak, 12) {
            assert_eq!(result.losses, [], "{family}");
        }
    }
}

#[test]
fn one_replica_loses_what_its_disk_lost() {
    use Mechanism::*;
    let single = Setup {
        replicas: 1,
        min_isr: "1",
        flush_messages: "10",
        processing_us: 120_000,
        ..SOUND
    };
    assert_loses(Family::DiskDestroyed, single, 8, &[S01]);
    assert_loses(Family::DiskError, single, 120, &[S10]);
}

#[test]
fn whatever_random_loses_has_a_name_and_acks_all_none_of_a_producer() {
    use Mechanism::*;
    let unclean = Setup {
        unclean: "true",
        min_isr: "1",
        processing_us: 120_000,
        ..SOUND
    };
    let all = mechanisms(Family::Random, &runs(Family::Random, unclean, 60));
    let of_the_cluster = BTreeSet::from([
        R01, R02, R03, R04, R05, S02, S08, S09, S10, S12, S20, C14, C15, C18,
    ]);
    assert!(all.is_subset(&of_the_cluster), "{all:?}");
    assert!(all.contains(&R02) && all.contains(&S02), "{all:?}");
    for acks in ["0", "1"] {
        let weak = Setup { acks, ..unclean };
        let seen = mechanisms(Family::Random, &runs(Family::Random, weak, 30));
        assert!(seen.len() > 3, "{seen:?}");
    }
}

#[test]
fn an_exception_costs_what_the_application_makes_of_it() {
    use Mechanism::*;
    let of = |consumer, auto_commit| Setup {
        consumer,
        auto_commit,
        ..SOUND
    };
    let family = Family::ProcessingException;
    for consumer in [
        "commit-after-processing",
        "retry-on-exception",
        "dead-letter",
    ] {
        for result in runs(family, of(consumer, "false"), 12) {
            assert_eq!(result.losses, [], "{consumer}");
        }
    }
    assert_loses(family, of("skip-on-exception", "false"), 12, &[C20]);
    assert_loses(family, of("commit-on-exception", "false"), 12, &[C05]);
    assert_loses(family, of("close-on-exception", "true"), 12, &[C02]);
}

#[test]
fn the_families_reach_their_marks() {
    let weak = Setup {
        acks: "1",
        processing_us: 120_000,
        ..SOUND
    };
    for (family, marks) in [
        (Family::LeaderPause, &["append-after-a-pause"][..]),
        (Family::DiskFull, &["log-directory-failed"]),
        (Family::DiskError, &["log-directory-failed"]),
        (Family::RollingRestart, &["orderly-shutdown", "clean-start"]),
        (Family::ShrunkIsrDiskDestroyed, &["empty-disk-led"]),
        (Family::BitRot, &["batch-damaged"]),
        (Family::LyingDisk, &["lying-disk-lost-power"]),
        (Family::ProcessingException, &["handler-threw"]),
    ] {
        let runs = runs(family, weak, 20);
        for mark in marks {
            let reached = runs.iter().any(|r| r.marks.iter().any(|m| m == mark));
            assert!(reached, "{family} never reached {mark}");
        }
    }
}

/// Segments of a few batches.
const SMALL: &[(&str, &str)] = &[("internal.segment.bytes", "3000")];

#[test]
fn small_segments_lose_nothing_that_acks_all_keeps() {
    let rolled = Setup {
        topic: SMALL,
        ..SOUND
    };
    for family in [
        Family::LeaderCrash,
        Family::LeaderMove,
        Family::RollingCrash,
    ] {
        assert_loses(family, rolled, 6, &[]);
    }
}

#[test]
fn what_retention_takes_from_slow_consumers_has_expired_and_nothing_else_is_missing() {
    let short = Setup {
        topic: &[
            ("internal.segment.bytes", "3000"),
            ("retention.bytes", "9000"),
        ],
        processing_us: 120_000,
        ..SOUND
    };
    for family in [Family::None, Family::LeaderCrash] {
        let runs = runs(family, short, 5);
        assert_eq!(mechanisms(family, &runs), BTreeSet::new());
        assert!(runs.iter().all(|run| run.messages.expired > 0), "{family}");
    }
}

#[test]
fn what_compaction_takes_from_slow_consumers_has_expired_and_nothing_else_is_missing() {
    let compacted = Setup {
        topic: &[
            ("internal.segment.bytes", "3000"),
            ("cleanup.policy", "compact"),
            ("min.cleanable.dirty.ratio", "0.1"),
        ],
        producer: "checks-results-keyed",
        processing_us: 120_000,
        ..SOUND
    };
    for family in [Family::None, Family::LeaderCrash, Family::DiskDestroyed] {
        let runs = runs(family, compacted, 5);
        assert_eq!(mechanisms(family, &runs), BTreeSet::new());
        assert!(runs.iter().all(|run| run.messages.expired > 0), "{family}");
    }
}
