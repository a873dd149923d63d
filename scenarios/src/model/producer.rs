//! What acks=0 and 1 leave open.
//!
//! acks=all leaves nothing here: it answers once the high watermark has passed the record, so each
//! member of the ISR has it (`DelayedProduce.tryComplete`), and every clean election is among those
//! (`PartitionChangeBuilder.isValidNewLeader`).

use super::{CellConfig, Ways};
use everyack_broker::config::Acks;
use everyack_sim::fault::Family;
use everyack_sim::mechanism::Mechanism::*;

pub(super) fn ways(config: &CellConfig, family: Family, ways: &mut Ways) {
    if config.acks == Acks::All {
        return;
    }
    if config.is_replicated() {
        another_leads(config, family, ways);
    }
    if config.acks == Acks::None {
        nobody_answers(config, family, ways);
    }
}

/// Another replica leads before it has copied what the leader had acknowledged, or, with acks=0, had
/// appended.
fn another_leads(config: &CellConfig, family: Family, ways: &mut Ways) {
    // The preferred leader, once back, gets the leadership again by a planned move
    // (`auto.leader.rebalance.enable`, looked at every 300 s).
    let moved_back = &[P05];
    match family {
        // A destroyed disk takes the process with it.
        Family::LeaderCrash
        | Family::LeaderPowerLoss
        | Family::RollingCrash
        | Family::RollingPowerLoss
        | Family::MixedRestart
        | Family::ClusterPowerLoss
        | Family::ZonePowerLoss
        | Family::LyingDisk
        | Family::DiskDestroyed => {
            ways.by(&[P04]);
            ways.beside(moved_back);
        }
        // Fenced after its session, it goes on serving; Produce carries no leader epoch. A stopped
        // process is fenced too, and takes what waits in its sockets when it goes on.
        Family::LeaderCutFromController | Family::ZombieLeader | Family::LeaderPause => {
            ways.by(&[P06]);
            ways.beside(moved_back);
        }
        Family::LeaderMove => ways.by(&[P05]),
        // Controlled shutdown moves each leadership to a member of the ISR, whether or not it has
        // copied everything (`ReplicationControlManager.processBrokerHeartbeat`).
        Family::RollingRestart => {
            ways.by(&[P05]);
            ways.beside(&[P04, P06]);
        }
        // With its last log directory gone the broker halts (`ReplicaManager.handleLogDirFailure`).
        Family::DiskFull | Family::DiskError => {
            ways.by(&[S10]);
            ways.beside(&[P04, P05]);
        }
        // The leader is alone in its ISR: nobody else is elected. An unclean election of another
        // cuts what it took without having committed it, as any change of the leader does.
        Family::ShrunkIsrCrash | Family::ShrunkIsrPowerLoss | Family::ShrunkIsrDiskDestroyed => {
            if config.unclean {
                uncommitted_below_min_isr(config, ways);
            }
            if config.leads_several() {
                ways.by(&[P04]);
                ways.beside(moved_back);
            }
        }
        Family::LastIsrCrash | Family::LastIsrPowerLoss => {
            if config.unclean {
                uncommitted_below_min_isr(config, ways);
            }
            // The replicas that are killed first lead other partitions.
            if config.partitions > 1 {
                ways.by(&[P04]);
                ways.beside(moved_back);
            }
        }
        // The leader stays and clients reach it, or it stays and they wait: nothing acknowledged is
        // cut off. Where fewer than min.insync.replicas are left the records are hidden (P08) until
        // the others are back. A wall clock decides who lags (`Replica.isCaughtUp`) and no more.
        _ => {}
    }
}

/// Below min.insync.replicas the high watermark stands still (KAFKA-15583): what acks=0 and 1 take
/// then is not committed, so an election that passes it over is a failover like any other.
fn uncommitted_below_min_isr(config: &CellConfig, ways: &mut Ways) {
    if config.effective_min_isr > 1 {
        ways.by(&[P04]);
    } else {
        ways.beside(&[P04]);
    }
}

/// acks=0: nothing says that the record did not arrive, or was refused.
fn nobody_answers(config: &CellConfig, family: Family, ways: &mut Ways) {
    let replicated = config.is_replicated();
    match family {
        // A reset or a cut takes what was on its way. acks=1 waits for the answer and sends again.
        Family::ConnectionLoss => ways.by(&[P01]),
        Family::LeaderCutFromClients => {
            ways.by(&[P01]);
            ways.beside(&[P02, P03, P20]);
        }
        // In flight to the dead process, and waiting inside it. After the outage: refused by one that
        // no longer leads (P03) or does not know the topic yet (P20), and what came behind on that
        // connection (P02).
        Family::LeaderCrash
        | Family::LeaderPowerLoss
        | Family::RollingCrash
        | Family::RollingPowerLoss
        | Family::MixedRestart
        | Family::ClusterPowerLoss
        | Family::ZonePowerLoss
        | Family::LyingDisk
        | Family::DiskDestroyed
        | Family::ShrunkIsrCrash
        | Family::ShrunkIsrPowerLoss
        | Family::ShrunkIsrDiskDestroyed
        | Family::LastIsrCrash
        | Family::LastIsrPowerLoss => {
            ways.by(&[P01, P19]);
            ways.beside(&[P02, P03, P20]);
        }
        // When the link heals, or the process goes on, the broker first learns that it leads no more;
        // what is on its way then is refused. With one replica too: no leader, then itself again.
        Family::LeaderCutFromController | Family::ZombieLeader | Family::LeaderPause => {
            ways.by(&[P03]);
            ways.beside(&[P01, P02, P20]);
        }
        Family::LeaderMove if replicated => {
            ways.by(&[P03]);
            ways.beside(&[P01, P02, P20]);
        }
        // Its last leaderships are taken from it while it still serves
        // (`BrokerLifecycleManager.beginControlledShutdown`), then its sockets close.
        Family::RollingRestart => {
            ways.by(&[P03]);
            ways.beside(&[P01, P02, P19, P20]);
        }
        // The append that fails is refused, without an answer.
        Family::DiskFull | Family::DiskError => {
            ways.by(&[P02]);
            ways.beside(&[P01, P03, P19, P20, S10]);
        }
        // A record that is newer than the broker's clock by more than `message.timestamp.after.max.ms`
        // (an hour: KIP-1030) is refused (`LogValidator.validateTimestamp`); acks=1 and all are told.
        Family::ClockJump => {
            ways.by(&[P02]);
            ways.beside(&[P01]);
        }
        // A killed producer's kernel still delivers what its socket has (`Selector` reads a closing
        // channel to its end).
        _ => {}
    }
}
