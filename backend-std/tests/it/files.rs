//! Files: lengths, kinds, names, and what stays of them.

use crate::{block, mark, name, open};
use gannet_storage::{
    BLOCK_SIZE, Durability, ErrorKind, Op, ReadFile, SealedFile, Storage, Write, WriteFile,
};
use std::error::Error as _;
use std::fs;

#[test]
fn what_was_written_is_there_after_reopening() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    for (i, durability) in
        [Durability::Deferred, Durability::Data, Durability::Full].into_iter().enumerate()
    {
        let file = storage.create(&name(&format!("f{i}")), 3 * 4096).expect("made");
        mark(&file, 7, durability);
        let write = [Write { offset: 4096, bytes: &block(8) }];
        file.write_batch(&write, durability).expect("written");
        file.set_len(2 * 4096).expect("cut");
        file.set_len(4 * 4096).expect("grown");
    }
    storage.sync_dir().expect("synced");
    drop(storage);
    let storage = open(dir.path());
    for meta in storage.list().expect("listed") {
        assert_eq!(meta.len_bytes, 4 * 4096);
        let view = storage.open_sealed(&meta.name).expect("sealed").view(0..4 * 4096);
        let view = view.expect("view");
        for (i, expected) in [7, 8, 0, 0].into_iter().enumerate() {
            let bytes = &view[i * BLOCK_SIZE..(i + 1) * BLOCK_SIZE];
            assert!(bytes.iter().all(|&byte| byte == expected), "{}, block {i}", meta.name);
        }
    }
}

#[test]
fn a_file_that_is_not_whole_blocks_is_listed_and_refused() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    for length in [1, 4095, 4097, 12_287] {
        fs::write(dir.path().join("odd"), vec![1; length]).expect("written");
        let listed: Vec<_> =
            storage.list().expect("listed").into_iter().map(|m| m.len_bytes).collect();
        assert_eq!(listed, [length as u64]);
        for (op, error) in [
            (Op::Open, storage.open(&name("odd")).expect_err("odd")),
            (Op::OpenSealed, storage.open_sealed(&name("odd")).expect_err("odd")),
        ] {
            assert_eq!((error.kind(), error.op()), (ErrorKind::BadLength, op));
            assert_eq!(error.range(), Some(0..length as u64));
        }
    }
    storage.remove(&name("odd")).expect("it can be removed");
}

#[test]
fn a_file_cut_behind_our_back_is_an_error_and_not_a_loop() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    let file = storage.create(&name("f"), 2 * 4096).expect("made");
    let other = fs::OpenOptions::new().write(true).open(dir.path().join("f")).expect("opened");
    other.set_len(4096 + 17).expect("cut");
    let mut buf = storage.alloc(2 * BLOCK_SIZE);
    let error = file.read_at(0, &mut buf).expect_err("short");
    assert_eq!((error.kind(), error.range()), (ErrorKind::Io, Some(0..8192)));
    let cause = error.source().and_then(|e| e.downcast_ref::<std::io::Error>()).expect("cause");
    assert_eq!(cause.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_length_that_no_file_can_have_is_no_space_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    let wild = u64::MAX - 4095;
    let error = storage.create(&name("f"), wild).expect_err("too long");
    assert_eq!((error.kind(), error.op()), (ErrorKind::NoSpace, Op::Create));
    assert_eq!(storage.list().expect("listed"), []);
    let file = storage.create(&name("f"), 4096).expect("the name is free");
    let error = file.set_len(wild).expect_err("too long");
    assert_eq!((error.kind(), error.op()), (ErrorKind::NoSpace, Op::SetLen));
    assert_eq!(file.len_bytes(), 4096);
}

#[test]
fn creating_a_name_that_exists_is_said_so_also_while_it_is_in_use() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    let file = storage.create(&name("f"), 4096).expect("made");
    mark(&file, 9, Durability::Deferred);
    let again = || storage.create(&name("f"), 8192).expect_err("exists").kind();
    assert_eq!(again(), ErrorKind::AlreadyExists);
    drop(file);
    assert_eq!(again(), ErrorKind::AlreadyExists);
    let sealed = storage.open_sealed(&name("f")).expect("sealed");
    assert_eq!((sealed.len_bytes(), sealed.view(0..1).expect("view")[0]), (4096, 9));
}

#[test]
fn a_view_keeps_its_file_busy() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    let (f, g) = (name("f"), name("g"));
    drop(storage.create(&g, 4096).expect("made"));
    let sealed = storage.seal(storage.create(&f, 4096).expect("made")).expect("sealed");
    let view = sealed.view(5..9).expect("view");
    drop(sealed);
    for (call, error) in [
        ("open", storage.open(&f).err()),
        ("remove", storage.remove(&f).err()),
        ("replace from", storage.replace(&f, &g).err()),
        ("replace to", storage.replace(&g, &f).err()),
    ] {
        assert_eq!(error.map(|e| e.kind()), Some(ErrorKind::Busy), "{call}");
    }
    drop(view);
    storage.replace(&g, &f).expect("free");
}

#[test]
fn only_regular_files_with_valid_names_are_listed() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    for text in ["b", "a", "c.tmp"] {
        drop(storage.create(&name(text), 4096).expect("made"));
    }
    for text in ["UPPER", "-dash", ".hidden", "with space"] {
        fs::write(dir.path().join(text), "theirs").expect("written");
    }
    fs::create_dir(dir.path().join("d")).expect("made");
    #[cfg(unix)]
    std::os::unix::fs::symlink("a", dir.path().join("s")).expect("linked");
    let names: Vec<_> = storage.list().expect("listed").into_iter().map(|m| m.name).collect();
    assert_eq!(names, [name("a"), name("b"), name("c.tmp")]);
}

#[test]
#[cfg(unix)]
fn links_directories_and_pipes_with_a_files_name_are_refused_and_never_written_through() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let outside = tempfile::tempdir().expect("directory");
    let target = outside.path().join("target");
    fs::write(&target, vec![5; 4096]).expect("written");
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    let path = |text: &str| dir.path().join(text);
    std::os::unix::fs::symlink(&target, path("link")).expect("linked");
    std::os::unix::fs::symlink(outside.path().join("none"), path("dangling")).expect("linked");
    fs::create_dir(path("directory")).expect("made");
    mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("made");
    for text in ["link", "dangling", "directory", "pipe"] {
        for error in [
            storage.open(&name(text)).expect_err(text),
            storage.open_sealed(&name(text)).expect_err(text),
            storage.replace(&name(text), &name("new")).expect_err(text),
        ] {
            assert_eq!(error.kind(), ErrorKind::Io, "{text}");
            assert_eq!(error.source().expect("cause").to_string(), "it is not a regular file");
        }
        let error = storage.create(&name(text), 4096).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{text}");
    }
    assert!(!outside.path().join("none").exists() && !path("new").exists());
    // A file may take the place of a link; what the link named stays.
    drop(storage.create(&name("file"), 8192).expect("made"));
    storage.replace(&name("file"), &name("link")).expect("replaced");
    storage.remove(&name("dangling")).expect("the link is removed");
    assert_eq!(storage.open(&name("link")).expect("opens").len_bytes(), 8192);
    assert_eq!(fs::read(&target).expect("still there"), vec![5; 4096]);
}

#[test]
fn a_hint_for_any_range_is_taken() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    let sealed = storage.seal(storage.create(&name("f"), 8192).expect("made")).expect("sealed");
    #[expect(clippy::reversed_empty_ranges, reason = "nonsense is part of any range")]
    for range in [0..8192, 5..6, 0..0, 8192..u64::MAX, 9..3, u64::MAX..u64::MAX] {
        sealed.prefetch(range);
    }
}
