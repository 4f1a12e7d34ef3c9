//! Graphs that follow the log: rows are found at once and gone at once, and a replay comes to the
//! graph that there was.

use crate::committing::HandClock;
use crate::contents::{checkpoint, compact, config, open, vector};
use crate::disk::{Disk, on_each_disk};
use gannet::storage::{ErrorKind, SealedFile, Storage};
use gannet::{Config, Database, Durability, Id, Metric, Params, SearchOptions, WriteBatch};
use gannet_testkit::sim::{SimDisk, SimRng, SimStorage};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

fn params(metric: Metric) -> Params {
    Params { m: 4, ef_construction: 24, ..Params::new(5, metric) }
}

fn on_threads(threads: usize) -> Config {
    let mut config = config(1);
    config.threads = threads;
    config
}

/// A vector that every metric takes.
fn of(metric: Metric, seed: u64) -> Vec<f32> {
    let vector = vector(seed);
    match metric {
        Metric::Hamming => vector.iter().map(|x| if *x > 0.0 { 1.0 } else { 0.0 }).collect(),
        Metric::L2 | Metric::Cosine | Metric::Dot => vector,
    }
}

/// What a database must show: by id, of what its vector is made.
#[derive(Clone, Debug, Default)]
struct Model(BTreeMap<u64, u64>);

/// Every live row is found, nearest first, and no other; by the graph as by looking at all rows.
fn check<S: Storage>(db: &Database<S>, metric: Metric, model: &Model, told: &str) {
    let stats = db.collection("c").unwrap();
    assert_eq!(stats.rows, model.0.len() as u64, "{told}");
    for seed in [1, 700] {
        let query = of(metric, seed);
        let mut options = SearchOptions::new(1000);
        options.exact = true;
        let truth = db.search("c", &query, &options).unwrap().into_hits();
        options.exact = false;
        let found = db.search("c", &query, &options).unwrap();
        assert_eq!(found.clone().into_hits(), truth, "{told}");
        let mut ids: Vec<Id> = truth.into_iter().map(|hit| hit.id).collect();
        ids.sort();
        let expected: Vec<Id> = model.0.keys().copied().map(Id::Int).collect();
        assert_eq!(ids, expected, "{told}");
    }
    for (id, seed) in &model.0 {
        let found = db.get_vector("c", &Id::Int(*id)).unwrap().unwrap();
        for (found, expected) in found.iter().zip(of(metric, *seed)) {
            assert!((found - expected).abs() < 1e-3, "{told}: row {id}");
        }
    }
}

/// What the graph of a disk is, image and patches together: written whole, on a copy.
fn graph_of(disk: &SimDisk) -> Vec<u8> {
    let copy = disk.snapshot();
    let db = open(&copy, 1);
    compact(&db).unwrap();
    drop(db);
    newest_graph(&copy)
}

/// The image in the newest graph file.
fn newest_graph(disk: &SimDisk) -> Vec<u8> {
    let storage = disk.open().unwrap();
    let files = storage.list().unwrap();
    let graph = files.iter().rfind(|file| file.name.as_str().starts_with("graph"));
    let Some(file) = graph else { return Vec::new() };
    let file = storage.open_sealed(&file.name).unwrap();
    image_in(&file)
}

/// The image in a graph file: what follows it depends on the file's number.
pub(crate) fn image_in(file: &impl SealedFile) -> Vec<u8> {
    let bytes = file.view(4096..file.len_bytes()).unwrap();
    let len = u64::from_le_bytes(*bytes[48..].first_chunk().unwrap());
    bytes[..usize::try_from(len).unwrap()].to_vec()
}

/// Commits of all kinds, kills, checkpoints that leave out dead rows or do not, work of the indexer
/// and of the optimizer, as a seed has it. After a kill the graph comes to what it was, byte for
/// byte, and everything acknowledged is found.
#[test]
fn a_day_of_changes_is_what_a_model_says_and_a_replay_comes_to_the_same_graph() {
    let mut patches = 0;
    for metric in Metric::ALL {
        for seed in 0..6 {
            patches += day(metric, seed);
        }
    }
    assert!(patches > 0, "every checkpoint wrote all of its graph");
}

fn patch_count(disk: &SimDisk) -> usize {
    let files = disk.open().unwrap().list().unwrap();
    files.iter().filter(|file| file.name.as_str().starts_with("patch")).count()
}

/// How many patches there were to be read.
fn day(metric: Metric, seed: u64) -> usize {
    let mut rng = SimRng::new(seed);
    let mut disk = SimDisk::new();
    let mut db = open(&disk, seed);
    db.create_collection("c", params(metric)).unwrap();
    let (mut model, mut next) = (Model::default(), 0);
    let (mut replays, mut most_leaving, mut patches) = (0, 0, 0);
    for step in 0..120 {
        let told = format!("{metric}, seed {seed}, step {step}");
        match rng.below(12) {
            0..=7 => {
                let mut batch = WriteBatch::new();
                batch.set_bulk(rng.below(2) == 0);
                for _ in 0..=rng.below(30) {
                    let known = model.0.keys().nth(rng.below(model.0.len().max(1))).copied();
                    match (rng.below(5), known) {
                        (0 | 1, Some(id)) => {
                            batch.delete_row("c", id);
                            model.0.remove(&id);
                        }
                        (2, Some(id)) => {
                            next += 1;
                            batch.upsert("c", id, &of(metric, next));
                            model.0.insert(id, next);
                        }
                        _ => {
                            next += 1;
                            batch.insert("c", next, &of(metric, next));
                            model.0.insert(next, next);
                        }
                    }
                }
                db.commit(batch).unwrap();
            }
            8 => db.tend().unwrap(),
            9 => drop(checkpoint(&db)),
            10 if step % 3 == 0 => {
                db.optimize("c", &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
            }
            10 if step % 3 == 1 => {
                compact(&db).unwrap();
            }
            _ => {
                // One goes on, one is opened after a kill: the same graph from the same log.
                let killed = disk.snapshot();
                let again = open(&killed, seed);
                assert!(again.recovery_report().index_actions.is_empty(), "{told}");
                check(&again, metric, &model, &told);
                checkpoint(&again);
                compact(&db).unwrap();
                drop((db, again));
                patches += patch_count(&killed);
                assert!(graph_of(&killed) == newest_graph(&disk), "{told}");
                disk = killed;
                db = open(&disk, seed);
                replays += 1;
            }
        }
        most_leaving = most_leaving.max(db.collection("c").unwrap().leaving);
        check(&db, metric, &model, &told);
    }
    assert!(replays > 3 && most_leaving > 0, "{metric}, seed {seed}: {replays} {most_leaving}");
    patches
}

/// Rows join the graph, and leave it, although nobody asks for a checkpoint.
#[test]
fn graphs_learn_beside_commits() {
    fn on(disk: &impl Disk) {
        let db = Database::open(disk.open().unwrap(), on_threads(2)).unwrap();
        db.create_collection("c", params(Metric::L2)).unwrap();
        let settled = |rows: u64| {
            // As long as it takes.
            while {
                let found = db.collection("c").unwrap();
                (found.rows, found.in_graph, found.leaving) != (rows, rows, 0)
            } {
                std::thread::yield_now();
            }
        };
        let mut model = Model::default();
        for id in 0..300 {
            let mut batch = WriteBatch::new();
            batch.insert("c", id, &vector(id));
            db.commit(batch).unwrap();
            model.0.insert(id, id);
        }
        settled(300);
        check(&db, Metric::L2, &model, "inserted");
        for id in 0..100 {
            let mut batch = WriteBatch::new();
            batch.delete_row("c", id);
            batch.upsert("c", id + 100, &vector(id + 1000));
            db.commit(batch).unwrap();
            model.0.remove(&id);
            model.0.insert(id + 100, id + 1000);
        }
        settled(200);
        check(&db, Metric::L2, &model, "churned");
        db.close().unwrap();
        let db = open(disk, 2);
        check(&db, Metric::L2, &model, "opened again");
    }
    on_each_disk!(on);
}

/// A checkpoint that finds rows waiting ends the segment that was written; they join all the same.
/// Who only opens a database leaves it as it was.
#[test]
fn rows_that_wait_join_after_a_checkpoint_although_nothing_is_committed() {
    let disk = SimDisk::new();
    let clock = Arc::new(HandClock::default());
    let opened = || {
        let mut config = config(1);
        config.clock = Arc::<HandClock>::clone(&clock);
        config.checkpoint_bytes = 64 << 10;
        Database::open(disk.open().unwrap(), config).unwrap()
    };
    let db = opened();
    db.create_collection("c", params(Metric::L2)).unwrap();
    let insert = |db: &Database<SimStorage>, ids: std::ops::Range<u64>| {
        let mut batch = WriteBatch::new();
        ids.for_each(|id| batch.insert("c", id, &vector(id)));
        batch.put("k", b"key", &vec![7; 64 << 10]);
        db.commit(batch).unwrap();
        db.stats().unwrap().last_lsn
    };
    insert(&db, 0..2500);
    checkpoint(&db);
    let lsn = insert(&db, 2500..2520);
    let after = |db: &Database<SimStorage>, millis| {
        clock.set(millis);
        db.tend().unwrap();
        let found = db.stats().unwrap();
        (found.checkpoint_lsn, found.collections[0].in_graph)
    };
    assert_eq!(after(&db, 0), (lsn, 2500), "a checkpoint came before their time");
    drop(db);
    let db = opened();
    assert_eq!([after(&db, 0), after(&db, 2000)], [(lsn, 2500); 2], "only opened");
    let lsn = insert(&db, 2520..2521);
    assert_eq!(after(&db, 2500), (lsn, 2521), "the checkpoint came first");
}

#[test]
fn rows_that_wait_are_sketched_while_they_do_and_found_as_by_looking_at_all() {
    for metric in Metric::ALL {
        let disk = SimDisk::new();
        let db = Database::open(disk.open().unwrap(), on_threads(1)).unwrap();
        db.create_collection("c", params(metric)).unwrap();
        let commit = |change: &dyn Fn(&mut WriteBatch)| {
            let mut batch = WriteBatch::new();
            batch.set_bulk(true);
            change(&mut batch);
            db.commit(batch).unwrap();
        };
        let sketches = || db.collection("c").unwrap().memory.sketches.heap;
        let is_as_exact = |k: usize| {
            for query in (0..20).map(|seed| of(metric, 5000 + seed)) {
                let mut options = SearchOptions::new(k);
                options.ef = gannet::Ef::Fixed(400);
                let found = db.search("c", &query, &options).unwrap().into_hits();
                options.exact = true;
                assert_eq!(found, db.search("c", &query, &options).unwrap().into_hits(), "{k}");
            }
        };
        commit(&|batch| (0..200_u64).for_each(|id| batch.insert("c", id, &of(metric, id))));
        checkpoint(&db);
        commit(&|batch| (200..1000_u64).for_each(|id| batch.insert("c", id, &of(metric, id))));
        assert_eq!(sketches(), 0, "who commits makes none");
        is_as_exact(3);
        let made = sketches();
        assert!(made > 0);
        commit(&|batch| {
            (150..600).step_by(3).for_each(|id: u64| batch.delete_row("c", id));
            (600..1000_u64).step_by(7).for_each(|id| batch.upsert("c", id, &of(metric, 9 * id)));
        });
        is_as_exact(3);
        is_as_exact(40);
        assert!(sketches() > made);
        checkpoint(&db);
        assert_eq!(sketches(), 0, "the graph holds the rows");
    }
}

/// No more rows wait than the setting says, whoever commits, with threads and without.
#[test]
fn those_who_insert_wait_for_graphs_and_bulk_batches_do_not() {
    for threads in [1, 2] {
        let disk = SimDisk::new();
        let mut config = on_threads(threads);
        config.max_pending_rows = 16;
        let db = Database::open(disk.open().unwrap(), config).unwrap();
        db.create_collection("c", params(Metric::L2)).unwrap();
        let lag = || {
            let found = db.collection("c").unwrap();
            found.rows - found.in_graph
        };
        for id in 0..200 {
            let mut batch = WriteBatch::new();
            batch.insert("c", id, &vector(id));
            db.commit(batch).unwrap();
            assert!(lag() <= 17, "{threads} threads, row {id}: {}", lag());
        }
        if threads == 1 {
            let mut batch = WriteBatch::new();
            batch.set_bulk(true);
            (1000..1400).for_each(|id| batch.insert("c", id, &vector(id)));
            db.commit(batch.clone()).unwrap();
            assert!(lag() >= 400);
        }
    }
}

/// Rows that an earlier opening left waiting are learnt for who inserts, also where nothing was
/// committed since; and where the log takes nothing any more, it says so, and nobody waits.
#[test]
fn those_who_insert_first_after_opening_do_not_wait_for_ever() {
    for is_full in [false, true] {
        let disk = SimDisk::new();
        let db = open(&disk, 1);
        db.create_collection("c", params(Metric::L2)).unwrap();
        let bulk = |ids: std::ops::Range<u64>| {
            let mut batch = WriteBatch::new();
            batch.set_bulk(true);
            ids.for_each(|id| batch.insert("c", id, &vector(id)));
            batch
        };
        db.commit(bulk(0..2500)).unwrap();
        checkpoint(&db);
        db.commit(bulk(3000..3030)).unwrap();
        drop(db);
        let mut config = on_threads(2);
        config.max_pending_rows = 16;
        let db = Database::open(disk.open().unwrap(), config).unwrap();
        let found = db.collection("c").unwrap();
        assert_eq!((found.rows, found.in_graph), (2530, 2500), "less than a batch");
        if is_full {
            disk.fail_nth(1, ErrorKind::NoSpace, true);
        }
        let mut batch = WriteBatch::new();
        batch.insert("c", 9000, &vector(9000));
        let made = db.commit(batch);
        assert_eq!(made.is_err(), is_full, "{made:?}");
    }
}

/// A reader sees one state, and none that is half of a commit, while rows come, go and are put
/// into the graph.
#[test]
fn searches_beside_commits_see_whole_batches() {
    let disk = SimDisk::new();
    let mut config = on_threads(2);
    config.durability = Durability::Buffered;
    let db = Database::open(disk.open().unwrap(), config).unwrap();
    db.create_collection("c", params(Metric::L2)).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut searches = 0;
                    while !is_done.load(Ordering::Relaxed) || searches < 20 {
                        let answer = db.search("c", &vector(3), &SearchOptions::new(4000)).unwrap();
                        let mut ids: Vec<u64> = answer
                            .iter()
                            .map(|hit| if let Id::Int(id) = hit.id { id } else { 0 })
                            .collect();
                        ids.sort_unstable();
                        // Each commit takes ten ids out and puts the next ten in.
                        let first = ids.first().copied().unwrap_or(0);
                        assert!(ids.iter().copied().eq(first..first + ids.len() as u64));
                        let is_whole = first.is_multiple_of(10) && ids.len().is_multiple_of(10);
                        assert!(is_whole, "{first} {}", ids.len());
                        searches += 1;
                    }
                    searches
                })
            })
            .collect();
        for ten in 0..150_u64 {
            let mut batch = WriteBatch::new();
            (10 * ten..10 * ten + 10).for_each(|id| batch.insert("c", id, &vector(id)));
            if ten >= 20 {
                (10 * ten - 200..10 * ten - 190).for_each(|id| batch.delete_row("c", id));
            }
            db.commit(batch).unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() >= 20));
    });
    assert_eq!(db.collection("c").unwrap().rows, 200);
}

/// What was committed while a checkpoint or an optimization runs waits for no more than it must.
#[test]
fn commits_go_on_while_a_graph_is_optimized() {
    let disk = SimDisk::new();
    let mut config = on_threads(2);
    config.max_pending_rows = 8;
    let db = Database::open(disk.open().unwrap(), config).unwrap();
    db.create_collection("c", params(Metric::L2)).unwrap();
    let mut batch = WriteBatch::new();
    batch.set_bulk(true);
    (0..2000).for_each(|id| batch.insert("c", id, &vector(id)));
    db.commit(batch).unwrap();
    let (tell, told_of) = mpsc::channel();
    let (finish, end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let optimizer = scope.spawn(|| {
            let mut told = Some((tell, end));
            db.optimize("c", &mut |progress| {
                if progress.phase == gannet::Phase::Relink
                    && let Some((tell, end)) = told.take()
                {
                    tell.send(()).unwrap();
                    end.recv_timeout(Duration::from_secs(300)).unwrap();
                }
                std::ops::ControlFlow::Continue(())
            })
        });
        told_of.recv().unwrap();
        for id in 5000..5100 {
            let mut batch = WriteBatch::new();
            batch.insert("c", id, &vector(id));
            db.commit(batch).unwrap();
        }
        assert_eq!(db.collection("c").unwrap().rows, 2100);
        finish.send(()).unwrap();
        optimizer.join().unwrap().unwrap();
    });
}
