//! The lock file of a directory: found or made, and locked.
//!
//! Keeps the rule that decides whose directory it is: an empty one is anybody's, one with a lock
//! file is a storage's, any other is foreign and stays as it is. What is done under the lock is
//! left to others.

use crate::holder::Holder;
use crate::platform;
use gannet_storage::{Error, ErrorKind, LOCK_NAME, Op, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

/// Between two tries to take a lock that another holds.
const STEP: Duration = Duration::from_millis(50);

/// The exclusive lock of a directory, free again when this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct DirLock {
    /// A descriptor of its own: on no platform does closing a data file free the lock.
    file: File,
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing is not enough: a program that another thread is starting just now has copies of
        // all descriptors until its `exec`. A failure leaves it to the closing.
        let _ = self.file.unlock();
    }
}

#[cfg(unix)]
impl AsFd for DirLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl DirLock {
    /// Locks the directory `root`, trying again every 50 ms for `wait`.
    ///
    /// # Errors
    /// `Locked` with the holder as source; `Foreign`; `ReadOnly` or `Denied` where a lock file is
    /// missing and cannot be made; `Unsupported` where the file system has no locks; `Io`.
    pub(crate) fn take(root: &Path, wait: Duration) -> Result<Self> {
        Self::take_with(root, wait, File::try_lock, std::thread::sleep)
    }

    /// Makes the lock file durable; its name is durable after a sync of the directory.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn take_with(
        root: &Path,
        wait: Duration,
        mut try_lock: impl FnMut(&File) -> Result<(), TryLockError>,
        mut pause: impl FnMut(Duration),
    ) -> Result<Self> {
        let path = root.join(LOCK_NAME);
        let failed = |source| Error::io(Op::Lock, root.display().to_string(), source);
        let mut left = wait;
        loop {
            // Opened anew each time: the holder may have removed the whole directory meanwhile.
            let found = find_or_make(root, &path)?;
            if let Some(file) = &found {
                match try_lock(file) {
                    Ok(()) => {
                        if platform::is_named(file, &path).map_err(failed)? {
                            Holder::write(file);
                            return Ok(Self { file: found.expect("it was just locked") });
                        }
                    }
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => {
                        if error.kind() != io::ErrorKind::Interrupted {
                            return Err(failed(error));
                        }
                    }
                }
            }
            if left.is_zero() {
                let locked = Error::new(ErrorKind::Locked, Op::Lock, root.display().to_string());
                return Err(match &found {
                    Some(file) => locked.because(Holder::read(file)),
                    None => locked,
                });
            }
            pause(left.min(STEP));
            left = left.saturating_sub(STEP);
        }
    }
}

/// Opens the lock file, or makes it in an empty directory. `None` if another process made or
/// removed it at the same time.
fn find_or_make(root: &Path, path: &Path) -> Result<Option<File>> {
    let place = || root.display().to_string();
    let foreign = || Error::new(ErrorKind::Foreign, Op::OpenStorage, place());
    match open(path) {
        Ok(file) if file.metadata().is_ok_and(|meta| meta.is_file()) => return Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => {
            if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) {
                return Err(foreign().because("its lock is not a regular file"));
            }
            return match opened {
                Ok(_) => Ok(None),
                Err(error) => Err(Error::io(Op::Lock, place(), error)),
            };
        }
    }
    let mut entries = fs::read_dir(root).map_err(|e| Error::io(Op::OpenStorage, place(), e))?;
    if entries.next().is_some() {
        // A storage makes its lock before anything else: if what was seen is a storage's that is
        // being made right now, the lock can be seen by now.
        return match fs::symlink_metadata(path) {
            Ok(_) => Ok(None),
            Err(_) => Err(foreign()),
        };
    }
    let mut options = OpenOptions::new();
    match platform::guard(options.read(true).write(true).create_new(true)).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(Error::io(Op::Lock, place(), error)),
    }
}

/// Opens an existing lock file, only for reading where nothing else is allowed: it can be locked
/// all the same.
fn open(path: &Path) -> io::Result<File> {
    let with = |write| {
        let mut options = OpenOptions::new();
        platform::guard(options.read(true).write(write)).open(path)
    };
    match with(true) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            with(false)
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Locks `root`; instead of pausing calls `meanwhile` with the number of the pause, from 1.
    fn take(root: &Path, wait: Duration, mut meanwhile: impl FnMut(u32)) -> (u32, Result<DirLock>) {
        let mut pauses = 0;
        let taken = DirLock::take_with(root, wait, File::try_lock, |_| {
            pauses += 1;
            meanwhile(pauses);
        });
        (pauses, taken)
    }

    #[test]
    fn contention_is_retried_in_steps_until_the_wait_is_over() {
        let dir = tempfile::tempdir().expect("directory");
        let first = DirLock::take(dir.path(), Duration::ZERO).expect("free");
        for (wait_ms, pauses_ms) in [(0, vec![]), (50, vec![50]), (120, vec![50, 50, 20])] {
            let mut paused = Vec::new();
            let wait = Duration::from_millis(wait_ms);
            let taken = DirLock::take_with(dir.path(), wait, File::try_lock, |pause| {
                paused.push(pause.as_millis());
            });
            let error = taken.expect_err("held");
            assert_eq!((error.kind(), error.op()), (ErrorKind::Locked, Op::Lock));
            assert_eq!(paused, pauses_ms);
        }
        drop(first);
        DirLock::take(dir.path(), Duration::ZERO).expect("free again");
    }

    #[test]
    fn a_lock_that_becomes_free_during_the_wait_is_taken() {
        let dir = tempfile::tempdir().expect("directory");
        let mut holder = Some(DirLock::take(dir.path(), Duration::ZERO).expect("free"));
        let (pauses, taken) = take(dir.path(), Duration::from_secs(1), |pause| {
            if pause == 3 {
                holder = None;
            }
        });
        taken.expect("taken after the holder went away");
        assert_eq!(pauses, 3);
    }

    #[test]
    fn an_interrupted_try_is_tried_again_and_another_failure_is_an_error() {
        let dir = tempfile::tempdir().expect("directory");
        let mut failures = vec![io::ErrorKind::Unsupported, io::ErrorKind::Interrupted];
        let mut attempt = || {
            let fail = |file: &File| match failures.pop() {
                Some(kind) => Err(TryLockError::Error(kind.into())),
                None => file.try_lock(),
            };
            DirLock::take_with(dir.path(), Duration::from_secs(1), fail, |_| {})
        };
        let error = attempt().expect_err("the second try is refused");
        assert_eq!((error.kind(), error.op()), (ErrorKind::Unsupported, Op::Lock));
        attempt().expect("no failure is left");
    }

    #[test]
    #[cfg(unix)]
    fn a_directory_made_anew_during_the_wait_is_locked_by_its_new_lock_file() {
        let parent = tempfile::tempdir().expect("directory");
        let dir = parent.path().join("db");
        fs::create_dir(&dir).expect("made");
        let old = DirLock::take(&dir, Duration::ZERO).expect("free");
        let (pauses, taken) = take(&dir, Duration::from_secs(1), |_| {
            fs::remove_dir_all(&dir).expect("removed");
            fs::create_dir(&dir).expect("made anew");
        });
        let taken = taken.expect("the old holder's lock file is no longer this directory's");
        assert_eq!(pauses, 1);
        drop(old);
        DirLock::take(&dir, Duration::ZERO).expect_err("held");
        drop(taken);
    }

    #[test]
    #[cfg(unix)]
    fn a_lock_file_that_is_replaced_between_opening_and_locking_is_not_believed() {
        let dir = tempfile::tempdir().expect("directory");
        let mut tries = 0;
        let replace_once = |file: &File| {
            tries += 1;
            if tries == 1 {
                fs::remove_file(dir.path().join(LOCK_NAME)).expect("removed");
            }
            file.try_lock()
        };
        let taken = DirLock::take_with(dir.path(), Duration::from_secs(1), replace_once, |_| {});
        let taken = taken.expect("the new file is free");
        assert_eq!(tries, 2);
        DirLock::take(dir.path(), Duration::ZERO).expect_err("held");
        drop(taken);
    }

    #[test]
    fn of_two_that_open_a_new_directory_at_once_none_finds_it_foreign() {
        for round in 0..2000 {
            let dir = tempfile::tempdir().expect("directory");
            let barrier = std::sync::Barrier::new(2);
            let one = || {
                barrier.wait();
                DirLock::take(dir.path(), Duration::ZERO)
            };
            let both = std::thread::scope(|scope| {
                let other = scope.spawn(one);
                [one(), other.join().expect("no panic")]
            });
            let kinds = both.map(|taken| taken.err().map(|error| error.kind()));
            let fine = |kind: &Option<ErrorKind>| matches!(kind, None | Some(ErrorKind::Locked));
            assert!(kinds.iter().all(fine), "round {round}: {kinds:?}");
        }
    }
}
