//! Every call of the simulated disk fails, in every way.

use gannet_testkit::matrix::{Matrix, run};
use gannet_testkit::sim::SimDisk;

#[test]
fn every_call_may_fail_in_every_way_and_nothing_acknowledged_is_lost() {
    let report = run(&SimDisk::new(), &Matrix { first: 1, step: 1 });
    let report = report.unwrap_or_else(|what| panic!("{what}"));
    eprintln!("{report}");
    assert!(report.runs > 1000 && report.injected > report.runs && report.errors > 500, "{report}");
}
