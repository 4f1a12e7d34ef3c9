//! `gannet backup` and `gannet restore`.

use std::fs;

use crate::program::{Place, components, gannet, on_each_backend, text_of, u8bin};

#[test]
fn a_backup_is_restored_and_answers_like_the_database() {
    on_each_backend(|| {
        let place = Place::new();
        let base = place.file("base.u8bin", &u8bin(8, &components(1, 8 * 200)));
        place.import(&base, "l2", &[]);
        gannet(&["checkpoint", "--db", &place.db]).text();
        gannet(&["put", "--db", &place.db, "k", "v"]).text();
        let (copy, again) = (text_of(&place.path("copy")), text_of(&place.path("again")));
        let answer = gannet(&["backup", "--db", &place.db, "--to", &copy, "--json"]).json();
        assert_eq!(answer["lsn"], place.stats()["last_lsn"], "{answer}");
        let restored = gannet(&["restore", "--from", &copy, "--to", &again, "--json"]).json();
        assert_eq!(restored, answer);
        for db in [&copy, &again] {
            assert_eq!(gannet(&["get", "--db", db, "k"]).good().stdout, b"v");
            let stats = gannet(&["stats", "--db", db, "--json"]).json();
            assert_eq!(stats["collections"]["c"]["rows"], 200);
            assert!(gannet(&["verify", "--db", db]).text().ends_with("no faults\n"));
        }
        // Text for people; the copy of a copy that was only looked at is a backup still.
        let third = text_of(&place.path("third"));
        let text = gannet(&["restore", "--from", &copy, "--to", &third]).text();
        assert!(text.starts_with("restored up to LSN "), "{text}");
    });
}

#[test]
fn a_backup_is_brought_up_to_date_with_what_it_lacks() {
    let place = Place::new();
    let copy = text_of(&place.path("copy"));
    let backup = || {
        let args = ["backup", "--db", &place.db, "--to", &copy, "--incremental", "--json"];
        gannet(&args).json()
    };
    gannet(&["put", "--db", &place.db, "k", "v"]).text();
    gannet(&["checkpoint", "--db", &place.db]).text();
    let first = backup();
    gannet(&["put", "--db", &place.db, "l", "w"]).text();
    let second = backup();
    assert!(second["lsn"].as_u64() > first["lsn"].as_u64(), "{first}, then {second}");
    let again = text_of(&place.path("again"));
    gannet(&["restore", "--from", &copy, "--to", &again]).text();
    for (key, value) in [("k", b"v"), ("l", b"w")] {
        assert_eq!(gannet(&["get", "--db", &again, key]).good().stdout, value);
    }
    let other = Place::new();
    gannet(&["put", "--db", &other.db, "k", "v"]).text();
    gannet(&["backup", "--db", &other.db, "--to", &copy, "--incremental"])
        .refused(3, &["something else"]);
}

#[test]
fn what_is_no_backup_or_no_empty_place_is_refused_in_one_line() {
    let place = Place::new();
    gannet(&["put", "--db", &place.db, "k", "v"]).text();
    let copy = text_of(&place.path("copy"));
    let text = gannet(&["backup", "--db", &place.db, "--to", &copy]).text();
    assert!(text.starts_with("backup up to LSN "), "{text}");
    gannet(&["backup", "--db", &place.db, "--to", &copy]).refused(3, &["empty place"]);
    gannet(&["backup", "--db", &place.db, "--to", &place.db]).refused(3, &["another process"]);
    let missing = text_of(&place.path("missing"));
    gannet(&["backup", "--db", &missing, "--to", &copy]).refused(3, &["not found"]);
    let new = text_of(&place.path("new"));
    gannet(&["restore", "--from", &missing, "--to", &new]).refused(3, &["not found"]);
    gannet(&["restore", "--from", &copy, "--to", &place.db]).refused(3, &["empty place"]);
    // A database is none, nor is a damaged backup, and nothing comes of them.
    gannet(&["restore", "--from", &place.db, "--to", &new])
        .refused(3, &["cannot restore", "not a backup"]);
    let root = place.path("copy").join("root");
    let mut bytes = fs::read(&root).unwrap();
    bytes[40] ^= 1;
    fs::write(&root, bytes).unwrap();
    gannet(&["restore", "--from", &copy, "--to", &new]).refused(3, &["root", "checksum"]);
    assert!(!place.path("new").join("root").exists());
}
