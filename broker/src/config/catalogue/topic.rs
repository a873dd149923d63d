//! Properties of a topic that the simulation reads. The default given is the one of `LogConfig`;
//! a topic takes the broker's value of the same setting before it.

use super::{Kind, Property, Scope, boolean, numeric};

pub(super) const PROPERTIES: &[Property] = &[
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
        "min.insync.replicas",
        Kind::Int(1),
        "1",
        (
            "LogConfig",
            "The in-sync replicas that acks=all and the advance of the high watermark need.",
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
