//! SIGKILL: child processes that commit, killed at some acknowledgement or some time, several in a
//! row on one database.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use gannet::{Chance, Database};

use super::ledger::{self, Ledger};
use super::round::Round;
use super::tally::Tally;
use super::{Setting, TortureError, below};

/// When a child is killed.
#[derive(Clone, Copy)]
enum When {
    After(Duration),
    AtAcknowledgement(u64),
}

/// What a child said until it was dead.
struct Said {
    /// Number of the last batch that was acknowledged.
    acked: Option<u64>,
    /// It ended before it was killed; what it said about that.
    failed: Option<String>,
}

pub(super) fn round(
    setting: &Setting<'_>,
    number: u64,
    tally: &mut Tally,
) -> Result<(), TortureError> {
    let name = Round::Kill(number);
    let dir = setting.place.fresh(&format!("{}-{name}", setting.backend))?;
    let chance = setting.chance(1, number);
    let seed = chance.next_u64();
    let mut ledger = Ledger::new(seed);
    let before = tally.violations;
    for tag in 1..=3 + below(&chance, 3) {
        let window = 1 + below(&chance, 4);
        let when = if below(&chance, 3) == 0 {
            When::After(Duration::from_micros(below(&chance, 60_000)))
        } else {
            When::AtAcknowledgement(1 + below(&chance, 40))
        };
        let first = ledger.next();
        let said = kill(child(setting, &dir, [seed, first, tag, window])?, when)?;
        tally.kills += 1;
        if let Some(failed) = said.failed {
            tally.tell(1, &format!("the child failed: {failed}"), &name);
            break;
        }
        (first..=said.acked.unwrap_or(0)).for_each(|_| ledger.ack(tag));
        (0..window).for_each(|_| ledger.perhaps(tag));
        // Killed again, once or twice, while it recovers.
        for _ in 0..below(&chance, 3) {
            let wait = When::After(Duration::from_micros(below(&chance, 8_000)));
            kill(opener(setting, &dir)?, wait)?;
            tally.kills += 1;
        }
        if !reopen(setting, &dir, (seed, tag), &mut ledger, &name, tally) {
            break;
        }
    }
    if tally.violations == before { setting.place.discard(&dir) } else { Ok(()) }
}

/// Opens what the child left; false if that is no use.
fn reopen(
    setting: &Setting<'_>,
    dir: &Path,
    (seed, tag): (u64, u64),
    ledger: &mut Ledger,
    name: &Round,
    tally: &mut Tally,
) -> bool {
    let opened = ledger::open_storage(setting.backend, dir)
        .and_then(|storage| Database::open(storage, ledger::config(seed, tag + 1_000)));
    let db = match opened {
        Ok(db) => db,
        Err(error) => {
            let error = crate::failure::one_line(&error);
            tally.tell(1, &format!("it does not open: {error}"), name);
            return false;
        }
    };
    tally.add(&ledger.check(&db), name);
    match db.verify() {
        Ok(report) => {
            for fault in &report.faults {
                tally.tell(1, &format!("verification finds {fault}"), name);
            }
        }
        Err(error) => tally.tell(1, &crate::failure::one_line(&error), name),
    }
    true
}

fn child(
    setting: &Setting<'_>,
    dir: &Path,
    [seed, first, tag, window]: [u64; 4],
) -> Result<Child, TortureError> {
    let failed = |source| TortureError::Child { source };
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("torture-child").arg("--db").arg(dir);
    command.args(["--backend", &setting.backend.to_string()]);
    for (name, value) in
        [("--seed", seed), ("--first", first), ("--tag", tag), ("--window", window)]
    {
        command.args([name, &value.to_string()]);
    }
    if setting.acknowledge_early {
        command.arg("--acknowledge-early");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(failed)
}

/// A child that opens the database, looks at all of it, and ends.
fn opener(setting: &Setting<'_>, dir: &Path) -> Result<Child, TortureError> {
    let failed = |source| TortureError::Child { source };
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("verify").arg("--db").arg(dir);
    command.args(["--backend", &setting.backend.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(failed)
}

/// Kills the child at its time. Whatever it had said by then was acknowledged, so all is read.
fn kill(mut child: Child, when: When) -> Result<Said, TortureError> {
    let failed = |source| TortureError::Child { source };
    let stdout = child.stdout.take().expect("stdout was asked for");
    let mut stderr = child.stderr.take().expect("stderr was asked for");
    let (mut acked, mut lines) = (None, 0);
    if let When::After(wait) = when {
        thread::sleep(wait);
        child.kill().map_err(failed)?;
    }
    for line in BufReader::new(stdout).lines() {
        let Some(number) = line.ok().as_deref().and_then(acked_number) else { continue };
        acked = Some(number);
        lines += 1;
        if matches!(when, When::AtAcknowledgement(at) if at == lines) {
            child.kill().map_err(failed)?;
        }
    }
    let mut said = String::new();
    // Its own words explain a failure; they are not needed otherwise.
    let _ = stderr.read_to_string(&mut said);
    let status = child.wait().map_err(failed)?;
    let failed = status.code().map(|code| format!("exit code {code}: {}", said.trim()));
    Ok(Said { acked, failed })
}

/// The number in a line `acked <number> .`; none in one that was cut.
fn acked_number(line: &str) -> Option<u64> {
    line.strip_prefix("acked ")?.strip_suffix(" .")?.parse().ok()
}
