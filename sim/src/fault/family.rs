//! Fault families: what a family does, and to whom.
//!
//! A variant may be here before its family can be run: [`Family::ALL`] has those that work, and
//! nothing else is to be reached by name, from a suite, from `check` or by `random`.
//!
//! Not here yet: several controllers, two in-sync replicas cut off together, reassignment, rebalances and
//! transactions.

use super::{FaultPlan, What};
use serde::{Deserialize, Serialize};

/// A fault family, named as on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Nothing goes wrong.
    None,
    /// The producers' connections to the leader fail.
    ConnectionLoss,
    /// The leader's process is killed.
    LeaderCrash,
    /// The leader's machine loses power.
    LeaderPowerLoss,
    /// One leader after the other is killed.
    RollingCrash,
    /// One leader's machine after the other loses power.
    RollingPowerLoss,
    /// All brokers' machines lose power at one instant.
    ClusterPowerLoss,
    /// The leader's and one follower's machine lose power at one instant.
    ZonePowerLoss,
    /// Kills and power losses, mixed over the replicas.
    MixedRestart,
    /// The leader's links to the other brokers are cut.
    LeaderCutFromFollowers,
    /// The leader's links to the controllers are cut.
    LeaderCutFromController,
    /// The leader's links to the clients are cut.
    LeaderCutFromClients,
    /// The leader is cut from followers and controller, and a producer still reaches it.
    ZombieLeader,
    /// The leader's process stops for longer than its session, then goes on.
    LeaderPause,
    /// The leadership is moved, as planned.
    LeaderMove,
    /// Each broker in turn is shut down in order and started again.
    RollingRestart,
    /// One follower's disk is slow.
    SlowFollower,
    /// The leader's disk is slow.
    SlowLeader,
    /// The leader's disk has no space left.
    DiskFull,
    /// The leader's disk fails a write or a sync.
    DiskError,
    /// The leader's disk is replaced by an empty one.
    DiskDestroyed,
    /// What one replica has stored is damaged.
    BitRot,
    /// All brokers' disks say of syncs that they are done, and keep nothing; then their machines lose power.
    LyingDisk,
    /// The leader is alone in its ISR, its followers alive, and its process is killed.
    ShrunkIsrCrash,
    /// The leader is alone in its ISR, its followers alive, and its machine loses power.
    ShrunkIsrPowerLoss,
    /// The leader is alone in its ISR, its followers alive, and its disk is replaced.
    ShrunkIsrDiskDestroyed,
    /// The other replicas were killed one after the other; then the last is killed.
    LastIsrCrash,
    /// The other replicas were killed one after the other; then the last loses power.
    LastIsrPowerLoss,
    /// One machine's wall clock jumps or drifts.
    ClockJump,
    /// A producer application is killed.
    ProducerCrash,
    /// A consumer application is killed.
    ConsumerCrash,
    /// The group first starts after messages were produced.
    LateStart,
    /// The application's handler fails on some records.
    ProcessingException,
    /// Records, metadata and ISR proposals are late while leaders change and followers return.
    LateMessages,
    /// A swarm of all of them.
    Random,
}

impl Family {
    /// Every family that can be run, in the order of the command line's list.
    pub const ALL: [Family; 35] = [
        Family::None,
        Family::ConnectionLoss,
        Family::LeaderCrash,
        Family::LeaderPowerLoss,
        Family::RollingCrash,
        Family::RollingPowerLoss,
        Family::ClusterPowerLoss,
        Family::ZonePowerLoss,
        Family::MixedRestart,
        Family::LeaderCutFromFollowers,
        Family::LeaderCutFromController,
        Family::LeaderCutFromClients,
        Family::ZombieLeader,
        Family::LeaderPause,
        Family::LeaderMove,
        Family::RollingRestart,
        Family::SlowFollower,
        Family::SlowLeader,
        Family::DiskFull,
        Family::DiskError,
        Family::DiskDestroyed,
        Family::BitRot,
        Family::LyingDisk,
        Family::ShrunkIsrCrash,
        Family::ShrunkIsrPowerLoss,
        Family::ShrunkIsrDiskDestroyed,
        Family::LastIsrCrash,
        Family::LastIsrPowerLoss,
        Family::ClockJump,
        Family::ProducerCrash,
        Family::ConsumerCrash,
        Family::LateStart,
        Family::ProcessingException,
        Family::LateMessages,
        Family::Random,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Family::None => "none",
            Family::ConnectionLoss => "connection-loss",
            Family::LeaderCrash => "leader-crash",
            Family::LeaderPowerLoss => "leader-power-loss",
            Family::RollingCrash => "rolling-crash",
            Family::RollingPowerLoss => "rolling-power-loss",
            Family::ClusterPowerLoss => "cluster-power-loss",
            Family::ZonePowerLoss => "zone-power-loss",
            Family::MixedRestart => "mixed-restart",
            Family::LeaderCutFromFollowers => "leader-cut-from-followers",
            Family::LeaderCutFromController => "leader-cut-from-controller",
            Family::LeaderCutFromClients => "leader-cut-from-clients",
            Family::ZombieLeader => "zombie-leader",
            Family::LeaderPause => "leader-pause",
            Family::LeaderMove => "leader-move",
            Family::RollingRestart => "rolling-restart",
            Family::SlowFollower => "slow-follower",
            Family::SlowLeader => "slow-leader",
            Family::DiskFull => "disk-full",
            Family::DiskError => "disk-error",
            Family::DiskDestroyed => "disk-destroyed",
            Family::BitRot => "bit-rot",
            Family::LyingDisk => "lying-disk",
            Family::ShrunkIsrCrash => "shrunk-isr-crash",
            Family::ShrunkIsrPowerLoss => "shrunk-isr-power-loss",
            Family::ShrunkIsrDiskDestroyed => "shrunk-isr-disk-destroyed",
            Family::LastIsrCrash => "last-isr-crash",
            Family::LastIsrPowerLoss => "last-isr-power-loss",
            Family::ClockJump => "clock-jump",
            Family::ProducerCrash => "producer-crash",
            Family::ConsumerCrash => "consumer-crash",
            Family::LateStart => "late-start",
            Family::ProcessingException => "processing-exception",
            Family::LateMessages => "late-messages",
            Family::Random => "random",
        }
    }

    /// The family of that name, of those that can be run.
    pub fn from_name(name: &str) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.name() == name)
    }

    /// What happens, to whom, and in which state.
    pub fn describe(self) -> &'static str {
        match self {
            Family::None => "nothing goes wrong",
            Family::ConnectionLoss => {
                "requests in flight: the connections between producers and leader are reset, or silently cut and later reset, one to five times"
            }
            Family::LeaderCrash => "full ISR: the leader's process is killed and started again",
            Family::LeaderPowerLoss => {
                "full ISR: the leader's machine loses power, and what its disk had not synced, and comes back"
            }
            Family::ClusterPowerLoss => {
                "full ISR: all brokers' machines lose power at one instant and come back; controllers and clients stay up"
            }
            Family::LeaderCutFromFollowers => {
                "full ISR: the leader's links to the other brokers are cut, both ways or one"
            }
            Family::LeaderCutFromController => {
                "full ISR: the leader's links to the controllers are cut, both ways or one; followers and clients still reach it"
            }
            Family::RollingCrash => {
                "full ISR: the leader is killed; when the next leads, that one is killed before the former has caught up; every replica in turn, outages may overlap"
            }
            Family::RollingPowerLoss => {
                "full ISR: the leader's machine loses power, then the next leader's, until every replica has lost power before any has fetched again what it lost"
            }
            Family::ZonePowerLoss => {
                "full ISR: the leader's and one follower's machine lose power at one instant and come back"
            }
            Family::MixedRestart => {
                "full ISR: kills and power losses mixed over the replicas, their outages overlapping"
            }
            Family::LeaderCutFromClients => {
                "full ISR: the leader's links to producers and consumers are cut, both ways or one; followers and controllers still reach it"
            }
            Family::ZombieLeader => {
                "full ISR: the leader is cut from followers and controllers; at least one producer still reaches it"
            }
            Family::LeaderPause => {
                "full ISR: the leader's process stops for longer than its session, then goes on"
            }
            Family::RollingRestart => {
                "no fault: each broker in turn is shut down in order and started again, under load"
            }
            Family::SlowFollower => {
                "full ISR: one follower's disk is slowed beyond replica.lag.time.max.ms"
            }
            Family::SlowLeader => {
                "full ISR: the leader's disk is slowed beyond replica.lag.time.max.ms"
            }
            Family::DiskFull => {
                "full ISR: the leader's disk answers that no space is left, at any write"
            }
            Family::DiskError => {
                "full ISR: the leader's disk fails a write, or a sync and drops what that should have kept"
            }
            Family::DiskDestroyed => {
                "full ISR: the leader's disk is replaced by an empty one, and its process started again"
            }
            Family::BitRot => {
                "a bit of a stored batch flips at one replica, or a write lands elsewhere"
            }
            Family::LyingDisk => {
                "the brokers' disks say of each sync that it is done, and keep nothing; then all brokers' machines lose power at one instant and come back"
            }
            Family::ShrunkIsrCrash => {
                "the ISR is the leader alone, its followers alive but cut off from it or lagging: the leader is killed"
            }
            Family::ShrunkIsrPowerLoss => {
                "the ISR is the leader alone, its followers alive but cut off from it or lagging: the leader's machine loses power"
            }
            Family::ShrunkIsrDiskDestroyed => {
                "the ISR is the leader alone, its followers alive but cut off from it or lagging: the leader's disk is replaced by an empty one"
            }
            Family::LastIsrCrash => {
                "the other replicas were killed one after the other, the ISR is the leader alone: it is killed; the others come back first"
            }
            Family::LastIsrPowerLoss => {
                "the other replicas were killed one after the other, the ISR is the leader alone: its machine loses power; the others come back first"
            }
            Family::ClockJump => "one broker's wall clock jumps or drifts",
            Family::ProcessingException => {
                "the application's handler throws on drawn records, once or until the heal"
            }
            Family::LeaderMove => {
                "full ISR, no fault: one to six planned moves of the leadership under load"
            }
            Family::ProducerCrash => {
                "work in hand: a producer's process is killed and a new one starts"
            }
            Family::ConsumerCrash => {
                "work in hand: a consumer's process is killed and a new one starts"
            }
            Family::LateStart => {
                "a fresh group starts after messages were acknowledged, while producers go on"
            }
            Family::LateMessages => {
                "records reach one follower late, metadata one broker, and ISR proposals the controller, while the leadership moves to and fro, or a follower falls out of the ISR and returns; what may be lost is computed per run"
            }
            Family::Random => {
                "a swarm: one to four faults from a drawn subset of the other families, late-messages apart"
            }
        }
    }

    /// One fault hits one thing: what a sound configuration survives. Families that hit several
    /// brokers, or one whose others are already gone, are not; `zombie-leader`, two groups of links,
    /// counts as one. No setting survives `bit-rot` and `lying-disk`.
    pub fn is_single_fault(self) -> bool {
        match self {
            Family::ConnectionLoss
            | Family::LeaderCrash
            | Family::LeaderPowerLoss
            | Family::LeaderCutFromFollowers
            | Family::LeaderCutFromController
            | Family::LeaderCutFromClients
            | Family::ZombieLeader
            | Family::LeaderPause
            | Family::LeaderMove
            | Family::RollingRestart
            | Family::DiskFull
            | Family::DiskError
            | Family::DiskDestroyed
            | Family::SlowFollower
            | Family::SlowLeader
            | Family::ClockJump
            | Family::ProducerCrash
            | Family::ConsumerCrash
            | Family::LateStart
            | Family::ProcessingException => true,
            Family::None
            | Family::RollingCrash
            | Family::RollingPowerLoss
            | Family::ClusterPowerLoss
            | Family::ZonePowerLoss
            | Family::MixedRestart
            | Family::BitRot
            | Family::LyingDisk
            | Family::ShrunkIsrCrash
            | Family::ShrunkIsrPowerLoss
            | Family::ShrunkIsrDiskDestroyed
            | Family::LastIsrCrash
            | Family::LastIsrPowerLoss
            | Family::LateMessages
            | Family::Random => false,
        }
    }

    /// Whether its drawn plans are several faults, the later ones waiting for what the earlier ones
    /// bring about.
    pub fn is_compound(self) -> bool {
        matches!(
            self,
            Family::RollingCrash
                | Family::RollingPowerLoss
                | Family::MixedRestart
                | Family::RollingRestart
                | Family::LyingDisk
                | Family::ShrunkIsrCrash
                | Family::ShrunkIsrPowerLoss
                | Family::ShrunkIsrDiskDestroyed
                | Family::LastIsrCrash
                | Family::LastIsrPowerLoss
                | Family::LateMessages
        )
    }

    /// Whether what a configuration may lose under it is computed per run, from the faults that
    /// happened.
    pub fn is_judged_per_run(self) -> bool {
        matches!(self, Family::LateMessages | Family::Random)
    }

    /// Whether a fault of a plan only brings about the precondition: what makes messages late, and what lies
    /// about syncs, always does, and in the families that have one, every fault but the plan's last.
    pub fn is_preparation(self, plan: &FaultPlan, fault: usize) -> bool {
        let has_precondition = matches!(
            self,
            Family::ShrunkIsrCrash
                | Family::ShrunkIsrPowerLoss
                | Family::ShrunkIsrDiskDestroyed
                | Family::LastIsrCrash
                | Family::LastIsrPowerLoss
        );
        matches!(
            plan.faults[fault].what,
            What::SlowLinks { .. }
                | What::SlowCopies { .. }
                | What::LateMetadata { .. }
                | What::HoldIsrProposals
                | What::LieAboutSyncs
        ) || (has_precondition && fault + 1 < plan.faults.len())
    }

    /// Whether a run did what the family is there for. `struck` tells of a fault by its index whether
    /// it did, `disk_failed` whether an operation of a disk failed.
    ///
    /// Where a family is several outages, each must have struck; where it has a precondition, the fault
    /// that waited for it.
    pub fn has_fired(
        self,
        plan: &FaultPlan,
        struck: &dyn Fn(usize) -> bool,
        disk_failed: bool,
    ) -> bool {
        let mut own = (0..plan.faults.len()).filter(|f| !self.is_preparation(plan, *f));
        match self {
            Family::RollingCrash
            | Family::RollingPowerLoss
            | Family::MixedRestart
            | Family::RollingRestart => own.all(struck),
            Family::DiskFull | Family::DiskError => disk_failed && own.any(struck),
            _ => own.any(struck),
        }
    }

    /// What a family could take at the instant at which it strikes.
    pub fn exposure(self) -> Exposure {
        match self {
            Family::None => Exposure::Always,
            Family::ConnectionLoss | Family::ProducerCrash => Exposure::SentUnanswered,
            Family::LeaderCrash
            | Family::RollingCrash
            | Family::LeaderCutFromFollowers
            | Family::LeaderCutFromController
            | Family::LeaderCutFromClients
            | Family::ZombieLeader
            | Family::LeaderPause
            | Family::LeaderMove
            | Family::RollingRestart
            | Family::SlowFollower
            | Family::SlowLeader
            | Family::DiskFull
            | Family::DiskError
            | Family::DiskDestroyed
            | Family::ShrunkIsrCrash
            | Family::ShrunkIsrDiskDestroyed
            | Family::LastIsrCrash
            | Family::ClockJump => Exposure::AppendedUnreplicated,
            Family::LeaderPowerLoss
            | Family::RollingPowerLoss
            | Family::ClusterPowerLoss
            | Family::ZonePowerLoss
            | Family::LyingDisk
            | Family::ShrunkIsrPowerLoss
            | Family::LastIsrPowerLoss => Exposure::AppendedUnsynced,
            Family::BitRot => Exposure::StoredUndelivered,
            Family::ConsumerCrash | Family::ProcessingException => Exposure::DeliveredUncommitted,
            Family::LateStart => Exposure::AckedBeforeStart,
            Family::MixedRestart | Family::LateMessages | Family::Random => {
                Exposure::AnyOfItsFaults
            }
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a record must be, acknowledged or still in flight, when the fault strikes, for the run to
/// count as exposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// Every run counts.
    Always,
    /// Sent and unanswered (with acks=0: sent and not yet appended).
    SentUnanswered,
    /// Appended by the leader and not yet on every replica; with one replica [`Self::SentUnanswered`].
    AppendedUnreplicated,
    /// Not yet synced on every replica, whatever a disk has said of it.
    AppendedUnsynced,
    /// In the damaged part of the leader's log, and not yet delivered by a poll.
    StoredUndelivered,
    /// Delivered by a poll and not yet processed, or processed and not yet committed.
    DeliveredUncommitted,
    /// Acknowledged before the group started.
    AckedBeforeStart,
    /// What the family of one of the faults that struck says.
    AnyOfItsFaults,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_serde_writes_and_lead_back() {
        for family in Family::ALL {
            let written =
                serde::de::value::StrDeserializer::<serde::de::value::Error>::new(family.name());
            assert_eq!(Family::deserialize(written), Ok(family));
            assert_eq!(Family::from_name(family.name()), Some(family));
        }
        assert_eq!(Family::from_name("leader-crush"), None);
    }
}
