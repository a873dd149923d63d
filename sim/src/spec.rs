//! What a run is made from: plain data, and nothing else influences it.

use crate::fault::FaultPlan;
use everyack_broker::bug::Bug;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Kafka's own property names and values.
pub type Properties = BTreeMap<String, String>;

/// One run. The same spec and the same build give the same result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The seed of every draw that is not written out in the plan.
    pub seed: u64,
    /// Brokers, controllers, topics.
    pub topology: Topology,
    /// Configurations.
    pub properties: PropertyFiles,
    /// Producers and consumers.
    pub applications: Applications,
    /// What the producers send.
    pub workload: Workload,
    /// The fault family, in the words of the command line.
    pub family: String,
    /// What goes wrong, and when.
    pub plan: FaultPlan,
    /// How requests travel.
    pub wire: WireMode,
    /// A planted bug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bug: Option<Bug>,
    /// Bounds on the run.
    pub limits: Limits,
    /// How much of what happened the result carries; never part of the trace hash.
    #[serde(default)]
    pub record: Record,
}

/// The cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// Brokers, ids 1..=brokers.
    pub brokers: u32,
    /// Dedicated controllers; one until a quorum exists.
    pub controllers: u32,
    /// The topic's name.
    pub topic: String,
    /// Its partitions.
    pub partitions: i32,
    /// Its replication factor.
    pub replication_factor: i16,
}

/// Property maps, one a kind of process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PropertyFiles {
    /// server.properties.
    pub broker: Properties,
    /// The topic's own settings.
    pub topic: Properties,
    /// producer.properties.
    pub producer: Properties,
    /// consumer.properties.
    pub consumer: Properties,
}

/// Which applications run, by name from the registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applications {
    /// Producer application.
    pub producer: String,
    /// How many of them.
    pub producers: u32,
    /// Consumer application.
    pub consumer: String,
    /// How many of them; partitions are assigned round robin.
    pub consumers: u32,
}

/// What the producers send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Messages of each producer.
    pub messages_per_producer: u32,
    /// Size of each value in bytes, at least 16.
    pub message_bytes: u32,
    /// Time over which a producer spreads its messages, in milliseconds.
    pub spread_ms: u64,
    /// Mean time to process a record, in microseconds.
    pub processing_us: u64,
}

impl Workload {
    /// Messages of so many producers.
    pub fn messages(&self, producers: u32) -> u64 {
        u64::from(producers) * u64::from(self.messages_per_producer)
    }

    /// What one consumer needs to process them all, and half as much again, in milliseconds.
    pub fn processing_ms(&self, producers: u32) -> u64 {
        let mean_us = self.messages(producers).saturating_mul(self.processing_us);
        mean_us.saturating_mul(3) / 2 / 1_000
    }
}

/// How requests travel between nodes; the trace is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireMode {
    /// As values.
    Typed,
    /// Encoded to Kafka's binary format and decoded.
    Bytes,
}

/// Bounds on a run; reaching one is a failure of the testbed, not a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Kernel events.
    pub events: u64,
}

/// How much the result tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// Verdicts and figures.
    #[default]
    Summary,
    /// What mattered, in order.
    Story,
    /// Every step.
    Full,
}
