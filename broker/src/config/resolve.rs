//! From property maps to typed configurations, with Kafka's own rules between properties.
//!
//! A map may hold anything: names that are not modelled, or that nobody knows, are passed over
//! here ([`super::classify()`] tells them apart). An error is what stops a real broker or client
//! from starting.
//!
//! Not modelled: `config.providers` and their `${...}` references, dynamic settings of single
//! brokers, the rules of `group.protocol`, and required properties that the simulation has no
//! use for (`bootstrap.servers`, serializers, `process.roles`).

use super::catalogue::Scope;
use super::types::*;
use super::value::{ConfigError, PropertyMap, Reader, quoted};

/// Kafka's limit with idempotence on: a broker remembers five batches of a producer
/// (`ProducerConfig.MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION_FOR_IDEMPOTENCE`).
const MAX_IN_FLIGHT_WITH_IDEMPOTENCE: i32 = 5;

impl BrokerConfig {
    /// A broker's or controller's configuration from its `server.properties`.
    ///
    /// # Errors
    /// A value that Kafka's `ConfigDef` refuses, and the two rules of `KafkaConfig.validateValues`
    /// that concern modelled properties. A feature level that Kafka does not have is refused; one
    /// that it has and the simulation has not is accepted here, and judged at 0.
    pub fn from_properties(map: &PropertyMap) -> Result<Self, ConfigError> {
        let read = Reader::new(Scope::Broker, map);
        read.one_of("eligible.leader.replicas.version")?;
        read.one_of("transaction.version")?;
        // Checked as Kafka does, and used as little.
        read.int("leader.imbalance.per.broker.percentage")?;
        let config = Self {
            broker_session_timeout_ms: read.int_ms("broker.session.timeout.ms")?,
            broker_heartbeat_interval_ms: read.int_ms("broker.heartbeat.interval.ms")?,
            initial_broker_registration_timeout_ms: read
                .int_ms("initial.broker.registration.timeout.ms")?,
            replica_lag_time_max_ms: read.long("replica.lag.time.max.ms")?,
            replica_fetch_wait_max_ms: read.int_ms("replica.fetch.wait.max.ms")?,
            replica_fetch_min_bytes: read.int("replica.fetch.min.bytes")?,
            replica_fetch_max_bytes: read.int("replica.fetch.max.bytes")?,
            replica_fetch_response_max_bytes: read.int("replica.fetch.response.max.bytes")?,
            replica_fetch_backoff_ms: read.int_ms("replica.fetch.backoff.ms")?,
            replica_socket_timeout_ms: read.int_ms("replica.socket.timeout.ms")?,
            replica_high_watermark_checkpoint_interval_ms: read
                .long("replica.high.watermark.checkpoint.interval.ms")?,
            log_flush_scheduler_interval_ms: read.long("log.flush.scheduler.interval.ms")?,
            log_flush_offset_checkpoint_interval_ms: read
                .int_ms("log.flush.offset.checkpoint.interval.ms")?,
            log_initial_task_delay_ms: read.long("log.initial.task.delay.ms")?,
            request_timeout_ms: read.int_ms("request.timeout.ms")?,
            offsets_commit_timeout_ms: read.int_ms("offsets.commit.timeout.ms")?,
            offsets_topic_num_partitions: read.int("offsets.topic.num.partitions")?,
            offsets_topic_replication_factor: read.short("offsets.topic.replication.factor")?,
            producer_id_expiration_ms: read.int_ms("producer.id.expiration.ms")?,
            producer_id_expiration_check_interval_ms: read
                .int_ms("producer.id.expiration.check.interval.ms")?,
            controlled_shutdown_enable: read.boolean("controlled.shutdown.enable")?,
            auto_leader_rebalance_enable: read.boolean("auto.leader.rebalance.enable")?,
            leader_imbalance_check_interval_seconds: read
                .long("leader.imbalance.check.interval.seconds")?,
            unclean_leader_election_interval_ms: read
                .long("unclean.leader.election.interval.ms")?,
            fetch_max_bytes: read.int("fetch.max.bytes")?,
            default_replication_factor: read.short("default.replication.factor")?,
            num_partitions: read.int("num.partitions")?,
            log_retention_check_interval_ms: read.long("log.retention.check.interval.ms")?,
            log_flush_start_offset_checkpoint_interval_ms: read
                .int_ms("log.flush.start.offset.checkpoint.interval.ms")?,
            log_cleaner_backoff_ms: read.long("log.cleaner.backoff.ms")?,
            offsets_topic_segment_bytes: read.int("offsets.topic.segment.bytes")?,
            auto_create_topics_enable: read.boolean("auto.create.topics.enable")?,
            socket_request_max_bytes: read.int("socket.request.max.bytes")?,
            connections_max_idle_ms: read.long("connections.max.idle.ms")?,
            topic_defaults: topic_defaults(&read)?,
        };
        config.check_fetch_wait(&read)?;
        Ok(config)
    }

    /// `KafkaConfig.validateValues`: a follower's fetch must neither outlast its socket nor the
    /// time after which the leader takes the follower for lagging.
    fn check_fetch_wait(&self, read: &Reader<'_>) -> Result<(), ConfigError> {
        let wait = self.replica_fetch_wait_max_ms;
        let limits = [
            ("replica.socket.timeout.ms", self.replica_socket_timeout_ms),
            ("replica.lag.time.max.ms", self.replica_lag_time_max_ms),
        ];
        for (name, limit) in limits {
            if wait <= limit {
                continue;
            }
            // The property that was set is the one to name; both defaults together are legal.
            return Err(if read.is_set("replica.fetch.wait.max.ms") {
                read.refuse_beside(
                    "replica.fetch.wait.max.ms",
                    &format!("{name} = {limit}"),
                    format!("at most {name}"),
                )
            } else {
                read.refuse_beside(
                    name,
                    &format!("replica.fetch.wait.max.ms = {wait}"),
                    "at least replica.fetch.wait.max.ms".to_string(),
                )
            });
        }
        Ok(())
    }
}

/// The topic settings that a broker's configuration implies (`KafkaConfig.extractLogConfigMap`).
fn topic_defaults(read: &Reader<'_>) -> Result<TopicConfig, ConfigError> {
    let interval = read.optional_long("log.flush.interval.ms")?;
    let flush_ms = match interval {
        Some(interval) => interval,
        None => read.long("log.flush.scheduler.interval.ms")?,
    };
    if flush_ms < 0 {
        // `LogConfig` gives `flush.ms` the lower bound that the broker's two properties lack, so
        // that the broker fails as it builds the topics' defaults.
        let name = match interval {
            Some(_) => "log.flush.interval.ms",
            None => "log.flush.scheduler.interval.ms",
        };
        return Err(ConfigError::new(
            Scope::Broker,
            name,
            quoted(&flush_ms.to_string()),
            "at least 0, since it is the default of the topics' flush.ms".to_string(),
        ));
    }
    Ok(TopicConfig {
        min_insync_replicas: read.int("min.insync.replicas")?,
        unclean_leader_election_enable: read.boolean("unclean.leader.election.enable")?,
        flush_messages: read.long("log.flush.interval.messages")?,
        flush_ms,
        max_message_bytes: read.int("message.max.bytes")?,
        segment_bytes: read.int("log.segment.bytes")?,
        segment_ms: roll_ms(read)?,
        segment_index_bytes: read.int("log.index.size.max.bytes")?,
        index_interval_bytes: read.int("log.index.interval.bytes")?,
        retention_ms: retention_ms(read)?,
        retention_bytes: read.long("log.retention.bytes")?,
        file_delete_delay_ms: read.long("log.segment.delete.delay.ms")?,
        cleanup_policy: read.cleanup_policy("log.cleanup.policy")?,
        delete_retention_ms: read.long("log.cleaner.delete.retention.ms")?,
        min_cleanable_dirty_ratio: read.millionths("log.cleaner.min.cleanable.ratio")?,
        min_compaction_lag_ms: read.long("log.cleaner.min.compaction.lag.ms")?,
        max_compaction_lag_ms: read.long("log.cleaner.max.compaction.lag.ms")?,
        log_append_time: read.one_of("log.message.timestamp.type")? == "LogAppendTime",
        message_timestamp_before_max_ms: read.long("log.message.timestamp.before.max.ms")?,
        message_timestamp_after_max_ms: read.long("log.message.timestamp.after.max.ms")?,
    })
}

const MINUTE_MS: i64 = 60_000;

/// `AbstractKafkaConfig.logRollTimeMillis`. Zero and less pass the broker's check and fail the
/// topics' (`segment.ms`, at least 1).
fn roll_ms(read: &Reader<'_>) -> Result<i64, ConfigError> {
    match read.optional_long("log.roll.ms")? {
        None => Ok(read.int_ms("log.roll.hours")? * 60 * MINUTE_MS),
        Some(ms) if ms >= 1 => Ok(ms),
        Some(ms) => Err(ConfigError::new(
            Scope::Broker,
            "log.roll.ms",
            quoted(&ms.to_string()),
            "at least 1, since it is the default of the topics' segment.ms".to_string(),
        )),
    }
}

/// `AbstractKafkaConfig.logRetentionTimeMillis`: negative means for ever; 0 is refused there.
fn retention_ms(read: &Reader<'_>) -> Result<i64, ConfigError> {
    let minutes = read.optional_int("log.retention.minutes")?;
    let (name, ms) = match (read.optional_long("log.retention.ms")?, minutes) {
        (Some(ms), _) => ("log.retention.ms", ms),
        (None, Some(minutes)) => (
            "log.retention.minutes",
            i64::from(minutes).saturating_mul(MINUTE_MS),
        ),
        (None, None) => {
            let hours = read.int("log.retention.hours")?;
            ("log.retention.hours", i64::from(hours) * 60 * MINUTE_MS)
        }
    };
    if ms == 0 {
        return Err(ConfigError::new(
            Scope::Broker,
            name,
            quoted("0"),
            "-1 (for ever) or above 0".to_string(),
        ));
    }
    Ok(ms.max(-1))
}

impl TopicConfig {
    /// A topic's configuration: what is set on it, over what its brokers imply.
    ///
    /// # Errors
    /// A value that Kafka's `LogConfig` refuses.
    pub fn resolve(broker: &BrokerConfig, topic: &PropertyMap) -> Result<Self, ConfigError> {
        let read = Reader::new(Scope::Topic, topic);
        let mut config = broker.topic_defaults.clone();
        config.take_storage_settings(&read)?;
        if read.is_set("min.insync.replicas") {
            config.min_insync_replicas = read.int("min.insync.replicas")?;
        }
        if read.is_set("unclean.leader.election.enable") {
            config.unclean_leader_election_enable =
                read.boolean("unclean.leader.election.enable")?;
        }
        if read.is_set("flush.messages") {
            config.flush_messages = read.long("flush.messages")?;
        }
        if read.is_set("flush.ms") {
            config.flush_ms = read.long("flush.ms")?;
        }
        if read.is_set("max.message.bytes") {
            config.max_message_bytes = read.int("max.message.bytes")?;
        }
        Ok(config)
    }

    /// What a topic sets of segments, retention, compaction and timestamps.
    fn take_storage_settings(&mut self, read: &Reader<'_>) -> Result<(), ConfigError> {
        let long = |name: &str, field: &mut i64| -> Result<(), ConfigError> {
            if read.is_set(name) {
                *field = read.long(name)?;
            }
            Ok(())
        };
        let int = |name: &str, field: &mut i32| -> Result<(), ConfigError> {
            if read.is_set(name) {
                *field = read.int(name)?;
            }
            Ok(())
        };
        int("segment.bytes", &mut self.segment_bytes)?;
        // `LogConfig.segmentSize`
        int("internal.segment.bytes", &mut self.segment_bytes)?;
        long("segment.ms", &mut self.segment_ms)?;
        int("segment.index.bytes", &mut self.segment_index_bytes)?;
        int("index.interval.bytes", &mut self.index_interval_bytes)?;
        long("retention.ms", &mut self.retention_ms)?;
        long("retention.bytes", &mut self.retention_bytes)?;
        long("file.delete.delay.ms", &mut self.file_delete_delay_ms)?;
        long("delete.retention.ms", &mut self.delete_retention_ms)?;
        long("min.compaction.lag.ms", &mut self.min_compaction_lag_ms)?;
        long("max.compaction.lag.ms", &mut self.max_compaction_lag_ms)?;
        long(
            "message.timestamp.before.max.ms",
            &mut self.message_timestamp_before_max_ms,
        )?;
        long(
            "message.timestamp.after.max.ms",
            &mut self.message_timestamp_after_max_ms,
        )?;
        if read.is_set("cleanup.policy") {
            self.cleanup_policy = read.cleanup_policy("cleanup.policy")?;
        }
        if read.is_set("min.cleanable.dirty.ratio") {
            self.min_cleanable_dirty_ratio = read.millionths("min.cleanable.dirty.ratio")?;
        }
        if read.is_set("message.timestamp.type") {
            self.log_append_time = read.one_of("message.timestamp.type")? == "LogAppendTime";
        }
        if self.min_compaction_lag_ms > self.max_compaction_lag_ms {
            // `LogConfig.validateValues`
            let beside = format!("max.compaction.lag.ms = {}", self.max_compaction_lag_ms);
            let allowed = "at most max.compaction.lag.ms".to_string();
            let lag = self.min_compaction_lag_ms.to_string();
            return Err(ConfigError::new(
                Scope::Topic,
                "min.compaction.lag.ms",
                format!("{} beside {beside}", quoted(&lag)),
                allowed,
            ));
        }
        Ok(())
    }

    /// `LogConfig.maxSegmentMs`: the age at which a segment is rolled.
    pub fn max_segment_ms(&self) -> i64 {
        if self.cleanup_policy.compact && self.max_compaction_lag_ms > 0 {
            self.max_compaction_lag_ms.min(self.segment_ms)
        } else {
            self.segment_ms
        }
    }
}

impl ProducerConfig {
    /// A producer's configuration from its properties.
    ///
    /// # Errors
    /// A value that Kafka's `ConfigDef` refuses, and the combinations that
    /// `ProducerConfig.postProcessAndValidateIdempotenceConfigs` and
    /// `KafkaProducer.configureDeliveryTimeout` refuse.
    pub fn from_properties(map: &PropertyMap) -> Result<Self, ConfigError> {
        let read = Reader::new(Scope::Producer, map);
        let acks = match read.one_of("acks")? {
            "0" => Acks::None,
            "1" => Acks::Leader,
            _ => Acks::All,
        };
        let retries = read.int("retries")?;
        let max_in_flight = read.int("max.in.flight.requests.per.connection")?;
        let linger_ms = read.long("linger.ms")?;
        let request_timeout_ms = read.int_ms("request.timeout.ms")?;
        let backoff = Backoffs::read(&read)?;
        Ok(Self {
            acks,
            enable_idempotence: idempotence(&read, acks, retries, max_in_flight)?,
            retries,
            retry_backoff_ms: backoff.retry_ms,
            retry_backoff_max_ms: backoff.retry_max_ms,
            reconnect_backoff_ms: backoff.reconnect_ms,
            reconnect_backoff_max_ms: backoff.reconnect_max_ms,
            request_timeout_ms,
            delivery_timeout_ms: delivery_timeout_ms(&read, linger_ms, request_timeout_ms)?,
            // `KafkaProducer.lingerMs` cuts the long to an int.
            linger_ms: linger_ms.min(i32::MAX.into()),
            batch_size: read.int("batch.size")?,
            buffer_memory: read.long("buffer.memory")?,
            max_block_ms: read.long("max.block.ms")?,
            max_request_size: read.int("max.request.size")?,
            max_in_flight_requests_per_connection: max_in_flight,
            metadata_max_age_ms: read.long("metadata.max.age.ms")?,
            partitioner_ignore_keys: read.boolean("partitioner.ignore.keys")?,
            partitioner_adaptive_partitioning_enable: read
                .boolean("partitioner.adaptive.partitioning.enable")?,
            partitioner_availability_timeout_ms: read
                .long("partitioner.availability.timeout.ms")?,
            socket_connection_setup_timeout_ms: backoff.setup_ms,
            socket_connection_setup_timeout_max_ms: backoff.setup_max_ms,
        })
    }
}

/// Whether idempotence is in force: on by default, silently off beside acks other than all or no
/// retries, an error beside these when it was asked for, and an error beside more than five
/// requests in flight unless it was switched off (since 4.0, KAFKA-17927; the check comes after the
/// others and does not care that they would have switched it off).
fn idempotence(
    read: &Reader<'_>,
    acks: Acks,
    retries: i32,
    max_in_flight: i32,
) -> Result<bool, ConfigError> {
    let mut enabled = read.boolean("enable.idempotence")?;
    if enabled {
        let asked_for = read.is_set("enable.idempotence");
        let beside = if asked_for {
            "enable.idempotence = true"
        } else {
            "enable.idempotence, which is true by default"
        };
        if retries == 0 && asked_for {
            let allowed = "at least 1, or enable.idempotence = false".to_string();
            return Err(read.refuse_beside("retries", beside, allowed));
        }
        if acks != Acks::All && asked_for {
            let allowed = "all or -1, or enable.idempotence = false".to_string();
            return Err(read.refuse_beside("acks", beside, allowed));
        }
        if max_in_flight > MAX_IN_FLIGHT_WITH_IDEMPOTENCE {
            let allowed =
                format!("1 to {MAX_IN_FLIGHT_WITH_IDEMPOTENCE}, or enable.idempotence = false");
            let name = "max.in.flight.requests.per.connection";
            return Err(read.refuse_beside(name, beside, allowed));
        }
        enabled = retries > 0 && acks == Acks::All;
    }
    if !enabled && read.is_set("transactional.id") {
        return Err(read.refuse_beside(
            "transactional.id",
            "an idempotence that is off",
            "a producer with enable.idempotence, acks = all and retries above 0".to_string(),
        ));
    }
    Ok(enabled)
}

/// `KafkaProducer.configureDeliveryTimeout`: at least `linger.ms` + `request.timeout.ms`. A
/// smaller one is an error when it was set, and is raised when it is the default.
fn delivery_timeout_ms(
    read: &Reader<'_>,
    linger_ms: i64,
    request_timeout_ms: i64,
) -> Result<i64, ConfigError> {
    let delivery = read.int_ms("delivery.timeout.ms")?;
    let limit = i64::from(i32::MAX);
    let least = (linger_ms.min(limit) + request_timeout_ms).min(limit);
    if delivery < least && read.is_set("delivery.timeout.ms") {
        return Err(read.refuse_beside(
            "delivery.timeout.ms",
            &format!("linger.ms = {linger_ms} and request.timeout.ms = {request_timeout_ms}"),
            format!("at least their sum, {least}"),
        ));
    }
    Ok(delivery.max(least))
}

impl ConsumerConfig {
    /// A consumer's configuration from its properties.
    ///
    /// # Errors
    /// A value that Kafka's `ConfigDef` refuses; an empty `group.id` (`KafkaConsumer`, since 4.0);
    /// `enable.auto.commit` asked for without a group (`maybeOverrideEnableAutoCommit`); and
    /// `auto.offset.reset=by_duration:...`, which Kafka has and the simulation has not.
    pub fn from_properties(map: &PropertyMap) -> Result<Self, ConfigError> {
        let read = Reader::new(Scope::Consumer, map);
        let group_id = read.optional_string("group.id");
        if group_id.as_deref() == Some("") {
            let mut error = read.refuse("group.id");
            error.allowed = "a text that is not empty, or no group.id at all".to_string();
            return Err(error);
        }
        let backoff = Backoffs::read(&read)?;
        Ok(Self {
            enable_auto_commit: auto_commit(&read, group_id.is_some())?,
            group_id,
            auto_commit_interval_ms: read.int_ms("auto.commit.interval.ms")?,
            auto_offset_reset: offset_reset(&read)?,
            fetch_min_bytes: read.int("fetch.min.bytes")?,
            fetch_max_wait_ms: read.int_ms("fetch.max.wait.ms")?,
            fetch_max_bytes: read.int("fetch.max.bytes")?,
            max_partition_fetch_bytes: read.int("max.partition.fetch.bytes")?,
            max_poll_records: read.int("max.poll.records")?,
            check_crcs: read.boolean("check.crcs")?,
            read_committed: read.one_of("isolation.level")? == "read_committed",
            request_timeout_ms: read.int_ms("request.timeout.ms")?,
            default_api_timeout_ms: read.int_ms("default.api.timeout.ms")?,
            retry_backoff_ms: backoff.retry_ms,
            retry_backoff_max_ms: backoff.retry_max_ms,
            reconnect_backoff_ms: backoff.reconnect_ms,
            reconnect_backoff_max_ms: backoff.reconnect_max_ms,
            metadata_max_age_ms: read.long("metadata.max.age.ms")?,
            socket_connection_setup_timeout_ms: backoff.setup_ms,
            socket_connection_setup_timeout_max_ms: backoff.setup_max_ms,
        })
    }
}

/// `ConsumerConfig.maybeOverrideEnableAutoCommit`: without a group there is nothing to commit to.
fn auto_commit(read: &Reader<'_>, has_group: bool) -> Result<bool, ConfigError> {
    let enabled = read.boolean("enable.auto.commit")?;
    if has_group || !enabled {
        return Ok(enabled);
    }
    if read.is_set("enable.auto.commit") {
        return Err(read.refuse_beside(
            "enable.auto.commit",
            "no group.id",
            "false, or a group.id".to_string(),
        ));
    }
    Ok(false)
}

/// `AutoOffsetResetStrategy.fromString`; the case matters.
fn offset_reset(read: &Reader<'_>) -> Result<AutoOffsetReset, ConfigError> {
    match read.trimmed("auto.offset.reset") {
        "earliest" => Ok(AutoOffsetReset::Earliest),
        "latest" => Ok(AutoOffsetReset::Latest),
        "none" => Ok(AutoOffsetReset::None),
        _ => Err(read.refuse("auto.offset.reset")),
    }
}

/// The pauses that every client has, after `CommonClientConfigs`' rules.
struct Backoffs {
    retry_ms: i64,
    retry_max_ms: i64,
    reconnect_ms: i64,
    reconnect_max_ms: i64,
    setup_ms: i64,
    setup_max_ms: i64,
}

impl Backoffs {
    fn read(read: &Reader<'_>) -> Result<Self, ConfigError> {
        let reconnect_ms = read.long("reconnect.backoff.ms")?;
        // `postProcessReconnectBackoffConfigs`: a first pause alone also is the longest.
        let only_first =
            read.is_set("reconnect.backoff.ms") && !read.is_set("reconnect.backoff.max.ms");
        Ok(Self {
            retry_ms: read.long("retry.backoff.ms")?,
            retry_max_ms: read.long("retry.backoff.max.ms")?,
            reconnect_ms,
            reconnect_max_ms: if only_first {
                reconnect_ms
            } else {
                read.long("reconnect.backoff.max.ms")?
            },
            setup_ms: read.long("socket.connection.setup.timeout.ms")?,
            setup_max_ms: read.long("socket.connection.setup.timeout.max.ms")?,
        })
    }
}
