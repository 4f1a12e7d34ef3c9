//! Threads on the simulated disk, with kills and power cuts between: one order explains all.

use gannet_testkit::history::concurrent::{Histories, run};
use gannet_testkit::sim::SimDisk;

#[test]
fn one_order_explains_what_threads_saw_before_and_after_each_crash() {
    let mut total = 0;
    for seed in 0..6 {
        let histories = Histories { seed, crashes: 25, ..Histories::default() };
        let report = run(&mut SimDisk::new(), &histories).unwrap_or_else(|what| panic!("{what}"));
        assert_eq!(report.histories, 25);
        total += report.overlaps;
    }
    assert!(total > 100, "{total} calls overlapped");
}
