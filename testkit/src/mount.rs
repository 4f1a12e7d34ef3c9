//! Small file systems of a test's own: made, mounted, and gone when the test ends. Linux only.
//!
//! Keeps the programs `mkfs` and `mount`, and the cleaning up. It needs root, the programs of each
//! file system and, for those on a disk, loop devices; where one is missing the result is an error
//! that says so, and a test prints it and passes:
//!
//! ```
//! # use gannet_testkit::mount::Mount;
//! # use gannet_storage::MemStorage as MyStorage;
//! # fn storage_at(_dir: &std::path::Path) -> MyStorage { MyStorage::new() }
//! # fn test() {
//! let mount = match Mount::ext4(64 << 20) {
//!     Ok(mount) => mount,
//!     Err(reason) => return eprintln!("skipped: {reason}"),
//! };
//! let dir = mount.path().join("db"); // not the root, which holds `lost+found`
//! let storage = storage_at(&dir);
//! # drop(storage);
//! # }
//! # test();
//! ```
//!
//! A process that is killed leaves its mounts behind, under the system's directory of temporary
//! files, in directories named `gannet-mount-` and the process and a number.

#![expect(clippy::disallowed_methods, reason = "it makes disks out of files, below any storage")]

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::Command;

/// A mounted file system. Unmounted and removed on drop; if something in it is still open then (a
/// leaked queue), it is out of sight at once and ends with its last user.
#[derive(Debug)]
pub struct Mount {
    place: Place,
    kind: &'static str,
    device: PathBuf,
    options: String,
    /// What holds the disk's image, if not the place.
    outer: Option<Box<Self>>,
}

/// A directory for one mount, which holds `DISK` and `ROOT` and is removed on drop.
#[derive(Debug)]
struct Place(PathBuf);

/// The disk's image; a tmpfs has none.
const DISK: &str = "disk";
/// Where it is mounted.
const ROOT: &str = "mounted";

/// Why there is no mount: one line, with what the system said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoMount(String);

impl fmt::Display for NoMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoMount {}

impl Mount {
    /// A file system in memory, of `size_bytes`.
    ///
    /// # Errors
    /// Where this user may not mount.
    pub fn tmpfs(size_bytes: u64) -> Result<Self, NoMount> {
        Self::tmpfs_with(size_bytes, "")
    }

    /// As [`tmpfs`](Self::tmpfs), with more options of `mount`, between commas.
    ///
    /// # Errors
    /// As [`tmpfs`](Self::tmpfs).
    pub fn tmpfs_with(size_bytes: u64, options: &str) -> Result<Self, NoMount> {
        Place::make()?.mount("tmpfs", "tmpfs", &[&format!("size={size_bytes}"), options])
    }

    /// An ext4 on a sparse image of `size_bytes`, at least 1 MiB.
    ///
    /// # Errors
    /// Where this user may not mount, or there is no `mkfs.ext4` or no loop device.
    pub fn ext4(size_bytes: u64) -> Result<Self, NoMount> {
        Self::ext4_with(size_bytes, &[], "")
    }

    /// As [`ext4`](Self::ext4), with arguments of `mkfs.ext4`, and options of `mount` between
    /// commas.
    ///
    /// # Errors
    /// As [`ext4`](Self::ext4).
    pub fn ext4_with(size_bytes: u64, mkfs: &[&str], options: &str) -> Result<Self, NoMount> {
        let place = Place::make()?;
        place.make_disk(size_bytes, "mkfs.ext4", &[&["-q", "-F"], mkfs].concat())?;
        place.mount("ext4", DISK, &["loop", options])
    }

    /// An ext4 on a sparse image of `size_bytes` inside of `outer`, which may have less room than
    /// that: the disk promises more than it has. A write-back that finds no room then fails, the
    /// next sync says so, and the one after it knows nothing of it and says that all is well.
    ///
    /// # Errors
    /// As [`ext4`](Self::ext4).
    pub fn ext4_inside(outer: Self, size_bytes: u64) -> Result<Self, NoMount> {
        let (place, disk) = (Place::make()?, outer.path().join(DISK));
        let made = File::create(&disk).and_then(|disk| disk.set_len(size_bytes));
        made.map_err(|error| place.failed(&error))?;
        let text = disk.to_string_lossy().into_owned();
        place.run("mkfs.ext4", &["-q", "-F", "-E", "nodiscard", &text])?;
        let mut mount = place.mount("ext4", &text, &["loop", "errors=continue"])?;
        mount.outer = Some(Box::new(outer));
        Ok(mount)
    }

    /// The file system that holds this one's disk, if it was given.
    #[must_use]
    pub fn outer(&self) -> Option<&Self> {
        self.outer.as_deref()
    }

    /// Unmounts and mounts it again: what is seen then is on its disk.
    ///
    /// # Errors
    /// What the system says; if something in it is open.
    pub fn again(&self) -> Result<(), NoMount> {
        // Rings of io_uring let go of their files some time after they are closed.
        const TRIES: u32 = 1000;
        let mut done = self.place.run("umount", &[ROOT]);
        for _ in 0..TRIES {
            if done.is_ok() {
                break;
            }
            done = self.place.run("umount", &[ROOT]);
        }
        done?;
        self.place.run_mount(self.kind, &self.device.to_string_lossy(), &self.options)
    }

    /// An XFS on a sparse image of `size_bytes`, at least 300 MiB.
    ///
    /// # Errors
    /// Where this user may not mount, or there is no `mkfs.xfs` or no loop device.
    pub fn xfs(size_bytes: u64) -> Result<Self, NoMount> {
        let place = Place::make()?;
        place.make_disk(size_bytes, "mkfs.xfs", &["-q", "-f"])?;
        place.mount("xfs", DISK, &["loop"])
    }

    /// Its root directory. That of an ext4 is not empty.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.place.0.join(ROOT)
    }

    /// What the machine would find if the power went now: a copy of the disk as it is, mounted. It
    /// shows one outcome of many, that in which the disk kept just what it was given.
    ///
    /// # Errors
    /// As making this one.
    ///
    /// # Panics
    /// For a tmpfs, of which a power cut leaves nothing.
    pub fn after_power_cut(&self) -> Result<Self, NoMount> {
        assert_ne!(self.kind, "tmpfs", "a tmpfs has no disk");
        let place = Place::make()?;
        fs::copy(self.place.0.join(DISK), place.0.join(DISK)).map_err(|e| place.failed(&e))?;
        place.mount(self.kind, DISK, &["loop"])
    }

    /// Changes options of the mounted file system; `ro` makes it read-only.
    ///
    /// # Errors
    /// What the system says; for `ro`, while a file is open for writing.
    pub fn remount(&self, options: &str) -> Result<(), NoMount> {
        self.place.run("mount", &["-o", &format!("remount,{options}"), ROOT])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A mount that cannot be removed stays, and its place with it, which is not empty then.
        let done = self.place.run("umount", &[ROOT]);
        let _ = done.or_else(|_| self.place.run("umount", &["-l", ROOT]));
    }
}

impl Place {
    fn make() -> Result<Self, NoMount> {
        let parent = std::env::temp_dir();
        for number in 0_u32.. {
            let path = parent.join(format!("gannet-mount-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    let place = Self(path);
                    made.and_then(|()| fs::create_dir(place.0.join(ROOT)))
                        .map_err(|error| place.failed(&error))?;
                    return Ok(place);
                }
            }
        }
        Err(NoMount(format!("no free name in {}", parent.display())))
    }

    fn make_disk(&self, size_bytes: u64, mkfs: &str, args: &[&str]) -> Result<(), NoMount> {
        let made = File::create(self.0.join(DISK)).and_then(|disk| disk.set_len(size_bytes));
        made.map_err(|error| self.failed(&error))?;
        self.run(mkfs, &[args, &[DISK]].concat())
    }

    fn mount(self, kind: &'static str, device: &str, options: &[&str]) -> Result<Mount, NoMount> {
        let given: Vec<_> = options.iter().copied().filter(|part| !part.is_empty()).collect();
        let options = given.join(",");
        self.run_mount(kind, device, &options)?;
        Ok(Mount { place: self, kind, device: device.into(), options, outer: None })
    }

    fn run_mount(&self, kind: &str, device: &str, options: &str) -> Result<(), NoMount> {
        self.run("mount", &["-t", kind, "-o", options, device, ROOT])
    }

    /// Runs a program in this directory.
    fn run(&self, program: &str, args: &[&str]) -> Result<(), NoMount> {
        let output = Command::new(program).args(args).current_dir(&self.0).output();
        let output = output.map_err(|error| NoMount(format!("no program {program}: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        Err(NoMount(format!("{program} {}: {said}", args.join(" "))))
    }

    fn failed(&self, error: &io::Error) -> NoMount {
        NoMount(format!("{}: {error}", self.0.display()))
    }
}

impl Drop for Place {
    /// Removes nothing that is inside a file system which is still mounted.
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0.join(DISK));
        let _ = fs::remove_dir(self.0.join(ROOT));
        let _ = fs::remove_dir(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn is_mounted(root: &Path) -> bool {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("the list of mounts");
        mounts.contains(&format!(" {} ", root.display()))
    }

    /// Directories of mounts of this process.
    fn places() -> usize {
        let own = format!("gannet-mount-{}-", std::process::id());
        let entries = fs::read_dir(std::env::temp_dir()).expect("listed").flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&own)).count()
    }

    /// A file system of that kind, which is gone after the drop.
    #[track_caller]
    fn check(kind: &str, made: Result<Mount, NoMount>, leave_open: bool) {
        let mount = match made {
            Ok(mount) => mount,
            Err(reason) => return eprintln!("skipped {kind}: {reason}"),
        };
        let root = mount.path();
        assert!(is_mounted(&root), "{}", root.display());
        assert_eq!(mount.kind, kind);
        let open = File::create(root.join("file")).expect("made");
        let open = leave_open.then_some(open);
        drop(mount);
        assert!(!is_mounted(&root), "{}", root.display());
        drop(open);
    }

    #[test]
    fn a_mount_is_there_until_it_is_dropped_and_leaves_nothing_behind() {
        let before = places();
        for leave_open in [false, true] {
            check("tmpfs", Mount::tmpfs(1 << 20), leave_open);
            check("ext4", Mount::ext4(16 << 20), leave_open);
            check("xfs", Mount::xfs(300 << 20), leave_open);
        }
        let inside = Mount::tmpfs(32 << 20).and_then(|outer| Mount::ext4_inside(outer, 64 << 20));
        if let Ok(inside) = &inside {
            File::create(inside.path().join("file")).expect("made");
            inside.again().expect("nothing is open");
            assert!(inside.path().join("file").exists());
            assert!(inside.outer().is_some_and(|outer| outer.kind == "tmpfs"));
        }
        check("ext4", inside, false);
        let reason = Mount::ext4_with(16 << 20, &["-O", "no_such_feature"], "");
        assert!(reason.expect_err("refused").to_string().contains("mkfs.ext4"));
        let reason = Mount::tmpfs_with(1 << 20, "no_such_option").expect_err("refused");
        assert!(reason.to_string().contains("mount"), "{reason}");
        assert_eq!(places(), before);
    }
}
