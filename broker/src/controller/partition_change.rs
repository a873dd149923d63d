//! Elections and ISR changes of one partition, `PartitionChangeBuilder`.
//!
//! Not modelled, since `eligible.leader.replicas.version` is 0: eligible leader replicas and the
//! election of the last known leader (KIP-966). Without them the ISR never becomes empty: its last
//! member stays when it dies. Nor are reassignments: replicas change their order only.

use super::image::PartitionRegistration;
use super::record::PartitionChangeRecord;
use crate::ids::*;

/// How a leader may be found (`PartitionChangeBuilder.Election`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Election {
    /// The preferred replica where it is in the ISR, else as `Online`.
    Preferred,
    /// Only from the ISR.
    Online,
    /// From the ISR, else any replica that is up.
    Unclean,
}

/// Builds the record that changes a partition.
pub(super) struct PartitionChangeBuilder<'a> {
    partition: &'a PartitionRegistration,
    tp: TopicPartition,
    is_acceptable_leader: &'a dyn Fn(BrokerId) -> bool,
    election: Election,
    target_isr: Vec<BrokerId>,
    target_replicas: Vec<BrokerId>,
    target_recovering: bool,
}

impl<'a> PartitionChangeBuilder<'a> {
    /// A builder that so far keeps ISR and replicas as they are.
    pub fn new(
        tp: TopicPartition,
        partition: &'a PartitionRegistration,
        is_acceptable_leader: &'a dyn Fn(BrokerId) -> bool,
    ) -> Self {
        PartitionChangeBuilder {
            partition,
            tp,
            is_acceptable_leader,
            election: Election::Online,
            target_isr: partition.isr.to_vec(),
            target_replicas: partition.replicas.to_vec(),
            target_recovering: partition.recovering,
        }
    }

    /// How a leader may be found.
    pub fn election(mut self, election: Election) -> Self {
        self.election = election;
        self
    }

    /// The ISR wanted.
    pub fn target_isr(mut self, isr: Vec<BrokerId>) -> Self {
        self.target_isr = isr;
        self
    }

    /// The replicas in another order.
    pub fn target_replicas(mut self, replicas: Vec<BrokerId>) -> Self {
        self.target_replicas = replicas;
        self
    }

    /// Whether the leader is recovering from an unclean election.
    pub fn target_recovering(mut self, recovering: bool) -> Self {
        self.target_recovering = recovering;
        self
    }

    fn is_valid_new_leader(&self, replica: BrokerId) -> bool {
        self.target_isr.contains(&replica) && (self.is_acceptable_leader)(replica)
    }

    /// The leader and whether it comes from outside the ISR (`electLeader`). A present leader that
    /// may lead stays, unless the preferred one is asked for.
    fn elect(&self) -> (BrokerId, bool) {
        let valid = |replica: &BrokerId| self.is_valid_new_leader(*replica);
        let present = [self.partition.leader];
        let (preferred, others) = self.target_replicas.split_at(1);
        let clean = match self.election {
            Election::Preferred => preferred
                .iter()
                .chain(&present)
                .chain(others)
                .find(|r| valid(r)),
            _ => present
                .iter()
                .chain(&self.target_replicas)
                .find(|r| valid(r)),
        };
        if let Some(leader) = clean {
            return (*leader, false);
        }
        if self.election == Election::Unclean {
            let mut up = self.target_replicas.iter();
            if let Some(leader) = up.find(|r| (self.is_acceptable_leader)(**r)) {
                return (*leader, true);
            }
        }
        (NO_BROKER, false)
    }

    /// The record, `None` where nothing changes (`build`).
    ///
    /// An ISR that shrinks does not raise the leader epoch: since metadata.version 3.6-IV0
    /// `triggerLeaderEpochBumpForIsrShrinkIfNeeded` does nothing (KAFKA-15021).
    pub fn build(self) -> Option<PartitionChangeRecord> {
        let mut record = PartitionChangeRecord::none(self.tp);
        let (leader, unclean) = self.elect();
        if leader != self.partition.leader {
            record.leader = Some(leader);
            if unclean {
                record.isr = Some([leader].into());
                if !self.partition.recovering {
                    record.recovering = Some(true);
                }
            }
        }
        if record.isr.is_none()
            && !self.target_isr.is_empty()
            && self.target_isr[..] != self.partition.isr[..]
        {
            record.isr = Some(self.target_isr.into());
        }
        if self.target_replicas[..] != self.partition.replicas[..] {
            record.replicas = Some(self.target_replicas.into());
        }
        if self.target_recovering != self.partition.recovering {
            record.recovering = Some(self.target_recovering);
        }
        (!record.is_no_op()).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(leader: BrokerId, isr: &[BrokerId]) -> PartitionRegistration {
        PartitionRegistration {
            replicas: [2, 1, 0].into(),
            isr: isr.into(),
            leader,
            leader_epoch: 5,
            partition_epoch: 9,
            recovering: false,
        }
    }

    fn tp() -> TopicPartition {
        TopicPartition::new(TopicId(3), 0)
    }

    #[test]
    fn a_leader_that_may_lead_stays_although_another_is_preferred() {
        let p = partition(0, &[0, 1, 2]);
        assert_eq!(
            PartitionChangeBuilder::new(tp(), &p, &|_| true).build(),
            None
        );
    }

    #[test]
    fn the_first_live_isr_member_in_replica_order_is_elected() {
        let p = partition(2, &[0, 1, 2]);
        let record = PartitionChangeBuilder::new(tp(), &p, &|r| r != 2)
            .target_isr(vec![0, 1])
            .build()
            .unwrap();
        assert_eq!(record.leader, Some(1));
        assert_eq!(record.isr.as_deref(), Some(&[0, 1][..]));
        let merged = p.merge(&record);
        assert_eq!((merged.leader_epoch, merged.partition_epoch), (6, 10));
    }

    #[test]
    fn an_isr_shrink_alone_raises_the_partition_epoch_but_not_the_leader_epoch() {
        let p = partition(2, &[0, 1, 2]);
        let record = PartitionChangeBuilder::new(tp(), &p, &|_| true)
            .target_isr(vec![1, 2])
            .build()
            .unwrap();
        let merged = p.merge(&record);
        assert_eq!((merged.leader_epoch, merged.partition_epoch), (5, 10));
    }

    #[test]
    fn the_last_isr_member_stays_when_it_dies_and_nobody_leads() {
        let p = partition(2, &[2]);
        let record = PartitionChangeBuilder::new(tp(), &p, &|r| r != 2)
            .target_isr(vec![])
            .build()
            .unwrap();
        assert_eq!(record.leader, Some(NO_BROKER));
        assert_eq!(record.isr, None);
        assert_eq!(record.recovering, None);
    }

    #[test]
    fn an_unclean_election_makes_the_new_leader_the_whole_isr_and_recovering() {
        let p = partition(2, &[2]);
        let record = PartitionChangeBuilder::new(tp(), &p, &|r| r == 0)
            .target_isr(vec![])
            .election(Election::Unclean)
            .build()
            .unwrap();
        assert_eq!(record.leader, Some(0));
        assert_eq!(record.isr.as_deref(), Some(&[0][..]));
        assert_eq!(record.recovering, Some(true));
    }

    #[test]
    fn an_unclean_election_is_not_needed_while_an_isr_member_is_up() {
        let p = partition(2, &[2, 0]);
        let record = PartitionChangeBuilder::new(tp(), &p, &|r| r != 2)
            .target_isr(vec![0])
            .election(Election::Unclean)
            .build()
            .unwrap();
        assert_eq!((record.leader, record.recovering), (Some(0), None));
    }

    #[test]
    fn a_preferred_election_takes_the_first_replica_only_from_the_isr() {
        let p = partition(0, &[0, 1, 2]);
        let build = |p: &PartitionRegistration, up: &dyn Fn(BrokerId) -> bool| {
            PartitionChangeBuilder::new(tp(), p, up)
                .election(Election::Preferred)
                .build()
        };
        assert_eq!(build(&p, &|_| true).unwrap().leader, Some(2));
        assert_eq!(build(&p, &|r| r != 2), None);
        assert_eq!(build(&partition(0, &[0, 1]), &|_| true), None);
    }
}
