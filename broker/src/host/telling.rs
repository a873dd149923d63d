//! What happens in a node, as log lines. Records and keys are never among them.

use crate::fact::Fact;
use crate::ids::NodeId;
use tracing::{debug, error, info, warn};

/// One line for what an operator wants to know, at its level.
pub(super) fn tell(node: NodeId, fact: &Fact) {
    match fact {
        Fact::BrokerStarted { clean } => info!("{node}: started, its last end was clean: {clean}"),
        Fact::ShutdownBegan { controlled } => {
            info!("{node}: shutting down, leaderships are moved: {controlled}");
        }
        Fact::ShutDownCleanly { broker_epoch } => {
            info!("{node}: shut down cleanly in broker epoch {broker_epoch}");
        }
        Fact::RegistrationTimedOut => error!("{node}: could not register in time"),
        Fact::LogDirectoryOffline { error } => error!("{node}: log directory offline: {error}"),
        Fact::LogRecovered {
            topic,
            partition,
            log_end,
            truncated_bytes,
            ..
        } => {
            if *truncated_bytes > 0 {
                warn!(
                    "{node}: {topic}-{partition}: {truncated_bytes} bytes behind offset {log_end} \
                     were no whole batch and are cut off"
                );
            } else {
                debug!("{node}: {topic}-{partition}: log end {log_end}");
            }
        }
        Fact::BrokerRegistered { broker, epoch } => {
            info!("{node}: broker {broker} registered in epoch {epoch}");
        }
        Fact::BrokerFenced { broker } => warn!("{node}: broker {broker} fenced"),
        Fact::BrokerUnfenced { broker } => info!("{node}: broker {broker} unfenced"),
        Fact::PartitionChanged {
            partition,
            leader,
            leader_epoch,
            isr,
            unclean,
        } => debug!(
            "{node}: {partition:?}: leader {leader} in epoch {leader_epoch}, in sync {isr:?}, \
             unclean {unclean}"
        ),
        Fact::Truncated {
            partition,
            from,
            to,
            ..
        } => warn!("{node}: {partition:?}: truncated from {from} to {to}"),
        Fact::ProduceAnswered {
            partition,
            acks,
            error,
            ..
        } if !error.is_none() => {
            debug!(
                "{node}: {partition:?}: produce with acks={acks} refused: {}",
                error.name()
            );
        }
        _ => {}
    }
}
