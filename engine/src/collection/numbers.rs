//! Row numbers: what the log calls the rows of a collection.
//!
//! Every insert gets the next number, and none is given again: a record means the same row whenever
//! it is replayed. A row itself is a place in memory and in files, which moves up when those before
//! it that are dead are left out. Numbers rise with rows, mostly by one.

use crate::codec::{Put, Reader};
use std::ops::Range;
use std::sync::Arc;

/// The numbers of all rows, and the next one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    /// In order; copies share them.
    runs: Arc<Vec<Run>>,
    /// Rows there are.
    rows: u32,
    next: u32,
}

/// Rows whose numbers rise by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first_row: u32,
    first_number: u32,
}

impl Run {
    fn number_of(self, row: u32) -> u32 {
        self.first_number + (row - self.first_row)
    }
}

impl Numbers {
    /// Rows of these numbers; `None` where there are too many.
    pub(crate) fn of_run(numbers: Range<u32>) -> Option<Self> {
        let run = [numbers.start.to_le_bytes(), (numbers.end - numbers.start).to_le_bytes()];
        let mut found = Self::default();
        found.append(run.as_flattened(), numbers.end - numbers.start).then_some(found)
    }

    /// What the next row will be called: one more than any was.
    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    /// There is one more row, of the next number.
    pub(super) fn push(&mut self) {
        self.push_numbered(self.next);
    }

    /// There is one more row, of a number that is no less than the next.
    fn push_numbered(&mut self, number: u32) {
        if self.runs.last().is_none_or(|run| run.number_of(self.rows) != number) {
            let run = Run { first_row: self.rows, first_number: number };
            Arc::make_mut(&mut self.runs).push(run);
        }
        self.rows += 1;
        self.next = number + 1;
    }

    /// The number of a row. Cost: logarithmic in the runs, as is [`row_of`](Self::row_of).
    pub(crate) fn of(&self, row: u32) -> u32 {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let run = self.runs.partition_point(|run| run.first_row <= row) - 1;
        self.runs[run].number_of(row)
    }

    /// The row of a number, if there is one still.
    pub(crate) fn row_of(&self, number: u32) -> Option<u32> {
        let after = self.runs.partition_point(|run| run.first_number <= number);
        let run = self.runs[after.checked_sub(1)?];
        let end = self.runs.get(after).map_or(self.rows, |run| run.first_row);
        let row = run.first_row + (number - run.first_number);
        (row < end).then_some(row)
    }

    /// Those of the rows `kept`, which rise, when they are all there are.
    pub(super) fn of_kept(&self, kept: &[u32]) -> Self {
        let mut numbers = Self::default();
        for row in kept {
            numbers.push_numbered(self.of(*row));
        }
        numbers.next = self.next;
        numbers
    }

    /// Of some rows, as a file has them: of each run its first number and its length, two
    /// little-endian `u32`.
    pub(super) fn to_bytes(&self, rows: Range<u32>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut row = rows.start;
        while row < rows.end {
            let after = self.runs.partition_point(|run| run.first_row <= row);
            let end = self.runs.get(after).map_or(rows.end, |run| run.first_row.min(rows.end));
            bytes.put_u32(self.of(row));
            bytes.put_u32(end - row);
            row = end;
        }
        bytes
    }

    /// Takes in `count` rows more with the numbers that a file has; whether it is of so many, and
    /// they rise.
    pub(crate) fn append(&mut self, bytes: &[u8], count: u32) -> bool {
        let Some(end) = self.rows.checked_add(count) else { return false };
        let mut reader = Reader::new(bytes);
        while self.rows < end {
            let Some((first, len)) = reader.u32().zip(reader.u32()) else { return false };
            let is_good = first >= self.next && (1..=end - self.rows).contains(&len);
            if !is_good || first.checked_add(len).is_none() {
                return false;
            }
            self.push_numbered(first);
            self.rows += len - 1;
            self.next += len - 1;
        }
        reader.is_empty()
    }

    /// Takes in what a checkpoint says of the next number; whether no row has it, or one behind it.
    pub(crate) fn set_next(&mut self, next: u32) -> bool {
        let is_good = next >= self.next;
        self.next = self.next.max(next);
        is_good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a plain list: rows come, and are left out, at random.
    #[test]
    fn numbers_rise_and_stay_with_their_rows() {
        for seed in 0..20_u64 {
            let mut state = seed;
            let mut below = |bound: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
                usize::try_from((state >> 33) % bound as u64).unwrap()
            };
            let (mut numbers, mut truth, mut next) = (Numbers::default(), Vec::new(), 0);
            for _ in 0..40 {
                for _ in 0..below(60) {
                    numbers.push();
                    truth.push(next);
                    next += 1;
                }
                if below(3) == 0 {
                    let keep = below(4);
                    let rows = 0..u32::try_from(truth.len()).unwrap();
                    let kept: Vec<u32> = rows.filter(|_| below(4) < keep).collect();
                    numbers = numbers.of_kept(&kept);
                    truth = kept.iter().map(|row| truth[*row as usize]).collect();
                }
                assert_eq!((numbers.rows as usize, numbers.next()), (truth.len(), next));
                for (row, number) in (0..).zip(&truth) {
                    assert_eq!(numbers.of(row), *number, "seed {seed}");
                }
                for number in 0..next + 2 {
                    let row = truth.binary_search(&number).ok();
                    assert_eq!(numbers.row_of(number).map(|row| row as usize), row, "seed {seed}");
                }
                let cut = u32::try_from(below(truth.len() + 1)).unwrap();
                let mut read = Numbers::default();
                assert!(read.append(&numbers.to_bytes(0..cut), cut));
                let rest = numbers.rows - cut;
                assert!(read.append(&numbers.to_bytes(cut..numbers.rows), rest));
                assert!(read.set_next(next));
                let all = |numbers: &Numbers| (numbers.runs.clone(), numbers.rows, numbers.next);
                assert_eq!(all(&read), all(&numbers), "seed {seed}");
            }
        }
    }

    #[test]
    fn what_does_not_rise_or_is_of_another_count_is_refused() {
        let append = |runs: &[u32], count| {
            let bytes: Vec<u8> = runs.iter().flat_map(|word| word.to_le_bytes()).collect();
            let mut numbers = Numbers::default();
            (numbers.append(&[3, 0, 0, 0, 2, 0, 0, 0], 2) && numbers.append(&bytes, count))
                .then_some(numbers)
        };
        assert_eq!(append(&[5, 1, 9, 2], 3).unwrap().next(), 11);
        assert!(append(&[], 0).is_some());
        for (runs, count) in [
            (&[4, 1][..], 1),
            (&[5, 0], 0),
            (&[5, 0, 5, 1], 1),
            (&[5, 2], 1),
            (&[5, 1], 2),
            (&[5, 1, 5, 1], 2),
            (&[5], 1),
            (&[u32::MAX, 1], 1),
            (&[9, u32::MAX - 3], u32::MAX - 3),
            (&[5, 1], u32::MAX),
        ] {
            assert!(append(runs, count).is_none(), "{runs:?} {count}");
        }
        let mut numbers = append(&[5, 1], 1).unwrap();
        assert!(!numbers.set_next(5) && numbers.set_next(6) && numbers.set_next(60));
        assert_eq!((numbers.next(), numbers.row_of(59)), (60, None));
    }
}
