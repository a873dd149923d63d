//! Produce and InitProducerId.

use super::{Endpoints, Header, Plan, View, ask, frame, text, topic_id};
use crate::group::OFFSETS_TOPIC;
use crate::ids::*;
use crate::wire::codec::Wire;
use crate::wire::{
    ErrorCode, Items, ProducePartition, ProduceRequest, ProduceResponse, Request, Response,
};
use bytes::Bytes;
use kafka::produce_response::{NodeEndpoint, PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages as kafka;
use std::collections::BTreeMap;
use std::sync::Arc;

/// From this version on topics go by their ids.
const IDS_SINCE: i16 = 13;
/// From this version on an answer names where the leaders are (KIP-951).
const ENDPOINTS_SINCE: i16 = 10;

/// What topics are called in the answer.
pub(super) type Names = BTreeMap<TopicId, kafka::TopicName>;

pub(super) fn produce(header: Header, body: kafka::ProduceRequest, view: &View<'_>) -> Plan {
    let acks = body.acks;
    let refusal = if !(-1..=1).contains(&acks) {
        Some(ErrorCode::InvalidRequiredAcks)
    } else if body.transactional_id.is_some() {
        // No producer is given an id for its transactions, so that none can come here in order.
        Some(ErrorCode::InvalidRequest)
    } else {
        None
    };
    let mut topics = Vec::with_capacity(body.topic_data.len());
    let mut names = Names::new();
    let mut refused = Vec::new();
    for topic in body.topic_data {
        let (id, refusal) = match refusal {
            Some(error) => (None, error),
            None => admit(&topic, header.version, view),
        };
        let Some(id) = id else {
            refused.push(refuse(topic, refusal));
            continue;
        };
        if header.version < IDS_SINCE {
            names.insert(id, topic.name);
        }
        let partitions = topic.partition_data.into_iter().map(|p| ProducePartition {
            partition: p.index,
            records: p.records.unwrap_or_default(),
        });
        topics.push((id, partitions.collect::<Items<_>>()));
    }
    if acks == 0 && topics.is_empty() && !refused.is_empty() {
        return Plan::Close;
    }
    let request = Request::Produce(ProduceRequest {
        acks,
        timeout_ms: body.timeout_ms,
        topics,
    });
    if acks == 0 {
        return Plan::Tell(request, !refused.is_empty());
    }
    let endpoints = Arc::clone(view.endpoints);
    ask(request, move |response| {
        let Response::Produce(response) = response else {
            panic!("Produce answered by {:?}", response.api());
        };
        answer(header, &response, &names, refused, &endpoints)
    })
}

/// The topic's id, or why nothing is written to it.
fn admit(
    topic: &kafka::produce_request::TopicProduceData,
    version: i16,
    view: &View<'_>,
) -> (Option<TopicId>, ErrorCode) {
    let id = if version < IDS_SINCE {
        view.image.topic_id(&topic.name)
    } else {
        Some(topic_id(topic.topic_id))
    };
    let is_internal = id
        .and_then(|id| view.image.topic(id))
        .is_some_and(|topic| &*topic.name == OFFSETS_TOPIC);
    if is_internal {
        // ReplicaManager.appendToLocalLog: internal topics are the coordinators' own.
        return (None, ErrorCode::InvalidTopicException);
    }
    (id, ErrorCode::UnknownTopicOrPartition)
}

fn refuse(
    topic: kafka::produce_request::TopicProduceData,
    error: ErrorCode,
) -> TopicProduceResponse {
    let partitions = topic.partition_data.iter().map(|p| {
        PartitionProduceResponse::default()
            .with_index(p.index)
            .with_error_code(error as i16)
            .with_base_offset(-1)
    });
    TopicProduceResponse::default()
        .with_partition_responses(partitions.collect())
        .with_name(topic.name)
        .with_topic_id(topic.topic_id)
}

fn answer(
    header: Header,
    response: &ProduceResponse,
    names: &Names,
    refused: Vec<TopicProduceResponse>,
    endpoints: &Endpoints,
) -> Bytes {
    let mut answer = response.to_kafka();
    if header.version < IDS_SINCE {
        for topic in &mut answer.responses {
            topic.name = names[&topic_id(topic.topic_id)].clone();
            for partition in &mut topic.partition_responses {
                partition.error_code = by_name(partition.error_code);
            }
        }
    }
    answer.responses.extend(refused);
    if header.version < ENDPOINTS_SINCE {
        answer.node_endpoints.clear();
    }
    for endpoint in &mut answer.node_endpoints {
        let (host, port) = endpoints.of(endpoint.node_id.0);
        *endpoint = NodeEndpoint::default()
            .with_node_id(endpoint.node_id)
            .with_host(host)
            .with_port(port);
    }
    frame(header, &answer)
}

/// Who asks by name knows no ids.
pub(super) fn by_name(error_code: i16) -> i16 {
    if error_code == ErrorCode::UnknownTopicId as i16 {
        ErrorCode::UnknownTopicOrPartition as i16
    } else {
        error_code
    }
}

/// There are no transactions: a client that asks for them is told once and for all, with an error that
/// it does not try again after.
pub(super) fn init_producer_id(header: Header, body: kafka::InitProducerIdRequest) -> Plan {
    if body.transactional_id.is_some() {
        let answer = kafka::InitProducerIdResponse::default()
            .with_error_code(TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        return Plan::Answer(frame(header, &answer));
    }
    let request = crate::wire::InitProducerIdRequest {
        producer_id: body.producer_id.0,
        producer_epoch: body.producer_epoch,
    };
    ask(Request::InitProducerId(request), move |response| {
        let Response::InitProducerId(response) = response else {
            panic!("InitProducerId answered by {:?}", response.api());
        };
        frame(header, &response.to_kafka())
    })
}

/// `Errors.TRANSACTIONAL_ID_AUTHORIZATION_FAILED`.
pub(super) const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;

/// Why a transaction's coordinator is not found.
pub(super) fn no_transactions() -> kafka_protocol::protocol::StrBytes {
    text("transactions are not served")
}
