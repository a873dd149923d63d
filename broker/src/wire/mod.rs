//! Kafka's requests and responses as typed values.
//!
//! Between the nodes of the world these values travel as they are (`--wire typed`) or through
//! Kafka's own binary format (`--wire bytes`, [`codec`]); both give one trace, since bandwidth uses
//! [`Frame::encoded_size`], which equals the encoded length. Each API is spoken at one version, the
//! newest that both ends of the schema crate know. What these types leave out is what nothing in
//! the product reads: rack ids, throttle times, authorized operations, tagged fields.

pub mod codec;
mod error;
mod size;

pub use error::ErrorCode;

use crate::ids::*;
use bytes::Bytes;
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

/// A request or a response with its correlation id. It is handed on a dozen times between the code that
/// makes it and the code that reads it, and is small for that.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// From the side that connected.
    Request(i32, Box<Request>),
    /// From the side that accepted.
    Response(i32, Box<Response>),
}

impl Frame {
    /// A request frame.
    pub fn request(correlation: i32, request: Request) -> Frame {
        Frame::Request(correlation, Box::new(request))
    }

    /// A response frame.
    pub fn response(correlation: i32, response: Response) -> Frame {
        Frame::Response(correlation, Box::new(response))
    }
}

/// Kafka's API keys that the product speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
#[allow(missing_docs)] // Kafka's own names
pub enum ApiKey {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetCommit = 8,
    OffsetFetch = 9,
    FindCoordinator = 10,
    ApiVersions = 18,
    CreateTopics = 19,
    DeleteRecords = 21,
    InitProducerId = 22,
    OffsetForLeaderEpoch = 23,
    AlterPartition = 56,
    BrokerRegistration = 62,
    BrokerHeartbeat = 63,
    AllocateProducerIds = 67,
}

impl ApiKey {
    /// Every key, in order.
    pub const ALL: [ApiKey; 16] = [
        ApiKey::Produce,
        ApiKey::Fetch,
        ApiKey::ListOffsets,
        ApiKey::Metadata,
        ApiKey::OffsetCommit,
        ApiKey::OffsetFetch,
        ApiKey::FindCoordinator,
        ApiKey::ApiVersions,
        ApiKey::CreateTopics,
        ApiKey::DeleteRecords,
        ApiKey::InitProducerId,
        ApiKey::OffsetForLeaderEpoch,
        ApiKey::AlterPartition,
        ApiKey::BrokerRegistration,
        ApiKey::BrokerHeartbeat,
        ApiKey::AllocateProducerIds,
    ];

    /// The version spoken.
    pub fn version(self) -> i16 {
        match self {
            ApiKey::Produce => 13,
            ApiKey::Fetch => 17,
            ApiKey::ListOffsets => 10,
            ApiKey::Metadata => 13,
            ApiKey::OffsetCommit => 9,
            ApiKey::OffsetFetch => 9,
            ApiKey::FindCoordinator => 6,
            ApiKey::ApiVersions => 4,
            ApiKey::CreateTopics => 7,
            ApiKey::DeleteRecords => 2,
            ApiKey::InitProducerId => 5,
            ApiKey::OffsetForLeaderEpoch => 4,
            ApiKey::AlterPartition => 3,
            ApiKey::BrokerRegistration => 4,
            ApiKey::BrokerHeartbeat => 1,
            ApiKey::AllocateProducerIds => 0,
        }
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names are those of Kafka's APIs
pub enum Request {
    Produce(ProduceRequest),
    Fetch(FetchRequest),
    ListOffsets(ListOffsetsRequest),
    Metadata(MetadataRequest),
    OffsetCommit(OffsetCommitRequest),
    OffsetFetch(OffsetFetchRequest),
    FindCoordinator(FindCoordinatorRequest),
    ApiVersions(ApiVersionsRequest),
    CreateTopics(CreateTopicsRequest),
    DeleteRecords(DeleteRecordsRequest),
    InitProducerId(InitProducerIdRequest),
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest),
    AlterPartition(AlterPartitionRequest),
    BrokerRegistration(BrokerRegistrationRequest),
    BrokerHeartbeat(BrokerHeartbeatRequest),
    AllocateProducerIds(AllocateProducerIdsRequest),
}

/// A response.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the names are those of Kafka's APIs
pub enum Response {
    Produce(ProduceResponse),
    Fetch(FetchResponse),
    ListOffsets(ListOffsetsResponse),
    Metadata(MetadataResponse),
    OffsetCommit(OffsetCommitResponse),
    OffsetFetch(OffsetFetchResponse),
    FindCoordinator(FindCoordinatorResponse),
    ApiVersions(ApiVersionsResponse),
    CreateTopics(CreateTopicsResponse),
    DeleteRecords(DeleteRecordsResponse),
    InitProducerId(InitProducerIdResponse),
    OffsetForLeaderEpoch(OffsetForLeaderEpochResponse),
    AlterPartition(AlterPartitionResponse),
    BrokerRegistration(BrokerRegistrationResponse),
    BrokerHeartbeat(BrokerHeartbeatResponse),
    AllocateProducerIds(AllocateProducerIdsResponse),
}

impl Request {
    /// Which API.
    pub fn api(&self) -> ApiKey {
        match self {
            Request::Produce(_) => ApiKey::Produce,
            Request::Fetch(_) => ApiKey::Fetch,
            Request::ListOffsets(_) => ApiKey::ListOffsets,
            Request::Metadata(_) => ApiKey::Metadata,
            Request::OffsetCommit(_) => ApiKey::OffsetCommit,
            Request::OffsetFetch(_) => ApiKey::OffsetFetch,
            Request::FindCoordinator(_) => ApiKey::FindCoordinator,
            Request::ApiVersions(_) => ApiKey::ApiVersions,
            Request::CreateTopics(_) => ApiKey::CreateTopics,
            Request::DeleteRecords(_) => ApiKey::DeleteRecords,
            Request::InitProducerId(_) => ApiKey::InitProducerId,
            Request::OffsetForLeaderEpoch(_) => ApiKey::OffsetForLeaderEpoch,
            Request::AlterPartition(_) => ApiKey::AlterPartition,
            Request::BrokerRegistration(_) => ApiKey::BrokerRegistration,
            Request::BrokerHeartbeat(_) => ApiKey::BrokerHeartbeat,
            Request::AllocateProducerIds(_) => ApiKey::AllocateProducerIds,
        }
    }
}

impl Response {
    /// Which API.
    pub fn api(&self) -> ApiKey {
        match self {
            Response::Produce(_) => ApiKey::Produce,
            Response::Fetch(_) => ApiKey::Fetch,
            Response::ListOffsets(_) => ApiKey::ListOffsets,
            Response::Metadata(_) => ApiKey::Metadata,
            Response::OffsetCommit(_) => ApiKey::OffsetCommit,
            Response::OffsetFetch(_) => ApiKey::OffsetFetch,
            Response::FindCoordinator(_) => ApiKey::FindCoordinator,
            Response::ApiVersions(_) => ApiKey::ApiVersions,
            Response::CreateTopics(_) => ApiKey::CreateTopics,
            Response::DeleteRecords(_) => ApiKey::DeleteRecords,
            Response::InitProducerId(_) => ApiKey::InitProducerId,
            Response::OffsetForLeaderEpoch(_) => ApiKey::OffsetForLeaderEpoch,
            Response::AlterPartition(_) => ApiKey::AlterPartition,
            Response::BrokerRegistration(_) => ApiKey::BrokerRegistration,
            Response::BrokerHeartbeat(_) => ApiKey::BrokerHeartbeat,
            Response::AllocateProducerIds(_) => ApiKey::AllocateProducerIds,
        }
    }
}

/// Items of one topic's partitions. Most requests concern one partition of a topic, which costs no
/// allocation.
pub type Items<T> = SmallVec<[T; 1]>;
/// Items grouped by topic, in the order of the request.
pub type ByTopicId<T> = Vec<(TopicId, Items<T>)>;
/// Items grouped by topic name.
pub type ByTopicName<T> = Vec<(TopicName, Items<T>)>;

/// Adds an item to those of its topic.
pub fn push_by_topic<K: Clone + PartialEq, T>(topics: &mut Vec<(K, Items<T>)>, topic: &K, item: T) {
    match topics.iter_mut().find(|(known, _)| known == topic) {
        Some((_, items)) => items.push(item),
        None => topics.push((topic.clone(), smallvec![item])),
    }
}

/// Produce.
#[derive(Debug, Clone, PartialEq)]
pub struct ProduceRequest {
    /// 0, 1 or -1 (all).
    pub acks: i16,
    /// How long the leader may wait for the ISR (`request.timeout.ms`).
    pub timeout_ms: i32,
    /// What to append, grouped by topic.
    pub topics: ByTopicId<ProducePartition>,
}

/// One partition's records in a Produce.
#[derive(Debug, Clone, PartialEq)]
pub struct ProducePartition {
    /// Partition index.
    pub partition: i32,
    /// One record batch v2.
    pub records: Bytes,
}

/// Answer to Produce; none is sent for acks=0.
#[derive(Debug, Clone, PartialEq)]
pub struct ProduceResponse {
    /// Results, grouped as in the request.
    pub topics: ByTopicId<ProducePartitionResult>,
    /// The leaders named there that are alive: the answer says where to find them (KIP-951).
    pub node_endpoints: Vec<BrokerId>,
}

/// One partition's result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProducePartitionResult {
    /// Partition index.
    pub partition: i32,
    /// The outcome.
    pub error: ErrorCode,
    /// Offset of the first record; -1 on errors.
    pub base_offset: Offset,
    /// Start of the log; -1 on errors.
    pub log_start_offset: Offset,
    /// KIP-951: leader and epoch where the error says that the leader is another; else -1, -1.
    pub current_leader: (BrokerId, LeaderEpoch),
}

/// Fetch, by a consumer or by a replica.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchRequest {
    /// -1 for consumers, else the follower's broker id.
    pub replica_id: BrokerId,
    /// The follower's broker epoch (KIP-903); -1 for consumers.
    pub replica_epoch: BrokerEpoch,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// Answer at once when that much is there.
    pub min_bytes: i32,
    /// Bound on the whole answer.
    pub max_bytes: i32,
    /// 0 = read_uncommitted, 1 = read_committed.
    pub isolation_level: i8,
    /// What to read.
    pub topics: ByTopicId<FetchPartition>,
}

/// One partition to fetch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FetchPartition {
    /// Partition index.
    pub partition: i32,
    /// The leader epoch that the reader believes in; -1 unknown.
    pub current_leader_epoch: LeaderEpoch,
    /// First offset wanted; from a follower also the acknowledgement of everything below.
    pub fetch_offset: Offset,
    /// Epoch of the follower's last record (KIP-595 truncation); -1 for consumers.
    pub last_fetched_epoch: LeaderEpoch,
    /// The follower's log start; -1 for consumers.
    pub log_start_offset: Offset,
    /// Bound on this partition's bytes.
    pub partition_max_bytes: i32,
}

/// Answer to Fetch.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchResponse {
    /// For the whole request.
    pub error: ErrorCode,
    /// Results, grouped as in the request.
    pub topics: ByTopicId<FetchPartitionResult>,
    /// The leaders named there that are alive: the answer says where to find them (KIP-951).
    pub node_endpoints: Vec<BrokerId>,
}

/// One partition's records.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchPartitionResult {
    /// Partition index.
    pub partition: i32,
    /// The outcome.
    pub error: ErrorCode,
    /// -1 on errors.
    pub high_watermark: Offset,
    /// -1 on errors; equal to the high watermark without transactions.
    pub last_stable_offset: Offset,
    /// -1 on errors.
    pub log_start_offset: Offset,
    /// KIP-595: the largest epoch at the leader not above the follower's, and its end offset.
    pub diverging_epoch: Option<(LeaderEpoch, Offset)>,
    /// KIP-951: leader and epoch on `NOT_LEADER_OR_FOLLOWER` and `FENCED_LEADER_EPOCH`; else -1, -1.
    pub current_leader: (BrokerId, LeaderEpoch),
    /// Whole record batches, as stored.
    pub records: Bytes,
}

/// `timestamp` of ListOffsets that asks for the log end (for consumers the high watermark).
pub const LATEST_TIMESTAMP: i64 = -1;
/// `timestamp` of ListOffsets that asks for the log start.
pub const EARLIEST_TIMESTAMP: i64 = -2;
/// `timestamp` of ListOffsets that asks for the record with the largest one (KIP-734).
pub const LARGEST_TIMESTAMP: i64 = -3;

/// ListOffsets.
#[derive(Debug, Clone, PartialEq)]
pub struct ListOffsetsRequest {
    /// -1 for consumers.
    pub replica_id: BrokerId,
    /// 0 = read_uncommitted, 1 = read_committed.
    pub isolation_level: i8,
    /// What to ask.
    pub topics: ByTopicName<ListOffsetsPartition>,
}

/// One partition asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListOffsetsPartition {
    /// Partition index.
    pub partition: i32,
    /// The leader epoch that the client believes in; -1 unknown.
    pub current_leader_epoch: LeaderEpoch,
    /// A time in milliseconds, [`LATEST_TIMESTAMP`], [`EARLIEST_TIMESTAMP`] or [`LARGEST_TIMESTAMP`].
    pub timestamp: i64,
}

/// Answer to ListOffsets.
#[derive(Debug, Clone, PartialEq)]
pub struct ListOffsetsResponse {
    /// Results.
    pub topics: ByTopicName<ListOffsetsPartitionResult>,
}

/// One partition's offset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListOffsetsPartitionResult {
    /// Partition index.
    pub partition: i32,
    /// The outcome.
    pub error: ErrorCode,
    /// The timestamp found, -1 for none.
    pub timestamp: i64,
    /// The offset, -1 for none.
    pub offset: Offset,
    /// Epoch of the record at that offset, -1 unknown.
    pub leader_epoch: LeaderEpoch,
}

/// Metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct MetadataRequest {
    /// Names asked for; `None` asks for all.
    pub topics: Option<Vec<TopicName>>,
    /// The broker may create those that do not exist (`auto.create.topics.enable`).
    pub allow_auto_topic_creation: bool,
}

/// Answer to Metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct MetadataResponse {
    /// Brokers alive.
    pub brokers: Vec<BrokerId>,
    /// Any broker, as in KRaft; -1 unknown.
    pub controller: BrokerId,
    /// Topics.
    pub topics: Vec<TopicMetadata>,
}

/// A topic as a client sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicMetadata {
    /// The outcome for this topic.
    pub error: ErrorCode,
    /// Name.
    pub name: TopicName,
    /// Id; 0 with an error.
    pub id: TopicId,
    /// Partitions, ascending.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition as a client sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionMetadata {
    /// `LEADER_NOT_AVAILABLE` while there is none.
    pub error: ErrorCode,
    /// Partition index.
    pub partition: i32,
    /// Leader, -1 for none.
    pub leader: BrokerId,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
    /// Assigned replicas, preferred first.
    pub replicas: Arc<[BrokerId]>,
    /// In-sync replicas.
    pub isr: Arc<[BrokerId]>,
}

/// OffsetCommit, here always by a consumer that assigns itself (generation -1, no member id).
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetCommitRequest {
    /// `group.id`.
    pub group: TopicName,
    /// -1 for a consumer that assigns itself.
    pub generation: i32,
    /// Empty for a consumer that assigns itself.
    pub member_id: TopicName,
    /// What to commit.
    pub topics: ByTopicName<CommitPartition>,
}

/// One offset to commit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CommitPartition {
    /// Partition index.
    pub partition: i32,
    /// The next offset to read.
    pub offset: Offset,
    /// Epoch of the last record read (KIP-320); -1 where the application gave none.
    pub leader_epoch: LeaderEpoch,
}

/// Answer to OffsetCommit.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetCommitResponse {
    /// Partition and outcome.
    pub topics: ByTopicName<(i32, ErrorCode)>,
}

/// OffsetFetch.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetFetchRequest {
    /// `group.id`.
    pub group: TopicName,
    /// KIP-447: refuse while transactional commits are pending.
    pub require_stable: bool,
    /// Partitions asked for.
    pub topics: ByTopicName<i32>,
}

/// Answer to OffsetFetch.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetFetchResponse {
    /// `group.id`.
    pub group: TopicName,
    /// For the group.
    pub error: ErrorCode,
    /// Results.
    pub topics: ByTopicName<FetchedOffset>,
}

/// One committed offset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FetchedOffset {
    /// Partition index.
    pub partition: i32,
    /// -1 where the group has none.
    pub offset: Offset,
    /// Epoch committed with it, -1 for none.
    pub leader_epoch: LeaderEpoch,
    /// The outcome.
    pub error: ErrorCode,
}

/// FindCoordinator for one group.
#[derive(Debug, Clone, PartialEq)]
pub struct FindCoordinatorRequest {
    /// `group.id`.
    pub group: TopicName,
}

/// Answer to FindCoordinator.
#[derive(Debug, Clone, PartialEq)]
pub struct FindCoordinatorResponse {
    /// `group.id`.
    pub group: TopicName,
    /// The coordinator, -1 on errors.
    pub node: BrokerId,
    /// The outcome.
    pub error: ErrorCode,
}

/// ApiVersions, the first request on every client connection.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiVersionsRequest;

/// Answer to ApiVersions.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiVersionsResponse {
    /// The outcome.
    pub error: ErrorCode,
    /// Key, lowest and highest version.
    pub apis: Vec<(i16, i16, i16)>,
}

/// CreateTopics.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTopicsRequest {
    /// What to create.
    pub topics: Vec<CreatableTopic>,
    /// How long the client waits.
    pub timeout_ms: i32,
    /// Only say what would become of it.
    pub validate_only: bool,
}

/// One topic to create.
#[derive(Debug, Clone, PartialEq)]
pub struct CreatableTopic {
    /// Name.
    pub name: TopicName,
    /// -1 for the default, and beside assignments.
    pub num_partitions: i32,
    /// -1 for the default, and beside assignments.
    pub replication_factor: i16,
    /// Partitions and their replicas, preferred leader first; none leaves the choice to the controller.
    pub assignments: Vec<(i32, Vec<BrokerId>)>,
    /// Settings by Kafka's names; `None` sets nothing.
    pub configs: Vec<(TopicName, Option<TopicName>)>,
}

/// Answer to CreateTopics.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTopicsResponse {
    /// Results, in the order of the request.
    pub topics: Vec<CreatedTopic>,
}

/// One topic's outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct CreatedTopic {
    /// Name.
    pub name: TopicName,
    /// Its id; 0 on errors.
    pub id: TopicId,
    /// The outcome.
    pub error: ErrorCode,
    /// What is wrong, in words.
    pub message: Option<TopicName>,
    /// -1 on errors.
    pub num_partitions: i32,
    /// -1 on errors.
    pub replication_factor: i16,
}

/// `offset` of DeleteRecords that asks for everything below the high watermark
/// (`DeleteRecordsRequest.HIGH_WATERMARK`).
pub const DELETE_TO_HIGH_WATERMARK: Offset = -1;
/// What DeleteRecords answers beside an error (`DeleteRecordsResponse.INVALID_LOW_WATERMARK`).
pub const INVALID_LOW_WATERMARK: Offset = -1;

/// DeleteRecords.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteRecordsRequest {
    /// What to delete.
    pub topics: ByTopicName<DeleteRecordsPartition>,
    /// How long the leader may wait for its followers to delete as well.
    pub timeout_ms: i32,
}

/// One partition to delete records from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeleteRecordsPartition {
    /// Partition index.
    pub partition: i32,
    /// The first offset that stays, or [`DELETE_TO_HIGH_WATERMARK`].
    pub offset: Offset,
}

/// Answer to DeleteRecords.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteRecordsResponse {
    /// Results, grouped as in the request.
    pub topics: ByTopicName<DeleteRecordsPartitionResult>,
}

/// One partition's result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeleteRecordsPartitionResult {
    /// Partition index.
    pub partition: i32,
    /// The smallest log start of the replicas that are alive, or [`INVALID_LOW_WATERMARK`].
    pub low_watermark: Offset,
    /// The outcome.
    pub error: ErrorCode,
}

/// InitProducerId without a transactional id.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InitProducerIdRequest {
    /// Present id, -1 for none (KIP-360).
    pub producer_id: ProducerId,
    /// Present epoch, -1 for none.
    pub producer_epoch: i16,
}

/// Answer to InitProducerId.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InitProducerIdResponse {
    /// The outcome.
    pub error: ErrorCode,
    /// The id, -1 on errors.
    pub producer_id: ProducerId,
    /// The epoch, -1 on errors.
    pub producer_epoch: i16,
}

/// OffsetForLeaderEpoch: where does this epoch end at the leader (KIP-101, KIP-320).
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetForLeaderEpochRequest {
    /// -1 for consumers.
    pub replica_id: BrokerId,
    /// What to ask.
    pub topics: ByTopicName<EpochPartition>,
}

/// One partition asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochPartition {
    /// Partition index.
    pub partition: i32,
    /// The leader epoch that the asker believes in; -1 unknown.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch asked about.
    pub leader_epoch: LeaderEpoch,
}

/// Answer to OffsetForLeaderEpoch.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetForLeaderEpochResponse {
    /// Results.
    pub topics: ByTopicName<EpochEnd>,
}

/// Where an epoch ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochEnd {
    /// Partition index.
    pub partition: i32,
    /// The outcome.
    pub error: ErrorCode,
    /// The largest epoch known not above the one asked; -1 undefined.
    pub leader_epoch: LeaderEpoch,
    /// First offset after it; -1 undefined.
    pub end_offset: Offset,
}

/// AlterPartition: a leader asks for another ISR (KIP-497, KIP-903).
#[derive(Debug, Clone, PartialEq)]
pub struct AlterPartitionRequest {
    /// The leader.
    pub broker: BrokerId,
    /// Its broker epoch.
    pub broker_epoch: BrokerEpoch,
    /// What to change.
    pub topics: ByTopicId<AlterPartition>,
}

/// One proposed ISR.
#[derive(Debug, Clone, PartialEq)]
pub struct AlterPartition {
    /// Partition index.
    pub partition: i32,
    /// Epoch in which the asker leads.
    pub leader_epoch: LeaderEpoch,
    /// Partition epoch that the proposal starts from (compare and set).
    pub partition_epoch: PartitionEpoch,
    /// Members with their broker epochs, -1 where unknown.
    pub new_isr: Vec<(BrokerId, BrokerEpoch)>,
}

/// Answer to AlterPartition.
#[derive(Debug, Clone, PartialEq)]
pub struct AlterPartitionResponse {
    /// For the whole request.
    pub error: ErrorCode,
    /// Results.
    pub topics: ByTopicId<AlterPartitionResult>,
}

/// The partition's state after the request.
#[derive(Debug, Clone, PartialEq)]
pub struct AlterPartitionResult {
    /// Partition index.
    pub partition: i32,
    /// The outcome.
    pub error: ErrorCode,
    /// Leader; with an error -1 and the rest void.
    pub leader: BrokerId,
    /// Leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// ISR, sorted.
    pub isr: Vec<BrokerId>,
    /// Partition epoch.
    pub partition_epoch: PartitionEpoch,
}

/// BrokerRegistration: a broker process introduces itself to the controller.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BrokerRegistrationRequest {
    /// `node.id`.
    pub broker: BrokerId,
    /// Drawn anew by each process.
    pub incarnation: Incarnation,
    /// KIP-966: the broker epoch from the clean-shutdown marker, -1 after an unclean end.
    pub previous_broker_epoch: BrokerEpoch,
}

/// Answer to BrokerRegistration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BrokerRegistrationResponse {
    /// The outcome.
    pub error: ErrorCode,
    /// The broker's epoch, -1 on errors.
    pub broker_epoch: BrokerEpoch,
}

/// BrokerHeartbeat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BrokerHeartbeatRequest {
    /// Which broker.
    pub broker: BrokerId,
    /// Its epoch.
    pub broker_epoch: BrokerEpoch,
    /// Highest metadata offset it has applied.
    pub current_metadata_offset: Offset,
    /// It wants to be fenced.
    pub want_fence: bool,
    /// It wants to shut down in order.
    pub want_shut_down: bool,
}

/// Answer to BrokerHeartbeat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BrokerHeartbeatResponse {
    /// The outcome.
    pub error: ErrorCode,
    /// It has applied its own registration.
    pub is_caught_up: bool,
    /// It is fenced.
    pub is_fenced: bool,
    /// It may shut down now.
    pub should_shut_down: bool,
}

/// AllocateProducerIds: a broker asks the controller for a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AllocateProducerIdsRequest {
    /// Which broker.
    pub broker: BrokerId,
    /// Its epoch.
    pub broker_epoch: BrokerEpoch,
}

/// Answer to AllocateProducerIds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AllocateProducerIdsResponse {
    /// The outcome.
    pub error: ErrorCode,
    /// First id of the block.
    pub first: ProducerId,
    /// Its length.
    pub count: i32,
}
