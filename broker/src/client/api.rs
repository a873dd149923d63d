//! What an application may ask of its client engine, and what it is answered.

use crate::ids::*;
use crate::wire::ErrorCode;
use bytes::Bytes;

/// Names one call of an application to its engine. Never reused within a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// `KafkaProducer.send`: answered twice, by `Reply::Accepted` once the record is in the
    /// accumulator (at once unless metadata or `buffer.memory` is missing, at most `max.block.ms`)
    /// and by `Reply::Sent` when its fate is known. An error before the accumulator is a `Sent` alone.
    Send(Box<ProducerRecord>),
    /// `KafkaProducer.flush`: answered by `Reply::Done` when everything accepted before has a fate.
    Flush,
    /// `KafkaProducer.close` and `KafkaConsumer.close`: flushes, or auto-commits, then `Reply::Done`.
    Close,
    /// `KafkaConsumer.assign`: takes these partitions; answered by `Reply::Done` at once.
    Assign(Vec<(TopicName, i32)>),
    /// `KafkaConsumer.poll` with a timeout in milliseconds; answered by `Reply::Records` or
    /// `Reply::Failed`.
    Poll(u64),
    /// `KafkaConsumer.commitSync()`: the positions after the last poll.
    CommitSync,
    /// `KafkaConsumer.commitSync(Map)`: these offsets; a leader epoch of -1 means none was given.
    CommitSyncOffsets(Vec<TopicPartitionOffset>),
    /// `KafkaConsumer.commitAsync`: the positions after the last poll, or these offsets. Answered
    /// twice: by `Reply::Accepted` when the call returns, at once, and by `Reply::Done` when the
    /// callback is invoked, inside a later call of the application (`poll`, a commit, `close`). It is
    /// never sent again; a consumer that is closed first invokes no callback.
    CommitAsync(Option<Vec<TopicPartitionOffset>>),
    /// `KafkaConsumer.seek`: the next poll reads from there. A leader epoch of -1 means none was
    /// given, and the position is not validated (`seek(TopicPartition, long)`). Answered by
    /// `Reply::Done` at once; an error where the partition is not assigned.
    Seek(TopicPartitionOffset),
    /// `KafkaConsumer.position` of every assigned partition; answered by `Reply::Positions` once
    /// each has one.
    Positions,
}

/// A record to send.
#[derive(Debug, Clone, PartialEq)]
pub struct ProducerRecord {
    /// Topic.
    pub topic: TopicName,
    /// Explicit partition; `None` lets the partitioner choose, by the key or by the load.
    pub partition: Option<i32>,
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Bytes,
}

/// An offset to commit, or a position.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicPartitionOffset {
    /// Topic.
    pub topic: TopicName,
    /// Partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: Offset,
    /// Leader epoch of the record before it, -1 for none.
    pub leader_epoch: LeaderEpoch,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The record is in the accumulator, or `commitAsync` has returned.
    Accepted,
    /// The callback of a send.
    Sent(Result<RecordMetadata, ClientError>),
    /// The call is done.
    Done(Result<(), ClientError>),
    /// What a poll returns; may be empty.
    Records(Vec<ConsumerRecord>),
    /// Positions of the assigned partitions.
    Positions(Vec<TopicPartitionOffset>),
    /// What a poll throws.
    Failed(ClientError),
}

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordMetadata {
    /// Partition.
    pub partition: i32,
    /// Offset; -1 with acks=0, where no broker ever says.
    pub offset: Offset,
}

/// A record read.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerRecord {
    /// Topic.
    pub topic: TopicName,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: Offset,
    /// Leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
    /// Timestamp in milliseconds.
    pub timestamp: i64,
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Bytes,
}

/// What Kafka's Java client throws or hands to the callback.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// `TimeoutException`.
    #[error("TimeoutException: {0}")]
    Timeout(&'static str),
    /// The broker's answer, where it is not retried.
    #[error("{}", .0.name())]
    Broker(ErrorCode),
    /// `RecordTooLargeException`.
    #[error("RecordTooLargeException: {size} bytes, max.request.size is {limit}")]
    RecordTooLarge {
        /// Serialized size.
        size: usize,
        /// `max.request.size`.
        limit: usize,
    },
    /// `NoOffsetForPartitionException`: `auto.offset.reset=none` and no committed offset.
    #[error("NoOffsetForPartitionException")]
    NoOffsetForPartition,
    /// `OffsetOutOfRangeException` under `auto.offset.reset=none`.
    #[error("OffsetOutOfRangeException")]
    OffsetOutOfRange,
    /// `LogTruncationException` (KIP-320) under `auto.offset.reset=none`.
    #[error("LogTruncationException")]
    LogTruncation,
    /// `RetriableCommitFailedException`: an async commit failed and is not repeated; a later one may
    /// succeed.
    #[error("RetriableCommitFailedException")]
    RetriableCommitFailed,
    /// `IllegalStateException`: seek on a partition that is not assigned.
    #[error("IllegalStateException: no current assignment for the partition")]
    NotAssigned,
    /// The engine was closed.
    #[error("the client is closed")]
    Closed,
}
