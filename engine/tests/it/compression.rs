//! Groups that are compressed in the log: the same contents, and no byte of them believed too soon.

use crate::contents::{Contents, apart_from_log, checkpoint, config, open, params, shown, vector};
use crate::damage::{edit, judge};
use crate::disk::{Disk, on_each_disk};
use gannet::storage::{BLOCK_SIZE, FileName, MemStorage, SealedFile, Storage};
use gannet::{Config, Damage, Database, Durability, Metric, OpenError, WriteBatch, restore};
use gannet_testkit::sim::{SimDisk, SimRng};

const HEADER_LEN_BYTES: usize = 64;

fn compressing(seed: u64) -> Config {
    let mut config = config(seed);
    config.log_compression = true;
    config
}

fn first_segment() -> FileName {
    FileName::new("log-0000000001").unwrap()
}

/// Text that becomes shorter.
fn text(len: usize, seed: usize) -> String {
    let words = ["gannet ", "dives ", "and ", "comes ", "back "];
    let mut text: String =
        (0..=len / 4).map(|word| words[(word * word + seed) % words.len()]).collect();
    text.truncate(len);
    text
}

/// Bytes that do not.
fn noise(len: usize) -> String {
    let mut rng = SimRng::new(7);
    (0..len).map(|_| char::from(u8::try_from(32 + rng.below(95)).unwrap())).collect()
}

/// Groups of one batch, then several of many: text, noise, short ones, vectors, deletes.
fn work<S: Storage>(db: &Database<S>, contents: &mut Contents, from: usize) {
    for n in from..from + 8 {
        let mut batch = WriteBatch::new();
        match n % 4 {
            0 => contents.put(&mut batch, &format!("text {n}"), &text(9000 + 700 * n, n)),
            1 => contents.put(&mut batch, &format!("noise {n}"), &noise(8000)),
            2 => contents.put(&mut batch, &format!("short {n}"), "value"),
            _ => {
                for id in 0..100 {
                    contents.upsert(&mut batch, id, vector(id + n as u64));
                }
                contents.delete_row(&mut batch, n as u64);
                contents.delete(&mut batch, &format!("text {}", n - 3));
            }
        }
        db.commit(batch).unwrap();
    }
    let tickets: Vec<_> = (0..50)
        .map(|n| {
            let mut batch = WriteBatch::new();
            contents.put(&mut batch, &format!("many {from} {n}"), &text(300, n));
            db.submit(batch).unwrap()
        })
        .collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
}

#[test]
fn what_was_compressed_comes_back_under_every_backend_and_durability() {
    fn on(disk: &impl Disk) {
        for durability in [Durability::Strict, Durability::Buffered] {
            let disk = disk.fresh();
            let mut settings = compressing(1);
            settings.durability = durability;
            let db = Database::open(disk.open().unwrap(), settings).unwrap();
            db.create_collection("c", params(Metric::L2)).unwrap();
            let mut contents = Contents::default();
            work(&db, &mut contents, 0);
            work(&db, &mut contents, 8);
            assert_eq!(shown(&db, 200), contents);
            let written = db.stats().unwrap().commits.record_bytes;
            let (backup, restored) = (MemStorage::new(), MemStorage::new());
            db.backup(&backup).unwrap();
            assert!(db.verify().unwrap().faults.is_empty());
            drop(db);
            let db = open(&disk.copy(), 2);
            assert_eq!(shown(&db, 200), contents);
            let read = db.recovery_report().log_bytes;
            assert!(read < written / 4 * 3, "{read} bytes for {written}");
            restore(&backup, &restored).unwrap();
            let db = Database::open(restored, config(3)).unwrap();
            assert_eq!(shown(&db, 200), contents);
        }
    }
    on_each_disk!(on);
}

#[test]
fn it_can_be_turned_on_and_off_from_one_opening_to_the_next() {
    fn on(disk: &impl Disk) {
        let mut contents = Contents::default();
        for round in 0..4 {
            let mut settings = config(round);
            settings.log_compression = round % 2 == 1;
            let db = Database::open(disk.open().unwrap(), settings).unwrap();
            db.create_collection("c", params(Metric::L2)).unwrap();
            if round == 2 {
                checkpoint(&db);
            }
            work(&db, &mut contents, 8 * usize::try_from(round).unwrap());
            assert_eq!(shown(&db, 200), contents);
        }
        let db = open(disk, 9);
        assert_eq!(shown(&db, 200), contents);
        assert!(db.verify().unwrap().faults.is_empty());
    }
    on_each_disk!(on);
}

#[test]
fn a_compressed_log_is_replayed_the_same_for_every_number_of_threads() {
    let disk = SimDisk::new();
    let mut settings = compressing(1);
    settings.segment_bytes = 64 << 10;
    let db = Database::open(disk.open().unwrap(), settings).unwrap();
    db.create_collection("c", params(Metric::L2)).unwrap();
    let mut contents = Contents::default();
    for round in 0..10 {
        work(&db, &mut contents, 8 * round);
    }
    assert!(db.stats().unwrap().log_segments > 3);
    db.close().unwrap();
    let states = [1, 2, 3, 8].map(|threads| {
        let copy = disk.copy();
        let mut settings = config(5);
        settings.threads = threads;
        let db = Database::open(copy.open().unwrap(), settings).unwrap();
        assert_eq!(shown(&db, 200), contents, "{threads} threads");
        checkpoint(&db);
        drop(db);
        apart_from_log(&copy)
    });
    assert!(states.iter().all(|state| *state == states[0]));
}

/// A closed database of one frame of `value`, and its contents. The keyspace is made before.
fn one_frame(value: &str) -> (SimDisk, Contents) {
    let disk = SimDisk::new();
    let mut contents = Contents::default();
    let db = Database::open(disk.open().unwrap(), compressing(1)).unwrap();
    let mut batch = WriteBatch::new();
    contents.put(&mut batch, "key", value);
    db.commit(batch).unwrap();
    db.close().unwrap();
    (disk, contents)
}

/// The header of the first frame.
fn header(disk: &SimDisk) -> Vec<u8> {
    let file = disk.copy().open().unwrap().open_sealed(&first_segment()).unwrap();
    let block = BLOCK_SIZE as u64;
    file.view(block..2 * block).unwrap()[..HEADER_LEN_BYTES].to_vec()
}

#[test]
fn only_long_groups_that_become_shorter_are_compressed() {
    for (value, codec) in
        [(text(4000, 0), 0), (text(6000, 0), 1), (noise(4000), 0), (noise(50_000), 0)]
    {
        let (disk, contents) = one_frame(&value);
        assert_eq!(header(&disk)[10], codec, "{} bytes", value.len());
        assert_eq!(shown(&open(&disk.copy(), 2), 1), contents);
    }
}

#[test]
fn without_compression_a_frame_has_no_codec() {
    let disk = SimDisk::new();
    let db = open(&disk, 1);
    let mut batch = WriteBatch::new();
    batch.put("kv", b"key", text(50_000, 0).as_bytes());
    db.commit(batch).unwrap();
    drop(db);
    assert_eq!(header(&disk)[10], 0);
}

#[test]
fn no_flipped_byte_of_a_compressed_frame_gives_a_wrong_answer() {
    let (disk, contents) = one_frame(&text(40_000, 3));
    let body_len = u32::from_le_bytes(header(&disk)[32..36].try_into().unwrap()) as usize;
    let mut refused = 0;
    for at in BLOCK_SIZE..BLOCK_SIZE + HEADER_LEN_BYTES + body_len {
        let copy = disk.copy();
        edit(&copy.open().unwrap(), &first_segment(), at as u64, |block| {
            block[at % BLOCK_SIZE] ^= 0xff;
        });
        refused += judge(&copy, &contents, &format!("byte {at}")).refused;
    }
    assert_eq!(refused, (HEADER_LEN_BYTES + body_len) as u64, "the marker is a witness to each");
}

/// Changes the first block of the first frame, then makes its checksums fit. The body ends in it.
fn forge(disk: &SimDisk, change: impl FnOnce(&mut [u8])) {
    let storage = disk.open().unwrap();
    let file = storage.open_sealed(&first_segment()).unwrap();
    let salt: [u8; 8] = file.view(0..BLOCK_SIZE as u64).unwrap()[40..48].try_into().unwrap();
    drop(file);
    let crc = |seeds: &[&[u8]], bytes: &[u8]| {
        let mut hasher = crc32fast::Hasher::new();
        for seed in seeds {
            hasher.update(seed);
        }
        hasher.update(bytes);
        hasher.finalize().to_le_bytes()
    };
    edit(&storage, &first_segment(), BLOCK_SIZE as u64, |block| {
        change(block);
        let len = u32::from_le_bytes(block[32..36].try_into().unwrap()) as usize;
        let body = &block[HEADER_LEN_BYTES..][..len];
        let body_crc = crc(&[&salt, &block[16..24]], body);
        block[40..44].copy_from_slice(&body_crc);
        let header_crc = crc(&[&salt], &block[8..HEADER_LEN_BYTES]);
        block[4..8].copy_from_slice(&header_crc);
    });
}

/// What is done to a frame.
type Change = fn(&mut [u8]);

fn opened(disk: &SimDisk) -> OpenError {
    let before = disk.digest();
    let refused = Database::open(disk.open().unwrap(), config(3)).unwrap_err();
    assert_eq!(disk.digest(), before, "refusing changed a file");
    refused
}

#[test]
fn a_body_that_does_not_decompress_to_what_it_says_is_damage() {
    let changes: [(&str, Change); 4] = [
        ("another length", |frame| frame[36] ^= 1),
        ("a token of the longest match", |frame| frame[HEADER_LEN_BYTES] = 0xff),
        ("an offset before the beginning", |frame| {
            let len = u32::from_le_bytes(frame[32..36].try_into().unwrap()) as usize;
            frame[HEADER_LEN_BYTES..][..len].fill(0x11);
        }),
        ("the largest that is believed", |frame| {
            let len = u32::from_le_bytes(frame[32..36].try_into().unwrap());
            frame[36..40].copy_from_slice(&(255 * len).to_le_bytes());
        }),
    ];
    for (what, change) in changes {
        let (disk, _) = one_frame(&text(6000, 1));
        forge(&disk, change);
        let OpenError::Corrupt(corruption) = opened(&disk) else { panic!("{what}") };
        assert_eq!(corruption.damage, Damage::Field("compressed body"), "{what}");
        assert_eq!(corruption.file, first_segment().as_str());
        assert_eq!(corruption.offset, (BLOCK_SIZE + HEADER_LEN_BYTES) as u64);
        assert_eq!(corruption.lsns, Some((1, 2)));
    }
}

#[test]
fn lengths_that_no_block_has_are_not_believed() {
    for len in [0, 1, u32::MAX, 256 << 20] {
        let (disk, _) = one_frame(&text(6000, 1));
        forge(&disk, |frame| frame[36..40].copy_from_slice(&len.to_le_bytes()));
        let OpenError::Corrupt(corruption) = opened(&disk) else { panic!("{len}") };
        assert_eq!(corruption.damage, Damage::LostRecords, "{len}");
    }
}

#[test]
fn what_a_later_program_wrote_is_refused_by_name_and_place() {
    let block = BLOCK_SIZE as u64;
    let body = block + HEADER_LEN_BYTES as u64;
    let record = HEADER_LEN_BYTES;
    for (at, what, offset) in [
        (8, "frame version", block),
        (9, "frame flags", block),
        (10, "frame codec", block),
        (record + 4, "record kind", body),
        (record + 5, "record version", body),
    ] {
        let (disk, _) = one_frame("short");
        forge(&disk, |frame| frame[at] = 77);
        let error = opened(&disk);
        let OpenError::NewerVersion { file, offset: found_at, what: named, found: 77, .. } = &error
        else {
            panic!("{what}: {error:?}")
        };
        assert_eq!((&file[..], *found_at, *named), (first_segment().as_str(), offset, what));
        assert!(error.to_string().starts_with("log-0000000001 at byte "), "{error}");
        let mut point_in_time = config(3);
        point_in_time.recovery = gannet::RecoveryMode::PointInTime;
        let cut = Database::open(disk.open().unwrap(), point_in_time);
        assert!(matches!(cut, Err(OpenError::NewerVersion { .. })), "never cut: {cut:?}");
    }
}
