//! Probing: what share of the true nearest rows searches find, measured on the collection as it is.
//!
//! Rows of the graph are taken as queries, each as if it were not there itself, and what a walk
//! finds is held against looking at every row. Done when somebody asks, and now and then by the
//! indexer, which keeps the latest of each collection and has a graph optimized that finds too
//! little.

use crate::collection::Collection;
use crate::damage::Corruption;
use crate::database::{Core, Database, ViewOf};
use crate::error::ReadError;
use gannet_hnsw::Executor;
use gannet_storage::Storage;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// What a probe looks for, and the beam it looks with.
const K: u16 = 10;
const EF: u16 = 64;
/// Probes of a collection that are kept.
const KEPT: usize = 256;
/// Fewer are too few to have a graph optimized.
const ENOUGH: usize = 64;
/// A graph that was optimized is so again when one row in so many has changed.
const CHANGED_SHARE: u64 = 10;

/// The share of the true nearest 10 that a beam of 64 finds, as it was measured with so many
/// queries.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RecallEstimate {
    /// The mean.
    pub recall: f32,
    /// The true share is from here, with a confidence of 95 %,
    pub low: f32,
    /// to here.
    pub high: f32,
    /// Rows that were taken as queries.
    pub queries: u64,
}

impl RecallEstimate {
    /// Of queries that found so many of ten; `None` of none. The interval is that of Wilson (1927),
    /// each query counted as one trial: hits of one query depend on each other.
    fn of(hits: impl ExactSizeIterator<Item = usize>) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let number = |count: usize| count as f32;
        let count = hits.len();
        if count == 0 {
            return None;
        }
        let n = number(count);
        let p = number(hits.sum::<usize>()) / (n * f32::from(K));
        // Of the normal distribution, 95 % lies within so many deviations.
        let z = 1.96_f32;
        let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
        let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        let (low, high) = ((middle - half).clamp(0.0, p), (middle + half).clamp(p, 1.0));
        Some(Self { recall: p, low, high, queries: count as u64 })
    }
}

/// Probes that the indexer makes.
pub(crate) struct Probes {
    /// Between two of them; `None` for none at all.
    interval: Option<Duration>,
    /// Below this, a graph is optimized.
    target: Option<f32>,
    next: Duration,
    by_collection: BTreeMap<u32, Latest>,
}

/// Of one collection.
#[derive(Default)]
struct Latest {
    hits: VecDeque<usize>,
    /// The number of changes when its graph was optimized for finding too little.
    optimized: Option<u64>,
}

impl Probes {
    pub(crate) fn new(per_minute: u32, target: Option<f32>) -> Self {
        let interval = Duration::from_secs(60).checked_div(per_minute);
        Self { interval, target, next: Duration::ZERO, by_collection: BTreeMap::new() }
    }

    /// Of a collection, as far as it was probed.
    pub(crate) fn estimate(&self, id: u32) -> Option<RecallEstimate> {
        RecallEstimate::of(self.by_collection.get(&id)?.hits.iter().copied())
    }

    /// What was found with a graph says nothing of the one that takes its place.
    pub(crate) fn forget(&mut self, id: u32) {
        if let Some(latest) = self.by_collection.get_mut(&id) {
            latest.hits.clear();
        }
    }

    /// How long until the next; `None` for never.
    pub(crate) fn wait(&self, now: Duration) -> Option<Duration> {
        self.interval.map(|_| self.next.saturating_sub(now))
    }
}

impl<S: Storage> Database<S> {
    /// Measures what share of the true nearest 10 rows a search of this collection with a beam of
    /// 64 finds, with `queries` of its rows as queries, chosen by chance. `None` without
    /// queries, and where the graph has no more than 10 rows.
    ///
    /// Cost: looking at every row for every query, shared out among
    /// [`Config::threads`](crate::Config::threads).
    ///
    /// # Errors
    /// `UnknownCollection`; `Corrupt`.
    pub fn probe(
        &self,
        collection: &str,
        queries: u32,
    ) -> Result<Option<RecallEstimate>, ReadError> {
        let core = &self.core;
        let unknown = || ReadError::UnknownCollection { name: collection.to_owned() };
        let now = {
            let state = core.state.read();
            Arc::clone(state.collection(collection).ok_or_else(unknown)?.now())
        };
        let hits = core.probe(&now, queries, core.executor())?;
        Ok(RecallEstimate::of(hits.into_iter()))
    }
}

impl<S: Storage> Core<S> {
    /// What each of some queries found.
    fn probe(
        &self,
        collection: &Collection<ViewOf<S>>,
        queries: u32,
        executor: &Executor,
    ) -> Result<Vec<usize>, Corruption> {
        let graph = collection.graph();
        if graph.count() <= u32::from(K) {
            return Ok(Vec::new());
        }
        let members = graph.members();
        let place = || self.chance.next_u64() % u64::from(graph.len());
        let row = || {
            let from = u32::try_from(place()).expect("below a 32-bit number");
            let at_or_after = (from..graph.len()).find(|&row| members.contains(row));
            at_or_after.or_else(|| members.iter().next()).expect("a graph with rows")
        };
        let sample: Vec<u32> = (0..queries).map(|_| row()).collect();
        collection.with_rows(|rows| graph.probe(rows, &sample, K, EF, executor))
    }

    /// Probes each collection once, if it is time, and has a graph optimized that finds too little.
    pub(crate) fn probe_if_due(&self) {
        let now = self.clock.now();
        {
            let mut probes = self.probes.lock();
            let Some(interval) = probes.interval.filter(|_| probes.next <= now) else { return };
            probes.next = now + interval;
        }
        let collections: Vec<_> = {
            let state = self.state.read();
            let all = state.collections();
            all.map(|live| (Arc::clone(live.now()), live.changes().last_number())).collect()
        };
        for (collection, changes) in collections {
            // What is damaged is told to whoever asks for it.
            let Ok(hits) = self.probe(&collection, 1, &Executor::Serial) else { continue };
            if self.note_probe(&collection, &hits, changes) {
                // Cancelled when the database is closed; a failure shows in the next probes.
                _ = self.optimize(collection.id, &mut |_| {
                    let is_closing = self.indexing.is_closing();
                    if is_closing { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
            }
        }
    }

    /// Keeps what a probe found; whether the graph is to be optimized.
    fn note_probe(&self, collection: &Collection<ViewOf<S>>, hits: &[usize], changes: u64) -> bool {
        let mut probes = self.probes.lock();
        let target = probes.target;
        let latest = probes.by_collection.entry(collection.id).or_default();
        latest.hits.extend(hits);
        while latest.hits.len() > KEPT {
            latest.hits.pop_front();
        }
        let estimate = RecallEstimate::of(latest.hits.iter().copied());
        let is_low = latest.hits.len() >= ENOUGH
            && target.zip(estimate).is_some_and(|(target, found)| found.high < target);
        let rows = u64::from(collection.graph().count());
        let has_changed =
            latest.optimized.is_none_or(|then| CHANGED_SHARE * (changes - then) >= rows);
        if is_low && has_changed {
            latest.optimized = Some(changes);
        }
        is_low && has_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_holds_the_mean_and_shrinks_with_queries() {
        let of = |hits: &[usize]| RecallEstimate::of(hits.iter().copied());
        assert_eq!(of(&[]), None);
        let mut last = 1.0;
        for count in [1, 10, 100, 1000] {
            let found = of(&vec![9; count]).unwrap();
            assert!((found.recall - 0.9).abs() < 1e-6 && found.queries == count as u64);
            assert!(found.low < 0.9 && found.high > 0.9, "{found:?}");
            assert!(found.high - found.low < last, "{found:?}");
            last = found.high - found.low;
            let all = of(&vec![10; count]).unwrap();
            assert!(all.low < 1.0 && all.high >= 1.0, "{all:?}");
            let none = of(&vec![0; count]).unwrap();
            assert!(none.low <= 0.0 && none.high > 0.0, "{none:?}");
        }
        // Wilson's interval for 81 of 100: from the usual tables.
        let hits = [vec![10; 81], vec![0; 19]].concat();
        let found = of(&hits).unwrap();
        assert!(
            (found.low - 0.7222).abs() < 1e-3 && (found.high - 0.8749).abs() < 1e-3,
            "{found:?}"
        );
    }
}
