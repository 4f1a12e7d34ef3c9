//! Which rows a search has seen.

/// One byte a row: the number of the search that saw it last. Forgetting all of them is one
/// addition, but for every 255th time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visited {
    stamps: Vec<u8>,
    stamp: u8,
}

impl Visited {
    /// Forgets every row and makes room for rows `0..len`.
    pub(crate) fn begin(&mut self, len: u32) {
        if self.stamps.len() < len as usize {
            self.stamps.resize(len as usize, 0);
        }
        self.stamp = self.stamp.wrapping_add(1);
        if self.stamp == 0 {
            self.stamps.fill(0);
            self.stamp = 1;
        }
    }

    /// Marks `row` and says whether it was new.
    #[inline]
    pub(crate) fn insert(&mut self, row: u32) -> bool {
        let seen = &mut self.stamps[row as usize];
        let is_new = *seen != self.stamp;
        *seen = self.stamp;
        is_new
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.stamps.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_new_once_a_search_also_after_the_stamps_ran_out() {
        let mut visited = Visited::default();
        for search in 0..600 {
            visited.begin(3 + search);
            for row in [0, 2, search] {
                assert!(visited.insert(row) || (row == search && row <= 2), "{search} {row}");
                assert!(!visited.insert(row), "search {search}, row {row}");
            }
        }
    }
}
