//! Estimates of codes against distances of vectors.

use super::{Bit, Code, Encoder, F16, Form, Sq4, Sq8};
use crate::Metric;
use crate::kernel::Scalar;
use crate::kernel::tests::Random;
use crate::space::Aim;

const SEED: u64 = 0x0065_7374_696d_6174;

fn code_of(code: Code, metric: Metric, vector: &[f32]) -> Vec<i8> {
    let dims = u32::try_from(vector.len()).expect("few dimensions");
    let mut bytes = vec![0; code.len_bytes(dims)];
    Encoder::new(code, metric, dims).encode(vector, &mut bytes);
    bytes.into_iter().map(u8::cast_signed).collect()
}

fn estimate(form: impl Form, query: &[f32], code: &[i8]) -> f64 {
    let mut aim = Aim::default();
    form.aim_at(query, &mut aim);
    let one = form.distance(Scalar, &aim, code);
    assert_eq!(form.distance4(Scalar, &aim, [code; 4]).map(f32::to_bits), [one.to_bits(); 4]);
    f64::from(one)
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The mean of errors of products and the root of the mean of their squares, in parts of what the
/// lengths allow, for vectors at many angles; and how far rows are from themselves.
fn errors(code: Code, form: impl Form, dims: usize) -> [f64; 3] {
    let mut random = Random(SEED ^ dims as u64);
    let (mut sum, mut squares, mut itself) = (0.0, 0.0, 0.0_f64);
    let rounds = 300;
    for round in 0..rounds {
        // The sum of some is about normal.
        let mut normal = || (0..6).map(|_| random.unit()).sum::<f32>();
        let a: Vec<f32> = (0..dims).map(|_| normal()).collect();
        let near = f32::from(u8::try_from(round % 10).expect("small")) / 10.0;
        let b: Vec<f32> = a.iter().map(|a| near * a + normal()).collect();
        let code = code_of(code, Metric::Dot, &a);
        let lengths = (product(&a, &a) * product(&b, &b)).sqrt();
        let error = (-estimate(form, &b, &code) - product(&a, &b)) / lengths;
        sum += error;
        squares += error * error;
        itself = itself.max((1.0 + estimate(form, &a, &code) / product(&a, &a)).abs());
    }
    let rounds = f64::from(rounds);
    [sum / rounds, (squares / rounds).sqrt(), itself]
}

#[track_caller]
fn check(code: Code, form: impl Form, dims: usize, most: [f64; 3]) {
    let found = errors(code, form, dims);
    let is_within = found.iter().zip(most).all(|(found, most)| found.abs() <= most);
    assert!(is_within, "{code} of {dims}: {found:?}, not within {most:?}");
}

/// Lean, spread, and a row's own distance: what a code of its bits can do. The spread of estimates
/// from signs is `sqrt((pi / 2 - 1) / dims)`.
#[test]
fn estimates_of_products_lean_to_neither_side_and_are_as_near_as_their_bits_allow() {
    for dims in [100, 256, 1000] {
        check(Code::F16, F16(Metric::Dot), dims, [1e-4, 3e-4, 3e-4]);
        check(Code::Sq8, Sq8::of(Metric::Dot), dims, [1e-3, 1e-3, 3e-3]);
    }
    for (dims, lean, spread, itself) in
        [(100, 0.003, 0.013, 0.03), (256, 0.002, 0.008, 0.02), (1000, 0.001, 0.004, 0.01)]
    {
        check(Code::Sq4, Sq4::of(Metric::Dot), dims, [lean, spread, itself]);
    }
    for (dims, lean, spread, itself) in
        [(100, 0.01, 0.085, 0.15), (256, 0.008, 0.055, 0.1), (1000, 0.004, 0.028, 0.06)]
    {
        check(Code::Bit, Bit::of(Metric::Dot), dims, [lean, spread, itself]);
    }
}

#[test]
fn distances_of_estimates_are_about_those_of_vectors() {
    let mut random = Random(SEED);
    let (a, b): (Vec<f32>, Vec<f32>) = (0..300).map(|_| (random.unit(), random.unit())).unzip();
    let exact: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(a - b) * f64::from(a - b)).sum();
    for metric in [Metric::L2, Metric::Cosine] {
        let near = |code: Code, form: &dyn Fn(&[i8]) -> f64, most: f64| {
            let found = form(&code_of(code, metric, &a));
            assert!((found - exact).abs() <= most * exact, "{code}: {found} for {exact}");
        };
        near(Code::Sq8, &|code| estimate(Sq8::of(metric), &b, code), 0.01);
        near(Code::Sq4, &|code| estimate(Sq4::of(metric), &b, code), 0.03);
        near(Code::Bit, &|code| estimate(Bit::of(metric), &b, code), 0.2);
    }
    let found = estimate(F16(Metric::L2), &b, &code_of(Code::F16, Metric::L2, &a));
    assert!((found - exact).abs() <= 1e-3 * exact, "f16: {found} for {exact}");
}

#[test]
fn builds_compare_what_walks_do_but_for_coarse_estimates() {
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        let found = Code::ALL.map(|code| code.of_builds(metric));
        assert_eq!(found, [Code::None, Code::Sq8, Code::F16, Code::Sq8, Code::Sq8]);
    }
    assert_eq!(Code::Bit.of_builds(Metric::Hamming), Code::Bit);
}

/// Whatever the code, a wider beam ranks more, and never fewer than were asked for.
#[test]
fn the_number_of_ranked_rows_grows_with_the_beam() {
    for code in Code::ALL {
        for k in [1, 10, 1000, usize::MAX] {
            let counts = [10, 100, 1000, 10_000].map(|width| code.ranked_count(k, width));
            assert!(counts[0] >= k && counts.is_sorted(), "{code}: {counts:?}");
            let grows = counts[3] > counts[0] || code == Code::None || k == usize::MAX;
            assert!(grows, "{code}: {counts:?}");
        }
    }
}
