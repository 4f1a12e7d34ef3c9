//! The codes of the rows that join: those that walks compare, and those that links are chosen by.

use std::ops::Range;

use crate::code::{Code, Encoder};
use crate::executor::Executor;
use crate::graph::Graph;
use crate::rows::Rows;

/// Rows a thread takes at a time.
const ROWS_A_TASK: u32 = 64;

/// Codes that a graph lacks, one after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewCodes {
    /// Of the rows that join.
    pub(crate) walk: Vec<i8>,
    /// Of all rows that have none; empty where links are chosen by the codes that walks compare.
    pub(crate) build: Vec<i8>,
}

impl NewCodes {
    pub(super) fn memory_bytes(&self) -> usize {
        self.walk.capacity() + self.build.capacity()
    }
}

/// What a graph lacks to take in the rows before `end`.
pub(super) fn plan(graph: &Graph, rows: &Rows<'_>, end: u32, exec: &Executor) -> NewCodes {
    let walk = encode(graph, graph.code, rows, graph.len()..end, exec);
    if !graph.has_build_codes() {
        return NewCodes { walk, build: Vec::new() };
    }
    let code = graph.build_code();
    let known = graph.build_codes.items().len() / code.len_bytes(graph.params.dims);
    let known = u32::try_from(known).expect("fewer codes than rows");
    NewCodes { walk, build: encode(graph, code, rows, known..end, exec) }
}

/// The codes of `range`, as `code` makes them.
pub(crate) fn encode(
    graph: &Graph,
    code: Code,
    rows: &Rows<'_>,
    range: Range<u32>,
    exec: &Executor,
) -> Vec<i8> {
    if code == Code::None {
        return Vec::new();
    }
    let (metric, dims) = (graph.params.metric, graph.params.dims);
    let encoded = exec.map((range.end - range.start).div_ceil(ROWS_A_TASK) as usize, |task| {
        let task = u32::try_from(task).expect("fewer tasks than rows");
        let first = range.start + task * ROWS_A_TASK;
        let mut encoder = Encoder::new(code, metric, dims).with_isa(graph.kernel.isa());
        let mut bytes = vec![0; code.len_bytes(dims)];
        let mut codes = Vec::new();
        for row in first..range.end.min(first + ROWS_A_TASK) {
            encoder.encode(rows.row(row), &mut bytes);
            codes.extend(bytes.iter().map(|byte| byte.cast_signed()));
        }
        codes
    });
    encoded.concat()
}
