//! `gannet import`: the rows of a vector file into a collection, batch after batch.
//!
//! With `--kv` it is `import_keys`'s business.
//!
//! Ids are the rows' numbers in the file, so that a second import knows where to go on, or which
//! rows to replace. Memory is bounded by the batch and by what the collection itself takes, never
//! by the file.

use std::time::Instant;

use gannet::limits::{BATCH_LEN_BYTES_MAX, BATCH_RECORDS_MAX};
use gannet::{CommitError, Id, Lsn, Params, WriteBatch};
use serde::Serialize;

use super::{checkpoint, import_keys};
use crate::args::ImportArgs;
use crate::database::{self, Db, Expect};
use crate::failure::Failure;
use crate::output::Output;
use crate::progress;
use crate::units::{mebibytes, per_second};
use crate::vectors::VectorFile;

/// Bytes that a row takes in a batch beside its vector, at most.
const ROW_OVERHEAD_BYTES: usize = 64;

#[derive(Serialize)]
struct Answer {
    backend: &'static str,
    durability: &'static str,
    rows: u64,
    imported: u64,
    dims: u32,
    batches: u64,
    seconds: f64,
    rows_per_s: f64,
    indexed_seconds: f64,
    bytes_on_disk: u64,
}

pub(super) fn run(args: &ImportArgs, out: &mut Output) -> Result<(), Failure> {
    if let Some(path) = &args.kv {
        return import_keys::run(args, path, out);
    }
    // The file first: one that cannot be read makes no database.
    let (path, ..) = args.vectors();
    let mut file = VectorFile::open(path)?;
    check_batch(args.batch, &file)?;
    let durability = args.commit.durability;
    let database =
        database::open_committing(&args.database, Expect::Anything, args.threads, durability)?;
    let filled = fill(&database, args, &mut file, out);
    // Also after an error: the batches before it stay, and their end is to be known.
    let closed = database.close();
    let answer = filled?;
    closed?;
    out.answer(&answer, || text(args, &answer))
}

/// A batch is held in memory and in one frame of the log: too large a one is refused before a
/// byte of it is read.
fn check_batch(batch: u32, file: &VectorFile) -> Result<(), Failure> {
    let dims = file.dims();
    let row_bytes = usize::try_from(dims).expect("bounded by DIMS_MAX") * 4 + ROW_OVERHEAD_BYTES;
    let rows_max = (BATCH_LEN_BYTES_MAX / row_bytes).min(BATCH_RECORDS_MAX);
    let rows = u64::from(batch).min(file.rows());
    if rows > rows_max as u64 { Err(Failure::Batch { rows, dims, rows_max }) } else { Ok(()) }
}

/// Imports the file, indexes and makes a checkpoint.
fn fill(
    database: &Db,
    args: &ImportArgs,
    file: &mut VectorFile,
    out: &mut Output,
) -> Result<Answer, Failure> {
    let start = Instant::now();
    let (_, collection, _) = args.vectors();
    let params = params_of(args, file, database);
    if database.collection(collection).is_some() {
        // Writes nothing: refuses if the parameters are others.
        database.create_collection(collection, params.clone())?;
    }
    let mut acked = |rows: u64, lsn: Lsn| {
        if args.print_acks { out.text(&format!("acked {rows} {lsn}")) } else { Ok(()) }
    };
    let batch = usize::try_from(args.batch).unwrap_or(usize::MAX);
    let known = if args.upsert { Known::Replaced } else { Known::Skipped };
    let done = import(database, file, (collection, &params), known, batch, &mut acked)?;
    let seconds = start.elapsed().as_secs_f64();
    checkpoint::checkpoint(database)?;
    let indexed_seconds = start.elapsed().as_secs_f64();
    Ok(Answer {
        backend: database::backend_name(database),
        durability: database::durability_name(args.commit.durability),
        rows: database::collection(database, &args.database, collection)?.rows,
        imported: done.rows,
        dims: file.dims(),
        batches: done.batches,
        seconds,
        rows_per_s: per_second(done.rows, seconds),
        indexed_seconds,
        bytes_on_disk: database.stats()?.file_bytes,
    })
}

fn text(args: &ImportArgs, answer: &Answer) -> String {
    let Answer { imported, rows, dims, batches, seconds, .. } = answer;
    let (_, collection, _) = args.vectors();
    if *imported == 0 {
        return format!("nothing to import: collection `{collection}` has {rows} rows already");
    }
    format!(
        "imported {imported} rows of {dims} dimensions into `{collection}`, which has {rows} now\n\
         {:<8} {seconds:.2} s in {batches} batches, {:.0} rows/s, backend {}\n\
         indexed  {:.2} s in all\n\
         on disk  {:.1} MiB",
        if answer.durability == "strict" { "durable" } else { answer.durability },
        answer.rows_per_s,
        answer.backend,
        answer.indexed_seconds,
        mebibytes(answer.bytes_on_disk),
    )
}

/// The parameters asked for; where nothing is said, those the collection has or the usual ones.
fn params_of(args: &ImportArgs, file: &VectorFile, database: &Db) -> Params {
    let (_, collection, metric) = args.vectors();
    let there = database.collection(collection).map(|found| found.params);
    let usual = there.unwrap_or_else(|| Params::new(file.dims(), metric));
    Params {
        dims: file.dims(),
        metric,
        m: args.m.unwrap_or(usual.m),
        ef_construction: args.ef_construction.unwrap_or(usual.ef_construction),
        code: args.code.unwrap_or(usual.code),
        ..usual
    }
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Imported {
    /// Rows that were committed.
    pub(crate) rows: u64,
    /// Commits that it took.
    pub(crate) batches: u64,
}

/// What becomes of rows of the file that were imported before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// They are left as they are, deleted ones deleted.
    Skipped,
    /// They are replaced, deleted ones inserted again.
    Replaced,
}

/// Commits rows of `file`, `batch` at a time. A new collection is made in the commit of its first
/// rows: a file whose rows are refused leaves none.
///
/// Calls `acked` with the number of the collection's rows and the LSN after each commit. On an
/// error the batches before stay.
pub(crate) fn import(
    database: &Db,
    file: &mut VectorFile,
    (collection, params): (&str, &Params),
    known: Known,
    batch: usize,
    acked: &mut dyn FnMut(u64, Lsn) -> Result<(), Failure>,
) -> Result<Imported, Failure> {
    if known == Known::Skipped {
        let next = database.collection(collection).map_or(0, |there| there.next_id);
        file.skip_rows(next)?;
    }
    let dims = usize::try_from(file.dims()).expect("bounded by DIMS_MAX");
    let bar = progress::bar("importing", file.rows() - file.next_row());
    let mut vectors = Vec::new();
    let mut done = Imported::default();
    loop {
        let row = file.next_row();
        vectors.clear();
        let count = file.read_rows(batch, &mut vectors)?;
        if count == 0 {
            return Ok(done);
        }
        let mut writes = WriteBatch::new();
        writes.set_bulk(true);
        writes.create_collection(collection, params.clone());
        for (id, vector) in (row..).zip(vectors.chunks_exact(dims)) {
            match known {
                Known::Skipped => writes.insert(collection, id, vector),
                Known::Replaced => writes.upsert(collection, id, vector),
            }
        }
        let commit = database.commit(writes).map_err(|source| row_failure(file, source))?;
        done.rows += count as u64;
        done.batches += 1;
        bar.inc(count as u64);
        let rows = database.collection(collection).map_or(0, |there| there.rows);
        acked(rows, commit.last_lsn)?;
    }
}

/// An error about one vector, told with its row in the file: ids are row numbers.
fn row_failure(file: &VectorFile, source: CommitError) -> Failure {
    if let CommitError::NotFinite { id: Id::Int(row), .. }
    | CommitError::ZeroVector { id: Id::Int(row), .. }
    | CommitError::DuplicateId { id: Id::Int(row), .. } = source
    {
        Failure::Row { file: file.path().to_path_buf(), row, source }
    } else {
        Failure::Commit(source)
    }
}
