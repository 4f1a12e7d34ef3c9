//! RocksDB: opened for optimistic transactions, which plain writes do not go through. Where it is to
//! be read in little memory it is opened without: they take 42 MB for locks.

use crate::data::{Key, Record, Value};
use crate::store::{Change, Mode, Open, Result, Session, Store};
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, ErrorKind, IteratorMode,
    OptimisticTransactionDB, OptimisticTransactionOptions, Options, WaitForCompactOptions,
    WriteBatchWithTransaction, WriteOptions,
};

pub(crate) struct Rocks {
    database: OptimisticTransactionDB,
    mode: Mode,
}

impl Rocks {
    pub(crate) fn open(open: &Open) -> Result<Box<dyn Store>> {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(usize::try_from(open.cache_bytes)?));
        table.set_bloom_filter(10.0, false);
        // As its documentation advises where memory is short.
        table.set_cache_index_and_filter_blocks(open.is_larger_than_memory);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::Lz4);
        if open.is_log_kept {
            options.set_write_buffer_size(2 << 30);
        }
        if open.is_larger_than_memory {
            return Ok(Box::new(RocksReader { database: DB::open(&options, &open.dir)? }));
        }
        let database = OptimisticTransactionDB::open(&options, &open.dir)?;
        Ok(Box::new(Self { database, mode: open.mode }))
    }

    fn options(&self) -> WriteOptions {
        let mut options = WriteOptions::default();
        options.disable_wal(self.mode == Mode::None);
        options.set_sync(self.mode == Mode::Strict);
        options
    }
}

impl Store for Rocks {
    fn settings(&self) -> String {
        match self.mode {
            Mode::None => "no WAL".to_owned(),
            Mode::Buffered => "WAL, sync off".to_owned(),
            Mode::Strict => "WAL, sync on".to_owned(),
        }
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(RocksSession { database: &self.database, options: self.options() }))
    }

    fn sync(&self) -> Result<()> {
        match self.mode {
            // Preloaded keys stay in memory.
            Mode::None => Ok(()),
            Mode::Buffered | Mode::Strict => Ok(self.database.flush_wal(true)?),
        }
    }

    fn compact(self: Box<Self>) -> Result<()> {
        self.database.flush()?;
        self.database.compact_range(None::<&[u8]>, None::<&[u8]>);
        Ok(self.database.wait_for_compact(&WaitForCompactOptions::default())?)
    }
}

struct RocksSession<'d> {
    database: &'d OptimisticTransactionDB,
    options: WriteOptions,
}

impl Session for RocksSession<'_> {
    fn get(&mut self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.database.get_pinned(key)?.inspect(|value| see(value)).is_some())
    }

    fn get_many(&mut self, keys: &[Key], see: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        for (index, value) in self.database.multi_get(keys).into_iter().enumerate() {
            if let Some(value) = value? {
                see(index, &value);
            }
        }
        Ok(())
    }

    fn scan(&mut self, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        for record in self.database.iterator(IteratorMode::Start) {
            let (key, value) = record?;
            see(&key, &value);
        }
        Ok(())
    }

    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        Ok(self.database.put_opt(key, value, &self.options)?)
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        Ok(self.database.delete_opt(key, &self.options)?)
    }

    fn put_all(&mut self, records: &[Record]) -> Result<()> {
        let mut batch = WriteBatchWithTransaction::<true>::default();
        for (key, value) in records {
            batch.put(key, value);
        }
        Ok(self.database.write_opt(batch, &self.options)?)
    }

    fn cas(&mut self, key: &Key, change: Change<'_>) -> Result<bool> {
        let begin = OptimisticTransactionOptions::default();
        let txn = self.database.transaction_opt(&self.options, &begin);
        let Some(found) = txn.get_pinned_for_update(key, true)? else { return Ok(false) };
        let value = change(&found)?;
        drop(found);
        txn.put(key, value)?;
        match txn.commit() {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::Busy | ErrorKind::TryAgain) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What is read alone.
struct RocksReader {
    database: DB,
}

impl Store for RocksReader {
    fn settings(&self) -> String {
        "read alone".to_owned()
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(ReadSession { database: &self.database }))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn compact(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct ReadSession<'d> {
    database: &'d DB,
}

impl Session for ReadSession<'_> {
    fn get(&mut self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.database.get_pinned(key)?.inspect(|value| see(value)).is_some())
    }

    fn get_many(&mut self, keys: &[Key], see: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        for (index, value) in self.database.multi_get(keys).into_iter().enumerate() {
            if let Some(value) = value? {
                see(index, &value);
            }
        }
        Ok(())
    }

    fn scan(&mut self, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        for record in self.database.iterator(IteratorMode::Start) {
            let (key, value) = record?;
            see(&key, &value);
        }
        Ok(())
    }

    fn put(&mut self, _: &Key, _: &Value) -> Result<()> {
        Err(READ_ALONE.into())
    }

    fn delete(&mut self, _: &Key) -> Result<()> {
        Err(READ_ALONE.into())
    }

    fn put_all(&mut self, _: &[Record]) -> Result<()> {
        Err(READ_ALONE.into())
    }

    fn cas(&mut self, _: &Key, _: Change<'_>) -> Result<bool> {
        Err(READ_ALONE.into())
    }
}

const READ_ALONE: &str = "it was opened to be read alone";
