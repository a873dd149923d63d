//! What `KafkaScheduler` does: recurring work, and flushes and deletions that something asked for.

use super::{Run, TASK_COST, timer};
use crate::env::{Env, Queue, TimerToken};
use crate::ids::{Offset, TopicPartition};
use crate::time::{SECONDS, millis};

/// A piece of work of `KafkaScheduler`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// `isr-expiration`
    IsrExpiration,
    /// `highwatermark-checkpoint`
    HighWatermarkCheckpoint,
    /// `kafka-log-flusher`
    LogFlusher,
    /// `kafka-recovery-point-checkpoint`
    RecoveryPointCheckpoint,
    /// `kafka-log-retention`
    LogRetention,
    /// `kafka-log-start-offset-checkpoint`
    LogStartCheckpoint,
    /// `flush-log`: a log was rolled at this offset.
    FlushLog(TopicPartition, Offset),
    /// `delete-file`: the delay of a deleted segment is over.
    DeleteFile,
}

/// The recurring ones. Their timers are numbered by their place here.
const RECURRING: [Task; 6] = [
    Task::IsrExpiration,
    Task::HighWatermarkCheckpoint,
    Task::LogFlusher,
    Task::RecoveryPointCheckpoint,
    Task::LogRetention,
    Task::LogStartCheckpoint,
];

/// The timer of [`Task::DeleteFile`], among those of tasks.
pub(super) const DELETE_FILE: TimerToken = TimerToken(timer::TASK | 0xff);

/// The timer at which the cleaner, which is no task of the scheduler, looks for work.
pub(super) const CLEAN: TimerToken = TimerToken(timer::TASK | 0xfe);

impl Run {
    /// Starts the recurring tasks, and the cleaner, which finds nothing yet.
    pub(super) fn schedule_all(&self, env: &mut Env<'_>) {
        env.timer_in(millis(self.config.log_cleaner_backoff_ms), CLEAN);
        for index in 0..RECURRING.len() {
            self.schedule(index, true, env);
        }
    }

    /// A timer of a task fired; `low` says which.
    pub(super) fn task_due(&mut self, low: u64, env: &mut Env<'_>) {
        if TimerToken(timer::TASK | low) == CLEAN {
            env.serve(Queue::LogCleaner, TASK_COST);
            return;
        }
        let task = RECURRING.get(low as usize).copied();
        self.enqueue_task(task.unwrap_or(Task::DeleteFile), env);
    }

    /// Puts a task into the scheduler's queue.
    pub(super) fn enqueue_task(&mut self, task: Task, env: &mut Env<'_>) {
        self.tasks.push_back(task);
        env.serve(Queue::Scheduler, TASK_COST);
    }

    /// Runs the task that is first in the queue.
    pub(super) fn serve_task(&mut self, env: &mut Env<'_>) {
        if let Some(task) = self.tasks.pop_front() {
            self.run_task(task, env);
            if let Some(index) = RECURRING.iter().position(|t| *t == task) {
                self.schedule(index, false, env);
            }
        }
    }

    /// When a task runs next. First delays as in `ReplicaManager.startup` and `LogManager.startup`.
    fn schedule(&self, index: usize, first: bool, env: &mut Env<'_>) {
        let c = &self.config;
        let initial = c.log_initial_task_delay_ms;
        let (initial, period) = match RECURRING[index] {
            Task::IsrExpiration => (0, c.replica_lag_time_max_ms / 2),
            Task::HighWatermarkCheckpoint => {
                let period = c.replica_high_watermark_checkpoint_interval_ms;
                (period, period)
            }
            Task::LogFlusher => (initial, c.log_flush_scheduler_interval_ms),
            Task::RecoveryPointCheckpoint => (initial, c.log_flush_offset_checkpoint_interval_ms),
            Task::LogRetention => (initial, c.log_retention_check_interval_ms),
            Task::LogStartCheckpoint => (initial, c.log_flush_start_offset_checkpoint_interval_ms),
            Task::FlushLog(..) | Task::DeleteFile => unreachable!("they do not recur"),
        };
        let delay = millis(if first { initial } else { period });
        // Never, in words of configuration: Long.MAX.
        if (first || period > 0) && delay < 1_000_000 * SECONDS {
            env.timer_in(delay, TimerToken(timer::TASK | index as u64));
        }
    }

    fn run_task(&mut self, task: Task, env: &mut Env<'_>) {
        match task {
            Task::IsrExpiration => self.replicas.expire_isr(env),
            Task::HighWatermarkCheckpoint => self.replicas.checkpoint_high_watermarks(env),
            Task::LogFlusher => self.replicas.flush_dirty_logs(env),
            Task::RecoveryPointCheckpoint => self.replicas.checkpoint_recovery_points(env),
            Task::LogRetention => self.replicas.delete_old_segments(env),
            Task::LogStartCheckpoint => self.replicas.checkpoint_log_starts(env),
            Task::FlushLog(id, offset) => self.replicas.flush_rolled(id, offset, env),
            Task::DeleteFile => self.replicas.delete_files(env),
        }
    }
}
