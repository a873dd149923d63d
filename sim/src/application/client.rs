//! Handles of the client engines, as Kafka's Java client has them.

use super::{About, Boundary, Context};
use crate::event::MessageId;
use everyack_broker::client::{
    Call, CallId, ClientError, ConsumerRecord, ProducerRecord, RecordMetadata, Reply,
    TopicPartitionOffset,
};
use everyack_broker::ids::TopicName;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll};
use std::time::Duration;

/// `KafkaProducer`.
#[derive(Clone)]
pub struct ProducerClient {
    context: Context,
}

/// The fate of one send: Java's `Future<RecordMetadata>`, or the arguments of the callback. To be
/// awaited, or dropped by a careless application.
pub struct Delivery {
    boundary: Rc<dyn Boundary>,
    call: Result<CallId, ClientError>,
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, ClientError>;

    /// Ready when the send has succeeded or failed.
    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        let call = match &self.call {
            Ok(call) => *call,
            Err(error) => return Poll::Ready(Err(error.clone())),
        };
        match self.boundary.take_answer(call, context.waker()) {
            None => Poll::Pending,
            Some(Reply::Sent(outcome)) => Poll::Ready(outcome),
            Some(Reply::Failed(error) | Reply::Done(Err(error))) => Poll::Ready(Err(error)),
            Some(other) => panic!("a send is answered by {other:?}"),
        }
    }
}

impl ProducerClient {
    pub(super) fn new(context: Context) -> ProducerClient {
        ProducerClient { context }
    }

    /// `send`: waits while metadata or `buffer.memory` is missing, at most `max.block.ms`, then gives
    /// the send's fate to await.
    pub async fn send(&self, record: ProducerRecord) -> Delivery {
        let about = About::Send(MessageId::from_value(&record.value));
        self.send_about(record, about).await
    }

    pub(super) async fn send_about(&self, record: ProducerRecord, about: About) -> Delivery {
        let call = self.context.call(Call::Send(Box::new(record)), about).await;
        if let Ok(call) = call {
            self.context.accepted(call).await;
        }
        Delivery {
            boundary: Rc::clone(&self.context.boundary),
            call,
        }
    }

    /// `flush`: waits until every record accepted before has a fate.
    pub async fn flush(&self) -> Result<(), ClientError> {
        done(&self.context, Call::Flush, About::Other).await
    }

    /// `close`: flushes and ends the engine.
    pub async fn close(&self) -> Result<(), ClientError> {
        done(&self.context, Call::Close, About::Other).await
    }
}

/// `KafkaConsumer`.
#[derive(Clone)]
pub struct ConsumerClient {
    context: Context,
}

/// What becomes of a `commitAsync`: the arguments of its callback.
pub struct AsyncCommit {
    context: Context,
    call: CallId,
}

impl AsyncCommit {
    /// Waits until the callback was invoked, which only another call to the consumer does.
    pub async fn outcome(self) -> Result<(), ClientError> {
        match self.context.answer(self.call).await {
            Reply::Done(outcome) => outcome,
            other => panic!("a commit is answered by {other:?}"),
        }
    }
}

impl ConsumerClient {
    pub(super) fn new(context: Context) -> ConsumerClient {
        ConsumerClient { context }
    }

    /// `assign`: takes these partitions.
    pub async fn assign(&self, partitions: Vec<(TopicName, i32)>) -> Result<(), ClientError> {
        done(&self.context, Call::Assign(partitions), About::Other).await
    }

    /// `poll`: records, none when the timeout (whole milliseconds) passes without, or what it throws.
    pub async fn poll(&self, timeout: Duration) -> Result<Vec<ConsumerRecord>, ClientError> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let call = Call::Poll(timeout_ms);
        let call = self.context.call(call, About::Poll).await?;
        match self.context.answer(call).await {
            Reply::Records(records) => Ok(records),
            Reply::Failed(error) | Reply::Done(Err(error)) => Err(error),
            other => panic!("a poll is answered by {other:?}"),
        }
    }

    /// `commitSync()`: commits the positions after the last poll.
    pub async fn commit_sync(&self) -> Result<(), ClientError> {
        done(&self.context, Call::CommitSync, About::Commit).await
    }

    /// `commitSync(Map)`: commits these offsets.
    pub async fn commit_sync_offsets(
        &self,
        offsets: Vec<TopicPartitionOffset>,
    ) -> Result<(), ClientError> {
        let call = Call::CommitSyncOffsets(offsets);
        done(&self.context, call, About::Commit).await
    }

    /// `commitAsync(Map, callback)`: sends the commit of these offsets once and returns. What becomes of
    /// it is known inside a later call to this consumer; to be awaited after one, or dropped.
    pub async fn commit_async(
        &self,
        offsets: Vec<TopicPartitionOffset>,
    ) -> Result<AsyncCommit, ClientError> {
        let call = Call::CommitAsync(Some(offsets));
        let call = self.context.call(call, About::Commit).await?;
        self.context.accepted(call).await;
        Ok(AsyncCommit {
            context: self.context.clone(),
            call,
        })
    }

    /// `seek`: the next poll reads from there; a leader epoch of -1 means none is given.
    pub async fn seek(&self, to: TopicPartitionOffset) -> Result<(), ClientError> {
        done(&self.context, Call::Seek(to), About::Other).await
    }

    /// `position` of every assigned partition, once each has one.
    pub async fn positions(&self) -> Result<Vec<TopicPartitionOffset>, ClientError> {
        let call = self.context.call(Call::Positions, About::Positions).await?;
        match self.context.answer(call).await {
            Reply::Positions(positions) => Ok(positions),
            Reply::Failed(error) | Reply::Done(Err(error)) => Err(error),
            other => panic!("positions are answered by {other:?}"),
        }
    }

    /// `close`: commits where auto-commit is on, and ends the engine.
    pub async fn close(&self) -> Result<(), ClientError> {
        done(&self.context, Call::Close, About::Other).await
    }
}

async fn done(context: &Context, call: Call, about: About) -> Result<(), ClientError> {
    let call = context.call(call, about).await?;
    match context.answer(call).await {
        Reply::Done(outcome) => outcome,
        Reply::Failed(error) => Err(error),
        other => panic!("{about:?} is answered by {other:?}"),
    }
}
