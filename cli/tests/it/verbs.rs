//! Every verb at its work, through the built binary.

use std::fs;

use serde_json::{Value, json};

use crate::program::{
    DIMS, Place, command, components, fbin, finished, gannet, imported, ivecs, nearest,
    on_each_backend, small_base, text_of, u8bin, vecs,
};

/// A place with rows, a file that asks for the first of them, and where what is found may go.
fn asked() -> (Place, String, String) {
    let place = imported();
    let queries = place.file("queries.u8bin", &u8bin(16, &small_base()[..DIMS]));
    let out = text_of(&place.path("found.ivecs"));
    (place, queries, out)
}

/// Arguments of a search of collection `c`.
fn search<'a>(place: &'a Place, queries: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = ["search", "--db", &place.db, "--collection", "c", "--queries", queries];
    [&args, more].concat()
}

#[test]
fn import_reports_what_it_did() {
    on_each_backend(|| {
        let place = Place::new();
        let file = place.file("base.u8bin", &u8bin(16, &small_base()));
        let answer = place.import(&file, "l2", &["--batch", "90", "--threads", "2"]);
        for (field, expect) in [
            ("rows", json!(300)),
            ("imported", json!(300)),
            ("dims", json!(16)),
            ("batches", json!(4)),
        ] {
            assert_eq!(answer[field], expect, "{field}");
        }
        let number = |field: &str| answer[field].as_f64().unwrap();
        assert!(answer["backend"].is_string() && number("rows_per_s") > 0.0);
        assert!(number("seconds") > 0.0 && number("indexed_seconds") >= number("seconds"));
        assert!(number("bytes_on_disk") >= 300.0 * 16.0 * 4.0);
        place.check_intact(300);
    });
}

#[test]
fn a_second_import_goes_on_after_the_rows_that_are_there() {
    on_each_backend(|| {
        let place = Place::new();
        let base = small_base();
        let part = place.file("part.u8bin", &u8bin(16, &base[..130 * DIMS]));
        let whole = place.file("whole.u8bin", &u8bin(16, &base));
        let batches = |answer: &Value| {
            (answer["imported"].as_u64().unwrap(), answer["batches"].as_u64().unwrap())
        };
        assert_eq!(batches(&place.import(&part, "l2", &["--batch", "50"])), (130, 3));
        assert_eq!(batches(&place.import(&whole, "l2", &["--batch", "50"])), (170, 4));
        assert_eq!(batches(&place.import(&whole, "l2", &[])), (0, 0));
        assert_eq!(batches(&place.import(&part, "l2", &[])), (0, 0));
        place.check_intact(300);
        let row = gannet(&["get", "--db", &place.db, "--collection", "c", "299", "--json"]).json();
        assert_eq!(
            row,
            json!(base[299 * DIMS..].iter().map(|&b| f32::from(b)).collect::<Vec<_>>())
        );
        let args = ["import", "--db", &place.db, "--collection", "c", &whole, "--metric", "l2"];
        let text = gannet(&args).text();
        assert_eq!(text, "nothing to import: collection `c` has 300 rows already\n");
    });
}

#[test]
fn a_row_that_was_deleted_is_not_imported_again() {
    on_each_backend(|| {
        let place = imported();
        gannet(&["delete", "--db", &place.db, "--collection", "c", "7"]).good();
        let whole = text_of(&place.path("base.u8bin"));
        assert_eq!(place.import(&whole, "l2", &[])["imported"], 0);
        place.check_intact(299);
        gannet(&["get", "--db", &place.db, "--collection", "c", "7"])
            .refused(1, &["id 7 is not in collection `c`"]);
    });
}

#[test]
fn each_commit_is_acknowledged_on_a_line_of_its_own() {
    on_each_backend(|| {
        let place = Place::new();
        let file = place.file("base.u8bin", &u8bin(16, &small_base()));
        let args = ["import", "--db", &place.db, "--collection", "c", &file, "--metric", "l2"];
        let text =
            gannet(&[&args, &["--batch", "120", "--print-acks", "--json"][..]].concat()).text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        let mut last_lsn = 0;
        for (line, rows) in lines.iter().zip(["120", "240", "300"]) {
            let words: Vec<&str> = line.split(' ').collect();
            let [word, found, lsn] = words[..] else { panic!("{line}") };
            assert_eq!((word, found), ("acked", rows));
            let lsn: u64 = lsn.parse().unwrap();
            assert!(lsn > last_lsn, "{line}");
            last_lsn = lsn;
        }
        assert_eq!(place.stats()["collections"]["c"]["rows"], 300);
    });
}

#[test]
fn every_format_imports_the_same_rows() {
    on_each_backend(|| {
        let base = components(2, 40 * 8);
        let floats: Vec<u8> = base.iter().flat_map(|&b| f32::from(b).to_le_bytes()).collect();
        let ints: Vec<u8> = base.iter().flat_map(|&b| i32::from(b).to_le_bytes()).collect();
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (40, 8), }\n";
        let len = u16::try_from(text.len()).unwrap().to_le_bytes();
        let npy = [b"\x93NUMPY\x01\x00", &len[..], text.as_bytes(), &floats].concat();
        let head = [40_u32.to_le_bytes(), 8_u32.to_le_bytes()].concat();
        let files = [
            ("a.npy", npy),
            ("a.fvecs", vecs(8, 4, &floats)),
            ("a.bvecs", vecs(8, 1, &base)),
            ("a.ivecs", vecs(8, 4, &ints)),
            ("a.fbin", [head, floats].concat()),
            ("a.u8bin", u8bin(8, &base)),
        ];
        let expect = json!(base[17 * 8..18 * 8].iter().map(|&b| f32::from(b)).collect::<Vec<_>>());
        for (name, bytes) in files {
            let place = Place::new();
            let file = place.file(name, &bytes);
            assert_eq!(place.import(&file, "dot", &[])["rows"], 40, "{name}");
            let row =
                gannet(&["get", "--db", &place.db, "--collection", "c", "17", "--json"]).json();
            assert_eq!(row, expect, "{name}");
        }
    });
}

#[test]
fn search_finds_the_nearest_and_measures() {
    on_each_backend(|| {
        let place = imported();
        let queries = components(3, 20 * DIMS);
        let file = place.file("queries.u8bin", &u8bin(16, &queries));
        let lists = nearest(&small_base(), &queries, DIMS, 12);
        let truth = place.file("truth.ivecs", &ivecs(&lists));
        let out = text_of(&place.path("found.ivecs"));
        let args =
            search(&place, &file, &["--truth", &truth, "--ef", "5,300", "--out", &out, "--json"]);
        let answer = gannet(&args).json();
        assert_eq!((&answer["queries"], &answer["k"]), (&json!(20), &json!(10)));
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results.len(), 2);
        assert_eq!((&results[0]["ef"], &results[1]["ef"]), (&json!(5), &json!(300)));
        for field in ["qps", "mean_us", "p50_us", "p99_us", "visited", "distances"] {
            assert!(results[1][field].as_f64().unwrap() > 0.0, "{field}");
        }
        assert_eq!(results[1]["recall"], 1.0, "a beam over all rows finds all");
        let tens: Vec<Vec<usize>> = lists.iter().map(|list| list[..10].to_vec()).collect();
        assert_eq!(fs::read(&out).unwrap(), ivecs(&tens));

        let text = gannet(&search(&place, &file, &["--ef", "16"])).text();
        let words: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!((words.len(), words[0], words[1]), (6, "16", "-"), "{text}");
        let answer = gannet(&search(&place, &file, &["--ef", "16", "--json"])).json();
        assert_eq!(answer["results"][0]["recall"], Value::Null, "no truth, no recall");
        assert_eq!(answer["results"][0]["target"], Value::Null);

        // A graph this small was not measured: every row is looked at.
        let answer = gannet(&search(&place, &file, &["--recall", "0.5,0.9", "--json"])).json();
        let results = answer["results"].as_array().unwrap();
        let told: Vec<_> =
            results.iter().map(|r| (&r["target"], &r["ef"], &r["is_exact"])).collect();
        let (targets, beam, is_exact) = ([json!(0.5), json!(0.9)], json!(0), json!(true));
        assert_eq!(told, [0, 1].map(|at| (&targets[at], &beam, &is_exact)));
        let text = gannet(&search(&place, &file, &["--recall", "0.5"])).text();
        assert!(text.lines().last().unwrap().trim_start().starts_with("exact "), "{text}");
    });
}

#[test]
fn recall_counts_another_row_at_the_same_distance() {
    on_each_backend(|| {
        let place = Place::new();
        // Rows 0 to 3 are the same point; the truth names two of them, any two will do.
        let base = [[5, 5], [5, 5], [5, 5], [5, 5], [90, 90]].concat();
        let file = place.file("base.u8bin", &u8bin(2, &base));
        place.import(&file, "l2", &[]);
        let queries = place.file("queries.u8bin", &u8bin(2, &[5, 6]));
        for (list, recall) in [(vec![2, 3], 1.0), (vec![3, 1], 1.0)] {
            let truth = place.file("truth.ivecs", &ivecs(&[list]));
            let args =
                search(&place, &queries, &["--truth", &truth, "--k", "2", "--ef", "9", "--json"]);
            assert_eq!(gannet(&args).json()["results"][0]["recall"], recall);
        }
    });
}

#[test]
fn more_neighbours_than_rows_gives_all_rows() {
    on_each_backend(|| {
        let place = imported();
        let queries = components(4, 2 * DIMS);
        let file = place.file("queries.u8bin", &u8bin(16, &queries));
        let out = text_of(&place.path("found.ivecs"));
        let lists = nearest(&small_base(), &queries, DIMS, 300);
        let truth = place.file("truth.ivecs", &ivecs(&lists));
        for k in ["301", "4294967295"] {
            let more = ["--truth", &truth, "--k", k, "--ef", "1", "--out", &out, "--json"];
            let answer = gannet(&search(&place, &file, &more)).json();
            assert_eq!(answer["results"][0]["recall"], 1.0);
            assert_eq!(fs::read(&out).unwrap(), ivecs(&lists), "all rows, nearest first");
        }
    });
}

#[test]
fn a_beam_narrower_than_k_still_gives_k() {
    on_each_backend(|| {
        let place = imported();
        let queries = place.file("queries.u8bin", &u8bin(16, &components(5, 3 * DIMS)));
        let out = place.path("found.ivecs");
        let more = ["--k", "50", "--ef", "1", "--out", &text_of(&out), "--json"];
        gannet(&search(&place, &queries, &more)).json();
        assert_eq!(fs::metadata(&out).unwrap().len(), 3 * 51 * 4);
    });
}

#[test]
fn many_threads_find_what_one_finds() {
    on_each_backend(|| {
        let place = imported();
        let queries = place.file("queries.u8bin", &u8bin(16, &components(6, 23 * DIMS)));
        let found = |threads: &str| {
            let out = place.path("found.ivecs");
            let more = ["--threads", threads, "--out", &text_of(&out), "--json"];
            let answer = gannet(&search(&place, &queries, &more)).json();
            assert_eq!(answer["queries"], 23);
            fs::read(out).unwrap()
        };
        let one = found("1");
        for threads in ["2", "5", "40"] {
            assert_eq!(found(threads), one, "{threads} threads");
        }
    });
}

#[test]
fn values_come_back_as_they_were_put() {
    on_each_backend(|| {
        let place = Place::new();
        let db = place.db.as_str();
        assert_eq!(gannet(&["put", "--db", db, "key", "a value"]).text(), "");
        assert_eq!(gannet(&["put", "--db", db, "--", "-k", "-v"]).text(), "");
        assert_eq!(gannet(&["get", "--db", db, "key"]).text(), "a value");
        assert_eq!(gannet(&["get", "--db", db, "--", "-k"]).text(), "-v");
        let answer = gannet(&["get", "--db", db, "key", "--json"]).json();
        assert_eq!(answer["value"], "a value");
        let first =
            gannet(&["put", "--db", db, "key", "", "--json"]).json()["lsn"].as_u64().unwrap();
        assert_eq!(gannet(&["get", "--db", db, "key"]).text(), "", "an empty value is a value");
        let second =
            gannet(&["delete", "--db", db, "key", "--json"]).json()["lsn"].as_u64().unwrap();
        assert!(second > first);
        for verb in ["get", "delete"] {
            gannet(&[verb, "--db", db, "key"]).refused(1, &["key key is not there"]);
            gannet(&[verb, "--db", db, "key", "--json"]).refused(1, &["key key is not there"]);
        }
        assert_eq!(gannet(&["get", "--db", db, "--", "-k"]).text(), "-v");
    });
}

#[cfg(unix)]
#[test]
fn keys_and_values_may_be_any_bytes() {
    on_each_backend(|| {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let place = Place::new();
        let (key, value) = (OsStr::from_bytes(b"\xff\n\x01"), OsStr::from_bytes(b"\x80\xfe"));
        let mut put = command(&["put", "--db", &place.db]);
        finished(put.args([key, value]).output().unwrap()).good();
        let get = |more: &[&str]| {
            finished(command(&["get", "--db", &place.db]).arg(key).args(more).output().unwrap())
        };
        assert_eq!(get(&[]).good().stdout, b"\x80\xfe");
        assert_eq!(get(&["--json"]).json()["value_hex"], "80fe");
        let mut delete = command(&["delete", "--db", &place.db]);
        finished(delete.arg(key).output().unwrap()).good();
        get(&[]).refused(1, &["\\n"]);
    });
}

#[test]
fn vectors_come_back_by_their_row_number() {
    on_each_backend(|| {
        let place = Place::new();
        let file = place.file("base.fbin", &fbin(2, &[1.0, 2.5, -0.1, 1e-20]));
        place.import(&file, "l2", &[]);
        let get = |id: &str, more: &[&str]| {
            gannet(&[&["get", "--db", &place.db, "--collection", "c", id], more].concat())
        };
        assert_eq!(get("0", &[]).text(), "1 2.5\n");
        let row: Vec<f32> = serde_json::from_value(get("1", &["--json"]).json()).unwrap();
        assert_eq!(
            row.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            [-0.1_f32, 1e-20].map(f32::to_bits)
        );
        get("2", &[]).refused(1, &["id 2 is not in collection `c`"]);
        get("01", &[]).refused(1, &["id 01 is not in collection `c`"]);
    });
}

#[test]
fn search_finds_the_rows_of_a_file_of_ids_alone() {
    on_each_backend(|| {
        let (place, queries, out) = asked();
        // Row 0 is the query; 999 and `seven` are not there.
        for (ids, found) in [
            ("0\n5\n7\n", vec![0, 5, 7]),
            ("5\r\n7\r\n999", vec![5, 7]),
            ("seven\n7", vec![7]),
            ("007\n", vec![]),
            ("", vec![]),
        ] {
            let file = place.file("ids.txt", ids.as_bytes());
            for more in [&["--ef", "16"][..], &["--exact"], &["--recall", "0.9"]] {
                let args = [&["--ids", &file, "--out", &out, "--json"], more].concat();
                let answer = gannet(&search(&place, &queries, &args)).json();
                let result = &answer["results"][0];
                assert_eq!(result["passing"], found.len(), "{ids:?}");
                assert_eq!(result["plan"], "exact", "few rows are looked at");
                let recall = if found.is_empty() { Value::Null } else { json!(1.0) };
                assert_eq!(result["recall"], recall, "{ids:?}");
                let written = fs::read(&out).unwrap();
                let mut ids: Vec<u32> =
                    written.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id)).collect();
                assert_eq!(ids.remove(0) as usize, found.len());
                ids.sort_unstable();
                assert_eq!(ids, found);
            }
        }
        let half: Vec<String> = (0..300).step_by(2).map(|id| id.to_string()).collect();
        let file = place.file("half.txt", half.join("\n").as_bytes());
        let answer = gannet(&search(&place, &queries, &["--ids", &file, "--json"])).json();
        assert_eq!(answer["results"][2]["passing"], 150);
        assert_eq!(answer["results"][2]["recall"], 1.0, "a beam of 64 over 150 rows");
        let text = gannet(&search(&place, &queries, &["--ids", &file])).text();
        assert!(text.lines().next().unwrap().ends_with(" ms, 150 rows searched"), "{text}");
    });
}

#[test]
fn a_deleted_row_is_not_found_again() {
    on_each_backend(|| {
        let (place, queries, out) = asked();
        let more = ["--k", "1", "--ef", "64", "--out", &out];
        gannet(&search(&place, &queries, &more)).good();
        assert_eq!(fs::read(&out).unwrap(), ivecs(&[vec![0]]));
        gannet(&["delete", "--db", &place.db, "--collection", "c", "0"]).good();
        gannet(&search(&place, &queries, &more)).good();
        assert_ne!(fs::read(&out).unwrap(), ivecs(&[vec![0]]));
        gannet(&["delete", "--db", &place.db, "--collection", "c", "0"])
            .refused(1, &["id 0 is not in collection `c`"]);
        place.check_intact(299);
        let truth = place.file("truth.ivecs", &ivecs(&[vec![0]]));
        gannet(&search(&place, &queries, &["--k", "1", "--truth", &truth]))
            .refused(3, &["query 0 names row 0", "deleted"]);
    });
}

#[test]
fn stats_tell_what_is_there() {
    on_each_backend(|| {
        let place = imported();
        gannet(&["put", "--db", &place.db, "a", "1"]).good();
        let stats = place.stats();
        let collection = &stats["collections"]["c"];
        let expect = [
            ("rows", json!(300)),
            ("dims", json!(16)),
            ("metric", json!("l2")),
            ("in_graph", json!(300)),
        ];
        for (field, expect) in expect {
            assert_eq!(collection[field], expect, "{field}");
        }
        assert!(collection["bytes"].as_u64().unwrap() >= 300 * 16 * 4);
        assert_eq!(stats["keyspaces"]["default"]["keys"], 1);
        let counted = gannet(&["stats", "--db", &place.db, "--count", "--json"]).json();
        assert_eq!(counted["keyspaces"], stats["keyspaces"]);
        for field in ["last_lsn", "checkpoint_lsn", "log_bytes", "file_bytes"] {
            assert!(stats[field].as_u64().unwrap() > 0, "{field}");
        }
        assert_eq!(stats["recovery"]["torn_bytes"], 0);
        assert!(stats["opening"]["ready_seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(stats["commits"]["sync_nanos"]["count"], 0);
        assert_eq!(stats["checkpoints"]["pause_nanos"]["count"], 0);
        assert_eq!(
            stats["recovery"]["records"], 2,
            "the keyspace and its key, after the checkpoint"
        );
        let files = stats["files"].as_object().unwrap();
        let sum: u64 = files.values().map(|bytes| bytes.as_u64().unwrap()).sum();
        assert_eq!(stats["file_bytes"], sum);
        let text = gannet(&["stats", "--db", &place.db]).text();
        assert!(text.contains("c: 300 rows of 16 dimensions, l2, m 16"), "{text}");
    });
}

#[test]
fn a_checkpoint_makes_the_log_short() {
    on_each_backend(|| {
        let place = imported();
        gannet(&["put", "--db", &place.db, "a", "1"]).good();
        let before = place.stats();
        let answer = gannet(&["checkpoint", "--db", &place.db, "--json"]).json();
        assert!(answer["lsn"].as_u64() >= before["last_lsn"].as_u64());
        let after = place.stats();
        assert_eq!(after["recovery"]["records"], 0);
        assert_eq!(after["collections"], before["collections"]);
        assert!(
            gannet(&["checkpoint", "--db", &place.db]).text().starts_with("checkpoint at LSN ")
        );
        place.check_intact(300);
    });
}

#[test]
fn verify_names_each_fault() {
    on_each_backend(|| {
        let place = imported();
        assert!(gannet(&["verify", "--db", &place.db]).text().ends_with(" no faults\n"));
        // The largest file holds the vectors; somewhere in its middle is a byte with a checksum.
        let largest = fs::read_dir(&place.db)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !["log", "reserve"].iter().any(|name| text_of(path).contains(name)))
            .max_by_key(|path| fs::metadata(path).unwrap().len())
            .unwrap();
        let mut bytes = fs::read(&largest).unwrap();
        let nonzero = bytes.iter().rposition(|&byte| byte != 0).unwrap();
        bytes[nonzero / 2] ^= 1;
        fs::write(&largest, bytes).unwrap();
        let name = largest.file_name().unwrap().to_str().unwrap();
        for json in [false, true] {
            let args = ["verify", "--db", &place.db, "--json"];
            let ran = gannet(if json { &args } else { &args[..3] });
            let text = String::from_utf8(ran.stdout).unwrap();
            assert_eq!(ran.code, 1, "{text}");
            assert!(text.contains(name), "{text}");
            assert!(ran.stderr.starts_with("gannet: ") && ran.stderr.lines().count() == 1);
        }
    });
}

#[test]
fn a_reader_that_has_gone_stops_no_work() {
    on_each_backend(|| {
        let place = Place::new();
        let file = place.file("base.u8bin", &u8bin(16, &small_base()));
        let args = ["import", "--db", &place.db, "--collection", "c", &file, "--metric", "l2"];
        for args in [
            [&args, &["--batch", "10", "--print-acks"][..]].concat(),
            vec!["stats", "--db", &place.db],
        ] {
            let mut child = command(&args).spawn().unwrap();
            drop(child.stdout.take());
            finished(child.wait_with_output().unwrap()).good();
        }
        place.check_intact(300);
    });
}

#[test]
fn the_help_is_printed_where_it_is_asked_for() {
    assert!(gannet(&["--help"]).text().contains("Exit codes:"));
    assert!(gannet(&["import", "--help"]).text().contains("--print-acks"));
    assert!(gannet(&["--version"]).text().starts_with("gannet "));
}

#[test]
fn many_processes_that_write_a_key_each_leave_a_short_log() {
    on_each_backend(|| {
        let place = Place::new();
        for key in 0..10 {
            gannet(&["put", "--db", &place.db, &format!("key-{key}"), "value"]).good();
        }
        gannet(&["delete", "--db", &place.db, "key-3"]).good();
        let log_bytes: u64 = fs::read_dir(&place.db)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("log-"))
            .map(|entry| entry.metadata().unwrap().len())
            .sum();
        assert!(log_bytes <= 11 * (64 << 10), "{log_bytes}");
        assert_eq!(gannet(&["get", "--db", &place.db, "key-9"]).good().text().trim_end(), "value");
        gannet(&["get", "--db", &place.db, "key-3"]).refused(1, &["key-3"]);
        gannet(&["verify", "--db", &place.db]).good();
    });
}

#[test]
fn a_file_whose_first_rows_are_refused_leaves_no_collection() {
    on_each_backend(|| {
        let place = Place::new();
        let mut rows = vec![1.0_f32; 64];
        rows[8..16].fill(0.0);
        let file = place.file("zero.fbin", &fbin(8, &rows));
        let import = |metric: &str| {
            gannet(&["import", "--db", &place.db, "--collection", "c", &file, "--metric", metric])
        };
        import("cosine").refused(3, &["row 1", "zero"]);
        import("l2").good();
        assert_eq!(place.stats()["collections"]["c"]["rows"], json!(8));
        import("dot").refused(3, &["exists"]);
    });
}

#[test]
fn a_standard_error_that_takes_nothing_changes_no_exit_code() {
    on_each_backend(|| {
        let place = Place::new();
        gannet(&["put", "--db", &place.db, "k", "v"]).good();
        let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else {
            return eprintln!("skipped: no /dev/full here");
        };
        for (args, code) in [(&["get", "--db", &place.db, "nope"][..], 1), (&["frob"], 2)] {
            let status = command(args).stderr(full.try_clone().unwrap()).status().unwrap();
            assert_eq!(status.code(), Some(code), "{args:?}");
        }
    });
}

#[test]
fn optimize_makes_a_graph_anew_and_says_what_it_did() {
    on_each_backend(|| {
        let place = imported();
        let args = ["optimize", "--db", &place.db, "--collection", "c"];
        let answer = gannet(&[&args[..], &["--json"]].concat()).json();
        assert_eq!((&answer["rows"], &answer["recall_after"]), (&json!(300), &Value::Null));
        assert!(answer["seconds"].as_f64().unwrap() >= 0.0 && answer["lsn"].as_u64().unwrap() > 0);
        let text = gannet(&args).text();
        assert!(text.contains("300 rows linked anew"), "{text}");
        let unknown = ["optimize", "--db", &place.db, "--collection", "other"];
        gannet(&unknown).refused(3, &["other"]);
    });
}

#[test]
fn stats_tell_memory_line_by_line() {
    on_each_backend(|| {
        let place = imported();
        let answer = gannet(&["stats", "--db", &place.db, "--json"]).json();
        let collection = &answer["collections"]["c"];
        let lines = collection["memory"].as_object().unwrap();
        let sum = |part: &str| lines.values().map(|line| line[part].as_u64().unwrap()).sum::<u64>();
        assert_eq!(sum("heap") + sum("mapped"), collection["bytes"].as_u64().unwrap());
        assert_eq!(lines["ids"]["heap"], 0, "ids are row numbers");
        assert!(lines["links"]["heap"].as_u64().unwrap() > 0);
        let text = gannet(&["stats", "--db", &place.db]).text();
        assert!(text.contains("vectors: ") && text.contains("searching"), "{text}");
    });
}
