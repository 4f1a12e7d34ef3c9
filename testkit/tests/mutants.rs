//! The list of mutants is what the engine has: a name that stands nowhere would never be tried.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The text behind each `mark`, up to the next quote.
fn names(text: &str, mark: &str) -> BTreeSet<String> {
    let parts = text.split(mark).skip(1).filter_map(|rest| rest.split_once('"'));
    parts.map(|(name, _)| name.to_owned()).collect()
}

#[expect(clippy::disallowed_methods, reason = "a test of sources")]
fn hooks_below(folder: &Path, hooks: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the sources are here") {
        let path = entry.expect("it is listed").path();
        if path.is_dir() {
            hooks_below(&path, hooks);
        } else if path.file_name().is_some_and(|name| name != "mutants.rs") {
            let text = fs::read_to_string(&path).expect("a source is text");
            hooks.append(&mut names(&text, "mutant!(\""));
        }
    }
}

#[test]
fn every_mutant_is_listed_and_every_one_listed_is_built_in() {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src");
    let mut hooks = BTreeSet::new();
    hooks_below(&engine, &mut hooks);
    let text = fs::read_to_string(engine.join("mutants.rs")).expect("a source is text");
    let (_, list) = text.split_once("// list: begin").expect("it begins");
    let (list, _) = list.split_once("// list: end").expect("it ends");
    assert_eq!(names(list, "(\""), hooks);
    assert!(hooks.len() >= 30, "{}", hooks.len());
}
