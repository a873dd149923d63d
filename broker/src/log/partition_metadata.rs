//! A partition's `partition.metadata`: which topic the folder belongs to (`PartitionMetadataFile`,
//! KIP-516). A topic that was deleted and created again has the same name and another id.

use crate::log::malformed::{Malformed, lines};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// The file in the partition's folder.
pub const PARTITION_METADATA_FILE: &str = "partition.metadata";

/// A UUID as Kafka writes it: 22 characters of unpadded base64url (`Uuid.toString`).
pub fn uuid_text(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// Reads such a text, `None` where it is none. Kafka takes padding too, and so does this.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    Some(Uuid::from_bytes(bytes.try_into().ok()?))
}

/// The file's text.
pub fn partition_metadata_text(topic_id: Uuid) -> String {
    format!("version: 0\ntopic_id: {}", uuid_text(topic_id))
}

/// Reads the topic id.
///
/// # Errors
/// Where a line is missing or malformed, the version is negative (later ones are read as this one,
/// as in Kafka) or the topic id is zero.
pub fn parse_partition_metadata(bytes: &[u8]) -> Result<Uuid, Malformed> {
    let mut lines = lines(bytes)?;
    let mut value_of = |key: &str| {
        let Some(line) = lines.next() else {
            return Err(Malformed::new(
                bytes.len() as u64,
                format!("no line {key:?}"),
            ));
        };
        // Kafka does not look at the word before the value.
        match line.text.split_ascii_whitespace().collect::<Vec<_>>()[..] {
            [word, value] if word == key => Ok((line, value)),
            _ => Err(line.wrong(&format!("not of the form \"{key} value\""))),
        }
    };
    let (line, version) = value_of("version:")?;
    match version.parse::<i32>() {
        Ok(0..) => {}
        Ok(_) => return Err(line.wrong("version is negative")),
        Err(_) => return Err(line.wrong("version is no number")),
    }
    let (line, topic_id) = value_of("topic_id:")?;
    match parse_uuid(topic_id) {
        Some(id) if id.is_nil() => Err(line.wrong("topic id is zero")),
        Some(id) => Ok(id),
        None => Err(line.wrong("topic id is no base64 of 16 bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_text_is_that_of_kafka() {
        let text = "version: 0\ntopic_id: cxeCxyceRxmHRM_ed1KQZw";
        let id = parse_partition_metadata(text.as_bytes()).unwrap();
        assert_eq!(id.as_bytes()[..4], [0x73, 0x17, 0x82, 0xc7]);
        assert_eq!(partition_metadata_text(id), text);
        let later = text.replace('0', "1") + "\nmore: x\n";
        assert_eq!(parse_partition_metadata(later.as_bytes()), Ok(id));
        assert_eq!(parse_uuid("cxeCxyceRxmHRM_ed1KQZw=="), Some(id));
    }

    #[test]
    fn errors_say_which_line() {
        for (text, told) in [
            ("", "byte 0: no line \"version:\""),
            (
                "version 0",
                "byte 0: line 1 \"version 0\": not of the form \"version: value\"",
            ),
            (
                "version: -1",
                "byte 0: line 1 \"version: -1\": version is negative",
            ),
            (
                "version: x",
                "byte 0: line 1 \"version: x\": version is no number",
            ),
            ("version: 0\n", "byte 11: no line \"topic_id:\""),
            (
                "version: 0\ntopic_id: ab+/",
                "byte 11: line 2 \"topic_id: ab+/\": topic id is no base64 of 16 bytes",
            ),
            (
                "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
                "byte 11: line 2 \"topic_id: AAAAAAAAAAAAAAAAAAAAAA\": topic id is zero",
            ),
        ] {
            let error = parse_partition_metadata(text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), told);
        }
    }

    proptest! {
        #[test]
        fn topic_ids_come_back(bits in 1..u128::MAX) {
            let id = Uuid::from_u128(bits);
            prop_assert_eq!(parse_partition_metadata(partition_metadata_text(id).as_bytes()), Ok(id));
        }

        #[test]
        fn damaged_files_are_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut bytes = partition_metadata_text(Uuid::from_u128(7)).into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let cut = cut.index(bytes.len() + 1);
            if let Err(error) = parse_partition_metadata(&bytes[..cut]) {
                prop_assert!(error.at <= cut as u64, "{}", error);
            }
        }
    }
}
