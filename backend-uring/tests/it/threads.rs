//! Threads: queues that move, a storage that is shared, and what a durable write of one thread
//! covers of another's.

use crate::interrupt::Interrupted;
use crate::{assert_filled, depth, mounted, name, open, sealed};
use gannet_backend_uring::{UringFile, UringStorage};
use gannet_storage::{
    AlignedBuf, BLOCK_SIZE, Durability, Read, ReadFile, ReadQueue, SealedFile, Storage, Write,
    WriteFile,
};
use gannet_testkit::mount::Mount;
use gannet_testkit::sim::SimRng;
use std::sync::Barrier;

const BLOCKS: usize = 1024;

#[test]
fn a_queue_outlives_the_thread_that_filled_it() {
    let _signals = Interrupted::begin();
    for direct_io in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let storage = open(&dir.path().join("db"), direct_io);
        let file = sealed(&storage, BLOCKS);
        let mut rng = SimRng::new(1);
        for round in 0..100 {
            if round % 5 == 0 {
                file.discard_cache().unwrap();
            }
            let mut places: Vec<_> = (0..32).map(|_| rng.below(BLOCKS - 16)).collect();
            let mut queue = file.queue(depth(32)).unwrap();
            let submit = || {
                let _signals = (round < 10).then(Interrupted::begin);
                for at in &places {
                    let buf = AlignedBuf::zeroed(16 * BLOCK_SIZE);
                    queue.submit(*at as u64, (at * BLOCK_SIZE) as u64, buf).unwrap();
                }
            };
            std::thread::scope(|scope| scope.spawn(submit).join().unwrap());
            if round % 3 == 0 {
                continue;
            }
            while let Some(done) = queue.wait() {
                done.result.unwrap();
                let at = usize::try_from(done.tag).unwrap();
                assert_filled(&done.buf, at);
                places.remove(places.iter().position(|&place| place == at).unwrap());
            }
            assert!(places.is_empty(), "{places:?}");
        }
    }
}

const THREADS: usize = 8;
/// Blocks of each thread.
const OWN: usize = 32;

fn work(storage: &UringStorage, file: &UringFile, thread: usize) -> Vec<u8> {
    let _signals = Interrupted::begin();
    let mut rng = SimRng::new(thread as u64);
    let first = thread * OWN;
    let mut model = vec![0; OWN];
    let own = gannet_storage::FileName::new(&format!("own-{thread}")).unwrap();
    for round in 0..30_u8 {
        let durability =
            [Durability::Deferred, Durability::Data, Durability::Full][rng.below(9) / 4];
        let mut block = AlignedBuf::zeroed(BLOCK_SIZE);
        block.fill(round + 1);
        let blocks: Vec<_> = (0..OWN).filter(|_| rng.below(4) == 0).collect();
        let offset = |at: usize| ((first + at) * BLOCK_SIZE) as u64;
        let writes: Vec<_> =
            blocks.iter().map(|&at| Write { offset: offset(at), bytes: &block }).collect();
        file.write_batch(&writes, durability).unwrap();
        for at in blocks {
            model[at] = round + 1;
        }
        let mut bufs: Vec<_> = (0..OWN).map(|_| AlignedBuf::zeroed(BLOCK_SIZE)).collect();
        let mut reads: Vec<_> =
            (0..).zip(&mut bufs).map(|(at, buf)| Read { offset: offset(at), buf }).collect();
        file.read_batch(&mut reads).unwrap();
        for (buf, due) in bufs.iter().zip(&model) {
            assert!(buf.iter().all(|byte| byte == due), "thread {thread}, round {round}");
        }
        if round % 10 == 0 {
            let file = storage.create(&own, BLOCK_SIZE as u64).unwrap();
            file.write_batch(&[Write { offset: 0, bytes: &block }], Durability::Data).unwrap();
            let sealed = storage.seal(file).unwrap();
            assert!(sealed.view(0..4096).unwrap().iter().all(|&byte| byte == round + 1));
            drop(sealed);
            storage.remove(&own).unwrap();
        }
    }
    model
}

#[test]
fn eight_threads_share_a_storage_and_a_file() {
    let _signals = Interrupted::begin();
    for direct_io in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let storage = open(&dir.path().join("db"), direct_io);
        let file = storage.create(&name(), (THREADS * OWN * BLOCK_SIZE) as u64).unwrap();
        let models: Vec<_> = std::thread::scope(|scope| {
            let (storage, file) = (&storage, &file);
            let spawn = |thread| scope.spawn(move || work(storage, file, thread));
            let threads: Vec<_> = (0..THREADS).map(spawn).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let sealed = storage.seal(file).unwrap();
        let view = sealed.view(0..sealed.len_bytes()).unwrap();
        for (block, due) in view.chunks(BLOCK_SIZE).zip(models.concat()) {
            assert!(block.iter().all(|&byte| byte == due));
        }
    }
}

/// Clause 6, seen on the disk: seven threads write without syncing, and then an eighth makes one
/// block durable.
fn check_cut(file: &UringFile, mount: &Mount, durability: Durability, direct_io: bool, round: u8) {
    let mut block = AlignedBuf::zeroed(BLOCK_SIZE);
    block.fill(round);
    let write = |at: usize, durability| {
        let write = Write { offset: (at * BLOCK_SIZE) as u64, bytes: &block };
        file.write_batch(&[write], durability).unwrap();
    };
    let returned = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..7 {
            let (write, returned) = (&write, &returned);
            scope.spawn(move || {
                (0..OWN).for_each(|at| write(thread * OWN + at, Durability::Deferred));
                returned.wait();
            });
        }
        returned.wait();
        write(7 * OWN, durability);
    });
    let after = mount.after_power_cut().unwrap();
    let storage = open(&after.path().join("db"), direct_io);
    let view = storage.open_sealed(&name()).unwrap();
    let view = view.view(0..(7 * OWN + 1) as u64 * 4096).unwrap();
    let lost = view.chunks(BLOCK_SIZE).filter(|block| block.iter().any(|&byte| byte != round));
    assert_eq!(lost.count(), 0, "blocks lost in round {round}, direct: {direct_io}");
}

#[test]
fn a_durable_write_covers_every_write_that_had_returned() {
    let Some(mount) = mounted(Mount::ext4_with(32 << 20, &[], "commit=300")) else { return };
    for direct_io in [true, false] {
        let storage = open(&mount.path().join("db"), direct_io);
        let file = storage.create(&name(), (THREADS * OWN * BLOCK_SIZE) as u64).unwrap();
        storage.sync_dir().unwrap();
        let _signals = Interrupted::begin();
        for (round, durability) in (1..).zip([Durability::Data, Durability::Data, Durability::Full])
        {
            check_cut(&file, &mount, durability, direct_io, round);
        }
        drop(file);
        storage.remove(&name()).unwrap();
    }
}
