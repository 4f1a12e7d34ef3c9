//! How an id is written on the command line.

use std::ffi::OsStr;

use gannet::Id;

/// A decimal number without sign or leading zeroes is an integer id; anything else is its bytes.
pub(super) fn parse(text: &OsStr) -> Id {
    let integer = text.to_str().and_then(|text| {
        let integer: u64 = text.parse().ok()?;
        (integer.to_string() == text).then_some(integer)
    });
    integer.map_or_else(|| Id::from(text.as_encoded_bytes()), Id::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_numbers_are_integers() {
        for (text, id) in [
            ("0", Id::from(0)),
            ("18446744073709551615", Id::from(u64::MAX)),
            ("18446744073709551616", Id::from("18446744073709551616")),
            ("007", Id::from("007")),
            ("+7", Id::from("+7")),
            ("-1", Id::from("-1")),
            ("seven", Id::from("seven")),
        ] {
            assert_eq!(parse(OsStr::new(text)), id, "{text}");
        }
    }
}
