//! Rows inserted into a live collection: durable commits, the graph behind them, searches beside.
//!
//! `live [--data FILE] [--dir DIR] [--rows N] [--burst N] [--batches N] [--seconds S]
//! [--rounds N] [--backend auto]`
//!
//! FILE is `.u8bin` or `.fbin` (u32 rows, u32 dims, rows); without one, rows are made. One database
//! has `--rows` of them in its graph. What is inserted there lies between two of them. Each round:
//!
//! * raw: as many bytes as a record has are written to a file and synced, `--burst` times;
//! * burst: as many strict commits of one row each, and until the graph holds them;
//! * batches: strict bulk commits of 1,000 of the rows each into a new collection, and until its
//!   graph holds them.
//!
//! Then, `--seconds` each, strict commits of one row alone, and beside searches one after the other
//! and one every 2 ms. Who commits waits when more than `max_pending_rows` are behind the graph.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use gannet::storage::DirOptions;
use gannet::{AnyStorage, Backend, Config, Database, Metric, Params, SearchOptions, WriteBatch};
use gannet_benches::Random;

#[path = "../../hnsw/examples/vectors/mod.rs"]
#[expect(dead_code, reason = "examples of another crate use the rest")]
mod vectors;

const NAME: &str = "rows";
const BATCH_ROWS: u64 = 1000;
/// Bytes of a frame and a record beside the vector, about.
const RECORD_OVERHEAD: usize = 100;
/// The file of raw writes is written over from its beginning when it is so long.
const RAW_LEN: usize = 64 << 20;

/// Between searches that are not to fill a core.
const PACE: Duration = Duration::from_millis(2);
/// Commits made ahead, more than a second takes.
const COMMITS_A_SECOND: u64 = 8000;

type Failure = Box<dyn Error + Send + Sync>;

struct Args {
    data: Option<String>,
    dir: Option<PathBuf>,
    rows: u64,
    burst: u64,
    batches: u64,
    seconds: u64,
    rounds: u64,
    backend: Backend,
}

impl Args {
    fn read() -> Result<Self, Failure> {
        let mut args = Self {
            data: None,
            dir: None,
            rows: 3000,
            burst: 200,
            batches: 2,
            seconds: 1,
            rounds: 1,
            backend: Backend::Auto,
        };
        let mut words = env::args().skip(1);
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            match &*name {
                "--data" => args.data = Some(value),
                "--dir" => args.dir = Some(value.into()),
                "--rows" => args.rows = value.parse()?,
                "--burst" => args.burst = value.parse()?,
                "--batches" => args.batches = value.parse()?,
                "--seconds" => args.seconds = value.parse()?,
                "--rounds" => args.rounds = value.parse()?,
                "--backend" => args.backend = value.parse()?,
                _ => return Err(format!("{name} is not known").into()),
            }
        }
        Ok(args)
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::read()?;
    let dir = tempfile::tempdir_in(args.dir.clone().unwrap_or_else(env::temp_dir))?;
    let mut bed = Bed::new(dir.path(), &args)?;
    let mut out = io::stdout().lock();
    let mut rounds = Vec::new();
    for number in 0..args.rounds {
        let round = bed.round(&args, number)?;
        writeln!(out, "{round:.1?}")?;
        rounds.push(round);
    }
    let median = |of: fn(&Round) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    };
    writeln!(
        out,
        "medians: raw {:.0} a second, burst {:.3} of it, batches {:.0} rows/s, {:.0} in the graph",
        median(|round| round.raw),
        median(|round| round.burst / round.raw),
        median(|round| round.batches),
        median(|round| round.indexed),
    )?;
    writeln!(out, "nobody searches: {}", bed.sustained(&args)?)?;
    writeln!(out, "searches one after the other: {}", bed.sustained_beside(&args, None)?)?;
    writeln!(out, "a search every 2 ms: {}", bed.sustained_beside(&args, Some(PACE))?)?;
    Ok(())
}

/// A second, of each.
#[derive(Debug)]
struct Round {
    /// Writes with a sync.
    raw: f64,
    /// Commits of one row.
    burst: f64,
    /// Rows in batches, acknowledged.
    batches: f64,
    /// The same, until the graph holds them.
    indexed: f64,
}

/// A database, and the vectors that it is fed with.
struct Bed {
    db: Database<AnyStorage>,
    raw: File,
    vectors: Vec<Vec<f32>>,
    random: Random,
    next_id: u64,
}

impl Bed {
    fn new(dir: &Path, args: &Args) -> Result<Self, Failure> {
        let vectors = read(args)?;
        let storage = AnyStorage::open(args.backend, &dir.join("database"), &DirOptions::create())?;
        let db = Database::open(storage, Config::balanced())?;
        let raw = File::create_new(dir.join("raw"))?;
        raw.write_all_at(&vec![1; RAW_LEN], 0)?;
        raw.sync_all()?;
        let mut bed = Self { db, raw, vectors, random: Random::new(7), next_id: 0 };
        bed.db.create_collection(NAME, Params::new(bed.dims(), Metric::L2))?;
        while bed.next_id < args.rows {
            let end = args.rows.min(bed.next_id + BATCH_ROWS);
            bed.db.commit(bed.bulk(NAME, bed.next_id..end))?;
            bed.next_id = end;
        }
        bed.db.checkpoint(&mut |_| ControlFlow::Continue(()))?;
        Ok(bed)
    }

    fn dims(&self) -> u32 {
        self.vectors.first().map_or(0, |vector| u32::try_from(vector.len()).expect("few"))
    }

    /// A vector between two of those there are.
    fn vector(&mut self) -> Vec<f32> {
        let len = u32::try_from(self.vectors.len()).expect("rows are numbered by 32 bits");
        let mut one = || &self.vectors[self.random.below(len) as usize];
        let (one, other) = (one(), one());
        one.iter().zip(other).map(|(a, b)| 0.75 * a + 0.25 * b).collect()
    }

    /// The rows themselves.
    fn bulk(&self, name: &str, ids: Range<u64>) -> WriteBatch {
        let mut batch = WriteBatch::new();
        batch.set_bulk(true);
        let start = usize::try_from(ids.start).expect("rows in memory");
        for (id, vector) in ids.zip(self.vectors.iter().cycle().skip(start)) {
            batch.insert(name, id, vector);
        }
        batch
    }

    /// So many commits of one row.
    fn singles(&mut self, count: u64) -> Vec<WriteBatch> {
        let mut all = Vec::new();
        for _ in 0..count {
            let mut batch = WriteBatch::new();
            batch.insert(NAME, self.next_id, &self.vector());
            self.next_id += 1;
            all.push(batch);
        }
        all
    }

    fn round(&mut self, args: &Args, number: u64) -> Result<Round, Failure> {
        let raw = a_second(args.burst, self.raw_writes(args.burst)?);
        let singles = self.singles(args.burst);
        let burst = a_second(args.burst, self.commit(singles)?);
        self.catch_up(NAME);
        let name = format!("batches-{number}");
        self.db.create_collection(&name, Params::new(self.dims(), Metric::L2))?;
        let ends = (0..args.batches).map(|batch| batch * BATCH_ROWS);
        let batches = ends.map(|end| self.bulk(&name, end..end + BATCH_ROWS)).collect();
        let rows = args.batches * BATCH_ROWS;
        let began = Instant::now();
        let acknowledged = a_second(rows, self.commit(batches)?);
        self.catch_up(&name);
        let indexed = a_second(rows, began.elapsed());
        Ok(Round { raw, burst, batches: acknowledged, indexed })
    }

    fn raw_writes(&self, count: u64) -> Result<Duration, Failure> {
        let bytes = vec![2; 4 * self.vectors[0].len() + RECORD_OVERHEAD];
        let began = Instant::now();
        for write in 0..count {
            let at = write * bytes.len() as u64 % (RAW_LEN - bytes.len()) as u64;
            self.raw.write_all_at(&bytes, at)?;
            self.raw.sync_data()?;
        }
        Ok(began.elapsed())
    }

    fn commit(&self, batches: Vec<WriteBatch>) -> Result<Duration, Failure> {
        let began = Instant::now();
        for batch in batches {
            self.db.commit(batch)?;
        }
        Ok(began.elapsed())
    }

    /// Until the graph holds all rows.
    fn catch_up(&self, name: &str) {
        while self.db.collection(name).is_some_and(|found| found.in_graph < found.rows) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Commits of one row each, nobody searching.
    fn sustained(&mut self, args: &Args) -> Result<String, Failure> {
        let singles = self.singles(COMMITS_A_SECOND * args.seconds);
        self.between_raw_writes(args, |bed| Ok((bed.commit_for(args, singles)?, ())))
            .map(|(told, ())| told)
    }

    /// Searches alone, then beside commits of one row each.
    fn sustained_beside(&mut self, args: &Args, pace: Option<Duration>) -> Result<String, Failure> {
        let queries: Vec<Vec<f32>> = (0..1000).map(|_| self.vector()).collect();
        let singles = self.singles(COMMITS_A_SECOND * args.seconds);
        let stop = AtomicBool::new(false);
        let search = |bed: &Self| search_until(&bed.db, &queries, pace, &stop);
        let alone = thread::scope(|scope| {
            let searches = scope.spawn(|| search(self));
            thread::sleep(Duration::from_secs(args.seconds));
            stop.store(true, Ordering::Relaxed);
            searches.join().expect("searches do not panic")
        })?;
        stop.store(false, Ordering::Relaxed);
        let (told, beside) = self.between_raw_writes(args, |bed| {
            thread::scope(|scope| {
                let searches = scope.spawn(|| search(bed));
                let commits = bed.commit_for(args, singles);
                stop.store(true, Ordering::Relaxed);
                Ok((commits?, searches.join().expect("searches do not panic")?))
            })
        })?;
        Ok(format!(
            "{told}; searches a second, p50, p99, p99.9 in us: {alone:.0?} alone, {beside:.0?} \
             beside"
        ))
    }

    /// Commits, and what they are to the raw writes before and after, in words.
    fn between_raw_writes<T>(
        &self,
        args: &Args,
        commit: impl FnOnce(&Self) -> Result<(Commits, T), Failure>,
    ) -> Result<(String, T), Failure> {
        let raw = a_second(args.burst, self.raw_writes(args.burst)?);
        let (Commits { rate, behind }, value) = commit(self)?;
        self.catch_up(NAME);
        let again = a_second(args.burst, self.raw_writes(args.burst)?);
        let told = format!(
            "{rate:.0} commits a second, {:.3} of raw ({raw:.0} before, {again:.0} after); rows \
             behind: {:?} in the middle, {:?} at most",
            rate * 2.0 / (raw + again),
            behind.get(behind.len() / 2),
            behind.last(),
        );
        Ok((told, value))
    }

    fn commit_for(&self, args: &Args, batches: Vec<WriteBatch>) -> Result<Commits, Failure> {
        let (mut count, mut took, mut behind) = (0, Duration::ZERO, Vec::new());
        let began = Instant::now();
        for batch in batches {
            took = began.elapsed();
            if took.as_secs() >= args.seconds {
                break;
            }
            self.db.commit(batch)?;
            count += 1;
            if count % 64 == 0 {
                let found = self.db.collection(NAME).expect("it is there");
                behind.push(found.rows - found.in_graph);
            }
        }
        behind.sort_unstable();
        Ok(Commits { rate: a_second(count, took), behind })
    }
}

/// One after the other.
struct Commits {
    /// A second.
    rate: f64,
    /// How many rows were not in the graph yet, least first.
    behind: Vec<u64>,
}

/// Searches one after another until `stop`: how many a second, and the times that one in two, in a
/// hundred and in a thousand took longer than, in microseconds.
fn search_until(
    db: &Database<AnyStorage>,
    queries: &[Vec<f32>],
    pace: Option<Duration>,
    stop: &AtomicBool,
) -> Result<[f64; 4], Failure> {
    let options = SearchOptions::new(10);
    let mut times = Vec::new();
    let start = Instant::now();
    for query in queries.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let began = Instant::now();
        db.search(NAME, query, &options)?;
        times.push(began.elapsed());
        if let Some(pace) = pace {
            thread::sleep(pace);
        }
    }
    let rate = a_second(times.len() as u64, start.elapsed());
    times.sort_unstable();
    let above = |one_in: usize| {
        let time = times.get(times.len() - 1 - times.len() / one_in);
        time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    };
    Ok([rate, above(2), above(100), above(1000)])
}

fn read(args: &Args) -> Result<Vec<Vec<f32>>, Failure> {
    let Some(path) = &args.data else {
        let made = gannet_benches::Vectors::clustered(5, 5000, 96, 50, Metric::L2);
        return Ok((0..made.len()).map(|row| made.vector(row).to_vec()).collect());
    };
    let found = vectors::Vectors::read(path, Metric::L2).map_err(|error| error.to_string())?;
    let dims = found.dims as usize;
    Ok((0..found.len).map(|row| found.row(row)[..dims].to_vec()).collect())
}

fn a_second(count: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let count = count as f64;
    count / time.as_secs_f64()
}
