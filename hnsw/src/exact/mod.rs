//! The nearest rows by looking at each: the truth that a graph approximates.
//!
//! For rows that no graph holds yet, for answers that must be exact, and as the oracle of tests.

mod batch;
mod margin;
mod nearest;
mod scan;
mod sketch;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::executor::Executor;
use crate::kernel::{Kernel, LANES};
use crate::key::{Key, Neighbor};
use crate::rows::Rows;
pub(crate) use nearest::Nearest;
pub use sketch::{Sketch, SomeRows, exact_beside};

/// Most queries that share one pass over the rows, a multiple of a panel's: at a few hundred
/// dimensions their panels and a block of rows fit a second cache.
const GROUP: usize = 128;
/// Fewer queries than this are faster one at a time.
const FILTER_MIN: usize = 3;
/// Fewest rows worth a thread of their own.
const PART_ROWS_MIN: u32 = 4096;
/// Items of work a thread: some, so that a thread held up does not hold up all.
const ITEMS_A_THREAD: usize = 4;

/// Appends to `out` the nearest `k` live rows of `range`, nearest first, ties by row number; all of
/// them if they are fewer.
///
/// `query` is `dims` floats, or a stride with zeros at its end. Cost: a distance a live row, and
/// memory for two times `k` candidates (never more than the range has rows).
///
/// # Panics
/// If `range` ends after the last row or `query` has another length.
pub fn exact(
    rows: &Rows<'_>,
    range: Range<u32>,
    query: &[f32],
    k: usize,
    live: Option<&dyn Fn(u32) -> bool>,
    kernel: Kernel,
    out: &mut Vec<Neighbor>,
) {
    check(rows, &range, query);
    let k = k.min(range.len());
    if k == 0 {
        return;
    }
    let query = padded(query, rows.stride());
    let mut nearest = Nearest::new(k, range.len());
    scan::scan(rows, range, &query, live, kernel, &mut nearest);
    out.extend(nearest.into_sorted().iter().map(|key| key.neighbor()));
}

/// For each of `queries`, in their order, what [`exact`] appends: the same rows with the same bits,
/// on any number of threads.
///
/// Each query is `dims` floats, or a stride with zeros at its end. `live` is asked once a row for
/// 128 queries, from any thread.
///
/// Cost: the live rows are read once for 128 queries. One or two queries cost a distance a live
/// row each; from three on, a product that is many times cheaper, with a bound on its error, passes
/// over what is too far, and a distance is computed for the rest alone: some hundred rows a query.
/// Among vectors so alike, or so large, that the bound says nothing, it is left out. Memory: a copy
/// of the queries for each thread, and for each query and each part of the rows (a few a thread)
/// two times `k` candidates; nothing that grows with rows times queries.
///
/// # Panics
/// If `range` ends after the last row or a query has another length; or if `live` does.
#[must_use]
pub fn exact_batch(
    rows: &Rows<'_>,
    range: Range<u32>,
    queries: &[&[f32]],
    k: usize,
    live: Option<&(dyn Fn(u32) -> bool + Sync)>,
    kernel: Kernel,
    executor: &Executor,
) -> Vec<Vec<Neighbor>> {
    for query in queries {
        check(rows, &range, query);
    }
    let k = k.min(range.len());
    if k == 0 || queries.is_empty() {
        return vec![Vec::new(); queries.len()];
    }
    let group_count = queries.len().div_ceil(GROUP);
    let group_len = queries.len().div_ceil(group_count).next_multiple_of(LANES);
    let groups: Vec<&[&[f32]]> = queries.chunks(group_len).collect();
    let parts = parts(&range, groups.len(), executor);
    let found = executor.map(groups.len() * parts.len(), |item| {
        let (group, part) = (groups[item / parts.len()], parts[item % parts.len()].clone());
        nearest_of_part(rows, part, group, k, live.map(|live| live as _), kernel)
    });
    let mut out = Vec::with_capacity(queries.len());
    for (group, found) in groups.iter().zip(found.chunks(parts.len())) {
        for query in 0..group.len() {
            let keys = found.iter().flat_map(|part| part[query].iter().copied());
            let mut keys: Vec<Key> = keys.collect();
            keys.sort_unstable();
            out.push(keys.iter().take(k).map(|key| key.neighbor()).collect());
        }
    }
    out
}

/// The nearest `k` of one part of the rows to each query of a group.
fn nearest_of_part(
    rows: &Rows<'_>,
    part: Range<u32>,
    group: &[&[f32]],
    k: usize,
    live: Option<&dyn Fn(u32) -> bool>,
    kernel: Kernel,
) -> Vec<Vec<Key>> {
    let queries: Vec<Vec<f32>> = group.iter().map(|query| padded(query, rows.stride())).collect();
    let k = k.min(part.len());
    let mut nearest: Vec<Nearest> = queries.iter().map(|_| Nearest::new(k, part.len())).collect();
    if queries.len() < FILTER_MIN {
        for (query, nearest) in queries.iter().zip(&mut nearest) {
            scan::scan(rows, part.clone(), query, live, kernel, nearest);
        }
    } else {
        batch::filter(rows, part, &queries, live, kernel, &mut nearest);
    }
    nearest.into_iter().map(Nearest::into_sorted).collect()
}

/// `range` in equal parts, so that `groups` times their number keep all threads busy.
fn parts(range: &Range<u32>, groups: usize, executor: &Executor) -> Vec<Range<u32>> {
    let threads = executor.thread_count();
    let wanted = if threads == 1 { 1 } else { (ITEMS_A_THREAD * threads).div_ceil(groups) };
    let count = u32::try_from(wanted).unwrap_or(u32::MAX);
    let rows = range.end - range.start;
    let part = rows.div_ceil(count).max(PART_ROWS_MIN);
    let ends = |start: u32| range.end - (range.end - start).saturating_sub(part);
    (0..rows.div_ceil(part)).map(|i| range.start + i * part).map(|at| at..ends(at)).collect()
}

fn check(rows: &Rows<'_>, range: &Range<u32>, query: &[f32]) {
    assert!(range.end <= rows.len(), "rows up to {} of {}", range.end, rows.len());
    assert!(
        query.len() == rows.dims() as usize || query.len() == rows.stride(),
        "a query of {} floats for {} dimensions",
        query.len(),
        rows.dims(),
    );
}

/// `query` with zeros up to `stride`.
fn padded(query: &[f32], stride: usize) -> Vec<f32> {
    let mut padded = query.to_vec();
    padded.resize(stride, 0.0);
    padded
}
