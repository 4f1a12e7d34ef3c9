//! Every maximum, by name, with the relations between them checked at compile time.

use gannet_storage::BLOCK_SIZE;

/// Longest name of a collection or keyspace, in bytes.
pub const NAME_LEN_BYTES_MAX: usize = 255;
/// Longest key, in bytes.
pub const KEY_LEN_BYTES_MAX: usize = 65_535;
/// Longest value, in bytes.
pub const VALUE_LEN_BYTES_MAX: usize = 16 << 20;
/// How deep lists and maps of a typed value may be in each other.
pub const VALUE_DEPTH_MAX: usize = 32;
/// Longest id made of bytes.
pub const ID_LEN_BYTES_MAX: usize = 1_024;
/// Most dimensions of a vector.
pub const DIMS_MAX: u32 = gannet_hnsw::DIMS_MAX;
/// Most records of one batch.
pub const BATCH_RECORDS_MAX: usize = 1 << 20;
/// Longest batch as it stands in the log, in bytes.
pub const BATCH_LEN_BYTES_MAX: usize = 256 << 20;
/// Most rows of one collection, deleted ones included.
pub const ROWS_MAX: u32 = gannet_hnsw::ROWS_MAX;
/// Shortest log segment that can be configured, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 16 << 10;
/// Longest log segment that can be configured, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Highest LSN, generation and file number that is believed: beyond what can be reached, and sums
/// of such numbers do not overflow.
pub(crate) const NUMBER_MAX: u64 = 1 << 56;

const RECORD_OVERHEAD_MAX: usize = 64;

const _: () = {
    assert!(KEY_LEN_BYTES_MAX + VALUE_LEN_BYTES_MAX + RECORD_OVERHEAD_MAX < BATCH_LEN_BYTES_MAX);
    assert!(4 * DIMS_MAX as usize + ID_LEN_BYTES_MAX + RECORD_OVERHEAD_MAX < BATCH_LEN_BYTES_MAX);
    // A frame's length is a u32, its header and padding included.
    assert!(BATCH_LEN_BYTES_MAX + 2 * BLOCK_SIZE < u32::MAX as usize);
    assert!(SEGMENT_BYTES_MIN.is_multiple_of(BLOCK_SIZE as u64));
    assert!(SEGMENT_BYTES_MAX.is_multiple_of(BLOCK_SIZE as u64));
    // A frame of any batch fits the longest segment, with header and marker.
    assert!(BATCH_LEN_BYTES_MAX as u64 + 4 * BLOCK_SIZE as u64 <= SEGMENT_BYTES_MAX);
    // A segment holds its header and at least one frame with its marker.
    assert!(SEGMENT_BYTES_MIN >= 4 * BLOCK_SIZE as u64);
};

/// Whether a collection or keyspace may have this name. Names appear in listings, paths of exports
/// and commands: no separators, no control characters, nothing that climbs.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=NAME_LEN_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && !name.contains("..")
        && name.chars().all(plain)
}
