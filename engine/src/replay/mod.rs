//! Replay: what the log says, done in parallel, as if record by record.
//!
//! Keeps the order that matters and no other: a segment is decoded on its own; names and numbers
//! are looked at one after the other; then each collection takes its records in order, and a
//! memtable the last word on every key. What a record does is left to `collection` and `memtable`;
//! which records there are, to `log::recover`.

mod keys;

use crate::codec::Reader;
use crate::collection::LiveCollection;
use crate::damage::{Corruption, Damage};
use crate::id::Id;
use crate::log::recover::Taken;
use crate::log::scan::FramePlace;
use crate::memtable::Memtable;
use crate::record::{Record, RecordFault};
use crate::state::State;
use crate::tree::Keyspaces;
use gannet_hnsw::{Executor, Params};
use keys::{SegmentKeys, fill};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::{Deref, Range};

/// The number of a record in its segment: which frame, which record of it.
type Place = (u32, u32);

/// The records of one segment, by what they are for.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    frames: Vec<FramePlace>,
    /// What is made and dropped, in order.
    named: Vec<(Place, Named)>,
    keys: SegmentKeys,
    /// The first and the last record of a key of each keyspace.
    keyspaces: BTreeMap<u32, (Place, Place)>,
    collections: BTreeMap<u32, (Place, SegmentRows)>,
}

#[derive(Debug)]
enum Named {
    Collection { id: u32, name: String, params: Params },
    Keyspace { id: u32, name: String },
    DropKeyspace { id: u32 },
}

/// What records are done to.
pub(crate) struct Replayed<V> {
    pub(crate) state: State<V>,
    pub(crate) keyspaces: Keyspaces,
    pub(crate) memtable: Memtable,
}

/// What a segment has for one collection, in order.
#[derive(Debug, Default)]
struct SegmentRows {
    /// The vectors, one after the other.
    bytes: Vec<u8>,
    ops: Vec<RowOp>,
}

/// One change, of the frame of that index.
type RowOp = (u32, RowChange);

#[derive(Debug)]
enum RowChange {
    Insert { row: u32, replaces: Option<u32>, id: Id, vector: Range<usize> },
    Delete { row: u32 },
    Cut,
}

/// A record that does not fit the state, and where it stands.
type Misfit = (Place, &'static str);

impl Decoded {
    /// Takes in the records of a frame.
    ///
    /// # Errors
    /// The field that is damaged, or what is newer; what was taken is then of no use.
    pub(crate) fn take(&mut self, frame: &FramePlace, body: &[u8]) -> Result<(), RecordFault> {
        let index = u32::try_from(self.frames.len()).map_err(|_| "frame count")?;
        self.frames.push(*frame);
        let mut records = Reader::new(body);
        let dropped = u32::from(mutant!("replay-drops-a-record") && frame.records > 1);
        for record in 0..frame.records - dropped {
            self.take_record((index, record), Record::decode(&mut records)?);
        }
        if records.is_empty() || dropped > 0 { Ok(()) } else { Err("record count".into()) }
    }

    fn take_record(&mut self, place: Place, record: Record<'_>) {
        match record {
            Record::CreateCollection { collection: id, name, params } => {
                let name = name.to_owned();
                self.named.push((place, Named::Collection { id, name, params }));
            }
            Record::CreateKeyspace { keyspace: id, name } => {
                self.named.push((place, Named::Keyspace { id, name: name.to_owned() }));
            }
            Record::DropKeyspace { keyspace: id } => {
                self.named.push((place, Named::DropKeyspace { id }));
            }
            Record::Put { keyspace, key, value } => {
                self.take_key(place, keyspace, key, Some(value));
            }
            Record::Delete { keyspace, key } => self.take_key(place, keyspace, key, None),
            Record::Insert { collection, row, replaces, id, vector } => {
                let rows = self.rows(place, collection);
                let start = rows.bytes.len();
                rows.bytes.extend_from_slice(vector);
                let vector = start..rows.bytes.len();
                rows.ops.push((place.0, RowChange::Insert { row, replaces, id, vector }));
            }
            Record::DeleteRow { collection, row } => {
                self.rows(place, collection).ops.push((place.0, RowChange::Delete { row }));
            }
            Record::Cut { collection } => {
                self.rows(place, collection).ops.push((place.0, RowChange::Cut));
            }
        }
    }

    fn take_key(&mut self, place: Place, keyspace: u32, key: &[u8], value: Option<&[u8]>) {
        let (frame, record) = place;
        let lsn = self.frames[frame as usize].first_lsn + u64::from(record);
        self.keys.push(keyspace, key, value, lsn);
        self.keyspaces.entry(keyspace).or_insert((place, place)).1 = place;
    }

    fn rows(&mut self, place: Place, collection: u32) -> &mut SegmentRows {
        let new = || (place, SegmentRows::default());
        &mut self.collections.entry(collection).or_insert_with(new).1
    }

    fn damage(&self, file: &str, frame: u32, field: &'static str) -> Corruption {
        let frame = self.frames[frame as usize];
        Corruption::new(file, frame.body_at as u64, Damage::Field(field))
            .lsns(frame.first_lsn, frame.last_lsn())
    }
}

impl<V: Deref<Target = [u8]> + Send + Sync> Replayed<V> {
    /// Applies a wave of segments.
    ///
    /// # Errors
    /// A record that does not fit; what came of it is then of no use.
    pub(crate) fn take(
        &mut self,
        wave: Vec<Taken<Decoded>>,
        executor: &Executor,
    ) -> Result<(), Corruption> {
        for taken in &wave {
            let misfit = self.begin_segment(&taken.product);
            misfit.map_err(|((frame, _), field)| {
                taken.product.damage(taken.file.as_str(), frame, field)
            })?;
        }
        replay_rows(&mut self.state, &wave, executor)?;
        self.replay_keys(wave, executor);
        Ok(())
    }

    /// Makes and drops what the segment does, and sees that whatever else it names is there then.
    fn begin_segment(&mut self, decoded: &Decoded) -> Result<(), Misfit> {
        let mut misfits = Vec::new();
        let mut collections = BTreeMap::new();
        // When each is there, in this segment: from a record on, up to another.
        let mut keyspaces: BTreeMap<u32, (Option<Place>, Option<Place>)> = BTreeMap::new();
        for (number, _) in self.keyspaces.iter() {
            keyspaces.insert(number, (None, None));
        }
        for (place, named) in &decoded.named {
            let done = match named {
                Named::Collection { id, name, params } => {
                    collections.insert(*id, *place);
                    let made = LiveCollection::new(*id, name.clone(), params.clone());
                    self.state.add_collection(made)
                }
                Named::Keyspace { id, name } => {
                    let done = self.keyspaces.add(*id, name);
                    if done.is_ok() {
                        keyspaces.insert(*id, (Some(*place), None));
                    }
                    done
                }
                Named::DropKeyspace { id } => {
                    let (frame, record) = *place;
                    let lsn = decoded.frames[frame as usize].first_lsn + u64::from(record);
                    let done = self.keyspaces.drop(*id, lsn);
                    if let (Ok(()), Some((_, until))) = (done, keyspaces.get_mut(id)) {
                        *until = Some(*place);
                    }
                    done
                }
            };
            misfits.extend(done.err().map(|field| (*place, field)));
        }
        for (id, (place, _)) in &decoded.collections {
            let is_there = collections
                .get(id)
                .map_or_else(|| self.state.collection_by_id(*id).is_some(), |made| made < place);
            if !is_there {
                misfits.push((*place, "collection"));
            }
        }
        for (id, (first, last)) in &decoded.keyspaces {
            match keyspaces.get(id) {
                Some((from, until)) => {
                    if from.is_some_and(|made| made > *first) {
                        misfits.push((*first, "keyspace"));
                    } else if until.is_some_and(|dropped| dropped < *last) {
                        misfits.push((*last, "keyspace"));
                    }
                }
                None => misfits.push((*first, "keyspace")),
            }
        }
        // The first one is what a replay record by record meets.
        misfits.into_iter().min().map_or(Ok(()), Err)
    }

    /// Brings the last word on every key into the memtable.
    fn replay_keys(&mut self, wave: Vec<Taken<Decoded>>, executor: &Executor) {
        let segments = wave.into_iter().map(|taken| taken.product.keys);
        #[cfg_attr(not(mutants), expect(unused_mut, reason = "a fault changes it"))]
        let mut segments: Vec<SegmentKeys> = segments.collect();
        mutant!("replay-reorders-a-key" => {
            if executor.thread_count() > 1 {
                segments.reverse();
            }
        });
        fill(&self.memtable, &segments, executor);
    }
}

/// Each collection on its own, its records in order.
fn replay_rows<V: Deref<Target = [u8]> + Send + Sync>(
    state: &mut State<V>,
    wave: &[Taken<Decoded>],
    executor: &Executor,
) -> Result<(), Corruption> {
    let is_used = |collection: &&mut LiveCollection<V>| {
        let id = collection.now().id;
        wave.iter().any(|taken| taken.product.collections.contains_key(&id))
    };
    let used: Vec<_> = state.collections_mut().filter(is_used).map(Mutex::new).collect();
    let misfits = executor.map(used.len(), |index| {
        let mut collection = used[index].lock();
        let id = collection.now().id;
        for (segment, taken) in wave.iter().enumerate() {
            let Some((_, rows)) = taken.product.collections.get(&id) else {
                continue;
            };
            for (frame, change) in &rows.ops {
                let done = match change {
                    RowChange::Delete { row } => collection.delete(*row),
                    RowChange::Insert { row, replaces, id, vector } => {
                        let vector = &rows.bytes[vector.clone()];
                        collection.insert(*row, *replaces, id.clone(), vector)
                    }
                    RowChange::Cut => {
                        collection.cut();
                        Ok(())
                    }
                };
                if let Err(field) = done {
                    return Some((segment, *frame, field));
                }
            }
        }
        None
    });
    match misfits.into_iter().flatten().min() {
        None => Ok(()),
        Some((segment, frame, field)) => {
            let Taken { file, product } = &wave[segment];
            Err(product.damage(file.as_str(), frame, field))
        }
    }
}
