//! A cluster in one process: some brokers and their controller.

use super::connection::{Limits, accept};
use super::data_dir::{DataDir, DataDirError};
use super::disk::RealDisk;
use super::node::{Ending, Event, Machine, Message, Node, Shared};
use super::wire::Endpoints;
use crate::broker::Broker;
use crate::config::{BrokerConfig, ConfigError, PropertyMap};
use crate::controller::Controller;
use crate::ids::{BrokerId, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle as Task;
use tracing::info;

/// Ids of connections are drawn by nodes and listeners alike, each from a range of its own.
const CONNECTIONS_EACH: u64 = 1 << 48;
/// Connections of one broker at once. Kafka's `max.connections` has no bound; descriptors have.
const CONNECTIONS_MAX: usize = 500;

/// What a cluster consists of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many brokers, from 1 on.
    pub brokers: u16,
    /// Where they listen.
    pub host: IpAddr,
    /// The first broker's port, the others' follow; 0 takes any that are free.
    pub port: u16,
    /// Their folders are below this one.
    pub data_dir: PathBuf,
    /// `server.properties` of all of them, and of the controller.
    pub properties: PropertyMap,
}

/// Why a cluster does not run, or runs no more.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A property has a wrong value.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error("{0}")]
    DataDir(#[from] DataDirError),
    /// A port cannot be had.
    #[error("listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The system gives no thread, no randomness, or no folder.
    #[error("{what}: {error}")]
    System {
        /// What was asked for.
        what: String,
        /// What it says.
        error: io::Error,
    },
    /// A node has ended and was not asked to.
    #[error("{node} has failed: {why}")]
    Node {
        /// Which one.
        node: NodeId,
        /// What it said.
        why: String,
    },
}

/// A running cluster. Dropping it leaves its nodes as a crash of the process would: they are not asked to
/// end, and end with the process.
pub struct Cluster {
    endpoints: Arc<Endpoints>,
    peers: BTreeMap<NodeId, Sender<Message>>,
    events: UnboundedReceiver<Event>,
    listeners: Vec<Task<()>>,
    threads: Vec<JoinHandle<()>>,
    running: BTreeSet<NodeId>,
    ended: BTreeSet<NodeId>,
    data_dir: DataDir,
}

impl Cluster {
    /// Opens ports and folders and starts the nodes. Called in a tokio runtime, which it uses.
    ///
    /// # Errors
    /// Whatever is wrong with the settings, and whatever the system does not give.
    pub async fn start(settings: &Settings) -> Result<Cluster, HostError> {
        let config = BrokerConfig::from_properties(&settings.properties)?;
        let brokers: Vec<BrokerId> = (1..=BrokerId::from(settings.brokers)).collect();
        let mut seeds = Seeds;
        let random = seeds.draw()?;
        let mut drawn = crate::env::Stream::new(random, 0);
        let mut random = || (u128::from(drawn.bits()) << 64) | u128::from(drawn.bits());
        let data_dir = DataDir::open(&settings.data_dir, &brokers, &mut random)?;
        let listeners = listen(settings, &brokers).await?;
        let endpoints = endpoints(&brokers, &listeners)?;
        let controller = NodeId(NodeId::FIRST_CONTROLLER);
        let nodes = brokers.iter().map(|id| NodeId::of_broker(*id));
        let nodes: Vec<NodeId> = nodes.chain([controller]).collect();
        let mut inboxes: BTreeMap<NodeId, Receiver<Message>> = BTreeMap::new();
        let mut peers = BTreeMap::new();
        for node in &nodes {
            let (sender, receiver) = channel();
            peers.insert(*node, sender);
            inboxes.insert(*node, receiver);
        }
        let (tell, events) = unbounded_channel();
        let shared = Arc::new(Shared {
            peers: peers.clone(),
            endpoints: Arc::clone(&endpoints),
            cluster_id: data_dir.cluster_id.clone(),
            properties: settings.properties.clone(),
            started: Instant::now(),
            runtime: tokio::runtime::Handle::current(),
            events: tell,
        });
        let mut threads = Vec::with_capacity(nodes.len());
        for (index, node) in (0..).zip(&nodes) {
            let machine = match node.broker() {
                Some(id) => {
                    let broker = Broker::new(id, config.clone(), controller, None);
                    Machine::Broker(Box::new(broker))
                }
                None => {
                    let controller = Controller::new(config.clone(), Vec::new(), None);
                    Machine::Controller(Box::new(controller))
                }
            };
            let system = |error| HostError::System {
                what: format!("start {node}"),
                error,
            };
            let disk = RealDisk::new(data_dir.of(*node)).map_err(system)?;
            let drawn = (seeds.draw()?, index * CONNECTIONS_EACH);
            let inbox = inboxes.remove(node).expect("made above");
            let shared = Arc::clone(&shared);
            let node = Node::new(*node, machine, disk, drawn, shared, inbox);
            let thread = Builder::new().name(format!("node {index}"));
            threads.push(thread.spawn(move || node.run()).map_err(system)?);
        }
        let next_conn = Arc::new(AtomicU64::new(nodes.len() as u64 * CONNECTIONS_EACH));
        let limits = limits(&config);
        let accepting = listeners
            .into_iter()
            .zip(&brokers)
            .map(|(listener, broker)| {
                let node = peers[&NodeId::of_broker(*broker)].clone();
                tokio::spawn(accept(listener, node, limits, Arc::clone(&next_conn)))
            });
        Ok(Cluster {
            listeners: accepting.collect(),
            endpoints,
            peers,
            events,
            threads,
            running: BTreeSet::new(),
            ended: BTreeSet::new(),
            data_dir,
        })
    }

    /// `host:port` of each broker, in order.
    pub fn bootstrap(&self) -> Vec<String> {
        let ends = self.endpoints.0.values();
        ends.map(|(host, port)| format!("{host}:{port}")).collect()
    }

    /// `cluster.id`.
    pub fn cluster_id(&self) -> &str {
        &self.data_dir.cluster_id
    }

    /// Waits until every broker is registered and unfenced.
    ///
    /// # Errors
    /// Where a node fails before that.
    pub async fn until_ready(&mut self) -> Result<(), HostError> {
        while self.running.len() < self.peers.len() {
            self.next_event().await?;
        }
        Ok(())
    }

    /// Waits until a node fails; pending for ever while none does.
    pub async fn failure(&mut self) -> HostError {
        loop {
            if let Err(error) = self.next_event().await {
                return error;
            }
        }
    }

    async fn next_event(&mut self) -> Result<(), HostError> {
        let event = self
            .events
            .recv()
            .await
            .expect("this process holds a sender");
        match event {
            Event::Running(node) => {
                self.running.insert(node);
                Ok(())
            }
            Event::Ended(node, Ending::InOrder) => {
                info!("{node}: ended");
                self.ended.insert(node);
                Ok(())
            }
            Event::Ended(node, Ending::Failed(why) | Ending::Panicked(why)) => {
                self.ended.insert(node);
                Err(HostError::Node { node, why })
            }
        }
    }

    /// Shuts down in order: no connection is accepted any more, the brokers let their leaderships go,
    /// flush and write the marker of a clean shutdown; then the controller ends.
    ///
    /// # Errors
    /// Where a node fails on the way; the others have ended all the same.
    pub async fn shut_down(mut self) -> Result<(), HostError> {
        for listener in &self.listeners {
            listener.abort();
        }
        let mut failed = None;
        let controller = NodeId(NodeId::FIRST_CONTROLLER);
        let brokers: BTreeSet<NodeId> = self.peers.keys().copied().collect();
        let (brokers, rest): (BTreeSet<_>, BTreeSet<_>) =
            brokers.into_iter().partition(|node| *node != controller);
        for nodes in [brokers, rest] {
            for node in &nodes {
                // One that has failed already hears nothing.
                let _ = self.peers[node].send(Message::Shutdown);
            }
            while !nodes.is_subset(&self.ended) {
                if let Err(error) = self.next_event().await {
                    failed.get_or_insert(error);
                }
            }
        }
        for thread in self.threads {
            // A panic was caught inside, and told.
            let _ = thread.join();
        }
        failed.map_or(Ok(()), Err)
    }
}

fn limits(config: &BrokerConfig) -> Limits {
    let idle_ms = u64::try_from(config.connections_max_idle_ms);
    Limits {
        request_bytes_max: usize::try_from(config.socket_request_max_bytes).unwrap_or(0),
        idle: idle_ms.map_or(Duration::MAX, Duration::from_millis),
        connections_max: CONNECTIONS_MAX,
    }
}

async fn listen(settings: &Settings, brokers: &[BrokerId]) -> Result<Vec<TcpListener>, HostError> {
    let mut listeners = Vec::with_capacity(brokers.len());
    for index in 0..brokers.len() as u16 {
        let port = match settings.port {
            0 => 0,
            first => first.saturating_add(index),
        };
        let address = SocketAddr::new(settings.host, port);
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.map_err(|error| HostError::Listen { address, error })?);
    }
    Ok(listeners)
}

fn endpoints(brokers: &[BrokerId], listeners: &[TcpListener]) -> Result<Arc<Endpoints>, HostError> {
    let mut ends = BTreeMap::new();
    for (broker, listener) in brokers.iter().zip(listeners) {
        let address = listener.local_addr().map_err(|error| HostError::System {
            what: "read the address of a listener".to_string(),
            error,
        })?;
        ends.insert(*broker, (address.ip().to_string(), address.port()));
    }
    Ok(Arc::new(Endpoints(ends)))
}

/// Randomness of the operating system.
struct Seeds;

impl Seeds {
    fn draw(&mut self) -> Result<u64, HostError> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| HostError::System {
            what: "draw a seed".to_string(),
            error: error.into(),
        })?;
        Ok(u64::from_le_bytes(bytes))
    }
}
