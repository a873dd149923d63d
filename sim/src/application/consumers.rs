//! Consumer applications: the loops of the guide.
//!
//! An exception of `poll` or `commitSync` is handled as a careful application does: it goes on with
//! the next round, and leaves the loop only on those that the same client would throw for ever. The
//! event at the client's boundary is the log line.

use super::{ConsumerClient, Context};
use everyack_broker::client::{ClientError, ConsumerRecord, TopicPartitionOffset};
use everyack_broker::ids::NO_EPOCH;
use std::time::Duration;

/// The guide's `poll(Duration.ofMillis(100))`.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// Pause after an exception of poll, so that an application whose poll throws at once does not spin.
const PAUSE: Duration = Duration::from_millis(100);
/// Longer than any run.
const A_DAY: Duration = Duration::from_secs(86_400);

/// Poll, process every record, then commitSync(): an offset is committed only after its record was
/// processed. A round without records has nothing to commit.
pub(super) async fn commit_after_processing(context: Context) -> Result<(), ClientError> {
    let consumer = assigned_consumer(&context).await?;
    loop {
        let records = poll(&context, &consumer).await?;
        for record in &records {
            context.process(record).await;
        }
        if !records.is_empty() {
            commit(&consumer).await?;
        }
    }
}

/// Poll, commitSync(), then process: at most once.
pub(super) async fn commit_before_processing(context: Context) -> Result<(), ClientError> {
    let consumer = assigned_consumer(&context).await?;
    loop {
        let records = poll(&context, &consumer).await?;
        if !records.is_empty() {
            commit(&consumer).await?;
        }
        for record in &records {
            context.process(record).await;
        }
    }
}

/// Poll and process in the same thread, `enable.auto.commit` true: poll itself commits what the
/// polls before it returned.
pub(super) async fn auto_commit(context: Context) -> Result<(), ClientError> {
    let consumer = assigned_consumer(&context).await?;
    loop {
        for record in &poll(&context, &consumer).await? {
            context.process(record).await;
        }
    }
}

/// Whether a committed offset carries the leader epoch of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WithEpoch {
    /// `new OffsetAndMetadata(offset)`.
    No,
    /// `new OffsetAndMetadata(offset, record.leaderEpoch(), "")`.
    Yes,
}

/// Poll, process every record, then commitSync(Map): of each partition the offset behind the last
/// record that was processed.
pub(super) async fn commit_explicit_offsets(
    context: Context,
    with_epoch: WithEpoch,
) -> Result<(), ClientError> {
    let consumer = assigned_consumer(&context).await?;
    loop {
        let mut processed = Vec::new();
        for record in &poll(&context, &consumer).await? {
            context.process(record).await;
            note(&mut processed, record, with_epoch);
        }
        if !processed.is_empty() {
            go_on(consumer.commit_sync_offsets(processed).await)?;
        }
    }
}

/// The same with commitAsync(Map), whose callback only logs: what fails is made good by a later commit.
pub(super) async fn commit_async(context: Context) -> Result<(), ClientError> {
    let consumer = assigned_consumer(&context).await?;
    loop {
        let mut processed = Vec::new();
        for record in &poll(&context, &consumer).await? {
            context.process(record).await;
            note(&mut processed, record, WithEpoch::Yes);
        }
        if !processed.is_empty() {
            go_on(consumer.commit_async(processed).await.map(drop))?;
        }
    }
}

/// The offset behind a processed record, in place of an earlier one of its partition.
fn note(processed: &mut Vec<TopicPartitionOffset>, record: &ConsumerRecord, with_epoch: WithEpoch) {
    let known = processed
        .iter_mut()
        .find(|p| p.partition == record.partition && p.topic == record.topic);
    let leader_epoch = match with_epoch {
        WithEpoch::Yes => record.leader_epoch,
        WithEpoch::No => NO_EPOCH,
    };
    let offset = record.offset + 1;
    match known {
        Some(known) => (known.offset, known.leader_epoch) = (offset, leader_epoch),
        None => processed.push(TopicPartitionOffset {
            topic: record.topic.clone(),
            partition: record.partition,
            offset,
            leader_epoch,
        }),
    }
}

/// What is done with a record on which the handler throws, before the application goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnException {
    /// Nothing.
    Skip,
    /// It is sent to the dead-letter topic.
    SendDeadLetter,
    /// It is sent there, again and again until that succeeds.
    AwaitDeadLetter,
}

/// Poll, process every record, commitSync(); a record on which the handler throws does not stop it.
pub(super) async fn on_exception(context: Context, what: OnException) -> Result<(), ClientError> {
    let consumer = assigned_consumer(&context).await?;
    loop {
        let records = poll(&context, &consumer).await?;
        for record in &records {
            if context.try_process(record).await.is_ok() {
                continue;
            }
            match what {
                OnException::Skip => {}
                OnException::SendDeadLetter => drop(context.send_dead_letter(record).await),
                OnException::AwaitDeadLetter => {
                    while let Err(error) = context.send_dead_letter(record).await.await {
                        if is_fatal(&error) {
                            return Err(error);
                        }
                        context.sleep(PAUSE).await;
                    }
                }
            }
        }
        if !records.is_empty() {
            commit(&consumer).await?;
        }
    }
}

/// What stands in the `finally` around the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnTheWayOut {
    /// `consumer.close()`.
    Close,
    /// `consumer.commitSync(); consumer.close()`.
    CommitAndClose,
}

/// Poll, process every record, commitSync() unless auto-commit does; an exception of the handler leaves
/// the loop, and the process with it. A supervisor starts it again.
pub(super) async fn leave_on_exception(
    context: Context,
    on_the_way_out: OnTheWayOut,
) -> Result<(), ClientError> {
    let consumer = assigned_consumer(&context).await?;
    loop {
        let records = poll(&context, &consumer).await?;
        for record in &records {
            if context.try_process(record).await.is_ok() {
                continue;
            }
            if on_the_way_out == OnTheWayOut::CommitAndClose {
                commit(&consumer).await?;
            }
            consumer.close().await?;
            // The process ends with an error, whatever it is called.
            return Err(ClientError::Closed);
        }
        if !records.is_empty() && on_the_way_out == OnTheWayOut::CommitAndClose {
            commit(&consumer).await?;
        }
    }
}

/// The application's consumer with its partitions assigned, and a position on each. One that gets no
/// partition stands by.
async fn assigned_consumer(context: &Context) -> Result<ConsumerClient, ClientError> {
    let consumer = context.consumer();
    consumer.assign(context.assigned_partitions()).await?;
    loop {
        match consumer.positions().await {
            Ok(_) if context.assigned_partitions().is_empty() => context.sleep(A_DAY).await,
            Ok(_) => return Ok(consumer),
            Err(error) if is_without_position(&error) && context.is_attended() => {
                go_on(reset_offsets(context, &consumer).await)?;
            }
            Err(error) if is_fatal(&error) => return Err(error),
            Err(_) => context.sleep(PAUSE).await,
        }
    }
}

/// What an operator does about `auto.offset.reset=none` where it throws, before the application is
/// started again: `kafka-consumer-groups --reset-offsets --to-offset 0`, the earliest while retention has
/// taken nothing.
async fn reset_offsets(context: &Context, consumer: &ConsumerClient) -> Result<(), ClientError> {
    let earliest = |(topic, partition)| TopicPartitionOffset {
        topic,
        partition,
        offset: 0,
        leader_epoch: NO_EPOCH,
    };
    let partitions = context.assigned_partitions().into_iter();
    consumer
        .commit_sync_offsets(partitions.map(earliest).collect())
        .await
}

async fn poll(
    context: &Context,
    consumer: &ConsumerClient,
) -> Result<Vec<ConsumerRecord>, ClientError> {
    match consumer.poll(POLL_TIMEOUT).await {
        Err(error) if is_without_position(&error) && context.is_attended() => {
            go_on(reset_offsets(context, consumer).await)?;
            Err(error)
        }
        Err(error) if !is_fatal(&error) => {
            context.sleep(PAUSE).await;
            Ok(Vec::new())
        }
        outcome => outcome,
    }
}

/// A commit that failed is not repeated: the next round commits a later position.
async fn commit(consumer: &ConsumerClient) -> Result<(), ClientError> {
    go_on(consumer.commit_sync().await)
}

/// An exception is logged, unless the same client will throw it again and again.
fn go_on(outcome: Result<(), ClientError>) -> Result<(), ClientError> {
    match outcome {
        Err(error) if is_fatal(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Whether `auto.offset.reset=none` leaves it to somebody where to go on.
fn is_without_position(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::NoOffsetForPartition
            | ClientError::OffsetOutOfRange
            | ClientError::LogTruncation
    )
}

/// Whether the same client will throw it again and again.
fn is_fatal(error: &ClientError) -> bool {
    match error {
        ClientError::NoOffsetForPartition
        | ClientError::OffsetOutOfRange
        | ClientError::LogTruncation
        | ClientError::NotAssigned
        | ClientError::Closed => true,
        ClientError::Timeout(_)
        | ClientError::Broker(_)
        | ClientError::RetriableCommitFailed
        | ClientError::RecordTooLarge { .. } => false,
    }
}
