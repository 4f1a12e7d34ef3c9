//! One byte of a closed database is another one: it is refused, repaired or harmless, and never a
//! wrong answer.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use gannet::{Chance, Database, OpenError};

use super::ledger::{self, Findings, Ledger};
use super::round::Round;
use super::tally::Tally;
use super::{Setting, TortureError};

const BATCHES: u64 = 20;

/// A small database, closed, and what it holds.
pub(super) struct Store {
    dir: PathBuf,
    seed: u64,
    ledger: Ledger,
    /// Files with their lengths, by name.
    files: Vec<(PathBuf, u64)>,
}

impl Store {
    pub(super) fn make(setting: &Setting<'_>) -> Result<Self, TortureError> {
        let dir = setting.place.fresh(&format!("{}-flips", setting.backend))?;
        let seed = setting.chance(3, 0).next_u64();
        let mut ledger = Ledger::new(seed);
        let failed = |source| TortureError::Place { dir: dir.clone(), source };
        fill(setting, &dir, seed, &mut ledger).map_err(io::Error::other).map_err(failed)?;
        let files = files_of(&dir).map_err(failed)?;
        Ok(Self { dir, seed, ledger, files })
    }

    /// Flips a byte that the round's number decides, looks, and flips it back.
    pub(super) fn round(
        &self,
        setting: &Setting<'_>,
        number: u64,
        tally: &mut Tally,
    ) -> Result<(), TortureError> {
        let name = Round::Flip(number);
        let total: u64 = self.files.iter().map(|(_, len)| len).sum();
        let mut at = setting.chance(3, number + 1).next_u64() % total;
        let mut files = self.files.iter();
        let file = loop {
            let (file, len) = files.next().expect("the place is in one of them");
            if at < *len {
                break file;
            }
            at -= len;
        };
        let failed = |source| TortureError::Place { dir: file.clone(), source };
        flip(file, at).map_err(failed)?;
        tally.flips += 1;
        let judged = catch_unwind(AssertUnwindSafe(|| self.judge(setting, &name, tally)));
        let what = judged.unwrap_or_else(|_| Err("the engine panicked".to_owned()));
        if let Err(what) = what {
            tally.tell(1, &format!("byte {at} of {}: {what}", file.display()), &name);
        }
        flip(file, at).map_err(failed)
    }

    /// Removes it, unless something was found.
    pub(super) fn end(self, setting: &Setting<'_>, tally: &Tally) -> Result<(), TortureError> {
        if tally.violations == 0 { setting.place.discard(&self.dir) } else { Ok(()) }
    }

    fn judge(&self, setting: &Setting<'_>, name: &Round, tally: &mut Tally) -> Result<(), String> {
        let storage = ledger::open_storage(setting.backend, &self.dir);
        let storage = storage.map_err(|error| crate::failure::one_line(&error))?;
        match Database::open(storage, ledger::config(self.seed, 2)) {
            Ok(db) => {
                // Of tables, blocks are verified when they are read.
                let found = Findings { damaged: None, ..self.ledger.clone().check(&db) };
                tally.add(&found, name);
                Ok(())
            }
            Err(
                OpenError::Corrupt(_)
                | OpenError::NewerVersion { .. }
                | OpenError::NotADatabase { .. },
            ) => Ok(()),
            Err(error) => Err(crate::failure::one_line(&error)),
        }
    }
}

fn fill(setting: &Setting<'_>, dir: &Path, seed: u64, ledger: &mut Ledger) -> Result<(), String> {
    let text = |error: &dyn std::error::Error| crate::failure::one_line(error);
    let storage = ledger::open_storage(setting.backend, dir).map_err(|error| text(&error))?;
    let db = Database::open(storage, ledger::config(seed, 1)).map_err(|error| text(&error))?;
    for number in 1..=BATCHES {
        db.commit(ledger.batch(1)).map_err(|error| text(&error))?;
        ledger.ack(1);
        if number % 8 == 0 {
            let saved = db.checkpoint(&mut |_| ControlFlow::Continue(()));
            saved.map_err(|error| text(&error))?;
        }
    }
    db.close().map_err(|error| text(&error))
}

fn files_of(dir: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let len = entry.metadata()?.len();
        if len > 0 {
            files.push((entry.path(), len));
        }
    }
    files.sort();
    Ok(files)
}

fn flip(path: &Path, at: u64) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&[!byte[0]])?;
    file.sync_all()
}
