//! The house rules, held to the whole workspace by `cargo test`.
//!
//! Each rule is a function from the tree to its faults, in a module of its own, beside self-tests
//! that plant a fault and see it caught. The tests here run every rule over the project as it
//! stands. A fault names file, line and rule; `CONTRIBUTING.md` says why the rules are there.

#![forbid(unsafe_code)]

mod anchors;
mod code;
mod dependencies;
mod fault;
mod inheritance;
mod leftovers;
mod links;
mod manifest;
mod places;
mod shape;
mod tree;
mod unsafety;

use fault::{Rule, report};
use tree::Tree;

#[track_caller]
fn check(rules: &[Rule]) {
    let tree = Tree::of_workspace();
    let faults: Vec<_> = rules.iter().flat_map(|rule| rule(&tree)).collect();
    assert!(faults.is_empty(), "{}", report(&faults));
}

#[test]
fn every_source_file_has_the_shape_of_the_house() {
    check(&[
        shape::at_most_600_lines,
        shape::at_most_100_columns,
        shape::ascii_alone,
        shape::module_doc_first,
        shape::no_file_named_for_nothing,
    ]);
}

#[test]
fn unsafe_code_stands_where_it_may_and_says_why_it_is_sound() {
    check(&[unsafety::only_where_allowed, unsafety::with_its_reason, unsafety::roots_shut_it_out]);
}

#[test]
fn crates_depend_on_each_other_as_the_design_has_it() {
    check(&[
        dependencies::storage_api_stands_on_std,
        dependencies::ours_as_allowed,
        dependencies::backends_are_optional_in_the_engine,
        dependencies::backends_are_named_in_one_folder,
    ]);
}

#[test]
fn every_crate_inherits_lints_and_package_fields() {
    check(&[inheritance::workspace_lints, inheritance::workspace_fields]);
}

#[test]
fn links_in_the_documents_resolve() {
    check(&[links::resolve]);
}

#[test]
fn nothing_unfinished_is_left() {
    check(&[leftovers::no_unfinished_work, leftovers::no_ignored_test]);
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    check(&[places::no_path_of_a_machine]);
}
