//! Workloads with many records: loading them, what that takes, reading them, opening them again.
//!
//! Loads run in a process of their own, so that peaks of memory are theirs, and so that they can be
//! killed.

use crate::cold;
use crate::report::{Sample, Unit};
use crate::store::{Error, Kind, Mode, Open, Result};
use crate::work::{self, Action, Of, Size, as_f64};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// The first argument of a process of ours that does one of [`DUTIES`].
pub(crate) const CHILD: &str = "child";

/// What such a process does.
const DUTIES: [&str; 2] = ["load", "fill"];

/// Their names on the command line.
pub(crate) const NAMES: [&str; 2] = ["big", "reopen"];

/// Cache of stores that are loaded: what they have beyond that is in their peaks.
const LOAD_CACHE_BYTES: u32 = 64 << 20;

/// How many keys are looked for after a kill.
const PROBES: u64 = 20_000;

/// Rounds of `big`: a load, what it has left, and gets from that.
pub(crate) fn big(kind: Kind, dir: &Path, size: Size, each: &mut dyn FnMut(Sample)) -> Result<()> {
    let mut loader = spawn(DUTIES[0], kind, dir, size.records, &[])?;
    let said = said(&mut loader);
    let status = loader.wait()?;
    let said: serde_json::Value = serde_json::from_str(&said?)?;
    if !status.success() {
        return Err(format!("the load ended with {status}").into());
    }
    let told = |name: &str| said[name].as_f64().ok_or_else(|| format!("no {name} was told"));
    let settings = said["settings"].as_str().unwrap_or_default().to_owned();
    let mode = load_mode(kind);
    let sample = |workload, threads, unit, value| Sample {
        workload,
        kind,
        settings: settings.clone(),
        mode,
        threads,
        unit,
        value,
    };
    each(sample("big-load", 1, Unit::PerSecond, told("rate")?));
    each(sample("big-load-peak-rss", 1, Unit::Megabytes, told("peak_rss")?));
    each(sample("big-load-anonymous-rss-at-end", 1, Unit::Megabytes, told("anonymous_rss")?));
    each(sample("big-compact", 1, Unit::Seconds, told("compact")?));
    each(sample("big-disk", 1, Unit::Megabytes, as_f64(disk_bytes(dir)?) / 1e6));
    let store = kind.open(&Open::new(dir, Mode::Buffered))?;
    work::read_all(&*store, size.records)?;
    for threads in [1, 2] {
        let of = Of { action: Action::Get, records: size.records, phase: 0 };
        let (_, rate) = work::run(&*store, of, threads, size.time)?;
        each(sample("big-get", threads, Unit::PerSecond, rate));
    }
    Ok(())
}

/// Rounds of `reopen`: a store is filled and flushed, but nothing else, its process killed, and the
/// store opened up to its first get.
pub(crate) fn reopen(
    kind: Kind,
    dir: &Path,
    size: Size,
    each: &mut dyn FnMut(Sample),
) -> Result<()> {
    // SQLite's log of a million records in random order takes gigabytes, as it is one of pages.
    let records = if kind == Kind::Sqlite { size.records / 10 } else { size.records };
    let mut filler = spawn(DUTIES[1], kind, dir, records, &[])?;
    let said = said(&mut filler);
    filler.kill()?;
    filler.wait()?;
    if said? != "ready" {
        return Err("the records were not put".into());
    }
    let begin = Instant::now();
    let store = kind.open(&fill(dir))?;
    let mut session = store.session()?;
    work::get(&mut *session, records / 2)?;
    let time = begin.elapsed().as_secs_f64();
    let step = usize::try_from((records / PROBES).max(1))?;
    for number in (0..records).step_by(step) {
        work::get(&mut *session, number)?;
    }
    drop(session);
    let settings = format!("{}, {records} records", store.settings());
    let (workload, mode) = ("reopen-after-kill", Mode::Buffered);
    let unit = Unit::Seconds;
    each(Sample { workload, kind, settings, mode, threads: 1, unit, value: time });
    Ok(())
}

/// What a process of ours does when it is one that was started by another.
pub(crate) fn child(arguments: &[String]) -> Result<()> {
    let Some(([duty, kind, dir, records], more)) = arguments.split_first_chunk() else {
        return Err("four arguments".into());
    };
    let (kind, dir, records) = (Kind::named(kind)?, Path::new(dir), records.parse()?);
    match duty.as_str() {
        "load" => load(kind, dir, records),
        cold::LOAD => cold::load(kind, dir, records),
        cold::READ => cold::read(kind, dir, records, more),
        "fill" => {
            let store = kind.open(&fill(dir))?;
            work::load(&*store, records)?;
            store.sync()?;
            say("ready")?;
            // It is killed here.
            loop {
                std::thread::park();
            }
        }
        duty => Err(format!("no duty {duty}").into()),
    }
}

fn load(kind: Kind, dir: &Path, records: u64) -> Result<()> {
    let open = Open { cache_bytes: LOAD_CACHE_BYTES, ..Open::new(dir, load_mode(kind)) };
    let begin = Instant::now();
    let store = kind.open(&open)?;
    work::load(&*store, records)?;
    store.sync()?;
    let rate = as_f64(records) / begin.elapsed().as_secs_f64();
    let settings = store.settings();
    let (peak, anonymous) = (status_bytes("VmHWM:")?, status_bytes("RssAnon:")?);
    let begin = Instant::now();
    store.compact()?;
    let said = serde_json::json!({
        "rate": rate,
        "settings": settings,
        "peak_rss": as_f64(peak) / 1e6,
        "anonymous_rss": as_f64(anonymous) / 1e6,
        "compact": begin.elapsed().as_secs_f64(),
    });
    say(&said.to_string())
}

/// Loads are not flushed before their end; redb's buffered mode here flushes now and then.
pub(crate) fn load_mode(kind: Kind) -> Mode {
    if kind == Kind::Redb { Mode::None } else { Mode::Buffered }
}

fn fill(dir: &Path) -> Open {
    Open { is_log_kept: true, ..Open::new(dir, Mode::Buffered) }
}

pub(crate) fn spawn(
    duty: &str,
    kind: Kind,
    dir: &Path,
    records: u64,
    more: &[String],
) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([CHILD, duty, kind.name()]).arg(dir).arg(records.to_string()).args(more);
    Ok(command.stdout(Stdio::piped()).spawn()?)
}

/// The line that a child says when it is done.
pub(crate) fn said(child: &mut Child) -> Result<String> {
    let output = child.stdout.as_mut().ok_or("its output is not piped")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

pub(crate) fn say(line: &str) -> Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}

/// A field of the kernel's, of memory of this process.
fn status_bytes(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: u64 = kib.ok_or_else(|| Error::from(format!("no {field}")))?.parse()?;
    Ok(kib << 10)
}

/// What files take on the disk, without the holes in them.
pub(crate) fn disk_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let found = entry.metadata()?;
        bytes += if found.is_dir() { disk_bytes(&entry.path())? } else { 512 * found.blocks() };
    }
    Ok(bytes)
}
