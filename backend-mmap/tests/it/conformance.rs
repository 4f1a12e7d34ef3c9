//! The contract, clause by clause.

use crate::{at_once, open};
use gannet_backend_mmap::MmapStorage;
use std::cell::Cell;
use std::path::Path;

fn check(parent: &Path) {
    let count = Cell::new(0);
    gannet_testkit::conformance::run(|| {
        count.set(count.get() + 1);
        open(&parent.join(count.get().to_string()))
    });
    gannet_testkit::conformance::run_persistent(|| {
        MmapStorage::open(&parent.join("again"), &at_once())
    });
}

#[test]
fn it_keeps_the_contract() {
    check(tempfile::tempdir().expect("directory").path());
}

#[test]
#[cfg(target_os = "linux")]
fn it_keeps_the_contract_on_every_file_system() {
    use gannet_testkit::mount::Mount;
    for mount in [Mount::tmpfs(64 << 20), Mount::ext4(64 << 20), Mount::xfs(300 << 20)] {
        match mount {
            Ok(mount) => check(&mount.path()),
            Err(reason) => eprintln!("skipped: {reason}"),
        }
    }
}
