//! The commands that run a report's campaign again.

use everyack_scenarios::report::{Part, Report, shell_word};

/// One command for each part of the suite that the report holds; one where it holds all of it.
pub fn again(report: &Report) -> Vec<String> {
    let whole = [Part {
        filter: String::new(),
        shard: None,
    }];
    let parts = match report.asked.parts.as_slice() {
        [] => &whole,
        parts => parts,
    };
    parts.iter().map(|part| one(report, part)).collect()
}

fn one(report: &Report, part: &Part) -> String {
    let asked = &report.asked;
    let mut command = format!("{} --seed-base {}", asked.command, report.seed_base);
    let mut add = |flag: &str, value: &str| command += &format!(" {flag} {}", shell_word(value));
    match asked.budget_s {
        Some(budget) => add("--budget", &milliseconds(budget)),
        None if !asked.own_seeds => add("--seeds", &asked.seeds.to_string()),
        None => {}
    }
    if !part.filter.is_empty() {
        add("--filter", &part.filter);
    }
    if let Some(shard) = &part.shard {
        add("--shard", shard);
    }
    if let Some(bug) = &asked.bug {
        add("--bug", bug);
    }
    if asked.shrink_budget_s != 5.0 {
        add("--shrink-budget", &milliseconds(asked.shrink_budget_s));
    }
    if asked.wire != "sampled" {
        add("--wire", &asked.wire);
    }
    if asked.strict {
        command += " --strict";
    }
    command
}

/// As the command line reads a time.
fn milliseconds(seconds: f64) -> String {
    match seconds {
        0.0 => "0s".to_owned(),
        seconds => format!("{:.0}ms", seconds * 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_campaign_at_its_own_seeds_needs_its_base_alone() {
        let report = sample::every_kind();
        assert_eq!(again(&report), ["everyack run sample --seed-base 0x2a"]);
    }

    #[test]
    fn every_flag_that_decides_what_ran_is_there_and_quoted_where_a_shell_needs_it() {
        let mut report = sample::every_kind();
        let asked = &mut report.asked;
        (asked.seeds, asked.own_seeds, asked.strict) = (7, false, true);
        asked.bug = Some("skip-flush".to_string());
        asked.wire = "typed".to_string();
        let part = |filter: &str, shard: Option<&str>| Part {
            filter: filter.to_string(),
            shard: shard.map(str::to_string),
        };
        asked.parts = vec![part("row=one replica", None), part("", Some("2/4"))];
        assert_eq!(
            again(&report),
            [
                "everyack run sample --seed-base 0x2a --seeds 7 --filter 'row=one replica' --bug \
                 skip-flush --wire typed --strict",
                "everyack run sample --seed-base 0x2a --seeds 7 --shard 2/4 --bug skip-flush --wire \
                 typed --strict",
            ]
        );
        (report.asked.budget_s, report.asked.shrink_budget_s) = (Some(90.0), 0.0);
        let command = &again(&report)[0];
        assert!(command.contains("--budget 90000ms"), "{command}");
        assert!(command.contains("--shrink-budget 0s"), "{command}");
    }
}
