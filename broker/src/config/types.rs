//! Typed configurations, as the state machines read them. Times are in milliseconds as in Kafka,
//! sizes in bytes; `i64::MAX` means never.

/// What a broker process is configured with. Field names are Kafka's property names with `_` for `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // Kafka's own names, documented there and in the catalogue
pub struct BrokerConfig {
    pub broker_session_timeout_ms: i64,
    pub broker_heartbeat_interval_ms: i64,
    pub initial_broker_registration_timeout_ms: i64,
    pub controlled_shutdown_enable: bool,
    pub auto_leader_rebalance_enable: bool,
    pub leader_imbalance_check_interval_seconds: i64,
    pub replica_lag_time_max_ms: i64,
    pub replica_fetch_wait_max_ms: i64,
    pub replica_fetch_min_bytes: i32,
    pub replica_fetch_max_bytes: i32,
    pub replica_fetch_response_max_bytes: i32,
    pub replica_fetch_backoff_ms: i64,
    pub replica_socket_timeout_ms: i64,
    pub replica_high_watermark_checkpoint_interval_ms: i64,
    /// Zero or less means one pass after `log.initial.task.delay.ms` and none after it
    /// (`KafkaScheduler.schedule`).
    pub log_flush_scheduler_interval_ms: i64,
    pub log_flush_offset_checkpoint_interval_ms: i64,
    pub log_initial_task_delay_ms: i64,
    pub request_timeout_ms: i64,
    pub offsets_commit_timeout_ms: i64,
    pub offsets_topic_num_partitions: i32,
    pub offsets_topic_replication_factor: i16,
    pub producer_id_expiration_ms: i64,
    pub producer_id_expiration_check_interval_ms: i64,
    /// How often the active controller looks for leaderless partitions whose topic allows an
    /// unclean election.
    pub unclean_leader_election_interval_ms: i64,
    /// The most bytes that one fetch is answered with, whatever the fetcher asked for.
    pub fetch_max_bytes: i32,
    /// Replication factor of a topic that is created without one.
    pub default_replication_factor: i16,
    /// Partitions of a topic that is created without a number of them.
    pub num_partitions: i32,
    pub log_retention_check_interval_ms: i64,
    pub log_flush_start_offset_checkpoint_interval_ms: i64,
    pub log_cleaner_backoff_ms: i64,
    pub offsets_topic_segment_bytes: i32,
    /// Whether a client that asks for a topic which does not exist, and allows it, gets it created.
    pub auto_create_topics_enable: bool,
    /// The largest frame that a host takes.
    pub socket_request_max_bytes: i32,
    /// When a host closes a connection on which nothing moves; below zero is never.
    pub connections_max_idle_ms: i64,
    /// Broker-level defaults of the topic settings.
    pub topic_defaults: TopicConfig,
}

/// What a topic is configured with, after the brokers' defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of Kafka's properties
pub struct TopicConfig {
    pub min_insync_replicas: i32,
    pub unclean_leader_election_enable: bool,
    /// `log.flush.interval.messages` / `flush.messages`.
    pub flush_messages: i64,
    /// `log.flush.interval.ms` / `flush.ms`; where unset, `log.flush.scheduler.interval.ms`.
    pub flush_ms: i64,
    /// `message.max.bytes` / `max.message.bytes`.
    pub max_message_bytes: i32,
    /// `log.segment.bytes` / `segment.bytes`, or `internal.segment.bytes` where that is set.
    pub segment_bytes: i32,
    /// `log.roll.ms`, `.hours` / `segment.ms`.
    pub segment_ms: i64,
    /// `log.index.size.max.bytes` / `segment.index.bytes`.
    pub segment_index_bytes: i32,
    /// `log.index.interval.bytes` / `index.interval.bytes`.
    pub index_interval_bytes: i32,
    /// `log.retention.ms`, `.minutes`, `.hours` / `retention.ms`; negative means for ever.
    pub retention_ms: i64,
    /// `log.retention.bytes` / `retention.bytes`; negative means any size.
    pub retention_bytes: i64,
    /// `log.segment.delete.delay.ms` / `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `log.cleanup.policy` / `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `log.cleaner.delete.retention.ms` / `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `log.cleaner.min.cleanable.ratio` / `min.cleanable.dirty.ratio`, in millionths.
    pub min_cleanable_dirty_ratio: u32,
    /// `log.cleaner.min.compaction.lag.ms` / `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `log.cleaner.max.compaction.lag.ms` / `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `log.message.timestamp.type` / `message.timestamp.type`: the leader's time, not the producer's.
    pub log_append_time: bool,
    /// `log.message.timestamp.before.max.ms` / `message.timestamp.before.max.ms`.
    pub message_timestamp_before_max_ms: i64,
    /// `log.message.timestamp.after.max.ms` / `message.timestamp.after.max.ms`.
    pub message_timestamp_after_max_ms: i64,
}

/// `cleanup.policy`. Neither is legal since 4.1: the topic keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Segments past their retention are deleted.
    pub delete: bool,
    /// Of each key only the last record is kept.
    pub compact: bool,
}

/// `acks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Acks {
    /// 0: no answer is awaited.
    None,
    /// 1: the leader has appended.
    Leader,
    /// all, -1: every in-sync replica has it.
    All,
}

impl Acks {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// What a producer is configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of Kafka's properties
pub struct ProducerConfig {
    pub acks: Acks,
    /// After Kafka's own rules: silently off with acks 0/1 or retries 0 unless it was set
    /// explicitly (then that is an error). More than 5 in flight is always an error with it on
    /// (since 4.0, KAFKA-17927).
    pub enable_idempotence: bool,
    pub retries: i32,
    pub retry_backoff_ms: i64,
    pub retry_backoff_max_ms: i64,
    pub reconnect_backoff_ms: i64,
    pub reconnect_backoff_max_ms: i64,
    pub request_timeout_ms: i64,
    pub delivery_timeout_ms: i64,
    pub linger_ms: i64,
    pub batch_size: i32,
    pub buffer_memory: i64,
    pub max_block_ms: i64,
    pub max_request_size: i32,
    pub max_in_flight_requests_per_connection: i32,
    pub metadata_max_age_ms: i64,
    pub partitioner_ignore_keys: bool,
    pub partitioner_adaptive_partitioning_enable: bool,
    /// 0 means never.
    pub partitioner_availability_timeout_ms: i64,
    pub socket_connection_setup_timeout_ms: i64,
    pub socket_connection_setup_timeout_max_ms: i64,
}

/// `auto.offset.reset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AutoOffsetReset {
    /// From the log start.
    Earliest,
    /// From the high watermark.
    Latest,
    /// Throw.
    None,
}

/// What a consumer is configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of Kafka's properties
pub struct ConsumerConfig {
    pub group_id: Option<String>,
    pub enable_auto_commit: bool,
    pub auto_commit_interval_ms: i64,
    pub auto_offset_reset: AutoOffsetReset,
    pub fetch_min_bytes: i32,
    pub fetch_max_wait_ms: i64,
    pub fetch_max_bytes: i32,
    pub max_partition_fetch_bytes: i32,
    pub max_poll_records: i32,
    pub check_crcs: bool,
    pub read_committed: bool,
    pub request_timeout_ms: i64,
    pub default_api_timeout_ms: i64,
    pub retry_backoff_ms: i64,
    pub retry_backoff_max_ms: i64,
    pub reconnect_backoff_ms: i64,
    pub reconnect_backoff_max_ms: i64,
    pub metadata_max_age_ms: i64,
    pub socket_connection_setup_timeout_ms: i64,
    pub socket_connection_setup_timeout_max_ms: i64,
}
