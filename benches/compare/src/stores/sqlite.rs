//! SQLite with its write-ahead log: a connection a thread, statements prepared once.

use crate::data::{Key, Record, Value};
use crate::store::{Change, Error, Mode, Open, Result, Session, Store};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

const GET: &str = "SELECT v FROM kv WHERE k = ?1";
const PUT: &str = "INSERT OR REPLACE INTO kv VALUES (?1, ?2)";

pub(crate) struct Sqlite {
    /// Keeps the log while sessions come and go.
    first: Mutex<Connection>,
    open: Open,
}

impl Sqlite {
    pub(crate) fn open(open: &Open) -> Result<Self> {
        let first = connect(open)?;
        first.execute_batch(
            "CREATE TABLE IF NOT EXISTS kv (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID",
        )?;
        Ok(Self { first: Mutex::new(first), open: open.clone() })
    }
}

fn synchronous(mode: Mode) -> &'static str {
    match mode {
        Mode::None => "OFF",
        Mode::Buffered => "NORMAL",
        Mode::Strict => "FULL",
    }
}

fn path(open: &Open, end: &str) -> PathBuf {
    open.dir.join(format!("db.sqlite{end}"))
}

fn connect(open: &Open) -> Result<Connection> {
    let connection = Connection::open(path(open, ""))?;
    connection.busy_timeout(Duration::from_secs(60))?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(format!("journal_mode is {mode}").into());
    }
    connection.pragma_update(None, "synchronous", synchronous(open.mode))?;
    connection.pragma_update(None, "cache_size", -i64::from(open.cache_bytes >> 10))?;
    if open.is_log_kept {
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    }
    Ok(connection)
}

impl Store for Sqlite {
    fn settings(&self) -> String {
        format!("WAL, synchronous={}", synchronous(self.open.mode))
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(connect(&self.open)?))
    }

    /// The files themselves: a checkpoint is more than was asked for.
    fn sync(&self) -> Result<()> {
        for end in ["-wal", ""] {
            File::open(path(&self.open, end))?.sync_data()?;
        }
        Ok(())
    }

    fn compact(self: Box<Self>) -> Result<()> {
        let first = self.first.into_inner().map_err(|_| Error::from("a thread has panicked"))?;
        first.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")?;
        first.close().map_err(|(_, error)| error.into())
    }
}

impl Session for Connection {
    fn get(&mut self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let mut statement = self.prepare_cached(GET)?;
        let mut rows = statement.query([&key[..]])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        see(row.get_ref(0)?.as_blob()?);
        Ok(true)
    }

    fn scan(&mut self, _: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        Err("its scans are not measured".into())
    }

    fn put(&mut self, key: &Key, value: &Value) -> Result<()> {
        self.prepare_cached(PUT)?.execute([&key[..], &value[..]])?;
        Ok(())
    }

    fn delete(&mut self, _: &Key) -> Result<()> {
        Err("its deletions are not measured".into())
    }

    fn put_all(&mut self, records: &[Record]) -> Result<()> {
        let txn = self.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut statement = txn.prepare_cached(PUT)?;
        for (key, value) in records {
            statement.execute([&key[..], &value[..]])?;
        }
        drop(statement);
        Ok(txn.commit()?)
    }

    fn cas(&mut self, key: &Key, change: Change<'_>) -> Result<bool> {
        let txn = self.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut get = txn.prepare_cached(GET)?;
        let read = |row: &rusqlite::Row<'_>| Ok(change(row.get_ref(0)?.as_blob()?));
        let found = get.query_row([&key[..]], read).optional()?;
        drop(get);
        let Some(value) = found.transpose()? else { return Ok(false) };
        txn.prepare_cached(PUT)?.execute([&key[..], &value[..]])?;
        txn.commit()?;
        Ok(true)
    }
}
