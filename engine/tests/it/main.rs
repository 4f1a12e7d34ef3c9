//! What the engine promises, tried from outside.

mod contents;
mod damage;
mod faults;
mod input;
mod reopen;
mod searching;
