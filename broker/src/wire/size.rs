//! Encoded sizes by formula.
//!
//! With typed values on the wire, bandwidth still counts the bytes that [`codec::encode`] would
//! write. These formulas give that number for every message of a run, without encoding and without
//! allocation; `encode` asserts it and a property test pins it for arbitrary frames. Sums of small
//! numbers list the fields in the order of the schema.

use super::*;

/// The tagged fields of a structure that has none: their number.
const TAGS: u64 = 1;
/// Null or an empty string or array: one byte of length.
const NOTHING: u64 = 1;
/// API key, version, correlation id, client id, no tags (header v2), after the length prefix.
const REQUEST_HEADER: u64 =
    codec::LENGTH_PREFIX as u64 + 2 + 2 + 4 + 2 + codec::CLIENT_ID.len() as u64 + TAGS;
/// Correlation id, no tags (header v1), after the length prefix.
const RESPONSE_HEADER: u64 = codec::LENGTH_PREFIX as u64 + 4 + TAGS;
/// Correlation id (header v0) of ApiVersions, after the length prefix.
const API_VERSIONS_HEADER: u64 = codec::LENGTH_PREFIX as u64 + 4;
/// A current leader as tagged field: tag, size, leader, epoch.
const CURRENT_LEADER: u64 = 1 + 1 + (4 + 4 + TAGS);
/// A diverging epoch as tagged field: tag, size, epoch, end offset.
const DIVERGING_EPOCH: u64 = 1 + 1 + (4 + 8 + TAGS);
/// A replica's id and epoch as tagged field: tag, size, id, epoch.
const REPLICA_STATE: u64 = 1 + 1 + (4 + 8 + TAGS);

impl Frame {
    /// Bytes that this frame takes on the wire, its 4-byte length prefix included: the length of
    /// [`codec::encode`].
    pub fn encoded_size(&self) -> u64 {
        match self {
            Frame::Request(_, request) => REQUEST_HEADER + request_size(request),
            Frame::Response(_, response) => match &**response {
                Response::ApiVersions(r) => {
                    let apis = array(&r.apis) + count(&r.apis) * (2 + 2 + 2 + TAGS);
                    API_VERSIONS_HEADER + 2 + apis + 4 + TAGS
                }
                response => RESPONSE_HEADER + response_size(response),
            },
        }
    }
}

fn request_size(request: &Request) -> u64 {
    match request {
        Request::Produce(r) => {
            let partition = |p: &ProducePartition| 4 + bytes(&p.records) + TAGS;
            NOTHING + 2 + 4 + by_id(&r.topics, |ps| ps.iter().map(partition).sum()) + TAGS
        }
        Request::Fetch(r) => {
            let partitions = |ps: &[FetchPartition]| count(ps) * (4 + 4 + 8 + 4 + 8 + 4 + TAGS);
            let of_consumer = (r.replica_id, r.replica_epoch) == (-1, -1);
            let replica_state = if of_consumer { 0 } else { REPLICA_STATE };
            let fixed = 4 + 4 + 4 + 1 + 4 + 4;
            fixed + by_id(&r.topics, partitions) + NOTHING + NOTHING + TAGS + replica_state
        }
        Request::ListOffsets(r) => {
            4 + 1 + by_name(&r.topics, |ps| count(ps) * (4 + 4 + 8 + TAGS)) + 4 + TAGS
        }
        Request::Metadata(r) => {
            let topics = match &r.topics {
                None => NOTHING,
                Some(names) => {
                    let topic = |name: &TopicName| 16 + string(name) + TAGS;
                    array(names) + names.iter().map(topic).sum::<u64>()
                }
            };
            topics + 1 + 1 + TAGS
        }
        Request::OffsetCommit(r) => {
            let partitions = |ps: &[CommitPartition]| count(ps) * (4 + 8 + 4 + NOTHING + TAGS);
            let member = string(&r.group) + 4 + string(&r.member_id) + NOTHING;
            member + by_name(&r.topics, partitions) + TAGS
        }
        Request::OffsetFetch(r) => {
            let topics = by_name(&r.topics, |ps| count(ps) * 4);
            one(string(&r.group) + NOTHING + 4 + topics + TAGS) + 1 + TAGS
        }
        Request::FindCoordinator(r) => 1 + one(string(&r.group)) + TAGS,
        Request::ApiVersions(ApiVersionsRequest) => {
            string(codec::CLIENT_ID) + string(codec::CLIENT_SOFTWARE_VERSION) + TAGS
        }
        Request::CreateTopics(r) => {
            let assignment = |a: &(i32, Vec<BrokerId>)| 4 + array(&a.1) + count(&a.1) * 4 + TAGS;
            let config = |c: &(TopicName, Option<TopicName>)| {
                string(&c.0) + c.1.as_deref().map_or(NOTHING, string) + TAGS
            };
            let topic = |t: &CreatableTopic| {
                let assignments: u64 = t.assignments.iter().map(assignment).sum();
                let configs: u64 = t.configs.iter().map(config).sum();
                let counts = array(&t.assignments) + array(&t.configs);
                string(&t.name) + 4 + 2 + counts + assignments + configs + TAGS
            };
            array(&r.topics) + r.topics.iter().map(topic).sum::<u64>() + 4 + 1 + TAGS
        }
        Request::DeleteRecords(r) => by_name(&r.topics, |ps| count(ps) * (4 + 8 + TAGS)) + 4 + TAGS,
        Request::InitProducerId(_) => NOTHING + 4 + 8 + 2 + TAGS,
        Request::OffsetForLeaderEpoch(r) => {
            4 + by_name(&r.topics, |ps| count(ps) * (4 + 4 + 4 + TAGS)) + TAGS
        }
        Request::AlterPartition(r) => {
            let isr = |p: &AlterPartition| array(&p.new_isr) + count(&p.new_isr) * (4 + 8 + TAGS);
            let partition = |p: &AlterPartition| 4 + 4 + isr(p) + 1 + 4 + TAGS;
            4 + 8 + by_id(&r.topics, |ps| ps.iter().map(partition).sum()) + TAGS
        }
        // Cluster id, listeners, features, rack and log directories are empty.
        Request::BrokerRegistration(_) => 4 + NOTHING + 16 + 3 * NOTHING + 1 + NOTHING + 8 + TAGS,
        Request::BrokerHeartbeat(_) => 4 + 8 + 8 + 1 + 1 + TAGS,
        Request::AllocateProducerIds(_) => 4 + 8 + TAGS,
    }
}

fn response_size(response: &Response) -> u64 {
    match response {
        Response::Produce(r) => produce_response_size(r),
        Response::Fetch(r) => fetch_response_size(r),
        Response::ListOffsets(r) => {
            4 + by_name(&r.topics, |ps| count(ps) * (4 + 2 + 8 + 8 + 4 + TAGS)) + TAGS
        }
        Response::Metadata(r) => metadata_response_size(r),
        Response::OffsetCommit(r) => 4 + by_name(&r.topics, |ps| count(ps) * (4 + 2 + TAGS)) + TAGS,
        Response::OffsetFetch(r) => {
            let partitions = |ps: &[FetchedOffset]| count(ps) * (4 + 8 + 4 + NOTHING + 2 + TAGS);
            4 + one(string(&r.group) + by_name(&r.topics, partitions) + 2 + TAGS) + TAGS
        }
        Response::FindCoordinator(r) => {
            4 + one(string(&r.group) + 4 + host(r.node) + 4 + 2 + NOTHING + TAGS) + TAGS
        }
        Response::ApiVersions(_) => unreachable!("sized with its own header"),
        Response::CreateTopics(r) => {
            let topic = |t: &CreatedTopic| {
                let message = t.message.as_deref().map_or(NOTHING, string);
                string(&t.name) + 16 + 2 + message + 4 + 2 + NOTHING + TAGS
            };
            4 + array(&r.topics) + r.topics.iter().map(topic).sum::<u64>() + TAGS
        }
        Response::DeleteRecords(r) => {
            4 + by_name(&r.topics, |ps| count(ps) * (4 + 8 + 2 + TAGS)) + TAGS
        }
        Response::InitProducerId(_) => 4 + 2 + 8 + 2 + TAGS,
        Response::OffsetForLeaderEpoch(r) => {
            4 + by_name(&r.topics, |ps| count(ps) * (2 + 4 + 4 + 8 + TAGS)) + TAGS
        }
        Response::AlterPartition(r) => {
            let isr = |p: &AlterPartitionResult| array(&p.isr) + count(&p.isr) * 4;
            let partition = |p: &AlterPartitionResult| 4 + 2 + 4 + 4 + isr(p) + 1 + 4 + TAGS;
            4 + 2 + by_id(&r.topics, |ps| ps.iter().map(partition).sum()) + TAGS
        }
        Response::BrokerRegistration(_) => 4 + 2 + 8 + TAGS,
        Response::BrokerHeartbeat(_) => 4 + 2 + 1 + 1 + 1 + TAGS,
        Response::AllocateProducerIds(_) => 4 + 2 + 8 + 4 + TAGS,
    }
}

fn produce_response_size(r: &ProduceResponse) -> u64 {
    let partition = |p: &ProducePartitionResult| {
        4 + 2 + 8 + 8 + 8 + NOTHING + NOTHING + TAGS + current_leader(p.current_leader)
    };
    let topics = by_id(&r.topics, |ps| ps.iter().map(partition).sum());
    topics + 4 + TAGS + node_endpoints(&r.node_endpoints)
}

fn fetch_response_size(r: &FetchResponse) -> u64 {
    let mut topics = array(&r.topics);
    for (_, partitions) in &r.topics {
        topics += 16 + array(partitions) + TAGS;
        for p in partitions {
            topics += 4 + 2 + 8 + 8 + 8 + NOTHING + 4 + bytes(&p.records) + TAGS;
            topics += current_leader(p.current_leader);
            if p.diverging_epoch.is_some() {
                topics += DIVERGING_EPOCH;
            }
        }
    }
    4 + 2 + 4 + topics + TAGS + node_endpoints(&r.node_endpoints)
}

fn metadata_response_size(r: &MetadataResponse) -> u64 {
    let partition = |p: &PartitionMetadata| {
        let ids = |ids: &[BrokerId]| array(ids) + count(ids) * 4;
        2 + 4 + 4 + 4 + ids(&p.replicas) + ids(&p.isr) + NOTHING + TAGS
    };
    let topic = |t: &TopicMetadata| {
        let partitions = array(&t.partitions) + t.partitions.iter().map(partition).sum::<u64>();
        2 + string(&t.name) + 16 + 1 + partitions + 4 + TAGS
    };
    let brokers = array(&r.brokers) + r.brokers.iter().map(|b| endpoint(*b)).sum::<u64>();
    let topics = array(&r.topics) + r.topics.iter().map(topic).sum::<u64>();
    4 + brokers + NOTHING + 4 + topics + 2 + TAGS
}

/// The tagged field that is left out where nothing is said.
#[inline]
fn current_leader(leader: (BrokerId, LeaderEpoch)) -> u64 {
    if leader == (-1, -1) {
        0
    } else {
        CURRENT_LEADER
    }
}

/// The tagged field that is left out where no leader is named.
#[inline]
fn node_endpoints(brokers: &[BrokerId]) -> u64 {
    if brokers.is_empty() {
        return 0;
    }
    let size = array(brokers) + brokers.iter().map(|b| endpoint(*b)).sum::<u64>();
    1 + varint(size) + size
}

/// Id, host, port and no rack of a broker.
fn endpoint(broker: BrokerId) -> u64 {
    4 + host(broker) + 4 + NOTHING + TAGS
}

/// The host of [`codec::advertised_endpoint`].
fn host(broker: BrokerId) -> u64 {
    match u32::try_from(broker) {
        Ok(broker) => {
            1 + "broker-".len() as u64 + u64::from(broker.checked_ilog10().unwrap_or(0)) + 1
        }
        Err(_) => NOTHING,
    }
}

/// Topics by id, where `partitions` gives the size of one topic's partitions.
#[inline]
fn by_id<T>(topics: &[(TopicId, Items<T>)], partitions: impl Fn(&[T]) -> u64) -> u64 {
    let topic = |(_, ps): &(TopicId, Items<T>)| 16 + array(ps) + partitions(ps) + TAGS;
    array(topics) + topics.iter().map(topic).sum::<u64>()
}

/// Topics by name, where `partitions` gives the size of one topic's partitions.
#[inline]
fn by_name<T>(topics: &[(TopicName, Items<T>)], partitions: impl Fn(&[T]) -> u64) -> u64 {
    let topic =
        |(name, ps): &(TopicName, Items<T>)| string(name) + array(ps) + partitions(ps) + TAGS;
    array(topics) + topics.iter().map(topic).sum::<u64>()
}

/// An array with one item of this size.
fn one(item: u64) -> u64 {
    varint(1 + 1) + item
}

/// The length in front of an array's items.
fn array<T>(items: &[T]) -> u64 {
    varint(count(items) + 1)
}

fn count<T>(items: &[T]) -> u64 {
    items.len() as u64
}

fn string(text: &str) -> u64 {
    bytes(text.as_bytes())
}

fn bytes(bytes: &[u8]) -> u64 {
    varint(count(bytes) + 1) + count(bytes)
}

/// Bytes of an unsigned varint, seven bits each.
#[inline]
fn varint(value: u64) -> u64 {
    if value < 0x80 {
        return 1;
    }
    1 + u64::from(value.ilog2()) / 7
}
