//! The queue of batches between sequencing and acknowledgement.
//!
//! Keeps three lines in order of LSN: batches that wait, groups that are being written, and what is
//! acknowledged. A committing thread that finds room in the pipeline writes a group of all that
//! waits; one that finds none, or too few batches for a sync of their own, sleeps until its batch
//! has ended, or until it is called to write the next group. Groups are written and synced side by
//! side and end in order: a group is applied to the state and acknowledged when it and every group
//! before it are written, strict ones synced.
//!
//! After the first failure nothing is acknowledged any more, not even a group that was written
//! before it: the kernel may have told of *its* loss to the one that failed.

use crate::checkpoint::schedule::Schedule;
use crate::commit::condition::Recent;
use crate::commit::exclusive::Exclusive;
use crate::commit::in_flight::InFlight;
use crate::commit::outcome::{Commit, Outcome, copy_of, unknown};
use crate::commit::publish::Effect;
use crate::config::{Config, Durability};
use crate::damage::Lsn;
use crate::database::{Core, Writer};
use crate::error::CommitError;
use crate::log::writer::{AppendError, ComposedFrame};
use crate::metrics::CommitMetrics;
use crate::sequence::Sequenced;
use crate::sync::MutexGuard;
use gannet_storage::{
    Durability as Level, Error as StorageError, ErrorKind, Op, Storage, WriteFile,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Groups that are written at the same time: with one, the device waits for the threads that are to
/// write the next; with four, syncs of one file wait for each other (decision 0009).
const GROUPS_MAX: usize = 2;

/// See the module's documentation.
pub(crate) struct Queue<S: Storage> {
    pub(crate) writer: Writer<S>,
    pub(crate) in_flight: InFlight,
    /// Keys that were written last, while anybody has a condition of them checked.
    pub(crate) recent: Recent,
    /// The last record that has a number.
    pub(crate) sequenced: Lsn,
    /// Of buffered groups that no sync was issued for: bytes, and the time of the first.
    unsynced_bytes: u64,
    unsynced_since: Option<Duration>,
    /// Syncs of buffered groups that are being made.
    syncs: usize,
    /// Time of the last acknowledgement.
    last_end: Duration,
    pub(crate) metrics: CommitMetrics,
    /// Memory for the records of the next batch.
    pub(super) body: Vec<u8>,
    /// What the keeper is doing.
    pub(crate) keeper: KeeperState,
    /// When the next checkpoint is due.
    pub(crate) schedule: Schedule,
    /// Why the last checkpoint that nobody asked for was not made.
    pub(crate) checkpoint_failure: Option<String>,
    waiting: VecDeque<Batch>,
    groups: VecDeque<Group>,
    /// Acknowledged, and not told yet.
    ended: Vec<Batch>,
    /// Number of the next group.
    next_group: u64,
    /// Of all batches in the two lines.
    pub(super) bytes: usize,
    /// Threads that wait for the groups in flight to end, so that none may begin.
    pub(super) drains: usize,
    limits: Limits,
}

/// The keeper, as the queue knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeeperState {
    /// It sleeps until it is told of something.
    pub(crate) is_idle: bool,
    /// It shall end.
    pub(crate) is_closing: bool,
    pub(crate) spare: SpareWork,
    /// There was no space for the reserve; not tried again before the next segment.
    pub(crate) lacks_reserve: bool,
}

/// The making of a spare segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SpareWork {
    /// It is made when one is wanted.
    #[default]
    Ready,
    /// One is being made.
    Making,
    /// One could not be made; not tried again while this segment is active.
    GaveUp,
}

/// Of the configuration, what the queue looks at.
#[derive(Clone, Copy, Debug)]
struct Limits {
    group_bytes: usize,
    in_flight_bytes: usize,
    group_delay: Duration,
    sync_bytes: u64,
    sync_interval: Duration,
    reserve_bytes: u64,
}

/// A sequenced batch.
struct Batch {
    body: Vec<u8>,
    records: u32,
    is_of_keys: bool,
    durability: Durability,
    commit: Commit,
    outcome: Arc<Outcome>,
}

impl Batch {
    fn effect(&self) -> Effect<'_> {
        let Self { body, records, is_of_keys, commit, .. } = self;
        let first_lsn = commit.first_lsn;
        Effect { body, records: *records, first_lsn, is_of_keys: *is_of_keys }
    }
}

/// Batches in one frame.
struct Group {
    number: u64,
    batches: Vec<Batch>,
    durability: Durability,
    /// As far as its durability says.
    is_written: bool,
}

impl<S: Storage> Queue<S> {
    pub(crate) fn new(writer: Writer<S>, config: &Config, schedule: Schedule) -> Self {
        let sequenced = writer.log.end().lsn;
        let limits = Limits {
            group_bytes: config.group_bytes_max,
            in_flight_bytes: config.inflight_bytes_max,
            group_delay: Duration::from_micros(config.group_delay_us.into()),
            sync_bytes: config.sync_bytes,
            sync_interval: config.sync_interval,
            reserve_bytes: config.segment_bytes_max(),
        };
        Self {
            writer,
            in_flight: InFlight::default(),
            recent: Recent::default(),
            sequenced,
            unsynced_bytes: 0,
            unsynced_since: None,
            syncs: 0,
            last_end: Duration::ZERO,
            metrics: CommitMetrics::default(),
            body: Vec::new(),
            keeper: KeeperState::default(),
            schedule,
            checkpoint_failure: None,
            limits,
            waiting: VecDeque::new(),
            groups: VecDeque::new(),
            ended: Vec::new(),
            next_group: 0,
            bytes: 0,
            drains: 0,
        }
    }

    /// Puts a sequenced batch in line.
    pub(crate) fn push(&mut self, sequenced: Sequenced, durability: Durability) -> Arc<Outcome> {
        let Sequenced { body, records, is_of_keys } = sequenced;
        let first_lsn = self.sequenced + 1;
        self.sequenced += Lsn::from(records);
        self.bytes += body.len();
        self.metrics.queue_bytes(self.bytes);
        let commit = Commit { first_lsn, last_lsn: self.sequenced };
        let outcome = Arc::new(Outcome::default());
        let to_tell = Arc::clone(&outcome);
        self.waiting.push_back(Batch {
            body,
            records,
            is_of_keys,
            durability,
            commit,
            outcome: to_tell,
        });
        outcome
    }

    /// Notes records that were acknowledged, for the next checkpoint.
    pub(super) fn note_records(&mut self, bytes: usize) {
        self.schedule.note_records(bytes as u64, self.last_end);
    }

    /// Whether a committer has to wait before it is sequenced.
    pub(crate) fn is_closed(&self) -> bool {
        self.drains > 0 || self.bytes > self.limits.in_flight_bytes || self.schedule.holds_commits()
    }

    /// Whether a group can begin now. Beside others it begins when it has as many batches as they
    /// have on average: a few writers are in the device side by side, many share a sync instead.
    pub(crate) fn can_begin(&self) -> bool {
        let in_groups = self.groups.iter().map(|group| group.batches.len()).sum::<usize>();
        let is_worth_it = self.waiting.len() * self.groups.len() >= in_groups;
        let is_open = self.drains == 0 && self.groups.len() < GROUPS_MAX;
        !self.waiting.is_empty() && is_open && is_worth_it
    }

    /// Calls a sleeping waiter to write the next group. Whether there was one.
    pub(super) fn call(&self) -> bool {
        self.waiting.iter().any(|batch| batch.outcome.call())
    }

    /// How many batches the next group has, and the bytes of their records.
    pub(super) fn next_group(&self) -> (usize, usize) {
        let mut bytes = 0;
        let fits = |batch: &&Batch| {
            let is_first = bytes == 0;
            bytes += batch.body.len();
            is_first || bytes <= self.limits.group_bytes
        };
        let count = self.waiting.iter().take_while(fits).count();
        (count, self.waiting.iter().take(count).map(|batch| batch.body.len()).sum())
    }

    /// Nothing is in flight any more: what has a number and was not written gives it back.
    fn forget(&mut self) {
        if !mutant!("refused-keeps-numbers") {
            self.sequenced = self.writer.log.end().lsn;
            self.recent.end();
        }
        if !mutant!("refused-stays-in-flight") {
            self.in_flight.clear();
        }
        self.bytes = 0;
        self.metrics.queue_bytes(0);
    }
}

impl<S: Storage> Core<S> {
    /// Writes groups until nothing waits, the pipeline is full, or somebody else was called to go
    /// on. A group can begin when this is called.
    pub(crate) fn write_groups<'q>(
        &'q self,
        mut queue: MutexGuard<'q, Queue<S>>,
    ) -> MutexGuard<'q, Queue<S>> {
        loop {
            queue = self.write_group(queue);
            if !queue.can_begin() || queue.call() {
                return queue;
            }
        }
    }

    fn write_group<'q>(&'q self, mut queue: MutexGuard<'q, Queue<S>>) -> MutexGuard<'q, Queue<S>> {
        if !queue.limits.group_delay.is_zero() && !queue.groups.is_empty() {
            // Others are on their way; what comes meanwhile joins the group.
            let until = self.clock.now() + queue.limits.group_delay;
            loop {
                let left = until.saturating_sub(self.clock.now());
                if left.is_zero() {
                    break;
                }
                let _ = self.gathering.wait_for(&mut queue, left);
                if queue.waiting.is_empty() {
                    // Another group has taken them along.
                    return queue;
                }
            }
            if !queue.can_begin() {
                // Who ends a group that is in flight goes on.
                return queue;
            }
        }
        if self.check_poison().is_err() {
            // Also by what is no failure of the log: a checkpoint that could not sync names.
            self.end_waiting(&mut queue);
            return queue;
        }
        let mut queue = match self.with_room(queue) {
            Ok(queue) => queue,
            Err(queue) => return queue,
        };
        let (count, _) = queue.next_group();
        let batches: Vec<_> = queue.waiting.drain(..count).collect();
        let records: u32 = batches.iter().map(|batch| batch.records).sum();
        let is_strict = batches.iter().any(|batch| batch.durability == Durability::Strict);
        let durability = if is_strict { Durability::Strict } else { Durability::Buffered };
        let number = queue.next_group;
        queue.next_group += 1;
        if records == 0 {
            // They change nothing, and are acknowledged after what they depend on.
            queue.groups.push_back(Group { number, batches, durability, is_written: false });
            let synced = if is_strict { self.sync(&mut queue) } else { Ok(()) };
            self.group_ended(&mut queue, number, synced.map_err(|_| unknown()));
        } else if self.is_in_memory() {
            queue.writer.log.skip(records);
            queue.groups.push_back(Group { number, batches, durability, is_written: false });
            self.group_ended(&mut queue, number, Ok(()));
        } else {
            let durable_upto = queue.stated_upto();
            let bodies = batches.iter().map(|batch| &batch.body[..]);
            let level = if is_strict { Level::Data } else { Level::Deferred };
            let log = &mut queue.writer.log;
            let frame = log.compose(&self.storage, bodies, records, durable_upto, level);
            mutant!("publish-before-log" => {
                self.publish(batches.iter().map(Batch::effect));
            });
            queue.groups.push_back(Group { number, batches, durability, is_written: false });
            let written = if is_strict {
                self.indexing.note_sync();
                let began = self.clock.now();
                let written = MutexGuard::unlocked(&mut queue, || {
                    // At once: a kernel tells of a loss to one thread, and it may be another's.
                    frame.write(level).inspect_err(|_| self.poison())
                });
                if written.is_ok() {
                    queue.last_end = self.clock.now();
                    let took = queue.last_end.saturating_sub(began);
                    queue.metrics.synced(took);
                }
                written
            } else {
                self.write_buffered(&mut queue, &frame)
            };
            queue.writer.log.give_back(frame);
            self.group_ended(&mut queue, number, written);
        }
        self.changed.notify_all();
        let ended = std::mem::take(&mut queue.ended);
        if !ended.is_empty() {
            // Whoever wakes up wants the lock next.
            MutexGuard::unlocked(&mut queue, || tell(ended));
        }
        self.after_write(&mut queue);
        queue
    }

    /// Gives a frame to the system's memory: sooner done than a lock is given away and taken. The
    /// next frame may share its last block, so it has to be there before.
    pub(super) fn write_buffered(
        &self,
        queue: &mut Queue<S>,
        frame: &ComposedFrame<S>,
    ) -> Result<(), StorageError> {
        let is_timed = queue.metrics.times_a_write();
        let began = (is_timed || queue.unsynced_since.is_none()).then(|| self.clock.now());
        queue.unsynced_bytes += frame.new_bytes();
        queue.unsynced_since = queue.unsynced_since.or(began);
        frame.write(Level::Deferred)?;
        queue.last_end = self.clock.now();
        if let (true, Some(began)) = (is_timed, began) {
            let took = queue.last_end.saturating_sub(began);
            queue.metrics.wrote(took);
        }
        Ok(())
    }

    /// What a group leaves to do: syncs buffered ones that are many, wakes the keeper.
    pub(super) fn after_write(&self, queue: &mut MutexGuard<'_, Queue<S>>) {
        let limit = queue.limits.sync_bytes;
        while queue.unsynced_bytes >= limit && queue.syncs > 0 && self.check_poison().is_ok() {
            // Or ever more of them would begin, and none of what they cover be durable.
            self.changed.wait(queue);
        }
        if queue.unsynced_bytes >= limit {
            // A failure has poisoned the database, and every later commit says so.
            let _ = self.sync(queue);
        }
        if queue.keeper.is_idle || queue.is_sync_near() && queue.syncs == 0 {
            self.work.notify_one();
        }
    }

    /// Takes the queue for work on log, root and files: no group is in flight while it is held.
    pub(crate) fn exclusive(&self) -> Exclusive<'_, S> {
        let mut queue = self.queue.lock();
        queue.drains += 1;
        self.wait_until_drained(&mut queue);
        queue.drains -= 1;
        self.changed.notify_all();
        Exclusive { core: self, queue, was_panicking: std::thread::panicking() }
    }

    /// Writes and acknowledges everything that waits.
    pub(crate) fn flush_waiting(&self) {
        let mut queue = self.queue.lock();
        while !queue.waiting.is_empty() {
            if queue.can_begin() {
                queue = self.write_groups(queue);
            } else {
                self.changed.wait(&mut queue);
            }
        }
    }

    fn group_ended(&self, queue: &mut Queue<S>, number: u64, written: Result<(), StorageError>) {
        // After a failure the lines are empty.
        let Some(index) = queue.groups.iter().position(|group| group.number == number) else {
            return;
        };
        let written = written.and_then(|()| self.check_poison().map_err(|()| unknown()));
        if let Err(error) = written {
            self.fail_all(queue, &error);
            return;
        }
        queue.groups[index].is_written = true;
        while queue.groups.front().is_some_and(|group| group.is_written) {
            // Applied while it is in line: a panic then ends it with all others.
            let group = queue.groups.front().expect("it is there");
            let is_out = mutant!("publish-before-log");
            let batches = if is_out { &[][..] } else { &group.batches[..] };
            mutant!("half-batch-visible" => {
                for batch in batches {
                    crate::mutants::publish_in_steps(self, batch.effect());
                }
            });
            let is_out = mutant!("half-batch-visible");
            let batches = if is_out { &[][..] } else { batches };
            self.publish(batches.iter().map(Batch::effect));
            let group = queue.groups.pop_front().expect("it is there");
            let last = group.batches.last().expect("a group has a batch").commit.last_lsn;
            if group.durability == Durability::Strict || mutant!("buffered-counted-as-synced") {
                // Its sync was issued after every group before it had been written.
                queue.writer.log.note_synced(last);
            }
            let bytes = group.batches.iter().map(|batch| batch.body.len()).sum::<usize>();
            let records = group.batches.iter().map(|batch| batch.records).sum::<u32>();
            queue.bytes -= bytes;
            queue.metrics.queue_bytes(queue.bytes);
            queue.metrics.group_ended(group.batches.len(), records, bytes);
            if records > 0 {
                queue.note_records(bytes);
            }
            if queue.waiting.is_empty() && queue.groups.is_empty() {
                queue.in_flight.clear();
            } else {
                queue.in_flight.applied(last);
            }
            queue.ended.extend(group.batches);
        }
    }

    /// Makes everything durable that is acknowledged; commits go on meanwhile.
    ///
    /// # Errors
    /// The database is poisoned.
    pub(crate) fn sync(&self, queue: &mut MutexGuard<'_, Queue<S>>) -> Result<(), CommitError> {
        let upto = queue.writer.log.end().lsn;
        if queue.writer.log.synced() >= upto {
            // By a strict commit, or by a marker.
            queue.unsynced_bytes = 0;
            queue.unsynced_since = None;
            return Ok(());
        }
        mutant!("wrong-segment-synced" => {
            if queue.writer.log.next_number() > 2 {
                queue.writer.log.note_synced(upto);
                return Ok(());
            }
        });
        self.check_poison().map_err(|()| CommitError::Poisoned)?;
        let Some(file) = queue.writer.log.begin_sync() else { return Ok(()) };
        queue.unsynced_bytes = 0;
        queue.unsynced_since = None;
        let began = self.clock.now();
        queue.syncs += 1;
        let synced = MutexGuard::unlocked(queue, || {
            mutant!("flush-without-sync" => { return Ok(()); });
            let synced = file.sync(Level::Data);
            if mutant!("failed-sync-forgiven") {
                return Ok(());
            }
            synced.inspect_err(|_| self.poison())
        });
        queue.syncs -= 1;
        self.changed.notify_all();
        let took = self.clock.now().saturating_sub(began);
        if let Err(error) = synced {
            self.fail_all(queue, &error);
            return Err(CommitError::Unknown(error));
        }
        // Another thread may have failed meanwhile, and its failure may be of these bytes.
        self.check_poison().map_err(|()| CommitError::Poisoned)?;
        queue.writer.log.note_synced(upto);
        queue.metrics.synced(took);
        Ok(())
    }

    /// Nothing more of the log is written, and no batch in flight is acknowledged.
    pub(crate) fn fail_all(&self, queue: &mut Queue<S>, error: &StorageError) {
        self.poison();
        tell(std::mem::take(&mut queue.ended));
        for batch in queue.groups.drain(..).flat_map(|group| group.batches) {
            batch.outcome.finish(Err(CommitError::Unknown(copy_of(error))));
        }
        self.end_waiting(queue);
        queue.writer.log.abandon();
    }

    /// A panic began while the log was worked on.
    pub(crate) fn end_by_panic(&self, queue: &mut Queue<S>) {
        let error = StorageError::new(ErrorKind::Failed, Op::Write, "log");
        self.fail_all(queue, &error.because("a thread that was writing panicked"));
        // Whoever was making it: nobody waits for it any more.
        queue.keeper.spare = SpareWork::GaveUp;
    }

    /// The database is poisoned, and no group is in flight.
    pub(super) fn end_waiting(&self, queue: &mut Queue<S>) {
        for batch in queue.waiting.drain(..) {
            batch.outcome.finish(Err(CommitError::Poisoned));
        }
        queue.forget();
        self.changed.notify_all();
    }

    /// Nothing of what waits was written, and no group is in flight.
    pub(super) fn refuse_waiting(&self, queue: &mut Queue<S>, error: AppendError) {
        let error = self.note_append(error).into_source();
        for batch in queue.waiting.drain(..) {
            batch.outcome.finish(Err(CommitError::refused(copy_of(&error))));
        }
        queue.forget();
    }
}

impl<S: Storage> Queue<S> {
    /// The end of the longest prefix of groups that are durable.
    pub(crate) fn durable_upto(&self) -> Lsn {
        let first = self.groups.front().and_then(|group| group.batches.first());
        let synced = self.writer.log.synced();
        first.map_or(synced, |batch| synced.min(batch.commit.first_lsn - 1))
    }

    /// Number and length of the spare that is to be made now, `is_soon` if the active segment will
    /// be left before it is full. While somebody drains the queue that number may be given to a
    /// segment.
    pub(crate) fn wants_spare(&self, is_soon: bool) -> Option<(u64, u64)> {
        let is_short = self.schedule.is_short_of_space();
        let may = self.keeper.spare == SpareWork::Ready && self.drains == 0 && !is_short;
        self.writer.log.wants_spare(is_soon).filter(|_| may)
    }

    /// What the next frame says of those before it.
    pub(super) fn stated_upto(&self) -> Lsn {
        mutant!("durable-upto-too-early" => { return self.writer.log.end().lsn; });
        self.durable_upto()
    }

    /// Whether no group is being written, and no spare made.
    pub(super) fn is_drained(&self) -> bool {
        self.groups.is_empty() && self.keeper.spare != SpareWork::Making
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.groups.is_empty()
    }

    /// Length of the reserve that is wanted now, if it is more than there is.
    pub(crate) fn wants_reserve(&self, len_bytes: u64) -> Option<u64> {
        let wanted = self.schedule.log_bytes().min(self.limits.reserve_bytes);
        let is_short = self.schedule.is_short_of_space();
        let may = !self.keeper.lacks_reserve && self.writer.log.is_writing() && !is_short;
        (may && wanted > len_bytes).then_some(wanted)
    }

    /// When the keeper syncs buffered groups: before they are so many that whoever commits has to.
    pub(crate) fn sync_due(&self) -> Option<Duration> {
        let since = self.unsynced_since?;
        Some(if self.is_sync_near() { since } else { since + self.limits.sync_interval })
    }

    /// Whether half of what may be not synced is.
    fn is_sync_near(&self) -> bool {
        self.unsynced_bytes >= self.limits.sync_bytes / 2
    }

    /// Time of the last acknowledgement.
    pub(crate) fn last_end(&self) -> Duration {
        self.last_end
    }
}

/// Tells waiters that their batches are acknowledged.
fn tell(ended: Vec<Batch>) {
    for batch in ended {
        batch.outcome.finish(Ok(batch.commit));
    }
}
