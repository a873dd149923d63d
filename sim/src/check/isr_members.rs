//! Invariant: whoever joins the ISR holds every committed record (ReplicationQuorumSuperset and
//! LeaderCandidateCompleteness of Vanlightly/kafka-tlaplus, at the moment of joining).
//!
//! A member may be elected at any time, so that one with a hole loses what is committed at the next
//! failure, whether or not that comes. The moment is the controller's commit of the larger ISR: from the
//! leader's proposal on the high watermark has waited for the new member (maximal ISR, KIP-497). The log
//! is the one that the facts tell, whatever the leader believes. Not looked at: the first ISR of a
//! partition, unclean elections, members that stay while they lose their tail with the power, and a
//! broker that has started again and not registered yet: leader and controller can still mean its former
//! process, whose broker epoch is the registered one (KIP-903), and its disk may have been replaced since.

use super::log_matching::LogMatching;
use super::shadow::ShadowLogs;
use crate::result::Anomaly;
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;
use std::collections::BTreeSet;

/// Brokers that have started, and not registered since.
#[derive(Debug, Default)]
pub struct Unregistered(BTreeSet<BrokerId>);

impl Unregistered {
    /// Takes a fact.
    pub fn see(&mut self, node: NodeId, fact: &Fact) {
        match fact {
            Fact::BrokerStarted { .. } => self.0.extend(node.broker()),
            Fact::BrokerRegistered { broker, .. } => {
                self.0.remove(broker);
            }
            _ => {}
        }
    }
}

/// Watches what the controller does with a partition.
#[derive(Debug, Default)]
pub struct IsrMembers {
    /// `None` before the first.
    members: Option<Vec<BrokerId>>,
}

impl IsrMembers {
    /// Takes a fact; says what it breaks.
    pub fn check(
        &mut self,
        fact: &Fact,
        logs: &ShadowLogs,
        matching: &LogMatching,
        unregistered: &Unregistered,
    ) -> Option<Anomaly> {
        let Fact::PartitionChanged {
            partition,
            isr,
            unclean,
            ..
        } = fact
        else {
            return None;
        };
        let before = self.members.replace(isr.clone())?;
        if *unclean {
            return None;
        }
        let committed = matching.committed_end();
        let log = |broker: BrokerId| logs.log(NodeId::of_broker(broker));
        let joined = isr
            .iter()
            .filter(|broker| !before.contains(broker) && !unregistered.0.contains(broker));
        for broker in joined {
            let end = log(*broker).map_or(0, |log| log.log_end);
            let agrees = log(*broker).is_none_or(|log| matching.agrees(log));
            if end >= committed && agrees {
                continue;
            }
            let but = match agrees {
                true => "and",
                false => "with others than those that are committed, and",
            };
            return Some(Anomaly {
                check: "isr-members".into(),
                what: format!(
                    "broker {broker} joined the ISR of partition {} with its log at {end}, {but} \
                     records are committed up to {committed}",
                    partition.partition
                ),
            });
        }
        None
    }

    /// The members of the ISR as the controller has them.
    pub fn members(&self) -> &[BrokerId] {
        self.members.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::histories::*;
    use super::*;

    fn changed(isr: &[BrokerId], unclean: bool) -> (NodeId, Fact) {
        let fact = Fact::PartitionChanged {
            partition: P,
            leader: isr[0],
            leader_epoch: 0,
            isr: isr.to_vec(),
            unclean,
        };
        (CONTROLLER, fact)
    }

    /// A leads, has committed two records; B has one.
    fn judge(then: &[(NodeId, Fact)]) -> usize {
        let mut history = vec![
            changed(&[1, 2], false),
            leads(A, 0, 0),
            follows(B, 0, A),
            changed(&[1], false),
            appended(A, 0, 10),
            appended(A, 1, 11),
            (
                A,
                Fact::HighWatermark {
                    partition: P,
                    offset: 2,
                    as_leader: true,
                },
            ),
            copied(B, 0, 0, 10),
        ];
        history.extend_from_slice(then);
        let (mut logs, mut matching) = (ShadowLogs::default(), LogMatching::default());
        let (mut unregistered, mut check) = (Unregistered::default(), IsrMembers::default());
        let broken = history.iter().filter(|(node, fact)| {
            logs.see(*node, fact);
            matching.check(*node, fact, &logs);
            unregistered.see(*node, fact);
            let broken = check.check(fact, &logs, &matching, &unregistered);
            broken.is_some()
        });
        broken.count()
    }

    #[test]
    fn joining_with_a_hole_is_caught() {
        assert_eq!(judge(&[changed(&[1, 2], false)]), 1);
    }

    #[test]
    fn joining_with_all_that_is_committed_is_right() {
        assert_eq!(judge(&[copied(B, 1, 1, 11), changed(&[1, 2], false)]), 0);
    }

    #[test]
    fn joining_with_another_record_where_one_is_committed_is_caught() {
        assert_eq!(judge(&[copied(B, 1, 1, 99), changed(&[1, 2], false)]), 1);
    }

    #[test]
    fn an_unclean_leader_may_lack_records_and_so_may_those_who_join_it() {
        let then = [changed(&[2], true), leads(B, 1, 1), changed(&[2, 1], false)];
        assert_eq!(judge(&then), 0);
    }

    #[test]
    fn a_replica_whose_disk_is_gone_has_nothing_once_its_new_process_is_registered() {
        let started = (B, Fact::BrokerStarted { clean: false });
        let registered = Fact::BrokerRegistered {
            broker: 2,
            epoch: 7,
        };
        let joins = changed(&[1, 2], false);
        let then = [copied(B, 1, 1, 11), started.clone(), joins.clone()];
        assert_eq!(judge(&then), 0, "they mean its former process");
        let then = [
            copied(B, 1, 1, 11),
            started,
            (CONTROLLER, registered),
            joins,
        ];
        assert_eq!(judge(&then), 1);
    }
}
