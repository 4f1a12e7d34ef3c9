//! Codes that belong to no row: they may mislead walks and builds, and nothing else.

use super::forge::mend_image;
use super::graph::{MORE, check, floats};
use super::input::Input;
use gannet_hnsw::{
    Allowed, Code, Executor, Graph, Isa, Kernel, Metric, Params, Rows, SearchContext, normalise,
    row_stride,
};
use std::ops::ControlFlow;

/// Numbers that are terms of no code.
const HOSTILE: [f32; 12] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    f32::from_bits(1),
    f32::from_bits(0x8000_0001),
    -1.0,
    -0.0,
    0.0,
    1e30,
];

/// What rows are multiplied with.
const SCALES: [f32; 4] = [1.0, 1e36, 1e-42, 1e18];

pub(super) fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let code = Code::ALL[input.below(Code::ALL.len())];
    let metric = Metric::ALL[input.below(3)];
    let dims = 1 + u32::from(input.u8() % 80);
    let len = 1 + u32::from(input.u8() % 48);
    let m = 2 + u16::from(input.u8() % 4);
    let ef_construction = 1 + u32::from(input.u8() % 16);
    let (k, ef) = (1 + input.below(20), 1 + input.below(40));
    let scale = SCALES[input.below(SCALES.len())];
    let stride = row_stride(dims);
    let mut floats = floats(dims, len + MORE + 1, metric);
    for row in floats.chunks_mut(stride) {
        for component in row.iter_mut() {
            *component *= scale;
        }
        if metric == Metric::Cosine && normalise(row).is_err() {
            row[0] = 1.0;
        }
    }
    let codes = hostile(&mut input, code.len_bytes(dims), len as usize);
    let (vectors, query) = floats.split_at(stride * (len + MORE) as usize);
    let vectors = [vectors];
    let rows = Rows::new(dims, 20, &vectors, len + MORE);
    let params = Params { m, ef_construction, code: code.into(), ..Params::new(dims, metric) };
    let mut graph = Graph::new(params);
    let proceed = &mut |_| ControlFlow::Continue(());
    assert!(graph.insert_until(&rows, len, &Executor::Serial, proceed).is_continue());
    let mut image = Vec::new();
    graph.encode(&mut image);
    // The last section, filled up to 64 bytes.
    let at = image.len() - codes.len().next_multiple_of(64);
    image[at..at + codes.len()].copy_from_slice(&codes);
    mend_image(&mut image);
    let mut graph = Graph::decode(&image, len, graph.params()).expect("codes are any bytes");
    let end = len + MORE;
    assert!(graph.insert_until(&rows, end, &Executor::Serial, proceed).is_continue());
    let truth = Kernel::new(Isa::Scalar, metric);
    let (mut context, mut found) = (SearchContext::new(), Vec::new());
    let thirds = (1..end).step_by(3).collect();
    for allowed in [Allowed::All, Allowed::Only(&thirds), Allowed::AllBut(&thirds)] {
        for query in [query, rows.row(len / 2)] {
            found.clear();
            graph.search(&rows, query, k, ef, allowed, &mut context, &mut found);
            check(&found, k, end);
            for near in &found {
                assert!(allowed.contains(near.row), "row {} is not allowed", near.row);
                let exact = truth.distance(query, rows.row(near.row));
                let exact = if exact.is_nan() { f32::INFINITY } else { exact + 0.0 };
                assert_eq!(near.distance.to_bits(), exact.to_bits(), "{near:?}, not {exact}");
            }
        }
    }
    image.clear();
    graph.encode(&mut image);
    assert!(Graph::decode(&image, end, graph.params()).is_ok(), "what was built is a graph");
}

/// Codes of the input's bytes, over and over; a byte a row says which term is put where.
fn hostile(input: &mut Input<'_>, len: usize, rows: usize) -> Vec<u8> {
    let terms: Vec<u8> = (0..rows).map(|_| input.u8()).collect();
    let bytes = if input.is_empty() { &[1, 255, 127, 128][..] } else { input.rest() };
    let mut codes: Vec<u8> = bytes.iter().copied().cycle().take(len * rows).collect();
    for (row, term) in terms.into_iter().enumerate().filter(|_| len > 0) {
        let number = usize::from(term % 16);
        let Some(hostile) = HOSTILE.get(number) else { continue };
        let word = row * len + len - 4 * (1 + usize::from(term / 16) % (len / 4));
        codes[word..word + 4].copy_from_slice(&hostile.to_le_bytes());
    }
    codes
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for code in 0..u8::try_from(Code::ALL.len()).expect("few codes") {
        for metric in 0..3 {
            let mut seed = vec![code, metric, 17, 40, 2, 12, 9, 30, 0];
            seed.extend((0..40_u8).map(|row| row.wrapping_mul(7) + metric));
            seed.extend((0..=255).step_by(3));
            seeds.push(seed);
        }
    }
    seeds
}
