//! Typed values of keys.

use crate::contents::open;
use crate::disk::{Disk, on_each_disk};
use gannet::{CommitError, ReadError, Value, ValueError, WriteBatch};

#[test]
fn typed_values_are_read_as_they_were_put() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        let fields =
            [("name".to_owned(), "n".into()), ("tags".to_owned(), Value::List(vec![1.into()]))];
        let value = Value::Map(fields.into());
        let mut batch = WriteBatch::new();
        batch.put_value("kv", b"a", &value).unwrap();
        batch.put("kv", b"bytes", &[0xff]);
        db.commit(batch).unwrap();
        let snapshot = db.snapshot();
        let (seen, _) = db
            .transact(|tx| -> Result<_, CommitError> {
                let seen = tx.get_value("kv", b"a").unwrap();
                tx.put_value("kv", b"a", &Value::Null).unwrap();
                assert_eq!(tx.get_value("kv", b"a").unwrap(), Some(Value::Null));
                Ok(seen)
            })
            .unwrap();
        assert_eq!(seen.as_ref(), Some(&value));
        assert_eq!(snapshot.get_value("kv", b"a").unwrap(), Some(value));
        assert_eq!(db.get_value("kv", b"a").unwrap(), Some(Value::Null));
        assert_eq!(db.get_value("kv", b"b").unwrap(), None);
        let error = db.get_value("kv", b"bytes").unwrap_err();
        assert_eq!(error.to_string(), "key bytes of keyspace `kv` has no typed value");
        assert!(matches!(error, ReadError::Untyped { source: ValueError::Bytes { .. }, .. }));
    }
    on_each_disk!(on);
}
