//! A broken rule, and how it is told.

use std::fmt;

use crate::tree::Tree;

/// A rule of the house: the tree in, its faults out, in the order of files and lines.
pub(crate) type Rule = fn(&Tree) -> Vec<Fault>;

/// One place where one rule is broken. Displays as `file:line: what (rule)`, which editors follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) path: String,
    /// From 1.
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

impl Fault {
    pub(crate) fn new(
        path: &str,
        line: usize,
        rule: &'static str,
        what: impl Into<String>,
    ) -> Self {
        Self { path: path.to_owned(), line, rule, what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} ({})", self.path, self.line, self.what, self.rule)
    }
}

/// All faults, one a line, and their number.
pub(crate) fn report(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(|fault| format!("\n  {fault}")).collect();
    format!("{} faults against the rules of the house:{}", faults.len(), lines.concat())
}

/// Runs a rule over a tree of `files` (path, text) and expects faults at exactly the places given.
#[track_caller]
pub(crate) fn check(rule: Rule, files: &[(&str, &str)], expect: &[(&str, usize)]) {
    let found = rule(&Tree::of_texts(files));
    let places: Vec<_> = found.iter().map(|fault| (fault.path.as_str(), fault.line)).collect();
    assert_eq!(places, expect, "{}", report(&found));
}

#[test]
fn a_fault_is_told_by_file_line_and_rule() {
    let fault = Fault::new("hnsw/src/lib.rs", 7, "some rule", "this is wrong");
    assert_eq!(fault.to_string(), "hnsw/src/lib.rs:7: this is wrong (some rule)");
    let all = report(&[fault.clone(), fault]);
    assert!(all.starts_with("2 faults") && all.lines().count() == 3, "{all}");
}
