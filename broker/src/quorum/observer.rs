//! A broker's view of the metadata log: a Raft observer that fetches from the active controller.
//!
//! Not modelled: the broker's own copy of the metadata log and its snapshots; a started broker reads
//! it anew, and applies it as a whole before it serves requests, as Kafka's `MetadataLoader` does.

use crate::channel::Channel;
use crate::controller::MetadataRecord;
use crate::env::{ConnId, Env, TimerToken};
use crate::ids::*;
use crate::quorum::decode_batches;
use crate::time::{MILLIS, Nanos};
use crate::wire::*;
use smallvec::smallvec;

/// `KafkaRaftClient.MAX_FETCH_WAIT_MS`.
const FETCH_WAIT_MS: i32 = 500;
/// `controller.quorum.request.timeout.ms`.
const REQUEST_TIMEOUT: Nanos = 2_000 * MILLIS;
/// `controller.quorum.retry.backoff.ms`.
const RETRY: Nanos = 20 * MILLIS;
/// `KafkaRaftClient.MAX_FETCH_SIZE_BYTES`.
const MAX_BYTES: i32 = 8 * 1024 * 1024;

/// Fetches the metadata log.
#[derive(Debug)]
pub struct Observer {
    broker: BrokerId,
    channel: Channel,
    timer: TimerToken,
    /// The next offset to fetch, and the epoch of the batch before it.
    next_offset: Offset,
    last_epoch: LeaderEpoch,
}

impl Observer {
    /// From the beginning of the log.
    pub fn new(
        broker: BrokerId,
        controller: NodeId,
        channel_timer: TimerToken,
        timer: TimerToken,
    ) -> Self {
        Observer {
            broker,
            channel: Channel::new(controller, channel_timer),
            timer,
            next_offset: 0,
            last_epoch: NO_EPOCH,
        }
    }

    /// Whether this connection is the observer's.
    pub fn owns(&self, conn: ConnId) -> bool {
        self.channel.owns(conn)
    }

    /// Sends the next fetch, if none is under way.
    pub fn fetch(&mut self, env: &mut Env<'_>) {
        if self.channel.is_busy() {
            return;
        }
        let ask = FetchPartition {
            partition: 0,
            current_leader_epoch: NO_EPOCH,
            fetch_offset: self.next_offset,
            last_fetched_epoch: self.last_epoch,
            log_start_offset: 0,
            partition_max_bytes: MAX_BYTES,
        };
        let request = FetchRequest {
            replica_id: self.broker,
            replica_epoch: -1,
            max_wait_ms: FETCH_WAIT_MS,
            min_bytes: 1,
            max_bytes: MAX_BYTES,
            isolation_level: 0,
            topics: vec![(TopicId::METADATA, smallvec![ask])],
        };
        self.channel
            .send(Request::Fetch(request), REQUEST_TIMEOUT, env);
    }

    /// The channel's timer fired.
    pub fn on_channel_timer(&mut self, env: &mut Env<'_>) {
        if self.channel.on_timer(env) {
            env.timer_in(RETRY, self.timer);
        }
    }

    /// The channel is connected.
    pub fn on_connected(&mut self, env: &mut Env<'_>) {
        self.channel.on_connected(env);
    }

    /// The channel's connection is gone.
    pub fn on_closed(&mut self, env: &mut Env<'_>) {
        if self.channel.on_closed(env) {
            env.timer_in(RETRY, self.timer);
        }
    }

    /// The controller answered: its new records with their offsets, possibly none.
    ///
    /// # Panics
    /// Where the records cannot be read: they come from this build's controller, over a transport
    /// that keeps bytes as they are.
    pub fn on_response(
        &mut self,
        correlation: i32,
        response: Response,
        env: &mut Env<'_>,
    ) -> Vec<(Offset, MetadataRecord)> {
        if !self.channel.on_response(correlation) {
            return Vec::new();
        }
        let Response::Fetch(response) = response else {
            panic!("a metadata fetch was answered by {:?}", response.api());
        };
        let results = response.topics.into_iter().flat_map(|(_, results)| results);
        match results.into_iter().next() {
            Some(result) if response.error.is_none() && result.error.is_none() => {
                assert!(
                    result.diverging_epoch.is_none(),
                    "the only voter never truncates"
                );
                let decoded = decode_batches(&result.records)
                    .unwrap_or_else(|e| panic!("broker {} reads the metadata: {e}", self.broker));
                if let Some((next, epoch)) = decoded.end {
                    (self.next_offset, self.last_epoch) = (next, epoch);
                }
                decoded.records
            }
            _ => {
                env.timer_in(RETRY, self.timer);
                Vec::new()
            }
        }
    }
}
