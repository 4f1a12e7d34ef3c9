//! `gannet demo`, as it is run for the first time.

use std::fs;
use std::path::Path;

use crate::program::{Place, gannet, on_each_backend, text_of};

#[test]
fn the_demo_keeps_its_promises_and_refuses_to_overwrite() {
    on_each_backend(|| {
        let place = Place::new();
        let dir = text_of(&place.path("demo"));
        let ran = gannet(&["demo", "--dir", &dir, "--json"]);
        assert_eq!(ran.stdout.split(|&byte| byte == b'\n').count(), 2, "one line: {ran:?}");
        let answer = ran.json();
        let number = |field: &str| answer[field].as_f64().unwrap();
        let (acked, after) = (number("acked_before_kill"), number("rows_after_kill"));
        assert!((5_000.0..=10_000.0).contains(&acked), "{answer}");
        assert!((acked..=10_000.0).contains(&after) && after % 100.0 == 0.0, "{answer}");
        assert!(number("recall") > 0.97 && number("qps") > 0.0 && number("reopen_ms") > 0.0);
        assert_eq!((&answer["rows"], &answer["dir"]), (&10_000.into(), &dir.as_str().into()));

        gannet(&["verify", "--db", &dir]).good();
        let stats = gannet(&["stats", "--db", &dir, "--json"]).json();
        assert_eq!(stats["collections"]["digits"]["in_graph"], 10_000);
        let before = fs::read_dir(&dir).unwrap().count();
        gannet(&["demo", "--dir", &dir]).refused(3, &["is not an empty directory"]);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), before);
        let data = format!("{dir}-data");
        let (queries, truth) = (format!("{data}/queries.u8bin"), format!("{data}/truth.ivecs"));
        assert!(Path::new(&truth).exists());
        let args = ["search", "--db", &dir, "--collection", "digits", "--queries", &queries];
        let more = ["--truth", &truth, "--ef", "64", "--json"];
        let again = gannet(&[&args[..], &more].concat()).json();
        assert_eq!(again["results"][0]["recall"], answer["recall"], "the truth is the demo's own");
    });
}
