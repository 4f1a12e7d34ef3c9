//! `gannet get`: the value of a key, or the vector of an id, and nothing else on stdout.

use gannet::Lsn;
use serde::Serialize;

use super::out_file::OutFile;
use super::{key, row_id};
use crate::args::GetArgs;
use crate::database::{self, Db, Expect};
use crate::entries::json::Value;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    value: Value<'a>,
    version: Lsn,
}

/// The answer where the value went to a file.
#[derive(Serialize)]
struct Written {
    bytes: usize,
    version: Lsn,
}

pub(super) fn run(args: &GetArgs, out: &mut Output) -> Result<(), Failure> {
    let key = key::parse(&args.key, args.keys.hex)?;
    let database = database::open(&args.database, Expect::Existing, None)?;
    match &args.collection {
        Some(collection) => vector(&database, args, collection, out)?,
        None => value(&database, args, &key, out)?,
    }
    database.close()?;
    Ok(())
}

fn value(database: &Db, args: &GetArgs, key: &[u8], out: &mut Output) -> Result<(), Failure> {
    let found = database.get_versioned(&args.keys.keyspace, key)?;
    let found = found.ok_or_else(|| Failure::NoKey { key: args.key.display().to_string() })?;
    let (value, version) = (&found.value, found.version);
    if let Some(path) = &args.out {
        let mut file = OutFile::create(path)?;
        file.write(value)?;
        file.finish()?;
        let written = Written { bytes: value.len(), version };
        return if out.is_json() { out.json_line(&written) } else { Ok(()) };
    }
    if !out.is_json() {
        return out.value(value);
    }
    out.json_line(&Answer { value: Value::new(value, args.keys.hex), version })
}

fn vector(
    database: &Db,
    args: &GetArgs,
    collection: &str,
    out: &mut Output,
) -> Result<(), Failure> {
    let id = row_id::parse(&args.key);
    database::collection(database, &args.database, collection)?;
    let found = database.get_vector(collection, &id)?;
    let vector = found
        .ok_or_else(|| Failure::NoId { collection: collection.to_string(), id: id.to_string() })?;
    out.answer(&vector, || {
        let words: Vec<String> = vector.iter().map(f32::to_string).collect();
        words.join(" ")
    })
}
