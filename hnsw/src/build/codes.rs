//! The codes of the rows that join.

use crate::code::{Code, Encoder};
use crate::executor::Executor;
use crate::graph::Graph;
use crate::rows::Rows;

/// Rows a thread takes at a time.
const ROWS_A_TASK: u32 = 64;

/// The codes of rows `graph.len()..end`, one after another.
pub(super) fn plan(graph: &Graph, rows: &Rows<'_>, end: u32, exec: &Executor) -> Vec<i8> {
    let params = &graph.params;
    if params.code == Code::None {
        return Vec::new();
    }
    let start = graph.len();
    let encoded = exec.map((end - start).div_ceil(ROWS_A_TASK) as usize, |task| {
        let first = start + u32::try_from(task).expect("fewer tasks than rows") * ROWS_A_TASK;
        let mut encoder =
            Encoder::new(params.code, params.metric, params.dims).with_isa(graph.kernel.isa());
        let mut code = vec![0; params.code.len_bytes(params.dims)];
        let mut codes = Vec::new();
        for row in first..end.min(first + ROWS_A_TASK) {
            encoder.encode(rows.row(row), &mut code);
            codes.extend(code.iter().map(|byte| byte.cast_signed()));
        }
        codes
    });
    encoded.concat()
}
