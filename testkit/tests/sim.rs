//! The simulated disk: what a crash may take, what it may not, and that it replays.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, Durability, ErrorKind, FileName, ReadFile, Result, Storage, Write,
    WriteFile, publish,
};
use gannet_testkit::sim::{CrashPlan, SimDisk, SimFile, SimRng, SimStorage};
use std::collections::BTreeSet;

const BLOCK: u64 = BLOCK_SIZE as u64;

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

/// A block whose sectors hold these bytes.
fn block(sectors: [u8; 8]) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(BLOCK_SIZE);
    for (sector, byte) in buf.chunks_mut(512).zip(sectors) {
        sector.fill(byte);
    }
    buf
}

fn write(file: &SimFile, index: u64, sectors: [u8; 8], durability: Durability) -> Result<()> {
    let bytes = block(sectors);
    file.write_batch(&[Write { offset: index * BLOCK, bytes: &bytes }], durability)
}

/// A storage with the durable file `a` of one block.
fn one_file(disk: &SimDisk, sectors: [u8; 8]) -> (SimStorage, SimFile) {
    let storage = disk.open().unwrap();
    let file = storage.create(&name("a"), BLOCK).unwrap();
    write(&file, 0, sectors, Durability::Full).unwrap();
    storage.sync_dir().unwrap();
    (storage, file)
}

/// Names with the first byte of every sector of their files, as text: `a:01000000`.
fn contents(disk: &SimDisk) -> String {
    let storage = disk.open().unwrap();
    let mut text = String::new();
    for meta in storage.list().unwrap() {
        let file = storage.open_sealed(&meta.name).unwrap();
        let mut buf = AlignedBuf::zeroed(usize::try_from(meta.len_bytes).unwrap());
        file.read_at(0, &mut buf).unwrap();
        for sector in buf.chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is whole");
        }
        let bytes: String = buf.chunks(512).map(|sector| sector[0].to_string()).collect();
        text = format!("{text}{}:{bytes} ", meta.name);
    }
    text.trim_end().to_owned()
}

/// Every disk that a crash may leave.
fn after_crash(disk: &SimDisk) -> BTreeSet<String> {
    let plan = CrashPlan { exhaustive_max: 1 << 16, ..CrashPlan::default() };
    assert!(plan.is_exhaustive(&disk.pending()));
    disk.crash_states(&plan).map(|(after, _)| contents(&after)).collect()
}

fn check(disk: &SimDisk, due: &[&str]) {
    assert_eq!(after_crash(disk), due.iter().map(ToString::to_string).collect());
}

#[test]
fn unsynced_sectors_are_old_new_or_zero_each_on_its_own() {
    let disk = SimDisk::new();
    let (_storage, file) = one_file(&disk, [1, 1, 0, 0, 0, 0, 0, 0]);
    check(&disk, &["a:11000000"]);
    write(&file, 0, [2, 1, 3, 0, 0, 0, 0, 0], Durability::Deferred).unwrap();
    // The second is written with the bytes that it has: a crash may still zero it.
    let ends = |sector: &[u8]| sector.iter().map(u8::to_string).collect::<Vec<_>>();
    let mut due = BTreeSet::new();
    for (a, b, c) in ends(&[1, 2, 0]).iter().flat_map(|a| {
        let (b, c) = (ends(&[1, 0]), ends(&[0, 3]));
        b.into_iter().flat_map(move |b| c.clone().into_iter().map(move |c| (a, b.clone(), c)))
    }) {
        due.insert(format!("a:{a}{b}{c}00000"));
    }
    assert_eq!(due.len(), 12);
    assert_eq!(after_crash(&disk), due);
    assert_eq!(contents(&disk.kill()), "a:21300000", "a kill takes nothing");
}

#[test]
fn a_sector_written_twice_may_hold_either() {
    let disk = SimDisk::new();
    let (_storage, file) = one_file(&disk, [9, 0, 0, 0, 0, 0, 0, 0]);
    for byte in [1, 2] {
        write(&file, 0, [byte, 0, 0, 0, 0, 0, 0, 0], Durability::Deferred).unwrap();
    }
    check(&disk, &["a:90000000", "a:10000000", "a:20000000", "a:00000000"]);
}

#[test]
fn a_sync_covers_earlier_writes_of_its_file_alone() {
    let disk = SimDisk::new();
    let (storage, a) = one_file(&disk, [0; 8]);
    let b = storage.create(&name("b"), BLOCK).unwrap();
    b.sync(Durability::Full).unwrap();
    storage.sync_dir().unwrap();
    write(&a, 0, [1, 0, 0, 0, 0, 0, 0, 0], Durability::Deferred).unwrap();
    write(&b, 0, [2, 0, 0, 0, 0, 0, 0, 0], Durability::Data).unwrap();
    check(&disk, &["a:00000000 b:20000000", "a:10000000 b:20000000"]);
    a.sync(Durability::Data).unwrap();
    check(&disk, &["a:10000000 b:20000000"]);
}

#[test]
fn a_seal_makes_the_contents_durable_and_not_the_name() {
    let disk = SimDisk::new();
    let storage = disk.open().unwrap();
    let file = storage.create(&name("a"), BLOCK).unwrap();
    check(&disk, &["", "a:", "a:00000000"]);
    write(&file, 0, [1, 0, 0, 0, 0, 0, 0, 0], Durability::Deferred).unwrap();
    check(&disk, &["", "a:", "a:00000000", "a:10000000"]);
    let _sealed = storage.seal(file).unwrap();
    check(&disk, &["", "a:10000000"]);
    storage.sync_dir().unwrap();
    check(&disk, &["a:10000000"]);
}

#[test]
fn names_change_each_on_its_own_and_a_replace_is_atomic() {
    let disk = SimDisk::new();
    let (storage, file) = one_file(&disk, [1, 0, 0, 0, 0, 0, 0, 0]);
    drop(file);
    let temp = storage.create(&name("t"), BLOCK).unwrap();
    write(&temp, 0, [2, 0, 0, 0, 0, 0, 0, 0], Durability::Full).unwrap();
    drop(temp);
    storage.sync_dir().unwrap();
    storage.replace(&name("t"), &name("a")).unwrap();
    check(&disk, &["a:10000000 t:20000000", "a:20000000"]);
    storage.sync_dir().unwrap();
    storage.remove(&name("a")).unwrap();
    storage.create(&name("z"), 0).unwrap();
    check(&disk, &["a:20000000", "a:20000000 z:", "", "z:"]);
    storage.sync_dir().unwrap();
    check(&disk, &["z:"]);
}

#[test]
fn a_length_is_pending_until_a_sync_and_a_cut_may_leave_zeroes() {
    let disk = SimDisk::new();
    let (_storage, file) = one_file(&disk, [1, 0, 0, 0, 0, 0, 0, 0]);
    file.set_len(2 * BLOCK).unwrap();
    check(&disk, &["a:10000000", "a:1000000000000000"]);
    write(&file, 1, [2, 0, 0, 0, 0, 0, 0, 0], Durability::Deferred).unwrap();
    let grown = ["a:10000000", "a:1000000000000000", "a:1000000020000000"];
    check(&disk, &grown);
    file.sync(Durability::Data).unwrap();
    check(&disk, &grown[2..]);
    file.set_len(BLOCK).unwrap();
    check(&disk, &["a:1000000020000000", "a:1000000000000000", "a:10000000"]);
}

#[test]
fn a_published_file_is_whole_or_not_there_at_every_step() {
    let disk = SimDisk::new();
    let storage = disk.open().unwrap();
    disk.record();
    for byte in [1, 2] {
        let bytes = block([byte; 8]);
        let published = publish(&storage, &name("t"), &name("a"), BLOCK, |file| {
            file.write_batch(&[Write { offset: 0, bytes: &bytes }], Durability::Deferred)
        });
        published.unwrap();
    }
    let mut seen = BTreeSet::new();
    for point in disk.take_recorded() {
        for (after, choice) in point.disk().crash_states(&CrashPlan::default()) {
            let text = contents(&after);
            let a = text.split(' ').find(|file| file.starts_with("a:")).unwrap_or("none");
            let whole = ["none", "a:11111111", "a:22222222"].contains(&a);
            assert!(whole, "{a} at {point:?}, {choice}");
            seen.insert(a.to_owned());
        }
    }
    assert_eq!(seen.len(), 3, "all three outcomes come");
}

/// Runs random calls until one fails; the same seed makes the same calls.
fn workload(disk: &SimDisk, seed: u64) {
    let mut rng = SimRng::new(seed);
    let storage = disk.open().unwrap();
    let mut step = || -> Result<()> {
        let name = name(["a", "b", "c"][rng.below(3)]);
        match rng.below(8) {
            0 => storage.remove(&name).or(Ok(()))?,
            1 => storage.sync_dir()?,
            2 => storage.replace(&name, &FileName::new("d")?).or(Ok(()))?,
            kind => {
                let file = match storage.open(&name) {
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        storage.create(&name, 2 * BLOCK)?
                    }
                    opened => opened?,
                };
                let level = [Durability::Deferred, Durability::Data][kind % 2];
                let index = rng.next_u64() % 2;
                let byte = u8::try_from(1 + rng.below(200)).unwrap();
                write(&file, index, [byte, 0, byte, 0, 0, 0, 0, 0], level)?;
                if kind == 7 {
                    file.set_len(2 * BLOCK + index * BLOCK)?;
                    drop(storage.seal(file)?);
                }
            }
        }
        Ok(())
    };
    for _ in 0..40 {
        if step().is_err() {
            break;
        }
    }
}

#[test]
fn a_cut_after_n_steps_leaves_what_was_recorded_after_step_n() {
    for seed in 1..=5 {
        let whole = SimDisk::new();
        whole.record();
        workload(&whole, seed);
        let points = whole.take_recorded();
        assert_eq!(points.len() as u64, whole.steps());
        for point in points {
            let cut = SimDisk::new();
            cut.cut_after(point.step);
            workload(&cut, seed);
            assert_eq!(cut.steps(), point.step, "seed {seed}, {point:?}");
            assert_eq!(cut.digest(), point.disk().digest(), "seed {seed}, {point:?}");
            assert_eq!(cut.open().unwrap_err().kind(), ErrorKind::Io);
        }
    }
}

#[test]
fn a_digest_foretells_the_disk_and_equal_digests_mean_equal_contents() {
    for seed in 1..=5 {
        let disk = SimDisk::new();
        disk.record();
        workload(&disk, seed);
        let plan = CrashPlan { exhaustive_max: 64, pairs_max: 20, samples: 20, seed };
        let mut known: std::collections::HashMap<u128, String> = std::collections::HashMap::new();
        let mut sampled = 0;
        for point in disk.take_recorded() {
            let pending = point.disk().pending();
            sampled += u32::from(!plan.is_exhaustive(&pending));
            for choice in pending.choices(&plan) {
                let after = pending.crash(&choice);
                let digest = pending.digest(&choice);
                assert_eq!(after.digest(), digest, "seed {seed}, {point:?}, {choice}");
                assert!(after.pending().is_empty());
                let text = contents(&after);
                let first = known.entry(digest).or_insert_with(|| text.clone());
                assert_eq!(*first, text, "seed {seed}, {point:?}, {choice}");
                let again = choice.to_string().parse().unwrap();
                assert_eq!(choice, again, "a printed choice can be read back");
            }
        }
        let texts: BTreeSet<_> = known.values().collect();
        assert_eq!(texts.len(), known.len(), "different digests mean different contents");
        assert!(sampled > 0, "seed {seed} meets the sampled way");
    }
}

#[test]
fn one_owner_at_a_time_and_a_killed_one_is_gone() {
    let disk = SimDisk::new();
    let (storage, file) = one_file(&disk, [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(disk.open().unwrap_err().kind(), ErrorKind::Locked);
    write(&file, 0, [2, 0, 0, 0, 0, 0, 0, 0], Durability::Deferred).unwrap();
    let next = disk.kill();
    assert_eq!(file.sync(Durability::Data).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(storage.list().unwrap_err().kind(), ErrorKind::Io);
    check(&next, &["a:10000000", "a:20000000", "a:00000000"]);
    // What the dead process wrote is covered by the next one's sync.
    let storage = next.open().unwrap();
    storage.open(&name("a")).unwrap().sync(Durability::Data).unwrap();
    drop(storage);
    check(&next, &["a:20000000"]);
}

#[test]
fn a_failed_sync_is_not_made_good_by_a_later_one() {
    for (kind, sticky) in [(ErrorKind::Io, false), (ErrorKind::NoSpace, true)] {
        let disk = SimDisk::new();
        let (storage, file) = one_file(&disk, [1, 0, 0, 0, 0, 0, 0, 0]);
        disk.fail_nth(2, kind, sticky);
        write(&file, 0, [2, 0, 0, 0, 0, 0, 0, 0], Durability::Deferred).unwrap();
        assert_eq!(file.sync(Durability::Data).unwrap_err().kind(), kind);
        let second = file.sync(Durability::Data);
        assert_eq!(second.is_err(), sticky);
        let mut buf = AlignedBuf::zeroed(BLOCK_SIZE);
        file.read_at(0, &mut buf).unwrap();
        assert_eq!(buf[0], 2, "the cache still shows it");
        check(&disk.kill(), &["a:10000000", "a:20000000", "a:00000000"]);
        let next = disk.kill();
        let reader = next.open().unwrap().open_sealed(&name("a")).unwrap();
        reader.discard_cache().unwrap();
        reader.read_at(0, &mut buf).unwrap();
        assert_eq!(buf[0], 1, "the media never got it");
        drop((storage, file));
    }
}

#[test]
fn a_failed_change_of_names_changes_nothing() {
    let disk = SimDisk::new();
    let (storage, file) = one_file(&disk, [1, 0, 0, 0, 0, 0, 0, 0]);
    drop(file);
    let (before, steps) = (disk.digest(), disk.steps());
    for call in [
        |storage: &SimStorage| storage.create(&name("b"), BLOCK).map(drop),
        |storage: &SimStorage| storage.replace(&name("a"), &name("b")),
        |storage: &SimStorage| storage.remove(&name("a")),
        |storage: &SimStorage| storage.sync_dir(),
    ] {
        disk.fail_nth(1, ErrorKind::NoSpace, false);
        assert_eq!(call(&storage).unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!((disk.digest(), disk.steps()), (before, steps));
    }
}
