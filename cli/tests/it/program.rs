//! Runs the built `gannet` binary, and makes small inputs for it.

use std::cell::Cell;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{fmt, fs};

use serde_json::Value;
use tempfile::TempDir;

/// What a run of the program came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

thread_local! {
    /// The backend that verbs of this test's thread are given; none leaves it to the program.
    static BACKEND: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Runs a test once for every backend that works here, and says why another does not: verbs that
/// open a database are given it by name.
pub(crate) fn on_each_backend(test: impl Fn()) {
    for (backend, row) in backends() {
        if row["works"] != true {
            eprintln!("skipped {backend}: {row}");
            continue;
        }
        eprintln!("backend {backend}");
        BACKEND.set(Some(backend));
        test();
        BACKEND.set(None);
    }
}

/// What the program says of each backend in an empty directory.
pub(crate) fn backends() -> [(&'static str, Value); 3] {
    let dir = tempfile::tempdir().unwrap();
    let mut answer = gannet(&["backends", "--dir", &text_of(dir.path()), "--json"]).json();
    ["std", "uring", "mmap"].map(|backend| (backend, answer["backends"][backend].take()))
}

/// The program, ready to be given arguments and started.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gannet"));
    let opens = args.contains(&"--db") || args.first() == Some(&"demo");
    match BACKEND.get().filter(|_| opens && !args.contains(&"--backend")) {
        Some(backend) => command.arg(args[0]).args(["--backend", backend]).args(&args[1..]),
        None => command.args(args),
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program to its end.
pub(crate) fn gannet(args: &[&str]) -> Ran {
    finished(command(args).output().unwrap())
}

pub(crate) fn finished(output: Output) -> Ran {
    Ran {
        code: output.status.code().expect("the program was not killed"),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).expect("errors are text"),
    }
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stdout = String::from_utf8_lossy(&self.stdout);
        write!(f, "exit {}, stdout {stdout:?}, stderr {:?}", self.code, self.stderr)
    }
}

impl Ran {
    /// The run did what it was asked to, without a word on stderr.
    #[track_caller]
    pub(crate) fn good(self) -> Self {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        self
    }

    /// Stdout of a good run.
    #[track_caller]
    pub(crate) fn text(self) -> String {
        String::from_utf8(self.good().stdout).unwrap()
    }

    /// The one JSON object of a good run; every line before the last is not JSON.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let text = self.text();
        let last = text.strip_suffix('\n').and_then(|text| text.lines().last());
        serde_json::from_str(last.expect("a line of JSON")).unwrap()
    }

    /// The run ended with `code`, nothing on stdout, and one line on stderr that has every one of
    /// `words`.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, words: &[&str]) {
        let line = self.stderr.strip_suffix('\n').unwrap_or_default();
        let one = line.starts_with("gannet: ") && !line.contains('\n');
        assert!(self.code == code && self.stdout.is_empty() && one, "{self:?}");
        for word in words {
            assert!(line.contains(word), "{word:?} is not in {line:?}");
        }
    }
}

/// A directory for one test: a database that is not there yet, and room for files.
pub(crate) struct Place {
    dir: TempDir,
    pub(crate) db: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = text_of(&dir.path().join("db"));
        Self { dir, db }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file and gives its path as an argument.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        text_of(&path)
    }

    /// Imports `file` into collection `c` and gives the JSON.
    #[track_caller]
    pub(crate) fn import(&self, file: &str, metric: &str, more: &[&str]) -> Value {
        let args = ["import", "--db", &self.db, "--collection", "c", file, "--metric", metric];
        gannet(&[&args, more, &["--json"]].concat()).json()
    }

    /// The JSON of `stats`.
    #[track_caller]
    pub(crate) fn stats(&self) -> Value {
        gannet(&["stats", "--db", &self.db, "--json"]).json()
    }

    /// `verify` is clean.
    #[track_caller]
    pub(crate) fn check_clean(&self) {
        let report = gannet(&["verify", "--db", &self.db, "--json"]).json();
        assert_eq!(report["faults"], Value::Array(Vec::new()));
    }

    /// `verify` is clean, and `rows` are in collection `c`.
    #[track_caller]
    pub(crate) fn check_intact(&self, rows: u64) {
        self.check_clean();
        assert_eq!(self.stats()["collections"]["c"]["rows"], rows);
    }
}

/// Dimensions of the rows of [`small_base`].
pub(crate) const DIMS: usize = 16;

/// The components of 300 rows.
pub(crate) fn small_base() -> Vec<u8> {
    components(1, 300 * DIMS)
}

/// A place whose database has these rows in collection `c`, imported 100 a batch.
pub(crate) fn imported() -> Place {
    let place = Place::new();
    let file = place.file("base.u8bin", &u8bin(16, &small_base()));
    place.import(&file, "l2", &["--batch", "100"]);
    place
}

pub(crate) fn text_of(path: &Path) -> String {
    path.to_str().expect("temporary directories have plain names").to_string()
}

/// Numbers that only look random: splitmix64.
#[derive(Clone)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// `count` components of whole numbers from 1 to 255, so that every format holds them exactly.
pub(crate) fn components(seed: u64, count: usize) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    (0..count).map(|_| 1 + u8::try_from(numbers.below(255)).unwrap()).collect()
}

/// A `.u8bin` file.
pub(crate) fn u8bin(dims: u32, body: &[u8]) -> Vec<u8> {
    let rows = u32::try_from(body.len()).unwrap() / dims;
    [&rows.to_le_bytes(), &dims.to_le_bytes(), body].concat()
}

/// A `.fbin` file.
pub(crate) fn fbin(dims: u32, values: &[f32]) -> Vec<u8> {
    let rows = u32::try_from(values.len()).unwrap() / dims;
    let body: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    [&rows.to_le_bytes(), &dims.to_le_bytes(), body.as_slice()].concat()
}

/// A `*vecs` file of rows of `dims` components of `width` bytes.
pub(crate) fn vecs(dims: usize, width: usize, body: &[u8]) -> Vec<u8> {
    let prefix = i32::try_from(dims).unwrap().to_le_bytes();
    body.chunks_exact(dims * width).flat_map(|row| [&prefix, row].concat()).collect()
}

/// An `.ivecs` file of neighbour lists.
pub(crate) fn ivecs(lists: &[Vec<usize>]) -> Vec<u8> {
    let number = |value: usize| i32::try_from(value).unwrap().to_le_bytes();
    let list = |list: &Vec<usize>| {
        [number(list.len())]
            .into_iter()
            .chain(list.iter().map(|&id| number(id)))
            .flatten()
            .collect::<Vec<u8>>()
    };
    lists.iter().flat_map(list).collect()
}

/// The true `k` nearest rows of each query by squared distance, ties by row.
pub(crate) fn nearest(base: &[u8], queries: &[u8], dims: usize, k: usize) -> Vec<Vec<usize>> {
    let distance = |a: &[u8], b: &[u8]| -> i64 {
        a.iter().zip(b).map(|(&x, &y)| (i64::from(x) - i64::from(y)).pow(2)).sum()
    };
    let one = |query: &[u8]| {
        let mut rows: Vec<(i64, usize)> = base
            .chunks_exact(dims)
            .enumerate()
            .map(|(row, vector)| (distance(query, vector), row))
            .collect();
        rows.sort_unstable();
        rows.truncate(k);
        rows.into_iter().map(|(_, row)| row).collect()
    };
    queries.chunks_exact(dims).map(one).collect()
}

/// Copies a directory of plain files.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A small tmpfs that is unmounted when the test is over; none, with the reason printed, where
/// mounting is not allowed.
pub(crate) struct Tmpfs(PathBuf);

impl Tmpfs {
    pub(crate) fn mount(at: &Path, kilobytes: u32) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let size = format!("size={kilobytes}k");
        let args = [OsStr::new("-t"), "tmpfs".as_ref(), "-o".as_ref(), size.as_ref()];
        let run = Command::new("mount").args(args).args(["gannet-test".as_ref(), at]).output();
        match run {
            Ok(output) if output.status.success() => Some(Self(at.to_path_buf())),
            Ok(output) => {
                let reason = String::from_utf8_lossy(&output.stderr);
                eprintln!("skipped: cannot mount a tmpfs here: {}", reason.trim());
                None
            }
            Err(error) => {
                eprintln!("skipped: cannot run mount: {error}");
                None
            }
        }
    }

    pub(crate) fn make_read_only(&self) {
        // The kernel takes a ring apart some time after its process has ended, and until then the
        // lock file that the ring knows is open.
        for attempt in 1.. {
            let mut mount = Command::new("mount");
            let run = mount.args(["-o", "remount,ro"]).arg(&self.0).output().unwrap();
            if run.status.success() {
                break;
            }
            assert!(attempt < 1000, "{run:?}");
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Out of sight at once, and gone when nothing in it is open any more, the lock file of a
        // ring that the kernel has not taken apart yet above all.
        let run = Command::new("umount").arg("-l").arg(&self.0).output();
        // A test that is failing already has more to say than this.
        if !std::thread::panicking() {
            assert!(run.unwrap().status.success(), "{} stays mounted", self.0.display());
        }
    }
}
