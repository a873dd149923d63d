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

    /// Mixes two fields in: the folded product of a 64 by 64 bit multiplication.
    #[inline]
    fn mix(&mut self, first: u64, second: u64) {
        let product = u128::from(self.hash ^ first) * u128::from(MULTIPLIER ^ second);
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
        let of_node = u64::from(node.0) << 32;
        let kind = |kind: u64| of_node | kind;
        match input {
            Input::Start => self.mix(at, kind(0)),
            Input::Connected(conn) => {
                self.mix(at, kind(1));
                self.mix(conn.0, 0);
            }
            Input::Accepted(conn, from) => {
                self.mix(at, kind(2));
                self.mix(conn.0, u64::from(from.0));
            }
            Input::Received(conn, frame) => {
                let (correlation, api, response) = match frame {
                    Frame::Request(correlation, request) => (*correlation, request.api(), 0),
                    Frame::Response(correlation, response) => (*correlation, response.api(), 1),
                };
                let message = u64::from(api as i16 as u16) << 9 | response << 8;
                self.mix(at, kind(3) | message);
                self.mix(
                    conn.0,
                    u64::from(correlation as u32) << 32 | u64::from(size),
                );
            }
            Input::Closed(conn, reason) => {
                let reason = match reason {
                    CloseReason::Refused => 0,
                    CloseReason::Closed => 1,
                    CloseReason::Reset => 2,
                };
                self.mix(at, kind(4));
                self.mix(conn.0, reason);
            }
            Input::Timer(token) => {
                self.mix(at, kind(5));
                self.mix(token.0, 0);
            }
            Input::Serve(queue) => {
                self.mix(at, kind(6));
                self.mix(queue.code(), 0);
            }
            Input::Synced(token, outcome) => {
                self.mix(at, kind(7));
                self.mix(token.0, u64::from(outcome.is_ok()));
            }
            Input::Call(call, _) => {
                self.mix(at, kind(8));
                self.mix(call.0, 0);
            }
            Input::Admin(_) => self.mix(at, kind(9)),
            Input::Shutdown => self.mix(at, kind(10)),
        }
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

    /// The number of a kind of fact, and the partition that it is about.
    fn partition(&mut self, tag: u64, at: &TopicPartition) {
        self.mix(tag, at.partition as u64);
        self.mix(at.topic.0 as u64, (at.topic.0 >> 64) as u64);
    }

    fn brokers(&mut self, brokers: &[i32]) {
        self.mix(brokers.len() as u64, 0);
        for broker in brokers {
            self.mix(*broker as u64, 0);
        }
    }

    /// A process has emitted a fact.
    pub(super) fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::BrokerStarted { clean } => self.mix(100, u64::from(*clean)),
            Fact::LogRecovered {
                topic: _,
                partition,
                log_start,
                log_end,
                prefix,
                truncated_bytes,
                gaps: _,
            } => {
                self.mix(101, *partition as u64);
                self.mix(*log_start as u64, *prefix);
                self.mix(*log_end as u64, *truncated_bytes);
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
                self.mix(*base_offset as u64, *last_offset as u64);
                let role = u64::from(*leader_epoch as u32) << 1 | u64::from(*as_leader);
                self.mix(*prefix, role);
            }
            Fact::Truncated {
                partition,
                from,
                to,
                high_watermark,
                anew,
            } => {
                self.partition(103, partition);
                self.mix(*from as u64, *to as u64);
                self.mix(*high_watermark as u64, u64::from(*anew));
            }
            Fact::Flushed { partition, offset } => {
                self.partition(104, partition);
                self.mix(*offset as u64, 0);
            }
            Fact::HighWatermark {
                partition,
                offset,
                as_leader,
            } => {
                self.partition(105, partition);
                self.mix(*offset as u64, u64::from(*as_leader));
            }
            Fact::BecameLeader {
                partition,
                leader_epoch,
                log_end,
            } => {
                self.partition(106, partition);
                self.mix(*leader_epoch as u64, *log_end as u64);
            }
            Fact::BecameFollower {
                partition,
                leader_epoch,
                leader,
            } => {
                self.partition(107, partition);
                self.mix(*leader_epoch as u64, *leader as u64);
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
                self.mix(*effective_min_isr as u64, 0);
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
                self.mix(*acks as u64, records.len() as u64);
            }
            Fact::ProduceAnswered {
                partition,
                base_offset,
                last_offset,
                acks,
                error,
            } => {
                self.partition(110, partition);
                self.mix(*base_offset as u64, *last_offset as u64);
                self.mix(*acks as u64, *error as i16 as u64);
            }
            Fact::PartitionChanged {
                partition,
                leader,
                leader_epoch,
                isr,
                unclean,
            } => {
                self.partition(111, partition);
                self.mix(*leader as u64, *leader_epoch as u64);
                self.brokers(isr);
                self.mix(u64::from(*unclean), 0);
            }
            Fact::BrokerRegistered { broker, epoch } => {
                self.mix(112, *broker as u64);
                self.mix(*epoch as u64, 0);
            }
            Fact::BrokerFenced { broker } => self.mix(113, *broker as u64),
            Fact::BrokerUnfenced { broker } => self.mix(114, *broker as u64),
            Fact::CoordinatorLoaded { partition } => self.mix(115, *partition as u64),
            Fact::OffsetCommitted {
                group: _,
                partition,
                offset,
            } => {
                self.partition(116, partition);
                self.mix(*offset as u64, 0);
            }
            Fact::SegmentRolled {
                partition,
                base_offset,
            } => {
                self.partition(123, partition);
                self.mix(*base_offset as u64, 0);
            }
            Fact::LogCleaned { partition, up_to } => {
                self.partition(125, partition);
                self.mix(*up_to as u64, 0);
            }
            Fact::LogStartMoved {
                partition,
                offset,
                reason,
            } => {
                self.partition(124, partition);
                self.mix(*offset as u64, *reason as u64);
            }
            Fact::ShutdownBegan { controlled } => self.mix(120, u64::from(*controlled)),
            Fact::ShutDownCleanly { broker_epoch } => self.mix(121, *broker_epoch as u64),
            Fact::LogDirectoryOffline { error } => self.mix(122, *error as u64),
            Fact::RegistrationTimedOut => self.mix(126, 0),
            Fact::ProducerIdAssigned { producer_id, epoch } => {
                self.mix(117, *producer_id as u64);
                self.mix(*epoch as u64, 0);
            }
            Fact::PositionReset {
                partition,
                from,
                to,
                why,
            } => {
                self.partition(118, partition);
                self.mix(*from as u64, *to as u64);
                self.mix(*why as u64, 0);
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
    use everyack_broker::ids::TopicId;
    use everyack_broker::wire::*;

    fn received(conn: u64, frame: Frame) -> Input {
        Input::Received(ConnId(conn), frame)
    }

    fn asked() -> Request {
        Request::ApiVersions(ApiVersionsRequest)
    }

    fn answered() -> Response {
        Response::ApiVersions(ApiVersionsResponse {
            error: ErrorCode::None,
            apis: Vec::new(),
        })
    }

    #[test]
    fn every_field_of_a_fact_changes_the_hash() {
        let appended = |partition, base_offset, last_offset, leader_epoch, prefix, as_leader| {
            let mut trace = Trace::new(false);
            trace.fact(&Fact::Appended {
                partition: TopicPartition::new(TopicId(7), partition),
                base_offset,
                last_offset,
                leader_epoch,
                prefix,
                as_leader,
            });
            trace.hash()
        };
        let hashes = [
            appended(0, 1, 2, 3, 4, true),
            appended(1, 1, 2, 3, 4, true),
            appended(0, 2, 2, 3, 4, true),
            appended(0, 1, 3, 3, 4, true),
            appended(0, 1, 2, 4, 4, true),
            appended(0, 1, 2, 3, 5, true),
            appended(0, 1, 2, 3, 4, false),
        ];
        for (i, a) in hashes.iter().enumerate() {
            assert!(!hashes[..i].contains(a), "hash {i} repeats");
        }
    }

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
            hash(1, 1, received(1, Frame::request(1, asked())), 1),
            hash(1, 1, received(2, Frame::request(1, asked())), 1),
            hash(1, 1, received(1, Frame::request(2, asked())), 1),
            hash(1, 1, received(1, Frame::request(1, asked())), 2),
            hash(1, 1, received(1, Frame::response(1, answered())), 1),
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
