//! The network: directed links between nodes, and connections that behave like Linux's TCP.
//!
//! A link has a base latency, drawn jitter and a bandwidth; each direction can be cut alone. A cut is
//! silent: it swallows whatever would arrive while it lasts. A connection delivers in order per
//! direction. What a cut swallowed is sent again when the retransmission timer fires, with
//! exponential back-off (RFC 6298 section 5.5), so that after a heal data comes only at the next
//! retransmission. Acknowledgements travel on the opposite link: while that one is cut, data already
//! sent arrives, but once the timer has fired nothing new leaves until an acknowledgement comes back.
//! A dead process' machine says so (what was handed to it before is delivered first), one without
//! power says nothing, and after it came back answers packets of connections that it does not know
//! with RST.
//!
//! Not modelled: segmentation of a frame, windows and slow start, packet loss other than by a cut,
//! keep-alive (Kafka enables it, Linux waits two hours), ICMP errors, ARP failures of a machine that
//! is off, and a process that connects to itself.

mod endings;
mod handshake;

use super::agenda::{Agenda, Due, Target};
use super::purpose;
use everyack_broker::env::{CloseReason, ConnId, Input, Stream};
use everyack_broker::ids::NodeId;
use everyack_broker::time::{MICROS, MILLIS, Nanos, SECONDS};
use everyack_broker::wire::Frame;
use std::collections::{BTreeMap, VecDeque};

/// First retransmission timeout: `TCP_RTO_MIN`, 200 ms in Linux (include/net/tcp.h); round trips here are far
/// shorter.
pub const RTO_MIN: Nanos = 200 * MILLIS;
/// Longest retransmission timeout: `TCP_RTO_MAX`, 120 s.
pub const RTO_MAX: Nanos = 120 * SECONDS;
/// Retransmissions before the sender gives up: `net.ipv4.tcp_retries2`, 15, which comes to 924.6 s.
pub const RETRIES: u32 = 15;
/// Retransmissions on behalf of a process that is gone: `net.ipv4.tcp_orphan_retries`, 0, means 8.
pub const ORPHAN_RETRIES: u32 = 8;
/// First timeout of a SYN: `TCP_TIMEOUT_INIT`, 1 s; it doubles, so SYNs leave 1, 3, 7, 15 .. s after the first.
pub const SYN_TIMEOUT: Nanos = SECONDS;
/// SYNs sent again before connect fails: `net.ipv4.tcp_syn_retries`, 6, so after 127 s.
pub const SYN_RETRIES: u32 = 6;

/// How a link behaves while nothing is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkProfile {
    /// Shortest one-way latency.
    pub base: Nanos,
    /// What the seed adds to it at most.
    pub jitter: Nanos,
    /// Picoseconds to put one byte on the wire; 8000 is 1 Gbit/s.
    pub picos_per_byte: u64,
}

impl LinkProfile {
    /// A data centre: 100 to 500 µs one way, 1 Gbit/s.
    pub const DEFAULT: LinkProfile = LinkProfile {
        base: 100 * MICROS,
        jitter: 400 * MICROS,
        picos_per_byte: 8000,
    };
}

/// What the network needs to know of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host {
    pub id: NodeId,
    pub incarnation: u32,
    /// Its process lives, and listens.
    pub alive: bool,
    /// Its machine has power.
    pub powered: bool,
}

/// One direction between two nodes.
#[derive(Debug)]
struct Link {
    profile: LinkProfile,
    extra: Nanos,
    cut: bool,
    /// When the wire has taken everything that was put on it.
    busy_until: Nanos,
    rng: Stream,
}

impl Link {
    /// When a packet sent now arrives.
    fn arrival(&mut self, now: Nanos, bytes: u32) -> Nanos {
        let wire = u64::from(bytes) * self.profile.picos_per_byte / 1000;
        self.busy_until = self.busy_until.max(now) + wire;
        self.busy_until + self.profile.base + self.extra + self.rng.below(self.profile.jitter + 1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndState {
    /// The server's end before a SYN arrived.
    Absent,
    /// The client waits for the SYN-ACK.
    Connecting,
    /// The server has answered the SYN; its process does not know of the connection yet.
    Embryonic,
    Open,
    /// The kernel of the machine has no such connection any more.
    Gone,
}

#[derive(Debug)]
struct End {
    node: u32,
    incarnation: u32,
    state: EndState,
}

/// What travels in order on a connection.
#[derive(Debug)]
enum Payload {
    /// The last packet of the handshake: the server's process accepts.
    Open,
    Frame(Frame),
    /// The sender closed in order.
    Fin,
    /// The sender's process is gone.
    Killed,
}

#[derive(Debug)]
struct Segment {
    sent_at: Nanos,
    size: u32,
    payload: Payload,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Pipe {
    /// Everything not yet delivered, in order.
    queue: VecDeque<Segment>,
    /// How many from the front are on the wire.
    in_flight: u32,
    /// Number of the present flight; arrivals of earlier ones are void.
    flight: u32,
    /// Number of the present retransmission timer.
    timer: u32,
    timer_runs: bool,
    /// Timeouts in a row.
    attempt: u32,
    /// A cut swallowed the first segment of the queue.
    lost: bool,
    /// Something was delivered whose acknowledgement a cut swallowed.
    unacked: bool,
    /// The timer fired and no acknowledgement came since: nothing new leaves.
    stalled: bool,
    /// The sender's machine lost power: nothing is sent again.
    abandoned: bool,
    last_arrival: Nanos,
}

impl Pipe {
    fn blocked(&self) -> bool {
        self.lost || self.stalled
    }

    fn clear(&mut self) {
        self.queue.clear();
        self.in_flight = 0;
        self.flight += 1;
        self.timer += 1;
        self.timer_runs = false;
        self.lost = false;
    }
}

#[derive(Debug)]
struct Conn {
    id: ConnId,
    /// The client's end and the server's.
    ends: [End; 2],
    /// `pipes[i]` leads away from `ends[i]`.
    pipes: [Pipe; 2],
    /// `links[i]` leads away from `ends[i]`.
    links: [u32; 2],
    syn_attempt: u32,
    syn_sent_at: Nanos,
}

const NO_SLOT: u32 = u32::MAX;

/// An input for a node, with the encoded size of its frame.
pub(super) type Delivery = Option<(u32, Input, u32)>;

/// All links and connections.
#[derive(Debug)]
pub(super) struct Network {
    seed: u64,
    profile: LinkProfile,
    links: Vec<Link>,
    link_index: BTreeMap<(u32, u32), u32>,
    conns: Vec<Option<Conn>>,
    free: Vec<u32>,
    /// Slot of each connection id.
    slots: Vec<u32>,
}

impl Network {
    pub fn new(seed: u64) -> Network {
        Network {
            seed,
            profile: LinkProfile::DEFAULT,
            links: Vec::new(),
            link_index: BTreeMap::new(),
            conns: Vec::new(),
            free: Vec::new(),
            slots: Vec::new(),
        }
    }

    /// The profile of links that are used for the first time from now on.
    pub fn set_profile(&mut self, profile: LinkProfile) {
        self.profile = profile;
    }

    fn link(&mut self, hosts: &[Host], from: u32, to: u32) -> u32 {
        if let Some(index) = self.link_index.get(&(from, to)) {
            return *index;
        }
        let (from_id, to_id) = (hosts[from as usize].id, hosts[to as usize].id);
        let index = self.links.len() as u32;
        self.links.push(Link {
            profile: self.profile,
            extra: 0,
            cut: false,
            busy_until: 0,
            rng: Stream::new(self.seed, purpose::link(from_id, to_id)),
        });
        self.link_index.insert((from, to), index);
        index
    }

    pub fn set_cut(&mut self, hosts: &[Host], from: u32, to: u32, cut: bool) {
        let link = self.link(hosts, from, to);
        self.links[link as usize].cut = cut;
    }

    pub fn is_cut(&self, from: u32, to: u32) -> bool {
        self.link_index
            .get(&(from, to))
            .is_some_and(|link| self.links[*link as usize].cut)
    }

    pub fn set_extra(&mut self, hosts: &[Host], from: u32, to: u32, extra: Nanos) {
        let link = self.link(hosts, from, to);
        self.links[link as usize].extra = extra;
    }

    pub fn set_link_profile(&mut self, hosts: &[Host], from: u32, to: u32, profile: LinkProfile) {
        let link = self.link(hosts, from, to);
        self.links[link as usize].profile = profile;
    }

    /// Connections that some end still knows.
    pub fn connections(&self) -> usize {
        self.conns.len() - self.free.len()
    }

    fn slot(&self, conn: ConnId) -> Option<usize> {
        match self.slots.get(conn.0 as usize) {
            None | Some(&NO_SLOT) => None,
            Some(slot) => Some(*slot as usize),
        }
    }

    fn conn(&mut self, conn: ConnId) -> Option<&mut Conn> {
        let slot = self.slot(conn)?;
        self.conns[slot].as_mut()
    }

    /// Splits the borrow: the connection, and the links.
    fn split(&mut self, conn: ConnId) -> Option<(&mut Conn, &mut [Link])> {
        let slot = self.slot(conn)?;
        Some((self.conns[slot].as_mut()?, &mut self.links))
    }

    fn release(&mut self, conn: ConnId) {
        if let Some(slot) = self.slot(conn) {
            self.conns[slot] = None;
            self.slots[conn.0 as usize] = NO_SLOT;
            self.free.push(slot as u32);
        }
    }

    fn release_if_gone(&mut self, conn: ConnId) {
        let gone = |end: &End| end.state == EndState::Gone;
        if self
            .conn(conn)
            .is_some_and(|conn| conn.ends.iter().all(gone))
        {
            self.release(conn);
        }
    }

    /// Which end of the connection this node holds open or half open.
    fn side(conn: &Conn, node: u32) -> usize {
        if conn.ends[0].node == node { 0 } else { 1 }
    }

    /// `Output::Send`. Answers the node at the other end; what is sent on a connection that is gone
    /// vanishes.
    pub fn send(
        &mut self,
        agenda: &mut Agenda,
        from: u32,
        id: ConnId,
        frame: Frame,
        size: u32,
    ) -> Option<u32> {
        let (conn, links) = self.split(id)?;
        let side = Self::side(conn, from);
        if conn.ends[side].state != EndState::Open {
            return None;
        }
        Self::enqueue(agenda, conn, links, side, Payload::Frame(frame), size);
        Some(conn.ends[1 - side].node)
    }

    /// `Output::Close`.
    pub fn close(&mut self, agenda: &mut Agenda, from: u32, id: ConnId) {
        let Some((conn, links)) = self.split(id) else {
            return;
        };
        let side = Self::side(conn, from);
        match conn.ends[side].state {
            EndState::Connecting => self.release(id),
            EndState::Open => {
                conn.ends[side].state = EndState::Gone;
                Self::enqueue(agenda, conn, links, side, Payload::Fin, 0);
                self.release_if_gone(id);
            }
            EndState::Absent | EndState::Embryonic | EndState::Gone => {}
        }
    }

    fn enqueue(
        agenda: &mut Agenda,
        conn: &mut Conn,
        links: &mut [Link],
        side: usize,
        payload: Payload,
        size: u32,
    ) {
        let now = agenda.now();
        conn.pipes[side].queue.push_back(Segment {
            sent_at: now,
            size,
            payload,
        });
        if !conn.pipes[side].blocked() {
            Self::transmit(agenda, conn, links, side);
        }
    }

    /// Puts everything that waits on the wire.
    fn transmit(agenda: &mut Agenda, conn: &mut Conn, links: &mut [Link], side: usize) {
        let now = agenda.now();
        let id = conn.id;
        let link = &mut links[conn.links[side] as usize];
        let pipe = &mut conn.pipes[side];
        if link.cut {
            if pipe.in_flight == 0 && !pipe.queue.is_empty() {
                Self::segment_lost(agenda, conn, side);
            }
            // Behind segments in flight it waits: these will be swallowed too, or the link heals
            // before they arrive, and then `arrive` sends what waits.
            return;
        }
        while (pipe.in_flight as usize) < pipe.queue.len() {
            let segment = &mut pipe.queue[pipe.in_flight as usize];
            segment.sent_at = now;
            pipe.last_arrival = link.arrival(now, segment.size).max(pipe.last_arrival);
            pipe.in_flight += 1;
            agenda.put(pipe.last_arrival, Due::Arrive(id, side as u8, pipe.flight));
        }
    }

    /// The first segment was swallowed; what follows it in flight waits at the receiver for it.
    fn segment_lost(agenda: &mut Agenda, conn: &mut Conn, side: usize) {
        let pipe = &mut conn.pipes[side];
        pipe.flight += 1;
        pipe.in_flight = 0;
        if pipe.abandoned {
            return pipe.clear();
        }
        pipe.lost = true;
        let sent_at = pipe.queue[0].sent_at;
        Self::start_timer(agenda, conn, side, sent_at);
    }

    fn start_timer(agenda: &mut Agenda, conn: &mut Conn, side: usize, since: Nanos) {
        let pipe = &mut conn.pipes[side];
        if !pipe.timer_runs {
            pipe.timer_runs = true;
            pipe.timer += 1;
            let timeout = (RTO_MIN << pipe.attempt.min(16)).min(RTO_MAX);
            let due = Due::Retransmit(conn.id, side as u8, pipe.timer);
            agenda.put(since + timeout, due);
        }
    }

    /// The first segment of a direction arrives, or would.
    pub fn arrive(
        &mut self,
        agenda: &mut Agenda,
        hosts: &[Host],
        id: ConnId,
        side: u8,
        flight: u32,
    ) -> Delivery {
        let side = usize::from(side);
        let (conn, links) = self.split(id)?;
        if conn.pipes[side].flight != flight {
            return None;
        }
        let receiver = hosts[conn.ends[1 - side].node as usize];
        if links[conn.links[side] as usize].cut || !receiver.powered {
            Self::segment_lost(agenda, conn, side);
            return None;
        }
        let end = &conn.ends[1 - side];
        let known = matches!(end.state, EndState::Open | EndState::Embryonic)
            && receiver.alive
            && receiver.incarnation == end.incarnation;
        let back_cut = links[conn.links[1 - side] as usize].cut;
        if !known {
            self.answer_with_rst(agenda, id, side, back_cut);
            return None;
        }
        let pipe = &mut conn.pipes[side];
        let segment = pipe.queue.pop_front().expect("a segment is in flight");
        pipe.in_flight -= 1;
        pipe.lost = false;
        if back_cut {
            pipe.unacked = true;
            Self::start_timer(agenda, conn, side, segment.sent_at);
        } else {
            Self::acknowledged(agenda, conn, links, side);
        }
        // What arrives carries the acknowledgement of the other direction.
        if conn.pipes[1 - side].unacked {
            Self::acknowledged(agenda, conn, links, 1 - side);
        }
        self.deliver(hosts, id, side, segment)
    }

    /// Everything that this direction delivered is acknowledged: what waits may leave.
    fn acknowledged(agenda: &mut Agenda, conn: &mut Conn, links: &mut [Link], side: usize) {
        let pipe = &mut conn.pipes[side];
        pipe.unacked = false;
        if pipe.lost {
            return;
        }
        pipe.stalled = false;
        pipe.attempt = 0;
        if pipe.timer_runs {
            pipe.timer_runs = false;
            pipe.timer += 1;
        }
        if (pipe.in_flight as usize) < pipe.queue.len() {
            Self::transmit(agenda, conn, links, side);
        }
    }

    fn deliver(&mut self, hosts: &[Host], id: ConnId, side: usize, segment: Segment) -> Delivery {
        let conn = self.conn(id)?;
        let node = conn.ends[1 - side].node;
        let end = &mut conn.ends[1 - side];
        let input = match segment.payload {
            Payload::Open => {
                end.state = EndState::Open;
                let client = hosts[conn.ends[side].node as usize].id;
                Input::Accepted(id, client)
            }
            Payload::Frame(frame) => Input::Received(id, frame),
            Payload::Fin | Payload::Killed => {
                end.state = EndState::Gone;
                conn.pipes[1 - side].clear();
                self.release_if_gone(id);
                let reason = match segment.payload {
                    Payload::Fin => CloseReason::Closed,
                    _ => CloseReason::Reset,
                };
                Input::Closed(id, reason)
            }
        };
        Some((node, input, segment.size))
    }

    /// A segment reached a machine that has no such connection. If its answer is cut off, the
    /// sender hears nothing and sends again.
    fn answer_with_rst(&mut self, agenda: &mut Agenda, id: ConnId, side: usize, back_cut: bool) {
        let Some((conn, links)) = self.split(id) else {
            return;
        };
        if back_cut {
            Self::segment_lost(agenda, conn, side);
            return;
        }
        conn.pipes[side].clear();
        conn.pipes[side].stalled = false;
        conn.pipes[side].unacked = false;
        let at = links[conn.links[1 - side] as usize].arrival(agenda.now(), 0);
        agenda.put(at, Due::Rst(id, side as u8));
    }

    /// An RST reaches this end.
    pub fn rst(&mut self, id: ConnId, side: u8) -> Delivery {
        let side = usize::from(side);
        let (conn, links) = self.split(id)?;
        if links[conn.links[1 - side] as usize].cut {
            // Swallowed; the next segment will bring another.
            return None;
        }
        self.abort(id, side)
    }

    /// This end is closed with `Reset` here and now.
    pub fn abort(&mut self, id: ConnId, side: usize) -> Delivery {
        let conn = self.conn(id)?;
        if conn.ends[side].state != EndState::Open {
            return None;
        }
        let node = conn.ends[side].node;
        conn.ends[side].state = EndState::Gone;
        conn.pipes[side].clear();
        self.release_if_gone(id);
        Some((node, Input::Closed(id, CloseReason::Reset), 0))
    }

    /// A retransmission timer fired.
    pub fn retransmit(
        &mut self,
        agenda: &mut Agenda,
        hosts: &[Host],
        id: ConnId,
        side: u8,
        timer: u32,
    ) -> Delivery {
        let side = usize::from(side);
        let (conn, links) = self.split(id)?;
        let orphan = conn.ends[side].state == EndState::Gone;
        let receiver = hosts[conn.ends[1 - side].node as usize];
        let forward = !links[conn.links[side] as usize].cut && receiver.powered;
        let back = !links[conn.links[1 - side] as usize].cut;
        let pipe = &mut conn.pipes[side];
        if pipe.timer != timer || !pipe.timer_runs {
            return None;
        }
        pipe.timer_runs = false;
        pipe.attempt += 1;
        pipe.stalled = true;
        let limit = if orphan { ORPHAN_RETRIES } else { RETRIES };
        if pipe.attempt > limit {
            pipe.clear();
            return self.abort(id, side);
        }
        if forward && back {
            // The segment, or its repetition, arrives and is acknowledged. What follows leaves at
            // once: with a fresh acknowledgement the sender has everything that it may send.
            pipe.unacked = false;
            pipe.stalled = false;
            pipe.lost = false;
            if pipe.queue.is_empty() || pipe.in_flight > 0 {
                pipe.attempt = 0;
            }
            if (pipe.in_flight as usize) < pipe.queue.len() {
                Self::transmit(agenda, conn, links, side);
            }
            return None;
        }
        if forward && pipe.lost && !pipe.unacked && pipe.in_flight == 0 {
            // The oldest segment alone is repeated; it arrives, unheard of.
            Self::transmit_first(agenda, conn, links, side);
        }
        let now = agenda.now();
        Self::start_timer(agenda, conn, side, now);
        None
    }

    fn transmit_first(agenda: &mut Agenda, conn: &mut Conn, links: &mut [Link], side: usize) {
        let now = agenda.now();
        let pipe = &mut conn.pipes[side];
        let link = &mut links[conn.links[side] as usize];
        if let Some(segment) = pipe.queue.front_mut() {
            segment.sent_at = now;
            pipe.last_arrival = link.arrival(now, segment.size).max(pipe.last_arrival);
            pipe.in_flight = 1;
            let due = Due::Arrive(conn.id, side as u8, pipe.flight);
            agenda.put(pipe.last_arrival, due);
        }
    }

    /// Whether an event's incarnation is that of a living process.
    pub fn is_current(hosts: &[Host], target: Target) -> bool {
        let host = &hosts[target.node as usize];
        host.alive && host.incarnation == target.incarnation
    }
}
