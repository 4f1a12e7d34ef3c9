//! The contract of storages, kept by the storage whose backend is chosen at run time.

use crate::contents::config;
use crate::disk::{Disk, Folder};
use gannet::storage::{DirOptions, ErrorKind, FileName, Op, Storage};
use gannet::{AnyStorage, Backend, Database, WriteBatch};
use gannet_testkit::conformance;
use std::path::Path;

fn in_memory() -> AnyStorage {
    AnyStorage::open(Backend::Memory, Path::new("unused"), &DirOptions::existing()).unwrap()
}

#[test]
fn every_backend_keeps_the_contract_behind_the_storage_chosen_at_run_time() {
    conformance::run(in_memory);
    for folder in Folder::each() {
        eprintln!("{folder:?}");
        let folders = std::cell::RefCell::new(Vec::new());
        conformance::run(|| {
            let fresh = folder.fresh();
            let storage = fresh.open().unwrap();
            // A directory stays until the end: a storage that is leaked still uses it.
            folders.borrow_mut().push(fresh);
            storage
        });
        conformance::run_persistent(|| folder.open());
    }
}

#[test]
fn a_file_of_another_storage_is_not_sealed() {
    let name = FileName::new("f").unwrap();
    for folder in Folder::each() {
        let file = folder.open().unwrap().create(&name, 4096).unwrap();
        let error = in_memory().seal(file).expect_err("it is not in memory");
        assert_eq!((error.kind(), error.op()), (ErrorKind::Unsupported, Op::Seal), "{folder:?}");
    }
}

#[test]
fn a_backend_is_chosen_by_its_type_and_leaves_what_another_type_opens() {
    /// Puts a key of that name beside those of the types before.
    fn check<S: Storage>(opened: gannet::storage::Result<S>, before: &mut Vec<&'static str>) {
        let storage = match opened {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                return eprintln!("skipped: {error:?}");
            }
            opened => opened.unwrap(),
        };
        let name = storage.caps().name;
        let db = Database::<S>::open(storage, config(1)).unwrap();
        for key in &*before {
            assert!(db.get("kv", key.as_bytes()).unwrap().is_some(), "{key} under {name}");
        }
        let mut batch = WriteBatch::new();
        batch.put("kv", name.as_bytes(), b"was here");
        db.commit(batch).unwrap();
        before.push(name);
    }
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("db");
    let options = DirOptions::create();
    let mut names = Vec::new();
    #[cfg(feature = "std")]
    check(gannet::StdStorage::open(&dir, &options), &mut names);
    #[cfg(all(feature = "uring", target_os = "linux"))]
    check(gannet::UringStorage::open(&dir, &options), &mut names);
    #[cfg(feature = "mmap")]
    check(gannet::MmapStorage::open(&dir, &options), &mut names);
    if names.is_empty() {
        check(Ok(gannet::storage::MemStorage::new()), &mut names);
        assert!(options.create && !dir.exists());
    }
}
