//! Paths of one machine: what names one works nowhere else.

use crate::fault::{Fault, check};
use crate::tree::Tree;

/// First parts of paths that are somebody's.
const OWNED: [&str; 4] = ["work", "root", "home", "Users"];

/// In every text file: sources, documents, manifests, scripts.
pub(crate) fn no_path_of_a_machine(tree: &Tree) -> Vec<Fault> {
    let places = OWNED.map(|part| format!("/{part}/"));
    let mut faults = Vec::new();
    for source in tree.sources() {
        for (line, text) in source.lines() {
            let stands = |place: &&String| {
                let starts = text.match_indices(place.as_str()).map(|(start, _)| start);
                starts.into_iter().any(|start| !text[..start].ends_with(is_of_longer_path))
            };
            if let Some(place) = places.iter().find(stands) {
                let what = format!("a path under `{place}`");
                faults.push(Fault::new(&source.path, line, "no path of one machine", what));
            }
        }
    }
    faults
}

/// Whether a slash behind this goes on with a path, or an address, that began earlier.
fn is_of_longer_path(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | ')' | '~')
}

#[test]
fn a_path_of_one_machine_is_caught() {
    for part in OWNED {
        let text = format!("//! x\nlet p = \"/{part}/me/data\";\n");
        let files = [("a.rs", text.as_str()), ("b.md", &text), ("ci", &text)];
        check(no_path_of_a_machine, &files, &[("a.rs", 2), ("b.md", 2), ("ci", 2)]);
    }
}

#[test]
fn a_part_of_another_path_passes() {
    for part in OWNED {
        let text = format!(
            "src/{part}/x ../{part}/x ${{HOME}}/{part}/x ~/{part}/x /{part}ing/x /{part}\n"
        );
        check(no_path_of_a_machine, &[("a.md", &text)], &[]);
    }
}
