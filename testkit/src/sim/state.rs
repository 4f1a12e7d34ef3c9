//! All that a simulated disk holds: files, names, and the changes of names that no sync has
//! covered.
//!
//! A plain value: a clone shares everything until it changes. Who may call what, and when the power
//! goes, is left to `disk` and `storage`.

use super::digest;
use super::inode::{Call, Inode, What};
use gannet_storage::{FileName, Op};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Number of a file, never used twice on one disk.
pub(super) type InodeId = u64;

/// Names and what they name.
pub(super) type Names = BTreeMap<FileName, InodeId>;

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    inodes: BTreeMap<InodeId, Arc<Inode>>,
    /// As `list` and `open` see them.
    names: Arc<Names>,
    /// As the media has them.
    durable_names: Arc<Names>,
    /// In order of arrival.
    pub(super) entries: Vec<Entry>,
    next_inode: InodeId,
    /// Calls begun so far. Part of the state, so that calls after a kill are later than those
    /// before it.
    pub(super) calls: Call,
    /// Syncs of this kind do nothing. Part of the state, so that it outlives a crash.
    pub(super) lies_about: Option<Op>,
    /// How often it was tampered with.
    pub(super) tampered: u64,
}

/// A change of names that `sync_dir` has yet to cover.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) call: Call,
    what: EntryChange,
}

#[derive(Clone, Debug)]
enum EntryChange {
    Create(FileName, InodeId),
    Replace(FileName, FileName, InodeId),
    Remove(FileName, InodeId),
}

impl State {
    /// This disk after a crash that left just this, all of it durable.
    pub(super) fn crashed(&self, names: Arc<Names>, inodes: BTreeMap<InodeId, Arc<Inode>>) -> Self {
        let Self { next_inode, calls, lies_about, tampered, .. } = *self;
        let (durable_names, entries) = (Arc::clone(&names), Vec::new());
        Self { inodes, names, durable_names, entries, next_inode, calls, lies_about, tampered }
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn durable_names(&self) -> &Arc<Names> {
        &self.durable_names
    }

    pub(super) fn inodes(&self) -> &BTreeMap<InodeId, Arc<Inode>> {
        &self.inodes
    }

    pub(super) fn inode(&self, id: InodeId) -> &Arc<Inode> {
        self.inodes.get(&id).expect("an inode lives as long as a name or a handle of it")
    }

    pub(super) fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        let inode = self.inodes.get_mut(&id);
        Arc::make_mut(inode.expect("an inode lives as long as a name or a handle of it"))
    }

    /// A new empty file under a free name.
    pub(super) fn create(&mut self, name: &FileName, call: Call) -> InodeId {
        let id = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(id, Arc::default());
        self.change(EntryChange::Create(name.clone(), id), call);
        id
    }

    /// Renames a file that is there.
    pub(super) fn replace(&mut self, from: &FileName, to: &FileName, call: Call) {
        let id = self.names[from];
        self.change(EntryChange::Replace(from.clone(), to.clone(), id), call);
    }

    /// Removes a file that is there.
    pub(super) fn remove(&mut self, name: &FileName, call: Call) {
        let id = self.names[name];
        self.change(EntryChange::Remove(name.clone(), id), call);
    }

    fn change(&mut self, what: EntryChange, call: Call) {
        what.apply(Arc::make_mut(&mut self.names));
        self.entries.push(Entry { call, what });
    }

    /// Makes the names durable that `covers` says of the calls.
    pub(super) fn sync_dir(&mut self, covers: impl Fn(Call) -> bool) {
        if self.entries.iter().all(|entry| covers(entry.call)) {
            self.durable_names = Arc::clone(&self.names);
            self.entries.clear();
        } else {
            let names = Arc::make_mut(&mut self.durable_names);
            self.entries.retain(|entry| {
                let covered = covers(entry.call);
                if covered {
                    entry.what.apply(names);
                }
                !covered
            });
        }
        let pending = self.entries.iter().map(|entry| entry.what.inode());
        let named = self.names.values().chain(self.durable_names.values()).copied();
        let used: BTreeSet<_> = named.chain(pending).collect();
        self.inodes.retain(|id, _| used.contains(id));
    }

    /// The names that the media has if just the entries that `kept` says reach it.
    pub(super) fn names_after(&self, kept: impl Fn(usize) -> bool) -> Arc<Names> {
        let mut names = Arc::clone(&self.durable_names);
        for (at, entry) in self.entries.iter().enumerate() {
            if kept(at) {
                entry.what.apply(Arc::make_mut(&mut names));
            }
        }
        names
    }

    /// Equal for equal disks. Of a disk without pending changes: of names, lengths and bytes alone.
    pub(super) fn digest(&self) -> u128 {
        let media = names_digest(&self.durable_names, |id| self.inode(id).media.digest());
        let pending = |inode: &Arc<Inode>| !inode.pending.is_empty();
        if self.entries.is_empty() && !self.inodes.values().any(pending) {
            return media;
        }
        let now = names_digest(&self.names, |id| {
            let inode = self.inode(id);
            inode.pending.iter().fold(inode.now.digest(), |sum, change| match &change.what {
                What::Len(len) => digest::placed(sum, u128::from(*len)),
                What::Sectors { block, new, mask } => {
                    let place = (*block as u128) << 8 | u128::from(*mask);
                    let mut image = super::image::Image::default();
                    image.set_block(*block, new.clone());
                    digest::placed(sum, place).wrapping_add(image.sum())
                }
            })
        });
        let entries = self.entries.iter().fold(0, |sum, entry| {
            digest::placed(sum, digest::bytes(format!("{:?}", entry.what).as_bytes()))
        });
        digest::placed(digest::placed(media, now), entries)
    }
}

/// Digest of names and of the files that they name.
pub(super) fn names_digest(names: &Names, file: impl Fn(InodeId) -> u128) -> u128 {
    names.iter().fold(0, |sum: u128, (name, &id)| {
        let name = digest::bytes(name.as_str().as_bytes());
        sum.wrapping_add(digest::placed(file(id), name))
    })
}

impl EntryChange {
    fn inode(&self) -> InodeId {
        match self {
            Self::Create(_, id) | Self::Replace(_, _, id) | Self::Remove(_, id) => *id,
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Create(name, id) => {
                names.insert(name.clone(), *id);
            }
            Self::Replace(from, to, id) => {
                forget(names, from, *id);
                names.insert(to.clone(), *id);
            }
            Self::Remove(name, id) => forget(names, name, *id),
        }
    }
}

/// Takes `name` away from `id`; where a crash gave the name to another file, that one keeps it.
fn forget(names: &mut Names, name: &FileName, id: InodeId) {
    if names.get(name) == Some(&id) {
        names.remove(name);
    }
}
