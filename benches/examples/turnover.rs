//! Deletes and inserts again every row of a database, over and over, and compares it with one that
//! was made of the same rows at once: recall, searches a second, memory, files.
//!
//! `turnover [--data FILE] [--queries FILE] [--dir DIR] [--turnovers N] [--ef N] [--backend auto]`
//!
//! Files are `.u8bin` or `.fbin` (u32 rows, u32 dims, rows); without them, rows are made. A
//! turnover deletes 1,000 rows in one commit and inserts them in the next, until all had their
//! turn: in random order, the oldest first, and cluster by cluster. Meanwhile a thread searches,
//! and rests a millisecond between searches. After each turnover the database is compacted, and
//! both are searched in turns, one query a call.

use std::error::Error;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use gannet::storage::DirOptions;
use gannet::{
    AnyStorage, Backend, Config, Database, Ef, Id, Metric, Params, SearchOptions, WriteBatch,
};
use gannet_benches::Random;

#[path = "../../hnsw/examples/vectors/mod.rs"]
#[expect(dead_code, reason = "examples of another crate use the rest")]
mod vectors;

const NAME: &str = "rows";
const CENTRES: &str = "centres";
const K: usize = 10;
const BATCH_ROWS: usize = 1000;
const CLUSTERS: usize = 64;
/// Between searches beside changes.
const PACE: Duration = Duration::from_millis(1);
/// At most so many queries, the first of the file.
const QUERIES: usize = 2000;
/// Passes over all queries, of each database in turn.
const PASSES: usize = 5;
/// Files that are not of the log, by how their names begin.
const CHECKPOINT_FILES: [&str; 4] = ["rows-", "graph-", "patch-", "dead-"];

type Failure = Box<dyn Error + Send + Sync>;
type Vectors = Vec<Vec<f32>>;

struct Args {
    data: Option<String>,
    queries: Option<String>,
    dir: Option<PathBuf>,
    turnovers: u32,
    ef: usize,
    backend: Backend,
}

impl Args {
    fn read() -> Result<Self, Failure> {
        let mut args = Self {
            data: None,
            queries: None,
            dir: None,
            turnovers: 1,
            ef: 64,
            backend: Backend::Auto,
        };
        let mut words = env::args().skip(1);
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            match &*name {
                "--data" => args.data = Some(value),
                "--queries" => args.queries = Some(value),
                "--dir" => args.dir = Some(value.into()),
                "--turnovers" => args.turnovers = value.parse()?,
                "--ef" => args.ef = value.parse()?,
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
    let (rows, queries) = read(&args)?;
    let fresh = Made::new(&dir.path().join("fresh"), &args, &rows)?;
    let truth = fresh.truth(&queries)?;
    let mut out = io::stdout().lock();
    let mut random = Random::new(11);
    for order in ["random", "oldest first", "cluster by cluster"] {
        let place = dir.path().join("churned");
        let churned = Made::new(&place, &args, &rows)?;
        let mut ids: Vec<usize> = (0..rows.len()).collect();
        if order != "oldest first" {
            shuffle(&mut ids, &mut random);
        }
        if order == "cluster by cluster" {
            let clusters = churned.clusters(&rows)?;
            ids.sort_by_key(|&id| &clusters[id]);
        }
        writeln!(out, "{order}")?;
        for turnover in 1..=args.turnovers {
            writeln!(out, "  {turnover}: {}", churned.turn_over(&ids, &rows, &queries)?)?;
            churned.db.compact(&mut |_| ControlFlow::Continue(()))?;
            let ratio = compare(&churned, &fresh, &queries)?;
            for (name, made) in [("churned", &churned), ("fresh", &fresh)] {
                writeln!(out, "    {name:>7}: {}", made.describe(&queries, &truth)?)?;
            }
            writeln!(out, "    searches a second, churned to fresh: {ratio:.3}")?;
            out.flush()?;
        }
        drop(churned);
        std::fs::remove_dir_all(&place)?;
    }
    Ok(())
}

/// A database, in which the ids of rows are their numbers.
struct Made {
    db: Database<AnyStorage>,
    ef: usize,
}

impl Made {
    fn new(place: &Path, args: &Args, rows: &[Vec<f32>]) -> Result<Self, Failure> {
        let storage = AnyStorage::open(args.backend, place, &DirOptions::create())?;
        let db = Database::open(storage, Config::balanced())?;
        let dims = u32::try_from(rows[0].len())?;
        for name in [NAME, CENTRES] {
            db.create_collection(name, Params::new(dims, Metric::L2))?;
        }
        let all: Vec<usize> = (0..rows.len()).collect();
        for ids in all.chunks(BATCH_ROWS) {
            let mut batch = inserts(ids, rows);
            batch.set_bulk(true);
            db.commit(batch)?;
        }
        let mut centres = WriteBatch::new();
        for id in (0..CLUSTERS).map(|at| at * (rows.len() / CLUSTERS)) {
            centres.insert(CENTRES, id as u64, &rows[id]);
        }
        db.commit(centres)?;
        db.compact(&mut |_| ControlFlow::Continue(()))?;
        Ok(Self { db, ef: args.ef })
    }

    /// Deletes all rows and inserts them again, beside searches.
    fn turn_over(
        &self,
        ids: &[usize],
        rows: &[Vec<f32>],
        queries: &[Vec<f32>],
    ) -> Result<String, Failure> {
        let stop = AtomicBool::new(false);
        let began = Instant::now();
        let (committed, searched) = thread::scope(|scope| {
            let searches = scope.spawn(|| self.search_until(queries, &stop));
            let committed = self.replace(ids, rows);
            stop.store(true, Ordering::Relaxed);
            (committed, searches.join().expect("searches do not panic"))
        });
        committed?;
        let searched = searched?;
        let (seconds, a_second) =
            (began.elapsed(), count(searched) / began.elapsed().as_secs_f64());
        Ok(format!("{:.1} s, beside it {a_second:.0} searches a second", seconds.as_secs_f64()))
    }

    fn replace(&self, ids: &[usize], rows: &[Vec<f32>]) -> Result<(), Failure> {
        for ids in ids.chunks(BATCH_ROWS) {
            let mut deletes = WriteBatch::new();
            for &id in ids {
                deletes.delete_row(NAME, id as u64);
            }
            self.db.commit(deletes)?;
            self.db.commit(inserts(ids, rows))?;
        }
        let is_behind =
            |found: gannet::CollectionStats| found.in_graph < found.rows || found.leaving > 0;
        while self.db.collection(NAME).is_some_and(is_behind) {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Searches one after another until `stop`, and how many there were.
    fn search_until(&self, queries: &[Vec<f32>], stop: &AtomicBool) -> Result<usize, Failure> {
        let mut searched = 0;
        for query in queries.iter().cycle() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if self.db.search(NAME, query, &self.options())?.len() != K {
                return Err("a search found fewer than there are".into());
            }
            searched += 1;
            thread::sleep(PACE);
        }
        Ok(searched)
    }

    fn options(&self) -> SearchOptions {
        let mut options = SearchOptions::new(K);
        options.ef = Ef::Fixed(self.ef);
        options
    }

    /// How far the last is that each query is to find.
    fn truth(&self, queries: &[Vec<f32>]) -> Result<Vec<f32>, Failure> {
        let mut options = SearchOptions::new(K);
        options.exact = true;
        let last = |query: &Vec<f32>| Ok(self.db.search(NAME, query, &options)?[K - 1].distance);
        queries.iter().map(last).collect()
    }

    /// Of each row, which centre it is nearest to.
    fn clusters(&self, rows: &[Vec<f32>]) -> Result<Vec<Id>, Failure> {
        let one = SearchOptions::new(1);
        let nearest = |row: &Vec<f32>| Ok(self.db.search(CENTRES, row, &one)?[0].id.clone());
        rows.iter().map(nearest).collect()
    }

    fn describe(&self, queries: &[Vec<f32>], truth: &[f32]) -> Result<String, Failure> {
        let (mut hits, mut distances) = (0, 0);
        for (query, &last) in queries.iter().zip(truth) {
            let answer = self.db.search(NAME, query, &self.options())?;
            hits += answer.iter().filter(|hit| hit.distance <= last).count();
            distances += usize::try_from(answer.how().distances)?;
        }
        let of_checkpoints =
            |name: &str| CHECKPOINT_FILES.iter().any(|kind| name.starts_with(kind));
        let stats = self.db.stats()?;
        let files = stats.files.iter().filter(|file| of_checkpoints(file.name.as_str()));
        let collection = self.db.collection(NAME).expect("it is there");
        let memory = collection.memory.total();
        Ok(format!(
            "recall@{K} {:.4}, {:.0} distances, {:.1} MB in memory, {:.1} MB of files, {} rows, {} \
             dead",
            count(hits) / count(K * queries.len()),
            count(distances) / count(queries.len()),
            megabytes(memory.heap + memory.mapped),
            megabytes(files.map(|file| file.len_bytes).sum()),
            collection.rows,
            collection.dead,
        ))
    }

    fn pass(&self, queries: &[Vec<f32>]) -> Result<f64, Failure> {
        let (options, began) = (self.options(), Instant::now());
        for query in queries {
            self.db.search(NAME, query, &options)?;
        }
        Ok(began.elapsed().as_secs_f64())
    }
}

/// Searches a second of one to those of the other: the median of some passes in turns.
fn compare(one: &Made, other: &Made, queries: &[Vec<f32>]) -> Result<f64, Failure> {
    one.pass(queries)?;
    other.pass(queries)?;
    let mut ratios = Vec::new();
    for _ in 0..PASSES {
        let took = one.pass(queries)?;
        ratios.push(other.pass(queries)? / took);
    }
    ratios.sort_by(f64::total_cmp);
    Ok(ratios[PASSES / 2])
}

fn inserts(ids: &[usize], rows: &[Vec<f32>]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for &id in ids {
        batch.insert(NAME, id as u64, &rows[id]);
    }
    batch
}

/// Rows and queries.
fn read(args: &Args) -> Result<(Vectors, Vectors), Failure> {
    if let (Some(data), Some(queries)) = (&args.data, &args.queries) {
        let mut queries = file(queries)?;
        queries.truncate(QUERIES);
        return Ok((file(data)?, queries));
    }
    let made = gannet_benches::Vectors::clustered(5, 4200, 96, 50, Metric::L2);
    let mut rows: Vectors = (0..made.len()).map(|row| made.vector(row).to_vec()).collect();
    let queries = rows.split_off(4000);
    Ok((rows, queries))
}

fn file(path: &str) -> Result<Vectors, Failure> {
    let found = vectors::Vectors::read(path, Metric::L2).map_err(|error| error.to_string())?;
    let dims = found.dims as usize;
    Ok((0..found.len).map(|row| found.row(row)[..dims].to_vec()).collect())
}

fn shuffle(ids: &mut [usize], random: &mut Random) {
    for end in (1..ids.len()).rev() {
        let below = u32::try_from(end + 1).expect("rows are numbered by 32 bits");
        ids.swap(end, random.below(below) as usize);
    }
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn count(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
