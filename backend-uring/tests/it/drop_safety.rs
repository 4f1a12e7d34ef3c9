//! Queues that are dropped or leaked with reads in flight: the kernel never writes into memory that
//! is somebody else's by then.
//!
//! After each round new memory, in which the kernel's late bytes would land, is filled with a byte
//! that no file has, and looked at a round later. The sanitizers cannot see what a kernel writes;
//! they see the rest. Under `AddressSanitizer` freed memory has to be given out again at once, as
//! the step of CI sets it.

use crate::interrupt::Interrupted;
use crate::{SENTINEL, again, assert_filled, depth, open, sealed};
use gannet_backend_uring::{UringQueue, UringSealed};
use gannet_storage::{AlignedBuf, BLOCK_SIZE, ReadFile, ReadQueue, SealedFile, Storage};
use gannet_testkit::sim::SimRng;

const BLOCKS: usize = 1024;
const DEPTH: u16 = 32;
/// Blocks of one read.
const LEN: usize = 4;

/// A queue with as many random reads in flight as it takes.
fn filled(file: &UringSealed, rng: &mut SimRng) -> UringQueue {
    let mut queue = file.queue(depth(DEPTH)).unwrap();
    for _ in 0..DEPTH {
        let at = rng.below(BLOCKS - LEN);
        let buf = AlignedBuf::zeroed(LEN * BLOCK_SIZE);
        queue.submit(at as u64, (at * BLOCK_SIZE) as u64, buf).unwrap();
    }
    queue
}

/// As many buffers as a queue had, in the memory that it gave back.
fn sentinels() -> Vec<AlignedBuf> {
    let sentinel = || {
        let mut buf = AlignedBuf::zeroed(LEN * BLOCK_SIZE);
        buf.fill(SENTINEL);
        buf
    };
    (0..DEPTH).map(|_| sentinel()).collect()
}

#[track_caller]
fn assert_untouched(sentinels: &[AlignedBuf], round: usize) {
    let touched = sentinels.iter().flat_map(|buf| buf.iter()).filter(|&&byte| byte != SENTINEL);
    assert_eq!(touched.count(), 0, "bytes that came late, in round {round}");
}

/// Drops `rounds` queues; forgets the cache before each `cold_every` of them.
fn check_drops(direct_io: bool, rounds: usize, cold_every: usize) {
    let _signals = Interrupted::begin();
    let dir = tempfile::tempdir().unwrap();
    let storage = open(&dir.path().join("db"), direct_io);
    let file = sealed(&storage, BLOCKS);
    let mut rng = SimRng::new(rounds as u64);
    let mut before = Vec::new();
    for round in 0..rounds {
        if round.is_multiple_of(cold_every) {
            file.discard_cache().unwrap();
        }
        let mut queue = filled(&file, &mut rng);
        // Sometimes after some have come back.
        for _ in 0..rng.below(4) {
            let done = queue.wait().unwrap();
            done.result.unwrap();
            assert_filled(&done.buf, usize::try_from(done.tag).unwrap());
        }
        drop(queue);
        let after = sentinels();
        assert_untouched(&before, round);
        before = after;
    }
    assert_untouched(&before, rounds);
}

#[test]
fn queues_are_dropped_with_direct_reads_in_flight() {
    check_drops(true, 2000, 100);
}

#[test]
fn queues_are_dropped_with_reads_through_a_cold_cache_in_flight() {
    check_drops(false, 500, 2);
}

#[test]
fn queues_are_dropped_with_reads_through_a_warm_cache_in_flight() {
    check_drops(false, 500, 1000);
}

#[test]
fn queues_are_leaked_with_reads_in_flight() {
    const TEST: &str = "drop_safety::queues_are_leaked_with_reads_in_flight";
    const PROCESSES: u64 = 10;
    const QUEUES: usize = 200;
    if let Some((place, seed)) = again::place() {
        let _signals = Interrupted::begin();
        let mut rng = SimRng::new(seed.parse().unwrap());
        let storage = open(&place.join("db"), true);
        let file = storage.open_sealed(&crate::name()).unwrap();
        let mut before = Vec::new();
        for round in 0..QUEUES {
            std::mem::forget(filled(&file, &mut rng));
            let after = sentinels();
            assert_untouched(&before, round);
            before = after;
        }
        assert_untouched(&before, QUEUES);
        drop((file, storage));
        // Leaked queues hold their file, and with it the lock.
        let error = crate::try_open(&place.join("db"), true).unwrap_err();
        assert_eq!(error.kind(), gannet_storage::ErrorKind::Locked);
        return again::reached();
    }
    let dir = tempfile::tempdir().unwrap();
    drop(sealed(&open(&dir.path().join("db"), true), BLOCKS));
    for seed in 0..PROCESSES {
        let mut process = again::process_at(&[], TEST, dir.path(), &seed.to_string());
        again::run(&mut process);
    }
    drop(open(&dir.path().join("db"), true));
}
