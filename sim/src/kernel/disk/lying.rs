//! A disk that does not keep what it was given: one that lies about syncs, bits that flip, writes that
//! land elsewhere.
//!
//! What is damaged is damaged in the page cache too: the page was evicted and read again. A lie is told
//! of the device's own volatile cache: while the power stays, everything reads as it was written.
//!
//! Not modelled: damage that a later write of the same page repairs, a device that tells of an
//! unreadable sector.

use super::*;

impl SimDisk {
    /// From here on each sync is told to be done and keeps nothing.
    pub(in crate::kernel) fn lie(&mut self) {
        self.lies = true;
    }

    /// Flips bits of a visible file's byte, those that are set in the mask. Answers whether there is such a
    /// byte.
    pub(in crate::kernel) fn flip_bits(&mut self, path: &str, at: u64, mask: u8) -> bool {
        let Some(&ino) = self.names.get(path) else {
            return false;
        };
        let Ok(at) = usize::try_from(at) else {
            return false;
        };
        match self.inode_mut(ino).content.get_mut(at) {
            Some(byte) => {
                *byte ^= mask;
                true
            }
            None => false,
        }
    }

    /// The sectors of a visible file from `sector` on, that many, were written elsewhere: they hold zeros,
    /// and `to`, a sector of a visible file, holds them and overwrites what was there; beyond that file's
    /// end is free space. Answers the damaged bytes of both files, or `None` where the first has no
    /// such sectors.
    pub(in crate::kernel) fn misdirect(
        &mut self,
        path: &str,
        sector: u64,
        sectors: u64,
        to: Option<(&str, u64)>,
    ) -> Option<Misdirected> {
        let ino = *self.names.get(path)?;
        let content = &mut self.inode_mut(ino).content;
        let range = |from: u64, sectors: u64, len: usize| {
            let at = |sector: u64| {
                let at = usize::try_from(sector).ok()?.checked_mul(SECTOR_BYTES)?;
                Some(at.min(len))
            };
            Some(at(from)?..at(from.checked_add(sectors)?)?)
        };
        let lost = range(sector, sectors, content.len()).filter(|lost| !lost.is_empty())?;
        let bytes = content[lost.clone()].to_vec();
        content[lost.clone()].fill(0);
        let overwritten = to.and_then(|(other, sector)| {
            let ino = *self.names.get(other)?;
            let content = &mut self.inode_mut(ino).content;
            let hit = range(sector, sectors, content.len())?;
            let hit = hit.start..hit.end.min(hit.start + bytes.len());
            content[hit.clone()].copy_from_slice(&bytes[..hit.len()]);
            Some(hit).filter(|hit| !hit.is_empty())
        });
        Some(Misdirected { lost, overwritten })
    }
}

/// What a misdirected write has damaged, in bytes of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misdirected {
    /// Where it should have gone.
    pub lost: std::ops::Range<usize>,
    /// Where it went, of what was there.
    pub overwritten: Option<std::ops::Range<usize>>,
}
