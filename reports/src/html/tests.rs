use super::*;
use crate::sample;
use everyack_scenarios::failure::{Build, Showed};
use everyack_scenarios::report::{Part, RowClaim, SmallerRun};
use everyack_sim::mechanism::Mechanism;
use std::collections::BTreeMap;

/// The sample run as a failure file, saved for that mechanism in a cell of that name.
fn failure(cell: &str, mechanism: &str) -> Failure {
    let (spec, result) = sample::run();
    Failure {
        build: Build {
            everyack: "0.1.0".to_string(),
            commit: "abc1234".to_string(),
            rustc: "rustc 1".to_string(),
            target: "t-t".to_string(),
        },
        suite: "sample".to_string(),
        cell: cell.to_string(),
        mechanism: mechanism.to_string(),
        showed: Showed::of(&result),
        trace_hash: "0x1".to_string(),
        spec,
        story: result.story,
    }
}

/// A cell that lost in one run, of which the file is at hand.
fn told(row: &str, mechanism: Mechanism) -> (Cell, Failure) {
    let mut cell = sample::lossy(row, "leader-crash", &[mechanism], 1);
    let failure = failure(&cell.id, mechanism.id());
    cell.witnesses[0].spec = format!("failures/{}.json", failure.id());
    (cell, failure)
}

/// By the file that the report names.
fn files(failures: Vec<Failure>) -> BTreeMap<String, Failure> {
    let named = failures
        .into_iter()
        .map(|failure| (format!("failures/{}.json", failure.id()), failure));
    named.collect()
}

/// What a reader sees: tags dropped.
fn seen(html: &str) -> String {
    let (_, body) = html.split_once("</style>").expect("it has a style");
    let body = body.replace("<wbr>", "");
    let mut out = String::new();
    let mut in_tag = false;
    for c in body.chars() {
        match c {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                out.push(' ');
            }
            c if !in_tag => out.push(c),
            _ => {}
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_verdict_stands_before_everything_and_what_is_wrong_before_the_matrix() {
    let html = render(&sample::every_kind(), &BTreeMap::new());
    let at = |text: &str| {
        html.find(text)
            .unwrap_or_else(|| panic!("{text} is missing"))
    };
    let order = [
        at("PROMISE BROKEN</span><h1>"),
        at("everyack run sample --seed-base 0x2a</code>"),
        at("What is wrong</h2>"),
        at("everyack replay everyack-out/failures/unexplained-rolling-crash.json"),
        at("The matrix</h2>"),
        at("Row by row, with the price</h2>"),
        at("How messages are lost</h2>"),
        at("How to read this</h2>"),
    ];
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn every_cell_stands_in_the_matrix_and_in_its_row_with_numbers() {
    let mut report = sample::every_kind();
    for (index, cell) in report.cells.iter_mut().enumerate() {
        cell.index = index;
    }
    let html = render(&report, &BTreeMap::new());
    for index in 0..report.cells.len() {
        assert_eq!(html.matches(&format!("href=\"#c{index}\"")).count(), 1);
        assert_eq!(html.matches(&format!("id=\"c{index}\"")).count(), 1);
    }
    let text = seen(&html);
    for says in [
        "LOST 37/180 P04",
        "kept 0/180",
        "not exposed",
        "143 of 200 lose with acks=1",
        "may lose by P04 , P06",
        "230, 180, 240",
        "2.5 / 11.0",
        "900 / 4,000",
    ] {
        assert!(text.contains(says), "{says} in {text}");
    }
}

#[test]
fn columns_and_rows_have_headers_with_scope_and_every_table_a_name_for_its_columns() {
    let html = render(&sample::every_kind(), &BTreeMap::new());
    assert!(html.contains("<th scope=\"row\""));
    let headers = html.matches("<th ").count();
    assert_eq!(headers, html.matches("<th scope=").count());
    assert_eq!(
        html.matches("<table").count(),
        html.matches("<thead").count()
    );
}

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    let (cell, failure) = told("acks=1", Mechanism::P04);
    let html = render(&sample::report(vec![cell]), &files(vec![failure]));
    for absent in [
        "<script", "<link", "<img", "src=", "url(", "@import", "http://", "https://", "onclick",
    ] {
        assert!(!html.contains(absent), "{absent}");
    }
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn whatever_a_users_file_says_is_text_on_the_page() {
    let evil = "<img src=x onerror=alert(1)>\"'&";
    let mut report = sample::report(vec![sample::broken(evil, "leader-crash")]);
    report.suite = evil.to_string();
    report.rows = vec![RowClaim {
        name: evil.to_string(),
        claim: format!("claim {evil}"),
    }];
    report.warnings = vec![format!("warning {evil}")];
    report.asked.command = format!("everyack run {evil}");
    report.asked.parts = vec![Part {
        filter: evil.to_string(),
        shard: Some(evil.to_string()),
    }];
    let cell = &mut report.cells[0];
    cell.config.insert(evil.to_string(), evil.to_string());
    cell.note = format!("note {evil}");
    cell.application = evil.to_string();
    cell.faults = evil.to_string();
    cell.witnesses[0].command = evil.to_string();
    cell.twin = Some(everyack_scenarios::report::Twin {
        config: BTreeMap::from([(evil.to_string(), evil.to_string())]),
        runs_with_loss: 1,
    });
    let mut failure = failure(&cell.id, "unexplained");
    failure.story[0].what = evil.to_string();
    failure.showed.anomalies[0].what = evil.to_string();
    cell.witnesses[0].spec = format!("failures/{}.json", failure.id());
    let html = render(&report, &files(vec![failure]));
    assert!(!html.contains("<img"), "{html}");
    let escaped = html.matches("&lt;img src=").count();
    assert!(escaped > 15, "{escaped}");
    assert!(html.contains("claim &lt;img") && html.contains("warning &lt;img"));
}

#[test]
fn a_loss_is_told_with_its_faults_and_its_messages() {
    let (cell, failure) = told("acks=1", Mechanism::P04);
    let text = seen(&render(&sample::report(vec![cell]), &files(vec![failure])));
    for says in [
        "P04 : leader died before replication seed 0x1f; not shrunk everyack replay everyack-out/failures/p04-leader-crash.json How: the leader had the record",
        "Its story A plan of 1 fault, written to show P04; simulated seconds.",
        "12.345678 broker 1 was killed while 7 acknowledged records stood in its log alone",
        "7 messages LOST , leader died before replication: message 0 of producer 1, partition 0, acknowledged at offset 100;",
        "and 2 more",
    ] {
        assert!(text.contains(says), "{says} in {text}");
    }
}

#[test]
fn of_a_run_that_was_shrunk_the_smaller_one_is_told_and_replayed() {
    let (mut cell, failure) = told("acks=1", Mechanism::P04);
    let mut smaller = failure.clone();
    smaller.story.truncate(1);
    smaller.story[0].what = "the smaller run".to_string();
    let spec = format!("{}.shrunk.json", cell.witnesses[0].spec);
    cell.witnesses[0].shrunk = Some(SmallerRun {
        command: format!("everyack replay everyack-out/{spec}"),
        spec: spec.clone(),
        faults: 1,
        messages: 7,
        minimal: true,
    });
    let mut files = files(vec![failure]);
    files.insert(spec, smaller);
    let text = seen(&render(&sample::report(vec![cell]), &files));
    for says in [
        "seed 0x1f; 1 fault, 7 messages",
        ".json.shrunk.json",
        "the smaller run",
    ] {
        assert!(text.contains(says), "{says} in {text}");
    }
    assert!(
        !text.contains("acknowledged records stood in its log alone"),
        "{text}"
    );
}

#[test]
fn what_came_before_the_first_fault_is_folded_away() {
    let (cell, mut failure) = told("acks=1", Mechanism::P04);
    failure.story[1].what = "FAULT: its process is killed".to_string();
    let html = render(&sample::report(vec![cell]), &files(vec![failure]));
    assert!(
        html.contains("1 event before the first fault</summary>"),
        "{html}"
    );
    assert!(html.contains("<li class=\"f\"><i>21.400000</i>"), "{html}");
}

#[test]
fn stories_take_a_bounded_room_and_each_mechanism_is_told_before_one_is_told_twice() {
    let mut cells = Vec::new();
    let mut failures = Vec::new();
    for n in 0..200 {
        let (mut cell, mut failure) = told(&format!("row {n}"), Mechanism::P04);
        failure.story[0].what = "x".repeat(30_000);
        (cell.index, cell.losses_by_mechanism) = (n, BTreeMap::new());
        cells.push(cell);
        failures.push(failure);
    }
    let (mut last, failure) = told("the last row", Mechanism::P05);
    last.index = 200;
    cells.push(last);
    failures.push(failure);
    let html = render(&sample::report(cells), &files(failures));
    assert!(html.len() < 1_600_000, "{}", html.len());
    let told = html.matches("Its story</summary>").count();
    assert!((20..30).contains(&told), "{told}");
    let (_, last) = html.rsplit_once("id=\"d200\"").expect("the last row");
    assert!(last.contains("Its story</summary>"), "P05 has no other");
    // The others still say how to see it.
    assert_eq!(html.matches("<h4>").count(), 201);
}

#[test]
fn one_configuration_under_many_families_is_a_list_of_families() {
    let families = ["none", "leader-crash", "leader-move", "late-start"];
    let cells = families.map(|family| sample::kept("the given files", family));
    let html = render(&sample::report(cells.to_vec()), &BTreeMap::new());
    assert!(
        html.contains("<th scope=\"row\" role=\"rowheader\">leader-<wbr>crash</th><td"),
        "{html}"
    );
}

#[test]
fn a_matrix_that_is_mostly_empty_stands_in_blocks_without_empty_rows_and_a_full_one_whole() {
    let families: Vec<Family> = Family::ALL.into_iter().take(20).collect();
    let diagonal = families.iter().enumerate().map(|(n, family)| {
        let mut cell = sample::kept(&format!("row {n}"), family.name());
        cell.index = n;
        cell
    });
    let html = render(&sample::report(diagonal.collect()), &BTreeMap::new());
    assert_eq!(html.matches("<table class=\"matrix\"").count(), 3);
    for n in 0..20 {
        assert_eq!(html.matches(&format!("href=\"#r{n}\"")).count(), 1);
        assert_eq!(html.matches(&format!("href=\"#c{n}\"")).count(), 1);
    }
    let full = (0..10).flat_map(|row| {
        let of_row = move |family: &Family| sample::kept(&format!("row {row}"), family.name());
        families.iter().map(of_row)
    });
    let html = render(&sample::report(full.collect()), &BTreeMap::new());
    assert_eq!(html.matches("<table class=\"matrix\"").count(), 1);
}

#[test]
fn of_a_long_verdict_the_heading_is_its_first_clause() {
    let mut skips = sample::broken("the given files", "late-start");
    skips.losses_by_mechanism = BTreeMap::from([("C12".to_string(), 12)]);
    let kept = sample::kept("the given files", "leader-crash");
    let mut report = sample::report(vec![skips, kept]);
    report.suite = summary::CHECK.to_string();
    let html = render(&report, &BTreeMap::new());
    assert!(
        html.contains(
            "<h1>This configuration loses acknowledged messages under late-start (C12), which it must \
             survive.</h1><p class=\"more\">It kept every acknowledged message under leader-crash.</p>"
        ),
        "{html}"
    );
}

#[test]
fn a_part_says_that_it_is_one_and_an_interrupted_campaign_too() {
    let mut report = sample::every_kind();
    report.asked.suite_cells = 40;
    report.asked.interrupted = true;
    report.asked.parts = vec![Part {
        filter: String::new(),
        shard: Some("2/4".to_string()),
    }];
    let text = seen(&render(&report, &BTreeMap::new()));
    assert!(
        text.contains("This is a part of the suite: shard 2/4"),
        "{text}"
    );
    assert!(
        text.contains("of the suite&#39;s 40") || text.contains("of the suite's 40"),
        "{text}"
    );
    assert!(
        text.contains("INTERRUPTED") && text.contains("the runs that had finished"),
        "{text}"
    );
}

#[test]
fn a_matrix_of_the_largest_bundled_size_stays_below_two_megabytes() {
    let mut cells = Vec::new();
    let mut failures = Vec::new();
    for row in 0..54 {
        for family in Family::ALL.into_iter().take(23) {
            let name = format!("acks=all, RF 3, min ISR 2, flush {row}");
            let mut cell = match cells.len() % 2 {
                0 => sample::kept(&name, family.name()),
                _ => sample::lossy(&name, family.name(), &[Mechanism::P04, Mechanism::P06], 20),
            };
            cell.index = cells.len();
            if !cell.witnesses.is_empty() {
                let failure = failure(&cell.id, "P04");
                cell.witnesses[0].spec = format!("failures/{}.json", failure.id());
                failures.push(failure);
            }
            cells.push(cell);
        }
    }
    assert_eq!(cells.len(), 1_242);
    let html = render(&sample::report(cells), &files(failures));
    assert!(html.len() < 2_000_000, "{}", html.len());
    assert!(!html.contains("class=\"row\" id=\"r0\" open"));
}
