//! Views: slices of one map, however many there are and whoever made them.

use crate::{name, open, sealed};
use gannet_storage::{Caps, ReadFile, SealedFile, Storage};

#[test]
fn views_of_a_file_share_its_memory() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    let file = sealed(&storage, "f", 4);
    let whole = file.view(0..16384).expect("view");
    let other = storage.open_sealed(&name("f")).expect("opens");
    for handle in [&file, &file.clone(), &other] {
        for range in [0..16384, 4096..8192, 5000..5001, 16384..16384] {
            let view = handle.view(range.clone()).expect("view");
            let start = usize::try_from(range.start).expect("small");
            assert_eq!(view.as_ptr(), whole[start..].as_ptr(), "{range:?}");
            assert_eq!(view.clone().as_ptr(), view.as_ptr(), "a clone of {range:?}");
        }
    }
}

#[test]
fn a_view_of_more_than_memory_holds_is_made_at_once() {
    const LEN: u64 = 1 << 38;
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    let file = storage.create(&name("f"), LEN).expect("sparse files take no room");
    let file = storage.seal(file).expect("sealed");
    file.prefetch(LEN - 8192..LEN);
    let view = file.view(0..LEN).expect("view");
    assert_eq!((view.len() as u64, view[0], view[view.len() - 1]), (LEN, 0, 0));
}

#[test]
fn an_empty_file_has_an_empty_view() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    let file = sealed(&storage, "f", 0);
    file.prefetch(0..u64::MAX);
    let view = file.view(0..0).expect("view");
    assert_eq!(view.len(), 0);
    file.discard_cache().expect("nothing to discard");
    drop(file);
    let error = storage.remove(&name("f")).expect_err("the view lives");
    assert_eq!(error.kind(), gannet_storage::ErrorKind::Busy);
    drop(view);
    storage.remove(&name("f")).expect("removed");
}

#[test]
fn a_view_outlives_its_handle_its_storage_and_the_cache() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    let file = sealed(&storage, "f", 3);
    let view = file.view(4090..8200).expect("view");
    file.discard_cache().expect("discarded");
    drop((file, storage));
    assert_eq!((view[0], view[6], view[4102]), (0, 1, 2));
    assert!(view[6..4102].iter().all(|&byte| byte == 1));
}

#[test]
fn a_file_that_is_written_again_is_mapped_again() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = open(dir.path());
    for blocks in 1..=100_u8 {
        let file = sealed(&storage, "f", blocks);
        let len_bytes = u64::from(blocks) * 4096;
        let view = file.view(0..len_bytes).expect("view");
        assert_eq!((view.len() as u64, view[view.len() - 1]), (len_bytes, blocks - 1));
        drop((file, view));
        storage.remove(&name("f")).expect("removed");
    }
}

#[test]
fn it_says_what_it_is() {
    let dir = tempfile::tempdir().expect("directory");
    let caps = open(dir.path()).caps();
    let details = vec![("advice", "none".to_owned())];
    let expected = Caps {
        zero_copy_views: true,
        queue_depth_max: caps.queue_depth_max,
        details,
        ..Caps::new("mmap")
    };
    assert_eq!(caps, expected);
    assert!(caps.queue_depth_max > 1, "the queue is that of std");
}
