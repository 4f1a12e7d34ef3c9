//! Salvage: from where, and into what.

use crate::contents::{config, example, open, shown};
use crate::disk::{Disk, Folder, on_each_disk};
use crate::salvage::run;
use crate::salvage_history::history;
use gannet::storage::{MemStorage, Storage};
use gannet::{Database, SalvageError, verify_storage};
use gannet_testkit::sim::SimDisk;

#[test]
fn a_healthy_database_is_salvaged_whole_on_every_backend() {
    fn on(disk: &impl Disk) {
        let contents = example(disk);
        let before = disk.digest();
        let target = disk.fresh();
        let report = run(&disk.open().unwrap(), target.open().unwrap()).unwrap();
        assert!(report.is_whole() && report.damage.is_empty(), "{report:?}");
        assert_eq!(disk.digest(), before);
        let db = open(&target, 5);
        assert_eq!(shown(&db, 200), contents);
        assert_eq!((report.rows, report.keys), (contents.vectors.len() as u64, 2));
        drop(db);
        assert!(verify_storage(&target.open().unwrap()).unwrap().faults.is_empty());
    }
    on_each_disk!(on);
}

#[test]
fn only_a_new_place_is_written_to() {
    let disk = SimDisk::new();
    example(&disk);
    let target = SimDisk::new();
    example(&target);
    let before = target.digest();
    let refused = run(&disk.open().unwrap(), target.open().unwrap());
    assert!(matches!(refused, Err(SalvageError::NotEmpty { .. })), "{refused:?}");
    assert_eq!(target.digest(), before);
    let refused = run(&MemStorage::new(), MemStorage::new());
    assert!(matches!(refused, Err(SalvageError::Nothing)), "{refused:?}");
}

#[test]
fn one_place_cannot_be_both() {
    fn on(folder: &Folder) {
        example(folder);
        let from = folder.open().unwrap();
        let to = folder.open().map(drop).unwrap_err();
        assert_eq!(to.kind(), gannet::storage::ErrorKind::Locked);
        drop(from);
    }
    Folder::each().for_each(|folder| on(&folder));
}

#[test]
fn a_salvage_that_is_cut_short_leaves_a_place_that_is_refused() {
    let disk = SimDisk::new();
    history(&disk);
    let whole = SimDisk::new();
    run(&disk.open().unwrap(), whole.open().unwrap()).unwrap();
    let mut refused = 0;
    for steps in (0..whole.steps()).step_by(7) {
        let target = SimDisk::new();
        let storage = target.open().unwrap();
        target.cut_after(steps);
        assert!(run(&disk.open().unwrap(), storage).is_err(), "cut after {steps}");
        let left = target.kill();
        // Either a database, which may lack anything, or none yet.
        drop(Database::open(left.open().unwrap(), config(2)).unwrap());
        if left.open().unwrap().list().unwrap().is_empty() {
            continue;
        }
        let again = run(&disk.open().unwrap(), left.open().unwrap());
        assert!(matches!(again, Err(SalvageError::NotEmpty { .. })), "{again:?}");
        refused += 1;
    }
    assert!(refused > 3, "{refused}");
}
