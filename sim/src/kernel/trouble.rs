//! What a fault does to a process or a machine besides killing it or taking its power: a stopped
//! process, a disk that fails, stalls, lies, is damaged or replaced, a wall clock that is wrong.
//!
//! A stopped process (SIGSTOP) takes no input. What comes meanwhile waits, in the order in which it
//! came, and is taken when the process goes on: frames, timers that are late by then, completed syncs,
//! items of its queues. Its machine acknowledges what arrives and accepts connections for it, as a
//! kernel with a listening socket does, and its clocks go on.
//!
//! A disk that stalls holds up each item of the queues that use it, and each sync, for the length of
//! the stall; items wait side by side, as threads in a system call do.
//!
//! Not modelled: full socket buffers of a stopped process, which would hold up its senders; a full
//! backlog of connections.

use super::agenda::{Due, Target};
use super::disk::{Misdirected, Rule};
use super::{Kernel, MachineId, MachineState};
use everyack_broker::env::{Process, Queue};
use everyack_broker::ids::NodeId;
use everyack_broker::time::{MILLIS, Nanos};

/// How far a machine's wall clock is from the true time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WallClock {
    offset_ms: i64,
    since: Nanos,
    drift_ppm: i64,
}

impl WallClock {
    pub(super) fn error_ms(&self, now: Nanos) -> i64 {
        if self.drift_ppm == 0 {
            return self.offset_ms;
        }
        let elapsed_ms = ((now - self.since) / MILLIS) as i64;
        self.offset_ms + elapsed_ms * self.drift_ppm / 1_000_000
    }
}

/// An item that a stalled disk holds up, with a number.
#[derive(Debug)]
pub(super) struct Stalled {
    number: u64,
    target: Target,
    queue: Queue,
}

/// Whether the items of a queue go to the disk: appends and reads of the log.
fn uses_the_disk(queue: Queue) -> bool {
    matches!(queue, Queue::RequestHandler | Queue::ReplicaFetcher(_))
}

impl MachineState {
    /// Puts an item of a queue off where the disk stalls; answers for how long, and its number.
    pub(super) fn put_off(&mut self, target: Target, queue: Queue) -> Option<(Nanos, u64)> {
        let stall = self.disk.stall();
        if stall == 0 || !uses_the_disk(queue) {
            return None;
        }
        let number = self.next_stalled;
        self.next_stalled += 1;
        self.stalled.push(Stalled {
            number,
            target,
            queue,
        });
        Some((stall, number))
    }

    /// The item with that number, once its stall is over, unless it was let go before.
    pub(super) fn stall_over(&mut self, number: u64) -> Option<(Target, Queue)> {
        let at = self.stalled.iter().position(|s| s.number == number)?;
        let stalled = self.stalled.remove(at);
        Some((stalled.target, stalled.queue))
    }
}

impl<P: Process> Kernel<P> {
    /// Stops a process (SIGSTOP). Answers whether there was one that ran.
    pub fn pause(&mut self, id: NodeId) -> bool {
        let index = self.index(id) as usize;
        let runs = self.hosts[index].alive && !self.nodes[index].paused;
        self.nodes[index].paused |= runs;
        runs
    }

    /// A stopped process goes on (SIGCONT), and takes what has come meanwhile at this instant. Answers
    /// whether there was one.
    pub fn resume(&mut self, id: NodeId) -> bool {
        let index = self.index(id);
        if !std::mem::take(&mut self.nodes[index as usize].paused) {
            return false;
        }
        let held = std::mem::take(&mut self.nodes[index as usize].held);
        for (input, size) in held {
            if self.hosts[index as usize].alive {
                self.step(index, input, size);
            }
        }
        true
    }

    /// Whether the process on the node is stopped.
    pub fn is_paused(&self, id: NodeId) -> bool {
        self.nodes[self.index(id) as usize].paused
    }

    /// From here on the disk of a machine fails what the rule says. A later call replaces an earlier one.
    pub fn fail_disk(&mut self, machine: MachineId, rule: Rule) {
        let slot = self.machine_slot(machine);
        self.machines[slot].disk.fail(rule);
    }

    /// From here on the disk of a machine says of each sync that it is done, and keeps nothing.
    pub fn let_disk_lie(&mut self, machine: MachineId) {
        let slot = self.machine_slot(machine);
        self.machines[slot].disk.lie();
    }

    /// Flips the bits of the mask in a byte of a visible file. Answers whether there is such a byte.
    pub fn flip_bits(&mut self, machine: MachineId, path: &str, at: u64, mask: u8) -> bool {
        let slot = self.machine_slot(machine);
        self.machines[slot].disk.flip_bits(path, at, mask)
    }

    /// Sectors of a visible file, that many from `sector` on, went elsewhere: onto a sector of a visible
    /// file, or where nobody reads. Answers what is damaged, `None` where there are no such sectors.
    pub fn misdirect(
        &mut self,
        machine: MachineId,
        path: &str,
        (sector, sectors): (u64, u64),
        to: Option<(&str, u64)>,
    ) -> Option<Misdirected> {
        let slot = self.machine_slot(machine);
        let disk = &mut self.machines[slot].disk;
        disk.misdirect(path, sector, sectors, to)
    }

    /// From here on the disk of a machine holds up each item of the queues that use it, and each sync,
    /// for that long.
    pub fn stall_disk(&mut self, machine: MachineId, stall: Nanos) {
        let slot = self.machine_slot(machine);
        self.machines[slot].disk.set_stall(stall);
    }

    /// The disk of a machine neither fails nor stalls nor lies any more; what a stall holds up is let go.
    pub fn mend_disk(&mut self, machine: MachineId) {
        let now = self.agenda.now();
        let slot = self.machine_slot(machine);
        for (id, at) in self.machines[slot].disk.mend(now) {
            self.agenda.put(at, Due::DiskSync(slot as u32, id));
        }
        for stalled in std::mem::take(&mut self.machines[slot].stalled) {
            self.agenda
                .put(now, Due::Serve(stalled.target, stalled.queue));
        }
    }

    /// Replaces the disk of a machine by an empty, healthy one.
    ///
    /// # Panics
    /// Where a process on the machine has files open.
    pub fn replace_disk(&mut self, machine: MachineId) {
        let slot = self.machine_slot(machine);
        self.machines[slot].disk.replace();
    }

    /// Moves a machine's wall clock by that many milliseconds.
    pub fn jump_clock(&mut self, machine: MachineId, by_ms: i64) {
        let slot = self.machine_slot(machine);
        self.machines[slot].clock.offset_ms += by_ms;
    }

    /// Lets a machine's wall clock run fast by so many parts per million, or slow where negative.
    pub fn drift_clock(&mut self, machine: MachineId, ppm: i64) {
        let now = self.agenda.now();
        let slot = self.machine_slot(machine);
        let clock = &mut self.machines[slot].clock;
        *clock = WallClock {
            offset_ms: clock.error_ms(now),
            since: now,
            drift_ppm: ppm,
        };
    }

    /// Sets a machine's wall clock right.
    pub fn set_clock(&mut self, machine: MachineId) {
        let slot = self.machine_slot(machine);
        self.machines[slot].clock = WallClock::default();
    }

    /// A machine's wall clock in milliseconds since 1970.
    pub fn wall_ms(&self, machine: MachineId) -> i64 {
        self.machine(machine).wall_ms(self.agenda.now())
    }
}
