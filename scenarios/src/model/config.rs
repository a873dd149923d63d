//! What the guarantee model reads of a configuration: the settings that decide what may be lost.

use everyack_broker::config::{
    Acks, AutoOffsetReset, BrokerConfig, ConfigError, ConsumerConfig, ProducerConfig, TopicConfig,
};
use everyack_sim::spec::{Applications, PropertyFiles, Topology};

/// The settings that decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellConfig {
    /// Brokers of the cluster.
    pub brokers: u32,
    /// Partitions of the topic; where there are several, other brokers lead the others.
    pub partitions: u32,
    /// Replicas of each partition of the topic.
    pub replication_factor: i16,
    /// `acks`.
    pub acks: Acks,
    /// `min(min.insync.replicas, replication factor)`, as `Partition.effectiveMinIsr` (since 3.7).
    pub effective_min_isr: i32,
    /// `unclean.leader.election.enable` of the topic.
    pub unclean: bool,
    /// What makes the topic's records durable.
    pub flush: Flush,
    /// What makes commits durable: `__consumer_offsets` has the brokers' flush policy, a topic's
    /// own covers the topic alone (`GroupCoordinatorService.groupMetadataTopicConfigs`).
    pub offsets_flush: Flush,
    /// `offsets.topic.replication.factor`.
    pub offsets_replication_factor: i16,
    /// The consumer application.
    pub application: Application,
    /// `auto.offset.reset`.
    pub auto_offset_reset: AutoOffsetReset,
}

/// When a partition's records become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// `log.flush.interval.messages=1`: inside the append, before the acknowledgement and before the
    /// follower's next fetch offset (`UnifiedLog.append`).
    Every,
    /// Every so many messages. What a power loss takes is bounded by it, not forbidden.
    Messages(i64),
    /// Every so many milliseconds: `log.flush.interval.ms` with a `log.flush.scheduler.interval.ms`.
    Time(i64),
    /// When the operating system likes; `log.flush.interval.ms` alone is this too, since nothing
    /// looks at it (`LogManager.startup`, `ServerLogConfigs`).
    Os,
}

impl Flush {
    fn of(broker: &BrokerConfig, topic: &TopicConfig) -> Flush {
        // Zero or less runs the flusher once (`KafkaScheduler.schedule`), which bounds nothing.
        let looked_at = (1..i64::MAX).contains(&broker.log_flush_scheduler_interval_ms);
        if topic.flush_messages <= 1 {
            Flush::Every
        } else if looked_at && topic.flush_ms < i64::MAX {
            Flush::Time(topic.flush_ms)
        } else if topic.flush_messages < i64::MAX {
            Flush::Messages(topic.flush_messages)
        } else {
            Flush::Os
        }
    }

    /// Whether an acknowledged record of acks=1 or all is durable on each replica that has it.
    pub fn is_every(self) -> bool {
        self == Flush::Every
    }
}

/// Consumer applications, by their names in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Application {
    /// poll, process every record, `commitSync()`.
    CommitAfterProcessing,
    /// poll, `commitSync()`, process every record.
    CommitBeforeProcessing,
    /// poll and process every record in the same thread, `enable.auto.commit=true`.
    AutoCommit,
    /// poll, process every record, commit the offset behind the last one, without its leader epoch.
    CommitExplicitOffsets,
    /// The same with its leader epoch.
    CommitExplicitOffsetsWithEpoch,
    /// poll, process every record, `commitAsync()`.
    CommitAsync,
    /// As the first; a record on which the handler throws is tried again in place.
    RetryOnException,
    /// As the first; a record on which the handler throws is passed over.
    SkipOnException,
    /// As the first; such a record goes to a dead-letter topic, and the commit waits for that.
    DeadLetter,
    /// The same, and nobody waits for it.
    DeadLetterUnawaited,
    /// Ends when the handler throws, and closes its consumer, which commits by auto-commit.
    CloseOnException,
    /// Ends when the handler throws, and calls `commitSync()` before.
    CommitOnException,
}

impl Application {
    /// Every application, in the order in which they are listed.
    pub const ALL: [Application; 12] = [
        Application::CommitAfterProcessing,
        Application::CommitBeforeProcessing,
        Application::AutoCommit,
        Application::CommitExplicitOffsets,
        Application::CommitExplicitOffsetsWithEpoch,
        Application::CommitAsync,
        Application::RetryOnException,
        Application::SkipOnException,
        Application::DeadLetter,
        Application::DeadLetterUnawaited,
        Application::CloseOnException,
        Application::CommitOnException,
    ];

    /// The name in the registry.
    pub fn name(self) -> &'static str {
        match self {
            Application::CommitAfterProcessing => "commit-after-processing",
            Application::CommitBeforeProcessing => "commit-before-processing",
            Application::AutoCommit => "auto-commit",
            Application::CommitExplicitOffsets => "commit-explicit-offsets",
            Application::CommitExplicitOffsetsWithEpoch => "commit-explicit-offsets-with-epoch",
            Application::CommitAsync => "commit-async",
            Application::RetryOnException => "retry-on-exception",
            Application::SkipOnException => "skip-on-exception",
            Application::DeadLetter => "dead-letter",
            Application::DeadLetterUnawaited => "dead-letter-unawaited",
            Application::CloseOnException => "close-on-exception",
            Application::CommitOnException => "commit-on-exception",
        }
    }

    /// Whether it commits by auto-commit alone.
    pub fn needs_auto_commit(self) -> bool {
        matches!(
            self,
            Application::AutoCommit | Application::CloseOnException
        )
    }

    /// Whether it ends when its handler throws, and is started again.
    pub fn leaves_on_exception(self) -> bool {
        let leaving = [
            Application::CloseOnException,
            Application::CommitOnException,
        ];
        leaving.contains(&self)
    }

    /// The application of that name.
    pub fn from_name(name: &str) -> Option<Application> {
        Application::ALL.into_iter().find(|a| a.name() == name)
    }
}

/// A configuration that cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CellConfigError {
    /// Kafka would not start with it.
    #[error(transparent)]
    Property(#[from] ConfigError),
    /// No such application.
    #[error("application: found \"{found}\", allowed is {allowed}")]
    Application {
        /// What stands there.
        found: String,
        /// The names that there are.
        allowed: String,
    },
    /// A topic with more replicas than brokers cannot be created.
    #[error("{key}: found {found}, allowed is 1 to {brokers}, the number of brokers")]
    Replicas {
        /// Which replication factor.
        key: &'static str,
        /// Its value.
        found: i16,
        /// Brokers.
        brokers: u32,
    },
    /// The application commits by auto-commit, and that is off.
    #[error(
        "enable.auto.commit: found false, allowed is true with an application that commits by nothing else (auto-commit, close-on-exception)"
    )]
    AutoCommitOff,
}

impl CellConfig {
    /// Reads what decides from property maps.
    ///
    /// # Errors
    /// What Kafka refuses, an unknown application, and more replicas than brokers.
    pub fn new(
        topology: &Topology,
        files: &PropertyFiles,
        applications: &Applications,
    ) -> Result<CellConfig, CellConfigError> {
        let broker = BrokerConfig::from_properties(&files.broker)?;
        let topic = TopicConfig::resolve(&broker, &files.topic)?;
        let producer = ProducerConfig::from_properties(&files.producer)?;
        let consumer = ConsumerConfig::from_properties(&files.consumer)?;
        let application = Application::from_name(&applications.consumer).ok_or_else(|| {
            CellConfigError::Application {
                found: applications.consumer.clone(),
                allowed: Application::ALL.map(Application::name).join(", "),
            }
        })?;
        if application.needs_auto_commit() && !consumer.enable_auto_commit {
            return Err(CellConfigError::AutoCommitOff);
        }
        for (key, factor) in [
            ("default.replication.factor", topology.replication_factor),
            (
                "offsets.topic.replication.factor",
                broker.offsets_topic_replication_factor,
            ),
        ] {
            if factor < 1 || u32::from(factor.unsigned_abs()) > topology.brokers {
                return Err(CellConfigError::Replicas {
                    key,
                    found: factor,
                    brokers: topology.brokers,
                });
            }
        }
        Ok(CellConfig {
            brokers: topology.brokers,
            partitions: u32::try_from(topology.partitions).unwrap_or(0).max(1),
            replication_factor: topology.replication_factor,
            acks: producer.acks,
            effective_min_isr: topic
                .min_insync_replicas
                .min(i32::from(topology.replication_factor)),
            unclean: topic.unclean_leader_election_enable,
            flush: Flush::of(&broker, &topic),
            offsets_flush: Flush::of(&broker, &broker.topic_defaults),
            offsets_replication_factor: broker.offsets_topic_replication_factor,
            application,
            auto_offset_reset: consumer.auto_offset_reset,
        })
    }

    /// Whether there is another replica to elect, to copy from, to fall behind.
    pub fn is_replicated(&self) -> bool {
        self.replication_factor > 1
    }

    /// Whether one broker leads several partitions of the topic: when it is alone in the ISR of one, it
    /// may still be with others in that of another.
    pub fn leads_several(&self) -> bool {
        self.partitions > self.brokers
    }

    /// Whether a leader that is alone in its ISR acknowledges: acks=all does so while the ISR is no
    /// smaller than `min.insync.replicas` (`Partition.appendRecordsToLeader`).
    pub fn takes_alone(&self) -> bool {
        self.acks != Acks::All || self.effective_min_isr == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flush(broker: &[(&str, &str)], topic: &[(&str, &str)]) -> (Flush, Flush) {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect::<everyack_broker::config::PropertyMap>()
        };
        let broker = BrokerConfig::from_properties(&map(broker)).unwrap();
        let topic = TopicConfig::resolve(&broker, &map(topic)).unwrap();
        (
            Flush::of(&broker, &topic),
            Flush::of(&broker, &broker.topic_defaults),
        )
    }

    #[test]
    fn an_interval_without_the_schedulers_is_the_operating_systems() {
        assert_eq!(
            flush(&[("log.flush.interval.ms", "1000")], &[]).0,
            Flush::Os
        );
        assert_eq!(
            flush(
                &[
                    ("log.flush.interval.ms", "1000"),
                    ("log.flush.scheduler.interval.ms", "500"),
                ],
                &[]
            )
            .0,
            Flush::Time(1000)
        );
        assert_eq!(
            flush(
                &[
                    ("log.flush.interval.ms", "1000"),
                    ("log.flush.interval.messages", "10000"),
                ],
                &[]
            )
            .0,
            Flush::Messages(10_000)
        );
    }

    #[test]
    fn a_topics_own_flush_does_not_make_commits_durable() {
        let (topic, offsets) = flush(&[], &[("flush.messages", "1")]);
        assert_eq!((topic, offsets), (Flush::Every, Flush::Os));
        let (topic, offsets) = flush(&[("log.flush.interval.messages", "1")], &[]);
        assert_eq!((topic, offsets), (Flush::Every, Flush::Every));
    }
}
