//! Searching: the graph for what it holds, a scan for what it does not hold yet.

use crate::collection::Collection;
use crate::database::Database;
use crate::error::SearchError;
use crate::id::Id;
use gannet_hnsw::{
    Executor, Metric, Neighbor, SearchContext, VectorFault, check_binary, check_finite, exact,
    exact_batch, merge, normalise,
};
use gannet_storage::Storage;
use std::ops::Deref;

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
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SearchOptions {
    /// Neighbours asked for, at least 1. More than there are gives all.
    pub k: usize,
    /// Width of the beam. Default 64.
    pub ef: Ef,
    /// Look at every row instead of walking the graph. Default false.
    pub exact: bool,
}

impl SearchOptions {
    /// The `k` nearest, with the defaults.
    #[must_use]
    pub const fn new(k: usize) -> Self {
        Self { k, ef: Ef::Fixed(64), exact: false }
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
    /// Every live row was looked at, so nothing nearer was missed.
    pub is_exact: bool,
    /// Width of the beam that walked the graph; 0 if none did.
    pub ef: u64,
    /// Nodes of the graph whose links were followed.
    pub visited: u64,
    /// Distances computed in the graph, of codes or of vectors.
    pub distances: u64,
    /// Rows found by their codes that were put in order by exact distances.
    pub ranked: u64,
    /// Rows looked at one after the other: all live ones of an exact search, else those that the
    /// graph does not hold yet.
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
    /// Returns fewer than `k` only where there are fewer. Writers wait meanwhile. An exact search
    /// is shared out among [`Config::threads`](crate::Config::threads).
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn search(
        &self,
        collection: &str,
        query: &[f32],
        options: &SearchOptions,
    ) -> Result<Answer, SearchError> {
        let mut found = self.search_each(collection, &[query], options, &Executor::Serial)?;
        Ok(found.pop().unwrap_or_default())
    }

    /// The answers that [`search`](Self::search) gives to each of `queries`, in their order, at one
    /// state of the collection; shared out among [`Config::threads`](crate::Config::threads).
    ///
    /// # Errors
    /// As [`search`](Self::search), of the first query that cannot be answered; then there is no
    /// answer to any.
    pub fn search_batch(
        &self,
        collection: &str,
        queries: &[&[f32]],
        options: &SearchOptions,
    ) -> Result<Vec<Answer>, SearchError> {
        self.search_each(collection, queries, options, self.core.executor())
    }

    /// Answers queries; those that walk the graph on the threads of `walkers`.
    fn search_each(
        &self,
        collection: &str,
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
        let core = &self.core;
        let state = core.state.read();
        let unknown = || SearchError::UnknownCollection { name: collection.to_owned() };
        let found = state.collection(collection).ok_or_else(unknown)?;
        let prepared = queries.iter().map(|query| prepare(found, query));
        let prepared = prepared.collect::<Result<Vec<_>, _>>()?;
        let hit = |n: &Neighbor| Hit { id: found.id_of(n.row), distance: n.distance };
        let answer = |neighbors: &[Neighbor], how: How| Answer {
            hits: neighbors.iter().map(hit).collect(),
            how,
        };
        let Some(ef) = beam(found, options) else {
            let how = How { is_exact: true, scanned: found.live_count(), ..How::default() };
            let lists = exact_of(found, &prepared, options.k, core.executor());
            return Ok(lists.iter().map(|list| answer(list, how)).collect());
        };
        let groups = prepared.len().div_ceil(QUERIES_A_TASK);
        let answered = walkers.map(groups, |group| {
            let mut context = core.contexts.lock().pop().unwrap_or_default();
            let queries = prepared.chunks(QUERIES_A_TASK).nth(group).expect("so many groups");
            let near = |query: &Vec<f32>| {
                let (neighbors, how) = nearest(found, query, options.k, ef, &mut context);
                answer(&neighbors, how)
            };
            let answers: Vec<_> = queries.iter().map(near).collect();
            core.contexts.lock().push(context);
            answers
        });
        Ok(answered.into_iter().flatten().collect())
    }
}

/// The query as the collection compares it.
fn prepare<V: Deref<Target = [u8]>>(
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
fn beam<V: Deref<Target = [u8]>>(
    collection: &Collection<V>,
    options: &SearchOptions,
) -> Option<usize> {
    match options.ef {
        _ if options.exact => None,
        Ef::Fixed(ef) => Some(ef),
        Ef::Auto(target) => collection.graph().calibration()?.ef(options.k, target),
    }
}

/// Whether looking at every live row costs less than a walk among mostly dead ones: a walk computes
/// about 20 distances for each unit of `ef` and each live row it meets among `count / live` others.
fn walk_is_longer(live: usize, count: u32, ef: usize) -> bool {
    let (live, count) = (live as u64, u64::from(count));
    let walk = count.saturating_mul(20).saturating_mul(ef as u64);
    2 * live < count && live.saturating_mul(live) < walk
}

/// The nearest of each query, every live row looked at.
fn exact_of<V: Deref<Target = [u8]> + Send + Sync>(
    collection: &Collection<V>,
    queries: &[Vec<f32>],
    k: usize,
    executor: &Executor,
) -> Vec<Vec<Neighbor>> {
    let k = k.min(usize::try_from(collection.live_count()).unwrap_or(usize::MAX));
    let is_live = |row: u32| collection.is_live(row);
    let live: Option<&(dyn Fn(u32) -> bool + Sync)> =
        if collection.dead_count() == 0 { None } else { Some(&is_live) };
    let kernel = collection.graph().kernel();
    let queries: Vec<&[f32]> = queries.iter().map(|query| &query[..]).collect();
    collection.with_rows(|rows| {
        exact_batch(rows, 0..collection.row_count(), &queries, k, live, kernel, executor)
    })
}

fn nearest<V: Deref<Target = [u8]>>(
    collection: &Collection<V>,
    query: &[f32],
    k: usize,
    ef: usize,
    context: &mut SearchContext,
) -> (Vec<Neighbor>, How) {
    let count = collection.row_count();
    let live_count = usize::try_from(collection.live_count()).unwrap_or(usize::MAX);
    let k = k.min(live_count);
    let ef = collection.graph().beam_width(k, ef);
    let is_live = |row: u32| collection.is_live(row);
    let live: Option<&dyn Fn(u32) -> bool> =
        if collection.dead_count() == 0 { None } else { Some(&is_live) };
    let kernel = collection.graph().kernel();
    let mut how = How::default();
    let found = collection.with_rows(|rows| {
        let scan = |range: std::ops::Range<u32>| {
            let mut out = Vec::new();
            exact(rows, range, query, k, live, kernel, &mut out);
            out
        };
        let scan_all = |how: &mut How| {
            how.is_exact = true;
            how.scanned = collection.live_count();
            scan(0..count)
        };
        if walk_is_longer(live_count, count, ef) {
            return scan_all(&mut how);
        }
        let graph = collection.graph();
        let mut walked = Vec::new();
        graph.search(rows, query, k, ef, live, context, &mut walked);
        let effort = context.effort();
        how.ef = if graph.is_empty() { 0 } else { ef as u64 };
        how.visited = effort.hops.into();
        how.distances = u64::from(effort.distances) + u64::from(effort.upper_distances);
        how.ranked = effort.ranked.into();
        let mut out = walked;
        if graph.len() < count {
            how.scanned = collection.live_count() - collection.live_in_graph();
            let pending = scan(graph.len()..count);
            let mut merged = Vec::new();
            merge(&out, &pending, k, &mut merged);
            out = merged;
        }
        // A walk that ends short (rows that cannot be reached, many dead ones) is no answer.
        if out.len() < k { scan_all(&mut how) } else { out }
    });
    (found, how)
}
