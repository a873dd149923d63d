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
use everyack_sim::fault::{DiskOperation, FaultPlan, What, Whom};
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
    storage(config, &seen, &mut allowed);
    damage(&seen, &mut allowed);
    unclean(config, &seen, &mut allowed);
    consumers(config, &seen, &mut allowed);
    if allowed.iter().any(|m| takes_readable_records(*m)) {
        allowed.extend(behind_a_truncation(config.auto_offset_reset));
    }
    allowed.into_iter().collect()
}

/// What struck, summed up; brokers by id.
#[derive(Debug, Default)]
struct Seen {
    connections_lost: bool,
    cut_from_clients: bool,
    /// The process died with its page cache kept: killed.
    killed: BTreeSet<u32>,
    powerless: BTreeSet<u32>,
    destroyed: BTreeSet<u32>,
    /// The disk failed, and the process ended over it.
    halted: BTreeSet<u32>,
    /// A sync failed, and dropped the pages that it should have kept.
    dropped_pages: BTreeSet<u32>,
    /// Its disk lied about syncs.
    lied_to: BTreeSet<u32>,
    /// A batch on its disk was damaged.
    damaged: BTreeSet<u32>,
    /// Given up by the controller while the process lived on: cut from it, or stopped.
    given_up: BTreeSet<u32>,
    shut_down: BTreeSet<u32>,
    /// Can have shrunk an ISR to themselves while they led: nobody copied from them in time, or their
    /// clock said so.
    alone: BTreeSet<u32>,
    /// Can have fallen behind another leader.
    behind: BTreeSet<u32>,
    moved: bool,
    consumer_killed: bool,
    handler_failed: bool,
    started_late: bool,
    clock_wrong: bool,
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
        let of_client = matches!(
            whom,
            Whom::Producer(_) | Whom::Consumer(_) | Whom::WhereItHappened
        );
        let brokers: Vec<u32> = nodes
            .iter()
            .copied()
            .filter(|node| NodeId(*node).broker().is_some())
            .collect();
        self.clock_wrong |= matches!(what, What::ClockJump { .. } | What::ClockDrift { .. });
        match what {
            What::ResetConnections | What::CutConnections => self.connections_lost = true,
            What::CutFromClients { .. } => self.cut_from_clients = true,
            What::Crash if of_client => self.consumer_killed |= !matches!(whom, Whom::Producer(_)),
            What::FailProcessing { .. } => self.handler_failed = true,
            What::MoveLeader | What::GiveLeadership => self.moved = true,
            What::StartConsumers => self.started_late = true,
            What::SlowLinks { .. } | What::HoldIsrProposals => {}
            What::LieAboutSyncs => self.lied_to.extend(brokers),
            // A leader that does not know yet that it is none.
            What::LateMetadata { .. } => self.given_up.extend(brokers),
            What::SlowCopies { .. } => self.behind.extend(brokers),
            broker_outage => self.add_outage(broker_outage, &brokers),
        }
    }

    fn add_outage(&mut self, what: What, brokers: &[u32]) {
        self.outages += brokers.len();
        let sets: Vec<&mut BTreeSet<u32>> = match what {
            What::Crash => vec![&mut self.killed],
            What::PowerLoss { .. } => vec![&mut self.powerless],
            What::DestroyDisk => vec![&mut self.destroyed],
            What::ShutDown => vec![&mut self.shut_down],
            What::FillDisk { .. } => vec![&mut self.halted],
            What::FailDisk { operation, .. } => match operation {
                DiskOperation::Sync => vec![&mut self.halted, &mut self.dropped_pages],
                _ => vec![&mut self.halted],
            },
            // When it goes on, its followers have been silent for as long as it was stopped.
            What::Pause => vec![&mut self.given_up, &mut self.alone],
            What::CutFromController { .. } => vec![&mut self.given_up],
            What::CutFromFollowers { .. } | What::SlowDisk { .. } => {
                vec![&mut self.alone, &mut self.behind]
            }
            What::CutFromCluster { .. } => vec![&mut self.given_up, &mut self.alone],
            // What is damaged before it is copied is never copied: its followers fall behind
            // (`AbstractFetcherThread.processFetchRequest` tries again and again).
            What::FlipBits { .. } | What::MisdirectWrite { .. } => {
                vec![&mut self.damaged, &mut self.alone]
            }
            // `Replica.isCaughtUp` compares wall clock times.
            What::ClockJump { .. } | What::ClockDrift { .. } => vec![&mut self.alone],
            other => panic!("{other:?} takes no broker away"),
        };
        for set in sets {
            set.extend(brokers);
        }
    }

    /// Whether a machine lost power whose disk had lied about syncs.
    fn was_lied_to(&self) -> bool {
        !self.lied_to.is_disjoint(&self.powerless)
    }

    /// Brokers that died with their leaderships.
    fn died(&self) -> bool {
        !(self.killed.is_empty() && self.powerless.is_empty() && self.destroyed.is_empty())
    }

    /// Brokers that can have left an ISR: the controller fenced them, or their leader shrank it.
    fn out(&self) -> BTreeSet<u32> {
        let sets = [
            &self.killed,
            &self.powerless,
            &self.destroyed,
            &self.halted,
            &self.given_up,
            &self.shut_down,
            &self.behind,
        ];
        sets.into_iter().flatten().copied().collect()
    }

    /// Whether one of these brokers can have been the last member of an ISR: KIP-966's last replica
    /// standing. Either it shrank its ISR to itself while it led; or each of the others was out.
    fn was_last_standing(&self, config: &CellConfig, brokers: &BTreeSet<u32>) -> bool {
        let others = usize::from(config.replication_factor.unsigned_abs()) - 1;
        let out = self.out();
        brokers.iter().any(|last| {
            self.alone.contains(last)
                || out.iter().filter(|broker| *broker != last).count() >= others
        })
    }
}

/// acks=0 and 1: records that were acknowledged and not committed.
fn uncommitted(config: &CellConfig, seen: &Seen, allowed: &mut BTreeSet<Mechanism>) {
    use Mechanism::*;
    if config.acks == Acks::All {
        return;
    }
    let halted = !seen.halted.is_empty();
    let given_up = !seen.given_up.is_empty();
    let shut_down = !seen.shut_down.is_empty();
    if config.is_replicated() {
        if seen.died() {
            // P05: the preferred leader gets the leadership back (auto.leader.rebalance.enable).
            allowed.extend([P04, P05]);
        }
        if halted {
            allowed.extend([P04, P05, S10]);
        }
        if given_up {
            allowed.extend([P05, P06]);
        }
        if shut_down {
            allowed.extend([P04, P05, P06]);
        }
        if seen.moved {
            allowed.insert(P05);
        }
    }
    if config.acks == Acks::None {
        if seen.connections_lost {
            allowed.insert(P01);
        }
        // Refused as from the future (`LogValidator.validateTimestamp`).
        if seen.clock_wrong {
            allowed.extend([P01, P02]);
        }
        if seen.cut_from_clients || given_up || (seen.moved && config.is_replicated()) {
            allowed.extend([P01, P02, P03, P20]);
        }
        if seen.died() || halted || shut_down {
            allowed.extend([P01, P02, P03, P19, P20]);
        }
        if halted {
            allowed.insert(S10);
        }
    }
}

/// Every `acks`: records that were on every in-sync replica and on no disk, or on a disk that is gone.
fn storage(config: &CellConfig, seen: &Seen, allowed: &mut BTreeSet<Mechanism>) {
    use Mechanism::*;
    // acks=0 is "acknowledged" before its own sync, so flushing every message does not cover it.
    let cached = !config.flush.is_every() || config.acks == Acks::None;
    let alone_is_enough = |brokers: &BTreeSet<u32>| {
        !brokers.is_empty() && (!config.is_replicated() || seen.was_last_standing(config, brokers))
    };
    if seen.was_lied_to() && alone_is_enough(&seen.powerless) {
        allowed.insert(S12);
    }
    if (cached || seen.was_lied_to()) && alone_is_enough(&seen.powerless) {
        allowed.extend(match config.is_replicated() {
            true => vec![R05, S02],
            false => vec![S01],
        });
    }
    if cached && alone_is_enough(&seen.dropped_pages) {
        allowed.extend(match config.is_replicated() {
            true => vec![R05, S02, S10],
            false => vec![S10],
        });
    }
    if alone_is_enough(&seen.destroyed) {
        allowed.extend(match config.is_replicated() {
            true => vec![R01, S20],
            false => vec![S01],
        });
    }
}

/// A damaged batch is served to consumers as it is; where its broker's process ended, recovery cuts the
/// log there.
fn damage(seen: &Seen, allowed: &mut BTreeSet<Mechanism>) {
    if seen.damaged.is_empty() {
        return;
    }
    allowed.insert(Mechanism::S09);
    let ended = [&seen.killed, &seen.powerless, &seen.halted, &seen.shut_down];
    if ended.iter().any(|set| !set.is_disjoint(&seen.damaged)) {
        allowed.insert(Mechanism::S08);
    }
}

/// `unclean.leader.election.enable=true`: a replica outside the ISR is elected while no member of
/// the ISR is unfenced. One outage puts a replica outside, another takes the members away.
fn unclean(config: &CellConfig, seen: &Seen, allowed: &mut BTreeSet<Mechanism>) {
    use Mechanism::*;
    if !config.unclean || !config.is_replicated() || seen.outages < 2 {
        return;
    }
    // With acks=all and min.insync.replicas = replication factor every replica had the record, and
    // keeps it unless its power or its disk went.
    let everywhere = config.acks == Acks::All
        && config.effective_min_isr >= i32::from(config.replication_factor);
    let cache_kept = seen.powerless.is_empty() && seen.dropped_pages.is_empty();
    let flushed = config.flush.is_every() && !seen.was_lied_to();
    let whole = seen.destroyed.is_empty() && seen.damaged.is_empty();
    let kept = whole && (cache_kept || flushed);
    if !(everywhere && kept) {
        allowed.extend([R02, R03, R04]);
    }
}

fn consumers(config: &CellConfig, seen: &Seen, allowed: &mut BTreeSet<Mechanism>) {
    use Mechanism::*;
    let latest = config.auto_offset_reset == AutoOffsetReset::Latest;
    if seen.consumer_killed && config.application == Application::CommitBeforeProcessing {
        allowed.insert(C04);
    }
    if seen.handler_failed {
        allowed.extend(match config.application {
            Application::SkipOnException => Some(C20),
            Application::DeadLetterUnawaited => Some(C21),
            Application::CloseOnException => Some(C02),
            Application::CommitOnException => Some(C05),
            _ => None,
        });
    }
    let left = seen.handler_failed && config.application.leaves_on_exception();
    let started_again = seen.consumer_killed || left;
    if latest && (started_again || seen.started_late) {
        allowed.insert(C12);
    }
    if latest && started_again && commits_may_vanish(config, seen) {
        allowed.insert(C18);
    }
}

/// Whether `__consumer_offsets` can have lost a group's commits. Commits are acknowledged as
/// acks=all (`CoordinatorPartitionWriter`), so it takes power or a disk, or an unclean election.
fn commits_may_vanish(config: &CellConfig, seen: &Seen) -> bool {
    let of_offsets = CellConfig {
        replication_factor: config.offsets_replication_factor,
        flush: config.offsets_flush,
        acks: Acks::All,
        ..config.clone()
    };
    let mut by_storage = BTreeSet::new();
    storage(&of_offsets, seen, &mut by_storage);
    let by_election = config.unclean && of_offsets.is_replicated() && seen.outages >= 2;
    !by_storage.is_empty() || by_election
}

#[cfg(test)]
mod tests {
    use super::super::tests::safe;
    use super::*;
    use crate::model::Flush;
    use everyack_sim::fault::{Direction, Errno, Fault, LogPart, Unsynced, When};

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

    #[test]
    fn a_leader_that_was_slow_or_stopped_or_had_a_false_clock_can_have_been_alone_in_its_isr() {
        let cached = CellConfig {
            flush: Flush::Os,
            ..safe()
        };
        for before in [
            What::SlowDisk { stall_ms: 1 },
            What::Pause,
            What::ClockJump { by_ms: 60_000 },
        ] {
            assert_eq!(run(&cached, &[(before, LEADER, &[1])]), [], "{before:?}");
            assert_eq!(
                run(&cached, &[(before, LEADER, &[1]), (POWER, LEADER, &[1])]),
                [Mechanism::R05, Mechanism::S02, Mechanism::C15],
                "{before:?}"
            );
            // Another broker was slow: two of three are still in the ISR.
            let elsewhere = [(before, LEADER, [2].as_slice()), (POWER, LEADER, &[1])];
            assert_eq!(run(&cached, &elsewhere), [], "{before:?}");
        }
    }

    #[test]
    fn an_empty_disk_loses_where_its_broker_was_the_last_of_an_isr() {
        let destroyed = (What::DestroyDisk, LEADER, [1].as_slice());
        assert_eq!(run(&safe(), &[destroyed]), []);
        assert_eq!(
            run(&safe(), &[(CUT, LEADER, &[1]), destroyed]),
            [Mechanism::R01, Mechanism::S20, Mechanism::C15]
        );
        let single = CellConfig {
            replication_factor: 1,
            effective_min_isr: 1,
            ..safe()
        };
        assert_eq!(run(&single, &[destroyed]), [Mechanism::S01, Mechanism::C15]);
    }

    #[test]
    fn a_failed_sync_drops_pages_and_a_failed_write_does_not() {
        let fails = |operation| What::FailDisk {
            operation,
            files: None,
            nth: 1,
            lasting: false,
            errno: Errno::Io,
        };
        let single = CellConfig {
            replication_factor: 1,
            effective_min_isr: 1,
            flush: Flush::Os,
            ..safe()
        };
        let sync = [(fails(DiskOperation::Sync), LEADER, [1].as_slice())];
        let write = [(fails(DiskOperation::Write), LEADER, [1].as_slice())];
        assert_eq!(run(&single, &sync), [Mechanism::S10, Mechanism::C15]);
        assert_eq!(run(&single, &write), []);
        let one = CellConfig {
            acks: Acks::Leader,
            ..safe()
        };
        assert!(run(&one, &write).contains(&Mechanism::S10));
        assert_eq!(run(&safe(), &sync), [], "the others have it");
    }

    #[test]
    fn a_lie_costs_what_was_flushed_once_the_power_of_the_last_member_goes() {
        let lie = (What::LieAboutSyncs, Whom::AllBrokers, [1, 2, 3].as_slice());
        assert_eq!(run(&safe(), &[lie]), []);
        assert_eq!(run(&safe(), &[lie, (POWER, LEADER, &[1])]), []);
        assert_eq!(
            run(&safe(), &[lie, (POWER, Whom::AllBrokers, &[1, 2, 3])]),
            [
                Mechanism::R05,
                Mechanism::S02,
                Mechanism::S12,
                Mechanism::C15
            ]
        );
        let elsewhere = (What::LieAboutSyncs, LEADER, [3].as_slice());
        let cut = (CUT, LEADER, [1].as_slice());
        assert_eq!(run(&safe(), &[elsewhere, cut, (POWER, LEADER, &[1])]), []);
    }

    #[test]
    fn a_damaged_batch_hides_and_with_its_broker_s_end_loses() {
        let flip = What::FlipBits {
            part: LogPart::All,
            permille: 0,
            bit_permille: 0,
        };
        let flip = (flip, LEADER, [1].as_slice());
        assert_eq!(run(&safe(), &[flip]), [Mechanism::S09]);
        let crash = |broker: &'static [u32]| (What::Crash, LEADER, broker);
        assert_eq!(run(&safe(), &[flip, crash(&[2])]), [Mechanism::S09]);
        assert_eq!(
            run(&safe(), &[flip, crash(&[1])]),
            [Mechanism::S08, Mechanism::S09, Mechanism::C15]
        );
    }

    #[test]
    fn an_orderly_shutdown_moves_leaderships_as_a_planned_move_does() {
        let one = CellConfig {
            acks: Acks::Leader,
            ..safe()
        };
        let faults = [(What::ShutDown, LEADER, [1].as_slice())];
        assert!(run(&one, &faults).contains(&Mechanism::P05));
        assert_eq!(run(&safe(), &faults), []);
    }

    #[test]
    fn a_handler_that_threw_costs_what_its_application_passes_over() {
        let fails = What::FailProcessing {
            records: 1,
            times: 1,
        };
        let faults = [(fails, Whom::Consumer(0), [2100].as_slice())];
        for (application, lost) in [
            (Application::RetryOnException, None),
            (Application::DeadLetter, None),
            (Application::SkipOnException, Some(Mechanism::C20)),
            (Application::DeadLetterUnawaited, Some(Mechanism::C21)),
            (Application::CloseOnException, Some(Mechanism::C02)),
            (Application::CommitOnException, Some(Mechanism::C05)),
        ] {
            let config = CellConfig {
                application,
                ..safe()
            };
            let lost: Vec<Mechanism> = lost.into_iter().collect();
            assert_eq!(run(&config, &faults), lost, "{application:?}");
        }
    }
}
