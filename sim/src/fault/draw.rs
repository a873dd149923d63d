//! Plans drawn by family from a seeded stream, in integers only.
//!
//! A plan depends on the family, the timeouts, the topology and the amount of work, never on `acks`
//! or on any other setting whose promise is judged: the same seeds give the same plans on a
//! configuration and on its weaker twin.
//!
//! Not drawn: the precondition "full ISR", which a healthy cluster has when the producers start;
//! what a drawn power loss leaves on the disk, which the world draws when it strikes.

use super::*;
use crate::spec::{Topology, Workload};
use everyack_broker::env::Stream;

/// Purpose of the stream that a run's plan is drawn from: `Stream::new(seed, PLAN_STREAM)`.
pub const PLAN_STREAM: u64 = 0x706c_616e;

/// Upper bound on what `random` does in one run.
const RANDOM_FAULTS_MAX: u64 = 4;

/// What a plan may depend on.
#[derive(Debug, Clone, PartialEq)]
pub struct DrawContext {
    /// The configured timeouts.
    pub timeouts: Timeouts,
    /// Partitions of the topic.
    pub partitions: u32,
    /// Messages that partition 0 gets, about.
    pub messages_of_partition_0: u64,
    /// Mean time between two messages of partition 0, in microseconds.
    pub message_gap_us: u64,
    /// Producer applications.
    pub producers: u32,
    /// Consumer applications.
    pub consumers: u32,
}

impl DrawContext {
    /// The context of a cluster and its work.
    pub fn new(
        timeouts: Timeouts,
        topology: &Topology,
        workload: &Workload,
        producers: u32,
        consumers: u32,
    ) -> DrawContext {
        let partitions = u32::try_from(topology.partitions).unwrap_or(0).max(1);
        let messages = u64::from(producers) * u64::from(workload.messages_per_producer);
        let messages_of_partition_0 = (messages / u64::from(partitions)).max(1);
        DrawContext {
            timeouts,
            partitions,
            messages_of_partition_0,
            message_gap_us: workload.spread_ms.saturating_mul(1_000) / messages_of_partition_0,
            producers: producers.max(1),
            consumers: consumers.max(1),
        }
    }
}

/// Draws a plan of a family.
pub fn draw(family: Family, context: &DrawContext, stream: &mut Stream) -> FaultPlan {
    let mut drawing = Drawing {
        context,
        stream,
        faults: Vec::new(),
    };
    match family {
        Family::None => {}
        Family::ConnectionLoss => {
            let times = drawing.stream.range(1, 5);
            drawing.repeat(times, Family::ConnectionLoss);
        }
        Family::LeaderMove => {
            let times = drawing.stream.range(1, 6);
            drawing.repeat(times, Family::LeaderMove);
        }
        Family::Random => drawing.swarm(),
        single => {
            let when = drawing.strike(single);
            drawing.strike_once(single, when);
        }
    }
    FaultPlan {
        faults: drawing.faults,
        canonical: None,
    }
}

struct Drawing<'a> {
    context: &'a DrawContext,
    stream: &'a mut Stream,
    faults: Vec<Fault>,
}

impl Drawing<'_> {
    /// When the first fault of a family strikes: seven times of eight on an event, since the
    /// windows between events are narrow, else at any instant.
    fn strike(&mut self, family: Family) -> When {
        let (first, last) = self.context.timeouts.strike_ms();
        if self.stream.chance(1, 8) && family != Family::LateStart {
            return When::AtUs(self.stream.range(first * 1_000, last * 1_000));
        }
        let events: &[Trigger] = match family {
            Family::ConnectionLoss | Family::ProducerCrash => &[
                Trigger::ProduceInFlight,
                Trigger::ProduceArrived,
                Trigger::Appended,
            ],
            // Not `Committed`: an application that commits by auto-commit is told of none.
            Family::ConsumerCrash => &[Trigger::Polled, Trigger::Processed],
            Family::LateStart => &[Trigger::Acked],
            _ => &[
                Trigger::ProduceInFlight,
                Trigger::ProduceArrived,
                Trigger::Appended,
                Trigger::AppendedUnreplicated,
                Trigger::Acked,
            ],
        };
        let event = events[self.stream.below(events.len() as u64) as usize];
        When::After {
            event,
            nth: self.nth(event),
            delay_us: self.delay_us(),
        }
    }

    /// Which of the events: those of the strike window, and not more than the work surely causes
    /// (a batch holds several messages, a poll several batches).
    fn nth(&mut self, event: Trigger) -> u32 {
        let messages = self.context.messages_of_partition_0;
        let surely = match event {
            Trigger::Acked | Trigger::Processed => messages / 2,
            Trigger::Polled | Trigger::Committed | Trigger::CommittedUnprocessed => messages / 16,
            _ => messages / 8,
        };
        let (_, last) = self.context.timeouts.strike_ms();
        let in_window = last * 1_000 / self.context.message_gap_us.max(1);
        let most = surely.min(in_window).clamp(1, u64::from(u32::MAX));
        self.stream.range(1, most) as u32
    }

    /// Delay after an event in microseconds: none, within the round trip in which a follower copies,
    /// or within a few of them.
    fn delay_us(&mut self) -> u64 {
        match self.stream.below(8) {
            0..=2 => 0,
            3..=6 => self.stream.range(1, 500),
            _ => self.stream.range(500, 20_000),
        }
    }

    fn outage_ms(&mut self, family: Family) -> u64 {
        let (shortest, longest) = self.context.timeouts.outage_ms(family);
        self.stream.range(shortest, longest)
    }

    /// Partition 0, whose events the triggers watch, or with some seeds any.
    fn partition(&mut self) -> i32 {
        if self.stream.chance(3, 4) {
            0
        } else {
            self.stream.below(u64::from(self.context.partitions)) as i32
        }
    }

    fn direction(&mut self) -> Direction {
        match self.stream.below(6) {
            0 => Direction::Outbound,
            1 => Direction::Inbound,
            _ => Direction::Both,
        }
    }

    /// Adds one fault of a family that strikes once.
    fn strike_once(&mut self, family: Family, when: When) {
        let unsynced = if self.stream.chance(1, 2) {
            Unsynced::Gone
        } else {
            Unsynced::Drawn
        };
        let leader = match when {
            When::After { .. } => Whom::LeaderOf(0),
            _ => Whom::LeaderOf(self.partition()),
        };
        let (what, whom) = match family {
            // Families that are not drawn from one fault, or not at all yet.
            Family::None
            | Family::Random
            | Family::RollingCrash
            | Family::RollingPowerLoss
            | Family::ZonePowerLoss
            | Family::MixedRestart
            | Family::LeaderCutFromClients
            | Family::ZombieLeader
            | Family::LeaderPause
            | Family::RollingRestart
            | Family::SlowFollower
            | Family::SlowLeader
            | Family::DiskFull
            | Family::DiskError
            | Family::DiskDestroyed
            | Family::ShrunkIsrCrash
            | Family::ShrunkIsrPowerLoss
            | Family::ShrunkIsrDiskDestroyed
            | Family::LastIsrCrash
            | Family::LastIsrPowerLoss
            | Family::ClockJump
            | Family::ProcessingException => return,
            Family::ConnectionLoss if self.stream.chance(1, 2) => (What::ResetConnections, leader),
            Family::ConnectionLoss => (What::CutConnections, leader),
            Family::LeaderCrash => (What::Crash, leader),
            Family::LeaderPowerLoss => (What::PowerLoss { unsynced }, leader),
            Family::ClusterPowerLoss => (What::PowerLoss { unsynced }, Whom::AllBrokers),
            Family::LeaderCutFromFollowers => {
                let direction = self.direction();
                (What::CutFromFollowers { direction }, leader)
            }
            Family::LeaderCutFromController => {
                let direction = self.direction();
                (What::CutFromController { direction }, leader)
            }
            Family::LeaderMove => (What::MoveLeader, Whom::LeaderOf(0)),
            Family::ProducerCrash => {
                let n = self.stream.below(u64::from(self.context.producers)) as u32;
                (What::Crash, Whom::Producer(n))
            }
            Family::ConsumerCrash => match when {
                When::After { .. } => (What::Crash, Whom::WhereItHappened),
                _ => {
                    let n = self.stream.below(u64::from(self.context.consumers)) as u32;
                    (What::Crash, Whom::Consumer(n))
                }
            },
            Family::LateStart => (What::StartConsumers, Whom::Consumer(0)),
        };
        let for_ms = match what {
            What::ResetConnections | What::MoveLeader | What::StartConsumers => 0,
            _ => self.outage_ms(family),
        };
        self.faults.push(Fault::new(when, what, whom, for_ms));
    }

    /// Adds several faults of a family one after the other, the gaps from "at once" (for a move: as
    /// soon as the metadata is applied) to seconds.
    fn repeat(&mut self, times: u64, family: Family) {
        let when = self.strike(family);
        self.strike_once(family, when);
        for _ in 1..times {
            let before = self.faults.len() - 1;
            let when = match (family, self.stream.below(3)) {
                // Each move makes one leader apply it, so this is the one before.
                (Family::LeaderMove, 0) => When::After {
                    event: Trigger::LeaderApplied,
                    nth: before as u32 + 1,
                    delay_us: self.delay_us(),
                },
                (_, 0) => When::AfterFault {
                    fault: before,
                    delay_ms: 0,
                },
                (_, 1) => When::AfterFault {
                    fault: before,
                    delay_ms: self.stream.range(1, 50),
                },
                _ => When::AfterFault {
                    fault: before,
                    delay_ms: self.stream.range(50, 3_000),
                },
            };
            self.strike_once(family, when);
        }
    }

    /// Swarm testing: first which families take part in this run, then one to four faults of them.
    fn swarm(&mut self) {
        let mut taking_part: Vec<Family> = Vec::new();
        for family in Family::ALL {
            if !matches!(family, Family::None | Family::Random) && self.stream.chance(1, 2) {
                taking_part.push(family);
            }
        }
        if taking_part.is_empty() {
            taking_part.push(Family::LeaderCrash);
        }
        let faults = self.stream.range(1, RANDOM_FAULTS_MAX);
        for _ in 0..faults {
            let n = self.stream.below(taking_part.len() as u64) as usize;
            let family = taking_part[n];
            if family == Family::LateStart {
                // A group starts once.
                taking_part.remove(n);
                if taking_part.is_empty() {
                    taking_part.push(Family::LeaderCrash);
                }
            }
            let after_another = !self.faults.is_empty() && self.stream.chance(1, 2);
            let when = if after_another && family != Family::LateStart {
                let (_, longest) = self.context.timeouts.outage_ms(Family::LeaderCrash);
                When::AfterFault {
                    fault: self.faults.len() - 1,
                    delay_ms: self.stream.range(0, longest),
                }
            } else {
                self.strike(family)
            };
            self.strike_once(family, when);
        }
    }
}

#[cfg(test)]
mod tests {
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
            Family::ClusterPowerLoss,
            Family::LeaderCutFromController,
            Family::LeaderCutFromFollowers,
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
        let counts: std::collections::BTreeSet<usize> =
            plans.iter().map(|p| p.faults.len()).collect();
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
    fn random_has_one_to_four_faults_and_reaches_every_family() {
        let plans = plans(Family::Random);
        assert!(plans.iter().all(|p| (1..=4).contains(&p.faults.len())));
        let has = |test: &dyn Fn(&Fault) -> bool| plans.iter().flat_map(|p| &p.faults).any(test);
        assert!(has(
            &|f| f.what == What::Crash && matches!(f.whom, Whom::LeaderOf(_))
        ));
        assert!(has(&|f| f.whom == Whom::AllBrokers));
        assert!(has(&|f| matches!(f.what, What::CutFromFollowers { .. })));
        assert!(has(&|f| matches!(f.what, What::CutFromController { .. })));
        assert!(has(&|f| f.what == What::MoveLeader));
        assert!(has(&|f| matches!(f.whom, Whom::Producer(_))));
        assert!(has(&|f| matches!(
            f.whom,
            Whom::Consumer(_) | Whom::WhereItHappened
        )));
        assert!(has(&|f| f.what == What::ResetConnections));
        for plan in &plans {
            let starts = plan
                .faults
                .iter()
                .filter(|f| f.what == What::StartConsumers);
            assert!(starts.count() <= 1, "a group starts once");
        }
    }

    #[test]
    fn an_index_of_another_fault_points_backwards() {
        for family in Family::ALL {
            for plan in plans(family) {
                for (i, fault) in plan.faults.iter().enumerate() {
                    if let When::AfterFault { fault: other, .. } = fault.when {
                        assert!(other < i);
                    }
                }
            }
        }
    }
}
