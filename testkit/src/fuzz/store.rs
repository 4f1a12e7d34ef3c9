//! A root and sealed files that nobody wrote.

use super::edits::Edit;
use super::forge::{
    Files, MANIFEST_AT, REFERENCE_LEN, SLOT_LEN, Sealed, Shared, mend_blocks, mend_image,
    mend_slot, put, reference, u64_at,
};
use super::input::Input;
use super::judge::{IDS, NAMES, config, judge};
use gannet::{Code, Database, Metric, Params, RecoveryMode, WriteBatch};
use gannet_storage::{BLOCK_SIZE, FileName};
use std::ops::ControlFlow;
use std::sync::OnceLock;

/// Bits of an input's first byte; edits follow. Whether images inside of files keep checksums that
/// do not match, and whether the log is not there, which the older checkpoint needs.
const HAS_BAD_IMAGES: u8 = 1;
const HAS_NO_LOG: u8 = 2;
/// Not of inputs: tables alone are edited, and checksums of their blocks match.
const IS_OF_TABLES: u8 = 128;

/// What an edit of a part beyond the sections is about.
const HEADER: u8 = 31;

/// A database with a checkpoint in force.
struct Store {
    files: Files,
    /// The sealed files that the manifest names, with the places where it does.
    named: Vec<(FileName, Vec<usize>)>,
    manifest: FileName,
    /// Where the slot in force stands.
    slot: usize,
}

impl Store {
    fn shared() -> &'static Self {
        static STORE: OnceLock<Store> = OnceLock::new();
        STORE.get_or_init(Self::make)
    }

    fn make() -> Self {
        Self::of(Files::left_by(Self::fill))
    }

    fn fill(storage: Shared) {
        let db = Database::open(storage, config(RecoveryMode::Strict)).expect("new");
        let params = |dims, metric, code| Params {
            m: 2,
            ef_construction: 8,
            code: Code::into(code),
            ..Params::new(dims, metric)
        };
        db.create_collection("l2", params(3, Metric::L2, Code::Sq8)).expect("new");
        db.create_collection("cosine", params(17, Metric::Cosine, Code::None)).expect("new");
        let mut batch = WriteBatch::new();
        for id in 0..IDS {
            let number = f32::from(u8::try_from(id).expect("few"));
            batch.insert("l2", id, &[number, 1.0 - number, number * number]);
        }
        for (number, name) in (1_u8..).zip(NAMES) {
            let mut vector = [0.5; 17];
            vector[usize::from(number)] = f32::from(number);
            batch.insert("cosine", name, &vector);
        }
        for key in 0..60_u8 {
            batch.put("keys", &[key; 3], &[key; 40][..usize::from(key % 6) * 8]);
        }
        db.commit(batch).expect("commits");
        let checkpoint = || {
            db.checkpoint(&mut |_| ControlFlow::Continue(())).expect("a checkpoint");
        };
        checkpoint();
        let mut batch = WriteBatch::new();
        batch.delete_row("l2", 7);
        batch.delete("keys", &[3; 3]);
        batch.put("keys", &[4; 3], b"again");
        batch.upsert("l2", 9, &[-1.0, -2.0, -3.0]);
        db.commit(batch).expect("commits");
        checkpoint();
        let mut batch = WriteBatch::new();
        batch.upsert("l2", 3, &[9.0, 9.0, 9.0]);
        batch.put("keys", b"behind the checkpoint", b"");
        db.commit(batch).expect("commits");
    }

    /// Finds out what names what.
    fn of(files: Files) -> Self {
        let root = &files.0[&FileName::new("root").expect("valid")];
        let slots = [0, BLOCK_SIZE];
        let slot = slots.into_iter().max_by_key(|slot| u64_at(root, slot + 32)).expect("two");
        let number = u64_at(root, slot + MANIFEST_AT);
        let manifest = FileName::new(&format!("manifest-{number:010}")).expect("valid");
        let body = &Sealed::of(&files.0[&manifest]).sections[0];
        let kinds = ["rows-", "dead-", "graph-", "table-", "patch-"];
        let is_sealed = |name: &FileName| kinds.iter().any(|kind| name.as_str().starts_with(kind));
        let places = |(name, bytes): (&FileName, &Vec<u8>)| {
            let reference = reference(name, bytes);
            let windows = body.windows(REFERENCE_LEN).enumerate();
            let places = windows.filter(|(_, window)| **window == reference);
            (name.clone(), places.map(|(at, _)| at).collect::<Vec<_>>())
        };
        let sealed = files.0.iter().filter(|(name, _)| is_sealed(name));
        let named = sealed.map(places).filter(|(_, places)| !places.is_empty()).collect();
        Self { files, named, manifest, slot }
    }

    /// The files after some edits, every checksum right but those that are to be wrong.
    fn forge(&self, flags: u8, edits: &[Edit]) -> Files {
        let mut files = self.files.clone();
        let is_table = |(name, _): &(FileName, _)| name.as_str().starts_with("table-");
        let tables: Vec<_> =
            (0..self.named.len()).filter(|at| is_table(&self.named[*at])).collect();
        let about = |index: usize| {
            let count = self.named.len() + 2;
            let tables = tables.clone();
            edits.iter().filter(move |edit| {
                let what = usize::from(edit.what);
                let is_of_tables = flags & IS_OF_TABLES != 0;
                let what = if is_of_tables { tables[what % tables.len()] } else { what % count };
                what == index
            })
        };
        let mut manifest = Sealed::of(&self.files.0[&self.manifest]);
        for (index, (name, places)) in self.named.iter().enumerate() {
            let mut sealed = Sealed::of(&self.files.0[name]);
            let bytes = changed(&mut sealed, about(index), |sealed| {
                let is_of_graph =
                    ["graph-", "patch-"].iter().any(|kind| name.as_str().starts_with(kind));
                if is_of_graph && flags & HAS_BAD_IMAGES == 0 {
                    mend_image(&mut sealed.sections[0]);
                }
                if name.as_str().starts_with("table-") && flags & IS_OF_TABLES != 0 {
                    let reference = reference(name, &self.files.0[name]);
                    mend_blocks(u64_at(&reference, 0), sealed);
                }
            });
            for &place in places {
                put(&mut manifest.sections[0], place, &reference(name, &bytes));
            }
            files.0.insert(name.clone(), bytes);
        }
        let bytes = changed(&mut manifest, about(self.named.len()), |_| ());
        let reference = reference(&self.manifest, &bytes);
        files.0.insert(self.manifest.clone(), bytes);
        let root = files.0.get_mut(&FileName::new("root").expect("valid")).expect("it is there");
        let slot = &mut root[self.slot..self.slot + SLOT_LEN];
        put(slot, MANIFEST_AT, &reference);
        about(self.named.len() + 1).for_each(|edit| edit.overwrite(slot));
        mend_slot(slot);
        if flags & HAS_NO_LOG != 0 {
            files.0.retain(|name, _| !name.as_str().starts_with("log-"));
        }
        files
    }
}

/// A sealed file after edits of its sections, `mend`, and edits of its header.
fn changed<'e>(
    sealed: &mut Sealed,
    edits: impl Iterator<Item = &'e Edit> + Clone,
    mend: impl FnOnce(&mut Sealed),
) -> Vec<u8> {
    for edit in edits.clone().filter(|edit| edit.part != HEADER) {
        let sections = sealed.sections.len();
        edit.apply(&mut sealed.sections[usize::from(edit.part) % sections]);
    }
    mend(sealed);
    // The zeros behind the fields are left alone: edits would all be there.
    let of_header = edits.filter(|edit| edit.part == HEADER);
    sealed.bytes(|header| of_header.for_each(|edit| edit.overwrite(&mut header[..160])))
}

pub(super) fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let flags = input.u8() & !IS_OF_TABLES;
    let files = Store::shared().forge(flags, &Edit::all(&mut input));
    judge(&files, RecoveryMode::Strict);
}

/// Blocks, index, filter and footer of tables.
pub(super) fn run_tables(input: &[u8]) {
    let edits = Edit::all(&mut Input::new(input));
    judge(&Store::shared().forge(HAS_NO_LOG | IS_OF_TABLES, &edits), RecoveryMode::Strict);
}

pub(super) fn seeds_of_tables() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for what in 0..2 {
        for part in 0..4 {
            for (how, at, value) in [(0, 0, 7), (2, 4, u32::MAX), (3, 8, 3), (6, 1, 3), (5, 40, 1)]
            {
                seeds.push(Edit::bytes(what, part, how, at, value));
            }
        }
    }
    seeds
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let count = u8::try_from(Store::shared().named.len() + 2).expect("few files");
    let mut seeds = vec![vec![0], vec![HAS_NO_LOG]];
    for what in 0..count {
        for (part, how, at, value) in
            [(0, 0, 0, 7), (1, 2, 4, u32::MAX), (0, 3, 8, 3), (HEADER, 2, 0, 2), (2, 6, 1, 3)]
        {
            let mut seed = vec![HAS_NO_LOG];
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
    fn files_that_are_put_together_again_are_as_they_were() {
        let store = Store::shared();
        assert!(store.named.len() >= 6, "{:?}", store.named);
        assert!(store.forge(0, &[]) == store.files, "another writer makes other files");
    }
}
