//! Gannet, on any of its backends: modes are its own durabilities.

use crate::data::{Key, Record, Value};
use crate::store::{Change, Mode, Open, Result, Session, Store};
use gannet::storage::{DirOptions, Error, Storage};
use gannet::{CommitError, Config, Database, Durability, WriteBatch};
use std::ops::{Bound, ControlFlow};
use std::path::Path;

const KEYSPACE: &str = "bench";

struct Gannet<S: Storage> {
    database: Database<S>,
    settings: String,
}

/// Opens one whose storage `open_storage` opens.
pub(crate) fn open<S: Storage>(
    open: &Open,
    open_storage: impl FnOnce(&Path, &DirOptions) -> std::result::Result<S, Error>,
) -> Result<Box<dyn Store>> {
    let mut config = match open.mode {
        Mode::None | Mode::Buffered => Config::max_throughput(),
        Mode::Strict => Config::balanced(),
    };
    if open.mode == Mode::None {
        config.durability = Durability::InMemory;
    }
    config.block_cache_bytes = open.cache_bytes.into();
    if open.is_log_kept {
        config.checkpoint_bytes = 8 << 30;
        config.log_bytes_max = 64 << 30;
        config.memtable_bytes = 8 << 30;
    }
    let settings = format!("{:?}", config.durability);
    // In a folder of its own: what is there has to be its own.
    let storage = open_storage(&open.dir.join("db"), &DirOptions::create())?;
    Ok(Box::new(Gannet { database: Database::open(storage, config)?, settings }))
}

impl<S: Storage> Store for Gannet<S> {
    fn settings(&self) -> String {
        self.settings.clone()
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(&self.database))
    }

    fn sync(&self) -> Result<()> {
        match self.database.flush() {
            Ok(()) | Err(CommitError::InMemory) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn compact(self: Box<Self>) -> Result<()> {
        self.database.compact(&mut |_| ControlFlow::Continue(()))?;
        Ok(self.database.close()?)
    }
}

impl<S: Storage> Session for &Database<S> {
    fn get(&mut self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let found = Database::get(self, KEYSPACE, key)?;
        Ok(found.inspect(|value| see(value)).is_some())
    }

    fn get_many(&mut self, keys: &[Key], see: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let keys: Vec<&[u8]> = keys.iter().map(<[u8; 16]>::as_slice).collect();
        for (index, value) in Database::get_many(self, KEYSPACE, &keys)?.iter().enumerate() {
            if let Some(value) = value {
                see(index, value);
            }
        }
        Ok(())
    }

    fn scan(&mut self, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let (from, to) = (Bound::Unbounded, Bound::Unbounded);
        Ok(Database::scan(self, KEYSPACE, from, to, |key, value| {
            see(key, value);
            ControlFlow::Continue(())
        })?)
    }

    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        let mut batch = WriteBatch::new();
        batch.put(KEYSPACE, key, value);
        self.commit(batch)?;
        Ok(())
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        let mut batch = WriteBatch::new();
        batch.delete(KEYSPACE, key);
        self.commit(batch)?;
        Ok(())
    }

    fn put_all(&mut self, records: &[Record]) -> Result<()> {
        let mut batch = WriteBatch::new();
        for (key, value) in records {
            batch.put(KEYSPACE, key, value);
        }
        self.commit(batch)?;
        Ok(())
    }

    fn cas(&mut self, key: &Key, change: Change<'_>) -> Result<bool> {
        let Some(found) = self.get_versioned(KEYSPACE, key)? else { return Ok(false) };
        let value = change(&found.value)?;
        match Database::cas(self, KEYSPACE, key, found.version, Some(&value)) {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
