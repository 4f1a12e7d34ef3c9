//! The versions of a table in order, either way.
//!
//! Keeps the block that it is in, unpacked. Those behind it are read by `ahead`.

use super::ahead::Ahead;
use super::block::{Block, Unpacked};
use super::reader::{BlockBytes, TableReader};
use super::{Direction, Entry, Which};
use crate::damage::Lsn;
use crate::error::OpenError;
use gannet_storage::SealedFile;
use std::ops::{Bound, Range};
use std::sync::Arc;

/// See the module's documentation.
pub(crate) struct TableCursor<F: SealedFile> {
    table: Arc<TableReader<F>>,
    which: Which,
    direction: Direction,
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    /// Blocks that it was not in.
    blocks: Ahead<F>,
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
            blocks: Ahead::new(Arc::clone(&table), first..end, direction),
            table,
            which,
            direction,
            from: from.map(<[u8]>::to_vec),
            to: to.map(<[u8]>::to_vec),
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
            if !self.load()? {
                return Ok(None);
            }
        }
        Ok(match self.direction {
            Direction::Forward => Some(self.entries.start),
            Direction::Backward => Some(self.entries.end - 1),
        })
    }

    /// Goes to the next block; whether there is one.
    fn load(&mut self) -> Result<bool, OpenError> {
        self.bytes = None;
        let Some((block, bytes)) = self.blocks.next()? else { return Ok(false) };
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
        Ok(true)
    }
}
