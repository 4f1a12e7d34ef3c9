//! Building a graph and searching it, on vectors around centres.
//!
//! Every build is held to the bytes of the first, whatever its threads; every beam to its least
//! recall, which is printed beside its name: speed without recall says nothing. So is what its
//! walks cost; with feature `counters`, also what they looked up and read.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use gannet_benches::{Vectors, recall};
use gannet_hnsw::{
    Allowed, Effort, Executor, Graph, Metric, Neighbor, Params, Rows, SearchContext, exact,
};

const SEED: u64 = 2;
const DIMS: u32 = 64;
const ROWS: u32 = 4_000;
const QUERIES: u32 = 200;
const K: usize = 10;

/// Beams and the recall below which something is broken.
const BEAMS: [(usize, f64); 3] = [(16, 0.95), (64, 0.99), (128, 0.99)];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for metric in [Metric::L2, Metric::Cosine] {
        let vectors = Vectors::clustered(SEED, ROWS + QUERIES, DIMS, 40, metric);
        let graph = vectors.with_rows(ROWS, |rows| build(rows, metric, &Executor::Serial));
        vectors.with_rows(ROWS, |rows| {
            time_builds(&mut criterion, rows, &graph);
            time_searches(&mut criterion, &vectors, rows, &graph);
        });
    }
    criterion.final_summary();
}

fn build(rows: &Rows<'_>, metric: Metric, executor: &Executor) -> Graph {
    let params = Params { ef_construction: 100, ..Params::new(DIMS, metric) };
    let mut graph = Graph::new(params);
    let flow = graph.insert_until(rows, rows.len(), executor, &mut |_| ControlFlow::Continue(()));
    assert!(flow.is_continue() && graph.len() == rows.len(), "{} rows", graph.len());
    graph
}

fn image(graph: &Graph) -> Vec<u8> {
    let mut bytes = Vec::new();
    graph.encode(&mut bytes);
    bytes
}

fn time_builds(criterion: &mut Criterion, rows: &Rows<'_>, truth: &Graph) {
    let metric = truth.params().metric;
    let expect = image(truth);
    let mut group = criterion.benchmark_group(format!("graph/build/{metric}"));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(ROWS.into()));
    for threads in [1, 2] {
        let executor = Executor::threads(threads).expect("threads start");
        let built = build(rows, metric, &executor);
        assert_eq!(image(&built), expect, "{threads} threads build another graph");
        group.bench_function(BenchmarkId::new("threads", threads), |bencher| {
            bencher.iter(|| build(black_box(rows), metric, &executor));
        });
    }
    group.finish();
}

fn time_searches(criterion: &mut Criterion, vectors: &Vectors, rows: &Rows<'_>, graph: &Graph) {
    let metric = graph.params().metric;
    let queries: Vec<&[f32]> = (ROWS..ROWS + QUERIES).map(|row| vectors.row(row)).collect();
    let truths: Vec<Vec<Neighbor>> = queries
        .iter()
        .map(|query| {
            let mut truth = Vec::new();
            exact(rows, 0..ROWS, query, K, None, graph.kernel(), &mut truth);
            truth
        })
        .collect();
    let mut context = SearchContext::new();
    let mut group = criterion.benchmark_group(format!("graph/search/{metric}"));
    group.throughput(Throughput::Elements(QUERIES.into()));
    for (ef, least) in BEAMS {
        let mut search = |query: &[f32], found: &mut Vec<Neighbor>| {
            found.clear();
            graph.search(rows, query, K, ef, Allowed::All, &mut context, found);
            context.effort()
        };
        let mut efforts = Vec::new();
        let answer = |(query, truth): (&&[f32], &Vec<Neighbor>)| {
            let mut found = Vec::new();
            efforts.push(search(query, &mut found));
            assert_eq!(found.len(), K, "rows found");
            (found, truth.clone())
        };
        let answers: Vec<_> = queries.iter().zip(&truths).map(answer).collect();
        let recall = recall(&answers);
        eprintln!(
            "graph/search/{metric}/ef {ef}: recall@{K} {recall:.4} of {ROWS} rows; a query {}",
            cost(&efforts),
        );
        assert!(recall >= least, "recall {recall} at ef {ef}: expected {least}");
        let mut found = Vec::with_capacity(K);
        group.bench_function(BenchmarkId::new("ef", ef), |bencher| {
            bencher.iter(|| {
                for query in &queries {
                    black_box(search(black_box(query), &mut found));
                }
            });
        });
    }
    group.finish();
}

/// What searches cost, on average.
fn cost(efforts: &[Effort]) -> String {
    let mean = |count: fn(&Effort) -> u64| {
        efforts.iter().map(count).sum::<u64>() / u64::try_from(efforts.len()).expect("a count")
    };
    let cost = format!(
        "{} hops, {} distances, {} on upper layers, {} ranked",
        mean(|effort| effort.hops.into()),
        mean(|effort| effort.distances.into()),
        mean(|effort| effort.upper_distances.into()),
        mean(|effort| effort.ranked.into()),
    );
    #[cfg(feature = "counters")]
    let cost = format!(
        "{cost}, {} looked up among those seen, {} bytes read",
        mean(|effort| effort.visited_tests.into()),
        mean(|effort| effort.bytes),
    );
    cost
}
