use super::*;
use everyack_broker::config::{Acks, AutoOffsetReset};

/// The guide's files, as it prints them.
const SERVER: &str = "default.replication.factor = 3
min.insync.replicas = 2
log.flush.interval.messages = 10000
log.flush.interval.ms = 1000
";
const PRODUCER: &str = "bootstrap.servers = localhost:9092
key.serializer = org.apache.kafka.common.serialization.StringSerializer
value.serializer = org.apache.kafka.common.serialization.StringSerializer
acks = all
retries = 3
";
const CONSUMER: &str = "bootstrap.servers = localhost:9092
group.id = test - group
key.deserializer = org.apache.kafka.common.serialization.StringDeserializer
value.deserializer = org.apache.kafka.common.serialization.StringDeserializer
enable.auto.commit = false
";

fn entries(text: &[u8]) -> Vec<(String, String, usize)> {
    let file = read("f", text).unwrap_or_else(|error| panic!("{error}"));
    file.entries
        .into_iter()
        .map(|entry| (entry.key, entry.value, entry.line))
        .collect()
}

fn entry(key: &str, value: &str, line: usize) -> (String, String, usize) {
    (key.to_string(), value.to_string(), line)
}

fn checked(scope: Scope, text: &str) -> Checked {
    let file = read("f", text.as_bytes()).expect("readable");
    check(scope, &file).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(scope: Scope, name: &str, text: &str) -> String {
    let file = read(name, text.as_bytes()).expect("readable");
    match check(scope, &file) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{text:?} was accepted"),
    }
}

fn keys(checked: &Checked) -> Vec<&str> {
    checked
        .not_modelled
        .iter()
        .map(|setting| setting.key.as_str())
        .collect()
}

#[test]
fn the_guides_server_file_reads_as_printed() {
    let checked = checked(Scope::Broker, SERVER);
    let config = BrokerConfig::from_properties(&checked.map).unwrap();
    assert_eq!(config.default_replication_factor, 3);
    assert_eq!(config.topic_defaults.min_insync_replicas, 2);
    assert_eq!(config.topic_defaults.flush_messages, 10_000);
    assert_eq!(config.topic_defaults.flush_ms, 1_000);
    assert_eq!(checked.not_modelled, []);
    assert_eq!(checked.warnings.len(), 2, "{:?}", checked.warnings);
    assert!(checked.warnings[0].starts_with("f:2: min.insync.replicas: 2 in a broker's file"));
    assert!(checked.warnings[1].starts_with("f:4: log.flush.interval.ms: 1000 does nothing"));
}

#[test]
fn the_guides_producer_file_reads_as_printed() {
    let checked = checked(Scope::Producer, PRODUCER);
    let config = ProducerConfig::from_properties(&checked.map).unwrap();
    assert_eq!((config.acks, config.retries), (Acks::All, 3));
    assert!(config.enable_idempotence);
    assert_eq!(
        keys(&checked),
        ["bootstrap.servers", "key.serializer", "value.serializer"]
    );
    assert_eq!(checked.warnings.len(), 1, "{:?}", checked.warnings);
    assert!(checked.warnings[0].starts_with("f:5: retries: 3 retries"));
}

#[test]
fn the_guides_consumer_file_reads_as_printed_with_spaces_in_its_group() {
    let checked = checked(Scope::Consumer, CONSUMER);
    let config = ConsumerConfig::from_properties(&checked.map).unwrap();
    assert_eq!(config.group_id.as_deref(), Some("test - group"));
    assert!(!config.enable_auto_commit);
    assert_eq!(config.auto_offset_reset, AutoOffsetReset::Latest);
    assert_eq!(
        keys(&checked),
        [
            "bootstrap.servers",
            "key.deserializer",
            "value.deserializer"
        ]
    );
    assert_eq!(checked.warnings, Vec::<String>::new());
}

#[test]
fn separators_comments_and_blank_lines_are_javas() {
    let text = b"# one\n\n  ! two\na=1\nb:2\nc 3\n d = x = y \ne\n";
    assert_eq!(
        entries(text),
        [
            entry("a", "1", 4),
            entry("b", "2", 5),
            entry("c", "3", 6),
            entry("d", "x = y ", 7),
            entry("e", "", 8),
        ]
    );
}

#[test]
fn a_continued_line_has_the_number_of_its_first() {
    let text = b"a = 1,\\\n    2,\\\r\n    # 3\nb = 4\\\\\nc = 5";
    assert_eq!(
        entries(text),
        [
            entry("a", "1,2,# 3", 1),
            entry("b", "4\\", 4),
            entry("c", "5", 5)
        ]
    );
}

#[test]
fn a_backslash_at_the_end_of_the_file_does_not_lose_the_line() {
    assert_eq!(
        entries(b"a = 1\nb = 2\\"),
        [entry("a", "1", 1), entry("b", "2", 2)]
    );
}

#[test]
fn all_three_line_ends_count_as_one_line_each() {
    assert_eq!(
        entries(b"a=1\rb=2\r\nc=3\nd=4"),
        [
            entry("a", "1", 1),
            entry("b", "2", 2),
            entry("c", "3", 3),
            entry("d", "4", 4)
        ]
    );
}

#[test]
fn escapes_are_javas() {
    assert_eq!(
        entries(b"a\\ b\\=c = \\u00e9\\t\\:\\q"),
        [entry("a b=c", "\u{e9}\t:q", 1)]
    );
}

#[test]
fn a_path_in_a_comment_is_no_escape() {
    let text = b"# C:\\users\\kafka\\\nacks = all\n";
    assert_eq!(entries(text), [entry("acks", "all", 2)]);
}

#[test]
fn latin_1_and_utf_8_are_both_read_and_utf_8_is_remarked_on() {
    assert_eq!(
        entries(b"group.id = caf\xe9"),
        [entry("group.id", "caf\u{e9}", 1)]
    );
    // 0x80 is a control character in Latin-1; windows-1252 would make it a euro sign.
    assert_eq!(entries(b"a = \x80"), [entry("a", "\u{80}", 1)]);
    let file = read("f", "a = 1\ngroup.id = 消息".as_bytes()).unwrap();
    assert_eq!(file.entries[1].value, "消息");
    assert_eq!(
        file.warnings,
        ["f:2: read as UTF-8; Kafka's own tools read Latin-1 and see other characters here"]
    );
}

#[test]
fn a_byte_order_mark_is_refused() {
    let error = read("server.properties", b"\xef\xbb\xbfacks = 1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "server.properties:1: found a byte-order mark, which Java takes for a part of the first key, allowed is text without one"
    );
}

#[test]
fn a_malformed_escape_names_its_line_and_shows_nothing_else_of_it() {
    for (text, line, escape) in [
        ("a=1\nb = secret\\u12g4\n", 2, "\\\\u12g4"),
        ("a = secret\\\\\\u12", 1, "\\\\u12"),
        ("a = \\u0041\\\n  secret\\ud83d", 1, "\\\\ud83d"),
    ] {
        let error = read("p.properties", text.as_bytes()).unwrap_err();
        assert_eq!(error.line, line);
        let begin = format!("p.properties:{line}: found the escape \"{escape}\", allowed is \\u");
        assert!(error.to_string().starts_with(&begin), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn what_the_simulation_does_not_read_is_not_carried_on() {
    let found = checked(
        Scope::Producer,
        "acks=1\nssl.key.password=secret\nmy.own=secret\ntransactional.id.prefix=secret\n",
    );
    assert_eq!(found.map.keys().collect::<Vec<_>>(), ["acks"]);
    assert!(!format!("{found:?}").contains("secret"));
}

#[test]
fn the_last_of_two_settings_counts_and_the_second_is_remarked_on() {
    let file = read("f", b"acks = 1\nretries = 0\nacks = all\n").unwrap();
    assert_eq!(file.map()["acks"], "all");
    assert_eq!(file.line("acks"), Some(3));
    assert_eq!(file.entries.len(), 3);
    assert_eq!(
        file.warnings,
        ["f:3: acks: overrides line 1, as the last setting of a key counts"]
    );
    // The overridden value is not judged.
    assert!(
        check(
            Scope::Producer,
            &read("f", b"acks = 9\nacks = 1\n").unwrap()
        )
        .is_ok()
    );
}

#[test]
fn a_bad_value_names_file_line_key_what_was_found_and_what_is_allowed() {
    assert_eq!(
        refusal(
            Scope::Producer,
            "producer.properties",
            "# mine\n\nacks = 2\n"
        ),
        "producer.properties:3: acks: found \"2\", allowed is all, -1, 0 or 1"
    );
    assert_eq!(
        refusal(Scope::Broker, "s", "min.insync.replicas=0\n"),
        "s:1: min.insync.replicas: found \"0\", allowed is a 32-bit integer, at least 1"
    );
    assert_eq!(
        refusal(Scope::Topic, "t", "flush.messages=1\nflush.ms=-1\n"),
        "t:2: flush.ms: found \"-1\", allowed is a 64-bit integer, at least 0"
    );
    assert_eq!(
        refusal(Scope::Consumer, "c", "group.id=g\nenable.auto.commit=no\n"),
        "c:2: enable.auto.commit: found \"no\", allowed is true or false"
    );
}

#[test]
fn a_bad_combination_names_a_line_that_is_there() {
    assert_eq!(
        refusal(Scope::Producer, "p", "enable.idempotence=true\nacks=1\n"),
        "p:2: acks: found \"1\" beside enable.idempotence = true, allowed is all or -1, or enable.idempotence = false"
    );
    for (scope, text, line) in [
        (
            Scope::Producer,
            "\nmax.in.flight.requests.per.connection=6\n",
            2,
        ),
        (Scope::Producer, "acks=0\ntransactional.id=t\n", 2),
        (Scope::Producer, "delivery.timeout.ms=1\n", 1),
        (Scope::Consumer, "\n\nenable.auto.commit=true\n", 3),
        (Scope::Consumer, "group.id=\n", 1),
        (Scope::Broker, "replica.lag.time.max.ms=1\n", 1),
        (Scope::Broker, "replica.socket.timeout.ms=1\n", 1),
        (Scope::Broker, "replica.fetch.wait.max.ms=99999\n", 1),
        (Scope::Broker, "log.flush.scheduler.interval.ms=-1\n", 1),
    ] {
        assert!(
            refusal(scope, "x", text).starts_with(&format!("x:{line}: ")),
            "{text:?}"
        );
    }
}

#[test]
fn an_unknown_key_is_a_warning_with_what_was_meant() {
    let found = checked(
        Scope::Broker,
        "default.replication.factor=3\nmin.insync.replica=2\nacks=all\nflush.ms=1\nmy.plugin.secret.option=x\n",
    );
    assert_eq!(
        found.warnings,
        [
            "f:2: min.insync.replica: nobody knows this broker property; it changes nothing (meant: min.insync.replicas?)",
            "f:3: acks: nobody knows this broker property; it changes nothing (acks is a producer property)",
            "f:4: flush.ms: nobody knows this broker property; it changes nothing (meant: log.flush.interval.ms?)",
            "f:5: my.plugin.secret.option: nobody knows this broker property; it changes nothing",
        ]
    );
    assert_eq!(found.not_modelled, []);
}

#[test]
fn what_is_not_modelled_is_listed_in_the_files_order() {
    let found = checked(
        Scope::Broker,
        "process.roles=broker\ndefault.replication.factor=3\nnode.id=1\nlistener.name.x.ssl.key.password=s\n",
    );
    assert_eq!(
        keys(&found),
        [
            "process.roles",
            "node.id",
            "listener.name.x.ssl.key.password"
        ]
    );
    assert_eq!(found.not_modelled[1].line, 3);
    assert_eq!(found.warnings, Vec::<String>::new());
}

#[test]
fn feature_levels_above_0_are_judged_at_0_and_say_so() {
    let found = checked(
        Scope::Broker,
        "default.replication.factor=3\neligible.leader.replicas.version=1\ntransaction.version=0\n",
    );
    assert_eq!(
        found.not_modelled,
        [NotModelled {
            key: "eligible.leader.replicas.version".to_string(),
            line: 2,
            note: Some("judged at 0"),
        }]
    );
}

/// No text makes the reader panic: every sequence of up to six of the characters that mean
/// something, and one that does not.
#[test]
fn no_text_breaks_the_reader() {
    let alphabet = *b"\\#=\n\ru a\xe9";
    for length in 0..=6u32 {
        for mut index in 0..alphabet.len().pow(length) {
            let mut text = Vec::new();
            for _ in 0..length {
                text.push(alphabet[index % alphabet.len()]);
                index /= alphabet.len();
            }
            if let Err(error) = read("f", &text) {
                assert!(!error.to_string().contains('\n'), "{text:?}");
            }
        }
    }
}
