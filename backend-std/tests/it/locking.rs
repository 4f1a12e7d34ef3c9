//! One storage a directory: in this process, among processes, and after a kill.

use crate::{again, at_once, name, open, refusal};
use gannet_backend_std::StdStorage;
use gannet_storage::{DirOptions, ErrorKind, LOCK_NAME, Op, SealedFile, Storage};
use std::error::Error as _;
use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::num::NonZeroU16;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Options that wait so long that only a lock that stays makes them fail.
fn patient() -> DirOptions {
    let mut options = DirOptions::existing();
    options.lock_wait = Duration::from_secs(60);
    options
}

#[track_caller]
fn check_locked(dir: &Path) -> String {
    let error = refusal(dir, &DirOptions::existing());
    assert_eq!((error.kind(), error.op()), (ErrorKind::Locked, Op::Lock));
    error.source().expect("the holder").to_string()
}

#[test]
fn a_second_opening_in_the_same_process_is_locked_out() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    let holder = check_locked(dir.path());
    let expected = format!("held by pid {} (", std::process::id());
    assert!(holder.starts_with(&expected), "{holder}");
    drop(storage);
    drop(open(dir.path()));
}

#[test]
fn the_lock_outlives_the_storage_with_each_thing_that_came_out_of_it() {
    let dir = tempfile::tempdir().expect("directory");
    let file = open(dir.path()).create(&name("a"), 4096).expect("made");
    check_locked(dir.path());
    drop(file);
    let sealed = open(dir.path()).open_sealed(&name("a")).expect("sealed");
    let view = sealed.view(0..1).expect("view");
    let queue = sealed.queue(NonZeroU16::MIN).expect("queue");
    check_locked(dir.path());
    drop(sealed);
    check_locked(dir.path());
    drop(queue);
    check_locked(dir.path());
    let copy = view.clone();
    drop(view);
    check_locked(dir.path());
    drop(copy);
    drop(open(dir.path()));
}

#[test]
fn opening_waits_for_a_holder_that_goes_away() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| StdStorage::open(dir.path(), &patient()).map(drop));
        drop(storage);
        waiting.join().expect("no panic").expect("opened after the holder");
    });
}

/// Starts `test` again as a holder of the lock, and waits until it holds it.
fn start_holder(test: &str, dir: &Path) -> Child {
    let mut command = again::process(test, dir);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(child.stdout.as_mut().expect("piped")).lines();
    let held = lines.any(|line| line.expect("text").ends_with("it holds the lock"));
    assert!(held, "the other process ended early");
    child
}

/// In the other process: holds the lock until the end of the input. A program that it starts
/// meanwhile lives as long as the input, also if this process is killed.
fn hold(dir: &Path) {
    let _storage = open(dir);
    let started = cfg!(unix).then(|| Command::new("cat").spawn().expect("started"));
    writeln!(std::io::stdout(), "it holds the lock").expect("stdout");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("stdin");
    if let Some(mut program) = started {
        program.wait().expect("ended");
    }
}

#[test]
fn another_process_that_holds_the_lock_is_named_and_its_kill_frees_it() {
    const TEST: &str =
        "locking::another_process_that_holds_the_lock_is_named_and_its_kill_frees_it";
    if let Some(dir) = again::place() {
        return hold(&dir);
    }
    let dir = tempfile::tempdir().expect("directory");
    let mut child = start_holder(TEST, dir.path());
    let holder = check_locked(dir.path());
    if cfg!(windows) {
        assert_eq!(holder, "held by a process that the lock file does not name");
    } else {
        let program = std::env::current_exe().expect("path");
        let program = program.file_name().expect("a file").to_string_lossy();
        let program: String = program.chars().take(64).collect();
        assert_eq!(holder, format!("held by pid {} ({program})", child.id()));
    }
    child.kill().expect("killed");
    // The program may have its copies of the descriptors for an instant after it was started.
    // `wait` would close the input and with it end the program that the holder started.
    let input = child.stdin.take();
    child.wait().expect("ended");
    StdStorage::open(dir.path(), &patient()).expect("free");
    drop(input);
}

#[test]
fn a_holder_that_ends_frees_the_lock() {
    const TEST: &str = "locking::a_holder_that_ends_frees_the_lock";
    if let Some(dir) = again::place() {
        return hold(&dir);
    }
    let dir = tempfile::tempdir().expect("directory");
    let mut child = start_holder(TEST, dir.path());
    check_locked(dir.path());
    drop(child.stdin.take());
    assert!(child.wait().expect("ended").success());
    StdStorage::open(dir.path(), &at_once(DirOptions::existing())).expect("free");
}

#[test]
#[cfg(unix)]
fn a_dropped_lock_is_free_at_once_also_while_other_threads_start_programs() {
    let dir = tempfile::tempdir().expect("directory");
    drop(open(dir.path()).create(&name("a"), 0).expect("made"));
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            for _ in 0..100 {
                let status = Command::new("true").status().expect("started");
                assert!(status.success());
            }
        });
        while !starting.is_finished() {
            drop(open(dir.path()));
        }
        starting.join().expect("no panic");
    });
}

#[test]
fn a_hostile_lock_file_is_no_obstacle() {
    let dir = tempfile::tempdir().expect("directory");
    fs::write(dir.path().join(LOCK_NAME), vec![0x1b; 1 << 20]).expect("written");
    let _storage = open(dir.path());
    let length = fs::metadata(dir.path().join(LOCK_NAME)).expect("there").len();
    assert!(length < 128, "the holder's text replaced it: {length}");
    check_locked(dir.path());
}
