//! A broker's view of the metadata log: a Raft observer that fetches from the active controller.
//!
//! Not modelled: the broker's own copy of the metadata log and its snapshots; a started broker reads
//! it anew, and applies it as a whole before it serves requests, as Kafka's `MetadataLoader` does.

use crate::channel::Channel;
use crate::env::{ConnId, Env, TimerToken};
use crate::ids::*;
use crate::time::{MILLIS, Nanos};
use crate::wire::*;
use bytes::Bytes;

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
    /// The next offset to fetch.
    next_offset: Offset,
}

impl Observer {
    /// From the beginning of the log.
    pub fn new(broker: BrokerId, controller: NodeId, channel_timer: TimerToken, timer: TimerToken) -> Self {
        Observer {
            broker,
            channel: Channel::new(controller, channel_timer),
            timer,
            next_offset: 0,
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
            last_fetched_epoch: NO_EPOCH,
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
            topics: vec![(TopicId::METADATA, vec![ask])],
        };
        self.channel.send(Request::Fetch(request), REQUEST_TIMEOUT, env);
    }

    /// The records up to `next` are taken over.
    pub fn advance(&mut self, next: Offset) {
        self.next_offset = next;
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

    /// The controller answered: its new records, possibly none.
    pub fn on_response(&mut self, correlation: i32, response: Response, env: &mut Env<'_>) -> Option<Bytes> {
        if !self.channel.on_response(correlation) {
            return None;
        }
        let Response::Fetch(response) = response else {
            panic!("a metadata fetch was answered by {:?}", response.api());
        };
        let result = response
            .topics
            .into_iter()
            .flat_map(|(_, results)| results)
            .next();
        match result {
            Some(result) if response.error.is_none() && result.error.is_none() => {
                Some(result.records)
            }
            _ => {
                env.timer_in(RETRY, self.timer);
                None
            }
        }
    }
}
