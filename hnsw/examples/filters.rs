//! Searches a graph for rows that pass a filter, and prints recall, speed, cost and plan.
//!
//! `filters BASE QUERIES METRIC GRAPH [COUNT] [SHARES] [KINDS] [EFS]`
//!
//! BASE and QUERIES are `.u8bin` or `.fbin` (u32 rows, u32 dims, rows), GRAPH is a file of a graph
//! that is read, and made where it is not there. COUNT is how many of the queries are asked.
//! SHARES are percents of the rows, KINDS and EFS what they say, all with commas between them:
//!
//! * `random`: rows as chance has it, the same for every query;
//! * `cells`: the rows that are nearest to eight rows that chance chose, the same for every query;
//! * `near`: the rows that are nearest to the query;
//! * `far`: the rows that are nearest to the row that is farthest from it.
//!
//! Recall is by distance to the k-th of all rows that pass, so that ties count. Speed is by the
//! time that the thread had a CPU, where the system tells: the median of rounds in which all beams
//! take turns.

#![expect(clippy::disallowed_methods, reason = "a program: it reads files")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::str::FromStr;
use std::{env, fs};

use gannet_hnsw::{
    Allowed, Executor, Graph, Metric, Neighbor, Params, RowSet, Rows, SearchContext, exact_batch,
};

mod clock;
mod vectors;

use clock::seconds;
use vectors::Vectors;

const K: usize = 10;
const ROUNDS: usize = 5;
const CENTRES: u64 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [base, queries, metric, graph, rest @ ..] = &args[..] else {
        let usage = "filters BASE QUERIES METRIC GRAPH [COUNT] [SHARES] [KINDS] [EFS]";
        return Err(format!("usage: {usage}").into());
    };
    let metric: Metric = metric.parse()?;
    let base = Vectors::read(base, metric)?;
    let queries = Vectors::read(queries, metric)?;
    let list = |index: usize, default| rest.get(index).map_or(default, |list: &String| &**list);
    let count = list(0, "300").parse::<u32>()?.min(queries.len);
    let shares: Vec<f64> = numbers(list(1, "0.01,0.1,1,5,10,25,50,75,90,100"))?;
    let efs: Vec<usize> = numbers(list(3, "16,32,48,64,100"))?;
    let chunks = base.chunks();
    let rows = base.rows(&chunks);
    let graph = graph_of(&rows, graph, metric)?;
    let queries: Vec<&[f32]> = (0..count).map(|query| queries.row(query)).collect();
    let (mut out, exec) = (io::stdout().lock(), Executor::threads(2)?);
    for kind in list(2, "random,cells,near,far").split(',') {
        for &share in &shares {
            let filters = Filters::new(kind, share, &rows, &graph, &queries, &exec)?;
            writeln!(out, "{kind} {share} %: {} rows of {}", filters.of(0).count(), rows.len())?;
            measure(&graph, &rows, &queries, &filters, &efs, &mut out)?;
        }
    }
    Ok(())
}

fn numbers<T: FromStr>(list: &str) -> Result<Vec<T>, T::Err> {
    list.split(',').map(str::parse).collect()
}

/// The graph of a file, or one that is made and kept in it.
fn graph_of(rows: &Rows<'_>, path: &str, metric: Metric) -> Result<Graph, Box<dyn Error>> {
    let params = Params::new(rows.dims(), metric);
    if let Ok(image) = fs::read(path) {
        return Ok(Graph::decode(&image, rows.len(), &params)?);
    }
    let mut graph = Graph::new(params);
    let proceed = &mut |_| ControlFlow::Continue(());
    if graph.insert_until(rows, rows.len(), &Executor::threads(2)?, proceed).is_break() {
        return Err("nobody asked to stop".into());
    }
    let mut image = Vec::new();
    graph.encode(&mut image);
    fs::write(path, image)?;
    Ok(graph)
}

/// Which rows pass for each query, and how far the last one is that is to be found.
struct Filters {
    /// One for each query, or one for all.
    sets: Vec<RowSet>,
    kth: Vec<f32>,
}

impl Filters {
    fn new(
        kind: &str,
        percent: f64,
        rows: &Rows<'_>,
        graph: &Graph,
        queries: &[&[f32]],
        exec: &Executor,
    ) -> Result<Self, Box<dyn Error>> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share")]
        let count = (f64::from(rows.len()) * percent / 100.0).round() as usize;
        let distance = |row: u32, query: &[f32]| graph.kernel().distance(rows.row(row), query);
        let by = |far: &dyn Fn(u32) -> f32| -> RowSet {
            let mut keys: Vec<(f32, u32)> = (0..rows.len()).map(|row| (far(row), row)).collect();
            if count < keys.len() {
                keys.select_nth_unstable_by(count, |a, b| a.0.total_cmp(&b.0));
            }
            keys[..count].iter().map(|key| key.1).collect()
        };
        let stride = |query: &[f32]| {
            let mut query = query.to_vec();
            query.resize(rows.stride(), 0.0);
            query
        };
        let sets: Vec<RowSet> = match kind {
            "random" => {
                vec![by(&|row| f32::from(u16::try_from(chance(u64::from(row)) >> 48).unwrap_or(0)))]
            }
            "cells" => {
                let centre = |at: u64| {
                    let row = chance(1 << 40 | at) % u64::from(rows.len());
                    rows.row(u32::try_from(row).unwrap_or(0))
                };
                let nearest = |row| {
                    (0..CENTRES).map(|at| distance(row, centre(at))).fold(f32::INFINITY, f32::min)
                };
                vec![by(&nearest)]
            }
            "near" | "far" => {
                let of = |at: usize| {
                    let query = stride(queries[at]);
                    if kind == "near" {
                        return by(&|row| distance(row, &query));
                    }
                    let farther =
                        |a: &u32, b: &u32| distance(*a, &query).total_cmp(&distance(*b, &query));
                    let farthest = (0..rows.len()).max_by(farther).unwrap_or(0);
                    by(&|row| distance(row, rows.row(farthest)))
                };
                exec.map(queries.len(), of)
            }
            _ => return Err(format!("no kind {kind}").into()),
        };
        let all = 0..rows.len();
        let truth = |set: &RowSet, queries: &[&[f32]]| -> Vec<f32> {
            let live = |row: u32| set.contains(row);
            let kernel = graph.kernel();
            let lists = exact_batch(rows, all.clone(), queries, K, Some(&live), kernel, exec);
            let kth =
                |list: &Vec<Neighbor>| list.last().map_or(f32::INFINITY, |last| last.distance);
            lists.iter().map(kth).collect()
        };
        let kth = if let [set] = &sets[..] {
            truth(set, queries)
        } else {
            sets.iter().zip(queries).flat_map(|(set, query)| truth(set, &[query])).collect()
        };
        Ok(Self { sets, kth })
    }

    fn of(&self, query: usize) -> &RowSet {
        self.sets.get(query).unwrap_or(&self.sets[0])
    }
}

/// Splitmix64.
fn chance(seed: u64) -> u64 {
    let z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn measure(
    graph: &Graph,
    rows: &Rows<'_>,
    queries: &[&[f32]],
    filters: &Filters,
    efs: &[usize],
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let (mut context, mut found) = (SearchContext::new(), Vec::new());
    let mut times = vec![Vec::new(); efs.len()];
    let mut sums = vec![(0_u32, 0_usize, 0_u64, BTreeMap::new()); efs.len()];
    for round in 0..ROUNDS {
        for (at, &ef) in efs.iter().enumerate() {
            let began = seconds();
            for (index, query) in queries.iter().enumerate() {
                found.clear();
                let set = filters.of(index);
                let only = Allowed::Only(set);
                let plan = graph.search(rows, query, K, ef, only, &mut context, &mut found);
                if round == 0 {
                    let (distances, wanted, hits, plans) = &mut sums[at];
                    *distances += context.effort().distances + context.effort().upper_distances;
                    *wanted += K.min(set.count() as usize);
                    let near = found.iter().filter(|near| near.distance <= filters.kth[index]);
                    *hits += near.count().min(K) as u64;
                    *plans.entry(format!("{plan:?}")).or_insert(0) += 1;
                }
            }
            times[at].push(seconds() - began);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    for ((ef, times), (distances, wanted, hits, plans)) in efs.iter().zip(&mut times).zip(&sums) {
        times.sort_by(f64::total_cmp);
        let count = queries.len() as f64;
        writeln!(
            out,
            "  ef {ef:4}: recall@{K} {:.4}, {:.0} queries/s, {:.0} distances, {plans:?}",
            *hits as f64 / (*wanted).max(1) as f64,
            count / times[ROUNDS / 2],
            f64::from(*distances) / count,
        )?;
    }
    Ok(())
}
