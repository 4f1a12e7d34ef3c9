//! What a database holds as far as its user was told, and the batches that change it.
//!
//! Keeps contents only. When a batch counts as done is left to `expect`.

use super::workload::Op;
use crate::sim::digest;
use gannet::{Id, Metric, Params, WriteBatch};
use std::collections::BTreeMap;

/// The collection that batches insert into.
pub(super) const COLLECTION: &str = "vectors";
/// The keyspace that batches put into.
pub(super) const KEYSPACE: &str = "keys";
/// The key that every put overwrites and every delete removes.
const SHARED_KEY: &str = "shared";
/// The vector that every insert replaces.
const SHARED_ID: u64 = 7;
/// Rows of an import.
const IMPORT_ROWS: u64 = 200;
/// Values span sectors, so that a batch can be torn.
const VALUE_LEN_BYTES: usize = 700;

pub(super) type Vector = [f32; 4];

/// Contents of a database.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    /// Whether the collection has been made.
    pub(super) has_collection: bool,
    pub(super) keys: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) rows: BTreeMap<u64, Vector>,
}

impl Model {
    /// The batch of operation `op`, and the contents after it. `attempt` is different for every
    /// batch of a history, so that a batch that was lost is never the same as a later one.
    ///
    /// `None` for operations that change no contents.
    pub(super) fn batch(&self, op: Op, attempt: u64) -> Option<(WriteBatch, Self)> {
        let mut batch = Draft { batch: WriteBatch::new(), after: self.clone() };
        match op {
            Op::Insert | Op::Beside | Op::Compact => {
                batch.create_collection();
                for row in 0..3 {
                    batch.upsert(100 * (attempt + 1) + row, attempt);
                }
                batch.upsert(SHARED_ID, attempt);
                if let (Op::Compact, Some(&id)) = (op, self.rows.keys().nth(1)) {
                    batch.delete_row(id);
                }
                batch.put(SHARED_KEY, attempt);
                batch.put(&format!("insert-{attempt}"), attempt);
            }
            Op::Import => {
                batch.create_collection();
                for row in 0..IMPORT_ROWS {
                    batch.upsert(1000 * (attempt + 1) + row, attempt);
                }
            }
            Op::Put | Op::Buffered => {
                batch.put(SHARED_KEY, attempt);
                batch.put(&format!("put-{attempt}"), attempt);
            }
            Op::Delete => {
                let first = self.keys.keys().find(|key| **key != SHARED_KEY.as_bytes()).cloned();
                batch.delete(SHARED_KEY.as_bytes());
                batch.delete(first.as_deref().unwrap_or(b"nothing"));
                if let Some(&id) = self.rows.keys().next() {
                    batch.delete_row(id);
                }
            }
            Op::Tend | Op::Checkpoint | Op::Close | Op::Optimize => return None,
        }
        Some((batch.batch, batch.after))
    }

    /// Equal for equal contents.
    pub(super) fn digest(&self) -> u128 {
        let keys = self.keys.iter().fold(0, |sum: u128, (key, value)| {
            sum.wrapping_add(digest::placed(digest::bytes(value), digest::bytes(key)))
        });
        let rows = self.rows.iter().fold(0, |sum: u128, (&id, vector)| {
            let bits = vector.iter().fold(0, |bits, part| bits << 32 | u128::from(part.to_bits()));
            sum.wrapping_add(digest::placed(bits, id.into()))
        });
        digest::placed(digest::placed(keys, rows), self.has_collection.into())
    }
}

/// A batch and what it makes of the contents.
struct Draft {
    batch: WriteBatch,
    after: Model,
}

impl Draft {
    fn create_collection(&mut self) {
        let params = Params { m: 4, ef_construction: 16, ..Params::new(4, Metric::L2) };
        self.batch.create_collection(COLLECTION, params);
        self.after.has_collection = true;
    }

    fn upsert(&mut self, id: u64, attempt: u64) {
        let vector = vector(id, attempt);
        if self.after.rows.insert(id, vector).is_some() {
            self.batch.upsert(COLLECTION, Id::Int(id), &vector);
        } else {
            self.batch.insert(COLLECTION, Id::Int(id), &vector);
        }
    }

    fn delete_row(&mut self, id: u64) {
        self.after.rows.remove(&id);
        self.batch.delete_row(COLLECTION, Id::Int(id));
    }

    fn put(&mut self, key: &str, attempt: u64) {
        let mut value = format!("{key} of {attempt}: ").into_bytes();
        let fill = digest::bytes(&value).to_le_bytes().map(|byte| byte | 1);
        value.extend(fill.iter().cycle().take(VALUE_LEN_BYTES));
        self.batch.put(KEYSPACE, key.as_bytes(), &value);
        self.after.keys.insert(key.into(), value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.after.keys.remove(key);
        self.batch.delete(KEYSPACE, key);
    }
}

/// Different for every id and attempt, and exact in f32.
fn vector(id: u64, attempt: u64) -> Vector {
    let mixed = digest::placed(id.into(), attempt.into()).to_le_bytes();
    [0, 1, 2, 3].map(|at| f32::from(i16::from_le_bytes([mixed[2 * at], mixed[2 * at + 1]])))
}
