//! How a saved run came to its loss: what mattered, in order, and then what was lost.

use super::markup::Html;
use crate::cell;
use crate::story::{by_kind, loss_line, seconds, verdict_name};
use crate::text::{count, counted};
use everyack_scenarios::failure::Failure;
use everyack_scenarios::report::{Cell, Report, Witness};
use everyack_sim::result::StoryLine;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that all stories of a page may take together, however small the rest is.
const ROOM: usize = 700_000;
/// Bytes of what a story is folded into.
const FOLD: usize = 60;
/// Lines of a story; the replay has all of them.
const LINES: usize = 160;
/// Losses of one kind that are named one by one.
const LOSSES_NAMED: usize = 5;

/// The stories that have room, by failure file: first those of cells that need an explanation, then
/// one of each mechanism, then the others in the order of the report.
pub(super) fn told<'a>(
    report: &'a Report,
    failures: &BTreeMap<String, Failure>,
    room: usize,
) -> BTreeMap<&'a str, Html> {
    let mut mechanisms: BTreeSet<&str> = BTreeSet::new();
    let mut wanted: Vec<(u8, &'a Witness)> = Vec::new();
    for cell in &report.cells {
        for witness in &cell.witnesses {
            let first = mechanisms.insert(&witness.mechanism);
            wanted.push((rank(cell, first), witness));
        }
    }
    wanted.sort_by_key(|(rank, _)| *rank);
    let mut told = BTreeMap::new();
    let mut room = room.min(ROOM);
    for (_, witness) in wanted {
        let smallest = witness.shrunk.as_ref().map(|shrunk| &shrunk.spec);
        let files = [smallest, Some(&witness.spec)].into_iter().flatten();
        let mut at_hand = files.filter_map(|file| failures.get(file));
        let Some(failure) = at_hand.find(|failure| !failure.story.is_empty()) else {
            continue;
        };
        let story = story(failure);
        let bytes = story.len() + FOLD;
        if bytes <= room {
            room -= bytes;
            told.insert(witness.spec.as_str(), story);
        }
    }
    told
}

fn rank(cell: &Cell, first_of_mechanism: bool) -> u8 {
    match (cell::alarm(cell).is_some(), first_of_mechanism) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    }
}

fn story(failure: &Failure) -> Html {
    let mut html = Html::default();
    let faults = failure.spec.plan.faults.len() as u64;
    html.raw("<p class=\"soft\">")
        .text(&match &failure.spec.plan.canonical {
            Some(mechanism) => format!(
                "A plan of {}, written to show {mechanism}; simulated seconds.",
                counted(faults, "fault")
            ),
            None => format!(
                "A drawn plan of {}; simulated seconds.",
                counted(faults, "fault")
            ),
        })
        .raw("</p>");
    let before = failure.story.iter().position(|line| is_fault(&line.what));
    let (setup, events) = failure.story.split_at(before.unwrap_or(0));
    if !setup.is_empty() {
        html.raw("<details><summary class=\"soft\">")
            .text(&counted(setup.len() as u64, "event"))
            .raw(" before the first fault</summary>");
        lines(setup, &mut html);
        html.raw("</details>");
    }
    lines(events, &mut html);
    losses(failure, &mut html);
    html
}

fn is_fault(what: &str) -> bool {
    what.starts_with("FAULT")
}

fn lines(story: &[StoryLine], html: &mut Html) {
    html.raw("<ol class=\"story\">");
    for line in story.iter().take(LINES) {
        html.raw(match line.what.as_str() {
            what if is_fault(what) => "<li class=\"f\">",
            what if what.starts_with("HEAL") => "<li class=\"h\">",
            _ => "<li>",
        });
        html.raw("<i>")
            .text(&seconds(line.at_us))
            .raw("</i><b>")
            .text(&line.who)
            .raw("</b><span>")
            .text(&line.what)
            .raw("</span>");
    }
    if story.len() > LINES {
        html.raw("<li><i></i><b></b><span>and ")
            .text(&counted((story.len() - LINES) as u64, "event"))
            .raw(" more, which the replay tells</span>");
    }
    html.raw("</ol>");
}

fn losses(failure: &Failure, html: &mut Html) {
    html.raw("<ul class=\"losses\">");
    for ((verdict, mechanism), losses) in by_kind(&failure.showed.losses) {
        let why = mechanism.map_or("unexplained", |mechanism| mechanism.name());
        html.raw("<li><b>")
            .text(&counted(losses.len() as u64, "message"))
            .raw(" ")
            .text(verdict_name(verdict))
            .raw("</b>, ")
            .text(why)
            .raw(": ");
        for (at, loss) in losses.iter().take(LOSSES_NAMED).enumerate() {
            html.raw(if at == 0 { "" } else { "; " })
                .text(&loss_line(loss));
        }
        if losses.len() > LOSSES_NAMED {
            html.raw("; and ")
                .text(&count((losses.len() - LOSSES_NAMED) as u64))
                .raw(" more");
        }
    }
    for anomaly in &failure.showed.anomalies {
        html.raw("<li><b>anomaly ")
            .text(&anomaly.check)
            .raw("</b>: ")
            .text(&anomaly.what);
    }
    html.raw("</ul>");
}
