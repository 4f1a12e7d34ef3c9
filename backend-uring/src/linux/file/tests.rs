//! Files under answers that the kernel rarely gives, against a model of their bytes; and how many
//! requests a write is.

use super::*;
use crate::linux::hook;
use crate::linux::interrupt::Interrupted;
use crate::linux::storage::{UringOptions, UringStorage};
use gannet_storage::{AlignedBuf, BLOCK_SIZE, DirOptions, ErrorKind, SealedFile};
use gannet_testkit::sim::SimRng;
use rustix::io::Errno;
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

fn open(dir: &Path, direct_io: bool) -> UringStorage {
    let options = UringOptions { direct_io };
    UringStorage::open_with(dir, &DirOptions::create(), &options).expect("a storage")
}

fn name() -> FileName {
    FileName::new("f").expect("valid")
}

/// What an unkind kernel says where it could have said `answer`: less, nothing, or a failure.
fn unkind(rng: &mut SimRng, answer: i32) -> i32 {
    let says = |errno: Errno| -errno.raw_os_error();
    let below = |rng: &mut SimRng, bound: i32| {
        let bound = usize::try_from(bound).expect("not negative");
        i32::try_from(rng.below(bound)).expect("below an i32")
    };
    match rng.below(200) {
        0..40 if answer > 0 => below(rng, answer - 1) + 1,
        40..60 => says(Errno::INTR),
        60..75 => says(Errno::AGAIN),
        75..90 => says(Errno::CANCELED),
        90 => says(Errno::IO),
        91 => says(Errno::NOSPC),
        92 if answer > 0 => 0,
        _ => answer,
    }
}

/// Runs `act` under that kernel, which now and then takes no requests either.
fn with_unkind_kernel<T>(seed: u64, act: impl FnOnce() -> T) -> T {
    let (mut answers, mut enters) = (SimRng::new(seed), SimRng::new(!seed));
    let refusals = [Errno::INTR, Errno::AGAIN, Errno::BUSY, Errno::NOMEM];
    let entering = move || match refusals.get(enters.below(12)) {
        Some(&refusal) => Err(refusal),
        None => Ok(()),
    };
    hook::with_enters(entering, || {
        hook::with_answers(move |_, answer| unkind(&mut answers, answer), act)
    })
}

const BLOCKS: usize = 48;

/// Distinct blocks in random order, in runs of up to four.
fn runs(rng: &mut SimRng) -> Vec<(usize, usize)> {
    let mut runs = Vec::new();
    let mut at = rng.below(3);
    while at < BLOCKS {
        let len = (rng.below(4) + 1).min(BLOCKS - at);
        runs.push((at, len));
        at += len + rng.below(8);
    }
    for last in (1..runs.len()).rev() {
        runs.swap(last, rng.below(last + 1));
    }
    runs
}

fn offset(block: usize) -> u64 {
    (block * BLOCK_SIZE) as u64
}

/// All bytes, read without the unkind kernel.
fn whole(file: &impl ReadFile) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(BLOCKS * BLOCK_SIZE);
    file.read_at(0, &mut buf).expect("read");
    buf
}

/// How many calls ended well, and how many did not.
fn check_random(seed: u64, direct_io: bool, calls: u32) -> (u32, u32) {
    let dir = tempfile::tempdir().expect("a directory");
    let storage = open(&dir.path().join("db"), direct_io);
    let file = storage.create(&name(), offset(BLOCKS)).expect("made");
    let mut model = whole(&file);
    let mut rng = SimRng::new(seed);
    let (mut well, mut ill) = (0, 0);
    for call in 0..calls {
        let runs = runs(&mut rng);
        if rng.below(3) == 0 {
            let mut bufs: Vec<_> =
                runs.iter().map(|(_, len)| AlignedBuf::zeroed(len * BLOCK_SIZE)).collect();
            let mut reads: Vec<_> = (bufs.iter_mut().zip(&runs))
                .map(|(buf, (at, _))| Read { offset: offset(*at), buf })
                .collect();
            let done = with_unkind_kernel(rng.next_u64(), || file.read_batch(&mut reads));
            if done.is_ok() {
                for (buf, (at, len)) in bufs.iter().zip(&runs) {
                    let due = &model[at * BLOCK_SIZE..(at + len) * BLOCK_SIZE];
                    assert!(**buf == *due, "seed {seed}, read {call}: other bytes at {at}");
                }
            }
            *(if done.is_ok() { &mut well } else { &mut ill }) += 1;
            continue;
        }
        let old = model.clone();
        let byte = u8::try_from(call % 255).expect("below 255") + 1;
        for (at, len) in &runs {
            model[at * BLOCK_SIZE..(at + len) * BLOCK_SIZE].fill(byte);
        }
        let few = rng.below(runs.len()) + 1;
        let runs = if rng.below(4) == 0 { &runs[..few] } else { &runs[..] };
        let writes: Vec<_> = runs
            .iter()
            .map(|(at, len)| Write {
                offset: offset(*at),
                bytes: &model[at * BLOCK_SIZE..(at + len) * BLOCK_SIZE],
            })
            .collect();
        let durability = [Durability::Deferred, Durability::Data, Durability::Full][rng.below(3)];
        let done = with_unkind_kernel(rng.next_u64(), || file.write_batch(&writes, durability));
        *(if done.is_ok() { &mut well } else { &mut ill }) += 1;
        let found = whole(&file);
        for block in 0..BLOCKS {
            let span = block * BLOCK_SIZE..(block + 1) * BLOCK_SIZE;
            let written = runs.iter().any(|(at, len)| (*at..at + len).contains(&block));
            let (is_new, is_old) =
                (found[span.clone()] == model[span.clone()], found[span.clone()] == old[span]);
            let fits = match (&done, written) {
                (Ok(()), true) => is_new,
                // Never torn here: the kernel did whole requests, whatever it said.
                (Err(_), true) => is_new || is_old,
                (_, false) => is_old,
            };
            assert!(fits, "seed {seed}, call {call}, block {block}: {done:?}");
        }
        model = found;
    }
    let sealed = storage.seal(file).expect("sealed");
    assert!(*whole(&sealed) == *model, "seed {seed}");
    let view = sealed.view(1..offset(BLOCKS) - 1).expect("read");
    assert!(*view == model[1..model.len() - 1], "seed {seed}");
    (well, ill)
}

#[test]
fn under_an_unkind_kernel_a_batch_is_all_or_an_error_and_never_a_wrong_byte() {
    let _signals = Interrupted::begin();
    for direct_io in [true, false] {
        let (mut well, mut ill) = (0, 0);
        for seed in 0..20 {
            let (w, i) = check_random(seed, direct_io, 40);
            (well, ill) = (well + w, ill + i);
        }
        assert!(well > 200 && ill > 50, "{well} and {ill}: this shows little");
    }
}

/// Requests that `act` made.
fn requests(act: impl FnOnce() -> Result<()>) -> u32 {
    let count = Rc::new(Cell::new(0));
    let counter = Rc::clone(&count);
    let answers = move |_, answer| {
        counter.set(counter.get() + 1);
        answer
    };
    hook::with_answers(answers, act).expect("done");
    count.get()
}

#[test]
fn a_durable_write_is_one_request_exactly_when_all_else_is_durable() {
    use Durability::{Data, Deferred, Full};
    let _signals = Interrupted::begin();
    for direct_io in [true, false] {
        let dir = tempfile::tempdir().expect("a directory");
        let storage = open(&dir.path().join("db"), direct_io);
        let file = storage.create(&name(), 8 << 20).expect("made");
        let block = AlignedBuf::zeroed(BLOCK_SIZE);
        let one = [Write { offset: 0, bytes: &block }];
        let two = [one[0], Write { offset: 8192, bytes: &block }];
        let write = |file: &UringFile, writes: &[Write<'_>], durability| {
            requests(|| file.write_batch(writes, durability))
        };
        assert_eq!(write(&file, &one, Data), 2, "a new file is not durable itself");
        assert_eq!(write(&file, &one, Data), 1);
        assert_eq!(write(&file, &one, Data), 1);
        assert_eq!(write(&file, &one, Full), 2, "metadata wants a sync of its own");
        assert_eq!(write(&file, &one, Data), 1);
        let through_the_ring = if direct_io { 2 } else { 0 };
        assert_eq!(write(&file, &two, Deferred), through_the_ring, "or into the page cache");
        assert_eq!(write(&file, &one, Data), 2, "covers the deferred writes");
        assert_eq!(write(&file, &two, Data), 3);
        assert_eq!(write(&file, &one, Data), 1);
        assert_eq!(write(&file, &[], Deferred), 0);
        assert_eq!(write(&file, &[], Data), 1);
        assert_eq!(write(&file, &[Write { offset: 0, bytes: &[] }], Deferred), 0);
        file.set_len(16 << 20).expect("grown");
        assert_eq!(write(&file, &one, Data), 2, "covers the length");
        assert_eq!(write(&file, &one, Data), 1);
        let long = AlignedBuf::zeroed(CUT_BYTES + BLOCK_SIZE);
        let long = [Write { offset: 0, bytes: &long }];
        assert_eq!(write(&file, &long, Data), 3, "longer than a request may be");
        drop(file);
        let file = storage.open(&name()).expect("opened");
        assert_eq!(write(&file, &one, Data), 2, "of its past nothing is known");
        assert_eq!(write(&file, &one, Data), 1);
    }
}

#[test]
fn after_a_failed_write_or_sync_the_next_durable_write_covers_the_whole_file() {
    let _signals = Interrupted::begin();
    let dir = tempfile::tempdir().expect("a directory");
    let storage = open(&dir.path().join("db"), true);
    let file = storage.create(&name(), 1 << 20).expect("made");
    let block = AlignedBuf::zeroed(BLOCK_SIZE);
    let one = [Write { offset: 4096, bytes: &block }];
    let two = [one[0], Write { offset: 8192, bytes: &block }];
    for (writes, durability, op) in [
        (&one[..], Durability::Deferred, Op::Write),
        (&one[..], Durability::Data, Op::Write),
        (&two[..], Durability::Data, Op::Write),
        (&[], Durability::Data, Op::Sync),
        (&[], Durability::Full, Op::Sync),
    ] {
        file.sync(Durability::Data).expect("synced");
        assert_eq!(requests(|| file.write_batch(&one, Durability::Data)), 1);
        let fail = |_, _| -Errno::NOSPC.raw_os_error();
        let failed = hook::with_answers(fail, || file.write_batch(writes, durability));
        let error = failed.expect_err("no space");
        assert_eq!((error.kind(), error.op()), (ErrorKind::NoSpace, op));
        assert_eq!(error.range(), (op == Op::Write).then_some(4096..8192));
        assert_eq!(requests(|| file.write_batch(&one, Durability::Data)), 2);
    }
}
