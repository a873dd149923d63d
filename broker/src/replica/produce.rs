//! Appending as leader: `ReplicaManager.appendRecords` and `DelayedProduce`.
//!
//! A request is answered as one, when its slowest partition is done. Produce carries no leader
//! epoch: a leader that does not know yet that it was replaced appends, and acknowledges acks=1.

use crate::bug::Bug;
use crate::controller::MetadataImage;
use crate::env::Env;
use crate::fact::Fact;
use crate::ids::*;
use crate::log::AppendError;
use crate::replica::fetch::{error_of_no_replica, is_fetch_ready};
use crate::replica::leader_hint::current_leader;
use crate::replica::locks::{Append, Replica, Turn, Waiter};
use crate::replica::manager::{ReplicaManager, Upcall};
use crate::replica::partition::ReplicationProgress;
use crate::replica::purgatory::{Asker, Change, Delayed, DelayedProduce, ProduceStatus};
use crate::sorted_map::SortedMap;
use crate::wire::*;
use bytes::Bytes;
use smallvec::SmallVec;

/// A Produce request on its way through its partitions.
#[derive(Debug)]
pub struct ProduceJob {
    asker: Asker,
    acks: i16,
    timeout_ms: i32,
    /// What is still to be appended, last first.
    todo: Vec<(TopicPartition, Bytes)>,
    done: Vec<ProduceStatus>,
    /// The append whose flush is under way: its base and its last offset.
    flushing: Option<(Offset, Offset)>,
    /// One of its appends had to wait for a flush.
    has_flushed: bool,
    /// Partitions appended to, and whether their high watermark moved.
    touched: SmallVec<[(TopicPartition, bool); 2]>,
}

impl ReplicaManager {
    /// Takes a Produce request.
    pub fn produce(
        &mut self,
        asker: Asker,
        request: ProduceRequest,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let partitions = request.topics.iter().map(|(_, of_topic)| of_topic.len());
        let mut todo: Vec<(TopicPartition, Bytes)> = Vec::with_capacity(partitions.sum());
        for (topic, of_topic) in request.topics.into_iter().rev() {
            for p in of_topic.into_iter().rev() {
                todo.push((TopicPartition::new(topic, p.partition), p.records));
            }
        }
        let job = ProduceJob {
            asker,
            acks: request.acks,
            timeout_ms: request.timeout_ms,
            done: Vec::with_capacity(todo.len()),
            todo,
            flushing: None,
            has_flushed: false,
            touched: SmallVec::new(),
        };
        self.run_produce(job, Turn::Locked, image, env);
    }

    /// Appends to one partition after the other; stops at a lock or a flush and is continued.
    pub(super) fn run_produce(
        &mut self,
        mut job: ProduceJob,
        turn: Turn,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        if turn != Turn::Locked {
            let (base, last) = job.flushing.take().expect("a flush was under way");
            let (id, _) = job.todo.pop().expect("its partition is still listed");
            job.has_flushed = true;
            if turn == Turn::Flushed {
                self.appended(&mut job, id, base, last, image, env);
            } else {
                self.failed(&mut job, id, ErrorCode::KafkaStorageError, env);
            }
        }
        while let Some((id, records)) = job.todo.last() {
            let id = *id;
            let Some(replica) = self.replicas.get_mut(id) else {
                let error = error_of_no_replica(id, image);
                job.todo.pop();
                self.failed(&mut job, id, error, env);
                continue;
            };
            if let Err(error) = replica.partition.admits(job.acks) {
                job.todo.pop();
                self.failed(&mut job, id, error, env);
                continue;
            }
            if replica.is_closed_to_appends() {
                replica
                    .queue
                    .push_back(Waiter::Append(Append::Produce(job)));
                return;
            }
            if self.offline {
                job.todo.pop();
                self.failed(&mut job, id, ErrorCode::KafkaStorageError, env);
                continue;
            }
            let partition = &mut replica.partition;
            let epoch = partition.leader_epoch();
            let (log, config) = (&mut partition.log, &partition.config);
            match log.append_as_leader(records, epoch, config, env.wall_ms, env.disk) {
                Ok(append) => {
                    let (base, last) = (append.base_offset, append.last_offset);
                    if !append.duplicate {
                        env.fact(Fact::Appended {
                            partition: id,
                            base_offset: base,
                            last_offset: last,
                            leader_epoch: epoch,
                            prefix: log.prefix(),
                            as_leader: true,
                        });
                    }
                    if log.has_chores() {
                        self.do_chores(id, env);
                    }
                    if append.flush_due && self.bug != Some(Bug::SkipFlush) {
                        // Followers may read it before the flush is done; who waits for it is woken by
                        // `ReplicaManager.addCompletePurgatoryAction`, after the append.
                        job.flushing = Some((base, last));
                        self.hold_for_flush(id, Append::Produce(job), env);
                        return;
                    }
                    job.todo.pop();
                    self.appended(&mut job, id, base, last, image, env);
                }
                Err(refused) => {
                    job.todo.pop();
                    if let AppendError::Disk(error) = refused {
                        self.log_directory_failed(error, env);
                    }
                    self.failed(&mut job, id, refused.error_code(), env);
                }
            }
        }
        if job.has_flushed {
            self.upcalls.push_back(Upcall::AnswerProduce(Box::new(job)));
        } else {
            self.produce_appended(job, image, env);
        }
    }

    fn failed(
        &mut self,
        job: &mut ProduceJob,
        id: TopicPartition,
        error: ErrorCode,
        env: &mut Env<'_>,
    ) {
        env.fact(Fact::ProduceAnswered {
            partition: id,
            base_offset: -1,
            last_offset: -1,
            acks: job.acks,
            error,
        });
        job.done.push(ProduceStatus {
            partition: id,
            result: ProducePartitionResult {
                partition: id.partition,
                error,
                base_offset: -1,
                log_start_offset: -1,
                current_leader: (NO_BROKER, NO_EPOCH),
            },
            last_offset: -1,
            pending: false,
        });
    }

    fn appended(
        &mut self,
        job: &mut ProduceJob,
        id: TopicPartition,
        base_offset: Offset,
        last_offset: Offset,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let replica = self.replicas.get_mut(id).expect("it was appended to");
        // The ISR may be this replica alone.
        let moved = replica.partition.maybe_increment_high_watermark(image, env);
        job.touched.push((id, moved));
        job.done.push(ProduceStatus {
            partition: id,
            result: ProducePartitionResult {
                partition: id.partition,
                error: ErrorCode::None,
                base_offset,
                log_start_offset: replica.partition.log.log_start_offset(),
                current_leader: (NO_BROKER, NO_EPOCH),
            },
            last_offset,
            pending: job.acks == -1,
        });
    }

    /// Every partition is appended to: wake who waits, then answer or wait.
    pub fn produce_appended(&mut self, job: ProduceJob, image: &MetadataImage, env: &mut Env<'_>) {
        for &(id, moved) in &job.touched {
            self.log_grew(id, moved, image, env);
        }
        let mut delayed = DelayedProduce {
            asker: job.asker,
            partitions: job.done,
        };
        if job.acks == 0 {
            // No response. After an error the connection is closed, so that the client refreshes its
            // metadata (KafkaApis.handleProduceRequest).
            let close = delayed.partitions.iter().any(|p| !p.result.error.is_none());
            self.facts_of_success(&delayed, job.acks, env);
            self.upcalls.push_back(Upcall::Respond {
                asker: job.asker,
                response: None,
                close,
            });
            return;
        }
        if job.acks == 1 || self.bug == Some(Bug::AckBeforeReplication) {
            delayed
                .partitions
                .iter_mut()
                .for_each(|p| p.pending = false);
            self.facts_of_success(&delayed, job.acks, env);
            self.answer_produce(delayed, image);
            return;
        }
        if try_complete(&self.replicas, &mut delayed, env) {
            self.answer_produce(delayed, image);
        } else {
            self.park(Delayed::Produce(delayed), job.timeout_ms, env);
        }
    }

    fn facts_of_success(&self, delayed: &DelayedProduce, acks: i16, env: &mut Env<'_>) {
        for status in delayed
            .partitions
            .iter()
            .filter(|p| p.result.error.is_none())
        {
            env.fact(Fact::ProduceAnswered {
                partition: status.partition,
                base_offset: status.result.base_offset,
                last_offset: status.last_offset,
                acks,
                error: ErrorCode::None,
            });
        }
    }

    fn answer_produce(&mut self, delayed: DelayedProduce, image: &MetadataImage) {
        let mut topics: ByTopicId<ProducePartitionResult> = Vec::with_capacity(1);
        let mut node_endpoints = Vec::new();
        for mut status in delayed.partitions {
            if status.result.error == ErrorCode::NotLeaderOrFollower {
                let leader = current_leader(status.partition, image, &mut node_endpoints);
                status.result.current_leader = leader;
            }
            push_by_topic(&mut topics, &status.partition.topic, status.result);
        }
        let response = Response::Produce(ProduceResponse {
            topics,
            node_endpoints,
        });
        self.respond(delayed.asker, Box::new(response));
    }

    /// The log of a partition that this broker leads grew; its high watermark may have moved with it.
    pub(super) fn log_grew(
        &mut self,
        id: TopicPartition,
        high_watermark_moved: bool,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        if high_watermark_moved {
            self.upcalls.push_back(Upcall::HighWatermark(id));
            self.complete_delayed(id, Change::Any, image, env);
        } else {
            self.complete_delayed(id, Change::LogEnd, image, env);
        }
    }

    /// Something about a partition changed that waiting requests may have waited for.
    pub(super) fn complete_delayed(
        &mut self,
        id: TopicPartition,
        change: Change,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let mut from = 0;
        while let Some((at, waiting)) = self.purgatory.watching(from, id, change) {
            let is_ready = match waiting {
                Delayed::Produce(produce) => try_complete(&self.replicas, produce, env),
                Delayed::Fetch(fetch) => is_fetch_ready(&self.replicas, &fetch.request),
                Delayed::Deletion(deletion) => deletion.try_complete(&self.replicas, image),
            };
            if !is_ready {
                from = at + 1;
                continue;
            }
            // Answering lets no other request go, so that those behind it move up by this one.
            from = at;
            match self.purgatory.take(at) {
                Delayed::Produce(produce) => self.answer_produce(produce, image),
                Delayed::Fetch(fetch) => self.answer_fetch(fetch, image, env),
                Delayed::Deletion(deletion) => self.answer_deletion(deletion),
            }
        }
    }

    /// The purgatory's timer fired.
    pub fn expire(&mut self, image: &MetadataImage, env: &mut Env<'_>) {
        while let Some(late) = self.purgatory.take_expired(env.now) {
            match late {
                Delayed::Produce(mut delayed) => {
                    for status in delayed.partitions.iter_mut().filter(|p| p.pending) {
                        decide(status, ErrorCode::RequestTimedOut, env);
                    }
                    self.answer_produce(delayed, image);
                }
                Delayed::Fetch(fetch) => self.answer_fetch(fetch, image, env),
                Delayed::Deletion(deletion) => self.answer_deletion(deletion),
            }
        }
        let next = self.purgatory.timer_to_set(env.now);
        self.set_purgatory_timer(next, env);
    }

    /// A coordinator's records, appended with acks=1 as `CoordinatorPartitionWriter` does; the
    /// coordinator itself waits for the high watermark.
    pub fn append_for_coordinator(
        &mut self,
        id: TopicPartition,
        job: u64,
        records: Bytes,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let Some(replica) = self
            .replicas
            .get_mut(id)
            .filter(|r| r.partition.is_leader())
        else {
            let error = Err(ErrorCode::NotLeaderOrFollower);
            self.upcalls
                .push_back(Upcall::CoordinatorAppended(id, job, error));
            return;
        };
        if replica.is_closed_to_appends() {
            let append = Append::Coordinator {
                partition: id,
                job,
                records,
            };
            replica.queue.push_back(Waiter::Append(append));
        } else {
            self.run_coordinator_append(id, job, records, Turn::Locked, image, env);
        }
    }

    pub(super) fn run_coordinator_append(
        &mut self,
        id: TopicPartition,
        job: u64,
        records: Bytes,
        turn: Turn,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let offline = self.offline;
        let replica = self
            .replicas
            .get_mut(id)
            .expect("checked when it was queued");
        let partition = &mut replica.partition;
        let refused = match turn {
            Turn::Flushed => None,
            Turn::FlushFailed => Some(ErrorCode::KafkaStorageError),
            Turn::Locked if !partition.is_leader() => Some(ErrorCode::NotLeaderOrFollower),
            Turn::Locked => offline.then_some(ErrorCode::KafkaStorageError),
        };
        if let Some(error) = refused {
            self.upcalls
                .push_back(Upcall::CoordinatorAppended(id, job, Err(error)));
            return;
        }
        if turn == Turn::Locked {
            let epoch = partition.leader_epoch();
            let (log, config) = (&mut partition.log, &partition.config);
            let appended = log.append_as_leader(&records, epoch, config, env.wall_ms, env.disk);
            let prefix = log.prefix();
            if log.has_chores() {
                self.do_chores(id, env);
            }
            let flush_due = match appended {
                Ok(append) => {
                    env.fact(Fact::Appended {
                        partition: id,
                        base_offset: append.base_offset,
                        last_offset: append.last_offset,
                        leader_epoch: epoch,
                        prefix,
                        as_leader: true,
                    });
                    append.flush_due
                }
                Err(refused) => {
                    if let AppendError::Disk(error) = refused {
                        self.log_directory_failed(error, env);
                    }
                    let error = Err(refused.error_code());
                    self.upcalls
                        .push_back(Upcall::CoordinatorAppended(id, job, error));
                    return;
                }
            };
            if flush_due && self.bug != Some(Bug::SkipFlush) {
                let again = Append::Coordinator {
                    partition: id,
                    job,
                    records,
                };
                self.hold_for_flush(id, again, env);
                return;
            }
        }
        let partition = &mut self.replicas.get_mut(id).expect("checked above").partition;
        let end = partition.log.log_end_offset();
        let moved = partition.maybe_increment_high_watermark(image, env);
        self.upcalls
            .push_back(Upcall::CoordinatorAppended(id, job, Ok(end)));
        self.log_grew(id, moved, image, env);
    }
}

/// `DelayedProduce.tryComplete`: true when no partition waits any more.
fn try_complete(
    replicas: &SortedMap<TopicPartition, Replica>,
    delayed: &mut DelayedProduce,
    env: &mut Env<'_>,
) -> bool {
    for status in delayed.partitions.iter_mut().filter(|p| p.pending) {
        let progress = match replicas.get(status.partition) {
            Some(replica) => replica
                .partition
                .replication_progress(status.last_offset + 1),
            None => ReplicationProgress::Decided(ErrorCode::UnknownTopicOrPartition),
        };
        if let ReplicationProgress::Decided(error) = progress {
            decide(status, error, env);
        }
    }
    delayed.partitions.iter().all(|p| !p.pending)
}

fn decide(status: &mut ProduceStatus, error: ErrorCode, env: &mut Env<'_>) {
    status.pending = false;
    status.result.error = error;
    env.fact(Fact::ProduceAnswered {
        partition: status.partition,
        base_offset: status.result.base_offset,
        last_offset: status.last_offset,
        acks: -1,
        error,
    });
    if !error.is_none() {
        status.result.base_offset = -1;
        status.result.log_start_offset = -1;
    }
}
