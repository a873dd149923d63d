//! One node of the process: a thread that owns a state machine and steps it.
//!
//! Everything comes in through one channel and is taken in its order: frames, connections, syncs that
//! are done. What the process puts into its queues is served at once, in the order in which it was put
//! there: the work happens in the step, so that there is always a server free. Timers fire at their time
//! or as soon after it as the thread gets to them. Syncs run on the runtime's blocking threads, and
//! nothing waits for them but what the process lets wait.
//!
//! Nodes of one process reach one another through their channels, with the typed values of a simulation:
//! what goes over sockets is what comes from outside. A client's request is told in the broker's words by
//! [`wire`](super::wire), with a look at the broker's own metadata.

use super::disk::RealDisk;
use super::telling;
use super::wire::{Endpoints, Finish, Incoming, Plan, View};
use crate::broker::Broker;
use crate::config::PropertyMap;
use crate::controller::Controller;
use crate::disk::DiskError;
use crate::env::*;
use crate::fact::Fact;
use crate::ids::NodeId;
use crate::log::inspect::{DiskFolder, inspect};
use crate::time::Nanos;
use crate::wire::{Frame, Request, Response};
use bytes::Bytes;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;

/// What reaches a node.
pub(super) enum Message {
    /// SIGTERM.
    Shutdown,
    /// A sync is done.
    Synced(SyncToken, Result<(), DiskError>),
    /// Another node connected.
    Opened(ConnId, NodeId),
    /// A frame from another node.
    Received(ConnId, Frame),
    /// The other node is gone, or closed the connection.
    Closed(ConnId, CloseReason),
    /// Somebody connected from outside; answers go there.
    ClientOpened(ConnId, UnboundedSender<Answer>),
    /// A request from outside. The next one comes when this one is answered.
    ClientRequest(ConnId, Box<Incoming>),
    /// The client is gone.
    ClientClosed(ConnId),
}

/// What a client's connection gets for a request.
pub(super) enum Answer {
    /// A frame, yet to be made.
    Unfinished(Finish, Vec<Response>),
    /// A frame.
    Frame(Bytes),
    /// There is no answer; the next request may come.
    Nothing,
}

/// What a node tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// The broker is registered and unfenced, the controller serves.
    Running(NodeId),
    /// It has ended, in order or not, and why where that is known.
    Ended(NodeId, Ending),
}

/// How a node has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// As it was asked to.
    InOrder,
    /// Its disk failed it.
    Failed(String),
    /// It panicked.
    Panicked(String),
}

/// A state machine that can be hosted.
pub(super) enum Machine {
    /// A broker.
    Broker(Box<Broker>),
    /// The controller.
    Controller(Box<Controller>),
}

impl Machine {
    fn step(&mut self, input: Input, env: &mut Env<'_>) {
        match self {
            Machine::Broker(broker) => broker.step(input, env),
            Machine::Controller(controller) => controller.step(input, env),
        }
    }

    fn is_running(&self) -> bool {
        match self {
            Machine::Broker(broker) => broker.is_running(),
            Machine::Controller(controller) => controller.log().is_some(),
        }
    }
}

/// What all nodes of a process share.
pub(super) struct Shared {
    /// Every node's channel.
    pub peers: BTreeMap<NodeId, Sender<Message>>,
    /// Where the brokers are.
    pub endpoints: Arc<Endpoints>,
    /// `cluster.id`.
    pub cluster_id: String,
    /// The brokers' properties.
    pub properties: PropertyMap,
    /// The zero of monotonic time.
    pub started: Instant,
    /// Runs what blocks.
    pub runtime: Handle,
    /// What nodes tell of themselves.
    pub events: UnboundedSender<Event>,
}

/// The other end of a connection.
enum Peer {
    Node(NodeId),
    Client(Client),
}

struct Client {
    to: UnboundedSender<Answer>,
    /// How many answers make the frame, those that are there, and what makes it of them.
    pending: Option<(usize, Vec<Response>, Finish)>,
}

/// A timer: the earliest first, and of one instant the one set first.
type Timer = std::cmp::Reverse<(Nanos, u64, TimerToken)>;

/// A node. See the head of this module.
pub(super) struct Node {
    id: NodeId,
    machine: Machine,
    disk: RealDisk,
    rng: Stream,
    shared: Arc<Shared>,
    inbox: Receiver<Message>,
    peers: BTreeMap<ConnId, Peer>,
    /// Connections whose request is not answered: they go on when the broker has it in hand no more.
    told: Vec<ConnId>,
    next_conn: u64,
    next_correlation: i32,
    /// Inputs that are due at once.
    due: VecDeque<Input>,
    timers: BinaryHeap<Timer>,
    next_timer: u64,
    out: Vec<Output>,
    facts: Vec<Fact>,
    is_shutting_down: bool,
    /// Its disk has failed.
    is_offline: bool,
    is_running: bool,
    halted: bool,
}

impl Node {
    /// A node that has not started. Connections of its own have ids above `first_conn`; `seed` is its
    /// randomness.
    pub fn new(
        id: NodeId,
        machine: Machine,
        disk: RealDisk,
        (seed, first_conn): (u64, u64),
        shared: Arc<Shared>,
        inbox: Receiver<Message>,
    ) -> Node {
        Node {
            id,
            machine,
            disk,
            rng: Stream::new(seed, u64::from(id.0)),
            shared,
            inbox,
            peers: BTreeMap::new(),
            told: Vec::new(),
            next_conn: first_conn,
            next_correlation: 0,
            due: VecDeque::new(),
            timers: BinaryHeap::new(),
            next_timer: 0,
            out: Vec::new(),
            facts: Vec::new(),
            is_shutting_down: false,
            is_offline: false,
            is_running: false,
            halted: false,
        }
    }

    /// What its disk refused last; where it refused nothing and the log directory is offline all the same,
    /// what is corrupt in it.
    fn what_failed(&mut self) -> String {
        if let Some(last) = self.disk.take_failures().pop() {
            return last;
        }
        let found = self
            .is_offline
            .then(|| inspect(&mut DiskFolder(&mut self.disk)).ok())
            .flatten();
        match found.and_then(|report| report.corrupt.into_iter().next()) {
            Some(first) => format!("its log directory is corrupt: {first}"),
            None => "it halted".to_string(),
        }
    }

    /// Runs until the process halts, and tells how that was.
    pub fn run(mut self) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.run_to_its_end()));
        let ending = match outcome {
            Ok(()) if self.is_shutting_down && !self.is_offline => Ending::InOrder,
            Ok(()) => Ending::Failed(self.what_failed()),
            Err(payload) => Ending::Panicked(super::message_of(&*payload)),
        };
        let reason = match ending {
            Ending::InOrder => CloseReason::Closed,
            Ending::Failed(_) | Ending::Panicked(_) => CloseReason::Reset,
        };
        for (conn, peer) in std::mem::take(&mut self.peers) {
            if let Peer::Node(peer) = peer {
                self.tell(peer, Message::Closed(conn, reason));
            }
        }
        // Whoever connects from here on is refused, once the channel is gone.
        while let Ok(message) = self.inbox.try_recv() {
            if let Message::Opened(conn, from) = message {
                self.tell(from, Message::Closed(conn, CloseReason::Refused));
            }
        }
        // Nobody listens where the whole process is going.
        let _ = self.shared.events.send(Event::Ended(self.id, ending));
    }

    fn run_to_its_end(&mut self) {
        self.step(Input::Start);
        while !self.halted {
            if let Some(input) = self.next_due() {
                self.step(input);
                continue;
            }
            match self.next_message() {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("a node holds its own sender"),
            }
        }
    }

    /// What is due before the next message is looked at.
    fn next_due(&mut self) -> Option<Input> {
        if let Some(input) = self.due.pop_front() {
            return Some(input);
        }
        let std::cmp::Reverse((at, _, token)) = *self.timers.peek()?;
        if at > self.now() {
            return None;
        }
        self.timers.pop();
        Some(Input::Timer(token))
    }

    fn next_message(&self) -> Result<Message, RecvTimeoutError> {
        // A reading of the clock less, where a message waits already.
        if let Ok(message) = self.inbox.try_recv() {
            return Ok(message);
        }
        match self.timers.peek() {
            Some(std::cmp::Reverse((at, ..))) => {
                let wait = Duration::from_nanos(at.saturating_sub(self.now()));
                self.inbox.recv_timeout(wait)
            }
            None => Ok(self.inbox.recv()?),
        }
    }

    fn now(&self) -> Nanos {
        u64::try_from(self.shared.started.elapsed().as_nanos()).expect("584 years have not passed")
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Shutdown => {
                self.is_shutting_down = true;
                self.step(Input::Shutdown);
            }
            Message::Synced(token, result) => self.step(Input::Synced(token, result)),
            Message::Opened(conn, from) => {
                self.peers.insert(conn, Peer::Node(from));
                self.step(Input::Accepted(conn, from));
            }
            Message::Received(conn, frame) => {
                if self.peers.contains_key(&conn) {
                    self.step(Input::Received(conn, frame));
                }
            }
            Message::Closed(conn, reason) => {
                if self.peers.remove(&conn).is_some() {
                    self.step(Input::Closed(conn, reason));
                }
            }
            Message::ClientOpened(conn, to) => {
                let pending = None;
                self.peers
                    .insert(conn, Peer::Client(Client { to, pending }));
                // Each is a client of its own; the number tells nobody anything.
                let number = NodeId::FIRST_CLIENT.saturating_add(conn.0 as u32 & 0x00ff_ffff);
                self.step(Input::Accepted(conn, NodeId(number)));
            }
            Message::ClientRequest(conn, incoming) => self.client_asks(conn, *incoming),
            Message::ClientClosed(conn) => {
                if self.peers.remove(&conn).is_some() {
                    self.step(Input::Closed(conn, CloseReason::Reset));
                }
            }
        }
    }

    // ---- clients ----------------------------------------------------------------------------

    fn client_asks(&mut self, conn: ConnId, incoming: Incoming) {
        let Some(Peer::Client(client)) = self.peers.get_mut(&conn) else {
            return;
        };
        let image = match &self.machine {
            Machine::Broker(broker) => broker.image().expect("it has started"),
            Machine::Controller(_) => panic!("clients reach no controller"),
        };
        let view = View {
            image,
            properties: &self.shared.properties,
            endpoints: &self.shared.endpoints,
            cluster_id: &self.shared.cluster_id,
        };
        match incoming.plan(&view) {
            Plan::Answer(frame) => {
                // A client that is gone is heard of by `ClientClosed`.
                let _ = client.to.send(Answer::Frame(frame));
            }
            Plan::Close => self.close(conn),
            Plan::Tell(request, close) => {
                self.ask(conn, request);
                if close {
                    self.close(conn);
                } else {
                    self.told.push(conn);
                    self.release_told();
                }
            }
            Plan::Ask(requests, finish) => {
                let answers = Vec::with_capacity(requests.len());
                client.pending = Some((requests.len(), answers, finish));
                for request in requests {
                    self.ask(conn, request);
                }
            }
        }
    }

    fn ask(&mut self, conn: ConnId, request: Request) {
        self.next_correlation = self.next_correlation.wrapping_add(1);
        let frame = Frame::request(self.next_correlation, request);
        self.step(Input::Received(conn, frame));
    }

    /// Closes a client's connection, as seen from both sides.
    fn close(&mut self, conn: ConnId) {
        if self.peers.remove(&conn).is_some() {
            self.step(Input::Closed(conn, CloseReason::Closed));
        }
    }

    /// Requests without an answer are over when the broker has none of their connection in hand.
    fn release_told(&mut self) {
        let Machine::Broker(broker) = &self.machine else {
            return;
        };
        let peers = &self.peers;
        self.told.retain(|conn| {
            if broker.is_handling(*conn) {
                return true;
            }
            if let Some(Peer::Client(client)) = peers.get(conn) {
                let _ = client.to.send(Answer::Nothing);
            }
            false
        });
    }

    fn answer(&mut self, conn: ConnId, response: Response) {
        let Some(Peer::Client(client)) = self.peers.get_mut(&conn) else {
            return;
        };
        let (wanted, answers, _) = client.pending.as_mut().expect("a request is answered once");
        answers.push(response);
        if answers.len() == *wanted {
            let (_, answers, finish) = client.pending.take().expect("seen above");
            let _ = client.to.send(Answer::Unfinished(finish, answers));
        }
    }

    // ---- steps ------------------------------------------------------------------------------

    fn step(&mut self, input: Input) {
        let now = self.now();
        self.machine.step(
            input,
            &mut Env {
                now,
                wall_ms: wall_ms(),
                disk: &mut self.disk,
                rng: &mut self.rng,
                out: &mut self.out,
                facts: &mut self.facts,
                next_conn: &mut self.next_conn,
            },
        );
        for job in self.disk.take_started() {
            let inbox = self.shared.peers[&self.id].clone();
            self.shared.runtime.spawn_blocking(move || {
                let (token, result) = job.run();
                // The node may have halted meanwhile.
                let _ = inbox.send(Message::Synced(token, result));
            });
        }
        for fact in self.facts.drain(..) {
            self.is_offline |= matches!(fact, Fact::LogDirectoryOffline { .. });
            telling::tell(self.id, &fact);
        }
        if !self.out.is_empty() {
            self.apply();
        }
        if !self.told.is_empty() {
            self.release_told();
        }
        if !self.is_running && self.machine.is_running() {
            self.is_running = true;
            let _ = self.shared.events.send(Event::Running(self.id));
        }
    }

    fn apply(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        for output in out.drain(..) {
            match output {
                Output::Send(conn, frame) => self.send(conn, frame),
                Output::Timer(at, token) => {
                    self.next_timer += 1;
                    let timer = (at, self.next_timer, token);
                    self.timers.push(std::cmp::Reverse(timer));
                }
                Output::Serve(queue, _) => self.due.push_back(Input::Serve(queue)),
                Output::Connect(conn, to) => {
                    if self.tell(to, Message::Opened(conn, self.id)) {
                        self.peers.insert(conn, Peer::Node(to));
                        self.due.push_back(Input::Connected(conn));
                    } else {
                        let refused = Input::Closed(conn, CloseReason::Refused);
                        self.due.push_back(refused);
                    }
                }
                Output::Close(conn) => {
                    // A client's connection closes with its channel.
                    if let Some(Peer::Node(peer)) = self.peers.remove(&conn) {
                        self.tell(peer, Message::Closed(conn, CloseReason::Closed));
                    }
                }
                Output::Reply(..) => panic!("nobody called"),
                Output::Halt => {
                    // Nothing is emitted after a halt.
                    self.halted = true;
                    break;
                }
            }
        }
        self.out = out;
    }

    fn send(&mut self, conn: ConnId, frame: Frame) {
        match (self.peers.get(&conn), frame) {
            (Some(Peer::Node(peer)), frame) => {
                if !self.tell(*peer, Message::Received(conn, frame)) {
                    self.peers.remove(&conn);
                    let reset = Input::Closed(conn, CloseReason::Reset);
                    self.due.push_back(reset);
                }
            }
            (Some(Peer::Client(_)), Frame::Response(_, response)) => self.answer(conn, *response),
            (Some(Peer::Client(_)), Frame::Request(..)) => panic!("a client is asked for nothing"),
            (None, _) => {}
        }
    }

    /// Whether the other node is there to hear it.
    fn tell(&self, node: NodeId, message: Message) -> bool {
        let peer = self.shared.peers.get(&node);
        peer.is_some_and(|peer| peer.send(message).is_ok())
    }
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
