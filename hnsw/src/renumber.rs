//! The same graph over rows that have new numbers, without the numbers that no row has any more.
//!
//! Keeps what a row keeps when its number changes: links, layers and codes. New numbers are in the
//! order of the old ones, so nothing has to be chosen again: searches break ties alike, and the
//! entry point is the same row. Which numbers are kept, and moving the vectors, is the caller's.

use std::sync::Arc;

use crate::changed::Changed;
use crate::graph::{Entry, Graph, NO_ROW};
use crate::memory::Place;
use crate::table::Table;

impl Graph {
    /// The graph in which number `kept[i]` has become `i`, over rows that have moved with it:
    /// searches find the same rows, at the same distances. All other numbers are gone, with the
    /// room that they took. A number that is kept may be of no row, for one that is still to join:
    /// below the highest row it keeps its room and its layers. Parameters, code, calibration and
    /// instruction set stay.
    ///
    /// Shares no memory with this graph. Cost: a copy, with a random read of 4 bytes for each link,
    /// and until it is done 4 bytes of memory for each old and each new number.
    ///
    /// # Panics
    /// If `kept` is not strictly ascending, or lacks a row of the graph.
    #[must_use]
    pub fn renumbered(&self, kept: &[u32]) -> Self {
        assert!(kept.is_sorted_by(|a, b| a < b), "row numbers to keep out of order");
        let kept = &kept[..kept.partition_point(|&old| old < self.len())];
        let mut news = vec![NO_ROW; self.len() as usize];
        for (new, &old) in (0..).zip(kept) {
            news[old as usize] = new;
        }
        if let Some(row) = self.members.iter().find(|&row| news[row as usize] == NO_ROW) {
            panic!("row {row} is in the graph and not kept");
        }
        // What fills up a list has no new number either.
        let renumber = |old: u32| news.get(old as usize).copied().unwrap_or(NO_ROW);

        let old_starts = self.upper_starts.view();
        let start = |old: u32| old_starts.row(old as usize)[0];
        let uppers = |old: u32| start(old) as usize..start(old + 1) as usize;
        let mut starts = Vec::with_capacity(kept.len() + 1);
        let mut end = 0;
        starts.push(end);
        for &old in kept {
            end += start(old + 1) - start(old);
            starts.push(end);
        }
        let indices = || kept.iter().map(|&old| old as usize);
        let codes = |codes: &Table<i8>| {
            let count = if codes.len() > 0 { kept.len() } else { 0 };
            codes.picked(indices().take(count), count, |byte| byte)
        };
        let members = (0..).zip(kept).filter(|(_, old)| self.contains(**old));
        Self {
            params: self.params.clone(),
            kernel: self.kernel,
            members: Arc::new(members.map(|(new, _)| new).collect()),
            entry: self.entry.map(|Entry { row, layer }| Entry { row: renumber(row), layer }),
            base: self.base.picked(indices(), kept.len(), renumber),
            upper: self.upper.picked(
                kept.iter().flat_map(|&old| uppers(old)),
                end as usize,
                renumber,
            ),
            upper_starts: Table::from_place(1, Place::of(&starts)),
            code: self.code,
            is_code_measured: self.is_code_measured,
            codes: codes(&self.codes),
            build_codes: codes(&self.build_codes),
            calibration: self.calibration.clone(),
            changed: Changed::all(),
        }
    }
}
