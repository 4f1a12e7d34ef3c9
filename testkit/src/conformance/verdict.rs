//! How a check fails: with the number of the clause, the call, what was due and what came.

use gannet_storage::{ErrorKind, FileName, Op, Result};
use std::fmt::Debug;

/// One clause of the contract, as numbered in the docs of `gannet_storage`.
#[derive(Clone, Copy)]
pub(super) struct Clause {
    pub(super) number: u8,
    pub(super) title: &'static str,
}

impl Clause {
    /// The value of a call that the clause says must succeed.
    #[track_caller]
    pub(super) fn ok<T>(self, call: &str, result: Result<T>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => self.broken(call, &format!("expected Ok, got {error:?}")),
        }
    }

    /// Passes where the call failed with `kind` and named itself and its place in the error.
    #[track_caller]
    pub(super) fn refused<T>(self, call: &str, result: Result<T>, kind: ErrorKind) {
        match result {
            Ok(_) => self.broken(call, &format!("expected {kind:?}, got Ok")),
            Err(error) if error.kind() != kind => {
                self.broken(call, &format!("expected {kind:?}, got {error:?}"));
            }
            Err(error) if error.place().is_empty() => {
                self.broken(call, &format!("the error names no file: {error:?}"));
            }
            Err(_) => {}
        }
    }

    /// As [`refused`](Self::refused), and the error says which call and which file.
    #[track_caller]
    pub(super) fn refused_at<T>(
        self,
        call: &str,
        result: Result<T>,
        kind: ErrorKind,
        op: Op,
        name: &FileName,
    ) {
        if let Err(error) = &result
            && error.kind() == kind
            && (error.op() != op || error.place() != name.as_str())
        {
            self.broken(call, &format!("the error should be of {op:?} on {name}: {error:?}"));
        }
        self.refused(call, result, kind);
    }

    /// Passes where the call failed, however.
    #[track_caller]
    pub(super) fn fails<T>(self, call: &str, result: &Result<T>) {
        if result.is_ok() {
            self.broken(call, "expected an error, got Ok");
        }
    }

    /// Passes where both values are the same.
    #[expect(clippy::needless_pass_by_value, reason = "both values are made for the comparison")]
    #[track_caller]
    pub(super) fn same<T: PartialEq + Debug>(self, call: &str, found: T, due: T) {
        if found != due {
            self.broken(call, &format!("expected {due:?}, got {found:?}"));
        }
    }

    /// Passes where both are the same bytes; else names the first that differs.
    #[track_caller]
    pub(super) fn same_bytes(self, call: &str, found: &[u8], due: &[u8]) {
        self.same(&format!("{call}: number of bytes"), found.len(), due.len());
        if let Some(at) = found.iter().zip(due).position(|(found, due)| found != due) {
            let what = format!("byte {at} is {:#04x}, expected {:#04x}", found[at], due[at]);
            self.broken(call, &what);
        }
    }

    #[track_caller]
    pub(super) fn broken(self, call: &str, what: &str) -> ! {
        panic!("clause {} ({}) is broken by {call}: {what}", self.number, self.title)
    }
}
