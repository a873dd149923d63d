//! Client settings and applications in whole runs on a small cluster.

use everyack_broker::bug::Bug;
use everyack_broker::env::Stream;
use everyack_sim::fault::{DrawContext, Family, Timeouts, draw};
use everyack_sim::result::{Outcome, RunResult};
use everyack_sim::run::run;
use everyack_sim::spec::*;

const PLAN_STREAM: u64 = 0x706c_616e;

fn map(pairs: &[(&str, &str)]) -> Properties {
    let owned = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    owned.collect()
}

/// Three brokers, three replicas, min ISR 2, acks=all, timeouts of seconds; the rest is Kafka's.
fn properties() -> PropertyFiles {
    PropertyFiles {
        broker: map(&[
            ("default.replication.factor", "3"),
            ("min.insync.replicas", "2"),
            ("broker.session.timeout.ms", "3000"),
            ("broker.heartbeat.interval.ms", "500"),
            ("replica.lag.time.max.ms", "3000"),
            ("replica.socket.timeout.ms", "3000"),
            ("replica.fetch.backoff.ms", "200"),
            ("log.initial.task.delay.ms", "1000"),
            ("offsets.topic.num.partitions", "1"),
        ]),
        topic: Properties::new(),
        producer: map(&[
            ("acks", "all"),
            ("request.timeout.ms", "2000"),
            ("delivery.timeout.ms", "20000"),
            ("socket.connection.setup.timeout.ms", "1000"),
            ("socket.connection.setup.timeout.max.ms", "3000"),
        ]),
        consumer: map(&[
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
            ("auto.commit.interval.ms", "1000"),
            ("request.timeout.ms", "2000"),
            ("default.api.timeout.ms", "6000"),
            ("socket.connection.setup.timeout.ms", "1000"),
            ("socket.connection.setup.timeout.max.ms", "3000"),
        ]),
    }
}

fn spec(family: Family, consumer: &str, properties: PropertyFiles, seed: u64) -> RunSpec {
    let topology = Topology {
        brokers: 3,
        controllers: 1,
        topic: "orders".into(),
        partitions: 3,
        replication_factor: 3,
    };
    let timeouts = Timeouts::from_properties(&properties).unwrap();
    let workload = Workload {
        messages_per_producer: 200,
        message_bytes: 100,
        spread_ms: timeouts.spread_ms(family),
        processing_us: 10_000,
    };
    let context = DrawContext::new(timeouts.clone(), &topology, &workload, 2, 2);
    let plan = draw(family, &context, &mut Stream::new(seed, PLAN_STREAM));
    let simulated_ms = timeouts.run_limit_ms(
        family,
        workload.spread_ms,
        plan.faults.len(),
        400 * workload.processing_us / 1_000,
    );
    RunSpec {
        seed,
        topology,
        properties,
        applications: Applications {
            producer: "checks-results".into(),
            producers: 2,
            consumer: consumer.into(),
            consumers: 2,
        },
        workload,
        family: family.name().into(),
        plan,
        wire: WireMode::Typed,
        bug: None,
        limits: Limits {
            simulated_ms,
            events: 10_000_000,
        },
        record: Record::Summary,
    }
}

fn finished(spec: &RunSpec) -> RunResult {
    let result = run(spec);
    assert_eq!(
        result.outcome,
        Outcome::Finished,
        "{} {}",
        spec.family,
        spec.seed
    );
    result
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
