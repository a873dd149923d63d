//! How a state machine meets the world: inputs come in, outputs and facts go out.
//!
//! Every process (broker, controller, producer and consumer engine) is a [`Process`]: a synchronous
//! state machine that the world steps. It has no clock, no threads and no randomness but what
//! [`Env`] hands in.

use crate::client::{Call, CallId, Reply};
use crate::controller::AdminCommand;
use crate::disk::{Disk, DiskError};
use crate::fact::Fact;
use crate::ids::NodeId;
use crate::time::Nanos;
use crate::wire::Frame;
use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;

/// One TCP connection; both ends use the same id. Never reused within a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Chosen by the process that starts a timer and handed back when it fires. Timers are never
/// cancelled: the process ignores the stale ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerToken(pub u64);

/// Chosen by the process that starts a sync and handed back when it completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SyncToken(pub u64);

/// Kafka's threads as queues: each serves its items one after the other, and the world serves the
/// queues of a node in an order drawn from the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// `num.io.threads` request handlers.
    RequestHandler,
    /// The replica fetcher thread that reads from this broker.
    ReplicaFetcher(i32),
    /// `KafkaScheduler`: ISR expiry, flusher, checkpoints.
    Scheduler,
    /// The metadata loader and publisher.
    MetadataPublisher,
    /// The controller's single event queue, `QuorumController`.
    Controller,
    /// The group coordinator's loader and event loop.
    Coordinator,
    /// The cleaner's thread, `LogCleaner.CleanerThread`.
    LogCleaner,
    /// `LogDirFailureHandler`: takes up what `LogDirFailureChannel` holds.
    LogDirFailureHandler,
}

impl Queue {
    /// How many items the queue serves at once.
    pub fn servers(self) -> usize {
        match self {
            Queue::RequestHandler => 8,
            _ => 1,
        }
    }

    /// A number that tells queues apart in the trace hash.
    pub fn code(self) -> u64 {
        match self {
            Queue::RequestHandler => 0,
            Queue::Scheduler => 1,
            Queue::MetadataPublisher => 2,
            Queue::Controller => 3,
            Queue::Coordinator => 4,
            Queue::LogDirFailureHandler => 5,
            Queue::LogCleaner => 6,
            Queue::ReplicaFetcher(id) => 16 + u64::from(id as u32),
        }
    }

    /// The queue with that number.
    ///
    /// # Panics
    /// Where there is none.
    pub fn from_code(code: u64) -> Queue {
        match code {
            0 => Queue::RequestHandler,
            1 => Queue::Scheduler,
            2 => Queue::MetadataPublisher,
            3 => Queue::Controller,
            4 => Queue::Coordinator,
            5 => Queue::LogDirFailureHandler,
            6 => Queue::LogCleaner,
            16.. => Queue::ReplicaFetcher((code - 16) as i32),
            _ => panic!("no queue has the number {code}"),
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseReason {
    /// Nobody listens at the other end.
    Refused,
    /// The other end closed it in order.
    Closed,
    /// The other end's process is gone, or the network reset it.
    Reset,
}

/// What the world hands to a process, one at a time.
#[derive(Debug)]
pub enum Input {
    /// The process has just started, with its machine's disk as it is. Always the first input.
    Start,
    /// A connection that this process asked for is established.
    Connected(ConnId),
    /// Somebody connected to this process.
    Accepted(ConnId, NodeId),
    /// A whole frame has arrived.
    Received(ConnId, Frame),
    /// The connection is gone; nothing more arrives on it.
    Closed(ConnId, CloseReason),
    /// A timer fired.
    Timer(TimerToken),
    /// A queue serves the item that is first in it.
    Serve(Queue),
    /// A sync completed. On an error its dirty pages are dropped.
    Synced(SyncToken, Result<(), DiskError>),
    /// The application calls its client engine.
    Call(CallId, Call),
    /// What an operator asks of the controller.
    Admin(AdminCommand),
    /// SIGTERM: the process ends in order, with `Output::Halt`.
    Shutdown,
}

/// What a process hands to the world.
#[derive(Debug)]
pub enum Output {
    /// Opens a connection; answered by `Connected` or `Closed`.
    Connect(ConnId, NodeId),
    /// Sends a frame, in order, on an open connection.
    Send(ConnId, Frame),
    /// Closes a connection in order. The other end sees `Closed` after what was sent before.
    Close(ConnId),
    /// Fires `Timer(token)` at that instant, at once where it has passed.
    Timer(Nanos, TimerToken),
    /// Puts one item into a queue: `Serve(queue)` follows once the queue has worked on it for `cost`.
    Serve(Queue, Nanos),
    /// Answers an application's call.
    Reply(CallId, Reply),
    /// The process ends here, orderly or not; it receives and sends nothing more.
    Halt,
}

/// A seeded stream of integers.
#[derive(Debug, Clone)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream for `purpose` under `seed`. Streams of different purposes do not shift one another.
    pub fn new(seed: u64, purpose: u64) -> Stream {
        use rand_chacha::rand_core::SeedableRng;
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&purpose.to_le_bytes());
        Stream(ChaCha8Rng::from_seed(key))
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..n`, 0 where `n` is 0 (Lemire's multiply-shift, its bias below 2^-32 for small n).
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform in `low..=high`.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "empty range {low}..={high}");
        low + self.below((high - low).saturating_add(1))
    }

    /// True in `numerator` of `denominator` draws.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }
}

/// What a step may touch.
pub struct Env<'a> {
    /// Monotonic time.
    pub now: Nanos,
    /// The machine's wall clock in milliseconds since 1970; it may jump.
    pub wall_ms: i64,
    /// The machine's disk.
    pub disk: &'a mut dyn Disk,
    /// The process's own random stream.
    pub rng: &'a mut Stream,
    /// What goes out, in order.
    pub out: &'a mut Vec<Output>,
    /// What happened, in order.
    pub facts: &'a mut Vec<Fact>,
    /// The next connection id.
    pub next_conn: &'a mut u64,
}

impl Env<'_> {
    /// Opens a connection to a node.
    pub fn connect(&mut self, to: NodeId) -> ConnId {
        let conn = ConnId(*self.next_conn);
        *self.next_conn += 1;
        self.out.push(Output::Connect(conn, to));
        conn
    }

    /// Sends a frame.
    pub fn send(&mut self, conn: ConnId, frame: Frame) {
        self.out.push(Output::Send(conn, frame));
    }

    /// Closes a connection.
    pub fn close(&mut self, conn: ConnId) {
        self.out.push(Output::Close(conn));
    }

    /// Starts a timer that fires after `delay`.
    pub fn timer_in(&mut self, delay: Nanos, token: TimerToken) {
        self.out
            .push(Output::Timer(self.now.saturating_add(delay), token));
    }

    /// Puts one item into a queue.
    pub fn serve(&mut self, queue: Queue, cost: Nanos) {
        self.out.push(Output::Serve(queue, cost));
    }

    /// Answers an application's call.
    pub fn reply(&mut self, call: CallId, reply: Reply) {
        self.out.push(Output::Reply(call, reply));
    }

    /// Records what happened.
    pub fn fact(&mut self, fact: Fact) {
        self.facts.push(fact);
    }
}

/// A process that the world steps.
pub trait Process {
    /// Takes one input. Deterministic: the same state, input and environment give the same outputs.
    fn step(&mut self, input: Input, env: &mut Env<'_>);
}
