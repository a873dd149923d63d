//! The model against the derived table of what theory says, which was held against a running Apache
//! Kafka 4.3.1, and against what that Kafka was seen losing: unclean elections off, eligible leader
//! replicas on.
//!
//! With the feature off the columns are the same but for three, in the rows with several replicas and
//! min.insync.replicas of 2 or 3 ([`WITHOUT_ELR`]): there the ISR has shrunk to the leader before the
//! fault, and with the feature its former members are eligible, so that one of them is elected.
//! Without it the leader is waited for. acks=1 then keeps what the leader took alone, which P07 loses
//! with the feature (SC, SP); acks=all loses the leader's unsynced records, and everything with its
//! disk, which the feature keeps (SP: R05; SX: S20).
//!
//! The columns TI and CF need a quorum and are not judged here.

use super::tests::safe;
use super::*;
use everyack_broker::config::Acks;
use std::collections::BTreeMap;

/// The table of theory, as printed: acks, replicas, min ISR, flush (`any`, `every`, `N/os`), then the
/// letters: L some schedule loses, S none and it goes on serving, Sv none but acknowledged records are
/// unreadable meanwhile, U none but writes are refused meanwhile.
const TABLE: &str = "
    acks  RF    isr   flush  N1 C1 P1 RC RP PA IF IC IX IZ LP TI CF LM RR DF FE DD SF SL SC SP SX BC BP
    0     1     any   any    L  L  L  L  L  L  S  L  L  L  L  L  S  S  L  L  L  L  S  S  L  L  L  L  L
    0     3     1     any    L  L  L  L  L  L  S  L  L  L  L  L  S  L  L  L  L  L  S  S  L  L  L  L  L
    0     3     2     any    L  L  L  L  L  L  Sv L  L  L  L  L  S  L  L  L  L  L  S  Sv L  L  L  L  L
    0     3     3     any    L  L  L  L  L  L  Sv L  L  L  L  L  S  L  L  L  L  L  Sv Sv L  L  L  L  L
    1     1     any   every  S  U  U  U  U  U  S  U  U  U  U  U  S  S  U  U  U  L  S  S  U  U  L  U  U
    1     1     any   N/os   S  U  L  U  L  L  S  U  U  U  U  U  S  S  U  U  L  L  S  S  U  L  L  U  L
    1     3     1     every  S  L  L  L  L  L  S  L  U  L  L  L  S  L  L  L  L  L  S  S  U  U  L  U  U
    1     3     1     N/os   S  L  L  L  L  L  S  L  U  L  L  L  S  L  L  L  L  L  S  S  U  L  L  U  L
    1     3     2     every  S  L  L  L  L  L  Sv L  U  L  L  L  S  L  L  L  L  L  S  Sv L  L  L  U  U
    1     3     2     N/os   S  L  L  L  L  L  Sv L  U  L  L  L  S  L  L  L  L  L  S  Sv L  L  L  U  L
    1     3     3     every  S  L  L  L  L  L  Sv L  U  L  L  L  S  L  L  L  L  L  Sv Sv L  L  L  U  U
    1     3     3     N/os   S  L  L  L  L  L  Sv L  U  L  L  L  S  L  L  L  L  L  Sv Sv L  L  L  U  L
    all   1     any   every  S  U  U  U  U  U  S  U  U  U  U  U  S  S  U  U  U  L  S  S  U  U  L  U  U
    all   1     any   N/os   S  U  L  U  L  L  S  U  U  U  U  U  S  S  U  U  L  L  S  S  U  L  L  U  L
    all   3     1     every  S  S  S  U  U  U  S  S  U  S  S  U  S  S  S  S  S  S  S  S  U  U  L  U  U
    all   3     1     N/os   S  S  S  U  L  L  S  S  U  S  S  U  S  S  S  S  S  S  S  S  U  L  L  U  L
    all   3     2     every  S  S  S  U  U  U  U  S  U  S  S  U  S  S  S  S  S  S  S  U  U  U  U  U  U
    all   3     2     N/os   S  S  S  U  L  L  U  S  U  S  S  U  S  S  S  S  S  S  S  U  U  U  U  U  L
    all   3     3     every  S  U  U  U  U  U  U  U  U  U  U  U  S  S  U  U  U  U  U  U  U  U  U  U  U
    all   3     3     N/os   S  U  U  U  L  L  U  U  U  U  U  U  S  S  U  U  U  U  U  U  U  U  U  U  L
";

/// What the three columns that eligible leader replicas change say without them, for the rows with
/// three replicas and min.insync.replicas of 2 or 3.
const WITHOUT_ELR: &str = "
    acks flush  SC SP SX
    0    any    L  L  L
    1    every  U  U  L
    1    N/os   U  L  L
    all  every  U  U  L
    all  N/os   U  L  L
";

/// What was seen on a running Kafka: acks, replicas, min ISR, flush, family, trials, acknowledged, lost.
const OBSERVED: &str = include_str!("../../../tests/observed.csv");

/// The family of a column; none for what needs a quorum.
fn family_of(column: &str) -> Option<Family> {
    Some(match column {
        "N1" => Family::ConnectionLoss,
        "C1" => Family::LeaderCrash,
        "P1" => Family::LeaderPowerLoss,
        "RC" => Family::RollingCrash,
        "RP" => Family::RollingPowerLoss,
        "PA" => Family::ClusterPowerLoss,
        "IF" => Family::LeaderCutFromFollowers,
        "IC" => Family::LeaderCutFromController,
        "IX" => Family::LeaderCutFromClients,
        "IZ" => Family::ZombieLeader,
        "LP" => Family::LeaderPause,
        "LM" => Family::LeaderMove,
        "RR" => Family::RollingRestart,
        "DF" => Family::DiskFull,
        "FE" => Family::DiskError,
        "DD" => Family::DiskDestroyed,
        "SF" => Family::SlowFollower,
        "SL" => Family::SlowLeader,
        "SC" => Family::ShrunkIsrCrash,
        "SP" => Family::ShrunkIsrPowerLoss,
        "SX" => Family::ShrunkIsrDiskDestroyed,
        "BC" => Family::LastIsrCrash,
        "BP" => Family::LastIsrPowerLoss,
        "TI" | "CF" => return None,
        other => panic!("no column {other}"),
    })
}

fn letter(expectation: &Expectation) -> &'static str {
    match expectation {
        e if e.expected == Expected::MayLose => "L",
        e if e.writes_stop => "U",
        e if e.reads_stop => "Sv",
        _ => "S",
    }
}

fn acks(word: &str) -> Acks {
    match word {
        "0" => Acks::None,
        "1" => Acks::Leader,
        "all" => Acks::All,
        other => panic!("no acks {other}"),
    }
}

fn flushes(word: &str) -> Vec<Flush> {
    let cached = vec![Flush::Messages(100), Flush::Time(1_000), Flush::Os];
    match word {
        "every" => vec![Flush::Every],
        "N/os" => cached,
        "os" => vec![Flush::Os],
        "any" => [vec![Flush::Every], cached].concat(),
        other => panic!("no flush {other}"),
    }
}

fn config(acks: Acks, replicas: i16, min_isr: i32, flush: Flush) -> CellConfig {
    CellConfig {
        acks,
        replication_factor: replicas,
        effective_min_isr: min_isr.min(replicas.into()),
        flush,
        ..safe()
    }
}

/// Lines of words, the header first.
fn lines(table: &str) -> Vec<Vec<&str>> {
    let lines = table.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| line.split_whitespace().collect())
        .collect()
}

/// Whether a cell of the table is one that eligible leader replicas change.
fn elr_changes(column: &str, replicas: i16, min_isr: i32) -> bool {
    matches!(column, "SC" | "SP" | "SX") && replicas == 3 && min_isr >= 2
}

#[test]
fn the_model_says_what_the_table_says() {
    let table = lines(TABLE);
    let mut compared = 0;
    for row in &table[1..] {
        let replicas: i16 = row[1].parse().unwrap();
        let min_isrs = match row[2] {
            "any" => vec![1, 2, 3],
            n => vec![n.parse().unwrap()],
        };
        for min_isr in min_isrs {
            for flush in flushes(row[3]) {
                let config = config(acks(row[0]), replicas, min_isr, flush);
                for (column, expected) in table[0][4..].iter().zip(&row[4..]) {
                    let Some(family) = family_of(column) else {
                        continue;
                    };
                    if elr_changes(column, replicas, min_isr) {
                        continue;
                    }
                    let found = expect(&config, family);
                    assert_eq!(letter(&found), *expected, "{family} of {row:?}: {found:?}");
                    compared += 1;
                }
            }
        }
    }
    // 72 configurations under 23 families, without 3 columns of 3 acks x 2 min ISRs x 4 flushes.
    assert_eq!(compared, 72 * 23 - 3 * 24);
}

#[test]
fn without_eligible_leader_replicas_the_shrunk_isr_is_waited_for() {
    let table = lines(WITHOUT_ELR);
    for row in &table[1..] {
        for min_isr in [2, 3] {
            for flush in flushes(row[1]) {
                let config = config(acks(row[0]), 3, min_isr, flush);
                for (column, expected) in table[0][2..].iter().zip(&row[2..]) {
                    let family = family_of(column).unwrap();
                    let found = expect(&config, family);
                    assert_eq!(letter(&found), *expected, "{family} of {row:?}: {found:?}");
                }
            }
        }
    }
}

/// Trials, acknowledged and lost messages of a cell of what was seen.
type Seen<'a> = BTreeMap<(&'a str, i16, i32, &'a str, &'a str), (u32, u32, u32)>;

fn observed() -> Seen<'static> {
    let mut lines = OBSERVED.lines();
    assert_eq!(
        lines.next(),
        Some("acks,rf,min_isr,flush,family,trials,acked,lost")
    );
    let cell = |line: &'static str| {
        let words: Vec<&str> = line.split(',').collect();
        let number = |at: usize| words[at].parse::<u32>().unwrap();
        (
            (
                words[0],
                words[1].parse().unwrap(),
                words[2].parse().unwrap(),
                words[3],
                words[4],
            ),
            (number(5), number(6), number(7)),
        )
    };
    lines.map(cell).collect()
}

#[test]
fn no_cell_in_which_kafka_was_seen_losing_is_called_safe() {
    let mut lossy = 0;
    for ((word, replicas, min_isr, flush, family), (trials, acked, lost)) in observed() {
        assert!(trials > 0 && lost <= acked);
        let quorum = ["controller-failover", "two-isr-cut-from-controller"];
        if lost == 0 || quorum.contains(&family) {
            continue;
        }
        let (column, family) = lines(TABLE)[0][4..]
            .iter()
            .find_map(|c| family_of(c).filter(|f| f.name() == family).map(|f| (*c, f)))
            .unwrap_or_else(|| panic!("no column for {family}"));
        if elr_changes(column, replicas, min_isr) {
            continue;
        }
        for flush in flushes(flush) {
            let config = config(acks(word), replicas, min_isr, flush);
            let found = expect(&config, family);
            assert_eq!(
                letter(&found),
                "L",
                "{family} {config:?}: Kafka lost {lost}"
            );
        }
        lossy += 1;
    }
    assert!(lossy > 150, "{lossy}");
}
