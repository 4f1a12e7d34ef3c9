//! The contract, direct and through the page cache.

use gannet_backend_uring::{UringOptions, UringStorage};
use gannet_storage::{DirOptions, Storage as _};
use gannet_testkit::conformance;
use std::cell::Cell;

fn check(direct_io: bool) {
    let parent = tempfile::tempdir().unwrap();
    let mut options = UringOptions::default();
    options.direct_io = direct_io;
    let next = Cell::new(0);
    conformance::run(|| {
        next.set(next.get() + 1);
        let dir = parent.path().join(next.get().to_string());
        UringStorage::open_with(&dir, &DirOptions::create(), &options).unwrap()
    });
    let dir = parent.path().join("persistent");
    let open = || UringStorage::open_with(&dir, &DirOptions::create(), &options);
    eprintln!("{:?}", open().unwrap().caps());
    conformance::run_persistent(open);
}

#[test]
fn direct_transfers_keep_the_contract() {
    check(true);
}

#[test]
fn transfers_through_the_page_cache_keep_the_contract() {
    check(false);
}
