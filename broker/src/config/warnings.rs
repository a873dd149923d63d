//! Configurations that Kafka takes and that do not do what they seem to do.
//!
//! A warning never changes a judgement; the simulation runs what is configured. Only properties
//! that were set are warned of, but for a single replica by default.

use super::catalogue::Scope;
use super::types::*;
use super::value::{ConfigError, PropertyMap, Reader};
use std::fmt;

/// Something that an operator should know of a configuration that is legal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The property that it is about.
    pub key: &'static str,
    /// One line.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

fn warning(key: &'static str, text: impl Into<String>) -> Warning {
    Warning {
        key,
        text: text.into(),
    }
}

/// The warnings of one file, in a fixed order. A topic's are those that need no broker;
/// [`topic_warnings`] has the rest.
///
/// # Errors
/// Those of the scope's `from_properties`.
pub fn warnings(scope: Scope, map: &PropertyMap) -> Result<Vec<Warning>, ConfigError> {
    let read = Reader::new(scope, map);
    Ok(match scope {
        Scope::Broker => broker(&read, &BrokerConfig::from_properties(map)?),
        Scope::Topic => Vec::new(),
        Scope::Producer => producer(&read, &ProducerConfig::from_properties(map)?),
        Scope::Consumer => consumer(&read, &ConsumerConfig::from_properties(map)?),
    })
}

/// The warnings of a topic with these settings and this many replicas on brokers configured so.
///
/// # Errors
/// Those of [`TopicConfig::resolve`].
pub fn topic_warnings(
    broker: &BrokerConfig,
    topic: &PropertyMap,
    replication_factor: i16,
) -> Result<Vec<Warning>, ConfigError> {
    let read = Reader::new(Scope::Topic, topic);
    let config = TopicConfig::resolve(broker, topic)?;
    let mut found = Vec::new();
    if read.is_set("min.insync.replicas") {
        found.extend(min_insync(config.min_insync_replicas, replication_factor));
    }
    if read.is_set("flush.ms") && broker.log_flush_scheduler_interval_ms == i64::MAX {
        found.push(inert_flush("flush.ms", config.flush_ms));
    }
    Ok(found)
}

/// `min.insync.replicas` against the number of replicas.
fn min_insync(min_insync: i32, replication_factor: i16) -> Option<Warning> {
    let replicas = i32::from(replication_factor);
    if min_insync > replicas {
        // `Partition.effectiveMinIsr`, since 3.7 (KAFKA-15583).
        return Some(warning(
            "min.insync.replicas",
            format!(
                "{min_insync} is above the replication factor {replicas}; Kafka counts the smaller of the two, so {replicas} in sync is enough for acks=all"
            ),
        ));
    }
    (replicas > 1 && min_insync == replicas).then(|| {
        warning(
            "min.insync.replicas",
            format!(
                "{min_insync} equals the replication factor; one replica out of sync stops every acks=all write"
            ),
        )
    })
}

/// The flusher's age limit without a flusher (`LogManager.startup`, `ServerLogConfigs`).
fn inert_flush(key: &'static str, flush_ms: i64) -> Warning {
    warning(
        key,
        format!(
            "{flush_ms} does nothing by itself: the flusher looks only every log.flush.scheduler.interval.ms, which is never by default but for one pass after log.initial.task.delay.ms; set both, or the messages interval"
        ),
    )
}

fn broker(read: &Reader<'_>, config: &BrokerConfig) -> Vec<Warning> {
    let mut found = Vec::new();
    let replicas = config.default_replication_factor;
    if !read.is_set("default.replication.factor") {
        found.push(warning(
            "default.replication.factor",
            "not set: Kafka's default is 1, a single copy of every topic that is created without a replication factor",
        ));
    }
    if read.is_set("min.insync.replicas") {
        let minimum = config.topic_defaults.min_insync_replicas;
        found.push(warning(
            "min.insync.replicas",
            format!(
                "{minimum} in a broker's file does not count with eligible leader replicas (on in clusters formatted since 4.1), where the controllers' value does, 1 unless their files say so too; set it on the topic, or for the cluster with kafka-configs"
            ),
        ));
        found.extend(min_insync(minimum, replicas));
    }
    if read.is_set("log.flush.interval.ms") && config.log_flush_scheduler_interval_ms == i64::MAX {
        found.push(inert_flush(
            "log.flush.interval.ms",
            config.topic_defaults.flush_ms,
        ));
    }
    if read.is_set("log.flush.scheduler.interval.ms") && config.log_flush_scheduler_interval_ms <= 0
    {
        // `KafkaScheduler.schedule` repeats a task only when its period is above 0.
        found.push(warning(
            "log.flush.scheduler.interval.ms",
            format!(
                "{} means a single pass of the flusher, after log.initial.task.delay.ms",
                config.log_flush_scheduler_interval_ms
            ),
        ));
    }
    if read.is_set("offsets.topic.replication.factor")
        && config.offsets_topic_replication_factor == 1
    {
        found.push(warning(
            "offsets.topic.replication.factor",
            "1: committed offsets have a single copy, and groups stand still while its broker is down",
        ));
    }
    let (heartbeat, session) = (
        config.broker_heartbeat_interval_ms,
        config.broker_session_timeout_ms,
    );
    if heartbeat.saturating_mul(2) > session {
        let key = if read.is_set("broker.session.timeout.ms") {
            "broker.session.timeout.ms"
        } else {
            "broker.heartbeat.interval.ms"
        };
        found.push(warning(
            key,
            format!(
                "a session of {session} ms with a heartbeat every {heartbeat} ms: one late heartbeat fences a healthy broker"
            ),
        ));
    }
    let patience = config.initial_broker_registration_timeout_ms;
    if (0..=session).contains(&patience) {
        let key = if read.is_set("initial.broker.registration.timeout.ms") {
            "initial.broker.registration.timeout.ms"
        } else {
            "broker.session.timeout.ms"
        };
        found.push(warning(
            key,
            format!(
                "a session of {session} ms and {patience} ms to register: a broker that comes back at once is refused while its old session lasts, and gives up before that ends"
            ),
        ));
    }
    found.extend(not_a_time(&[
        ("broker.heartbeat.interval.ms", heartbeat),
        ("broker.session.timeout.ms", session),
        ("replica.lag.time.max.ms", config.replica_lag_time_max_ms),
        (
            "replica.fetch.wait.max.ms",
            config.replica_fetch_wait_max_ms,
        ),
        (
            "replica.socket.timeout.ms",
            config.replica_socket_timeout_ms,
        ),
        ("request.timeout.ms", config.request_timeout_ms),
        (
            "replica.high.watermark.checkpoint.interval.ms",
            config.replica_high_watermark_checkpoint_interval_ms,
        ),
        (
            "initial.broker.registration.timeout.ms",
            config.initial_broker_registration_timeout_ms,
        ),
    ]));
    found
}

/// Times below zero, which Kafka's `ConfigDef` lets through.
fn not_a_time(times: &[(&'static str, i64)]) -> Vec<Warning> {
    times
        .iter()
        .filter(|(_, ms)| *ms < 0)
        .map(|(key, ms)| {
            warning(
                key,
                format!("{ms} ms is no time; Kafka takes it without a word"),
            )
        })
        .collect()
}

fn producer(read: &Reader<'_>, config: &ProducerConfig) -> Vec<Warning> {
    let mut found = Vec::new();
    if !config.enable_idempotence && !read.is_set("enable.idempotence") {
        let (key, why) = if config.acks == Acks::All {
            ("retries", "retries = 0")
        } else {
            ("acks", "acks other than all")
        };
        found.push(warning(
            key,
            format!("{why} switches idempotence off without a word: a retry may store a record twice or out of order"),
        ));
    }
    let max_in_flight = config.max_in_flight_requests_per_connection;
    if !config.enable_idempotence && config.retries > 0 && max_in_flight > 1 {
        let key = if read.is_set("enable.idempotence") {
            "enable.idempotence"
        } else {
            "acks"
        };
        found.push(warning(
            key,
            format!(
                "without idempotence, {max_in_flight} requests in flight and retries may change the order of records; max.in.flight.requests.per.connection = 1 keeps it"
            ),
        ));
    }
    found.extend(producer_limits(read, config));
    found.extend(client(
        read,
        [config.retry_backoff_ms, config.retry_backoff_max_ms],
        [
            config.socket_connection_setup_timeout_ms,
            config.socket_connection_setup_timeout_max_ms,
        ],
    ));
    found
}

/// Limits of a producer that cut each other off.
fn producer_limits(read: &Reader<'_>, config: &ProducerConfig) -> Vec<Warning> {
    let mut found = Vec::new();
    let retrying = i64::from(config.retries).saturating_mul(config.retry_backoff_max_ms);
    if config.retries > 0 && retrying < config.delivery_timeout_ms {
        found.push(warning(
            "retries",
            format!(
                "{} retries may be used up within {retrying} ms of quick errors, long before delivery.timeout.ms = {}; the send then fails, and only its callback says so",
                config.retries, config.delivery_timeout_ms
            ),
        ));
    }
    if !read.is_set("delivery.timeout.ms") {
        let default = Reader::new(Scope::Producer, &PropertyMap::new())
            .int_ms("delivery.timeout.ms")
            .expect("the default is legal");
        if config.delivery_timeout_ms > default {
            let key = if read.is_set("linger.ms") {
                "linger.ms"
            } else {
                "request.timeout.ms"
            };
            found.push(warning(
                key,
                format!(
                    "linger.ms + request.timeout.ms raise delivery.timeout.ms from {default} to {}",
                    config.delivery_timeout_ms
                ),
            ));
        }
    }
    if config.buffer_memory < i64::from(config.batch_size) {
        // `BufferPool.allocate` refuses what can never fit.
        let key = if read.is_set("buffer.memory") {
            "buffer.memory"
        } else {
            "batch.size"
        };
        found.push(warning(
            key,
            format!(
                "buffer.memory = {} has no room for one batch of batch.size = {}: every send fails",
                config.buffer_memory, config.batch_size
            ),
        ));
    }
    found
}

fn consumer(read: &Reader<'_>, config: &ConsumerConfig) -> Vec<Warning> {
    let mut found = Vec::new();
    if config.group_id.is_none() {
        found.push(warning(
            "group.id",
            "not set: offsets cannot be committed, and enable.auto.commit is off",
        ));
    } else if read.is_set("auto.commit.interval.ms") && !config.enable_auto_commit {
        found.push(warning(
            "auto.commit.interval.ms",
            "does nothing while enable.auto.commit is false",
        ));
    }
    if config.fetch_max_wait_ms >= config.request_timeout_ms {
        let key = if read.is_set("fetch.max.wait.ms") {
            "fetch.max.wait.ms"
        } else {
            "request.timeout.ms"
        };
        found.push(warning(
            key,
            format!(
                "fetch.max.wait.ms = {} is not below request.timeout.ms = {}: a fetch without news times out and drops the connection",
                config.fetch_max_wait_ms, config.request_timeout_ms
            ),
        ));
    }
    if config.default_api_timeout_ms < config.request_timeout_ms {
        let key = if read.is_set("default.api.timeout.ms") {
            "default.api.timeout.ms"
        } else {
            "request.timeout.ms"
        };
        found.push(warning(
            key,
            format!(
                "default.api.timeout.ms = {} is below request.timeout.ms = {}: commitSync() gives up before its first request can time out",
                config.default_api_timeout_ms, config.request_timeout_ms
            ),
        ));
    }
    found.extend(client(
        read,
        [config.retry_backoff_ms, config.retry_backoff_max_ms],
        [
            config.socket_connection_setup_timeout_ms,
            config.socket_connection_setup_timeout_max_ms,
        ],
    ));
    found
}

/// What `CommonClientConfigs` logs of its pauses: first and longest given as a pair.
fn client(read: &Reader<'_>, retry: [i64; 2], setup: [i64; 2]) -> Vec<Warning> {
    let mut found = Vec::new();
    let pairs = [
        ("retry.backoff.ms", "retry.backoff.max.ms", retry),
        (
            "socket.connection.setup.timeout.ms",
            "socket.connection.setup.timeout.max.ms",
            setup,
        ),
    ];
    for (name, max_name, [first, longest]) in pairs {
        if first > longest {
            let key = if read.is_set(name) { name } else { max_name };
            found.push(warning(
                key,
                format!("{name} = {first} is above {max_name} = {longest}: {longest} counts, and does not grow"),
            ));
        }
    }
    if read.is_set("reconnect.backoff.ms") && !read.is_set("reconnect.backoff.max.ms") {
        found.push(warning(
            "reconnect.backoff.ms",
            "set without reconnect.backoff.max.ms: the pause between attempts to connect does not grow",
        ));
    }
    found.extend(not_a_time(&[
        ("socket.connection.setup.timeout.ms", setup[0]),
        ("socket.connection.setup.timeout.max.ms", setup[1]),
    ]));
    found
}
