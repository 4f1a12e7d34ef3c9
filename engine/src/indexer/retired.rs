//! Graphs that others were learnt in the place of, until no search walks them.
//!
//! Whoever lets go of a graph last gives back the memory that was of that graph alone. That is not
//! to be a search: the indexer holds on to a graph until it is the last. Without its thread, and
//! for the graph before a merge, it may be a search.

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

#[cfg(test)]
mod tests {
    use super::*;
    use gannet_hnsw::{Metric, Params};

    #[test]
    fn a_graph_is_held_until_nobody_else_has_it() {
        let retired = Retired::default();
        let graph = Arc::new(Graph::new(Params::new(2, Metric::L2)));
        let (search, left) = (Arc::clone(&graph), Arc::downgrade(&graph));
        retired.take(graph);
        assert!(retired.has_some(), "a search walks it");
        drop(search);
        assert!(left.upgrade().is_some(), "the search was not the last");
        retired.drop_unused();
        assert!(left.upgrade().is_none() && !retired.has_some());
    }
}
