//! Some bytes of a small database, inverted: a taste of `examples/campaign.rs --flips`.

use gannet_testkit::flips::{Flips, run};

#[test]
fn no_inverted_byte_gives_a_wrong_answer() {
    // A prime: no period of the files hides from it.
    let report = run(&Flips { one_in: 13, threads: 2, ..Flips::default() });
    assert!(report.violations.is_empty(), "{report}\n{:?}", report.violations);
    assert!(report.store_bytes >= 64 << 10, "{report}");
    for count in [report.refused, report.repaired, report.harmless, report.unwitnessed] {
        assert!(count > 10, "{report}");
    }
    assert_eq!(
        report.flips,
        report.refused + report.repaired + report.harmless + report.unwitnessed
    );
}
