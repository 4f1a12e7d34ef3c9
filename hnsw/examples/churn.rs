//! Lets the rows of a graph be replaced, again and again, and prints what that does to searches.
//!
//! `churn --data BASE [--rows N] [--metric M] [--code C] [--threads T] [--turnovers T] [--ef EF]`
//!
//! BASE is `.u8bin` or `.fbin` (u32 rows, u32 dims, rows). The last 1,000 of its first N rows are
//! queries. Half of the others are in the graph; a turnover takes them out, batch by batch, and
//! takes in the other half as it goes, which changes roles with them the next time: in random
//! order, the oldest first, and cluster by cluster. Beside it stands a graph that was built of the
//! same rows at once.

#![expect(clippy::disallowed_methods, reason = "a program: it reads files and the clock")]

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::time::Instant;

use gannet_hnsw::{
    Allowed, BuildScratch, CodeChoice, Executor, Graph, Metric, Neighbor, Params, Rows,
    SearchContext, batch_changes, exact_batch,
};

mod vectors;

use vectors::Vectors;

const K: usize = 10;
const QUERIES: u32 = 1000;
const CLUSTERS: u32 = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let (pairs, rest) = args.as_chunks::<2>();
    let named: HashMap<&str, &str> =
        pairs.iter().map(|[name, value]| (&name[..], &value[..])).collect();
    let number = |name, default: u32| named.get(name).map_or(Ok(default), |value| value.parse());
    let Some(data) = named.get("--data").filter(|_| rest.is_empty()) else {
        let usage = "churn --data BASE [--rows N] [--metric M] [--code C] [--threads T] \
                     [--turnovers T] [--ef EF]";
        return Err(format!("usage: {usage}").into());
    };
    let metric: Metric = named.get("--metric").unwrap_or(&"l2").parse()?;
    let base = Vectors::read(data, metric)?;
    let chunks = base.chunks();
    let rows = base.rows(&chunks);
    let all = number("--rows", base.len)?.min(base.len) - QUERIES;
    let mut params = Params::new(base.dims, metric);
    params.code = named.get("--code").unwrap_or(&"auto").parse::<CodeChoice>()?;
    let trial = Trial {
        base: &base,
        rows: &rows,
        all,
        exec: Executor::threads(usize::try_from(number("--threads", 2)?)?)?,
        params,
        ef: usize::try_from(number("--ef", 64)?)?,
    };
    let mut out = io::stdout().lock();
    let orders = [("random", shuffled(all)), ("oldest first", (0..all).collect())];
    for (name, order) in orders.into_iter().chain([("by cluster", trial.clustered())]) {
        writeln!(out, "{name}")?;
        trial.run(&order, number("--turnovers", 5)?, &mut out)?;
    }
    Ok(())
}

/// What all orders have in common.
struct Trial<'a> {
    base: &'a Vectors,
    rows: &'a Rows<'a>,
    /// Rows that are in the graph now and then; queries follow.
    all: u32,
    exec: Executor,
    params: Params,
    ef: usize,
}

impl Trial<'_> {
    fn run(
        &self,
        order: &[u32],
        turnovers: u32,
        out: &mut impl Write,
    ) -> Result<(), Box<dyn Error>> {
        let (mut live, mut other) = order.split_at(order.len() / 2);
        let mut graph = self.fresh(live).0;
        let mut scratch = BuildScratch::new();
        for turnover in 1..=turnovers {
            let (mut removed_s, mut inserted_s) = (0.0, 0.0);
            let (mut leaves, mut joins) = (live, other);
            while !leaves.is_empty() || !joins.is_empty() {
                let count = batch_changes(graph.count()) as usize;
                let (batch, rest) = leaves.split_at(leaves.len().min(count));
                let began = Instant::now();
                graph.remove_batch(self.rows, &sorted(batch), &self.exec, &mut scratch);
                removed_s += began.elapsed().as_secs_f64();
                leaves = rest;
                let (batch, rest) = joins.split_at(joins.len().min(count));
                let began = Instant::now();
                graph.insert_batch(self.rows, &sorted(batch), &self.exec, &mut scratch);
                inserted_s += began.elapsed().as_secs_f64();
                joins = rest;
            }
            (live, other) = (other, live);
            writeln!(
                out,
                "  {turnover}: removed in {removed_s:.2} s, inserted in {inserted_s:.2} s"
            )?;
            self.describe("churned", &graph, out)?;
            let (fresh, fresh_s) = self.fresh(live);
            writeln!(out, "    built in {fresh_s:.2} s")?;
            self.describe("fresh", &fresh, out)?;
        }
        Ok(())
    }

    /// A graph of `live` alone, and the seconds it took.
    fn fresh(&self, live: &[u32]) -> (Graph, f64) {
        let began = Instant::now();
        let (mut graph, mut scratch) = (Graph::new(self.params.clone()), BuildScratch::new());
        let mut left = live;
        while !left.is_empty() {
            let count = left.len().min(batch_changes(graph.count()) as usize);
            let (batch, rest) = left.split_at(count);
            graph.insert_batch(self.rows, &sorted(batch), &self.exec, &mut scratch);
            left = rest;
        }
        (graph, began.elapsed().as_secs_f64())
    }

    fn describe(
        &self,
        name: &str,
        graph: &Graph,
        out: &mut impl Write,
    ) -> Result<(), Box<dyn Error>> {
        let queries: Vec<&[f32]> =
            (self.all..self.all + QUERIES).map(|row| self.base.row(row)).collect();
        let is_live = |row| graph.contains(row);
        let (range, kernel) = (0..graph.len(), graph.kernel());
        let truth = exact_batch(self.rows, range, &queries, K, Some(&is_live), kernel, &self.exec);
        let (mut context, mut found) = (SearchContext::new(), Vec::new());
        let (mut hits, mut distances) = (0_u32, 0_u32);
        for (query, truth) in queries.iter().zip(&truth) {
            found.clear();
            let all = Allowed::All;
            graph.search(self.rows, query, K, self.ef, all, &mut context, &mut found);
            let is_near = |near: &&Neighbor| near.distance <= truth[K - 1].distance;
            hits += u32::try_from(found.iter().filter(is_near).count())?;
            let effort = context.effort();
            distances += effort.distances + effort.upper_distances;
        }
        writeln!(
            out,
            "    {name:>8} ({}): {} rows, recall@{K} {:.4}, {:.0} distances, {} unreachable",
            graph.code(),
            graph.count(),
            f64::from(hits) / f64::from(10 * QUERIES),
            f64::from(distances) / f64::from(QUERIES),
            graph.unreachable_count(),
        )?;
        Ok(out.flush()?)
    }

    /// The rows, nearest to the same of some of them one after another.
    fn clustered(&self) -> Vec<u32> {
        let centres: Vec<u32> = (0..CLUSTERS).map(|at| at * (self.all / CLUSTERS)).collect();
        let kernel = Graph::new(self.params.clone()).kernel();
        let queries: Vec<&[f32]> = (0..self.all).map(|row| self.base.row(row)).collect();
        let is_centre = |row| centres.binary_search(&row).is_ok();
        let range = 0..self.all;
        let near = exact_batch(self.rows, range, &queries, 1, Some(&is_centre), kernel, &self.exec);
        let mut order = shuffled(self.all);
        order.sort_by_key(|&row| near[row as usize][0].row);
        order
    }
}

fn sorted(batch: &[u32]) -> Vec<u32> {
    let mut batch = batch.to_vec();
    batch.sort_unstable();
    batch
}

/// The rows below `len`, in a random order.
fn shuffled(len: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..len).collect();
    order.sort_by_key(|row| {
        u64::from(*row + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9)
    });
    order
}
