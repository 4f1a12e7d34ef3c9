//! Where the demo keeps things: a fresh database directory, and its data in one beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::digits::Digits;
use super::error::DemoError;

/// The demo's two directories. They stay when it ends.
#[derive(Debug)]
pub(super) struct Place {
    /// Of the database and nothing else.
    pub(super) database: PathBuf,
    /// Of the vector files: the database's path with `-data` after it.
    pub(super) data: PathBuf,
}

impl Place {
    /// Makes both, at `dir` or at a temporary place that nothing was at before.
    pub(super) fn prepare(dir: Option<&Path>) -> Result<Self, DemoError> {
        let Some(dir) = dir else { return fresh(&std::env::temp_dir()) };
        let place = Self { database: dir.to_path_buf(), data: beside(dir)? };
        for path in [&place.database, &place.data] {
            fs::create_dir_all(path).map_err(|source| cannot("create", path, source))?;
            let mut entries = fs::read_dir(path).map_err(|source| cannot("read", path, source))?;
            if entries.next().is_some() {
                return Err(DemoError::NotFresh { path: path.clone() });
            }
        }
        Ok(place)
    }

    /// Where everything is, and commands to go on with that work when they are pasted.
    pub(super) fn what_next(&self, digits: &Digits, collection: &str) -> String {
        let program = std::env::current_exe().map_or_else(|_| "gannet".into(), |exe| quoted(&exe));
        let database = quoted(&self.database);
        format!(
            "The database is in {database}, its vectors in {data}; both stay.\n\
             Try next:\n  \
             {program} stats --db {database}\n  \
             {program} search --db {database} --collection {collection} \\\n      \
             --queries {queries} --truth {truth} --ef 10,20,40,80\n  \
             {program} put --db {database} greeting hello\n  \
             {program} get --db {database} greeting\n  \
             {program} verify --db {database}",
            data = quoted(&self.data),
            queries = quoted(&digits.queries),
            truth = quoted(&digits.truth),
        )
    }
}

/// Directories in `parent` that did not exist: making one tells whether it was there.
fn fresh(parent: &Path) -> Result<Place, DemoError> {
    let process = std::process::id();
    for attempt in 0_u32.. {
        let database = parent.join(format!("gannet-demo-{process}-{attempt}"));
        let data = beside(&database)?;
        match fs::create_dir(&database).and_then(|()| fs::create_dir(&data)) {
            Ok(()) => return Ok(Place { database, data }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(cannot("create", &database, source)),
        }
    }
    unreachable!("2^32 directories of this process are there already")
}

fn beside(dir: &Path) -> Result<PathBuf, DemoError> {
    let name = dir.file_name().ok_or_else(|| DemoError::NoName { path: dir.to_path_buf() })?;
    let mut name = name.to_os_string();
    name.push("-data");
    Ok(dir.with_file_name(name))
}

/// A failed operation on one of the demo's files.
pub(super) fn cannot(operation: &'static str, path: &Path, source: io::Error) -> DemoError {
    DemoError::Io { operation, path: path.to_path_buf(), source }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:=@\\".contains(&byte);
    if text.bytes().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_place_is_never_one_that_was_there() {
        let parent = tempfile::tempdir().unwrap();
        let first = fresh(parent.path()).unwrap();
        let second = fresh(parent.path()).unwrap();
        assert_ne!(first.database, second.database);
        assert!([first.data, second.data].iter().all(|dir| dir.is_dir()));
    }

    #[test]
    fn a_directory_with_anything_in_it_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("demo");
        Place::prepare(Some(&dir)).unwrap();
        Place::prepare(Some(&dir)).expect("empty directories will do");
        fs::write(parent.path().join("demo-data").join("mine"), "precious").unwrap();
        let error = Place::prepare(Some(&dir)).unwrap_err();
        assert!(matches!(error, DemoError::NotFresh { .. }), "{error}");
        assert!(matches!(Place::prepare(Some(Path::new("/"))), Err(DemoError::NoName { .. })));
    }

    #[test]
    fn paths_are_quoted_only_where_a_shell_needs_it() {
        assert_eq!(quoted(Path::new("/tmp/a-b_1.c")), "/tmp/a-b_1.c");
        assert_eq!(quoted(Path::new("/tmp/it's here")), r"'/tmp/it'\''s here'");
    }
}
