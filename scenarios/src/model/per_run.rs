//! What one run of `random` may lose, given the faults that happened in it.
//!
//! The rules bound from above: they look at which faults struck which brokers, not at whether their
//! outages overlapped, since sessions expire in an order that the last heartbeats decide and not
//! the deaths (`BrokerHeartbeatManager.findOneStaleBroker`). A loss that they do not allow is one
//! that no order of these faults explains.

use super::{Application, CellConfig};
use super::{behind_a_truncation, takes_readable_records};
use everyack_broker::config::{Acks, AutoOffsetReset};
use everyack_broker::ids::NodeId;
use everyack_sim::fault::{FaultPlan, What, Whom};
use everyack_sim::mechanism::Mechanism;
use everyack_sim::result::StruckFault;
use std::collections::BTreeSet;

/// The mechanisms by which a run may lose in which these faults of the plan struck; none where the
/// configuration never loses under them.
///
/// # Panics
/// Where a struck fault is not one of the plan's: the run and the plan do not belong together.
pub fn expect_run(config: &CellConfig, struck: &[StruckFault], plan: &FaultPlan) -> Vec<Mechanism> {
    let seen = Seen::of(struck, plan);
    let mut allowed = BTreeSet::new();
    uncommitted(config, &seen, &mut allowed);
    power(config, &seen, &mut allowed);
    unclean(config, &seen, &mut allowed);
    consumers(config, &seen, &mut allowed);
    if allowed.iter().any(|m| takes_readable_records(*m)) {
        allowed.extend(behind_a_truncation(config.auto_offset_reset));
    }
    allowed.into_iter().collect()
}

/// What struck, summed up.
#[derive(Debug, Default)]
struct Seen {
    connections_lost: bool,
    killed: BTreeSet<u32>,
    powerless: BTreeSet<u32>,
    cut_from_followers: BTreeSet<u32>,
    cut_from_controller: BTreeSet<u32>,
    moved: bool,
    consumer_killed: bool,
    started_late: bool,
    /// Faults that can take a broker out of an ISR, a broker each time.
    outages: usize,
}

impl Seen {
    fn of(struck: &[StruckFault], plan: &FaultPlan) -> Seen {
        let mut seen = Seen::default();
        for fault in struck {
            let planned = plan.faults.get(fault.fault).unwrap_or_else(|| {
                panic!(
                    "fault {} struck, and the plan has {}",
                    fault.fault,
                    plan.faults.len()
                )
            });
            seen.add(planned.what, planned.whom, &fault.nodes);
        }
        seen
    }

    fn add(&mut self, what: What, whom: Whom, nodes: &[u32]) {
        let brokers = nodes
            .iter()
            .copied()
            .filter(|node| NodeId(*node).broker().is_some());
        match what {
            What::ResetConnections | What::CutConnections => self.connections_lost = true,
            What::Crash if matches!(whom, Whom::Producer(_)) => {}
            What::Crash if matches!(whom, Whom::Consumer(_) | Whom::WhereItHappened) => {
                self.consumer_killed = true;
            }
            What::Crash => {
                self.outages += nodes.len();
                self.killed.extend(brokers);
            }
            What::PowerLoss { .. } => {
                self.outages += nodes.len();
                self.powerless.extend(brokers);
            }
            What::CutFromFollowers { .. } => {
                self.outages += nodes.len();
                self.cut_from_followers.extend(brokers);
            }
            What::CutFromController { .. } => {
                self.outages += nodes.len();
                self.cut_from_controller.extend(brokers);
            }
            What::MoveLeader => self.moved = true,
            What::SlowLinks { .. } => {}
            What::StartConsumers => self.started_late = true,
            // No family in `Family::ALL` does these yet.
            What::ShutDown
            | What::Pause
            | What::DestroyDisk
            | What::FillDisk { .. }
            | What::FailDisk { .. }
            | What::SlowDisk { .. }
            | What::ClockJump { .. }
            | What::ClockDrift { .. }
            | What::CutFromClients { .. }
            | What::CutFromCluster { .. }
            | What::FailProcessing { .. } => panic!("no rule for {what:?} yet"),
        }
    }

    /// Brokers that can have left an ISR because the controller fenced them.
    fn fenced(&self) -> BTreeSet<u32> {
        let mut all = self.killed.clone();
        all.extend(&self.powerless);
        all.extend(&self.cut_from_controller);
        all
    }
}

/// acks=0 and 1: records that were acknowledged and not committed.
fn uncommitted(config: &CellConfig, seen: &Seen, allowed: &mut BTreeSet<Mechanism>) {
    use Mechanism::*;
    if config.acks == Acks::All {
        return;
    }
    let dead = !seen.killed.is_empty() || !seen.powerless.is_empty();
    let given_up = !seen.cut_from_controller.is_empty();
    if config.is_replicated() {
        if dead {
            // P05: the preferred leader gets the leadership back (auto.leader.rebalance.enable).
            allowed.extend([P04, P05]);
        }
        if given_up {
            allowed.extend([P05, P06]);
        }
        if seen.moved {
            allowed.insert(P05);
        }
    }
    if config.acks == Acks::None {
        if seen.connections_lost {
            allowed.insert(P01);
        }
        if dead {
            allowed.extend([P01, P02, P03, P19, P20]);
        }
        if given_up || (seen.moved && config.is_replicated()) {
            allowed.extend([P01, P02, P03, P20]);
        }
    }
}

/// Every `acks`: records that were on every in-sync replica and on no disk.
fn power(config: &CellConfig, seen: &Seen, allowed: &mut BTreeSet<Mechanism>) {
    use Mechanism::*;
    // acks=0 is "acknowledged" before its own sync, so flushing every message does not cover it.
    let cached = !config.flush.is_every() || config.acks == Acks::None;
    if seen.powerless.is_empty() || !cached {
        return;
    }
    if !config.is_replicated() {
        allowed.insert(S01);
        return;
    }
    if last_standing_lost_power(config, seen) {
        allowed.extend([R05, S02]);
    }
}

/// Whether a broker that lost power can have been the last member of an ISR: KIP-966's last replica
/// standing. Either it was cut off from its followers while it led, and shrank its ISR to itself; or
/// each of the others was out of the ISR, fenced by the controller or cut off from this leader.
fn last_standing_lost_power(config: &CellConfig, seen: &Seen) -> bool {
    let others = usize::from(config.replication_factor.unsigned_abs()) - 1;
    let mut out = seen.fenced();
    out.extend(&seen.cut_from_followers);
    seen.powerless.iter().any(|last| {
        seen.cut_from_followers.contains(last)
            || out.iter().filter(|broker| *broker != last).count() >= others
    })
}

/// `unclean.leader.election.enable=true`: a replica outside the ISR is elected while no member of
/// the ISR is unfenced. One outage puts a replica outside, another takes the members away.
fn unclean(config: &CellConfig, seen: &Seen, allowed: &mut BTreeSet<Mechanism>) {
    use Mechanism::*;
    if !config.unclean || !config.is_replicated() || seen.outages < 2 {
        return;
    }
    // With acks=all and min.insync.replicas = replication factor every replica had the record, and
    // keeps it unless its power went.
    let everywhere = config.acks == Acks::All
        && config.effective_min_isr >= i32::from(config.replication_factor);
    let on_disk = seen.powerless.is_empty() || config.flush.is_every();
    if !(everywhere && on_disk) {
        allowed.extend([R02, R03, R04]);
    }
}

fn consumers(config: &CellConfig, seen: &Seen, allowed: &mut BTreeSet<Mechanism>) {
    use Mechanism::*;
    let latest = config.auto_offset_reset == AutoOffsetReset::Latest;
    if seen.consumer_killed && config.application == Application::CommitBeforeProcessing {
        allowed.insert(C04);
    }
    if latest && (seen.consumer_killed || seen.started_late) {
        allowed.insert(C12);
    }
    if latest && seen.consumer_killed && commits_may_vanish(config, seen) {
        allowed.insert(C18);
    }
}

/// Whether `__consumer_offsets` can have lost a group's commits. Commits are acknowledged as
/// acks=all (`CoordinatorPartitionWriter`), so it takes power, or an unclean election.
fn commits_may_vanish(config: &CellConfig, seen: &Seen) -> bool {
    let of_offsets = CellConfig {
        replication_factor: config.offsets_replication_factor,
        ..config.clone()
    };
    let by_power = !config.offsets_flush.is_every()
        && !seen.powerless.is_empty()
        && (!of_offsets.is_replicated() || last_standing_lost_power(&of_offsets, seen));
    let by_election = config.unclean && of_offsets.is_replicated() && seen.outages >= 2;
    by_power || by_election
}

#[cfg(test)]
mod tests {
    use super::super::tests::safe;
    use super::*;
    use crate::model::Flush;
    use everyack_sim::fault::{Direction, Fault, Unsynced, When};

    const POWER: What = What::PowerLoss {
        unsynced: Unsynced::Gone,
    };
    const CUT: What = What::CutFromFollowers {
        direction: Direction::Both,
    };
    const NO_CONTROLLER: What = What::CutFromController {
        direction: Direction::Both,
    };

    fn run(config: &CellConfig, faults: &[(What, Whom, &[u32])]) -> Vec<Mechanism> {
        let plan = FaultPlan {
            faults: faults
                .iter()
                .map(|(what, whom, _)| Fault {
                    when: When::AtUs(0),
                    what: *what,
                    whom: *whom,
                    for_ms: 1,
                    counted_from: None,
                })
                .collect(),
            canonical: None,
        };
        let struck: Vec<StruckFault> = faults
            .iter()
            .enumerate()
            .map(|(fault, (_, _, nodes))| StruckFault {
                fault,
                at_us: 0,
                nodes: nodes.to_vec(),
                exposed: true,
            })
            .collect();
        expect_run(config, &struck, &plan)
    }

    const LEADER: Whom = Whom::LeaderOf(0);

    #[test]
    fn page_caches_lose_by_one_power_loss_once_the_isr_is_the_leader() {
        let cached = CellConfig {
            flush: Flush::Os,
            ..safe()
        };
        assert_eq!(run(&cached, &[(POWER, LEADER, &[1])]), []);
        assert_eq!(
            run(&cached, &[(CUT, LEADER, &[1]), (POWER, LEADER, &[1])]),
            [Mechanism::R05, Mechanism::S02, Mechanism::C15]
        );
        assert_eq!(
            run(&safe(), &[(CUT, LEADER, &[1]), (POWER, LEADER, &[1])]),
            []
        );
    }

    #[test]
    fn two_killed_brokers_and_the_third_without_power_lose_and_two_of_three_do_not() {
        let cached = CellConfig {
            flush: Flush::Os,
            ..safe()
        };
        let crash = |broker: &'static [u32]| (What::Crash, LEADER, broker);
        assert_eq!(run(&cached, &[crash(&[1]), (POWER, LEADER, &[2])]), []);
        assert_eq!(
            run(&cached, &[crash(&[1]), crash(&[2]), (POWER, LEADER, &[3])]),
            [Mechanism::R05, Mechanism::S02, Mechanism::C15]
        );
        assert_eq!(
            run(&cached, &[(POWER, Whom::AllBrokers, &[1, 2, 3])]),
            [Mechanism::R05, Mechanism::S02, Mechanism::C15]
        );
        assert_eq!(run(&cached, &[crash(&[1]), crash(&[2]), crash(&[3])]), []);
    }

    #[test]
    fn an_unclean_election_takes_two_outages_and_min_isr_at_rf_forbids_it_to_lose() {
        let config = CellConfig {
            unclean: true,
            ..safe()
        };
        assert_eq!(run(&config, &[(What::Crash, LEADER, &[1])]), []);
        let two: &[(What, Whom, &[u32])] = &[(CUT, LEADER, &[1]), (NO_CONTROLLER, LEADER, &[1])];
        assert_eq!(
            run(&config, two),
            [
                Mechanism::R02,
                Mechanism::R03,
                Mechanism::R04,
                Mechanism::C15
            ]
        );
        let everywhere = CellConfig {
            effective_min_isr: 3,
            ..config
        };
        assert_eq!(run(&everywhere, two), []);
    }

    #[test]
    fn a_lost_commit_skips_with_latest_after_a_restart_only() {
        let config = CellConfig {
            offsets_flush: Flush::Os,
            auto_offset_reset: AutoOffsetReset::Latest,
            ..safe()
        };
        let all_off = (POWER, Whom::AllBrokers, [1, 2, 3].as_slice());
        let restart = (What::Crash, Whom::Consumer(0), [2100].as_slice());
        assert_eq!(run(&config, &[all_off]), []);
        assert_eq!(
            run(&config, &[all_off, restart]),
            [Mechanism::C12, Mechanism::C18]
        );
        let earliest = CellConfig {
            auto_offset_reset: AutoOffsetReset::Earliest,
            ..config
        };
        assert_eq!(run(&earliest, &[all_off, restart]), []);
    }

    #[test]
    fn acks_1_loses_by_what_struck_and_acks_all_by_none_of_it() {
        let one = CellConfig {
            acks: Acks::Leader,
            ..safe()
        };
        let faults: [(What, Whom, &[u32]); 3] = [
            (What::Crash, LEADER, &[1]),
            (What::MoveLeader, LEADER, &[1]),
            (NO_CONTROLLER, LEADER, &[1]),
        ];
        assert_eq!(run(&one, &faults[..1]), [Mechanism::P04, Mechanism::P05]);
        assert_eq!(run(&one, &faults[1..2]), [Mechanism::P05]);
        assert_eq!(run(&one, &faults[2..]), [Mechanism::P05, Mechanism::P06]);
        assert_eq!(run(&one, &[(CUT, LEADER, &[1])]), []);
        assert_eq!(run(&safe(), &faults), []);
    }
}
