//! Where rings are refused: one typed error with cause and remedy, and nothing is made.

use crate::interrupt::Interrupted;
use crate::{again, try_open, with_causes};
use gannet_storage::ErrorKind;
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::collections::BTreeMap;

/// The call that a filter refuses, with the error it gives, and what the error has to say.
const CASES: [(&str, i64, i32, &[&str]); 5] = [
    ("setup EPERM", libc::SYS_io_uring_setup, libc::EPERM, &["io_uring_setup is refused", "allow"]),
    ("setup ENOSYS", libc::SYS_io_uring_setup, libc::ENOSYS, &["io_uring_setup", "Linux 5.6"]),
    (
        "register EPERM",
        libc::SYS_io_uring_register,
        libc::EPERM,
        &["io_uring_register is", "allow"],
    ),
    ("register ENOSYS", libc::SYS_io_uring_register, libc::ENOSYS, &["io_uring_register is"]),
    ("enter EPERM", libc::SYS_io_uring_enter, libc::EPERM, &["first read and sync", "allow"]),
];

#[test]
fn a_refused_ring_is_unsupported_with_its_cause_and_makes_no_directory() {
    const TEST: &str =
        "refused::a_refused_ring_is_unsupported_with_its_cause_and_makes_no_directory";
    let Some((place, case)) = again::place() else {
        let dir = tempfile::tempdir().unwrap();
        for (case, ..) in CASES {
            again::run(&mut again::process_at(&[], TEST, dir.path(), case));
        }
        return;
    };
    let _signals = Interrupted::begin();
    let (_, call, errno, due) = CASES.into_iter().find(|(name, ..)| *name == case).unwrap();
    let filter: BpfProgram = SeccompFilter::new(
        BTreeMap::from([(call, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.cast_unsigned()),
        std::env::consts::ARCH.try_into().unwrap(),
    )
    .unwrap()
    .try_into()
    .unwrap();
    seccompiler::apply_filter(&filter).unwrap();
    let error = try_open(&place.join("db"), true).unwrap_err();
    let text = with_causes(&error);
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{case}: {text}");
    for part in due {
        assert!(text.contains(part), "{case}: {text}");
    }
    assert!(!place.join("db").exists(), "{case} made a directory");
    again::reached();
}
