//! The truth: what every kernel computes, in plain Rust.
//!
//! Sixteen partial sums, each rounded after every multiplication and addition, added up in a fixed
//! tree: lane `i` and lane `i + 8`, then `i + 4`, `i + 2`, `i + 1`.

use super::{LANES, tail_block};

/// The sum over `(a - b)^2` if `L2`, else over `a * b`. Both of one length, which the caller
/// checked.
pub(super) fn sum<const L2: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (a_blocks, a_tail) = a.as_chunks();
    let (b_blocks, b_tail) = b.as_chunks();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        add_block::<L2>(&mut sums, a, b);
    }
    if !a_tail.is_empty() {
        add_block::<L2>(&mut sums, &tail_block(a_tail), &tail_block(b_tail));
    }
    fold(sums)
}

/// The tree.
#[inline(always)]
pub(super) fn fold(mut sums: [f32; LANES]) -> f32 {
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
    }
    sums[0]
}

/// `sum` of `a` and each of the vectors that follow one another in `run`.
pub(super) fn sums<const L2: bool>(a: &[f32], run: &[f32], out: &mut [f32]) {
    for (b, out) in run.chunks_exact(a.len()).zip(out) {
        *out = sum::<L2>(a, b);
    }
}

#[inline]
fn add_block<const L2: bool>(sums: &mut [f32; LANES], a: &[f32; LANES], b: &[f32; LANES]) {
    for lane in 0..LANES {
        sums[lane] += if L2 {
            let difference = a[lane] - b[lane];
            difference * difference
        } else {
            a[lane] * b[lane]
        };
    }
}
