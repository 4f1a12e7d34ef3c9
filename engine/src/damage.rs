//! What was found wrong in a file, and where.

use std::fmt;

/// Number of a record in the whole log, from 1, without gaps; 0 means "before the first".
pub type Lsn = u64;

/// Bytes on disk that are not what was written: which, and what about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The file.
    pub file: String,
    /// Byte in it where the damage was found.
    pub offset: u64,
    /// First and last record that is affected, where the file is a log segment.
    pub lsns: Option<(Lsn, Lsn)>,
    /// What is wrong.
    pub damage: Damage,
}

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The file is not there although another names it.
    Missing,
    /// The device does not give the bytes back.
    Unreadable,
    /// The first bytes are not this kind of file's.
    Magic,
    /// A checksum does not match.
    Checksum,
    /// The file is shorter or longer than it must be.
    Length,
    /// It belongs to another database, or another file's contents are in it.
    Foreign,
    /// A field has a value that is never written.
    Field(&'static str),
    /// Records do not follow each other.
    Order,
    /// Later records, or the file that follows, prove that these were durable; they are not valid.
    LostRecords,
}

/// Something that only a later program writes, under checksums that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newer {
    /// What has a number that is not known.
    pub(crate) what: &'static str,
    pub(crate) found: u8,
    /// The highest number that is.
    pub(crate) supported: u8,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the file is missing"),
            Self::Unreadable => f.write_str("it cannot be read"),
            Self::Magic => f.write_str("it does not begin like a file of this kind"),
            Self::Checksum => f.write_str("a checksum does not match"),
            Self::Length => f.write_str("its length is wrong"),
            Self::Foreign => f.write_str("it belongs to another database or place"),
            Self::Field(name) => write!(f, "the field `{name}` has an impossible value"),
            Self::Order => f.write_str("records do not follow each other"),
            Self::LostRecords => f.write_str("durable records are damaged"),
        }
    }
}

impl Corruption {
    pub(crate) fn new(file: impl AsRef<str>, offset: u64, damage: Damage) -> Self {
        Self { file: file.as_ref().to_owned(), offset, lsns: None, damage }
    }

    pub(crate) fn lsns(mut self, first: Lsn, last: Lsn) -> Self {
        self.lsns = Some((first, last));
        self
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.file, self.offset, self.damage)?;
        match self.lsns {
            Some((first, last)) => write!(f, " (records {first} to {last})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Corruption {}
