//! The backend against real directories, processes, file systems and a cut of the power.
//!
//! Where a test needs what a machine may not give (mounts, another user, a file system on a disk),
//! it prints why and passes without it.

mod again;
mod cache;
mod conformance;
mod directory;
mod files;
mod locking;
#[cfg(target_os = "linux")]
mod power_cut;
#[cfg(target_os = "linux")]
mod small_disk;

use gannet_backend_std::StdStorage;
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, DirOptions, Durability, Error, FileName, Write, WriteFile,
};
#[cfg(target_os = "linux")]
use gannet_testkit::mount::{Mount, NoMount};
use std::path::Path;
use std::time::Duration;

/// `options` that do not wait for a lock.
fn at_once(mut options: DirOptions) -> DirOptions {
    options.lock_wait = Duration::ZERO;
    options
}

#[track_caller]
fn open(dir: &Path) -> StdStorage {
    StdStorage::open(dir, &at_once(DirOptions::create())).expect("opens")
}

#[track_caller]
fn refusal(dir: &Path, options: &DirOptions) -> Error {
    StdStorage::open(dir, &at_once(options.clone())).expect_err("refused")
}

fn name(text: &str) -> FileName {
    FileName::new(text).expect("valid")
}

/// One block full of `mark`.
fn block(mark: u8) -> AlignedBuf {
    let mut block = AlignedBuf::zeroed(BLOCK_SIZE);
    block.fill(mark);
    block
}

/// Writes `mark` all over the first block.
#[track_caller]
fn mark(file: &impl WriteFile, mark: u8, durability: Durability) {
    file.write_batch(&[Write { offset: 0, bytes: &block(mark) }], durability).expect("written");
}

/// The mount, or `None` after saying why a test goes without it.
#[cfg(target_os = "linux")]
fn mounted(mount: Result<Mount, NoMount>) -> Option<Mount> {
    mount.inspect_err(|reason| eprintln!("skipped: {reason}")).ok()
}
