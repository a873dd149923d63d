use super::*;
use crate::report::Expected;
use everyack_sim::mechanism::Mechanism;
use everyack_sim::spec::WireMode;

const SMALL: &str = r#"
name = "small"
seeds = 5

[shortened.broker]
"broker.session.timeout.ms" = 3000

[[row]]
name = "weak"
claim = "it loses"
faults = ["leader-crash", "none"]
broker."default.replication.factor" = 3
producer."acks" = ["0", "1"]

[[row]]
name = "strong"
claim = "it does not"
faults = ["leader-crash"]
twin = "weak"
broker."default.replication.factor" = 3
broker."min.insync.replicas" = [1, 2]
producer."acks" = "all"
"#;

fn error(text: &str) -> String {
    let error = parse("x.toml", text).unwrap_err().to_string();
    assert!(!error.contains('\n'), "one line: {error}");
    error
}

#[test]
fn lists_span_a_matrix_and_rows_their_families() {
    let suite = parse("x.toml", SMALL).unwrap();
    let ids: Vec<String> = suite.cells().unwrap().into_iter().map(|c| c.id).collect();
    assert_eq!(
        ids,
        [
            "weak/acks=0/leader-crash",
            "weak/acks=0/none",
            "weak/acks=1/leader-crash",
            "weak/acks=1/none",
            "strong/min.insync.replicas=1/leader-crash",
            "strong/min.insync.replicas=2/leader-crash",
        ]
    );
}

const LISTED: &str = r#"
name = "listed"

[[row]]
name = "sample"
claim = "it is listed"
broker."default.replication.factor" = 3
workload.processing-us = 7
columns = ["producer.acks", "broker.min.insync.replicas", "faults", "application"]
cells = [
    ["0", 1, "none", "auto-commit"],
    ["all", 2, "leader-crash", "commit-after-processing"],
    ["all", 2, "none", "commit-after-processing"],
]
"#;

#[test]
fn cells_can_be_listed_line_by_line_instead_of_a_product() {
    let suite = parse("x.toml", LISTED).unwrap();
    let cells = suite.cells().unwrap();
    let ids: Vec<&str> = cells.iter().map(|cell| cell.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "sample/acks=0/min.insync.replicas=1/auto-commit/none",
            "sample/acks=all/min.insync.replicas=2/commit-after-processing/leader-crash",
            "sample/acks=all/min.insync.replicas=2/commit-after-processing/none",
        ]
    );
    assert_eq!(suite.rows[0].points.len(), 2, "a configuration once");
    assert_eq!(
        suite.rows[0].load.processing_us, 7,
        "the row's own workload"
    );
    assert_eq!(suite.rows[0].load.messages, Load::default().messages);
    assert!(
        cells
            .iter()
            .all(|cell| cell.config["default.replication.factor"] == "3")
    );
}

#[test]
fn a_line_of_listed_cells_that_is_wrong_is_named() {
    let text = error(&LISTED.replace("[\"0\", 1, \"none\", ", "[\"0\", 1, \"nine\", "));
    assert!(
        text.starts_with("x.toml:11: row.cells: found \"nine\", allowed is none, "),
        "{text}"
    );
    let text = error(&LISTED.replace("2, \"none\"", "2, \"leader-crash\""));
    assert_eq!(
        text,
        "x.toml:13: row.cells: found a cell a second time, allowed is each once"
    );
    let text = error(&LISTED.replace("[\"0\", 1, ", "[\"0\", "));
    assert_eq!(
        text,
        "x.toml:11: row.cells: found 3 values, allowed is 4, one a column"
    );
    let text = error(&LISTED.replace("\"broker.min.insync.replicas\"", "\"broker.min.isr\""));
    assert!(
        text.starts_with("x.toml:9: row.columns: found \"min.isr\", allowed is a broker property"),
        "{text}"
    );
    let text = error(&LISTED.replace("\"application\"]", "\"acks\"]"));
    assert!(text.contains("as producer.acks"), "{text}");
    let matrix = "default.replication.factor\" = [1, 3]";
    let text = error(&LISTED.replace("default.replication.factor\" = 3", matrix));
    assert!(text.contains("the lines of cells vary them"), "{text}");
}

#[test]
fn twins_run_the_same_plans() {
    let suite = parse("x.toml", SMALL).unwrap();
    let cells = suite.cells().unwrap();
    let (weak, strong) = (&cells[0], &cells[4]);
    assert_eq!(strong.twin.as_deref(), Some("weak/acks=0/leader-crash"));
    assert_eq!(strong.seed_group, weak.seed_group);
    for seed in 0..50 {
        assert_eq!(strong.draw(seed), weak.draw(seed));
    }
    assert_eq!(cells[1].twin, None);
}

#[test]
fn a_spec_is_whole() {
    let suite = parse("x.toml", SMALL).unwrap();
    let cell = &suite.cells().unwrap()[5];
    let spec = cell.spec(7, cell.draw(7), WireMode::Typed, None);
    assert_eq!(spec.topology.replication_factor, 3);
    assert_eq!(spec.properties.broker["min.insync.replicas"], "2");
    assert_eq!(spec.properties.broker["broker.session.timeout.ms"], "3000");
    assert!(!cell.config.contains_key("broker.session.timeout.ms"));
    assert_eq!(spec.family, "leader-crash");
    assert!(
        spec.workload.spread_ms > 3 * 3000,
        "there is load after the longest outage"
    );
    assert!(spec.limits.simulated_ms > spec.workload.spread_ms);
}

#[test]
fn errors_name_file_line_key_what_was_found_and_what_is_allowed() {
    let wrong = SMALL.replace("\"leader-crash\", \"none\"", "\"leader-crush\"");
    let text = error(&wrong);
    assert!(
        text.starts_with("x.toml:11: row.faults: found \"leader-crush\", allowed is none, "),
        "{text}"
    );

    let text = error(&SMALL.replace("twin = \"weak\"", "twin = \"week\""));
    assert_eq!(
        text,
        "x.toml:19: twin: found \"week\", allowed is of weak, strong"
    );

    let text = error(&SMALL.replace("seeds = 5", "seeds = 0"));
    assert_eq!(
        text,
        "x.toml:3: seeds: found \"0\", allowed is a whole number of 1 or more"
    );

    let text = error(&SMALL.replace("seeds = 5", "seedz = 5"));
    assert!(
        text.starts_with("x.toml:3: seedz: found \"seedz\", allowed is name, seeds, "),
        "{text}"
    );

    let text = error(&SMALL.replace("[\"0\", \"1\"]", "\"2\""));
    assert!(
        text.starts_with("x.toml:13: acks: found \"2\", allowed is "),
        "{text}"
    );

    let text = error(&SMALL.replace("producer.\"acks\" = \"all\"", "producer.\"ack\" = \"all\""));
    assert!(
        text.contains(":22: row.producer.ack:") && text.contains("acks"),
        "{text}"
    );

    let text = error(&SMALL.replace("replication.factor\" = 3", "replication.factor\" = 4"));
    assert!(
        text.starts_with("x.toml:12: default.replication.factor: found 4, allowed is 1 to 3"),
        "{text}"
    );

    let text = error("name = \"x\"\nseeds = = 1\n");
    assert!(text.starts_with("x.toml:2: syntax: "), "{text}");

    assert!(error("name = \"x\"").contains("row: found nothing"));
}

#[test]
fn a_circle_of_twins_is_refused() {
    let text = SMALL.replace(
        "claim = \"it loses\"",
        "claim = \"it loses\"\ntwin = \"strong\"",
    );
    assert!(error(&text).contains("circle"));
}

#[test]
fn every_bundled_suite_parses_without_a_warning() {
    for (name, _) in BUNDLED {
        let suite = bundled(name).unwrap().unwrap();
        assert_eq!(suite.name, name);
        assert!(suite.bundled);
        assert_eq!(suite.warnings, Vec::<String>::new());
        assert!(!suite.cells().unwrap().is_empty());
    }
    assert!(bundled("guidance").is_none());
}

#[test]
fn the_guide_shows_every_mechanism_of_single_settings_beside_what_keeps() {
    let cells = bundled("guide").unwrap().unwrap().cells().unwrap();
    let shown: std::collections::BTreeSet<Mechanism> = cells
        .iter()
        .flat_map(|cell| cell.expectation.mechanisms.clone())
        .collect();
    use Mechanism::*;
    for mechanism in [P01, P03, P04, P05, P06, P19, S01, S02, C04, C12] {
        assert!(shown.contains(&mechanism), "{mechanism}");
    }
    let keeps = cells
        .iter()
        .filter(|cell| cell.expectation.expected == Expected::NeverLoses);
    assert!(keeps.count() >= 20);
    let safest = cells.iter().filter(|cell| cell.row == "acks=all");
    assert!(safest.clone().count() >= 8);
    for cell in safest {
        assert_eq!(
            cell.expectation.expected,
            Expected::NeverLoses,
            "{}",
            cell.id
        );
    }
}

#[test]
fn the_guides_row_is_the_guides_files() {
    let files = [
        include_str!("../../guide/server.properties"),
        include_str!("../../guide/producer.properties"),
        include_str!("../../guide/consumer.properties"),
    ];
    // Not read by the simulation; everything else in the files must stand in the row.
    let elsewhere = ["bootstrap.servers", "group.id"];
    let mut printed = BTreeMap::new();
    for file in files {
        for line in file.lines() {
            let (key, value) = line.split_once(" = ").unwrap();
            if !elsewhere.contains(&key) && !key.contains("serializer") {
                printed.insert(key.to_owned(), value.to_owned());
            }
        }
    }
    let suite = bundled("guide").unwrap().unwrap();
    let row = suite
        .rows
        .iter()
        .find(|row| row.name == "the guide's three files");
    assert_eq!(flat(&row.unwrap().points[0].files), printed);
}

#[test]
fn the_standard_run_is_the_one_of_the_design() {
    let cells = bundled("standard").unwrap().unwrap().cells().unwrap();
    assert_eq!(cells.len(), 1);
    let cell = &cells[0];
    let spec = cell.spec(1, cell.draw(1), WireMode::Typed, None);
    assert_eq!(cell.family, Family::Random);
    assert_eq!((spec.topology.brokers, spec.topology.partitions), (3, 3));
    assert_eq!(
        (spec.topology.controllers, spec.topology.replication_factor),
        (1, 3)
    );
    assert_eq!(cell.decides.effective_min_isr, 2);
    assert_eq!(
        (spec.applications.producers, spec.applications.consumers),
        (2, 2)
    );
    assert_eq!(spec.workload.messages_per_producer, 500);
    assert_eq!(spec.workload.message_bytes, 100);
    assert_eq!(spec.properties.broker["offsets.topic.num.partitions"], "1");
}

fn input() -> CheckInput {
    CheckInput {
        server: Properties::new(),
        topic: Properties::new(),
        producer: Properties::new(),
        consumer: Properties::new(),
        brokers: 3,
        faults: None,
        tolerate: Tolerate::default(),
    }
}

#[test]
fn check_takes_kafkas_defaults_and_shortens_nothing() {
    let suite = check_suite(&input()).unwrap();
    let cells = suite.cells().unwrap();
    assert!(cells.iter().all(|cell| cell.application() == "auto-commit"));
    assert!(
        cells
            .iter()
            .all(|cell| cell.decides.replication_factor == 1)
    );
    assert!(cells.iter().all(|cell| cell.family != Family::LeaderMove));
    let crash = cells
        .iter()
        .find(|cell| cell.family == Family::LeaderCrash)
        .unwrap();
    assert_eq!(crash.context.timeouts.broker_session_timeout_ms, 9_000);
    assert_eq!(suite.seeds, 100);
    assert!(suite.tolerate.contains(&Family::None));
    assert!(suite.tolerate.contains(&Family::LateStart));
    assert!(!suite.tolerate.contains(&Family::ClusterPowerLoss));
    assert!(!suite.tolerate.contains(&Family::Random));
}

#[test]
fn check_reads_the_application_off_the_consumers_file_and_obeys_faults() {
    let mut input = input();
    input
        .consumer
        .insert("enable.auto.commit".into(), "false".into());
    input.faults = Some(vec![Family::LeaderCrash]);
    input
        .server
        .insert("default.replication.factor".into(), "3".into());
    let cells = check_suite(&input).unwrap().cells().unwrap();
    assert_eq!(cells.len(), 1);
    assert_eq!(cells[0].application(), "commit-after-processing");
    input.brokers = 2;
    let error = check_suite(&input).unwrap_err().to_string();
    assert!(error.contains("allowed is 1 to 2"), "{error}");
}

#[test]
fn tolerate_reads_its_words() {
    assert_eq!(Tolerate::parse("none").unwrap().families(), [Family::None]);
    assert_eq!(Tolerate::parse("any").unwrap().families(), Family::ALL);
    assert_eq!(
        Tolerate::parse("leader-crash, late-start")
            .unwrap()
            .families(),
        [Family::None, Family::LeaderCrash, Family::LateStart]
    );
    assert!(
        Tolerate::parse("leader-crush")
            .unwrap_err()
            .contains("leader-crush")
    );
}
