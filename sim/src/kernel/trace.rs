//! The trace hash: 64 bits over fixed-width fields of every input and fact, in order. Debug text and
//! payloads are never part of it.

use crate::result::StepRecord;
use everyack_broker::env::{CloseReason, Input};
use everyack_broker::fact::Fact;
use everyack_broker::ids::{NodeId, TopicPartition};
use everyack_broker::time::Nanos;
use everyack_broker::wire::Frame;

/// Hash of everything that happened so far, and, if asked for, a record of each step.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    steps: u64,
    records: Option<Vec<StepRecord>>,
}

/// An odd constant without structure (the golden ratio's bits).
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

impl Trace {
    /// An empty trace; with `records` each step is kept.
    pub fn new(records: bool) -> Trace {
        Trace {
            hash: MULTIPLIER,
            steps: 0,
            records: records.then(Vec::new),
        }
    }

    /// The hash so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The records of the steps, if they were asked for. The hash of the last step is complete only
    /// here, since facts come after the input.
    pub fn take_records(&mut self) -> Vec<StepRecord> {
        self.close_step();
        self.records.take().unwrap_or_default()
    }

    /// Mixes one field in: the folded product of a 64 by 64 bit multiplication.
    #[inline]
    fn mix(&mut self, field: u64) {
        let product = u128::from(self.hash ^ field) * u128::from(MULTIPLIER);
        // The rotation keeps a zero product from absorbing what came before.
        self.hash = (product as u64) ^ ((product >> 64) as u64) ^ self.hash.rotate_left(23);
    }

    fn close_step(&mut self) {
        if let Some(last) = self.records.as_mut().and_then(|records| records.last_mut()) {
            last.hash = self.hash;
        }
    }

    /// A process is about to take an input; `size` is the encoded size of its frame, or 0.
    #[inline]
    pub(super) fn input(&mut self, at: Nanos, node: NodeId, input: &Input, size: u32) {
        if self.records.is_some() {
            self.record(at, node, input, size);
        }
        self.steps += 1;
        self.mix(at);
        let kind = |kind: u64| (u64::from(node.0) << 8) | kind;
        match input {
            Input::Start => self.mix(kind(0)),
            Input::Connected(conn) => self.pair(kind(1), conn.0),
            Input::Accepted(conn, from) => {
                self.pair(kind(2), conn.0);
                self.mix(u64::from(from.0));
            }
            Input::Received(conn, frame) => {
                let (correlation, api, response) = match frame {
                    Frame::Request(correlation, request) => (*correlation, request.api(), 0),
                    Frame::Response(correlation, response) => (*correlation, response.api(), 1),
                };
                self.pair(kind(3), conn.0);
                self.mix((u64::from(correlation as u32) << 32) | u64::from(size));
                self.mix((u64::from(api as i16 as u16) << 1) | response);
            }
            Input::Closed(conn, reason) => {
                self.pair(kind(4), conn.0);
                self.mix(match reason {
                    CloseReason::Refused => 0,
                    CloseReason::Closed => 1,
                    CloseReason::Reset => 2,
                });
            }
            Input::Timer(token) => self.pair(kind(5), token.0),
            Input::Serve(queue) => self.pair(kind(6), queue.code()),
            Input::Synced(token, outcome) => {
                self.pair(kind(7), token.0);
                self.mix(u64::from(outcome.is_ok()));
            }
            Input::Call(call, _) => self.pair(kind(8), call.0),
            Input::Admin(_) => self.mix(kind(9)),
            Input::Shutdown => self.mix(kind(10)),
        }
    }

    fn pair(&mut self, first: u64, second: u64) {
        self.mix(first);
        self.mix(second);
    }

    fn record(&mut self, at: Nanos, node: NodeId, input: &Input, size: u32) {
        self.close_step();
        let step = self.steps;
        if let Some(records) = &mut self.records {
            records.push(StepRecord {
                step,
                at_ns: at,
                node: node.0,
                input: describe(input, size),
                hash: 0,
            });
        }
    }

    fn partition(&mut self, tag: u64, at: &TopicPartition) {
        self.mix(tag);
        self.mix(at.topic.0 as u64);
        self.mix((at.topic.0 >> 64) as u64);
        self.mix(at.partition as u64);
    }

    fn numbers(&mut self, numbers: &[i64]) {
        for number in numbers {
            self.mix(*number as u64);
        }
    }

    fn brokers(&mut self, brokers: &[i32]) {
        self.mix(brokers.len() as u64);
        for broker in brokers {
            self.mix(*broker as u64);
        }
    }

    /// A process has emitted a fact.
    pub(super) fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::BrokerStarted { clean } => self.pair(100, u64::from(*clean)),
            Fact::LogRecovered {
                topic: _,
                partition,
                log_start,
                log_end,
                prefix,
                truncated_bytes,
            } => {
                self.pair(101, *partition as u64);
                self.pair(*log_start as u64, *prefix);
                self.pair(*log_end as u64, *truncated_bytes);
            }
            Fact::Appended {
                partition,
                base_offset,
                last_offset,
                leader_epoch,
                prefix,
                as_leader,
            } => {
                self.partition(102, partition);
                self.numbers(&[*base_offset, *last_offset, i64::from(*leader_epoch)]);
                self.pair(*prefix, u64::from(*as_leader));
            }
            Fact::Truncated {
                partition,
                from,
                to,
                high_watermark,
                anew,
            } => {
                self.partition(103, partition);
                self.numbers(&[*from, *to, *high_watermark, i64::from(*anew)]);
            }
            Fact::Flushed { partition, offset } => {
                self.partition(104, partition);
                self.mix(*offset as u64);
            }
            Fact::HighWatermark {
                partition,
                offset,
                as_leader,
            } => {
                self.partition(105, partition);
                self.pair(*offset as u64, u64::from(*as_leader));
            }
            Fact::BecameLeader {
                partition,
                leader_epoch,
                log_end,
            } => {
                self.partition(106, partition);
                self.numbers(&[i64::from(*leader_epoch), *log_end]);
            }
            Fact::BecameFollower {
                partition,
                leader_epoch,
                leader,
            } => {
                self.partition(107, partition);
                self.numbers(&[i64::from(*leader_epoch), i64::from(*leader)]);
            }
            fact => self.control_fact(fact),
        }
    }

    fn control_fact(&mut self, fact: &Fact) {
        match fact {
            Fact::IsrApplied {
                partition,
                isr,
                effective_min_isr,
            } => {
                self.partition(108, partition);
                self.brokers(isr);
                self.mix(*effective_min_isr as u64);
            }
            Fact::IsrProposed { partition, isr } => {
                self.partition(109, partition);
                self.brokers(isr);
            }
            Fact::ProduceArrived {
                partition,
                acks,
                records,
            } => {
                self.partition(119, partition);
                self.numbers(&[i64::from(*acks), records.len() as i64]);
            }
            Fact::ProduceAnswered {
                partition,
                base_offset,
                last_offset,
                acks,
                error,
            } => {
                self.partition(110, partition);
                self.numbers(&[*base_offset, *last_offset, i64::from(*acks)]);
                self.mix(*error as i16 as u64);
            }
            Fact::PartitionChanged {
                partition,
                leader,
                leader_epoch,
                isr,
                unclean,
            } => {
                self.partition(111, partition);
                self.numbers(&[i64::from(*leader), i64::from(*leader_epoch)]);
                self.brokers(isr);
                self.mix(u64::from(*unclean));
            }
            Fact::BrokerRegistered { broker, epoch } => {
                self.pair(112, *broker as u64);
                self.mix(*epoch as u64);
            }
            Fact::BrokerFenced { broker } => self.pair(113, *broker as u64),
            Fact::BrokerUnfenced { broker } => self.pair(114, *broker as u64),
            Fact::CoordinatorLoaded { partition } => self.pair(115, *partition as u64),
            Fact::OffsetCommitted {
                group: _,
                partition,
                offset,
            } => {
                self.partition(116, partition);
                self.mix(*offset as u64);
            }
            Fact::SegmentRolled {
                partition,
                base_offset,
            } => {
                self.partition(123, partition);
                self.mix(*base_offset as u64);
            }
            Fact::LogCleaned { partition, up_to } => {
                self.partition(125, partition);
                self.mix(*up_to as u64);
            }
            Fact::LogStartMoved {
                partition,
                offset,
                reason,
            } => {
                self.partition(124, partition);
                self.pair(*offset as u64, *reason as u64);
            }
            Fact::ShutdownBegan { controlled } => self.pair(120, u64::from(*controlled)),
            Fact::ShutDownCleanly { broker_epoch } => self.pair(121, *broker_epoch as u64),
            Fact::LogDirectoryOffline { error } => self.pair(122, *error as u64),
            Fact::ProducerIdAssigned { producer_id, epoch } => {
                self.pair(117, *producer_id as u64);
                self.mix(*epoch as u64);
            }
            Fact::PositionReset {
                partition,
                from,
                to,
                why,
            } => {
                self.partition(118, partition);
                self.numbers(&[*from, *to]);
                self.mix(*why as u64);
            }
            Fact::BrokerStarted { .. }
            | Fact::LogRecovered { .. }
            | Fact::Appended { .. }
            | Fact::Truncated { .. }
            | Fact::Flushed { .. }
            | Fact::HighWatermark { .. }
            | Fact::BecameLeader { .. }
            | Fact::BecameFollower { .. } => unreachable!("mixed in by fact()"),
        }
    }
}

fn describe(input: &Input, size: u32) -> String {
    match input {
        Input::Received(conn, Frame::Request(correlation, request)) => {
            let api = request.api();
            format!(
                "{api:?} request {correlation} on connection {}, {size} bytes",
                conn.0
            )
        }
        Input::Received(conn, Frame::Response(correlation, response)) => {
            let api = response.api();
            format!(
                "{api:?} response {correlation} on connection {}, {size} bytes",
                conn.0
            )
        }
        Input::Call(call, _) => format!("call {}", call.0),
        input => format!("{input:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everyack_broker::env::{ConnId, TimerToken};

    #[test]
    fn every_field_of_an_input_changes_the_hash() {
        let hash = |at, node, input: Input, size| {
            let mut trace = Trace::new(false);
            trace.input(at, NodeId(node), &input, size);
            trace.hash()
        };
        let hashes = [
            hash(1, 1, Input::Timer(TimerToken(1)), 0),
            hash(2, 1, Input::Timer(TimerToken(1)), 0),
            hash(1, 2, Input::Timer(TimerToken(1)), 0),
            hash(1, 1, Input::Timer(TimerToken(2)), 0),
            hash(1, 1, Input::Connected(ConnId(1)), 0),
            hash(1, 1, Input::Closed(ConnId(1), CloseReason::Closed), 0),
            hash(1, 1, Input::Closed(ConnId(1), CloseReason::Reset), 0),
        ];
        for (i, a) in hashes.iter().enumerate() {
            assert!(!hashes[..i].contains(a), "hash {i} repeats");
        }
    }

    #[test]
    fn order_of_inputs_changes_the_hash() {
        let run = |tokens: [u64; 2]| {
            let mut trace = Trace::new(true);
            for token in tokens {
                trace.input(5, NodeId(1), &Input::Timer(TimerToken(token)), 0);
            }
            let hash = trace.hash();
            assert_eq!(trace.take_records().last().map(|r| r.hash), Some(hash));
            hash
        };
        assert_ne!(run([1, 2]), run([2, 1]));
    }
}
