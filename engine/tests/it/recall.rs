//! Recall that is measured: beams for a target, and graphs that are made better.

use crate::contents::{checkpoint, open};
use crate::disk::{Disk, on_each_disk};
use gannet::{
    CheckpointError, Code, CodeChoice, Ef, Metric, Params, Phase, SearchOptions, WriteBatch,
};
use std::ops::ControlFlow;

/// A recall target is met by a beam that was measured, before and after the database is opened
/// again, and by looking at every row where none was.
#[test]
fn a_recall_target_is_met_by_the_beam_that_was_measured_or_by_looking_at_every_row() {
    fn on(disk: &impl Disk) {
        let mut db = open(disk, 1);
        // In a graph this thin the first beams find little.
        let params = Params { m: 3, ef_construction: 12, ..Params::new(12, Metric::L2) };
        db.create_collection("c", params).unwrap();
        let insert = |db: &gannet::Database<_>, ids: std::ops::Range<u64>| {
            let mut batch = WriteBatch::new();
            ids.for_each(|id| batch.insert("c", id, &wide(id)));
            db.commit(batch).unwrap();
        };
        let queries: Vec<Vec<f32>> = (0..200).map(|id| wide(1_000_000 + id)).collect();
        let queries: Vec<&[f32]> = queries.iter().map(|query| &query[..]).collect();
        let options = |ef: Ef, exact: bool| {
            let mut options = SearchOptions::new(10);
            (options.ef, options.exact) = (ef, exact);
            options
        };
        insert(&db, 0..2000);
        checkpoint(&db);
        let few = db.search("c", queries[0], &options(Ef::Auto(0.5), false)).unwrap();
        assert!(few.how().is_exact && few.how().ef == 0, "a small graph is not measured");
        insert(&db, 2000..3000);
        checkpoint(&db);
        for round in 0..2 {
            let truth = db.search_batch("c", &queries, &options(Ef::Fixed(1), true)).unwrap();
            let mut previous = 0;
            for target in [0.5, 0.9, 0.95] {
                let options = options(Ef::Auto(target), false);
                let found = db.search_batch("c", &queries, &options).unwrap();
                let near = found.iter().zip(&truth).map(|(found, truth)| {
                    found.iter().filter(|hit| hit.distance <= truth[9].distance).count()
                });
                let near = near.sum::<usize>();
                let least = (f64::from(target) - 0.01) * 2000.0;
                assert!(f64::from(u32::try_from(near).unwrap()) >= least, "{target}: {near}");
                let how = found[0].how();
                assert!(!how.is_exact && how.ef > previous, "{target}: {how:?} after {previous}");
                assert!(found.iter().all(|answer| answer.how().ef == how.ef));
                assert_eq!(db.search("c", queries[0], &options).unwrap(), found[0]);
                previous = how.ef;
            }
            let all = db.search("c", queries[0], &options(Ef::Auto(0.999_999), false)).unwrap();
            assert_eq!((all.clone().into_hits(), all.how()), {
                let truth = truth[0].clone();
                let how = truth.how();
                (truth.into_hits(), how)
            });
            if round == 0 {
                drop(db);
                db = open(disk, 2);
                // Rows that the graph does not hold yet are looked at beside the beam.
                insert(&db, 3000..3100);
                assert_eq!(
                    db.search("c", queries[0], &options(Ef::Auto(0.9), false))
                        .unwrap()
                        .how()
                        .scanned,
                    100
                );
            }
        }
    }
    on_each_disk!(on);
}

/// Components without any pattern, from a seed.
fn wide(seed: u64) -> Vec<f32> {
    let mut state = seed;
    let component = |_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f32::from(i16::from_le_bytes([z.to_le_bytes()[5], z.to_le_bytes()[6]]))
    };
    (0..12).map(component).collect()
}

#[test]
fn measuring_a_graph_can_be_cancelled_and_is_made_up_for() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        db.create_collection(
            "c",
            Params { m: 4, ef_construction: 10, ..Params::new(12, Metric::L2) },
        )
        .unwrap();
        let mut batch = WriteBatch::new();
        (0..2100).for_each(|id: u64| batch.insert("c", id, &wide(id)));
        db.commit(batch).unwrap();
        let cancelled = db.checkpoint(&mut |progress| {
            let is_measured = progress.phase == Phase::Calibrate;
            if is_measured { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(cancelled, Err(CheckpointError::Cancelled)), "{cancelled:?}");
        let mut options = SearchOptions::new(10);
        options.ef = Ef::Auto(0.8);
        let how = || db.search("c", &wide(7), &options).unwrap().how();
        assert!(how().is_exact);
        checkpoint(&db);
        assert!(!how().is_exact && how().ef > 0);
        assert_eq!(checkpoint(&db).files_written, 0, "nothing has changed since");
    }
    on_each_disk!(on);
}

#[test]
fn an_optimized_graph_finds_more_and_stays_while_commits_and_searches_go_on() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        let params = Params { m: 3, ef_construction: 12, ..Params::new(12, Metric::L2) };
        db.create_collection("c", params).unwrap();
        let insert = |ids: std::ops::Range<u64>| {
            let mut batch = WriteBatch::new();
            ids.for_each(|id| batch.insert("c", id, &wide(id)));
            db.commit(batch).unwrap();
        };
        insert(0..2300);
        let ask = |db: &gannet::Database<_>, exact: bool| {
            let mut options = SearchOptions::new(10);
            (options.ef, options.exact) = (Ef::Fixed(10), exact);
            let queries: Vec<Vec<f32>> = (0..150).map(|id| wide(1_000_000 + id)).collect();
            let queries: Vec<&[f32]> = queries.iter().map(|query| &query[..]).collect();
            db.search_batch("c", &queries, &options).unwrap()
        };
        let unknown = db.optimize("none", &mut |_| ControlFlow::Continue(()));
        assert!(matches!(unknown, Err(CheckpointError::UnknownCollection { .. })), "{unknown:?}");
        checkpoint(&db);
        let before = ask(&db, false);

        for phase in [Phase::Relink, Phase::Calibrate] {
            let cancelled = db.optimize("c", &mut |progress| {
                let is_it = progress.phase == phase;
                if is_it { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert!(matches!(cancelled, Err(CheckpointError::Cancelled)), "{cancelled:?}");
            assert_eq!(ask(&db, false), before, "{phase:?}");
        }
        assert_eq!(checkpoint(&db).files_written, 0, "all is as before");

        let mut next = 2300;
        let report = db.optimize("c", &mut |progress| {
            if progress.phase == Phase::Relink {
                assert_eq!(progress.total, 2300);
                let found = ask(&db, false);
                if next == 2300 {
                    assert_eq!(found, before);
                }
                insert(next..next + 1);
                let hits = db.search("c", &wide(next), &SearchOptions::new(1)).unwrap();
                assert_eq!(hits[0].id, gannet::Id::Int(next));
                next += 1;
            }
            ControlFlow::Continue(())
        });
        let report = report.unwrap();
        assert!(next > 2301 && report.rows == 2300 && report.is_replaced, "{report:?}");
        assert!(report.checkpoint.files_written > 1, "{report:?}");
        assert!(report.recall_after > report.recall_before, "{report:?}");
        let stats = db.collection("c").unwrap();
        assert_eq!((stats.rows, stats.in_graph), (next, 2300), "those that came wait");
        let truth = ask(&db, true);
        let near = |found: &[gannet::Answer]| {
            let pairs = found.iter().zip(&truth);
            let near = pairs.map(|(found, truth)| {
                found.iter().filter(|hit| hit.distance <= truth[9].distance).count()
            });
            near.sum::<usize>()
        };
        let after = ask(&db, false);
        assert!(near(&after) > near(&before), "{} after {}", near(&after), near(&before));
        drop(db);
        let db = open(disk, 2);
        assert_eq!(ask(&db, false), after, "it was published");
        let again = db.optimize("c", &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(again.rows, next);
    }
    on_each_disk!(on);
}

#[test]
fn memory_is_told_line_by_line() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        db.create_collection("c", Params::new(12, Metric::Cosine)).unwrap();
        let mut batch = WriteBatch::new();
        (0..1000).for_each(|id: u64| batch.insert("c", id, &wide(id)));
        db.commit(batch).unwrap();
        checkpoint(&db);
        db.search("c", &wide(1), &SearchOptions::new(3)).unwrap();
        let memory = db.collection("c").unwrap().memory;
        assert!(memory.vectors.heap >= 64 * 1000 && memory.codes.heap > 12 * 1000, "{memory:?}");
        assert!(memory.norms.heap >= 4000 && memory.links.heap >= 128 * 1000, "{memory:?}");
        assert_eq!((memory.ids.heap, memory.id_index.heap), (0, 0), "ids are row numbers");
        assert_eq!(memory.lines().iter().map(|(_, line)| line.total()).sum::<u64>(), {
            memory.total().total()
        });
        assert!(db.stats().unwrap().search_bytes >= 1000);
        let mut batch = WriteBatch::new();
        batch.insert("c", "a-name", &wide(7));
        batch.delete_row("c", 3);
        batch.upsert("c", 5, &wide(8));
        db.commit(batch).unwrap();
        let memory = db.collection("c").unwrap().memory;
        assert!(memory.ids.heap > 0 && memory.id_index.heap > 0 && memory.row_sets.heap > 0);
        assert_eq!(db.stats().unwrap().collections[0].memory, memory);
    }
    on_each_disk!(on);
}

/// A code is chosen as the graph grows, without a word from anybody, and is the same after a
/// checkpoint, after a replay that links every row again, and when the graph is made better.
#[test]
fn a_code_that_is_left_open_is_chosen_once_there_are_rows_to_choose_by() {
    fn on(disk: &impl Disk) {
        let rows = u64::from(gannet::CHOICE_ROWS_MIN) + 400;
        let params = Params { m: 4, ef_construction: 16, ..Params::new(40, Metric::L2) };
        let of = |db: &gannet::Database<_>| db.collection("c").unwrap();
        let insert = |db: &gannet::Database<_>, ids: std::ops::Range<u64>| {
            let mut batch = WriteBatch::new();
            ids.for_each(|id| batch.insert("c", id, &of_three(id)));
            db.commit(batch).unwrap();
        };
        let db = open(disk, 1);
        assert_eq!(params.code, CodeChoice::Auto);
        db.create_collection("c", params).unwrap();
        insert(&db, 0..500);
        checkpoint(&db);
        assert_eq!(of(&db).code, Code::Sq8);
        insert(&db, 500..rows);
        checkpoint(&db);
        let chosen = of(&db);
        assert_eq!((chosen.code, chosen.in_graph), (Code::Sq4, rows));
        assert!(chosen.memory.build_codes.heap > chosen.memory.codes.heap);
        let search = |db: &gannet::Database<_>| {
            let mut options = SearchOptions::new(10);
            options.ef = Ef::Auto(0.99);
            let answer = db.search("c", &of_three(1 << 40), &options).unwrap();
            assert!(!answer.how().is_exact, "measured again with the code that was chosen");
            answer
        };
        let found = search(&db);
        drop(db);

        let db = open(disk, 2);
        assert_eq!(of(&db).code, Code::Sq4);
        assert_eq!(of(&db).memory.build_codes.total(), 0);
        assert_eq!(search(&db), found);
        insert(&db, rows..rows + 10);
        let report = db.optimize("c", &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!((report.rows, of(&db).code), (rows + 10, Code::Sq4));
        drop(db);
        assert_eq!(of(&open(disk, 3)).code, Code::Sq4);
    }
    on_each_disk!(on);
}

/// Forty components that three numbers make up, from a seed.
fn of_three(seed: u64) -> Vec<f32> {
    let wide = wide(seed);
    let component = |at: u8| {
        let turn = f32::from(at) * 0.7;
        wide[0] * turn.sin() + wide[1] * turn.cos() + wide[2] * (2.0 * turn).sin()
    };
    (0..40).map(component).collect()
}

/// A probe tells about what searches find, and of what it cannot ask nothing.
#[test]
fn a_probe_tells_what_searches_find() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        let sparse = Params { m: 2, ef_construction: 4, ..Params::new(12, Metric::L2) };
        let dense = Params { m: 16, ef_construction: 100, ..Params::new(12, Metric::L2) };
        for (name, params) in [("sparse", sparse), ("dense", dense)] {
            db.create_collection(name, params).unwrap();
            let mut batch = WriteBatch::new();
            batch.set_bulk(true);
            (0..10).for_each(|id| batch.insert(name, id, &wide(id)));
            db.commit(batch).unwrap();
            checkpoint(&db);
            assert_eq!(db.probe(name, 50).unwrap(), None, "ten rows are all looked at");
            let mut batch = WriteBatch::new();
            batch.set_bulk(true);
            (10..2500).for_each(|id| batch.insert(name, id, &wide(id)));
            db.commit(batch).unwrap();
            checkpoint(&db);
        }
        let of = |name| db.probe(name, 150).unwrap().unwrap();
        let (sparse, dense) = (of("sparse"), of("dense"));
        for found in [sparse, dense] {
            assert_eq!(found.queries, 150);
            assert!(0.0 <= found.low && found.low <= found.recall, "{found:?}");
            assert!(found.recall <= found.high && found.high <= 1.0, "{found:?}");
        }
        assert!(sparse.high < dense.low, "{sparse:?} {dense:?}");
        assert!(dense.recall > 0.97, "{dense:?}");
        assert_eq!(db.collection("dense").unwrap().recall, None, "nobody asked for probes");
        assert!(matches!(db.probe("other", 1), Err(gannet::ReadError::UnknownCollection { .. })));
    }
    on_each_disk!(on);
}

/// Probes are made by themselves, and a graph that finds too little is optimized by itself.
#[test]
fn probes_in_the_background_have_a_poor_graph_optimized() {
    let disk = gannet_testkit::sim::SimDisk::new();
    let mut config = crate::contents::config(1);
    (config.threads, config.probes_per_minute, config.recall_target) = (2, 6000, Some(0.999));
    let db = gannet::Database::open(disk.open().unwrap(), config).unwrap();
    let sparse = Params { m: 2, ef_construction: 4, ..Params::new(12, Metric::L2) };
    db.create_collection("c", sparse).unwrap();
    let mut batch = WriteBatch::new();
    batch.set_bulk(true);
    (0..2500).for_each(|id| batch.insert("c", id, &wide(id)));
    db.commit(batch).unwrap();
    // As long as it takes: nobody asks for a checkpoint, and optimizing ends with one.
    while db.collection("c").unwrap().recall.is_none() {
        std::thread::yield_now();
    }
    while db.stats().unwrap().checkpoint_lsn == 0 {
        std::thread::yield_now();
    }
    db.close().unwrap();
}

/// What probes found of a graph is not told of the one that takes its place.
#[test]
fn probes_of_a_graph_end_with_it() {
    let disk = gannet_testkit::sim::SimDisk::new();
    let db = open(&disk, 1);
    let sparse = Params { m: 2, ef_construction: 4, ..Params::new(12, Metric::L2) };
    db.create_collection("c", sparse).unwrap();
    let mut batch = WriteBatch::new();
    batch.set_bulk(true);
    (0..2500).for_each(|id| batch.insert("c", id, &wide(id)));
    db.commit(batch).unwrap();
    checkpoint(&db);
    drop(db);
    let mut config = crate::contents::config(1);
    // One now, and none for a minute.
    (config.threads, config.probes_per_minute) = (2, 1);
    let db = gannet::Database::open(disk.open().unwrap(), config).unwrap();
    let recall = || db.collection("c").unwrap().recall;
    while recall().is_none() {
        std::thread::yield_now();
    }
    assert!(db.optimize("c", &mut |_| ControlFlow::Continue(())).unwrap().is_replaced);
    assert_eq!(recall(), None);
    db.close().unwrap();
}
