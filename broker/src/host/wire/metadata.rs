//! What there is: Metadata, DescribeCluster, ApiVersions.

use super::{APIS, Endpoints, Header, Plan, View, ask, encode, frame, text, topic_id};
use crate::group::OFFSETS_TOPIC;
use crate::ids::*;
use crate::wire::codec::Wire;
use crate::wire::{ErrorCode, MetadataRequest, MetadataResponse, Request, Response};
use bytes::Bytes;
use kafka::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{self as kafka, ApiKey};
use std::sync::Arc;

/// From this version on asking for all topics is null; before, it was an empty list.
const NULL_IS_ALL_SINCE: i16 = 1;

pub(super) fn metadata(header: Header, body: kafka::MetadataRequest, view: &View<'_>) -> Plan {
    let mut unknown = Vec::new();
    let names = body.topics.map(|topics| {
        let mut names: Vec<TopicName> = Vec::with_capacity(topics.len());
        for topic in topics {
            if let Some(name) = &topic.name {
                names.push((&***name).into());
            } else if let Some(known) = view.image.topic(topic_id(topic.topic_id)) {
                names.push(known.name.clone());
            } else {
                unknown.push(topic.topic_id);
            }
        }
        names
    });
    let all = header.version < NULL_IS_ALL_SINCE && names.as_ref().is_none_or(Vec::is_empty);
    let request = Request::Metadata(MetadataRequest {
        topics: names.filter(|_| !all),
        allow_auto_topic_creation: body.allow_auto_topic_creation,
    });
    let endpoints = Arc::clone(view.endpoints);
    let cluster_id = text(view.cluster_id);
    ask(request, move |response| {
        let Response::Metadata(response) = response else {
            panic!("Metadata answered by {:?}", response.api());
        };
        let mut answer = told(&response, &endpoints).with_cluster_id(Some(cluster_id));
        answer.topics.extend(unknown.into_iter().map(|id| {
            MetadataResponseTopic::default()
                .with_error_code(ErrorCode::UnknownTopicId as i16)
                .with_name(None)
                .with_topic_id(id)
        }));
        frame(header, &answer)
    })
}

fn told(response: &MetadataResponse, endpoints: &Endpoints) -> kafka::MetadataResponse {
    let mut answer = response.to_kafka();
    for broker in &mut answer.brokers {
        (broker.host, broker.port) = endpoints.of(broker.node_id.0);
    }
    for topic in &mut answer.topics {
        topic.is_internal = topic.name.as_ref().is_some_and(|n| &***n == OFFSETS_TOPIC);
        for partition in &mut topic.partitions {
            let replicas = partition.replica_nodes.iter();
            let is_offline = |id: &&kafka::BrokerId| !response.brokers.contains(&id.0);
            partition.offline_replicas = replicas.filter(is_offline).copied().collect();
        }
    }
    answer
}

pub(super) fn describe_cluster(
    header: Header,
    body: &kafka::DescribeClusterRequest,
    view: &View<'_>,
) -> Plan {
    use kafka::describe_cluster_response::DescribeClusterBroker;
    // EndpointType.CONTROLLER: controllers have no listener for clients here.
    if body.endpoint_type != 1 {
        let answer = kafka::DescribeClusterResponse::default()
            .with_endpoint_type(body.endpoint_type)
            .with_error_code(MISMATCHED_ENDPOINT_TYPE)
            .with_error_message(Some(text("this listener is the brokers'")));
        return Plan::Answer(frame(header, &answer));
    }
    let registered = view.image.brokers().values();
    let told = registered.filter(|b| !b.fenced || body.include_fenced_brokers);
    let brokers = told.map(|b| {
        let (host, port) = view.endpoints.of(b.id);
        DescribeClusterBroker::default()
            .with_broker_id(b.id.into())
            .with_host(host)
            .with_port(port)
            .with_is_fenced(b.fenced)
    });
    let mut unfenced = view.image.brokers().values().filter(|b| !b.fenced);
    // Any alive broker stands for the controller, which clients cannot reach (KIP-590).
    let controller = unfenced.next().map_or(NO_BROKER, |b| b.id);
    let answer = kafka::DescribeClusterResponse::default()
        .with_cluster_id(text(view.cluster_id))
        .with_controller_id(controller.into())
        .with_brokers(brokers.collect());
    Plan::Answer(frame(header, &answer))
}

/// `Errors.MISMATCHED_ENDPOINT_TYPE`.
const MISMATCHED_ENDPOINT_TYPE: i16 = 114;

/// What is served, at which versions.
pub(super) fn api_versions(header: Header) -> Bytes {
    frame(header, &versions())
}

/// A client that speaks a newer ApiVersions learns in the words of version 0 what it may speak
/// (KIP-511).
pub(super) fn api_versions_too_new(header: Header) -> Bytes {
    let answer = versions().with_error_code(ErrorCode::UnsupportedVersion as i16);
    encode(header, 0, &answer)
}

fn versions() -> kafka::ApiVersionsResponse {
    use kafka::api_versions_response::ApiVersion;
    let version = |api: &super::Api| {
        let (min, max) = api.versions;
        // KAFKA-18659, see the head of the module above.
        let min = if api.key == ApiKey::Produce { 0 } else { min };
        ApiVersion::default()
            .with_api_key(api.key as i16)
            .with_min_version(min)
            .with_max_version(max)
    };
    kafka::ApiVersionsResponse::default().with_api_keys(APIS.iter().map(version).collect())
}
