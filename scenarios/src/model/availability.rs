//! Whether writes or reads stop while the outage lasts, not only for the time of a failover.

use super::CellConfig;
use everyack_broker::config::{Acks, AutoOffsetReset};
use everyack_sim::fault::Family;

/// What is left of the partition while the outage lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Everything, or as good as.
    All,
    /// A leader that is served by so many in-sync replicas, itself among them.
    Isr(i32),
    /// No leader that clients can reach.
    NoLeader,
}

fn left(config: &CellConfig, family: Family) -> Left {
    let replicas = i32::from(config.replication_factor);
    let without = |gone: i32| match replicas - gone {
        0 => Left::NoLeader,
        left => Left::Isr(left),
    };
    match family {
        Family::LeaderCrash
        | Family::LeaderPowerLoss
        | Family::LeaderCutFromController
        | Family::ZombieLeader
        | Family::LeaderPause
        | Family::RollingRestart
        | Family::DiskFull
        | Family::DiskError
        | Family::DiskDestroyed => without(1),
        Family::ZonePowerLoss => without(replicas.min(2)),
        // Every replica in turn, their outages overlapping; all at once.
        Family::RollingCrash
        | Family::RollingPowerLoss
        | Family::MixedRestart
        | Family::ClusterPowerLoss
        | Family::LyingDisk
        | Family::LastIsrCrash
        | Family::LastIsrPowerLoss => Left::NoLeader,
        // The ISR's one member is away. Unclean elections do not wait for it.
        Family::ShrunkIsrCrash | Family::ShrunkIsrPowerLoss | Family::ShrunkIsrDiskDestroyed => {
            match config.unclean && config.is_replicated() {
                true => Left::Isr(1),
                false => Left::NoLeader,
            }
        }
        // It never fails over: the controller and the followers reach it.
        Family::LeaderCutFromClients => Left::NoLeader,
        // The leader is alone in its ISR (`ReplicaManager.maybeShrinkIsr`). A slow disk of its own
        // serves its followers too late as well.
        Family::LeaderCutFromFollowers | Family::SlowLeader => Left::Isr(1),
        Family::SlowFollower if config.is_replicated() => Left::Isr(replicas - 1),
        _ => Left::All,
    }
}

/// Writes are refused until the outage ends. A clock that was set back by more than
/// `message.timestamp.after.max.ms` refuses them too; one that is wrong by less does not, and is not
/// counted here.
pub(super) fn writes_stop(config: &CellConfig, family: Family) -> bool {
    match left(config, family) {
        Left::All => false,
        Left::Isr(left) => config.acks == Acks::All && left < config.effective_min_isr,
        Left::NoLeader => true,
    }
}

/// Acknowledged records cannot be read until the outage ends.
pub(super) fn reads_stop(config: &CellConfig, family: Family) -> bool {
    match (left(config, family), family) {
        // Without a committed offset the consumer throws (`NoOffsetForPartitionException`).
        (_, Family::LateStart) => config.auto_offset_reset == AutoOffsetReset::None,
        // Nobody reads past a damaged batch of the leader's, for as long as it leads.
        (_, Family::BitRot) => true,
        (Left::All, _) => false,
        // What acks=all acknowledged before is below the high watermark and stays readable while the
        // leader stays; what acks=0 and 1 acknowledge now is not.
        (
            Left::Isr(left),
            Family::LeaderCutFromFollowers | Family::SlowLeader | Family::SlowFollower,
        ) => config.acks != Acks::All && left < config.effective_min_isr,
        // A new leader's high watermark starts where it had been told, and stands still.
        (Left::Isr(left), _) => left < config.effective_min_isr,
        (Left::NoLeader, _) => true,
    }
}
