//! The pipeline over a device that is a function: who reads, how many at once, and every end.

use super::{Pipeline, Request, STACK_BYTES};
use gannet_storage::{AlignedBuf, FileName, Read, ReadFile, Result};
use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;

/// Does what `read` does, with the offset of the read.
struct Device<R> {
    name: FileName,
    read: R,
}

impl<R: Fn(u64) + Send + Sync + 'static> ReadFile for Device<R> {
    fn name(&self) -> &FileName {
        &self.name
    }

    fn len_bytes(&self) -> u64 {
        1 << 20
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        for read in reads {
            (self.read)(read.offset);
            read.buf.fill(1);
        }
        Ok(())
    }

    fn discard_cache(&self) -> Result<()> {
        Ok(())
    }
}

fn pipeline<R>(depth: u16, stack_bytes: usize, read: R) -> Pipeline<Device<R>>
where
    R: Fn(u64) + Send + Sync + 'static,
{
    let name = FileName::new("device").expect("valid");
    let depth = NonZeroU16::new(depth).expect("not zero");
    Pipeline::new(Device { name, read }, depth, stack_bytes)
}

fn request(tag: u64) -> Request {
    Request { tag, offset: tag * 4096, buf: AlignedBuf::zeroed(4096) }
}

#[track_caller]
fn submit<F: ReadFile>(queue: &mut Pipeline<F>, tags: std::ops::Range<u64>) {
    for tag in tags {
        assert!(queue.submit(request(tag)).is_ok(), "read {tag} is taken");
    }
}

/// Tags of all reads that were taken and not handed back, each with its buffer filled.
#[track_caller]
fn wait_for_all<F: ReadFile>(queue: &mut Pipeline<F>) -> Vec<u64> {
    let done = std::iter::from_fn(|| queue.wait());
    let mut tags: Vec<_> = done
        .map(|done| {
            assert!(done.result.is_ok() && done.buf.iter().all(|&byte| byte == 1), "{done:?}");
            done.tag
        })
        .collect();
    tags.sort_unstable();
    tags
}

fn this_thread() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

/// At that depth, so many reads are in flight at once: each waits until all of them have begun.
#[track_caller]
fn check_in_flight(depth: u16, at_once: usize) {
    let meet = Barrier::new(at_once);
    let (in_flight, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let names = Arc::new(Mutex::new(BTreeSet::new()));
    let (most_seen, names_seen) = (Arc::clone(&most), Arc::clone(&names));
    let mut queue = pipeline(depth, STACK_BYTES, move |_| {
        names_seen.lock().expect("whole").insert(this_thread());
        most_seen.fetch_max(in_flight.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        meet.wait();
        in_flight.fetch_sub(1, Ordering::SeqCst);
    });
    for round in 0..3_u64 {
        let tags = round * u64::from(depth)..(round + 1) * u64::from(depth);
        submit(&mut queue, tags.clone());
        assert!(queue.submit(request(0)).is_err(), "the queue of {depth} is full");
        assert_eq!(wait_for_all(&mut queue), tags.collect::<Vec<_>>());
    }
    assert_eq!(most.load(Ordering::SeqCst), at_once);
    let expected: BTreeSet<_> = (0..at_once).map(|n| format!("gannet-read-{n}")).collect();
    assert_eq!(*names.lock().expect("whole"), expected);
}

#[test]
fn as_many_reads_are_in_flight_as_the_depth_says_and_eight_at_the_most() {
    for (depth, at_once) in [(2, 2), (3, 3), (8, 8), (16, 8), (64, 8)] {
        check_in_flight(depth, at_once);
    }
}

/// Every read is done by the thread that asks for it.
#[track_caller]
fn check_reads_inline(depth: u16, stack_bytes: usize) {
    let asking = this_thread();
    let mut queue = pipeline(depth, stack_bytes, move |_| assert_eq!(this_thread(), asking));
    submit(&mut queue, 0..u64::from(depth));
    assert!(queue.threads.is_empty());
    assert_eq!(wait_for_all(&mut queue), (0..u64::from(depth)).collect::<Vec<_>>());
}

#[test]
fn a_queue_of_depth_one_needs_no_thread() {
    check_reads_inline(1, STACK_BYTES);
}

#[test]
fn where_the_system_has_no_thread_to_give_reads_are_done_at_once() {
    // A stack of a quarter of all addresses.
    check_reads_inline(8, usize::MAX / 4 + 1);
}

#[test]
fn threads_are_started_when_reads_outnumber_idle_ones() {
    let mut queue = pipeline(8, STACK_BYTES, |_| ());
    assert!(queue.threads.is_empty());
    for tag in 0..20 {
        submit(&mut queue, tag..tag + 1);
        assert_eq!(wait_for_all(&mut queue), [tag]);
        assert_eq!(queue.threads.len(), 1, "one read at a time needs one thread");
    }
}

#[test]
fn a_panic_in_a_reading_thread_goes_on_in_wait_and_the_queue_with_it() {
    let mut queue = pipeline(4, STACK_BYTES, |offset| assert_ne!(offset, 4096, "a bad block"));
    submit(&mut queue, 0..4);
    let mut panics = 0;
    let mut tags = BTreeSet::new();
    for _ in 0..4 {
        match catch_unwind(AssertUnwindSafe(|| queue.wait())) {
            Ok(done) => drop(tags.insert(done.expect("in flight").tag)),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().expect("of the assertion");
                assert!(text.contains("a bad block"), "{text}");
                panics += 1;
            }
        }
    }
    assert_eq!((panics, tags), (1, BTreeSet::from([0, 2, 3])));
    submit(&mut queue, 5..9);
    assert_eq!(wait_for_all(&mut queue), [5, 6, 7, 8]);
}

#[test]
fn dropping_waits_for_the_reads_begun_and_gives_up_the_others() {
    for round in 0..50 {
        let (begun, to_see) = mpsc::channel();
        let (open, gate) = (Arc::new(Barrier::new(5)), Arc::new(AtomicUsize::new(0)));
        let (door, ended) = (Arc::clone(&open), Arc::clone(&gate));
        let mut queue = pipeline(4, STACK_BYTES, move |_| {
            begun.send(()).expect("the test waits");
            door.wait();
            ended.fetch_add(1, Ordering::SeqCst);
        });
        queue.depth = 32;
        submit(&mut queue, 0..32);
        for _ in 0..4 {
            to_see.recv().expect("four threads read");
        }
        let shared = Arc::downgrade(&queue.shared);
        let opener = thread::Builder::new().name("opener".to_owned()).spawn(move || {
            // Not before the drop has begun: until then each thread would take the next read.
            while shared.upgrade().is_some_and(|shared| !shared.lock().closed) {
                thread::yield_now();
            }
            open.wait();
        });
        drop(queue);
        assert_eq!(gate.load(Ordering::SeqCst), 4, "reads ended in round {round}");
        assert_eq!(to_see.try_iter().count(), 0, "reads begun later in round {round}");
        opener.expect("a thread").join().expect("no panic");
    }
}
