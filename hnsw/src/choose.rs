//! Which code the walks of a graph compare, chosen by measuring.
//!
//! Rows of the graph are taken as queries, as for a calibration, and looked for with codes and with
//! the vectors themselves, on the same links. What is chosen depends on the graph and the rows
//! alone.

use std::mem::replace;
use std::ops::ControlFlow;

use crate::build::codes::encode_all;
use crate::calibration::{Measuring, Queries};
use crate::changed::Changed;
use crate::code::Code;
use crate::executor::Executor;
use crate::graph::{Graph, code_table};
use crate::rows::Rows;
use crate::table::Table;

/// A graph chooses when it has so many rows and takes in the next: with fewer, every code does.
pub const CHOICE_ROWS_MIN: u32 = 8192;
/// What may be chosen instead of the vectors, the finest first. A bit a component is not: how well
/// it does changes too much as rows grow in number.
const CANDIDATES: [Code; 3] = [Code::F16, Code::Sq8, Code::Sq4];
/// The beams that are looked with. With a narrower one, less is put in order by exact distances
/// than a coarse code needs, and a wider one makes good for that at less cost.
const BEAMS: [u16; 2] = [32, 96];
const K: u16 = 10;
/// Of the rows that vectors find, a code may lose one in so many.
const LOST_SHARE: usize = 200;

impl Graph {
    /// Chooses a code if it is time to.
    pub(crate) fn choose_code_if_due(&mut self, rows: &Rows<'_>, exec: &Executor) {
        if !self.is_code_measured {
            let _ = self.choose_code(rows, exec, &mut || ControlFlow::Continue(()));
        }
    }

    fn has_choice(&self) -> bool {
        self.params.code.is_open(self.params.metric) && self.count() >= CHOICE_ROWS_MIN
    }

    /// Under [`CodeChoice::Auto`](crate::CodeChoice::Auto), turns walks to the shortest of sq4, sq8
    /// and f16 that finds as much as the vectors themselves do, or to these: at most one in 200 of
    /// the nearest 10 less, with beams of 32 and of 96, for 96 to 256 rows as queries. Any
    /// calibration is dropped. Under another choice, under Hamming and with fewer than
    /// [`CHOICE_ROWS_MIN`] rows, does nothing.
    ///
    /// A graph does so itself, once, when it has so many and takes in the next; until then it has
    /// sq8. Whoever has many more rows now may do so again. Links stay as they are. `proceed`
    /// is asked now and then; where it breaks, so does this, and nothing has changed.
    ///
    /// Equal graphs and rows give equal codes, on any number of threads and any instruction set.
    /// Cost: an [`exact_batch`](crate::exact_batch) of the queries, up to eight searches for each,
    /// and up to three codes of every row.
    ///
    /// # Panics
    /// If `rows` has other dimensions than the graph or lacks a row of it.
    pub fn choose_code(
        &mut self,
        rows: &Rows<'_>,
        exec: &Executor,
        proceed: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.check_rows(rows);
        if !self.has_choice() {
            return ControlFlow::Continue(());
        }
        let before = (self.code, replace(&mut self.codes, Table::new(1)));
        match self.measure_codes(rows, exec, proceed) {
            ControlFlow::Continue((code, codes)) => {
                self.turn_to(code, codes);
                ControlFlow::Continue(())
            }
            ControlFlow::Break(()) => {
                (self.code, self.codes) = before;
                ControlFlow::Break(())
            }
        }
    }

    /// Walks compare `codes` from now on, of all rows.
    pub(crate) fn turn_to(&mut self, code: Code, codes: Table<i8>) {
        (self.code, self.codes) = (code, codes);
        self.is_code_measured = true;
        self.build_codes = code_table(self.build_code(), self.params.dims);
        self.calibration = None;
        self.changed = Changed::all();
    }

    /// The code to choose and that of every row. Leaves any code behind.
    fn measure_codes(
        &mut self,
        rows: &Rows<'_>,
        exec: &Executor,
        proceed: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> ControlFlow<(), (Code, Table<i8>)> {
        let queries = Queries::choose(self, rows, usize::from(K), exec, proceed)?;
        self.code = Code::None;
        let found = |graph: &Self| {
            let measuring = Measuring { graph, rows, exec, queries: &queries, step: 1 };
            BEAMS.map(|ef| measuring.hits(K, ef).iter().sum::<usize>())
        };
        let by_vectors = found(self);
        let (dims, vector_len_bytes) = (self.params.dims, size_of::<f32>() * rows.stride());
        // A short row is filled up by a code of few bits, to the length of one of more.
        let mut candidates = CANDIDATES;
        candidates.sort_by_key(|code| code.len_bytes(dims));
        for code in candidates.into_iter().filter(|code| code.len_bytes(dims) < vector_len_bytes) {
            proceed()?;
            self.code = code;
            self.codes = encode_all(self, code, rows, exec);
            let is_as_good = |(by_code, by_vectors): (usize, usize)| {
                by_code + by_vectors / LOST_SHARE >= by_vectors
            };
            if found(self).into_iter().zip(by_vectors).all(is_as_good) {
                return ControlFlow::Continue((code, replace(&mut self.codes, Table::new(1))));
            }
        }
        ControlFlow::Continue((Code::None, Table::new(1)))
    }
}
