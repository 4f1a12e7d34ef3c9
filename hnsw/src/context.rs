//! The memory of a search, kept between searches so that a warm one allocates nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use crate::key::Key;
use crate::pool::Pool;
use crate::space::Aim;
use crate::visited::Visited;

/// What one search needs besides the graph. One thread uses it at a time, for any graph, for
/// searches and insertions alike; it grows with the largest graph and beam and never shrinks.
#[derive(Clone, Default)]
pub struct SearchContext {
    pub(crate) beam: Beam,
    /// The query as the walk compares it.
    pub(crate) aim: Aim,
    /// The query as vectors are compared.
    pub(crate) exact: Aim,
    /// What is put in order by exact distances.
    pub(crate) ranked: Vec<Key>,
    pub(crate) distances: Vec<f32>,
}

/// The memory of a walk.
#[derive(Clone, Default)]
pub(crate) struct Beam {
    pub(crate) visited: Visited,
    pub(crate) pool: Pool,
    /// Rows to compare next: links of the row at hand that were not seen before, above all.
    pub(crate) fresh: Vec<u32>,
    /// Rows to look past: links that do not pass a filter, above all.
    pub(crate) via: Vec<u32>,
    /// Beam of the searches that the pool does not serve: rows to follow, and the best found.
    pub(crate) open: BinaryHeap<Reverse<Key>>,
    pub(crate) found: BinaryHeap<Key>,
    pub(crate) effort: Effort,
}

/// What a search cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Effort {
    /// Rows whose links were followed on layer 0.
    pub hops: u32,
    /// Distances computed on layer 0.
    pub distances: u32,
    /// Distances computed on the layers above.
    pub upper_distances: u32,
    /// Rows put in order by exact distances, where the walk compared codes.
    pub ranked: u32,
    /// Links looked up among the rows seen before.
    #[cfg(feature = "counters")]
    pub visited_tests: u32,
    /// Bytes of lists, codes and vectors that were read, whole ones each time.
    #[cfg(feature = "counters")]
    pub bytes: u64,
}

impl SearchContext {
    /// An empty context. Allocates nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the last search cost.
    #[must_use]
    pub fn effort(&self) -> Effort {
        self.beam.effort
    }

    /// Bytes it holds on the heap: about one a row of the largest graph searched, and a few
    /// kilobytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let Self { beam, aim, exact, ranked, distances } = self;
        let aims = aim.memory_bytes() + exact.memory_bytes();
        let ranking = ranked.capacity() * size_of::<Key>() + distances.capacity() * 4;
        beam.memory_bytes() + aims + ranking
    }
}

impl Beam {
    pub(crate) fn memory_bytes(&self) -> usize {
        let keys = self.open.capacity() + self.found.capacity();
        let memory = self.visited.memory_bytes() + self.pool.memory_bytes();
        let rows = self.fresh.capacity() + self.via.capacity();
        memory + keys * size_of::<Key>() + rows * size_of::<u32>()
    }
}

impl fmt::Debug for SearchContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchContext").field("memory_bytes", &self.memory_bytes()).finish()
    }
}
