//! Properties of the consumer that the simulation reads.

use super::{ANY, Kind, Property, Scope, boolean, numeric};

const fn number(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    acts: &'static str,
) -> Property {
    numeric(
        Scope::Consumer,
        name,
        kind,
        default,
        ("ConsumerConfig", acts),
    )
}

pub(super) const PROPERTIES: &[Property] = &[
    number(
        "auto.commit.interval.ms",
        Kind::Int(0),
        "5000",
        "How often poll() commits the positions by itself, with enable.auto.commit.",
    ),
    Property {
        name: "auto.offset.reset",
        scope: Scope::Consumer,
        kind: Kind::OffsetReset,
        default: "latest",
        allowed: "earliest, latest or none (Kafka's by_duration:<ISO-8601 duration> is not modelled)",
        source: "ConsumerConfig",
        acts: "Where reading starts when the group has no committed offset, or one that the log no longer has.",
    },
    boolean(
        Scope::Consumer,
        "check.crcs",
        "true",
        (
            "ConsumerConfig",
            "Whether a fetched batch with a wrong checksum is refused.",
        ),
    ),
    number(
        "default.api.timeout.ms",
        Kind::Int(0),
        "60000",
        "How long commitSync() and position() try before they fail.",
    ),
    boolean(
        Scope::Consumer,
        "enable.auto.commit",
        "true",
        (
            "ConsumerConfig",
            "Whether poll() and close() commit the positions by themselves.",
        ),
    ),
    number(
        "fetch.max.bytes",
        Kind::Int(0),
        "52428800",
        "The bytes of all partitions together that the consumer asks for in one fetch.",
    ),
    number(
        "fetch.max.wait.ms",
        Kind::Int(0),
        "500",
        "How long a leader holds a fetch while fetch.min.bytes are not there.",
    ),
    number(
        "fetch.min.bytes",
        Kind::Int(0),
        "1",
        "The bytes that a leader waits for, up to fetch.max.wait.ms, before it answers a fetch.",
    ),
    Property {
        name: "group.id",
        scope: Scope::Consumer,
        kind: Kind::String,
        default: "null",
        allowed: "any text, spaces within it too",
        source: "ConsumerConfig",
        acts: "The group under which offsets are committed and found again.",
    },
    Property {
        name: "isolation.level",
        scope: Scope::Consumer,
        kind: Kind::OneOf(&["read_committed", "read_uncommitted"]),
        default: "read_uncommitted",
        allowed: "read_committed or read_uncommitted",
        source: "ConsumerConfig",
        acts: "Whether fetches stop at the last stable offset or at the high watermark.",
    },
    number(
        "max.partition.fetch.bytes",
        Kind::Int(0),
        "1048576",
        "The bytes of one partition that the consumer asks for in one fetch.",
    ),
    number(
        "max.poll.records",
        Kind::Int(1),
        "500",
        "The most records that one poll() returns.",
    ),
    number(
        "metadata.max.age.ms",
        Kind::Long(0),
        "300000",
        "How old the consumer's view of the leaders may become before it asks again without a reason.",
    ),
    number(
        "reconnect.backoff.max.ms",
        Kind::Long(0),
        "1000",
        "The longest pause between two attempts to connect to a broker.",
    ),
    number(
        "reconnect.backoff.ms",
        Kind::Long(0),
        "50",
        "The first pause between two attempts to connect to a broker.",
    ),
    number(
        "request.timeout.ms",
        Kind::Int(0),
        "30000",
        "How long the consumer waits for an answer before it takes the request for failed.",
    ),
    number(
        "retry.backoff.max.ms",
        Kind::Long(0),
        "1000",
        "The longest pause before a failed request is sent again.",
    ),
    number(
        "retry.backoff.ms",
        Kind::Long(0),
        "100",
        "The first pause before a failed request is sent again.",
    ),
    number(
        "socket.connection.setup.timeout.max.ms",
        Kind::Long(ANY),
        "30000",
        "The longest wait for a connection to be established.",
    ),
    number(
        "socket.connection.setup.timeout.ms",
        Kind::Long(ANY),
        "10000",
        "The first wait for a connection to be established.",
    ),
];
