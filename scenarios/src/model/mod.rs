//! The guarantee model: what a configuration promises under a fault family, before any run.
//!
//! It computes `never-loses`, or `may-lose` with the mechanisms that allow it, and whether writes
//! or reads stop meanwhile, from the configuration and the family (or, for `random`, from the faults
//! that happened) and nothing else. It never sees what a run lost.
//!
//! Modelled: eligible leader replicas off (`eligible.leader.replicas.version=0`), one dedicated
//! controller that no fault hits, syncs that are honest (but under `lying-disk`), records that retention does not touch, consumers
//! that take their partitions by `assign` and go on after a failed commit, and an operator who,
//! where `auto.offset.reset=none` throws, sets the group's offsets to the beginning: before the producers
//! start (outside `late-start`), and once every outage has ended.
//!
//! Without eligible leader replicas the ISR never becomes empty: its last member stays in it when
//! it dies and leads again when it returns (`PartitionChangeBuilder.build` sets an empty ISR with
//! the feature on only). Four consequences carry the rules below:
//!
//! 1. A process that is killed keeps its page cache, so the last member has everything that was
//!    committed: process crashes never lose what acks=all acknowledged (unclean elections off).
//! 2. A machine that loses power while it is the last member, or together with all others, leads
//!    again with a shorter log, and the others truncate to it (R05, S02; S01 with one replica); with
//!    an empty one where its disk was replaced (R01, S20).
//! 3. What an acknowledgement of acks=0 or 1 covers is not committed: any change of the leader
//!    may cut it off (P04, P05, P06, S10). Where the leader is alone in its ISR there is none: it is
//!    waited for. (With the feature on another is elected from `min.insync.replicas=2` on: P07.)
//! 4. With unclean elections on the last member is not waited for: a replica that lacks what it, or
//!    it and others, acknowledged leads as soon as no member of the ISR is up (R02, R03).
//!
//! Not modelled: feature level 1 (`may_lose` then differs for sole in-sync members), group
//! rebalances, several controllers.
//!
//! - `producer` what acks=0 and 1 leave open
//! - `replication` what unclean elections leave open
//! - `storage` what page caches and disks leave open
//! - `consumer` what commits, positions and exceptions leave open
//! - `availability` whether writes or reads stop
//! - `per_run` the same for `random`, from the faults that happened

mod availability;
mod config;
mod consumer;
mod per_run;
mod producer;
mod replication;
mod storage;
#[cfg(test)]
mod table;

pub use config::{Application, CellConfig, CellConfigError, Flush};
pub use per_run::expect_run;

use crate::report::Expected;
use everyack_broker::config::AutoOffsetReset;
use everyack_sim::fault::Family;
use everyack_sim::mechanism::Mechanism;

/// What must come out of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Whether acknowledged messages may be lost.
    pub expected: Expected,
    /// By which mechanisms; each demands a witness.
    pub mechanisms: Vec<Mechanism>,
    /// Mechanisms that may show beside them. They are neighbours whose boundary is a race of
    /// microseconds (a refused request and one behind it), so that no witness is demanded.
    pub beside: Vec<Mechanism>,
    /// Writes are refused until the outage ends, not only for the time of a failover.
    pub writes_stop: bool,
    /// Acknowledged records cannot be read until the outage ends: there is no leader, or the high
    /// watermark stands still because the ISR is smaller than `min.insync.replicas` (KAFKA-15583).
    pub reads_stop: bool,
}

impl Expectation {
    /// Whether a loss by this mechanism is expected.
    pub fn allows(&self, mechanism: Mechanism) -> bool {
        self.mechanisms.contains(&mechanism) || self.beside.contains(&mechanism)
    }
}

/// What a configuration promises under a family.
pub fn expect(config: &CellConfig, family: Family) -> Expectation {
    let mut ways = Ways::default();
    producer::ways(config, family, &mut ways);
    replication::ways(config, family, &mut ways);
    storage::ways(config, family, &mut ways);
    consumer::ways(config, family, &mut ways);
    let takes_readable = |m: &Mechanism| takes_readable_records(*m);
    if ways.shown.iter().chain(&ways.beside).any(takes_readable) {
        ways.beside(behind_a_truncation(config.auto_offset_reset));
    }
    let (mechanisms, beside) = ways.sorted();
    let expected = match family {
        family if family.is_judged_per_run() => Expected::PerRun,
        _ if mechanisms.is_empty() => Expected::NeverLoses,
        _ => Expected::MayLose,
    };
    assert!(
        expected != Expected::NeverLoses || beside.is_empty(),
        "{family}: a mechanism beside none"
    );
    Expectation {
        expected,
        mechanisms,
        beside,
        writes_stop: availability::writes_stop(config, family),
        reads_stop: availability::reads_stop(config, family),
    }
}

/// Whether a mechanism can take records that consumers could already read, those below the high
/// watermark.
fn takes_readable_records(mechanism: Mechanism) -> bool {
    use Mechanism::*;
    matches!(
        mechanism,
        S01 | S02 | S08 | S10 | S12 | S20 | R01 | R02 | R03 | R04 | R05
    )
}

/// What can follow for a consumer when records that it could read are cut. Its first position, from
/// `auto.offset.reset`, carries no leader epoch (`OffsetFetcherUtils.resetPositionIfNeeded`), so it is
/// not validated when the leader changes; records fetched before are still handed out
/// (`FetchCollector.initialize` compares offsets, not epochs), and the position behind them lies in
/// the new log (C15), or beyond its end, where the reset policy decides again (C14). Rare: the records
/// must lie in the client's buffer while the broker loses them.
fn behind_a_truncation(reset: AutoOffsetReset) -> &'static [Mechanism] {
    match reset {
        AutoOffsetReset::Latest => &[Mechanism::C14, Mechanism::C15],
        AutoOffsetReset::Earliest | AutoOffsetReset::None => &[Mechanism::C15],
    }
}

/// Mechanisms as the rules collect them.
#[derive(Default)]
struct Ways {
    shown: Vec<Mechanism>,
    beside: Vec<Mechanism>,
}

impl Ways {
    fn by(&mut self, mechanisms: &[Mechanism]) {
        self.shown.extend_from_slice(mechanisms);
    }

    fn beside(&mut self, mechanisms: &[Mechanism]) {
        self.beside.extend_from_slice(mechanisms);
    }

    fn sorted(mut self) -> (Vec<Mechanism>, Vec<Mechanism>) {
        self.shown.sort();
        self.shown.dedup();
        self.beside.sort();
        self.beside.dedup();
        self.beside.retain(|m| !self.shown.contains(m));
        (self.shown, self.beside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everyack_broker::config::Acks;

    pub(super) fn safe() -> CellConfig {
        CellConfig {
            brokers: 3,
            partitions: 1,
            replication_factor: 3,
            acks: Acks::All,
            effective_min_isr: 2,
            unclean: false,
            flush: Flush::Every,
            offsets_flush: Flush::Every,
            offsets_replication_factor: 3,
            application: Application::CommitAfterProcessing,
            auto_offset_reset: AutoOffsetReset::Earliest,
        }
    }

    #[test]
    fn the_safe_configuration_loses_only_with_the_disk_of_a_sole_isr_member_and_disks_that_lie_or_rot()
     {
        for family in Family::ALL {
            let expectation = expect(&safe(), family);
            let lost: &[Mechanism] = match family {
                Family::ShrunkIsrDiskDestroyed => &[Mechanism::S20],
                Family::BitRot => &[Mechanism::S09],
                Family::LyingDisk => &[Mechanism::S12],
                _ => &[],
            };
            assert_eq!(expectation.mechanisms, lost, "{family}");
            if lost.is_empty() {
                assert!(expectation.beside.is_empty(), "{family}: {expectation:?}");
            }
        }
    }

    #[test]
    fn page_caches_cost_the_safe_configuration_what_its_last_in_sync_replica_had_not_synced() {
        let cached = CellConfig {
            flush: Flush::Os,
            ..safe()
        };
        let lost = |family| expect(&cached, family).mechanisms;
        for family in [
            Family::MixedRestart,
            Family::ShrunkIsrPowerLoss,
            Family::LastIsrPowerLoss,
        ] {
            assert_eq!(lost(family), [Mechanism::R05], "{family}");
        }
        for family in [Family::ClusterPowerLoss, Family::RollingPowerLoss] {
            assert_eq!(lost(family), [Mechanism::S02], "{family}");
        }
        assert_eq!(lost(Family::ZonePowerLoss), [], "the third has everything");
        let alone = CellConfig {
            effective_min_isr: 1,
            ..cached
        };
        assert_eq!(
            expect(&alone, Family::ShrunkIsrPowerLoss).mechanisms,
            [Mechanism::R05, Mechanism::S02],
            "what it had taken alone too"
        );
    }

    #[test]
    fn no_setting_survives_disks_that_lie_or_rot() {
        for acks in [Acks::None, Acks::Leader, Acks::All] {
            for (replication_factor, effective_min_isr) in [(1, 1), (3, 1), (3, 2), (3, 3)] {
                for unclean in [false, true] {
                    let flushed = CellConfig {
                        acks,
                        replication_factor,
                        effective_min_isr,
                        unclean,
                        ..safe()
                    };
                    let lying = expect(&flushed, Family::LyingDisk);
                    assert!(lying.mechanisms.contains(&Mechanism::S12), "{flushed:?}");
                    assert!(lying.writes_stop && lying.reads_stop);
                    let cached = CellConfig {
                        flush: Flush::Os,
                        ..flushed
                    };
                    let honest = expect(&cached, Family::ClusterPowerLoss);
                    let lying = expect(&cached, Family::LyingDisk);
                    assert_eq!(lying.mechanisms, honest.mechanisms, "{cached:?}");
                    assert!(lying.beside.contains(&Mechanism::S12));
                    let rot = expect(&cached, Family::BitRot);
                    assert_eq!(rot.mechanisms, [Mechanism::S09]);
                    assert!(rot.reads_stop && !rot.writes_stop);
                }
            }
        }
    }

    #[test]
    fn two_replicas_are_one_zone() {
        let two = CellConfig {
            replication_factor: 2,
            flush: Flush::Os,
            ..safe()
        };
        let zone = expect(&two, Family::ZonePowerLoss);
        assert_eq!(zone.mechanisms, [Mechanism::S02]);
        assert!(zone.writes_stop && zone.reads_stop);
    }

    #[test]
    fn unclean_elections_lose_what_a_replica_lacks_and_min_isr_at_rf_leaves_none_that_does() {
        let lost = |min_isr, family| {
            let config = CellConfig {
                unclean: true,
                effective_min_isr: min_isr,
                ..safe()
            };
            expect(&config, family).mechanisms
        };
        for family in [
            Family::RollingCrash,
            Family::RollingPowerLoss,
            Family::MixedRestart,
            Family::LastIsrCrash,
            Family::ShrunkIsrCrash,
        ] {
            assert_eq!(
                lost(1, family),
                [Mechanism::R02, Mechanism::R03],
                "{family}"
            );
            assert_eq!(lost(2, family), [Mechanism::R03], "{family}");
            assert_eq!(lost(3, family), [], "{family}");
        }
        assert_eq!(
            lost(1, Family::ZonePowerLoss),
            [],
            "the third is in the ISR"
        );
    }

    #[test]
    fn a_leader_alone_in_its_isr_is_waited_for_and_keeps_what_acks_1_told() {
        let one = CellConfig {
            acks: Acks::Leader,
            ..safe()
        };
        for family in [Family::ShrunkIsrCrash, Family::LastIsrCrash] {
            let found = expect(&one, family);
            assert_eq!(found.mechanisms, [], "{family}");
            assert!(found.writes_stop, "{family}");
            let several = CellConfig {
                partitions: 3,
                ..one.clone()
            };
            let lost: &[Mechanism] = match family {
                // Those killed first lead the other partitions.
                Family::LastIsrCrash => &[Mechanism::P04],
                _ => &[],
            };
            assert_eq!(expect(&several, family).mechanisms, lost, "{family}");
        }
    }

    #[test]
    fn a_leader_alone_in_one_isr_whose_other_partitions_are_not_as_far_loses_what_acks_1_told_there()
     {
        let config = CellConfig {
            acks: Acks::Leader,
            partitions: 4,
            ..safe()
        };
        for family in [Family::ShrunkIsrCrash, Family::ShrunkIsrPowerLoss] {
            let found = expect(&config, family).mechanisms;
            assert!(found.contains(&Mechanism::P04), "{family}: {found:?}");
            let all = CellConfig {
                acks: Acks::All,
                ..config.clone()
            };
            let found = expect(&all, family);
            assert!(!found.allows(Mechanism::P04), "{family}");
        }
    }

    #[test]
    fn a_late_group_skips_with_latest_only() {
        let mut config = safe();
        assert_eq!(
            expect(&config, Family::LateStart).expected,
            Expected::NeverLoses
        );
        config.auto_offset_reset = AutoOffsetReset::Latest;
        assert_eq!(
            expect(&config, Family::LateStart).mechanisms,
            [Mechanism::C12]
        );
        config.auto_offset_reset = AutoOffsetReset::None;
        let none = expect(&config, Family::LateStart);
        assert_eq!(
            (none.expected, none.reads_stop),
            (Expected::NeverLoses, true)
        );
    }

    #[test]
    fn a_consumer_crash_skips_by_commit_order_and_by_latest() {
        let mut config = safe();
        config.application = Application::CommitBeforeProcessing;
        let crash = |config: &CellConfig| expect(config, Family::ConsumerCrash).mechanisms;
        assert_eq!(crash(&config), [Mechanism::C04]);
        config.auto_offset_reset = AutoOffsetReset::Latest;
        assert_eq!(crash(&config), [Mechanism::C04, Mechanism::C12]);
        config.application = Application::AutoCommit;
        assert_eq!(crash(&config), [Mechanism::C12]);
        config.auto_offset_reset = AutoOffsetReset::Earliest;
        assert!(crash(&config).is_empty());
    }

    #[test]
    fn unclean_elections_add_nothing_to_a_single_fault_on_a_full_isr() {
        for acks in [Acks::None, Acks::Leader, Acks::All] {
            for flush in [Flush::Every, Flush::Os] {
                let off = CellConfig {
                    acks,
                    flush,
                    ..safe()
                };
                let on = CellConfig {
                    unclean: true,
                    ..off.clone()
                };
                for family in Family::ALL.into_iter().filter(|f| f.is_single_fault()) {
                    assert_eq!(expect(&off, family), expect(&on, family), "{family}");
                }
            }
        }
    }

    #[test]
    fn flushing_every_message_does_not_help_acks_1_at_a_failover() {
        let config = CellConfig {
            acks: Acks::Leader,
            ..safe()
        };
        assert_eq!(
            expect(&config, Family::LeaderCrash).mechanisms,
            [Mechanism::P04]
        );
        assert_eq!(
            expect(&config, Family::LeaderMove).mechanisms,
            [Mechanism::P05]
        );
        assert_eq!(
            expect(&config, Family::LeaderCutFromController).mechanisms,
            [Mechanism::P06]
        );
        assert_eq!(
            expect(&config, Family::ClusterPowerLoss).mechanisms,
            [Mechanism::P04]
        );
    }
}
