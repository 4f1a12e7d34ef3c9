//! A calibration against what searches really find, and what it must not depend on.

use std::ops::ControlFlow;
use std::path::Path;

use gannet_hnsw::{
    CALIBRATION_ROWS_MIN, Calibration, Code, Executor, Graph, Isa, Metric, Params, exact_batch,
    row_stride,
};

use crate::data::{Vectors, image, params};

fn calibrate(vectors: &Vectors, graph: &Graph, exec: &Executor) -> Calibration {
    let measured =
        vectors.with_rows(|rows| graph.calibrate(rows, exec, &mut || ControlFlow::Continue(())));
    let ControlFlow::Continue(calibration) = measured else { panic!("nobody asked to stop") };
    calibration
}

/// One source, cut in two: rows, and queries that the graph has never seen.
fn split(all: &Vectors, rows: u32) -> (Vectors, Vectors) {
    let at = rows as usize * row_stride(all.dims);
    let (rows, queries) = all.floats.split_at(at);
    let of = |floats: &[f32]| Vectors::of(all.dims, floats.to_vec());
    (of(rows), of(queries))
}

/// The share of the true nearest `k` that a beam finds, by distance.
fn recall(vectors: &Vectors, graph: &Graph, queries: &Vectors, k: usize, ef: usize) -> f64 {
    let all: Vec<&[f32]> = (0..queries.len()).map(|query| queries.row(query)).collect();
    let exec = Executor::threads(2).unwrap();
    let truth = vectors
        .with_rows(|rows| exact_batch(rows, 0..rows.len(), &all, k, None, graph.kernel(), &exec));
    let hits = exec.map(all.len(), |query| {
        let farthest = truth[query][k - 1].distance;
        let found = vectors.search(graph, all[query], k, ef);
        found.iter().filter(|near| near.distance <= farthest).count()
    });
    hits.iter().map(|&hits| f64::from(u32::try_from(hits).unwrap())).sum::<f64>()
        / f64::from(u32::try_from(k * all.len()).unwrap())
}

/// Searches with the beam of each target find what was asked for.
#[track_caller]
fn check(what: &str, vectors: &Vectors, queries: &Vectors, params: Params, ks: &[usize]) {
    let exec = Executor::threads(2).unwrap();
    let graph = vectors.graph_on(params, &exec);
    let calibration = calibrate(vectors, &graph, &exec);
    for &k in ks {
        let mut last = 0;
        for target in [0.9, 0.95, 0.99] {
            let ef = calibration.ef(k, target).unwrap_or_else(|| panic!("{what}, {k}: {target}"));
            let found = recall(vectors, &graph, queries, k, ef);
            assert!(ef >= last, "{what}, k {k}: {ef} after {last}");
            assert!(found >= f64::from(target) - 0.01, "{what}, k {k}, {target}: {found} at {ef}");
            last = ef;
        }
    }
}

#[test]
fn the_beam_of_a_target_finds_that_much_for_queries_never_seen() {
    for metric in [Metric::L2, Metric::Cosine] {
        for code in Code::ALL {
            let all = Vectors::clustered(51, 9400, 24, 60).fit(metric);
            let (rows, queries) = split(&all, 9000);
            let params = Params { code: code.into(), ..params(24, metric) };
            let what = format!("{metric}, {code}");
            check(&what, &rows.coded(code), &queries, params, &[1, 10, 40, 100, 150]);
        }
    }
}

/// Rows without any shape: the hardest that there is.
#[test]
fn the_beam_of_a_target_finds_that_much_among_shapeless_rows() {
    let (rows, queries) = split(&Vectors::clustered(52, 3300, 16, 3300), 3000);
    check("shapeless", &rows, &queries, params(16, Metric::L2), &[5, 10, 20]);
}

/// Set `GANNET_DATA` to a directory that has them. Parts of the large ones, for the time's sake.
#[test]
fn the_beam_of_a_target_finds_that_much_on_real_sets() {
    let Some(dir) = std::env::var_os("GANNET_DATA") else {
        eprintln!("skipped: GANNET_DATA names no directory of vector files");
        return;
    };
    for (name, ending, metric, rows_max) in [
        ("sift-128-200k", "u8bin", Metric::L2, 30_000),
        ("mnist-784", "u8bin", Metric::L2, 10_000),
        ("text-256", "fbin", Metric::Cosine, 30_000),
    ] {
        let read = |part: &str, rows_max| {
            read(&Path::new(&dir).join(format!("{name}.{part}.{ending}")), rows_max)
        };
        let (Some(rows), Some(queries)) = (read("base", rows_max), read("query", 1000)) else {
            eprintln!("skipped: no {name} in {}", dir.display());
            continue;
        };
        let (rows, queries) = (rows.fit(metric).coded(Code::Sq8), queries.fit(metric));
        let params = Params::new(rows.dims, metric);
        check(name, &rows, &queries, params, &[10, 100]);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test that reads real vectors")]
/// At most `rows_max` rows of a `.u8bin` or `.fbin` file; `None` if it is not there.
fn read(path: &Path, rows_max: usize) -> Option<Vectors> {
    let bytes = std::fs::read(path).ok()?;
    let dims = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
    let mut vectors = Vectors::of(dims, Vec::new());
    let is_bytes = path.extension().is_some_and(|ending| ending == "u8bin");
    let floats: Vec<f32> = if is_bytes {
        bytes[8..].iter().copied().map(f32::from).collect()
    } else {
        bytes[8..].as_chunks().0.iter().copied().map(f32::from_le_bytes).collect()
    };
    floats.chunks(dims as usize).take(rows_max).for_each(|row| vectors.push(row));
    Some(vectors)
}

#[test]
fn threads_and_instruction_sets_do_not_change_what_is_measured() {
    for code in Code::ALL {
        let vectors = Vectors::clustered(53, 8200, 20, 40).coded(code);
        let params = Params { code: code.into(), ..params(20, Metric::L2) };
        let graph = vectors.graph_on(params, &Executor::threads(2).unwrap());
        let expect = calibrate(&vectors, &graph, &Executor::Serial);
        for threads in [2, 3, 8] {
            let found = calibrate(&vectors, &graph, &Executor::threads(threads).unwrap());
            assert_eq!(found, expect, "{code}, {threads} threads");
        }
        for isa in Isa::available() {
            let found = calibrate(&vectors, &graph.clone().with_isa(isa), &Executor::Serial);
            assert_eq!(found, expect, "{code}, {}", isa.name());
        }
    }
}

#[test]
fn it_is_wanted_once_there_are_rows_enough_and_again_after_a_quarter_more() {
    let vectors = Vectors::clustered(54, 2700, 4, 40);
    let exec = Executor::Serial;
    let mut graph = Graph::new(params(4, Metric::L2));
    vectors.insert_until(&mut graph, CALIBRATION_ROWS_MIN - 1, &exec);
    assert!(!graph.wants_calibration() && graph.calibration().is_none());
    vectors.insert_until(&mut graph, CALIBRATION_ROWS_MIN, &exec);
    assert!(graph.wants_calibration());
    let before = image(&graph);
    let calibration = calibrate(&vectors, &graph, &exec);
    assert_eq!((calibration.rows(), image(&graph) == before), (CALIBRATION_ROWS_MIN, true));
    graph.set_calibration(calibration);
    assert!(!graph.wants_calibration());
    vectors.insert_until(&mut graph, CALIBRATION_ROWS_MIN * 5 / 4 - 1, &exec);
    assert!(!graph.wants_calibration());
    vectors.insert_until(&mut graph, CALIBRATION_ROWS_MIN * 5 / 4, &exec);
    assert!(graph.wants_calibration());
    let read = Graph::decode(&image(&graph), graph.len(), graph.params()).unwrap();
    assert_eq!(read.calibration(), graph.calibration());
    assert!(image(&read) == image(&graph));
}

#[test]
fn whoever_asks_it_to_stop_is_obeyed_each_time_it_asks() {
    let vectors = Vectors::clustered(55, 2100, 4, 40);
    let graph = vectors.graph(Metric::L2);
    let stop_at = |asked_max: u32| {
        let mut asked = 0;
        let stopped = vectors.with_rows(|rows| {
            graph.calibrate(rows, &Executor::Serial, &mut || {
                asked += 1;
                if asked < asked_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
        });
        (asked, stopped.is_break())
    };
    let (asked, _) = stop_at(u32::MAX);
    assert!(asked >= 2, "{asked}");
    for at in 1..=asked {
        assert_eq!(stop_at(at), (at, true));
    }
}
