//! What applications have been given: the records that they hold unprocessed, and how far each partition
//! was delivered.

use everyack_broker::ids::*;
use std::collections::VecDeque;

/// Of all consumers.
#[derive(Debug, Default)]
pub(super) struct InHand {
    /// By consumer, then by partition: offsets in order, since they are given and processed in order.
    records: Vec<(NodeId, Vec<VecDeque<Offset>>)>,
    /// Behind the last offset that was delivered, by partition.
    delivered_to: Vec<Offset>,
}

impl InHand {
    /// An application was given a record.
    pub(super) fn delivered(&mut self, consumer: NodeId, partition: i32, offset: Offset) {
        let records = self.of(consumer, partition);
        if records.back().is_none_or(|last| *last < offset) {
            records.push_back(offset);
        } else if let Err(at) = records.binary_search(&offset) {
            records.insert(at, offset);
        }
        let partition = index(partition);
        if self.delivered_to.len() <= partition {
            self.delivered_to.resize(partition + 1, 0);
        }
        let to = &mut self.delivered_to[partition];
        *to = (*to).max(offset + 1);
    }

    /// An application has processed a record.
    pub(super) fn processed(&mut self, consumer: NodeId, partition: i32, offset: Offset) {
        let records = self.of(consumer, partition);
        if records.front() == Some(&offset) {
            records.pop_front();
        } else if let Ok(at) = records.binary_search(&offset) {
            records.remove(at);
        }
    }

    /// What a process held is gone with it.
    pub(super) fn killed(&mut self, node: NodeId) {
        self.records.retain(|(consumer, _)| *consumer != node);
    }

    /// Whether some application holds a record unprocessed.
    pub(super) fn is_any(&self) -> bool {
        self.records.iter().any(|(_, held)| is_any_in(held))
    }

    /// Whether that one does.
    pub(super) fn is_any_at(&self, node: NodeId) -> bool {
        self.held_by(node).is_some_and(is_any_in)
    }

    /// Whether it holds a record of a partition below an offset.
    pub(super) fn is_any_below(&self, node: NodeId, partition: i32, offset: Offset) -> bool {
        let records = self.held_by(node).and_then(|h| h.get(index(partition)));
        let first = records.and_then(VecDeque::front);
        first.is_some_and(|first| *first < offset)
    }

    /// Whether any application was given the record at this offset of a partition, or a later one.
    pub(super) fn has_reached(&self, partition: i32, offset: Offset) -> bool {
        let to = self.delivered_to.get(index(partition));
        to.is_some_and(|to| *to > offset)
    }

    fn held_by(&self, node: NodeId) -> Option<&[VecDeque<Offset>]> {
        let (_, held) = self
            .records
            .iter()
            .find(|(consumer, _)| *consumer == node)?;
        Some(held)
    }

    fn of(&mut self, consumer: NodeId, partition: i32) -> &mut VecDeque<Offset> {
        let known = self.records.iter().position(|(node, _)| *node == consumer);
        let at = known.unwrap_or_else(|| {
            self.records.push((consumer, Vec::new()));
            self.records.len() - 1
        });
        let (held, partition) = (&mut self.records[at].1, index(partition));
        if held.len() <= partition {
            held.resize_with(partition + 1, VecDeque::new);
        }
        &mut held[partition]
    }
}

fn is_any_in(held: &[VecDeque<Offset>]) -> bool {
    held.iter().any(|records| !records.is_empty())
}

fn index(partition: i32) -> usize {
    usize::try_from(partition).expect("partitions are counted from 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(2500);
    const B: NodeId = NodeId(2501);

    #[test]
    fn a_record_is_in_hand_from_its_delivery_to_its_processing() {
        let mut in_hand = InHand::default();
        for offset in [5, 6, 7] {
            in_hand.delivered(A, 1, offset);
        }
        in_hand.processed(A, 1, 5);
        assert!(!in_hand.is_any_below(A, 1, 6));
        assert!(in_hand.is_any_below(A, 1, 7));
        assert!(!in_hand.is_any_below(A, 0, 7) && !in_hand.is_any_below(B, 1, 7));
        // A handler threw on the first of two.
        in_hand.processed(A, 1, 7);
        assert!(in_hand.is_any_at(A) && !in_hand.is_any_at(B));
        in_hand.processed(A, 1, 6);
        assert!(!in_hand.is_any() && !in_hand.is_any_at(A));
    }

    #[test]
    fn a_record_that_is_given_again_is_held_once() {
        let mut in_hand = InHand::default();
        for offset in [5, 6, 4, 5] {
            in_hand.delivered(A, 0, offset);
        }
        for offset in [4, 5, 6] {
            assert!(in_hand.is_any_below(A, 0, offset + 1));
            in_hand.processed(A, 0, offset);
            assert!(!in_hand.is_any_below(A, 0, offset + 1));
        }
        assert!(!in_hand.is_any());
    }

    #[test]
    fn what_a_killed_process_held_was_delivered_all_the_same() {
        let mut in_hand = InHand::default();
        in_hand.delivered(A, 0, 3);
        in_hand.delivered(B, 2, 8);
        in_hand.killed(A);
        assert!(!in_hand.is_any_at(A) && in_hand.is_any_at(B));
        assert!(in_hand.has_reached(0, 3) && !in_hand.has_reached(0, 4));
        assert!(!in_hand.has_reached(1, 0), "nobody was given anything");
    }
}
