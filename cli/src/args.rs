//! The command line: verbs, options and their defaults, and what the help says.
//!
//! Values are checked here as far as they can be without opening anything. Verbs about keys are in
//! `keys`.

use std::path::{Path, PathBuf};

use clap::builder::TypedValueParser;
use clap::{Args, Parser, Subcommand};
use gannet::{Backend, CodeChoice, DEFAULT_KEYSPACE, Durability, Metric};

use crate::verbs::torture::Round;

mod keys;

pub(crate) use keys::{CasArgs, DeleteArgs, ExportArgs, GetArgs, PutArgs, ScanArgs, ValueArgs};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  not there (get, delete), not that version (cas), faults found (verify, scrub, torture), or
     something lost (recover); nothing on stdout but that
  2  the command line is wrong
  3  refused or failed; the reason is one line on stderr";

/// Gannet keeps vectors and the records around them in one crash-safe directory.
#[derive(Debug, Parser)]
#[command(name = "gannet", version, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Print JSON on stdout instead of text for humans: one object; for a vector, an array;
    /// for entries of a scan, an object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show what Gannet does: import real digits, get killed half way, recover, search
    Demo(DemoArgs),
    /// Put the rows of a vector file into a collection; with --kv, keys and values into a keyspace
    ///
    /// The database and the collection are created if they are not there. Ids of rows are their
    /// numbers in the file; a second import goes on after the rows that are there.
    ///
    /// With --kv each line of a .jsonl file is an object with `key`, or `key_hex` in hexadecimal
    /// digits, and `value` or `value_hex`. A `value` that is no string is put as its JSON, without
    /// white space. A .csv file has two columns, key and value, quoted as RFC 4180 has it; a first
    /// line `key,value` is skipped. At a line that is wrong the import ends: batches before that of
    /// the line stay.
    Import(ImportArgs),
    /// Search a collection for the nearest rows of each query, and measure
    Search(SearchArgs),
    /// Print the value of a key, or with --collection the vector of an id
    Get(GetArgs),
    /// Set a key to a value; the database is created if it is not there
    Put(PutArgs),
    /// Set or delete a key if its version is the expected one; print the new version
    ///
    /// `get --json` says which version a key has. Exit code 1 says that it has another one; with
    /// --json that is on stdout, too.
    Cas(CasArgs),
    /// Delete keys, or with --collection the rows of ids, all of them or none
    Delete(DeleteArgs),
    /// Print the keys of a range with their values, in order, a tab between
    ///
    /// Control characters and bytes that are not UTF-8 are escaped. With --json a line is an object
    /// with `key` and `value`, or `key_hex` and `value_hex` for what is not UTF-8.
    Scan(ScanArgs),
    /// Write the keys of a keyspace with their values as JSON lines, for `import --kv`
    Export(ExportArgs),
    /// Print what a database holds and what it found when it was opened
    ///
    /// Keys are counted one by one: in a database of more than 256 MiB of them with --count alone.
    Stats(StatsArgs),
    /// Put all rows into their graphs and write the state down, so that opening is quick
    Checkpoint(DatabaseArgs),
    /// Make a checkpoint, verify it, and remove what it does not need: an older one, and the log
    Compact(DatabaseArgs),
    /// Rebuild the graph of a collection, so that searches find more with the same beam
    Optimize(OptimizeArgs),
    /// Measure what share of the true nearest rows searches of a collection find
    Probe(ProbeArgs),
    /// Read every byte that has a checksum, and name each fault
    Verify(DatabaseArgs),
    /// Read the media of an open database at a steady pace, and name each fault
    Scrub(ScrubArgs),
    /// Copy a consistent state of a database to a new directory
    Backup(BackupArgs),
    /// Verify a backup, and make a database of it in a new directory
    Restore(RestoreArgs),
    /// Make a new database of what can be read of a damaged one, and say what is lost
    ///
    /// The damaged database is only read. Where the recovery stopped half way, delete the new
    /// database and begin again.
    Recover(RecoverArgs),
    /// Kill, fail and damage databases of its own on this disk, and check what they show then
    Torture(TortureArgs),
    /// Commits until it is killed: what `torture` kills
    #[command(hide = true)]
    TortureChild(TortureChildArgs),
    /// Print which backends work on this machine in a directory, and how; leave nothing in it
    Backends(BackendsArgs),
}

/// Which database, and how its bytes reach the disk.
#[derive(Debug, Args)]
pub(crate) struct DatabaseArgs {
    /// Directory of the database
    #[arg(long, value_name = "DIR")]
    pub(crate) db: PathBuf,
    /// How files are read and written
    #[arg(long, default_value = "auto", value_parser = backend())]
    pub(crate) backend: Backend,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Directory of the demo's database, new or empty [default: a fresh temporary one]
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// How files are read and written
    #[arg(long, default_value = "auto", value_parser = backend())]
    pub(crate) backend: Backend,
}

#[derive(Debug, Args)]
pub(crate) struct BackendsArgs {
    /// Directory of a database, or an empty one
    #[arg(long)]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// Directory of the backup, new or empty
    #[arg(long, value_name = "NEW")]
    pub(crate) to: PathBuf,
    /// Bring the backup there up to date: copy only files that it lacks
    ///
    /// Until that has ended there is no backup in the directory; where it fails, run it again.
    #[arg(long)]
    pub(crate) incremental: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Directory of the backup
    #[arg(long, value_name = "BACKUP")]
    pub(crate) from: PathBuf,
    /// Directory of the database, new or empty
    #[arg(long, value_name = "NEW")]
    pub(crate) to: PathBuf,
    /// How files are read and written
    #[arg(long, default_value = "auto", value_parser = backend())]
    pub(crate) backend: Backend,
}

#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    /// Directory of the damaged database
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// Directory of the new database, new or empty
    #[arg(long, value_name = "NEW")]
    pub(crate) to: PathBuf,
    /// How files are read and written; mmap cannot bear a device that fails to read
    #[arg(long, default_value = "auto", value_parser = backend())]
    pub(crate) backend: Backend,
}

#[derive(Debug, Args)]
pub(crate) struct ScrubArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// Read no more than so many MiB a second [default: as many as there are]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) mib_per_s: Option<u32>,
}

/// What a commit is worth.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct CommitArgs {
    /// Whether a commit waits for the disk (strict) or for the operating system alone (buffered)
    #[arg(long, value_name = "MODE", default_value = "strict", value_parser = durability())]
    pub(crate) durability: Durability,
}

#[derive(Debug, Args)]
pub(crate) struct TortureArgs {
    /// Directory on the disk to try; databases are made in one below it
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Backends to try: all that work here, or one
    #[arg(long, default_value = "all", value_parser = ["all", "std", "uring", "mmap"])]
    pub(crate) backend: String,
    /// How long it takes in all
    #[arg(long, value_name = "N", default_value = "1", value_parser = minutes)]
    pub(crate) minutes: f64,
    /// Decides workloads, kills, faults and flips [default: another one each time]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Try one round again, as a violation names it: kill-3, fault-7, flip-2, or a trail
    #[arg(long, value_name = "ROUND")]
    pub(crate) round: Option<Round>,
    /// Write the report as a web page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Let the children tell what is not true yet: what finds nothing then is worth nothing
    #[arg(long, hide = true)]
    pub(crate) acknowledge_early: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TortureChildArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[arg(long)]
    pub(crate) seed: u64,
    /// Number of the first batch
    #[arg(long)]
    pub(crate) first: u64,
    /// Marks the batches of this child
    #[arg(long)]
    pub(crate) tag: u64,
    /// Batches in flight
    #[arg(long)]
    pub(crate) window: usize,
    #[arg(long)]
    pub(crate) acknowledge_early: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// Name of the collection
    #[arg(long, value_name = "NAME", required_unless_present = "kv")]
    pub(crate) collection: Option<String>,
    /// Vectors: .npy .fvecs .bvecs .ivecs .fbin .u8bin
    #[arg(required_unless_present = "kv")]
    pub(crate) file: Option<PathBuf>,
    /// How distances are measured
    #[arg(long, value_parser = metric(), required_unless_present = "kv")]
    pub(crate) metric: Option<Metric>,
    /// Put keys and values in place of vectors: .jsonl .csv, or - for JSON lines from stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "collection", "file", "metric", "threads", "m", "ef_construction", "code", "upsert",
        "print_acks",
    ])]
    pub(crate) kv: Option<PathBuf>,
    /// Name of the keyspace, with --kv
    #[arg(long, value_name = "NAME", default_value = DEFAULT_KEYSPACE,
          conflicts_with_all = ["collection", "file", "metric"])]
    pub(crate) keyspace: String,
    #[command(flatten)]
    pub(crate) commit: CommitArgs,
    /// Rows or entries a commit, of entries 1 MiB at the most; each is acknowledged before the next
    /// begins
    #[arg(long, value_name = "ROWS", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Threads that build the graph, at most 1024 [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Links a row in the graph [default: 16, or those of the collection]
    #[arg(long)]
    pub(crate) m: Option<u16>,
    /// Beam width of the build [default: 200, or that of the collection]
    #[arg(long, value_name = "WIDTH")]
    pub(crate) ef_construction: Option<u32>,
    /// What searches compare in place of vectors [default: auto, or that of the collection]
    #[arg(long, value_parser = code())]
    pub(crate) code: Option<CodeChoice>,
    /// Take all rows of the file: replace those that were imported before, insert the others
    #[arg(long)]
    pub(crate) upsert: bool,
    /// Print "acked <rows in the collection> <lsn>" after each commit
    #[arg(long)]
    pub(crate) print_acks: bool,
}

impl ImportArgs {
    /// The file of vectors, the collection and its metric, where there is no `--kv`.
    pub(crate) fn vectors(&self) -> (&Path, &str, Metric) {
        let needed = "the command line is refused without it, unless it has --kv";
        (
            self.file.as_deref().expect(needed),
            self.collection.as_deref().expect(needed),
            self.metric.expect(needed),
        )
    }
}

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// Name of the collection
    #[arg(long, value_name = "NAME")]
    pub(crate) collection: String,
    /// Queries: .npy .fvecs .bvecs .ivecs .fbin .u8bin
    #[arg(long, value_name = "FILE")]
    pub(crate) queries: PathBuf,
    /// True nearest ids of each query, to measure recall by
    #[arg(long, value_name = "FILE.ivecs")]
    pub(crate) truth: Option<PathBuf>,
    /// Rows to find for each query; more than there are gives all
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) k: u32,
    /// Beam widths to search with, one measurement each; below k is raised to k
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "16,32,64",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ef: Vec<u32>,
    /// Shares of the true nearest to find, each with the narrowest beam that a checkpoint has
    /// measured to find it, in place of --ef
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = recall_target,
          conflicts_with_all = ["ef", "exact"])]
    pub(crate) recall: Vec<f32>,
    /// Look at every row instead of walking the graph
    #[arg(long)]
    pub(crate) exact: bool,
    /// Find the rows of these ids alone: a file with an id a line, as `get` and `delete` take them.
    /// Recall is then that of the nearest among these rows, found by looking at each of them
    #[arg(long, value_name = "FILE", conflicts_with = "truth")]
    pub(crate) ids: Option<PathBuf>,
    /// Queries a call, answered together by all threads [default: one, and each thread its own]
    #[arg(long, value_name = "QUERIES", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: Option<u32>,
    /// Threads that search, at most 1024
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: u16,
    /// Write the ids found at the last ef
    #[arg(long, value_name = "FILE.ivecs", value_parser = ivecs_path)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// Count the keys of every keyspace, however many they are
    #[arg(long)]
    pub(crate) count: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OptimizeArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// Name of the collection
    #[arg(long, value_name = "NAME")]
    pub(crate) collection: String,
}

#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// Name of the collection
    #[arg(long, value_name = "NAME")]
    pub(crate) collection: String,
    /// Rows to take as queries, chosen by chance, at most 100000
    #[arg(long, value_name = "N", default_value_t = 500,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) queries: u32,
}

/// Backends that keep anything after the program ends.
fn backend() -> impl TypedValueParser<Value = Backend> {
    clap::builder::PossibleValuesParser::new(["auto", "std", "uring", "mmap"])
        .try_map(|name| name.parse())
}

/// What a database of the command line can promise.
fn durability() -> impl TypedValueParser<Value = Durability> {
    clap::builder::PossibleValuesParser::new(["strict", "buffered"])
        .map(|name| if name == "buffered" { Durability::Buffered } else { Durability::Strict })
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().map_err(|_| "not a number".to_string())?;
    let range = 0.0..=60.0 * 24.0 * 365.0;
    if range.contains(&minutes) { Ok(minutes) } else { Err("not a time".to_string()) }
}

fn code() -> impl TypedValueParser<Value = CodeChoice> {
    clap::builder::PossibleValuesParser::new(["auto", "none", "sq8", "f16", "sq4", "bit"])
        .try_map(|name| name.parse())
}

fn metric() -> impl TypedValueParser<Value = Metric> {
    clap::builder::PossibleValuesParser::new(["l2", "cosine", "dot", "hamming"])
        .try_map(|name| name.parse())
}

/// A share above 0 and below 1.
fn recall_target(text: &str) -> Result<f32, String> {
    let target = text.parse().ok().filter(|target| *target > 0.0 && *target < 1.0);
    target.ok_or_else(|| "it must be above 0 and below 1".to_owned())
}

/// A file to be written: its name says that it holds neighbours, so no other file is overwritten.
fn ivecs_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ivecs"));
    if named { Ok(path) } else { Err("its name must end in .ivecs".to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("gannet").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_lists_the_exit_codes_and_every_verb() {
        let help = Cli::command().render_long_help().to_string();
        for word in ["Exit codes:", "  3  refused or failed"] {
            assert!(help.contains(word), "{word}");
        }
        let verbs = "demo import search get put cas delete scan export stats checkpoint compact \
                     optimize verify scrub backup restore recover torture backends";
        for verb in verbs.split(' ') {
            assert!(help.contains(&format!("\n  {verb} ")), "{verb}");
        }
    }

    #[test]
    fn import_has_the_documented_defaults() {
        let cli = parse("import --db d --collection c f.npy --metric cosine").unwrap();
        let Verb::Import(args) = cli.verb else { panic!("{:?}", cli.verb) };
        assert_eq!(
            (args.batch, args.threads, args.m, args.ef_construction),
            (1000, None, None, None)
        );
        let vectors = (Path::new("f.npy"), "c", Metric::Cosine);
        assert_eq!((args.vectors(), args.database.backend), (vectors, Backend::Auto));
        assert_eq!(args.commit.durability, Durability::Strict);
        assert!(!args.print_acks && !cli.json);
    }

    #[test]
    fn search_takes_a_list_of_beam_widths() {
        let cli = parse("search --db d --collection c --queries q.npy --ef 10,20 --json").unwrap();
        let Verb::Search(args) = cli.verb else { panic!("{:?}", cli.verb) };
        assert_eq!((args.k, args.ef, args.threads), (10, vec![10, 20], 1));
        assert!(cli.json, "--json goes after the verb too");
    }

    #[test]
    fn what_commits_takes_a_durability() {
        for line in ["put --db d k v", "delete --db d k"] {
            for (option, expected) in [
                ("", Durability::Strict),
                (" --durability strict", Durability::Strict),
                (" --durability buffered", Durability::Buffered),
            ] {
                let verb = parse(&format!("{line}{option}")).unwrap().verb;
                let (Verb::Put(PutArgs { commit, .. }) | Verb::Delete(DeleteArgs { commit, .. })) =
                    verb
                else {
                    panic!("{verb:?}");
                };
                assert_eq!(commit.durability, expected, "{line}{option}");
            }
        }
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        for line in [
            "",
            "fly",
            "import --db d --collection c f.npy",
            "import --db d --collection c f.npy --metric l3",
            "import --db d --collection c f.npy --metric l2 --batch 0",
            "import --db d --collection c f.npy --metric l2 --threads 0",
            "import --db d --collection c f.npy --metric l2 --backend memory",
            "search --db d --collection c --queries q.npy --k 0",
            "search --db d --collection c --queries q.npy --k -1",
            "search --db d --collection c --queries q.npy --ef 0",
            "search --db d --collection c --queries q.npy --ef 10,",
            "search --db d --collection c --queries q.npy --threads 0",
            "search --db d --collection c --queries q.npy --threads 1025",
            "search --db d --collection c --queries q.npy --out q.npy",
            "search --db d --collection c --queries q.npy --out d/root",
            "put --db d key",
            "get key",
            "stats",
            "backends",
            "backends --dir d --backend std",
            "demo --backend memory",
            "backup --db d",
            "restore --from b",
            "recover --from d",
            "recover --to d",
            "recover --from d --to n --backend memory",
            "compact",
            "scrub",
            "scrub --db d --mib-per-s 0",
            "scrub --db d --mib-per-s -1",
            "put --db d k v --durability none",
            "put --db d k v --durability memory",
            "get --db d k --durability strict",
            "torture",
            "torture --dir d --backend memory",
            "torture --dir d --minutes -1",
            "torture --dir d --minutes nan",
            "torture --dir d --round kill",
            "put --db d k v --value-file f",
            "cas --db d k v",
            "cas --db d k --version 1",
            "cas --db d k v --version -1",
            "cas --db d k v --version 1 --delete",
            "cas --db d k --value-file f --version 1 --delete",
            "get --db d --collection c 1 --keyspace k",
            "get --db d --collection c 1 --hex",
            "get --db d --collection c 1 --out f",
            "delete --db d --collection c 1 --keyspace k",
            "scan --db d --limit 0",
            "import --db d --keyspace k --collection c f.npy --metric l2",
            "import --db d --kv f.csv --collection c",
            "import --db d --kv f.csv f.npy",
            "import --db d --kv f.csv --upsert",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
