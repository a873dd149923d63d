//! What GitHub shows of a campaign: a job summary in Markdown, and annotations.
//!
//! Workflow commands and their escaping are those of the runner and of `@actions/core`
//! (`escapeData`, `escapeProperty`); of a step GitHub shows ten errors and ten warnings and takes a
//! summary of 1 MiB.

use crate::text::{count, counted, listed};
use crate::{cell, command, matrix, summary};
use everyack_scenarios::report::{Cell, Report};

/// Bytes that the summaries of one step may have together.
pub const SUMMARY_BYTES: usize = 1024 * 1024;

/// Annotations of one kind that GitHub shows of one step.
const SHOWN: usize = 10;

/// Cells whose explanation the summary has in full.
const EXPLAINED: usize = 25;

/// Workflow commands, one a line: an error for each cell that fails, for a canary that was missed and
/// for a required mark that was not reached; a warning for each surprise in the input, and one for
/// what stayed open.
pub fn annotations(report: &Report) -> String {
    let mut errors: Vec<(String, String)> = Vec::new();
    if let Some(canary) = report.canary.as_ref().filter(|canary| !canary.caught) {
        let what = format!(
            "The planted bug {} was not caught: nothing here can be trusted.",
            canary.bug
        );
        errors.push(("everyack: CANARY NOT CAUGHT".to_string(), what));
    }
    errors.extend(failing(report).map(|cell| {
        let title = format!(
            "everyack: {} {}",
            word(cell),
            cell::place(cell, &report.cells)
        );
        (title, explanation(cell).join("\n"))
    }));
    for mark in summary::unreached(report) {
        let what = "The suite requires that some run reaches it, and none did.";
        errors.push((format!("everyack: mark {mark}"), what.to_string()));
    }
    let told = report.warnings.iter();
    let told = told.filter(|warning| !warning.starts_with("assumed: "));
    let mut warnings: Vec<(String, String)> = told
        .map(|warning| ("everyack".to_string(), warning.clone()))
        .collect();
    let open = report.cells.iter().filter(|cell| is_open(cell)).count() as u64;
    if open > 0 && !report.demanded() {
        let what = format!("{} stayed open: see the summary.", counted(open, "cell"));
        warnings.push(("everyack".to_string(), what));
    }
    commands("error", &errors) + &commands("warning", &warnings)
}

/// Cells that make the campaign fail.
fn failing(report: &Report) -> impl Iterator<Item = &Cell> {
    let demanded = report.demanded();
    let fails = move |cell: &&Cell| cell::fails(cell, demanded) || cell::testbed_failed(cell);
    report.cells.iter().filter(fails)
}

fn is_open(cell: &Cell) -> bool {
    let word = matrix::entry(cell).1;
    matches!(word, matrix::Shade::Open | matrix::Shade::Grey)
}

fn word(cell: &Cell) -> &'static str {
    cell::alarm(cell).unwrap_or("NOT EXPOSED")
}

/// Expected, seen, why and how to see it again, a line each.
fn explanation(cell: &Cell) -> Vec<String> {
    let mut lines = vec![
        format!("expected: {}", cell::expectation(cell)),
        format!("seen: {}", cell::observation(cell)),
    ];
    if !cell.note.is_empty() {
        lines.push(format!("why: {}", cell.note));
    }
    lines.extend(
        cell.witnesses
            .first()
            .map(|first| format!("replay: {}", cell::replay(first).0)),
    );
    lines
}

/// The first ones that GitHub shows; the last of them counts the others.
fn commands(kind: &str, all: &[(String, String)]) -> String {
    let named = if all.len() > SHOWN {
        SHOWN - 1
    } else {
        all.len()
    };
    let mut out: String = all[..named]
        .iter()
        .map(|(title, what)| annotation(kind, title, what))
        .collect();
    if named < all.len() {
        let more = format!(
            "{} more: see the summary.",
            count((all.len() - named) as u64)
        );
        out += &annotation(kind, "everyack", &more);
    }
    out
}

fn annotation(kind: &str, title: &str, message: &str) -> String {
    format!("::{kind} title={}::{}\n", property(title), data(message))
}

/// A workflow command's message.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The job summary, of at most so many bytes: what does not fit is left out, and it says so.
pub fn summary(report: &Report, bytes: usize) -> String {
    let sections = [
        head(report),
        wrong(report),
        matrix_table(report),
        words(report),
        again(report),
    ];
    let left_out = "\n_The rest is left out: GitHub takes 1 MiB of summaries a step._\n";
    let mut out = String::new();
    let mut complete = true;
    for section in sections {
        match out.len() + section.len() + left_out.len() <= bytes {
            true => out += &section,
            false => complete = false,
        }
    }
    if !complete && out.len() + left_out.len() <= bytes {
        out += left_out;
    }
    out
}

fn head(report: &Report) -> String {
    let sum = |of: fn(&Cell) -> u64| count(report.cells.iter().map(of).sum());
    let canary = match &report.canary {
        Some(canary) if canary.caught => format!("caught after {}", counted(canary.seeds, "seed")),
        Some(_) => "**not caught**".to_string(),
        None => "did not run".to_string(),
    };
    format!(
        "## everyack: {}\n\n**{}** {}\n\n| cells | runs | exposed | with loss | canary | seed base | commit |\n|---|---|---|---|---|---|---|\n| {} of {} | {} | {} | {} | {canary} | {} | {} |\n\n",
        inline(&report.suite),
        summary::seal(report).0,
        inline(&summary::sentence(report)),
        count(report.cells.len() as u64),
        count(report.asked.suite_cells as u64),
        sum(|cell| cell.runs),
        sum(|cell| cell.exposed),
        sum(|cell| cell.runs_with_loss),
        inline(&report.seed_base),
        inline(&report.commit),
    )
}

fn wrong(report: &Report) -> String {
    let failing: Vec<&Cell> = failing(report).collect();
    let mut out = String::new();
    for cell in failing.iter().take(EXPLAINED) {
        let place = cell::place(cell, &report.cells);
        out += &format!("### {} {}\n\n", word(cell), inline(&place));
        for line in explanation(cell) {
            match line.strip_prefix("replay: ") {
                Some(command) => out += &format!("\n{}", fenced(command)),
                None => out += &format!("- {}\n", inline(&line)),
            }
        }
        out += "\n";
    }
    if failing.len() > EXPLAINED {
        let more = (failing.len() - EXPLAINED) as u64;
        out += &format!("{} more in `report.json`.\n\n", counted(more, "cell"));
    }
    out
}

/// The matrix; one configuration alone is a list of families.
fn matrix_table(report: &Report) -> String {
    let families = cell::families(&report.cells);
    let rows = cell::rows(&report.cells);
    let labels: Vec<String> = rows
        .iter()
        .map(|row| inline(&cell::row_label(row[0], &report.cells)))
        .collect();
    let entry = |row: &[&Cell], family: &str| {
        let found = row.iter().find(|cell| cell.faults == family);
        found.map_or(String::new(), |cell| matrix_entry(cell))
    };
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let first = |head: &str, rest: Vec<String>| [vec![head.to_string()], rest].concat();
    let names: Vec<String> = families.iter().map(|family| inline(family)).collect();
    let sideways = rows.len() * 4 <= families.len();
    let (columns, head) = if sideways {
        (&labels, "faults")
    } else {
        (&names, "configuration")
    };
    let mut out = line(first(head, columns.clone()));
    out += &format!("|{}\n", "---|".repeat(columns.len() + 1));
    if sideways {
        for (family, name) in families.iter().zip(&names) {
            let cells = rows.iter().map(|row| entry(row, family)).collect();
            out += &line(first(name, cells));
        }
    } else {
        for (row, label) in rows.iter().zip(&labels) {
            let cells = families.iter().map(|family| entry(row, family)).collect();
            out += &line(first(label, cells));
        }
    }
    out + "\nRuns with loss / runs exposed to the fault. Rates are of adversarial plans, no probability in production.\n\n"
}

fn matrix_entry(cell: &Cell) -> String {
    let (lines, shade) = matrix::entry(cell);
    let text = inline(&lines.join(" "));
    match shade {
        matrix::Shade::Broken | matrix::Shade::Missing => format!("**{text}**"),
        _ => text,
    }
}

fn words(report: &Report) -> String {
    let mechanisms = cell::mechanisms(&report.cells);
    let mut out = String::new();
    for mechanism in mechanisms {
        out += &format!(
            "- **{}** {}: {}\n",
            mechanism.id(),
            inline(mechanism.name()),
            inline(mechanism.sentence())
        );
    }
    match out.is_empty() {
        true => out,
        false => {
            format!("<details><summary>How messages are lost</summary>\n\n{out}\n</details>\n\n")
        }
    }
}

fn again(report: &Report) -> String {
    let unmet = summary::unreached(report);
    let mut out = match unmet.is_empty() {
        true => String::new(),
        false => format!(
            "Required marks that no run reached: {}.\n\n",
            inline(&listed(&unmet))
        ),
    };
    out += &format!(
        "Run it again:\n\n{}",
        fenced(&command::again(report).join("\n"))
    );
    out + "\n"
}

/// Text in a paragraph, a heading or a table's cell: nothing in it is markup.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '&'
            | '!' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A block of code that nothing in it can end.
fn fenced(code: &str) -> String {
    let mut longest = 0;
    let mut ticks = 0;
    for c in code.chars() {
        ticks = if c == '`' { ticks + 1 } else { 0 };
        longest = longest.max(ticks);
    }
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}\n{code}\n{fence}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_broken_cell_is_an_error_with_its_evidence_and_the_command_that_replays_it() {
        let out = annotations(&sample::every_kind());
        let line = out.lines().find(|line| line.contains("BROKEN")).unwrap();
        assert_eq!(
            line,
            "::error title=everyack%3A BROKEN acks=all%2C min ISR 2%2C flushed every message × \
             rolling-crash::expected: never loses%0Aseen: 3 of 180 exposed runs lost 12 acknowledged \
             messages (12 LOST; unexplained)%0Awhy: 3 runs lost what the model forbids%0Areplay: \
             everyack replay everyack-out/failures/unexplained-rolling-crash.json"
        );
        assert!(
            out.contains("::error title=everyack%3A mark unclean-election::"),
            "{out}"
        );
        assert!(
            out.contains("::error title=everyack%3A NO WITNESS acks=0"),
            "{out}"
        );
        assert!(
            out.contains("::warning title=everyack::log.flush.interval.ms=1000"),
            "{out}"
        );
    }

    #[test]
    fn nothing_that_a_user_named_ends_a_command_or_begins_another() {
        assert_eq!(data("50 %\r\n::error::x"), "50 %25%0D%0A::error::x");
        assert_eq!(property("a:b,c%\n"), "a%3Ab%2Cc%25%0A");
        let mut report = sample::report(vec![sample::broken("row\n::error::x,y", "none")]);
        report.marks.clear();
        report.warnings = vec!["two\nlines".to_string()];
        let out = annotations(&report);
        assert_eq!(out.lines().count(), 2, "{out}");
        assert!(out.contains("row%0A%3A%3Aerror%3A%3Ax%2Cy × none"), "{out}");
        assert!(
            out.ends_with("::warning title=everyack::two%0Alines\n"),
            "{out}"
        );
    }

    #[test]
    fn a_clean_campaign_annotates_nothing() {
        let mut report = sample::report(vec![sample::kept("acks=all", "none")]);
        report.marks.clear();
        report.warnings = vec!["assumed: three brokers".to_string()];
        assert_eq!(annotations(&report), "");
    }

    #[test]
    fn of_more_errors_than_github_shows_the_last_counts_the_others() {
        let cells: Vec<Cell> = (0..30)
            .map(|n| sample::broken(&format!("row {n}"), "none"))
            .collect();
        let mut report = sample::report(cells);
        report.marks.clear();
        let out = annotations(&report);
        assert_eq!(out.matches("::error").count(), 10, "{out}");
        assert!(out.contains("::21 more: see the summary."), "{out}");
    }

    #[test]
    fn missing_evidence_is_an_error_only_where_it_is_demanded() {
        let mut report = sample::every_kind();
        report.asked.bundled = false;
        report.cells.retain(|cell| cell::alarm(cell).is_none());
        let lenient = annotations(&report);
        assert!(!lenient.contains("::error"), "{lenient}");
        assert!(lenient.contains("2 cells stayed open"), "{lenient}");
        report.asked.strict = true;
        assert!(annotations(&report).contains("NOT EXPOSED acks=1"));
    }

    #[test]
    fn the_summary_has_the_verdict_what_is_wrong_the_matrix_and_the_command() {
        let out = summary(&sample::every_kind(), SUMMARY_BYTES);
        let order = [
            "## everyack: sample",
            "**PROMISE BROKEN** Of 10 cells",
            "### BROKEN acks=all, min ISR 2, flushed every message × rolling-crash",
            "```\neveryack replay everyack-out/failures/unexplained-rolling-crash.json\n```",
            "| configuration | connection-loss |",
            "| **BROKEN 3/180** |",
            "- **P04** leader died before replication",
            "Required marks that no run reached: unclean-election.",
            "```\neveryack run sample --seed-base 0x2a\n```",
        ];
        let mut from = 0;
        for text in order {
            let at = out[from..].find(text);
            from += at.unwrap_or_else(|| panic!("`{text}` is missing or out of order:\n{out}"));
        }
    }

    #[test]
    fn markdown_in_a_users_words_is_text() {
        let evil = "a|b `c` <d> [e](f) *g*\nh";
        let escaped = r"a\|b \`c\` \<d\> \[e\](f) \*g\* h";
        assert_eq!(inline(evil), escaped);
        let mut report = sample::report(vec![sample::broken(evil, "none")]);
        report.cells[0].witnesses[0].command = "everyack replay '```.json'".to_string();
        let out = summary(&report, SUMMARY_BYTES);
        assert!(out.contains(escaped), "{out}");
        assert!(
            out.contains("````\neveryack replay '```.json'\n````"),
            "{out}"
        );
        let row = out.lines().find(|line| line.contains("**BROKEN")).unwrap();
        assert_eq!(row.replace(r"\|", "").matches('|').count(), 3, "{row}");
    }

    #[test]
    fn the_summary_keeps_to_its_room_and_says_that_something_is_left_out() {
        let cells = (0..2_000).map(|n| sample::broken(&format!("row {n}"), "none"));
        let report = sample::report(cells.collect());
        for room in [0, 100, 1_000, 20_000, SUMMARY_BYTES] {
            let out = summary(&report, room);
            assert!(out.len() <= room, "{} of {room}", out.len());
            assert_eq!(
                out.contains("is left out"),
                (100..100_000).contains(&room),
                "{room}"
            );
        }
    }
}
