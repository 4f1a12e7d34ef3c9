//! Choosing a code: what is chosen for which rows, when, and that it is the same everywhere.

use std::ops::ControlFlow;

use gannet_hnsw::{
    CHOICE_ROWS_MIN, Code, CodeChoice, Executor, Graph, Isa, Metric, Params, next_batch_end,
};

use crate::data::{Vectors, image, links, params};

const DIMS: u32 = 40;

fn auto(metric: Metric) -> Params {
    Params { ef_construction: 20, m: 8, code: CodeChoice::Auto, ..params(DIMS, metric) }
}

/// Just as many rows as it takes, and one more batch.
fn rows_of_a_choice() -> u32 {
    let mut len = 0;
    while len < CHOICE_ROWS_MIN {
        len = next_batch_end(len);
    }
    next_batch_end(len)
}

/// Rows of which six numbers say all, as those of real sets are made of fewer than they have.
fn plain() -> Vectors {
    let few = Vectors::clustered(31, rows_of_a_choice(), 6, 60);
    let axes = Vectors::clustered(33, 6, DIMS, 6);
    let mut made = Vectors::of(DIMS, Vec::new());
    for row in 0..few.len() {
        let mut vector = [0.0; DIMS as usize];
        for (axis, share) in (0..6).zip(few.row(row)) {
            for (component, part) in vector.iter_mut().zip(axes.row(axis)) {
                *component += share * part;
            }
        }
        made.push(&vector);
    }
    made
}

/// With the first component of every row as `first` makes it of the row's number.
fn with_first(vectors: &Vectors, first: impl Fn(u32) -> f32) -> Vectors {
    let mut changed = Vectors::of(DIMS, Vec::new());
    for row in 0..vectors.len() {
        let mut vector = vectors.row(row)[..DIMS as usize].to_vec();
        vector[0] = first(row);
        changed.push(&vector);
    }
    changed
}

#[test]
fn the_shortest_code_that_finds_as_much_is_chosen() {
    let exec = Executor::threads(2).unwrap();
    let chosen = |vectors: &Vectors| vectors.graph_on(auto(Metric::L2), &exec).code();
    assert_eq!(chosen(&plain()), Code::Sq4);
    // Half a byte for each of 16 is not shorter than a byte: both are filled up.
    let short = Vectors::clustered(31, rows_of_a_choice(), 16, 60);
    let of_16 = Params { dims: 16, ..auto(Metric::L2) };
    assert_eq!(short.graph_on(of_16, &exec).code(), Code::Sq8);
    // Rows of a cluster are nearly at one distance from each other.
    let clustered = Vectors::clustered(31, rows_of_a_choice(), DIMS, 60);
    assert_eq!(chosen(&clustered), Code::Sq8);
    // A step of all components is as long as the longest asks for.
    assert_eq!(chosen(&with_first(&plain(), |_| 1024.0)), Code::F16);
    // Of numbers of this size, one in 32 has a form of sixteen bits.
    assert_eq!(
        chosen(&with_first(&plain(), |row| 40_000.0 + f32::from(u8::try_from(row % 64).unwrap()))),
        Code::None
    );
}

#[test]
fn few_rows_have_bytes_and_rows_of_bits_have_bits() {
    let len = rows_of_a_choice();
    let mut graph = Graph::new(auto(Metric::L2));
    assert_eq!(graph.code(), Code::Sq8);
    let vectors = plain();
    let mut end = 0;
    while end < len {
        let chosen = if end < CHOICE_ROWS_MIN { Code::Sq8 } else { Code::Sq4 };
        end = next_batch_end(end).min(len);
        vectors.insert_until(&mut graph, end, &Executor::Serial);
        assert_eq!(graph.code(), chosen, "{end} rows");
    }
    let few = Vectors::clustered(32, 500, DIMS, 5);
    let of_bytes = few.clone().coded(Code::Sq8).graph(Metric::L2);
    let of_choice = few
        .graph_on(Params { code: CodeChoice::Auto, ..params(DIMS, Metric::L2) }, &Executor::Serial);
    assert_eq!(links(&of_choice), links(&of_bytes));
    let bits = plain().fit(Metric::Hamming);
    assert_eq!(bits.graph_on(auto(Metric::Hamming), &Executor::Serial).code(), Code::Bit);
}

#[test]
fn what_is_chosen_is_the_same_on_any_threads_and_instruction_set() {
    let vectors = plain();
    let expect = image(&vectors.graph_on(auto(Metric::L2), &Executor::Serial));
    for threads in [2, 3, 8] {
        let graph = vectors.graph_on(auto(Metric::L2), &Executor::threads(threads).unwrap());
        assert!(image(&graph) == expect, "{threads} threads");
    }
    for isa in Isa::available().into_iter().filter(|isa| *isa != Isa::detect()) {
        let mut graph = Graph::new(auto(Metric::L2)).with_isa(isa);
        vectors.insert_until(&mut graph, vectors.len(), &Executor::threads(2).unwrap());
        assert!(image(&graph) == expect, "{}", isa.name());
    }
}

/// Also in the middle, with codes of builds that are not in an image.
#[test]
fn a_graph_that_was_read_again_goes_on_as_it_would_have() {
    let vectors = plain();
    let (len, exec) = (vectors.len(), Executor::threads(2).unwrap());
    for code in [CodeChoice::Auto, Code::Sq4.into(), Code::Bit.into()] {
        let params = Params { code, ..auto(Metric::L2) };
        let mut graph = Graph::new(params.clone());
        for (end, after) in [(700, 900), (CHOICE_ROWS_MIN, len - 30), (len - 20, len)] {
            vectors.insert_until(&mut graph, end, &exec);
            let mut read = Graph::decode(&image(&graph), end, &params).unwrap();
            assert_eq!((read.code(), read.memory().build_codes), (graph.code(), 0));
            let [a, b] = [&mut graph, &mut read].map(|graph| {
                vectors.insert_until(graph, after, &exec);
                image(graph)
            });
            assert!(a == b, "{code}, {end} rows");
        }
        let read = Graph::decode(&image(&graph), len, &params).unwrap();
        let [a, b] = [graph, read].map(|mut graph| {
            let proceed = &mut |_| ControlFlow::Continue(());
            let flow = vectors.with_rows(|rows| graph.relink(rows, &exec, proceed));
            assert!(flow.is_continue());
            image(&graph)
        });
        assert!(a == b, "{code}, linked anew");
    }
}

#[test]
fn a_choice_that_is_cut_short_changes_nothing_and_one_made_again_is_the_same() {
    let vectors = plain();
    let mut graph = vectors.graph_on(auto(Metric::L2), &Executor::Serial);
    let before = image(&graph);
    let mut calls = 0;
    loop {
        let mut left = calls;
        let flow = vectors.with_rows(|rows| {
            graph.choose_code(rows, &Executor::Serial, &mut || {
                left -= 1;
                if left < 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        assert!(image(&graph) == before, "after {calls} calls");
        if flow.is_continue() {
            break;
        }
        calls += 1;
    }
    assert!(calls > 1);
}

#[test]
fn other_graphs_choose_nothing() {
    let vectors = plain();
    for code in [Code::Sq8, Code::None] {
        let params = Params { code: code.into(), ..auto(Metric::L2) };
        let mut graph = vectors.graph_on(params, &Executor::threads(2).unwrap());
        let before = image(&graph);
        let mut never = || panic!("nothing to do");
        let flow = vectors.with_rows(|rows| graph.choose_code(rows, &Executor::Serial, &mut never));
        assert!(flow.is_continue() && image(&graph) == before, "{code}");
    }
}
