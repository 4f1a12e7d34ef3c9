//! Prints how long exact searches over real vectors take: one query a call, and batches.
//!
//! `exact BASE QUERIES METRIC [THREADS] [BATCH] [ROUNDS]`
//!
//! BASE and QUERIES are `.u8bin` or `.fbin` (u32 rows, u32 dims, rows). Every round times a run of
//! single calls and a batch in turn; the least and the median over the rounds are printed. The
//! answers of the two are held to each other, bit for bit.

#![expect(clippy::disallowed_methods, reason = "a program: it reads files and the clock")]

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::time::Instant;

use gannet_hnsw::{Executor, Isa, Kernel, Metric, Neighbor, Rows, exact_batch};

mod vectors;

use vectors::Vectors;

const K: usize = 10;
/// Single calls a round.
const CALLS: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [base, queries, metric, rest @ ..] = &args[..] else {
        return Err("usage: exact BASE QUERIES METRIC [THREADS] [BATCH] [ROUNDS]".into());
    };
    let metric: Metric = metric.parse()?;
    let number = |index: usize, default: u32| rest.get(index).map_or(Ok(default), |n| n.parse());
    let base = Vectors::read(base, metric)?;
    let queries = Vectors::read(queries, metric)?;
    let exec = Executor::threads(usize::try_from(number(0, 1)?)?)?;
    let batch = number(1, 100)?.clamp(1, queries.len);
    let rounds = number(2, 5)?.max(1);
    let kernel = Kernel::new(Isa::detect(), metric);
    let chunks = base.chunks();
    let rows = base.rows(&chunks);

    let queries: Vec<&[f32]> = (0..queries.len).map(|query| queries.row(query)).collect();
    let batch = &queries[..batch as usize];
    let calls = &queries[..queries.len().min(CALLS)];

    let (mut call_ms, mut batch_ms) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let began = Instant::now();
        let single = calls.iter().flat_map(|&query| search(&rows, &[query], kernel, &exec));
        let single: Vec<Vec<Neighbor>> = single.collect();
        call_ms.push(began.elapsed().as_secs_f64() * 1e3 / as_f64(calls.len()));
        let began = Instant::now();
        let many = search(&rows, batch, kernel, &exec);
        batch_ms.push(began.elapsed().as_secs_f64() * 1e3 / as_f64(batch.len()));
        if single.iter().zip(&many).any(|(single, many)| single != many) {
            return Err("a batch found other rows than a single call".into());
        }
    }
    writeln!(
        io::stdout().lock(),
        "{} rows of {} dims, {metric}, {}, {} threads: one query a call {}; batches of {} {}",
        base.len,
        base.dims,
        kernel.isa().name(),
        exec.thread_count(),
        summary(call_ms),
        batch.len(),
        summary(batch_ms),
    )?;
    Ok(())
}

fn search(
    rows: &Rows<'_>,
    queries: &[&[f32]],
    kernel: Kernel,
    exec: &Executor,
) -> Vec<Vec<Neighbor>> {
    exact_batch(rows, 0..rows.len(), queries, K, None, kernel, exec)
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// The least and the median of milliseconds a query, and the queries a second of the median.
fn summary(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    format!("{:.3} ms at best, median {median:.3} ms ({:.0}/s)", times[0], 1e3 / median)
}
