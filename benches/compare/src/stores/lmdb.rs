//! LMDB: its files are its cache, and it has no log.

use crate::data::{Key, Record, Value};
use crate::store::{Change, Mode, Open, Result, Session, Store};
use heed::types::Bytes;
use heed::{CommitOrAbort, CompactionOption, Database, Env, EnvFlags, EnvOpenOptions};
use std::path::PathBuf;

pub(crate) struct Lmdb {
    env: Env,
    table: Database<'static, Bytes, Bytes>,
    dir: PathBuf,
    settings: &'static str,
}

impl Lmdb {
    pub(crate) fn open(open: &Open) -> Result<Self> {
        let (flags, settings) = match open.mode {
            Mode::None => (EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP, "NO_SYNC, WRITE_MAP"),
            Mode::Buffered => (EnvFlags::NO_SYNC, "NO_SYNC"),
            Mode::Strict => (EnvFlags::empty(), "default"),
        };
        // As its documentation advises.
        let more =
            if open.is_larger_than_memory { EnvFlags::NO_READ_AHEAD } else { EnvFlags::empty() };
        let mut options = EnvOpenOptions::new();
        options.map_size(32 << 30);
        // SAFETY: the directory belongs to this process and to nobody else: no other program, and
        // nothing else in this one, changes the files that are mapped or opens them a second time.
        // Of what the flags take away, durability is all: no lock and no thread check is left out.
        #[expect(unsafe_code, reason = "heed maps a file, and cannot know who else changes it")]
        let env = unsafe { options.flags(flags | more).open(&open.dir)? };
        let table = env
            .create_databases_and_commit(env.write_txn()?, |opener, txn| {
                opener.create_database(txn, None).map(CommitOrAbort::<_, ()>::Commit)
            })?
            .unwrap_commit();
        Ok(Self { env, table, dir: open.dir.clone(), settings })
    }
}

impl Store for Lmdb {
    fn settings(&self) -> String {
        self.settings.to_owned()
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    /// A compacting copy takes the place of the file.
    fn compact(self: Box<Self>) -> Result<()> {
        let copy = self.dir.join("copy");
        self.env.copy_to_path(&copy, CompactionOption::Enabled)?.sync_all()?;
        self.env.prepare_for_closing().wait();
        Ok(std::fs::rename(copy, self.dir.join("data.mdb"))?)
    }
}

impl Session for &Lmdb {
    fn get(&mut self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let txn = self.env.read_txn()?;
        Ok(self.table.get(&txn, key)?.inspect(|value| see(value)).is_some())
    }

    fn scan(&mut self, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let txn = self.env.read_txn()?;
        for record in self.table.iter(&txn)? {
            let (key, value) = record?;
            see(key, value);
        }
        Ok(())
    }

    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        self.table.put(&mut txn, key, value)?;
        Ok(txn.commit()?)
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        self.table.delete(&mut txn, key)?;
        Ok(txn.commit()?)
    }

    fn put_all(&mut self, records: &[Record]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in records {
            self.table.put(&mut txn, key, value)?;
        }
        Ok(txn.commit()?)
    }

    fn cas(&mut self, key: &Key, change: Change<'_>) -> Result<bool> {
        let mut txn = self.env.write_txn()?;
        let Some(found) = self.table.get(&txn, key)? else { return Ok(false) };
        let value = change(found)?;
        self.table.put(&mut txn, key, &value)?;
        txn.commit()?;
        Ok(true)
    }
}
