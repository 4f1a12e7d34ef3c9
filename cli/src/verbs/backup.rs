//! `gannet backup`: a consistent copy of a database in a new directory.

use gannet::AnyStorage;
use gannet::storage::DirOptions;

use super::copied::Copied;
use crate::args::BackupArgs;
use crate::database::{self, Expect};
use crate::failure::Failure;
use crate::output::Output;

pub(super) fn run(args: &BackupArgs, out: &mut Output) -> Result<(), Failure> {
    let database = database::open(&args.database, Expect::Existing, None)?;
    let to = AnyStorage::open(args.database.backend, &args.to, &DirOptions::create())
        .map_err(|source| Failure::open(args.to.clone(), source))?;
    let report =
        if args.incremental { database.backup_incremental(&to) } else { database.backup(&to) };
    let report =
        report.map_err(|source| Failure::Backup { dir: args.database.db.clone(), source })?;
    database.close()?;
    let copied = Copied {
        lsn: report.lsn,
        checkpoint_lsn: report.checkpoint_lsn,
        files: report.files,
        bytes: report.bytes,
    };
    copied.tell("backup", out)
}
