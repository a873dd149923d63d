//! The words of one cell, the same in every rendering: what was expected, what was seen, and what
//! is still missing.

use crate::text::{count, counted, listed};
use everyack_scenarios::failure::TESTBED;
use everyack_scenarios::report::{Cell, CellVerdict, Expected, Witness};
use everyack_sim::mechanism::Mechanism;

/// Mechanisms that lost a message in this cell, `unexplained` among them, as their ids.
pub fn seen(cell: &Cell) -> Vec<&str> {
    let lost = cell
        .losses_by_mechanism
        .iter()
        .filter(|(_, losses)| **losses > 0);
    lost.map(|(mechanism, _)| mechanism.as_str()).collect()
}

/// Expected mechanisms by which nothing was lost, and that therefore have no witness.
pub fn lacking(cell: &Cell) -> Vec<Mechanism> {
    let seen = seen(cell);
    let expected = cell.mechanisms.iter().copied();
    expected
        .filter(|mechanism| !seen.contains(&mechanism.id()))
        .collect()
}

/// What the guarantee model says, before any run: `never loses`, `may lose by P04 and P06`.
pub fn expectation(cell: &Cell) -> String {
    let ids: Vec<&str> = cell
        .mechanisms
        .iter()
        .map(|mechanism| mechanism.id())
        .collect();
    match cell.expected {
        Expected::NeverLoses => "never loses".to_string(),
        Expected::MayLose if ids.is_empty() => "may lose".to_string(),
        Expected::MayLose => format!("may lose by {}", listed(&ids)),
        Expected::PerRun => "computed for each run from the faults that happened".to_string(),
    }
}

/// What the runs showed, as a sentence without its full stop.
pub fn observation(cell: &Cell) -> String {
    if cell.runs == 0 {
        return "no run".to_string();
    }
    if cell.exposed == 0 && cell.runs_with_loss == 0 {
        return format!(
            "in none of {} ({} fired) was a record where the fault could take it",
            counted(cell.runs, "run"),
            count(cell.fired),
        );
    }
    let of = counted(cell.exposed, "exposed run");
    let broken = cell.messages.broken();
    if cell.runs_with_loss == 0 {
        return format!("0 of {of} lost an acknowledged message");
    }
    let seen = seen(cell);
    let by = if seen.is_empty() {
        String::new()
    } else {
        format!("; {}", seen.join(", "))
    };
    let lost = counted(broken, "acknowledged message");
    format!(
        "{} of {of} lost {lost} ({}{by})",
        count(cell.runs_with_loss),
        verdicts(cell)
    )
}

/// Runs of this cell that the testbed could not judge (they hit a limit or panicked) were saved.
pub fn testbed_failed(cell: &Cell) -> bool {
    cell.witnesses
        .iter()
        .any(|witness| witness.mechanism == TESTBED)
}

/// The command that shows a witness' smallest run, and how small that is.
pub fn replay(witness: &Witness) -> (&str, String) {
    let Some(shrunk) = &witness.shrunk else {
        return (&witness.command, "not shrunk".to_owned());
    };
    let faults = counted(shrunk.faults, "fault");
    let messages = counted(shrunk.messages, "message");
    let more = match shrunk.minimal {
        true => "",
        false => "; not shrunk in full",
    };
    (&shrunk.command, format!("{faults}, {messages}{more}"))
}

/// Messages that broke the promise, by verdict: `12 LOST, 3 SKIPPED`.
pub fn verdicts(cell: &Cell) -> String {
    let messages = &cell.messages;
    let named = [
        (messages.lost, "LOST"),
        (messages.lost_on_disk, "LOST-ON-DISK"),
        (messages.skipped, "SKIPPED"),
        (messages.hidden, "HIDDEN"),
    ];
    let some = named.iter().filter(|(n, _)| *n > 0);
    some.map(|(n, name)| format!("{} {name}", count(*n)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The rate over the fixed batch of drawn plans with its bound, where there is one. It is a
/// property of the plans and never a probability in production, so it says whose rate it is.
pub fn rate(cell: &Cell) -> Option<String> {
    let rate = cell.loss_rate?;
    let bound = cell.loss_rate_upper_95?;
    let exposed = cell.batch.exposed;
    Some(format!(
        "{} of {} exposed adversarial plans lose ({:.1} %, 95 % bound {:.1} %)",
        count(lossy_exposed(rate, exposed)),
        count(exposed),
        rate * 100.0,
        bound * 100.0,
    ))
}

/// How many of the exposed plans lost: the rate is a share of them, and a loss elsewhere is no part of
/// it.
pub fn lossy_exposed(rate: f64, exposed: u64) -> u64 {
    (rate * exposed as f64).round() as u64
}

/// Whether two cells stand in one row of the matrix: everything but the family is the same.
pub fn same_row(a: &Cell, b: &Cell) -> bool {
    a.row == b.row
        && a.config == b.config
        && a.application == b.application
        && a.topology == b.topology
}

/// Cells by row of the matrix, both in the order of the report.
pub fn rows(cells: &[Cell]) -> Vec<Vec<&Cell>> {
    let mut rows: Vec<Vec<&Cell>> = Vec::new();
    for cell in cells {
        match rows.iter_mut().find(|row| same_row(row[0], cell)) {
            Some(row) => row.push(cell),
            None => rows.push(vec![cell]),
        }
    }
    rows
}

/// Fault families, in the order in which they occur.
pub fn families(cells: &[Cell]) -> Vec<&str> {
    let mut families: Vec<&str> = Vec::new();
    for cell in cells {
        if !families.contains(&cell.faults.as_str()) {
            families.push(&cell.faults);
        }
    }
    families
}

/// Every mechanism that a cell expects or has seen, in the order of the catalogue.
pub fn mechanisms(cells: &[Cell]) -> Vec<Mechanism> {
    let occurs = |mechanism: &Mechanism| {
        cells
            .iter()
            .any(|cell| cell.mechanisms.contains(mechanism) || seen(cell).contains(&mechanism.id()))
    };
    Mechanism::ALL.into_iter().filter(occurs).collect()
}

/// What is wrong with a cell, in a word, where something is: it is broken, the testbed owes its
/// witness, or the testbed failed in it.
pub fn alarm(cell: &Cell) -> Option<&'static str> {
    match cell.verdict {
        CellVerdict::Broken => Some("BROKEN"),
        CellVerdict::NoWitness => Some("NO WITNESS"),
        _ if testbed_failed(cell) => Some("TESTBED FAILED"),
        _ => None,
    }
}

/// The row's name, and, where several configurations share it, what tells this one from the others.
pub fn row_label(cell: &Cell, cells: &[Cell]) -> String {
    let others: Vec<&Cell> = cells
        .iter()
        .filter(|other| other.row == cell.row && !same_row(other, cell))
        .collect();
    let mut parts: Vec<String> = Vec::new();
    for (key, value) in &cell.config {
        if others
            .iter()
            .any(|other| other.config.get(key) != Some(value))
        {
            parts.push(format!("{key}={value}"));
        }
    }
    if others
        .iter()
        .any(|other| other.application != cell.application)
    {
        parts.push(cell.application.clone());
    }
    if others.iter().any(|other| other.topology != cell.topology) {
        parts.push(counted(u64::from(cell.topology.brokers), "broker"));
    }
    match parts.as_slice() {
        [] => cell.row.clone(),
        // A row named after the one key that it varies needs not say it twice.
        [one] if one.starts_with(&format!("{}=", cell.row)) => one.clone(),
        _ => format!("{}: {}", cell.row, parts.join(", ")),
    }
}

/// The cell's place: row and family.
pub fn place(cell: &Cell, cells: &[Cell]) -> String {
    format!("{} × {}", row_label(cell, cells), cell.faults)
}

/// What the row sets, in one line of Kafka's own words.
pub fn configuration(cell: &Cell) -> String {
    let mut parts: Vec<String> = cell
        .config
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    parts.push(format!("application {}", cell.application));
    parts.push(counted(u64::from(cell.topology.brokers), "broker"));
    parts.push(counted(u64::from(cell.topology.controllers), "controller"));
    parts.join(", ")
}

/// Whether the cell alone fails a campaign: a broken promise always, missing evidence where
/// `demanding` says that witnesses and exposure are demanded.
pub fn fails(cell: &Cell, demanding: bool) -> bool {
    match cell.verdict {
        CellVerdict::Broken => true,
        CellVerdict::NoWitness | CellVerdict::NotExposed => demanding,
        CellVerdict::Kept | CellVerdict::LostAsExpected | CellVerdict::Inconclusive => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_partly_witnessed_cell_names_what_is_still_missing() {
        let cell = sample::lossy(
            "acks=1",
            "leader-crash",
            &[Mechanism::P04, Mechanism::P06],
            37,
        );
        assert_eq!(seen(&cell), ["P04"]);
        assert_eq!(lacking(&cell), [Mechanism::P06]);
        assert_eq!(expectation(&cell), "may lose by P04 and P06");
        assert_eq!(
            observation(&cell),
            "37 of 180 exposed runs lost 74 acknowledged messages (74 LOST; P04)"
        );
    }

    #[test]
    fn a_cell_without_an_exposed_run_never_reads_as_kept() {
        let mut cell = sample::kept("acks=all", "leader-crash");
        (cell.fired, cell.exposed, cell.verdict) = (12, 0, CellVerdict::NotExposed);
        assert_eq!(
            observation(&cell),
            "in none of 240 runs (12 fired) was a record where the fault could take it"
        );
        assert!(fails(&cell, true) && !fails(&cell, false));
    }

    #[test]
    fn a_row_of_several_configurations_names_what_tells_them_apart() {
        let one = sample::kept("acks", "none");
        let mut two = sample::kept("acks", "none");
        two.config.insert("acks".to_string(), "1".to_string());
        let cells = [one, two, sample::kept("other", "none")];
        assert_eq!(row_label(&cells[0], &cells), "acks=all");
        assert_eq!(row_label(&cells[1], &cells), "acks=1");
        let mut two = sample::kept("one producer", "none");
        two.config.insert("acks".to_string(), "1".to_string());
        let named = [sample::kept("one producer", "none"), two];
        assert_eq!(row_label(&named[1], &named), "one producer: acks=1");
        assert_eq!(place(&cells[2], &cells), "other × none");
    }

    #[test]
    fn a_rate_says_that_it_is_of_adversarial_plans() {
        let cell = sample::lossy("acks=1", "leader-crash", &[Mechanism::P04], 37);
        let rate = rate(&cell).unwrap();
        assert!(rate.contains("adversarial plans"), "{rate}");
        let mut partial = cell;
        partial.loss_rate = None;
        assert_eq!(super::rate(&partial), None);
    }
}
