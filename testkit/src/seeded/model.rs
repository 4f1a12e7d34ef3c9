//! What a database holds as far as its user was told, batch by batch, and what it shows.
//!
//! Keeps contents and the batches that change them. Which contents a crash may leave is `history`'s
//! business.

use crate::sim::{SimRng, digest};
use gannet::storage::Storage;
use gannet::{Database, Id, Metric, Params, ReadError, SearchOptions, WriteBatch};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

pub(super) const KEYSPACES: [&str; 3] = ["alpha", "beta", "gamma"];
pub(super) const COLLECTIONS: [&str; 3] = ["red", "green", "blue"];
const METRICS: [Metric; 3] = [Metric::L2, Metric::Dot, Metric::L2];
const KEYS: usize = 48;
const IDS: usize = 40;
/// Every batch puts its number here, so that no two states of a history are equal.
const STAMP: &str = "stamp";

type Vector = [f32; 4];
type Keys = BTreeMap<Vec<u8>, Arc<[u8]>>;
type Rows = BTreeMap<u64, Vector>;

/// Contents of a database. Clones share what has not changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    stamp: u64,
    keys: [Arc<Keys>; KEYSPACES.len()],
    /// `None` for a collection that was never made.
    rows: [Option<Arc<Rows>>; COLLECTIONS.len()],
}

/// Why a database does not show what it must.
#[derive(Debug)]
pub(super) enum Unlike {
    /// It shows something else.
    Wrong(String),
    /// It cannot be read.
    Unread(ReadError),
}

impl Unlike {
    pub(super) fn told(&self) -> String {
        match self {
            Self::Wrong(what) => what.clone(),
            Self::Unread(error) => super::life::told(error),
        }
    }
}

impl From<String> for Unlike {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

impl From<ReadError> for Unlike {
    fn from(error: ReadError) -> Self {
        Self::Unread(error)
    }
}

/// A batch, the contents after it, and whether the engine must refuse it.
pub(super) struct Draft {
    pub(super) batch: WriteBatch,
    pub(super) after: Model,
    pub(super) is_wrong: bool,
}

impl Model {
    /// A batch of 1 to 6 changes of any kind; `attempt`, from 1, is another one for each.
    pub(super) fn draft(&self, rng: &mut SimRng, attempt: u64) -> Draft {
        let mut draft = Draft { batch: WriteBatch::new(), after: self.clone(), is_wrong: false };
        draft.after.stamp = attempt;
        draft.batch.put(STAMP, b"stamp", &attempt.to_le_bytes());
        for part in 0..=rng.below(6) {
            draft.change(rng, attempt << 8 | part as u64);
        }
        draft
    }

    pub(super) fn digest(&self) -> u128 {
        let of_keys = |keys: &Arc<Keys>| {
            keys.iter().fold(1, |sum: u128, (key, value)| {
                sum.wrapping_add(digest::placed(digest::bytes(value), digest::bytes(key)))
            })
        };
        let of_rows = |rows: &Option<Arc<Rows>>| {
            rows.iter().flat_map(|rows| rows.iter()).fold(2, |sum: u128, (&id, vector)| {
                let bits = vector.iter().fold(0, |bits, c| bits << 32 | u128::from(c.to_bits()));
                sum.wrapping_add(digest::placed(bits, id.into()))
            })
        };
        let parts = self.keys.iter().map(of_keys).chain(self.rows.iter().map(of_rows));
        parts.fold(self.stamp.into(), digest::placed)
    }

    /// Everything that `db` shows.
    ///
    /// # Errors
    /// What cannot be: bytes that nobody wrote, ways of asking that do not agree; what cannot be
    /// read.
    pub(super) fn of<S: Storage>(db: &Database<S>) -> Result<Self, Unlike> {
        let mut model = Self::default();
        if let Some(stamp) = db.get(STAMP, b"stamp")? {
            let stamp = <[u8; 8]>::try_from(stamp).map_err(|found| format!("stamp {found:?}"))?;
            model.stamp = u64::from_le_bytes(stamp);
        }
        for (keys, keyspace) in model.keys.iter_mut().zip(KEYSPACES) {
            let keys = Arc::make_mut(keys);
            let scanned = db.scan(keyspace, Bound::Unbounded, Bound::Unbounded, |key, value| {
                keys.insert(key.to_vec(), value.into());
                ControlFlow::Continue(())
            });
            scanned?;
        }
        for (rows, collection) in model.rows.iter_mut().zip(COLLECTIONS) {
            let Some(stats) = db.collection(collection) else { continue };
            let mut found = Rows::new();
            for id in 0..IDS as u64 {
                if let Some(vector) = db.get_vector(collection, &Id::Int(id))? {
                    let vector = Vector::try_from(vector).map_err(|v| format!("vector {v:?}"))?;
                    found.insert(id, vector);
                }
            }
            if stats.rows != found.len() as u64 {
                let found = found.len();
                return Err(format!("{collection} has {} rows, {found} found", stats.rows).into());
            }
            *rows = Some(Arc::new(found));
        }
        Ok(model)
    }

    /// One question of any kind to a database that must have these contents.
    ///
    /// # Errors
    /// A wrong answer; none, where it cannot be read.
    pub(super) fn ask<S: Storage>(&self, db: &Database<S>, rng: &mut SimRng) -> Result<(), Unlike> {
        let at = rng.below(KEYSPACES.len());
        let (keyspace, keys) = (KEYSPACES[at], &self.keys[at]);
        match rng.below(4) {
            0 => {
                let key = key(rng);
                let found = db.get(keyspace, &key)?;
                let due = keys.get(&key).map(|value| value.to_vec());
                if found != due {
                    let found = format!("{keyspace} {key:?} is {found:?}, expected {due:?}");
                    return Err(found.into());
                }
            }
            1 => {
                let mut ends = [key(rng), key(rng)];
                ends.sort();
                let range = (Bound::Excluded(&ends[0][..]), Bound::Included(&ends[1][..]));
                let mut found = Vec::new();
                let scanned = db.scan(keyspace, range.0, range.1, |key, _| {
                    found.push(key.to_vec());
                    ControlFlow::Continue(())
                });
                scanned?;
                let due = keys.range::<[u8], _>(range).map(|(key, _)| key.clone());
                let due: Vec<_> = due.collect();
                if found != due {
                    let found = format!("{keyspace} {ends:?} has {found:?}, expected {due:?}");
                    return Err(found.into());
                }
            }
            _ => self.ask_search(db, rng)?,
        }
        Ok(())
    }

    fn ask_search<S: Storage>(&self, db: &Database<S>, rng: &mut SimRng) -> Result<(), String> {
        let at = rng.below(COLLECTIONS.len());
        let (collection, Some(rows)) = (COLLECTIONS[at], &self.rows[at]) else { return Ok(()) };
        let query = vector(rng.next_u64());
        let mut options = SearchOptions::new(1 + rng.below(10));
        options.exact = rng.below(2) == 0;
        let hits = db.search(collection, &query, &options).map_err(|error| error.to_string())?;
        let score = |row: &Vector| -> f64 {
            let pairs = row.iter().zip(&query).map(|(a, b)| (f64::from(*a), f64::from(*b)));
            match METRICS[at] {
                Metric::L2 | Metric::Hamming => pairs.map(|(a, b)| (a - b) * (a - b)).sum(),
                Metric::Cosine | Metric::Dot => -pairs.map(|(a, b)| a * b).sum::<f64>(),
            }
        };
        let mut due: Vec<_> = rows.values().map(score).collect();
        due.sort_by(f64::total_cmp);
        due.truncate(options.k);
        let mut found = Vec::new();
        for hit in &hits {
            let Id::Int(id) = hit.id else { return Err(format!("hit {hit:?}")) };
            let row = rows.get(&id).ok_or_else(|| format!("{collection} has no {hit:?}"))?;
            found.push(score(row));
        }
        // The walk of a graph may miss some; what it finds is there, and in order.
        if options.exact && found != due || !found.is_sorted() || found.len() > due.len() {
            return Err(format!("{collection}: search found {found:?}, expected {due:?}"));
        }
        Ok(())
    }
}

impl Draft {
    fn change(&mut self, rng: &mut SimRng, number: u64) {
        let at = rng.below(KEYSPACES.len());
        let (keyspace, collection) = (KEYSPACES[at], COLLECTIONS[at]);
        let keys = &mut self.after.keys[at];
        match rng.below(12) {
            0..5 => {
                let (key, value) = (key(rng), value(rng, number));
                self.batch.put(keyspace, &key, &value);
                Arc::make_mut(keys).insert(key, value.into());
            }
            5 if rng.below(8) == 0 => {
                self.batch.drop_keyspace(keyspace);
                *keys = Arc::default();
            }
            5 | 6 => {
                let key = key(rng);
                self.batch.delete(keyspace, &key);
                Arc::make_mut(keys).remove(&key);
            }
            _ => self.change_row(rng, at, collection, number),
        }
    }

    fn change_row(&mut self, rng: &mut SimRng, at: usize, collection: &str, number: u64) {
        let id = rng.below(IDS) as u64;
        let rows = &mut self.after.rows[at];
        if rows.is_none() {
            if rng.below(24) == 0 {
                // Refused, whole.
                self.batch.upsert(collection, id, &vector(number));
                self.is_wrong = true;
                return;
            }
            let params = Params { m: 4, ef_construction: 16, ..Params::new(4, METRICS[at]) };
            self.batch.create_collection(collection, params);
        }
        let rows = Arc::make_mut(rows.get_or_insert_default());
        match rng.below(3) {
            0 => {
                self.batch.delete_row(collection, id);
                rows.remove(&id);
            }
            1 if rng.below(8) == 0 || !rows.contains_key(&id) => {
                self.batch.insert(collection, id, &vector(number));
                self.is_wrong |= rows.insert(id, vector(number)).is_some();
            }
            _ => {
                self.batch.upsert(collection, id, &vector(number));
                rows.insert(id, vector(number));
            }
        }
    }
}

fn key(rng: &mut SimRng) -> Vec<u8> {
    format!("key-{}", rng.below(KEYS)).into_bytes()
}

/// Mostly short; some span blocks, and one in many a segment of 16 KiB.
fn value(rng: &mut SimRng, number: u64) -> Vec<u8> {
    let len = match rng.below(64) {
        0 => 20_000,
        1..6 => 4_000,
        _ => rng.below(700),
    };
    let fill = digest::placed(number.into(), 7).to_le_bytes();
    fill.iter().copied().cycle().take(8 + len).collect()
}

/// Different for most numbers; exact in f32, as are sums of products.
fn vector(number: u64) -> Vector {
    let mixed = digest::placed(number.into(), 3).to_le_bytes();
    [0, 1, 2, 3].map(|at| f32::from(i8::from_le_bytes([mixed[at]])))
}
