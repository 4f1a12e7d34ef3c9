//! How wide a beam must be for a recall, measured on the graph itself.
//!
//! Rows of the graph are taken as queries, and what a search finds is held against the truth. A row
//! would be found too easily: its links lead to its neighbours. So the walk goes as if that row
//! were not there: it is infinitely far from itself, is not followed and does not count. On real
//! data this reads the recall of queries that the graph has never seen, or a little less.

use std::ops::ControlFlow;

use crate::allowed::{Allowed, Passing};
use crate::context::SearchContext;
use crate::exact::exact_batch;
use crate::executor::Executor;
use crate::graph::Graph;
use crate::key::Neighbor;
use crate::layer::splitmix64;
use crate::plan::Plan;
use crate::rows::Rows;
use crate::rowset::RowSet;
use crate::search::Search;
use crate::space::{Aim, Measured, Space};

/// Graphs of fewer rows have no calibration: looking at every row is as good there.
pub const CALIBRATION_ROWS_MIN: u32 = 2048;
/// From so many rows on, searches of 100 rows are measured too.
pub(crate) const HUNDREDS_ROWS_MIN: u32 = 8192;
pub(crate) const TENS_LEN: usize = 12;
pub(crate) const HUNDREDS_LEN: usize = 7;
/// The beams that were measured, for 10 and for 100 rows: part of the format of an image.
const TENS: [u16; TENS_LEN] = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const HUNDREDS: [u16; HUNDREDS_LEN] = [100, 128, 192, 256, 384, 512, 768];

const _: () = assert!(CALIBRATION_ROWS_MIN > 512 && HUNDREDS_ROWS_MIN > 768);

/// What of the rows is taken as queries, and the fewest and most.
const SAMPLE_SHARE: u32 = 800;
const SAMPLE_MIN: u32 = 96;
const SAMPLE_MAX: u32 = 256;
/// Queries that share a pass over the rows.
const QUERIES_A_PASS: usize = 128;
/// Queries that a thread takes at a time.
const QUERIES_A_TASK: usize = 8;
/// Wider beams are not measured where this much is found.
const ENOUGH: u16 = 65_470;

const _: () = assert!(ENOUGH as f64 / u16::MAX as f64 > 0.999);

/// The recall of beams of several widths on one state of a graph. Made by [`Graph::calibrate`],
/// kept with the graph and its image.
///
/// Readings are cautious: the mean over some hundred queries less its standard error, and never
/// above that of a wider beam. They are in parts of 65,535.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calibration {
    pub(crate) rows: u32,
    pub(crate) tens: [u16; TENS_LEN],
    /// Zeros below [`HUNDREDS_ROWS_MIN`] rows.
    pub(crate) hundreds: [u16; HUNDREDS_LEN],
}

impl Calibration {
    /// Rows in the graph when it was measured.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The narrowest beam with which searches for `k` rows find the share `target` of the true
    /// nearest; `None` where no beam that was measured does.
    ///
    /// Between two measured beams as the straight line between them has it, which is below the
    /// curve. For `k` up to 10 as for 10; between 10 and 100 by the power of `k` through both; from
    /// 100 on, and from 10 on in a graph of fewer than 8,192 rows, in proportion to `k`: all on the
    /// wide side.
    #[must_use]
    pub fn ef(&self, k: usize, target: f32) -> Option<usize> {
        let tens = beam(&TENS, &self.tens, target)?;
        let scaled = |ef: f64, by: usize| whole(ef * number(k) / number(by));
        if k <= 10 {
            return Some(whole(tens));
        }
        if self.rows < HUNDREDS_ROWS_MIN {
            return Some(scaled(tens, 10));
        }
        let hundreds = beam(&HUNDREDS, &self.hundreds, target)?;
        if k >= 100 {
            return Some(scaled(hundreds, 100));
        }
        let share = (number(k) / 10.0).log10();
        Some(whole(tens * (hundreds / tens).powf(share)).max(k))
    }

    /// The share of the true nearest 10 that a beam of `ef` finds, at least: the reading of the
    /// widest measured beam that is no wider; `None` below 10.
    #[must_use]
    pub fn recall(&self, ef: usize) -> Option<f32> {
        let measured = TENS.iter().zip(&self.tens).rfind(|(beam, _)| usize::from(**beam) <= ef);
        measured.map(|(_, reading)| f32::from(*reading) / f32::from(u16::MAX))
    }
}

/// The narrowest beam on the ladder's lines whose reading is at least `target`.
fn beam<const N: usize>(ladder: &[u16; N], readings: &[u16; N], target: f32) -> Option<f64> {
    let target = f64::from(target) * f64::from(u16::MAX);
    let at = readings.iter().position(|&reading| f64::from(reading) >= target)?;
    let ef = f64::from(ladder[at]);
    let Some(below) = at.checked_sub(1) else { return Some(ef) };
    let (low, reading) = (f64::from(ladder[below]), f64::from(readings[below]));
    let share = (target - reading) / (f64::from(readings[at]) - reading);
    Some(low + share * (ef - low))
}

#[expect(clippy::cast_precision_loss, reason = "a beam that is a little off is as good")]
fn number(count: usize) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive; a beam wider than can be is one of all rows"
)]
fn whole(ef: f64) -> usize {
    ef.ceil() as usize
}

/// A share in parts of 65,535, the next lower one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share is from 0 to 1"
)]
fn parts(share: f64) -> u16 {
    (share * f64::from(u16::MAX)) as u16
}

impl Graph {
    /// What was measured on it, the last time.
    #[must_use]
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// Keeps what [`calibrate`](Self::calibrate) measured on this graph, as it was then.
    pub fn set_calibration(&mut self, calibration: Calibration) {
        self.detach();
        self.calibration = Some(calibration);
    }

    /// Whether it is large enough to be measured, and never was or has a quarter more rows since,
    /// or a quarter fewer.
    #[must_use]
    pub fn wants_calibration(&self) -> bool {
        let measured = self.calibration.as_ref().map_or(0, |found| found.rows);
        let changed = u64::from(self.count().abs_diff(measured));
        self.count() >= CALIBRATION_ROWS_MIN && 4 * changed >= u64::from(measured)
    }

    /// Measures the recall of beams of 10 to 512 rows in searches for 10, and of 100 to 768 in
    /// searches for 100. All rows of the graph count, as far as the seed chooses them as queries.
    ///
    /// `proceed` is asked now and then; where it breaks, so does this. Equal graphs and rows give
    /// equal readings, on any number of threads and any instruction set.
    ///
    /// Cost: an [`exact_batch`] of 96 to 256 queries (one of 800 rows) and some 20 searches for
    /// each. That was 3 % of building a graph of 200,000 rows, and 6 % of one of 27,000.
    ///
    /// # Panics
    /// If the graph has fewer than [`CALIBRATION_ROWS_MIN`] rows, or `rows` has other dimensions
    /// than the graph or lacks a row of it.
    pub fn calibrate(
        &self,
        rows: &Rows<'_>,
        exec: &Executor,
        proceed: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> ControlFlow<(), Calibration> {
        self.check_rows(rows);
        let count = self.count();
        assert!(count >= CALIBRATION_ROWS_MIN, "a calibration of {count} rows");
        let has_hundreds = count >= HUNDREDS_ROWS_MIN;
        let k_max = if has_hundreds { 100 } else { 10 };
        let queries = Queries::choose(self, rows, k_max, exec, proceed)?;
        let all = Measuring { graph: self, rows, exec, queries: &queries, step: 1 };
        let tens = all.climb(10, &TENS, proceed)?;
        // Each has a hundred rows to find: fewer say as much.
        let every_other = Measuring { step: 2, ..all };
        let hundreds =
            if has_hundreds { every_other.climb(100, &HUNDREDS, proceed)? } else { [0; _] };
        ControlFlow::Continue(Calibration { rows: count, tens, hundreds })
    }
}

impl Graph {
    /// How many of the true nearest `k` others of each row of `sample` a beam of `ef` finds, by
    /// distance, so that ties count: the row is looked for as if it were not in the graph. `ef` is
    /// raised to [`beam_width`](Self::beam_width).
    ///
    /// Cost: an [`exact_batch`] of the sample, and a search each.
    ///
    /// # Panics
    /// If the graph has no more than `k` rows, or a row of the sample is not in it; or if `rows`
    /// has other dimensions than the graph or lacks a row of it.
    #[must_use]
    pub fn probe(
        &self,
        rows: &Rows<'_>,
        sample: &[u32],
        k: u16,
        ef: u16,
        exec: &Executor,
    ) -> Vec<usize> {
        self.check_rows(rows);
        assert!(self.count() > u32::from(k), "{k} others in a graph of {} rows", self.count());
        if let Some(row) = sample.iter().find(|&&row| !self.contains(row)) {
            panic!("row {row} is not in the graph");
        }
        let width = self.beam_width(k.into(), ef.into());
        let width = u16::try_from(width).unwrap_or(u16::MAX);
        let proceed = &mut || ControlFlow::Continue(());
        let queries = Queries::of(self, rows, sample.to_vec(), k.into(), exec, proceed);
        let queries = queries.continue_value().expect("nobody breaks");
        Measuring { graph: self, rows, exec, queries: &queries, step: 1 }.hits(k, width)
    }
}

/// Rows spread over all, one from each of as many equal parts.
fn sample(seed: u64, members: &RowSet) -> Vec<u32> {
    let len = members.count();
    let count = (len / SAMPLE_SHARE).clamp(SAMPLE_MIN, SAMPLE_MAX);
    let edge = |part: u32| {
        let edge = u64::from(part) * u64::from(len) / u64::from(count);
        u32::try_from(edge).expect("at most len")
    };
    let chosen = |part: u32| {
        let (first, end) = (edge(part), edge(part + 1));
        let offset = splitmix64(!seed, u64::from(part)) % u64::from(end - first);
        first + u32::try_from(offset).expect("below a part's length")
    };
    let (mut left, mut passed) = (members.iter(), 0);
    let row = |chosen: u32| {
        let row = left.nth((chosen - passed) as usize).expect("a place among all rows");
        passed = chosen + 1;
        row
    };
    (0..count).map(chosen).map(row).collect()
}

/// Rows of a graph as queries, and the truth of each, itself included.
pub(crate) struct Queries {
    rows: Vec<u32>,
    truth: Vec<Vec<Neighbor>>,
}

impl Queries {
    /// As the seed has it, with the nearest `k_max` others of each. The graph has more rows.
    pub(crate) fn choose(
        graph: &Graph,
        rows: &Rows<'_>,
        k_max: usize,
        exec: &Executor,
        proceed: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> ControlFlow<(), Self> {
        let queries = sample(graph.params.seed, graph.members());
        Self::of(graph, rows, queries, k_max, exec, proceed)
    }

    /// Of these rows, which are in the graph.
    fn of(
        graph: &Graph,
        rows: &Rows<'_>,
        queries: Vec<u32>,
        k_max: usize,
        exec: &Executor,
        proceed: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> ControlFlow<(), Self> {
        let is_member = |row| graph.contains(row);
        let live = graph.has_holes().then_some(&is_member as &(dyn Fn(u32) -> bool + Sync));
        let mut truth = Vec::with_capacity(queries.len());
        for some in queries.chunks(QUERIES_A_PASS) {
            let vectors: Vec<&[f32]> = some.iter().map(|&row| rows.row(row)).collect();
            let (all, kernel) = (0..graph.len(), graph.kernel);
            truth.extend(exact_batch(rows, all, &vectors, k_max + 1, live, kernel, exec));
            proceed()?;
        }
        ControlFlow::Continue(Self { rows: queries, truth })
    }
}

/// A graph, and what it is searched for.
pub(crate) struct Measuring<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) rows: &'a Rows<'a>,
    pub(crate) exec: &'a Executor,
    pub(crate) queries: &'a Queries,
    /// Of so many queries the first is searched for.
    pub(crate) step: usize,
}

impl Measuring<'_> {
    /// The readings of `ladder` in searches for `k` rows.
    fn climb<const N: usize>(
        &self,
        k: u16,
        ladder: &[u16; N],
        proceed: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> ControlFlow<(), [u16; N]> {
        let mut readings = [0; N];
        for (at, &ef) in ladder.iter().enumerate() {
            readings[at] = self.reading(k, ef);
            proceed()?;
            if readings[at] >= ENOUGH {
                let enough = readings[at];
                readings[at..].fill(enough);
                break;
            }
        }
        for at in (1..N).rev() {
            readings[at - 1] = readings[at - 1].min(readings[at]);
        }
        ControlFlow::Continue(readings)
    }

    /// The mean share found less its standard error, in parts of 65,535.
    fn reading(&self, k: u16, ef: u16) -> u16 {
        let hits = self.hits(k, ef);
        let (count, k) = (number(hits.len()), f64::from(k));
        let shares = || hits.iter().map(|&hits| number(hits) / k);
        let mean = shares().sum::<f64>() / count;
        let square = shares().map(|share| (share - mean) * (share - mean)).sum::<f64>();
        let error = (square / (count * (count - 1.0))).sqrt();
        parts((mean - error).max(0.0))
    }

    /// How many of the true nearest `k` of each query are found, by distance, so that ties count.
    pub(crate) fn hits(&self, k: u16, ef: u16) -> Vec<usize> {
        let searched: Vec<usize> = (0..self.queries.rows.len()).step_by(self.step).collect();
        let tasks: Vec<&[usize]> = searched.chunks(QUERIES_A_TASK).collect();
        let hits = self.exec.map(tasks.len(), |task| {
            let mut context = SearchContext::new();
            let hits = tasks[task].iter().map(|&query| self.hits_of(query, k, ef, &mut context));
            hits.collect::<Vec<_>>()
        });
        hits.into_iter().flatten().collect()
    }

    fn hits_of(&self, query: usize, k: u16, ef: u16, context: &mut SearchContext) -> usize {
        let (row, truth) = (self.queries.rows[query], &self.queries.truth[query]);
        let is_other = |near: &&Neighbor| near.row != row;
        let farthest = truth.iter().filter(is_other).nth(usize::from(k) - 1);
        let farthest = farthest.expect("k others were asked for").distance;
        let mut found = Vec::new();
        let (k, ef) = (usize::from(k), usize::from(ef));
        let Self { graph, rows, .. } = *self;
        // The beam as it is measured, which for a coarse code may be narrower than a search's.
        let all = Passing::new(Allowed::All, graph);
        let search = Search::new(graph, rows, rows.row(row), (k, ef), all, context, &mut found);
        if let Some(search) = search {
            graph.measure(rows, SearchWithout { row, search });
        }
        found.iter().filter(is_other).filter(|near| near.distance <= farthest).count()
    }
}

/// A search as if a row were not in the graph.
struct SearchWithout<'a, 'o> {
    row: u32,
    search: Search<'a, 'o>,
}

impl Measured for SearchWithout<'_, '_> {
    type Output = Plan;

    #[inline(always)]
    fn run<P: Space>(self, space: P) -> Plan {
        self.search.run(Without { space, row: self.row })
    }
}

/// A space in which one row is infinitely far from everything.
#[derive(Clone, Copy)]
struct Without<P> {
    space: P,
    row: u32,
}

impl<P: Space> Space for Without<P> {
    const IS_EXACT: bool = P::IS_EXACT;

    #[inline(always)]
    fn aim(&self, row: u32, aim: &mut Aim) {
        self.space.aim(row, aim);
    }

    #[inline(always)]
    fn aim_at(&self, query: &[f32], aim: &mut Aim) {
        self.space.aim_at(query, aim);
    }

    #[inline(always)]
    fn prefetch(&self, row: u32) {
        self.space.prefetch(row);
    }

    #[cfg(feature = "counters")]
    fn row_len_bytes(&self) -> usize {
        self.space.row_len_bytes()
    }

    #[inline(always)]
    fn distance(&self, from: &Aim, row: u32) -> f32 {
        if row == self.row { f32::INFINITY } else { self.space.distance(from, row) }
    }

    #[inline(always)]
    fn distance4(&self, from: &Aim, rows: [u32; 4]) -> [f32; 4] {
        let mut distances = self.space.distance4(from, rows);
        for (distance, row) in distances.iter_mut().zip(rows) {
            if row == self.row {
                *distance = f32::INFINITY;
            }
        }
        distances
    }
}
