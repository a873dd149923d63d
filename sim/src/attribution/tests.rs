//! Broken histories, told event by event: each mechanism by the smallest one that shows it.

mod disks;

use super::*;
use crate::check::verdict::Broken;
use crate::event::{ClientEvent, MessageId};
use crate::fault::DiskOperation;
use crate::history::AppendedAt;
use everyack_broker::disk::DiskError;
use everyack_broker::fact::PositionResetReason;
use everyack_broker::time::MILLIS;

const ID: TopicId = TopicId(7);
const ACKED_OFFSET: Offset = 10;
const CONSUMER: NodeId = NodeId(2500);
const MESSAGE: MessageId = MessageId {
    producer: 0,
    sequence: 0,
    partition: 0,
};

/// A partition's events; each is a millisecond behind the one before.
struct Tale {
    replicas: Vec<Vec<BrokerId>>,
    events: Vec<Event>,
    message: Message,
}

fn node(broker: BrokerId) -> NodeId {
    NodeId::of_broker(broker)
}

fn partition() -> TopicPartition {
    TopicPartition::new(ID, 0)
}

impl Tale {
    fn of(replicas: &[BrokerId]) -> Tale {
        Tale {
            replicas: vec![replicas.to_vec()],
            events: Vec::new(),
            message: Message {
                id: MESSAGE,
                sent_at: 0,
                outcome: SendOutcome::Acked {
                    at: 0,
                    offset: ACKED_OFFSET,
                },
                arrived: None,
                appends: Default::default(),
                processed: 0,
                dead_lettered: false,
                delivered: Default::default(),
            },
        }
    }

    fn event(mut self, node: NodeId, kind: EventKind) -> Tale {
        let at = (self.events.len() as Nanos + 1) * MILLIS;
        self.events.push(Event { at, node, kind });
        self
    }

    fn fact(self, node: NodeId, fact: Fact) -> Tale {
        self.event(node, EventKind::Fact(fact))
    }

    fn fault(self, broker: BrokerId, fault: FaultEvent) -> Tale {
        self.event(node(broker), EventKind::Fault(fault))
    }

    /// The leader of an epoch appends the record.
    fn appended(mut self, broker: BrokerId, leader_epoch: LeaderEpoch) -> Tale {
        self.message.appends.push(AppendedAt {
            at: (self.events.len() as Nanos + 1) * MILLIS,
            node: node(broker),
            leader_epoch,
            offset: ACKED_OFFSET,
        });
        self.copied(broker, leader_epoch, true)
    }

    fn copied(self, broker: BrokerId, leader_epoch: LeaderEpoch, as_leader: bool) -> Tale {
        let fact = Fact::Appended {
            partition: partition(),
            base_offset: ACKED_OFFSET,
            last_offset: ACKED_OFFSET,
            leader_epoch,
            as_leader,
            prefix: 0,
        };
        self.fact(node(broker), fact)
    }

    fn decides(self, leader: BrokerId, leader_epoch: LeaderEpoch, isr: &[BrokerId]) -> Tale {
        self.elects(leader, leader_epoch, isr, false)
    }

    fn elects(
        self,
        leader: BrokerId,
        leader_epoch: LeaderEpoch,
        isr: &[BrokerId],
        unclean: bool,
    ) -> Tale {
        let fact = Fact::PartitionChanged {
            partition: partition(),
            leader,
            leader_epoch,
            isr: isr.to_vec(),
            unclean,
        };
        self.fact(NodeId(NodeId::FIRST_CONTROLLER), fact)
    }

    fn answers(self, broker: BrokerId, acks: i16) -> Tale {
        let fact = Fact::ProduceAnswered {
            partition: partition(),
            base_offset: ACKED_OFFSET,
            last_offset: ACKED_OFFSET,
            acks,
            error: ErrorCode::None,
        };
        self.fact(node(broker), fact)
    }

    /// The producer is told now.
    fn acked(mut self) -> Tale {
        self.message.outcome = SendOutcome::Acked {
            at: (self.events.len() as Nanos + 1) * MILLIS,
            offset: ACKED_OFFSET,
        };
        self
    }

    fn fenced(self, broker: BrokerId) -> Tale {
        let controller = NodeId(NodeId::FIRST_CONTROLLER);
        self.fact(controller, Fact::BrokerFenced { broker })
    }

    fn leads(self, broker: BrokerId, leader_epoch: LeaderEpoch, log_end: Offset) -> Tale {
        let fact = Fact::BecameLeader {
            partition: partition(),
            leader_epoch,
            log_end,
        };
        self.fact(node(broker), fact)
    }

    fn recovers(self, broker: BrokerId, log_end: Offset) -> Tale {
        self.recovers_of("orders", broker, log_end)
    }

    fn recovers_of(self, topic: &str, broker: BrokerId, log_end: Offset) -> Tale {
        let fact = Fact::LogRecovered {
            topic: topic.into(),
            partition: 0,
            log_start: 0,
            prefix: 0,
            log_end,
            truncated_bytes: 0,
            gaps: None,
        };
        self.fact(node(broker), fact)
    }

    fn commits(self, offset: Offset) -> Tale {
        let fact = Fact::OffsetCommitted {
            group: "group".into(),
            partition: partition(),
            offset,
        };
        self.fact(node(1), fact)
    }

    fn lost(&self) -> Option<Mechanism> {
        self.explain(LossVerdict::Lost, None)
    }

    fn skipped(&self) -> Option<Mechanism> {
        self.explain(LossVerdict::Skipped, Some(ACKED_OFFSET))
    }

    fn explain(&self, verdict: LossVerdict, found: Option<Offset>) -> Option<Mechanism> {
        let broken = Broken {
            id: MESSAGE,
            told: ACKED_OFFSET,
            verdict,
            found,
        };
        let reader_of = |_| CONSUMER;
        Attribution::new(&self.events, ID, &self.replicas, &reader_of)
            .explain(&self.message, &broken)
    }
}

const KILLED: FaultEvent = FaultEvent::Killed;
const STARTED: FaultEvent = FaultEvent::Started { incarnation: 2 };

fn disk_failed(operation: DiskOperation) -> FaultEvent {
    let error = DiskError::Io;
    FaultEvent::DiskFailed { operation, error }
}

/// The record on leader 1 alone, then an election that passes it over.
fn passed_over(between: impl FnOnce(Tale) -> Tale) -> Option<Mechanism> {
    let tale = Tale::of(&[1, 2, 3]).appended(1, 0);
    between(tale).decides(2, 1, &[2, 3]).leads(2, 1, 10).lost()
}

#[test]
fn p04_the_leader_is_killed_before_the_record_is_copied() {
    let lost = passed_over(|tale| tale.fault(1, KILLED).fenced(1));
    assert_eq!(lost, Some(Mechanism::P04));
}

#[test]
fn p05_a_leader_that_shuts_down_in_order_hands_over_too_early() {
    let lost = passed_over(|tale| tale.fault(1, FaultEvent::ShutDownAsked));
    assert_eq!(lost, Some(Mechanism::P05));
    // A shutdown of an earlier start, or of another broker, moves nothing.
    let other = passed_over(|tale| tale.fault(2, FaultEvent::ShutDownAsked).fenced(1));
    assert_eq!(other, Some(Mechanism::P06));
    let before = passed_over(|tale| {
        let tale = tale.fault(1, FaultEvent::ShutDownAsked);
        tale.fault(1, FaultEvent::Halted)
            .fault(1, STARTED)
            .fenced(1)
    });
    assert_ne!(before, Some(Mechanism::P05));
}

#[test]
fn p05_the_preferred_leader_gets_the_leadership_back_too_early() {
    assert_eq!(passed_over(|tale| tale), Some(Mechanism::P05));
}

#[test]
fn p06_a_stopped_leader_goes_on_and_has_been_given_up() {
    let tale = Tale::of(&[1, 2, 3])
        .fault(1, FaultEvent::Paused)
        .fenced(1)
        .decides(2, 1, &[2, 3])
        .leads(2, 1, 10)
        .fault(1, FaultEvent::Resumed)
        .appended(1, 0);
    assert_eq!(tale.lost(), Some(Mechanism::P06));
}

#[test]
fn a_record_in_a_gap_of_the_log_that_led_on_went_with_the_power() {
    let lost = |gaps| {
        let tale = Tale::of(&[1]).appended(1, 0);
        let power = FaultEvent::PowerLost {
            unsynced_bytes: 2,
            kept_bytes: 1,
        };
        let tale = tale.fault(1, power).fault(1, STARTED);
        let recovered = Fact::LogRecovered {
            topic: "orders".into(),
            partition: 0,
            log_start: 0,
            prefix: 0,
            log_end: 12,
            truncated_bytes: 0,
            gaps,
        };
        tale.fact(node(1), recovered)
            .decides(1, 1, &[1])
            .leads(1, 1, 12)
            .lost()
    };
    let first = everyack_broker::fact::Gaps::of((0, 12), [(0, 9), (11, 11)].into_iter());
    assert_eq!(lost(first), Some(Mechanism::S01));
    assert_eq!(lost(None), None);
}

#[test]
fn s10_the_leader_ends_over_its_disk_before_the_record_is_copied() {
    let over_disk = |tale: Tale| {
        let tale = tale.fault(1, disk_failed(DiskOperation::Write));
        tale.fault(1, FaultEvent::Halted).fenced(1)
    };
    assert_eq!(passed_over(over_disk), Some(Mechanism::S10));
    // A disk that failed an earlier start of the process has no part in its being killed.
    let long_ago = |tale: Tale| {
        let tale = tale.fault(1, disk_failed(DiskOperation::Write));
        let tale = tale.fault(1, FaultEvent::Halted).fault(1, STARTED);
        tale.fault(1, KILLED).fenced(1)
    };
    let tale = long_ago(Tale::of(&[1, 2, 3])).appended(1, 0);
    let tale = tale.fault(1, KILLED).fenced(1).decides(2, 1, &[2, 3]);
    assert_eq!(tale.leads(2, 1, 10).lost(), Some(Mechanism::P04));
}

#[test]
fn s10_a_failed_sync_drops_the_only_copy() {
    let tale = Tale::of(&[1])
        .appended(1, 0)
        .fault(1, disk_failed(DiskOperation::Sync))
        .fault(1, FaultEvent::Halted)
        .fenced(1)
        .decides(-1, 1, &[1])
        .recovers(1, 10)
        .decides(1, 2, &[1])
        .leads(1, 2, 10);
    assert_eq!(tale.lost(), Some(Mechanism::S10));
    // Without the failed sync nothing explains how a killed process's log came back short.
    let unexplained = Tale::of(&[1])
        .appended(1, 0)
        .fault(1, KILLED)
        .recovers(1, 10)
        .decides(1, 2, &[1])
        .leads(1, 2, 10);
    assert_ne!(unexplained.lost(), Some(Mechanism::S10));
}

/// Leader 1 is alone in its ISR, and its disk is replaced; it leads again, empty.
fn empty_leader(tale: Tale) -> Option<Mechanism> {
    tale.decides(1, 0, &[1])
        .fault(1, KILLED)
        .fault(1, FaultEvent::DiskDestroyed)
        .fenced(1)
        .decides(-1, 1, &[1])
        .fault(1, STARTED)
        .decides(1, 2, &[1])
        .leads(1, 2, 0)
        .lost()
}

#[test]
fn s20_an_empty_disk_leads_again_over_replicas_that_have_the_record() {
    let tale = Tale::of(&[1, 2, 3]).appended(1, 0).copied(2, 0, false);
    assert_eq!(empty_leader(tale), Some(Mechanism::S20));
}

#[test]
fn r01_the_only_copy_of_an_isr_of_one_is_gone_with_its_disk() {
    let tale = Tale::of(&[1, 2, 3]).appended(1, 0);
    assert_eq!(empty_leader(tale), Some(Mechanism::R01));
    // A copy that was on a disk that is gone too is none.
    let both = Tale::of(&[1, 2, 3]).appended(1, 0).copied(2, 0, false);
    let both = both.fault(2, KILLED).fault(2, FaultEvent::DiskDestroyed);
    assert_eq!(empty_leader(both), Some(Mechanism::R01));
}

#[test]
fn s01_the_only_replica_s_disk_is_gone() {
    assert_eq!(
        empty_leader(Tale::of(&[1]).appended(1, 0)),
        Some(Mechanism::S01)
    );
}

#[test]
fn r05_and_s02_differ_by_a_copy_that_kept_its_power() {
    let power = FaultEvent::PowerLost {
        unsynced_bytes: 100,
        kept_bytes: 0,
    };
    let again = |tale: Tale| {
        tale.decides(1, 0, &[1])
            .fault(1, power.clone())
            .fenced(1)
            .decides(-1, 1, &[1])
            .recovers(1, 10)
            .decides(1, 2, &[1])
            .leads(1, 2, 10)
            .lost()
    };
    let copied = || Tale::of(&[1, 2, 3]).appended(1, 0).copied(2, 0, false);
    assert_eq!(again(copied()), Some(Mechanism::R05));
    assert_eq!(
        again(copied().fault(2, power.clone())),
        Some(Mechanism::S02)
    );
}

#[test]
fn a_longer_log_with_another_record_at_the_offset_passes_the_record_over() {
    let tale = Tale::of(&[1, 2, 3])
        .copied(3, 0, false)
        .appended(1, 2)
        .copied(2, 2, false)
        .answers(1, -1)
        .fault(1, KILLED)
        .fenced(1)
        .elects(3, 3, &[3], true)
        .leads(3, 3, 20);
    assert_eq!(tale.lost(), Some(Mechanism::R03));
}

#[test]
fn r03_an_unclean_election_past_durable_copies_is_no_power_loss_of_all() {
    let power = FaultEvent::PowerLost {
        unsynced_bytes: 0,
        kept_bytes: 0,
    };
    let tale = |kept: Offset| {
        Tale::of(&[1, 2, 3])
            .appended(1, 0)
            .copied(2, 0, false)
            .copied(3, 0, false)
            .answers(1, -1)
            .fault(1, power.clone())
            .fenced(1)
            .decides(2, 1, &[2, 3])
            .leads(2, 1, ACKED_OFFSET + 1)
            .acked()
            .fault(2, power.clone())
            .fault(3, power.clone())
            .fenced(2)
            .recovers(1, ACKED_OFFSET)
            .elects(1, 2, &[1], true)
            .leads(1, 2, ACKED_OFFSET)
            // What other topics' logs have kept says nothing of this one.
            .recovers_of("__consumer_offsets", 2, 0)
            .recovers_of("orders.DLT", 2, 0)
            .recovers_of("orders.DLT", 3, 0)
            .recovers(2, kept)
            .recovers(3, kept)
            .lost()
    };
    assert_eq!(tale(ACKED_OFFSET + 1), Some(Mechanism::R03));
    assert_eq!(tale(ACKED_OFFSET), Some(Mechanism::S02));
}

#[test]
fn a_first_try_that_a_deposed_leader_appends_late_is_not_what_was_promised() {
    let power = FaultEvent::PowerLost {
        unsynced_bytes: 100,
        kept_bytes: 0,
    };
    let tale = |deposed_first: bool| {
        let tale = Tale::of(&[1, 2]);
        let tale = match deposed_first {
            true => tale.appended(1, 0).decides(2, 1, &[2]).appended(2, 1),
            false => tale.decides(2, 1, &[2]).appended(2, 1),
        };
        let tale = tale.answers(2, -1).acked();
        let tale = match deposed_first {
            true => tale,
            false => tale.appended(1, 0),
        };
        tale.fault(2, power.clone())
            .fenced(2)
            .decides(-1, 2, &[2])
            .recovers(2, 10)
            .decides(2, 3, &[2])
            .leads(2, 3, 10)
            .lost()
    };
    assert_eq!(tale(false), tale(true));
    assert_ne!(tale(false), Some(Mechanism::P06));
}

#[test]
fn r02_what_a_later_leader_promised_for_a_retry_is_promised() {
    let tale = Tale::of(&[1, 2, 3])
        .appended(1, 0)
        .copied(2, 0, false)
        .fault(1, KILLED)
        .fenced(1)
        .decides(2, 1, &[2])
        .leads(2, 1, 11)
        .answers(2, -1)
        .fault(2, KILLED)
        .fault(1, FaultEvent::DiskDestroyed)
        .fenced(2)
        .elects(3, 2, &[3], true)
        .leads(3, 2, 10);
    assert_eq!(tale.lost(), Some(Mechanism::R02));
    // With acks=1 the same record was promised by nobody, and not committed.
    let tale = Tale::of(&[1, 2, 3])
        .appended(1, 0)
        .copied(2, 0, false)
        .fault(1, KILLED)
        .fenced(1)
        .decides(2, 1, &[2])
        .leads(2, 1, 11)
        .answers(2, 1)
        .fault(2, KILLED)
        .fenced(2)
        .elects(3, 2, &[3], true)
        .leads(3, 2, 10);
    assert_eq!(tale.lost(), Some(Mechanism::P04));
}

#[test]
fn p19_waits_at_a_broker_that_ends_over_its_disk() {
    let mut tale = Tale::of(&[1, 2, 3])
        .fault(1, disk_failed(DiskOperation::Write))
        .fault(1, FaultEvent::Halted);
    tale.message.arrived = Some((MILLIS, node(1)));
    assert_eq!(tale.lost(), Some(Mechanism::P19));
}

fn thrown() -> EventKind {
    EventKind::Client(ClientEvent::ProcessingFailed {
        message: MESSAGE,
        offset: ACKED_OFFSET,
    })
}

fn dead_letter() -> EventKind {
    EventKind::Client(ClientEvent::DeadLetterSent {
        message: MESSAGE,
        offset: ACKED_OFFSET,
    })
}

fn delivered() -> Tale {
    let mut tale = Tale::of(&[1, 2, 3]);
    tale.message.delivered.push((0, ACKED_OFFSET));
    tale
}

#[test]
fn c20_an_exception_is_caught_and_a_commit_passes_the_record() {
    let tale = delivered().event(CONSUMER, thrown()).commits(11);
    assert_eq!(tale.skipped(), Some(Mechanism::C20));
    // Another consumer's exception is not this one's.
    let other = delivered().event(NodeId(2501), thrown()).commits(11);
    assert_eq!(other.skipped(), Some(Mechanism::C04));
}

#[test]
fn c21_the_record_was_sent_to_the_dead_letters_and_a_commit_did_not_wait() {
    let tale = delivered()
        .event(CONSUMER, thrown())
        .event(CONSUMER, dead_letter())
        .commits(11);
    assert_eq!(tale.skipped(), Some(Mechanism::C21));
}

fn poll_of(sequence: u32, offset: Offset) -> EventKind {
    let message = MessageId {
        sequence,
        ..MESSAGE
    };
    EventKind::Client(ClientEvent::Delivered { message, offset })
}

fn throws_on(sequence: u32, offset: Offset) -> EventKind {
    let message = MessageId {
        sequence,
        ..MESSAGE
    };
    EventKind::Client(ClientEvent::ProcessingFailed { message, offset })
}

impl Tale {
    fn reads_from(self, to: Offset) -> Tale {
        let fact = Fact::PositionReset {
            partition: partition(),
            from: 0,
            to,
            why: PositionResetReason::Committed,
        };
        self.fact(CONSUMER, fact)
    }
}

/// The handler throws on the record at 9; the record at 10 is of the same poll.
fn left_before() -> Tale {
    delivered()
        .event(CONSUMER, poll_of(1, 9))
        .event(CONSUMER, poll_of(0, ACKED_OFFSET))
        .event(CONSUMER, throws_on(1, 9))
        .commits(11)
}

#[test]
fn c02_close_commits_behind_the_batch_that_an_exception_ended() {
    assert_eq!(left_before().reads_from(11).skipped(), Some(Mechanism::C02));
}

#[test]
fn c05_commit_sync_passes_what_the_loop_left() {
    let done = EventKind::Client(ClientEvent::CommitDone);
    let tale = left_before().event(CONSUMER, done.clone()).reads_from(11);
    assert_eq!(tale.skipped(), Some(Mechanism::C05));
    // The record on which the handler threw is skipped by the same commit.
    let at_it = delivered()
        .event(CONSUMER, poll_of(0, ACKED_OFFSET))
        .event(CONSUMER, thrown())
        .commits(11)
        .event(CONSUMER, done.clone())
        .reads_from(11);
    assert_eq!(at_it.skipped(), Some(Mechanism::C05));
    // An application that polls again has not left its loop.
    let goes_on = delivered()
        .event(CONSUMER, poll_of(0, ACKED_OFFSET))
        .event(CONSUMER, thrown())
        .commits(11)
        .event(CONSUMER, done)
        .event(CONSUMER, poll_of(2, 11))
        .reads_from(12);
    assert_eq!(goes_on.skipped(), Some(Mechanism::C20));
}

#[test]
fn c04_a_commit_ahead_of_the_exception_is_no_skipped_exception() {
    let tale = delivered().commits(11).event(CONSUMER, thrown());
    assert_eq!(tale.skipped(), Some(Mechanism::C04));
}
