//! Scrubbing: every byte with a checksum is read from the media now and then, beside everything
//! else and no faster than it was asked to.
//!
//! Keeps no lock while it reads, and holds one file at a time. What a checkpoint takes away
//! meanwhile is no fault, and is not read; what is written meanwhile is for the next time.

use crate::damage::{Corruption, Damage};
use crate::database::{Core, Database};
use crate::error::OpenError;
use crate::limits::NUMBER_MAX;
use crate::log::LogPosition;
use crate::log::live::header_in;
use crate::log::scan::{FramePlace, Stop, scan_file};
use crate::log::segment::{self, SegmentHeader};
use crate::log::window::PiecePool;
use crate::manifest::Manifest;
use crate::record::RecordFault;
use crate::root;
use crate::sealed::{FileKind, FileRef, SealedReader};
use crate::state::decode_all;
use crate::verify::{Fault, missing};
use gannet_storage::{Error as StorageError, ReadFile, Storage};
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::time::Duration;

/// How a scrub works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubOptions {
    /// Bytes read a second at the most; 0, the default, for as many as there are.
    pub bytes_per_s: u64,
}

/// How far a scrub is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubProgress {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes in all, as far as is known when it begins.
    pub total_bytes: u64,
}

/// What a scrub read and found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ScrubReport {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Everything that is not as it was written.
    pub faults: Vec<Fault>,
    /// The caller did not end it before all was read.
    pub is_complete: bool,
}

/// What there is to read.
struct Extent {
    database: [u8; 16],
    /// A manifest's reference is not kept: it vouches for itself.
    files: BTreeMap<(FileKind, u64), Option<FileRef>>,
    /// Closed segments.
    segments: Range<u64>,
    /// Where the last of them ends.
    log_end: LogPosition,
    total_bytes: u64,
}

/// A scrub under way.
struct Scrub<'s, S: Storage> {
    core: &'s Core<S>,
    options: ScrubOptions,
    progress: &'s mut dyn FnMut(ScrubProgress) -> ControlFlow<()>,
    begun: Duration,
    report: ScrubReport,
    total_bytes: u64,
}

/// The caller wants no more, or the file is not as it was written.
enum Ended {
    Cancelled,
    Fault(OpenError),
}

impl<E: Into<OpenError>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

impl<S: Storage> Database<S> {
    /// Reads the files of both checkpoints and all of the log behind the older one, checks their
    /// checksums, and names every fault. Reads and commits go on: they wait only while the log
    /// changes to a new segment, when it begins. Where the storage has a cache it is passed by, as
    /// far as the system does that. Checkpoints go on too: a file that they need no more is not
    /// read, or is removed by the next one.
    ///
    /// `progress` is called at least once a MiB and every 100 ms of waiting; it may use the
    /// database, and ends the scrub if it breaks.
    ///
    /// # Errors
    /// The log cannot be changed to a new segment, which poisons the database, or the directory
    /// cannot be listed. Faults are in the report.
    pub fn scrub(
        &self,
        options: &ScrubOptions,
        progress: &mut dyn FnMut(ScrubProgress) -> ControlFlow<()>,
    ) -> Result<ScrubReport, StorageError> {
        let core = &*self.core;
        let extent = core.scrub_extent()?;
        let mut scrub = Scrub {
            core,
            options: options.clone(),
            progress,
            begun: core.clock.now(),
            report: ScrubReport::default(),
            total_bytes: extent.total_bytes,
        };
        if scrub.read_all(&extent).is_continue() {
            scrub.report.is_complete = true;
        }
        Ok(scrub.report)
    }
}

impl<S: Storage> Core<S> {
    /// Ends the active segment, and tells what there is then.
    fn scrub_extent(&self) -> Result<Extent, StorageError> {
        // A checkpoint writes the root, which may be read here.
        let one = self.upkeep.lock();
        let guard = self.poison_on_panic();
        let mut writer = self.exclusive();
        let mut segments = 0..0;
        // Of a poisoned database nobody knows where the log ends.
        let is_poisoned = self.check_poison().is_err();
        if !is_poisoned {
            writer.log.rotate(&self.storage).inspect_err(|_| self.poison())?;
            segments = writer.manifest.log_first..writer.log.next_number();
        }
        let (database, log_end) = (writer.database, writer.log.end());
        let mut manifests = vec![(Some(writer.manifest.clone()), writer.manifest_number)];
        match &writer.older {
            Some((older, number)) => manifests.push((Some(older.clone()), *number)),
            None => manifests.extend(self.older_by_root(database)),
        }
        drop(writer);
        drop(guard);
        drop(one);
        let mut files = BTreeMap::new();
        for (manifest, number) in manifests {
            files.extend(number.map(|number| ((FileKind::Manifest, number), None)));
            let Some(manifest) = manifest else { continue };
            let named = manifest.files();
            files.extend(named.map(|(kind, file)| ((kind, file.number), Some(file))));
            if !is_poisoned {
                segments.start = segments.start.min(manifest.log_first);
            }
        }
        let listed = self.storage.list()?;
        let is_read = |name| match (FileKind::of_name(name), segment::number_of(name)) {
            (Some(file), _) => files.contains_key(&file),
            (None, number) => number.is_some_and(|number| segments.contains(&number)),
        };
        let total_bytes = listed.iter().filter(|m| is_read(&m.name)).map(|m| m.len_bytes).sum();
        Ok(Extent { database, files, segments, log_end, total_bytes })
    }

    /// What the slots name, while no checkpoint has been made since the database was opened. A
    /// manifest that cannot be read is a fault when its turn comes.
    fn older_by_root(&self, database: [u8; 16]) -> Vec<(Option<Manifest>, Option<u64>)> {
        let slots = root::look(&self.storage).unwrap_or_default().into_iter().flatten();
        let of_slot = |slot: root::Slot| match slot.manifest {
            None => (Some(Manifest::empty()), None),
            Some(file) => {
                let manifest = Manifest::read(&self.storage, database, &file);
                (manifest.ok(), Some(file.number))
            }
        };
        slots.filter(|slot| slot.database == database).map(of_slot).collect()
    }

    /// The first segment that a checkpoint needs, and whether one names a file. Before the first
    /// checkpoint since the opening nothing was taken away.
    fn needs(&self, file: (FileKind, u64)) -> (u64, bool) {
        let writer = self.exclusive();
        let Some((older, older_number)) = &writer.older else { return (0, true) };
        let is_named = |manifest: &Manifest, number: Option<u64>| {
            let mut files = manifest.files().map(|(kind, file)| (kind, file.number));
            number.map(|number| (FileKind::Manifest, number)) == Some(file)
                || files.any(|named| named == file)
        };
        let is_needed =
            is_named(older, *older_number) || is_named(&writer.manifest, writer.manifest_number);
        (older.log_first, is_needed)
    }
}

impl<S: Storage> Scrub<'_, S> {
    fn read_all(&mut self, extent: &Extent) -> ControlFlow<()> {
        for (&file, reference) in &extent.files {
            let read = self.read_sealed(extent.database, file, reference.as_ref());
            self.note(read, |core| core.needs(file).1)?;
        }
        let pool = PiecePool::default();
        for number in extent.segments.clone() {
            let read = self.read_segment(extent, number, &pool);
            self.note(read, |core| number >= core.needs((FileKind::Manifest, NUMBER_MAX)).0)?;
        }
        ControlFlow::Continue(())
    }

    /// Takes note of a file that was read; a fault of one that is needed no more is none.
    fn note(
        &mut self,
        read: Result<(), Ended>,
        is_needed: impl Fn(&Core<S>) -> bool,
    ) -> ControlFlow<()> {
        match read {
            Ok(()) => self.report.files += 1,
            Err(Ended::Cancelled) => return ControlFlow::Break(()),
            Err(Ended::Fault(fault)) if is_needed(self.core) => {
                self.report.files += 1;
                self.report.faults.push(fault.into());
            }
            Err(Ended::Fault(_)) => {}
        }
        ControlFlow::Continue(())
    }

    fn read_sealed(
        &mut self,
        database: [u8; 16],
        (kind, number): (FileKind, u64),
        file: Option<&FileRef>,
    ) -> Result<(), Ended> {
        let storage = &self.core.storage;
        let reader = match file {
            Some(file) => SealedReader::open(storage, kind, database, file),
            None => SealedReader::open_damaged(storage, (kind, number), Some(database), None),
        };
        let reader = reader.map_err(missing)?;
        reader.discard_cache()?;
        let mut is_cancelled = false;
        let verified = reader.verify_steps(&mut |bytes| {
            let step = self.step(bytes);
            is_cancelled |= step.is_break();
            step
        });
        if is_cancelled {
            return Err(Ended::Cancelled);
        }
        verified.map(drop).map_err(Ended::Fault)
    }

    fn read_segment(
        &mut self,
        extent: &Extent,
        number: u64,
        pool: &PiecePool,
    ) -> Result<(), Ended> {
        let storage = &self.core.storage;
        let name = segment::file_name(number);
        let header_of = |number| -> Result<(S::Sealed, SegmentHeader), OpenError> {
            let name = segment::file_name(number);
            let file = storage.open_sealed(&name).map_err(|error| missing(error.into()))?;
            let header = header_in(&file, extent.database, number)?;
            let header = header.ok_or_else(|| Corruption::new(&name, 0, Damage::LostRecords))?;
            Ok((file, header))
        };
        let (file, header) = header_of(number)?;
        file.discard_cache()?;
        let joint = if number + 1 < extent.segments.end {
            header_of(number + 1)?.1.prev
        } else {
            extent.log_end
        };
        let mut is_cancelled = false;
        let scan = scan_file(storage, &file, &header, Some(joint), pool, |frame, body| {
            if self.step(body.len() as u64).is_break() {
                is_cancelled = true;
                return Err("".into());
            }
            decode_all(frame.records, body, |_| Ok(()))
        })?;
        if is_cancelled {
            return Err(Ended::Cancelled);
        }
        let corrupt = |offset: usize, damage, (first, last)| {
            Err(Corruption::new(&name, offset as u64, damage).lsns(first, last).into())
        };
        match scan.stop {
            Stop::Joint => Ok(()),
            Stop::Newer { offset, newer } => {
                Err(OpenError::newer_at(&name, offset as u64, newer).into())
            }
            Stop::Record { frame: FramePlace { body_at, .. }, fault } => match fault {
                RecordFault::Newer(newer) => {
                    Err(OpenError::newer_at(&name, body_at as u64, newer).into())
                }
                RecordFault::Field(field) => {
                    corrupt(body_at, Damage::Field(field), (scan.end.lsn + 1, joint.lsn))
                }
            },
            Stop::Clean | Stop::Bad { .. } => {
                corrupt(scan.end_at, Damage::LostRecords, (scan.end.lsn + 1, joint.lsn))
            }
        }
    }

    /// So many bytes more were read: tells, and waits until they may have been.
    fn step(&mut self, bytes: u64) -> ControlFlow<()> {
        const WAIT_MAX: Duration = Duration::from_millis(100);
        self.report.bytes += bytes;
        let due = match self.options.bytes_per_s {
            0 => self.begun,
            rate => {
                let nanos = u128::from(self.report.bytes) * 1_000_000_000 / u128::from(rate);
                self.begun + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
        };
        loop {
            let ScrubReport { files, bytes, .. } = self.report;
            let total_bytes = self.total_bytes;
            (self.progress)(ScrubProgress { files, bytes, total_bytes })?;
            let left = due.saturating_sub(self.core.clock.now());
            if left.is_zero() {
                return ControlFlow::Continue(());
            }
            self.core.clock.wait(left.min(WAIT_MAX));
        }
    }
}
