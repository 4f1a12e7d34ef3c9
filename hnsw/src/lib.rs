//! Vector kernels and the HNSW graph of Gannet: build, search, bytes in and out, no I/O.
//!
//! A [`Graph`] holds links between row numbers, and a code of each row, of a quarter of its size
//! (see [`Code`]): walks and builds compare these, and vectors decide the order of what is found.
//! The vectors stay with the caller and come along as [`Rows`].
//! Threads come as an [`Executor`], memory of a search as a [`SearchContext`]. Equal rows,
//! parameters and batch ends give equal graphs, byte for byte, on any number of threads and any
//! CPU: distances are summed in one order by every instruction set.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use gannet_hnsw::{
//!     Allowed, Executor, Graph, Metric, Params, Rows, SearchContext, exact, row_stride,
//! };
//!
//! // 1,000 points on a line, each row padded to its stride.
//! let stride = row_stride(2);
//! let mut floats = vec![0.0; 1000 * stride];
//! for (row, vector) in floats.chunks_mut(stride).enumerate() {
//!     vector[0] = row as f32;
//! }
//! let chunks = [&floats[..]];
//! let rows = Rows::new(2, 10, &chunks, 1000);
//!
//! let mut graph = Graph::new(Params::new(2, Metric::L2));
//! let proceed = &mut |_| ControlFlow::Continue(());
//! assert!(graph.insert_until(&rows, 1000, &Executor::Serial, proceed).is_continue());
//!
//! let (mut context, mut found) = (SearchContext::new(), Vec::new());
//! graph.search(&rows, &[500.2, 0.0], 3, 50, Allowed::All, &mut context, &mut found);
//! assert_eq!(found.iter().map(|near| near.row).collect::<Vec<_>>(), [500, 501, 499]);
//!
//! let mut truth = Vec::new();
//! exact(&rows, 0..1000, &[500.2, 0.0], 3, None, graph.kernel(), &mut truth);
//! assert_eq!(found, truth);
//! ```
//!
//! Rows leave a graph as well as join it ([`Graph::insert_batch`], [`Graph::remove_batch`]), and a
//! clone of a graph is a snapshot: it costs little, and later changes are not seen in it. Numbers
//! that rows have left are given up by numbering the others anew ([`Graph::renumbered`]).
//!
//! Limits of this version: vectors are f32. Under [`Metric::Dot`] short rows are nearest to nobody,
//! so some may be reachable by [`exact`] alone; so may the newest of very many copies of one
//! vector.

#![deny(unsafe_code)]
#![expect(
    clippy::inline_always,
    reason = "a task takes on the instruction set of the function that it becomes part of"
)]

mod allowed;
mod behind;
mod build;
mod calibration;
mod changed;
mod choose;
mod code;
mod context;
mod exact;
mod executor;
mod expand;
mod graph;
mod image;
mod kernel;
mod key;
mod layer;
mod memory;
mod metric;
mod overlay;
mod params;
mod plan;
mod pool;
mod rank;
mod renumber;
mod rows;
mod rowset;
mod search;
mod select;
mod space;
mod sweep;
mod table;
mod unchecked;
mod vector;
mod visited;
mod walk;

pub use allowed::Allowed;
pub use behind::Behind;
pub use build::{BATCH_ROWS_MAX, BuildScratch, batch_changes, next_batch_end};
pub use calibration::{CALIBRATION_ROWS_MIN, Calibration};
pub use changed::Changed;
pub use choose::CHOICE_ROWS_MIN;
pub use code::{Code, CodeChoice, CodeUnknown, Encoder};
pub use context::{Effort, SearchContext};
pub use exact::{Sketch, SomeRows, exact, exact_batch, exact_beside};
pub use executor::{Executor, ExecutorError};
pub use graph::{Graph, GraphMemory};
pub use image::{GraphFault, GraphReader, LinkFault, Patch, PatchFault};
#[cfg(target_arch = "aarch64")]
pub use kernel::Neon;
#[cfg(target_arch = "x86_64")]
pub use kernel::{Avx2, Avx512};
pub use kernel::{Isa, Kernel};
pub use key::Neighbor;
pub use memory::Image;
pub use metric::{Metric, MetricUnknown};
pub use overlay::Overlay;
pub use params::{DIMS_MAX, EF_CONSTRUCTION_MAX, M_MAX, M_MIN, Params, ParamsError, ROWS_MAX};
pub use plan::Plan;
pub use rows::{Rows, STRIDE_STEP, row_stride};
pub use rowset::RowSet;
pub use unchecked::{Guard, Unchecked};
pub use vector::{VectorFault, check_binary, check_finite, normalise};
