//! Typed values: what a key can say beside bytes.
//!
//! Keeps their encoding: postcard's, of an enum whose variants are numbered as they stand here, so
//! that none may ever move. Bytes that are decoded may be anybody's: nothing is deeper than
//! [`VALUE_DEPTH_MAX`], and no room is made for more than is there.

use crate::limits::{VALUE_DEPTH_MAX, VALUE_LEN_BYTES_MAX};
use serde::de::{DeserializeSeed, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use thiserror::Error;

/// A typed value.
///
/// ```
/// use gannet::Value;
///
/// let fields = [("host".to_owned(), "a1".into()), ("load".to_owned(), 0.5.into())];
/// let value = Value::Map(fields.into());
/// let bytes = value.encode()?;
/// assert_eq!(Value::decode(&bytes)?, value);
/// # Ok::<(), gannet::ValueError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values one after the other.
    List(Vec<Self>),
    /// Values by name.
    Map(BTreeMap<String, Self>),
}

/// Why a value is not encoded, or bytes are none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Lists and maps are in each other more than [`VALUE_DEPTH_MAX`] deep.
    #[error("lists and maps are more than {VALUE_DEPTH_MAX} deep")]
    Depth,
    /// It is longer than a value of a key can be.
    #[error("{found} bytes are more than a value can have, {VALUE_LEN_BYTES_MAX}")]
    Length {
        /// How many bytes it takes.
        found: usize,
    },
    /// The bytes are not one value.
    #[error("the bytes are not a typed value: {reason}")]
    Bytes {
        /// What is wrong with them.
        reason: String,
    },
}

/// The name of the enum, which postcard does not write.
const NAME: &str = "Value";
const VARIANTS: [&str; 8] = ["Null", "Bool", "Int", "Float", "Text", "Bytes", "List", "Map"];

impl Value {
    /// As bytes.
    ///
    /// # Errors
    /// `Depth`, `Length`.
    pub fn encode(&self) -> Result<Vec<u8>, ValueError> {
        if !self.is_at_most(VALUE_DEPTH_MAX) {
            return Err(ValueError::Depth);
        }
        let bytes = postcard::to_allocvec(&Encoded(self))
            .map_err(|error| ValueError::Bytes { reason: error.to_string() })?;
        match bytes.len() {
            found if found > VALUE_LEN_BYTES_MAX => Err(ValueError::Length { found }),
            _ => Ok(bytes),
        }
    }

    /// Of bytes, all of them.
    ///
    /// # Errors
    /// `Depth`; `Bytes` if they are not a value, or more than one.
    pub fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        let not = |reason: String| ValueError::Bytes { reason };
        let mut from = postcard::Deserializer::from_bytes(bytes);
        let mut is_deep = false;
        let seed = Decoded { depth: VALUE_DEPTH_MAX, is_deep: &mut is_deep };
        let decoded = seed.deserialize(&mut from);
        if is_deep {
            return Err(ValueError::Depth);
        }
        let value = decoded.map_err(|error| not(error.to_string()))?;
        let rest = from.finalize().map_err(|error| not(error.to_string()))?;
        if rest.is_empty() {
            Ok(value)
        } else {
            Err(not(format!("{} bytes behind it", rest.len())))
        }
    }

    /// Whether lists and maps are in each other at most so deep.
    fn is_at_most(&self, depth: usize) -> bool {
        let inner = |value: &Self| depth > 0 && value.is_at_most(depth - 1);
        match self {
            Self::List(items) => depth > 0 && items.iter().all(inner),
            Self::Map(fields) => depth > 0 && fields.values().all(inner),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Text(_)
            | Self::Bytes(_) => true,
        }
    }
}

macro_rules! from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool, i64 => Int, i32 => Int, u32 => Int, f64 => Float, f32 => Float, &str => Text,
    String => Text, &[u8] => Bytes, Vec<u8> => Bytes, Vec<Self> => List,
    BTreeMap<String, Self> => Map,
}

/// A value as it is written.
struct Encoded<'v>(&'v Value);

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => to.serialize_unit_variant(NAME, 0, VARIANTS[0]),
            Value::Bool(value) => to.serialize_newtype_variant(NAME, 1, VARIANTS[1], value),
            Value::Int(value) => to.serialize_newtype_variant(NAME, 2, VARIANTS[2], value),
            Value::Float(value) => to.serialize_newtype_variant(NAME, 3, VARIANTS[3], value),
            Value::Text(value) => to.serialize_newtype_variant(NAME, 4, VARIANTS[4], value),
            Value::Bytes(value) => {
                to.serialize_newtype_variant(NAME, 5, VARIANTS[5], &EncodedBytes(value))
            }
            Value::List(items) => {
                to.serialize_newtype_variant(NAME, 6, VARIANTS[6], &EncodedList(items))
            }
            Value::Map(fields) => {
                to.serialize_newtype_variant(NAME, 7, VARIANTS[7], &EncodedMap(fields))
            }
        }
    }
}

struct EncodedBytes<'v>(&'v [u8]);

impl Serialize for EncodedBytes<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

struct EncodedList<'v>(&'v [Value]);

impl Serialize for EncodedList<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut to = to.serialize_seq(Some(self.0.len()))?;
        self.0.iter().try_for_each(|item| to.serialize_element(&Encoded(item)))?;
        to.end()
    }
}

struct EncodedMap<'v>(&'v BTreeMap<String, Value>);

impl Serialize for EncodedMap<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut to = to.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, field)| to.serialize_entry(name, &Encoded(field)))?;
        to.end()
    }
}

/// Reads a value.
struct Decoded<'d> {
    /// How deep lists and maps may still be in each other.
    depth: usize,
    /// They are deeper.
    is_deep: &'d mut bool,
}

impl<'de> DeserializeSeed<'de> for Decoded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_enum(NAME, &VARIANTS, self)
    }
}

impl<'de> serde::de::Visitor<'de> for Decoded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a typed value")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<Value, A::Error> {
        let (variant, inner) = from.variant::<u32>()?;
        match variant {
            0 => inner.unit_variant().map(|()| Value::Null),
            1 => inner.newtype_variant().map(Value::Bool),
            2 => inner.newtype_variant().map(Value::Int),
            3 => inner.newtype_variant().map(Value::Float),
            4 => inner.newtype_variant().map(Value::Text),
            5 => inner.newtype_variant::<&[u8]>().map(|bytes| Value::Bytes(bytes.to_vec())),
            6 | 7 if self.depth == 0 => {
                *self.is_deep = true;
                Err(A::Error::custom("too deep"))
            }
            6 => inner.newtype_variant_seed(DecodedList(self)).map(Value::List),
            7 => inner.newtype_variant_seed(DecodedMap(self)).map(Value::Map),
            other => Err(A::Error::custom(format_args!("there is no kind {other}"))),
        }
    }
}

impl Decoded<'_> {
    /// Of what is in it.
    fn inner(&mut self) -> Decoded<'_> {
        Decoded { depth: self.depth - 1, is_deep: self.is_deep }
    }
}

struct DecodedList<'d>(Decoded<'d>);

impl<'de> DeserializeSeed<'de> for DecodedList<'_> {
    type Value = Vec<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<Value>, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> serde::de::Visitor<'de> for DecodedList<'_> {
    type Value = Vec<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut from: A) -> Result<Vec<Value>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(self.0.inner())? {
            items.push(item);
        }
        Ok(items)
    }
}

struct DecodedMap<'d>(Decoded<'d>);

impl<'de> DeserializeSeed<'de> for DecodedMap<'_> {
    type Value = BTreeMap<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> serde::de::Visitor<'de> for DecodedMap<'_> {
    type Value = BTreeMap<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(name) = from.next_key::<String>()? {
            let field = from.next_value_seed(self.0.inner())?;
            if fields.insert(name, field).is_some() {
                return Err(A::Error::custom("a name stands twice in a map"));
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> Vec<Value> {
        let fields = [("a".to_owned(), Value::Int(-1)), (String::new(), Value::Null)];
        let simple = vec![
            Value::Null,
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Float(-0.0),
            Value::Float(f64::INFINITY),
            Value::from("t\u{e4}xt"),
            Value::Bytes(vec![0, 255]),
            Value::List(Vec::new()),
            Value::Map(fields.into()),
        ];
        let all = Value::List(simple.clone());
        let both = Value::Map([("all".to_owned(), all.clone())].into());
        simple.into_iter().chain([all, both]).collect()
    }

    fn nested(depth: usize) -> Value {
        (0..depth).fold(Value::Int(1), |inner, level| {
            if level % 2 == 0 {
                Value::List(vec![inner])
            } else {
                Value::Map([("in".to_owned(), inner)].into())
            }
        })
    }

    #[test]
    fn values_come_back() {
        for value in examples() {
            let bytes = value.encode().unwrap();
            assert_eq!(Value::decode(&bytes), Ok(value));
        }
        assert!(matches!(
            Value::decode(&Value::Float(f64::NAN).encode().unwrap()),
            Ok(Value::Float(found)) if found.is_nan()
        ));
    }

    #[test]
    fn the_bytes_are_pinned() {
        let fields = [("a".to_owned(), Value::Int(-1)), ("b".to_owned(), Value::from("x"))];
        let value = Value::List(vec![
            Value::Null,
            true.into(),
            Value::Map(fields.into()),
            Value::Bytes(vec![7]),
            0.5.into(),
        ]);
        let expected = [
            &[6, 5, 0, 1, 1, 7, 2][..],
            &[1, b'a', 2, 1, 1, b'b', 4, 1, b'x'],
            &[5, 1, 7, 3, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f],
        ];
        assert_eq!(value.encode().unwrap(), expected.concat());
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused() {
        let deepest = nested(VALUE_DEPTH_MAX);
        let bytes = deepest.encode().unwrap();
        assert_eq!(Value::decode(&bytes), Ok(deepest));
        assert_eq!(nested(VALUE_DEPTH_MAX + 1).encode(), Err(ValueError::Depth));
        // One list in another, as far as there are bytes.
        assert_eq!(Value::decode(&[6, 1].repeat(1 << 20)), Err(ValueError::Depth));
        let long = Value::Bytes(vec![0; VALUE_LEN_BYTES_MAX]);
        assert!(matches!(long.encode(), Err(ValueError::Length { .. })));
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_a_value_or_a_reason() {
        for value in examples() {
            let bytes = value.encode().unwrap();
            for cut in 0..bytes.len() {
                assert!(Value::decode(&bytes[..cut]).is_err(), "{value:?} {cut}");
            }
            for at in 0..bytes.len() {
                for flip in [0xff, 0x80, 1] {
                    let mut bad = bytes.clone();
                    bad[at] ^= flip;
                    let _ = Value::decode(&bad);
                }
            }
            let longer = [&bytes[..], &[0]].concat();
            assert!(matches!(Value::decode(&longer), Err(ValueError::Bytes { .. })));
        }
        for bytes in [&[8][..], &[1, 2], &[4, 1, 0xff], &[7, 2, 1, b'a', 0, 1, b'a', 0]] {
            assert!(matches!(Value::decode(bytes), Err(ValueError::Bytes { .. })), "{bytes:?}");
        }
        // Lengths that nobody checks would take all memory.
        for kind in 4..8 {
            let long = [&[kind][..], &[0xff; 9], &[1]].concat();
            assert!(Value::decode(&long).is_err());
        }
    }
}
