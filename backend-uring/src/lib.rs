//! Gannet storage on Linux `io_uring`.

#![deny(unsafe_code)]

#[cfg(target_os = "linux")]
mod direct;
#[cfg(target_os = "linux")]
mod file;
#[cfg(target_os = "linux")]
mod queue;
#[cfg(target_os = "linux")]
mod refusal;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(target_os = "linux")]
mod rings;
#[cfg(target_os = "linux")]
mod sealed;
#[cfg(target_os = "linux")]
mod setup;
#[cfg(target_os = "linux")]
mod storage;
#[cfg(target_os = "linux")]
mod transfer;
#[cfg(target_os = "linux")]
mod unsynced;

#[cfg(target_os = "linux")]
pub use {
    file::UringFile,
    queue::UringQueue,
    sealed::UringSealed,
    storage::{UringOptions, UringStorage},
};
