//! What unclean elections leave open (`unclean.leader.election.enable=true`).
//!
//! The controller elects a replica from outside the ISR as soon as no member of the ISR is active
//! (`PartitionChangeBuilder.electAnyLeader` with `Election.UNCLEAN`, at the fencing or unfencing of a
//! broker). A committed record is on `min.insync.replicas` replicas at least (KAFKA-15583), so one of
//! the others must be there to be elected: with `min.insync.replicas` at the number of replicas none
//! lacks it. One fault on a full ISR leaves a member up, and adds nothing.

use super::{CellConfig, Ways};
use everyack_broker::config::Acks;
use everyack_sim::fault::Family;
use everyack_sim::mechanism::Mechanism::{self, *};

pub(super) fn ways(config: &CellConfig, family: Family, ways: &mut Ways) {
    if !config.unclean {
        return;
    }
    match family {
        // One after the other: a replica that went first and comes back first is elected while those
        // that took records since are all away.
        // A machine without power closes no connection, so that acks=0 goes on sending to it until its
        // metadata is old (`metadata.max.age.ms`): the next leaders are not sent anything to lose.
        Family::RollingPowerLoss if config.acks == Acks::None => ways.beside(&passed_over(config)),
        Family::RollingCrash
        | Family::RollingPowerLoss
        | Family::MixedRestart
        | Family::LastIsrCrash
        | Family::LastIsrPowerLoss => {
            let passed_over = passed_over(config);
            // What a power loss took from one of two that held it is counted as held by the other.
            if passed_over.contains(&R03) && family != Family::RollingCrash {
                ways.beside(&[R02]);
            }
            ways.by(&passed_over);
        }
        // The followers live, and one is elected when the leader is fenced. Which one: of two that
        // left the ISR one after the other perhaps the one that left first (R03).
        Family::ShrunkIsrCrash | Family::ShrunkIsrPowerLoss => ways.by(&passed_over(config)),
        // Of those that held it the leader's copy is gone with its disk.
        Family::ShrunkIsrDiskDestroyed => {
            let replicas = i32::from(config.replication_factor);
            if config.effective_min_isr < replicas {
                ways.by(&[if config.effective_min_isr <= 2 {
                    R02
                } else {
                    R03
                }]);
                ways.beside(&[R02, R03]);
            }
        }
        // All at once, with a full ISR: the last member of the ISR is not always the first to be back.
        Family::ClusterPowerLoss | Family::LyingDisk => all_at_once(config, family, ways),
        Family::ZonePowerLoss if config.replication_factor <= 2 => {
            all_at_once(config, family, ways);
        }
        _ => {}
    }
}

/// By how many replicas a committed record was held that an unclean election passed over: one (R02),
/// or several (R03).
fn passed_over(config: &CellConfig) -> Vec<Mechanism> {
    let replicas = i32::from(config.replication_factor);
    let mut ways = Vec::new();
    if replicas >= 2 && config.effective_min_isr == 1 {
        ways.push(R02);
    }
    if replicas >= 3 && config.effective_min_isr < replicas {
        ways.push(R03);
    }
    ways
}

fn all_at_once(config: &CellConfig, family: Family, ways: &mut Ways) {
    let acknowledged_early = config.acks != Acks::All;
    let kept = config.flush.is_every() && family != Family::LyingDisk;
    if config.is_replicated() && (!kept || acknowledged_early) {
        ways.beside(&[R02, R03]);
    }
}
