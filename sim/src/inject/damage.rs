//! Damage to what a disk has stored: bits that flip, writes that land elsewhere.
//!
//! Which bytes are hit is a matter of batches, so the log's files are read here as they lie on the disk; a
//! broker is asked for its recovery point only.
//!
//! Not modelled: flipped bits of a batch's base offset and leader epoch, which no checksum covers and
//! nothing in Kafka would notice; and of the checksum itself, which is as a flipped bit under it (the
//! fingerprints by which logs are compared are chained from it).

use super::Injector;
use crate::cluster::{Cluster, machine_of};
use crate::event::{Damage, EventKind, FaultEvent};
use crate::fault::{Elsewhere, Fault, FileKind, LogPart, What, Whom};
use crate::kernel::disk::{Misdirected, SECTOR_BYTES, SimDisk};
use crate::node::Node;
use crate::world::World;
use bytes::Bytes;
use everyack_broker::ids::*;
use everyack_broker::log::batches;
use std::ops::Range;

/// A batch as it lies on a disk.
#[derive(Debug, Clone)]
struct Stored {
    path: String,
    /// Its bytes in the file.
    at: Range<u64>,
    first: Offset,
    last: Offset,
}

/// Of a batch, the bytes that may be hit: its length, its format, and all that the checksum covers.
const LENGTH: Range<u64> = 8..12;
const FORMAT_AT: u64 = 16;
const ATTRIBUTES_AT: u64 = 21;

impl Injector {
    /// Damages the log of each target; answers whether there was anything to damage.
    pub(super) fn damage(
        &mut self,
        fault: &Fault,
        targets: &[NodeId],
        cluster: &Cluster,
        world: &World<Node>,
    ) -> bool {
        let partition = partition_of(fault.whom);
        let mut done = false;
        for &target in targets {
            let stored = stored(world.kernel().disk(machine_of(target)), partition, cluster);
            let (how, hit) = match fault.what {
                What::FlipBits {
                    part,
                    permille,
                    bit_permille,
                } => {
                    let mut within = stored;
                    let point = recovery_point(target, partition, cluster, world);
                    within.retain(|batch| lies_in(part, batch, point));
                    let hit = flip(&within, (permille, bit_permille), target, world);
                    (Damage::FlippedBits, hit)
                }
                What::MisdirectWrite { sectors, to } => {
                    let hit = misdirect(&stored, (u64::from(sectors), to), target, world);
                    (Damage::MisdirectedWrite, hit)
                }
                other => panic!("{other:?} damages nothing"),
            };
            done |= !hit.is_empty();
            for batch in hit {
                let leads = cluster.leader(&world.kernel(), partition) == target.broker();
                self.hit_unread |= leads && !self.in_hand.has_reached(partition, batch.last);
                let damaged = FaultEvent::StoredDamaged {
                    partition,
                    first: batch.first,
                    last: batch.last,
                    how,
                };
                world.record(target, EventKind::Fault(damaged));
            }
        }
        done
    }
}

/// The partition whose replica a fault hits.
fn partition_of(whom: Whom) -> i32 {
    match whom {
        Whom::LeaderOf(partition)
        | Whom::FollowerOf(partition, _)
        | Whom::LeaderAndFollowerOf(partition, _)
        | Whom::ReplicaOf(partition, _) => partition,
        _ => 0,
    }
}

/// The whole batches of a partition's log on a disk, in the order of its files.
fn stored(disk: &SimDisk, partition: i32, cluster: &Cluster) -> Vec<Stored> {
    let dir = format!("{}-{partition}/", cluster.topic);
    let is_segment = |path: &&str| path.ends_with(".log") && path.starts_with(&dir);
    let mut found = Vec::new();
    for path in disk.paths().filter(is_segment) {
        debug_assert_eq!(FileKind::of(path), Some(FileKind::Log));
        let content = disk.content(path).expect("a listed file");
        let mut at = 0;
        for batch in batches(&Bytes::copy_from_slice(content)).map_while(Result::ok) {
            let end = at + batch.bytes.len() as u64;
            found.push(Stored {
                path: path.to_owned(),
                at: at..end,
                first: batch.header.base_offset,
                last: batch.header.last_offset(),
            });
            at = end;
        }
    }
    found
}

fn recovery_point(
    node: NodeId,
    partition: i32,
    cluster: &Cluster,
    world: &World<Node>,
) -> Option<Offset> {
    let kernel = world.kernel();
    let replica = cluster.replica(&kernel, node.broker()?, partition);
    replica.map(|replica| replica.log.recovery_point())
}

/// Without a process that knows the recovery point only the whole log is a part.
fn lies_in(part: LogPart, batch: &Stored, recovery_point: Option<Offset>) -> bool {
    match (part, recovery_point) {
        (LogPart::All, _) => true,
        (LogPart::Flushed, Some(point)) => batch.last < point,
        (LogPart::Unflushed, Some(point)) => batch.first >= point,
        (_, None) => false,
    }
}

/// Flips a bit of a batch, both picked by thousandths; answers the batch.
fn flip(
    within: &[Stored],
    (permille, bit_permille): (u16, u16),
    node: NodeId,
    world: &World<Node>,
) -> Vec<Stored> {
    let Some(last) = within.len().checked_sub(1) else {
        return Vec::new();
    };
    let batch = &within[pick(last as u64, permille) as usize];
    let mut bytes = LENGTH
        .chain(FORMAT_AT..FORMAT_AT + 1)
        .chain(ATTRIBUTES_AT..batch.at.end - batch.at.start);
    let bit = pick(bytes.clone().count() as u64 * 8 - 1, bit_permille);
    let byte = bytes.nth(bit as usize / 8).expect("picked among them");
    let mut kernel = world.kernel();
    let at = batch.at.start + byte;
    let flipped = kernel.flip_bits(machine_of(node), &batch.path, at, 1 << (bit % 8));
    assert!(flipped, "{batch:?} was read from the disk");
    vec![batch.clone()]
}

/// That many thousandths of the way from 0 to `last`.
fn pick(last: u64, permille: u16) -> u64 {
    last * u64::from(permille.min(1000)) / 1000
}

/// Sends the last sectors of the log elsewhere; answers the batches that are damaged.
fn misdirect(
    stored: &[Stored],
    (sectors, to): (u64, Elsewhere),
    node: NodeId,
    world: &World<Node>,
) -> Vec<Stored> {
    let Some(last) = stored.last() else {
        return Vec::new();
    };
    let all = last.at.end.div_ceil(SECTOR_BYTES as u64);
    let sectors = sectors.clamp(1, all);
    let from = all - sectors;
    let to = match to {
        // Not onto itself.
        Elsewhere::SameFile { permille } if from >= sectors => {
            Some((last.path.as_str(), pick(from - sectors, permille)))
        }
        _ => None,
    };
    let mut kernel = world.kernel();
    let damage = kernel.misdirect(machine_of(node), &last.path, (from, sectors), to);
    let Misdirected { lost, overwritten } = damage.expect("the file has these sectors");
    let overlaps = |batch: &Stored, bytes: &Range<usize>| {
        batch.at.start < bytes.end as u64 && (bytes.start as u64) < batch.at.end
    };
    let is_hit = |batch: &&Stored| {
        let hit = overlaps(batch, &lost);
        batch.path == last.path && (hit || overwritten.iter().any(|o| overlaps(batch, o)))
    };
    stored.iter().filter(is_hit).cloned().collect()
}
