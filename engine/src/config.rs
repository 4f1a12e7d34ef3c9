//! Settings of a database: each is read by code, checked at open, documented with its value.

use crate::chance::{Chance, SystemChance};
use crate::clock::{Clock, SystemClock};
use crate::limits::{BATCH_LEN_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::table::Compression;
use gannet_storage::BLOCK_SIZE;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// What the `Ok` of a commit is worth (`docs/DURABILITY.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Memory has it: no file is written, and it is gone with the database, unless
    /// [`Database::backup`](crate::Database::backup) exports it. Of a whole database alone, and of
    /// one that begins with nothing.
    InMemory,
    /// The operating system has it: a kill of the process loses nothing. A power cut loses at most
    /// what was committed in the last [`Config::sync_interval`], or [`Config::sync_bytes`] of it,
    /// and always the latest: what is left is a state that readers saw.
    Buffered,
    /// It is on stable media.
    Strict,
}

/// What damage to the log means when a database is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecoveryMode {
    /// The database does not open, and nothing on disk is changed.
    Strict,
    /// The database opens at the last good record before the damage. What is behind it is lost: it
    /// is told in [`RecoveryReport::lost`](crate::RecoveryReport::lost), and copies of the segments
    /// are kept beside the database, which never removes them. Damage to anything but the log is
    /// refused all the same, and so is a segment that the device does not give back.
    PointInTime,
}

/// How a database works. Start from a preset and change fields.
///
/// | | [`max_throughput`] | [`balanced`] | [`max_durability`] |
/// | --- | --- | --- | --- |
/// | `durability` | `Buffered` | `Strict` | `Strict` |
/// | `segment_bytes` | 64 MiB | 64 MiB | 64 MiB |
/// | `sync_interval` | 100 ms | 100 ms | 100 ms |
/// | `sync_bytes` | 16 MiB | 16 MiB | 16 MiB |
/// | `group_delay_us` | 0 | 0 | 0 |
/// | `group_bytes_max` | 1 MiB | 1 MiB | 1 MiB |
/// | `inflight_bytes_max` | 64 MiB | 64 MiB | 64 MiB |
/// | `checkpoint_bytes` | 64 MiB | 64 MiB | 64 MiB |
/// | `log_bytes_max` | 512 MiB | 512 MiB | 512 MiB |
/// | `checkpoint_age` | 10 min | 10 min | 10 min |
/// | `checkpoint_on_close` | no | no | no |
/// | `checkpoint_readback` | no | no | yes |
/// | `log_compression` | no | no | no |
/// | `max_pending_rows` | 8192 | 8192 | 8192 |
/// | `memtable_bytes` | 32 MiB | 32 MiB | 32 MiB |
/// | `block_bytes` | 4096 | 4096 | 4096 |
/// | `compression` | `Lz4` | `Lz4` | `Lz4` |
/// | `bloom_bits` | 10 | 10 | 10 |
/// | `block_cache_bytes` | 64 MiB | 64 MiB | 64 MiB |
/// | `merge_threads` | 1 | 1 | 1 |
/// | `probes_per_minute` | 0 | 0 | 0 |
/// | `recall_target` | none | none | none |
/// | `threads` | 0 | 0 | 0 |
/// | `recovery` | `Strict` | `Strict` | `Strict` |
///
/// [`max_throughput`]: Self::max_throughput
/// [`balanced`]: Self::balanced
/// [`max_durability`]: Self::max_durability
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What `Ok` of a commit is worth, where the commit does not say otherwise.
    pub durability: Durability,
    /// Longest log segment in bytes, 16 KiB to 1 GiB, whole blocks. Segments start at 1 MiB (or
    /// this, if less) and double up to it, or to an eighth of `log_bytes_max`, if that is less; a
    /// frame that is longer gets a segment of its own length.
    pub segment_bytes: u64,
    /// Buffered commits are synced when the oldest of them is this old, 1 ms to 1 h.
    pub sync_interval: Duration,
    /// Buffered commits are synced when they are half as many bytes, 4 KiB to 1 GiB. Who commits
    /// waits for that where they are as many.
    pub sync_bytes: u64,
    /// Microseconds that a group waits for further batches before it is written, 0 to 100,000. Only
    /// where other batches are in flight: a lone writer never waits.
    pub group_delay_us: u32,
    /// Bytes of the records of a group of more than one batch, 4 KiB to 256 MiB.
    pub group_bytes_max: usize,
    /// Bytes of records that are not acknowledged, beyond which committers wait, 4 KiB to 1 GiB.
    pub inflight_bytes_max: usize,
    /// A checkpoint is made when records of so many bytes were logged since the one before, 64 KiB
    /// to 1 TiB.
    pub checkpoint_bytes: u64,
    /// A checkpoint is also made when the log since the one before takes half of so many bytes on
    /// the disk; while one is being made, commits wait where the log takes all of it. 1 MiB to
    /// 1 TiB. The log of two checkpoints is kept, so the disk holds up to twice as much.
    pub log_bytes_max: u64,
    /// A checkpoint is also made when the first record since the one before is so old, 1 s to 365
    /// days.
    pub checkpoint_age: Duration,
    /// [`Database::close`](crate::Database::close) makes a checkpoint: opening has nothing to
    /// replay then.
    pub checkpoint_on_close: bool,
    /// What a checkpoint wrote is read from the media, every byte, before it is published.
    pub checkpoint_readback: bool,
    /// Groups of more than 4 KiB are compressed in the log (lz4), where that makes them shorter by
    /// an eighth. Less is written and read back, at the price of the time that compressing takes.
    pub log_compression: bool,
    /// Rows of a collection that its graph is still to take in or to let go of, beyond which those
    /// who insert wait, 1 to 2^31; bulk batches do not
    /// ([`WriteBatch::set_bulk`](crate::WriteBatch::set_bulk)). Searches look at rows that are
    /// still to come one by one.
    pub max_pending_rows: u32,
    /// Memory that keys and values take until they are written to a table of their own, 16 KiB to
    /// 64 GiB: about 100 bytes more for each than they are long. Up to three times as much is
    /// taken while tables are being written. Tables that are merged are cut at this length too. A
    /// database in memory writes none.
    pub memtable_bytes: u64,
    /// Length of a block of a table before it is compressed, 256 B to 1 MiB: what one read of a key
    /// reads and unpacks. Tables that are there keep theirs.
    pub block_bytes: usize,
    /// How blocks of tables are compressed where they get shorter by an eighth. Tables that are
    /// there keep theirs.
    pub compression: Compression,
    /// Bits of a table for each key by which keys that are not in it are known without reading a
    /// block, at most 32; 0 for none. With 10 about 1 in 100 is not known. Tables that are there
    /// keep theirs.
    pub bloom_bits: u8,
    /// Memory for blocks of tables that were read, unpacked, for whoever asks for them again, up to
    /// 1 TiB; 0 for none. Not for blocks that are not compressed where the storage maps files.
    pub block_cache_bytes: u64,
    /// Threads that merge tables at the same time, 1 to 64. They run while there is something to
    /// merge.
    pub merge_threads: usize,
    /// Searches a minute by which a thread of the database measures the recall of each collection,
    /// 0 for none, at most 6,000: see [`CollectionStats::recall`](crate::CollectionStats::recall).
    /// Each looks at every row.
    pub probes_per_minute: u32,
    /// Where probes say that a collection's recall is below this, with a confidence of 95 %, its
    /// graph is optimized by itself, as [`Database::optimize`](crate::Database::optimize) does;
    /// above 0 and below 1.
    pub recall_target: Option<f32>,
    /// Threads of parallel loops (log scan, graph building, checks); 0 means one a core. While
    /// graphs learn beside commits, one fewer than that do, and on Linux only where no other thread
    /// wants the core, or little else. 1 means that everything runs on the caller's thread, also
    /// what else a thread of the database does: see [`Database::tend`](crate::Database::tend).
    pub threads: usize,
    /// What damage to the log means when the database is opened.
    pub recovery: RecoveryMode,
    /// Where salts and ids come from. Default [`SystemChance`].
    pub chance: Arc<dyn Chance>,
    /// What time it is. Default [`SystemClock`].
    pub clock: Arc<dyn Clock>,
}

impl Config {
    /// Commits return when the operating system has them; they are synced a little later.
    #[must_use]
    pub fn max_throughput() -> Self {
        Self { durability: Durability::Buffered, ..Self::balanced() }
    }

    /// Every commit is on stable media before `Ok`.
    #[must_use]
    pub fn balanced() -> Self {
        Self {
            durability: Durability::Strict,
            segment_bytes: 64 << 20,
            sync_interval: Duration::from_millis(100),
            sync_bytes: 16 << 20,
            group_delay_us: 0,
            group_bytes_max: 1 << 20,
            inflight_bytes_max: 64 << 20,
            checkpoint_bytes: 64 << 20,
            log_bytes_max: 512 << 20,
            checkpoint_age: Duration::from_secs(600),
            checkpoint_on_close: false,
            checkpoint_readback: false,
            log_compression: false,
            max_pending_rows: 8192,
            memtable_bytes: 32 << 20,
            block_bytes: 4096,
            compression: Compression::Lz4,
            bloom_bits: 10,
            block_cache_bytes: 64 << 20,
            merge_threads: 1,
            probes_per_minute: 0,
            recall_target: None,
            threads: 0,
            recovery: RecoveryMode::Strict,
            chance: Arc::new(SystemChance),
            clock: Arc::new(SystemClock::default()),
        }
    }

    /// As [`balanced`](Self::balanced), and what a checkpoint wrote is read back before it is
    /// published: a device that lost or misplaced a write is noticed while the log still has it.
    #[must_use]
    pub fn max_durability() -> Self {
        Self { checkpoint_readback: true, ..Self::balanced() }
    }

    /// Length of the longest segment, that of a log of several.
    pub(crate) fn segment_bytes_max(&self) -> u64 {
        let share = self.log_bytes_max / 8 / BLOCK_SIZE as u64 * BLOCK_SIZE as u64;
        self.segment_bytes.min(share).max(SEGMENT_BYTES_MIN)
    }

    /// # Errors
    /// The first field that is out of its range.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        const KIB: u64 = 1 << 10;
        const GIB: u64 = 1 << 30;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (group, in_flight) = (self.group_bytes_max as u64, self.inflight_bytes_max as u64);
        let check = |field, found, range: RangeInclusive<u64>| {
            let is_in = range.contains(&found);
            is_in.then_some(()).ok_or(ConfigError::Range { field, found, range })
        };
        let segments = SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX;
        check("segment_bytes", self.segment_bytes, segments)?;
        check("sync_interval, in us,", micros(self.sync_interval), 1000..=3_600_000_000)?;
        check("sync_bytes", self.sync_bytes, 4 * KIB..=GIB)?;
        check("group_delay_us", self.group_delay_us.into(), 0..=100_000)?;
        check("group_bytes_max", group, 4 * KIB..=BATCH_LEN_BYTES_MAX as u64)?;
        check("inflight_bytes_max", in_flight, 4 * KIB..=GIB)?;
        check("checkpoint_bytes", self.checkpoint_bytes, 64 * KIB..=1024 * GIB)?;
        check("log_bytes_max", self.log_bytes_max, 1024 * KIB..=1024 * GIB)?;
        check("max_pending_rows", self.max_pending_rows.into(), 1..=1 << 31)?;
        check("memtable_bytes", self.memtable_bytes, 16 * KIB..=64 * GIB)?;
        check("block_bytes", self.block_bytes as u64, 256..=1024 * KIB)?;
        check("bloom_bits", self.bloom_bits.into(), 0..=32)?;
        check("block_cache_bytes", self.block_cache_bytes, 0..=1024 * GIB)?;
        check("merge_threads", self.merge_threads as u64, 1..=64)?;
        check("probes_per_minute", self.probes_per_minute.into(), 0..=6000)?;
        if let Some(found) = self.recall_target.filter(|&target| !(target > 0.0 && target < 1.0)) {
            return Err(ConfigError::Share { field: "recall_target", found });
        }
        let ages = 1_000_000..=365 * 86_400 * 1_000_000;
        check("checkpoint_age, in us,", micros(self.checkpoint_age), ages)?;
        if !self.segment_bytes.is_multiple_of(BLOCK_SIZE as u64) {
            let found = self.segment_bytes;
            return Err(ConfigError::WholeBlocks { field: "segment_bytes", found });
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
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Too small or too large.
    #[error("{field} is {found}: it must be from {} to {}", .range.start(), .range.end())]
    Range {
        /// The field.
        field: &'static str,
        /// What was asked for.
        found: u64,
        /// What may be asked for.
        range: RangeInclusive<u64>,
    },
    /// No share: not above 0 and below 1.
    #[error("{field} is {found}: it must be above 0 and below 1")]
    Share {
        /// The field.
        field: &'static str,
        /// What was asked for.
        found: f32,
    },
    /// Not a multiple of the block.
    #[error("{field} is {found}: it must be whole blocks of 4096")]
    WholeBlocks {
        /// The field.
        field: &'static str,
        /// What was asked for.
        found: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `None` for good settings, else the field that is refused.
    fn refused(change: impl FnOnce(&mut Config)) -> Option<&'static str> {
        let mut config = Config::balanced();
        change(&mut config);
        config.validate().err().map(|error| match error {
            ConfigError::Range { field, .. }
            | ConfigError::Share { field, .. }
            | ConfigError::WholeBlocks { field, .. } => field,
        })
    }

    #[test]
    fn presets_are_valid_and_say_what_their_table_says() {
        for (config, durability) in [
            (Config::max_throughput(), Durability::Buffered),
            (Config::balanced(), Durability::Strict),
            (Config::max_durability(), Durability::Strict),
        ] {
            assert_eq!(config.validate(), Ok(()));
            assert_eq!(config.durability, durability);
            assert_eq!((config.segment_bytes, config.sync_bytes), (64 << 20, 16 << 20));
            assert_eq!(config.sync_interval, Duration::from_millis(100));
            assert_eq!((config.group_delay_us, config.group_bytes_max), (0, 1 << 20));
            assert_eq!((config.inflight_bytes_max, config.threads), (64 << 20, 0));
            assert!(!config.log_compression);
            assert_eq!(config.max_pending_rows, 8192);
            assert_eq!((config.memtable_bytes, config.block_cache_bytes), (32 << 20, 64 << 20));
            assert_eq!((config.block_bytes, config.compression), (4096, Compression::Lz4));
            assert_eq!((config.bloom_bits, config.merge_threads), (10, 1));
            assert_eq!((config.probes_per_minute, config.recall_target), (0, None));
            assert_eq!(config.recovery, RecoveryMode::Strict);
            assert_eq!((config.checkpoint_bytes, config.log_bytes_max), (64 << 20, 512 << 20));
            assert_eq!(config.checkpoint_age, Duration::from_mins(10));
            assert!(!config.checkpoint_on_close);
        }
        let reads_back = [Config::max_throughput(), Config::balanced(), Config::max_durability()]
            .map(|config| config.checkpoint_readback);
        assert_eq!(reads_back, [false, false, true]);
    }

    #[test]
    fn every_field_is_checked() {
        for (segment_bytes, good) in
            [(0, false), (4096, false), (16 << 10, true), (20_000, false), (1 << 30, true)]
        {
            let found = refused(|config| config.segment_bytes = segment_bytes);
            assert_eq!(found.is_none(), good, "{segment_bytes}");
        }
        let zero = Duration::ZERO;
        assert_eq!(refused(|c| c.sync_interval = zero), Some("sync_interval, in us,"));
        assert_eq!(refused(|c| c.sync_interval = Duration::MAX), Some("sync_interval, in us,"));
        assert_eq!(refused(|c| c.sync_bytes = 4095), Some("sync_bytes"));
        assert_eq!(refused(|c| c.group_delay_us = 100_001), Some("group_delay_us"));
        assert_eq!(refused(|c| c.group_bytes_max = usize::MAX), Some("group_bytes_max"));
        assert_eq!(refused(|c| c.inflight_bytes_max = 0), Some("inflight_bytes_max"));
        assert_eq!(refused(|c| c.checkpoint_bytes = 0), Some("checkpoint_bytes"));
        assert_eq!(refused(|c| c.log_bytes_max = 0), Some("log_bytes_max"));
        assert_eq!(refused(|c| c.memtable_bytes = 16_383), Some("memtable_bytes"));
        assert_eq!(refused(|c| c.block_bytes = 255), Some("block_bytes"));
        assert_eq!(refused(|c| c.bloom_bits = 33), Some("bloom_bits"));
        assert_eq!(refused(|c| c.block_cache_bytes = u64::MAX), Some("block_cache_bytes"));
        assert_eq!(refused(|c| c.merge_threads = 0), Some("merge_threads"));
        assert_eq!(refused(|c| c.probes_per_minute = 6001), Some("probes_per_minute"));
        for (target, good) in [(0.0, false), (0.5, true), (1.0, false), (f32::NAN, false)] {
            let found = refused(|c| c.recall_target = Some(target));
            assert_eq!(found.is_none(), good, "{target}");
        }
        assert_eq!(refused(|c| c.max_pending_rows = 0), Some("max_pending_rows"));
        assert_eq!(refused(|c| c.max_pending_rows = u32::MAX), Some("max_pending_rows"));
        assert_eq!(refused(|c| c.checkpoint_age = zero), Some("checkpoint_age, in us,"));
    }

    #[test]
    fn a_refusal_says_what_was_asked_for_and_what_may_be() {
        let error = Config { sync_bytes: 1, ..Config::balanced() }.validate().expect_err("small");
        assert_eq!(error.to_string(), "sync_bytes is 1: it must be from 4096 to 1073741824");
    }
}
