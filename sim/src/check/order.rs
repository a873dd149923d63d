//! Invariant: with `max.in.flight.requests.per.connection=1` a producer's messages are appended in the
//! order in which they were sent.
//!
//! Such a producer sends a batch of a partition only when the one before it has its fate, whether or
//! not it is idempotent (`Sender` with `guaranteeMessageOrder`, KAFKA-3197). So a leader that appends a
//! message for the first time while a later one of the same producer and partition was appended before
//! has been sent it too late. Repetitions do not count. Nor does a message whose failure the
//! application was told, or which an earlier process of the producer sent: their requests may still
//! arrive, and nobody waits for them; nor one with acks=0, whose fate is known before it arrives.
//!
//! Not watched: producers with more requests in flight. Without idempotence a retry reorders them (P12);
//! with it a leader that knows nothing of the producer takes any first sequence
//! (`ProducerAppendInfo.checkSequence`), so that even there a batch can be overtaken.

use crate::history::{Message, SendOutcome};
use crate::result::Anomaly;
use std::collections::BTreeMap;

/// Watches every producer of a run.
#[derive(Debug, Default)]
pub struct Order {
    /// Newest message appended, by producer and partition.
    newest: BTreeMap<(u32, i32), u32>,
    /// The first message of each producer's present process; absent for 0.
    first: BTreeMap<u32, u32>,
}

impl Order {
    /// A producer's process was killed; the next one sends from this message on.
    pub fn killed(&mut self, producer: u32, next: u32) {
        self.first.insert(producer, next);
    }

    /// A leader appends a message, as it stood before; says what that breaks.
    pub fn appended(&mut self, message: &Message) -> Option<Anomaly> {
        let id = message.id;
        let newest = self.newest.entry((id.producer, id.partition)).or_default();
        let first = self.first.get(&id.producer).copied().unwrap_or(0);
        let overtaken = id.sequence < *newest
            && id.sequence >= first
            && message.appends.is_empty()
            && message.outcome == SendOutcome::Unknown;
        let later = *newest;
        *newest = later.max(id.sequence);
        overtaken.then(|| Anomaly {
            check: "order".into(),
            what: format!(
                "message {} of producer {} is first appended to partition {} after message {later}, \
                 with one request in flight",
                id.sequence, id.producer, id.partition
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ClientEvent, MessageId};
    use crate::history::{AppendedAt, History};
    use everyack_broker::ids::NodeId;

    fn id(sequence: u32) -> MessageId {
        MessageId {
            producer: 0,
            sequence,
            partition: 0,
        }
    }

    fn sent(count: u32) -> History {
        let mut history = History::new(1);
        for sequence in 0..count {
            history.record(0, &ClientEvent::Sent(id(sequence)));
        }
        history
    }

    /// The anomalies of appends in this order.
    fn append(history: &mut History, order: &mut Order, sequences: &[u32]) -> Vec<String> {
        let mut found = Vec::new();
        for &sequence in sequences {
            found.extend(order.appended(history.message(id(sequence))));
            let at = AppendedAt {
                at: 0,
                node: NodeId(1),
                leader_epoch: 0,
                offset: i64::from(sequence),
            };
            history.appended(id(sequence), at);
        }
        found.into_iter().map(|anomaly| anomaly.what).collect()
    }

    #[test]
    fn a_message_first_appended_after_a_later_one_is_an_anomaly() {
        let found = append(&mut sent(3), &mut Order::default(), &[0, 2, 1]);
        let [what] = &found[..] else {
            panic!("{found:?}")
        };
        assert!(what.starts_with("message 1 of producer 0 is first appended to partition 0"));
    }

    #[test]
    fn repetitions_are_none() {
        let found = append(&mut sent(3), &mut Order::default(), &[0, 1, 0, 2, 1, 0]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn what_nobody_waits_for_may_arrive_late() {
        let mut history = sent(3);
        history.record(1, &ClientEvent::SendFailed(id(0), "timeout".into()));
        assert_eq!(
            append(&mut history, &mut Order::default(), &[1, 0]),
            [""; 0]
        );
        let mut order = Order::default();
        order.killed(0, 2);
        assert_eq!(append(&mut sent(3), &mut order, &[2, 1, 0]), [""; 0]);
    }
}
