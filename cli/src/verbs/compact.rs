//! `gannet compact`: one checkpoint of what is live, and nothing beside it.

use gannet::CompactReport;
use serde::Serialize;

use super::checkpoint::draw;
use crate::args::DatabaseArgs;
use crate::database::{self, Expect};
use crate::failure::Failure;
use crate::output::Output;
use crate::progress;
use crate::units::mebibytes;

#[derive(Serialize)]
struct Answer {
    bytes_before: u64,
    bytes_after: u64,
    files_removed: u64,
}

pub(super) fn run(args: &DatabaseArgs, out: &mut Output) -> Result<(), Failure> {
    let database = database::open(args, Expect::Existing, None)?;
    let bar = progress::bar("indexing", 0);
    let CompactReport { bytes_before, bytes_after, files_removed, .. } =
        database.compact(&mut |progress| draw(&bar, progress))?;
    database.close()?;
    let answer = Answer { bytes_before, bytes_after, files_removed };
    out.answer(&answer, || {
        let (before, after) = (mebibytes(bytes_before), mebibytes(bytes_after));
        format!("{before:.1} MiB before, {after:.1} MiB now, {files_removed} files removed")
    })
}
