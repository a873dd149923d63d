//! Metadata records: what the metadata log consists of (the schemas in
//! `metadata/src/main/resources/common/metadata`).
//!
//! Not modelled: endpoints, supported features and racks of brokers, log directory ids (KIP-858),
//! reassignments in flight, eligible leader replicas (their feature level is 0), metadata
//! transactions, ACLs, quotas, SCRAM and delegation tokens.

use crate::ids::*;
use std::sync::Arc;

/// `ConfigResource.Type.TOPIC`.
pub const TOPIC_RESOURCE: i8 = 2;
/// metadata.version 4.0-IV3, the production level of 4.0.
pub const METADATA_VERSION_LEVEL: i16 = 25;
/// The feature that says which metadata records may be written.
pub const METADATA_VERSION_FEATURE: &str = "metadata.version";

/// A broker process introduced itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisterBrokerRecord {
    /// `node.id`.
    pub broker: BrokerId,
    /// Drawn anew by each process.
    pub incarnation: Incarnation,
    /// Given by the controller.
    pub epoch: BrokerEpoch,
    /// True for a new incarnation.
    pub fenced: bool,
    /// False for a new incarnation.
    pub in_controlled_shutdown: bool,
}

/// A registered broker was fenced, unfenced, or began a controlled shutdown (KIP-841).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerRegistrationChangeRecord {
    /// Which broker.
    pub broker: BrokerId,
    /// Its epoch.
    pub epoch: BrokerEpoch,
    /// The new state, `None` where it stays.
    pub fenced: Option<bool>,
    /// The broker entered controlled shutdown. It never leaves it but by a new registration.
    pub in_controlled_shutdown: bool,
}

/// A partition came into being.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRecord {
    /// Which partition.
    pub partition: TopicPartition,
    /// Preferred leader first.
    pub replicas: Arc<[BrokerId]>,
    /// In-sync replicas.
    pub isr: Arc<[BrokerId]>,
    /// -1 for none.
    pub leader: BrokerId,
    /// `LeaderRecoveryState.RECOVERING`: after an unclean election.
    pub recovering: bool,
    /// Grows with the leader.
    pub leader_epoch: LeaderEpoch,
    /// Grows with every change.
    pub partition_epoch: PartitionEpoch,
}

/// What changed in a partition; `None` where it stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionChangeRecord {
    /// Which partition.
    pub partition: TopicPartition,
    /// New ISR.
    pub isr: Option<Arc<[BrokerId]>>,
    /// New leader, -1 for none. Setting it raises the leader epoch, even to the same broker.
    pub leader: Option<BrokerId>,
    /// New order of the replicas.
    pub replicas: Option<Arc<[BrokerId]>>,
    /// New recovery state.
    pub recovering: Option<bool>,
}

impl PartitionChangeRecord {
    /// A record that changes nothing yet.
    pub fn none(partition: TopicPartition) -> Self {
        PartitionChangeRecord {
            partition,
            isr: None,
            leader: None,
            replicas: None,
            recovering: None,
        }
    }

    /// `PartitionChangeBuilder.changeRecordIsNoOp`.
    pub fn is_no_op(&self) -> bool {
        *self == Self::none(self.partition)
    }
}

/// One record of the metadata log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataRecord {
    /// Api key 0, version 3.
    RegisterBroker(RegisterBrokerRecord),
    /// Api key 1, version 0.
    UnregisterBroker {
        /// Which broker.
        broker: BrokerId,
        /// Its epoch.
        epoch: BrokerEpoch,
    },
    /// Api key 2, version 0.
    Topic {
        /// Name.
        name: TopicName,
        /// Id.
        id: TopicId,
    },
    /// Api key 3, version 2.
    Partition(PartitionRecord),
    /// Api key 4, version 0.
    Config {
        /// `ConfigResource.Type`: 2 topic, 4 broker.
        resource_type: i8,
        /// Topic name, or broker id, or "" for all brokers.
        resource: TopicName,
        /// Kafka's own name of the setting.
        key: String,
        /// `None` unsets it.
        value: Option<String>,
    },
    /// Api key 5, version 2.
    PartitionChange(PartitionChangeRecord),
    /// Api key 12, version 0.
    FeatureLevel {
        /// Feature.
        name: String,
        /// Finalized level.
        level: i16,
    },
    /// Api key 15, version 0.
    ProducerIds {
        /// Who asked for the block.
        broker: BrokerId,
        /// Its epoch.
        broker_epoch: BrokerEpoch,
        /// First id of the next block.
        next_producer_id: ProducerId,
    },
    /// Api key 17, version 0 for fencing, 1 for controlled shutdown.
    BrokerRegistrationChange(BrokerRegistrationChangeRecord),
}
