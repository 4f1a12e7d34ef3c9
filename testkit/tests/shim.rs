//! Backends over system calls that are interrupted, short, empty or failing.
//!
//! Each test compiles `shim/shim.c`, then runs itself again in a process with that library loaded
//! first. Interrupted and short calls must not be noticed at all; empty and failing ones must be
//! typed errors: never a hang, a panic or a wrong byte. Another backend joins with one line of
//! `on_each_mode!`. Where there is no `cc`, or no 64-bit Linux, a test says so and passes.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use gannet_backend_mmap::MmapStorage;
use gannet_backend_std::StdStorage;
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, DirOptions, Durability, Error, ErrorKind, FileName, Op, ReadFile,
    ReadQueue, Result, SealedFile, Storage, Write, WriteFile,
};
use gannet_testkit::conformance;
use std::cell::Cell;
use std::error::Error as _;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// In the process with the shim: the directory that it watches.
const DIR: &str = "GANNET_SHIM_DIR";
const SEEDS: [u64; 2] = [1, 0x7368_696d];
const BLOCK: u64 = BLOCK_SIZE as u64;

fn options() -> DirOptions {
    let mut options = DirOptions::create();
    options.lock_wait = Duration::ZERO;
    options
}

fn open_std(dir: &Path) -> Result<StdStorage> {
    StdStorage::open(dir, &options())
}

fn open_mmap(dir: &Path) -> Result<MmapStorage> {
    MmapStorage::open(dir, &options())
}

/// What the shim does, how often, and the calls that it must have done it to.
struct Mode {
    name: &'static str,
    one_in: u64,
    struck: &'static [&'static str],
}

const TRANSFERS: &[&str] = &["pread", "pwrite"];
const ALL: &[&str] = &["pread", "pwrite", "fsync", "fdatasync", "ftruncate"];
const EINTR: Mode = Mode { name: "eintr", one_in: 2, struck: ALL };
const SHORT: Mode = Mode { name: "short", one_in: 2, struck: TRANSFERS };
const ZERO: Mode = Mode { name: "zero", one_in: 8, struck: TRANSFERS };
const EIO: Mode = Mode { name: "eio", one_in: 8, struck: ALL };

/// The four tests of one backend.
macro_rules! on_each_mode {
    ($backend:ident, $open:expr) => {
        mod $backend {
            use super::*;

            #[test]
            fn interrupted_calls_are_not_noticed() {
                let test = concat!(stringify!($backend), "::interrupted_calls_are_not_noticed");
                under(test, &EINTR, |dir| keeps_the_contract(dir, $open));
            }

            #[test]
            fn short_transfers_are_not_noticed() {
                let test = concat!(stringify!($backend), "::short_transfers_are_not_noticed");
                under(test, &SHORT, |dir| keeps_the_contract(dir, $open));
            }

            #[test]
            fn empty_transfers_are_typed_errors() {
                let test = concat!(stringify!($backend), "::empty_transfers_are_typed_errors");
                under(test, &ZERO, |dir| fails_by_the_book(dir, $open));
            }

            #[test]
            fn failing_calls_are_typed_errors() {
                let test = concat!(stringify!($backend), "::failing_calls_are_typed_errors");
                under(test, &EIO, |dir| fails_by_the_book(dir, $open));
            }
        }
    };
}

on_each_mode!(std_backend, open_std);
on_each_mode!(mmap_backend, open_mmap);

/// Runs `body`, of the test called `test`, in processes where calls go wrong as `mode` says.
fn under(test: &str, mode: &Mode, body: impl FnOnce(&Path)) {
    if let Some(dir) = std::env::var_os(DIR) {
        return body(Path::new(&dir));
    }
    let place = tempfile::tempdir().unwrap();
    // As the kernel names it: a temporary directory may be behind a link.
    let place = place.path().canonicalize().unwrap();
    let shim = match compiled(&place) {
        Ok(shim) => shim,
        Err(reason) => return eprintln!("skipped {test}: {reason}"),
    };
    for seed in SEEDS {
        let dir = place.join(format!("seed-{seed}"));
        let log = place.join(format!("log-{seed}"));
        std::fs::DirBuilder::new().create(&dir).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env("LD_PRELOAD", &shim)
            .env("GANNET_SHIM", mode.name)
            .env("GANNET_SHIM_SEED", seed.to_string())
            .env("GANNET_SHIM_ONE_IN", mode.one_in.to_string())
            .env("GANNET_SHIM_LOG", &log)
            .env(DIR, &dir)
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        let (name, status) = (mode.name, output.status);
        let passed = status.success() && out.contains("1 passed");
        assert!(passed, "{name}, seed {seed}, {status}:\n{out}\n{err}");
        let log = std::fs::read_to_string(&log);
        let log = log.unwrap_or_else(|error| panic!("{name}: the shim did not load: {error}"));
        for call in mode.struck {
            let acted = acted(&log, call);
            assert!(acted > 0, "{name}, seed {seed}: nothing befell {call}:\n{log}");
        }
    }
}

/// How often something befell `call`, by the log of the shim.
fn acted(log: &str, call: &str) -> u64 {
    let line = log.lines().find_map(|line| line.strip_prefix(call)?.strip_prefix(' '));
    line.and_then(|counts| counts.split(' ').next()?.parse().ok()).unwrap_or(0)
}

/// The shim as a library in `place`, or why there is none.
fn compiled(place: &Path) -> std::result::Result<PathBuf, String> {
    if !cfg!(all(target_os = "linux", target_pointer_width = "64")) {
        return Err("the shim is for 64-bit Linux".to_owned());
    }
    let library = place.join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/shim.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]);
    match cc.arg(&library).arg(source).output() {
        Ok(output) if output.status.success() => Ok(library),
        Ok(output) => panic!("the shim: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("no cc".to_owned()),
        Err(error) => panic!("cc: {error}"),
    }
}

fn keeps_the_contract<S: Storage>(dir: &Path, open: fn(&Path) -> Result<S>) {
    let count = Cell::new(0);
    conformance::run(|| {
        count.set(count.get() + 1);
        open(&dir.join(count.get().to_string())).unwrap()
    });
    let again = dir.join("again");
    conformance::run_persistent(|| open(&again));
}

/// Calls that may fail, and how many did.
#[derive(Default)]
struct Tally {
    good: u64,
    failed: u64,
}

impl Tally {
    /// Counts a call; its error must be an input/output error that names call, place and cause.
    fn take<T>(&mut self, ops: &[Op], place: &str, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => {
                self.good += 1;
                Some(value)
            }
            Err(error) => {
                self.failed += 1;
                check(&error, ops, place);
                None
            }
        }
    }
}

fn check(error: &Error, ops: &[Op], place: &str) {
    assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
    assert!(ops.contains(&error.op()) && error.place() == place, "{error:?}");
    let cause = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let cause = cause.unwrap_or_else(|| panic!("the cause is missing: {error:?}"));
    // EIO has no kind of its own.
    let kinds = [std::io::ErrorKind::UnexpectedEof, std::io::ErrorKind::WriteZero];
    assert!(kinds.contains(&cause.kind()) || cause.raw_os_error() == Some(5), "{error:?}");
}

/// Files are made, written, sealed and read; whatever fails says so in type, and whatever succeeds
/// shows the right bytes.
fn fails_by_the_book<S: Storage>(dir: &Path, open: fn(&Path) -> Result<S>) {
    let storage = (0..1000).find_map(|_| match open(&dir.join("db")) {
        Ok(storage) => Some(storage),
        Err(error) => {
            assert!(matches!(error.op(), Op::OpenStorage | Op::Lock), "{error:?}");
            assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
            None
        }
    });
    let storage = storage.expect("one try of a thousand goes well");
    let mut tally = Tally::default();
    let mut read_back = 0;
    for round in 0..400_u64 {
        let name = FileName::new(&format!("file-{round}")).unwrap();
        if one_life(&storage, &name, &mut tally).is_some() {
            read_back += 1;
        }
        let there = storage.list().unwrap().iter().any(|meta| meta.name == name);
        if there {
            storage.remove(&name).unwrap();
        }
    }
    let Tally { good, failed } = tally;
    assert!(good > 400 && failed > 100 && read_back > 4, "{good} good, {failed} failed");
}

/// Ends early, with `None`, where the contents are unknown or there is no file.
fn one_life<S: Storage>(storage: &S, name: &FileName, tally: &mut Tally) -> Option<()> {
    const BLOCKS: u64 = 4;
    let place = name.as_str();
    let made = storage.create(name, BLOCKS * BLOCK);
    if made.is_err() {
        assert_eq!(storage.list().unwrap(), [], "a failed create leaves no file");
    }
    let file = tally.take(&[Op::Create], place, made)?;
    let mut due = storage.alloc(4 * BLOCK_SIZE);
    for (block, chunk) in (1..).zip(due.chunks_exact_mut(BLOCK_SIZE)) {
        chunk.fill(block);
    }
    let writes = [
        Write { offset: 2 * BLOCK, bytes: &due[2 * BLOCK_SIZE..] },
        Write { offset: 0, bytes: &due[..2 * BLOCK_SIZE] },
    ];
    let ops = [Op::Write, Op::Sync];
    tally.take(&ops, place, file.write_batch(&writes, Durability::Data))?;
    tally.take(&[Op::Sync], place, file.sync(Durability::Full))?;
    right(tally, place, &due, |buf| file.read_at(0, buf));
    // After a failed change of length either length is left, and the file tells which.
    let cut = file.set_len(2 * BLOCK);
    let len = if cut.is_ok() { 2 } else { BLOCKS };
    tally.take(&[Op::SetLen], place, cut);
    assert_eq!(file.len_bytes(), len * BLOCK);
    let due = &due[..usize::try_from(len * BLOCK).unwrap()];
    tally.take(&[Op::DiscardCache], place, file.discard_cache())?;
    let sealed = tally.take(&[Op::Seal], place, storage.seal(file))?;
    right(tally, place, due, |buf| sealed.read_at(0, buf));
    if let Some(view) = tally.take(&[Op::Read, Op::View], place, sealed.view(1..len * BLOCK)) {
        assert_eq!(view[..], due[1..]);
    }
    let mut queue = tally.take(&[Op::Queue], place, sealed.queue(NonZeroU16::MIN))?;
    assert!(queue.submit(7, 0, AlignedBuf::zeroed(due.len())).is_ok());
    let done = queue.wait().unwrap();
    assert_eq!((done.tag, done.buf.len()), (7, due.len()));
    tally.take(&[Op::Read], place, done.result)?;
    assert_eq!(done.buf[..], *due);
    Some(())
}

/// A read that says it went well has the right bytes.
fn right(tally: &mut Tally, place: &str, due: &[u8], read: impl FnOnce(&mut [u8]) -> Result<()>) {
    let mut buf = AlignedBuf::zeroed(due.len());
    if tally.take(&[Op::Read], place, read(&mut buf)).is_some() {
        assert_eq!(buf[..], *due);
    }
}
