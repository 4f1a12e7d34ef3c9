//! The exact search of one query and of many, against a plain sort of the scalar truth.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use gannet_hnsw::{Executor, Isa, Kernel, Metric, Neighbor, Rows, exact, exact_batch};

use crate::data::{Random, Vectors};

type Component = fn(&mut Random) -> f32;

/// In -1 to 1.
fn unit(random: &mut Random) -> f32 {
    let bits = u16::try_from(random.next() >> 48).expect("16 bits");
    f32::from(bits) / 32_768.0 - 1.0
}

/// Kinds of components, from the ordinary to the hostile.
const COMPONENTS: [(&str, Component); 10] = [
    ("unit", unit),
    ("few values, so that many rows are equal or equally far", |r| unit(r).round()),
    ("far from zero and near each other", |r| 1000.0 + unit(r) / 256.0),
    ("subnormal", |r| unit(r) * f32::MIN_POSITIVE),
    ("products subnormal", |r| unit(r) * 1e-22),
    ("large", |r| unit(r) * 1e17),
    ("overflowing", |r| unit(r) * f32::MAX),
    ("now and then huge", |r| if r.below(40) == 0 { unit(r) * 1e30 } else { unit(r) }),
    ("now and then no number", |r| match r.below(200) {
        0 => f32::NAN,
        1 => f32::INFINITY,
        2 => f32::NEG_INFINITY,
        _ => unit(r),
    }),
    ("all magnitudes", |r| {
        let exponent = i32::try_from(r.below(120)).expect("small") - 60;
        unit(r) * 2f32.powi(exponent)
    }),
];

fn vectors(random: &mut Random, len: usize, dims: usize, component: Component) -> Vec<Vec<f32>> {
    (0..len).map(|_| (0..dims).map(|_| component(random)).collect()).collect()
}

fn stored(vectors: &[Vec<f32>]) -> Vectors {
    Vectors::new(&vectors.iter().map(|vector| &vector[..]).collect::<Vec<_>>())
}

/// Every live row of the range, in order of distance and number, by the scalar truth.
fn naive(
    rows: &Rows<'_>,
    range: Range<u32>,
    query: &[f32],
    live: &dyn Fn(u32) -> bool,
    metric: Metric,
) -> Vec<Neighbor> {
    let kernel = Kernel::new(Isa::Scalar, metric);
    let distance = |row| {
        let distance = kernel.distance(query, &rows.row(row)[..query.len()]);
        // No number is infinitely far, and zero has no sign.
        if distance.is_nan() { f32::INFINITY } else { distance + 0.0 }
    };
    let mut all: Vec<Neighbor> = range
        .filter(|&row| live(row))
        .map(|row| Neighbor { distance: distance(row), row })
        .collect();
    all.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
    all
}

fn bits(found: &[Neighbor]) -> Vec<(u32, u32)> {
    found.iter().map(|found| (found.row, found.distance.to_bits())).collect()
}

/// Both searches on every metric and instruction set, for several `k`.
#[track_caller]
fn check(
    vectors: &Vectors,
    range: &Range<u32>,
    queries: &[&[f32]],
    live: Option<&(dyn Fn(u32) -> bool + Sync)>,
    executors: &[Executor],
    what: &str,
) {
    vectors.with_rows(|rows| {
        for metric in Metric::ALL {
            let is_live = |row| live.is_none_or(|live| live(row));
            let all =
                queries.iter().map(|query| naive(rows, range.clone(), query, &is_live, metric));
            let all: Vec<Vec<Neighbor>> = all.collect();
            for isa in Isa::available() {
                let kernel = Kernel::new(isa, metric);
                for k in [0, 1, 10, usize::MAX] {
                    let what = format!("{what}: {metric}, {isa:?}, k {k}");
                    let expect: Vec<_> =
                        all.iter().map(|all| bits(&all[..k.min(all.len())])).collect();
                    for (query, expect) in queries.iter().zip(&expect) {
                        let mut found = Vec::new();
                        let live = live.map(|live| live as &dyn Fn(u32) -> bool);
                        exact(rows, range.clone(), query, k, live, kernel, &mut found);
                        assert_eq!(&bits(&found), expect, "{what}");
                    }
                    for executor in executors {
                        let range = range.clone();
                        let found = exact_batch(rows, range, queries, k, live, kernel, executor);
                        let found: Vec<_> = found.iter().map(|found| bits(found)).collect();
                        assert_eq!(found, expect, "{what}, {} threads", executor.thread_count());
                    }
                }
            }
        }
    });
}

#[test]
fn a_batch_finds_what_a_plain_sort_finds_in_any_number_of_dimensions() {
    for dims in (1..=130).chain([255, 256, 257, 784, 1000]) {
        let mut random = Random(dims as u64);
        let base = stored(&vectors(&mut random, 100, dims, unit));
        let queries = vectors(&mut random, 20, dims, unit);
        let queries: Vec<&[f32]> = queries.iter().map(|query| &query[..]).collect();
        let what = format!("{dims} dimensions");
        check(&base, &(0..100), &queries, None, &[Executor::Serial], &what);
    }
}

#[test]
fn a_batch_finds_what_a_plain_sort_finds_among_hostile_values() {
    for (index, (name, component)) in COMPONENTS.into_iter().enumerate() {
        for (other_name, other) in COMPONENTS {
            for dims in [1, 3, 40, 300] {
                let mut random = Random(index as u64);
                let mut rows = vectors(&mut random, 120, dims, component);
                let mut queries = vectors(&mut random, 3, dims, other);
                // A row itself, its opposite, its neighbour by a bit; and some rows twice.
                queries.push(rows[70].clone());
                queries.push(rows[60].iter().map(|x| -x).collect());
                queries.push(rows[50].iter().map(|x| x.next_up()).collect());
                rows.extend_from_within(40..80);
                let queries: Vec<&[f32]> = queries.iter().map(|query| &query[..]).collect();
                let what = format!("{name}, queries {other_name}, {dims} dimensions");
                check(&stored(&rows), &(0..160), &queries, None, &[Executor::Serial], &what);
            }
        }
    }
}

/// Rows among which products rule out nothing, then rows among which they do, and so on.
#[test]
fn rows_that_look_alike_and_rows_that_do_not_may_follow_each_other() {
    let mut random = Random(3);
    let mut rows = Vec::new();
    for (len, kind) in [(1500, 2), (3000, 0), (500, 2), (300, 6), (2000, 0)] {
        rows.extend(vectors(&mut random, len, 40, COMPONENTS[kind].1));
    }
    let mut queries = vectors(&mut random, 5, 40, unit);
    queries.extend(vectors(&mut random, 15, 40, COMPONENTS[2].1));
    let queries: Vec<&[f32]> = queries.iter().map(|query| &query[..]).collect();
    check(&stored(&rows), &(0..7300), &queries, None, &[Executor::Serial], "alike");
}

#[test]
fn any_number_of_queries_and_threads_gives_the_same_answers() {
    let executors = [1, 2, 3, 8].map(|threads| Executor::threads(threads).unwrap());
    let mut random = Random(11);
    let base = stored(&vectors(&mut random, 20_000, 3, unit));
    let queries = vectors(&mut random, 300, 3, unit);
    let queries: Vec<&[f32]> = queries.iter().map(|query| &query[..]).collect();
    base.with_rows(|rows| {
        let kernel = Kernel::new(Isa::detect(), Metric::L2);
        let expect: Vec<_> = queries
            .iter()
            .map(|query| {
                let mut found = Vec::new();
                exact(rows, 5..19_000, query, 7, None, kernel, &mut found);
                bits(&found)
            })
            .collect();
        for count in [0, 1, 2, 3, 8, 9, 16, 17, 128, 129, 300] {
            for executor in &executors {
                let queries = &queries[..count];
                let found = exact_batch(rows, 5..19_000, queries, 7, None, kernel, executor);
                let found: Vec<_> = found.iter().map(|found| bits(found)).collect();
                let threads = executor.thread_count();
                assert_eq!(found, expect[..count], "{count} queries, {threads} threads");
            }
        }
    });
    let few = &queries[..4];
    let live = |row: u32| row.is_multiple_of(3);
    for range in [0..20_000, 3000..9000] {
        check(&base, &range, few, Some(&live), &executors, &format!("{range:?}"));
        check(&base, &range, &few[..1], None, &executors, &format!("{range:?}"));
    }
}

#[test]
fn dead_rows_are_not_found_however_many_there_are() {
    let mut random = Random(5);
    let base = stored(&vectors(&mut random, 700, 21, unit));
    let queries = vectors(&mut random, 18, 21, unit);
    let queries: Vec<&[f32]> = queries.iter().map(|query| &query[..]).collect();
    let fates: [&(dyn Fn(u32) -> bool + Sync); 6] = [
        &|_| true,
        &|_| false,
        &|row| row.is_multiple_of(2),
        &|row| row.is_multiple_of(50),
        &|row| row / 30 % 2 == 1,
        &|row| row != 333,
    ];
    for (index, live) in fates.into_iter().enumerate() {
        for range in [0..700, 13..650, 64..128, 333..334, 90..90] {
            let what = format!("filter {index}, {range:?}");
            check(&base, &range, &queries, Some(live), &[Executor::Serial], &what);
        }
    }
}

#[test]
fn a_filter_is_asked_once_a_row_for_all_queries_of_a_group() {
    let mut random = Random(6);
    let base = stored(&vectors(&mut random, 9000, 2, unit));
    let queries = vectors(&mut random, 128, 2, unit);
    let queries: Vec<&[f32]> = queries.iter().map(|query| &query[..]).collect();
    let kernel = Kernel::new(Isa::detect(), Metric::L2);
    for threads in [1, 3] {
        let executor = Executor::threads(threads).unwrap();
        let asked = AtomicU32::new(0);
        let live = |_| asked.fetch_add(1, Ordering::Relaxed) < u32::MAX;
        base.with_rows(|rows| {
            exact_batch(rows, 0..9000, &queries, 5, Some(&live), kernel, &executor)
        });
        assert_eq!(asked.into_inner(), 9000, "{threads} threads");
    }
}

#[test]
fn queries_may_come_with_their_padding() {
    let mut random = Random(8);
    let base = stored(&vectors(&mut random, 200, 9, unit));
    let padded: Vec<&[f32]> = (0..20).map(|row| base.row(row)).collect();
    let plain: Vec<&[f32]> = padded.iter().map(|query| &query[..9]).collect();
    let kernel = Kernel::new(Isa::detect(), Metric::Dot);
    base.with_rows(|rows| {
        let found = [padded, plain]
            .map(|queries| exact_batch(rows, 0..200, &queries, 9, None, kernel, &Executor::Serial));
        assert_eq!(found[0], found[1]);
    });
}

#[test]
fn queries_and_ranges_of_another_shape_are_refused() {
    let base = stored(&vec![vec![1.0; 9]; 20]);
    let kernel = Kernel::new(Isa::detect(), Metric::L2);
    let refuses = |range: Range<u32>, query: &[f32]| {
        let search = || {
            base.with_rows(|rows| {
                let queries = [&[0.0; 9], query];
                exact_batch(rows, range.clone(), &queries, 1, None, kernel, &Executor::Serial)
            })
        };
        std::panic::catch_unwind(search).is_err()
    };
    assert!(!refuses(0..20, &[0.0; 9]) && !refuses(0..20, &[0.0; 16]));
    assert!(refuses(0..21, &[0.0; 9]));
    for len in [0, 8, 10, 15, 17, 32] {
        assert!(refuses(0..20, &vec![0.0; len]), "{len}");
    }
}
