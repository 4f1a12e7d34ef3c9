//! Requests of reads and writes, and the checks that every backend makes on them first.

use crate::{BLOCK_SIZE, Error, ErrorKind, FileName, Op, Result};

/// Fill `buf` from `offset`. Both ends, and the buffer's address, are block aligned.
#[derive(Debug)]
pub struct Read<'a> {
    /// First byte of the file to read.
    pub offset: u64,
    /// Where the bytes go; its length says how many.
    pub buf: &'a mut [u8],
}

/// Put `bytes` at `offset`. Both ends, and the address, are block aligned.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// First byte of the file to write.
    pub offset: u64,
    /// What to write.
    pub bytes: &'a [u8],
}

/// How far a write has to get before the call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durability {
    /// In the operating system's hands: visible to readers, survives a kill, may be undone by a
    /// power cut.
    Deferred,
    /// On stable media: contents, and the length if it is needed to read them.
    Data,
    /// As `Data`, and all metadata of the file.
    Full,
}

const BLOCK: u64 = BLOCK_SIZE as u64;

/// `len_bytes` as the length of a file.
///
/// # Errors
/// `Misaligned`.
pub fn check_len(op: Op, name: &FileName, len_bytes: u64) -> Result<()> {
    if len_bytes.is_multiple_of(BLOCK) {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::Misaligned, op, name).at(0..len_bytes))
    }
}

/// One transfer of `bytes` at `offset` of a file of `file_len_bytes`.
///
/// # Errors
/// `Misaligned` for the offset, the length or the address; `OutOfBounds`.
pub fn check_span(
    op: Op,
    name: &FileName,
    offset: u64,
    bytes: &[u8],
    file_len_bytes: u64,
) -> Result<()> {
    let len = bytes.len() as u64;
    let end = offset.saturating_add(len);
    let aligned = offset.is_multiple_of(BLOCK)
        && len.is_multiple_of(BLOCK)
        && (bytes.is_empty() || bytes.as_ptr().addr().is_multiple_of(BLOCK_SIZE));
    if !aligned {
        return Err(Error::new(ErrorKind::Misaligned, op, name).at(offset..end));
    }
    if end > file_len_bytes {
        return Err(Error::new(ErrorKind::OutOfBounds, op, name).at(offset..end));
    }
    Ok(())
}

/// Every read of a batch.
///
/// # Errors
/// As [`check_span`], for the first that fails.
pub fn check_reads(name: &FileName, reads: &[Read<'_>], file_len_bytes: u64) -> Result<()> {
    reads.iter().try_for_each(|r| check_span(Op::Read, name, r.offset, r.buf, file_len_bytes))
}

/// Every write of a batch.
///
/// # Errors
/// As [`check_span`], for the first that fails.
///
/// # Panics
/// In debug builds, if two writes overlap.
pub fn check_writes(name: &FileName, writes: &[Write<'_>], file_len_bytes: u64) -> Result<()> {
    for w in writes {
        check_span(Op::Write, name, w.offset, w.bytes, file_len_bytes)?;
    }
    debug_assert!(disjoint(writes), "writes of one batch to {name} overlap");
    Ok(())
}

fn disjoint(writes: &[Write<'_>]) -> bool {
    let mut spans: Vec<_> =
        writes.iter().map(|w| (w.offset, w.offset + w.bytes.len() as u64)).collect();
    spans.sort_unstable();
    spans.windows(2).all(|pair| pair[0].1 <= pair[1].0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AlignedBuf;

    #[test]
    fn spans_are_checked_for_alignment_then_bounds() {
        let name = FileName::new("f").expect("valid");
        let buf = AlignedBuf::zeroed(8192);
        let check = |offset: u64, bytes: &[u8]| {
            check_span(Op::Read, &name, offset, bytes, 8192).map_err(|e| e.kind())
        };
        assert_eq!(check(0, &buf), Ok(()));
        assert_eq!(check(8192, &[]), Ok(()));
        assert_eq!(check(1, &buf[..4096]), Err(ErrorKind::Misaligned));
        assert_eq!(check(0, &buf[..100]), Err(ErrorKind::Misaligned));
        assert_eq!(check(0, &buf[512..4608]), Err(ErrorKind::Misaligned));
        assert_eq!(check(4096, &buf), Err(ErrorKind::OutOfBounds));
        assert_eq!(check(u64::MAX - 4095, &buf), Err(ErrorKind::OutOfBounds));
    }

    #[test]
    #[should_panic(expected = "overlap")]
    #[cfg(debug_assertions)]
    fn overlapping_writes_of_one_batch_are_a_bug_of_the_caller() {
        let name = FileName::new("f").expect("valid");
        let buf = AlignedBuf::zeroed(8192);
        let writes =
            [Write { offset: 0, bytes: &buf }, Write { offset: 4096, bytes: &buf[..4096] }];
        let _ = check_writes(&name, &writes, 1 << 20);
    }
}
