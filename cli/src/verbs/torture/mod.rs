//! `gannet torture`: databases of its own on the user's disk, killed, failed and damaged, and what
//! they show afterwards held against what was acknowledged.
//!
//! Keeps the order of the rounds and their time. Each round has a number from which, with the seed,
//! everything in it follows as far as processes allow; so one that found something can be tried
//! again. What is done in a round is in the files beside this one.

pub(super) mod child;
mod faults;
mod flips;
mod kills;
mod ledger;
mod place;
mod report;
mod round;
mod states;
mod tally;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gannet::{Backend, Chance as _, OpenError, SystemChance};
use thiserror::Error;

use crate::args::TortureArgs;
use crate::failure::Failure;
use crate::output::Output;
use place::Place;
use report::Report;
pub(crate) use round::Round;
use tally::Tally;

/// Why torture gives no clean answer.
#[derive(Debug, Error)]
pub(crate) enum TortureError {
    #[error("{count} violations; their databases are kept in {dir}; try again: {replay}",
            dir = dir.display())]
    Violated { count: u64, dir: PathBuf, replay: String },
    #[error("cannot work in {dir}", dir = dir.display())]
    Place { dir: PathBuf, source: std::io::Error },
    #[error("cannot run a child process")]
    Child { source: std::io::Error },
    #[error("cannot write {file}", file = file.display())]
    Html { file: PathBuf, source: std::io::Error },
    #[error("the {backend} backend does not work in {dir}", dir = dir.display())]
    Backend { backend: Backend, dir: PathBuf, source: OpenError },
}

/// What all rounds of a backend share.
struct Setting<'p> {
    backend: Backend,
    seed: u64,
    place: &'p Place,
    acknowledge_early: bool,
}

/// Shares of a backend's time: kills, faults, flips; power cuts have the rest.
const SHARES: [f64; 3] = [0.4, 0.25, 0.1];

pub(super) fn run(args: &TortureArgs, out: &mut Output) -> Result<(), Failure> {
    let place = Place::below(&args.dir)?;
    let report = match torture(args, &place) {
        Ok(report) => report,
        Err(error) => {
            // What stopped it is of more use than what cannot be removed.
            let _ = place.remove();
            return Err(error.into());
        }
    };
    out.answer(&report, || report.text())?;
    let written = args.html.as_ref().map_or(Ok(()), |file| {
        std::fs::write(file, report.html())
            .map_err(|source| TortureError::Html { file: file.clone(), source })
    });
    if let Some(replay) = report.replay() {
        let (count, replay) = (report.violations(), replay.to_string());
        return Err(TortureError::Violated { count, dir: place.keep(), replay }.into());
    }
    place.remove()?;
    Ok(written?)
}

fn torture(args: &TortureArgs, place: &Place) -> Result<Report, TortureError> {
    // JSON readers that know doubles alone read it right.
    let seed = args.seed.unwrap_or_else(|| SystemChance.next_u64() >> 11);
    let (backends, skipped) = backends(args, place)?;
    let count = u32::try_from(backends.len().max(1)).expect("three backends");
    let each = Duration::from_secs_f64(args.minutes * 60.0) / count;
    let mut tallies = BTreeMap::new();
    for backend in backends {
        let acknowledge_early = args.acknowledge_early;
        let setting = Setting { backend, seed, place, acknowledge_early };
        let tally = match &args.round {
            Some(round) => setting.again(round)?,
            None => setting.all(each)?,
        };
        tallies.insert(backend.to_string(), tally);
    }
    Ok(Report::new(args, seed, tallies, skipped, place))
}

/// The backends to try, and why others are not.
fn backends(
    args: &TortureArgs,
    place: &Place,
) -> Result<(Vec<Backend>, Vec<String>), TortureError> {
    let named = args.backend.parse::<Backend>().ok();
    let (mut works, mut skipped) = (Vec::new(), Vec::new());
    for backend in [Backend::Std, Backend::Uring, Backend::Mmap] {
        if named.is_some_and(|named| named != backend) {
            continue;
        }
        let dir = place.fresh("probe")?;
        match ledger::open_storage(backend, &dir) {
            Ok(_) => works.push(backend),
            Err(source) if named.is_some() => {
                let dir = args.dir.clone();
                return Err(TortureError::Backend { backend, dir, source });
            }
            Err(error) => skipped.push(format!("{backend}: {}", crate::failure::one_line(&error))),
        }
        place.discard(&dir)?;
    }
    Ok((works, skipped))
}

impl Setting<'_> {
    /// Every kind of round, each for its share of the time, and once at least.
    fn all(&self, time: Duration) -> Result<Tally, TortureError> {
        let begun = Instant::now();
        let mut tally = Tally { seed: self.seed, ..Tally::default() };
        let mut until = Duration::ZERO;
        let mut share = SHARES.map(|share| {
            until += time.mul_f64(share);
            begun + until
        });
        let [kills, faults, flips] = &mut share;
        for round in 0.. {
            kills::round(self, round, &mut tally)?;
            if Instant::now() >= *kills {
                break;
            }
        }
        for round in 0.. {
            faults::round(self, round, &mut tally)?;
            if Instant::now() >= *faults {
                break;
            }
        }
        let store = flips::Store::make(self)?;
        for round in 0.. {
            store.round(self, round, &mut tally)?;
            if Instant::now() >= *flips {
                break;
            }
        }
        store.end(self, &tally)?;
        states::run(self, begun + time, &mut tally);
        Ok(tally)
    }

    /// One round again.
    fn again(&self, round: &Round) -> Result<Tally, TortureError> {
        let mut tally = Tally { seed: self.seed, ..Tally::default() };
        match round {
            Round::Kill(number) => kills::round(self, *number, &mut tally)?,
            Round::Fault(number) => faults::round(self, *number, &mut tally)?,
            Round::Flip(number) => {
                let store = flips::Store::make(self)?;
                store.round(self, *number, &mut tally)?;
                store.end(self, &tally)?;
            }
            Round::State(trail) => states::again(trail, &mut tally),
        }
        Ok(tally)
    }

    /// Numbers that follow from the seed and a round.
    fn chance(&self, kind: u64, round: u64) -> gannet::SeededChance {
        let kinds = gannet::SeededChance::new(self.seed ^ kind << 56);
        let base = kinds.next_u64();
        gannet::SeededChance::new(base ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

fn below(chance: &gannet::SeededChance, end: u64) -> u64 {
    chance.next_u64() % end
}
