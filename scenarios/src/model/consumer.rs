//! What commits, positions and exceptions leave open, with records that are durable and readable.

use super::{Application, CellConfig, Ways};
use everyack_broker::config::AutoOffsetReset;
use everyack_sim::fault::Family;
use everyack_sim::mechanism::Mechanism::*;

pub(super) fn ways(config: &CellConfig, family: Family, ways: &mut Ways) {
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
