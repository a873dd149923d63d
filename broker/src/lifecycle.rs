//! A broker's life as the controller sees it: `BrokerLifecycleManager`.
//!
//! It registers, catches up with the metadata, asks to be unfenced, and then sends a heartbeat every
//! `broker.heartbeat.interval.ms`. After a failure it waits as long
//! (`scheduleNextCommunicationAfterFailure`), and a request is given up after as long
//! (`BrokerServer.startup` makes the channel with that time). One that loses its connection is sent again
//! over the next until it is that old (`NodeToControllerRequestThread.handleResponse`).

use crate::channel::Channel;
use crate::config::BrokerConfig;
use crate::env::{ConnId, Env, TimerToken};
use crate::ids::*;
use crate::time::{MILLIS, Nanos, millis};
use crate::wire::*;

/// `BrokerState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not registered, or not caught up with the metadata.
    Starting,
    /// Caught up; not unfenced yet.
    Recovery,
    /// Unfenced.
    Running,
    /// It asks the controller to let it go.
    PendingControlledShutdown,
    /// It may go.
    ShuttingDown,
}

/// What a response changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing that others must know.
    Nothing,
    /// The broker has this epoch now.
    Registered(BrokerEpoch),
    /// It has applied all metadata up to its registration: requests may be served.
    CaughtUp,
    /// The controller lets it go.
    MayShutDown,
}

/// The broker's side of registration and heartbeats.
#[derive(Debug)]
pub struct Lifecycle {
    broker: BrokerId,
    incarnation: Incarnation,
    epoch: BrokerEpoch,
    /// From the marker of an orderly shutdown, -1 without one (KIP-966).
    previous_epoch: BrokerEpoch,
    state: State,
    ready_to_unfence: bool,
    /// What follows the request in flight follows at once.
    next_is_immediate: bool,
    asked_to_shut_down: bool,
    heartbeat_interval: Nanos,
    channel: Channel,
    /// What is on its way, and since when: sent again where its connection is lost.
    in_flight: Option<(Request, Nanos)>,
    timer: TimerToken,
    /// When the next communication is due, `None` once it has begun.
    next_at: Option<Nanos>,
}

impl Lifecycle {
    /// A process that has just started; `previous_epoch` is what the one before it left in its marker of
    /// an orderly shutdown, -1 without one.
    pub fn new(
        broker: BrokerId,
        config: &BrokerConfig,
        previous_epoch: BrokerEpoch,
        controller: NodeId,
        channel_timer: TimerToken,
        timer: TimerToken,
        env: &mut Env<'_>,
    ) -> Lifecycle {
        let drawn = (u128::from(env.rng.bits()) << 64) | u128::from(env.rng.bits());
        Lifecycle {
            broker,
            incarnation: Incarnation(drawn),
            epoch: -1,
            previous_epoch,
            state: State::Starting,
            ready_to_unfence: false,
            next_is_immediate: false,
            asked_to_shut_down: false,
            heartbeat_interval: millis(config.broker_heartbeat_interval_ms),
            channel: Channel::new(controller, channel_timer),
            in_flight: None,
            timer,
            next_at: None,
        }
    }

    /// The broker's epoch, -1 before its registration.
    pub fn epoch(&self) -> BrokerEpoch {
        self.epoch
    }

    /// Whether the controller has unfenced it.
    pub fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// Whether this connection is the lifecycle's.
    pub fn owns(&self, conn: ConnId) -> bool {
        self.channel.owns(conn)
    }

    /// Requests are served: the controller may unfence this broker.
    pub fn set_ready_to_unfence(&mut self, metadata_offset: Offset, env: &mut Env<'_>) {
        self.ready_to_unfence = true;
        self.communicate_in(0, env);
        self.on_timer(metadata_offset, env);
    }

    /// Sends what is due: a registration, or a heartbeat. While a request is in flight it waits for that.
    pub fn communicate(&mut self, metadata_offset: Offset, env: &mut Env<'_>) {
        if self.channel.is_busy() {
            self.next_is_immediate = true;
            return;
        }
        let request = if self.epoch < 0 {
            Request::BrokerRegistration(BrokerRegistrationRequest {
                broker: self.broker,
                incarnation: self.incarnation,
                previous_broker_epoch: self.previous_epoch,
            })
        } else {
            Request::BrokerHeartbeat(BrokerHeartbeatRequest {
                broker: self.broker,
                broker_epoch: self.epoch,
                current_metadata_offset: metadata_offset,
                want_fence: !self.ready_to_unfence,
                want_shut_down: self.state == State::PendingControlledShutdown,
            })
        };
        self.in_flight = Some((request.clone(), env.now));
        self.channel.send(request, self.heartbeat_interval, env);
    }

    /// Enters controlled shutdown and says so to the controller as soon as it can.
    ///
    /// # Panics
    /// Where the broker is not running.
    pub fn begin_controlled_shutdown(&mut self, metadata_offset: Offset, env: &mut Env<'_>) {
        assert!(self.is_running(), "only a running broker asks to be let go");
        self.state = State::PendingControlledShutdown;
        self.communicate_in(0, env);
        self.on_timer(metadata_offset, env);
    }

    fn communicate_in(&mut self, delay: Nanos, env: &mut Env<'_>) {
        let immediate = std::mem::take(&mut self.next_is_immediate);
        let delay = if immediate { 0 } else { delay };
        self.next_at = Some(env.now + delay);
        env.timer_in(delay, self.timer);
    }

    /// Never at once, whatever was asked for meanwhile.
    fn communicate_after_failure(&mut self, env: &mut Env<'_>) {
        self.in_flight = None;
        self.next_is_immediate = false;
        self.communicate_in(self.heartbeat_interval, env);
    }

    /// The timer of the next communication fired.
    pub fn on_timer(&mut self, metadata_offset: Offset, env: &mut Env<'_>) {
        if self.next_at.is_some_and(|at| at <= env.now) {
            self.next_at = None;
            self.communicate(metadata_offset, env);
        }
    }

    /// The channel's timer fired.
    pub fn on_channel_timer(&mut self, env: &mut Env<'_>) {
        if self.channel.on_timer(env) {
            self.communicate_after_failure(env);
        }
    }

    /// The channel is connected.
    pub fn on_connected(&mut self, env: &mut Env<'_>) {
        self.channel.on_connected(env);
    }

    /// The channel's connection is gone.
    pub fn on_closed(&mut self, env: &mut Env<'_>) {
        if !self.channel.on_closed(env) {
            return;
        }
        match &self.in_flight {
            Some((request, since)) if env.now < since + self.heartbeat_interval => {
                let request = request.clone();
                self.channel.send(request, self.heartbeat_interval, env);
            }
            _ => self.communicate_after_failure(env),
        }
    }

    /// The controller answered.
    pub fn on_response(&mut self, correlation: i32, response: Response, env: &mut Env<'_>) -> Step {
        if !self.channel.on_response(correlation) {
            return Step::Nothing;
        }
        self.in_flight = None;
        match response {
            Response::BrokerRegistration(r) if r.error.is_none() => {
                self.epoch = r.broker_epoch;
                self.communicate_in(0, env);
                Step::Registered(r.broker_epoch)
            }
            Response::BrokerHeartbeat(r) if r.error.is_none() => self.heartbeat_answered(r, env),
            _ => {
                self.communicate_after_failure(env);
                Step::Nothing
            }
        }
    }

    fn heartbeat_answered(&mut self, r: BrokerHeartbeatResponse, env: &mut Env<'_>) -> Step {
        match self.state {
            State::Starting => {
                // A little sooner than usual, so that a broker without recovery work starts quicker.
                self.communicate_in(10 * MILLIS, env);
                if r.is_caught_up {
                    self.state = State::Recovery;
                    return Step::CaughtUp;
                }
            }
            State::Recovery => {
                if !r.is_fenced {
                    self.state = State::Running;
                }
                self.communicate_in(self.heartbeat_interval, env);
            }
            State::Running => self.communicate_in(self.heartbeat_interval, env),
            State::PendingControlledShutdown if r.should_shut_down => {
                self.state = State::ShuttingDown;
                return Step::MayShutDown;
            }
            State::PendingControlledShutdown => {
                // The first answer says only that the leaderships are on their way.
                let first = !std::mem::replace(&mut self.asked_to_shut_down, true);
                let delay = if first {
                    50 * MILLIS
                } else {
                    self.heartbeat_interval
                };
                self.communicate_in(delay, env);
            }
            State::ShuttingDown => {}
        }
        Step::Nothing
    }
}

#[cfg(test)]
mod tests;
