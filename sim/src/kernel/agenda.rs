//! The one heap of events, ordered by (time, sequence).

use everyack_broker::env::{ConnId, Queue, TimerToken};
use everyack_broker::time::Nanos;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A node's index and the incarnation that an event is meant for; events for others are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub node: u32,
    pub incarnation: u32,
}

/// Something that is due at an instant. Frames stay in their connection, so that entries are small.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    Timer(Target, TimerToken),
    Serve(Target, Queue),
    /// The device of the machine with this index finished the sync with this number.
    DiskSync(u32, u64),
    /// The first segment of a direction of a connection arrives, if its flight is still current.
    Arrive(ConnId, u8, u32),
    /// The retransmission timer of a direction, if it is still the current one.
    Retransmit(ConnId, u8, u32),
    /// A SYN arrives.
    Syn(ConnId),
    /// The client sends its SYN again.
    SynRetry(ConnId),
    /// A SYN-ACK arrives.
    SynAck(ConnId),
    /// The answer of a machine where nobody listens arrives.
    Refusal(ConnId),
    /// An RST arrives at this end.
    Rst(ConnId, u8),
    /// This end learns at once that its connection was reset.
    Aborted(ConnId, u8),
    /// The driver asked for it.
    Control(u64),
}

#[derive(Debug)]
struct Entry {
    at: Nanos,
    sequence: u64,
    due: Due,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

/// Time and what is due.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    now: Nanos,
    sequence: u64,
    heap: BinaryHeap<Entry>,
}

impl Agenda {
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Puts an event at an instant, at once where it has passed. Events of one instant come in the
    /// order in which they were put.
    pub fn put(&mut self, at: Nanos, due: Due) {
        let at = at.max(self.now);
        self.sequence += 1;
        self.heap.push(Entry {
            at,
            sequence: self.sequence,
            due,
        });
    }

    pub fn peek(&self) -> Option<Nanos> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Moves time to the next event and takes it.
    pub fn pop(&mut self) -> Option<Due> {
        let entry = self.heap.pop()?;
        debug_assert!(entry.at >= self.now);
        self.now = entry.at;
        Some(entry.due)
    }
}
