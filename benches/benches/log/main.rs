//! Commits beside raw loops that do the same to the same disk, commits beside a checkpoint, and a
//! restart after a kill.
//!
//! Contenders run one after the other, round after round, so that a disturbance of the machine
//! falls on all; figures are medians with the least and the most, and ratios are taken round by
//! round. `GANNET_BENCH_DIR` names the directory (default: temporary), `GANNET_BENCH_ROUNDS` the
//! rounds, `GANNET_BENCH_ONLY` one of `commits`, `beside`, `restart`; `--test` runs all of it once,
//! small.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the tables are the product")]
#![expect(clippy::big_endian_bytes, reason = "keys in the order of their numbers")]

mod beside;
mod commits;
mod raw;
mod restart;
mod table;

use std::path::PathBuf;

/// How much is done.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Durable commits of one contender.
    commits: u64,
    /// Buffered commits of one contender.
    buffered: u64,
    /// Batches of 1,000 records of one contender.
    batches: u64,
    /// Bytes in the keyspace that a checkpoint writes.
    checkpoint_bytes: u64,
    /// Bytes written before a restart.
    restart_bytes: u64,
    rounds: usize,
}

fn main() {
    if let Some(dir) = std::env::var_os("GANNET_BENCH_CHILD") {
        restart::child(&PathBuf::from(dir));
    }
    let is_test = std::env::args().any(|arg| arg == "--test");
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok());
    let scale = if is_test {
        Scale {
            commits: 64,
            buffered: 2000,
            batches: 4,
            checkpoint_bytes: 4 << 20,
            restart_bytes: 8 << 20,
            rounds: 1,
        }
    } else {
        Scale {
            commits: 20_000,
            buffered: 400_000,
            batches: 300,
            checkpoint_bytes: 256 << 20,
            restart_bytes: 10 << 30,
            rounds: number("GANNET_BENCH_ROUNDS").unwrap_or(5),
        }
    };
    let only = std::env::var("GANNET_BENCH_ONLY").ok();
    let is_wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = std::env::var_os("GANNET_BENCH_DIR")
        .map_or_else(|| temporary.path().to_owned(), |dir| PathBuf::from(dir).join("gannet-bench"));
    std::fs::create_dir_all(&dir).expect("a directory");
    if is_wanted("commits") {
        commits::run(&dir, &scale);
    }
    if is_wanted("beside") {
        beside::run(&dir, &scale);
    }
    if is_wanted("restart") {
        restart::run(&dir, &scale);
    }
    std::fs::remove_dir_all(&dir).expect("the directory is ours");
}
