//! Keys and values: put, compare-and-set, scan, and whole keyspaces out to files and in again.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::program::{Numbers, Place, Ran, command, finished, gannet, on_each_backend, text_of};

/// Runs a verb on the database of a place.
fn run(place: &Place, verb: &str, args: &[&str]) -> Ran {
    gannet(&[&[verb, "--db", &place.db], args].concat())
}

/// As [`run`], with these bytes as standard input.
fn run_with_input(place: &Place, verb: &str, args: &[&str], input: &[u8]) -> Ran {
    let mut command = command(&[&[verb, "--db", &place.db], args].concat());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // A verb that is refused may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(input);
    finished(child.wait_with_output().unwrap())
}

/// A place whose database has these keys, each with itself in capitals as its value.
fn with_keys(keys: &[&str]) -> Place {
    let place = Place::new();
    for key in keys {
        run(&place, "put", &[key, &key.to_uppercase()]).good();
    }
    place
}

/// The version of a key.
#[track_caller]
fn version(place: &Place, key: &str) -> u64 {
    run(place, "get", &[key, "--json"]).json()["version"].as_u64().unwrap()
}

/// The run was a conflict, and said so on stderr in one line with these words.
#[track_caller]
fn conflict(ran: Ran, answer: Option<&Value>, words: &[&str]) {
    let said = serde_json::from_slice::<Value>(&ran.stdout).ok();
    assert_eq!(said.as_ref(), answer, "{ran:?}");
    Ran { stdout: Vec::new(), ..ran }.refused(1, words);
}

#[test]
fn a_value_comes_from_the_command_line_a_file_or_stdin_and_goes_to_a_file() {
    on_each_backend(|| {
        let place = Place::new();
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(100_000).collect();
        let file = place.file("value.bin", &bytes);
        run(&place, "put", &["a", "--value-file", &file]).good();
        run_with_input(&place, "put", &["b", "-"], &bytes).good();
        run_with_input(&place, "put", &["c", "-"], b"").good();
        assert_eq!(run(&place, "get", &["a"]).good().stdout, bytes);
        assert_eq!(run(&place, "get", &["b"]).good().stdout, bytes);
        assert_eq!(run(&place, "get", &["c"]).text(), "");
        let out = text_of(&place.path("out.bin"));
        assert_eq!(run(&place, "get", &["a", "--out", &out]).text(), "");
        assert_eq!(fs::read(&out).unwrap(), bytes);
        // What is there is not overwritten: it might be a part of a database.
        run(&place, "get", &["c", "--out", &out]).refused(3, &["out.bin: cannot be written"]);
        assert_eq!(fs::read(&out).unwrap(), bytes);
        let out = text_of(&place.path("other.bin"));
        run(&place, "get", &["none", "--out", &out]).refused(1, &["key none is not there"]);
        assert!(!fs::exists(&out).unwrap());
        let answer = run(&place, "get", &["a", "--out", &out, "--json"]).json();
        assert_eq!(answer, json!({"bytes": 100_000, "version": version(&place, "a")}));
    });
}

#[test]
fn a_value_that_cannot_be_had_makes_no_database() {
    let place = Place::new();
    let none = text_of(&place.path("none"));
    run(&place, "put", &["k", "--value-file", &none]).refused(3, &["none: cannot be read"]);
    run(&place, "put", &["k", "v", "--value-file", &none]).refused(2, &["--value-file"]);
    let long = place.path("long");
    fs::File::create(&long).unwrap().set_len((16 << 20) + 1).unwrap();
    let long = text_of(&long);
    run(&place, "put", &["k", "--value-file", &long]).refused(3, &["long: longer", "16777216"]);
    run_with_input(&place, "put", &["k", "-"], &vec![0; (16 << 20) + 1])
        .refused(3, &["stdin: longer", "16777216"]);
    run(&place, "put", &["--hex", "zz", "v"]).refused(2, &["`zz` is not hexadecimal"]);
    assert!(!fs::exists(&place.db).unwrap());
    fs::File::options().write(true).open(&long).unwrap().set_len(16 << 20).unwrap();
    run(&place, "put", &["k", "--value-file", &long]).good();
    assert_eq!(run(&place, "get", &["k"]).good().stdout.len(), 16 << 20);
}

#[test]
fn keys_may_be_hexadecimal_and_in_any_keyspace() {
    on_each_backend(|| {
        let place = Place::new();
        run(&place, "put", &["--hex", "00fF", "text", "--keyspace", "other"]).good();
        let get = |more: &[&str]| run(&place, "get", &[&["--keyspace", "other"], more].concat());
        assert_eq!(get(&["--hex", "00ff"]).text(), "text");
        let answer = get(&["--hex", "00ff", "--json"]).json();
        assert_eq!(answer["value_hex"], "74657874");
        run(&place, "get", &["--hex", "00ff"]).refused(1, &["key 00ff is not there"]);
        for bad in ["0", "0x00", "00 ff", "g0"] {
            get(&["--hex", bad]).refused(2, &["is not hexadecimal digits"]);
            run(&place, "delete", &["--hex", "00", bad]).refused(2, &["is not hexadecimal"]);
            run(&place, "scan", &["--hex", "--from", bad]).refused(2, &["is not hexadecimal"]);
        }
        run(&place, "delete", &["--hex", "00ff"]).refused(1, &["key 00ff is not there"]);
        run(&place, "delete", &["--hex", "00FF", "--keyspace", "other"]).good();
        get(&["--hex", "00ff"]).refused(1, &["key 00ff is not there"]);
        run(&place, "put", &["k", "v", "--keyspace", "no/name"]).refused(3, &["no/name"]);
    });
}

#[test]
fn cas_changes_a_key_that_has_the_version_and_no_other() {
    on_each_backend(|| {
        let place = with_keys(&["other"]);
        let cas = |args: &[&str]| run(&place, "cas", args);
        let told = cas(&["k", "--version", "0", "one"]).text();
        let first = version(&place, "k");
        assert_eq!(told, format!("{first}\n"));
        // It is there now.
        let words = format!("key k has version {first}, not 0");
        conflict(cas(&["k", "--version", "0", "no"]), None, &[&words]);
        let answer = json!({"conflict": true, "version": first});
        conflict(cas(&["k", "--version", "0", "no", "--json"]), Some(&answer), &[&words]);
        assert_eq!(run(&place, "get", &["k"]).text(), "one");

        let file = place.file("two", b"two\0");
        let first = first.to_string();
        let answer = cas(&["k", "--version", &first, "--value-file", &file, "--json"]).json();
        let second = version(&place, "k");
        assert_eq!(answer, json!({"version": second}));
        assert_eq!(run(&place, "get", &["k"]).good().stdout, b"two\0");
        let words = format!("key k has version {second}, not {first}");
        conflict(cas(&["k", "--version", &first, "--delete"]), None, &[&words]);

        let second = second.to_string();
        run_with_input(&place, "cas", &["k", "--version", &second, "-"], b"three").good();
        assert_eq!(run(&place, "get", &["k"]).text(), "three");
        let third = version(&place, "k").to_string();
        let answer = cas(&["k", "--version", &third, "--delete", "--json"]).json();
        assert_eq!(answer, json!({"version": 0}));
        run(&place, "get", &["k"]).refused(1, &["key k is not there"]);
        let words = format!("key k has version 0, not {third}: it is not there");
        let answer = json!({"conflict": true, "version": 0});
        conflict(cas(&["k", "--version", &third, "x", "--json"]), Some(&answer), &[&words]);

        cas(&["--hex", "00", "--version", "0", "v", "--keyspace", "new"]).good();
        assert_eq!(run(&place, "get", &["--hex", "00", "--keyspace", "new"]).text(), "v");
        cas(&[&"x".repeat(65_536), "--version", "0", "v"]).refused(3, &["65536", "65535"]);
        let nowhere = Place::new();
        run(&nowhere, "cas", &["k", "--version", "0", "v"]).refused(3, &["not found"]);
    });
}

#[test]
fn scan_gives_the_keys_of_a_range_in_order() {
    on_each_backend(|| {
        let place = with_keys(&["b", "a", "ab", "abc", "ac", "c"]);
        let check = |args: &[&str], keys: &[&str]| {
            let line = |key: &&str| format!("{key}\t{}\n", key.to_uppercase());
            let lines = keys.iter().map(line).collect::<Vec<_>>().concat();
            assert_eq!(run(&place, "scan", args).text(), lines, "{args:?}");
        };
        check(&[], &["a", "ab", "abc", "ac", "b", "c"]);
        check(&["--reverse"], &["c", "b", "ac", "abc", "ab", "a"]);
        check(&["--limit", "2"], &["a", "ab"]);
        check(&["--reverse", "--limit", "2"], &["c", "b"]);
        check(&["--limit", "18446744073709551615"], &["a", "ab", "abc", "ac", "b", "c"]);
        check(&["--prefix", "ab"], &["ab", "abc"]);
        check(&["--prefix", "a", "--reverse"], &["ac", "abc", "ab", "a"]);
        check(&["--prefix", ""], &["a", "ab", "abc", "ac", "b", "c"]);
        check(&["--from", "ab", "--to", "b"], &["ab", "abc", "ac"]);
        check(&["--from", "ab", "--to", "b", "--reverse", "--limit", "1"], &["ac"]);
        check(&["--prefix", "a", "--from", "abb"], &["abc", "ac"]);
        check(&["--prefix", "a", "--to", "ac"], &["a", "ab", "abc"]);
        check(&["--prefix", "ab", "--from", "a", "--to", "c"], &["ab", "abc"]);
        for nothing in [
            &["--from", "b", "--to", "ab"][..],
            &["--from", "b", "--to", "b"],
            &["--to", ""],
            &["--prefix", "b", "--to", "a"],
            &["--prefix", "a", "--from", "b"],
            &["--prefix", "x"],
        ] {
            check(nothing, &[]);
            check(&[nothing, &["--reverse"]].concat(), &[]);
        }
        let other = ["--keyspace", "other"];
        run(&place, "scan", &other).refused(3, &["there is no keyspace `other`"]);
        run(&place, "export", &other).refused(3, &["there is no keyspace `other`"]);
        run(&place, "put", &["k", "v", "--keyspace", "other"]).good();
        assert_eq!(run(&place, "scan", &other).text(), "k\tv\n");
    });
}

#[test]
fn scan_prints_any_bytes_so_that_they_are_told_apart() {
    on_each_backend(|| {
        let place = Place::new();
        let entries = [("00", "0a5c"), ("6b65", "c3a4"), ("fe", "")];
        for (key, value) in entries {
            let value: Vec<u8> = (0..value.len() / 2)
                .map(|at| u8::from_str_radix(&value[2 * at..2 * at + 2], 16).unwrap())
                .collect();
            run_with_input(&place, "put", &["--hex", key, "-"], &value).good();
        }
        let text = run(&place, "scan", &[]).text();
        assert_eq!(text, "\\u{0}\t\\n\\\\\nke\t\u{e4}\n\\xfe\t\n");
        assert_eq!(run(&place, "scan", &["--hex"]).text(), "00\t0a5c\n6b65\tc3a4\nfe\t\n");
        assert_eq!(run(&place, "scan", &["--hex", "--prefix", "FE"]).text(), "fe\t\n");
        let json = run(&place, "scan", &["--json"]).text();
        let lines: Vec<Value> =
            json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let expect = [
            json!({"key": "\0", "value": "\n\\"}),
            json!({"key": "ke", "value": "\u{e4}"}),
            json!({"key_hex": "fe", "value": ""}),
        ];
        assert_eq!(lines, expect);
        let line = run(&place, "scan", &["--hex", "--json", "--limit", "1"]).text();
        assert_eq!(line, "{\"key_hex\":\"00\",\"value_hex\":\"0a5c\"}\n");
        assert_eq!(run(&place, "scan", &["--json", "--from", "x", "--to", "y"]).text(), "");
    });
}

/// The line of JSON of an entry.
fn line_of(key: &str, value: &str) -> String {
    json!({"key": key, "value": value}).to_string() + "\n"
}

/// JSON lines of random keys and values, of which many are not UTF-8.
fn random_lines(count: u64) -> String {
    let mut numbers = Numbers(7);
    let mut digits = |len: u64| {
        let bytes = (0..len).map(|_| format!("{:02x}", numbers.below(256)));
        bytes.collect::<Vec<_>>().concat()
    };
    let mut line = |at: u64| {
        let (key, value) = (digits(at % 5), digits(at % 40));
        format!("{{\"key_hex\":\"{at:04x}{key}\",\"value_hex\":\"{value}\"}}\n")
    };
    (0..count).map(&mut line).collect::<Vec<_>>().concat()
}

#[test]
fn an_export_is_imported_byte_for_byte() {
    on_each_backend(|| {
        let (place, again) = (Place::new(), Place::new());
        let lines = random_lines(2500);
        let file = place.file("in.jsonl", lines.as_bytes());
        let answer = run(&place, "import", &["--kv", &file, "--json"]).json();
        assert_eq!((&answer["put"], &answer["batches"]), (&json!(2500), &json!(3)));
        let out = text_of(&place.path("out.jsonl"));
        let text = run(&place, "export", &["--out", &out]).text();
        assert_eq!(text, "exported 2500 entries of keyspace `default`\n");
        let exported = run(&place, "export", &[]).good().stdout;
        assert_eq!(fs::read(&out).unwrap(), exported);
        assert_eq!(run(&place, "scan", &["--json"]).good().stdout, exported);
        run(&place, "export", &["--out", &out]).refused(3, &["out.jsonl: cannot be written"]);

        let text = run(&again, "import", &["--kv", &out, "--keyspace", "copy"]).text();
        assert!(text.starts_with("put 2500 entries into keyspace `copy`: 3 batches, "), "{text}");
        run_with_input(&again, "import", &["--kv", "-", "--keyspace", "piped"], &exported).good();
        let hex = |place: &Place, keyspace: &str| {
            run(place, "scan", &["--hex", "--json", "--keyspace", keyspace]).text()
        };
        assert_eq!(hex(&place, "default"), lines);
        assert_eq!(hex(&again, "copy"), lines);
        assert_eq!(hex(&again, "piped"), lines);
        let answer = run(&again, "export", &["--out", &format!("{out}2"), "--json"]).json();
        assert_eq!(answer, json!({"keyspace": "default", "exported": 0}));
        again.check_clean();
    });
}

#[test]
fn csv_and_any_json_are_imported() {
    on_each_backend(|| {
        let place = Place::new();
        let csv = b"key,value\r\na,1\r\n\"b,\"\"x\"\"\",\"two\r\nlines\"\r\n\r\n\xff,\xfe\r\n";
        let file = place.file("in.CSV", csv);
        let answer = run(&place, "import", &["--kv", &file, "--batch", "2", "--json"]).json();
        assert_eq!((&answer["put"], &answer["batches"]), (&json!(3), &json!(2)));
        let text = run(&place, "scan", &[]).text();
        assert_eq!(text, "a\t1\nb,\"x\"\ttwo\\r\\nlines\n\\xff\t\\xfe\n");

        let lines =
            b"{\"key\":\"n\",\"value\": 1.50}\n\n{\"key\":\"o\",\"value\":{\"b\": [1, null]}}";
        let file = place.file("in.jsonl", lines);
        run(&place, "import", &["--kv", &file, "--keyspace", "json"]).good();
        let text = run(&place, "scan", &["--keyspace", "json"]).text();
        assert_eq!(text, "n\t1.50\no\t{\"b\":[1,null]}\n");

        // Batches end at a MiB as well.
        let value = "x".repeat(400 << 10);
        let lines: Vec<_> = (0..7).map(|key| line_of(&key.to_string(), &value)).collect();
        let lines = lines.concat();
        let ran = run_with_input(&place, "import", &["--kv", "-", "--json"], lines.as_bytes());
        assert_eq!(ran.json()["batches"], 3);
    });
}

#[test]
fn an_import_ends_at_a_bad_line_and_says_where() {
    on_each_backend(|| {
        let place = Place::new();
        let mut lines: Vec<String> =
            (0..25).map(|at| format!("{{\"key\":\"{at:02}\",\"value\":{at}}}")).collect();
        lines[17] = "{\"key\":\"17\",\"value\"}".into();
        let file = place.file("bad.jsonl", lines.join("\n").as_bytes());
        run(&place, "import", &["--kv", &file, "--batch", "10"])
            .refused(3, &["ended after 10 entries", "bad.jsonl: line 18: byte 20: expected `:`"]);
        // The batch before stays, and nothing of its own.
        assert_eq!(run(&place, "scan", &["--reverse", "--limit", "1"]).text(), "09\t9\n");
        place.check_clean();

        let long = format!("{{\"key\":\"{}\",\"value\":\"\"}}", "x".repeat(65_536));
        let big = format!("{{\"key\":\"k\",\"value\":\"{}\"}}", "x".repeat((16 << 20) + 1));
        for (name, bytes, words) in [
            ("a.jsonl", "\n\n{\"key_hex\":\"0\",\"value\":1}", "line 3: `key_hex` is not hexadec"),
            ("a.jsonl", "{\"key\":\"\",\"value\":1}", "line 1: the key is empty"),
            ("a.jsonl", "{\"key\":\"k\",\"value\":1} {}", "line 1: byte 23: trailing"),
            ("a.jsonl", "nonsense", "line 1: byte 2: expected ident"),
            ("a.jsonl", &long, "line 1: a key of 65536 bytes: 65535 are possible"),
            ("a.jsonl", &big, "line 1: a value of 16777217 bytes: 16777216 are possible"),
            ("a.csv", "a,1\r\nb,2\r\nc\r\n", "line 3: two fields are needed"),
            ("a.csv", "a,\"1\n2\"\nb,\"2\nc,3\n", "line 3: a quote is not closed"),
        ] {
            let file = place.file(name, bytes.as_bytes());
            run(&place, "import", &["--kv", &file, "--keyspace", "none"])
                .refused(3, &["ended after 0 entries", name, words]);
            run(&place, "scan", &["--keyspace", "none"]).refused(3, &["no keyspace `none`"]);
        }
        run_with_input(&place, "import", &["--kv", "-"], b"[")
            .refused(3, &["stdin: line 1: byte 1: EOF"]);
    });
}

#[test]
fn a_file_that_is_no_file_of_entries_makes_no_database() {
    let place = Place::new();
    let folder = text_of(&place.path("folder"));
    fs::create_dir(&folder).unwrap();
    for (file, word) in [
        (place.file("a.json", b"{}"), "unknown extension"),
        (folder, "unknown extension"),
        (text_of(&place.path("none.csv")), "none.csv: cannot be opened"),
    ] {
        run(&place, "import", &["--kv", &file]).refused(3, &[&file, word]);
    }
    let file = place.file("a.csv", b"a,1\n");
    run(&place, "import", &["--kv", &file, "--metric", "l2"]).refused(2, &["--kv", "--metric"]);
    run(&place, "import", &[]).refused(2, &["--collection", "--metric"]);
    assert!(!fs::exists(&place.db).unwrap());
    for verb in ["scan", "export"] {
        run(&place, verb, &[]).refused(3, &[&place.db, "not found"]);
    }
    run(&place, "import", &["--kv", &file, "--keyspace", "no/name"]).refused(3, &["no/name"]);
}

#[test]
fn a_scan_ends_quietly_when_its_reader_has_gone() {
    on_each_backend(|| {
        let place = Place::new();
        let value = "x".repeat(1000);
        let lines: Vec<_> = (0..1000).map(|key| line_of(&key.to_string(), &value)).collect();
        let lines = lines.concat();
        run_with_input(&place, "import", &["--kv", "-"], lines.as_bytes()).good();
        for verb in ["scan", "export"] {
            let mut child = command(&[verb, "--db", &place.db]).spawn().unwrap();
            drop(child.stdout.take());
            finished(child.wait_with_output().unwrap()).good();
        }
    });
}
