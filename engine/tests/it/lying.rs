//! A disk that promises more than it has: one sync fails, a later one lies.
//!
//! An ext4 of 300 MiB whose image is in a tmpfs of 40: when that is full, a sync tells of the
//! write-back that failed, and a later one has forgotten it and says `Ok` (the behaviour of Linux
//! that is known from `fsyncgate`). Segments are written over in place, so what fails here is the
//! first sync of a new one, or of a file of a checkpoint. Root only; else it prints why it is
//! skipped.

#![expect(
    clippy::disallowed_methods,
    reason = "a file beside the database shows what the disk does"
)]

use crate::contents::config;
use crate::disk::Opener;
use gannet::storage::Storage;
use gannet::{CommitError, Database, WriteBatch};
use gannet_testkit::mount::Mount;
use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

const OUTER_BYTES: u64 = 40 << 20;
const INNER_BYTES: u64 = 300 << 20;
const VALUE_LEN: usize = 100_000;

fn mount() -> Option<Mount> {
    let made = Mount::tmpfs(OUTER_BYTES);
    match made.and_then(|outer| Mount::ext4_inside(outer, INNER_BYTES)) {
        Ok(mount) => Some(mount),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

fn value(number: u64) -> Vec<u8> {
    let words = (0..VALUE_LEN as u64 / 8).map(|at| number << 32 | at);
    words.flat_map(u64::to_le_bytes).collect()
}

fn batch(number: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put("k", &number.to_le_bytes(), &value(number));
    batch
}

/// The disk does what is said of it, or the test below shows nothing.
fn a_later_sync_lies(mount: &Mount) -> bool {
    let mut file = File::create(mount.path().join("probe")).unwrap();
    let chunk = vec![1; 1 << 20];
    for _ in 0..60 {
        file.write_all(&chunk).unwrap();
    }
    let syncs = [(); 3].map(|()| file.sync_all().is_ok());
    eprintln!("syncs of a file that does not fit: {syncs:?}");
    syncs.contains(&true) && syncs.contains(&false)
}

/// Commits batch `number`; whether it was acknowledged. Behind a failure that poisons nothing is.
fn commit<S: Storage>(db: &Database<S>, number: u64, is_poisoned: &mut bool) -> bool {
    match db.commit(batch(number)) {
        Ok(_) => {
            assert!(!*is_poisoned, "{number} is acknowledged behind a sync that failed");
            true
        }
        Err(CommitError::Unknown(_) | CommitError::Refused(_) | CommitError::Poisoned) => {
            *is_poisoned = true;
            false
        }
        // A segment could not be made, and was removed again: the log goes on where it was.
        Err(CommitError::NoSpace(error)) => {
            assert!(!*is_poisoned, "{error:?}");
            false
        }
        Err(error) => panic!("{number}: {error:?}"),
    }
}

/// Whether the file system takes no writes any more: its journal met the full disk.
#[expect(clippy::disallowed_methods, reason = "the file system is asked, not a storage")]
fn is_read_only(dir: &Path) -> bool {
    let probe = dir.join("probe");
    let made = std::fs::write(&probe, b"?");
    drop(std::fs::remove_file(&probe));
    made.is_err_and(|error| error.kind() == std::io::ErrorKind::ReadOnlyFilesystem)
}

#[test]
fn what_was_acknowledged_beside_a_sync_that_failed_is_there_later() {
    if let Some(mount) = mount() {
        assert!(a_later_sync_lies(&mount), "a later sync of a file must lie");
    }
    for opener in Opener::all() {
        let Some(mount) = mount() else { return };
        let dir = mount.path().join("db");
        let mut with = config(1);
        with.segment_bytes = 4 << 20;
        let db = Database::open(opener.open(&dir).unwrap(), with.clone()).unwrap();
        let (mut acked, mut is_poisoned) = (Vec::new(), false);
        let mut refused = 0;
        for number in 1..INNER_BYTES / VALUE_LEN as u64 {
            if commit(&db, number, &mut is_poisoned) {
                acked.push(number);
            } else {
                refused += 1;
            }
            match refused {
                // As full as it is, a checkpoint writes files that fail in their sync.
                2 => drop(db.checkpoint(&mut |_| ControlFlow::Continue(()))),
                4 => break,
                _ => {}
            }
        }
        // A device with room again tempts to go on.
        mount.outer().unwrap().remount("size=400m").unwrap();
        for number in 10_000..10_003 {
            if commit(&db, number, &mut is_poisoned) {
                acked.push(number);
            }
        }
        eprintln!(
            "{opener:?}: {} commits, {refused} refused, poisoned: {is_poisoned}",
            acked.len()
        );
        assert!(refused >= 4 && acked.len() > 50, "{opener:?}: it never fills up");
        drop(db);
        for is_mounted_again in [false, true] {
            if is_mounted_again {
                mount.again().unwrap();
            } else if is_read_only(&mount.path()) {
                eprintln!("{opener:?}: the file system has given up, and is mounted again first");
                continue;
            }
            let db = Database::open(opener.open(&dir).unwrap(), with.clone()).unwrap();
            for number in &acked {
                let found = db.get("k", &number.to_le_bytes()).unwrap();
                assert!(found == Some(value(*number)), "{opener:?}: {number} is lost");
            }
        }
        let db = Database::open(opener.open(&dir).unwrap(), with).unwrap();
        db.commit(batch(1_000_000)).unwrap();
        assert!(db.verify().unwrap().faults.is_empty());
        db.close().unwrap();
    }
}
