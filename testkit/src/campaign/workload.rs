//! Short workloads: what a user does between two crashes.

use std::fmt;
use std::str::FromStr;

/// One operation of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A batch that makes the collection if need be, inserts three vectors, replaces a fourth, and
    /// puts two keys.
    Insert,
    /// A batch that makes the collection if need be and inserts as many vectors as it takes for a
    /// checkpoint to write what a later batch changes in their graph as a patch.
    Import,
    /// A batch of two puts, one over a key that other operations write too.
    Put,
    /// A batch that deletes two keys and a vector, as far as there are any.
    Delete,
    /// As `Put`, buffered.
    Buffered,
    /// What the keeper does when it is due: a sync, a witness, a spare segment.
    Tend,
    /// A checkpoint.
    Checkpoint,
    /// A checkpoint, and an `Insert` while its files are written.
    Beside,
    /// Close, then open again.
    Close,
    /// A better graph for the collection, if it has been made, and a checkpoint.
    Optimize,
    /// A checkpoint that leaves out dead rows, and as `Insert` with a deletion while its files are
    /// written.
    Compact,
}

impl Op {
    /// Those that every short workload is made of: all but `Optimize` and `Compact`, which write
    /// what a checkpoint writes, and `Import`, which takes long.
    pub const ALL: [Self; 8] = [
        Self::Insert,
        Self::Put,
        Self::Delete,
        Self::Buffered,
        Self::Tend,
        Self::Checkpoint,
        Self::Beside,
        Self::Close,
    ];

    const fn text(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Import => "import",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Buffered => "buffered",
            Self::Tend => "tend",
            Self::Checkpoint => "checkpoint",
            Self::Beside => "beside",
            Self::Close => "close",
            Self::Optimize => "optimize",
            Self::Compact => "compact",
        }
    }
}

/// Operations one after another on a new database; as text `insert,put,close`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Workload(pub Vec<Op>);

impl Workload {
    /// Every workload of 1 to `len` operations, shortest first.
    #[must_use]
    pub fn all(len: usize) -> Vec<Self> {
        let mut workloads = vec![Self(Vec::new())];
        let mut longest = 0..1;
        for _ in 0..len {
            let from = workloads.len();
            for index in longest {
                for op in Op::ALL {
                    let mut ops = workloads[index].0.clone();
                    ops.push(op);
                    workloads.push(Self(ops));
                }
            }
            longest = from..workloads.len();
        }
        workloads.remove(0);
        workloads
    }

    /// Longer ones, for what takes its time: slots of the root that are written a second time,
    /// files and log that nothing needs any more, a segment that fills up.
    ///
    /// # Panics
    /// Never: each is one.
    #[must_use]
    pub fn longer() -> Vec<Self> {
        let texts = [
            "put,checkpoint,put,checkpoint,put,checkpoint",
            "insert,beside,delete,checkpoint,close",
            "insert,checkpoint,optimize,insert,optimize,delete,optimize,close",
            "insert,insert,compact,delete,compact,insert,compact,close",
            "import,checkpoint,delete,checkpoint,delete,insert,beside,close",
            "insert,tend,insert,tend,insert,insert,put,tend,put",
            "buffered,insert,buffered,insert,buffered,buffered,insert,buffered",
            "insert,insert,insert,insert,insert,buffered,buffered,close",
        ];
        texts.iter().map(|text| text.parse().expect("operations")).collect()
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(|op| op.text()).collect();
        f.write_str(&texts.join(","))
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let op = |text: &str| {
            let mut all = Op::ALL.into_iter().chain([Op::Optimize, Op::Compact, Op::Import]);
            let found = all.find(|op| op.text() == text);
            found.ok_or_else(|| format!("`{text}` is not an operation"))
        };
        text.split(',').map(op).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_workload_comes_once_and_can_be_read_back() {
        let all = Workload::all(3);
        assert_eq!(all.len(), 8 + 64 + 512);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        for workload in all {
            assert_eq!(workload.to_string().parse(), Ok(workload));
        }
        assert!("put,fly".parse::<Workload>().is_err());
    }
}
