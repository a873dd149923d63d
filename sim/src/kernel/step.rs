//! One event: taking it from the agenda, stepping the process that it concerns, applying what comes out.

use super::agenda::{Due, Target};
use super::disk::{DiskHandle, Owner};
use super::network::{Delivery, Network};
use super::{Kernel, Next, Servers, purpose};
use crate::event::{Event, EventKind, FaultEvent};
use crate::parts::{Part, enter};
use crate::spec::WireMode;
use everyack_broker::env::{ConnId, Env, Input, Output, Process, Queue, Stream};
use everyack_broker::ids::NodeId;
use everyack_broker::time::Nanos;
use everyack_broker::wire::{Frame, codec};

impl<P: Process> Kernel<P> {
    /// Moves time to the next event and processes it.
    #[allow(clippy::should_implement_trait)] // an event is not an item: the kernel goes on for ever
    pub fn next(&mut self) -> Next {
        let Some(due) = self.agenda.pop() else {
            return Next::Idle;
        };
        self.stats.events += 1;
        match due {
            Due::Timer(target, token) => self.step_current(target, Input::Timer(token)),
            Due::Serve(target, queue) => self.serve_now(target, queue),
            Due::StallOver(machine, number) => {
                match self.machines[machine as usize].stall_over(number) {
                    Some((target, queue)) => self.step_current(target, Input::Serve(queue)),
                    None => Next::Quiet,
                }
            }
            Due::Control(token) => Next::Control(token),
            Due::DiskSync(machine, id) => match self.machines[machine as usize].disk.complete(id) {
                Some((owner, token, outcome)) => self.step_current(
                    Target {
                        node: owner.node,
                        incarnation: owner.incarnation,
                    },
                    Input::Synced(token, outcome),
                ),
                None => Next::Quiet,
            },
            due => {
                let delivery = self.network_event(due);
                self.hand_over(delivery)
            }
        }
    }

    /// Moves time on, event by event, until one has left something for the driver: in the stream, an
    /// answer to an application, a process that halted, a frame that the watch picked, or the driver's
    /// own event.
    pub fn run_until_news(&mut self) -> Next {
        loop {
            let next = self.next();
            let quiet = matches!(next, Next::Stepped(_) | Next::Quiet)
                && self.events.is_empty()
                && self.replies.is_empty()
                && self.watched.is_empty()
                && self.halted.is_empty();
            if !quiet {
                return next;
            }
        }
    }

    fn network_event(&mut self, due: Due) -> Delivery {
        let _part = enter(Part::Network);
        let (network, agenda, hosts) = (&mut self.network, &mut self.agenda, &self.hosts);
        match due {
            Due::Arrive(conn, side, flight) => network.arrive(agenda, hosts, conn, side, flight),
            Due::Retransmit(conn, side, timer) => {
                network.retransmit(agenda, hosts, conn, side, timer)
            }
            Due::Syn(conn) => {
                network.syn(agenda, hosts, conn);
                None
            }
            Due::SynRetry(conn) => network.syn_retry(agenda, conn),
            Due::SynAck(conn) => network.syn_ack(agenda, conn),
            Due::Refusal(conn) => network.refusal(agenda, conn),
            Due::Rst(conn, side) => network.rst(conn, side),
            Due::Aborted(conn, side) => network.abort(conn, usize::from(side)),
            Due::Timer(..)
            | Due::Serve(..)
            | Due::StallOver(..)
            | Due::DiskSync(..)
            | Due::Control(_) => unreachable!("not the network's"),
        }
    }

    fn hand_over(&mut self, delivery: Delivery) -> Next {
        let Some((node, mut input, size)) = delivery else {
            return Next::Quiet;
        };
        if !self.hosts[node as usize].alive {
            return Next::Quiet;
        }
        if matches!(input, Input::Received(_, Frame::Request(..))) {
            self.stats.requests += 1;
        }
        if self.wire == WireMode::Bytes {
            input = match input {
                Input::Received(conn, frame) => Input::Received(conn, through_bytes(frame, size)),
                input => input,
            };
        }
        self.step(node, input, size);
        Next::Stepped(self.hosts[node as usize].id)
    }

    /// A server has worked on an item: it is served, unless the disk stalls.
    fn serve_now(&mut self, target: Target, queue: Queue) -> Next {
        let machine = self.nodes[target.node as usize].machine;
        match self.machines[machine as usize].put_off(target, queue) {
            None => self.step_current(target, Input::Serve(queue)),
            Some((stall, number)) => {
                let at = self.agenda.now() + stall;
                self.agenda.put(at, Due::StallOver(machine, number));
                Next::Quiet
            }
        }
    }

    fn step_current(&mut self, target: Target, input: Input) -> Next {
        if !Network::is_current(&self.hosts, target) {
            return Next::Quiet;
        }
        self.step(target.node, input, 0);
        Next::Stepped(self.hosts[target.node as usize].id)
    }

    /// Steps a living process; `size` is the encoded size of the frame that it is given.
    pub(super) fn step(&mut self, index: u32, input: Input, size: u32) {
        let _part = enter(Part::Events);
        let now = self.agenda.now();
        let host = self.hosts[index as usize];
        let node = &mut self.nodes[index as usize];
        if node.paused {
            node.held.push((input, size));
            return;
        }
        let machine = &mut self.machines[node.machine as usize];
        let wall_ms = machine.wall_ms(now);
        let process = node.process.as_mut().expect("only the living are stepped");
        self.trace.input(now, host.id, &input, size);
        let mut disk = DiskHandle {
            disk: &mut machine.disk,
            handles: &mut node.handles,
            owner: Owner {
                node: index,
                incarnation: host.incarnation,
            },
        };
        process.step(
            input,
            &mut Env {
                now,
                wall_ms,
                disk: &mut disk,
                rng: &mut node.rng,
                out: &mut self.out,
                facts: &mut self.step_facts,
                next_conn: &mut self.next_conn,
            },
        );
        if machine.disk.has_started() {
            for (id, at) in machine.disk.schedule_started(now) {
                self.agenda.put(at, Due::DiskSync(node.machine, id));
            }
        }
        if machine.disk.has_failed() {
            for (operation, error) in machine.disk.take_failed() {
                let failed = FaultEvent::DiskFailed { operation, error };
                self.events.push(Event {
                    at: now,
                    node: host.id,
                    kind: EventKind::Fault(failed),
                });
            }
        }
        if !self.step_facts.is_empty() {
            for fact in self.step_facts.drain(..) {
                self.trace.fact(&fact);
                self.events.push(Event {
                    at: now,
                    node: host.id,
                    kind: EventKind::Fact(fact),
                });
            }
        }
        if !self.out.is_empty() {
            self.apply(index);
        }
    }

    fn apply(&mut self, index: u32) {
        let target = Target {
            node: index,
            incarnation: self.hosts[index as usize].incarnation,
        };
        let mut out = std::mem::take(&mut self.out);
        let mut halts = false;
        for output in out.drain(..) {
            match output {
                Output::Send(conn, frame) => self.send(index, conn, frame),
                Output::Timer(at, token) => self.agenda.put(at, Due::Timer(target, token)),
                Output::Serve(queue, cost) => self.serve(target, queue, cost),
                Output::Connect(conn, to) => {
                    let to = self.index(to);
                    let (network, agenda) = (&mut self.network, &mut self.agenda);
                    network.connect(agenda, &self.hosts, conn, index, to);
                }
                Output::Close(conn) => self.network.close(&mut self.agenda, index, conn),
                Output::Reply(call, reply) => {
                    let id = self.hosts[index as usize].id;
                    self.replies.push((id, call, reply));
                }
                Output::Halt => {
                    // Nothing is emitted after a halt.
                    halts = true;
                    break;
                }
            }
        }
        self.out = out;
        if halts {
            let id = self.hosts[index as usize].id;
            self.kill(id);
            self.halted.push(id);
        }
    }

    pub(super) fn send(&mut self, from: u32, conn: ConnId, frame: Frame) {
        let _part = enter(Part::Network);
        if !self.holds.is_empty() {
            let mut holds = self.holds.iter_mut();
            if let Some(hold) = holds.find(|h| h.from == from && (h.pick)(&frame)) {
                hold.kept.push((conn, frame));
                return;
            }
        }
        let size = frame_size(&frame);
        let watched = self.watch.is_some_and(|pick| pick(&frame));
        let to = self.network.send(&mut self.agenda, from, conn, frame, size);
        if watched && let Some(to) = to {
            let ids: [NodeId; 2] = [from, to].map(|node| self.hosts[node as usize].id);
            self.watched.push((ids[0], ids[1]));
        }
    }

    /// Puts an item into a queue: it is served once a server is free and has worked on it, for half
    /// to twice the cost.
    fn serve(&mut self, target: Target, queue: Queue, cost: Nanos) {
        let id = self.hosts[target.node as usize].id;
        let node = &mut self.nodes[target.node as usize];
        let slot = match node.queues.iter().position(|known| known.queue == queue) {
            Some(slot) => slot,
            None => {
                node.queues.push(Servers {
                    queue,
                    free_at: vec![0; queue.servers()],
                    rng: Stream::new(self.seed, purpose::queue(id, queue)),
                });
                node.queues.len() - 1
            }
        };
        let percent = self.machines[node.machine as usize].slowness_percent;
        let servers = &mut node.queues[slot];
        let drawn = servers.rng.range(50, 200) * percent;
        let work = cost.saturating_mul(drawn) / 10_000;
        // Whichever is free takes it, else the one that is free first.
        let now = self.agenda.now();
        let idle = servers.free_at.iter().position(|free_at| *free_at <= now);
        let server = idle.unwrap_or_else(|| servers.free_first());
        let free = &mut servers.free_at[server];
        *free = (*free).max(now) + work;
        let at = *free;
        self.agenda.put(at, Due::Serve(target, queue));
    }
}

/// Length of the frame on the wire in bytes, with its length prefix.
fn frame_size(frame: &Frame) -> u32 {
    u32::try_from(frame.encoded_size()).expect("a frame is shorter than 4 GiB")
}

/// Encodes a frame as Kafka does and decodes it; length and value must be the same.
fn through_bytes(frame: Frame, size: u32) -> Frame {
    let _part = enter(Part::Encoding);
    let bytes = codec::encode(&frame);
    assert_eq!(bytes.len(), size as usize, "encoded_size of {frame:?}");
    let decoded = match &frame {
        Frame::Request(..) => codec::decode_request(&bytes),
        Frame::Response(_, response) => codec::decode_response(&bytes, response.api()),
    };
    let decoded = decoded.unwrap_or_else(|error| panic!("{error}, decoding {frame:?}"));
    assert_eq!(decoded, frame, "the codec changed a frame");
    decoded
}
