//! Where a follower's log begins anew at another offset: behind its end, because its leader's log begins
//! there, or before it, because its leader's log begins inside a batch.

use crate::env::Env;
use crate::fact::Fact;
use crate::ids::*;
use crate::log::{AppendError, PartitionLog};
use crate::replica::manager::ReplicaManager;

/// Where an empty log has to begin to take the records that it refused: at the front of a batch that spans
/// the log's end. The leader's log start lies in such a batch after a deletion of records
/// (`Partition.appendRecordsToFollowerOrFutureReplica`).
pub(super) fn front_of_spanning(refused: &AppendError, log: &PartitionLog) -> Option<Offset> {
    let AppendError::UnexpectedAppendOffset {
        first_offset,
        last_offset,
        log_end,
    } = *refused
    else {
        return None;
    };
    let spans = first_offset < log_end && last_offset >= log_end;
    (spans && log.log_start_offset() == log_end).then_some(first_offset)
}

impl ReplicaManager {
    /// `Partition.truncateFullyAndStartAt`: empties a follower's log and lets it begin at `offset`. Answers
    /// whether its disk let it.
    pub(super) fn start_anew(
        &mut self,
        id: TopicPartition,
        offset: Offset,
        env: &mut Env<'_>,
    ) -> bool {
        let log = &mut self.replicas.get_mut(id).expect("fetched").partition.log;
        let (from, high_watermark) = (log.log_end_offset(), log.high_watermark);
        if let Err(error) = log.truncate_fully_and_start_at(offset, env.disk) {
            self.log_directory_failed(error, env);
            return false;
        }
        env.fact(Fact::Truncated {
            partition: id,
            from,
            to: offset,
            high_watermark,
            anew: true,
        });
        self.do_chores(id, env);
        // The recovery point may have gone back with it (`LogManager.truncateFullyAndStartAt`).
        self.checkpoint_recovery_points(env);
        true
    }
}
