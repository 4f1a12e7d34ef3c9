//! Products of sixteen queries and twelve rows at a time: most multiplications for each load.
//!
//! These sums are near the truth, not the truth: they are added in another order and, where the
//! CPU can, fused. They serve to pass over rows that cannot be among the nearest; `exact::margin`
//! says how far they may be off, and whatever they do not rule out is scored by `Kernel`.

use std::ops::Range;

use super::{Isa, LANES};

#[cfg(target_arch = "x86_64")]
use super::Avx512;
#[cfg(target_arch = "x86_64")]
use super::tile_avx2::{self, Fma};
#[cfg(target_arch = "x86_64")]
use super::tile_avx512;

/// Rows of a tile.
pub(crate) const TILE_ROWS: usize = 12;

/// One component of sixteen queries.
pub(crate) type Lanes = [f32; LANES];

/// Components that are taken at a time: rows are a multiple of it, so nothing is left over.
pub(crate) const STEP: usize = 8;

/// A sum for each row and each query.
pub(crate) type Sums = [Lanes; TILE_ROWS];

/// The instructions that compute tiles.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tile {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(Fma),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Tile {
    /// Those that go with `isa`: plain Rust where there are none of their own, and where 256-bit
    /// vectors come without fused steps.
    pub(crate) fn of(isa: Isa) -> Self {
        match isa {
            Isa::Scalar => Self::Scalar,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(proof) => Fma::detect(proof).map_or(Self::Scalar, Self::Avx2),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(proof) => Self::Avx512(proof),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => Self::Scalar,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Isa::WasmSimd => Self::Scalar,
        }
    }

    /// Sets `sums[r][l]` to the sum over `panel[i][l] * rows[r][i]`, where `i` counts components,
    /// and `part` says which steps of the rows the panel stands for. Where the part does not begin
    /// at 0, the sum is added to `sums[r][l]` instead. A term is rounded at most as often as if
    /// they were multiplied and added to zero one by one.
    ///
    /// # Panics
    /// If the part has another length than the panel, or a row ends before it.
    #[inline]
    pub(crate) fn add(
        self,
        panel: &[[Lanes; STEP]],
        rows: &[&[[f32; STEP]]; TILE_ROWS],
        part: Range<usize>,
        sums: &mut Sums,
    ) {
        assert_eq!(part.len(), panel.len(), "steps of the rows and of the panel");
        match self {
            Self::Scalar => add(panel, rows, part, sums),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(proof) => tile_avx2::add(proof, panel, rows, part, sums),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(proof) => tile_avx512::add(proof, panel, rows, part, sums),
        }
    }

    /// For each row `r` a bit for each lane `l`: 0 if `weights[l] * offsets[r] + sums[r][l]` is
    /// above `limits[l]`, else (also where one of them is not a number) 1.
    #[inline]
    pub(crate) fn survivors(
        self,
        sums: &Sums,
        weights: &Lanes,
        limits: &Lanes,
        offsets: &[f32; TILE_ROWS],
    ) -> [u16; TILE_ROWS] {
        match self {
            Self::Scalar => survivors(sums, weights, limits, offsets),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(proof) => tile_avx2::survivors(proof, sums, weights, limits, offsets),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(proof) => tile_avx512::survivors(proof, sums, weights, limits, offsets),
        }
    }
}

fn add(
    panel: &[[Lanes; STEP]],
    rows: &[&[[f32; STEP]]; TILE_ROWS],
    part: Range<usize>,
    sums: &mut Sums,
) {
    for (row, sums) in rows.iter().zip(sums) {
        let mut block = [0.0; LANES];
        for (lanes, component) in panel.as_flattened().iter().zip(row[part.clone()].as_flattened())
        {
            for (sum, lane) in block.iter_mut().zip(lanes) {
                *sum += lane * component;
            }
        }
        for (sum, block) in sums.iter_mut().zip(block) {
            *sum = if part.start == 0 { block } else { *sum + block };
        }
    }
}

fn survivors(
    sums: &Sums,
    weights: &Lanes,
    limits: &Lanes,
    offsets: &[f32; TILE_ROWS],
) -> [u16; TILE_ROWS] {
    let mut found = [0; TILE_ROWS];
    for ((found, sums), offset) in found.iter_mut().zip(sums).zip(offsets) {
        for lane in 0..LANES {
            let is_above = weights[lane] * offset + sums[lane] > limits[lane];
            *found |= u16::from(!is_above) << lane;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers: every order of addition gives the same sum, without rounding.
    fn component(seed: usize) -> f32 {
        f32::from(u8::try_from(seed * seed % 23).expect("small")) - 11.0
    }

    #[test]
    fn sums_begin_at_zero_and_go_on_from_part_to_part() {
        for isa in Isa::available() {
            for (first, steps) in [(0, 0), (0, 1), (1, 2), (2, 5), (7, 32)] {
                let len = steps * STEP;
                let panel: Vec<Lanes> =
                    (0..len).map(|i| std::array::from_fn(|lane| component(7 * i + lane))).collect();
                let rows: [Vec<f32>; TILE_ROWS] =
                    std::array::from_fn(|r| (0..len).map(|i| component(3 * i + 5 * r)).collect());
                let steps_of = rows.each_ref().map(|row| row.as_chunks().0);
                let mut sums = [[2.5; LANES]; TILE_ROWS];
                let (left, right) = panel.as_chunks().0.split_at(first);
                for (panel, part) in [(left, 0..first), (right, first..steps)] {
                    Tile::of(isa).add(panel, &steps_of, part, &mut sums);
                }
                for (row, sums) in rows.iter().zip(sums) {
                    for (lane, sum) in sums.iter().enumerate() {
                        let products = row.iter().zip(&panel).map(|(x, lanes)| x * lanes[lane]);
                        let expect = products.sum::<f32>() + 0.0;
                        assert_eq!((sum + 0.0).to_bits(), expect.to_bits(), "{isa:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn only_sums_above_the_limit_are_passed_over() {
        let special = [0.0, -1.0, 2.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        for isa in Isa::available() {
            for weight in special {
                for limit in special {
                    let sums: Sums = std::array::from_fn(|row| {
                        std::array::from_fn(|lane| special[(row + lane) % special.len()])
                    });
                    let offsets = std::array::from_fn(|row| special[row / 2]);
                    let (weights, limits) = ([weight; LANES], [limit; LANES]);
                    let found = Tile::of(isa).survivors(&sums, &weights, &limits, &offsets);
                    let expect = survivors(&sums, &weights, &limits, &offsets);
                    assert_eq!(found, expect, "{} {weight} {limit}", isa.name());
                }
            }
        }
        let mut sums = [[0.0; LANES]; TILE_ROWS];
        sums[3][5] = 1.5;
        sums[11][15] = 1.0;
        let found = survivors(&sums, &[1.0; LANES], &[1.0; LANES], &[0.0; TILE_ROWS]);
        assert_eq!((found[3], found[11]), (!(1 << 5), u16::MAX));
    }

    #[test]
    fn rows_that_end_before_the_part_are_refused() {
        for isa in Isa::available() {
            for row in 0..TILE_ROWS {
                let mut rows: [&[[f32; STEP]]; TILE_ROWS] = [&[[0.0; STEP]; 4]; TILE_ROWS];
                rows[row] = &[[0.0; STEP]; 3];
                let add = |part| {
                    let mut sums = [[0.0; LANES]; TILE_ROWS];
                    let panel = [[[0.0; LANES]; STEP]; 2];
                    Tile::of(isa).add(&panel, &rows, part, &mut sums);
                };
                add(1..3);
                assert!(std::panic::catch_unwind(|| add(2..4)).is_err(), "{isa:?} {row}");
                assert!(std::panic::catch_unwind(|| add(0..3)).is_err(), "{isa:?} {row}");
            }
        }
    }
}
