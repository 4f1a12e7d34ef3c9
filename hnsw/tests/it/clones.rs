//! Clones: snapshots that cost little and do not change.

use std::ops::ControlFlow;

use gannet_hnsw::{Code, Executor, Graph, Metric};

use crate::data::{Random, Vectors, image};
use crate::removal::{Live, shuffled};

/// Bytes that a graph takes.
fn memory(graph: &Graph) -> usize {
    let memory = graph.memory();
    memory.links + memory.upper_links + memory.codes + memory.build_codes
}

#[test]
fn a_clone_stays_as_it_was_whatever_becomes_of_the_other() {
    for code in [Code::None, Code::Sq8, Code::Sq4] {
        let vectors = Vectors::clustered(81, 3000, 10, 20).coded(code);
        let exec = Executor::threads(2).unwrap();
        let mut live = Live::new(&vectors, vectors.params(Metric::L2), exec);
        let mut random = Random(5);
        let order = shuffled(&mut random, (0..3000).collect());
        live.join_all(&order[..2000]);
        // Nobody reads this one: it changes in place, and comes to the same.
        let mut alone = Live::new(&vectors, vectors.params(Metric::L2), Executor::Serial);
        alone.join_all(&order[..2000]);
        let queries: Vec<u32> = (0..20).map(|_| random.below(3000)).collect();
        let answers = |graph: &Graph| -> Vec<_> {
            queries.iter().map(|&row| vectors.search(graph, vectors.row(row), 10, 40)).collect()
        };
        let mut snapshots = Vec::new();
        for (leaves, joins) in order[..2000].chunks(40).zip(order[2000..].chunks(20)) {
            let clone = live.graph.clone();
            snapshots.push((image(&clone), answers(&clone), clone));
            for live in [&mut live, &mut alone] {
                let (mut leaves, mut joins) = (leaves.to_vec(), joins.to_vec());
                leaves.sort_unstable();
                joins.sort_unstable();
                live.leave(&leaves);
                live.join(&joins);
            }
            if snapshots.len() > 4 {
                snapshots.remove(random.below(5) as usize);
            }
        }
        assert!(image(&live.graph) == image(&alone.graph), "{code}");
        let proceed = &mut |_| ControlFlow::Continue(());
        for live in [&mut live, &mut alone] {
            let (graph, exec) = (&mut live.graph, &live.exec);
            assert!(vectors.with_rows(|rows| graph.relink(rows, exec, proceed)).is_continue());
        }
        assert!(image(&live.graph) == image(&alone.graph), "{code}, linked anew");
        for (before, answered, clone) in &snapshots {
            assert!(image(clone) == *before && answers(clone) == *answered, "{code}");
        }
        // The clone goes its own way as well.
        let (before, _, clone) = snapshots.pop().unwrap();
        let other = clone.clone();
        live.graph = clone;
        let leaves: Vec<u32> = live.graph.members().iter().take(300).collect();
        live.leave(&leaves);
        assert!(image(&other) == before && image(&live.graph) != before, "{code}");
    }
}

#[test]
fn a_change_takes_the_memory_of_what_changes() {
    let vectors = Vectors::clustered(82, 30_000, 6, 3000).coded(Code::Sq8);
    let mut live = Live::new(&vectors, vectors.params(Metric::L2), Executor::threads(2).unwrap());
    live.join_all(&(0..29_990).collect::<Vec<u32>>());
    let before = memory(&live.graph);
    let clone = live.graph.clone();
    assert_eq!(memory(&clone), before);
    live.join(&(29_990..30_000).collect::<Vec<u32>>());
    let more = memory(&live.graph) - before;
    // A chunk for each of ten rows and of those it links to, and the rows themselves.
    assert!((4096..10 * 17 * 2 * 4800).contains(&more), "{more} bytes");
    assert_eq!(memory(&clone), before);
    drop(clone);
    live.leave(&[7]);
    assert!(memory(&live.graph) < before + before / 4, "one array again");
}
