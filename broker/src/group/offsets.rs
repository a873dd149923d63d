//! Committed offsets: `GroupCoordinatorService` over `CoordinatorRuntime`, for consumers that assign
//! themselves.
//!
//! A shard a partition of `__consumer_offsets`. A commit is appended by the leader and answered when
//! the high watermark has passed it, or after `offsets.commit.timeout.ms` with an error; reads see what
//! the high watermark covers, or wait until that is everything ([`stable`]). A new leader reads its
//! shard back from the log before it serves.
//!
//! Not modelled: members and generations, expiry, tombstones, transactional commits.

mod stable;
#[cfg(test)]
mod tests;

use crate::env::{Env, Queue, TimerToken};
use crate::fact::Fact;
use crate::group::record::{OffsetKey, OffsetValue};
use crate::ids::*;
use crate::log::{BatchBuilder, PartitionLog, records};
use crate::replica::purgatory::Asker;
use crate::sorted_map::SortedMap;
use crate::time::{MICROS, Nanos, millis};
use crate::wire::*;
use bytes::Bytes;
use smallvec::SmallVec;
use stable::StableFetch;
use std::collections::BTreeMap;

/// Where the buffer of a commit's batch begins; it grows with the records.
const COMMIT_BATCH_BYTES: usize = 256;
/// Service time of loading: opening, and each KiB of the log.
const LOAD_COST: Nanos = 500 * MICROS;
const LOAD_COST_PER_KIB: Nanos = 10 * MICROS;

/// One partition of `__consumer_offsets` that this broker leads.
#[derive(Debug)]
struct Shard {
    /// In which its load was asked for.
    leader_epoch: LeaderEpoch,
    loaded: bool,
    /// The end of what was loaded or appended (`SnapshottableCoordinator.lastWrittenOffset`).
    written: Offset,
    /// By group and topic: what is asked for together is found with one look.
    offsets: BTreeMap<TopicName, BTreeMap<TopicName, TopicOffsets>>,
}

impl Shard {
    fn offsets_mut(&mut self, group: &TopicName, topic: &TopicName) -> &mut TopicOffsets {
        let topics = self.offsets.entry(group.clone()).or_default();
        topics.entry(topic.clone()).or_default()
    }

    fn offsets(&self, group: &str, topic: &str) -> Option<&TopicOffsets> {
        self.offsets.get(group)?.get(topic)
    }
}

/// Offsets of one group for the partitions of one topic.
#[derive(Debug, Default)]
struct TopicOffsets {
    /// Versions of each offset with the log offset of their record, ascending. The newest below the
    /// high watermark is the committed one.
    versions: SortedMap<i32, Vec<(Offset, OffsetValue)>>,
}

impl TopicOffsets {
    fn apply(&mut self, partition: i32, at: Offset, value: OffsetValue, high_watermark: Offset) {
        let Some(versions) = self.versions.get_mut(partition) else {
            self.versions.insert(partition, vec![(at, value)]);
            return;
        };
        versions.push((at, value));
        // Only the newest committed version can ever be read again.
        let committed = versions.iter().rposition(|(at, _)| *at < high_watermark);
        if let Some(newest @ 1..) = committed {
            versions.drain(..newest);
        }
    }

    /// The newest version whose record lies below that offset of the log.
    fn newest(&self, partition: i32, below: Offset) -> Option<OffsetValue> {
        let versions = self.versions.get(partition)?;
        let newest = versions.iter().rev().find(|(at, _)| *at < below)?;
        Some(newest.1)
    }
}

/// A commit that was appended, or is about to be.
#[derive(Debug)]
struct PendingCommit {
    partition: i32,
    asker: Asker,
    request: OffsetCommitRequest,
    /// The offset behind its records, once appended.
    end: Option<Offset>,
    timestamp: i64,
    /// When its time is over.
    deadline: Nanos,
    /// Its time was over before the append was done; the records come all the same.
    expired: bool,
}

/// What the coordinator wants appended.
#[derive(Debug)]
pub struct CommitAppend {
    /// Names the commit in [`OffsetsCoordinator::appended`].
    pub job: u64,
    /// Partition of `__consumer_offsets`.
    pub partition: i32,
    /// One batch.
    pub records: Bytes,
}

/// An answer that is ready.
pub type Answer = (Asker, Response);

/// Committed offsets of the groups that this broker coordinates.
#[derive(Debug)]
pub struct OffsetsCoordinator {
    commit_timeout: Nanos,
    timer_kind: u64,
    shards: SortedMap<i32, Shard>,
    pending: SortedMap<u64, PendingCommit>,
    next_job: u64,
    /// Reads that wait, oldest first.
    stable_fetches: Vec<StableFetch>,
    /// One timer for the first deadline: each is set so long ahead, so the oldest is the first.
    timer_set: bool,
    /// Shards that wait to be loaded, first come first served.
    to_load: Vec<(i32, LeaderEpoch)>,
    /// Of the record that is being encoded; kept to spare allocations.
    key_bytes: Vec<u8>,
    value_bytes: Vec<u8>,
}

impl OffsetsCoordinator {
    /// Without shards. `timer_kind` is the upper bits of the tokens of its timers.
    pub fn new(commit_timeout_ms: i64, timer_kind: u64) -> Self {
        OffsetsCoordinator {
            commit_timeout: millis(commit_timeout_ms),
            timer_kind,
            shards: SortedMap::new(),
            pending: SortedMap::new(),
            next_job: 0,
            stable_fetches: Vec::new(),
            timer_set: false,
            to_load: Vec::new(),
            key_bytes: Vec::new(),
            value_bytes: Vec::new(),
        }
    }

    /// This broker leads that partition of `__consumer_offsets` now (`onElection`): load it. One that is
    /// loaded or loading stays as it is when only the epoch is another
    /// (`CoordinatorRuntime.scheduleLoadOperation`).
    pub fn elected(
        &mut self,
        partition: i32,
        leader_epoch: LeaderEpoch,
        log_bytes: u64,
        env: &mut Env<'_>,
    ) {
        if self.shards.contains(partition) {
            return;
        }
        let shard = Shard {
            leader_epoch,
            loaded: false,
            written: 0,
            offsets: BTreeMap::new(),
        };
        self.shards.insert(partition, shard);
        self.to_load.push((partition, leader_epoch));
        env.serve(
            Queue::Coordinator,
            LOAD_COST + log_bytes / 1024 * LOAD_COST_PER_KIB,
        );
    }

    /// The partition that the coordinator's queue has come to.
    pub fn next_to_load(&mut self) -> Option<i32> {
        while !self.to_load.is_empty() {
            let (partition, epoch) = self.to_load.remove(0);
            let current = self.shards.get(partition);
            if current.is_some_and(|s| s.leader_epoch == epoch && !s.loaded) {
                return Some(partition);
            }
        }
        None
    }

    /// `CoordinatorLoaderImpl`: replays the log from its start to its end.
    pub fn load(&mut self, partition: i32, log: &PartitionLog, env: &mut Env<'_>) {
        let shard = self.shards.get_mut(partition).expect("listed to be loaded");
        let batches = log
            .batches_from(log.log_start_offset(), env.disk)
            .expect("the log was read from this disk when it was opened");
        for batch in batches {
            for record in records(&batch).into_iter().flatten().map_while(Result::ok) {
                let key = record.key.and_then(OffsetKey::decode);
                let value = record.value.and_then(OffsetValue::decode);
                if let (Some(key), Some(value)) = (key, value) {
                    let offsets = shard.offsets_mut(&key.group, &key.topic);
                    offsets.apply(key.partition, record.offset, value, log.high_watermark);
                }
            }
        }
        shard.loaded = true;
        shard.written = log.log_end_offset();
        env.fact(Fact::CoordinatorLoaded { partition });
    }

    /// This broker leads that partition no more (`onResignation`): what is under way fails.
    pub fn resigned(&mut self, partition: i32) -> Vec<Answer> {
        self.shards.remove(partition);
        let failed: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, c)| c.partition == partition)
            .map(|(job, _)| job)
            .collect();
        let mut answers: Vec<Answer> = failed
            .into_iter()
            .filter_map(|job| self.fail(job, ErrorCode::NotCoordinator))
            .collect();
        answers.extend(self.fail_stable(|fetch| fetch.partition == partition));
        answers
    }

    fn shard(&self, partition: i32) -> Result<&Shard, ErrorCode> {
        match self.shards.get(partition) {
            None => Err(ErrorCode::NotCoordinator),
            Some(shard) if !shard.loaded => Err(ErrorCode::CoordinatorLoadInProgress),
            Some(shard) => Ok(shard),
        }
    }

    /// Takes an OffsetCommit for a group of that shard.
    pub fn commit(
        &mut self,
        asker: Asker,
        partition: i32,
        request: OffsetCommitRequest,
        env: &mut Env<'_>,
    ) -> Result<CommitAppend, Answer> {
        let refused = match self.shard(partition) {
            Err(error) => Some(error),
            Ok(_) if request.generation >= 0 => Some(ErrorCode::IllegalGeneration),
            Ok(_) if !request.member_id.is_empty() => Some(ErrorCode::UnknownMemberId),
            Ok(_) => None,
        };
        if let Some(error) = refused {
            return Err((asker, commit_response(&request, error)));
        }
        let mut batch = BatchBuilder::with_capacity(COMMIT_BATCH_BYTES);
        for (topic, commits) in &request.topics {
            let mut key = OffsetKey {
                group: request.group.clone(),
                topic: topic.clone(),
                partition: 0,
            };
            for commit in commits {
                key.partition = commit.partition;
                let value = value_of(commit, env.wall_ms);
                key.encode(&mut self.key_bytes);
                value.encode(&mut self.value_bytes);
                let (key, value) = (&self.key_bytes[..], &self.value_bytes[..]);
                batch.append(env.wall_ms, Some(key), Some(value), &[]);
            }
        }
        let job = self.next_job;
        self.next_job += 1;
        let pending = PendingCommit {
            partition,
            asker,
            request,
            end: None,
            timestamp: env.wall_ms,
            deadline: env.now.saturating_add(self.commit_timeout),
            expired: false,
        };
        self.pending.insert(job, pending);
        self.set_timer(env);
        Ok(CommitAppend {
            job,
            partition,
            records: batch.build(),
        })
    }

    /// The append of a commit is done. The high watermark may have passed it already: what a flush
    /// holds back is fetched meanwhile.
    pub fn appended(
        &mut self,
        job: u64,
        result: Result<Offset, ErrorCode>,
        high_watermark: Offset,
    ) -> Option<Answer> {
        match result {
            Ok(end) => {
                self.apply(job, end, high_watermark);
                None
            }
            Err(error) => self.fail(job, coordinator_error(error)),
        }
    }

    /// The records of a commit are in the log, up to `end`.
    fn apply(&mut self, job: u64, end: Offset, high_watermark: Offset) {
        let Some(commit) = self.pending.get_mut(job) else {
            return;
        };
        commit.end = Some(end);
        let Some(shard) = self.shards.get_mut(commit.partition) else {
            return;
        };
        shard.written = end;
        let request = &commit.request;
        let count: usize = request
            .topics
            .iter()
            .map(|(_, commits)| commits.len())
            .sum();
        let mut at = end - count as Offset;
        for (topic, commits) in &request.topics {
            let offsets = shard.offsets_mut(&request.group, topic);
            for c in commits {
                let value = value_of(c, commit.timestamp);
                offsets.apply(c.partition, at, value, high_watermark);
                at += 1;
            }
        }
        if commit.expired {
            self.pending.remove(job);
        }
    }

    /// The high watermark of a shard's log is there: commits below it are done, and reads that waited for
    /// it.
    pub fn high_watermark_is(
        &mut self,
        partition: i32,
        high_watermark: Offset,
        topic_id: impl Fn(&str) -> Option<TopicId>,
        env: &mut Env<'_>,
    ) -> Vec<Answer> {
        let done: SmallVec<[u64; 4]> = self
            .pending
            .iter()
            .filter(|(_, c)| c.partition == partition && c.end.is_some_and(|e| e <= high_watermark))
            .map(|(job, _)| job)
            .collect();
        let done = done.into_iter().filter_map(|job| {
            let commit = self.pending.remove(job)?;
            for (topic, commits) in &commit.request.topics {
                let Some(id) = topic_id(topic) else { continue };
                for c in commits {
                    env.fact(Fact::OffsetCommitted {
                        group: commit.request.group.clone(),
                        partition: TopicPartition::new(id, c.partition),
                        offset: c.offset,
                    });
                }
            }
            let response = commit_response(&commit.request, ErrorCode::None);
            Some((commit.asker, response))
        });
        let mut answers: Vec<Answer> = done.collect();
        answers.extend(self.release_stable(partition, high_watermark));
        answers
    }

    fn set_timer(&mut self, env: &mut Env<'_>) {
        if self.timer_set {
            return;
        }
        let commit = self.pending.values().find(|c| !c.expired);
        let commit = commit.map(|c| c.deadline);
        if let Some(first) = commit.into_iter().chain(self.stable_deadline()).min() {
            self.timer_set = true;
            let delay = first.saturating_sub(env.now);
            env.timer_in(delay, TimerToken(self.timer_kind));
        }
    }

    /// The timer fired: the time of some commits and reads is over.
    pub fn expire(&mut self, env: &mut Env<'_>) -> Vec<Answer> {
        self.timer_set = false;
        let pending = self.pending.iter();
        let late = pending.filter(|(_, c)| !c.expired && c.deadline <= env.now);
        let late: Vec<u64> = late.map(|(job, _)| job).collect();
        let answers = late.into_iter().filter_map(|job| self.expire_one(job));
        let mut answers: Vec<Answer> = answers.collect();
        // `GroupCoordinatorService.handleOffsetFetchException`, of a timeout.
        answers.extend(self.fail_stable(|fetch| fetch.is_late(env.now)));
        self.set_timer(env);
        answers
    }

    fn expire_one(&mut self, job: u64) -> Option<Answer> {
        let error = coordinator_error(ErrorCode::RequestTimedOut);
        let commit = self.pending.get_mut(job)?;
        if commit.end.is_some() {
            return self.fail(job, error);
        }
        // Still behind the log's lock: it will be appended, so it must reach the state.
        commit.expired = true;
        Some((commit.asker, commit_response(&commit.request, error)))
    }

    fn fail(&mut self, job: u64, error: ErrorCode) -> Option<Answer> {
        let commit = self.pending.remove(job).filter(|c| !c.expired)?;
        Some((commit.asker, commit_response(&commit.request, error)))
    }

    /// Takes an OffsetFetch for a group of that shard: the answer, unless it has to wait.
    pub fn fetch(
        &mut self,
        asker: Asker,
        partition: i32,
        request: OffsetFetchRequest,
        high_watermark: Offset,
        env: &mut Env<'_>,
    ) -> Option<Answer> {
        if request.require_stable {
            return self.fetch_stable(asker, partition, request, high_watermark, env);
        }
        let response = self.read(partition, &request, high_watermark);
        Some((asker, response))
    }

    /// `OffsetMetadataManager.fetchOffsets`: what is below that offset of the shard's log.
    fn read(&self, partition: i32, request: &OffsetFetchRequest, below: Offset) -> Response {
        let shard = self.shard(partition);
        let error = shard.as_ref().err().copied().unwrap_or(ErrorCode::None);
        let topics = match shard {
            Err(_) => Vec::new(),
            Ok(shard) => request
                .topics
                .iter()
                .map(|(topic, partitions)| {
                    let known = shard.offsets(&request.group, topic);
                    let offsets = partitions.iter().map(|&p| {
                        let found = known.and_then(|known| known.newest(p, below));
                        FetchedOffset {
                            partition: p,
                            offset: found.map_or(-1, |v| v.offset),
                            leader_epoch: found.map_or(NO_EPOCH, |v| v.leader_epoch),
                            error: ErrorCode::None,
                        }
                    });
                    (topic.clone(), offsets.collect())
                })
                .collect(),
        };
        fetch_response(&request.group, error, topics)
    }

    /// What a group has committed, as a reader of this shard would see it.
    pub fn committed(
        &self,
        partition: i32,
        group: &str,
        topic: &str,
        of: i32,
        high_watermark: Offset,
    ) -> Option<Offset> {
        let offsets = self.shards.get(partition)?.offsets(group, topic)?;
        offsets.newest(of, high_watermark).map(|v| v.offset)
    }
}

fn value_of(commit: &CommitPartition, timestamp: i64) -> OffsetValue {
    OffsetValue {
        offset: commit.offset,
        leader_epoch: commit.leader_epoch,
        commit_timestamp: timestamp,
    }
}

/// An OffsetCommit response with one outcome for all partitions.
pub fn commit_response(request: &OffsetCommitRequest, error: ErrorCode) -> Response {
    let topics = request
        .topics
        .iter()
        .map(|(topic, commits)| {
            let results = commits.iter().map(|c| (c.partition, error)).collect();
            (topic.clone(), results)
        })
        .collect();
    Response::OffsetCommit(OffsetCommitResponse { topics })
}

/// An OffsetFetch response.
pub fn fetch_response(
    group: &TopicName,
    error: ErrorCode,
    topics: ByTopicName<FetchedOffset>,
) -> Response {
    Response::OffsetFetch(OffsetFetchResponse {
        group: group.clone(),
        error,
        topics,
    })
}

/// `GroupCoordinatorService.handleOperationException`.
fn coordinator_error(error: ErrorCode) -> ErrorCode {
    use ErrorCode::*;
    match error {
        UnknownTopicOrPartition | NotEnoughReplicas | RequestTimedOut => CoordinatorNotAvailable,
        NotLeaderOrFollower | KafkaStorageError => NotCoordinator,
        MessageTooLarge | RecordListTooLarge => UnknownServerError,
        other => other,
    }
}
