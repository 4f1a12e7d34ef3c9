//! Running one test of this binary once more, as another process: under limits, filters, or to be
//! killed.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PLACE: &str = "GANNET_TEST_PLACE";
const CASE: &str = "GANNET_TEST_CASE";
const REACHED: &str = "the other process reached its end";

/// In the other process: the directory that the first one handed over, and which case it is.
pub(crate) fn place() -> Option<(PathBuf, String)> {
    let place = std::env::var_os(PLACE)?;
    Some((PathBuf::from(place), std::env::var(CASE).unwrap_or_default()))
}

/// Says to the first process that this one did all it had to.
pub(crate) fn reached() {
    std::io::stdout().write_all(format!("\n{REACHED}\n").as_bytes()).unwrap();
}

/// A process that runs the test `test` (named with its module). `before` is what runs it: the words
/// of a program that gets this binary and its arguments behind them; nothing to run it as it is.
pub(crate) fn process(before: &[&OsStr], binary: &Path, test: &str) -> Command {
    let words = before.iter().copied().chain([binary.as_os_str()]);
    let mut words =
        words.chain([test, "--exact", "--nocapture", "--test-threads=1"].map(OsStr::new));
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

/// The same with a directory and a case handed over.
pub(crate) fn process_at(before: &[&str], test: &str, place: &Path, case: &str) -> Command {
    let before: Vec<_> = before.iter().map(OsStr::new).collect();
    let mut command = process(&before, &std::env::current_exe().unwrap(), test);
    hand_over(&mut command, place, case);
    command
}

pub(crate) fn hand_over(command: &mut Command, place: &Path, case: &str) {
    command.env(PLACE, place).env(CASE, case).current_dir(place);
}

/// Runs it; it has to reach its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && out.contains(REACHED), "{command:?}\n{out}\n{err}");
    output
}
