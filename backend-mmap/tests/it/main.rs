//! The backend against real directories, file systems, page caches, limits and signals.
//!
//! Where a test needs what a machine may not give, it prints why and passes without it.

#[cfg(target_os = "linux")]
mod again;
#[cfg(target_os = "linux")]
mod cache;
mod conformance;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod signal;
mod views;

use gannet_backend_mmap::{MmapSealed, MmapStorage};
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, DirOptions, Durability, FileName, Storage, Write, WriteFile,
};
use std::path::Path;
use std::time::Duration;

/// Options that do not wait for a lock.
fn at_once() -> DirOptions {
    let mut options = DirOptions::create();
    options.lock_wait = Duration::ZERO;
    options
}

#[track_caller]
fn open(dir: &Path) -> MmapStorage {
    MmapStorage::open(dir, &at_once()).expect("opens")
}

fn name(text: &str) -> FileName {
    FileName::new(text).expect("valid")
}

/// A sealed file of so many blocks, each full of its number.
#[track_caller]
fn sealed(storage: &MmapStorage, text: &str, blocks: u8) -> MmapSealed {
    let file = storage.create(&name(text), u64::from(blocks) * 4096).expect("made");
    let mut bytes = AlignedBuf::zeroed(usize::from(blocks) * BLOCK_SIZE);
    for (number, block) in (0..).zip(bytes.chunks_exact_mut(BLOCK_SIZE)) {
        block.fill(number);
    }
    file.write_batch(&[Write { offset: 0, bytes: &bytes }], Durability::Deferred).expect("written");
    storage.seal(file).expect("sealed")
}

/// What another program does that does not keep the promise of `open`.
#[cfg(target_os = "linux")]
#[track_caller]
fn change_length(path: &Path, len_bytes: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("opens");
    file.set_len(len_bytes).expect("another length");
}
