//! The sample that the suite `replication` lists: of the product of acks, replicas, min.insync.replicas,
//! unclean elections, flush policy and fault family, about 400 cells in which, under every family,
//! every pair of property values occurs, and every mechanism that the model names for some cell of the
//! product under that family.
//!
//! The sample is chosen greedily: the cell that shows most of what is still missing, the first of
//! equals; then, up to the number wanted, the cell whose pairs occurred least. Nothing is drawn, so the
//! same product gives the same sample.

use super::*;
use everyack_sim::mechanism::Mechanism;
use std::collections::{BTreeMap, BTreeSet};

/// The columns of the listed cells, the family apart, and the values of each.
const PROPERTIES: [(&str, &[&str]); 5] = [
    ("producer.acks", &["0", "1", "all"]),
    ("broker.default.replication.factor", &["1", "3"]),
    ("broker.min.insync.replicas", &["1", "2", "3"]),
    ("broker.unclean.leader.election.enable", &["false", "true"]),
    (
        "broker.log.flush.interval.messages",
        &["1", "100", "9223372036854775807"],
    ),
];

/// Cells wanted.
const CELLS: usize = 400;

/// A cell of the product: the place of each property's value, and the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Choice {
    family: Family,
    values: [usize; PROPERTIES.len()],
}

/// What a cell shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    /// Two properties with these values, under a family.
    Pair(Family, (usize, usize), (usize, usize)),
    /// A mechanism under a family.
    Mechanism(Family, Mechanism),
}

impl Choice {
    fn shows(&self, suite: &Suite) -> Vec<Shown> {
        let mut shown = Vec::new();
        for first in 0..PROPERTIES.len() {
            for second in first + 1..PROPERTIES.len() {
                shown.push(Shown::Pair(
                    self.family,
                    (first, self.values[first]),
                    (second, self.values[second]),
                ));
            }
        }
        let mechanisms = self.cell(suite).expectation.mechanisms;
        shown.extend(
            mechanisms
                .into_iter()
                .map(|mechanism| Shown::Mechanism(self.family, mechanism)),
        );
        shown
    }

    /// The line of the file.
    fn line(&self) -> String {
        let value = |(property, at): (&(&str, &[&str]), &usize)| match property.1[*at] {
            text if property.0 == "producer.acks" => format!("\"{text}\""),
            text => text.to_owned(),
        };
        let values: Vec<String> = PROPERTIES.iter().zip(&self.values).map(value).collect();
        format!("    [{}, \"{}\"],\n", values.join(", "), self.family)
    }

    /// The cell as the suite has it, or would.
    fn cell(&self, suite: &Suite) -> CellPlan {
        let row = &suite.rows[0];
        let mut point = row.points[0].clone();
        for ((name, values), at) in PROPERTIES.iter().zip(self.values) {
            let (file, key) = name.split_once('.').unwrap();
            let map = match file {
                "producer" => &mut point.files.producer,
                _ => &mut point.files.broker,
            };
            map.insert(key.to_owned(), values[at].to_owned());
        }
        suite.cell(row, &point, self.family, 0).unwrap()
    }
}

/// Families of brokers: what clients do is listed beside the sample.
fn families() -> Vec<Family> {
    let of_clients = [
        Family::ProducerCrash,
        Family::ConsumerCrash,
        Family::LateStart,
        Family::ProcessingException,
    ];
    let left_out = |f: &Family| of_clients.contains(f) || f.is_judged_per_run();
    let brokers = Family::ALL.into_iter().filter(|f| !left_out(f));
    brokers.collect()
}

fn product() -> Vec<Choice> {
    let mut all = Vec::new();
    for family in families() {
        let mut configurations = vec![[0; PROPERTIES.len()]];
        for (at, (_, values)) in PROPERTIES.iter().enumerate() {
            configurations = configurations
                .into_iter()
                .flat_map(|chosen| {
                    (0..values.len()).map(move |value| {
                        let mut chosen = chosen;
                        chosen[at] = value;
                        chosen
                    })
                })
                .collect();
        }
        all.extend(
            configurations
                .into_iter()
                .map(|values| Choice { family, values }),
        );
    }
    all
}

fn sample(suite: &Suite) -> Vec<Choice> {
    let mut left: Vec<(Choice, Vec<Shown>)> = product()
        .into_iter()
        .map(|choice| (choice, choice.shows(suite)))
        .collect();
    let mut missing: BTreeSet<Shown> = left.iter().flat_map(|(_, shown)| shown.clone()).collect();
    let mut times: BTreeMap<Shown, usize> = BTreeMap::new();
    let mut chosen = Vec::new();
    while !missing.is_empty() || chosen.len() < CELLS {
        let worth = |shown: &[Shown]| {
            let new = shown.iter().filter(|s| missing.contains(s)).count();
            let seen: usize = shown.iter().filter_map(|s| times.get(s)).sum();
            (new, usize::MAX - seen)
        };
        let best = (0..left.len())
            .rev()
            .max_by_key(|at| worth(&left[*at].1))
            .expect("the product is larger than the sample");
        let (choice, shown) = left.remove(best);
        for shown in shown {
            missing.remove(&shown);
            *times.entry(shown).or_default() += 1;
        }
        chosen.push(choice);
    }
    chosen.sort();
    chosen
}

/// The choice that a listed cell is.
fn choice_of(point: &Point, family: Family) -> Choice {
    let values = PROPERTIES.map(|(name, values)| {
        let (file, key) = name.split_once('.').unwrap();
        let map = match file {
            "producer" => &point.files.producer,
            _ => &point.files.broker,
        };
        values.iter().position(|value| *value == map[key]).unwrap()
    });
    Choice { family, values }
}

/// What the suite lists of the product, in whichever row.
fn listed(suite: &Suite) -> Vec<Choice> {
    let rows = suite
        .rows
        .iter()
        .filter(|row| row.name.starts_with("sample"));
    rows.flat_map(|row| {
        let cells = row.cells.iter();
        cells.map(|(point, family)| choice_of(&row.points[*point], *family))
    })
    .collect()
}

#[test]
fn the_sample_of_replication_is_the_one_that_its_rule_chooses() {
    let suite = bundled("replication").unwrap().unwrap();
    let mut listed = listed(&suite);
    listed.sort();
    let chosen = sample(&suite);
    let lines: String = chosen.iter().map(Choice::line).collect();
    assert!(
        listed == chosen,
        "the lines of replication.toml are not those of the rule, which are:\n{lines}"
    );
    assert!(
        (CELLS..CELLS + 100).contains(&listed.len()),
        "{}",
        listed.len()
    );
}

#[test]
fn the_sample_of_replication_has_every_pair_and_every_mechanism_under_every_family() {
    let suite = bundled("replication").unwrap().unwrap();
    let shown: BTreeSet<Shown> = listed(&suite)
        .iter()
        .flat_map(|choice| choice.shows(&suite))
        .collect();
    let all: BTreeSet<Shown> = product().iter().flat_map(|c| c.shows(&suite)).collect();
    let missing: Vec<&Shown> = all.difference(&shown).collect();
    let some: Vec<_> = missing.iter().take(5).collect();
    assert!(
        missing.is_empty(),
        "{} are missing: {some:?}",
        missing.len()
    );
    // 3 x 2 + 3 x 3 + 3 x 2 + 3 x 3, 2 x 3 + 2 x 2 + 2 x 3, 3 x 2 + 3 x 3, 2 x 3.
    let pairs = all.iter().filter(|s| matches!(s, Shown::Pair(..))).count();
    assert_eq!(pairs, families().len() * 67);
}
