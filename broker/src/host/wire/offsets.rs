//! Positions in logs and committed ones: ListOffsets, OffsetForLeaderEpoch, FindCoordinator,
//! OffsetCommit, OffsetFetch.

use super::produce::{TRANSACTIONAL_ID_AUTHORIZATION_FAILED, no_transactions};
use super::{Endpoints, Header, Plan, View, ask, frame, text};
use crate::ids::*;
use crate::wire::codec::Wire;
use crate::wire::{
    ErrorCode, FindCoordinatorRequest, FindCoordinatorResponse, Items, ListOffsetsRequest,
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
    OffsetForLeaderEpochRequest, Request, Response,
};
use bytes::Bytes;
use kafka::find_coordinator_response::Coordinator;
use kafka::offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
use kafka_protocol::messages as kafka;
use std::sync::Arc;

/// ListOffsets, always as a consumer.
pub(super) fn list_offsets(header: Header, body: kafka::ListOffsetsRequest) -> Plan {
    let body = body.with_replica_id(CONSUMER_REPLICA.into());
    let Ok(request) = ListOffsetsRequest::from_kafka(body) else {
        return Plan::Close;
    };
    ask(Request::ListOffsets(request), move |response| {
        let Response::ListOffsets(response) = response else {
            panic!("ListOffsets answered by {:?}", response.api());
        };
        let mut answer = response.to_kafka();
        if header.version < 4 {
            let topics = answer.topics.iter_mut();
            for partition in topics.flat_map(|topic| &mut topic.partitions) {
                partition.leader_epoch = NO_EPOCH;
            }
        }
        frame(header, &answer)
    })
}

/// OffsetForLeaderEpoch, always as a consumer.
pub(super) fn epoch_ends(header: Header, body: kafka::OffsetForLeaderEpochRequest) -> Plan {
    let body = body.with_replica_id(CONSUMER_REPLICA.into());
    let Ok(request) = OffsetForLeaderEpochRequest::from_kafka(body) else {
        return Plan::Close;
    };
    ask(Request::OffsetForLeaderEpoch(request), move |response| {
        let Response::OffsetForLeaderEpoch(response) = response else {
            panic!("OffsetForLeaderEpoch answered by {:?}", response.api());
        };
        frame(header, &response.to_kafka())
    })
}

/// Before this version FindCoordinator asks for one key.
const KEYS_SINCE: i16 = 4;
/// `CoordinatorType.GROUP` and `TRANSACTION`.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(super) fn find_coordinator(
    header: Header,
    body: kafka::FindCoordinatorRequest,
    view: &View<'_>,
) -> Plan {
    let keys = match header.version {
        ..KEYS_SINCE => vec![body.key],
        _ => body.coordinator_keys,
    };
    if body.key_type != GROUP {
        let (error, message) = match body.key_type {
            TRANSACTION => (TRANSACTIONAL_ID_AUTHORIZATION_FAILED, no_transactions()),
            _ => (
                ErrorCode::InvalidRequest as i16,
                text("only groups have a coordinator"),
            ),
        };
        let refuse = |key| {
            Coordinator::default()
                .with_key(key)
                .with_node_id((-1).into())
                .with_port(-1)
                .with_error_code(error)
                .with_error_message(Some(message.clone()))
        };
        let coordinators = keys.into_iter().map(refuse).collect();
        return Plan::Answer(coordinators_frame(header, coordinators));
    }
    if keys.is_empty() {
        return Plan::Answer(coordinators_frame(header, Vec::new()));
    }
    let requests = keys.iter().map(|key| {
        Request::FindCoordinator(FindCoordinatorRequest {
            group: (&**key).into(),
        })
    });
    let endpoints = Arc::clone(view.endpoints);
    Plan::Ask(
        requests.collect(),
        Box::new(move |responses| {
            let coordinators = responses.into_iter().map(|response| match response {
                Response::FindCoordinator(response) => coordinator(&response, &endpoints),
                other => panic!("FindCoordinator answered by {:?}", other.api()),
            });
            coordinators_frame(header, coordinators.collect())
        }),
    )
}

fn coordinator(response: &FindCoordinatorResponse, endpoints: &Endpoints) -> Coordinator {
    let (host, port) = endpoints.of(response.node);
    Coordinator::default()
        .with_key(text(&response.group))
        .with_node_id(response.node.into())
        .with_host(host)
        .with_port(port)
        .with_error_code(response.error as i16)
}

fn coordinators_frame(header: Header, mut coordinators: Vec<Coordinator>) -> Bytes {
    let answer = kafka::FindCoordinatorResponse::default();
    if header.version >= KEYS_SINCE {
        return frame(header, &answer.with_coordinators(coordinators));
    }
    let one = coordinators.pop().expect("one key was asked for");
    let answer = answer
        .with_error_code(one.error_code)
        .with_error_message(one.error_message)
        .with_node_id(one.node_id)
        .with_host(one.host)
        .with_port(one.port);
    frame(header, &answer)
}

/// OffsetCommit. The metadata string of a commit is not kept. Topics and partitions that do not exist are
/// refused here (`KafkaApis.handleOffsetCommitRequest`).
pub(super) fn offset_commit(
    header: Header,
    body: kafka::OffsetCommitRequest,
    view: &View<'_>,
) -> Plan {
    let Ok(mut request) = OffsetCommitRequest::from_kafka(body) else {
        return Plan::Close;
    };
    let mut refused = OffsetCommitResponse { topics: Vec::new() };
    for (name, commits) in &mut request.topics {
        let topic = view.image.topic_by_name(name);
        let exists = |index: i32| topic.is_some_and(|t| t.partitions.contains_key(&index));
        let unknown = commits.iter().filter(|c| !exists(c.partition));
        let unknown = unknown.map(|c| (c.partition, ErrorCode::UnknownTopicOrPartition));
        let unknown: Items<(i32, ErrorCode)> = unknown.collect();
        if !unknown.is_empty() {
            refused.topics.push((name.clone(), unknown));
            commits.retain(|c| exists(c.partition));
        }
    }
    request.topics.retain(|(_, commits)| !commits.is_empty());
    if request.topics.is_empty() {
        return Plan::Answer(frame(header, &refused.to_kafka()));
    }
    ask(Request::OffsetCommit(request), move |response| {
        let Response::OffsetCommit(mut response) = response else {
            panic!("OffsetCommit answered by {:?}", response.api());
        };
        response.topics.append(&mut refused.topics);
        frame(header, &response.to_kafka())
    })
}

/// Before this version OffsetFetch asks for one group.
const GROUPS_SINCE: i16 = 8;
/// Before this version an answer names no epochs.
const EPOCHS_SINCE: i16 = 5;

/// A group asked for: the request, and whether only what was committed is wanted.
type GroupAsked = (OffsetFetchRequest, bool);

pub(super) fn offset_fetch(
    header: Header,
    body: kafka::OffsetFetchRequest,
    view: &View<'_>,
) -> Plan {
    let require_stable = body.require_stable;
    let asked = |group: &str, topics: Option<Vec<(TopicName, Items<i32>)>>| -> GroupAsked {
        let all = topics.is_none();
        let request = OffsetFetchRequest {
            group: group.into(),
            require_stable,
            topics: topics.unwrap_or_else(|| every_partition(view)),
        };
        (request, all)
    };
    let groups: Vec<GroupAsked> = if header.version < GROUPS_SINCE {
        let topics = body.topics.map(|topics| {
            let topics = topics.into_iter();
            let topics = topics.map(|t| ((&**t.name).into(), t.partition_indexes.into()));
            topics.collect()
        });
        vec![asked(&body.group_id, topics)]
    } else {
        let groups = body.groups.into_iter().map(|group| {
            let topics = group.topics.map(|topics| {
                let topics = topics.into_iter();
                let topics = topics.map(|t| ((&**t.name).into(), t.partition_indexes.into()));
                topics.collect()
            });
            asked(&group.group_id, topics)
        });
        groups.collect()
    };
    if groups.is_empty() {
        let answer = kafka::OffsetFetchResponse::default();
        return Plan::Answer(frame(header, &answer));
    }
    let (requests, all): (Vec<_>, Vec<bool>) = groups.into_iter().unzip();
    Plan::Ask(
        requests.into_iter().map(Request::OffsetFetch).collect(),
        Box::new(move |responses| {
            let answers = responses.into_iter().zip(all).map(|(response, all)| {
                let Response::OffsetFetch(mut response) = response else {
                    panic!("OffsetFetch answered by {:?}", response.api());
                };
                if all {
                    keep_committed(&mut response);
                }
                response
            });
            fetched_frame(header, answers.collect())
        }),
    )
}

/// Every partition that there is: what a group has committed is among them.
fn every_partition(view: &View<'_>) -> Vec<(TopicName, Items<i32>)> {
    let topics = view.image.topics().values();
    let topics = topics.map(|t| (t.name.clone(), t.partitions.keys().copied().collect()));
    topics.collect()
}

fn keep_committed(response: &mut OffsetFetchResponse) {
    for (_, partitions) in &mut response.topics {
        partitions.retain(|p| p.offset >= 0 || !p.error.is_none());
    }
    response
        .topics
        .retain(|(_, partitions)| !partitions.is_empty());
}

fn fetched_frame(header: Header, mut answers: Vec<OffsetFetchResponse>) -> Bytes {
    if header.version >= GROUPS_SINCE {
        let mut answer = kafka::OffsetFetchResponse::default();
        for response in &answers {
            answer.groups.append(&mut response.to_kafka().groups);
        }
        return frame(header, &answer);
    }
    let response = answers.pop().expect("one group was asked for");
    let topics = response.topics.iter().map(|(name, partitions)| {
        let partitions = partitions.iter().map(|p| {
            let has_epoch = header.version >= EPOCHS_SINCE;
            OffsetFetchResponsePartition::default()
                .with_partition_index(p.partition)
                .with_committed_offset(p.offset)
                .with_committed_leader_epoch(if has_epoch { p.leader_epoch } else { NO_EPOCH })
                .with_error_code(p.error as i16)
        });
        OffsetFetchResponseTopic::default()
            .with_name(super::kafka_name(name))
            .with_partitions(partitions.collect())
    });
    let answer = kafka::OffsetFetchResponse::default()
        .with_error_code(response.error as i16)
        .with_topics(topics.collect());
    frame(header, &answer)
}
