//! Room in the log for the next group: a new segment, when all before it is durable.

use crate::commit::queue::{Queue, SpareWork};
use crate::database::Core;
use crate::log::writer::AppendError;
use crate::sync::MutexGuard;
use gannet_storage::Storage;

impl<S: Storage> Core<S> {
    /// The queue when the active segment has room for the next group.
    ///
    /// # Errors
    /// The queue, when there is no next group any more.
    pub(super) fn with_room<'q>(
        &'q self,
        mut queue: MutexGuard<'q, Queue<S>>,
    ) -> Result<MutexGuard<'q, Queue<S>>, MutexGuard<'q, Queue<S>>> {
        let body_len = loop {
            let (count, body_len) = queue.next_group();
            if count == 0 {
                return Err(queue);
            }
            if body_len == 0 || self.is_in_memory() || queue.writer.log.has_room(body_len) {
                return Ok(queue);
            }
            // No group of a segment is written before every group of the one before is durable.
            queue.drains += 1;
            self.wait_until_drained(&mut queue);
            let synced =
                if mutant!("rotation-without-sync") { Ok(()) } else { self.sync(&mut queue) };
            queue.drains -= 1;
            self.changed.notify_all();
            if synced.is_err() || self.check_poison().is_err() {
                self.end_waiting(&mut queue);
                return Err(queue);
            }
            let (count, body_len) = queue.next_group();
            if count == 0 {
                return Err(queue);
            }
            // Who was here too may have been first, and written a group.
            if body_len > 0 && !queue.writer.log.has_room(body_len) && queue.is_drained() {
                break body_len;
            }
        };
        let mut begun = self.begin_segment(&mut queue, body_len);
        if begun.as_ref().is_err_and(AppendError::is_no_space)
            && queue.schedule.has_nothing()
            && self.release_reserve()
        {
            // No checkpoint could give space back.
            begun = self.begin_segment(&mut queue, body_len);
        }
        queue.keeper.spare = SpareWork::Ready;
        queue.keeper.lacks_reserve = false;
        match begun {
            Ok(len_bytes) => {
                queue.schedule.note_segment(len_bytes);
                Ok(queue)
            }
            Err(error) => {
                if error.is_no_space() {
                    queue.schedule.note_full_disk();
                }
                self.refuse_waiting(&mut queue, error);
                self.changed.notify_all();
                Err(queue)
            }
        }
    }

    /// Waits until no group is in flight and no spare is being made. None can begin meanwhile:
    /// `drains` has been counted up.
    pub(super) fn wait_until_drained(&self, queue: &mut MutexGuard<'_, Queue<S>>) {
        while !queue.is_drained() {
            self.changed.wait(queue);
        }
    }

    fn begin_segment(&self, queue: &mut Queue<S>, body_len: usize) -> Result<u64, AppendError> {
        let root = queue.writer.ensure_root(&self.storage);
        root.map_err(AppendError::before_writing)?;
        queue.writer.log.begin_segment_for(&self.storage, body_len)
    }
}
