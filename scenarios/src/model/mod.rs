//! The guarantee model: what a configuration promises under a fault family, before any run.
//!
//! It computes `never-loses`, or `may-lose` with the mechanisms that allow it, and whether writes
//! or reads stop meanwhile, from the configuration and the family (or, for `random`, from the faults
//! that happened) and nothing else. It never sees what a run lost.
//!
//! Modelled: eligible leader replicas off (`eligible.leader.replicas.version=0`), one dedicated
//! controller that no fault hits, honest syncs, records that retention does not touch, consumers
//! that take their partitions by `assign` and go on after a failed commit, and an application that,
//! where `auto.offset.reset=none`, commits its first position before the producers start (outside
//! `late-start`).
//!
//! Without eligible leader replicas the ISR never becomes empty: its last member stays in it when
//! it dies and leads again when it returns (`PartitionChangeBuilder.build` sets an empty ISR with
//! the feature on only). Three consequences carry the rules below:
//!
//! 1. A process that is killed keeps its page cache, so the last member has everything that was
//!    committed: process crashes never lose what acks=all acknowledged (unclean elections off).
//! 2. A machine that loses power while it is the last member, or together with all others, leads
//!    again with a shorter log, and the others truncate to it (R05, S02; S01 with one replica).
//! 3. What an acknowledgement of acks=0 or 1 covers is not committed: any change of the leader
//!    may cut it off (P04, P05, P06).
//!
//! Not modelled: feature level 1 (`may_lose` then differs for sole in-sync members), group
//! rebalances, several controllers, disks that fail.

mod config;
mod per_run;
#[cfg(test)]
mod table;

pub use config::{Application, CellConfig, CellConfigError, Flush};
pub use per_run::expect_run;

use crate::report::Expected;
use everyack_broker::config::{Acks, AutoOffsetReset};
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
    producer_side(config, family, &mut ways);
    storage_side(config, family, &mut ways);
    consumer_side(config, family, &mut ways);
    let takes_readable = |m: &Mechanism| takes_readable_records(*m);
    if ways.shown.iter().chain(&ways.beside).any(takes_readable) {
        ways.beside(behind_a_truncation(config.auto_offset_reset));
    }
    let (mechanisms, beside) = ways.sorted();
    let expected = match family {
        Family::Random => Expected::PerRun,
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
        writes_stop: writes_stop(config, family),
        reads_stop: reads_stop(config, family),
    }
}

/// Whether a mechanism can take records that consumers could already read, those below the high
/// watermark.
fn takes_readable_records(mechanism: Mechanism) -> bool {
    use Mechanism::*;
    matches!(mechanism, S01 | S02 | R02 | R03 | R04 | R05)
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

/// What acks=0 and 1 leave open. acks=all leaves nothing here: it answers once the high watermark
/// has passed the record, so each member of the ISR has it (`DelayedProduce.tryComplete`), and
/// every clean election is among those (`PartitionChangeBuilder.isValidNewLeader`).
fn producer_side(config: &CellConfig, family: Family, ways: &mut Ways) {
    use Mechanism::*;
    let replicated = config.is_replicated();
    let acks_0 = config.acks == Acks::None;
    if config.acks == Acks::All {
        return;
    }
    match family {
        // A reset or a cut takes what was on its way. acks=1 waits for the answer and sends again.
        Family::ConnectionLoss if acks_0 => ways.by(&[P01]),
        Family::LeaderCrash | Family::LeaderPowerLoss | Family::ClusterPowerLoss => {
            // With one replica, nobody else is elected and nothing is truncated.
            if replicated {
                ways.by(&[P04]);
                // The preferred leader, once back, gets the leadership again by a planned move
                // (`auto.leader.rebalance.enable`, looked at every 300 s).
                ways.beside(&[P05]);
            }
            if acks_0 {
                // In flight to the dead process, and waiting inside it. After the outage: refused
                // by one that no longer leads (P03) or does not know the topic yet (P20), and
                // what came behind on that connection (P02).
                ways.by(&[P01, P19]);
                ways.beside(&[P02, P03, P20]);
            }
        }
        Family::LeaderCutFromController => {
            if replicated {
                // Fenced after its session, it goes on serving; Produce carries no leader epoch.
                ways.by(&[P06]);
                ways.beside(&[P05]);
            }
            if acks_0 {
                // When the link heals, the broker first learns that it leads no more; what is on
                // its way then is refused. With one replica too: no leader, then itself again.
                ways.by(&[P03]);
                ways.beside(&[P01, P02, P20]);
            }
        }
        Family::LeaderMove if replicated => {
            ways.by(&[P05]);
            if acks_0 {
                ways.by(&[P03]);
                ways.beside(&[P01, P02, P20]);
            }
        }
        // The leader stays, and clients reach it: nothing acknowledged is cut off. With fewer than
        // min.insync.replicas the records are hidden (P08) until the followers are back.
        Family::LeaderCutFromFollowers => {}
        // acks=0 counts a message as sent once the socket has it; a killed process's kernel still
        // delivers that (`Selector` reads a closing channel to its end).
        Family::ProducerCrash => {}
        _ => {}
    }
}

/// What a page cache leaves open, at every `acks`, for records that reached every in-sync replica.
fn storage_side(config: &CellConfig, family: Family, ways: &mut Ways) {
    use Mechanism::*;
    let cached = !config.flush.is_every();
    match family {
        Family::LeaderPowerLoss | Family::ClusterPowerLoss if !config.is_replicated() => {
            if cached {
                ways.by(&[S01]);
            } else if config.acks == Acks::None {
                // Sent, appended, and the power gone before its own sync was done.
                ways.beside(&[S01]);
            }
        }
        Family::ClusterPowerLoss if cached => {
            // KIP-966: correlated. What each disk kept is drawn, and the one that leads again may
            // have kept less than another.
            ways.by(&[S02]);
            if config.unclean {
                // The last member of the ISR is not always the first to be back.
                ways.beside(&[R02, R03]);
            }
        }
        // The power gone after the append and before the sync: nothing was promised to acks=all
        // yet, and acks=1 was not answered; acks=0 was, by nobody.
        Family::ClusterPowerLoss if config.acks == Acks::None => ways.beside(&[S02]),
        // One machine of a full ISR: it is fenced and removed before it may register again
        // (`ClusterControlManager.registerBroker`), and copies again what it lost.
        _ => {}
    }
    if family == Family::ClusterPowerLoss
        && config.unclean
        && config.is_replicated()
        && config.acks != Acks::All
    {
        ways.beside(&[R02, R03]);
    }
}

/// What commits and positions leave open, with records that are durable and readable.
fn consumer_side(config: &CellConfig, family: Family, ways: &mut Ways) {
    use Mechanism::*;
    let latest = config.auto_offset_reset == AutoOffsetReset::Latest;
    match family {
        Family::ConsumerCrash => {
            if config.application == Application::CommitBeforeProcessing {
                ways.by(&[C04]);
            }
            // Killed before its first commit. auto-commit commits what the poll before returned,
            // once every `auto.commit.interval.ms`, inside poll(): no skip of its own
            // (`ConsumerCoordinator.maybeAutoCommitOffsetsAsync`).
            if latest {
                ways.by(&[C12]);
            }
        }
        Family::LateStart if latest => ways.by(&[C12]),
        // Commits are lost with the power as records are, but the consumers stay up, and their
        // positions with them; who lost less reads again. A truncation below a position with an
        // epoch is seen (KIP-320); `behind_a_truncation` has those without one.
        _ => {}
    }
}

fn writes_stop(config: &CellConfig, family: Family) -> bool {
    let all = config.acks == Acks::All;
    match family {
        Family::LeaderCrash | Family::LeaderPowerLoss | Family::LeaderCutFromController => {
            !config.is_replicated() || (all && config.one_less_is_too_few())
        }
        Family::ClusterPowerLoss => true,
        // The leader is alone in its ISR (`ReplicaManager.maybeShrinkIsr`).
        Family::LeaderCutFromFollowers => all && config.effective_min_isr > 1,
        _ => false,
    }
}

fn reads_stop(config: &CellConfig, family: Family) -> bool {
    match family {
        Family::LeaderCrash | Family::LeaderPowerLoss | Family::LeaderCutFromController => {
            !config.is_replicated() || config.one_less_is_too_few()
        }
        Family::ClusterPowerLoss => true,
        // What acks=all acknowledged before is below the high watermark and stays readable; what
        // acks=0 and 1 acknowledge now is not.
        Family::LeaderCutFromFollowers => config.acks != Acks::All && config.effective_min_isr > 1,
        // Without a committed offset the consumer throws (`NoOffsetForPartitionException`).
        Family::LateStart => config.auto_offset_reset == AutoOffsetReset::None,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn safe() -> CellConfig {
        CellConfig {
            brokers: 3,
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
    fn the_safe_configuration_never_loses_under_any_family() {
        for family in Family::ALL {
            let expectation = expect(&safe(), family);
            assert!(
                expectation.mechanisms.is_empty(),
                "{family}: {expectation:?}"
            );
            assert!(expectation.beside.is_empty(), "{family}: {expectation:?}");
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
