//! Consumer applications: the loops of the guide.
//!
//! An exception of `poll` or `commitSync` is handled as a careful application does: it goes on with
//! the next round, and leaves the loop only on those that the same client would throw for ever. The
//! event at the client's boundary is the log line.

use super::{ConsumerClient, Context};
use everyack_broker::client::{ClientError, ConsumerRecord};
use std::time::Duration;

/// The guide's `poll(Duration.ofMillis(100))`.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// Pause after an exception of poll, so that an application whose poll throws at once does not spin.
const PAUSE: Duration = Duration::from_millis(100);

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

/// The application's consumer with its partitions assigned, and a position on each.
async fn assigned_consumer(context: &Context) -> Result<ConsumerClient, ClientError> {
    let consumer = context.consumer();
    consumer.assign(context.assigned_partitions()).await?;
    loop {
        match consumer.positions().await {
            Ok(_) => return Ok(consumer),
            Err(error) if is_fatal(&error) => return Err(error),
            Err(_) => context.sleep(PAUSE).await,
        }
    }
}

async fn poll(
    context: &Context,
    consumer: &ConsumerClient,
) -> Result<Vec<ConsumerRecord>, ClientError> {
    match consumer.poll(POLL_TIMEOUT).await {
        Err(error) if !is_fatal(&error) => {
            context.sleep(PAUSE).await;
            Ok(Vec::new())
        }
        outcome => outcome,
    }
}

/// A commit that failed is not repeated: the next round commits a later position.
async fn commit(consumer: &ConsumerClient) -> Result<(), ClientError> {
    match consumer.commit_sync().await {
        Err(error) if is_fatal(&error) => Err(error),
        _ => Ok(()),
    }
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
