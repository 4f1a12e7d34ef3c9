//! Running one test of this binary once more, as another process.

use std::path::{Path, PathBuf};
use std::process::Command;

const PLACE: &str = "GANNET_TEST_PLACE";

/// In the other process: the directory that the first one handed over.
pub(crate) fn place() -> Option<PathBuf> {
    std::env::var_os(PLACE).map(PathBuf::from)
}

/// A process that runs the test `test` (named with its module) in the directory `place`, started by
/// a shell after `before`.
pub(crate) fn process(before: &str, test: &str, place: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before}; exec \"$@\""), "sh"]);
    command.arg(std::env::current_exe().expect("path of this binary"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(PLACE, place).current_dir(place);
    command
}
