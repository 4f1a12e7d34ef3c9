//! What is there after closing, after a kill, and after checkpoints.

use crate::contents::{
    Contents, apart_from_log, checkpoint, config, example, open, params, shown, vector,
};
use crate::disk::{Disk, on_each_disk};
use gannet::storage::Storage;
use gannet::{Database, Metric, WriteBatch, verify_storage};

#[test]
fn everything_acknowledged_is_there_after_close_and_after_a_kill() {
    fn on(disk: &impl Disk) {
        let contents = example(disk);
        let killed = disk.copy();
        let db = open(&killed, 2);
        assert_eq!(shown(&db, 200), contents);
        let report = db.recovery_report().clone();
        assert_eq!(
            (report.torn_bytes, report.fallbacks.len(), report.index_actions.len()),
            (0, 0, 0)
        );
        assert!(report.checkpoint_lsn > 0 && report.end_lsn > report.checkpoint_lsn);
        assert_eq!(report.records, report.end_lsn - report.checkpoint_lsn);
        drop(db);
        assert!(verify_storage(&killed.open().unwrap()).unwrap().faults.is_empty());
    }
    on_each_disk!(on);
}

#[test]
fn a_reopened_database_goes_on_and_does_not_forget() {
    fn on(disk: &impl Disk) {
        let mut contents = example(disk);
        for round in 0..6_u64 {
            let db = open(disk, 10 + round);
            assert_eq!(shown(&db, 200), contents, "round {round}");
            let mut batch = WriteBatch::new();
            contents.upsert(&mut batch, 50 + round, vector(50 + round));
            contents.put(&mut batch, &format!("round-{round}"), "x");
            db.commit(batch).unwrap();
            if round % 3 == 1 {
                checkpoint(&db);
            }
            if round % 2 == 0 {
                db.close().unwrap();
            }
        }
        assert_eq!(shown(&open(disk, 99), 200), contents);
    }
    on_each_disk!(on);
}

#[test]
fn opening_a_new_database_writes_nothing_and_closing_it_neither() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        assert!(db.recovery_report().is_new);
        assert_eq!(shown(&db, 3), Contents::default());
        assert!(db.verify().unwrap().faults.is_empty());
        assert_eq!(checkpoint(&db).files_written, 0);
        db.close().unwrap();
        assert!(disk.open().unwrap().list().unwrap().is_empty());
    }
    on_each_disk!(on);
}

#[test]
fn the_graph_is_not_built_again_after_a_checkpoint() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        db.create_collection("c", params(Metric::Cosine)).unwrap();
        let mut batch = WriteBatch::new();
        for id in 0..40 {
            batch.insert("c", id, &vector(id + 1));
        }
        db.commit(batch).unwrap();
        assert_eq!(db.collection("c").unwrap().in_graph, 0);
        let report = checkpoint(&db);
        assert_eq!((report.indexed_rows, report.files_written), (40, 3));
        assert_eq!(checkpoint(&db).files_written, 0, "nothing has changed");
        drop(db);
        let db = open(disk, 2);
        assert_eq!(db.collection("c").unwrap().in_graph, 40);
        assert!(db.recovery_report().index_actions.is_empty());
        let stats = db.stats().unwrap();
        assert_eq!((stats.checkpoint_lsn, stats.last_lsn), (41, 41));
    }
    on_each_disk!(on);
}

#[test]
fn a_second_checkpoint_writes_only_what_has_changed_and_the_third_retires_the_first() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        db.create_collection("c", params(Metric::L2)).unwrap();
        let mut batch = WriteBatch::new();
        for id in 0..10 {
            batch.insert("c", id, &vector(id));
        }
        batch.put("kv", b"k", b"v");
        db.commit(batch).unwrap();
        assert_eq!(checkpoint(&db).files_written, 4, "rows, graph, table, manifest");
        let names = |db: &Database<_>| {
            let files = db.stats().unwrap().files;
            files.iter().map(|f| f.name.to_string()).collect::<Vec<_>>()
        };
        let first = names(&db);
        let put = |key: &[u8]| {
            let mut batch = WriteBatch::new();
            batch.put("kv", key, b"v");
            db.commit(batch).unwrap();
        };
        put(b"l");
        assert_eq!(checkpoint(&db).files_written, 2, "table, manifest");
        let both = names(&db);
        assert!(
            first.iter().filter(|n| !n.starts_with("log")).all(|n| both.contains(n)),
            "{both:?}"
        );
        put(b"m");
        checkpoint(&db);
        let third = names(&db);
        let gone = ["manifest-0000000004", "log-0000000001"];
        assert!(
            gone.iter()
                .all(|n| first.contains(&(*n).to_owned()) && !third.contains(&(*n).to_owned()))
        );
        for shared in ["table-0000000001", "rows-0000000002"] {
            assert!(third.contains(&shared.to_owned()), "shared by all: {third:?}");
        }
    }
    on_each_disk!(on);
}

#[test]
fn any_number_of_threads_recovers_and_indexes_the_same_bytes() {
    fn on(new: &impl Disk) {
        let make = |threads: usize| {
            let disk = new.fresh();
            let db = open(&disk, 1);
            db.create_collection("c", params(Metric::L2)).unwrap();
            for first in (0..3000).step_by(500) {
                let mut batch = WriteBatch::new();
                for id in first..first + 500 {
                    batch.insert("c", id, &vector(id));
                }
                db.commit(batch).unwrap();
            }
            drop(db);
            let mut config = config(2);
            config.threads = threads;
            let db = Database::open(disk.open().unwrap(), config).unwrap();
            assert_eq!(db.recovery_report().records, 3001);
            checkpoint(&db);
            drop(db);
            apart_from_log(&disk)
        };
        let one = make(1);
        for threads in [2, 3, 8] {
            assert!(make(threads) == one, "{threads} threads");
        }
    }
    on_each_disk!(on);
}

#[test]
fn rows_across_files_and_chunks_come_back() {
    fn on(new: &impl Disk) {
        // 64 rows a chunk at these dimensions.
        let dims = 16_000;
        let disk = new.fresh();
        let vector = |id: u16| {
            let mut v = vec![0.0; dims as usize];
            v[usize::from(id) * 7 % 16_000] = f32::from(id) + 1.0;
            v
        };
        let params =
            gannet::Params { m: 4, ef_construction: 8, ..gannet::Params::new(dims, Metric::L2) };
        for (first, end) in [(0_u16, 30_u16), (30, 64), (64, 130), (130, 131)] {
            let db = open(&disk, u64::from(end));
            db.create_collection("c", params.clone()).unwrap();
            for start in (first..end).step_by(10) {
                let mut batch = WriteBatch::new();
                for id in start..(start + 10).min(end) {
                    batch.insert("c", u64::from(id), &vector(id));
                }
                db.commit(batch).unwrap();
            }
            checkpoint(&db);
        }
        let db = open(&disk, 1000);
        assert_eq!(db.recovery_report().records, 0);
        for id in 0..131 {
            let found = db.get_vector("c", &u64::from(id).into()).unwrap();
            assert_eq!(found, Some(vector(id)), "{id}");
        }
    }
    on_each_disk!(on);
}

#[test]
fn the_same_seed_and_operations_give_the_same_files() {
    fn on(new: &impl Disk) {
        let digest = || {
            let disk = new.fresh();
            example(&disk);
            disk.digest()
        };
        assert_eq!(digest(), digest());
    }
    on_each_disk!(on);
}
