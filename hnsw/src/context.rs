//! The memory of a search, kept between searches so that a warm one allocates nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use crate::key::Key;
use crate::pool::Pool;
use crate::visited::Visited;

/// What one search needs besides the graph. One thread uses it at a time, for any graph, for
/// searches and insertions alike; it grows with the largest graph and beam and never shrinks.
#[derive(Clone, Default)]
pub struct SearchContext {
    pub(crate) visited: Visited,
    pub(crate) pool: Pool,
    /// Links of the row at hand that were not seen before, and their distances.
    pub(crate) fresh: Vec<u32>,
    pub(crate) distances: Vec<f32>,
    /// Beam of the searches that the pool does not serve: rows to follow, and the best found.
    pub(crate) open: BinaryHeap<Reverse<Key>>,
    pub(crate) found: BinaryHeap<Key>,
    /// The query, padded to a stride.
    pub(crate) query: Vec<f32>,
}

impl SearchContext {
    /// An empty context. Allocates nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes it holds on the heap: about one a row of the largest graph searched, and a few
    /// kilobytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let keys = self.open.capacity() + self.found.capacity();
        let words = self.fresh.capacity() + self.distances.capacity() + self.query.capacity();
        self.visited.memory_bytes() + self.pool.memory_bytes() + keys * size_of::<Key>() + words * 4
    }
}

impl fmt::Debug for SearchContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchContext").field("memory_bytes", &self.memory_bytes()).finish()
    }
}
