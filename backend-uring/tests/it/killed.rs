//! A killed process whose writes are still on their way: from the moment that another process has
//! the lock no block changes any more.

use crate::interrupt::Interrupted;
use crate::{again, name, open};
use gannet_backend_std::StdStorage;
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, DirOptions, Durability, LOCK_NAME, Storage, Write, WriteFile,
};
use gannet_testkit::sim::SimRng;
use rustix::fs::{Mode, OFlags};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const TEST: &str = "killed::after_the_lock_of_a_killed_process_is_free_no_block_changes";
const ROUNDS: u64 = 200;
/// Rounds that run at the same time.
const LANES: u64 = 2;
/// Writes of one batch, each of a block of its own; two threads have one batch in flight each.
const BATCH: usize = 128;
const WRITES: usize = 2 * BATCH;
/// Blocks of one write: as long as it takes for writes to be on their way when the process is gone.
const LEN: usize = 8 * BLOCK_SIZE;
/// Times that they are looked at, each for tens of milliseconds.
const LOOKS: usize = 3;

/// Writes until it is killed, and tells each batch that has returned.
fn write_for_ever(place: &Path) {
    let storage = open(&place.join("db"), true);
    let file = storage.open(&name()).unwrap();
    let write = |half: usize| {
        let _signals = Interrupted::begin();
        let mut block = AlignedBuf::zeroed(LEN);
        for round in 0_u64.. {
            for word in block.chunks_mut(8) {
                word.copy_from_slice(&round.to_le_bytes());
            }
            // Not side by side, or the kernel would make one transfer of them.
            let offset = |at: usize| ((2 * at + half) * LEN) as u64;
            let writes: Vec<_> =
                (0..BATCH).map(|at| Write { offset: offset(at), bytes: &block }).collect();
            file.write_batch(&writes, Durability::Deferred).unwrap();
            std::io::stdout().write_all(b"#").unwrap();
            std::io::stdout().flush().unwrap();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| write(0));
        scope.spawn(|| write(1));
    });
}

/// The last block of each write, from the media.
fn look(file: &File) -> Vec<AlignedBuf> {
    let look = |write: usize| {
        let mut block = AlignedBuf::zeroed(BLOCK_SIZE);
        file.read_exact_at(&mut block, ((write + 1) * LEN - BLOCK_SIZE) as u64).unwrap();
        block
    };
    (0..WRITES).map(look).collect()
}

/// Whether a block changed after the lock was granted.
fn check_round(place: &Path, seed: u64) -> bool {
    let mut process = again::process_at(&[], TEST, place, "")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut rng = SimRng::new(seed);
    // What libtest says first is no batch.
    let mut batches = rng.below(12) + 1;
    let mut told = process.stdout.take().unwrap();
    let mut byte = [0];
    while batches > 0 {
        told.read_exact(&mut byte).unwrap();
        batches -= usize::from(byte == *b"#");
    }
    for _ in 0..rng.below(20_000) {
        std::hint::spin_loop();
    }
    process.kill().unwrap();
    let dir = place.join("db");
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    let file = rustix::fs::open(dir.join(name().as_str()), flags, Mode::empty()).unwrap();
    let file = File::from(file);
    // The lock itself first: a storage syncs before it is open, and late writes have ended then.
    let lock = OpenOptions::new().read(true).write(true).open(dir.join(LOCK_NAME)).unwrap();
    while let Err(error) = lock.try_lock() {
        assert!(matches!(error, TryLockError::WouldBlock), "seed {seed}: {error}");
        std::hint::spin_loop();
    }
    let first = look(&file);
    lock.unlock().unwrap();
    let mut options = DirOptions::existing();
    options.lock_wait = Duration::from_secs(10);
    let storage = StdStorage::open(&dir, &options).unwrap();
    let same = |later: Vec<AlignedBuf>| first.iter().zip(&later).all(|(a, b)| **a == **b);
    let changed = (1..LOOKS).any(|_| !same(look(&file)));
    drop(storage);
    process.wait().unwrap();
    changed
}

#[test]
fn after_the_lock_of_a_killed_process_is_free_no_block_changes() {
    if let Some((place, _)) = again::place() {
        return write_for_ever(&place);
    }
    let lane = |lane: u64| {
        let _signals = Interrupted::begin();
        let dir = tempfile::tempdir().unwrap();
        let storage = open(&dir.path().join("db"), true);
        if !storage.caps().direct_io {
            eprintln!("direct writes are not to be had here: {:?}", storage.caps());
        }
        let file = storage.create(&name(), (WRITES * LEN) as u64).unwrap();
        let bytes = AlignedBuf::zeroed(WRITES * LEN);
        file.write_batch(&[Write { offset: 0, bytes: &bytes }], Durability::Full).unwrap();
        drop((file, storage));
        let changed = (0..ROUNDS / LANES)
            .map(|round| round * LANES + lane)
            .filter(|&seed| check_round(dir.path(), seed));
        changed.collect::<Vec<_>>()
    };
    let changed: Vec<u64> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|number| scope.spawn(move || lane(number))).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    assert!(changed.is_empty(), "{} of {ROUNDS} rounds: seeds {changed:?}", changed.len());
}
