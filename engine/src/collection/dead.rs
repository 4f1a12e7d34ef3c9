//! Which rows are deleted: a bit a row.

/// A set of row numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeadRows {
    words: Vec<u64>,
    count: u64,
}

impl DeadRows {
    pub(crate) fn insert(&mut self, row: u32) {
        let (word, bit) = (row as usize / 64, 1 << (row % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.count += u64::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    pub(crate) fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn count_below(&self, end: u32) -> u64 {
        let whole = &self.words[..self.words.len().min(end as usize / 64)];
        let rest =
            self.words.get(end as usize / 64).map_or(0, |word| word & ((1 << (end % 64)) - 1));
        whole.iter().map(|word| u64::from(word.count_ones())).sum::<u64>()
            + u64::from(rest.count_ones())
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    /// The words, little-endian, bit `row % 64` of word `row / 64`.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// `None` if the bytes are not words or name a row at or behind `row_count`.
    pub(crate) fn from_bytes(bytes: &[u8], row_count: u32) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return None;
        }
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let count = words.iter().map(|word| u64::from(word.count_ones())).sum();
        let dead = Self { words, count };
        (dead.count_below(row_count) == count).then_some(dead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_once_and_come_back() {
        let mut dead = DeadRows::default();
        for row in [0, 63, 64, 200, 200, 64] {
            dead.insert(row);
        }
        assert_eq!(dead.count(), 4);
        for (end, below) in
            [(0, 0), (1, 1), (63, 1), (64, 2), (65, 3), (200, 3), (201, 4), (999, 4)]
        {
            assert_eq!(dead.count_below(end), below, "{end}");
        }
        assert!(dead.contains(63) && !dead.contains(62) && !dead.contains(100_000));
        let bytes = dead.to_bytes();
        assert_eq!(DeadRows::from_bytes(&bytes, 201).map(|d| d.count()), Some(4));
        assert!(DeadRows::from_bytes(&bytes, 200).is_none(), "row 200 is not there");
        assert!(DeadRows::from_bytes(&bytes[1..], 201).is_none());
    }
}
