//! The logs of all replicas as the facts tell: where each record batch ends, and the fingerprint of
//! the log up to there. What [`log_matching`](super::log_matching) and
//! [`truncation`](super::truncation) compare; no broker is asked.
//!
//! A follower's append tells its end only, so that ends between may be missing here: what is compared
//! is what both logs have told.
//!
//! A broker counts a fingerprint from where its log was begun or loaded. Here all are counted from the
//! partition's first record: to what a log tells, the fingerprint of what it does not have is added,
//! which is known where some log has told of that offset. Where it is not, the log's length is all that
//! is known of it: of one that is copied from a compacted one, for instance.

use everyack_broker::fact::Fact;
use everyack_broker::ids::*;
use std::collections::BTreeMap;

/// How many ends are looked at from the last one back before the rest is searched by halves.
const NEAR: usize = 6;

/// One replica's log, and the role that its broker has applied.
#[derive(Debug, Clone)]
pub struct ShadowLog {
    /// Ends of batches with the log's fingerprint there, ascending.
    ends: Vec<(Offset, u64)>,
    /// Behind its last record.
    pub log_end: Offset,
    /// The leader epoch that its broker has applied, -1 from a start to the first role.
    pub leader_epoch: LeaderEpoch,
    /// Whom it follows, or its own broker.
    pub leader: BrokerId,
    /// Loaded at the start that is under way.
    loaded: bool,
    /// Fingerprint of what lies before the log that its broker counts, if known.
    before: Option<u64>,
    /// The cleaner has been below it.
    cleaned_to: Offset,
    /// Up to where it had told of records when it lost some with the power or the disk; 0 for none.
    lost_up_to: Offset,
}

impl ShadowLog {
    fn new() -> ShadowLog {
        ShadowLog {
            ends: Vec::new(),
            log_end: 0,
            leader_epoch: -1,
            leader: NO_BROKER,
            loaded: false,
            before: Some(0),
            cleaned_to: 0,
            lost_up_to: 0,
        }
    }

    /// Whether it lost records with the power or the disk, and has not as many again.
    pub fn has_lost_records(&self) -> bool {
        self.log_end < self.lost_up_to
    }

    /// The fingerprint of all of it, where the end of its last batch is known.
    pub fn prefix(&self) -> Option<u64> {
        let last = self.ends.last()?;
        (last.0 == self.log_end).then_some(last.1)
    }

    /// It has no more than that after a start, and its broker gives it that fingerprint.
    fn recover(&mut self, log_start: Offset, log_end: Offset, prefix: u64) {
        if log_end < self.log_end {
            self.lost_up_to = self.lost_up_to.max(self.log_end);
        }
        self.cut(log_end);
        self.before = match self.prefix_at(log_end) {
            Some(known) => Some(known.wrapping_sub(prefix)),
            // Its front is gone, or nothing is.
            None => (log_start == 0 && self.cleaned_to == 0).then_some(0),
        };
    }

    /// It is empty and goes on at `to`, where another log has that fingerprint.
    fn begin_at(&mut self, to: Offset, before: Option<u64>) {
        self.ends.clear();
        self.log_end = to;
        self.before = before;
    }

    /// Known ends of batches, ascending.
    pub fn ends(&self) -> &[(Offset, u64)] {
        &self.ends
    }

    /// How many known ends are at or below `offset`.
    pub fn ends_up_to(&self, offset: Offset) -> usize {
        up_to(&self.ends, offset)
    }

    /// The fingerprint at `offset`, where a batch is known to end there.
    pub fn prefix_at(&self, offset: Offset) -> Option<u64> {
        prefix_at(&self.ends, offset)
    }

    fn cut(&mut self, to: Offset) {
        let kept = self.ends_up_to(to);
        self.ends.truncate(kept);
        self.log_end = to;
    }
}

/// How many ascending ends are at or below `offset`. Most questions are about the last few.
pub fn up_to(ends: &[(Offset, u64)], offset: Offset) -> usize {
    let mut above = 0;
    while above < ends.len().min(NEAR) {
        if ends[ends.len() - 1 - above].0 <= offset {
            return ends.len() - above;
        }
        above += 1;
    }
    ends[..ends.len() - above].partition_point(|(end, _)| *end <= offset)
}

/// The fingerprint at `offset` in ascending ends.
pub fn prefix_at(ends: &[(Offset, u64)], offset: Offset) -> Option<u64> {
    let last = ends[..up_to(ends, offset)].last()?;
    (last.0 == offset).then_some(last.1)
}

/// All of them.
#[derive(Debug, Default)]
pub struct ShadowLogs {
    logs: BTreeMap<(NodeId, TopicPartition), ShadowLog>,
    /// Whether any of them was compacted: in most runs none is.
    any_cleaned: bool,
}

impl ShadowLogs {
    /// A replica's log, if anything is known of it.
    pub fn log(&self, node: NodeId, partition: TopicPartition) -> Option<&ShadowLog> {
        self.logs.get(&(node, partition))
    }

    /// The log of the broker that a replica follows, with its node, while that one leads in the same epoch,
    /// as the facts tell.
    pub fn leader_of(
        &self,
        log: &ShadowLog,
        partition: TopicPartition,
    ) -> Option<(NodeId, &ShadowLog)> {
        if log.leader == NO_BROKER {
            return None;
        }
        let leader = NodeId::of_broker(log.leader);
        let leading = self.log(leader, partition)?;
        let same = leading.leader == log.leader && leading.leader_epoch == log.leader_epoch;
        same.then_some((leader, leading))
    }

    fn log_mut(&mut self, node: NodeId, partition: TopicPartition) -> &mut ShadowLog {
        let log = self.logs.entry((node, partition));
        log.or_insert_with(ShadowLog::new)
    }

    /// Whether what a replica appends there comes from a part of its leader's log that was compacted.
    fn copies_what_was_compacted(
        &self,
        node: NodeId,
        partition: TopicPartition,
        base_offset: Offset,
    ) -> bool {
        let Some(log) = self.log(node, partition) else {
            return false;
        };
        let leading = self.leader_of(log, partition);
        leading.is_some_and(|(leader, leading)| leader != node && base_offset < leading.cleaned_to)
    }

    /// Takes a fact. `id_of` gives a topic's id: a log that is loaded tells its topic's name only.
    pub fn see(&mut self, node: NodeId, fact: &Fact, id_of: impl Fn(&str) -> TopicId) {
        match fact {
            Fact::Appended {
                partition,
                base_offset,
                last_offset,
                prefix,
                ..
            } => {
                let compacted = self.any_cleaned
                    && self.copies_what_was_compacted(node, *partition, *base_offset);
                let log = self.log_mut(node, *partition);
                if compacted {
                    log.ends.clear();
                    log.before = None;
                }
                // Only damage below can have taken what stood there before.
                if log.ends.last().is_some_and(|(end, _)| end > base_offset) {
                    log.cut(*base_offset);
                }
                log.log_end = last_offset + 1;
                if let Some(before) = log.before {
                    log.ends.push((log.log_end, before.wrapping_add(*prefix)));
                }
            }
            Fact::Truncated {
                partition,
                to,
                anew: true,
                ..
            } => {
                let before = self.log(node, *partition).and_then(|log| {
                    let (_, leading) = self.leader_of(log, *partition)?;
                    leading.prefix_at(*to)
                });
                self.log_mut(node, *partition).begin_at(*to, before);
            }
            Fact::Truncated { partition, to, .. } => self.log_mut(node, *partition).cut(*to),
            Fact::LogRecovered {
                topic,
                partition,
                log_start,
                log_end,
                prefix,
                ..
            } => {
                let id = TopicPartition::new(id_of(topic), *partition);
                let log = self.log_mut(node, id);
                log.recover(*log_start, *log_end, *prefix);
                log.loaded = true;
            }
            Fact::LogCleaned { partition, up_to } => {
                self.any_cleaned = true;
                let log = self.log_mut(node, *partition);
                log.cleaned_to = log.cleaned_to.max(*up_to);
            }
            Fact::BrokerStarted { .. } => {
                for ((_, _), log) in self.logs.iter_mut().filter(|((n, _), _)| *n == node) {
                    // Its files are gone with their disk.
                    if !std::mem::take(&mut log.loaded) {
                        log.recover(0, 0, 0);
                    }
                    log.leader_epoch = -1;
                    log.leader = NO_BROKER;
                }
            }
            Fact::BecameLeader {
                partition,
                leader_epoch,
                ..
            } => {
                let log = self.log_mut(node, *partition);
                log.leader_epoch = *leader_epoch;
                log.leader = node.broker().unwrap_or(NO_BROKER);
                // What a leader has not is nothing that anybody lacks.
                log.lost_up_to = 0;
            }
            Fact::BecameFollower {
                partition,
                leader_epoch,
                leader,
            } => {
                let log = self.log_mut(node, *partition);
                log.leader_epoch = *leader_epoch;
                log.leader = *leader;
            }
            _ => {}
        }
    }
}
