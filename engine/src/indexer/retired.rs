//! Graphs that others took the place of, until no search walks them.
//!
//! Whoever lets go of a graph last gives back its memory, which takes milliseconds where much of it
//! was of that graph alone. That is not to be a search: the indexer holds on to a graph until it is
//! the last.

use crate::sync::Mutex;
use gannet_hnsw::Graph;
use std::sync::Arc;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Retired(Mutex<Vec<Arc<Graph>>>);

impl Retired {
    /// Another graph is in its place: nobody takes hold of it any more.
    pub(super) fn take(&self, graph: Arc<Graph>) {
        self.0.lock().push(graph);
        self.drop_unused();
    }

    /// Gives back what no search walks.
    pub(super) fn drop_unused(&self) {
        let mut graphs = self.0.lock();
        let unused: Vec<_> = graphs.extract_if(.., |graph| Arc::strong_count(graph) == 1).collect();
        // Not while others wait for the list.
        drop(graphs);
        drop(unused);
    }

    /// Whether searches walk some still.
    pub(super) fn has_some(&self) -> bool {
        !self.0.lock().is_empty()
    }
}
