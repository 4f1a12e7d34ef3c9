//! Running one test of this binary once more, as another process.

use std::path::{Path, PathBuf};
use std::process::Command;

const PLACE: &str = "GANNET_TEST_PLACE";

/// In the other process: the directory that the first one handed over.
pub(crate) fn place() -> Option<PathBuf> {
    std::env::var_os(PLACE).map(PathBuf::from)
}

/// A process that runs the test `test` (named with its module) in the directory `place`.
pub(crate) fn process(test: &str, place: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("path of this binary"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(PLACE, place).current_dir(place);
    command
}

#[cfg(target_os = "linux")]
pub(crate) use own_mounts::{run, with_own_mounts};

#[cfg(target_os = "linux")]
mod own_mounts {
    use super::{place, process};
    use std::io::Write as _;
    use std::path::Path;
    use std::process::Command;

    const REACHED: &str = "reached the end with its own mounts";

    /// Runs `body` with a directory in which `mount` (arguments of that program, with paths
    /// relative to the directory) was done, in another process whose mounts vanish with it. Says
    /// so and does nothing where `prepare` or the mount is not possible.
    pub(crate) fn with_own_mounts(
        test: &str,
        prepare: impl FnOnce(&Path) -> Result<(), String>,
        mount: &[&str],
        body: impl FnOnce(&Path),
    ) {
        if let Some(dir) = place() {
            run(&dir, "mount", mount);
            body(&dir);
            writeln!(std::io::stdout(), "{REACHED}").expect("stdout");
            return;
        }
        let dir = tempfile::tempdir().expect("directory");
        std::fs::create_dir(dir.path().join("mounted")).expect("mount point");
        if let Err(reason) = prepare(dir.path()) {
            return eprintln!("skipped {test}: {reason}");
        }
        // As root, or as the root of a user namespace.
        let ways: [&[&str]; 2] = [&["--mount"], &["--map-root-user", "--mount"]];
        let possible = ways.into_iter().find(|flags| {
            let mut trial = Command::new("unshare");
            trial.args(*flags).arg("mount").args(mount).current_dir(dir.path());
            trial.output().is_ok_and(|output| output.status.success())
        });
        let Some(flags) = possible else {
            return eprintln!("skipped {test}: this user may not mount {mount:?}");
        };
        let inner = process(test, dir.path());
        let mut outer = Command::new("unshare");
        outer.args(flags).arg(inner.get_program()).args(inner.get_args());
        outer.envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
        let output = outer.current_dir(dir.path()).output().expect("runs");
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && out.contains(REACHED), "{out}\n{err}");
    }

    /// Runs a program in `dir` that must succeed.
    #[track_caller]
    pub(crate) fn run(dir: &Path, program: &str, args: &[&str]) {
        let output = Command::new(program).args(args).current_dir(dir).output().expect(program);
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
    }
}
