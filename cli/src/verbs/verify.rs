//! `gannet verify`: every byte that has a checksum, and the name of each fault.

use std::fmt;

use gannet::{AnyStorage, Config, Database, VerifyReport, verify_storage};
use serde::Serialize;

use crate::args::DatabaseArgs;
use crate::database::{self, Expect};
use crate::failure::{self, Failure};
use crate::output::Output;
use crate::units::mebibytes;

#[derive(Serialize)]
struct Answer {
    files: u64,
    bytes: u64,
    faults: Vec<String>,
    /// Traces of a crash that need no repair.
    notes: Vec<String>,
}

pub(super) fn run(args: &DatabaseArgs, out: &mut Output) -> Result<(), Failure> {
    let storage = database::open_storage(args, Expect::Existing)?;
    // The bytes first, without opening: a database that does not open is read all the same.
    let report = verify_storage(&storage)?;
    let mut answer = Answer::new(&report);
    if answer.faults.is_empty() {
        answer.faults = faults_of_opening(storage);
    }
    out.answer(&answer, || text(&answer))?;
    match answer.faults.len() {
        0 => Ok(()),
        count => Err(Failure::Faults { dir: args.db.clone(), count }),
    }
}

/// What only opening finds: contents that do not fit together although every checksum does.
fn faults_of_opening(storage: AnyStorage) -> Vec<String> {
    match Database::open(storage, Config::balanced()) {
        Err(refusal) => vec![failure::one_line(&refusal)],
        Ok(database) => {
            let report = database.recovery_report();
            let rebuilt = report.index_actions.iter().map(|action| line(action));
            let damage = report.fallbacks.iter().chain(&report.root_damage);
            rebuilt.chain(damage.map(|damage| line(damage))).collect()
        }
    }
}

fn line(fault: &dyn fmt::Display) -> String {
    failure::printable(&fault.to_string())
}

impl Answer {
    fn new(report: &VerifyReport) -> Self {
        Self {
            files: report.files,
            bytes: report.bytes,
            faults: report.faults.iter().map(|fault| line(fault)).collect(),
            notes: report.notes.iter().map(|note| line(note)).collect(),
        }
    }
}

fn text(answer: &Answer) -> String {
    let Answer { files, bytes, faults, notes } = answer;
    let found = if faults.is_empty() { "no".to_string() } else { faults.len().to_string() };
    let mut lines: Vec<String> = faults.iter().map(|fault| format!("fault: {fault}")).collect();
    lines.extend(notes.iter().map(|note| format!("note: {note}")));
    lines.push(format!("{files} files, {:.1} MiB read, {found} faults", mebibytes(*bytes)));
    lines.join("\n")
}
