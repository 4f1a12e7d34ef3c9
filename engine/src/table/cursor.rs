//! The versions of a table in order, either way.
//!
//! Keeps the block that it is in, unpacked, in a view of some that follow.

use super::block::{Block, Unpacked};
use super::reader::{BlockBytes, TableReader};
use super::{Direction, Entry, Which};
use crate::damage::Lsn;
use crate::error::OpenError;
use gannet_storage::SealedFile;
use std::ops::{Bound, Range};
use std::sync::Arc;

/// The first block is read alone, those behind it together: twice as many bytes each time, up to
/// this many.
const READ_BYTES_MAX: u64 = 256 << 10;
const READ_BYTES_MIN: u64 = 32 << 10;

/// See the module's documentation.
pub(crate) struct TableCursor<F: SealedFile> {
    table: Arc<TableReader<F>>,
    which: Which,
    direction: Direction,
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    /// Blocks that were not read yet.
    blocks: Range<usize>,
    view: Option<(Range<u64>, F::View)>,
    read_bytes: u64,
    bytes: Option<BlockBytes<F::View>>,
    unpacked: Unpacked,
    /// Entries of the block that were not looked at yet.
    entries: Range<usize>,
    /// Going forward: the last key of the block before.
    last_key: Vec<u8>,
    /// And: a version was found of the key that the next entry may have too.
    is_answered: bool,
    at: At,
}

/// The version it is at.
#[derive(Debug)]
enum At {
    End,
    /// An entry of the block.
    Entry(usize),
    /// One of a block before.
    Copy(Copied),
}

#[derive(Debug)]
struct Copied {
    key: Vec<u8>,
    lsn: Lsn,
    value: Option<Vec<u8>>,
}

impl<F: SealedFile> TableCursor<F> {
    /// At the first version in a range, in that direction.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(crate) fn new(
        table: Arc<TableReader<F>>,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        which: Which,
        direction: Direction,
    ) -> Result<Self, OpenError> {
        let first = match from {
            Bound::Included(key) | Bound::Excluded(key) => table.block_of(key)?,
            Bound::Unbounded => 0,
        };
        // Versions of a key may go on in blocks behind it.
        let end = match to {
            Bound::Included(key) | Bound::Excluded(key) => table.block_behind(key)?,
            Bound::Unbounded => table.blocks(),
        };
        let mut cursor = Self {
            table,
            which,
            direction,
            from: from.map(<[u8]>::to_vec),
            to: to.map(<[u8]>::to_vec),
            blocks: first..end,
            view: None,
            read_bytes: 0,
            bytes: None,
            unpacked: Unpacked::default(),
            entries: 0..0,
            last_key: Vec::new(),
            is_answered: false,
            at: At::End,
        };
        cursor.advance()?;
        Ok(cursor)
    }

    /// The version it is at; `None` at the end.
    pub(crate) fn entry(&self) -> Option<Entry<'_>> {
        match &self.at {
            At::End => None,
            At::Entry(index) => Some(self.entry_of(*index)),
            At::Copy(Copied { key, lsn, value }) => {
                Some(Entry { key, lsn: *lsn, value: value.as_deref() })
            }
        }
    }

    /// Goes to the next version.
    ///
    /// # Errors
    /// Damage; `Storage`. Nothing more can be had then.
    pub(crate) fn advance(&mut self) -> Result<(), OpenError> {
        let upto = match self.which {
            Which::UpTo(lsn) => lsn,
            Which::All => {
                let next = self.next()?;
                self.at = next.map_or(At::End, At::Entry);
                return Ok(());
            }
        };
        self.at = match self.direction {
            Direction::Forward => self.next_key(upto)?,
            Direction::Backward => self.key_before(upto)?,
        };
        Ok(())
    }

    /// The newest version up to `upto` of the next key that has one.
    fn next_key(&mut self, upto: Lsn) -> Result<At, OpenError> {
        while let Some(index) = self.next()? {
            if !self.goes_on(index) {
                self.is_answered = false;
            }
            if !self.is_answered && self.unpacked.lsn(index) <= upto {
                self.is_answered = true;
                return Ok(At::Entry(index));
            }
        }
        Ok(At::End)
    }

    /// Whether an entry has the key of the one before, be it of the block before.
    fn goes_on(&self, index: usize) -> bool {
        if index > 0 { self.unpacked.goes_on(index) } else { self.unpacked.key(0) == self.last_key }
    }

    /// The newest version up to `upto` of the next key before that has one.
    fn key_before(&mut self, upto: Lsn) -> Result<At, OpenError> {
        let mut found: Option<Copied> = None;
        loop {
            let Some(index) = self.peek()? else {
                return Ok(found.map_or(At::End, At::Copy));
            };
            let Entry { key, lsn, value } = self.entry_of(index);
            if found.as_ref().is_some_and(|found| found.key != key) {
                return Ok(found.map_or(At::End, At::Copy));
            }
            // Versions come oldest first.
            if lsn <= upto {
                let is_last = index > 0 && self.unpacked.key(index - 1) != key;
                if is_last {
                    self.entries.end = index;
                    return Ok(At::Entry(index));
                }
                let value = value.map(<[u8]>::to_vec);
                found = Some(Copied { key: key.to_vec(), lsn, value });
            }
            self.entries.end = index;
        }
    }

    fn entry_of(&self, index: usize) -> Entry<'_> {
        let bytes: &[u8] = self.bytes.as_deref().unwrap_or_default();
        Entry {
            key: self.unpacked.key(index),
            lsn: self.unpacked.lsn(index),
            value: self.unpacked.value(index).map(|place| &bytes[place]),
        }
    }

    /// Takes the next entry of the blocks.
    fn next(&mut self) -> Result<Option<usize>, OpenError> {
        let next = self.peek()?;
        match (next, self.direction) {
            (None, _) => {}
            (Some(index), Direction::Forward) => self.entries.start = index + 1,
            (Some(index), Direction::Backward) => self.entries.end = index,
        }
        Ok(next)
    }

    /// The next entry of the blocks.
    fn peek(&mut self) -> Result<Option<usize>, OpenError> {
        while self.entries.is_empty() {
            if self.blocks.is_empty() {
                return Ok(None);
            }
            self.load()?;
        }
        Ok(match self.direction {
            Direction::Forward => Some(self.entries.start),
            Direction::Backward => Some(self.entries.end - 1),
        })
    }

    /// Reads the next block.
    fn load(&mut self) -> Result<(), OpenError> {
        let block = match self.direction {
            Direction::Forward => self.blocks.start,
            Direction::Backward => self.blocks.end - 1,
        };
        let place = self.table.place(block)?;
        let is_there = |(there, _): &&(Range<u64>, F::View)| {
            there.start <= place.start && place.end <= there.end
        };
        let (there, view) = match self.view.as_ref().filter(is_there) {
            Some(found) => found.clone(),
            None => self.read(block, place.clone())?,
        };
        let within = |at: u64| usize::try_from(at - there.start).expect("inside a view");
        let bytes =
            self.table.block_in(place.start, view, within(place.start)..within(place.end))?;
        if let Some(last) = self.unpacked.len().checked_sub(1) {
            self.last_key.clear();
            self.last_key.extend_from_slice(self.unpacked.key(last));
        }
        let parsed = Block::new(&bytes, self.table.footer().first_lsn);
        let taken = parsed.and_then(|parsed| self.unpacked.take(&parsed));
        taken.ok_or_else(|| self.table.damaged(block))?;
        self.bytes = Some(bytes);
        let start = match &self.from {
            Bound::Included(key) => self.unpacked.count_before(key, false),
            Bound::Excluded(key) => self.unpacked.count_before(key, true),
            Bound::Unbounded => 0,
        };
        let end = match &self.to {
            Bound::Included(key) => self.unpacked.count_before(key, true),
            Bound::Excluded(key) => self.unpacked.count_before(key, false),
            Bound::Unbounded => self.unpacked.len(),
        };
        self.entries = start..end.max(start);
        match self.direction {
            Direction::Forward => self.blocks.start += 1,
            Direction::Backward => self.blocks.end -= 1,
        }
        Ok(())
    }

    /// Reads a block with some that follow it.
    fn read(
        &mut self,
        block: usize,
        place: Range<u64>,
    ) -> Result<(Range<u64>, F::View), OpenError> {
        let mut range = place;
        let mut more = match self.direction {
            Direction::Forward => block + 1..self.blocks.end,
            Direction::Backward => self.blocks.start..block,
        };
        while range.end - range.start < self.read_bytes {
            let next = match self.direction {
                Direction::Forward => more.next(),
                Direction::Backward => more.next_back(),
            };
            let Some(next) = next else { break };
            let next = self.table.place(next)?;
            range = range.start.min(next.start)..range.end.max(next.end);
        }
        self.read_bytes = (2 * self.read_bytes).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        let view = self.table.view(range.clone())?;
        self.view = Some((range.clone(), view.clone()));
        Ok((range, view))
    }
}
