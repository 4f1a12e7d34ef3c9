//! The answer of a verb that copies a database.

use serde::Serialize;

use crate::failure::Failure;
use crate::output::Output;
use crate::units::mebibytes;

#[derive(Serialize)]
pub(super) struct Copied {
    pub(super) lsn: u64,
    pub(super) checkpoint_lsn: u64,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl Copied {
    /// `what` was done, up to the last record.
    pub(super) fn tell(&self, what: &str, out: &mut Output) -> Result<(), Failure> {
        out.answer(self, || {
            let Self { lsn, files, bytes, .. } = self;
            format!("{what} up to LSN {lsn}: {files} files, {:.1} MiB, verified", mebibytes(*bytes))
        })
    }
}
