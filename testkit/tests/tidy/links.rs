//! Links in the documents: what a relative one points at is in the project, anchor and all.
//!
//! Links to the network are left alone: a test that needs the network tests the network.

use crate::anchors::{anchors, links};
use crate::fault::Fault;
use crate::tree::Tree;

pub(crate) fn resolve(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in tree.sources().filter(|source| source.has_extension("md")) {
        for (line, link) in links(&source.text) {
            if let Err(what) = resolve_one(tree, &source.path, link) {
                let what = format!("`{link}`: {what}");
                faults.push(Fault::new(&source.path, line, "links in documents resolve", what));
            }
        }
    }
    faults
}

fn resolve_one(tree: &Tree, from: &str, link: &str) -> Result<(), &'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(());
    }
    if link.is_empty() {
        return Err("an empty link");
    }
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (link, None),
    };
    let target = if path.is_empty() {
        from.to_owned()
    } else {
        joined(from, path).ok_or("leaves the project")?
    };
    if !tree.has(&target) {
        return Err("no such file");
    }
    let Some(anchor) = anchor else { return Ok(()) };
    let document = tree.source(&target).filter(|source| source.has_extension("md"));
    let document = document.ok_or("an anchor of what is not a document")?;
    if anchors(&document.text).contains(anchor) { Ok(()) } else { Err("no such heading") }
}

/// `path` seen from the file `from`; `None` where it is absolute or leaves the root.
fn joined(from: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[track_caller]
fn check(link: &str, is_good: bool) {
    let text = format!("# Top\n\n[x]({link})\n");
    let files = [
        ("README.md", "# Read me\n## Part\n"),
        ("docs/a.md", text.as_str()),
        ("docs/b.md", "# B\n"),
        ("engine/src/lib.rs", "//! x\n"),
    ];
    let expect: &[_] = if is_good { &[] } else { &[("docs/a.md", 3)] };
    crate::fault::check(resolve, &files, expect);
}

#[test]
fn links_to_what_is_there_pass() {
    for link in [
        "b.md",
        "./b.md#b",
        "#top",
        "../README.md#part",
        "../engine/src/lib.rs",
        "../engine/src",
        "../engine/src/",
        "..",
        "https://example.org/#x",
        "mailto:a@example.org",
    ] {
        check(link, true);
    }
}

#[test]
fn links_to_what_is_not_there_are_caught() {
    for link in [
        "c.md",
        "README.md",
        "#bottom",
        "b.md#top",
        "../engine/src/lib.rs#L1",
        "../../elsewhere.md",
        "/README.md",
        "",
        "B.md",
    ] {
        check(link, false);
    }
}
