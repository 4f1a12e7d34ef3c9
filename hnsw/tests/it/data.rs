//! Vectors made from a seed, and graphs over them.

use std::ops::ControlFlow;

use gannet_hnsw::{
    Allowed, Code, Executor, Graph, Isa, Kernel, Metric, Neighbor, Params, Plan, Rows,
    SearchContext, exact, normalise, row_stride,
};
use proptest::prelude::ProptestConfig;

/// Rows a chunk in these tests: small, so that a few hundred rows already take several.
pub(crate) const CHUNK_LOG2: u32 = 6;

/// Splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.next() % u64::from(bound)).expect("below a u32")
    }

    /// About normal, with mean 0 and variance 1.
    pub(crate) fn normal(&mut self) -> f32 {
        let sum: u32 = (0..12).map(|_| self.below(1 << 16)).sum();
        (f32::from(u16::try_from(sum / 12).expect("a mean of u16")) - 32_767.5) / 5461.0
    }
}

/// Vectors in memory, a stride each.
#[derive(Clone)]
pub(crate) struct Vectors {
    pub(crate) dims: u32,
    pub(crate) floats: Vec<f32>,
    code: Code,
}

impl Vectors {
    pub(crate) fn new(vectors: &[&[f32]]) -> Self {
        let dims = u32::try_from(vectors[0].len()).expect("few dimensions");
        let mut made = Self::of(dims, Vec::new());
        for vector in vectors {
            made.push(vector);
        }
        made
    }

    /// A stride of floats each, for graphs without codes.
    pub(crate) fn of(dims: u32, floats: Vec<f32>) -> Self {
        Self { dims, floats, code: Code::None }
    }

    /// The same, for graphs that walk by codes.
    pub(crate) fn coded(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// `len` vectors around `clusters` centres, in random order of centres.
    pub(crate) fn clustered(seed: u64, len: u32, dims: u32, clusters: u32) -> Self {
        let mut random = Random(seed);
        let mut vector = || -> Vec<f32> { (0..dims).map(|_| random.normal()).collect() };
        let centres: Vec<Vec<f32>> = (0..clusters).map(|_| vector()).collect();
        let mut made = Self::of(dims, Vec::new());
        for _ in 0..len {
            let centre = &centres[random.below(clusters) as usize];
            let near: Vec<f32> = centre.iter().map(|c| c + 0.3 * random.normal()).collect();
            made.push(&near);
        }
        made
    }

    /// The same, each of unit length.
    pub(crate) fn normalised(mut self) -> Self {
        for vector in self.floats.chunks_mut(row_stride(self.dims)) {
            normalise(vector).expect("no vector of zeros");
        }
        self
    }

    /// Each component 1 where it is above zero, else 0.
    pub(crate) fn binary(mut self) -> Self {
        for component in &mut self.floats {
            *component = f32::from(u8::from(*component > 0.0));
        }
        self
    }

    /// Fit for `metric`.
    pub(crate) fn fit(self, metric: Metric) -> Self {
        match metric {
            Metric::L2 | Metric::Dot => self,
            Metric::Cosine => self.normalised(),
            Metric::Hamming => self.binary(),
        }
    }

    pub(crate) fn push(&mut self, vector: &[f32]) {
        self.floats.extend_from_slice(vector);
        self.floats.resize(self.floats.len().next_multiple_of(row_stride(self.dims)), 0.0);
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.floats.len() / row_stride(self.dims)).expect("few rows")
    }

    pub(crate) fn row(&self, row: u32) -> &[f32] {
        let stride = row_stride(self.dims);
        &self.floats[row as usize * stride..][..stride]
    }

    pub(crate) fn with_rows<T>(&self, work: impl FnOnce(&Rows<'_>) -> T) -> T {
        let chunks: Vec<&[f32]> = self.floats.chunks(row_stride(self.dims) << CHUNK_LOG2).collect();
        let rows = Rows::new(self.dims, CHUNK_LOG2, &chunks, self.len());
        work(&rows)
    }

    /// [`params`] with their code.
    pub(crate) fn params(&self, metric: Metric) -> Params {
        Params { code: self.code.into(), ..params(self.dims, metric) }
    }

    /// A graph of all rows, with a small beam.
    pub(crate) fn graph(&self, metric: Metric) -> Graph {
        self.graph_on(self.params(metric), &Executor::Serial)
    }

    pub(crate) fn graph_on(&self, params: Params, exec: &Executor) -> Graph {
        let mut graph = Graph::new(params);
        self.insert_until(&mut graph, self.len(), exec);
        graph
    }

    pub(crate) fn insert_until(&self, graph: &mut Graph, end: u32, exec: &Executor) {
        let proceed = &mut |_| ControlFlow::Continue(());
        let flow = self.with_rows(|rows| graph.insert_until(rows, end, exec, proceed));
        assert_eq!((flow, graph.len()), (ControlFlow::Continue(()), end));
    }

    pub(crate) fn search(
        &self,
        graph: &Graph,
        query: &[f32],
        k: usize,
        ef: usize,
    ) -> Vec<Neighbor> {
        self.search_by(graph, query, k, ef, Allowed::All).1
    }

    pub(crate) fn search_by(
        &self,
        graph: &Graph,
        query: &[f32],
        k: usize,
        ef: usize,
        allowed: Allowed<'_>,
    ) -> (Plan, Vec<Neighbor>) {
        let (mut context, mut found) = (SearchContext::new(), Vec::new());
        let search =
            |rows: &Rows<'_>| graph.search(rows, query, k, ef, allowed, &mut context, &mut found);
        (self.with_rows(search), found)
    }

    pub(crate) fn exact(&self, metric: Metric, query: &[f32], k: usize) -> Vec<Neighbor> {
        let (kernel, mut found) = (Kernel::new(Isa::detect(), metric), Vec::new());
        self.with_rows(|rows| exact(rows, 0..self.len(), query, k, None, kernel, &mut found));
        found
    }
}

/// Every metric with every code that goes with it.
pub(crate) fn pairs() -> impl Iterator<Item = (Metric, Code)> {
    let all = Metric::ALL.into_iter().flat_map(|metric| Code::ALL.map(|code| (metric, code)));
    all.filter(|&(metric, code)| code.fits(metric))
}

/// Parameters for small sets: a beam of 64, no codes.
pub(crate) fn params(dims: u32, metric: Metric) -> Params {
    Params { ef_construction: 64, code: Code::None.into(), ..Params::new(dims, metric) }
}

pub(crate) fn image(graph: &Graph) -> Vec<u8> {
    let mut bytes = Vec::new();
    graph.encode(&mut bytes);
    bytes
}

/// The lists in its image: without header and codes.
pub(crate) fn links(graph: &Graph) -> Vec<u8> {
    let params = graph.params();
    let codes = graph.code().len_bytes(params.dims) * graph.len() as usize;
    let bytes = image(graph);
    bytes[128..bytes.len() - codes.next_multiple_of(64)].to_vec()
}

pub(crate) fn rows_of(neighbors: &[Neighbor]) -> Vec<u32> {
    neighbors.iter().map(|neighbor| neighbor.row).collect()
}

/// `cases` cases of a property. A failure prints the values that failed; no file is written.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
