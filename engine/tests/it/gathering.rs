//! `group_delay_us`: who waits for whom before a group is written, by a clock and a storage that do
//! nothing before the test says so.

use crate::contents::config;
use gannet::storage::{
    Caps, Durability, FileMeta, FileName, MemFile, MemSealed, MemStorage, Read, ReadFile, Result,
    Storage, Write, WriteFile,
};
use gannet::{Clock, Database, WriteBatch};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// Lets the first write of a frame wait until it is opened.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    is_armed: bool,
    /// Writes since it was armed.
    writes: u64,
    is_open: bool,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        if !state.is_armed {
            return;
        }
        state.writes += 1;
        let is_first = state.writes == 1;
        self.changed.notify_all();
        if is_first {
            drop(self.changed.wait_while(state, |state| !state.is_open).unwrap());
        }
    }

    fn set(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn writes(&self) -> u64 {
        self.state.lock().unwrap().writes
    }
}

#[derive(Debug)]
struct GatedStorage(MemStorage, Arc<Gate>);

#[derive(Debug)]
struct GatedFile(MemFile, Arc<Gate>);

impl Storage for GatedStorage {
    type File = GatedFile;
    type Sealed = MemSealed;

    fn create(&self, name: &FileName, len_bytes: u64) -> Result<GatedFile> {
        Ok(GatedFile(self.0.create(name, len_bytes)?, Arc::clone(&self.1)))
    }

    fn open(&self, name: &FileName) -> Result<GatedFile> {
        Ok(GatedFile(self.0.open(name)?, Arc::clone(&self.1)))
    }

    fn seal(&self, file: GatedFile) -> Result<MemSealed> {
        self.0.seal(file.0)
    }

    fn open_sealed(&self, name: &FileName) -> Result<MemSealed> {
        self.0.open_sealed(name)
    }

    fn replace(&self, from: &FileName, to: &FileName) -> Result<()> {
        self.0.replace(from, to)
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.0.remove(name)
    }

    fn list(&self) -> Result<Vec<FileMeta>> {
        self.0.list()
    }

    fn sync_dir(&self) -> Result<()> {
        self.0.sync_dir()
    }

    fn caps(&self) -> Caps {
        self.0.caps()
    }
}

impl ReadFile for GatedFile {
    fn name(&self) -> &FileName {
        self.0.name()
    }

    fn len_bytes(&self) -> u64 {
        self.0.len_bytes()
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        self.0.read_batch(reads)
    }

    fn discard_cache(&self) -> Result<()> {
        self.0.discard_cache()
    }
}

impl WriteFile for GatedFile {
    fn write_batch(&self, writes: &[Write<'_>], durability: Durability) -> Result<()> {
        self.1.pass();
        self.0.write_batch(writes, durability)
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        self.0.set_len(len_bytes)
    }
}

/// A clock that a test sets, and that tells whether a thread has asked it.
#[derive(Debug, Default)]
struct AskedClock {
    millis: AtomicU64,
    asked: Mutex<Vec<ThreadId>>,
}

impl AskedClock {
    fn was_asked_by(&self, thread: ThreadId) -> bool {
        self.asked.lock().unwrap().contains(&thread)
    }
}

impl Clock for AskedClock {
    fn now(&self) -> Duration {
        self.asked.lock().unwrap().push(thread::current().id());
        Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }
}

fn put(key: &str) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put("kv", key.as_bytes(), b"value");
    batch
}

/// While a group is being written a second batch comes, and a third when the second has begun to
/// be written or to wait. Returns the groups of these two.
fn groups(group_delay_us: u32) -> u64 {
    let gate = Arc::new(Gate::default());
    let clock = Arc::new(AskedClock::default());
    let mut settings = config(1);
    settings.group_delay_us = group_delay_us;
    settings.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    // Room for all of it: no group waits for a segment.
    settings.segment_bytes = 1 << 20;
    let storage = GatedStorage(MemStorage::new(), Arc::clone(&gate));
    let db = Database::open(storage, settings).unwrap();
    db.commit(put("makes the keyspace")).unwrap();
    let before = db.stats().unwrap().commits.groups;
    gate.set(|gate| gate.is_armed = true);
    thread::scope(|scope| {
        let first = scope.spawn(|| db.commit(put("first")).unwrap());
        while gate.writes() == 0 {
            thread::yield_now();
        }
        let second = scope.spawn(|| db.commit(put("second")).unwrap());
        while gate.writes() == 1 && !clock.was_asked_by(second.thread().id()) {
            thread::yield_now();
        }
        if group_delay_us == 0 {
            while gate.writes() == 1 {
                thread::yield_now();
            }
        }
        let third = db.submit(put("third")).unwrap();
        clock.millis.store(1000, Ordering::Relaxed);
        // Wherever the second is: it ends behind the first.
        gate.set(|gate| gate.is_open = true);
        third.wait().unwrap();
        first.join().unwrap();
        second.join().unwrap();
    });
    db.stats().unwrap().commits.groups - before - 1
}

#[test]
fn a_group_waits_for_batches_that_come_while_another_is_written() {
    assert_eq!(groups(0), 2, "no delay: each is written when it comes");
    assert_eq!(groups(1000), 1, "one group of what came within the delay");
}
