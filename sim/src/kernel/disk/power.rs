//! What a power loss leaves on the device.

use super::*;
use crate::fault::Unsynced;

/// What survives a power loss of that which no sync covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Survival {
    Nothing,
    Everything,
    Prefix,
    Pages,
    TornPages,
}

impl Survival {
    fn draw(unsynced: Unsynced, rng: &mut Stream) -> Survival {
        match unsynced {
            Unsynced::Gone => Survival::Nothing,
            Unsynced::Drawn => match rng.below(5) {
                0 => Survival::Nothing,
                1 => Survival::Everything,
                2 => Survival::Prefix,
                3 => Survival::Pages,
                _ => Survival::TornPages,
            },
        }
    }
}

impl SimDisk {
    /// The power goes: afterwards cache and device hold the same. Answers the bytes of visible
    /// files that no sync covered, and how many of these the device kept all the same.
    pub fn power_loss(&mut self, unsynced: Unsynced) -> (u64, u64) {
        let mut rng = self.rng.clone();
        let survival = Survival::draw(unsynced, &mut rng);
        self.pending.clear();
        self.started.clear();
        self.busy_until = 0;

        let journal = std::mem::take(&mut self.journal);
        let prefix = rng.below(journal.len() as u64 + 1) as usize;
        for (index, (_, change)) in journal.iter().enumerate() {
            let kept = match survival {
                Survival::Nothing => false,
                Survival::Everything => true,
                Survival::Prefix => index < prefix,
                Survival::Pages | Survival::TornPages => rng.chance(1, 2),
            };
            if kept {
                change.apply(&mut self.durable_names);
            }
        }

        let (mut lost_from, mut kept_in_all) = (0, 0);
        let visible: Vec<Ino> = self.names.values().copied().collect();
        for ino in 0..self.inodes.len() as Ino {
            let Some(inode) = &mut self.inodes[ino as usize] else {
                continue;
            };
            let dirty = (inode.content.len() - inode.durable.same) as u64;
            let kept = survive(inode, survival, &mut rng);
            if visible.contains(&ino) {
                lost_from += dirty;
                kept_in_all += kept;
            }
        }
        self.names = self.durable_names.clone();
        self.rng = rng;
        self.sweep();
        (lost_from, kept_in_all)
    }
}

/// Turns the file into what the device holds after the power loss; answers how many of its dirty
/// bytes survived.
fn survive(inode: &mut Inode, survival: Survival, rng: &mut Stream) -> u64 {
    let same = inode.durable.same;
    let len = inode.content.len();
    let mut kept = 0;
    if !inode.durable.equals(&inode.content) {
        match survival {
            Survival::Nothing => inode.content = inode.durable.bytes(&inode.content),
            Survival::Everything => kept = len - same,
            Survival::Prefix | Survival::Pages | Survival::TornPages => {
                let pieces = draw_pieces(same, len, survival, rng);
                let mut survived = inode.content[..same].to_vec();
                for (from, to) in pieces {
                    if survived.len() < to {
                        survived.resize(to, 0);
                    }
                    survived[from..to].copy_from_slice(&inode.content[from..to]);
                    kept += to - from.max(same);
                }
                inode.content = survived;
            }
        }
    }
    inode.durable = Image::of(&inode.content);
    kept as u64
}

/// The byte ranges of the dirty part `same..len` that reached the device, page by page or, where a
/// page is torn, sector by sector.
fn draw_pieces(
    same: usize,
    len: usize,
    survival: Survival,
    rng: &mut Stream,
) -> Vec<(usize, usize)> {
    let mut pieces = Vec::new();
    if len == same {
        return pieces;
    }
    let first = same / PAGE_BYTES;
    let pages = len.div_ceil(PAGE_BYTES) - first;
    let prefix = rng.below(pages as u64 + 1) as usize;
    for index in 0..pages {
        let start = (first + index) * PAGE_BYTES;
        let end = (start + PAGE_BYTES).min(len);
        let whole = match survival {
            Survival::Prefix => index < prefix,
            Survival::Pages => rng.chance(1, 2),
            Survival::TornPages => match rng.below(3) {
                0 => true,
                1 => false,
                _ => {
                    for sector in (start..end).step_by(SECTOR_BYTES) {
                        let sector_end = (sector + SECTOR_BYTES).min(end);
                        if sector_end > same && rng.chance(1, 2) {
                            pieces.push((sector, sector_end));
                        }
                    }
                    false
                }
            },
            Survival::Nothing | Survival::Everything => unreachable!("drawn from partial modes"),
        };
        if whole {
            pieces.push((start, end));
        }
    }
    pieces
}
