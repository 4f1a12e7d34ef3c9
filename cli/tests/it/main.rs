//! The tests of the command line program that go through its public face: the readers of its
//! library, and the built `gannet` binary.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod backends;
mod backup;
mod demo;
mod keys;
mod kill;
mod living;
mod program;
mod readers;
mod recover;
mod refusals;
mod torture;
mod verbs;
