//! What becomes of one batch, told to whoever waits for it.

use crate::damage::Lsn;
use crate::error::CommitError;
use crate::sync::{Condvar, Mutex};
use gannet_storage::{Error as StorageError, ErrorKind, Op};

/// An acknowledged commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// First record of the batch.
    pub first_lsn: Lsn,
    /// Last record of the batch; the one before `first_lsn` if the batch changed nothing.
    pub last_lsn: Lsn,
}

/// The place where a batch's waiter and those who write meet.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
enum State {
    /// In flight, and nobody waits.
    #[default]
    Unwatched,
    /// In flight, and its waiter sleeps or is about to.
    Watched,
    /// In flight; its waiter shall write the next group, and may not know yet.
    Called,
    Done(Result<Commit, CommitError>),
    Taken,
}

/// Why a waiter woke up.
#[derive(Debug)]
pub(crate) enum Wake {
    /// It shall write the next group.
    Called,
    /// Its batch has ended.
    Done(Result<Commit, CommitError>),
}

impl Outcome {
    /// Ends it and wakes its waiter.
    pub(crate) fn finish(&self, result: Result<Commit, CommitError>) {
        *self.state.lock() = State::Done(result);
        if !mutant!("waiter-not-woken") {
            self.changed.notify_one();
        }
    }

    /// Says that somebody will [`wait`](Self::wait). Said while the queue is locked, so that
    /// nobody who is needed can be missed.
    pub(crate) fn watch(&self) {
        let mut state = self.state.lock();
        if matches!(*state, State::Unwatched) {
            *state = State::Watched;
        }
    }

    /// Calls its waiter to write the next group, if there is one.
    pub(crate) fn call(&self) -> bool {
        let mut state = self.state.lock();
        if !matches!(*state, State::Watched | State::Called) {
            return false;
        }
        *state = State::Called;
        self.changed.notify_one();
        true
    }

    /// Sleeps until it has ended or its waiter is called.
    ///
    /// # Panics
    /// If the result was taken before: there is one waiter.
    pub(crate) fn wait(&self) -> Wake {
        let mut state = self.state.lock();
        loop {
            match std::mem::replace(&mut *state, State::Watched) {
                State::Done(result) => {
                    *state = State::Taken;
                    return Wake::Done(result);
                }
                State::Called => return Wake::Called,
                State::Unwatched | State::Watched => self.changed.wait(&mut state),
                State::Taken => panic!("the outcome of a batch is taken once"),
            }
        }
    }

    /// The result, if it has ended.
    pub(crate) fn take(&self) -> Option<Result<Commit, CommitError>> {
        let mut state = self.state.lock();
        if !matches!(*state, State::Done(_)) {
            return None;
        }
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(result) => Some(result),
            State::Unwatched | State::Watched | State::Called | State::Taken => None,
        }
    }
}

/// Of a group whose own write succeeded beside one that failed.
pub(super) fn unknown() -> StorageError {
    StorageError::new(ErrorKind::Failed, Op::Sync, "log")
}

/// The same error for a further batch of the group.
pub(super) fn copy_of(error: &StorageError) -> StorageError {
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
