//! Fetch, without sessions.
//!
//! A client that asks for a session (epoch 0) is answered in full with session id 0: there is none, and
//! it asks in full the next time, too (KIP-227). One that means to continue a session is told that it is
//! not found. Nobody from outside is a follower: its fetches would count as replication.

use super::produce::{Names, by_name};
use super::{Endpoints, Header, Plan, View, ask, frame, topic_id};
use crate::ids::*;
use crate::wire::codec::Wire;
use crate::wire::{
    ErrorCode, FetchPartition, FetchRequest, FetchResponse, Items, Request, Response,
};
use bytes::Bytes;
use kafka::fetch_response::{FetchableTopicResponse, NodeEndpoint, PartitionData};
use kafka_protocol::messages as kafka;
use std::sync::Arc;

/// From this version on topics go by their ids.
const IDS_SINCE: i16 = 13;
/// From this version on an answer names where the leaders are (KIP-951).
const ENDPOINTS_SINCE: i16 = 16;
/// From this version on there are sessions, and an error for the whole request.
const SESSIONS_SINCE: i16 = 7;
/// From this version on a follower says who it is in a tagged field.
const REPLICA_STATE_SINCE: i16 = 15;
/// `Errors.FETCH_SESSION_ID_NOT_FOUND`.
const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
/// `Errors.CLUSTER_AUTHORIZATION_FAILED`.
const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;
/// `IsolationLevel.READ_COMMITTED`.
const READ_COMMITTED: i8 = 1;

pub(super) fn fetch(header: Header, body: kafka::FetchRequest, view: &View<'_>) -> Plan {
    let replica = if header.version < REPLICA_STATE_SINCE {
        body.replica_id.0
    } else {
        body.replica_state.replica_id.0
    };
    let refusal = if replica >= 0 {
        Some(CLUSTER_AUTHORIZATION_FAILED)
    } else if body.session_epoch > 0 || !body.forgotten_topics_data.is_empty() {
        Some(FETCH_SESSION_ID_NOT_FOUND)
    } else {
        None
    };
    if let Some(error) = refusal {
        return Plan::Answer(refused_whole(header, body, error));
    }
    let mut topics = Vec::with_capacity(body.topics.len());
    let mut names = Names::new();
    let mut refused = Vec::new();
    for topic in body.topics {
        let id = if header.version < IDS_SINCE {
            view.image.topic_id(&topic.topic)
        } else {
            Some(topic_id(topic.topic_id))
        };
        let Some(id) = id else {
            refused.push(refuse(&topic, ErrorCode::UnknownTopicOrPartition as i16));
            continue;
        };
        if header.version < IDS_SINCE {
            names.insert(id, topic.topic);
        }
        let partitions = topic.partitions.into_iter().map(|p| FetchPartition {
            partition: p.partition,
            current_leader_epoch: p.current_leader_epoch,
            fetch_offset: p.fetch_offset,
            // A consumer's is never looked at for truncation.
            last_fetched_epoch: NO_EPOCH,
            log_start_offset: -1,
            partition_max_bytes: p.partition_max_bytes,
        });
        topics.push((id, partitions.collect::<Items<_>>()));
    }
    let request = Request::Fetch(FetchRequest {
        replica_id: CONSUMER_REPLICA,
        replica_epoch: -1,
        // What cannot be read is said at once.
        max_wait_ms: if refused.is_empty() {
            body.max_wait_ms
        } else {
            0
        },
        min_bytes: body.min_bytes,
        max_bytes: body.max_bytes,
        isolation_level: body.isolation_level,
        topics,
    });
    let read_committed = body.isolation_level == READ_COMMITTED;
    let endpoints = Arc::clone(view.endpoints);
    ask(request, move |response| {
        let Response::Fetch(response) = response else {
            panic!("Fetch answered by {:?}", response.api());
        };
        answer(
            header,
            &response,
            &names,
            refused,
            read_committed,
            &endpoints,
        )
    })
}

fn refuse(topic: &kafka::fetch_request::FetchTopic, error: i16) -> FetchableTopicResponse {
    let partitions = topic.partitions.iter().map(|p| {
        PartitionData::default()
            .with_partition_index(p.partition)
            .with_error_code(error)
            .with_high_watermark(-1)
            .with_aborted_transactions(None)
            .with_records(Some(Bytes::new()))
    });
    FetchableTopicResponse::default()
        .with_topic(topic.topic.clone())
        .with_topic_id(topic.topic_id)
        .with_partitions(partitions.collect())
}

fn refused_whole(header: Header, body: kafka::FetchRequest, error: i16) -> Bytes {
    let mut answer = kafka::FetchResponse::default();
    if header.version < SESSIONS_SINCE {
        answer.responses = body.topics.iter().map(|t| refuse(t, error)).collect();
    } else {
        answer.error_code = error;
    }
    frame(header, &answer)
}

fn answer(
    header: Header,
    response: &FetchResponse,
    names: &Names,
    refused: Vec<FetchableTopicResponse>,
    read_committed: bool,
    endpoints: &Endpoints,
) -> Bytes {
    let mut answer = response.to_kafka();
    for topic in &mut answer.responses {
        if header.version < IDS_SINCE {
            topic.topic = names[&topic_id(topic.topic_id)].clone();
        }
        for partition in &mut topic.partitions {
            if header.version < IDS_SINCE {
                partition.error_code = by_name(partition.error_code);
            }
            if read_committed {
                // FetchPartitionData.abortedTransactions: a list, if an empty one.
                partition.aborted_transactions = Some(Vec::new());
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
