//! Faults that are built into the engine on purpose: each must be noticed by what this crate does
//! to the engine, or that proves little.
//!
//! `RUSTFLAGS='--cfg mutants' cargo run --release -p gannet-testkit --example mutants`, with names
//! for some of them alone, and `--write FILE` for a table of all. Each runs in a process of its
//! own, two at a time, until something is found. Exit code 1 if one is missed, or something is
//! found in the engine as it is; 2 for bad arguments.

#![expect(clippy::print_stdout, reason = "a program's output")]

fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(mutants))]
mod run {
    pub(crate) fn main() -> std::process::ExitCode {
        println!("skipped: built without RUSTFLAGS='--cfg mutants', there is nothing to notice");
        std::process::ExitCode::SUCCESS
    }
}

#[cfg(mutants)]
mod run {
    use gannet::{MUTANT_VARIABLE, MUTANTS};
    use gannet_testkit::campaign::{self, Campaign, Workload};
    use gannet_testkit::copies;
    use gannet_testkit::flips::{self, Flips};
    use gannet_testkit::history::concurrent::{self, Histories};
    use gannet_testkit::matrix::{self, Matrix};
    use gannet_testkit::seeded::{self, Seeded};
    use gannet_testkit::sim::{CrashPlan, SimDisk};
    use std::fmt::Write;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, ExitCode, Stdio};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::{Duration, Instant};

    /// Tells a process that it is to run the parts, one after the other.
    const CHILD: &str = "--child";
    /// The engine as it is.
    const NONE: &str = "none";
    /// No part takes as long.
    const HANG: Duration = Duration::from_secs(20);
    /// A campaign ends after so long.
    const PART: Duration = Duration::from_secs(15);
    const STATES: u64 = 100_000;
    const SEEDS: u64 = 30;

    /// A part of the battery: what it found, and after how much.
    type Part = (&'static str, fn() -> Option<(String, String)>);

    /// In order of cost.
    const PARTS: [Part; 8] = [
        ("campaign, up to 2 operations", || explore(&Workload::all(2), 3)),
        ("campaign, longer workloads", || explore(&Workload::longer(), 2)),
        ("flips", inverted_bytes),
        ("copies", || {
            let cut = || copies::cut_off(1).err();
            let found = cut().or_else(|| (1..4).find_map(|seed| copies::beside(seed).err()))?;
            Some(("one backup".to_owned(), found))
        }),
        ("failing calls", failing_calls),
        ("campaign, up to 3 operations", || explore(&Workload::all(3), 2)),
        ("histories", threads),
        ("seeded runs", long_runs),
    ];

    #[expect(clippy::disallowed_methods, reason = "a tool's time limit")]
    fn explore(workloads: &[Workload], depth: usize) -> Option<(String, String)> {
        let start = Instant::now();
        // Few states of every workload, rather than all of the first ones.
        let plan = |exhaustive_max, others| CrashPlan {
            exhaustive_max,
            pairs_max: others,
            samples: others,
            seed: 0,
        };
        let plans = [plan(64, 4), plan(16, 2), plan(16, 1)];
        let continue_one_in = [8, 32, 32];
        let campaign =
            Campaign { depth, plans, continue_one_in, broken_max: 1, ..Campaign::default() };
        let stop = |states: u64| states >= STATES || start.elapsed() > PART;
        let report = campaign::run(&campaign, workloads, &stop);
        let found = report.violations.first()?;
        Some((format!("state {}", report.states()), found.to_string()))
    }

    fn long_runs() -> Option<(String, String)> {
        (1..=SEEDS).find_map(|first_seed| {
            // Each has its own time.
            println!("part\tseeded runs");
            let report = seeded::run(&Seeded { first_seed, ops: 300, ..Seeded::default() });
            let (seed, found) = report.violations.first()?;
            Some((format!("seed {seed}"), found.clone()))
        })
    }

    fn failing_calls() -> Option<(String, String)> {
        let found = matrix::run(&SimDisk::new(), &Matrix { first: 1, step: 3 }).err()?;
        Some(("every third call".to_owned(), found))
    }

    fn inverted_bytes() -> Option<(String, String)> {
        let report = flips::run(&Flips { one_in: 41, ..Flips::default() });
        let found = report.violations.first()?;
        Some(("every 41st byte".to_owned(), found.clone()))
    }

    fn threads() -> Option<(String, String)> {
        (0..6).find_map(|seed| {
            let histories = Histories { seed, ..Histories::default() };
            let found = concurrent::run(&mut SimDisk::new(), &histories).err()?;
            Some(("some history".to_owned(), found))
        })
    }

    /// How one ended.
    struct Outcome {
        name: &'static str,
        breaks: &'static str,
        /// By what, and what was said.
        caught: Option<(String, String)>,
        seconds: f64,
    }

    pub(crate) fn main() -> ExitCode {
        let mut args = std::env::args().skip(1).peekable();
        if args.peek().is_some_and(|arg| arg == CHILD) {
            return child();
        }
        let (mut names, mut file) = (Vec::new(), None);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--write" => file = args.next(),
                name if name == NONE || MUTANTS.iter().any(|(known, _)| *known == name) => {
                    names.push(arg);
                }
                _ => {
                    eprintln!("{arg} is neither an option nor the name of a mutant");
                    return ExitCode::from(2);
                }
            }
        }
        let all =
            std::iter::once((NONE, "nothing: the engine as it is")).chain(MUTANTS.iter().copied());
        let wanted: Vec<_> =
            all.filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name)).collect();
        let outcomes = run_all(&wanted);
        let mut is_good = true;
        for Outcome { name, caught, .. } in &outcomes {
            is_good &= caught.is_some() != (*name == NONE);
        }
        let count = outcomes.iter().filter(|o| o.name != NONE).count();
        let caught = outcomes.iter().filter(|o| o.name != NONE && o.caught.is_some()).count();
        println!("{caught} of {count} mutants caught");
        if let Some(file) = file {
            #[expect(clippy::disallowed_methods, reason = "a tool's report")]
            let written = std::fs::write(&file, table(&outcomes));
            if let Err(error) = written {
                eprintln!("{file}: {error}");
                return ExitCode::FAILURE;
            }
        }
        if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Runs the parts until one finds something.
    fn child() -> ExitCode {
        std::panic::set_hook(Box::new(|_| {}));
        for (name, part) in PARTS {
            println!("part\t{name}");
            if let Some((after, found)) = part() {
                let found = found.replace(['\n', '\t'], " ");
                println!("caught\t{name}, {after}\t{found}");
                return ExitCode::SUCCESS;
            }
        }
        println!("missed");
        ExitCode::SUCCESS
    }

    fn run_all(wanted: &[(&'static str, &'static str)]) -> Vec<Outcome> {
        let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            while let Some(&(name, breaks)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = one(name, breaks);
                let verdict = if outcome.caught.is_some() { "caught" } else { "missed" };
                let (by, said) = outcome.caught.clone().unwrap_or_default();
                let said: String = said.chars().take(120).collect();
                println!("{name}: {verdict}, {:.1} s: {by}: {said}", outcome.seconds);
                outcomes.lock().expect("nobody panics").push(outcome);
            }
        };
        std::thread::scope(|scope| {
            let spawn = |index| {
                let thread = std::thread::Builder::new().name(format!("mutants-{index}"));
                thread.spawn_scoped(scope, work).expect("the system has room for a thread")
            };
            let threads: Vec<_> = (0..2).map(spawn).collect();
            threads.into_iter().for_each(|thread| thread.join().expect("it has ended"));
        });
        let mut outcomes = outcomes.into_inner().expect("nobody panics");
        let place = |name: &str| wanted.iter().position(|(known, _)| *known == name);
        outcomes.sort_by_key(|outcome| place(outcome.name));
        outcomes
    }

    #[expect(clippy::disallowed_methods, reason = "a tool's report")]
    fn one(name: &'static str, breaks: &'static str) -> Outcome {
        let start = Instant::now();
        let program = std::env::current_exe().expect("the system tells which program this is");
        let mut command = Command::new(program);
        command.arg(CHILD).env(MUTANT_VARIABLE, name).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("this program can be started again");
        let lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        let (to, from) = channel();
        let reader = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
            lines.map_while(Result::ok).for_each(|line| drop(to.send(line)));
        });
        reader.expect("the system has room for a thread");
        let mut part = String::new();
        let caught = loop {
            match from.recv_timeout(HANG) {
                Ok(line) => {
                    let mut fields = line.split('\t').map(str::to_owned);
                    match (fields.next().as_deref(), fields.next(), fields.next()) {
                        (Some("part"), Some(name), _) => part = name,
                        (Some("caught"), Some(by), Some(said)) => break Some((by, said)),
                        _ => break None,
                    }
                }
                Err(RecvTimeoutError::Timeout) => break Some((part, "it hangs".to_owned())),
                Err(RecvTimeoutError::Disconnected) => {
                    break Some((part, "the process has ended".to_owned()));
                }
            }
        };
        // One that hangs.
        let _ = child.kill();
        let _ = child.wait();
        let caught = caught.map(|(by, said)| {
            let ends = ["it hangs", "the process has ended"];
            if ends.contains(&said.as_str()) { (format!("{by}: {said}"), said) } else { (by, said) }
        });
        Outcome { name, breaks, caught, seconds: start.elapsed().as_secs_f64() }
    }

    fn table(outcomes: &[Outcome]) -> String {
        let mut text = String::from(HEAD);
        for Outcome { name, breaks, caught, .. } in outcomes {
            let verdict = match (*name == NONE, caught.is_some()) {
                (true, false) => "nothing found",
                (_, true) => "caught",
                (false, false) => "missed",
            };
            let by = caught.as_ref().map_or("", |(by, _)| by);
            writeln!(text, "| `{name}` | {breaks} | {verdict} | {by} |").expect("memory takes it");
        }
        text
    }

    const HEAD: &str = "\
# Mutants

Each line is a fault that can be built into the engine on purpose, one at a time, where a careless
change would do the same harm. What found it is the first part of the battery that did, in order of
cost; the first line is the engine as it is, in which nothing may be found.

```
RUSTFLAGS='--cfg mutants' CARGO_TARGET_DIR=target/mutants \\
    cargo run --release -p gannet-testkit --example mutants -- --write docs/MUTANTS.md
```

Names of mutants as arguments run these alone. The list is in `engine/src/mutants.rs`.

| mutant | what it breaks | caught or missed | by |
|---|---|---|---|
";
}
