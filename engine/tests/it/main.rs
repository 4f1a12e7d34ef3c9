//! What the engine promises, tried from outside.

#![expect(clippy::unwrap_used, reason = "where a test unwraps what is not there it should fail")]

mod contents;
mod damage;
mod faults;
mod input;
mod lies;
mod reopen;
mod scanning;
mod searching;
mod unreadable;
