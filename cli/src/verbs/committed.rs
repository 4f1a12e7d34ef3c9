//! The answer of a verb that is one commit: nothing for a person, who asked for no more.

use gannet::Commit;
use serde::Serialize;

use crate::args::CommitArgs;
use crate::database;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Serialize)]
pub(super) struct Committed {
    lsn: u64,
    durability: &'static str,
}

impl Committed {
    pub(super) fn new(commit: Commit, args: CommitArgs) -> Self {
        Self { lsn: commit.last_lsn, durability: database::durability_name(args.durability) }
    }

    pub(super) fn tell(&self, out: &mut Output) -> Result<(), Failure> {
        if out.is_json() { out.json_line(self) } else { Ok(()) }
    }
}
