//! `gannet scrub`: what the media give back, at a steady pace.

use std::ops::ControlFlow;

use gannet::ScrubOptions;
use serde::Serialize;

use crate::args::ScrubArgs;
use crate::database::{self, Expect};
use crate::failure::{Failure, printable};
use crate::output::Output;
use crate::progress;
use crate::units::mebibytes;

#[derive(Serialize)]
struct Answer {
    files: u64,
    bytes: u64,
    faults: Vec<String>,
}

pub(super) fn run(args: &ScrubArgs, out: &mut Output) -> Result<(), Failure> {
    let database = database::open(&args.database, Expect::Existing, None)?;
    let mut options = ScrubOptions::default();
    options.bytes_per_s = args.mib_per_s.map_or(0, |mib| u64::from(mib) << 20);
    let bar = progress::bar("scrubbing", 0);
    let report = database.scrub(&options, &mut |progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.bytes);
        ControlFlow::Continue(())
    })?;
    database.close()?;
    let answer = Answer {
        files: report.files,
        bytes: report.bytes,
        faults: report.faults.iter().map(|fault| printable(&fault.to_string())).collect(),
    };
    out.answer(&answer, || text(&answer))?;
    match answer.faults.len() {
        0 => Ok(()),
        count => Err(Failure::Faults { dir: args.database.db.clone(), count }),
    }
}

fn text(answer: &Answer) -> String {
    let Answer { files, bytes, faults } = answer;
    let found = if faults.is_empty() { "no".to_string() } else { faults.len().to_string() };
    let mut lines: Vec<String> = faults.iter().map(|fault| format!("fault: {fault}")).collect();
    lines.push(format!("{files} files, {:.1} MiB read, {found} faults", mebibytes(*bytes)));
    lines.join("\n")
}
