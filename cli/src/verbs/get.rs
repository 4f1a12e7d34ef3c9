//! `gannet get`: the value of a key, or the vector of an id, and nothing else on stdout.

use std::ffi::OsStr;
use std::fmt::Write as _;

use gannet::DEFAULT_KEYSPACE;
use serde::Serialize;

use super::row_id;
use crate::args::GetArgs;
use crate::database::{self, Db, Expect};
use crate::failure::Failure;
use crate::output::Output;

/// A value as JSON: as text where it is UTF-8, else as hexadecimal digits.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Value {
    Value(String),
    ValueHex(String),
}

pub(super) fn run(args: &GetArgs, out: &mut Output) -> Result<(), Failure> {
    let database = database::open(&args.database, Expect::Existing, None)?;
    match &args.collection {
        Some(collection) => vector(&database, args, collection, out)?,
        None => value(&database, &args.key, out)?,
    }
    database.close()?;
    Ok(())
}

fn value(database: &Db, key: &OsStr, out: &mut Output) -> Result<(), Failure> {
    let found = database.get(DEFAULT_KEYSPACE, key.as_encoded_bytes())?;
    let bytes = found.ok_or_else(|| Failure::NoKey { key: key.display().to_string() })?;
    if !out.is_json() {
        return out.value(&bytes);
    }
    out.json_line(&match String::from_utf8(bytes) {
        Ok(text) => Value::Value(text),
        Err(error) => Value::ValueHex(hexadecimal(error.as_bytes())),
    })
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

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}
