//! What a search looks at one by one: rows that no graph holds yet.
//!
//! Keeps sketches of them, made by the searches that look, 64 rows at a time, and forgotten when
//! a graph that holds the rows takes the place of another; a search of a state before that may make
//! one again, which the next graph has forgotten. All states of a collection have them in common: a
//! row does not change. Who only commits makes none.

use super::Collection;
use crate::sync::RwLock;
use gannet_hnsw::{Allowed, RowSet, Rows, Sketch, SomeRows};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

/// So few of 64 rows are read as they are.
const SKETCHED_MIN: u32 = 16;
/// A search makes no more than so many sketches: it is not to wait long for what others will gain
/// by.
const MADE_MAX: usize = 8;

/// Sketches by the number of their word in a set of rows.
#[derive(Default)]
pub(super) struct Sketches(RwLock<BTreeMap<u32, Arc<Sketch>>>);

impl Sketches {
    /// Forgets what is not of rows that still wait.
    pub(super) fn keep(&self, joining: &RowSet) {
        let waits = |word: &u32| joining.words().get(*word as usize).is_some_and(|bits| *bits != 0);
        self.0.write().retain(|word, _| waits(word));
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let all = self.0.read();
        let own = size_of::<(u32, Arc<Sketch>)>() + size_of::<Sketch>();
        all.values().map(|sketch| sketch.memory_bytes() + own).sum()
    }
}

/// Some of 64 rows that wait.
pub(crate) struct Waiting {
    word: u32,
    bits: u64,
    sketch: Option<Arc<Sketch>>,
}

impl Waiting {
    pub(crate) fn rows(&self) -> SomeRows<'_> {
        SomeRows { word: self.word, bits: self.bits, sketch: self.sketch.as_deref() }
    }

    /// How many.
    pub(crate) fn count(&self) -> u32 {
        self.bits.count_ones()
    }
}

impl<V: Deref<Target = [u8]> + Send + Sync> Collection<V> {
    /// The allowed rows that no graph holds yet.
    pub(crate) fn waiting(&self, allowed: Allowed<'_>) -> Vec<Waiting> {
        if self.joining.is_empty() {
            return Vec::new();
        }
        let words = (0_u32..).zip(self.joining.words());
        let allowed = words.map(|(word, bits)| (word, bits & allowed.bits(word)));
        let mut waiting: Vec<Waiting> = {
            let sketches = self.sketches.0.read();
            let some = allowed.filter(|(_, bits)| *bits != 0);
            some.map(|(word, bits)| {
                let is_read_as_it_is = bits.count_ones() < SKETCHED_MIN;
                let sketch = if is_read_as_it_is { None } else { sketches.get(&word).cloned() };
                Waiting { word, bits, sketch }
            })
            .collect()
        };
        self.sketch_some(&mut waiting);
        waiting
    }

    /// Makes some of the sketches that are missing: none where damage is met, which is then met by
    /// who wants that row.
    fn sketch_some(&self, waiting: &mut [Waiting]) {
        let whole_words = self.row_count() / u64::BITS;
        let is_missing = |waiting: &Waiting| {
            waiting.sketch.is_none()
                && waiting.word < whole_words
                && waiting.count() >= SKETCHED_MIN
        };
        let missing = waiting.iter_mut().filter(|waiting| is_missing(waiting));
        let mut missing: Vec<&mut Waiting> = missing.take(MADE_MAX).collect();
        if missing.is_empty() {
            return;
        }
        let isa = self.graph.kernel().isa();
        let sketch = |waiting: &&mut Waiting, rows: &Rows<'_>| {
            (waiting.word, Arc::new(Sketch::new(rows, waiting.word, isa)))
        };
        let made = self.with_rows(|rows| {
            missing.iter().map(|waiting| sketch(waiting, rows)).collect::<Vec<_>>()
        });
        let Ok(made) = made else { return };
        for (waiting, (_, sketch)) in missing.iter_mut().zip(&made) {
            waiting.sketch = Some(Arc::clone(sketch));
        }
        self.sketches.0.write().extend(made);
    }
}
