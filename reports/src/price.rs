//! What each configuration costs, beside what it keeps.

use crate::text::count;
use everyack_scenarios::report::{Cell, Price, Report};

/// More configurations than this are a table that nobody reads.
const MANY: usize = 60;

/// A configuration with its price, and the longest time that its producers waited under any family.
pub struct Line<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it costs when nothing goes wrong.
    pub price: Price,
    /// In milliseconds.
    pub longest_gap_ms: u64,
}

/// One line a configuration, in the order of the report.
pub fn lines(cells: &[Cell]) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for cell in cells {
        let name = cell.id.rsplit_once('/').map_or(&*cell.id, |(name, _)| name);
        let gap = cell.unavailable_ms.max;
        match (lines.iter_mut().find(|line| line.name == name), cell.price) {
            (Some(line), _) => line.longest_gap_ms = line.longest_gap_ms.max(gap),
            (None, Some(price)) => lines.push(Line {
                name,
                price,
                longest_gap_ms: gap,
            }),
            (None, None) => {}
        }
    }
    lines
}

/// The table, or nothing where no run told a price.
pub fn render(report: &Report, width: usize) -> String {
    let lines = lines(&report.cells);
    if lines.is_empty() || lines.len() > MANY {
        return String::new();
    }
    let figures = 9 + 9 + 12 + 13;
    let longest = lines.iter().map(|line| line.name.chars().count()).max();
    let name = longest.unwrap_or(0).clamp(8, width - figures - 2);
    let mut out = format!(
        "What it costs (modelled; latencies in ms, messages/s with all sent at once, longest time without an\n\
         acknowledgement under any of its families)\n  {:name$}{:>9}{:>9}{:>12}{:>13}\n",
        "", "ack p50", "ack p99", "messages/s", "longest gap",
    );
    for line in lines {
        let ack = |ms: f64| format!("{ms:.1}");
        let per_s = line.price.messages_per_s;
        let gap = format!("{:.1} s", line.longest_gap_ms as f64 / 1_000.0);
        let short: String = line.name.chars().take(name).collect();
        out += &format!(
            "  {short:name$}{:>9}{:>9}{:>12}{gap:>13}\n",
            ack(line.price.ack_ms.p50),
            ack(line.price.ack_ms.p99),
            per_s.map_or("-".to_owned(), |per_s| count(per_s as u64)),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use everyack_scenarios::report::AckQuantiles;

    #[test]
    fn a_configuration_has_one_line_with_its_longest_gap() {
        let mut report = sample::every_kind();
        assert_eq!(render(&report, 100), "", "no run told a price");
        let price = Price {
            ack_ms: AckQuantiles {
                p50: 5.04,
                p99: 12.0,
            },
            messages_per_s: Some(41_234.0),
        };
        for (cell, family, gap) in [(0, "none", 0), (1, "leader-crash", 9_120)] {
            report.cells[cell].id = format!("acks=all/{family}");
            report.cells[cell].price = Some(price);
            report.cells[cell].unavailable_ms.max = gap;
        }
        let text = render(&report, 100);
        let rows: Vec<&str> = text.lines().skip(3).collect();
        let words: Vec<&str> = rows[0].split_whitespace().collect();
        assert_eq!(words, ["acks=all", "5.0", "12.0", "41,234", "9.1", "s"]);
        assert_eq!(rows.len(), 1, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
    }
}
