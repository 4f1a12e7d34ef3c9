//! Records that are put again and again: how long single puts wait, and what that leaves behind.
//!
//! Every record is put as many times again, one a commit, in random order; then every second one is
//! deleted. The longest waits are those for tables to be written and merged. Bytes on the disk are
//! taken as they are at the end, and after the store was made as small as it gets and closed.

use crate::data::{self, Random};
use crate::million::disk_bytes;
use crate::report::{Sample, Unit};
use crate::store::{Kind, Mode, Open, Result};
use crate::work::{self, Size, as_f64};
use std::path::Path;
use std::time::{Duration, Instant};

/// Its name on the command line.
pub(crate) const NAME: &str = "overwrite";

/// How often each record is put again, on average.
const TIMES: u64 = 10;

/// A round.
pub(crate) fn round(
    kind: Kind,
    dir: &Path,
    size: Size,
    each: &mut dyn FnMut(Sample),
) -> Result<()> {
    let mode = Mode::Buffered;
    let store = kind.open(&Open { cache_bytes: 64 << 20, ..Open::new(dir, mode) })?;
    let settings = store.settings();
    work::load(&*store, size.records)?;
    let mut took: Vec<Duration> = Vec::new();
    {
        let (mut session, mut random) = (store.session()?, Random::new(1));
        for generation in 1..=TIMES * size.records {
            let number = random.below(size.records);
            let (key, value) = (data::key(number), data::value(number, generation));
            let begin = Instant::now();
            session.put(&key, &value)?;
            took.push(begin.elapsed());
        }
        for number in (0..size.records).step_by(2) {
            session.delete(&data::key(number))?;
        }
        for number in (0..size.records).step_by(101) {
            let is_there = session.get(&data::key(number), &mut |_| {})?;
            if is_there != (number % 2 == 1) {
                return Err(format!("record {number}, which is to be deleted or not").into());
            }
        }
    }
    store.sync()?;
    let before = disk_bytes(dir)?;
    store.compact()?;
    let after = disk_bytes(dir)?;
    let sample = |workload, unit, value| Sample {
        workload,
        kind,
        settings: settings.clone(),
        mode,
        threads: 1,
        unit,
        value,
    };
    let seconds: f64 = took.iter().map(Duration::as_secs_f64).sum();
    each(sample("overwrite-put", Unit::PerSecond, as_f64(took.len() as u64) / seconds));
    took.sort_unstable();
    let at = |of_10000: usize| took[(took.len() - 1) * of_10000 / 10_000].as_secs_f64();
    for (workload, of_10000) in [
        ("overwrite-put-p50", 5000),
        ("overwrite-put-p99", 9900),
        ("overwrite-put-p99.9", 9990),
        ("overwrite-put-p99.99", 9999),
        ("overwrite-put-longest", 10_000),
    ] {
        each(sample(workload, Unit::Seconds, at(of_10000)));
    }
    each(sample("overwrite-disk", Unit::Megabytes, as_f64(before) / 1e6));
    each(sample("overwrite-disk-compacted", Unit::Megabytes, as_f64(after) / 1e6));
    Ok(())
}
