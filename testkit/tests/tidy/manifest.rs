//! A crate's `Cargo.toml`, read line by line: its sections, its fields, its dependencies.
//!
//! Enough of TOML for manifests as cargo and people write them: a table header, a key or a piece of
//! an array on a line.

use crate::tree::Source;

/// When a dependency is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// In the library or program itself, also for some targets only.
    Normal,
    /// In tests, examples and benches.
    Dev,
    /// In the build script.
    Build,
}

/// A line `key = value`.
#[derive(Debug)]
struct Entry<'a> {
    line: usize,
    /// The table it stands in, as written between the brackets.
    table: &'a str,
    key: &'a str,
    value: &'a str,
}

#[derive(Debug)]
pub(crate) struct Dependency<'a> {
    pub(crate) line: usize,
    /// The package, not the name it is given here.
    pub(crate) package: &'a str,
    pub(crate) when: When,
    pub(crate) is_optional: bool,
}

#[derive(Debug)]
pub(crate) struct Manifest<'a> {
    entries: Vec<Entry<'a>>,
    /// Headers of tables, with their lines.
    tables: Vec<(usize, &'a str)>,
}

impl<'a> Manifest<'a> {
    pub(crate) fn of(source: &'a Source) -> Self {
        let mut manifest = Self { entries: Vec::new(), tables: Vec::new() };
        let (mut table, mut depth) = ("", 0_i32);
        for (line, text) in source.lines() {
            let text = without_comment(text).trim();
            let header = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            if let (0, Some(header)) = (depth, header) {
                table = header.trim_matches(['[', ']']);
                manifest.tables.push((line, table));
                continue;
            }
            if let (0, Some((key, value))) = (depth, text.split_once('=')) {
                let (key, value) = (key.trim(), value.trim());
                manifest.entries.push(Entry { line, table, key, value });
            }
            depth += brackets(text);
        }
        manifest
    }

    /// Whether `table` has the field `key` with this value; `a.b = c` and `[a] b = c` are the same.
    pub(crate) fn has(&self, table: &str, key: &str, value: &str) -> bool {
        let path = format!("{table}.{key}");
        let at = |entry: &Entry<'_>| match entry.table {
            "" => entry.key == path,
            table => format!("{table}.{}", entry.key) == path,
        };
        self.entries.iter().any(|entry| at(entry) && entry.value == value)
    }

    /// `package.name`, quotes taken off.
    pub(crate) fn name(&self) -> Option<&'a str> {
        let is_name = |entry: &&Entry<'_>| entry.table == "package" && entry.key == "name";
        self.entries.iter().find(is_name).map(|entry| unquoted(entry.value))
    }

    pub(crate) fn dependencies(&self) -> Vec<Dependency<'a>> {
        let mut found = Vec::new();
        for entry in &self.entries {
            let Some((when, "")) = section(entry.table) else { continue };
            let name = unquoted(entry.key.split('.').next().unwrap_or(entry.key));
            let package = field(entry.value, "package").map_or(name, unquoted);
            let is_optional = field(entry.value, "optional") == Some("true");
            found.push(Dependency { line: entry.line, package, when, is_optional });
        }
        // `[dependencies.name]` with a line a field.
        for &(line, table) in &self.tables {
            let Some((when, name)) = section(table).filter(|(_, name)| !name.is_empty()) else {
                continue;
            };
            let value = |key: &str| {
                let is_it = |entry: &&Entry<'_>| entry.table == table && entry.key == key;
                self.entries.iter().find(is_it).map(|entry| entry.value)
            };
            let package = value("package").map_or(unquoted(name), unquoted);
            let is_optional = value("optional") == Some("true");
            found.push(Dependency { line, package, when, is_optional });
        }
        found
    }
}

/// What a table of dependencies is for, and the dependency it is all about (or nothing).
fn section(table: &str) -> Option<(When, &str)> {
    let table = match table.strip_prefix("target.") {
        // The condition may hold dots; what follows it does not.
        Some(rest) => &rest[rest.find("dependencies").map(|end| rest[..end].rfind('.'))?? + 1..],
        None => table,
    };
    let sections = [
        ("dependencies", When::Normal),
        ("dev-dependencies", When::Dev),
        ("build-dependencies", When::Build),
    ];
    sections.into_iter().find_map(|(name, when)| {
        let rest = table.strip_prefix(name)?;
        if rest.is_empty() { Some((when, "")) } else { Some((when, rest.strip_prefix('.')?)) }
    })
}

/// The value of `key` in an inline table.
fn field<'a>(value: &'a str, key: &str) -> Option<&'a str> {
    let inside = value.strip_prefix('{')?.strip_suffix('}')?;
    inside.split(',').find_map(|part| {
        let (found, value) = part.split_once('=')?;
        (found.trim() == key).then_some(value.trim())
    })
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '\''])
}

fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') => return &line[..at],
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    line
}

/// Brackets opened less brackets closed.
fn brackets(text: &str) -> i32 {
    text.chars()
        .map(|c| match c {
            '[' | '{' => 1,
            ']' | '}' => -1,
            _ => 0,
        })
        .sum()
}

#[track_caller]
fn check(text: &str, expect: &[(usize, &str, When, bool)]) {
    let source = Source { path: String::new(), text: text.to_owned(), code: None };
    let manifest = Manifest::of(&source);
    let found: Vec<_> = manifest
        .dependencies()
        .iter()
        .map(|found| (found.line, found.package, found.when, found.is_optional))
        .collect();
    assert_eq!(found, expect, "in {text:?}");
}

#[test]
fn dependencies_are_found_however_they_are_written() {
    check("[dependencies]\na = \"1\"\n", &[(2, "a", When::Normal, false)]);
    check("[dependencies]\na.workspace = true # b = 1\n", &[(2, "a", When::Normal, false)]);
    check("[dependencies]\n\"a\" = { path = \"x\" }\n", &[(2, "a", When::Normal, false)]);
    check(
        "[dev-dependencies]\na = { package = \"b\", optional = true }\n",
        &[(2, "b", When::Dev, true)],
    );
    check("[build-dependencies]\na = \"1\"\n", &[(2, "a", When::Build, false)]);
    check(
        "[target.'cfg(a = \"x.y\")'.dependencies]\na = \"1\"\n",
        &[(2, "a", When::Normal, false)],
    );
    check("[target.x.dev-dependencies]\na = \"1\"\n", &[(2, "a", When::Dev, false)]);
    check("[dependencies.a]\npackage = \"b\"\noptional = true\n", &[(1, "b", When::Normal, true)]);
    check("[target.x.dependencies.a]\npath = \"y\"\n", &[(1, "a", When::Normal, false)]);
    check(
        "[dependencies]\na = { features = [\n  \"b = c\",\n] }\nd = \"1\"\n",
        &[(2, "a", When::Normal, false), (5, "d", When::Normal, false)],
    );
    check("[features]\na = [\"dep:b\"]\n[package.metadata.dependencies]\nc = \"1\"\n", &[]);
}

#[test]
fn fields_are_found_in_their_table() {
    let text = "[package]\nname = \"a\"\nedition.workspace = true\n[lints]\nworkspace = true\n";
    let source = Source { path: String::new(), text: text.to_owned(), code: None };
    let manifest = Manifest::of(&source);
    assert_eq!(manifest.name(), Some("a"));
    assert!(manifest.has("package", "edition.workspace", "true"));
    assert!(manifest.has("lints", "workspace", "true"));
    assert!(!manifest.has("package", "version.workspace", "true"));
    assert!(!manifest.has("package", "workspace", "true"));
}
