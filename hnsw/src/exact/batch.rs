//! Many queries past every live row: products by tiles rule out what is far, the truth scores the
//! rest.
//!
//! Rows are taken in blocks that stay in the second cache while all queries pass over them, queries
//! in panels of sixteen, components in blocks of which a panel stays in the first cache. The kernel
//! of the truth scores only rows that a product, with all it may be off (see `margin`), does not
//! show to be farther than the `k`-th so far: a few hundred a query.

use std::ops::Range;

use super::margin::{Margin, QueryBound};
use super::nearest::Nearest;
use crate::Metric;
use crate::kernel::prefetch::prefetch;
use crate::kernel::tile::{Lanes, STEP, Sums, TILE_ROWS, Tile};
use crate::kernel::{Kernel, LANES};
use crate::rows::Rows;

/// Floats of a block of rows: 128 KiB, beside the panels.
const BLOCK_FLOATS: usize = 32 * 1024;
/// Most tiles of a block of rows.
const BLOCK_TILES_MAX: usize = 20;
/// Most components of a block: of a panel that is 16 KiB.
const COMPONENTS_MAX: usize = 256;
/// Most blocks scored without products before they are tried again.
const PAUSE_MAX: usize = 32;
/// Steps of a row that are fetched at a time: 1 KiB.
const PIECE_STEPS: usize = 256 / STEP;

/// Components of a block, so that the blocks of a stride are about equal.
pub(super) fn block_components(stride: usize) -> usize {
    stride.div_ceil(stride.div_ceil(COMPONENTS_MAX)).next_multiple_of(STEP)
}

/// Up to sixteen queries, component by component, and what is known of them.
struct Panel {
    /// The components of all queries, times the scale of the margin.
    lanes: Vec<Lanes>,
    bounds: Vec<QueryBound>,
    weights: Lanes,
    limits: Lanes,
    /// A bit for each query.
    mask: u16,
}

impl Panel {
    fn new(queries: &[Vec<f32>], margin: Margin) -> Self {
        let mut lanes = vec![[0.0; LANES]; queries[0].len()];
        for (lane, query) in queries.iter().enumerate() {
            for (lanes, component) in lanes.iter_mut().zip(query) {
                lanes[lane] = component * margin.scale();
            }
        }
        let bounds: Vec<QueryBound> = queries.iter().map(|query| margin.query(query)).collect();
        let mut weights = [0.0; LANES];
        for (weight, bound) in weights.iter_mut().zip(&bounds) {
            *weight = bound.weight;
        }
        let mask = u16::MAX >> (LANES - queries.len());
        Self { lanes, bounds, weights, limits: [f32::INFINITY; LANES], mask }
    }

    /// Sets `sums` to the products of the block's rows with these queries.
    fn multiply(
        &self,
        block: &Block<'_>,
        part_steps: usize,
        kernel: Kernel,
        sums: &mut [Sums],
        ahead: &mut Ahead<'_>,
    ) {
        let instructions = Tile::of(kernel.isa());
        let mut start = 0;
        for lanes in self.lanes.as_chunks().0.chunks(part_steps) {
            let part = start..start + lanes.len();
            for (tile, sums) in block.tiles.iter().zip(&mut *sums) {
                ahead.step();
                instructions.add(lanes, tile, part.clone(), sums);
            }
            start = part.end;
        }
    }

    /// Scores what the sums do not rule out, and says how many pairs that was.
    fn score_some(
        &mut self,
        block: &Block<'_>,
        offsets: &[[f32; TILE_ROWS]],
        sums: &[Sums],
        kernel: Kernel,
        queries: &[Vec<f32>],
        nearest: &mut [Nearest],
    ) -> usize {
        let instructions = Tile::of(kernel.isa());
        let mut scored = 0;
        let tiles = block.ids.chunks(TILE_ROWS).zip(&block.tiles).zip(offsets).zip(sums);
        for (((ids, tile), offsets), sums) in tiles {
            let found = instructions.survivors(sums, &self.weights, &self.limits, offsets);
            for ((&id, row), found) in ids.iter().zip(tile).zip(found) {
                let mut left = found & self.mask;
                scored += left.count_ones() as usize;
                while left != 0 {
                    let lane = left.trailing_zeros() as usize;
                    left &= left - 1;
                    let distance = kernel.distance(&queries[lane], row.as_flattened());
                    nearest[lane].offer(distance, id);
                    self.limits[lane] = self.bounds[lane].limit(nearest[lane].limit());
                }
            }
        }
        scored
    }

    /// Scores every row of the block.
    fn score_all(
        &mut self,
        block: &Block<'_>,
        rows: &Rows<'_>,
        kernel: Kernel,
        queries: &[Vec<f32>],
        nearest: &mut [Nearest],
        ahead: &mut Ahead<'_>,
    ) {
        let mut distances = Vec::with_capacity(block.ids.len());
        for (lane, (query, nearest)) in queries.iter().zip(nearest).enumerate() {
            ahead.step();
            kernel.distances(query, rows, &block.ids, &mut distances);
            for (&id, &distance) in block.ids.iter().zip(&distances) {
                nearest.offer(distance, id);
            }
            self.limits[lane] = self.bounds[lane].limit(nearest.limit());
        }
    }
}

/// Whether products are worth their time: where they rule out little, as among rows that are far
/// from zero and near each other, blocks are scored without them, and then tried again.
struct Worth {
    /// Blocks to score without products from here.
    pause: usize,
    /// Blocks to score without them the next time they rule out little.
    next_pause: usize,
}

impl Worth {
    /// Whether the next block is one to try products on.
    fn tries(&mut self) -> bool {
        let tries = self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        tries
    }

    /// What came of it: how many of `pairs` had to be scored all the same.
    fn learn(&mut self, scored: usize, pairs: usize) {
        if scored > pairs / 2 {
            self.pause = self.next_pause;
            self.next_pause = (2 * self.next_pause).min(PAUSE_MAX);
        } else {
            self.next_pause = 1;
        }
    }
}

/// Live rows that all queries pass over before the next are fetched.
#[derive(Default)]
struct Block<'a> {
    ids: Vec<u32>,
    /// The rows, twelve to a tile; a short tile repeats its last row.
    tiles: Vec<[&'a [[f32; STEP]]; TILE_ROWS]>,
}

impl<'a> Block<'a> {
    /// Takes the next rows, at most `most` of them.
    fn fill(&mut self, rows: &Rows<'a>, ids: &mut impl Iterator<Item = u32>, most: usize) {
        self.ids.clear();
        self.ids.extend(ids.take(most));
        self.tiles.clear();
        for ids in self.ids.chunks(TILE_ROWS) {
            let mut tile: [&[[f32; STEP]]; TILE_ROWS] = [&[]; TILE_ROWS];
            for (i, row) in tile.iter_mut().enumerate() {
                *row = rows.row(ids[i.min(ids.len() - 1)]).as_chunks().0;
            }
            self.tiles.push(tile);
        }
    }
}

/// Asks for the rows of the next block while this one is worked on, a little each step.
struct Ahead<'a> {
    next: &'a Block<'a>,
    /// Pieces of a row.
    pieces: usize,
    /// The next piece, of all rows one after another.
    piece: usize,
    /// Steps left to ask for the rest in; at least one.
    steps: usize,
}

impl<'a> Ahead<'a> {
    fn new(next: &'a Block<'_>, steps: usize) -> Self {
        let pieces = next.tiles.first().map_or(0, |tile| tile[0].len().div_ceil(PIECE_STEPS));
        Self { next, pieces, piece: 0, steps }
    }

    fn step(&mut self) {
        let left = self.pieces * self.next.ids.len() - self.piece;
        for _ in 0..left.div_ceil(self.steps) {
            let (row, start) = (self.piece / self.pieces, self.piece % self.pieces * PIECE_STEPS);
            let row = self.next.tiles[row / TILE_ROWS][row % TILE_ROWS];
            prefetch(row[start..].as_flattened());
            self.piece += 1;
        }
        self.steps = (self.steps - 1).max(1);
    }
}

/// Offers to each of `nearest` what may be among the nearest of `range` to its query. The queries
/// are a stride long.
pub(super) fn filter(
    rows: &Rows<'_>,
    range: Range<u32>,
    queries: &[Vec<f32>],
    live: Option<&dyn Fn(u32) -> bool>,
    kernel: Kernel,
    nearest: &mut [Nearest],
) {
    let stride = rows.stride();
    let components = block_components(stride);
    let margin = Margin::new(kernel.metric(), stride, components);
    let mut panels: Vec<Panel> =
        queries.chunks(LANES).map(|queries| Panel::new(queries, margin)).collect();
    let tiles = (BLOCK_FLOATS / (TILE_ROWS * stride)).clamp(1, BLOCK_TILES_MAX);
    let steps = panels.len() * stride.div_ceil(components) * tiles;
    let mut ids = range.filter(|&row| live.is_none_or(|live| live(row)));
    let (mut block, mut next) = (Block::default(), Block::default());
    next.fill(rows, &mut ids, tiles * TILE_ROWS);
    let mut sums = vec![[[0.0; LANES]; TILE_ROWS]; tiles];
    let mut offsets = Vec::with_capacity(tiles);
    let mut worth = Worth { pause: 0, next_pause: 1 };
    while !next.ids.is_empty() {
        std::mem::swap(&mut block, &mut next);
        next.fill(rows, &mut ids, tiles * TILE_ROWS);
        let groups = queries.chunks(LANES).zip(nearest.chunks_mut(LANES));
        let groups = panels.iter_mut().zip(groups);
        if worth.tries() {
            fill_offsets(&block, kernel, margin, &mut offsets);
            let mut ahead = Ahead::new(&next, steps);
            let mut scored = 0;
            for (panel, (queries, nearest)) in groups {
                panel.multiply(&block, components / STEP, kernel, &mut sums, &mut ahead);
                scored += panel.score_some(&block, &offsets, &sums, kernel, queries, nearest);
            }
            worth.learn(scored, queries.len() * block.ids.len());
        } else {
            let mut ahead = Ahead::new(&next, queries.len());
            for (panel, (queries, nearest)) in groups {
                panel.score_all(&block, rows, kernel, queries, nearest, &mut ahead);
            }
        }
    }
}

fn fill_offsets(
    block: &Block<'_>,
    kernel: Kernel,
    margin: Margin,
    offsets: &mut Vec<[f32; TILE_ROWS]>,
) {
    let kernel = Kernel::new(kernel.isa(), Metric::Dot);
    offsets.clear();
    for tile in &block.tiles {
        let mut of_tile = [0.0; TILE_ROWS];
        for (offset, row) in of_tile.iter_mut().zip(tile) {
            let row = row.as_flattened();
            *offset = margin.offset(-kernel.distance(row, row));
        }
        offsets.push(of_tile);
    }
}
