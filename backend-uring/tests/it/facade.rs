//! The reader for `tokio-uring`: many reads, wrong ones, dropped ones, and a runtime that ends.

use crate::interrupt::Interrupted;
use crate::{SENTINEL, assert_filled, name, open, sealed};
use gannet_backend_uring::{AsyncReader, UringStorage};
use gannet_storage::{AlignedBuf, BLOCK_SIZE, ErrorKind, Op, ReadFile, Storage};
use gannet_testkit::sim::SimRng;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use tempfile::TempDir;

/// More than one request may carry.
const BLOCKS: usize = 700;

fn storage(direct_io: bool) -> (TempDir, UringStorage) {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(&dir.path().join("db"), direct_io);
    drop(sealed(&storage, BLOCKS));
    (dir, storage)
}

fn reader(storage: &UringStorage) -> AsyncReader {
    AsyncReader::new(storage.open_sealed(&name()).unwrap()).unwrap()
}

#[test]
fn many_reads_at_once_are_each_whole() {
    let _signals = Interrupted::begin();
    for direct_io in [true, false] {
        let (_dir, storage) = storage(direct_io);
        let reader = reader(&storage);
        reader.sealed().discard_cache().unwrap();
        tokio_uring::start(async {
            let mut rng = SimRng::new(1);
            let mut tasks = Vec::new();
            // More than the runtime's ring has entries.
            for _ in 0..600 {
                let (at, len) = (rng.below(BLOCKS - 8), rng.below(8) + 1);
                let reader = reader.clone();
                let read = async move {
                    let buf = AlignedBuf::zeroed(len * BLOCK_SIZE);
                    let (done, buf) = reader.read((at * BLOCK_SIZE) as u64, buf).await;
                    done.unwrap();
                    assert_eq!(buf.len(), len * BLOCK_SIZE);
                    assert_filled(&buf, at);
                };
                tasks.push(tokio_uring::spawn(read));
            }
            for task in tasks {
                task.await.unwrap();
            }
            let (done, whole) = reader.read(0, AlignedBuf::zeroed(BLOCKS * BLOCK_SIZE)).await;
            done.unwrap();
            assert_filled(&whole, 0);
            for range in [0..0, 0..1, 4095..4097, 5000..5001, 100..2_000_000, 2_867_199..2_867_200]
            {
                let view = reader.view(range.clone()).await.unwrap();
                let start = usize::try_from(range.start).unwrap();
                assert_eq!(view.len() as u64, range.end - range.start);
                assert!(view.iter().eq(&whole[start..start + view.len()]), "{range:?}");
                assert!(view.is_empty() || view.as_ptr().addr() % BLOCK_SIZE == start % BLOCK_SIZE);
            }
        });
    }
}

#[test]
fn wrong_reads_are_errors_and_give_the_buffer_back() {
    let _signals = Interrupted::begin();
    let (_dir, storage) = storage(true);
    let reader = reader(&storage);
    let end = (BLOCKS * BLOCK_SIZE) as u64;
    tokio_uring::start(async {
        for (offset, len, due) in [
            (1, 4096, ErrorKind::Misaligned),
            (end, 4096, ErrorKind::OutOfBounds),
            (end - 4096, 8192, ErrorKind::OutOfBounds),
            (u64::MAX - 4095, 4096, ErrorKind::OutOfBounds),
        ] {
            let (done, buf) = reader.read(offset, AlignedBuf::zeroed(len)).await;
            let error = done.unwrap_err();
            assert_eq!((error.kind(), error.op(), buf.len()), (due, Op::Read, len));
        }
        let (done, buf) = reader.read(end, AlignedBuf::zeroed(0)).await;
        done.unwrap();
        assert!(buf.is_empty());
        #[expect(clippy::reversed_empty_ranges, reason = "it is the wrong one that is tried")]
        for range in [0..end + 1, 5..4, u64::MAX..u64::MAX, 0..u64::MAX] {
            let error = reader.view(range).await.unwrap_err();
            assert_eq!((error.kind(), error.op()), (ErrorKind::OutOfBounds, Op::View));
        }
    });
}

/// Begins a read and drops its future.
fn begin_and_drop(reader: &AsyncReader, at: usize) {
    let buf = AlignedBuf::zeroed(BLOCK_SIZE);
    let mut read = pin!(reader.read((at * BLOCK_SIZE) as u64, buf));
    let polled = read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
}

#[test]
fn the_file_is_in_use_until_a_read_has_ended_whose_future_was_dropped() {
    let _signals = Interrupted::begin();
    let (_dir, storage) = storage(true);
    let (first, second) = (reader(&storage), reader(&storage));
    tokio_uring::start(async {
        for at in 0..64 {
            begin_and_drop(&first, at);
        }
        drop(first);
        let view = second.view(0..4096).await.unwrap();
        drop(second);
        assert_eq!(storage.remove(&name()).unwrap_err().kind(), ErrorKind::Busy);
        assert_filled(&view, 0);
        drop(view);
        // Nobody waits for the others, and they end.
        while let Err(error) = storage.remove(&name()) {
            assert_eq!(error.kind(), ErrorKind::Busy);
            tokio_uring::spawn(std::future::ready(())).await.unwrap();
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_runtime_that_ends_with_reads_in_flight_leaves_no_memory_to_the_kernel() {
    let _signals = Interrupted::begin();
    for direct_io in [true, false] {
        let (_dir, storage) = storage(direct_io);
        let mut before: Vec<AlignedBuf> = Vec::new();
        for round in 0..100 {
            let reader = reader(&storage);
            if !direct_io {
                reader.sealed().discard_cache().unwrap();
            }
            tokio_uring::start(async {
                for at in 0..32 {
                    begin_and_drop(&reader, (round * 7 + at * 20) % BLOCKS);
                }
                // The reads begin, as the tasks that they are.
                tokio_uring::spawn(std::future::ready(())).await.unwrap();
            });
            let sentinel = |_| {
                let mut buf = AlignedBuf::zeroed(BLOCK_SIZE);
                buf.fill(SENTINEL);
                buf
            };
            let after = (0..32).map(sentinel).collect();
            let touched = before.iter().flat_map(|buf| buf.iter()).filter(|&&b| b != SENTINEL);
            assert_eq!(touched.count(), 0, "bytes that came late, in round {round}");
            before = after;
        }
        // No read is left that holds the file.
        storage.remove(&name()).unwrap();
    }
}
