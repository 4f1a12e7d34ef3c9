//! Rows that leave: nobody links to them, what stays is found, and their numbers are used again.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use gannet_hnsw::{
    Allowed, BATCH_ROWS_MAX, BuildScratch, Code, CodeChoice, Executor, Graph, Isa, Metric, Params,
    RowSet, batch_changes,
};

use crate::data::{Random, Vectors, image, pairs, params, rows_of};

/// A graph that rows join and leave.
pub(crate) struct Live<'a> {
    pub(crate) vectors: &'a Vectors,
    pub(crate) graph: Graph,
    pub(crate) exec: Executor,
    scratch: BuildScratch,
}

impl<'a> Live<'a> {
    pub(crate) fn new(vectors: &'a Vectors, params: Params, exec: Executor) -> Self {
        Self { vectors, graph: Graph::new(params), exec, scratch: BuildScratch::new() }
    }

    /// The rows of `graph`, and those to come.
    pub(crate) fn of(vectors: &'a Vectors, graph: Graph) -> Self {
        Self { vectors, graph, exec: Executor::Serial, scratch: BuildScratch::new() }
    }

    pub(crate) fn join(&mut self, joins: &[u32]) {
        let Self { vectors, graph, exec, scratch } = self;
        vectors.with_rows(|rows| graph.insert_batch(rows, joins, exec, scratch));
    }

    pub(crate) fn leave(&mut self, leaves: &[u32]) {
        let Self { vectors, graph, exec, scratch } = self;
        vectors.with_rows(|rows| graph.remove_batch(rows, leaves, exec, scratch));
    }

    /// In batches of the size that there should be, in this order.
    pub(crate) fn join_all(&mut self, mut joins: &[u32]) {
        while !joins.is_empty() {
            let batch;
            (batch, joins) = split(joins, self.graph.count());
            self.join(&batch);
        }
    }

    fn leave_all(&mut self, mut leaves: &[u32]) {
        while !leaves.is_empty() {
            let batch;
            (batch, leaves) = split(leaves, self.graph.count());
            self.leave(&batch);
        }
    }
}

/// The rows of the next batch, in order, and the others.
fn split(rows: &[u32], count: u32) -> (Vec<u32>, &[u32]) {
    let (batch, rest) = rows.split_at(rows.len().min(batch_changes(count) as usize));
    let mut batch = batch.to_vec();
    batch.sort_unstable();
    (batch, rest)
}

pub(crate) fn shuffled(random: &mut Random, mut rows: Vec<u32>) -> Vec<u32> {
    for at in (1..rows.len()).rev() {
        rows.swap(at, random.below(u32::try_from(at + 1).unwrap()) as usize);
    }
    rows
}

/// Some of `rows`, at most so many, in order.
pub(crate) fn some_of(
    random: &mut Random,
    rows: impl Iterator<Item = u32>,
    most: usize,
) -> Vec<u32> {
    let mut some = shuffled(random, rows.collect());
    some.truncate(most);
    some.sort_unstable();
    some
}

/// Has rows join and leave at random, in batches of any size, and checks what there is.
fn check_random_steps(metric: Metric, code: Code, seed: u64) {
    let vectors = Vectors::clustered(seed, 500, 12, 9).fit(metric).coded(code);
    let params = Params { m: 5, ef_construction: 40, ..vectors.params(metric) };
    let mut random = Random(seed);
    let mut live = Live::new(&vectors, params.clone(), Executor::Serial);
    let mut others: Vec<Live<'_>> = [2, 3]
        .map(|threads| Executor::threads(threads).unwrap())
        .map(|exec| Live::new(&vectors, params.clone(), exec))
        .into();
    for isa in Isa::available() {
        let mut other = Live::new(&vectors, params.clone(), Executor::Serial);
        other.graph = other.graph.with_isa(isa);
        others.push(other);
    }
    let mut truth = BTreeSet::new();
    for step in 0..40 {
        // First it grows, then it is as large as it was, then it shrinks.
        let is_leaving = random.below(40) < step && !truth.is_empty();
        let most = [1, 3, 30, 90][random.below(4) as usize];
        let what = format!("{metric}, {code}, step {step}, leaving {is_leaving}");
        if is_leaving {
            let leaves = some_of(&mut random, truth.iter().copied(), most);
            truth.retain(|row| leaves.binary_search(row).is_err());
            live.leave(&leaves);
            for other in &mut others {
                other.leave(&leaves);
            }
        } else {
            let joins = some_of(&mut random, (0..500).filter(|row| !truth.contains(row)), most);
            truth.extend(&joins);
            live.join(&joins);
            for other in &mut others {
                other.join(&joins);
            }
        }
        let graph = &live.graph;
        assert!(graph.members().iter().eq(truth.iter().copied()), "{what}");
        assert!((0..500).all(|row| graph.contains(row) == truth.contains(&row)), "{what}");
        assert_eq!(graph.len(), truth.last().map_or(0, |last| last + 1), "{what}");
        let shape = (graph.count() as usize, graph.is_empty());
        assert_eq!(shape, (truth.len(), truth.is_empty()), "{what}");
        if matches!(metric, Metric::L2 | Metric::Cosine) {
            assert_eq!(graph.unreachable_count(), 0, "{what}");
        }
        // Sets of numbers, those of no row among them.
        let thirds: RowSet = (0..600).filter(|row| row % 3 == 0).collect();
        let few: RowSet = (0..12).collect();
        for allowed in [
            Allowed::All,
            Allowed::Only(&thirds),
            Allowed::AllBut(&thirds),
            Allowed::Only(&few),
            Allowed::AllBut(&few),
        ] {
            let query = vectors.row(random.below(500));
            let found = rows_of(&vectors.search_by(graph, query, 10, 20, allowed).1);
            let passes = |row: &&u32| truth.contains(*row) && allowed.contains(**row);
            assert_eq!(found.iter().filter(passes).count(), found.len(), "{what}: {allowed:?}");
            let passing = truth.iter().filter(|row| allowed.contains(**row)).count();
            assert_eq!(found.len(), passing.min(10), "{what}: {allowed:?}");
        }
        if step % 4 == 3 {
            let bytes = image(graph);
            assert_eq!(bytes.len() as u64, graph.encoded_len(), "{what}");
            for other in &others {
                assert!(image(&other.graph) == bytes, "{what}: {:?}", other.exec);
            }
            // Checks every link: it leads to a row that is there.
            let read = Graph::decode(&bytes, 500, &params);
            let read = read.unwrap_or_else(|fault| panic!("{what}: {fault}"));
            assert!(image(&read) == bytes, "{what}");
            // And goes on with what was read.
            live.graph = read;
        }
    }
}

#[test]
fn rows_that_join_and_leave_at_random_are_those_that_are_found() {
    for (seed, (metric, code)) in (70..).zip(pairs()) {
        check_random_steps(metric, code, seed);
    }
}

#[test]
fn a_graph_that_all_rows_left_is_a_new_one() {
    for code in [Code::None, Code::Sq4] {
        let vectors = Vectors::clustered(71, 900, 7, 9).coded(code);
        let params = vectors.params(Metric::L2);
        let mut live = Live::new(&vectors, params.clone(), Executor::Serial);
        let empty = image(&live.graph);
        let all: Vec<u32> = (0..900).collect();
        live.join_all(&all);
        let full = image(&live.graph);
        let mut first = live.graph.clone();
        live.leave_all(&shuffled(&mut Random(1), all.clone()));
        assert!(live.graph.is_empty() && image(&live.graph) == empty);
        assert_eq!(vectors.search(&live.graph, vectors.row(3), 5, 20), []);
        live.join_all(&all);
        assert!(image(&live.graph) == full, "numbers used again");
        // At once.
        vectors.with_rows(|rows| {
            let (exec, scratch) = (Executor::Serial, &mut BuildScratch::new());
            first.remove_batch(rows, &all, &exec, scratch);
        });
        assert!(image(&first) == empty);
    }
}

#[test]
fn searches_begin_at_the_lowest_row_of_the_highest_layer_that_stays() {
    let vectors = Vectors::clustered(72, 700, 6, 9);
    let params = Params { m: 6, ..params(6, Metric::L2) };
    let mut live = Live::new(&vectors, params, Executor::Serial);
    let all: Vec<u32> = (0..700).collect();
    live.join_all(&all);
    while !live.graph.is_empty() {
        // As the image says it, which is checked when it is read.
        let bytes = image(&live.graph);
        let entry = u32::from_le_bytes(bytes[32..36].try_into().unwrap());
        assert_eq!(live.graph.unreachable_count(), 0, "{} rows", live.graph.count());
        Graph::decode(&bytes, 700, live.graph.params()).unwrap();
        live.leave(&[entry]);
        assert!(!live.graph.contains(entry));
    }
}

#[test]
fn the_highest_rows_take_their_room_with_them() {
    let vectors = Vectors::clustered(73, 600, 7, 9).coded(Code::Sq8);
    let mut live = Live::new(&vectors, vectors.params(Metric::L2), Executor::Serial);
    live.join_all(&(0..300).collect::<Vec<u32>>());
    let before = image(&live.graph).len();
    live.join(&[599]);
    assert_eq!((live.graph.len(), live.graph.count()), (600, 301));
    live.leave(&[599]);
    assert_eq!((live.graph.len(), live.graph.count()), (300, 300));
    assert_eq!(image(&live.graph).len(), before);
    live.leave(&[298]);
    assert_eq!((live.graph.len(), live.graph.count()), (300, 299));
    live.leave(&[299]);
    assert_eq!((live.graph.len(), live.graph.count()), (298, 298));
}

#[test]
fn batches_that_cannot_leave_are_refused() {
    let vectors = Vectors::clustered(74, 1300, 3, 2);
    let mut live = Live::new(&vectors, params(3, Metric::L2), Executor::Serial);
    live.join_all(&(0..1200).collect::<Vec<u32>>());
    let many: Vec<u32> = (0..=BATCH_ROWS_MAX).collect();
    for leaves in [&[2, 1][..], &[1, 1], &[1200], &[5, 1250], &many] {
        let mut other = Live::new(&vectors, params(3, Metric::L2), Executor::Serial);
        other.graph = live.graph.clone();
        let leave = std::panic::AssertUnwindSafe(|| other.leave(leaves));
        assert!(std::panic::catch_unwind(leave).is_err(), "{} rows", leaves.len());
    }
    let before = image(&live.graph);
    live.leave(&[]);
    assert!(image(&live.graph) == before, "no rows are no change");
}

/// Everything that reads rows, after rows have left.
fn used(vectors: &Vectors, graph: &Graph) -> Vec<Vec<u8>> {
    let mut graph = graph.clone();
    let (exec, scratch) = (Executor::threads(2).unwrap(), &mut BuildScratch::new());
    let mut images = Vec::new();
    vectors.with_rows(|rows| {
        let proceed = &mut || ControlFlow::Continue(());
        assert!(graph.choose_code(rows, &exec, proceed).is_continue());
        images.push(image(&graph));
        let ControlFlow::Continue(measured) = graph.calibrate(rows, &exec, proceed) else {
            panic!("nobody asked to stop");
        };
        assert_eq!(measured.rows(), graph.count());
        graph.set_calibration(measured);
        assert!(!graph.wants_calibration());
        images.push(image(&graph));
        assert!(graph.relink(rows, &exec, &mut |_| ControlFlow::Continue(())).is_continue());
        images.push(image(&graph));
        graph.remove_batch(rows, &[20, 4000], &exec, scratch);
        graph.insert_batch(rows, &[20, 8400], &exec, scratch);
        images.push(image(&graph));
    });
    images
}

#[test]
fn the_vectors_of_rows_that_left_are_not_read() {
    let mut vectors = Vectors::clustered(76, 8401, 5, 200);
    let code = CodeChoice::Auto;
    let params = Params { m: 4, ef_construction: 16, code, ..params(5, Metric::L2) };
    let mut live = Live::new(&vectors, params.clone(), Executor::threads(2).unwrap());
    live.join_all(&(0..8400).collect::<Vec<u32>>());
    let leaves: Vec<u32> = (0..8400).skip(7).step_by(50).collect();
    live.leave(&leaves);
    let graph = live.graph;
    assert_eq!(graph.count(), 8232);
    let read = Graph::decode(&image(&graph), 8401, &params).unwrap();
    let expect = used(&vectors, &graph);
    for row in leaves {
        vectors.floats[row as usize * 16..][..5].fill(f32::NAN);
    }
    assert!(used(&vectors, &graph) == expect);
    // Of a graph that was read, the codes that links are chosen by are made anew.
    assert!(used(&vectors, &read) == expect);
}

/// How many of the nearest 10 of some queries are found.
fn hits(vectors: &Vectors, graph: &Graph, queries: std::ops::Range<u32>) -> usize {
    let near = queries.map(|query| {
        let query = vectors.row(query);
        let truth = vectors.search(graph, query, 10, graph.count() as usize);
        let found = vectors.search(graph, query, 10, 16);
        found.iter().filter(|found| found.distance <= truth[9].distance).count()
    });
    near.sum()
}

#[test]
fn after_five_turnovers_as_much_is_found_as_in_a_graph_built_of_the_same_rows() {
    for metric in [Metric::L2, Metric::Cosine] {
        let vectors = Vectors::clustered(75, 2400, 12, 20).fit(metric);
        let nearest_centre = |row: u32| {
            let centres = Vectors::of(12, vectors.floats[..10 * 16].to_vec());
            rows_of(&centres.exact(metric, vectors.row(row), 1))[0]
        };
        let random = shuffled(&mut Random(2), (0..2000).collect());
        let mut clusters = random.clone();
        clusters.sort_by_key(|&row| nearest_centre(row));
        for (name, order) in
            [("random", random), ("window", (0..2000).collect()), ("clusters", clusters)]
        {
            let params = Params { m: 8, ..params(12, metric) };
            let exec = Executor::threads(2).unwrap();
            let mut live = Live::new(&vectors, params.clone(), exec.clone());
            let (mut there, mut other) = order.split_at(1000);
            live.join_all(there);
            for _ in 0..5 {
                for (leaves, joins) in there.chunks(20).zip(other.chunks(20)) {
                    live.leave_all(leaves);
                    live.join_all(joins);
                    assert_eq!(live.graph.unreachable_count(), 0, "{metric}, {name}");
                }
                (there, other) = (other, there);
            }
            let mut fresh = Live::new(&vectors, params, exec);
            fresh.join_all(there);
            assert_eq!(fresh.graph.members(), live.graph.members());
            let (churned, fresh) =
                (hits(&vectors, &live.graph, 2000..2400), hits(&vectors, &fresh.graph, 2000..2400));
            assert!(churned + 20 >= fresh, "{metric}, {name}: {churned} of {fresh} in 4000");
        }
    }
}
