//! What brokers and controllers say to each other, in the schema crate's words.

use super::shape::Field::{Array, Fixed, Tags, Text};
use super::shape::{INTS, NO_TAGS, Shape, UUIDS};
use super::*;
use kafka::{alter_partition_request, alter_partition_response};

impl Wire for AlterPartitionRequest {
    type Kafka = kafka::AlterPartitionRequest;
    const API: ApiKey = ApiKey::AlterPartition;
    const SHAPE: Shape = &[
        Fixed(4 + 8),
        Array(&[
            Fixed(16),
            Array(&[
                Fixed(4 + 4),
                Array(&[Fixed(4 + 8), NO_TAGS]),
                Fixed(1 + 4),
                NO_TAGS,
            ]),
            NO_TAGS,
        ]),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let member = |(id, epoch): &(BrokerId, BrokerEpoch)| {
            alter_partition_request::BrokerState::default()
                .with_broker_id((*id).into())
                .with_broker_epoch(*epoch)
        };
        let partition = |p: &AlterPartition| {
            alter_partition_request::PartitionData::default()
                .with_partition_index(p.partition)
                .with_leader_epoch(p.leader_epoch)
                .with_new_isr_with_epochs(p.new_isr.iter().map(member).collect())
                .with_partition_epoch(p.partition_epoch)
        };
        let topic = |(id, partitions): &(TopicId, Items<AlterPartition>)| {
            alter_partition_request::TopicData::default()
                .with_topic_id(uuid(*id))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        kafka::AlterPartitionRequest::default()
            .with_broker_id(self.broker.into())
            .with_broker_epoch(self.broker_epoch)
            .with_topics(self.topics.iter().map(topic).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let member = |m: &alter_partition_request::BrokerState| (m.broker_id.0, m.broker_epoch);
        let partition = |p: alter_partition_request::PartitionData| AlterPartition {
            partition: p.partition_index,
            leader_epoch: p.leader_epoch,
            partition_epoch: p.partition_epoch,
            new_isr: p.new_isr_with_epochs.iter().map(member).collect(),
        };
        let topic = |t: alter_partition_request::TopicData| {
            (
                topic_id(t.topic_id),
                t.partitions.into_iter().map(partition).collect(),
            )
        };
        Ok(AlterPartitionRequest {
            broker: body.broker_id.0,
            broker_epoch: body.broker_epoch,
            topics: body.topics.into_iter().map(topic).collect(),
        })
    }
}

impl Wire for AlterPartitionResponse {
    type Kafka = kafka::AlterPartitionResponse;
    const API: ApiKey = ApiKey::AlterPartition;
    const SHAPE: Shape = &[
        Fixed(4 + 2),
        Array(&[
            Fixed(16),
            Array(&[Fixed(4 + 2 + 4 + 4), INTS, Fixed(1 + 4), NO_TAGS]),
            NO_TAGS,
        ]),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        let partition = |p: &AlterPartitionResult| {
            alter_partition_response::PartitionData::default()
                .with_partition_index(p.partition)
                .with_error_code(p.error as i16)
                .with_leader_id(p.leader.into())
                .with_leader_epoch(p.leader_epoch)
                .with_isr(p.isr.iter().map(|id| (*id).into()).collect())
                .with_partition_epoch(p.partition_epoch)
        };
        let topic = |(id, partitions): &(TopicId, Items<AlterPartitionResult>)| {
            alter_partition_response::TopicData::default()
                .with_topic_id(uuid(*id))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        kafka::AlterPartitionResponse::default()
            .with_error_code(self.error as i16)
            .with_topics(self.topics.iter().map(topic).collect())
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        let partition = |p: alter_partition_response::PartitionData| AlterPartitionResult {
            partition: p.partition_index,
            error: error(p.error_code),
            leader: p.leader_id.0,
            leader_epoch: p.leader_epoch,
            isr: p.isr.into_iter().map(|id| id.0).collect(),
            partition_epoch: p.partition_epoch,
        };
        let topic = |t: alter_partition_response::TopicData| {
            (
                topic_id(t.topic_id),
                t.partitions.into_iter().map(partition).collect(),
            )
        };
        Ok(AlterPartitionResponse {
            error: error(body.error_code),
            topics: body.topics.into_iter().map(topic).collect(),
        })
    }
}

impl Wire for BrokerRegistrationRequest {
    type Kafka = kafka::BrokerRegistrationRequest;
    const API: ApiKey = ApiKey::BrokerRegistration;
    const SHAPE: Shape = &[
        Fixed(4),
        Text,
        Fixed(16),
        Array(&[Text, Text, Fixed(2 + 2), NO_TAGS]),
        Array(&[Text, Fixed(2 + 2), NO_TAGS]),
        Text,
        Fixed(1),
        UUIDS,
        Fixed(8),
        NO_TAGS,
    ];

    fn to_kafka(&self) -> Self::Kafka {
        kafka::BrokerRegistrationRequest::default()
            .with_broker_id(self.broker.into())
            .with_incarnation_id(uuid::Uuid::from_u128(self.incarnation.0))
            .with_rack(None)
            .with_previous_broker_epoch(self.previous_broker_epoch)
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        Ok(BrokerRegistrationRequest {
            broker: body.broker_id.0,
            incarnation: Incarnation(body.incarnation_id.as_u128()),
            previous_broker_epoch: body.previous_broker_epoch,
        })
    }
}

impl Wire for BrokerRegistrationResponse {
    type Kafka = kafka::BrokerRegistrationResponse;
    const API: ApiKey = ApiKey::BrokerRegistration;
    const SHAPE: Shape = &[Fixed(4 + 2 + 8), NO_TAGS];

    fn to_kafka(&self) -> Self::Kafka {
        kafka::BrokerRegistrationResponse::default()
            .with_error_code(self.error as i16)
            .with_broker_epoch(self.broker_epoch)
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        Ok(BrokerRegistrationResponse {
            error: error(body.error_code),
            broker_epoch: body.broker_epoch,
        })
    }
}

impl Wire for BrokerHeartbeatRequest {
    type Kafka = kafka::BrokerHeartbeatRequest;
    const API: ApiKey = ApiKey::BrokerHeartbeat;
    const SHAPE: Shape = &[Fixed(4 + 8 + 8 + 1 + 1), Tags(&[(0, &[UUIDS])])];

    fn to_kafka(&self) -> Self::Kafka {
        kafka::BrokerHeartbeatRequest::default()
            .with_broker_id(self.broker.into())
            .with_broker_epoch(self.broker_epoch)
            .with_current_metadata_offset(self.current_metadata_offset)
            .with_want_fence(self.want_fence)
            .with_want_shut_down(self.want_shut_down)
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        if !body.offline_log_dirs.is_empty() {
            return Self::not_spoken("a log directory gone offline");
        }
        Ok(BrokerHeartbeatRequest {
            broker: body.broker_id.0,
            broker_epoch: body.broker_epoch,
            current_metadata_offset: body.current_metadata_offset,
            want_fence: body.want_fence,
            want_shut_down: body.want_shut_down,
        })
    }
}

impl Wire for BrokerHeartbeatResponse {
    type Kafka = kafka::BrokerHeartbeatResponse;
    const API: ApiKey = ApiKey::BrokerHeartbeat;
    const SHAPE: Shape = &[Fixed(4 + 2 + 1 + 1 + 1), NO_TAGS];

    fn to_kafka(&self) -> Self::Kafka {
        kafka::BrokerHeartbeatResponse::default()
            .with_error_code(self.error as i16)
            .with_is_caught_up(self.is_caught_up)
            .with_is_fenced(self.is_fenced)
            .with_should_shut_down(self.should_shut_down)
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        Ok(BrokerHeartbeatResponse {
            error: error(body.error_code),
            is_caught_up: body.is_caught_up,
            is_fenced: body.is_fenced,
            should_shut_down: body.should_shut_down,
        })
    }
}

impl Wire for AllocateProducerIdsRequest {
    type Kafka = kafka::AllocateProducerIdsRequest;
    const API: ApiKey = ApiKey::AllocateProducerIds;
    const SHAPE: Shape = &[Fixed(4 + 8), NO_TAGS];

    fn to_kafka(&self) -> Self::Kafka {
        kafka::AllocateProducerIdsRequest::default()
            .with_broker_id(self.broker.into())
            .with_broker_epoch(self.broker_epoch)
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        Ok(AllocateProducerIdsRequest {
            broker: body.broker_id.0,
            broker_epoch: body.broker_epoch,
        })
    }
}

impl Wire for AllocateProducerIdsResponse {
    type Kafka = kafka::AllocateProducerIdsResponse;
    const API: ApiKey = ApiKey::AllocateProducerIds;
    const SHAPE: Shape = &[Fixed(4 + 2 + 8 + 4), NO_TAGS];

    fn to_kafka(&self) -> Self::Kafka {
        kafka::AllocateProducerIdsResponse::default()
            .with_error_code(self.error as i16)
            .with_producer_id_start(self.first.into())
            .with_producer_id_len(self.count)
    }

    fn from_kafka(body: Self::Kafka) -> Result<Self, DecodeError> {
        Ok(AllocateProducerIdsResponse {
            error: error(body.error_code),
            first: body.producer_id_start.0,
            count: body.producer_id_len,
        })
    }
}
