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

/// What is due, as two words. They stay in registers from where it is put to where the heap keeps them:
/// an enum would be written field by field and copied as a whole, for which the processor waits.
#[derive(Debug, Clone, Copy)]
struct Packed(u64, u64);

impl Packed {
    /// A kind, up to 24 bits and up to 32 bits in the first word.
    #[inline(always)]
    fn new(kind: u64, small: u32, number: u32, word: u64) -> Packed {
        debug_assert!(small >> 24 == 0, "{small} is too large");
        Packed(kind | u64::from(small) << 8 | u64::from(number) << 32, word)
    }

    #[inline(always)]
    fn pack(due: Due) -> Packed {
        let side = u32::from;
        match due {
            Due::Timer(to, token) => Packed::new(0, to.node, to.incarnation, token.0),
            Due::Serve(to, queue) => Packed::new(1, to.node, to.incarnation, queue.code()),
            Due::StallOver(machine, number) => Packed::new(2, 0, machine, number),
            Due::DiskSync(machine, number) => Packed::new(3, 0, machine, number),
            Due::Arrive(conn, end, flight) => Packed::new(4, side(end), flight, conn.0),
            Due::Retransmit(conn, end, timer) => Packed::new(5, side(end), timer, conn.0),
            Due::Syn(conn) => Packed::new(6, 0, 0, conn.0),
            Due::SynRetry(conn) => Packed::new(7, 0, 0, conn.0),
            Due::SynAck(conn) => Packed::new(8, 0, 0, conn.0),
            Due::Refusal(conn) => Packed::new(9, 0, 0, conn.0),
            Due::Rst(conn, end) => Packed::new(10, side(end), 0, conn.0),
            Due::Aborted(conn, end) => Packed::new(11, side(end), 0, conn.0),
            Due::Control(token) => Packed::new(12, 0, 0, token),
        }
    }

    #[inline(always)]
    fn open(self) -> Due {
        let Packed(first, word) = self;
        let (small, number) = ((first >> 8) as u32 & 0xff_ffff, (first >> 32) as u32);
        let (conn, side) = (ConnId(word), small as u8);
        let target = Target {
            node: small,
            incarnation: number,
        };
        match first as u8 {
            0 => Due::Timer(target, TimerToken(word)),
            1 => Due::Serve(target, Queue::from_code(word)),
            2 => Due::StallOver(number, word),
            3 => Due::DiskSync(number, word),
            4 => Due::Arrive(conn, side, number),
            5 => Due::Retransmit(conn, side, number),
            6 => Due::Syn(conn),
            7 => Due::SynRetry(conn),
            8 => Due::SynAck(conn),
            9 => Due::Refusal(conn),
            10 => Due::Rst(conn, side),
            11 => Due::Aborted(conn, side),
            _ => Due::Control(word),
        }
    }
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
    slots: Vec<Packed>,
    free: Vec<u32>,
}

impl Agenda {
    #[inline]
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Puts an event at an instant, at once where it has passed. Events of one instant come in the
    /// order in which they were put.
    #[inline(always)]
    pub fn put(&mut self, at: Nanos, due: Due) {
        self.put_packed(at, Packed::pack(due));
    }

    fn put_packed(&mut self, at: Nanos, due: Packed) {
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
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Due> {
        self.pop_packed().map(Packed::open)
    }

    fn pop_packed(&mut self) -> Option<Packed> {
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
