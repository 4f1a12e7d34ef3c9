//! Images of graphs that nobody wrote.

use super::forge::mend_image;
use super::input::Input;
use gannet_hnsw::{
    Allowed, BuildScratch, Code, CodeChoice, Executor, Graph, Metric, Neighbor, Params, Rows,
    SearchContext, normalise, row_stride,
};
use std::ops::ControlFlow;

/// Rows that the caller of a decoder says there are.
const ROWS: u32 = 128;
/// Graphs that ask for more than this are read, but not searched.
const FLOATS_MAX: usize = 1 << 16;
/// Rows that join what was accepted.
pub(super) const MORE: u32 = 5;

/// Bits of an input's first byte; the image follows.
const IS_MENDED: u8 = 1;
const IS_EXPECTED: u8 = 2;

pub(super) fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let flags = input.u8();
    let mut image = input.rest().to_vec();
    if flags & IS_MENDED != 0 {
        mend_image(&mut image);
    }
    let said = if flags & IS_EXPECTED != 0 { said(&image) } else { None };
    let expect = said.unwrap_or_else(|| sample_params(Metric::L2, 2, Code::Sq8));
    let Ok(graph) = Graph::decode(&image, ROWS, &expect) else { return };
    assert_eq!(graph.params(), &expect);
    assert!(graph.len() <= ROWS);
    let mut again = Vec::new();
    graph.encode(&mut again);
    assert_eq!(again, image, "what was accepted is written as it was");
    use_it(graph);
}

/// The parameters that an image says it has, where they are valid.
fn said(image: &[u8]) -> Option<Params> {
    let mut header = Input::new(image.get(12..)?);
    let (dims, low, high) = (header.u32(), header.u32(), header.u32());
    let (ef_construction, m, metric) = (header.u32(), header.u16(), header.u8());
    let seed = u64::from(high) << 32 | u64::from(low);
    let (metric, code) = (Metric::from_code(metric)?, CodeChoice::from_number(*image.get(44)?)?);
    let params = Params { dims, metric, m, ef_construction, seed, code };
    params.validate().is_ok().then_some(params)
}

/// Searches a graph and lets rows join and leave it.
fn use_it(graph: Graph) {
    let (dims, metric) = (graph.params().dims, graph.params().metric);
    let stride = row_stride(dims);
    let len = graph.len() + MORE;
    if len as usize * stride > FLOATS_MAX {
        return;
    }
    let floats = floats(dims, len, metric);
    let chunks = [&floats[..]];
    let rows = Rows::new(dims, 20, &chunks, len);
    for (query, ef) in [(0, 1), (len / 2, 8), (len - 1, 64)] {
        let thirds = (0..len).step_by(3).collect();
        for allowed in [Allowed::All, Allowed::Only(&thirds), Allowed::AllBut(&thirds)] {
            search(&graph, &rows, query, ef, allowed);
        }
    }
    // A beam that an image asks for is as wide as the rows are many, at most.
    let mut grown = graph;
    let proceed = &mut |_| ControlFlow::Continue(());
    assert!(grown.insert_until(&rows, len, &Executor::Serial, proceed).is_continue());
    let mut image = Vec::new();
    grown.encode(&mut image);
    let decoded = Graph::decode(&image, len, grown.params());
    assert_eq!(decoded.map(|graph| graph.len()), Ok(len), "what grew is a graph");

    let leaves: Vec<u32> = grown.members().iter().step_by(3).collect();
    let scratch = &mut BuildScratch::new();
    grown.remove_batch(&rows, &leaves, &Executor::Serial, scratch);
    image.clear();
    grown.encode(&mut image);
    let decoded = Graph::decode(&image, len, grown.params());
    assert_eq!(decoded.map(|graph| graph.count()), Ok(grown.count()), "what shrank is a graph");
}

fn search(graph: &Graph, rows: &Rows<'_>, query: u32, ef: usize, allowed: Allowed<'_>) {
    let (mut context, mut found) = (SearchContext::new(), Vec::new());
    graph.search(rows, rows.row(query), 5, ef, allowed, &mut context, &mut found);
    check(&found, 5, graph.len());
    let passing = graph.members().iter().filter(|&row| allowed.contains(row)).count();
    assert_eq!(found.len(), passing.min(5), "{allowed:?}");
    assert!(found.iter().all(|near| allowed.contains(near.row)), "a row that is not allowed");
}

/// The nearest first, each row once, no more than asked for.
pub(super) fn check(found: &[Neighbor], k: usize, rows: u32) {
    assert!(found.len() <= k, "{} of {k} rows", found.len());
    for near in found {
        assert!(near.row < rows && !near.distance.is_nan(), "{near:?} of {rows} rows");
    }
    let in_order = |a: &Neighbor, b: &Neighbor| (a.distance, a.row) < (b.distance, b.row);
    assert!(found.is_sorted_by(in_order), "out of order: {found:?}");
}

/// Vectors that are the same every time: small numbers, a stride each.
pub(super) fn floats(dims: u32, rows: u32, metric: Metric) -> Vec<f32> {
    let (dims, stride) = (dims as usize, row_stride(dims));
    let mut floats = vec![0.0; stride * rows as usize];
    let mut state = 1_u32;
    for row in floats.chunks_mut(stride) {
        for component in &mut row[..dims] {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *component = f32::from(state.to_le_bytes()[3].cast_signed());
        }
        row[0] += 0.5;
        match metric {
            Metric::Cosine => {
                normalise(row).expect("its first component is not zero");
            }
            Metric::Hamming => {
                for component in row {
                    *component = f32::from(u8::from(*component > 0.0));
                }
            }
            Metric::L2 | Metric::Dot => {}
        }
    }
    floats
}

fn sample_params(metric: Metric, m: u16, code: Code) -> Params {
    Params { m, ef_construction: 8, code: code.into(), ..Params::new(3, metric) }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let small = [(Metric::L2, 2, 0), (Metric::L2, 2, 1), (Metric::L2, 2, 9)];
    let small = small.map(|(metric, m, len)| (metric, Code::Sq8, m, len));
    let all = Metric::ALL.into_iter().flat_map(|metric| Code::ALL.map(|code| (metric, code)));
    let all = all.filter(|(metric, code)| code.fits(*metric));
    let all = all.map(|(metric, code)| (metric, code, 3, 24));
    for (metric, code, m, len) in small.into_iter().chain(all) {
        let params = sample_params(metric, m, code);
        let floats = floats(params.dims, len, metric);
        let chunks = [&floats[..]];
        let rows = Rows::new(params.dims, 20, &chunks[..usize::from(len > 0)], len);
        let mut graph = Graph::new(params);
        let proceed = &mut |_| ControlFlow::Continue(());
        assert!(graph.insert_until(&rows, len, &Executor::Serial, proceed).is_continue());
        let mut seed = vec![IS_MENDED | IS_EXPECTED];
        graph.encode(&mut seed);
        seeds.push(seed);
        // With holes.
        let leaves: Vec<u32> = (0..len).skip(1).step_by(4).collect();
        graph.remove_batch(&rows, &leaves, &Executor::Serial, &mut BuildScratch::new());
        let mut seed = vec![IS_MENDED | IS_EXPECTED];
        graph.encode(&mut seed);
        seeds.push(seed);
    }
    seeds
}
