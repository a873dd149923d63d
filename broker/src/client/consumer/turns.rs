//! When the call that is being served goes on: at once where something happened, later by a timer.

use super::coordinator::SyncCommit;
use super::{Active, Consumer};
use crate::env::Env;
use crate::time::{Nanos, millis};

impl Consumer {
    /// Everything that can be done now. `begun`: a call was begun just now. `happened`: there is
    /// something that the next turn has not seen.
    pub(super) fn run(&mut self, mut begun: bool, mut happened: bool, env: &mut Env<'_>) {
        loop {
            // What happens before the call takes its turn is news to that turn, what happens later is not.
            while let Some(completion) = self.network.next_completion() {
                happened = true;
                self.handle_completion(completion, env);
            }
            if !std::mem::take(&mut begun) && self.active.is_none() {
                let Some((call, what)) = self.waiting_calls.pop_front() else {
                    return;
                };
                happened = true;
                self.begin(call, what, env);
            }
            let mut happened_later = self.advance(env);
            if self.closed {
                if self.waiting_calls.is_empty() {
                    return;
                }
                continue;
            }
            // What a call leaves behind is still sent (ConsumerNetworkClient.transmitSends).
            let (sent, failed) = self.try_send(env);
            // The turn knows what it sends.
            happened |= sent;
            happened_later |= failed;
            happened_later |= self.network.poll(env);
            if !happened_later && (!happened || self.is_settled(env.now)) {
                break;
            }
            happened = false;
        }
        if self.active.is_some() {
            self.arm(env);
        }
    }

    /// Whether another turn, at this instant and without any news, would do nothing: the call waits for
    /// an answer or for time to pass. Where this is not sure, it says no, and the turn is taken.
    fn is_settled(&self, now: Nanos) -> bool {
        let waits = match &self.active {
            Some(Active::Poll(..)) => {
                let commits = self.auto_commit && self.coordinator.next_auto_commit <= now;
                // Only then the next turn would begin to wait for the update.
                let searches =
                    self.network.metadata.update_requested() && !self.network.has_ready_nodes();
                let positioned =
                    self.has_all_fetch_positions && self.subscriptions.has_all_fetch_positions();
                positioned && !self.has_answers() && !commits && !searches
            }
            Some(Active::Commit(_, commit)) => !commit.needs_coordinator(),
            _ => false,
        };
        waits
            && self.await_update.is_none()
            && self.coordinator.has_told_of_all_commits()
            && !self.network.has_news(now)
    }

    /// One timer for everything that waits while a call is being served.
    fn arm(&mut self, env: &mut Env<'_>) {
        // ConsumerNetworkClient.poll waits no longer than retry.backoff.ms while nothing is in
        // flight, and ClassicKafkaConsumer.pollForFetches while a position is missing.
        let reading = matches!(self.active, Some(Active::Poll(..) | Active::Positions(..)));
        let waits_for_nothing = !self.network.has_in_flight_requests();
        if reading
            && self.next_turn_at == Nanos::MAX
            && (waits_for_nothing || !self.has_all_fetch_positions)
        {
            let backoff = millis(self.config.retry_backoff_ms).max(1);
            self.next_turn_at = env.now.saturating_add(backoff);
        }
        let mut next = self.network.next_deadline(env.now).min(self.next_turn_at);
        for unsent in &self.unsent {
            next = next.min(unsent.deadline);
        }
        if let Some(active) = &self.active {
            next = next.min(self.next_turn(active, env.now));
        }
        self.alarm.set(next, env);
    }

    /// When the call that is being served must be looked at again without any input.
    fn next_turn(&self, active: &Active, now: Nanos) -> Nanos {
        let mut next = self.coordinator.next_deadline(now);
        match active {
            Active::Poll(_, deadline) => {
                next = next.min(*deadline);
                if self.auto_commit && self.coordinator.next_auto_commit > now {
                    next = next.min(self.coordinator.next_auto_commit);
                }
            }
            Active::Positions(_, deadline) => next = next.min(*deadline),
            Active::Commit(_, commit) => next = next.min(commit.next_deadline()),
            Active::Close(_, commit, deadline) => {
                let commit = commit
                    .as_ref()
                    .map_or(Nanos::MAX, SyncCommit::next_deadline);
                next = next.min(*deadline).min(commit);
            }
        }
        for partition in self.subscriptions.iter() {
            if partition.next_retry > now && !partition.has_valid_position() {
                next = next.min(partition.next_retry);
            }
        }
        next
    }
}
