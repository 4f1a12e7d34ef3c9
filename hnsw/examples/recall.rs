//! Builds graphs over real vectors and prints recall and speed of their searches.
//!
//! `recall BASE QUERIES TRUTH METRIC [THREADS] [M] [EF_CONSTRUCTION] [CODES] [COUNT] [GRAPHS]
//! [RELINK]`
//!
//! BASE and QUERIES are `.u8bin` or `.fbin` (u32 rows, u32 dims, rows), TRUTH is `.ivecs` (per
//! query an i32 count, then the rows, nearest first). CODES are names with commas between them:
//! their searches take turns, so that what disturbs one disturbs all. COUNT is how many of the
//! queries are asked, by default all. GRAPHS is a folder that graphs are kept in, and read from by
//! the next run (`-` for none). Rows are linked anew RELINK times after a graph is built.
//!
//! Recall is by distance: a row found counts if it is no farther than the true k-th, in f64, so
//! that ties count. Speed is by the time that the thread had a CPU, where the system tells, the
//! best of three rounds.

#![expect(clippy::disallowed_methods, reason = "a program: it reads files and the clock")]

use std::error::Error;
use std::io::{self, Write};
use std::mem::take;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;
use std::{env, fs};

use gannet_hnsw::{
    Allowed, CodeChoice, Executor, Graph, Metric, Neighbor, Params, Rows, SearchContext,
};

mod clock;
mod vectors;

use clock::seconds;
use vectors::Vectors;

const K: usize = 10;
const ROUNDS: usize = 3;
const EFS: [usize; 10] = [10, 16, 24, 32, 48, 64, 100, 200, 400, 800];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [base, queries, truth, metric, rest @ ..] = &args[..] else {
        let usage = "recall BASE QUERIES TRUTH METRIC [THREADS] [M] [EF_CONSTRUCTION] [CODES] \
                     [COUNT] [GRAPHS] [RELINK]";
        return Err(format!("usage: {usage}").into());
    };
    let metric: Metric = metric.parse()?;
    let number = |index: usize, default: u32| rest.get(index).map_or(Ok(default), |n| n.parse());
    let base = Vectors::read(base, metric)?;
    let queries = Vectors::read(queries, metric)?;
    let truth = read_truth(truth)?;
    let exec = Executor::threads(usize::try_from(number(0, 2)?)?)?;
    let mut params = Params::new(base.dims, metric);
    params.m = number(1, 16)?.try_into()?;
    params.ef_construction = number(2, 200)?;
    let count = number(4, u32::MAX)?.min(queries.len);
    let codes = rest.get(3).map_or("auto", |names| names).split(',');
    let codes = codes.map(str::parse).collect::<Result<Vec<CodeChoice>, _>>()?;
    let mut out = io::stdout().lock();

    let chunks = base.chunks();
    let rows = base.rows(&chunks);
    let mut graphs: Vec<Graph> = Vec::new();
    let (relinks, folder) = (number(6, 0)?, rest.get(5).filter(|name| *name != "-"));
    for &code in &codes {
        params.code = code;
        params.validate()?;
        let kept = folder.map(|folder| Path::new(folder).join(format!("{code}.graph")));
        if let Some(path) = kept.as_ref().filter(|path| path.exists()) {
            graphs.push(Graph::decode(&fs::read(path)?, base.len, &params)?);
            continue;
        }
        let graph = make(&rows, params.clone(), &exec, relinks, &mut out)?;
        graphs.push(describe(&graph, &rows, &mut out)?);
        if let Some(path) = kept {
            let mut image = Vec::new();
            graph.encode(&mut image);
            fs::write(path, image)?;
        }
    }

    let mut context = SearchContext::new();
    for ef in EFS {
        let mut best = vec![f64::INFINITY; codes.len()];
        let mut answers = vec![Answers::default(); codes.len()];
        for _ in 0..ROUNDS {
            for (index, graph) in graphs.iter().enumerate() {
                let answers = &mut answers[index];
                answers.clear();
                let began = seconds();
                for query in 0..count {
                    let (query, found) = (queries.row(query), &mut answers.found);
                    let all = Allowed::All;
                    graph.search(&rows, query, K, ef, all, &mut context, found);
                    answers.ends.push(answers.found.len());
                    let effort = context.effort();
                    answers.distances += u64::from(effort.distances + effort.upper_distances);
                    answers.ranked += u64::from(effort.ranked);
                    #[cfg(feature = "counters")]
                    {
                        answers.visited_tests += u64::from(effort.visited_tests);
                        answers.bytes += effort.bytes;
                    }
                }
                best[index] = best[index].min(seconds() - began);
            }
        }
        for ((code, answers), best) in codes.iter().zip(&answers).zip(best) {
            let count = f64::from(count);
            let hits = hits(metric, &base, &queries, &truth, answers);
            let recall = f64::from(hits) / (count * 10.0);
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let each = [answers.distances, answers.ranked].map(|sum| sum as f64 / count);
            writeln!(
                out,
                "  ef {ef:4} {code:>4}: recall@{K} {recall:.4}, {:.0} queries/s, \
                 {:.0} distances, {:.0} ranked",
                count / best,
                each[0],
                each[1],
            )?;
            #[cfg(feature = "counters")]
            writeln!(
                out,
                "               {} looked up among those seen, {} bytes read",
                answers.visited_tests / u64::from(queries.len.min(number(4, u32::MAX)?)),
                answers.bytes / u64::from(queries.len.min(number(4, u32::MAX)?)),
            )?;
        }
    }
    Ok(())
}

/// A graph of all rows, calibrated.
fn make(
    rows: &Rows<'_>,
    params: Params,
    exec: &Executor,
    relinks: u32,
    out: &mut impl Write,
) -> Result<Graph, Box<dyn Error>> {
    const UNASKED: &str = "nobody asked to stop";
    let mut graph = Graph::new(params);
    let proceed = &mut |_| ControlFlow::Continue(());
    let began = Instant::now();
    if graph.insert_until(rows, rows.len(), exec, proceed).is_break() {
        return Err(UNASKED.into());
    }
    let build_s = began.elapsed().as_secs_f64();
    let began = Instant::now();
    for _ in 0..relinks {
        if graph.relink(rows, exec, proceed).is_break() {
            return Err(UNASKED.into());
        }
    }
    let anew_s = began.elapsed().as_secs_f64();
    let began = Instant::now();
    if graph.wants_calibration() {
        match graph.calibrate(rows, exec, &mut || ControlFlow::Continue(())) {
            ControlFlow::Continue(calibration) => graph.set_calibration(calibration),
            ControlFlow::Break(()) => return Err(UNASKED.into()),
        }
    }
    writeln!(
        out,
        "{} ({}): built in {build_s:.2} s, linked anew in {anew_s:.2} s, calibrated in {:.2} s",
        graph.params().code,
        graph.code(),
        began.elapsed().as_secs_f64(),
    )?;
    for target in [0.9, 0.95, 0.99] {
        let ef = graph.calibration().and_then(|calibration| calibration.ef(K, target));
        writeln!(out, "  recall {target}: ef {ef:?}")?;
    }
    Ok(graph)
}

/// The graph as it is read again.
fn describe(graph: &Graph, rows: &Rows<'_>, out: &mut impl Write) -> Result<Graph, Box<dyn Error>> {
    let mut image = Vec::new();
    graph.encode(&mut image);
    let began = Instant::now();
    let decoded = Graph::decode(&image, rows.len(), graph.params())?;
    writeln!(
        out,
        "{} rows of {} dims, {}, {}, {}: {} unreachable, \
         image {} bytes {:08x}, decoded in {:.0} ms",
        rows.len(),
        rows.dims(),
        graph.params().metric,
        graph.params().code,
        graph.kernel().isa().name(),
        graph.unreachable_count(),
        image.len(),
        crc32fast::hash(&image),
        began.elapsed().as_secs_f64() * 1e3,
    )?;
    Ok(decoded)
}

/// What was found for all queries, and at what cost.
#[derive(Clone, Default)]
struct Answers {
    found: Vec<Neighbor>,
    /// Per query the end of its own in `found`.
    ends: Vec<usize>,
    distances: u64,
    ranked: u64,
    #[cfg(feature = "counters")]
    visited_tests: u64,
    #[cfg(feature = "counters")]
    bytes: u64,
}

impl Answers {
    fn clear(&mut self) {
        let (mut found, mut ends) = (take(&mut self.found), take(&mut self.ends));
        found.clear();
        ends.clear();
        *self = Self { found, ends, ..Self::default() };
    }
}

fn hits(
    metric: Metric,
    base: &Vectors,
    queries: &Vectors,
    truth: &[Vec<u32>],
    answers: &Answers,
) -> u32 {
    let mut hits = 0;
    let mut start = 0;
    for (query, &end) in (0..).zip(&answers.ends) {
        let vector = queries.row(query);
        let farthest = truth[query as usize][K - 1];
        let bound = exact_distance(metric, vector, base.row(farthest));
        let bound = bound + 1e-6 * bound.abs().max(1e-9);
        for found in &answers.found[start..end] {
            hits += u32::from(exact_distance(metric, vector, base.row(found.row)) <= bound);
        }
        start = end;
    }
    hits
}

fn exact_distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    match metric {
        Metric::L2 | Metric::Hamming => pairs.map(|(a, b)| (a - b) * (a - b)).sum(),
        Metric::Cosine => 1.0 - pairs.map(|(a, b)| a * b).sum::<f64>(),
        Metric::Dot => -pairs.map(|(a, b)| a * b).sum::<f64>(),
    }
}

fn read_truth(path: &str) -> Result<Vec<Vec<u32>>, Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let mut words = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
    let mut lists = Vec::new();
    while let Some(count) = words.next() {
        let list: Vec<u32> = words.by_ref().take(count as usize).collect();
        if list.len() < K {
            return Err(format!("{path}: a list of {} rows", list.len()).into());
        }
        lists.push(list);
    }
    Ok(lists)
}
