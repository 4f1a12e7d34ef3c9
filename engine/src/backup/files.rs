//! Copying one sealed file.

use super::error::CopyError;
use crate::damage::Damage;
use crate::sealed::{FileKind, FileRef, SealedReader, SealedWriter};
use gannet_storage::Storage;

const STEP_BYTES: u64 = 1 << 20;

/// Copies what was verified, and writes checksums anew: they must come out as they were.
pub(super) fn copy_sealed<S: Storage, T: Storage>(
    from: &S,
    to: &T,
    database: [u8; 16],
    (kind, file): (FileKind, &FileRef),
    is_strict: bool,
) -> Result<(), CopyError> {
    let reader = SealedReader::open(from, kind, database, file)?;
    if is_strict {
        reader.check_padding()?;
    }
    let sections: Vec<_> = reader.sections().iter().map(|s| (s.id, s.len_bytes)).collect();
    let target = CopyError::Target;
    let mut writer = SealedWriter::create(to, reader.ident(), &sections).map_err(target)?;
    for (id, len_bytes) in sections {
        let mut at = 0;
        while at < len_bytes {
            let end = (at + STEP_BYTES).min(len_bytes);
            writer.write(&reader.read_range(id, at..end)?).map_err(target)?;
            at = end;
        }
    }
    let copied = writer.finish().map_err(target)?;
    if copied != *file {
        // Of two sections with one id, only the first is found.
        let name = reader.name();
        return Err(crate::damage::Corruption::new(name, 0, Damage::Field("sections")).into());
    }
    Ok(())
}
