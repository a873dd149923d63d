//! Kafka's binary format: a [`Frame`] to bytes and back, at the one version of each API that
//! [`ApiKey::version`] names.
//!
//! A frame is a 4-byte length, a header and a body. Requests carry header v2 and responses header
//! v1, as every version spoken here is "flexible" (KIP-482), but for the response to ApiVersions,
//! which always has header v0 so that a client can read it before it knows anything of the broker
//! (KIP-511). A response does not say what it answers: its reader knows that by the correlation id.
//! Record batches pass through as the very same bytes.
//!
//! The bodies are written and read by the schema crate. Its decoders reserve memory for whatever
//! array length they find, so that each body is first walked along its `shape`: a length that
//! runs past the frame is an error, and nothing is reserved for it. What a frame says in its
//! trailing bytes is ignored, since librdkafka appends some to Metadata.
//!
//! Fields that the typed values lack are encoded as Kafka's defaults and skipped on decoding, unless
//! leaving them out would change what the frame asks for; then it is [`DecodeError::NotSpoken`].
//!
//! Not modelled: older versions, fetch sessions (KIP-227; a response never opens one, so that no
//! client continues one), transactional producers, several groups in one request (KIP-709), the
//! metadata string of a committed offset, racks, throttle times, cluster ids.

mod controller;
mod create_topics;
mod delete_records;
mod request;
mod response;
pub(crate) mod shape;

#[cfg(test)]
pub(super) mod arbitrary;
#[cfg(test)]
mod tests;

use super::*;
use bytes::{BufMut, BytesMut};
use kafka_protocol::messages as kafka;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes};
use shape::Shape;

/// The client id in every request's header.
pub(super) const CLIENT_ID: &str = "everyack";
/// Version of the client software that ApiVersions reports (KIP-511); a broker of Kafka refuses an
/// empty one. It is no version of this crate, as its length is part of a run's bandwidth.
pub(super) const CLIENT_SOFTWARE_VERSION: &str = "1";
/// Bytes of the length prefix.
pub(super) const LENGTH_PREFIX: usize = 4;

/// Why bytes are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer or more bytes than the length prefix announces, or too few for any header.
    #[error("read frame of {actual} bytes: its prefix and header want {wanted}")]
    FrameLength {
        /// Bytes that the prefix or the smallest header want, with the prefix itself.
        wanted: i64,
        /// Bytes there.
        actual: usize,
    },
    /// An API key that the product does not speak.
    #[error("read request {correlation_id}: API key {key} is not spoken")]
    UnknownApi {
        /// The key found.
        key: i16,
        /// From the header, for the answer.
        correlation_id: i32,
    },
    /// Another version than [`ApiKey::version`].
    #[error("read request {correlation_id}: {api:?} v{version} is not spoken, only v{}", api.version())]
    UnsupportedVersion {
        /// Which API.
        api: ApiKey,
        /// The version found.
        version: i16,
        /// From the header, for the answer (`UNSUPPORTED_VERSION`).
        correlation_id: i32,
    },
    /// A string, array or tagged field that claims more than the frame holds, or another length
    /// than its content has.
    #[error("read {api:?} frame: a length of {length} does not fit the {remaining} bytes left")]
    Length {
        /// Which API.
        api: ApiKey,
        /// The claim: bytes, or items of an array.
        length: u64,
        /// Bytes left in the frame.
        remaining: usize,
    },
    /// Not Kafka's format: text that is not UTF-8, null where none may be, an overlong number.
    #[error("read {api:?} frame: {reason}")]
    Malformed {
        /// Which API.
        api: ApiKey,
        /// What the schema says.
        reason: String,
    },
    /// Kafka's format, but something that the typed values cannot express.
    #[error("read {api:?} frame: {what} is not spoken")]
    NotSpoken {
        /// Which API.
        api: ApiKey,
        /// What it is.
        what: &'static str,
    },
}

/// A typed value with its counterpart in the schema crate.
pub(crate) trait Wire: Sized {
    /// The schema crate's type.
    type Kafka: Encodable + Decodable + HeaderVersion + Message;
    /// Which API it belongs to.
    const API: ApiKey;
    /// What its body looks like at the version spoken.
    const SHAPE: Shape;
    /// The same in the schema crate's words.
    fn to_kafka(&self) -> Self::Kafka;
    /// Back again.
    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError>;

    /// The error for what the typed value cannot express.
    fn not_spoken<T>(what: &'static str) -> Result<T, DecodeError> {
        Err(DecodeError::NotSpoken {
            api: Self::API,
            what,
        })
    }
}

/// Applies `$of` to the message inside `$value`, whichever it is.
macro_rules! with_message {
    ($side:ident, $value:expr, $message:ident => $of:expr) => {
        match $value {
            $side::Produce($message) => $of,
            $side::Fetch($message) => $of,
            $side::ListOffsets($message) => $of,
            $side::Metadata($message) => $of,
            $side::OffsetCommit($message) => $of,
            $side::OffsetFetch($message) => $of,
            $side::FindCoordinator($message) => $of,
            $side::ApiVersions($message) => $of,
            $side::CreateTopics($message) => $of,
            $side::DeleteRecords($message) => $of,
            $side::InitProducerId($message) => $of,
            $side::OffsetForLeaderEpoch($message) => $of,
            $side::AlterPartition($message) => $of,
            $side::BrokerRegistration($message) => $of,
            $side::BrokerHeartbeat($message) => $of,
            $side::AllocateProducerIds($message) => $of,
        }
    };
}

/// Reads `$body` as the message of `$api`.
macro_rules! read_message {
    ($side:ident, $api:expr, $body:expr) => {
        match $api {
            ApiKey::Produce => $side::Produce(read_body($body)?),
            ApiKey::Fetch => $side::Fetch(read_body($body)?),
            ApiKey::ListOffsets => $side::ListOffsets(read_body($body)?),
            ApiKey::Metadata => $side::Metadata(read_body($body)?),
            ApiKey::OffsetCommit => $side::OffsetCommit(read_body($body)?),
            ApiKey::OffsetFetch => $side::OffsetFetch(read_body($body)?),
            ApiKey::FindCoordinator => $side::FindCoordinator(read_body($body)?),
            ApiKey::ApiVersions => $side::ApiVersions(read_body($body)?),
            ApiKey::CreateTopics => $side::CreateTopics(read_body($body)?),
            ApiKey::DeleteRecords => $side::DeleteRecords(read_body($body)?),
            ApiKey::InitProducerId => $side::InitProducerId(read_body($body)?),
            ApiKey::OffsetForLeaderEpoch => $side::OffsetForLeaderEpoch(read_body($body)?),
            ApiKey::AlterPartition => $side::AlterPartition(read_body($body)?),
            ApiKey::BrokerRegistration => $side::BrokerRegistration(read_body($body)?),
            ApiKey::BrokerHeartbeat => $side::BrokerHeartbeat(read_body($body)?),
            ApiKey::AllocateProducerIds => $side::AllocateProducerIds(read_body($body)?),
        }
    };
}

/// The frame as Kafka's bytes, [`Frame::encoded_size`] of them, length prefix included.
///
/// # Panics
/// On a frame past 2 GiB, and on a Fetch answer whose diverging epoch is (-1, -1): that is how the
/// format says that there is none.
pub fn encode(frame: &Frame) -> Bytes {
    let size = frame.encoded_size();
    assert!(
        size <= i32::MAX as u64,
        "a frame of {size} bytes has no length prefix"
    );
    let mut buf = BytesMut::with_capacity(size as usize);
    buf.put_i32((size - LENGTH_PREFIX as u64) as i32);
    match frame {
        Frame::Request(correlation_id, request) => {
            with_message!(Request, &**request, m => put_request(&mut buf, *correlation_id, m))
        }
        Frame::Response(correlation_id, response) => {
            with_message!(Response, &**response, m => put_response(&mut buf, *correlation_id, m))
        }
    }
    assert_eq!(
        buf.len() as u64,
        size,
        "encoded size by formula of {frame:?}"
    );
    buf.freeze()
}

/// Reads a whole request frame, length prefix included; records share the frame's memory.
///
/// # Errors
/// Whatever the bytes are, a [`DecodeError`] and no panic; memory stays within some tens of times
/// the frame's length.
pub fn decode_request(frame: &Bytes) -> Result<Frame, DecodeError> {
    // API key, version and correlation id stand in the same place in every version of the header.
    let mut body = strip_prefix(frame, 8)?;
    let fixed = <[u8; 8]>::try_from(&body[..8]).expect("eight bytes are there");
    let [k0, k1, v0, v1, correlation_id @ ..] = fixed;
    let key = i16::from_be_bytes([k0, k1]);
    let version = i16::from_be_bytes([v0, v1]);
    let correlation_id = i32::from_be_bytes(correlation_id);
    let Some(api) = ApiKey::ALL.into_iter().find(|api| *api as i16 == key) else {
        return Err(DecodeError::UnknownApi {
            key,
            correlation_id,
        });
    };
    if version != api.version() {
        return Err(DecodeError::UnsupportedVersion {
            api,
            version,
            correlation_id,
        });
    }
    // A header holds no arrays but its tagged fields, which the crate reads one by one.
    kafka::RequestHeader::decode(&mut body, REQUEST_HEADER).map_err(|e| {
        DecodeError::Malformed {
            api,
            reason: e.to_string(),
        }
    })?;
    Ok(Frame::request(
        correlation_id,
        read_message!(Request, api, body),
    ))
}

/// Reads a whole response frame, length prefix included, as the answer to a request of `api`;
/// records share the frame's memory.
///
/// # Errors
/// As [`decode_request`].
pub fn decode_response(frame: &Bytes, api: ApiKey) -> Result<Frame, DecodeError> {
    let mut body = strip_prefix(frame, 4)?;
    let header = kafka::ResponseHeader::decode(&mut body, response_header(api)).map_err(|e| {
        DecodeError::Malformed {
            api,
            reason: e.to_string(),
        }
    })?;
    Ok(Frame::response(
        header.correlation_id,
        read_message!(Response, api, body),
    ))
}

/// Version of the request header that every API spoken here asks for.
const REQUEST_HEADER: i16 = 2;

/// Version of the response header that this API asks for.
fn response_header(api: ApiKey) -> i16 {
    if api == ApiKey::ApiVersions { 0 } else { 1 }
}

fn put_request<M: Wire>(buf: &mut BytesMut, correlation_id: i32, message: &M) {
    let version = M::API.version();
    assert_eq!(
        M::Kafka::header_version(version),
        REQUEST_HEADER,
        "header of {:?}",
        M::API
    );
    kafka::RequestHeader::default()
        .with_request_api_key(M::API as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)))
        .encode(buf, REQUEST_HEADER)
        .expect("a header without options encodes");
    put_body(buf, message);
}

fn put_response<M: Wire>(buf: &mut BytesMut, correlation_id: i32, message: &M) {
    let header = response_header(M::API);
    assert_eq!(
        M::Kafka::header_version(M::API.version()),
        header,
        "header of {:?}",
        M::API
    );
    kafka::ResponseHeader::default()
        .with_correlation_id(correlation_id)
        .encode(buf, header)
        .expect("a header without options encodes");
    put_body(buf, message);
}

fn put_body<M: Wire>(buf: &mut BytesMut, message: &M) {
    let version = M::API.version();
    message
        .to_kafka()
        .encode(buf, version)
        .unwrap_or_else(|e| panic!("encode {:?} v{version}: {e}", M::API));
}

fn read_body<M: Wire>(mut body: Bytes) -> Result<M, DecodeError> {
    let left = shape::walk(M::API, M::SHAPE, &body)?;
    let message =
        M::Kafka::decode(&mut body, M::API.version()).map_err(|e| DecodeError::Malformed {
            api: M::API,
            reason: e.to_string(),
        })?;
    debug_assert_eq!(
        body.len(),
        left,
        "the shape of {:?} differs from its schema",
        M::API
    );
    M::from_kafka(message)
}

/// What stands behind the length prefix, which must be the frame's and leave room for `header`.
fn strip_prefix(frame: &Bytes, header: usize) -> Result<Bytes, DecodeError> {
    let actual = frame.len();
    if actual < LENGTH_PREFIX + header {
        return Err(DecodeError::FrameLength {
            wanted: (LENGTH_PREFIX + header) as i64,
            actual,
        });
    }
    let prefix = <[u8; LENGTH_PREFIX]>::try_from(&frame[..LENGTH_PREFIX]).expect("checked");
    let wanted = i64::from(i32::from_be_bytes(prefix)) + LENGTH_PREFIX as i64;
    if wanted != actual as i64 {
        return Err(DecodeError::FrameLength { wanted, actual });
    }
    Ok(frame.slice(LENGTH_PREFIX..))
}

/// Where clients find a broker: `broker-N`, port 9092. "None" reads as Kafka's `Node.noNode()`.
pub fn advertised_endpoint(broker: BrokerId) -> (String, i32) {
    if broker < 0 {
        return (String::new(), -1);
    }
    (format!("broker-{broker}"), 9092)
}

fn host_and_port(broker: BrokerId) -> (StrBytes, i32) {
    let (host, port) = advertised_endpoint(broker);
    (StrBytes::from_string(host), port)
}

/// The topic id as the 16 bytes that the format has, big-endian; the metadata log's is 1.
fn uuid(id: TopicId) -> uuid::Uuid {
    uuid::Uuid::from_u128(id.0)
}

fn topic_id(id: uuid::Uuid) -> TopicId {
    TopicId(id.as_u128())
}

fn str_bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn kafka_name(name: &str) -> kafka::TopicName {
    kafka::TopicName(str_bytes(name))
}

fn name(text: &str) -> TopicName {
    TopicName::from(text)
}

fn error(code: i16) -> ErrorCode {
    ErrorCode::from_code(code)
}

/// The only item of an array in which Kafka would accept several.
fn only<M: Wire, T>(items: Vec<T>, what: &'static str) -> Result<T, DecodeError> {
    let mut items = items.into_iter();
    match (items.next(), items.next()) {
        (Some(item), None) => Ok(item),
        _ => M::not_spoken(what),
    }
}
