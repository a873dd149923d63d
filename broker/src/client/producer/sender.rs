//! The I/O thread of the producer: Kafka's `Sender`.
//!
//! `run_once` is one pass of `Sender.runOnce`: resolve sequences, bump the epoch, get a producer id
//! (nothing else happens until there is one, batches do not even expire), then drain what is ready,
//! expire what is too old, and send. A batch that is drained and expires in the same pass is still
//! sent, as in Kafka: its callback has failed and the broker may have it.
//!
//! A batch with more than one record that the broker finds too large is split and its parts are sent in
//! its place, which does not count as a retry (KIP-126). The old batch leaves everything that it was in
//! before its parts enter (KAFKA-8325: it stayed in flight, expired, and its memory was freed twice).

use super::accumulator::{DrainedBatches, RecordAccumulator};
use super::batch::{BatchId, ProducerIdAndEpoch};
use super::transaction_manager::State;
use super::{Pass, Producer, Tag};
use crate::bug::Bug;
use crate::config::Acks;
use crate::env::Env;
use crate::fact::Fact;
use crate::ids::*;
use crate::time::{Nanos, millis};
use crate::wire::{
    ByTopicId, ErrorCode, InitProducerIdRequest, ProducePartition, ProducePartitionResult,
    ProduceRequest, ProduceResponse, Request, Response, push_by_topic,
};
use smallvec::SmallVec;

use super::super::network::{Completion, Link, Outcome};
use super::super::{ClientError, RecordMetadata, Reply};

/// What became of one batch: an answer, or what the client puts in its place.
#[derive(Debug, Clone, Copy)]
struct PartitionResponse {
    error: ErrorCode,
    base_offset: Offset,
    log_start_offset: Offset,
    current_leader: (BrokerId, LeaderEpoch),
}

impl PartitionResponse {
    fn without_answer(error: ErrorCode) -> Self {
        PartitionResponse {
            error,
            base_offset: -1,
            log_start_offset: -1,
            current_leader: (NO_BROKER, NO_EPOCH),
        }
    }
}

impl From<ProducePartitionResult> for PartitionResponse {
    fn from(answer: ProducePartitionResult) -> Self {
        PartitionResponse {
            error: answer.error,
            base_offset: answer.base_offset,
            log_start_offset: answer.log_start_offset,
            current_leader: answer.current_leader,
        }
    }
}

/// What goes to a node in one request.
type Drained = (NodeId, DrainedBatches);

/// Why a batch fails.
#[derive(Debug, Clone, Copy)]
enum Failure {
    Broker(ErrorCode),
    Expired,
}

impl Producer {
    /// `Sender.runOnce` without the poll.
    pub(super) fn run_once(&mut self, env: &mut Env<'_>) -> Pass {
        if let Some(transactions) = &mut self.transactions {
            transactions.maybe_resolve_sequences();
            if let State::Fatal(code) = transactions.state {
                return match self.abort_batches(code, env) {
                    true => Pass::Completed,
                    false => Pass::Nothing,
                };
            }
            let bumped = transactions
                .bump_epoch_and_reset_id_if_needed(&mut self.accumulator.batches, env.now);
            if bumped {
                // A broker says so of a new id; of a bump only the producer knows.
                let producer = transactions.producer;
                env.fact(Fact::ProducerIdAssigned {
                    producer_id: producer.id,
                    epoch: producer.epoch,
                });
            }
            if transactions.state != State::Ready {
                return match self.get_producer_id(env) {
                    true => Pass::Completed,
                    false => Pass::Nothing,
                };
            }
        }
        self.send_producer_data(env)
    }

    /// `Sender.maybeSendAndPollTransactionalRequest` for InitProducerId. True where it was sent.
    #[cold]
    fn get_producer_id(&mut self, env: &mut Env<'_>) -> bool {
        let transactions = self.transactions.as_mut().expect("idempotent");
        if let State::Pending(at) = transactions.state {
            if env.now < at {
                return false;
            }
            // The node that is asked need not be connected yet.
            let patience = millis(self.config.request_timeout_ms);
            match self.network.least_loaded_node(env) {
                Some(link) => {
                    transactions.state = State::AwaitReady(link, env.now.saturating_add(patience));
                }
                None => return self.retry_producer_id(env),
            }
        }
        let State::AwaitReady(link, until) = transactions.state else {
            return false;
        };
        if self.network.ready(link, env) {
            let request = InitProducerIdRequest {
                producer_id: NO_PRODUCER_ID,
                producer_epoch: -1,
            };
            transactions.state = State::InFlight;
            self.network.send(
                link,
                Request::InitProducerId(request),
                Tag::InitProducerId,
                env,
            );
            return true;
        }
        if self.network.connection_failed(link) || until <= env.now {
            return self.retry_producer_id(env);
        }
        false
    }

    /// `TxnRequestHandler.reenqueue`, after `retry.backoff.ms`.
    fn retry_producer_id(&mut self, env: &mut Env<'_>) -> bool {
        let backoff = millis(self.config.retry_backoff_ms).max(1);
        let transactions = self.transactions.as_mut().expect("idempotent");
        transactions.state = State::Pending(env.now.saturating_add(backoff));
        self.network.metadata.request_update(false);
        false
    }

    fn handle_init_producer_id(&mut self, outcome: Outcome, env: &mut Env<'_>) {
        let transactions = self.transactions.as_mut().expect("idempotent");
        assert_eq!(transactions.state, State::InFlight, "InitProducerId twice");
        let Outcome::Response(Response::InitProducerId(answer)) = outcome else {
            self.retry_producer_id(env);
            return;
        };
        if answer.error.is_none() {
            transactions.set_producer_id(ProducerIdAndEpoch {
                id: answer.producer_id,
                epoch: answer.producer_epoch,
            });
        } else if answer.error.is_retriable() {
            self.retry_producer_id(env);
        } else {
            transactions.state = State::Fatal(answer.error);
        }
    }

    /// `Sender.sendProducerData`.
    fn send_producer_data(&mut self, env: &mut Env<'_>) -> Pass {
        self.accumulator.refresh_leaders(&self.network.metadata);
        let check = self.accumulator.ready(env.now, &self.network.metadata);
        if check.unknown_leader {
            self.network.metadata.request_update(false);
        }
        self.next_ready_check = check.next;
        let drained = match check.nodes.is_empty() {
            true => SmallVec::new(),
            false => self.drain(&check.nodes, env),
        };
        let expired = self.accumulator.may_expire(env.now) && self.expire_batches(env);
        if drained.is_empty() {
            return match expired {
                true => Pass::Completed,
                false => Pass::Nothing,
            };
        }
        for (node, batches) in drained {
            self.send_produce_request(node, batches, env);
        }
        match expired || self.config.acks == Acks::None {
            true => Pass::Completed,
            false => Pass::Sent,
        }
    }

    /// Takes out of the accumulator what goes to these nodes now.
    fn drain(&mut self, nodes: &[NodeId], env: &mut Env<'_>) -> SmallVec<[Drained; 4]> {
        let max_size = usize::try_from(self.config.max_request_size).unwrap_or(0);
        let mut drained = SmallVec::new();
        for &node in nodes {
            let ready = self.network.ready(Link::Data(node), env);
            self.accumulator.update_node_latency(node, env.now, ready);
            if !ready {
                continue;
            }
            let transactions = self.transactions.as_mut();
            let batches = self
                .accumulator
                .drain(node, max_size, env.now, transactions);
            for id in &batches {
                let partition = self.accumulator.batches.get(*id).partition;
                let partition = &mut self.accumulator.partitions[partition];
                partition.in_flight.push(*id);
                // guaranteeMessageOrder: the request may be on a connection to an earlier leader, so
                // the limit of each connection is not enough (KAFKA-3197).
                partition.muted = self.config.max_in_flight_requests_per_connection == 1
                    && self.bug != Some(Bug::ReorderInflight1);
            }
            if !batches.is_empty() {
                drained.push((node, batches));
            }
        }
        drained
    }

    #[cold]
    fn expire_batches(&mut self, env: &mut Env<'_>) -> bool {
        let expired = self.accumulator.take_expired(env.now);
        for id in &expired {
            let batch = self.accumulator.batches.get(*id);
            if let Some(transactions) = self.transactions.as_mut().filter(|_| batch.retry) {
                transactions.mark_sequence_unresolved(batch);
            }
            self.fail_batch(*id, Failure::Expired, false, env);
            self.release(*id);
        }
        !expired.is_empty()
    }

    /// `Sender.sendProduceRequest`: one request per node, grouped by topic.
    fn send_produce_request(&mut self, node: NodeId, ids: DrainedBatches, env: &mut Env<'_>) {
        let mut topics: ByTopicId<ProducePartition> = Vec::with_capacity(1);
        let mut sent = Vec::with_capacity(ids.len());
        for id in ids {
            let batch = self.accumulator.batches.get_mut(id);
            let partition = &self.accumulator.partitions[batch.partition];
            let data = ProducePartition {
                partition: partition.partition,
                records: batch.encoded(),
            };
            push_by_topic(&mut topics, &partition.topic_id, data);
            sent.push((partition.topic_id, partition.partition, id));
        }
        let request = Request::Produce(ProduceRequest {
            acks: self.config.acks.code(),
            timeout_ms: i32::try_from(self.config.request_timeout_ms).unwrap_or(i32::MAX),
            topics,
        });
        let link = Link::Data(node);
        if self.config.acks == Acks::None {
            // Complete as soon as it is handed to the socket; nobody ever learns the offset.
            self.network.send_one_way(link, request, env);
            for (_, _, id) in sent {
                let done = PartitionResponse::without_answer(ErrorCode::None);
                self.complete_batch(id, done, env);
            }
        } else {
            self.produce_requests_in_flight += 1;
            self.network.send(link, request, Tag::Produce(sent), env);
        }
    }

    /// A request of the engine has ended.
    pub(super) fn handle_completion(&mut self, completion: Completion<Tag>, env: &mut Env<'_>) {
        match completion.tag {
            Tag::InitProducerId => self.handle_init_producer_id(completion.outcome, env),
            Tag::Produce(batches) => {
                self.produce_requests_in_flight -= 1;
                self.handle_produce_response(batches, completion.outcome, env);
            }
        }
    }

    /// `Sender.handleProduceResponse`.
    fn handle_produce_response(
        &mut self,
        batches: Vec<(TopicId, i32, BatchId)>,
        outcome: Outcome,
        env: &mut Env<'_>,
    ) {
        let response = match outcome {
            Outcome::Response(Response::Produce(response)) => Ok(response),
            Outcome::Response(other) => panic!("Produce answered with {other:?}"),
            Outcome::TimedOut => Err(ErrorCode::RequestTimedOut),
            Outcome::Disconnected => Err(ErrorCode::NetworkException),
            Outcome::NotSent => unreachable!("the producer sends on ready connections"),
        };
        let mut hints = Vec::new();
        for (topic, partition, id) in batches {
            let answer = match &response {
                Ok(response) => answer_for(response, topic, partition),
                Err(error) => PartitionResponse::without_answer(*error),
            };
            if matches!(
                answer.error,
                ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch
            ) {
                let index = self.accumulator.batches.get(id).partition;
                hints.push((index, answer.current_leader));
            }
            self.complete_batch(id, answer, env);
        }
        let endpoints = response.as_ref().map_or(&[][..], |r| &r.node_endpoints);
        for (index, leader) in hints {
            let RecordAccumulator { partitions, .. } = &self.accumulator;
            let partition = &partitions[index];
            self.network.metadata.update_partition_leadership(
                &partition.topic,
                partition.partition,
                leader,
                endpoints,
            );
        }
    }

    /// `Sender.completeBatch`: completes, retries or fails a batch whose request has ended.
    fn complete_batch(&mut self, id: BatchId, answer: PartitionResponse, env: &mut Env<'_>) {
        let batch = self.accumulator.batches.get_mut(id);
        batch.in_request = false;
        let partition = batch.partition;
        let splits = batch.record_count() > 1 && !batch.done;
        if answer.error == ErrorCode::MessageTooLarge && splits {
            self.split_batch(id);
        } else if answer.error.is_none() {
            self.succeed_batch(id, answer.base_offset, env);
        } else {
            if self.can_retry(id, &answer, env.now) {
                let ordered = self.transactions.is_some();
                self.accumulator.reenqueue(id, ordered, env.now, env.rng);
                self.remove_from_in_flight(id);
            } else if answer.error == ErrorCode::DuplicateSequenceNumber {
                // The broker has it and no longer knows where.
                self.succeed_batch(id, answer.base_offset, env);
            } else {
                let attempts = i64::from(self.accumulator.batches.get(id).attempts);
                let adjust = attempts < i64::from(self.config.retries);
                self.fail_batch(id, Failure::Broker(answer.error), adjust, env);
            }
            if answer.error.is_invalid_metadata() {
                self.network.metadata.request_update(false);
            }
        }
        self.accumulator.partitions[partition].muted = false;
        self.release(id);
    }

    /// `Sender.completeBatch` for a batch of several records that is too large.
    #[cold]
    fn split_batch(&mut self, id: BatchId) {
        let batch = self.accumulator.batches.get(id);
        let (partition, serial) = (batch.partition, batch.serial);
        if let Some(transactions) = &mut self.transactions {
            transactions.remove_in_flight(partition, id);
        }
        self.remove_from_in_flight(id);
        let parts = self.accumulator.split(id, self.transactions.as_mut());
        self.accumulator.batches.get_mut(id).done = true;
        self.accumulator.incomplete -= 1;
        // Whoever waits for the batch waits for its parts.
        for flush in self.flushes.iter_mut().filter(|f| serial < f.before) {
            flush.remaining += parts - 1;
        }
    }

    /// `Sender.canRetry`.
    fn can_retry(&mut self, id: BatchId, answer: &PartitionResponse, now: Nanos) -> bool {
        let batch = self.accumulator.batches.get(id);
        let expires = batch
            .created
            .saturating_add(self.accumulator.delivery_timeout);
        if expires <= now
            || i64::from(batch.attempts) >= i64::from(self.config.retries)
            || batch.done
        {
            return false;
        }
        match &mut self.transactions {
            None => answer.error.is_retriable(),
            Some(transactions) => {
                transactions.can_retry(answer.error, answer.log_start_offset, batch)
            }
        }
    }

    /// `Sender.completeBatch` and `ProducerBatch.complete`.
    fn succeed_batch(&mut self, id: BatchId, base_offset: Offset, env: &mut Env<'_>) {
        if let Some(transactions) = &mut self.transactions {
            transactions.handle_completed_batch(id, &self.accumulator.batches);
        }
        let batch = self.accumulator.batches.get(id);
        if batch.done {
            // It expired before: the application was told that it failed.
            return;
        }
        let partition = self.accumulator.partitions[batch.partition].partition;
        for (index, call) in batch.calls.iter().enumerate() {
            let offset = match base_offset {
                -1 => -1,
                base => base + index as i64,
            };
            let metadata = RecordMetadata { partition, offset };
            env.reply(*call, Reply::Sent(Ok(metadata)));
        }
        self.finish_batch(id, env);
    }

    /// `Sender.failBatch` and `ProducerBatch.completeExceptionally`.
    #[cold]
    fn fail_batch(&mut self, id: BatchId, failure: Failure, adjust: bool, env: &mut Env<'_>) {
        let batch = self.accumulator.batches.get(id);
        if batch.done {
            return;
        }
        let (error, code) = match failure {
            Failure::Broker(code) => (ClientError::Broker(code), Some(code)),
            Failure::Expired => (
                ClientError::Timeout("delivery.timeout.ms has passed since batch creation"),
                None,
            ),
        };
        for call in &batch.calls {
            env.reply(*call, Reply::Sent(Err(error.clone())));
        }
        if let Some(transactions) = &mut self.transactions {
            transactions.handle_failed_batch(id, code, adjust, &self.accumulator.batches);
        }
        self.finish_batch(id, env);
    }

    /// The fate of a batch was told: flushes may be over.
    fn finish_batch(&mut self, id: BatchId, env: &mut Env<'_>) {
        self.remove_from_in_flight(id);
        let batch = self.accumulator.batches.get_mut(id);
        assert!(!batch.done, "a second fate for a batch");
        batch.done = true;
        let (serial, records) = (batch.serial, batch.calls.len());
        self.pending -= records;
        self.accumulator.incomplete -= 1;
        self.batch_finished(serial, env);
    }

    fn remove_from_in_flight(&mut self, id: BatchId) {
        let partition = self.accumulator.batches.get(id).partition;
        self.accumulator.partitions[partition]
            .in_flight
            .retain(|other| *other != id);
    }

    /// Frees a batch that nothing refers to any more. One that expires or is aborted while its request is
    /// under way keeps its memory until that ends (KAFKA-19012, `Sender.maybeRemoveAndDeallocateBatchLater`).
    fn release(&mut self, id: BatchId) {
        let batch = self.accumulator.batches.get(id);
        if batch.done && !batch.in_request {
            self.accumulator.deallocate(id);
        }
    }

    /// `Sender.maybeAbortBatches`: after a fatal error nothing can be sent any more.
    #[cold]
    fn abort_batches(&mut self, code: ErrorCode, env: &mut Env<'_>) -> bool {
        let mut ids = self.accumulator.take_undrained();
        for partition in &self.accumulator.partitions {
            ids.extend(partition.in_flight.iter().copied());
        }
        for id in &ids {
            self.fail_batch(*id, Failure::Broker(code), false, env);
            self.release(*id);
        }
        !ids.is_empty()
    }
}

fn answer_for(response: &ProduceResponse, topic: TopicId, partition: i32) -> PartitionResponse {
    response
        .topics
        .iter()
        .filter(|(id, _)| *id == topic)
        .flat_map(|(_, results)| results)
        .find(|result| result.partition == partition)
        .map_or(
            PartitionResponse::without_answer(ErrorCode::UnknownServerError),
            |result| PartitionResponse::from(*result),
        )
}
