//! Salvage: a new database from whatever can be had of a damaged one.
//!
//! Keeps the order in which a history is put together again: from the newest checkpoint that is
//! whole, or else from the oldest that there is, through the log, with every later checkpoint
//! setting right what it can. The damaged database is only read. What there is of it is found by
//! `found`, read by `checkpoint` and `log`, and written, in ordinary commits, by `taker`.

mod checkpoint;
mod error;
mod found;
mod keys;
mod log;
mod report;
mod taker;

pub use error::SalvageError;
pub use report::{FileDamage, Loss, Lost, SalvageProgress, SalvageReport};

use crate::config::Config;
use crate::damage::Lsn;
use crate::database::Database;
use crate::limits::NUMBER_MAX;
use crate::log::frame::FrameHeader;
use crate::manifest::Manifest;
use crate::sealed::FileKind;
use checkpoint::Files;
use found::{Found, FoundSegment, Trust};
use gannet_storage::Storage;
use log::{Told, read_segment};
use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, ControlFlow, RangeInclusive};
use taker::Taker;

/// Makes a new database in the empty storage `to` from everything that can be had of the one in
/// `from`, which no running program may use and which is only read: nothing of it is changed, nor
/// made durable. Unlike opening it skips what is damaged and goes on behind it, so that the new
/// database may be in a state that never was; the report says what is lost, and what was applied
/// behind missing records.
///
/// Every byte that is taken has a checksum that matches. Rows, keys and records are committed
/// strictly, about 1 MiB at a time; graphs are built anew at the end. Of the old database one step
/// of a file is in memory, and the ids of live rows. What the device does not give back is left
/// out, and not asked for again. A backend that maps files cannot leave it out: use another one for
/// a failing device.
///
/// A salvage that fails or is killed leaves a new database that is not complete, and is not marked
/// so: delete it and begin again.
///
/// # Errors
/// [`SalvageError`]; damage of the old database is none.
pub fn salvage<F: Storage, T: Storage>(
    from: &F,
    to: T,
    config: Config,
    progress: &mut dyn FnMut(SalvageProgress),
) -> Result<SalvageReport, SalvageError> {
    if let Some(meta) = to.list().map_err(SalvageError::Target)?.first() {
        return Err(SalvageError::NotEmpty { file: meta.name.to_string() });
    }
    let found = found::look(from)?;
    let db = Database::open(to, config).map_err(SalvageError::Open)?;
    let Found { database, checkpoints, segments, sealed, damage, has_lost_checkpoint } = found;
    let files = Files { from, database, health: BTreeMap::new(), damage };
    let mut history = History {
        files,
        taker: Taker::new(&db),
        checkpoints: checkpoints.into(),
        at: 0,
        chain: Some(0),
        report: SalvageReport::default(),
        open_end: None,
        first_segment: 0,
        is_ours: false,
        progress,
    };
    history.begin()?;
    for (index, segment) in segments.iter().enumerate() {
        history.take_segment(segment, &segments[index + 1..])?;
        history.tell();
    }
    let last = history.checkpoints.back().map_or(0, |manifest| manifest.position.lsn);
    history.reach(last)?;
    if has_lost_checkpoint && segments.is_empty() {
        history.open_end = Some("the checkpoint behind it".to_owned());
    }
    history.end(sealed.into_iter());
    history.taker.flush()?;
    let mut report = history.finish();
    db.checkpoint(&mut |_| ControlFlow::Continue(())).map_err(SalvageError::Checkpoint)?;
    let stats = db.stats().map_err(SalvageError::Target)?;
    report.collections = stats.collections.len() as u64;
    report.rows = stats.collections.iter().map(|collection| collection.rows).sum();
    report.keyspaces = stats.keyspaces.len() as u64;
    for keyspace in &stats.keyspaces {
        let count = |_: &[u8], _: &[u8]| {
            report.keys += 1;
            ControlFlow::Continue(())
        };
        db.scan(keyspace, Bound::Unbounded, Bound::Unbounded, count).map_err(SalvageError::Read)?;
    }
    db.close().map_err(SalvageError::Close)?;
    Ok(report)
}

/// A history as it is put together.
struct History<'s, F, T: Storage> {
    files: Files<'s, F>,
    taker: Taker<'s, T>,
    /// Those that were not reached yet, in order.
    checkpoints: VecDeque<Manifest>,
    /// The last record that was reached.
    at: Lsn,
    /// The chain value after it, where it is known.
    chain: Option<u32>,
    report: SalvageReport,
    /// The file whose end cannot be had, if nothing behind it tells what was there.
    open_end: Option<String>,
    /// The first with records behind the checkpoints that were taken.
    first_segment: u64,
    /// The segment at hand is known to be of this database.
    is_ours: bool,
    progress: &'s mut dyn FnMut(SalvageProgress),
}

impl<F: Storage, T: Storage> History<'_, F, T> {
    /// Begins with the newest checkpoint that is whole: what is before it cannot add to it.
    fn begin(&mut self) -> Result<(), SalvageError> {
        let Self { files, checkpoints, .. } = self;
        let whole = checkpoints.iter().rposition(|manifest| files.is_whole(manifest));
        let Some(whole) = whole else { return Ok(()) };
        let lsn = checkpoints[whole].position.lsn;
        checkpoints.drain(..whole);
        self.reach(lsn)
    }

    /// Everything up to record `upto` was written: takes the checkpoints on the way. What is not
    /// had then is missing.
    fn reach(&mut self, upto: Lsn) -> Result<(), SalvageError> {
        while let Some(next) = self.checkpoints.front()
            && next.position.lsn <= upto
        {
            let manifest = self.checkpoints.pop_front().expect("it was just looked at");
            if manifest.position.lsn < self.at {
                continue;
            }
            if manifest.position.lsn > self.at {
                self.taker.doubt_all();
            }
            self.files.take(&manifest, &mut self.taker)?;
            self.at = manifest.position.lsn;
            self.chain = Some(manifest.position.chain);
            self.first_segment = manifest.log_first;
            self.report.checkpoints.push(self.at);
            // What they left in doubt is told by what the checkpoint's own files lack.
            self.report.holes.clear();
            self.report.behind_holes.clear();
            self.tell();
        }
        if self.at < upto {
            push(&mut self.report.holes, self.at + 1..=upto);
            self.taker.doubt_all();
            self.at = upto;
            self.chain = None;
        }
        Ok(())
    }

    fn take_segment(
        &mut self,
        segment: &FoundSegment,
        later: &[FoundSegment],
    ) -> Result<(), SalvageError> {
        if segment.number < self.first_segment {
            return Ok(());
        }
        self.is_ours = matches!(segment.trust, Trust::Whole | Trust::Named);
        // A later segment says where those before it end: what is behind was cut.
        let ends = later.iter().filter_map(|later| Some(later.header.as_ref()?.prev.lsn));
        let limit = ends.min().unwrap_or(NUMBER_MAX);
        if let Some(header) = &segment.header {
            self.reach(header.prev.lsn.min(limit))?;
            // What segments before it do not show is known to be missing now.
            self.open_end = None;
            if header.prev.lsn == self.at {
                self.chain = Some(header.prev.chain);
            }
        }
        let (from, mut damage) = (self.files.from, Vec::new());
        let each = |header: &FrameHeader, body: &[u8], chain| {
            self.take_frame(segment, header, body, chain)
        };
        let told = read_segment(from, segment, limit, &mut damage, each)?;
        let Told { durable, is_open } = told;
        self.files.damage.extend(damage);
        self.reach(durable)?;
        if is_open {
            self.open_end = Some(segment.name.to_string());
        }
        Ok(())
    }

    fn take_frame(
        &mut self,
        segment: &FoundSegment,
        header: &FrameHeader,
        body: &[u8],
        chain: u32,
    ) -> Result<(), SalvageError> {
        let (first, last) = (header.first_lsn, header.last_lsn());
        if !self.is_ours {
            // It is a segment of some database; only the chain, once it has begun, is ours alone.
            let continues = first == self.at + 1 && self.chain == Some(header.prev_chain);
            self.is_ours = self.at > 0 && continues;
            if !self.is_ours {
                return Ok(());
            }
        }
        self.reach(first - 1)?;
        let floor = self.report.checkpoints.last().copied().unwrap_or(0);
        if header.records > 0 && last <= floor {
            return Ok(());
        }
        let is_next = first == self.at + 1;
        if !is_next || self.chain.is_some_and(|chain| chain != header.prev_chain) {
            if header.records == 0 {
                return Ok(());
            }
            // A part of a history that a recovery had ended before.
            self.taker.doubt_all();
            let lsns = first.max(floor + 1)..=last;
            let reason = format!("{} has other records of these numbers", segment.name);
            self.report.lost.push(Loss::new(Lost::Records { lsns }, reason));
        }
        let (taker, report) = (&mut self.taker, &mut self.report);
        let bad = log::records(header, body, |lsn, record| {
            if lsn > floor {
                report.records += u64::from(taker.take(lsn, record)?);
            }
            Ok(())
        })?;
        if let Some(first) = bad {
            taker.doubt_all();
            let lsns = first..=last;
            let reason = "this program does not know how to read it";
            report.lost.push(Loss::new(Lost::Records { lsns }, reason));
        }
        if header.records > 0 && !report.holes.is_empty() {
            push(&mut report.behind_holes, first.max(floor + 1)..=last);
        }
        self.open_end = None;
        self.at = self.at.max(last);
        self.chain = Some(chain);
        Ok(())
    }

    /// All was read: what is still in the dark is lost.
    fn end(&mut self, files: impl Iterator<Item = (FileKind, u64)>) {
        if let Some(file) = self.open_end.take() {
            let reason = format!("{file} cannot be read to its end");
            self.report.lost.push(Loss::new(Lost::End { behind: self.at }, reason));
        }
        let report = &self.report;
        if !report.checkpoints.is_empty() || report.is_whole() {
            return;
        }
        for (kind, number) in files.filter(|(kind, _)| !kind.is_of_graph()) {
            let file = kind.file_name(number).to_string();
            let reason = "no manifest that can be read says what it is";
            self.report.lost.push(Loss::new(Lost::File { file }, reason));
        }
    }

    fn tell(&mut self) {
        let files = self.files.health.len() as u64;
        (self.progress)(SalvageProgress { files, items: self.taker.items });
    }

    fn finish(self) -> SalvageReport {
        let mut report = self.report;
        report.end_lsn = self.at;
        report.lost.extend(self.taker.into_losses());
        report.damage = self.files.damage;
        report
    }
}

/// Adds a range of records behind those that are there.
fn push(ranges: &mut Vec<RangeInclusive<Lsn>>, next: RangeInclusive<Lsn>) {
    match ranges.last_mut() {
        Some(last) if last.end() + 1 == *next.start() => *last = *last.start()..=*next.end(),
        _ => ranges.push(next),
    }
}
