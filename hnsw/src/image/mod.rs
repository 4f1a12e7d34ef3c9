//! A graph as bytes: the layout of its image, and writing it.
//!
//! The header's fields are `header`'s, what has changed since as bytes `patch`'s. Reading, which
//! trusts nothing, is in `decode`; what can be wrong with an image in `fault`. Files, names and
//! durability are other people's. This is the chapter on graphs of `docs/FORMAT.md`.
//!
//! All integers are little-endian. `n` is one more than the highest row number, `u` the number of
//! upper lists, those of holes included. A hole is a number below `n` of no row: its lists are
//! empty, and its code is zeros.
//! Sections begin at multiples of 64 bytes and are filled up with zeros to the next one.
//!
//! | section | bytes | what |
//! |---|---|---|
//! | header | 128 | below |
//! | starts | `4 * (n + 1)` | per row, the number of upper lists before its own; at the end `u` |
//! | base | `4 * 2 * m * n` | the lists of layer 0, one a row, each of `2 * m` slots |
//! | upper | `4 * m * u` | the lists of layers 1 and up, each of `m` slots |
//! | codes | code length `* n` | the code of each row |
//! | members | `8 * ceil(n / 64)` | bit `r % 64` of word `r / 64`: `r` is a row; only with holes |
//!
//! A row's upper lists are in order of layer, rows in order of number: the list of row `r` on layer
//! `l` is upper list `starts[r] + l - 1`, and `r` stands on layers 0 to `starts[r + 1] -
//! starts[r]`, at most 15: as drawn when there was first room for its number, and kept where rows
//! were numbered anew. A slot is a row number, or `0xffff_ffff` after the last link.
//!
//! | header offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `GANNETGR` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | dims |
//! | 16 | 8 | seed |
//! | 24 | 4 | `ef_construction` |
//! | 28 | 2 | `m` |
//! | 30 | 1 | metric: 1 L2, 2 cosine, 3 dot, 4 Hamming |
//! | 31 | 1 | layer of the entry point; 0 if there is none |
//! | 32 | 4 | entry point: a row number; `0xffff_ffff` if there are no rows |
//! | 36 | 4 | `n` |
//! | 40 | 4 | `u` |
//! | 44 | 1 | the code asked for: 0 none, 1 sq8, 2 f16, 3 sq4, 4 bit; 255 where the graph chooses |
//! | 45 | 1 | the code of its rows, 0 to 4: what was asked for or chosen |
//! | 46 | 1 | 1 where that was chosen by measuring, when there were 8,192 rows; else 0 |
//! | 47 | 1 | zero |
//! | 48 | 8 | length of the image in bytes |
//! | 56 | 4 | CRC-32 (IEEE) of everything after the header |
//! | 60 | 4 | rows of the graph when it was calibrated; 0 if it was not |
//! | 64 | 24 | recall@10 of beams of 10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512 |
//! | 88 | 14 | recall@100 of beams of 100, 128, 192, 256, 384, 512, 768 |
//! | 102 | 4 | number of holes |
//! | 106 | 18 | zero |
//! | 124 | 4 | CRC-32 (IEEE) of header bytes 0 to 124 |
//!
//! A recall is a `u16`, in parts of 65,535, and none is above the next one of its list. Both lists
//! are zero where the graph was not calibrated, the second also where it had fewer than 8,192 rows
//! then. Graphs of fewer than 2,048 rows are not calibrated; rows may have left since.

mod decode;
mod fault;
mod header;
mod patch;

use crate::code::Code;
use crate::graph::Graph;
use crate::params::Params;
use header::{HEADER_LEN, Kind};

pub use decode::GraphReader;
pub use fault::{GraphFault, LinkFault, PatchFault};
pub use patch::Patch;

/// Sections begin at multiples of this.
const SECTION_ALIGN: usize = 64;

/// Most bytes that are written at a time.
const PIECE_LEN: usize = 64 << 10;

const _: () = assert!(HEADER_LEN.is_multiple_of(SECTION_ALIGN));

/// Where the sections of an image are, in bytes from its beginning.
#[derive(Clone, Copy, Debug)]
struct Layout {
    starts_end: u64,
    base_at: u64,
    base_end: u64,
    upper_at: u64,
    upper_end: u64,
    codes_at: u64,
    codes_end: u64,
    members_at: u64,
    members_end: u64,
    len: u64,
}

impl Layout {
    /// Cannot overflow: at most `2^31` rows, codes of less than `2^19` bytes, and `2^32` lists of
    /// at most 256 slots.
    fn new(params: &Params, code: Code, rows: u32, upper_lists: u32, has_holes: bool) -> Self {
        let list_bytes = |layer| 4 * params.links_max(layer) as u64;
        let starts_end = HEADER_LEN as u64 + 4 * (u64::from(rows) + 1);
        let base_at = starts_end.next_multiple_of(SECTION_ALIGN as u64);
        let base_end = base_at + list_bytes(0) * u64::from(rows);
        let upper_at = base_end.next_multiple_of(SECTION_ALIGN as u64);
        let upper_end = upper_at + list_bytes(1) * u64::from(upper_lists);
        let codes_at = upper_end.next_multiple_of(SECTION_ALIGN as u64);
        let codes_end = codes_at + code.len_bytes(params.dims) as u64 * u64::from(rows);
        let members_at = codes_end.next_multiple_of(SECTION_ALIGN as u64);
        let words = if has_holes { rows.div_ceil(64) } else { 0 };
        let members_end = members_at + 8 * u64::from(words);
        Self {
            starts_end,
            base_at,
            base_end,
            upper_at,
            upper_end,
            codes_at,
            codes_end,
            members_at,
            members_end,
            len: members_end.next_multiple_of(SECTION_ALIGN as u64),
        }
    }
}

impl Graph {
    fn upper_lists(&self) -> u32 {
        self.upper_starts.row(self.len() as usize)[0]
    }

    fn layout(&self) -> Layout {
        let (len, upper_lists) = (self.len(), self.upper_lists());
        Layout::new(&self.params, self.code, len, upper_lists, self.has_holes())
    }

    /// Bytes that [`Graph::encode`] appends.
    #[must_use]
    pub fn encoded_len(&self) -> u64 {
        self.layout().len
    }

    /// Appends the image of this graph to `out`: links, codes, parameters and calibration, no
    /// vectors. Equal graphs give equal bytes. Cost: a copy and a checksum.
    ///
    /// # Panics
    /// If the image does not fit the address space.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve_exact(usize::try_from(self.encoded_len()).expect("an image that fits memory"));
        let appended = self.encode_to(&mut |piece| {
            out.extend_from_slice(piece);
            Ok::<(), std::convert::Infallible>(())
        });
        match appended {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }

    /// Gives the image of this graph to `write`, as [`encode`](Self::encode) makes it, in pieces of
    /// at most 64 KiB. Cost: two copies and a checksum.
    ///
    /// # Errors
    /// What `write` says; it is not called again then.
    pub fn encode_to<E>(&self, write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut crc = crc32fast::Hasher::new();
        let hashed = self.for_body(&mut |piece| {
            crc.update(piece);
            Ok::<(), std::convert::Infallible>(())
        });
        match hashed {
            Ok(()) => {}
            Err(never) => match never {},
        }
        write(&self.header(Kind::Image, self.encoded_len(), 0, crc.finalize()))?;
        self.for_body(write)
    }

    /// The sections, each filled up with zeros to the next one.
    fn for_body<E>(&self, write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut piece = Vec::new();
        for section in [&self.upper_starts, &self.base, &self.upper] {
            let mut len = 0;
            for words in section.runs().flat_map(|run| run.chunks(PIECE_LEN / 4)) {
                piece.clear();
                piece.extend(words.iter().flat_map(|word| word.to_le_bytes()));
                write(&piece)?;
                len += piece.len();
            }
            fill_up(len, write)?;
        }
        let mut len = 0;
        for codes in self.codes.runs().flat_map(|run| run.chunks(PIECE_LEN)) {
            write(bytemuck::cast_slice(codes))?;
            len += codes.len();
        }
        fill_up(len, write)?;
        if !self.has_holes() {
            return Ok(());
        }
        let words = self.members.words();
        for words in words.chunks(PIECE_LEN / 8) {
            piece.clear();
            piece.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            write(&piece)?;
        }
        fill_up(size_of_val(words), write)
    }
}

/// Zeros after a section of `len` bytes.
fn fill_up<E>(len: usize, write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let padding = len.next_multiple_of(SECTION_ALIGN) - len;
    if padding > 0 { write(&[0; SECTION_ALIGN][..padding]) } else { Ok(()) }
}
