//! What Kafka's `DumpLogSegments --deep-iteration --print-data-log` prints of a segment, held against
//! the segment.

use bytes::Bytes;
use everyack_broker::log::batch::batches;
use everyack_broker::log::codec::{self, Codec};
use everyack_broker::log::control::ControlRecord;
use everyack_broker::log::{BatchHeader, Record};
use std::collections::BTreeMap;

/// More than any batch here decompresses to.
const DECOMPRESSED_MAX: usize = 1 << 20;

/// What was compared.
#[derive(Debug, Default)]
pub struct Seen {
    pub batches: usize,
    pub records: usize,
    pub codecs: Vec<&'static str>,
    /// Batches without records.
    pub empty: usize,
    /// Batches with a delete horizon.
    pub horizons: usize,
}

/// `word: value` pairs of a line.
fn fields(line: &str) -> BTreeMap<&str, &str> {
    let words: Vec<&str> = line.split(' ').collect();
    let pairs = words.windows(2);
    pairs
        .filter_map(|pair| Some((pair[0].strip_suffix(':')?, pair[1])))
        .collect()
}

/// What the dump says of a segment: each batch with its records, as lines.
fn printed(dump: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in dump.lines() {
        if line.starts_with("baseOffset: ") {
            found.push((line, Vec::new()));
        } else if let Some(record) = line.strip_prefix("| ") {
            let (_, records) = found.last_mut().expect("a batch comes first");
            records.push(record);
        }
    }
    found
}

fn size(bytes: &Option<Bytes>) -> String {
    bytes
        .as_ref()
        .map_or("-1".to_owned(), |bytes| bytes.len().to_string())
}

fn text(bytes: &Option<Bytes>) -> Option<&str> {
    let bytes = bytes.as_ref()?;
    Some(str::from_utf8(bytes).expect("text"))
}

fn assert_record(path: &str, line: &str, record: &Record, is_control: bool) {
    let said = fields(line);
    assert_eq!(said["offset"], record.offset.to_string(), "{path}: {line}");
    let timestamp = record.timestamp.to_string();
    assert_eq!(said["CreateTime"], timestamp, "{path}: {line}");
    assert_eq!(said["keySize"], size(&record.key), "{path}: {line}");
    assert_eq!(said["valueSize"], size(&record.value), "{path}: {line}");
    assert_eq!(said["headerKeys"], "[]", "{path}: {line}");
    assert_eq!(record.headers().count(), 0, "{path}: {line}");
    if is_control {
        let committed = said["endTxnMarker"] == "COMMIT";
        let coordinator_epoch = said["coordinatorEpoch"].parse().expect("a number");
        let expected = ControlRecord::EndTxn {
            committed,
            coordinator_epoch,
        };
        assert_eq!(ControlRecord::of(record), Ok(expected), "{path}: {line}");
    } else if !path.starts_with("__") {
        assert_eq!(
            said.get("key").copied(),
            text(&record.key),
            "{path}: {line}"
        );
        assert_eq!(
            said.get("payload").copied(),
            text(&record.value),
            "{path}: {line}"
        );
    }
}

fn assert_batch(
    path: &str,
    line: &str,
    position: usize,
    header: &BatchHeader,
    codec: &str,
    valid: bool,
) {
    let said = fields(line);
    let horizon = match header.delete_horizon_ms() {
        Some(horizon) => format!("OptionalLong[{horizon}]"),
        None => "OptionalLong.empty".to_owned(),
    };
    for (field, ours) in [
        ("baseOffset", header.base_offset.to_string()),
        ("lastOffset", header.last_offset().to_string()),
        ("count", header.record_count.to_string()),
        ("baseSequence", header.base_sequence.to_string()),
        ("lastSequence", header.last_sequence().to_string()),
        ("producerId", header.producer_id.to_string()),
        ("producerEpoch", header.producer_epoch.to_string()),
        (
            "partitionLeaderEpoch",
            header.partition_leader_epoch.to_string(),
        ),
        ("isTransactional", header.is_transactional().to_string()),
        ("isControl", header.is_control().to_string()),
        ("deleteHorizonMs", horizon),
        ("position", position.to_string()),
        ("CreateTime", header.max_timestamp.to_string()),
        ("size", header.size().to_string()),
        ("magic", header.magic.to_string()),
        ("compresscodec", codec.to_owned()),
        ("crc", header.crc.to_string()),
        ("isvalid", valid.to_string()),
    ] {
        assert_eq!(said[field], ours, "{path}: {field} in {line}");
    }
}

/// Asserts that the dump says of each batch and each record what they are.
pub fn assert_says(dump: &str, path: &str, segment: &Bytes) -> Seen {
    let expected = printed(dump);
    let mut seen = Seen::default();
    let mut position = 0;
    let read: Vec<_> = batches(segment).map(Result::unwrap).collect();
    assert_eq!(read.len(), expected.len(), "{path}");
    for (batch, (line, record_lines)) in read.iter().zip(&expected) {
        let header = &batch.header;
        let codec = Codec::of(header.compression()).unwrap();
        let codec = codec.map_or("none", Codec::name);
        let valid = header.check_crc(&batch.bytes).is_ok();
        assert_batch(path, line, position, header, codec, valid);
        let records: Vec<Record> = codec::records(&batch.bytes, DECOMPRESSED_MAX)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(records.len(), record_lines.len(), "{path}: {line}");
        for (record, line) in records.iter().zip(record_lines) {
            assert_record(path, line, record, header.is_control());
        }
        position += header.size();
        seen.batches += 1;
        seen.records += records.len();
        seen.empty += usize::from(records.is_empty());
        seen.horizons += usize::from(header.delete_horizon_ms().is_some());
        seen.codecs.push(codec);
    }
    assert_eq!(position, segment.len(), "{path}");
    seen
}
