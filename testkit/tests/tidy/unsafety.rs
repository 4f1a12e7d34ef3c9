//! Where unsafe code may stand, and that each piece of it says why it is sound.

use crate::code::has_word;
use crate::fault::{Fault, check};
use crate::tree::Tree;

/// The files of chapter 2 of the design; the kernels are a folder, one file an instruction set.
const ALLOWED: [&str; 6] = [
    "storage-api/src/buf.rs",
    "backend-uring/src/linux/ring.rs",
    "backend-uring/src/linux/facade/buf.rs",
    "backend-mmap/src/map.rs",
    "hnsw/src/kernel/",
    "hnsw/src/memory.rs",
];

/// How far above unsafe code its reason may begin.
const LINES_ABOVE: usize = 6;

pub(crate) fn only_where_allowed(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (source, code) in tree.rust() {
        let is_allowed = |place: &str| {
            source.path == place || (place.ends_with('/') && source.path.starts_with(place))
        };
        if ALLOWED.into_iter().any(is_allowed) {
            continue;
        }
        for (line, text) in code.lines() {
            if has_word(text, "unsafe") {
                let what = format!("allowed in {} alone", ALLOWED.join(", "));
                let rule = "unsafe code only where the design has it";
                faults.push(Fault::new(&source.path, line, rule, what));
            }
        }
    }
    faults
}

/// The reason is nearer than any other unsafe code above, so that one does not serve two.
pub(crate) fn with_its_reason(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (source, code) in tree.rust() {
        let (mut reason, mut last) = (0, 0);
        for ((line, text), (_, comment)) in code.lines().zip(code.comments()) {
            if comment.contains("SAFETY:") || comment.contains("# Safety") {
                reason = line;
            }
            if has_word(text, "unsafe") {
                if reason <= last || reason + LINES_ABOVE < line {
                    let what =
                        format!("no `SAFETY:` or `# Safety` in the {LINES_ABOVE} lines above");
                    faults.push(Fault::new(
                        &source.path,
                        line,
                        "unsafe code gives its reason",
                        what,
                    ));
                }
                last = line;
            }
        }
    }
    faults
}

pub(crate) fn roots_shut_it_out(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (source, code) in tree.rust() {
        let Some((_, inner)) = source.path.split_once('/') else { continue };
        let is_root =
            matches!(inner, "src/lib.rs" | "src/main.rs") || inner.starts_with("src/bin/");
        let mut shut = ["#![forbid(unsafe_code)]", "#![deny(unsafe_code)]"].into_iter();
        if is_root && !shut.any(|attribute| code.lines().any(|(_, line)| line.trim() == attribute))
        {
            let what = "`#![forbid(unsafe_code)]`, or `deny` where one file may, is missing";
            faults.push(Fault::new(&source.path, 1, "every crate shuts unsafe code out", what));
        }
    }
    faults
}

#[test]
fn unsafe_code_in_another_file_is_caught() {
    let text = "//! unsafe { }\nfn f() { let s = \"unsafe { }\"; }\nfn g() { unsafe { h() } }\n";
    let files = [
        ("backend-std/src/file.rs", text),
        ("storage-api/src/buf.rs", text),
        ("hnsw/src/kernel/avx2.rs", text),
        ("hnsw/src/kernel_of.rs", text),
        ("hnsw/src/memory.rs", text),
        ("backend-uring/src/linux/ring.rs", text),
    ];
    check(
        only_where_allowed,
        &files,
        &[("backend-std/src/file.rs", 3), ("hnsw/src/kernel_of.rs", 3)],
    );
}

#[test]
fn every_form_of_unsafe_code_is_caught() {
    for form in [
        "unsafe { f() }",
        "unsafe fn f() {}",
        "pub unsafe trait T {}",
        "unsafe impl Send for T {}",
        "unsafe extern \"C\" {}",
        "#[unsafe(no_mangle)]",
    ] {
        let text = format!("//! x\n{form}\n");
        check(only_where_allowed, &[("cli/src/main.rs", &text)], &[("cli/src/main.rs", 2)]);
        check(with_its_reason, &[("cli/src/main.rs", &text)], &[("cli/src/main.rs", 2)]);
    }
    check(only_where_allowed, &[("a/src/lib.rs", "#![forbid(unsafe_code)]\n")], &[]);
}

#[test]
fn unsafe_code_without_its_reason_is_caught() {
    let near = "// SAFETY: it holds.\n\n\n\n\n\nunsafe { f() }\n";
    let far = "// SAFETY: it holds.\n\n\n\n\n\n\nunsafe { f() }\n";
    let documented = "/// # Safety\n/// It holds.\nunsafe fn f() {}\n";
    let shared = "// SAFETY: it holds.\nunsafe { f() }\nunsafe { g() }\n";
    let quoted = "let s = \"SAFETY: no\";\nunsafe { f() }\n";
    let files = [
        ("near.rs", near),
        ("far.rs", far),
        ("documented.rs", documented),
        ("shared.rs", shared),
        ("quoted.rs", quoted),
    ];
    check(with_its_reason, &files, &[("far.rs", 8), ("shared.rs", 3), ("quoted.rs", 2)]);
}

#[test]
fn a_crate_root_that_lets_unsafe_code_in_is_caught() {
    let files = [
        ("a/src/lib.rs", "//! x\n#![forbid(unsafe_code)]\n"),
        ("b/src/lib.rs", "//! x\n#![deny(unsafe_code)]\n"),
        ("c/src/lib.rs", "//! x\n// #![forbid(unsafe_code)]\n"),
        ("d/src/main.rs", "//! x\n"),
        ("d/src/bin/e.rs", "//! x\n"),
        ("d/src/inner.rs", "//! x\n"),
    ];
    let expect = [("c/src/lib.rs", 1), ("d/src/main.rs", 1), ("d/src/bin/e.rs", 1)];
    check(roots_shut_it_out, &files, &expect);
}
