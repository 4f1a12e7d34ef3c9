//! Rings refused by a seccomp filter, as container runtimes do: `Auto` runs the next best and says
//! why, a backend that was named is an error with cause and remedy.
//!
//! A filter is for life, so each is tried in a child: this program again, with this test alone.

use crate::contents::config;
use gannet::storage::{DirOptions, ErrorKind};
use gannet::{AnyStorage, Backend, Database, OpenError, UringStorage, WriteBatch};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::error::Error;
use std::path::Path;
use std::process::Command;

/// Tells a child which error number to refuse with.
const CHILD: &str = "GANNET_TEST_REFUSE_RINGS_WITH";
const TEST: &str = "refused::where_a_filter_refuses_rings_auto_runs_std_and_says_why";
/// The same number on every architecture.
const IO_URING_SETUP: i64 = 425;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// From now on every thread of this process is refused a ring.
fn refuse_rings(errno: u32) {
    let filter = SeccompFilter::new(
        [(IO_URING_SETUP, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter_all_threads(&program).unwrap();
}

#[test]
fn where_a_filter_refuses_rings_auto_runs_std_and_says_why() {
    if let Ok(errno) = std::env::var(CHILD) {
        let errno = errno.parse().unwrap();
        refuse_rings(errno);
        return check(errno);
    }
    for errno in [EPERM, ENOSYS] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", TEST]).env(CHILD, errno.to_string());
        let output = child.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "error number {errno}: {said}");
        assert!(said.contains("1 passed"), "the child ran no test: {said}");
    }
}

fn check(errno: u32) {
    let words: &[&str] = match errno {
        EPERM => &["io_uring_setup is refused", "seccomp", "allow io_uring_setup", "os error 1)"],
        _ => &["io_uring_setup is refused", "Linux 5.6", "allow io_uring_setup", "os error 38)"],
    };
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("db");
    check_named(&dir, words);
    assert!(!dir.exists(), "a refusal makes nothing");

    let storage = AnyStorage::open(Backend::Auto, &dir, &DirOptions::create());
    if cfg!(not(any(feature = "std", feature = "mmap"))) {
        // There is nothing to fall back to: the refusal is the answer.
        return check_refusal(&storage.expect_err("no other backend"), words);
    }
    let db = Database::open(storage.unwrap(), config(1)).unwrap();
    let info = db.backend_info();
    assert_eq!(info.caps.name, if cfg!(feature = "std") { "std" } else { "mmap" });
    let (backend, reason) = &info.refused[0];
    assert_eq!(*backend, Backend::Uring);
    check_words(reason, words);
    let mut batch = WriteBatch::new();
    batch.put("kv", b"k", b"v");
    db.commit(batch).unwrap();
    db.close().unwrap();

    // A directory that is there is refused likewise, and stays free for others.
    check_named(&dir, words);
    let again = AnyStorage::open(Backend::Auto, &dir, &DirOptions::existing()).unwrap();
    let db = Database::open(again, config(2)).unwrap();
    assert_eq!(db.get("kv", b"k").unwrap().as_deref(), Some(&b"v"[..]));
}

/// By name and by type.
fn check_named(dir: &Path, words: &[&str]) {
    let options = DirOptions::create();
    let by_name = AnyStorage::open(Backend::Uring, dir, &options).expect_err("refused");
    check_refusal(&by_name, words);
    let by_type = UringStorage::open(dir, &options).expect_err("refused");
    check_refusal(&by_type.into(), words);
}

fn check_refusal(error: &OpenError, words: &[&str]) {
    let OpenError::Storage(storage) = error else { panic!("{error:?}") };
    assert_eq!(storage.kind(), ErrorKind::Unsupported, "{error:?}");
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    check_words(&text, words);
}

fn check_words(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}
