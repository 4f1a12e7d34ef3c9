//! `gannet put`: one key, one value, one durable commit.

use gannet::{DEFAULT_KEYSPACE, WriteBatch};
use serde::Serialize;

use crate::args::PutArgs;
use crate::database::{self, Expect};
use crate::failure::Failure;
use crate::output::Output;

#[derive(Serialize)]
struct Answer {
    lsn: u64,
}

pub(super) fn run(args: &PutArgs, out: &mut Output) -> Result<(), Failure> {
    let database = database::open_for_one_commit(&args.database, Expect::Anything)?;
    let mut batch = WriteBatch::new();
    batch.put(DEFAULT_KEYSPACE, args.key.as_encoded_bytes(), args.value.as_encoded_bytes());
    let commit = database.commit(batch)?;
    database.close()?;
    if out.is_json() { out.json_line(&Answer { lsn: commit.last_lsn }) } else { Ok(()) }
}
