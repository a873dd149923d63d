//! The kernel of the world: every node, machine and link, and one agenda of events ordered by
//! (time, sequence). Pure and synchronous; it knows nothing of the runtime that hosts it.
//!
//! - [`network`] links, and connections that behave like TCP
//! - [`disk`] the page cache and what survives a power loss
//! - [`trouble`] stopped processes, failing and stalling disks, wrong clocks
//! - [`trace`] the hash over every input and fact
//!
//! The kernel calls each process itself, one input at a time, and applies what it puts out: frames
//! travel, timers run, queues serve with a service time drawn around the asked cost, syncs complete.
//! Every draw comes from a stream of its own (a link, a queue, a disk, an incarnation of a process),
//! so that a change in one shifts no other.
//!
//! Not modelled: the time that a step itself takes (its cost is what it asks of a queue), and
//! contention of the queues of one machine for its CPU.

mod agenda;
pub mod disk;
pub mod network;
pub(crate) mod purpose;
mod step;
#[cfg(test)]
mod tests;
pub mod trace;
mod trouble;

use crate::event::{Event, EventKind};
use crate::fault::Unsynced;
use crate::spec::WireMode;
use agenda::{Agenda, Due};
use disk::{Handles, SimDisk};
use everyack_broker::client::{Call, CallId, Reply};
use everyack_broker::controller::AdminCommand;
use everyack_broker::env::{ConnId, Input, Output, Process, Queue, Stream};
use everyack_broker::fact::Fact;
use everyack_broker::ids::NodeId;
use everyack_broker::time::{MILLIS, Nanos};
use everyack_broker::wire::Frame;
use network::{Host, LinkProfile, Network};
use std::collections::BTreeMap;
use trace::Trace;
use trouble::{Stalled, WallClock};

/// A machine: disk, wall clock, power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineId(pub u32);

/// Wall clock of every machine when a run begins: 14 November 2023, in milliseconds since 1970.
pub const WALL_CLOCK_START_MS: i64 = 1_700_000_000_000;

/// What one event was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing is due, now or ever.
    Idle,
    /// This node took an input.
    Stepped(NodeId),
    /// Something between the nodes: a packet swallowed, a timer of a dead process.
    Quiet,
    /// The driver's own event is due.
    Control(u64),
}

/// Counters of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events taken from the agenda.
    pub events: u64,
    /// Requests delivered to a process.
    pub requests: u64,
}

/// A queue of one process: when each of its servers is free again.
#[derive(Debug)]
struct Servers {
    queue: Queue,
    free_at: Vec<Nanos>,
    rng: Stream,
}

impl Servers {
    /// The server that is free before the others.
    fn free_first(&self) -> usize {
        let first = self.free_at.iter().enumerate().min_by_key(|(_, at)| **at);
        first.expect("a queue has a server").0
    }
}

struct Node<P> {
    machine: u32,
    process: Option<P>,
    rng: Stream,
    queues: Vec<Servers>,
    handles: Handles,
    /// Stopped by SIGSTOP; what comes meanwhile is held, with the size of its frame.
    paused: bool,
    held: Vec<(Input, u32)>,
}

struct MachineState {
    disk: SimDisk,
    clock: WallClock,
    /// Service times in percent of the normal ones.
    slowness_percent: u64,
    powered: bool,
    /// Items of queues that the stalled disk holds up.
    stalled: Vec<Stalled>,
    next_stalled: u64,
}

impl MachineState {
    fn wall_ms(&self, now: Nanos) -> i64 {
        WALL_CLOCK_START_MS + (now / MILLIS) as i64 + self.clock.error_ms(now)
    }
}

/// Frames of a node that do not get through for a while.
struct Hold {
    from: u32,
    pick: fn(&Frame) -> bool,
    kept: Vec<(ConnId, Frame)>,
}

/// Everything that the world holds.
pub struct Kernel<P: Process> {
    seed: u64,
    wire: WireMode,
    agenda: Agenda,
    network: Network,
    nodes: Vec<Node<P>>,
    /// What the network may know of the nodes; the same index.
    hosts: Vec<Host>,
    node_index: BTreeMap<NodeId, u32>,
    machines: Vec<MachineState>,
    machine_index: BTreeMap<MachineId, u32>,
    next_conn: u64,
    next_call: u64,
    out: Vec<Output>,
    step_facts: Vec<Fact>,
    watch: Option<fn(&Frame) -> bool>,
    holds: Vec<Hold>,
    trace: Trace,
    stats: Stats,
    /// The stream of events since the driver last took them: the kernel puts the facts of each step
    /// there, the driver what it does itself.
    pub events: Vec<Event>,
    /// Answers to applications since the driver last drained them.
    pub replies: Vec<(NodeId, CallId, Reply)>,
    /// Sender and receiver of each frame that the watch picked, at the instant of sending.
    pub watched: Vec<(NodeId, NodeId)>,
    /// Processes that halted of their own accord since the driver last drained them.
    pub halted: Vec<NodeId>,
}

impl<P: Process> Kernel<P> {
    /// An empty world; every draw comes from `seed`.
    pub fn new(seed: u64, wire: WireMode) -> Self {
        Kernel {
            seed,
            wire,
            agenda: Agenda::default(),
            network: Network::new(seed),
            nodes: Vec::new(),
            hosts: Vec::new(),
            node_index: BTreeMap::new(),
            machines: Vec::new(),
            machine_index: BTreeMap::new(),
            next_conn: 0,
            next_call: 0,
            out: Vec::new(),
            step_facts: Vec::new(),
            watch: None,
            holds: Vec::new(),
            trace: Trace::new(false),
            stats: Stats::default(),
            events: Vec::new(),
            replies: Vec::new(),
            watched: Vec::new(),
            halted: Vec::new(),
        }
    }

    /// Keeps a record of every step. To be called before the first one.
    pub fn record_steps(&mut self) {
        assert_eq!(self.trace.steps(), 0, "records begin with the first step");
        self.trace = Trace::new(true);
    }

    /// Picks frames whose sending the driver wants to see in `watched`.
    pub fn watch_sends(&mut self, pick: fn(&Frame) -> bool) {
        self.watch = Some(pick);
    }

    /// Adds a node that runs on a machine, which is created with the first node on it. No process
    /// lives there yet.
    pub fn add_node(&mut self, id: NodeId, machine: MachineId) {
        assert!(!self.node_index.contains_key(&id), "{id} exists already");
        let index = self.nodes.len() as u32;
        let machine = self.machine_or_new(machine);
        self.node_index.insert(id, index);
        self.hosts.push(Host {
            id,
            incarnation: 0,
            alive: false,
            powered: self.machines[machine as usize].powered,
        });
        self.nodes.push(Node {
            machine,
            process: None,
            rng: Stream::new(self.seed, purpose::process(id, 0)),
            queues: Vec::new(),
            handles: Handles::default(),
            paused: false,
            held: Vec::new(),
        });
    }

    fn machine_or_new(&mut self, id: MachineId) -> u32 {
        if let Some(index) = self.machine_index.get(&id) {
            return *index;
        }
        let index = self.machines.len() as u32;
        self.machines.push(MachineState {
            disk: SimDisk::new(Stream::new(self.seed, purpose::disk(id))),
            clock: WallClock::default(),
            slowness_percent: 100,
            powered: true,
            stalled: Vec::new(),
            next_stalled: 0,
        });
        self.machine_index.insert(id, index);
        index
    }

    fn index(&self, id: NodeId) -> u32 {
        *self
            .node_index
            .get(&id)
            .unwrap_or_else(|| panic!("{id} is not part of the world"))
    }

    fn machine(&self, id: MachineId) -> &MachineState {
        &self.machines[self.machine_slot(id)]
    }

    fn machine_slot(&self, id: MachineId) -> usize {
        *self
            .machine_index
            .get(&id)
            .unwrap_or_else(|| panic!("{id:?} is not part of the world")) as usize
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> Nanos {
        self.agenda.now()
    }

    /// Puts an event of the driver's own into the stream, at the present instant.
    pub fn record(&mut self, node: NodeId, kind: EventKind) {
        let at = self.agenda.now();
        self.events.push(Event { at, node, kind });
    }

    /// Counters so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Hash over every input and fact so far.
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// The trace, for its records.
    pub fn trace_mut(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// Starts a process on a node: a new incarnation, which takes its first input, `Start`, here and
    /// now. Answers the number of the incarnation, from 1.
    pub fn start(&mut self, id: NodeId, process: P) -> u32 {
        let index = self.index(id);
        let host = &mut self.hosts[index as usize];
        assert!(!host.alive, "{id} runs already");
        assert!(host.powered, "the machine of {id} has no power");
        host.alive = true;
        host.incarnation += 1;
        let incarnation = host.incarnation;
        let node = &mut self.nodes[index as usize];
        node.process = Some(process);
        node.rng = Stream::new(self.seed, purpose::process(id, incarnation));
        self.step(index, Input::Start, 0);
        incarnation
    }

    /// Kills the process (SIGKILL): its value is dropped at once, its machine keeps the page cache
    /// and tells the peers of its connections. Answers whether there was one.
    pub fn kill(&mut self, id: NodeId) -> bool {
        let index = self.index(id);
        if !self.hosts[index as usize].alive {
            return false;
        }
        self.bury(index);
        self.network.process_died(&mut self.agenda, index);
        let machine = self.nodes[index as usize].machine as usize;
        self.machines[machine].disk.process_died(index);
        true
    }

    fn bury(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        node.process = None;
        node.paused = false;
        node.held.clear();
        for servers in &mut node.queues {
            servers.free_at.fill(0);
        }
        let disk = &mut self.machines[node.machine as usize].disk;
        node.handles.close_all(disk);
        self.hosts[index as usize].alive = false;
    }

    /// Cuts the power of a machine: its processes are gone without a word, and the page cache with
    /// them, as `unsynced` says. Answers the bytes that no sync covered and how many of them the
    /// disk kept; `None` where the power was off already.
    pub fn power_off(&mut self, machine: MachineId, unsynced: Unsynced) -> Option<(u64, u64)> {
        let slot = self.machine_slot(machine);
        if !self.machines[slot].powered {
            return None;
        }
        self.machines[slot].powered = false;
        self.machines[slot].stalled.clear();
        for index in 0..self.nodes.len() as u32 {
            if self.nodes[index as usize].machine as usize != slot {
                continue;
            }
            self.hosts[index as usize].powered = false;
            if self.hosts[index as usize].alive {
                self.bury(index);
            }
            self.network.power_lost(index);
        }
        Some(self.machines[slot].disk.power_loss(unsynced))
    }

    /// Gives a machine power again. Its processes have to be started.
    pub fn power_on(&mut self, machine: MachineId) {
        let slot = self.machine_slot(machine);
        self.machines[slot].powered = true;
        for (node, host) in self.nodes.iter().zip(&mut self.hosts) {
            if node.machine as usize == slot {
                host.powered = true;
            }
        }
    }

    /// Whether a process lives on the node.
    pub fn is_alive(&self, id: NodeId) -> bool {
        self.hosts[self.index(id) as usize].alive
    }

    /// The incarnation that lives on the node, or lived last; 0 before the first.
    pub fn incarnation(&self, id: NodeId) -> u32 {
        self.hosts[self.index(id) as usize].incarnation
    }

    /// The process on a node, if one lives there.
    pub fn process(&self, id: NodeId) -> Option<&P> {
        self.nodes[self.index(id) as usize].process.as_ref()
    }

    /// The process on a node, for a driver that changes it from outside.
    pub fn process_mut(&mut self, id: NodeId) -> Option<&mut P> {
        let index = self.index(id);
        self.nodes[index as usize].process.as_mut()
    }

    /// Every node, in the order in which they were added.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.hosts.iter().map(|host| host.id)
    }

    /// The machine's disk, to look at.
    pub fn disk(&self, machine: MachineId) -> &SimDisk {
        &self.machine(machine).disk
    }

    /// Whether the machine has power.
    pub fn is_powered(&self, machine: MachineId) -> bool {
        self.machine(machine).powered
    }

    /// Sets a machine's service times in percent of the normal ones.
    pub fn set_slowness_percent(&mut self, machine: MachineId, percent: u64) {
        let slot = self.machine_slot(machine);
        self.machines[slot].slowness_percent = percent;
    }

    /// The profile of links that are used for the first time from now on.
    pub fn set_default_link_profile(&mut self, profile: LinkProfile) {
        self.network.set_profile(profile);
    }

    /// The profile of one link.
    pub fn set_link_profile(&mut self, from: NodeId, to: NodeId, profile: LinkProfile) {
        let (from, to) = (self.index(from), self.index(to));
        self.network
            .set_link_profile(&self.hosts, from, to, profile);
    }

    /// Cuts the link in this one direction.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        let (from, to) = (self.index(from), self.index(to));
        self.network.set_cut(&self.hosts, from, to, true);
    }

    /// Heals the link in this one direction.
    pub fn heal(&mut self, from: NodeId, to: NodeId) {
        let (from, to) = (self.index(from), self.index(to));
        self.network.set_cut(&self.hosts, from, to, false);
    }

    /// Whether the link is cut in this direction.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.network.is_cut(self.index(from), self.index(to))
    }

    /// Adds one-way latency to a link; 0 takes it away. In-order delivery makes it jump up at once
    /// and down only as far as what is in flight allows.
    pub fn set_extra_latency(&mut self, from: NodeId, to: NodeId, extra: Nanos) {
        let (from, to) = (self.index(from), self.index(to));
        self.network.set_extra(&self.hosts, from, to, extra);
    }

    /// Holds up those of a node's frames that are picked, until they are released.
    pub fn hold_sends(&mut self, from: NodeId, pick: fn(&Frame) -> bool) {
        let from = self.index(from);
        let kept = Vec::new();
        self.holds.push(Hold { from, pick, kept });
    }

    /// Sends what was held up of a node, in order, and holds nothing of it any more. What its sender has
    /// closed in the meantime vanishes.
    pub fn release_sends(&mut self, from: NodeId) {
        let from = self.index(from);
        let holds = std::mem::take(&mut self.holds);
        let (released, others) = holds.into_iter().partition(|hold| hold.from == from);
        self.holds = others;
        let released: Vec<Hold> = released;
        for (conn, frame) in released.into_iter().flat_map(|hold| hold.kept) {
            self.send(from, conn, frame);
        }
    }

    /// The network resets every connection between two nodes, and drops what is in flight. Both ends
    /// learn it at this instant. Answers how many there were.
    pub fn reset_connections(&mut self, a: NodeId, b: NodeId) -> usize {
        let (a, b) = (self.index(a), self.index(b));
        self.network.reset_between(&mut self.agenda, a, b)
    }

    /// Connections that some end still knows.
    pub fn connections(&self) -> usize {
        self.network.connections()
    }

    /// Schedules an event of the driver; [`Next::Control`] hands the token back.
    pub fn control(&mut self, at: Nanos, token: u64) {
        self.agenda.put(at, Due::Control(token));
    }

    /// An application calls its engine: a step at the present instant. `None` where no process
    /// lives.
    pub fn call(&mut self, id: NodeId, call: Call) -> Option<CallId> {
        let index = self.index(id);
        if !self.hosts[index as usize].alive {
            return None;
        }
        let id = CallId(self.next_call);
        self.next_call += 1;
        self.step(index, Input::Call(id, call), 0);
        Some(id)
    }

    /// The id that the next call will have.
    pub fn next_call_id(&self) -> CallId {
        CallId(self.next_call)
    }

    /// Tells a process to end in order (SIGTERM) at the present instant. Answers whether there is one;
    /// it is gone once it says so (`halted`).
    pub fn shut_down(&mut self, id: NodeId) -> bool {
        let index = self.index(id);
        let alive = self.hosts[index as usize].alive;
        if alive {
            self.step(index, Input::Shutdown, 0);
        }
        alive
    }

    /// Hands an operator's command to a process at the present instant. Answers whether there is one.
    pub fn admin(&mut self, id: NodeId, command: AdminCommand) -> bool {
        let index = self.index(id);
        let alive = self.hosts[index as usize].alive;
        if alive {
            self.step(index, Input::Admin(command), 0);
        }
        alive
    }
}
