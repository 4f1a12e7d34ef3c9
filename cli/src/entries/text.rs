//! Bytes as a person reads them on a line.

use std::fmt::Write as _;

/// UTF-8 as it is, and the rest so that every byte can be told: control characters and the
/// backslash escaped as in Rust, bytes that are not UTF-8 as `\xff`.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || character == '\\' {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("writing to a string does not fail");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_a_line_and_bytes_are_told_apart() {
        for (bytes, expect) in [
            (&b"plain 'text'"[..], "plain 'text'"),
            (b"a\tb\r\n", "a\\tb\\r\\n"),
            (b"\\n", "\\\\n"),
            (b"\0\x1b", "\\u{0}\\u{1b}"),
            (b"\xff\xc3", "\\xff\\xc3"),
            ("\u{e4}\u{85}".as_bytes(), "\u{e4}\\u{85}"),
        ] {
            assert_eq!(escaped(bytes), expect);
        }
    }
}
