//! Options of the verbs about keys and values.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use gannet::DEFAULT_KEYSPACE;

use super::{CommitArgs, DatabaseArgs};

/// Where a key is, and how it is written.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// Name of the keyspace
    #[arg(long, value_name = "NAME", default_value = DEFAULT_KEYSPACE)]
    pub(crate) keyspace: String,
    /// Keys are given as hexadecimal digits, two a byte; what a scan or JSON shows is digits, too
    #[arg(long)]
    pub(crate) hex: bool,
}

/// A value, or where it is.
#[derive(Debug, Args)]
pub(crate) struct ValueArgs {
    /// Its value; - is stdin to its end
    pub(crate) value: Option<OsString>,
    /// Take the bytes of this file as the value
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub(crate) value_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
    /// Take KEY as the id of a row in this collection: an integer, or else its bytes
    #[arg(long, value_name = "NAME", conflicts_with_all = ["keyspace", "hex", "out"])]
    pub(crate) collection: Option<String>,
    /// Write the value to this file, which must not be there yet, and not to stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Key of the record, or id of the row
    pub(crate) key: OsString,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) commit: CommitArgs,
    #[command(flatten)]
    pub(crate) place_of_keys: KeyArgs,
    /// Take each KEY as the id of a row in this collection: an integer, or else its bytes
    #[arg(long, value_name = "NAME", conflicts_with_all = ["keyspace", "hex"])]
    pub(crate) collection: Option<String>,
    /// Keys of records, or ids of rows
    #[arg(value_name = "KEY", required = true)]
    pub(crate) keys: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(mut_arg("value", |value| value.required_unless_present("value_file")))]
pub(crate) struct PutArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) commit: CommitArgs,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
    /// Key of the record
    pub(crate) key: OsString,
    #[command(flatten)]
    pub(crate) value: ValueArgs,
}

#[derive(Debug, Args)]
#[command(mut_arg("value", |value| value.required_unless_present_any(["value_file", "delete"])))]
pub(crate) struct CasArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) commit: CommitArgs,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
    /// Version that the key must have; 0 is that of a key that is not there
    #[arg(long, value_name = "N")]
    pub(crate) version: u64,
    /// Delete the key in place of setting it
    #[arg(long, conflicts_with_all = ["value", "value_file"])]
    pub(crate) delete: bool,
    /// Key of the record
    pub(crate) key: OsString,
    #[command(flatten)]
    pub(crate) value: ValueArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ScanArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
    /// Keys that begin with this alone
    #[arg(long, value_name = "KEY")]
    pub(crate) prefix: Option<OsString>,
    /// Keys from this one on
    #[arg(long, value_name = "KEY")]
    pub(crate) from: Option<OsString>,
    /// Keys before this one
    #[arg(long, value_name = "KEY")]
    pub(crate) to: Option<OsString>,
    /// The last key first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Print no more than so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    /// Name of the keyspace
    #[arg(long, value_name = "NAME", default_value = DEFAULT_KEYSPACE)]
    pub(crate) keyspace: String,
    /// Write to this file, which must not be there yet, and not to stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
