//! Which rows of a collection a search may find, as the caller says it: by their ids.
//!
//! Keeps the caller's sets and predicates. Which rows they stand for is found by the collection
//! (`collection/passing.rs`), for each call anew.

use crate::id::Id;
use roaring::{RoaringBitmap, RoaringTreemap};
use std::fmt;
use std::sync::Arc;

/// Which rows a search may find. A clone is cheap and shares the ids.
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
    /// The rows of these ids. Cost of a call: a lookup each.
    #[must_use]
    pub fn ids(ids: impl IntoIterator<Item = Id>) -> Self {
        Self { kind: Kind::Ids(ids.into_iter().collect()) }
    }

    /// The rows whose ids are integers of a set, below 2^32. Cost of a call: a step for each where
    /// ids are row numbers; else a lookup each, or one for each row, whichever are fewer.
    #[must_use]
    pub fn bitmap(ids: RoaringBitmap) -> Self {
        Self { kind: Kind::Bitmap(Arc::new(ids)) }
    }

    /// The rows whose ids are integers of a set. Cost: as of [`bitmap`](Self::bitmap).
    #[must_use]
    pub fn treemap(ids: RoaringTreemap) -> Self {
        Self { kind: Kind::Treemap(Arc::new(ids)) }
    }

    /// The rows for whose ids `passes` is true. Cost of a call: one of `passes` for each row; who
    /// searches often by the same keeps a set.
    ///
    /// It is asked with no lock held, of one state of the collection, and may use the database.
    /// Where it panics, so does the search.
    #[must_use]
    pub fn predicate(passes: impl Fn(&Id) -> bool + Send + Sync + 'static) -> Self {
        Self { kind: Kind::Predicate(Arc::new(passes)) }
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
        f.debug_struct("Filter").field("kind", &kind).field("count", &count).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_prints_how_many_ids_it_has_and_not_which() {
        let text = |filter: &Filter| format!("{filter:?}");
        let ids = Filter::ids([Id::from(1), Id::from("b")]);
        assert_eq!(text(&ids), r#"Filter { kind: "ids", count: Some(2) }"#);
        let predicate = Filter::predicate(|_| true);
        assert_eq!(text(&predicate.clone()), r#"Filter { kind: "predicate", count: None }"#);
    }
}
