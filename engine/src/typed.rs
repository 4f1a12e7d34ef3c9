//! Keys with typed values: what `get` and `put` do with bytes, with a [`Value`].

use crate::batch::WriteBatch;
use crate::database::Database;
use crate::error::ReadError;
use crate::snapshot::Snapshot;
use crate::transaction::Transaction;
use crate::value::{Value, ValueError};
use gannet_storage::Storage;

impl<S: Storage> Database<S> {
    /// The typed value of a key; `None` where key or keyspace is not there.
    ///
    /// # Errors
    /// As [`get`](Self::get); `Untyped` if the bytes of the key are not a typed value.
    pub fn get_value(&self, keyspace: &str, key: &[u8]) -> Result<Option<Value>, ReadError> {
        decode(keyspace, key, self.get(keyspace, key)?)
    }
}

impl<S: Storage> Snapshot<'_, S> {
    /// As [`Database::get_value`].
    ///
    /// # Errors
    /// As [`Database::get_value`].
    pub fn get_value(&self, keyspace: &str, key: &[u8]) -> Result<Option<Value>, ReadError> {
        decode(keyspace, key, self.get(keyspace, key)?)
    }
}

impl<S: Storage> Transaction<'_, S> {
    /// As [`Database::get_value`].
    ///
    /// # Errors
    /// As [`Database::get_value`].
    pub fn get_value(&mut self, keyspace: &str, key: &[u8]) -> Result<Option<Value>, ReadError> {
        let found = self.get(keyspace, key)?;
        decode(keyspace, key, found)
    }

    /// As [`WriteBatch::put_value`].
    ///
    /// # Errors
    /// As [`Value::encode`].
    pub fn put_value(
        &mut self,
        keyspace: &str,
        key: &[u8],
        value: &Value,
    ) -> Result<(), ValueError> {
        self.put(keyspace, key, &value.encode()?);
        Ok(())
    }
}

impl WriteBatch {
    /// As [`put`](Self::put), of a typed value.
    ///
    /// # Errors
    /// As [`Value::encode`]; the batch is as it was.
    pub fn put_value(
        &mut self,
        keyspace: &str,
        key: &[u8],
        value: &Value,
    ) -> Result<(), ValueError> {
        self.put(keyspace, key, &value.encode()?);
        Ok(())
    }
}

fn decode(keyspace: &str, key: &[u8], found: Option<Vec<u8>>) -> Result<Option<Value>, ReadError> {
    let untyped = |source| {
        let (keyspace, key) = (keyspace.to_owned(), key.to_vec());
        ReadError::Untyped { keyspace, key, source }
    };
    found.map(|bytes| Value::decode(&bytes).map_err(untyped)).transpose()
}
