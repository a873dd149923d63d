//! Records that were in the log of a leader, and are gone.

use super::index::{facts, until};
use super::{Attribution, TOGETHER};
use crate::event::{EventKind, FaultEvent};
use crate::fault::DiskOperation;
use crate::history::{AppendedAt, Message, SendOutcome};
use crate::mechanism::Mechanism;
use everyack_broker::fact::{Fact, Gaps};
use everyack_broker::ids::*;
use everyack_broker::time::Nanos;

/// What took a record from a replica that had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    /// A power loss, with what was not synced.
    Power,
    /// The disk was replaced.
    Disk,
    /// A power loss, though the disk had said that it was synced.
    Lie,
    /// A sync failed and dropped it.
    FailedSync,
    /// A recovery cut it off at a damaged batch.
    Damage,
}

/// A leader that had the record.
#[derive(Debug, Clone, Copy)]
struct Reign {
    /// When it appended the record, or became the leader with it in its log.
    since: Nanos,
    node: NodeId,
    epoch: LeaderEpoch,
}

impl<'a> Attribution<'a> {
    /// The record was in the log of a leader. The election that passed it over decides: the first
    /// leader of a later epoch that has not got it. Its log may be longer all the same, with other
    /// records at these offsets.
    pub(super) fn explain_removed(
        &self,
        message: &Message,
        append: AppendedAt,
    ) -> Option<Mechanism> {
        let id = self.id(message);
        let mut holders = vec![Reign {
            since: append.at,
            node: append.node,
            epoch: append.leader_epoch,
        }];
        let passed = facts(&self.of(id).leaders).find_map(|(at, node, fact)| match fact {
            Fact::BecameLeader {
                leader_epoch,
                log_end,
                ..
            } if *leader_epoch > append.leader_epoch => {
                if *log_end <= append.offset || !self.holds(id, node, append, at) {
                    return Some((at, node, *leader_epoch));
                }
                let epoch = *leader_epoch;
                holders.push(Reign {
                    since: at,
                    node,
                    epoch,
                });
                None
            }
            _ => None,
        });
        let (elected_at, new_leader, new_epoch) = passed?;
        let alone = self.replicas[id.partition as usize].len() == 1;
        match self.how_gone(id, new_leader, append, elected_at) {
            Some(Gone::FailedSync) => return Some(Mechanism::S10),
            Some(Gone::Lie) => return Some(Mechanism::S12),
            Some(Gone::Damage) => return Some(Mechanism::S08),
            Some(_) if alone => return Some(Mechanism::S01),
            // The promise did not rest on this copy: the replica was outside the ISR. An unclean election
            // of it, while another has the record on its disk, is what lost it.
            Some(Gone::Power)
                if self.election(id, new_epoch).is_some_and(|e| e.1)
                    && !self.was_in_isr(id, new_leader, message)
                    && self.another_kept_it(id, new_leader, append, elected_at) => {}
            Some(Gone::Power) => {
                return Some(self.which_power_loss(id, new_leader, append, elected_at, new_epoch));
            }
            Some(Gone::Disk) => {
                return Some(self.which_lost_disk(id, new_leader, append, elected_at));
            }
            None => {}
        }
        let committed = self.was_committed(id, append, &holders, elected_at);
        let old_leader = *holders.last().expect("the leader that appended");
        if committed || self.promised_by_all(id, append, &holders) {
            let (decided_at, unclean) = self.election(id, new_epoch)?;
            // A clean election of a replica that never had a committed record: a bug, not Kafka.
            return unclean.then(|| self.which_unclean(id, append, old_leader, decided_at));
        }
        Some(self.which_failover(id, old_leader, new_epoch))
    }

    /// How this replica, which had the record, lost it to its machine: nothing says that the log came
    /// back with it; it was cut at recovery, or the whole file was gone.
    fn how_gone(
        &self,
        id: TopicPartition,
        node: NodeId,
        append: AppendedAt,
        at: Nanos,
    ) -> Option<Gone> {
        let (mut has, mut dropped) = (false, false);
        let mut damaged_from = Offset::MAX;
        let (mut lies, mut told_durable) = (false, false);
        let mut gone = None;
        let events = until(&self.of(id).logs, at).iter();
        for event in events.filter(|e| e.node == node) {
            match &event.kind {
                EventKind::Fact(Fact::Appended {
                    base_offset,
                    last_offset,
                    leader_epoch,
                    ..
                }) if (*base_offset..=*last_offset).contains(&append.offset)
                    && *leader_epoch >= append.leader_epoch =>
                {
                    (has, dropped, gone) = (true, false, None);
                    told_durable = false;
                }
                EventKind::Fault(FaultEvent::DiskLies) => lies = true,
                EventKind::Fault(FaultEvent::DiskHealed) => lies = false,
                EventKind::Fact(Fact::Flushed { offset, .. }) => {
                    told_durable |= lies && has && *offset > append.offset;
                }
                EventKind::Fault(FaultEvent::StoredDamaged {
                    partition, first, ..
                }) if *partition == id.partition => damaged_from = damaged_from.min(*first),
                EventKind::Fault(FaultEvent::PowerLost { .. }) if has && gone.is_none() => {
                    gone = Some(match told_durable {
                        true => Gone::Lie,
                        false => Gone::Power,
                    });
                }
                EventKind::Fault(FaultEvent::DiskDestroyed) if has => gone = Some(Gone::Disk),
                EventKind::Fault(FaultEvent::DiskFailed {
                    operation: DiskOperation::Sync,
                    ..
                }) => dropped = has,
                EventKind::Fact(Fact::LogRecovered { log_end, gaps, .. }) => {
                    if has_recovered(*log_end, gaps, append.offset) {
                        (dropped, gone) = (false, None);
                    } else if dropped && gone.is_none() {
                        gone = Some(Gone::FailedSync);
                    } else if has && damaged_from <= append.offset && gone.is_none() {
                        gone = Some(Gone::Damage);
                    }
                    if *log_end <= damaged_from {
                        damaged_from = Offset::MAX;
                    }
                }
                EventKind::Fact(Fact::Truncated { to, .. }) if *to <= append.offset => {
                    (has, dropped, gone) = (false, false, None);
                    told_durable = false;
                    if *to <= damaged_from {
                        damaged_from = Offset::MAX;
                    }
                }
                _ => {}
            }
        }
        gone
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

    /// Whether a replica was in the controller's ISR when the message was acknowledged.
    fn was_in_isr(&self, id: TopicPartition, node: NodeId, message: &Message) -> bool {
        let SendOutcome::Acked { at: acked_at, .. } = message.outcome else {
            return false;
        };
        let changes = facts(until(&self.of(id).leaders, acked_at));
        let isr = changes.filter_map(|(_, _, fact)| match fact {
            Fact::PartitionChanged { isr, .. } => Some(isr),
            _ => None,
        });
        isr.last()
            .is_none_or(|isr| isr.iter().any(|b| NodeId::of_broker(*b) == node))
    }

    /// Whether a replica other than the new leader had the record on its disk when that was elected, also
    /// through a power loss of its own, as its next recovery says.
    fn another_kept_it(
        &self,
        id: TopicPartition,
        new_leader: NodeId,
        append: AppendedAt,
        elected_at: Nanos,
    ) -> bool {
        self.replicas[id.partition as usize].iter().any(|&broker| {
            let node = NodeId::of_broker(broker);
            if node == new_leader || !self.holds(id, node, append, elected_at) {
                return false;
            }
            let mut losses = self.faults().filter(|(at, n, fault)| {
                *n == node
                    && (append.at..=elected_at).contains(at)
                    && matches!(fault, FaultEvent::PowerLost { .. })
            });
            let Some((lost_at, ..)) = losses.next() else {
                return true;
            };
            let later = facts(&self.of(id).logs).filter(|(at, n, _)| *n == node && *at > lost_at);
            let mut recovered = later.filter_map(|(_, _, fact)| match fact {
                Fact::LogRecovered { log_end, gaps, .. } => {
                    Some(has_recovered(*log_end, gaps, append.offset))
                }
                _ => None,
            });
            recovered.next().unwrap_or(false)
        })
    }

    fn which_lost_disk(
        &self,
        id: TopicPartition,
        new_leader: NodeId,
        append: AppendedAt,
        elected_at: Nanos,
    ) -> Mechanism {
        let copy_elsewhere = self.replicas[id.partition as usize].iter().any(|&broker| {
            let node = NodeId::of_broker(broker);
            node != new_leader && self.holds(id, node, append, elected_at)
        });
        match copy_elsewhere {
            true => Mechanism::S20,
            false => Mechanism::R01,
        }
    }

    /// Whether a replica's log held the record at that instant, as far as the facts tell.
    pub(super) fn holds(
        &self,
        id: TopicPartition,
        node: NodeId,
        append: AppendedAt,
        at: Nanos,
    ) -> bool {
        // The last event that says anything about it decides.
        let events = until(&self.of(id).logs, at).iter().rev();
        let mut told = events.filter(|e| e.node == node).filter_map(|event| {
            match &event.kind {
                // Of an earlier epoch it is another record at this offset.
                EventKind::Fact(Fact::Appended {
                    base_offset,
                    last_offset,
                    leader_epoch,
                    ..
                }) => (*base_offset..=*last_offset)
                    .contains(&append.offset)
                    .then_some(*leader_epoch >= append.leader_epoch),
                EventKind::Fact(Fact::Truncated { to, .. }) => {
                    (*to <= append.offset).then_some(false)
                }
                EventKind::Fact(Fact::LogRecovered { log_end, gaps, .. }) => {
                    (!has_recovered(*log_end, gaps, append.offset)).then_some(false)
                }
                EventKind::Fault(FaultEvent::DiskDestroyed) => Some(false),
                _ => None,
            }
        });
        told.next().unwrap_or(false)
    }

    /// Whether the high watermark of a leader that had the record passed it before the election.
    fn was_committed(
        &self,
        id: TopicPartition,
        append: AppendedAt,
        holders: &[Reign],
        elected_at: Nanos,
    ) -> bool {
        facts(until(&self.of(id).high_watermarks, elected_at))
            .filter(|(at, _, _)| *at >= append.at)
            .any(|(at, node, fact)| {
                matches!(fact, Fact::HighWatermark { offset, .. } if *offset > append.offset)
                    && holders.iter().any(|h| h.node == node && h.since <= at)
            })
    }

    /// Whether a leader that had the record answered acks=all for it: the one that appended it, or one
    /// that knew the retry for a duplicate.
    fn promised_by_all(&self, id: TopicPartition, append: AppendedAt, holders: &[Reign]) -> bool {
        facts(&self.of(id).answers).any(|(at, node, fact)| {
            matches!(fact, Fact::ProduceAnswered { base_offset, last_offset, acks: -1, error, .. }
                if error.is_none() && (*base_offset..=*last_offset).contains(&append.offset))
                && holders.iter().any(|h| h.node == node && h.since <= at)
        })
    }

    /// When the controller elected the leader of an epoch, and whether uncleanly.
    fn election(&self, id: TopicPartition, epoch: LeaderEpoch) -> Option<(Nanos, bool)> {
        facts(&self.of(id).leaders).find_map(|(at, _, fact)| match fact {
            Fact::PartitionChanged {
                leader_epoch,
                unclean,
                ..
            } if *leader_epoch == epoch => Some((at, *unclean)),
            _ => None,
        })
    }

    /// The controller's ISR right before the first change to an epoch.
    fn isr_before(&self, id: TopicPartition, epoch: LeaderEpoch) -> Option<&'a [BrokerId]> {
        let mut last = None;
        for (_, _, fact) in facts(&self.of(id).leaders) {
            if let Fact::PartitionChanged {
                leader_epoch, isr, ..
            } = fact
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
        old_leader: Reign,
        elected_at: Nanos,
    ) -> Mechanism {
        let old_leader_died = self
            .died_after(old_leader.node, old_leader.since)
            .is_some_and(|at| at <= elected_at);
        if !old_leader_died {
            return Mechanism::R04;
        }
        // The ISR shrinks to its last member as brokers are fenced one by one, so what counts is how
        // many replicas had the record when it was promised.
        let copies = self.replicas[id.partition as usize]
            .iter()
            .filter(|b| self.holds(id, NodeId::of_broker(**b), append, elected_at))
            .count();
        if copies >= 2 {
            Mechanism::R03
        } else {
            Mechanism::R02
        }
    }

    fn which_failover(
        &self,
        id: TopicPartition,
        old_leader: Reign,
        new_epoch: LeaderEpoch,
    ) -> Mechanism {
        // The election that took the leadership away from the record's leader.
        let taken_at = facts(&self.of(id).leaders)
            .find_map(|(at, _, fact)| match fact {
                Fact::PartitionChanged { leader_epoch, .. }
                    if *leader_epoch > old_leader.epoch && *leader_epoch <= new_epoch =>
                {
                    Some(at)
                }
                _ => None,
            })
            .unwrap_or(old_leader.since);
        let fenced = facts(&self.index.fenced).any(|(at, _, fact)| {
            matches!(fact, Fact::BrokerFenced { broker }
                if NodeId::of_broker(*broker) == old_leader.node)
                && at <= taken_at
                && at.abs_diff(taken_at) <= TOGETHER
        });
        let moved = self.faults().any(|(at, _, fault)| {
            matches!(fault, FaultEvent::LeaderMoveAsked { partition } if *partition == id.partition)
                && at <= taken_at
                && at.abs_diff(taken_at) <= TOGETHER
        });
        let died = self
            .died_after(old_leader.node, old_leader.since)
            .filter(|at| *at <= taken_at);
        if (moved || self.is_shutting_down(old_leader.node, taken_at)) && !fenced {
            return Mechanism::P05;
        }
        match died {
            Some(at) if self.failed_by_disk(old_leader.node, at) => Mechanism::S10,
            Some(_) => Mechanism::P04,
            None if fenced => Mechanism::P06,
            // Nobody asked: the preferred leader got the leadership back.
            None => Mechanism::P05,
        }
    }

    /// Whether the process that ran on a node at that instant had been asked to end in order.
    fn is_shutting_down(&self, node: NodeId, at: Nanos) -> bool {
        let mut asked = false;
        for (_, n, fault) in self.faults().take_while(|(when, _, _)| *when <= at) {
            match fault {
                FaultEvent::ShutDownAsked if n == node => asked = true,
                FaultEvent::Started { .. } if n == node => asked = false,
                _ => {}
            }
        }
        asked
    }

    /// Whether the process that was gone from a node at that instant had ended over its disk.
    fn failed_by_disk(&self, node: NodeId, died_at: Nanos) -> bool {
        let (mut failed, mut ended) = (false, false);
        let faults = self.faults().take_while(|(at, _, _)| *at <= died_at);
        for (_, _, fault) in faults.filter(|(_, n, _)| *n == node) {
            match fault {
                FaultEvent::DiskFailed { .. } => failed = true,
                FaultEvent::Halted => ended = failed,
                FaultEvent::Started { .. } => (failed, ended) = (false, false),
                _ => {}
            }
        }
        ended
    }
}

/// Whether a log that ends there after its recovery has a record at that offset.
fn has_recovered(log_end: Offset, gaps: &Option<Box<Gaps>>, offset: Offset) -> bool {
    log_end > offset && !gaps.as_ref().is_some_and(|gaps| gaps.contain(offset))
}
