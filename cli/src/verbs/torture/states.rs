//! Power cuts, which no program can cause: in the simulator, every state that one may leave.

use std::time::Instant;

use gannet_testkit::campaign::{Campaign, Trail, Workload, replay, run as run_campaign};

use super::Setting;
use super::round::Round;
use super::tally::Tally;

/// Tried however little time there is.
const STATES_MIN: u64 = 50;

/// The engine on a simulated disk until the time is over. The backend is the simulator; the share
/// of time, and the seed, are those of the one it is told with.
pub(super) fn run(setting: &Setting<'_>, until: Instant, tally: &mut Tally) {
    let backend = setting.backend as u64;
    let seed = setting.seed.wrapping_add(backend);
    let campaign = Campaign { seed, rounds: 1_000_000, ..Campaign::default() };
    let stop = |states| states >= STATES_MIN && Instant::now() >= until;
    let report = run_campaign(&campaign, &Workload::all(3), &stop);
    tally.states += report.distinct;
    // Of one kind, one is told.
    let mut untold = report.broken;
    for violation in &report.violations {
        let round = Round::State(Box::new(violation.trail.clone()));
        tally.tell(1, &violation.to_string(), &round);
        untold = untold.saturating_sub(1);
    }
    tally.violations += untold;
}

/// One state again.
pub(super) fn again(trail: &Trail, tally: &mut Tally) {
    tally.states += 1;
    if let Err(what) = replay(&Campaign::default(), trail) {
        tally.tell(1, &what, &Round::State(Box::new(trail.clone())));
    }
}
