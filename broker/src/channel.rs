//! One outgoing connection of a broker with one request in flight at a time.
//!
//! That is how a replica fetcher talks to its leader (`BrokerBlockingSender`), and each of the broker's
//! channels to the controller (`NodeToControllerChannelManager`, the Raft client). A request that is
//! not answered in time closes the connection, as `NetworkClient.handleTimedOutRequests` does.
//!
//! Not modelled: the ApiVersions exchange between brokers; all nodes are of one build.

use crate::env::{ConnId, Env, TimerToken};
use crate::ids::NodeId;
use crate::time::{MILLIS, Nanos};
use crate::wire::{Frame, Request};

/// `reconnect.backoff.ms` of the broker's own clients.
const RECONNECT_BACKOFF: Nanos = 50 * MILLIS;

/// An outgoing connection.
#[derive(Debug)]
pub struct Channel {
    peer: NodeId,
    timer: TimerToken,
    conn: Option<ConnId>,
    connected: bool,
    /// Not before this instant may a new connection be opened.
    reconnect_at: Nanos,
    next_correlation: i32,
    /// Waits for the connection.
    waiting: Option<Box<Request>>,
    in_flight: Option<i32>,
    /// When the present request fails; `None` while there is none.
    deadline: Option<Nanos>,
    timer_at: Option<Nanos>,
}

impl Channel {
    /// A channel to a node; its timers carry this token.
    pub fn new(peer: NodeId, timer: TimerToken) -> Channel {
        Channel {
            peer,
            timer,
            conn: None,
            connected: false,
            reconnect_at: 0,
            next_correlation: 0,
            waiting: None,
            in_flight: None,
            deadline: None,
            timer_at: None,
        }
    }

    /// Whether a request is on its way or waits for the connection.
    pub fn is_busy(&self) -> bool {
        self.deadline.is_some()
    }

    /// Whether this connection is the channel's present one.
    pub fn owns(&self, conn: ConnId) -> bool {
        self.conn == Some(conn)
    }

    /// Sends a request, connecting first where needed. It fails after `timeout`.
    pub fn send(&mut self, request: Request, timeout: Nanos, env: &mut Env<'_>) {
        assert!(!self.is_busy(), "one request at a time on a channel");
        self.deadline = Some(env.now.saturating_add(timeout));
        self.waiting = Some(Box::new(request));
        self.progress(env);
    }

    fn progress(&mut self, env: &mut Env<'_>) {
        if let Some(conn) = self.conn.filter(|_| self.connected) {
            if let Some(request) = self.waiting.take() {
                let correlation = self.next_correlation;
                self.next_correlation = self.next_correlation.wrapping_add(1);
                self.in_flight = Some(correlation);
                env.send(conn, Frame::Request(correlation, request));
            }
        } else if self.conn.is_none() && self.waiting.is_some() && env.now >= self.reconnect_at {
            self.conn = Some(env.connect(self.peer));
        }
        self.arm(env);
    }

    /// One timer at the earliest instant at which something must be done.
    fn arm(&mut self, env: &mut Env<'_>) {
        let Some(deadline) = self.deadline else {
            return;
        };
        let wake = if self.conn.is_none() && self.waiting.is_some() {
            deadline.min(self.reconnect_at)
        } else {
            deadline
        };
        if self.timer_at.is_none_or(|at| at > wake || at <= env.now) {
            self.timer_at = Some(wake);
            env.timer_in(wake.saturating_sub(env.now), self.timer);
        }
    }

    /// The connection is established.
    pub fn on_connected(&mut self, env: &mut Env<'_>) {
        self.connected = true;
        self.progress(env);
    }

    /// The connection is gone. Returns whether a request failed with it; one that still waited for
    /// the connection goes on waiting.
    pub fn on_closed(&mut self, env: &mut Env<'_>) -> bool {
        self.conn = None;
        self.connected = false;
        self.reconnect_at = env.now + RECONNECT_BACKOFF;
        if self.in_flight.take().is_some() {
            self.deadline = None;
            return true;
        }
        self.arm(env);
        false
    }

    /// A response arrived. Returns whether it answers the request in flight.
    pub fn on_response(&mut self, correlation: i32) -> bool {
        if self.in_flight != Some(correlation) {
            return false;
        }
        self.in_flight = None;
        self.deadline = None;
        true
    }

    /// The channel's timer fired. Returns whether the request failed by its timeout.
    pub fn on_timer(&mut self, env: &mut Env<'_>) -> bool {
        if self.timer_at.is_some_and(|at| at <= env.now) {
            self.timer_at = None;
        }
        match self.deadline {
            Some(deadline) if deadline <= env.now => {
                self.drop_request(env);
                true
            }
            Some(_) => {
                self.progress(env);
                false
            }
            None => false,
        }
    }

    /// Gives the present request up and closes the connection.
    pub fn drop_request(&mut self, env: &mut Env<'_>) {
        self.waiting = None;
        self.in_flight = None;
        self.deadline = None;
        if let Some(conn) = self.conn.take() {
            env.close(conn);
            self.connected = false;
            self.reconnect_at = env.now + RECONNECT_BACKOFF;
        }
    }
}
