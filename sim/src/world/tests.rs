//! Applications on the host: calls, sleeps, kills, panics, restarts, and that nothing is left over.

use super::*;
use crate::application::{Addressing, registry};
use crate::event::MessageId;
use crate::host::host;
use crate::kernel::MachineId;
use crate::spec::{WireMode, Workload};
use bytes::Bytes;
use everyack_broker::client::{Call, CallId, ClientError, ConsumerRecord, RecordMetadata};
use everyack_broker::env::{Env, Input, TimerToken};
use everyack_broker::time::{MICROS, MILLIS};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A client engine without a cluster: a send succeeds after a millisecond, polls give the records
/// of a fixed log, commits are done at once.
struct Engine {
    /// Held to see whether the engine was dropped.
    _witness: Arc<()>,
    waiting: BTreeMap<u64, (CallId, Reply)>,
    next_offset: i64,
    log_end: i64,
    fail: Option<Failure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Panic,
    Position,
    Silence,
}

impl Engine {
    fn new(witness: &Arc<()>) -> Engine {
        Engine {
            _witness: Arc::clone(witness),
            waiting: BTreeMap::new(),
            next_offset: 0,
            log_end: 0,
            fail: None,
        }
    }

    fn later(&mut self, env: &mut Env<'_>, delay: Nanos, call: CallId, reply: Reply) {
        self.waiting.insert(call.0, (call, reply));
        env.timer_in(delay, TimerToken(call.0));
    }

    fn call(&mut self, id: CallId, call: Call, env: &mut Env<'_>) {
        match call {
            Call::Send(record) => {
                assert_ne!(self.fail, Some(Failure::Panic), "the engine is broken");
                env.reply(id, Reply::Accepted);
                let metadata = RecordMetadata {
                    partition: record.partition.unwrap_or(0),
                    offset: self.next_offset,
                };
                self.next_offset += 1;
                if self.fail != Some(Failure::Silence) {
                    self.later(env, MILLIS, id, Reply::Sent(Ok(metadata)));
                }
            }
            Call::Poll(timeout_ms) if self.next_offset == self.log_end => {
                self.later(env, timeout_ms * MILLIS, id, Reply::Records(Vec::new()));
            }
            Call::Poll(_) => {
                let records = (0..2).map(|n| record(self.next_offset + n)).collect();
                self.next_offset += 2;
                env.reply(id, Reply::Records(records));
            }
            Call::Positions if self.fail == Some(Failure::Position) => {
                env.reply(id, Reply::Failed(ClientError::NoOffsetForPartition));
            }
            Call::Positions => env.reply(id, Reply::Positions(Vec::new())),
            Call::Flush
            | Call::Close
            | Call::Assign(_)
            | Call::CommitSync
            | Call::CommitSyncOffsets(_)
            | Call::CommitAsync(_)
            | Call::Seek(_) => env.reply(id, Reply::Done(Ok(()))),
        }
    }
}

fn record(offset: i64) -> ConsumerRecord {
    let message = MessageId {
        producer: 0,
        sequence: offset as u32,
        partition: 0,
    };
    ConsumerRecord {
        topic: "t".into(),
        partition: 0,
        offset,
        leader_epoch: 0,
        timestamp: 0,
        key: None,
        value: Bytes::from(message.to_value(16)),
    }
}

impl Process for Engine {
    fn step(&mut self, input: Input, env: &mut Env<'_>) {
        match input {
            Input::Call(id, call) => self.call(id, call, env),
            Input::Timer(token) => {
                let (call, reply) = self.waiting.remove(&token.0).expect("it waits");
                env.reply(call, reply);
            }
            _ => {}
        }
    }
}

const NODE: NodeId = NodeId(2000);

fn world(seed: u64) -> World<Engine> {
    let mut kernel = Kernel::new(seed, WireMode::Typed);
    kernel.add_node(NODE, MachineId(1));
    kernel.add_node(NodeId(2001), MachineId(2));
    World::new(seed, kernel)
}

fn application<F>(
    node: NodeId,
    witness: &Arc<()>,
    fail: Option<Failure>,
    main: impl Fn(Context) -> F + 'static,
) -> ApplicationSpec<Engine>
where
    F: Future<Output = Result<(), ClientError>> + 'static,
{
    let witness = Arc::clone(witness);
    ApplicationSpec {
        name: format!("application {}", node.0),
        node,
        index: 0,
        parameters: Rc::new(Parameters {
            workload: Workload {
                messages_per_producer: 20,
                message_bytes: 32,
                spread_ms: 100,
                processing_us: 500,
            },
            topic: "t".into(),
            partitions: 3,
            dead_letter_topic: None,
            consumers: 1,
        }),
        engine: Box::new(move || Engine {
            log_end: 6,
            fail,
            ..Engine::new(&witness)
        }),
        companion: None,
        main: Rc::new(move |context| Box::pin(main(context))),
    }
}

/// Runs one application until `until`, with what the test does after every event; answers the
/// client events and the trace hash.
fn events_of(seed: u64, until: Nanos, name: &'static str) -> (Vec<(Nanos, ClientEvent)>, u64) {
    host(seed, move || async move {
        let world = world(seed);
        let witness = Arc::new(());
        let entry = registry::producer(name).or_else(|| registry::consumer(name));
        let main = entry.expect("it is registered").main;
        let id = world.add_application(application(NODE, &witness, None, main));
        world.start_application(id).await;
        run_until(&world, until).await;
        (client_events(&world), world.kernel().trace_hash())
    })
    .expect("no panic")
}

async fn run_until(world: &World<Engine>, until: Nanos) {
    world.kernel().control(until, 1);
    while world.next().await != Next::Control(1) {}
}

fn client_events(world: &World<Engine>) -> Vec<(Nanos, ClientEvent)> {
    let mut events = Vec::new();
    world.take_events(&mut events, &mut Vec::new());
    events
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::Client(client) => Some((event.at, client)),
            _ => None,
        })
        .collect()
}

fn count(events: &[(Nanos, ClientEvent)], is: impl Fn(&ClientEvent) -> bool) -> usize {
    events.iter().filter(|(_, event)| is(event)).count()
}

#[test]
fn the_producer_sends_its_workload_spread_out_and_learns_every_fate() {
    let (events, _) = events_of(1, 2 * SECONDS, "checks-results");
    let sent: Vec<Nanos> = events
        .iter()
        .filter(|(_, event)| matches!(event, ClientEvent::Sent(_)))
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(sent.len(), 20);
    assert_eq!(sent[0], 0);
    let last = *sent.last().unwrap();
    assert!((70 * MILLIS..100 * MILLIS).contains(&last), "{last}");
    assert_eq!(count(&events, |e| matches!(e, ClientEvent::Acked(..))), 20);
    let (finished_at, event) = events.last().unwrap();
    assert_eq!(event, &ClientEvent::ProducerFinished);
    assert_eq!(*finished_at, last + MILLIS, "at once with the last fate");
}

#[test]
fn the_consumer_processes_then_commits() {
    let (events, _) = events_of(1, SECONDS, "commit-after-processing");
    let round: Vec<&ClientEvent> = events.iter().map(|(_, event)| event).collect();
    assert_eq!(round[0], &ClientEvent::PositionsFixed);
    assert_eq!(round[1], &ClientEvent::Polled(2));
    assert!(matches!(round[2], ClientEvent::Delivered { offset: 0, .. }));
    assert!(matches!(round[4], ClientEvent::Processed { offset: 0, .. }));
    assert!(matches!(round[5], ClientEvent::Processed { offset: 1, .. }));
    assert_eq!(round[6], &ClientEvent::CommitDone);
    assert_eq!(
        count(&events, |e| matches!(e, ClientEvent::Processed { .. })),
        6
    );
    let processed_at = events[4].0;
    assert!((250 * MICROS..=750 * MICROS).contains(&processed_at));
}

#[test]
fn the_careless_consumer_commits_then_processes() {
    let (events, _) = events_of(1, SECONDS, "commit-before-processing");
    let commit = events
        .iter()
        .position(|(_, e)| e == &ClientEvent::CommitDone);
    let processed = events
        .iter()
        .position(|(_, e)| matches!(e, ClientEvent::Processed { .. }));
    assert!(commit.unwrap() < processed.unwrap());
}

#[test]
fn the_auto_committing_consumer_never_commits_itself() {
    let (events, _) = events_of(1, SECONDS, "auto-commit");
    assert_eq!(
        count(&events, |e| matches!(e, ClientEvent::Processed { .. })),
        6
    );
    assert_eq!(count(&events, |e| e == &ClientEvent::CommitDone), 0);
}

#[test]
fn the_same_seed_gives_the_same_run_on_any_thread_and_after_any_other() {
    let first = events_of(1, SECONDS, "checks-results");
    events_of(2, SECONDS, "auto-commit");
    assert_eq!(events_of(1, SECONDS, "checks-results"), first);
    assert_ne!(events_of(3, SECONDS, "checks-results").1, first.1);
}

#[test]
fn an_application_sleeps_exactly_and_its_host_clock_follows() {
    let (slept, host_clock) = host(1, || async {
        let world = world(1);
        let observed = Rc::new(RefCell::new((0, 0)));
        let into = Rc::clone(&observed);
        let main = move |context: Context| {
            let into = Rc::clone(&into);
            async move {
                for _ in 0..3 {
                    context.sleep(Duration::from_nanos(1_234_567)).await;
                }
                let host_clock = madsim::time::TimeHandle::current().elapsed();
                *into.borrow_mut() = (context.now(), host_clock.as_nanos() as u64);
                Ok(())
            }
        };
        let id = world.add_application(application(NODE, &Arc::new(()), None, main));
        world.start_application(id).await;
        run_until(&world, SECONDS).await;
        assert!(!world.is_running(id), "it has ended");
        assert!(!world.kernel().is_alive(NODE), "and its engine with it");
        *observed.borrow()
    })
    .unwrap();
    assert_eq!(slept, 3 * 1_234_567);
    assert!(
        (slept..slept + 100 * MICROS).contains(&host_clock),
        "{host_clock}"
    );
}

#[test]
fn a_killed_application_is_told_nothing_more_and_does_nothing_more() {
    let polls_after = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&polls_after);
    let witness = Arc::new(());
    let in_run = Arc::clone(&witness);
    let events = host(1, move || async move {
        let world = world(1);
        let main = move |context: Context| {
            let counter = Arc::clone(&counter);
            async move {
                let producer = context.producer();
                let delivery = producer
                    .send(context.message(0, Addressing::Partition))
                    .await;
                let _ = delivery.await;
                counter.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        };
        let id = world.add_application(application(NODE, &in_run, None, main));
        world.start_application(id).await;
        run_until(&world, 500 * MICROS).await;
        assert!(world.kill_application(id).await);
        assert!(!world.kill_application(id).await, "it is dead");
        assert!(!world.kernel().is_alive(NODE));
        run_until(&world, SECONDS).await;
        client_events(&world)
    })
    .unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(matches!(events[0].1, ClientEvent::Sent(_)));
    assert_eq!(polls_after.load(Ordering::SeqCst), 0);
    assert_eq!(Arc::strong_count(&witness), 1, "an engine was leaked");
}

#[test]
fn a_restarted_producer_goes_on_behind_what_it_had_sent() {
    let events = host(1, || async {
        let world = world(1);
        let main = registry::producer("checks-results").unwrap().main;
        let id = world.add_application(application(NODE, &Arc::new(()), None, main));
        world.start_application(id).await;
        let mut events = Vec::new();
        while count(&events, |e| matches!(e, ClientEvent::Sent(_))) < 8 {
            world.next().await;
            events.append(&mut client_events(&world));
        }
        // At the very instant of the eighth send, a millisecond before its acknowledgement.
        world.kill_application(id).await;
        run_until(&world, 200 * MILLIS).await;
        world.start_application(id).await;
        run_until(&world, SECONDS).await;
        events.append(&mut client_events(&world));
        events
    })
    .unwrap();
    let sent: Vec<u32> = events
        .iter()
        .filter_map(|(_, event)| match event {
            ClientEvent::Sent(message) => Some(message.sequence),
            _ => None,
        })
        .collect();
    assert_eq!(sent, (0..20).collect::<Vec<_>>());
    assert!(count(&events, |e| matches!(e, ClientEvent::Acked(..))) < 20);
    assert_eq!(count(&events, |e| e == &ClientEvent::ProducerFinished), 1);
}

#[test]
fn a_fatal_exception_restarts_the_application_with_a_new_engine() {
    let witness = Arc::new(());
    let in_run = Arc::clone(&witness);
    let incarnations = host(1, move || async move {
        let world = world(1);
        let main = registry::consumer("auto-commit").unwrap().main;
        let spec = application(NODE, &in_run, Some(Failure::Position), main);
        let id = world.add_application(spec);
        world.start_application(id).await;
        assert!(!world.is_running(id), "its first position throws");
        run_until(&world, 3 * RESTART_DELAY + 1).await;
        world.kernel().incarnation(NODE)
    })
    .unwrap();
    assert_eq!(incarnations, 4);
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[test]
fn a_panic_of_an_application_is_returned_with_its_place_and_leaks_nothing() {
    let witness = Arc::new(());
    let in_run = Arc::clone(&witness);
    let outcome = host(1, move || async move {
        let world = world(1);
        let other = world.add_application(application(
            NodeId(2001),
            &in_run,
            Some(Failure::Silence),
            registry::producer("checks-results").unwrap().main,
        ));
        world.start_application(other).await;
        let held = Arc::clone(&in_run);
        let main = move |context: Context| {
            let held = Arc::clone(&held);
            async move {
                context.sleep(Duration::from_millis(5)).await;
                assert_eq!(Arc::strong_count(&held), 0, "the application is broken");
                Ok(())
            }
        };
        let id = world.add_application(application(NODE, &in_run, None, main));
        world.start_application(id).await;
        run_until(&world, SECONDS).await;
    });
    let message = outcome.expect_err("it panicked");
    assert!(message.contains("the application is broken"), "{message}");
    assert!(message.contains("world/tests.rs:"), "{message}");
    assert_eq!(Arc::strong_count(&witness), 1, "something was leaked");
}

#[test]
fn a_panic_of_a_process_or_the_driver_is_returned() {
    let witness = Arc::new(());
    let in_run = Arc::clone(&witness);
    let outcome = host(1, move || async move {
        let world = world(1);
        let main = registry::producer("checks-results").unwrap().main;
        let spec = application(NODE, &in_run, Some(Failure::Panic), main);
        let id = world.add_application(spec);
        world.start_application(id).await;
        run_until(&world, SECONDS).await;
    });
    let message = outcome.expect_err("the engine panicked");
    assert!(message.contains("the engine is broken"), "{message}");
    assert_eq!(Arc::strong_count(&witness), 1, "something was leaked");

    let outcome: Result<(), String> = host(1, || async { panic!("the driver {}", "gives up") });
    assert!(outcome.unwrap_err().starts_with("the driver gives up, "));
    let outcome: Result<(), String> = host(1, std::future::pending);
    assert!(outcome.unwrap_err().contains("block forever"));
    assert_eq!(host(1, || async { 5 }), Ok(5));
}
