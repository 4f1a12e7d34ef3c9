//! Opening after a kill, when much was written before.

use crate::Scale;
use crate::commits::{fresh, std_storage};
use gannet::{Config, Database, WriteBatch};
use gannet_benches::Random;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const VALUE_BYTES: usize = 1000;
/// So that the database stays small while the log does not.
const KEYS: u64 = 50_000;

fn config() -> Config {
    let mut config = Config::max_throughput();
    config.checkpoint_bytes = 64 << 20;
    config.log_bytes_max = 512 << 20;
    config
}

/// Writes until it is killed; says so when it has written enough.
pub(crate) fn child(dir: &Path) -> ! {
    let bytes: u64 = std::env::var("GANNET_BENCH_BYTES").expect("told").parse().expect("a number");
    let database = Database::open(std_storage(dir), config()).expect("a database");
    let mut random = Random::new(3);
    let value = random.bytes(VALUE_BYTES);
    let mut written = 0;
    loop {
        let mut batch = WriteBatch::new();
        for _ in 0..100 {
            batch.put("kv", &(random.next_u64() % KEYS).to_be_bytes(), &value);
        }
        database.commit(batch).expect("room on the disk");
        let before = written;
        written += 100 * VALUE_BYTES as u64;
        if before < bytes && written >= bytes {
            println!("written");
        }
    }
}

pub(crate) fn run(dir: &Path, scale: &Scale) {
    let dir = fresh(dir);
    let begin = Instant::now();
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .env("GANNET_BENCH_CHILD", &dir)
        .env("GANNET_BENCH_BYTES", scale.restart_bytes.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut told = [0];
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut told).expect("the child has written enough");
    child.kill().expect("a kill");
    child.wait().expect("an end");
    let wrote = begin.elapsed();
    println!("\n### Opening after a kill of a writer of {} MiB\n", scale.restart_bytes >> 20);
    println!("Puts of {VALUE_BYTES} bytes to {KEYS} keys, 100 a batch, in {wrote:.1?}; std.\n");
    println!("| round | open ms | log bytes replayed | files bytes |");
    println!("| ---: | ---: | ---: | ---: |");
    for round in 1..=scale.rounds {
        let begin = Instant::now();
        let database = Database::open(std_storage(&dir), config()).expect("it opens");
        let took = begin.elapsed().as_millis();
        let replayed = database.recovery_report().log_bytes;
        let files = database.stats().expect("a listing").file_bytes;
        println!("| {round} | {took} | {replayed} | {files} |");
    }
}
