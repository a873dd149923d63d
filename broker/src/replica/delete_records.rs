//! Deleting from the front as leader: `ReplicaManager.deleteRecords` and `DelayedDeleteRecords`.
//!
//! The leader moves its log start; followers take it over from the answers to their fetches, and tell so
//! in their next ones. The request is answered as one, when every replica that is alive has moved its
//! own. Leadership that is lost meanwhile is noticed when another partition of the request moves, or not
//! before the time is over, as in Kafka. What lies below a log start goes with its segments when retention
//! is looked after next.
//!
//! Not modelled: the wait for the log's lock while an append flushes, replicas on their way to another
//! directory, tiered storage.

use crate::controller::MetadataImage;
use crate::env::Env;
use crate::group::OFFSETS_TOPIC;
use crate::ids::*;
use crate::log::LogStartReason;
use crate::replica::Partition;
use crate::replica::durability::log_start_moved;
use crate::replica::locks::Replica;
use crate::replica::manager::ReplicaManager;
use crate::replica::purgatory::{Asker, Delayed, DelayedDeletion, DeletionStatus};
use crate::sorted_map::SortedMap;
use crate::wire::*;

impl ReplicaManager {
    /// Takes a DeleteRecords request: `KafkaApis.handleDeleteRecordsRequest`.
    pub fn delete_records(
        &mut self,
        asker: Asker,
        request: &DeleteRecordsRequest,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let mut deletion = DelayedDeletion {
            asker,
            answer: DeleteRecordsResponse {
                topics: Vec::with_capacity(request.topics.len()),
            },
            pending: Vec::new(),
        };
        for (topic, asks) in &request.topics {
            let mut results = Items::with_capacity(asks.len());
            for ask in asks {
                let place = (deletion.answer.topics.len(), results.len());
                let (low_watermark, error) = match self.delete_on_local_log(topic, ask, image, env)
                {
                    Err(error) => (INVALID_LOW_WATERMARK, error),
                    Ok((partition, required, low)) if low < required => {
                        deletion.pending.push(DeletionStatus {
                            partition,
                            required,
                            place,
                        });
                        (low, ErrorCode::RequestTimedOut)
                    }
                    Ok((.., low)) => (low, ErrorCode::None),
                };
                results.push(DeleteRecordsPartitionResult {
                    partition: ask.partition,
                    low_watermark,
                    error,
                });
            }
            deletion.answer.topics.push((topic.clone(), results));
        }
        if deletion.pending.is_empty() {
            self.answer_deletion(deletion);
        } else {
            self.park(Delayed::Deletion(deletion), request.timeout_ms, env);
        }
    }

    /// `ReplicaManager.deleteRecordsOnLocalLog`, for one partition: which it is, its new log start at
    /// least, and the low watermark.
    fn delete_on_local_log(
        &mut self,
        topic: &str,
        ask: &DeleteRecordsPartition,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) -> Result<(TopicPartition, Offset, Offset), ErrorCode> {
        let id = image
            .partition_id(topic, ask.partition)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if topic == OFFSETS_TOPIC {
            return Err(ErrorCode::InvalidTopicException);
        }
        let replica = self.replicas.get_mut(id);
        let partition = &mut replica.ok_or(ErrorCode::NotLeaderOrFollower)?.partition;
        let required = partition.deletable_up_to(ask.offset)?;
        if self.offline {
            return Err(ErrorCode::KafkaStorageError);
        }
        if required > partition.log.high_watermark {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        if let Some(before) = partition.log.maybe_increment_log_start(required) {
            let reason = LogStartReason::ClientDeletion;
            log_start_moved(id, &partition.log, before, reason, env);
        }
        let low_watermark = partition.low_watermark(image);
        self.write_epochs(id, env);
        Ok((id, required, low_watermark))
    }

    /// `DelayedDeleteRecords.onComplete`
    pub(super) fn answer_deletion(&mut self, deletion: DelayedDeletion) {
        let response = Response::DeleteRecords(deletion.answer);
        self.respond(deletion.asker, Box::new(response));
    }
}

impl Partition {
    /// `Partition.deleteRecordsOnLeader`, before it comes to the log: up to where to delete.
    fn deletable_up_to(&self, offset: Offset) -> Result<Offset, ErrorCode> {
        if !self.is_leader() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let policy = self.config.cleanup_policy;
        if !policy.delete && policy.compact {
            return Err(ErrorCode::PolicyViolation);
        }
        match offset {
            DELETE_TO_HIGH_WATERMARK => Ok(self.log.high_watermark),
            0.. => Ok(offset),
            _ => Err(ErrorCode::OffsetOutOfRange),
        }
    }

    /// `Partition.lowWatermarkIfLeader`: the smallest log start of the replicas that are alive.
    pub(super) fn low_watermark(&self, image: &MetadataImage) -> Offset {
        let alive = self
            .remotes()
            .iter()
            .filter(|r| image.is_unfenced(r.broker));
        let starts = alive.map(|r| r.log_start_offset);
        starts.fold(self.log.log_start_offset(), Offset::min)
    }
}

impl DelayedDeletion {
    /// `DelayedDeleteRecords.tryComplete`: true when no partition waits any more.
    pub(super) fn try_complete(
        &mut self,
        replicas: &SortedMap<TopicPartition, Replica>,
        image: &MetadataImage,
    ) -> bool {
        let topics = &mut self.answer.topics;
        self.pending.retain(|status| {
            let replica = replicas.get(status.partition).expect("it was deleted from");
            let (low_watermark, error) = if replica.partition.is_leader() {
                (replica.partition.low_watermark(image), ErrorCode::None)
            } else {
                (INVALID_LOW_WATERMARK, ErrorCode::NotLeaderOrFollower)
            };
            if error.is_none() && low_watermark < status.required {
                return true;
            }
            let (topic, place) = status.place;
            let result = &mut topics[topic].1[place];
            (result.low_watermark, result.error) = (low_watermark, error);
            false
        });
        self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests;
