//! `gannet delete`: keys, or rows of ids, that must be there.

use gannet::{DEFAULT_KEYSPACE, WriteBatch};

use super::committed::Committed;
use super::row_id;
use crate::args::DeleteArgs;
use crate::database::{self, Expect};
use crate::failure::Failure;
use crate::output::Output;

pub(super) fn run(args: &DeleteArgs, out: &mut Output) -> Result<(), Failure> {
    let DeleteArgs { database: place, commit, collection, keys } = args;
    let database = database::open_for_one_commit(place, Expect::Existing, commit.durability)?;
    let mut batch = WriteBatch::new();
    if let Some(collection) = collection {
        database::collection(&database, place, collection)?;
        for key in keys {
            let id = row_id::parse(key);
            if database.get_vector(collection, &id)?.is_none() {
                return Err(Failure::NoId { collection: collection.clone(), id: id.to_string() });
            }
            batch.delete_row(collection, id);
        }
    } else {
        for key in keys {
            let bytes = key.as_encoded_bytes();
            if database.get(DEFAULT_KEYSPACE, bytes)?.is_none() {
                return Err(Failure::NoKey { key: key.display().to_string() });
            }
            batch.delete(DEFAULT_KEYSPACE, bytes);
        }
    }
    let done = database.commit(batch)?;
    database.close()?;
    Committed::new(done, *commit).tell(out)
}
