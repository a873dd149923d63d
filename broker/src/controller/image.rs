//! What the metadata records add up to, in the controller and in every broker (`MetadataImage`).
//!
//! Not modelled: what [`record`](super::record) leaves out.

use super::record::*;
use crate::ids::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A registered broker (`BrokerRegistration`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// `node.id`.
    pub id: BrokerId,
    /// Given by the controller at its registration.
    pub epoch: BrokerEpoch,
    /// Which process.
    pub incarnation: Incarnation,
    /// It may neither lead nor be in an ISR, and clients do not see it.
    pub fenced: bool,
    /// It may neither lead nor join an ISR (KIP-841).
    pub in_controlled_shutdown: bool,
    /// Offset of its last `RegisterBrokerRecord`.
    pub register_offset: Offset,
}

impl BrokerRegistration {
    /// Neither fenced nor shutting down (`ClusterControlManager.isActive`).
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }
}

/// A partition's state (`PartitionRegistration`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRegistration {
    /// Preferred leader first.
    pub replicas: Arc<[BrokerId]>,
    /// In-sync replicas, never empty while there are no eligible leader replicas.
    pub isr: Arc<[BrokerId]>,
    /// -1 for none.
    pub leader: BrokerId,
    /// Grows with every `leader` field of a record.
    pub leader_epoch: LeaderEpoch,
    /// Grows with every record.
    pub partition_epoch: PartitionEpoch,
    /// Elected uncleanly, and its leader has not said yet that it recovered.
    pub recovering: bool,
}

impl PartitionRegistration {
    /// `PartitionRegistration.merge`.
    pub fn merge(&self, change: &PartitionChangeRecord) -> PartitionRegistration {
        PartitionRegistration {
            replicas: change.replicas.as_ref().unwrap_or(&self.replicas).clone(),
            isr: change.isr.as_ref().unwrap_or(&self.isr).clone(),
            leader: change.leader.unwrap_or(self.leader),
            leader_epoch: self.leader_epoch + i32::from(change.leader.is_some()),
            partition_epoch: self.partition_epoch + 1,
            recovering: change.recovering.unwrap_or(self.recovering),
        }
    }
}

/// A topic and its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    /// Name.
    pub name: TopicName,
    /// Id.
    pub id: TopicId,
    /// By index.
    pub partitions: BTreeMap<i32, PartitionRegistration>,
}

/// What one record changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A broker's registration.
    Broker(BrokerId),
    /// A topic came into being; its partitions and settings follow.
    Topic(TopicId),
    /// A partition's state.
    Partition(TopicPartition),
    /// A topic's setting.
    TopicConfig(TopicName),
    /// Something that no broker acts upon.
    Other,
}

/// The cluster's metadata up to an offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataImage {
    /// Offset of the last record applied.
    offset: Option<Offset>,
    brokers: BTreeMap<BrokerId, BrokerRegistration>,
    topics: BTreeMap<TopicId, TopicImage>,
    topic_ids: BTreeMap<TopicName, TopicId>,
    topic_configs: BTreeMap<TopicName, BTreeMap<String, String>>,
    features: BTreeMap<String, i16>,
    next_producer_id: ProducerId,
}

impl MetadataImage {
    /// An image of no records.
    pub fn new() -> MetadataImage {
        MetadataImage::default()
    }

    /// Applies the record at `offset` and says what it changed.
    ///
    /// # Panics
    /// Where the record does not fit the image: the controller wrote it, so this cannot happen.
    pub fn apply(&mut self, record: &MetadataRecord, offset: Offset) -> Change {
        assert!(
            self.offset.is_none_or(|last| offset > last),
            "record {offset} applied after {:?}",
            self.offset
        );
        self.offset = Some(offset);
        match record {
            MetadataRecord::RegisterBroker(r) => self.register_broker(r, offset),
            MetadataRecord::UnregisterBroker { broker, epoch } => {
                let removed = self.brokers.remove(broker);
                assert_eq!(
                    removed.map(|b| b.epoch),
                    Some(*epoch),
                    "unregistered {broker}"
                );
                Change::Broker(*broker)
            }
            MetadataRecord::Topic { name, id } => {
                let topic = TopicImage {
                    name: name.clone(),
                    id: *id,
                    partitions: BTreeMap::new(),
                };
                let replaced = self.topics.insert(*id, topic);
                assert!(replaced.is_none(), "topic {name} created twice");
                self.topic_ids.insert(name.clone(), *id);
                Change::Topic(*id)
            }
            MetadataRecord::Partition(r) => self.create_partition(r),
            MetadataRecord::PartitionChange(r) => {
                let tp = r.partition;
                let partition = self
                    .topics
                    .get_mut(&tp.topic)
                    .and_then(|t| t.partitions.get_mut(&tp.partition))
                    .unwrap_or_else(|| panic!("change of {tp:?}, which does not exist"));
                *partition = partition.merge(r);
                Change::Partition(tp)
            }
            MetadataRecord::BrokerRegistrationChange(r) => self.change_registration(r),
            MetadataRecord::Config {
                resource_type,
                resource,
                key,
                value,
            } => {
                if *resource_type != TOPIC_RESOURCE {
                    return Change::Other;
                }
                let configs = self.topic_configs.entry(resource.clone()).or_default();
                match value {
                    Some(value) => configs.insert(key.clone(), value.clone()),
                    None => configs.remove(key),
                };
                Change::TopicConfig(resource.clone())
            }
            MetadataRecord::FeatureLevel { name, level } => {
                self.features.insert(name.clone(), *level);
                Change::Other
            }
            MetadataRecord::ProducerIds {
                next_producer_id, ..
            } => {
                assert!(
                    *next_producer_id > self.next_producer_id,
                    "producer ids go back"
                );
                self.next_producer_id = *next_producer_id;
                Change::Other
            }
        }
    }

    fn register_broker(&mut self, r: &RegisterBrokerRecord, offset: Offset) -> Change {
        let registration = BrokerRegistration {
            id: r.broker,
            epoch: r.epoch,
            incarnation: r.incarnation,
            fenced: r.fenced,
            in_controlled_shutdown: r.in_controlled_shutdown,
            register_offset: offset,
        };
        self.brokers.insert(r.broker, registration);
        Change::Broker(r.broker)
    }

    /// `ClusterControlManager.replayRegistrationChange`.
    fn change_registration(&mut self, r: &BrokerRegistrationChangeRecord) -> Change {
        let broker = self
            .brokers
            .get_mut(&r.broker)
            .unwrap_or_else(|| panic!("change of broker {}, which is not registered", r.broker));
        assert_eq!(
            broker.epoch, r.epoch,
            "change of another epoch of {}",
            r.broker
        );
        broker.fenced = r.fenced.unwrap_or(broker.fenced);
        broker.in_controlled_shutdown |= r.in_controlled_shutdown;
        Change::Broker(r.broker)
    }

    fn create_partition(&mut self, r: &PartitionRecord) -> Change {
        let tp = r.partition;
        let partition = PartitionRegistration {
            replicas: r.replicas.clone(),
            isr: r.isr.clone(),
            leader: r.leader,
            leader_epoch: r.leader_epoch,
            partition_epoch: r.partition_epoch,
            recovering: r.recovering,
        };
        self.topics
            .get_mut(&tp.topic)
            .unwrap_or_else(|| panic!("partition {tp:?} of no topic"))
            .partitions
            .insert(tp.partition, partition);
        Change::Partition(tp)
    }

    /// Offset of the last record applied; -1 before the first.
    pub fn offset(&self) -> Offset {
        self.offset.unwrap_or(-1)
    }

    /// Every registered broker, by id.
    pub fn brokers(&self) -> &BTreeMap<BrokerId, BrokerRegistration> {
        &self.brokers
    }

    /// A registered broker.
    pub fn broker(&self, id: BrokerId) -> Option<&BrokerRegistration> {
        self.brokers.get(&id)
    }

    /// Registered, neither fenced nor shutting down.
    pub fn is_active(&self, id: BrokerId) -> bool {
        self.brokers.get(&id).is_some_and(|b| b.is_active())
    }

    /// Registered and not fenced.
    pub fn is_unfenced(&self, id: BrokerId) -> bool {
        self.brokers.get(&id).is_some_and(|b| !b.fenced)
    }

    /// Every topic, by id.
    pub fn topics(&self) -> &BTreeMap<TopicId, TopicImage> {
        &self.topics
    }

    /// A topic.
    pub fn topic(&self, id: TopicId) -> Option<&TopicImage> {
        self.topics.get(&id)
    }

    /// The id of the topic of that name.
    pub fn topic_id(&self, name: &str) -> Option<TopicId> {
        self.topic_ids.get(name).copied()
    }

    /// The topic of that name.
    pub fn topic_by_name(&self, name: &str) -> Option<&TopicImage> {
        self.topics.get(&self.topic_id(name)?)
    }

    /// Every topic id, by name.
    pub fn topic_ids(&self) -> &BTreeMap<TopicName, TopicId> {
        &self.topic_ids
    }

    /// A partition's state.
    pub fn partition(&self, tp: TopicPartition) -> Option<&PartitionRegistration> {
        self.topics.get(&tp.topic)?.partitions.get(&tp.partition)
    }

    /// The id of a partition of the topic of that name, if it exists.
    pub fn partition_id(&self, topic: &str, partition: i32) -> Option<TopicPartition> {
        let id = TopicPartition::new(self.topic_id(topic)?, partition);
        self.partition(id).map(|_| id)
    }

    /// Every partition, by topic id and index.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &PartitionRegistration)> {
        self.topics.values().flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|(index, p)| (TopicPartition::new(topic.id, *index), p))
        })
    }

    /// A topic-level setting, in Kafka's own names; `None` where the topic has the default.
    pub fn topic_config(&self, topic: &str, key: &str) -> Option<&str> {
        self.topic_configs.get(topic)?.get(key).map(String::as_str)
    }

    /// Every setting of a topic.
    pub fn topic_configs(&self, topic: &str) -> Option<&BTreeMap<String, String>> {
        self.topic_configs.get(topic)
    }

    /// A feature's finalized level, 0 where it is off.
    pub fn feature_level(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// First producer id of the next block.
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }
}
