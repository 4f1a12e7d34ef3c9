//! Batches in flight: many writers, tickets, groups, buffered commits, and what the keeper does.

use crate::contents::{Contents, config, open, params, shown, vector};
use crate::disk::{Disk, on_each_disk};
use gannet::storage::{ErrorKind, MemStorage};
use gannet::{Clock, CommitError, Config, Database, Durability, Id, Metric, WriteBatch};
use gannet_testkit::fault::{Action, Calls, FaultStorage, Faults, Rule};
use gannet_testkit::sim::{CrashPlan, SimDisk, SimStorage};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A clock that a test sets.
#[derive(Debug, Default)]
pub(crate) struct HandClock(AtomicU64);

impl HandClock {
    pub(crate) fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

fn put(key: &str, value: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put("kv", key.as_bytes(), value);
    batch
}

fn with(disk: &SimDisk, change: impl FnOnce(&mut Config)) -> Database<SimStorage> {
    let mut config = config(1);
    change(&mut config);
    Database::open(disk.open().unwrap(), config).unwrap()
}

fn buffered(config: &mut Config) {
    config.durability = Durability::Buffered;
}

/// Frames that a reopen reads from the log.
fn frames(disk: &SimDisk) -> u64 {
    open(&disk.snapshot().kill(), 9).recovery_report().frames
}

#[test]
fn many_writers_get_one_order_without_gaps() {
    fn on(disk: &impl Disk) {
        const WRITERS: u64 = 8;
        const COMMITS: u64 = 40;
        let mut many = config(1);
        many.threads = 2;
        let db = Database::open(disk.open().unwrap(), many).unwrap();
        db.create_collection("c", params(Metric::L2)).unwrap();
        db.commit(put("key-0", b"0")).unwrap();
        let lsns = std::thread::scope(|scope| {
            let writer = |writer: u64| {
                let db = &db;
                scope.spawn(move || {
                    let mut lsns = Vec::new();
                    for commit in 0..COMMITS {
                        let id = writer * COMMITS + commit;
                        let mut batch = put(&format!("key-{id}"), &id.to_le_bytes());
                        batch.insert("c", id, &vector(id));
                        let made = db.commit(batch).unwrap();
                        assert_eq!(made.last_lsn, made.first_lsn + 1);
                        // Acknowledged is visible.
                        assert!(db.get("kv", format!("key-{id}").as_bytes()).unwrap().is_some());
                        assert!(db.get_vector("c", &Id::Int(id)).unwrap().is_some());
                        lsns.push(made.first_lsn);
                    }
                    lsns
                })
            };
            let threads: Vec<_> = (0..WRITERS).map(writer).collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect::<BTreeSet<_>>()
        });
        assert_eq!(lsns.len() as u64, WRITERS * COMMITS);
        let contents = shown(&db, WRITERS * COMMITS);
        assert_eq!(contents.keys.len() as u64, WRITERS * COMMITS);
        assert_eq!(contents.vectors.len() as u64, WRITERS * COMMITS);
        // And cuts, by the indexer.
        let stats = db.stats().unwrap();
        assert_eq!(stats.last_lsn, stats.commits.records);
        assert!(stats.last_lsn >= 3 + 2 * WRITERS * COMMITS, "{}", stats.last_lsn);
        db.close().unwrap();
        assert_eq!(shown(&open(disk, 2), WRITERS * COMMITS), contents);
    }
    on_each_disk!(on);
}

#[test]
fn later_batches_see_what_earlier_ones_in_flight_will_change() {
    let disk = SimDisk::new();
    let db = with(&disk, |_| {});
    let batch = |change: &dyn Fn(&mut WriteBatch)| {
        let mut batch = WriteBatch::new();
        change(&mut batch);
        batch
    };
    let tickets = [
        batch(&|b| b.create_collection("c", params(Metric::L2))),
        batch(&|b| b.insert("c", 1, &vector(1))),
        batch(&|b| b.insert("c", 2, &vector(2))),
        batch(&|b| b.delete_row("c", 1)),
        batch(&|b| b.insert("c", 1, &vector(3))),
        batch(&|b| b.put("kv", b"a", b"1")),
        batch(&|b| b.put("kv", b"b", b"2")),
    ]
    .map(|batch| db.submit(batch).unwrap());
    let twice = db.submit(batch(&|b| b.insert("c", 2, &vector(4))));
    assert!(matches!(twice, Err(CommitError::DuplicateId { .. })), "{twice:?}");
    let nothing = db.submit(batch(&|b| b.create_collection("c", params(Metric::L2)))).unwrap();
    assert_eq!(nothing.lsn(), 8);
    assert!(db.collection("c").is_none(), "nothing is visible before it is durable");
    let lsns = tickets.map(|ticket| ticket.wait().unwrap().last_lsn);
    // The last but one makes its keyspace as well.
    assert_eq!(lsns, [1, 2, 3, 4, 5, 7, 8]);
    let nothing = nothing.wait().unwrap();
    assert_eq!((nothing.first_lsn, nothing.last_lsn), (9, 8));
    let contents = shown(&db, 10);
    assert_eq!(contents.vectors.keys().collect::<Vec<_>>(), [&Id::Int(1), &Id::Int(2)]);
    assert_eq!(contents.vectors[&Id::Int(1)], vector(3));
    drop(db);
    assert_eq!(shown(&open(&disk.kill(), 2), 10), contents);
}

#[test]
fn what_was_submitted_is_written_in_groups_of_at_most_so_many_bytes() {
    for (group_bytes_max, groups) in [(1 << 20, 1), (4096, 10)] {
        let disk = SimDisk::new();
        let db = with(&disk, |config| config.group_bytes_max = group_bytes_max);
        let tickets: Vec<_> =
            (0..20).map(|n| db.submit(put(&format!("{n:02}"), &[0; 2000])).unwrap()).collect();
        db.tend().unwrap();
        assert_eq!(frames(&disk), groups, "{group_bytes_max}");
        for ticket in tickets {
            ticket.wait().unwrap();
        }
    }
}

#[test]
fn committers_wait_while_too_many_bytes_are_in_flight() {
    let disk = SimDisk::new();
    let db = with(&disk, |config| config.inflight_bytes_max = 4096);
    let first = db.submit(put("a", &[0; 5000])).unwrap();
    assert_eq!(db.synced_lsn(), 0);
    // It is let in when the first is acknowledged, by whomever.
    let second = db.submit(put("b", &[0; 10])).unwrap();
    assert_eq!((db.synced_lsn(), second.lsn()), (2, 3));
    first.wait().unwrap();
    second.wait().unwrap();
}

#[test]
fn a_full_disk_refuses_all_that_waits_and_gives_their_numbers_again() {
    let disk = SimDisk::new();
    let db = with(&disk, |_| {});
    let tickets = ["a", "b", "c"].map(|key| db.submit(put(key, b"1")).unwrap());
    disk.fail_nth(1, ErrorKind::NoSpace, true);
    for ticket in tickets {
        let refused = ticket.wait();
        assert!(matches!(refused, Err(CommitError::NoSpace(_))), "{refused:?}");
    }
    disk.fail_nth(u64::MAX, ErrorKind::NoSpace, false);
    assert_eq!(shown(&db, 1), Contents::default());
    let made = db.commit(put("d", b"1")).unwrap();
    assert_eq!((made.first_lsn, made.last_lsn), (1, 2));
    let contents = shown(&db, 1);
    drop(db);
    assert_eq!(shown(&open(&disk.kill(), 2), 1), contents);
}

#[test]
fn after_a_failed_write_nothing_in_flight_is_acknowledged_and_nobody_hangs() {
    for durability in [Durability::Strict, Durability::Buffered] {
        let disk = SimDisk::new();
        let db = with(&disk, |config| {
            config.durability = durability;
            config.group_bytes_max = 4096;
        });
        db.commit(put("before", b"1")).unwrap();
        let before = shown(&db, 1);
        let tickets = ["a", "b", "c"].map(|key| db.submit(put(key, &[1; 3000])).unwrap());
        disk.fail_nth(1, ErrorKind::Io, false);
        let [first, second, third] = tickets.map(|ticket| ticket.wait().unwrap_err());
        assert!(matches!(first, CommitError::Unknown(_)), "{first:?}");
        assert!(matches!(second, CommitError::Poisoned), "{second:?}");
        assert!(matches!(third, CommitError::Poisoned), "{third:?}");
        assert!(matches!(db.commit(put("d", b"1")), Err(CommitError::Poisoned)));
        assert!(matches!(db.flush(), Err(CommitError::Poisoned)));
        assert_eq!(shown(&db, 1), before);
    }
}

#[test]
fn what_waits_is_not_acknowledged_after_a_checkpoint_that_poisoned() {
    let mut poisoned = 0;
    for nth in 1.. {
        let disk = SimDisk::new();
        let db = with(&disk, |_| {});
        db.commit(put("before", b"1")).unwrap();
        let ticket = db.submit(put("waits", b"1")).unwrap();
        disk.fail_nth(nth, ErrorKind::Io, false);
        let made = db.checkpoint(&mut |_| ControlFlow::Continue(()));
        disk.fail_nth(u64::MAX, ErrorKind::Io, false);
        let waited = ticket.wait();
        match db.commit(put("after", b"1")) {
            Ok(_) => assert!(waited.is_ok(), "{nth}: {waited:?}"),
            Err(CommitError::Poisoned) => {
                assert!(matches!(waited, Err(CommitError::Poisoned)), "{nth}: {waited:?}");
                poisoned += 1;
            }
            Err(error) => panic!("{nth}: {error:?}"),
        }
        if made.is_ok() {
            break;
        }
    }
    assert!(poisoned >= 3, "marker, names, slot: {poisoned}");
}

#[test]
fn a_panic_in_any_write_of_a_backup_loses_no_later_commit() {
    for nth in 1.. {
        let memory = Arc::new(MemStorage::new());
        let faults = Faults::default();
        let open = |seed| {
            let storage = FaultStorage::over(Arc::clone(&memory), faults.clone());
            Database::open(storage, config(seed)).unwrap()
        };
        let db = open(1);
        db.commit(put("before", b"1")).unwrap();
        faults.add(Rule::once(Calls::Writes, nth, Action::Panic));
        let backup = catch_unwind(AssertUnwindSafe(|| db.backup(&MemStorage::new()).unwrap()));
        faults.clear();
        let after = db.commit(put("after", b"1")).is_ok();
        drop(db);
        assert_eq!(open(2).get("kv", b"after").unwrap().is_some(), after, "{nth}");
        if backup.is_ok() {
            assert!(nth > 1 && after, "{nth}");
            break;
        }
        assert!(!after, "{nth}: a panic poisons");
    }
}

#[test]
fn a_kill_loses_no_buffered_commit_and_a_power_cut_only_the_latest() {
    let disk = SimDisk::new();
    let db = with(&disk, |config| {
        buffered(config);
        config.segment_bytes = 64 << 10;
    });
    let mut states = vec![Contents::default()];
    for n in 0..12 {
        let mut contents = states[n].clone();
        let mut batch = WriteBatch::new();
        contents.put(&mut batch, &format!("key-{n}"), &"v".repeat(n * 300));
        let durability = if n == 3 { Durability::Strict } else { Durability::Buffered };
        db.commit_with(batch, durability).unwrap();
        states.push(contents);
        if n == 6 {
            db.flush().unwrap();
        }
    }
    // A record for the keyspace, one for each put up to the flush.
    assert_eq!(db.synced_lsn(), 8);
    assert_eq!(shown(&open(&disk.kill(), 2), 1), states[12]);
    let mut seen = BTreeSet::new();
    let plan = CrashPlan { pairs_max: 100, samples: 300, ..CrashPlan::default() };
    for (cut, choice) in disk.crash_states(&plan) {
        let after = shown(&open(&cut, 3), 1);
        let at = states.iter().position(|state| *state == after);
        let at = at.unwrap_or_else(|| panic!("{choice:?}: {after:?}"));
        assert!(at >= 7, "{choice:?}: only {at} commits are left");
        seen.insert(at);
    }
    assert!(seen.contains(&7) && seen.len() > 2, "{seen:?}");
}

#[test]
fn a_strict_commit_that_changes_nothing_makes_what_was_before_it_durable() {
    let disk = SimDisk::new();
    let db = with(&disk, buffered);
    db.create_collection("c", params(Metric::L2)).unwrap();
    assert_eq!(db.synced_lsn(), 0);
    let mut nothing = WriteBatch::new();
    nothing.delete_row("c", 1);
    let made = db.commit_with(nothing, Durability::Strict).unwrap();
    assert_eq!((made.last_lsn, db.synced_lsn()), (1, 1));
}

#[test]
fn buffered_commits_share_blocks_and_strict_ones_do_not() {
    let used = |durability| {
        let disk = SimDisk::new();
        let db = with(&disk, |config| config.durability = durability);
        for n in 0..100 {
            db.commit(put(&format!("{n}"), b"short")).unwrap();
        }
        let segments = db.stats().unwrap().log_segments;
        drop(db);
        assert_eq!(shown(&open(&disk.kill(), 2), 1).keys.len(), 100);
        segments
    };
    // Of 4 blocks, of which one is the header's and one is kept for the marker at the end.
    assert_eq!(used(Durability::Buffered), 3);
    assert_eq!(used(Durability::Strict), 50);
}

#[test]
fn buffered_commits_are_synced_when_they_are_old_or_many() {
    let clock = Arc::new(HandClock::default());
    let disk = SimDisk::new();
    let db = with(&disk, |config| {
        buffered(config);
        config.clock = Arc::clone(&clock) as Arc<dyn Clock>;
        config.segment_bytes = 64 << 10;
        config.sync_interval = Duration::from_millis(40);
        config.sync_bytes = 12 << 10;
    });
    clock.set(10);
    db.commit(put("a", b"1")).unwrap();
    clock.set(49);
    db.tend().unwrap();
    assert_eq!(db.synced_lsn(), 0);
    clock.set(50);
    db.tend().unwrap();
    assert_eq!(db.synced_lsn(), 2);
    db.commit(put("b", &[0; 5000])).unwrap();
    assert_eq!(db.synced_lsn(), 2);
    db.commit(put("c", &[0; 8000])).unwrap();
    assert_eq!(db.synced_lsn(), 4, "13 KiB were written");
}

#[test]
fn an_idle_log_gets_a_witness_once() {
    let clock = Arc::new(HandClock::default());
    let disk = SimDisk::new();
    let db = with(&disk, |config| config.clock = Arc::clone(&clock) as Arc<dyn Clock>);
    db.commit(put("a", b"1")).unwrap();
    clock.set(49);
    db.tend().unwrap();
    assert_eq!(frames(&disk), 1);
    for millis in [50, 51, 500] {
        clock.set(millis);
        db.tend().unwrap();
        assert_eq!(frames(&disk), 2);
    }
}

#[test]
fn the_next_segment_is_made_ahead_of_need() {
    let disk = SimDisk::new();
    let db = with(&disk, |_| {});
    let segments = || db.stats().unwrap().log_segments;
    db.commit(put("a", b"1")).unwrap();
    db.tend().unwrap();
    assert_eq!(segments(), 2, "two of four blocks are used");
    db.tend().unwrap();
    assert_eq!(segments(), 2);
    db.commit(put("b", b"1")).unwrap();
    db.commit(put("c", b"1")).unwrap();
    assert_eq!(segments(), 2, "the spare is in use");
    let contents = shown(&db, 1);
    db.tend().unwrap();
    assert!(db.verify().unwrap().faults.is_empty(), "a spare is no fault");
    db.commit(put("d", &vec![0; 100_000])).unwrap();
    drop(db);
    let db = open(&disk.kill(), 2);
    assert_eq!(shown(&db, 1).keys.len(), contents.keys.len() + 1);
}

#[test]
fn spares_and_segments_do_not_meet() {
    fn on(disk: &impl Disk) {
        let mut config = config(1);
        config.threads = 2;
        config.durability = Durability::Buffered;
        let db = Database::open(disk.open().unwrap(), config).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..3 {
                let db = &db;
                scope.spawn(move || {
                    for commit in 0..80 {
                        let strict = commit % 5 == writer;
                        let durability =
                            if strict { Durability::Strict } else { Durability::Buffered };
                        let batch = put(&format!("{writer} {commit}"), &[7; 2500]);
                        db.commit_with(batch, durability).unwrap();
                    }
                });
            }
        });
        let contents = shown(&db, 1);
        assert_eq!(contents.keys.len(), 240);
        drop(db);
        assert_eq!(shown(&open(disk, 2), 1), contents);
    }
    on_each_disk!(on);
}

#[test]
fn a_keeper_does_what_is_due_by_itself() {
    fn on(disk: &impl Disk) {
        let mut config = config(1);
        config.threads = 2;
        config.durability = Durability::Buffered;
        config.sync_interval = Duration::from_millis(1);
        let db = Database::open(disk.open().unwrap(), config).unwrap();
        // Nobody waits for it.
        let lsn = db.submit(put("a", b"1")).unwrap().lsn();
        while db.synced_lsn() < lsn {
            std::thread::yield_now();
        }
        assert!(db.get("kv", b"a").unwrap().is_some());
        while db.stats().unwrap().log_segments < 2 {
            std::thread::yield_now();
        }
        db.close().unwrap();
        assert_eq!(open(disk, 2).stats().unwrap().log_segments, 1, "the spare is gone");
    }
    on_each_disk!(on);
}
