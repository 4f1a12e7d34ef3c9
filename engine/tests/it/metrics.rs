//! What a database counts: after work that is known, by a clock that is known, and the same for a
//! recorder of the `metrics` facade.

use crate::contents::{checkpoint, config};
use gannet::storage::MemStorage;
use gannet::{Clock, Database, Distribution, Durability, WriteBatch};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A clock on which every question takes a millisecond.
#[derive(Debug, Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Everything that the facade was told, by name and in order.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<BTreeMap<String, Vec<f64>>>>);

struct Named(Told, String);

impl Named {
    fn tell(&self, value: f64) {
        self.0.0.lock().unwrap().entry(self.1.clone()).or_default().push(value);
    }
}

impl CounterFn for Named {
    fn increment(&self, value: u64) {
        self.tell(f64::from(u32::try_from(value).unwrap()));
    }
    fn absolute(&self, value: u64) {
        panic!("{} was set to {value}", self.1);
    }
}

impl GaugeFn for Named {
    fn increment(&self, value: f64) {
        panic!("{} was raised by {value}", self.1);
    }
    fn decrement(&self, value: f64) {
        panic!("{} was lowered by {value}", self.1);
    }
    fn set(&self, value: f64) {
        self.tell(value);
    }
}

impl HistogramFn for Named {
    fn record(&self, value: f64) {
        self.tell(value);
    }
}

impl Told {
    fn named(&self, key: &Key) -> Arc<Named> {
        Arc::new(Named(self.clone(), key.name().to_owned()))
    }

    fn of(&self, name: &str) -> Vec<f64> {
        self.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    fn sum(&self, name: &str) -> f64 {
        self.of(name).iter().sum()
    }
}

impl Recorder for Told {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.named(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.named(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.named(key))
    }
}

fn put(key: &str, value: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put("kv", key.as_bytes(), value);
    batch
}

fn open_on(storage: MemStorage, durability: Durability) -> Database<MemStorage> {
    let mut settings = config(1);
    settings.durability = durability;
    settings.segment_bytes = 1 << 20;
    settings.sync_interval = Duration::from_secs(3600);
    settings.clock = Arc::new(Ticking::default());
    Database::open(storage, settings).unwrap()
}

fn shape(found: Distribution) -> (u64, u64, u64) {
    (found.count, found.sum, found.max)
}

const MILLI: u64 = 1_000_000;
/// Of a record that puts a key of one byte, without its value.
const PUT_LEN_BYTES: u64 = 8 + 4 + 2 + 1 + 4;
const MAKE_KEYSPACE_LEN_BYTES: u64 = 8 + 4 + 2 + 2;

#[test]
fn commits_groups_and_times_are_counted() {
    for durability in [Durability::Strict, Durability::Buffered] {
        let db = open_on(MemStorage::new(), durability);
        let before = db.stats().unwrap();
        assert_eq!(before.commits, gannet::CommitStats::default());
        db.commit(put("a", &[0; 10])).unwrap();
        let tickets = ["b", "c", "d"].map(|key| db.submit(put(key, &[0; 100])).unwrap());
        let each = PUT_LEN_BYTES + 100;
        assert_eq!(db.stats().unwrap().commits.queue_bytes, 3 * each);
        assert_eq!(db.stats().unwrap().commits.commits, 1);
        for ticket in tickets {
            ticket.wait().unwrap();
        }
        let mut nothing = WriteBatch::new();
        nothing.delete("none", b"x");
        db.commit(nothing).unwrap();
        let stats = db.stats().unwrap().commits;
        let first = MAKE_KEYSPACE_LEN_BYTES + PUT_LEN_BYTES + 10;
        assert_eq!((stats.commits, stats.groups, stats.records), (5, 2, 5), "{durability:?}");
        assert_eq!(stats.record_bytes, first + 3 * each);
        assert_eq!(stats.queue_bytes, 0);
        assert_eq!(shape(stats.group_records), (2, 5, 3));
        assert_eq!(shape(stats.group_bytes), (2, first + 3 * each, 3 * each));
        let times = (shape(stats.write_nanos), shape(stats.sync_nanos));
        let two = (2, 2 * MILLI, MILLI);
        if durability == Durability::Strict {
            assert_eq!(times, ((0, 0, 0), two));
        } else {
            // The first and every fourth after it.
            assert_eq!(times, ((1, MILLI, MILLI), (0, 0, 0)));
            for commits in 3..=9 {
                db.commit(put("e", b"")).unwrap();
                let of_writes = db.stats().unwrap().commits.write_nanos;
                let expected = u64::div_ceil(commits, 4);
                assert_eq!(shape(of_writes), (expected, expected * MILLI, MILLI), "{commits}");
            }
            assert_eq!(db.stats().unwrap().commits.write_nanos.p50, MILLI);
            db.flush().unwrap();
            assert_eq!(shape(db.stats().unwrap().commits.sync_nanos), (1, MILLI, MILLI));
        }
    }
}

#[test]
fn a_failed_commit_is_not_counted() {
    let db = open_on(MemStorage::new(), Durability::Strict);
    db.commit(WriteBatch::new()).unwrap_err();
    db.commit(put("", b"no key")).unwrap_err();
    assert_eq!(db.stats().unwrap().commits, gannet::CommitStats::default());
}

#[test]
fn a_checkpoint_that_writes_is_counted_with_its_pause() {
    let db = open_on(MemStorage::new(), Durability::Strict);
    assert_eq!(db.stats().unwrap().checkpoints.nanos.count, 0);
    db.commit(put("a", b"1")).unwrap();
    checkpoint(&db);
    let stats = db.stats().unwrap().checkpoints;
    assert_eq!(stats.nanos.count, 1);
    assert!(stats.nanos.max >= MILLI && stats.pause_nanos.max >= MILLI, "{stats:?}");
    assert!(stats.pause_nanos.count >= 1);
}

#[test]
fn the_time_of_opening_and_the_speed_of_replay_are_told() {
    let told = Told::default();
    let disk = gannet_testkit::sim::SimDisk::new();
    let db = crate::contents::open(&disk, 1);
    for n in 0..20 {
        db.commit(put(&n.to_string(), &[7; 500])).unwrap();
    }
    drop(db);
    let mut settings = config(2);
    settings.clock = Arc::new(Ticking::default());
    let storage = disk.kill().open().unwrap();
    let db = metrics::with_local_recorder(&told, || Database::open(storage, settings)).unwrap();
    let opening = db.stats().unwrap().opening;
    let report = db.recovery_report();
    assert_eq!(opening.replay_time, Duration::from_millis(1));
    assert_eq!(opening.ready_time, Duration::from_millis(3));
    assert_eq!(opening.replay_records_per_second, 1000 * report.records);
    assert_eq!(opening.replay_bytes_per_second, 1000 * report.log_bytes);
    assert_eq!(told.of("gannet_replay_seconds"), [0.001]);
    assert_eq!(told.of("gannet_ready_seconds"), [0.003]);
    assert_eq!(told.of("gannet_replay_records_per_second"), [21_000.0]);
    assert_eq!(told.of("gannet_replay_bytes_per_second").len(), 1);
}

#[test]
fn the_facade_is_told_the_same() {
    let told = Told::default();
    let open = || open_on(MemStorage::new(), Durability::Buffered);
    let db = metrics::with_local_recorder(&told, open);
    // Handles are looked up when it is opened: no recorder is there any more.
    db.commit(put("a", &[0; 10])).unwrap();
    let tickets = ["b", "c", "d"].map(|key| db.submit(put(key, &[0; 100])).unwrap());
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    db.flush().unwrap();
    checkpoint(&db);
    let stats = db.stats().unwrap();
    let exact = |value: u64| f64::from(u32::try_from(value).unwrap());
    for (name, value) in [
        ("gannet_commits_total", stats.commits.commits),
        ("gannet_records_total", stats.commits.records),
        ("gannet_record_bytes_total", stats.commits.record_bytes),
        ("gannet_group_records", stats.commits.group_records.sum),
        ("gannet_group_bytes", stats.commits.group_bytes.sum),
    ] {
        assert!((told.sum(name) - exact(value)).abs() < 0.5, "{name}: {:?}", told.of(name));
    }
    for (name, nanos) in [
        ("gannet_write_seconds", stats.commits.write_nanos),
        ("gannet_sync_seconds", stats.commits.sync_nanos),
        ("gannet_checkpoint_seconds", stats.checkpoints.nanos),
        ("gannet_checkpoint_pause_seconds", stats.checkpoints.pause_nanos),
    ] {
        assert_eq!(told.of(name).len() as u64, nanos.count, "{name}");
        let seconds = exact(nanos.sum) / 1e9;
        assert!(nanos.count > 0 && (told.sum(name) - seconds).abs() < 1e-9, "{name}");
    }
    let (first, each) = (MAKE_KEYSPACE_LEN_BYTES + PUT_LEN_BYTES + 10, PUT_LEN_BYTES + 100);
    let in_flight = [first, 0, each, 2 * each, 3 * each, 0].map(exact);
    assert_eq!(told.of("gannet_queue_bytes"), in_flight);
}
