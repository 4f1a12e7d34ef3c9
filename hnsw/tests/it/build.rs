//! Building: where batches end, the same bytes from any number of threads, and what is promised
//! of batches.

use std::ops::ControlFlow;

use gannet_hnsw::{
    BATCH_ROWS_MAX, BuildScratch, Code, Executor, Graph, Isa, Metric, Params, batch_changes,
    next_batch_end,
};

use crate::data::{Vectors, image, links, pairs, params, rows_of};

#[test]
fn batches_end_at_two_per_cent_at_least_one_row_at_most_1024() {
    for len in 0..100 {
        assert_eq!((batch_changes(len), next_batch_end(len)), (1, len + 1));
    }
    let mut ends = vec![100];
    while ends.len() < 12 {
        ends.push(next_batch_end(ends[ends.len() - 1]));
    }
    assert_eq!(ends, [100, 102, 104, 106, 108, 110, 112, 114, 116, 118, 120, 122]);
    for (len, rows) in [(149, 2), (150, 3), (5_000, 100), (51_199, 1023), (51_200, 1024)] {
        assert_eq!(next_batch_end(len), len + rows);
    }
    assert_eq!(next_batch_end(2_000_000_000), 2_000_000_000 + BATCH_ROWS_MAX);
    let mut len = 0;
    let mut batches = 0;
    while len < 200_000 {
        len = next_batch_end(len);
        batches += 1;
    }
    assert_eq!((len, batches), (200_582, 574));
}

/// Those whose graphs are made of what the code holds.
fn pairs_of_builds() -> impl Iterator<Item = (Metric, Code)> {
    pairs().filter(|&(metric, code)| code.of_builds(metric) == code)
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    for (metric, code) in pairs_of_builds() {
        let vectors = Vectors::clustered(11, 3500, 20, 40).fit(metric).coded(code);
        let expect = image(&vectors.graph(metric));
        for threads in [2, 3, 8] {
            let exec = Executor::threads(threads).unwrap();
            let graph = vectors.graph_on(vectors.params(metric), &exec);
            assert!(image(&graph) == expect, "{metric}, {code}, {threads} threads");
        }
    }
}

/// Under Hamming, packed components say all that the vectors do.
#[test]
fn graphs_under_bits_are_those_under_bytes() {
    for (metric, code) in pairs().filter(|(_, code)| *code == Code::Bit) {
        let fine = if metric == Metric::Hamming { Code::None } else { Code::Sq8 };
        let vectors = Vectors::clustered(21, 1000, 70, 10).fit(metric);
        let expect = links(&vectors.clone().coded(fine).graph(metric));
        let found = links(&vectors.coded(code).graph(metric));
        assert!(found == expect, "{metric}, {code}");
    }
}

#[test]
fn any_instruction_set_gives_the_same_bytes_and_answers() {
    for (metric, code) in pairs() {
        let vectors = Vectors::clustered(12, 1500, 37, 10).fit(metric).coded(code);
        let expect = vectors.graph(metric);
        for isa in Isa::available() {
            let mut graph = Graph::new(vectors.params(metric)).with_isa(isa);
            vectors.insert_until(&mut graph, 1500, &Executor::Serial);
            assert!(image(&graph) == image(&expect), "{metric}, {code}, {}", isa.name());
            let query = vectors.row(3);
            let found = vectors.search(&graph, query, 10, 50);
            assert_eq!(found, vectors.search(&expect, query, 10, 50), "{metric} {}", isa.name());
        }
    }
}

/// The same graph on every CPU, and from every version: a change of it changes what a replay
/// builds.
#[test]
fn the_graphs_of_fixed_vectors_are_pinned() {
    let pinned = [
        0xde2c_3bc8,
        0xd029_5784,
        0x0bc5_eef0,
        0x367a_6361,
        0xef4f_26d8,
        0x4e4b_bb52,
        0x9a93_8fda,
        0x31f9_ce12,
        0x1c12_0247,
        0x134e_4801,
        0x2f63_d590,
        0x1672_d1ef,
        0xe8fa_556f,
        0xe46e_22d0,
        0xb586_a02d,
        0xa0f6_7530,
        0x49d5_2db3,
    ];
    let found = pairs().map(|(metric, code)| {
        let vectors = Vectors::clustered(10, 3000, 21, 40).fit(metric).coded(code);
        crc32fast::hash(&image(&vectors.graph(metric)))
    });
    let found: Vec<u32> = found.collect();
    assert_eq!(found, pinned, "{found:#010x?}");
}

fn insert(vectors: &Vectors, graph: &mut Graph, joins: &[u32]) {
    let scratch = &mut BuildScratch::new();
    vectors.with_rows(|rows| graph.insert_batch(rows, joins, &Executor::Serial, scratch));
}

#[test]
fn batches_by_hand_and_insert_until_give_the_same_bytes() {
    let vectors = Vectors::clustered(13, 3000, 9, 10);
    let exec = Executor::threads(2).unwrap();
    let mut graph = Graph::new(params(9, Metric::L2));
    let mut scratch = BuildScratch::new();
    vectors.with_rows(|rows| {
        while graph.len() < rows.len() {
            let end = next_batch_end(graph.len()).min(rows.len());
            let joins: Vec<u32> = (graph.len()..end).collect();
            graph.insert_batch(rows, &joins, &exec, &mut scratch);
            assert_eq!((graph.len(), graph.count()), (end, end));
        }
    });
    assert!(image(&graph) == image(&vectors.graph(Metric::L2)));
}

#[test]
fn rows_that_are_there_already_do_not_change_what_is_built() {
    let vectors = Vectors::clustered(14, 2000, 9, 10);
    let part = Vectors::of(9, vectors.floats[..1000 * 16].to_vec());
    let mut graph = Graph::new(params(9, Metric::L2));
    vectors.insert_until(&mut graph, 1000, &Executor::Serial);
    assert!(image(&graph) == image(&part.graph(Metric::L2)));
}

#[test]
fn progress_sees_every_batch_and_can_end_the_work() {
    let vectors = Vectors::clustered(15, 400, 5, 4);
    let mut graph = Graph::new(params(5, Metric::L2));
    let mut seen = Vec::new();
    let exec = Executor::Serial;
    vectors.with_rows(|rows| {
        let flow = graph.insert_until(rows, 300, &exec, &mut |len| {
            seen.push(len);
            if len >= 150 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(flow, ControlFlow::Break(()));
        assert_eq!((graph.len(), seen.first(), seen.last()), (150, Some(&1), Some(&150)));
        let flow = graph.insert_until(rows, 151, &exec, &mut |_| ControlFlow::Break(()));
        assert_eq!((flow, graph.len()), (ControlFlow::Continue(()), 151), "nothing was left to do");
        let flow = graph.insert_until(rows, 100, &exec, &mut |_| unreachable!("nothing to do"));
        assert_eq!((flow, graph.len()), (ControlFlow::Continue(()), 151));
    });
}

#[test]
fn batches_that_cannot_be_are_refused() {
    let vectors = Vectors::clustered(18, 1100, 3, 2);
    let mut graph = Graph::new(params(3, Metric::L2));
    insert(&vectors, &mut graph, &[3, 5]);
    let many: Vec<u32> = (10..1035).collect();
    for joins in [&[2, 1][..], &[1, 1], &[4, 5], &[3], &[1100], &many] {
        let mut graph = graph.clone();
        let join = std::panic::AssertUnwindSafe(|| insert(&vectors, &mut graph, joins));
        assert!(std::panic::catch_unwind(join).is_err(), "{joins:?}");
    }
    let other = Vectors::clustered(18, 10, 4, 2);
    let before = image(&graph);
    let join = std::panic::AssertUnwindSafe(|| insert(&other, &mut graph, &[7]));
    assert!(std::panic::catch_unwind(join).is_err(), "other dimensions");
    insert(&vectors, &mut graph, &[]);
    assert!(image(&graph) == before, "no rows are no change");
}

#[test]
fn a_first_batch_of_many_rows_is_whole() {
    let vectors = Vectors::clustered(19, 1024, 8, 12);
    let mut graph = Graph::new(params(8, Metric::L2));
    insert(&vectors, &mut graph, &(0..1024).collect::<Vec<u32>>());
    assert_eq!(graph.unreachable_count(), 0);
    for row in (0..1024).step_by(31) {
        assert_eq!(rows_of(&vectors.search(&graph, vectors.row(row), 1, 64)), [row]);
    }
}

#[test]
fn memory_is_the_lists_and_a_scratch_bounded_by_the_batch() {
    let vectors = Vectors::clustered(20, 8000, 8, 50);
    let exec = Executor::threads(2).unwrap();
    let mut graph = Graph::new(Params::new(8, Metric::L2));
    vectors.insert_until(&mut graph, 7000, &exec);
    let mut scratch = BuildScratch::new();
    vectors.with_rows(|rows| {
        graph.insert_batch(rows, &(7000..8000).collect::<Vec<u32>>(), &exec, &mut scratch);
    });
    assert!(scratch.memory_bytes() < 2 * (8000 + 100 * 1024), "{} bytes", scratch.memory_bytes());
    let lists = usize::try_from(graph.encoded_len()).unwrap();
    let memory = graph.memory();
    let taken = memory.links + memory.upper_links + memory.codes;
    assert!(taken < lists + lists / 4, "{taken} of {lists}");
}

#[test]
fn linking_anew_finds_more_and_is_the_same_on_any_threads_and_instruction_sets() {
    for (metric, code) in pairs() {
        // Shapeless rows and few links: a graph that can be bettered.
        let all = Vectors::clustered(16, 4200, 12, 4200).fit(metric).coded(code);
        let params = Params { m: 5, ef_construction: 40, ..params(12, metric) };
        let mut first = Graph::new(params);
        all.insert_until(&mut first, 4000, &Executor::threads(2).unwrap());
        let relinked = |exec: &Executor, isa: Isa| {
            let mut graph = first.clone().with_isa(isa);
            let mut told = Vec::new();
            let flow = all.with_rows(|rows| {
                graph.relink(rows, exec, &mut |done| {
                    told.push(done);
                    ControlFlow::Continue(())
                })
            });
            assert_eq!((flow, told), (ControlFlow::Continue(()), vec![1024, 2048, 3072, 4000]));
            graph
        };
        let graph = relinked(&Executor::Serial, Isa::detect());
        for threads in [2, 3, 8] {
            let other = relinked(&Executor::threads(threads).unwrap(), Isa::detect());
            assert!(image(&other) == image(&graph), "{metric}, {code}, {threads} threads");
        }
        for isa in Isa::available() {
            let other = relinked(&Executor::threads(2).unwrap(), isa);
            assert!(image(&other) == image(&graph), "{metric}, {code}, {}", isa.name());
        }
        // Whatever is read back passes every check of shape.
        Graph::decode(&image(&graph), 4000, graph.params()).unwrap();
        let lost = graph.unreachable_count();
        assert!(metric == Metric::Dot || lost <= first.unreachable_count(), "{metric}: {lost}");
        let hits = |graph: &Graph| {
            let near = (4000..4200).map(|query| {
                let truth = all.search(graph, all.row(query), 10, 4000);
                let found = all.search(graph, all.row(query), 10, 12);
                found.iter().filter(|found| found.distance <= truth[9].distance).count()
            });
            near.sum::<usize>()
        };
        let (before, after) = (hits(&first), hits(&graph));
        assert!(after > before, "{metric}, {code}: {after} after {before}");
    }
}

/// The first row of a layer is alone there, with no links, and meets itself.
#[test]
fn linking_anew_never_links_a_row_to_itself() {
    for code in [Code::None, Code::Sq8, Code::Sq4] {
        let vectors = Vectors::clustered(18, 150, 6, 9);
        for len in 1..150 {
            let params = Params { code: code.into(), ..params(6, Metric::L2) };
            let mut graph = Graph::new(params);
            vectors.insert_until(&mut graph, len, &Executor::Serial);
            let proceed = &mut |_| ControlFlow::Continue(());
            let flow = vectors.with_rows(|rows| graph.relink(rows, &Executor::Serial, proceed));
            assert!(flow.is_continue());
            let back = Graph::decode(&image(&graph), len, graph.params());
            assert!(back.is_ok(), "{code}, {len} rows: {}", back.unwrap_err());
        }
    }
}

#[test]
fn linking_anew_ends_where_it_is_told_to_with_a_whole_graph() {
    let vectors = Vectors::clustered(17, 2500, 6, 9);
    let mut graph = vectors.graph(Metric::L2);
    let stop = &mut |_| ControlFlow::Break(());
    let flow = vectors.with_rows(|rows| graph.relink(rows, &Executor::Serial, stop));
    assert_eq!((flow, graph.len()), (ControlFlow::Break(()), 2500));
    Graph::decode(&image(&graph), 2500, graph.params()).unwrap();
    let mut empty = Graph::new(params(6, Metric::L2));
    assert!(vectors.with_rows(|rows| empty.relink(rows, &Executor::Serial, stop)).is_continue());
}
