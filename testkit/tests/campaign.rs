//! The bounded crash campaign: a taste of `examples/campaign.rs` on every run of the tests.

use gannet_storage::Op as Call;
use gannet_testkit::campaign::{Campaign, Report, Trail, Workload, replay, run};
use gannet_testkit::sim::CrashPlan;

fn plan(exhaustive_max: usize, others: usize) -> CrashPlan {
    CrashPlan { exhaustive_max, pairs_max: others, samples: others, seed: 0 }
}

/// Few states of every workload.
fn bounded() -> Campaign {
    Campaign {
        plans: [plan(64, 4), plan(16, 2), plan(16, 1)],
        continue_one_in: [8, 32, 32],
        ..Campaign::default()
    }
}

fn tell(report: &Report) -> String {
    let violations: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
    format!("{report}\n{}", violations.join("\n"))
}

#[test]
fn no_crash_of_a_short_workload_breaks_a_promise() {
    let report = run(&bounded(), &Workload::longer(), &|_| false);
    assert_eq!(report.broken, 0, "{}", tell(&report));
    let workloads = Workload::all(3);
    let report = run(&bounded(), &workloads, &|_| false);
    assert_eq!(report.broken, 0, "{}", tell(&report));
    assert_eq!(report.workloads, 584);
    assert!(report.checked.iter().all(|&states| states > 100), "{report}");
    assert!(report.exhaustive > 1000 && report.sampled > 0 && report.kills > 100, "{report}");
}

#[test]
fn a_seed_gives_the_same_campaign_again() {
    let workloads = ["insert,put".parse::<Workload>().expect("a workload")];
    let campaign = Campaign { seed: 5, continue_one_in: [8, 8, 8], ..bounded() };
    let [first, second] = [(); 2].map(|()| run(&campaign, &workloads, &|_| false).to_string());
    assert_eq!(first, second);
}

#[test]
fn a_disk_that_drops_syncs_is_found_out_and_the_trail_leads_back() {
    for lie in [Call::Sync, Call::Seal, Call::SyncDir] {
        let campaign = Campaign { lie_about: Some(lie), broken_max: 1, ..bounded() };
        let report = run(&campaign, &Workload::all(2), &|_| false);
        assert_eq!(report.broken, 1, "{lie:?} is not noticed: {report}");
        let trail = report.violations[0].trail.to_string().parse::<Trail>().expect("a trail");
        assert_eq!(replay(&campaign, &trail), Err(report.violations[0].what.clone()), "{lie:?}");
        let honest = Campaign { lie_about: None, ..campaign };
        // On an honest disk other units are pending: the trail may not fit, or all is well.
        assert_ne!(replay(&honest, &trail), Err(report.violations[0].what.clone()), "{lie:?}");
    }
}
