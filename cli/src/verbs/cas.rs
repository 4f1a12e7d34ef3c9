//! `gannet cas`: one key set or deleted, if nobody has changed it.

use gannet::{CommitError, Lsn};
use serde::Serialize;

use super::{key, value};
use crate::args::CasArgs;
use crate::database::{self, Expect};
use crate::failure::Failure;
use crate::output::Output;

#[derive(Serialize)]
struct Answer {
    version: Lsn,
}

#[derive(Serialize)]
struct Conflict {
    conflict: bool,
    version: Lsn,
}

pub(super) fn run(args: &CasArgs, out: &mut Output) -> Result<(), Failure> {
    let key = key::parse(&args.key, args.keys.hex)?;
    let value = if args.delete { None } else { Some(value::read(&args.value)?) };
    let database =
        database::open_for_one_commit(&args.database, Expect::Existing, args.commit.durability)?;
    let done = match database.cas(&args.keys.keyspace, &key, args.version, value.as_deref()) {
        Ok(_) if args.delete => Ok(0),
        Ok(commit) => Ok(commit.last_lsn),
        Err(CommitError::Conflict { version, .. }) => Err(version),
        Err(error) => return Err(error.into()),
    };
    database.close()?;
    match done {
        Ok(version) => out.answer(&Answer { version }, || version.to_string()),
        Err(version) => {
            // Whoever tries again needs it.
            if out.is_json() {
                out.json_line(&Conflict { conflict: true, version })?;
            }
            let (key, expected) = (args.key.display().to_string(), args.version);
            Err(Failure::Conflict { key, expected, found: version })
        }
    }
}
