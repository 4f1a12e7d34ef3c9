//! A collection that lives: rows replaced and deleted, and what its searches find.

use serde_json::json;

use crate::program::{gannet, imported, on_each_backend, small_base, u8bin};

#[test]
fn an_import_with_upsert_replaces_rows_and_inserts_those_that_are_missing() {
    on_each_backend(|| {
        let place = imported();
        let (db, import) = (&place.db, ["--collection", "c", "--metric", "l2", "--json"]);
        gannet(&["delete", "--db", db, "--collection", "c", "7", "8"]).good();
        let file = place.file("again.u8bin", &u8bin(16, &small_base()));
        let upsert = [&["import", "--db", db, &file, "--upsert"][..], &import].concat();
        let answer = gannet(&upsert).json();
        assert_eq!((&answer["imported"], &answer["rows"]), (&json!(300), &json!(300)));
        // All of them were there, or were again: nothing is left to import.
        let again = [&["import", "--db", db, &file][..], &import].concat();
        assert_eq!(gannet(&again).json()["imported"], 0);
        let stats = gannet(&["stats", "--db", db, "--json"]).json();
        let collection = &stats["collections"]["c"];
        assert_eq!((&collection["rows"], &collection["next_id"]), (&json!(300), &json!(300)));
        assert_eq!((&collection["in_graph"], &collection["leaving"]), (&json!(300), &json!(0)));
        gannet(&["get", "--db", db, "--collection", "c", "7"]).good();
        assert!(gannet(&["verify", "--db", db]).text().ends_with(" no faults\n"));
    });
}

#[test]
fn several_keys_or_ids_are_deleted_as_one_or_not_at_all() {
    on_each_backend(|| {
        let place = imported();
        let delete = |keys: &[&str]| {
            gannet(&[&["delete", "--db", &place.db, "--collection", "c"][..], keys].concat())
        };
        delete(&["3", "999"]).refused(1, &["999"]);
        gannet(&["get", "--db", &place.db, "--collection", "c", "3"]).good();
        delete(&["3", "4", "5"]).good();
        for id in ["3", "4", "5"] {
            gannet(&["get", "--db", &place.db, "--collection", "c", id]).refused(1, &[id]);
        }
    });
}

#[test]
fn probe_tells_recall_with_its_interval() {
    on_each_backend(|| {
        let place = imported();
        let args = ["probe", "--db", &place.db, "--collection", "c", "--queries", "40"];
        let answer = gannet(&[&args[..], &["--json"]].concat()).json();
        let share = |name: &str| answer[name].as_f64().unwrap();
        assert_eq!(answer["queries"], 40);
        assert!(share("low") <= share("recall") && share("recall") <= share("high"));
        assert!(share("recall") > 0.9, "{answer}");
        let text = gannet(&args).text();
        assert!(text.contains("recall@10") && text.contains("40 rows"), "{text}");
        gannet(&["probe", "--db", &place.db, "--collection", "other"]).refused(3, &["other"]);
    });
}
