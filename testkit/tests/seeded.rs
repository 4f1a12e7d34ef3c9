//! Long seeded runs: a few on every run of the tests, and that they would find something.

use gannet_storage::Op;
use gannet_testkit::seeded::{Report, Seeded, run};

fn tell(report: &Report) -> String {
    format!("{report}\n{:?}", report.violations)
}

#[test]
fn no_long_run_breaks_a_promise_and_every_kind_of_trouble_comes() {
    let report = run(&Seeded { seeds: 12, ops: 300, threads: 2, ..Seeded::default() });
    assert_eq!(report.violations, [], "{}", tell(&report));
    assert!(report.crashes_min >= 3, "{report}");
    let rare = ["violations", "damaged: the un-witnessed", "damaged: as after"];
    for (name, count) in report.lines() {
        assert!(count > 0 || rare.iter().any(|rare| name.starts_with(rare)), "{name}: {report}");
    }
}

#[test]
fn a_seed_gives_the_same_run_again_on_any_number_of_threads() {
    let seeded = Seeded { first_seed: 40, seeds: 3, ops: 150, ..Seeded::default() };
    let [first, second] = [1, 3].map(|threads| run(&Seeded { threads, ..seeded.clone() }));
    assert_eq!(first.to_string(), second.to_string());
    let other = run(&Seeded { first_seed: 41, ..seeded });
    assert_ne!(first.digest, other.digest);
}

#[test]
fn a_disk_that_drops_syncs_is_found_out() {
    for lie in [Op::Sync, Op::Seal, Op::SyncDir] {
        let seeded = Seeded { seeds: 4, ops: 300, lie_about: Some(lie), ..Seeded::default() };
        let report = run(&seeded);
        assert!(!report.violations.is_empty(), "{lie:?} is not noticed: {report}");
        // The seed alone leads there again.
        let (seed, what) = &report.violations[0];
        let again = run(&Seeded { first_seed: *seed, seeds: 1, ..seeded });
        assert_eq!(again.violations, [(*seed, what.clone())]);
    }
}
