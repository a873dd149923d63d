//! The producer engine: Kafka's `KafkaProducer`.
//!
//! `send` puts a record into a batch of its partition ([`accumulator`]); the [`sender`] drains the
//! batches that are ready, one request per node, and tells each record's fate. With idempotence the
//! [`transaction_manager`] numbers the batches.
//!
//! Calls of `send` that must wait, for metadata or for memory, wait in one queue, first come first
//! served: an application that calls ahead without awaiting `Reply::Accepted` keeps its order, as a
//! single thread that blocks in `send` does. `max.block.ms` counts from the call.
//!
//! Where librdkafka differs: it queues by message count and size instead of `buffer.memory`, never
//! blocks, orders retries by message id, fails a batch that is too large instead of splitting it, and
//! makes a lost sequence a fatal error (P21).
//!
//! NOT modelled: `partitioner.class`, serializers, interceptors, transactions, `close` with a timeout,
//! compression.

mod accumulator;
mod batch;
mod partitioner;
mod sender;
#[cfg(test)]
mod tests;
mod transaction_manager;

use self::accumulator::{Appended, RecordAccumulator};
use self::batch::{BatchId, size_upper_bound};
use self::partitioner::partition_for_key;
use self::transaction_manager::{State, TransactionManager};
use super::alarm::Alarm;
use super::metadata::Metadata;
use super::network::{NetworkClient, NetworkConfig};
use super::{Call, CallId, ClientError, ProducerRecord, Reply};
use crate::bug::Bug;
use crate::config::ProducerConfig;
use crate::env::{Env, Input, Process};
use crate::ids::*;
use crate::time::{Nanos, millis};
use std::collections::VecDeque;

/// What a request in flight was for.
#[derive(Debug)]
enum Tag {
    /// Topic, partition and batch of each part.
    Produce(Vec<(TopicId, i32, BatchId)>),
    InitProducerId,
}

/// What a pass of the sender did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Nothing,
    /// Requests were sent, to be answered.
    Sent,
    /// Batches have their fate, or InitProducerId was sent.
    Completed,
}

/// A `send` that waits.
#[derive(Debug)]
struct BlockedSend {
    call: CallId,
    record: ProducerRecord,
    deadline: Nanos,
}

/// A `flush` that waits for the batches before it.
#[derive(Debug)]
struct Flush {
    call: CallId,
    /// Serial of the first batch that it does not wait for.
    before: u64,
    remaining: usize,
}

/// A producer process: one `KafkaProducer`.
#[derive(Debug)]
pub struct Producer {
    config: ProducerConfig,
    network: NetworkClient<Tag>,
    accumulator: RecordAccumulator,
    transactions: Option<TransactionManager>,
    blocked: VecDeque<BlockedSend>,
    /// Snapshot version for which the first blocked send asked for an update.
    blocked_on_update: u64,
    flushes: Vec<Flush>,
    closing: Option<CallId>,
    closed: bool,
    /// Records accepted without a fate.
    pending: usize,
    produce_requests_in_flight: usize,
    next_ready_check: Nanos,
    alarm: Alarm,
    bug: Option<Bug>,
}

impl Producer {
    /// A producer that begins at `bootstrap`. Of the bugs, [`Bug::ReorderInflight1`] concerns it.
    pub fn new(config: ProducerConfig, bootstrap: Vec<NodeId>, bug: Option<Bug>) -> Producer {
        let network = NetworkConfig {
            request_timeout_ms: config.request_timeout_ms,
            reconnect_backoff_ms: config.reconnect_backoff_ms,
            reconnect_backoff_max_ms: config.reconnect_backoff_max_ms,
            socket_connection_setup_timeout_ms: config.socket_connection_setup_timeout_ms,
            socket_connection_setup_timeout_max_ms: config.socket_connection_setup_timeout_max_ms,
            max_in_flight_requests_per_connection: usize::try_from(
                config.max_in_flight_requests_per_connection,
            )
            .unwrap_or(1),
        };
        let metadata = Metadata::new(
            bootstrap,
            config.retry_backoff_ms,
            config.retry_backoff_max_ms,
            config.metadata_max_age_ms,
        );
        Producer {
            network: NetworkClient::new(network, metadata),
            accumulator: RecordAccumulator::new(&config),
            transactions: config.enable_idempotence.then(TransactionManager::new),
            blocked: VecDeque::new(),
            blocked_on_update: 0,
            flushes: Vec::new(),
            closing: None,
            closed: false,
            pending: 0,
            produce_requests_in_flight: 0,
            next_ready_check: Nanos::MAX,
            alarm: Alarm::new(),
            bug,
            config,
        }
    }

    /// Records that were accepted and have no fate yet.
    pub fn pending(&self) -> usize {
        self.pending
    }

    fn call(&mut self, call: CallId, what: Call, env: &mut Env<'_>) {
        match what {
            Call::Send(record) => self.send(call, *record, env),
            Call::Flush => self.flush(call, env),
            Call::Close => self.close(call, env),
            other => panic!("a producer was asked to {other:?}"),
        }
    }

    /// `KafkaProducer.doSend`.
    fn send(&mut self, call: CallId, record: ProducerRecord, env: &mut Env<'_>) {
        if self.accumulator.closed {
            env.reply(call, Reply::Sent(Err(ClientError::Closed)));
            return;
        }
        self.network.metadata.add_topic(&record.topic);
        if self.blocked.is_empty() {
            match self.try_send(call, &record, env) {
                Some(Appended::Done { wake: true, .. }) => return self.run(false, env),
                Some(Appended::Done { wake: false, .. }) => return,
                Some(Appended::NoMemory) | None => {}
            }
        }
        let deadline = env.now.saturating_add(millis(self.config.max_block_ms));
        self.blocked.push_back(BlockedSend {
            call,
            record,
            deadline,
        });
        self.run(false, env);
    }

    /// Appends one record; `None` where metadata is missing.
    fn try_send(
        &mut self,
        call: CallId,
        record: &ProducerRecord,
        env: &mut Env<'_>,
    ) -> Option<Appended> {
        let metadata = &self.network.metadata;
        let partition = match record.partition {
            Some(named) if metadata.has_partition(&record.topic, named) => Some(named),
            Some(_) => return None,
            None => {
                let count = metadata.partition_count(&record.topic)?;
                let key = record.key.as_ref();
                key.filter(|_| !self.config.partitioner_ignore_keys)
                    .map(|key| partition_for_key(key, count))
            }
        };
        if let Some(error) = self.refusal(record) {
            env.reply(call, Reply::Sent(Err(error)));
            return Some(Appended::Done {
                wake: false,
                new_batch: false,
            });
        }
        let when = (env.now, env.wall_ms.max(0));
        let appended = self
            .accumulator
            .append(call, record, partition, when, metadata, env.rng);
        if let Appended::Done { .. } = appended {
            self.pending += 1;
            env.reply(call, Reply::Accepted);
        }
        Some(appended)
    }

    /// Why a record cannot be sent at all: `ensureValidRecordSize`, which comes after the wait for
    /// metadata, and `TransactionManager.maybeFailWithError`.
    fn refusal(&self, record: &ProducerRecord) -> Option<ClientError> {
        let size = size_upper_bound(record);
        let max_request_size = usize::try_from(self.config.max_request_size).unwrap_or(0);
        for limit in [max_request_size, self.accumulator.memory()] {
            if size > limit {
                return Some(ClientError::RecordTooLarge { size, limit });
            }
        }
        match self.transactions.as_ref().map(|t| t.state) {
            Some(State::Fatal(code)) => Some(ClientError::Broker(code)),
            _ => None,
        }
    }

    /// Lets blocked sends go on, in order, and fails those past `max.block.ms`.
    #[cold]
    fn serve_blocked(&mut self, env: &mut Env<'_>) -> bool {
        let before = self.blocked.len();
        self.accumulator.exhausted = false;
        while let Some(first) = self.blocked.pop_front() {
            match self.try_send(first.call, &first.record, env) {
                Some(Appended::Done { .. }) => continue,
                // BufferPool.allocate
                Some(Appended::NoMemory) if env.now < first.deadline => {
                    self.accumulator.exhausted = true;
                    self.blocked.push_front(first);
                    break;
                }
                // KafkaProducer.waitOnMetadata asks again after every answer.
                None if env.now < first.deadline => {
                    let version = self.network.metadata.update_version();
                    if self.blocked_on_update != version {
                        self.blocked_on_update = version;
                        self.network.metadata.request_update(false);
                    }
                    self.blocked.push_front(first);
                    break;
                }
                outcome => {
                    let what = match outcome {
                        None => "topic not present in metadata after max.block.ms",
                        _ => "no buffer.memory within max.block.ms",
                    };
                    let error = ClientError::Timeout(what);
                    env.reply(first.call, Reply::Sent(Err(error)));
                }
            }
        }
        self.blocked.len() != before
    }

    /// `KafkaProducer.flush`.
    #[inline(never)]
    fn flush(&mut self, call: CallId, env: &mut Env<'_>) {
        let remaining = self.accumulator.incomplete;
        if remaining == 0 {
            env.reply(call, Reply::Done(Ok(())));
            return;
        }
        self.accumulator.flushes_in_progress += 1;
        self.flushes.push(Flush {
            call,
            before: self.accumulator.next_serial(),
            remaining,
        });
        self.run(false, env);
    }

    /// A batch has its fate: flushes that wait for it may be over.
    fn batch_finished(&mut self, serial: u64, env: &mut Env<'_>) {
        let accumulator = &mut self.accumulator;
        self.flushes.retain_mut(|flush| {
            if serial < flush.before {
                flush.remaining -= 1;
            }
            if flush.remaining > 0 {
                return true;
            }
            accumulator.flushes_in_progress -= 1;
            env.reply(flush.call, Reply::Done(Ok(())));
            false
        });
    }

    /// `KafkaProducer.close`: no more sends, everything accepted is sent.
    #[cold]
    fn close(&mut self, call: CallId, env: &mut Env<'_>) {
        if self.closing.is_some() || self.closed {
            env.reply(call, Reply::Done(Ok(())));
            return;
        }
        self.accumulator.closed = true;
        self.closing = Some(call);
        for blocked in std::mem::take(&mut self.blocked) {
            env.reply(blocked.call, Reply::Sent(Err(ClientError::Closed)));
        }
        self.run(false, env);
    }

    fn maybe_finish_close(&mut self, env: &mut Env<'_>) {
        if self.closing.is_none() {
            return;
        }
        let busy = self.accumulator.has_undrained()
            || self.accumulator.incomplete > 0
            || self.produce_requests_in_flight > 0;
        if busy {
            return;
        }
        if let Some(call) = self.closing.take() {
            self.network.close_all(env);
            self.closed = true;
            env.reply(call, Reply::Done(Ok(())));
        }
    }

    /// The loop of the sender thread until nothing is left to do now. `happened`: a request has ended.
    fn run(&mut self, mut happened: bool, env: &mut Env<'_>) {
        if self.closed {
            return;
        }
        loop {
            while let Some(completion) = self.network.next_completion() {
                happened = true;
                self.handle_completion(completion, env);
            }
            happened |= !self.blocked.is_empty() && self.serve_blocked(env);
            let pass = self.run_once(env);
            happened |= pass != Pass::Nothing;
            happened |= self.network.poll(env);
            if !happened || (pass != Pass::Completed && self.is_settled(env.now)) {
                break;
            }
            happened = false;
        }
        self.maybe_finish_close(env);
        self.arm(env);
    }

    /// Whether another pass, at this instant, would find nothing to do: nothing waits to be drained or
    /// appended, and no news came of what the last pass sent. Where this is not sure, it says no.
    fn is_settled(&mut self, now: Nanos) -> bool {
        let numbered = |t: &TransactionManager| t.state == State::Ready;
        let settled = self.blocked.is_empty()
            && self.transactions.as_ref().is_none_or(numbered)
            && !self.network.has_news(now)
            && self.accumulator.has_nothing_to_look_at();
        if settled {
            self.next_ready_check = Nanos::MAX;
        }
        settled
    }

    /// One timer for everything that waits.
    fn arm(&mut self, env: &mut Env<'_>) {
        if self.closed {
            return;
        }
        let mut next = self.network.next_deadline(env.now);
        if self.accumulator.none_expires_before() < self.alarm.at() {
            next = next.min(self.accumulator.next_expiry(env.now));
        }
        if let Some(first) = self.blocked.front() {
            next = next.min(first.deadline);
        }
        match self.transactions.as_ref().map(|t| t.state) {
            Some(State::Pending(at) | State::AwaitReady(_, at)) => next = next.min(at),
            _ if self.next_ready_check > env.now => next = next.min(self.next_ready_check),
            _ => {}
        }
        self.alarm.set(next, env);
    }
}

impl Process for Producer {
    fn step(&mut self, input: Input, env: &mut Env<'_>) {
        match input {
            Input::Start => self.run(false, env),
            Input::Connected(conn) => {
                self.network.connected(conn, env);
                self.run(false, env);
            }
            Input::Received(conn, frame) => {
                let ended = self.network.received(conn, frame, env);
                let happened = ended.is_some();
                if let Some(completion) = ended {
                    self.handle_completion(completion, env);
                }
                self.run(happened, env);
            }
            Input::Closed(conn, _) => {
                self.network.closed(conn, env);
                self.run(false, env);
            }
            Input::Timer(token) => {
                if self.alarm.rings(token) {
                    self.run(false, env);
                }
            }
            Input::Call(call, what) => self.call(call, what, env),
            other => panic!("a producer received {other:?}"),
        }
    }
}
