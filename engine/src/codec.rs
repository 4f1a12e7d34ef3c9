//! Little-endian fields in and out of byte slices.
//!
//! Reading is total: any bytes give a value or `None`, and no length is believed before the bytes
//! are there. What a field means, and the place to name in an error, is left to the formats.

/// Reads fields from the front of a slice.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number in as few bytes as it needs: seven bits in each, lowest first, all but the last
    /// with the eighth bit set.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for (index, &byte) in self.0.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            value |= bits << (7 * index);
            if byte < 0x80 {
                self.0 = &self.0[index + 1..];
                // The tenth has the highest bit alone.
                return (index < 9 || bits < 2).then_some(value);
            }
        }
        None
    }

    /// Bytes behind a u16 length.
    pub(crate) fn bytes_u16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }

    /// Bytes behind a u32 length.
    pub(crate) fn bytes_u32(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.bytes(usize::try_from(len).ok()?)
    }

    /// Text behind a u16 length.
    pub(crate) fn text_u16(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes_u16()?).ok()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends fields to a vector.
pub(crate) trait Put {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    /// As [`Reader::varint`] reads it.
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            let [low, ..] = value.to_le_bytes();
            self.put_u8(low | 0x80);
            value >>= 7;
        }
        let [last, ..] = value.to_le_bytes();
        self.put_u8(last);
    }

    /// Bytes behind a u16 length; longer ones have been refused before.
    fn put_bytes_u16(&mut self, bytes: &[u8]) {
        self.put_u16(u16::try_from(bytes.len()).expect("length was checked against its limit"));
        self.put(bytes);
    }

    /// Bytes behind a u32 length; longer ones have been refused before.
    fn put_bytes_u32(&mut self, bytes: &[u8]) {
        self.put_u32(u32::try_from(bytes.len()).expect("length was checked against its limit"));
        self.put(bytes);
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// CRC32 (IEEE) of `bytes` after `seed`, so that the same bytes in another place do not pass.
pub(crate) fn crc_seeded(seed: &[u8], bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(seed);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_and_a_short_slice_gives_none() {
        let mut bytes = Vec::new();
        bytes.put_u8(1);
        bytes.put_u16(2);
        bytes.put_u32(3);
        bytes.put_u64(4);
        bytes.put_bytes_u16(b"key");
        bytes.put_bytes_u32(b"value");
        let numbers = [0, 1, 127, 128, 16_383, 16_384, u64::MAX >> 1, u64::MAX];
        for number in numbers {
            bytes.put_varint(number);
        }
        let mut r = Reader::new(&bytes);
        assert_eq!((r.u8(), r.u16(), r.u32(), r.u64()), (Some(1), Some(2), Some(3), Some(4)));
        assert_eq!((r.text_u16(), r.bytes_u32()), (Some("key"), Some(&b"value"[..])));
        assert_eq!(numbers.map(|_| r.varint()), numbers.map(Some));
        assert!(r.is_empty());
        for long in [
            &[0xff; 10][..],
            &[0x80; 9],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ] {
            assert_eq!(Reader::new(long).varint(), None);
        }
        let mut lying = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0]);
        assert_eq!(lying.bytes_u32(), None);
    }
}
