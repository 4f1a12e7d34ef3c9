//! Codes: what a walk compares in place of vectors, a quarter of their size.
//!
//! A code is a function of its row and the dimensions alone: nothing is trained, so a code never
//! grows stale, and equal rows have equal codes on every CPU. Codes decide which rows a walk looks
//! at; what it finds is put in order by exact distances, so they change no distance that a caller
//! sees. `rotation` spreads a vector's length over its components, `sq8` makes bytes of them;
//! graphs keep codes.

mod rotation;
mod sq8;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::kernel::{Isa, Simd, Task};
use crate::params::Params;
use crate::space::{Aim, Space};
use rotation::rotate;

/// Codes of a block: the step of all kernels.
const BLOCK: usize = 16;
/// Bytes behind the codes of a row: its step and the square of its length, f32, then zeros.
const TERMS_LEN: usize = 16;

/// What a walk compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The vectors themselves.
    None,
    /// A byte a component, of the rotated vector, in steps of 1/127 of its largest component.
    #[default]
    Sq8,
}

/// A name or number that is no code's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown code {name:?}: expected none or sq8")]
pub struct CodeUnknown {
    /// What was given.
    pub name: String,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 2] = [Self::None, Self::Sq8];

    /// The number that stands for it in files.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Sq8 => 1,
        }
    }

    /// The code that a number in a file stands for.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// Bytes of a row's code, a multiple of 16; 0 where there is none.
    #[must_use]
    pub const fn len_bytes(self, dims: u32) -> usize {
        match self {
            Self::None => 0,
            Self::Sq8 => (dims as usize).next_multiple_of(BLOCK) + TERMS_LEN,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Sq8 => "sq8",
        })
    }
}

impl FromStr for Code {
    type Err = CodeUnknown;

    fn from_str(name: &str) -> Result<Self, CodeUnknown> {
        let found = Self::ALL.into_iter().find(|code| code.to_string() == name);
        found.ok_or_else(|| CodeUnknown { name: name.to_owned() })
    }
}

/// Makes codes of rows, reusing its memory.
#[derive(Clone, Debug)]
pub struct Encoder {
    code: Code,
    dims: u32,
    isa: Isa,
    rotated: Vec<f32>,
}

impl Encoder {
    /// For rows of `dims` dimensions.
    #[must_use]
    pub fn new(code: Code, dims: u32) -> Self {
        Self { code, dims, isa: Isa::detect(), rotated: Vec::new() }
    }

    /// The same encoder, computing on `isa`. Codes do not change, only its speed.
    #[must_use]
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// Writes the code of `vector`, which is finite, over `out`.
    ///
    /// Cost: `2 * dims * log2(dims)` additions.
    ///
    /// # Panics
    /// If `vector` has fewer components than dimensions, or `out` not [`Code::len_bytes`].
    pub fn encode(&mut self, vector: &[f32], out: &mut [u8]) {
        assert_eq!(out.len(), self.code.len_bytes(self.dims), "bytes of a code");
        if self.code == Code::None {
            return;
        }
        self.rotated.clear();
        self.rotated.extend_from_slice(&vector[..self.dims as usize]);
        self.isa.run(Encode { rotated: &mut self.rotated, out });
    }
}

/// The code of a vector, which is rotated in place.
struct Encode<'a> {
    rotated: &'a mut [f32],
    out: &'a mut [u8],
}

impl Task for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let scale = rotate(self.rotated);
        sq8::encode(self.rotated, scale, self.out);
    }
}

/// The codes of a graph's rows, one after another, and those of a `BATCH` of rows that are about to
/// join.
#[derive(Clone, Copy)]
pub(crate) struct Codes<'a, const BATCH: bool> {
    dims: usize,
    len_bytes: usize,
    graph: &'a [i8],
    batch: &'a [i8],
}

impl<'a, const BATCH: bool> Codes<'a, BATCH> {
    pub(crate) fn new(params: &Params, graph: &'a [i8], batch: &'a [i8]) -> Self {
        let len_bytes = params.code.len_bytes(params.dims);
        Self { dims: params.dims as usize, len_bytes, graph, batch }
    }

    /// The code of `row`.
    #[inline(always)]
    fn of(&self, row: u32) -> &'a [i8] {
        let start = row as usize * self.len_bytes;
        if BATCH && start >= self.graph.len() {
            &self.batch[start - self.graph.len()..][..self.len_bytes]
        } else {
            &self.graph[start..][..self.len_bytes]
        }
    }
}

/// Rows compared by their codes.
#[derive(Clone, Copy)]
pub(crate) struct Coded<'a, S, const BATCH: bool> {
    pub(crate) codes: Codes<'a, BATCH>,
    pub(crate) is_dot: bool,
    pub(crate) simd: S,
}

impl<S: Simd, const BATCH: bool> Coded<'_, S, BATCH> {
    #[inline(always)]
    fn between(&self, aim: &Aim, code: &[i8], dot: i32) -> f32 {
        let (step, square) = sq8::terms(code);
        // Rounded: at most 2^-24 of it is lost.
        #[expect(clippy::cast_precision_loss, reason = "as said")]
        let product = aim.step * step * dot as f32;
        if self.is_dot { 0.0 - product } else { aim.square + square - 2.0 * product }
    }
}

impl<S: Simd, const BATCH: bool> Space for Coded<'_, S, BATCH> {
    const IS_EXACT: bool = false;

    #[inline(always)]
    fn aim(&self, row: u32, aim: &mut Aim) {
        let code = self.codes.of(row);
        (aim.step, aim.square) = sq8::terms(code);
        aim.words.clear();
        aim.words.extend(code[..code.len() - TERMS_LEN].iter().map(|&code| i16::from(code)));
    }

    #[inline(always)]
    fn aim_at(&self, query: &[f32], aim: &mut Aim) {
        aim.floats.clear();
        aim.floats.extend_from_slice(&query[..self.codes.dims]);
        let scale = rotate(&mut aim.floats);
        sq8::aim(scale, aim);
    }

    #[inline(always)]
    fn prefetch(&self, row: u32) {
        crate::kernel::prefetch::prefetch(self.codes.of(row));
    }

    #[cfg(feature = "counters")]
    fn row_len_bytes(&self) -> usize {
        self.codes.len_bytes
    }

    #[inline(always)]
    fn distance(&self, from: &Aim, row: u32) -> f32 {
        let code = self.codes.of(row);
        let dot = self.simd.dot_codes(&from.words, &code[..from.words.len()]);
        self.between(from, code, dot)
    }

    #[inline(always)]
    fn distance4(&self, from: &Aim, rows: [u32; 4]) -> [f32; 4] {
        let len = from.words.len();
        let codes = rows.map(|row| self.codes.of(row));
        let dots = self.simd.dot_codes4(&from.words, codes.map(|code| &code[..len]));
        [
            self.between(from, codes[0], dots[0]),
            self.between(from, codes[1], dots[1]),
            self.between(from, codes[2], dots[2]),
            self.between(from, codes[3], dots[3]),
        ]
    }
}
