//! Why a message was lost: a mechanism for each broken promise, from the events of the run alone.
//!
//! Neither the configuration nor the fault plan nor the guarantee model is read here. What cannot be
//! put down to a mechanism stays unexplained, and a cell with such a loss is broken.
//!
//! Where several mechanisms apply, the first of this order is named:
//! 1. a record that no leader ever appended (possible under acks=0 only): where its request was last
//!    seen: refused (P20, P03, P02), waiting at a broker that died (P19), else on its way (P02 behind
//!    a refusal, P01);
//! 2. a record that the next leader without it had held and lost with its power: S01 when no other
//!    broker ever had a copy by assignment (RF 1), R05 when that leader was the whole ISR while a
//!    replica that never lost power still held the record, else S02;
//! 3. a record that was committed (the high watermark had passed it) or promised by acks=all, and
//!    passed over by an unclean election: R04 when the old leader lived on, else R03 when the ISR had
//!    several members, else R02;
//! 4. a record that was not committed when another leader without it was elected: P05 when an operator
//!    had moved the leadership, P04 when the old leader had died, else P06;
//! 5. a skipped record: C12 or C18 when a reset without a committed offset passed it, C14 when a
//!    reset out of range did, C04 when it was delivered and a commit had passed it before its
//!    processing, C15 when the log had been cut below the position;
//! 6. a hidden record: P08 when it was appended while the high watermark stood still to the end.

use crate::check::verdict::Broken;
use crate::event::{Event, EventKind, FaultEvent};
use crate::history::{AppendedAt, Message, SendOutcome};
use crate::mechanism::Mechanism;
use crate::result::LossVerdict;
use everyack_broker::fact::{Fact, PositionResetReason};
use everyack_broker::ids::*;
use everyack_broker::time::{Nanos, SECONDS};
use everyack_broker::wire::ErrorCode;

/// How far apart a refusal, or the end of a connection, and an acks=0 send may lie to belong together:
/// generous beside any latency, small beside the time between faults.
const TOGETHER: Nanos = SECONDS;

/// The events of a run, and what is needed to read them.
pub struct Attribution<'a> {
    events: &'a [Event],
    topic: TopicId,
    replicas: &'a [Vec<BrokerId>],
    /// Consumer nodes by the partitions assigned to them.
    reader_of: &'a dyn Fn(i32) -> NodeId,
}

impl<'a> Attribution<'a> {
    /// `replicas` is the assignment of each partition of the topic.
    pub fn new(
        events: &'a [Event],
        topic: TopicId,
        replicas: &'a [Vec<BrokerId>],
        reader_of: &'a dyn Fn(i32) -> NodeId,
    ) -> Self {
        Attribution {
            events,
            topic,
            replicas,
            reader_of,
        }
    }

    /// The mechanism behind a broken promise; `None` is unexplained.
    pub fn explain(&self, message: &Message, broken: &Broken) -> Option<Mechanism> {
        match broken.verdict {
            LossVerdict::Lost | LossVerdict::LostOnDisk => self.explain_lost(message),
            LossVerdict::Skipped => self.explain_skipped(message, broken.found?),
            LossVerdict::Hidden => self.explain_hidden(message, broken.found?),
        }
    }

    fn facts(&self) -> impl Iterator<Item = (Nanos, NodeId, &'a Fact)> {
        self.events.iter().filter_map(|e| match &e.kind {
            EventKind::Fact(fact) => Some((e.at, e.node, fact)),
            _ => None,
        })
    }

    fn faults(&self) -> impl Iterator<Item = (Nanos, NodeId, &'a FaultEvent)> {
        self.events.iter().filter_map(|e| match &e.kind {
            EventKind::Fault(fault) => Some((e.at, e.node, fault)),
            _ => None,
        })
    }

    fn id(&self, message: &Message) -> TopicPartition {
        TopicPartition::new(self.topic, message.id.partition)
    }

    // ---- lost -------------------------------------------------------------------------------

    fn explain_lost(&self, message: &Message) -> Option<Mechanism> {
        let SendOutcome::Acked { at: acked_at, .. } = message.outcome else {
            return None;
        };
        // Of several appends (retries) the last one is what the acknowledgement stands for.
        match message.appends.last() {
            None => self.explain_never_appended(message, acked_at),
            Some(append) => self.explain_removed(message, *append),
        }
    }

    fn explain_never_appended(&self, message: &Message, acked_at: Nanos) -> Option<Mechanism> {
        let id = self.id(message);
        if let Some((arrived_at, node)) = message.arrived {
            let refusal = self.facts().find_map(|(at, n, fact)| match fact {
                Fact::ProduceAnswered {
                    partition,
                    acks: 0,
                    error,
                    ..
                } if *partition == id && n == node && at >= arrived_at && !error.is_none() => {
                    Some((at, *error))
                }
                _ => None,
            });
            let died_at = self.died_after(node, arrived_at);
            let refused = refusal.filter(|(at, _)| died_at.is_none_or(|d| *at < d));
            return match refused {
                Some((_, ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition)) => {
                    Some(Mechanism::P20)
                }
                Some((_, ErrorCode::NotLeaderOrFollower)) => Some(Mechanism::P03),
                Some(_) => Some(Mechanism::P02),
                None if died_at.is_some() => Some(Mechanism::P19),
                // It arrived, and its connection ended before its turn came.
                None => Some(self.dropped_with_connection(id, acked_at)),
            };
        }
        // An acknowledgement with no request behind it exists under acks=0 only: where an offset was
        // told, somebody claims to have appended it.
        match message.outcome {
            SendOutcome::Acked { offset: -1, .. } => {
                Some(self.dropped_with_connection(id, acked_at))
            }
            _ => None,
        }
    }

    /// P02 when the connection was closed by the broker's refusal of an earlier request, else P01.
    fn dropped_with_connection(&self, id: TopicPartition, acked_at: Nanos) -> Mechanism {
        let near = |at: Nanos| at.abs_diff(acked_at) <= TOGETHER;
        let refused = self.facts().any(|(at, _, fact)| {
            matches!(fact, Fact::ProduceAnswered { partition, acks: 0, error, .. }
                if partition.topic == id.topic && !error.is_none())
                && near(at)
        });
        let struck = self.faults().any(|(at, _, fault)| {
            let ends_connections = matches!(
                fault,
                FaultEvent::Killed
                    | FaultEvent::PowerLost { .. }
                    | FaultEvent::ConnectionReset { .. }
                    | FaultEvent::LinkCut { .. }
            );
            ends_connections && near(at)
        });
        if refused && !struck {
            Mechanism::P02
        } else {
            Mechanism::P01
        }
    }

    fn died_after(&self, node: NodeId, since: Nanos) -> Option<Nanos> {
        self.faults().find_map(|(at, n, fault)| {
            let died = matches!(fault, FaultEvent::Killed | FaultEvent::PowerLost { .. });
            (died && n == node && at >= since).then_some(at)
        })
    }

    /// The record was in the log of a leader. The election that passed it over decides: the first
    /// leader of a later epoch whose log ends at or below it.
    fn explain_removed(&self, message: &Message, append: AppendedAt) -> Option<Mechanism> {
        let id = self.id(message);
        let (elected_at, new_leader, new_epoch) =
            self.facts().find_map(|(at, node, fact)| match fact {
                Fact::BecameLeader {
                    partition,
                    leader_epoch,
                    log_end,
                } if *partition == id
                    && *leader_epoch > append.leader_epoch
                    && *log_end <= append.offset =>
                {
                    Some((at, node, *leader_epoch))
                }
                _ => None,
            })?;
        if self.lost_by_power(id, new_leader, append, elected_at) {
            return Some(self.which_power_loss(id, new_leader, append, elected_at, new_epoch));
        }
        let committed = self.was_committed(id, append, elected_at);
        let election = self.election(id, new_epoch);
        if committed || self.promised_by_all(id, append) {
            let (_, unclean) = election?;
            // A clean election of a replica that never had a committed record: a bug, not Kafka.
            return unclean
                .then(|| self.which_unclean(id, append, new_epoch))
                .flatten();
        }
        Some(self.which_failover(id, append, new_epoch))
    }

    /// Whether this replica had the record, its power went, and nothing says that the log came back
    /// with it: it was cut at recovery, or the whole file was gone.
    fn lost_by_power(
        &self,
        id: TopicPartition,
        node: NodeId,
        append: AppendedAt,
        until: Nanos,
    ) -> bool {
        let mut has = false;
        let mut powerless = false;
        let events = self.events.iter().take_while(|e| e.at <= until);
        for event in events.filter(|e| e.node == node) {
            match &event.kind {
                EventKind::Fact(Fact::Appended {
                    partition,
                    base_offset,
                    last_offset,
                    leader_epoch,
                    ..
                }) if *partition == id
                    && (*base_offset..=*last_offset).contains(&append.offset)
                    && *leader_epoch >= append.leader_epoch =>
                {
                    (has, powerless) = (true, false);
                }
                EventKind::Fault(FaultEvent::PowerLost { .. }) => powerless = has,
                EventKind::Fact(Fact::LogRecovered {
                    partition, log_end, ..
                }) if *partition == id.partition
                    && *log_end > append.offset
                    && self.is_of_topic(event) =>
                {
                    powerless = false;
                }
                EventKind::Fact(Fact::Truncated { partition, to, .. })
                    if *partition == id && *to <= append.offset =>
                {
                    (has, powerless) = (false, false);
                }
                _ => {}
            }
        }
        has && powerless
    }

    /// `LogRecovered` carries a name, not an id; internal topics begin with two underscores.
    fn is_of_topic(&self, event: &Event) -> bool {
        matches!(&event.kind, EventKind::Fact(Fact::LogRecovered { topic, .. })
            if !topic.starts_with("__"))
    }

    fn which_power_loss(
        &self,
        id: TopicPartition,
        new_leader: NodeId,
        append: AppendedAt,
        elected_at: Nanos,
        new_epoch: LeaderEpoch,
    ) -> Mechanism {
        let replicas = &self.replicas[id.partition as usize];
        if replicas.len() == 1 {
            return Mechanism::S01;
        }
        let alone = self
            .isr_before(id, new_epoch)
            .is_some_and(|isr| isr.len() == 1 && NodeId::of_broker(isr[0]) == new_leader);
        // A copy that no power loss has touched; one that survived in some pages is luck.
        let copy_elsewhere = replicas.iter().any(|&broker| {
            let node = NodeId::of_broker(broker);
            let kept_power = !self.faults().any(|(at, n, fault)| {
                n == node
                    && (append.at..=elected_at).contains(&at)
                    && matches!(fault, FaultEvent::PowerLost { .. })
            });
            node != new_leader && kept_power && self.holds(id, node, append, elected_at)
        });
        if alone && copy_elsewhere {
            Mechanism::R05
        } else {
            Mechanism::S02
        }
    }

    /// Whether a replica's log held the record at that instant, as far as the facts tell.
    fn holds(&self, id: TopicPartition, node: NodeId, append: AppendedAt, at: Nanos) -> bool {
        let mut holds = false;
        for event in self.events.iter().take_while(|e| e.at <= at) {
            if event.node != node {
                continue;
            }
            match &event.kind {
                EventKind::Fact(Fact::Appended {
                    partition,
                    base_offset,
                    last_offset,
                    ..
                }) if *partition == id
                    && (*base_offset..=*last_offset).contains(&append.offset) =>
                {
                    holds = true;
                }
                EventKind::Fact(Fact::Truncated { partition, to, .. })
                    if *partition == id && *to <= append.offset =>
                {
                    holds = false;
                }
                EventKind::Fact(Fact::LogRecovered {
                    partition, log_end, ..
                }) if *partition == id.partition
                    && *log_end <= append.offset
                    && self.is_of_topic(event) =>
                {
                    holds = false;
                }
                _ => {}
            }
        }
        holds
    }

    /// Whether the high watermark of the record's leadership passed it before the election.
    fn was_committed(&self, id: TopicPartition, append: AppendedAt, until: Nanos) -> bool {
        self.facts()
            .take_while(|(at, _, _)| *at <= until)
            .any(|(at, node, fact)| {
                matches!(fact, Fact::HighWatermark { partition, offset, as_leader: true }
                    if *partition == id && *offset > append.offset)
                    && at >= append.at
                    && node == append.node
            })
    }

    fn promised_by_all(&self, id: TopicPartition, append: AppendedAt) -> bool {
        self.facts().any(|(_, node, fact)| {
            matches!(fact, Fact::ProduceAnswered { partition, base_offset, last_offset, acks: -1, error }
                if *partition == id
                    && error.is_none()
                    && (*base_offset..=*last_offset).contains(&append.offset))
                && node == append.node
        })
    }

    /// When the controller elected the leader of an epoch, and whether uncleanly.
    fn election(&self, id: TopicPartition, epoch: LeaderEpoch) -> Option<(Nanos, bool)> {
        self.facts().find_map(|(at, _, fact)| match fact {
            Fact::PartitionChanged {
                partition,
                leader_epoch,
                unclean,
                ..
            } if *partition == id && *leader_epoch == epoch => Some((at, *unclean)),
            _ => None,
        })
    }

    /// The controller's ISR right before the first change to an epoch.
    fn isr_before(&self, id: TopicPartition, epoch: LeaderEpoch) -> Option<&'a [BrokerId]> {
        let mut last = None;
        for (_, _, fact) in self.facts() {
            if let Fact::PartitionChanged {
                partition,
                leader_epoch,
                isr,
                ..
            } = fact
                && *partition == id
            {
                if *leader_epoch >= epoch {
                    break;
                }
                last = Some(isr.as_slice());
            }
        }
        last
    }

    fn which_unclean(
        &self,
        id: TopicPartition,
        append: AppendedAt,
        new_epoch: LeaderEpoch,
    ) -> Option<Mechanism> {
        let (elected_at, _) = self.election(id, new_epoch)?;
        let old_leader_died = self
            .died_after(append.node, append.at)
            .is_some_and(|at| at <= elected_at);
        if !old_leader_died {
            return Some(Mechanism::R04);
        }
        // The ISR shrinks to its last member as brokers are fenced one by one, so what counts is how
        // many replicas had the record when it was promised.
        let copies = self.replicas[id.partition as usize]
            .iter()
            .filter(|b| self.holds(id, NodeId::of_broker(**b), append, elected_at))
            .count();
        if copies >= 2 {
            Some(Mechanism::R03)
        } else {
            Some(Mechanism::R02)
        }
    }

    fn which_failover(
        &self,
        id: TopicPartition,
        append: AppendedAt,
        new_epoch: LeaderEpoch,
    ) -> Mechanism {
        // The election that took the leadership away from the record's leader.
        let taken_at = self
            .facts()
            .find_map(|(at, _, fact)| match fact {
                Fact::PartitionChanged {
                    partition,
                    leader_epoch,
                    ..
                } if *partition == id
                    && *leader_epoch > append.leader_epoch
                    && *leader_epoch <= new_epoch =>
                {
                    Some(at)
                }
                _ => None,
            })
            .unwrap_or(append.at);
        let fenced = self.facts().any(|(at, _, fact)| {
            matches!(fact, Fact::BrokerFenced { broker }
                if NodeId::of_broker(*broker) == append.node)
                && at <= taken_at
                && at.abs_diff(taken_at) <= TOGETHER
        });
        let moved = self.faults().any(|(at, _, fault)| {
            matches!(fault, FaultEvent::LeaderMoveAsked { partition } if *partition == id.partition)
                && at <= taken_at
                && at.abs_diff(taken_at) <= TOGETHER
        });
        let died = self
            .died_after(append.node, append.at)
            .is_some_and(|at| at <= taken_at);
        if moved && !fenced {
            Mechanism::P05
        } else if died {
            Mechanism::P04
        } else {
            Mechanism::P06
        }
    }

    // ---- skipped and hidden -----------------------------------------------------------------

    fn explain_skipped(&self, message: &Message, offset: Offset) -> Option<Mechanism> {
        let id = self.id(message);
        let reader = (self.reader_of)(id.partition);
        if self.was_committed_before_processing(message, id, reader) {
            return Some(Mechanism::C04);
        }
        let mut committed_before = false;
        let mut cut_below_position = false;
        for (_, node, fact) in self.facts() {
            match fact {
                Fact::OffsetCommitted { partition, .. } if *partition == id => {
                    committed_before = true;
                }
                Fact::PositionReset {
                    partition,
                    to,
                    why,
                    from,
                } if *partition == id && node == reader && *to > offset => match why {
                    PositionResetReason::NoOffset if committed_before => {
                        return Some(Mechanism::C18);
                    }
                    PositionResetReason::NoOffset => return Some(Mechanism::C12),
                    PositionResetReason::OutOfRange if *from > *to || cut_below_position => {
                        return Some(Mechanism::C14);
                    }
                    PositionResetReason::OutOfRange
                    | PositionResetReason::Committed
                    | PositionResetReason::Truncation
                    | PositionResetReason::Seek => {}
                },
                Fact::BecameLeader {
                    partition, log_end, ..
                } if *partition == id && *log_end <= offset => cut_below_position = true,
                _ => {}
            }
        }
        cut_below_position.then_some(Mechanism::C15)
    }

    /// Whether a commit passed the record after it was delivered, by the consumer that held it: before
    /// a later start of that consumer fixed its position anew.
    fn was_committed_before_processing(
        &self,
        message: &Message,
        id: TopicPartition,
        reader: NodeId,
    ) -> bool {
        message.delivered.iter().any(|&(delivered_at, offset)| {
            let next_start = self.facts().find_map(|(at, node, fact)| {
                let starts = matches!(fact, Fact::PositionReset { partition, why, .. }
                    if *partition == id
                        && matches!(why, PositionResetReason::Committed | PositionResetReason::NoOffset));
                (starts && node == reader && at > delivered_at).then_some(at)
            });
            let until = next_start.unwrap_or(Nanos::MAX);
            self.facts().any(|(at, _, fact)| {
                matches!(fact, Fact::OffsetCommitted { partition, offset: next, .. }
                    if *partition == id && *next > offset)
                    && (delivered_at..until).contains(&at)
            })
        })
    }

    fn explain_hidden(&self, message: &Message, offset: Offset) -> Option<Mechanism> {
        let id = self.id(message);
        let passed = self.facts().any(|(_, _, fact)| {
            matches!(fact, Fact::HighWatermark { partition, offset: hw, as_leader: true }
                if *partition == id && *hw > offset)
        });
        (!passed).then_some(Mechanism::P08)
    }
}
