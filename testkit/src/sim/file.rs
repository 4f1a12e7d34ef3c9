//! Files of a simulated disk: written, sealed, viewed.

use super::disk::{Begun, Lease, Machine};
use super::image::Image;
use super::state::InodeId;
use super::storage::check_room;
use gannet_storage::{
    BufView, Durability, FileName, Hold, ImmediateQueue, Op, Read, ReadFile, Result, SealedFile,
    Write, WriteFile, check_len, check_reads, check_writes,
};
use std::num::NonZeroU16;
use std::ops::Range;
use std::sync::{Arc, MutexGuard};

/// What a handle or view keeps: its file in use, and the disk locked.
#[derive(Debug)]
pub struct Keep {
    hold: Hold,
    lease: Arc<Lease>,
}

impl Keep {
    pub(super) fn new(hold: Hold, lease: &Arc<Lease>) -> Self {
        Self { hold, lease: Arc::clone(lease) }
    }

    fn name(&self) -> &FileName {
        self.hold.name()
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.lease.machine()
    }

    /// What readers see of the file.
    fn image(&self, inode: InodeId) -> Image {
        self.machine().state.inode(inode).now.clone()
    }

    fn read_batch(&self, inode: InodeId, reads: &mut [Read<'_>]) -> Result<()> {
        let image = self.image(inode);
        check_reads(self.name(), reads, image.len_bytes())?;
        self.machine().alive(Op::Read, self.name())?;
        for r in reads {
            image.read(r.offset, r.buf);
        }
        Ok(())
    }

    fn discard_cache(&self, inode: InodeId) -> Result<()> {
        let mut machine = self.machine();
        machine.alive(Op::DiscardCache, self.name())?;
        machine.state.inode_mut(inode).discard_cache();
        Ok(())
    }
}

/// A file of a [`SimStorage`](super::SimStorage) being written.
#[derive(Debug)]
pub struct SimFile {
    inode: InodeId,
    keep: Keep,
}

/// A sealed file of a [`SimStorage`](super::SimStorage).
#[derive(Clone, Debug)]
pub struct SimSealed {
    inode: InodeId,
    keep: Arc<Keep>,
}

impl SimFile {
    pub(super) fn new(inode: InodeId, keep: Keep) -> Self {
        Self { inode, keep }
    }

    pub(super) fn seal(self) -> Result<SimSealed> {
        let mut machine = self.keep.machine();
        let call = machine.begin(Op::Seal, self.name())?;
        let synced = self.sync_step(&mut machine, &call, Op::Seal);
        machine.end(&call);
        drop(machine);
        synced?;
        let Keep { hold, lease } = self.keep;
        Ok(SimSealed::new(self.inode, Keep { hold: hold.into_reader(), lease }))
    }

    /// Makes the file durable as far as `call` covers it, or fails for good.
    fn sync_step(&self, machine: &mut Machine, call: &Begun, op: Op) -> Result<()> {
        machine.alive(op, self.name())?;
        if let Err(error) = call.check(op, self.keep.name()) {
            let inode = machine.state.inode_mut(self.inode);
            inode.fail_sync(|earlier| call.covers(earlier));
            return Err(error);
        }
        if machine.state.lies_about != Some(op) {
            let inode = machine.state.inode_mut(self.inode);
            inode.sync(|earlier| call.covers(earlier));
        }
        machine.step(op, self.name());
        Ok(())
    }
}

impl ReadFile for SimFile {
    fn name(&self) -> &FileName {
        self.keep.name()
    }

    fn len_bytes(&self) -> u64 {
        self.keep.image(self.inode).len_bytes()
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        self.keep.read_batch(self.inode, reads)
    }

    fn discard_cache(&self) -> Result<()> {
        self.keep.discard_cache(self.inode)
    }
}

impl WriteFile for SimFile {
    fn write_batch(&self, writes: &[Write<'_>], durability: Durability) -> Result<()> {
        let mut machine = self.keep.machine();
        check_writes(self.name(), writes, machine.state.inode(self.inode).now.len_bytes())?;
        let op = if writes.is_empty() { Op::Sync } else { Op::Write };
        let call = machine.begin(op, self.name())?;
        if !writes.is_empty() {
            machine.state.inode_mut(self.inode).write(writes, call.id);
            machine.tamper(self.inode, call.id);
            machine.step(Op::Write, self.name());
        }
        // Other threads may write between the two steps; the sync does not cover that.
        drop(machine);
        let mut machine = self.keep.machine();
        let result = match durability {
            Durability::Deferred => call.check(op, self.name()),
            Durability::Data | Durability::Full => self.sync_step(&mut machine, &call, Op::Sync),
        };
        machine.end(&call);
        result
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        check_len(Op::SetLen, self.name(), len_bytes)?;
        check_room(Op::SetLen, self.name(), len_bytes)?;
        let mut machine = self.keep.machine();
        let call = machine.begin(Op::SetLen, self.name())?;
        let result = call.check(Op::SetLen, self.name());
        if result.is_ok() {
            machine.state.inode_mut(self.inode).set_len(len_bytes, call.id);
            machine.step(Op::SetLen, self.name());
        }
        machine.end(&call);
        result
    }
}

impl SimSealed {
    pub(super) fn new(inode: InodeId, keep: Keep) -> Self {
        Self { inode, keep: Arc::new(keep) }
    }
}

impl ReadFile for SimSealed {
    fn name(&self) -> &FileName {
        self.keep.name()
    }

    fn len_bytes(&self) -> u64 {
        self.keep.image(self.inode).len_bytes()
    }

    fn read_batch(&self, reads: &mut [Read<'_>]) -> Result<()> {
        self.keep.read_batch(self.inode, reads)
    }

    fn discard_cache(&self) -> Result<()> {
        self.keep.discard_cache(self.inode)
    }
}

impl SealedFile for SimSealed {
    type View = BufView<Arc<Keep>>;
    type Queue = ImmediateQueue<Self>;

    fn view(&self, range: Range<u64>) -> Result<Self::View> {
        BufView::read(self, range, Arc::clone(&self.keep))
    }

    fn queue(&self, depth: NonZeroU16) -> Result<Self::Queue> {
        Ok(ImmediateQueue::new(self.clone(), depth))
    }
}
