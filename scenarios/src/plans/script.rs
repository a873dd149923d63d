//! The building blocks of canonical plans: what a plan waits for, how long things last.

use crate::model::{CellConfig, Flush};
use everyack_broker::config::Acks;
use everyack_sim::fault::{
    Direction, DiskOperation, DrawContext, Elsewhere, Errno, Family, Fault, FaultPlan, LogPart,
    Trigger, Unsynced, What, When, Whom,
};

/// A record of the middle of the load: commits exist by then, and followers have copied before.
const NTH: u32 = 12;

/// Least one-way delay of a slowed link, in microseconds: well above what metadata and a restart of
/// a fetch take.
const SLOW_US_MIN: u64 = 200_000;

/// What a plan is written for.
pub(super) struct Script<'a> {
    pub(super) config: &'a CellConfig,
    pub(super) family: Family,
    pub(super) context: &'a DrawContext,
}

pub(super) fn plan(faults: Vec<Fault>) -> FaultPlan {
    FaultPlan {
        faults,
        canonical: None,
    }
}

/// After the n-th event of a kind.
pub(super) fn after(event: Trigger, nth: u32) -> When {
    When::After {
        event,
        nth,
        delay_us: 0,
    }
}

/// After the n-th event of a kind that follows a fault.
pub(super) fn then(fault: usize, event: Trigger, nth: u32) -> When {
    When::Then {
        fault,
        event,
        nth,
        delay_us: 0,
    }
}

/// Puts a fault at this place; what refers to faults from there on goes on doing so.
pub(super) fn insert(faults: &mut Vec<Fault>, at: usize, fault: Fault) {
    let shift = |other: &mut usize| *other += usize::from(*other >= at);
    for fault in faults.iter_mut() {
        match &mut fault.when {
            When::AfterFault { fault: other, .. }
            | When::AfterOutage { fault: other, .. }
            | When::Then { fault: other, .. } => shift(other),
            When::AtUs(_) | When::After { .. } => {}
        }
        if let Whom::SameAs(other) = &mut fault.whom {
            shift(other);
        }
        fault.counted_from.iter_mut().for_each(shift);
    }
    faults.insert(at, fault);
}

/// Loses everything that was not synced.
pub(super) const POWER: What = What::PowerLoss {
    unsynced: Unsynced::Gone,
};

const BOTH: Direction = Direction::Both;

impl Script<'_> {
    /// The record at which a plan strikes.
    pub(super) fn nth(&self) -> u32 {
        // A small workload has fewer records than that.
        let few = (self.context.messages_of_partition_0 / 8).max(1);
        NTH.min(u32::try_from(few).unwrap_or(NTH))
    }

    /// A record before which a backlog has grown at consumers that are slower than the load, seconds
    /// of it: an ISR takes longer to shrink than a record to be consumed elsewhere.
    pub(super) fn late_nth(&self) -> u32 {
        let (_, last_ms) = self.context.timeouts.strike_ms();
        let by_then = last_ms * 1_000 / self.context.message_gap_us.max(1);
        let most = self.context.messages_of_partition_0 / 3;
        u32::try_from(by_then.min(most))
            .unwrap_or(u32::MAX)
            .max(self.nth())
    }

    /// Nothing happens: other faults count events from here on.
    pub(super) fn mark(&self, when: When) -> Fault {
        let nothing = What::SlowLinks { extra_us: 0 };
        Fault::new(when, nothing, Whom::LeaderOf(0), 0)
    }

    /// The event at which a record is on the leader, acknowledged where `acks` waits for anything,
    /// and on no follower. acks=0 acknowledges before the leader has it.
    pub(super) fn alone_on_the_leader(&self) -> Trigger {
        match self.config.acks {
            Acks::None => Trigger::AppendedUnreplicated,
            _ => Trigger::AckedUnreplicated,
        }
    }

    /// The event at which the leader has taken a record: acks=0 acknowledges before that.
    pub(super) fn taken(&self) -> Trigger {
        match self.config.acks {
            Acks::None => Trigger::Appended,
            _ => Trigger::Acked,
        }
    }

    /// Twice as long as what notices an outage of the family.
    pub(super) fn noticed_ms(&self) -> u64 {
        self.context.timeouts.noticed_after_ms(self.family) * 2
    }

    /// What the family does to its leader, or to all that it hits at once.
    fn blow(&self) -> (What, Whom) {
        let leader = Whom::LeaderOf(0);
        match self.family {
            Family::LeaderCrash => (What::Crash, leader),
            Family::LeaderPowerLoss => (POWER, leader),
            Family::ClusterPowerLoss | Family::LyingDisk => (POWER, Whom::AllBrokers),
            Family::ZonePowerLoss => (POWER, Whom::LeaderAndFollowerOf(0, 0)),
            Family::LeaderCutFromController => {
                (What::CutFromController { direction: BOTH }, leader)
            }
            Family::LeaderCutFromClients => (What::CutFromClients { direction: BOTH }, leader),
            Family::ZombieLeader => {
                let only_producer = None;
                (What::CutFromCluster { only_producer }, leader)
            }
            Family::LeaderPause => (What::Pause, leader),
            Family::DiskFull => (What::FillDisk { nth: 1 }, leader),
            Family::DiskError => (self.failed(DiskOperation::Write, 1), leader),
            Family::DiskDestroyed => (What::DestroyDisk, leader),
            Family::RollingRestart => (What::ShutDown, leader),
            other => panic!("the family {other} has no outage to script"),
        }
    }

    fn failed(&self, operation: DiskOperation, nth: u32) -> What {
        What::FailDisk {
            operation,
            files: None,
            nth,
            lasting: true,
            errno: Errno::Io,
        }
    }

    /// The family's own outage after an event, twice as long as what notices it.
    pub(super) fn outage(&self, event: Trigger, delay_us: u64) -> FaultPlan {
        let (what, whom) = self.blow();
        let when = When::After {
            event,
            nth: self.nth(),
            delay_us,
        };
        let outage = Fault::new(when, what, whom, self.noticed_ms());
        if self.family != Family::LyingDisk {
            return plan(vec![outage]);
        }
        let lie = Fault::new(When::AtUs(0), What::LieAboutSyncs, Whom::AllBrokers, 1);
        let until_then = Fault {
            counted_from: Some(1),
            ..lie
        };
        plan(vec![until_then, outage])
    }

    /// Damages the last batch of the leader's log, or one shortly before it: with a backlog nobody has
    /// read it yet.
    pub(super) fn damages_unread_batches(&self) -> Vec<FaultPlan> {
        let flips = |permille| What::FlipBits {
            part: LogPart::All,
            permille,
            bit_permille: 500,
        };
        let strays = What::MisdirectWrite {
            sectors: 1,
            to: Elsewhere::Nowhere,
        };
        [flips(1_000), flips(900), strays]
            .map(|what| {
                let when = When::After {
                    event: self.taken(),
                    nth: self.late_nth(),
                    delay_us: 5_000,
                };
                plan(vec![Fault::new(when, what, Whom::LeaderOf(0), 0)])
            })
            .to_vec()
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
    pub(super) fn behind_slow_links(&self, mut plan: FaultPlan) -> FaultPlan {
        let slow = What::SlowLinks {
            extra_us: self.slow_us(),
        };
        let for_ms = self.context.timeouts.spread_ms(self.family);
        let fault = Fault::new(When::AtUs(0), slow, Whom::LeaderOf(0), for_ms);
        insert(&mut plan.faults, 0, fault);
        plan
    }

    pub(super) fn on_the_way(&self) -> Vec<FaultPlan> {
        let lost = |what| {
            let for_ms = match what {
                What::CutConnections => self.context.timeouts.noticed_after_ms(self.family),
                _ => 0,
            };
            let when = after(Trigger::ProduceInFlight, self.nth());
            plan(vec![Fault::new(when, what, Whom::LeaderOf(0), for_ms)])
        };
        [What::ResetConnections, What::CutConnections]
            .map(lost)
            .to_vec()
    }

    /// The leader's syncs fail, once records wait for one: what it should have kept is gone, and the
    /// process ends over it. A log that nothing else syncs is synced by an orderly shutdown.
    pub(super) fn failed_syncs(&self) -> Vec<FaultPlan> {
        let fails = |from, nth, lasting| {
            let what = What::FailDisk {
                operation: DiskOperation::Sync,
                files: None,
                nth,
                lasting,
                errno: Errno::Io,
            };
            let when = after(Trigger::AckedUnsynced, from);
            Fault::new(when, what, Whom::LeaderOf(0), self.noticed_ms())
        };
        let shut_down = Fault::new(
            When::AfterFault {
                fault: 0,
                delay_ms: 50,
            },
            What::ShutDown,
            Whom::SameAs(0),
            self.noticed_ms(),
        );
        match self.config.flush {
            // Checkpoints are synced before logs, and which log comes first is not said.
            Flush::Os => [3, 4, 2, 1]
                .map(|nth| plan(vec![fails(self.late_nth(), nth, false), shut_down.clone()]))
                .to_vec(),
            // Shortly before its records are synced, so that the next sync is theirs and no checkpoint's.
            Flush::Messages(n) if (10..1_000).contains(&n) => [(n - n / 10, false), (n - 3, true)]
                .map(|(from, lasting)| plan(vec![fails(from as u32, 1, lasting)]))
                .to_vec(),
            _ => vec![
                plan(vec![fails(self.nth(), 1, false)]),
                plan(vec![fails(self.nth(), 1, true)]),
            ],
        }
    }

    /// The leader's clock is set back by two hours, one more than what a broker takes for a record
    /// from the future.
    pub(super) fn set_back(&self) -> FaultPlan {
        const TWO_HOURS_MS: i64 = 2 * 3_600_000;
        let when = after(Trigger::Acked, self.nth());
        let what = What::ClockJump {
            by_ms: -TWO_HOURS_MS,
        };
        plan(vec![Fault::new(
            when,
            what,
            Whom::LeaderOf(0),
            self.noticed_ms(),
        )])
    }

    fn move_after(&self, event: Trigger, nth: u32) -> Fault {
        Fault::new(after(event, nth), What::MoveLeader, Whom::LeaderOf(0), 0)
    }

    /// One move, at the instant at which the leader alone has a record.
    pub(super) fn moves_away_from_a_record(&self) -> Vec<FaultPlan> {
        let moved = self.move_after(self.alone_on_the_leader(), self.nth());
        vec![self.behind_slow_links(plan(vec![moved]))]
    }

    /// A move while a request is on its way to the leader of before.
    pub(super) fn moves_under_load(&self) -> Vec<FaultPlan> {
        vec![plan(vec![
            self.move_after(Trigger::ProduceInFlight, self.nth()),
        ])]
    }

    /// Each broker is shut down in order and started again, the leader first, after this event; each
    /// of the others once the one before is back.
    fn restarts(&self, event: Trigger) -> FaultPlan {
        let timeouts = &self.context.timeouts;
        let down_ms = timeouts.broker_heartbeat_interval_ms;
        let when = after(event, self.nth());
        let mut faults = vec![Fault::new(when, What::ShutDown, Whom::LeaderOf(0), down_ms)];
        for next in 1..self.config.brokers.max(1) {
            let when = When::AfterOutage {
                fault: faults.len() - 1,
                delay_ms: timeouts.broker_return_ms(),
            };
            let whom = Whom::ReplicaOf(0, next);
            faults.push(Fault::new(when, What::ShutDown, whom, down_ms));
        }
        plan(faults)
    }

    pub(super) fn restarts_away_from_a_record(&self) -> Vec<FaultPlan> {
        vec![self.behind_slow_links(self.restarts(self.alone_on_the_leader()))]
    }

    pub(super) fn restarts_under_load(&self) -> Vec<FaultPlan> {
        vec![
            self.restarts(Trigger::ProduceInFlight),
            self.restarts(Trigger::Acked),
        ]
    }

    pub(super) fn consumer_crash(&self, event: Trigger, nth: u32) -> FaultPlan {
        let for_ms = self.context.timeouts.noticed_after_ms(self.family);
        let fault = Fault::new(
            after(event, nth),
            What::Crash,
            Whom::WhereItHappened,
            for_ms,
        );
        plan(vec![fault])
    }

    pub(super) fn late_start(&self) -> FaultPlan {
        let when = after(Trigger::Acked, self.nth());
        let fault = Fault::new(when, What::StartConsumers, Whom::Consumer(0), 0);
        plan(vec![fault])
    }

    /// The handler throws on records of a batch that a poll has just returned.
    pub(super) fn handler_fails(&self, records: u32) -> FaultPlan {
        let what = What::FailProcessing { records, times: 1 };
        let when = after(Trigger::Polled, 2);
        let fault = Fault::new(when, what, Whom::WhereItHappened, self.noticed_ms());
        plan(vec![fault])
    }
}
