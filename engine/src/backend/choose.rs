//! Which backend runs: the one that was named, or the first that works of those `Auto` knows.

use super::{AnyStorage, Backend};
use crate::error::{OpenError, with_causes};
use gannet_storage::DirOptions;
#[cfg(all(feature = "uring", not(target_os = "linux")))]
use gannet_storage::{Error, Op};
use gannet_storage::{ErrorKind, MemStorage};
use std::error::Error as _;
use std::path::Path;

/// What `Auto` tries, the best first.
const PREFERENCE: [Backend; 3] = [Backend::Uring, Backend::Std, Backend::Mmap];

/// How one backend is opened.
type Open<'a> = &'a dyn Fn(Backend) -> Result<AnyStorage, OpenError>;

/// Opens `dir` with `backend`.
pub(super) fn open(
    backend: Backend,
    dir: &Path,
    options: &DirOptions,
) -> Result<AnyStorage, OpenError> {
    if backend == Backend::Auto {
        return first_that_works(&|backend| open_named(backend, dir, options));
    }
    open_named(backend, dir, options)
}

#[cfg_attr(
    not(any(feature = "std", feature = "uring", feature = "mmap")),
    expect(unused_variables, reason = "no backend that looks at a directory is compiled in")
)]
fn open_named(backend: Backend, dir: &Path, options: &DirOptions) -> Result<AnyStorage, OpenError> {
    match backend {
        #[cfg(feature = "std")]
        Backend::Std => Ok(super::StdStorage::open(dir, options)?.into()),
        #[cfg(all(feature = "uring", target_os = "linux"))]
        Backend::Uring => Ok(super::UringStorage::open(dir, options)?.into()),
        #[cfg(all(feature = "uring", not(target_os = "linux")))]
        Backend::Uring => {
            let place = dir.display().to_string();
            let refused = Error::new(ErrorKind::Unsupported, Op::OpenStorage, place);
            Err(refused.because("io_uring is a part of Linux: use the std backend here").into())
        }
        #[cfg(feature = "mmap")]
        Backend::Mmap => Ok(super::MmapStorage::open(dir, options)?.into()),
        Backend::Memory => Ok(MemStorage::new().into()),
        other => Err(OpenError::NotCompiled(other)),
    }
}

/// The first that is not refused; what is refused is kept with its reason.
fn first_that_works(open: Open<'_>) -> Result<AnyStorage, OpenError> {
    let mut refused = Vec::new();
    let mut unsupported = None;
    for backend in PREFERENCE {
        match open(backend) {
            Ok(storage) => return Ok(storage.refusing(refused)),
            Err(OpenError::Storage(error)) if error.kind() == ErrorKind::Unsupported => {
                // What was done and where is known: the cause alone is news.
                let reason = error.source().map_or_else(|| error.to_string(), with_causes);
                refused.push((backend, reason));
                unsupported.get_or_insert(error);
            }
            Err(error @ OpenError::NotCompiled(_)) => refused.push((backend, error.to_string())),
            Err(error) => return Err(error),
        }
    }
    // Std is the one that works everywhere: where not even that is compiled in, it is the remedy.
    Err(unsupported.map_or(OpenError::NotCompiled(Backend::Std), OpenError::Storage))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gannet_storage::{Error, Op};

    fn storage_error(kind: ErrorKind) -> OpenError {
        Error::new(kind, Op::OpenStorage, "dir").because("the cause").into()
    }

    /// What `Auto` refused, or why it took none.
    type Refused = Result<Vec<(Backend, String)>, String>;

    /// Opens as `Auto` does, where each backend answers with what `answer` gives; tells which were
    /// tried and what came of it.
    fn auto(answer: impl Fn(Backend) -> Option<OpenError>) -> (Vec<Backend>, Refused) {
        let tried = std::cell::RefCell::new(Vec::new());
        let opened = first_that_works(&|backend| {
            tried.borrow_mut().push(backend);
            answer(backend).map_or_else(|| Ok(MemStorage::new().into()), Err)
        });
        let refused = opened.map(|storage| storage.backend_info().refused.clone());
        (tried.into_inner(), refused.map_err(|error| with_causes(&error)))
    }

    #[test]
    fn auto_takes_the_first_that_works_and_keeps_why_the_others_did_not() {
        assert_eq!(auto(|_| None), (vec![Backend::Uring], Ok(Vec::new())));
        let (tried, refused) = auto(|backend| {
            let uring = || storage_error(ErrorKind::Unsupported);
            let std = || (backend == Backend::Std).then_some(OpenError::NotCompiled(backend));
            (backend == Backend::Uring).then(uring).or_else(std)
        });
        assert_eq!(tried, PREFERENCE);
        let refused = refused.expect("mmap works");
        assert_eq!(refused[0], (Backend::Uring, "the cause".to_owned()));
        assert!(refused[1].0 == Backend::Std && refused[1].1.contains("cargo feature `std`"));
        assert_eq!(refused.len(), 2);
    }

    #[test]
    fn auto_does_not_go_around_a_refusal_that_is_about_the_directory() {
        for kind in [ErrorKind::Locked, ErrorKind::Foreign, ErrorKind::NotFound, ErrorKind::Io] {
            let (tried, refused) = auto(|_| Some(storage_error(kind)));
            assert_eq!(tried, [Backend::Uring], "{kind:?}");
            assert!(refused.is_err_and(|text| text.ends_with("the cause")), "{kind:?}");
        }
    }

    #[test]
    fn where_nothing_works_the_best_one_says_why() {
        let (_, refused) = auto(|backend| {
            let is_uring = backend == Backend::Uring;
            let missing = OpenError::NotCompiled(backend);
            Some(if is_uring { storage_error(ErrorKind::Unsupported) } else { missing })
        });
        assert!(refused.is_err_and(|text| text.ends_with("not supported here: the cause")));
        let (_, refused) = auto(|backend| Some(OpenError::NotCompiled(backend)));
        assert!(refused.is_err_and(|text| text.contains("cargo feature `std`")));
    }

    #[test]
    fn a_backend_that_is_not_compiled_in_says_which_feature_compiles_it_in() {
        for (backend, is_in) in [
            (Backend::Std, cfg!(feature = "std")),
            (Backend::Uring, cfg!(feature = "uring")),
            (Backend::Mmap, cfg!(feature = "mmap")),
        ] {
            let missing = Path::new("no/such/directory");
            let error = open(backend, missing, &DirOptions::existing()).expect_err("not there");
            assert_eq!(matches!(error, OpenError::NotCompiled(_)), !is_in, "{error:?}");
            let text = with_causes(&error);
            assert!(is_in || text.contains(&format!("cargo feature `{backend}`")), "{text}");
        }
    }
}
