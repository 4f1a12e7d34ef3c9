//! Who holds a lock: written into the lock file by the winner, read by the loser.
//!
//! Keeps the text and its reading only. It is a help for people: nothing is decided on it, for it
//! may be missing, old or wrong.

use crate::platform;
use std::fmt;
use std::fs::File;
use std::path::Path;

/// Bytes of the lock file that are looked at.
const TEXT_LEN_MAX: usize = 128;
/// Characters of a program's name that are written and shown.
const PROGRAM_LEN_MAX: usize = 64;

/// The holder of a lock as its lock file names it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holder(Option<Named>);

#[derive(Debug, PartialEq, Eq)]
struct Named {
    pid: u32,
    program: String,
    /// Whether a process of that number can be seen from here; true where nobody can say.
    visible: bool,
}

impl Holder {
    /// Writes this process into a lock file that it has locked. A failure (full disk) is ignored:
    /// the lock holds without it.
    pub(crate) fn write(lock: &File) {
        let program = std::env::current_exe().unwrap_or_default();
        let program = program.file_name().unwrap_or_default().to_string_lossy();
        let text = format!("pid {} {}\n", std::process::id(), printable(&program));
        if matches!(platform::write_at(lock, text.as_bytes(), 0), Ok(n) if n == text.len()) {
            let _ = lock.set_len(text.len() as u64);
        }
    }

    /// Reads who holds a lock file that this process could not lock.
    pub(crate) fn read(lock: &File) -> Self {
        let mut buf = [0; TEXT_LEN_MAX];
        let len = platform::read_at(lock, &mut buf, 0).unwrap_or(0);
        let mut holder = Self::parse(&buf[..len]);
        if cfg!(target_os = "linux")
            && let Some(named) = &mut holder.0
        {
            let processes = Path::new("/proc");
            named.visible =
                processes.join(named.pid.to_string()).exists() || !processes.join("self").exists();
        }
        holder
    }

    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let named = || {
            let (pid, program) = text.lines().next()?.strip_prefix("pid ")?.split_once(' ')?;
            let pid = pid.parse().ok()?;
            Some(Named { pid, program: printable(program), visible: true })
        };
        Self(named())
    }
}

/// `text` without what could disturb a terminal or a line, and not longer than is useful.
fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(PROGRAM_LEN_MAX).collect()
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Named { pid, program, visible }) = &self.0 else {
            return f.write_str("held by a process that the lock file does not name");
        };
        write!(f, "held by pid {pid} ({program})")?;
        if *pid == std::process::id() {
            f.write_str(", which is the pid of this process")?;
        }
        if !visible {
            f.write_str(
                ", which cannot be seen from here: it runs in another container, or was killed and \
                 a child or a last write of it remains",
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Holder {}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock_file(contents: &[u8]) -> File {
        let file = tempfile::tempfile().expect("temporary file");
        platform::write_at(&file, contents, 0).expect("written");
        file
    }

    #[test]
    fn what_is_written_is_read_back_also_over_a_longer_text() {
        let file = lock_file(&[b'x'; 300]);
        Holder::write(&file);
        let pid = std::process::id();
        let holder = Holder::read(&file);
        let named = holder.0.as_ref().expect("named");
        assert_eq!((named.pid, named.visible), (pid, true));
        assert!(named.program.contains("gannet"), "{named:?}");
        assert!(file.metadata().expect("length").len() < 100);
        let text = holder.to_string();
        assert!(text.starts_with(&format!("held by pid {pid} (")), "{text}");
        assert!(text.ends_with("the pid of this process"), "{text}");
    }

    #[test]
    fn hostile_text_is_cut_and_cleaned_or_nobody() {
        let show = |bytes: &[u8]| Holder::parse(bytes).to_string();
        assert_eq!(show(b"pid 0 a\x1b[31m\tb\n"), "held by pid 0 (a[31mb)");
        let long = format!("pid 0 {}", "n".repeat(1000));
        assert_eq!(show(long.as_bytes()), format!("held by pid 0 ({})", "n".repeat(64)));
        let nobody = Holder(None).to_string();
        for bytes in [&b""[..], b"\n", b"pid", b"pid 1", b"pid x y", b"pid -1 y", b"\xff\xfe\0"] {
            assert_eq!(show(bytes), nobody, "{bytes:?}");
        }
        assert_eq!(show(b"pid 4294967296 y"), nobody);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_is_gone_is_said_to_be() {
        // Beyond the largest pid that Linux gives out.
        let text = Holder::read(&lock_file(b"pid 4294967295 gannet\n")).to_string();
        assert!(
            text.starts_with("held by pid 4294967295 (gannet), which cannot be seen"),
            "{text}"
        );
    }
}
