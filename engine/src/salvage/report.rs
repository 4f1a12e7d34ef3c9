//! What a salvage took, and what it did not.

use crate::damage::Lsn;
use crate::id::Id;
use std::fmt;
use std::ops::RangeInclusive;

/// How far a salvage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvageProgress {
    /// Files of the log and of checkpoints that were gone through.
    pub files: u64,
    /// Records and rows that were looked at.
    pub items: u64,
}

/// What was salvaged.
///
/// Whatever is neither in [`lost`](Self::lost) nor touched by a record in [`holes`](Self::holes) is
/// in the new database as it was. What is there of the rest is a value that was once written, but
/// may be an older one, or one that was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Collections of the new database.
    pub collections: u64,
    /// Live rows in them.
    pub rows: u64,
    /// Keyspaces of the new database.
    pub keyspaces: u64,
    /// Keys in them.
    pub keys: u64,
    /// Checkpoints whose files were taken, oldest first.
    pub checkpoints: Vec<Lsn>,
    /// Records of the log that were applied.
    pub records: u64,
    /// The last record that anything told of.
    pub end_lsn: Lsn,
    /// What could not be taken.
    pub lost: Vec<Loss>,
    /// Records that were written and are not there: anything may have been in them.
    pub holes: Vec<RangeInclusive<Lsn>>,
    /// Records that were applied although some before them are missing: together they make a state
    /// that may never have been.
    pub behind_holes: Vec<RangeInclusive<Lsn>>,
    /// What was found that is not as it was written, also where it cost nothing because something
    /// else made up for it.
    pub damage: Vec<FileDamage>,
}

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileDamage {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Something that could not be taken, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loss {
    /// What.
    pub what: Lost,
    /// Why, with the file.
    pub reason: String,
}

/// Something that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// Rows of a collection; those in the range that had been deleted are no loss.
    Rows {
        /// The collection's name.
        collection: String,
        /// What the log calls the first and the last: the first that was ever inserted is 0.
        rows: RangeInclusive<u32>,
        /// The ids of the first and the last row, where those of all of them are known.
        ids: Option<(Id, Id)>,
    },
    /// Which of these rows had been deleted or replaced: they may be there again.
    Deletions {
        /// The collection's name.
        collection: String,
        /// What the log calls the first and the last.
        rows: RangeInclusive<u32>,
    },
    /// Keys of a keyspace.
    Keys {
        /// The keyspace's name.
        keyspace: String,
        /// Those behind this key; `None`: from the first on.
        behind: Option<Vec<u8>>,
        /// And up to this one; `None`: up to the last.
        upto: Option<Vec<u8>>,
    },
    /// Records of the log that are whole and cannot be applied.
    Records {
        /// Their numbers.
        lsns: RangeInclusive<Lsn>,
    },
    /// The end of the log: what was written behind this record, if anything was.
    End {
        /// The record.
        behind: Lsn,
    },
    /// A file that nothing tells the meaning of.
    File {
        /// Its name.
        file: String,
    },
}

impl SalvageReport {
    /// Whether nothing was lost.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lost.is_empty() && self.holes.is_empty()
    }
}

impl Loss {
    pub(super) fn new(what: Lost, reason: impl Into<String>) -> Self {
        Self { what, reason: reason.into() }
    }

    /// Takes `next` in, if it is about what comes right behind, for the same reason.
    pub(super) fn join(&mut self, next: &Self) -> bool {
        match (&mut self.what, &next.what) {
            (Lost::Records { lsns }, Lost::Records { lsns: more })
                if self.reason == next.reason && lsns.end() + 1 == *more.start() =>
            {
                *lsns = *lsns.start()..=*more.end();
                true
            }
            _ => false,
        }
    }
}

impl fmt::Display for FileDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, reason } = self;
        if reason.contains(file.as_str()) {
            f.write_str(reason)
        } else {
            write!(f, "{file}: {reason}")
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.reason)
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows { collection, rows, ids } => {
                write!(f, "rows {} to {} of collection `{collection}`", rows.start(), rows.end())?;
                match ids {
                    Some((first, last)) => write!(f, ", ids {first} to {last}"),
                    None => Ok(()),
                }
            }
            Self::Deletions { collection, rows } => {
                let (first, last) = (rows.start(), rows.end());
                write!(f, "deletions among rows {first} to {last} of collection `{collection}`")
            }
            Self::Keys { keyspace, behind, upto } => {
                let show = |key: &Vec<u8>| Id::from(key.as_slice());
                f.write_str("the keys")?;
                if let Some(behind) = behind {
                    write!(f, " behind {}", show(behind))?;
                }
                if let Some(upto) = upto {
                    write!(f, " up to {}", show(upto))?;
                }
                write!(f, " of keyspace `{keyspace}`")
            }
            Self::Records { lsns } => write!(f, "records {} to {}", lsns.start(), lsns.end()),
            Self::End { behind } => write!(f, "what the log had behind record {behind}"),
            Self::File { file } => f.write_str(file),
        }
    }
}
