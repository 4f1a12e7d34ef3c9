//! Marks of work that was not finished.

use crate::code::has_word;
use crate::fault::{Fault, check};
use crate::tree::Tree;

const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];
const WORDS: [&str; 3] = ["TODO", "FIXME", "XXX"];

pub(crate) fn no_unfinished_work(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (source, code) in tree.rust() {
        for ((line, text), (_, comment)) in code.lines().zip(code.comments()) {
            let is_called =
                |name: &&&str| has_word(text, name) && text.contains(&format!("{name}!"));
            let macros = MACROS.iter().find(is_called).map(|name| format!("`{name}!`"));
            let word = WORDS.iter().find(|word| has_word(comment, word));
            if let Some(what) = macros.or(word.map(|word| format!("`{word}`"))) {
                faults.push(Fault::new(&source.path, line, "nothing unfinished is left", what));
            }
        }
    }
    faults
}

pub(crate) fn no_ignored_test(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (source, code) in tree.rust() {
        for (line, text) in code.lines() {
            if text.trim_start().starts_with("#[") && has_word(text, "ignore") {
                let what = "a test that does not run proves nothing";
                faults.push(Fault::new(&source.path, line, "no test is ignored", what));
            }
        }
    }
    faults
}

#[test]
fn unfinished_work_is_caught() {
    let text = "//! x\n\
                fn f() { todo!() }\n\
                fn g() { unimplemented!(\"x\") }\n\
                fn h() { dbg!(1); }\n\
                // TODO: more\n\
                /* FIXME */\n\
                fn todo() { let s = \"todo!() TODO\"; }\n\
                #[expect(clippy::todo, reason = \"x\")]\n\
                // todo in small letters, and TODOS\n";
    let expect = [2, 3, 4, 5, 6].map(|line| ("a.rs", line));
    check(no_unfinished_work, &[("a.rs", text), ("a.md", text)], &expect);
}

#[test]
fn an_ignored_test_is_caught() {
    let text = "#[test]\n#[ignore]\nfn f() {}\n#[ignore = \"slow\"]\n#[cfg_attr(miri, ignore)]\n\
                fn ignore() {}\n// #[ignore]\n";
    let expect = [2, 4, 5].map(|line| ("a.rs", line));
    check(no_ignored_test, &[("a.rs", text)], &expect);
}
