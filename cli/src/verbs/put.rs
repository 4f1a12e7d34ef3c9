//! `gannet put`: one key, one value, one commit.

use gannet::WriteBatch;

use super::committed::Committed;
use super::{key, value};
use crate::args::PutArgs;
use crate::database::{self, Expect};
use crate::failure::Failure;
use crate::output::Output;

pub(super) fn run(args: &PutArgs, out: &mut Output) -> Result<(), Failure> {
    // What is put first: without it no database is made.
    let key = key::parse(&args.key, args.keys.hex)?;
    let value = value::read(&args.value)?;
    let database =
        database::open_for_one_commit(&args.database, Expect::Anything, args.commit.durability)?;
    let mut batch = WriteBatch::new();
    batch.put(&args.keys.keyspace, &key, &value);
    let commit = database.commit(batch)?;
    database.close()?;
    Committed::new(commit, args.commit).tell(out)
}
