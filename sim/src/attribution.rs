//! Why a message was lost: a mechanism for each broken promise, from the events of the run alone.
//!
//! Neither the configuration nor the fault plan nor the guarantee model is read here. What cannot be
//! put down to a mechanism stays unexplained, and a cell with such a loss is broken.
//!
//! Where several mechanisms apply, the first of this order is named:
//! 1. a record that no leader ever appended (possible under acks=0 only): where its request was last
//!    seen: refused (P20, P03, P02), waiting at a broker that died (P19), else on its way (P02 behind
//!    a refusal, P01);
//! 2. a record that is still where it was stored, behind a damaged batch of the leader's log, or in it:
//!    S09;
//! 3. a record that the next leader without it had held and that its disk then lost: S08 when a recovery
//!    cut its log at a damaged batch, S12 when the disk had told it that the record was durable. S01 when
//!    the partition has one replica and its power or its disk was gone. With its power: R05 when that leader
//!    was the whole ISR while a replica that never lost power still held the record, else S02. With its
//!    disk, which was replaced: S20 while another replica held the record, else R01. With a sync that
//!    failed: S10;
//! 4. a record that was committed (the high watermark had passed it) or promised by acks=all, and
//!    passed over by an unclean election: R04 when the old leader lived on, else R03 when the ISR had
//!    several members, else R02;
//! 5. a record that was not committed when another leader without it was elected: P05 when the
//!    leadership was moved, or its leader shut down in order, S10 when the old leader had ended over its
//!    disk, P04 when it had died otherwise, P06 when it lived on and was fenced;
//! 6. a skipped record: C05 or C02 when an exception ended the application's loop, a commit on its way out
//!    passed the record and the next start went on behind it; C21 or C20 when its handler had thrown before a commit passed it, and the record
//!    had been handed to a dead-letter topic or not; C04 when it was delivered and a commit had passed it
//!    before its processing; C12 or C18 when a reset without a committed offset passed it, C14 when a
//!    reset out of range did, C15 when the log had been cut below the position;
//! 7. a hidden record: P08 when it was appended while the high watermark stood still to the end.

mod consumer;
mod index;
mod removed;
#[cfg(test)]
mod tests;

use crate::check::verdict::Broken;
use crate::event::{ClientEvent, Event, EventKind, FaultEvent};
use crate::history::{Message, SendOutcome};
use crate::mechanism::Mechanism;
use crate::result::LossVerdict;
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;
use everyack_broker::time::{Nanos, SECONDS};
use everyack_broker::wire::ErrorCode;
use index::{Index, OfPartition, facts};

/// How far apart a refusal, or the end of a connection, and an acks=0 send may lie to belong together:
/// generous beside any latency, small beside the time between faults.
const TOGETHER: Nanos = SECONDS;

/// The events of a run, and what is needed to read them.
pub struct Attribution<'a> {
    events: &'a [Event],
    index: Index<'a>,
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
            index: Index::of(events, topic, replicas.len()),
            topic,
            replicas,
            reader_of,
        }
    }

    /// The mechanism behind a broken promise; `None` is unexplained.
    pub fn explain(&self, message: &Message, broken: &Broken) -> Option<Mechanism> {
        if broken.verdict != LossVerdict::Skipped && self.is_behind_damage(message, broken.verdict)
        {
            return Some(Mechanism::S09);
        }
        match broken.verdict {
            LossVerdict::Lost | LossVerdict::LostOnDisk => self.explain_lost(message),
            LossVerdict::Skipped => self.explain_skipped(message, broken.found?),
            LossVerdict::Hidden => self.explain_hidden(message, broken.found?),
        }
    }

    fn faults(&self) -> impl Iterator<Item = (Nanos, NodeId, &'a FaultEvent)> {
        self.index.faults.iter().filter_map(|e| match &e.kind {
            EventKind::Fault(fault) => Some((e.at, e.node, fault)),
            _ => None,
        })
    }

    /// The events that concern a partition of the topic; none where it is not known which it is.
    fn of(&self, id: TopicPartition) -> &OfPartition<'a> {
        self.index.of_partition(id.partition)
    }

    fn id(&self, message: &Message) -> TopicPartition {
        TopicPartition::new(self.topic, message.id.partition)
    }

    // ---- lost -------------------------------------------------------------------------------

    fn explain_lost(&self, message: &Message) -> Option<Mechanism> {
        let SendOutcome::Acked { at: acked_at, .. } = message.outcome else {
            return None;
        };
        // Of several appends (retries) the acknowledgement stands for that of the latest leadership. A
        // leader that was deposed may have appended the first try after that, when it went on from a
        // pause, and even after the acknowledgement.
        let told = message.appends.iter().filter(|a| a.at <= acked_at);
        let stands_for = told.max_by_key(|a| (a.leader_epoch, a.at));
        match stands_for.or(message.appends.last()) {
            None => self.explain_never_appended(message, acked_at),
            Some(append) => self.explain_removed(message, *append),
        }
    }

    /// Whether the log of the last leader still holds the record behind a damaged batch, or in it; or its
    /// reader has been stuck in front of one to the end.
    fn is_behind_damage(&self, message: &Message, verdict: LossVerdict) -> bool {
        let Some(append) = message.appends.last() else {
            return false;
        };
        let damages =
            |(_, _, fault): (_, _, &FaultEvent)| matches!(fault, FaultEvent::StoredDamaged { .. });
        if !self.faults().any(damages) {
            return false;
        }
        let id = self.id(message);
        if let Some((leader, from)) = self.damaged_from(id)
            && from <= append.offset
        {
            return self.holds(id, leader, *append, Nanos::MAX);
        }
        verdict == LossVerdict::Hidden && self.is_stuck((self.reader_of)(id.partition))
    }

    /// Whether a consumer is in front of a damaged batch when the run ends. It is with all of its
    /// partitions (`FetchCollector.collectFetch` takes the next fetch only once it is through with one),
    /// and goes on throwing when another broker leads that has the batch whole: what it has fetched
    /// stays (`CompletedFetch.fetchRecords`, corruptLastRecord).
    fn is_stuck(&self, reader: NodeId) -> bool {
        let polled = self.events.iter().filter(|e| e.node == reader);
        let mut ends = polled.rev().filter_map(|e| match &e.kind {
            EventKind::Client(ClientEvent::PollFailed(_)) => Some(true),
            EventKind::Client(ClientEvent::Delivered { .. }) => Some(false),
            _ => None,
        });
        let has_led = |node: NodeId, led: i32| {
            let leaders = &self.index.of_partition(led).leaders;
            facts(leaders)
                .any(|(_, n, fact)| n == node && matches!(fact, Fact::BecameLeader { .. }))
        };
        ends.next() == Some(true)
            && self.faults().any(|(_, node, fault)| {
                matches!(fault, FaultEvent::StoredDamaged { partition, .. }
                    if (self.reader_of)(*partition) == reader && has_led(node, *partition))
            })
    }

    /// The last leader of a partition and the first damaged offset of its log, if there is one.
    fn damaged_from(&self, id: TopicPartition) -> Option<(NodeId, Offset)> {
        let leaders = facts(&self.of(id).leaders).filter_map(|(_, node, fact)| match fact {
            Fact::BecameLeader { .. } => Some(node),
            _ => None,
        });
        let leader = leaders.last()?;
        // Where the earliest damage begins that was not cut off since.
        let mut damaged_from: Option<Offset> = None;
        let logs = self.of(id).logs.iter();
        for event in logs.filter(|event| event.node == leader) {
            match &event.kind {
                EventKind::Fault(FaultEvent::StoredDamaged {
                    partition, first, ..
                }) if *partition == id.partition => {
                    damaged_from = Some(damaged_from.map_or(*first, |from| (*first).min(from)));
                }
                EventKind::Fact(Fact::Truncated { to, .. }) => {
                    damaged_from = damaged_from.filter(|from| from < to);
                }
                EventKind::Fact(Fact::LogRecovered { log_end, .. }) => {
                    damaged_from = damaged_from.filter(|from| from < log_end);
                }
                _ => {}
            }
        }
        damaged_from.map(|from| (leader, from))
    }

    fn explain_never_appended(&self, message: &Message, acked_at: Nanos) -> Option<Mechanism> {
        let id = self.id(message);
        if let Some((arrived_at, node)) = message.arrived {
            let refusal = facts(&self.of(id).answers).find_map(|(at, n, fact)| match fact {
                Fact::ProduceAnswered { acks: 0, error, .. }
                    if n == node && at >= arrived_at && !error.is_none() =>
                {
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
                None => Some(self.dropped_with_connection(acked_at)),
            };
        }
        // An acknowledgement with no request behind it exists under acks=0 only: where an offset was
        // told, somebody claims to have appended it.
        match message.outcome {
            SendOutcome::Acked { offset: -1, .. } => Some(self.dropped_with_connection(acked_at)),
            _ => None,
        }
    }

    /// P02 when the connection was closed by the broker's refusal of an earlier request, else P01.
    fn dropped_with_connection(&self, acked_at: Nanos) -> Mechanism {
        let near = |at: Nanos| at.abs_diff(acked_at) <= TOGETHER;
        let mut answers = self.index.partitions.iter().flat_map(|p| facts(&p.answers));
        let refused = answers.any(|(at, _, fact)| {
            matches!(fact, Fact::ProduceAnswered { acks: 0, error, .. } if !error.is_none())
                && near(at)
        });
        let struck = self.faults().any(|(at, _, fault)| {
            let ends_connections = matches!(
                fault,
                FaultEvent::Killed
                    | FaultEvent::Halted
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

    /// When the process on a node was gone: killed, powerless, or ended by itself.
    fn died_after(&self, node: NodeId, since: Nanos) -> Option<Nanos> {
        self.faults().find_map(|(at, n, fault)| {
            let died = matches!(
                fault,
                FaultEvent::Killed | FaultEvent::Halted | FaultEvent::PowerLost { .. }
            );
            (died && n == node && at >= since).then_some(at)
        })
    }
}
