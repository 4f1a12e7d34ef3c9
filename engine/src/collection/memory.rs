//! What memory a collection takes, line by line.

use super::Collection;
use super::ids::IdIndex;
use gannet_hnsw::RowSet;
use std::iter::Sum;
use std::ops::{Add, Deref};

/// Bytes of memory, room for growth included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Allocated.
    pub heap: u64,
    /// Views of sealed files of a storage whose views copy nothing
    /// ([`Caps`](gannet_storage::Caps) says so): pages of the system's cache, which it takes back
    /// when it needs them.
    pub mapped: u64,
}

impl MemoryUse {
    /// Both.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.heap + self.mapped
    }

    fn heap(bytes: usize) -> Self {
        Self { heap: bytes as u64, mapped: 0 }
    }
}

impl Add for MemoryUse {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { heap: self.heap + other.heap, mapped: self.mapped + other.mapped }
    }
}

impl Sum for MemoryUse {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// What memory a collection takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CollectionMemory {
    /// Vectors.
    pub vectors: MemoryUse,
    /// What stands for them in walks.
    pub codes: MemoryUse,
    /// Codes that links are chosen by, where walks compare coarser ones: none until rows join the
    /// graph of an open database.
    pub build_codes: MemoryUse,
    /// Lengths of vectors before they were normalised; under cosine alone.
    pub norms: MemoryUse,
    /// Links of the graph's layer 0.
    pub links: MemoryUse,
    /// Links of the layers above, and where they begin.
    pub upper_links: MemoryUse,
    /// The id of each row; rows whose ids are their own numbers, from the first on, take nothing.
    pub ids: MemoryUse,
    /// The row of each id that is kept.
    pub id_index: MemoryUse,
    /// Which rows are live, which of them the graph does not hold yet, or holds no longer for long,
    /// and which have changed in it since the last checkpoint.
    pub row_sets: MemoryUse,
    /// What stands for rows that no graph holds yet, where searches look at them.
    pub sketches: MemoryUse,
}

impl CollectionMemory {
    /// Each line with its name.
    #[must_use]
    pub const fn lines(&self) -> [(&'static str, MemoryUse); 10] {
        [
            ("vectors", self.vectors),
            ("codes", self.codes),
            ("build_codes", self.build_codes),
            ("norms", self.norms),
            ("links", self.links),
            ("upper_links", self.upper_links),
            ("ids", self.ids),
            ("id_index", self.id_index),
            ("row_sets", self.row_sets),
            ("sketches", self.sketches),
        ]
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> MemoryUse {
        self.lines().into_iter().map(|(_, line)| line).sum()
    }
}

impl<V: Deref<Target = [u8]> + Send + Sync> Collection<V> {
    /// What memory it takes, where views copy nothing or are copies on the heap. Cost: a step for
    /// each id that is kept.
    /// `changed` are those of the sets of rows that have changed in the graph.
    pub(super) fn memory(
        &self,
        index: &IdIndex,
        changed: usize,
        views_copy_nothing: bool,
    ) -> CollectionMemory {
        let (own, viewed) = self.rows.memory_bytes();
        let graph = self.graph.memory();
        let with_viewed = |own: usize, viewed: usize| {
            let (heap, mapped) = if views_copy_nothing { (own, viewed) } else { (own + viewed, 0) };
            MemoryUse { heap: heap as u64, mapped: mapped as u64 }
        };
        let sets = [&self.live, &self.joining, &self.leaving].map(RowSet::memory_bytes);
        CollectionMemory {
            vectors: with_viewed(own, viewed),
            codes: with_viewed(graph.codes, graph.viewed_codes),
            build_codes: MemoryUse::heap(graph.build_codes),
            norms: MemoryUse::heap(self.norms.memory_bytes()),
            links: with_viewed(graph.links, graph.viewed_links),
            upper_links: with_viewed(graph.upper_links, graph.viewed_upper_links),
            ids: MemoryUse::heap(self.ids.memory_bytes()),
            id_index: MemoryUse::heap(index.memory_bytes()),
            row_sets: MemoryUse::heap(sets.iter().sum::<usize>() + changed),
            sketches: MemoryUse::heap(self.sketches.memory_bytes()),
        }
    }
}
