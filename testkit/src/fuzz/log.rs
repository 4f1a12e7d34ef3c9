//! Segments of a log that nobody wrote.

use super::edits::Edit;
use super::forge::{FRAME_LEN, Files, Shared, frames, mend_segment};
use super::input::Input;
use super::judge::{NAMES, config, judge};
use gannet::{Database, Metric, Params, RecoveryMode, WriteBatch};
use gannet_storage::FileName;
use std::sync::OnceLock;

/// Bit of an input's first byte: damage ends the log instead of being refused. Edits follow.
const IS_POINT_IN_TIME: u8 = 1;

/// Parts of a frame that an edit may be about; what is beyond them is the segment's header.
const BODY: u8 = 24;
const HEADER: u8 = 28;

/// A segment with the frames that it has.
type Segment = (FileName, Vec<(usize, usize)>);

/// A database without a checkpoint, with a log of more than one segment.
struct Store {
    files: Files,
    segments: Vec<Segment>,
}

impl Store {
    fn shared() -> &'static Self {
        static STORE: OnceLock<Store> = OnceLock::new();
        STORE.get_or_init(Self::make)
    }

    fn make() -> Self {
        let files = Files::left_by(Self::fill);
        let is_segment = |name: &&FileName| name.as_str().starts_with("log-");
        let names = files.0.keys().filter(is_segment);
        let segments = names.map(|name| (name.clone(), frames(&files.0[name]))).collect();
        Self { files, segments }
    }

    fn fill(storage: Shared) {
        let mut config = config(RecoveryMode::Strict);
        config.log_compression = true;
        let db = Database::open(storage, config).expect("new");
        let params = Params { m: 2, ef_construction: 8, ..Params::new(3, Metric::L2) };
        db.create_collection("rows", params).expect("new");
        let commit = |change: &dyn Fn(&mut WriteBatch)| {
            let mut batch = WriteBatch::new();
            change(&mut batch);
            db.commit(batch).expect("commits");
        };
        commit(&|batch| {
            for (number, name) in (1_u8..).zip(NAMES) {
                batch.insert("rows", name, &[f32::from(number), 0.5, -1.0]);
            }
            batch.insert("rows", 5, &[0.0, 0.0, 1.0]);
        });
        commit(&|batch| batch.put("keys", b"compressed", &[7; 5000]));
        commit(&|batch| {
            batch.delete_row("rows", 5);
            batch.upsert("rows", NAMES[0], &[3.0, 2.0, 1.0]);
            batch.put("keys", b"one", b"value");
            batch.delete("keys", b"compressed");
        });
        commit(&|batch| batch.put("keys", b"two", &[]));
    }

    /// The files after some edits, every checksum and every chain right.
    fn forge(&self, edits: &[Edit]) -> Files {
        let mut files = self.files.clone();
        let count = self.segments.iter().map(|(_, frames)| frames.len().max(1)).sum::<usize>();
        let (mut chain, mut first) = (0, 0);
        for (name, frames) in &self.segments {
            let segment = files.0.get_mut(name).expect("it is there");
            for edit in edits {
                let Some(index) = (usize::from(edit.what) % count).checked_sub(first) else {
                    continue;
                };
                let in_frame = frames.get(index).filter(|_| edit.part < HEADER);
                match in_frame {
                    Some(&(at, len)) if edit.part < BODY => {
                        edit.overwrite(&mut segment[at + FRAME_LEN..at + len]);
                    }
                    Some(&(at, _)) => edit.overwrite(&mut segment[at..at + FRAME_LEN]),
                    None if index < frames.len().max(1) => edit.overwrite(&mut segment[12..80]),
                    None => {}
                }
            }
            chain = mend_segment(segment, frames, chain);
            first += frames.len().max(1);
        }
        files
    }
}

pub(super) fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let is_point_in_time = input.u8() & IS_POINT_IN_TIME != 0;
    let files = Store::shared().forge(&Edit::all(&mut input));
    let recovery = if is_point_in_time { RecoveryMode::PointInTime } else { RecoveryMode::Strict };
    judge(&files, recovery);
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![0]];
    for what in 0..6 {
        for (part, how, at, value) in
            [(0, 0, 4, 6), (0, 2, 0, 40), (0, 4, 30, 1), (BODY, 0, 10, 1), (HEADER, 0, 40, 3)]
        {
            let mut seed = vec![what % 2];
            seed.extend(Edit::bytes(what, part, how, at, value));
            seeds.push(seed);
        }
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_put_together_again_is_as_it_was() {
        let store = Store::shared();
        let frames: usize = store.segments.iter().map(|(_, frames)| frames.len()).sum();
        assert!(frames >= 5 && store.segments.len() > 1, "{:?}", store.segments);
        assert!(store.forge(&[]) == store.files, "another writer makes another log");
    }
}
