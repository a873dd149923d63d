//! Records that can be read, and are not.

use super::Attribution;
use super::index::facts;
use crate::event::{ClientEvent, EventKind, FaultEvent};
use crate::history::Message;
use crate::mechanism::Mechanism;
use everyack_broker::fact::{Fact, PositionResetReason};
use everyack_broker::ids::*;
use everyack_broker::time::Nanos;

impl Attribution<'_> {
    pub(super) fn explain_skipped(&self, message: &Message, offset: Offset) -> Option<Mechanism> {
        let id = self.id(message);
        let reader = (self.reader_of)(id.partition);
        if self.index.handler_threw {
            let left = self.explain_left_loop(message, offset, id, reader);
            let exception = || self.explain_exception(message, offset, id, reader);
            if let Some(mechanism) = left.or_else(exception) {
                return Some(mechanism);
            }
        }
        if self.was_committed_before_processing(message, id, reader) {
            return Some(Mechanism::C04);
        }
        let mut committed_before = false;
        let mut cut_below_position = false;
        for (_, node, fact) in facts(&self.of(id).reading) {
            match fact {
                Fact::OffsetCommitted { .. } => committed_before = true,
                Fact::PositionReset { to, why, from, .. } if node == reader && *to > offset => {
                    match why {
                        PositionResetReason::NoOffset if committed_before => {
                            return Some(Mechanism::C18);
                        }
                        PositionResetReason::NoOffset => return Some(Mechanism::C12),
                        PositionResetReason::OutOfRange if *from > *to || cut_below_position => {
                            return Some(Mechanism::C14);
                        }
                        PositionResetReason::OutOfRange
                        | PositionResetReason::Committed
                        | PositionResetReason::Truncation
                        | PositionResetReason::Seek => {}
                    }
                }
                Fact::BecameLeader { log_end, .. } if *log_end <= offset => {
                    cut_below_position = true;
                }
                _ => {}
            }
        }
        cut_below_position.then_some(Mechanism::C15)
    }

    /// The application left its loop over an exception, before this record of the batch or at it, a
    /// commit on its way out passed the record, and its next start went on behind: C05 where commitSync()
    /// returned to the application, else the commit was close()'s own, C02.
    fn explain_left_loop(
        &self,
        message: &Message,
        offset: Offset,
        id: TopicPartition,
        reader: NodeId,
    ) -> Option<Mechanism> {
        let (mut delivered, mut threw, mut passed, mut told) = (false, false, false, false);
        for event in self.events {
            match &event.kind {
                EventKind::Fact(Fact::OffsetCommitted {
                    partition,
                    offset: next,
                    ..
                }) => passed |= threw && *partition == id && *next > offset,
                _ if event.node != reader => {}
                EventKind::Client(ClientEvent::Delivered { message: m, .. }) => {
                    delivered |= *m == message.id;
                    // It has polled again: it did not leave.
                    threw = false;
                }
                EventKind::Client(ClientEvent::ProcessingFailed { .. }) => {
                    (threw, passed, told) = (delivered, false, false);
                }
                EventKind::Client(ClientEvent::Processed { .. }) => threw = false,
                EventKind::Client(ClientEvent::CommitDone) => told |= threw,
                EventKind::Fault(FaultEvent::Killed) => threw = false,
                EventKind::Fact(Fact::PositionReset { partition, why, .. })
                    if *partition == id
                        && matches!(
                            why,
                            PositionResetReason::Committed | PositionResetReason::NoOffset
                        ) =>
                {
                    if threw && passed {
                        return Some(match told {
                            true => Mechanism::C05,
                            false => Mechanism::C02,
                        });
                    }
                    (delivered, threw) = (false, false);
                }
                _ => {}
            }
        }
        None
    }

    /// The handler threw on the record, and a commit passed it all the same before the consumer started
    /// anew.
    pub(super) fn explain_exception(
        &self,
        message: &Message,
        offset: Offset,
        id: TopicPartition,
        reader: NodeId,
    ) -> Option<Mechanism> {
        let (mut threw, mut dead_letter) = (false, false);
        for event in self.events {
            match &event.kind {
                EventKind::Client(ClientEvent::ProcessingFailed { message: bad, .. })
                    if *bad == message.id && event.node == reader =>
                {
                    threw = true;
                }
                EventKind::Client(ClientEvent::DeadLetterSent { message: bad, .. })
                    if *bad == message.id =>
                {
                    dead_letter = true;
                }
                EventKind::Fault(FaultEvent::Killed) if event.node == reader => threw = false,
                EventKind::Fact(Fact::OffsetCommitted {
                    partition,
                    offset: next,
                    ..
                }) if *partition == id && *next > offset && threw => {
                    return Some(match dead_letter {
                        true => Mechanism::C21,
                        false => Mechanism::C20,
                    });
                }
                _ => {}
            }
        }
        None
    }

    /// Whether a commit passed the record after it was delivered, by the consumer that held it: before
    /// a later start of that consumer fixed its position anew.
    fn was_committed_before_processing(
        &self,
        message: &Message,
        id: TopicPartition,
        reader: NodeId,
    ) -> bool {
        message.delivered.iter().any(|&(delivered_at, offset)| {
            let reading = &self.of(id).reading;
            let next_start = facts(reading).find_map(|(at, node, fact)| {
                let starts = matches!(fact, Fact::PositionReset { why, .. }
                    if matches!(why, PositionResetReason::Committed | PositionResetReason::NoOffset));
                (starts && node == reader && at > delivered_at).then_some(at)
            });
            let until = next_start.unwrap_or(Nanos::MAX);
            facts(reading).any(|(at, _, fact)| {
                matches!(fact, Fact::OffsetCommitted { offset: next, .. } if *next > offset)
                    && (delivered_at..until).contains(&at)
            })
        })
    }

    pub(super) fn explain_hidden(&self, message: &Message, offset: Offset) -> Option<Mechanism> {
        let id = self.id(message);
        let passed = facts(&self.of(id).high_watermarks).any(
            |(_, _, fact)| matches!(fact, Fact::HighWatermark { offset: hw, .. } if *hw > offset),
        );
        (!passed).then_some(Mechanism::P08)
    }
}
