//! Canonical plans: for each mechanism that the model names for a cell, scripted faults that make it
//! bite, within the family's definition.
//!
//! The windows are narrow: a record is on the leader alone for less than a millisecond. A plan
//! therefore waits for the event that opens the window, and where a follower must not have copied
//! the record yet, slows the links that leave the leader, so that answers to its followers are late.
//! Slow links lose nothing by themselves.
//!
//! - `script` the building blocks: what a plan waits for, how long things last
//! - `rolling` one replica after the other, in the order that loses
//! - `last` a leader that is alone in its ISR
//!
//! Not scripted: the mechanisms that the model names beside others, and `random`, which needs no
//! witness.

mod last;
mod rolling;
mod script;

use crate::model::CellConfig;
use everyack_sim::fault::{DrawContext, Family, FaultPlan, Trigger};
use everyack_sim::mechanism::Mechanism;
use script::Script;

/// The canonical plans of a mechanism in a cell, in the order in which they are tried; none where the family
/// does not have the mechanism.
pub fn canonical(
    config: &CellConfig,
    family: Family,
    mechanism: Mechanism,
    context: &DrawContext,
) -> Vec<FaultPlan> {
    let script = Script {
        config,
        family,
        context,
    };
    let plans = scripted(&script, mechanism);
    plans
        .into_iter()
        .map(|plan| FaultPlan {
            canonical: Some(mechanism.id().to_owned()),
            ..plan
        })
        .collect()
}

fn scripted(script: &Script<'_>, mechanism: Mechanism) -> Vec<FaultPlan> {
    use Mechanism::*;
    match script.family {
        Family::RollingCrash | Family::RollingPowerLoss | Family::MixedRestart => {
            rolling::plans(script, mechanism)
        }
        Family::ShrunkIsrCrash
        | Family::ShrunkIsrPowerLoss
        | Family::ShrunkIsrDiskDestroyed
        | Family::LastIsrCrash
        | Family::LastIsrPowerLoss => last::plans(script, mechanism),
        family => match (mechanism, family) {
            (P01, Family::ConnectionLoss) => script.on_the_way(),
            (P01, _) => vec![script.outage(Trigger::ProduceInFlight, 0)],
            (P02, Family::ClockJump) => vec![script.set_back()],
            // Handed to the process before it ends, or before its disk fails.
            (P19 | P02, _) => vec![script.outage(Trigger::ProduceArrived, 0)],
            (P04 | S10, _) if script.config.is_replicated() => {
                vec![script.behind_slow_links(script.outage(script.alone_on_the_leader(), 0))]
            }
            (S10, _) => script.failed_syncs(),
            (P05, Family::LeaderMove) => script.moves_away_from_a_record(),
            (P03, Family::LeaderMove) => script.moves_under_load(),
            (P05, Family::RollingRestart) => script.restarts_away_from_a_record(),
            (P03, Family::RollingRestart) => script.restarts_under_load(),
            // What it had and nobody else; and what waits in its sockets.
            (P06, Family::LeaderPause) => vec![
                script.behind_slow_links(script.outage(script.alone_on_the_leader(), 0)),
                script.outage(Trigger::ProduceInFlight, 0),
            ],
            (P03, Family::LeaderPause) => vec![
                script.outage(Trigger::ProduceInFlight, 0),
                script.outage(Trigger::Acked, 0),
            ],
            (P06 | P03, _) => vec![script.outage(Trigger::Acked, 0)],
            // A record that an application has processed is not lost to it: the power must go while the
            // consumers are behind. The delay lets a backlog grow, and lets the followers copy what
            // acks=0 and 1 told too early.
            (S01 | S02, _) => vec![
                script.outage(Trigger::AckedUnsynced, 50_000),
                script.outage(Trigger::AckedUnsynced, 5_000),
            ],
            // Told and flushed, and the disks had lied.
            (S12, Family::LyingDisk) => vec![
                script.outage(script.taken(), 50_000),
                script.outage(script.taken(), 5_000),
            ],
            (S09, Family::BitRot) => script.damages_unread_batches(),
            (C04, Family::ConsumerCrash) => vec![
                script.consumer_crash(Trigger::CommittedUnprocessed, 1),
                script.consumer_crash(Trigger::CommittedUnprocessed, 4),
            ],
            // What it polled first and did not commit is behind the end of the log when it is back.
            (C12, Family::ConsumerCrash) => vec![script.consumer_crash(Trigger::Polled, 1)],
            (C12, Family::LateStart) => vec![script.late_start()],
            (C20 | C02 | C05, Family::ProcessingException) => {
                vec![script.handler_fails(2), script.handler_fails(1)]
            }
            _ => Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{self, Application, Flush};
    use crate::runner::{RunKey, Wire};
    use crate::shrink::without;
    use crate::suite::{self, CellPlan};
    use everyack_broker::config::{Acks, AutoOffsetReset};
    use everyack_sim::fault::{Fault, Timeouts, What, When, Whom};
    use everyack_sim::spec::{PropertyFiles, Topology, Workload};

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

    /// Configurations that differ in everything that the model reads, `auto.offset.reset` apart.
    fn configurations() -> Vec<CellConfig> {
        let mut all = Vec::new();
        for acks in [Acks::None, Acks::Leader, Acks::All] {
            // Brokers that lead one partition each, or several.
            for (brokers, replication_factor) in [(3, 1), (3, 2), (3, 3), (2, 2), (5, 4), (5, 5)] {
                for effective_min_isr in 1..=i32::from(replication_factor) {
                    for unclean in [false, true] {
                        for flush in [Flush::Every, Flush::Os] {
                            for application in Application::ALL {
                                all.push(CellConfig {
                                    brokers,
                                    partitions: 3,
                                    replication_factor,
                                    acks,
                                    effective_min_isr,
                                    unclean,
                                    flush,
                                    offsets_flush: flush,
                                    offsets_replication_factor: 3,
                                    application,
                                    auto_offset_reset: AutoOffsetReset::Latest,
                                });
                            }
                        }
                    }
                }
            }
        }
        all
    }

    #[test]
    fn every_mechanism_that_the_model_names_has_a_plan_and_no_other_has() {
        let context = context();
        let mut named = 0;
        for config in configurations() {
            for family in Family::ALL {
                for mechanism in model::expect(&config, family).mechanisms {
                    let plans = canonical(&config, family, mechanism, &context);
                    assert!(!plans.is_empty(), "{mechanism} under {family}: {config:?}");
                    for plan in plans {
                        assert!(!plan.faults.is_empty());
                        assert_eq!(plan.canonical.as_deref(), Some(mechanism.id()));
                        refers_to_itself(&plan);
                    }
                    named += 1;
                }
                let absent = canonical(&config, family, Mechanism::C15, &context);
                assert!(absent.is_empty());
            }
        }
        assert!(named > 1_000, "{named}");
    }

    /// What a fault waits for stands before it; an outage may be counted from any other.
    fn refers_to_itself(plan: &FaultPlan) {
        for (i, fault) in plan.faults.iter().enumerate() {
            match fault.when {
                When::AfterFault { fault: other, .. }
                | When::AfterOutage { fault: other, .. }
                | When::Then { fault: other, .. } => assert!(other < i, "{plan:?}"),
                When::AtUs(_) | When::After { .. } => {}
            }
            assert!(
                fault
                    .counted_from
                    .is_none_or(|other| other < plan.faults.len()),
                "{plan:?}"
            );
        }
    }

    #[test]
    fn an_inserted_fault_leaves_what_others_refer_to() {
        let at = |fault| When::AfterFault { fault, delay_ms: 1 };
        let crash = |when| Fault::new(when, What::Crash, Whom::LeaderOf(0), 1);
        let mut faults = vec![crash(When::AtUs(0)), crash(at(0)), crash(at(1))];
        faults[0].counted_from = Some(2);
        script::insert(&mut faults, 1, crash(When::AtUs(5)));
        assert_eq!(faults[0].counted_from, Some(3));
        let whens: Vec<&When> = faults.iter().map(|fault| &fault.when).collect();
        assert_eq!(whens, [&When::AtUs(0), &When::AtUs(5), &at(0), &at(2)]);
    }

    #[test]
    fn slow_links_stay_below_every_timeout_that_would_notice_them() {
        let mut context = context();
        context.timeouts.replica_lag_time_max_ms = 400;
        let config = CellConfig {
            brokers: 3,
            partitions: 1,
            replication_factor: 3,
            acks: Acks::Leader,
            effective_min_isr: 1,
            unclean: false,
            flush: Flush::Os,
            offsets_flush: Flush::Os,
            offsets_replication_factor: 3,
            application: Application::CommitAfterProcessing,
            auto_offset_reset: AutoOffsetReset::Earliest,
        };
        let plans = canonical(&config, Family::LeaderCrash, Mechanism::P04, &context);
        assert_eq!(
            plans[0].faults[0].what,
            What::SlowLinks { extra_us: 50_000 }
        );
        assert_eq!(plans[0].faults[1].what, What::Crash);
        assert!(matches!(
            plans[0].faults[1].when,
            When::After {
                event: Trigger::AckedUnreplicated,
                ..
            }
        ));
    }

    /// In how many of some runs a plan shows a mechanism.
    fn shown(cell: &CellPlan, mechanism: Mechanism, plan: &FaultPlan) -> usize {
        let shows = |n: &u64| {
            let seed = RunKey::Batch(*n).seed(0, &cell.seed_group);
            let spec = cell.spec(seed, plan.clone(), Wire::Typed.of(seed), None);
            let losses = everyack_sim::run(&spec).losses;
            losses.iter().any(|loss| loss.mechanism == Some(mechanism))
        };
        (0..8).filter(shows).count()
    }

    #[test]
    fn every_fault_of_a_plan_of_the_guide_is_needed() {
        let suite = suite::bundled("guide").unwrap().unwrap();
        let (mut shown_at_all, mut left_out) = (0, 0);
        for cell in suite.cells().unwrap() {
            for &mechanism in &cell.expectation.mechanisms {
                for plan in canonical(&cell.decides, cell.family, mechanism, &cell.context) {
                    let by_all = shown(&cell, mechanism, &plan);
                    shown_at_all += usize::from(by_all > 0);
                    for (at, fault) in plan.faults.iter().enumerate() {
                        let fewer = without(&plan, &|gone| gone == at);
                        // A rolling restart restarts every broker, whichever of them takes something.
                        let defines = cell.family == Family::RollingRestart;
                        if fewer.faults.is_empty() || (defines && fault.what == What::ShutDown) {
                            continue;
                        }
                        left_out += 1;
                        let by_fewer = shown(&cell, mechanism, &fewer);
                        let id = &cell.id;
                        assert!(by_fewer < by_all.max(1), "{id} {mechanism}: {fault:?}");
                    }
                }
            }
        }
        assert!(
            shown_at_all > 40 && left_out > 8,
            "{shown_at_all} {left_out}"
        );
    }
}
