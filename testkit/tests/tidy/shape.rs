//! The shape of a source file: length, width, letters, module doc, name.

use crate::fault::{Fault, check};
use crate::tree::Tree;

const LINES_MAX: usize = 600;
const COLUMNS_MAX: usize = 100;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] =
    ["util", "utils", "common", "helper", "helpers", "misc", "types", "core"];

pub(crate) fn at_most_600_lines(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (source, _) in tree.rust() {
        let lines = source.lines().count();
        if lines > LINES_MAX {
            let what = format!("{lines} lines: split it, one concept a file");
            faults.push(Fault::new(&source.path, LINES_MAX + 1, "at most 600 lines a file", what));
        }
    }
    faults
}

pub(crate) fn at_most_100_columns(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (source, _) in tree.rust() {
        for (line, text) in source.lines() {
            let columns = text.chars().count();
            if columns > COLUMNS_MAX {
                let what = format!("{columns} columns");
                faults.push(Fault::new(&source.path, line, "at most 100 columns a line", what));
            }
        }
    }
    faults
}

pub(crate) fn ascii_alone(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (source, _) in tree.rust() {
        for (line, text) in source.lines() {
            if let Some(found) = text.chars().find(|c| !c.is_ascii()) {
                let what = format!("`{}`: write it as an escape", found.escape_unicode());
                faults.push(Fault::new(&source.path, line, "source is ASCII", what));
            }
        }
    }
    faults
}

pub(crate) fn module_doc_first(tree: &Tree) -> Vec<Fault> {
    let is_shebang = |line: &str| line.starts_with("#!") && !line.starts_with("#![");
    let mut faults = Vec::new();
    for (source, _) in tree.rust() {
        let first = source
            .lines()
            .find(|(line, text)| !(text.trim().is_empty() || (*line == 1 && is_shebang(text))));
        let line = first.map_or(1, |(line, _)| line);
        let doc = first.and_then(|(_, text)| text.strip_prefix("//!"));
        if doc.is_none_or(|doc| doc.trim().is_empty()) {
            let what = "says what the module keeps and what it leaves to others";
            faults.push(Fault::new(&source.path, line, "a module doc (`//!`) comes first", what));
        }
    }
    faults
}

pub(crate) fn no_file_named_for_nothing(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (source, _) in tree.rust() {
        let stem = source.path.trim_end_matches(".rs");
        if let Some(name) = stem.split('/').find(|part| EMPTY_NAMES.contains(part)) {
            let what = format!("`{name}` says nothing: name it for its concept");
            faults.push(Fault::new(&source.path, 1, "a file is named for its concept", what));
        }
    }
    faults
}

#[test]
fn a_file_of_601_lines_is_caught() {
    let (long, fits) = ("//! x\n".repeat(601), "//! x\n".repeat(600));
    let files = [("a/long.rs", long.as_str()), ("a/fits.rs", &fits), ("a/long.md", &long)];
    check(at_most_600_lines, &files, &[("a/long.rs", 601)]);
}

#[test]
fn a_line_of_101_columns_is_caught() {
    let text = format!("{}\n{}\n", "x".repeat(100), "x".repeat(101));
    check(at_most_100_columns, &[("a.rs", &text), ("a.md", &text)], &[("a.rs", 2)]);
}

#[test]
fn a_letter_beyond_ascii_is_caught() {
    check(ascii_alone, &[("a.rs", "//! x\n// \u{e9}\n"), ("a.md", "\u{e9}")], &[("a.rs", 2)]);
}

#[test]
fn a_file_without_module_doc_is_caught() {
    let files = [
        ("attribute.rs", "#![forbid(unsafe_code)]\n//! x\n"),
        ("blank.rs", "\n\n//! x\n"),
        ("code.rs", "\nfn f() {}\n"),
        ("comment.rs", "// x\n"),
        ("empty.rs", ""),
        ("good.rs", "//! x\n"),
        ("hollow.rs", "//!\nfn f() {}\n"),
        ("script.rs", "#!/usr/bin/env x\n//! x\n"),
    ];
    let expect =
        [("attribute.rs", 1), ("code.rs", 2), ("comment.rs", 1), ("empty.rs", 1), ("hollow.rs", 1)];
    check(module_doc_first, &files, &expect);
}

#[test]
fn a_name_that_says_nothing_is_caught() {
    let files = [
        ("a/src/utils.rs", ""),
        ("a/src/misc/inner.rs", ""),
        ("a/src/common/mod.rs", ""),
        ("a/src/utility_of_a_row.rs", ""),
        ("a/types.md", ""),
    ];
    let expect = [("a/src/utils.rs", 1), ("a/src/misc/inner.rs", 1), ("a/src/common/mod.rs", 1)];
    check(no_file_named_for_nothing, &files, &expect);
}
