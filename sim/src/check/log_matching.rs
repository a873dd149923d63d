//! Invariant: two replicas hold the same records up to the smaller of their high watermarks
//! (LogMatching of Vanlightly/kafka-tlaplus).
//!
//! Kept as one list of what is committed: the first replica whose high watermark passes a batch writes
//! its end and the log's fingerprint down, and every other one is compared with that as its own high
//! watermark passes. A fingerprint covers everything before it, so that one comparison a fact is enough.
//!
//! A new leader whose log ends below what was committed (an unclean election, or a log that lost its
//! tail with the power) makes a new history: what was committed above its log end is struck out, and
//! brokers in earlier epochs are not looked at any more: where an unclean election has passed over an ISR
//! that lives on, it goes on with the former one (R04).
//! That something was lost then is the verdict's affair, not this invariant's.

use super::shadow::{ShadowLog, ShadowLogs, up_to};
use crate::result::Anomaly;
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;
use std::cmp::Ordering;

/// Watches every replica of a partition.
#[derive(Debug, Default)]
pub struct LogMatching {
    /// Ends of committed batches with the fingerprint there, ascending.
    ends: Vec<(Offset, u64)>,
    /// The highest high watermark of a leader.
    high_watermark: Offset,
    /// The latest leader epoch that anybody leads in.
    leader_epoch: LeaderEpoch,
    /// Brokers in earlier epochs belong to a history that was given up.
    since_epoch: LeaderEpoch,
    /// Said already.
    broken: bool,
}

impl LogMatching {
    /// Takes a fact, which the logs have seen already; says what it breaks, once.
    #[inline]
    pub fn check(&mut self, node: NodeId, fact: &Fact, logs: &ShadowLogs) -> Option<Anomaly> {
        let Fact::HighWatermark {
            partition,
            offset,
            as_leader,
        } = fact
        else {
            self.see_leader(node, fact, logs);
            return None;
        };
        let log = logs.log(node)?;
        if self.broken || log.leader_epoch < self.since_epoch {
            return None;
        }
        if *as_leader {
            self.high_watermark = self.high_watermark.max(*offset);
        }
        let parted = self.pass(log.ends_up_to(*offset))?;
        self.broken = true;
        Some(broken(node, *partition, parted))
    }

    #[cold]
    fn see_leader(&mut self, node: NodeId, fact: &Fact, logs: &ShadowLogs) {
        match fact {
            Fact::BecameLeader {
                leader_epoch,
                log_end,
                ..
            } if *leader_epoch > self.leader_epoch => {
                self.leader_epoch = *leader_epoch;
                let unclean = self.since_epoch == *leader_epoch;
                self.led_by_a_log_that_ends_at(*log_end);
                if let Some(log) = logs.log(node)
                    && (unclean || log.has_gaps)
                {
                    self.since_epoch = *leader_epoch;
                    self.led_by_another_history(log);
                }
            }
            Fact::PartitionChanged {
                leader_epoch,
                unclean: true,
                ..
            } => self.since_epoch = self.since_epoch.max(*leader_epoch),
            _ => {}
        }
    }

    /// Brokers that lead in an earlier epoch go on with a history that was given up.
    pub fn since_epoch(&self) -> LeaderEpoch {
        self.since_epoch
    }

    /// Whether a log holds what is committed below its own end, as far as it has told.
    pub fn agrees(&self, log: &ShadowLog) -> bool {
        self.compare(log.ends_up_to(log.log_end)).is_ok()
    }

    /// Every record below it is committed; 0 before any is.
    pub fn committed_end(&self) -> Offset {
        self.high_watermark
    }

    fn led_by_a_log_that_ends_at(&mut self, log_end: Offset) {
        if log_end < self.high_watermark {
            self.high_watermark = log_end;
            self.since_epoch = self.leader_epoch;
        }
        let kept = up_to(&self.ends, log_end);
        if kept < self.ends.len() {
            self.ends.truncate(kept);
            self.since_epoch = self.leader_epoch;
        }
    }

    /// Whatever the log of a leader from outside the ISR holds, or of one that lost records in its middle,
    /// is the history from now on: it may have records of its own where others were committed.
    fn led_by_another_history(&mut self, log: &ShadowLog) {
        let agrees = |(end, prefix): &(Offset, u64)| log.prefix_at(*end) == Some(*prefix);
        while self.ends.last().is_some_and(|last| !agrees(last)) {
            self.ends.pop();
        }
        self.high_watermark = self.ends.last().map_or(0, |(end, _)| *end);
    }

    /// A replica's high watermark has passed these ends of its log: the one at which it differs, if it
    /// does.
    #[inline]
    fn pass(&mut self, passed: &[(Offset, u64)]) -> Option<Offset> {
        let last = self.ends.last().map_or(0, |(end, _)| *end);
        let (known, new) = passed.split_at(up_to(passed, last));
        // Those above all that is committed are known to nobody.
        if let Err(parted) = self.compare(known) {
            return Some(parted);
        }
        if !new.is_empty() {
            self.ends.extend_from_slice(new);
        }
        None
    }

    /// Whether a log's ends up to somewhere are those of what is committed; else one at which it differs.
    /// Looked at where both have told of the highest end: below it the fingerprints cover the rest.
    #[inline]
    fn compare(&self, passed: &[(Offset, u64)]) -> Result<(), Offset> {
        let Some((highest, _)) = passed.last() else {
            return Ok(());
        };
        let mut passed = passed.iter().rev().peekable();
        let mut committed = self.ends[..up_to(&self.ends, *highest)]
            .iter()
            .rev()
            .peekable();
        while let (Some((end, prefix)), Some((known, fingerprint))) =
            (passed.peek(), committed.peek())
        {
            match end.cmp(known) {
                Ordering::Greater => passed.next(),
                Ordering::Less => committed.next(),
                Ordering::Equal if prefix == fingerprint => return Ok(()),
                Ordering::Equal => return Err(*end),
            };
        }
        Ok(())
    }
}

#[cold]
fn broken(node: NodeId, partition: TopicPartition, parted: Offset) -> Anomaly {
    Anomaly {
        check: "log-matching".into(),
        what: format!(
            "{node} has other records below offset {parted} of partition {} than another replica, and \
             both high watermarks have passed them",
            partition.partition
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;
    use super::*;
    use everyack_broker::fact::Gaps;

    /// A history's anomalies.
    fn judge(history: &[(NodeId, Fact)]) -> Vec<Anomaly> {
        let (mut logs, mut check) = (ShadowLogs::default(), LogMatching::default());
        let seen = history.iter().filter_map(|(node, fact)| {
            logs.see(*node, fact);
            check.check(*node, fact, &logs)
        });
        seen.collect()
    }

    #[test]
    fn equal_logs_are_equal_whatever_the_order_of_high_watermarks() {
        let history = [
            leads(A, 0, 0),
            follows(B, 0, A),
            appended(A, 0, 10),
            appended(A, 1, 11),
            copied(B, 0, 1, 11),
            high_watermark(A, 2),
            high_watermark(B, 1),
            high_watermark(B, 2),
        ];
        assert_eq!(judge(&history), []);
    }

    #[test]
    fn a_leader_that_lost_records_in_its_middle_gives_the_history_from_now_on() {
        let told = |gaps| {
            let recovered = Fact::LogRecovered {
                topic: "t".into(),
                partition: 0,
                log_start: 0,
                log_end: 2,
                prefix: 1,
                truncated_bytes: 0,
                gaps,
            };
            let nothing = Fact::Truncated {
                partition: P,
                from: 2,
                to: 0,
                high_watermark: 0,
                anew: true,
            };
            let history = [
                leads(A, 0, 0),
                follows(B, 0, A),
                appended(A, 0, 10),
                appended(A, 1, 11),
                copied(B, 0, 1, 11),
                high_watermark(A, 2),
                high_watermark(B, 2),
                (A, recovered),
                leads(A, 1, 2),
                (B, nothing),
                follows(B, 1, A),
                copied(B, 0, 1, 1),
                high_watermark(B, 2),
            ];
            judge(&history).len()
        };
        assert_eq!(told(Gaps::of((0, 2), [(1, 1)].into_iter())), 0);
        assert_eq!(told(None), 1);
    }

    #[test]
    fn another_record_below_both_high_watermarks_is_caught_once() {
        let history = [
            leads(A, 0, 0),
            follows(B, 0, A),
            appended(A, 0, 10),
            appended(A, 1, 11),
            copied(B, 0, 1, 99),
            high_watermark(A, 2),
            high_watermark(B, 2),
            high_watermark(A, 2),
        ];
        let anomalies = judge(&history);
        assert_eq!(anomalies.len(), 1);
        assert_eq!(anomalies[0].check, "log-matching");
    }

    #[test]
    fn logs_are_compared_however_far_a_high_watermark_goes_at_once() {
        let history = |first| {
            let mut history = vec![leads(A, 0, 0), follows(B, 0, A), appended(A, 0, 10)];
            history.push(high_watermark(A, 1));
            history.push(copied(B, 0, 0, first));
            // B tells of many ends that nobody has committed yet, and commits them at once.
            history.extend((1..9).map(|offset| copied(B, offset, offset, first + 1)));
            history.push(high_watermark(B, 9));
            history
        };
        assert_eq!(judge(&history(10)), []);
        assert_eq!(judge(&history(99)).len(), 1);
    }

    #[test]
    fn logs_are_compared_at_the_highest_end_that_both_have_told() {
        let history = |prefix| {
            let mut history = vec![leads(A, 0, 0), follows(B, 0, A)];
            history.extend((0..9).map(|offset| appended(A, offset, 10 + offset as u64)));
            // B copies the front at once, and tells nothing of the ends in it.
            history.extend([copied(B, 0, 1, prefix), high_watermark(B, 2)]);
            history.push(high_watermark(A, 9));
            history
        };
        assert_eq!(judge(&history(11)), []);
        assert_eq!(judge(&history(99)).len(), 1);
    }

    #[test]
    fn a_difference_above_the_smaller_high_watermark_is_none() {
        let history = [
            leads(A, 0, 0),
            follows(B, 0, A),
            appended(A, 0, 10),
            copied(B, 0, 0, 10),
            appended(A, 1, 11),
            copied(B, 1, 1, 99),
            high_watermark(A, 2),
            high_watermark(B, 1),
        ];
        assert_eq!(judge(&history), []);
    }

    #[test]
    fn after_a_leader_with_a_shorter_log_another_history_is_legal() {
        let mut history = vec![
            leads(A, 0, 0),
            follows(B, 0, A),
            appended(A, 0, 10),
            appended(A, 1, 11),
            high_watermark(A, 2),
            leads(B, 1, 0),
            appended(B, 0, 20),
            high_watermark(B, 1),
            // The former leader lives on, cut off: its own history goes on.
            high_watermark(A, 2),
        ];
        assert_eq!(judge(&history), []);
        // Once it follows in the new epoch it counts again.
        history.extend([follows(A, 1, B), high_watermark(A, 1)]);
        assert_eq!(judge(&history).len(), 1);
    }

    #[test]
    fn an_isr_that_an_unclean_election_passed_over_may_go_on() {
        let elected = Fact::PartitionChanged {
            partition: P,
            leader: 2,
            leader_epoch: 1,
            isr: vec![2],
            unclean: true,
        };
        let history = [
            leads(A, 0, 0),
            follows(B, 0, A),
            appended(A, 0, 10),
            copied(B, 0, 0, 10),
            high_watermark(A, 1),
            // B lacks nothing that is committed at this moment.
            (CONTROLLER, elected),
            leads(B, 1, 1),
            appended(A, 1, 11),
            high_watermark(A, 2),
            appended(B, 1, 21),
            high_watermark(B, 2),
        ];
        assert_eq!(judge(&history), []);
    }

    #[test]
    fn a_leader_from_outside_the_isr_may_have_a_tail_of_its_own() {
        let elected = |leader, leader_epoch, unclean| Fact::PartitionChanged {
            partition: P,
            leader,
            leader_epoch,
            isr: vec![leader],
            unclean,
        };
        // A's last record reached nobody; B led on from before it, and committed others.
        let history = |unclean| {
            [
                leads(A, 0, 0),
                follows(B, 0, A),
                appended(A, 0, 10),
                copied(B, 0, 0, 10),
                appended(A, 1, 11),
                (CONTROLLER, elected(2, 1, false)),
                leads(B, 1, 1),
                appended(B, 1, 21),
                appended(B, 2, 22),
                high_watermark(B, 3),
                (CONTROLLER, elected(1, 2, unclean)),
                leads(A, 2, 2),
                appended(A, 2, 12),
                high_watermark(A, 3),
            ]
        };
        assert_eq!(judge(&history(true)), []);
        assert_eq!(judge(&history(false)).len(), 1);
    }

    #[test]
    fn a_log_that_was_cut_is_compared_by_what_it_holds_now() {
        let history = [
            leads(A, 0, 0),
            follows(B, 0, A),
            appended(A, 0, 10),
            copied(B, 0, 0, 10),
            copied(B, 1, 1, 99),
            truncated(B, 2, 1),
            appended(A, 1, 11),
            copied(B, 1, 1, 11),
            high_watermark(A, 2),
            high_watermark(B, 2),
        ];
        assert_eq!(judge(&history), []);
    }
}
