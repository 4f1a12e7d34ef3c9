//! What every crate takes from the workspace: lints and the fields of its package.

use crate::fault::{Fault, check};
use crate::manifest::Manifest;
use crate::tree::Tree;

const FIELDS: [&str; 4] = ["version", "edition", "rust-version", "license"];

pub(crate) fn workspace_lints(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in tree.manifests() {
        if !Manifest::of(source).has("lints", "workspace", "true") {
            let what = "`[lints] workspace = true` is missing";
            faults.push(Fault::new(&source.path, 1, "every crate has the workspace's lints", what));
        }
    }
    faults
}

pub(crate) fn workspace_fields(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in tree.manifests() {
        let manifest = Manifest::of(source);
        for field in FIELDS {
            if !manifest.has("package", &format!("{field}.workspace"), "true") {
                let what = format!("`{field}.workspace = true` is missing");
                let rule = "packages inherit their fields";
                faults.push(Fault::new(&source.path, 1, rule, what));
            }
        }
    }
    faults
}

#[test]
fn a_crate_without_the_lints_is_caught() {
    let files = [
        ("Cargo.toml", "[workspace]\n"),
        ("a/Cargo.toml", "[package]\n[lints]\nworkspace = true\n"),
        ("b/Cargo.toml", "[package]\nlints.workspace = true\n"),
        ("c/Cargo.toml", "[package]\n[lints]\n# workspace = true\n"),
        ("d/Cargo.toml", "lints.workspace = true\n"),
    ];
    check(workspace_lints, &files, &[("b/Cargo.toml", 1), ("c/Cargo.toml", 1)]);
}

#[test]
fn a_field_of_its_own_is_caught() {
    let whole = FIELDS.map(|field| format!("{field}.workspace = true\n")).concat();
    let good = format!("[package]\n{whole}");
    let faulty = good.replace("edition.workspace = true", "edition = \"2021\"");
    let files = [("a/Cargo.toml", good.as_str()), ("b/Cargo.toml", &faulty)];
    check(workspace_fields, &files, &[("b/Cargo.toml", 1)]);
}
