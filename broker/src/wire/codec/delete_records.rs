//! DeleteRecords in the schema crate's words.

use super::shape::Field::{Array, Fixed, Text};
use super::shape::{NO_TAGS, Shape};
use super::*;
use kafka::{delete_records_request as delete, delete_records_response as deleted};

impl Wire for DeleteRecordsRequest {
    type Kafka = kafka::DeleteRecordsRequest;
    const API: ApiKey = ApiKey::DeleteRecords;
    const SHAPE: Shape = &[
        Array(&[Text, Array(&[Fixed(4 + 8), NO_TAGS]), NO_TAGS]),
        Fixed(4),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let partition = |p: &DeleteRecordsPartition| {
            delete::DeleteRecordsPartition::default()
                .with_partition_index(p.partition)
                .with_offset(p.offset)
        };
        let topic = |(name, partitions): &(TopicName, Items<DeleteRecordsPartition>)| {
            delete::DeleteRecordsTopic::default()
                .with_name(kafka_name(name))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        kafka::DeleteRecordsRequest::default()
            .with_topics(self.topics.iter().map(topic).collect())
            .with_timeout_ms(self.timeout_ms)
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let partition = |p: delete::DeleteRecordsPartition| DeleteRecordsPartition {
            partition: p.partition_index,
            offset: p.offset,
        };
        let topic = |t: delete::DeleteRecordsTopic| {
            (
                name(&t.name),
                t.partitions.into_iter().map(partition).collect(),
            )
        };
        Ok(DeleteRecordsRequest {
            topics: body.topics.into_iter().map(topic).collect(),
            timeout_ms: body.timeout_ms,
        })
    }
}

impl Wire for DeleteRecordsResponse {
    type Kafka = kafka::DeleteRecordsResponse;
    const API: ApiKey = ApiKey::DeleteRecords;
    const SHAPE: Shape = &[
        Fixed(4),
        Array(&[Text, Array(&[Fixed(4 + 8 + 2), NO_TAGS]), NO_TAGS]),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let partition = |p: &DeleteRecordsPartitionResult| {
            deleted::DeleteRecordsPartitionResult::default()
                .with_partition_index(p.partition)
                .with_low_watermark(p.low_watermark)
                .with_error_code(p.error as i16)
        };
        let topic = |(name, partitions): &(TopicName, Items<DeleteRecordsPartitionResult>)| {
            deleted::DeleteRecordsTopicResult::default()
                .with_name(kafka_name(name))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        kafka::DeleteRecordsResponse::default().with_topics(self.topics.iter().map(topic).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let partition = |p: deleted::DeleteRecordsPartitionResult| DeleteRecordsPartitionResult {
            partition: p.partition_index,
            low_watermark: p.low_watermark,
            error: error(p.error_code),
        };
        let topic = |t: deleted::DeleteRecordsTopicResult| {
            (
                name(&t.name),
                t.partitions.into_iter().map(partition).collect(),
            )
        };
        Ok(DeleteRecordsResponse {
            topics: body.topics.into_iter().map(topic).collect(),
        })
    }
}
