//! fjall: plain writes go to its keyspace, read-compare-write through one of its transactions.

use crate::data::{Key, Record, Value};
use crate::store::{Change, Mode, Open, Result, Session, Store};
use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, OptimisticTxDatabase, OptimisticTxKeyspace,
    PersistMode, Readable, SingleWriterTxDatabase, SingleWriterTxKeyspace,
};

pub(crate) struct Fjall {
    database: Database,
    keyspace: Keyspace,
    transactions: Transactions,
    mode: Mode,
}

enum Transactions {
    Optimistic(OptimisticTxDatabase, OptimisticTxKeyspace),
    Single(SingleWriterTxDatabase, SingleWriterTxKeyspace),
}

impl Fjall {
    pub(crate) fn open(open: &Open, is_single_writer: bool) -> Result<Self> {
        let is_manual = open.mode == Mode::None;
        let (memtable, journal): (u64, u64) =
            if open.is_log_kept { (4 << 30, 16 << 30) } else { (64 << 20, 512 << 20) };
        let options = || {
            let options = KeyspaceCreateOptions::default().max_memtable_size(memtable);
            options.manual_journal_persist(is_manual)
        };
        let cache = u64::from(open.cache_bytes);
        let (database, keyspace, transactions) = if is_single_writer {
            let builder = SingleWriterTxDatabase::builder(&open.dir).cache_size(cache);
            let builder = builder.manual_journal_persist(is_manual).max_journaling_size(journal);
            let database = builder.open()?;
            let keyspace = database.keyspace("bench", options)?;
            let plain = (database.inner().clone(), keyspace.inner().clone());
            (plain.0, plain.1, Transactions::Single(database, keyspace))
        } else {
            let builder = OptimisticTxDatabase::builder(&open.dir).cache_size(cache);
            let builder = builder.manual_journal_persist(is_manual).max_journaling_size(journal);
            let database = builder.open()?;
            let keyspace = database.keyspace("bench", options)?;
            let plain = (database.inner().clone(), keyspace.inner().clone());
            (plain.0, plain.1, Transactions::Optimistic(database, keyspace))
        };
        Ok(Self { database, keyspace, transactions, mode: open.mode })
    }

    /// How a commit is made durable.
    fn persist(&self) -> Option<PersistMode> {
        match self.mode {
            Mode::None => None,
            Mode::Buffered => Some(PersistMode::Buffer),
            Mode::Strict => Some(PersistMode::SyncData),
        }
    }
}

impl Store for Fjall {
    fn settings(&self) -> String {
        match self.mode {
            Mode::None => "manual_journal_persist".to_owned(),
            Mode::Buffered => "default".to_owned(),
            Mode::Strict => "SyncData".to_owned(),
        }
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }

    fn sync(&self) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    fn compact(self: Box<Self>) -> Result<()> {
        self.keyspace.rotate_memtable_and_wait()?;
        Ok(self.keyspace.major_compact()?)
    }
}

impl Session for &Fjall {
    fn get(&mut self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.keyspace.get(key)?.inspect(|value| see(value)).is_some())
    }

    fn scan(&mut self, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        for record in self.keyspace.iter() {
            let (key, value) = record.into_inner()?;
            see(&key, &value);
        }
        Ok(())
    }

    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        self.keyspace.insert(&key[..], &value[..])?;
        if self.mode == Mode::Strict {
            self.database.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        Ok(self.keyspace.remove(&key[..])?)
    }

    fn put_all(&mut self, records: &[Record]) -> Result<()> {
        let mut batch = self.database.batch().durability(self.persist());
        for (key, value) in records {
            batch.insert(&self.keyspace, &key[..], &value[..]);
        }
        Ok(batch.commit()?)
    }

    fn cas(&mut self, key: &Key, change: Change<'_>) -> Result<bool> {
        match &self.transactions {
            Transactions::Optimistic(database, keyspace) => {
                let mut txn = database.write_tx()?.durability(self.persist());
                let Some(found) = txn.get(keyspace, key)? else { return Ok(false) };
                txn.insert(keyspace, &key[..], &change(&found)?[..]);
                Ok(txn.commit()?.is_ok())
            }
            Transactions::Single(database, keyspace) => {
                let mut txn = database.write_tx().durability(self.persist());
                let Some(found) = txn.get(keyspace, key)? else { return Ok(false) };
                txn.insert(keyspace, &key[..], &change(&found)?[..]);
                txn.commit()?;
                Ok(true)
            }
        }
    }
}
