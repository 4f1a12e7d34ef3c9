//! `gannet probe`: what share of the true nearest rows searches find, with how sure that is.

use gannet::RecallEstimate;
use serde::Serialize;

use crate::args::ProbeArgs;
use crate::database::{self, Expect};
use crate::failure::Failure;
use crate::output::Output;

/// Of the true nearest 10, with a beam of 64. All but the number of queries is missing where the
/// graph has too few rows to be asked.
#[derive(Serialize)]
struct Answer {
    queries: u64,
    recall: Option<f32>,
    /// The true share lies between these with a confidence of 95 %.
    low: Option<f32>,
    high: Option<f32>,
}

pub(super) fn run(args: &ProbeArgs, out: &mut Output) -> Result<(), Failure> {
    let database = database::open(&args.database, Expect::Existing, None)?;
    let name = database::collection(&database, &args.database, &args.collection)?.name;
    let found = database.probe(&name, args.queries)?;
    database.close()?;
    let answer = Answer {
        queries: found.map_or(0, |found| found.queries),
        recall: found.map(|found| found.recall),
        low: found.map(|found| found.low),
        high: found.map(|found| found.high),
    };
    out.answer(&answer, || match found {
        None => "too few rows in the graph to measure: they are all looked at".to_owned(),
        Some(RecallEstimate { recall, low, high, queries, .. }) => format!(
            "recall@10 {recall:.4} at beam 64, measured with {queries} rows as queries; the true \
             share is from {low:.4} to {high:.4} with a confidence of 95 %"
        ),
    })
}
