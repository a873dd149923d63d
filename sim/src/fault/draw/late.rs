//! `late-messages`: what travels between brokers and controllers is late while leaders change and
//! followers fall out of the ISR and return.
//!
//! Plots, each of which opens a window in which one of Kafka's checks is all that stands between a
//! replica and a hole in its log: the leadership moves to and fro while one follower copies late and
//! another hears late of it; a follower returns, a little behind, while the leadership moves, or the
//! leader's clock leaps; a proposal for the ISR arrives when the broker that it means has died and come
//! back meanwhile, or lags by now.
//!
//! Late is a quarter at most of what would make anybody notice. Not drawn: late metadata at a broker
//! that leads, loses the leadership and leads again before it has heard of that. Kafka then keeps what
//! the followers told the former leadership (`Partition.makeLeader` resets it for `isNewLeader` only),
//! and the high watermark may pass what they have cut since.

use super::*;

/// Shortest gap between two moves, in milliseconds: a broker whose metadata is not late has applied the
/// first one by then.
const APPLIED_MS: u64 = 5;

impl Drawing<'_> {
    pub(super) fn late_messages(&mut self, when: When) {
        match self.stream.below(12) {
            0..=4 => self.moved_to_and_fro(when),
            5 | 6 => self.returns_before_a_leap(when),
            7 | 8 => self.returns_to_the_next_leader(when),
            9 => self.returns_between_moves(when),
            10 => self.proposal_outlives_a_disk(when),
            _ => self.proposal_is_overtaken(when),
        }
    }

    /// One-way latency that nobody notices, in microseconds; at least a twentieth of the longest.
    fn late_us(&mut self) -> u64 {
        let longest = self.latest_us();
        self.stream.range(longest / 20, longest)
    }

    fn latest_us(&self) -> u64 {
        let timeouts = &self.context.timeouts;
        let patience_ms = timeouts
            .replica_lag_time_max_ms
            .min(timeouts.broker_session_timeout_ms);
        patience_ms.saturating_mul(1_000) / 4
    }

    /// The two that do not lead at first, in a drawn order.
    fn two_followers(&mut self) -> (Whom, Whom) {
        let (one, other) = (Whom::ReplicaOf(0, 1), Whom::ReplicaOf(0, 2));
        match self.stream.chance(1, 2) {
            true => (one, other),
            false => (other, one),
        }
    }

    /// Adds a fault that lasts until that long after the strike of a later one.
    fn until(&mut self, when: When, what: What, whom: Whom, for_ms: u64, counted_from: usize) {
        let counted_from = Some(counted_from);
        let fault = Fault::new(when, what, whom, for_ms);
        self.faults.push(Fault {
            counted_from,
            ..fault
        });
    }

    /// A while after another fault struck.
    fn after(&mut self, fault: usize, shortest_ms: u64, longest_ms: u64) -> When {
        let delay_ms = self.stream.range(shortest_ms, longest_ms);
        When::AfterFault { fault, delay_ms }
    }

    /// A while after an event that follows a fault.
    fn once(&mut self, fault: usize, event: Trigger, longest_ms: u64) -> When {
        When::Then {
            fault,
            event,
            nth: 1,
            delay_us: self.stream.range(0, longest_ms.saturating_mul(1_000)),
        }
    }

    /// Nothing happens: outages are counted from here.
    fn mark(&mut self, when: When) {
        let nothing = What::SlowLinks { extra_us: 0 };
        let fault = Fault::new(when, nothing, Whom::ReplicaOf(0, 0), 0);
        self.faults.push(fault);
    }

    /// With some seeds whoever leads then is killed.
    fn perhaps_a_crash(&mut self, after: usize, longest_ms: u64) {
        if self.stream.chance(1, 4) {
            let when = self.after(after, 0, longest_ms);
            let for_ms = self.outage_ms(Family::LateMessages);
            let fault = Fault::new(when, What::Crash, Whom::LeaderOf(0), for_ms);
            self.faults.push(fault);
        }
    }

    /// One follower copies late, so that the other is ahead of it when it is elected. The other hears
    /// late of that, or copies late from then on. Then the first leader leads again, or the other one.
    fn moved_to_and_fro(&mut self, when: When) {
        let (slow, other) = self.two_followers();
        let first = self.faults.len();
        let slow_us = self.late_us();
        let (hears_late, copies_late) = match self.stream.below(4) {
            0 | 1 => (true, false),
            2 => (true, true),
            _ => (false, true),
        };
        let moves: &[Whom] = match self.stream.below(4) {
            0 => &[slow, other],
            1 => &[slow, Whom::ReplicaOf(0, 0), slow],
            _ => &[slow, Whom::ReplicaOf(0, 0)],
        };
        let moved = first + 1 + usize::from(hears_late) + usize::from(copies_late);
        let last = moved + moves.len() - 1;
        let lasts_ms = self.stream.range(0, slow_us / 500);
        let copies = What::SlowCopies { extra_us: slow_us };
        match self.stream.chance(1, 2) {
            true => self.until(when, copies, slow, lasts_ms, last),
            // It is fast again as soon as it leads.
            false => self.until(when, copies, slow, 0, moved),
        }
        if hears_late {
            let extra_us = self.late_us();
            let when = self.after(first, 0, 0);
            let what = What::LateMetadata { extra_us };
            self.until(when, what, other, lasts_ms, last);
        }
        if copies_late {
            let extra_us = self.late_us();
            let what = What::SlowCopies { extra_us };
            let when = match self.stream.chance(1, 2) {
                true => self.after(first, 0, 0),
                false => self.after(first, slow_us / 1_000, slow_us / 250),
            };
            self.until(when, what, other, lasts_ms, last);
        }
        for (n, to) in moves.iter().enumerate() {
            let when = match (n, self.stream.below(4)) {
                // What is late must have fallen behind.
                (0, _) => self.after(first, slow_us / 1_000, slow_us / 250),
                (_, 0) => self.after(moved + n - 1, APPLIED_MS, 8 * APPLIED_MS),
                (_, 1 | 2) => self.after(moved + n - 1, 8 * APPLIED_MS, 250),
                _ => self.after(moved + n - 1, 250, 1_000),
            };
            let fault = Fault::new(when, What::GiveLeadership, *to, 0);
            self.faults.push(fault);
        }
        self.perhaps_a_crash(last, 300);
    }

    /// A follower falls out of the ISR and returns; the proposal to take it in again is on its way when
    /// the leader's clock leaps, so that nobody counts as caught up who was so before.
    fn returns_before_a_leap(&mut self, when: When) {
        let (_, returning) = self.two_followers();
        let first = self.faults.len();
        let (hold, leap) = (first + 1, first + 3);
        let session_ms = self.context.timeouts.broker_session_timeout_ms;
        let lag_ms = self.context.timeouts.replica_lag_time_max_ms;
        let (down_ms, what) = match self.stream.chance(1, 2) {
            true => (
                self.stream.range(session_ms, session_ms * 3 / 2),
                What::Crash,
            ),
            // Its leader looks for who lags every half of that time.
            false => {
                let direction = Direction::Both;
                let down_ms = self.stream.range(lag_ms * 3 / 2, lag_ms * 2);
                (down_ms, What::CutFromFollowers { direction })
            }
        };
        self.faults.push(Fault::new(when, what, returning, down_ms));
        let before_ms = down_ms - down_ms / 16;
        let before = self.after(first, before_ms, before_ms);
        // It tells of more than it told before in its second fetch.
        let extra_us = self.late_us();
        let held_ms = self.stream.range(1, extra_us / 1_000);
        let leader = Whom::ReplicaOf(0, 0);
        let (proposals, copies) = (What::HoldIsrProposals, What::SlowCopies { extra_us });
        self.until(before.clone(), proposals, leader, held_ms, leap);
        self.until(before, copies, returning, 1_000, leap);
        let by_ms = self.stream.range(lag_ms * 2, lag_ms * 20) as i64;
        let when = self.once(hold, Trigger::IsrProposed, 100);
        let what = What::ClockJump { by_ms };
        let fault = Fault::new(when, what, leader, session_ms);
        self.faults.push(fault);
        self.perhaps_a_crash(leap, 300);
    }

    /// A follower is fenced and returns, of which its leader hears late. By then the other one leads, and
    /// knows less of what is committed than it has; the follower is behind it by about as much.
    fn returns_to_the_next_leader(&mut self, when: When) {
        let (next, returning) = self.two_followers();
        let first = self.faults.len();
        let moved = first + 4;
        let session_ms = self.context.timeouts.broker_session_timeout_ms;
        let down_ms = self.stream.range(session_ms, session_ms * 3 / 2);
        let fault = Fault::new(when, What::Pause, returning, down_ms);
        self.faults.push(fault);
        let next_us = self.late_us() / 5;
        let returning_us = next_us * self.stream.range(100, 170) / 100;
        let before = self.after(first, down_ms * 3 / 4, down_ms * 3 / 4);
        for (whom, extra_us) in [(next, next_us), (returning, returning_us)] {
            let copies = What::SlowCopies { extra_us };
            self.until(before.clone(), copies, whom, 1_000, moved);
        }
        let extra_us = self.latest_us();
        let late = What::LateMetadata { extra_us };
        self.until(before, late, Whom::ReplicaOf(0, 0), 100, moved);
        let when = When::Then {
            fault: first,
            event: Trigger::Unfenced,
            nth: 1,
            delay_us: 2 * returning_us + self.stream.range(0, 100_000),
        };
        let fault = Fault::new(when, What::GiveLeadership, next, 0);
        self.faults.push(fault);
    }

    /// A follower is fenced and comes back while the leadership moves to the other one, which is behind,
    /// and at once back again. It hears late of both, and what it had copied before is cut off meanwhile.
    fn returns_between_moves(&mut self, when: When) {
        let (slow, fenced) = self.two_followers();
        let first = self.faults.len();
        let (away, back) = (first + 4, first + 5);
        let leader = Whom::ReplicaOf(0, 0);
        let session_ms = self.context.timeouts.broker_session_timeout_ms;
        let cut_ms = self.stream.range(session_ms, session_ms * 3 / 2);
        let direction = Direction::Both;
        let cut = What::CutFromController { direction };
        self.faults.push(Fault::new(when, cut, fenced, cut_ms));
        let before = self.after(first, cut_ms * 3 / 4, cut_ms * 3 / 4);
        let extra_us = self.late_us();
        let copies = What::SlowCopies { extra_us };
        self.until(before.clone(), copies, slow, 0, away);
        let hold = What::HoldIsrProposals;
        self.until(before.clone(), hold, leader, 0, away);
        let extra_us = self.late_us();
        let lasts_ms = self.stream.range(0, 1_000);
        let late = What::LateMetadata { extra_us };
        self.until(before, late, fenced, lasts_ms, back);
        let when = self.once(first, Trigger::Unfenced, 200);
        let fault = Fault::new(when, What::GiveLeadership, slow, 0);
        self.faults.push(fault);
        let when = self.after(away, APPLIED_MS, 200);
        let fault = Fault::new(when, What::GiveLeadership, leader, 0);
        self.faults.push(fault);
    }

    /// A follower was fenced and returns; the proposal to take it in again is held up until its disk has
    /// been replaced and it is registered once more.
    fn proposal_outlives_a_disk(&mut self, when: When) {
        let (_, returning) = self.two_followers();
        let session_ms = self.context.timeouts.broker_session_timeout_ms;
        let first = self.faults.len();
        let (destroyed, back) = (first + 2, first + 4);
        let down_ms = self.stream.range(session_ms, session_ms * 3 / 2);
        let fault = Fault::new(when, What::Crash, returning, down_ms);
        self.faults.push(fault);
        let when = self.after(first, down_ms.saturating_sub(500), down_ms);
        let released_ms = self.stream.range(0, 800);
        let leader = Whom::ReplicaOf(0, 0);
        self.until(when, What::HoldIsrProposals, leader, released_ms, back);
        let when = self.once(first + 1, Trigger::IsrProposed, 50);
        let gone_ms = self.stream.range(session_ms / 2, session_ms * 3 / 2);
        let fault = Fault::new(when, What::DestroyDisk, returning, gone_ms);
        self.faults.push(fault);
        // Nothing is copied to it before the proposal arrives.
        let extra_us = self.late_us();
        let when = self.after(destroyed, 0, 0);
        self.until(when, What::SlowCopies { extra_us }, returning, 2_000, back);
        let when = self.once(destroyed, Trigger::Unfenced, 0);
        self.mark(when);
    }

    /// A follower is cut off from the others until its leader proposes an ISR without it; that is held
    /// up. Meanwhile the other follower is fenced and returns, behind by then.
    fn proposal_is_overtaken(&mut self, when: When) {
        let (cut_off, paused) = self.two_followers();
        let session_ms = self.context.timeouts.broker_session_timeout_ms;
        let first = self.faults.len();
        let (pause, back) = (first + 2, first + 4);
        let direction = Direction::Both;
        let healed_ms = self.stream.range(0, session_ms / 4);
        let cut = What::CutFromFollowers { direction };
        self.until(when, cut, cut_off, healed_ms, pause);
        let released_ms = self.stream.range(0, 800);
        let leader = Whom::ReplicaOf(0, 0);
        let when = self.after(first, 0, 0);
        self.until(when, What::HoldIsrProposals, leader, released_ms, back);
        let when = self.once(first, Trigger::IsrProposed, 50);
        let paused_ms = self.stream.range(session_ms, session_ms * 2);
        let fault = Fault::new(when, What::Pause, paused, paused_ms);
        self.faults.push(fault);
        let extra_us = self.late_us();
        let when = self.after(pause, 0, 0);
        self.until(when, What::SlowCopies { extra_us }, paused, 2_000, back);
        let when = self.once(pause, Trigger::Unfenced, 0);
        self.mark(when);
    }
}
