//! The world as application code sees it: its side of every call, sleep and event.

use super::calls::PendingCall;
use super::{OWN_TOKENS, State};
use crate::application::{About, Boundary, Called, Caller, message_of};
use crate::event::{ClientEvent, MessageId};
use everyack_broker::client::{Call, CallId, ClientError, Reply};
use everyack_broker::env::Process;
use everyack_broker::time::Nanos;
use std::cell::RefCell;
use std::task::Waker;

impl<P: Process + 'static> Boundary for RefCell<State<P>> {
    fn now(&self) -> Nanos {
        self.borrow().kernel.now()
    }

    fn call(&self, caller: Caller, call: Call, about: About) -> Called {
        let mut state = self.borrow_mut();
        if !state.is_current(caller) {
            return Called::ApplicationGone;
        }
        if let About::Send(Some(message)) = &about {
            let sent = &mut state.applications[caller.application.0].next_sequence;
            *sent = (*sent).max(message.sequence + 1);
            let message = *message;
            state.client_event(caller.node, ClientEvent::Sent(message));
        }
        // Registered before the engine runs: it may answer within the call.
        let id = state.kernel.next_call_id();
        state.calls.insert(
            id,
            PendingCall {
                application: caller.application,
                about,
                accepted: false,
                answer: None,
                waker: None,
            },
        );
        let called = state.kernel.call(caller.node, call);
        if called.is_none() {
            let refused = state.calls.remove(id).expect("it was just registered");
            if let About::Send(Some(message)) = refused.about {
                let text = ClientError::Closed.to_string();
                state.client_event(caller.node, ClientEvent::SendFailed(message, text));
            }
        }
        state.answer_all();
        called.map_or(Called::EngineGone, Called::Pending)
    }

    fn is_accepted(&self, call: CallId, waker: &Waker) -> bool {
        self.borrow_mut().calls.is_accepted(call, waker)
    }

    fn take_answer(&self, call: CallId, waker: &Waker) -> Option<Reply> {
        self.borrow_mut().calls.take_answer(call, waker)
    }

    fn sleep_until(&self, caller: Caller, at: Nanos) -> u64 {
        let mut state = self.borrow_mut();
        let current = state.is_current(caller);
        let id = state.sleepers.add(current.then_some(caller.application));
        if current {
            state.kernel.control(at, OWN_TOKENS | id);
        }
        id
    }

    fn has_slept(&self, sleeper: u64, waker: &Waker) -> bool {
        self.borrow_mut().sleepers.has_slept(sleeper, waker)
    }

    fn emit(&self, caller: Caller, event: ClientEvent) {
        let mut state = self.borrow_mut();
        if state.is_current(caller) {
            state.client_event(caller.node, event);
        }
    }

    fn handler_fails(&self, caller: Caller, message: MessageId) -> bool {
        let mut state = self.borrow_mut();
        let handler = state.handlers.get_mut(&caller.node);
        handler.is_some_and(|handler| handler.fails_on(message))
    }

    fn next_sequence(&self, caller: Caller) -> u32 {
        self.borrow().applications[caller.application.0].next_sequence
    }

    fn is_attended(&self) -> bool {
        self.borrow().attended
    }
}

impl About {
    /// What an answer of the engine tells the application, as events.
    #[inline]
    pub(super) fn told(&self, reply: &Reply, mut tell: impl FnMut(ClientEvent)) {
        match (self, reply) {
            (_, Reply::Accepted) | (About::Other, _) => {}
            (About::Send(Some(message)), Reply::Sent(Ok(metadata))) => {
                let message = message.at(metadata.partition);
                tell(ClientEvent::Acked(message, metadata.offset));
            }
            (About::Commit, Reply::Done(Ok(()))) => tell(ClientEvent::CommitDone),
            (About::Poll, Reply::Records(records)) => {
                if !records.is_empty() {
                    tell(ClientEvent::Polled(records.len() as u32));
                }
                for record in records {
                    if let Some(message) = message_of(record) {
                        let offset = record.offset;
                        tell(ClientEvent::Delivered { message, offset });
                    }
                }
            }
            _ => {
                if let Some(event) = self.told_of_the_rest(reply) {
                    tell(event);
                }
            }
        }
    }

    #[cold]
    fn told_of_the_rest(&self, reply: &Reply) -> Option<ClientEvent> {
        Some(match (self, reply) {
            (About::Send(Some(message)), Reply::Sent(Err(error))) => {
                ClientEvent::SendFailed(*message, error.to_string())
            }
            (About::DeadLetter(Some(message)), Reply::Sent(outcome)) => match outcome {
                Ok(_) => ClientEvent::DeadLettered(*message),
                Err(error) => ClientEvent::DeadLetterFailed(*message, error.to_string()),
            },
            (About::Poll, Reply::Failed(error)) => ClientEvent::PollFailed(error.to_string()),
            (About::Commit, Reply::Done(Err(error)) | Reply::Failed(error)) => {
                ClientEvent::CommitFailed(error.to_string())
            }
            (About::Positions, Reply::Positions(_)) => ClientEvent::PositionsFixed,
            _ => return None,
        })
    }
}
