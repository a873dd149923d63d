//! The events of a run by what is asked of them. There are many more events than any one question is about,
//! and a run that loses one message often loses dozens.

use crate::cluster::{TOPIC, topic_id};
use crate::event::{ClientEvent, Event, EventKind};
use everyack_broker::fact::Fact;
use everyack_broker::ids::*;
use everyack_broker::time::Nanos;

/// Events in the order of the run.
pub(super) type Events<'a> = Vec<&'a Event>;

/// All that are asked for.
#[derive(Debug, Default)]
pub(super) struct Index<'a> {
    /// What was done to processes, machines and links.
    pub(super) faults: Events<'a>,
    /// Brokers that the controller fenced.
    pub(super) fenced: Events<'a>,
    /// The handler of some application threw.
    pub(super) handler_threw: bool,
    /// By partition of the topic.
    pub(super) partitions: Vec<OfPartition<'a>>,
    /// What is known of any other.
    none: OfPartition<'a>,
}

/// The events that concern a partition.
#[derive(Debug, Default)]
pub(super) struct OfPartition<'a> {
    /// What its replicas' logs went through, and every fault.
    pub(super) logs: Events<'a>,
    /// Who was elected, and took over.
    pub(super) leaders: Events<'a>,
    /// What leaders answered to Produce requests.
    pub(super) answers: Events<'a>,
    /// High watermarks of leaders.
    pub(super) high_watermarks: Events<'a>,
    /// Commits, and positions that were set, and who took over the leadership.
    pub(super) reading: Events<'a>,
}

impl<'a> Index<'a> {
    /// Of a topic with so many partitions.
    pub(super) fn of(events: &'a [Event], topic: TopicId, partitions: usize) -> Index<'a> {
        let mut index = Index::default();
        index
            .partitions
            .resize_with(partitions, OfPartition::default);
        for event in events {
            match &event.kind {
                EventKind::Fact(fact) => index.add_fact(event, fact, topic),
                EventKind::Fault(_) => {
                    index.faults.push(event);
                    for partition in &mut index.partitions {
                        partition.logs.push(event);
                    }
                }
                EventKind::Client(client) => {
                    index.handler_threw |= matches!(client, ClientEvent::ProcessingFailed { .. });
                }
            }
        }
        index
    }

    /// Those of a partition; none where there is no such partition.
    pub(super) fn of_partition(&self, partition: i32) -> &OfPartition<'a> {
        let index = usize::try_from(partition).ok();
        let known = index.and_then(|index| self.partitions.get(index));
        known.unwrap_or(&self.none)
    }

    fn add_fact(&mut self, event: &'a Event, fact: &Fact, topic: TopicId) {
        match fact {
            Fact::BrokerFenced { .. } => self.fenced.push(event),
            Fact::LogRecovered {
                topic, partition, ..
            } => {
                if topic_id(topic) == TOPIC
                    && let Some(partition) = self.partitions.get_mut(*partition as usize)
                {
                    partition.logs.push(event);
                }
            }
            _ => {
                let partition = fact.partition().filter(|p| p.topic == topic);
                let index = partition.map(|p| p.partition as usize);
                if let Some(partition) = index.and_then(|i| self.partitions.get_mut(i)) {
                    partition.add(event, fact);
                }
            }
        }
    }
}

impl<'a> OfPartition<'a> {
    fn add(&mut self, event: &'a Event, fact: &Fact) {
        match fact {
            Fact::Appended { .. } | Fact::Truncated { .. } | Fact::Flushed { .. } => {
                self.logs.push(event);
            }
            Fact::PartitionChanged { .. } => self.leaders.push(event),
            Fact::BecameLeader { .. } => {
                self.leaders.push(event);
                self.reading.push(event);
            }
            Fact::ProduceAnswered { .. } => self.answers.push(event),
            Fact::HighWatermark {
                as_leader: true, ..
            } => self.high_watermarks.push(event),
            Fact::OffsetCommitted { .. } | Fact::PositionReset { .. } => self.reading.push(event),
            _ => {}
        }
    }
}

/// Those up to an instant, and it included.
pub(super) fn until<'e, 'a>(events: &'e [&'a Event], at: Nanos) -> &'e [&'a Event] {
    &events[..events.partition_point(|e| e.at <= at)]
}

/// The facts among them, with when and where.
pub(super) fn facts<'a>(events: &[&'a Event]) -> impl Iterator<Item = (Nanos, NodeId, &'a Fact)> {
    events.iter().filter_map(|e| match &e.kind {
        EventKind::Fact(fact) => Some((e.at, e.node, fact)),
        _ => None,
    })
}
