//! The recipe by which a whole file appears under a name, or does not appear at all.

use crate::{ErrorKind, FileName, Result, Storage};

/// Writes a file under the name `temp`, makes its contents durable, gives it the name `name` and
/// makes the name durable. A crash at any instant leaves `name` as it was or the whole new file; a
/// left-over `temp` is no obstacle to the next try.
///
/// # Errors
/// What `write` or the storage says; `name` is then as it was, or, if `sync_dir` failed, either.
pub fn publish<S: Storage>(
    storage: &S,
    temp: &FileName,
    name: &FileName,
    len_bytes: u64,
    write: impl FnOnce(&S::File) -> Result<()>,
) -> Result<S::Sealed> {
    match storage.remove(temp) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = storage.create(temp, len_bytes)?;
    write(&file)?;
    drop(storage.seal(file)?);
    storage.replace(temp, name)?;
    storage.sync_dir()?;
    storage.open_sealed(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AlignedBuf, Durability, MemStorage, ReadFile, SealedFile, Write, WriteFile};

    #[test]
    fn a_published_file_replaces_the_old_one_and_a_left_over_temp_is_no_obstacle() {
        let storage = MemStorage::new();
        let (temp, name) = (FileName::new("a.tmp").expect("ok"), FileName::new("a").expect("ok"));
        drop(storage.create(&temp, 8192).expect("left over"));
        for mark in [1, 2] {
            let mut block = AlignedBuf::zeroed(4096);
            block[0] = mark;
            let sealed = publish(&storage, &temp, &name, 4096, |file| {
                file.write_batch(&[Write { offset: 0, bytes: &block }], Durability::Deferred)
            });
            let sealed = sealed.expect("published");
            assert_eq!(sealed.len_bytes(), 4096);
            assert_eq!(sealed.view(0..1).expect("inside")[0], mark);
        }
        let names: Vec<_> = storage.list().expect("list").into_iter().map(|m| m.name).collect();
        assert_eq!(names, [name]);
    }
}
