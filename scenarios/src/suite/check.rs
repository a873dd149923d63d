//! An operator's own configuration as a suite: one row, every fault family that concerns it.

use super::cell::with_group;
use super::{Canary, Load, Point, Row, Suite, SuiteError};
use crate::model::Application;
use everyack_broker::config::{BrokerConfig, ConsumerConfig};
use everyack_sim::fault::Family;
use everyack_sim::spec::{Properties, PropertyFiles};

/// Partitions of the one topic.
const PARTITIONS: i32 = 3;
/// Drawn plans a family.
const SEEDS: u64 = 100;
/// Cap of the search for a witness, which is reported and not demanded.
const SEARCH: u64 = 100;

/// The files, and what the command line says beside them.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckInput {
    /// server.properties.
    pub server: Properties,
    /// The topic's own settings.
    pub topic: Properties,
    /// producer.properties.
    pub producer: Properties,
    /// consumer.properties.
    pub consumer: Properties,
    /// `--brokers`, 3 unless told.
    pub brokers: u32,
    /// `--faults`: only these.
    pub faults: Option<Vec<Family>>,
    /// `--tolerate`.
    pub tolerate: Tolerate,
}

/// Which families must be survived; `none` always.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tolerate {
    /// Every family that hits one thing.
    #[default]
    SingleFault,
    /// All.
    Any,
    /// No fault at all.
    Nothing,
    /// These.
    These(Vec<Family>),
}

impl Tolerate {
    /// Reads `single-fault`, `any`, `none`, or family names with commas between them.
    ///
    /// # Errors
    /// One line with what was found and what is allowed.
    pub fn parse(text: &str) -> Result<Tolerate, String> {
        match text.trim() {
            "single-fault" => Ok(Tolerate::SingleFault),
            "any" => Ok(Tolerate::Any),
            "none" => Ok(Tolerate::Nothing),
            list => list
                .split(',')
                .map(|name| {
                    Family::from_name(name.trim()).ok_or_else(|| {
                        format!(
                            "--tolerate: found \"{}\", allowed is single-fault, any, none, or of {}",
                            name.trim(),
                            Family::ALL.map(Family::name).join(", ")
                        )
                    })
                })
                .collect::<Result<Vec<Family>, String>>()
                .map(Tolerate::These),
        }
    }

    /// The families, `none` first.
    pub fn families(&self) -> Vec<Family> {
        Family::ALL
            .into_iter()
            .filter(|family| {
                *family == Family::None
                    || match self {
                        Tolerate::SingleFault => family.is_single_fault(),
                        Tolerate::Any => true,
                        Tolerate::Nothing => false,
                        Tolerate::These(these) => these.contains(family),
                    }
            })
            .collect()
    }
}

/// A suite of one configuration, at the timeouts configured.
///
/// The application is `commit-after-processing`, or `auto-commit` where `enable.auto.commit` is true,
/// as it is by default; consumers without a `group.id` are given one. `leader-move` is left out with one replica: there is nothing to move to.
///
/// # Errors
/// A configuration with which Kafka would not start, or with more replicas than brokers.
pub fn check_suite(input: &CheckInput) -> Result<Suite, SuiteError> {
    let fail = |error: everyack_broker::config::ConfigError| {
        let (key, what) = super::explain(&error.into());
        SuiteError::new("check", None, &key, what)
    };
    let broker = BrokerConfig::from_properties(&input.server).map_err(fail)?;
    let consumer = ConsumerConfig::from_properties(&with_group(&input.consumer)).map_err(fail)?;
    let application = if consumer.enable_auto_commit {
        Application::AutoCommit
    } else {
        Application::CommitAfterProcessing
    };
    let cells = Family::ALL
        .into_iter()
        .filter(|family| match &input.faults {
            Some(only) => only.contains(family),
            None => *family != Family::LeaderMove || broker.default_replication_factor > 1,
        })
        .map(|family| (0, family))
        .collect();
    let row = Row {
        name: "your configuration".to_owned(),
        claim: "every acknowledged message is consumed".to_owned(),
        points: vec![Point {
            files: PropertyFiles {
                broker: input.server.clone(),
                topic: input.topic.clone(),
                producer: input.producer.clone(),
                consumer: input.consumer.clone(),
            },
            application,
        }],
        cells,
        twin: None,
        brokers: input.brokers,
        partitions: PARTITIONS,
        load: Load::default(),
    };
    let suite = Suite {
        name: "check".to_owned(),
        bundled: false,
        seeds: SEEDS,
        search: SEARCH,
        tries: 6,
        required_marks: Vec::new(),
        canary: Canary::default(),
        shortened: PropertyFiles::default(),
        rows: vec![row],
        tolerate: input.tolerate.families(),
        warnings: Vec::new(),
    };
    suite.cells()?;
    Ok(suite)
}
