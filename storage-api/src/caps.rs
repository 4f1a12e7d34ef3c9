//! What a backend can do natively: for logs, benchmarks and people. What is answered never depends
//! on it, nor what is on disk; when bytes are read and verified may.

/// A backend's own description of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a table of yes and no, hardly decided on")]
pub struct Caps {
    /// Short name: `std`, `uring`, `mmap`, `memory`, `sim`, ...
    pub name: &'static str,
    /// Transfers bypass the page cache.
    pub direct_io: bool,
    /// [`SealedFile::view`](crate::SealedFile::view) copies nothing, and reads nothing until its
    /// bytes are looked at.
    pub zero_copy_views: bool,
    /// A durable write is one request to the kernel.
    pub fused_sync: bool,
    /// Reads that one queue keeps in flight at the most; 1 means that `submit` reads at once.
    pub queue_depth_max: u16,
    /// Survives the end of the process.
    pub persistent: bool,
    /// What else there is to tell, as names and values: the alignment of direct transfers, the
    /// flags of a ring, why something could not be had.
    pub details: Vec<(&'static str, String)>,
}

impl Caps {
    /// A persistent backend of that name with nothing special; set the fields that differ.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            direct_io: false,
            zero_copy_views: false,
            fused_sync: false,
            queue_depth_max: 1,
            persistent: true,
            details: Vec::new(),
        }
    }
}
