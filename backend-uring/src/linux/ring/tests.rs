//! Batches of a ring under answers that the kernel rarely gives.

use super::*;
use crate::linux::hook;
use crate::linux::interrupt::Interrupted;
use crate::linux::setup::Setup;
use gannet_storage::BLOCK_SIZE;
use std::cell::RefCell;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

const EIO: i32 = Errno::IO.raw_os_error();
const ENOSPC: i32 = Errno::NOSPC.raw_os_error();
const EINTR: i32 = Errno::INTR.raw_os_error();
const EAGAIN: i32 = Errno::AGAIN.raw_os_error();
const ECANCELED: i32 = Errno::CANCELED.raw_os_error();
const EFAULT: i32 = Errno::FAULT.raw_os_error();

/// Bytes of a transfer of these tests.
const LEN: usize = 2 * BLOCK_SIZE;

fn file(transfers: usize) -> File {
    let file = tempfile::tempfile().expect("a file");
    file.set_len((transfers * LEN) as u64).expect("resized");
    file
}

fn ring(entries: u32) -> Ring {
    let lock = tempfile::tempfile().expect("a file");
    Setup::probe().and_then(|setup| setup.ring(entries, lock.as_fd())).expect("a ring")
}

/// Another byte for each transfer.
fn bytes(index: usize) -> Vec<u8> {
    vec![u8::try_from(index % 251).expect("below 251") + 1; LEN]
}

/// Writes `count` transfers on a ring of `entries`; `change` says what completion number n (from 0)
/// of a `user_data` answers. What came, what the batch said, and whether all bytes are there.
fn write(
    entries: u32,
    count: usize,
    sync: Sync,
    change: impl Fn(usize, u64, i32) -> i32 + 'static,
) -> (Vec<(u64, i32)>, Result<(), BatchError>, bool) {
    let _signals = Interrupted::begin();
    let file = file(count);
    let mut ring = ring(entries);
    let contents: Vec<_> = (0..count).map(bytes).collect();
    let offsets = (0..).step_by(LEN);
    let mut transfers: Vec<_> = contents
        .iter()
        .zip(offsets)
        .map(|(bytes, offset)| Transfer::new(Memory::From(bytes), offset, BLOCK_SIZE))
        .collect();
    let came = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&came);
    let answers = move |user_data, answer| {
        let mut log = log.borrow_mut();
        let nth = log.iter().filter(|(of, _)| *of == user_data).count();
        let changed = change(nth, user_data, answer);
        log.push((user_data, changed));
        changed
    };
    let done = hook::with_answers(answers, || ring.run(file.as_fd(), &mut transfers, sync));
    assert_eq!(ring.in_flight(), 0, "{ring:?}");
    let mut there = vec![0; count * LEN];
    file.read_exact_at(&mut there, 0).expect("read");
    let came = came.borrow().clone();
    (came, done, there == contents.concat())
}

/// The first answer to transfer 0, or to the sync, is this; the rest is the kernel's.
fn first(of: u64, says: i32) -> impl Fn(usize, u64, i32) -> i32 {
    move |nth, user_data, answer| if nth == 0 && user_data == of { says } else { answer }
}

fn errno(error: &io::Error) -> Option<i32> {
    error.raw_os_error()
}

#[test]
fn a_batch_is_one_request_a_transfer_and_one_for_its_sync() {
    for (sync, count, due) in [
        (Sync::None, 0, 0),
        (Sync::None, 1, 1),
        (Sync::None, 40, 40),
        (Sync::EachWrite, 1, 1),
        (Sync::EachWrite, 3, 3),
        (Sync::Data, 0, 1),
        (Sync::Data, 3, 4),
        (Sync::Full, 0, 1),
        (Sync::Full, 256, 257),
        (Sync::Data, 600, 601),
    ] {
        let (came, done, there) = write(256, count, sync, |_, _, answer| answer);
        done.unwrap_or_else(|error| panic!("{sync:?} of {count}: {error:?}"));
        assert!(there);
        assert_eq!(came.len(), due, "{sync:?} of {count}");
    }
}

#[test]
fn more_transfers_than_the_ring_holds_are_all_done() {
    for entries in [1, 2, 8, 64] {
        for sync in [Sync::None, Sync::EachWrite, Sync::Data] {
            let (came, done, there) = write(entries, 200, sync, |nth, user_data, answer| {
                if nth == 0 && user_data % 7 == 3 { answer.min(4096) } else { answer }
            });
            done.unwrap_or_else(|error| panic!("{sync:?} on {entries}: {error:?}"));
            assert!(there);
            assert!(came.len() >= 229, "{sync:?} on {entries}: {}", came.len());
        }
    }
}

#[test]
fn answers_that_say_nothing_are_asked_again() {
    for sync in [Sync::None, Sync::EachWrite, Sync::Data, Sync::Full] {
        for says in [EINTR, EAGAIN, ECANCELED, EFAULT] {
            let (came, done, there) = write(256, 3, sync, first(0, -says));
            done.unwrap_or_else(|error| panic!("{sync:?} and {says}: {error:?}"));
            assert!(there, "{sync:?} and {says}");
            let writes = came.iter().filter(|(of, _)| *of != SYNC).count();
            assert_eq!(writes, 4, "{sync:?} and {says}: {came:?}");
            assert_syncs_follow(sync, &came);
        }
    }
}

#[test]
fn a_short_write_is_completed_and_then_synced_once_more() {
    for sync in [Sync::None, Sync::EachWrite, Sync::Data, Sync::Full] {
        for says in [4096, 5000, 1, 8191] {
            let (came, done, there) = write(256, 2, sync, first(0, says));
            done.unwrap_or_else(|error| panic!("{sync:?} and {says}: {error:?}"));
            assert!(there, "{sync:?} and {says}");
            let writes = came.iter().filter(|(of, _)| *of != SYNC).count();
            assert_eq!(writes, 3, "{sync:?} and {says}: {came:?}");
            assert_syncs_follow(sync, &came);
        }
    }
}

/// The last request is a sync, which covers all of them, and the first one did not count.
#[track_caller]
fn assert_syncs_follow(sync: Sync, came: &[(u64, i32)]) {
    let syncs = came.iter().filter(|(of, _)| *of == SYNC).count();
    if matches!(sync, Sync::Data | Sync::Full) {
        assert_eq!(syncs, 2, "{came:?}");
        assert_eq!(came.last(), Some(&(SYNC, 0)));
    } else {
        assert_eq!(syncs, 0, "{came:?}");
    }
}

#[test]
fn a_cancelled_sync_is_issued_again_and_is_never_success() {
    for says in [ECANCELED, EINTR, EAGAIN] {
        let (came, done, _) = write(256, 2, Sync::Data, first(SYNC, -says));
        done.unwrap_or_else(|error| panic!("{says}: {error:?}"));
        assert_eq!(came.iter().filter(|(of, _)| *of == SYNC).count(), 2, "{came:?}");
        let (came, done, _) =
            write(
                256,
                2,
                Sync::Full,
                move |_, user_data, answer| {
                    if user_data == SYNC { -says } else { answer }
                },
            );
        let Err(BatchError::Sync(error)) = done else { panic!("{says}: {done:?}") };
        assert_eq!(errno(&error), Some(says));
        assert_eq!(came.iter().filter(|(of, _)| *of == SYNC).count(), 1001, "not for ever");
    }
}

#[test]
fn a_failed_sync_stays_failed() {
    for says in [EIO, ENOSPC] {
        let (came, done, _) = write(256, 2, Sync::Data, first(SYNC, -says));
        let Err(BatchError::Sync(error)) = done else { panic!("{says}: {done:?}") };
        assert_eq!(errno(&error), Some(says));
        assert_eq!(came.len(), 3, "no second sync: {came:?}");
        // Also if a write was short, whose rest wants a sync of its own.
        let (came, done, _) =
            write(256, 2, Sync::Data, move |nth, user_data, answer| match (nth, user_data) {
                (0, 0) => 4096,
                (0, SYNC) => -says,
                _ => answer,
            });
        assert!(matches!(done, Err(BatchError::Sync(_))), "{done:?}: {came:?}");
    }
}

#[test]
fn a_failed_write_is_told_with_its_index() {
    for sync in [Sync::None, Sync::EachWrite, Sync::Data, Sync::Full] {
        for (says, due) in [(-EIO, Some(EIO)), (-ENOSPC, Some(ENOSPC)), (0, None)] {
            let (_, done, _) = write(256, 5, sync, first(3, says));
            let Err(BatchError::Transfer(index, error)) = done else { panic!("{done:?}") };
            assert_eq!((index, errno(&error)), (3, due), "{sync:?}");
        }
    }
}

#[test]
fn after_a_failure_no_further_transfer_is_begun() {
    let (came, done, _) = write(2, 200, Sync::Data, first(0, -EIO));
    assert!(matches!(done, Err(BatchError::Transfer(0, _))), "{done:?}");
    assert!(came.len() < 10, "{came:?}");
}

#[test]
fn an_enter_that_is_refused_for_a_while_is_tried_again() {
    for refusal in [Errno::INTR, Errno::AGAIN, Errno::BUSY, Errno::NOMEM] {
        let mut calls = 0;
        let enters = move || {
            calls += 1;
            if calls % 3 == 0 { Ok(()) } else { Err(refusal) }
        };
        hook::with_enters(enters, || {
            let (_, done, there) = write(8, 50, Sync::Data, |_, _, answer| answer);
            done.unwrap_or_else(|error| panic!("{refusal}: {error:?}"));
            assert!(there, "{refusal}");
        });
    }
}

#[test]
fn a_kernel_that_takes_nothing_is_given_up_and_has_nothing() {
    for refusal in [Errno::AGAIN, Errno::BUSY, Errno::NOMEM, Errno::BADF] {
        let file = file(1);
        let mut ring = ring(8);
        let bytes = bytes(0);
        let mut transfers = [Transfer::new(Memory::From(&bytes), 0, BLOCK_SIZE)];
        let done = hook::with_enters(
            move || Err(refusal),
            || ring.run(file.as_fd(), &mut transfers, Sync::None),
        );
        let Err(BatchError::Ring(error)) = done else { panic!("{refusal}: {done:?}") };
        assert_eq!(errno(&error), Some(refusal.raw_os_error()));
        assert_eq!((ring.taken, ring.queued), (0, 1));
    }
}

#[test]
fn reads_are_whole_or_an_error() {
    let _signals = Interrupted::begin();
    let file = file(40);
    for index in 0..40 {
        file.write_all_at(&bytes(index), (index * LEN) as u64).expect("written");
    }
    for (says, due) in [
        (4096, Ok(())),
        (1, Ok(())),
        (-EINTR, Ok(())),
        (-ECANCELED, Ok(())),
        (0, Err(None)),
        (-EIO, Err(Some(EIO))),
        (-ENOSPC, Err(Some(ENOSPC))),
    ] {
        let mut ring = ring(16);
        let mut buf = vec![0; 40 * LEN];
        let mut transfers: Vec<_> = buf
            .chunks_mut(LEN)
            .zip((0..).step_by(LEN))
            .map(|(part, offset)| Transfer::new(Memory::Into(part), offset, BLOCK_SIZE))
            .collect();
        let mut asked = 0;
        let answers = move |user_data, answer| {
            asked += usize::from(user_data == 17);
            if user_data == 17 && asked == 1 { says } else { answer }
        };
        let done =
            hook::with_answers(answers, || ring.run(file.as_fd(), &mut transfers, Sync::None));
        match (done, due) {
            (Ok(()), Ok(())) => assert_eq!(buf, (0..40).flat_map(bytes).collect::<Vec<_>>()),
            (Err(BatchError::Transfer(17, error)), Err(due)) => assert_eq!(errno(&error), due),
            (done, due) => panic!("{says}: {done:?}, expected {due:?}"),
        }
    }
}
