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
//! is known of it: of one that is copied from a compacted one, for instance, or that has gaps.

use everyack_broker::fact::Fact;
use everyack_broker::ids::*;

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
    /// It was loaded with records missing in its middle, and has not begun anew since.
    pub has_gaps: bool,
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
            has_gaps: false,
            cleaned_to: 0,
            lost_up_to: 0,
        }
    }

    /// Whether it lost records with the power or the disk, and has not as many again.
    #[inline]
    pub fn has_lost_records(&self) -> bool {
        self.log_end < self.lost_up_to
    }

    /// The fingerprint of all of it, where the end of its last batch is known.
    #[inline]
    pub fn prefix(&self) -> Option<u64> {
        let last = self.ends.last()?;
        (last.0 == self.log_end).then_some(last.1)
    }

    /// It has no more than that after a start, and its broker gives it that fingerprint.
    fn recover(&mut self, log_start: Offset, log_end: Offset, prefix: u64, whole: bool) {
        if log_end < self.log_end {
            self.lost_up_to = self.lost_up_to.max(self.log_end);
        }
        self.cut(log_end);
        if !whole && self.cleaned_to == 0 {
            self.begin_at(log_end, None);
            self.has_gaps = true;
            return;
        }
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
        self.has_gaps = false;
    }

    /// The known ends at or below `offset`.
    #[inline]
    pub fn ends_up_to(&self, offset: Offset) -> &[(Offset, u64)] {
        &self.ends[..up_to(&self.ends, offset)]
    }

    /// The known ends above `offset`.
    pub fn ends_above(&self, offset: Offset) -> &[(Offset, u64)] {
        &self.ends[up_to(&self.ends, offset)..]
    }

    /// The fingerprint at `offset`, where a batch is known to end there.
    #[inline]
    pub fn prefix_at(&self, offset: Offset) -> Option<u64> {
        prefix_at(&self.ends, offset)
    }

    #[cold]
    fn cut(&mut self, to: Offset) {
        let kept = self.ends_up_to(to).len();
        self.ends.truncate(kept);
        self.log_end = to;
    }
}

/// How many ascending ends are at or below `offset`. Most questions are about the last few.
#[inline]
pub fn up_to(ends: &[(Offset, u64)], offset: Offset) -> usize {
    let mut last = ends.iter().rev().take(NEAR);
    match last.position(|(end, _)| *end <= offset) {
        Some(above) => ends.len() - above,
        None => up_to_far(ends, offset),
    }
}

/// The same, where the last few are above it.
#[cold]
fn up_to_far(ends: &[(Offset, u64)], offset: Offset) -> usize {
    let rest = &ends[..ends.len().saturating_sub(NEAR)];
    rest.partition_point(|(end, _)| *end <= offset)
}

/// The fingerprint at `offset` in ascending ends.
#[inline]
pub fn prefix_at(ends: &[(Offset, u64)], offset: Offset) -> Option<u64> {
    let (end, prefix) = ends[..up_to(ends, offset)].last()?;
    (*end == offset).then_some(*prefix)
}

/// Those of one partition.
#[derive(Debug, Default)]
pub struct ShadowLogs {
    /// A few, in the order in which they were heard of.
    logs: Vec<(NodeId, ShadowLog)>,
    /// Whether any of them was compacted: in most runs none is.
    any_cleaned: bool,
}

impl ShadowLogs {
    /// A replica's log, if anything is known of it.
    #[inline]
    pub fn log(&self, node: NodeId) -> Option<&ShadowLog> {
        let (_, log) = self.logs.iter().find(|(n, _)| *n == node)?;
        Some(log)
    }

    /// The log of the broker that a replica follows, with its node, while that one leads in the same epoch,
    /// as the facts tell.
    #[inline]
    pub fn leader_of(&self, log: &ShadowLog) -> Option<(NodeId, &ShadowLog)> {
        if log.leader == NO_BROKER {
            return None;
        }
        let leader = NodeId::of_broker(log.leader);
        let leading = self.log(leader)?;
        let same = leading.leader == log.leader && leading.leader_epoch == log.leader_epoch;
        same.then_some((leader, leading))
    }

    #[inline]
    fn log_mut(&mut self, node: NodeId) -> &mut ShadowLog {
        let known = self.logs.iter().position(|(n, _)| *n == node);
        let at = known.unwrap_or_else(|| self.add(node));
        &mut self.logs[at].1
    }

    #[cold]
    fn add(&mut self, node: NodeId) -> usize {
        self.logs.push((node, ShadowLog::new()));
        self.logs.len() - 1
    }

    /// Whether what a replica appends there comes from a part of its leader's log that was compacted.
    #[cold]
    fn copies_what_was_compacted(&self, node: NodeId, base_offset: Offset) -> bool {
        let Some(log) = self.log(node) else {
            return false;
        };
        let leading = self.leader_of(log);
        leading.is_some_and(|(leader, leading)| leader != node && base_offset < leading.cleaned_to)
    }

    /// Takes a fact about the partition, or about a broker.
    #[inline]
    pub fn see(&mut self, node: NodeId, fact: &Fact) {
        match fact {
            Fact::Appended {
                base_offset,
                last_offset,
                prefix,
                ..
            } => self.append(node, *base_offset, *last_offset, *prefix),
            _ => self.see_seldom(node, fact),
        }
    }

    #[inline]
    fn append(&mut self, node: NodeId, base_offset: Offset, last_offset: Offset, prefix: u64) {
        let compacted = self.any_cleaned && self.copies_what_was_compacted(node, base_offset);
        let log = self.log_mut(node);
        if compacted {
            log.ends.clear();
            log.before = None;
        }
        // Only damage below can have taken what stood there before.
        if log.ends.last().is_some_and(|(end, _)| *end > base_offset) {
            log.cut(base_offset);
        }
        log.log_end = last_offset + 1;
        if let Some(before) = log.before {
            log.ends.push((log.log_end, before.wrapping_add(prefix)));
        }
    }

    #[cold]
    fn see_seldom(&mut self, node: NodeId, fact: &Fact) {
        match fact {
            Fact::Truncated { to, anew: true, .. } => {
                let before = self.log(node).and_then(|log| {
                    let leaders = || self.leader_of(log)?.1.prefix_at(*to);
                    let first = (*to == 0).then_some(0);
                    first.or_else(|| log.prefix_at(*to)).or_else(leaders)
                });
                self.log_mut(node).begin_at(*to, before);
            }
            Fact::Truncated { to, .. } => self.log_mut(node).cut(*to),
            Fact::LogRecovered {
                log_start,
                log_end,
                prefix,
                gaps,
                ..
            } => {
                let log = self.log_mut(node);
                log.recover(*log_start, *log_end, *prefix, gaps.is_none());
                log.loaded = true;
            }
            Fact::LogCleaned { up_to, .. } => {
                self.any_cleaned = true;
                let log = self.log_mut(node);
                log.cleaned_to = log.cleaned_to.max(*up_to);
            }
            Fact::BrokerStarted { .. } => {
                for (_, log) in self.logs.iter_mut().filter(|(n, _)| *n == node) {
                    // Its files are gone with their disk.
                    if !std::mem::take(&mut log.loaded) {
                        log.recover(0, 0, 0, true);
                    }
                    log.leader_epoch = -1;
                    log.leader = NO_BROKER;
                }
            }
            Fact::BecameLeader { leader_epoch, .. } => {
                let log = self.log_mut(node);
                log.leader_epoch = *leader_epoch;
                log.leader = node.broker().unwrap_or(NO_BROKER);
                // What a leader has not is nothing that anybody lacks.
                log.lost_up_to = 0;
            }
            Fact::BecameFollower {
                leader_epoch,
                leader,
                ..
            } => {
                let log = self.log_mut(node);
                log.leader_epoch = *leader_epoch;
                log.leader = *leader;
            }
            _ => {}
        }
    }
}
