//! Marks: named points worth reaching. A suite lists those that its runs must reach; one never
//! reached is a failure of the suite, not silence.

use crate::check::by_partition::ByPartition;
use crate::cluster::TOPIC;
use crate::event::{ClientEvent, Event, EventKind, FaultEvent};
use everyack_broker::fact::{Fact, PositionResetReason};
use everyack_broker::ids::*;
use everyack_broker::wire::ErrorCode;
use std::collections::BTreeSet;

/// A mark: its name, and what a run that reached it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// In kebab case.
    pub name: &'static str,
    /// One sentence.
    pub sentence: &'static str,
}

macro_rules! marks {
    ($($name:literal: $sentence:literal,)*) => {
        /// Every mark.
        pub const ALL: &[Mark] = &[$(Mark { name: $name, sentence: $sentence },)*];
    };
}

marks! {
    "broker-fenced": "The controller fenced a broker whose session had ended.",
    "leader-elected": "The controller elected another leader of a partition under load.",
    "leader-moved": "An operator moved the leadership of a partition.",
    "isr-shrank-to-one": "The ISR of a partition that has several replicas shrank to one.",
    "isr-expanded": "A replica came back into the ISR.",
    "unclean-election": "A replica from outside the ISR was elected.",
    "truncation-dropped-records": "A replica cut records off its log.",
    "truncation-below-high-watermark": "A replica cut its log below its own high watermark.",
    "failover-with-unreplicated-tail": "A leader was succeeded by one whose log was shorter.",
    "power-loss-of-unsynced-bytes": "A machine lost power while its page cache held bytes that no sync covered.",
    "recovery-truncated-the-log": "A log was cut at a broken batch when it was recovered.",
    "not-enough-replicas": "A leader refused acks=all because the ISR was too small.",
    "produce-timed-out": "A leader gave up waiting for the ISR to copy an acks=all produce.",
    "append-to-deposed-leader": "A leader appended after the controller had elected another.",
    "append-after-a-pause": "A leader that had been stopped appended after the controller had elected another.",
    "log-directory-failed": "A broker took its log directory offline over a disk error.",
    "orderly-shutdown": "A broker shut down in order and left its clean-shutdown marker.",
    "clean-start": "A broker found its clean-shutdown marker and recovered nothing.",
    "empty-disk-led": "A broker whose disk had been replaced was elected with an empty log.",
    "batch-damaged": "A stored batch of a log was damaged.",
    "lying-disk-lost-power": "A machine whose disk lied about syncs lost power.",
    "handler-threw": "An application's handler threw on a record.",
    "send-failed": "A producer was told that a send had failed.",
    "failed-send-unseen": "A send failed, and its application looks at no results.",
    "duplicate-processing": "A message was processed twice.",
    "commit-failed": "A commit failed.",
    "coordinator-moved": "Another broker loaded a partition of __consumer_offsets.",
    "position-reset": "A consumer without a committed offset took its position from auto.offset.reset.",
    "position-truncated": "A consumer found that the log was cut below its position and went back (KIP-320).",
}

/// What is known of a partition.
#[derive(Debug, Default)]
struct Known {
    /// The controller's leader epoch and the size of its ISR.
    state: Option<(LeaderEpoch, usize)>,
    /// The end of the last leader's log.
    log_end: Option<Offset>,
}

impl Known {
    /// Whether the controller has elected another leader than that of the epoch.
    fn is_deposed(&self, leader_epoch: LeaderEpoch) -> bool {
        self.state.is_some_and(|(epoch, _)| epoch > leader_epoch)
    }
}

/// Collects the marks of one run.
#[derive(Debug, Default)]
pub struct Marks {
    reached: BTreeSet<&'static str>,
    partitions: ByPartition<Known>,
    loads: u32,
    producers_started: bool,
    /// Brokers that were stopped, and those whose disk was replaced, since their last start.
    stopped: BTreeSet<NodeId>,
    emptied: BTreeSet<NodeId>,
    /// Those whose disk lies.
    lied_to: BTreeSet<NodeId>,
}

impl Marks {
    /// The producers start: what happened before is set-up.
    pub fn begin(&mut self) {
        self.producers_started = true;
    }

    /// A message was processed once more.
    pub fn processed_again(&mut self) {
        self.reached.insert("duplicate-processing");
    }

    /// A send failed whose result nobody looks at.
    pub fn failed_unseen(&mut self) {
        self.reached.insert("failed-send-unseen");
    }

    /// The marks reached, sorted.
    pub fn names(&self) -> Vec<String> {
        self.reached.iter().map(|m| (*m).to_string()).collect()
    }

    /// Takes an event; none of [those of replication](Event::of_replication) marks anything.
    pub fn see(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Fact(fact) => {
                self.see_node(event.node, fact);
                self.see_fact(fact);
            }
            EventKind::Fault(FaultEvent::Paused) => {
                self.stopped.insert(event.node);
            }
            EventKind::Fault(FaultEvent::DiskDestroyed) => {
                self.emptied.insert(event.node);
            }
            EventKind::Fault(FaultEvent::StoredDamaged { .. }) => self.reach("batch-damaged"),
            EventKind::Fault(FaultEvent::DiskLies) => {
                self.lied_to.insert(event.node);
            }
            EventKind::Fault(FaultEvent::DiskHealed) => {
                self.lied_to.remove(&event.node);
            }
            EventKind::Fault(FaultEvent::Started { .. }) => {
                self.stopped.remove(&event.node);
            }
            EventKind::Fault(FaultEvent::PowerLost { .. })
                if self.lied_to.contains(&event.node) =>
            {
                self.reach("lying-disk-lost-power");
                self.reach("power-loss-of-unsynced-bytes");
            }
            EventKind::Client(ClientEvent::ProcessingFailed { .. }) => self.reach("handler-threw"),
            EventKind::Fault(FaultEvent::PowerLost { unsynced_bytes, .. })
                if *unsynced_bytes > 0 =>
            {
                self.reach("power-loss-of-unsynced-bytes");
            }
            EventKind::Fault(FaultEvent::LeaderMoveAsked { .. }) => self.reach("leader-moved"),
            EventKind::Client(ClientEvent::SendFailed(..)) => self.reach("send-failed"),
            EventKind::Client(ClientEvent::CommitFailed(_)) => self.reach("commit-failed"),
            _ => {}
        }
    }

    #[cold]
    fn reach(&mut self, name: &'static str) {
        if self.producers_started {
            debug_assert!(ALL.iter().any(|m| m.name == name), "no mark {name}");
            self.reached.insert(name);
        }
    }

    /// What matters together with what was done to the node.
    fn see_node(&mut self, node: NodeId, fact: &Fact) {
        match fact {
            Fact::Appended {
                partition,
                leader_epoch,
                as_leader: true,
                ..
            } if self.stopped.contains(&node)
                && self.partitions.of(*partition).is_deposed(*leader_epoch) =>
            {
                self.reach("append-after-a-pause");
            }
            Fact::BecameLeader { log_end: 0, .. } if self.emptied.contains(&node) => {
                self.reach("empty-disk-led");
            }
            _ => {}
        }
    }

    fn see_fact(&mut self, fact: &Fact) {
        match fact {
            Fact::BrokerFenced { .. } => self.reach("broker-fenced"),
            Fact::LogDirectoryOffline { .. } => self.reach("log-directory-failed"),
            Fact::ShutDownCleanly { .. } => self.reach("orderly-shutdown"),
            Fact::BrokerStarted { clean: true } => self.reach("clean-start"),
            Fact::PartitionChanged { .. } => self.see_partition(fact),
            Fact::Truncated {
                from,
                to,
                high_watermark,
                ..
            } => {
                if to < from {
                    self.reach("truncation-dropped-records");
                }
                if to < high_watermark {
                    self.reach("truncation-below-high-watermark");
                }
            }
            Fact::Appended {
                partition,
                last_offset,
                leader_epoch,
                as_leader: true,
                ..
            } => {
                let known = self.partitions.of(*partition);
                known.log_end = Some(last_offset + 1);
                if known.is_deposed(*leader_epoch) {
                    self.reach("append-to-deposed-leader");
                }
            }
            Fact::BecameLeader {
                partition, log_end, ..
            } if partition.topic == TOPIC => {
                let before = self.partitions.of(*partition).log_end.replace(*log_end);
                if before.is_some_and(|end| end > *log_end) {
                    self.reach("failover-with-unreplicated-tail");
                }
            }
            Fact::LogRecovered {
                truncated_bytes, ..
            } if *truncated_bytes > 0 => self.reach("recovery-truncated-the-log"),
            Fact::ProduceAnswered { error, .. } => match error {
                ErrorCode::NotEnoughReplicas => self.reach("not-enough-replicas"),
                ErrorCode::RequestTimedOut => self.reach("produce-timed-out"),
                _ => {}
            },
            Fact::CoordinatorLoaded { .. } => {
                self.loads += 1;
                self.reach("coordinator-moved");
            }
            Fact::PositionReset { why, .. } => match why {
                PositionResetReason::NoOffset | PositionResetReason::OutOfRange => {
                    self.reach("position-reset")
                }
                PositionResetReason::Truncation => self.reach("position-truncated"),
                PositionResetReason::Committed | PositionResetReason::Seek => {}
            },
            _ => {}
        }
    }

    #[cold]
    fn see_partition(&mut self, fact: &Fact) {
        let Fact::PartitionChanged {
            partition,
            leader,
            leader_epoch,
            isr,
            unclean,
        } = fact
        else {
            return;
        };
        let known = self.partitions.of(*partition);
        let before = known.state.replace((*leader_epoch, isr.len()));
        if *unclean {
            self.reach("unclean-election");
        }
        let Some((epoch, members)) = before else {
            return;
        };
        if *leader_epoch > epoch && *leader != NO_BROKER {
            self.reach("leader-elected");
        }
        if members > 1 && isr.len() == 1 {
            self.reach("isr-shrank-to-one");
        }
        if isr.len() > members {
            self.reach("isr-expanded");
        }
    }
}
