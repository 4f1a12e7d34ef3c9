//! When a checkpoint is made that nobody asked for.
//!
//! Keeps what was logged since the last one: the bytes of records, the length of segments, and when
//! the first of it was. Too much of any makes one due; so does a full disk, for a checkpoint gives
//! space back. Who makes it is the keeper's business.

use super::OnProgress;
use crate::config::Config;
use crate::database::Core;
use crate::error::CheckpointError;
use crate::sync::Ordering;
use gannet_storage::Storage;
use std::ops::ControlFlow;
use std::time::Duration;

/// After one that failed there is no other for so long.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// What was logged since the last checkpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SinceCheckpoint {
    /// Bytes of records.
    record_bytes: u64,
    /// Length of the segments begun.
    log_bytes: u64,
    /// Time of the first record.
    first: Option<Duration>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Schedule {
    since: SinceCheckpoint,
    /// Checkpoints that are being made, or are about to be.
    running: usize,
    /// There is no space for the log.
    is_wanted: bool,
    not_before: Duration,
    record_bytes_max: u64,
    log_bytes_max: u64,
    age_max: Duration,
}

impl Schedule {
    /// Of a database that was opened at `now` with a log of so many bytes of records, in segments
    /// of so many bytes.
    pub(crate) fn new(config: &Config, record_bytes: u64, log_bytes: u64) -> Self {
        let first = (record_bytes > 0).then(|| config.clock.now());
        Self {
            since: SinceCheckpoint { record_bytes, log_bytes, first },
            running: 0,
            is_wanted: false,
            not_before: Duration::ZERO,
            record_bytes_max: config.checkpoint_bytes,
            log_bytes_max: config.log_bytes_max,
            age_max: config.checkpoint_age,
        }
    }

    /// Notes records that were acknowledged.
    pub(crate) fn note_records(&mut self, bytes: u64, now: Duration) {
        self.since.record_bytes += bytes;
        self.since.first.get_or_insert(now);
    }

    /// Notes a segment that was begun.
    pub(crate) fn note_segment(&mut self, len_bytes: u64) {
        self.since.log_bytes += len_bytes;
    }

    /// Notes that there was no space for a segment.
    pub(crate) fn note_full_disk(&mut self) {
        self.is_wanted = self.since.first.is_some();
    }

    /// Length of the segments since the last checkpoint.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.since.log_bytes
    }

    /// When the next one is due; `None` while one is made, or for nothing to write.
    pub(crate) fn due(&self) -> Option<Duration> {
        let since = &self.since;
        let first = since.first.filter(|_| self.running == 0)?;
        let is_long = since.record_bytes >= self.record_bytes_max
            || since.log_bytes >= self.log_bytes_max / 2
            || self.is_wanted;
        let due = if is_long { Duration::ZERO } else { first + self.age_max };
        Some(due.max(self.not_before))
    }

    /// Whether commits wait: the log is as long as it may be, and will be shorter soon.
    pub(crate) fn holds_commits(&self) -> bool {
        self.running > 0 && self.since.log_bytes >= self.log_bytes_max
    }

    /// Notes that one is begun, or is about to be.
    pub(crate) fn begin(&mut self) {
        self.running += 1;
    }

    /// Begins anew; what was before.
    pub(crate) fn take(&mut self) -> SinceCheckpoint {
        self.is_wanted = false;
        std::mem::take(&mut self.since)
    }

    /// Notes the end of what [`begin`](Self::begin) was called for.
    pub(crate) fn end(&mut self) {
        self.running -= 1;
    }

    /// Goes back to what [`take`](Self::take) gave.
    pub(crate) fn restore(&mut self, before: SinceCheckpoint) {
        self.since.record_bytes += before.record_bytes;
        self.since.log_bytes += before.log_bytes;
        self.since.first = before.first.or(self.since.first);
    }
}

impl<S: Storage> Core<S> {
    /// Makes the checkpoint that is due. The schedule was told that it begins.
    pub(crate) fn scheduled_checkpoint(&self) {
        let on_progress: OnProgress<'_> = &mut |_| ControlFlow::Continue(());
        let go_on = || {
            let is_closing = self.is_closing.load(Ordering::Relaxed);
            if is_closing { Err(CheckpointError::Cancelled) } else { Ok(()) }
        };
        let made = {
            let _one = self.upkeep.lock();
            self.checkpoint(on_progress, &go_on)
        };
        let mut queue = self.queue.lock();
        queue.schedule.end();
        match made {
            Ok(_) | Err(CheckpointError::Cancelled | CheckpointError::Poisoned) => {}
            Err(error) => {
                queue.schedule.not_before = self.clock.now() + PAUSE_AFTER_FAILURE;
                queue.checkpoint_failure = Some(crate::error::with_causes(&error));
            }
        }
        drop(queue);
        self.changed.notify_all();
        self.work.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule(change: impl FnOnce(&mut Config)) -> Schedule {
        let mut config = Config::balanced();
        config.checkpoint_bytes = 1000 << 10;
        config.log_bytes_max = 64 << 20;
        config.checkpoint_age = 60 * SECOND;
        change(&mut config);
        Schedule::new(&config, 0, 0)
    }

    #[test]
    fn each_limit_makes_one_due() {
        let mut schedule = schedule(|_| {});
        assert_eq!(schedule.due(), None, "nothing was written");
        schedule.note_segment(1 << 20);
        schedule.note_records(100, 5 * SECOND);
        schedule.note_records(100, 7 * SECOND);
        assert_eq!(schedule.due(), Some(65 * SECOND), "the first record was at 5 s");
        let before = schedule.take();
        assert_eq!(schedule.due(), None);
        schedule.restore(before);
        assert_eq!(schedule.due(), Some(65 * SECOND));
        schedule.note_records(1000 << 10, 8 * SECOND);
        assert_eq!(schedule.due(), Some(Duration::ZERO), "bytes of records");
        schedule.take();
        schedule.note_records(1, 9 * SECOND);
        schedule.note_segment(32 << 20);
        assert_eq!(schedule.due(), Some(Duration::ZERO), "length of the log");
        schedule.take();
        schedule.note_records(1, 9 * SECOND);
        schedule.note_full_disk();
        assert_eq!(schedule.due(), Some(Duration::ZERO), "a full disk");
        schedule.not_before = 99 * SECOND;
        assert_eq!(schedule.due(), Some(99 * SECOND), "not soon after a failure");
    }

    #[test]
    fn commits_wait_for_a_checkpoint_that_is_made_and_for_no_other() {
        let mut schedule = schedule(|_| {});
        schedule.note_records(1, SECOND);
        schedule.note_segment(64 << 20);
        assert!(!schedule.holds_commits());
        schedule.begin();
        assert!(schedule.holds_commits());
        assert_eq!(schedule.due(), None, "one at a time");
        schedule.end();
        assert!(!schedule.holds_commits());
        schedule.begin();
        schedule.take();
        assert!(!schedule.holds_commits());
    }
}
