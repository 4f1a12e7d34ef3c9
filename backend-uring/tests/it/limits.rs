//! Limits of a process: the length of a file, memory that may be locked, open files.

use crate::interrupt::Interrupted;
use crate::{again, assert_filled, depth, name, open, sealed, try_open, with_causes};
use gannet_backend_uring::UringStorage;
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, Durability, Error, ErrorKind, FileName, ReadFile, ReadQueue,
    SealedFile, Storage, Write, WriteFile,
};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Whether a program can be run; a test that goes without it says so.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no program {program}");
    }
    found
}

const BLOCKS: usize = 64;

/// In a process that may write up to `limit` bytes into a file: short writes, then a refused one.
fn check_file_limit(place: &Path, direct_io: bool) {
    let _signals = Interrupted::begin();
    let storage = open(&place.join("db"), direct_io);
    let file = storage.open(&name()).unwrap();
    let mut bytes = AlignedBuf::zeroed(BLOCKS * BLOCK_SIZE);
    bytes.fill(0xEE);
    let whole = [Write { offset: 0, bytes: &bytes }];
    let blocks = bytes.chunks(BLOCK_SIZE).zip((0..).step_by(BLOCK_SIZE));
    let blocks: Vec<_> = blocks.map(|(bytes, offset)| Write { offset, bytes }).collect();
    for durability in [Durability::Deferred, Durability::Data, Durability::Full] {
        for writes in [&whole[..], &blocks[..]] {
            let error = file.write_batch(writes, durability).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "{}", with_causes(&error));
            assert!(error.range().is_some(), "{error}");
        }
    }
    file.write_batch(&blocks[..8], Durability::Data).expect("below the limit");
    again::reached();
}

#[test]
fn writes_beyond_the_limit_of_a_file_are_errors_and_change_nothing_there() {
    const TEST: &str =
        "limits::writes_beyond_the_limit_of_a_file_are_errors_and_change_nothing_there";
    if let Some((place, case)) = again::place() {
        return check_file_limit(&place, case == "direct");
    }
    if !has("prlimit") {
        return;
    }
    for case in ["direct", "cached"] {
        for limit in [32 * BLOCK_SIZE, 33 * BLOCK_SIZE + 512, 34 * BLOCK_SIZE + 100] {
            let dir = tempfile::tempdir().unwrap();
            drop(sealed(&open(&dir.path().join("db"), true), BLOCKS));
            let fsize = format!("--fsize={limit}");
            let before = ["prlimit", &fsize, "sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
            again::run(&mut again::process_at(&before, TEST, dir.path(), case));
            let storage = open(&dir.path().join("db"), true);
            let view = storage.open_sealed(&name()).unwrap();
            let view = view.view(0..(BLOCKS * BLOCK_SIZE) as u64).unwrap();
            assert!(view[..32 * BLOCK_SIZE].iter().all(|&byte| byte == 0xEE), "{case}, {limit}");
            assert!(view[limit..].iter().all(|&byte| byte != 0xEE), "{case}, {limit}: beyond");
            assert_filled(&view[limit.next_multiple_of(BLOCK_SIZE)..], limit.div_ceil(BLOCK_SIZE));
        }
    }
}

/// Everything a program does, once.
fn use_all(storage: &UringStorage) -> Result<(), Error> {
    let file = storage.create(&name(), 64 * 4096)?;
    let mut bytes = AlignedBuf::zeroed(64 * BLOCK_SIZE);
    for (block, index) in bytes.chunks_mut(BLOCK_SIZE).zip(0..) {
        block.fill(crate::fill(index));
    }
    file.write_batch(&[Write { offset: 0, bytes: &bytes }], Durability::Data)?;
    let sealed = storage.seal(file)?;
    storage.sync_dir()?;
    let used = use_sealed(&sealed);
    drop(sealed);
    storage.remove(&name())?;
    used
}

fn use_sealed(sealed: &gannet_backend_uring::UringSealed) -> Result<(), Error> {
    assert_filled(&sealed.view(0..64 * 4096)?, 0);
    let mut queue = sealed.queue(depth(256))?;
    for at in 0..64 {
        queue.submit(at, at * 4096, AlignedBuf::zeroed(BLOCK_SIZE)).unwrap();
    }
    while let Some(done) = queue.wait() {
        done.result?;
        assert_filled(&done.buf, usize::try_from(done.tag).unwrap());
    }
    Ok(())
}

#[track_caller]
fn check_memlock(error: &Error, kind: ErrorKind) {
    let text = with_causes(error);
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.contains("memlock") && text.contains("ulimit -l"), "{text}");
    eprintln!("{text}");
}

#[test]
fn with_64_kib_of_lockable_memory_it_works_or_names_the_limit() {
    const TEST: &str = "limits::with_64_kib_of_lockable_memory_it_works_or_names_the_limit";
    if let Some((place, _)) = again::place() {
        let _signals = Interrupted::begin();
        match try_open(&place.join("db"), true) {
            Ok(storage) => {
                // A ring that was dropped is counted until the kernel has taken it down.
                if let Err(error) = use_all(&storage) {
                    check_memlock(&error, ErrorKind::Io);
                }
                let own = FileName::new("own").unwrap();
                let file = storage.create(&own, 1 << 20).unwrap();
                let read = || {
                    let mut buf = AlignedBuf::zeroed(1 << 16);
                    file.sync(Durability::Data).unwrap();
                    file.read_at(0, &mut buf).unwrap();
                };
                std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(read))));
            }
            Err(error) => check_memlock(&error, ErrorKind::Unsupported),
        }
        return again::reached();
    }
    if !has("prlimit") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut before = vec!["prlimit", "--memlock=65536:65536"];
    if nix::unistd::geteuid().is_root() {
        // Root is above this limit.
        if !has("setpriv") {
            return;
        }
        before.extend(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
        before.push("--bounding-set=-all");
    }
    // The other user has to get at the binary, and to make the directory.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let binary = dir.path().join("binary");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let before: Vec<_> = before.into_iter().map(OsStr::new).collect();
    let mut process = again::process(&before, &binary, TEST);
    again::hand_over(&mut process, dir.path(), "");
    again::run(&mut process);
}

/// All descriptors that are left.
fn descriptors() -> impl Iterator<Item = File> {
    std::iter::from_fn(|| File::options().read(true).open("/dev/null").ok())
}

#[test]
fn with_few_descriptors_left_it_works_or_names_the_limit() {
    const TEST: &str = "limits::with_few_descriptors_left_it_works_or_names_the_limit";
    if let Some((place, _)) = again::place() {
        let _signals = Interrupted::begin();
        let mut taken: Vec<File> = descriptors().collect();
        for left in 0..12 {
            let spare: Vec<_> = (0..left).map(|_| taken.pop().unwrap()).collect();
            drop(spare);
            match try_open(&place.join("db"), true) {
                Ok(storage) => match use_all(&storage) {
                    Ok(()) => assert!(left > 4, "{left} were enough"),
                    Err(error) => check_told(&error, left),
                },
                Err(error) => check_told(&error, left),
            }
            taken.extend(descriptors());
        }
        // Of a storage that is open a batch does not fail for want of a ring, also of many threads.
        taken.truncate(taken.len() - 12);
        let storage = open(&place.join("db"), true);
        let file = sealed(&storage, 64);
        taken.extend(descriptors());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        assert_filled(&file.view(0..64 * 4096).unwrap(), 0);
                    }
                });
            }
        });
        check_told(&file.queue(depth(32)).unwrap_err(), 0);
        return again::reached();
    }
    if !has("prlimit") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let before = ["prlimit", "--nofile=64:64"];
    again::run(&mut again::process_at(&before, TEST, dir.path(), ""));
}

/// A limit of descriptors is told as one, with the remedy where a ring is what is missing.
#[track_caller]
fn check_told(error: &Error, left: usize) {
    let text = with_causes(error);
    assert!(text.contains("ulimit -n") || text.contains("os error 24"), "with {left} left: {text}");
    eprintln!("with {left} left: {text}");
}
