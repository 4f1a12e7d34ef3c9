//! Every instruction set against the f64 oracle and, bit for bit, against the scalar truth.

#![expect(clippy::cast_precision_loss, reason = "lengths and 24-bit numbers are exact in floats")]

use super::{Isa, Kernel, Simd, Task, scalar_codes};
use crate::Metric;

const SEED: u64 = 0x006b_6572_6e65_6c73;

/// Splitmix64, for vectors that are the same on every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In -1 to 1.
    pub(crate) fn unit(&mut self) -> f32 {
        let bits = u32::try_from(self.next() >> 40).expect("24 bits");
        bits as f32 / 8_388_608.0 - 1.0
    }

    fn vector(&mut self, len: usize, component: Component) -> Vec<f32> {
        (0..len).map(|_| component(self)).collect()
    }
}

type Component = fn(&mut Random) -> f32;

/// Kinds of components, from the ordinary to the hostile.
pub(crate) const COMPONENTS: [(&str, Component); 9] = [
    ("unit", Random::unit),
    ("bytes", |r| (r.unit() * 255.0).abs().round()),
    ("far from zero", |r| 1000.0 + r.unit() / 64.0),
    ("subnormal", |r| r.unit() * f32::MIN_POSITIVE),
    ("products subnormal", |r| r.unit() * 1e-22),
    ("large", |r| r.unit() * 1e17),
    ("overflowing", |r| r.unit() * f32::MAX),
    ("zeros", |r| if r.next() & 1 == 0 { 0.0 } else { -0.0 }),
    ("all magnitudes", |r| {
        let exponent = i32::try_from(r.next() % 120).expect("small") - 60;
        r.unit() * 2f32.powi(exponent)
    }),
];

/// The instruction sets that there is code for on machines of this kind.
#[cfg(target_arch = "x86_64")]
const NAMES: &[&str] = &["scalar", "avx2", "avx512"];
#[cfg(target_arch = "aarch64")]
const NAMES: &[&str] = &["scalar", "neon"];
#[cfg(target_arch = "wasm32")]
const NAMES: &[&str] = &["scalar", "simd128"];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "wasm32")))]
const NAMES: &[&str] = &["scalar"];

/// Every instruction set there is code for: those that this CPU lacks are named, not passed over.
fn isas() -> Vec<Isa> {
    let found = Isa::available();
    for name in NAMES {
        if !found.iter().any(|isa| isa.name() == *name) {
            eprintln!("not tested: {name}, which this CPU lacks");
        }
    }
    found
}

/// The sum in f64, and the sum of the magnitudes of its terms.
fn oracle(metric: Metric, a: &[f32], b: &[f32]) -> (f64, f64) {
    let pairs = a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let terms = pairs.map(|(a, b)| match metric {
        Metric::L2 | Metric::Hamming => (a - b) * (a - b),
        Metric::Cosine | Metric::Dot => -(a * b),
    });
    terms.fold((0.0, 0.0), |(sum, magnitude), term| (sum + term, magnitude + term.abs()))
}

#[track_caller]
fn check_bound(metric: Metric, a: &[f32], b: &[f32], found: f32, what: &str) {
    let n = a.len();
    let (mut expect, mut magnitude) = oracle(metric, a, b);
    if metric == Metric::Cosine {
        // The subtraction from one is one more term.
        (expect, magnitude) = (1.0 + expect, 1.0 + magnitude);
    }
    if magnitude > f64::from(f32::MAX) / 2.0 {
        return; // Beyond f32: agreement of the instruction sets is all that is asked.
    }
    let underflow = n as f64 * f64::from(f32::from_bits(1));
    let bound = (n as f64 / 16.0 + 4.0) * f64::from(f32::EPSILON) * magnitude + underflow;
    let error = (f64::from(found) - expect).abs();
    assert!(error <= bound, "{what}: {metric} of {n}: {found}, not {expect}: {error} > {bound}");
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[track_caller]
fn check(a: &[f32], b: [&[f32]; 4], what: &str) {
    for metric in Metric::ALL {
        let truth = b.map(|b| Kernel::new(Isa::Scalar, metric).distance(a, b));
        for (b, truth) in b.into_iter().zip(truth) {
            check_bound(metric, a, b, truth, what);
        }
        for isa in Isa::available() {
            let kernel = Kernel::new(isa, metric);
            let fours = kernel.distance4(a, b);
            for lane in 0..4 {
                let (one, turned) = (kernel.distance(a, b[lane]), kernel.distance(b[lane], a));
                let found = [one, turned, fours[lane]];
                assert!(
                    found.iter().all(|&found| same(found, truth[lane])),
                    "{what}: {metric} of {} on {}: {found:?}, not {}",
                    a.len(),
                    isa.name(),
                    truth[lane],
                );
            }
        }
    }
}

#[test]
fn every_length_is_within_the_bound_and_the_same_on_every_instruction_set() {
    isas();
    for len in 1..=2048 {
        let mut random = Random(SEED ^ len as u64);
        let vectors: [Vec<f32>; 5] = std::array::from_fn(|_| random.vector(len, Random::unit));
        let [a, b @ ..] = &vectors;
        check(a, b.each_ref().map(|b| &b[..]), "unit");
    }
}

#[test]
fn hostile_values_are_within_the_bound_and_the_same_on_every_instruction_set() {
    let mut random = Random(SEED);
    for (a_name, a_component) in COMPONENTS {
        for (b_name, b_component) in COMPONENTS {
            for len in (0..=70).chain([127, 128, 129, 784, 1000]) {
                let a = random.vector(len, a_component);
                let b = random.vector(len, b_component);
                let opposite: Vec<f32> = a.iter().map(|x| -x).collect();
                let mut near = a.clone();
                if let Some(last) = near.last_mut() {
                    *last = last.next_up().clamp(f32::MIN, f32::MAX);
                }
                check(&a, [&b, &a, &opposite, &near], &format!("{a_name} and {b_name}"));
            }
        }
    }
}

#[test]
fn every_alignment_gives_the_same_bits() {
    let mut random = Random(SEED);
    let (a, b) = (random.vector(300, Random::unit), random.vector(300, Random::unit));
    for len in [1, 15, 16, 17, 64, 100, 255] {
        for offset in 0..=32 {
            let a = &a[offset..offset + len];
            let shifted = [0, 1, 7, 11].map(|shift| &b[offset + shift..][..len]);
            check(a, shifted, "alignment");
        }
    }
}

#[test]
fn equal_vectors_are_at_distance_zero() {
    for isa in isas() {
        let vector = Random(SEED).vector(333, |r| r.unit() * 1e30);
        let found = Kernel::new(isa, Metric::L2).distance(&vector, &vector);
        assert_eq!(found.to_bits(), 0.0f32.to_bits(), "{}", isa.name());
    }
}

#[test]
fn each_metric_is_its_formula() {
    let (a, b) = ([3.0, 4.0], [1.0, 2.0]);
    for isa in isas() {
        let found = Metric::ALL.map(|metric| Kernel::new(isa, metric).distance(&a, &b));
        assert_eq!(found.map(f32::to_bits), [8.0f32, -10.0, -11.0, 8.0].map(f32::to_bits));
        let zeros = Metric::ALL.map(|metric| Kernel::new(isa, metric).distance(&[], &[]));
        assert_eq!(zeros.map(f32::to_bits), [0.0f32, 1.0, 0.0, 0.0].map(f32::to_bits));
    }
}

#[test]
fn vectors_of_different_lengths_are_refused() {
    let kernel = Kernel::new(Isa::detect(), Metric::L2);
    let (long, short) = ([0.0; 17], [0.0; 16]);
    assert!(std::panic::catch_unwind(|| kernel.distance(&long, &short)).is_err());
    for lane in 0..4 {
        let mut vectors: [&[f32]; 4] = [&long; 4];
        vectors[lane] = &short;
        assert!(std::panic::catch_unwind(|| kernel.distance4(&long, vectors)).is_err());
    }
}

#[test]
fn the_fastest_instruction_set_is_the_last_available() {
    assert_eq!(Isa::available().last(), Some(&Isa::detect()));
    assert_eq!(Isa::available()[0], Isa::Scalar);
}

/// Any query that is aimed: no sum of magnitudes is beyond 32 bits.
#[test]
fn sums_over_codes_are_the_same_on_every_instruction_set() {
    let mut random = Random(SEED);
    for blocks in 0..=128_i64 {
        let len = usize::try_from(16 * blocks).expect("small");
        let most = i16::try_from((i64::from(i32::MAX) / 128 / (16 * blocks).max(1)).min(32_767));
        let most = most.expect("bounded");
        for round in 0..4 {
            let pick = |random: &mut Random, most: i16, is_extreme: bool| {
                let number = i32::try_from(random.next() >> 33).expect("31 bits");
                let most = i32::from(most);
                let range = 2 * most + 1;
                let number = if is_extreme { number % 2 * (range - 1) } else { number % range };
                i16::try_from(number - most).expect("within its bounds")
            };
            let a: Vec<i16> = (0..len).map(|_| pick(&mut random, most, round == 1)).collect();
            let b: [Vec<i8>; 4] = std::array::from_fn(|_| {
                let code = |random: &mut Random| match round {
                    2 => -128,
                    _ => i8::try_from(pick(random, 127, round == 3)).expect("a byte"),
                };
                (0..len).map(|_| code(&mut random)).collect()
            });
            let b = b.each_ref().map(|b| &b[..]);
            let expect = b.map(|b| scalar_codes::dot_codes(&a, b));
            for isa in Isa::available() {
                assert_eq!(isa.run(Dots { a: &a, b }), [expect; 2], "{len}, {}", isa.name());
            }
        }
    }
}

/// Four sums, one after the other and at once.
struct Dots<'a> {
    a: &'a [i16],
    b: [&'a [i8]; 4],
}

impl Task for Dots<'_> {
    type Output = [[i32; 4]; 2];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [[i32; 4]; 2] {
        [self.b.map(|b| simd.dot_codes(self.a, b)), simd.dot_codes4(self.a, self.b)]
    }
}
