//! The storages of this workspace that need no disk, against the contract.

use gannet_storage::MemStorage;
use gannet_testkit::conformance;
use gannet_testkit::sim::SimDisk;

#[test]
fn storage_in_memory_keeps_the_contract() {
    conformance::run(MemStorage::new);
}

#[test]
fn simulated_storage_keeps_the_contract() {
    conformance::run(|| SimDisk::new().open().expect("a new disk is free"));
}

#[test]
fn simulated_storage_outlives_its_owner() {
    let disk = SimDisk::new();
    conformance::run_persistent(|| disk.open());
}
