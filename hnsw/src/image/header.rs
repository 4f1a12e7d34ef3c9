//! The header that the image of a graph begins with, and every patch upon one: what a graph is, but
//! for its rows.
//!
//! Keeps the fields, each within its own limits, and the checksums. What follows is `mod`'s and
//! `patch`'s, and whether it fits the header theirs to check.

use super::fault::GraphFault;
use crate::Metric;
use crate::calibration::{
    CALIBRATION_ROWS_MIN, Calibration, HUNDREDS_LEN, HUNDREDS_ROWS_MIN, TENS_LEN,
};
use crate::code::{Code, CodeChoice};
use crate::graph::{Graph, NO_ROW};
use crate::params::{Params, ROWS_MAX};

/// The only version there is.
const VERSION: u32 = 1;
pub(super) const HEADER_LEN: usize = 128;
/// Where the checksum of the header stands, and what it covers.
const HEADER_CRC_AT: usize = HEADER_LEN - 4;
/// Where the calibration stands: its rows, then its readings.
const CALIBRATED_AT: usize = 60;
const TENS_AT: usize = CALIBRATED_AT + 4;
const HUNDREDS_AT: usize = TENS_AT + 2 * TENS_LEN;
const HOLES_AT: usize = HUNDREDS_AT + 2 * HUNDREDS_LEN;
const PATCH_ROWS_AT: usize = HOLES_AT + 4;
const ZEROS_AT: usize = PATCH_ROWS_AT + 4;

/// What begins with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Patch,
}

impl Kind {
    /// The first bytes.
    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Image => *b"GANNETGR",
            Self::Patch => *b"GANNETGP",
        }
    }
}

impl Graph {
    /// The header of an image or a patch of it, `len` bytes long, of which those after the header
    /// have `body_crc`. A patch has `patch_rows` rows; an image says 0.
    pub(super) fn header(
        &self,
        kind: Kind,
        len: u64,
        patch_rows: u32,
        body_crc: u32,
    ) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        let entry = self.entry.map_or((NO_ROW, 0), |entry| (entry.row, entry.layer));
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &kind.magic());
        put(8, &VERSION.to_le_bytes());
        put(12, &self.params.dims.to_le_bytes());
        put(16, &self.params.seed.to_le_bytes());
        put(24, &self.params.ef_construction.to_le_bytes());
        put(28, &self.params.m.to_le_bytes());
        put(30, &[self.params.metric.code(), entry.1]);
        put(32, &entry.0.to_le_bytes());
        put(36, &self.len().to_le_bytes());
        put(40, &self.upper_lists().to_le_bytes());
        let choice = self.params.code.number();
        put(44, &[choice, self.code.number(), self.is_code_measured.into()]);
        put(48, &len.to_le_bytes());
        put(56, &body_crc.to_le_bytes());
        if let Some(Calibration { rows, tens, hundreds }) = &self.calibration {
            put(CALIBRATED_AT, &rows.to_le_bytes());
            for (reading, at) in tens.iter().chain(hundreds).zip((TENS_AT..).step_by(2)) {
                put(at, &reading.to_le_bytes());
            }
        }
        put(HOLES_AT, &(self.len() - self.count()).to_le_bytes());
        put(PATCH_ROWS_AT, &patch_rows.to_le_bytes());
        let crc = crc32fast::hash(&header[..HEADER_CRC_AT]);
        header[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        header
    }
}

/// The header's fields, each within its own limits.
pub(super) struct Header {
    pub(super) params: Params,
    pub(super) code: Code,
    pub(super) is_code_measured: bool,
    pub(super) entry: (u32, u8),
    pub(super) rows: u32,
    pub(super) holes: u32,
    /// Of a patch.
    pub(super) patch_rows: u32,
    pub(super) upper_lists: u32,
    pub(super) len: u64,
    pub(super) body_crc: u32,
    pub(super) calibration: Option<Calibration>,
}

impl Header {
    pub(super) fn read(bytes: &[u8], kind: Kind) -> Result<Self, GraphFault> {
        let found = bytes.len() as u64;
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(GraphFault::Truncated { needed: HEADER_LEN as u64, found });
        };
        let magic = field(header, 0);
        if magic != kind.magic() {
            return Err(GraphFault::Magic { found: magic });
        }
        let version = u32::from_le_bytes(field(header, 8));
        if version != VERSION {
            return Err(GraphFault::Version { found: version });
        }
        let stored = u32::from_le_bytes(field(header, HEADER_CRC_AT));
        check_crc("header", stored, &header[..HEADER_CRC_AT])?;
        check_zero(&header[47..48], 47)?;
        let zeros_at = if kind == Kind::Patch { ZEROS_AT } else { PATCH_ROWS_AT };
        check_zero(&header[zeros_at..HEADER_CRC_AT], zeros_at as u64)?;

        let [metric, entry_layer] = field(header, 30);
        let Some(metric) = Metric::from_code(metric) else {
            return Err(GraphFault::Metric { found: metric });
        };
        let [choice, code, is_measured] = field(header, 44);
        let fault = |found| GraphFault::Code { found };
        let choice = CodeChoice::from_number(choice).ok_or(fault(choice))?;
        let code = Code::from_number(code).ok_or(fault(code))?;
        let params = Params {
            dims: u32::from_le_bytes(field(header, 12)),
            metric,
            m: u16::from_le_bytes(field(header, 28)),
            ef_construction: u32::from_le_bytes(field(header, 24)),
            seed: u64::from_le_bytes(field(header, 16)),
            code: choice,
        };
        params.validate()?;
        let rows = u32::from_le_bytes(field(header, 36));
        // Of how many rows it was chosen cannot be told: some may have left.
        let has_chosen = choice.is_open(metric) && is_measured == 1 && rows > 0;
        if !has_chosen && (code != choice.first(metric) || is_measured != 0) {
            return Err(GraphFault::Chosen { choice, code, is_measured });
        }
        Ok(Self {
            params,
            code,
            is_code_measured: has_chosen,
            entry: (u32::from_le_bytes(field(header, 32)), entry_layer),
            rows,
            holes: u32::from_le_bytes(field(header, HOLES_AT)),
            patch_rows: u32::from_le_bytes(field(header, PATCH_ROWS_AT)),
            upper_lists: u32::from_le_bytes(field(header, 40)),
            len: u64::from_le_bytes(field(header, 48)),
            body_crc: u32::from_le_bytes(field(header, 56)),
            calibration: read_calibration(header)?,
        })
    }

    /// Whether there are as many rows as the header says.
    pub(super) fn check_rows(&self, max: u32) -> Result<(), GraphFault> {
        if self.rows > max {
            return Err(GraphFault::Rows { found: self.rows, max });
        }
        Ok(())
    }

    /// Whether `bytes` are as many as the header says.
    pub(super) fn check_len(&self, bytes: &[u8]) -> Result<(), GraphFault> {
        let found = bytes.len() as u64;
        if found < self.len {
            return Err(GraphFault::Truncated { needed: self.len, found });
        }
        if found > self.len {
            return Err(GraphFault::Oversized { expected: self.len, found });
        }
        Ok(())
    }

    /// Whether `bytes`, of which there are as many as the header says, are what was written.
    pub(super) fn check_body(&self, bytes: &[u8]) -> Result<(), GraphFault> {
        check_crc("body", self.body_crc, &bytes[HEADER_LEN..])
    }
}

/// What was measured; `None` if nothing was.
fn read_calibration(header: &[u8; HEADER_LEN]) -> Result<Option<Calibration>, GraphFault> {
    let rows = u32::from_le_bytes(field(header, CALIBRATED_AT));
    let graph_rows = u32::from_le_bytes(field(header, 36));
    if rows > ROWS_MAX || (1..CALIBRATION_ROWS_MIN).contains(&rows) {
        return Err(GraphFault::CalibratedRows { found: rows, rows: graph_rows });
    }
    let tens = read_readings(header, TENS_AT, rows >= CALIBRATION_ROWS_MIN)?;
    let hundreds = read_readings(header, HUNDREDS_AT, rows >= HUNDREDS_ROWS_MIN)?;
    Ok((rows > 0).then_some(Calibration { rows, tens, hundreds }))
}

/// The readings at `at`, in order, all zero where none were taken.
fn read_readings<const N: usize>(
    header: &[u8; HEADER_LEN],
    at: usize,
    are_there: bool,
) -> Result<[u16; N], GraphFault> {
    if !are_there {
        check_zero(&header[at..at + 2 * N], at as u64)?;
    }
    let readings = std::array::from_fn(|index| u16::from_le_bytes(field(header, at + 2 * index)));
    let falls = readings.windows(2).position(|pair| pair[0] > pair[1]);
    falls.map_or(Ok(readings), |index| {
        let (found, next) = (readings[index], readings[index + 1]);
        Err(GraphFault::Readings { offset: (at + 2 * index) as u64, found, next })
    })
}

fn field<const N: usize>(header: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    *header[at..].first_chunk().expect("fields lie within the header")
}

fn check_crc(part: &'static str, stored: u32, bytes: &[u8]) -> Result<(), GraphFault> {
    let computed = crc32fast::hash(bytes);
    if stored == computed {
        return Ok(());
    }
    Err(GraphFault::Checksum { part, stored, computed })
}

/// `bytes` begin at `offset` of the image.
pub(super) fn check_zero(bytes: &[u8], offset: u64) -> Result<(), GraphFault> {
    match bytes.iter().position(|&byte| byte != 0) {
        Some(at) => Err(GraphFault::Padding { offset: offset + at as u64, found: bytes[at] }),
        None => Ok(()),
    }
}

pub(super) fn check_params(found: &Params, expected: &Params) -> Result<(), GraphFault> {
    let fields = |params: &Params| {
        [
            ("dims", u64::from(params.dims)),
            ("metric", u64::from(params.metric.code())),
            ("m", u64::from(params.m)),
            ("ef_construction", u64::from(params.ef_construction)),
            ("seed", params.seed),
            ("code", u64::from(params.code.number())),
        ]
    };
    for ((field, found), (_, expected)) in fields(found).into_iter().zip(fields(expected)) {
        if found != expected {
            return Err(GraphFault::ParamsDiffer { field, found, expected });
        }
    }
    Ok(())
}
