//! sled. Its `flush` asks for the writes to begin and does not flush the disk's cache, so that its
//! strict mode is worth less than that of the others.

use crate::data::{Key, Record, Value};
use crate::store::{Change, Mode, Open, Result, Session, Store};
use sled::{Batch, Db};

/// Its own default.
const FLUSH_EVERY_MS: u64 = 500;

pub(crate) struct Sled {
    database: Db,
    mode: Mode,
}

impl Sled {
    pub(crate) fn open(open: &Open) -> Result<Self> {
        let every = (open.mode == Mode::Buffered).then_some(FLUSH_EVERY_MS);
        let config = sled::Config::new().path(&open.dir).flush_every_ms(every);
        let database = config.cache_capacity(open.cache_bytes.into()).open()?;
        Ok(Self { database, mode: open.mode })
    }

    fn committed(&self) -> Result<()> {
        if self.mode == Mode::Strict {
            self.database.flush()?;
        }
        Ok(())
    }
}

impl Store for Sled {
    fn settings(&self) -> String {
        match self.mode {
            Mode::None => "never flushed".to_owned(),
            Mode::Buffered => format!("flush() every {FLUSH_EVERY_MS} ms"),
            Mode::Strict => "flush(), which does not flush the disk".to_owned(),
        }
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }

    fn sync(&self) -> Result<()> {
        self.database.flush()?;
        Ok(())
    }

    /// It has no call for that.
    fn compact(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

impl Session for &Sled {
    fn get(&mut self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.database.get(key)?.inspect(|value| see(value)).is_some())
    }

    fn scan(&mut self, _: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        Err("its scans are not measured".into())
    }

    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        self.database.insert(key, &value[..])?;
        self.committed()
    }

    fn delete(&mut self, _: &Key) -> Result<()> {
        Err("its deletions are not measured".into())
    }

    fn put_all(&mut self, records: &[Record]) -> Result<()> {
        let mut batch = Batch::default();
        for (key, value) in records {
            batch.insert(&key[..], &value[..]);
        }
        self.database.apply_batch(batch)?;
        self.committed()
    }

    fn cas(&mut self, key: &Key, change: Change<'_>) -> Result<bool> {
        let Some(found) = self.database.get(key)? else { return Ok(false) };
        let value = change(&found)?;
        let swapped = self.database.compare_and_swap(key, Some(found), Some(&value[..]))?;
        if swapped.is_err() {
            return Ok(false);
        }
        self.committed()?;
        Ok(true)
    }
}
