//! Searches for rows that pass a filter: each plan, every share of rows, wherever they lie.

use std::collections::BTreeMap;

use gannet_hnsw::{Allowed, Code, Executor, Graph, Isa, Metric, Neighbor, Plan, RowSet};

use crate::data::{Random, Vectors, pairs, rows_of};

/// The nearest `k` rows that are allowed, by looking at each.
fn truth(
    vectors: &Vectors,
    metric: Metric,
    query: &[f32],
    k: usize,
    allowed: Allowed<'_>,
) -> Vec<Neighbor> {
    let all = vectors.exact(metric, query, vectors.len() as usize);
    all.into_iter().filter(|near| allowed.contains(near.row)).take(k).collect()
}

/// One row in `per_mille` of 1,000, as chance has it.
fn random(len: u32, per_mille: u32) -> RowSet {
    let mut random = Random(u64::from(per_mille));
    (0..len).filter(|_| random.below(1000) < per_mille).collect()
}

/// The `count` rows that are nearest to `centre`, or farthest from it.
fn around(vectors: &Vectors, centre: &[f32], count: usize, is_far: bool) -> RowSet {
    let all = rows_of(&vectors.exact(Metric::L2, centre, vectors.len() as usize));
    let skip = if is_far { all.len() - count } else { 0 };
    all[skip..skip + count].iter().copied().collect()
}

#[test]
fn what_is_allowed_is_what_its_set_says() {
    let set: RowSet = [0, 3, 64, 200].into_iter().collect();
    for (allowed, count, contained) in [
        (Allowed::All, 100, [true, true, true]),
        (Allowed::Only(&set), 3, [true, false, true]),
        (Allowed::AllBut(&set), 97, [false, true, false]),
    ] {
        assert_eq!(allowed.count(100), count, "{allowed:?}");
        assert_eq!([3, 4, 200].map(|row| allowed.contains(row)), contained, "{allowed:?}");
    }
}

#[test]
fn never_fewer_than_pass_and_never_a_row_that_does_not() {
    for (metric, code) in pairs() {
        let vectors = Vectors::clustered(11, 900, 24, 12).fit(metric).coded(code);
        let graph = vectors.graph(metric);
        let mut plans = BTreeMap::new();
        for per_mille in [0, 1, 5, 20, 50, 100, 250, 500, 900, 999, 1000] {
            // Rows that are not in the graph do not matter.
            let set = random(2000, per_mille);
            for allowed in [Allowed::Only(&set), Allowed::AllBut(&set)] {
                let passing = allowed.count(900) as usize;
                for (k, ef) in [(1, 1), (10, 10), (10, 60), (200, 10), (5000, 5000)] {
                    let query = vectors.row(per_mille % 900);
                    let (plan, found) = vectors.search_by(&graph, query, k, ef, allowed);
                    let what =
                        || format!("{metric}, {code}, {per_mille}, k {k}, ef {ef}, {plan:?}");
                    assert_eq!(found.len(), passing.min(k), "{}", what());
                    assert!(
                        found.iter().all(|near| near.row < 900 && allowed.contains(near.row)),
                        "{}",
                        what()
                    );
                    assert!(
                        found.is_sorted_by(|a, b| (a.distance, a.row) < (b.distance, b.row)),
                        "{}",
                        what()
                    );
                    if plan == Plan::Exact || k >= passing {
                        let truth = truth(&vectors, metric, query, k, allowed);
                        assert_eq!(found, truth, "{}", what());
                    }
                    *plans.entry(format!("{plan:?}")).or_insert(0) += 1;
                }
            }
        }
        let expected = if code == Code::None { 3 } else { 4 };
        assert_eq!(plans.len(), expected, "{metric}, {code}: {plans:?}");
    }
}

/// The share of the true nearest 10 that is found, by distance, and how often each plan was taken.
fn recall<'a>(
    vectors: &Vectors,
    graph: &Graph,
    queries: &[u32],
    ef: usize,
    allowed: impl Fn(&[f32]) -> Allowed<'a>,
) -> (f64, BTreeMap<String, u32>) {
    let (mut hits, mut wanted) = (0_u32, 0_u32);
    let mut plans = BTreeMap::new();
    for &row in queries {
        let query = vectors.row(row);
        let allowed = allowed(query);
        let truth = truth(vectors, graph.params().metric, query, 10, allowed);
        let (plan, found) = vectors.search_by(graph, query, 10, ef, allowed);
        let farthest = truth.last().map_or(0.0, |last| last.distance);
        let near = found.iter().filter(|near| near.distance <= farthest).count();
        hits += u32::try_from(near).unwrap();
        wanted += u32::try_from(truth.len()).unwrap();
        *plans.entry(format!("{plan:?}")).or_insert(0) += 1;
    }
    (f64::from(hits) / f64::from(wanted), plans)
}

#[test]
fn a_beam_finds_with_a_filter_what_it_finds_without() {
    let exec = Executor::threads(2).unwrap();
    for (code, ef) in [(Code::None, 40), (Code::Sq8, 40), (Code::Sq4, 40), (Code::Bit, 400)] {
        let vectors = Vectors::clustered(3, 12_000, 16, 400).coded(code);
        let graph = vectors.graph_on(vectors.params(Metric::L2), &exec);
        let queries: Vec<u32> = (0..12_000).step_by(400).collect();
        let (plain, _) = recall(&vectors, &graph, &queries, ef, |_| Allowed::All);
        for per_mille in [1, 10, 50, 100, 250, 500, 900] {
            let count = 12 * per_mille as usize;
            let by_chance = random(12_000, per_mille);
            let cells = around(&vectors, vectors.row(77), count, false);
            let far = around(&vectors, vectors.row(77), count, true);
            for (kind, set) in [("random", &by_chance), ("cells", &cells), ("far", &far)] {
                let only = |_: &[f32]| Allowed::Only(set);
                let (found, plans) = recall(&vectors, &graph, &queries, ef, only);
                assert!(
                    found >= plain - 0.04,
                    "{code}, {kind}, {per_mille}: {found}, {plain} without, {plans:?}"
                );
            }
        }
    }
}

#[test]
fn rows_near_the_query_and_rows_far_from_it_are_found() {
    let vectors = Vectors::clustered(5, 12_000, 8, 40).coded(Code::Sq8);
    let graph = vectors.graph_on(vectors.params(Metric::L2), &Executor::threads(2).unwrap());
    for count in [12, 600, 3000, 9000] {
        // Of rows that are far in every direction the nearest are at nearly one distance.
        for (is_far, least) in [(false, 0.95), (true, 0.7)] {
            let mut sum = 0.0;
            let mut all = Vec::new();
            for row in (0..12_000).step_by(1000) {
                let set = around(&vectors, vectors.row(row), count, is_far);
                let only = |_: &[f32]| Allowed::Only(&set);
                let (found, plans) = recall(&vectors, &graph, &[row], 48, only);
                sum += found;
                all.push((found, plans));
            }
            assert!(sum / 12.0 >= least, "{count}, far {is_far}: {all:?}");
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_answers() {
    for code in Code::ALL {
        let vectors = Vectors::clustered(9, 3000, 40, 25).coded(code);
        let graph = vectors.graph_on(vectors.params(Metric::L2), &Executor::Serial);
        let scalar = graph.clone().with_isa(Isa::Scalar);
        for per_mille in [3, 30, 150, 500, 950] {
            let set = random(3000, per_mille);
            for row in (0..3000).step_by(500) {
                let search = |graph: &Graph, allowed| {
                    vectors.search_by(graph, vectors.row(row), 10, 24, allowed)
                };
                for allowed in [Allowed::Only(&set), Allowed::AllBut(&set)] {
                    assert_eq!(search(&graph, allowed), search(&scalar, allowed), "{code} {row}");
                }
            }
        }
    }
}

#[test]
fn what_a_walk_does_not_reach_is_found_all_the_same() {
    // Of very many copies of one vector a walk reaches some.
    let mut vectors = Vectors::clustered(4, 400, 4, 4);
    for _ in 0..600 {
        vectors.push(&[9.0; 4]);
    }
    let graph = vectors.graph(Metric::L2);
    for k in [10, 600, 1000] {
        let (_, found) = vectors.search_by(&graph, &[9.0; 4], k, 10, Allowed::All);
        assert_eq!(found, vectors.exact(Metric::L2, &[9.0; 4], k), "k {k}");
    }
}
