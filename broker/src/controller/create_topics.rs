//! New topics that somebody asks for: `ControllerApis.createTopics` and
//! `ReplicationControlManager.createTopics`.
//!
//! Replicas are laid out in rings over the active brokers from a random start, as `StripedReplicaPlacer`
//! does for a cluster without racks. A setting that Kafka knows and nothing here reads is kept with the
//! topic and has no effect.
//!
//! Not modelled: racks, policies, quotas.

use super::image::BrokerRegistration;
use super::record::*;
use super::replication::ReplicationControl;
use crate::config::{BrokerConfig, Class, PropertyMap, Scope, TopicConfig, classify};
use crate::env::Stream;
use crate::ids::*;
use crate::quorum::METADATA_TOPIC;
use crate::wire::*;
use std::collections::BTreeMap;

/// `QuorumController.MAX_RECORDS_PER_USER_OP`: a request that needs more records is refused.
const RECORDS_MAX: usize = 10_000;
/// `Topic.MAX_NAME_LENGTH`.
const NAME_LENGTH_MAX: usize = 249;

/// Why a topic is not created.
type Refusal = (ErrorCode, String);
/// Replicas of each partition, by index.
type Assignment = Vec<Vec<BrokerId>>;

/// `Topic.detectInvalidTopic`: what is wrong with a topic's name, if anything.
pub fn topic_name_error(name: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match name {
        "" => Some("the empty string is not allowed".to_string()),
        "." | ".." => Some(format!("'{name}' is not allowed")),
        _ if name.encode_utf16().count() > NAME_LENGTH_MAX => Some(format!(
            "the length of '{name}' is longer than the max allowed length {NAME_LENGTH_MAX}"
        )),
        _ if !name.chars().all(legal) => Some(format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        )),
        _ => None,
    }
}

impl ReplicationControl<'_> {
    /// The records that the request leads to, and its answer. A topic that is refused leaves the others
    /// alone.
    pub fn create_topics(
        &self,
        request: &CreateTopicsRequest,
        config: &BrokerConfig,
        rng: &mut Stream,
    ) -> (Vec<MetadataRecord>, CreateTopicsResponse) {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &request.topics {
            *times.entry(&topic.name).or_default() += 1;
        }
        let mut records = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let outcome = if times[&*topic.name] > 1 {
                Err((
                    ErrorCode::InvalidRequest,
                    "Duplicate topic name.".to_string(),
                ))
            } else {
                self.plan(topic, config, rng)
            };
            let outcome = outcome.and_then(|assignment| {
                let needed = 1 + topic.configs.len() + assignment.len();
                if records.len() + needed > RECORDS_MAX {
                    let why = "Unable to perform excessively large batch operation.";
                    return Err((ErrorCode::PolicyViolation, why.to_string()));
                }
                Ok(self.records_of(topic, &assignment, rng, &mut records))
            });
            topics.push(outcome.unwrap_or_else(|(error, message)| CreatedTopic {
                name: topic.name.clone(),
                id: TopicId(0),
                error,
                message: Some(message.into()),
                num_partitions: -1,
                replication_factor: -1,
            }));
        }
        if request.validate_only {
            records.clear();
        }
        (records, CreateTopicsResponse { topics })
    }

    /// Where the topic's replicas go, if nothing speaks against it.
    fn plan(
        &self,
        topic: &CreatableTopic,
        config: &BrokerConfig,
        rng: &mut Stream,
    ) -> Result<Assignment, Refusal> {
        self.check_name(&topic.name)?;
        check_settings(topic, config)?;
        if !topic.assignments.is_empty() {
            return self.check_assignment(topic);
        }
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            let why = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err((ErrorCode::InvalidReplicationFactor, why.to_string()));
        }
        if topic.num_partitions < -1 || topic.num_partitions == 0 {
            let why = "Number of partitions was set to an invalid non-positive value.";
            return Err((ErrorCode::InvalidPartitions, why.to_string()));
        }
        let partitions = match topic.num_partitions {
            -1 => config.num_partitions,
            n => n,
        };
        let factor = match topic.replication_factor {
            -1 => config.default_replication_factor,
            n => n,
        };
        // Checked before anything is laid out: the number is the client's.
        if partitions as usize > RECORDS_MAX {
            let why = "Unable to perform excessively large batch operation.";
            return Err((ErrorCode::PolicyViolation, why.to_string()));
        }
        self.place(partitions, factor, rng).map_err(|why| {
            let why = format!("Unable to replicate the partition {factor} time(s): {why}");
            (ErrorCode::InvalidReplicationFactor, why)
        })
    }

    fn check_name(&self, name: &str) -> Result<(), Refusal> {
        if name == METADATA_TOPIC {
            let why = format!("Creation of internal topic {name} is prohibited.");
            return Err((ErrorCode::InvalidRequest, why));
        }
        if let Some(why) = topic_name_error(name) {
            let why = format!("Topic name is invalid: {why}");
            return Err((ErrorCode::InvalidTopicException, why));
        }
        if self.image.topic_id(name).is_some() {
            let why = format!("Topic '{name}' already exists.");
            return Err((ErrorCode::TopicAlreadyExists, why));
        }
        let unify = |name: &str| name.replace('.', "_");
        let unified = unify(name);
        let mut others = self.image.topic_ids().keys();
        if let Some(other) = others.find(|other| unify(other) == unified) {
            let why = format!("Topic '{name}' collides with existing topic: {other}");
            return Err((ErrorCode::InvalidTopicException, why));
        }
        Ok(())
    }

    /// `validateManualPartitionAssignment`, and what stands around it.
    fn check_assignment(&self, topic: &CreatableTopic) -> Result<Assignment, Refusal> {
        for (is_set, what) in [
            (topic.replication_factor != -1, "replication factor"),
            (topic.num_partitions != -1, "numPartitions"),
        ] {
            if is_set {
                let why = format!(
                    "A manual partition assignment was specified, but {what} was not set to -1."
                );
                return Err((ErrorCode::InvalidRequest, why));
            }
        }
        let refuse = |why: String| Err((ErrorCode::InvalidReplicaAssignment, why));
        let given = "The manual partition assignment includes";
        let mut by_index: BTreeMap<i32, &Vec<BrokerId>> = BTreeMap::new();
        let factor = topic.assignments[0].1.len();
        for (index, replicas) in &topic.assignments {
            if by_index.insert(*index, replicas).is_some() {
                let why = "Found multiple manual partition assignments for partition";
                return refuse(format!("{why} {index}"));
            }
            if replicas.is_empty() {
                return refuse(format!("{given} an empty replica list."));
            }
            let mut sorted = replicas.clone();
            sorted.sort_unstable();
            if let Some(id) = sorted.iter().find(|id| self.image.broker(**id).is_none()) {
                let why = format!("{given} broker {id}, but no such broker is registered.");
                return refuse(why);
            }
            if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                return refuse(format!("{given} the broker {} more than once.", pair[0]));
            }
            if replicas.len() != factor {
                return refuse(format!(
                    "{given} a partition with {} replica(s), but this is not consistent with \
                     previous partitions, which have {factor} replica(s).",
                    replicas.len()
                ));
            }
            if !replicas.iter().any(|id| self.image.is_active(*id)) {
                return refuse(format!(
                    "All brokers specified in the manual partition assignment for partition \
                     {index} are fenced or in controlled shutdown."
                ));
            }
        }
        if !by_index.keys().copied().eq(0..by_index.len() as i32) {
            let why = "partitions should be a consecutive 0-based integer sequence";
            return refuse(why.to_string());
        }
        Ok(by_index.into_values().cloned().collect())
    }

    /// Rings over the brokers that are not fenced, from a random start; fenced ones follow where they
    /// are needed. A broker in controlled shutdown is none of them until it is fenced
    /// (`BrokerHeartbeatManager.UsableBrokerIterator`), and does not count for the replication factor either.
    fn place(&self, partitions: i32, factor: i16, rng: &mut Stream) -> Result<Assignment, String> {
        let factor = usize::try_from(factor).expect("checked to be positive");
        let ids_of = |wanted: &dyn Fn(&BrokerRegistration) -> bool| -> Vec<BrokerId> {
            let brokers = self.image.brokers().values();
            brokers.filter(|b| wanted(b)).map(|b| b.id).collect()
        };
        let active = ids_of(&|b| b.is_active());
        let fenced = ids_of(&|b| b.fenced);
        if active.is_empty() {
            return Err("All brokers are currently fenced.".to_string());
        }
        let known = active.len() + fenced.len();
        if factor > known {
            return Err(format!(
                "The target replication factor of {factor} cannot be reached because only \
                 {known} broker(s) are registered."
            ));
        }
        let start = rng.below(active.len() as u64) as usize;
        let replicas = |partition: usize| {
            let ring = active
                .iter()
                .cycle()
                .skip((start + partition) % active.len());
            let ring = ring.take(active.len());
            let all = ring.chain(&fenced);
            all.take(factor).copied().collect()
        };
        Ok((0..partitions as usize).map(replicas).collect())
    }

    fn records_of(
        &self,
        topic: &CreatableTopic,
        assignment: &Assignment,
        rng: &mut Stream,
        records: &mut Vec<MetadataRecord>,
    ) -> CreatedTopic {
        let id = self.new_topic_id(rng);
        records.push(MetadataRecord::Topic {
            name: topic.name.clone(),
            id,
        });
        for (key, value) in &topic.configs {
            records.push(MetadataRecord::Config {
                resource_type: TOPIC_RESOURCE,
                resource: topic.name.clone(),
                key: key.to_string(),
                value: value.as_deref().map(str::to_string),
            });
        }
        for (index, replicas) in assignment.iter().enumerate() {
            let active = replicas
                .iter()
                .copied()
                .filter(|r| self.image.is_active(*r));
            let isr: Vec<BrokerId> = active.collect();
            records.push(MetadataRecord::Partition(PartitionRecord {
                partition: TopicPartition::new(id, index as i32),
                replicas: replicas[..].into(),
                leader: isr[0],
                isr: isr.into(),
                recovering: false,
                leader_epoch: 0,
                partition_epoch: 0,
            }));
        }
        CreatedTopic {
            name: topic.name.clone(),
            id,
            error: ErrorCode::None,
            message: None,
            num_partitions: assignment.len() as i32,
            replication_factor: assignment[0].len() as i16,
        }
    }

    /// `Uuid.randomUuid`: a random UUID (version 4) that is none of those reserved.
    fn new_topic_id(&self, rng: &mut Stream) -> TopicId {
        loop {
            let drawn = (u128::from(rng.bits()) << 64) | u128::from(rng.bits());
            let id = drawn & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
            if self.image.topic(TopicId(id)).is_none() {
                return TopicId(id);
            }
        }
    }
}

/// A setting that Kafka does not have is refused, and so is a value that it would refuse.
fn check_settings(topic: &CreatableTopic, config: &BrokerConfig) -> Result<(), Refusal> {
    let refuse = |why: String| Err((ErrorCode::InvalidConfig, why));
    let mut settings = PropertyMap::new();
    for (key, value) in &topic.configs {
        if matches!(classify(Scope::Topic, key), Class::Unknown { .. }) {
            return refuse(format!("Unknown topic config name: {key}"));
        }
        let Some(value) = value else {
            return refuse(format!("Null value not supported for topic configs: {key}"));
        };
        settings.insert(key.to_string(), value.to_string());
    }
    match TopicConfig::resolve(config, &settings) {
        Ok(_) => Ok(()),
        Err(error) => refuse(error.to_string()),
    }
}
