//! Which crate of ours may depend on which: chapter 2 of the design.

use crate::code::has_word;
use crate::fault::{Fault, check};
use crate::manifest::{Dependency, Manifest, When};
use crate::tree::{Source, Tree};

const STORAGE: &str = "gannet-storage";
const TESTKIT: &str = "gannet-testkit";
const HNSW: &str = "gannet-hnsw";
const ENGINE: &str = "gannet";
const CLI: &str = "gannet-cli";
const BENCHES: &str = "gannet-benches";
const STD: &str = "gannet-backend-std";
const BACKENDS: [&str; 3] = [STD, "gannet-backend-uring", "gannet-backend-mmap"];

/// The folder of the engine that names backends.
const BACKEND_FOLDER: &str = "engine/src/backend/";

/// What a crate may use of ours: always, and besides that in its tests. `None` for a crate that has
/// no rule yet.
fn allowed(package: &str) -> Option<(Vec<&'static str>, Vec<&'static str>)> {
    let backends = || BACKENDS.to_vec();
    Some(match package {
        STORAGE | HNSW => (vec![], vec![TESTKIT]),
        STD => (vec![STORAGE], vec![TESTKIT]),
        // The directory, its lock and its names are those of the std backend.
        backend if BACKENDS.contains(&backend) => (vec![STORAGE, STD], vec![TESTKIT]),
        ENGINE => ([&[STORAGE, HNSW][..], &BACKENDS].concat(), vec![TESTKIT]),
        // Tests of one directory under several backends may stand in the testkit, which is where
        // everything meets; its library knows the contract and the engine only.
        TESTKIT => (vec![STORAGE, HNSW, ENGINE], backends()),
        CLI => (vec![STORAGE, HNSW, ENGINE, TESTKIT], vec![]),
        BENCHES => ([&[STORAGE, HNSW, ENGINE, TESTKIT, CLI][..], &BACKENDS].concat(), vec![]),
        _ => return None,
    })
}

fn is_ours(package: &str) -> bool {
    package == ENGINE || package.starts_with("gannet-")
}

fn each(tree: &Tree, mut rule: impl FnMut(&Source, &str, &Dependency<'_>)) {
    for source in tree.manifests() {
        let manifest = Manifest::of(source);
        for dependency in manifest.dependencies() {
            rule(source, manifest.name().unwrap_or(""), &dependency);
        }
    }
}

pub(crate) fn storage_api_stands_on_std(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    each(tree, |source, package, dependency| {
        if package == STORAGE && dependency.when != When::Dev {
            let what = format!("it depends on `{}`", dependency.package);
            let rule = "storage-api depends on std alone";
            faults.push(Fault::new(&source.path, dependency.line, rule, what));
        }
    });
    faults
}

pub(crate) fn ours_as_allowed(tree: &Tree) -> Vec<Fault> {
    const RULE: &str = "crates depend on each other as the design has it";
    let mut faults = Vec::new();
    for source in tree.manifests() {
        let name = Manifest::of(source).name().unwrap_or("").to_owned();
        if allowed(&name).is_none() {
            let what = format!("no rule for `{name}`: write one in {}", file!());
            faults.push(Fault::new(&source.path, 1, RULE, what));
        }
    }
    each(tree, |source, package, dependency| {
        let Some((mut may, in_tests)) = allowed(package) else { return };
        if dependency.when == When::Dev {
            may.extend(in_tests);
        }
        if is_ours(dependency.package) && !may.contains(&dependency.package) {
            let what = format!("`{package}` may not use `{}` here", dependency.package);
            faults.push(Fault::new(&source.path, dependency.line, RULE, what));
        }
    });
    faults
}

pub(crate) fn backends_are_optional_in_the_engine(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    each(tree, |source, package, dependency| {
        let is_backend = BACKENDS.contains(&dependency.package);
        if package == ENGINE && is_backend && !dependency.is_optional {
            let what = format!("`{}` is not optional", dependency.package);
            let rule = "a feature compiles each backend in";
            faults.push(Fault::new(&source.path, dependency.line, rule, what));
        }
    });
    faults
}

pub(crate) fn backends_are_named_in_one_folder(tree: &Tree) -> Vec<Fault> {
    let names = BACKENDS.map(|package| package.replace('-', "_"));
    let mut faults = Vec::new();
    for (source, code) in tree.rust() {
        if !source.path.starts_with("engine/src/") || source.path.starts_with(BACKEND_FOLDER) {
            continue;
        }
        for (line, text) in code.lines() {
            if let Some(name) = names.iter().find(|name| has_word(text, name)) {
                let what = format!("`{name}` belongs in {BACKEND_FOLDER}");
                let rule = "the engine names backends in one folder";
                faults.push(Fault::new(&source.path, line, rule, what));
            }
        }
    }
    faults
}

fn manifest(package: &str, dependencies: &str) -> String {
    format!("[package]\nname = \"{package}\"\n{dependencies}\n")
}

#[test]
fn a_dependency_of_storage_api_is_caught() {
    let faulty = manifest(STORAGE, "[dependencies]\nlibc = \"1\"\n[dev-dependencies]\nx = \"1\"");
    check(
        storage_api_stands_on_std,
        &[("storage-api/Cargo.toml", &faulty)],
        &[("storage-api/Cargo.toml", 4)],
    );
    let on_unix = manifest(STORAGE, "[target.'cfg(unix)'.dependencies]\nlibc = \"1\"");
    check(storage_api_stands_on_std, &[("s/Cargo.toml", &on_unix)], &[("s/Cargo.toml", 4)]);
    let other = manifest(HNSW, "[dependencies]\nrayon = \"1\"");
    check(storage_api_stands_on_std, &[("hnsw/Cargo.toml", &other)], &[]);
}

#[test]
fn a_dependency_against_the_design_is_caught() {
    for (package, section, dependency, is_allowed) in [
        (BACKENDS[0], "dependencies", STORAGE, true),
        (BACKENDS[0], "dependencies", "rustix", true),
        (BACKENDS[0], "dependencies", BACKENDS[1], false),
        (BACKENDS[1], "dependencies", ENGINE, false),
        (BACKENDS[2], "dependencies", BACKENDS[0], true),
        (BACKENDS[2], "dev-dependencies", BACKENDS[1], false),
        (BACKENDS[2], "dev-dependencies", TESTKIT, true),
        (BACKENDS[2], "dependencies", TESTKIT, false),
        (HNSW, "dependencies", STORAGE, false),
        (HNSW, "dev-dependencies", TESTKIT, true),
        (ENGINE, "dependencies", HNSW, true),
        (ENGINE, "dependencies", TESTKIT, false),
        (ENGINE, "build-dependencies", TESTKIT, false),
        (ENGINE, "dev-dependencies", TESTKIT, true),
        (ENGINE, "dev-dependencies", CLI, false),
        (ENGINE, "target.x.dependencies", BENCHES, false),
        (TESTKIT, "dependencies", ENGINE, true),
        (TESTKIT, "dependencies", BACKENDS[0], false),
        (CLI, "dependencies", TESTKIT, true),
        (CLI, "dependencies", BENCHES, false),
        (BENCHES, "dev-dependencies", CLI, true),
    ] {
        let text = manifest(package, &format!("[{section}]\n{dependency} = \"1\""));
        let expect: &[_] = if is_allowed { &[] } else { &[("a/Cargo.toml", 4)] };
        check(ours_as_allowed, &[("a/Cargo.toml", &text)], expect);
    }
    let renamed = manifest(HNSW, "[dependencies]\nx = { package = \"gannet-storage\" }");
    check(ours_as_allowed, &[("hnsw/Cargo.toml", &renamed)], &[("hnsw/Cargo.toml", 4)]);
}

#[test]
fn a_crate_without_a_rule_is_caught() {
    let text = manifest("gannet-new", "");
    check(ours_as_allowed, &[("new/Cargo.toml", &text)], &[("new/Cargo.toml", 1)]);
}

#[test]
fn a_backend_that_no_feature_leaves_out_is_caught() {
    let text = manifest(
        ENGINE,
        "[dependencies]\ngannet-backend-std.workspace = true\n\
         gannet-backend-mmap = { workspace = true, optional = true }",
    );
    check(
        backends_are_optional_in_the_engine,
        &[("engine/Cargo.toml", &text)],
        &[("engine/Cargo.toml", 4)],
    );
}

#[test]
fn a_backend_named_in_another_file_is_caught() {
    let text = "//! gannet_backend_std\nuse gannet_backend_std::StdStorage;\n";
    let files = [
        ("engine/src/open.rs", text),
        ("engine/src/backend/any.rs", text),
        ("cli/src/main.rs", text),
    ];
    check(backends_are_named_in_one_folder, &files, &[("engine/src/open.rs", 2)]);
}
