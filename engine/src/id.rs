//! The caller's name of a vector: an integer or bytes.

use std::fmt;

/// Identifies a vector in its collection. Integers and bytes are different ids even where they
/// look alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// An integer.
    Int(u64),
    /// 1 to [`ID_LEN_BYTES_MAX`](crate::limits::ID_LEN_BYTES_MAX) bytes.
    Bytes(Box<[u8]>),
}

impl From<u64> for Id {
    fn from(id: u64) -> Self {
        Self::Int(id)
    }
}

impl From<&[u8]> for Id {
    fn from(id: &[u8]) -> Self {
        Self::Bytes(id.into())
    }
}

impl From<&str> for Id {
    fn from(id: &str) -> Self {
        Self::Bytes(id.as_bytes().into())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(id) => write!(f, "{id}"),
            Self::Bytes(id) if id.iter().all(u8::is_ascii_graphic) => {
                id.iter().try_for_each(|&byte| write!(f, "{}", char::from(byte)))
            }
            Self::Bytes(id) => {
                f.write_str("0x")?;
                id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_as_their_callers_know_them() {
        for (id, text) in
            [(Id::from(42), "42"), (Id::from("a-b"), "a-b"), (Id::from(&[0, 255][..]), "0x00ff")]
        {
            assert_eq!(id.to_string(), text);
        }
    }
}
