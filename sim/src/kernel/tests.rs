//! The kernel with toy processes: connections, queues, timers, deaths, determinism.

mod trouble;

use super::*;
use crate::kernel::network::{RTO_MIN, SYN_TIMEOUT};
use everyack_broker::env::{ConnId, Env, SyncToken, TimerToken};
use everyack_broker::time::{MICROS, SECONDS};
use everyack_broker::wire::{
    ApiVersionsRequest, ErrorCode, InitProducerIdResponse, ProducePartition, ProduceRequest,
    Request, Response,
};
use std::cell::Cell;
use std::rc::Rc;

type Action = Box<dyn FnOnce(&mut Env<'_>)>;

/// Writes down what it is given, does what the test asks when it is called, and echoes requests if
/// it is told to.
#[derive(Default)]
struct Toy {
    log: Vec<(Nanos, String)>,
    action: Option<Action>,
    echo: bool,
}

impl Process for Toy {
    fn step(&mut self, input: Input, env: &mut Env<'_>) {
        let line = match input {
            Input::Call(..) => {
                let action = self.action.take().expect("the test asks for something");
                return action(env);
            }
            Input::Received(conn, Frame::Request(correlation, _)) => {
                if self.echo {
                    env.send(conn, response(correlation));
                }
                format!("request {correlation}")
            }
            Input::Received(_, Frame::Response(correlation, _)) => {
                format!("response {correlation}")
            }
            Input::Closed(_, reason) => format!("closed {reason:?}"),
            Input::Connected(_) => "connected".to_string(),
            Input::Accepted(_, from) => format!("accepted {from}"),
            Input::Timer(token) => format!("timer {}", token.0),
            Input::Serve(queue) => format!("serve {queue:?}"),
            Input::Synced(token, Ok(())) => format!("synced {}", token.0),
            Input::Synced(token, Err(error)) => format!("synced {}: {error}", token.0),
            Input::Start => "start".to_string(),
            Input::Admin(_) => "admin".to_string(),
            Input::Shutdown => "shutdown".to_string(),
        };
        self.log.push((env.now, line));
    }
}

fn request(correlation: i32) -> Frame {
    Frame::request(correlation, Request::ApiVersions(ApiVersionsRequest))
}

fn response(correlation: i32) -> Frame {
    let answer = InitProducerIdResponse {
        error: ErrorCode::None,
        producer_id: 1,
        producer_epoch: 0,
    };
    Frame::response(correlation, Response::InitProducerId(answer))
}

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

/// Broker 1 and broker 2, each on its own machine, running.
fn pair(seed: u64) -> Kernel<Toy> {
    let mut kernel = Kernel::new(seed, WireMode::Typed);
    for node in [A, B] {
        kernel.add_node(node, MachineId(node.0));
        kernel.start(node, Toy::default());
    }
    kernel
}

fn act<T: 'static>(
    kernel: &mut Kernel<Toy>,
    node: NodeId,
    action: impl FnOnce(&mut Env<'_>) -> T + 'static,
) -> T {
    let result = Rc::new(Cell::new(None));
    let into = Rc::clone(&result);
    let toy = kernel.process_mut(node).expect("it lives");
    toy.action = Some(Box::new(move |env| into.set(Some(action(env)))));
    kernel.call(node, Call::Flush);
    result.take().expect("the action ran")
}

/// Goes on until that instant has passed.
fn run_until(kernel: &mut Kernel<Toy>, until: Nanos) {
    kernel.control(until, 77);
    while kernel.next() != Next::Control(77) {}
}

fn run_for(kernel: &mut Kernel<Toy>, duration: Nanos) {
    let until = kernel.now() + duration;
    run_until(kernel, until);
}

fn connect(kernel: &mut Kernel<Toy>) -> ConnId {
    act(kernel, A, |env| env.connect(B))
}

fn connected(kernel: &mut Kernel<Toy>) -> ConnId {
    let conn = connect(kernel);
    run_for(kernel, 10 * MILLIS);
    assert_eq!(lines(kernel, A).last().unwrap(), "connected");
    assert_eq!(lines(kernel, B).last().unwrap(), "accepted broker 1");
    conn
}

fn send(kernel: &mut Kernel<Toy>, from: NodeId, conn: ConnId, correlation: i32) {
    act(kernel, from, move |env| {
        env.send(conn, request(correlation))
    });
}

fn lines(kernel: &Kernel<Toy>, node: NodeId) -> Vec<String> {
    let log = &kernel.process(node).expect("it lives").log;
    log.iter().map(|(_, line)| line.clone()).collect()
}

/// When the node was given this.
fn time_of(kernel: &Kernel<Toy>, node: NodeId, what: &str) -> Option<Nanos> {
    let log = &kernel.process(node).expect("it lives").log;
    log.iter().find(|(_, line)| line == what).map(|(at, _)| *at)
}

#[track_caller]
fn assert_about(at: Option<Nanos>, expected: Nanos) {
    let at = at.expect("it happened");
    let late = expected..expected + MILLIS;
    assert!(late.contains(&at), "{at} is not just after {expected}");
}

#[test]
fn frames_of_a_connection_arrive_in_order_and_within_the_latency() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    let sent_at = kernel.now();
    for correlation in 0..50 {
        send(&mut kernel, A, conn, correlation);
    }
    run_for(&mut kernel, 10 * MILLIS);
    let expected: Vec<String> = (0..50).map(|c| format!("request {c}")).collect();
    assert_eq!(lines(&kernel, B)[2..], expected[..]);
    let first = time_of(&kernel, B, "request 0").unwrap() - sent_at;
    assert!((100 * MICROS..=501 * MICROS).contains(&first), "{first}");
}

#[test]
fn a_large_frame_takes_its_time_on_the_wire() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    let sent_at = kernel.now();
    act(&mut kernel, A, move |env| {
        let records = ProducePartition {
            partition: 0,
            records: vec![0; 1_000_000].into(),
        };
        let produce = ProduceRequest {
            acks: 1,
            timeout_ms: 1,
            topics: vec![(everyack_broker::ids::TopicId(5), vec![records].into())],
        };
        env.send(conn, Frame::request(1, Request::Produce(produce)));
    });
    run_for(&mut kernel, SECONDS);
    let took = time_of(&kernel, B, "request 1").unwrap() - sent_at;
    assert!((8 * MILLIS..9 * MILLIS).contains(&took), "{took}");
}

#[test]
fn data_sent_into_a_cut_arrives_at_the_retransmission_after_the_heal() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    kernel.cut(A, B);
    let sent_at = kernel.now();
    send(&mut kernel, A, conn, 1);
    run_for(&mut kernel, SECONDS);
    kernel.heal(A, B);
    send(&mut kernel, A, conn, 2);
    run_for(&mut kernel, SECONDS);
    // Timeouts of 200, 400, 800 ms: the third one comes after the heal.
    assert_about(time_of(&kernel, B, "request 1"), sent_at + 7 * RTO_MIN);
    assert_about(time_of(&kernel, B, "request 2"), sent_at + 7 * RTO_MIN);
    assert_eq!(lines(&kernel, B)[2..], ["request 1", "request 2"]);
}

#[test]
fn a_cut_swallows_what_is_in_flight_and_it_is_sent_again() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    let sent_at = kernel.now();
    send(&mut kernel, A, conn, 1);
    kernel.cut(A, B);
    run_for(&mut kernel, 10 * MILLIS);
    kernel.heal(A, B);
    assert_eq!(time_of(&kernel, B, "request 1"), None);
    run_for(&mut kernel, SECONDS);
    assert_about(time_of(&kernel, B, "request 1"), sent_at + RTO_MIN);
}

#[test]
fn without_acknowledgements_nothing_new_leaves_once_the_timer_fired() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    kernel.cut(B, A);
    let first_at = kernel.now();
    send(&mut kernel, A, conn, 1);
    run_for(&mut kernel, 100 * MILLIS);
    send(&mut kernel, A, conn, 2);
    run_for(&mut kernel, 200 * MILLIS);
    send(&mut kernel, A, conn, 3);
    run_for(&mut kernel, SECONDS);
    assert_eq!(lines(&kernel, B)[2..], ["request 1", "request 2"]);
    kernel.heal(B, A);
    run_for(&mut kernel, 5 * SECONDS);
    // Timeouts at 0.2, 0.6 and 1.4 s after the first; the one at 1.4 s is the first after the heal.
    assert_about(time_of(&kernel, B, "request 3"), first_at + 7 * RTO_MIN);
}

#[test]
fn an_answer_acknowledges_what_the_cut_kept_back() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    kernel.cut(B, A);
    send(&mut kernel, A, conn, 1);
    run_for(&mut kernel, 300 * MILLIS);
    send(&mut kernel, A, conn, 2);
    kernel.heal(B, A);
    let healed_at = kernel.now();
    send(&mut kernel, B, conn, 10);
    run_for(&mut kernel, 100 * MILLIS);
    let acknowledged_at = time_of(&kernel, A, "request 10").unwrap();
    assert_about(Some(acknowledged_at), healed_at);
    assert_about(time_of(&kernel, B, "request 2"), acknowledged_at);
}

#[test]
fn connecting_over_a_cut_link_hangs_until_a_syn_after_the_heal() {
    for (from, to) in [(A, B), (B, A)] {
        let mut kernel = pair(1);
        kernel.cut(from, to);
        connect(&mut kernel);
        run_until(&mut kernel, 2 * SECONDS);
        assert_eq!(lines(&kernel, A), ["start"]);
        kernel.heal(from, to);
        run_until(&mut kernel, 5 * SECONDS);
        // SYNs after 1 and 3 seconds.
        assert_about(time_of(&kernel, A, "connected"), 3 * SYN_TIMEOUT);
        assert_eq!(lines(&kernel, B), ["start", "accepted broker 1"]);
    }
}

#[test]
fn connecting_for_127_seconds_without_an_answer_fails() {
    let mut kernel = pair(1);
    kernel.cut(A, B);
    connect(&mut kernel);
    run_until(&mut kernel, 200 * SECONDS);
    assert_about(time_of(&kernel, A, "closed Reset"), 127 * SECONDS);
    assert_eq!(kernel.connections(), 0);
}

#[test]
fn connecting_to_a_dead_process_is_refused_while_its_machine_runs() {
    let mut kernel = pair(1);
    kernel.kill(B);
    connect(&mut kernel);
    run_for(&mut kernel, 10 * MILLIS);
    assert_eq!(lines(&kernel, A), ["start", "closed Refused"]);
    assert_eq!(kernel.connections(), 0);
}

#[test]
fn connecting_to_a_machine_without_power_hangs_until_it_is_back() {
    let mut kernel = pair(1);
    kernel.power_off(MachineId(2), Unsynced::Gone);
    connect(&mut kernel);
    run_until(&mut kernel, 2 * SECONDS);
    assert_eq!(lines(&kernel, A), ["start"]);
    kernel.power_on(MachineId(2));
    kernel.start(B, Toy::default());
    run_until(&mut kernel, 4 * SECONDS);
    assert_about(time_of(&kernel, A, "connected"), 3 * SYN_TIMEOUT);
}

#[test]
fn a_killed_process_resets_its_connections_behind_what_it_had_sent() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    send(&mut kernel, B, conn, 1);
    send(&mut kernel, A, conn, 2);
    kernel.kill(B);
    kernel.start(B, Toy::default());
    run_for(&mut kernel, 10 * MILLIS);
    assert_eq!(lines(&kernel, A)[2..], ["request 1", "closed Reset"]);
    assert_eq!(
        lines(&kernel, B),
        ["start"],
        "old data is not the new one's"
    );
    assert_eq!(kernel.connections(), 0);
}

#[test]
fn a_kill_behind_a_cut_is_heard_after_the_heal() {
    let mut kernel = pair(1);
    connected(&mut kernel);
    kernel.cut(B, A);
    kernel.kill(B);
    let killed_at = kernel.now();
    run_for(&mut kernel, 500 * MILLIS);
    assert_eq!(lines(&kernel, A)[1..], ["connected"]);
    kernel.heal(B, A);
    run_for(&mut kernel, SECONDS);
    assert_about(time_of(&kernel, A, "closed Reset"), killed_at + 3 * RTO_MIN);
}

#[test]
fn power_loss_leaves_the_peer_half_open_until_it_sends() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    kernel.power_off(MachineId(2), Unsynced::Gone);
    run_for(&mut kernel, 100 * SECONDS);
    kernel.power_on(MachineId(2));
    kernel.start(B, Toy::default());
    run_for(&mut kernel, 100 * SECONDS);
    assert_eq!(lines(&kernel, A)[1..], ["connected"], "nobody told it");
    let sent_at = kernel.now();
    send(&mut kernel, A, conn, 1);
    run_for(&mut kernel, SECONDS);
    assert_about(time_of(&kernel, A, "closed Reset"), sent_at);
    assert_eq!(lines(&kernel, B), ["start"]);
    assert_eq!(kernel.connections(), 0);
}

#[test]
fn data_sent_to_a_machine_without_power_is_answered_with_rst_after_its_return() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    kernel.power_off(MachineId(2), Unsynced::Gone);
    let sent_at = kernel.now();
    send(&mut kernel, A, conn, 1);
    run_for(&mut kernel, SECONDS);
    kernel.power_on(MachineId(2));
    run_for(&mut kernel, SECONDS);
    assert_about(time_of(&kernel, A, "closed Reset"), sent_at + 7 * RTO_MIN);
}

#[test]
fn a_sender_gives_up_after_fifteen_retransmissions() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    kernel.cut(A, B);
    let sent_at = kernel.now();
    send(&mut kernel, A, conn, 1);
    run_for(&mut kernel, 1000 * SECONDS);
    let gave_up_at = sent_at + 924 * SECONDS + 600 * MILLIS;
    assert_about(time_of(&kernel, A, "closed Reset"), gave_up_at);
}

#[test]
fn a_close_is_heard_behind_what_was_sent() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    act(&mut kernel, A, move |env| {
        env.send(conn, request(1));
        env.close(conn);
        env.send(conn, request(2));
    });
    run_for(&mut kernel, 10 * MILLIS);
    assert_eq!(lines(&kernel, B)[2..], ["request 1", "closed Closed"]);
    assert_eq!(lines(&kernel, A)[1..], ["connected"]);
    assert_eq!(kernel.connections(), 0);
}

#[test]
fn closing_before_the_connection_stands_leaves_nothing() {
    let mut kernel = pair(1);
    let conn = connect(&mut kernel);
    act(&mut kernel, A, move |env| env.close(conn));
    run_for(&mut kernel, 10 * SECONDS);
    assert_eq!(lines(&kernel, A), ["start"]);
    assert_eq!(lines(&kernel, B), ["start"]);
    assert_eq!(kernel.connections(), 0);
}

#[test]
fn a_network_reset_closes_both_ends_and_drops_what_is_in_flight() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    send(&mut kernel, A, conn, 1);
    send(&mut kernel, B, conn, 2);
    let at = kernel.now();
    assert_eq!(kernel.reset_connections(B, A), 1);
    run_for(&mut kernel, SECONDS);
    for node in [A, B] {
        assert_eq!(lines(&kernel, node)[2..], ["closed Reset"]);
        assert_eq!(time_of(&kernel, node, "closed Reset"), Some(at));
    }
    assert_eq!(kernel.connections(), 0);
    assert_eq!(kernel.reset_connections(A, B), 0);
}

#[test]
fn extra_latency_delays_and_never_reorders() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    kernel.set_extra_latency(A, B, 50 * MILLIS);
    let sent_at = kernel.now();
    send(&mut kernel, A, conn, 1);
    kernel.set_extra_latency(A, B, 0);
    send(&mut kernel, A, conn, 2);
    run_for(&mut kernel, SECONDS);
    assert_eq!(lines(&kernel, B)[2..], ["request 1", "request 2"]);
    assert!(time_of(&kernel, B, "request 2").unwrap() >= sent_at + 50 * MILLIS);
}

#[test]
fn what_is_held_up_arrives_once_it_is_released_and_nothing_else_waits_for_it() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    kernel.hold_sends(A, |frame| matches!(frame, Frame::Request(1 | 2, _)));
    for correlation in 1..=3 {
        send(&mut kernel, A, conn, correlation);
    }
    run_for(&mut kernel, SECONDS);
    assert_eq!(lines(&kernel, B)[2..], ["request 3"]);
    kernel.release_sends(A);
    send(&mut kernel, A, conn, 1);
    run_for(&mut kernel, SECONDS);
    let all = ["request 3", "request 1", "request 2", "request 1"];
    assert_eq!(lines(&kernel, B)[2..], all);
}

#[test]
fn what_is_held_up_of_a_process_that_died_never_arrives() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    kernel.hold_sends(A, |_| true);
    send(&mut kernel, A, conn, 1);
    kernel.kill(A);
    kernel.start(A, Toy::default());
    kernel.release_sends(A);
    run_for(&mut kernel, SECONDS);
    assert!(lines(&kernel, B).iter().all(|line| *line != "request 1"));
}

#[test]
fn timers_of_a_dead_incarnation_are_ignored() {
    let mut kernel = pair(1);
    act(&mut kernel, A, |env| env.timer_in(SECONDS, TimerToken(1)));
    kernel.kill(A);
    assert_eq!(kernel.start(A, Toy::default()), 2);
    act(&mut kernel, A, |env| {
        env.timer_in(2 * SECONDS, TimerToken(2))
    });
    run_for(&mut kernel, 3 * SECONDS);
    assert_eq!(lines(&kernel, A), ["start", "timer 2"]);
    assert_eq!(time_of(&kernel, A, "timer 2"), Some(2 * SECONDS));
}

#[test]
fn nothing_is_emitted_after_a_halt() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    act(&mut kernel, A, move |env| {
        env.send(conn, request(1));
        env.out.push(Output::Halt);
        env.send(conn, request(2));
    });
    assert_eq!(kernel.halted, [A]);
    assert!(!kernel.is_alive(A));
    assert_eq!(kernel.call(A, Call::Flush), None);
    run_for(&mut kernel, 10 * MILLIS);
    assert_eq!(lines(&kernel, B)[2..], ["request 1", "closed Reset"]);
}

#[test]
fn a_queue_with_one_server_serves_one_after_the_other() {
    let mut kernel = pair(1);
    act(&mut kernel, A, |env| {
        for _ in 0..4 {
            env.serve(Queue::Scheduler, MILLIS);
        }
    });
    run_for(&mut kernel, SECONDS);
    let log = &kernel.process(A).unwrap().log;
    let times: Vec<Nanos> = log[1..].iter().map(|(at, _)| *at).collect();
    assert_eq!(times.len(), 4);
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= MILLIS / 2, "{times:?}");
    }
    assert!(times[3] <= 8 * MILLIS, "{times:?}");
}

#[test]
fn eight_request_handlers_work_at_once_and_the_ninth_item_waits() {
    let mut kernel = pair(1);
    act(&mut kernel, A, |env| {
        for _ in 0..9 {
            env.serve(Queue::RequestHandler, MILLIS);
        }
    });
    run_for(&mut kernel, SECONDS);
    let log = &kernel.process(A).unwrap().log;
    let times: Vec<Nanos> = log[1..].iter().map(|(at, _)| *at).collect();
    assert!(times[7] <= 2 * MILLIS, "{times:?}");
    assert!(times[8] >= times[0] + MILLIS / 2, "{times:?}");
}

#[test]
fn a_slow_machine_takes_longer() {
    let took = |percent| {
        let mut kernel = pair(1);
        kernel.set_slowness_percent(MachineId(1), percent);
        act(&mut kernel, A, |env| env.serve(Queue::Controller, MILLIS));
        run_for(&mut kernel, SECONDS);
        time_of(&kernel, A, "serve Controller").unwrap()
    };
    assert_eq!(took(1000), 10 * took(100));
}

#[test]
fn a_sync_completes_later_and_makes_durable() {
    let mut kernel = pair(1);
    act(&mut kernel, A, |env| {
        let file = env.disk.open("log").unwrap();
        env.disk.append(file, b"bytes").unwrap();
        env.disk.sync(file, SyncToken(5));
        env.disk.sync_dir("", SyncToken(6));
    });
    assert_eq!(kernel.disk(MachineId(1)).unsynced_bytes(), 5);
    run_for(&mut kernel, 10 * MILLIS);
    assert_eq!(lines(&kernel, A)[1..], ["synced 5", "synced 6"]);
    assert!(time_of(&kernel, A, "synced 5").unwrap() >= MILLIS);
    assert_eq!(kernel.power_off(MachineId(1), Unsynced::Gone), Some((0, 0)));
    assert_eq!(kernel.power_off(MachineId(1), Unsynced::Gone), None);
    kernel.power_on(MachineId(1));
    assert_eq!(
        kernel.disk(MachineId(1)).content("log"),
        Some(&b"bytes"[..])
    );
}

#[test]
fn power_loss_takes_every_process_of_the_machine() {
    let mut kernel = pair(1);
    let neighbour = NodeId(3);
    kernel.add_node(neighbour, MachineId(1));
    kernel.start(neighbour, Toy::default());
    kernel.power_off(MachineId(1), Unsynced::Gone);
    assert!(!kernel.is_alive(A) && !kernel.is_alive(neighbour));
    assert!(kernel.is_alive(B));
}

#[test]
fn wall_clocks_are_per_machine_and_may_jump() {
    let mut kernel = pair(1);
    kernel.jump_clock(MachineId(2), -60_000);
    run_until(&mut kernel, 5 * SECONDS);
    let wall = |kernel: &mut Kernel<Toy>, node| act(kernel, node, |env| env.wall_ms);
    assert_eq!(wall(&mut kernel, A), WALL_CLOCK_START_MS + 5_000);
    assert_eq!(wall(&mut kernel, B), WALL_CLOCK_START_MS - 55_000);
}

#[test]
fn watched_frames_are_seen_when_they_are_sent() {
    let mut kernel = pair(1);
    let conn = connected(&mut kernel);
    kernel.watch_sends(|frame| matches!(frame, Frame::Request(7, _)));
    send(&mut kernel, A, conn, 6);
    assert!(kernel.watched.is_empty());
    send(&mut kernel, A, conn, 7);
    assert_eq!(kernel.watched, [(A, B)]);
}

/// A run with faults; the hash, and the records of the steps.
fn busy_run(seed: u64, wire: WireMode, extra_node: bool) -> (u64, Vec<crate::result::StepRecord>) {
    let mut kernel = Kernel::new(seed, wire);
    kernel.record_steps();
    let echo = || Toy {
        echo: true,
        ..Toy::default()
    };
    let extra = NodeId(500);
    if extra_node {
        kernel.add_node(extra, MachineId(500));
        kernel.start(extra, Toy::default());
        act(&mut kernel, extra, |env| {
            for tick in 1..50 {
                env.timer_in(tick * 10 * MILLIS, TimerToken(tick));
            }
        });
    }
    for node in [A, B] {
        kernel.add_node(node, MachineId(node.0));
        kernel.start(node, echo());
    }
    let conn = act(&mut kernel, A, |env| env.connect(B));
    for round in 0..40u64 {
        run_until(&mut kernel, (round + 1) * 10 * MILLIS);
        match round {
            10 => kernel.cut(A, B),
            20 => kernel.heal(A, B),
            35 => {
                kernel.kill(B);
                kernel.start(B, echo());
            }
            _ => {
                let correlation = round as i32;
                act(&mut kernel, A, move |env| {
                    env.send(conn, request(correlation));
                    env.serve(Queue::RequestHandler, 100 * MICROS);
                    let file = env.disk.open("log").unwrap();
                    env.disk.append(file, b"bytes").unwrap();
                    env.disk.sync(file, SyncToken(1));
                });
            }
        }
    }
    run_for(&mut kernel, SECONDS);
    let hash = kernel.trace_hash();
    (hash, kernel.trace_mut().take_records())
}

#[test]
fn the_same_seed_gives_the_same_hash_and_another_seed_another() {
    let (hash, _) = busy_run(5, WireMode::Typed, false);
    assert_eq!(busy_run(5, WireMode::Typed, false).0, hash);
    assert_ne!(busy_run(6, WireMode::Typed, false).0, hash);
}

#[test]
fn frames_as_bytes_give_the_same_hash() {
    let typed = busy_run(5, WireMode::Typed, false);
    let bytes = busy_run(5, WireMode::Bytes, false);
    assert_eq!(typed, bytes);
}

#[test]
fn an_extra_node_changes_nothing_of_the_others() {
    let what = |records: Vec<crate::result::StepRecord>| -> Vec<_> {
        let others = records.into_iter().filter(|record| record.node != 500);
        // Calls are numbered throughout the run, so the extra node's shift the names of the others.
        others
            .map(|record| {
                let call = record.input.starts_with("call");
                let input = if call { "call".into() } else { record.input };
                (record.at_ns, record.node, input)
            })
            .collect()
    };
    let alone = what(busy_run(5, WireMode::Typed, false).1);
    assert!(alone.len() > 100);
    assert_eq!(alone, what(busy_run(5, WireMode::Typed, true).1));
}
