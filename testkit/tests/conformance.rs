//! The storages of this workspace that need no disk, against the contract.

/// The storage of the engine's example `own_storage`.
#[path = "../../engine/examples/own_storage/shelf.rs"]
mod shelf;

use gannet::{Config, Database, Metric, Params, SearchOptions, WriteBatch};
use gannet_storage::MemStorage;
use gannet_testkit::conformance;
use gannet_testkit::sim::SimDisk;
use shelf::Shelf;

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

#[test]
fn a_storage_of_ones_own_keeps_the_contract_in_under_a_hundred_lines() {
    conformance::run(Shelf::default);
    let lines = include_str!("../../engine/examples/own_storage/shelf.rs").lines().count();
    assert!(lines < 100, "{lines} lines");
}

#[test]
fn a_database_lives_on_a_storage_of_ones_own() {
    let db = Database::open(Shelf::default(), Config::balanced()).expect("opens");
    db.create_collection("c", Params::new(2, Metric::L2)).expect("new");
    let mut batch = WriteBatch::new();
    for id in 0..100_u8 {
        batch.insert("c", u64::from(id), &[f32::from(id), 1.0]);
    }
    db.commit(batch).expect("commits");
    db.checkpoint(&mut |_| std::ops::ControlFlow::Continue(())).expect("checkpoint");
    let hits = db.search("c", &[41.2, 1.0], &SearchOptions::new(2)).expect("searches");
    assert_eq!(hits.iter().map(|hit| hit.id.clone()).collect::<Vec<_>>(), [41.into(), 42.into()]);
    assert!(db.verify().expect("walks").faults.is_empty());
}
