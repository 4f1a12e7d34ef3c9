//! Which rows of a collection a search may find, as the caller says it: by their ids.
//!
//! Keeps the caller's sets and predicates, and the rows that a set last stood for. Which these are
//! is found by the collection (`collection/passing.rs`).

use crate::id::Id;
use crate::sync::Mutex;
use gannet_hnsw::RowSet;
use roaring::{RoaringBitmap, RoaringTreemap};
use std::fmt;
use std::sync::Arc;

/// Which rows a search may find. A clone is cheap and shares the ids.
///
/// Which rows a set of ids stands for is found out by the first search with it and kept, a bit for
/// each row of the collection, for those that follow until a row comes or goes: who searches often
/// by the same ids keeps the filter, or clones of it.
///
/// Ids that a collection does not have are passed over, and so are integers where its ids are
/// bytes.
///
/// ```
/// use gannet::{Filter, Id, SearchOptions};
///
/// let mut options = SearchOptions::new(10);
/// options.filter = Some(Filter::ids([Id::from(7), Id::from("seven")]));
/// ```
#[derive(Clone)]
pub struct Filter {
    pub(crate) kind: Kind,
    last: Arc<Mutex<Option<Last>>>,
}

/// The rows that a filter last stood for, in the state of a collection of this stamp.
#[derive(Clone)]
struct Last {
    stamp: u64,
    rows: Arc<RowSet>,
}

/// What a filter is made of.
#[derive(Clone)]
pub(crate) enum Kind {
    Ids(Arc<[Id]>),
    Bitmap(Arc<RoaringBitmap>),
    Treemap(Arc<RoaringTreemap>),
    Predicate(Arc<dyn Fn(&Id) -> bool + Send + Sync>),
}

impl Filter {
    fn of(kind: Kind) -> Self {
        Self { kind, last: Arc::default() }
    }

    /// The rows it stands for in the state of a collection that `stamp` tells from all others:
    /// `find` says which, if it was not that state the last time.
    pub(crate) fn rows(&self, stamp: u64, find: impl FnOnce() -> RowSet) -> Arc<RowSet> {
        if let Some(last) = self.last.lock().as_ref().filter(|last| last.stamp == stamp) {
            return Arc::clone(&last.rows);
        }
        let rows = Arc::new(find());
        *self.last.lock() = Some(Last { stamp, rows: Arc::clone(&rows) });
        rows
    }

    /// The rows of these ids. Cost, where it is found out: a lookup each.
    #[must_use]
    pub fn ids(ids: impl IntoIterator<Item = Id>) -> Self {
        Self::of(Kind::Ids(ids.into_iter().collect()))
    }

    /// The rows whose ids are integers of a set, below 2^32. Cost, where it is found out: a step
    /// for each where ids are row numbers; else a lookup each, or one for each row, whichever are
    /// fewer.
    #[must_use]
    pub fn bitmap(ids: RoaringBitmap) -> Self {
        Self::of(Kind::Bitmap(Arc::new(ids)))
    }

    /// The rows whose ids are integers of a set. Cost: as of [`bitmap`](Self::bitmap).
    #[must_use]
    pub fn treemap(ids: RoaringTreemap) -> Self {
        Self::of(Kind::Treemap(Arc::new(ids)))
    }

    /// The rows for whose ids `passes` is true. Cost of a call: one of `passes` for each row; who
    /// searches often by the same keeps a set.
    ///
    /// It is asked with no lock held, of one state of the collection, and may use the database.
    /// Where it panics, so does the search.
    #[must_use]
    pub fn predicate(passes: impl Fn(&Id) -> bool + Send + Sync + 'static) -> Self {
        Self::of(Kind::Predicate(Arc::new(passes)))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, count) = match &self.kind {
            Kind::Ids(ids) => ("ids", Some(ids.len() as u64)),
            Kind::Bitmap(ids) => ("bitmap", Some(ids.len())),
            Kind::Treemap(ids) => ("treemap", Some(ids.len())),
            Kind::Predicate(_) => ("predicate", None),
        };
        let mut shape = f.debug_struct("Filter");
        shape.field("kind", &kind).field("count", &count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_prints_how_many_ids_it_has_and_not_which() {
        let text = |filter: &Filter| format!("{filter:?}");
        let ids = Filter::ids([Id::from(1), Id::from("b")]);
        assert_eq!(text(&ids), r#"Filter { kind: "ids", count: Some(2), .. }"#);
        let predicate = Filter::predicate(|_| true);
        assert_eq!(text(&predicate.clone()), r#"Filter { kind: "predicate", count: None, .. }"#);
    }
}
