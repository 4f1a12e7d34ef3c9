//! The Nth call of the storage fails: once or from then on, with nothing, half or all of it done.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use gannet::{AnyStorage, Chance, CommitError, Database, OpenError};
use gannet_testkit::fault::{Action, Calls, FaultStorage, Faults, Rule};

use super::ledger::{self, Ledger};
use super::round::Round;
use super::tally::Tally;
use super::{Setting, TortureError};

const ACTIONS: [Action; 3] = [Action::Eio, Action::Enospc, Action::Partial];
const STEPS: u64 = 14;
/// More calls than the steps make.
const CALLS: u64 = 120;

type Db = Database<FaultStorage<AnyStorage>>;

/// Rounds go through the calls from one that the seed decides; for each, through the ways to fail.
pub(super) fn round(
    setting: &Setting<'_>,
    number: u64,
    tally: &mut Tally,
) -> Result<(), TortureError> {
    let name = Round::Fault(number);
    let dir = setting.place.fresh(&format!("{}-{name}", setting.backend))?;
    let action = ACTIONS[usize::try_from(number % 3).expect("below 3")];
    let first = setting.chance(2, 0).next_u64() % CALLS;
    let nth = 1 + (number / 6 + first) % CALLS;
    let rule = if (number / 3).is_multiple_of(2) {
        Rule::once(Calls::Writes, nth, action)
    } else {
        Rule::forever(Calls::Writes, nth, action)
    };
    let faults = Faults::default();
    faults.add(rule);
    let seed = setting.chance(2, number).next_u64();
    let mut life =
        Life { setting, dir: &dir, seed, ledger: Ledger::new(seed), tags: 0, name, tally };
    let before = life.tally.violations;
    let lived = catch_unwind(AssertUnwindSafe(|| life.live(&faults)));
    if let Err(what) = lived.unwrap_or_else(|_| Err("the engine panicked".to_owned())) {
        life.tally.tell(1, &what, &life.name);
    }
    tally.faults += faults.injected();
    if tally.violations == before { setting.place.discard(&dir) } else { Ok(()) }
}

struct Life<'l> {
    setting: &'l Setting<'l>,
    dir: &'l Path,
    seed: u64,
    ledger: Ledger,
    tags: u64,
    name: Round,
    tally: &'l mut Tally,
}

impl Life<'_> {
    /// Works with faults, then checks and works without.
    fn live(&mut self, faults: &Faults) -> Result<(), String> {
        let mut db = None;
        for step in 0..STEPS {
            if db.is_none() {
                db = self.open(faults)?;
            }
            let Some(open) = &db else { continue };
            let goes_on = if step % 5 == 3 {
                open.checkpoint(&mut |_| ControlFlow::Continue(())).is_ok()
            } else {
                self.commit(open)?
            };
            if !goes_on || step == 8 {
                db = None;
            }
        }
        drop(db);
        let none = Faults::default();
        for _ in 0..2 {
            let db = self.open(&none)?.ok_or("it does not open although nothing fails any more")?;
            let faults = db.verify().map_err(|error| error.to_string())?.faults;
            if let Some(fault) = faults.first() {
                return Err(format!("verification finds {fault}"));
            }
            if !self.commit(&db)? {
                return Err("it takes no commit although nothing fails any more".to_owned());
            }
            let saved = db.checkpoint(&mut |_| ControlFlow::Continue(()));
            saved.map_err(|error| crate::failure::one_line(&error))?;
        }
        Ok(())
    }

    fn open(&mut self, faults: &Faults) -> Result<Option<Db>, String> {
        self.tags += 1;
        let storage = ledger::open_storage(self.setting.backend, self.dir)
            .map_err(|error| crate::failure::one_line(&error))?;
        let storage = FaultStorage::over(Arc::new(storage), faults.clone());
        match Database::open(storage, ledger::config(self.seed, self.tags)) {
            Ok(db) => {
                self.tally.add(&self.ledger.check(&db), &self.name);
                Ok(Some(db))
            }
            Err(OpenError::Storage(_)) => Ok(None),
            Err(error) => Err(format!("it does not open: {}", crate::failure::one_line(&error))),
        }
    }

    /// Whether the database goes on.
    fn commit(&mut self, db: &Db) -> Result<bool, String> {
        self.tags += 1;
        let unknown = self.ledger.has_unknown();
        match db.commit(self.ledger.batch(self.tags)) {
            Ok(_) if unknown => Err("a commit succeeds behind one that is unknown".to_owned()),
            Ok(_) => {
                self.ledger.ack(self.tags);
                Ok(true)
            }
            Err(CommitError::Unknown(_)) => {
                self.ledger.perhaps(self.tags);
                Ok(false)
            }
            Err(CommitError::NoSpace(_) | CommitError::MemtableFull { .. }) => Ok(true),
            Err(CommitError::Refused(_) | CommitError::Poisoned) => Ok(false),
            Err(error) => Err(crate::failure::one_line(&error)),
        }
    }
}
