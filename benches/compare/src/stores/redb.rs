//! redb: a tree that is copied on write, without a log.

use crate::data::{Key, Record, Value};
use crate::store::{Change, Mode, Open, Result, Session, Store};
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bench");

/// How often a commit of the buffered mode is a durable one.
const SYNC_INTERVAL: Duration = Duration::from_millis(200);

pub(crate) struct Redb {
    database: Database,
    mode: Mode,
    /// When the last durable commit was made.
    synced: Mutex<Instant>,
}

impl Redb {
    pub(crate) fn open(open: &Open) -> Result<Self> {
        let cache = usize::try_from(open.cache_bytes)?;
        let mut builder = Database::builder();
        let database = builder.set_cache_size(cache).create(open.dir.join("db.redb"))?;
        let txn = database.begin_write()?;
        txn.open_table(TABLE)?;
        txn.commit()?;
        Ok(Self { database, mode: open.mode, synced: Mutex::new(Instant::now()) })
    }

    fn begin(&self) -> Result<WriteTransaction> {
        let mut txn = self.database.begin_write()?;
        txn.set_durability(match self.mode {
            Mode::Strict => Durability::Immediate,
            Mode::Buffered if self.is_due() => Durability::Immediate,
            Mode::Buffered | Mode::None => Durability::None,
        })?;
        Ok(txn)
    }

    fn is_due(&self) -> bool {
        let mut synced = self.synced.lock().expect("nothing panics while it is held");
        let is_due = synced.elapsed() >= SYNC_INTERVAL;
        if is_due {
            *synced = Instant::now();
        }
        is_due
    }
}

impl Store for Redb {
    fn settings(&self) -> String {
        match self.mode {
            Mode::None => "Durability::None".to_owned(),
            Mode::Buffered => format!("None, Immediate every {SYNC_INTERVAL:?}"),
            Mode::Strict => "Durability::Immediate".to_owned(),
        }
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }

    /// An empty commit that is durable makes those before it durable.
    fn sync(&self) -> Result<()> {
        Ok(self.database.begin_write()?.commit()?)
    }

    fn compact(mut self: Box<Self>) -> Result<()> {
        while self.database.compact()? {}
        Ok(())
    }
}

impl Session for &Redb {
    fn get(&mut self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let table = self.database.begin_read()?.open_table(TABLE)?;
        Ok(table.get(&key[..])?.inspect(|value| see(value.value())).is_some())
    }

    fn scan(&mut self, _: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        Err("its scans are not measured".into())
    }

    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        let txn = self.begin()?;
        txn.open_table(TABLE)?.insert(&key[..], &value[..])?;
        Ok(txn.commit()?)
    }

    fn delete(&mut self, _: &Key) -> Result<()> {
        Err("its deletions are not measured".into())
    }

    fn put_all(&mut self, records: &[Record]) -> Result<()> {
        let txn = self.begin()?;
        let mut table = txn.open_table(TABLE)?;
        for (key, value) in records {
            table.insert(&key[..], &value[..])?;
        }
        drop(table);
        Ok(txn.commit()?)
    }

    fn cas(&mut self, key: &Key, change: Change<'_>) -> Result<bool> {
        let txn = self.begin()?;
        let mut table = txn.open_table(TABLE)?;
        let found = table.get(&key[..])?.map(|found| change(found.value())).transpose()?;
        let Some(value) = found else { return Ok(false) };
        table.insert(&key[..], &value[..])?;
        drop(table);
        txn.commit()?;
        Ok(true)
    }
}
