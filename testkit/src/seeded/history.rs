//! The oracle: the contents after every batch, and which of them may be left.

use super::model::Model;
use gannet::Lsn;
use std::sync::Arc;

/// All contents that a database has had, oldest first, and what was said about them.
#[derive(Clone, Debug)]
pub(super) struct History {
    states: Vec<State>,
    /// Index of the last state that was acknowledged.
    acked: usize,
    /// Index of the last state that was acknowledged as durable.
    sure: usize,
    /// Index of the last state that something on disk bears witness to.
    witnessed: usize,
    /// Index of the state that was shown when it was last opened.
    opened: usize,
}

#[derive(Clone, Debug)]
struct State {
    model: Arc<Model>,
    /// Last record of its batch; `None` where nobody knows.
    lsn: Option<Lsn>,
}

/// What may have become of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// All that was acknowledged: the process was killed.
    Acked,
    /// All that was acknowledged as durable: the power was cut, or a write failed.
    Sure,
    /// All that has a witness: something rotted.
    Witnessed,
    /// Any state: the device dropped writes.
    Any,
}

impl History {
    pub(super) fn new() -> Self {
        let state = State { model: Arc::default(), lsn: Some(0) };
        Self { states: vec![state], acked: 0, sure: 0, witnessed: 0, opened: 0 }
    }

    /// The contents after the last batch, acknowledged or not.
    pub(super) fn tip(&self) -> &Arc<Model> {
        &self.states.last().expect("the first state is empty contents").model
    }

    /// The contents that readers see.
    pub(super) fn seen(&self) -> &Arc<Model> {
        &self.states[self.acked].model
    }

    /// The next batch was acknowledged.
    pub(super) fn ack(&mut self, model: Arc<Model>, last_lsn: Lsn, is_durable: bool) {
        self.perhaps(model);
        self.acked = self.states.len() - 1;
        self.states[self.acked].lsn = Some(last_lsn);
        if is_durable {
            self.sure = self.acked;
        }
    }

    /// The next batch may be there or not.
    pub(super) fn perhaps(&mut self, model: Arc<Model>) {
        self.states.push(State { model, lsn: None });
    }

    /// Everything up to the record `upto` is durable.
    pub(super) fn synced(&mut self, upto: Lsn) {
        self.sure = self.sure.max(self.upto(upto));
    }

    /// Something was written that says that everything up to the record `upto` is durable.
    pub(super) fn witness(&mut self, upto: Lsn) {
        self.witnessed = self.witnessed.max(self.upto(upto));
    }

    /// The database was closed in order: all is durable, and has a witness if anything was
    /// committed since it was opened. Who only reads writes none.
    pub(super) fn closed(&mut self) {
        self.synced(Lsn::MAX);
        if self.acked > self.opened {
            self.witness(Lsn::MAX);
        }
    }

    /// Index of the last acknowledged state up to that record.
    fn upto(&self, upto: Lsn) -> usize {
        let is_known = |state: &State| state.lsn.is_some_and(|lsn| lsn <= upto);
        let known = self.states[..=self.acked].iter().rposition(is_known);
        known.expect("the first state is at 0")
    }

    /// A database shows `model`. From then on that is what it must show.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn settle(&mut self, model: &Model, left: Left) -> Result<Shown, String> {
        let least = match left {
            Left::Acked => self.acked,
            Left::Sure => self.sure,
            Left::Witnessed => self.witnessed.min(self.sure),
            Left::Any => 0,
        };
        let found = self.states[least..].iter().rposition(|state| *state.model == *model);
        let Some(found) = found.map(|found| found + least) else {
            let known = self.states.iter().rposition(|state| *state.model == *model);
            let due = format!("states {least} to {} of its history", self.states.len() - 1);
            return Err(match known {
                Some(known) => format!("it shows state {known}, it may show {due} ({left:?})"),
                None => format!("it shows what never was: none of {due} ({left:?})"),
            });
        };
        let shown = if found < self.sure { Shown::Earlier } else { Shown::Right };
        self.states.truncate(found + 1);
        (self.acked, self.sure, self.opened) = (found, found, found);
        self.witnessed = self.witnessed.min(found);
        Ok(shown)
    }

    /// The last record that was acknowledged, as far as that is known.
    pub(super) fn acked_lsn(&self) -> Option<Lsn> {
        self.states[self.acked].lsn
    }

    /// The log ends with the record `lsn`: what was just settled is there.
    ///
    /// # Errors
    /// Its batch was acknowledged with another record as its last.
    pub(super) fn at(&mut self, lsn: Lsn) -> Result<(), String> {
        match self.states[self.acked].lsn.replace(lsn) {
            Some(known) if known != lsn => {
                Err(format!("the log ends with record {lsn}, {known} was acknowledged"))
            }
            _ => Ok(()),
        }
    }
}

/// How what is shown compares with what was acknowledged as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Right,
    /// As after an earlier power cut.
    Earlier,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimRng;

    /// A history of `count` batches, the first `sure` of them strict.
    fn history(count: u64, sure: u64) -> (History, Vec<Arc<Model>>) {
        let (mut history, mut models) = (History::new(), vec![Arc::default()]);
        let mut rng = SimRng::new(1);
        for attempt in 1..=count {
            let model = Arc::new(history.tip().draft(&mut rng, attempt).after);
            history.ack(Arc::clone(&model), attempt, attempt <= sure);
            models.push(model);
        }
        (history, models)
    }

    #[test]
    fn each_loss_is_allowed_where_it_may_be_and_nowhere_else() {
        for (left, least) in
            [(Left::Acked, 6), (Left::Sure, 4), (Left::Witnessed, 3), (Left::Any, 0)]
        {
            let (mut history, models) = history(6, 4);
            history.witness(3);
            history.perhaps(Arc::default());
            for (index, model) in models.iter().enumerate().skip(1) {
                let settled = history.clone().settle(model, left);
                assert_eq!(settled.is_ok(), index >= least, "{left:?} {index}: {settled:?}");
            }
        }
    }

    #[test]
    fn what_was_cut_may_not_come_back_and_what_never_was_is_refused() {
        let (mut history, models) = history(6, 4);
        assert_eq!(history.settle(&models[5], Left::Sure), Ok(Shown::Right));
        assert!(history.settle(&models[6], Left::Any).is_err());
        assert!(history.settle(&models[4], Left::Sure).is_err());
        let other = models[5].draft(&mut SimRng::new(9), 99).after;
        assert!(history.settle(&other, Left::Any).expect_err("never").contains("never was"));
        assert_eq!(history.settle(&models[2], Left::Any), Ok(Shown::Earlier));
    }

    #[test]
    fn who_closes_leaves_a_witness_if_anything_was_committed() {
        let (mut history, models) = history(6, 6);
        assert_eq!(history.settle(&models[6], Left::Acked), Ok(Shown::Right));
        history.closed();
        assert!(history.clone().settle(&models[1], Left::Witnessed).is_ok());
        let after = Arc::new(models[6].draft(&mut SimRng::new(9), 99).after);
        history.ack(Arc::clone(&after), 7, false);
        history.closed();
        assert!(history.clone().settle(&models[6], Left::Witnessed).is_err());
        assert!(history.settle(&after, Left::Witnessed).is_ok());
    }

    #[test]
    fn a_sync_makes_sure_what_it_covers() {
        let (mut history, models) = history(6, 1);
        history.synced(3);
        assert!(history.clone().settle(&models[2], Left::Sure).is_err());
        assert!(history.settle(&models[3], Left::Sure).is_ok());
    }
}
