//! The table of the bug bench.

use crate::text::count;
use everyack_scenarios::bug_bench::Line;

/// A line a bug, and in one sentence how many were found.
pub fn render(lines: &[Line]) -> String {
    let widths = |of: fn(&Line) -> usize, least: usize| lines.iter().map(of).max().max(Some(least));
    let name = widths(|line| line.bug.name().len(), 3).unwrap_or(3);
    let suite = widths(|line| line.suite.len(), 5).unwrap_or(5);
    let mut out = format!(
        "{:<name$}  {:<suite$}  {:<13}  {:>7}  {:>7}  {:>7}\n",
        "bug", "suite", "found by", "median", "p90", "found"
    );
    for line in lines {
        let seeds = |seeds: Option<u64>| seeds.map_or("-".to_owned(), count);
        out += &format!(
            "{:<name$}  {:<suite$}  {:<13}  {:>7}  {:>7}  {:>7}\n",
            line.bug.name(),
            line.suite,
            line.found_by.as_deref().unwrap_or("-"),
            seeds(line.seeds_median),
            seeds(line.seeds_p90),
            format!("{}/{}", line.found, line.searches),
        );
    }
    let found = lines.iter().filter(|line| line.found > 0).count();
    out + &format!(
        "{found} of {} planted bugs found; seeds are runs of the suite until the first that breaks a cell.\n",
        lines.len()
    )
}

/// For scripts, and to be checked in.
pub fn json(lines: &[Line]) -> String {
    let text = serde_json::to_string_pretty(lines);
    text.expect("a line holds strings and numbers only") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use everyack_broker::bug::Bug;

    #[test]
    fn a_bug_that_was_not_found_has_no_figures() {
        let line = |bug, found: u64| Line {
            bug,
            suite: "replication".into(),
            found_by: (found > 0).then(|| "log-matching".into()),
            cell: None,
            searches: if found > 0 { 20 } else { 1 },
            found,
            seeds_median: (found > 0).then_some(1_150),
            seeds_p90: None,
        };
        let lines = [line(Bug::SkipFlush, 20), line(Bug::EpochEndNaive, 0)];
        let text = render(&lines);
        let rows: Vec<&str> = text.lines().collect();
        assert!(rows.iter().all(|row| row.len() <= 100), "{text}");
        assert!(
            rows[1].contains("log-matching     1,150        -    20/20"),
            "{text}"
        );
        let figures: Vec<&str> = rows[2].split_whitespace().skip(2).collect();
        assert_eq!(figures, ["-", "-", "-", "0/1"], "{text}");
        assert!(rows[3].starts_with("1 of 2 planted bugs found"), "{text}");
        let back: Vec<Line> = serde_json::from_str(&json(&lines)).unwrap();
        assert_eq!(back, lines);
    }
}
