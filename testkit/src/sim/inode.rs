//! One file of the simulated disk: what readers see, what the media has, what lies between.
//!
//! A change arrives in `now` and in the list of pending changes at once; a sync moves it to
//! `media`. What a crash makes of the list is left to `crash`.

use super::image::{Image, SECTORS, Shared, assemble, block, blocks_of, sector_digest};
use gannet_storage::{BLOCK_SIZE, Write};

/// A call's number: later calls have larger ones.
pub(super) type Call = u64;

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) now: Image,
    pub(super) media: Image,
    /// In order of arrival.
    pub(super) pending: Vec<Change>,
}

/// Something that a sync has yet to cover.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) call: Call,
    /// A sync that should have covered it has failed: no later one will, as kernels forget it.
    pub(super) forgotten: bool,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// Sectors of a block, those whose bit is set.
    Sectors { block: usize, new: Shared, mask: u8 },
    /// Another length.
    Len(u64),
}

impl Inode {
    pub(super) fn write(&mut self, writes: &[Write<'_>], call: Call) {
        for w in writes {
            for (at, bytes) in w.bytes.chunks_exact(BLOCK_SIZE).enumerate() {
                self.put(blocks_of(w.offset) + at, block(bytes), call);
            }
        }
    }

    /// A sector that was zero and stays zero is the same whatever a crash does to it, and is not
    /// pending. One that is written with the bytes it has is pending: a crash may leave it zero.
    fn put(&mut self, index: usize, new: Shared, call: Call) {
        let old = self.now.block(index);
        let both_zero = |at| sector_digest(old, at) == 0 && sector_digest(&new, at) == 0;
        let mask = (0..SECTORS).filter(|&at| !both_zero(at)).fold(0, |mask, at| mask | 1 << at);
        if mask != 0 {
            self.now.set_block(index, new.clone());
            let what = What::Sectors { block: index, new, mask };
            self.pending.push(Change { call, forgotten: false, what });
        }
    }

    /// A cut writes zeroes first, so that after a crash each sector that was cut off and comes back
    /// by growing is old or zero.
    pub(super) fn set_len(&mut self, len_bytes: u64, call: Call) {
        for index in blocks_of(len_bytes)..self.now.blocks_used() {
            self.put(index, None, call);
        }
        if len_bytes != self.now.len_bytes() {
            self.now.set_len(len_bytes);
            let what = What::Len(len_bytes);
            self.pending.push(Change { call, forgotten: false, what });
        }
    }

    /// Makes durable what `covers` says of the calls.
    pub(super) fn sync(&mut self, covers: impl Fn(Call) -> bool) {
        if self.pending.iter().all(|change| covers(change.call) && !change.forgotten) {
            self.media = self.now.clone();
            self.pending.clear();
            return;
        }
        let mut left: Vec<Change> = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            if change.forgotten || !covers(change.call) {
                left.push(change);
                continue;
            }
            match change.what {
                What::Sectors { block, new, mask } => {
                    let merged = merge(self.media.block(block), &new, mask);
                    self.media.set_block(block, merged);
                    supersede(&mut left, block, mask);
                }
                What::Len(len_bytes) => {
                    self.media.set_len(len_bytes);
                    left.retain(|earlier| !matches!(earlier.what, What::Len(_)));
                }
            }
        }
        self.pending = left;
    }

    /// A sync that failed: what it should have covered stays in `now`, and no sync will find it.
    pub(super) fn fail_sync(&mut self, covers: impl Fn(Call) -> bool) {
        for change in self.pending.iter_mut().filter(|change| covers(change.call)) {
            change.forgotten = true;
        }
    }

    /// Reads come from the media from now on; bytes still on their way to it are not lost.
    pub(super) fn discard_cache(&mut self) {
        if self.pending.iter().any(|change| change.forgotten) {
            self.pending.retain(|change| !change.forgotten);
            self.now = self.media.clone();
            for change in &self.pending {
                match &change.what {
                    What::Sectors { block, new, mask } => {
                        self.now.set_block(*block, merge(self.now.block(*block), new, *mask));
                    }
                    What::Len(len_bytes) => self.now.set_len(*len_bytes),
                }
            }
        }
    }
}

/// `old` with the sectors of `mask` from `new`.
fn merge(old: &Shared, new: &Shared, mask: u8) -> Shared {
    if mask == u8::MAX {
        return new.clone();
    }
    let mut parts = [old; SECTORS];
    for (at, part) in parts.iter_mut().enumerate() {
        if mask & 1 << at != 0 {
            *part = new;
        }
    }
    assemble(parts)
}

/// Drops earlier pending contents of sectors whose later contents are durable.
fn supersede(earlier: &mut Vec<Change>, durable: usize, durable_mask: u8) {
    for change in earlier.iter_mut() {
        if let What::Sectors { block, mask, .. } = &mut change.what
            && *block == durable
        {
            *mask &= !durable_mask;
        }
    }
    earlier.retain(|change| !matches!(change.what, What::Sectors { mask: 0, .. }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use gannet_storage::AlignedBuf;

    #[test]
    fn what_a_sync_made_durable_is_not_undone_by_an_older_write_that_it_forgot() {
        let mut inode = Inode::default();
        inode.set_len(4096, 1);
        inode.sync(|_| true);
        let mut bytes = AlignedBuf::zeroed(4096);
        bytes[..512].fill(1);
        bytes[512..1024].fill(2);
        inode.write(&[Write { offset: 0, bytes: &bytes }], 2);
        inode.fail_sync(|_| true);
        bytes[..512].fill(3);
        inode.put(0, block(&bytes), 3);
        // The second sector is written anew with the same bytes, so this sync covers both.
        inode.sync(|_| true);
        assert_eq!(inode.media.digest(), inode.now.digest());
        assert!(inode.pending.is_empty(), "{:?}", inode.pending);
    }

    #[test]
    fn a_discarded_cache_shows_the_media_and_what_is_still_on_its_way() {
        let mut inode = Inode::default();
        inode.set_len(8192, 1);
        inode.sync(|_| true);
        let mut bytes = AlignedBuf::zeroed(4096);
        bytes.fill(1);
        inode.write(&[Write { offset: 0, bytes: &bytes }], 2);
        inode.fail_sync(|_| true);
        inode.write(&[Write { offset: 4096, bytes: &bytes }], 3);
        inode.discard_cache();
        let shown = [0, 1].map(|index| inode.now.block(index).is_some());
        assert_eq!(shown, [false, true]);
        inode.sync(|_| true);
        assert_eq!(inode.media.digest(), inode.now.digest());
    }
}
