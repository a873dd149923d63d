//! A scripted cluster for the engines' tests: it connects, answers ApiVersions and Metadata by
//! itself, and hands every other request to the test, which answers it or not.

use super::{Call, CallId, Reply};
use crate::disk::{Disk, DiskError, FileId};
use crate::env::{CloseReason, ConnId, Env, Input, Output, Process, Stream, SyncToken, TimerToken};
use crate::fact::Fact;
use crate::ids::*;
use crate::log::record::BatchBuilder;
use crate::time::{MILLIS, Nanos};
use crate::wire::*;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Clients have no disk.
struct NoDisk;

impl Disk for NoDisk {
    fn open(&mut self, _: &str) -> Result<FileId, DiskError> {
        unreachable!("a client opened a file")
    }
    fn close(&mut self, _: FileId) {
        unreachable!("a client closed a file")
    }
    fn exists(&self, _: &str) -> bool {
        unreachable!("a client looked for a file")
    }
    fn list(&self, _: &str) -> Vec<String> {
        unreachable!("a client listed files")
    }
    fn len(&self, _: FileId) -> u64 {
        unreachable!("a client asked for a length")
    }
    fn append(&mut self, _: FileId, _: &[u8]) -> Result<(), DiskError> {
        unreachable!("a client wrote")
    }
    fn read(&self, _: FileId, _: u64, _: u64) -> Result<Bytes, DiskError> {
        unreachable!("a client read")
    }
    fn truncate(&mut self, _: FileId, _: u64) -> Result<(), DiskError> {
        unreachable!("a client truncated")
    }
    fn rename(&mut self, _: &str, _: &str) -> Result<(), DiskError> {
        unreachable!("a client renamed")
    }
    fn delete(&mut self, _: &str) -> Result<(), DiskError> {
        unreachable!("a client deleted")
    }
    fn sync(&mut self, _: FileId, _: SyncToken) {
        unreachable!("a client synced")
    }
    fn sync_dir(&mut self, _: &str, _: SyncToken) {
        unreachable!("a client synced")
    }
}

/// The topic of the tests.
pub(super) const TOPIC_ID: TopicId = TopicId(77);

pub(super) fn topic() -> TopicName {
    "t".into()
}

/// A request that the engine sent and nobody has answered.
#[derive(Debug)]
pub(super) struct Pending {
    pub conn: ConnId,
    pub node: NodeId,
    id: i32,
    pub request: Request,
}

/// One engine and the cluster around it.
pub(super) struct Harness<P> {
    pub engine: P,
    pub now: Nanos,
    rng: Stream,
    next_conn: u64,
    next_call: u64,
    pub facts: Vec<Fact>,
    timers: BTreeSet<(Nanos, u64)>,
    open: BTreeMap<ConnId, NodeId>,
    inputs: VecDeque<Input>,
    /// Requests of each connection without an answer, and answers that wait for those before them:
    /// a broker answers in order.
    unanswered: BTreeMap<ConnId, VecDeque<(i32, Option<Response>)>>,
    pub pending: VecDeque<Pending>,
    pub replies: Vec<(CallId, Reply)>,
    /// Nodes that refuse connections.
    pub down: BTreeSet<NodeId>,
    /// Nodes that never answer a connect.
    pub hanging: BTreeSet<NodeId>,
    /// Leader and epoch of each partition of the topic; none at all: the topic is unknown.
    pub leaders: Vec<(BrokerId, LeaderEpoch)>,
    pub answer_metadata: bool,
    pub metadata_requests: usize,
    /// The id that InitProducerId gives; `None` leaves the request to the test.
    pub producer_id: Option<ProducerId>,
    /// The group's coordinator; `None` leaves the lookup to the test.
    pub coordinator: Option<BrokerId>,
    /// What OffsetFetch answers for each partition, offset and epoch; `None` leaves it to the test.
    pub committed: Option<Vec<(Offset, LeaderEpoch)>>,
}

impl<P: Process> Harness<P> {
    /// Three brokers, partition `p` led by broker `p` in epoch 5; the engine is started.
    pub(super) fn new(engine: P, partitions: usize) -> Self {
        let mut harness = Harness::stopped(engine, partitions);
        harness.step(Input::Start);
        harness
    }

    /// The same before `Input::Start`.
    pub(super) fn stopped(engine: P, partitions: usize) -> Self {
        Harness {
            engine,
            now: 1_000 * MILLIS,
            rng: Stream::new(42, 0),
            next_conn: 1,
            next_call: 1,
            facts: Vec::new(),
            timers: BTreeSet::new(),
            open: BTreeMap::new(),
            inputs: VecDeque::new(),
            unanswered: BTreeMap::new(),
            pending: VecDeque::new(),
            replies: Vec::new(),
            down: BTreeSet::new(),
            hanging: BTreeSet::new(),
            leaders: (0..partitions).map(|p| (p as BrokerId, 5)).collect(),
            answer_metadata: true,
            metadata_requests: 0,
            producer_id: Some(900),
            coordinator: Some(2),
            committed: Some(vec![(-1, -1); partitions]),
        }
    }

    pub(super) fn call(&mut self, what: Call) -> CallId {
        let call = CallId(self.next_call);
        self.next_call += 1;
        self.step(Input::Call(call, what));
        call
    }

    /// One input and all that follows from it at this instant.
    pub(super) fn step(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            let mut out = Vec::new();
            let mut env = Env {
                now: self.now,
                wall_ms: (self.now / MILLIS) as i64,
                disk: &mut NoDisk,
                rng: &mut self.rng,
                out: &mut out,
                facts: &mut self.facts,
                next_conn: &mut self.next_conn,
            };
            self.engine.step(input, &mut env);
            for output in out {
                self.output(output);
            }
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Connect(conn, node) if self.down.contains(&node) => {
                self.inputs
                    .push_back(Input::Closed(conn, CloseReason::Refused));
            }
            Output::Connect(conn, node) => {
                self.open.insert(conn, node);
                if !self.hanging.contains(&node) {
                    self.inputs.push_back(Input::Connected(conn));
                }
            }
            Output::Send(conn, Frame::Request(id, request)) => {
                let node = *self.open.get(&conn).expect("sent on a closed connection");
                let acks_0 = matches!(&*request, Request::Produce(p) if p.acks == 0);
                if !acks_0 {
                    let queue = self.unanswered.entry(conn).or_default();
                    queue.push_back((id, None));
                }
                self.receive(Pending {
                    conn,
                    node,
                    id,
                    request: *request,
                });
            }
            Output::Close(conn) => {
                self.open.remove(&conn).expect("closed twice");
                self.unanswered.remove(&conn);
                self.pending.retain(|p| p.conn != conn);
            }
            Output::Timer(at, TimerToken(token)) => {
                assert!(at >= self.now, "timer in the past");
                self.timers.insert((at, token));
            }
            Output::Reply(call, reply) => self.replies.push((call, reply)),
            other => panic!("an engine put out {other:?}"),
        }
    }

    fn receive(&mut self, pending: Pending) {
        let answer = match &pending.request {
            Request::ApiVersions(_) => Some(Response::ApiVersions(ApiVersionsResponse {
                error: ErrorCode::None,
                apis: Vec::new(),
            })),
            Request::Metadata(_) => {
                self.metadata_requests += 1;
                self.answer_metadata
                    .then(|| Response::Metadata(self.metadata()))
            }
            Request::InitProducerId(_) => self.producer_id.map(|id| {
                Response::InitProducerId(InitProducerIdResponse {
                    error: ErrorCode::None,
                    producer_id: id,
                    producer_epoch: 0,
                })
            }),
            Request::FindCoordinator(request) => self.coordinator.map(|node| {
                Response::FindCoordinator(FindCoordinatorResponse {
                    group: request.group.clone(),
                    node,
                    error: ErrorCode::None,
                })
            }),
            Request::OffsetFetch(request) => self
                .committed
                .as_ref()
                .map(|committed| Response::OffsetFetch(offsets(request, committed))),
            _ => None,
        };
        match answer {
            Some(answer) => self.queue_answer(&pending, answer),
            None => self.pending.push_back(pending),
        }
    }

    fn queue_answer(&mut self, pending: &Pending, answer: Response) {
        let conn = pending.conn;
        let Some(queue) = self.unanswered.get_mut(&conn) else {
            return;
        };
        let entry = queue.iter_mut().find(|(id, _)| *id == pending.id);
        entry.expect("answered twice").1 = Some(answer);
        while let Some((id, Some(_))) = queue.front() {
            let id = *id;
            let answer = queue.pop_front().and_then(|(_, answer)| answer);
            let answer = answer.expect("looked at just now");
            self.inputs
                .push_back(Input::Received(conn, Frame::response(id, answer)));
        }
    }

    /// What the cluster says of itself.
    pub(super) fn metadata(&self) -> MetadataResponse {
        let partitions =
            self.leaders
                .iter()
                .enumerate()
                .map(|(p, (leader, epoch))| PartitionMetadata {
                    error: match leader {
                        -1 => ErrorCode::LeaderNotAvailable,
                        _ => ErrorCode::None,
                    },
                    partition: p as i32,
                    leader: *leader,
                    leader_epoch: *epoch,
                    replicas: [0, 1, 2].into(),
                    isr: [0, 1, 2].into(),
                });
        let partitions: Vec<_> = partitions.collect();
        let known = !partitions.is_empty();
        MetadataResponse {
            brokers: vec![0, 1, 2],
            controller: 0,
            topics: vec![TopicMetadata {
                error: match known {
                    true => ErrorCode::None,
                    false => ErrorCode::UnknownTopicOrPartition,
                },
                name: topic(),
                id: match known {
                    true => TOPIC_ID,
                    false => TopicId(0),
                },
                partitions,
            }],
        }
    }

    /// Takes the oldest unanswered request of that kind.
    pub(super) fn take(&mut self, api: ApiKey) -> Pending {
        let at = self
            .pending
            .iter()
            .position(|p| p.request.api() == api)
            .unwrap_or_else(|| panic!("no {api:?} is waiting: {:?}", self.pending));
        self.pending.remove(at).expect("found just now")
    }

    /// How many requests of that kind wait.
    pub(super) fn count(&self, api: ApiKey) -> usize {
        self.pending
            .iter()
            .filter(|p| p.request.api() == api)
            .count()
    }

    pub(super) fn answer(&mut self, pending: &Pending, answer: Response) {
        self.queue_answer(pending, answer);
        self.drain();
    }

    /// The broker's process dies: its connections are reset, its requests are lost.
    pub(super) fn reset_connections(&mut self, node: NodeId) {
        let conns: Vec<ConnId> = self
            .open
            .iter()
            .filter(|(_, n)| **n == node)
            .map(|(c, _)| *c)
            .collect();
        for conn in conns {
            self.open.remove(&conn);
            self.unanswered.remove(&conn);
            self.pending.retain(|p| p.conn != conn);
            self.step(Input::Closed(conn, CloseReason::Reset));
        }
    }

    /// Lets simulated time pass; timers fire at their instants.
    pub(super) fn run_ms(&mut self, ms: u64) {
        let end = self.now + ms * MILLIS;
        while let Some((at, token)) = self.timers.first().copied().filter(|(at, _)| *at <= end) {
            self.timers.remove(&(at, token));
            self.now = at;
            self.step(Input::Timer(TimerToken(token)));
        }
        self.now = end;
    }

    /// Every reply to one call, in order.
    pub(super) fn replies_to(&self, call: CallId) -> Vec<Reply> {
        self.replies
            .iter()
            .filter(|(c, _)| *c == call)
            .map(|(_, reply)| reply.clone())
            .collect()
    }

    /// Connections open to a node.
    pub(super) fn connections_to(&self, node: NodeId) -> usize {
        self.open.values().filter(|n| **n == node).count()
    }
}

fn offsets(
    request: &OffsetFetchRequest,
    committed: &[(Offset, LeaderEpoch)],
) -> OffsetFetchResponse {
    let topics = request.topics.iter().map(|(topic, partitions)| {
        let found = partitions.iter().map(|p| FetchedOffset {
            partition: *p,
            offset: committed[*p as usize].0,
            leader_epoch: committed[*p as usize].1,
            error: ErrorCode::None,
        });
        (topic.clone(), found.collect())
    });
    OffsetFetchResponse {
        group: request.group.clone(),
        error: ErrorCode::None,
        topics: topics.collect(),
    }
}

/// A batch as a leader stored it; values are the offsets in decimal.
pub(super) fn stored_batch(base: Offset, count: i64, epoch: LeaderEpoch) -> Bytes {
    let mut builder = BatchBuilder::new();
    for offset in base..base + count {
        builder.append(1_000, None, Some(offset.to_string().as_bytes()), &[]);
    }
    builder.set_base(base, epoch);
    builder.build()
}
