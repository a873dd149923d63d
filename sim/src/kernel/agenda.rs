//! The one heap of events, ordered by (time, sequence).

use everyack_broker::env::{ConnId, Queue, TimerToken};
use everyack_broker::time::Nanos;
use std::cmp::Reverse;
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
    /// A stall of the disk of the machine with this index is over for the item with this number.
    StallOver(u32, u64),
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

/// Bits of a heap entry that hold the slot; those above hold the sequence, then the time.
const SLOT_BITS: u32 = 24;
const SEQUENCE_BITS: u32 = 40;

/// Time and what is due.
///
/// A heap entry is one number, (time, sequence, slot) from the top, so that the heap moves and
/// compares nothing else; what is due lies in the slot. That bounds a run to 2^40 events and to 2^24
/// that are due at once.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    now: Nanos,
    sequence: u64,
    heap: BinaryHeap<Reverse<u128>>,
    /// The first entry was taken and is still in the heap: most events put another, which then sinks
    /// from its place, for half the work of taking one out and putting one in.
    first_is_taken: bool,
    slots: Vec<Due>,
    free: Vec<u32>,
}

impl Agenda {
    #[inline]
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Puts an event at an instant, at once where it has passed. Events of one instant come in the
    /// order in which they were put.
    pub fn put(&mut self, at: Nanos, due: Due) {
        let at = at.max(self.now);
        self.sequence += 1;
        assert!(self.sequence >> SEQUENCE_BITS == 0, "too many events");
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = due;
                slot
            }
            None => {
                self.slots.push(due);
                self.slots.len() as u32 - 1
            }
        };
        assert!(slot >> SLOT_BITS == 0, "too many events are due");
        let order = self.sequence << SLOT_BITS | u64::from(slot);
        let entry = Reverse(u128::from(at) << 64 | u128::from(order));
        if std::mem::take(&mut self.first_is_taken)
            && let Some(mut first) = self.heap.peek_mut()
        {
            *first = entry;
        } else {
            self.heap.push(entry);
        }
    }

    /// Moves time to the next event and takes it.
    pub fn pop(&mut self) -> Option<Due> {
        if std::mem::take(&mut self.first_is_taken) {
            self.heap.pop();
        }
        let Reverse(entry) = *self.heap.peek()?;
        self.first_is_taken = true;
        let at = (entry >> 64) as Nanos;
        debug_assert!(at >= self.now);
        self.now = at;
        let slot = entry as u32 & ((1 << SLOT_BITS) - 1);
        self.free.push(slot);
        Some(self.slots[slot as usize])
    }
}
