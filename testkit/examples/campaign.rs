//! The long crash campaign. Prints how many states were checked; exit code 1 if a promise
//! broke, 2 for bad arguments.
//!
//! `--seconds N` and `--states N` (distinct ones) say when to stop, else all rounds are done;
//! `--depth 3`, `--seed 1`, `--threads 2`, `--rounds 1000000` and `--len 3` (most operations of a
//! workload) what is tried. `--replay TRAIL` goes to one state, as a violation names it.

#![expect(clippy::print_stdout, reason = "a program's output")]

use gannet_testkit::campaign::{Campaign, Trail, Workload, replay, run};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

struct Args {
    campaign: Campaign,
    seconds: u64,
    states: u64,
    len: usize,
    replay: Option<Trail>,
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match &args.replay {
        Some(trail) => again(&args.campaign, trail),
        None => long(&args),
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
    let campaign = Campaign { rounds: 1_000_000, threads: 2, ..Campaign::default() };
    let mut parsed = Args { campaign, seconds: u64::MAX, states: u64::MAX, len: 3, replay: None };
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
    let report = run(&args.campaign, &Workload::all(args.len), &stop);
    let seconds = start.elapsed().as_secs_f64();
    println!("{report}");
    println!("seed {}, depth {}", args.campaign.seed, args.campaign.depth);
    println!("{seconds:.1} s on {} threads", args.campaign.threads);
    for violation in &report.violations {
        println!("violation: {violation}");
    }
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
