//! Commits, tickets, syncs, checkpoints, rotation and readers.

use crate::{config, iterations, run};
use gannet::storage::{MemStorage, Storage};
use gannet::{CommitError, Database, Durability, WriteBatch};
use gannet_testkit::fault::{Action, Calls, FaultStorage, Rule};
use gannet_testkit::sim::{CrashPlan, SimDisk};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// Tries random orders, and such as make a few changes of thread where it matters.
fn try_orders(test: impl Fn() + Send + Sync + Clone + 'static) {
    run(RandomScheduler::new(iterations()), test.clone());
    run(PctScheduler::new(4, iterations()), test);
}

/// Two keys with the same value.
fn pair(name: &str, value: u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for side in ["left", "right"] {
        let mut bytes = vec![0; 2000];
        bytes[..8].copy_from_slice(&value.to_le_bytes());
        batch.put("kv", format!("{name} {side}").as_bytes(), &bytes);
    }
    batch
}

/// The values of both keys, from one look at the state; they must be equal.
fn seen<S: Storage>(db: &Database<S>, name: &str) -> Option<u64> {
    let mut values = Vec::new();
    let from = format!("{name} ");
    let to = format!("{name}!");
    let (from, to) = (Bound::Included(from.as_bytes()), Bound::Excluded(to.as_bytes()));
    db.scan("kv", from, to, |_, value| {
        values.push(u64::from_le_bytes(value[..8].try_into().unwrap()));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(matches!(values[..], [] | [_, _]), "half of a batch");
    assert!(values.windows(2).all(|two| two[0] == two[1]), "{values:?}");
    values.first().copied()
}

#[test]
fn every_commit_is_acknowledged_once_in_one_order() {
    for durability in [Durability::Strict, Durability::Buffered] {
        try_orders(move || {
            let db = Arc::new(Database::open(MemStorage::new(), config(durability, 1)).unwrap());
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let db = Arc::clone(&db);
                    thread::spawn(move || {
                        let name = format!("{writer}");
                        let commit = |value| {
                            let made = db.commit(pair(&name, value)).unwrap();
                            assert_eq!(seen(&db, &name), Some(value), "not its own write");
                            made
                        };
                        [commit(1), commit(2)]
                    })
                })
                .collect();
            let mut commits: Vec<_> =
                writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
            commits.sort_by_key(|commit| commit.first_lsn);
            let mut next = 1;
            for commit in commits {
                assert_eq!(commit.first_lsn, next, "numbers without gaps");
                next = commit.last_lsn + 1;
            }
        });
    }
}

#[test]
fn what_is_acknowledged_as_durable_survives_a_power_cut_at_that_moment() {
    try_orders(|| {
        let disk = SimDisk::new();
        let db =
            Arc::new(Database::open(disk.open().unwrap(), config(Durability::Strict, 1)).unwrap());
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (db, disk) = (Arc::clone(&db), disk.clone());
                thread::spawn(move || {
                    let name = format!("{writer}");
                    let durability =
                        if writer == 2 { Durability::Buffered } else { Durability::Strict };
                    let made = db.commit_with(pair(&name, 1), durability).unwrap();
                    let upto = db.synced_lsn();
                    if durability == Durability::Strict {
                        assert!(upto >= made.last_lsn, "{upto} after {made:?}");
                    }
                    // Nothing that was pending came through.
                    let plan = CrashPlan { exhaustive_max: 0, pairs_max: 0, samples: 0, seed: 1 };
                    let (cut, _) = disk.snapshot().crash_states(&plan).next().unwrap();
                    (cut, name, upto, made)
                })
            })
            .collect();
        for writer in writers {
            let (cut, name, upto, made) = writer.join().unwrap();
            let after = Database::open(cut.open().unwrap(), config(Durability::Strict, 1)).unwrap();
            let end = after.recovery_report().end_lsn;
            assert!(end >= upto, "{upto} was said to be durable, {end} is");
            if upto >= made.last_lsn {
                assert_eq!(seen(&after, &name), Some(1), "acknowledged, and gone");
            }
        }
    });
}

#[test]
fn checkpoints_rotation_syncs_and_readers_beside_commits() {
    try_orders(|| {
        let db =
            Arc::new(Database::open(MemStorage::new(), config(Durability::Buffered, 1)).unwrap());
        db.commit(pair("0", 0)).unwrap();
        let mut threads = Vec::new();
        for writer in 0..2 {
            let db = Arc::clone(&db);
            threads.push(thread::spawn(move || {
                let name = format!("{writer}");
                let ticket = db.submit(pair(&name, 1)).unwrap();
                db.commit_with(pair(&name, 2), Durability::Strict).unwrap();
                ticket.wait().unwrap();
                assert_eq!(seen(&db, &name), Some(2));
            }));
        }
        let shared = Arc::clone(&db);
        threads.push(thread::spawn(move || {
            let made = shared.checkpoint(&mut |_| ControlFlow::Continue(())).unwrap();
            assert!(made.lsn > 0);
        }));
        let shared = Arc::clone(&db);
        threads.push(thread::spawn(move || {
            shared.tend().unwrap();
            shared.flush().unwrap();
        }));
        let shared = Arc::clone(&db);
        threads.push(thread::spawn(move || {
            let mut last = [0, 0];
            for _ in 0..4 {
                for (name, last) in ["0", "1"].into_iter().zip(&mut last) {
                    let now = seen(&shared, name).unwrap_or(0);
                    assert!(now >= *last, "{now} after {last}");
                    *last = now;
                }
            }
        }));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((seen(&db, "0"), seen(&db, "1")), (Some(2), Some(2)));
        assert!(db.verify().unwrap().faults.is_empty());
    });
}

#[test]
fn after_a_failure_nothing_is_acknowledged_and_nobody_waits_for_ever() {
    for nth in 1..12 {
        try_orders_few(move || {
            let storage = FaultStorage::new(MemStorage::new());
            let db = Arc::new(Database::open(storage, config(Durability::Strict, 1)).unwrap());
            db.storage().faults().add(Rule::forever(Calls::Writes, nth, Action::Eio));
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let db = Arc::clone(&db);
                    thread::spawn(move || {
                        let name = format!("{writer}");
                        for value in 1..4 {
                            match db.commit(pair(&name, value)) {
                                Ok(_) => assert_eq!(seen(&db, &name), Some(value)),
                                Err(
                                    CommitError::Unknown(_)
                                    | CommitError::Poisoned
                                    | CommitError::Refused(_),
                                ) => {
                                    let again = db.commit(pair(&name, 9));
                                    assert!(matches!(again, Err(CommitError::Poisoned)));
                                    assert_ne!(seen(&db, &name), Some(9));
                                    return;
                                }
                                Err(error) => panic!("{error:?}"),
                            }
                        }
                    })
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join().unwrap());
        });
    }
}

/// As [`try_orders`], for tests that are many.
fn try_orders_few(test: impl Fn() + Send + Sync + Clone + 'static) {
    run(RandomScheduler::new(200), test);
}
