//! An entry as a line of JSON: text where it is UTF-8, else hexadecimal digits.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{EntryFault, hex};

/// What `scan` and `export` write. Of each pair of fields one is there.
#[derive(Debug, Serialize)]
pub(crate) struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_hex: Option<String>,
    #[serde(flatten)]
    value: Value<'a>,
}

/// A value alone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Value<'a> {
    Value(&'a str),
    ValueHex(String),
}

impl<'a> Written<'a> {
    /// With `hex` all is digits.
    pub(crate) fn new(key: &'a [u8], value: &'a [u8], hex: bool) -> Self {
        let text = text(key, hex);
        let digits = if text.is_none() { Some(hex::encode(key)) } else { None };
        Self { key: text, key_hex: digits, value: Value::new(value, hex) }
    }
}

impl<'a> Value<'a> {
    /// With `hex` it is digits.
    pub(crate) fn new(value: &'a [u8], hex: bool) -> Self {
        match text(value, hex) {
            Some(text) => Self::Value(text),
            None => Self::ValueHex(hex::encode(value)),
        }
    }
}

fn text(bytes: &[u8], hex: bool) -> Option<&str> {
    if hex { None } else { std::str::from_utf8(bytes).ok() }
}

/// What `import` reads.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Read<'a> {
    key: Option<String>,
    key_hex: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    value_hex: Option<String>,
}

/// `null` is a value too.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(from).map(Some)
}

/// The key and the value of a line.
pub(super) fn parse(line: &[u8]) -> Result<(Vec<u8>, Vec<u8>), EntryFault> {
    let Read { key, key_hex, value, value_hex } =
        serde_json::from_slice(line).map_err(|error| EntryFault::json(&error))?;
    let key = match (key, key_hex) {
        (Some(key), None) => key.into_bytes(),
        (None, Some(digits)) => decode("key_hex", &digits)?,
        _ => return Err(EntryFault::OneOf { name: "key" }),
    };
    let value = match (value, value_hex) {
        (Some(json), None) => bytes_of(json)?,
        (None, Some(digits)) => decode("value_hex", &digits)?,
        _ => return Err(EntryFault::OneOf { name: "value" }),
    };
    Ok((key, value))
}

fn decode(name: &'static str, digits: &str) -> Result<Vec<u8>, EntryFault> {
    hex::decode(digits.as_bytes()).ok_or(EntryFault::Hex { name })
}

/// What a string says; of anything else the JSON itself, as exact as it was written.
fn bytes_of(json: &RawValue) -> Result<Vec<u8>, EntryFault> {
    let json = json.get();
    if json.starts_with('"') {
        let text: String = serde_json::from_str(json).map_err(|error| EntryFault::json(&error))?;
        return Ok(text.into_bytes());
    }
    Ok(compact(json))
}

/// JSON without the white space between its tokens.
fn compact(json: &str) -> Vec<u8> {
    let (mut is_string, mut is_escaped) = (false, false);
    let keep = |byte: &u8| {
        if is_string {
            is_string = is_escaped || *byte != b'"';
            is_escaped = !is_escaped && *byte == b'\\';
            return true;
        }
        is_string = *byte == b'"';
        !byte.is_ascii_whitespace()
    };
    json.bytes().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (key, value) in [
            (&b"key"[..], &b"value"[..]),
            (b"\xff", b"\0\n\"\\"),
            (b"\0", b"\xff\xfe"),
            ("\u{e4}\u{2028}".as_bytes(), b""),
        ] {
            for hex in [false, true] {
                let line = serde_json::to_vec(&Written::new(key, value, hex)).unwrap();
                assert_eq!(parse(&line).unwrap(), (key.to_vec(), value.to_vec()));
            }
        }
        let line = serde_json::to_string(&Written::new(b"k", b"\xff", false)).unwrap();
        assert_eq!(line, r#"{"key":"k","value_hex":"ff"}"#);
    }

    #[test]
    fn values_that_are_no_strings_are_their_json() {
        for (json, value) in [
            ("null", "null"),
            ("1.50", "1.50"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            (r#" { "b" : [ 1 , "a \" b" ] , "a": "\\" } "#, r#"{"b":[1,"a \" b"],"a":"\\"}"#),
            (r#""a\u00e4""#, "a\u{e4}"),
        ] {
            let line = format!("{{\"key\": \"k\", \"value\": {json}}}\r\n");
            assert_eq!(parse(line.as_bytes()).unwrap().1, value.as_bytes(), "{json}");
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let deep = format!("{{\"key\":\"k\",\"value\":{}", "[".repeat(1 << 20));
        for (line, reason) in [
            ("{", "byte 1: EOF"),
            ("[]", "byte 2: invalid length 0"),
            (r#"{"key":1,"value":""}"#, "byte 8: invalid type: integer"),
            (r#"{"key":"k"}"#, "one of `value` and `value_hex`"),
            (r#"{"value":"v"}"#, "one of `key` and `key_hex`"),
            (r#"{"key":"k","key_hex":"00","value":""}"#, "one of `key` and `key_hex`"),
            (r#"{"key":"k","value":null,"value_hex":"00"}"#, "one of `value`"),
            (r#"{"key":"k","value":"","ttl":1}"#, "unknown field `ttl`"),
            (r#"{"key":"k","key":"k","value":""}"#, "duplicate field `key`"),
            (r#"{"key_hex":"0","value":""}"#, "`key_hex` is not hexadecimal"),
            (r#"{"key":"k","value_hex":"zz"}"#, "`value_hex` is not hexadecimal"),
            (r#"{"key":"k","value":"\ud800"}"#, "hex escape"),
            (r#"{"key":"k","value":""} x"#, "trailing characters"),
            (&deep, "EOF"),
        ] {
            let fault = parse(line.as_bytes()).expect_err(reason).to_string();
            assert!(fault.contains(reason), "{fault:?} has no {reason:?}");
        }
        assert!(parse(b"{\"key\":\"\xff\",\"value\":\"\"}").is_err());
        assert!(parse(b"{\"key\":\"k\",\"value\":\"\xff\"}").is_err());
    }
}
