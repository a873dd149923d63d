//! One run in words: what `replay` prints. What mattered, in order, with simulated times; then what
//! was lost and why, the counts, and the trace hash.

use crate::text::{count, counted, labelled, listed};
use everyack_sim::mechanism::Mechanism;
use everyack_sim::result::{Loss, LossVerdict, MessageCounts, Outcome, RunResult, StoryLine};
use everyack_sim::spec::{Properties, RunSpec};
use std::collections::BTreeMap;

/// Losses of one kind that are named one by one; the others are counted.
const LOSSES_NAMED: usize = 5;

/// The story of a run. Lines keep to `width`; a time or a name that is longer does not.
pub fn render(spec: &RunSpec, result: &RunResult, width: usize) -> String {
    let sections = [
        setting(spec, width),
        events(&result.story, width),
        faults(spec, result, width),
        losses(&result.losses, width),
        anomalies(result, width),
        figures(result, width),
    ];
    let some: Vec<String> = sections
        .into_iter()
        .filter(|section| !section.is_empty())
        .collect();
    some.join("\n")
}

/// The run in one clause: `37 of 1,000 acknowledged messages broke the promise (37 LOST), by P04`.
pub fn verdict(result: &RunResult) -> String {
    match &result.outcome {
        Outcome::LimitReached(limit) => return format!("the run hit its limit: {limit}"),
        Outcome::Panicked(message) => return format!("the testbed panicked: {message}"),
        Outcome::Finished => {}
    }
    let broken = result.messages.broken();
    let mut text = match broken {
        0 => format!(
            "every one of {} was consumed or expired",
            counted(result.messages.acked, "acknowledged message")
        ),
        _ => format!(
            "{} of {} broke the promise ({})",
            count(broken),
            counted(result.messages.acked, "acknowledged message"),
            broken_by_verdict(&result.messages),
        ),
    };
    let mut causes: Vec<&str> = result
        .losses
        .iter()
        .map(|loss| cause(loss.mechanism))
        .collect();
    causes.sort_unstable();
    causes.dedup();
    if !causes.is_empty() {
        text += &format!(", by {}", listed(&causes));
    }
    if !result.anomalies.is_empty() {
        text += &format!(
            "; {}",
            counted(result.anomalies.len() as u64, "anomaly").replace("anomalys", "anomalies")
        );
    }
    text
}

fn setting(spec: &RunSpec, width: usize) -> String {
    let topology = &spec.topology;
    let applications = &spec.applications;
    let mut out = labelled(
        "",
        &format!("Seed {:#x}, fault family {}", spec.seed, spec.family),
        width,
    );
    let cluster = format!(
        "{}, {}; topic `{}` of {}, replication factor {}",
        counted(u64::from(topology.brokers), "broker"),
        counted(u64::from(topology.controllers), "controller"),
        topology.topic,
        counted(u64::try_from(topology.partitions).unwrap_or(0), "partition"),
        topology.replication_factor,
    );
    out += &labelled("  cluster   ", &cluster, width);
    let files = &spec.properties;
    for (label, properties) in [
        ("  server    ", &files.broker),
        ("  topic     ", &files.topic),
        ("  producer  ", &files.producer),
        ("  consumer  ", &files.consumer),
    ] {
        if !properties.is_empty() {
            out += &labelled(label, &settings(properties), width);
        }
    }
    let clients = format!(
        "{} × {}, {} × {}; {} of {} bytes each over {} s",
        applications.producers,
        applications.producer,
        applications.consumers,
        applications.consumer,
        counted(u64::from(spec.workload.messages_per_producer), "message"),
        spec.workload.message_bytes,
        spec.workload.spread_ms as f64 / 1000.0,
    );
    out += &labelled("  clients   ", &clients, width);
    if let Some(bug) = spec.bug {
        out += &labelled(
            "  bug       ",
            &format!("{} is planted: {}", bug.name(), bug.breaks()),
            width,
        );
    }
    out
}

fn settings(properties: &Properties) -> String {
    properties
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn events(story: &[StoryLine], width: usize) -> String {
    let who_width = story
        .iter()
        .map(|line| line.who.chars().count())
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for line in story {
        let label = format!("{}  {:<who_width$}  ", time(line.at_us), line.who);
        out += &labelled(&label, &line.what, width);
    }
    out
}

/// Simulated seconds to the microsecond, right-aligned: `   12.345678 s`.
fn time(at_us: u64) -> String {
    format!("{:>12} s", seconds(at_us))
}

/// Simulated seconds to the microsecond: `12.345678`.
pub(crate) fn seconds(at_us: u64) -> String {
    format!("{}.{:06}", at_us / 1_000_000, at_us % 1_000_000)
}

fn faults(spec: &RunSpec, result: &RunResult, width: usize) -> String {
    let planned = spec.plan.faults.len();
    let mut text = format!(
        "{} of {} struck",
        result.faults.len(),
        counted(planned as u64, "planned fault")
    );
    text += match (result.fired, result.exposed) {
        (false, _) => {
            "; the family's own trigger was not reached, so the run says nothing about it"
        }
        (true, false) => {
            "; no record was then where they could take it, so the run says nothing about the family"
        }
        (true, true) => ", with records where they could take them",
    };
    labelled("", &(text + "."), width)
}

fn losses(losses: &[Loss], width: usize) -> String {
    let mut out = String::new();
    for ((verdict, mechanism), losses) in by_kind(losses) {
        let (id, why) = match mechanism {
            Some(mechanism) => {
                let why = format!("{} [{}]", mechanism.sentence(), mechanism.source());
                (format!("{}, {}", mechanism.id(), mechanism.name()), why)
            }
            None => (
                "unexplained".to_string(),
                "Nothing that happened accounts for it.".to_string(),
            ),
        };
        let losses_counted = counted(losses.len() as u64, "message");
        out += &format!("{losses_counted} {}: {id}\n", verdict_name(verdict));
        out += &labelled("    ", &why, width);
        for loss in losses.iter().take(LOSSES_NAMED) {
            out += &labelled("  - ", &loss_line(loss), width);
        }
        if losses.len() > LOSSES_NAMED {
            out += &format!(
                "  - and {} more\n",
                count((losses.len() - LOSSES_NAMED) as u64)
            );
        }
    }
    out
}

/// Losses by how and why, in that order.
pub(crate) fn by_kind(losses: &[Loss]) -> BTreeMap<(LossVerdict, Option<Mechanism>), Vec<&Loss>> {
    let mut kinds: BTreeMap<_, Vec<&Loss>> = BTreeMap::new();
    for loss in losses {
        let kind = (loss.verdict, loss.mechanism);
        kinds.entry(kind).or_default().push(loss);
    }
    kinds
}

/// Which message, and what its producer was told.
pub(crate) fn loss_line(loss: &Loss) -> String {
    let told = match loss.offset {
        -1 => "acknowledged without an offset".to_string(),
        offset => format!("acknowledged at offset {offset}"),
    };
    format!(
        "message {} of producer {}, partition {}, {told}",
        loss.sequence, loss.producer, loss.partition
    )
}

fn anomalies(result: &RunResult, width: usize) -> String {
    let mut out = String::new();
    for anomaly in &result.anomalies {
        out += &labelled(
            &format!("anomaly {}: ", anomaly.check),
            &anomaly.what,
            width,
        );
    }
    out
}

fn figures(result: &RunResult, width: usize) -> String {
    let m = &result.messages;
    let mut parts = vec![
        format!("{} sent", count(m.sent)),
        format!("{} acknowledged", count(m.acked)),
        format!("{} consumed", count(m.consumed)),
    ];
    let further = [
        (m.lost, "LOST"),
        (m.lost_on_disk, "LOST-ON-DISK"),
        (m.skipped, "SKIPPED"),
        (m.hidden, "HIDDEN"),
        (m.expired, "EXPIRED"),
        (m.reported, "REPORTED"),
        (m.unreported, "UNREPORTED"),
        (m.duplicated, "read twice"),
        (m.reordered, "out of order"),
    ];
    parts.extend(
        further
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, name)| format!("{} {name}", count(*n))),
    );
    let mut out = labelled("Messages: ", &(parts.join(", ") + "."), width);
    out += &labelled("Verdict: ", &(verdict(result) + "."), width);
    let length = format!(
        "{:.3} simulated seconds, {}, {}; trace hash {:016x}.",
        result.simulated_ns as f64 / 1e9,
        counted(result.requests, "request"),
        counted(result.events, "event"),
        result.trace_hash,
    );
    out + &labelled("", &length, width)
}

fn broken_by_verdict(messages: &MessageCounts) -> String {
    let named = [
        (messages.lost, LossVerdict::Lost),
        (messages.lost_on_disk, LossVerdict::LostOnDisk),
        (messages.skipped, LossVerdict::Skipped),
        (messages.hidden, LossVerdict::Hidden),
    ];
    let some = named.iter().filter(|(n, _)| *n > 0);
    some.map(|(n, verdict)| format!("{} {}", count(*n), verdict_name(*verdict)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The verdict as tables have it.
pub(crate) fn verdict_name(verdict: LossVerdict) -> &'static str {
    match verdict {
        LossVerdict::Lost => "LOST",
        LossVerdict::LostOnDisk => "LOST-ON-DISK",
        LossVerdict::Skipped => "SKIPPED",
        LossVerdict::Hidden => "HIDDEN",
    }
}

fn cause(mechanism: Option<Mechanism>) -> &'static str {
    mechanism.map_or("unexplained", Mechanism::id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_story_tells_events_then_losses_then_figures() {
        let (spec, result) = sample::run();
        let out = render(&spec, &result, 100);
        let places = [
            "Seed 0x2a, fault family leader-crash",
            "12.345678 s  broker 1",
            "7 messages LOST: P04, leader died before replication",
            Mechanism::P04.sentence(),
            "message 0 of producer 1, partition 0, acknowledged at offset 100",
            "- and 2 more",
            "1 message SKIPPED: unexplained",
            "anomaly duplicate-offset: offset 7 was read with two values",
            "Verdict: 8 of 1,000 acknowledged messages broke the promise (7 LOST, 1 SKIPPED), by P04 and \
             unexplained; 1 anomaly.",
            "trace hash 00000000deadbeef",
        ];
        let flat = out.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut from = 0;
        for place in places {
            let at = flat[from..].find(&place.split_whitespace().collect::<Vec<_>>().join(" "));
            from += at.unwrap_or_else(|| panic!("`{place}` is missing or out of order:\n{out}"));
        }
        assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");
    }

    #[test]
    fn a_run_that_hit_its_limit_is_never_told_as_a_verdict_on_kafka() {
        let (_, mut result) = sample::run();
        result.outcome = Outcome::LimitReached("100000 events".to_string());
        assert_eq!(verdict(&result), "the run hit its limit: 100000 events");
    }

    #[test]
    fn an_unexposed_run_says_that_it_says_nothing() {
        let (spec, mut result) = sample::run();
        result.exposed = false;
        assert!(render(&spec, &result, 200).contains("says nothing about the family"));
    }
}
