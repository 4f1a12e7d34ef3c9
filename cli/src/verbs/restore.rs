//! `gannet restore`: a database made of a backup, after every byte of it was verified.

use gannet::AnyStorage;
use gannet::storage::DirOptions;

use super::copied::Copied;
use crate::args::RestoreArgs;
use crate::failure::Failure;
use crate::output::Output;

pub(super) fn run(args: &RestoreArgs, out: &mut Output) -> Result<(), Failure> {
    let open = |dir: &std::path::Path, options| {
        AnyStorage::open(args.backend, dir, &options)
            .map_err(|source| Failure::open(dir.to_path_buf(), source))
    };
    let from = open(&args.from, DirOptions::existing())?;
    let to = open(&args.to, DirOptions::create())?;
    let report = gannet::restore(&from, &to);
    let report = report.map_err(|source| Failure::Restore { dir: args.from.clone(), source })?;
    let copied = Copied {
        lsn: report.lsn,
        checkpoint_lsn: report.checkpoint_lsn,
        files: report.files,
        bytes: report.bytes,
    };
    copied.tell("restored", out)
}
