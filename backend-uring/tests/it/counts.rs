//! What is asked of the kernel, counted by strace.

use crate::interrupt::Interrupted;
use crate::{again, depth, name, open, sealed};
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, Durability, Read, ReadFile, ReadQueue, SealedFile, Storage, Write,
    WriteFile,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Calls by name that a process made which did `case` `times` over. It is not interrupted: each
/// signal may be one call more.
fn calls(test: &str, case: &str, times: u64) -> BTreeMap<String, u64> {
    let dir = tempfile::tempdir().unwrap();
    let strace = ["strace", "-f", "-c", "-U", "calls,name", "-o", "counts"];
    let case = format!("{case} {times}");
    again::run(&mut again::process_at(&strace, test, dir.path(), &case));
    let counts = std::fs::read_to_string(dir.path().join("counts")).unwrap();
    let mut calls = BTreeMap::new();
    for line in counts.lines() {
        if let [count, name] = line.split_whitespace().collect::<Vec<_>>()[..]
            && let Ok(count) = count.parse()
        {
            calls.insert(name.to_owned(), count);
        }
    }
    calls
}

fn act(place: &Path, case: &str) {
    let (case, times) = case.split_once(' ').unwrap();
    let times: usize = times.parse().unwrap();
    let storage = open(&place.join("db"), true);
    if case == "appends" {
        let file = storage.create(&name(), 1 << 20).unwrap();
        let block = AlignedBuf::zeroed(BLOCK_SIZE);
        // The first one makes the new file durable.
        for at in 0..=times {
            let write = Write { offset: (at % 256 * BLOCK_SIZE) as u64, bytes: &block };
            file.write_batch(&[write], Durability::Data).unwrap();
        }
        return;
    }
    let file = sealed(&storage, 64);
    let mut bufs: Vec<_> = (0..32).map(|_| AlignedBuf::zeroed(BLOCK_SIZE)).collect();
    if case == "batches" {
        for _ in 0..times {
            let offsets = (0..).step_by(2 * BLOCK_SIZE);
            let mut reads: Vec<_> =
                bufs.iter_mut().zip(offsets).map(|(buf, offset)| Read { offset, buf }).collect();
            file.read_batch(&mut reads).unwrap();
        }
        return;
    }
    let mut queue = file.queue(depth(32)).unwrap();
    for at in 0..times as u64 {
        let buf = bufs.pop().unwrap_or_else(|| queue.wait().unwrap().buf);
        queue.submit(at, at % 64 * 4096, buf).unwrap();
    }
    while queue.wait().is_some() {}
}

#[test]
fn a_durable_append_is_one_call_and_reads_are_few() {
    const TEST: &str = "counts::a_durable_append_is_one_call_and_reads_are_few";
    if let Some((place, case)) = again::place() {
        act(&place, &case);
        return again::reached();
    }
    let trial = Command::new("strace").args(["-c", "-o", "/dev/null", "true"]).output();
    if !trial.is_ok_and(|output| output.status.success()) {
        return eprintln!("skipped: strace is missing, or may not trace");
    }
    let _signals = Interrupted::begin();
    // A batch of 32 reads is handed over in four slices, and waited for once at the most. How often
    // a queue waits depends on how fast the device is, so the two runs differ a little.
    for (case, least, most) in [("appends", 100, 100), ("batches", 200, 700), ("queued", 50, 250)] {
        let (few, many) = (calls(TEST, case, 100), calls(TEST, case, 200));
        let more = |call: &str| {
            let count = |calls: &BTreeMap<_, _>| calls.get(call).copied().unwrap_or(0_u64);
            count(&many).checked_sub(count(&few)).unwrap()
        };
        let enters = more("io_uring_enter");
        eprintln!("100 {case} are {enters} calls of io_uring_enter");
        assert!((least..=most).contains(&enters), "{case}: {enters}\n{few:?}\n{many:?}");
        for call in ["pread64", "pwrite64", "preadv", "pwritev", "fdatasync", "fsync", "write"] {
            assert_eq!(more(call), 0, "{case}: {call}\n{few:?}\n{many:?}");
        }
    }
}
