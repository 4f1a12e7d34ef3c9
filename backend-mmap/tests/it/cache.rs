//! The page cache: `discard_cache` drops also what a map holds.

use crate::{name, open, sealed};
use gannet_storage::{ReadFile, SealedFile, Storage};
use std::path::Path;
use std::process::Command;

/// Pages of the file in the kernel's cache, by the program `fincore`, which looks without touching.
/// `None` where there is no such program.
fn cached_pages(file: &Path) -> Option<u64> {
    let mut program = Command::new("fincore");
    let output = program.args(["--noheadings", "--output", "PAGES"]).arg(file).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

#[test]
fn discarding_the_cache_drops_pages_that_any_handle_has_mapped() {
    const TMPFS: u32 = 0x0102_1994;
    // Not where temporary files are: that is often memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory");
    let kind = rustix::fs::statfs(dir.path()).expect("file system").f_type;
    if u64::try_from(kind).is_ok_and(|kind| kind == u64::from(TMPFS)) {
        return eprintln!("skipped: {} lives in memory", dir.path().display());
    }
    let storage = open(dir.path());
    let file = sealed(&storage, "f", 64);
    let cached = || cached_pages(&dir.path().join("f"));
    if cached().is_none() {
        return eprintln!("skipped: the program fincore is not here");
    }
    let view = file.view(0..64 * 4096).expect("view");
    let other = storage.open_sealed(&name("f")).expect("opens");
    for handle in [&file, &other, &file.clone()] {
        let firsts: Vec<_> = view.iter().step_by(4096).copied().collect();
        assert_eq!(firsts, (0..64).collect::<Vec<_>>());
        assert_eq!(cached(), Some(64), "pages just looked at are in the cache");
        handle.discard_cache().expect("discarded");
        assert_eq!(cached(), Some(0), "mapped pages are discarded");
    }
    file.prefetch(0..u64::MAX);
    assert_eq!(view[63 * 4096], 63);
}
