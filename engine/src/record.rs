//! Records: the logical entries of the log, as bytes (`docs/FORMAT.md`, chapter Records).
//!
//! Keeps the encoding of each kind of change. Checksums and order are the frame's business,
//! meaning is `state`'s. Decoding is total.

use crate::codec::{Put, Reader};
use crate::damage::Newer;
use crate::id::Id;
use gannet_hnsw::{CodeChoice, Metric, Params};
use std::fmt;

/// Bytes before each record's payload: length u32, kind u8, version u8, zero u16.
const HEADER_LEN_BYTES: usize = 8;
const VERSION: u8 = 1;
const NO_ROW: u32 = u32::MAX;

const CREATE_COLLECTION: u8 = 1;
const INSERT: u8 = 2;
const DELETE_ROW: u8 = 3;
const CREATE_KEYSPACE: u8 = 4;
const PUT: u8 = 5;
const DELETE: u8 = 6;
const CUT: u8 = 7;
const DROP_KEYSPACE: u8 = 8;
const KIND_MAX: u8 = DROP_KEYSPACE;

const ID_INT: u8 = 0;
const ID_BYTES: u8 = 1;

/// One change, borrowed from the bytes it stands in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record<'a> {
    CreateCollection {
        collection: u32,
        name: &'a str,
        params: Params,
    },
    /// `vector` is dims f32, little-endian, as the caller gave it.
    Insert {
        collection: u32,
        row: u32,
        replaces: Option<u32>,
        id: Id,
        vector: &'a [u8],
    },
    DeleteRow {
        collection: u32,
        row: u32,
    },
    /// A batch of changes of the collection's graph ends here, full or not.
    Cut {
        collection: u32,
    },
    CreateKeyspace {
        keyspace: u32,
        name: &'a str,
    },
    /// With all that is in it.
    DropKeyspace {
        keyspace: u32,
    },
    Put {
        keyspace: u32,
        key: &'a [u8],
        value: &'a [u8],
    },
    Delete {
        keyspace: u32,
        key: &'a [u8],
    },
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordFault {
    /// The name of the field that is wrong.
    Field(&'static str),
    /// A version or kind that only a later program writes.
    Newer(Newer),
}

impl From<&'static str> for RecordFault {
    fn from(field: &'static str) -> Self {
        Self::Field(field)
    }
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => f.write_str(field),
            Self::Newer(Newer { what, found, .. }) => write!(f, "{what} {found}"),
        }
    }
}

impl Record<'_> {
    /// Appends the record to `out`. Lengths have been checked against `limits`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u32(0);
        out.put_u8(self.kind());
        out.put_u8(VERSION);
        out.put_u16(0);
        match self {
            Record::CreateCollection { collection, name, params } => {
                out.put_u32(*collection);
                out.put_bytes_u16(name.as_bytes());
                encode_params(out, params);
            }
            Record::Insert { collection, row, replaces, id, vector } => {
                out.put_u32(*collection);
                out.put_u32(*row);
                out.put_u32(replaces.unwrap_or(NO_ROW));
                encode_id(out, id);
                out.put_bytes_u32(vector);
            }
            Record::DeleteRow { collection, row } => {
                out.put_u32(*collection);
                out.put_u32(*row);
            }
            Record::Cut { collection } => out.put_u32(*collection),
            Record::CreateKeyspace { keyspace, name } => {
                out.put_u32(*keyspace);
                out.put_bytes_u16(name.as_bytes());
            }
            Record::DropKeyspace { keyspace } => out.put_u32(*keyspace),
            Record::Put { keyspace, key, value } => {
                out.put_u32(*keyspace);
                out.put_bytes_u16(key);
                out.put_bytes_u32(value);
            }
            Record::Delete { keyspace, key } => {
                out.put_u32(*keyspace);
                out.put_bytes_u16(key);
            }
        }
        let len = out.len() - start - HEADER_LEN_BYTES;
        let len = u32::try_from(len).expect("a batch is shorter than BATCH_LEN_BYTES_MAX");
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    }

    fn kind(&self) -> u8 {
        match self {
            Record::CreateCollection { .. } => CREATE_COLLECTION,
            Record::Insert { .. } => INSERT,
            Record::DeleteRow { .. } => DELETE_ROW,
            Record::Cut { .. } => CUT,
            Record::CreateKeyspace { .. } => CREATE_KEYSPACE,
            Record::DropKeyspace { .. } => DROP_KEYSPACE,
            Record::Put { .. } => PUT,
            Record::Delete { .. } => DELETE,
        }
    }
}

impl<'a> Record<'a> {
    /// Takes the next record off the front of a frame's body.
    pub(crate) fn decode(body: &mut Reader<'a>) -> Result<Self, RecordFault> {
        let len = body.u32().ok_or("record length")?;
        let kind = body.u8().ok_or("record kind")?;
        let newer = |what, found, supported| RecordFault::Newer(Newer { what, found, supported });
        let version = body.u8().ok_or("record version")?;
        if version > VERSION {
            return Err(newer("record version", version, VERSION));
        }
        if version == 0 {
            return Err("record version".into());
        }
        if kind > KIND_MAX {
            return Err(newer("record kind", kind, KIND_MAX));
        }
        if body.u16() != Some(0) {
            return Err("record flags".into());
        }
        let len = usize::try_from(len).map_err(|_| "record length")?;
        let mut payload = Reader::new(body.bytes(len).ok_or("record length")?);
        let record = Self::decode_payload(kind, &mut payload)?;
        if payload.is_empty() { Ok(record) } else { Err("record length".into()) }
    }

    fn decode_payload(kind: u8, p: &mut Reader<'a>) -> Result<Self, &'static str> {
        let record = match kind {
            CREATE_COLLECTION => {
                let collection = p.u32().ok_or("collection")?;
                let name = p.text_u16().ok_or("name")?;
                let params = decode_params(p).ok_or("params")?;
                Record::CreateCollection { collection, name, params }
            }
            INSERT => {
                let collection = p.u32().ok_or("collection")?;
                let row = p.u32().ok_or("row")?;
                let replaces = Some(p.u32().ok_or("replaces")?).filter(|&row| row != NO_ROW);
                let id = decode_id(p).ok_or("id")?;
                let vector = p.bytes_u32().ok_or("vector")?;
                Record::Insert { collection, row, replaces, id, vector }
            }
            DELETE_ROW => Record::DeleteRow {
                collection: p.u32().ok_or("collection")?,
                row: p.u32().ok_or("row")?,
            },
            CUT => Record::Cut { collection: p.u32().ok_or("collection")? },
            CREATE_KEYSPACE => Record::CreateKeyspace {
                keyspace: p.u32().ok_or("keyspace")?,
                name: p.text_u16().ok_or("name")?,
            },
            DROP_KEYSPACE => Record::DropKeyspace { keyspace: p.u32().ok_or("keyspace")? },
            PUT => Record::Put {
                keyspace: p.u32().ok_or("keyspace")?,
                key: p.bytes_u16().ok_or("key")?,
                value: p.bytes_u32().ok_or("value")?,
            },
            DELETE => Record::Delete {
                keyspace: p.u32().ok_or("keyspace")?,
                key: p.bytes_u16().ok_or("key")?,
            },
            _ => return Err("record kind"),
        };
        Ok(record)
    }
}

/// Parameters of a collection: dims u32, metric u8, zero u8, m u16, `ef_construction` u32, seed
/// u64.
pub(crate) fn encode_params(out: &mut Vec<u8>, params: &Params) {
    out.put_u32(params.dims);
    out.put_u8(params.metric.code());
    out.put_u8(params.code.number());
    out.put_u16(params.m);
    out.put_u32(params.ef_construction);
    out.put_u64(params.seed);
}

/// `None` where the bytes end early or say what `Params::validate` refuses.
pub(crate) fn decode_params(p: &mut Reader<'_>) -> Option<Params> {
    let dims = p.u32()?;
    let metric = Metric::from_code(p.u8()?)?;
    let code = CodeChoice::from_number(p.u8()?)?;
    let (m, ef_construction, seed) = (p.u16()?, p.u32()?, p.u64()?);
    let params = Params { dims, metric, m, ef_construction, seed, code };
    params.validate().is_ok().then_some(params)
}

/// An id: kind u8, then a u64 or bytes behind a u16 length.
pub(crate) fn encode_id(out: &mut Vec<u8>, id: &Id) {
    match id {
        Id::Int(id) => {
            out.put_u8(ID_INT);
            out.put_u64(*id);
        }
        Id::Bytes(id) => {
            out.put_u8(ID_BYTES);
            out.put_bytes_u16(id);
        }
    }
}

pub(crate) fn decode_id(p: &mut Reader<'_>) -> Option<Id> {
    match p.u8()? {
        ID_INT => p.u64().map(Id::Int),
        ID_BYTES => p.bytes_u16().map(Id::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> Vec<Record<'static>> {
        vec![
            Record::CreateCollection {
                collection: 1,
                name: "c",
                params: Params::new(3, Metric::Dot),
            },
            Record::Insert {
                collection: 1,
                row: 7,
                replaces: Some(2),
                id: Id::from("x"),
                vector: &[1, 2, 3, 4],
            },
            Record::Insert { collection: 1, row: 8, replaces: None, id: Id::Int(9), vector: &[] },
            Record::DeleteRow { collection: 1, row: 7 },
            Record::Cut { collection: 1 },
            Record::CreateKeyspace { keyspace: 2, name: "k" },
            Record::Put { keyspace: 2, key: b"key", value: b"value" },
            Record::Delete { keyspace: 2, key: b"key" },
            Record::DropKeyspace { keyspace: 2 },
        ]
    }

    #[test]
    fn records_come_back_in_order() {
        let mut bytes = Vec::new();
        for record in examples() {
            record.encode(&mut bytes);
        }
        let mut reader = Reader::new(&bytes);
        for record in examples() {
            assert_eq!(Record::decode(&mut reader), Ok(record));
        }
        assert!(reader.is_empty());
    }

    #[test]
    fn the_bytes_of_a_put_are_pinned() {
        let mut bytes = Vec::new();
        Record::Put { keyspace: 2, key: b"k", value: b"vw" }.encode(&mut bytes);
        let expected = [13, 0, 0, 0, 5, 1, 0, 0, 2, 0, 0, 0, 1, 0, b'k', 2, 0, 0, 0, b'v', b'w'];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_a_record_or_a_reason() {
        for record in examples() {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            for cut in 0..bytes.len() {
                assert!(
                    Record::decode(&mut Reader::new(&bytes[..cut])).is_err(),
                    "{record:?} {cut}"
                );
            }
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 0xff;
                let _ = Record::decode(&mut Reader::new(&bad));
            }
        }
    }
}
