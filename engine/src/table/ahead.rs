//! The blocks of a table one after the other, either way, read some ahead.
//!
//! Keeps what is asked for before it is wanted, in windows of blocks that follow each other. The
//! first window is one block, and those behind it twice as long each time: who wants few keys reads
//! little. From the second on, storage that reads in the background has some in flight.

use super::Direction;
use super::reader::{BlockBytes, FileBytes, TableReader};
use crate::error::OpenError;
use gannet_storage::{AlignedBuf, ReadQueue, SealedFile};
use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::ops::Range;
use std::sync::Arc;

/// Length of the second window, and of the longest.
const WINDOW_BYTES_MIN: u64 = 32 << 10;
const WINDOW_BYTES_MAX: u64 = 256 << 10;
/// Windows in flight at the most.
const WINDOWS_MAX: NonZeroU16 = NonZeroU16::new(4).expect("not zero");

/// See the module's documentation.
pub(super) struct Ahead<F: SealedFile> {
    table: Arc<TableReader<F>>,
    direction: Direction,
    /// Blocks that were not given out, and of them those that were not asked for.
    left: Range<usize>,
    unasked: Range<usize>,
    window_bytes: u64,
    /// In order.
    windows: VecDeque<Window<F::View>>,
    reads: Reads<F::Queue>,
    /// A buffer that is free.
    spare: Option<AlignedBuf>,
}

/// A block, and which one of its table.
type BlockOf<F> = (usize, BlockBytes<<F as SealedFile>::View>);

/// How windows are read.
enum Reads<Q> {
    /// As views, so far or for good.
    AsViews,
    Queued(Q),
}

/// Blocks that follow each other.
struct Window<V> {
    places: Range<u64>,
    /// Where the places begin among the bytes.
    start: usize,
    /// `None` while they are read.
    bytes: Option<FileBytes<V>>,
}

impl<F: SealedFile> Ahead<F> {
    pub(super) fn new(
        table: Arc<TableReader<F>>,
        blocks: Range<usize>,
        direction: Direction,
    ) -> Self {
        Self {
            table,
            direction,
            left: blocks.clone(),
            unasked: blocks,
            window_bytes: 0,
            windows: VecDeque::new(),
            reads: Reads::AsViews,
            spare: None,
        }
    }

    /// The next block, and which one it is. Who has dropped the one before lets its memory be used
    /// again.
    ///
    /// # Errors
    /// Damage; `Storage`.
    pub(super) fn next(&mut self) -> Result<Option<BlockOf<F>>, OpenError> {
        let Some(block) = take(&mut self.left, self.direction) else { return Ok(None) };
        let place = self.table.place(block)?;
        let has_it = |window: &Window<_>| {
            window.places.start <= place.start && place.end <= window.places.end
        };
        if self.windows.front().is_some_and(|window| !has_it(window))
            && let Some(Window { bytes: Some(FileBytes::Read(buf)), .. }) = self.windows.pop_front()
        {
            self.spare = Arc::into_inner(buf);
        }
        self.ask()?;
        self.wait()?;
        let window = &self.windows[0];
        let within = |at: u64| {
            window.start + usize::try_from(at - window.places.start).expect("inside a window")
        };
        let bytes = window.bytes.clone().expect("it was waited for");
        let range = within(place.start)..within(place.end);
        Ok(Some((block, self.table.block_in(place.start, bytes, range)?)))
    }

    /// Asks for a window where there is none, and for more where they are read meanwhile.
    fn ask(&mut self) -> Result<(), OpenError> {
        if matches!(self.reads, Reads::AsViews) && self.window_bytes > WINDOW_BYTES_MIN {
            self.reads = match self.table.queue(self.table.reads_ahead(WINDOWS_MAX))? {
                Some(queue) => Reads::Queued(queue),
                None => Reads::AsViews,
            };
        }
        let depth = self.table.reads_ahead(WINDOWS_MAX);
        let wanted = match self.reads {
            Reads::AsViews => 1,
            Reads::Queued(_) => usize::from(depth.get()),
        };
        while self.windows.len() < wanted && !self.unasked.is_empty() {
            let places = self.next_window()?;
            let window = match &mut self.reads {
                Reads::AsViews => {
                    self.table.prefetch(places.clone());
                    let bytes = self.table.view(places.clone())?;
                    Window { places, start: 0, bytes: Some(bytes) }
                }
                Reads::Queued(queue) => {
                    let (around, within) = self.table.around(&places)?;
                    let len = usize::try_from(around.end - around.start).expect("inside a file");
                    let spare = self.spare.take().filter(|buf| buf.len() == len);
                    let buf = spare.unwrap_or_else(|| AlignedBuf::zeroed(len));
                    let refused = queue.submit(places.start, around.start, buf);
                    assert!(refused.is_ok(), "no more are in flight than it takes");
                    Window { places, start: within.start, bytes: None }
                }
            };
            self.windows.push_back(window);
            if wanted == 1 {
                self.prefetch()?;
            }
        }
        Ok(())
    }

    /// Lets the operating system read the window behind those that were asked for.
    fn prefetch(&self) -> Result<(), OpenError> {
        if self.unasked.is_empty() {
            return Ok(());
        }
        let (first, last) = (self.unasked.start, self.unasked.end - 1);
        let all = self.table.place(first)?.start..self.table.place(last)?.end;
        self.table.prefetch(match self.direction {
            Direction::Forward => all.start..all.end.min(all.start + self.window_bytes),
            Direction::Backward => {
                all.start.max(all.end.saturating_sub(self.window_bytes))..all.end
            }
        });
        Ok(())
    }

    /// Takes the blocks of the next window.
    fn next_window(&mut self) -> Result<Range<u64>, OpenError> {
        let first = take(&mut self.unasked, self.direction).expect("there are some");
        let mut places = self.table.place(first)?;
        while places.end - places.start < self.window_bytes {
            let Some(next) = take(&mut self.unasked, self.direction) else { break };
            let next = self.table.place(next)?;
            places = places.start.min(next.start)..places.end.max(next.end);
        }
        self.window_bytes = (2 * self.window_bytes).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        Ok(places)
    }

    /// Waits for the first window.
    fn wait(&mut self) -> Result<(), OpenError> {
        let Reads::Queued(queue) = &mut self.reads else { return Ok(()) };
        while self.windows[0].bytes.is_none() {
            let done = queue.wait().expect("it is in flight");
            done.result?;
            let of = |window: &&mut Window<_>| window.places.start == done.tag;
            let window = self.windows.iter_mut().find(of).expect("it was asked for");
            window.bytes = Some(FileBytes::Read(Arc::new(done.buf)));
        }
        Ok(())
    }
}

/// Takes the next of some blocks.
fn take(blocks: &mut Range<usize>, direction: Direction) -> Option<usize> {
    match direction {
        Direction::Forward => blocks.next(),
        Direction::Backward => blocks.next_back(),
    }
}
