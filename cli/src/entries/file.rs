//! Reads files of keys and values, an entry at a time: JSON lines, or CSV as RFC 4180 has it.
//!
//! Memory is bounded by the longest line that can hold an entry, whatever the file holds.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use csv_core::{ReadRecordResult, Reader};
use gannet::limits::{KEY_LEN_BYTES_MAX, VALUE_LEN_BYTES_MAX};

use super::{Entry, EntryError, EntryFault, json};

/// A byte is six characters of JSON at the most; the rest is for names and signs.
const LINE_LEN_MAX: usize = 6 * (KEY_LEN_BYTES_MAX + VALUE_LEN_BYTES_MAX) + 4096;

/// A file that is read from its beginning to its end.
pub(crate) struct EntryFile {
    name: PathBuf,
    lines: Lines,
    /// None where lines are JSON.
    csv: Option<Csv>,
}

impl EntryFile {
    /// Opens a file; `-` is JSON lines from stdin.
    pub(crate) fn open(path: &Path) -> Result<Self, EntryError> {
        if path == Path::new("-") {
            let lines = Lines::new(Box::new(io::stdin().lock()));
            return Ok(Self { name: "stdin".into(), lines, csv: None });
        }
        let name = path.to_owned();
        let has = |known: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(known));
        let csv = match (has("jsonl"), has("csv")) {
            (true, _) => None,
            (_, true) => Some(Csv::new()),
            _ => return Err(EntryError::UnknownExtension { file: name }),
        };
        match File::open(path) {
            Err(source) => Err(EntryError::Unopened { file: name, source }),
            Ok(file) => Ok(Self { name, lines: Lines::new(Box::new(BufReader::new(file))), csv }),
        }
    }

    /// The next entry, which is one that a database takes; none where the file ends.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, EntryError> {
        let mut line = 0;
        self.read(&mut line).map_err(|source| {
            let file = self.name.clone();
            EntryError::Line { file, line, source }
        })
    }

    /// Sets `line` to the one that the entry begins on.
    fn read(&mut self, line: &mut u64) -> Result<Option<Entry>, EntryFault> {
        loop {
            *line = self.lines.number + 1;
            if !self.lines.advance()? {
                return Ok(None);
            }
            if self.lines.line.trim_ascii().is_empty() && self.is_between_entries() {
                continue;
            }
            let (key, value) = match &mut self.csv {
                None => json::parse(&self.lines.line)?,
                Some(csv) => csv.parse(&mut self.lines)?,
            };
            if self.csv.is_some() && is_header(*line, &key, &value) {
                continue;
            }
            check(&key, &value)?;
            return Ok(Some(Entry { key, value }));
        }
    }

    /// Whether an empty line is none: to CSV, spaces are a field.
    fn is_between_entries(&self) -> bool {
        self.csv.is_none() || matches!(&self.lines.line[..], b"\n" | b"\r\n" | b"\r")
    }
}

fn is_header(line: u64, key: &[u8], value: &[u8]) -> bool {
    line == 1 && key == b"key" && value == b"value"
}

/// As a commit would, but here the line is known.
fn check(key: &[u8], value: &[u8]) -> Result<(), EntryFault> {
    match (key.len(), value.len()) {
        (0, _) => Err(EntryFault::EmptyKey),
        (found, _) if found > KEY_LEN_BYTES_MAX => Err(EntryFault::LongKey { found }),
        (_, found) if found > VALUE_LEN_BYTES_MAX => Err(EntryFault::LongValue { found }),
        _ => Ok(()),
    }
}

/// The lines of an input, counted.
struct Lines {
    input: Box<dyn BufRead>,
    /// The last that was read, with its end.
    line: Vec<u8>,
    /// Its number, from 1.
    number: u64,
}

impl Lines {
    fn new(input: Box<dyn BufRead>) -> Self {
        Self { input, line: Vec::new(), number: 0 }
    }

    /// Reads the next line; false where there is none.
    fn advance(&mut self) -> Result<bool, EntryFault> {
        self.line.clear();
        let mut bounded = (&mut self.input).take(LINE_LEN_MAX as u64);
        bounded.read_until(b'\n', &mut self.line)?;
        if self.line.len() == LINE_LEN_MAX && !self.line.ends_with(b"\n") {
            return Err(EntryFault::TooLong);
        }
        self.number += 1;
        Ok(!self.line.is_empty())
    }
}

/// Records of two fields.
struct Csv {
    parser: Reader,
    /// The bytes of all fields of a record.
    fields: Vec<u8>,
}

impl Csv {
    fn new() -> Self {
        Self { parser: Reader::new(), fields: Vec::new() }
    }

    /// The record that begins on the line that was read last: as many more as a quote goes on for.
    /// They are given to the parser one by one, so that lines are counted and an open quote told.
    fn parse(&mut self, lines: &mut Lines) -> Result<(Vec<u8>, Vec<u8>), EntryFault> {
        let (mut len, mut count, mut ends) = (0, 0, [0; 3]);
        loop {
            if !lines.line.ends_with(b"\n") {
                lines.line.push(b'\n');
            }
            let line = &lines.line;
            if len + line.len() > LINE_LEN_MAX {
                return Err(EntryFault::TooLong);
            }
            self.fields.resize(len + line.len(), 0);
            let (result, read, written, ended) =
                self.parser.read_record(line, &mut self.fields[len..], &mut ends[count..]);
            (len, count) = (len + written, count + ended);
            match result {
                ReadRecordResult::Record if count != 2 => return Err(EntryFault::Fields),
                // The parser ends a record at the first byte of CR LF.
                ReadRecordResult::Record if !matches!(line[read..], [] | [b'\n']) => {
                    return Err(EntryFault::Return);
                }
                ReadRecordResult::Record => {
                    let (key, value) = self.fields[..ends[1]].split_at(ends[0]);
                    return Ok((key.to_vec(), value.to_vec()));
                }
                ReadRecordResult::InputEmpty if !lines.advance()? => {
                    return Err(EntryFault::OpenQuote);
                }
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull
                | ReadRecordResult::OutputEndsFull
                | ReadRecordResult::End => return Err(EntryFault::Fields),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All entries, or the line at which there was a fault and what it said.
    fn read(bytes: &'static [u8], csv: bool) -> Result<Vec<(String, String, u64)>, String> {
        let lines = Lines::new(Box::new(bytes));
        let mut file = EntryFile { name: "f".into(), lines, csv: csv.then(Csv::new) };
        let mut entries = Vec::new();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let mut line = 0;
        loop {
            match file.read(&mut line) {
                Ok(None) => return Ok(entries),
                Ok(Some(Entry { key, value })) => entries.push((text(key), text(value), line)),
                Err(fault) => return Err(format!("line {line}: {fault}")),
            }
        }
    }

    #[track_caller]
    fn check(bytes: &'static [u8], expect: &[(&str, &str, u64)]) {
        let found = read(bytes, true).unwrap();
        let found: Vec<_> = found.iter().map(|(k, v, line)| (&k[..], &v[..], *line)).collect();
        assert_eq!(found, expect, "{}", bytes.escape_ascii());
    }

    #[test]
    fn csv_is_read_with_the_lines_its_records_begin_on() {
        check(b"", &[]);
        check(b"key,value\n", &[]);
        check(b"key,value\r\na,1\r\n\r\nb,2", &[("a", "1", 2), ("b", "2", 4)]);
        check(b"a,1\n\n\nkey,value\n", &[("a", "1", 1), ("key", "value", 4)]);
        check(b"\xef\xbb\xbfkey,value\na,\n", &[("a", "", 2)]);
        check(
            b"\"a,\"\"b\"\"\",\"1\r\n\n2\"\r\nb, 2 \r\n",
            &[("a,\"b\"", "1\r\n\n2", 1), ("b", " 2 ", 4)],
        );
        check(b"\"a\nb\",\"\"\nc,\"\r\n\"", &[("a\nb", "", 1), ("c", "\r\n", 3)]);
    }

    #[test]
    fn csv_that_is_not_keys_and_values_is_refused_by_line() {
        for (bytes, expect) in [
            (&b"a,1\r\nb\r\n"[..], "line 2: two fields"),
            (b"a,1\nb,2,3\n", "line 2: two fields"),
            (b"a,1\nb,2,3,4\n", "line 2: two fields"),
            (b"\"a\n\",1\n   \n", "line 3: two fields"),
            (b"a,1\nb,\"2\nc,3\n", "line 2: a quote is not closed"),
            (b"a,\"", "line 1: a quote is not closed"),
            (b"a,1\rb,2\r", "line 1: a carriage return"),
            (b"\n,1\n", "line 2: the key is empty"),
        ] {
            let fault = read(bytes, true).expect_err(expect);
            assert!(fault.starts_with(expect), "{fault:?}, not {expect:?}");
        }
    }

    #[test]
    fn json_lines_may_be_empty_and_the_last_may_have_no_end() {
        let entries =
            read(b"\n{\"key\":\"a\",\"value\":\"\"}\r\n \n{\"key\":\"b\",\"value\":1}", false);
        let entry = |key: &str, value: &str, line| (key.to_owned(), value.to_owned(), line);
        assert_eq!(entries.unwrap(), [entry("a", "", 2), entry("b", "1", 4)]);
        let fault = read(b"\n{}", false).unwrap_err();
        assert!(fault.starts_with("line 2: one of `key`"), "{fault}");
    }

    #[test]
    fn a_line_without_end_is_not_taken_into_memory() {
        for csv in [None, Some(Csv::new())] {
            let lines = Lines::new(Box::new(BufReader::new(io::repeat(b'"'))));
            let mut file = EntryFile { name: "f".into(), lines, csv };
            let fault = crate::failure::one_line(&file.next().unwrap_err());
            assert!(fault.starts_with("f: line 1: longer than"), "{fault}");
        }
    }
}
