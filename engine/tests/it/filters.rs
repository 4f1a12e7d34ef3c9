//! Filtered searches against looking at each row: every kind of filter, deleted and waiting rows.

use crate::contents::{checkpoint, compact, config, open};
use crate::disk::{Disk, on_each_disk};
use gannet::roaring::{RoaringBitmap, RoaringTreemap};
use gannet::{
    Database, Ef, Filter, Hit, Id, Metric, Params, SearchError, SearchOptions, SearchPlan,
    WriteBatch,
};
use gannet_testkit::sim::{SimDisk, SimStorage};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const DIMS: u32 = 8;

/// Splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn vector(&mut self) -> Vec<f32> {
        (0..DIMS).map(|_| f32::from(u16::try_from(self.below(1000)).unwrap())).collect()
    }
}

/// A collection `c`, and the vectors of its live ids.
struct Model {
    db: Database<SimStorage>,
    vectors: BTreeMap<Id, Vec<f32>>,
}

impl Model {
    fn new(disk: &SimDisk) -> Self {
        let db = Database::open(disk.open().unwrap(), config(1)).unwrap();
        let params = Params { m: 8, ef_construction: 40, ..Params::new(DIMS, Metric::L2) };
        db.create_collection("c", params).unwrap();
        Self { db, vectors: BTreeMap::new() }
    }

    fn upsert(&mut self, ids: impl IntoIterator<Item = Id>, random: &mut Random) {
        let mut batch = WriteBatch::new();
        for id in ids {
            let vector = random.vector();
            batch.upsert("c", id.clone(), &vector);
            self.vectors.insert(id, vector);
        }
        self.db.commit(batch).unwrap();
    }

    fn delete(&mut self, ids: impl IntoIterator<Item = Id>) {
        let mut batch = WriteBatch::new();
        for id in ids.into_iter().filter(|id| self.vectors.remove(id).is_some()) {
            batch.delete_row("c", id);
        }
        self.db.commit(batch).unwrap();
    }

    /// The distances of the nearest `k` that pass.
    fn truth(&self, query: &[f32], k: usize, passing: &BTreeSet<Id>) -> Vec<f32> {
        let of = |vector: &Vec<f32>| query.iter().zip(vector).map(|(a, b)| (a - b) * (a - b)).sum();
        let live = self.vectors.iter().filter(|(id, _)| passing.contains(*id));
        let mut distances: Vec<f32> = live.map(|(_, vector)| of(vector)).collect();
        distances.sort_by(f32::total_cmp);
        distances.truncate(k);
        distances
    }

    fn check(&self, passing: &BTreeSet<Id>, query: &[f32], k: usize) -> SearchPlan {
        self.check_by(&filters(passing), passing, query, k)
    }

    /// Searches by filters that say `passing`: all find the same, with and without a walk.
    fn check_by(
        &self,
        filters: &[Filter],
        passing: &BTreeSet<Id>,
        query: &[f32],
        k: usize,
    ) -> SearchPlan {
        let live = self.vectors.keys().filter(|id| passing.contains(*id)).count();
        let truth = self.truth(query, k, passing);
        let distances = |hits: &[Hit]| hits.iter().map(|hit| hit.distance).collect::<Vec<_>>();
        let mut options = SearchOptions::new(k);
        options.ef = Ef::Fixed(200);
        let mut answers = Vec::new();
        for filter in filters {
            options.filter = Some(filter.clone());
            options.exact = true;
            let exact = self.db.search("c", query, &options).unwrap();
            assert_eq!(distances(&exact), truth, "{options:?}");
            assert_eq!((exact.how().is_exact, exact.how().passing), (true, live as u64));
            assert_eq!((exact.how().plan, exact.how().scanned), (SearchPlan::Exact, live as u64));
            options.exact = false;
            let found = self.db.search("c", query, &options).unwrap();
            assert_eq!((found.len(), found.how().passing), (truth.len(), live as u64));
            assert!(found.iter().all(|hit| passing.contains(&hit.id)), "{options:?}");
            let last = truth.last().copied().unwrap_or_default();
            let near = found.iter().filter(|hit| hit.distance <= last).count();
            assert!(10 * near >= 9 * truth.len(), "{near} of {}, {:?}", truth.len(), found.how());
            let batch = self.db.search_batch("c", &[query, query], &options).unwrap();
            assert_eq!(batch, [found.clone(), found.clone()]);
            answers.push(found);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "filters disagree");
        answers[0].how().plan
    }
}

/// Every kind of filter that these ids can be said by.
fn filters(ids: &BTreeSet<Id>) -> Vec<Filter> {
    let integers: Option<Vec<u64>> = ids.iter().map(integer).collect();
    let set = ids.clone();
    let mut filters =
        vec![Filter::ids(ids.iter().cloned()), Filter::predicate(move |id| set.contains(id))];
    if let Some(integers) = integers {
        let small: Option<RoaringBitmap> =
            integers.iter().map(|id| u32::try_from(*id).ok()).collect();
        filters.extend(small.map(Filter::bitmap));
        filters.push(Filter::treemap(integers.into_iter().collect::<RoaringTreemap>()));
    }
    filters
}

fn integer(id: &Id) -> Option<u64> {
    if let Id::Int(id) = id { Some(*id) } else { None }
}

/// Ids of one kind for row numbers: their own, others, or bytes.
fn id_of(kind: u64, number: u64) -> Id {
    match kind {
        0 => Id::Int(number),
        1 => Id::Int(number * 3 + 100_000),
        2 => Id::Int(number << 30),
        _ => Id::from(format!("row {number}").as_str()),
    }
}

#[test]
fn every_filter_finds_what_looking_at_each_row_finds() {
    let mut plans = BTreeMap::new();
    for kind in 0..4 {
        let mut random = Random(kind);
        let mut model = Model::new(&SimDisk::new());
        model.upsert((0..2500).map(|number| id_of(kind, number)), &mut random);
        checkpoint(&model.db);
        for state in 0..3 {
            if state > 0 {
                // Some go, some move to later rows, some are new, and all of these wait.
                let some: Vec<u64> = (0..300).map(|_| random.below(2500)).collect();
                model.delete(some.iter().map(|number| id_of(kind, *number)));
                let moved = some.iter().step_by(3).map(|number| id_of(kind, *number));
                model.upsert(moved.collect::<BTreeSet<_>>(), &mut random);
                let first = 2500 + 40 * state;
                model.upsert((first..first + 40).map(|number| id_of(kind, number)), &mut random);
            }
            for per_mille in [0, 1, 10, 100, 300, 500, 900, 1000] {
                // Some of these are not there.
                let passing: BTreeSet<Id> = (0..3000)
                    .filter(|_| random.below(1000) < per_mille)
                    .map(|number| id_of(kind, number))
                    .collect();
                let query = random.vector();
                for k in [1, 10, 4000] {
                    let plan = model.check(&passing, &query, k);
                    *plans.entry(format!("{plan:?}")).or_insert(0) += 1;
                }
            }
            let one = model.vectors.keys().nth(7).cloned().unwrap();
            let plan = model.check(&BTreeSet::from([one]), &random.vector(), 3);
            assert_eq!(plan, SearchPlan::Exact, "one row");
        }
    }
    assert!(plans.contains_key("Exact") && plans.contains_key("Codes"), "{plans:?}");
}

/// One that is kept stands for other rows when rows come, go, move or are called otherwise, in
/// another collection, and in another database.
#[test]
fn a_filter_that_is_kept_says_what_is_there_now() {
    let mut random = Random(5);
    let disk = SimDisk::new();
    let mut models = [Model::new(&disk), Model::new(&SimDisk::new())];
    let passing: BTreeSet<Id> =
        (0..1200).filter(|_| random.below(3) > 0).map(|id| id_of(0, id)).collect();
    let kept = filters(&passing);
    for step in 0..12 {
        for model in &mut models {
            let some: Vec<u64> = (0..60).map(|_| random.below(100 * (step + 1))).collect();
            match step % 4 {
                0 | 1 => model.upsert((100 * step..100 * step + 100).map(Id::Int), &mut random),
                2 => model.delete(some.into_iter().map(Id::Int)),
                _ => {
                    let moved: BTreeSet<Id> = some.into_iter().map(Id::Int).collect();
                    model.upsert(moved, &mut random);
                }
            }
            model.check_by(&kept, &passing, &random.vector(), 10);
            if step % 4 == 3 {
                compact(&model.db).unwrap();
                assert_eq!(model.db.collection("c").unwrap().dead, 0);
            }
        }
        for model in &models {
            model.check_by(&kept, &passing, &random.vector(), 10);
        }
    }
    let [Model { db, vectors }, _] = models;
    drop(db);
    let model = Model { db: open(&disk, 2), vectors };
    model.check_by(&kept, &passing, &random.vector(), 10);
}

#[test]
fn narrow_beams_walk_the_graph_and_tell_so() {
    let mut random = Random(9);
    let mut model = Model::new(&SimDisk::new());
    model.upsert((0..6000).map(Id::Int), &mut random);
    checkpoint(&model.db);
    let mut plans = BTreeSet::new();
    for per_mille in [150, 250, 500, 950] {
        let ids: RoaringBitmap = (0..6000).filter(|_| random.below(1000) < per_mille).collect();
        let mut options = SearchOptions::new(2);
        options.ef = Ef::Fixed(4);
        options.filter = Some(Filter::bitmap(ids.clone()));
        let found = model.db.search("c", &random.vector(), &options).unwrap();
        let how = found.how();
        assert_eq!((found.len(), how.passing, how.scanned), (2, ids.len(), 0), "{how:?}");
        assert!(!how.is_exact && how.visited > 0 && how.ef >= 4, "{how:?}");
        assert!(found.iter().all(|hit| matches!(hit.id, Id::Int(id) if ids.contains(
            u32::try_from(id).unwrap()))));
        plans.insert(format!("{:?}", how.plan));
    }
    assert_eq!(plans, ["Expand", "Walk"].map(str::to_owned).into());
}

#[test]
fn a_recall_that_is_asked_for_holds_with_a_filter() {
    let mut random = Random(3);
    let mut model = Model::new(&SimDisk::new());
    model.upsert((0..4000).map(Id::Int), &mut random);
    checkpoint(&model.db);
    let mut options = SearchOptions::new(10);
    options.ef = Ef::Auto(0.95);
    for per_mille in [20, 200, 500, 900] {
        let passing: BTreeSet<Id> =
            (0..4000).filter(|_| random.below(1000) < per_mille).map(Id::Int).collect();
        options.filter = Some(Filter::ids(passing.iter().cloned()));
        let mut near = 0;
        for _ in 0..40 {
            let query = random.vector();
            let last = model.truth(&query, 10, &passing)[9];
            let found = model.db.search("c", &query, &options).unwrap();
            near += found.iter().filter(|hit| hit.distance <= last).count();
        }
        assert!(near >= 370, "{per_mille}: {near} of 400");
    }
}

#[test]
fn a_predicate_is_asked_once_a_live_row_for_all_queries() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        db.create_collection("c", Params::new(2, Metric::L2)).unwrap();
        let mut batch = WriteBatch::new();
        (0..50_u8).for_each(|id| batch.insert("c", u64::from(id), &[f32::from(id), 0.0]));
        batch.delete_row("c", 9);
        db.commit(batch).unwrap();
        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        let mut options = SearchOptions::new(3);
        options.filter = Some(Filter::predicate(move |id| {
            counter.fetch_add(1, Ordering::Relaxed);
            *id > Id::Int(5)
        }));
        let query = [7.0, 0.0];
        for answer in db.search_batch("c", &[&query[..]; 40], &options).unwrap() {
            let ids: Vec<Id> = answer.into_iter().map(|hit| hit.id).collect();
            assert_eq!(ids, [7, 6, 8].map(Id::Int));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 49);
        options.k = 0;
        assert!(matches!(db.search("c", &query, &options), Err(SearchError::ZeroK)));
    }
    on_each_disk!(on);
}
