//! The log: every change, in order, before it is anything else (`docs/FORMAT.md`, chapter Log).
//!
//! Segments of frames of records. `segment` and `frame` keep the bytes, `writer` appends, `live`
//! finds segments, `scan` reads one through a `window`, `pack` makes bodies shorter, `recover`
//! decides where the whole log ends, `aside` makes it end before damage. What a record means is
//! left to `state`; when a segment may go, to `checkpoint`.

pub(crate) mod aside;
pub(crate) mod frame;
pub(crate) mod live;
pub(crate) mod pack;
pub(crate) mod recover;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod window;
pub(crate) mod writer;

use crate::damage::Lsn;

/// A place between two records: what comes next must continue from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPosition {
    /// The last record before it; 0 before the first.
    pub(crate) lsn: Lsn,
    /// The chain value after that record's frame.
    pub(crate) chain: u32,
}

impl LogPosition {
    /// Before the first record.
    pub(crate) const START: Self = Self { lsn: 0, chain: 0 };
}
