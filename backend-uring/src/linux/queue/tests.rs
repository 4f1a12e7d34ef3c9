//! Queues under answers that the kernel rarely gives.

use super::*;
use crate::linux::hook;
use crate::linux::interrupt::Interrupted;
use crate::linux::storage::{UringOptions, UringStorage};
use gannet_storage::{
    BLOCK_SIZE, DirOptions, Durability, ErrorKind, FileName, SealedFile, Storage, Write, WriteFile,
};
use gannet_testkit::sim::SimRng;
use rustix::io::Errno;
use tempfile::TempDir;

const BLOCKS: usize = 700;

/// Block n is filled with n modulo 251.
fn sealed(direct_io: bool) -> (TempDir, UringSealed) {
    let dir = tempfile::tempdir().expect("a directory");
    let options = UringOptions { direct_io };
    let storage = UringStorage::open_with(&dir.path().join("db"), &DirOptions::create(), &options);
    let storage = storage.expect("a storage");
    let name = FileName::new("f").expect("valid");
    let mut bytes = AlignedBuf::zeroed(BLOCKS * BLOCK_SIZE);
    for (block, index) in bytes.chunks_mut(BLOCK_SIZE).zip(0..) {
        block.fill(fill(index));
    }
    let file = storage.create(&name, bytes.len() as u64).expect("made");
    let write = [Write { offset: 0, bytes: &bytes }];
    file.write_batch(&write, Durability::Deferred).expect("written");
    (dir, storage.seal(file).expect("sealed"))
}

fn fill(block: usize) -> u8 {
    u8::try_from(block % 251).expect("below 251")
}

fn depth(depth: u16) -> NonZeroU16 {
    NonZeroU16::new(depth).expect("not zero")
}

#[track_caller]
fn check_bytes(done: &Completion) {
    let first = usize::try_from(done.tag).expect("a block");
    for (block, index) in done.buf.chunks(BLOCK_SIZE).zip(first..) {
        assert!(block.iter().all(|&byte| byte == fill(index)), "block {index} has other bytes");
    }
}

/// Random reads of up to 300 blocks, which is more than one request; every one comes back once.
fn check_random(file: &UringSealed, seed: u64) -> (usize, usize) {
    let mut rng = SimRng::new(seed);
    let mut queue = file.queue(depth(8)).expect("a ring");
    let (mut answers, mut enters) = (SimRng::new(seed + 1), SimRng::new(seed + 2));
    let change = move |_, answer: i32| match answers.below(100) {
        0..20 if answer > 4096 => answer / 2 + 100,
        20..30 => -Errno::INTR.raw_os_error(),
        30..40 => -Errno::CANCELED.raw_os_error(),
        40..45 => -Errno::AGAIN.raw_os_error(),
        45..50 => -Errno::FAULT.raw_os_error(),
        50..55 => -Errno::IO.raw_os_error(),
        55 => 0,
        _ => answer,
    };
    let entering = move || if enters.below(5) == 0 { Err(Errno::AGAIN) } else { Ok(()) };
    let (mut well, mut ill) = (0, 0);
    hook::with_enters(entering, || {
        hook::with_answers(change, || {
            let mut out = std::collections::BTreeMap::new();
            for _ in 0..60 {
                let long = if rng.below(10) == 0 { 300 } else { 3 };
                let (at, len) = (rng.below(BLOCKS - 300), rng.below(long) + 1);
                let mut buf = AlignedBuf::zeroed(len * BLOCK_SIZE);
                while let Err(back) = queue.submit(at as u64, (at * BLOCK_SIZE) as u64, buf) {
                    let done = queue.wait().expect("eight are in flight");
                    take(&mut out, &done, &mut well, &mut ill);
                    buf = back;
                }
                *out.entry((at as u64, len * BLOCK_SIZE)).or_insert(0) += 1;
            }
            while let Some(done) = queue.wait() {
                take(&mut out, &done, &mut well, &mut ill);
            }
            assert!(out.is_empty(), "seed {seed}: lost {out:?}");
        });
    });
    (well, ill)
}

fn take(
    out: &mut std::collections::BTreeMap<(u64, usize), u32>,
    done: &Completion,
    well: &mut usize,
    ill: &mut usize,
) {
    let key = (done.tag, done.buf.len());
    let left = out.get_mut(&key).expect("one that was submitted");
    *left -= 1;
    if *left == 0 {
        out.remove(&key);
    }
    if done.result.is_ok() {
        check_bytes(done);
    }
    *(if done.result.is_ok() { well } else { ill }) += 1;
}

#[test]
fn under_an_unkind_kernel_every_read_comes_back_once_whole_or_with_an_error() {
    let _signals = Interrupted::begin();
    for direct_io in [true, false] {
        let (_dir, file) = sealed(direct_io);
        let (mut well, mut ill) = (0, 0);
        for seed in 0..20 {
            let (w, i) = check_random(&file, seed);
            (well, ill) = (well + w, ill + i);
        }
        assert!(well > 500 && ill > 50, "{well} and {ill}: this shows little");
    }
}

#[test]
fn each_error_of_a_read_comes_back_with_its_buffer_and_place() {
    let _signals = Interrupted::begin();
    let (_dir, file) = sealed(true);
    for (says, due) in [
        (-Errno::IO.raw_os_error(), ErrorKind::Io),
        (-Errno::NOSPC.raw_os_error(), ErrorKind::NoSpace),
        (-Errno::INTR.raw_os_error(), ErrorKind::Io),
        (-Errno::CANCELED.raw_os_error(), ErrorKind::Io),
        (0, ErrorKind::Io),
    ] {
        let mut queue = file.queue(depth(2)).expect("a ring");
        queue.submit(7, 8192, AlignedBuf::zeroed(12288)).expect("room");
        let done = hook::with_answers(move |_, _| says, || queue.wait()).expect("in flight");
        let error = done.result.expect_err("failed");
        assert_eq!((error.kind(), error.op()), (due, Op::Read), "{says}");
        assert_eq!((done.tag, done.buf.len(), error.range()), (7, 12288, Some(8192..20480)));
        assert!(queue.wait().is_none());
    }
}

#[test]
fn reads_of_a_ring_that_breaks_come_back_with_errors_and_so_do_later_ones() {
    let _signals = Interrupted::begin();
    let (_dir, file) = sealed(true);
    let mut queue = file.queue(depth(4)).expect("a ring");
    let submit = |queue: &mut UringQueue, tag: u64| {
        queue.submit(tag, tag * 4096, AlignedBuf::zeroed(BLOCK_SIZE))
    };
    hook::with_enters(
        || Err(Errno::BADF),
        || {
            for tag in 0..4 {
                submit(&mut queue, tag).expect("room");
            }
            submit(&mut queue, 4).expect_err("as many as may be are in flight");
            for _ in 0..4 {
                let done = queue.wait().expect("in flight");
                assert_eq!(done.buf.len(), BLOCK_SIZE);
                assert_eq!(done.result.expect_err("broken").kind(), ErrorKind::Io);
            }
            assert!(queue.wait().is_none());
        },
    );
    submit(&mut queue, 5).expect("room");
    queue.wait().expect("in flight").result.expect_err("still broken");
    assert!(queue.wait().is_none());
    let mut other = file.queue(depth(1)).expect("another ring");
    submit(&mut other, 3).expect("room");
    check_bytes(&other.wait().expect("in flight"));
}
