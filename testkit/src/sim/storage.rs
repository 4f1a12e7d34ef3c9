//! The storage on a simulated disk: the contract, kept call by call.

use super::disk::{Begun, FILE_LEN_MAX, Lease, Machine};
use super::file::{Keep, SimFile, SimSealed};
use super::state::{InodeId, State};
use gannet_storage::{
    Caps, Error, ErrorKind, FileMeta, FileName, Op, OpenTable, Result, Storage, check_len,
};
use std::sync::{Arc, MutexGuard};

/// The storage on a [`SimDisk`](super::SimDisk). Keeps the disk locked, as do its files and views.
#[derive(Debug)]
pub struct SimStorage {
    lease: Arc<Lease>,
    table: Arc<OpenTable>,
}

impl SimStorage {
    pub(super) fn new(lease: Lease) -> Self {
        Self { lease: Arc::new(lease), table: Arc::default() }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.lease.machine()
    }

    /// The file `name`, which a hold protects already.
    fn find(&self, op: Op, name: &FileName) -> Result<InodeId> {
        let mut machine = self.machine();
        machine.alive(op, name)?;
        found(&machine.state, op, name)
    }

    /// A call that changes names, in one step.
    fn change_names(
        &self,
        op: Op,
        place: &str,
        check: impl FnOnce(&State) -> Result<()>,
        act: impl FnOnce(&mut State, &Begun),
    ) -> Result<()> {
        let mut machine = self.machine();
        machine.alive(op, place)?;
        check(&machine.state)?;
        let call = machine.begin(op, place)?;
        let result = call.check(op, place);
        if result.is_ok() {
            act(&mut machine.state, &call);
            machine.step(op, place);
        }
        machine.end(&call);
        result
    }
}

impl Storage for SimStorage {
    type File = SimFile;
    type Sealed = SimSealed;

    fn create(&self, name: &FileName, len_bytes: u64) -> Result<SimFile> {
        let hold = self.table.hold_writer(Op::Create, name);
        let mut inode = 0;
        let check = |state: &State| {
            check_len(Op::Create, name, len_bytes)?;
            if state.names().contains_key(name) {
                return Err(Error::new(ErrorKind::AlreadyExists, Op::Create, name));
            }
            check_room(Op::Create, name, len_bytes)
        };
        let act = |state: &mut State, call: &Begun| {
            inode = state.create(name, call.id);
            state.inode_mut(inode).set_len(len_bytes, call.id);
        };
        self.change_names(Op::Create, name.as_str(), check, act)?;
        Ok(SimFile::new(inode, Keep::new(hold?, &self.lease)))
    }

    fn open(&self, name: &FileName) -> Result<SimFile> {
        let hold = self.table.hold_writer(Op::Open, name)?;
        Ok(SimFile::new(self.find(Op::Open, name)?, Keep::new(hold, &self.lease)))
    }

    fn seal(&self, file: SimFile) -> Result<SimSealed> {
        file.seal()
    }

    fn open_sealed(&self, name: &FileName) -> Result<SimSealed> {
        let hold = self.table.hold_reader(Op::OpenSealed, name)?;
        Ok(SimSealed::new(self.find(Op::OpenSealed, name)?, Keep::new(hold, &self.lease)))
    }

    fn replace(&self, from: &FileName, to: &FileName) -> Result<()> {
        self.table.while_free(Op::Replace, &[from, to], || {
            let check = |state: &State| found(state, Op::Replace, from).map(drop);
            let act = |state: &mut State, call: &Begun| state.replace(from, to, call.id);
            self.change_names(Op::Replace, from.as_str(), check, act)
        })
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.table.while_free(Op::Remove, &[name], || {
            let check = |state: &State| found(state, Op::Remove, name).map(drop);
            let act = |state: &mut State, call: &Begun| state.remove(name, call.id);
            self.change_names(Op::Remove, name.as_str(), check, act)
        })
    }

    fn list(&self) -> Result<Vec<FileMeta>> {
        let mut machine = self.machine();
        machine.alive(Op::List, "the simulated disk")?;
        let state = &machine.state;
        let meta = |(name, id): (&FileName, &InodeId)| FileMeta {
            name: name.clone(),
            len_bytes: state.inode(*id).now.len_bytes(),
        };
        Ok(state.names().iter().map(meta).collect())
    }

    fn sync_dir(&self) -> Result<()> {
        let act = |state: &mut State, call: &Begun| {
            if state.lies_about != Some(Op::SyncDir) {
                state.sync_dir(|earlier| call.covers(earlier));
            }
        };
        self.change_names(Op::SyncDir, "", |_| Ok(()), act)
    }

    fn caps(&self) -> Caps {
        Caps::new("sim")
    }
}

fn found(state: &State, op: Op, name: &FileName) -> Result<InodeId> {
    let id = state.names().get(name).copied();
    id.ok_or_else(|| Error::new(ErrorKind::NotFound, op, name))
}

/// Keeps lengths within what the simulation can index.
pub(super) fn check_room(op: Op, name: &FileName, len_bytes: u64) -> Result<()> {
    if len_bytes > FILE_LEN_MAX {
        return Err(Error::new(ErrorKind::NoSpace, op, name).at(0..len_bytes));
    }
    Ok(())
}
