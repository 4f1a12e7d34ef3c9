//! Searches: limits of k and ef, dead rows, contexts, and both forms of the beam.

use gannet_hnsw::{Allowed, Graph, Metric, RowSet, SearchContext, row_stride};

use crate::data::{Vectors, params, rows_of};

#[test]
fn an_empty_graph_finds_nothing() {
    let vectors = Vectors::new(&[&[1.0, 2.0]]);
    let graph = Graph::new(params(2, Metric::L2));
    assert!(graph.is_empty());
    assert!(vectors.search(&graph, &[1.0, 2.0], 10, 10).is_empty());
}

#[test]
fn k_and_ef_may_be_anything() {
    let vectors = Vectors::clustered(1, 300, 8, 5);
    let graph = vectors.graph(Metric::L2);
    let query = vectors.row(9);
    for k in [0, 1, 5, 299, 300, 301, 5000, usize::MAX] {
        for ef in [0, 1, 300, usize::MAX] {
            let found = vectors.search(&graph, query, k, ef);
            assert_eq!(found.len(), k.min(300), "k {k}, ef {ef}");
            assert!(found.is_sorted_by(|a, b| (a.distance, a.row) < (b.distance, b.row)));
        }
    }
}

#[test]
fn a_query_may_be_as_long_as_its_dimensions_or_its_stride() {
    let vectors = Vectors::clustered(1, 100, 21, 5);
    let graph = vectors.graph(Metric::Dot);
    let query = vectors.row(3);
    assert_eq!(query.len(), row_stride(21));
    let short = vectors.search(&graph, &query[..21], 7, 20);
    assert_eq!(vectors.search(&graph, query, 7, 20), short);
    for len in [0, 20, 22, 31] {
        let search = || vectors.search(&graph, &query[..len], 7, 20);
        assert!(std::panic::catch_unwind(search).is_err(), "{len} floats");
    }
}

#[test]
fn answers_are_appended() {
    let vectors = Vectors::clustered(1, 100, 4, 5);
    let graph = vectors.graph(Metric::L2);
    let (mut context, mut found) = (SearchContext::new(), Vec::new());
    vectors.with_rows(|rows| {
        for row in [5, 50] {
            graph.search(rows, vectors.row(row), 3, 10, Allowed::All, &mut context, &mut found);
        }
    });
    assert_eq!((found.len(), found[0].row, found[3].row), (6, 5, 50));
}

#[test]
fn rows_beyond_the_graph_are_not_looked_at() {
    let vectors = Vectors::clustered(2, 400, 8, 3);
    let mut graph = Graph::new(params(8, Metric::L2));
    vectors.insert_until(&mut graph, 250, &gannet_hnsw::Executor::Serial);
    let found = vectors.search(&graph, vectors.row(300), 400, 400);
    assert_eq!(found.len(), 250);
    assert!(found.iter().all(|found| found.row < 250));
}

#[test]
fn dead_rows_lead_on_but_are_never_returned() {
    let vectors = Vectors::clustered(7, 2000, 12, 20);
    let graph = vectors.graph(Metric::L2);
    for (name, is_live) in [
        ("half", (|row| row % 2 == 0) as fn(u32) -> bool),
        ("one in ten", |row| row % 10 == 3),
        ("the late ones", |row| row >= 1500),
        ("none", |_| false),
        ("all", |_| true),
    ] {
        let live_count = (0..2000).filter(|&row| is_live(row)).count();
        let dead: RowSet = (0..2000).filter(|&row| !is_live(row)).collect();
        let mut hits = 0;
        for query in (0..2000).step_by(40) {
            let query = vectors.row(query);
            let but = Allowed::AllBut(&dead);
            let (_, found) = vectors.search_by(&graph, query, 10, 50, but);
            assert_eq!(found.len(), live_count.min(10), "{name}");
            assert!(found.iter().all(|found| is_live(found.row)), "{name}");
            let all = vectors.exact(Metric::L2, query, 2000);
            let truth: Vec<u32> =
                rows_of(&all).into_iter().filter(|&row| is_live(row)).take(10).collect();
            hits += found.iter().filter(|found| truth.contains(&found.row)).count();
        }
        assert!(hits >= 500 * live_count.min(10) / 10 * 97 / 100, "{name}: {hits} of 500");
    }
}

#[test]
fn a_dead_cluster_around_the_query_is_walked_through() {
    let mut vectors = Vectors::new(&[&[0.0; 4]]);
    for row in 1..600u16 {
        let spread = f32::from(row) / 600.0;
        vectors.push(&[spread, -spread, 0.0, spread]);
    }
    for row in 0..50u16 {
        vectors.push(&[30.0 + f32::from(row), 0.0, 0.0, 0.0]);
    }
    let graph = vectors.graph(Metric::L2);
    let dead = (0..600).collect();
    let (_, found) = vectors.search_by(&graph, &[0.0; 4], 5, 5, Allowed::AllBut(&dead));
    assert_eq!(rows_of(&found), [600, 601, 602, 603, 604]);
}

#[test]
fn both_forms_of_the_beam_find_the_same() {
    for metric in Metric::ALL {
        let vectors = Vectors::clustered(8, 3000, 10, 30).fit(metric);
        let graph = vectors.graph(metric);
        for query in (0..3000).step_by(150) {
            let query = vectors.row(query);
            for k in [1, 10, 100, 500] {
                let (array, heaps) = (1024, 1025);
                let array = vectors.search(&graph, query, k, array);
                assert_eq!(array, vectors.search(&graph, query, k, heaps), "{metric}, k {k}");
            }
        }
    }
}

#[test]
fn a_context_serves_any_graph_without_changing_answers() {
    let small = Vectors::clustered(1, 50, 3, 5);
    let large = Vectors::clustered(2, 1500, 40, 5);
    let graphs = [small.graph(Metric::L2), large.graph(Metric::Dot)];
    let mut context = SearchContext::new();
    for turn in 0..300 {
        let (vectors, graph) =
            if turn % 2 == 0 { (&small, &graphs[0]) } else { (&large, &graphs[1]) };
        let query = vectors.row(turn % 50);
        let mut found = Vec::new();
        vectors.with_rows(|rows| {
            graph.search(rows, query, 5, 20, Allowed::All, &mut context, &mut found);
        });
        assert_eq!(found, vectors.search(graph, query, 5, 20), "turn {turn}");
    }
}

#[test]
fn a_warm_context_does_not_grow() {
    let vectors = Vectors::clustered(3, 1000, 16, 10);
    let graph = vectors.graph(Metric::L2);
    let mut context = SearchContext::new();
    let mut found = Vec::new();
    let mut bytes = Vec::new();
    let third: RowSet = (0..1000).step_by(3).collect();
    vectors.with_rows(|rows| {
        for _ in 0..3 {
            for row in 0..1000 {
                let query = vectors.row(row);
                let allowed = if row % 2 == 0 { Allowed::All } else { Allowed::Only(&third) };
                graph.search(rows, query, 10, 64, allowed, &mut context, &mut found);
            }
            bytes.push(context.memory_bytes());
        }
    });
    assert_eq!((bytes[1], bytes[2]), (bytes[0], bytes[0]));
    assert!(bytes[0] < 1000 + 64 * 1024, "{} bytes", bytes[0]);
}
