//! What the code of an application is given: its clients, time to sleep and to process, and the
//! workload. An application is ordinary async code; [`registry`] holds those that a spec can name.
//!
//! Time passes in an application only where it awaits something of its [`Context`] or its clients.
//! It sleeps with [`Context::sleep`]; a timer of the host's runtime would fire late, since the world
//! moves the host's clock only when it lets an application run.

mod client;
mod consumers;
mod producers;
pub mod registry;

pub use client::{AsyncCommit, ConsumerClient, Delivery, ProducerClient};

use crate::event::{ClientEvent, MessageId};
use crate::spec::Workload;
use crate::world::ApplicationId;
use bytes::Bytes;
use everyack_broker::client::{Call, CallId, ClientError, ConsumerRecord, ProducerRecord, Reply};
use everyack_broker::env::Stream;
use everyack_broker::ids::{NodeId, TopicName};
use everyack_broker::time::{MICROS, MILLIS, Nanos};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// A start of an application. `Ok` ends its process; an `Err` does too, and a supervisor starts it
/// again, with a new client, after [`crate::world::RESTART_DELAY`].
pub type Run = Pin<Box<dyn Future<Output = Result<(), ClientError>>>>;

/// An application's code.
pub type Main = Rc<dyn Fn(Context) -> Run>;

/// What all applications of a run are told.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// What the producers send, and how long processing takes.
    pub workload: Workload,
    /// Where to.
    pub topic: TopicName,
    /// Its partitions.
    pub partitions: i32,
    /// Consumers that share them.
    pub consumers: u32,
    /// Where records go on which the handler threw, for applications that send them there.
    pub dead_letter_topic: Option<TopicName>,
}

/// Pause before a handler that threw is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Different keys of a workload whose records have some.
const KEYS: i32 = 50;

/// What a record says about where it is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// Its partition.
    Partition,
    /// Its key.
    Key,
    /// Nothing.
    Nothing,
}

/// The message that a consumer was given, if it is one of the workload.
pub(crate) fn message_of(record: &ConsumerRecord) -> Option<MessageId> {
    Some(MessageId::from_value(&record.value)?.at(record.partition))
}

/// The handler threw an exception on a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerFailed;

/// Which start of which application asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub application: ApplicationId,
    pub node: NodeId,
    pub incarnation: u32,
    /// The node of the second client of its process.
    pub companion: Option<NodeId>,
}

/// What a call is about, for the events that its answer makes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum About {
    /// A send, of a message with an identity if it has one.
    Send(Option<MessageId>),
    /// The send of a record on which the handler threw.
    DeadLetter(Option<MessageId>),
    Poll,
    Commit,
    Positions,
    Other,
}

/// What became of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Called {
    Pending(CallId),
    /// The engine halted.
    EngineGone,
    /// The application itself was killed and runs its last poll: it must see nothing any more.
    ApplicationGone,
}

/// The world as seen by application code, whatever its processes are.
pub(crate) trait Boundary {
    fn now(&self) -> Nanos;
    fn call(&self, caller: Caller, call: Call, about: About) -> Called;
    /// Whether a send is in the accumulator, or failed before.
    fn is_accepted(&self, call: CallId, waker: &Waker) -> bool;
    fn take_answer(&self, call: CallId, waker: &Waker) -> Option<Reply>;
    fn sleep_until(&self, caller: Caller, at: Nanos) -> u64;
    fn has_slept(&self, sleeper: u64, waker: &Waker) -> bool;
    fn emit(&self, caller: Caller, event: ClientEvent);
    /// Whether the handler throws on this message; each call is an attempt.
    fn handler_fails(&self, caller: Caller, message: MessageId) -> bool;
    fn next_sequence(&self, caller: Caller) -> u32;
    fn is_attended(&self) -> bool;
}

/// An application's own view of the world. Clones are the same application.
#[derive(Clone)]
pub struct Context {
    boundary: Rc<dyn Boundary>,
    caller: Caller,
    index: u32,
    parameters: Rc<Parameters>,
    rng: Rc<RefCell<Stream>>,
    started_at: Nanos,
}

impl Context {
    pub(crate) fn new(
        boundary: Rc<dyn Boundary>,
        caller: Caller,
        index: u32,
        parameters: Rc<Parameters>,
        rng: Stream,
        started_at: Nanos,
    ) -> Context {
        Context {
            boundary,
            caller,
            index,
            parameters,
            rng: Rc::new(RefCell::new(rng)),
            started_at,
        }
    }

    pub(crate) fn caller(&self) -> Caller {
        self.caller
    }

    /// Number among the applications of its kind, from 0.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The run's workload, and where it goes.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// This application's producer; every call gives a handle of the same one.
    pub fn producer(&self) -> ProducerClient {
        ProducerClient::new(self.clone())
    }

    /// This application's consumer; every call gives a handle of the same one.
    pub fn consumer(&self) -> ConsumerClient {
        ConsumerClient::new(self.clone())
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> Nanos {
        self.boundary.now()
    }

    /// Time since this start of the application.
    pub fn uptime(&self) -> Duration {
        Duration::from_nanos(self.now() - self.started_at)
    }

    /// Sleeps for exactly this long.
    pub async fn sleep(&self, duration: Duration) {
        let nanos = Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX);
        let at = self.now().saturating_add(nanos);
        let sleeper = self.boundary.sleep_until(self.caller, at);
        poll_fn(|context| {
            if self.boundary.has_slept(sleeper, context.waker()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Uniform in `low..=high`, from the application's own stream.
    pub fn draw(&self, low: u64, high: u64) -> u64 {
        self.rng.borrow_mut().range(low, high)
    }

    /// Processes a record: takes half to one and a half times the workload's processing time, and
    /// has processed it only then. A kill meanwhile leaves it unprocessed. Where the handler throws, it
    /// is tried again, until it does not.
    pub async fn process(&self, record: &ConsumerRecord) {
        while self.try_process(record).await.is_err() {
            self.sleep(RETRY_PAUSE).await;
        }
    }

    /// As [`Self::process`], once.
    ///
    /// # Errors
    /// The handler threw: the record is not processed.
    pub async fn try_process(&self, record: &ConsumerRecord) -> Result<(), HandlerFailed> {
        let mean = self.parameters.workload.processing_us * MICROS;
        if mean > 0 {
            let takes = self.draw(mean / 2, mean + mean / 2);
            self.sleep(Duration::from_nanos(takes)).await;
        }
        let Some(message) = message_of(record) else {
            return Ok(());
        };
        let offset = record.offset;
        if self.boundary.handler_fails(self.caller, message) {
            self.emit(ClientEvent::ProcessingFailed { message, offset });
            return Err(HandlerFailed);
        }
        self.emit(ClientEvent::Processed { message, offset });
        Ok(())
    }

    /// Hands a record on which the handler threw to the producer of this process, for the dead-letter
    /// topic: key and value as they are, to be awaited or not.
    ///
    /// # Panics
    /// In an application that the registry does not know to send dead letters.
    pub async fn send_dead_letter(&self, record: &ConsumerRecord) -> Delivery {
        let topic = self.parameters.dead_letter_topic.clone();
        let message = message_of(record);
        if let Some(message) = message {
            let offset = record.offset;
            self.emit(ClientEvent::DeadLetterSent { message, offset });
        }
        let letter = ProducerRecord {
            topic: topic.expect("a topic for dead letters"),
            partition: None,
            key: record.key.clone(),
            value: record.value.clone(),
        };
        let mut context = self.clone();
        let companion = self.caller.companion;
        context.caller.node = companion.expect("a producer for dead letters");
        ProducerClient::new(context)
            .send_about(letter, About::DeadLetter(message))
            .await
    }

    /// Puts an event of this application into the world's stream.
    pub fn emit(&self, event: ClientEvent) {
        self.boundary.emit(self.caller, event);
    }

    /// The partitions of the topic that this consumer takes: round robin over the consumers.
    pub fn assigned_partitions(&self) -> Vec<(TopicName, i32)> {
        let consumers = self.parameters.consumers.max(1) as i32;
        (0..self.parameters.partitions)
            .filter(|partition| partition % consumers == self.index as i32)
            .map(|partition| (self.parameters.topic.clone(), partition))
            .collect()
    }

    /// Whether an operator is there, who does something about a consumer that has no position and throws:
    /// before the load begins, and once every outage has ended.
    pub fn is_attended(&self) -> bool {
        self.boundary.is_attended()
    }

    /// The first message of the workload that no start of this producer has sent yet: a producer
    /// that was killed goes on behind what it had handed to its client, whatever became of that.
    pub fn next_sequence(&self) -> u32 {
        self.boundary.next_sequence(self.caller)
    }

    /// When the workload wants the message with this number to be sent, counted from the start of
    /// the first one.
    pub fn due(&self, sequence: u32) -> Duration {
        let workload = &self.parameters.workload;
        let messages = u64::from(workload.messages_per_producer.max(1));
        let spread = workload.spread_ms * MILLIS;
        let nanos = u128::from(spread) * u128::from(sequence) / u128::from(messages);
        Duration::from_nanos(nanos as u64)
    }

    /// The record of one message of the workload. Where it names its partition, messages go round the
    /// partitions.
    pub fn message(&self, sequence: u32, addressing: Addressing) -> ProducerRecord {
        let parameters = &self.parameters;
        let round = sequence.wrapping_add(self.index) as i32;
        let partition = (addressing == Addressing::Partition)
            .then(|| round.rem_euclid(parameters.partitions.max(1)));
        let message = MessageId {
            producer: self.index,
            sequence,
            partition: partition.unwrap_or(MessageId::ANY),
        };
        let bytes = parameters.workload.message_bytes as usize;
        let key = (addressing == Addressing::Key)
            .then(|| Bytes::from(format!("key {}", round.rem_euclid(KEYS))));
        ProducerRecord {
            topic: parameters.topic.clone(),
            partition,
            key,
            value: Bytes::from(message.to_value(bytes)),
        }
    }

    /// Calls the engine. `Err` where it is gone; a killed application waits for ever.
    async fn call(&self, call: Call, about: About) -> Result<CallId, ClientError> {
        match self.boundary.call(self.caller, call, about) {
            Called::Pending(id) => Ok(id),
            Called::EngineGone => Err(ClientError::Closed),
            Called::ApplicationGone => std::future::pending().await,
        }
    }

    async fn answer(&self, call: CallId) -> Reply {
        poll_fn(
            |context| match self.boundary.take_answer(call, context.waker()) {
                Some(reply) => Poll::Ready(reply),
                None => Poll::Pending,
            },
        )
        .await
    }

    async fn accepted(&self, call: CallId) {
        poll_fn(|context| {
            if self.boundary.is_accepted(call, context.waker()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}
