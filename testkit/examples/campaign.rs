//! The long crash campaign. Prints what was tried; exit code 1 if a promise broke, 2 for bad
//! arguments.
//!
//! `--seconds N` and `--states N` (distinct ones) say when to stop, else all rounds are done;
//! `--depth 3`, `--seed 1`, `--threads 2`, `--rounds 1000000` and `--len 3` (most operations of a
//! workload) what is tried. `--replay TRAIL` goes to one state, as a violation names it.
//!
//! Other campaigns in its place: `--seeded N`, runs of `--ops 500` operations with seeds from
//! `--seed` on; `--flips BYTES`, every byte of a store with so many bytes of values inverted;
//! `--matrix N`, every Nth call failing in every way on the simulator and every backend;
//! `--histories N`, threads and N crashes on each of as many disks as `--rounds` (10 if not given).

#![expect(clippy::print_stdout, reason = "a program's output")]

use gannet_backend_mmap::MmapStorage;
use gannet_backend_std::StdStorage;
#[cfg(target_os = "linux")]
use gannet_backend_uring::UringStorage;
use gannet_storage::{DirOptions, Error, Storage};
use gannet_testkit::campaign::{Campaign, Trail, Workload, replay, run};
use gannet_testkit::flips::{self, Flips};
use gannet_testkit::history::concurrent::{self, Histories};
use gannet_testkit::matrix::{self, Matrix, Place};
use gannet_testkit::seeded::{self, Seeded};
use gannet_testkit::sim::SimDisk;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

struct Args {
    campaign: Campaign,
    seconds: u64,
    states: u64,
    len: usize,
    replay: Option<Trail>,
    seeded: u64,
    ops: u64,
    flips: u64,
    matrix: u64,
    histories: u64,
}

type Run = fn(&Args) -> ExitCode;

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let others: [(u64, Run); 4] = [
        (args.seeded, long_runs),
        (args.flips, every_flip),
        (args.matrix, every_call),
        (args.histories, threads_and_crashes),
    ];
    if let Some((_, run)) = others.iter().find(|(wanted, _)| *wanted > 0) {
        return run(&args);
    }
    match &args.replay {
        Some(trail) => again(&args.campaign, trail),
        None => long(&args),
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
    let campaign = Campaign { rounds: 1_000_000, threads: 2, ..Campaign::default() };
    let mut parsed = Args {
        campaign,
        seconds: u64::MAX,
        states: u64::MAX,
        len: 3,
        replay: None,
        seeded: 0,
        flips: 0,
        matrix: 0,
        histories: 0,
        ops: 500,
    };
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} {value}: not a number"));
        let small = || value.parse::<usize>().map_err(|_| format!("{name} {value}: not a number"));
        match name.as_str() {
            "--seconds" => parsed.seconds = number()?,
            "--states" => parsed.states = number()?,
            "--seed" => parsed.campaign.seed = number()?,
            "--rounds" => parsed.campaign.rounds = number()?,
            "--depth" => parsed.campaign.depth = small()?,
            "--threads" => parsed.campaign.threads = small()?,
            "--len" => parsed.len = small()?,
            "--seeded" => parsed.seeded = number()?,
            "--flips" => parsed.flips = number()?,
            "--matrix" => parsed.matrix = number()?,
            "--histories" => parsed.histories = number()?,
            "--ops" => parsed.ops = number()?,
            "--replay" => parsed.replay = Some(value.parse()?),
            _ => return Err(format!("{name} is not an option")),
        }
    }
    Ok(parsed)
}

fn again(campaign: &Campaign, trail: &Trail) -> ExitCode {
    match replay(campaign, trail) {
        Ok(()) => {
            println!("all is well after {trail}");
            ExitCode::SUCCESS
        }
        Err(what) => {
            println!("{what} (after {trail})");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a tool's report and its time limit")]
fn long(args: &Args) -> ExitCode {
    let start = Instant::now();
    let told = AtomicU64::new(0);
    let stop = |states: u64| {
        let seconds = start.elapsed().as_secs();
        if seconds >= told.load(Ordering::Relaxed) + 10 {
            told.store(seconds, Ordering::Relaxed);
            eprintln!("{seconds} s: {states} distinct states");
        }
        seconds >= args.seconds || states >= args.states
    };
    let mut workloads = Workload::all(args.len);
    workloads.extend(Workload::longer());
    let report = run(&args.campaign, &workloads, &stop);
    let seconds = start.elapsed().as_secs_f64();
    println!("{report}");
    println!("seed {}, depth {}", args.campaign.seed, args.campaign.depth);
    println!("{seconds:.1} s on {} threads", args.campaign.threads);
    for violation in &report.violations {
        println!("violation: {violation}");
    }
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tells what was done, how long it took, and what was wrong.
#[expect(clippy::disallowed_methods, reason = "a tool's report")]
fn told<R: Display>(run: impl FnOnce() -> (R, Vec<String>)) -> ExitCode {
    let start = Instant::now();
    let (report, violations) = run();
    println!("{report}\n{:.1} s", start.elapsed().as_secs_f64());
    for what in &violations {
        println!("violation: {what}");
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn long_runs(args: &Args) -> ExitCode {
    let (seed, threads, ops) = (args.campaign.seed, args.campaign.threads, args.ops);
    let seeds = args.seeded;
    told(|| {
        let runs = Seeded { first_seed: seed, seeds, ops, threads, ..Seeded::default() };
        let report = seeded::run(&runs);
        let tell = |(seed, what): &(u64, String)| {
            format!("seed {seed}: {what}; again: --seeded 1 --seed {seed} --ops {ops}")
        };
        let violations = report.violations.iter().map(tell).collect();
        (report, violations)
    })
}

fn every_flip(args: &Args) -> ExitCode {
    let (seed, threads) = (args.campaign.seed, args.campaign.threads);
    told(|| {
        let flips = Flips {
            value_bytes: args.flips.try_into().unwrap_or(usize::MAX),
            seed,
            threads,
            one_in: 1,
        };
        let mut report = flips::run(&flips);
        let violations = std::mem::take(&mut report.violations);
        (report, violations)
    })
}

/// A directory in memory, where the system has that, and how it is opened.
struct Directory<S> {
    dir: tempfile::TempDir,
    open: fn(&Path, &DirOptions) -> Result<S, Error>,
}

impl<S> Directory<S> {
    fn new(open: fn(&Path, &DirOptions) -> Result<S, Error>) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self { dir: dir.expect("the system has room"), open }
    }
}

impl<S: Storage> Place for Directory<S> {
    type Storage = S;

    fn fresh(&self) -> Self {
        Self::new(self.open)
    }

    fn open(&self) -> Arc<S> {
        Arc::new((self.open)(self.dir.path(), &DirOptions::create()).expect("opens"))
    }
}

fn every_call(args: &Args) -> ExitCode {
    let matrix = Matrix { first: 1, step: args.matrix };
    let on = |name, done: Result<matrix::Report, String>| match done {
        Ok(report) => (format!("{name}: {report}"), Vec::new()),
        Err(what) => (format!("{name}: stopped"), vec![format!("{name}: {what}")]),
    };
    let mut codes = vec![told(|| on("simulator", matrix::run(&SimDisk::new(), &matrix)))];
    let place = Directory::new(StdStorage::open);
    codes.push(told(|| on("std", matrix::run(&place, &matrix))));
    let place = Directory::new(MmapStorage::open);
    codes.push(told(|| on("mmap", matrix::run(&place, &matrix))));
    #[cfg(target_os = "linux")]
    {
        let open: fn(&Path, &DirOptions) -> _ = |dir, options| UringStorage::open(dir, options);
        let place = Directory::new(open);
        match open(place.dir.path(), &DirOptions::create()).map(drop) {
            Ok(()) => codes.push(told(|| on("uring", matrix::run(&place, &matrix)))),
            Err(error) => println!("skipped uring: {error}"),
        }
    }
    let is_bad = |code: &ExitCode| *code != ExitCode::SUCCESS;
    if codes.iter().any(is_bad) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn threads_and_crashes(args: &Args) -> ExitCode {
    const ROUNDS: u64 = 10;
    let rounds = if args.campaign.rounds == 1_000_000 { ROUNDS } else { args.campaign.rounds };
    let mut codes = (0..rounds).map(|round| {
        let seed = args.campaign.seed + round;
        let histories = Histories { seed, crashes: args.histories, ..Histories::default() };
        told(|| match concurrent::run(&mut SimDisk::new(), &histories) {
            Ok(report) => (format!("seed {seed}: {report}"), Vec::new()),
            Err(what) => (format!("seed {seed}: stopped"), vec![what]),
        })
    });
    codes.find(|code| *code != ExitCode::SUCCESS).unwrap_or(ExitCode::SUCCESS)
}
