//! A log directory's `meta.properties`: to which cluster and node it belongs (`MetaProperties`,
//! KIP-631; `directory.id` since KIP-858). A broker that finds another node's refuses to start.

use crate::log::malformed::{Line, Malformed, lines};
use crate::log::partition_metadata::{parse_uuid, uuid_text};
use java_properties::{LineContent, PropertiesIter};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The file in the log directory.
pub const META_PROPERTIES_FILE: &str = "meta.properties";

/// What the file says, in version 1; version 0 belongs to ZooKeeper, which Kafka 4 does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: i32,
    /// `directory.id`; a directory formatted before 3.7 may have none.
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    /// The file's text. Kafka has the date in a comment and the lines in no order.
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::new();
        let mut writer = java_properties::PropertiesWriter::new(&mut bytes);
        let node_id = self.node_id.to_string();
        let directory_id = self.directory_id.map(uuid_text);
        let properties = [
            ("cluster.id", Some(self.cluster_id.as_str())),
            ("directory.id", directory_id.as_deref()),
            ("node.id", Some(node_id.as_str())),
            ("version", Some("1")),
        ];
        for (key, value) in properties {
            if let Some(value) = value {
                writer.write(key, value).expect("writes to memory");
            }
        }
        writer.finish().expect("writes to memory");
        String::from_utf8(bytes).expect("other characters are escaped")
    }

    /// Reads a file.
    ///
    /// # Errors
    /// On a malformed line, another version than 1, a missing or malformed cluster, node or directory
    /// id.
    pub fn parse(bytes: &[u8]) -> Result<MetaProperties, Malformed> {
        let lines: Vec<Line<'_>> = lines(bytes)?.collect();
        let properties = properties(bytes, &lines)?;
        let get = |key: &str| {
            let (line, value) = properties.get(key)?;
            Some((lines.get(line - 1)?, value.as_str()))
        };
        let missing = |key: &str| {
            let what = format!("{key} is missing");
            Malformed::new(bytes.len() as u64, what)
        };
        match get("version") {
            Some((_, "1")) => {}
            Some((line, _)) => return Err(line.wrong("version is not 1")),
            None => return Err(missing("version")),
        }
        let (_, cluster_id) = get("cluster.id").ok_or_else(|| missing("cluster.id"))?;
        let (line, node_id) = get("node.id").ok_or_else(|| missing("node.id"))?;
        let node_id = node_id
            .parse()
            .map_err(|_| line.wrong("node.id is no number"))?;
        let directory_id = match get("directory.id") {
            None => None,
            Some((line, text)) => Some(
                parse_uuid(text)
                    .ok_or_else(|| line.wrong("directory.id is no base64 of 16 bytes"))?,
            ),
        };
        Ok(MetaProperties {
            cluster_id: cluster_id.to_owned(),
            node_id,
            directory_id,
        })
    }
}

/// Key to number of line and value; of a key that stands twice the last counts, as in Java.
fn properties(
    bytes: &[u8],
    lines: &[Line<'_>],
) -> Result<BTreeMap<String, (usize, String)>, Malformed> {
    let mut found = BTreeMap::new();
    for line in PropertiesIter::new(bytes) {
        let line = line.map_err(|error| {
            let number = error.line_number().unwrap_or(1).max(1);
            match lines.get(number - 1) {
                Some(line) => line.wrong(&error.to_string()),
                None => Malformed::new(bytes.len() as u64, error.to_string()),
            }
        })?;
        let number = line.line_number();
        if let LineContent::KVPair(key, value) = line.consume_content() {
            found.insert(key, (number, value));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "#\n#Sun Nov 22 21:17:51 UTC 2026\nnode.id=1\n\
        directory.id=OAtErhTb4MDu3Nxq6wPKkQ\nversion=1\ncluster.id=AqB6eKA9SSyCq3qJs37z6Q\n";

    #[test]
    fn a_file_of_kafka_is_read() {
        let read = MetaProperties::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(read.cluster_id, "AqB6eKA9SSyCq3qJs37z6Q");
        assert_eq!(read.node_id, 1);
        let directory_id = read.directory_id.map(uuid_text);
        assert_eq!(directory_id.as_deref(), Some("OAtErhTb4MDu3Nxq6wPKkQ"));
        let without = TEXT.replace("directory.id", "log.dir.id");
        let read = MetaProperties::parse(without.as_bytes()).unwrap();
        assert_eq!(read.directory_id, None);
    }

    #[test]
    fn errors_say_which_line() {
        for (from, to, told) in [
            (
                "version=1",
                "version=0",
                "byte 78: line 5 \"version=0\": version is not 1",
            ),
            ("version=1\n", "", "byte 112: version is missing"),
            (
                "node.id=1",
                "node.id=one",
                "byte 32: line 3 \"node.id=one\": node.id is no number",
            ),
            ("node.id=1", "broker.id=1", "byte 124: node.id is missing"),
            ("cluster.id", "cluster", "byte 119: cluster.id is missing"),
            (
                "OAtE",
                "",
                "byte 42: line 4 \"directory.id=rhTb4MDu3Nxq6wPKkQ\": directory.id is no base64 of 16 bytes",
            ),
        ] {
            let text = TEXT.replace(from, to);
            let error = MetaProperties::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), told);
        }
        let malformed = TEXT.replace("node.id=1", "node.id=\\u00x");
        let error = MetaProperties::parse(malformed.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("byte 32: line 3 "), "{error}");
    }

    proptest! {
        #[test]
        fn properties_come_back(cluster_id in "[ -~]{1,30}", node_id in any::<i32>(), directory in any::<Option<u128>>()) {
            let written = MetaProperties { cluster_id, node_id, directory_id: directory.map(Uuid::from_u128) };
            let text = written.to_text();
            prop_assert_eq!(MetaProperties::parse(text.as_bytes()), Ok(written), "{}", text);
        }

        #[test]
        fn damaged_files_are_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut bytes = TEXT.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let cut = cut.index(bytes.len() + 1);
            if let Err(error) = MetaProperties::parse(&bytes[..cut]) {
                prop_assert!(error.at <= cut as u64, "{}", error);
            }
        }
    }
}
