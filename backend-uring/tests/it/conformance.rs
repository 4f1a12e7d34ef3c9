//! The contract, direct and through the page cache, on every file system that can be had.

use crate::interrupt::Interrupted;
use crate::{mounted, open, try_open};
use gannet_backend_std::StdStorage;
use gannet_backend_uring::UringStorage;
use gannet_storage::{DirOptions, ErrorKind, Storage};
use gannet_testkit::conformance;
use gannet_testkit::mount::Mount;
use std::cell::Cell;
use std::path::Path;

fn check(parent: &Path, direct_io: bool) {
    let _signals = Interrupted::begin();
    let next = Cell::new(0);
    conformance::run(|| {
        next.set(next.get() + 1);
        open(&parent.join(format!("{direct_io}-{}", next.get())), direct_io)
    });
    let dir = parent.join(format!("{direct_io}-persistent"));
    eprintln!("{:?}", open(&dir, direct_io).caps());
    conformance::run_persistent(|| try_open(&dir, direct_io));
}

#[test]
fn direct_transfers_keep_the_contract() {
    check(tempfile::tempdir().unwrap().path(), true);
}

#[test]
fn transfers_through_the_page_cache_keep_the_contract() {
    check(tempfile::tempdir().unwrap().path(), false);
}

#[test]
fn the_contract_is_kept_on_tmpfs() {
    let Some(mount) = mounted(Mount::tmpfs(64 << 20)) else { return };
    check(&mount.path(), true);
    check(&mount.path(), false);
}

#[test]
fn the_contract_is_kept_on_ext4() {
    let Some(mount) = mounted(Mount::ext4(64 << 20)) else { return };
    check(&mount.path(), true);
    check(&mount.path(), false);
}

#[test]
fn the_contract_is_kept_on_xfs() {
    let Some(mount) = mounted(Mount::xfs(300 << 20)) else { return };
    check(&mount.path(), true);
    check(&mount.path(), false);
}

#[test]
fn a_read_only_file_system_opens_for_reading() {
    let Some(mount) = mounted(Mount::ext4(64 << 20)) else { return };
    let dir = mount.path().join("db");
    // The kernel takes a ring down a moment after it was dropped, and has the lock file open for
    // writing until then: so this directory is made without one.
    let storage = StdStorage::open(&dir, &DirOptions::create()).unwrap();
    drop(crate::sealed(&storage, 16));
    storage.sync_dir().unwrap();
    drop(storage);
    mount.remount("ro").unwrap();
    let _signals = Interrupted::begin();
    let storage = UringStorage::open(&dir, &DirOptions::existing()).unwrap();
    let file = storage.open_sealed(&crate::name()).unwrap();
    let view = gannet_storage::SealedFile::view(&file, 0..16 * 4096).unwrap();
    crate::assert_filled(&view, 0);
    drop((view, file));
    let error = storage.open(&crate::name()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
}
