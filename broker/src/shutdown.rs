//! An orderly shutdown, as SIGTERM asks for: `BrokerServer.shutdown`.
//!
//! 1. Controlled shutdown: heartbeats ask for it, the controller moves the leaderships away and says when
//!    the broker may stop. Meanwhile it serves as before. Given up after five minutes.
//! 2. No request is taken any more: connections are closed, what waits in queues or purgatories is
//!    dropped unanswered, fetchers and scheduler stop. Appends in hand go on to their end.
//! 3. High watermarks are written, every log is flushed, recovery points and log starts are written, and then the
//!    clean-shutdown marker with the broker epoch. The process ends.
//!
//! A broker that was never unfenced ends at once (`maybeChangeStatus(STARTED, SHUTTING_DOWN)`), and one
//! whose disk fails on the way ends without the marker: both count as unclean at the next start. So does
//! one that could not register within `initial.broker.registration.timeout.ms`, and ends by itself.

use crate::broker::Run;
use crate::env::{Env, Input, Output, TimerToken};
use crate::fact::Fact;
use crate::time::{Nanos, SECONDS};

/// `KafkaBroker.shutdown`: how long the controller may take to let the broker go.
const CONTROLLED_SHUTDOWN_TIMEOUT: Nanos = 300 * SECONDS;

/// How far an orderly shutdown has come. From `Draining` on, each stage ends when no sync is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The controller moves leaderships away; everything is served.
    ControlledShutdown,
    /// Nothing is served; appends in hand and writes under way end.
    Draining,
    /// The high watermarks are being written.
    HighWatermarks,
    /// Every log is being flushed.
    Flushing,
    /// The recovery points and the log starts are being written.
    RecoveryPoints,
    /// The marker is being written.
    Marker,
}

impl Run {
    /// `Input::Shutdown`.
    pub(crate) fn begin_shutdown(&mut self, timer: TimerToken, env: &mut Env<'_>) {
        if self.shutdown.is_some() {
            return;
        }
        let running = self.lifecycle.is_running();
        let controlled = running && self.config.controlled_shutdown_enable;
        env.fact(Fact::ShutdownBegan { controlled });
        if !running {
            env.out.push(Output::Halt);
        } else if controlled {
            self.shutdown = Some(Stage::ControlledShutdown);
            env.timer_in(CONTROLLED_SHUTDOWN_TIMEOUT, timer);
            self.replicas.begin_controlled_shutdown();
            self.lifecycle
                .begin_controlled_shutdown(self.published, env);
        } else {
            self.stop_serving(env);
        }
    }

    /// The controller lets the broker go, or took too long.
    pub(crate) fn stop_serving(&mut self, env: &mut Env<'_>) {
        if self.is_draining() {
            return;
        }
        self.shutdown = Some(Stage::Draining);
        for conn in std::mem::take(&mut self.accepted).keys() {
            env.close(conn);
        }
        self.requests.clear();
        self.metadata.clear();
        self.tasks.clear();
        self.replicas.stop(env);
    }

    /// `BrokerLifecycleManager.RegistrationTimeoutEvent`: the start fails, and the process ends.
    pub(crate) fn give_up_unless_registered(&mut self, env: &mut Env<'_>) {
        if self.lifecycle.epoch() < 0 {
            env.fact(Fact::RegistrationTimedOut);
            env.out.push(Output::Halt);
        }
    }

    /// Whether nothing is served any more.
    pub(crate) fn is_draining(&self) -> bool {
        !matches!(self.shutdown, None | Some(Stage::ControlledShutdown))
    }

    /// Takes an input while nothing is served: only syncs matter.
    pub(crate) fn drain(&mut self, input: Input, env: &mut Env<'_>) {
        match input {
            Input::Accepted(conn, _) => env.close(conn),
            Input::Synced(token, result) => {
                self.replicas.synced(token, result, &self.image, env);
                // There is nobody left to answer.
                self.replicas.drop_upcalls();
            }
            _ => {}
        }
    }

    /// Begins the next stage once the present one is done.
    #[inline]
    pub(crate) fn go_on_with_shutdown(&mut self, env: &mut Env<'_>) {
        if self.is_draining() {
            self.begin_next_stages(env);
        }
    }

    #[cold]
    fn begin_next_stages(&mut self, env: &mut Env<'_>) {
        while self.is_draining() && !self.replicas.is_syncing() {
            if self.replicas.is_offline() {
                env.out.push(Output::Halt);
                return;
            }
            let next = match self.shutdown.expect("it is draining") {
                Stage::ControlledShutdown => unreachable!("it is draining"),
                Stage::Draining => {
                    self.replicas.checkpoint_high_watermarks(env);
                    Stage::HighWatermarks
                }
                Stage::HighWatermarks => {
                    self.replicas.flush_all(env);
                    Stage::Flushing
                }
                Stage::Flushing => {
                    self.replicas.checkpoint_recovery_points(env);
                    self.replicas.checkpoint_log_starts(env);
                    Stage::RecoveryPoints
                }
                Stage::RecoveryPoints => {
                    let epoch = self.lifecycle.epoch();
                    self.replicas.write_clean_shutdown(epoch, env);
                    Stage::Marker
                }
                Stage::Marker => {
                    let broker_epoch = self.lifecycle.epoch();
                    env.fact(Fact::ShutDownCleanly { broker_epoch });
                    env.out.push(Output::Halt);
                    return;
                }
            };
            self.shutdown = Some(next);
        }
    }
}

#[cfg(test)]
mod tests;
