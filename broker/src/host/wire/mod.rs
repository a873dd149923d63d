//! What clients from outside speak: Kafka's APIs at every version that the schema crate has, put into
//! the typed values that the broker takes, and back.
//!
//! A broker speaks each API at one version. Here a request of another version is read, what it says in
//! older words is said in those of the broker (topic names become ids, one group becomes a list of
//! groups), and its answer is told in the words of the asker's version. What a broker has no typed value
//! for is answered here, as far as it can be answered honestly: DescribeCluster, DescribeConfigs, that
//! topics are not deleted, that there are no transactions.
//!
//! - [`guard`] lengths are checked before anything is decoded; `outlines` what the requests look like
//! - `produce`, `fetch`, `offsets`, `metadata`, `topics`, `configs` the APIs
//!
//! Versions are advertised as far as request and response go both (`ApiKey::valid_versions` of the schema
//! crate overstates some). Produce is advertised from version 0 as by Kafka 4 (KAFKA-18659): librdkafka
//! compresses nothing for a broker that does not say so. Versions 0 to 2 are refused all the same.

mod configs;
mod fetch;
pub mod guard;
mod metadata;
mod offsets;
mod outlines;
mod produce;
#[cfg(test)]
mod tests;
mod topics;

use crate::config::PropertyMap;
use crate::controller::MetadataImage;
use crate::ids::*;
use crate::wire::{Request, Response};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use guard::{Outline, Refused};
use kafka_protocol::messages::{self as kafka, ApiKey};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use smallvec::{SmallVec, smallvec};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of the length in front of each frame.
pub const LENGTH_PREFIX: usize = 4;

/// An API with the versions that are served, and its outline.
struct Api {
    key: ApiKey,
    versions: (i16, i16),
    outline: Outline,
}

const fn api(key: ApiKey, min: i16, max: i16, outline: Outline) -> Api {
    Api {
        key,
        versions: (min, max),
        outline,
    }
}

/// Everything that is served.
const APIS: &[Api] = &[
    api(ApiKey::Produce, 3, 13, outlines::PRODUCE),
    api(ApiKey::Fetch, 4, 18, outlines::FETCH),
    api(ApiKey::ListOffsets, 1, 10, outlines::LIST_OFFSETS),
    api(ApiKey::Metadata, 0, 13, outlines::METADATA),
    api(ApiKey::OffsetCommit, 2, 9, outlines::OFFSET_COMMIT),
    api(ApiKey::OffsetFetch, 1, 9, outlines::OFFSET_FETCH),
    api(ApiKey::FindCoordinator, 0, 6, outlines::FIND_COORDINATOR),
    api(ApiKey::ApiVersions, 0, 4, outlines::API_VERSIONS),
    api(ApiKey::CreateTopics, 2, 7, outlines::CREATE_TOPICS),
    api(ApiKey::DeleteTopics, 1, 6, outlines::DELETE_TOPICS),
    api(ApiKey::DeleteRecords, 0, 2, outlines::DELETE_RECORDS),
    api(ApiKey::InitProducerId, 0, 5, outlines::INIT_PRODUCER_ID),
    api(
        ApiKey::OffsetForLeaderEpoch,
        2,
        4,
        outlines::OFFSET_FOR_LEADER_EPOCH,
    ),
    api(ApiKey::DescribeConfigs, 1, 4, outlines::DESCRIBE_CONFIGS),
    api(ApiKey::DescribeCluster, 0, 2, outlines::DESCRIBE_CLUSTER),
];

/// Why a frame is not answered: its connection is closed, as `SocketServer.processCompletedReceives`
/// does with what it cannot parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Too short for a header.
    #[error("a request of {0} bytes has no whole header")]
    Header(usize),
    /// Not served.
    #[error("API key {0} is not served")]
    Api(i16),
    /// Served at other versions.
    #[error("{api:?} v{version} is not served")]
    Version {
        /// Which API.
        api: ApiKey,
        /// The version asked for.
        version: i16,
    },
    /// A length that does not fit, or too many items.
    #[error("{api:?} v{version}: {refused}")]
    Guarded {
        /// Which API.
        api: ApiKey,
        /// Its version.
        version: i16,
        /// What is wrong.
        refused: Refused,
    },
    /// Not Kafka's format.
    #[error("{api:?} v{version}: {reason}")]
    Malformed {
        /// Which API.
        api: ApiKey,
        /// Its version.
        version: i16,
        /// What the schema crate says.
        reason: String,
    },
}

/// What stands in front of a body, as far as an answer needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which API.
    pub api: ApiKey,
    /// At which version.
    pub version: i16,
    /// Chosen by the client.
    pub correlation_id: i32,
}

/// A decoded request.
#[derive(Debug)]
pub struct Incoming {
    /// Its header.
    pub header: Header,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Produce(kafka::ProduceRequest),
    Fetch(kafka::FetchRequest),
    ListOffsets(kafka::ListOffsetsRequest),
    Metadata(kafka::MetadataRequest),
    OffsetCommit(kafka::OffsetCommitRequest),
    OffsetFetch(kafka::OffsetFetchRequest),
    FindCoordinator(kafka::FindCoordinatorRequest),
    ApiVersions,
    /// At a version that is not served: answered so that the client can ask again (KIP-511).
    ApiVersionsTooNew,
    CreateTopics(kafka::CreateTopicsRequest),
    DeleteTopics(kafka::DeleteTopicsRequest),
    DeleteRecords(kafka::DeleteRecordsRequest),
    InitProducerId(kafka::InitProducerIdRequest),
    OffsetForLeaderEpoch(kafka::OffsetForLeaderEpochRequest),
    DescribeConfigs(kafka::DescribeConfigsRequest),
    DescribeCluster(kafka::DescribeClusterRequest),
}

/// Reads a request frame without its length. Records share the frame's memory.
///
/// # Errors
/// Whatever the bytes are, an [`Unreadable`] and no panic; memory beyond the frame is bounded by
/// [`guard::ITEMS_MAX`].
pub fn read(mut frame: Bytes) -> Result<Incoming, Unreadable> {
    let length = frame.len();
    if length < 8 {
        return Err(Unreadable::Header(length));
    }
    let (key, version) = (frame.get_i16(), frame.get_i16());
    let correlation_id = frame.get_i32();
    let api = APIS.iter().find(|api| api.key as i16 == key);
    let Some(api) = api else {
        return Err(Unreadable::Api(key));
    };
    let (min, max) = api.versions;
    let header = Header {
        api: api.key,
        version,
        correlation_id,
    };
    if !(min..=max).contains(&version) {
        if api.key == ApiKey::ApiVersions {
            let body = Body::ApiVersionsTooNew;
            return Ok(Incoming { header, body });
        }
        let api = api.key;
        return Err(Unreadable::Version { api, version });
    }
    let is_flexible = api.key.request_header_version(version) >= 2;
    let guarded = |refused| Unreadable::Guarded {
        api: api.key,
        version,
        refused,
    };
    skip_client_id(&mut frame, is_flexible).ok_or(Unreadable::Header(length))?;
    let trailing = guard::check(api.outline, version, is_flexible, &frame).map_err(guarded)?;
    let body = read_body(header, &mut frame)?;
    debug_assert_eq!(
        frame.len(),
        trailing,
        "the outline of {:?} v{version}",
        api.key
    );
    Ok(Incoming { header, body })
}

/// The client id, and in a flexible header the tagged fields. `None` where they are not whole.
fn skip_client_id(frame: &mut Bytes, is_flexible: bool) -> Option<()> {
    let length = frame.try_get_i16().ok()?;
    skip(frame, usize::try_from(length).unwrap_or(0))?;
    if is_flexible {
        for _ in 0..varint(frame)? {
            varint(frame)?;
            let size = varint(frame)?;
            skip(frame, size as usize)?;
        }
    }
    Some(())
}

fn skip(frame: &mut Bytes, bytes: usize) -> Option<()> {
    (bytes <= frame.len()).then(|| frame.advance(bytes))
}

fn varint(frame: &mut Bytes) -> Option<u32> {
    let mut value = 0;
    for i in 0..5 {
        let byte = frame.try_get_u8().ok()?;
        value |= u32::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn read_body(header: Header, frame: &mut Bytes) -> Result<Body, Unreadable> {
    fn of<T: Decodable>(header: Header, frame: &mut Bytes) -> Result<T, Unreadable> {
        T::decode(frame, header.version).map_err(|error| Unreadable::Malformed {
            api: header.api,
            version: header.version,
            reason: error.to_string(),
        })
    }
    Ok(match header.api {
        ApiKey::Produce => Body::Produce(of(header, frame)?),
        ApiKey::Fetch => Body::Fetch(of(header, frame)?),
        ApiKey::ListOffsets => Body::ListOffsets(of(header, frame)?),
        ApiKey::Metadata => Body::Metadata(of(header, frame)?),
        ApiKey::OffsetCommit => Body::OffsetCommit(of(header, frame)?),
        ApiKey::OffsetFetch => Body::OffsetFetch(of(header, frame)?),
        ApiKey::FindCoordinator => Body::FindCoordinator(of(header, frame)?),
        ApiKey::ApiVersions => {
            of::<kafka::ApiVersionsRequest>(header, frame)?;
            Body::ApiVersions
        }
        ApiKey::CreateTopics => Body::CreateTopics(of(header, frame)?),
        ApiKey::DeleteTopics => Body::DeleteTopics(of(header, frame)?),
        ApiKey::DeleteRecords => Body::DeleteRecords(of(header, frame)?),
        ApiKey::InitProducerId => Body::InitProducerId(of(header, frame)?),
        ApiKey::OffsetForLeaderEpoch => Body::OffsetForLeaderEpoch(of(header, frame)?),
        ApiKey::DescribeConfigs => Body::DescribeConfigs(of(header, frame)?),
        ApiKey::DescribeCluster => Body::DescribeCluster(of(header, frame)?),
        other => unreachable!("{other:?} is not among those served"),
    })
}

/// Host and port of each broker, as clients are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints(pub BTreeMap<BrokerId, (String, u16)>);

impl Endpoints {
    /// Where a broker is; nowhere (`Node.noNode`) for one that is none.
    fn of(&self, broker: BrokerId) -> (StrBytes, i32) {
        match self.0.get(&broker) {
            Some((host, port)) => (StrBytes::from_string(host.clone()), i32::from(*port)),
            None => (StrBytes::default(), -1),
        }
    }
}

/// What a translation looks at.
pub struct View<'a> {
    /// The metadata of the broker that was asked.
    pub image: &'a MetadataImage,
    /// The properties of all brokers, as they were given.
    pub properties: &'a PropertyMap,
    /// Where the brokers are.
    pub endpoints: &'a Arc<Endpoints>,
    /// `cluster.id`.
    pub cluster_id: &'a str,
}

/// Tells the broker's answers, one for each of the requests, as a frame.
pub type Finish = Box<dyn FnOnce(Vec<Response>) -> Bytes + Send>;

/// What is to be done with a request.
pub enum Plan {
    /// The broker is asked; `finish` makes the frame of what it answers.
    Ask(SmallVec<[Request; 1]>, Finish),
    /// The broker is told and answers nothing (acks=0). With `close`, part of it was refused here, and
    /// the connection is closed as the broker would.
    Tell(Request, bool),
    /// The broker is not needed.
    Answer(Bytes),
    /// There is no answer but to close the connection.
    Close,
}

impl Incoming {
    /// What is to be done with it.
    pub fn plan(self, view: &View<'_>) -> Plan {
        let header = self.header;
        match self.body {
            Body::Produce(body) => produce::produce(header, body, view),
            Body::Fetch(body) => fetch::fetch(header, body, view),
            Body::ListOffsets(body) => offsets::list_offsets(header, body),
            Body::Metadata(body) => metadata::metadata(header, body, view),
            Body::OffsetCommit(body) => offsets::offset_commit(header, body, view),
            Body::OffsetFetch(body) => offsets::offset_fetch(header, body, view),
            Body::FindCoordinator(body) => offsets::find_coordinator(header, body, view),
            Body::ApiVersions => Plan::Answer(metadata::api_versions(header)),
            Body::ApiVersionsTooNew => Plan::Answer(metadata::api_versions_too_new(header)),
            Body::CreateTopics(body) => topics::create_topics(header, body),
            Body::DeleteTopics(body) => topics::delete_topics(header, body),
            Body::DeleteRecords(body) => topics::delete_records(header, body),
            Body::InitProducerId(body) => produce::init_producer_id(header, body),
            Body::OffsetForLeaderEpoch(body) => offsets::epoch_ends(header, body),
            Body::DescribeConfigs(body) => configs::describe_configs(header, body, view),
            Body::DescribeCluster(body) => metadata::describe_cluster(header, &body, view),
        }
    }
}

/// One request whose one answer becomes a frame.
fn ask(request: Request, finish: impl FnOnce(Response) -> Bytes + Send + 'static) -> Plan {
    let finish = |mut responses: Vec<Response>| {
        finish(responses.pop().expect("an answer for the one request"))
    };
    Plan::Ask(smallvec![request], Box::new(finish))
}

/// An answer as a frame, length included.
///
/// # Panics
/// Where a field is set that the version lacks: whoever made the answer knows the version.
fn frame<M: Encodable + HeaderVersion>(header: Header, body: &M) -> Bytes {
    encode(header, header.version, body)
}

fn encode<M: Encodable + HeaderVersion>(header: Header, version: i16, body: &M) -> Bytes {
    let what = || format!("an answer to {:?} at v{version} has its fields", header.api);
    let size = body
        .compute_size(version)
        .unwrap_or_else(|e| panic!("{}: {e}", what()));
    let mut buf = BytesMut::with_capacity(LENGTH_PREFIX + 5 + size);
    buf.put_i32(0);
    buf.put_i32(header.correlation_id);
    if M::header_version(version) == 1 {
        // No tagged fields.
        buf.put_u8(0);
    }
    let encoded = body.encode(&mut buf, version);
    encoded.unwrap_or_else(|e| panic!("{}: {e}", what()));
    let length = (buf.len() - LENGTH_PREFIX) as i32;
    buf[..LENGTH_PREFIX].copy_from_slice(&length.to_be_bytes());
    buf.freeze()
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn kafka_name(name: &str) -> kafka::TopicName {
    kafka::TopicName(text(name))
}

fn topic_id(id: uuid::Uuid) -> TopicId {
    TopicId(id.as_u128())
}
