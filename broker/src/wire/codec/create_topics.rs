//! CreateTopics in the schema crate's words.

use super::shape::Field::{Array, Fixed, Tags, Text};
use super::shape::{INTS, NO_TAGS, Shape};
use super::*;
use kafka::{create_topics_request as create, create_topics_response as created};

impl Wire for CreateTopicsRequest {
    type Kafka = kafka::CreateTopicsRequest;
    const API: ApiKey = ApiKey::CreateTopics;
    const SHAPE: Shape = &[
        Array(&[
            Text,
            Fixed(4 + 2),
            Array(&[Fixed(4), INTS, NO_TAGS]),
            Array(&[Text, Text, NO_TAGS]),
            NO_TAGS,
        ]),
        Fixed(4 + 1),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let assignment = |(partition, replicas): &(i32, Vec<BrokerId>)| {
            create::CreatableReplicaAssignment::default()
                .with_partition_index(*partition)
                .with_broker_ids(replicas.iter().map(|id| (*id).into()).collect())
        };
        let config = |(key, value): &(TopicName, Option<TopicName>)| {
            create::CreatableTopicConfig::default()
                .with_name(str_bytes(key))
                .with_value(value.as_deref().map(str_bytes))
        };
        let topic = |t: &CreatableTopic| {
            create::CreatableTopic::default()
                .with_name(kafka_name(&t.name))
                .with_num_partitions(t.num_partitions)
                .with_replication_factor(t.replication_factor)
                .with_assignments(t.assignments.iter().map(assignment).collect())
                .with_configs(t.configs.iter().map(config).collect())
        };
        kafka::CreateTopicsRequest::default()
            .with_topics(self.topics.iter().map(topic).collect())
            .with_timeout_ms(self.timeout_ms)
            .with_validate_only(self.validate_only)
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let assignment = |a: create::CreatableReplicaAssignment| {
            let replicas = a.broker_ids.into_iter().map(|id| id.0);
            (a.partition_index, replicas.collect())
        };
        let config = |c: create::CreatableTopicConfig| (name(&c.name), c.value.map(|v| name(&v)));
        let topic = |t: create::CreatableTopic| CreatableTopic {
            name: name(&t.name),
            num_partitions: t.num_partitions,
            replication_factor: t.replication_factor,
            assignments: t.assignments.into_iter().map(assignment).collect(),
            configs: t.configs.into_iter().map(config).collect(),
        };
        Ok(CreateTopicsRequest {
            topics: body.topics.into_iter().map(topic).collect(),
            timeout_ms: body.timeout_ms,
            validate_only: body.validate_only,
        })
    }
}

impl Wire for CreateTopicsResponse {
    type Kafka = kafka::CreateTopicsResponse;
    const API: ApiKey = ApiKey::CreateTopics;
    const SHAPE: Shape = &[
        Fixed(4),
        Array(&[
            Text,
            Fixed(16 + 2),
            Text,
            Fixed(4 + 2),
            Array(&[Text, Text, Fixed(1 + 1 + 1), NO_TAGS]),
            // The error of the settings above.
            Tags(&[(0, &[Fixed(2)])]),
        ]),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let topic = |t: &CreatedTopic| {
            created::CreatableTopicResult::default()
                .with_name(kafka_name(&t.name))
                .with_topic_id(uuid(t.id))
                .with_error_code(t.error as i16)
                .with_error_message(t.message.as_deref().map(str_bytes))
                .with_num_partitions(t.num_partitions)
                .with_replication_factor(t.replication_factor)
        };
        kafka::CreateTopicsResponse::default().with_topics(self.topics.iter().map(topic).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let topic = |t: created::CreatableTopicResult| CreatedTopic {
            name: name(&t.name),
            id: topic_id(t.topic_id),
            error: error(t.error_code),
            message: t.error_message.map(|text| name(&text)),
            num_partitions: t.num_partitions,
            replication_factor: t.replication_factor,
        };
        Ok(CreateTopicsResponse {
            topics: body.topics.into_iter().map(topic).collect(),
        })
    }
}
