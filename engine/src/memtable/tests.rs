//! A memtable beside a map of all versions.

use super::*;
use crate::table::{Direction, Entry};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

type Versions = BTreeMap<(Vec<u8>, Reverse<Lsn>), Option<Vec<u8>>>;

fn key(number: u32) -> Vec<u8> {
    // Some longer than what is kept in place.
    format!("key {:0width$}", number, width = if number.is_multiple_of(3) { 40 } else { 5 })
        .into_bytes()
}

/// A memtable of a few keys with many versions, and all versions that there ever were.
fn fill(horizons: &Horizons) -> (Arc<Memtable>, Versions) {
    let memtable = Arc::new(Memtable::default());
    let mut versions = Versions::new();
    let mut random = 1_u32;
    for lsn in 1..3000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let key = key(random >> 16 & 127);
        let value = (random >> 9 & 3 > 0).then(|| vec![7; (random >> 11) as usize & 7]);
        memtable
            .insert(NewVersion { key: &key, lsn, value: value.as_deref() }, || horizons.clone());
        versions.insert((key, Reverse(lsn)), value);
    }
    (memtable, versions)
}

fn newest(versions: &Versions, key: &[u8], upto: Lsn) -> Option<Version> {
    let (found, value) = versions.range((key.to_vec(), Reverse(upto))..).next()?;
    (found.0 == key).then(|| Version { lsn: found.1.0, value: value.clone() })
}

#[test]
fn at_each_horizon_it_is_what_it_was() {
    let horizons = Horizons::new(vec![40, 700, 1500, 1501, 2400]);
    let (memtable, versions) = fill(&horizons);
    assert_eq!(memtable.lsns(), Some((1, 2999)));
    let keys: BTreeSet<Vec<u8>> = (0..140).map(key).collect();
    for upto in [40, 700, 1500, 1501, 2400, Lsn::MAX] {
        for key in &keys {
            let found = memtable.get(key, KeyHash::of(key), || upto);
            assert_eq!(found, newest(&versions, key, upto), "{key:?} up to {upto}");
        }
        let there: Vec<_> = keys
            .iter()
            .filter_map(|key| Some((key.clone(), newest(&versions, key, upto)?)))
            .collect();
        for (from, to) in [
            (Bound::Unbounded, Bound::Unbounded),
            (Bound::Included(key(9)), Bound::Excluded(key(64))),
            (Bound::Excluded(key(9)), Bound::Included(key(64))),
            (Bound::Included(key(64)), Bound::Included(key(64))),
            (Bound::Included(key(99)), Bound::Unbounded),
        ] {
            let expected: Vec<_> = there
                .iter()
                .filter(|(key, _)| {
                    std::ops::RangeBounds::contains(&(from.clone(), to.clone()), key)
                })
                .cloned()
                .collect();
            let bounds = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
            let read = |direction| {
                let memtable = Arc::clone(&memtable);
                let mut cursor = MemtableCursor::new(memtable, bounds, upto, direction);
                let mut all = Vec::new();
                while let Some(Entry { key, lsn, value }) = cursor.entry() {
                    let value = value.map(<[u8]>::to_vec);
                    all.push((key.to_vec(), Version { lsn, value }));
                    cursor.advance();
                }
                all
            };
            assert_eq!(read(Direction::Forward), expected);
            let mut backward = read(Direction::Backward);
            backward.reverse();
            assert_eq!(backward, expected);
        }
    }
}

#[test]
fn what_nobody_can_see_is_dropped() {
    let count = |horizons: &Horizons| {
        let (memtable, _) = fill(horizons);
        let mut cursor = SortedMemtable::new(&memtable);
        let mut versions = 0;
        let mut bytes = 0;
        while let Some(Entry { key, value, .. }) = cursor.entry() {
            versions += 1;
            bytes += (VERSION_OVERHEAD + key.len() + value.map_or(0, <[u8]>::len)) as u64;
            cursor.advance();
        }
        assert_eq!(memtable.bytes(), bytes);
        versions
    };
    let keys = count(&Horizons::default());
    assert_eq!(keys, 128, "one version of each");
    let one = count(&Horizons::new(vec![1500]));
    assert!(one > keys && one <= 2 * keys, "{one}");
}

#[test]
fn an_empty_one_has_nothing() {
    let memtable = Arc::new(Memtable::default());
    assert!(memtable.is_empty() && memtable.lsns().is_none());
    let all = (Bound::Unbounded, Bound::Unbounded);
    assert!(SortedMemtable::new(&memtable).entry().is_none());
    assert!(MemtableCursor::new(memtable, all, Lsn::MAX, Direction::Backward).entry().is_none());
}

#[test]
fn whoever_makes_a_table_of_it_has_all_keys_in_order() {
    let long = "alike for longer than anybody looks, again and again and again, ".repeat(3);
    let kinds: [&dyn Fn(u32) -> Vec<u8>; 5] = [
        &|n| n.to_le_bytes().to_vec(),
        &|n| n.to_string().into_bytes(),
        &|n| format!("{}{long}{n}", n % 3).into_bytes(),
        &|n| format!("{}{:0>30}", n % 7, n).into_bytes(),
        // Beginnings of others, and such as end with what a number is filled up with.
        &|n| vec![0; n as usize % 50],
    ];
    for (kind, of) in kinds.into_iter().enumerate() {
        for count in [1, 15, 16, 17, 5000_u32] {
            let memtable = Memtable::default();
            let mut expected = BTreeSet::new();
            for number in 0..count {
                let key = of(number.wrapping_mul(2_654_435_761) >> 9);
                let version = NewVersion { key: &key, lsn: 1 + u64::from(number), value: None };
                memtable.insert(version, Horizons::default);
                expected.insert(key);
            }
            let mut sorted = SortedMemtable::new(&memtable);
            for key in &expected {
                assert_eq!(sorted.entry().map(|entry| entry.key), Some(&key[..]), "kind {kind}");
                sorted.advance();
            }
            assert!(sorted.entry().is_none());
        }
    }
}

#[test]
fn keys_that_come_while_it_is_read_are_in_their_places_for_the_next_reader() {
    let memtable = Arc::new(Memtable::default());
    let mut expected = BTreeSet::new();
    let mut random = 7_u32;
    // More than are taken in at a time, and more than stand together, in every shard.
    for (lsn, keys) in (1..).zip([1, 3, 60_000, 1, 20_000, 5, 0, 50_000]) {
        for _ in 0..keys {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = (random >> 8).to_string().into_bytes();
            let version = NewVersion { key: &key, lsn, value: Some(b"") };
            memtable.insert(version, Horizons::default);
            expected.insert(key);
        }
        for direction in [Direction::Forward, Direction::Backward] {
            let all = (Bound::Unbounded, Bound::Unbounded);
            let mut cursor = MemtableCursor::new(Arc::clone(&memtable), all, lsn, direction);
            let mut read = Vec::new();
            while let Some(entry) = cursor.entry() {
                read.push(entry.key.to_vec());
                cursor.advance();
            }
            if direction == Direction::Backward {
                read.reverse();
            }
            assert!(read.iter().eq(&expected), "{direction:?} after record {lsn}");
        }
    }
}
