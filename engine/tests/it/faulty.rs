//! Every call of a real backend that writes, failing once: what is acknowledged stays, what is
//! unknown is there whole or not at all, what was refused is not there.
//!
//! As `faults` does on the simulated disk, with a longer workload, failures in part, panics and
//! delays. A [`Place`] is opened as often as asked.

use crate::contents::{Contents, config, params, shown, vector};
use crate::disk::Opener;
use gannet::storage::{MemStorage, Op, ReadFile, SealedFile, Storage};
use gannet::{
    AnyStorage, CheckpointError, CloseError, CommitError, Database, Metric, OpenError, WriteBatch,
};
use gannet_testkit::fault::{Action, Calls, FaultStorage, Faults, Rule};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

/// A storage that keeps its files when a database on it is gone, and opens again.
struct Place<S> {
    open: Box<dyn Fn(Faults) -> FaultStorage<S>>,
}

fn in_memory() -> Place<MemStorage> {
    let memory = Arc::new(MemStorage::new());
    Place { open: Box::new(move |faults| FaultStorage::over(Arc::clone(&memory), faults)) }
}

/// In memory too where the system has a directory for that: no power is cut here, and thousands of
/// syncs would make the tests slow.
fn in_a_directory(opener: Opener) -> Place<AnyStorage> {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let open = move |faults| FaultStorage::over(Arc::new(opener.open(dir.path()).unwrap()), faults);
    Place { open: Box::new(open) }
}

/// In a directory under each backend that is compiled in and works here.
fn on_each_backend(test: impl Fn(&dyn Fn() -> Place<AnyStorage>)) {
    for opener in Opener::all() {
        eprintln!("{opener:?}");
        test(&|| in_a_directory(opener));
    }
}

type Db<S> = Database<FaultStorage<S>>;

/// What one life of a database after the other may show.
#[derive(Default)]
struct History {
    /// All that was acknowledged, or seen since.
    sure: Contents,
    /// That and the batch of which nobody knows.
    maybe: Option<Contents>,
    opens: u64,
    /// Errors that the database reported.
    errors: u64,
    panics: u64,
}

/// A step of the workload.
#[derive(Clone, Copy, Debug)]
enum Step {
    Insert(u64),
    Change(u64),
    Checkpoint,
    Reopen,
}
use Step::{Change, Checkpoint, Insert, Reopen};

/// Every kind of write: new root and segment, both slots, shared and retired files, the marker.
const WORKLOAD: [Step; 9] = [
    Insert(0),
    Checkpoint,
    Change(10),
    Reopen,
    Insert(20),
    Checkpoint,
    Change(30),
    Checkpoint,
    Change(40),
];

impl History {
    /// The batch of a step, and the contents after it.
    fn batch(&self, step: Step) -> Option<(WriteBatch, Contents)> {
        let (mut batch, mut after) = (WriteBatch::new(), self.sure.clone());
        batch.create_collection("c", params(Metric::L2));
        match step {
            Insert(first) => {
                for id in first..first + 5 {
                    after.upsert(&mut batch, id, vector(id + 1));
                }
                after.put(&mut batch, "shared", &format!("insert {first}"));
                // Longer than a block, so that a part of it is a torn frame.
                after.put(&mut batch, &format!("insert-{first}"), &"i".repeat(6000));
            }
            Change(number) => {
                after.upsert(&mut batch, 3, vector(number + 100));
                if let Some(gannet::Id::Int(id)) = self.sure.vectors.keys().next().cloned() {
                    after.delete_row(&mut batch, id);
                }
                after.delete(&mut batch, "shared");
                after.put(&mut batch, &format!("change-{number}"), "c");
            }
            Checkpoint | Reopen => return None,
        }
        Some((batch, after))
    }

    /// Opens the database and takes what it shows for what is; `None` where it does not open.
    fn open<S: Storage>(&mut self, place: &Place<S>, faults: &Faults) -> Option<Db<S>> {
        self.opens += 1;
        let (storage, config) = ((place.open)(faults.clone()), config(self.opens));
        let db = match self.catch(|| Database::open(storage, config))? {
            Ok(db) => db,
            Err(OpenError::Storage(_)) => {
                self.errors += 1;
                return None;
            }
            Err(error) => panic!("{error:?}"),
        };
        let seen = self.shown(&db);
        let fits = seen == self.sure || self.maybe.as_ref() == Some(&seen);
        assert!(fits, "shown: {seen:?}\ndue: {:?}\nor: {:?}", self.sure, self.maybe);
        (self.sure, self.maybe) = (seen, None);
        Some(db)
    }

    fn commit<S: Storage>(&mut self, db: &Db<S>, step: Step) {
        let (batch, after) = self.batch(step).expect("the step is a batch");
        let was_poisoned = self.maybe.is_some();
        match self.catch(|| db.commit(batch)) {
            Some(Ok(_)) => {
                assert!(!was_poisoned, "{step:?}: a commit behind one that is unknown");
                self.sure = after;
            }
            Some(Err(CommitError::Unknown(_))) => {
                assert!(!was_poisoned, "{step:?}: written to behind a write that is unknown");
                self.errors += 1;
                self.maybe = Some(after);
            }
            Some(Err(
                CommitError::NoSpace(_) | CommitError::Refused(_) | CommitError::Poisoned,
            )) => {
                self.errors += 1;
            }
            Some(Err(error)) => panic!("{step:?}: {error:?}"),
            // A panic tells nothing.
            None => self.maybe = Some(after),
        }
        assert_eq!(self.shown(db), self.sure, "{step:?}: readers see what is acknowledged");
    }

    fn checkpoint<S: Storage>(&mut self, db: &Db<S>) {
        match self.catch(|| db.checkpoint(&mut |_| ControlFlow::Continue(()))) {
            Some(Err(CheckpointError::Storage(_) | CheckpointError::Poisoned)) => self.errors += 1,
            Some(Err(error)) => panic!("{error:?}"),
            Some(Ok(_)) | None => {}
        }
        assert_eq!(self.shown(db), self.sure, "readers see what was there before");
    }

    /// What readers see; a read that panicked is made again.
    fn shown<S: Storage>(&mut self, db: &Db<S>) -> Contents {
        self.catch(|| shown(db, 200)).unwrap_or_else(|| shown(db, 200))
    }

    fn close<S: Storage>(&mut self, db: Db<S>) {
        match self.catch(|| db.close()) {
            Some(Err(CloseError::Witness(_) | CloseError::Poisoned)) => self.errors += 1,
            Some(Err(error)) => panic!("{error:?}"),
            Some(Ok(())) | None => {}
        }
    }

    /// The answer of a call; `None` where it panicked because a test asked for it.
    fn catch<T>(&mut self, call: impl FnOnce() -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(answer) => Some(answer),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map_or("another panic", String::as_str);
                assert!(text.starts_with("a test asked for this panic"), "{text}");
                self.panics += 1;
                None
            }
        }
    }
}

/// Runs the workload with `rule` in force from the first call on, checks what is left, writes to
/// it, and checks again.
fn live<S: Storage>(place: &Place<S>, rule: Option<Rule>) -> (History, Faults) {
    let (mut history, faults) = (History::default(), Faults::default());
    if let Some(rule) = rule {
        faults.add(rule);
    }
    let mut open = history.open(place, &faults);
    for step in WORKLOAD {
        // What does not open does nothing more.
        let Some(db) = open.take() else { break };
        open = match step {
            Reopen => {
                history.close(db);
                history.open(place, &faults)
            }
            Checkpoint => {
                history.checkpoint(&db);
                Some(db)
            }
            Insert(_) | Change(_) => {
                history.commit(&db, step);
                Some(db)
            }
        };
    }
    drop(open);
    let before = (history.errors, history.panics);
    let none = Faults::default();
    let db = history.open(place, &none).expect("opens without faults");
    assert!(db.verify().expect("walks").faults.is_empty());
    history.commit(&db, Change(50));
    history.checkpoint(&db);
    history.commit(&db, Insert(60));
    history.close(db);
    let db = history.open(place, &none).expect("opens");
    assert!(db.verify().expect("walks").faults.is_empty());
    assert_eq!((history.errors, history.panics), before, "it takes writes again");
    (history, faults)
}

/// Lets the first, the second, ... of `calls` meet `action`, until there are no more of them. Gives
/// how many there were.
fn each_call<S: Storage>(
    place: &dyn Fn() -> Place<S>,
    calls: Calls,
    action: Action,
    check: &dyn Fn(&History),
) -> u64 {
    for nth in 1.. {
        let rule = Rule::once(calls, nth, action);
        let lived = catch_unwind(AssertUnwindSafe(|| live(&place(), Some(rule))));
        let (history, faults) = lived.unwrap_or_else(|panic| {
            eprintln!("that was call {nth} of {calls:?}, {action:?}");
            resume_unwind(panic)
        });
        if faults.injected() == 0 {
            return nth - 1;
        }
        check(&history);
    }
    unreachable!("a workload ends")
}

/// Kinds of calls that write, with the least number of each in the workload.
const WRITES: [(Op, u64); 7] = [
    (Op::Create, 8),
    (Op::Write, 30),
    (Op::Sync, 20),
    (Op::Seal, 10),
    (Op::Replace, 1),
    (Op::Remove, 5),
    (Op::SyncDir, 8),
];

/// Every call that writes fails once, in every way; the database says so.
fn every_write_fails_once<S: Storage>(place: &dyn Fn() -> Place<S>) {
    for action in [Action::Eio, Action::Enospc, Action::Partial] {
        for (op, least) in WRITES {
            // What nothing names any more is removed later; a segment that does not fit is made
            // shorter.
            let may_be_hidden = op == Op::Remove || action == Action::Enospc;
            let check = |history: &History| {
                assert!(history.errors > 0 || may_be_hidden, "{op:?}, {action:?}: no error");
                assert_eq!(history.panics, 0);
            };
            let calls = each_call(place, Calls::Op(op), action, &check);
            assert!(calls >= least, "{op:?}: {calls} calls");
        }
    }
}

/// Every call of a storage panics once; nothing hangs, and nothing is lost.
fn every_call_panics_once<S: Storage>(place: &dyn Fn() -> Place<S>) {
    let check = |history: &History| assert_eq!(history.panics, 1);
    let calls = each_call(place, Calls::All, Action::Panic, &check);
    assert!(calls > 100, "{calls} calls");
}

/// Every file of a storage with its bytes.
fn files<S: Storage>(place: &Place<S>) -> BTreeMap<String, Vec<u8>> {
    let storage = (place.open)(Faults::default());
    let contents = |name| {
        let file = storage.open_sealed(name).unwrap();
        file.view(0..file.len_bytes()).unwrap().to_vec()
    };
    let listed = storage.list().unwrap();
    listed.iter().map(|meta| (meta.name.to_string(), contents(&meta.name))).collect()
}

fn delays_change_nothing<S: Storage>(place: &dyn Fn() -> Place<S>) {
    let (prompt, late) = (place(), place());
    let rule = Rule::forever(Calls::All, 1, Action::Delay(Duration::from_micros(1)));
    let (history, _) = live(&prompt, None);
    let (delayed, faults) = live(&late, Some(rule));
    assert!(faults.injected() > 100);
    assert_eq!((delayed.sure, delayed.errors), (history.sure, 0));
    assert_eq!(files(&late), files(&prompt));
}

/// The tests of one backend.

#[test]
fn every_write_may_fail_once() {
    every_write_fails_once(&in_memory);
    on_each_backend(every_write_fails_once);
}

#[test]
fn every_call_may_panic_once() {
    every_call_panics_once(&in_memory);
    on_each_backend(every_call_panics_once);
}

#[test]
fn every_call_may_be_late() {
    delays_change_nothing(&in_memory);
    on_each_backend(delays_change_nothing);
}
