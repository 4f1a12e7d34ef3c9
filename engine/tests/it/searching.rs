//! Order, completeness and edges of searches.

use crate::contents::{checkpoint, open, params, vector};
use crate::disk::{Disk, on_each_disk};
use gannet::{Ef, Id, Metric, Params, SearchError, SearchOptions, WriteBatch};

#[test]
fn each_metric_has_its_own_order_and_smaller_is_nearer() {
    fn on(new: &impl Disk) {
        // Seen from (1, 0): `near` is nearest, `same-way` points the same way, `long` has the
        // largest product, `away` is last in all.
        let rows: [(&str, [f32; 2]); 4] = [
            ("near", [1.0, 0.25]),
            ("same-way", [3.0, 0.0]),
            ("long", [8.0, 6.0]),
            ("away", [-2.0, 0.5]),
        ];
        let expected: [(Metric, [&str; 4], f32); 3] = [
            (Metric::L2, ["near", "same-way", "away", "long"], 0.0625),
            (Metric::Cosine, ["same-way", "near", "long", "away"], 0.0),
            (Metric::Dot, ["long", "same-way", "near", "away"], -8.0),
        ];
        for (metric, order, nearest) in expected {
            let disk = new.fresh();
            let db = open(&disk, 1);
            db.create_collection("c", Params::new(2, metric)).unwrap();
            let mut batch = WriteBatch::new();
            for (id, v) in &rows {
                batch.insert("c", *id, v);
            }
            db.commit(batch).unwrap();
            for indexed in [false, true] {
                for exact in [false, true] {
                    let mut options = SearchOptions::new(4);
                    options.exact = exact;
                    let hits = db.search("c", &[1.0, 0.0], &options).unwrap();
                    let ids: Vec<_> = hits.iter().map(|hit| hit.id.to_string()).collect();
                    assert_eq!(ids, order, "{metric} indexed {indexed} exact {exact}");
                    assert!((hits[0].distance - nearest).abs() < 1e-6, "{metric} {hits:?}");
                }
                checkpoint(&db);
            }
        }
    }
    on_each_disk!(on);
}

#[test]
fn a_row_is_found_as_soon_as_it_is_acknowledged_and_gone_as_soon_as_it_is_deleted() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        db.create_collection("c", params(Metric::L2)).unwrap();
        let first = |id: u64| db.search("c", &vector(id), &SearchOptions::new(1)).unwrap();
        for id in 0..60 {
            let mut batch = WriteBatch::new();
            batch.insert("c", id, &vector(id));
            db.commit(batch).unwrap();
            assert_eq!(first(id)[0].id, Id::Int(id));
            if id % 20 == 10 {
                checkpoint(&db);
            }
        }
        for id in 0..60 {
            let mut batch = WriteBatch::new();
            batch.delete_row("c", id);
            db.commit(batch).unwrap();
            assert!(first(id).iter().all(|hit| hit.id != Id::Int(id)));
            let all = db.search("c", &vector(0), &SearchOptions::new(100)).unwrap();
            assert_eq!(all.len() as u64, 59 - id, "k above the number of rows gives all");
        }
        assert_eq!(db.collection("c").map(|c| (c.rows, c.dead)), Some((0, 60)));
    }
    on_each_disk!(on);
}

#[test]
fn an_upsert_replaces_and_a_batch_sees_itself() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        let mut batch = WriteBatch::new();
        batch.create_collection("c", params(Metric::Cosine));
        batch.insert("c", 1, &vector(1));
        batch.upsert("c", 1, &vector(2));
        batch.insert("c", 2, &vector(3));
        batch.delete_row("c", 2);
        batch.insert("c", 2, &vector(4));
        batch.put("new", b"k", b"1");
        batch.put("new", b"k", b"2");
        batch.delete("new", b"gone");
        let commit = db.commit(batch).unwrap();
        assert_eq!((commit.first_lsn, commit.last_lsn), (1, 10));
        assert_eq!(db.collection("c").map(|c| (c.rows, c.dead)), Some((2, 2)));
        for (id, expected) in [(1, vector(2)), (2, vector(4))] {
            let found = db.get_vector("c", &Id::Int(id)).unwrap().unwrap();
            let near = found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= b.abs() * 3e-7);
            assert!(near, "{found:?} {expected:?}");
        }
        assert_eq!(db.get("new", b"k").unwrap().as_deref(), Some(&b"2"[..]));
        let mut nothing = WriteBatch::new();
        nothing.delete_row("c", 77);
        nothing.create_collection("c", params(Metric::Cosine));
        let commit = db.commit(nothing).unwrap();
        assert_eq!((commit.first_lsn, commit.last_lsn), (11, 10), "a batch that changes nothing");
    }
    on_each_disk!(on);
}

#[test]
fn queries_are_checked() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        db.create_collection("l2", params(Metric::L2)).unwrap();
        db.create_collection("cos", params(Metric::Cosine)).unwrap();
        let search = |name: &str, query: &[f32], k, ef| {
            let mut options = SearchOptions::new(k);
            options.ef = Ef::Fixed(ef);
            db.search(name, query, &options)
        };
        let good = vector(1);
        assert!(matches!(search("l2", &good, 0, 1), Err(SearchError::ZeroK)));
        assert!(matches!(search("l2", &good, 1, 0), Err(SearchError::ZeroEf)));
        assert!(matches!(search("none", &good, 1, 1), Err(SearchError::UnknownCollection { .. })));
        assert!(matches!(
            search("l2", &good[1..], 1, 1),
            Err(SearchError::Dimension { found: 4, .. })
        ));
        for target in [0.0, 1.0, -0.5, 1.5, f32::NAN, f32::INFINITY] {
            let mut options = SearchOptions::new(1);
            options.ef = Ef::Auto(target);
            let error = db.search("l2", &good, &options).unwrap_err();
            let SearchError::RecallTarget { found } = error else { panic!("{error:?}") };
            assert_eq!(found.to_bits(), target.to_bits());
        }
        for bad in [f32::NAN, f32::INFINITY] {
            let query = [0.0, 0.0, bad, 0.0, 0.0];
            for name in ["l2", "cos"] {
                let result = search(name, &query, 1, 1);
                assert!(
                    matches!(result, Err(SearchError::NotFinite { component: 2 })),
                    "{result:?}"
                );
            }
        }
        assert!(matches!(search("cos", &[0.0; 5], 1, 1), Err(SearchError::ZeroVector)));
        assert!(search("l2", &[0.0; 5], 1, 1).unwrap().is_empty(), "an empty collection");
    }
    on_each_disk!(on);
}

#[test]
fn a_batch_of_queries_is_answered_like_each_of_them() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 2);
        db.create_collection("c", params(Metric::L2)).unwrap();
        for ids in [0..700, 700..800] {
            let mut batch = WriteBatch::new();
            ids.for_each(|id| batch.insert("c", id, &vector(id)));
            db.commit(batch).unwrap();
            if db.stats().unwrap().collections[0].rows == 700 {
                checkpoint(&db);
            }
        }
        let mut batch = WriteBatch::new();
        (0..800).step_by(7).for_each(|id: u64| batch.delete_row("c", id));
        db.commit(batch).unwrap();
        let queries: Vec<Vec<f32>> = (0..40).map(|id| vector(id * 19)).collect();
        let queries: Vec<&[f32]> = queries.iter().map(|query| &query[..]).collect();
        for exact in [false, true] {
            let mut options = SearchOptions::new(5);
            options.exact = exact;
            let each: Vec<_> =
                queries.iter().map(|query| db.search("c", query, &options).unwrap()).collect();
            assert_eq!(db.search_batch("c", &queries, &options).unwrap(), each, "exact {exact}");
            assert!(db.search_batch("c", &[], &options).unwrap().is_empty());
            let faulty = [queries[0], &[1.0]];
            let error = db.search_batch("c", &faulty, &options).unwrap_err();
            assert!(matches!(error, SearchError::Dimension { .. }), "{error}");
        }
    }
    on_each_disk!(on);
}

#[test]
fn an_answer_says_how_it_came_about() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        db.create_collection("c", params(Metric::L2)).unwrap();
        let insert = |ids: std::ops::Range<u64>| {
            let mut batch = WriteBatch::new();
            ids.for_each(|id| batch.insert("c", id, &vector(id)));
            db.commit(batch).unwrap();
        };
        let how = |exact: bool| {
            let mut options = SearchOptions::new(5);
            options.exact = exact;
            db.search("c", &vector(3), &options).unwrap().how()
        };
        insert(0..500);
        let all = how(true);
        assert!(all.is_exact);
        assert_eq!((all.scanned, all.visited, all.distances), (500, 0, 0));
        // Nothing is in the graph yet: everything was looked at, one by one.
        assert_eq!(how(false).scanned, 500);
        checkpoint(&db);
        let walked = how(false);
        assert!(!walked.is_exact && walked.visited > 0 && walked.distances >= walked.visited);
        assert_eq!((walked.scanned, walked.ranked, walked.ef), (0, 13, 64));
        insert(500..520);
        assert_eq!(how(false).scanned, 20);
        let mut batch = WriteBatch::new();
        (3..520).for_each(|id: u64| batch.delete_row("c", id));
        db.commit(batch).unwrap();
        let few = how(false);
        assert!(few.is_exact, "three rows are looked at");
        assert_eq!(few.scanned, 3);
    }
    on_each_disk!(on);
}
