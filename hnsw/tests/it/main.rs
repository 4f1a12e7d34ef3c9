//! What the crate promises, seen from outside.

#![expect(clippy::unwrap_used, reason = "tests, and helpers of tests")]

mod build;
mod calibration;
mod choice;
mod clones;
mod codes;
mod data;
mod exact;
mod filter;
mod image;
mod image_hostile;
mod order;
mod patches;
mod real;
mod recall;
mod removal;
mod renumber;
mod search;
