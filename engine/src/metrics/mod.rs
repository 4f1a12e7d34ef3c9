//! What a database counts of its own work, for [`Stats`](crate::Stats) and for the recorder of the
//! `metrics` facade, if the program has installed one before the database is opened.
//!
//! Keeps numbers and handles: each handle is looked up once, when the database is opened. Commits
//! are counted by whoever holds the queue's lock, so that counting takes no lock and no atomic of
//! its own. What time it is, is asked where the work is done.

mod histogram;

use crate::open::RecoveryReport;
use crate::stats::{CheckpointStats, CommitStats, OpeningStats};
pub use histogram::Distribution;
use histogram::Histogram;
use parking_lot::Mutex;
use std::time::Duration;

/// Of so many buffered writes one is timed: a reading of the clock takes about a hundredth of such
/// a commit.
const WRITES_A_TIMING: u64 = 4;

/// Counts of commits, beside the queue.
pub(crate) struct CommitMetrics {
    /// Buffered writes that were begun.
    writes: u64,
    commits: u64,
    records: u64,
    record_bytes: u64,
    group_records: Histogram,
    group_bytes: Histogram,
    write_nanos: Histogram,
    sync_nanos: Histogram,
    to: CommitHandles,
}

/// Where the facade's recorder keeps the same.
struct CommitHandles {
    commits: metrics::Counter,
    records: metrics::Counter,
    record_bytes: metrics::Counter,
    group_records: metrics::Histogram,
    group_bytes: metrics::Histogram,
    write_seconds: metrics::Histogram,
    sync_seconds: metrics::Histogram,
    queue_bytes: metrics::Gauge,
}

impl Default for CommitMetrics {
    fn default() -> Self {
        let to = CommitHandles {
            commits: metrics::counter!("gannet_commits_total"),
            records: metrics::counter!("gannet_records_total"),
            record_bytes: metrics::counter!("gannet_record_bytes_total"),
            group_records: metrics::histogram!("gannet_group_records"),
            group_bytes: metrics::histogram!("gannet_group_bytes"),
            write_seconds: metrics::histogram!("gannet_write_seconds"),
            sync_seconds: metrics::histogram!("gannet_sync_seconds"),
            queue_bytes: metrics::gauge!("gannet_queue_bytes"),
        };
        Self {
            writes: 0,
            commits: 0,
            records: 0,
            record_bytes: 0,
            group_records: Histogram::default(),
            group_bytes: Histogram::default(),
            write_nanos: Histogram::default(),
            sync_nanos: Histogram::default(),
            to,
        }
    }
}

impl CommitMetrics {
    /// A group was acknowledged; one without records was not written.
    pub(crate) fn group_ended(&mut self, commits: usize, records: u32, bytes: usize) {
        let (commits, bytes) = (commits as u64, bytes as u64);
        self.commits += commits;
        self.to.commits.increment(commits);
        if records == 0 {
            return;
        }
        self.records += u64::from(records);
        self.record_bytes += bytes;
        self.group_records.record(records.into());
        self.group_bytes.record(bytes);
        self.to.records.increment(records.into());
        self.to.record_bytes.increment(bytes);
        self.to.group_records.record(records);
        self.to.group_bytes.record(inexact(bytes));
    }

    /// A frame is about to be given to the system, without a sync: whether to time it.
    pub(crate) fn times_a_write(&mut self) -> bool {
        let is_timed = self.writes.is_multiple_of(WRITES_A_TIMING);
        self.writes += 1;
        is_timed
    }

    /// A frame was given to the system, without a sync, in this time.
    pub(crate) fn wrote(&mut self, took: Duration) {
        self.write_nanos.record(nanos(took));
        self.to.write_seconds.record(took);
    }

    /// A frame was written and synced, or what was written before was synced.
    pub(crate) fn synced(&mut self, took: Duration) {
        self.sync_nanos.record(nanos(took));
        self.to.sync_seconds.record(took);
    }

    /// So many bytes of records are in flight.
    pub(crate) fn queue_bytes(&self, bytes: usize) {
        self.to.queue_bytes.set(inexact(bytes as u64));
    }

    pub(crate) fn stats(&self, queue_bytes: usize) -> CommitStats {
        let group_records = self.group_records.distribution();
        CommitStats {
            commits: self.commits,
            groups: group_records.count,
            records: self.records,
            record_bytes: self.record_bytes,
            group_records,
            group_bytes: self.group_bytes.distribution(),
            write_nanos: self.write_nanos.distribution(),
            sync_nanos: self.sync_nanos.distribution(),
            queue_bytes: queue_bytes as u64,
        }
    }
}

/// Counts of everything but commits.
pub(crate) struct Metrics {
    opening: OpeningStats,
    checkpoints: Mutex<CheckpointMetrics>,
}

struct CheckpointMetrics {
    nanos: Histogram,
    pause_nanos: Histogram,
    to_seconds: metrics::Histogram,
    to_pause_seconds: metrics::Histogram,
}

impl Metrics {
    /// Of a database that was opened in `ready_time`, `replay_time` of which went into its log.
    pub(crate) fn new(
        report: &RecoveryReport,
        replay_time: Duration,
        ready_time: Duration,
    ) -> Self {
        let per_second = |what: u64| {
            let nanos = replay_time.as_nanos();
            let rate = (u128::from(what) * 1_000_000_000).checked_div(nanos).unwrap_or_default();
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        let opening = OpeningStats {
            replay_time,
            ready_time,
            replay_bytes_per_second: per_second(report.log_bytes),
            replay_records_per_second: per_second(report.records),
        };
        metrics::gauge!("gannet_ready_seconds").set(ready_time);
        metrics::gauge!("gannet_replay_seconds").set(replay_time);
        let rate = |what| inexact(per_second(what));
        metrics::gauge!("gannet_replay_bytes_per_second").set(rate(report.log_bytes));
        metrics::gauge!("gannet_replay_records_per_second").set(rate(report.records));
        let checkpoints = CheckpointMetrics {
            nanos: Histogram::default(),
            pause_nanos: Histogram::default(),
            to_seconds: metrics::histogram!("gannet_checkpoint_seconds"),
            to_pause_seconds: metrics::histogram!("gannet_checkpoint_pause_seconds"),
        };
        Self { opening, checkpoints: Mutex::new(checkpoints) }
    }

    /// Commits waited so long for a checkpoint, at one stretch.
    pub(crate) fn checkpoint_pause(&self, took: Duration) {
        let mut checkpoints = self.checkpoints.lock();
        checkpoints.pause_nanos.record(nanos(took));
        checkpoints.to_pause_seconds.record(took);
    }

    /// A checkpoint is in force, `took` after it was begun.
    pub(crate) fn checkpoint_ended(&self, took: Duration) {
        let mut checkpoints = self.checkpoints.lock();
        checkpoints.nanos.record(nanos(took));
        checkpoints.to_seconds.record(took);
    }

    pub(crate) fn opening(&self) -> OpeningStats {
        self.opening
    }

    pub(crate) fn checkpoints(&self) -> CheckpointStats {
        let checkpoints = self.checkpoints.lock();
        CheckpointStats {
            nanos: checkpoints.nanos.distribution(),
            pause_nanos: checkpoints.pause_nanos.distribution(),
        }
    }
}

/// Longer than 584 years is that long.
fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "the facade takes floats; 53 bits are exact")]
fn inexact(value: u64) -> f64 {
    value as f64
}
