//! The queue of batches between sequencing and acknowledgement.
//!
//! Keeps three lines in order of LSN: batches that wait, groups that are being written, and what is
//! acknowledged. A committing thread that finds room in the pipeline writes a group of all that
//! waits; one that finds none sleeps until its batch has ended, or until it is called to write the
//! next group. Groups are written and synced side by side and end in order: a group is applied to
//! the state and acknowledged when it and every group before it are durable.
//!
//! After the first failure nothing is acknowledged any more, not even a group that was written
//! before it: the kernel may have told of *its* loss to the one that failed.

use crate::commit::in_flight::InFlight;
use crate::commit::outcome::{Commit, Outcome};
use crate::damage::Lsn;
use crate::database::{Core, Writer};
use crate::error::CommitError;
use crate::log::writer::AppendError;
use crate::sequence::Sequenced;
use gannet_storage::{Error as StorageError, Storage};
use parking_lot::MutexGuard;
use std::collections::VecDeque;
use std::sync::Arc;

/// Groups that are written at the same time. Devices sync in parallel: see docs/BENCHMARKS.md.
const GROUPS_MAX: usize = 4;
/// Bytes of a group with more than one batch.
const GROUP_BYTES_MAX: usize = 1 << 20;
/// Bytes of batches that are not acknowledged, beyond which committers wait.
const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;

/// See the module's documentation.
pub(crate) struct Queue<S: Storage> {
    pub(crate) writer: Writer<S>,
    pub(crate) in_flight: InFlight,
    /// The last record that has a number.
    pub(crate) sequenced: Lsn,
    waiting: VecDeque<Batch>,
    groups: VecDeque<Group>,
    /// Number of the next group.
    next_group: u64,
    /// Of all batches in the two lines.
    bytes: usize,
    /// Threads that wait for the groups in flight to end, so that none may begin.
    drains: usize,
}

/// A sequenced batch.
struct Batch {
    body: Vec<u8>,
    records: u32,
    commit: Commit,
    outcome: Arc<Outcome>,
}

/// Batches in one frame.
struct Group {
    number: u64,
    batches: Vec<Batch>,
    is_durable: bool,
}

impl<S: Storage> Queue<S> {
    pub(crate) fn new(writer: Writer<S>) -> Self {
        let sequenced = writer.log.end().lsn;
        Self {
            writer,
            in_flight: InFlight::default(),
            sequenced,
            waiting: VecDeque::new(),
            groups: VecDeque::new(),
            next_group: 0,
            bytes: 0,
            drains: 0,
        }
    }

    /// Puts a sequenced batch in line.
    pub(crate) fn push(&mut self, sequenced: Sequenced) -> Arc<Outcome> {
        let Sequenced { body, records } = sequenced;
        let first_lsn = self.sequenced + 1;
        self.sequenced += Lsn::from(records);
        self.bytes += body.len();
        let commit = Commit { first_lsn, last_lsn: self.sequenced };
        let outcome = Arc::new(Outcome::default());
        self.waiting.push_back(Batch { body, records, commit, outcome: Arc::clone(&outcome) });
        outcome
    }

    /// Whether a committer has to wait before it is sequenced.
    pub(crate) fn is_closed(&self) -> bool {
        self.drains > 0 || self.bytes > IN_FLIGHT_BYTES_MAX
    }

    /// Whether a group can begin now.
    pub(crate) fn can_begin(&self) -> bool {
        !self.waiting.is_empty() && self.drains == 0 && self.groups.len() < GROUPS_MAX
    }

    /// Calls a sleeping waiter to write the next group. Whether there was one.
    fn call(&self) -> bool {
        self.waiting.iter().any(|batch| batch.outcome.call())
    }

    /// How many batches the next group has, and the bytes of their records.
    fn next_group(&self) -> (usize, usize) {
        let mut bytes = 0;
        let fits = |batch: &&Batch| {
            let is_first = bytes == 0;
            bytes += batch.body.len();
            is_first || bytes <= GROUP_BYTES_MAX
        };
        let count = self.waiting.iter().take_while(fits).count();
        (count, self.waiting.iter().take(count).map(|batch| batch.body.len()).sum())
    }

    /// Nothing is in flight any more: what has a number and was not written gives it back.
    fn forget(&mut self) {
        self.sequenced = self.writer.log.end().lsn;
        self.in_flight.clear();
        self.bytes = 0;
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

    fn write_group<'q>(&'q self, queue: MutexGuard<'q, Queue<S>>) -> MutexGuard<'q, Queue<S>> {
        let mut queue = match self.with_room(queue) {
            Ok(queue) => queue,
            Err(queue) => return queue,
        };
        let (count, _) = queue.next_group();
        let batches: Vec<_> = queue.waiting.drain(..count).collect();
        let records: u32 = batches.iter().map(|batch| batch.records).sum();
        let durable_upto = queue.durable_upto();
        let number = queue.next_group;
        queue.next_group += 1;
        if records == 0 {
            // They change nothing, and are acknowledged after what they depend on.
            queue.groups.push_back(Group { number, batches, is_durable: false });
            self.group_ended(&mut queue, number, Ok(()));
        } else {
            let bodies = batches.iter().map(|batch| &batch.body[..]);
            let frame = queue.writer.log.compose(&self.storage, bodies, records, durable_upto);
            queue.groups.push_back(Group { number, batches, is_durable: false });
            let written = MutexGuard::unlocked(&mut queue, || frame.write());
            queue.writer.log.give_back(frame);
            self.group_ended(&mut queue, number, written);
        }
        self.changed.notify_all();
        queue
    }

    /// The queue when the active segment has room for the next group.
    ///
    /// # Errors
    /// The queue, when there is no next group any more.
    #[expect(clippy::type_complexity, reason = "the same guard, either way")]
    fn with_room<'q>(
        &'q self,
        mut queue: MutexGuard<'q, Queue<S>>,
    ) -> Result<MutexGuard<'q, Queue<S>>, MutexGuard<'q, Queue<S>>> {
        let (_, body_len) = queue.next_group();
        if body_len == 0 || queue.writer.log.has_room(body_len) {
            return Ok(queue);
        }
        // No group of a segment is written before every group of the one before is durable.
        self.drain(&mut queue);
        let (count, body_len) = queue.next_group();
        if count == 0 {
            return Err(queue);
        }
        if body_len == 0 || queue.writer.log.has_room(body_len) {
            return Ok(queue);
        }
        let begun = queue
            .writer
            .ensure_root(&self.storage)
            .map_err(AppendError::before_writing)
            .and_then(|()| queue.writer.log.begin_segment_for(&self.storage, body_len));
        match begun {
            Ok(()) => Ok(queue),
            Err(error) => {
                self.refuse_waiting(&mut queue, error);
                self.changed.notify_all();
                Err(queue)
            }
        }
    }

    /// Waits until no group is in flight, while none can begin.
    fn drain(&self, queue: &mut MutexGuard<'_, Queue<S>>) {
        queue.drains += 1;
        while !queue.groups.is_empty() {
            self.changed.wait(queue);
        }
        queue.drains -= 1;
        self.changed.notify_all();
    }

    /// Takes the queue for work on log, root and files: no group is in flight while it is held.
    pub(crate) fn exclusive(&self) -> Exclusive<'_, S> {
        let mut queue = self.queue.lock();
        self.drain(&mut queue);
        Exclusive { queue }
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
        if let Err(error) = written {
            self.fail_all(queue, &error);
            return;
        }
        queue.groups[index].is_durable = true;
        while queue.groups.front().is_some_and(|group| group.is_durable) {
            let group = queue.groups.pop_front().expect("it is there");
            let mut state = self.state.write();
            for batch in &group.batches {
                let applied = state.apply_all(batch.records, &batch.body);
                applied.unwrap_or_else(|field| panic!("a checked batch does not apply: {field}"));
            }
            drop(state);
            let last = group.batches.last().expect("a group has a batch").commit.last_lsn;
            queue.bytes -= group.batches.iter().map(|batch| batch.body.len()).sum::<usize>();
            if queue.waiting.is_empty() && queue.groups.is_empty() {
                queue.in_flight.clear();
            } else {
                queue.in_flight.applied(last);
            }
            for batch in group.batches {
                batch.outcome.finish(Ok(batch.commit));
            }
        }
    }

    /// Nothing more of the log is written, and no batch in flight is acknowledged.
    pub(crate) fn fail_all(&self, queue: &mut Queue<S>, error: &StorageError) {
        self.poison();
        for batch in queue.groups.drain(..).flat_map(|group| group.batches) {
            batch.outcome.finish(Err(CommitError::Unknown(copy_of(error))));
        }
        for batch in queue.waiting.drain(..) {
            batch.outcome.finish(Err(CommitError::Poisoned));
        }
        queue.forget();
        queue.writer.log.abandon();
    }

    /// Nothing of what waits was written, and no group is in flight.
    fn refuse_waiting(&self, queue: &mut Queue<S>, error: AppendError) {
        let error = self.note_append(error).into_source();
        for batch in queue.waiting.drain(..) {
            batch.outcome.finish(Err(CommitError::refused(copy_of(&error))));
        }
        queue.forget();
    }
}

impl<S: Storage> Queue<S> {
    /// The end of the longest prefix of groups that are durable.
    fn durable_upto(&self) -> Lsn {
        let first = self.groups.front().and_then(|group| group.batches.first());
        first.map_or_else(|| self.writer.log.end().lsn, |batch| batch.commit.first_lsn - 1)
    }
}

/// The queue while no group is in flight. Batches may wait; they are written after it.
pub(crate) struct Exclusive<'q, S: Storage> {
    queue: MutexGuard<'q, Queue<S>>,
}

impl<S: Storage> std::ops::Deref for Exclusive<'_, S> {
    type Target = Writer<S>;

    fn deref(&self) -> &Writer<S> {
        &self.queue.writer
    }
}

impl<S: Storage> std::ops::DerefMut for Exclusive<'_, S> {
    fn deref_mut(&mut self) -> &mut Writer<S> {
        &mut self.queue.writer
    }
}

impl<S: Storage> Drop for Exclusive<'_, S> {
    fn drop(&mut self) {
        if self.queue.can_begin() {
            self.queue.call();
        }
    }
}

/// The same error for a further batch of the group.
fn copy_of(error: &StorageError) -> StorageError {
    let copy = StorageError::new(error.kind(), error.op(), error.place());
    let copy = match error.range() {
        Some(range) => copy.at(range),
        None => copy,
    };
    match std::error::Error::source(error) {
        Some(source) => copy.because(source.to_string()),
        None => copy,
    }
}
