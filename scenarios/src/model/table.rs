//! The model against the derived table of what theory says, which was held against a running Apache
//! Kafka 4.3.1 (unclean elections off, eligible leader replicas on).
//!
//! With the feature off the seven columns here are the same: in each of them the ISR is full when
//! the fault strikes and at most one broker is out of it at a time, or all lose power at once, so
//! no sole member of an ISR is judged by whether it may leave it. The feature first matters where
//! the ISR had shrunk before the fault (not among these families): acks=1 with min.insync.replicas=2
//! then waits for the sole member instead of electing another (P07), and acks=all with 2 loses the
//! sole member's unsynced records (R05).

use super::tests::safe;
use super::*;
use everyack_broker::config::Acks;

/// Columns, in the order of the rows' letters.
const COLUMNS: [Family; 7] = [
    Family::ConnectionLoss,
    Family::LeaderCrash,
    Family::LeaderPowerLoss,
    Family::ClusterPowerLoss,
    Family::LeaderCutFromFollowers,
    Family::LeaderCutFromController,
    Family::LeaderMove,
];

/// acks, replicas, min ISR, flush (`any`, `every`, `N/os`), then the letters: L some schedule loses,
/// S none and it goes on serving, Sv none but acknowledged records are unreadable meanwhile, U none
/// but writes are refused meanwhile.
const TABLE: &str = "
    0   1 any any    L L L L S  L S
    0   3 1   any    L L L L S  L L
    0   3 2   any    L L L L Sv L L
    0   3 3   any    L L L L Sv L L
    1   1 any every  S U U U S  U S
    1   1 any N/os   S U L L S  U S
    1   3 1   every  S L L L S  L L
    1   3 1   N/os   S L L L S  L L
    1   3 2   every  S L L L Sv L L
    1   3 2   N/os   S L L L Sv L L
    1   3 3   every  S L L L Sv L L
    1   3 3   N/os   S L L L Sv L L
    all 1 any every  S U U U S  U S
    all 1 any N/os   S U L L S  U S
    all 3 1   every  S S S U S  S S
    all 3 1   N/os   S S S L S  S S
    all 3 2   every  S S S U U  S S
    all 3 2   N/os   S S S L U  S S
    all 3 3   every  S U U U U  U S
    all 3 3   N/os   S U U L U  U S
";

fn letter(expectation: &Expectation) -> &'static str {
    match expectation {
        e if e.expected == Expected::MayLose => "L",
        e if e.writes_stop => "U",
        e if e.reads_stop => "Sv",
        _ => "S",
    }
}

#[test]
fn the_model_says_what_the_table_says() {
    let mut compared = 0;
    for row in TABLE.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = row.split_whitespace().collect();
        let acks = match words[0] {
            "0" => Acks::None,
            "1" => Acks::Leader,
            _ => Acks::All,
        };
        let replication_factor: i16 = words[1].parse().unwrap();
        let min_isrs = match words[2] {
            "any" => vec![1, 2, 3],
            n => vec![n.parse().unwrap()],
        };
        let flushes = match words[3] {
            "any" => vec![
                Flush::Every,
                Flush::Messages(100),
                Flush::Time(1_000),
                Flush::Os,
            ],
            "every" => vec![Flush::Every],
            _ => vec![Flush::Messages(100), Flush::Time(1_000), Flush::Os],
        };
        for min_isr in min_isrs {
            for flush in &flushes {
                let config = CellConfig {
                    acks,
                    replication_factor,
                    effective_min_isr: i32::min(min_isr, replication_factor.into()),
                    flush: *flush,
                    ..safe()
                };
                for (family, expected) in COLUMNS.into_iter().zip(&words[4..]) {
                    let found = expect(&config, family);
                    assert_eq!(
                        letter(&found),
                        *expected,
                        "{family} of row {row}: {found:?}"
                    );
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 7 * 72, "20 rows, spread over min ISR and flush");
}
