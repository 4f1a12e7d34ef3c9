//! `gannet checkpoint`: all rows into their graphs, the state into sealed files.

use std::ops::ControlFlow;
use std::time::Instant;

use gannet::{CheckpointReport, Phase, Progress};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::args::DatabaseArgs;
use crate::database::{self, Db, Expect};
use crate::failure::Failure;
use crate::output::Output;
use crate::progress;
use crate::units::mebibytes;

#[derive(Serialize)]
struct Answer {
    lsn: u64,
    seconds: f64,
    log_bytes: u64,
    file_bytes: u64,
}

pub(super) fn run(args: &DatabaseArgs, out: &mut Output) -> Result<(), Failure> {
    let database = database::open(args, Expect::Existing, None)?;
    let start = Instant::now();
    let report = checkpoint(&database)?;
    let seconds = start.elapsed().as_secs_f64();
    let stats = database.stats()?;
    database.close()?;
    let answer = Answer {
        lsn: report.lsn,
        seconds,
        log_bytes: stats.log_bytes,
        file_bytes: stats.file_bytes,
    };
    out.answer(&answer, || {
        format!(
            "checkpoint at LSN {} in {seconds:.2} s\nlog      {:.1} MiB\non disk  {:.1} MiB",
            answer.lsn,
            mebibytes(answer.log_bytes),
            mebibytes(answer.file_bytes),
        )
    })
}

/// Makes a checkpoint and draws how far it is.
pub(crate) fn checkpoint(database: &Db) -> Result<CheckpointReport, Failure> {
    let bar = progress::bar("indexing", 0);
    Ok(database.checkpoint(&mut |progress| draw(&bar, progress))?)
}

/// Draws how far a checkpoint is.
pub(super) fn draw(bar: &ProgressBar, progress: Progress) -> ControlFlow<()> {
    bar.set_message(match progress.phase {
        Phase::Index => "indexing",
        Phase::Relink => "linking anew",
        Phase::Calibrate => "measuring",
        Phase::Write | _ => "writing",
    });
    bar.set_length(progress.total);
    bar.set_position(progress.done);
    ControlFlow::Continue(())
}
