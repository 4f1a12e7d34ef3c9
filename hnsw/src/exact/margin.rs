//! How far a sum of `kernel::tile` may be off, turned into a test that never drops a near row.
//!
//! Write `q` and `x` for a query and a row, `n` for their floats, `u = 2^-24` for half the distance
//! of one to the next float, `e = 2^-149` for the smallest subnormal, `Q` and `X` for the sums of
//! squares, and `N` for the sum over `|q_i * x_i|`, which is at most `sqrt(Q * X)` and at most
//! `(Q + X) / 2`. A term that is rounded `k` times is off by at most `1.01 * k * u` of itself
//! (`k` is below 2^14), and each rounding of a product adds at most `e / 2` where it underflows.
//!
//! * A tile computes `p`, near `s * qx`, with `s` of -2 for L2 and -1 for dot products. A term is
//!   rounded once as a product, once an addition of its block of `b` components, and once a block:
//!   `m = b + 1 + n / b` times. So `|p - s * qx| <= 1.01 * m * u * |s| * N + n * e`.
//! * The truth `D` rounds a term at most `r = n / 16 + 7` times: difference (twice, as it is
//!   squared), product, `n / 16` additions in its lane, four across lanes. For L2 the sum of the
//!   magnitudes is the distance itself, at most `2 * (Q + X)`; for dot products it is `N`. Cosine
//!   rounds `1 - sum` once more: by `u` and by `u * 1.01 * N`.
//! * The sum of squares of a row is computed as the truth's dot product: within `1.01 * r * u`.
//!
//! Let `c = 1.02 * (m + 2 * r + 10) * u`. A row has an offset `h`, a query a weight `w`, and a
//! query whose `k`-th distance so far is `T` a limit `t`:
//!
//! | metric | `h` | `w` | `t` |
//! |---|---|---|---|
//! | L2 | `X * (1 - c)`, rounded down | 1 | `T - Q * (1 - c) + 8 * n * e`, rounded up |
//! | Dot | `sqrt(X)`, rounded up | `-c * sqrt(Q)`, rounded down | `T + 8 * n * e`, rounded up |
//! | Cosine | as Dot | as Dot | `T - 1 + 2 * u + 8 * n * e`, rounded up |
//!
//! If `w * h + p`, rounded at most twice, is above `t`, then `D > T`: for L2, the true distance
//! is `Q + X - 2qx`, and `D` is above it less `2 * 1.01 * r * u * (Q + X)`; `p` differs from `-2qx`
//! by at most `1.01 * m * u * (Q + X)`, and the rounding of `w * h + p` by at most
//! `2 * 1.01 * 3 * u * (Q + X)`, which together is less than `c * (Q + X)`. For dot products each
//! part is a share of `N <= sqrt(Q) * h`, and smaller. What is left of `c` pays for f64, in which
//! offsets and limits are computed, the absolute term for all that underflows.
//!
//! All that holds if nothing overflows, and nothing can while `Q` and `X` are at most 2^-8 of the
//! greatest float. Any other row has an offset, any other query a limit, that passes over nothing.

use crate::Metric;

/// Sums of squares up to this cannot overflow on any way, here or in the truth.
const SQUARES_MAX: f64 = f32::MAX as f64 / 256.0;

/// Half the distance of one to the next float.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// The bounds of one search.
#[derive(Clone, Copy, Debug)]
pub(super) struct Margin {
    metric: Metric,
    /// `c`.
    share: f64,
    /// By how much of itself a computed sum of squares may be off.
    squares_share: f64,
    /// By how much more it may be off where products underflow, and all that the limit adds.
    tiny: f64,
}

/// What a query contributes to the test.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryBound {
    pub(super) weight: f32,
    /// The limit, less the distance it is for.
    shift: f64,
}

impl Margin {
    /// For vectors of `stride` floats, of which `block` are summed before they join the rest.
    #[expect(clippy::cast_precision_loss, reason = "at most 2^16")]
    pub(super) fn new(metric: Metric, stride: usize, block: usize) -> Self {
        let tile_roundings = block + 1 + stride.div_ceil(block);
        let truth_roundings = stride.div_ceil(16) + 7;
        Self {
            metric,
            share: 1.02 * UNIT * (tile_roundings + 2 * truth_roundings + 10) as f64,
            squares_share: 1.02 * UNIT * truth_roundings as f64,
            tiny: 8.0 * stride as f64 * f64::from(f32::from_bits(1)),
        }
    }

    /// The factor of a query's components in a tile. Exact: a power of two.
    pub(super) fn scale(self) -> f32 {
        match self.metric {
            Metric::L2 | Metric::Hamming => -2.0,
            Metric::Cosine | Metric::Dot => -1.0,
        }
    }

    pub(super) fn query(self, query: &[f32]) -> QueryBound {
        let squares: f64 = query.iter().map(|&q| f64::from(q) * f64::from(q)).sum();
        let weight = match self.metric {
            Metric::L2 | Metric::Hamming => 1.0,
            Metric::Cosine | Metric::Dot => nearest_float(-self.share * squares.sqrt()).next_down(),
        };
        let shift = match self.metric {
            Metric::L2 | Metric::Hamming => -squares * (1.0 - self.share),
            Metric::Cosine => -1.0 + 2.0 * UNIT,
            Metric::Dot => 0.0,
        };
        let is_fit = squares <= SQUARES_MAX;
        QueryBound { weight, shift: if is_fit { shift + self.tiny } else { f64::INFINITY } }
    }

    /// The offset of a row whose sum of squares the kernel found to be `squares`.
    pub(super) fn offset(self, squares: f32) -> f32 {
        let squares = f64::from(squares);
        let is_fit = squares <= SQUARES_MAX;
        match self.metric {
            Metric::L2 | Metric::Hamming if is_fit => {
                let least = (squares - self.tiny) * (1.0 - self.squares_share - self.share);
                nearest_float(least).next_down()
            }
            Metric::Cosine | Metric::Dot if is_fit => {
                let most = (squares + self.tiny) * (1.0 + 2.0 * self.squares_share);
                nearest_float(most.sqrt()).next_up()
            }
            Metric::L2 | Metric::Hamming => f32::NEG_INFINITY,
            Metric::Cosine | Metric::Dot => f32::INFINITY,
        }
    }
}

impl QueryBound {
    /// The limit when the `k`-th distance so far is `distance`.
    #[inline]
    pub(super) fn limit(self, distance: f32) -> f32 {
        nearest_float(f64::from(distance) + self.shift).next_up()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding is what is asked for")]
fn nearest_float(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::super::batch::block_components;
    use super::*;
    use crate::exact::tests::hostile_pairs;
    use crate::kernel::tests::Random;
    use crate::kernel::tile::{Lanes, STEP, Sums, TILE_ROWS, Tile};
    use crate::{Isa, Kernel};

    const STRIDES: [usize; 7] = [16, 32, 128, 256, 272, 784, 2048];

    fn margin(metric: Metric, stride: usize) -> Margin {
        Margin::new(metric, stride, block_components(stride))
    }

    /// Whether `row` stays in the search when the `k`-th distance is `distance`.
    fn stays(isa: Isa, margin: Margin, query: &[f32], row: &[f32], distance: f32) -> bool {
        let (tile, steps) = (Tile::of(isa), block_components(query.len()) / STEP);
        let panel: Vec<Lanes> = query.iter().map(|q| [q * margin.scale(); 16]).collect();
        let tile_of_row = [row.as_chunks::<STEP>().0; TILE_ROWS];
        let mut sums: Sums = [[0.0; 16]; TILE_ROWS];
        for (index, panel) in panel.as_chunks::<STEP>().0.chunks(steps).enumerate() {
            let part = index * steps..index * steps + panel.len();
            tile.add(panel, &tile_of_row, part, &mut sums);
        }
        let bound = margin.query(query);
        let offset = margin.offset(-Kernel::new(isa, Metric::Dot).distance(row, row));
        let (weights, limits) = ([bound.weight; 16], [bound.limit(distance); 16]);
        let found = tile.survivors(&sums, &weights, &limits, &[offset; TILE_ROWS]);
        assert!(found == [u16::MAX; TILE_ROWS] || found == [0; TILE_ROWS], "{found:?}");
        found[0] != 0
    }

    #[test]
    fn a_row_at_the_bound_itself_is_never_passed_over() {
        hostile_pairs(0x6d61_7267_696e, &STRIDES, |kernel, query, row, told| {
            let (isa, margin) = (kernel.isa(), margin(kernel.metric(), query.len()));
            let distance = kernel.distance(query, row);
            let distance = if distance.is_nan() { f32::INFINITY } else { distance };
            assert!(stays(isa, margin, query, row, distance), "{told}");
        });
    }

    #[test]
    fn what_overflows_or_is_not_a_number_stays() {
        for isa in Isa::available() {
            for metric in Metric::ALL {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 2e18] {
                    let (bad, good) = ([bad; 16], [1.0; 16]);
                    for (query, row) in [(bad, good), (good, bad), (bad, bad)] {
                        let margin = margin(metric, 16);
                        assert!(stays(isa, margin, &query, &row, f32::MIN), "{metric} {isa:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_clearly_farther_is_passed_over() {
        let mut random = Random(7);
        for stride in STRIDES {
            let query: Vec<f32> = (0..stride).map(|_| random.unit()).collect();
            let row: Vec<f32> = (0..stride).map(|_| random.unit()).collect();
            let scale = query.iter().chain(&row).map(|x| x * x).sum::<f32>();
            for metric in Metric::ALL {
                for isa in Isa::available() {
                    let distance = Kernel::new(isa, metric).distance(&query, &row);
                    let margin = margin(metric, stride);
                    let bound = distance - 1e-4 * scale;
                    assert!(!stays(isa, margin, &query, &row, bound), "{metric} of {stride}");
                }
            }
        }
    }

    /// Every addition of the tile rounds up, by nearly half of its last place, and so nearly as far
    /// as the margin allows; the truth, with its sixteen sums, rounds next to nothing.
    #[test]
    fn roundings_that_all_go_one_way_stay_within_the_margin_and_not_within_half_of_it() {
        let small = 2f32.powi(-12) * (1.0 + 2f32.powi(-11));
        let query: [f32; 256] = std::array::from_fn(|i| match i {
            0 => 1.0,
            _ if i % 16 == 0 => 0.0,
            _ => small,
        });
        let row = query.map(|q| -q);
        for metric in Metric::ALL {
            for isa in Isa::available() {
                let distance = Kernel::new(isa, metric).distance(&query, &row);
                let whole = margin(metric, 256);
                let half = Margin { share: whole.share / 2.0, ..whole };
                assert!(stays(isa, whole, &query, &row, distance), "{metric} on {isa:?}");
                assert!(!stays(isa, half, &query, &row, distance), "{metric} on {isa:?}");
            }
        }
    }
}
