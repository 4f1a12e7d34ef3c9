//! The contract, clause by clause.

use crate::{at_once, open};
use gannet_backend_std::StdStorage;
use gannet_storage::DirOptions;
use std::cell::Cell;

#[test]
fn it_keeps_the_contract() {
    let parent = tempfile::tempdir().expect("directory");
    let count = Cell::new(0);
    gannet_testkit::conformance::run(|| {
        count.set(count.get() + 1);
        open(&parent.path().join(count.get().to_string()))
    });
}

#[test]
fn it_keeps_the_contract_across_reopening() {
    let dir = tempfile::tempdir().expect("directory");
    gannet_testkit::conformance::run_persistent(|| {
        StdStorage::open(dir.path(), &at_once(DirOptions::create()))
    });
}
