//! Whole transfers out of partial ones.
//!
//! Keeps the loops that finish what the operating system did only in part, over any function that
//! does one attempt, so that tests can be the operating system. Alignment and bounds are checked
//! by the callers.

use std::io::{Error, ErrorKind, Result};

/// Fills `buf` from `offset` by calling `read` until it is full. `read` gets the rest of the buffer
/// and its offset, and says how many bytes it filled.
///
/// # Errors
/// `UnexpectedEof` if `read` fills nothing although bytes are due; what `read` says, except
/// `Interrupted`, which is tried again.
pub(crate) fn read_full(
    mut buf: &mut [u8],
    mut offset: u64,
    mut read: impl FnMut(&mut [u8], u64) -> Result<usize>,
) -> Result<()> {
    while !buf.is_empty() {
        match read(buf, offset) {
            Ok(0) => return Err(Error::from(ErrorKind::UnexpectedEof)),
            Ok(count) => {
                buf = &mut buf[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes `bytes` to `offset` by calling `write` until all are taken. `write` gets the rest of the
/// bytes and their offset, and says how many it took.
///
/// # Errors
/// `WriteZero` if `write` takes nothing although bytes are due; what `write` says, except
/// `Interrupted`, which is tried again.
pub(crate) fn write_full(
    mut bytes: &[u8],
    mut offset: u64,
    mut write: impl FnMut(&[u8], u64) -> Result<usize>,
) -> Result<()> {
    while !bytes.is_empty() {
        match write(bytes, offset) {
            Ok(0) => return Err(Error::from(ErrorKind::WriteZero)),
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the operating system does with one attempt.
    #[derive(Clone, Copy, Debug)]
    enum Does {
        Transfers(usize),
        Fails(ErrorKind),
    }
    use Does::{Fails, Transfers};

    const DISK: &[u8] = b"0123456789abcdef";

    /// Plays `script` to a read and to a write of six bytes at offset 4, and checks that both end
    /// in `expected` (of which the kinds of the zero transfer differ) and use the whole script.
    #[track_caller]
    fn check(script: &[Does], expected: std::result::Result<(), Option<ErrorKind>>) {
        let wanted = |zero: ErrorKind| expected.map_err(|kind| kind.unwrap_or(zero));

        let mut steps = script.iter();
        let mut buf = [b'.'; 6];
        let result = read_full(&mut buf, 4, |buf, offset| {
            match *steps.next().expect("no attempt beyond the script") {
                Transfers(count) => {
                    let at = usize::try_from(offset).expect("small");
                    buf[..count].copy_from_slice(&DISK[at..at + count]);
                    Ok(count)
                }
                Fails(kind) => Err(Error::from(kind)),
            }
        });
        assert_eq!(result.map_err(|e| e.kind()), wanted(ErrorKind::UnexpectedEof), "{script:?}");
        assert_eq!(steps.len(), 0, "read used the whole of {script:?}");
        if expected.is_ok() {
            assert_eq!(&buf, b"456789", "{script:?}");
        }

        let mut steps = script.iter();
        let mut disk = [b'.'; 16];
        let result = write_full(b"456789", 4, |bytes, offset| {
            match *steps.next().expect("no attempt beyond the script") {
                Transfers(count) => {
                    let at = usize::try_from(offset).expect("small");
                    disk[at..at + count].copy_from_slice(&bytes[..count]);
                    Ok(count)
                }
                Fails(kind) => Err(Error::from(kind)),
            }
        });
        assert_eq!(result.map_err(|e| e.kind()), wanted(ErrorKind::WriteZero), "{script:?}");
        assert_eq!(steps.len(), 0, "write used the whole of {script:?}");
        if expected.is_ok() {
            assert_eq!(&disk, b"....456789......", "{script:?}");
        }
    }

    #[test]
    fn short_and_interrupted_transfers_are_finished() {
        let interrupted = Fails(ErrorKind::Interrupted);
        check(&[Transfers(6)], Ok(()));
        check(&[Transfers(1), Transfers(2), Transfers(3)], Ok(()));
        check(&[interrupted, Transfers(6)], Ok(()));
        check(&[Transfers(5), interrupted, interrupted, Transfers(1)], Ok(()));
    }

    #[test]
    fn a_transfer_of_nothing_is_an_error_and_never_a_loop() {
        check(&[Transfers(0)], Err(None));
        check(&[Transfers(5), Transfers(0)], Err(None));
        check(&[Fails(ErrorKind::Interrupted), Transfers(0)], Err(None));
    }

    #[test]
    fn other_failures_end_the_transfer_at_once() {
        check(&[Fails(ErrorKind::StorageFull)], Err(Some(ErrorKind::StorageFull)));
        check(&[Transfers(3), Fails(ErrorKind::Other)], Err(Some(ErrorKind::Other)));
    }

    #[test]
    fn an_empty_transfer_asks_the_system_for_nothing() {
        read_full(&mut [], 0, |_, _| panic!("asked")).expect("nothing to do");
        write_full(&[], 0, |_, _| panic!("asked")).expect("nothing to do");
    }
}
