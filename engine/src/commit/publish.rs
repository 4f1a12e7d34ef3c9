//! Batches take effect: their records are brought where readers look, and then seen all at once.
//!
//! Called under the queue's lock, by one thread at a time, in order.

use crate::damage::Lsn;
use crate::database::Core;
use crate::memtable::NewVersion;
use crate::record::{Record, RecordFault};
use crate::state::decode_all;
use crate::tree::{Keyspaces, tree_key};
use gannet_storage::Storage;

/// A batch as it takes effect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effect<'b> {
    pub(crate) body: &'b [u8],
    pub(crate) records: u32,
    pub(crate) first_lsn: Lsn,
    /// It changes keys and nothing else.
    pub(crate) is_of_keys: bool,
}

impl<S: Storage> Core<S> {
    /// Has batches take effect, which follow each other in the log.
    ///
    /// # Panics
    /// If a batch does not apply: it was checked.
    pub(crate) fn publish<'b>(&self, batches: impl Iterator<Item = Effect<'b>> + Clone) {
        let of_keys = batches.clone().all(|batch| batch.is_of_keys);
        let (mut last_lsn, mut keyspaces) = (None, None);
        // Whoever looks at rows and keys together keeps this lock: a snapshot sees all of a batch.
        let mut state = (!of_keys).then(|| self.state.write());
        for Effect { body, records, first_lsn, .. } in batches {
            let mut lsn = first_lsn;
            let applied = decode_all(records, body, |record| {
                match (&mut state, is_of_tree(&record)) {
                    (_, true) => self.apply_to_tree(&record, lsn, &mut keyspaces)?,
                    (Some(state), false) => state.apply(record)?,
                    (None, false) => return Err("record of keys"),
                }
                lsn += 1;
                Ok(())
            });
            let end = |fault: RecordFault| panic!("a checked batch does not apply: {fault}");
            applied.unwrap_or_else(end);
            if records > 0 {
                last_lsn = Some(lsn - 1);
            }
        }
        if let Some(last_lsn) = last_lsn {
            self.tree.snapshots.publish(last_lsn);
        }
        if let Some(keyspaces) = keyspaces {
            // Who finds a keyspace by its name finds what is in it.
            self.tree.set_keyspaces(keyspaces);
        }
        let has_new_rows = state.is_some_and(|mut state| std::mem::take(&mut state.has_new_rows));
        if has_new_rows {
            self.note_rows();
        }
        if self.tree.freeze_if_full() {
            // A table is to be made, however soon the keeper would look by itself.
            self.work.notify_one();
        }
    }

    /// Brings a record of keys into the tree; one of a keyspace is noted in `keyspaces`, which are
    /// to be those of the tree.
    fn apply_to_tree(
        &self,
        record: &Record<'_>,
        lsn: Lsn,
        keyspaces: &mut Option<Keyspaces>,
    ) -> Result<(), &'static str> {
        let (keyspace, key, value) = match record {
            Record::Put { keyspace, key, value } => (*keyspace, *key, Some(*value)),
            Record::Delete { keyspace, key } => (*keyspace, *key, None),
            Record::CreateKeyspace { keyspace, name } => {
                return self.to_change(keyspaces).add(*keyspace, name);
            }
            Record::DropKeyspace { keyspace } => {
                let keyspaces = self.to_change(keyspaces);
                keyspaces.forget_dropped(self.tree.snapshots.horizons().first());
                return keyspaces.drop(*keyspace, lsn);
            }
            Record::CreateCollection { .. }
            | Record::Insert { .. }
            | Record::DeleteRow { .. }
            | Record::Cut { .. } => return Err("record of rows"),
        };
        let key = tree_key(keyspace, key);
        let version = NewVersion { key: &key, lsn, value };
        self.tree.layers().active.insert(version, || self.tree.snapshots.horizons());
        Ok(())
    }

    /// The keyspaces that are to be those of the tree.
    fn to_change<'k>(&self, keyspaces: &'k mut Option<Keyspaces>) -> &'k mut Keyspaces {
        keyspaces.get_or_insert_with(|| Keyspaces::clone(&self.tree.keyspaces()))
    }
}

fn is_of_tree(record: &Record<'_>) -> bool {
    match record {
        Record::CreateKeyspace { .. }
        | Record::DropKeyspace { .. }
        | Record::Put { .. }
        | Record::Delete { .. } => true,
        Record::CreateCollection { .. }
        | Record::Insert { .. }
        | Record::DeleteRow { .. }
        | Record::Cut { .. } => false,
    }
}
