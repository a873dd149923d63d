//! The loss matrix itself: one row a configuration, one column a fault family, in as many blocks of
//! families as the width asks for.

use crate::cell;
use crate::text::{count, split_long, wrap, wrap_hyphens};
use comfy_table::{Attribute, Cell as TableCell, Color, LineStyle, Table, TableStyle};
use everyack_scenarios::failure::TESTBED;
use everyack_scenarios::report::{Cell, CellVerdict, Expected};

/// Width that a row's name may take before it wraps.
const ROW_WIDTH: usize = 26;
/// Width that a family's name may take before it breaks behind a hyphen.
const FAMILY_WIDTH: usize = 12;
/// Spaces that a column takes beside its text: one on each side.
const GAP: usize = 2;

/// Rules between rows; none between columns, which would cost width.
const RULED: TableStyle = TableStyle::new()
    .header_separator(LineStyle::none().fill('═'))
    .row_separator(LineStyle::none().fill('─'));

/// Messages whose sender knows nothing of them.
const UNREPORTED: &str = "UNREPORTED";

/// How a cell is coloured, where colour was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shade {
    /// Nothing was exposed, or nothing ran: says nothing.
    Grey,
    /// Nothing was lost where nothing may be.
    Kept,
    /// Lost, as expected.
    Lost,
    /// Undecided.
    Open,
    /// The testbed owes a witness, or failed.
    Missing,
    /// A promise was broken.
    Broken,
}

/// What stands in the matrix for a cell: short lines and their shade.
pub fn entry(cell: &Cell) -> (Vec<String>, Shade) {
    let ratio = format!("{}/{}", cell.runs_with_loss, cell.exposed);
    let lost = || [vec![format!("LOST {ratio}")], id_lines(&cell::seen(cell))].concat();
    let lacking: Vec<&str> = cell::lacking(cell)
        .iter()
        .map(|mechanism| mechanism.id())
        .collect();
    if cell.runs == 0 {
        return (vec!["no run".to_string()], Shade::Grey);
    }
    let (mut lines, shade) = match cell.verdict {
        CellVerdict::Kept => (vec![format!("kept {ratio}")], Shade::Kept),
        CellVerdict::Broken => (vec![format!("BROKEN {ratio}")], Shade::Broken),
        CellVerdict::LostAsExpected => (lost(), Shade::Lost),
        CellVerdict::NoWitness | CellVerdict::Inconclusive => {
            let (word, shade) = match cell.verdict {
                CellVerdict::NoWitness => ("no witness", Shade::Missing),
                _ => ("open", Shade::Open),
            };
            let mut lines = match cell.runs_with_loss {
                0 if cell.exposed == 0 => vec!["0 exposed".to_string()],
                0 => vec![format!("kept {ratio}")],
                _ => lost(),
            };
            if !lacking.is_empty() {
                lines.push(word.to_string());
                lines.extend(id_lines(&lacking));
            }
            (lines, shade)
        }
        CellVerdict::NotExposed => (vec!["not exposed".to_string()], Shade::Grey),
    };
    if cell::testbed_failed(cell) {
        lines.push(TESTBED.to_string());
        return (lines, shade.max(Shade::Missing));
    }
    if cell.messages.unreported > 0 {
        lines.push(format!("{} {UNREPORTED}", count(cell.messages.unreported)));
    }
    if cell.writes_stop || cell.reads_stop {
        lines.extend(stops(cell).lines().map(str::to_string));
    }
    (lines, shade)
}

/// Ids, three to a line.
fn id_lines(ids: &[&str]) -> Vec<String> {
    ids.chunks(3).map(|some| some.join(" ")).collect()
}

fn stops(cell: &Cell) -> &'static str {
    match (cell.writes_stop, cell.reads_stop) {
        (true, true) => "no reads and\nno writes",
        (true, false) => "no writes",
        _ => "no reads",
    }
}

/// A row of the matrix: cells with the same configuration, application and cluster.
struct Row<'a> {
    label: Vec<String>,
    cells: Vec<&'a Cell>,
}

/// The tables, each at most `width` characters wide, with an empty line between them.
pub fn render(cells: &[Cell], width: usize, colour: bool) -> String {
    let rows = rows(cells);
    let families = cell::families(cells);
    let label_width = rows
        .iter()
        .flat_map(|row| &row.label)
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    let room = width.saturating_sub(label_width + GAP);
    let tables: Vec<String> = blocks(&families, cells, room)
        .iter()
        .map(|block| table(&rows, block, colour))
        .collect();
    tables.join("\n")
}

/// Families side by side as far as they fit; a family that is wider than the room stands alone.
fn blocks<'a>(families: &[&'a str], cells: &[Cell], room: usize) -> Vec<Vec<&'a str>> {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    let mut used = 0;
    for &family in families {
        let width = family_width(family, cells) + GAP;
        match blocks.last_mut() {
            Some(block) if used + width <= room => block.push(family),
            _ => {
                blocks.push(vec![family]);
                used = 0;
            }
        }
        used += width;
    }
    blocks
}

fn family_width(family: &str, cells: &[Cell]) -> usize {
    let header = wrap_hyphens(family, FAMILY_WIDTH);
    let own = cells
        .iter()
        .filter(|cell| cell.faults == family)
        .flat_map(|cell| entry(cell).0);
    header
        .into_iter()
        .chain(own)
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0)
}

fn rows(cells: &[Cell]) -> Vec<Row<'_>> {
    cell::rows(cells)
        .into_iter()
        .map(|row| Row {
            label: label(row[0], cells),
            cells: row,
        })
        .collect()
}

fn label(cell: &Cell, cells: &[Cell]) -> Vec<String> {
    let label = cell::row_label(cell, cells);
    let lines = wrap(&label, ROW_WIDTH);
    lines
        .iter()
        .flat_map(|line| split_long(line, ROW_WIDTH))
        .collect()
}

fn table(rows: &[Row], families: &[&str], colour: bool) -> String {
    let mut table = Table::new();
    table.load_style(RULED);
    if colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let header = families
        .iter()
        .map(|family| wrap_hyphens(family, FAMILY_WIDTH).join("\n"));
    table.set_header(std::iter::once(String::new()).chain(header));
    for row in rows {
        let cells: Vec<Option<&&Cell>> = families
            .iter()
            .map(|family| row.cells.iter().find(|cell| cell.faults == *family))
            .collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let entries = cells.into_iter().map(|cell| match cell {
            Some(cell) => table_cell(cell, colour),
            None => TableCell::new(""),
        });
        table.add_row(std::iter::once(TableCell::new(row.label.join("\n"))).chain(entries));
    }
    table
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

fn table_cell(cell: &Cell, colour: bool) -> TableCell {
    let (lines, shade) = entry(cell);
    let plain = TableCell::new(lines.join("\n"));
    if !colour {
        return plain;
    }
    match shade {
        Shade::Kept => plain.fg(Color::Green),
        Shade::Lost => plain.fg(Color::Yellow),
        Shade::Broken => plain.fg(Color::Red).add_attribute(Attribute::Bold),
        Shade::Missing => plain.fg(Color::Red),
        Shade::Open => plain.fg(Color::Cyan),
        Shade::Grey => plain.fg(Color::DarkGrey),
    }
}

/// One line for every kind of entry that occurs in these cells.
pub fn legend(cells: &[Cell]) -> Vec<(&'static str, &'static str)> {
    let mut lines = Vec::new();
    let mut add = |occurs: bool, word, means| {
        if occurs {
            lines.push((word, means));
        }
    };
    let any = |verdict: CellVerdict| cells.iter().any(|cell| cell.verdict == verdict);
    let wanting = |cell: &&Cell| {
        matches!(
            cell.verdict,
            CellVerdict::NoWitness | CellVerdict::Inconclusive
        )
    };
    let lossless = cells
        .iter()
        .filter(wanting)
        .any(|cell| cell.runs_with_loss == 0);
    let partly = cells
        .iter()
        .filter(wanting)
        .any(|cell| cell.runs_with_loss > 0);
    let per_run = cells.iter().any(|cell| cell.expected == Expected::PerRun);
    add(
        any(CellVerdict::Kept) || lossless,
        "kept 0/n",
        "no acknowledged message was lost in n exposed runs (runs in which the fault could have taken one)",
    );
    add(
        any(CellVerdict::LostAsExpected) || partly,
        "LOST m/n  P..",
        "expected to lose, and seen: m of n exposed runs lost acknowledged messages, by these mechanisms",
    );
    add(
        any(CellVerdict::Broken),
        "BROKEN",
        "a promise was broken: a loss or an anomaly that theory forbids, or that nothing explains",
    );
    add(
        any(CellVerdict::NoWitness),
        "no witness  P..",
        "theory says that this mechanism loses here, and no run showed it: the testbed failed",
    );
    add(
        any(CellVerdict::Inconclusive),
        "open  P..",
        "theory says that this mechanism may lose here; too few runs to demand that one shows it",
    );
    add(
        cells.iter().any(cell::testbed_failed),
        TESTBED,
        "some runs hit a limit or panicked: everyack itself failed there, and says nothing of Kafka",
    );
    add(
        any(CellVerdict::NotExposed),
        "not exposed",
        "in no run was a record where the fault could take it: says nothing",
    );
    add(
        cells.iter().any(|cell| cell.messages.unreported > 0),
        UNREPORTED,
        "messages that were sent, and whose sender never learned what became of them",
    );
    add(
        cells.iter().any(|cell| cell.writes_stop || cell.reads_stop),
        "no writes/reads",
        "refused while the fault lasts: the price of keeping the promise",
    );
    add(
        per_run,
        "random",
        "what is expected is computed for each run from the faults that happened",
    );
    lines
}

/// Runs, exposed runs and lossy runs of all cells, for the head of the report.
pub fn totals(cells: &[Cell]) -> String {
    let runs: u64 = cells.iter().map(|cell| cell.runs).sum();
    let exposed: u64 = cells.iter().map(|cell| cell.exposed).sum();
    format!("{} runs, {} exposed", count(runs), count(exposed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use everyack_sim::mechanism::Mechanism;

    #[test]
    fn a_cell_reads_short_and_honest() {
        assert_eq!(entry(&sample::kept("r", "f")).0, ["kept 0/180"]);
        assert_eq!(entry(&sample::broken("r", "f")).0, ["BROKEN 3/180"]);
        let lossy = sample::lossy("r", "f", &[Mechanism::P04], 37);
        assert_eq!(
            entry(&lossy),
            (
                vec!["LOST 37/180".to_string(), "P04".to_string()],
                Shade::Lost
            )
        );
    }

    #[test]
    fn a_loss_by_one_mechanism_does_not_hide_that_another_has_no_witness() {
        let mut cell = sample::lossy("r", "f", &[Mechanism::P04, Mechanism::P06], 37);
        cell.verdict = CellVerdict::NoWitness;
        assert_eq!(entry(&cell).0, ["LOST 37/180", "P04", "no witness", "P06"]);
        cell.verdict = CellVerdict::Inconclusive;
        assert_eq!(entry(&cell).0, ["LOST 37/180", "P04", "open", "P06"]);
    }

    #[test]
    fn a_cell_without_an_exposed_run_is_grey_and_never_green() {
        let mut cell = sample::kept("r", "f");
        (cell.verdict, cell.exposed) = (CellVerdict::NotExposed, 0);
        assert_eq!(entry(&cell), (vec!["not exposed".to_string()], Shade::Grey));
    }

    #[test]
    fn a_run_that_the_testbed_failed_is_never_hidden_behind_a_verdict() {
        let mut cell = sample::kept("r", "f");
        cell.witnesses = vec![sample::witness(TESTBED, "f")];
        assert_eq!(
            entry(&cell),
            (
                vec!["kept 0/180".to_string(), TESTBED.to_string()],
                Shade::Missing
            )
        );
        cell.verdict = CellVerdict::Inconclusive;
        cell.exposed = 0;
        assert_eq!(entry(&cell).0, ["0 exposed", TESTBED]);
        assert!(legend(&[cell]).iter().any(|(word, _)| *word == TESTBED));
    }

    #[test]
    fn a_cell_that_never_ran_says_so() {
        let mut cell = sample::kept("r", "f");
        (cell.runs, cell.verdict) = (0, CellVerdict::Inconclusive);
        assert_eq!(entry(&cell), (vec!["no run".to_string()], Shade::Grey));
    }

    #[test]
    fn refused_writes_stand_in_the_cell() {
        let mut cell = sample::kept("r", "f");
        cell.writes_stop = true;
        assert_eq!(entry(&cell).0, ["kept 0/180", "no writes"]);
    }

    #[test]
    fn messages_that_nobody_knows_of_stand_in_the_cell() {
        let mut cell = sample::kept("r", "f");
        cell.messages.unreported = 1_200;
        assert_eq!(entry(&cell).0, ["kept 0/180", "1,200 UNREPORTED"]);
    }

    #[test]
    fn every_block_keeps_its_width_and_every_cell_stands_in_exactly_one() {
        let report = sample::every_kind();
        for width in [60, 80, 100, 200] {
            let out = render(&report.cells, width, false);
            assert!(
                out.lines().all(|line| line.chars().count() <= width),
                "{width}\n{out}"
            );
            assert_eq!(out.matches("180").count(), report.cells.len(), "{out}");
        }
    }

    #[test]
    fn configurations_that_share_a_row_name_are_kept_apart() {
        let mut other = sample::broken("acks=all", "none");
        other.application = "auto-commit".to_string();
        let out = render(&[sample::kept("acks=all", "none"), other], 100, false);
        assert!(
            out.contains("kept 0/180") && out.contains("BROKEN 3/180"),
            "{out}"
        );
        assert!(out.contains("auto-commit"), "{out}");
    }
}
