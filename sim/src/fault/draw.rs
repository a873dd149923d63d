//! Plans drawn by family from a seeded stream, in integers only.
//!
//! A plan depends on the family, the timeouts, the topology and the amount of work, never on `acks`
//! or on any other setting whose promise is judged: the same seeds give the same plans on a
//! configuration and on its weaker twin.
//!
//! Not drawn: the precondition "full ISR", which a healthy cluster has when the producers start;
//! what a drawn power loss leaves on the disk, which the world draws when it strikes.

mod compound;
mod late;
#[cfg(test)]
mod tests;

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
    /// Brokers of the cluster.
    pub brokers: u32,
    /// Replicas of a partition.
    pub replication_factor: u32,
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
            brokers: topology.brokers.max(1),
            replication_factor: u32::try_from(topology.replication_factor)
                .unwrap_or(0)
                .max(1),
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
        family => {
            let when = drawing.strike(family);
            drawing.add(family, when);
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
            Family::ProcessingException => &[Trigger::Polled],
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

    /// Adds the faults of a family, of which the first strikes then.
    fn add(&mut self, family: Family, when: When) {
        match family.is_compound() {
            true => self.compound(family, when),
            false => self.strike_once(family, when),
        }
    }

    fn unsynced(&mut self) -> Unsynced {
        match self.stream.chance(1, 2) {
            true => Unsynced::Gone,
            false => Unsynced::Drawn,
        }
    }

    /// One of the followers of a partition, by its number.
    fn any_follower(&mut self) -> u32 {
        let others = match self.context.replication_factor {
            1 => self.context.brokers - 1,
            replicas => replicas - 1,
        };
        self.stream.below(u64::from(others)) as u32
    }

    /// Adds one fault of a family that strikes once.
    fn strike_once(&mut self, family: Family, when: When) {
        let unsynced = self.unsynced();
        let partition = match when {
            When::After { .. } => 0,
            _ => self.partition(),
        };
        let leader = Whom::LeaderOf(partition);
        let (what, whom) = match family {
            Family::ConnectionLoss if self.stream.chance(1, 2) => (What::ResetConnections, leader),
            Family::ConnectionLoss => (What::CutConnections, leader),
            Family::LeaderCrash => (What::Crash, leader),
            Family::LeaderPowerLoss => (What::PowerLoss { unsynced }, leader),
            Family::ClusterPowerLoss => (What::PowerLoss { unsynced }, Whom::AllBrokers),
            Family::ZonePowerLoss => {
                let follower = self.any_follower();
                let zone = Whom::LeaderAndFollowerOf(partition, follower);
                (What::PowerLoss { unsynced }, zone)
            }
            Family::LeaderCutFromFollowers => {
                let direction = self.direction();
                (What::CutFromFollowers { direction }, leader)
            }
            Family::LeaderCutFromController => {
                let direction = self.direction();
                (What::CutFromController { direction }, leader)
            }
            Family::LeaderCutFromClients => {
                let direction = self.direction();
                (What::CutFromClients { direction }, leader)
            }
            Family::ZombieLeader => {
                let n = self.stream.below(u64::from(self.context.producers)) as u32;
                let only_producer = self.stream.chance(1, 2).then_some(n);
                (What::CutFromCluster { only_producer }, leader)
            }
            Family::LeaderPause => (What::Pause, leader),
            Family::LeaderMove => (What::MoveLeader, Whom::LeaderOf(0)),
            Family::SlowFollower => {
                let follower = self.any_follower();
                (self.slow_disk(), Whom::FollowerOf(partition, follower))
            }
            Family::SlowLeader => (self.slow_disk(), leader),
            Family::DiskFull => {
                let nth = self.stream.range(1, 8) as u32;
                (What::FillDisk { nth }, leader)
            }
            Family::DiskError => (self.disk_error(), leader),
            Family::DiskDestroyed => (What::DestroyDisk, leader),
            Family::BitRot => {
                let at_leader = self.context.replication_factor == 1 || self.stream.chance(3, 4);
                let whom = match at_leader {
                    true => leader,
                    false => Whom::FollowerOf(partition, self.any_follower()),
                };
                (self.damage(), whom)
            }
            Family::ClockJump => {
                let n = self
                    .stream
                    .below(u64::from(self.context.replication_factor))
                    as u32;
                (self.wrong_clock(), Whom::ReplicaOf(partition, n))
            }
            Family::ProducerCrash => {
                let n = self.stream.below(u64::from(self.context.producers)) as u32;
                (What::Crash, Whom::Producer(n))
            }
            Family::ConsumerCrash => (What::Crash, self.consumer(&when)),
            Family::LateStart => (What::StartConsumers, Whom::Consumer(0)),
            Family::ProcessingException => {
                let records = self.stream.range(1, 3) as u32;
                let times = match self.stream.chance(1, 2) {
                    true => 1,
                    false => u32::MAX,
                };
                (
                    What::FailProcessing { records, times },
                    self.consumer(&when),
                )
            }
            Family::None
            | Family::Random
            | Family::LateMessages
            | Family::RollingCrash
            | Family::RollingPowerLoss
            | Family::MixedRestart
            | Family::RollingRestart
            | Family::LyingDisk
            | Family::ShrunkIsrCrash
            | Family::ShrunkIsrPowerLoss
            | Family::ShrunkIsrDiskDestroyed
            | Family::LastIsrCrash
            | Family::LastIsrPowerLoss => panic!("{family} is not one fault"),
        };
        let for_ms = match what {
            What::ResetConnections
            | What::MoveLeader
            | What::StartConsumers
            | What::FlipBits { .. }
            | What::MisdirectWrite { .. } => 0,
            _ => self.outage_ms(family),
        };
        self.faults.push(Fault::new(when, what, whom, for_ms));
    }

    /// The consumer at which the event happened that sets a fault off, else any.
    fn consumer(&mut self, when: &When) -> Whom {
        match when {
            When::After { .. } => Whom::WhereItHappened,
            _ => Whom::Consumer(self.stream.below(u64::from(self.context.consumers)) as u32),
        }
    }

    /// Stalls longer than a follower may lag.
    fn slow_disk(&mut self) -> What {
        let lag = self.context.timeouts.replica_lag_time_max_ms;
        let stall_ms = self.stream.range(lag, lag.saturating_mul(2));
        What::SlowDisk { stall_ms }
    }

    /// Mostly the next writes or syncs, whatever they are for; with some seeds one kind of them.
    fn disk_error(&mut self) -> What {
        const NARROW: [(DiskOperation, FileKind); 5] = [
            (DiskOperation::Append, FileKind::Log),
            (DiskOperation::Create, FileKind::Checkpoint),
            (DiskOperation::Rename, FileKind::Checkpoint),
            (DiskOperation::Sync, FileKind::Checkpoint),
            (DiskOperation::Sync, FileKind::Directory),
        ];
        let (operation, files) = match self.stream.below(12) {
            0..=3 => (DiskOperation::Sync, None),
            4..=10 => (DiskOperation::Write, None),
            _ => {
                let n = self.stream.below(NARROW.len() as u64) as usize;
                (NARROW[n].0, Some(NARROW[n].1))
            }
        };
        What::FailDisk {
            operation,
            files,
            nth: self.stream.range(1, 4) as u32,
            lasting: self.stream.chance(1, 2),
            errno: Errno::Io,
        }
    }

    /// A bit of some batch flips, half of the time of one of the last, which are less likely read
    /// already; or the last write went elsewhere.
    fn damage(&mut self) -> What {
        if self.stream.chance(1, 3) {
            let permille = self.stream.range(0, 1_000) as u16;
            let to = match self.stream.chance(2, 3) {
                true => Elsewhere::SameFile { permille },
                false => Elsewhere::Nowhere,
            };
            let sectors = self.stream.range(1, 8) as u16;
            return What::MisdirectWrite { sectors, to };
        }
        let first = match self.stream.chance(1, 2) {
            true => 900,
            false => 0,
        };
        What::FlipBits {
            part: LogPart::All,
            permille: self.stream.range(first, 1_000) as u16,
            bit_permille: self.stream.range(0, 1_000) as u16,
        }
    }

    /// A clock that is wrong by about the lag limit, which brokers measure with it, or by hours; or that
    /// runs up to a fifth too fast or too slow.
    fn wrong_clock(&mut self) -> What {
        const HOUR_MS: u64 = 3_600_000;
        let lag = self.context.timeouts.replica_lag_time_max_ms;
        let back = self.stream.chance(1, 2);
        let signed = |by: u64| match back {
            true => -i64::try_from(by).unwrap_or(i64::MAX),
            false => i64::try_from(by).unwrap_or(i64::MAX),
        };
        match self.stream.below(4) {
            0 => What::ClockDrift {
                ppm: signed(self.stream.range(1_000, 200_000)),
            },
            1 => What::ClockJump {
                by_ms: signed(self.stream.range(HOUR_MS, 24 * HOUR_MS)),
            },
            _ => What::ClockJump {
                by_ms: signed(self.stream.range(lag / 2, lag.saturating_mul(3))),
            },
        }
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

    /// Swarm testing: first which families take part in this run, then one to four draws of them. A
    /// group starts once, and of the families that are several faults there is one at most, so that
    /// runs stay short.
    fn swarm(&mut self) {
        let mut taking_part: Vec<Family> = Vec::new();
        for family in Family::ALL {
            let of_its_own = matches!(family, Family::None | Family::LateMessages | Family::Random);
            if !of_its_own && self.stream.chance(1, 2) {
                taking_part.push(family);
            }
        }
        let draws = self.stream.range(1, RANDOM_FAULTS_MAX);
        let mut drawn_last = None;
        for _ in 0..draws {
            if taking_part.is_empty() {
                taking_part.push(Family::LeaderCrash);
            }
            let n = self.stream.below(taking_part.len() as u64) as usize;
            let family = taking_part[n];
            let after_another = drawn_last.is_some() && self.stream.chance(1, 2);
            let when = match drawn_last {
                Some(fault) if after_another && family != Family::LateStart => {
                    let (_, longest) = self.context.timeouts.outage_ms(Family::LeaderCrash);
                    When::AfterFault {
                        fault,
                        delay_ms: self.stream.range(0, longest),
                    }
                }
                _ => self.strike(family),
            };
            let first = self.faults.len();
            drawn_last = Some(first);
            self.add(family, when);
            let compound = self.faults.len() > first + 1;
            taking_part.retain(|other| match family {
                Family::LateStart => *other != Family::LateStart,
                _ => !(compound && other.is_compound()),
            });
        }
    }
}
