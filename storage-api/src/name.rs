//! Names of files: flat, lower-case, checked once.

use crate::{Error, ErrorKind, LOCK_NAME, Op, Result};
use std::fmt;
use std::sync::Arc;

/// Longest file name, in bytes.
pub const FILE_NAME_LEN_MAX: usize = 64;

/// The name of a file in a storage: 1 to 64 of `a-z 0-9 . _ -`, beginning and ending with a letter
/// or digit, and not the name of the lock file. So it has no path, no case and no hidden form. (The
/// names of devices that Windows reserves, such as `con`, are left to the caller to avoid.)
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Arc<str>);

impl FileName {
    /// Checks `text`.
    ///
    /// # Errors
    /// `BadName`.
    pub fn new(text: &str) -> Result<Self> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends = text.bytes().next().is_some_and(plain) && text.bytes().last().is_some_and(plain);
        let all = text.bytes().all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-'));
        if ends && all && text.len() <= FILE_NAME_LEN_MAX && text != LOCK_NAME {
            Ok(Self(text.into()))
        } else {
            Err(Error::new(ErrorKind::BadName, Op::Name, text.escape_debug().to_string()))
        }
    }

    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for FileName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_flat_lower_case_names_pass() {
        let long = "a".repeat(FILE_NAME_LEN_MAX);
        for good in ["a", "0", "log-0001", "manifest.tmp", "a..b", &long] {
            assert_eq!(FileName::new(good).expect(good).as_str(), good);
        }
        let too_long = "a".repeat(FILE_NAME_LEN_MAX + 1);
        for bad in [
            "", ".", "..", ".a", "-a", "a.", "a-", "A", "a/b", "a\\b", "a\0", "\u{e9}", "lock",
            &too_long,
        ] {
            let error = FileName::new(bad).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::BadName, "{bad}");
        }
    }
}
