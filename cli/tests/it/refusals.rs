//! Bad input of every kind: one clear line on stderr, nothing on stdout, and nothing lost.

use std::fs;

use gannet::storage::DirOptions;
use gannet::{AnyStorage, Backend};

use crate::program::{
    Place, Tmpfs, components, fbin, gannet, ivecs, on_each_backend, text_of, u8bin,
};

/// A place whose database has 40 rows of 4 dimensions in collection `c`, and the key `k`.
fn prepared() -> Place {
    let place = Place::new();
    let file = place.file("base.u8bin", &u8bin(4, &components(1, 160)));
    place.import(&file, "l2", &["--batch", "10"]);
    gannet(&["put", "--db", &place.db, "k", "v"]).good();
    place
}

/// All that [`prepared`] put there is there.
#[track_caller]
fn check_nothing_lost(place: &Place) {
    place.check_intact(40);
    assert_eq!(gannet(&["get", "--db", &place.db, "k"]).text(), "v");
}

/// Imports `file` into `collection` with these options, and is refused.
#[track_caller]
fn check_import(place: &Place, collection: &str, file: &str, more: &[&str], words: &[&str]) {
    let args = ["import", "--db", &place.db, "--collection", collection, file];
    gannet(&[&args, more].concat()).refused(3, words);
}

#[test]
fn an_import_that_does_not_fit_its_collection_is_refused() {
    on_each_backend(|| {
        let place = prepared();
        let base = text_of(&place.path("base.u8bin"));
        let wide = place.file("wide.u8bin", &u8bin(5, &components(2, 50)));
        let exists = "collection `c` exists with";
        let check = |file: &str, more: &[&str], words: &[&str]| {
            check_import(&place, "c", file, more, &[words, &[exists]].concat());
        };
        check(&wide, &["--metric", "l2"], &["4 dimensions", "5 dimensions"]);
        check(&base, &["--metric", "cosine"], &["l2", "cosine"]);
        check(&base, &["--metric", "l2", "--m", "8"], &["m 16", "m 8"]);
        check(&base, &["--metric", "l2", "--ef-construction", "9"], &["ef_construction 9"]);
        check_nothing_lost(&place);
    });
}

#[test]
fn parameters_out_of_range_are_refused() {
    on_each_backend(|| {
        let place = prepared();
        let base = text_of(&place.path("base.u8bin"));
        for (option, value) in [("--m", "1"), ("--m", "129"), ("--ef-construction", "0")] {
            check_import(
                &place,
                "d",
                &base,
                &["--metric", "l2", option, value],
                &[value, "expected"],
            );
        }
        check_nothing_lost(&place);
    });
}

#[test]
fn rows_that_are_no_vectors_are_named_and_the_batches_before_stay() {
    on_each_backend(|| {
        let bad = [
            ("nan", "l2", f32::NAN, "component 0"),
            ("inf", "dot", f32::INFINITY, "component 0"),
            ("minus-inf", "cosine", f32::NEG_INFINITY, "component 0"),
            ("zero", "cosine", 0.0, "zero"),
        ];
        for (name, metric, value, word) in bad {
            let place = prepared();
            let mut values: Vec<f32> = components(3, 80).into_iter().map(f32::from).collect();
            values[25 * 2..26 * 2].fill(value);
            let file = place.file("bad.fbin", &fbin(2, &values));
            let more = ["--metric", metric, "--batch", "10"];
            check_import(&place, name, &file, &more, &["bad.fbin: row 25 ", word]);
            assert_eq!(place.stats()["collections"][name]["rows"], 20, "{name}");
            check_nothing_lost(&place);
            let good = place.file("bad.fbin", &fbin(2, &[1.0; 80]));
            let args =
                ["import", "--db", &place.db, "--collection", name, &good, "--metric", metric];
            gannet(&args).good();
            assert_eq!(
                place.stats()["collections"][name]["rows"],
                40,
                "the rest goes in after them"
            );
        }
    });
}

#[test]
fn files_that_are_no_vector_files_are_refused_and_make_no_database() {
    on_each_backend(|| {
        let place = Place::new();
        let folder = text_of(&place.path("folder.npy"));
        fs::create_dir(&folder).unwrap();
        let whole = u8bin(4, &components(4, 40));
        let files = [
            (place.file("cut.u8bin", &whole[..47]), "header promises 10 rows of 4 dimensions"),
            (
                place.file("lie.fbin", &[255, 255, 255, 255, 4, 0, 0, 0]),
                "header promises 4294967295",
            ),
            (place.file("vectors.csv", b"1,2,3"), "unknown extension"),
            (place.file("empty.fvecs", b""), "holds no rows"),
            (place.file("none.u8bin", &u8bin(4, b"")), "holds no rows"),
            (place.file("text.npy", b"not a numpy file"), "not a .npy header"),
            (folder, "not a regular file"),
            (text_of(&place.path("missing.npy")), "cannot open"),
        ];
        for (file, word) in &files {
            check_import(&place, "c", file, &["--metric", "l2"], &[file, word]);
            assert!(!place.path("db").exists(), "{file}");
        }
        let place = prepared();
        for (file, word) in &files {
            if file.contains("missing") {
                continue;
            }
            let args = ["search", "--db", &place.db, "--collection", "c", "--queries", file];
            gannet(&args).refused(3, &[file, word]);
        }
        check_nothing_lost(&place);
    });
}

#[test]
fn queries_that_do_not_fit_are_refused() {
    on_each_backend(|| {
        let place = prepared();
        let check = |more: &[&str], code: i32, words: &[&str]| {
            let args = ["search", "--db", &place.db, "--collection", "c", "--queries"];
            gannet(&[&args, more].concat()).refused(code, words);
        };
        let good = place.file("good.u8bin", &u8bin(4, &components(5, 8)));
        let wide = place.file("wide.u8bin", &u8bin(5, &components(5, 10)));
        let nan = place.file("nan.fbin", &fbin(4, &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, f32::NAN, 1.0]));
        check(&[&wide], 3, &["the queries have 5 dimensions, collection `c` has 4"]);
        check(&[&nan], 3, &["nan.fbin: query 1 ", "component 2"]);
        for option in ["--k", "--ef", "--threads"] {
            check(&[&good, option, "0"], 2, &["invalid value '0'", option]);
        }
        for target in ["0", "1", "nan", "2"] {
            check(&[&good, "--recall", target], 2, &["above 0 and below 1", "--recall"]);
        }
        check(&[&good, "--recall", "0.5", "--ef", "9"], 2, &["--recall", "--ef"]);
        check(&[&good, "--recall", "0.5", "--exact"], 2, &["--recall", "--exact"]);
        let few = place.file("few.ivecs", &ivecs(&[vec![0; 10]]));
        check(&[&good, "--truth", &few], 3, &["1 lists for 2 queries"]);
        let short = place.file("short.ivecs", &ivecs(&[vec![0; 10], vec![0; 9]]));
        check(&[&good, "--truth", &short], 3, &["query 1 has 9 true neighbours, 10 are needed"]);
        let other = place.file("other.ivecs", &ivecs(&[vec![0; 10], vec![40; 10]]));
        check(&[&good, "--truth", &other], 3, &["query 1 names row 40", "`c` does not have"]);
        check(&[&good, "--truth", &good], 3, &["neighbour lists are read from .ivecs"]);
        let long = format!("1\n{}\n", "x".repeat(1025));
        for (name, ids, word) in
            [("gap.txt", "1\n\n2\n", "line 2 has 0 bytes"), ("long.txt", &long, "line 2 has 1025")]
        {
            let ids = place.file(name, ids.as_bytes());
            check(&[&good, "--ids", &ids], 3, &[name, word, "an id has 1 to "]);
        }
        let none = text_of(&place.path("none.txt"));
        check(&[&good, "--ids", &none], 3, &["none.txt: cannot be read"]);
        check(&[&good, "--ids", &none, "--truth", &few], 2, &["--ids", "--truth"]);
        let out = text_of(&place.path("no/such/place.ivecs"));
        check(&[&good, "--out", &out], 3, &["place.ivecs: cannot write the file"]);

        let file = place.file("unit.u8bin", &u8bin(2, &components(6, 20)));
        gannet(&["import", "--db", &place.db, "--collection", "u", &file, "--metric", "cosine"])
            .good();
        let zero = place.file("zero.u8bin", &u8bin(2, &[0, 0]));
        gannet(&["search", "--db", &place.db, "--collection", "u", "--queries", &zero])
            .refused(3, &["query 0 ", "zero"]);
        check_nothing_lost(&place);
    });
}

#[test]
fn unknown_collections_are_refused() {
    on_each_backend(|| {
        let place = prepared();
        let queries = place.file("q.u8bin", &u8bin(4, &[1, 2, 3, 4]));
        for args in [
            &["search", "--db", &place.db, "--collection", "none", "--queries", &queries][..],
            &["get", "--db", &place.db, "--collection", "none", "1"],
            &["delete", "--db", &place.db, "--collection", "none", "1"],
        ] {
            gannet(args).refused(3, &["there is no collection `none`"]);
        }
        check_nothing_lost(&place);
    });
}

#[test]
fn names_keys_and_values_out_of_bounds_are_refused() {
    on_each_backend(|| {
        let place = prepared();
        let base = text_of(&place.path("base.u8bin"));
        let long = "x".repeat(256);
        for name in [&long, "..", "../c", "a/b", "", ".hidden", "a\nb"] {
            check_import(&place, name, &base, &["--metric", "l2"], &["name"]);
        }
        check_import(
            &place,
            &"x".repeat(255),
            &base,
            &["--metric", "l2", "--m", "1"],
            &["expected"],
        );
        let put = |key: &str| gannet(&["put", "--db", &place.db, key, "v"]);
        put(&"x".repeat(65_536)).refused(3, &["65536", "65535"]);
        put("").refused(3, &["empty"]);
        put(&"x".repeat(65_535)).good();
        check_nothing_lost(&place);
    });
}

#[test]
fn a_wrong_command_line_is_one_line_too() {
    for args in [
        &["fly"][..],
        &[],
        &["stats"],
        &["put", "--db", "d", "k"],
        &["import", "--db", "d", "--collection", "c", "f.npy", "--metric", "l2", "--batch", "0"],
        &["import", "--db", "d", "--collection", "c", "f.npy", "--metric", "taxi"],
    ] {
        gannet(args).refused(2, &["try gannet --help"]);
    }
}

#[test]
fn verbs_that_read_refuse_a_path_where_nothing_is_and_create_nothing() {
    on_each_backend(|| {
        let place = Place::new();
        let queries = place.file("q.u8bin", &u8bin(4, &[1, 2, 3, 4]));
        for args in [
            &["get", "--db", &place.db, "k"][..],
            &["get", "--db", &place.db, "--collection", "c", "1"],
            &["delete", "--db", &place.db, "k"],
            &["search", "--db", &place.db, "--collection", "c", "--queries", &queries],
            &["stats", "--db", &place.db],
            &["checkpoint", "--db", &place.db],
            &["verify", "--db", &place.db],
        ] {
            gannet(args).refused(3, &[&place.db, "not found"]);
            assert!(!place.path("db").exists(), "{args:?} made something");
        }
    });
}

#[test]
fn a_directory_that_is_not_ours_is_refused_and_left_alone() {
    on_each_backend(|| {
        let place = Place::new();
        fs::create_dir(&place.db).unwrap();
        let theirs = place.path("db").join("thesis.txt");
        fs::write(&theirs, "years of work").unwrap();
        let base = place.file("base.u8bin", &u8bin(4, &components(1, 40)));
        for args in [
            &["put", "--db", &place.db, "k", "v"][..],
            &["import", "--db", &place.db, "--collection", "c", &base, "--metric", "l2"],
            &["get", "--db", &place.db, "k"],
            &["stats", "--db", &place.db],
            &["checkpoint", "--db", &place.db],
            &["verify", "--db", &place.db],
        ] {
            gannet(args).refused(3, &[&place.db]);
            assert_eq!(fs::read_dir(&place.db).unwrap().count(), 1, "{args:?}");
        }
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "years of work");
        let file = text_of(&theirs);
        gannet(&["put", "--db", &file, "k", "v"]).refused(3, &[&file]);
        gannet(&["stats", "--db", &file]).refused(3, &[&file]);
    });
}

#[test]
fn a_directory_of_a_newer_format_is_refused_and_left_alone() {
    on_each_backend(|| {
        let place = prepared();
        let root = place.path("db").join("root");
        let old = fs::read(&root).unwrap();
        let mut new = old.clone();
        // Both slots of the root: magic, checksum, then the version and what follows to byte 512.
        for slot in new.chunks_exact_mut(4096) {
            slot[12..16].copy_from_slice(&2_u32.to_le_bytes());
            let mut crc = flate2::Crc::new();
            crc.update(&slot[12..512]);
            slot[8..12].copy_from_slice(&crc.sum().to_le_bytes());
        }
        fs::write(&root, &new).unwrap();
        for args in [&["put", "--db", &place.db, "k", "w"][..], &["stats", "--db", &place.db]] {
            gannet(args).refused(3, &[&place.db, "format version 2, newer than 1"]);
        }
        let ran = gannet(&["verify", "--db", &place.db]);
        let text = String::from_utf8(ran.stdout).unwrap();
        assert!(ran.code == 1 && text.contains("format version 2"), "{text}");
        assert_eq!(fs::read(&root).unwrap(), new);
        fs::write(&root, old).unwrap();
        check_nothing_lost(&place);
    });
}

#[test]
fn a_batch_larger_than_a_commit_is_refused_before_it_is_read() {
    on_each_backend(|| {
        let place = Place::new();
        // A sparse file: 4,096 rows of 65,536 dimensions, 256 MiB of zeroes that take no space.
        let file = place.file("wide.u8bin", &[0, 16, 0, 0, 0, 0, 1, 0]);
        let sparse = fs::OpenOptions::new().write(true).open(&file).unwrap();
        sparse.set_len(8 + (4096 << 16)).unwrap();
        let more = ["--metric", "l2", "--batch", "4294967295"];
        check_import(&place, "c", &file, &more, &["4096 rows of 65536 dimensions", "--batch 1023"]);
        assert!(!place.path("db").exists());
    });
}

#[test]
fn a_second_process_is_refused_while_the_first_has_the_directory() {
    on_each_backend(|| {
        let place = prepared();
        let path = place.path("db");
        let first = AnyStorage::open(Backend::Std, &path, &DirOptions::existing()).unwrap();
        for args in [
            &["get", "--db", &place.db, "k"][..],
            &["put", "--db", &place.db, "k", "other"],
            &["verify", "--db", &place.db],
        ] {
            gannet(args).refused(3, &[&place.db, "another process"]);
        }
        drop(first);
        check_nothing_lost(&place);
    });
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    on_each_backend(|| {
        let place = Place::new();
        let Some(disk) = Tmpfs::mount(&place.path("disk"), 8 << 10) else { return };
        let db = text_of(&place.path("disk/db"));
        gannet(&["put", "--db", &db, "k", "v"]).good();
        disk.make_read_only();
        let base = place.file("base.u8bin", &u8bin(4, &components(1, 40)));
        let other = text_of(&place.path("disk/other"));
        for args in [
            &["put", "--db", &db, "k", "other"][..],
            &["put", "--db", &other, "k", "other"],
            &["import", "--db", &db, "--collection", "c", &base, "--metric", "l2"],
            &["delete", "--db", &db, "k"],
        ] {
            gannet(args).refused(3, &["read-only"]);
        }
    });
}

#[test]
fn a_full_disk_is_refused_and_what_was_acknowledged_stays() {
    on_each_backend(|| {
        let mut place = Place::new();
        let Some(_disk) = Tmpfs::mount(&place.path("disk"), 6 << 10) else { return };
        place.db = text_of(&place.path("disk/db"));
        gannet(&["put", "--db", &place.db, "k", "v"]).good();
        let base = place.file("base.u8bin", &u8bin(64, &components(7, 64 * 40_000)));
        let args = ["import", "--db", &place.db, "--collection", "c", &base, "--metric", "l2"];
        let ran = gannet(&[&args[..], &["--print-acks", "--batch", "200"]].concat());
        let lines = ran.stderr.lines().count();
        assert!(
            ran.code == 3 && lines == 1 && ran.stderr.starts_with("gannet: "),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("no space"), "{}", ran.stderr);
        let acks = String::from_utf8(ran.stdout).unwrap();
        let acked: u64 = acks.lines().last().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let rows = place.stats()["collections"]["c"]["rows"].as_u64().unwrap();
        assert!(rows >= acked && rows.is_multiple_of(200), "{acked} acknowledged, {rows} there");
        place.check_intact(rows);
        assert_eq!(gannet(&["get", "--db", &place.db, "k"]).text(), "v");
    });
}
