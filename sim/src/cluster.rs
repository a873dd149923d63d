//! The cluster of a run: which machines and processes there are, and what can be read off them.
//!
//! Each process has a machine of its own. Replicas are laid out round robin: partition p of a topic
//! has its first replica on broker p mod n + 1 and the others behind it.

use crate::application::{Parameters, registry};
use crate::check::messages::messages_in;
use crate::check::verdict::FinalPartition;
use crate::event::MessageId;
use crate::kernel::disk::SimDisk;
use crate::kernel::{Kernel, MachineId};
use crate::node::Node;
use crate::spec::RunSpec;
use crate::world::{ApplicationId, ApplicationSpec, Companion, World};
use bytes::Bytes;
use everyack_broker::broker::Broker;
use everyack_broker::bug::Bug;
use everyack_broker::client::{Consumer, Producer};
use everyack_broker::config::{BrokerConfig, ConsumerConfig, ProducerConfig};
use everyack_broker::controller::{Controller, MetadataImage, TopicSpec};
use everyack_broker::group::{OFFSETS_TOPIC, offsets_topic_configs, partition_for};
use everyack_broker::ids::*;
use everyack_broker::log::batches;
use everyack_broker::replica::Partition;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The id of the topic under test.
pub const TOPIC: TopicId = TopicId(0x00e7_e17a_c700_0001);
/// The id of `__consumer_offsets`.
const OFFSETS: TopicId = TopicId(0x00e7_e17a_c700_0002);
/// The id of the topic for records on which a handler threw, where the application has one. It has one
/// partition and the replicas and settings of the topic under test.
pub const DEAD_LETTERS: TopicId = TopicId(0x00e7_e17a_c700_0003);
/// Name of the topic for dead letters behind that of the topic under test.
const DEAD_LETTERS_SUFFIX: &str = ".DLT";

/// The id of a topic by its name.
pub fn topic_id(name: &str) -> TopicId {
    if name == OFFSETS_TOPIC {
        OFFSETS
    } else if name.ends_with(DEAD_LETTERS_SUFFIX) {
        DEAD_LETTERS
    } else {
        TOPIC
    }
}

/// The group of consumers whose properties name none.
const DEFAULT_GROUP: &str = "everyack";

/// What the cluster consists of.
pub struct Cluster {
    /// Broker ids.
    pub brokers: Vec<BrokerId>,
    /// The controller.
    pub controller: NodeId,
    /// Producer applications, in order.
    pub producers: Vec<ApplicationId>,
    /// Consumer applications, in order.
    pub consumers: Vec<ApplicationId>,
    /// Replicas of each partition of the topic.
    pub assignment: Vec<Vec<BrokerId>>,
    /// Name of the topic.
    pub topic: TopicName,
    /// `group.id`.
    pub group: String,
    config: BrokerConfig,
    offsets_partitions: i32,
    offsets_replicas: usize,
    /// Name of the topic for dead letters, if there is one.
    dead_letter_topic: Option<TopicName>,
    bug: Option<Bug>,
}

impl Cluster {
    /// Adds machines, nodes and applications to a world. Nothing is started.
    ///
    /// # Panics
    /// On properties that Kafka refuses: whoever made the spec has validated them.
    pub fn add_to(world: &World<Node>, spec: &RunSpec) -> Cluster {
        let config = BrokerConfig::from_properties(&spec.properties.broker)
            .unwrap_or_else(|e| panic!("spec with invalid broker properties: {e}"));
        let brokers: Vec<BrokerId> = (1..=spec.topology.brokers as BrokerId).collect();
        let controller = NodeId(NodeId::FIRST_CONTROLLER);
        let rf = usize::try_from(spec.topology.replication_factor).expect("a small number");
        assert!(
            rf <= brokers.len(),
            "replication factor {rf} on {} brokers",
            brokers.len()
        );
        let offsets_replicas =
            usize::try_from(config.offsets_topic_replication_factor).expect("a small number");
        let assignment = assign(&brokers, spec.topology.partitions, rf);
        {
            let mut kernel = world.kernel();
            for node in brokers
                .iter()
                .map(|b| NodeId::of_broker(*b))
                .chain([controller])
            {
                kernel.add_node(node, machine_of(node));
            }
        }
        let mut cluster = Cluster {
            offsets_partitions: config.offsets_topic_num_partitions,
            // A cluster smaller than that could never create the topic; commits would hang for ever.
            offsets_replicas: offsets_replicas.min(brokers.len()),
            brokers,
            controller,
            producers: Vec::new(),
            consumers: Vec::new(),
            assignment,
            topic: spec.topology.topic.as_str().into(),
            group: String::new(),
            config,
            dead_letter_topic: registry::consumer(&spec.applications.consumer)
                .filter(|entry| entry.sends_dead_letters)
                .map(|_| {
                    format!("{}{DEAD_LETTERS_SUFFIX}", spec.topology.topic)
                        .as_str()
                        .into()
                }),
            bug: spec.bug,
        };
        cluster.add_applications(world, spec);
        cluster
    }

    fn add_applications(&mut self, world: &World<Node>, spec: &RunSpec) {
        let bootstrap: Vec<NodeId> = self.brokers.iter().map(|b| NodeId::of_broker(*b)).collect();
        let parameters = Rc::new(Parameters {
            workload: spec.workload.clone(),
            topic: self.topic.clone(),
            partitions: spec.topology.partitions,
            consumers: spec.applications.consumers,
            dead_letter_topic: self.dead_letter_topic.clone(),
        });
        let bug = spec.bug;
        let producer_config = ProducerConfig::from_properties(&spec.properties.producer)
            .unwrap_or_else(|e| panic!("spec with invalid producer properties: {e}"));
        let entry = registry::producer(&spec.applications.producer)
            .unwrap_or_else(|| panic!("no producer {}", spec.applications.producer));
        for index in 0..spec.applications.producers {
            let node = NodeId(NodeId::FIRST_CLIENT + index);
            world.kernel().add_node(node, machine_of(node));
            let (config, bootstrap) = (producer_config.clone(), bootstrap.clone());
            self.producers.push(world.add_application(ApplicationSpec {
                name: format!("producer {index}"),
                node,
                index,
                parameters: Rc::clone(&parameters),
                engine: Box::new(move || {
                    let engine = Producer::new(config.clone(), bootstrap.clone(), bug);
                    Node::Producer(Box::new(engine))
                }),
                companion: None,
                main: std::rc::Rc::new(entry.main),
            }));
        }
        let mut properties = spec.properties.consumer.clone();
        let group = properties
            .entry("group.id".into())
            .or_insert_with(|| DEFAULT_GROUP.into());
        self.group = group.trim().to_string();
        let consumer_config = ConsumerConfig::from_properties(&properties)
            .unwrap_or_else(|e| panic!("spec with invalid consumer properties: {e}"));
        let entry = registry::consumer(&spec.applications.consumer)
            .unwrap_or_else(|| panic!("no consumer {}", spec.applications.consumer));
        for index in 0..spec.applications.consumers {
            let node = consumer_node(index);
            world.kernel().add_node(node, machine_of(node));
            let for_letters = bootstrap.clone();
            let (config, bootstrap) = (consumer_config.clone(), bootstrap.clone());
            self.consumers.push(world.add_application(ApplicationSpec {
                name: format!("consumer {index}"),
                node,
                index,
                parameters: Rc::clone(&parameters),
                engine: Box::new(move || {
                    let engine = Consumer::new(config.clone(), bootstrap.clone(), bug);
                    Node::Consumer(Box::new(engine))
                }),
                companion: entry.sends_dead_letters.then(|| {
                    let node = dead_letter_node(index);
                    world.kernel().add_node(node, machine_of(node));
                    let (config, bootstrap) = (producer_config.clone(), for_letters);
                    Companion {
                        node,
                        engine: Box::new(move || {
                            let engine = Producer::new(config.clone(), bootstrap.clone(), bug);
                            Node::Producer(Box::new(engine))
                        }),
                    }
                }),
                main: std::rc::Rc::new(entry.main),
            }));
        }
    }

    /// A broker's process, not started.
    pub fn new_broker(&self, id: BrokerId) -> Node {
        let broker = Broker::new(id, self.config.clone(), self.controller, self.bug);
        Node::Broker(Box::new(broker))
    }

    /// The controller's process, not started.
    pub fn new_controller(&self, spec: &RunSpec) -> Node {
        let configs =
            |p: &crate::spec::Properties| p.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let mut topics = vec![
            TopicSpec {
                name: self.topic.clone(),
                id: TOPIC,
                assignment: self.assignment.clone(),
                configs: configs(&spec.properties.topic),
            },
            TopicSpec {
                name: OFFSETS_TOPIC.into(),
                id: OFFSETS,
                assignment: assign(
                    &self.brokers,
                    self.offsets_partitions,
                    self.offsets_replicas,
                ),
                configs: offsets_topic_configs(&self.config),
            },
        ];
        if let Some(name) = &self.dead_letter_topic {
            topics.push(TopicSpec {
                name: name.clone(),
                id: DEAD_LETTERS,
                assignment: assign(&self.brokers, 1, self.assignment[0].len()),
                configs: configs(&spec.properties.topic),
            });
        }
        let controller = Controller::new(self.config.clone(), topics, self.bug);
        Node::Controller(Box::new(controller))
    }

    /// The controller's view of the cluster.
    pub fn image<'k>(&self, kernel: &'k Kernel<Node>) -> &'k MetadataImage {
        kernel
            .process(self.controller)
            .and_then(Node::controller)
            .expect("no fault hits the controller")
            .image()
    }

    /// The leader of a partition of the topic, as the controller has it.
    pub fn leader(&self, kernel: &Kernel<Node>, partition: i32) -> Option<BrokerId> {
        let id = TopicPartition::new(TOPIC, partition);
        let state = self.image(kernel).partition(id)?;
        (state.leader != NO_BROKER).then_some(state.leader)
    }

    /// A broker's replica of a partition of the topic, if its process lives and has one.
    pub fn replica<'k>(
        &self,
        kernel: &'k Kernel<Node>,
        broker: BrokerId,
        partition: i32,
    ) -> Option<&'k Partition> {
        if broker == NO_BROKER {
            return None;
        }
        kernel
            .process(NodeId::of_broker(broker))?
            .broker()?
            .replicas()?
            .partition(TopicPartition::new(TOPIC, partition))
    }

    /// Whether every partition, of the offsets topic too, has a leader and its whole assignment in
    /// the ISR, and every broker runs.
    pub fn is_healthy(&self, kernel: &Kernel<Node>) -> bool {
        let image = self.image(kernel);
        let mut partitions = 0;
        let in_sync = image.partitions().all(|(_, state)| {
            partitions += 1;
            state.leader != NO_BROKER && state.isr.len() == state.replicas.len()
        });
        let dead_letters = usize::from(self.dead_letter_topic.is_some());
        let expected = self.assignment.len() + self.offsets_partitions as usize + dead_letters;
        partitions == expected
            && in_sync
            && self.brokers.iter().all(|b| {
                let process = kernel.process(NodeId::of_broker(*b));
                process
                    .and_then(Node::broker)
                    .is_some_and(Broker::is_running)
            })
    }

    /// Whether nothing is left to copy and every log of the topic is committed to its end.
    pub fn is_replicated(&self, kernel: &Kernel<Node>) -> bool {
        self.assignment
            .iter()
            .enumerate()
            .all(|(partition, replicas)| {
                let partition = partition as i32;
                let Some(leader) = self.leader(kernel, partition) else {
                    return false;
                };
                let Some(log) = self.replica(kernel, leader, partition).map(|p| &p.log) else {
                    return false;
                };
                log.high_watermark == log.log_end_offset()
                    && replicas.iter().all(|b| {
                        let replica = self.replica(kernel, *b, partition);
                        replica.is_some_and(|r| r.log.log_end_offset() == log.log_end_offset())
                    })
            })
    }

    /// Whether the logs of all replicas of a partition end at one offset. Of those that do not run, and
    /// of all beside them, what lies on the disks is read.
    pub fn is_copied(&self, kernel: &Kernel<Node>, partition: i32) -> bool {
        let replicas = &self.assignment[partition as usize];
        let living = replicas
            .iter()
            .map(|b| self.replica(kernel, *b, partition))
            .map(|r| r.map(|r| r.log.log_end_offset()));
        let mut ends: Vec<Option<Offset>> = living.collect();
        if ends.iter().any(Option::is_none) {
            let on_disk = replicas.iter().map(|b| {
                let disk = kernel.disk(machine_of(NodeId::of_broker(*b)));
                Some(self.end_on(disk, partition))
            });
            ends = on_disk.collect();
        }
        ends.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// Whether the device of every replica holds what its page cache has of a partition's log.
    pub fn is_on_devices(&self, kernel: &Kernel<Node>, partition: i32) -> bool {
        let dir = format!("{}-{partition}/", self.topic);
        self.assignment[partition as usize].iter().all(|b| {
            let disk = kernel.disk(machine_of(NodeId::of_broker(*b)));
            let mut logs = disk
                .paths()
                .filter(|p| p.starts_with(&dir) && p.ends_with(".log"));
            logs.all(|p| disk.durable_content(p).as_deref() == disk.content(p))
        })
    }

    /// Where a partition's log on a disk ends, by what its segments hold.
    fn end_on(&self, disk: &SimDisk, partition: i32) -> Offset {
        let content = segments_on(disk, &format!("{}-{partition}/", self.topic));
        let batches = batches(&content).map_while(Result::ok);
        let end = batches.last().map(|batch| batch.header.last_offset() + 1);
        end.unwrap_or(0)
    }

    /// Whether a consumer stands further than its group has committed.
    pub fn is_commit_behind(&self, kernel: &Kernel<Node>, consumer: NodeId) -> bool {
        let engine = kernel.process(consumer).and_then(Node::consumer);
        engine.is_some_and(|consumer| {
            let mut positions = consumer.positions().into_iter();
            positions.any(|p| {
                self.committed(kernel, p.partition)
                    .is_none_or(|c| c < p.offset)
            })
        })
    }

    /// Whether every consumer stands at the end of what it can read.
    pub fn is_read_to_the_end(&self, kernel: &Kernel<Node>) -> bool {
        (0..self.consumers.len() as u32).all(|index| {
            let engine = kernel
                .process(consumer_node(index))
                .and_then(Node::consumer);
            engine.is_some_and(|consumer| {
                let positions = consumer.positions();
                let assigned = (0..self.assignment.len())
                    .filter(|p| *p as u32 % self.consumers.len() as u32 == index)
                    .count();
                positions.len() == assigned
                    && positions.iter().all(|position| {
                        let leader = self.leader(kernel, position.partition);
                        let replica =
                            leader.and_then(|l| self.replica(kernel, l, position.partition));
                        replica.is_some_and(|r| r.log.high_watermark == position.offset)
                    })
            })
        })
    }

    /// The consumer that a partition is assigned to.
    pub fn reader_of(&self, partition: i32) -> NodeId {
        consumer_node(partition as u32 % (self.consumers.len() as u32).max(1))
    }

    /// Each partition of the topic as it stands, for the verdict.
    pub fn final_partitions(&self, kernel: &Kernel<Node>) -> BTreeMap<i32, FinalPartition> {
        (0..self.assignment.len() as i32)
            .map(|partition| (partition, self.final_partition(kernel, partition)))
            .collect()
    }

    fn final_partition(&self, kernel: &Kernel<Node>, partition: i32) -> FinalPartition {
        let leader = self.leader(kernel, partition).unwrap_or(NO_BROKER);
        let high_watermark = self
            .replica(kernel, leader, partition)
            .map_or(0, |p| p.log.high_watermark);
        let log_start = self
            .replica(kernel, leader, partition)
            .map_or(0, |p| p.log.log_start_offset());
        let dir = format!("{}-{partition}/", self.topic);
        let logs = self.assignment[partition as usize].iter().map(|&broker| {
            let disk = kernel.disk(machine_of(NodeId::of_broker(broker)));
            (broker, segments_on(disk, &dir))
        });
        FinalPartition {
            leader,
            high_watermark,
            log_start,
            logs: logs.collect(),
            position: self.position(kernel, partition),
        }
    }

    /// The messages in a partition's segments on a broker's disk.
    pub fn messages_on(
        &self,
        kernel: &Kernel<Node>,
        node: NodeId,
        partition: i32,
    ) -> BTreeSet<MessageId> {
        let dir = format!("{}-{partition}/", self.topic);
        let log = segments_on(kernel.disk(machine_of(node)), &dir);
        let messages = messages_in(&log, partition);
        messages.map(|found| found.id).collect()
    }

    /// The segments of a partition that a broker has removed from its log and not deleted yet, one by one.
    pub fn removed_segments(
        &self,
        kernel: &Kernel<Node>,
        node: NodeId,
        partition: i32,
    ) -> Vec<Bytes> {
        let dir = format!("{}-{partition}/", self.topic);
        let disk = kernel.disk(machine_of(node));
        let removed = disk
            .paths()
            .filter(|path| path.starts_with(&dir) && path.ends_with(".log.deleted"));
        let contents = removed.filter_map(|path| disk.content(path));
        contents.map(Bytes::copy_from_slice).collect()
    }

    /// Where the group's reading of a partition stands: its consumer's position, else its committed
    /// offset.
    fn position(&self, kernel: &Kernel<Node>, partition: i32) -> Option<Offset> {
        let engine = kernel
            .process(self.reader_of(partition))
            .and_then(Node::consumer);
        let position = engine
            .and_then(|c| c.positions().into_iter().find(|p| p.partition == partition))
            .map(|p| p.offset);
        position.or_else(|| self.committed(kernel, partition))
    }

    /// The second clients of the consumers' processes, where they have some.
    pub fn dead_letter_nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        let sending = match &self.dead_letter_topic {
            Some(_) => self.consumers.len() as u32,
            None => 0,
        };
        (0..sending).map(dead_letter_node)
    }

    /// Whether no dead letter is on its way.
    pub fn are_dead_letters_answered(&self, kernel: &Kernel<Node>) -> bool {
        self.dead_letter_nodes().all(|node| {
            let producer = kernel.process(node).and_then(Node::producer);
            producer.is_none_or(|p| p.pending() == 0)
        })
    }

    /// The dead letters that their topic has, by producer and sequence, as the leader's log file says.
    pub fn kept_dead_letters(&self, kernel: &Kernel<Node>) -> BTreeSet<(u32, u32)> {
        let id = TopicPartition::new(DEAD_LETTERS, 0);
        let leader = self
            .image(kernel)
            .partition(id)
            .map_or(NO_BROKER, |p| p.leader);
        let Some(topic) = self
            .dead_letter_topic
            .as_ref()
            .filter(|_| leader != NO_BROKER)
        else {
            return BTreeSet::new();
        };
        let disk = kernel.disk(machine_of(NodeId::of_broker(leader)));
        let log = segments_on(disk, &format!("{topic}-0/"));
        let letters = messages_in(&log, 0).map(|found| found.id);
        letters.map(|id| (id.producer, id.sequence)).collect()
    }

    /// The partition of `__consumer_offsets` that holds the group's commits.
    pub fn commits_partition(&self) -> TopicPartition {
        let shard = partition_for(&self.group, self.offsets_partitions);
        TopicPartition::new(OFFSETS, shard)
    }

    fn committed(&self, kernel: &Kernel<Node>, partition: i32) -> Option<Offset> {
        let id = self.commits_partition();
        let coordinator = self.image(kernel).partition(id)?.leader;
        if coordinator == NO_BROKER {
            return None;
        }
        let broker = kernel.process(NodeId::of_broker(coordinator))?.broker()?;
        let high_watermark = broker.replicas()?.partition(id)?.log.high_watermark;
        broker.offsets()?.committed(
            id.partition,
            &self.group,
            &self.topic,
            partition,
            high_watermark,
        )
    }
}

/// The machine that a node runs on.
pub fn machine_of(node: NodeId) -> MachineId {
    MachineId(node.0)
}

/// The node of the second client of a consumer application, a producer for dead letters.
pub fn dead_letter_node(index: u32) -> NodeId {
    NodeId(NodeId::FIRST_CLIENT + 750 + index)
}

/// The node of a consumer application.
pub fn consumer_node(index: u32) -> NodeId {
    NodeId(NodeId::FIRST_CLIENT + 500 + index)
}

fn assign(brokers: &[BrokerId], partitions: i32, replicas: usize) -> Vec<Vec<BrokerId>> {
    (0..partitions as usize)
        .map(|p| {
            (0..replicas)
                .map(|r| brokers[(p + r) % brokers.len()])
                .collect()
        })
        .collect()
}

/// The segments of a log as a disk holds them, one behind the other; `dir` ends with a slash.
fn segments_on(disk: &SimDisk, dir: &str) -> Bytes {
    let segments = disk
        .paths()
        .filter(|path| path.starts_with(dir) && path.ends_with(".log"));
    let contents: Vec<&[u8]> = segments.filter_map(|path| disk.content(path)).collect();
    contents.concat().into()
}
