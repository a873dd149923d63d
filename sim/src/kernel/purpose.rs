//! Names of the random streams: what each is drawn for.

use super::MachineId;
use everyack_broker::env::Queue;
use everyack_broker::ids::NodeId;

const PROCESS: u64 = 1;
const LINK: u64 = 2;
const DISK: u64 = 3;
const QUEUE: u64 = 4;
const APPLICATION: u64 = 5;

/// 4 bits say for what, 60 bits for whom.
fn purpose(kind: u64, high: u64, low: u64) -> u64 {
    assert!(high < 1 << 30 && low < 1 << 30, "ids have 30 bits");
    (kind << 60) | (high << 30) | low
}

pub(super) fn process(node: NodeId, incarnation: u32) -> u64 {
    purpose(PROCESS, u64::from(incarnation), u64::from(node.0))
}

pub(super) fn link(from: NodeId, to: NodeId) -> u64 {
    purpose(LINK, u64::from(from.0), u64::from(to.0))
}

pub(super) fn disk(machine: MachineId) -> u64 {
    purpose(DISK, 0, u64::from(machine.0))
}

pub(super) fn queue(node: NodeId, queue: Queue) -> u64 {
    purpose(QUEUE, queue.code() & ((1 << 30) - 1), u64::from(node.0))
}

/// The stream of an application's own draws.
pub(crate) fn application(node: NodeId, incarnation: u32) -> u64 {
    purpose(APPLICATION, u64::from(incarnation), u64::from(node.0))
}
