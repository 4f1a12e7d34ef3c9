//! A set of queries run against a collection: what was found, how fast, and how much of the truth.

use std::thread;
use std::time::{Duration, Instant};

use gannet::{Answer, How, Id, Metric, SearchError, SearchOptions, SearchPlan};

use crate::database::Db;
use crate::failure::Failure;
use crate::latency::Latencies;
use crate::recall;
use crate::units;

/// Query vectors of equal dimension, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queries<'a> {
    pub(crate) vectors: &'a [f32],
    pub(crate) dims: usize,
}

impl<'a> Queries<'a> {
    pub(crate) fn count(&self) -> usize {
        self.vectors.len() / self.dims
    }

    pub(crate) fn query(&self, index: usize) -> &'a [f32] {
        &self.vectors[index * self.dims..(index + 1) * self.dims]
    }
}

/// What one run over all queries came to.
#[derive(Debug)]
pub(crate) struct Run {
    /// Nearest first, one list a query.
    pub(crate) found: Vec<Answer>,
    /// From before the first query to after the last.
    pub(crate) elapsed: Duration,
    pub(crate) latencies: Latencies,
}

impl Run {
    pub(crate) fn queries_a_second(&self) -> f64 {
        units::per_second(self.found.len() as u64, self.elapsed.as_secs_f64())
    }

    /// The mean over all queries of what `count` says; 0 if there are none.
    pub(crate) fn mean(&self, count: impl Fn(&How) -> u64) -> f64 {
        let all: u64 = self.found.iter().map(|answer| count(&answer.how())).sum();
        let all = usize::try_from(all).unwrap_or(usize::MAX);
        units::share(all, self.found.len()).unwrap_or_default()
    }

    /// How often each plan was taken, the most frequent one first.
    pub(crate) fn plans(&self) -> Vec<(SearchPlan, usize)> {
        let mut counts: Vec<(SearchPlan, usize)> = Vec::new();
        for plan in self.found.iter().map(|answer| answer.how().plan) {
            match counts.iter_mut().find(|(other, _)| *other == plan) {
                Some((_, count)) => *count += 1,
                None => counts.push((plan, 1)),
            }
        }
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }
}

/// A query that could not be searched.
#[derive(Debug)]
pub(crate) struct QueryError {
    pub(crate) query: usize,
    pub(crate) source: SearchError,
}

/// Runs every query once, shared out in turn among `threads` threads.
///
/// The outer `Err` is a thread that did not start, the inner one the first query that failed.
pub(crate) fn run(
    database: &Db,
    collection: &str,
    queries: Queries<'_>,
    options: &SearchOptions,
    threads: usize,
) -> Result<Result<Run, QueryError>, Failure> {
    let work = |first: usize| -> Result<Vec<(Duration, Answer)>, QueryError> {
        (first..queries.count())
            .step_by(threads)
            .map(|query| {
                let start = Instant::now();
                let found = database.search(collection, queries.query(query), options);
                let taken = start.elapsed();
                found.map(|hits| (taken, hits)).map_err(|source| QueryError { query, source })
            })
            .collect()
    };
    let start = Instant::now();
    let shares = thread::scope(|scope| {
        let workers = (1..threads).map(|first| {
            thread::Builder::new()
                .name(format!("gannet-search-{first}"))
                .spawn_scoped(scope, move || work(first))
        });
        // All are started before the first is waited for, and this thread does its share.
        let workers: Vec<_> = workers.collect::<Result<_, _>>()?;
        let mut shares = vec![work(0)];
        for worker in workers {
            shares.push(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        Ok(shares)
    })
    .map_err(|source| Failure::Thread { source })?;
    let elapsed = start.elapsed();
    let mut found = vec![Answer::default(); queries.count()];
    let mut timings = Vec::with_capacity(queries.count());
    for (first, share) in shares.into_iter().enumerate() {
        match share {
            Err(error) => return Ok(Err(error)),
            Ok(share) => {
                for (turn, (taken, hits)) in share.into_iter().enumerate() {
                    timings.push(taken);
                    found[first + turn * threads] = hits;
                }
            }
        }
    }
    Ok(Ok(Run { found, elapsed, latencies: Latencies::new(timings) }))
}

/// Runs every query once, `batch` of them a call. A query's latency is its part of its call's.
pub(crate) fn run_batches(
    database: &Db,
    collection: &str,
    queries: Queries<'_>,
    options: &SearchOptions,
    batch: usize,
) -> Result<Run, QueryError> {
    let all: Vec<&[f32]> = (0..queries.count()).map(|query| queries.query(query)).collect();
    let mut found = Vec::with_capacity(all.len());
    let mut timings = Vec::with_capacity(all.len());
    let start = Instant::now();
    for some in all.chunks(batch) {
        let begin = Instant::now();
        let hits = database.search_batch(collection, some, options);
        let taken = begin.elapsed() / u32::try_from(some.len()).unwrap_or(u32::MAX);
        found.extend(hits.map_err(|source| QueryError { query: found.len(), source })?);
        timings.resize(found.len(), taken);
    }
    Ok(Run { found, elapsed: start.elapsed(), latencies: Latencies::new(timings) })
}

/// The share of the true `k` nearest that was found, over all queries; none without queries.
///
/// `kth` is each query's exact distance of the true k-th nearest. Distances of what was found are
/// computed from the vectors in the database.
pub(crate) fn recall(
    database: &Db,
    collection: &str,
    metric: Metric,
    queries: Queries<'_>,
    found: &[Answer],
    kth: &[f64],
    k: usize,
) -> Result<Option<f64>, Failure> {
    let mut hits = 0;
    for (index, (found, &kth)) in found.iter().zip(kth).enumerate() {
        let mut distances = Vec::with_capacity(found.len());
        for hit in found {
            let vector = stored(database, collection, &hit.id)?
                .unwrap_or_else(|| panic!("search found id {}, which is not there", hit.id));
            distances.push(recall::distance(metric, queries.query(index), &vector));
        }
        hits += recall::hits(&distances, kth, k);
    }
    Ok(units::share(hits, k * kth.len()))
}

/// The vector of `id`, if it is there.
pub(crate) fn stored(
    database: &Db,
    collection: &str,
    id: &Id,
) -> Result<Option<Vec<f32>>, Failure> {
    Ok(database.get_vector(collection, id)?)
}
