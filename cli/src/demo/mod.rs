//! `gannet demo`: real digits imported by a child that is killed half way, recovered, searched.
//!
//! Nothing is staged: the child is this program running its own `import` verb, the kill is
//! SIGKILL, and every claim that is printed is checked here first; one that does not hold is an
//! error, not a line of text.

mod child;
mod digits;
mod error;
mod picture;
mod place;

use std::time::Instant;

use gannet::{Id, Metric, Params, SearchOptions};
use serde::Serialize;

pub(crate) use error::DemoError;

use crate::args::{DatabaseArgs, DemoArgs};
use crate::database::{self, Db, Expect};
use crate::failure::Failure;
use crate::output::Output;
use crate::queries::{self, Queries, Run};
use crate::recall;
use crate::units::mebibytes;
use crate::vectors::{NeighborLists, VectorFile};
use crate::verbs::{checkpoint, import};
use digits::Digits;
use place::Place;

const COLLECTION: &str = "digits";
/// Rows a commit: enough commits that the kill comes in the middle of many.
const BATCH: usize = 100;
const K: usize = 10;
const EF: usize = 64;
/// Query that is drawn, and how many of its neighbours.
const DRAWN: usize = 1;
const NEIGHBORS_DRAWN: usize = 5;

#[derive(Serialize)]
struct Answer {
    rows: u64,
    acked_before_kill: u64,
    rows_after_kill: u64,
    recall: f64,
    qps: f64,
    reopen_ms: f64,
    dir: String,
}

pub(crate) fn run(args: &DemoArgs, out: &mut Output) -> Result<(), Failure> {
    let place = Place::prepare(args.dir.as_deref())?;
    let digits = Digits::unpack(&place)?;
    let target = DatabaseArgs { db: place.database.clone(), backend: args.backend };
    let mut demo = Demo { place, digits, target, out };
    let (acked_before_kill, rows_after_kill) = demo.crash_and_recover()?;
    demo.finish_the_import()?;
    let (database, reopen_ms) = demo.reopen()?;
    let rows = database::collection(&database, &demo.target, COLLECTION)?.rows;
    let searched = demo.search(&database)?;
    database.close()?;
    if !demo.out.is_json() {
        return demo.out.text(&demo.place.what_next(&demo.digits, COLLECTION));
    }
    demo.out.json_line(&Answer {
        rows,
        acked_before_kill,
        rows_after_kill,
        recall: searched.recall,
        qps: searched.run.queries_a_second(),
        reopen_ms,
        dir: demo.place.database.display().to_string(),
    })
}

struct Demo<'a> {
    place: Place,
    digits: Digits,
    target: DatabaseArgs,
    out: &'a mut Output,
}

impl Demo<'_> {
    /// Tells a person what has just been done and found true.
    fn say(&mut self, text: &str) -> Result<(), Failure> {
        if self.out.is_json() { Ok(()) } else { self.out.text(text) }
    }

    /// Imports in a child, kills it, opens what is left and checks it. Returns the rows that were
    /// acknowledged before the kill and those that are there after it.
    fn crash_and_recover(&mut self) -> Result<(u64, u64), Failure> {
        let Digits { rows, dims, .. } = self.digits;
        self.say(&format!(
            "Gannet demo: {rows} handwritten digits (MNIST), {dims} dimensions, squared Euclidean \
             distance\n\n\
             1. A child process imports them, {BATCH} rows a commit, each commit durable."
        ))?;
        let acked = child::import_and_kill(&self.target, &self.digits, COLLECTION, BATCH)?;
        self.say(&format!("2. It was killed (SIGKILL) after it had acknowledged {acked} rows."))?;
        let database = database::open(&self.target, Expect::Existing, None)?;
        let found = check_recovered(&database, &self.target, &self.digits, acked)?;
        let report = database.recovery_report();
        let (records, torn_bytes) = (report.records, report.torn_bytes);
        database.close()?;
        self.say(&format!(
            "3. Reopened: {found} rows are there, every acknowledged one among them, each as in \
             the file,\n   no partial batch. Recovery replayed {records} records and cut \
             {torn_bytes} torn bytes."
        ))?;
        Ok((acked, found))
    }

    /// Imports the rest in this process and makes a checkpoint.
    fn finish_the_import(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        let database = database::open(&self.target, Expect::Existing, None)?;
        let mut file = VectorFile::open(&self.digits.base)?;
        let params = Params::new(file.dims(), Metric::L2);
        let known = import::Known::Skipped;
        import::import(&database, &mut file, (COLLECTION, &params), known, BATCH, &mut |_, _| {
            Ok(())
        })?;
        checkpoint::checkpoint(&database)?;
        let stats = database.stats()?;
        database.close()?;
        let seconds = start.elapsed().as_secs_f64();
        let raw = file.rows() * u64::from(file.dims()) * 4;
        self.say(&format!(
            "4. The import went on where it stopped; indexed and checkpointed: {seconds:.1} s.\n   \
             {:.1} MiB on disk for {:.1} MiB of vectors, {:.1} MiB of it the log of this import.",
            mebibytes(stats.file_bytes),
            mebibytes(raw),
            mebibytes(stats.log_bytes)
        ))
    }

    /// Opens the whole database again and says how long it took, in milliseconds.
    fn reopen(&mut self) -> Result<(Db, f64), Failure> {
        let start = Instant::now();
        let database = database::open(&self.target, Expect::Existing, None)?;
        let reopen_ms = start.elapsed().as_secs_f64() * 1e3;
        if let Some(action) = database.recovery_report().index_actions.first() {
            return Err(DemoError::Rebuilt { action: action.to_string() }.into());
        }
        self.say(&format!(
            "5. Closed and reopened in {reopen_ms:.1} ms, without building the index again."
        ))?;
        Ok((database, reopen_ms))
    }

    /// Searches, measures, and draws one query with what was found for it.
    fn search(&mut self, database: &Db) -> Result<Searched, Failure> {
        let searched = search(database, &self.digits)?;
        self.say(&format!(
            "6. {} queries: recall@{K} {:.4} against exact search, {:.0} queries/s (one thread, \
             ef {EF}).",
            self.digits.queries_count,
            searched.recall,
            searched.run.queries_a_second()
        ))?;
        self.say(&drawing(database, &searched)?)?;
        Ok(searched)
    }
}

/// Holds what is there after the kill against what was acknowledged and against the file.
fn check_recovered(
    database: &Db,
    target: &DatabaseArgs,
    digits: &Digits,
    acked: u64,
) -> Result<u64, Failure> {
    let rows = database::collection(database, target, COLLECTION)?.rows;
    if rows < acked {
        return Err(DemoError::Lost { acked, rows }.into());
    }
    if !rows.is_multiple_of(BATCH as u64) {
        return Err(DemoError::PartialBatch { rows, batch: BATCH }.into());
    }
    let mut file = VectorFile::open(&digits.base)?;
    let mut expect = Vec::new();
    for row in 0..rows {
        expect.clear();
        file.read_rows(1, &mut expect)?;
        if queries::stored(database, COLLECTION, &Id::from(row))?.as_ref() != Some(&expect) {
            return Err(DemoError::WrongRow { row }.into());
        }
    }
    Ok(rows)
}

struct Searched {
    vectors: Vec<f32>,
    run: Run,
    recall: f64,
}

/// Searches with the graph, and exactly; keeps the exact answers beside the queries.
fn search(database: &Db, digits: &Digits) -> Result<Searched, Failure> {
    let mut vectors = Vec::new();
    VectorFile::open(&digits.queries)?.read_rows(usize::MAX, &mut vectors)?;
    let dims = usize::try_from(digits.dims).expect("bounded by DIMS_MAX");
    let all = Queries { vectors: &vectors, dims };
    let find = |exact: bool| {
        let mut options = SearchOptions::new(K);
        options.ef = EF.into();
        options.exact = exact;
        queries::run(database, COLLECTION, all, &options, 1)?.map_err(|error| Failure::Query {
            file: digits.queries.clone(),
            query: error.query,
            source: error.source,
        })
    };
    let run = find(false)?;
    let exact = find(true)?;
    let mut truth = NeighborLists::new();
    let mut kth = Vec::with_capacity(all.count());
    for (query, hits) in exact.found.iter().enumerate() {
        let ids: Vec<u64> = hits.iter().filter_map(|hit| row_of(&hit.id)).collect();
        let last = ids.last().copied().filter(|_| ids.len() == K);
        let last = last.ok_or(DemoError::FewNeighbors { query, found: ids.len(), k: K })?;
        let vector = queries::stored(database, COLLECTION, &Id::from(last))?
            .ok_or(DemoError::WrongRow { row: last })?;
        kth.push(recall::distance(Metric::L2, all.query(query), &vector));
        truth.push(ids).expect("ids are row numbers of a small file");
    }
    truth.write(&digits.truth)?;
    let recall = queries::recall(database, COLLECTION, Metric::L2, all, &run.found, &kth, K)?;
    let recall = recall.expect("the demo's file has queries");
    Ok(Searched { vectors, run, recall })
}

fn row_of(id: &Id) -> Option<u64> {
    match id {
        Id::Int(row) => Some(*row),
        Id::Bytes(_) => None,
    }
}

/// One query and the nearest digits that were found for it.
fn drawing(database: &Db, searched: &Searched) -> Result<String, Failure> {
    let dims = picture::PIXELS;
    let query = searched.vectors[DRAWN * dims..(DRAWN + 1) * dims].to_vec();
    let mut pictures = vec![("query".to_string(), query)];
    for hit in searched.run.found[DRAWN].iter().take(NEIGHBORS_DRAWN) {
        if let Some(pixels) = queries::stored(database, COLLECTION, &hit.id)? {
            pictures.push((format!("id {}", hit.id), pixels));
        }
    }
    Ok(format!(
        "\nA digit it had never seen, and the {NEIGHBORS_DRAWN} nearest it found:\n\n{}",
        picture::side_by_side(&pictures)
    ))
}
