//! `gannet optimize`: a better graph over the rows of a collection.

use gannet::OptimizeReport;
use serde::Serialize;

use super::checkpoint::draw;
use crate::args::OptimizeArgs;
use crate::database::{self, Expect};
use crate::failure::Failure;
use crate::output::Output;
use crate::progress;

#[derive(Serialize)]
struct Answer {
    rows: u64,
    /// The new graph has taken the place of the old one: it was not measured to find less.
    is_replaced: bool,
    seconds: f64,
    /// Of the true nearest 10, with a beam of 64; none in a small graph, which is not measured.
    recall_before: Option<f32>,
    recall_after: Option<f32>,
    lsn: u64,
}

pub(super) fn run(args: &OptimizeArgs, out: &mut Output) -> Result<(), Failure> {
    let database = database::open(&args.database, Expect::Existing, None)?;
    let name = database::collection(&database, &args.database, &args.collection)?.name;
    let bar = progress::bar("indexing", 0);
    let OptimizeReport { rows, is_replaced, time, recall_before, recall_after, checkpoint, .. } =
        database.optimize(&name, &mut |progress| draw(&bar, progress))?;
    database.close()?;
    let (seconds, lsn) = (time.as_secs_f64(), checkpoint.lsn);
    let answer = Answer { rows, is_replaced, seconds, recall_before, recall_after, lsn };
    out.answer(&answer, || {
        let recall =
            |found: Option<f32>| found.map_or("-".to_owned(), |found| format!("{found:.4}"));
        let kept = if is_replaced { "" } else { " (the old graph finds more, and stays)" };
        format!(
            "{rows} rows linked anew in {seconds:.2} s{kept}, checkpoint at LSN {lsn}\n\
             recall at beam 64, measured: {} before, {} now",
            recall(recall_before),
            recall(recall_after),
        )
    })
}
