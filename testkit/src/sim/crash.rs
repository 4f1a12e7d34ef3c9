//! What a power cut decides about, unit by unit, and the disk that each decision leaves.
//!
//! Keeps the units of one disk and turns a choice into a digest (cheap) or into a disk. Which
//! choices are tried is left to `plan`.

use super::disk::SimDisk;
use super::image::{
    Image, SECTOR, SECTORS, Shared, assemble, blocks_of, file_digest, sector_digest, sector_sum,
};
use super::inode::{Call, Inode, What};
use super::state::{InodeId, State, names_digest};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What a crash does to each pending unit: for sectors 0 keeps the old bytes, 1 the newest, higher
/// numbers older pending bytes and zeroes (those that differ); for lengths and names 0 is not done,
/// 1 is done. As text one digit a unit, `a` for 10 and so on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CrashChoice(pub(super) Box<[u8]>);

/// The pending units of a disk at one instant, in order of arrival.
pub struct Pending {
    state: State,
    units: Vec<Unit>,
    /// For each file with units: where they are, to digest it without the rest.
    files: BTreeMap<InodeId, FileUnits>,
}

#[derive(Default)]
struct FileUnits {
    /// Indices of units that are lengths, in order of arrival.
    lens: Vec<usize>,
    /// Indices of units that are sectors.
    sectors: Vec<usize>,
}

struct Unit {
    call: Call,
    what: UnitWhat,
    options: u8,
}

enum UnitWhat {
    Entry(usize),
    Len(u64),
    Sector { block: usize, sector: usize, versions: Vec<Version> },
}

/// What a sector may hold after a crash.
struct Version {
    from: Shared,
    digest: u128,
    sum: u128,
}

impl Pending {
    pub(super) fn of(state: State) -> Self {
        let mut units = Vec::new();
        for (at, entry) in state.entries.iter().enumerate() {
            let unit = Unit { call: entry.call, what: UnitWhat::Entry(at), options: 2 };
            units.push((0, unit));
        }
        for (&id, inode) in state.inodes() {
            file_units(inode, |unit| units.push((id, unit)));
        }
        // Stable: units of one call stay in the order of their files and sectors.
        units.sort_by_key(|(_, unit)| unit.call);
        let mut files: BTreeMap<InodeId, FileUnits> = BTreeMap::new();
        for (at, (id, unit)) in units.iter().enumerate() {
            match unit.what {
                UnitWhat::Entry(_) => {}
                UnitWhat::Len(_) => files.entry(*id).or_default().lens.push(at),
                UnitWhat::Sector { .. } => files.entry(*id).or_default().sectors.push(at),
            }
        }
        Self { state, units: units.into_iter().map(|(_, unit)| unit).collect(), files }
    }

    /// Number of units.
    #[must_use]
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether a crash has nothing to decide.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Number of ways in which a crash may end, `u128::MAX` if there are more.
    #[must_use]
    pub fn combinations(&self) -> u128 {
        self.options().iter().fold(1, |product: u128, &of| product.saturating_mul(of.into()))
    }

    /// The crash in which no unit reaches the disk.
    #[must_use]
    pub fn nothing(&self) -> CrashChoice {
        CrashChoice(vec![0; self.units.len()].into())
    }

    /// For each unit, how many ends it has; at least 2.
    pub(super) fn options(&self) -> Vec<u8> {
        self.units.iter().map(|unit| unit.options).collect()
    }

    /// Digest of the disk that `choice` leaves; equals [`SimDisk::digest`] of
    /// [`crash`](Self::crash).
    ///
    /// # Panics
    /// If the choice is not one of this disk's.
    #[must_use]
    pub fn digest(&self, choice: &CrashChoice) -> u128 {
        self.check(choice);
        let names = self.names(choice);
        names_digest(&names, |id| match self.files.get(&id) {
            Some(units) => self.file_digest(self.state.inode(id), units, choice),
            None => self.state.inode(id).media.digest(),
        })
    }

    /// The disk that `choice` leaves. Nothing is pending on it.
    ///
    /// # Panics
    /// If the choice is not one of this disk's.
    #[must_use]
    pub fn crash(&self, choice: &CrashChoice) -> SimDisk {
        self.check(choice);
        let names = self.names(choice);
        let file = |id: &InodeId| {
            let image = match self.files.get(id) {
                Some(units) => self.file(self.state.inode(*id), units, choice),
                None => self.state.inode(*id).media.clone(),
            };
            (*id, Arc::new(Inode { now: image.clone(), media: image, pending: Vec::new() }))
        };
        let inodes = names.values().map(file).collect();
        SimDisk::of(self.state.crashed(names, inodes))
    }

    /// Whether the choice is one of this disk's.
    #[must_use]
    pub fn has(&self, choice: &CrashChoice) -> bool {
        choice.0.len() == self.units.len()
            && choice.0.iter().zip(&self.units).all(|(&end, unit)| end < unit.options)
    }

    fn check(&self, choice: &CrashChoice) {
        assert!(
            self.has(choice),
            "choice {choice} is not of this disk, which has {} units",
            self.units.len()
        );
    }

    fn names(&self, choice: &CrashChoice) -> Arc<super::state::Names> {
        if self.state.entries.is_empty() {
            return Arc::clone(self.state.durable_names());
        }
        let mut kept = vec![false; self.state.entries.len()];
        for (unit, &end) in self.units.iter().zip(&choice.0) {
            if let UnitWhat::Entry(at) = unit.what {
                kept[at] = end == 1;
            }
        }
        self.state.names_after(|at| kept[at])
    }

    fn len_bytes(&self, inode: &Inode, units: &FileUnits, choice: &CrashChoice) -> u64 {
        let done = units.lens.iter().rev().find(|&&at| choice.0[at] == 1);
        match done.map(|&at| &self.units[at].what) {
            Some(UnitWhat::Len(len_bytes)) => *len_bytes,
            _ => inode.media.len_bytes(),
        }
    }

    fn file_digest(&self, inode: &Inode, units: &FileUnits, choice: &CrashChoice) -> u128 {
        let len_bytes = self.len_bytes(inode, units, choice);
        if inode.media.blocks_used() > blocks_of(len_bytes) {
            return self.file(inode, units, choice).digest();
        }
        let mut sum = inode.media.sum();
        for &at in &units.sectors {
            if let UnitWhat::Sector { block, versions, .. } = &self.units[at].what
                && *block < blocks_of(len_bytes)
            {
                let end = &versions[usize::from(choice.0[at])];
                sum = sum.wrapping_sub(versions[0].sum).wrapping_add(end.sum);
            }
        }
        file_digest(sum, len_bytes)
    }

    fn file(&self, inode: &Inode, units: &FileUnits, choice: &CrashChoice) -> Image {
        let mut image = inode.media.clone();
        image.set_len(self.len_bytes(inode, units, choice));
        let mut blocks: BTreeMap<usize, [&Shared; SECTORS]> = BTreeMap::new();
        for &at in &units.sectors {
            if let UnitWhat::Sector { block, sector, versions } = &self.units[at].what
                && *block < blocks_of(image.len_bytes())
            {
                let parts = blocks.entry(*block).or_insert([inode.media.block(*block); SECTORS]);
                parts[*sector] = &versions[usize::from(choice.0[at])].from;
            }
        }
        for (index, parts) in blocks {
            let same = parts.iter().all(|part| same_block(part, parts[0]));
            image.set_block(index, if same { parts[0].clone() } else { assemble(parts) });
        }
        image
    }
}

fn same_block(a: &Shared, b: &Shared) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// The units of one file: its lengths, and its sectors that may end in more than one way.
fn file_units(inode: &Inode, mut push: impl FnMut(Unit)) {
    let mut at: HashMap<(usize, usize), usize> = HashMap::new();
    let mut sectors: Vec<(Call, usize, usize, Vec<Version>)> = Vec::new();
    for change in &inode.pending {
        match &change.what {
            What::Len(len_bytes) => {
                push(Unit { call: change.call, what: UnitWhat::Len(*len_bytes), options: 2 });
            }
            What::Sectors { block, new, mask } => {
                for sector in (0..SECTORS).filter(|sector| mask & 1 << sector != 0) {
                    let version = |from: &Shared| {
                        let digest = sector_digest(from, sector);
                        let sum = sector_sum(digest, *block, sector);
                        Version { from: from.clone(), digest, sum }
                    };
                    let index = *at.entry((*block, sector)).or_insert_with(|| {
                        let old = version(inode.media.block(*block));
                        sectors.push((change.call, *block, sector, vec![old]));
                        sectors.len() - 1
                    });
                    // The newest right behind the old one.
                    sectors[index].3.insert(1, version(new));
                }
            }
        }
    }
    for (call, block, sector, mut versions) in sectors {
        versions.push(Version { from: None, digest: 0, sum: 0 });
        let mut distinct: Vec<Version> = Vec::with_capacity(versions.len());
        for version in versions {
            if distinct.iter().all(|known| known.digest != version.digest) {
                distinct.push(version);
            }
        }
        // Beyond this, the oldest pending bytes of a sector are not tried; zero always is.
        let last = distinct.len() - 1;
        if last >= usize::from(OPTIONS_MAX) {
            distinct.drain(usize::from(OPTIONS_MAX) - 1..last);
        }
        let options = u8::try_from(distinct.len()).expect("at most OPTIONS_MAX");
        if options > 1 {
            let what = UnitWhat::Sector { block, sector, versions: distinct };
            push(Unit { call, what, options });
        }
    }
}

/// Ends of one unit at the most: as many as one digit can say.
const OPTIONS_MAX: u8 = 36;

impl fmt::Display for CrashChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&end| {
            let digit = char::from_digit(end.into(), OPTIONS_MAX.into());
            write!(f, "{}", digit.expect("below OPTIONS_MAX"))
        })
    }
}

impl fmt::Debug for CrashChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrashChoice({self})")
    }
}

impl FromStr for CrashChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digit = |digit: char| {
            let end = digit.to_digit(OPTIONS_MAX.into()).ok_or(format!("{digit} is no digit"))?;
            Ok(u8::try_from(end).expect("below OPTIONS_MAX"))
        };
        text.chars().map(digit).collect::<Result<_, String>>().map(Self)
    }
}

impl fmt::Debug for Pending {
    /// The units in order, to read a choice by.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |id| self.state.names().iter().find(|(_, named)| **named == id);
        let owner = |at: usize| {
            let owns = |of: &FileUnits| of.lens.contains(&at) || of.sectors.contains(&at);
            let id = self.files.iter().find(|(_, of)| owns(of)).map(|(id, _)| *id);
            id.and_then(name).map_or("(no name)", |(name, _)| name.as_str())
        };
        let text = |(at, unit): (usize, &Unit)| match &unit.what {
            UnitWhat::Entry(entry) => format!("{:?}", self.state.entries[*entry]),
            UnitWhat::Len(len_bytes) => format!("{}: {len_bytes} bytes long", owner(at)),
            UnitWhat::Sector { block, sector, versions } => {
                let offset = (block * SECTORS + sector) * SECTOR;
                format!("{}: sector at {offset}, {} ways", owner(at), versions.len())
            }
        };
        f.debug_list().entries(self.units.iter().enumerate().map(text)).finish()
    }
}
