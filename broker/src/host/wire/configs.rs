//! DescribeConfigs: the settings of topics and brokers that are read here, and others that a topic was
//! created with.

use super::{Header, Plan, View, frame, text};
use crate::config::{Scope, broker_synonym, properties};
use crate::wire::ErrorCode;
use kafka::describe_configs_request::DescribeConfigsResource;
use kafka::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages as kafka;
use kafka_protocol::protocol::StrBytes;

/// `ConfigResource.Type`.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// `ConfigSource`.
const DYNAMIC_TOPIC: i8 = 1;
const STATIC_BROKER: i8 = 4;
const DEFAULT: i8 = 5;

/// Key, value, source.
type Setting = (String, String, i8);

pub(super) fn describe_configs(
    header: Header,
    body: kafka::DescribeConfigsRequest,
    view: &View<'_>,
) -> Plan {
    let results = body.resources.iter().map(|r| describe(r, view));
    let answer = kafka::DescribeConfigsResponse::default().with_results(results.collect());
    Plan::Answer(frame(header, &answer))
}

fn describe(asked: &DescribeConfigsResource, view: &View<'_>) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_resource_type(asked.resource_type)
        .with_resource_name(asked.resource_name.clone());
    let settings = match asked.resource_type {
        TOPIC => topic_settings(&asked.resource_name, view)
            .ok_or((ErrorCode::UnknownTopicOrPartition, "no such topic")),
        BROKER => Ok(broker_settings(view)),
        _ => Err((
            ErrorCode::InvalidRequest,
            "only topics and brokers have settings here",
        )),
    };
    match settings {
        Ok(settings) => {
            let wanted = |key: &str| {
                let keys = asked.configuration_keys.as_ref();
                keys.is_none_or(|keys| keys.iter().any(|wanted| &**wanted == key))
            };
            let settings = settings.into_iter().filter(|(key, ..)| wanted(key));
            result.with_configs(settings.map(told).collect())
        }
        Err((error, why)) => result
            .with_error_code(error as i16)
            .with_error_message(Some(text(why))),
    }
}

fn told((key, value, source): Setting) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_string(key))
        .with_value(Some(StrBytes::from_string(value)))
        .with_read_only(source != DYNAMIC_TOPIC)
        .with_config_source(source)
}

fn topic_settings(topic: &str, view: &View<'_>) -> Option<Vec<Setting>> {
    view.image.topic_id(topic)?;
    let mut settings: Vec<Setting> = properties(Scope::Topic)
        .iter()
        .filter(|p| view.image.topic_config(topic, p.name).is_none())
        .map(|p| match view.properties.get(broker_synonym(p.name)) {
            Some(value) => (p.name.to_string(), value.clone(), STATIC_BROKER),
            None => (p.name.to_string(), p.default.to_string(), DEFAULT),
        })
        .collect();
    for (key, value) in view.image.topic_configs(topic).into_iter().flatten() {
        settings.push((key.clone(), value.clone(), DYNAMIC_TOPIC));
    }
    settings.sort_unstable();
    Some(settings)
}

fn broker_settings(view: &View<'_>) -> Vec<Setting> {
    let settings = properties(Scope::Broker)
        .iter()
        .map(|p| match view.properties.get(p.name) {
            Some(value) => (p.name.to_string(), value.clone(), STATIC_BROKER),
            None => (p.name.to_string(), p.default.to_string(), DEFAULT),
        });
    settings.collect()
}
