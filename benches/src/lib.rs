//! Seeded data for the benches: clustered vectors, queries near them, and values of records.
//!
//! Keeps nothing that is measured and looks at no clock; the benches under `benches/` do. The same
//! seed makes the same data on every machine, so that two runs measure the same work.

#![forbid(unsafe_code)]

mod random;
mod recall;
mod vectors;

pub use random::Random;
pub use recall::recall;
pub use vectors::{CHUNK_LOG2, Vectors};
