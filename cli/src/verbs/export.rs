//! `gannet export`: all keys of a keyspace with their values, as `gannet import --kv` reads them.

use std::ops::Bound;
use std::path::Path;

use serde::Serialize;

use super::out_file::OutFile;
use super::scan::{self, Form, Range};
use crate::args::ExportArgs;
use crate::database::{self, Db, Expect};
use crate::failure::Failure;
use crate::output::Output;

/// Every key.
const ALL: Range =
    Range { from: Bound::Unbounded, to: Bound::Unbounded, is_reverse: false, limit: u64::MAX };
const FORM: Form = Form::Json { hex: false };

/// The answer where the entries went to a file.
#[derive(Serialize)]
struct Answer<'a> {
    keyspace: &'a str,
    exported: u64,
}

pub(super) fn run(args: &ExportArgs, out: &mut Output) -> Result<(), Failure> {
    let database = database::open(&args.database, Expect::Existing, None)?;
    let keyspace = args.keyspace.as_str();
    scan::check_keyspace(&database, &args.database, keyspace)?;
    let Some(path) = &args.out else {
        scan::lines(&database, keyspace, &ALL, FORM, &mut |lines| {
            out.bytes(lines)?;
            Ok(out.is_read())
        })?;
        database.close()?;
        return Ok(());
    };
    let exported = to_file(&database, keyspace, path)?;
    database.close()?;
    out.answer(&Answer { keyspace, exported }, || {
        format!("exported {exported} entries of keyspace `{keyspace}`")
    })
}

fn to_file(database: &Db, keyspace: &str, path: &Path) -> Result<u64, Failure> {
    let mut file = OutFile::create(path)?;
    let exported = scan::lines(database, keyspace, &ALL, FORM, &mut |lines| {
        file.write(lines)?;
        Ok(true)
    })?;
    file.finish()?;
    Ok(exported)
}
