//! Which of many near rows a row should link to: near ones that do not hide behind each other.

use crate::key::Key;
use crate::space::{Aim, Space};

/// One link in so many may lead to a copy of the row itself, where links are scarce.
const COPIES_SHARE: usize = 4;

/// Chooses links, reusing its memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    chosen: Vec<Key>,
    chosen_rows: Vec<u32>,
    copies: Vec<u32>,
    aim: Aim,
}

impl Selector {
    /// Chooses at most `count` of `candidates` (nearest first) as links of `row`: nearest first.
    ///
    /// Malkov and Yashunin's algorithm 4 without its two extensions, as hnswlib has it: a candidate
    /// is taken unless a taken one is nearer to it than `row` is; candidates too few to fill a list
    /// are all taken. Two rows with the same vector never hide each other, so a row with many
    /// copies would link to nothing else, and no search would leave them: of copies, only the
    /// nearest in number are taken, a quarter of the list. They make a chain, so that each stays
    /// reachable as long as a beam sees them all: of more than `ef_construction` copies of one
    /// vector, the newest may have no link to them.
    #[inline(always)]
    pub(crate) fn select<P: Space>(
        &mut self,
        space: P,
        row: u32,
        candidates: &[Key],
        count: usize,
    ) -> &[Key] {
        self.chosen.clear();
        if candidates.len() < count {
            self.chosen.extend_from_slice(candidates);
            return &self.chosen;
        }
        self.chosen_rows.clear();
        space.aim(row, &mut self.aim);
        let to_itself = Key::new(space.distance(&self.aim, row), 0).distance();
        let is_copy = |candidate: &Key| candidate.distance().to_bits() == to_itself.to_bits();
        self.copies.clear();
        self.copies.extend(candidates.iter().filter(|key| is_copy(key)).map(|key| key.row()));
        self.copies.sort_unstable_by_key(|&copy| (copy.abs_diff(row), copy));
        self.copies.truncate(count.div_ceil(COPIES_SHARE));

        for &candidate in candidates {
            if self.chosen.len() == count {
                break;
            }
            if is_copy(&candidate) && !self.copies.contains(&candidate.row()) {
                continue;
            }
            space.aim(candidate.row(), &mut self.aim);
            if !any_nearer(space, &self.aim, &self.chosen_rows, candidate.distance()) {
                self.chosen.push(candidate);
                self.chosen_rows.push(candidate.row());
            }
        }
        &self.chosen
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let words = self.chosen_rows.capacity() + self.copies.capacity();
        let keys = self.chosen.capacity() * size_of::<Key>();
        keys + words * size_of::<u32>() + self.aim.memory_bytes()
    }
}

/// Whether one of `rows` is nearer than `bound`. Stops at the first four that say so.
#[inline(always)]
fn any_nearer<P: Space>(space: P, aim: &Aim, rows: &[u32], bound: f32) -> bool {
    let (fours, rest) = rows.as_chunks::<4>();
    for four in fours {
        if space.distance4(aim, *four).iter().any(|&distance| distance < bound) {
            return true;
        }
    }
    rest.iter().any(|&row| space.distance(aim, row) < bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Scalar;
    use crate::space::Exact;
    use crate::{Metric, Rows, row_stride};

    /// The rows chosen for the first of `points` out of all others.
    fn select(metric: Metric, points: &[[f32; 2]], count: usize) -> Vec<u32> {
        let stride = row_stride(2);
        let mut floats = vec![0.0; points.len() * stride];
        for (row, point) in floats.chunks_mut(stride).zip(points) {
            row[..2].copy_from_slice(point);
        }
        let chunks = [&floats[..]];
        let len = u32::try_from(points.len()).unwrap();
        let rows = Rows::new(2, 10, &chunks, len);
        let space = Exact { rows: &rows, metric, simd: Scalar };
        let mut aim = Aim::default();
        space.aim(0, &mut aim);
        let key = |row| Key::new(space.distance(&aim, row), row);
        let mut candidates: Vec<Key> = (1..len).map(key).collect();
        candidates.sort_unstable();
        let mut selector = Selector::default();
        let chosen = selector.select(space, 0, &candidates, count);
        chosen.iter().map(|key| key.row()).collect()
    }

    #[test]
    fn a_row_behind_a_nearer_one_is_not_linked() {
        let points = [[0.0, 0.0], [1.0, 0.0], [2.5, 0.0], [0.0, 3.0], [0.0, 3.5], [-4.0, -1.0]];
        assert_eq!(select(Metric::L2, &points, 4), [1, 3, 5]);
        assert_eq!(select(Metric::L2, &points, 2), [1, 3]);
    }

    #[test]
    fn too_few_candidates_are_all_linked() {
        let points = [[0.0, 0.0], [1.0, 0.0], [2.5, 0.0], [3.5, 0.0]];
        assert_eq!(select(Metric::L2, &points, 4), [1, 2, 3]);
        assert_eq!(select(Metric::L2, &points, 3), [1]);
    }

    #[test]
    fn a_row_as_near_to_a_taken_one_as_to_the_row_is_linked() {
        let points = [[0.0, 0.0], [1.0, 0.0], [0.5, 0.75f32.sqrt()]];
        let mut corners = points.to_vec();
        corners.extend([[0.0, 2.0], [0.0, 4.0]]);
        assert_eq!(select(Metric::L2, &[[0.0, 0.0], [0.0, 2.0], [2.0, 2.0]], 2), [1]);
        assert_eq!(select(Metric::L2, &[[0.0, 0.0], [4.0, 0.0], [2.0, 4.0]], 2), [1, 2]);
    }

    #[test]
    fn copies_take_a_quarter_of_the_list_and_leave_the_rest() {
        for metric in Metric::ALL {
            let mut points = vec![[0.6, 0.8]; 21];
            points.extend([[1.0, 0.0], [0.0, 1.0]]);
            let chosen = select(metric, &points, 12);
            assert_eq!(chosen[..3], [1, 2, 3], "{metric}");
            assert!(chosen[3..].iter().all(|&row| row > 20), "{metric}: {chosen:?}");
        }
    }
}
