//! What mattered in a run, in order, in words.

use crate::cluster::{Cluster, DEAD_LETTERS, TOPIC, consumer_node, dead_letter_node};
use crate::event::{ClientEvent, Damage, Event, EventKind, FaultEvent};
use crate::fault::{DiskOperation, FileKind};
use crate::result::StoryLine;
use crate::run::micros;
use everyack_broker::fact::{Fact, PositionResetReason};
use everyack_broker::group::OFFSETS_TOPIC;
use everyack_broker::ids::*;
use everyack_broker::log::LogStartReason;

/// How things are called in a story.
pub struct Names {
    topic: String,
    controller: NodeId,
    commits: TopicPartition,
}

impl Names {
    /// Those of a cluster.
    pub fn of(cluster: &Cluster) -> Names {
        Names {
            topic: cluster.topic.to_string(),
            controller: cluster.controller,
            commits: cluster.commits_partition(),
        }
    }

    /// Whether an event concerns only partitions of `__consumer_offsets` without commits of the group:
    /// there are fifty by default, and nobody asks for them.
    fn concerns_nobody(&self, event: &Event) -> bool {
        let EventKind::Fact(fact) = &event.kind else {
            return false;
        };
        match fact {
            Fact::CoordinatorLoaded { partition } => *partition != self.commits.partition,
            Fact::LogRecovered {
                topic, partition, ..
            } => &**topic == OFFSETS_TOPIC && *partition != self.commits.partition,
            fact => fact.partition().is_some_and(|id| {
                id.topic == self.commits.topic && id.partition != self.commits.partition
            }),
        }
    }

    fn who(&self, node: NodeId) -> String {
        if node == self.controller {
            return "controller".into();
        }
        match node.0.checked_sub(NodeId::FIRST_CLIENT) {
            None => node.to_string(),
            Some(n) if node < consumer_node(0) => format!("producer {n}"),
            Some(_) if node >= dead_letter_node(0) => {
                format!(
                    "dead letters of consumer {}",
                    node.0 - dead_letter_node(0).0
                )
            }
            Some(_) => format!("consumer {}", node.0 - consumer_node(0).0),
        }
    }

    fn partition(&self, id: TopicPartition) -> String {
        let partition = id.partition;
        match id.topic {
            TOPIC => format!("{}-{partition}", self.topic),
            DEAD_LETTERS => format!("{}.DLT-{partition}", self.topic),
            _ => format!("__consumer_offsets-{partition}"),
        }
    }
}

/// The lines of a run's story. Repetition is told once: acknowledgements and processings as counts
/// between two lines.
pub fn tell(events: &[Event], names: &Names) -> Vec<StoryLine> {
    let mut lines = Vec::new();
    let mut tally = Tally::default();
    for event in events {
        if names.concerns_nobody(event) || tally.counts(event) {
            continue;
        }
        let Some(what) = sentence(event, names) else {
            continue;
        };
        tally.flush(&mut lines);
        lines.push(StoryLine {
            at_us: micros(event.at),
            who: names.who(event.node),
            what,
        });
    }
    tally.flush(&mut lines);
    lines
}

/// What happened between two lines and is told as a count.
#[derive(Default)]
struct Tally {
    at_us: u64,
    acked: u64,
    failed: u64,
    processed: u64,
    last_failure: String,
}

impl Tally {
    fn counts(&mut self, event: &Event) -> bool {
        match &event.kind {
            EventKind::Client(ClientEvent::Acked(..)) => self.acked += 1,
            EventKind::Client(ClientEvent::SendFailed(_, why)) => {
                self.failed += 1;
                self.last_failure.clone_from(why);
            }
            EventKind::Client(ClientEvent::Processed { .. }) => self.processed += 1,
            _ => return false,
        }
        self.at_us = micros(event.at);
        true
    }

    fn flush(&mut self, lines: &mut Vec<StoryLine>) {
        let mut parts = Vec::new();
        if self.acked > 0 {
            parts.push(format!("{} sends acknowledged", self.acked));
        }
        if self.failed > 0 {
            parts.push(format!(
                "{} sends failed ({})",
                self.failed, self.last_failure
            ));
        }
        if self.processed > 0 {
            parts.push(format!("{} records processed", self.processed));
        }
        if !parts.is_empty() {
            lines.push(StoryLine {
                at_us: self.at_us,
                who: "applications".into(),
                what: format!("until here: {}", parts.join(", ")),
            });
        }
        *self = Tally::default();
    }
}

fn sentence(event: &Event, names: &Names) -> Option<String> {
    match &event.kind {
        EventKind::Fact(fact) => fact_sentence(fact, names),
        EventKind::Fault(fault) => Some(fault_sentence(fault, names)),
        EventKind::Client(client) => match client {
            ClientEvent::ProcessingFailed { message, offset } => Some(format!(
                "its handler throws on the record at offset {offset} of partition {}",
                message.partition
            )),
            ClientEvent::DeadLetterSent { message, offset } => Some(format!(
                "sends the record at offset {offset} of partition {} to the dead letters",
                message.partition
            )),
            ClientEvent::DeadLettered(message) => Some(format!(
                "its dead letter of message {} of producer {} is acknowledged",
                message.sequence, message.producer
            )),
            ClientEvent::DeadLetterFailed(message, why) => Some(format!(
                "its dead letter of message {} of producer {} failed ({why})",
                message.sequence, message.producer
            )),
            ClientEvent::CommitFailed(why) => Some(format!("a commit failed with {why}")),
            ClientEvent::PollFailed(why) => Some(format!("poll threw {why}")),
            ClientEvent::PositionsFixed => Some("has a position on each partition".into()),
            ClientEvent::ProducerFinished => Some("knows the fate of all its messages".into()),
            _ => None,
        },
    }
}

fn fault_sentence(fault: &FaultEvent, names: &Names) -> String {
    match fault {
        FaultEvent::Killed => "FAULT: its process is killed".into(),
        FaultEvent::PowerLost {
            unsynced_bytes,
            kept_bytes,
        } => format!(
            "FAULT: its machine loses power; {unsynced_bytes} bytes were not synced, the disk kept \
             {kept_bytes} of them"
        ),
        FaultEvent::Started { incarnation: 1 } => "starts".into(),
        FaultEvent::Started { incarnation } => {
            format!("starts again, for the {incarnation}. time")
        }
        FaultEvent::LinkCut { to } => format!("FAULT: its link to {} is cut", names.who(*to)),
        FaultEvent::LinkHealed { to } => format!("its link to {} works again", names.who(*to)),
        FaultEvent::ConnectionReset { to } => {
            format!("FAULT: its connections to {} are reset", names.who(*to))
        }
        FaultEvent::LeaderMoveAsked { partition } => format!(
            "the operator moves the leadership of {}-{partition} here",
            names.topic
        ),
        FaultEvent::LinksSlowed { extra_us } => format!(
            "FAULT: what it sends to other brokers takes {} ms longer",
            extra_us / 1_000
        ),
        FaultEvent::CopiesSlowed { extra_us } => format!(
            "FAULT: what other brokers send to it takes {} ms longer",
            extra_us / 1_000
        ),
        FaultEvent::MetadataSlowed { extra_us } => format!(
            "FAULT: what the controller sends to it takes {} ms longer",
            extra_us / 1_000
        ),
        FaultEvent::IsrProposalsHeld => {
            "FAULT: what it proposes for an ISR does not get through".into()
        }
        FaultEvent::IsrProposalsReleased => "what it proposed for an ISR gets through again".into(),
        FaultEvent::ShutDownAsked => "is asked to shut down in order".into(),
        FaultEvent::Halted => "its process has ended by itself".into(),
        FaultEvent::Paused => "FAULT: its process is stopped".into(),
        FaultEvent::Resumed => "its process goes on".into(),
        FaultEvent::DiskDestroyed => "FAULT: its disk is replaced by an empty one".into(),
        FaultEvent::DiskSlowed { stall_ms } => {
            format!("FAULT: its disk stalls, {stall_ms} ms before each operation")
        }
        FaultEvent::DiskFails {
            operation,
            files,
            error,
            nth,
        } => format!(
            "FAULT: its disk will fail {}{} number {nth} from here: {error}",
            operation_word(*operation),
            files.map_or("", file_words)
        ),
        FaultEvent::DiskFailed { operation, error } => format!(
            "FAULT: its disk fails a {}: {error}",
            operation_word(*operation)
        ),
        FaultEvent::DiskLies => {
            "FAULT: its disk says of each sync that it is done, and keeps nothing".into()
        }
        FaultEvent::StoredDamaged {
            partition,
            first,
            last,
            how,
        } => {
            let how = match how {
                Damage::FlippedBits => "a bit flips in",
                Damage::MisdirectedWrite => "a write that went elsewhere has damaged",
            };
            format!("FAULT: on its disk {how} the batch {first}..={last} of partition {partition}")
        }
        FaultEvent::DiskHealed => "its disk works again".into(),
        FaultEvent::ClockJumped { by_ms } => {
            format!("FAULT: its wall clock jumps by {by_ms} ms")
        }
        FaultEvent::ClockDrifts { ppm } => {
            format!("FAULT: its wall clock runs {ppm} parts per million too fast")
        }
        FaultEvent::ClockSet => "its wall clock is set right".into(),
        FaultEvent::HandlerFails { records, times } => match times {
            &u32::MAX => format!("FAULT: its handler fails on the next {records} records"),
            times => format!(
                "FAULT: its handler fails on the next {records} records, {times} times each"
            ),
        },
        FaultEvent::HandlerHealed => "its handler works again".into(),
        FaultEvent::Healed => "HEAL: every outage ends".into(),
    }
}

fn file_words(files: FileKind) -> &'static str {
    match files {
        FileKind::Log => " of a segment",
        FileKind::Index => " of an offset index",
        FileKind::TimeIndex => " of a time index",
        FileKind::TransactionIndex => " of a transaction index",
        FileKind::Snapshot => " of a producer snapshot",
        FileKind::Checkpoint => " of a checkpoint",
        FileKind::Directory => " of a directory",
    }
}

fn operation_word(operation: DiskOperation) -> &'static str {
    match operation {
        DiskOperation::Write => "write",
        DiskOperation::Create => "new file",
        DiskOperation::Append => "append",
        DiskOperation::Truncate => "truncation",
        DiskOperation::Rename => "rename",
        DiskOperation::Delete => "deletion",
        DiskOperation::Sync => "sync",
    }
}

fn fact_sentence(fact: &Fact, names: &Names) -> Option<String> {
    let p = |id: &TopicPartition| names.partition(*id);
    match fact {
        Fact::BrokerStarted { clean: true } => {
            Some("finds the marker of an orderly shutdown".into())
        }
        Fact::ShutdownBegan { controlled: true } => {
            Some("asks the controller to move its leaderships away".into())
        }
        Fact::ShutdownBegan { controlled: false } => {
            Some("shuts down without asking the controller".into())
        }
        Fact::ShutDownCleanly { .. } => {
            Some("has flushed every log and left its clean-shutdown marker".into())
        }
        Fact::RegistrationTimedOut => Some("could not register in time, and ends".into()),
        Fact::LogDirectoryOffline { error } => {
            Some(format!("takes its log directory offline: {error}"))
        }
        Fact::LogRecovered {
            topic,
            partition,
            log_end,
            truncated_bytes,
            ..
        } => Some(format!(
            "recovers {topic}-{partition}: log end {log_end}, {truncated_bytes} bytes cut off"
        )),
        Fact::LogCleaned { partition, up_to } => Some(format!(
            "has compacted {} below {up_to}: of each key the last record is left",
            p(partition)
        )),
        Fact::LogStartMoved {
            partition,
            offset,
            reason,
        } => Some(format!(
            "keeps {} from {offset} on only: {}",
            p(partition),
            match reason {
                LogStartReason::Leader => "its leader does",
                LogStartReason::ClientDeletion => "a client had the rest deleted",
                LogStartReason::SegmentDeletion => "older segments are past their retention",
            }
        )),
        Fact::Truncated {
            partition,
            from,
            to,
            high_watermark,
            ..
        } => Some(format!(
            "truncates {} from {from} to {to} (its high watermark was {high_watermark})",
            p(partition)
        )),
        Fact::BecameLeader {
            partition,
            leader_epoch,
            log_end,
        } => Some(format!(
            "leads {} in epoch {leader_epoch}, log end {log_end}",
            p(partition)
        )),
        Fact::PartitionChanged {
            partition,
            leader,
            leader_epoch,
            isr,
            unclean,
        } => {
            let unclean = if *unclean { ", UNCLEAN election" } else { "" };
            let leader = match leader {
                -1 => "no leader".to_string(),
                leader => format!("leader broker {leader}"),
            };
            Some(format!(
                "decides for {}: {leader}, epoch {leader_epoch}, ISR {isr:?}{unclean}",
                p(partition)
            ))
        }
        Fact::BrokerFenced { broker } => Some(format!("fences broker {broker}")),
        Fact::BrokerUnfenced { broker } => Some(format!("unfences broker {broker}")),
        Fact::BrokerRegistered { broker, epoch } => {
            Some(format!("registers broker {broker} with epoch {epoch}"))
        }
        Fact::ProduceAnswered {
            partition,
            acks,
            error,
            ..
        } if !error.is_none() => Some(format!(
            "refuses a produce of {} (acks={acks}): {}",
            p(partition),
            error.name()
        )),
        Fact::CoordinatorLoaded { partition } => Some(format!(
            "has loaded __consumer_offsets-{partition} and coordinates its groups"
        )),
        Fact::PositionReset {
            partition,
            from,
            to,
            why,
        } => Some(position_sentence(p(partition), *from, *to, *why)),
        _ => None,
    }
}

fn position_sentence(
    partition: String,
    from: Offset,
    to: Offset,
    why: PositionResetReason,
) -> String {
    match why {
        PositionResetReason::Committed => {
            format!("reads {partition} from the committed offset {to}")
        }
        PositionResetReason::NoOffset => {
            format!("has no committed offset for {partition}: auto.offset.reset gives {to}")
        }
        PositionResetReason::OutOfRange => {
            format!("stands at {from} of {partition}, out of range: auto.offset.reset gives {to}")
        }
        PositionResetReason::Truncation => {
            format!("finds {partition} truncated below {from}: goes back to {to}")
        }
        PositionResetReason::Seek => format!("seeks {partition} to {to}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_offsets_topic_only_the_group_s_partition_is_told() {
        let commits = TopicPartition::new(TopicId(9), 7);
        let names = Names {
            topic: "orders".into(),
            controller: NodeId(NodeId::FIRST_CONTROLLER),
            commits,
        };
        let event = |fact| Event {
            at: 0,
            node: NodeId(1),
            kind: EventKind::Fact(fact),
        };
        let told = |partition| {
            let loaded = event(Fact::CoordinatorLoaded { partition });
            let follows = event(Fact::BecameLeader {
                partition: TopicPartition::new(commits.topic, partition),
                leader_epoch: 3,
                log_end: 0,
            });
            tell(&[loaded, follows], &names).len()
        };
        assert_eq!((told(7), told(8)), (2, 0));
    }
}
