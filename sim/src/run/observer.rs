//! What is kept of a run while it goes on: history, marks and what the invariants find.

use crate::check::Invariants;
use crate::check::messages::{Found, messages_in};
use crate::cluster::{Cluster, TOPIC, machine_of, topic_id};
use crate::event::{ClientEvent, Event, EventKind, MessageId};
use crate::history::{AppendedAt, History, LetGo};
use crate::marks::Marks;
use crate::node::Node;
use crate::result::Anomaly;
use crate::world::World;
use bytes::Bytes;
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;
use everyack_broker::log::{LogStartReason, PartitionLog};
use everyack_broker::time::Nanos;
use std::collections::BTreeSet;

/// Takes the events of a run one by one.
pub(super) struct Observer {
    pub(super) history: History,
    pub(super) marks: Marks,
    pub(super) anomalies: Vec<Anomaly>,
    invariants: Invariants,
    pub(super) positions_fixed: Vec<NodeId>,
    pub(super) finished_producers: usize,
    /// When a message was last processed that had not been before.
    pub(super) last_progress: Nanos,
    /// By partition, the segment of the topic that was last appended to, on whichever broker: its base
    /// offset and its file.
    segments: Vec<(Offset, String)>,
}

impl Observer {
    pub(super) fn new(history: History) -> Observer {
        Observer {
            history,
            marks: Marks::default(),
            anomalies: Vec::new(),
            invariants: Invariants::default(),
            positions_fixed: Vec::new(),
            finished_producers: 0,
            last_progress: 0,
            segments: Vec::new(),
        }
    }

    /// Takes a fact [of replication](Event::of_replication).
    #[inline]
    pub(super) fn see_replication(&mut self, node: NodeId, fact: &Fact) {
        let (invariants, anomalies) = (&mut self.invariants, &mut self.anomalies);
        invariants.check(node, fact, topic_id, anomalies);
    }

    /// Takes any other event.
    pub(super) fn see(&mut self, event: &Event, cluster: &Cluster, world: &World<Node>) {
        match &event.kind {
            EventKind::Client(client) => self.see_client(event, client),
            EventKind::Fact(fact) => {
                self.marks.see(event);
                let (invariants, anomalies) = (&mut self.invariants, &mut self.anomalies);
                invariants.check(event.node, fact, topic_id, anomalies);
                self.see_fact(event, fact, cluster, world);
            }
            EventKind::Fault(_) => self.marks.see(event),
        }
    }

    // ---- facts ------------------------------------------------------------------------------

    fn see_fact(&mut self, event: &Event, fact: &Fact, cluster: &Cluster, world: &World<Node>) {
        match fact {
            Fact::Appended {
                partition,
                base_offset,
                leader_epoch,
                as_leader: true,
                ..
            } if partition.topic == TOPIC => {
                let (at, node, leader_epoch) = (event.at, event.node, *leader_epoch);
                let history = &mut self.history;
                let append = |id, offset| {
                    let append = AppendedAt {
                        at,
                        node,
                        leader_epoch,
                        offset,
                    };
                    history.appended(id, append);
                };
                let segments = &mut self.segments;
                let batch = (event.node, partition.partition, *base_offset);
                each_message_of(batch, segments, cluster, world, append);
            }
            Fact::ProduceArrived {
                partition,
                acks: 0,
                records,
            } if partition.topic == TOPIC => {
                for Found { id, .. } in messages_in(records, partition.partition) {
                    self.history.arrived(id, event.at, event.node);
                }
            }
            Fact::LogStartMoved {
                partition,
                offset,
                reason: LogStartReason::SegmentDeletion,
            } if partition.topic == TOPIC => {
                let taken = (partition.partition, *offset, false);
                self.see_what_was_let_go(event.node, taken, cluster, world);
            }
            Fact::LogCleaned { partition, up_to } if partition.topic == TOPIC => {
                let taken = (partition.partition, *up_to, true);
                self.see_what_was_let_go(event.node, taken, cluster, world);
            }
            _ => {}
        }
    }

    /// Retention or the cleaner has removed segments of a partition below an offset; their files are still
    /// there.
    #[cold]
    fn see_what_was_let_go(
        &mut self,
        node: NodeId,
        (partition, below, cleaned): (i32, Offset, bool),
        cluster: &Cluster,
        world: &World<Node>,
    ) {
        let kernel = world.kernel();
        let left = match cleaned {
            true => cluster.messages_on(&kernel, node, partition),
            false => BTreeSet::new(),
        };
        for segment in cluster.removed_segments(&kernel, node, partition) {
            for Found { id, offset, key } in messages_in(&segment, partition) {
                if offset < below && !left.contains(&id) {
                    let replaced = key.filter(|_| cleaned).map(Bytes::copy_from_slice);
                    self.history.let_go(id, LetGo { offset, replaced });
                }
            }
        }
    }

    // ---- applications -----------------------------------------------------------------------

    fn see_client(&mut self, event: &Event, client: &ClientEvent) {
        self.history.record(event.at, client);
        match client {
            ClientEvent::Sent(_)
            | ClientEvent::Acked(..)
            | ClientEvent::Polled(_)
            | ClientEvent::CommitDone => {}
            ClientEvent::Delivered { message, offset } => {
                let partition = TopicPartition::new(TOPIC, message.partition);
                let (invariants, anomalies) = (&mut self.invariants, &mut self.anomalies);
                invariants.delivered(event.node, partition, *offset, anomalies);
            }
            ClientEvent::Processed { message, .. } => {
                match self.history.times_processed(*message) {
                    0 | 1 => self.last_progress = event.at,
                    _ => self.marks.processed_again(),
                }
            }
            _ => self.see_seldom(event, client),
        }
    }

    #[cold]
    fn see_seldom(&mut self, event: &Event, client: &ClientEvent) {
        self.marks.see(event);
        match client {
            ClientEvent::PositionsFixed if !self.positions_fixed.contains(&event.node) => {
                self.positions_fixed.push(event.node);
            }
            ClientEvent::ProducerFinished => self.finished_producers += 1,
            ClientEvent::SendFailed(..) if self.history.are_results_ignored() => {
                self.marks.failed_unseen();
            }
            ClientEvent::DeadLettered(_) => self.last_progress = event.at,
            _ => {}
        }
    }
}

/// The messages of the batch that a leader has just appended to a partition at this offset, from its log;
/// none where the same step has cut it off again.
fn each_message_of(
    (node, partition, base_offset): (NodeId, i32, Offset),
    segments: &mut Vec<(Offset, String)>,
    cluster: &Cluster,
    world: &World<Node>,
    mut take: impl FnMut(MessageId, Offset),
) {
    let kernel = world.kernel();
    let broker = node.broker().expect("only brokers append");
    let Some(replica) = cluster.replica(&kernel, broker, partition) else {
        return;
    };
    let batch = replica.log.batches_metadata_from(base_offset).first();
    let Some(batch) = batch.filter(|b| b.base_offset == base_offset) else {
        return;
    };
    let segment = replica.log.segment_that_holds(batch);
    let path = path_of(partition, segment, segments, cluster);
    let disk = kernel.disk(machine_of(node));
    let content = disk.content(path).expect("the log's file");
    let from = batch.position as usize;
    // A broker that takes no notice of a failed sync goes on behind what its disk has dropped.
    let Some(bytes) = content.get(from..from + batch.size as usize) else {
        return;
    };
    for Found { id, offset, .. } in messages_in(bytes, partition) {
        take(id, offset);
    }
}

/// The file of a partition's segment.
fn path_of<'s>(
    partition: i32,
    segment: Offset,
    known: &'s mut Vec<(Offset, String)>,
    cluster: &Cluster,
) -> &'s str {
    let index = usize::try_from(partition).expect("partitions are counted from 0");
    if known.get(index).is_none_or(|(base, _)| *base != segment) {
        let file = |partition, base| {
            let dir = format!("{}-{partition}", cluster.topic);
            (base, PartitionLog::file_name(&dir, base))
        };
        let unknown = known.len()..=index;
        known.extend(unknown.map(|partition| file(partition as i32, 0)));
        known[index] = file(partition, segment);
    }
    &known[index].1
}
