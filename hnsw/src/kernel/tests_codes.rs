//! Sums over codes: every instruction set against the scalar truth bit for bit, and the truth
//! against its formula, on every length and on hostile values.

#![expect(clippy::cast_precision_loss, reason = "lengths are exact in floats")]

use super::half::{narrow, widen};
use super::tests::Random;
use super::{Isa, NIBBLES_BLOCK, PLANES, Scalar, Simd, Task};

const SEED: u64 = 0x636f_6465_7320_0001;
/// Components of the longest code that is tried.
const LEN_MAX: usize = 2048;

fn byte(random: &mut Random) -> i8 {
    random.next().to_le_bytes()[7].cast_signed()
}

fn bytes(random: &mut Random, len: usize) -> [Vec<i8>; 4] {
    std::array::from_fn(|_| (0..len).map(|_| byte(random)).collect())
}

/// Four sums over halves, one after the other and at once.
struct Halves<'a, const L2: bool> {
    a: &'a [f32],
    b: [&'a [i8]; 4],
    scales: [f32; 4],
}

impl<const L2: bool> Task for Halves<'_, L2> {
    type Output = [[f32; 4]; 2];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [[f32; 4]; 2] {
        let Self { a, b, scales } = self;
        let one = |row: usize| simd.sum_halves::<L2>(a, b[row], scales[row]);
        [std::array::from_fn(one), simd.sum_halves4::<L2>(a, b, scales)]
    }
}

#[track_caller]
fn check_halves<const L2: bool>(a: &[f32], b: [&[i8]; 4], scales: [f32; 4], what: &str) {
    let [truth, _] = Halves::<L2> { a, b, scales }.run(Scalar);
    for row in 0..4 {
        let halves = b[row].as_chunks::<2>().0.iter();
        let halves = halves.map(|half| widen(u16::from_le_bytes(half.map(i8::cast_unsigned))));
        let pairs = a.iter().zip(halves).map(|(&a, b)| (f64::from(a), f64::from(b)));
        let scale = f64::from(scales[row]);
        let terms = pairs.map(|(a, b)| if L2 { (a - b * scale).powi(2) } else { a * b });
        let add = |(sum, size): (f64, f64), term: f64| (sum + term, size + term.abs());
        let (expect, size) = terms.fold((0.0, 0.0), add);
        if size > f64::from(f32::MAX) / 2.0 {
            continue; // Beyond f32: agreement of the instruction sets is all that is asked.
        }
        let n = a.len() as f64;
        // A product with a scale that becomes subnormal is off by half of the smallest.
        let underflow = 8.0 * n * f64::from(f32::from_bits(1));
        let bound = (n / 16.0 + 4.0) * f64::from(f32::EPSILON) * size + underflow;
        let error = (f64::from(truth[row]) - expect).abs();
        assert!(error <= bound, "{what}: {n}, {scale}: {} for {expect}", truth[row]);
    }
    for isa in Isa::available() {
        for found in isa.run(Halves::<L2> { a, b, scales }) {
            for (found, truth) in found.iter().zip(truth) {
                let is_same = found.to_bits() == truth.to_bits();
                let are_nan = found.is_nan() && truth.is_nan();
                assert!(
                    is_same || are_nan,
                    "{what}: {} on {}: {found}, not {truth}",
                    a.len(),
                    isa.name(),
                );
            }
        }
    }
}

type Component = fn(&mut Random) -> f32;

/// Kinds of components of a query, from the ordinary to the hostile.
const COMPONENTS: [(&str, Component); 6] = [
    ("unit", Random::unit),
    ("subnormal", |r| r.unit() * f32::MIN_POSITIVE),
    ("large", |r| r.unit() * 1e17),
    ("overflowing", |r| r.unit() * f32::MAX),
    ("zeros", |r| if r.next() & 1 == 0 { 0.0 } else { -0.0 }),
    ("equal", |_| 0.75),
];

type Half = fn(&mut Random) -> u16;

/// Kinds of halves, of which none is infinite.
const HALVES: [(&str, Half); 5] = [
    ("unit", |r| narrow(r.unit())),
    ("subnormal", |r| narrow(r.unit() * 6e-5)),
    ("largest", |r| if r.next() & 1 == 0 { 0x7bff } else { 0xfbff }),
    ("any", |r| {
        let [low, high, ..] = r.next().to_le_bytes();
        u16::from_le_bytes([low, if high & 0x7c == 0x7c { high & !0x40 } else { high }])
    }),
    ("equal", |_| 0x3a00),
];

#[test]
fn sums_over_halves_are_within_the_bound_and_the_same_on_every_instruction_set() {
    let mut random = Random(SEED);
    let check = |random: &mut Random, a: &[f32], half: Half, what: &str| {
        let b: [Vec<i8>; 4] = std::array::from_fn(|_| {
            let halves = (0..a.len()).flat_map(|_| half(random).to_le_bytes());
            halves.map(u8::cast_signed).collect()
        });
        let b = b.each_ref().map(|b| &b[..]);
        let (least, most) = (f32::MIN_POSITIVE, 2f32.powi(127));
        for scales in [[1.0; 4], [0.5, 4.0, 2f32.powi(-40), 2f32.powi(90)], [least, most, 1.0, 2.0]]
        {
            check_halves::<true>(a, b, scales, what);
            check_halves::<false>(a, b, scales, what);
        }
    };
    for len in (0..=LEN_MAX).step_by(16) {
        let a: Vec<f32> = (0..len).map(|_| random.unit()).collect();
        check(&mut random, &a, |r| narrow(r.unit()), "unit");
    }
    for (name, component) in COMPONENTS {
        for (half_name, half) in HALVES {
            for len in [16, 32, 48, 784] {
                let a: Vec<f32> = (0..len).map(|_| component(&mut random)).collect();
                check(&mut random, &a, half, &format!("{name} and {half_name}"));
            }
        }
    }
}

/// Four sums over nibbles, one after the other and at once.
struct Nibbles<'a> {
    a: &'a [i8],
    b: [&'a [i8]; 4],
}

impl Task for Nibbles<'_> {
    type Output = [[i32; 4]; 2];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [[i32; 4]; 2] {
        let one = |row: usize| simd.dot_nibbles(self.a, self.b[row]);
        [std::array::from_fn(one), simd.dot_nibbles4(self.a, self.b)]
    }
}

#[test]
fn sums_over_nibbles_are_their_formula_on_every_instruction_set() {
    let mut random = Random(SEED);
    for len in (0..=LEN_MAX).step_by(NIBBLES_BLOCK).chain([65_536]) {
        for round in 0..4 {
            let number = |random: &mut Random| match round {
                0 => byte(random).max(-127),
                1 => 127,
                2 => -127,
                _ => [127, -127][usize::from(byte(random) < 0)],
            };
            let a: Vec<i8> = (0..len).map(|_| number(&mut random)).collect();
            let mut b = bytes(&mut random, len / 2);
            if round > 0 {
                b[1].fill(-1);
                b[2].fill(0);
                b[3].fill(0x0f);
            }
            let b = b.each_ref().map(|b| &b[..]);
            let expect = b.map(|b| {
                let nibble = |at: usize| {
                    let byte = b[at / NIBBLES_BLOCK * 32 + at % 32].cast_unsigned();
                    i32::from(if at % NIBBLES_BLOCK < 32 { byte & 15 } else { byte >> 4 })
                };
                (0..len).map(|at| i32::from(a[at]) * nibble(at)).sum::<i32>()
            });
            for isa in Isa::available() {
                let found = isa.run(Nibbles { a: &a, b });
                assert_eq!(found, [expect; 2], "{len}, {round}, {}", isa.name());
            }
        }
    }
}

/// Four sums over bits and four counts, one after the other and at once.
struct Bits<'a> {
    planes: &'a [u64],
    b: [&'a [i8]; 4],
}

impl Task for Bits<'_> {
    type Output = ([[i32; 4]; 2], [[u32; 4]; 2]);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let Self { planes, b } = self;
        let dot = |row: usize| simd.dot_bits(planes, b[row]);
        let dots = [std::array::from_fn(dot), simd.dot_bits4(planes, b)];
        let words = &planes[..planes.len() / PLANES];
        let count = |row: usize| simd.count_differing(words, b[row]);
        (dots, [std::array::from_fn(count), simd.count_differing4(words, b)])
    }
}

#[test]
fn sums_and_counts_of_bits_are_their_formulas_on_every_instruction_set() {
    let mut random = Random(SEED);
    for words in (0..=LEN_MAX / 64).chain([1024]) {
        for round in 0..3 {
            let len = 64 * words;
            let mut planes: Vec<u64> = (0..PLANES * words).map(|_| random.next()).collect();
            // The bytes of a code go on, to its terms.
            let mut b = bytes(&mut random, 8 * words + 16);
            if round > 0 {
                b[1].fill(-1);
                b[2].fill(0);
                planes.fill(if round == 1 { u64::MAX } else { 0 });
                planes[..3 * words].fill(0);
            }
            let b = b.each_ref().map(|b| &b[..]);
            let bit = |b: &[i8], at: usize| b[at / 8] >> (at % 8) & 1 == 1;
            let plane = |plane: usize, at: usize| planes[plane * words + at / 64] >> (at % 64) & 1;
            let number = |at: usize| {
                let weight = |p: usize, weight: i32| if plane(p, at) == 1 { weight } else { 0 };
                weight(0, 1) + weight(1, 2) + weight(2, 4) + weight(3, -8)
            };
            let dots = b.map(|b| (0..len).filter(|&at| bit(b, at)).map(number).sum::<i32>());
            let counts = b.map(|b| {
                let differing = (0..len).filter(|&at| bit(b, at) != (plane(0, at) == 1));
                u32::try_from(differing.count()).expect("few")
            });
            for isa in Isa::available() {
                let found = isa.run(Bits { planes: &planes, b });
                assert_eq!(found, ([dots; 2], [counts; 2]), "{words}, {round}, {}", isa.name());
            }
        }
    }
}
