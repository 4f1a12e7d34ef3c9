//! A cache that shows what the media does not have, numbers and names that nobody wrote.

use crate::contents::{Contents, checkpoint, config, example, last_segment, open, segment, shown};
use crate::disk::{Disk, on_each_disk};
use gannet::storage::{ErrorKind, FileName, Storage};
use gannet::{CommitError, Damage, Database, OpenError, WriteBatch, verify_storage};
use gannet_testkit::sim::SimDisk;

fn one_put(contents: &mut Contents, key: &str) -> WriteBatch {
    let mut batch = WriteBatch::new();
    contents.put(&mut batch, key, "x");
    batch
}

#[test]
fn a_segment_header_whose_sync_failed_is_not_believed() {
    for kind in [ErrorKind::Io, ErrorKind::NoSpace] {
        for nth in 1..20 {
            let disk = SimDisk::new();
            let mut contents = example(&disk);
            let db = open(&disk, 3);
            disk.fail_nth(nth, kind, true);
            let mut with = contents.clone();
            let first = db.commit(one_put(&mut with, "first"));
            if first.is_ok() {
                contents = with.clone();
            }
            drop(db);
            let killed = disk.kill();
            let db = open(&killed, 4);
            let seen = shown(&db, 200);
            assert!(seen == contents || seen == with, "{kind:?} {nth}: {seen:?}");
            let mut contents = seen;
            db.commit(one_put(&mut contents, "second")).unwrap();
            drop(db);
            let db = open(&killed.kill(), 5);
            assert_eq!(shown(&db, 200), contents, "{kind:?} {nth}");
        }
    }
}

#[test]
fn a_missing_segment_is_damage_also_before_a_spare_one() {
    fn on(disk: &impl Disk) {
        example(disk);
        let storage = disk.open().unwrap();
        let last = last_segment(&storage);
        storage.remove(&segment(last)).unwrap();
        drop(storage.create(&segment(last + 1), 16 << 10).unwrap());
        let refused = Database::open(storage, config(2)).expect_err("records are lost");
        let OpenError::Corrupt(corruption) = refused else { panic!("{refused:?}") };
        assert_eq!(
            (corruption.file.as_str(), corruption.damage),
            (segment(last).as_str(), Damage::Missing)
        );
    }
    on_each_disk!(on);
}

#[test]
fn a_segment_of_absurd_length_is_refused_unread() {
    fn on(disk: &impl Disk) {
        example(disk);
        let storage = disk.open().unwrap();
        let next = segment(last_segment(&storage) + 1);
        drop(storage.create(&next, 64 << 30).unwrap());
        let refused = Database::open(storage, config(2)).expect_err("too long");
        assert!(matches!(refused, OpenError::Corrupt(c) if c.damage == Damage::Length));
        assert_eq!(verify_storage(&disk.open().unwrap()).unwrap().faults.len(), 1);
    }
    on_each_disk!(on);
}

#[test]
fn a_file_with_an_absurd_number_changes_no_other_number() {
    fn on(disk: &impl Disk) {
        let mut contents = example(disk);
        let storage = disk.open().unwrap();
        for number in [u64::MAX, u64::MAX - 1, (1 << 56) + 1] {
            for kind in ["rows", "table", "manifest", "log"] {
                let name = FileName::new(&format!("{kind}-{number:010}")).unwrap();
                drop(storage.create(&name, 0).unwrap());
            }
        }
        storage.sync_dir().unwrap();
        drop(storage);
        let db = open(disk, 2);
        db.commit(one_put(&mut contents, "more")).unwrap();
        checkpoint(&db);
        drop(db);
        let db = open(disk, 3);
        assert_eq!(shown(&db, 200), contents);
        assert_eq!(db.recovery_report().records, 0);
    }
    on_each_disk!(on);
}

#[test]
fn verification_of_a_poisoned_database_writes_nothing_and_finds_no_fault() {
    for nth in 1.. {
        let disk = SimDisk::new();
        example(&disk);
        let db = open(&disk, 3);
        disk.fail_nth(nth, ErrorKind::Io, false);
        match db.commit(one_put(&mut Contents::default(), "k")) {
            Ok(_) => {
                assert!(nth > 3, "{nth}");
                break;
            }
            Err(CommitError::Unknown(_) | CommitError::Refused(_)) => {}
            Err(error) => panic!("{nth}: {error:?}"),
        }
        let before = disk.steps();
        let report = db.verify().unwrap();
        assert!(report.faults.is_empty(), "{nth}: {:?}", report.faults);
        let files = disk.steps() - before;
        // Settling root and last segment, twice each: no segment, no marker.
        assert!(files <= 12, "{nth}: {files} steps");
        drop(db);
    }
}

#[test]
fn a_commit_made_while_a_panic_unwinds_does_not_poison() {
    struct CommitOnDrop<'d>(&'d Database<gannet_testkit::sim::SimStorage>);
    impl Drop for CommitOnDrop<'_> {
        fn drop(&mut self) {
            self.0.commit(one_put(&mut Contents::default(), "k")).unwrap();
        }
    }
    let disk = SimDisk::new();
    let db = open(&disk, 1);
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _commit = CommitOnDrop(&db);
        std::panic::resume_unwind(Box::new("unwind"));
    }));
    assert!(unwound.is_err());
    db.commit(one_put(&mut Contents::default(), "l")).expect("not poisoned");
}
