//! Latency of commits while a checkpoint is made, and while none is.

use crate::Scale;
use crate::commits::{fresh, std_storage};
use gannet::{Config, Database, WriteBatch};
use gannet_benches::Random;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A commit is begun every so often.
const PACE: Duration = Duration::from_micros(500);
const VALUE_BYTES: usize = 1000;

pub(crate) fn run(dir: &Path, scale: &Scale) {
    let mut config = Config::balanced();
    // None but those that are asked for.
    config.checkpoint_bytes = 1 << 40;
    config.log_bytes_max = 1 << 40;
    let database = Database::open(std_storage(&fresh(dir)), config).expect("a new database");
    let mut random = Random::new(1);
    let keys = scale.checkpoint_bytes / VALUE_BYTES as u64;
    for first in (0..keys).step_by(1000) {
        let mut batch = WriteBatch::new();
        for key in first..(first + 1000).min(keys) {
            batch.put("large", &key.to_be_bytes(), &random.bytes(VALUE_BYTES));
        }
        database.commit(batch).expect("room on the disk");
    }
    println!("\n### A writer that commits 100 bytes every 500 us, strict, std\n");
    println!(
        "The checkpoint writes {} MiB; the pause is what it reports.\n",
        scale.checkpoint_bytes >> 20
    );
    println!("| round | | commits | p50 us | p99 us | most us | pause us |");
    println!("| ---: | --- | ---: | ---: | ---: | ---: | ---: |");
    let row = |round: usize, what: &str, mut times: Vec<Duration>, pause: Option<Duration>| {
        times.sort_unstable();
        let at = |permille: usize| times[(times.len() - 1) * permille / 1000].as_micros();
        let pause = pause.map_or_else(|| "-".to_owned(), |pause| pause.as_micros().to_string());
        let (p50, p99, most) = (at(500), at(990), at(1000));
        println!("| {round} | {what} | {} | {p50} | {p99} | {most} | {pause} |", times.len());
    };
    for round in 1..=scale.rounds {
        // The large keyspace is written again.
        let mut batch = WriteBatch::new();
        batch.put("large", b"round", &round.to_be_bytes());
        database.commit(batch).expect("room on the disk");
        let is_done = AtomicBool::new(false);
        let (times, took, pause) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| paced(&database, || is_done.load(Ordering::Relaxed)));
            let begin = Instant::now();
            let report = database.checkpoint(&mut |_| ControlFlow::Continue(()));
            let (report, took) = (report.expect("a checkpoint"), begin.elapsed());
            is_done.store(true, Ordering::Relaxed);
            (writer.join().expect("it ends"), took, report.pause)
        });
        row(round, "beside a checkpoint", times, Some(pause));
        let begin = Instant::now();
        row(round, "alone", paced(&database, || begin.elapsed() >= took), None);
    }
}

/// Latencies of commits, until it is time to end; at least a few.
fn paced(
    database: &Database<gannet_backend_std::StdStorage>,
    is_over: impl Fn() -> bool,
) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut due = Instant::now();
    while times.len() < 20 || !is_over() {
        let now = Instant::now();
        if now < due {
            std::thread::sleep(due - now);
        }
        due += PACE;
        let mut batch = WriteBatch::new();
        batch.put("kv", &times.len().to_be_bytes(), &[1; 100]);
        let begin = Instant::now();
        database.commit(batch).expect("room on the disk");
        times.push(begin.elapsed());
    }
    times
}
