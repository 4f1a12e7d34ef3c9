//! The `io_uring` backend against real file systems, signals, limits, filters and kills.

#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod again;
mod conformance;
mod counts;
mod drop_safety;
#[cfg(feature = "tokio")]
mod facade;
mod interrupt;
mod killed;
mod limits;
mod refused;
mod threads;

use gannet_backend_uring::{UringOptions, UringStorage};
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, DirOptions, Durability, Error, FileName, Storage, Write, WriteFile,
};
use gannet_testkit::mount::{Mount, NoMount};
use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

fn try_open(dir: &Path, direct_io: bool) -> Result<UringStorage, Error> {
    let mut options = UringOptions::default();
    options.direct_io = direct_io;
    UringStorage::open_with(dir, &DirOptions::create(), &options)
}

/// Waits as long as it takes: the lock of a process that has ended is free when the kernel has
/// taken its rings down, of which a test may have leaked hundreds.
fn open(dir: &Path, direct_io: bool) -> UringStorage {
    let mut uring = UringOptions::default();
    uring.direct_io = direct_io;
    let mut options = DirOptions::create();
    options.lock_wait = Duration::from_secs(60);
    UringStorage::open_with(dir, &options, &uring).unwrap()
}

fn name() -> FileName {
    FileName::new("f").unwrap()
}

fn depth(depth: u16) -> NonZeroU16 {
    NonZeroU16::new(depth).unwrap()
}

/// What block number `block` of [`sealed`] is filled with: never 0 and never [`SENTINEL`].
fn fill(block: usize) -> u8 {
    u8::try_from(block % 127).unwrap() + 1
}

/// A byte that no file of these tests has.
const SENTINEL: u8 = 0xA5;

/// A sealed file of `blocks`, each filled with its byte.
fn sealed<S: Storage>(storage: &S, blocks: usize) -> S::Sealed {
    let mut bytes = AlignedBuf::zeroed(blocks * BLOCK_SIZE);
    for (index, block) in bytes.chunks_mut(BLOCK_SIZE).enumerate() {
        block.fill(fill(index));
    }
    let file = storage.create(&name(), bytes.len() as u64).unwrap();
    file.write_batch(&[Write { offset: 0, bytes: &bytes }], Durability::Deferred).unwrap();
    storage.seal(file).unwrap()
}

/// Whether `buf` holds the blocks from `first` on.
#[track_caller]
fn assert_filled(buf: &[u8], first: usize) {
    for (index, block) in buf.chunks(BLOCK_SIZE).enumerate() {
        let due = fill(first + index);
        assert!(block.iter().all(|&byte| byte == due), "block {} has other bytes", first + index);
    }
}

/// The error with all its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The mount, or `None` after saying why a test goes without it.
fn mounted(mount: Result<Mount, NoMount>) -> Option<Mount> {
    mount.inspect_err(|reason| eprintln!("skipped: {reason}")).ok()
}
