//! A buffered batch that nobody is beside: written by the thread that commits it, under the queue's
//! lock, as a group of it alone would be, with no line to stand in and nobody to be told.

use crate::commit::outcome::Commit;
use crate::commit::publish::Effect;
use crate::commit::queue::Queue;
use crate::damage::Lsn;
use crate::database::Core;
use crate::error::CommitError;
use crate::sequence::Sequenced;
use crate::sync::MutexGuard;
use gannet_storage::{Durability as Level, Storage};

/// Longer memory for records is not kept after use.
const BODY_KEPT_BYTES: usize = 1 << 20;

impl<S: Storage> Queue<S> {
    /// Whether a buffered batch can be written at once, before any other.
    pub(super) fn is_alone(&self, batch: &Sequenced) -> bool {
        self.is_quiet()
            && !self.is_closed()
            && batch.records > 0
            && self.writer.log.has_room(batch.body.len())
    }
}

impl<S: Storage> Core<S> {
    /// Writes and acknowledges a buffered batch that [`is_alone`](Queue::is_alone).
    ///
    /// # Errors
    /// `Unknown`; the database is poisoned.
    pub(super) fn write_alone(
        &self,
        queue: &mut MutexGuard<'_, Queue<S>>,
        sequenced: Sequenced,
    ) -> Result<Commit, CommitError> {
        let Sequenced { mut body, records, is_of_keys } = sequenced;
        let durable_upto = queue.stated_upto();
        let log = &mut queue.writer.log;
        let bodies = std::iter::once(&body[..]);
        let frame = log.compose(&self.storage, bodies, records, durable_upto, Level::Deferred);
        let written = self.write_buffered(queue, &frame);
        queue.writer.log.give_back(frame);
        if let Err(error) = written {
            self.fail_all(queue, &error);
            return Err(CommitError::Unknown(error));
        }
        let first_lsn = queue.sequenced + 1;
        queue.sequenced += Lsn::from(records);
        let effect = Effect { body: &body, records, first_lsn, is_of_keys };
        self.publish(std::iter::once(effect));
        mutant!("buffered-counted-as-synced" => {
            let upto = queue.sequenced;
            queue.writer.log.note_synced(upto);
        });
        queue.in_flight.clear();
        queue.metrics.group_ended(1, records, body.len());
        queue.note_records(body.len());
        body.clear();
        if body.capacity() <= BODY_KEPT_BYTES {
            queue.body = body;
        }
        let commit = Commit { first_lsn, last_lsn: queue.sequenced };
        self.after_write(queue);
        Ok(commit)
    }
}
