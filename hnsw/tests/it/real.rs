//! Coarse codes on real vectors: what they miss, a wider beam finds. The vectors are in the folder
//! that `GANNET_DATA` names, or in `shared/data` beside the repository; a set that is not there is
//! named and passed over.

#![expect(clippy::disallowed_methods, reason = "vectors come from files")]

use std::path::PathBuf;
use std::{env, fs};

use gannet_hnsw::{Code, Executor, Graph, Metric, Params};

use crate::data::Vectors;

/// Rows and queries of a set: the first of each, so that a test takes seconds.
const ROWS: usize = 4000;
const QUERIES: usize = 100;

fn folder() -> PathBuf {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    env::var_os("GANNET_DATA").map_or_else(beside, PathBuf::from)
}

/// The first `count` vectors of a `.u8bin` or `.fbin` (u32 rows, u32 dims, rows).
fn read(name: &str, count: usize, metric: Metric) -> Option<Vectors> {
    let path = folder().join(name);
    let Ok(bytes) = fs::read(&path) else {
        eprintln!("not tested: {}, which cannot be read", path.display());
        return None;
    };
    let (header, body) = bytes.split_first_chunk::<8>().expect("a header");
    let dims = u32::from_le_bytes(*header[4..].first_chunk().expect("four bytes"));
    let mut vectors = Vectors::of(dims, Vec::new());
    let is_bytes = path.extension().is_some_and(|extension| extension == "u8bin");
    let len = dims as usize * if is_bytes { 1 } else { 4 };
    for row in body.chunks_exact(len).take(count) {
        let vector: Vec<f32> = if is_bytes {
            row.iter().copied().map(f32::from).collect()
        } else {
            row.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect()
        };
        vectors.push(&vector);
    }
    Some(vectors.fit(metric))
}

/// Mean share of the true nearest 10 found, by distance, so that ties count.
fn recall(rows: &Vectors, graph: &Graph, queries: &Vectors, bounds: &[f32], ef: usize) -> f64 {
    let mut hits = 0u32;
    for (query, &bound) in (0..queries.len()).zip(bounds) {
        let found = rows.search(graph, queries.row(query), 10, ef);
        let near = found.iter().filter(|found| found.distance <= bound).count();
        hits += u32::try_from(near).unwrap();
    }
    f64::from(hits) / f64::from(10 * queries.len())
}

fn check(set: &str, kind: &str, metric: Metric) {
    let Some(rows) = read(&format!("{set}.base.{kind}"), ROWS, metric) else { return };
    let Some(queries) = read(&format!("{set}.query.{kind}"), QUERIES, metric) else { return };
    let kth = |query: u32| rows.exact(metric, queries.row(query), 10)[9].distance;
    let bounds: Vec<f32> = (0..queries.len()).map(kth).collect();
    for (code, efs) in [(Code::Sq4, [20, 100, 400]), (Code::Bit, [50, 400, 1600])] {
        let params =
            Params { ef_construction: 100, code: code.into(), ..Params::new(rows.dims, metric) };
        let graph = rows.graph_on(params, &Executor::threads(2).unwrap());
        let found = efs.map(|ef| recall(&rows, &graph, &queries, &bounds, ef));
        assert!(found.is_sorted() && found[2] >= 0.999, "{set}, {code}: {found:?} at {efs:?}");
    }
}

#[test]
fn coarse_codes_find_all_of_text_as_the_beam_grows() {
    check("text-256", "fbin", Metric::Cosine);
}

#[test]
fn coarse_codes_find_all_of_sift_as_the_beam_grows() {
    check("sift-128-200k", "u8bin", Metric::L2);
}

#[test]
fn coarse_codes_find_all_of_mnist_as_the_beam_grows() {
    check("mnist-784", "u8bin", Metric::L2);
}
