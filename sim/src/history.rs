//! What became of every message: the applications' view, kept while the run goes on.
//!
//! Sends, answers and processings come from [`ClientEvent`]s; which offset a record was appended at
//! comes from the leaders' own logs at the instant of the append, since with acks=0 nobody tells.

use crate::event::{ClientEvent, MessageId};
use bytes::Bytes;
use everyack_broker::ids::*;
use everyack_broker::time::Nanos;
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// For no more messages of a producer than that room is made beforehand.
const ROOM_MAX: u32 = 1 << 12;

/// The outcome of a send, as the application was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendOutcome {
    /// Nothing yet, or never: unknown, and never refined by guessing.
    Unknown,
    /// The callback reported success, with this offset (-1 with acks=0).
    Acked {
        /// When.
        at: Nanos,
        /// Where, as the broker said.
        offset: Offset,
    },
    /// The callback reported an error.
    Failed,
}

/// An append of a message by a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendedAt {
    /// When.
    pub at: Nanos,
    /// The leader.
    pub node: NodeId,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// The offset.
    pub offset: Offset,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    /// Who it is.
    pub id: MessageId,
    /// When send() was called.
    pub sent_at: Nanos,
    /// What the application was told.
    pub outcome: SendOutcome,
    /// When a request that carries it first reached a broker's process, and which; kept for acks=0.
    pub arrived: Option<(Nanos, NodeId)>,
    /// Appends by leaders, in order; several after retries.
    pub appends: SmallVec<[AppendedAt; 1]>,
    /// Times that it was processed.
    pub processed: u32,
    /// Its handler threw, and its dead letter was acknowledged.
    pub dead_lettered: bool,
    /// Offsets at which a poll returned it, with the time.
    pub delivered: SmallVec<[(Nanos, Offset); 1]>,
}

impl Message {
    /// Whether an application has done with it what it does with such a message.
    fn is_handled(&self) -> bool {
        self.processed > 0 || self.dead_lettered
    }

    /// Whether it was acknowledged, and no application has done that.
    fn waits_for_application(&self) -> bool {
        matches!(self.outcome, SendOutcome::Acked { .. }) && !self.is_handled()
    }
}

/// A record that a replica let go of in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetGo {
    /// Where it was in the log.
    pub offset: Offset,
    /// Its key, where the cleaner took it; `None` where retention did.
    pub replaced: Option<Bytes>,
}

/// What one producer has sent.
#[derive(Debug, Default)]
struct Sent {
    /// By sequence.
    messages: Vec<Message>,
    /// Highest sequence processed for the first time, by partition.
    newest_processed: Vec<(i32, u32)>,
}

impl Sent {
    fn index(&self, id: MessageId) -> usize {
        // Almost always a producer sends its messages one after the other, from the first.
        let likely = self.messages.get(id.sequence as usize);
        match likely {
            Some(message) if message.id.sequence == id.sequence => id.sequence as usize,
            _ => self.search(id),
        }
    }

    #[cold]
    fn search(&self, id: MessageId) -> usize {
        self.messages
            .binary_search_by_key(&id.sequence, |m| m.id.sequence)
            .unwrap_or_else(|_| panic!("message {id:?} was never sent"))
    }

    /// A message is processed for the first time: whether that was so of a later one already.
    fn is_behind(&mut self, id: MessageId) -> bool {
        let mut newest = self.newest_processed.iter_mut();
        match newest.find(|(partition, _)| *partition == id.partition) {
            Some((_, newest)) => {
                let behind = id.sequence < *newest;
                *newest = id.sequence.max(*newest);
                behind
            }
            None => {
                self.newest_processed.push((id.partition, id.sequence));
                false
            }
        }
    }
}

/// All messages of a run.
#[derive(Debug, Default)]
pub struct History {
    /// What retention and compaction took, by producer and sequence.
    let_go: BTreeMap<(u32, u32), LetGo>,
    /// The applications look at no result of a send.
    results_ignored: bool,
    /// By producer.
    producers: Vec<Sent>,
    reordered: u64,
    unprocessed_acks: u64,
    unanswered: u64,
    unappended: u64,
    ack_us: Vec<u32>,
    last_ack: Nanos,
    longest_gap: Nanos,
    pending_since: Option<Nanos>,
}

impl History {
    /// For that many producers.
    pub fn new(producers: u32) -> History {
        History {
            producers: (0..producers).map(|_| Sent::default()).collect(),
            ..History::default()
        }
    }

    /// With room for so many messages of each producer, within reason.
    pub fn with_room(mut self, messages_per_producer: u32) -> History {
        for sent in &mut self.producers {
            sent.messages
                .reserve(messages_per_producer.min(ROOM_MAX) as usize);
        }
        self
    }

    /// Of applications that look at no result of a send.
    pub fn with_results_ignored(self, results_ignored: bool) -> History {
        History {
            results_ignored,
            ..self
        }
    }

    /// Whether a failed send is one that nobody learns of.
    pub fn are_results_ignored(&self) -> bool {
        self.results_ignored
    }

    fn get_mut(&mut self, id: MessageId) -> &mut Message {
        let sent = &mut self.producers[id.producer as usize];
        let index = sent.index(id);
        &mut sent.messages[index]
    }

    fn get(&self, id: MessageId) -> &Message {
        let sent = &self.producers[id.producer as usize];
        &sent.messages[sent.index(id)]
    }

    /// A message that was sent.
    ///
    /// # Panics
    /// Where it was not.
    pub fn message(&self, id: MessageId) -> &Message {
        self.get(id)
    }

    /// How often a message was processed.
    pub fn times_processed(&self, id: MessageId) -> u32 {
        self.get(id).processed
    }

    /// Every message, by producer and sequence.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.producers.iter().flat_map(|sent| &sent.messages)
    }

    /// Whether every acknowledged message was processed, or is an acknowledged dead letter.
    pub fn all_acked_are_processed(&self) -> bool {
        self.unprocessed_acks == 0
    }

    /// Messages sent whose fate nobody has told.
    pub fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// Messages sent that no leader has appended and whose failure nobody has told.
    pub fn unappended(&self) -> u64 {
        self.unappended
    }

    /// Messages processed for the first time after a later one of the same producer and partition.
    pub fn reordered(&self) -> u64 {
        self.reordered
    }

    /// Latencies from send() to the acknowledgement in microseconds, in order of the acknowledgements.
    pub fn ack_us(&self) -> &[u32] {
        &self.ack_us
    }

    /// Longest time that a message waited while none was acknowledged.
    pub fn longest_gap(&self) -> Nanos {
        self.longest_gap
    }

    /// Takes what an application did or was told.
    pub fn record(&mut self, at: Nanos, event: &ClientEvent) {
        match event {
            ClientEvent::Sent(id) => self.sent(at, *id),
            ClientEvent::Acked(id, offset) => self.acked(at, *id, *offset),
            ClientEvent::SendFailed(id, _) => {
                let message = self.get_mut(*id);
                if message.outcome == SendOutcome::Unknown {
                    message.outcome = SendOutcome::Failed;
                    let unappended = message.appends.is_empty();
                    self.unanswered -= 1;
                    self.unappended -= u64::from(unappended);
                }
                self.close_gap(at);
            }
            ClientEvent::Processed { message, .. } => self.processed(*message),
            ClientEvent::DeadLettered(message) => self.dead_lettered(*message),
            ClientEvent::Delivered { message, offset } => {
                let (message, offset) = (*message, *offset);
                self.get_mut(message).delivered.push((at, offset));
            }
            _ => {}
        }
    }

    fn sent(&mut self, at: Nanos, id: MessageId) {
        let sent = &mut self.producers[id.producer as usize].messages;
        assert!(
            sent.last().is_none_or(|m| m.id.sequence < id.sequence),
            "message {id:?} is sent out of order"
        );
        sent.push(Message {
            id,
            sent_at: at,
            outcome: SendOutcome::Unknown,
            arrived: None,
            appends: SmallVec::new(),
            processed: 0,
            dead_lettered: false,
            delivered: SmallVec::new(),
        });
        self.unanswered += 1;
        self.unappended += 1;
        self.pending_since.get_or_insert(at);
    }

    fn acked(&mut self, at: Nanos, id: MessageId, offset: Offset) {
        let message = self.get_mut(id);
        assert_eq!(
            message.outcome,
            SendOutcome::Unknown,
            "{id:?} is answered twice"
        );
        message.outcome = SendOutcome::Acked { at, offset };
        message.id = id;
        let latency = (at - message.sent_at) / 1_000;
        let unprocessed = !message.is_handled();
        self.unanswered -= 1;
        self.unprocessed_acks += u64::from(unprocessed);
        self.ack_us.push(u32::try_from(latency).unwrap_or(u32::MAX));
        self.close_gap(at);
        self.last_ack = at;
    }

    /// A stretch without an acknowledgement ends while something waited for one.
    fn close_gap(&mut self, at: Nanos) {
        if let Some(since) = self.pending_since.take() {
            let from = since.max(self.last_ack);
            self.longest_gap = self.longest_gap.max(at.saturating_sub(from));
        }
        if self.unanswered > 0 {
            self.pending_since = Some(at);
        }
    }

    fn processed(&mut self, id: MessageId) {
        let sent = &mut self.producers[id.producer as usize];
        let index = sent.index(id);
        let message = &mut sent.messages[index];
        self.unprocessed_acks -= u64::from(message.waits_for_application());
        message.processed += 1;
        if message.processed == 1 {
            self.reordered += u64::from(sent.is_behind(id));
        }
    }

    fn dead_lettered(&mut self, id: MessageId) {
        let message = self.get_mut(id);
        let waits = message.waits_for_application();
        message.dead_lettered = true;
        self.unprocessed_acks -= u64::from(waits);
    }

    /// A request that carries this message has reached a broker's process.
    pub fn arrived(&mut self, id: MessageId, at: Nanos, node: NodeId) {
        self.get_mut(id).arrived.get_or_insert((at, node));
    }

    /// What retention or compaction took of a message, if they did.
    pub fn what_was_let_go(&self, id: MessageId) -> Option<&LetGo> {
        self.let_go.get(&(id.producer, id.sequence))
    }

    /// A replica let go of a record that carries this message: for retention, or for a later record of
    /// its key.
    pub fn let_go(&mut self, id: MessageId, what: LetGo) {
        self.let_go.insert((id.producer, id.sequence), what);
    }

    /// A leader appended a record that carries this message.
    pub fn appended(&mut self, id: MessageId, append: AppendedAt) {
        let message = self.get_mut(id);
        let first = message.appends.is_empty() && message.outcome != SendOutcome::Failed;
        message.id = id;
        message.appends.push(append);
        self.unappended -= u64::from(first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sequence: u32) -> MessageId {
        MessageId {
            producer: 0,
            sequence,
            partition: 0,
        }
    }

    #[test]
    fn an_ack_without_processing_is_remembered_until_it_is_processed() {
        let mut history = History::new(1);
        history.record(0, &ClientEvent::Sent(id(0)));
        history.record(5_000, &ClientEvent::Acked(id(0), 7));
        assert!(!history.all_acked_are_processed());
        assert_eq!(history.ack_us(), [5]);
        let processed = ClientEvent::Processed {
            message: id(0),
            offset: 7,
        };
        history.record(6_000, &processed);
        history.record(7_000, &processed);
        assert!(history.all_acked_are_processed());
        assert_eq!(history.messages().next().unwrap().processed, 2);
    }

    #[test]
    fn an_acknowledged_dead_letter_is_waited_for_no_longer() {
        let mut history = History::new(1);
        for (sequence, offset) in [(0, 7), (1, 8)] {
            history.record(0, &ClientEvent::Sent(id(sequence)));
            history.record(1, &ClientEvent::Acked(id(sequence), offset));
        }
        history.record(2, &ClientEvent::DeadLetterFailed(id(0), "timeout".into()));
        history.record(2, &ClientEvent::DeadLettered(id(1)));
        assert!(!history.all_acked_are_processed());
        history.record(3, &ClientEvent::DeadLettered(id(0)));
        history.record(4, &ClientEvent::DeadLettered(id(0)));
        assert!(history.all_acked_are_processed());
        assert_eq!(history.times_processed(id(0)), 0);
    }

    #[test]
    fn a_message_first_processed_after_a_later_one_is_reordered() {
        let mut history = History::new(1);
        for n in 0..3 {
            history.record(0, &ClientEvent::Sent(id(n)));
        }
        for n in [0, 2, 1] {
            let event = ClientEvent::Processed {
                message: id(n),
                offset: i64::from(n),
            };
            history.record(1, &event);
        }
        assert_eq!(history.reordered(), 1);
    }

    #[test]
    fn the_longest_gap_counts_only_while_something_waits() {
        let mut history = History::new(1);
        history.record(0, &ClientEvent::Sent(id(0)));
        history.record(10, &ClientEvent::Acked(id(0), 0));
        // Nothing waits from 10 to 1000.
        history.record(1_000, &ClientEvent::Sent(id(1)));
        history.record(1_200, &ClientEvent::Acked(id(1), 1));
        assert_eq!(history.longest_gap(), 200);
    }
}
