//! The simulated disk: who may use it, which step it is at, and when its power goes.

use super::crash::{CrashChoice, Pending};
use super::faults::Fault;
use super::inode::Call;
use super::plan::CrashPlan;
use super::state::State;
use super::storage::SimStorage;
use super::tamper::Tamper;
use gannet_storage::{Error, ErrorKind, Op, Result};
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Longest file of a simulated disk, in bytes; beyond it is `NoSpace`.
pub const FILE_LEN_MAX: u64 = 1 << 40;

/// A disk in memory that can lose its power. A clone is a handle of the same disk;
/// [`snapshot`](Self::snapshot) makes another one.
///
/// Every change is a *step*, counted from 1: `create`, the writing part of `write_batch`, the
/// syncing part of it (and `sync`), `set_len`, `seal`, `replace`, `remove`, `sync_dir`. Between two
/// steps a crash finds the same disk, so that the states after each step are all there are.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<Machine>>);

/// The disk as it was after a step.
#[derive(Clone)]
pub struct CrashPoint {
    /// The step, from 1.
    pub step: u64,
    /// What the step did.
    pub op: Op,
    /// The file it was done to; empty for `sync_dir`.
    pub place: String,
    state: State,
}

#[derive(Default)]
pub(super) struct Machine {
    pub(super) state: State,
    faults: Option<Fault>,
    pub(super) tamper: Option<Tamper>,
    /// Why every call fails, once it does.
    dead: Option<&'static str>,
    owned: bool,
    steps: u64,
    cut_after: Option<u64>,
    /// Calls that have begun and not returned.
    open_calls: Vec<Call>,
    recorded: Option<Vec<CrashPoint>>,
}

/// A call that changes the disk, from its begin to its return.
pub(super) struct Begun {
    pub(super) id: Call,
    fault: Option<ErrorKind>,
    beside: Vec<Call>,
}

impl Begun {
    /// Whether a sync in this call covers what `call` did: its own, and what had returned before.
    pub(super) fn covers(&self, call: Call) -> bool {
        call == self.id || call < self.id && !self.beside.contains(&call)
    }

    /// Fails where a test asked this call to.
    pub(super) fn check(&self, op: Op, place: impl AsRef<str>) -> Result<()> {
        match self.fault {
            Some(kind) => Err(Error::new(kind, op, place).because("a test asked for this failure")),
            None => Ok(()),
        }
    }
}

/// The right to use the disk; whoever holds a clone of the `Arc` around it keeps others out.
#[derive(Debug)]
pub(super) struct Lease {
    disk: SimDisk,
}

impl SimDisk {
    /// An empty disk, its power on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn of(state: State) -> Self {
        Self(Arc::new(Mutex::new(Machine { state, ..Machine::default() })))
    }

    /// The storage on this disk.
    ///
    /// # Errors
    /// `Locked` while an earlier one, or a file or view of it, lives; `Io` if the power is off.
    pub fn open(&self) -> Result<SimStorage> {
        let mut machine = self.machine();
        machine.alive(Op::OpenStorage, "the simulated disk")?;
        if std::mem::replace(&mut machine.owned, true) {
            return Err(Error::new(ErrorKind::Locked, Op::Lock, "the simulated disk"));
        }
        drop(machine);
        Ok(SimStorage::new(Lease { disk: self.clone() }))
    }

    /// Steps done since this disk was made.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.machine().steps
    }

    /// Cuts the power once `steps` steps have been done since this disk was made: at once, if they
    /// have. Every call from then on fails with `Io` and changes nothing; a durable write may so be
    /// cut between its writing and its syncing.
    pub fn cut_after(&self, steps: u64) {
        self.machine().cut_after = Some(steps);
    }

    /// Lets the `nth` call that changes the disk from now on (from 1) fail with `kind`, and with
    /// `sticky` all after it. Calls that are refused anyway (`Busy`, `Misaligned`, ...) do not
    /// count.
    ///
    /// A failed call changes nothing, but: a failed write has its bytes pending; and after a failed
    /// sync what it should have covered is readable, is not durable, and will not be by any later
    /// sync, until `discard_cache` shows the media again.
    ///
    /// # Panics
    /// If `nth` is 0.
    pub fn fail_nth(&self, nth: u64, kind: ErrorKind, sticky: bool) {
        self.machine().faults = Some(Fault::new(nth, kind, sticky));
    }

    /// From now on, and on every disk made from this one, syncs of the kind `op` (`Sync`, `Seal` or
    /// `SyncDir`) answer `Ok` and do nothing: a device that drops flushes, or a program that
    /// forgets to sync. For tests of tests.
    ///
    /// # Panics
    /// If `op` is another call.
    pub fn lie_about(&self, op: Op) {
        assert!(matches!(op, Op::Sync | Op::Seal | Op::SyncDir), "{op:?} is no sync");
        self.machine().state.lies_about = Some(op);
    }

    /// Kills the process: handles of this disk are dead. What its calls had done is all there on
    /// the new disk, where it is still pending as far as it was.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut machine = self.machine();
        machine.dead = Some("the process was killed");
        Self::of(machine.state.clone())
    }

    /// Another disk with the same contents and the same pending changes.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self::of(self.machine().state.clone())
    }

    /// Keeps a copy of the disk after every step from now on.
    pub fn record(&self) {
        self.machine().recorded = Some(Vec::new());
    }

    /// The copies kept since [`record`](Self::record), oldest first; recording goes on.
    pub fn take_recorded(&self) -> Vec<CrashPoint> {
        self.machine().recorded.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What is pending, unit by unit: what a power cut now decides about.
    #[must_use]
    pub fn pending(&self) -> Pending {
        Pending::of(self.machine().state.clone())
    }

    /// The disks that a power cut now may leave, each once, with the choice that makes it. Nothing
    /// is pending on them. See [`CrashPlan`] for how many there are and when they are all.
    pub fn crash_states(&self, plan: &CrashPlan) -> impl Iterator<Item = (Self, CrashChoice)> {
        let pending = self.pending();
        let mut seen = HashSet::new();
        pending.choices(plan).filter_map(move |choice| {
            let new = seen.insert(pending.digest(&choice));
            new.then(|| (pending.crash(&choice), choice))
        })
    }

    /// A 128-bit digest of the contents. Disks without pending changes have the same one exactly if
    /// they have the same names with the same bytes (but for chance, 2^-128).
    #[must_use]
    pub fn digest(&self) -> u128 {
        self.machine().state.digest()
    }

    pub(super) fn machine(&self) -> MutexGuard<'_, Machine> {
        // The state is whole between any two statements that hold the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CrashPoint {
    /// A disk in that state.
    #[must_use]
    pub fn disk(&self) -> SimDisk {
        SimDisk::of(self.state.clone())
    }
}

impl Machine {
    /// Whether calls do anything.
    pub(super) fn alive(&mut self, op: Op, place: impl AsRef<str>) -> Result<()> {
        if self.cut_after.is_some_and(|last| self.steps >= last) {
            self.dead.get_or_insert("the power is off");
        }
        match self.dead {
            Some(why) => Err(Error::new(ErrorKind::Io, op, place).because(why)),
            None => Ok(()),
        }
    }

    /// Begins a call that passed every check.
    pub(super) fn begin(&mut self, op: Op, place: impl AsRef<str>) -> Result<Begun> {
        self.alive(op, place)?;
        let fault = self.faults.as_mut().and_then(Fault::next);
        self.state.calls += 1;
        let id = self.state.calls;
        let beside = self.open_calls.clone();
        self.open_calls.push(id);
        Ok(Begun { id, fault, beside })
    }

    /// The call is about to return, with or without an error.
    pub(super) fn end(&mut self, call: &Begun) {
        self.open_calls.retain(|&open| open != call.id);
    }

    /// One step is done.
    pub(super) fn step(&mut self, op: Op, place: impl AsRef<str>) {
        self.steps += 1;
        if let Some(recorded) = &mut self.recorded {
            let place = place.as_ref().to_owned();
            let state = self.state.clone();
            recorded.push(CrashPoint { step: self.steps, op, place, state });
        }
    }
}

impl Lease {
    pub(super) fn machine(&self) -> MutexGuard<'_, Machine> {
        self.disk.machine()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.machine().owned = false;
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = self.machine();
        let mut map = f.debug_map();
        for (name, &id) in machine.state.names() {
            let inode = machine.state.inode(id);
            let text = format!("{} bytes, {} pending", inode.now.len_bytes(), inode.pending.len());
            map.entry(name, &text);
        }
        map.entry(&"(names)", &format!("{} pending", machine.state.entries.len()));
        map.finish()
    }
}

impl fmt::Debug for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {} ({:?} {})", self.step, self.op, self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gannet_storage::{AlignedBuf, FileName, Write};

    #[test]
    fn a_sync_covers_what_had_returned_before_it_began_and_no_more() {
        let disk = SimDisk::new();
        let mut machine = disk.machine();
        let name = FileName::new("a").expect("valid");
        let inode = machine.state.create(&name, 0);
        let mut block = AlignedBuf::zeroed(4096);
        block.fill(1);
        let write = |machine: &mut Machine, index: u64| {
            let call = machine.begin(Op::Write, &name).expect("the power is on");
            let writes = [Write { offset: index * 4096, bytes: &block }];
            machine.state.inode_mut(inode).write(&writes, call.id);
            call
        };
        let returned = write(&mut machine, 0);
        machine.end(&returned);
        let beside = write(&mut machine, 1);
        let sync = machine.begin(Op::Sync, &name).expect("the power is on");
        let later = write(&mut machine, 2);
        machine.end(&beside);
        machine.end(&later);
        machine.state.inode_mut(inode).sync(|call| sync.covers(call));
        machine.end(&sync);
        let image = &machine.state.inode(inode).media;
        let durable = [0, 1, 2].map(|index| image.block(index).is_some());
        assert_eq!(durable, [true, false, false]);
        let next = machine.begin(Op::Sync, &name).expect("the power is on");
        machine.state.inode_mut(inode).sync(|call| next.covers(call));
        assert!(machine.state.inode(inode).pending.is_empty(), "all had returned by then");
    }
}
