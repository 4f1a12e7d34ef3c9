//! Files that the device does not give back: derived and redundant ones are done without.

use crate::contents::{Contents, checkpoint, config, last_segment, params, segment, shown, vector};
use crate::disk::{Disk, Folder};
use gannet::{AnyStorage, Damage, Database, Metric, WriteBatch};
use std::path::{Path, PathBuf};

fn open(folder: &Folder) -> Result<Database<AnyStorage>, gannet::OpenError> {
    Database::open(folder.open()?, config(1))
}

/// A database with two checkpoints; what it shows.
fn example(folder: &Folder) -> Contents {
    let db = open(folder).unwrap();
    let mut contents = Contents::default();
    db.create_collection("c", params(Metric::L2)).unwrap();
    for id in 0..2 {
        let mut batch = WriteBatch::new();
        contents.upsert(&mut batch, id, vector(id));
        contents.put(&mut batch, &format!("key-{id}"), "x");
        db.commit(batch).unwrap();
        checkpoint(&db);
    }
    db.close().unwrap();
    contents
}

/// Puts a directory in place of the newest file of a kind: reading it fails in the device's way.
#[expect(clippy::disallowed_methods, reason = "a test that damages files goes around the storage")]
fn make_unreadable(dir: &Path, kind: &str) {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_kind = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(kind);
    let newest = names.filter(is_kind).max().unwrap();
    std::fs::remove_file(&newest).unwrap();
    std::fs::create_dir(&newest).unwrap();
}

#[test]
fn a_graph_that_cannot_be_read_is_built_again() {
    fn on(folder: &Folder) {
        let contents = example(folder);
        make_unreadable(folder.path(), "graph");
        let db = open(folder).unwrap();
        assert_eq!(shown(&db, 5), contents);
        let actions = &db.recovery_report().index_actions;
        assert_eq!(actions.len(), 1);
        let reason = &actions[0].reason;
        assert!(
            reason.contains("graph-") && reason.contains("regular file"),
            "place and cause: {reason}"
        );
        assert!(db.recovery_report().fallbacks.is_empty());
    }
    Folder::each().for_each(|folder| on(&folder));
}

#[test]
fn a_newest_checkpoint_that_cannot_be_read_gives_way_to_the_older_one() {
    fn on(folder: &Folder) {
        for kind in ["manifest", "table"] {
            let folder = folder.fresh();
            let contents = example(&folder);
            make_unreadable(folder.path(), kind);
            let db = open(&folder).unwrap();
            assert_eq!(shown(&db, 5), contents, "{kind}");
            let fallbacks = &db.recovery_report().fallbacks;
            assert_eq!(fallbacks.len(), 1, "{kind}");
            assert_eq!(fallbacks[0].damage, Damage::Unreadable, "{kind}");
        }
    }
    Folder::each().for_each(|folder| on(&folder));
}

#[test]
fn a_log_that_cannot_be_read_is_never_taken_for_its_end() {
    fn on(folder: &Folder) {
        example(folder);
        let db = open(folder).unwrap();
        let mut batch = WriteBatch::new();
        batch.put("kv", b"more", b"x");
        db.commit(batch).unwrap();
        drop(db);
        // A name that is a directory is not listed as a file; so cut it to half a block instead.
        // The one that holds the last commit.
        let last = segment(last_segment(&folder.open().unwrap()));
        let log = folder.path().join(last.as_str());
        let file = std::fs::OpenOptions::new().write(true).open(&log).unwrap();
        file.set_len(6000).unwrap();
        let refused = open(folder).expect_err("not whole blocks");
        assert!(matches!(refused, gannet::OpenError::Corrupt(_)), "{refused:?}");
    }
    Folder::each().for_each(|folder| on(&folder));
}
