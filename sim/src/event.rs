//! The one stream of events that history, marks, invariants, attribution and the story read.

use crate::fault::{DiskOperation, FileKind};
use everyack_broker::disk::DiskError;
use everyack_broker::fact::Fact;
use everyack_broker::ids::NodeId;
use everyack_broker::time::Nanos;

/// Something that happened, when and at whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Simulated time.
    pub at: Nanos,
    /// The node that it happened at.
    pub node: NodeId,
    /// What.
    pub kind: EventKind,
}

impl Event {
    /// The fact, where it is one that replication brings with every record. Most events are: they mark
    /// nothing, no fault waits for them and no application knows of them, so that only invariants look.
    #[inline]
    pub fn of_replication(&self) -> Option<&Fact> {
        match &self.kind {
            EventKind::Fact(
                fact @ (Fact::HighWatermark { .. }
                | Fact::Appended {
                    as_leader: false, ..
                }),
            ) => Some(fact),
            _ => None,
        }
    }
}

/// A fact, a fault, or what a client application did or was told.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// Inside a process.
    Fact(Fact),
    /// Done to a process, a machine or a link.
    Fault(FaultEvent),
    /// At the boundary between an application and its client engine.
    Client(ClientEvent),
}

/// What the world did.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultEvent {
    /// The process was killed.
    Killed,
    /// Its machine lost power; so many bytes of the page cache were not durable, so many survived.
    PowerLost {
        /// Bytes that no sync covered.
        unsynced_bytes: u64,
        /// Of these, what the disk kept all the same.
        kept_bytes: u64,
    },
    /// The process started, for the n-th time (from 1).
    Started {
        /// Which incarnation.
        incarnation: u32,
    },
    /// The link from this node to the other was cut.
    LinkCut {
        /// The other end.
        to: NodeId,
    },
    /// The link from this node to the other works again.
    LinkHealed {
        /// The other end.
        to: NodeId,
    },
    /// A connection of this node was reset by the network.
    ConnectionReset {
        /// The other end.
        to: NodeId,
    },
    /// The operator moves the leadership of a partition to this broker.
    LeaderMoveAsked {
        /// Which partition of the topic.
        partition: i32,
    },
    /// The links that leave this node became slower.
    LinksSlowed {
        /// Extra one-way latency in microseconds.
        extra_us: u64,
    },
    /// The links from other brokers to this node became slower.
    CopiesSlowed {
        /// Extra one-way latency in microseconds.
        extra_us: u64,
    },
    /// The links from the controllers to this node became slower.
    MetadataSlowed {
        /// Extra one-way latency in microseconds.
        extra_us: u64,
    },
    /// From here on what this node proposes for an ISR does not get through.
    IsrProposalsHeld,
    /// It gets through again, what was held up too.
    IsrProposalsReleased,
    /// The process was asked to shut down in order (SIGTERM).
    ShutDownAsked,
    /// The process ended by itself: after an orderly shutdown, or over a disk that failed it.
    Halted,
    /// The process was stopped (SIGSTOP).
    Paused,
    /// The process goes on (SIGCONT).
    Resumed,
    /// The machine's disk was replaced by an empty one.
    DiskDestroyed,
    /// From here on the machine's disk serves one operation between two stalls.
    DiskSlowed {
        /// Length of a stall in milliseconds.
        stall_ms: u64,
    },
    /// From here on the n-th operation, and perhaps all after it, fails.
    DiskFails {
        /// Which operations.
        operation: DiskOperation,
        /// On which files; `None` on all.
        files: Option<FileKind>,
        /// With which error.
        error: DiskError,
        /// Which one first, from 1.
        nth: u32,
    },
    /// An operation of the disk failed.
    DiskFailed {
        /// Which operation.
        operation: DiskOperation,
        /// With which error.
        error: DiskError,
    },
    /// From here on the machine's disk says of each sync that it is done, and keeps nothing.
    DiskLies,
    /// A batch of a partition's log on the machine's disk is damaged.
    StoredDamaged {
        /// Which partition of the topic.
        partition: i32,
        /// First offset of the batch.
        first: i64,
        /// Last offset of the batch.
        last: i64,
        /// How it came to be.
        how: Damage,
    },
    /// The machine's disk works as it should again.
    DiskHealed,
    /// The machine's wall clock jumped.
    ClockJumped {
        /// How far, in milliseconds.
        by_ms: i64,
    },
    /// The machine's wall clock runs fast or slow.
    ClockDrifts {
        /// Parts per million.
        ppm: i64,
    },
    /// The machine's wall clock is set right.
    ClockSet,
    /// The application's handler will fail on the records that it is given next.
    HandlerFails {
        /// On how many different records.
        records: u32,
        /// How often on each.
        times: u32,
    },
    /// The application's handler works again.
    HandlerHealed,
    /// Every outage ended.
    Healed,
}

/// How stored bytes came to be others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// A bit of them flipped.
    FlippedBits,
    /// They had been written elsewhere, or others were written over them.
    MisdirectedWrite,
}

/// What an application did, or was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// The application called send().
    Sent(MessageId),
    /// The callback reported success; the offset is -1 with acks=0.
    Acked(MessageId, i64),
    /// The callback reported an error: its text.
    SendFailed(MessageId, String),
    /// A poll returned that many records.
    Polled(u32),
    /// One of the records that a poll returned.
    Delivered {
        /// Which message.
        message: MessageId,
        /// Offset it was read at.
        offset: i64,
    },
    /// The application processed a record.
    Processed {
        /// Which message.
        message: MessageId,
        /// Offset it was read at.
        offset: i64,
    },
    /// The application's handler threw on a record.
    ProcessingFailed {
        /// Which message.
        message: MessageId,
        /// Offset it was read at.
        offset: i64,
    },
    /// The application handed a record on which its handler had thrown to its producer, for a
    /// dead-letter topic.
    DeadLetterSent {
        /// Which message.
        message: MessageId,
        /// Offset it was read at.
        offset: i64,
    },
    /// A dead letter was acknowledged: whether its topic keeps it, the end of the run says.
    DeadLettered(MessageId),
    /// The producer was told that a dead letter failed: its text.
    DeadLetterFailed(MessageId, String),
    /// commitSync returned.
    CommitDone,
    /// commitSync threw: its text.
    CommitFailed(String),
    /// poll threw: its text.
    PollFailed(String),
    /// A consumer has a position on each of its partitions.
    PositionsFixed,
    /// A producer application has the fate of all its messages.
    ProducerFinished,
}

/// A message's identity: it stands in the first 12 bytes of its value (big endian).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// Producer application (from 0).
    pub producer: u32,
    /// Number of the message at that producer (from 0).
    pub sequence: u32,
    /// Partition that it is sent to; [`MessageId::ANY`] in the value, and until the first append or
    /// acknowledgement, where the partitioner chooses it.
    pub partition: i32,
}

impl MessageId {
    /// No partition is named.
    pub const ANY: i32 = -1;

    /// The identity of a message that was met in that partition.
    pub fn at(self, partition: i32) -> MessageId {
        MessageId { partition, ..self }
    }

    /// Length of the identity in a value.
    pub const LEN: usize = 12;

    /// A value of `len` bytes (at least [`Self::LEN`]) that carries the identity.
    pub fn to_value(self, len: usize) -> Vec<u8> {
        let mut value = vec![b'.'; len.max(Self::LEN)];
        value[0..4].copy_from_slice(&self.producer.to_be_bytes());
        value[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        value[8..12].copy_from_slice(&self.partition.to_be_bytes());
        value
    }

    /// The identity in a value, if the value is long enough.
    pub fn from_value(value: &[u8]) -> Option<MessageId> {
        let field = |at: usize| -> Option<[u8; 4]> { value.get(at..at + 4)?.try_into().ok() };
        Some(MessageId {
            producer: u32::from_be_bytes(field(0)?),
            sequence: u32::from_be_bytes(field(4)?),
            partition: i32::from_be_bytes(field(8)?),
        })
    }
}
