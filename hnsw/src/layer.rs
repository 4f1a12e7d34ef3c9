//! On which layers a new row number stands: a function of the seed and the number alone.
//!
//! A graph draws them when it makes room for the number, and keeps them: rows that were numbered
//! anew stand on others than these. No generator is shared and no float is involved, so every
//! machine and every thread agrees.

/// The highest layer a row can stand on.
pub(crate) const LAYER_MAX: u8 = 15;

/// The top layer that is drawn for `row`: at least `l` with probability `m^-l`, which is Malkov and
/// Yashunin's `floor(-ln(u) / ln(m))` in integers. `u` is output `row + 1` of splitmix64 seeded
/// with `seed`.
pub(crate) fn layer_of(seed: u64, row: u32, m: u16) -> u8 {
    let unit = splitmix64(seed, u64::from(row) + 1);
    let m = u64::from(m);
    let mut bound = u64::MAX / m;
    let mut layer = 0;
    while unit < bound && layer < LAYER_MAX {
        layer += 1;
        bound /= m;
    }
    layer
}

/// Output `count` (from 1) of the generator splitmix64 (Steele, Lea and Flood, 2014) from `seed`.
pub(crate) fn splitmix64(seed: u64, count: u64) -> u64 {
    let mut z = seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_its_published_numbers() {
        let expect: [u64; 5] = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!([1, 2, 3, 4, 5].map(|count| splitmix64(1_234_567, count)), expect);
    }

    #[test]
    fn layers_thin_out_by_m() {
        for m in [2u16, 16, 128] {
            let rows = 200_000;
            let mut at_least = [0u32; 3];
            for row in 0..rows {
                for layer in 0..=layer_of(99, row, m).min(2) {
                    at_least[usize::from(layer)] += 1;
                }
            }
            assert_eq!(at_least[0], rows);
            for layer in [1, 2] {
                let expect = f64::from(rows) / f64::from(m).powi(layer);
                let found = f64::from(at_least[usize::try_from(layer).expect("1 or 2")]);
                assert!((found - expect).abs() < 5.0 * expect.sqrt(), "{m} {layer} {found}");
            }
        }
    }

    #[test]
    fn layers_are_capped() {
        let top = (0..2_000_000).map(|row| layer_of(1, row, 2)).max();
        assert_eq!(top, Some(LAYER_MAX));
    }

    #[test]
    fn layers_of_a_seed_never_change() {
        let high: Vec<u32> = (0..600).filter(|&row| layer_of(7, row, 16) > 0).take(8).collect();
        assert_eq!(high, [1, 31, 43, 44, 71, 84, 101, 172]);
    }
}
