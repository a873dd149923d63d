//! Row by row: the claim, what each family was expected to do and did, and the price beside it; then
//! the story of each loss.

use super::grid::milliseconds;
use super::markup::Html;
use super::{OPEN_CELLS, Page, Row, shade};
use crate::text::{count, counted};
use crate::{cell, matrix};
use everyack_scenarios::failure::{TESTBED, UNEXPLAINED};
use everyack_scenarios::report::{Cell, Expected, Witness};
use everyack_sim::mechanism::Mechanism;

/// The section with every row.
pub(super) fn render(page: &Page<'_>, html: &mut Html) {
    html.raw("<section aria-labelledby=\"rows\"><h2 id=\"rows\">Row by row, with the price</h2><p>Safety and its price side by side. Rates are of adversarial plans, with the upper 95 % bound; latency, throughput and availability are <em>modelled</em>.</p>");
    let all_open = page.report.cells.len() <= OPEN_CELLS;
    for (at, row) in page.rows.iter().enumerate() {
        let alarming = row.cells.iter().any(|cell| cell::alarm(cell).is_some());
        html.raw("<details class=\"row\" id=\"r")
            .text(&at.to_string())
            .raw(if all_open || alarming {
                "\" open>"
            } else {
                "\">"
            })
            .raw("<summary><h3>")
            .text(&row.label)
            .raw("</h3>");
        if !row.claim.is_empty() {
            html.raw("<span class=\"soft\">")
                .text(row.claim)
                .raw("</span>");
        }
        html.raw("</summary><div><p class=\"mono soft\">");
        html.breakable(&cell::configuration(row.cells[0]))
            .raw("</p>");
        table(row, html);
        for cell in &row.cells {
            details(page, cell, html);
        }
        html.raw("</div></details>");
    }
    html.raw("</section>");
}

fn table(row: &Row<'_>, html: &mut Html) {
    html.raw("<div class=\"scroll\" tabindex=\"0\"><table class=\"evidence\" role=\"table\"><thead role=\"rowgroup\"><tr role=\"row\"><th scope=\"col\" role=\"columnheader\">faults</th><th scope=\"col\" role=\"columnheader\">seen</th><th scope=\"col\" role=\"columnheader\">expected</th><th scope=\"col\" role=\"columnheader\">fired, exposed, runs</th><th scope=\"col\" role=\"columnheader\">rate of adversarial plans, upper 95 % bound</th><th scope=\"col\" role=\"columnheader\">weaker twin, same plans</th><th scope=\"col\" role=\"columnheader\">ack p50 / p99, ms <em>modelled</em></th><th scope=\"col\" role=\"columnheader\">unavailable p50 / max, ms <em>modelled</em></th></tr></thead><tbody role=\"rowgroup\">");
    for cell in &row.cells {
        line(cell, html);
    }
    html.raw("</tbody></table></div>");
}

/// One family of the row. Columns are labelled by the style sheet on narrow screens, in this order.
fn line(cell: &Cell, html: &mut Html) {
    html.raw("<tr role=\"row\" id=\"c")
        .text(&cell.index.to_string())
        .raw("\"><th scope=\"row\" role=\"rowheader\">")
        .breakable(&cell.faults)
        .raw("</th><td role=\"cell\" class=\"")
        .raw(shade(cell))
        .raw("\"><span>");
    let (lines, _) = matrix::entry(cell);
    html.raw("<b>")
        .text(&lines.join(" "))
        .raw("</b></span></td><td role=\"cell\"><span>");
    expected(cell, html);
    html.raw("</span></td><td role=\"cell\"><span>")
        .text(&format!(
            "{}, {}, {}",
            count(cell.fired),
            count(cell.exposed),
            count(cell.runs)
        ))
        .raw("</span></td>");
    match (cell.loss_rate, cell.loss_rate_upper_95) {
        (Some(rate), Some(bound)) => {
            let exposed = cell.batch.exposed;
            let lossy = cell::lossy_exposed(rate, exposed);
            html.raw("<td role=\"cell\" class=\"wide\"><span>")
                .text(&format!(
                    "{} %, at most {} %",
                    percent(rate),
                    percent(bound)
                ))
                .raw("<small>")
                .text(&format!("{} of {} exposed", count(lossy), count(exposed)))
                .raw("</small></span></td>")
        }
        _ => html.raw("<td role=\"cell\" class=\"x\"></td>"),
    };
    match &cell.twin {
        Some(twin) => {
            let weaker: Vec<String> = twin
                .config
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            html.raw("<td role=\"cell\" class=\"wide\"><span>")
                .text(&format!(
                    "{} of {} lose",
                    count(twin.runs_with_loss),
                    count(cell.batch.runs)
                ))
                .raw("<small>with ")
                .breakable(&weaker.join(", "))
                .raw("</small></span></td>")
        }
        None => html.raw("<td role=\"cell\" class=\"x\"></td>"),
    };
    html.raw("<td role=\"cell\"><span>")
        .text(&format!(
            "{} / {}",
            milliseconds(cell.ack_ms.p50),
            milliseconds(cell.ack_ms.p99)
        ))
        .raw("</span></td><td role=\"cell\"><span>")
        .text(&format!(
            "{} / {}",
            count(cell.unavailable_ms.p50),
            count(cell.unavailable_ms.max)
        ))
        .raw("</span></td></tr>");
}

/// What theory says, each mechanism leading to its words.
fn expected(cell: &Cell, html: &mut Html) {
    match cell.expected {
        Expected::NeverLoses => html.raw("never loses"),
        Expected::PerRun => html.raw("by each run's faults"),
        Expected::MayLose => html.raw("may lose"),
    };
    for (at, mechanism) in cell.mechanisms.iter().enumerate() {
        html.raw(if at == 0 { " by " } else { ", " });
        link(*mechanism, html);
    }
}

fn link(mechanism: Mechanism, html: &mut Html) {
    html.raw("<a href=\"#")
        .text(mechanism.id())
        .raw("\">")
        .text(mechanism.id())
        .raw("</a>");
}

/// One digit behind the point, two below one percent.
fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0".to_owned(),
        p if p < 1.0 => format!("{p:.2}"),
        p => format!("{p:.1}"),
    }
}

/// What does not fit a line: the counts, the note, and each saved run with its story.
fn details(page: &Page<'_>, cell: &Cell, html: &mut Html) {
    let alarming = cell::alarm(cell).is_some();
    if cell.witnesses.is_empty() && !alarming {
        return;
    }
    html.raw("<details id=\"d")
        .text(&cell.index.to_string())
        .raw(if alarming {
            "\" class=\"cell bad\" open>"
        } else {
            "\" class=\"cell\">"
        })
        .raw("<summary><b>")
        .text(&cell.faults)
        .raw("</b>: ")
        .text(&cell::observation(cell))
        .raw("</summary><dl class=\"pairs\">");
    html.pair("expected", &cell::expectation(cell));
    if !cell.note.is_empty() {
        html.pair("why", &cell.note);
    }
    html.pair("messages", &messages(cell));
    if let Some(rate) = cell::rate(cell) {
        html.pair("rate", &rate);
    }
    html.raw("</dl>");
    for saved in &cell.witnesses {
        witness(page, saved, html);
    }
    html.raw("</details>");
}

fn messages(cell: &Cell) -> String {
    let m = &cell.messages;
    let named = [
        (m.sent, "sent"),
        (m.acked, "acknowledged"),
        (m.consumed, "consumed"),
        (m.lost, "LOST"),
        (m.lost_on_disk, "LOST-ON-DISK"),
        (m.skipped, "SKIPPED"),
        (m.hidden, "HIDDEN"),
        (m.expired, "EXPIRED"),
        (m.reported, "REPORTED (the producer got an error)"),
        (m.unreported, "UNREPORTED"),
        (m.duplicated, "read twice"),
        (m.reordered, "out of order"),
    ];
    let some = named.iter().filter(|(n, _)| *n > 0);
    let some: Vec<String> = some
        .map(|(n, name)| format!("{} {name}", count(*n)))
        .collect();
    format!("{} in {}", some.join(", "), counted(cell.runs, "run"))
}

/// A saved run: by which mechanism, how it came about, and the command that shows it again.
fn witness(page: &Page<'_>, saved: &Witness, html: &mut Html) {
    let known = Mechanism::ALL
        .into_iter()
        .find(|m| m.id() == saved.mechanism);
    html.raw("<h4>");
    match (known, saved.mechanism.as_str()) {
        (Some(mechanism), _) => {
            link(mechanism, html);
            html.raw(": ").text(mechanism.name());
        }
        (None, UNEXPLAINED) => {
            html.raw("unexplained: nothing that may happen here accounts for it");
        }
        (None, TESTBED) => {
            html.raw("testbed: this run was not judged");
        }
        (None, check) => {
            html.raw("anomaly: ").text(check);
        }
    }
    let (command, size) = cell::replay(saved);
    html.raw(" <span class=\"soft\">seed ")
        .text(&saved.seed)
        .raw("; ")
        .text(&size)
        .raw("</span></h4><code class=\"cmd\">")
        .text(command)
        .raw("</code>");
    // In a page of hundreds of witnesses the same words would stand there hundreds of times.
    let few = page.report.cells.len() <= OPEN_CELLS;
    if let Some(mechanism) = known.filter(|_| few) {
        html.raw("<p class=\"soft\">How: ")
            .text(mechanism.sentence())
            .raw(".</p>");
    }
    if let Some(story) = page.stories.get(saved.spec.as_str()) {
        html.raw("<details><summary>Its story</summary>");
        html.append(story).raw("</details>");
    }
}
