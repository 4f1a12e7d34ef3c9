//! Hostile bytes with checksums that match: what a fuzzer gives to graphs, codes, files, logs and
//! typed values.
//!
//! Each [`Target`] takes any input and panics where a promise is broken. An input says how to
//! change something valid; the checksums are made to match again, or nothing behind them would ever
//! be seen. `examples/fuzz.rs` is the fuzzer, and gives single inputs again; an input that broke
//! something stands in `tests/fuzz.rs` ever after. Checksums that do not match are the business of
//! [`flips`](crate::flips).
//!
//! ```
//! use gannet_testkit::fuzz::Target;
//!
//! for target in Target::ALL {
//!     target.run(b"");
//! }
//! ```

mod codes;
mod edits;
mod forge;
mod graph;
mod input;
mod judge;
mod log;
mod store;
mod value;

use std::fmt;
use std::str::FromStr;

/// What is given hostile bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// The image of a graph: read, written again, searched, and given more rows.
    Graph,
    /// Codes that belong to no row: graphs are built on them and searched.
    Codes,
    /// The root and the sealed files of a database: opened, used, and opened again; salvaged.
    Files,
    /// Blocks, index, filter and footer of the tables of a database, in the same way.
    Table,
    /// The segments of a log, in the same way.
    Log,
    /// The bytes of a typed value.
    Value,
}

impl Target {
    /// Every target.
    pub const ALL: [Self; 6] =
        [Self::Graph, Self::Codes, Self::Files, Self::Table, Self::Log, Self::Value];

    /// Tries one input.
    ///
    /// # Panics
    /// If it breaks something.
    pub fn run(self, input: &[u8]) {
        match self {
            Self::Graph => graph::run(input),
            Self::Codes => codes::run(input),
            Self::Files => store::run(input),
            Self::Table => store::run_tables(input),
            Self::Log => log::run(input),
            Self::Value => value::run(input),
        }
    }

    /// Inputs to begin with, the same ones every time.
    #[must_use]
    pub fn seeds(self) -> Vec<Vec<u8>> {
        match self {
            Self::Graph => graph::seeds(),
            Self::Codes => codes::seeds(),
            Self::Files => store::seeds(),
            Self::Table => store::seeds_of_tables(),
            Self::Log => log::seeds(),
            Self::Value => value::seeds(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Graph => "graph",
            Self::Codes => "codes",
            Self::Files => "files",
            Self::Table => "table",
            Self::Log => "log",
            Self::Value => "value",
        })
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|target| target.to_string() == name);
        found.ok_or_else(|| {
            format!("no target {name:?}: there are graph, codes, files, table, log and value")
        })
    }
}
