//! `gannet delete`: keys, or rows of ids, that must be there.

use gannet::WriteBatch;

use super::committed::Committed;
use super::{key, row_id};
use crate::args::DeleteArgs;
use crate::database::{self, Expect};
use crate::failure::Failure;
use crate::output::Output;

pub(super) fn run(args: &DeleteArgs, out: &mut Output) -> Result<(), Failure> {
    let DeleteArgs { database: place, commit, place_of_keys, collection, keys } = args;
    let parsed: Vec<_> =
        keys.iter().map(|text| key::parse(text, place_of_keys.hex)).collect::<Result<_, _>>()?;
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
        for (text, key) in keys.iter().zip(&parsed) {
            if !database.exists(&place_of_keys.keyspace, key)? {
                return Err(Failure::NoKey { key: text.display().to_string() });
            }
            batch.delete(&place_of_keys.keyspace, key);
        }
    }
    let done = database.commit(batch)?;
    database.close()?;
    Committed::new(done, *commit).tell(out)
}
