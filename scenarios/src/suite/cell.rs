//! Rows spread out into cells: one configuration under one fault family, ready to run.

use super::{Load, Point, Row, Suite, SuiteError, explain, flat};
use crate::model::{self, CellConfig, Expectation};
use everyack_broker::bug::Bug;
use everyack_broker::config::{BrokerConfig, TopicConfig};
use everyack_broker::env::Stream;
use everyack_sim::fault::draw::PLAN_STREAM;
use everyack_sim::fault::{DrawContext, Family, FaultPlan, Timeouts, draw};
use everyack_sim::spec::{
    Applications, Limits, Properties, PropertyFiles, Record, RunSpec, Topology, WireMode, Workload,
};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the topic in every cell.
const TOPIC: &str = "messages";

/// The consumers' group where the properties name none: every application commits, so it has one.
const GROUP: &str = "group";

/// The producer application: sends everything and looks at every callback.
pub const PRODUCER_APPLICATION: &str = "checks-results";
/// The same with a key in each record: a compacted topic takes none without.
const KEYED_PRODUCER_APPLICATION: &str = "checks-results-keyed";

/// Kernel events that a run may take for each request that its messages cost at most; reaching the
/// bound is a failure of the testbed.
const EVENTS_PER_MESSAGE: u64 = 20_000;

/// One configuration under one fault family.
#[derive(Debug, Clone, PartialEq)]
pub struct CellPlan {
    /// Row, what tells it from the row's other configurations, and family.
    pub id: String,
    /// Its place in the suite, from 0.
    pub index: usize,
    /// The row's name.
    pub row: String,
    /// What the row sets.
    pub config: BTreeMap<String, String>,
    /// The family.
    pub family: Family,
    /// What the model reads.
    pub decides: CellConfig,
    /// What must come out.
    pub expectation: Expectation,
    /// What plans are drawn from.
    pub context: DrawContext,
    /// Cells with the same group run the same plans with the same seeds: a row and its twins.
    pub seed_group: String,
    /// Id of the weaker cell beside it.
    pub twin: Option<String>,
    files: PropertyFiles,
    topology: Topology,
    applications: Applications,
    workload: Workload,
}

impl CellPlan {
    /// The consumer application's name.
    pub fn application(&self) -> &str {
        &self.applications.consumer
    }

    /// Names the configuration: cells of one row that differ in the family alone share it.
    pub fn configuration(&self) -> &str {
        self.id.rsplit_once('/').map_or(&self.id, |(name, _)| name)
    }

    /// The cluster.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The plan that a seed draws.
    pub fn draw(&self, seed: u64) -> FaultPlan {
        draw(
            self.family,
            &self.context,
            &mut Stream::new(seed, PLAN_STREAM),
        )
    }

    /// A whole run of this cell.
    pub fn spec(&self, seed: u64, plan: FaultPlan, wire: WireMode, bug: Option<Bug>) -> RunSpec {
        let producers = self.applications.producers;
        let simulated_ms = self.context.timeouts.run_limit_ms(
            self.family,
            &self.workload,
            producers,
            plan.faults.len(),
        );
        RunSpec {
            seed,
            topology: self.topology.clone(),
            properties: self.files.clone(),
            applications: self.applications.clone(),
            workload: self.workload.clone(),
            family: self.family.name().to_owned(),
            plan,
            wire,
            bug,
            limits: Limits {
                simulated_ms,
                // Idle time costs events too: heartbeats and fetches that wait.
                events: (self.workload.messages(producers) + 1_000)
                    .saturating_mul(EVENTS_PER_MESSAGE)
                    .saturating_add(simulated_ms.saturating_mul(100)),
            },
            record: Record::Summary,
        }
    }
}

impl Suite {
    /// Every cell, in order.
    ///
    /// # Errors
    /// A configuration with which Kafka would not start, or with more replicas than brokers. A suite
    /// that [`super::parse`] or [`super::check_suite`] gave has none.
    pub fn cells(&self) -> Result<Vec<CellPlan>, SuiteError> {
        let mut cells: Vec<CellPlan> = Vec::new();
        for row in &self.rows {
            let names = names(row);
            for (point, family) in &row.cells {
                let mut cell = self.cell(row, &row.points[*point], *family, cells.len())?;
                cell.id = format!("{}/{family}", names[*point]);
                cells.push(cell);
            }
        }
        for i in 0..cells.len() {
            cells[i].twin = self.twin_of(&cells[i], &cells).map(|twin| twin.id.clone());
        }
        Ok(cells)
    }

    /// One cell.
    pub(crate) fn cell(
        &self,
        row: &Row,
        point: &Point,
        family: Family,
        index: usize,
    ) -> Result<CellPlan, SuiteError> {
        let files = merged(&self.shortened, &point.files);
        let fail = |(key, what): (String, String)| SuiteError::new(&self.name, None, &key, what);
        let of = |error: everyack_broker::config::ConfigError| fail(explain(&error.into()));
        let broker = BrokerConfig::from_properties(&files.broker).map_err(of)?;
        let topology = Topology {
            brokers: row.brokers,
            controllers: 1,
            topic: TOPIC.to_owned(),
            partitions: row.partitions,
            replication_factor: broker.default_replication_factor,
        };
        let topic = TopicConfig::resolve(&broker, &files.topic).map_err(of)?;
        let producer = match row.load.producer {
            Some(named) => named,
            None if topic.cleanup_policy.compact => KEYED_PRODUCER_APPLICATION,
            None => PRODUCER_APPLICATION,
        };
        let applications = Applications {
            producer: producer.to_owned(),
            producers: row.load.producers,
            consumer: point.application.name().to_owned(),
            consumers: row.load.consumers,
        };
        let decides = CellConfig::new(&topology, &files, &applications)
            .map_err(|error| fail(explain(&error)))?;
        let timeouts = Timeouts::from_properties(&files).map_err(of)?;
        let workload = workload(&row.load, &timeouts, family);
        let context = DrawContext::new(
            timeouts,
            &topology,
            &workload,
            applications.producers,
            applications.consumers,
        );
        let config = flat(&point.files);
        Ok(CellPlan {
            id: format!("{}/{family}", row.name),
            index,
            row: row.name.clone(),
            config,
            family,
            expectation: model::expect(&decides, family),
            decides,
            context,
            seed_group: format!("{}/{family}", self.root_of(row)),
            twin: None,
            files,
            topology,
            applications,
            workload,
        })
    }

    /// The last row of a row's chain of twins: all of the chain run its seeds. The parser has seen
    /// that the chain ends.
    fn root_of<'a>(&'a self, row: &'a Row) -> &'a str {
        let mut root = row;
        for _ in 0..self.rows.len() {
            let weaker = root.twin.as_ref();
            match weaker.and_then(|name| self.rows.iter().find(|row| row.name == *name)) {
                Some(row) => root = row,
                None => break,
            }
        }
        &root.name
    }

    /// The weaker cell: of the twin row, under the same family, the configuration that has most in
    /// common.
    fn twin_of<'a>(&self, cell: &CellPlan, cells: &'a [CellPlan]) -> Option<&'a CellPlan> {
        let row = self.rows.iter().find(|row| row.name == cell.row)?;
        let twin = row.twin.as_ref()?;
        let common = |other: &CellPlan| {
            let same = other
                .config
                .iter()
                .filter(|(key, value)| cell.config.get(*key) == Some(value));
            same.count() + usize::from(other.application() == cell.application())
        };
        // `max_by_key` takes the last of equals; the first one is wanted.
        cells
            .iter()
            .rev()
            .filter(|other| other.row == *twin && other.family == cell.family)
            .max_by_key(|other| common(other))
    }
}

/// What the ids of a row's cells begin with, by configuration: the row, and the values that its
/// other configurations do not share.
fn names(row: &Row) -> Vec<String> {
    let maps: Vec<BTreeMap<String, String>> =
        row.points.iter().map(|point| flat(&point.files)).collect();
    let differs = |key: &String| {
        let first = maps[0].get(key);
        maps.iter().any(|map| map.get(key) != first)
    };
    let keys: BTreeSet<&String> = maps.iter().flat_map(BTreeMap::keys).collect();
    let keys: Vec<&String> = keys.into_iter().filter(|key| differs(key)).collect();
    let first = row.points.first().map(|point| point.application);
    let applications = row
        .points
        .iter()
        .any(|point| Some(point.application) != first);
    let name = |(point, map): (&Point, &BTreeMap<String, String>)| {
        let mut parts = vec![row.name.clone()];
        let values = keys
            .iter()
            .filter_map(|key| map.get(*key).map(|value| format!("{key}={value}")));
        parts.extend(values);
        if applications {
            parts.push(point.application.name().to_owned());
        }
        parts.join("/")
    };
    row.points.iter().zip(&maps).map(name).collect()
}

/// The consumers' properties with a group.
pub(super) fn with_group(consumer: &Properties) -> Properties {
    let mut consumer = consumer.clone();
    consumer
        .entry("group.id".to_owned())
        .or_insert_with(|| GROUP.to_owned());
    consumer
}

/// The row's settings over the suite's shortened timeouts.
fn merged(under: &PropertyFiles, over: &PropertyFiles) -> PropertyFiles {
    let merge = |under: &Properties, over: &Properties| {
        let mut map = under.clone();
        map.extend(over.clone());
        map
    };
    PropertyFiles {
        broker: merge(&under.broker, &over.broker),
        topic: merge(&under.topic, &over.topic),
        producer: merge(&under.producer, &over.producer),
        consumer: with_group(&merge(&under.consumer, &over.consumer)),
    }
}

fn workload(load: &Load, timeouts: &Timeouts, family: Family) -> Workload {
    Workload {
        messages_per_producer: load.messages,
        message_bytes: load.bytes,
        spread_ms: load.spread_ms.unwrap_or_else(|| timeouts.spread_ms(family)),
        processing_us: load.processing_us,
    }
}
