//! The one agenda of events, ordered by (time, sequence).

use everyack_broker::env::{ConnId, Queue, TimerToken};
use everyack_broker::time::{MILLIS, Nanos};
use std::cmp::{Ordering, Reverse};
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

/// What is due within this time is near.
const NEAR: Nanos = MILLIS;
/// So many near entries are kept sorted; more go to the heap.
const NEAR_ENTRIES: usize = 24;

/// When something is due, and what. Ordered by time, then by number: one number is all that is compared.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Time above, the number of the entry below.
    order: u128,
    due: Packed,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        self.order.cmp(&other.order)
    }
}

/// Time and what is due.
///
/// Most entries are frames and items of queues, due within a millisecond: a handful at a time, kept
/// sorted. The rest, mostly timeouts that will have nothing to do, wait in a heap where they make no
/// near entry dearer.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    now: Nanos,
    /// Entries put so far.
    number: u64,
    /// Latest first, so that the next is taken off the end.
    near: Vec<Entry>,
    far: BinaryHeap<Reverse<Entry>>,
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
        self.number += 1;
        let order = u128::from(at) << 64 | u128::from(self.number);
        let entry = Entry { order, due };
        if at - self.now < NEAR && self.near.len() < NEAR_ENTRIES {
            let later = self.near.iter().rposition(|other| other.order > order);
            self.near.insert(later.map_or(0, |last| last + 1), entry);
        } else {
            self.far.push(Reverse(entry));
        }
    }

    /// Moves time to the next event and takes it.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Due> {
        self.pop_packed().map(Packed::open)
    }

    fn pop_packed(&mut self) -> Option<Packed> {
        let far = self.far.peek().map_or(u128::MAX, |Reverse(far)| far.order);
        let entry = match self.near.last() {
            Some(near) if near.order < far => self.near.pop(),
            _ => self.far.pop().map(|Reverse(entry)| entry),
        }?;
        let at = (entry.order >> 64) as Nanos;
        debug_assert!(at >= self.now);
        self.now = at;
        Some(entry.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everyack_broker::env::Stream;

    #[test]
    fn events_come_by_time_and_those_of_an_instant_in_the_order_in_which_they_were_put() {
        let mut draws = Stream::new(7, 0);
        let mut agenda = Agenda::default();
        let (mut waiting, mut number) = (Vec::new(), 0);
        for _ in 0..5_000 {
            for _ in 0..draws.below(4) {
                // At once, soon, late; often at the same instant, and at times before the present one.
                let ahead = [0, 3, NEAR - 1, NEAR, 40 * NEAR][draws.below(5) as usize];
                let at = (agenda.now() + ahead).saturating_sub(draws.below(2));
                agenda.put(at, Due::Control(number));
                waiting.push((at.max(agenda.now()), number));
                number += 1;
            }
            let next = waiting.iter().copied().min();
            let Some(Due::Control(taken)) = agenda.pop() else {
                assert_eq!(next, None);
                continue;
            };
            assert_eq!(next, Some((agenda.now(), taken)));
            waiting.retain(|(_, number)| *number != taken);
        }
        assert!(number > 5_000);
    }
}
