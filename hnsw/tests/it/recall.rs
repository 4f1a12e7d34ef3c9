//! How many of the true nearest a search finds, on data of known shape.

use gannet_hnsw::{Code, Executor, Graph, Metric, Params, row_stride};

use crate::data::{Random, Vectors, pairs, rows_of};

fn graph_of(vectors: &Vectors, metric: Metric) -> Graph {
    let params = Params { ef_construction: 100, ..vectors.params(metric) };
    let graph = vectors.graph_on(params, &Executor::threads(2).unwrap());
    if metric != Metric::Dot {
        // Under dot, a row shorter than its neighbours is nearest to nobody and may have no link.
        assert_eq!(graph.unreachable_count(), 0, "{metric}");
    }
    graph
}

/// Mean share of the true nearest 10 found, by distance, so that ties count.
fn recall(vectors: &Vectors, graph: &Graph, queries: &Vectors, ef: usize) -> f64 {
    let metric = graph.params().metric;
    let mut hits = 0u32;
    for query in 0..queries.len() {
        let query = queries.row(query);
        let truth = vectors.exact(metric, query, 10);
        let found = vectors.search(graph, query, 10, ef);
        assert_eq!(found.len(), 10, "{metric}");
        let near = found.iter().filter(|found| found.distance <= truth[9].distance);
        hits += u32::try_from(near.count()).unwrap();
    }
    f64::from(hits) / f64::from(10 * queries.len())
}

/// One source, cut in two: rows, and queries of the same clusters.
fn split(all: &Vectors, rows: u32) -> (Vectors, Vectors) {
    let at = rows as usize * row_stride(all.dims);
    let (rows, queries) = all.floats.split_at(at);
    let dims = all.dims;
    (Vectors::of(dims, rows.to_vec()), Vectors::of(dims, queries.to_vec()))
}

/// The least recall at each width of the beam, under every code.
#[track_caller]
fn check(metric: Metric, least: [(usize, f64); 2]) {
    let all = Vectors::clustered(21, 5200, 24, 60).fit(metric);
    let (rows, queries) = split(&all, 5000);
    for (_, code) in pairs().filter(|pair| pair.0 == metric) {
        let rows = rows.clone().coded(code);
        let graph = graph_of(&rows, metric);
        for (ef, least) in least {
            // Of two dozen signs, estimates are rough.
            let is_rough = code == Code::Bit && metric != Metric::Hamming;
            let ef = if is_rough { 8 * ef } else { ef };
            let found = recall(&rows, &graph, &queries, ef);
            assert!(found >= least, "{metric}, {code}, ef {ef}: recall {found}");
        }
    }
}

#[test]
fn clustered_rows_are_found_in_l2() {
    check(Metric::L2, [(50, 0.97), (200, 0.995)]);
}

#[test]
fn clustered_rows_are_found_in_cosine() {
    check(Metric::Cosine, [(50, 0.97), (200, 0.995)]);
}

#[test]
fn clustered_rows_are_found_in_dot() {
    check(Metric::Dot, [(50, 0.95), (200, 0.99)]);
}

#[test]
fn clustered_rows_are_found_in_hamming() {
    check(Metric::Hamming, [(50, 0.97), (200, 0.995)]);
}

/// Whole clusters arrive one after the other, so that a row's neighbours are its batch mates.
#[test]
fn rows_in_order_of_clusters_are_found_as_well() {
    let (rows, queries) = split(&Vectors::clustered(22, 5200, 24, 60), 5000);
    let stride = row_stride(rows.dims);
    let mut sorted: Vec<&[f32]> = rows.floats.chunks(stride).collect();
    let mut random = Random(22);
    let axis: Vec<f32> = (0..24).map(|_| random.normal()).collect();
    let along = |row: &[f32]| -> f32 { row.iter().zip(&axis).map(|(a, b)| a * b).sum() };
    sorted.sort_by(|a, b| along(a).total_cmp(&along(b)));
    let sorted = Vectors::of(24, sorted.concat());
    let found = recall(&sorted, &graph_of(&sorted, Metric::L2), &queries, 50);
    assert!(found >= 0.97, "recall {found}");
}

/// Many copies of few vectors: they must neither crowd out links to others nor fall off the graph.
#[test]
fn copies_are_found_and_do_not_cut_the_graph() {
    for metric in [Metric::L2, Metric::Cosine] {
        let distinct = Vectors::clustered(23, 40, 8, 40).fit(metric);
        let mut random = Random(23);
        let mut rows = Vectors::of(8, Vec::new());
        for row in 0..3000 {
            // The first vector is a third of all rows.
            let copied = if row % 3 == 0 { 0 } else { random.below(40) };
            rows.push(&distinct.row(copied)[..8]);
        }
        let graph = rows.graph_on(Params::new(8, metric), &Executor::Serial);
        for row in 0..40 {
            let query = distinct.row(row);
            let truth = rows.exact(metric, query, 40);
            let found = rows.search(&graph, query, 40, 100);
            let near = found.iter().filter(|found| found.distance <= truth[39].distance);
            let near = near.count();
            assert!(near == 40, "{metric}, vector {row}: {near} of 40");
        }
    }
}

/// Each of 50 vectors comes 60 times: with links to copies alone, each would be an island.
#[test]
fn islands_of_copies_are_linked() {
    let distinct = Vectors::clustered(25, 50, 8, 50);
    let copies: Vec<&[f32]> = (0..3000).map(|row| &distinct.row(row % 50)[..8]).collect();
    let rows = Vectors::new(&copies);
    let graph = rows.graph_on(Params::new(8, Metric::L2), &Executor::Serial);
    assert_eq!(graph.unreachable_count(), 0);
}

#[test]
fn a_row_finds_itself() {
    for metric in [Metric::L2, Metric::Cosine] {
        let vectors = Vectors::clustered(24, 4000, 16, 30).fit(metric);
        let graph = vectors.graph(metric);
        for row in 0..4000 {
            let found = vectors.search(&graph, vectors.row(row), 1, 64);
            assert_eq!(rows_of(&found), [row], "{metric}");
        }
    }
}
