//! The footer of a table: what is said of it as a whole.

use crate::codec::{Put, Reader};
use crate::damage::Lsn;
use crate::limits::NUMBER_MAX;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footer {
    /// The records that its entries are of, lowest and highest.
    pub(crate) first_lsn: Lsn,
    pub(crate) last_lsn: Lsn,
    /// Entries in it.
    pub(crate) entries: u64,
    /// How many of them delete a key.
    pub(crate) deletes: u64,
    /// Length of their keys and values.
    pub(crate) raw_len_bytes: u64,
    pub(crate) blocks: u32,
    /// How many bytes all keys of the index begin with alike.
    pub(super) skip: u32,
    /// Bits that are set in the filter for a key.
    pub(super) probes: u8,
    pub(crate) first_key: Vec<u8>,
    pub(crate) last_key: Vec<u8>,
}

impl Footer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in
            [self.first_lsn, self.last_lsn, self.entries, self.deletes, self.raw_len_bytes]
        {
            out.put_u64(number);
        }
        out.put_u32(self.blocks);
        out.put_u32(self.skip);
        out.put_u8(self.probes);
        out.put_bytes_u32(&self.first_key);
        out.put_bytes_u32(&self.last_key);
        out
    }

    /// `None` where the bytes say what is never written.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let footer = Self {
            first_lsn: r.u64()?,
            last_lsn: r.u64()?,
            entries: r.u64()?,
            deletes: r.u64()?,
            raw_len_bytes: r.u64()?,
            blocks: r.u32()?,
            skip: r.u32()?,
            probes: r.u8()?,
            first_key: r.bytes_u32()?.to_vec(),
            last_key: r.bytes_u32()?.to_vec(),
        };
        let is_sound = r.is_empty()
            && footer.first_lsn <= footer.last_lsn
            && footer.last_lsn <= NUMBER_MAX
            && footer.deletes <= footer.entries
            && footer.blocks > 0
            && footer.entries >= u64::from(footer.blocks)
            && footer.first_key <= footer.last_key;
        is_sound.then_some(footer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_comes_back_and_what_is_never_written_is_refused() {
        let footer = Footer {
            first_lsn: 3,
            last_lsn: 9,
            entries: 5,
            deletes: 1,
            raw_len_bytes: 77,
            blocks: 2,
            skip: 4,
            probes: 7,
            first_key: b"a".to_vec(),
            last_key: b"b".to_vec(),
        };
        let bytes = footer.encode();
        assert_eq!(Footer::decode(&bytes), Some(footer.clone()));
        for cut in 0..bytes.len() {
            assert_eq!(Footer::decode(&bytes[..cut]), None, "{cut}");
        }
        let changes: [fn(&mut Footer); 6] = [
            |footer| footer.first_lsn = 10,
            |footer| footer.last_lsn = u64::MAX,
            |footer| footer.deletes = 6,
            |footer| footer.blocks = 0,
            |footer| footer.entries = 1,
            |footer| footer.first_key = b"c".to_vec(),
        ];
        for change in changes {
            let mut absurd = footer.clone();
            change(&mut absurd);
            assert_eq!(Footer::decode(&absurd.encode()), None, "{absurd:?}");
        }
    }
}
