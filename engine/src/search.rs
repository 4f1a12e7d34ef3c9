//! Searching: the graph for what it holds, and each row that it does not hold yet.

use crate::collection::{Collection, Waiting};
use crate::damage::Corruption;
use crate::database::{Core, Database, ViewOf};
use crate::error::SearchError;
use crate::filter::{Filter, Kind};
use crate::id::Id;
use gannet_hnsw::{
    Allowed, Executor, Metric, Neighbor, Plan, RowSet, SearchContext, VectorFault, check_binary,
    check_finite, exact_batch, exact_beside, normalise,
};
use gannet_storage::Storage;
use std::ops::Deref;
use std::sync::Arc;

/// Queries that one thread answers before it takes others.
const QUERIES_A_TASK: usize = 16;

/// How wide the beam of a search is: the wider, the better the answer and the slower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ef {
    /// So many rows, at least 1. Less than `k` is raised to `k`, and under codes of half a byte or
    /// a bit to a quarter more.
    Fixed(usize),
    /// The narrowest with which searches of this collection find this share of the true nearest,
    /// above 0 and below 1, as a checkpoint has measured it. Where none is wide enough, and in a
    /// graph of fewer than 2,048 rows, which is not measured, every row is looked at instead:
    /// [`How::is_exact`].
    ///
    /// Measured with rows of the graph as queries, each as if it were not there itself. Queries of
    /// another kind than the rows may need more.
    Auto(f32),
}

impl From<usize> for Ef {
    fn from(ef: usize) -> Self {
        Self::Fixed(ef)
    }
}

/// How to search.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SearchOptions {
    /// Neighbours asked for, at least 1. More than there are gives all.
    pub k: usize,
    /// Width of the beam. Default 64.
    pub ef: Ef,
    /// Look at every row instead of walking the graph. Default false.
    pub exact: bool,
    /// Find these rows alone. Default none: every live row. A width of beam finds about the share
    /// of the nearest that it finds without a filter.
    pub filter: Option<Filter>,
}

impl SearchOptions {
    /// The `k` nearest, with the defaults.
    #[must_use]
    pub const fn new(k: usize) -> Self {
        Self { k, ef: Ef::Fixed(64), exact: false, filter: None }
    }
}

/// A vector found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Its id.
    pub id: Id,
    /// How far it is in the collection's metric, smaller is nearer: the square of the distance
    /// (L2), 1 minus the cosine, or the negated inner product (dot).
    pub distance: f32,
}

/// What a search found, nearest first, and how: a list of [`Hit`]s.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    hits: Vec<Hit>,
    how: How,
}

/// How an answer came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct How {
    /// Every row that passes was looked at, so nothing nearer was missed.
    pub is_exact: bool,
    /// How those rows were found that the graph holds.
    pub plan: Plan,
    /// Live rows that pass the filter; without one all live rows.
    pub passing: u64,
    /// Width of the beam that walked the graph; 0 if none did.
    pub ef: u64,
    /// Nodes of the graph whose links were followed.
    pub visited: u64,
    /// Distances computed in the graph, of codes or of vectors.
    pub distances: u64,
    /// Rows found by their codes that were put in order by exact distances.
    pub ranked: u64,
    /// Vectors of rows that were looked at one after the other: of all that pass in an exact
    /// search, else of those among them that the graph does not hold yet.
    pub scanned: u64,
}

impl Answer {
    /// How it came about.
    #[must_use]
    pub fn how(&self) -> How {
        self.how
    }

    /// What was found.
    #[must_use]
    pub fn into_hits(self) -> Vec<Hit> {
        self.hits
    }
}

impl Deref for Answer {
    type Target = [Hit];

    fn deref(&self) -> &[Hit] {
        &self.hits
    }
}

impl IntoIterator for Answer {
    type Item = Hit;
    type IntoIter = std::vec::IntoIter<Hit>;

    fn into_iter(self) -> Self::IntoIter {
        self.hits.into_iter()
    }
}

impl<'a> IntoIterator for &'a Answer {
    type Item = &'a Hit;
    type IntoIter = std::slice::Iter<'a, Hit>;

    fn into_iter(self) -> Self::IntoIter {
        self.hits.iter()
    }
}

impl<S: Storage> Database<S> {
    /// The `k` nearest vectors of a collection, nearest first, equals in order of insertion. Finds
    /// every acknowledged row at once: what the graph does not hold yet is scanned.
    ///
    /// Returns fewer than `k` only where there are fewer, or fewer pass the filter. Reads one state
    /// of the collection, and neither waits for writers nor keeps them waiting. An exact search is
    /// shared out among [`Config::threads`](crate::Config::threads).
    ///
    /// # Errors
    /// [`SearchError`].
    ///
    /// # Panics
    /// If the predicate of a filter does.
    pub fn search(
        &self,
        collection: &str,
        query: &[f32],
        options: &SearchOptions,
    ) -> Result<Answer, SearchError> {
        let found = |filter: Option<&Filter>| self.core.find(collection, filter);
        let mut answers = self.core.search(found, &[query], options, &Executor::Serial)?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// The answers that [`search`](Self::search) gives to each of `queries`, in their order, at one
    /// state of the collection; shared out among [`Config::threads`](crate::Config::threads). Which
    /// rows pass the filter is found out once for all of them.
    ///
    /// # Errors
    /// As [`search`](Self::search), of the first query that cannot be answered; then there is no
    /// answer to any.
    ///
    /// # Panics
    /// As [`search`](Self::search).
    pub fn search_batch(
        &self,
        collection: &str,
        queries: &[&[f32]],
        options: &SearchOptions,
    ) -> Result<Vec<Answer>, SearchError> {
        let found = |filter: Option<&Filter>| self.core.find(collection, filter);
        self.core.search(found, queries, options, self.core.executor())
    }
}

/// A collection, and the rows of it that pass a filter, where that is known.
pub(crate) type Found<S> = (Arc<Collection<ViewOf<S>>>, Option<Arc<RowSet>>);

impl<S: Storage> Core<S> {
    /// A collection as it is now, with the rows that a filter names.
    fn find(&self, collection: &str, filter: Option<&Filter>) -> Result<Found<S>, SearchError> {
        let unknown = || SearchError::UnknownCollection { name: collection.to_owned() };
        let state = self.state.read();
        let live = state.collection(collection).ok_or_else(unknown)?;
        Ok((Arc::clone(live.now()), filter.and_then(|filter| live.passing(filter))))
    }

    /// Answers queries of what `find` finds; those that walk the graph on the threads of `walkers`.
    pub(crate) fn search(
        &self,
        find: impl FnOnce(Option<&Filter>) -> Result<Found<S>, SearchError>,
        queries: &[&[f32]],
        options: &SearchOptions,
        walkers: &Executor,
    ) -> Result<Vec<Answer>, SearchError> {
        if options.k == 0 {
            return Err(SearchError::ZeroK);
        }
        match options.ef {
            Ef::Fixed(0) => return Err(SearchError::ZeroEf),
            Ef::Auto(target) if !(target > 0.0 && target < 1.0) => {
                return Err(SearchError::RecallTarget { found: target });
            }
            Ef::Fixed(_) | Ef::Auto(_) => {}
        }
        self.indexing.note_search();
        let filter = options.filter.as_ref();
        let (now, passing) = find(filter)?;
        let found = &*now;
        let passing = match filter.map(|filter| &filter.kind) {
            Some(Kind::Predicate(passes)) => Some(Arc::new(found.passing(&**passes))),
            _ => passing,
        };
        let prepared = queries.iter().map(|query| prepare(found, query));
        let prepared = prepared.collect::<Result<Vec<_>, _>>()?;
        let hit = |n: &Neighbor| Hit { id: found.id_of(n.row), distance: n.distance };
        let answer = |neighbors: &[Neighbor], how: How| Answer {
            hits: neighbors.iter().map(hit).collect(),
            how,
        };
        let searched = Searched { collection: found, passing: passing.as_deref(), k: options.k };
        let Some(ef) = beam(found, options) else {
            let (lists, how) = searched.exact(&prepared, self.executor())?;
            return Ok(lists.iter().map(|list| answer(list, how)).collect());
        };
        let groups = prepared.len().div_ceil(QUERIES_A_TASK);
        let answered = walkers.map(groups, |group| {
            let mut context = self.contexts.lock().pop().unwrap_or_default();
            let queries = prepared.chunks(QUERIES_A_TASK).nth(group).expect("so many groups");
            let near = |query: &Vec<f32>| {
                let (neighbors, how) = searched.nearest(query, ef, &mut context)?;
                Ok(answer(&neighbors, how))
            };
            let answers: Result<Vec<_>, Corruption> = queries.iter().map(near).collect();
            self.contexts.lock().push(context);
            answers
        });
        let answered: Vec<Vec<_>> = answered.into_iter().collect::<Result<_, _>>()?;
        Ok(answered.into_iter().flatten().collect())
    }
}

/// The query as the collection compares it.
fn prepare<V: Deref<Target = [u8]> + Send + Sync>(
    collection: &Collection<V>,
    query: &[f32],
) -> Result<Vec<f32>, SearchError> {
    if query.len() != collection.params.dims as usize {
        return Err(SearchError::Dimension {
            collection: collection.name.clone(),
            expected: collection.params.dims,
            found: query.len(),
        });
    }
    let mut query = query.to_vec();
    let checked = match collection.params.metric {
        Metric::Cosine => normalise(&mut query).map(drop),
        Metric::L2 | Metric::Dot => check_finite(&query),
        Metric::Hamming => check_binary(&query),
    };
    match checked {
        Ok(()) => Ok(query),
        Err(VectorFault::NonFinite { index }) => Err(SearchError::NotFinite { component: index }),
        Err(VectorFault::NotBinary { index }) => Err(SearchError::NotBinary { component: index }),
        Err(_) => Err(SearchError::ZeroVector),
    }
}

/// The width of the beam; `None` where every row is to be looked at.
fn beam<V: Deref<Target = [u8]> + Send + Sync>(
    collection: &Collection<V>,
    options: &SearchOptions,
) -> Option<usize> {
    match options.ef {
        _ if options.exact => None,
        Ef::Fixed(ef) => Some(ef),
        Ef::Auto(target) => collection.graph().calibration()?.ef(options.k, target),
    }
}

/// What queries are answered from.
struct Searched<'a, V> {
    collection: &'a Collection<V>,
    /// Live rows that pass the filter; `None` without one.
    passing: Option<&'a RowSet>,
    k: usize,
}

impl<V: Deref<Target = [u8]> + Send + Sync> Searched<'_, V> {
    /// The rows that may be found, in the graph or not.
    fn rows(&self) -> &RowSet {
        self.passing.unwrap_or(self.collection.live())
    }

    /// The nearest of each query, every row that passes looked at.
    fn exact(
        &self,
        queries: &[Vec<f32>],
        executor: &Executor,
    ) -> Result<(Vec<Vec<Neighbor>>, How), Corruption> {
        let Self { collection, k, .. } = *self;
        let (allowed, row_count) = (self.rows(), collection.row_count());
        let passes = |row: u32| allowed.contains(row);
        let live: Option<&(dyn Fn(u32) -> bool + Sync)> =
            if allowed.count() == row_count { None } else { Some(&passes) };
        let kernel = collection.graph().kernel();
        let queries: Vec<&[f32]> = queries.iter().map(|query| &query[..]).collect();
        let (rows, k) = (0..row_count, k.min(allowed.count() as usize));
        let lists = collection
            .with_rows(|all| exact_batch(all, rows, &queries, k, live, kernel, executor))?;
        let (plan, passing) = (Plan::Exact, u64::from(allowed.count()));
        Ok((lists, How { is_exact: true, plan, passing, scanned: passing, ..How::default() }))
    }

    /// The nearest of a query: through the graph for the rows it holds, each of the others looked
    /// at.
    fn nearest(
        &self,
        query: &[f32],
        ef: usize,
        context: &mut SearchContext,
    ) -> Result<(Vec<Neighbor>, How), Corruption> {
        let (collection, graph) = (self.collection, self.collection.graph());
        let count = self.rows().count();
        let k = self.k.min(count as usize);
        let ef = graph.beam_width(k, ef);
        let allowed = match self.passing {
            Some(rows) => Allowed::Only(rows),
            None if collection.leaving().is_empty() => Allowed::All,
            None => Allowed::AllBut(collection.leaving()),
        };
        let waiting = collection.waiting(allowed);
        let mut out = Vec::new();
        let plan = collection.with_rows(|rows| {
            let plan = graph.search(rows, query, k, ef, allowed, context, &mut out);
            if !waiting.is_empty() {
                let some: Vec<_> = waiting.iter().map(Waiting::rows).collect();
                let known = std::mem::take(&mut out);
                exact_beside(rows, &some, query, &known, k, graph.kernel(), &mut out);
            }
            plan
        })?;
        let waiting = waiting.iter().map(|some| u64::from(some.count())).sum::<u64>();
        let in_graph = u64::from(count) - waiting;
        let effort = context.effort();
        let mut how = How {
            is_exact: plan == Plan::Exact,
            plan,
            passing: count.into(),
            ef: if matches!(plan, Plan::Walk | Plan::Expand) { ef as u64 } else { 0 },
            visited: effort.hops.into(),
            distances: u64::from(effort.distances) + u64::from(effort.upper_distances),
            ranked: effort.ranked.into(),
            scanned: waiting,
        };
        if how.is_exact {
            // What was looked at in the graph was so in its rows, not by its links.
            how.distances = how.distances.saturating_sub(in_graph);
            how.scanned += in_graph;
        }
        Ok((out, how))
    }
}
