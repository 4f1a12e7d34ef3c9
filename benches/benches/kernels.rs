//! Distances from one query to rows, by metric, dimension and instruction set.
//!
//! A pass scores 256 rows four at a time: they fit the second-level cache, so that arithmetic is
//! measured and not memory. Before a kernel is timed its answers are held to sums in f64 and, bit
//! for bit, to those of plain Rust.

#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use gannet_benches::Vectors;
use gannet_hnsw::{Isa, Kernel, Metric};

const ROWS: u32 = 256;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for metric in Metric::ALL {
        let mut group = criterion.benchmark_group(format!("kernels/{metric}"));
        for dims in [128, 768] {
            let vectors = Vectors::clustered(1, ROWS + 1, dims, 8, metric);
            group.throughput(Throughput::Elements(ROWS.into()));
            for isa in Isa::available() {
                let kernel = Kernel::new(isa, metric);
                check(kernel, &vectors);
                group.bench_function(BenchmarkId::new(isa.name(), dims), |bencher| {
                    bencher.iter(|| sum_of_distances(kernel, black_box(&vectors)));
                });
            }
        }
        group.finish();
    }
    criterion.final_summary();
}

fn query(vectors: &Vectors) -> &[f32] {
    vectors.row(ROWS)
}

fn sum_of_distances(kernel: Kernel, vectors: &Vectors) -> f32 {
    let four = |row: u32| {
        let rows = [row, row + 1, row + 2, row + 3].map(|row| vectors.row(row));
        kernel.distance4(query(vectors), rows).into_iter().sum::<f32>()
    };
    (0..ROWS).step_by(4).map(four).sum()
}

/// # Panics
/// If an answer is farther from the truth than [`Kernel`] promises, or has other bits than plain
/// Rust gives.
fn check(kernel: Kernel, vectors: &Vectors) {
    let scalar = Kernel::new(Isa::Scalar, kernel.metric());
    let query = query(vectors);
    for row in 0..ROWS {
        let vector = vectors.row(row);
        let found = kernel.distance(query, vector);
        let terms = query.iter().zip(vector).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let terms: Vec<f64> = match kernel.metric() {
            Metric::L2 | Metric::Hamming => terms.map(|(a, b)| (a - b).powi(2)).collect(),
            Metric::Cosine | Metric::Dot => terms.map(|(a, b)| -a * b).collect(),
        };
        let start = if kernel.metric() == Metric::Cosine { 1.0 } else { 0.0 };
        let truth = start + terms.iter().sum::<f64>();
        let size = start + terms.iter().map(|term| term.abs()).sum::<f64>();
        let steps = u32::try_from(terms.len() / 16 + 4).expect("few dimensions");
        let bound = f64::from(steps) * f64::from(f32::EPSILON) * size;
        let name = kernel.isa().name();
        let error = (f64::from(found) - truth).abs();
        assert!(error <= bound, "{name}, row {row}: {found} is {error} from {truth}");
        let plain = scalar.distance(query, vector);
        assert_eq!(found.to_bits(), plain.to_bits(), "{name}, row {row}: {found}, not {plain}");
    }
}
