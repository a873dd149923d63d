//! `index.html`: a report as one page that can be forwarded. It needs no network, no script and no
//! file beside it; it reads wide and narrow, in light and dark, and on paper. Every verdict is a word
//! and a number before it is a colour.
//!
//! - `grid` the matrix, and what its words mean
//! - `evidence` row by row: what was expected and why, what was seen, and what it costs
//! - `story` how one saved run came to its loss, from its failure file: nothing is run for the page
//! - `markup` text that becomes HTML, escaped
//!
//! A page stays below two megabytes: stories take what the rest leaves of that, broken cells and
//! mechanisms not told yet first, and the others are a command away.

mod evidence;
mod grid;
mod markup;
mod story;

use crate::text::{count, counted, listed};
use crate::{cell, command, matrix, summary};
use everyack_scenarios::failure::Failure;
use everyack_scenarios::report::{Cell, Report};
use everyack_sim::fault::Family;
use everyack_sim::marks;
use markup::Html;
use std::collections::BTreeMap;

/// The page's looks.
const STYLE: &str = include_str!("style.css");

/// Bytes that a page may have with its stories.
const BYTES: usize = 1_950_000;

/// Cells up to which every row lies open.
const OPEN_CELLS: usize = 120;

/// Cells whose alarm stands before the matrix; the others are a click away.
const ALARMS: usize = 6;

/// What the parts of a page share.
struct Page<'a> {
    report: &'a Report,
    rows: Vec<Row<'a>>,
    /// The stories that have room, by the failure file that each was taken from.
    stories: BTreeMap<&'a str, Html>,
}

/// A row of the matrix.
struct Row<'a> {
    label: String,
    claim: &'a str,
    cells: Vec<&'a Cell>,
}

/// The whole page. `failures` are the saved runs that are at hand, by the file that the report names;
/// of a run that was shrunk the smaller one is told.
pub fn render(report: &Report, failures: &BTreeMap<String, Failure>) -> String {
    let claim = |name: &str| {
        let row = report.rows.iter().find(|row| row.name == name);
        row.map_or("", |row| row.claim.as_str())
    };
    let rows = cell::rows(&report.cells).into_iter().map(|cells| Row {
        label: cell::row_label(cells[0], &report.cells),
        claim: claim(&cells[0].row),
        cells,
    });
    let mut page = Page {
        report,
        rows: rows.collect(),
        stories: BTreeMap::new(),
    };
    // What the page takes without stories is known once it stands there.
    let room = BYTES.saturating_sub(whole(&page).len());
    page.stories = story::told(report, failures, room);
    whole(&page).into_string()
}

fn whole(page: &Page<'_>) -> Html {
    let report = page.report;
    let mut html = Html::default();
    head(page, &mut html);
    html.raw("<main>");
    broken(page, &mut html);
    grid::render(page, &mut html);
    evidence::render(page, &mut html);
    words(page, &mut html);
    checks(page, &mut html);
    notes(page, &mut html);
    html.raw("</main><footer>everyack ")
        .text(&report.everyack)
        .raw(" (")
        .text(&report.commit)
        .raw("). The same figures, for scripts: <a href=\"report.json\">report.json</a>, <a href=\"junit.xml\">junit.xml</a>.</footer></body></html>\n");
    html
}

fn head(page: &Page<'_>, html: &mut Html) {
    let report = page.report;
    let (seal, shade) = summary::seal(report);
    let shade = letter(shade);
    html.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"><title>")
        .text(&format!("{seal}: everyack {}", report.suite))
        .raw("</title><style>")
        .raw(STYLE)
        .raw("</style></head><body><header><div class=\"brand\"><b>everyack</b><span>Is every acknowledged Kafka message eventually consumed?</span></div><span class=\"seal ")
        .raw(shade)
        .raw("\">")
        .text(seal)
        .raw("</span><h1>");
    verdict(&summary::sentence(report), html);
    facts(report, html);
    how(report, html);
    html.raw("<nav aria-label=\"Sections\"><a href=\"#matrix\">The matrix</a><a href=\"#rows\">Row by row, with the price</a><a href=\"#words\">How messages are lost</a><a href=\"#faults\">The faults</a><a href=\"#checks\">Canary and marks</a><a href=\"#notes\">How to read this</a></nav></header>");
}

/// The verdict as a heading; of one that goes on (`check` names every family) the rest as a
/// paragraph.
fn verdict(sentence: &str, html: &mut Html) {
    match sentence.split_once("; it ") {
        Some((first, rest)) => html
            .text(first)
            .raw(".</h1><p class=\"more\">It ")
            .text(rest)
            .raw("</p>"),
        None => html.text(sentence).raw("</h1>"),
    };
}

/// What was run, in figures.
fn facts(report: &Report, html: &mut Html) {
    let sum = |of: fn(&Cell) -> u64| count(report.cells.iter().map(of).sum());
    let suite_cells = report.asked.suite_cells;
    let of_all = match report.cells.len() {
        here if here < suite_cells => format!("of the suite's {}", count(suite_cells as u64)),
        _ => format!("{} a cell", counted(report.asked.seeds, "drawn plan")),
    };
    let pace = format!(
        "{:.0} runs/s, {}",
        report.throughput.runs_per_s,
        counted(report.jobs as u64, "job")
    );
    let canary = match &report.canary {
        Some(canary) if canary.caught => (
            "caught",
            format!("{} after {}", canary.bug, counted(canary.seeds, "seed")),
        ),
        Some(canary) => ("NOT CAUGHT", canary.bug.clone()),
        None => ("did not run", String::new()),
    };
    let planted = match &report.asked.bug {
        Some(bug) => format!("with the bug {bug} planted"),
        None => String::new(),
    };
    html.raw("<dl class=\"facts\">");
    for (name, value, more) in [
        ("suite", report.suite.clone(), planted),
        ("cells", count(report.cells.len() as u64), of_all),
        (
            "runs",
            sum(|c| c.runs),
            format!("{} exposed to their fault", sum(|c| c.exposed)),
        ),
        (
            "acknowledged messages",
            sum(|c| c.messages.acked),
            format!("{} broke the promise", sum(|c| c.messages.broken())),
        ),
        (
            "seed base",
            report.seed_base.clone(),
            format!("commit {}", report.commit),
        ),
        ("took", format!("{:.1} s", report.wall_s), pace),
        ("canary", canary.0.to_string(), canary.1),
    ] {
        html.raw("<div><dt>")
            .text(name)
            .raw("</dt><dd>")
            .breakable(&value);
        if !more.is_empty() {
            html.raw("<small>").breakable(&more).raw("</small>");
        }
        html.raw("</dd></div>");
    }
    html.raw("</dl>");
}

/// The commands: all of it again, and one loss again.
fn how(report: &Report, html: &mut Html) {
    html.raw(
        "<p><b>Run it again</b>, with the same plans and seeds: the same runs on any machine.</p>",
    );
    for command in command::again(report) {
        html.raw("<code class=\"cmd\">")
            .text(&command)
            .raw("</code>");
    }
    // The most alarming one serves as the example.
    let witnesses = |alarming: bool| {
        let cells = report.cells.iter();
        let cells = cells.filter(move |cell| cell::alarm(cell).is_some() == alarming);
        cells.flat_map(|cell| &cell.witnesses)
    };
    if let Some(witness) = witnesses(true).chain(witnesses(false)).next() {
        html.raw("<p><b>See one loss happen</b>: each is saved as a file, the whole input of its run. Replaying it verifies its trace hash and tells its story; the commands stand with the cells below. For example:</p><code class=\"cmd\">")
            .text(cell::replay(witness).0)
            .raw("</code>");
    }
    for part in &report.asked.parts {
        html.raw("<p class=\"note\">This is a part of the suite: ");
        match &part.shard {
            Some(shard) => html.raw("shard <code>").text(shard).raw("</code>"),
            None => html.raw("every shard"),
        };
        if !part.filter.is_empty() {
            html.raw(", filter <code>")
                .text(&part.filter)
                .raw("</code>");
        }
        html.raw(". Witnesses and required marks are judged over the whole suite.</p>");
    }
    if report.asked.interrupted {
        html.raw("<p class=\"note\">The campaign was interrupted: this covers the runs that had finished.</p>");
    }
}

/// What is wrong, before anything else.
fn broken(page: &Page<'_>, html: &mut Html) {
    let report = page.report;
    let cells: Vec<&Cell> = report
        .cells
        .iter()
        .filter(|c| cell::alarm(c).is_some())
        .collect();
    let missed = report.canary.as_ref().filter(|canary| !canary.caught);
    let unreached = summary::unreached(report);
    if cells.is_empty() && missed.is_none() && unreached.is_empty() {
        return;
    }
    html.raw("<section aria-labelledby=\"broken\"><h2 id=\"broken\">What is wrong</h2>");
    if let Some(canary) = missed {
        html.raw("<div class=\"alarm\"><h3>CANARY NOT CAUGHT</h3><p>The planted bug <code>")
            .text(&canary.bug)
            .raw("</code> was not caught: nothing on this page can be trusted.</p></div>");
    }
    if !unreached.is_empty() {
        html.raw("<div class=\"alarm\"><h3>MARKS NOT REACHED</h3><p>The suite requires that some run reaches them, and none did: ")
            .text(&listed(&unreached))
            .raw(".</p></div>");
    }
    let (first, others) = cells.split_at(cells.len().min(ALARMS));
    for cell in first {
        alarm(report, cell, html);
    }
    if !others.is_empty() {
        html.raw("<details><summary>")
            .text(&counted(others.len() as u64, "more cell"))
            .raw("</summary>");
        for cell in others {
            alarm(report, cell, html);
        }
        html.raw("</details>");
    }
    html.raw("</section>");
}

fn alarm(report: &Report, cell: &Cell, html: &mut Html) {
    html.raw("<div class=\"alarm\"><h3>")
        .text(cell::alarm(cell).unwrap_or_default())
        .raw(": <a href=\"#d")
        .text(&cell.index.to_string())
        .raw("\">")
        .text(&cell::place(cell, &report.cells))
        .raw("</a></h3><dl class=\"pairs\">");
    html.pair("expected", &cell::expectation(cell));
    html.pair("seen", &cell::observation(cell));
    if !cell.note.is_empty() {
        html.pair("why", &cell.note);
    }
    html.raw("</dl>");
    if let Some(witness) = cell.witnesses.first() {
        html.raw("<code class=\"cmd\">")
            .text(cell::replay(witness).0)
            .raw("</code>");
    }
    html.raw("</div>");
}

/// Mechanisms and fault families that occur, in words.
fn words(page: &Page<'_>, html: &mut Html) {
    let cells = &page.report.cells;
    html.raw("<section aria-labelledby=\"words\"><h2 id=\"words\">How messages are lost</h2>");
    let mechanisms = cell::mechanisms(cells);
    if mechanisms.is_empty() {
        html.raw("<p>No cell here expects a loss, and none was seen.</p>");
    }
    html.raw("<dl class=\"words\">");
    for mechanism in mechanisms {
        html.raw("<dt id=\"")
            .text(mechanism.id())
            .raw("\">")
            .text(mechanism.id())
            .raw("</dt><dd><b>")
            .text(mechanism.name())
            .raw("</b>: ")
            .text(mechanism.sentence())
            .raw(". <span class=\"soft\">[")
            .text(mechanism.source())
            .raw("]</span></dd>");
    }
    html.raw("</dl></section><section aria-labelledby=\"faults\"><h2 id=\"faults\">The faults</h2><dl class=\"words\">");
    for family in cell::families(cells) {
        let means = Family::from_name(family).map_or("", Family::describe);
        html.raw("<dt>")
            .breakable(family)
            .raw("</dt><dd>")
            .text(means)
            .raw("</dd>");
    }
    html.raw("</dl></section>");
}

/// What holds the testbed to account: its canary and its marks.
fn checks(page: &Page<'_>, html: &mut Html) {
    let report = page.report;
    html.raw("<section aria-labelledby=\"checks\"><h2 id=\"checks\">Canary and marks</h2><p>");
    match &report.canary {
        Some(canary) => {
            html.raw("Every campaign plants a bug of its own and must catch it: <code>")
                .text(&canary.bug)
                .raw("</code> ")
                .raw(if canary.caught {
                    "was caught after "
                } else {
                    "WAS NOT CAUGHT within "
                })
                .text(&counted(canary.seeds, "seed"))
                .raw(".");
        }
        None => {
            html.raw("The canary did not run to its end.");
        }
    }
    html.raw("</p>");
    if report.marks.is_empty() {
        html.raw("</section>");
        return;
    }
    html.raw("<details><summary>Marks: how many runs reached the points worth reaching (")
        .text(&count(report.marks.len() as u64))
        .raw(")</summary><div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th scope=\"col\">mark</th><th scope=\"col\">what it means</th><th scope=\"col\">runs</th><th scope=\"col\">required</th></tr></thead><tbody>");
    for mark in &report.marks {
        let known = marks::ALL.iter().find(|known| known.name == mark.name);
        html.raw("<tr><th scope=\"row\">")
            .breakable(&mark.name)
            .raw("</th><td>")
            .text(known.map_or("", |known| known.sentence))
            .raw("</td><td class=\"num\">")
            .text(&count(mark.runs))
            .raw("</td><td>")
            .raw(match (mark.required, mark.runs) {
                (true, 0) => "required, and never reached",
                (true, _) => "required",
                (false, _) => "",
            })
            .raw("</td></tr>");
    }
    html.raw("</tbody></table></div></details></section>");
}

fn notes(page: &Page<'_>, html: &mut Html) {
    html.raw("<section aria-labelledby=\"notes\"><h2 id=\"notes\">How to read this</h2>");
    for warning in &page.report.warnings {
        html.raw("<p class=\"note\">").text(warning).raw("</p>");
    }
    html.raw("<p><b>Evidence, not proof.</b> A kept cell says that no acknowledged message was lost in so many runs in which the fault could have taken one. The bound beside a rate is the upper end of the one-sided 95 % Clopper-Pearson interval.</p>\
<p><b>Rates are of adversarial plans</b>: of the fixed batch of drawn plans, made to hurt, over the runs exposed to them. They are no probability in production.</p>\
<p><b>The weaker twin</b> ran the very same plans with the same seeds; its losses show that the plans were dangerous.</p>\
<p><b>Latency, throughput and availability are <em>modelled</em></b>: they follow from the simulation's service times, compare settings with each other, and are not calibrated to any hardware. In the matrix, latencies are those at the suite's pace without a fault, and messages per second what is acknowledged where the producers send all they have at once.</p>\
<p><b>A clean matrix says nothing about what is not modelled.</b> The README lists what is left out.</p></section>");
}

/// How the verdict of a cell is shaded: a letter that the style sheet knows.
fn shade(cell: &Cell) -> &'static str {
    letter(matrix::entry(cell).1)
}

fn letter(shade: matrix::Shade) -> &'static str {
    match shade {
        matrix::Shade::Grey => "g",
        matrix::Shade::Kept => "k",
        matrix::Shade::Lost => "l",
        matrix::Shade::Open => "o",
        matrix::Shade::Missing => "m",
        matrix::Shade::Broken => "b",
    }
}

#[cfg(test)]
mod tests;
