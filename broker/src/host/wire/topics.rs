//! CreateTopics, DeleteTopics, and DeleteRecords.

use super::{Header, Plan, ask, frame, text};
use crate::wire::codec::Wire;
use crate::wire::{CreateTopicsRequest, DeleteRecordsRequest, Request, Response};
use kafka::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages as kafka;

/// CreateTopics goes to the controller. Its answer lists no settings, as to one who may not see them.
pub(super) fn create_topics(header: Header, body: kafka::CreateTopicsRequest) -> Plan {
    let Ok(request) = CreateTopicsRequest::from_kafka(body) else {
        return Plan::Close;
    };
    ask(Request::CreateTopics(request), move |response| {
        let Response::CreateTopics(response) = response else {
            panic!("CreateTopics answered by {:?}", response.api());
        };
        frame(header, &response.to_kafka())
    })
}

/// `Errors.TOPIC_DELETION_DISABLED`.
const TOPIC_DELETION_DISABLED: i16 = 73;
/// Before this version there was no such error; `ControllerApis.deleteTopics` says INVALID_REQUEST.
const DISABLED_SINCE: i16 = 3;
/// From this version on topics may go by their ids.
const IDS_SINCE: i16 = 6;

/// Topics are not deleted, as with `delete.topic.enable=false`.
pub(super) fn delete_topics(header: Header, body: kafka::DeleteTopicsRequest) -> Plan {
    let error = if header.version < DISABLED_SINCE {
        crate::wire::ErrorCode::InvalidRequest as i16
    } else {
        TOPIC_DELETION_DISABLED
    };
    let result = |name| {
        DeletableTopicResult::default()
            .with_name(name)
            .with_error_code(error)
            .with_error_message(Some(text("topics are not deleted here")))
    };
    let responses = if header.version < IDS_SINCE {
        let names = body.topic_names.into_iter();
        names.map(|name| result(Some(name))).collect()
    } else {
        let topics = body.topics.into_iter();
        topics
            .map(|t| result(t.name).with_topic_id(t.topic_id))
            .collect()
    };
    let answer = kafka::DeleteTopicsResponse::default().with_responses(responses);
    Plan::Answer(frame(header, &answer))
}

/// DeleteRecords, which says the same in all of its versions.
pub(super) fn delete_records(header: Header, body: kafka::DeleteRecordsRequest) -> Plan {
    let Ok(request) = DeleteRecordsRequest::from_kafka(body) else {
        return Plan::Close;
    };
    ask(Request::DeleteRecords(request), move |response| {
        let Response::DeleteRecords(response) = response else {
            panic!("DeleteRecords answered by {:?}", response.api());
        };
        frame(header, &response.to_kafka())
    })
}
