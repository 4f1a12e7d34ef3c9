//! Proof for storages and for what is built on them; for tests and tools, never for libraries.
//!
//! - [`conformance`]: the contract of `gannet_storage`, clause by clause, for any storage.
//! - [`sim`]: a disk in memory whose power can fail, and every state that this can leave.
//! - [`campaign`]: the engine on that disk, crashed at every instant in every way.

#![forbid(unsafe_code)]

pub mod campaign;
pub mod conformance;
pub mod sim;
