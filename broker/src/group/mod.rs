//! The group coordinator, as far as it keeps committed offsets.
//!
//! - [`offsets`] commits, kept in `__consumer_offsets` and read back from it
//! - [`record`] the records of that topic

pub mod offsets;
pub mod record;

pub use offsets::OffsetsCoordinator;

use crate::config::BrokerConfig;

/// The name of the internal topic.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The topic-level settings with which brokers create it
/// (`GroupCoordinatorService.groupMetadataTopicConfigs`).
pub fn offsets_topic_configs(config: &BrokerConfig) -> Vec<(String, String)> {
    let segment_bytes = config.offsets_topic_segment_bytes.to_string();
    [
        ("cleanup.policy", "compact"),
        ("segment.bytes", &segment_bytes),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// `GroupCoordinatorService.partitionFor`: `Utils.abs(groupId.hashCode()) % partitions`.
pub fn partition_for(group: &str, partitions: i32) -> i32 {
    let hash = group
        .encode_utf16()
        .fold(0i32, |h, c| h.wrapping_mul(31).wrapping_add(i32::from(c)));
    // `Utils.abs` maps Integer.MIN_VALUE to 0.
    hash.checked_abs().unwrap_or(0) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lands_on_the_partition_that_javas_hash_code_gives() {
        // "hello".hashCode() == 99162322 and "polygenelubricants".hashCode() == Integer.MIN_VALUE.
        assert_eq!(partition_for("hello", 50), 22);
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("anything", 1), 0);
    }
}
