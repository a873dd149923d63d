//! Reading: Kafka's `Fetcher` (`AbstractFetch`), `FetchBuffer`, `CompletedFetch`, `FetchCollector`.
//!
//! One Fetch per leader at a time, for its partitions that have a valid position, and none to a leader
//! one of whose partitions has something buffered. Answers wait in a buffer as they came; errors, checksums and the position are looked at
//! when a poll takes records out, and only then does the position move.
//!
//! NOT modelled: fetch sessions (KIP-227; every request names all its partitions, which is what a
//! session amounts to), fetching from followers, transactions (the broker is asked for
//! `isolation_level`, aborted records are not filtered), deserializers.

use super::by_node::ByNode;
use super::subscription::{FetchPosition, PartitionId, PartitionState};
use super::{Consumer, Tag};
use crate::env::Env;
use crate::fact::PositionResetReason;
use crate::ids::*;
use crate::log::batch::{BatchHeader, records};
use crate::log::record::{Record, Records};
use crate::time::millis;
use crate::wire::{
    ErrorCode, FetchPartition, FetchPartitionResult, FetchRequest, Request, Response,
};

use super::super::network::{Link, Outcome};
use super::super::{ClientError, ConsumerRecord};
use crate::config::AutoOffsetReset;
use bytes::Bytes;
use smallvec::SmallVec;

/// What a Fetch in flight asked for.
#[derive(Debug)]
pub(super) struct FetchTag {
    pub node: NodeId,
    partitions: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    topic_id: TopicId,
    partition: i32,
    id: PartitionId,
    fetch_offset: Offset,
}

/// `CompletedFetch`: one partition's part of an answer.
#[derive(Debug)]
pub(super) struct CompletedFetch {
    id: PartitionId,
    error: ErrorCode,
    next_fetch_offset: Offset,
    /// Batches that were not begun yet.
    batches: Bytes,
    /// The batch that was begun last: the offset behind it, and whether it holds markers.
    batch: Option<(Offset, bool)>,
    /// What is left of it.
    records: Option<Records>,
    last_epoch: Option<LeaderEpoch>,
    consumed: bool,
    /// The next record cannot be read: every poll fails here from now on.
    corrupt: bool,
    records_read: usize,
    /// How many records the batch that was begun last says that it has.
    records_in_batch: usize,
}

/// What a poll takes out of the buffer: `Fetch`.
#[derive(Debug, Default)]
pub(super) struct Fetch {
    pub records: Vec<ConsumerRecord>,
    /// A position moved, perhaps past batches without records.
    pub position_advanced: bool,
}

impl Fetch {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && !self.position_advanced
    }
}

impl CompletedFetch {
    fn new(asked: &Asked, data: FetchPartitionResult) -> CompletedFetch {
        CompletedFetch {
            id: asked.id,
            error: data.error,
            next_fetch_offset: asked.fetch_offset,
            batches: data.records,
            batch: None,
            records: None,
            last_epoch: None,
            consumed: false,
            corrupt: false,
            records_read: 0,
            records_in_batch: 0,
        }
    }

    /// `CompletedFetch.nextFetchedRecord`. `None` at the end, where the next offset is that after
    /// the last batch even if its last records were compacted away.
    fn next_record(&mut self, check_crcs: bool) -> Result<Option<Record>, ClientError> {
        let corrupt = |_| ClientError::Broker(ErrorCode::CorruptMessage);
        loop {
            let Some(records_left) = &mut self.records else {
                let Some(header) = BatchHeader::next(&self.batches).map_err(corrupt)? else {
                    if let Some((end, _)) = self.batch {
                        self.next_fetch_offset = end;
                    }
                    self.consumed = true;
                    return Ok(None);
                };
                let bytes = self.batches.split_to(header.size());
                let epoch = header.partition_leader_epoch;
                self.last_epoch = (epoch != NO_EPOCH).then_some(epoch);
                self.batch = Some((header.last_offset() + 1, header.is_control()));
                if check_crcs {
                    header.check_crc(&bytes).map_err(corrupt)?;
                }
                self.records_in_batch = usize::try_from(header.record_count).unwrap_or(0);
                self.records = Some(records(&bytes).map_err(corrupt)?);
                continue;
            };
            let Some(record) = records_left.next() else {
                self.records = None;
                continue;
            };
            let record = record.map_err(corrupt)?;
            if record.offset < self.next_fetch_offset {
                continue;
            }
            if self.batch.is_some_and(|(_, is_control)| is_control) {
                self.next_fetch_offset = record.offset + 1;
                continue;
            }
            return Ok(Some(record));
        }
    }

    /// `CompletedFetch.fetchRecords`: up to `max` records into `out`. An unreadable record fails
    /// only where it is the first; else the next poll meets it.
    fn fetch_records(
        &mut self,
        max: usize,
        check_crcs: bool,
        (topic, partition): (&TopicName, i32),
        out: &mut Vec<ConsumerRecord>,
    ) -> Result<(), ClientError> {
        let begin = out.len();
        if self.corrupt {
            return Err(ClientError::Broker(ErrorCode::CorruptMessage));
        }
        while out.len() - begin < max && !self.consumed {
            match self.next_record(check_crcs) {
                Ok(None) => break,
                Ok(Some(record)) => {
                    self.next_fetch_offset = record.offset + 1;
                    self.records_read += 1;
                    if out.capacity() == 0 {
                        // Mostly it is all that the poll returns.
                        out.reserve_exact(self.records_in_batch.clamp(1, max));
                    }
                    out.push(ConsumerRecord {
                        topic: topic.clone(),
                        partition,
                        offset: record.offset,
                        leader_epoch: self.last_epoch.unwrap_or(NO_EPOCH),
                        timestamp: record.timestamp,
                        key: record.key,
                        value: record.value.unwrap_or_default(),
                    });
                }
                Err(error) => {
                    self.corrupt = true;
                    if out.len() == begin {
                        return Err(error);
                    }
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Consumer {
    /// `ClassicKafkaConsumer.sendFetches` and `AbstractFetch.prepareFetchRequests`.
    ///
    /// An answer with an error is followed by the next question at once, as seen of Kafka 4.3.1: while a
    /// partition has no leader, its consumer asks the former one again and again, round trip after
    /// round trip. Metadata without a leader leaves the position where it was.
    pub(super) fn send_fetches(&mut self, env: &mut Env<'_>) {
        self.validate_positions_on_metadata_change();
        let is_fetchable = |p: &PartitionState| p.has_valid_position() && !self.is_buffered(p.id);
        if !self.subscriptions.iter().any(is_fetchable) {
            return;
        }
        let buffered_nodes = self.buffered_nodes();
        let mut requests = ByNode::new();
        for partition in self.subscriptions.in_fetch_order() {
            if !partition.has_valid_position() || self.is_buffered(partition.id) {
                continue;
            }
            let position = partition.position.expect("valid without a position");
            // A topic that the metadata has lost is fetched by its name (AbstractFetch.createFetchRequest,
            // version 12). Here the id that it had stands for the name.
            let topic_id = self.network.metadata.last_topic_id(&partition.topic);
            let (Some(node), Some(topic_id)) = (position.current_leader.leader, topic_id) else {
                self.network.metadata.request_update(false);
                continue;
            };
            let link = Link::Data(node);
            if self.network.is_unavailable(link, env.now) {
                // Nothing is sent within the reconnect back-off; this asks to be called after it.
                self.network.try_connect(link, env);
                continue;
            }
            if self.nodes_with_pending_fetch.contains(&node) || buffered_nodes.contains(&node) {
                continue;
            }
            let data = FetchPartition {
                partition: partition.partition,
                current_leader_epoch: position.current_leader.epoch.unwrap_or(NO_EPOCH),
                fetch_offset: position.offset,
                last_fetched_epoch: NO_EPOCH,
                log_start_offset: -1,
                partition_max_bytes: self.config.max_partition_fetch_bytes,
            };
            let asked = Asked {
                topic_id,
                partition: partition.partition,
                id: partition.id,
                fetch_offset: position.offset,
            };
            requests.push(node, &topic_id, asked, data);
        }
        if requests.is_empty() {
            return;
        }
        for to in requests.drain() {
            let node = to.node;
            self.nodes_with_pending_fetch.push(node);
            let request = Request::Fetch(FetchRequest {
                replica_id: CONSUMER_REPLICA,
                replica_epoch: -1,
                max_wait_ms: i32::try_from(self.config.fetch_max_wait_ms).unwrap_or(i32::MAX),
                min_bytes: self.config.fetch_min_bytes,
                max_bytes: self.config.fetch_max_bytes,
                isolation_level: i8::from(self.config.read_committed),
                topics: to.topics,
            });
            let partitions = to.asked;
            let tag = Tag::Fetch(FetchTag { node, partitions });
            self.enqueue(Link::Data(node), request, tag, env);
        }
    }

    /// `FetchBuffer.bufferedPartitions`.
    fn is_buffered(&self, id: PartitionId) -> bool {
        self.next_in_line
            .as_ref()
            .is_some_and(|fetch| fetch.id == id && !fetch.consumed)
            || self.fetch_buffer.iter().any(|fetch| fetch.id == id)
    }

    /// `AbstractFetch.bufferedNodes`: the leaders of buffered partitions. A Fetch to one of them would leave
    /// those out, and the fetch session would forget them.
    fn buffered_nodes(&mut self) -> SmallVec<[NodeId; 4]> {
        let mut nodes = SmallVec::new();
        let next = self.next_in_line.iter().filter(|f| !f.consumed);
        for fetch in next.chain(&self.fetch_buffer) {
            let partition = self.subscriptions.get(fetch.id);
            let Some(position) = partition
                .filter(|p| p.has_valid_position())
                .and_then(|p| p.position)
            else {
                continue;
            };
            match position.current_leader.leader {
                Some(node) => nodes.push(node),
                None => self.network.metadata.request_update(false),
            }
        }
        nodes
    }

    /// Whether there is anything for [`Self::collect_fetch`] to look at.
    pub(super) fn has_answers(&self) -> bool {
        !self.fetch_buffer.is_empty() || self.next_in_line.as_ref().is_some_and(|f| !f.consumed)
    }

    /// `FetchBuffer.retainAll`.
    pub(super) fn drop_unassigned_fetches(&mut self) {
        let subscriptions = &self.subscriptions;
        let assigned = |fetch: &CompletedFetch| subscriptions.get(fetch.id).is_some();
        self.fetch_buffer.retain(|fetch| assigned(fetch));
        self.next_in_line = self.next_in_line.take().filter(|f| assigned(f));
    }

    /// `AbstractFetch.handleFetchSuccess` and `handleFetchFailure`.
    pub(super) fn handle_fetch(&mut self, tag: FetchTag, outcome: Outcome) {
        self.nodes_with_pending_fetch.retain(|n| *n != tag.node);
        let Outcome::Response(Response::Fetch(response)) = outcome else {
            return;
        };
        if !response.error.is_none() {
            // FetchSessionHandler.handleResponse drops such an answer.
            if response.error.is_invalid_metadata() {
                self.network.metadata.request_update(false);
            }
            return;
        }
        for (topic_id, results) in response.topics {
            for result in results {
                let asked = tag
                    .partitions
                    .iter()
                    .find(|a| a.topic_id == topic_id && a.partition == result.partition)
                    .unwrap_or_else(|| panic!("Fetch answered {result:?}, which nobody asked"));
                if matches!(
                    result.error,
                    ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch
                ) {
                    self.apply_leader_hint(asked.id, &result, &response.node_endpoints);
                }
                let fetch = CompletedFetch::new(asked, result);
                // One that was read to its end counts for nothing; its place is used again.
                let fetch = match self.next_in_line.take_if(|f| f.consumed) {
                    Some(mut place) => {
                        *place = fetch;
                        place
                    }
                    None => Box::new(fetch),
                };
                self.fetch_buffer.push_back(fetch);
            }
        }
    }

    /// KIP-951: the answer names another leader.
    #[cold]
    fn apply_leader_hint(
        &mut self,
        id: PartitionId,
        result: &FetchPartitionResult,
        endpoints: &[BrokerId],
    ) {
        let Some(partition) = self.subscriptions.get_mut(id) else {
            return;
        };
        let metadata = &mut self.network.metadata;
        let (topic, index) = (partition.topic.clone(), partition.partition);
        if metadata.update_partition_leadership(&topic, index, result.current_leader, endpoints) {
            partition.maybe_validate_position(metadata.current_leader(&topic, index));
        }
    }

    /// `FetchCollector.collectFetch`: up to `max.poll.records`, the first error only where nothing
    /// was collected before it.
    pub(super) fn collect_fetch(&mut self) -> Result<Fetch, ClientError> {
        let mut fetch = Fetch::default();
        let max = usize::try_from(self.config.max_poll_records).unwrap_or(0);
        while fetch.records.len() < max {
            let result = match self.next_in_line.take().filter(|f| !f.consumed) {
                Some(next) => self.fetch_records(next, max - fetch.records.len(), &mut fetch),
                None => {
                    let Some(completed) = self.fetch_buffer.pop_front() else {
                        break;
                    };
                    self.initialize(completed, fetch.is_empty())
                }
            };
            if let Err(error) = result {
                if fetch.is_empty() {
                    return Err(error);
                }
                break;
            }
        }
        Ok(fetch)
    }

    /// `FetchCollector.fetchRecords`.
    fn fetch_records(
        &mut self,
        mut next: Box<CompletedFetch>,
        max: usize,
        fetch: &mut Fetch,
    ) -> Result<(), ClientError> {
        let Some(partition) = self.subscriptions.get_mut(next.id) else {
            return Ok(());
        };
        let position = match partition
            .position
            .filter(|_| partition.has_valid_position())
        {
            Some(position) if position.offset == next.next_fetch_offset => position,
            // From an obsolete request, or the partition is being reset or validated.
            _ => return Ok(()),
        };
        let name = (&partition.topic, partition.partition);
        let result = next.fetch_records(max, self.config.check_crcs, name, &mut fetch.records);
        if next.next_fetch_offset > position.offset {
            partition.position = Some(FetchPosition {
                offset: next.next_fetch_offset,
                offset_epoch: next.last_epoch,
                current_leader: position.current_leader,
            });
            fetch.position_advanced = true;
        }
        if next.consumed && next.records_read > 0 {
            self.subscriptions.move_to_end(next.id);
        }
        self.next_in_line = Some(next);
        result
    }

    /// `FetchCollector.initialize`. An error stays in the buffer where records came before it, so
    /// that the next poll meets it.
    fn initialize(&mut self, fetch: Box<CompletedFetch>, first: bool) -> Result<(), ClientError> {
        let Some(partition) = self.subscriptions.get(fetch.id) else {
            return Ok(());
        };
        let (Some(position), true) = (partition.position, partition.has_valid_position()) else {
            return Ok(());
        };
        let id = fetch.id;
        if fetch.error.is_none() {
            if position.offset == fetch.next_fetch_offset {
                let has_bytes = !fetch.batches.is_empty();
                if has_bytes && matches!(BatchHeader::next(&fetch.batches), Ok(None)) {
                    // FetchCollector: "failed to make progress", not a single whole batch. It stays in
                    // the buffer, so that every poll fails here.
                    self.fetch_buffer.push_front(fetch);
                    return Err(ClientError::Broker(ErrorCode::CorruptMessage));
                }
                self.next_in_line = Some(fetch);
            }
            return Ok(());
        }
        let result = self.handle_fetch_error(&fetch, position);
        self.subscriptions.move_to_end(id);
        if result.is_err() && !first {
            self.fetch_buffer.push_front(fetch);
        }
        result
    }

    /// `FetchCollector.handleInitializeErrors`.
    #[cold]
    fn handle_fetch_error(
        &mut self,
        fetch: &CompletedFetch,
        position: FetchPosition,
    ) -> Result<(), ClientError> {
        match fetch.error {
            ErrorCode::NotLeaderOrFollower
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::KafkaStorageError
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::OffsetNotAvailable
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId => {
                self.network.metadata.request_update(false);
                Ok(())
            }
            ErrorCode::OffsetOutOfRange if fetch.next_fetch_offset != position.offset => Ok(()),
            ErrorCode::OffsetOutOfRange => {
                if self.config.auto_offset_reset == AutoOffsetReset::None {
                    return Err(ClientError::OffsetOutOfRange);
                }
                let partition = self.subscriptions.get_mut(fetch.id).expect("assigned");
                partition.reset(PositionResetReason::OutOfRange);
                Ok(())
            }
            // The broker does not know the epoch yet, or met something odd: fetched again.
            ErrorCode::UnknownLeaderEpoch | ErrorCode::UnknownServerError => Ok(()),
            error => Err(ClientError::Broker(error)),
        }
    }

    /// `request.timeout.ms` in nanoseconds.
    pub(super) fn request_timeout(&self) -> u64 {
        millis(self.config.request_timeout_ms)
    }
}
