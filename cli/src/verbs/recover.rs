//! `gannet recover`: a new database of what can be read of a damaged one.

use std::ops::RangeInclusive;

use gannet::storage::DirOptions;
use gannet::{AnyStorage, Config, Loss, Lost, SalvageReport, salvage};
use serde::Serialize;

use crate::args::RecoverArgs;
use crate::failure::{Failure, printable};
use crate::output::Output;
use crate::progress;

#[derive(Serialize)]
struct Answer {
    collections: u64,
    rows: u64,
    keyspaces: u64,
    keys: u64,
    /// LSNs of the checkpoints that were taken.
    checkpoints: Vec<u64>,
    /// Records of the log that were applied.
    records: u64,
    end_lsn: u64,
    lost: Vec<LostThing>,
    /// First and last LSN of records that are missing.
    holes: Vec<[u64; 2]>,
    /// Of records that were applied although some before them are missing.
    behind_holes: Vec<[u64; 2]>,
    /// What is damaged, whether or not it cost anything.
    damage: Vec<String>,
}

#[derive(Serialize)]
struct LostThing {
    kind: &'static str,
    what: String,
    reason: String,
}

pub(super) fn run(args: &RecoverArgs, out: &mut Output) -> Result<(), Failure> {
    let open = |dir: &std::path::Path, options| {
        AnyStorage::open(args.backend, dir, &options)
            .map_err(|source| Failure::open(dir.to_path_buf(), source))
    };
    let from = open(&args.from, DirOptions::existing())?;
    let to = open(&args.to, DirOptions::create())?;
    let bar = progress::bar("recovering", 0);
    let report = salvage(&from, to, Config::balanced(), &mut |progress| {
        bar.set_position(progress.items);
    });
    let report = report.map_err(|source| Failure::Recover { dir: args.from.clone(), source })?;
    let answer = Answer::new(&report);
    out.answer(&answer, || text(&answer))?;
    match report.lost.len() + report.holes.len() {
        0 => Ok(()),
        count => Err(Failure::Lost { dir: args.from.clone(), to: args.to.clone(), count }),
    }
}

impl Answer {
    fn new(report: &SalvageReport) -> Self {
        let ends = |ranges: &[RangeInclusive<u64>]| {
            ranges.iter().map(|range| [*range.start(), *range.end()]).collect()
        };
        Self {
            collections: report.collections,
            rows: report.rows,
            keyspaces: report.keyspaces,
            keys: report.keys,
            checkpoints: report.checkpoints.clone(),
            records: report.records,
            end_lsn: report.end_lsn,
            lost: report.lost.iter().map(LostThing::new).collect(),
            holes: ends(&report.holes),
            behind_holes: ends(&report.behind_holes),
            damage: report.damage.iter().map(|damage| printable(&damage.to_string())).collect(),
        }
    }
}

impl LostThing {
    fn new(loss: &Loss) -> Self {
        let kind = match loss.what {
            Lost::Rows { .. } => "rows",
            Lost::Deletions { .. } => "deletions",
            Lost::Keys { .. } => "keys",
            Lost::Records { .. } => "records",
            Lost::End { .. } => "end",
            Lost::File { .. } | _ => "file",
        };
        let what = printable(&loss.what.to_string());
        Self { kind, what, reason: printable(&loss.reason) }
    }
}

fn text(answer: &Answer) -> String {
    let Answer { collections, rows, keyspaces, keys, checkpoints, records, .. } = answer;
    let mut lines = Vec::new();
    lines.extend(answer.damage.iter().map(|damage| format!("damage: {damage}")));
    for LostThing { what, reason, .. } in &answer.lost {
        lines.push(format!("lost: {what}: {reason}"));
    }
    for [first, last] in &answer.holes {
        lines.push(format!("lost: records {first} to {last} of the log"));
    }
    for [first, last] in &answer.behind_holes {
        lines.push(format!(
            "note: records {first} to {last} were applied although some before them are missing: \
             this state may never have been"
        ));
    }
    lines.push(format!(
        "recovered {rows} rows in {collections} collections, {keys} keys in {keyspaces} keyspaces; \
         from {} checkpoints and {records} records of the log",
        checkpoints.len()
    ));
    if answer.lost.is_empty() && answer.holes.is_empty() {
        lines.push("nothing is lost".to_string());
    }
    lines.join("\n")
}
