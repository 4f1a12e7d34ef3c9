//! Everything that is printed on stdout goes through here.
//!
//! A reader that has gone (a closed pipe) is not an error: what is printed after that is dropped,
//! and the verb goes on with its work, which matters more than its report.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Where a verb prints, and in which form.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    reader_left: bool,
}

impl Output {
    /// Prints JSON or text on stdout.
    pub(crate) fn new(json: bool) -> Self {
        Self { json, reader_left: false }
    }

    /// Whether the answer is to be JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints the answer of a verb: the JSON of `value` on one line, or `text`.
    pub(crate) fn answer(
        &mut self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.json { self.json_line(value) } else { self.text(&text()) }
    }

    /// Prints `value` as JSON on a line of its own.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(value).map_err(io::Error::from).map_err(failed)?;
        line.push(b'\n');
        self.bytes(&line)
    }

    /// Prints `text`, and a line end if it has none.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())?;
        if text.ends_with('\n') { Ok(()) } else { self.bytes(b"\n") }
    }

    /// Prints the bytes and nothing else; on a terminal a line end follows.
    pub(crate) fn value(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.bytes(bytes)?;
        if io::stdout().is_terminal() { self.bytes(b"\n") } else { Ok(()) }
    }

    /// Whether anybody still reads what is printed, as far as is known.
    pub(crate) fn is_read(&self) -> bool {
        !self.reader_left
    }

    /// Writes and flushes, so that a reader has each line when it is true.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.reader_left {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.reader_left = true;
                Ok(())
            }
            result => result.map_err(failed),
        }
    }
}

fn failed(source: io::Error) -> Failure {
    Failure::Output { source }
}
