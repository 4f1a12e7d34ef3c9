//! What happens when another program breaks the promise of `open` and cuts a file.

use crate::{again, change_length, name, open, sealed};
use gannet_storage::{ErrorKind, Op, ReadFile, SealedFile, Storage};
use std::error::Error as _;
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;

/// SIGBUS on most of Linux; on MIPS, SPARC and others it has another number.
const SIGBUS: i32 =
    if cfg!(any(target_arch = "mips", target_arch = "mips64", target_arch = "sparc64")) {
        10
    } else {
        7
    };

#[test]
fn looking_beyond_the_end_of_a_file_that_was_cut_kills_the_process_and_loses_nothing_else() {
    const TEST: &str = "signal::looking_beyond_the_end_of_a_file_that_was_cut_kills_the_process_\
                        and_loses_nothing_else";
    if let Some(place) = again::place() {
        let dir = place.join("db");
        let storage = open(&dir);
        drop(sealed(&storage, "other", 2));
        let file = sealed(&storage, "cut", 64);
        storage.sync_dir().expect("synced");
        let view = file.view(0..64 * 4096).expect("view");
        assert_eq!(view[4096], 1);
        change_length(&dir.join("cut"), 4096);
        assert_eq!(view[0], 0, "what is left of the file can be seen");
        black_box(view[4096]);
        unreachable!("a byte that is not there was seen");
    }
    let parent = tempfile::tempdir().expect("directory");
    let output = again::process("ulimit -c 0", TEST, parent.path()).output().expect("runs");
    assert_eq!(output.status.signal(), Some(SIGBUS), "{output:?}");

    let storage = open(&parent.path().join("db"));
    let lens: Vec<_> = storage.list().expect("listed").into_iter().map(|m| m.len_bytes).collect();
    assert_eq!(lens, [4096, 8192]);
    let other = storage.open_sealed(&name("other")).expect("opens");
    assert_eq!(other.view(4096..8192).expect("view")[0], 1);
    drop(storage.open(&name("cut")).expect("can be written again"));
}

#[test]
fn a_length_that_another_program_changed_is_an_error_of_the_first_view_and_of_reads() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    let file = sealed(&storage, "f", 8);
    for other in [4096, 100, 0, 9 * 4096] {
        change_length(&dir.path().join("f"), other);
        let error = file.view(0..4096).expect_err("another length");
        assert_eq!((error.kind(), error.op()), (ErrorKind::Io, Op::View));
        let source = error.source().expect("kept").to_string();
        let expected = format!("another program changed its length from 32768 to {other}");
        assert_eq!(source, expected);
        file.prefetch(0..u64::MAX);
        let mut back = storage.alloc(4096);
        let read = file.read_at(7 * 4096, &mut back).map_err(|error| error.kind());
        assert_eq!(read, if other < 8 * 4096 { Err(ErrorKind::Io) } else { Ok(()) });
    }
    change_length(&dir.path().join("f"), 8 * 4096);
    assert_eq!(file.view(0..8 * 4096).expect("the length is right again").len(), 8 * 4096);
}
