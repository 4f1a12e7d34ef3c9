//! The program killed with SIGKILL in the middle of its work.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::Duration;

use crate::program::{
    Numbers, Place, backends, command, components, copy_dir, finished, gannet, on_each_backend,
    text_of, u8bin,
};

const ROWS: u64 = 3_000;
const BATCH: u64 = 50;

/// When an import is killed.
#[derive(Clone, Copy, Debug)]
enum When {
    After(Duration),
    AtAcknowledgement(u64),
}

#[test]
fn a_killed_import_keeps_what_it_acknowledged_and_no_part_of_a_batch() {
    on_each_backend(|| {
        let place = Place::new();
        let base = place.file("base.u8bin", &u8bin(8, &components(1, 8 * 3_000)));
        for round in 0..8_u64 {
            let seed = 0x6b69_6c6c + round;
            let mut numbers = Numbers(seed);
            let when = if round.is_multiple_of(2) {
                When::After(Duration::from_micros(numbers.below(120_000)))
            } else {
                When::AtAcknowledgement(1 + numbers.below(ROWS / BATCH - 1))
            };
            check_round(&base, when, seed);
        }
    });
}

/// Children of `gannet torture`, strict and buffered, killed at any time, at acknowledgements, and
/// again while they recover: 200 of them over all backends, or as many as `GANNET_KILLS` says.
#[test]
fn hundreds_of_kills_under_every_backend_lose_nothing() {
    let total = std::env::var("GANNET_KILLS").map_or(200, |text| text.parse::<u64>().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let at = text_of(dir.path());
    let works: Vec<_> = backends().into_iter().filter(|(_, row)| row["works"] == true).collect();
    let each = total.div_ceil(works.len() as u64);
    for (backend, _) in works {
        let mut kills = 0;
        for round in 0.. {
            let (seed, round) = ("5", format!("kill-{round}"));
            let args = ["torture", "--dir", &at, "--backend", backend, "--seed", seed];
            let answer = gannet(&[&args[..], &["--round", &round, "--json"]].concat()).json();
            let tally = &answer["backends"][backend];
            assert_eq!(tally["violations"], 0, "{backend}, seed {seed}, {round}: {answer}");
            kills += tally["kills"].as_u64().unwrap();
            if kills >= each {
                break;
            }
        }
        eprintln!("{backend}: {kills} kills");
    }
}

/// One import into a fresh database, killed, inspected, and finished.
fn check_round(base: &str, when: When, seed: u64) {
    let place = Place::new();
    let args = ["import", "--db", &place.db, "--collection", "c", base, "--metric", "l2"];
    let more = ["--print-acks", "--batch", "50"];
    let child = command(&[&args[..], &more].concat()).spawn().unwrap();
    let acked = kill(child, when);
    let round = format!("seed {seed:#x}, {when:?}, {acked} acknowledged");
    if !place.path("db").exists() {
        assert_eq!(acked, 0, "{round}");
        eprintln!("{round}, killed before there was a directory");
        return;
    }
    let verified = gannet(&["verify", "--db", &place.db]);
    assert_eq!(verified.code, 0, "{round}: {verified:?}");
    let rows = place.stats()["collections"]["c"]["rows"].as_u64().unwrap_or(0);
    eprintln!("{round}, {rows} rows found");
    assert!(rows >= acked, "{round}: {rows} rows");
    assert!(rows.is_multiple_of(BATCH), "{round}: {rows} rows");
    let answer = place.import(base, "l2", &["--batch", "50"]);
    assert_eq!(answer["imported"], ROWS - rows, "{round}");
    place.check_intact(ROWS);
}

/// Kills the child at its time and tells how many rows it had acknowledged.
fn kill(mut child: Child, when: When) -> u64 {
    let stdout = BufReader::new(child.stdout.take().unwrap());
    // The time until a kill is what is tried out here; nothing waits for anything to be done.
    let at = match when {
        When::After(wait) => {
            thread::sleep(wait);
            child.kill().unwrap();
            u64::MAX
        }
        When::AtAcknowledgement(at) => at,
    };
    let mut acked = 0;
    for (line, text) in (1..).zip(stdout.lines()) {
        let text = text.unwrap();
        let words: Vec<&str> = text.split(' ').collect();
        // A line may be cut by the kill; its number is whole if another word follows.
        if words[0] == "acked" && words.len() == 3 {
            acked = words[1].parse().unwrap();
        }
        if line == at {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    acked
}

#[test]
fn a_directory_killed_while_it_was_created_opens_as_new_under_every_verb() {
    on_each_backend(|| {
        let place = Place::new();
        let empty = place.path("empty");
        fs::create_dir(&empty).unwrap();
        check_new(&place, &empty, "an empty directory");
        let locked = place.path("locked");
        fs::create_dir(&locked).unwrap();
        fs::write(locked.join("lock"), "").unwrap();
        check_new(&place, &locked, "a directory with only a lock file");
        let mut made = 0;
        for round in 0..12_u64 {
            let seed = 0x6e65_7700 + round;
            let wait = Duration::from_micros(Numbers(seed).below(20_000));
            let dir = place.path(&format!("killed-{round}"));
            let mut child = command(&["put", "--db", &text_of(&dir), "k", "v"]).spawn().unwrap();
            thread::sleep(wait);
            child.kill().unwrap();
            child.wait().unwrap();
            if !dir.exists() {
                continue;
            }
            made += 1;
            let what = format!("killed after {wait:?}, seed {seed:#x}");
            // Whether the put was in time decides what is there; either way it opens.
            let got = gannet(&["get", "--db", &text_of(&dir), "k"]);
            match got.code {
                0 => assert_eq!(got.stdout, b"v", "{what}"),
                _ => check_new(&place, &dir, &what),
            }
        }
        eprintln!("{made} of 12 directories were there when the program was killed");
    });
}

/// Every verb takes copies of `dir` for a new database without rows.
fn check_new(place: &Place, dir: &Path, what: &str) {
    let base = place.file("base.u8bin", &u8bin(2, &[1, 2, 3, 4]));
    let copy = place.path("copy");
    let db = text_of(&copy);
    for (code, args) in [
        (0, &["stats", "--db", &db][..]),
        (0, &["verify", "--db", &db]),
        (0, &["checkpoint", "--db", &db]),
        (0, &["put", "--db", &db, "k", "v"]),
        (0, &["import", "--db", &db, "--collection", "c", &base, "--metric", "l2"]),
        (1, &["get", "--db", &db, "k"]),
        (1, &["delete", "--db", &db, "k"]),
        (3, &["search", "--db", &db, "--collection", "c", "--queries", &base]),
    ] {
        copy_dir(dir, &copy);
        let ran = finished(command(args).output().unwrap());
        assert_eq!(ran.code, code, "{what}: {args:?}: {ran:?}");
        let stats = gannet(&["stats", "--db", &db, "--json"]).json();
        let rows = if args[0] == "import" { 2.into() } else { serde_json::Value::Null };
        assert_eq!(stats["collections"]["c"]["rows"], rows, "{what}: {args:?}");
        fs::remove_dir_all(&copy).unwrap();
    }
}
