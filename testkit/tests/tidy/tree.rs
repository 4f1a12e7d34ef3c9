//! The files of the project, in memory: what every rule reads.
//!
//! Walks the tree by itself, so that the rules need no git and see a file before it is committed.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use crate::code::Code;

/// Directories that hold nothing of ours, at any depth.
const SKIPPED: [&str; 2] = [".git", "target"];
/// A package outside of the workspace, with dependencies that the house would not have.
const OUTSIDE: &str = "benches/compare";

/// A text file.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the root of the workspace, with `/` between its parts.
    pub(crate) path: String,
    pub(crate) text: String,
    /// What is code and what is comment, for Rust.
    pub(crate) code: Option<Code>,
}

/// Everything in the workspace.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Files that are UTF-8, by path.
    sources: Vec<Source>,
    /// Every file, text or not, and every directory; the root is the empty path.
    places: BTreeSet<String>,
}

impl Tree {
    /// The workspace that this test belongs to.
    ///
    /// # Panics
    /// If it cannot be read.
    pub(crate) fn of_workspace() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut tree = Self::default();
        tree.walk(&root, "")
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", root.display()));
        let has = |path: &str| tree.places.contains(path);
        assert!(
            has("Cargo.toml") && has("storage-api/src/lib.rs"),
            "not the root: {}",
            root.display()
        );
        tree.sources.sort_by(|a, b| a.path.cmp(&b.path));
        tree
    }

    /// A tree of these files (path, text), for self-tests.
    pub(crate) fn of_texts(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        tree.places.insert(String::new());
        for (path, text) in files {
            let ends = path.match_indices('/').map(|(end, _)| path[..end].to_owned());
            tree.places.extend(ends);
            tree.push(path, (*text).to_owned());
        }
        tree
    }

    #[expect(clippy::disallowed_methods, reason = "a tool that reads sources, not a database")]
    fn walk(&mut self, dir: &Path, path: &str) -> io::Result<()> {
        self.places.insert(path.to_owned());
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name
                .to_str()
                .ok_or_else(|| io::Error::other(format!("{}: not UTF-8", name.display())))?;
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if !SKIPPED.contains(&name) && path != OUTSIDE {
                    self.walk(&entry.path(), &path)?;
                }
            } else if kind.is_file() {
                match String::from_utf8(fs::read(entry.path())?) {
                    Ok(text) => self.push(&path, text),
                    Err(_) => _ = self.places.insert(path),
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, path: &str, text: String) {
        self.places.insert(path.to_owned());
        let mut source = Source { path: path.to_owned(), text, code: None };
        if source.has_extension("rs") {
            source.code = Some(Code::of(&source.text));
        }
        self.sources.push(source);
    }

    /// Every text file.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter()
    }

    /// Every Rust file with its code.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&Source, &Code)> {
        self.sources.iter().filter_map(|source| Some((source, source.code.as_ref()?)))
    }

    /// Every manifest of a crate: `<crate>/Cargo.toml`.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.path.ends_with("/Cargo.toml"))
    }

    /// The text file at `path`.
    pub(crate) fn source(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.path == path)
    }

    /// Whether there is a file or a directory at `path`.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.places.contains(path)
    }
}

impl Source {
    /// Whether the name ends in `.extension`.
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// Lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }
}

#[test]
fn the_walk_finds_the_project_and_skips_what_is_not_ours() {
    let tree = Tree::of_workspace();
    assert!(tree.source("testkit/tests/tidy/tree.rs").is_some(), "this file");
    assert!(tree.rust().count() > 50 && tree.manifests().count() >= 9);
    let foreign = |path: &String| {
        path.split('/').any(|part| SKIPPED.contains(&part)) || path.starts_with(OUTSIDE)
    };
    assert!(!tree.places.iter().any(foreign));
    assert!(tree.has("engine/src") && tree.has("") && !tree.has("engine/src/"));
}
