//! `gannet scan`: the keys of a range with their values, a line each.

use std::io;
use std::ops::{Bound, ControlFlow};

use gannet::{DEFAULT_KEYSPACE, prefix_end};

use super::key;
use crate::args::{DatabaseArgs, ScanArgs};
use crate::database::{self, Db, Expect};
use crate::entries::json::Written;
use crate::entries::{hex, text};
use crate::failure::Failure;
use crate::output::Output;

/// Lines are handed on when they are so many bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// Which keys, and in which order.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) from: Bound<Vec<u8>>,
    pub(super) to: Bound<Vec<u8>>,
    pub(super) is_reverse: bool,
    pub(super) limit: u64,
}

/// How an entry is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Text { hex: bool },
    Json { hex: bool },
}

pub(super) fn run(args: &ScanArgs, out: &mut Output) -> Result<(), Failure> {
    let range = range(args)?;
    let hex = args.keys.hex;
    let form = if out.is_json() { Form::Json { hex } } else { Form::Text { hex } };
    let database = database::open(&args.database, Expect::Existing, None)?;
    check_keyspace(&database, &args.database, &args.keys.keyspace)?;
    lines(&database, &args.keys.keyspace, &range, form, &mut |lines| {
        out.bytes(lines)?;
        Ok(out.is_read())
    })?;
    database.close()?;
    Ok(())
}

/// The keys that every option asks for.
fn range(args: &ScanArgs) -> Result<Range, Failure> {
    let parse = |text| key::parse(text, args.keys.hex);
    let mut from = args.from.as_deref().map(parse).transpose()?;
    let to = args.to.as_deref().map(parse).transpose()?;
    let mut to = to.map_or(Bound::Unbounded, Bound::Excluded);
    if let Some(prefix) = args.prefix.as_deref().map(parse).transpose()? {
        to = match (to, prefix_end(&prefix)) {
            (Bound::Excluded(to), Bound::Excluded(end)) => Bound::Excluded(to.min(end)),
            (Bound::Unbounded, end) => end,
            (to, _) => to,
        };
        // No key at all is before every prefix.
        from = from.max(Some(prefix));
    }
    let from = from.map_or(Bound::Unbounded, Bound::Included);
    Ok(Range { from, to, is_reverse: args.reverse, limit: args.limit.unwrap_or(u64::MAX) })
}

/// A name that nothing was ever put under is a mistake; not so the default one.
pub(super) fn check_keyspace(
    database: &Db,
    args: &DatabaseArgs,
    name: &str,
) -> Result<(), Failure> {
    if name == DEFAULT_KEYSPACE || database.keyspaces().iter().any(|known| known == name) {
        return Ok(());
    }
    Err(Failure::NoKeyspace { dir: args.db.clone(), name: name.to_owned() })
}

/// Gives the lines of a range to `write`, many at a time, until it says that they are not wanted;
/// how many there were.
pub(super) fn lines(
    database: &Db,
    keyspace: &str,
    range: &Range,
    form: Form,
    write: &mut dyn FnMut(&[u8]) -> Result<bool, Failure>,
) -> Result<u64, Failure> {
    let (mut chunk, mut count, mut failed) = (Vec::new(), 0, Ok(()));
    let each = |key: &[u8], value: &[u8]| {
        let mut step = || -> Result<bool, Failure> {
            form.line(&mut chunk, key, value)?;
            count += 1;
            let mut goes_on = count < range.limit;
            if chunk.len() >= CHUNK_BYTES {
                goes_on &= write(&chunk)?;
                chunk.clear();
            }
            Ok(goes_on)
        };
        match step() {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(()),
            Err(failure) => {
                failed = Err(failure);
                ControlFlow::Break(())
            }
        }
    };
    let (from, to) = (range.from.as_ref(), range.to.as_ref());
    let (from, to) = (from.map(|key| &key[..]), to.map(|key| &key[..]));
    if range.is_reverse {
        database.scan_back(keyspace, from, to, each)?;
    } else {
        database.scan(keyspace, from, to, each)?;
    }
    failed?;
    write(&chunk)?;
    Ok(count)
}

impl Form {
    /// Adds the line of an entry.
    fn line(self, lines: &mut Vec<u8>, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Text { hex } => {
                let show = if hex { hex::encode } else { text::escaped };
                lines.extend_from_slice(show(key).as_bytes());
                lines.push(b'\t');
                lines.extend_from_slice(show(value).as_bytes());
            }
            Self::Json { hex } => {
                let written = serde_json::to_writer(&mut *lines, &Written::new(key, value, hex));
                written.map_err(|error| Failure::Output { source: io::Error::from(error) })?;
            }
        }
        lines.push(b'\n');
        Ok(())
    }
}
