//! Small handmade reports for the tests of the renderings.

use everyack_scenarios::report::*;
use everyack_sim::RunSpec;
use everyack_sim::fault::{Fault, FaultPlan, Trigger, What, When, Whom};
use everyack_sim::mechanism::Mechanism;
use everyack_sim::result::*;
use everyack_sim::spec::*;
use std::collections::BTreeMap;

/// A cell that expected no loss and saw none: 240 runs, 180 of them exposed.
pub fn kept(row: &str, faults: &str) -> Cell {
    Cell {
        id: format!("{row}/{faults}"),
        index: 0,
        row: row.to_string(),
        config: BTreeMap::from([("acks".to_string(), "all".to_string())]),
        application: "commit-after-processing".to_string(),
        topology: CellTopology {
            brokers: 3,
            controllers: 1,
        },
        faults: faults.to_string(),
        expected: Expected::NeverLoses,
        mechanisms: vec![],
        writes_stop: false,
        reads_stop: false,
        verdict: CellVerdict::Kept,
        note: String::new(),
        runs: 240,
        fired: 230,
        exposed: 180,
        runs_with_loss: 0,
        batch: Batch {
            runs: 200,
            exposed: 160,
            runs_with_loss: 0,
        },
        loss_rate: Some(0.0),
        loss_rate_upper_95: Some(0.0185),
        twin: None,
        twin_id: None,
        messages: MessageCounts {
            sent: 90_000,
            acked: 90_000,
            consumed: 90_000,
            ..Default::default()
        },
        losses_by_mechanism: BTreeMap::new(),
        unavailable_ms: Quantiles {
            p50: 900,
            max: 4_000,
        },
        price: None,
        ack_ms: AckQuantiles {
            p50: 2.5,
            p99: 11.0,
        },
        witnesses: vec![],
    }
}

/// A cell that lost, as it may, in that many runs: two messages each, by its first mechanism.
pub fn lossy(row: &str, faults: &str, mechanisms: &[Mechanism], runs: u64) -> Cell {
    let mut cell = kept(row, faults);
    cell.config.insert("acks".to_string(), "1".to_string());
    cell.expected = Expected::MayLose;
    cell.mechanisms = mechanisms.to_vec();
    cell.verdict = CellVerdict::LostAsExpected;
    cell.runs_with_loss = runs;
    cell.batch.runs_with_loss = runs;
    cell.loss_rate = Some(runs as f64 / 160.0);
    cell.loss_rate_upper_95 = Some(runs as f64 / 160.0 + 0.05);
    cell.messages.lost = 2 * runs;
    let first = mechanisms[0].id().to_string();
    cell.witnesses = vec![witness(&first, faults)];
    cell.losses_by_mechanism = BTreeMap::from([(first, 2 * runs)]);
    cell
}

/// A cell that lost where nothing may be lost.
pub fn broken(row: &str, faults: &str) -> Cell {
    let mut cell = kept(row, faults);
    cell.verdict = CellVerdict::Broken;
    cell.runs_with_loss = 3;
    cell.messages.lost = 12;
    cell.note = "3 runs lost what the model forbids".to_string();
    cell.losses_by_mechanism = BTreeMap::from([("unexplained".to_string(), 12)]);
    cell.witnesses = vec![witness("unexplained", faults)];
    cell
}

/// A witness with a file named after what it shows.
pub fn witness(mechanism: &str, faults: &str) -> Witness {
    let spec = format!("failures/{}-{faults}.json", mechanism.to_lowercase());
    Witness {
        mechanism: mechanism.to_string(),
        seed: "0x1f".to_string(),
        command: format!("everyack replay everyack-out/{spec}"),
        spec,
        shrunk: None,
    }
}

/// A report over these cells.
pub fn report(cells: Vec<Cell>) -> Report {
    Report {
        everyack: "0.1.0".to_string(),
        commit: "abc1234".to_string(),
        suite: "sample".to_string(),
        seed_base: "0x2a".to_string(),
        asked: Asked {
            command: "everyack run sample".to_string(),
            fingerprint: "0x1".to_string(),
            bundled: true,
            seeds: 200,
            own_seeds: true,
            budget_s: None,
            shrink_budget_s: 5.0,
            bug: None,
            wire: "sampled".to_string(),
            strict: false,
            interrupted: false,
            suite_cells: cells.len(),
            parts: vec![],
        },
        wall_s: 61.5,
        jobs: 2,
        throughput: Throughput {
            runs_per_s: 202.4,
            simulated_s_per_s: 6_072.0,
            messages_per_s: 1e5,
        },
        marks: vec![
            MarkCount {
                name: "isr-is-leader".to_string(),
                required: true,
                runs: 12,
            },
            MarkCount {
                name: "unclean-election".to_string(),
                required: true,
                runs: 0,
            },
        ],
        canary: Some(Canary {
            bug: "ack-before-replication".to_string(),
            caught: true,
            seeds: 3,
        }),
        warnings: vec!["log.flush.interval.ms=1000 does nothing by itself".to_string()],
        rows: claims(&cells),
        cells,
    }
}

/// A claim for each row that has cells.
fn claims(cells: &[Cell]) -> Vec<RowClaim> {
    let mut rows: Vec<RowClaim> = Vec::new();
    for cell in cells {
        if rows.iter().all(|row| row.name != cell.row) {
            rows.push(RowClaim {
                name: cell.row.clone(),
                claim: format!("what {} promises", cell.row),
            });
        }
    }
    rows
}

/// A report with one cell of every kind, under more families than fit beside each other.
pub fn every_kind() -> Report {
    let mut unwitnessed = lossy(
        "acks=0, RF 3",
        "connection-loss",
        &[Mechanism::P01, Mechanism::P02],
        9,
    );
    unwitnessed.verdict = CellVerdict::NoWitness;
    let mut open = lossy("acks=0, RF 3", "leader-crash", &[Mechanism::P02], 0);
    open.verdict = CellVerdict::Inconclusive;
    (open.losses_by_mechanism, open.witnesses) = (BTreeMap::new(), vec![]);
    let mut grey = kept("acks=1, RF 3", "cluster-power-loss");
    (grey.verdict, grey.exposed) = (CellVerdict::NotExposed, 0);
    grey.config.insert("acks".to_string(), "1".to_string());
    let mut stops = kept(
        "acks=all, min ISR 2, flushed every message",
        "two-isr-cut-from-controller",
    );
    (stops.writes_stop, stops.reads_stop) = (true, true);
    let mut twin = kept("acks=all, min ISR 2, flushed every message", "leader-crash");
    let weaker = BTreeMap::from([("acks".to_string(), "1".to_string())]);
    twin.twin = Some(Twin {
        config: weaker,
        runs_with_loss: 143,
    });
    report(vec![
        unwitnessed,
        open,
        lossy(
            "acks=1, RF 3",
            "leader-crash",
            &[Mechanism::P04, Mechanism::P06],
            37,
        ),
        grey,
        lossy(
            "acks=1, RF 3",
            "leader-cut-from-followers",
            &[Mechanism::P04],
            4,
        ),
        lossy("acks=1, RF 3", "leader-move", &[Mechanism::P05], 180),
        twin,
        stops,
        broken(
            "acks=all, min ISR 2, flushed every message",
            "rolling-crash",
        ),
        kept(
            "acks=all, min ISR 2, flushed every message",
            "leader-power-loss",
        ),
    ])
}

/// A run that lost seven messages as P04 and skipped one for no known reason.
pub fn run() -> (RunSpec, RunResult) {
    let properties = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect()
    };
    let spec = RunSpec {
        seed: 42,
        topology: Topology {
            brokers: 3,
            controllers: 1,
            topic: "t".to_string(),
            partitions: 3,
            replication_factor: 3,
        },
        properties: PropertyFiles {
            broker: properties(&[
                ("min.insync.replicas", "2"),
                ("default.replication.factor", "3"),
            ]),
            producer: properties(&[("acks", "1")]),
            ..Default::default()
        },
        applications: Applications {
            producer: "checks-every-result".to_string(),
            producers: 2,
            consumer: "commit-after-processing".to_string(),
            consumers: 2,
        },
        workload: Workload {
            messages_per_producer: 500,
            message_bytes: 100,
            spread_ms: 10_000,
            processing_us: 50,
        },
        family: "leader-crash".to_string(),
        plan: FaultPlan {
            faults: vec![Fault {
                when: When::After {
                    event: Trigger::AckedUnreplicated,
                    nth: 3,
                    delay_us: 0,
                },
                what: What::Crash,
                whom: Whom::LeaderOf(0),
                for_ms: 5_000,
                counted_from: None,
            }],
            canonical: Some("P04".to_string()),
        },
        wire: WireMode::Typed,
        bug: None,
        limits: Limits {
            simulated_ms: 600_000,
            events: 10_000_000,
        },
        record: Record::Story,
    };
    let loss = |sequence, verdict, mechanism| Loss {
        producer: 1,
        sequence,
        partition: 0,
        offset: 100 + i64::from(sequence),
        verdict,
        mechanism,
    };
    let mut losses: Vec<Loss> = (0..7)
        .map(|sequence| loss(sequence, LossVerdict::Lost, Some(Mechanism::P04)))
        .collect();
    losses.push(loss(9, LossVerdict::Skipped, None));
    let line = |at_us, who: &str, what: &str| StoryLine {
        at_us,
        who: who.to_string(),
        what: what.to_string(),
    };
    let result = RunResult {
        outcome: Outcome::Finished,
        messages: MessageCounts {
            sent: 1_000,
            acked: 1_000,
            consumed: 992,
            lost: 7,
            skipped: 1,
            ..Default::default()
        },
        losses,
        anomalies: vec![Anomaly {
            check: "duplicate-offset".to_string(),
            what: "offset 7 was read with two values".to_string(),
        }],
        faults: vec![StruckFault {
            fault: 0,
            at_us: 12_345_678,
            nodes: vec![1],
            exposed: true,
        }],
        fired: true,
        exposed: true,
        marks: vec![],
        unavailable_ms: 9_000,
        ack_us: vec![1_000, 2_000],
        trace_hash: 0xdead_beef,
        simulated_ns: 30_000_000_000,
        requests: 5_000,
        events: 40_000,
        story: vec![
            line(
                12_345_678,
                "broker 1",
                "was killed while 7 acknowledged records stood in its log alone",
            ),
            line(
                21_400_000,
                "controller 1000",
                "elected broker 2 as leader of t-0 in epoch 1",
            ),
        ],
        steps: vec![],
    };
    (spec, result)
}
