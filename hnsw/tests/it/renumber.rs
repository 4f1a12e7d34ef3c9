//! Rows that are numbered anew: what was found is found, and what joins and leaves goes on alike.

use std::collections::BTreeSet;

use gannet_hnsw::{Allowed, Code, CodeChoice, Executor, Graph, Isa, Metric, Params, RowSet};

use crate::data::{Random, Vectors, image, pairs, params};
use crate::image::seal;
use crate::removal::Live;

/// Rows there are vectors of, and those of them that have joined.
const ROWS: u32 = 1000;
const JOINED: u32 = 900;

/// Where searches begin, as the image says it.
fn entry(graph: &Graph) -> u32 {
    u32::from_le_bytes(image(graph)[32..36].try_into().unwrap())
}

/// The vectors of the rows that are kept, by their new numbers.
fn moved(vectors: &Vectors, code: Code, kept: &[u32]) -> Vectors {
    let floats = kept.iter().flat_map(|&row| vectors.row(row)).copied().collect();
    Vectors::of(vectors.dims, floats).coded(code)
}

/// The new numbers of `rows`.
fn new_numbers(kept: &[u32], rows: &[u32]) -> Vec<u32> {
    let new = |row| u32::try_from(kept.binary_search(row).unwrap()).unwrap();
    rows.iter().map(new).collect()
}

/// A graph from which a fifth of the rows have left, among them the entry point and the highest.
fn thinned(vectors: &Vectors, metric: Metric, seed: u64) -> Graph {
    let mut live = Live::new(vectors, vectors.params(metric), Executor::Serial);
    live.join_all(&(0..JOINED).collect::<Vec<u32>>());
    let mut random = Random(seed);
    for _ in 0..4 {
        let mut leaves: BTreeSet<u32> = (0..JOINED / 20).map(|_| random.below(JOINED)).collect();
        leaves.extend([entry(&live.graph), live.graph.len() - 1]);
        leaves.retain(|&row| live.graph.contains(row));
        live.leave(&leaves.into_iter().collect::<Vec<u32>>());
    }
    live.graph
}

/// The rows of the graph, and of the other numbers every other one.
fn kept_of(graph: &Graph, random: &mut Random) -> Vec<u32> {
    (0..ROWS).filter(|&row| graph.contains(row) || random.below(2) == 0).collect()
}

/// Searches without a filter and with all kinds give the same rows, by the same plans.
fn check_searches(
    (old, old_vectors): (&Graph, &Vectors),
    (new, new_vectors): (&Graph, &Vectors),
    kept: &[u32],
) {
    let mut plans = BTreeSet::new();
    for per_mille in [1, 5, 20, 50, 100, 250, 500, 900, 1000] {
        let mut random = Random(u64::from(per_mille));
        let passing: Vec<u32> =
            kept.iter().copied().filter(|_| random.below(1000) < per_mille).collect();
        let old_set: RowSet = passing.iter().copied().collect();
        let new_set: RowSet = new_numbers(kept, &passing).into_iter().collect();
        for (old_allowed, new_allowed) in [
            (Allowed::All, Allowed::All),
            (Allowed::Only(&old_set), Allowed::Only(&new_set)),
            (Allowed::AllBut(&old_set), Allowed::AllBut(&new_set)),
        ] {
            for (k, ef) in [(1, 1), (10, 10), (10, 60), (200, 10), (5000, 5000)] {
                let query = old_vectors.row(random.below(ROWS));
                let (old_plan, old_found) = old_vectors.search_by(old, query, k, ef, old_allowed);
                let (new_plan, new_found) = new_vectors.search_by(new, query, k, ef, new_allowed);
                let found =
                    new_found.iter().map(|near| (kept[near.row as usize], near.distance.to_bits()));
                let expect = old_found.iter().map(|near| (near.row, near.distance.to_bits()));
                let what = format!("{:?}, {per_mille}, k {k}, ef {ef}", old.code());
                assert!(found.eq(expect), "{what}");
                assert_eq!(new_plan, old_plan, "{what}");
                plans.insert(format!("{old_plan:?}"));
            }
        }
    }
    let expected = if old.code() == Code::None { 3 } else { 4 };
    assert_eq!(plans.len(), expected, "{plans:?}");
}

#[test]
fn searches_find_the_same_and_images_come_back() {
    for (seed, (metric, code)) in (90..).zip(pairs()) {
        let vectors = Vectors::clustered(seed, ROWS, 24, 12).fit(metric).coded(code);
        let old = thinned(&vectors, metric, seed);
        let kept = kept_of(&old, &mut Random(seed));
        let new = old.renumbered(&kept);
        let new_vectors = moved(&vectors, code, &kept);
        let members: Vec<u32> = old.members().iter().collect();
        let expect = new_numbers(&kept, &members);
        assert!(new.members().iter().eq(expect.iter().copied()), "{metric}, {code}");
        assert_eq!(new.len(), expect.last().unwrap() + 1);
        assert!(new.count() < new.len() && new.len() < old.len());
        assert_eq!(entry(&new), new_numbers(&kept, &[entry(&old)])[0]);
        assert_eq!(new.unreachable_count(), old.unreachable_count());
        assert_eq!(new.kernel(), old.kernel());
        assert_eq!(new.memory().build_codes > 0, old.memory().build_codes > 0);
        check_searches((&old, &vectors), (&new, &new_vectors), &kept);

        let bytes = image(&new);
        let read = Graph::decode(&bytes, new.len(), old.params());
        let read = read.unwrap_or_else(|fault| panic!("{metric}, {code}: {fault}"));
        assert!(image(&read) == bytes, "{metric}, {code}");
        // Twice is once.
        let dense: Vec<u32> = new.members().iter().collect();
        assert!(image(&new.renumbered(&dense)) == image(&old.renumbered(&members)));
        assert_eq!(old.renumbered(&members).len(), old.count());
    }
}

#[test]
fn rows_join_and_leave_as_they_would_have_by_their_old_numbers() {
    for (seed, (metric, code)) in (110..).zip(pairs()) {
        // So many that no bits are copies: of these the nearest in number are linked.
        let dims = if metric == Metric::Hamming { 200 } else { 12 };
        let vectors = Vectors::clustered(seed, ROWS, dims, 9).fit(metric).coded(code);
        let old = thinned(&vectors, metric, seed);
        let mut random = Random(seed);
        let kept = kept_of(&old, &mut random);
        let new_vectors = moved(&vectors, code, &kept);
        let new = old.renumbered(&kept);
        let read = Graph::decode(&image(&new), ROWS, old.params()).unwrap();
        // One without the codes that links are chosen by.
        let bare = Graph::decode(&image(&old), ROWS, old.params()).unwrap().renumbered(&kept);
        assert_eq!(bare.memory().build_codes, 0);
        let mut lives = [new, read, bare].map(|graph| Live::of(&new_vectors, graph));
        let mut old = Live::of(&vectors, old);

        // First below the highest row: all have their layers.
        let last = old.graph.len() - 1;
        for step in 0..4 {
            let what = format!("{metric}, {code}, step {step}");
            let mut leaves: BTreeSet<u32> = (0..30).map(|_| random.below(last)).collect();
            leaves.insert(entry(&old.graph));
            leaves.retain(|&row| row != last && old.graph.contains(row));
            let leaves: Vec<u32> = leaves.into_iter().collect();
            let joins: Vec<u32> = kept
                .iter()
                .copied()
                .filter(|&row| row < last && !old.graph.contains(row) && random.below(2) == 0)
                .collect();
            assert!(!joins.is_empty());
            old.leave(&leaves);
            old.join(&joins);
            let expect = image(&old.graph.renumbered(&kept));
            for live in &mut lives {
                live.leave(&new_numbers(&kept, &leaves));
                live.join(&new_numbers(&kept, &joins));
                assert!(image(&live.graph) == expect, "{what}");
            }
        }
        // Then everywhere, to the last number that was kept.
        let all: RowSet = (0..new_vectors.len()).collect();
        for live in &mut lives {
            live.leave(&[live.graph.len() - 1]);
            let joins: Vec<u32> = all.iter().filter(|&row| !live.graph.contains(row)).collect();
            live.join(&joins);
            assert_eq!(live.graph.members(), &all);
        }
        let [new, read, bare] = lives.map(|live| image(&live.graph));
        assert!(new == read && new == bare, "{metric}, {code}");
        Graph::decode(&new, new_vectors.len(), old.graph.params()).unwrap();
    }
}

#[test]
fn a_row_that_joins_has_the_layers_its_number_had() {
    let vectors = Vectors::clustered(130, 300, 5, 4);
    let mut live = Live::new(&vectors, vectors.params(Metric::L2), Executor::Serial);
    live.join_all(&(0..300).collect::<Vec<u32>>());
    let top = entry(&live.graph);
    assert!(top > 0 && top < 299, "{top}");
    live.leave(&(0..=top).collect::<Vec<u32>>());
    assert_ne!(entry(&live.graph), top);
    let kept: Vec<u32> = (top..300).collect();
    let new_vectors = moved(&vectors, Code::None, &kept);
    let graph = live.graph.renumbered(&kept);
    let mut live = Live::of(&new_vectors, graph);
    live.join(&[0]);
    assert_eq!(entry(&live.graph), 0);
    Graph::decode(&image(&live.graph), 300, live.graph.params()).unwrap();
}

#[test]
fn a_graph_without_holes_stays_as_it_is() {
    for code in Code::ALL {
        let vectors = Vectors::clustered(131, 3000, 12, 9).coded(code);
        let old = vectors.graph(Metric::L2).with_isa(Isa::Scalar);
        // Numbers above the highest row are nobody's.
        let kept: Vec<u32> = (0..3000).chain([4000, u32::MAX]).collect();
        let new = old.renumbered(&kept);
        assert!(image(&new) == image(&old), "{code}");
        assert_eq!(new.kernel().isa(), Isa::Scalar);
    }
}

#[test]
fn what_was_measured_stays() {
    let vectors = Vectors::clustered(132, 200, 5, 4).coded(Code::Sq8);
    let params = Params { code: CodeChoice::Auto, ..params(5, Metric::L2) };
    let mut live = Live::new(&vectors, params.clone(), Executor::Serial);
    live.join_all(&(0..200).collect::<Vec<u32>>());
    live.leave(&[3, 50]);
    let mut bytes = image(&live.graph);
    // A code that was chosen by measuring, and a recall that was, of 3,000 rows.
    bytes[46] = 1;
    bytes[60..62].copy_from_slice(&3000_u16.to_le_bytes());
    bytes[86] = 7;
    seal(&mut bytes);
    let old = Graph::decode(&bytes, 200, &params).unwrap();
    let new = old.renumbered(&old.members().iter().collect::<Vec<u32>>());
    let new_bytes = image(&new);
    assert_eq!((&new_bytes[..31], &new_bytes[44..48]), (&bytes[..31], &bytes[44..48]));
    assert_eq!(new_bytes[60..102], bytes[60..102]);
    assert_eq!((new.params(), new.calibration()), (old.params(), old.calibration()));
}

#[test]
fn an_empty_graph_is_as_a_new_one() {
    let vectors = Vectors::clustered(133, 200, 5, 4).coded(Code::Sq4);
    let mut old = Live::new(&vectors, vectors.params(Metric::L2), Executor::Serial);
    let all: Vec<u32> = (0..200).collect();
    old.join_all(&all);
    let full = image(&old.graph);
    old.leave(&all);
    for kept in [&[][..], &[0, 7], &all] {
        let graph = old.graph.renumbered(kept);
        assert!(graph.is_empty() && image(&graph) == image(&old.graph));
        let mut live = Live::of(&vectors, graph);
        live.join_all(&all);
        assert!(image(&live.graph) == full);
    }
}

#[test]
#[should_panic(expected = "out of order")]
fn a_number_is_kept_once() {
    let graph = Vectors::clustered(134, 9, 3, 2).graph(Metric::L2);
    let _ = graph.renumbered(&[0, 1, 2, 3, 4, 5, 5, 6, 7, 8]);
}

#[test]
#[should_panic(expected = "row 4 is in the graph and not kept")]
fn a_row_of_the_graph_is_kept() {
    let graph = Vectors::clustered(134, 9, 3, 2).graph(Metric::L2);
    let _ = graph.renumbered(&[0, 1, 2, 3, 5, 6, 7, 8, 9]);
}
