//! Connections that others opened to this broker, and the requests on them.
//!
//! Requests of one connection are handled one after the other: `SocketServer` mutes a channel until its
//! response is sent.

use super::Run;
use crate::env::{ConnId, Env, Queue};
use crate::fact::Fact;
use crate::ids::*;
use crate::replica::purgatory::Asker;
use crate::time::{MICROS, Nanos};
use crate::wire::*;
use std::collections::VecDeque;

/// Service time of a request handler, by kind of work. *Modelled*: of the order of what a broker of
/// this decade needs, not measured on one.
const REQUEST_COST: Nanos = 20 * MICROS;
const REQUEST_COST_PER_KIB: Nanos = 2 * MICROS;

/// A connection that somebody opened to this broker.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// Requests that wait until the one before them is answered.
    pub(super) backlog: VecDeque<(i32, Box<Request>)>,
    pub(super) muted: bool,
    /// The other end is gone. What had arrived from it is still handled, one request after the other,
    /// until none is left or a response is due (`Selector.close`, `CloseMode.GRACEFUL`).
    pub(super) closing: bool,
}

impl Accepted {
    /// Whether one of its requests waits or is in the handlers' hands.
    pub(super) fn is_busy(&self) -> bool {
        self.muted || !self.backlog.is_empty()
    }
}

impl Run {
    pub(super) fn request_arrived(
        &mut self,
        conn: ConnId,
        correlation: i32,
        request: Box<Request>,
        env: &mut Env<'_>,
    ) {
        let Some(accepted) = self.accepted.get_mut(conn) else {
            return;
        };
        if let Request::Produce(produce) = &*request {
            for (topic, partitions) in &produce.topics {
                for p in partitions {
                    env.fact(Fact::ProduceArrived {
                        partition: TopicPartition::new(*topic, p.partition),
                        acks: produce.acks,
                        records: p.records.clone(),
                    });
                }
            }
        }
        if self.serving && !accepted.muted && accepted.backlog.is_empty() {
            accepted.muted = true;
            self.hand_over(Asker { conn, correlation }, request, env);
        } else {
            accepted.backlog.push_back((correlation, request));
            if self.serving {
                self.unmute(conn, false, env);
            }
        }
    }

    /// Puts a request into the handlers' hands.
    fn hand_over(&mut self, asker: Asker, request: Box<Request>, env: &mut Env<'_>) {
        env.serve(Queue::RequestHandler, request_cost(&request));
        self.requests.push_back((asker, request));
    }

    /// Takes the next request of a connection, if none is in the handlers' hands.
    pub(super) fn unmute(&mut self, conn: ConnId, answered: bool, env: &mut Env<'_>) {
        let Some(accepted) = self.accepted.get_mut(conn) else {
            return;
        };
        if answered {
            accepted.muted = false;
        }
        if accepted.muted {
            return;
        }
        if let Some((correlation, request)) = accepted.backlog.pop_front() {
            accepted.muted = true;
            self.hand_over(Asker { conn, correlation }, request, env);
        } else if accepted.closing {
            self.accepted.remove(conn);
        }
    }

    pub(crate) fn respond(&mut self, asker: Asker, response: Response, env: &mut Env<'_>) {
        self.send_response(asker, Box::new(response), env);
    }

    /// The same with a response in its box, as a frame holds it.
    pub(super) fn send_response(
        &mut self,
        asker: Asker,
        response: Box<Response>,
        env: &mut Env<'_>,
    ) {
        let Some(accepted) = self.accepted.get_mut(asker.conn) else {
            return;
        };
        if accepted.closing {
            self.accepted.remove(asker.conn);
            return;
        }
        env.send(asker.conn, Frame::Response(asker.correlation, response));
        accepted.muted = false;
        if let Some((correlation, request)) = accepted.backlog.pop_front() {
            accepted.muted = true;
            let conn = asker.conn;
            self.hand_over(Asker { conn, correlation }, request, env);
        }
    }
}

fn request_cost(request: &Request) -> Nanos {
    let bytes: usize = match request {
        Request::Produce(produce) => produce
            .topics
            .iter()
            .flat_map(|(_, partitions)| partitions)
            .map(|p| p.records.len())
            .sum(),
        _ => 0,
    };
    REQUEST_COST + bytes as Nanos / 1024 * REQUEST_COST_PER_KIB
}
