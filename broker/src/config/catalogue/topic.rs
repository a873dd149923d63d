//! Properties of a topic that the simulation reads. The default given is the one of `LogConfig`;
//! a topic takes the broker's value of the same setting before it.

use super::{ANY, Kind, Property, Scope, boolean, numeric};

pub(super) const PROPERTIES: &[Property] = &[
    Property {
        name: "cleanup.policy",
        scope: Scope::Topic,
        kind: Kind::CleanupPolicy,
        default: "delete",
        allowed: "delete, compact, or both with a comma between",
        source: "LogConfig",
        acts: "What becomes of old segments: they are deleted, compacted by key, or both.",
    },
    numeric(
        Scope::Topic,
        "delete.retention.ms",
        Kind::Long(0),
        "86400000",
        (
            "LogConfig",
            "How long a cleaned log keeps the tombstone of a deleted key.",
        ),
    ),
    numeric(
        Scope::Topic,
        "file.delete.delay.ms",
        Kind::Long(0),
        "60000",
        (
            "LogConfig",
            "How long the files of a deleted segment stay on the disk, renamed to `.deleted`.",
        ),
    ),
    numeric(
        Scope::Topic,
        "flush.messages",
        Kind::Long(1),
        "9223372036854775807",
        (
            "LogConfig",
            "An append that brings a partition's unflushed messages to this many syncs its log before it is acknowledged.",
        ),
    ),
    numeric(
        Scope::Topic,
        "flush.ms",
        Kind::Long(0),
        "9223372036854775807",
        (
            "LogConfig",
            "A pass of the flusher syncs the topic's partitions whose last flush is older than this.",
        ),
    ),
    numeric(
        Scope::Topic,
        "index.interval.bytes",
        Kind::Int(0),
        "4096",
        (
            "LogConfig",
            "Bytes appended to a segment between two entries of its indexes.",
        ),
    ),
    numeric(
        Scope::Topic,
        "internal.segment.bytes",
        Kind::Int(1),
        "null",
        (
            "LogConfig",
            "In place of segment.bytes, without its lower bound: Kafka's own means to test with small segments.",
        ),
    ),
    numeric(
        Scope::Topic,
        "max.compaction.lag.ms",
        Kind::Long(1),
        "9223372036854775807",
        (
            "LogConfig",
            "A record older than this makes its log cleanable, and a compacted topic's segment roll, whatever the dirty ratio.",
        ),
    ),
    numeric(
        Scope::Topic,
        "max.message.bytes",
        Kind::Int(0),
        "1048588",
        (
            "LogConfig",
            "The largest record batch that a leader appends; a larger one is refused.",
        ),
    ),
    numeric(
        Scope::Topic,
        "message.timestamp.after.max.ms",
        Kind::Long(0),
        "3600000",
        (
            "LogConfig",
            "How far a record's timestamp may lie in the leader's future before the batch is refused.",
        ),
    ),
    numeric(
        Scope::Topic,
        "message.timestamp.before.max.ms",
        Kind::Long(0),
        "9223372036854775807",
        (
            "LogConfig",
            "How far a record's timestamp may lie in the leader's past before the batch is refused.",
        ),
    ),
    Property {
        name: "message.timestamp.type",
        scope: Scope::Topic,
        kind: Kind::OneOf(&["CreateTime", "LogAppendTime"]),
        default: "CreateTime",
        allowed: "CreateTime or LogAppendTime",
        source: "LogConfig",
        acts: "Whether a record keeps its producer's time or gets the leader's.",
    },
    Property {
        name: "min.cleanable.dirty.ratio",
        scope: Scope::Topic,
        kind: Kind::Fraction,
        default: "0.5",
        allowed: "a number from 0 to 1",
        source: "LogConfig",
        acts: "The part of a compacted log that is not cleaned yet from which on the cleaner takes it up.",
    },
    numeric(
        Scope::Topic,
        "min.compaction.lag.ms",
        Kind::Long(0),
        "0",
        ("LogConfig", "How long a record is safe from the cleaner."),
    ),
    numeric(
        Scope::Topic,
        "min.insync.replicas",
        Kind::Int(1),
        "1",
        (
            "LogConfig",
            "The in-sync replicas that acks=all and the advance of the high watermark need.",
        ),
    ),
    numeric(
        Scope::Topic,
        "retention.bytes",
        Kind::Long(ANY),
        "-1",
        (
            "LogConfig",
            "Size above which a partition's oldest segments are deleted; negative for any size.",
        ),
    ),
    numeric(
        Scope::Topic,
        "retention.ms",
        Kind::Long(-1),
        "604800000",
        (
            "LogConfig",
            "Age of its newest record at which a segment is deleted; -1 for never.",
        ),
    ),
    numeric(
        Scope::Topic,
        "segment.bytes",
        Kind::Int(1048576),
        "1073741824",
        ("LogConfig", "Size at which a new segment is begun."),
    ),
    numeric(
        Scope::Topic,
        "segment.index.bytes",
        Kind::Int(4),
        "10485760",
        (
            "LogConfig",
            "Size of an index at which a new segment is begun.",
        ),
    ),
    numeric(
        Scope::Topic,
        "segment.ms",
        Kind::Long(1),
        "604800000",
        (
            "LogConfig",
            "Age of its first record at which a new segment is begun, by the next append.",
        ),
    ),
    boolean(
        Scope::Topic,
        "unclean.leader.election.enable",
        "false",
        (
            "LogConfig",
            "Whether the controller may elect a replica outside the ISR.",
        ),
    ),
];
