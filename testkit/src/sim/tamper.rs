//! A device that lies: bits that rot, writes that are acknowledged and dropped, writes that land in
//! another place.
//!
//! A disk is the pristine one until it is tampered with; who wants it back keeps a
//! [`snapshot`](SimDisk::snapshot). What a sync that does nothing looks like is
//! [`lie_about`](SimDisk::lie_about)'s business.

use super::disk::{Machine, SimDisk};
use super::image::{SECTOR, SECTORS, Shared, block, blocks_of, sector_digest};
use super::inode::{Call, What};
use super::rng::SimRng;
use super::state::InodeId;
use crate::fault::Countdown;
use gannet_storage::{BLOCK_SIZE, FileName};
use std::fmt;

/// Where bytes on a disk are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tampered {
    /// The file.
    pub file: FileName,
    /// Offset of the first byte that is another one.
    pub offset: u64,
}

impl fmt::Display for Tampered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.file, self.offset)
    }
}

/// What becomes of a write that the device lies about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It is dropped: readers see it until the cache is discarded or the power goes, and no sync
    /// makes it durable. A crash may still find it done, as on a device that was only late.
    Lost,
    /// As `Lost`, and its first block is on the media in the place of some other block.
    Misdirected,
}

/// A lie to come.
#[derive(Debug)]
pub(super) struct Tamper {
    countdown: Countdown,
    lie: Lie,
    rng: SimRng,
}

impl SimDisk {
    /// Lets one sector that is durable and not zero rot, chosen by `rng`: one bit of it is another
    /// one, or some bytes, or all are zero. Readers see that at once. `None` where there is no such
    /// sector that is not being overwritten.
    ///
    /// # Panics
    /// Never: a block that is not zero has a byte that is not.
    pub fn rot(&self, rng: &mut SimRng) -> Option<Tampered> {
        let mut machine = self.machine();
        let (id, file, index) = pick(&machine, rng)?;
        let inode = machine.state.inode_mut(id);
        let mut bytes = vec![0; BLOCK_SIZE];
        inode.media.read((index * BLOCK_SIZE) as u64, &mut bytes);
        let old = inode.media.block(index);
        let sectors: Vec<_> = (0..SECTORS).filter(|&at| sector_digest(old, at) != 0).collect();
        let sector = sectors[rng.below(sectors.len())];
        let part = &mut bytes[sector * SECTOR..(sector + 1) * SECTOR];
        let at = rng.below(SECTOR);
        let mut first = at;
        match rng.below(4) {
            0 => {
                first = part.iter().position(|&byte| byte != 0).expect("it is not zero");
                part.fill(0);
            }
            1 => part[at..].iter_mut().take(8).for_each(|byte| *byte = !*byte),
            _ => part[at] ^= 1 << rng.below(8),
        }
        let rotten = block(&bytes);
        inode.media.set_block(index, rotten.clone());
        inode.now.set_block(index, rotten);
        machine.state.tampered += 1;
        let offset = (index * BLOCK_SIZE + sector * SECTOR + first) as u64;
        Some(Tampered { file, offset })
    }

    /// Inverts one byte of a file, durably; readers see that at once.
    ///
    /// # Panics
    /// If there is no such byte.
    pub fn flip(&self, place: &Tampered) {
        let mut machine = self.machine();
        let id = *machine.state.names().get(&place.file).expect("the file is there");
        let inode = machine.state.inode_mut(id);
        assert!(place.offset < inode.now.len_bytes(), "{place} is beyond the end");
        let index = blocks_of(place.offset);
        let mut bytes = vec![0; BLOCK_SIZE];
        inode.now.read((index * BLOCK_SIZE) as u64, &mut bytes);
        let at = usize::try_from(place.offset % BLOCK_SIZE as u64).expect("below the block");
        bytes[at] = !bytes[at];
        let flipped = block(&bytes);
        inode.media.set_block(index, flipped.clone());
        inode.now.set_block(index, flipped);
        machine.state.tampered += 1;
    }

    /// Lets the device lie about the `nth` batch of writes from now on, from 1.
    ///
    /// # Panics
    /// If `nth` is 0.
    pub fn lie_about_write(&self, nth: u64, lie: Lie, seed: u64) {
        let (countdown, rng) = (Countdown::new(nth, false), SimRng::new(seed));
        self.machine().tamper = Some(Tamper { countdown, lie, rng });
    }

    /// How often this disk, and those it was made from, were tampered with.
    #[must_use]
    pub fn tampered(&self) -> u64 {
        self.machine().state.tampered
    }
}

impl Machine {
    /// A batch of writes is done: tells whether the device lied about it.
    pub(super) fn tamper(&mut self, inode: InodeId, call: Call) {
        let due = self.tamper.as_mut().is_some_and(|tamper| tamper.countdown.is_due());
        let Some(Tamper { lie, mut rng, .. }) = self.tamper.take_if(|_| due) else { return };
        self.state.tampered += 1;
        let file = self.state.inode_mut(inode);
        let mut foreign: Shared = None;
        for change in file.pending.iter_mut().filter(|change| change.call == call) {
            change.forgotten = true;
            if let What::Sectors { new, .. } = &change.what {
                foreign = foreign.or_else(|| new.clone());
            }
        }
        if lie == Lie::Misdirected
            && let Some((other, _, index)) = pick(self, &mut rng)
        {
            let other = self.state.inode_mut(other);
            other.media.set_block(index, foreign.clone());
            other.now.set_block(index, foreign);
        }
    }
}

/// A block of a file with a durable name that is not zero, and that no pending change is about.
fn pick(machine: &Machine, rng: &mut SimRng) -> Option<(InodeId, FileName, usize)> {
    let mut places = Vec::new();
    for (name, &id) in machine.state.durable_names().iter() {
        let inode = machine.state.inode(id);
        let is_pending = |index: usize| {
            inode.pending.iter().any(|change| match change.what {
                What::Sectors { block, .. } => block == index,
                What::Len(_) => true,
            })
        };
        let used = 0..inode.media.blocks_used();
        let good = used.filter(|&at| inode.media.block(at).is_some() && !is_pending(at));
        places.push((id, name, good.collect::<Vec<_>>()));
    }
    // The file first, so that long ones do not have it all.
    places.retain(|(_, _, blocks)| !blocks.is_empty());
    let at = rng.below(places.len().max(1));
    let (id, name, blocks) = places.get(at)?;
    // The last block, often: a log is written there.
    let place = if rng.below(4) == 0 { blocks.len() - 1 } else { rng.below(blocks.len()) };
    Some((*id, (*name).clone(), blocks[place]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gannet_storage::{AlignedBuf, Durability, ReadFile, Storage, Write, WriteFile};

    fn name(text: &str) -> FileName {
        FileName::new(text).expect("valid")
    }

    /// A disk with two durable files of two blocks, of ones and of twos.
    fn disk() -> SimDisk {
        let disk = SimDisk::new();
        let storage = disk.open().expect("opens");
        for (text, fill) in [("a", 1), ("b", 2)] {
            let file = storage.create(&name(text), 8192).expect("made");
            let mut bytes = AlignedBuf::zeroed(8192);
            bytes.fill(fill);
            let writes = [Write { offset: 0, bytes: &bytes }];
            file.write_batch(&writes, Durability::Full).expect("written");
        }
        storage.sync_dir().expect("synced");
        drop(storage);
        disk
    }

    /// Bytes that are not `fill`, and what is in place of the first of them.
    fn differing(disk: &SimDisk, text: &str, due: u8) -> Vec<u64> {
        let storage = disk.open().expect("opens");
        let file = storage.open_sealed(&name(text)).expect("opens");
        let mut bytes = AlignedBuf::zeroed(8192);
        file.read_at(0, &mut bytes).expect("reads");
        (0..).zip(bytes.iter()).filter(|(_, byte)| **byte != due).map(|(at, _)| at).collect()
    }

    #[test]
    fn rot_is_seen_where_it_is_told_and_nowhere_else() {
        let disk = disk();
        for seed in 0..50 {
            let rotten = disk.snapshot();
            let Tampered { file, offset } = rotten.rot(&mut SimRng::new(seed)).expect("rots");
            for (text, fill) in [("a", 1), ("b", 2)] {
                let seen = differing(&rotten, text, fill);
                assert_eq!(!seen.is_empty(), *file.as_str() == *text, "{file} {offset}: {text}");
                if let [first, .., last] = seen[..] {
                    assert!(first == offset && last < offset / 512 * 512 + 512, "{seen:?}");
                }
            }
            assert_eq!((rotten.tampered(), disk.tampered()), (1, 0));
        }
        assert_eq!(SimDisk::new().rot(&mut SimRng::new(1)), None);
    }

    #[test]
    fn a_flip_is_seen_and_undone_by_another_one() {
        let disk = disk();
        let before = disk.digest();
        for offset in [0, 511, 4096, 8191] {
            let place = Tampered { file: name("a"), offset };
            disk.flip(&place);
            assert_eq!(differing(&disk, "a", 1), [offset]);
            disk.flip(&place);
            assert_eq!(disk.digest(), before);
        }
    }

    #[test]
    fn a_write_that_the_device_drops_is_seen_until_the_cache_is_discarded() {
        let mut elsewhere = 0;
        for (lie, seed) in [(Lie::Lost, 0)].into_iter().chain((0..8).map(|s| (Lie::Misdirected, s)))
        {
            let disk = disk();
            let storage = disk.open().expect("opens");
            let file = storage.open(&name("a")).expect("opens");
            let mut bytes = AlignedBuf::zeroed(4096);
            bytes.fill(9);
            disk.lie_about_write(2, lie, seed);
            for offset in [0, 4096] {
                let writes = [Write { offset, bytes: &bytes }];
                file.write_batch(&writes, Durability::Full).expect("says that it is durable");
            }
            file.read_at(4096, &mut bytes).expect("reads");
            assert!(bytes.iter().all(|&byte| byte == 9));
            file.discard_cache().expect("done");
            file.read_at(4096, &mut bytes).expect("reads");
            assert!(bytes.iter().all(|&byte| byte == 1), "it is not on the media");
            drop((file, storage));
            let found = (differing(&disk, "a", 1).len(), differing(&disk, "b", 2).len());
            assert!(found == (4096, 0) || lie == Lie::Misdirected && found == (4096, 4096));
            elsewhere += found.1;
            assert_eq!(disk.tampered(), 1);
        }
        assert!(elsewhere > 0, "some were directed to the other file");
    }
}
