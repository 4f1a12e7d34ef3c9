//! Codes: the same on every CPU, near to what they stand for, and without a trace in distances.

use gannet_hnsw::{
    Allowed, Code, CodeChoice, Encoder, Executor, Isa, Kernel, Metric, Neighbor, Params,
    SearchContext,
};

use crate::data::{Random, Vectors, pairs};

fn code_of(code: Code, isa: Isa, vector: &[f32]) -> Vec<u8> {
    let dims = u32::try_from(vector.len()).unwrap();
    let mut out = vec![0xa5; code.len_bytes(dims)];
    Encoder::new(code, Metric::L2, dims).with_isa(isa).encode(vector, &mut out);
    out
}

/// Multiples, step, and square of a code.
fn parts(code: &[u8], dims: usize) -> (Vec<i8>, f32, f32) {
    let at = code.len() - 16;
    assert!(code[dims..at].iter().chain(&code[at + 8..]).all(|&byte| byte == 0), "padding");
    let term = |at: usize| f32::from_le_bytes(*code[at..].first_chunk().unwrap());
    let multiples = code[..dims].iter().map(|byte| byte.cast_signed()).collect();
    (multiples, term(at), term(at + 4))
}

#[test]
fn a_code_is_the_same_on_every_instruction_set_and_of_every_kind_of_numbers() {
    let mut random = Random(1);
    let kinds: [fn(&mut Random) -> f32; 6] = [
        Random::normal,
        |r| r.normal() * f32::MIN_POSITIVE / 1024.0,
        |r| r.normal() * 1e37,
        |r| if r.below(2) == 0 { f32::MAX } else { -f32::MAX },
        |r| if r.below(20) == 0 { 1e30 } else { r.normal() },
        |_| 0.0,
    ];
    let mut check = |dims: usize, kind: usize| {
        let vector: Vec<f32> = (0..dims).map(|_| kinds[kind](&mut random)).collect();
        for code in Code::ALL {
            let expect = code_of(code, Isa::Scalar, &vector);
            for isa in Isa::available() {
                let what = format!("{code}, {dims}, {kind}, {}", isa.name());
                assert_eq!(code_of(code, isa, &vector), expect, "{what}");
            }
        }
        let (multiples, _, _) = parts(&code_of(Code::Sq8, Isa::detect(), &vector), dims);
        let most = multiples.iter().map(|multiple| multiple.unsigned_abs()).max();
        let is_zero = vector.iter().all(|component| *component == 0.0);
        assert_eq!(most, Some(if is_zero { 0 } else { 127 }), "{dims}, {kind}");
    };
    for dims in 1..=2048 {
        check(dims, 0);
        check(dims, dims % kinds.len());
    }
    for dims in (1..=40).chain([127, 128, 784, 1000]) {
        (0..kinds.len()).for_each(|kind| check(dims, kind));
    }
}

#[test]
fn codes_are_whole_blocks_with_terms_behind_them() {
    for dims in (1..=300).chain([65_535, 65_536]) {
        let lens = Code::ALL.map(|code| code.len_bytes(dims));
        assert!(lens.iter().all(|len| len % 16 == 0), "{dims}: {lens:?}");
        let dims = dims as usize;
        let components = [0, dims, 2 * dims, dims.div_ceil(2), dims.div_ceil(8)];
        for (len, components) in lens.iter().zip(components).skip(1) {
            assert!((components + 16..components + 48).contains(len), "{dims}: {lens:?}");
        }
    }
    let of_128 = Code::ALL.map(|code| code.len_bytes(128));
    assert_eq!(of_128, [0, 144, 272, 80, 32]);
}

/// Half a unit in the eleventh bit, or far below what the largest component is off by.
#[test]
fn halves_are_the_components_but_for_rounding() {
    let mut random = Random(6);
    let scales = [1.0, 300.0, 1e-3, 1e5, 1e-6, 1e30, 1e-30, 1e38, 1e-39, 1e-44];
    for dims in [1, 15, 16, 17, 100] {
        for scale in scales {
            let vector: Vec<f32> = (0..dims).map(|_| random.normal() * scale).collect();
            let largest = vector.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
            let code = code_of(Code::F16, Isa::detect(), &vector);
            let (halves, terms) = code.split_at(code.len() - 16);
            let factor = f32::from_le_bytes(*terms.first_chunk().unwrap());
            assert_eq!(factor.to_bits() & 0x007f_ffff, 0, "{factor} is no power of two");
            let is_unscaled = largest == 0.0 || (1.0 / 256.0..32_768.0).contains(&largest);
            assert_eq!(factor.to_bits() == 1.0f32.to_bits(), is_unscaled, "{largest}: {factor}");
            assert!(terms[4..].iter().chain(&halves[2 * dims..]).all(|&byte| byte == 0));
            for (half, exact) in halves.as_chunks().0.iter().zip(&vector) {
                let found = value(u16::from_le_bytes(*half)) * f64::from(factor);
                let (exact, largest) = (f64::from(*exact), f64::from(largest));
                let most = exact.abs() / 2048.0 + largest / 131_072.0;
                assert!((found - exact).abs() <= most, "{scale}: {found}, not {exact}");
            }
        }
    }
}

/// What a half stands for.
fn value(half: u16) -> f64 {
    let (sign, exponent) = (if half >> 15 == 1 { -1.0 } else { 1.0 }, i32::from(half >> 10 & 31));
    let fraction = f64::from(half & 0x3ff);
    let implicit = if exponent == 0 { 0.0 } else { 1024.0 };
    assert!(exponent < 31, "not a finite number");
    sign * (implicit + fraction) * 2f64.powi(exponent.max(1) - 25)
}

#[test]
fn codes_of_bits_under_hamming_are_the_components() {
    let mut random = Random(7);
    for dims in 1..=300_u32 {
        let vector: Vec<f32> = (0..dims).map(|_| f32::from(random.below(2) == 1)).collect();
        let mut code = vec![0xa5; Code::Bit.len_bytes(dims)];
        Encoder::new(Code::Bit, Metric::Hamming, dims).encode(&vector, &mut code);
        for (at, bit) in (0..8 * code.len()).map(|at| (at, code[at / 8] >> (at % 8) & 1)) {
            let expect = vector.get(at).copied().unwrap_or(0.0);
            assert_eq!(bit == 1, expect > 0.0, "{at} of {dims}");
        }
    }
}

/// A walk over packed components is one over the vectors.
#[test]
fn under_hamming_codes_find_what_vectors_find_and_rank_nothing() {
    for dims in [1, 20, 64, 130, 300] {
        let plain = Vectors::clustered(9, 1200, dims, 8).fit(Metric::Hamming);
        let packed = plain.clone().coded(Code::Bit);
        let (graph, by_code) = (plain.graph(Metric::Hamming), packed.graph(Metric::Hamming));
        for row in (0..1200).step_by(60) {
            let expect = plain.search(&graph, plain.row(row), 10, 40);
            assert_eq!(packed.search(&by_code, plain.row(row), 10, 40), expect, "{dims}");
            let differing = |near: &Neighbor| {
                let pairs = plain.row(near.row).iter().zip(plain.row(row));
                u16::try_from(pairs.filter(|(a, b)| a.to_bits() != b.to_bits()).count()).unwrap()
            };
            for near in &expect {
                assert_eq!(near.distance.to_bits(), f32::from(differing(near)).to_bits());
            }
        }
        let (mut context, mut found) = (SearchContext::new(), Vec::new());
        packed.with_rows(|rows| {
            graph.search(rows, plain.row(0), 10, 40, Allowed::All, &mut context, &mut found);
        });
        assert_eq!((found.len(), context.effort().ranked), (10, 0));
    }
}

#[test]
fn a_code_that_does_not_go_with_the_metric_is_refused() {
    for code in Code::ALL {
        let made = std::panic::catch_unwind(|| Encoder::new(code, Metric::Hamming, 8));
        assert_eq!(made.is_ok(), code.fits(Metric::Hamming), "{code}");
        assert_eq!(code.fits(Metric::Hamming), [Code::None, Code::Bit].contains(&code));
    }
}

/// A rotation changes no length, and rounding each component by half a step at most little.
#[test]
fn a_code_is_as_long_as_its_vector_but_for_rounding() {
    let mut random = Random(2);
    for dims in (1..=130).chain([255, 300, 784, 1536]) {
        let vector: Vec<f32> = (0..dims).map(|_| random.normal()).collect();
        let (multiples, step, square) = parts(&code_of(Code::Sq8, Isa::detect(), &vector), dims);
        let of_multiples: f64 = multiples.iter().map(|&m| f64::from(m) * f64::from(m)).sum();
        let of_multiples = of_multiples * f64::from(step) * f64::from(step);
        assert!((of_multiples - f64::from(square)).abs() <= 1e-6 * of_multiples, "{dims}");
        let exact = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let rounding = f64::from(step) / 2.0 * (dims as f64).sqrt();
        let error = (f64::from(square).sqrt() - exact).abs();
        assert!(error <= rounding + 1e-5 * exact, "{dims}: {error} of {exact}, {rounding}");
    }
}

/// One dimension a hundred times as wide as others: wider than embeddings have them.
#[test]
fn one_wide_dimension_costs_no_recall() {
    let mut random = Random(3);
    let mut rows = Vectors::of(32, Vec::new());
    for _ in 0..4000 {
        let mut vector: Vec<f32> = (0..32).map(|_| random.normal()).collect();
        // It says little: rows are near by the others.
        vector[5] = (vector[5] / 4.0).round() * 400.0;
        rows.push(&vector);
    }
    for code in [Code::Sq8, Code::F16] {
        let rows = rows.clone().coded(code);
        let params = Params { ef_construction: 100, ..rows.params(Metric::L2) };
        let graph = rows.graph_on(params, &Executor::threads(2).unwrap());
        let mut hits = 0;
        for row in (0..4000).step_by(40) {
            let query = rows.row(row).to_vec();
            let truth = rows.exact(Metric::L2, &query, 10);
            let found = rows.search(&graph, &query, 10, 400);
            hits += found.iter().filter(|found| found.distance <= truth[9].distance).count();
        }
        assert!(hits >= 970, "{code}: {hits} of 1000");
    }
}

#[test]
fn distances_found_by_codes_are_those_of_the_vectors() {
    for (metric, code) in pairs() {
        let rows = Vectors::clustered(4, 2000, 19, 20).fit(metric).coded(code);
        let graph = rows.graph(metric);
        let kernel = Kernel::new(Isa::detect(), metric);
        for row in (0..2000).step_by(97) {
            let found = rows.search(&graph, rows.row(row), 10, 64);
            assert_eq!(found.len(), 10);
            for near in &found {
                let exact = kernel.distance(rows.row(row), rows.row(near.row));
                assert_eq!(near.distance.to_bits(), exact.to_bits(), "{metric}, {code}");
            }
            let in_order = |a: &Neighbor, b: &Neighbor| (a.distance, a.row) <= (b.distance, b.row);
            assert!(found.is_sorted_by(in_order), "{metric}, {code}");
        }
    }
}

#[test]
fn rows_that_codes_cannot_tell_apart_are_put_in_order_exactly() {
    // Steps of 1/127: all of these have one code.
    let vectors: Vec<[f32; 2]> = (0..30_u8).map(|n| [1000.0, f32::from(n) / 16.0]).collect();
    let rows = Vectors::new(&vectors.iter().map(|v| &v[..]).collect::<Vec<_>>());
    let rows = rows.coded(Code::Sq8);
    let graph = rows.graph(Metric::L2);
    let found = rows.search(&graph, &[1000.0, 0.0], 20, 64);
    let found: Vec<u32> = found.iter().map(|near| near.row).collect();
    assert_eq!(found, (0..20).collect::<Vec<_>>());
}

#[test]
fn vectors_of_any_size_are_walked_without_a_panic() {
    let mut random = Random(5);
    for (metric, code) in pairs().filter(|pair| pair.0 != Metric::Hamming) {
        let mut rows = Vectors::of(24, Vec::new());
        for row in 0..600 {
            let scale = [1.0, 0.0, 1e-40, 1e19, 3e38][row % 5];
            let mut vector: Vec<f32> =
                (0..24).map(|_| (random.normal() * scale).clamp(-f32::MAX, f32::MAX)).collect();
            if metric == Metric::Cosine && scale == 0.0 {
                vector[0] = 1.0;
            }
            rows.push(&vector);
        }
        let rows = rows.fit(metric).coded(code);
        let graph = rows.graph(metric);
        for row in 0..600 {
            let found = rows.search(&graph, rows.row(row), 5, 32);
            assert!(!found.is_empty() && found.iter().all(|near| !near.distance.is_nan()));
        }
    }
}

#[test]
fn names_and_numbers_of_codes_come_back_and_others_are_refused() {
    for code in Code::ALL {
        assert_eq!(Code::from_number(code.number()), Some(code));
        let choice = CodeChoice::from(code);
        assert_eq!(code.to_string().parse(), Ok(choice));
        assert_eq!(CodeChoice::from_number(code.number()), Some(choice));
    }
    assert_eq!("auto".parse(), Ok(CodeChoice::Auto));
    let auto = CodeChoice::Auto;
    assert_eq!(CodeChoice::from_number(auto.number()), Some(auto));
    for number in 5..auto.number() {
        assert_eq!((Code::from_number(number), CodeChoice::from_number(number)), (None, None));
    }
    let error = "sq9".parse::<CodeChoice>().unwrap_err().to_string();
    assert_eq!(error, "unknown code \"sq9\": expected auto, none, sq8, f16, sq4 or bit");
}
