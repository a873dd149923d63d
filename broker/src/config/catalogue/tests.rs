use super::*;

fn nearest_of(scope: Scope, name: &str) -> Option<(&'static str, Scope)> {
    match classify(scope, name) {
        Class::Unknown { nearest } => nearest.map(|s| (s.name, s.scope)),
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn tables_are_sorted_without_repeats_and_of_their_scope() {
    for scope in Scope::ALL {
        let table = properties(scope);
        assert!(!table.is_empty());
        for property in table {
            assert_eq!(property.scope, scope, "{}", property.name);
        }
        for pair in table.windows(2) {
            assert!(
                pair[0].name < pair[1].name,
                "{} before {}",
                pair[0].name,
                pair[1].name
            );
        }
    }
}

#[test]
fn no_name_is_both_modelled_and_not_modelled() {
    for scope in Scope::ALL {
        for property in properties(scope) {
            assert!(
                !names::not_modelled(scope, property.name),
                "{scope} {}",
                property.name
            );
        }
    }
}

#[test]
fn each_entry_says_what_is_allowed_and_where_it_acts_in_one_sentence() {
    for scope in Scope::ALL {
        for property in properties(scope) {
            assert!(!property.allowed.is_empty(), "{}", property.name);
            assert!(!property.source.is_empty(), "{}", property.name);
            assert!(property.acts.ends_with('.'), "{}", property.name);
            assert!(!property.acts.contains('\n'), "{}", property.name);
            let bound = match property.kind {
                Kind::Int(min) | Kind::Long(min) | Kind::Short(min) => Some(min),
                _ => None,
            };
            if let Some(min) = bound.filter(|min| *min != ANY) {
                assert!(
                    property.allowed.ends_with(&format!("at least {min}")),
                    "{}: {}",
                    property.name,
                    property.allowed
                );
            }
        }
    }
}

#[test]
fn known_names_are_those_of_their_scope_only() {
    assert!(matches!(
        classify(Scope::Broker, "min.insync.replicas"),
        Class::Known(p) if p.scope == Scope::Broker
    ));
    assert!(matches!(
        classify(Scope::Topic, "min.insync.replicas"),
        Class::Known(p) if p.scope == Scope::Topic
    ));
    assert!(matches!(
        classify(Scope::Producer, "min.insync.replicas"),
        Class::Unknown { .. }
    ));
}

#[test]
fn names_that_only_kafka_reads_are_not_modelled() {
    for (scope, name) in [
        (Scope::Broker, "node.id"),
        (Scope::Broker, "process.roles"),
        (Scope::Broker, "listeners"),
        (Scope::Broker, "log.dirs"),
        (
            Scope::Broker,
            "listener.name.internal.ssl.keystore.location",
        ),
        (Scope::Broker, "sasl.enabled.mechanisms"),
        (Scope::Broker, "zookeeper.connect"),
        (Scope::Broker, "group.streams.session.timeout.ms"),
        (Scope::Topic, "local.retention.ms"),
        (Scope::Topic, "compression.type"),
        (Scope::Producer, "bootstrap.servers"),
        (Scope::Producer, "key.serializer"),
        (Scope::Producer, "compression.type"),
        (Scope::Producer, "transactional.id"),
        (Scope::Producer, "security.protocol"),
        (Scope::Consumer, "bootstrap.servers"),
        (Scope::Consumer, "value.deserializer"),
        (Scope::Consumer, "group.protocol"),
        (Scope::Consumer, "max.poll.interval.ms"),
        (Scope::Consumer, "ssl.truststore.location"),
    ] {
        assert_eq!(classify(scope, name), Class::NotModelled, "{scope} {name}");
    }
    // A bare prefix is no name.
    assert!(matches!(
        classify(Scope::Broker, "listener.name."),
        Class::Unknown { .. }
    ));
}

#[test]
fn a_slip_of_the_pen_gets_the_name_that_was_meant() {
    for (scope, name, meant) in [
        (Scope::Broker, "min.insync.replica", "min.insync.replicas"),
        (Scope::Broker, "min_insync_replicas", "min.insync.replicas"),
        (
            Scope::Broker,
            "log.flush.interval.message",
            "log.flush.interval.messages",
        ),
        (Scope::Broker, "log.retention.hour", "log.retention.hours"),
        (Scope::Producer, "ack", "acks"),
        (Scope::Producer, "enable.idempotance", "enable.idempotence"),
        (Scope::Consumer, "enable.autocommit", "enable.auto.commit"),
        (Scope::Topic, "min.isnync.replicas", "min.insync.replicas"),
    ] {
        assert_eq!(nearest_of(scope, name), Some((meant, scope)), "{name}");
    }
}

#[test]
fn a_name_of_another_file_names_that_file() {
    assert_eq!(
        nearest_of(Scope::Broker, "acks"),
        Some(("acks", Scope::Producer))
    );
    assert_eq!(
        nearest_of(Scope::Broker, "enable.auto.commit"),
        Some(("enable.auto.commit", Scope::Consumer))
    );
    assert_eq!(
        nearest_of(Scope::Producer, "min.insync.replicas"),
        Some(("min.insync.replicas", Scope::Broker))
    );
}

#[test]
fn topic_and_broker_names_of_one_setting_lead_to_each_other() {
    assert_eq!(
        nearest_of(Scope::Broker, "flush.ms"),
        Some(("log.flush.interval.ms", Scope::Broker))
    );
    assert_eq!(
        nearest_of(Scope::Topic, "log.flush.interval.messages"),
        Some(("flush.messages", Scope::Topic))
    );
    assert_eq!(
        nearest_of(Scope::Topic, "message.max.bytes"),
        Some(("max.message.bytes", Scope::Topic))
    );
}

#[test]
fn a_name_of_nobody_gets_no_suggestion() {
    assert_eq!(nearest_of(Scope::Broker, "confluent.balancer.enable"), None);
    assert_eq!(nearest_of(Scope::Consumer, "x"), None);
}
