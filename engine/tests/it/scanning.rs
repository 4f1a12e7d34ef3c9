//! Scans beside commits.

use crate::contents::open;
use crate::disk::{Disk, on_each_disk};
use gannet::WriteBatch;
use std::ops::{Bound, ControlFlow};

#[test]
fn a_scan_gives_every_key_once_in_order_whatever_their_sizes_and_bounds() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        let mut batch = WriteBatch::new();
        let key = |i: u32| format!("{i:04}").into_bytes();
        for i in 0..500 {
            let len = if i % 50 == 0 { 100_000 } else { 10 };
            batch.put("kv", &key(i), &vec![1; len]);
        }
        db.commit(batch).unwrap();
        let keys = |from: Bound<&[u8]>, to: Bound<&[u8]>| {
            let mut found = Vec::new();
            let each = |key: &[u8], _: &[u8]| {
                found.push(key.to_vec());
                ControlFlow::Continue(())
            };
            db.scan("kv", from, to, each).unwrap();
            found
        };
        let expected = |range: std::ops::Range<u32>| range.map(key).collect::<Vec<_>>();
        let (a, b) = (key(20), key(480));
        assert_eq!(keys(Bound::Unbounded, Bound::Unbounded), expected(0..500));
        assert_eq!(keys(Bound::Included(&a), Bound::Excluded(&b)), expected(20..480));
        assert_eq!(keys(Bound::Excluded(&a), Bound::Included(&b)), expected(21..481));
        for (from, to) in [(&b, &a), (&a, &a)] {
            assert!(keys(Bound::Included(from), Bound::Excluded(to)).is_empty());
            assert!(keys(Bound::Excluded(from), Bound::Excluded(to)).is_empty());
        }
    }
    on_each_disk!(on);
}

#[test]
fn what_a_scan_calls_may_read_and_commit() {
    fn on(disk: &impl Disk) {
        let db = open(disk, 1);
        let put = |key: &[u8]| {
            let mut batch = WriteBatch::new();
            batch.put("kv", key, b"v");
            db.commit(batch).unwrap();
        };
        put(b"a");
        put(b"b");
        std::thread::scope(|scope| {
            let beside = scope.spawn(|| (0..200_u8).for_each(|i| put(&[b'z', i])));
            let mut seen = 0;
            let each = |key: &[u8], value: &[u8]| {
                seen += 1;
                assert_eq!(db.get("kv", key).unwrap().as_deref(), Some(value));
                put(&[b"copy-", key].concat());
                if seen == 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            db.scan("kv", Bound::Unbounded, Bound::Excluded(b"c"), each).unwrap();
            beside.join().unwrap();
            assert_eq!(seen, 2);
        });
        assert_eq!(db.get("kv", b"copy-b").unwrap().as_deref(), Some(&b"v"[..]));
    }
    on_each_disk!(on);
}
