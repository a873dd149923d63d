//! Copying from a leader: `AbstractFetcherThread` and `ReplicaFetcherThread`.
//!
//! One fetcher a leader. It sends one request at a time and handles the answer partition by
//! partition. Where the leader finds that the logs have parted (KIP-595, from the epoch of the
//! follower's last record) the follower truncates to the common point and fetches again from there.
//! Not modelled: several fetcher threads a leader (`num.replica.fetchers` > 1), throttling, the
//! OffsetForLeaderEpoch round of brokers before 2.7.

use crate::bug::Bug;
use crate::channel::Channel;
use crate::ids::*;
use crate::replica::partition::Partition;
use crate::sorted_map::SortedMap;
use crate::time::Nanos;
use crate::wire::{ByTopicId, FetchPartition, Response};

/// `PartitionFetchState`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchState {
    /// The leader epoch that it fetches in.
    pub leader_epoch: LeaderEpoch,
    /// The next offset to ask for.
    pub fetch_offset: Offset,
    /// Epoch of the last record in the log, -1 for an empty one.
    pub last_fetched_epoch: LeaderEpoch,
    /// Not before this instant (`replica.fetch.backoff.ms` after an error).
    pub delayed_until: Nanos,
}

impl FetchState {
    /// Whether the answer to `ask` is for the partition as it is now: not removed and added again in
    /// another epoch, nor truncated meanwhile.
    pub fn is_asked_for(&self, ask: &FetchPartition, bug: Option<Bug>) -> bool {
        let offset = self.fetch_offset == ask.fetch_offset;
        let epoch = self.leader_epoch == ask.current_leader_epoch;
        match bug {
            // Before the epoch was compared too (KAFKA-18991) the offset was all that told.
            Some(Bug::LateFetchResponseOffset) => true,
            Some(Bug::LateFetchResponseEpoch) => offset,
            _ => offset && epoch,
        }
    }
}

/// What a fetcher is waiting for.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// Nothing: idle, or backing off.
    Nothing,
    /// A Fetch of these partitions.
    Fetch(Vec<(TopicPartition, FetchPartition)>),
    /// Nothing more: the response is here and being handled.
    Processing,
    /// The leader's log end, then its log start, after OFFSET_OUT_OF_RANGE (`fetchOffsetAndTruncate`).
    LeaderEnd(TopicPartition),
    /// The leader's log start, its log end being known.
    LeaderStart(TopicPartition, Offset),
}

impl Asked {
    /// Whether the fetcher is in the middle of a response. It asks the leader for its log end and start
    /// without leaving it (`AbstractFetcherThread.handleOutOfRangeError`, called by
    /// `processFetchRequest` inside `partitionMapLock`), so that both answers are of the epoch that the
    /// response is of, and no role changes in between.
    pub fn is_in_a_response(&self) -> bool {
        !matches!(self, Asked::Nothing | Asked::Fetch(_))
    }
}

/// Copies from one leader.
#[derive(Debug)]
pub struct Fetcher {
    /// The leader.
    pub leader: BrokerId,
    /// The connection to it.
    pub channel: Channel,
    /// What it copies.
    pub partitions: SortedMap<TopicPartition, FetchState>,
    /// What it is waiting for.
    pub asked: Asked,
    /// What `asked` lists next time; empty, kept to spare an allocation.
    pub spare: Vec<(TopicPartition, FetchPartition)>,
    /// Partitions whose offset was out of range, to be asked about one by one.
    pub out_of_range: Vec<TopicPartition>,
    /// The answer that waits for its turn.
    pub response: Option<Box<Response>>,
    /// A timer is set for the end of a back-off.
    pub wake_at: Option<Nanos>,
}

impl Fetcher {
    /// A fetcher without partitions.
    pub fn new(leader: BrokerId, channel: Channel) -> Fetcher {
        Fetcher {
            leader,
            channel,
            partitions: SortedMap::new(),
            asked: Asked::Nothing,
            spare: Vec::new(),
            out_of_range: Vec::new(),
            response: None,
            wake_at: None,
        }
    }

    /// `partitionFetchState` under truncation on fetch: it starts at the log end with the epoch of the
    /// last record. An empty epoch cache starts at the high watermark (`initialFetchOffset`).
    pub fn add(&mut self, partition: &Partition) {
        let state = initial_state(partition);
        match self.partitions.get(partition.id) {
            Some(present) if present.leader_epoch == state.leader_epoch => {}
            _ => {
                self.partitions.insert(partition.id, state);
            }
        }
    }

    /// The partitions to ask for now, in order: into `asked`, which is empty, and as a request names them.
    pub fn ready(
        &self,
        now: Nanos,
        mut log_start: impl FnMut(TopicPartition) -> Offset,
        max_bytes: i32,
        asked: &mut Vec<(TopicPartition, FetchPartition)>,
    ) -> ByTopicId<FetchPartition> {
        for (id, state) in self.partitions.iter() {
            if state.delayed_until > now || self.out_of_range.contains(&id) {
                continue;
            }
            let ask = FetchPartition {
                partition: id.partition,
                current_leader_epoch: state.leader_epoch,
                fetch_offset: state.fetch_offset,
                last_fetched_epoch: state.last_fetched_epoch,
                log_start_offset: log_start(id),
                partition_max_bytes: max_bytes,
            };
            asked.push((id, ask));
        }
        // Of the topic that is written, and of its readers' offsets.
        let mut topics: ByTopicId<FetchPartition> = Vec::with_capacity(2);
        for of_topic in asked.chunk_by(|(a, _), (b, _)| a.topic == b.topic) {
            let asks = of_topic.iter().map(|(_, ask)| *ask);
            topics.push((of_topic[0].0.topic, asks.collect()));
        }
        topics
    }

    /// The end of the earliest back-off.
    pub fn next_ready(&self) -> Option<Nanos> {
        self.partitions.values().map(|s| s.delayed_until).min()
    }
}

/// Where a follower starts to fetch.
pub fn initial_state(partition: &Partition) -> FetchState {
    let last_fetched_epoch = partition.log.latest_epoch().unwrap_or(NO_EPOCH);
    let fetch_offset = if last_fetched_epoch == NO_EPOCH {
        partition.log.high_watermark
    } else {
        partition.log.log_end_offset()
    };
    FetchState {
        leader_epoch: partition.leader_epoch(),
        fetch_offset,
        last_fetched_epoch,
        delayed_until: 0,
    }
}

/// `getOffsetTruncationState`: how far a follower cuts its log, given the largest epoch at the leader
/// that is not above its own last one, and where that ends there (KIP-101, KIP-279).
pub fn truncation_offset(
    partition: &Partition,
    leader_epoch: LeaderEpoch,
    leader_end: Offset,
) -> Offset {
    let log_end = partition.log.log_end_offset();
    match partition.log.end_offset_for_epoch(leader_epoch) {
        // The follower does not know the leader's epoch: back to the end of the largest one below it,
        // and ask again.
        Some((epoch, end)) if epoch != leader_epoch => end.min(log_end),
        Some((_, end)) => end.min(leader_end).min(log_end),
        None => leader_end.min(log_end),
    }
}
