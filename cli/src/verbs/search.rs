//! `gannet search`: the queries of a file, with recall, speed and latency for each beam width.

use std::path::{Path, PathBuf};
use std::time::Instant;

use gannet::{Answer, CollectionStats, Ef, Filter, Id, SearchOptions};
use serde::Serialize;

use super::ids;
use crate::args::SearchArgs;
use crate::database::{self, Db, Expect};
use crate::failure::Failure;
use crate::output::Output;
use crate::queries::{self, Queries};
use crate::recall;
use crate::vectors::{NeighborLists, VectorFile};

#[derive(Serialize)]
struct Summary {
    backend: &'static str,
    queries: usize,
    k: u32,
    threads: u16,
    open_ms: f64,
    ids: Option<PathBuf>,
    results: Vec<Measured>,
}

#[derive(Serialize)]
struct Measured {
    /// Width of the beam; with a target the one that was taken, 0 for none.
    ef: u64,
    target: Option<f32>,
    /// Every query looked at every row that was to be searched.
    is_exact: bool,
    /// How most queries found their rows: by a walk, expand, codes or exact.
    plan: Option<String>,
    /// Rows that were searched: all, or those of --ids that are there.
    passing: u64,
    recall: Option<f64>,
    qps: f64,
    mean_us: f64,
    p50_us: f64,
    p99_us: f64,
    /// Means a query.
    visited: f64,
    distances: f64,
    ranked: f64,
    scanned: f64,
}

pub(super) fn run(args: &SearchArgs, out: &mut Output) -> Result<(), Failure> {
    let (vectors, dims) = read_queries(&args.queries)?;
    let truth = args.truth.as_deref().map(NeighborLists::read).transpose()?;
    let filter = args.ids.as_deref().map(ids::read).transpose()?;
    let start = Instant::now();
    // Those of the database search only where it shares searches out.
    let threads = (args.exact || args.batch.is_some()).then_some(args.threads);
    let database = database::open(&args.database, Expect::Existing, threads)?;
    let open_ms = start.elapsed().as_secs_f64() * 1e3;
    let collection = database::collection(&database, &args.database, &args.collection)?;
    if dims != collection.params.dims {
        return Err(Failure::QueryDims {
            file: args.queries.clone(),
            found: dims,
            collection: collection.name,
            expected: collection.params.dims,
        });
    }
    let dims = usize::try_from(dims).expect("bounded by DIMS_MAX");
    let search = Search {
        args,
        database: &database,
        queries: Queries { vectors: &vectors, dims },
        k: usize::try_from(args.k).unwrap_or(usize::MAX),
        // More than all rows cannot be found, nor be missed.
        k_found: u64::from(args.k).min(collection.rows),
        collection: &collection,
        filter,
    };
    let kth = match &search.filter {
        Some(_) => Some(search.kth_distances_of_passing()?),
        None => truth.as_ref().map(|truth| search.kth_distances(truth)).transpose()?,
    };
    let mut results = Vec::new();
    let mut last = Vec::new();
    let fixed = |ef: &u32| Ef::Fixed(usize::try_from(*ef).unwrap_or(usize::MAX));
    let beams: Vec<Ef> = if args.recall.is_empty() {
        args.ef.iter().map(fixed).collect()
    } else {
        args.recall.iter().copied().map(Ef::Auto).collect()
    };
    for ef in beams {
        let measured;
        (measured, last) = search.measure(ef, kth.as_deref())?;
        results.push(measured);
    }
    if let Some(path) = &args.out {
        write_found(path, &last)?;
    }
    let answer = Summary {
        backend: database::backend_name(&database),
        queries: search.queries.count(),
        k: args.k,
        threads: args.threads,
        open_ms,
        ids: args.ids.clone(),
        results,
    };
    database.close()?;
    out.answer(&answer, || text(&answer))
}

fn read_queries(path: &Path) -> Result<(Vec<f32>, u32), Failure> {
    let mut file = VectorFile::open(path)?;
    let mut vectors = Vec::new();
    file.read_rows(usize::MAX, &mut vectors)?;
    Ok((vectors, file.dims()))
}

struct Search<'a> {
    args: &'a SearchArgs,
    database: &'a Db,
    collection: &'a CollectionStats,
    queries: Queries<'a>,
    k: usize,
    k_found: u64,
    filter: Option<Filter>,
}

impl Search<'_> {
    /// The distance of each query's true k-th nearest row, from the vectors in the database.
    fn kth_distances(&self, truth: &NeighborLists) -> Result<Vec<f64>, Failure> {
        let file = || self.args.truth.clone().expect("the truth was read from this file");
        if truth.len() != self.queries.count() {
            return Err(Failure::TruthLists {
                file: file(),
                found: truth.len(),
                queries: self.queries.count(),
            });
        }
        let Some(farthest) = usize::try_from(self.k_found).ok().and_then(|k| k.checked_sub(1))
        else {
            return Ok(Vec::new());
        };
        let distance = |query: usize| {
            let list = truth.list(query);
            let &id = list.get(farthest).ok_or_else(|| Failure::TruthShort {
                file: file(),
                query,
                found: list.len(),
                k: farthest + 1,
            })?;
            let name = &self.collection.name;
            let vector =
                queries::stored(self.database, name, &Id::from(u64::from(id)))?.ok_or_else(
                    || Failure::TruthId { file: file(), query, id, collection: name.clone() },
                )?;
            let metric = self.collection.params.metric;
            Ok(recall::distance(metric, self.queries.query(query), &vector))
        };
        (0..truth.len()).map(distance).collect()
    }

    /// The distance of each query's k-th nearest of the rows that pass, all of them looked at.
    fn kth_distances_of_passing(&self) -> Result<Vec<f64>, Failure> {
        let mut options = SearchOptions::new(self.k);
        (options.exact, options.filter) = (true, self.filter.clone());
        let Queries { vectors, dims } = self.queries;
        let all: Vec<&[f32]> = vectors.chunks_exact(dims).collect();
        let name = &self.collection.name;
        let lists = self.database.search_batch(name, &all, &options).map_err(|source| {
            // Told of the first query that fails by itself, below.
            let fails = |query: &usize| self.database.search(name, all[*query], &options).is_err();
            let query = (0..all.len()).find(fails).unwrap_or(0);
            Failure::Query { file: self.args.queries.clone(), query, source }
        })?;
        let kth = |(list, query): (&Answer, &&[f32])| {
            let Some(last) = list.last() else { return Ok(f64::NEG_INFINITY) };
            let vector = queries::stored(self.database, name, &last.id)?
                .unwrap_or_else(|| panic!("search found id {}, which is not there", last.id));
            Ok(recall::distance(self.collection.params.metric, query, &vector))
        };
        lists.iter().zip(&all).map(kth).collect()
    }

    /// Runs all queries at one beam width.
    fn measure(&self, ef: Ef, kth: Option<&[f64]>) -> Result<(Measured, Vec<Answer>), Failure> {
        let mut options = SearchOptions::new(self.k);
        options.exact = self.args.exact;
        options.filter.clone_from(&self.filter);
        options.ef = ef;
        let threads = usize::from(self.args.threads);
        let name = &self.collection.name;
        let ran = match self.args.batch {
            None => queries::run(self.database, name, self.queries, &options, threads)?,
            Some(batch) => {
                let batch = usize::try_from(batch).unwrap_or(usize::MAX);
                queries::run_batches(self.database, name, self.queries, &options, batch)
            }
        };
        let run = ran.map_err(|error| Failure::Query {
            file: self.args.queries.clone(),
            query: error.query,
            source: error.source,
        })?;
        // The same for all: they see one collection.
        let passing = run.found.first().map_or(0, |answer| answer.how().passing);
        let recall = match kth {
            None => None,
            Some(kth) => queries::recall(
                self.database,
                name,
                self.collection.params.metric,
                self.queries,
                &run.found,
                kth,
                usize::try_from(self.k_found.min(passing)).unwrap_or(usize::MAX),
            )?,
        };
        let (ef, target) = match ef {
            Ef::Fixed(ef) => (u64::try_from(ef).unwrap_or(u64::MAX), None),
            // The same for all: they see one collection.
            Ef::Auto(target) => {
                (run.found.first().map_or(0, |answer| answer.how().ef), Some(target))
            }
        };
        let is_exact = run.found.iter().all(|answer| answer.how().is_exact);
        let measured = Measured {
            ef,
            target,
            is_exact,
            plan: run.plans().first().map(|(plan, _)| format!("{plan:?}").to_lowercase()),
            passing,
            recall,
            qps: run.queries_a_second(),
            mean_us: run.latencies.mean_us(),
            p50_us: run.latencies.percentile_us(50),
            p99_us: run.latencies.percentile_us(99),
            visited: run.mean(|how| how.visited),
            distances: run.mean(|how| how.distances),
            ranked: run.mean(|how| how.ranked),
            scanned: run.mean(|how| how.scanned),
        };
        Ok((measured, run.found))
    }
}

fn write_found(path: &Path, found: &[Answer]) -> Result<(), Failure> {
    let mut lists = NeighborLists::new();
    for (query, hits) in found.iter().enumerate() {
        let unfit = |id: &Id| Failure::OutId { query, id: id.to_string() };
        let ids = hits.iter().map(|hit| match &hit.id {
            Id::Int(id) => Ok(*id),
            Id::Bytes(_) => Err(unfit(&hit.id)),
        });
        let ids = ids.collect::<Result<Vec<u64>, Failure>>()?;
        lists.push(ids).map_err(|id| unfit(&Id::from(id)))?;
    }
    Ok(lists.write(path)?)
}

fn text(answer: &Summary) -> String {
    let Summary { backend, queries, k, threads, open_ms, ids, results } = answer;
    let searched = results.first().filter(|_| ids.is_some());
    let searched =
        searched.map_or(String::new(), |result| format!(", {} rows searched", result.passing));
    let mut lines = vec![
        format!(
            "{queries} queries, k {k}, {threads} threads, backend {backend}, opened in \
             {open_ms:.1} ms{searched}"
        ),
        format!(
            "{:>6}  {:>8}  {:>10}  {:>10}  {:>10}  {:>10}",
            "ef", "recall", "queries/s", "mean us", "p50 us", "p99 us"
        ),
    ];
    lines.extend(results.iter().map(
        |Measured { ef, is_exact, recall, qps, mean_us, p50_us, p99_us, .. }| {
            let recall = recall.map_or("-".to_string(), |recall| format!("{recall:.4}"));
            let ef = if *is_exact { "exact".to_owned() } else { ef.to_string() };
            format!(
                "{ef:>6}  {recall:>8}  {qps:>10.1}  {mean_us:>10.1}  {p50_us:>10.1}  {p99_us:>10.1}"
            )
        },
    ));
    lines.join("\n")
}
