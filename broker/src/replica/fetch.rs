//! Reading as leader: `ReplicaManager.fetchMessages`, `DelayedFetch`, ListOffsets and
//! OffsetForLeaderEpoch.
//!
//! A follower's fetch offset is its acknowledgement of everything below, counted when the request is
//! handled (and not again when it was parked and is read at its end). What it leads to may have to wait
//! for a lock, and the answer with it. Not modelled: fetch sessions,
//! read_committed below the high watermark (there are no transactions), quotas.

use crate::bug::Bug;
use crate::controller::MetadataImage;
use crate::disk::{Disk, DiskError};
use crate::env::Env;
use crate::ids::*;
use crate::log::{PartitionLog, ReadError};
use crate::replica::Partition;
use crate::replica::leader_hint::current_leader;
use crate::replica::locks::{Replica, Waiter};
use crate::replica::manager::{ReplicaManager, Upcall};
use crate::replica::offset_by_time;
use crate::replica::partition::is_of_former_process;
use crate::replica::purgatory::{Asker, Change, Delayed, DelayedFetch};
use crate::sorted_map::SortedMap;
use crate::wire::*;
use bytes::Bytes;
use smallvec::SmallVec;

/// What the partitions of one fetch gave.
#[derive(Debug)]
struct ReadResult {
    /// As many as were read so far.
    topics: ByTopicId<FetchPartitionResult>,
    /// Leaders that are alive, of partitions that moved away.
    node_endpoints: Vec<BrokerId>,
    bytes: u64,
    /// An error, a divergence, or a position beyond what may be read: answer at once.
    answer_now: bool,
}

impl ReadResult {
    fn of(request: &FetchRequest) -> ReadResult {
        ReadResult {
            topics: Vec::with_capacity(request.topics.len()),
            node_endpoints: Vec::new(),
            bytes: 0,
            answer_now: false,
        }
    }
}

/// A Fetch on its way through its partitions.
#[derive(Debug)]
pub(super) struct FetchJob {
    asker: Asker,
    request: FetchRequest,
    result: ReadResult,
    /// Of the partition that was read last: what is to be done there before the next one is read.
    update: Option<FollowerUpdate>,
}

impl FetchJob {
    /// Whether it waits to propose an ISR.
    pub(super) fn may_change_isr(&self) -> bool {
        self.update.as_ref().is_some_and(|update| update.may_join)
    }
}

/// What is left of `Partition.updateFollowerFetchState`, the follower's state being taken.
#[derive(Debug)]
struct FollowerUpdate {
    partition: TopicPartition,
    follower: BrokerId,
    may_join: bool,
    end_moved: bool,
    low_watermark_moved: bool,
}

/// What a fetch does when it has just arrived, and not at the end of its wait.
struct Arrived<'a> {
    /// A follower's says with it how far it is, and what that moved is listed.
    moved: &'a mut Moved,
    /// It has waited for the first partition's lock, and has it now.
    has_lock: bool,
}

/// A lock that a fetch must wait for.
enum Stop {
    /// To read this partition.
    Reading(TopicPartition),
    /// To do this.
    Update(FollowerUpdate),
}

/// Partitions whose high watermark moved, or else the low one.
type Moved = SmallVec<[(TopicPartition, Change); 2]>;

/// What a follower's fetch says of one partition: how far it is.
struct Followed<'a> {
    ask: &'a FetchPartition,
    /// Where the partition is among the replicas.
    replica: usize,
    /// Where the follower is among the partition's remotes.
    remote: usize,
}

impl ReplicaManager {
    /// Takes a Fetch request.
    pub fn fetch(
        &mut self,
        asker: Asker,
        request: FetchRequest,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let mut moved = Moved::new();
        if self.all_fetched(&request, &mut moved, image, env) {
            self.watermarks_moved(&moved, image, env);
            self.park_fetch(asker, request, env);
            return;
        }
        let job = FetchJob {
            asker,
            result: ReadResult::of(&request),
            request,
            update: None,
        };
        self.run_fetch(job, false, image, env);
    }

    /// Reads one partition after the other; stops at a lock and is continued, then with the lock.
    fn run_fetch(
        &mut self,
        mut job: FetchJob,
        has_lock: bool,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let mut moved = Moved::new();
        let arrived = Arrived {
            moved: &mut moved,
            has_lock,
        };
        let stop = self.read(&job.request, &mut job.result, Some(arrived), image, env);
        self.watermarks_moved(&moved, image, env);
        if let Some(stop) = stop {
            self.wait_for_lock(job, stop);
            return;
        }
        let FetchJob {
            asker,
            request,
            result,
            ..
        } = job;
        let nothing_to_wait_for = request.max_wait_ms <= 0
            || request.topics.is_empty()
            || result.bytes >= request.min_bytes.max(0) as u64
            || result.answer_now;
        if nothing_to_wait_for {
            self.respond_fetch(asker, result);
        } else {
            self.park_fetch(asker, request, env);
        }
    }

    #[cold]
    fn wait_for_lock(&mut self, mut job: FetchJob, stop: Stop) {
        let id = match stop {
            Stop::Reading(id) => id,
            Stop::Update(update) => {
                let id = update.partition;
                job.update = Some(update);
                id
            }
        };
        let replica = self.replicas.get_mut(id).expect("it is locked");
        replica.queue.push_back(Waiter::Fetch(Box::new(job)));
    }

    /// A fetch has the lock that it waited for.
    pub(super) fn continue_fetch(
        &mut self,
        mut job: FetchJob,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let update = job.update.take();
        let has_lock = update.is_none();
        if let Some(update) = update {
            let id = update.partition;
            let partition = &mut self.replicas.get_mut(id).expect("it was locked").partition;
            if update.may_join && partition.needs_expand_isr(update.follower, image) {
                partition.maybe_expand_isr(update.follower, image, env);
                self.upcalls.push_back(Upcall::ProposeIsr(id));
            }
            let high_moved =
                update.end_moved && partition.maybe_increment_high_watermark(image, env);
            if high_moved {
                self.high_watermark_moved(id, image, env);
            } else if update.low_watermark_moved {
                self.complete_delayed(id, Change::LowWatermark, image, env);
            }
        }
        self.run_fetch(job, has_lock, image, env);
    }

    fn park_fetch(&mut self, asker: Asker, request: FetchRequest, env: &mut Env<'_>) {
        let wait_ms = request.max_wait_ms;
        let delayed = Delayed::Fetch(DelayedFetch { asker, request });
        self.park(delayed, wait_ms, env);
    }

    fn watermarks_moved(
        &mut self,
        moved: &[(TopicPartition, Change)],
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        for &(id, change) in moved {
            match change {
                Change::HighWatermark => self.high_watermark_moved(id, image, env),
                change => self.complete_delayed(id, change, image, env),
            }
        }
    }

    /// Whether a request that may wait asks for nothing but what is still to be written, where nobody
    /// holds a lock: most do, and for them no answer is made that would only be thrown away. Of a
    /// follower's, its partitions.
    fn finds_nothing<'a>(
        &self,
        request: &'a FetchRequest,
        image: &MetadataImage,
    ) -> Option<SmallVec<[Followed<'a>; 4]>> {
        let may_wait =
            request.max_wait_ms > 0 && request.min_bytes > 0 && !request.topics.is_empty();
        let (follower, epoch) = (request.replica_id, request.replica_epoch);
        if !may_wait || is_of_former_process(follower, epoch, image) {
            return None;
        }
        let mut followed = SmallVec::new();
        let mut near = 0;
        for (topic, asks) in &request.topics {
            for ask in asks {
                let id = TopicPartition::new(*topic, ask.partition);
                let replica = self.replicas.position_near(near, id)?;
                near = replica + 1;
                let Replica { partition, .. } = self.replicas.at(replica);
                if self.replicas.at(replica).is_locked()
                    || !is_at_end(partition, ask, follower >= 0)
                {
                    return None;
                }
                if follower >= 0 {
                    let remote = partition.remote_of(follower)?;
                    followed.push(Followed {
                        ask,
                        replica,
                        remote,
                    });
                }
            }
        }
        Some(followed)
    }

    /// Whether a request [finds nothing](Self::finds_nothing). A follower's says all the same how far it
    /// is.
    fn all_fetched(
        &mut self,
        request: &FetchRequest,
        all_moved: &mut Moved,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) -> bool {
        let Some(followed) = self.finds_nothing(request, image) else {
            return false;
        };
        let epoch = request.replica_epoch;
        for fetch in &followed {
            if let Some(moved) = self.follower_fetched(fetch, epoch, image, env) {
                all_moved.push(moved);
            }
        }
        true
    }

    /// `Partition.updateFollowerFetchState`; asks for what follows from it. Answers which watermark moved;
    /// the low one is looked at only where deletions wait for it.
    #[inline]
    fn follower_fetched(
        &mut self,
        fetch: &Followed<'_>,
        epoch: BrokerEpoch,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) -> Option<(TopicPartition, Change)> {
        let partition = &mut self.replicas.at_mut(fetch.replica).partition;
        let had_proposal = partition.pending().is_some();
        let deletions = self.purgatory.has_deletions();
        let low_before = deletions.then(|| partition.low_watermark(image));
        let (end, start) = (fetch.ask.fetch_offset, fetch.ask.log_start_offset);
        let high_moved = partition.update_follower(fetch.remote, epoch, end, start, image, env);
        if !had_proposal && partition.pending().is_some() {
            self.upcalls.push_back(Upcall::ProposeIsr(partition.id));
        }
        if high_moved {
            return Some((partition.id, Change::HighWatermark));
        }
        let low_moved = low_before.is_some_and(|before| partition.low_watermark(image) > before);
        low_moved.then_some((partition.id, Change::LowWatermark))
    }

    /// The same where somebody holds a lock of the partition: what has to wait is answered.
    #[cold]
    fn locked_follower_fetched(
        &mut self,
        fetch: &Followed<'_>,
        request: &FetchRequest,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) -> Result<Option<(TopicPartition, Change)>, FollowerUpdate> {
        let replica = self.replicas.at_mut(fetch.replica);
        let (log_is_held, closed) = (replica.held.is_some(), replica.is_closed_to_readers());
        let partition = &mut replica.partition;
        let deletions = self.purgatory.has_deletions();
        let low_before = deletions.then(|| partition.low_watermark(image));
        let (end, start) = (fetch.ask.fetch_offset, fetch.ask.log_start_offset);
        let (follower, epoch) = (request.replica_id, request.replica_epoch);
        let end_moved = partition.take_fetch_state(fetch.remote, epoch, end, start, env);
        let low_moved = low_before.is_some_and(|before| partition.low_watermark(image) > before);
        let may_join = partition.needs_expand_isr(follower, image);
        let takes_log = end_moved && partition.may_increment_high_watermark();
        if may_join || takes_log && log_is_held || end_moved && closed {
            return Err(FollowerUpdate {
                partition: partition.id,
                follower,
                may_join,
                end_moved,
                low_watermark_moved: low_moved,
            });
        }
        let high_moved = end_moved && partition.maybe_increment_high_watermark(image, env);
        let change = match high_moved {
            true => Some(Change::HighWatermark),
            false => low_moved.then_some(Change::LowWatermark),
        };
        Ok(change.map(|change| (partition.id, change)))
    }

    fn respond_fetch(&mut self, asker: Asker, result: ReadResult) {
        let response = Response::Fetch(FetchResponse {
            error: ErrorCode::None,
            topics: result.topics,
            node_endpoints: result.node_endpoints,
        });
        self.respond(asker, Box::new(response));
    }

    /// Reads again, at the end of the wait.
    pub(super) fn answer_fetch(
        &mut self,
        fetch: DelayedFetch,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let mut result = ReadResult::of(&fetch.request);
        let stop = self.read(&fetch.request, &mut result, None, image, env);
        assert!(stop.is_none(), "it waits no more");
        self.respond_fetch(fetch.asker, result);
    }

    /// Reads what a request asks for, behind what it has read so far. Where it has just arrived it may
    /// have to stop.
    fn read(
        &mut self,
        request: &FetchRequest,
        result: &mut ReadResult,
        mut arrived: Option<Arrived<'_>>,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) -> Option<Stop> {
        let from_follower = request.replica_id >= 0;
        let cap = request.max_bytes.min(self.config.fetch_max_bytes);
        let mut budget = not_negative(cap).saturating_sub(result.bytes);
        let begun = result.topics.len().saturating_sub(1);
        for (at, (topic, asks)) in request.topics.iter().enumerate().skip(begun) {
            if at == result.topics.len() {
                let reads = Items::with_capacity(asks.len());
                result.topics.push((*topic, reads));
            }
            let reads = &mut result.topics[at].1;
            let read_before = reads.len();
            for ask in &asks[read_before..] {
                let id = TopicPartition::new(*topic, ask.partition);
                let Some(replica) = self.replicas.position(id) else {
                    let error = error_of_no_replica(id, image);
                    let endpoints = &mut result.node_endpoints;
                    reads.push(failed_with_hint(id, error, image, endpoints));
                    result.answer_now = true;
                    continue;
                };
                let Replica { partition, .. } = self.replicas.at(replica);
                let locked = self.replicas.at(replica).is_locked();
                if let Some(arrived) = &mut arrived
                    && !std::mem::take(&mut arrived.has_lock)
                    && locked
                    && self.replicas.at(replica).is_closed_to_readers()
                {
                    return Some(Stop::Reading(id));
                }
                let room = (budget, result.bytes == 0);
                let (diverging_epoch, records) =
                    match read_partition(partition, ask, request.replica_id, room, env.disk) {
                        Ok(read) => read,
                        Err(error) => {
                            if error == ErrorCode::KafkaStorageError {
                                self.log_directory_failed(DiskError::Io, env);
                            }
                            let endpoints = &mut result.node_endpoints;
                            reads.push(failed_with_hint(id, error, image, endpoints));
                            result.answer_now = true;
                            continue;
                        }
                    };
                // As they were when it was read.
                let high_watermark = partition.log.high_watermark;
                let log_start_offset = partition.log.log_start_offset();
                let (follower, epoch) = (request.replica_id, request.replica_epoch);
                let mut followed = None;
                if from_follower && arrived.is_some() && diverging_epoch.is_none() {
                    match partition.fetching_remote(follower, epoch, image) {
                        Ok(remote) => {
                            followed = Some(Followed {
                                ask,
                                replica,
                                remote,
                            });
                        }
                        Err(error) => {
                            let nobody = (NO_BROKER, NO_EPOCH);
                            reads.push(failed(ask.partition, error, nobody));
                            result.answer_now = true;
                            continue;
                        }
                    }
                }
                let len = records.len() as u64;
                result.bytes += len;
                budget = budget.saturating_sub(len);
                // A consumer whose position lies beyond the high watermark of a new leader does not wait
                // either (`DelayedFetch.tryComplete`, case F).
                let beyond = !from_follower
                    && ask.fetch_offset > high_watermark
                    && self.bug != Some(Bug::ReadPastHighWatermark);
                result.answer_now |= diverging_epoch.is_some() || beyond;
                reads.push(FetchPartitionResult {
                    partition: ask.partition,
                    error: ErrorCode::None,
                    high_watermark,
                    last_stable_offset: high_watermark,
                    log_start_offset,
                    diverging_epoch,
                    current_leader: (NO_BROKER, NO_EPOCH),
                    records,
                });
                let (Some(fetch), Some(arrived)) = (followed, &mut arrived) else {
                    continue;
                };
                let moved = match locked {
                    false => self.follower_fetched(&fetch, epoch, image, env),
                    true => match self.locked_follower_fetched(&fetch, request, image, env) {
                        Ok(moved) => moved,
                        Err(update) => return Some(Stop::Update(update)),
                    },
                };
                arrived.moved.extend(moved);
            }
        }
        None
    }

    /// ListOffsets, for one partition (`Partition.fetchOffsetForTimestamp`).
    pub fn list_offset(
        &self,
        id: TopicPartition,
        ask: &ListOffsetsPartition,
        replica_id: BrokerId,
        disk: &dyn Disk,
    ) -> Result<(i64, Offset, LeaderEpoch), ErrorCode> {
        let replica = self
            .replicas
            .get(id)
            .ok_or(ErrorCode::NotLeaderOrFollower)?;
        let partition = &replica.partition;
        partition.check_leader_epoch(ask.current_leader_epoch, true)?;
        let log = &partition.log;
        let from_consumer = replica_id < 0;
        let end = if from_consumer {
            log.high_watermark
        } else {
            log.log_end_offset()
        };
        // Right after an election the high watermark may lag behind the start of the epoch.
        let lags = from_consumer && partition.high_watermark_lags_behind_epoch();
        match ask.timestamp {
            LATEST_TIMESTAMP if lags => Err(ErrorCode::OffsetNotAvailable),
            LATEST_TIMESTAMP => Ok((-1, end, partition.leader_epoch())),
            EARLIEST_TIMESTAMP => {
                let start = log.log_start_offset();
                let epoch = log.epochs().epoch_for_offset(start).unwrap_or(NO_EPOCH);
                Ok((-1, start, epoch))
            }
            LARGEST_TIMESTAMP | 0.. => {
                let found = match ask.timestamp {
                    LARGEST_TIMESTAMP => offset_by_time::of_largest(log, end, disk)?,
                    timestamp => offset_by_time::at_or_after(timestamp, log, end, disk)?,
                };
                // It may come yet.
                let is_missing = found.1 < 0 && lags;
                (!is_missing)
                    .then_some(found)
                    .ok_or(ErrorCode::OffsetNotAvailable)
            }
            _ => Err(ErrorCode::UnsupportedVersion),
        }
    }

    /// OffsetForLeaderEpoch, for one partition (`Partition.lastOffsetForLeaderEpoch`).
    pub fn epoch_end(&self, id: TopicPartition, ask: &EpochPartition) -> EpochEnd {
        let mut end = EpochEnd {
            partition: ask.partition,
            error: ErrorCode::None,
            leader_epoch: NO_EPOCH,
            end_offset: -1,
        };
        match self.replicas.get(id) {
            None => end.error = ErrorCode::NotLeaderOrFollower,
            Some(replica) => {
                let partition = &replica.partition;
                match partition.check_leader_epoch(ask.current_leader_epoch, true) {
                    Err(error) => end.error = error,
                    Ok(()) => {
                        if let Some(found) = partition.end_offset_for_epoch(ask.leader_epoch) {
                            (end.leader_epoch, end.end_offset) = found;
                        }
                    }
                }
            }
        }
        end
    }
}

/// What a fetch reads up to (`FetchIsolation`): a follower everything, a consumer what is committed.
fn readable_end(partition: &Partition, from_follower: bool) -> Offset {
    let log = &partition.log;
    match from_follower || partition.bug == Some(Bug::ReadPastHighWatermark) {
        true => log.log_end_offset(),
        false => log.high_watermark,
    }
}

/// Whether reading gives nothing, and neither an error nor a divergence: the reader is at the end of
/// what it may read. Who reads is not looked at.
fn is_at_end(partition: &Partition, ask: &FetchPartition, from_follower: bool) -> bool {
    let log = &partition.log;
    let end = readable_end(partition, from_follower);
    ask.fetch_offset == end
        && end >= log.log_start_offset()
        && check_epoch(partition, ask, from_follower).is_ok()
        && (!from_follower || matches!(parted(partition, ask), Ok(None)))
}

/// The reader names the epoch in which this replica leads.
fn check_epoch(
    partition: &Partition,
    ask: &FetchPartition,
    from_follower: bool,
) -> Result<(), ErrorCode> {
    let current = match from_follower && partition.takes_any_epoch(ask.current_leader_epoch) {
        true => NO_EPOCH,
        false => ask.current_leader_epoch,
    };
    partition.check_leader_epoch(current, true)
}

/// Where the follower's log has parted from this one.
fn parted(
    partition: &Partition,
    ask: &FetchPartition,
) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
    match partition.takes_any_epoch(ask.current_leader_epoch) {
        true => Ok(None),
        false => partition.diverging_epoch(ask.last_fetched_epoch, ask.fetch_offset),
    }
}

/// `DelayedFetch.tryComplete`.
pub(super) fn is_fetch_ready(
    replicas: &SortedMap<TopicPartition, Replica>,
    request: &FetchRequest,
) -> bool {
    let from_follower = request.replica_id >= 0;
    let enough = not_negative(request.min_bytes);
    let mut available = 0;
    for (topic, partitions) in &request.topics {
        for ask in partitions {
            let id = TopicPartition::new(*topic, ask.partition);
            let Some(replica) = replicas.get(id) else {
                return true;
            };
            let partition = &replica.partition;
            if check_epoch(partition, ask, from_follower).is_err() {
                return true;
            }
            let log = &partition.log;
            let end = readable_end(partition, from_follower);
            if ask.fetch_offset > end {
                // The leader's log was truncated below.
                return true;
            }
            let limit = not_negative(ask.partition_max_bytes);
            available += bytes_between(log, ask.fetch_offset, end).min(limit);
            if available >= enough {
                return true;
            }
            if from_follower && !matches!(parted(partition, ask), Ok(None)) {
                return true;
            }
        }
    }
    available >= enough
}

/// Why a partition that a request names is not read or written here.
#[cold]
pub(super) fn error_of_no_replica(id: TopicPartition, image: &MetadataImage) -> ErrorCode {
    if image.topic(id.topic).is_none() {
        ErrorCode::UnknownTopicId
    } else if image.partition(id).is_none() {
        ErrorCode::UnknownTopicOrPartition
    } else {
        ErrorCode::NotLeaderOrFollower
    }
}

/// A partition that is not read, with who leads it where that helps.
#[cold]
#[inline(never)]
fn failed_with_hint(
    id: TopicPartition,
    error: ErrorCode,
    image: &MetadataImage,
    endpoints: &mut Vec<BrokerId>,
) -> FetchPartitionResult {
    let leader = match error {
        ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch => {
            current_leader(id, image, endpoints)
        }
        _ => (NO_BROKER, NO_EPOCH),
    };
    failed(id.partition, error, leader)
}

/// A bound of a request in bytes: a negative one is none at all.
fn not_negative(bytes: i32) -> u64 {
    bytes.max(0) as u64
}

/// `Partition.fetchRecords` and `readRecords`: where the follower's log has parted, else records. `budget`
/// is what the answer may still take, and `first` whether nothing was read for it yet.
#[inline]
fn read_partition(
    partition: &Partition,
    ask: &FetchPartition,
    replica_id: BrokerId,
    (budget, first): (u64, bool),
    disk: &dyn Disk,
) -> Result<(Option<(LeaderEpoch, Offset)>, Bytes), ErrorCode> {
    let from_follower = replica_id >= 0;
    check_epoch(partition, ask, from_follower)?;
    if from_follower {
        if partition.remote_of(replica_id).is_none() {
            return Err(ErrorCode::UnknownLeaderEpoch);
        }
        let parted = parted(partition, ask)?;
        if parted.is_some() {
            return Ok((parted, Bytes::new()));
        }
    }
    let upper_bound = readable_end(partition, from_follower);
    let limit = budget.min(not_negative(ask.partition_max_bytes)) as i32;
    let log = &partition.log;
    match log.read(ask.fetch_offset, limit, upper_bound, disk, first) {
        Ok(records) => Ok((None, records)),
        Err(ReadError::OffsetOutOfRange { .. }) => Err(ErrorCode::OffsetOutOfRange),
        Err(ReadError::Corrupt { .. }) => Err(ErrorCode::CorruptMessage),
        Err(ReadError::Disk(_)) => Err(ErrorCode::KafkaStorageError),
    }
}

/// Bytes of the batches from the one that holds `from` up to the end offset.
fn bytes_between(log: &PartitionLog, from: Offset, end: Offset) -> u64 {
    if from >= end {
        return 0;
    }
    log.batches_metadata_from(from)
        .iter()
        .take_while(|b| b.base_offset < end)
        .map(|b| u64::from(b.size))
        .sum()
}

fn failed(
    partition: i32,
    error: ErrorCode,
    current_leader: (BrokerId, LeaderEpoch),
) -> FetchPartitionResult {
    FetchPartitionResult {
        partition,
        error,
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        diverging_epoch: None,
        current_leader,
        records: Bytes::new(),
    }
}
