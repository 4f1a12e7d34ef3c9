//! The backend itself. Everything in it needs Linux, so the crate's root asks for that once.

mod direct;
#[cfg(feature = "tokio")]
mod facade;
mod file;
#[cfg(test)]
mod hook;
#[cfg(test)]
#[path = "../../tests/it/interrupt.rs"]
mod interrupt;
mod queue;
mod refusal;
mod ring;
mod rings;
mod sealed;
mod setup;
mod storage;
mod transfer;
mod unsynced;

#[cfg(feature = "tokio")]
pub use facade::{AsyncReader, AsyncView};
pub use file::UringFile;
pub use queue::UringQueue;
pub use sealed::UringSealed;
pub use storage::{UringOptions, UringStorage};
