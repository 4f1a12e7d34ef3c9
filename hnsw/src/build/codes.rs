//! The codes of rows: those that walks compare, and those that links are chosen by.

use crate::code::{Code, Encoder};
use crate::executor::Executor;
use crate::graph::{Graph, code_table};
use crate::rows::Rows;
use crate::table::Table;

/// Rows a thread takes at a time.
const ROWS_A_TASK: usize = 64;
/// Rows of which the codes are made before they are put in their places.
const ROWS_A_PASS: usize = 1 << 14;

impl Graph {
    /// Puts the codes of `joins`, for which there is room, in their places; and where links are
    /// chosen by codes that a graph does not have when it was read, those of all its rows.
    pub(crate) fn encode_rows(&mut self, rows: &Rows<'_>, joins: &[u32], exec: &Executor) {
        let encoded = encode(self, self.code, rows, joins, exec);
        put(&mut self.codes, joins, &encoded);
        if self.has_build_codes() {
            self.need_build_codes(rows, exec);
            let encoded = encode(self, self.build_code(), rows, joins, exec);
            put(&mut self.build_codes, joins, &encoded);
        }
    }

    /// Makes the codes that links are chosen by where they are needed and not there: of the rows
    /// that are in the graph.
    pub(crate) fn need_build_codes(&mut self, rows: &Rows<'_>, exec: &Executor) {
        if self.has_build_codes() && self.build_codes.len() == 0 {
            self.build_codes = encode_all(self, self.build_code(), rows, exec);
        }
    }
}

/// The codes of all rows of the graph.
pub(crate) fn encode_all(graph: &Graph, code: Code, rows: &Rows<'_>, exec: &Executor) -> Table<i8> {
    let mut codes = code_table(code, graph.params.dims);
    if code == Code::None {
        return codes;
    }
    codes.grow(graph.len() as usize, 0);
    let mut members = graph.members.iter();
    loop {
        let some: Vec<u32> = members.by_ref().take(ROWS_A_PASS).collect();
        if some.is_empty() {
            return codes;
        }
        put(&mut codes, &some, &encode(graph, code, rows, &some, exec));
    }
}

/// The codes of some rows, one after another.
fn encode(graph: &Graph, code: Code, rows: &Rows<'_>, of: &[u32], exec: &Executor) -> Vec<i8> {
    if code == Code::None {
        return Vec::new();
    }
    let (metric, dims) = (graph.params.metric, graph.params.dims);
    let tasks: Vec<&[u32]> = of.chunks(ROWS_A_TASK).collect();
    let encoded = exec.map(tasks.len(), |task| {
        let mut encoder = Encoder::new(code, metric, dims).with_isa(graph.kernel.isa());
        let mut bytes = vec![0; code.len_bytes(dims)];
        let mut codes = Vec::with_capacity(tasks[task].len() * bytes.len());
        for &row in tasks[task] {
            encoder.encode(rows.row(row), &mut bytes);
            codes.extend(bytes.iter().map(|byte| byte.cast_signed()));
        }
        codes
    });
    encoded.concat()
}

/// Puts codes that are one after another in the places of their rows.
fn put(codes: &mut Table<i8>, of: &[u32], encoded: &[i8]) {
    if encoded.is_empty() {
        return;
    }
    for (&row, code) in of.iter().zip(encoded.chunks(encoded.len() / of.len())) {
        codes.row_mut(row as usize).copy_from_slice(code);
    }
}
