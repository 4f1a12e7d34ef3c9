//! A fixed rotation that spreads a vector's length evenly over its components, so that one step
//! serves all of them, be the data's dimensions of ever so unequal variance.
//!
//! Signs are turned by a fixed sequence, then a Hadamard transform mixes: the first and the last
//! power of two of the components where they are no power of two themselves; all of it twice. Cost:
//! `2 * dims * log2(dims)` additions. Equal on every CPU: additions in one order. (The idea, and
//! that two rounds do: Ailon and Chazelle, 2009; Andoni et al., 2015.)

use crate::layer::splitmix64;

const ROUNDS: u64 = 2;
const SEED: u64 = 0x726f_7461_7465;

/// Rotates `vector` and scales it by a power of two, so that its largest component was below 2;
/// returns the number to multiply it with to have its length again.
#[inline(always)]
pub(super) fn rotate(vector: &mut [f32]) -> f32 {
    let largest = largest(vector);
    if largest == 0.0 {
        return 0.0;
    }
    // A power of two, so nothing is rounded; a large one, so that huge numbers do not overflow.
    let scale = f32::from_bits(largest.to_bits() & 0x7f80_0000).max(f32::MIN_POSITIVE);
    let len = vector.len();
    let part = 1 << len.ilog2();
    #[expect(clippy::cast_precision_loss, reason = "a power of two")]
    let norm = 1.0 / (part as f32).sqrt();
    let mut factor = 1.0 / scale;
    for round in 0..ROUNDS {
        turn_signs(vector, round, factor);
        mix(&mut vector[..part]);
        if part < len {
            for component in &mut vector[..part] {
                *component *= norm;
            }
            mix(&mut vector[len - part..]);
            for component in &mut vector[len - part..] {
                *component *= norm;
            }
            factor = 1.0;
        } else {
            factor = norm;
        }
    }
    if part == len {
        for component in vector {
            *component *= norm;
        }
    }
    scale
}

/// The largest magnitude of a component.
#[inline(always)]
pub(crate) fn largest(vector: &[f32]) -> f32 {
    let (blocks, rest) = vector.as_chunks::<8>();
    let mut most = [0.0f32; 8];
    for block in blocks {
        for (most, component) in most.iter_mut().zip(block) {
            // Not `max`, which has to tell what is not a number.
            let magnitude = component.abs();
            *most = if magnitude > *most { magnitude } else { *most };
        }
    }
    most.iter().chain(rest).fold(0.0, |most, component| most.max(component.abs()))
}

/// Multiplies by `factor` and turns about half of the signs.
#[inline(always)]
fn turn_signs(vector: &mut [f32], round: u64, factor: f32) {
    for (count, part) in (1..).zip(vector.chunks_mut(32)) {
        let bits = splitmix64(SEED ^ round << 32, count);
        let bits = u32::try_from(bits >> 32).expect("32 bits");
        for (index, component) in (0..).zip(part) {
            let turned = (*component * factor).to_bits() ^ ((bits >> index) << 31);
            *component = f32::from_bits(turned);
        }
    }
}

/// The Hadamard transform of a power of two of numbers, of which the length grows by the root of
/// that power.
#[inline(always)]
fn mix(part: &mut [f32]) {
    let (blocks, rest) = part.as_chunks_mut::<8>();
    for block in blocks {
        mix_eight(block);
    }
    // Of fewer than eight there is no block.
    let mut half = if rest.is_empty() { 8 } else { 1 };
    while half < part.len() {
        for pair in part.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                (*low, *high) = (*low + *high, *low - *high);
            }
        }
        half *= 2;
    }
}

#[inline(always)]
fn mix_eight(block: &mut [f32; 8]) {
    let x = *block;
    let x = [
        x[0] + x[1],
        x[0] - x[1],
        x[2] + x[3],
        x[2] - x[3],
        x[4] + x[5],
        x[4] - x[5],
        x[6] + x[7],
        x[6] - x[7],
    ];
    let x = [
        x[0] + x[2],
        x[1] + x[3],
        x[0] - x[2],
        x[1] - x[3],
        x[4] + x[6],
        x[5] + x[7],
        x[4] - x[6],
        x[5] - x[7],
    ];
    *block = [
        x[0] + x[4],
        x[1] + x[5],
        x[2] + x[6],
        x[3] + x[7],
        x[0] - x[4],
        x[1] - x[5],
        x[2] - x[6],
        x[3] - x[7],
    ];
}
