//! What a database under torture was told, what it must show, and what it shows.
//!
//! Batch `n` puts three keys and a row, and every even batch is deleted again by the sixth after
//! it: so the contents follow from how many batches there are. Values name the batch and the `tag`
//! of the attempt to commit it, so that what was cut is told from what took its place.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;

use gannet::storage::{DirOptions, Storage};
use gannet::{
    AnyStorage, Backend, Config, Database, Durability, Id, Metric, OpenError, Params, ReadError,
    SeededChance, WriteBatch,
};

const KEYSPACE: &str = "torture";
const COLLECTION: &str = "torture";
const KEYS: usize = 3;
/// The keys and the row.
const PARTS: usize = KEYS + 1;
const DELETED_AFTER: u64 = 6;

/// What a check found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) lost: u64,
    pub(super) holes: u64,
    pub(super) partial: u64,
    pub(super) revived: u64,
    pub(super) other: Vec<String>,
    /// What could not be read because it is damaged: then nothing was counted.
    pub(super) damaged: Option<String>,
}

impl Findings {
    /// Something could not be read.
    fn unread(&mut self, error: &ReadError) {
        let what = crate::failure::one_line(error);
        if matches!(error, ReadError::Corrupt(_)) {
            self.damaged = Some(what);
        } else {
            self.other.push(what);
        }
    }
}

/// Batches of one database.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    seed: u64,
    /// Of acknowledged batches, from number 1, the tags.
    acked: Vec<u64>,
    /// Of those after them that may be there, in order.
    maybe: Vec<u64>,
}

pub(super) fn open_storage(backend: Backend, dir: &Path) -> Result<AnyStorage, OpenError> {
    AnyStorage::open(backend, dir, &DirOptions::create())
}

/// Small segments; the `tag` decides between the ways to work.
pub(super) fn config(seed: u64, tag: u64) -> Config {
    let mut config = Config::balanced();
    config.segment_bytes = 16 << 10;
    config.threads = 1;
    config.chance = Arc::new(SeededChance::new(seed ^ tag << 32));
    config
}

/// For a database that only a process's end threatens: buffered commits too, and a keeper.
pub(super) fn config_for_kills(seed: u64, tag: u64) -> Config {
    let mut config = config(seed, tag);
    if tag % 2 == 1 {
        config.durability = Durability::Buffered;
    }
    if tag % 4 >= 2 {
        config.threads = 2;
    }
    config
}

pub(super) fn batch(seed: u64, number: u64, tag: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    let params = Params { m: 4, ef_construction: 16, ..Params::new(2, Metric::L2) };
    batch.create_collection(COLLECTION, params);
    for part in 0..KEYS {
        batch.put(KEYSPACE, &key(number, part), &value(seed, number, tag, part));
    }
    batch.upsert(COLLECTION, number, &row(number, tag));
    if let Some(gone) = number.checked_sub(DELETED_AFTER).filter(|&gone| is_deletable(gone)) {
        for part in 0..KEYS {
            batch.delete(KEYSPACE, &key(gone, part));
        }
        batch.delete_row(COLLECTION, gone);
    }
    batch
}

fn is_deletable(number: u64) -> bool {
    number > 0 && number.is_multiple_of(2)
}

fn key(number: u64, part: usize) -> [u8; 9] {
    let mut key = [0; 9];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key[8] = u8::try_from(part).expect("a few parts");
    key
}

fn value(seed: u64, number: u64, tag: u64, part: usize) -> Vec<u8> {
    use gannet::Chance as _;
    let chance = SeededChance::new(seed ^ number << 20 ^ tag << 40 ^ part as u64);
    let words = 2 + chance.next_u64() % 120;
    let mut value = [tag.to_le_bytes(), number.to_le_bytes()].concat();
    value.extend((0..words).flat_map(|_| chance.next_u64().to_le_bytes()));
    value
}

/// Exact in f32: both are small.
fn row(number: u64, tag: u64) -> [f32; 2] {
    [number, tag].map(|part| f32::from(u16::try_from(part).expect("a round is short")))
}

impl Ledger {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, acked: Vec::new(), maybe: Vec::new() }
    }

    /// Number of the next batch.
    pub(super) fn next(&self) -> u64 {
        (self.acked.len() + self.maybe.len()) as u64 + 1
    }

    pub(super) fn has_unknown(&self) -> bool {
        !self.maybe.is_empty()
    }

    pub(super) fn batch(&self, tag: u64) -> WriteBatch {
        batch(self.seed, self.next(), tag)
    }

    /// The next batch was acknowledged.
    pub(super) fn ack(&mut self, tag: u64) {
        self.acked.append(&mut self.maybe);
        self.acked.push(tag);
    }

    /// The next batch may be there or not.
    pub(super) fn perhaps(&mut self, tag: u64) {
        self.maybe.push(tag);
    }

    /// Holds what a database shows against what it must, and takes it for what is.
    pub(super) fn check<S: Storage>(&mut self, db: &Database<S>) -> Findings {
        let mut findings = Findings::default();
        let shown = self.shown(db, &mut findings);
        if findings.damaged.is_some() {
            return findings;
        }
        let highest = shown.keys().next_back().copied().unwrap_or(0);
        let acked = self.acked.len() as u64;
        let tags = [&self.acked[..], &self.maybe].concat();
        let count = highest.clamp(acked, tags.len() as u64);
        for (number, &tag) in (1..=count).zip(&tags) {
            let parts = shown.get(&number).map_or([None; PARTS], |parts| *parts);
            let there = parts.iter().flatten().count();
            if is_deletable(number) && number + DELETED_AFTER <= count {
                findings.revived += u64::from(there > 0);
                continue;
            }
            match there {
                0 => {
                    findings.lost += u64::from(number <= acked);
                    findings.holes += u64::from(number < highest);
                }
                PARTS => {}
                _ => findings.partial += 1,
            }
            findings.revived += u64::from(parts.iter().flatten().any(|&found| found != tag));
        }
        findings.revived += shown.range(count + 1..).count() as u64;
        self.acked = tags;
        self.acked.truncate(usize::try_from(count).expect("a round is short"));
        self.maybe.clear();
        findings
    }

    /// The tags of everything that is shown, by batch.
    fn shown<S: Storage>(
        &self,
        db: &Database<S>,
        findings: &mut Findings,
    ) -> BTreeMap<u64, [Option<u64>; PARTS]> {
        let mut shown: BTreeMap<u64, [Option<u64>; PARTS]> = BTreeMap::new();
        let scanned = db.scan(KEYSPACE, Bound::Unbounded, Bound::Unbounded, |found, bytes| {
            let tag = bytes.first_chunk().map(|tag| u64::from_le_bytes(*tag));
            let place = found.first_chunk().map(|number| u64::from_le_bytes(*number));
            let part = found.get(8).map_or(PARTS, |&part| usize::from(part));
            match (place, tag) {
                (Some(number), Some(tag))
                    if part < KEYS
                        && *found == key(number, part)
                        && *bytes == value(self.seed, number, tag, part) =>
                {
                    shown.entry(number).or_default()[part] = Some(tag);
                }
                _ => findings.other.push(format!("key {found:?} was never put with its value")),
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = scanned {
            findings.unread(&error);
        }
        let Some(rows) = db.collection(COLLECTION).map(|stats| stats.rows) else { return shown };
        let mut found = 0;
        // One more than can be, and some.
        for number in 1..self.next() + 2 * DELETED_AFTER {
            let vector = match db.get_vector(COLLECTION, &Id::Int(number)) {
                Ok(vector) => vector,
                Err(error) => {
                    findings.unread(&error);
                    None
                }
            };
            let Some(vector) = vector else { continue };
            found += 1;
            let tag = (0..u16::MAX).find(|&tag| vector.get(1) == Some(&f32::from(tag)));
            match tag.map(u64::from).filter(|&tag| vector == row(number, tag)) {
                Some(tag) => shown.entry(number).or_default()[KEYS] = Some(tag),
                None => findings.other.push(format!("row {number} is {vector:?}")),
            }
        }
        if found != rows {
            findings.other.push(format!("{rows} rows, {found} of them with ids that were given"));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gannet::storage::MemStorage;

    /// Commits batches `numbers` with tag 1 and checks against `acked` and `maybe` of them.
    fn check(numbers: &[u64], acked: usize, maybe: usize) -> [u64; 4] {
        let db = Database::open(MemStorage::new(), config(3, 1)).unwrap();
        for &number in numbers {
            db.commit(batch(3, number, 1)).unwrap();
        }
        let mut ledger = Ledger { seed: 3, acked: vec![1; acked], maybe: vec![1; maybe] };
        let found = ledger.check(&db);
        assert!(found.other.is_empty(), "{found:?}");
        assert!(ledger.acked.len() >= acked && ledger.maybe.is_empty());
        [found.lost, found.holes, found.partial, found.revived]
    }

    #[test]
    fn every_kind_of_violation_is_told_from_what_is_right() {
        let ten: Vec<u64> = (1..=10).collect();
        assert_eq!(check(&ten, 10, 0), [0; 4]);
        assert_eq!(check(&ten, 8, 3), [0; 4]);
        assert_eq!(check(&[], 0, 4), [0; 4]);
        assert_eq!(check(&ten, 11, 0), [1, 0, 0, 0]);
        assert_eq!(check(&[1, 2, 3, 5], 5, 0), [1, 1, 0, 0]);
        assert_eq!(check(&[1, 2, 4], 2, 2), [0, 1, 0, 0]);
        assert_eq!(check(&ten, 8, 0), [1, 1, 0, 2], "what the two deleted is missed");
    }

    #[test]
    fn parts_other_tags_and_wrong_values_are_found() {
        let db = Database::open(MemStorage::new(), config(3, 1)).unwrap();
        for number in 1..=3 {
            db.commit(batch(3, number, 1)).unwrap();
        }
        let mut ledger = Ledger { seed: 3, acked: vec![1, 2, 1], maybe: Vec::new() };
        assert_eq!(ledger.clone().check(&db).revived, 1);
        let mut part = WriteBatch::new();
        part.delete(KEYSPACE, &key(1, 2));
        part.put(KEYSPACE, &key(3, 0), b"never");
        db.commit(part).unwrap();
        let found = ledger.check(&db);
        assert_eq!((found.partial, found.other.len()), (2, 1), "{found:?}");
    }
}
