//! What a follower has been answered, beside what it had asked.

use crate::ids::*;
use crate::wire::*;

/// The partitions of a fetch response, each with what was asked. Both are in the order of the request,
/// and stay where they are while a cursor moves on.
#[derive(Debug)]
pub(super) struct Answers {
    asked: Vec<(TopicPartition, FetchPartition)>,
    topics: ByTopicId<FetchPartitionResult>,
    next_asked: usize,
    next: (usize, usize),
}

impl Answers {
    /// Of what was asked, what was answered.
    pub(super) fn new(
        asked: Vec<(TopicPartition, FetchPartition)>,
        topics: ByTopicId<FetchPartitionResult>,
    ) -> Answers {
        Answers {
            asked,
            topics,
            next_asked: 0,
            next: (0, 0),
        }
    }

    /// The first that is not handled yet. An answer that nobody asked for is passed over.
    #[inline(always)] // a loop that is gone through once, but where an answer was left out
    pub(super) fn front(
        &mut self,
    ) -> Option<(TopicPartition, &FetchPartition, &FetchPartitionResult)> {
        let Answers {
            asked,
            topics,
            next_asked,
            next,
        } = self;
        loop {
            let (topic, results) = topics.get(next.0)?;
            let Some(result) = results.get(next.1) else {
                *next = (next.0 + 1, 0);
                continue;
            };
            let id = TopicPartition::new(*topic, result.partition);
            let mut still_asked = asked[*next_asked..].iter();
            if let Some(passed) = still_asked.position(|(asked, _)| *asked == id) {
                *next_asked += passed;
                return Some((id, &asked[*next_asked].1, result));
            }
            next.1 += 1;
        }
    }

    /// How many of those asked for come before the first.
    #[inline]
    pub(super) fn place(&self) -> usize {
        self.next_asked
    }

    /// The first is handled.
    #[inline]
    pub(super) fn pop_front(&mut self) {
        self.next.1 += 1;
        self.next_asked += 1;
    }

    /// The list of what was asked, emptied, to be filled again.
    pub(super) fn into_empty_asked(mut self) -> Vec<(TopicPartition, FetchPartition)> {
        self.asked.clear();
        self.asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn asked(topic: u128, partition: i32) -> (TopicPartition, FetchPartition) {
        let ask = FetchPartition {
            partition,
            current_leader_epoch: 0,
            fetch_offset: i64::from(partition) * 10,
            last_fetched_epoch: NO_EPOCH,
            log_start_offset: 0,
            partition_max_bytes: 1,
        };
        (TopicPartition::new(TopicId(topic), partition), ask)
    }

    fn answered(topic: u128, partitions: &[i32]) -> (TopicId, Items<FetchPartitionResult>) {
        let results = partitions.iter().map(|&partition| FetchPartitionResult {
            partition,
            error: ErrorCode::None,
            high_watermark: i64::from(partition) * 10,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            current_leader: (NO_BROKER, NO_EPOCH),
            records: Bytes::new(),
        });
        (TopicId(topic), results.collect())
    }

    #[test]
    fn each_answer_comes_with_its_question_and_those_without_one_are_passed_over() {
        let asked = vec![asked(1, 0), asked(1, 2), asked(2, 0), asked(3, 1)];
        let topics = vec![
            answered(1, &[0, 1, 2]),
            answered(2, &[]),
            answered(3, &[0, 1, 2]),
        ];
        let mut answers = Answers::new(asked, topics);
        let mut seen = Vec::new();
        while let Some((id, ask, result)) = answers.front() {
            assert_eq!(
                (ask.partition, result.partition),
                (id.partition, id.partition)
            );
            assert_eq!(ask.fetch_offset, result.high_watermark);
            seen.push((id.topic.0, id.partition));
            answers.pop_front();
        }
        assert_eq!(seen, [(1, 0), (1, 2), (3, 1)]);
        assert!(answers.into_empty_asked().is_empty());
    }
}
