//! What `run` and `check` print: broken cells first, then the loss matrix, and below it all that is
//! needed to read it and to see a loss happen again.

use crate::price;
use crate::text::{count, counted, labelled, listed};
use crate::{cell, matrix, summary};
use everyack_scenarios::report::{CellVerdict, Report};

/// Width that the output keeps, in characters, unless the terminal is known to be narrower.
pub const WIDTH: usize = 100;

/// Replay commands that the explanation of one cell names.
const REPLAYS_SHOWN: usize = 3;

/// How to print.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Characters a line; nothing but a row name, a path or a command that is longer exceeds it.
    pub width: usize,
    /// Whether to colour; `NO_COLOR` and pipes are the caller's business.
    pub colour: bool,
}

impl Default for Style {
    fn default() -> Self {
        Style {
            width: WIDTH,
            colour: false,
        }
    }
}

/// The whole output, ending in a newline.
pub fn render(report: &Report, style: Style) -> String {
    let sections = [
        head(report),
        broken(report, style),
        matrix::render(&report.cells, style.width, style.colour),
        legend(report, style),
        witnesses(report, style),
        paired(report, style),
        price::render(report, style.width),
        warnings(report, style),
        labelled("", &summary::sentence(report), style.width),
    ];
    let some: Vec<String> = sections
        .into_iter()
        .filter(|section| !section.is_empty())
        .collect();
    some.join("\n")
}

fn head(report: &Report) -> String {
    let title = format!(
        "everyack {} ({})  suite {}  seed base {}\n",
        report.everyack, report.commit, report.suite, report.seed_base
    );
    let mut facts = matrix::totals(&report.cells);
    if report.wall_s > 0.0 {
        let rate = report.throughput.runs_per_s;
        let jobs = counted(report.jobs as u64, "job");
        facts += &format!(", {:.1} s, {rate:.0} runs/s on {jobs}", report.wall_s);
    }
    if let Some(canary) = &report.canary {
        facts += &match canary.caught {
            true => format!(
                "\ncanary: the planted bug {} was caught after {}",
                canary.bug,
                counted(canary.seeds, "seed")
            ),
            false => format!("\nCANARY: the planted bug {} WAS NOT CAUGHT", canary.bug),
        };
    }
    title + &facts + "\n"
}

/// What is wrong, explained: broken cells, those whose witness the testbed owes, and those in which
/// it failed.
fn broken(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for cell in &report.cells {
        let Some(word) = cell::alarm(cell) else {
            continue;
        };
        let word = format!("{} ", paint(word, "1;31", style.colour));
        out += &labelled(&word, &cell::place(cell, &report.cells), style.width);
        out += &labelled("  expected  ", &cell::expectation(cell), style.width);
        out += &labelled("  seen      ", &cell::observation(cell), style.width);
        if cell.verdict == CellVerdict::NoWitness {
            let lacking = cell::lacking(cell);
            let ids: Vec<&str> = lacking.iter().map(|mechanism| mechanism.id()).collect();
            let missing = format!("a run that loses by {}", listed(&ids));
            out += &labelled("  missing   ", &missing, style.width);
        }
        if !cell.note.is_empty() {
            out += &labelled("  why       ", &cell.note, style.width);
        }
        out += &labelled("  with      ", &cell::configuration(cell), style.width);
        for witness in cell.witnesses.iter().take(REPLAYS_SHOWN) {
            let (command, size) = cell::replay(witness);
            out += &format!("  replay    {command}\n");
            out += &labelled("            ", &size, style.width);
        }
        if cell.witnesses.len() > REPLAYS_SHOWN {
            let more = cell.witnesses.len() - REPLAYS_SHOWN;
            out += &format!("            and {more} more in report.json\n");
        }
    }
    out
}

fn legend(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for (word, means) in matrix::legend(&report.cells) {
        out += &labelled(&format!("  {word:<17}"), means, style.width);
    }
    let mechanisms = cell::mechanisms(&report.cells);
    if !mechanisms.is_empty() {
        out += "\nHow messages are lost\n";
    }
    for mechanism in mechanisms {
        let text = format!(
            "{}: {} [{}]",
            mechanism.name(),
            mechanism.sentence(),
            mechanism.source()
        );
        out += &labelled(&format!("  {:<5}", mechanism.id()), &text, style.width);
    }
    out
}

/// Cells that lost as expected: rate and the commands that show it again.
fn witnesses(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for cell in &report.cells {
        if cell::alarm(cell).is_some() || cell.witnesses.is_empty() {
            continue;
        }
        out += &labelled("  ", &cell::place(cell, &report.cells), style.width);
        if let Some(rate) = cell::rate(cell) {
            out += &labelled("      ", &rate, style.width);
        }
        for witness in &cell.witnesses {
            let (command, size) = cell::replay(witness);
            let label = format!("      {}  ", witness.mechanism);
            out += &labelled(&label, &size, style.width);
            out += &format!("           {command}\n");
        }
    }
    if out.is_empty() {
        out
    } else {
        format!("See one happen\n{out}")
    }
}

/// The same plans on a weaker twin: evidence that a kept cell was really under attack. Where the twin
/// kept everything too, there is none; the JSON has it all the same.
fn paired(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for cell in &report.cells {
        let Some(twin) = cell.twin.as_ref().filter(|t| t.runs_with_loss > 0) else {
            continue;
        };
        let weaker: Vec<String> = twin
            .config
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let text = format!(
            "{}: {} of {} plans lose; with {}: {}",
            cell::place(cell, &report.cells),
            count(cell.batch.runs_with_loss),
            count(cell.batch.runs),
            weaker.join(", "),
            count(twin.runs_with_loss),
        );
        out += &labelled("  ", &text, style.width);
    }
    if out.is_empty() {
        out
    } else {
        format!("The same plans on a weaker twin\n{out}")
    }
}

fn warnings(report: &Report, style: Style) -> String {
    let mut out = String::new();
    let label = format!("{} ", paint("warning:", "33", style.colour));
    for warning in &report.warnings {
        // What is taken for granted is no fault of the input.
        let label = if warning.starts_with("assumed: ") {
            ""
        } else {
            &label
        };
        out += &labelled(label, warning, style.width);
    }
    for mark in report
        .marks
        .iter()
        .filter(|mark| mark.required && mark.runs == 0)
    {
        let name = &mark.name;
        let text = format!("the suite requires that some run reaches `{name}`, and none did");
        out += &labelled(&label, &text, style.width);
    }
    out
}

fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use crate::text::visible_width;
    use everyack_sim::mechanism::Mechanism;

    const COLOURED: Style = Style {
        width: WIDTH,
        colour: true,
    };

    #[test]
    fn no_line_but_a_command_is_wider_than_asked_with_or_without_colour() {
        let report = sample::every_kind();
        for style in [
            Style::default(),
            COLOURED,
            Style {
                width: 80,
                colour: false,
            },
        ] {
            let out = render(&report, style);
            let wide: Vec<&str> = out
                .lines()
                .filter(|line| visible_width(line) > style.width)
                // A command stands on one line, to be copied.
                .filter(|line| !line.contains("everyack replay "))
                .collect();
            assert!(wide.is_empty(), "{wide:#?}");
        }
    }

    #[test]
    fn colour_only_where_it_was_asked_for_and_never_for_the_words() {
        let report = sample::every_kind();
        let plain = render(&report, Style::default());
        let coloured = render(&report, COLOURED);
        assert!(!plain.contains('\u{1b}'));
        assert!(coloured.contains('\u{1b}'));
        let trimmed = |text: &str| -> Vec<String> {
            text.lines()
                .map(|line| line.trim_end().to_string())
                .collect()
        };
        assert_eq!(trimmed(&stripped(&coloured)), trimmed(&plain));
    }

    #[test]
    fn broken_cells_are_explained_before_the_matrix_with_their_replay() {
        let out = render(&sample::every_kind(), Style::default());
        let explained = out
            .find("BROKEN acks=all, min ISR 2, flushed every message × rolling-crash")
            .unwrap();
        assert!(explained < out.find('═').unwrap());
        let text = &out[explained..];
        assert!(text.contains("expected  never loses"));
        assert!(text.contains(
            "3 of 180 exposed runs lost 12 acknowledged messages (12 LOST; unexplained)"
        ));
        assert!(
            text.contains("everyack replay everyack-out/failures/unexplained-rolling-crash.json")
        );
        assert!(out.contains("missing   a run that loses by P02"), "{out}");
    }

    #[test]
    fn a_cell_in_which_the_testbed_failed_is_explained_and_not_offered_as_a_loss() {
        let mut cell = sample::kept("acks=1", "none");
        cell.verdict = CellVerdict::Inconclusive;
        cell.note = "no producer of that name, sim/src/cluster.rs:112".to_string();
        cell.witnesses = vec![sample::witness("testbed", "none")];
        let out = render(&sample::report(vec![cell]), Style::default());
        assert!(out.contains("TESTBED FAILED acks=1 × none"), "{out}");
        assert!(out.contains("why       no producer of that name"), "{out}");
        assert!(!out.contains("See one happen"), "{out}");
    }

    #[test]
    fn each_mechanism_that_occurs_has_its_sentence_and_source_and_no_other() {
        let out = render(&sample::every_kind(), Style::default());
        let flat = out.split_whitespace().collect::<Vec<_>>().join(" ");
        for mechanism in [
            Mechanism::P01,
            Mechanism::P02,
            Mechanism::P04,
            Mechanism::P05,
            Mechanism::P06,
        ] {
            assert!(
                flat.contains(mechanism.sentence()),
                "{mechanism:?} in {out}"
            );
            assert!(flat.contains(mechanism.source()), "{mechanism:?} in {out}");
        }
        assert!(!flat.contains(Mechanism::S02.sentence()), "{out}");
    }

    #[test]
    fn warnings_and_unreached_marks_are_printed() {
        let out = render(&sample::every_kind(), Style::default());
        assert!(out.contains("warning: log.flush.interval.ms=1000 does nothing by itself"));
        assert!(out.contains("`unclean-election`, and none did"));
        assert!(!out.contains("`isr-is-leader`"));
    }

    #[test]
    fn paired_evidence_names_the_twin_and_its_losses() {
        let out = render(&sample::every_kind(), Style::default());
        assert!(
            out.contains("0 of 200 plans lose; with acks=1: 143"),
            "{out}"
        );
    }

    fn stripped(text: &str) -> String {
        let mut out = String::new();
        let mut in_sequence = false;
        for character in text.chars() {
            match (in_sequence, character) {
                (false, '\u{1b}') => in_sequence = true,
                (true, 'm') => in_sequence = false,
                (true, _) => {}
                (false, _) => out.push(character),
            }
        }
        out
    }
}
