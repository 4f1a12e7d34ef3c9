//! A search that is warm takes no memory, and a clone little. In a program of its own, for its
//! allocator counts.

use std::collections::HashSet;
use std::ops::ControlFlow;

use gannet_hnsw::{
    Allowed, Code, Executor, Graph, Metric, Params, RowSet, Rows, SearchContext, normalise,
    row_stride,
};

const DIMS: u32 = 20;
const LOG2: u32 = 8;

#[test]
fn a_warm_search_allocates_nothing() {
    let stride = row_stride(DIMS);
    let mut floats = vec![0.0; 3000 * stride];
    for (row, vector) in floats.chunks_mut(stride).enumerate() {
        for (at, component) in vector[..20].iter_mut().enumerate() {
            let number = u16::try_from((row * 7919 + at * 104_729) % 1013).unwrap();
            *component = f32::from(number) - 500.0;
        }
        normalise(vector).unwrap();
    }
    let chunks: Vec<&[f32]> = floats.chunks(stride << LOG2).collect();
    let mut plans = HashSet::new();
    for metric in Metric::ALL {
        for code in Code::ALL.into_iter().filter(|code| code.fits(metric)) {
            let rows = Rows::new(DIMS, LOG2, &chunks, 3000);
            let mut graph = Graph::new(Params { code: code.into(), ..Params::new(DIMS, metric) });
            let proceed = &mut |_| ControlFlow::Continue(());
            assert!(graph.insert_until(&rows, 3000, &Executor::Serial, proceed).is_continue());

            let mut context = SearchContext::new();
            let mut found = Vec::new();
            let mut search = |row: u32, ef: usize, allowed: Allowed<'_>| {
                found.clear();
                let row = rows.row(row);
                let plan = graph.search(&rows, row, 10, ef, allowed, &mut context, &mut found);
                assert_eq!(found.len(), 10);
                plan
            };
            let every = |step: usize| -> RowSet { (0..3000).step_by(step).collect() };
            let (some, few, fewest, early) = (every(7), every(30), every(250), (0..1500).collect());
            let filters = [
                Allowed::All,
                Allowed::AllBut(&some),
                Allowed::Only(&some),
                Allowed::Only(&few),
                Allowed::Only(&fewest),
                Allowed::Only(&early),
            ];
            for (allowed, ef) in filters.into_iter().flat_map(|some| [(some, 10), (some, 100)]) {
                plans.extend((0..3000).step_by(15).map(|row| search(row, ef, allowed)));
                let counted = allocation_counter::measure(|| {
                    (0..3000).step_by(15).for_each(|row| _ = search(row, ef, allowed));
                });
                assert_eq!(counted.count_total, 0, "{metric}, {code}, {allowed:?}");
            }
        }
    }
    assert_eq!(plans.len(), 4, "{plans:?}");
}

#[test]
fn a_clone_takes_a_few_hundred_bytes() {
    let stride = row_stride(DIMS);
    let floats = vec![0.5; 3000 * stride];
    let chunks: Vec<&[f32]> = floats.chunks(stride << LOG2).collect();
    let rows = Rows::new(DIMS, LOG2, &chunks, 3000);
    let mut graph = Graph::new(Params { ef_construction: 20, ..Params::new(DIMS, Metric::L2) });
    let proceed = &mut |_| ControlFlow::Continue(());
    assert!(graph.insert_until(&rows, 3000, &Executor::Serial, proceed).is_continue());
    let counted = allocation_counter::measure(|| assert_eq!(graph.clone().len(), 3000));
    assert!(counted.bytes_max < 500, "{} bytes", counted.bytes_max);
}
