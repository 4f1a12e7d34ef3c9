//! The backends by name, and what is told of them: with its folder the only place of the engine
//! that names one.
//!
//! A cargo feature compiles a backend in; it never decides which one runs. The list of [`Backend`]
//! is complete whatever the features, so that a feature turns an error into a success. Choosing is
//! in `choose`, the storage whose backend was chosen in `any`.

mod any;
mod choose;

pub use any::{AnyFile, AnyQueue, AnySealed, AnyStorage, AnyView};
#[cfg(feature = "mmap")]
pub use gannet_backend_mmap::MmapStorage;
#[cfg(feature = "std")]
pub use gannet_backend_std::StdStorage;
#[cfg(all(feature = "uring", target_os = "linux"))]
pub use gannet_backend_uring::{UringOptions, UringStorage};

use gannet_storage::Caps;
use std::fmt;
use std::str::FromStr;

/// How bytes reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// `Uring` where it is compiled in and works here, else `Std`, else, where that is not compiled
    /// in, `Mmap`; [`BackendInfo`] says which, and why not a better one.
    ///
    /// What works is found by doing: a ring is made, a block read and synced. Only a backend that
    /// is not compiled in or `Unsupported` here gives way to the next; any other refusal (locked,
    /// not a database, not found) would be that of every backend, and is the answer.
    ///
    /// `Mmap` is nobody's first choice but yours: where a file is cut or its device fails under a
    /// map, a read of it kills the process (SIGBUS) and is no error that could be handled.
    Auto,
    /// Portable positional I/O.
    Std,
    /// Linux `io_uring`.
    Uring,
    /// Memory maps for what is sealed.
    Mmap,
    /// Memory alone: gone with the process.
    Memory,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Std => "std",
            Self::Uring => "uring",
            Self::Mmap => "mmap",
            Self::Memory => "memory",
        })
    }
}

/// A text that names no backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a backend: auto, std, uring, mmap or memory")]
pub struct UnknownBackend(String);

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<Self, UnknownBackend> {
        match text {
            "auto" => Ok(Self::Auto),
            "std" => Ok(Self::Std),
            "uring" => Ok(Self::Uring),
            "mmap" => Ok(Self::Mmap),
            "memory" => Ok(Self::Memory),
            _ => Err(UnknownBackend(text.chars().take(40).collect())),
        }
    }
}

/// What runs, and why a better backend does not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendInfo {
    /// What runs. Its details tell alignment, flags of rings, what is registered.
    pub caps: Caps,
    /// Backends that `Auto` would have preferred, the best first, each with the cause of its
    /// refusal and what can be done about it. Empty where the backend was named.
    pub refused: Vec<(Backend, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_are_known_by_name() {
        for backend in [Backend::Auto, Backend::Std, Backend::Uring, Backend::Mmap, Backend::Memory]
        {
            assert_eq!(backend.to_string().parse(), Ok(backend));
        }
        assert!("disk".parse::<Backend>().is_err());
    }
}
