//! Properties of the producer that the simulation reads.

use super::{ANY, Kind, Property, Scope, boolean, numeric};

const fn number(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    acts: &'static str,
) -> Property {
    numeric(
        Scope::Producer,
        name,
        kind,
        default,
        ("ProducerConfig", acts),
    )
}

pub(super) const PROPERTIES: &[Property] = &[
    Property {
        name: "acks",
        scope: Scope::Producer,
        kind: Kind::OneOf(&["all", "-1", "0", "1"]),
        default: "all",
        allowed: "all, -1, 0 or 1",
        source: "ProducerConfig",
        acts: "Whose copy a write waits for before it counts as sent: nobody's, the leader's, every in-sync replica's.",
    },
    number(
        "batch.size",
        Kind::Int(0),
        "16384",
        "The bytes of one partition that are gathered into one batch.",
    ),
    number(
        "buffer.memory",
        Kind::Long(0),
        "33554432",
        "The bytes of unsent batches after which send() waits, up to max.block.ms.",
    ),
    number(
        "delivery.timeout.ms",
        Kind::Int(0),
        "120000",
        "How long after send() a record may stay without an outcome before it fails.",
    ),
    boolean(
        Scope::Producer,
        "enable.idempotence",
        "true",
        (
            "ProducerConfig",
            "Whether batches carry a producer id and sequence, so that a retry is neither stored twice nor out of order.",
        ),
    ),
    number(
        "linger.ms",
        Kind::Long(0),
        "5",
        "How long a batch waits for more records before it is sent.",
    ),
    number(
        "max.block.ms",
        Kind::Long(0),
        "60000",
        "How long send() waits for metadata and memory before it fails.",
    ),
    number(
        "max.in.flight.requests.per.connection",
        Kind::Int(1),
        "5",
        "The produce requests that wait for an answer on one connection at a time.",
    ),
    number(
        "max.request.size",
        Kind::Int(0),
        "1048576",
        "The largest record that send() takes, and the largest produce request.",
    ),
    number(
        "metadata.max.age.ms",
        Kind::Long(0),
        "300000",
        "How old the producer's view of the leaders may become before it asks again without a reason.",
    ),
    boolean(
        Scope::Producer,
        "partitioner.adaptive.partitioning.enable",
        "true",
        (
            "ProducerConfig",
            "Whether a record without a partition and a key goes less often to a partition with a longer queue.",
        ),
    ),
    number(
        "partitioner.availability.timeout.ms",
        Kind::Long(0),
        "0",
        "How long a node may take nothing before adaptive partitioning leaves out its partitions; 0 for ever.",
    ),
    boolean(
        Scope::Producer,
        "partitioner.ignore.keys",
        "false",
        (
            "ProducerConfig",
            "Whether a record without a partition is placed as if it had no key.",
        ),
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
        "How long the producer waits for an answer before it takes the request for failed, and how long a leader waits for its followers.",
    ),
    number(
        "retries",
        Kind::Int(0),
        "2147483647",
        "How often a failed batch is sent again.",
    ),
    number(
        "retry.backoff.max.ms",
        Kind::Long(0),
        "1000",
        "The longest pause before a failed batch is sent again.",
    ),
    number(
        "retry.backoff.ms",
        Kind::Long(0),
        "100",
        "The first pause before a failed batch is sent again.",
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
