//! A search that is warm takes no memory. In a program of its own, for its allocator counts.

use std::ops::ControlFlow;

use gannet_hnsw::{
    Code, Executor, Graph, Metric, Params, Rows, SearchContext, normalise, row_stride,
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
    for metric in Metric::ALL {
        for code in Code::ALL.into_iter().filter(|code| code.fits(metric)) {
            let rows = Rows::new(DIMS, LOG2, &chunks, 3000);
            let mut graph = Graph::new(Params { code: code.into(), ..Params::new(DIMS, metric) });
            let proceed = &mut |_| ControlFlow::Continue(());
            assert!(graph.insert_until(&rows, 3000, &Executor::Serial, proceed).is_continue());

            let mut context = SearchContext::new();
            let mut found = Vec::new();
            let is_even = |row: u32| row.is_multiple_of(2);
            let mut search = |row: u32, live: Option<&dyn Fn(u32) -> bool>| {
                found.clear();
                graph.search(&rows, rows.row(row), 10, 100, live, &mut context, &mut found);
                assert_eq!(found.len(), 10);
            };
            for live in [None, Some(&is_even as &dyn Fn(u32) -> bool)] {
                (0..3000).step_by(3).for_each(|row| search(row, live));
                let counted = allocation_counter::measure(|| {
                    (0..3000).step_by(3).for_each(|row| search(row, live));
                });
                assert_eq!(counted.count_total, 0, "{metric}, {code}, {}", live.is_some());
            }
        }
    }
}
