//! Threads on a database under each backend, and crashes: one order explains what they saw.

use crate::disk::Opener;
use gannet::AnyStorage;
use gannet_testkit::fault::{Action, Calls, Faults, Rule};
use gannet_testkit::history::concurrent::{Ground, Histories, run};
use gannet_testkit::sim::SimRng;
use std::sync::Arc;
use tempfile::TempDir;

/// A directory whose device may stop to work. The kernel never loses anything here; a power cut is
/// the simulator's business.
struct Directory {
    dir: TempDir,
    opener: Opener,
}

impl Ground for Directory {
    type Storage = AnyStorage;

    fn open(&self) -> Arc<AnyStorage> {
        Arc::new(self.opener.open(self.dir.path()).unwrap())
    }

    fn arm(&mut self, rng: &mut SimRng, faults: &Faults) {
        if rng.below(3) > 0 {
            let (nth, action) = (1 + rng.below(60) as u64, [Action::Eio, Action::Partial]);
            faults.add(Rule::forever(Calls::Writes, nth, action[rng.below(2)]));
        }
    }

    fn crash(&mut self, _rng: &mut SimRng) -> bool {
        true
    }
}

#[test]
fn one_order_explains_what_threads_saw_under_every_backend() {
    for opener in Opener::all() {
        let mut total = 0;
        for seed in 0..2 {
            let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
            let histories = Histories { seed, crashes: 15, ..Histories::default() };
            let report = run(&mut Directory { dir, opener }, &histories);
            let report = report.unwrap_or_else(|what| panic!("{opener:?}: {what}"));
            assert_eq!(report.histories, 15);
            total += report.overlaps;
        }
        assert!(total > 20, "{opener:?}: {total} calls overlapped");
    }
}
