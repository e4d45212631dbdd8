//! The tests of a binary by the paths that `cargo test` lists them under, read from the source.

use std::collections::BTreeSet;
use std::ops::Range;

use super::scan::Source;
use super::tree::Tree;

/// Where a module's text stands, and where its children's files do.
struct Place<'a> {
    tree: &'a Tree,
    source: &'a Source,
    path: Vec<String>,
    children: String,
}

/// Every test below the crate's root file `root`.
pub fn of(tree: &Tree, root: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if let Some(source) = file(tree, root) {
        let place = Place { tree, source, path: Vec::new(), children: folder(root).to_owned() };
        module(&place, 0..source.tokens.len(), &mut found);
    }
    found
}

fn file<'a>(tree: &'a Tree, path: &str) -> Option<&'a Source> {
    tree.rust.iter().find(|source| source.path == path)
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn module(place: &Place<'_>, range: Range<usize>, found: &mut BTreeSet<String>) {
    let source = place.source;
    let mut index = range.start;
    while index < range.end {
        let named = source.word(index + 1).map(str::to_owned);
        match (source.word(index), named) {
            (Some("mod"), Some(name)) if source.is(index + 2, ";") => child(place, index, name, found),
            (Some("mod"), Some(name)) if source.is(index + 2, "{") => {
                let end = source.close(index + 2);
                let children = format!("{}/{name}", place.children);
                let inner = Place { tree: place.tree, source, path: [&place.path[..], &[name]].concat(), children };
                module(&inner, index + 3..end, found);
                index = end;
                continue;
            }
            (Some("macro_rules"), _) => {
                let end = source.close(index + 3);
                let made = (index..end).any(|at| source.is(at, "fn") && source.is(at + 1, "$") && is_test(source, at));
                found.extend(made.then(|| source.word(index + 2)).flatten().map(|name| by_macro(place, name)).unwrap_or_default());
                index = end;
                continue;
            }
            (Some("fn"), Some(name)) if is_test(source, index) => {
                found.insert([&place.path[..], &[name]].concat().join("::"));
            }
            _ => {}
        }
        index += 1;
    }
}

/// The tests that calls of the macro `name` in this file make: one for each of its words.
fn by_macro(place: &Place<'_>, name: &str) -> Vec<String> {
    let source = place.source;
    let called = |at: &usize| source.is(*at, name) && source.is(at + 1, "!") && source.is(at + 2, "{");
    let words = (0..source.tokens.len()).filter(called).flat_map(|at| at + 3..source.close(at + 2)).filter_map(|at| source.word(at));
    words.map(|word| [&place.path[..], &[word.to_owned()]].concat().join("::")).collect()
}

/// A module in a file of its own.
fn child(place: &Place<'_>, index: usize, name: String, found: &mut BTreeSet<String>) {
    let (tree, source) = (place.tree, place.source);
    let head = attributes(source, index);
    let given = head.clone().find(|at| source.is(*at, "path") && source.is(at + 1, "=")).map(|at| source.tokens[at + 2].text.clone());
    let own = folder(&source.path);
    let (path, children) = if let Some(text) = given {
        let path = format!("{own}/{}", text.trim_matches('"'));
        (path.clone(), folder(&path).to_owned())
    } else {
        let children = format!("{}/{name}", place.children);
        let beside = format!("{children}.rs");
        (if file(tree, &beside).is_some() { beside } else { format!("{children}/mod.rs") }, children)
    };
    if let Some(source) = file(tree, &path) {
        let inner = Place { tree, source, path: [&place.path[..], &[name]].concat(), children };
        module(&inner, 0..source.tokens.len(), found);
    }
}

/// What stands between the item before and the word at `index`: its attributes, visibility and qualifiers.
fn attributes(source: &Source, index: usize) -> Range<usize> {
    let begins = (0..index).rev().find(|at| matches!(source.mark(*at), "{" | "}" | ";")).map_or(0, |at| at + 1);
    begins..index
}

/// Whether `#[test]` or an attribute of that last word, such as `#[tokio::test(…)]`, stands before the function at `index`.
fn is_test(source: &Source, index: usize) -> bool {
    let mut head = attributes(source, index);
    head.any(|at| source.is(at, "test") && (source.is(at - 1, "[") || source.continues(at)) && matches!(source.mark(at + 1), "]" | "("))
}

#[test]
fn tests_are_found_in_files_and_modules_of_every_kind() {
    let tree = Tree::sample(&[
        (
            "src/lib.rs",
            "mod a;\nmod b;\n#[test]\nfn top() {}\nmacro_rules! each { ($($name:ident)*) => { $(#[test] fn $name() {})* } }\neach! { one two }",
        ),
        ("src/a.rs", "mod c;\n#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;\nfn no() {}"),
        (
            "src/a/c.rs",
            "#[cfg(test)]\nmod tests {\n#[tokio::test(start_paused = true)]\n#[expect(x)]\nasync fn waits() {}\nfn helper() {}\n}",
        ),
        ("src/a_tests.rs", "mod more;\nproptest! {\n#[test]\nfn any(x in 0..1) {} }"),
        ("src/more.rs", "#[test]\nfn deep() {}"),
        ("src/b/mod.rs", "#[cfg(test)]\nmod tests;"),
        ("src/b/tests.rs", "#[test]\nfn last() { fn inner() {} }"),
    ]);
    let found: Vec<String> = of(&tree, "src/lib.rs").into_iter().collect();
    assert_eq!(found, ["a::c::tests::waits", "a::tests::any", "a::tests::more::deep", "b::tests::last", "one", "top", "two"]);
}
