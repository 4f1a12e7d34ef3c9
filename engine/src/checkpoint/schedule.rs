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

/// After one that failed there is no other for so long, and each time twice as long, up to 2^6
/// times: each leaves a segment that is not full.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);
const DOUBLINGS_MAX: u32 = 6;
/// While another works on the files, it is looked at again after so long.
const PAUSE_WHILE_BUSY: Duration = Duration::from_secs(1);

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

/// How far a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    None,
    /// One that nobody asked for is about to be made.
    Begun,
    /// The state is frozen, and written.
    Writing,
    /// And there is no space for it but what is kept back.
    ShortOfSpace,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Schedule {
    since: SinceCheckpoint,
    work: Work,
    /// How many failed one after the other.
    failures: u32,
    /// There is no space for the log.
    is_wanted: bool,
    not_before: Duration,
    record_bytes_max: u64,
    log_bytes_max: u64,
    age_max: Duration,
}

impl Schedule {
    /// Of a database that was opened just now with a log of so many bytes of records, in segments
    /// of so many bytes.
    pub(crate) fn new(config: &Config, record_bytes: u64, log_bytes: u64) -> Self {
        let first = (record_bytes > 0).then(|| config.clock.now());
        Self {
            since: SinceCheckpoint { record_bytes, log_bytes, first },
            work: Work::None,
            failures: 0,
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

    /// Whether nothing was logged since the last checkpoint.
    pub(crate) fn has_nothing(&self) -> bool {
        self.since.first.is_none()
    }

    /// Whether a checkpoint needs the space that is left.
    pub(crate) fn is_short_of_space(&self) -> bool {
        self.work == Work::ShortOfSpace
    }

    /// Notes that a checkpoint needs the space that is left: commits that need a segment wait.
    pub(crate) fn note_short_of_space(&mut self) {
        if self.work == Work::Writing {
            self.work = Work::ShortOfSpace;
        }
    }

    /// Length of the segments since the last checkpoint.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.since.log_bytes
    }

    /// When the next one is due; `None` while one is made, or for nothing to write.
    pub(crate) fn due(&self) -> Option<Duration> {
        let since = &self.since;
        let first = since.first.filter(|_| self.work == Work::None)?;
        let is_long = since.record_bytes >= self.record_bytes_max
            || since.log_bytes >= self.log_bytes_max / 2
            || self.is_wanted;
        let due = if is_long { Duration::ZERO } else { first + self.age_max };
        Some(due.max(self.not_before))
    }

    /// Whether commits wait: the log is as long as it may be, or the space is needed, and a
    /// checkpoint that is being written will change that.
    pub(crate) fn holds_commits(&self) -> bool {
        let is_long = self.since.log_bytes >= self.log_bytes_max;
        self.is_short_of_space() || self.work == Work::Writing && is_long
    }

    /// Notes that one that nobody asked for is about to be made.
    pub(crate) fn begin_by_itself(&mut self) {
        self.work = Work::Begun;
    }

    /// Notes that the state is frozen, to be written.
    pub(crate) fn begin(&mut self) {
        self.work = Work::Writing;
    }

    /// Begins anew; what was before.
    pub(crate) fn take(&mut self) -> SinceCheckpoint {
        self.is_wanted = false;
        std::mem::take(&mut self.since)
    }

    /// Notes the end of what [`begin`](Self::begin) was called for.
    pub(crate) fn end(&mut self) {
        self.work = Work::None;
    }

    /// Goes back to what [`take`](Self::take) gave.
    pub(crate) fn restore(&mut self, before: SinceCheckpoint) {
        self.since.record_bytes += before.record_bytes;
        self.since.log_bytes += before.log_bytes;
        self.since.first = before.first.or(self.since.first);
    }
}

impl<S: Storage> Core<S> {
    /// Makes the checkpoint that is due, unless somebody works on the files. The schedule was told
    /// that it begins.
    pub(crate) fn scheduled_checkpoint(&self) {
        let on_progress: OnProgress<'_> = &mut |_| ControlFlow::Continue(());
        let go_on = || {
            let is_closing = self.is_closing.load(Ordering::Relaxed);
            if is_closing { Err(CheckpointError::Cancelled) } else { Ok(()) }
        };
        let made = self.upkeep.try_lock().map(|_one| self.checkpoint(on_progress, &go_on));
        let mut queue = self.queue.lock();
        if queue.schedule.work == Work::Begun {
            queue.schedule.work = Work::None;
        }
        match made {
            None => {
                let soon = self.clock.now() + PAUSE_WHILE_BUSY;
                queue.schedule.not_before = queue.schedule.not_before.max(soon);
            }
            Some(Ok(_)) => queue.schedule.failures = 0,
            Some(Err(CheckpointError::Cancelled | CheckpointError::Poisoned)) => {}
            Some(Err(error)) => {
                let doublings = queue.schedule.failures.min(DOUBLINGS_MAX);
                queue.schedule.failures += 1;
                queue.schedule.not_before =
                    self.clock.now() + PAUSE_AFTER_FAILURE * (1 << doublings);
                queue.checkpoint_failure = Some(crate::error::with_causes(&error));
            }
        }
        drop(queue);
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
        schedule.begin_by_itself();
        assert!(!schedule.holds_commits(), "it may have to wait itself");
        assert_eq!(schedule.due(), None, "one at a time");
        schedule.begin();
        assert!(schedule.holds_commits());
        schedule.end();
        assert!(!schedule.holds_commits());
        schedule.begin();
        schedule.take();
        assert!(!schedule.holds_commits());
        schedule.note_short_of_space();
        assert!(schedule.holds_commits() && schedule.is_short_of_space());
        schedule.end();
        schedule.note_short_of_space();
        assert!(!schedule.holds_commits() && !schedule.is_short_of_space());
    }
}
