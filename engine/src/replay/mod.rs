//! Replay: what the log says, done to the state in parallel, as if record by record.
//!
//! Keeps the order that matters and no other: a segment is decoded on its own; names and numbers
//! are looked at one after the other; then each collection takes its records in order, and each
//! keyspace the last word on every key. What a record does is left to `collection` and `keyspace`;
//! which records there are, to `log::recover`.

mod keys;

use crate::codec::Reader;
use crate::collection::LiveCollection;
use crate::damage::{Corruption, Damage};
use crate::id::Id;
use crate::keyspace::Keyspace;
use crate::log::recover::Taken;
use crate::log::scan::FramePlace;
use crate::record::{Record, RecordFault};
use crate::state::State;
use gannet_hnsw::{Executor, Params};
pub(crate) use keys::KeyRun;
use keys::{SegmentKeys, runs_of};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::{Deref, Range};

/// The number of a record in its segment: which frame, which record of it.
type Place = (u32, u32);

/// The records of one segment, by what they are for.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    frames: Vec<FramePlace>,
    creates: Vec<(Place, Create)>,
    keyspaces: BTreeMap<u32, (Place, SegmentKeys)>,
    collections: BTreeMap<u32, (Place, SegmentRows)>,
}

#[derive(Debug)]
enum Create {
    Collection { id: u32, name: String, params: Params },
    Keyspace { id: u32, name: String },
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
                self.creates.push((place, Create::Collection { id, name, params }));
            }
            Record::CreateKeyspace { keyspace: id, name } => {
                self.creates.push((place, Create::Keyspace { id, name: name.to_owned() }));
            }
            Record::Put { keyspace, key, value } => {
                self.keys(place, keyspace).push(key, Some(value));
            }
            Record::Delete { keyspace, key } => self.keys(place, keyspace).push(key, None),
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

    fn keys(&mut self, place: Place, keyspace: u32) -> &mut SegmentKeys {
        let new = || (place, SegmentKeys::default());
        &mut self.keyspaces.entry(keyspace).or_insert_with(new).1
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

impl<V: Deref<Target = [u8]> + Send + Sync> State<V> {
    /// Applies a wave of segments.
    ///
    /// # Errors
    /// A record that does not fit; the state is then of no use.
    pub(crate) fn replay(
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
        self.replay_rows(&wave, executor)?;
        self.replay_keys(wave, executor);
        Ok(())
    }

    /// Makes what the segment makes, and sees that whatever else it names is made before.
    fn begin_segment(&mut self, decoded: &Decoded) -> Result<(), Misfit> {
        let uses = |place: &Place, known: Option<&Place>, exists: bool| {
            known.map_or(exists, |made| made < place)
        };
        let mut misfits = Vec::new();
        let mut made_collections = BTreeMap::new();
        let mut made_keyspaces = BTreeMap::new();
        for (place, create) in &decoded.creates {
            let made = match create {
                Create::Collection { id, name, params } => {
                    made_collections.insert(*id, *place);
                    self.add_collection(LiveCollection::new(*id, name.clone(), params.clone()))
                }
                Create::Keyspace { id, name } => {
                    made_keyspaces.insert(*id, *place);
                    self.add_keyspace(Keyspace::new(*id, name.clone()))
                }
            };
            misfits.extend(made.err().map(|field| (*place, field)));
        }
        for (id, (place, _)) in &decoded.collections {
            if !uses(place, made_collections.get(id), self.collection_by_id(*id).is_some()) {
                misfits.push((*place, "collection"));
            }
        }
        for (id, (place, _)) in &decoded.keyspaces {
            if !uses(place, made_keyspaces.get(id), self.keyspace_by_id(*id).is_some()) {
                misfits.push((*place, "keyspace"));
            }
        }
        // The first one is what a replay record by record meets.
        misfits.into_iter().min().map_or(Ok(()), Err)
    }

    /// Each collection on its own, its records in order.
    fn replay_rows(
        &mut self,
        wave: &[Taken<Decoded>],
        executor: &Executor,
    ) -> Result<(), Corruption> {
        let is_used = |collection: &&mut LiveCollection<V>| {
            let id = collection.now().id;
            wave.iter().any(|taken| taken.product.collections.contains_key(&id))
        };
        let used: Vec<_> = self.collections_mut().filter(is_used).map(Mutex::new).collect();
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

    /// Each keyspace in runs of neighbouring keys, which are then merged into it.
    fn replay_keys(&mut self, wave: Vec<Taken<Decoded>>, executor: &Executor) {
        let mut by_keyspace: BTreeMap<u32, Vec<SegmentKeys>> = BTreeMap::new();
        for taken in wave {
            for (id, (_, keys)) in taken.product.keyspaces {
                by_keyspace.entry(id).or_default().push(keys);
            }
        }
        let mut runs: Vec<(u32, bool, Vec<KeyRun>)> = Vec::new();
        for (id, segments) in by_keyspace {
            #[cfg(mutants)]
            let segments: Vec<_> = {
                let is_reversed = mutant!("replay-reorders-a-key") && executor.thread_count() > 1;
                let mut segments = segments;
                if is_reversed {
                    segments.reverse();
                }
                segments
            };
            let has_put = segments.iter().any(SegmentKeys::has_put);
            runs.push((id, has_put, runs_of(&segments, executor)));
        }
        let mut work = Vec::new();
        for keyspace in self.keyspaces_mut() {
            let found = runs.iter().position(|(id, ..)| *id == keyspace.id);
            if let Some((_, has_put, runs)) = found.map(|index| runs.swap_remove(index)) {
                work.push(Mutex::new(Some((keyspace, has_put, runs))));
            }
        }
        executor.map(work.len(), |index| {
            let work = work[index].lock().take();
            let (keyspace, has_put, runs) = work.expect("each index is mapped once");
            keyspace.apply_runs(runs, has_put);
        });
    }
}
