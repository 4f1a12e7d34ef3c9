//! Keyspaces by name and by number.
//!
//! Keeps which there are, and which were dropped while somebody may still read what was in them. A
//! number is given once: what a dropped keyspace leaves behind in tables belongs to nobody.

use crate::damage::Lsn;
use crate::limits::is_name;
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Keyspaces {
    numbers: BTreeMap<Arc<str>, u32>,
    /// In order of creation.
    names: BTreeMap<u32, Arc<str>>,
    /// The records that dropped them.
    dropped: BTreeMap<u32, Lsn>,
    /// Number for the next one.
    pub(crate) next: u32,
}

impl Keyspaces {
    /// None, the next one of that number.
    pub(crate) fn new(next: u32) -> Self {
        let (numbers, names, dropped) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { numbers, names, dropped, next }
    }

    pub(crate) fn number_of(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// In order of creation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.names.iter().map(|(number, name)| (*number, &**name))
    }

    /// Takes one in.
    ///
    /// # Errors
    /// Damage if its number or name is taken, or the name is none.
    pub(crate) fn add(&mut self, number: u32, name: &str) -> Result<(), &'static str> {
        if !is_name(name) || self.numbers.contains_key(name) {
            return Err("name");
        }
        // The range of the highest number would have no end.
        let next = number.checked_add(1).filter(|&next| next < u32::MAX).ok_or("keyspace")?;
        if self.names.contains_key(&number) || self.dropped.contains_key(&number) {
            return Err("keyspace");
        }
        self.next = self.next.max(next);
        let name: Arc<str> = name.into();
        self.numbers.insert(Arc::clone(&name), number);
        self.names.insert(number, name);
        Ok(())
    }

    /// Drops one, by the record `lsn`.
    ///
    /// # Errors
    /// Damage if there is none of that number.
    pub(crate) fn drop(&mut self, number: u32, lsn: Lsn) -> Result<(), &'static str> {
        let name = self.names.remove(&number).ok_or("keyspace")?;
        self.numbers.remove(&name);
        self.dropped.insert(number, lsn);
        Ok(())
    }

    /// Forgets what was dropped before anybody looks.
    pub(crate) fn forget_dropped(&mut self, first_horizon: Lsn) {
        self.dropped.retain(|_, dropped| *dropped > first_horizon);
    }

    /// Whether nobody can see what is in a keyspace, from the first horizon on.
    pub(crate) fn is_gone(&self, number: u32, first_horizon: Lsn) -> bool {
        !self.names.contains_key(&number)
            && self.dropped.get(&number).is_none_or(|dropped| *dropped <= first_horizon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once_at_a_time_and_a_number_once() {
        let mut keyspaces = Keyspaces::new(3);
        assert_eq!(keyspaces.add(3, "a"), Ok(()));
        assert_eq!(keyspaces.add(4, "a"), Err("name"));
        assert_eq!(keyspaces.add(3, "b"), Err("keyspace"));
        assert_eq!(keyspaces.add(4, "../b"), Err("name"));
        assert_eq!(keyspaces.add(u32::MAX - 1, "b"), Err("keyspace"));
        assert_eq!(keyspaces.number_of("a"), Some(3));
        assert_eq!((keyspaces.drop(3, 70), keyspaces.drop(3, 71)), (Ok(()), Err("keyspace")));
        assert_eq!(keyspaces.add(3, "c"), Err("keyspace"));
        assert_eq!((keyspaces.add(4, "a"), keyspaces.next), (Ok(()), 5));
        assert_eq!(keyspaces.iter().collect::<Vec<_>>(), [(4, "a")]);
    }

    #[test]
    fn what_was_dropped_is_gone_when_nobody_looks_from_before() {
        let mut keyspaces = Keyspaces::new(1);
        keyspaces.add(1, "a").unwrap();
        assert!(!keyspaces.is_gone(1, 99) && keyspaces.is_gone(7, 0));
        keyspaces.drop(1, 70).unwrap();
        assert!(!keyspaces.is_gone(1, 69) && keyspaces.is_gone(1, 70));
        keyspaces.forget_dropped(69);
        assert!(!keyspaces.is_gone(1, 69));
        keyspaces.forget_dropped(70);
        assert!(keyspaces.is_gone(1, 69));
    }
}
