//! Sketches: rows in a byte a component, and how far each row is from its bytes.
//!
//! For rows that are looked at one by one, by many searches: some of these bytes tell for nearly
//! all of them that they are too far, and the rest is measured. Nothing is lost by it: a row is
//! passed over only where it is farther than the limit whatever its bytes leave out.
//!
//! Write `q` and `x` for a query and a row, `a` and `b` for what their integers stand for, and `g`
//! and `h` for the lengths of `q - a` and `x - b`, which are computed in f64 and rounded up. Then
//! `|q - x|` is at least `|a - b| - g - h`, and `qx` at most `ab + |q| * h + g * |x|`. The product
//! of the integers is exact. What a distance itself may be off, as `kernel` computes it, is a share
//! of the distance (L2), or of `|q| * |x|`, of at most a rounding a component of a lane and some
//! more; `share` below.
//!
//! Bytes are read part by part, a quarter, a quarter and a half, each of all 64 rows in one piece.
//! The product of what no part has told yet is at most that of its lengths, which rules out most
//! rows before their second half is read. So that a part is like the whole, it has components from
//! everywhere.

use super::nearest::Nearest;
use super::padded;
use crate::code::sq8::{MOST, query_most};
use crate::code::{largest, rounded};
use crate::kernel::prefetch::prefetch;
use crate::kernel::{Isa, Kernel, Simd, Task};
use crate::key::Neighbor;
use crate::metric::Metric;
use crate::rows::Rows;
use crate::rowset::bits;
use std::array::from_fn;
use std::ops::Range;

/// Rows of a sketch: the bits of a word.
const ROWS: u32 = u64::BITS;
/// A vector of no larger component is sketched as zeros.
const LARGEST_MIN: f32 = 1e-30;
/// Lengths of no larger product have products that cannot overflow.
const PRODUCT_MAX: f64 = f32::MAX as f64 / 256.0;
/// What computing a bound in f64 may be off, as a share, many times over.
const SLACK: f64 = 1e-12;
/// Components that stay together: a stride is a multiple.
const BLOCK: usize = 16;
const PARTS: usize = 3;
/// So many rows before they are compared, their bytes are asked for.
const AHEAD: usize = 8;

/// The components of each part, in the order of [`blocks`].
fn parts(stride: usize) -> [Range<usize>; PARTS] {
    let up_to = |quarters: usize| BLOCK * (quarters * stride / BLOCK).div_ceil(4);
    [0..up_to(1), up_to(1)..up_to(2), up_to(2)..stride]
}

/// The blocks of a stride, every fourth of them first.
fn blocks<T>(stride: &[T]) -> impl Iterator<Item = &[T]> {
    (0..4).flat_map(|first| stride.chunks(BLOCK).skip(first).step_by(4))
}

/// The lengths of what is left of integers behind each part, rounded up.
fn tails(integers: impl Fn(Range<usize>) -> f64, stride: usize) -> [f64; PARTS] {
    parts(stride).map(|part| integers(part.end..stride).sqrt() * (1.0 + SLACK))
}

/// 64 rows that follow one another, in a byte a component.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// The first part of each row, then the second of each.
    codes: Vec<i8>,
    terms: Vec<Terms>,
}

/// What is known of a row besides its bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Terms {
    /// What one of its integers stands for.
    step: f64,
    /// The square of the length of what the bytes stand for.
    square: f64,
    /// At least the length of what they leave out.
    rest: f64,
    /// At least the length of its integers behind each part.
    tails: [f64; PARTS],
}

impl Sketch {
    /// Of the rows whose bits a word of a [`RowSet`](crate::RowSet) has: from 64 times `word` on.
    /// Cost: a pass over the rows, some times that of a distance.
    ///
    /// # Panics
    /// If there are no such 64 rows.
    #[must_use]
    pub fn new(rows: &Rows<'_>, word: u32, isa: Isa) -> Self {
        let (first, stride) = (ROWS * word, rows.stride());
        let mut sketch = Self { codes: vec![0; ROWS as usize * stride], terms: Vec::new() };
        sketch.terms.reserve_exact(ROWS as usize);
        let (mut codes, mut in_order) = (Vec::with_capacity(stride), Vec::with_capacity(stride));
        for (index, row) in (first..first + ROWS).enumerate() {
            codes.clear();
            in_order.clear();
            let terms = isa.run(Draw { vector: rows.row(row), codes: &mut codes });
            blocks(&codes).for_each(|block| in_order.extend_from_slice(block));
            for part in parts(stride) {
                sketch.codes[place(&part, index)].copy_from_slice(&in_order[part]);
            }
            let squares = |range: Range<usize>| f64::from(squares(&in_order[range]));
            sketch.terms.push(Terms { tails: tails(squares, stride), ..terms });
        }
        sketch
    }

    /// Bytes it holds on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.codes.capacity() + self.terms.capacity() * size_of::<Terms>()
    }

    fn part(&self, part: &Range<usize>, index: usize) -> &[i8] {
        &self.codes[place(part, index)]
    }
}

/// Where a part of a row is among the codes of a sketch.
fn place(part: &Range<usize>, index: usize) -> Range<usize> {
    let start = ROWS as usize * part.start + index * part.len();
    start..start + part.len()
}

fn squares(codes: &[i8]) -> i32 {
    codes.iter().map(|&code| i32::from(code) * i32::from(code)).sum()
}

/// Appends the bytes of a row.
struct Draw<'a> {
    vector: &'a [f32],
    codes: &'a mut Vec<i8>,
}

impl Task for Draw<'_> {
    type Output = Terms;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> Terms {
        let Self { vector, codes } = self;
        let step = step(vector, MOST);
        let factor = if step > 0.0 { MOST / largest(vector) } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, reason = "at most 127")]
        codes.extend(vector.iter().map(|component| rounded(component * factor) as i8));
        let rest = rest(vector, codes.iter().map(|&code| f64::from(code)), step);
        Terms { step, square: step * step * f64::from(squares(codes)), rest, tails: [0.0; PARTS] }
    }
}

/// What an integer stands for where the largest component is to be `most`.
#[inline(always)]
fn step(vector: &[f32], most: f32) -> f64 {
    let largest = largest(vector);
    if largest < LARGEST_MIN { 0.0 } else { f64::from(largest) / f64::from(most) }
}

/// At least the length of `vector` less its integers.
#[inline(always)]
fn rest(vector: &[f32], integers: impl Iterator<Item = f64>, step: f64) -> f64 {
    let mut squares = [0.0; 8];
    for (at, (component, integer)) in vector.iter().zip(integers).enumerate() {
        let rest = f64::from(*component) - step * integer;
        squares[at % 8] += rest * rest;
    }
    squares.iter().sum::<f64>().sqrt() * (1.0 + SLACK)
}

/// Some of 64 rows, as a word of a [`RowSet`](crate::RowSet) has them.
#[derive(Clone, Copy, Debug)]
pub struct SomeRows<'a> {
    /// Which word of the set.
    pub word: u32,
    /// Its bits.
    pub bits: u64,
    /// Of the same rows, where there is one.
    pub sketch: Option<&'a Sketch>,
}

/// A query in integers.
struct Query {
    metric: Metric,
    /// In the order of [`blocks`].
    words: Vec<i16>,
    /// At least the length of the words behind each part.
    tails: [f64; PARTS],
    step: f64,
    /// The square of the length of what the words stand for.
    square: f64,
    /// At least the length of what they leave out.
    rest: f64,
    /// At least the length of the query.
    len: f64,
    /// At most this share of a distance, or of the product of lengths, is what a distance is off.
    share: f64,
    /// All that underflows.
    tiny: f64,
}

impl Query {
    /// Of a stride of floats.
    #[expect(clippy::cast_precision_loss, reason = "at most 2^16")]
    fn new(metric: Metric, query: &[f32]) -> Self {
        let largest = largest(query);
        let most = query_most(query, largest);
        let step = if most >= 1.0 { step(query, most) } else { 0.0 };
        let factor = if step > 0.0 { most / largest } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, reason = "at most 32,767")]
        let words: Vec<i16> =
            query.iter().map(|component| rounded(component * factor) as i16).collect();
        let integers = || words.iter().map(|&word| f64::from(word));
        let squares = |words: &[i16]| words.iter().map(|&word| f64::from(word).powi(2)).sum();
        let in_order = blocks(&words).flatten().copied().collect::<Vec<_>>();
        Self {
            metric,
            tails: tails(|range| squares(&in_order[range]), query.len()),
            step,
            square: step * step * squares(&words),
            rest: rest(query, integers(), step),
            len: rest(query, query.iter().map(|_| 0.0), 0.0),
            share: 1.02 * f64::from(f32::EPSILON) * (query.len().div_ceil(16) + 8) as f64,
            tiny: 8.0 * query.len() as f64 * f64::from(f32::from_bits(1)),
            words: in_order,
        }
    }

    /// What [`rules_out`](Self::rules_out) is told of the greatest distance that counts.
    fn reach(&self, limit: f32) -> f64 {
        let limit = f64::from(limit);
        match self.metric {
            Metric::L2 | Metric::Hamming => {
                (limit * (1.0 + self.share) + self.tiny).sqrt() * (1.0 + SLACK) + self.rest
            }
            // One more rounding, of a number that may be near 1.
            Metric::Cosine => limit - 1.0 + f64::from(f32::EPSILON) + self.tiny,
            Metric::Dot => limit + self.tiny,
        }
    }

    /// Whether a row is farther than that, where `dot` is the product of its integers up to the end
    /// of a part.
    #[inline(always)]
    fn rules_out(&self, row: &Terms, part: usize, dot: i32, reach: f64) -> bool {
        let most = f64::from(dot) + self.tails[part] * row.tails[part] * (1.0 + SLACK);
        let product = self.step * row.step * most;
        match self.metric {
            Metric::L2 | Metric::Hamming => {
                let squares = self.square + row.square;
                let reach = reach + row.rest;
                (1.0 - SLACK) * squares - 2.0 * product > (1.0 + SLACK) * reach * reach
            }
            Metric::Cosine | Metric::Dot => {
                let row_len = row.square.sqrt() + row.rest;
                if self.len * row_len > PRODUCT_MAX {
                    // A partial sum may be infinite, and with it the distance.
                    return false;
                }
                let off = self.len * row.rest + (self.rest + self.share * self.len) * row_len;
                let rounding = SLACK * (self.len * row_len + off);
                -product - off - rounding > reach
            }
        }
    }
}

/// Appends to `out` the nearest `k` of `known` and of some rows, nearest first, ties by row number;
/// all of them if they are fewer. `known` are nearest first, and none of those rows.
///
/// `query` is `dims` floats, or a stride with zeros at its end. Cost: for rows with a sketch, a
/// product of bytes, and a distance where that does not rule them out; else a distance a row.
///
/// # Panics
/// If a row does not exist, or `query` has another length.
pub fn exact_beside(
    rows: &Rows<'_>,
    some: &[SomeRows<'_>],
    query: &[f32],
    known: &[Neighbor],
    k: usize,
    kernel: Kernel,
    out: &mut Vec<Neighbor>,
) {
    super::check(rows, &(0..0), query);
    let count = some.iter().map(|some| some.bits.count_ones() as usize).sum::<usize>();
    let count = count + known.len();
    let k = k.min(count);
    if k == 0 {
        return;
    }
    let query = padded(query, rows.stride());
    let mut nearest = Nearest::beside(known.iter().map(|known| known.key()), k, count);
    let has_sketch = some.iter().any(|some| some.sketch.is_some());
    let sketched = has_sketch.then(|| Query::new(kernel.metric(), &query));
    let (mut ids, mut distances) = (Vec::with_capacity(ROWS as usize), Vec::new());
    for some in some {
        ids.clear();
        match (some.sketch, &sketched) {
            (Some(sketch), Some(query)) => {
                let limit = nearest.limit();
                kernel.isa().run(Sift { query, some: *some, sketch, limit, ids: &mut ids });
            }
            _ => ids.extend(bits(some.bits).map(|bit| ROWS * some.word + bit)),
        }
        kernel.distances(&query, rows, &ids, &mut distances);
        for (&row, &distance) in ids.iter().zip(&distances) {
            nearest.offer(distance, row);
        }
    }
    out.extend(nearest.into_sorted().iter().map(|key| key.neighbor()));
}

/// Appends to `ids` the rows that a sketch does not rule out.
struct Sift<'a> {
    query: &'a Query,
    some: SomeRows<'a>,
    sketch: &'a Sketch,
    limit: f32,
    ids: &'a mut Vec<u32>,
}

impl Task for Sift<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { query, some, sketch, limit, ids } = self;
        let reach = query.reach(limit);
        let (mut left, mut count) = ([0; ROWS as usize], 0);
        for bit in bits(some.bits) {
            left[count] = bit as usize;
            count += 1;
        }
        let mut dots = [0; ROWS as usize];
        let parts = parts(query.words.len()).into_iter().enumerate();
        for (number, part) in parts.filter(|(_, part)| !part.is_empty()) {
            let (mut kept, words) = (0, &query.words[part.clone()]);
            for at in (0..count).step_by(4) {
                let four: [usize; 4] = from_fn(|next| left[(at + next).min(count - 1)]);
                for &index in left[..count].iter().skip(at + AHEAD).take(4) {
                    prefetch(sketch.part(&part, index));
                }
                let codes = four.map(|index| sketch.part(&part, index));
                let more = simd.dot_codes4(words, codes);
                for (index, dot) in four.into_iter().zip(more).take(count - at) {
                    dots[index] += dot;
                    if !query.rules_out(&sketch.terms[index], number, dots[index], reach) {
                        left[kept] = index;
                        kept += 1;
                    }
                }
            }
            count = kept;
        }
        let first = ROWS * some.word;
        ids.extend(left[..count].iter().map(|&index| first + u32::try_from(index).expect("< 64")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::exact;
    use crate::exact::tests::hostile_pairs;
    use crate::kernel::tests::Random;
    use crate::rowset::RowSet;

    const STRIDES: [usize; 4] = [16, 32, 272, 784];

    /// Whether a row stays when `limit` is the greatest distance that counts.
    fn stays(kernel: Kernel, query: &[f32], row: &[f32], limit: f32) -> bool {
        let floats = row.repeat(64);
        let chunks = [&floats[..]];
        let dims = u32::try_from(row.len()).unwrap();
        let sketch = Sketch::new(&Rows::new(dims, 6, &chunks, 64), 0, kernel.isa());
        let query = Query::new(kernel.metric(), query);
        let (some, mut ids) = (SomeRows { word: 0, bits: 1 << 5, sketch: None }, Vec::new());
        let (query, sketch, ids) = (&query, &sketch, &mut ids);
        kernel.isa().run(Sift { query, some, sketch, limit, ids });
        assert!(ids.is_empty() || *ids == [5], "{ids:?}");
        !ids.is_empty()
    }

    #[test]
    fn a_row_at_the_limit_itself_is_never_ruled_out() {
        hostile_pairs(0x73_6b65_7463_6865, &STRIDES, |kernel, query, row, told| {
            let distance = kernel.distance(query, row);
            let limit = if distance.is_nan() { f32::INFINITY } else { distance };
            assert!(stays(kernel, query, row, limit), "{told}");
        });
    }

    #[test]
    fn what_is_clearly_farther_is_ruled_out() {
        let mut random = Random(11);
        for stride in STRIDES {
            let query: Vec<f32> = (0..stride).map(|_| random.unit()).collect();
            let row: Vec<f32> = (0..stride).map(|_| random.unit()).collect();
            let scale = query.iter().chain(&row).map(|x| x * x).sum::<f32>();
            for metric in Metric::ALL {
                for isa in Isa::available() {
                    let kernel = Kernel::new(isa, metric);
                    let limit = kernel.distance(&query, &row) - 0.02 * scale;
                    assert!(!stays(kernel, &query, &row, limit), "{metric} of {stride}");
                }
            }
        }
    }

    #[test]
    fn beside_what_is_known_it_finds_what_a_scan_of_both_finds() {
        let (dims, len, mut random) = (20, 1000, Random(5));
        let value = |random: &mut Random| f32::from(u8::try_from(random.next() % 5).unwrap());
        let floats: Vec<f32> =
            (0..len * 32).map(|at| if at % 32 < 20 { value(&mut random) } else { 0.0 }).collect();
        let chunks = [&floats[..]];
        let rows = Rows::new(dims, 10, &chunks, u32::try_from(len).unwrap());
        for metric in [Metric::L2, Metric::Dot, Metric::Cosine] {
            let kernel = Kernel::new(Isa::detect(), metric);
            let sketches: Vec<Sketch> =
                (0..15).map(|word| Sketch::new(&rows, word, kernel.isa())).collect();
            for k in [1, 3, 10, 40, 2000] {
                let query: Vec<f32> = (0..dims).map(|_| value(&mut random)).collect();
                let waits = |row: &u32| !row.is_multiple_of(3) && *row > 70;
                let waiting: RowSet = (0..1000).filter(waits).collect();
                let known = |row: u32| !waiting.contains(row) && row.is_multiple_of(2);
                let either = |row: u32| known(row) || waiting.contains(row);
                let (mut graph, mut expect) = (Vec::new(), Vec::new());
                exact(&rows, 0..1000, &query, k, Some(&known), kernel, &mut graph);
                exact(&rows, 0..1000, &query, k, Some(&either), kernel, &mut expect);
                for sketched in [0, 7, 15] {
                    let some = (0..).zip(waiting.words()).map(|(word, &bits)| {
                        let sketch = sketches.get(word as usize).filter(|_| word < sketched);
                        SomeRows { word, bits, sketch }
                    });
                    let (some, mut found) = (some.collect::<Vec<_>>(), Vec::new());
                    exact_beside(&rows, &some, &query, &graph, k, kernel, &mut found);
                    assert_eq!(found, expect, "{metric}, {k} of them, {sketched} words");
                }
            }
        }
    }
}
