//! Which rows of a graph have changed since somebody last asked.
//!
//! Keeps what a patch of the graph has to say again: rows whose lists, layers or codes may differ,
//! and those that came or went. The graph notes it wherever it writes a list or takes a row in;
//! `image/patch` makes bytes of it.

use crate::rowset::RowSet;

/// What has changed in a graph ([`Graph::take_changed`](crate::Graph::take_changed)): some rows, or
/// all of it. What a graph measured of itself is not counted.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// Then the sets are empty.
    is_all: bool,
    /// Rows whose lists were written, and those that came or went. Some may be gone.
    rows: RowSet,
    /// Those of them that joined: their codes are new.
    joined: RowSet,
}

impl Changed {
    /// Nothing has changed. Allocates nothing yet.
    #[must_use]
    pub const fn none() -> Self {
        Self { is_all: false, rows: RowSet::new(), joined: RowSet::new() }
    }

    /// All has changed.
    #[must_use]
    pub const fn all() -> Self {
        Self { is_all: true, rows: RowSet::new(), joined: RowSet::new() }
    }

    /// Whether all has changed, so that there can be no patch.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.is_all
    }

    /// Adds what has changed after this. Cost: a step for 64 rows.
    pub fn add(&mut self, later: &Self) {
        if later.is_all {
            *self = Self::all();
        } else if !self.is_all {
            self.rows.insert_all(&later.rows);
            self.joined.insert_all(&later.joined);
        }
    }

    /// Bytes it holds on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.rows.memory_bytes() + self.joined.memory_bytes()
    }

    /// A list of the row is another, or there is room for it.
    pub(crate) fn note(&mut self, row: u32) {
        if !self.is_all {
            self.rows.insert(row);
        }
    }

    /// The row has joined.
    pub(crate) fn note_joined(&mut self, row: u32) {
        self.note(row);
        if !self.is_all {
            self.joined.insert(row);
        }
    }

    /// Rows that have changed, in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = u32> {
        self.rows.iter()
    }

    /// Whether the row has joined, if it is in the graph.
    pub(crate) fn has_joined(&self, row: u32) -> bool {
        self.joined.contains(row)
    }
}
