//! The configured timeouts that the lengths of outages and phases are functions of.
//!
//! A run has three phases: faults under load, the heal, and a bounded liveness phase in which
//! everything acknowledged must come out. None has a length of its own: each term below is a
//! timeout of Kafka, with its source.
//!
//! Not modelled: group sessions and `max.poll.interval.ms` (consumers take their partitions by
//! `assign`), and the controllers' own election (one controller, which no fault hits).

use super::Family;
use crate::spec::{PropertyFiles, Workload};
use everyack_broker::config::{BrokerConfig, ConfigError, ConsumerConfig, ProducerConfig};

/// A supervisor's delay before it starts a killed application again, in milliseconds. No timeout
/// of Kafka notices the death of a client that holds its partitions by `assign`.
pub const APPLICATION_RESTART_MS: u64 = 1_000;

/// Load before the first fault may strike, in milliseconds.
const LEAD_MS: u64 = 500;

/// Time over which faults strike, in milliseconds.
const STRIKE_WINDOW_MS: u64 = 2_500;

/// Bound on the start of a healthy cluster, in milliseconds: registration, unfencing, election and
/// the consumers' first positions, each of which takes a heartbeat or a few round trips.
const START_MS: u64 = 30_000;

/// Configured timeouts in milliseconds; Kafka's defaults where the properties do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // Kafka's own names
pub struct Timeouts {
    pub broker_session_timeout_ms: u64,
    pub broker_heartbeat_interval_ms: u64,
    pub replica_lag_time_max_ms: u64,
    pub replica_socket_timeout_ms: u64,
    pub replica_fetch_backoff_ms: u64,
    pub replica_fetch_wait_max_ms: u64,
    pub producer_request_timeout_ms: u64,
    pub delivery_timeout_ms: u64,
    pub producer_reconnect_backoff_max_ms: u64,
    pub producer_connection_setup_timeout_max_ms: u64,
    pub consumer_request_timeout_ms: u64,
    pub consumer_default_api_timeout_ms: u64,
    pub consumer_reconnect_backoff_max_ms: u64,
    pub consumer_connection_setup_timeout_max_ms: u64,
    pub consumer_fetch_max_wait_ms: u64,
    pub auto_commit_interval_ms: u64,
}

impl Timeouts {
    /// The timeouts of a configuration.
    ///
    /// # Errors
    /// A value that Kafka refuses.
    pub fn from_properties(files: &PropertyFiles) -> Result<Timeouts, ConfigError> {
        let broker = BrokerConfig::from_properties(&files.broker)?;
        let producer = ProducerConfig::from_properties(&files.producer)?;
        let consumer = ConsumerConfig::from_properties(&files.consumer)?;
        Ok(Timeouts {
            broker_session_timeout_ms: ms(broker.broker_session_timeout_ms),
            broker_heartbeat_interval_ms: ms(broker.broker_heartbeat_interval_ms),
            replica_lag_time_max_ms: ms(broker.replica_lag_time_max_ms),
            replica_socket_timeout_ms: ms(broker.replica_socket_timeout_ms),
            replica_fetch_backoff_ms: ms(broker.replica_fetch_backoff_ms),
            replica_fetch_wait_max_ms: ms(broker.replica_fetch_wait_max_ms),
            producer_request_timeout_ms: ms(producer.request_timeout_ms),
            delivery_timeout_ms: ms(producer.delivery_timeout_ms),
            producer_reconnect_backoff_max_ms: ms(producer.reconnect_backoff_max_ms),
            producer_connection_setup_timeout_max_ms: ms(
                producer.socket_connection_setup_timeout_max_ms
            ),
            consumer_request_timeout_ms: ms(consumer.request_timeout_ms),
            consumer_default_api_timeout_ms: ms(consumer.default_api_timeout_ms),
            consumer_reconnect_backoff_max_ms: ms(consumer.reconnect_backoff_max_ms),
            consumer_connection_setup_timeout_max_ms: ms(
                consumer.socket_connection_setup_timeout_max_ms
            ),
            consumer_fetch_max_wait_ms: ms(consumer.fetch_max_wait_ms),
            auto_commit_interval_ms: ms(consumer.auto_commit_interval_ms),
        })
    }

    /// The timeout that notices an outage of this family; 0 where there is no outage.
    ///
    /// A dead, powerless or cut-off broker is noticed by its session with the controller
    /// (`BrokerHeartbeatManager`), a silent connection by the producer's request timeout
    /// (`NetworkClient.handleTimedOutRequests`), a follower that gets nothing by the leader's lag
    /// limit (`Partition.maybeShrinkIsr`).
    pub fn noticed_after_ms(&self, family: Family) -> u64 {
        match family {
            Family::None | Family::LeaderMove | Family::LateStart | Family::BitRot => 0,
            Family::ConnectionLoss | Family::LeaderCutFromClients => {
                self.producer_request_timeout_ms
            }
            Family::LeaderCrash
            | Family::LeaderPowerLoss
            | Family::RollingCrash
            | Family::RollingPowerLoss
            | Family::ClusterPowerLoss
            | Family::ZonePowerLoss
            | Family::MixedRestart
            | Family::LeaderCutFromController
            | Family::ZombieLeader
            | Family::LeaderPause
            | Family::RollingRestart
            | Family::DiskFull
            | Family::DiskError
            | Family::DiskDestroyed
            | Family::LyingDisk
            | Family::ShrunkIsrCrash
            | Family::ShrunkIsrPowerLoss
            | Family::ShrunkIsrDiskDestroyed
            | Family::LastIsrCrash
            | Family::LastIsrPowerLoss
            | Family::LateMessages => self.broker_session_timeout_ms,
            Family::LeaderCutFromFollowers
            | Family::SlowFollower
            | Family::SlowLeader
            | Family::ClockJump => self.replica_lag_time_max_ms,
            Family::ProducerCrash | Family::ConsumerCrash | Family::ProcessingException => {
                APPLICATION_RESTART_MS
            }
            Family::Random => self
                .broker_session_timeout_ms
                .max(self.replica_lag_time_max_ms)
                .max(self.producer_request_timeout_ms),
        }
    }

    /// Shortest and longest outage of a family, in milliseconds: half and three times the timeout
    /// that notices it, so that both sides of each timeout occur.
    pub fn outage_ms(&self, family: Family) -> (u64, u64) {
        let noticed = self.noticed_after_ms(family);
        let longest = noticed.saturating_mul(3);
        match family {
            // By its definition the leader pauses for longer than its session.
            Family::LeaderPause => (noticed, longest),
            _ => (noticed / 2, longest),
        }
    }

    /// Longest time until a family's precondition is there, in milliseconds after its first fault: the
    /// leader looks for followers that lag every half of `replica.lag.time.max.ms`
    /// (`ReplicaManager.startup`), the controller fences a broker whose session has ended. 0 where a
    /// healthy cluster has it.
    pub fn precondition_ms(&self, family: Family) -> u64 {
        match family {
            Family::ShrunkIsrCrash
            | Family::ShrunkIsrPowerLoss
            | Family::ShrunkIsrDiskDestroyed => self.replica_lag_time_max_ms.saturating_mul(3) / 2,
            // The second death is up to a session behind the first.
            Family::LastIsrCrash | Family::LastIsrPowerLoss => {
                self.broker_session_timeout_ms.saturating_mul(2)
            }
            // An election for each leader in turn.
            Family::RollingCrash | Family::RollingPowerLoss => {
                self.broker_session_timeout_ms.saturating_mul(2)
            }
            // Two outages one after the other, each of which the controller must have noticed, or the
            // lag of a follower its leader.
            Family::LateMessages => self
                .broker_return_ms()
                .max(self.replica_lag_time_max_ms.saturating_mul(3) / 2)
                .saturating_mul(2),
            Family::Random => self
                .precondition_ms(Family::ShrunkIsrCrash)
                .max(self.precondition_ms(Family::LastIsrCrash)),
            _ => 0,
        }
    }

    /// Instants between which the first fault strikes, in milliseconds after the producers started.
    pub fn strike_ms(&self) -> (u64, u64) {
        (LEAD_MS, LEAD_MS + STRIKE_WINDOW_MS)
    }

    /// How long a broker that was killed, or ended in order, takes at most to lead or follow again once it
    /// runs: its new registration is refused while the old session lasts
    /// (`ClusterControlManager.registerBroker`) and repeated every `broker.heartbeat.interval.ms`
    /// (`BrokerLifecycleManager.scheduleNextCommunicationAfterFailure`); a request that was under way when
    /// the way was cut costs as much before that.
    pub fn broker_return_ms(&self) -> u64 {
        self.broker_session_timeout_ms
            .saturating_add(self.broker_heartbeat_interval_ms.saturating_mul(2))
    }

    /// How long the producers spread their messages under a family, in milliseconds: over the
    /// strikes, the longest outage and the return of the broker, so that there is load in each.
    /// Families with several outages are loaded over one of them, or runs would be hours long.
    pub fn spread_ms(&self, family: Family) -> u64 {
        let (_, outage) = self.outage_ms(family);
        let (_, last_strike) = self.strike_ms();
        last_strike
            .saturating_add(self.precondition_ms(family))
            .saturating_add(outage)
            .saturating_add(match family {
                Family::None
                | Family::ProducerCrash
                | Family::ConsumerCrash
                | Family::ProcessingException
                | Family::LateStart => 0,
                _ => self.broker_return_ms(),
            })
    }

    /// Latest end of the fault phase, in milliseconds after the producers started; the heal comes
    /// then, or earlier, once every outage of the plan has ended and the producers have sent all.
    /// `spread_ms` is what the workload says, and `faults` how many the plan has.
    pub fn fault_phase_ms(&self, family: Family, spread_ms: u64, faults: usize) -> u64 {
        let (_, outage) = self.outage_ms(family);
        spread_ms
            .saturating_add(self.precondition_ms(family))
            .saturating_add(outage.saturating_mul(faults as u64))
    }

    /// Bound on the liveness phase in milliseconds after the heal, and after each message that is processed
    /// for the first time; `processing_ms` is what the applications need for all messages. Where nothing
    /// more has come out by then, nothing will:
    ///
    /// - a broker is back in the cluster ([`Self::broker_return_ms`]);
    /// - a follower notices that its connection is half open (`replica.socket.timeout.ms`) and backs off
    ///   (`replica.fetch.backoff.ms`), the leader notices a follower that is gone
    ///   (`replica.lag.time.max.ms`, looked at every half of it: `ReplicaManager.startup`);
    /// - a client notices that its connection is half open (`request.timeout.ms`), that a connect
    ///   hangs (`socket.connection.setup.timeout.max.ms`, plus a fifth of jitter: KIP-601) and backs
    ///   off (`reconnect.backoff.max.ms`, plus a fifth: KIP-144);
    /// - a batch in the accumulator gets its fate (`delivery.timeout.ms`: KIP-91);
    /// - a commit that hangs is given up (`default.api.timeout.ms`: KIP-266);
    /// - what a record waits for on its way ([`Self::record_ms`]).
    pub fn liveness_ms(&self, processing_ms: u64) -> u64 {
        let jittered = |ms: u64| ms.saturating_add(ms / 5);
        let terms = [
            self.broker_return_ms(),
            self.replica_socket_timeout_ms,
            self.replica_fetch_backoff_ms,
            self.replica_lag_time_max_ms.saturating_mul(3) / 2,
            self.producer_request_timeout_ms,
            jittered(self.producer_connection_setup_timeout_max_ms),
            jittered(self.producer_reconnect_backoff_max_ms),
            self.delivery_timeout_ms,
            self.consumer_request_timeout_ms,
            jittered(self.consumer_connection_setup_timeout_max_ms),
            jittered(self.consumer_reconnect_backoff_max_ms),
            self.consumer_default_api_timeout_ms,
            self.record_ms(),
            processing_ms,
        ];
        terms.into_iter().fold(0, u64::saturating_add)
    }

    /// What a record can wait for on its way to a consumer that then commits it, with everything healthy:
    /// one fetch of each follower that takes it and one that tells so, for the record and for its commit,
    /// where `replica.fetch.min.bytes` asks for more (`replica.fetch.wait.max.ms`), and a fetch of the
    /// consumer (`fetch.max.wait.ms`).
    fn record_ms(&self) -> u64 {
        self.replica_fetch_wait_max_ms
            .saturating_mul(4)
            .saturating_add(self.consumer_fetch_max_wait_ms)
    }

    /// Simulated milliseconds after which a run has gone wrong: start, fault phase and liveness
    /// bound, as much again as the start, and for each of its messages the longest way.
    pub fn run_limit_ms(
        &self,
        family: Family,
        workload: &Workload,
        producers: u32,
        faults: usize,
    ) -> u64 {
        let ways = workload
            .messages(producers)
            .saturating_mul(self.record_ms());
        (2 * START_MS)
            .saturating_add(self.fault_phase_ms(family, workload.spread_ms, faults))
            .saturating_add(self.liveness_ms(workload.processing_ms(producers)))
            .saturating_add(ways)
    }
}

/// Kafka's milliseconds; the negative ones that it takes mean "at once".
fn ms(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_between_half_and_three_times_the_timeout_that_notices_it() {
        let timeouts = Timeouts::from_properties(&PropertyFiles::default()).unwrap();
        assert_eq!(timeouts.outage_ms(Family::LeaderCrash), (4_500, 27_000));
        assert_eq!(
            timeouts.outage_ms(Family::LeaderCutFromFollowers),
            (15_000, 90_000)
        );
        assert_eq!(timeouts.outage_ms(Family::ConnectionLoss), (15_000, 90_000));
        assert_eq!(timeouts.outage_ms(Family::LeaderMove), (0, 0));
    }

    #[test]
    fn a_timeout_that_is_no_number_is_named() {
        let mut files = PropertyFiles::default();
        let key = "broker.session.timeout.ms";
        files.broker.insert(key.into(), "9s".into());
        let error = Timeouts::from_properties(&files).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }

    #[test]
    fn the_liveness_bound_grows_with_every_timeout_that_it_cites() {
        let short = Timeouts::from_properties(&PropertyFiles::default()).unwrap();
        let base = short.liveness_ms(0);
        for grow in [
            |t: &mut Timeouts| t.broker_session_timeout_ms += 1_000,
            |t: &mut Timeouts| t.replica_socket_timeout_ms += 1_000,
            |t: &mut Timeouts| t.replica_lag_time_max_ms += 1_000,
            |t: &mut Timeouts| t.delivery_timeout_ms += 1_000,
            |t: &mut Timeouts| t.consumer_default_api_timeout_ms += 1_000,
        ] {
            let mut longer = short.clone();
            grow(&mut longer);
            assert!(longer.liveness_ms(0) >= base + 1_000);
        }
        let mut never = short;
        never.delivery_timeout_ms = u64::MAX;
        assert_eq!(never.liveness_ms(0), u64::MAX);
    }
}
