//! The stores, each as its users would use it for this.

pub(crate) mod fjall;
pub(crate) mod gannet;
pub(crate) mod lmdb;
pub(crate) mod redb;
#[cfg(feature = "rocksdb")]
pub(crate) mod rocksdb;
pub(crate) mod sled;
pub(crate) mod sqlite;
