//! `FaultStorage`: with no rule it is the storage it wraps, and each rule does what it says.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use gannet_backend_std::StdStorage;
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, BufView, Caps, DirOptions, Durability, Error, ErrorKind, FileMeta,
    FileName, Hold, MemFile, MemSealed, MemStorage, Op, Read, ReadFile, ReadQueue, Result,
    SealedFile, Storage, Write, WriteFile,
};
use gannet_testkit::conformance;
use gannet_testkit::fault::{Action, Calls, FaultFile, FaultSealed, FaultStorage, Injected, Rule};
use gannet_testkit::sim::SimDisk;
use std::cell::Cell;
use std::error::Error as _;
use std::num::NonZeroU16;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const BLOCK: u64 = BLOCK_SIZE as u64;
const BLOCKS: usize = 4;

fn open_std(dir: &Path) -> Result<StdStorage> {
    let mut options = DirOptions::create();
    options.lock_wait = Duration::ZERO;
    StdStorage::open(dir, &options)
}

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

fn filled(mark: u8, blocks: usize) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(blocks * BLOCK_SIZE);
    buf.fill(mark);
    buf
}

type Faulty = FaultStorage<MemStorage>;

/// A file `a` of four blocks full of 1.
fn example() -> (Faulty, FaultFile<MemFile>) {
    let storage = FaultStorage::new(MemStorage::new());
    let file = storage.create(&name("a"), BLOCKS as u64 * BLOCK).unwrap();
    put(&file, 0, &filled(1, BLOCKS), Durability::Data).unwrap();
    (storage, file)
}

fn put(file: &impl WriteFile, offset: u64, bytes: &[u8], durability: Durability) -> Result<()> {
    file.write_batch(&[Write { offset, bytes }], durability)
}

fn contents(file: &impl ReadFile) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(usize::try_from(file.len_bytes()).unwrap());
    file.read_at(0, &mut buf).unwrap();
    buf
}

/// Asks for one failure of the next `op`.
fn next(storage: &Faulty, op: Op, action: Action) {
    storage.faults().add(Rule::once(Calls::Op(op), 1, action));
}

/// An injected error names call, place, range and cause.
#[track_caller]
fn injected<T>(result: Result<T>, kind: ErrorKind, op: Op, place: &str, range: Option<Range<u64>>) {
    let Err(error) = result else { panic!("{op:?} on {place} did not fail") };
    let found = (error.kind(), error.op(), error.place(), error.range());
    assert_eq!(found, (kind, op, place, range));
    assert!(is_injected(&error), "{error:?}");
}

fn is_injected(error: &Error) -> bool {
    error.source().is_some_and(<dyn std::error::Error>::is::<Injected>)
}

#[test]
fn without_rules_it_is_the_storage_that_it_wraps() {
    conformance::run(|| FaultStorage::new(MemStorage::new()));
    conformance::run(|| FaultStorage::new(SimDisk::new().open().unwrap()));
    let disk = SimDisk::new();
    conformance::run_persistent(|| disk.open().map(FaultStorage::new));
    let parent = tempfile::tempdir().unwrap();
    let count = Cell::new(0);
    conformance::run(|| {
        count.set(count.get() + 1);
        FaultStorage::new(open_std(&parent.path().join(count.get().to_string())).unwrap())
    });
    let dir = tempfile::tempdir().unwrap();
    conformance::run_persistent(|| open_std(dir.path()).map(FaultStorage::new));
    // Faults do not add up: one that wraps another is as good.
    conformance::run(|| FaultStorage::new(FaultStorage::new(MemStorage::new())));
}

#[test]
fn delays_change_nothing_either() {
    conformance::run(|| {
        let storage = FaultStorage::new(MemStorage::new());
        let delay = Action::Delay(Duration::from_nanos(1));
        storage.faults().add(Rule::forever(Calls::All, 1, delay));
        storage
    });
}

/// A storage with the file `a` of four blocks being written, the sealed file `s`, and `spare`.
struct Place {
    storage: Faulty,
    file: FaultFile<MemFile>,
    sealed: FaultSealed<MemSealed>,
}

impl Place {
    fn new() -> Self {
        let (storage, file) = example();
        let sealed = storage.seal(storage.create(&name("s"), BLOCK).unwrap()).unwrap();
        drop(storage.create(&name("spare"), BLOCK).unwrap());
        Self { storage, file, sealed }
    }

    /// One call of the kind `op`. That of a seal needs a file of its own, which is gone afterwards.
    fn does(&self, op: Op) -> Result<()> {
        let Self { storage, file, sealed } = self;
        let spare = name("spare");
        #[expect(clippy::wildcard_enum_match_arm, reason = "the list of calls is open")]
        match op {
            Op::Create => storage.create(&name("new"), BLOCK).map(drop),
            Op::Open => storage.open(&spare).map(drop),
            Op::Seal => {
                let made = storage.create(&name("t"), 0)?;
                let sealed = storage.seal(made).map(drop);
                storage.remove(&name("t"))?;
                sealed
            }
            Op::OpenSealed => storage.open_sealed(sealed.name()).map(drop),
            Op::Replace => storage.replace(&spare, &spare),
            Op::Remove => storage.remove(&spare),
            Op::List => storage.list().map(drop),
            Op::SyncDir => storage.sync_dir(),
            Op::Read => file.read_at(BLOCK, &mut filled(0, 2)),
            Op::Write => put(file, BLOCK, &filled(2, 2), Durability::Deferred),
            Op::Sync => file.sync(Durability::Data),
            Op::SetLen => file.set_len(8 * BLOCK),
            Op::DiscardCache => sealed.discard_cache(),
            Op::View => sealed.view(5..9).map(drop),
            Op::Queue => sealed.queue(NonZeroU16::MIN).map(drop),
            other => panic!("{other:?} is no call of a storage"),
        }
    }

    #[track_caller]
    fn does_well(&self, op: Op) {
        self.does(op).unwrap_or_else(|error| panic!("{op:?}: {error:?}"));
    }

    fn add(&self, rule: Rule) {
        self.storage.faults().add(rule);
    }

    fn seen(&self, op: Op) -> u64 {
        self.storage.faults().seen(Calls::Op(op))
    }
}

const READS: [Op; 7] =
    [Op::OpenSealed, Op::Open, Op::List, Op::Read, Op::DiscardCache, Op::View, Op::Queue];
const WRITES: [Op; 8] =
    [Op::Create, Op::Seal, Op::Replace, Op::Remove, Op::SyncDir, Op::Write, Op::Sync, Op::SetLen];

/// What an error of the call in `Place::does` is about.
fn about(op: Op) -> (&'static str, Option<Range<u64>>) {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the list of calls is open")]
    match op {
        Op::Create => ("new", Some(0..BLOCK)),
        Op::Seal => ("t", None),
        Op::Open | Op::Replace | Op::Remove => ("spare", None),
        Op::OpenSealed | Op::DiscardCache | Op::Queue => ("s", None),
        Op::View => ("s", Some(5..9)),
        Op::List | Op::SyncDir => ("the memory storage", None),
        Op::Read | Op::Write => ("a", Some(BLOCK..3 * BLOCK)),
        Op::SetLen => ("a", Some(0..8 * BLOCK)),
        _ => ("a", None),
    }
}

#[test]
fn every_call_fails_as_it_is_told_once_or_for_ever_and_says_so() {
    for op in READS.into_iter().chain(WRITES) {
        let (place, range) = about(op);
        for (action, kind) in [(Action::Eio, ErrorKind::Io), (Action::Enospc, ErrorKind::NoSpace)] {
            let once = Place::new();
            let before = once.seen(op);
            once.add(Rule::once(Calls::Op(op), 1, action));
            injected(once.does(op), kind, op, place, range.clone());
            assert_eq!((once.storage.faults().injected(), once.seen(op) - before > 0), (1, true));
            once.does_well(op);

            let forever = Place::new();
            forever.add(Rule::forever(Calls::Op(op), 1, action));
            for _ in 0..3 {
                injected(forever.does(op), kind, op, place, range.clone());
            }
            forever.storage.faults().clear();
            forever.does_well(op);
        }
    }
}

#[test]
fn every_call_panics_when_told_to_and_the_storage_goes_on() {
    for op in READS.into_iter().chain(WRITES).filter(|&op| op != Op::Seal) {
        let place = Place::new();
        place.add(Rule::once(Calls::Op(op), 1, Action::Panic));
        let panic = catch_unwind(AssertUnwindSafe(|| place.does(op))).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.starts_with("a test asked for this panic in call "), "{text}");
        place.does_well(op);
    }
    let (storage, file) = example();
    next(&storage, Op::Seal, Action::Panic);
    catch_unwind(AssertUnwindSafe(|| storage.seal(file))).unwrap_err();
    drop(storage.open(&name("a")).expect("the panic has let the file go"));
}

#[test]
fn rules_for_kinds_of_calls_strike_these_alone() {
    for (calls, struck, spared) in
        [(Calls::Writes, &WRITES[..], &READS[..]), (Calls::Reads, &READS[..], &WRITES[..])]
    {
        for &op in struck {
            let place = Place::new();
            place.add(Rule::forever(calls, 1, Action::Eio));
            let error = place.does(op).expect_err("struck");
            assert!(is_injected(&error), "{op:?}: {error:?}");
        }
        for &op in spared {
            let place = Place::new();
            place.add(Rule::forever(calls, 1, Action::Eio));
            place.does_well(op);
            assert_eq!(place.storage.faults().injected(), 0, "{op:?}");
        }
    }
    let place = Place::new();
    place.add(Rule::once(Calls::All, 3, Action::Eio));
    place.does_well(Op::Sync);
    place.does_well(Op::List);
    assert!(place.does(Op::Read).is_err());
    place.does_well(Op::Read);
}

#[test]
fn a_failed_call_has_done_nothing() {
    let (storage, file) = example();
    for action in [Action::Eio, Action::Enospc] {
        next(&storage, Op::Write, action);
        put(&file, 0, &filled(2, 1), Durability::Data).unwrap_err();
        assert_eq!(contents(&file)[..], filled(1, BLOCKS)[..], "{action:?}");
        next(&storage, Op::SetLen, action);
        file.set_len(0).unwrap_err();
        assert_eq!(file.len_bytes(), BLOCKS as u64 * BLOCK, "{action:?}");
        next(&storage, Op::Create, action);
        storage.create(&name("b"), BLOCK).unwrap_err();
        assert_eq!(storage.list().unwrap().len(), 1, "{action:?}");
    }
    drop(file);
    next(&storage, Op::Replace, Action::Eio);
    storage.replace(&name("a"), &name("b")).unwrap_err();
    next(&storage, Op::Remove, Action::Eio);
    storage.remove(&name("a")).unwrap_err();
    assert_eq!(storage.list().unwrap()[0].name, name("a"));
    // A failed seal gives up the handle, and with it the right to the file.
    let file = storage.open(&name("a")).unwrap();
    next(&storage, Op::Seal, Action::Eio);
    storage.seal(file).unwrap_err();
    drop(storage.open(&name("a")).expect("nobody holds it"));
}

#[test]
fn the_sync_of_a_durable_write_fails_after_the_writing() {
    for action in [Action::Eio, Action::Enospc, Action::Partial] {
        let (storage, file) = example();
        let before = [Op::Write, Op::Sync].map(|op| storage.faults().seen(Calls::Op(op)));
        next(&storage, Op::Sync, action);
        let error = put(&file, 0, &filled(2, 1), Durability::Data).unwrap_err();
        assert_eq!((error.op(), error.place()), (Op::Sync, "a"));
        assert_eq!(contents(&file)[..BLOCK_SIZE], filled(2, 1)[..]);
        let after = [Op::Write, Op::Sync].map(|op| storage.faults().seen(Calls::Op(op)));
        assert_eq!(after, before.map(|count| count + 1), "it is both a write and a sync");
    }
}

#[test]
fn a_part_of_a_batch_is_really_written() {
    /// First block and number of blocks, or first byte and end.
    type Spans = &'static [(usize, usize)];
    // Members of a batch, and the bytes of the file that are new.
    let cases: [(Spans, Spans); 5] = [
        (&[(1, 1)], &[(4096, 6144)]),
        (&[(0, 2)], &[(0, 4096)]),
        (&[(3, 1), (0, 1)], &[(12_288, 16_384)]),
        (&[(0, 1), (2, 2)], &[(0, 4096), (8192, 10_240)]),
        (&[(2, 1), (1, 1), (0, 1)], &[(8192, 12_288), (4096, 6144)]),
    ];
    for (members, new) in cases {
        for durability in [Durability::Deferred, Durability::Full] {
            let (storage, file) = example();
            next(&storage, Op::Write, Action::Partial);
            let bytes = filled(2, BLOCKS);
            let member = |&(block, blocks): &(usize, usize)| Write {
                offset: block as u64 * BLOCK,
                bytes: &bytes[..blocks * BLOCK_SIZE],
            };
            let writes: Vec<_> = members.iter().map(member).collect();
            let starts = writes.iter().map(|w| w.offset).min().unwrap();
            let ends = writes.iter().map(|w| w.offset + w.bytes.len() as u64).max();
            let result = file.write_batch(&writes, durability);
            injected(result, ErrorKind::Io, Op::Write, "a", Some(starts..ends.unwrap()));
            let mut due = filled(1, BLOCKS);
            for &(start, end) in new {
                due[start..end].fill(2);
            }
            assert_eq!(contents(&file)[..], due[..], "{members:?}");
        }
    }
}

#[test]
fn a_batch_that_is_refused_anyway_is_not_written_in_part() {
    let (storage, file) = example();
    let block = filled(2, 1);
    for (offset, kind) in
        [(9, ErrorKind::Misaligned), (BLOCKS as u64, ErrorKind::Misaligned)].into_iter().chain(
            [BLOCKS as u64 * BLOCK, u64::MAX - (BLOCK - 1)].map(|at| (at, ErrorKind::OutOfBounds)),
        )
    {
        next(&storage, Op::Write, Action::Partial);
        let good = Write { offset: 0, bytes: &block };
        let bad = Write { offset, bytes: &block };
        let error = file.write_batch(&[good, bad], Durability::Deferred).unwrap_err();
        assert_eq!((error.kind(), is_injected(&error)), (kind, false), "{offset}");
        assert_eq!(contents(&file)[..], filled(1, BLOCKS)[..], "{offset}");
    }
}

#[test]
fn other_calls_are_done_in_part_as_documented() {
    let (storage, file) = example();
    next(&storage, Op::Create, Action::Partial);
    let made = storage.create(&name("b"), BLOCK);
    injected(made, ErrorKind::Io, Op::Create, "b", Some(0..BLOCK));
    let meta = FileMeta { name: name("b"), len_bytes: 0 };
    assert_eq!(storage.list().unwrap()[1], meta, "an empty file is left");
    next(&storage, Op::SetLen, Action::Partial);
    file.set_len(2 * BLOCK).unwrap_err();
    assert_eq!(file.len_bytes(), 2 * BLOCK);
    drop(file);
    next(&storage, Op::Replace, Action::Partial);
    storage.replace(&name("a"), &name("c")).unwrap_err();
    next(&storage, Op::Remove, Action::Partial);
    storage.remove(&name("b")).unwrap_err();
    let left: Vec<_> = storage.list().unwrap().into_iter().map(|meta| meta.name).collect();
    assert_eq!(left, [name("c")]);
    let (storage, file) = example();
    next(&storage, Op::Read, Action::Partial);
    let (mut first, mut second) = (filled(9, 1), filled(9, 1));
    let mut reads = [Read { offset: 0, buf: &mut first }, Read { offset: BLOCK, buf: &mut second }];
    let read = file.read_batch(&mut reads);
    injected(read, ErrorKind::Io, Op::Read, "a", Some(0..2 * BLOCK));
    assert_eq!((first[0], second[0]), (1, 9));
}

#[test]
fn a_faulty_read_of_a_queue_completes_with_its_error_and_its_buffer() {
    let (storage, file) = example();
    let sealed = storage.seal(file).unwrap();
    let mut queue = sealed.queue(NonZeroU16::new(3).unwrap()).unwrap();
    drop(sealed);
    storage.faults().add(Rule::once(Calls::Op(Op::Read), 2, Action::Eio));
    storage.faults().add(Rule::once(Calls::Op(Op::Read), 3, Action::Enospc));
    // Equal tags are the caller's own business.
    for (tag, offset) in [(7, 0), (7, BLOCK), (8, 2 * BLOCK)] {
        assert!(queue.submit(tag, offset, filled(0, 1)).is_ok());
    }
    let seen = storage.faults().seen(Calls::Op(Op::Read));
    let back = queue.submit(9, 0, filled(5, 1)).expect_err("three are in flight");
    assert_eq!(back[0], 5);
    assert_eq!(storage.faults().seen(Calls::Op(Op::Read)), seen, "a refused read is no call");
    assert_eq!(storage.remove(&name("a")).unwrap_err().kind(), ErrorKind::Busy);
    let good = queue.wait().unwrap();
    assert_eq!((good.tag, good.result.is_ok(), good.buf[0]), (7, true, 1));
    for (tag, offset, kind) in [(7, BLOCK, ErrorKind::Io), (8, 2 * BLOCK, ErrorKind::NoSpace)] {
        let bad = queue.wait().unwrap();
        assert_eq!((bad.tag, bad.buf.len()), (tag, BLOCK_SIZE));
        injected(bad.result, kind, Op::Read, "a", Some(offset..offset + BLOCK));
    }
    assert!(queue.wait().is_none());
    // A panic in `wait` leaves a queue that can be used, and dropped.
    next(&storage, Op::Read, Action::Panic);
    assert!(queue.submit(1, 0, filled(0, 1)).is_ok());
    catch_unwind(AssertUnwindSafe(|| queue.wait())).unwrap_err();
    assert!(queue.wait().is_none());
    assert!(queue.submit(2, 0, filled(0, 1)).is_ok());
    assert!(queue.wait().is_some_and(|done| done.tag == 2 && done.result.is_ok()));
}

#[test]
fn counts_begin_when_a_rule_is_added_and_the_first_rule_decides() {
    let (storage, file) = example();
    let sync = || file.sync(Durability::Data).err().map(|error| error.kind());
    assert_eq!([sync(), sync()], [None, None]);
    storage.faults().add(Rule::once(Calls::Op(Op::Sync), 2, Action::Enospc));
    storage.faults().add(Rule::forever(Calls::Writes, 2, Action::Eio));
    assert_eq!([sync(), sync(), sync()], [None, Some(ErrorKind::NoSpace), Some(ErrorKind::Io)]);
    let error = file.sync(Durability::Data).unwrap_err();
    let cause = error.source().unwrap();
    let injected = cause.downcast_ref::<Injected>().unwrap();
    assert_eq!(*injected, Injected { op: Op::Sync, number: 7 }, "one of them in the example");
    assert_eq!(cause.to_string(), "a test asked for this failure of call 7 of Sync");
    assert_eq!(storage.faults().injected(), 3);
}

/// Storage in memory that tells how a file was made.
struct Told(MemStorage);

impl Storage for Told {
    type File = MemFile;
    type Sealed = MemSealed;

    fn create(&self, name: &FileName, _: u64) -> Result<MemFile> {
        self.0.create(name, BLOCK)
    }

    fn create_cached(&self, name: &FileName, _: u64) -> Result<MemFile> {
        self.0.create(name, 2 * BLOCK)
    }

    fn open(&self, name: &FileName) -> Result<MemFile> {
        self.0.open(name)
    }

    fn seal(&self, file: MemFile) -> Result<MemSealed> {
        self.0.seal(file)
    }

    fn open_sealed(&self, name: &FileName) -> Result<MemSealed> {
        self.0.open_sealed(name)
    }

    fn replace(&self, from: &FileName, to: &FileName) -> Result<()> {
        self.0.replace(from, to)
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.0.remove(name)
    }

    fn list(&self) -> Result<Vec<FileMeta>> {
        self.0.list()
    }

    fn sync_dir(&self) -> Result<()> {
        self.0.sync_dir()
    }

    fn alloc(&self, _: usize) -> AlignedBuf {
        filled(3, 3)
    }

    fn caps(&self) -> Caps {
        Caps { details: vec![("told", "yes".to_owned())], ..Caps::new("told") }
    }
}

#[test]
fn what_a_backend_may_do_better_is_forwarded() {
    let storage = FaultStorage::new(Told(MemStorage::new()));
    let plain = storage.create(&name("plain"), 9 * BLOCK).unwrap();
    let cached = storage.create_cached(&name("cached"), 9 * BLOCK).unwrap();
    assert_eq!((plain.len_bytes(), cached.len_bytes()), (BLOCK, 2 * BLOCK));
    assert_eq!(storage.caps().details, [("told", "yes".to_owned())]);
    assert_eq!(storage.alloc(1)[..], filled(3, 3)[..]);
    let sealed: FaultSealed<MemSealed> = storage.seal(plain).unwrap();
    // The view is the backend's own, with nothing copied that it does not copy.
    let view: BufView<Arc<Hold>> = sealed.view(0..9).unwrap();
    assert_eq!(view.len(), 9);
    storage.faults().add(Rule::once(Calls::Op(Op::Create), 1, Action::Eio));
    assert!(storage.create_cached(&name("third"), BLOCK).is_err());
}
