//! Reading as leader: `ReplicaManager.fetchMessages`, `DelayedFetch`, ListOffsets and
//! OffsetForLeaderEpoch.
//!
//! A follower's fetch offset is its acknowledgement of everything below, counted when the request is
//! handled (and not again when it was parked and is read at its end). Not modelled: fetch sessions,
//! read_committed below the high watermark (there are no transactions), quotas.

use crate::bug::Bug;
use crate::controller::MetadataImage;
use crate::disk::{Disk, DiskError};
use crate::env::Env;
use crate::ids::*;
use crate::log::{PartitionLog, ReadError};
use crate::replica::Partition;
use crate::replica::manager::{Replica, ReplicaManager, Upcall};
use crate::replica::offset_by_time;
use crate::replica::purgatory::{Asker, Change, Delayed, DelayedFetch};
use crate::sorted_map::SortedMap;
use crate::wire::*;
use bytes::Bytes;
use smallvec::SmallVec;

/// What the partitions of one fetch gave.
struct ReadResult {
    topics: ByTopicId<FetchPartitionResult>,
    bytes: u64,
    /// An error, a divergence, or a position beyond what may be read: answer at once.
    answer_now: bool,
    /// Partitions whose watermarks the request moved.
    moved: Moved,
}

/// Partitions whose high watermark moved, or else the low one.
type Moved = SmallVec<[(TopicPartition, Change); 2]>;

impl ReplicaManager {
    /// Takes a Fetch request.
    pub fn fetch(
        &mut self,
        asker: Asker,
        request: FetchRequest,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        if self.finds_nothing(&request, image) {
            let moved = self.all_fetched(&request, image, env);
            self.watermarks_moved(moved, image, env);
            self.park_fetch(asker, request, env);
            return;
        }
        let mut result = self.read(&request, true, image, env);
        self.watermarks_moved(std::mem::take(&mut result.moved), image, env);
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

    fn park_fetch(&mut self, asker: Asker, request: FetchRequest, env: &mut Env<'_>) {
        let wait_ms = request.max_wait_ms;
        let delayed = Delayed::Fetch(DelayedFetch { asker, request });
        self.park(delayed, wait_ms, env);
    }

    fn watermarks_moved(&mut self, moved: Moved, image: &MetadataImage, env: &mut Env<'_>) {
        for (id, change) in moved {
            match change {
                Change::HighWatermark => self.high_watermark_moved(id, image, env),
                change => self.complete_delayed(id, change, image, env),
            }
        }
    }

    /// Whether a request that may wait asks for nothing but what is still to be written: most do, and
    /// for them no answer is made that would only be thrown away.
    fn finds_nothing(&self, request: &FetchRequest, image: &MetadataImage) -> bool {
        request.max_wait_ms > 0
            && request.min_bytes > 0
            && !request.topics.is_empty()
            && request.topics.iter().all(|(topic, asks)| {
                asks.iter().all(|ask| {
                    let id = TopicPartition::new(*topic, ask.partition);
                    self.replicas
                        .get(id)
                        .is_some_and(|r| is_at_end(&r.partition, ask, request, image))
                })
            })
    }

    /// A follower's fetch that finds nothing says all the same how far it is.
    fn all_fetched(
        &mut self,
        request: &FetchRequest,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) -> Moved {
        let mut all_moved = Moved::new();
        if request.replica_id < 0 {
            return all_moved;
        }
        let deletions = self.purgatory.has_deletions();
        for (topic, asks) in &request.topics {
            for ask in asks {
                let id = TopicPartition::new(*topic, ask.partition);
                let partition = &mut self.replicas.get_mut(id).expect("found above").partition;
                let upcalls = &mut self.upcalls;
                let moved =
                    follower_fetched(partition, ask, request, deletions, upcalls, image, env);
                if let Some(change) = moved.expect("its epoch was checked") {
                    all_moved.push((id, change));
                }
            }
        }
        all_moved
    }

    fn respond_fetch(&mut self, asker: Asker, result: ReadResult) {
        let response = FetchResponse {
            error: ErrorCode::None,
            topics: result.topics,
        };
        self.respond(asker, Response::Fetch(response));
    }

    /// Reads again, at the end of the wait.
    pub(super) fn answer_fetch(
        &mut self,
        fetch: DelayedFetch,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) {
        let result = self.read(&fetch.request, false, image, env);
        self.respond_fetch(fetch.asker, result);
    }

    fn read(
        &mut self,
        request: &FetchRequest,
        update_follower: bool,
        image: &MetadataImage,
        env: &mut Env<'_>,
    ) -> ReadResult {
        let mut result = ReadResult {
            topics: Vec::with_capacity(request.topics.len()),
            bytes: 0,
            answer_now: false,
            moved: Moved::new(),
        };
        let from_follower = request.replica_id >= 0;
        let deletions = self.purgatory.has_deletions();
        let cap = request.max_bytes.min(self.config.fetch_max_bytes);
        let mut budget = u64::try_from(cap).unwrap_or(0);
        for (topic, asks) in &request.topics {
            let mut reads = Items::with_capacity(asks.len());
            for ask in asks {
                let id = TopicPartition::new(*topic, ask.partition);
                let first = result.bytes == 0;
                // Filled in where it lies: it is large, and every fetch makes some.
                reads.push(failed(
                    ask.partition,
                    ErrorCode::None,
                    (NO_BROKER, NO_EPOCH),
                ));
                let read = reads.last_mut().expect("it was just pushed");
                let Some(replica) = self.replicas.get_mut(id) else {
                    let error = error_of_no_replica(id, image);
                    *read = failed(ask.partition, error, leader_hint(id, error, image));
                    result.answer_now = true;
                    continue;
                };
                let partition = &mut replica.partition;
                if let Err(error) =
                    read_partition(partition, ask, request, (budget, first), read, env.disk)
                {
                    if error == ErrorCode::KafkaStorageError {
                        self.log_directory_failed(DiskError::Io, env);
                    }
                    *read = failed(ask.partition, error, leader_hint(id, error, image));
                } else if update_follower && from_follower && read.diverging_epoch.is_none() {
                    let upcalls = &mut self.upcalls;
                    match follower_fetched(partition, ask, request, deletions, upcalls, image, env)
                    {
                        Ok(Some(change)) => result.moved.push((id, change)),
                        Ok(None) => {}
                        Err(error) => *read = failed(ask.partition, error, (NO_BROKER, NO_EPOCH)),
                    }
                }
                let len = read.records.len() as u64;
                result.bytes += len;
                budget = budget.saturating_sub(len);
                // A consumer whose position lies beyond the high watermark of a new leader does not wait
                // either (`DelayedFetch.tryComplete`, case F).
                let beyond = !from_follower
                    && ask.fetch_offset > read.high_watermark
                    && self.bug != Some(Bug::ReadPastHighWatermark);
                result.answer_now |=
                    !read.error.is_none() || read.diverging_epoch.is_some() || beyond;
            }
            result.topics.push((*topic, reads));
        }
        result
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

/// `Partition.updateFollowerFetchState`; asks for what follows from it. Answers which watermark moved; the
/// low one is looked at only where `deletions` wait for it.
fn follower_fetched(
    partition: &mut Partition,
    ask: &FetchPartition,
    request: &FetchRequest,
    deletions: bool,
    upcalls: &mut Vec<Upcall>,
    image: &MetadataImage,
    env: &mut Env<'_>,
) -> Result<Option<Change>, ErrorCode> {
    let had_proposal = partition.pending().is_some();
    let low_before = deletions.then(|| partition.low_watermark(image));
    let high_moved = partition.update_follower(
        request.replica_id,
        request.replica_epoch,
        ask.fetch_offset,
        ask.log_start_offset,
        image,
        env,
    )?;
    if !had_proposal && partition.pending().is_some() {
        upcalls.push(Upcall::ProposeIsr(partition.id));
    }
    if high_moved {
        return Ok(Some(Change::HighWatermark));
    }
    let low_moved = low_before.is_some_and(|before| partition.low_watermark(image) > before);
    Ok(low_moved.then_some(Change::LowWatermark))
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
/// what it may read.
fn is_at_end(
    partition: &Partition,
    ask: &FetchPartition,
    request: &FetchRequest,
    image: &MetadataImage,
) -> bool {
    let from_follower = request.replica_id >= 0;
    let log = &partition.log;
    let end = readable_end(partition, from_follower);
    if ask.fetch_offset != end
        || end < log.log_start_offset()
        || check_epoch(partition, ask, from_follower).is_err()
    {
        return false;
    }
    if !from_follower {
        return true;
    }
    matches!(parted(partition, ask), Ok(None))
        && partition.has_remote(request.replica_id)
        && !partition.is_of_former_process(request.replica_id, request.replica_epoch, image)
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
    let mut available = 0u64;
    for (topic, partitions) in &request.topics {
        for ask in partitions {
            let Some(replica) = replicas.get(TopicPartition::new(*topic, ask.partition)) else {
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
            let limit = u64::try_from(ask.partition_max_bytes).unwrap_or(0);
            available += bytes_between(log, ask.fetch_offset, end).min(limit);
            if from_follower && !matches!(parted(partition, ask), Ok(None)) {
                return true;
            }
        }
    }
    available >= request.min_bytes.max(0) as u64
}

/// Why a partition that a request names is not read or written here.
pub(super) fn error_of_no_replica(id: TopicPartition, image: &MetadataImage) -> ErrorCode {
    if image.topic(id.topic).is_none() {
        ErrorCode::UnknownTopicId
    } else if image.partition(id).is_none() {
        ErrorCode::UnknownTopicOrPartition
    } else {
        ErrorCode::NotLeaderOrFollower
    }
}

fn leader_hint(
    id: TopicPartition,
    error: ErrorCode,
    image: &MetadataImage,
) -> (BrokerId, LeaderEpoch) {
    match image.partition(id) {
        Some(state)
            if matches!(
                error,
                ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch
            ) =>
        {
            (state.leader, state.leader_epoch)
        }
        _ => (NO_BROKER, NO_EPOCH),
    }
}

/// `Partition.fetchRecords` and `readRecords`. `budget` is what the answer may still take, and whether
/// nothing was read for it yet.
fn read_partition(
    partition: &Partition,
    ask: &FetchPartition,
    request: &FetchRequest,
    (budget, first): (u64, bool),
    result: &mut FetchPartitionResult,
    disk: &dyn Disk,
) -> Result<(), ErrorCode> {
    let from_follower = request.replica_id >= 0;
    check_epoch(partition, ask, from_follower)?;
    if from_follower && !partition.has_remote(request.replica_id) {
        return Err(ErrorCode::UnknownLeaderEpoch);
    }
    let log = &partition.log;
    result.high_watermark = log.high_watermark;
    result.last_stable_offset = log.high_watermark;
    result.log_start_offset = log.log_start_offset();
    if from_follower {
        result.diverging_epoch = parted(partition, ask)?;
        if result.diverging_epoch.is_some() {
            return Ok(());
        }
    }
    let upper_bound = readable_end(partition, from_follower);
    let limit = budget.min(u64::try_from(ask.partition_max_bytes).unwrap_or(0)) as i32;
    match log.read(ask.fetch_offset, limit, upper_bound, disk, first) {
        Ok(records) => result.records = records,
        Err(ReadError::OffsetOutOfRange { .. }) => return Err(ErrorCode::OffsetOutOfRange),
        Err(ReadError::Corrupt { .. }) => return Err(ErrorCode::CorruptMessage),
        Err(ReadError::Disk(_)) => return Err(ErrorCode::KafkaStorageError),
    }
    Ok(())
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
