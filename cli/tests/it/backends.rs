//! `gannet backends`, and the choice of a backend by every verb.

use std::fs;
use std::path::Path;

use gannet::storage::DirOptions;
use gannet::{AnyStorage, Backend};
use serde_json::{Value, json};

use crate::program::{Place, Ran, backends, gannet, on_each_backend, text_of};

fn table(dir: &Path, more: &[&str]) -> Ran {
    gannet(&[&["backends", "--dir", &text_of(dir)], more].concat())
}

fn names(dir: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    fs::read_dir(dir).unwrap().map(|entry| name(entry.unwrap())).collect()
}

#[test]
fn an_empty_directory_is_told_of_and_left_empty() {
    let place = Place::new();
    let dir = place.path("empty");
    fs::create_dir(&dir).unwrap();
    let answer = table(&dir, &["--json"]).json();
    assert_eq!(names(&dir), Vec::<String>::new());
    assert_eq!((&answer["is_empty"], &answer["dir_refused"]), (&json!(true), &Value::Null));
    let row = |backend: &str| answer["backends"][backend].clone();
    let std = row("std");
    assert_eq!((&std["compiled_in"], &std["works"]), (&json!(true), &json!(true)));
    assert_eq!(std["direct_io"], json!(false));
    assert!(std["queue_depth_max"].as_u64().unwrap() > 0);
    assert_eq!(row("mmap")["works"], json!(cfg!(feature = "mmap")));
    let uring = row("uring");
    assert_eq!(uring["compiled_in"], json!(cfg!(feature = "uring")));
    if uring["works"] == true {
        assert_eq!(answer["auto"], "uring");
        for detail in ["direct I/O", "ring flags", "registered files", "registered buffers"] {
            assert!(uring["details"][detail].is_string(), "{detail}: {uring}");
        }
    } else {
        assert_eq!(answer["auto"], "std");
        assert!(uring["refused"].is_string(), "{uring}");
    }

    let text = table(&dir, &[]).text();
    assert_eq!(names(&dir), Vec::<String>::new());
    for word in ["which is empty", "auto       ", "\nuring ", "\nstd ", "\nmmap ", "direct I/O"] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
    // What was looked at is as good as new, and what is put there is not taken away.
    gannet(&["put", "--db", &text_of(&dir), "k", "v"]).good();
    table(&dir, &[]).good();
    assert_eq!(gannet(&["get", "--db", &text_of(&dir), "k"]).text(), "v");
}

#[test]
fn a_database_is_told_of_and_stays_as_it_is() {
    on_each_backend(|| {
        let place = Place::new();
        gannet(&["put", "--db", &place.db, "k", "v"]).good();
        let files = || {
            let mut names = names(&place.path("db"));
            names.sort();
            let read = |name: &String| fs::read(place.path("db").join(name)).unwrap();
            names.iter().filter(|name| *name != "lock").map(read).collect::<Vec<_>>()
        };
        let before = files();
        let answer = table(&place.path("db"), &["--json"]).json();
        assert_eq!((&answer["is_empty"], &answer["dir_refused"]), (&json!(false), &Value::Null));
        assert_eq!(answer["backends"]["std"]["works"], json!(true));
        assert!(files() == before);
        assert!(place.path("db/lock").exists(), "a lock that was there stays");
        gannet(&["verify", "--db", &place.db]).good();
    });
}

#[test]
fn a_directory_with_only_a_lock_keeps_it() {
    let place = Place::new();
    fs::create_dir(&place.db).unwrap();
    fs::write(place.path("db/lock"), "").unwrap();
    table(&place.path("db"), &[]).good();
    assert_eq!(names(&place.path("db")), ["lock"]);
}

/// The directory is refused under every backend, for a reason with these words; that is an answer.
#[track_caller]
fn check_refused(dir: &Path, words: &[&str]) {
    let before = names(dir);
    let answer = table(dir, &["--json"]).json();
    let text = table(dir, &[]).text();
    for word in words {
        assert!(answer["dir_refused"].as_str().unwrap().contains(word), "{word:?}: {answer}");
        assert!(text.contains(word), "{word:?}: {text}");
    }
    assert_eq!(
        (&answer["auto"], &answer["backends"]["std"]["works"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(names(dir), before);
}

#[test]
fn a_locked_directory_is_told_of() {
    let place = Place::new();
    let dir = place.path("db");
    let holder = AnyStorage::open(Backend::Std, &dir, &DirOptions::create()).unwrap();
    check_refused(&dir, &["another process", &format!("pid {}", std::process::id())]);
    drop(holder);
    assert_eq!(table(&dir, &["--json"]).json()["dir_refused"], Value::Null);
}

#[test]
fn a_directory_of_somebody_else_is_told_of_and_left_alone() {
    let place = Place::new();
    place.file("thesis.txt", b"years of work");
    check_refused(&place.path(""), &["no lock file"]);
}

#[test]
fn a_path_where_no_directory_is_is_refused_and_nothing_is_made() {
    let place = Place::new();
    let file = place.file("file", b"");
    table(&place.path("nothing"), &[]).refused(3, &["nothing", "not found"]);
    assert!(!place.path("nothing").exists());
    table(Path::new(&file), &["--json"]).refused(3, &[&file]);
}

#[test]
fn every_backend_is_chosen_by_its_name_and_a_database_goes_from_one_to_the_next() {
    let place = Place::new();
    let mut written = Vec::new();
    for (backend, row) in backends().into_iter().chain([("auto", json!({"works": true}))]) {
        if row["compiled_in"] == false {
            gannet(&["put", "--db", &place.db, "--backend", backend, "k", "v"])
                .refused(3, &[&format!("the {backend} backend is not compiled in")]);
            continue;
        }
        if row["works"] != true {
            eprintln!("skipped {backend}: {row}");
            continue;
        }
        gannet(&["put", "--db", &place.db, "--backend", backend, backend, "1"]).good();
        written.push(backend);
        let of = ["--db", &place.db, "--backend", backend];
        for key in &written {
            assert_eq!(gannet(&[&["get"], &of[..], &[key]].concat()).text(), "1");
        }
        let stats = gannet(&[&["stats", "--json"], &of[..]].concat()).json();
        let named = stats["backend"].as_str().unwrap();
        assert!(named == backend || backend == "auto", "{stats}");
        assert!(stats["backend_details"].is_object(), "{stats}");
        gannet(&[&["checkpoint"], &of[..]].concat()).good();
        gannet(&[&["verify"], &of[..]].concat()).good();
        let text = gannet(&[&["stats"], &of[..]].concat()).text();
        assert!(text.contains(&format!("backend     {named}\n")), "{text}");
    }
    for verb in ["put", "demo"] {
        let db = if verb == "put" { "--db" } else { "--dir" };
        gannet(&[verb, db, &place.db, "--backend", "memory"])
            .refused(2, &["invalid value 'memory'"]);
    }
}

/// Programs started from a thread of its own, in which a seccomp filter refuses rings.
#[cfg(all(feature = "uring", target_os = "linux"))]
mod without_rings {
    use super::*;
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    /// The same number on every architecture.
    const IO_URING_SETUP: i64 = 425;

    /// A filter is for the life of a thread and is inherited by the programs it starts.
    fn refused(errno: u32, test: impl FnOnce() + Send) {
        let filter = SeccompFilter::new(
            [(IO_URING_SETUP, Vec::new())].into(),
            SeccompAction::Allow,
            SeccompAction::Errno(errno),
            std::env::consts::ARCH.try_into().unwrap(),
        );
        let program: BpfProgram = filter.unwrap().try_into().unwrap();
        std::thread::scope(|scope| {
            let body = move || {
                seccompiler::apply_filter(&program).unwrap();
                test();
            };
            let thread = std::thread::Builder::new().name(format!("refused-{errno}"));
            thread.spawn_scoped(scope, body).unwrap().join().unwrap();
        });
    }

    fn check(errno: u32, words: &[&str]) {
        let place = Place::new();
        let named = ["put", "--db", &place.db, "--backend", "uring", "k", "v"];
        gannet(&named).refused(3, &[words, &[&place.db, "io_uring_setup is refused"]].concat());
        assert!(!place.path("db").exists(), "error number {errno}");

        gannet(&["put", "--db", &place.db, "k", "v"]).good();
        gannet(&named).refused(3, words);
        let stats = gannet(&["stats", "--db", &place.db, "--json"]).json();
        assert_eq!(stats["backend"], "std");
        let text = gannet(&["stats", "--db", &place.db]).text();
        let answer = table(&place.path("db"), &["--json"]).json();
        let all = table(&place.path("db"), &[]).text();
        assert_eq!((&answer["auto"], &answer["dir_refused"]), (&json!("std"), &Value::Null));
        let uring = &answer["backends"]["uring"];
        assert_eq!((&uring["compiled_in"], &uring["works"]), (&json!(true), &json!(false)));
        for word in words {
            for said in [&stats["backend_refused"]["uring"], &uring["refused"]] {
                assert!(said.as_str().unwrap().contains(word), "{word:?} is not in {said}");
            }
            assert!(text.contains(word) && all.contains(word), "{word:?}: {text}\n{all}");
        }
        assert!(text.contains("uring refused: io_uring_setup is refused"), "{text}");
    }

    #[test]
    fn where_rings_are_refused_auto_runs_std_and_says_why() {
        refused(1, || check(1, &["seccomp", "allow io_uring_setup", "os error 1)"]));
        refused(38, || check(38, &["Linux 5.6", "allow io_uring_setup", "os error 38)"]));
    }
}
