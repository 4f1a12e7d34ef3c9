//! Nearest comes first, in every metric, from the graph and from the scan alike.

use gannet_hnsw::{Isa, Kernel, Metric, Neighbor, exact};

use crate::data::{Vectors, image, rows_of};

/// Seen from (2, 0): row 0 is the closest point, row 1 lies in exactly its direction, row 2 has the
/// largest product. Row 3 is the opposite of all that, row 4 stands at a right angle.
const POINTS: [&[f32]; 5] = [&[1.9, 0.7], &[0.5, 0.0], &[9.0, 8.0], &[-3.0, -0.2], &[0.0, 2.5]];
const QUERY: [f32; 2] = [2.0, 0.0];

#[track_caller]
fn check(metric: Metric, expect_rows: [u32; 5], expect_distances: [f32; 5]) {
    let vectors = Vectors::new(&POINTS).fit(metric);
    let query = if metric == Metric::Cosine { [1.0, 0.0] } else { QUERY };
    let graph = vectors.graph(metric);
    for found in [vectors.exact(metric, &query, 5), vectors.search(&graph, &query, 5, 5)] {
        assert_eq!(rows_of(&found), expect_rows, "{metric}");
        for (found, expect) in found.iter().zip(expect_distances) {
            assert!((found.distance - expect).abs() < 1e-5, "{metric}: {found:?}, not {expect}");
        }
    }
    for k in 1..5 {
        let expect = &expect_rows[..k];
        assert_eq!(rows_of(&vectors.exact(metric, &query, k)), expect, "{metric}, k {k}");
        assert_eq!(rows_of(&vectors.search(&graph, &query, k, 5)), expect, "{metric}, k {k}");
    }
}

#[test]
fn l2_puts_the_closest_point_first() {
    check(Metric::L2, [0, 1, 4, 3, 2], [0.5, 2.25, 10.25, 25.04, 113.0]);
}

#[test]
fn cosine_puts_the_same_direction_first() {
    let angle = |x: f32, y: f32| 1.0 - x / x.hypot(y);
    let expect = [0.0, angle(1.9, 0.7), angle(9.0, 8.0), 1.0, angle(-3.0, -0.2)];
    check(Metric::Cosine, [1, 0, 2, 4, 3], expect);
}

#[test]
fn dot_puts_the_largest_product_first() {
    check(Metric::Dot, [2, 0, 1, 4, 3], [-18.0, -3.8, -1.0, 0.0, 6.0]);
}

#[test]
fn equal_distances_are_in_order_of_rows() {
    for metric in Metric::ALL {
        let points: [&[f32]; 9] = [&[0.6, 0.8]; 9];
        let vectors = Vectors::new(&points);
        let graph = vectors.graph(metric);
        let query = [1.0, 0.0];
        for k in 1..=9u32 {
            let expect: Vec<u32> = (0..k).collect();
            let exact = vectors.exact(metric, &query, k as usize);
            assert_eq!(rows_of(&exact), expect, "{metric}");
            assert_eq!(rows_of(&vectors.search(&graph, &query, 9, 9))[..k as usize], expect);
        }
    }
}

#[test]
fn distances_returned_are_those_of_the_kernel() {
    for metric in Metric::ALL {
        let vectors = Vectors::clustered(3, 500, 19, 7).fit(metric);
        let graph = vectors.graph(metric);
        let kernel = Kernel::new(Isa::Scalar, metric);
        let query = vectors.row(77);
        let found = vectors.search(&graph, query, 30, 60);
        assert!(found.is_sorted_by(|a, b| (a.distance, a.row) < (b.distance, b.row)));
        for found in found {
            let expect = kernel.distance(query, vectors.row(found.row)) + 0.0;
            assert_eq!(found.distance.to_bits(), expect.to_bits(), "{metric} {}", found.row);
        }
    }
}

#[test]
fn the_scan_agrees_with_a_plain_sort_for_every_k_range_and_filter() {
    for metric in Metric::ALL {
        let vectors = Vectors::clustered(5, 1300, 6, 11).fit(metric);
        let kernel = Kernel::new(Isa::detect(), metric);
        let query = &vectors.row(4)[..6];
        for (range, keep) in [(0..1300, 1), (0..1300, 3), (100..101, 1), (64..777, 2), (9..9, 1)] {
            let live = |row: u32| row.is_multiple_of(keep);
            let mut expect: Vec<Neighbor> = (range.clone().filter(|&row| live(row)))
                .map(|row| {
                    let distance = kernel.distance(query, &vectors.row(row)[..6]);
                    Neighbor { distance, row }
                })
                .collect();
            expect.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
            for k in [0, 1, 2, 10, 600, 1300, usize::MAX] {
                let mut found = Vec::new();
                let live: Option<&dyn Fn(u32) -> bool> = Some(&live);
                vectors.with_rows(|rows| {
                    exact(rows, range.clone(), query, k, live, kernel, &mut found);
                });
                assert_eq!(found, expect[..k.min(expect.len())], "{metric} {range:?} {keep} {k}");
            }
        }
    }
}

#[test]
fn overflowing_distances_neither_panic_nor_hang() {
    for metric in [Metric::L2, Metric::Dot] {
        let points: Vec<[f32; 2]> = (0..200u16)
            .map(|row| [f32::MAX / f32::from(row + 1), -f32::MAX / f32::from(row % 7 + 1)])
            .collect();
        let points: Vec<&[f32]> = points.iter().map(|point| &point[..]).collect();
        let vectors = Vectors::new(&points);
        let graph = vectors.graph(metric);
        let found = vectors.search(&graph, &[f32::MAX, f32::MAX], 20, 40);
        assert!(found.iter().all(|found| !found.distance.is_nan()), "{metric}: {found:?}");
        assert!(found.is_sorted_by(|a, b| (a.distance, a.row) < (b.distance, b.row)));
        assert!(!image(&graph).is_empty());
    }
}
