//! Property of a run's end: with `max.in.flight.requests.per.connection=1` a producer's messages stand
//! in a log in the order in which they were sent.
//!
//! Such a producer sends a batch of a partition only when the one before it has its fate, whether or
//! not it is idempotent (`Sender` with `guaranteeMessageOrder`, KAFKA-3197). So in the leader's log no
//! acknowledged message stands behind a later one of the same producer, if it does not stand before it
//! as well: a repetition is none. A message whose failure the application was told, or which was never
//! answered (its producer was killed), may have been on its way until then, and nobody waited for it.
//!
//! Not watched: acks=0, where a message has its fate before it arrives, and producers with more
//! requests in flight. Without idempotence a retry reorders them (P12); with it a leader that knows
//! nothing of the producer takes any first sequence (`ProducerAppendInfo.checkSequence`), so that even
//! there a batch can be overtaken.

use super::messages::{Found, messages_in};
use super::verdict::FinalPartition;
use crate::history::{History, SendOutcome};
use crate::result::Anomaly;
use std::collections::{BTreeMap, BTreeSet};

/// The first message of each partition that is out of order.
pub fn check(history: &History, partitions: &BTreeMap<i32, FinalPartition>) -> Vec<Anomaly> {
    let found = partitions.iter().filter_map(|(index, partition)| {
        let mut seen: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        let log = partition.logs.get(&partition.leader)?;
        messages_in(log, *index).find_map(|Found { id, offset, .. }| {
            let seen = seen.entry(id.producer).or_default();
            let newest = seen.last().copied().unwrap_or(0);
            let first_time = seen.insert(id.sequence);
            let outcome = history.message(id).outcome;
            let acked = matches!(outcome, SendOutcome::Acked { .. });
            (first_time && id.sequence < newest && acked).then(|| Anomaly {
                check: "order".into(),
                what: format!(
                    "message {} of producer {} stands at offset {offset} of partition {index}, behind \
                     message {newest}, and had one request in flight",
                    id.sequence, id.producer
                ),
            })
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ClientEvent, MessageId};
    use bytes::Bytes;
    use everyack_broker::log::BatchBuilder;

    fn id(sequence: u32) -> MessageId {
        MessageId {
            producer: 0,
            sequence,
            partition: 0,
        }
    }

    /// What is found in a log with these messages, all acknowledged but one.
    fn found_in(log: &[u32], unacked: Option<ClientEvent>) -> Vec<String> {
        let mut history = History::new(1);
        for sequence in 0..4 {
            history.record(0, &ClientEvent::Sent(id(sequence)));
        }
        let failed = match &unacked {
            Some(ClientEvent::SendFailed(id, _) | ClientEvent::Sent(id)) => Some(id.sequence),
            _ => None,
        };
        for sequence in (0..4).filter(|s| Some(*s) != failed) {
            history.record(1, &ClientEvent::Acked(id(sequence), -1));
        }
        if let Some(event @ ClientEvent::SendFailed(..)) = &unacked {
            history.record(1, event);
        }
        let mut bytes = Vec::new();
        for (offset, sequence) in log.iter().enumerate() {
            let mut batch = BatchBuilder::new();
            batch.append(0, None, Some(&id(*sequence).to_value(32)), &[]);
            batch.set_base(offset as i64, 0);
            bytes.extend_from_slice(&batch.build());
        }
        let partition = FinalPartition {
            leader: 1,
            logs: BTreeMap::from([(1, Bytes::from(bytes))]),
            ..FinalPartition::default()
        };
        let found = check(&history, &BTreeMap::from([(0, partition)]));
        found.into_iter().map(|anomaly| anomaly.what).collect()
    }

    #[test]
    fn a_message_behind_a_later_one_is_found() {
        let found = found_in(&[0, 2, 1, 3], None);
        let [what] = &found[..] else {
            panic!("{found:?}")
        };
        assert!(
            what.starts_with("message 1 of producer 0 stands at offset 2 of partition 0"),
            "{what}"
        );
    }

    #[test]
    fn gaps_and_repetitions_are_in_order() {
        assert_eq!(found_in(&[0, 1, 0, 1, 3, 0], None), [""; 0]);
    }

    #[test]
    fn what_nobody_waited_for_may_stand_anywhere() {
        let failed = ClientEvent::SendFailed(id(1), "timeout".into());
        assert_eq!(found_in(&[0, 2, 1, 3], Some(failed)), [""; 0]);
        let unanswered = ClientEvent::Sent(id(1));
        assert_eq!(found_in(&[0, 2, 1, 3], Some(unanswered)), [""; 0]);
    }
}
