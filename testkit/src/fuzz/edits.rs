//! Changes of bytes, as an input has them.

use super::input::Input;

/// One change of 8 bytes of input: where, how, and with what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edit {
    /// Which of the things that can be changed, and which part of it: for the target to read.
    pub(super) what: u8,
    pub(super) part: u8,
    how: u8,
    at: u16,
    value: u32,
}

/// More than these are not read: each tells less.
const EDITS_MAX: usize = 32;

impl Edit {
    pub(super) fn all(input: &mut Input<'_>) -> Vec<Self> {
        let mut edits = Vec::new();
        while !input.is_empty() && edits.len() < EDITS_MAX {
            let (what, how) = (input.u8(), input.u8());
            let (at, value) = (input.u16(), input.u32());
            edits.push(Self { what, part: how / 8, how: how % 8, at, value });
        }
        edits
    }

    /// The bytes of one, for seeds.
    pub(super) fn bytes(what: u8, part: u8, how: u8, at: u16, value: u32) -> Vec<u8> {
        let mut bytes = vec![what, part * 8 + how];
        bytes.extend(at.to_le_bytes());
        bytes.extend(value.to_le_bytes());
        bytes
    }

    /// Changes bytes in place, as far as there are any.
    pub(super) fn overwrite(&self, bytes: &mut [u8]) {
        if bytes.is_empty() {
            return;
        }
        let at = usize::from(self.at) % bytes.len();
        let put = |bytes: &mut [u8], new: &[u8]| {
            let len = new.len().min(bytes.len() - at);
            bytes[at..at + len].copy_from_slice(&new[..len]);
        };
        let value = self.value.to_le_bytes();
        match self.how {
            0 => put(bytes, &value[..1]),
            1 => put(bytes, &value[..2]),
            2 => put(bytes, &value),
            3 => put(bytes, &i64::from(self.value.cast_signed()).to_le_bytes()),
            4 => bytes[at] = bytes[at].wrapping_add(value[0]),
            5 => bytes[at] ^= 1 << (value[0] % 8),
            // Words that limits are about.
            6 => put(bytes, &1_u32.rotate_left(self.value % 32).to_le_bytes()),
            _ => put(bytes, &1_u32.rotate_left(self.value % 32).wrapping_sub(1).to_le_bytes()),
        }
    }

    /// Changes bytes, and in two of eight ways how many there are.
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        let at = usize::from(self.at) % (bytes.len() + 1);
        let count = usize::from(self.value.to_le_bytes()[0]);
        match self.how {
            6 => _ = bytes.drain(at..(at + count).min(bytes.len())),
            7 => {
                let fill = self.value.to_le_bytes()[1];
                bytes.splice(at..at, std::iter::repeat_n(fill, count));
            }
            _ => self.overwrite(bytes),
        }
    }
}
