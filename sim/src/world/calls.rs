//! Calls of applications that were not answered yet, or whose answer was not fetched yet.
//!
//! The kernel numbers calls from 0 without gaps and an application fetches most answers soon, so that
//! the calls are a window over those numbers: found by subtraction, never by search.

use crate::application::About;
use crate::world::ApplicationId;
use everyack_broker::client::{CallId, Reply};
use std::collections::VecDeque;
use std::task::Waker;

/// A call that was not yet answered, or whose answer was not yet fetched.
pub(super) struct PendingCall {
    pub application: ApplicationId,
    pub about: About,
    pub accepted: bool,
    pub answer: Option<Reply>,
    pub waker: Option<Waker>,
}

/// The window; see the module head.
#[derive(Default)]
pub(super) struct Calls {
    first: u64,
    window: VecDeque<Option<PendingCall>>,
}

impl Calls {
    fn index(&self, id: CallId) -> Option<usize> {
        id.0.checked_sub(self.first).map(|index| index as usize)
    }

    /// Adds a call, whose number is above those of all before it.
    pub fn insert(&mut self, id: CallId, call: PendingCall) {
        if self.window.is_empty() {
            self.first = id.0;
        }
        let index = self.index(id).expect("numbers grow");
        assert!(index >= self.window.len(), "{id:?} is no new call");
        while self.window.len() < index {
            self.window.push_back(None);
        }
        self.window.push_back(Some(call));
    }

    #[inline]
    pub fn get_mut(&mut self, id: CallId) -> Option<&mut PendingCall> {
        let index = self.index(id)?;
        self.window.get_mut(index)?.as_mut()
    }

    pub fn remove(&mut self, id: CallId) -> Option<PendingCall> {
        let index = self.index(id)?;
        let call = self.window.get_mut(index)?.take();
        self.shrink();
        call
    }

    /// Whether what was sent is in the accumulator, or failed before; else this waker is kept.
    pub fn is_accepted(&mut self, id: CallId, waker: &Waker) -> bool {
        let Some(call) = self.get_mut(id) else {
            return false;
        };
        let known = call.accepted || call.answer.is_some();
        if !known {
            call.waker = Some(waker.clone());
        }
        known
    }

    /// The answer, once, if it is there; else this waker is kept.
    pub fn take_answer(&mut self, id: CallId, waker: &Waker) -> Option<Reply> {
        let index = self.index(id)?;
        let entry = self.window.get_mut(index)?;
        let call = entry.as_mut()?;
        let answer = call.answer.take();
        if answer.is_none() {
            call.waker = Some(waker.clone());
        } else if index == 0 {
            self.window.pop_front();
            self.first += 1;
            self.shrink();
        } else {
            *entry = None;
        }
        answer
    }

    /// Forgets the calls of an application that is gone.
    pub fn forget(&mut self, application: ApplicationId) {
        for entry in &mut self.window {
            if entry.as_ref().is_some_and(|c| c.application == application) {
                *entry = None;
            }
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        while let Some(None) = self.window.front() {
            self.window.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(application: usize) -> PendingCall {
        PendingCall {
            application: ApplicationId(application),
            about: About::Other,
            accepted: false,
            answer: None,
            waker: None,
        }
    }

    #[test]
    fn calls_are_found_by_number_whatever_order_they_are_fetched_in() {
        let mut calls = Calls::default();
        for id in [3, 4, 6, 7] {
            calls.insert(CallId(id), call(id as usize));
        }
        assert!(calls.get_mut(CallId(2)).is_none() && calls.get_mut(CallId(5)).is_none());
        for id in [4, 3, 7] {
            assert_eq!(calls.remove(CallId(id)).unwrap().application.0, id as usize);
            assert!(calls.remove(CallId(id)).is_none());
        }
        calls.insert(CallId(9), call(6));
        calls.insert(CallId(10), call(1));
        calls.forget(ApplicationId(6));
        assert!(calls.get_mut(CallId(6)).is_none() && calls.get_mut(CallId(9)).is_none());
        assert!(calls.get_mut(CallId(10)).is_some());
    }
}
