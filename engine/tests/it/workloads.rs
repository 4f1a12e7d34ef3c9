//! The workloads of the crash campaign, run to their ends on every backend.
//!
//! The simulated disk is where they are crashed; here they show that the engine does the same on
//! disks that are real: after each reopening a database shows what its user was told.

use crate::contents::{Contents, checkpoint, open, params, shown, vector};
use crate::disk::{Disk, on_each_disk};
use gannet::{Database, Durability, Metric, Phase, Progress, WriteBatch};
use gannet_testkit::campaign::{Op, Workload};
use rayon::prelude::*;
use std::ops::ControlFlow;

/// The row that every insert replaces, and one more than the highest row of all.
const SHARED_ROW: u64 = 7;
const ROWS: u64 = 400;

/// The batch of an operation, the contents after it in `contents`. `attempt` is another one for
/// every batch of a workload.
fn batch(contents: &mut Contents, op: Op, attempt: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    let value = format!("{op} of {attempt}: {}", "x".repeat(700));
    match op {
        Op::Insert | Op::Beside | Op::Compact => {
            batch.create_collection("c", params(Metric::L2));
            for row in 0..3 {
                let id = 10 * (attempt + 1) + row;
                contents.upsert(&mut batch, id, vector(id));
            }
            contents.upsert(&mut batch, SHARED_ROW, vector(500 + attempt));
            contents.put(&mut batch, "shared", &value);
            contents.put(&mut batch, &format!("insert-{attempt}"), &value);
        }
        Op::Import => {
            batch.create_collection("c", params(Metric::L2));
            for id in 200..ROWS {
                contents.upsert(&mut batch, id, vector(id));
            }
        }
        Op::Put | Op::Buffered => {
            contents.put(&mut batch, "shared", &value);
            contents.put(&mut batch, &format!("put-{attempt}"), &value);
        }
        Op::Delete => {
            let first = contents.keys.keys().find(|key| *key != b"shared").cloned();
            contents.delete(&mut batch, "shared");
            contents.delete(&mut batch, &String::from_utf8(first.unwrap_or("no".into())).unwrap());
            if let Some(gannet::Id::Int(id)) = contents.vectors.keys().next().cloned() {
                contents.delete_row(&mut batch, id);
            }
        }
        Op::Tend | Op::Checkpoint | Op::Close | Op::Optimize => {
            unreachable!("{op} is no batch")
        }
    }
    batch
}

fn run(disk: &impl Disk, workload: &Workload) {
    let mut contents = Contents::default();
    let mut opens = 0;
    let mut reopened = |contents: &Contents| {
        opens += 1;
        let db = open(disk, opens);
        assert_eq!(shown(&db, ROWS), *contents, "{disk:?}, {workload}, opened {opens} times");
        db
    };
    let mut db: Database<_> = reopened(&contents);
    for (attempt, &op) in (0..).zip(&workload.0) {
        match op {
            Op::Checkpoint => drop(checkpoint(&db)),
            Op::Optimize => {
                // There may be no collection yet.
                let is_there = !contents.vectors.is_empty();
                let made = db.optimize("c", &mut |_| ControlFlow::Continue(()));
                assert!(made.is_ok() || !is_there, "{made:?}");
            }
            Op::Beside | Op::Compact => {
                let mut batch = Some(batch(&mut contents, op, attempt));
                let mut on_progress = |progress: Progress| {
                    if progress.phase == Phase::Write
                        && let Some(batch) = batch.take()
                    {
                        db.commit(batch).unwrap();
                    }
                    ControlFlow::Continue(())
                };
                if op == Op::Compact {
                    db.compact(&mut on_progress).unwrap();
                } else {
                    db.checkpoint(&mut on_progress).unwrap();
                }
                if let Some(batch) = batch {
                    // There was nothing to write.
                    db.commit(batch).unwrap();
                }
            }
            Op::Close => {
                db.close().unwrap();
                db = reopened(&contents);
            }
            Op::Tend => db.tend().unwrap(),
            Op::Insert | Op::Import | Op::Put | Op::Delete | Op::Buffered => {
                let is_buffered = op == Op::Buffered;
                let durability =
                    if is_buffered { Durability::Buffered } else { Durability::Strict };
                db.commit_with(batch(&mut contents, op, attempt), durability).unwrap();
            }
        }
    }
    drop(db);
    let db = reopened(&contents);
    let faults = db.verify().unwrap().faults;
    assert!(faults.is_empty(), "{disk:?}, {workload}: {faults:?}");
    db.close().unwrap();
    reopened(&contents);
}

#[test]
fn every_workload_of_the_campaign_shows_what_its_user_was_told() {
    fn on(new: &impl Disk) {
        // Most of the time is spent waiting for the disk.
        let workloads = [Workload::all(3), Workload::longer()].concat();
        workloads.par_iter().for_each(|workload| run(&new.fresh(), workload));
    }
    on_each_disk!(on);
}
