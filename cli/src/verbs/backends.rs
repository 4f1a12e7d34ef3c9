//! `gannet backends`: what this machine can do in a directory, found by doing it.
//!
//! Each backend opens the directory and closes it again; nothing is put there. In an empty
//! directory that makes a lock file, which is removed again under its own lock.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use gannet::storage::{Caps, DirOptions, Error as StorageError, ErrorKind, LOCK_NAME, Op};
use gannet::{AnyStorage, Backend, OpenError};
use serde::Serialize;

use crate::args::BackendsArgs;
use crate::failure::{self, Failure};
use crate::output::Output;

#[derive(Serialize)]
struct Answer {
    dir: String,
    /// Nothing was in the directory.
    is_empty: bool,
    /// Why the directory opens under no backend: locked, of somebody else.
    dir_refused: Option<String>,
    /// The backend that `auto` takes; none where the directory is refused.
    auto: Option<&'static str>,
    backends: BTreeMap<&'static str, Row>,
}

/// One backend.
#[derive(Serialize)]
struct Row {
    compiled_in: bool,
    /// Unknown where the directory is refused.
    works: Option<bool>,
    /// Why it does not work, and what can be done.
    refused: Option<String>,
    direct_io: Option<bool>,
    zero_copy_views: Option<bool>,
    fused_sync: Option<bool>,
    queue_depth_max: Option<u16>,
    details: BTreeMap<&'static str, String>,
}

/// What came of opening the directory with a backend.
enum Probed {
    Works(Caps),
    NotCompiled(String),
    Unsupported(String),
    /// What every backend would say.
    DirRefused(String),
}

pub(super) fn run(args: &BackendsArgs, out: &mut Output) -> Result<(), Failure> {
    let dir = args.dir.as_path();
    let is_empty = look(dir).map_err(|source| {
        StorageError::io(Op::OpenStorage, failure::printable(&dir.display().to_string()), source)
    })?;
    let named = [("uring", Backend::Uring), ("std", Backend::Std), ("mmap", Backend::Mmap)];
    let probed = named.map(|(name, backend)| (name, probe(dir, backend, |_| {})));
    let mut removed = Ok(());
    let auto = probe(dir, Backend::Auto, |dir| {
        if is_empty {
            removed = leave_empty(dir);
        }
    });
    removed.map_err(|source| StorageError::io(Op::Remove, LOCK_NAME, source))?;
    let dir_refused = |probed: &Probed| match probed {
        Probed::DirRefused(reason) => Some(reason.clone()),
        Probed::Works(_) | Probed::NotCompiled(_) | Probed::Unsupported(_) => None,
    };
    let answer = Answer {
        dir: dir.display().to_string(),
        is_empty,
        dir_refused: dir_refused(&auto),
        auto: if let Probed::Works(caps) = auto { Some(caps.name) } else { None },
        backends: probed.into_iter().map(|(name, probed)| (name, Row::of(probed))).collect(),
    };
    out.answer(&answer, || text(&answer, &named.map(|(name, _)| name)))
}

/// Whether the directory is empty.
fn look(dir: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(dir)?.next().transpose()?.is_none())
}

/// Opens the directory with a backend, does `meanwhile` under its lock, and closes it.
fn probe(dir: &Path, backend: Backend, meanwhile: impl FnOnce(&Path)) -> Probed {
    let mut options = DirOptions::existing();
    // A lock that another holds is an answer.
    options.lock_wait = Duration::ZERO;
    match AnyStorage::open(backend, dir, &options) {
        Ok(storage) => {
            meanwhile(dir);
            Probed::Works(storage.backend_info().caps.clone())
        }
        Err(OpenError::Storage(error)) if error.kind() == ErrorKind::Unsupported => {
            let reason = error.source().map_or_else(|| error.to_string(), failure::one_line);
            Probed::Unsupported(reason)
        }
        Err(OpenError::Storage(error)) => Probed::DirRefused(failure::one_line(&error)),
        Err(error) => Probed::NotCompiled(failure::one_line(&error)),
    }
}

/// Removes the lock file, which this process holds, from a directory that has nothing else. Who
/// waits for it sees that it is gone, and makes a new one.
fn leave_empty(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        if entry?.file_name() != LOCK_NAME {
            return Ok(());
        }
    }
    fs::remove_file(dir.join(LOCK_NAME))
}

impl Row {
    fn of(probed: Probed) -> Self {
        let compiled_in = !matches!(probed, Probed::NotCompiled(_));
        let none = |works, refused| Self {
            compiled_in,
            works,
            refused,
            direct_io: None,
            zero_copy_views: None,
            fused_sync: None,
            queue_depth_max: None,
            details: BTreeMap::new(),
        };
        match probed {
            Probed::Works(caps) => Self {
                direct_io: Some(caps.direct_io),
                zero_copy_views: Some(caps.zero_copy_views),
                fused_sync: Some(caps.fused_sync),
                queue_depth_max: Some(caps.queue_depth_max),
                details: caps.details.into_iter().collect(),
                ..none(Some(true), None)
            },
            Probed::NotCompiled(reason) | Probed::Unsupported(reason) => {
                none(Some(false), Some(reason))
            }
            Probed::DirRefused(_) => none(None, None),
        }
    }
}

fn text(answer: &Answer, order: &[&str]) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        // Paths and causes may hold anything.
        writeln!(text, "{}", failure::printable(&line)).expect("writing to a string succeeds");
    };
    let empty = if answer.is_empty { ", which is empty" } else { "" };
    line(format!("directory  {}{empty}", answer.dir));
    if let Some(reason) = &answer.dir_refused {
        line(format!("refused    {reason}"));
    }
    line(format!("auto       {}", answer.auto.unwrap_or("none")));
    line(String::new());
    let columns = |cells: [&str; 7]| {
        let [name, compiled, works, direct, mapped, fused, depth] = cells;
        format!(
            "{name:<8} {compiled:<12} {works:<6} {direct:<11} {mapped:<6} {fused:<11} {depth:>15}"
        )
    };
    line(columns([
        "backend",
        "compiled in",
        "works",
        "direct I/O",
        "maps",
        "fused sync",
        "reads in flight",
    ]));
    for &name in order {
        let row = &answer.backends[name];
        let compiled_in = yes_or_no(Some(row.compiled_in));
        let depth = row.queue_depth_max.map_or_else(|| "?".to_string(), |depth| depth.to_string());
        let [works, direct, maps, fused] =
            [row.works, row.direct_io, row.zero_copy_views, row.fused_sync].map(yes_or_no);
        line(columns([name, compiled_in, works, direct, maps, fused, &depth]));
    }
    for &name in order {
        let row = &answer.backends[name];
        if !row.details.is_empty() || row.refused.is_some() {
            line(String::new());
        }
        for (what, value) in &row.details {
            line(format!("{name:<8} {what}: {value}"));
        }
        if let Some(reason) = &row.refused {
            line(format!("{name:<8} refused: {reason}"));
        }
    }
    text
}

fn yes_or_no(answer: Option<bool>) -> &'static str {
    match answer {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    }
}
