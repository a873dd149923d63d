//! The pace of registration and heartbeats, against a controller that the tests play.

use super::*;
use crate::config::PropertyMap;
use crate::env::{Output, Stream};
use crate::fact::Fact;
use crate::log::memory_disk::MemoryDisk;
use crate::time::SECONDS;

/// `broker.heartbeat.interval.ms`.
const INTERVAL: Nanos = 2 * SECONDS;
const CHANNEL: TimerToken = TimerToken(1);
const NEXT: TimerToken = TimerToken(2);

/// A lifecycle with its timers; `sent` is what has left, and when.
struct World {
    lifecycle: Lifecycle,
    now: Nanos,
    timers: Vec<(Nanos, TimerToken)>,
    conn: Option<ConnId>,
    next_conn: u64,
    sent: Vec<(Nanos, i32, Request)>,
    rng: Stream,
    facts: Vec<Fact>,
}

impl World {
    /// It has just sent its registration.
    fn started() -> World {
        let config = BrokerConfig::from_properties(&PropertyMap::new()).expect("the defaults");
        let mut rng = Stream::new(1, 1);
        let (mut out, mut facts, mut next_conn) = (Vec::new(), Vec::new(), 1);
        let mut disk = MemoryDisk::default();
        let mut env = Env {
            now: 0,
            wall_ms: 0,
            disk: &mut disk,
            rng: &mut rng,
            out: &mut out,
            facts: &mut facts,
            next_conn: &mut next_conn,
        };
        let controller = NodeId(NodeId::FIRST_CONTROLLER);
        let lifecycle = Lifecycle::new(1, &config, -1, controller, CHANNEL, NEXT, &mut env);
        let mut world = World {
            lifecycle,
            now: 0,
            timers: Vec::new(),
            conn: None,
            next_conn,
            sent: Vec::new(),
            rng,
            facts,
        };
        world.step(|lifecycle, env| lifecycle.communicate(-1, env));
        world.connected();
        world
    }

    fn step<T>(&mut self, act: impl FnOnce(&mut Lifecycle, &mut Env<'_>) -> T) -> T {
        let mut out = Vec::new();
        let mut disk = MemoryDisk::default();
        let mut env = Env {
            now: self.now,
            wall_ms: 0,
            disk: &mut disk,
            rng: &mut self.rng,
            out: &mut out,
            facts: &mut self.facts,
            next_conn: &mut self.next_conn,
        };
        let result = act(&mut self.lifecycle, &mut env);
        for output in out {
            match output {
                Output::Timer(at, token) => self.timers.push((at, token)),
                Output::Connect(conn, _) => self.conn = Some(conn),
                Output::Close(_) => self.conn = None,
                Output::Send(_, Frame::Request(correlation, request)) => {
                    self.sent.push((self.now, correlation, *request));
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        result
    }

    fn connected(&mut self) {
        assert!(self.conn.is_some(), "it connects");
        self.step(|lifecycle, env| lifecycle.on_connected(env));
    }

    fn disconnected(&mut self) {
        self.conn = None;
        self.step(|lifecycle, env| lifecycle.on_closed(env));
    }

    /// Lets time pass; the controller takes every connection.
    fn run_to(&mut self, end: Nanos) {
        while let Some(index) = (0..self.timers.len())
            .filter(|index| self.timers[*index].0 <= end)
            .min_by_key(|index| self.timers[*index].0)
        {
            let (at, token) = self.timers.remove(index);
            self.now = self.now.max(at);
            let before = self.conn;
            match token {
                CHANNEL => self.step(|lifecycle, env| lifecycle.on_channel_timer(env)),
                NEXT => self.step(|lifecycle, env| lifecycle.on_timer(0, env)),
                other => panic!("{other:?}"),
            }
            if self.conn.is_some() && self.conn != before {
                self.connected();
            }
        }
        self.now = end;
    }

    fn answer(&mut self, response: Response) -> Step {
        let (_, correlation, _) = *self.sent.last().expect("something was sent");
        self.step(|lifecycle, env| lifecycle.on_response(correlation, response, env))
    }

    fn registers(&mut self, error: ErrorCode) {
        self.answer(Response::BrokerRegistration(BrokerRegistrationResponse {
            error,
            broker_epoch: 7,
        }));
    }

    /// When registrations left.
    fn registrations(&self) -> Vec<Nanos> {
        let is_one = |request: &Request| matches!(request, Request::BrokerRegistration(_));
        let sent = self.sent.iter().filter(|(.., request)| is_one(request));
        sent.map(|(at, ..)| *at).collect()
    }
}

#[test]
fn a_refused_registration_is_repeated_every_heartbeat_interval() {
    let mut world = World::started();
    for attempt in 1..=5 {
        world.registers(ErrorCode::DuplicateBrokerRegistration);
        world.run_to(attempt * INTERVAL);
    }
    let expected: Vec<Nanos> = (0..=5).map(|attempt| attempt * INTERVAL).collect();
    assert_eq!(world.registrations(), expected);
}

#[test]
fn a_request_without_an_answer_is_given_up_after_an_interval_and_repeated_after_another() {
    let mut world = World::started();
    world.run_to(2 * INTERVAL - 1);
    assert_eq!(world.registrations(), [0]);
    assert!(world.conn.is_none(), "its connection is closed");
    world.run_to(2 * INTERVAL);
    assert_eq!(world.registrations(), [0, 2 * INTERVAL]);
}

#[test]
fn a_request_that_loses_its_connection_is_sent_again_until_it_is_an_interval_old() {
    let mut world = World::started();
    world.run_to(INTERVAL / 2);
    world.disconnected();
    world.run_to(INTERVAL / 2 + 100 * MILLIS);
    let again = world.registrations()[1];
    assert!(again < INTERVAL / 2 + 100 * MILLIS, "after {again}");
    // The attempt has its own time, the request has not.
    world.run_to(INTERVAL + 100 * MILLIS);
    world.disconnected();
    world.run_to(2 * INTERVAL + 99 * MILLIS);
    assert_eq!(world.registrations().len(), 2);
    world.run_to(2 * INTERVAL + 100 * MILLIS);
    assert_eq!(world.registrations().len(), 3);
}

#[test]
fn what_is_asked_for_while_a_heartbeat_is_in_flight_follows_its_answer_at_once() {
    let mut world = World::started();
    world.registers(ErrorCode::None);
    world.run_to(0);
    assert!(matches!(world.sent[1].2, Request::BrokerHeartbeat(r) if r.want_fence));
    world.step(|lifecycle, env| lifecycle.set_ready_to_unfence(9, env));
    assert_eq!(world.sent.len(), 2);
    world.now = MILLIS;
    world.answer(Response::BrokerHeartbeat(BrokerHeartbeatResponse {
        error: ErrorCode::None,
        is_caught_up: false,
        is_fenced: true,
        should_shut_down: false,
    }));
    world.run_to(MILLIS);
    assert!(matches!(world.sent[2].2, Request::BrokerHeartbeat(r) if !r.want_fence));
}
