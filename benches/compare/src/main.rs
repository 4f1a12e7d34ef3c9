//! Gannet's keys and values beside other embedded stores: one run, in turns, medians.
//!
//! # What is measured
//!
//! Keys of 16 bytes in random order and values of 100 bytes that no codec makes shorter. Each round
//! of a workload goes through the stores one by one, each in a directory of its own, with 100,000
//! records put and read once before; and so on for the next round. So what else the machine does
//! hits all of them. Ratios of one run count, not figures of different runs.
//!
//! | workload | |
//! | --- | --- |
//! | `get` | a random key, from memory |
//! | `put-none`, `put-buffered`, `put-strict` | a new key, one a commit |
//! | `cas-none`, `cas-buffered`, `cas-strict` | a random key read, and put unless it has changed |
//! | `batch-strict` | 1,000 new keys a commit; counted in records |
//! | `mixed` | ten gets, then a put of a key that is there, by two threads |
//! | `big` | 1,000,000 records loaded in batches of 1,000 and flushed at the end: time and peak |
//! | | memory of a process of its own, bytes on disk when compacted, gets from that |
//! | `overwrite` | all of these put ten times over and half deleted: latencies, bytes on disk |
//! | `cold` | ten times more records than memory: gets one by one and 64 at once, a scan |
//! | `reopen` | how long opening takes after a kill, all of these records being in the log alone |
//!
//! Modes: `none` promises as little as a store has a setting for, `buffered` that a kill of the
//! process loses nothing, `strict` that the disk was told to flush. Not all keep that: redb loses
//! what came after its last durable commit, sled what it has not written, and sled's flush is none.
//! Where a kill loses nothing although nothing was asked for (LMDB), `none` is worth as much as
//! `buffered`. Each store has 256 MiB of cache, 64 MiB while it is loaded; of `cold` see there.
//!
//! All answers are checked: those of gets at once, what was put afterwards.
//!
//! # What is not
//!
//! Values of other lengths, latencies of durable writes, a power cut. A get hands a value out as the store does: LMDB and redb by reference, Gannet and
//! sled as a copy or a counted reference of their own.

#![deny(unsafe_code)]

mod cold;
mod data;
mod million;
mod overwrite;
mod report;
mod store;
mod stores;
mod work;

use report::{Report, Sample};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use store::{Kind, Part, Result};
use work::{Action, Size, WORKLOADS};

const USAGE: &str = "\
usage: gannet-compare [OPTIONS]
  --only NAME,..     workloads (--list tells them)
  --stores NAME,..   stores
  --rounds N         rounds, 5
  --seconds S        how long a run takes, 1
  --records N        records of the small workloads, 100000
  --big N            records of big, reopen and overwrite, 1000000
  --cold N           records of cold, 5000000
  --dir DIR          where stores are made, on a disk; default: that of temporary files
  --json FILE        a line for each store and workload goes there as well
  --list             names of workloads and stores";

struct Options {
    only: Vec<String>,
    stores: Vec<Kind>,
    rounds: u32,
    time: Duration,
    records: u64,
    big: u64,
    cold: u64,
    dir: PathBuf,
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((first, rest)) if first == million::CHILD => million::child(rest).map(|()| true),
        _ => {
            parse(&arguments).and_then(|options| options.map_or(Ok(true), |options| run(&options)))
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn names() -> Vec<&'static str> {
    let others = million::NAMES.into_iter().chain([overwrite::NAME, cold::NAME]);
    WORKLOADS.iter().map(|workload| workload.name).chain(others).collect()
}

/// `None` where there is nothing to do but what was done.
fn parse(arguments: &[String]) -> Result<Option<Options>> {
    let mut options = Options {
        only: names().into_iter().map(str::to_owned).collect(),
        stores: Kind::ALL.to_vec(),
        rounds: 5,
        time: Duration::from_secs(1),
        records: 100_000,
        big: 1_000_000,
        cold: 5_000_000,
        dir: std::env::temp_dir(),
        json: None,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => {
                let stores: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                println!("workloads: {}\nstores: {}", names().join(","), stores.join(","));
                return Ok(None);
            }
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(None);
            }
            _ => {}
        }
        let value = arguments.next().ok_or_else(|| format!("{argument}: no value\n{USAGE}"))?;
        match argument.as_str() {
            "--only" => {
                options.only = value.split(',').map(str::to_owned).collect();
                if let Some(name) = options.only.iter().find(|&name| !names().contains(&&**name)) {
                    return Err(format!("no workload {name}: {}", names().join(",")).into());
                }
            }
            "--stores" => {
                options.stores = value.split(',').map(Kind::named).collect::<Result<_>>()?;
            }
            "--rounds" => options.rounds = value.parse()?,
            "--seconds" => options.time = Duration::try_from_secs_f64(value.parse()?)?,
            "--records" => options.records = value.parse()?,
            "--big" => options.big = value.parse()?,
            "--cold" => options.cold = value.parse()?,
            "--dir" => options.dir = value.into(),
            "--json" => options.json = Some(value.into()),
            _ => return Err(format!("{argument} is not known\n{USAGE}").into()),
        }
    }
    if options.rounds == 0 || options.records == 0 || options.big < 10 {
        return Err("rounds and records begin at 1, those of --big at 10".into());
    }
    Ok(Some(options))
}

/// A round of a workload in a store, in a directory.
type Round<'r> = &'r dyn Fn(Kind, &Path, &mut dyn FnMut(Sample)) -> Result<()>;

/// Whether all went well.
fn run(options: &Options) -> Result<bool> {
    let mut lines = options.json.as_ref().map(File::create).transpose()?;
    let mut report = Report::default();
    let mut measure = |name: &str, part: Part, round: Round<'_>| -> Result<()> {
        if !options.only.iter().any(|only| only == name) {
            return Ok(());
        }
        for number in 1..=options.rounds {
            for &kind in &options.stores {
                if !kind.takes_part(part) {
                    continue;
                }
                eprintln!("{name}, round {number}: {}", kind.name());
                let dir = tempfile::Builder::new().prefix("compare-").tempdir_in(&options.dir)?;
                let failed = round(kind, dir.path(), &mut |sample| report.add(sample)).err();
                if let Some(error) = failed {
                    report.fail(format!("{name}, round {number}, {}: {error}", kind.name()));
                }
                dir.close()?;
            }
        }
        let lines = lines.as_mut().map(|file| file as &mut dyn Write);
        report.tell(&mut std::io::stdout(), lines)
    };
    for workload in WORKLOADS {
        let size = Size { records: options.records, time: options.time };
        let part = if workload.action == Action::Cas { Part::Cas } else { Part::Others };
        measure(workload.name, part, &|kind, dir, each| {
            work::round(workload, kind, dir, size, each)
        })?;
    }
    let size = Size { records: options.big, time: options.time };
    let [big, reopen] = million::NAMES;
    measure(big, Part::Others, &|kind, dir, each| million::big(kind, dir, size, each))?;
    measure(reopen, Part::Others, &|kind, dir, each| million::reopen(kind, dir, size, each))?;
    measure(overwrite::NAME, Part::Overwrite, &|kind, dir, each| {
        overwrite::round(kind, dir, size, each)
    })?;
    let size = Size { records: options.cold, time: options.time };
    measure(cold::NAME, Part::Cold, &|kind, dir, each| cold::round(kind, dir, size, each))?;
    Ok(!report.has_failed())
}
