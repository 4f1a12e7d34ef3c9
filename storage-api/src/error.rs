//! What can go wrong, where, and why: one pointer wide, with the cause kept as `source`.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;

/// Result of a storage call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Callers match on this; the text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No such file or directory.
    NotFound,
    /// `create` of a name that exists.
    AlreadyExists,
    /// A live handle or view of the file forbids the call.
    Busy,
    /// Offset, length or address is not a multiple of `BLOCK_SIZE`.
    Misaligned,
    /// Beyond the end of the file.
    OutOfBounds,
    /// The text cannot be a file name.
    BadName,
    /// The file on disk is not a whole number of blocks long.
    BadLength,
    /// No room on the device, or a quota is used up.
    NoSpace,
    /// The file system or directory refuses writes.
    ReadOnly,
    /// The operating system refuses access.
    Denied,
    /// Another owner holds the directory's lock.
    Locked,
    /// The directory has contents, but no lock file: it is not a storage.
    Foreign,
    /// This platform, kernel or build cannot do it.
    Unsupported,
    /// An earlier durable write of this file failed; see [`FailStop`](crate::FailStop).
    Failed,
    /// Any other failure of the device or operating system.
    Io,
}

impl ErrorKind {
    const fn text(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::AlreadyExists => "it exists already",
            Self::Busy => "it is in use",
            Self::Misaligned => "not aligned to blocks of 4096 bytes",
            Self::OutOfBounds => "beyond the end of the file",
            Self::BadName => "not a valid file name",
            Self::BadLength => "its length is not a whole number of blocks",
            Self::NoSpace => "no space left",
            Self::ReadOnly => "it is read-only",
            Self::Denied => "permission denied",
            Self::Locked => "another process has it open",
            Self::Foreign => "it has contents but no lock file, so it is not a database directory",
            Self::Unsupported => "not supported here",
            Self::Failed => "an earlier write failed",
            Self::Io => "input/output error",
        }
    }

    fn of_io(source: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        #[expect(clippy::wildcard_enum_match_arm, reason = "std's list is open")]
        match source.kind() {
            Io::NotFound => Self::NotFound,
            Io::AlreadyExists => Self::AlreadyExists,
            Io::StorageFull | Io::QuotaExceeded => Self::NoSpace,
            Io::ReadOnlyFilesystem => Self::ReadOnly,
            Io::PermissionDenied => Self::Denied,
            Io::Unsupported => Self::Unsupported,
            _ => Self::Io,
        }
    }
}

/// The call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// Opening the storage's directory.
    OpenStorage,
    /// Taking the directory's lock.
    Lock,
    /// `Storage::create`
    Create,
    /// `Storage::open`
    Open,
    /// `Storage::seal`
    Seal,
    /// `Storage::open_sealed`
    OpenSealed,
    /// `Storage::replace`
    Replace,
    /// `Storage::remove`
    Remove,
    /// `Storage::list`
    List,
    /// `Storage::sync_dir`
    SyncDir,
    /// Any read.
    Read,
    /// `WriteFile::write_batch`
    Write,
    /// The sync part of a durable write, or `WriteFile::sync`.
    Sync,
    /// `WriteFile::set_len`
    SetLen,
    /// `ReadFile::discard_cache`
    DiscardCache,
    /// `SealedFile::view`
    View,
    /// `SealedFile::queue`
    Queue,
    /// `FileName::new`
    Name,
}

impl Op {
    const fn text(self) -> &'static str {
        match self {
            Self::OpenStorage => "open directory",
            Self::Lock => "lock directory",
            Self::Create => "create",
            Self::Open => "open",
            Self::Seal => "seal",
            Self::OpenSealed => "open sealed",
            Self::Replace => "replace",
            Self::Remove => "remove",
            Self::List => "list",
            Self::SyncDir => "sync directory",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::SetLen => "set length of",
            Self::DiscardCache => "discard the cache of",
            Self::View => "view",
            Self::Queue => "queue reads of",
            Self::Name => "use the name",
        }
    }
}

/// A failed storage call: what was done, to which file or directory, where in it, and why.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    op: Op,
    place: Box<str>,
    range: Option<Range<u64>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` in `op` on the file or directory `place`.
    #[cold]
    pub fn new(kind: ErrorKind, op: Op, place: impl AsRef<str>) -> Self {
        let place = place.as_ref().into();
        Self(Box::new(Inner { kind, op, place, range: None, source: None }))
    }

    /// An operating system's error, its kind taken from the cause.
    #[cold]
    pub fn io(op: Op, place: impl AsRef<str>, source: std::io::Error) -> Self {
        Self::new(ErrorKind::of_io(&source), op, place).because(source)
    }

    /// The same error, about bytes `range` of the file.
    #[must_use]
    pub fn at(mut self, range: Range<u64>) -> Self {
        self.0.range = Some(range);
        self
    }

    /// The same error with its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The call that failed.
    #[must_use]
    pub fn op(&self) -> Op {
        self.0.op
    }

    /// Name of the file, or path of the directory.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.0.place
    }

    /// The bytes of the file it is about, where that is known.
    #[must_use]
    pub fn range(&self) -> Option<Range<u64>> {
        self.0.range.clone()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, op, place, range, .. } = &*self.0;
        write!(f, "cannot {} {place}", op.text())?;
        if let Some(range) = range {
            write!(f, " at bytes {}..{}", range.start, range.end)?;
        }
        write!(f, ": {}", kind.text())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, op, place, range, source } = &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("op", op)
            .field("place", place)
            .field("range", range)
            .field("source", source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_and_says_where_what_and_why() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        let cause = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = Error::io(Op::Write, "log-1", cause).at(4096..8192);
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert_eq!(error.to_string(), "cannot write log-1 at bytes 4096..8192: no space left");
        assert!(error.source().is_some());
    }
}
