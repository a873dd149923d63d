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
        Family::ProcessingException => exception(config.application, latest, ways),
        // Commits are lost with the power as records are, but the consumers stay up, and their
        // positions with them; who lost less reads again. A truncation below a position with an
        // epoch is seen (KIP-320); `behind_a_truncation` has those without one.
        _ => {}
    }
}

/// What an exception of the handler leaves open. One that is tried again in place, or whose record is
/// safe elsewhere before the commit, loses nothing; dead letters that nobody waits for are lost with
/// another fault only, before they are sent.
fn exception(application: Application, latest: bool, ways: &mut Ways) {
    match application {
        Application::SkipOnException => ways.by(&[C20]),
        // `ConsumerCoordinator.maybeAutoCommitOffsetsSync` on close, and `KafkaConsumer.commitSync`,
        // commit the position behind the whole batch.
        Application::CloseOnException => ways.by(&[C02]),
        Application::CommitOnException => ways.by(&[C05]),
        _ => {}
    }
    if latest && application.leaves_on_exception() {
        ways.beside(&[C12]);
    }
}
