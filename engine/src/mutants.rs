//! Faults built in on purpose, to see that the campaigns of the test kit notice them.
//!
//! `mutant!("name")` is the constant `false`, and `mutant!("name" => { .. })` nothing at all,
//! unless the compiler is given `--cfg mutants`. Then it is whether the environment variable
//! `GANNET_MUTANT` has that name. Each stands where a careless change would do the same harm;
//! `cargo run --release -p gannet-testkit --example mutants` runs them all.

/// Whether a fault is wanted, or what it does.
#[cfg(not(mutants))]
macro_rules! mutant {
    ($name:literal) => {
        false
    };
    ($name:literal => $harm:block) => {};
}

/// Whether a fault is wanted, or what it does.
#[cfg(mutants)]
macro_rules! mutant {
    ($name:literal) => {
        $crate::mutants::is_on($name)
    };
    ($name:literal => $harm:block) => {
        if $crate::mutants::is_on($name) $harm
    };
}

#[cfg(mutants)]
pub use wanted::{ALL, VARIABLE};
#[cfg(mutants)]
pub(crate) use wanted::{is_on, publish_in_steps, remove_log_before};

#[cfg(mutants)]
mod wanted {
    use crate::codec::Reader;
    use crate::commit::Effect;
    use crate::database::Core;
    use crate::log::segment;
    use crate::record::Record;
    use gannet_storage::Storage;
    use std::sync::OnceLock;

    /// The environment variable that names the fault that is wanted.
    pub const VARIABLE: &str = "GANNET_MUTANT";

    /// Name of each, and what it breaks.
    pub const ALL: &[(&str, &str)] = &[
        // list: begin
        ("segment-name-not-synced", "the directory is not synced when a segment is made"),
        ("spare-name-not-synced", "the directory is not synced when a spare segment is made"),
        ("checkpoint-names-not-synced", "the directory is not synced before a checkpoint's slot"),
        ("backup-names-not-synced", "the directory is not synced before a backup's root"),
        ("names-not-settled", "names that a dead process gave are built on unsynced"),
        ("files-not-settled", "what a dead process wrote is built on unsynced"),
        ("cache-believed", "recovery reads the cache, not the media"),
        ("ack-before-sync", "a strict commit is acknowledged before its sync"),
        ("flush-without-sync", "a flush syncs nothing"),
        ("wrong-segment-synced", "a flush goes to the first segment, whichever is written to"),
        ("rotation-without-sync", "a segment is begun while its predecessor is not synced"),
        ("marker-before-sync", "a marker is written before what it bears witness to is synced"),
        ("keeper-never-syncs", "buffered commits are not synced when their time has come"),
        ("buffered-counted-as-synced", "a buffered group counts as durable once written"),
        ("publish-before-log", "readers see a batch before it is logged"),
        ("half-batch-visible", "a batch is applied record by record, readers in between"),
        ("waiter-not-woken", "a commit that has ended does not wake its waiter"),
        ("failed-sync-forgiven", "a sync that fails is taken for one that succeeded later"),
        ("failed-write-forgiven", "a frame whose writing failed counts as written"),
        ("no-poison", "commits go on after a write of unknown end"),
        ("refused-keeps-numbers", "a batch refused for want of space keeps its numbers"),
        ("refused-stays-in-flight", "later batches build on one that was refused"),
        ("tail-kept-after-sync", "a strict commit rewrites the block that a sync has covered"),
        ("durable-upto-never-advanced", "frames bear no witness to those before them"),
        ("durable-upto-too-early", "a frame bears witness to frames that are not synced"),
        ("no-witness-at-close", "closing leaves no witness to the last commit"),
        ("witness-ignored", "the frames behind a bad one are not looked at"),
        ("successor-ignored", "a segment need not reach where its successor begins"),
        ("bad-frame-skipped", "replay goes on behind a frame that is damaged"),
        ("body-not-checked", "the checksum of a frame's body is not compared"),
        ("log-ends-at-eio", "a log that cannot be read counts as ended"),
        ("last-segment-reused", "a recovered log continues in its last segment, from the front"),
        ("replay-drops-a-record", "the last record of a batch is not replayed"),
        ("replay-reorders-a-key", "replay on several threads takes segments in another order"),
        ("log-removed-before-slot", "the log is removed before the checkpoint is durable"),
        ("log-removed-too-early", "the log goes that an older checkpoint would need"),
        ("files-not-synced", "a checkpoint's files are not synced before their manifest"),
        ("manifest-not-synced", "a manifest is not synced before its slot"),
        ("slot-not-synced", "the log is removed before the slot is synced"),
        ("slot-in-force-overwritten", "both slots of the root are written to the same place"),
        ("dead-rows-not-saved", "a checkpoint forgets which rows are deleted"),
        ("checkpoint-ahead-of-log", "a checkpoint claims one record more than it holds"),
        ("waiting-changes-not-saved", "a checkpoint forgets what graphs are still to learn"),
        ("deleted-rows-stay-linked", "graphs are not told of rows that are deleted"),
        ("waiting-rows-not-found", "a search does not look at rows that no graph holds yet"),
        ("merge-forgets-what-came", "rows that come while others are written anew are forgotten"),
        ("merge-revives-the-dead", "rows that are deleted while others are written anew are not"),
        ("merge-renames-no-changes", "what a graph is still to learn keeps the names of before"),
        ("failed-flush-forgets", "keys that could not be written to a table are forgotten"),
        ("deletions-forgotten-early", "a deletion goes while older tables have the key"),
        ("newest-table-asked-last", "of the tables of level 0 the oldest is asked first"),
        ("older-version-read", "where sources of keys are merged the older version comes out"),
        ("level-not-named", "a manifest leaves out the last level"),
        ("block-not-checked", "checksums of blocks are not compared"),
        ("patch-misses-a-batch", "what a graph learns is left out of the next patch of it"),
        ("failed-patch-forgets", "what a failed checkpoint was to say of a graph counts as said"),
        ("unit-not-checked", "checksums of sealed files are not compared"),
        ("pinned-files-removed", "a checkpoint removes what a backup is copying"),
        // list: end
    ];

    /// Whether this fault is wanted.
    pub(crate) fn is_on(name: &str) -> bool {
        static WANTED: OnceLock<Option<String>> = OnceLock::new();
        WANTED.get_or_init(|| std::env::var(VARIABLE).ok()).as_deref() == Some(name)
    }

    /// Has records take effect one by one, and lets others in between.
    pub(crate) fn publish_in_steps<S: Storage>(core: &Core<S>, batch: Effect<'_>) {
        let Effect { body, records, first_lsn, is_of_keys } = batch;
        let mut fields = Reader::new(body);
        for lsn in first_lsn..first_lsn + u64::from(records) {
            let from = body.len() - fields.rest().len();
            Record::decode(&mut fields).expect("it was encoded here");
            let body = &body[from..body.len() - fields.rest().len()];
            core.publish(std::iter::once(Effect { body, records: 1, first_lsn: lsn, is_of_keys }));
            if core.workers.executor().is_ok_and(|executor| executor.thread_count() > 1) {
                (0..50).for_each(|_| std::thread::yield_now());
            }
        }
    }

    /// Removes the segments before `first`.
    pub(crate) fn remove_log_before<S: Storage>(storage: &S, first: u64) {
        for meta in storage.list().unwrap_or_default() {
            if segment::number_of(&meta.name).is_some_and(|number| number < first) {
                let _ = storage.remove(&meta.name);
            }
        }
    }
}
