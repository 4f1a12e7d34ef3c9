//! The page cache: what `discard_cache` keeps and what it drops.

use crate::{mark, name, open};
use gannet_storage::{Durability, ReadFile, SealedFile, Storage};

#[test]
fn discarding_the_cache_keeps_what_was_written() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    let file = storage.create(&name("f"), 8192).expect("made");
    for (byte, durability) in
        [(1, Durability::Deferred), (2, Durability::Data), (3, Durability::Full)]
    {
        mark(&file, byte, durability);
        file.discard_cache().expect("discarded");
        let mut back = storage.alloc(4096);
        file.read_at(0, &mut back).expect("read");
        assert!(back.iter().all(|&b| b == byte));
    }
    let sealed = storage.seal(file).expect("sealed");
    let view = sealed.view(0..8192).expect("view");
    sealed.discard_cache().expect("discarded");
    assert_eq!((view[0], sealed.view(0..1).expect("view")[0]), (3, 3));
}

/// Asks the kernel for a byte only if it is cached, which `discard_cache` must have ended, also for
/// what was never synced.
#[test]
#[cfg(target_os = "linux")]
fn after_discarding_the_cache_reads_come_from_the_media() {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    use std::io::IoSliceMut;
    const TMPFS: u32 = 0x0102_1994;
    // Not where temporary files are: that is often memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory");
    let kind = rustix::fs::statfs(dir.path()).expect("file system").f_type;
    if u64::try_from(kind).is_ok_and(|kind| kind == u64::from(TMPFS)) {
        return eprintln!("skipped: {} lives in memory", dir.path().display());
    }
    let storage = open(dir.path());
    let file = storage.create(&name("f"), 4096).expect("made");
    let other = std::fs::File::open(dir.path().join("f")).expect("opened");
    let cached = || {
        let mut byte = [0];
        match preadv2(&other, &mut [IoSliceMut::new(&mut byte)], 0, ReadWriteFlags::NOWAIT) {
            Ok(_) => Some(true),
            Err(Errno::AGAIN) => Some(false),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => None,
            Err(error) => panic!("preadv2: {error}"),
        }
    };
    // Advice may fail for a page that the kernel (write-back, reclaim) uses that instant, and a
    // read that may not wait may be refused for other reasons: only what never happens is a fault.
    let within_tries = |what: &str, expected: bool, act: &dyn Fn()| {
        let seen = (0..64).any(|_| {
            act();
            cached() == Some(expected)
        });
        assert!(seen, "not once in 64 tries: {what}");
    };
    if cached().is_none() {
        return eprintln!("skipped: no reads without waiting here");
    }
    let write = || mark(&file, 1, Durability::Deferred);
    within_tries("a page just written is in the cache", true, &write);
    within_tries("a written page is discarded", false, &|| {
        write();
        file.discard_cache().expect("discarded");
    });
    let sealed = storage.seal(file).expect("sealed");
    let read = || assert_eq!(sealed.view(0..1).expect("view")[0], 1);
    within_tries("a page just read is in the cache", true, &read);
    within_tries("a page of a sealed file is discarded", false, &|| {
        read();
        sealed.discard_cache().expect("discarded");
    });
}
