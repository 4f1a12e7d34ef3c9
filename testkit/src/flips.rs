//! A small database, each byte of each of its files inverted in turn: never a wrong answer.
//!
//! The database has two checkpoints that share files, a log of several segments behind them, and a
//! last batch that nothing bears witness to, as a kill leaves it. With one byte inverted it must be
//! refused by name, or show all it had (an older checkpoint and a longer replay, a graph built
//! again, a byte that means nothing); only damage of the last group may cut that group, as a torn
//! write is. These are counted apart.
//!
//! ```
//! use gannet_testkit::flips::{Flips, run};
//!
//! let report = run(&Flips { one_in: 4001, ..Flips::default() });
//! assert_eq!(report.violations, [""; 0]);
//! ```

use crate::sim::{SimDisk, SimRng, Tampered};
use gannet::{
    Config, Database, Id, Metric, OpenError, Params, ReadError, SeededChance, WriteBatch,
};
use gannet_storage::{FileMeta, FileName, Storage};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Which database, and which of its bytes.
#[derive(Clone, Debug)]
pub struct Flips {
    /// So many bytes of values, at least, are in a table.
    pub value_bytes: usize,
    /// One byte in so many is tried; 1 for all of them.
    pub one_in: usize,
    /// Of the contents.
    pub seed: u64,
    /// Threads that share the bytes.
    pub threads: usize,
}

impl Default for Flips {
    fn default() -> Self {
        Self { value_bytes: 32 << 10, one_in: 1, seed: 1, threads: 1 }
    }
}

/// What became of the flips.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Length of all files.
    pub store_bytes: u64,
    /// Bytes inverted, each alone.
    pub flips: u64,
    /// Opening refused, and named a file.
    pub refused: u64,
    /// All was there, and the report of the opening tells of the damage.
    pub repaired: u64,
    /// All was there: the byte means nothing, or not yet.
    pub harmless: u64,
    /// The last batch, without a witness, was cut like a torn write.
    pub unwitnessed: u64,
    /// The first wrong answers, panics and refusals that name nothing.
    pub violations: Vec<String>,
}

/// Most violations that are kept.
const TOLD_MAX: usize = 20;

/// A database as a kill leaves it.
struct Store {
    disk: SimDisk,
    /// What it shows, and what it showed before the last batch.
    contents: [Contents; 2],
    newest_manifest: Option<FileName>,
    seed: u64,
}

/// Flips all the bytes.
///
/// # Panics
/// If the database cannot be made, or the system has no room for a thread.
#[must_use]
pub fn run(flips: &Flips) -> Report {
    let store = Store::make(flips);
    let files = store.files();
    let places: Vec<Tampered> = files
        .iter()
        .flat_map(|meta| (0..meta.len_bytes).map(|offset| (meta.name.clone(), offset)))
        .step_by(flips.one_in)
        .map(|(file, offset)| Tampered { file, offset })
        .collect();
    let next = AtomicUsize::new(0);
    let part = || {
        let mut report = Report::default();
        while let Some(place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
            let judged = catch_unwind(AssertUnwindSafe(|| store.judge(place, &mut report)));
            report.flips += 1;
            if let Err(what) = judged.unwrap_or_else(|_| Err("a panic".to_owned())) {
                report.violations.push(format!("{place}: {what}"));
            }
        }
        report
    };
    let store_bytes = files.iter().map(|meta| meta.len_bytes).sum();
    let mut report = Report { store_bytes, ..Report::default() };
    thread::scope(|scope| {
        let spawn = |index| {
            let thread = thread::Builder::new().name(format!("flips-{index}"));
            thread.spawn_scoped(scope, part).expect("the system has room for a thread")
        };
        let threads: Vec<_> = (0..flips.threads.max(1)).map(spawn).collect();
        for thread in threads {
            report.add(thread.join().expect("panics of the engine are caught"));
        }
    });
    report.violations.sort();
    report.violations.truncate(TOLD_MAX);
    report
}

/// All that a database shows.
#[derive(Clone, Debug, Default, PartialEq)]
struct Contents {
    keys: BTreeMap<Vec<u8>, Vec<u8>>,
    rows: BTreeMap<u64, Vec<f32>>,
}

const KEYSPACE: &str = "k";
const COLLECTION: &str = "c";
/// No more than that were ever given.
const IDS: u64 = 16;
/// Length of a value; a few of them make a block of a table.
const VALUE_BYTES: usize = 1500;

impl Contents {
    fn of<S: Storage>(db: &Database<S>) -> Result<Self, ReadError> {
        let mut contents = Self::default();
        db.scan(KEYSPACE, Bound::Unbounded, Bound::Unbounded, |key, value| {
            contents.keys.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        })?;
        for id in 0..IDS {
            if let Some(vector) = db.get_vector(COLLECTION, &Id::Int(id))? {
                contents.rows.insert(id, vector);
            }
        }
        Ok(contents)
    }

    /// Every key on its own: what can be read is right.
    fn check_keys<S: Storage>(&self, db: &Database<S>) -> Result<(), String> {
        for (key, value) in &self.keys {
            match db.get(KEYSPACE, key) {
                Ok(found) if found.as_ref() == Some(value) => {}
                Err(ReadError::Corrupt(_)) => {}
                Ok(_) => return Err(format!("a wrong value of {key:?}")),
                Err(error) => return Err(format!("not a refusal: {error}")),
            }
        }
        Ok(())
    }

    fn put(&mut self, batch: &mut WriteBatch, number: u64, len: usize) {
        let key = number.to_le_bytes();
        // Nothing that a table could compress: most bytes of a file are those of values.
        let mut rng = SimRng::new(number << 16 | len as u64);
        let words = (0..len.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes());
        let value: Vec<u8> = words.take(len).collect();
        batch.put(KEYSPACE, &key, &value);
        self.keys.insert(key.to_vec(), value);
    }

    fn upsert(&mut self, batch: &mut WriteBatch, id: u64, number: u8) {
        let vector = vec![f32::from(number), f32::from(number / 2)];
        batch.upsert(COLLECTION, id, &vector);
        self.rows.insert(id, vector);
    }
}

impl Store {
    fn make(flips: &Flips) -> Self {
        let disk = SimDisk::new();
        let db = Database::open(disk.open().expect("free"), config(flips.seed)).expect("new");
        let params = Params { m: 4, ef_construction: 16, ..Params::new(2, Metric::L2) };
        db.create_collection(COLLECTION, params).expect("new");
        let mut contents = [Contents::default(), Contents::default()];
        let mut commit = |change: &dyn Fn(&mut Contents, &mut WriteBatch)| {
            let (mut batch, mut after) = (WriteBatch::new(), contents[0].clone());
            change(&mut after, &mut batch);
            db.commit(batch).expect("commits");
            contents = [after, std::mem::take(&mut contents[0])];
        };
        let checkpoint = || {
            db.checkpoint(&mut |_| ControlFlow::Continue(())).expect("a checkpoint");
        };
        commit(&|contents, batch| (0..12).for_each(|id| contents.upsert(batch, id, 40)));
        commit(&|contents, batch| {
            contents.put(batch, 1, 300);
            contents.upsert(batch, 3, 77);
            batch.delete_row(COLLECTION, 4);
            contents.rows.remove(&4);
        });
        checkpoint();
        // The next checkpoint shares rows and graph with this one.
        commit(&|contents, batch| contents.put(batch, 2, 100));
        for number in (3..).take(flips.value_bytes.div_ceil(VALUE_BYTES)) {
            commit(&|contents, batch| contents.put(batch, number, VALUE_BYTES));
        }
        checkpoint();
        commit(&|contents, batch| contents.put(batch, 1, 10));
        commit(&|contents, batch| {
            contents.upsert(batch, 13, 9);
            batch.delete_row(COLLECTION, 0);
            contents.rows.remove(&0);
        });
        commit(&|contents, batch| contents.put(batch, 2, 500));
        drop(db);
        let disk = disk.kill();
        let mut store = Self { disk, contents, newest_manifest: None, seed: flips.seed };
        let is_manifest = |name: &FileName| name.as_str().starts_with("manifest-");
        let names = store.files().into_iter().map(|meta| meta.name);
        store.newest_manifest = names.filter(is_manifest).max();
        store
    }

    fn files(&self) -> Vec<FileMeta> {
        self.disk.open().expect("free").list().expect("listed")
    }

    /// Whether there is a way round all that can be wrong with the file: the root has two slots,
    /// and behind the newest manifest is one more, with the log that leads from it.
    fn may_not_refuse(&self, file: &FileName) -> bool {
        file.as_str() == "root" || self.newest_manifest.as_ref() == Some(file)
    }

    /// # Errors
    /// A promise that was broken.
    fn judge(&self, place: &Tampered, report: &mut Report) -> Result<(), String> {
        let disk = self.disk.snapshot();
        disk.flip(place);
        match Database::open(disk.open().expect("free"), config(self.seed + 1)) {
            Ok(db) => {
                let shown = match Contents::of(&db) {
                    Ok(shown) => shown,
                    // Of tables, blocks are verified when they are read.
                    Err(ReadError::Corrupt(found)) if found.file == place.file.as_str() => {
                        report.refused += 1;
                        return self.contents[0].check_keys(&db);
                    }
                    Err(error) => return Err(format!("not a refusal: {error}")),
                };
                let rows = db.collection(COLLECTION).map_or(0, |stats| stats.rows);
                if rows != shown.rows.len() as u64 {
                    return Err(format!("{rows} rows, {} found", shown.rows.len()));
                }
                let told = db.recovery_report();
                let is_clean = told.fallbacks.is_empty()
                    && told.index_actions.is_empty()
                    && told.root_damage.is_none();
                if shown == self.contents[0] {
                    report.harmless += u64::from(is_clean);
                    report.repaired += u64::from(!is_clean);
                } else if shown == self.contents[1] && told.torn_bytes > 0 {
                    report.unwitnessed += 1;
                } else {
                    return Err("a wrong answer".to_owned());
                }
                Ok(())
            }
            Err(error) if self.may_not_refuse(&place.file) => {
                Err(format!("refused, though the checkpoint before is whole: {error}"))
            }
            Err(OpenError::Corrupt(found)) if !found.file.is_empty() => {
                report.refused += 1;
                Ok(())
            }
            Err(OpenError::NewerVersion { .. } | OpenError::NotADatabase { .. }) => {
                report.refused += 1;
                Ok(())
            }
            Err(error) => Err(format!("not a refusal: {error}")),
        }
    }
}

fn config(seed: u64) -> Config {
    let mut config = Config::balanced();
    config.threads = 1;
    // The last batches share a segment: it is frames that bear witness, not a segment's header.
    config.segment_bytes = 2 * gannet::limits::SEGMENT_BYTES_MIN;
    config.chance = Arc::new(SeededChance::new(seed));
    config
}

impl Report {
    /// Takes in what another thread did.
    fn add(&mut self, other: Self) {
        self.flips += other.flips;
        self.refused += other.refused;
        self.repaired += other.repaired;
        self.harmless += other.harmless;
        self.unwitnessed += other.unwitnessed;
        self.violations.extend(other.violations);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in [
            ("bytes of all files", self.store_bytes),
            ("bytes flipped", self.flips),
            ("refused by name", self.refused),
            ("repaired and told", self.repaired),
            ("harmless", self.harmless),
            ("the un-witnessed last batch cut", self.unwitnessed),
        ] {
            writeln!(f, "{name:<42} {count:>12}")?;
        }
        write!(f, "{:<42} {:>12}", "violations", self.violations.len())
    }
}
