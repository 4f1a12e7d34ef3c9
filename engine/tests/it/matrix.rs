//! Calls of each backend fail, in every way: one in some, others for each backend. All of them are
//! for `testkit/examples/campaign.rs --matrix`.

use crate::disk::Opener;
use gannet::AnyStorage;
use gannet_testkit::matrix::{Matrix, Place, run};
use std::sync::Arc;
use tempfile::TempDir;

/// In memory where the system has a directory for that: no power is cut here.
struct Directory {
    dir: TempDir,
    opener: Opener,
}

impl Directory {
    fn new(opener: Opener) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self { dir, opener }
    }
}

impl Place for Directory {
    type Storage = AnyStorage;

    fn fresh(&self) -> Self {
        Self::new(self.opener)
    }

    fn open(&self) -> Arc<AnyStorage> {
        Arc::new(self.opener.open(self.dir.path()).unwrap())
    }
}

#[test]
fn calls_of_every_backend_may_fail_in_every_way_and_nothing_acknowledged_is_lost() {
    for (first, opener) in (1..).zip(Opener::all()) {
        let report = run(&Directory::new(opener), &Matrix { first, step: 29 });
        let report = report.unwrap_or_else(|what| panic!("{opener:?}: {what}"));
        eprintln!("{opener:?}: {report}");
        assert!(report.runs > 60 && report.injected > report.runs, "{opener:?}: {report}");
    }
}
