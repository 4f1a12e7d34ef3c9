//! Which directories open, which are refused, and that a refusal changes nothing.

#[cfg(unix)]
use crate::{again, name};
use crate::{at_once, open, refusal};
use gannet_backend_std::StdStorage;
use gannet_storage::{DirOptions, ErrorKind, LOCK_NAME, Op, Storage};
use std::error::Error as _;
use std::fs;
use std::path::Path;

fn entries(dir: &Path) -> Vec<String> {
    let entry = |e: std::io::Result<fs::DirEntry>| e.expect("entry").file_name().into_string();
    let mut names: Vec<_> =
        fs::read_dir(dir).expect("listed").map(|e| entry(e).expect("text")).collect();
    names.sort();
    names
}

#[test]
fn a_missing_directory_is_made_only_when_asked_for() {
    let parent = tempfile::tempdir().expect("directory");
    let dir = parent.path().join("db");
    let error = refusal(&dir, &DirOptions::existing());
    assert_eq!((error.kind(), error.op()), (ErrorKind::NotFound, Op::OpenStorage));
    assert_eq!(error.place(), dir.display().to_string());
    assert!(!dir.exists());

    let orphan = dir.join("below");
    assert_eq!(refusal(&orphan, &DirOptions::create()).kind(), ErrorKind::NotFound);
    assert!(!dir.exists(), "parents are not made");

    drop(open(&dir));
    assert_eq!(entries(&dir), [LOCK_NAME]);
    StdStorage::open(&dir, &DirOptions::existing()).expect("it exists now");
}

#[test]
fn a_file_in_place_of_the_directory_is_refused_by_name() {
    let parent = tempfile::tempdir().expect("directory");
    let file = parent.path().join("file");
    fs::write(&file, "mine").expect("written");
    for options in [DirOptions::create(), DirOptions::existing()] {
        let error = refusal(&file, &options);
        assert_eq!((error.kind(), error.op()), (ErrorKind::Io, Op::OpenStorage));
        assert_eq!(error.place(), file.display().to_string());
        assert_eq!(error.source().expect("cause").to_string(), "not a directory");
    }
    assert_eq!(fs::read(&file).expect("still there"), b"mine");
}

#[test]
fn an_empty_directory_opens_either_way() {
    for options in [DirOptions::create(), DirOptions::existing()] {
        let dir = tempfile::tempdir().expect("directory");
        let storage = StdStorage::open(dir.path(), &options).expect("opens");
        assert_eq!(storage.list().expect("listed"), []);
    }
}

#[test]
fn a_directory_with_contents_and_no_lock_is_foreign_and_left_as_it_is() {
    for content in ["notes.txt", ".hidden", "manifest"] {
        let dir = tempfile::tempdir().expect("directory");
        fs::write(dir.path().join(content), "mine").expect("written");
        for options in [DirOptions::create(), DirOptions::existing()] {
            let error = refusal(dir.path(), &options);
            assert_eq!((error.kind(), error.op()), (ErrorKind::Foreign, Op::OpenStorage));
            assert_eq!(entries(dir.path()), [content]);
        }
    }
}

#[test]
fn a_lock_that_is_no_regular_file_makes_a_directory_foreign() {
    let check = |make: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().expect("directory");
        make(&dir.path().join(LOCK_NAME));
        let error = refusal(dir.path(), &DirOptions::create());
        assert_eq!(error.kind(), ErrorKind::Foreign);
        let cause = error.source().expect("cause").to_string();
        assert_eq!(cause, "its lock is not a regular file");
        assert_eq!(entries(dir.path()), [LOCK_NAME]);
    };
    check(&|lock| fs::create_dir(lock).expect("made"));
    #[cfg(unix)]
    {
        let other = tempfile::tempdir().expect("directory");
        let target = other.path().join("target");
        fs::write(&target, "theirs").expect("written");
        check(&|lock| std::os::unix::fs::symlink(&target, lock).expect("linked"));
        assert_eq!(fs::read(&target).expect("still there"), b"theirs");
        let nowhere = other.path().join("nowhere");
        check(&|lock| std::os::unix::fs::symlink(&nowhere, lock).expect("linked"));
        assert!(!nowhere.exists());
    }
}

#[test]
fn a_directory_whose_making_was_killed_opens_as_new() {
    let states: [&dyn Fn(&Path); 4] = [
        &|_| {},
        &|lock| fs::write(lock, "").expect("written"),
        &|lock| fs::write(lock, "pid 12").expect("written"),
        &|lock| fs::write(lock, "pid 4294967295 gannet\n").expect("written"),
    ];
    for make in states {
        let dir = tempfile::tempdir().expect("directory");
        make(&dir.path().join(LOCK_NAME));
        for options in [DirOptions::existing(), DirOptions::create()] {
            let storage = StdStorage::open(dir.path(), &at_once(options)).expect("opens");
            assert_eq!(storage.list().expect("listed"), []);
        }
    }
}

#[test]
#[cfg(unix)]
fn the_path_is_resolved_once_when_opening() {
    const TEST: &str = "directory::the_path_is_resolved_once_when_opening";
    let Some(place) = again::place() else {
        let parent = tempfile::tempdir().expect("directory");
        let output = again::process(TEST, parent.path()).output().expect("runs");
        assert!(output.status.success(), "{output:?}");
        assert!(parent.path().join("db/file").exists(), "made where the directory was opened");
        return;
    };
    // The working directory of this process is `place`.
    fs::create_dir_all(place.join("elsewhere/db")).expect("made");
    fs::create_dir(place.join("db")).expect("made");
    std::os::unix::fs::symlink("db", "link").expect("linked");
    let storage = open(Path::new("link"));
    fs::remove_file("link").expect("removed");
    std::os::unix::fs::symlink("elsewhere/db", "link").expect("linked");
    std::env::set_current_dir("elsewhere").expect("entered");
    storage.create(&name("file"), 4096).expect("made");
}

#[test]
#[cfg(unix)]
fn a_directory_without_permission_to_write_opens_where_its_lock_exists_and_is_denied_else() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65534;
    const TEST: &str = "directory::\
        a_directory_without_permission_to_write_opens_where_its_lock_exists_and_is_denied_else";
    let Some(place) = again::place() else {
        let parent = tempfile::tempdir().expect("directory");
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode set");
        };
        let (full, empty) = (parent.path().join("full"), parent.path().join("empty"));
        drop(open(&full).create(&name("a"), 4096).expect("made"));
        fs::create_dir(&empty).expect("made");
        set(&full.join(LOCK_NAME), 0o444);
        set(&full.join("a"), 0o444);
        set(&full, 0o555);
        set(&empty, 0o555);
        set(parent.path(), 0o555);
        let mut process = again::process(TEST, parent.path());
        // Root may write everywhere; so may not whoever it turns into.
        let is_root = parent
            .path()
            .metadata()
            .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
        if is_root {
            process.gid(NOBODY).uid(NOBODY);
        }
        match process.output() {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(error) => eprintln!("skipped {TEST}: cannot run as another user: {error}"),
        }
        set(parent.path(), 0o755);
        set(&full, 0o755);
        return;
    };
    let kind = |result: Option<gannet_storage::Error>| result.expect("refused").kind();
    let storage = StdStorage::open(&place.join("full"), &at_once(DirOptions::create()));
    let storage = storage.expect("opens, read-only");
    assert_eq!(refusal(&place.join("full"), &DirOptions::existing()).kind(), ErrorKind::Locked);
    let (a, b) = (name("a"), name("b"));
    assert_eq!(storage.list().expect("listed").len(), 1);
    storage.open_sealed(&a).expect("readable");
    assert_eq!(kind(storage.open(&a).err()), ErrorKind::Denied);
    assert_eq!(kind(storage.create(&b, 4096).err()), ErrorKind::Denied);
    assert_eq!(kind(storage.replace(&a, &b).err()), ErrorKind::Denied);
    assert_eq!(kind(storage.remove(&a).err()), ErrorKind::Denied);
    let error = refusal(&place.join("empty"), &DirOptions::create());
    assert_eq!((error.kind(), error.op()), (ErrorKind::Denied, Op::Lock));
    let error = refusal(&place.join("missing"), &DirOptions::create());
    assert_eq!((error.kind(), error.op()), (ErrorKind::Denied, Op::OpenStorage));
}
