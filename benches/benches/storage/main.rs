//! The backends side by side, on the same directory and file, with `fio` beside them where it is
//! installed.
//!
//! Keeps the order of the contenders: one after the other, round after round, so that a disturbance
//! of the machine falls on all. Prints a table for each question, in medians over the rounds with
//! the least and the most, and checks every byte that is read. `GANNET_BENCH_DIR` names the
//! directory (default: temporary), `GANNET_BENCH_ROUNDS` the rounds; `--test` runs all of it once,
//! small.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the tables are the product")]

mod fio;
mod pattern;
mod rate;
mod reads;
mod table;
mod writes;

use gannet_backend_mmap::MmapStorage;
use gannet_backend_std::StdStorage;
#[cfg(target_os = "linux")]
use gannet_backend_uring::{UringOptions, UringStorage};
use gannet_storage::{DirOptions, Result, Storage};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How much of everything.
#[derive(Clone, Debug)]
struct Scale {
    /// Of the file that is read at random.
    file_bytes: u64,
    /// Of the file that is written from end to end.
    stream_bytes: u64,
    /// How long one measurement takes.
    window: Duration,
    appends: usize,
    rounds: usize,
}

/// A backend under its name in the tables, and how it opens a directory.
struct Contender<S> {
    name: &'static str,
    open: fn(&Path) -> Result<S>,
}

/// Elsewhere there is no ring, and a stand-in is described as skipped.
#[cfg(not(target_os = "linux"))]
type UringStorage = StdStorage;

const STD: Contender<StdStorage> =
    Contender { name: "std", open: |dir| StdStorage::open(dir, &DirOptions::create()) };
const MMAP: Contender<MmapStorage> =
    Contender { name: "mmap", open: |dir| MmapStorage::open(dir, &DirOptions::create()) };
const URING: Contender<UringStorage> = Contender { name: "uring", open: |dir| uring(dir, true) };
const URING_CACHED: Contender<UringStorage> =
    Contender { name: "uring, cached", open: |dir| uring(dir, false) };

#[cfg(target_os = "linux")]
fn uring(dir: &Path, direct_io: bool) -> Result<UringStorage> {
    let mut options = UringOptions::default();
    options.direct_io = direct_io;
    UringStorage::open_with(dir, &DirOptions::create(), &options)
}

#[cfg(not(target_os = "linux"))]
fn uring(_dir: &Path, _direct_io: bool) -> Result<UringStorage> {
    Err(gannet_backend_uring::unavailable())
}

fn main() {
    let is_test = std::env::args().any(|arg| arg == "--test");
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let scale = if is_test {
        Scale {
            file_bytes: 8 << 20,
            stream_bytes: 8 << 20,
            window: Duration::from_millis(20),
            appends: 20,
            rounds: 1,
        }
    } else {
        Scale {
            file_bytes: 1 << 30,
            stream_bytes: 512 << 20,
            window: Duration::from_secs(1),
            appends: 4000,
            rounds: number("GANNET_BENCH_ROUNDS").unwrap_or(5),
        }
    };
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = std::env::var_os("GANNET_BENCH_DIR")
        .map_or_else(|| temporary.path().to_owned(), |dir| PathBuf::from(dir).join("gannet-bench"));
    let uring = describe(&dir, &URING);
    describe(&dir, &URING_CACHED);
    describe(&dir, &STD);
    describe(&dir, &MMAP);
    reads::cold(&dir, &scale, uring);
    reads::warm(&dir, &scale, uring);
    writes::appends(&dir, &scale, uring);
    writes::stream(&dir, &scale, uring);
    std::fs::remove_dir_all(&dir).expect("the directory is ours");
}

/// Prints what runs; whether it runs at all.
fn describe<S: Storage>(dir: &Path, contender: &Contender<S>) -> bool {
    match (contender.open)(dir) {
        Ok(storage) => {
            println!("{}: {:?}", contender.name, storage.caps());
            true
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            println!("{}: skipped: {error} ({})", contender.name, cause.unwrap_or_default());
            false
        }
    }
}
