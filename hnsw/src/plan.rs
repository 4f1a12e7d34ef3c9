//! How a search goes about a filter: what each way would cost, and which is the cheapest.
//!
//! Keeps what was measured of the ways. `search` takes them, with what `walk`, `expand` and `sweep`
//! provide.

use crate::code::Code;
use crate::graph::Graph;
use crate::rows::Rows;

/// How a search found its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Plan {
    /// A walk over all rows: those that are not allowed led on, and were not returned.
    #[default]
    Walk,
    /// A walk over the rows that are allowed: one that is not was replaced by its links that are.
    Expand,
    /// The codes of all rows that are allowed were compared, and the vectors of the best.
    Codes,
    /// The vectors of all rows that are allowed were compared: nothing nearer was missed.
    Exact,
}

/// Most links of a row that lead on in [`Plan::Expand`], those of rows that do not pass included:
/// so many full lists. A narrow beam with many is faster than a wide one with few.
const LEADS: usize = 2;

/// The least part of its width that a beam with so many keeps.
const NARROWEST: f64 = 0.65;

/// Where a smaller share passes, two links lead to too few rows: walks end before they are near.
const EXPAND_SHARE_MIN: f64 = 0.03;

// Nanoseconds, by `examples/filters.rs` on one core of an AMD EPYC 7003 (Zen 3, AVX2, 32 MiB of
// third cache) that others used too: sift-128-200k, sq4, vectors in memory, medians of five rounds.
// That they fit to a third is enough: near the crossings the ways cost the same. `EXPAND_ROWS` and
// `VIA_NS` are of before `LEADS` and `NARROWEST` were what they are.

/// To compare a row in a sweep, and for each of its bytes.
const SWEEP_NS: (f64, f64) = (4.0, 0.2);
/// To look at 64 bits of a filter in a sweep.
const WORD_NS: f64 = 0.6;
/// To compare a row on a walk, its part of a hop included, and for each of its bytes.
const WALK_NS: (f64, f64) = (37.0, 0.2);
/// Rows that a walk compares for each row of its beam.
const WALK_ROWS: f64 = 19.0;
/// The same over rows that pass alone.
const EXPAND_ROWS: f64 = 30.0;
/// To look through the links of a row that does not pass.
const VIA_NS: f64 = 100.0;

/// A filtered search, as far as its cost depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    k: f64,
    /// Of the beam.
    width: f64,
    /// Rows that are put in order by exact distances.
    ranked: f64,
    len: f64,
    passing: f64,
    /// Bytes of what walks compare, and of a vector.
    code_len: f64,
    vector_len: f64,
    has_codes: bool,
    /// Links of a typical list.
    links: f64,
    links_max: usize,
}

impl Question {
    pub(crate) fn new(
        graph: &Graph,
        rows: &Rows<'_>,
        (k, width, ranked): (usize, usize, usize),
        passing: u32,
    ) -> Self {
        let vector_len = size_of::<f32>() * rows.stride();
        let has_codes = graph.code() != Code::None;
        let code_len = graph.code().len_bytes(rows.dims());
        let links_max = graph.params().links_max(0);
        Self {
            k: number(k),
            width: number(width),
            ranked: number(ranked),
            len: f64::from(graph.count()),
            passing: f64::from(passing),
            code_len: number(if has_codes { code_len } else { vector_len }),
            vector_len: number(vector_len),
            has_codes,
            links: 0.7 * number(links_max),
            links_max,
        }
    }

    /// The cheapest way by the share of all rows that pass; [`Plan::Walk`] stands for both ways
    /// through the graph.
    pub(crate) fn plan(&self) -> Plan {
        let share = self.share();
        let words = self.len / 64.0 * WORD_NS;
        let sweep = |rows: f64, bytes: f64| rows * (SWEEP_NS.0 + SWEEP_NS.1 * bytes);
        let exact = words + sweep(self.passing, self.vector_len);
        let coded = sweep(self.passing, self.code_len) + sweep(self.ranked, self.vector_len);
        let coded = if self.has_codes { words + coded } else { f64::INFINITY };
        let graph = self.walk_ns(share).min(self.expand_ns(share));
        if graph < exact.min(coded) {
            Plan::Walk
        } else if coded < exact {
            Plan::Codes
        } else {
            Plan::Exact
        }
    }

    /// The cheaper way through the graph where `share` of the rows around the query pass. Where
    /// they are much fewer than elsewhere, the rows that pass lie apart: they have to be reached.
    pub(crate) fn plan_around(&self, share: f64) -> Plan {
        if self.is_apart(share) || self.expand_ns(share.max(self.share())) < self.walk_ns(share) {
            Plan::Expand
        } else {
            Plan::Walk
        }
    }

    /// The beam of a walk over all rows, and how many rows of it pass: `width * sqrt(share)`, by
    /// which the beam is as wide as that it holds as large a part of the nearest as `width` rows
    /// do without a filter; and at least half more than are asked for.
    pub(crate) fn walk_widths(&self, share: f64) -> (usize, usize) {
        let wide = self.walked(share).min(self.len);
        (whole(wide), whole(wide * share).max(1))
    }

    /// How many rows of that beam are to pass, at least: a walk that met fewer knows too little.
    pub(crate) fn met_min(&self) -> usize {
        whole((1.25 * self.k).min(self.passing))
    }

    /// How many links of a row lead on in [`Plan::Expand`].
    pub(crate) fn leads_max(&self) -> usize {
        LEADS * self.links_max
    }

    /// The beam of [`Plan::Expand`], at least `least`: the more links lead on where `share` of the
    /// rows pass, the narrower it is to find as much as without a filter; and twice as wide where
    /// it begins at the edge of the rows that pass, which lie on one side of it.
    pub(crate) fn expand_width(&self, share: f64, least: usize) -> usize {
        let factor = if self.is_apart(share) { 2.0 } else { self.narrowing(share) };
        whole((self.width * factor).min(self.passing)).max(least)
    }

    /// By which part of its width a beam is narrower where `share` of the rows pass.
    fn narrowing(&self, share: f64) -> f64 {
        let leads = (self.links * self.links * share).min(number(self.leads_max()));
        (number(self.links_max) / leads).clamp(NARROWEST, 1.0)
    }

    /// Whether much fewer rows pass around the query than elsewhere.
    fn is_apart(&self, share: f64) -> bool {
        share < 0.5 * self.share()
    }

    fn share(&self) -> f64 {
        self.passing / self.len
    }

    fn walked(&self, share: f64) -> f64 {
        (self.width / share.sqrt()).max(1.5 * self.k / share)
    }

    fn walk_ns(&self, share: f64) -> f64 {
        self.walked(share) * WALK_ROWS * self.compare_ns()
    }

    fn expand_ns(&self, share: f64) -> f64 {
        if share < EXPAND_SHARE_MIN {
            return f64::INFINITY;
        }
        let via = (number(self.leads_max()) / (self.links * share)).min(self.links * (1.0 - share));
        let width = (self.width * self.narrowing(share)).max(self.k);
        width * (EXPAND_ROWS * self.compare_ns() + via * VIA_NS)
    }

    fn compare_ns(&self) -> f64 {
        WALK_NS.0 + WALK_NS.1 * self.code_len
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn number(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, or all")]
fn whole(count: f64) -> usize {
    count.ceil() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows like those that the constants were measured on.
    fn question(len: f64, passing: f64, k: f64, width: f64) -> Question {
        let (code_len, vector_len) = (80.0, 512.0);
        let (has_codes, links, links_max) = (true, 22.4, 32);
        let ranked = k + (2.0 * k).max(20.0);
        let (len, passing) = (len, passing);
        Question {
            k,
            width,
            ranked,
            len,
            passing,
            code_len,
            vector_len,
            has_codes,
            links,
            links_max,
        }
    }

    #[test]
    fn the_more_rows_pass_the_more_a_graph_is_worth() {
        let plan = |passing| question(200_000.0, passing, 10.0, 48.0).plan();
        let expected = [
            (1.0, Plan::Exact),
            (20.0, Plan::Exact),
            (200.0, Plan::Codes),
            (2000.0, Plan::Codes),
            (20_000.0, Plan::Walk),
            (180_000.0, Plan::Walk),
        ];
        for (passing, expected) in expected {
            assert_eq!(plan(passing), expected, "{passing}");
        }
    }

    #[test]
    fn wide_beams_and_many_rows_asked_for_make_sweeps_worth_more() {
        assert_eq!(question(200_000.0, 12_000.0, 10.0, 48.0).plan(), Plan::Walk);
        assert_eq!(question(200_000.0, 12_000.0, 10.0, 400.0).plan(), Plan::Codes);
        assert_eq!(question(200_000.0, 12_000.0, 400.0, 400.0).plan(), Plan::Codes);
        assert_eq!(question(200_000.0, 20_000.0, 10.0, 48.0).plan(), Plan::Walk);
        let bare = Question { has_codes: false, ..question(200_000.0, 2000.0, 10.0, 48.0) };
        assert_eq!(bare.plan(), Plan::Exact);
    }

    #[test]
    fn what_passes_around_decides_the_way_through_the_graph() {
        let question = question(200_000.0, 20_000.0, 10.0, 32.0);
        for (share, expected) in
            [(0.0, Plan::Expand), (0.04, Plan::Expand), (0.1, Plan::Expand), (0.9, Plan::Walk)]
        {
            assert_eq!(question.plan_around(share), expected, "{share}");
        }
        assert_eq!([1.0, 0.25, 0.1].map(|share| question.walk_widths(share).0), [32, 64, 150]);
        assert_eq!([1.0, 0.25, 0.1].map(|share| question.walk_widths(share).1), [32, 16, 15]);
        assert_eq!(question.met_min(), 13);
    }
}
