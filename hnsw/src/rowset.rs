//! A set of row numbers: a bit a row.

/// Row numbers, in order. Takes an eighth of a byte for each number up to the highest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowSet {
    /// Bit `row % 64` of word `row / 64`; the last word is not zero.
    words: Vec<u64>,
    count: u32,
}

impl RowSet {
    /// The empty set. Allocates nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: Vec::new(), count: 0 }
    }

    /// The rows whose bits are set: bit `row % 64` of word `row / 64`.
    ///
    /// # Panics
    /// If the words have bits of rows that 32 bits do not count.
    #[must_use]
    pub fn from_words(mut words: Vec<u64>) -> Self {
        let used = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        words.truncate(used);
        let bits = words.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
        assert!(used <= (u32::MAX / 64) as usize, "{used} words of a set of rows");
        Self { words, count: u32::try_from(bits).expect("fewer rows than their numbers") }
    }

    /// Its words, as [`from_words`](Self::from_words) takes them; the last one is not zero.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Adds a row; whether it was not there.
    pub fn insert(&mut self, row: u32) -> bool {
        let (word, bit) = (row as usize / 64, 1 << (row % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.count += u32::from(is_new);
        self.words[word] |= bit;
        is_new
    }

    /// Takes a row out; whether it was there.
    pub fn remove(&mut self, row: u32) -> bool {
        if !self.contains(row) {
            return false;
        }
        self.words[row as usize / 64] &= !(1 << (row % 64));
        self.count -= 1;
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
        true
    }

    /// Adds all rows of another set. Cost: a step a word.
    pub fn insert_all(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            self.count += (more & !*word).count_ones();
            *word |= more;
        }
    }

    /// Whether a row is in it.
    #[must_use]
    #[inline]
    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// How many rows are in it.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether no row is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The highest row.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        let word = self.words.last()?;
        let before = u32::try_from(self.words.len() - 1).ok()? * 64;
        Some(before + word.ilog2())
    }

    /// How many rows below `end` are in it. Cost: a step for each word below `end`, or for each
    /// from there on, whichever are fewer.
    #[must_use]
    pub fn count_below(&self, end: u32) -> u32 {
        let (whole, bits) = (end as usize / 64, end % 64);
        let Some(rest) = self.words.get(whole) else { return self.count };
        let count = |words: &[u64]| words.iter().map(|word| word.count_ones()).sum::<u32>();
        let (below, from) = self.words.split_at(whole);
        let whole = if below.len() <= from.len() { count(below) } else { self.count - count(from) };
        whole + (rest & ((1 << bits) - 1)).count_ones()
    }

    /// The rows, in order. Cost: a step a word, and one a row.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let words = (0_u32..).zip(&self.words);
        words.flat_map(|(index, &word)| bits(word).map(move |bit| 64 * index + bit))
    }

    /// Bytes it holds on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }
}

/// The numbers of the bits of a word that are set, in order.
pub(crate) fn bits(word: u64) -> impl Iterator<Item = u32> {
    let some = |rest: u64| Some(rest).filter(|rest| *rest != 0);
    std::iter::successors(some(word), move |rest| some(rest & (rest - 1))).map(u64::trailing_zeros)
}

impl FromIterator<u32> for RowSet {
    fn from_iter<I: IntoIterator<Item = u32>>(rows: I) -> Self {
        let mut set = Self::new();
        for row in rows {
            set.insert(row);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn it_is_what_an_ordered_set_is() {
        let mut state = 7_u64;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            u32::try_from((state >> 33) % bound).unwrap()
        };
        let (mut set, mut truth) = (RowSet::new(), BTreeSet::new());
        for step in 0..3000 {
            let row = below(if step < 1500 { 700 } else { 70 });
            if below(3) > 0 {
                assert_eq!(set.insert(row), truth.insert(row), "step {step}");
            } else {
                assert_eq!(set.remove(row), truth.remove(&row), "step {step}");
            }
            assert_eq!(set.contains(row), truth.contains(&row));
            assert_eq!(set.last(), truth.last().copied());
            let end = below(800);
            assert_eq!(set.count_below(end) as usize, truth.range(..end).count(), "below {end}");
        }
        assert!(set.iter().eq(truth.iter().copied()));
        assert_eq!(set.count() as usize, truth.len());
        assert_eq!(set, truth.iter().copied().collect());
        assert_eq!(set, RowSet::from_words([set.words(), &[0, 0]].concat()));
        let more: BTreeSet<u32> = (0..40).map(|_| below(2000)).collect();
        let more_set: RowSet = more.iter().copied().collect();
        let both: RowSet = truth.union(&more).copied().collect();
        for (mut some, others) in [(set.clone(), &more_set), (more_set.clone(), &set)] {
            some.insert_all(others);
            assert_eq!(some, both);
        }
        for row in truth {
            assert!(set.remove(row));
        }
        assert_eq!((set.words(), set.is_empty(), set.last()), (&[][..], true, None));
    }
}
