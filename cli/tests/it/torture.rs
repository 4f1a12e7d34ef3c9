//! `gannet torture`: finds nothing where nothing is wrong, and what was planted where it was.

use std::fs;

use crate::program::{backends, gannet, text_of};

#[test]
fn a_short_run_over_every_backend_finds_nothing_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let page = text_of(&dir.path().join("report.html"));
    let at = text_of(dir.path());
    let args = ["torture", "--dir", &at, "--minutes", "0.03", "--seed", "7", "--html", &page];
    let answer = gannet(&[&args[..], &["--json"]].concat()).json();
    for (backend, row) in backends() {
        let tally = &answer["backends"][backend];
        if row["works"] != true {
            assert!(tally.is_null(), "{answer}");
            continue;
        }
        for count in ["kills", "faults", "flips", "states"] {
            assert!(tally[count].as_u64().unwrap() > 0, "{backend}: {count}: {answer}");
        }
        for count in ["lost", "holes", "partial", "revived", "violations"] {
            assert_eq!(tally[count], 0, "{backend}: {count}: {answer}");
        }
        assert_eq!(tally["seed"], 7);
    }
    let html = fs::read_to_string(page).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains("Nothing was violated."));
    assert!(!html.contains("http"), "it needs nothing else");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["report.html"]);
}

#[test]
fn a_child_that_acknowledges_too_early_is_found_and_can_be_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = text_of(dir.path());
    let args = ["torture", "--dir", &at, "--backend", "std", "--minutes", "0", "--seed", "5"];
    let ran = gannet(&[&args[..], &["--acknowledge-early", "--json"]].concat());
    let answer: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(answer["backends"]["std"]["lost"].as_u64().unwrap() > 0, "{answer}");
    let replay = answer["replay"].as_str().unwrap();
    assert!(replay.contains("--seed 5 --round 'kill-0'"), "{replay}");
    assert!(ran.stderr.contains(replay) && ran.stderr.contains("kept in"), "{ran:?}");
    assert!(dir.path().join("gannet-torture-1/std-kill-0").is_dir());
    let again = ["--round", "kill-0", "--acknowledge-early"];
    let ran = gannet(&[&args[..], &again].concat());
    assert_eq!(ran.code, 1, "{ran:?}");
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.contains("violation: std: kill-0: ") && text.contains("try again: "), "{text}");
    // The same round without the lie.
    let text = gannet(&[&args[..], &again[..2]].concat()).text();
    assert!(text.ends_with("Nothing was violated.\n"), "{text}");
}

#[test]
fn rounds_of_every_kind_can_be_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let at = text_of(dir.path());
    for (round, count) in
        [("kill-2", "kills"), ("fault-9", "faults"), ("flip-4", "flips"), ("seed 1: put", "states")]
    {
        let args = ["torture", "--dir", &at, "--backend", "std", "--seed", "3", "--round", round];
        let answer = gannet(&[&args[..], &["--json"]].concat()).json();
        let tally = &answer["backends"]["std"];
        assert!(tally[count].as_u64().unwrap() > 0, "{round}: {answer}");
        assert_eq!(tally["violations"], 0, "{round}: {answer}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_place_that_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let missing = text_of(&dir.path().join("missing"));
    gannet(&["torture", "--dir", &missing]).refused(3, &["cannot work in"]);
    let at = text_of(dir.path());
    let ran =
        gannet(&["torture", "--dir", &at, "--minutes", "0", "--backend", "std", "--html", &at]);
    assert!(ran.code == 3 && ran.stderr.contains("cannot write"), "{ran:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
