//! What page caches and disks leave open, at every `acks`, for records that reached every in-sync
//! replica.

use super::{CellConfig, Ways};
use everyack_broker::config::Acks;
use everyack_sim::fault::Family;
use everyack_sim::mechanism::Mechanism::*;

pub(super) fn ways(config: &CellConfig, family: Family, ways: &mut Ways) {
    // Whatever is replicated and flushed: the leader serves a stored batch as its disk has it
    // (`FileRecords` goes to the socket unread), consumers find its checksum wrong and stay in front of
    // it (`CompletedFetch.maybeEnsureValid`), and nothing in Kafka compares it with another replica's.
    if family == Family::BitRot {
        ways.by(&[S09]);
    }
    if config.is_replicated() {
        replicated(config, family, ways);
    } else {
        single(config, family, ways);
    }
}

/// One replica: what its machine loses is lost.
fn single(config: &CellConfig, family: Family, ways: &mut Ways) {
    let cached = !config.flush.is_every();
    match family {
        Family::LeaderPowerLoss
        | Family::RollingPowerLoss
        | Family::MixedRestart
        | Family::ClusterPowerLoss
        | Family::ZonePowerLoss
        | Family::ShrunkIsrPowerLoss
        | Family::LastIsrPowerLoss => {
            if cached {
                ways.by(&[S01]);
            } else if config.acks == Acks::None {
                // Sent, appended, and the power gone before its own sync was done.
                ways.beside(&[S01]);
            }
        }
        // Flushed or not.
        Family::DiskDestroyed | Family::ShrunkIsrDiskDestroyed => ways.by(&[S01]),
        // No flush helps where the disk lies about it: whatever it was told is durable goes with the power.
        Family::LyingDisk if cached => {
            ways.by(&[S01]);
            ways.beside(&[S12]);
        }
        Family::LyingDisk => {
            ways.by(&[S12]);
            if config.acks == Acks::None {
                ways.beside(&[S01]);
            }
        }
        // A sync that fails, be it the one of an orderly shutdown, drops the pages that it should have
        // kept, and the broker halts over it
        // (`LogDirFailureChannel`): what it had acknowledged since the sync before is not there when
        // it comes back. An append that fails drops nothing.
        Family::DiskError => {
            if cached {
                ways.by(&[S10]);
            } else if config.acks == Acks::None {
                ways.beside(&[S10]);
            }
        }
        _ => {}
    }
}

fn replicated(config: &CellConfig, family: Family, ways: &mut Ways) {
    let cached = !config.flush.is_every();
    // acks=0 counts as acknowledged before the sync of its own append, acks=1 before those of the
    // followers, of whom the next leader is one.
    let early = |ways: &mut Ways| {
        if config.acks != Acks::All {
            ways.beside(&[S02, R05]);
        }
    };
    match family {
        // Correlated: what each disk kept is drawn, and the one that leads again may have kept less
        // than another (KIP-966, motivation).
        Family::ClusterPowerLoss | Family::RollingPowerLoss if cached => {
            ways.by(&[S02]);
            ways.beside(&[R05]);
        }
        // The same, and what was flushed goes too: `FileChannel.force` has said that it was done.
        Family::LyingDisk if cached => {
            ways.by(&[S02]);
            ways.beside(&[R05, S12]);
        }
        Family::LyingDisk => {
            ways.by(&[S12]);
            early(ways);
        }
        Family::ZonePowerLoss if config.replication_factor <= 2 && cached => ways.by(&[S02]),
        Family::ClusterPowerLoss | Family::RollingPowerLoss => early(ways),
        Family::ZonePowerLoss if config.replication_factor <= 2 => early(ways),
        // Killed ones keep their page cache; the last member of the ISR does not, leads again with a
        // shorter log, and the others truncate (R05, last replica standing). At every
        // min.insync.replicas: it bounds what is acknowledged meanwhile, not what the last member
        // lost of what had been acknowledged before. What only those without power had is S02.
        Family::MixedRestart if cached => {
            ways.by(&[R05]);
            ways.beside(&[S02]);
        }
        Family::MixedRestart => early(ways),
        Family::ShrunkIsrPowerLoss | Family::LastIsrPowerLoss => {
            last_member_without_power(config, family, ways);
        }
        Family::ShrunkIsrDiskDestroyed => last_member_without_disk(config, ways),
        // One machine of a full ISR: it is fenced and removed before it may register again
        // (`ClusterControlManager.registerBroker`), and copies again what it lost, or everything.
        _ => {}
    }
}

/// The ISR is one replica, its machine loses power, and it is not synced. With eligible leader
/// replicas and `min.insync.replicas` of 2 or more the others would be kept as eligible, and this
/// would be safe; without them it loses, which is what KIP-966 was written for.
fn last_member_without_power(config: &CellConfig, family: Family, ways: &mut Ways) {
    let cached = !config.flush.is_every();
    let acks_0 = config.acks == Acks::None;
    if config.unclean {
        match family {
            // The others come back first, and it soon after: where it is unfenced before them it is
            // the ISR's member, and leads cleanly.
            Family::LastIsrPowerLoss if cached => {
                ways.by(&[R05]);
                ways.beside(&[S02]);
            }
            // The others live: one of them leads as soon as it is fenced.
            _ => {}
        }
        return;
    }
    if !cached {
        if acks_0 {
            ways.beside(&[S02, R05]);
        }
        return;
    }
    // What the others have too.
    ways.by(&[R05]);
    // What it took alone: acks=all from min.insync.replicas=2 on takes nothing then.
    if config.takes_alone() {
        ways.by(&[S02]);
    }
}

/// As above with an empty disk, which no flush helps. The empty replica is the ISR's last member and
/// leads again.
fn last_member_without_disk(config: &CellConfig, ways: &mut Ways) {
    if config.unclean {
        return;
    }
    ways.by(&[S20]);
    if config.takes_alone() {
        ways.by(&[R01]);
    }
}
