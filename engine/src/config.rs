//! Settings of a database: each is read by code, checked at open, documented with its value.

use crate::chance::{Chance, SystemChance};
use crate::limits::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use gannet_storage::BLOCK_SIZE;
use std::sync::Arc;

/// How a database works. Start from [`Config::balanced`] and change fields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Threads of parallel loops (log scan, graph building, checks); 0 means one a core, 1 means
    /// that everything runs on the caller's thread. Default 0.
    pub threads: usize,
    /// Longest log segment in bytes, 16 KiB to 1 GiB, whole blocks. Segments start at 1 MiB (or
    /// this, if less) and double up to it; a frame that is longer gets a segment of its own length.
    /// Default 64 MiB.
    pub segment_bytes: u64,
    /// Where salts and ids come from. Default [`SystemChance`].
    pub chance: Arc<dyn Chance>,
}

impl Config {
    /// Every commit is on stable media before `Ok`.
    #[must_use]
    pub fn balanced() -> Self {
        Self { threads: 0, segment_bytes: 64 << 20, chance: Arc::new(SystemChance) }
    }

    /// # Errors
    /// The first field that is out of its range.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let block = BLOCK_SIZE as u64;
        let fits = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes)
            && self.segment_bytes.is_multiple_of(block);
        if !fits {
            return Err(ConfigError::SegmentBytes { found: self.segment_bytes });
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::balanced()
    }
}

/// A setting that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// `segment_bytes`.
    #[error(
        "segment_bytes is {found}: it must be whole blocks of 4096, from {SEGMENT_BYTES_MIN} to \
         {SEGMENT_BYTES_MAX}"
    )]
    SegmentBytes {
        /// What was asked for.
        found: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_bytes_is_checked() {
        for (segment_bytes, good) in
            [(0, false), (4096, false), (16 << 10, true), (20_000, false), (1 << 30, true)]
        {
            let config = Config { segment_bytes, ..Config::balanced() };
            assert_eq!(config.validate().is_ok(), good, "{segment_bytes}");
        }
    }
}
