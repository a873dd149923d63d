use super::*;

fn map(pairs: &[(&str, &str)]) -> PropertyMap {
    pairs
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect()
}

fn broker(pairs: &[(&str, &str)]) -> Result<BrokerConfig, ConfigError> {
    BrokerConfig::from_properties(&map(pairs))
}

fn producer(pairs: &[(&str, &str)]) -> Result<ProducerConfig, ConfigError> {
    ProducerConfig::from_properties(&map(pairs))
}

fn consumer(pairs: &[(&str, &str)]) -> Result<ConsumerConfig, ConfigError> {
    ConsumerConfig::from_properties(&map(pairs))
}

/// The line of the error that these properties of a scope are refused with.
fn refusal(scope: Scope, pairs: &[(&str, &str)]) -> String {
    let error = match scope {
        Scope::Broker => broker(pairs).err(),
        Scope::Topic => {
            let defaults = broker(&[]).expect("defaults are legal");
            TopicConfig::resolve(&defaults, &map(pairs)).err()
        }
        Scope::Producer => producer(pairs).err(),
        Scope::Consumer => consumer(pairs).err(),
    };
    error
        .unwrap_or_else(|| panic!("{pairs:?} was accepted"))
        .to_string()
}

fn texts(scope: Scope, pairs: &[(&str, &str)]) -> Vec<String> {
    warnings(scope, &map(pairs))
        .expect("the configuration is legal")
        .iter()
        .map(Warning::to_string)
        .collect()
}

/// Kafka 4.1's defaults, written out a second time from the classes that define them.
#[test]
fn broker_defaults_are_kafkas() {
    let expected = BrokerConfig {
        broker_session_timeout_ms: 9_000,                     // KRaftConfigs
        broker_heartbeat_interval_ms: 2_000,                  // KRaftConfigs
        initial_broker_registration_timeout_ms: 60_000,       // KRaftConfigs
        controlled_shutdown_enable: true,                     // ServerConfigs
        auto_leader_rebalance_enable: true,                   // ReplicationConfigs
        leader_imbalance_check_interval_seconds: 300,         // ReplicationConfigs
        replica_lag_time_max_ms: 30_000,                      // ReplicationConfigs
        replica_fetch_wait_max_ms: 500,                       // ReplicationConfigs
        replica_fetch_min_bytes: 1,                           // ReplicationConfigs
        replica_fetch_max_bytes: 1024 * 1024,                 // ReplicationConfigs
        replica_fetch_response_max_bytes: 10 * 1024 * 1024,   // ReplicationConfigs
        replica_fetch_backoff_ms: 1_000,                      // ReplicationConfigs
        replica_socket_timeout_ms: 30_000,                    // ReplicationConfigs
        replica_high_watermark_checkpoint_interval_ms: 5_000, // ReplicationConfigs
        log_flush_scheduler_interval_ms: i64::MAX,            // ServerLogConfigs
        log_flush_offset_checkpoint_interval_ms: 60_000,      // ServerLogConfigs
        log_initial_task_delay_ms: 30_000,                    // ServerLogConfigs
        request_timeout_ms: 30_000,                           // ServerConfigs
        offsets_commit_timeout_ms: 5_000,                     // GroupCoordinatorConfig
        offsets_topic_num_partitions: 50,                     // GroupCoordinatorConfig
        offsets_topic_replication_factor: 3,                  // GroupCoordinatorConfig
        producer_id_expiration_ms: 24 * 60 * 60 * 1000,       // TransactionLogConfig
        producer_id_expiration_check_interval_ms: 600_000,    // TransactionLogConfig
        unclean_leader_election_interval_ms: 5 * 60 * 1000,   // ReplicationConfigs
        fetch_max_bytes: 55 * 1024 * 1024,                    // ServerConfigs
        default_replication_factor: 1,                        // ReplicationConfigs
        num_partitions: 1,                                    // ServerLogConfigs
        log_retention_check_interval_ms: 300_000,             // ServerLogConfigs
        log_flush_start_offset_checkpoint_interval_ms: 60_000, // ServerLogConfigs
        log_cleaner_backoff_ms: 15_000,                       // CleanerConfig
        offsets_topic_segment_bytes: 100 * 1024 * 1024,       // GroupCoordinatorConfig
        auto_create_topics_enable: true,                      // ServerLogConfigs
        socket_request_max_bytes: 100 * 1024 * 1024,          // SocketServerConfigs
        connections_max_idle_ms: 600_000,                     // SocketServerConfigs
        topic_defaults: TopicConfig {
            min_insync_replicas: 1,                // ServerLogConfigs
            unclean_leader_election_enable: false, // LogConfig
            flush_messages: i64::MAX,              // ServerLogConfigs
            flush_ms: i64::MAX,                    // falls to the scheduler's interval
            max_message_bytes: 1024 * 1024 + 12,   // LogConfig: + Records.LOG_OVERHEAD
            segment_bytes: 1024 * 1024 * 1024,     // LogConfig, like those below
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            segment_index_bytes: 10 * 1024 * 1024,
            index_interval_bytes: 4096,
            retention_ms: 7 * 24 * 60 * 60 * 1000,
            retention_bytes: -1,
            file_delete_delay_ms: 60_000,
            cleanup_policy: CleanupPolicy {
                delete: true,
                compact: false,
            },
            delete_retention_ms: 24 * 60 * 60 * 1000,
            min_cleanable_dirty_ratio: 500_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            log_append_time: false,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: 60 * 60 * 1000, // KIP-1030
        },
    };
    assert_eq!(broker(&[]), Ok(expected));
}

#[test]
fn topic_defaults_of_the_catalogue_are_those_that_a_default_broker_implies() {
    let defaults = broker(&[]).expect("defaults are legal");
    let written_out: PropertyMap = properties(Scope::Topic)
        .iter()
        .filter(|p| p.default != "null")
        .map(|p| (p.name.to_string(), p.default.to_string()))
        .collect();
    assert_eq!(written_out.len(), 20);
    assert_eq!(
        TopicConfig::resolve(&defaults, &written_out).as_ref(),
        Ok(&defaults.topic_defaults)
    );
}

#[test]
fn times_of_a_topic_come_from_the_finest_unit_that_its_broker_sets() {
    let defaults = |set: &[(&str, &str)]| broker(set).expect("legal").topic_defaults;
    let hour = 60 * 60 * 1000;
    assert_eq!(
        defaults(&[("log.retention.hours", "2")]).retention_ms,
        2 * hour
    );
    let minutes = [("log.retention.hours", "2"), ("log.retention.minutes", "3")];
    assert_eq!(defaults(&minutes).retention_ms, 3 * 60_000);
    let ms = [("log.retention.minutes", "3"), ("log.retention.ms", "4")];
    assert_eq!(defaults(&ms).retention_ms, 4);
    assert_eq!(defaults(&[("log.retention.hours", "-7")]).retention_ms, -1);
    assert!(broker(&[("log.retention.ms", "0")]).is_err());
    assert_eq!(
        defaults(&[("log.roll.hours", "1"), ("log.roll.ms", "5")]).segment_ms,
        5
    );
    assert!(broker(&[("log.roll.ms", "0")]).is_err());
}

#[test]
fn storage_settings_of_a_topic_are_read_as_kafka_reads_them() {
    let resolve = |set: &[(&str, &str)]| {
        let set: PropertyMap = set
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        TopicConfig::resolve(&broker(&[]).expect("legal"), &set)
    };
    let policy = |text: &str| resolve(&[("cleanup.policy", text)]).map(|c| c.cleanup_policy);
    let both = CleanupPolicy {
        delete: true,
        compact: true,
    };
    assert_eq!(policy("compact, delete"), Ok(both));
    assert!(policy("Compact").is_err(), "ValidList minds the case");
    let ratio = |text: &str| resolve(&[("min.cleanable.dirty.ratio", text)]);
    assert_eq!(
        ratio("0.25").map(|c| c.min_cleanable_dirty_ratio),
        Ok(250_000)
    );
    assert!(ratio("1.5").is_err() && ratio("NaN").is_err() && ratio("half").is_err());
    assert!(resolve(&[("segment.bytes", "1024")]).is_err(), "KIP-1030");
    let small = [
        ("internal.segment.bytes", "1024"),
        ("segment.bytes", "1048576"),
    ];
    assert_eq!(resolve(&small).map(|c| c.segment_bytes), Ok(1024));
    let lags = [
        ("min.compaction.lag.ms", "6"),
        ("max.compaction.lag.ms", "5"),
    ];
    assert!(resolve(&lags).is_err());
    let compacted = [
        ("cleanup.policy", "compact"),
        ("max.compaction.lag.ms", "5"),
    ];
    assert_eq!(resolve(&compacted).map(|c| c.max_segment_ms()), Ok(5));
    assert_eq!(
        resolve(&compacted[1..]).map(|c| c.max_segment_ms()),
        Ok(604_800_000)
    );
}

#[test]
fn producer_defaults_are_kafkas() {
    let expected = ProducerConfig {
        acks: Acks::All,
        enable_idempotence: true,
        retries: i32::MAX,
        retry_backoff_ms: 100,
        retry_backoff_max_ms: 1_000,
        reconnect_backoff_ms: 50,
        reconnect_backoff_max_ms: 1_000,
        request_timeout_ms: 30_000,
        delivery_timeout_ms: 120_000,
        linger_ms: 5, // 0 before 4.0 (KIP-1030)
        batch_size: 16_384,
        buffer_memory: 32 * 1024 * 1024,
        max_block_ms: 60_000,
        max_request_size: 1024 * 1024,
        max_in_flight_requests_per_connection: 5,
        metadata_max_age_ms: 300_000,
        partitioner_ignore_keys: false,
        partitioner_adaptive_partitioning_enable: true,
        partitioner_availability_timeout_ms: 0,
        socket_connection_setup_timeout_ms: 10_000,
        socket_connection_setup_timeout_max_ms: 30_000,
    };
    assert_eq!(producer(&[]), Ok(expected));
}

#[test]
fn consumer_defaults_are_kafkas() {
    let expected = ConsumerConfig {
        group_id: Some("g".to_string()),
        enable_auto_commit: true,
        auto_commit_interval_ms: 5_000,
        auto_offset_reset: AutoOffsetReset::Latest,
        fetch_min_bytes: 1,
        fetch_max_wait_ms: 500,
        fetch_max_bytes: 50 * 1024 * 1024,
        max_partition_fetch_bytes: 1024 * 1024,
        max_poll_records: 500,
        check_crcs: true,
        read_committed: false,
        request_timeout_ms: 30_000,
        default_api_timeout_ms: 60_000,
        retry_backoff_ms: 100,
        retry_backoff_max_ms: 1_000,
        reconnect_backoff_ms: 50,
        reconnect_backoff_max_ms: 1_000,
        metadata_max_age_ms: 300_000,
        socket_connection_setup_timeout_ms: 10_000,
        socket_connection_setup_timeout_max_ms: 30_000,
    };
    assert_eq!(consumer(&[("group.id", "g")]), Ok(expected));
}

/// A default that is spelled out is as good as one that is left out, so no reader bypasses the
/// catalogue.
#[test]
fn defaults_written_out_change_nothing() {
    for scope in [Scope::Broker, Scope::Producer, Scope::Consumer] {
        for property in properties(scope).iter().filter(|p| p.default != "null") {
            let pair = (property.name, property.default);
            let same = match scope {
                Scope::Broker => broker(&[pair]) == broker(&[]),
                // Reconnect backoff alone switches its growth off, by Kafka's rule.
                Scope::Producer if property.name == "reconnect.backoff.ms" => true,
                Scope::Consumer if property.name == "reconnect.backoff.ms" => true,
                Scope::Producer => producer(&[pair]) == producer(&[]),
                _ => {
                    let group = ("group.id", "g");
                    consumer(&[group, pair]) == consumer(&[group])
                }
            };
            assert!(same, "{scope} {}", property.name);
        }
    }
}

/// Every bound of the catalogue is the one that the reader enforces.
#[test]
fn each_number_is_refused_below_its_bound_beyond_its_type_and_when_it_is_none() {
    for scope in Scope::ALL {
        for property in properties(scope) {
            let (min, max) = match property.kind {
                Kind::Int(min) => (min.max(i32::MIN.into()), i128::from(i32::MAX)),
                Kind::Long(min) => (min, i128::from(i64::MAX)),
                Kind::Short(min) => (min.max(i16::MIN.into()), i128::from(i16::MAX)),
                _ => continue,
            };
            let below = (i128::from(min) - 1).to_string();
            let beyond = (max + 1).to_string();
            for text in [below.as_str(), beyond.as_str(), "", "1.5", "1 000", "ten"] {
                let line = refusal(scope, &[(property.name, text)]);
                assert_eq!(
                    line,
                    format!(
                        "{} ({scope}): found \"{text}\", allowed is {}",
                        property.name, property.allowed
                    )
                );
            }
        }
    }
}

#[test]
fn values_are_trimmed_and_booleans_have_no_case() {
    let config = broker(&[
        ("min.insync.replicas", "  2\t"),
        ("unclean.leader.election.enable", " TRUE "),
    ])
    .expect("legal");
    assert_eq!(config.topic_defaults.min_insync_replicas, 2);
    assert!(config.topic_defaults.unclean_leader_election_enable);
    assert_eq!(
        refusal(Scope::Broker, &[("unclean.leader.election.enable", "yes")]),
        "unclean.leader.election.enable (broker): found \"yes\", allowed is true or false"
    );
}

#[test]
fn the_flush_interval_falls_to_the_scheduler_and_a_topic_overrides_both() {
    let both = [
        ("log.flush.scheduler.interval.ms", "2000"),
        ("log.flush.interval.ms", "1000"),
    ];
    assert_eq!(broker(&both[..1]).unwrap().topic_defaults.flush_ms, 2_000);
    let config = broker(&both).unwrap();
    assert_eq!(config.topic_defaults.flush_ms, 1_000);
    let topic = map(&[("flush.ms", "7"), ("flush.messages", "1")]);
    let resolved = TopicConfig::resolve(&config, &topic).unwrap();
    assert_eq!((resolved.flush_ms, resolved.flush_messages), (7, 1));
    assert_eq!(resolved.min_insync_replicas, 1);
}

#[test]
fn a_negative_flush_interval_stops_the_broker_and_a_negative_scheduler_only_when_it_is_the_interval()
 {
    assert_eq!(
        refusal(Scope::Broker, &[("log.flush.interval.ms", "-1")]),
        "log.flush.interval.ms (broker): found \"-1\", allowed is at least 0, since it is the default of the topics' flush.ms"
    );
    assert!(
        refusal(Scope::Broker, &[("log.flush.scheduler.interval.ms", "-1")])
            .starts_with("log.flush.scheduler.interval.ms (broker): found \"-1\"")
    );
    let once = [
        ("log.flush.scheduler.interval.ms", "-1"),
        ("log.flush.interval.ms", "1000"),
    ];
    assert_eq!(broker(&once).unwrap().log_flush_scheduler_interval_ms, -1);
    assert!(
        texts(Scope::Broker, &once)
            .iter()
            .any(|text| text.contains("a single pass of the flusher"))
    );
}

#[test]
fn a_fetch_may_not_outlast_its_socket_or_the_lag_limit() {
    assert_eq!(
        refusal(Scope::Broker, &[("replica.fetch.wait.max.ms", "30001")]),
        "replica.fetch.wait.max.ms (broker): found \"30001\" beside replica.socket.timeout.ms = 30000, allowed is at most replica.socket.timeout.ms"
    );
    assert_eq!(
        refusal(Scope::Broker, &[("replica.lag.time.max.ms", "499")]),
        "replica.lag.time.max.ms (broker): found \"499\" beside replica.fetch.wait.max.ms = 500, allowed is at least replica.fetch.wait.max.ms"
    );
    assert!(broker(&[("replica.lag.time.max.ms", "500")]).is_ok());
}

#[test]
fn feature_levels_are_accepted_and_made_up_ones_refused() {
    for (name, level) in [
        ("eligible.leader.replicas.version", "0"),
        ("eligible.leader.replicas.version", "1"),
        ("transaction.version", "2"),
    ] {
        assert_eq!(broker(&[(name, level)]), broker(&[]), "{name}={level}");
    }
    assert_eq!(
        refusal(Scope::Broker, &[("eligible.leader.replicas.version", "2")]),
        "eligible.leader.replicas.version (broker): found \"2\", allowed is 0 or 1"
    );
}

#[test]
fn acks_are_four_words_and_their_case_matters() {
    for (text, acks) in [
        ("all", Acks::All),
        ("-1", Acks::All),
        ("1", Acks::Leader),
        (" 0 ", Acks::None),
    ] {
        assert_eq!(producer(&[("acks", text)]).unwrap().acks, acks);
    }
    for text in ["ALL", "2", ""] {
        assert_eq!(
            refusal(Scope::Producer, &[("acks", text)]),
            format!("acks (producer): found \"{text}\", allowed is all, -1, 0 or 1")
        );
    }
}

#[test]
fn idempotence_goes_silently_off_unless_it_was_asked_for() {
    for pair in [("acks", "1"), ("acks", "0"), ("retries", "0")] {
        assert!(!producer(&[pair]).unwrap().enable_idempotence, "{pair:?}");
        assert!(
            texts(Scope::Producer, &[pair])[0].contains("switches idempotence off"),
            "{pair:?}"
        );
    }
    let asked = ("enable.idempotence", "true");
    assert!(producer(&[asked]).unwrap().enable_idempotence);
    assert_eq!(
        refusal(Scope::Producer, &[asked, ("acks", "1")]),
        "acks (producer): found \"1\" beside enable.idempotence = true, allowed is all or -1, or enable.idempotence = false"
    );
    assert_eq!(
        refusal(Scope::Producer, &[asked, ("retries", "0")]),
        "retries (producer): found \"0\" beside enable.idempotence = true, allowed is at least 1, or enable.idempotence = false"
    );
}

/// KAFKA-17927: until 3.9 this switched idempotence off.
#[test]
fn more_than_five_in_flight_is_an_error_unless_idempotence_is_switched_off() {
    let six = ("max.in.flight.requests.per.connection", "6");
    assert_eq!(
        refusal(Scope::Producer, &[six]),
        "max.in.flight.requests.per.connection (producer): found \"6\" beside enable.idempotence, which is true by default, allowed is 1 to 5, or enable.idempotence = false"
    );
    assert!(refusal(Scope::Producer, &[six, ("acks", "1")]).contains("1 to 5"));
    let off = producer(&[six, ("enable.idempotence", "false")]).unwrap();
    assert!(!off.enable_idempotence);
    assert_eq!(off.max_in_flight_requests_per_connection, 6);
}

#[test]
fn a_transactional_id_needs_idempotence() {
    let id = ("transactional.id", "t");
    assert!(producer(&[id]).is_ok());
    assert_eq!(
        refusal(Scope::Producer, &[id, ("acks", "1")]),
        "transactional.id (producer): found \"t\" beside an idempotence that is off, allowed is a producer with enable.idempotence, acks = all and retries above 0"
    );
}

#[test]
fn a_short_delivery_timeout_is_an_error_when_set_and_raised_when_not() {
    assert_eq!(
        refusal(Scope::Producer, &[("delivery.timeout.ms", "30004")]),
        "delivery.timeout.ms (producer): found \"30004\" beside linger.ms = 5 and request.timeout.ms = 30000, allowed is at least their sum, 30005"
    );
    assert!(producer(&[("delivery.timeout.ms", "30005")]).is_ok());
    let long = [("request.timeout.ms", "200000")];
    assert_eq!(producer(&long).unwrap().delivery_timeout_ms, 200_005);
    assert!(texts(Scope::Producer, &long)[0].contains("from 120000 to 200005"));
    let huge = [("linger.ms", "9223372036854775807")];
    let config = producer(&huge).unwrap();
    assert_eq!(config.linger_ms, i64::from(i32::MAX));
    assert_eq!(config.delivery_timeout_ms, i64::from(i32::MAX));
}

#[test]
fn a_first_reconnect_pause_alone_is_the_longest_too() {
    let config = consumer(&[("reconnect.backoff.ms", "70")]).unwrap();
    assert_eq!(config.reconnect_backoff_max_ms, 70);
    let both = [
        ("reconnect.backoff.ms", "70"),
        ("reconnect.backoff.max.ms", "900"),
    ];
    assert_eq!(producer(&both).unwrap().reconnect_backoff_max_ms, 900);
}

#[test]
fn a_group_id_may_hold_spaces_and_not_be_empty() {
    let config = consumer(&[("group.id", " test - group ")]).unwrap();
    assert_eq!(config.group_id.as_deref(), Some("test - group"));
    assert_eq!(
        refusal(Scope::Consumer, &[("group.id", "  ")]),
        "group.id (consumer): found \"  \", allowed is a text that is not empty, or no group.id at all"
    );
}

#[test]
fn auto_commit_without_a_group_is_off_and_an_error_when_asked_for() {
    let config = consumer(&[]).unwrap();
    assert_eq!((config.group_id, config.enable_auto_commit), (None, false));
    assert_eq!(
        refusal(Scope::Consumer, &[("enable.auto.commit", "true")]),
        "enable.auto.commit (consumer): found \"true\" beside no group.id, allowed is false, or a group.id"
    );
    assert!(consumer(&[("enable.auto.commit", "false")]).is_ok());
}

#[test]
fn offset_reset_by_duration_is_said_to_be_not_modelled() {
    for text in ["by_duration:PT1H", "by_duration", "LATEST", "newest"] {
        assert_eq!(
            refusal(Scope::Consumer, &[("auto.offset.reset", text)]),
            format!(
                "auto.offset.reset (consumer): found \"{text}\", allowed is earliest, latest or none (Kafka's by_duration:<ISO-8601 duration> is not modelled)"
            )
        );
    }
    let earliest = consumer(&[("auto.offset.reset", "earliest")]).unwrap();
    assert_eq!(earliest.auto_offset_reset, AutoOffsetReset::Earliest);
}

#[test]
fn isolation_level_is_one_of_two_words() {
    let committed = consumer(&[("isolation.level", "read_committed")]).unwrap();
    assert!(committed.read_committed);
    assert!(
        refusal(Scope::Consumer, &[("isolation.level", "READ_COMMITTED")])
            .ends_with("allowed is read_committed or read_uncommitted")
    );
}

#[test]
fn an_error_stays_on_one_line_whatever_was_found() {
    let line = refusal(Scope::Producer, &[("acks", "a\nb")]);
    assert!(line.contains("found \"a\\nb\"") && !line.contains('\n'));
}

#[test]
fn an_inert_flush_interval_is_warned_of_and_a_working_one_is_not() {
    let inert = ("log.flush.interval.ms", "1000");
    let said = |pairs: &[(&str, &str)]| {
        texts(Scope::Broker, pairs)
            .iter()
            .any(|text| text.starts_with("log.flush.interval.ms: 1000 does nothing by itself"))
    };
    assert!(said(&[inert]));
    assert!(!said(&[inert, ("log.flush.scheduler.interval.ms", "1000")]));
}

#[test]
fn min_insync_replicas_is_held_against_the_replication_factor() {
    let said = |min: &str, replicas: &str, what: &str| {
        let pairs = [
            ("min.insync.replicas", min),
            ("default.replication.factor", replicas),
        ];
        texts(Scope::Broker, &pairs)
            .iter()
            .any(|text| text.contains(what))
    };
    assert!(said("3", "2", "3 is above the replication factor 2"));
    assert!(said("3", "3", "3 equals the replication factor"));
    assert!(!said("2", "3", "the replication factor"));
    assert!(said("2", "3", "set it on the topic"));

    let broker = broker(&[]).unwrap();
    let topic = map(&[("min.insync.replicas", "2"), ("flush.ms", "1")]);
    let of = |replicas| topic_warnings(&broker, &topic, replicas).unwrap();
    assert_eq!(of(3).len(), 1, "flush.ms alone");
    assert_eq!(of(2).len(), 2);
    assert_eq!(of(1)[0].key, "min.insync.replicas");
}

#[test]
fn odd_combinations_are_each_warned_of_by_the_property_that_was_set() {
    for (scope, pairs, key) in [
        (
            Scope::Broker,
            &[("broker.session.timeout.ms", "3000")],
            "broker.session.timeout.ms",
        ),
        (
            Scope::Broker,
            &[("broker.heartbeat.interval.ms", "5000")],
            "broker.heartbeat.interval.ms",
        ),
        (
            Scope::Broker,
            &[("initial.broker.registration.timeout.ms", "9000")],
            "initial.broker.registration.timeout.ms",
        ),
        (
            Scope::Broker,
            &[("offsets.topic.replication.factor", "1")],
            "offsets.topic.replication.factor",
        ),
        (
            Scope::Broker,
            &[("request.timeout.ms", "-1")],
            "request.timeout.ms",
        ),
        (Scope::Producer, &[("retries", "3")], "retries"),
        (
            Scope::Producer,
            &[("enable.idempotence", "false")],
            "enable.idempotence",
        ),
        (
            Scope::Producer,
            &[("buffer.memory", "1000")],
            "buffer.memory",
        ),
        (
            Scope::Producer,
            &[("retry.backoff.ms", "2000")],
            "retry.backoff.ms",
        ),
        (
            Scope::Producer,
            &[("reconnect.backoff.ms", "10")],
            "reconnect.backoff.ms",
        ),
        (
            Scope::Consumer,
            &[("fetch.max.wait.ms", "30000")],
            "fetch.max.wait.ms",
        ),
        (
            Scope::Consumer,
            &[("default.api.timeout.ms", "100")],
            "default.api.timeout.ms",
        ),
    ] {
        let found = warnings(scope, &map(pairs)).expect("legal");
        assert!(found.iter().any(|w| w.key == key), "{pairs:?}: {found:?}");
    }
    let idle = [
        ("group.id", "g"),
        ("enable.auto.commit", "false"),
        ("auto.commit.interval.ms", "1"),
    ];
    assert_eq!(
        texts(Scope::Consumer, &idle),
        ["auto.commit.interval.ms: does nothing while enable.auto.commit is false"]
    );
}

#[test]
fn kafkas_own_defaults_are_not_odd_but_for_the_single_replica() {
    assert_eq!(texts(Scope::Producer, &[]), Vec::<String>::new());
    assert_eq!(
        texts(Scope::Consumer, &[("group.id", "g")]),
        Vec::<String>::new()
    );
    let found = texts(Scope::Broker, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("default.replication.factor: not set"));
}
