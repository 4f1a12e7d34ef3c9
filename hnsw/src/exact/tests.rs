//! Vectors that the bounds of `margin` and `sketch` must hold for.

use crate::kernel::tests::{COMPONENTS, Random};
use crate::{Isa, Kernel, Metric};

/// Calls `check` with every kernel, a query and a row, and what is told of a failure: components of
/// every kind, far from each other, the same, opposite, and as near as can be.
pub(super) fn hostile_pairs(
    seed: u64,
    strides: &[usize],
    check: impl Fn(Kernel, &[f32], &[f32], &str),
) {
    let mut random = Random(seed);
    for (name, component) in COMPONENTS {
        for (other_name, other) in COMPONENTS {
            for &stride in strides {
                let query: Vec<f32> = (0..stride).map(|_| component(&mut random)).collect();
                let far: Vec<f32> = (0..stride).map(|_| other(&mut random)).collect();
                let opposite: Vec<f32> = query.iter().map(|q| -q).collect();
                let near: Vec<f32> = query.iter().map(|q| q.next_up()).collect();
                for metric in Metric::ALL {
                    for isa in Isa::available() {
                        let told =
                            format!("{name} and {other_name}: {metric} of {stride} on {isa:?}");
                        for row in [&far, &query, &opposite, &near] {
                            check(Kernel::new(isa, metric), &query, row, &told);
                        }
                    }
                }
            }
        }
    }
}
