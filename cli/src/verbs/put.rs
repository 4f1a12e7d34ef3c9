//! `gannet put`: one key, one value, one commit.

use gannet::{DEFAULT_KEYSPACE, WriteBatch};

use super::committed::Committed;
use crate::args::PutArgs;
use crate::database::{self, Expect};
use crate::failure::Failure;
use crate::output::Output;

pub(super) fn run(args: &PutArgs, out: &mut Output) -> Result<(), Failure> {
    let database =
        database::open_for_one_commit(&args.database, Expect::Anything, args.commit.durability)?;
    let mut batch = WriteBatch::new();
    batch.put(DEFAULT_KEYSPACE, args.key.as_encoded_bytes(), args.value.as_encoded_bytes());
    let commit = database.commit(batch)?;
    database.close()?;
    Committed::new(commit, args.commit).tell(out)
}
