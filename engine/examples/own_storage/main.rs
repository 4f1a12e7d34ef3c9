//! A database on a storage of one's own, which is in `shelf.rs`: under a hundred lines.
//!
//! The engine asks no more of a storage than the contract of `gannet::storage` says, and the suite
//! `gannet_testkit::conformance` tells whether a storage keeps it. So does this one.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

mod shelf;

use gannet::{Config, Database, Metric, Params, SearchOptions, WriteBatch};
use shelf::Shelf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let db = Database::open(Shelf::default(), Config::balanced())?;
    db.create_collection("fruit", Params::new(2, Metric::Cosine))?;

    let mut batch = WriteBatch::new();
    for (id, vector) in [("apple", [0.9, 0.2]), ("lemon", [0.1, 0.8]), ("melon", [0.7, 0.6])] {
        batch.insert("fruit", id, &vector);
    }
    db.commit(batch)?;

    for hit in db.search("fruit", &[0.2, 0.9], &SearchOptions::new(2))? {
        println!("{} at distance {:.3}", hit.id, hit.distance);
    }
    Ok(db.close()?)
}
