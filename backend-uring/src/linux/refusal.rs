//! Why there is no ring here, and what can be done about it.

use crate::linux::setup::is_about_arguments;
use rustix::io::Errno;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

/// A ring that could not be had.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The kernel has no such operation.
    MissingOperation(&'static str),
    /// A call, and how it failed.
    Call(Call, io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Setup,
    Register,
    Request,
}

impl Refusal {
    pub(crate) fn of_setup(error: io::Error) -> Self {
        Self::Call(Call::Setup, error)
    }

    pub(crate) fn of_register(error: io::Error) -> Self {
        Self::Call(Call::Register, error)
    }

    pub(crate) fn of_request(error: io::Error) -> Self {
        Self::Call(Call::Request, error)
    }

    /// Whether it may be gone with another configuration of the ring.
    pub(crate) fn may_be_a_flag(&self) -> bool {
        match self {
            Self::MissingOperation(_) => false,
            Self::Call(_, error) => is_about_arguments(error),
        }
    }
}

impl From<Refusal> for io::Error {
    /// Of the same kind as what the kernel said.
    fn from(refusal: Refusal) -> Self {
        let kind = match &refusal {
            Refusal::MissingOperation(_) => io::ErrorKind::Unsupported,
            Refusal::Call(_, error) => error.kind(),
        };
        Self::new(kind, refusal)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (call, error) = match self {
            Self::MissingOperation(name) => {
                return write!(f, "the kernel has no {name}: Linux 5.6 or later is needed");
            }
            Self::Call(call, error) => (call, error),
        };
        f.write_str(match call {
            Call::Setup => "io_uring_setup is refused: ",
            Call::Register => "io_uring_register is refused: ",
            Call::Request => "a first read and sync through a ring failed: ",
        })?;
        f.write_str(&remedy(error, disabled_by_sysctl()))
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::MissingOperation(_) => None,
            Self::Call(_, error) => Some(error),
        }
    }
}

/// Cause and remedy of a failed call, as far as its error number tells.
fn remedy(error: &io::Error, disabled_by_sysctl: bool) -> String {
    let text = match Errno::from_io_error(error) {
        Some(Errno::PERM | Errno::ACCESS) if disabled_by_sysctl => {
            "the sysctl kernel.io_uring_disabled forbids it; set it to 0 to allow it"
        }
        Some(Errno::PERM | Errno::ACCESS) => {
            "a seccomp filter or security policy forbids it, as container runtimes do by default; \
             allow io_uring_setup, io_uring_enter and io_uring_register"
        }
        Some(Errno::NOSYS) => {
            "the kernel has no io_uring, or a seccomp filter hides it; Linux 5.6 or later is \
             needed, and a filter has to allow io_uring_setup, io_uring_enter and io_uring_register"
        }
        Some(Errno::NOMEM) => {
            "there is too little memory, or too little of it may be locked; most kernels count \
             rings against the memlock limit of the user (ulimit -l): raise it"
        }
        Some(Errno::MFILE | Errno::NFILE) => "too many files are open; raise the limit (ulimit -n)",
        _ => return error.to_string(),
    };
    text.to_owned()
}

/// Whether the administrator has switched rings off for this process, or for all.
fn disabled_by_sysctl() -> bool {
    let setting = Path::new("/proc/sys/kernel/io_uring_disabled");
    std::fs::read_to_string(setting).is_ok_and(|text| text.trim() != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_remedy() {
        for (errno, disabled, due) in [
            (Errno::PERM, false, "seccomp"),
            (Errno::PERM, true, "io_uring_disabled"),
            (Errno::ACCESS, false, "seccomp"),
            (Errno::NOSYS, false, "Linux 5.6"),
            (Errno::NOMEM, false, "memlock"),
            (Errno::MFILE, false, "ulimit -n"),
            (Errno::IO, false, "os error 5"),
        ] {
            let text = remedy(&errno.into(), disabled);
            assert!(text.contains(due), "{errno}: {text}");
        }
    }

    #[test]
    fn only_refused_arguments_are_tried_again_without_flags() {
        let refused = |errno: Errno| Refusal::of_setup(errno.into()).may_be_a_flag();
        assert!(refused(Errno::INVAL));
        assert!(!refused(Errno::PERM));
        assert!(!refused(Errno::NOSYS));
        assert!(!Refusal::MissingOperation("IORING_OP_READ").may_be_a_flag());
    }
}
