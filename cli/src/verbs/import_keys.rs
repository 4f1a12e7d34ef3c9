//! `gannet import --kv`: the entries of a file into a keyspace, batch after batch.
//!
//! How entries are written is left to [`crate::entries`]. Memory is bounded by a batch and an
//! entry, never by the file.

use std::path::Path;
use std::time::Instant;

use gannet::WriteBatch;
use serde::Serialize;

use crate::args::ImportArgs;
use crate::database::{self, Db, Expect};
use crate::entries::{Entry, EntryFile};
use crate::failure::Failure;
use crate::output::Output;
use crate::units::per_second;

/// A batch ends when its entries are so many bytes, if it has not ended before.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes that an entry counts for beside its key and value.
const ENTRY_OVERHEAD_BYTES: usize = 32;

#[derive(Serialize)]
struct Answer<'a> {
    backend: &'static str,
    durability: &'static str,
    keyspace: &'a str,
    put: u64,
    batches: u64,
    seconds: f64,
    puts_per_s: f64,
}

pub(super) fn run(args: &ImportArgs, path: &Path, out: &mut Output) -> Result<(), Failure> {
    // The file first: one that cannot be read makes no database.
    let mut file = EntryFile::open(path)?;
    let durability = args.commit.durability;
    let database = database::open_committing(&args.database, Expect::Anything, None, durability)?;
    let backend = database::backend_name(&database);
    let start = Instant::now();
    let mut done = Done::default();
    let filled = fill(&database, args, &mut file, &mut done);
    // Also after an error: the batches before it stay.
    let closed = database.close();
    let Done { put, batches } = done;
    filled.map_err(|failure| Failure::ImportEnded { put, source: Box::new(failure) })?;
    closed?;
    let seconds = start.elapsed().as_secs_f64();
    let answer = Answer {
        backend,
        durability: database::durability_name(durability),
        keyspace: &args.keyspace,
        put,
        batches,
        seconds,
        puts_per_s: per_second(put, seconds),
    };
    out.answer(&answer, || {
        let keyspace = &args.keyspace;
        format!("put {put} entries into keyspace `{keyspace}`: {batches} batches, {seconds:.2} s")
    })
}

/// What was committed.
#[derive(Debug, Default)]
struct Done {
    put: u64,
    batches: u64,
}

fn fill(
    database: &Db,
    args: &ImportArgs,
    file: &mut EntryFile,
    done: &mut Done,
) -> Result<(), Failure> {
    let count_max = usize::try_from(args.batch).unwrap_or(usize::MAX);
    loop {
        let (mut batch, mut bytes) = (WriteBatch::new(), 0);
        while batch.len() < count_max && bytes < BATCH_BYTES {
            let Some(Entry { key, value }) = file.next()? else { break };
            batch.put(&args.keyspace, &key, &value);
            bytes += key.len() + value.len() + ENTRY_OVERHEAD_BYTES;
        }
        if batch.is_empty() {
            return Ok(());
        }
        let put = batch.len() as u64;
        database.commit(batch)?;
        done.put += put;
        done.batches += 1;
    }
}
