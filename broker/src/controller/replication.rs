//! The records that a broker's or an operator's wish leads to: `ReplicationControlManager`, and of
//! `ClusterControlManager` the registration. Nothing here changes the image.

use super::admin::TopicSpec;
use super::image::{MetadataImage, PartitionRegistration};
use super::partition_change::{Election, PartitionChangeBuilder};
use super::record::*;
use crate::bug::Bug;
use crate::config::TopicConfig;
use crate::ids::*;
use crate::wire::*;

/// The topic setting that allows unclean elections.
const UNCLEAN_LEADER_ELECTION_ENABLE: &str = "unclean.leader.election.enable";

/// What the controller knows when it handles one event.
pub(super) struct ReplicationControl<'a> {
    /// Every record appended so far, committed or not.
    pub image: &'a MetadataImage,
    /// The controller's own defaults of topic settings.
    pub defaults: &'a TopicConfig,
    /// What is planted.
    pub bug: Option<Bug>,
}

impl ReplicationControl<'_> {
    /// `uncleanLeaderElectionEnabledForTopic`: the topic's setting, else the controller's.
    fn unclean_enabled(&self, topic: TopicId) -> bool {
        let name = &self
            .image
            .topic(topic)
            .expect("a partition has a topic")
            .name;
        match self
            .image
            .topic_config(name, UNCLEAN_LEADER_ELECTION_ENABLE)
        {
            Some(value) => value.eq_ignore_ascii_case("true"),
            None => self.defaults.unclean_leader_election_enable,
        }
    }

    fn election(&self, topic: TopicId) -> Election {
        if self.unclean_enabled(topic) {
            Election::Unclean
        } else {
            Election::Online
        }
    }

    fn partitions_where(
        &self,
        test: impl Fn(&PartitionRegistration) -> bool,
    ) -> Vec<TopicPartition> {
        let matching = self.image.partitions().filter(|(_, p)| test(p));
        matching.map(|(tp, _)| tp).collect()
    }

    /// Whether the broker leads any partition.
    pub fn has_leaderships(&self, broker: BrokerId) -> bool {
        self.image.partitions().any(|(_, p)| p.leader == broker)
    }

    /// `generateLeaderAndIsrUpdates`: `remove` leaves the ISR and may not lead, `add` may lead
    /// although it is still fenced.
    fn leader_and_isr_updates(
        &self,
        remove: BrokerId,
        add: BrokerId,
        partitions: Vec<TopicPartition>,
        records: &mut Vec<MetadataRecord>,
    ) {
        let acceptable = |r: BrokerId| r != remove && (r == add || self.image.is_active(r));
        for tp in partitions {
            let partition = self.image.partition(tp).expect("listed from the image");
            let isr = partition.isr.iter().copied().filter(|r| *r != remove);
            let change = PartitionChangeBuilder::new(tp, partition, &acceptable)
                .election(self.election(tp.topic))
                .target_isr(isr.collect())
                .build();
            records.extend(change.map(MetadataRecord::PartitionChange));
        }
    }

    fn remove_from_isrs(&self, broker: BrokerId, records: &mut Vec<MetadataRecord>) {
        let partitions = self.partitions_where(|p| p.isr.contains(&broker));
        self.leader_and_isr_updates(broker, NO_BROKER, partitions, records);
    }

    fn registration_change(&self, broker: BrokerId) -> BrokerRegistrationChangeRecord {
        let registration = self.image.broker(broker);
        BrokerRegistrationChangeRecord {
            broker,
            epoch: registration.expect("only registered brokers change").epoch,
            fenced: None,
            in_controlled_shutdown: false,
        }
    }

    /// `handleBrokerFenced`.
    pub fn broker_fenced(&self, broker: BrokerId) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        self.remove_from_isrs(broker, &mut records);
        records.push(MetadataRecord::BrokerRegistrationChange(
            BrokerRegistrationChangeRecord {
                fenced: Some(true),
                ..self.registration_change(broker)
            },
        ));
        records
    }

    /// `handleBrokerUnfenced`: partitions without a leader may have one now.
    pub fn broker_unfenced(&self, broker: BrokerId) -> Vec<MetadataRecord> {
        let mut records = vec![MetadataRecord::BrokerRegistrationChange(
            BrokerRegistrationChangeRecord {
                fenced: Some(false),
                ..self.registration_change(broker)
            },
        )];
        let leaderless = self.partitions_where(|p| p.leader == NO_BROKER);
        self.leader_and_isr_updates(NO_BROKER, broker, leaderless, &mut records);
        records
    }

    /// `handleBrokerInControlledShutdown` (KIP-841).
    pub fn broker_in_controlled_shutdown(&self, broker: BrokerId) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        if !self
            .image
            .broker(broker)
            .is_some_and(|b| b.in_controlled_shutdown)
        {
            records.push(MetadataRecord::BrokerRegistrationChange(
                BrokerRegistrationChangeRecord {
                    in_controlled_shutdown: true,
                    ..self.registration_change(broker)
                },
            ));
        }
        self.remove_from_isrs(broker, &mut records);
        records
    }

    /// The records of `registerBroker` once nothing speaks against it, and the broker's epoch:
    /// `next_offset` for a new incarnation, the present one for the same process (KAFKA-16952).
    ///
    /// A new incarnation means that the former one has ended, so that `handleBrokerShutdown` takes it
    /// out of ISRs and leaderships first (KAFKA-18106). Clean or unclean end
    /// (`previous_broker_epoch`) makes a difference only with eligible leader replicas, which are
    /// off: without them both are handled as a fencing is.
    pub fn register_broker(
        &self,
        request: &BrokerRegistrationRequest,
        next_offset: Offset,
    ) -> (Vec<MetadataRecord>, BrokerEpoch) {
        let mut records = Vec::new();
        let same = self.image.broker(request.broker).filter(|b| {
            b.incarnation == request.incarnation
                || self.bug == Some(Bug::RegistrationIgnoresIncarnation)
        });
        let registration = match same {
            Some(existing) => RegisterBrokerRecord {
                broker: request.broker,
                incarnation: request.incarnation,
                epoch: existing.epoch,
                fenced: existing.fenced,
                in_controlled_shutdown: existing.in_controlled_shutdown,
            },
            None => {
                self.remove_from_isrs(request.broker, &mut records);
                RegisterBrokerRecord {
                    broker: request.broker,
                    incarnation: request.incarnation,
                    epoch: next_offset,
                    fenced: true,
                    in_controlled_shutdown: false,
                }
            }
        };
        records.push(MetadataRecord::RegisterBroker(registration));
        (records, registration.epoch)
    }

    /// `checkBrokerEpoch`: registered, and in this epoch.
    pub fn has_broker_epoch(&self, broker: BrokerId, epoch: BrokerEpoch) -> bool {
        self.image.broker(broker).is_some_and(|b| b.epoch == epoch)
    }

    /// `alterPartition`, once the asker's broker epoch is known to be right.
    pub fn alter_partition(
        &self,
        request: &AlterPartitionRequest,
    ) -> (Vec<MetadataRecord>, AlterPartitionResponse) {
        let mut records = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for (topic, partitions) in &request.topics {
            let mut results = Items::with_capacity(partitions.len());
            for proposal in partitions {
                let tp = TopicPartition::new(*topic, proposal.partition);
                let outcome = if self.image.topic(*topic).is_none() {
                    Err(ErrorCode::UnknownTopicId)
                } else {
                    self.alter_one(request.broker, tp, proposal, &mut records)
                };
                results.push(alter_partition_result(proposal.partition, outcome));
            }
            topics.push((*topic, results));
        }
        let error = ErrorCode::None;
        (records, AlterPartitionResponse { error, topics })
    }

    /// One partition. It may fail and change the partition all the same: where the proposal lets
    /// another broker lead, the asker has to fetch the metadata (`NEW_LEADER_ELECTED`).
    ///
    /// The proposal always says RECOVERED, as `Partition.makeLeader` does, so that the field is not
    /// on this wire: a leader's first proposal ends the recovery of an unclean election.
    fn alter_one(
        &self,
        broker: BrokerId,
        tp: TopicPartition,
        proposal: &AlterPartition,
        records: &mut Vec<MetadataRecord>,
    ) -> Result<PartitionRegistration, ErrorCode> {
        let partition = self
            .image
            .partition(tp)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        self.validate(broker, partition, proposal)?;
        let active = |r: BrokerId| self.image.is_active(r);
        let isr = proposal.new_isr.iter().map(|(id, _)| *id).collect();
        let change = PartitionChangeBuilder::new(tp, partition, &active)
            .election(self.election(tp.topic))
            .target_isr(isr)
            .target_recovering(false)
            .build();
        let Some(change) = change else {
            return Ok(partition.clone());
        };
        let merged = partition.merge(&change);
        let leader = change.leader;
        records.push(MetadataRecord::PartitionChange(change));
        match leader {
            Some(other) if other != broker => Err(ErrorCode::NewLeaderElected),
            _ => Ok(merged),
        }
    }

    /// `validateAlterPartitionData`, in its order.
    fn validate(
        &self,
        broker: BrokerId,
        partition: &PartitionRegistration,
        proposal: &AlterPartition,
    ) -> Result<(), ErrorCode> {
        // A leader that knows more than this controller asks a former one (KAFKA-14154).
        if proposal.leader_epoch > partition.leader_epoch
            || proposal.partition_epoch > partition.partition_epoch
        {
            return Err(ErrorCode::NotController);
        }
        if proposal.leader_epoch < partition.leader_epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if broker != partition.leader {
            return Err(ErrorCode::InvalidRequest);
        }
        if proposal.partition_epoch < partition.partition_epoch
            && self.bug != Some(Bug::NoPartitionEpochCheck)
        {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        let mut isr: Vec<BrokerId> = proposal.new_isr.iter().map(|(id, _)| *id).collect();
        isr.sort_unstable();
        let twice = isr.windows(2).any(|w| w[0] == w[1]);
        let strangers = isr.iter().any(|id| !partition.replicas.contains(id));
        if twice || strangers || !isr.contains(&partition.leader) {
            return Err(ErrorCode::InvalidRequest);
        }
        if proposal
            .new_isr
            .iter()
            .all(|(id, epoch)| self.is_eligible(*id, *epoch))
        {
            Ok(())
        } else {
            Err(ErrorCode::IneligibleReplica)
        }
    }

    /// `ineligibleReplicasForIsr`: registered, active, and the incarnation that the leader means
    /// (KIP-841, KIP-903); -1 means any.
    fn is_eligible(&self, id: BrokerId, epoch: BrokerEpoch) -> bool {
        let any = epoch == -1 || self.bug == Some(Bug::StaleBrokerEpochIsr);
        self.image
            .broker(id)
            .is_some_and(|b| b.is_active() && (any || epoch == b.epoch))
    }

    /// `maybeElectUncleanLeaders`: for partitions without leader whose topic allows it.
    pub fn elect_unclean_leaders(&self) -> Vec<MetadataRecord> {
        let active = |r: BrokerId| self.image.is_active(r);
        let leaderless = self.partitions_where(|p| p.leader == NO_BROKER);
        let mut records = Vec::new();
        for tp in leaderless {
            if self.unclean_enabled(tp.topic) {
                let partition = self.image.partition(tp).expect("listed from the image");
                let change = PartitionChangeBuilder::new(tp, partition, &active)
                    .election(Election::Unclean)
                    .build();
                records.extend(change.map(MetadataRecord::PartitionChange));
            }
        }
        records
    }

    /// `maybeBalancePartitionLeaders`: leads every partition that another replica than the preferred
    /// one leads, as far as the preferred one may.
    pub fn balance_partition_leaders(&self) -> Vec<MetadataRecord> {
        let active = |r: BrokerId| self.image.is_active(r);
        let imbalanced = self.partitions_where(|p| p.leader != p.replicas[0]);
        let mut records = Vec::new();
        for tp in imbalanced {
            let partition = self.image.partition(tp).expect("listed from the image");
            let change = PartitionChangeBuilder::new(tp, partition, &active)
                .election(Election::Preferred)
                .build();
            records.extend(change.map(MetadataRecord::PartitionChange));
        }
        records
    }

    /// The preferred replica becomes `to`, then a preferred election
    /// (`alterPartitionReassignments` with the same replicas in another order, `electLeaders`).
    pub fn move_leader(&self, tp: TopicPartition, to: BrokerId) -> Vec<MetadataRecord> {
        let Some(partition) = self.image.partition(tp) else {
            return Vec::new();
        };
        if !partition.isr.contains(&to) || !self.image.is_active(to) {
            return Vec::new();
        }
        let active = |r: BrokerId| self.image.is_active(r);
        let mut replicas = vec![to];
        replicas.extend(partition.replicas.iter().filter(|r| **r != to));
        let reorder = PartitionChangeBuilder::new(tp, partition, &active)
            .target_replicas(replicas)
            .build();
        let reordered = match &reorder {
            Some(change) => partition.merge(change),
            None => partition.clone(),
        };
        let elect = PartitionChangeBuilder::new(tp, &reordered, &active)
            .election(Election::Preferred)
            .build();
        let changes = reorder.into_iter().chain(elect);
        changes.map(MetadataRecord::PartitionChange).collect()
    }

    /// Whether every broker that the topic's assignment names is active.
    pub fn can_create(&self, topic: &TopicSpec) -> bool {
        let mut replicas = topic.assignment.iter().flatten();
        replicas.all(|r| self.image.is_active(*r))
    }

    /// `createTopic` with a manual assignment whose replicas are all active: the topic, its settings,
    /// then its partitions, led by their first replica, in epoch 0, all replicas in sync.
    pub fn create_topic(&self, topic: &TopicSpec) -> Vec<MetadataRecord> {
        assert!(
            self.can_create(topic),
            "{} has inactive replicas",
            topic.name
        );
        let mut records = vec![MetadataRecord::Topic {
            name: topic.name.clone(),
            id: topic.id,
        }];
        for (key, value) in &topic.configs {
            records.push(MetadataRecord::Config {
                resource_type: TOPIC_RESOURCE,
                resource: topic.name.clone(),
                key: key.clone(),
                value: Some(value.clone()),
            });
        }
        for (index, replicas) in topic.assignment.iter().enumerate() {
            records.push(MetadataRecord::Partition(PartitionRecord {
                partition: TopicPartition::new(topic.id, index as i32),
                replicas: replicas[..].into(),
                isr: replicas[..].into(),
                leader: replicas[0],
                recovering: false,
                leader_epoch: 0,
                partition_epoch: 0,
            }));
        }
        records
    }
}

fn alter_partition_result(
    partition: i32,
    outcome: Result<PartitionRegistration, ErrorCode>,
) -> AlterPartitionResult {
    match outcome {
        Ok(state) => {
            let mut isr = state.isr.to_vec();
            isr.sort_unstable();
            AlterPartitionResult {
                partition,
                error: ErrorCode::None,
                leader: state.leader,
                leader_epoch: state.leader_epoch,
                isr,
                partition_epoch: state.partition_epoch,
            }
        }
        Err(error) => AlterPartitionResult {
            partition,
            error,
            leader: NO_BROKER,
            leader_epoch: NO_EPOCH,
            isr: Vec::new(),
            partition_epoch: -1,
        },
    }
}
