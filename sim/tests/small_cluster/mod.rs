//! Where tests of whole runs start from: three brokers, timeouts of seconds, two producers of checked
//! sends, two consumers; the rest is Kafka's.

#![allow(dead_code)] // no test takes all of it

use everyack_broker::env::Stream;
use everyack_sim::fault::draw::PLAN_STREAM;
use everyack_sim::fault::{DrawContext, Family, FaultPlan, Timeouts, draw};
use everyack_sim::result::{Outcome, RunResult};
use everyack_sim::run::run;
use everyack_sim::spec::*;

/// Properties from pairs.
pub fn map(pairs: &[(&str, &str)]) -> Properties {
    let owned = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string()));
    owned.collect()
}

/// Three replicas, min ISR 2, acks=all.
pub fn properties() -> PropertyFiles {
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
            ("group.id", "group"),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
            ("request.timeout.ms", "2000"),
            ("default.api.timeout.ms", "6000"),
            ("socket.connection.setup.timeout.ms", "1000"),
            ("socket.connection.setup.timeout.max.ms", "3000"),
        ]),
    }
}

/// A run of the family whose plan the seed draws, on a topic of `default.replication.factor`: each of two
/// producers sends `messages` of 100 bytes over as long as the family takes, and processing a record takes
/// `processing_us`.
pub fn spec(
    family: Family,
    properties: PropertyFiles,
    messages: u32,
    processing_us: u64,
    seed: u64,
) -> RunSpec {
    let replication_factor = properties.broker["default.replication.factor"].parse();
    let topology = Topology {
        brokers: 3,
        controllers: 1,
        topic: "orders".into(),
        partitions: 3,
        replication_factor: replication_factor.unwrap(),
    };
    let timeouts = Timeouts::from_properties(&properties).unwrap();
    let workload = Workload {
        messages_per_producer: messages,
        message_bytes: 100,
        spread_ms: timeouts.spread_ms(family),
        processing_us,
    };
    let context = DrawContext::new(timeouts, &topology, &workload, 2, 2);
    let plan = draw(family, &context, &mut Stream::new(seed, PLAN_STREAM));
    let spec = RunSpec {
        seed,
        topology,
        properties,
        applications: Applications {
            producer: "checks-results".into(),
            producers: 2,
            consumer: "commit-after-processing".into(),
            consumers: 2,
        },
        workload,
        family: family.name().into(),
        plan: FaultPlan::default(),
        wire: WireMode::Typed,
        bug: None,
        limits: Limits {
            simulated_ms: 0,
            events: 10_000_000,
        },
        record: Record::Summary,
    };
    with_plan(spec, family, plan)
}

/// The run with that plan of the family, and the time that it needs.
pub fn with_plan(mut spec: RunSpec, family: Family, plan: FaultPlan) -> RunSpec {
    let timeouts = Timeouts::from_properties(&spec.properties).unwrap();
    let producers = spec.applications.producers;
    spec.limits.simulated_ms =
        timeouts.run_limit_ms(family, &spec.workload, producers, plan.faults.len());
    RunSpec { plan, ..spec }
}

/// Runs it to its end.
pub fn finished(spec: &RunSpec) -> RunResult {
    let result = run(spec);
    let (family, seed) = (&spec.family, spec.seed);
    assert_eq!(result.outcome, Outcome::Finished, "{family} seed {seed}");
    result
}
