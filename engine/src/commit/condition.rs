//! Conditions of a batch: what must be as it was when its caller looked.
//!
//! Keeps how a condition is checked without reading files under the queue's lock. First the tree is
//! asked, up to the last visible record; then, under the lock, the keys that were written behind
//! that record, in flight or not. These are noted while anybody is between the two (`Recent`).

use crate::commit::in_flight::{InFlight, KeyspaceFate};
use crate::commit::queue::Queue;
use crate::damage::Lsn;
use crate::database::Core;
use crate::error::CommitError;
use crate::keys::is_empty_range;
use crate::sync::{MutexGuard, Ordering};
use crate::table::Direction;
use crate::tree::{Cursor, Keyspaces, TreeKey, split, tree_key, tree_range};
use gannet_storage::Storage;
use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

/// Keys that are noted; older ones are forgotten, and who needs them asks the tree again.
const RECENT_MAX: usize = 1 << 16;

/// What must hold for a batch to be done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    /// The keys whose versions are to be these, 0 for a key that is not there.
    pub(crate) versions: Vec<KeyVersion>,
    /// What a transaction has read.
    pub(crate) reads: Option<Reads>,
}

/// A key, and the version that it is to have.
#[derive(Clone, Debug)]
pub(crate) struct KeyVersion {
    pub(crate) keyspace: String,
    pub(crate) key: Vec<u8>,
    pub(crate) version: Lsn,
}

/// What was read at a record, and is not to be changed by any behind it.
#[derive(Clone, Debug)]
pub(crate) struct Reads {
    pub(crate) lsn: Lsn,
    /// By keyspace, with its number then.
    pub(crate) keyspaces: Vec<KeyspaceReads>,
}

#[derive(Clone, Debug)]
pub(crate) struct KeyspaceReads {
    pub(crate) name: String,
    pub(crate) number: Option<u32>,
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) ranges: Vec<Range<Vec<u8>>>,
}

/// Keys between two bounds.
pub(crate) type Range<K> = (Bound<K>, Bound<K>);

/// Conditions that hold up to a record, as keys of the tree.
struct Prepared {
    upto: Lsn,
    /// In order.
    keys: Vec<TreeKey>,
    ranges: Vec<Range<TreeKey>>,
    /// Keyspaces by the numbers that they have to have still.
    numbers: Vec<(String, Option<u32>)>,
}

/// The keys of records behind one.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// `None` while nobody has asked for them to be noted.
    floor: Option<Lsn>,
    keys: VecDeque<(Lsn, TreeKey)>,
}

impl Recent {
    /// Whether keys are to be noted: who wants that has said so.
    pub(crate) fn is_on(&self) -> bool {
        self.floor.is_some()
    }

    pub(crate) fn note(&mut self, lsn: Lsn, key: TreeKey) {
        if self.keys.len() == RECENT_MAX {
            self.floor = self.keys.pop_front().map(|(lsn, _)| lsn);
        }
        self.keys.push_back((lsn, key));
    }

    /// Begins to note keys, of records behind `lsn`.
    fn begin(&mut self, lsn: Lsn) {
        self.floor.get_or_insert(lsn);
    }

    /// Forgets all, until it is begun again.
    pub(crate) fn end(&mut self) {
        self.floor = None;
        self.keys.clear();
    }

    /// The keys of records behind `lsn`; `None` where not all are known.
    fn behind(&self, lsn: Lsn) -> Option<impl Iterator<Item = &(Lsn, TreeKey)>> {
        self.floor.filter(|floor| *floor <= lsn)?;
        let first = self.keys.partition_point(|(noted, _)| *noted <= lsn);
        Some(self.keys.range(first..))
    }
}

impl Prepared {
    fn has(&self, key: &TreeKey) -> bool {
        let is_in = |(from, to): &Range<TreeKey>| (from.as_ref(), to.as_ref()).contains(key);
        self.keys.binary_search(key).is_ok() || self.ranges.iter().any(is_in)
    }
}

impl<S: Storage> Core<S> {
    /// The queue when it lets a further batch in, whose conditions hold as long as it is locked.
    ///
    /// # Errors
    /// `Conflict`; `Unread`; as of the queue.
    pub(super) fn open_queue_if(
        &self,
        conditions: &Conditions,
    ) -> Result<MutexGuard<'_, Queue<S>>, CommitError> {
        let _watched = Watch::begin(self);
        loop {
            let prepared = self.prepare(conditions)?;
            let mut queue = self.open_queue()?;
            let is_as_named = {
                let known = self.tree.keyspaces();
                let is_now = |(name, number): &(String, Option<u32>)| {
                    *number == number_of(name, &queue.in_flight, &known)
                };
                prepared.numbers.iter().all(is_now)
            };
            let is_all_seen = queue.sequenced == prepared.upto;
            let behind = queue.recent.behind(prepared.upto);
            let is_known = is_as_named && (behind.is_some() || is_all_seen);
            let changed = behind.and_then(|mut keys| keys.find(|(_, key)| prepared.has(key)));
            match changed.filter(|_| is_known) {
                Some((lsn, key)) => return Err(self.conflict(key, *lsn)),
                None if is_known => return Ok(queue),
                None => {}
            }
            // What is in flight is to be seen first; what comes then is noted.
            let upto = queue.sequenced;
            queue.recent.begin(upto);
            self.wait_until_visible(queue, upto)?;
        }
    }

    /// Sees that conditions hold up to the last visible record.
    fn prepare(&self, conditions: &Conditions) -> Result<Prepared, CommitError> {
        let now = self.keys_now();
        let mut prepared =
            Prepared { upto: now.lsn(), keys: Vec::new(), ranges: Vec::new(), numbers: Vec::new() };
        for KeyVersion { keyspace, key, version } in &conditions.versions {
            let number = now.keyspaces().number_of(keyspace);
            let found = now.get(keyspace, key)?;
            let found = found.filter(|found| found.value.is_some()).map_or(0, |found| found.lsn);
            if found != *version {
                let (keyspace, key) = (keyspace.clone(), key.clone());
                return Err(CommitError::Conflict { keyspace, key, version: found });
            }
            prepared.numbers.push((keyspace.clone(), number));
            prepared.keys.extend(number.map(|number| tree_key(number, key)));
        }
        if let Some(Reads { lsn, keyspaces }) = &conditions.reads {
            for reads in keyspaces {
                let number = now.keyspaces().number_of(&reads.name);
                if reads.number.is_some() && reads.number != number {
                    let (keyspace, key) = (reads.name.clone(), Vec::new());
                    return Err(CommitError::Conflict { keyspace, key, version: 0 });
                }
                prepared.numbers.push((reads.name.clone(), number));
                let Some(number) = number else { continue };
                let from = prepared.keys.len();
                prepared.keys.extend(reads.keys.iter().map(|key| tree_key(number, key)));
                if *lsn < prepared.upto {
                    self.check_keys(&prepared.keys[from..], (*lsn, prepared.upto))?;
                }
                for (from, to) in &reads.ranges {
                    let (from, to) = (from.as_ref(), to.as_ref());
                    let (from, to) = (from.map(Vec::as_slice), to.map(Vec::as_slice));
                    if is_empty_range(from, to) {
                        continue;
                    }
                    let range = tree_range(number, (from, to));
                    if *lsn < prepared.upto {
                        self.check_range(&range, (*lsn, prepared.upto))?;
                    }
                    prepared.ranges.push(range);
                }
            }
        }
        prepared.keys.sort_unstable();
        Ok(prepared)
    }

    /// Sees that no record behind one, up to another, has changed any of these keys.
    fn check_keys(&self, keys: &[TreeKey], (lsn, upto): (Lsn, Lsn)) -> Result<(), CommitError> {
        let files = self.tree.files(&self.storage);
        let layers = self.tree.layers_full();
        for key in keys {
            let found = layers.get(files, key, || upto).map_err(CommitError::of_tables)?;
            if let Some(found) = found.filter(|found| found.lsn > lsn) {
                return Err(self.conflict(key, found.lsn));
            }
        }
        Ok(())
    }

    /// As [`check_keys`](Self::check_keys), of all keys in a range.
    fn check_range(
        &self,
        (from, to): &Range<TreeKey>,
        (lsn, upto): (Lsn, Lsn),
    ) -> Result<(), CommitError> {
        let bounds = (from.as_ref().map(|key| &key[..]), to.as_ref().map(|key| &key[..]));
        let files = self.tree.files(&self.storage);
        let layers = self.tree.layers_full().changed_since(lsn);
        let cursor = layers.cursor(files, bounds, upto, Direction::Forward);
        let mut cursor = cursor.map_err(CommitError::of_tables)?;
        while let Some(entry) = cursor.entry() {
            if entry.lsn > lsn {
                return Err(self.conflict(entry.key, entry.lsn));
            }
            cursor.advance().map_err(CommitError::of_tables)?;
        }
        Ok(())
    }

    fn conflict(&self, key: &[u8], version: Lsn) -> CommitError {
        let (number, key) = split(key).unwrap_or_default();
        let keyspaces = self.tree.keyspaces();
        let name = keyspaces.iter().find(|(known, _)| *known == number);
        let keyspace = name.map_or_else(String::new, |(_, name)| name.to_owned());
        CommitError::Conflict { keyspace, key: key.to_vec(), version }
    }

    /// Waits until readers see a record, and writes groups where nobody else may do it.
    fn wait_until_visible<'q>(
        &'q self,
        mut queue: MutexGuard<'q, Queue<S>>,
        lsn: Lsn,
    ) -> Result<(), CommitError> {
        while self.tree.snapshots.visible() < lsn.min(queue.sequenced) {
            self.check_poison().map_err(|()| CommitError::Poisoned)?;
            if queue.can_begin() {
                queue = self.write_groups(queue);
            } else {
                self.changed.wait(&mut queue);
            }
        }
        Ok(())
    }
}

/// The number that a keyspace will have.
fn number_of(name: &str, in_flight: &InFlight, known: &Keyspaces) -> Option<u32> {
    let fate = in_flight.keyspace(name);
    fate.map_or_else(|| known.number_of(name), KeyspaceFate::number)
}

/// While there is one, keys are noted once that was begun.
struct Watch<'c, S: Storage>(&'c Core<S>);

impl<'c, S: Storage> Watch<'c, S> {
    fn begin(core: &'c Core<S>) -> Self {
        core.watchers.fetch_add(1, Ordering::Relaxed);
        Self(core)
    }
}

impl<S: Storage> Drop for Watch<'_, S> {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}
