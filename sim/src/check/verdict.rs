//! What became of each message: the verdicts, from the history and from what the disks hold at the
//! end of the run.
//!
//! A message that retention or compaction took before it was consumed has expired; that breaks no promise.
//!
//! A message counts as consumed once an application has processed it, or where its handler threw, its
//! dead letter was acknowledged and the dead-letter topic still has it at the end. Whether one that was not is
//! lost, lost on disk, skipped or hidden, is read off the replicas' log files themselves, also where
//! the replica's process is down: nothing here asks a broker what it believes but for the leader's
//! identity and its high watermark.

use super::messages::messages_in;
use crate::event::MessageId;
use crate::history::{History, LetGo, Message, SendOutcome};
use crate::result::{LossVerdict, MessageCounts};
use bytes::Bytes;
use everyack_broker::ids::*;
use everyack_broker::log::BatchHeader;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A partition as it stands at the end of a run.
#[derive(Debug, Clone, Default)]
pub struct FinalPartition {
    /// The leader, -1 for none.
    pub leader: BrokerId,
    /// Its high watermark; 0 where there is no leader.
    pub high_watermark: Offset,
    /// Where its log starts; 0 where there is no leader.
    pub log_start: Offset,
    /// Log files by broker, as the page cache has them.
    pub logs: BTreeMap<BrokerId, Bytes>,
    /// Where the group's reading stands: the consumer's position, else the committed offset.
    pub position: Option<Offset>,
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which message.
    pub id: MessageId,
    /// Offset that the producer was told, -1 with acks=0.
    pub told: Offset,
    /// Offset in the leader's log at the end, if it is there.
    pub found: Option<Offset>,
    /// How the promise was broken.
    pub verdict: LossVerdict,
}

/// Counts every message, and lists those whose promise was broken. What the disks hold is asked for only
/// where something is missing; dead letters are named by producer and sequence.
pub fn judge(
    history: &History,
    partitions: impl FnOnce() -> BTreeMap<i32, FinalPartition>,
    dead_letters: impl FnOnce() -> BTreeSet<(u32, u32)>,
) -> (MessageCounts, Vec<Broken>) {
    let mut counts = MessageCounts {
        reordered: history.reordered(),
        ..MessageCounts::default()
    };
    let mut missing: Vec<&Message> = Vec::new();
    for message in history.messages() {
        counts.sent += 1;
        counts.duplicated += u64::from(message.processed > 1);
        match message.outcome {
            SendOutcome::Unknown => counts.unreported += 1,
            SendOutcome::Failed if history.are_results_ignored() => counts.unreported += 1,
            SendOutcome::Failed => counts.reported += 1,
            SendOutcome::Acked { .. } => {
                counts.acked += 1;
                if message.processed > 0 {
                    counts.consumed += 1;
                } else {
                    missing.push(message);
                }
            }
        }
    }
    if missing.iter().any(|message| message.dead_lettered) {
        let kept = dead_letters();
        let is_kept = |id: MessageId| kept.contains(&(id.producer, id.sequence));
        missing.retain(|message| !message.dead_lettered || !is_kept(message.id));
        counts.consumed = counts.acked - missing.len() as u64;
    }
    if missing.is_empty() {
        return (counts, Vec::new());
    }
    let (broken, expired) = find(&missing, history, &partitions());
    counts.expired = expired;
    for b in &broken {
        match b.verdict {
            LossVerdict::Lost => counts.lost += 1,
            LossVerdict::LostOnDisk => counts.lost_on_disk += 1,
            LossVerdict::Skipped => counts.skipped += 1,
            LossVerdict::Hidden => counts.hidden += 1,
        }
    }
    (counts, broken)
}

/// What became of each missing message: the broken promises, and how many expired.
fn find(
    missing: &[&Message],
    history: &History,
    partitions: &BTreeMap<i32, FinalPartition>,
) -> (Vec<Broken>, u64) {
    let mut indexes: BTreeMap<i32, Index> = BTreeMap::new();
    let mut broken = Vec::new();
    let mut expired = 0;
    for message in missing {
        let id = message.id;
        let partition = &partitions[&id.partition];
        let index = indexes
            .entry(id.partition)
            .or_insert_with(|| Index::of(id.partition, partition));
        let found = index.in_leader(id);
        let found = found.or_else(|| index.damaged_at(message));
        let verdict = match found {
            Some(at) if partition.position.is_some_and(|p| p > at) => LossVerdict::Skipped,
            Some(_) => LossVerdict::Hidden,
            None if index.has_expired(history.what_was_let_go(id), partition) => {
                expired += 1;
                continue;
            }
            None if index.is_elsewhere(id) => LossVerdict::LostOnDisk,
            None => LossVerdict::Lost,
        };
        let SendOutcome::Acked { offset: told, .. } = message.outcome else {
            unreachable!("only acknowledged messages are looked for");
        };
        broken.push(Broken {
            id,
            told,
            found,
            verdict,
        });
    }
    (broken, expired)
}

/// Where the messages of a partition are.
#[derive(Default)]
struct Index<'a> {
    /// Sorted; a message that is there several times stands at its offsets in order.
    in_leader: Vec<(MessageId, Offset)>,
    /// Offsets of the leader's log whose batches are damaged.
    damaged: Vec<Range<Offset>>,
    /// In any other replica's log; sorted.
    elsewhere: Vec<MessageId>,
    /// Last offset of each key in the leader's log.
    keys: BTreeMap<&'a [u8], Offset>,
}

impl<'a> Index<'a> {
    fn of(number: i32, partition: &'a FinalPartition) -> Index<'a> {
        let mut index = Index::default();
        for (broker, log) in &partition.logs {
            if *broker == partition.leader {
                index.read_leader(log, number);
                continue;
            }
            let messages = messages_in(log, number);
            index.elsewhere.extend(messages.map(|found| found.id));
        }
        index.in_leader.sort_unstable();
        index.elsewhere.sort_unstable();
        index
    }

    /// The offset of a message in the leader's log. A later copy is a duplicate; the first is what a
    /// reader meets.
    fn in_leader(&self, id: MessageId) -> Option<Offset> {
        let at = self.in_leader.partition_point(|(other, _)| *other < id);
        let (found, offset) = self.in_leader.get(at)?;
        (*found == id).then_some(*offset)
    }

    fn is_elsewhere(&self, id: MessageId) -> bool {
        self.elsewhere.binary_search(&id).is_ok()
    }

    /// What is behind a damaged batch is in the log all the same: the next one whose checksum is right says
    /// where it goes on.
    fn read_leader(&mut self, log: &'a [u8], number: i32) {
        let (mut at, mut next_offset) = (0, 0);
        while at < log.len() {
            let Some((from, header)) = next_valid(log, at) else {
                self.damaged.push(next_offset..Offset::MAX);
                return;
            };
            if from > at {
                self.damaged.push(next_offset..header.base_offset);
            }
            at = from + header.size();
            next_offset = header.last_offset().saturating_add(1);
            for found in messages_in(&log[from..at], number) {
                self.in_leader.push((found.id, found.offset));
                if let Some(key) = found.key {
                    self.keys.insert(key, found.offset);
                }
            }
        }
    }

    /// Whether retention or compaction took a message: it was seen in a segment that a replica let go of,
    /// and the leader's log starts behind it, or has a later record of its key.
    fn has_expired(&self, let_go: Option<&LetGo>, partition: &FinalPartition) -> bool {
        let Some(LetGo { offset, replaced }) = let_go else {
            return false;
        };
        let replacing = replaced.as_ref().and_then(|key| self.keys.get(&key[..]));
        partition.log_start > *offset || replacing.is_some_and(|later| later > offset)
    }

    /// The offset of a message, where the leader's log has it in a damaged batch.
    fn damaged_at(&self, message: &Message) -> Option<Offset> {
        let offset = message.appends.last()?.offset;
        let is_in = |range: &Range<Offset>| range.contains(&offset);
        self.damaged.iter().any(is_in).then_some(offset)
    }
}

/// The first whole batch from a position on whose checksum is right.
fn next_valid(log: &[u8], from: usize) -> Option<(usize, BatchHeader)> {
    (from..log.len()).find_map(|at| {
        let header = BatchHeader::next(&log[at..]).ok().flatten()?;
        header.check_crc(&log[at..]).is_ok().then_some((at, header))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ClientEvent;
    use crate::history::AppendedAt;
    use everyack_broker::log::BatchBuilder;

    fn id(sequence: u32) -> MessageId {
        MessageId {
            producer: 0,
            sequence,
            partition: 0,
        }
    }

    fn log_of(sequences: &[u32]) -> Bytes {
        let mut log = Vec::new();
        for (offset, sequence) in sequences.iter().enumerate() {
            let mut batch = BatchBuilder::new();
            batch.append(0, None, Some(&id(*sequence).to_value(32)), &[]);
            batch.set_base(offset as i64, 0);
            log.extend_from_slice(&batch.build());
        }
        Bytes::from(log)
    }

    fn acked(sequences: &[u32]) -> History {
        let mut history = History::new(1);
        for &n in sequences {
            history.record(0, &ClientEvent::Sent(id(n)));
            history.record(1, &ClientEvent::Acked(id(n), i64::from(n)));
        }
        history
    }

    fn judge_with(
        history: &History,
        partition: FinalPartition,
        dead_letters: &[u32],
    ) -> (MessageCounts, Vec<Broken>) {
        let dead_letters = || dead_letters.iter().map(|sequence| (0, *sequence)).collect();
        judge(history, || BTreeMap::from([(0, partition)]), dead_letters)
    }

    fn verdict_of(leader: &[u32], follower: &[u32], position: i64) -> LossVerdict {
        let partition = FinalPartition {
            leader: 1,
            high_watermark: leader.len() as i64,
            log_start: 0,
            logs: BTreeMap::from([(1, log_of(leader)), (2, log_of(follower))]),
            position: Some(position),
        };
        let (counts, broken) = judge_with(&acked(&[0]), partition, &[]);
        assert_eq!((counts.acked, counts.broken()), (1, 1));
        broken[0].verdict
    }

    #[test]
    fn each_verdict_from_where_the_message_is_at_the_end() {
        assert_eq!(verdict_of(&[], &[], 0), LossVerdict::Lost);
        assert_eq!(verdict_of(&[7], &[0], 1), LossVerdict::LostOnDisk);
        assert_eq!(verdict_of(&[0], &[0], 1), LossVerdict::Skipped);
        assert_eq!(verdict_of(&[0], &[0], 0), LossVerdict::Hidden);
    }

    #[test]
    fn what_retention_took_has_expired_and_what_only_went_missing_has_not() {
        let judged = |let_go: Option<LetGo>, log_start| {
            let mut history = acked(&[0]);
            if let Some(let_go) = let_go {
                history.let_go(id(0), let_go);
            }
            let partition = FinalPartition {
                leader: 1,
                log_start,
                ..FinalPartition::default()
            };
            let (counts, _) = judge_with(&history, partition, &[]);
            (counts.expired, counts.lost)
        };
        let retention = LetGo {
            offset: 0,
            replaced: None,
        };
        assert_eq!(judged(Some(retention.clone()), 1), (1, 0));
        assert_eq!(
            judged(Some(retention), 0),
            (0, 1),
            "it is not behind the start"
        );
        assert_eq!(judged(None, 1), (0, 1), "nobody let go of it");
    }

    #[test]
    fn what_compaction_took_has_expired_where_a_later_record_of_its_key_is_left() {
        let judged = |key: &'static str| {
            let mut history = acked(&[0, 1]);
            let replaced = Some(Bytes::from_static(b"k"));
            history.let_go(
                id(0),
                LetGo {
                    offset: 0,
                    replaced,
                },
            );
            let mut batch = BatchBuilder::new();
            batch.append(0, Some(key.as_bytes()), Some(&id(1).to_value(32)), &[]);
            batch.set_base(1, 0);
            let partition = FinalPartition {
                leader: 1,
                logs: BTreeMap::from([(1, batch.build())]),
                ..FinalPartition::default()
            };
            let (counts, _) = judge_with(&history, partition, &[]);
            (counts.expired, counts.lost)
        };
        assert_eq!(judged("k"), (1, 0));
        assert_eq!(judged("another"), (0, 1));
    }

    #[test]
    fn a_processed_message_is_consumed_wherever_it_is() {
        let mut history = acked(&[0]);
        let processed = ClientEvent::Processed {
            message: id(0),
            offset: 0,
        };
        history.record(2, &processed);
        let partition = FinalPartition {
            leader: 1,
            ..FinalPartition::default()
        };
        let (counts, broken) = judge_with(&history, partition, &[]);
        assert_eq!((counts.consumed, broken.len()), (1, 0));
    }

    #[test]
    fn a_dead_letter_counts_only_where_it_was_acknowledged_and_is_kept() {
        let partition = || FinalPartition {
            leader: 1,
            logs: BTreeMap::from([(1, log_of(&[0]))]),
            position: Some(1),
            ..FinalPartition::default()
        };
        let mut history = acked(&[0]);
        let (counts, _) = judge_with(&history, partition(), &[0]);
        assert_eq!(
            (counts.consumed, counts.skipped),
            (0, 1),
            "nobody was told so"
        );
        history.record(2, &ClientEvent::DeadLettered(id(0)));
        let (counts, broken) = judge_with(&history, partition(), &[]);
        assert_eq!(
            (counts.consumed, counts.skipped),
            (0, 1),
            "its topic lost it"
        );
        assert_eq!(broken[0].verdict, LossVerdict::Skipped);
        let (counts, broken) = judge_with(&history, partition(), &[0]);
        assert_eq!((counts.consumed, counts.skipped), (1, 0));
        assert!(broken.is_empty());
    }

    #[test]
    fn behind_a_damaged_batch_the_leaders_log_goes_on_and_what_was_in_it_is_hidden() {
        let log = |damage: &dyn Fn(&mut [u8])| {
            let mut bytes = log_of(&[0, 1, 2]).to_vec();
            let third = bytes.len() / 3;
            damage(&mut bytes[third..2 * third]);
            Bytes::from(bytes)
        };
        let mut history = acked(&[0, 1, 2, 3]);
        for n in 0..4 {
            let append = AppendedAt {
                at: 0,
                node: NodeId::of_broker(1),
                leader_epoch: 0,
                offset: i64::from(n),
            };
            history.appended(id(n), append);
        }
        let flipped: &dyn Fn(&mut [u8]) = &|bytes| bytes[65] ^= 1;
        let zeros: &dyn Fn(&mut [u8]) = &|bytes| bytes.fill(0);
        for damage in [flipped, zeros] {
            let partition = FinalPartition {
                leader: 1,
                log_start: 0,
                high_watermark: 3,
                logs: BTreeMap::from([(1, log(damage)), (2, log_of(&[0, 1, 2]))]),
                position: Some(1),
            };
            let (_, broken) = judge_with(&history, partition, &[]);
            let verdicts: Vec<_> = broken.iter().map(|b| (b.found, b.verdict)).collect();
            use LossVerdict::{Hidden, Lost, Skipped};
            assert_eq!(
                verdicts,
                [
                    (Some(0), Skipped),
                    (Some(1), Hidden),
                    (Some(2), Hidden),
                    (None, Lost)
                ]
            );
        }
    }
}
