//! What can be wrong with the image of a graph, and where.

use thiserror::Error;

use crate::code::{Code, CodeChoice};
use crate::params::ParamsError;

/// Why bytes are not the image of a graph that was asked for. Nothing was taken from them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GraphFault {
    /// Fewer bytes than the image says, or than a header takes.
    #[error("graph image is cut off: {found} bytes of {needed}")]
    Truncated {
        /// Bytes it should have.
        needed: u64,
        /// Bytes it has.
        found: u64,
    },
    /// More bytes than the image says.
    #[error("graph image of {expected} bytes is followed by others: {found} in all")]
    Oversized {
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// These bytes were never a graph.
    #[error("graph image begins with {found:02x?}, not its magic")]
    Magic {
        /// The first eight bytes.
        found: [u8; 8],
    },
    /// Written by another version of this program.
    #[error("graph image of version {found}: this program reads version 1")]
    Version {
        /// The version it says.
        found: u32,
    },
    /// A part does not match its checksum.
    #[error("{part} of graph image has checksum {computed:08x}, not {stored:08x}")]
    Checksum {
        /// `header` or `body`.
        part: &'static str,
        /// The checksum that was written.
        stored: u32,
        /// The checksum of the bytes found.
        computed: u32,
    },
    /// No metric has this code.
    #[error("graph image has metric code {found}: expected 1 to 4")]
    Metric {
        /// The code it says.
        found: u8,
    },
    /// No code has this number.
    #[error("graph image has code {found}: expected 0 to 4, or 255 where it is chosen")]
    Code {
        /// The number it says.
        found: u8,
    },
    /// No graph comes to this code.
    #[error(
        "graph image has code {code} where {choice} was asked for, with {is_measured} for whether \
         it was measured"
    )]
    Chosen {
        /// What was asked for.
        choice: CodeChoice,
        /// The code it says.
        code: Code,
        /// What it says of how that came about.
        is_measured: u8,
    },
    /// A parameter is out of its limits.
    #[error("graph image has invalid parameters")]
    Params {
        /// Which.
        #[from]
        source: ParamsError,
    },
    /// The graph was built with other parameters than expected.
    #[error("graph image has {field} {found}, not {expected}")]
    ParamsDiffer {
        /// `dims`, `metric` (by its code), `m`, `ef_construction`, `seed` or `code` (by its
        /// number).
        field: &'static str,
        /// The value in the image.
        found: u64,
        /// The value expected.
        expected: u64,
    },
    /// The graph has rows that do not exist.
    #[error("graph image has {found} rows of {max}")]
    Rows {
        /// Rows in the image.
        found: u32,
        /// Rows there are.
        max: u32,
    },
    /// The length in the header is not that of its rows and lists.
    #[error("graph image says it is {found} bytes: its rows and lists take {expected}")]
    Length {
        /// The length in the header.
        found: u64,
        /// The length of what the header describes.
        expected: u64,
    },
    /// A byte that must be zero is not.
    #[error("graph image has {found:#04x} at byte {offset}, which must be zero")]
    Padding {
        /// Where, in bytes from the beginning.
        offset: u64,
        /// The byte.
        found: u8,
    },
    /// It was calibrated with more rows than a graph can have, or with too few.
    #[error("graph image of {rows} rows was calibrated with {found}")]
    CalibratedRows {
        /// Rows it was calibrated with.
        found: u32,
        /// Rows in the image.
        rows: u32,
    },
    /// A beam is said to find more than a wider one.
    #[error("graph image has recall {found} of 65535 at byte {offset}, and then {next}")]
    Readings {
        /// Where, in bytes from the beginning.
        offset: u64,
        /// The reading there.
        found: u16,
        /// The next one.
        next: u16,
    },
    /// The highest row is not the last one that the image has room for.
    #[error("graph image of row numbers below {rows} has {found:?} as its highest row")]
    LastMember {
        /// The highest row; `None` where there is none.
        found: Option<u32>,
        /// One more than it must be.
        rows: u32,
    },
    /// Other than said, row numbers are of no row.
    #[error("graph image says {expected} row numbers are of no row: {found} are")]
    Holes {
        /// Such numbers.
        found: u32,
        /// How many the header says.
        expected: u32,
    },
    /// A row number of no row has a code.
    #[error("graph image has {found:#04x} at byte {offset}, in the code of {row}, which is no row")]
    HoleCode {
        /// The row number.
        row: u32,
        /// Where, in bytes from the beginning.
        offset: u64,
        /// The byte.
        found: u8,
    },
    /// The first upper list is not the first, a row ends before it begins or stands on more layers
    /// than there are, or the last upper list is not the last.
    #[error("upper lists of row {row} of graph image begin at {found}, not at {least} to {most}")]
    Layers {
        /// The row; behind the last one stands where the lists of all end.
        row: u32,
        /// The number of upper lists before its own, as found.
        found: u32,
        /// The least it can be, after the row before it.
        least: u32,
        /// The most it can be.
        most: u32,
    },
    /// The entry point is not the lowest row on the highest layer that a row stands on.
    #[error(
        "entry point of graph image is row {found_row} on layer {found_layer}, \
         not row {expected_row} on layer {expected_layer}"
    )]
    Entry {
        /// As found.
        found_row: u32,
        /// As found.
        found_layer: u8,
        /// As it must be; `u32::MAX` where there are no rows.
        expected_row: u32,
        /// As it must be.
        expected_layer: u8,
    },
    /// A patch of a graph of one code was put upon a graph of another.
    #[error("graph patch is of code {found}, its graph of {expected}")]
    PatchCode {
        /// The code of the patch.
        found: Code,
        /// The code of the graph.
        expected: Code,
    },
    /// A patch does not have a row that its graph is to have from then on.
    #[error("graph patch lacks row {row}, which is new")]
    PatchLacks {
        /// The row.
        row: u32,
    },
    /// What a patch says of a row is of no patch.
    #[error("row {row} at byte {offset} of graph patch: {why}")]
    Patch {
        /// The row; `u32::MAX` where that is cut off.
        row: u32,
        /// Where, in bytes from the beginning.
        offset: u64,
        /// What is wrong with it.
        why: PatchFault,
    },
    /// A link that no graph has.
    #[error("row {row} of graph image has on layer {layer} in slot {slot} link {link}: {why}")]
    Link {
        /// The row.
        row: u32,
        /// The layer of the list.
        layer: u8,
        /// The place in the list.
        slot: usize,
        /// What stands there.
        link: u32,
        /// What is wrong with it.
        why: LinkFault,
    },
}

/// What is wrong with a row of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PatchFault {
    /// The patch ends before the row does.
    #[error("cut off")]
    CutOff,
    /// It does not come after the row before it.
    #[error("out of order")]
    OutOfOrder,
    /// The graph is to have no such number.
    #[error("no such row")]
    OutOfRange,
    /// It is neither a hole nor a row, with its code or without.
    #[error("of no kind")]
    Kind,
    /// It stands on more layers than there are.
    #[error("on too many layers")]
    Layers,
    /// A list has more links than a list holds.
    #[error("too many links")]
    Links,
    /// It keeps its code, and was not in the graph.
    #[error("without a code")]
    NoCode,
}

/// What is wrong with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkFault {
    /// No such row is in the graph.
    #[error("no such row")]
    OutOfRange,
    /// The row that has the list is not in the graph.
    #[error("in the list of no row")]
    FromHole,
    /// The row it names is not in the graph.
    #[error("to no row")]
    ToHole,
    /// The row links to itself.
    #[error("the row itself")]
    ToItself,
    /// An earlier slot of the list has it too.
    #[error("twice in the list")]
    Duplicate,
    /// The row it names does not stand on this layer.
    #[error("not on this layer")]
    OffLayer,
    /// The list had ended before it.
    #[error("after the end of the list")]
    AfterEnd,
}
