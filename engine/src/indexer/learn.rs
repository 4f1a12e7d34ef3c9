//! Batches of a collection's changes, put into a copy of its graph, and the copy in its place.

use crate::checkpoint::{OnProgress, Phase, Progress};
use crate::collection::{Collection, Step};
use crate::damage::Corruption;
use crate::database::{Core, ViewOf};
use crate::error::CheckpointError;
use crate::sync::Ordering;
use gannet_hnsw::{BuildScratch, Calibration, Executor, Graph};
use gannet_storage::Storage;
use std::ops::{ControlFlow, Deref};
use std::sync::Arc;
use std::time::Duration;

/// While much is learnt that somebody waits for, searches get what is done so far this often: each
/// time costs a copy of the graph.
const ASKED_INSTALL: Duration = Duration::from_millis(500);

/// What is to be learnt, and how.
pub(crate) struct Asked<'a> {
    /// The collection.
    pub(crate) id: u32,
    pub(crate) scratch: &'a mut BuildScratch,
    /// Searches get what is done so far this often.
    pub(crate) install: Duration,
    /// No more than the entries before this one.
    pub(crate) upto: u64,
    /// On threads that give way.
    pub(crate) is_behind: bool,
}

/// How far learning is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learnt {
    /// So many rows have joined or left.
    Rows(u64),
    /// A beam of a calibration was measured.
    Beam,
}

/// What a graph is still to learn.
struct Waiting {
    /// The number of the first entry, and one more than that of the last.
    first: u64,
    last: u64,
    /// Rows among them.
    rows: usize,
    wants_calibration: bool,
}

impl<S: Storage> Core<S> {
    /// Puts whole batches into a graph, and those that end at a cut; where `go_on` breaks, what is
    /// done stays. Called with `indexing.one` locked.
    ///
    /// # Errors
    /// Damage, of any row of the collection: its graph learns nothing.
    pub(crate) fn learn(
        &self,
        asked: &mut Asked<'_>,
        go_on: &mut dyn FnMut(Learnt) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Corruption> {
        let mut work = None;
        let mut installed = self.clock.now();
        let mut flow = ControlFlow::Continue(());
        while flow.is_continue() {
            let Some((collection, step, count)) = self.next_step(asked, work.as_ref()) else {
                break;
            };
            let (graph, done) = work.get_or_insert_with(|| (Graph::clone(collection.graph()), 0));
            let executor = &if asked.is_behind {
                self.behind(self.waiting(asked.id).rows)
            } else {
                self.executor().clone()
            };
            match step {
                Step::Batch { joins, leaves } => {
                    collection.make_of_rows(executor, |rows| {
                        if !leaves.is_empty() {
                            graph.remove_batch(rows, &leaves, executor, asked.scratch);
                        }
                        if !joins.is_empty() {
                            graph.insert_batch(rows, &joins, executor, asked.scratch);
                        }
                    })?;
                    flow = go_on(Learnt::Rows(count as u64));
                }
                Step::Cut => {
                    let mut beam = || go_on(Learnt::Beam);
                    flow = measure_if_due(&collection, graph, executor, &mut beam)?;
                    if flow.is_break() {
                        // The cut waits on.
                        break;
                    }
                }
            }
            *done += count;
            let now = self.clock.now();
            if now.saturating_sub(installed) >= asked.install {
                self.install(asked.id, graph, *done);
                *done = 0;
                installed = now;
            }
        }
        if let Some((mut graph, done)) = work
            && done > 0
        {
            self.install(asked.id, &mut graph, done);
        }
        Ok(flow)
    }

    /// What comes next, and the rows as they are; `None` if that is not to be done now.
    #[expect(clippy::type_complexity, reason = "what one look at the state gives")]
    fn next_step(
        &self,
        asked: &Asked<'_>,
        work: Option<&(Graph, usize)>,
    ) -> Option<(Arc<Collection<ViewOf<S>>>, Step, usize)> {
        let state = self.state.read();
        let live = state.collection_by_id(asked.id)?;
        let (graph, done) = work.map_or((&**live.now().graph(), 0), |(graph, done)| (graph, *done));
        if live.changes().first_number() + done as u64 >= asked.upto {
            return None;
        }
        let (step, count) = live.next_step(graph, done)?;
        Some((Arc::clone(live.now()), step, count))
    }

    /// Searches walk this graph from now on, which has learnt so many entries more.
    pub(crate) fn install(&self, id: u32, graph: &mut Graph, done: usize) {
        let mut state = self.state.write();
        let live = state.collection_mut(id).expect("collections stay");
        let before = live.set_graph(graph, done);
        drop(state);
        let graph = Arc::clone(before.graph());
        drop(before);
        self.indexing.retire(graph);
        self.indexing.note_learnt();
    }

    /// Puts everything that waits into the graphs, and measures those that never were or have grown
    /// by a quarter since. Searches and commits go on. How many rows joined or left.
    ///
    /// # Errors
    /// `Poisoned`; `Corrupt`; `Cancelled` where `progress` broke: what is done stays.
    pub(crate) fn index(&self, progress: OnProgress<'_>) -> Result<u64, CheckpointError> {
        self.check_poison().map_err(|()| CheckpointError::Poisoned)?;
        let _one = self.indexing.one.lock();
        self.index_with_one(progress)
    }

    /// As [`index`](Self::index), called with `indexing.one` locked.
    pub(crate) fn index_with_one(&self, progress: OnProgress<'_>) -> Result<u64, CheckpointError> {
        let waiting: Vec<(u32, u64)> = {
            let state = self.state.read();
            let wants = state.collections().filter(|found| found.wants_to_learn());
            wants.map(|found| (found.now().id, found.changes().len() as u64)).collect()
        };
        if waiting.is_empty() {
            return Ok(0);
        }
        let executor = self.workers.executor();
        executor.map_err(|error| CheckpointError::Threads(error.into()))?;
        let total = waiting.iter().map(|(_, count)| count).sum();
        let (mut done, mut beams) = (0, 0);
        let mut scratch = BuildScratch::new();
        let mut go_on = |learnt| match learnt {
            Learnt::Rows(count) => {
                done += count;
                progress(Progress { phase: Phase::Index, done: done.min(total), total })
            }
            Learnt::Beam => {
                beams += 1;
                progress(Progress { phase: Phase::Calibrate, done: beams, total: 0 })
            }
        };
        for (id, _) in waiting {
            // Before a cut is in the log that nothing comes of.
            self.verify_rows(id)?;
            // What is committed meanwhile is left to whoever comes next.
            let upto = self.waiting(id).last;
            let mut learn = |upto| {
                let scratch = &mut scratch;
                let mut asked =
                    Asked { id, scratch, install: ASKED_INSTALL, upto, is_behind: false };
                let learnt = self.learn(&mut asked, &mut go_on)?;
                learnt.continue_value().ok_or(CheckpointError::Cancelled)
            };
            learn(upto)?;
            let Waiting { first, wants_calibration, .. } = self.waiting(id);
            // On a full disk there is no cut; whole batches were learnt all the same.
            if (first < upto || wants_calibration) && self.cut(id).is_ok() {
                learn(if wants_calibration { self.waiting(id).last } else { upto })?;
            }
            let left = self.waiting(id);
            if left.rows == 0 {
                // The cut itself.
                learn(left.last)?;
            }
        }
        Ok(done)
    }

    /// Verifies all rows of a collection that were not yet.
    ///
    /// # Errors
    /// Damage, of any of them.
    fn verify_rows(&self, id: u32) -> Result<(), Corruption> {
        let now = {
            let state = self.state.read();
            Arc::clone(state.collection_by_id(id).expect("collections stay").now())
        };
        now.make_of_rows(self.executor(), |_| ())
    }

    /// Threads that give way, or others where there are none. One rests where somebody searched
    /// since the last look, whose next search has its core, or waited for the disk: what the kernel
    /// does when a write ends it may keep to a core, and let it wait there for milliseconds behind
    /// a thread that gives way (Linux 6.18, writes of a ring). But where half of the rows wait that
    /// may, commits wait for graphs.
    fn behind(&self, waiting: usize) -> Executor {
        let indexing = &self.indexing;
        let was_searched = indexing.was_searched.swap(false, Ordering::Relaxed);
        let was_synced = indexing.was_synced.swap(false, Ordering::Relaxed);
        let rests = was_searched || was_synced && waiting < indexing.pending_max / 2;
        let count = self.workers.count() - usize::from(rests);
        self.workers.behind(count).unwrap_or_else(|_| self.executor().clone())
    }

    fn waiting(&self, id: u32) -> Waiting {
        let state = self.state.read();
        let live = state.collection_by_id(id).expect("collections stay");
        let changes = live.changes();
        Waiting {
            first: changes.first_number(),
            last: changes.last_number(),
            rows: changes.len(),
            wants_calibration: live.now().graph().wants_calibration(),
        }
    }
}

/// Measures a graph over the rows of `collection`.
pub(crate) fn measure<V: Deref<Target = [u8]> + Send + Sync>(
    graph: &Graph,
    collection: &Collection<V>,
    executor: &Executor,
    progress: OnProgress<'_>,
) -> Result<Calibration, CheckpointError> {
    let mut done = 0;
    let mut proceed = || {
        done += 1;
        progress(Progress { phase: Phase::Calibrate, done, total: 0 })
    };
    let measured =
        collection.make_of_rows(executor, |rows| graph.calibrate(rows, executor, &mut proceed))?;
    measured.continue_value().ok_or(CheckpointError::Cancelled)
}

/// Measures how wide beams must be for what recall, if the graph never was or has grown.
fn measure_if_due<V: Deref<Target = [u8]> + Send + Sync>(
    collection: &Collection<V>,
    graph: &mut Graph,
    executor: &Executor,
    proceed: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Corruption> {
    if !graph.wants_calibration() {
        return Ok(ControlFlow::Continue(()));
    }
    let measured =
        collection.make_of_rows(executor, |rows| graph.calibrate(rows, executor, proceed))?;
    Ok(measured.map_continue(|measured| graph.set_calibration(measured)))
}

#[cfg(test)]
mod tests {
    use crate::{Config, Database, Durability, SearchOptions, WriteBatch};
    use gannet_storage::MemStorage;

    #[test]
    fn one_of_the_threads_rests_where_somebody_searched_or_waited_for_the_disk() {
        let mut config = Config::balanced();
        config.threads = 3;
        let db = Database::open(MemStorage::new(), config).unwrap();
        let count = || db.core.behind(0).thread_count();
        assert_eq!(count(), 3);
        let refused = db.search("none", &[0.0], &SearchOptions::new(1));
        assert!(refused.is_err(), "it was asked for all the same");
        assert_eq!([count(), count()], [2, 3], "until the next look");
        for (durability, expected) in [(Durability::Buffered, 3), (Durability::Strict, 2)] {
            let mut batch = WriteBatch::new();
            batch.put("keys", b"key", b"value");
            db.commit_with(batch, durability).unwrap();
            assert_eq!([count(), count()], [expected, 3], "{durability:?}");
        }
        let half = db.core.indexing.pending_max / 2;
        for (waiting, expected) in [(half - 1, 2), (half, 3)] {
            db.core.indexing.note_sync();
            assert_eq!(db.core.behind(waiting).thread_count(), expected, "{waiting} rows wait");
        }
    }
}
