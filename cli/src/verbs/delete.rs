//! `gannet delete`: a key, or the row of an id, that must be there.

use gannet::{DEFAULT_KEYSPACE, WriteBatch};

use super::committed::Committed;
use super::row_id;
use crate::args::DeleteArgs;
use crate::database::{self, Expect};
use crate::failure::Failure;
use crate::output::Output;

pub(super) fn run(args: &DeleteArgs, out: &mut Output) -> Result<(), Failure> {
    let DeleteArgs { get: args, commit } = args;
    let durability = commit.durability;
    let database = database::open_for_one_commit(&args.database, Expect::Existing, durability)?;
    let mut batch = WriteBatch::new();
    if let Some(collection) = &args.collection {
        database::collection(&database, &args.database, collection)?;
        let id = row_id::parse(&args.key);
        if database.get_vector(collection, &id)?.is_none() {
            return Err(Failure::NoId { collection: collection.clone(), id: id.to_string() });
        }
        batch.delete_row(collection, id);
    } else {
        let key = args.key.as_encoded_bytes();
        if database.get(DEFAULT_KEYSPACE, key)?.is_none() {
            return Err(Failure::NoKey { key: args.key.display().to_string() });
        }
        batch.delete(DEFAULT_KEYSPACE, key);
    }
    let done = database.commit(batch)?;
    database.close()?;
    Committed::new(done, *commit).tell(out)
}
