//! Codes: the same on every CPU, near to what they stand for, and without a trace in distances.

use gannet_hnsw::{Code, Encoder, Executor, Isa, Kernel, Metric, Neighbor, Params};

use crate::data::{Random, Vectors};

fn code_of(isa: Isa, vector: &[f32]) -> Vec<u8> {
    let dims = u32::try_from(vector.len()).unwrap();
    let mut out = vec![0xa5; Code::Sq8.len_bytes(dims)];
    Encoder::new(Code::Sq8, dims).with_isa(isa).encode(vector, &mut out);
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
    for dims in (1..=130).chain([255, 256, 300, 784, 1000, 2048]) {
        for (kind, component) in kinds.iter().enumerate() {
            let vector: Vec<f32> = (0..dims).map(|_| component(&mut random)).collect();
            let expect = code_of(Isa::Scalar, &vector);
            for isa in Isa::available() {
                assert_eq!(code_of(isa, &vector), expect, "{dims}, {kind}, {}", isa.name());
            }
            let (multiples, _, _) = parts(&expect, dims);
            let most = multiples.iter().map(|multiple| multiple.unsigned_abs()).max();
            let is_zero = vector.iter().all(|component| *component == 0.0);
            assert_eq!(most, Some(if is_zero { 0 } else { 127 }), "{dims}, {kind}");
        }
    }
}

/// A rotation changes no length, and rounding each component by half a step at most little.
#[test]
fn a_code_is_as_long_as_its_vector_but_for_rounding() {
    let mut random = Random(2);
    for dims in (1..=130).chain([255, 300, 784, 1536]) {
        let vector: Vec<f32> = (0..dims).map(|_| random.normal()).collect();
        let (multiples, step, square) = parts(&code_of(Isa::detect(), &vector), dims);
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
    let rows = rows.coded(Code::Sq8);
    let params = Params { ef_construction: 100, ..Params::new(32, Metric::L2) };
    let graph = rows.graph_on(params, &Executor::threads(2).unwrap());
    let mut hits = 0;
    for row in (0..4000).step_by(40) {
        let query = rows.row(row).to_vec();
        let truth = rows.exact(Metric::L2, &query, 10);
        let found = rows.search(&graph, &query, 10, 400);
        hits += found.iter().filter(|found| found.distance <= truth[9].distance).count();
    }
    assert!(hits >= 970, "{hits} of 1000");
}

#[test]
fn distances_found_by_codes_are_those_of_the_vectors() {
    for metric in Metric::ALL {
        let rows = Vectors::clustered(4, 2000, 19, 20).fit(metric).coded(Code::Sq8);
        let graph = rows.graph(metric);
        let kernel = Kernel::new(Isa::detect(), metric);
        for row in (0..2000).step_by(97) {
            let found = rows.search(&graph, rows.row(row), 10, 64);
            assert_eq!(found.len(), 10);
            for near in &found {
                let exact = kernel.distance(rows.row(row), rows.row(near.row));
                assert_eq!(near.distance.to_bits(), exact.to_bits(), "{metric}");
            }
            let in_order = |a: &Neighbor, b: &Neighbor| (a.distance, a.row) <= (b.distance, b.row);
            assert!(found.is_sorted_by(in_order), "{metric}");
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
    for metric in Metric::ALL {
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
        let rows = rows.fit(metric).coded(Code::Sq8);
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
        assert_eq!(code.to_string().parse(), Ok(code));
        assert_eq!(Code::from_number(code.number()), Some(code));
    }
    assert_eq!(Code::from_number(2), None);
    let error = "sq9".parse::<Code>().unwrap_err();
    assert_eq!(error.to_string(), "unknown code \"sq9\": expected none or sq8");
}
