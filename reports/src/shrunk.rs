//! What went from a failure when it was shrunk, and what is left.

use crate::text::{count, counted};
use everyack_scenarios::shrink::{Shrunk, Size};

/// The figures before and after, and what they took.
pub fn render(shrunk: &Shrunk, seconds: f64) -> String {
    let (before, after) = (&shrunk.before, &shrunk.after);
    let rows = [
        ("faults", before.faults as u64, after.faults as u64),
        ("messages", before.messages, after.messages),
        (
            "applications",
            before.applications.into(),
            after.applications.into(),
        ),
        (
            "partitions",
            before.partitions as u64,
            after.partitions as u64,
        ),
        ("settings", before.settings as u64, after.settings as u64),
        ("kernel events", before.events, after.events),
    ];
    let mut out = String::from("Shrunk         before     after\n");
    for (what, before, after) in rows {
        out += &format!("{what:<13}{:>8}  {:>8}\n", count(before), count(after));
    }
    let end = match shrunk.complete {
        true => "nothing more goes",
        false => "stopped early: not minimal",
    };
    out + &format!(
        "{} in {seconds:.1} s; {end}.\n",
        counted(shrunk.runs, "run")
    )
}

/// How far it is, in a few words.
pub fn in_short(smallest: Size) -> String {
    format!(
        "{}, {}, {} left",
        counted(smallest.faults as u64, "fault"),
        counted(smallest.messages, "message"),
        counted(smallest.settings as u64, "setting"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use everyack_scenarios::failure::{Build, Failure, Showed};

    #[test]
    fn what_went_is_told_in_columns() {
        let (spec, result) = sample::run();
        let size = |faults, events| Size {
            faults,
            messages: 600,
            applications: 4,
            partitions: 3,
            settings: 14,
            events,
        };
        let build = Build {
            everyack: "0".into(),
            commit: "c".into(),
            rustc: "r".into(),
            target: "t".into(),
        };
        let shrunk = Shrunk {
            failure: Failure {
                build,
                suite: "guide".into(),
                cell: "cell".into(),
                mechanism: "P04".into(),
                showed: Showed::of(&result),
                trace_hash: "0x0".into(),
                spec,
                story: Vec::new(),
            },
            before: size(3, 20_123),
            after: size(1, 2_000),
            runs: 80,
            complete: true,
        };
        let text = render(&shrunk, 1.25);
        assert!(text.contains("faults              3         1\n"), "{text}");
        assert!(text.contains("kernel events  20,123     2,000\n"), "{text}");
        assert!(
            text.ends_with("80 runs in 1.2 s; nothing more goes.\n"),
            "{text}"
        );
        assert_eq!(
            in_short(shrunk.after),
            "1 fault, 600 messages, 14 settings left"
        );
    }
}
