//! The importing child process, and its end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use super::digits::Digits;
use super::error::DemoError;
use crate::args::DatabaseArgs;
use crate::progress;

/// Runs this program's `import` verb in a process of its own and kills it as soon as half of the
/// rows are acknowledged. Returns how many rows were acknowledged before it was dead.
pub(super) fn import_and_kill(
    target: &DatabaseArgs,
    digits: &Digits,
    collection: &str,
    batch: usize,
) -> Result<u64, DemoError> {
    let spawn = |source| DemoError::Spawn { source };
    let mut child = Command::new(std::env::current_exe().map_err(spawn)?)
        .arg("import")
        .arg("--db")
        .arg(&target.db)
        .args(["--backend", &target.backend.to_string()])
        .args(["--collection", collection, "--metric", "l2", "--print-acks"])
        .args(["--batch", &batch.to_string()])
        .arg(&digits.base)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(spawn)?;
    let stdout = child.stdout.take().expect("stdout was asked for");
    let mut stderr = child.stderr.take().expect("stderr was asked for");
    let bar = progress::bar("importing", digits.rows.into());
    let half = u64::from(digits.rows / 2);
    let (mut acked, mut killed) = (0, false);
    // Whatever the child printed before it died was acknowledged, so all of it is read.
    for line in BufReader::new(stdout).lines() {
        let Some(rows) = line.ok().as_deref().and_then(acked_rows) else { continue };
        acked = rows;
        bar.set_position(rows);
        if acked >= half && !killed {
            child.kill().map_err(spawn)?;
            killed = true;
        }
    }
    let mut said = String::new();
    // The child's own words, if there are any, explain a failure; they are not needed otherwise.
    let _ = stderr.read_to_string(&mut said);
    let status = child.wait().map_err(spawn)?;
    match (killed, status.success()) {
        (true, false) => Ok(acked),
        (_, true) => Err(DemoError::ChildFinished),
        (false, false) => Err(DemoError::Child { said: said.trim().to_string() }),
    }
}

/// The rows in a line `acked <rows> <lsn>`; none in any other line, nor in one that was cut.
fn acked_rows(line: &str) -> Option<u64> {
    let mut words = line.split(' ');
    let rows = (words.next()? == "acked").then(|| words.next())??.parse().ok()?;
    let _lsn: u64 = words.next()?.parse().ok()?;
    words.next().is_none().then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_acknowledgements_count() {
        for (line, rows) in [
            ("acked 100 7", Some(100)),
            ("acked 100 ", None),
            ("acked 100", None),
            ("acked", None),
            ("acked x 7", None),
            ("acked 100 7 9", None),
            ("backed 100 7", None),
        ] {
            assert_eq!(acked_rows(line), rows, "{line}");
        }
    }
}
