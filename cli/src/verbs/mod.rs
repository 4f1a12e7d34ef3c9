//! The verbs of the command line, one a file. Each opens what it needs, does its work, prints its
//! answer and closes; a verb that fails prints no answer.

mod backends;
mod backup;
mod cas;
pub(crate) mod checkpoint;
mod committed;
mod compact;
mod copied;
mod delete;
mod export;
mod get;
mod ids;
pub(crate) mod import;
mod import_keys;
mod key;
mod optimize;
mod out_file;
mod probe;
mod put;
mod recover;
mod restore;
mod row_id;
mod scan;
mod scrub;
pub(crate) mod search;
mod stats;
pub(crate) mod torture;
mod value;
mod verify;

use crate::args::Verb;
use crate::demo;
use crate::failure::Failure;
use crate::output::Output;

/// Runs one verb.
pub(crate) fn run(verb: Verb, out: &mut Output) -> Result<(), Failure> {
    match verb {
        Verb::Demo(args) => demo::run(&args, out),
        Verb::Import(args) => import::run(&args, out),
        Verb::Search(args) => search::run(&args, out),
        Verb::Get(args) => get::run(&args, out),
        Verb::Put(args) => put::run(&args, out),
        Verb::Cas(args) => cas::run(&args, out),
        Verb::Delete(args) => delete::run(&args, out),
        Verb::Scan(args) => scan::run(&args, out),
        Verb::Export(args) => export::run(&args, out),
        Verb::Stats(args) => stats::run(&args, out),
        Verb::Checkpoint(args) => checkpoint::run(&args, out),
        Verb::Compact(args) => compact::run(&args, out),
        Verb::Optimize(args) => optimize::run(&args, out),
        Verb::Probe(args) => probe::run(&args, out),
        Verb::Verify(args) => verify::run(&args, out),
        Verb::Scrub(args) => scrub::run(&args, out),
        Verb::Backup(args) => backup::run(&args, out),
        Verb::Restore(args) => restore::run(&args, out),
        Verb::Recover(args) => recover::run(&args, out),
        Verb::Torture(args) => torture::run(&args, out),
        Verb::TortureChild(args) => torture::child::run(&args, out),
        Verb::Backends(args) => backends::run(&args, out),
    }
}
