//! Producer applications.

use super::{Addressing, Context, Delivery, ProducerClient};
use crate::event::ClientEvent;
use everyack_broker::client::ClientError;

/// Most messages that are sent at once.
const BURST_MESSAGES: u64 = 5;

/// Sends the workload in small bursts and checks the result of every send, as the guide's callback
/// does. A failed send is taken note of (the event at the client's boundary is the log line) and not
/// sent again: `retries` and `delivery.timeout.ms` are the client's business.
pub(super) async fn checks_results(
    context: Context,
    addressing: Addressing,
) -> Result<(), ClientError> {
    let producer = context.producer();
    let deliveries = send_all(&context, &producer, addressing).await;
    let (sent, mut failed) = (deliveries.len(), 0);
    for delivery in deliveries {
        if delivery.await.is_err() {
            failed += 1;
        }
    }
    debug_assert!(failed <= sent, "{failed} of {sent} sends failed");
    context.emit(ClientEvent::ProducerFinished);
    producer.close().await
}

/// Sends the same and looks at no result: `producer.send(record)`, and `close()` at the end, which waits until
/// each has one.
pub(super) async fn ignores_results(context: Context) -> Result<(), ClientError> {
    let producer = context.producer();
    drop(send_all(&context, &producer, Addressing::Partition).await);
    let closed = producer.close().await;
    context.emit(ClientEvent::ProducerFinished);
    closed
}

async fn send_all(
    context: &Context,
    producer: &ProducerClient,
    addressing: Addressing,
) -> Vec<Delivery> {
    let messages = context.parameters().workload.messages_per_producer;
    let mut sequence = context.next_sequence();
    let first_due = context.due(sequence);
    let mut deliveries = Vec::with_capacity((messages.saturating_sub(sequence)) as usize);
    while sequence < messages {
        let burst = context.draw(1, BURST_MESSAGES) as u32;
        for _ in 0..burst.min(messages - sequence) {
            deliveries.push(producer.send(context.message(sequence, addressing)).await);
            sequence += 1;
        }
        let next_due = context.due(sequence).saturating_sub(first_due);
        if sequence < messages && next_due > context.uptime() {
            context.sleep(next_due - context.uptime()).await;
        }
    }
    deliveries
}
