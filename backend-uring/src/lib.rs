//! Gannet storage on Linux `io_uring`. Not built yet.
//!
//! What will be here: batches in one submission, many cold reads in flight, direct I/O that
//! bypasses the page cache, and a write fused with its sync. Same directory, same bytes as every
//! other backend.
//!
//! What is here: [`unavailable`], the error of a program that asks for this backend. There is no
//! half-built storage to open by mistake; `gannet-backend-std` works on every platform.

#![forbid(unsafe_code)]

use gannet_storage::{Error, ErrorKind, Op};

/// The error of opening a directory through this backend: `Unsupported`, with the cause.
#[must_use]
pub fn unavailable() -> Error {
    Error::new(ErrorKind::Unsupported, Op::OpenStorage, "with the io_uring backend")
        .because("the io_uring backend is not built yet")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn asking_for_the_backend_says_that_it_is_not_built_yet() {
        let error = unavailable();
        assert_eq!((error.kind(), error.op()), (ErrorKind::Unsupported, Op::OpenStorage));
        assert_eq!(
            error.to_string(),
            "cannot open directory with the io_uring backend: not supported here"
        );
        assert_eq!(
            error.source().expect("cause").to_string(),
            "the io_uring backend is not built yet"
        );
    }
}
