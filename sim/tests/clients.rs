//! Client settings and applications in whole runs on a small cluster.

mod small_cluster;

use everyack_broker::bug::Bug;
use everyack_broker::time::MILLIS;
use everyack_sim::fault::{Direction, Family, Fault, Timeouts, Trigger, What, When, Whom};
use everyack_sim::mechanism::Mechanism;
use everyack_sim::result::MessageCounts;
use everyack_sim::spec::*;
use small_cluster::{finished, map};

fn properties() -> PropertyFiles {
    let mut properties = small_cluster::properties();
    let often = [("auto.commit.interval.ms", "1000")];
    properties.consumer.extend(map(&often));
    properties
}

fn spec(family: Family, consumer: &str, properties: PropertyFiles, seed: u64) -> RunSpec {
    let mut spec = small_cluster::spec(family, properties, 200, 10_000, seed);
    spec.applications.consumer = consumer.into();
    spec
}

/// A producer without idempotence and with one request in flight, which learns of new leaders while
/// that request is on its way.
fn one_in_flight(family: Family, seed: u64, bug: Option<Bug>) -> RunSpec {
    let mut properties = properties();
    properties.producer.extend(map(&[
        ("enable.idempotence", "false"),
        ("max.in.flight.requests.per.connection", "1"),
        ("metadata.max.age.ms", "500"),
    ]));
    RunSpec {
        bug,
        ..spec(family, "commit-after-processing", properties, seed)
    }
}

#[test]
fn one_request_in_flight_keeps_the_order_and_the_planted_bug_does_not() {
    let family = Family::LeaderCutFromController;
    let anomalies = |bug| -> Vec<String> {
        let runs = (0..8).map(|seed| finished(&one_in_flight(family, seed, bug)));
        let found = runs.flat_map(|result| result.anomalies);
        found.map(|anomaly| anomaly.check).collect()
    };
    assert_eq!(anomalies(None), [""; 0]);
    let found = anomalies(Some(Bug::ReorderInflight1));
    assert!(found.len() >= 3, "{found:?}");
    assert!(found.iter().all(|check| check == "order"), "{found:?}");
}

/// Runs an application under a family; its messages by verdict summed over the seeds, and the
/// mechanisms of what was lost.
fn sum(
    family: Family,
    consumer: &str,
    properties: &PropertyFiles,
    seeds: u64,
) -> (MessageCounts, Vec<Mechanism>) {
    let mut sum = MessageCounts::default();
    let mut mechanisms = Vec::new();
    for seed in 0..seeds {
        let result = finished(&spec(family, consumer, properties.clone(), seed));
        assert_eq!(result.anomalies, [], "{consumer} {seed}");
        let counts = result.messages;
        sum.acked += counts.acked;
        sum.consumed += counts.consumed;
        sum.skipped += counts.skipped;
        sum.lost += counts.lost + counts.lost_on_disk;
        sum.hidden += counts.hidden;
        for loss in result.losses {
            mechanisms.push(loss.mechanism.expect("every loss has a mechanism"));
        }
    }
    mechanisms.sort_unstable();
    mechanisms.dedup();
    (sum, mechanisms)
}

#[test]
fn whoever_commits_what_it_has_processed_skips_nothing_when_it_is_killed() {
    for consumer in [
        "commit-explicit-offsets",
        "commit-explicit-offsets-with-epoch",
        "commit-async",
    ] {
        let (sum, _) = sum(Family::ConsumerCrash, consumer, &properties(), 6);
        assert!(sum.acked > 2_000, "{consumer}: {sum:?}");
        assert_eq!(sum.consumed, sum.acked, "{consumer}: {sum:?}");
    }
}

/// The followers of the offsets topic wait for more than a commit before they fetch it.
#[test]
fn a_consumer_that_waits_long_for_each_commit_is_listened_to_until_it_has_read_all() {
    let mut properties = properties();
    let broker = [("replica.fetch.min.bytes", "1000000")];
    properties.broker.extend(map(&broker));
    properties
        .consumer
        .extend(map(&[("max.poll.records", "1")]));
    let timeouts = Timeouts::from_properties(&properties).unwrap();
    let spec = spec(Family::None, "commit-after-processing", properties, 0);
    let result = finished(&spec);
    assert_eq!(result.messages.consumed, result.messages.acked);
    assert_eq!(result.messages.acked, 400);
    // Longer than one that stands still is listened to.
    let load_and_bound = timeouts.spread_ms(Family::None) + timeouts.liveness_ms(6_000);
    assert!(result.simulated_ns > load_and_bound * MILLIS);
}

/// Sends fail: the outage is longer than `delivery.timeout.ms`.
#[test]
fn what_fails_is_reported_to_who_looks_at_results_and_unreported_where_nobody_does() {
    let counts = |producer: &str| {
        let mut properties = properties();
        let producer_properties = [("delivery.timeout.ms", "2500")];
        properties.producer.extend(map(&producer_properties));
        let family = Family::LeaderCutFromFollowers;
        let mut spec = spec(family, "commit-after-processing", properties, 1);
        spec.applications.producer = producer.into();
        let result = finished(&spec);
        assert_eq!(result.losses, [], "{producer}");
        let seen = result.marks.iter().any(|mark| mark == "failed-send-unseen");
        (result.messages, seen)
    };
    let (checked, unseen) = counts("checks-results");
    assert!(
        checked.reported > 0 && checked.unreported == 0,
        "{checked:?}"
    );
    assert!(!unseen);
    let (ignored, unseen) = counts("ignores-results");
    assert!(
        ignored.reported == 0 && ignored.unreported > 0,
        "{ignored:?}"
    );
    assert!(unseen);
}

#[test]
fn an_exception_is_survived_by_trying_again_and_by_a_dead_letter_that_is_awaited() {
    for consumer in ["retry-on-exception", "dead-letter"] {
        let (sum, _) = sum(Family::ProcessingException, consumer, &properties(), 6);
        assert_eq!(sum.consumed, sum.acked, "{consumer}: {sum:?}");
    }
}

#[test]
fn c20_a_record_that_is_passed_over_after_an_exception_is_skipped() {
    let family = Family::ProcessingException;
    let (sum, mechanisms) = sum(family, "skip-on-exception", &properties(), 6);
    assert!(sum.skipped > 0, "{sum:?}");
    assert_eq!(sum.consumed + sum.skipped, sum.acked, "{sum:?}");
    assert_eq!(mechanisms, [Mechanism::C20]);
}

/// A handler that throws on three records, each once; its consumer is killed right after the commit that
/// follows, and comes back.
fn killed_behind_an_exception(consumer: &str) -> RunSpec {
    let mut properties = properties();
    // Long enough for the commit to overtake the dead letter.
    properties.producer.extend(map(&[("linger.ms", "5000")]));
    let mut spec = spec(Family::ProcessingException, consumer, properties, 1);
    let throws = What::FailProcessing {
        records: 3,
        times: 1,
    };
    let polled = When::After {
        event: Trigger::Polled,
        nth: 1,
        delay_us: 0,
    };
    let committed = When::Then {
        fault: 0,
        event: Trigger::Committed,
        nth: 1,
        delay_us: 500,
    };
    let (reader, for_ms) = (Whom::Consumer(0), 2_000);
    spec.plan.faults = vec![
        Fault::new(polled, throws, reader, for_ms),
        Fault::new(committed, What::Crash, reader, for_ms),
    ];
    spec
}

#[test]
fn c21_a_dead_letter_that_nobody_waits_for_dies_with_the_process() {
    let result = finished(&killed_behind_an_exception("dead-letter-unawaited"));
    assert!(result.messages.skipped > 0, "{:?}", result.messages);
    let mechanisms: Vec<_> = result.losses.iter().map(|loss| loss.mechanism).collect();
    assert!(
        mechanisms.iter().all(|m| *m == Some(Mechanism::C21)),
        "{mechanisms:?}"
    );
    let result = finished(&killed_behind_an_exception("dead-letter"));
    assert_eq!(result.messages.broken(), 0, "{:?}", result.messages);
}

#[test]
fn c02_and_c05_leaving_the_loop_and_committing_the_position_skips_the_rest_of_the_batch() {
    let family = Family::ProcessingException;
    let mut auto = properties();
    auto.consumer
        .insert("enable.auto.commit".into(), "true".into());
    for (consumer, files, cause) in [
        ("close-on-exception", auto, Mechanism::C02),
        ("commit-on-exception", properties(), Mechanism::C05),
    ] {
        let (skips, mechanisms) = sum(family, consumer, &files, 6);
        assert!(skips.skipped > 0, "{consumer}: {skips:?}");
        assert_eq!(skips.consumed + skips.skipped, skips.acked, "{consumer}");
        assert_eq!(mechanisms, [cause], "{consumer}");
    }
    // Without auto-commit close() commits nothing: everything is read again.
    let (again, _) = sum(family, "close-on-exception", &properties(), 2);
    assert_eq!(again.skipped, 0);
}

/// Partition 1 is read and committed from its leader alone, which then dies: a follower without these
/// records is elected and its log grows past them while the consumer is down as well.
fn back_after_the_log_grew(consumer: &str, policy: &str, seed: u64) -> RunSpec {
    let mut files = properties();
    files.broker.extend(map(&[
        ("min.insync.replicas", "1"),
        ("unclean.leader.election.enable", "true"),
    ]));
    files.producer.insert("acks".into(), "1".into());
    let policy = policy.to_string();
    files.consumer.insert("auto.offset.reset".into(), policy);
    let mut spec = spec(Family::ShrunkIsrCrash, consumer, files, seed);
    spec.workload.messages_per_producer = 600;
    spec.workload.spread_ms = 25_000;
    let cut = What::CutFromFollowers {
        direction: Direction::Both,
    };
    let after = |fault, delay_ms| When::AfterFault { fault, delay_ms };
    spec.plan.faults = vec![
        Fault::new(When::AtUs(500_000), cut, Whom::LeaderOf(1), 20_000),
        Fault::new(after(0, 8_000), What::Crash, Whom::SameAs(0), 12_000),
        Fault::new(after(1, 0), What::Crash, Whom::Consumer(1), 8_000),
    ];
    spec
}

#[test]
fn c14b_and_c15_a_commit_without_the_epoch_skips_what_a_commit_with_it_reads() {
    use Mechanism::{C14, C15};
    for (policy, causes) in [("latest", &[C14, C15][..]), ("earliest", &[C15])] {
        let mut skipped_by: Vec<Mechanism> = Vec::new();
        for seed in 0..4 {
            for with_epoch in [
                "commit-after-processing",
                "commit-explicit-offsets-with-epoch",
            ] {
                let result = finished(&back_after_the_log_grew(with_epoch, policy, seed));
                let counts = result.messages;
                assert_eq!(counts.broken(), 0, "{with_epoch}, {policy}: {counts:?}");
            }
            let without = "commit-explicit-offsets";
            let result = finished(&back_after_the_log_grew(without, policy, seed));
            let counts = result.messages;
            assert_eq!(counts.broken(), counts.skipped, "{policy}: {counts:?}");
            let causes = result.losses.iter().map(|loss| loss.mechanism);
            skipped_by.extend(causes.map(|cause| cause.expect("it has one")));
        }
        skipped_by.sort_unstable();
        skipped_by.dedup();
        assert_eq!(skipped_by, causes, "{policy}");
    }
}

fn with_max_message_bytes(bytes: &str, family: Family, seed: u64) -> RunSpec {
    let mut files = properties();
    let limit = ("max.message.bytes", bytes);
    files.topic.extend(map(&[limit]));
    // A dozen records of a partition in a batch.
    files.producer.extend(map(&[("linger.ms", "1000")]));
    let mut spec = spec(family, "commit-after-processing", files, seed);
    spec.workload.spread_ms = 5_000;
    spec
}

#[test]
fn batches_that_a_topic_finds_too_large_are_split_and_nothing_is_lost_or_doubled() {
    for family in [Family::None, Family::LeaderCrash, Family::ConnectionLoss] {
        for seed in 0..3 {
            let counts = finished(&with_max_message_bytes("400", family, seed)).messages;
            assert_eq!(counts.consumed, 400, "{family} {seed}: {counts:?}");
            assert_eq!(
                (counts.acked, counts.duplicated),
                (400, 0),
                "{family} {seed}"
            );
        }
    }
}

#[test]
fn a_topic_that_takes_no_record_at_all_fails_every_send_and_none_is_acknowledged() {
    let counts = finished(&with_max_message_bytes("100", Family::None, 1)).messages;
    assert_eq!((counts.reported, counts.acked), (400, 0), "{counts:?}");
}

/// The leader of partition 1 is the whole ISR when it dies with what it alone acknowledged, and a
/// follower without it is elected. The consumer of that partition is down until then.
fn unclean_election(idempotence: &str, seed: u64) -> RunSpec {
    let mut spec = back_after_the_log_grew("commit-after-processing", "earliest", seed);
    spec.properties
        .producer
        .extend(map(&[("acks", "all"), ("enable.idempotence", idempotence)]));
    let down = When::AtUs(100_000);
    spec.plan.faults[2] = Fault::new(down, What::Crash, Whom::Consumer(1), 20_000);
    spec
}

#[test]
fn p21_after_an_unclean_election_an_idempotent_producer_goes_on_and_tells_nobody() {
    for seed in 0..3 {
        let result = finished(&unclean_election("true", seed));
        let counts = result.messages;
        assert_eq!(
            counts.acked, 1_200,
            "every callback is a success: {counts:?}"
        );
        assert!(counts.lost > 50, "{counts:?}");
        assert_eq!(counts.lost, counts.broken(), "{counts:?}");
        assert_eq!((counts.duplicated, counts.reordered), (0, 0), "{counts:?}");
        let causes = result.losses.iter().map(|loss| loss.mechanism);
        assert!(
            causes
                .into_iter()
                .all(|cause| cause == Some(Mechanism::R02))
        );
    }
}

#[test]
fn p12_without_idempotence_the_same_outage_reorders_and_repeats_what_was_in_flight() {
    let counts = (0..3).map(|seed| finished(&unclean_election("false", seed)).messages);
    for counts in counts {
        assert_eq!(counts.acked, 1_200, "{counts:?}");
        assert!(counts.lost > 50 && counts.reordered > 0, "{counts:?}");
        assert!(counts.duplicated > 0, "P13: {counts:?}");
    }
}

fn addressed_by(producer: &str, family: Family, seed: u64) -> RunSpec {
    let mut files = properties();
    // The sticky partitioner moves on after a few records.
    files.producer.extend(map(&[("batch.size", "400")]));
    let mut spec = spec(family, "commit-after-processing", files, seed);
    spec.applications.producer = producer.into();
    spec
}

#[test]
fn records_that_name_no_partition_are_accounted_for_where_the_partitioner_put_them() {
    for producer in ["checks-results-keyed", "checks-results-unkeyed"] {
        for family in [Family::None, Family::LeaderCrash, Family::ConsumerCrash] {
            for seed in 0..3 {
                let result = finished(&addressed_by(producer, family, seed));
                let counts = result.messages;
                assert_eq!((counts.acked, counts.consumed), (400, 400), "{counts:?}");
                assert_eq!(counts.reordered, 0, "{producer} {family} {seed}");
            }
        }
    }
}

#[test]
fn what_is_lost_of_records_that_name_no_partition_has_a_mechanism_and_a_partition() {
    for producer in ["checks-results-keyed", "checks-results-unkeyed"] {
        let mut lost_of = Vec::new();
        for seed in 0..4 {
            let mut spec = unclean_election("true", seed);
            spec.applications.producer = producer.into();
            spec.properties
                .producer
                .insert("batch.size".into(), "400".into());
            let result = finished(&spec);
            assert_eq!(result.messages.broken(), result.messages.lost);
            for loss in result.losses {
                assert_eq!(loss.mechanism, Some(Mechanism::R02), "{producer} {seed}");
                lost_of.push(loss.partition);
            }
        }
        lost_of.dedup();
        assert_eq!(lost_of, [1], "{producer}: the partition that was cut");
    }
}

#[test]
fn a_leader_that_no_client_reaches_gets_no_dead_letters_either() {
    let mut spec = spec(Family::LeaderCutFromClients, "dead-letter", properties(), 1);
    let cut = What::CutFromClients {
        direction: Direction::Both,
    };
    let throws = What::FailProcessing {
        records: 5,
        times: 1,
    };
    let polled = When::Then {
        fault: 0,
        event: Trigger::Polled,
        nth: 1,
        delay_us: 0,
    };
    // The dead letters' one partition has the same first replica as partition 0.
    spec.plan.faults = vec![
        Fault::new(When::AtUs(1_000_000), cut, Whom::LeaderOf(0), 5_000),
        Fault::new(polled, throws, Whom::WhereItHappened, 4_000),
    ];
    spec.record = Record::Story;
    let result = finished(&spec);
    assert_eq!(result.messages.broken(), 0, "{:?}", result.messages);
    let at = |what: &str| {
        let line = result.story.iter().find(|line| line.what.contains(what));
        line.unwrap_or_else(|| panic!("no line tells that {what}"))
            .at_us
    };
    let (sent, acked) = (at("to the dead letters"), at("its dead letter of message"));
    assert!(acked - sent > 1_000_000, "sent at {sent}, known at {acked}");
}

#[test]
fn without_a_reset_policy_an_operator_sets_the_offsets_and_nothing_is_lost() {
    let mut files = properties();
    let none = "none".to_string();
    files.consumer.insert("auto.offset.reset".into(), none);
    for family in [Family::None, Family::ConsumerCrash, Family::LateStart] {
        for seed in 0..3 {
            let result = finished(&spec(
                family,
                "commit-after-processing",
                files.clone(),
                seed,
            ));
            assert!(result.fired, "{family}");
            assert!(result.losses.is_empty(), "{family}: {:?}", result.losses);
            assert!(result.messages.acked > 100, "{family}");
            assert_eq!(result.messages.consumed, result.messages.acked, "{family}");
        }
    }
}

#[test]
fn a_consumer_that_gets_no_partition_stands_by() {
    let mut spec = spec(Family::None, "commit-after-processing", properties(), 1);
    spec.applications.consumers = 5;
    let result = finished(&spec);
    assert_eq!(result.messages.consumed, result.messages.acked);
}
