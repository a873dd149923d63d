//! Canonical plans: for each mechanism that the model names for a cell, scripted faults that make it
//! bite, within the family's definition.
//!
//! The windows are narrow: a record is on the leader alone for less than a millisecond. A plan
//! therefore waits for the event that opens the window, and where a follower must not have copied
//! the record yet, slows the links that leave the leader, so that answers to its followers are late.
//! Slow links lose nothing by themselves.
//!
//! Not scripted: the mechanisms that the model names beside others, and `random`, which needs no
//! witness.

use crate::model::CellConfig;
use everyack_broker::config::Acks;
use everyack_sim::fault::{
    Direction, DrawContext, Family, Fault, FaultPlan, Trigger, Unsynced, What, When, Whom,
};
use everyack_sim::mechanism::Mechanism;

/// A record of the middle of the load: commits exist by then, and followers have copied before.
const NTH: u32 = 12;

/// Least one-way delay of a slowed link, in microseconds: well above what metadata and a restart of
/// a fetch take.
const SLOW_US_MIN: u64 = 200_000;

/// The canonical plans of a mechanism in a cell, the likeliest first; none where the family does not
/// have the mechanism.
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
    use Mechanism::*;
    let plans = match (mechanism, family) {
        (P01, Family::ConnectionLoss) => script.on_the_way(),
        (P01, Family::LeaderCrash | Family::LeaderPowerLoss | Family::ClusterPowerLoss) => {
            vec![script.outage(Trigger::ProduceInFlight, 0)]
        }
        (P19, Family::LeaderCrash | Family::LeaderPowerLoss | Family::ClusterPowerLoss) => {
            vec![script.outage(Trigger::ProduceArrived, 0)]
        }
        (P04, Family::LeaderCrash | Family::LeaderPowerLoss | Family::ClusterPowerLoss) => {
            vec![script.behind_slow_links(script.outage(script.alone_on_the_leader(), 0))]
        }
        (P05, Family::LeaderMove) => script.moves_away_from_a_record(),
        (P03, Family::LeaderMove) => script.moves_under_load(),
        (P06 | P03, Family::LeaderCutFromController) => {
            vec![script.outage(Trigger::Acked, 0)]
        }
        // A record that an application has processed is not lost to it: the power must go while the
        // consumers are behind. The delay lets a backlog grow, and lets the followers copy what
        // acks=0 and 1 told too early.
        (S01, Family::LeaderPowerLoss | Family::ClusterPowerLoss)
        | (S02, Family::ClusterPowerLoss) => vec![
            script.outage(Trigger::AckedUnsynced, 50_000),
            script.outage(Trigger::AckedUnsynced, 5_000),
        ],
        (C04, Family::ConsumerCrash) => vec![
            script.consumer_crash(Trigger::CommittedUnprocessed, 1),
            script.consumer_crash(Trigger::CommittedUnprocessed, 4),
        ],
        // What it polled first and did not commit is behind the end of the log when it is back.
        (C12, Family::ConsumerCrash) => vec![script.consumer_crash(Trigger::Polled, 1)],
        (C12, Family::LateStart) => vec![script.late_start()],
        _ => Vec::new(),
    };
    plans
        .into_iter()
        .map(|plan| FaultPlan {
            canonical: Some(mechanism.id().to_owned()),
            ..plan
        })
        .collect()
}

struct Script<'a> {
    config: &'a CellConfig,
    family: Family,
    context: &'a DrawContext,
}

fn plan(faults: Vec<Fault>) -> FaultPlan {
    FaultPlan {
        faults,
        canonical: None,
    }
}

impl Script<'_> {
    fn nth(&self) -> u32 {
        // A small workload has fewer records than that.
        let few = (self.context.messages_of_partition_0 / 8).max(1);
        NTH.min(u32::try_from(few).unwrap_or(NTH))
    }

    /// The event at which a record is on the leader, acknowledged where `acks` waits for anything,
    /// and on no follower. acks=0 acknowledges before the leader has it.
    fn alone_on_the_leader(&self) -> Trigger {
        match self.config.acks {
            Acks::None => Trigger::AppendedUnreplicated,
            _ => Trigger::AckedUnreplicated,
        }
    }

    /// The family's own outage after an event, twice as long as what notices it.
    fn outage(&self, event: Trigger, delay_us: u64) -> FaultPlan {
        let unsynced = Unsynced::Gone;
        let direction = Direction::Both;
        let (what, whom) = match self.family {
            Family::LeaderCrash => (What::Crash, Whom::LeaderOf(0)),
            Family::LeaderPowerLoss => (What::PowerLoss { unsynced }, Whom::LeaderOf(0)),
            Family::ClusterPowerLoss => (What::PowerLoss { unsynced }, Whom::AllBrokers),
            Family::LeaderCutFromController => {
                (What::CutFromController { direction }, Whom::LeaderOf(0))
            }
            other => panic!("the family {other} has no outage to script"),
        };
        plan(vec![Fault {
            when: When::After {
                event,
                nth: self.nth(),
                delay_us,
            },
            what,
            whom,
            for_ms: self.context.timeouts.noticed_after_ms(self.family) * 2,
            counted_from: None,
        }])
    }

    /// One-way delay of a slowed link. What the leader had handed to its socket when its process was
    /// killed still arrives, so several records must come while one answer is under way; and nobody
    /// may leave the ISR, or lose its session, for it.
    fn slow_us(&self) -> u64 {
        let timeouts = &self.context.timeouts;
        let patience_ms = timeouts
            .replica_lag_time_max_ms
            .min(timeouts.broker_session_timeout_ms);
        let several = self.context.message_gap_us.saturating_mul(4);
        SLOW_US_MIN.max(several).min(patience_ms * 1_000 / 8)
    }

    /// Slows the links that leave the leader from the start, for as long as the plan takes.
    fn behind_slow_links(&self, mut plan: FaultPlan) -> FaultPlan {
        for fault in &mut plan.faults {
            if let When::AfterFault { fault: other, .. } = &mut fault.when {
                *other += 1;
            }
        }
        let slow = Fault {
            when: When::AtUs(0),
            what: What::SlowLinks {
                extra_us: self.slow_us(),
            },
            whom: Whom::LeaderOf(0),
            for_ms: self.context.timeouts.spread_ms(self.family),
            counted_from: None,
        };
        plan.faults.insert(0, slow);
        plan
    }

    fn on_the_way(&self) -> Vec<FaultPlan> {
        [What::ResetConnections, What::CutConnections]
            .map(|what| {
                plan(vec![Fault {
                    when: When::After {
                        event: Trigger::ProduceInFlight,
                        nth: self.nth(),
                        delay_us: 0,
                    },
                    what,
                    whom: Whom::LeaderOf(0),
                    for_ms: match what {
                        What::CutConnections => self.context.timeouts.noticed_after_ms(self.family),
                        _ => 0,
                    },
                    counted_from: None,
                }])
            })
            .to_vec()
    }

    fn move_after(&self, event: Trigger, nth: u32) -> Fault {
        Fault {
            when: When::After {
                event,
                nth,
                delay_us: 0,
            },
            what: What::MoveLeader,
            whom: Whom::LeaderOf(0),
            for_ms: 0,
            counted_from: None,
        }
    }

    /// One move, at the instant at which the leader alone has a record.
    fn moves_away_from_a_record(&self) -> Vec<FaultPlan> {
        let moved = self.move_after(self.alone_on_the_leader(), self.nth());
        vec![self.behind_slow_links(plan(vec![moved]))]
    }

    /// Three moves while requests are on their way to the leader of before.
    fn moves_under_load(&self) -> Vec<FaultPlan> {
        let nth = self.nth();
        let moves = (0..3)
            .map(|i| self.move_after(Trigger::ProduceInFlight, nth + i * nth))
            .collect();
        vec![plan(moves)]
    }

    fn consumer_crash(&self, event: Trigger, nth: u32) -> FaultPlan {
        plan(vec![Fault {
            when: When::After {
                event,
                nth,
                delay_us: 0,
            },
            what: What::Crash,
            whom: Whom::WhereItHappened,
            for_ms: self.context.timeouts.noticed_after_ms(self.family),
            counted_from: None,
        }])
    }

    fn late_start(&self) -> FaultPlan {
        plan(vec![Fault {
            when: When::After {
                event: Trigger::Acked,
                nth: self.nth(),
                delay_us: 0,
            },
            what: What::StartConsumers,
            whom: Whom::Consumer(0),
            for_ms: 0,
            counted_from: None,
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{self, Application, Flush};
    use everyack_broker::config::AutoOffsetReset;
    use everyack_sim::fault::Timeouts;
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

    #[test]
    fn every_mechanism_that_the_model_names_has_a_plan_and_no_other_has() {
        let context = context();
        let mut named = 0;
        for acks in [Acks::None, Acks::Leader, Acks::All] {
            for replication_factor in [1, 3] {
                for flush in [Flush::Every, Flush::Os] {
                    for application in Application::ALL {
                        let config = CellConfig {
                            brokers: 3,
                            partitions: 1,
                            replication_factor,
                            acks,
                            effective_min_isr: 1,
                            unclean: false,
                            flush,
                            offsets_flush: flush,
                            offsets_replication_factor: 3,
                            application,
                            auto_offset_reset: AutoOffsetReset::Latest,
                        };
                        for family in Family::ALL {
                            for mechanism in model::expect(&config, family).mechanisms {
                                let plans = canonical(&config, family, mechanism, &context);
                                assert!(!plans.is_empty(), "{mechanism} under {family}");
                                assert!(plans.iter().all(|p| !p.faults.is_empty()
                                    && p.canonical.as_deref() == Some(mechanism.id())));
                                named += 1;
                            }
                            let absent = canonical(&config, family, Mechanism::C15, &context);
                            assert!(absent.is_empty());
                        }
                    }
                }
            }
        }
        assert!(named > 100, "{named}");
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
}
