//! A taste of `examples/fuzz.rs`: what it begins with, changed at random; and all that it ever
//! found.

use gannet_testkit::fuzz::Target;
use gannet_testkit::sim::SimRng;
use std::panic::catch_unwind;

#[track_caller]
fn check(target: Target, inputs: impl Iterator<Item = Vec<u8>>) {
    for input in inputs {
        if catch_unwind(|| target.run(&input)).is_err() {
            let hex: Vec<_> = input.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("{target} {}", hex.concat());
        }
    }
}

/// Seeds, each changed in a few bytes so many times.
fn changed(target: Target, times: u64) -> impl Iterator<Item = Vec<u8>> {
    let change = |(number, input): (u64, Vec<u8>)| {
        let mut rng = SimRng::new(number);
        let mut input = input;
        for _ in 0..rng.below(6) {
            let at = rng.below(input.len());
            input[at] = u8::try_from(rng.below(256)).expect("a byte");
        }
        input
    };
    let seeds = (0..times).flat_map(move |_| target.seeds());
    (0_u64..).zip(seeds).map(change)
}

/// Inputs that broke something, as the fuzzer printed them.
const FOUND: [(Target, &str); 2] = [
    // Salvage went through each of the four billion rows that a manifest spoke of.
    (
        Target::Files,
        "0201004e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e\
         4e4e4e4e4e4e4e4e4e4e4e4e4e00000000000000004e4e4e4e4e0208020006070a00f500726f77732d30\
         3025303030303030000437ff00004e4e4e4e4e4e4e4e4e4e4eb24e4e4e4e4e4e4e4e4e4e4e4e4e4e4e4e\
         4e4e000007000000",
    ),
    // A row of more than unit length, times its length, was infinite.
    (Target::Files, "989a9a9a02050308009a9a9a9a9a9a039a9a9a9a020a0000000400bfffffff"),
];

#[test]
fn what_was_found_once_is_not_found_again() {
    for (target, hex) in FOUND {
        let (pairs, _) = hex.as_bytes().as_chunks::<2>();
        let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        check(target, std::iter::once(pairs.iter().map(byte).collect()));
    }
}

#[test]
fn graphs_are_what_was_asked_for_or_refused() {
    check(Target::Graph, changed(Target::Graph, 200));
}

#[test]
fn codes_of_no_row_mislead_walks_and_nothing_else() {
    check(Target::Codes, changed(Target::Codes, 50));
}

#[test]
fn files_of_nobody_are_a_database_or_refused() {
    check(Target::Files, changed(Target::Files, 6));
}

#[test]
fn tables_of_nobody_are_read_or_refused_and_never_written_from() {
    check(Target::Table, changed(Target::Table, 12));
}

#[test]
fn logs_of_nobody_are_a_database_or_refused() {
    check(Target::Log, changed(Target::Log, 8));
}

#[test]
fn bytes_of_nobody_are_typed_values_or_refused() {
    check(Target::Value, changed(Target::Value, 400));
}
