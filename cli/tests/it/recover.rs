//! `gannet recover`, `gannet scrub`, and what a commit is worth.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::program::{Place, components, gannet, on_each_backend, text_of, u8bin};

/// A database with two checkpoints, and something behind them.
fn filled() -> Place {
    let place = Place::new();
    let base = place.file("base.u8bin", &u8bin(8, &components(1, 8 * 200)));
    place.import(&base, "l2", &[]);
    for key in ["a", "b"] {
        gannet(&["put", "--db", &place.db, key, "v"]).text();
    }
    gannet(&["checkpoint", "--db", &place.db]).text();
    gannet(&["put", "--db", &place.db, "c", "v"]).text();
    gannet(&["put", "--db", &place.db, "d", "v"]).text();
    place
}

/// Every file with its bytes; the lock's text is whose it was last.
fn bytes(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        let bytes = if name == "lock" { Vec::new() } else { fs::read(entry.path()).unwrap() };
        (name, bytes)
    };
    files.map(read).collect()
}

/// The newest file of a kind.
fn newest(place: &Place, kind: &str) -> String {
    bytes(Path::new(&place.db)).into_keys().filter(|name| name.starts_with(kind)).max().unwrap()
}

fn damage(place: &Place, name: &str, at: usize) {
    let path = Path::new(&place.db).join(name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_healthy_database_is_recovered_whole_and_is_not_changed() {
    on_each_backend(|| {
        let place = filled();
        let before = bytes(Path::new(&place.db));
        let new = text_of(&place.path("new"));
        let answer = gannet(&["recover", "--from", &place.db, "--to", &new, "--json"]).json();
        assert_eq!(before, bytes(Path::new(&place.db)));
        for (field, expected) in [("rows", 200), ("keys", 4), ("collections", 1), ("keyspaces", 1)]
        {
            assert_eq!(answer[field], expected, "{answer}");
        }
        for field in ["lost", "holes", "behind_holes", "damage"] {
            assert_eq!(answer[field].as_array().map(Vec::len), Some(0), "{field}: {answer}");
        }
        assert_eq!(gannet(&["get", "--db", &new, "d"]).good().stdout, b"v");
        for id in ["0", "199"] {
            let get = |db: &str| gannet(&["get", "--db", db, "--collection", "c", id]).text();
            assert_eq!(get(&new), get(&place.db));
        }
        assert!(gannet(&["verify", "--db", &new]).text().ends_with("no faults\n"));
        let third = text_of(&place.path("third"));
        let text = gannet(&["recover", "--from", &place.db, "--to", &third]).text();
        assert!(text.starts_with("recovered 200 rows") && text.ends_with("nothing is lost\n"));
    });
}

#[test]
fn what_is_lost_is_told_and_the_rest_stands() {
    let place = filled();
    // Of all rows there is this one file, and the log that made it may be gone.
    let rows = newest(&place, "rows-");
    damage(&place, &rows, 4096);
    let first = bytes(Path::new(&place.db)).into_keys().find(|name| name.starts_with("log-"));
    fs::remove_file(Path::new(&place.db).join(first.unwrap())).unwrap();
    gannet(&["stats", "--db", &place.db]).refused(3, &["damaged"]);
    let new = text_of(&place.path("new"));
    let ran = gannet(&["recover", "--from", &place.db, "--to", &new, "--json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("lost") && ran.stderr.contains(&new), "{ran:?}");
    let answer: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(answer["keys"], 4, "{answer}");
    assert_eq!(answer["lost"][0]["kind"], "rows", "{answer}");
    let reason = answer["lost"][0]["reason"].as_str().unwrap();
    assert!(reason.contains(&rows), "{reason}");
    assert!(gannet(&["verify", "--db", &new]).text().ends_with("no faults\n"));
    let third = text_of(&place.path("third"));
    let ran = gannet(&["recover", "--from", &place.db, "--to", &third]);
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.code == 1 && text.contains("\nlost: rows 0 to "), "{text}");
}

#[test]
fn a_recovery_needs_a_database_and_an_empty_place() {
    let place = filled();
    let missing = text_of(&place.path("missing"));
    let new = text_of(&place.path("new"));
    gannet(&["recover", "--from", &missing, "--to", &new]).refused(3, &["not found"]);
    let before = bytes(Path::new(&place.db));
    gannet(&["recover", "--from", &place.db, "--to", &place.db]).refused(3, &["another process"]);
    let other = Place::new();
    gannet(&["put", "--db", &other.db, "k", "v"]).text();
    gannet(&["recover", "--from", &other.db, "--to", &place.db]).refused(3, &["empty place"]);
    assert_eq!(before, bytes(Path::new(&place.db)));
}

#[test]
fn a_scrub_names_what_opening_does_not_read() {
    on_each_backend(|| {
        let place = filled();
        let text = gannet(&["scrub", "--db", &place.db]).text();
        assert!(text.ends_with("no faults\n"), "{text}");
        let args = ["scrub", "--db", &place.db, "--mib-per-s", "1000", "--json"];
        let answer = gannet(&args).json();
        assert!(answer["files"].as_u64() > Some(5), "{answer}");
        // The older checkpoint is of no use to opening while the newer one is good.
        let tables = bytes(Path::new(&place.db)).into_keys().find(|n| n.starts_with("manifest-"));
        damage(&place, &tables.clone().unwrap(), 4096);
        gannet(&["stats", "--db", &place.db]).text();
        let ran = gannet(&["scrub", "--db", &place.db]);
        let text = String::from_utf8(ran.stdout).unwrap();
        assert!(ran.code == 1 && text.contains(&tables.unwrap()), "{text}");
    });
}

#[test]
fn a_compacted_database_is_shorter_and_holds_the_same() {
    on_each_backend(|| {
        let place = filled();
        let answer = gannet(&["compact", "--db", &place.db, "--json"]).json();
        let bytes = |field: &str| answer[field].as_u64().unwrap();
        assert!(bytes("bytes_after") < bytes("bytes_before"), "{answer}");
        assert!(bytes("files_removed") > 3, "{answer}");
        assert_eq!(gannet(&["get", "--db", &place.db, "d"]).good().stdout, b"v");
        place.check_intact(200);
        let text = gannet(&["compact", "--db", &place.db]).text();
        assert!(text.contains(" MiB before, ") && text.ends_with(" files removed\n"), "{text}");
        assert!(gannet(&["scrub", "--db", &place.db]).text().ends_with("no faults\n"));
    });
}

#[test]
fn commits_are_as_durable_as_they_are_asked_to_be_and_say_so() {
    let place = Place::new();
    let base = place.file("base.u8bin", &u8bin(8, &components(1, 8 * 50)));
    for durability in ["strict", "buffered"] {
        let options = ["--durability", durability, "--json"];
        let run = |args: &[&str]| gannet(&[args, &options].concat()).json();
        let answer = run(&["put", "--db", &place.db, "k", durability]);
        assert_eq!(answer["durability"], durability, "{answer}");
        assert_eq!(gannet(&["get", "--db", &place.db, "k"]).good().stdout, durability.as_bytes());
        let answer = run(&["delete", "--db", &place.db, "k"]);
        assert_eq!(answer["durability"], durability, "{answer}");
        let import = ["import", "--db", &place.db, "--collection", durability, &base];
        let answer = run(&[&import[..], &["--metric", "l2"]].concat());
        assert_eq!((&answer["durability"], &answer["rows"]), (&durability.into(), &50.into()));
    }
    let again = ["import", "--db", &place.db, "--collection", "text", &base, "--metric", "l2"];
    let text = gannet(&[&again[..], &["--durability", "buffered"]].concat()).text();
    assert!(text.contains("\nbuffered "), "{text}");
    let answer = gannet(&["put", "--db", &place.db, "k", "v", "--json"]).json();
    assert_eq!(answer["durability"], "strict", "the default: {answer}");
    assert!(gannet(&["verify", "--db", &place.db]).text().ends_with("no faults\n"));
}
