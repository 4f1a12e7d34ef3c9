//! Builds a graph over real vectors and prints recall and speed of its searches.
//!
//! `recall BASE QUERIES TRUTH METRIC [THREADS] [M] [EF_CONSTRUCTION] [CODE] [RELINK]`
//!
//! BASE and QUERIES are `.u8bin` or `.fbin` (u32 rows, u32 dims, rows), TRUTH is `.ivecs` (per
//! query an i32 count, then the rows, nearest first). Rows are linked anew RELINK times after the
//! graph is built. Recall is by distance: a row found counts if it is no farther than the true
//! k-th, in f64, so that ties count.

#![expect(clippy::disallowed_methods, reason = "a program: it reads files and the clock")]

use std::error::Error;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::Instant;
use std::{env, fs};

use gannet_hnsw::{Code, Encoder, Executor, Graph, Metric, Params, SearchContext, row_stride};

mod vectors;

use vectors::Vectors;

const K: usize = 10;

#[expect(clippy::too_many_lines, reason = "one measurement after the other")]
fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [base, queries, truth, metric, rest @ ..] = &args[..] else {
        return Err(
            "usage: recall BASE QUERIES TRUTH METRIC [THREADS] [M] [EF_CONSTRUCTION] [CODE] \
             [RELINK]"
                .into(),
        );
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
    params.validate()?;
    let mut out = io::stdout().lock();

    let chunks = base.chunks();
    let rows = base.rows(&chunks);
    let code: Code = rest.get(3).map_or(Ok(Code::Sq8), |name| name.parse())?;
    let began = Instant::now();
    let codes = codes_of(&base, &chunks, code);
    let code_chunks: Vec<&[i8]> = codes.iter().map(|chunk| &chunk[..]).collect();
    let rows = if code == Code::None { rows } else { rows.with_codes(code, &code_chunks) };
    let encode_s = began.elapsed().as_secs_f64();
    let mut graph = Graph::new(params);
    let began = Instant::now();
    if graph.insert_until(&rows, base.len, &exec, &mut |_| ControlFlow::Continue(())).is_break() {
        return Err("nobody asked to stop".into());
    }
    let build_s = began.elapsed().as_secs_f64();

    let began = Instant::now();
    for _ in 0..number(4, 0)? {
        if graph.relink(&rows, &exec, &mut |_| ControlFlow::Continue(())).is_break() {
            return Err("nobody asked to stop".into());
        }
    }
    let relink_s = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let proceed = &mut || ControlFlow::Continue(());
    if let ControlFlow::Continue(calibration) = graph.calibrate(&rows, &exec, proceed) {
        graph.set_calibration(calibration);
    }
    let calibrate_s = began.elapsed().as_secs_f64();

    let mut image = Vec::new();
    graph.encode(&mut image);
    let began = Instant::now();
    let decoded = Graph::decode(&image, base.len, graph.params())?;
    let decode_ms = began.elapsed().as_secs_f64() * 1e3;
    writeln!(
        out,
        "{} rows of {} dims, {metric}, {code}, {}, {} threads: encoded in {encode_s:.2} s, \
         built in {build_s:.2} s, linked anew in {relink_s:.2} s, \
         calibrated in {calibrate_s:.2} s, {} unreachable, \
         image {} bytes {:08x}, decoded in {decode_ms:.0} ms",
        base.len,
        base.dims,
        graph.kernel().isa().name(),
        exec.thread_count(),
        graph.unreachable_count(),
        image.len(),
        crc32fast::hash(&image),
    )?;

    let mut context = SearchContext::new();
    let calibration = decoded.calibration().ok_or("too few rows to calibrate")?;
    let targets = [0.9, 0.95, 0.99].map(|target| (Some(target), calibration.ef(K, target)));
    let fixed = [10, 16, 24, 32, 48, 64, 100, 200, 400].map(|ef| (None, Some(ef)));
    for (target, ef) in fixed.into_iter().chain(targets) {
        let Some(ef) = ef else {
            writeln!(out, "  no beam for recall {target:?}")?;
            continue;
        };
        let mut answers = Vec::new();
        let mut ends = Vec::new();
        let (mut distances, mut hops) = (0.0, 0.0);
        let began = Instant::now();
        for query in 0..queries.len {
            let query = queries.row(query);
            decoded.search(&rows, query, K, ef, None, &mut context, &mut answers);
            ends.push(answers.len());
            let effort = context.effort();
            distances += f64::from(effort.distances + effort.upper_distances);
            hops += f64::from(effort.hops);
        }
        let qps = f64::from(queries.len) / began.elapsed().as_secs_f64();
        let mut hits = 0u32;
        let mut start = 0;
        for (query, &end) in (0..queries.len).zip(&ends) {
            let vector = queries.row(query);
            let farthest = truth[query as usize][K - 1];
            let bound = exact_distance(metric, vector, base.row(farthest));
            let bound = bound + 1e-6 * bound.abs().max(1e-9);
            for found in &answers[start..end] {
                hits += u32::from(exact_distance(metric, vector, base.row(found.row)) <= bound);
            }
            start = end;
        }
        let recall = f64::from(hits) / (f64::from(queries.len) * 10.0);
        let (distances, hops) = (distances / f64::from(queries.len), hops / f64::from(queries.len));
        let wanted = target.map_or(String::new(), |target| format!(", wanted {target}"));
        writeln!(
            out,
            "  ef {ef:3}: recall@{K} {recall:.4}{wanted}, {qps:.0} queries/s, {distances:.0} \
             distances, {hops:.0} hops"
        )?;
    }
    Ok(())
}

fn exact_distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    match metric {
        Metric::L2 => pairs.map(|(a, b)| (a - b) * (a - b)).sum(),
        Metric::Cosine => 1.0 - pairs.map(|(a, b)| a * b).sum::<f64>(),
        Metric::Dot => -pairs.map(|(a, b)| a * b).sum::<f64>(),
    }
}

/// The codes of each chunk.
fn codes_of(base: &Vectors, chunks: &[&[f32]], code: Code) -> Vec<Vec<i8>> {
    let mut encoder = Encoder::new(code, base.dims);
    let len = code.len_bytes(base.dims);
    let mut bytes = vec![0; len];
    let mut encode = |chunk: &&[f32]| {
        let mut codes = Vec::with_capacity(chunk.len() / row_stride(base.dims) * len);
        for vector in chunk.chunks(row_stride(base.dims)) {
            encoder.encode(vector, &mut bytes);
            codes.extend(bytes.iter().map(|byte| byte.cast_signed()));
        }
        codes
    };
    chunks.iter().map(&mut encode).collect()
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
