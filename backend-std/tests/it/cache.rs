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

/// Pages of the file in the kernel's cache, by the program `fincore`, which looks without touching
/// (a read that may not wait would begin to read ahead). `None` where there is no such program.
#[cfg(target_os = "linux")]
fn cached_pages(file: &std::path::Path) -> Option<u64> {
    let mut program = std::process::Command::new("fincore");
    let output = program.args(["--noheadings", "--output", "PAGES"]).arg(file).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

#[test]
#[cfg(target_os = "linux")]
fn after_discarding_the_cache_reads_come_from_the_media() {
    const TMPFS: u32 = 0x0102_1994;
    // Not where temporary files are: that is often memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory");
    let kind = rustix::fs::statfs(dir.path()).expect("file system").f_type;
    if u64::try_from(kind).is_ok_and(|kind| kind == u64::from(TMPFS)) {
        return eprintln!("skipped: {} lives in memory", dir.path().display());
    }
    let storage = open(dir.path());
    let file = storage.create(&name("f"), 4096).expect("made");
    let cached = || cached_pages(&dir.path().join("f"));
    if cached().is_none() {
        return eprintln!("skipped: the program fincore is not here");
    }
    mark(&file, 1, Durability::Deferred);
    assert_eq!(cached(), Some(1), "a page just written is in the cache");
    file.discard_cache().expect("discarded");
    assert_eq!(cached(), Some(0), "a written page, never synced before, is discarded");
    let sealed = storage.seal(file).expect("sealed");
    assert_eq!(sealed.view(0..1).expect("view")[0], 1);
    assert_eq!(cached(), Some(1), "a page just read is in the cache");
    sealed.discard_cache().expect("discarded");
    assert_eq!(cached(), Some(0), "a page of a sealed file is discarded");
}
