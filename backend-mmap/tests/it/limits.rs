//! Limits of the system: addresses and maps that are used up.

use crate::again;
use crate::{name, open, sealed};
use gannet_storage::{ErrorKind, Op, ReadFile, SealedFile, Storage};
use memmap2::MmapMut;
use std::error::Error as _;
use std::io::{self, Write as _};

const REACHED: &str = "reached the end";

/// Runs the test `test` in another process, after the shell did `before`.
#[track_caller]
fn run_again(before: &str, test: &str) {
    let dir = tempfile::tempdir().expect("directory");
    let output = again::process(before, test, dir.path()).output().expect("runs");
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && out.contains(REACHED), "{out}\n{err}");
    eprint!("{err}");
}

fn reached() {
    writeln!(io::stdout(), "{REACHED}").expect("stdout");
}

#[track_caller]
fn check_used_up(error: &gannet_storage::Error) {
    assert_eq!((error.kind(), error.op()), (ErrorKind::Io, Op::View), "{error}");
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    assert_eq!(source.expect("kept").kind(), io::ErrorKind::OutOfMemory);
}

#[test]
fn addresses_that_are_used_up_are_an_error_and_reads_go_on() {
    const TEST: &str = "limits::addresses_that_are_used_up_are_an_error_and_reads_go_on";
    const LEN: u64 = 1 << 36;
    let Some(place) = again::place() else { return run_again("ulimit -v 16777216", TEST) };
    let storage = open(&place.join("db"));
    let file = storage.create(&name("large"), LEN).expect("sparse files take no room");
    let file = storage.seal(file).expect("sealing needs no addresses");
    check_used_up(&file.view(4096..8192).expect_err("64 GiB in an address space of 16"));
    file.prefetch(0..LEN);
    let mut back = storage.alloc(4096);
    file.read_at(LEN - 4096, &mut back).expect("needs no addresses either");
    assert_eq!(sealed(&storage, "small", 2).view(4096..8192).expect("view")[0], 1);
    reached();
}

#[test]
fn maps_that_are_used_up_are_an_error_until_others_go() {
    const TEST: &str = "limits::maps_that_are_used_up_are_an_error_until_others_go";
    let Some(place) = again::place() else { return run_again(":", TEST) };
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").expect("the limit");
    let limit: usize = limit.trim().parse().expect("a number");
    if limit > 1 << 21 {
        eprintln!("skipped: a process may have {limit} maps here");
        return reached();
    }
    let storage = open(&place.join("db"));
    let files: Vec<_> = (0..32).map(|n| sealed(&storage, &n.to_string(), 3)).collect();

    // Neighbours that differ in what they allow stay two maps.
    let (mut read_only, mut writable) = (Vec::with_capacity(limit), Vec::with_capacity(limit));
    while let Ok(first) = MmapMut::map_anon(4096)
        && let Ok(second) = MmapMut::map_anon(4096)
    {
        writable.push(first);
        match second.make_read_only() {
            Ok(second) => read_only.push(second),
            Err(_) => break,
        }
    }
    assert!(read_only.len() + writable.len() > limit / 2, "the limit was reached");
    // Some room for what the process itself needs.
    read_only.truncate(read_only.len() - 8);

    let views: Vec<_> = files.iter().map(|file| file.view(4096..8192)).collect();
    let refused: Vec<_> = views.iter().filter_map(|view| view.as_ref().err()).collect();
    assert!(!refused.is_empty(), "32 files were mapped in the room of few");
    refused.into_iter().for_each(check_used_up);
    for file in &files {
        let mut back = storage.alloc(4096);
        file.read_at(8192, &mut back).expect("needs no map");
        assert_eq!(back[0], 2);
    }
    drop((read_only, writable));
    for file in &files {
        assert_eq!(file.view(4096..8192).expect("room again")[0], 1);
    }
    reached();
}
