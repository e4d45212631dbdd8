//! The repository as the house rules see it: its files, the rooms they belong to, and what they import from each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use super::scan::Source;

/// A broken rule and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offence {
    /// The file, from the root of the repository.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The rule in words.
    pub rule: String,
}

impl Offence {
    /// A broken rule at a place.
    pub fn new(file: &str, line: usize, rule: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, rule: rule.into() }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

/// A path from the crate's root that a file names, with the line it names it on.
#[derive(Clone, Debug)]
pub struct Import {
    /// The line.
    pub line: usize,
    /// The path's words, the room first.
    pub path: Vec<String>,
}

/// Every file of the repository that a rule reads.
pub struct Tree {
    /// Rust files, in order of their path.
    pub rust: Vec<Source>,
    /// Every text file, Rust ones included: path and content.
    pub texts: BTreeMap<String, String>,
    tests: BTreeSet<String>,
}

/// Folders that are not ours to judge: build output, history, a user's data.
const SKIPPED: [&str; 5] = ["target", ".git", "store", "vaults", "node_modules"];

impl Tree {
    /// The repository under `root`.
    pub fn read(root: &Path) -> Self {
        let mut texts = BTreeMap::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
            for entry in entries {
                let path = entry.unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display())).path();
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                if path.is_dir() && !path.is_symlink() && !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                } else if path.is_file()
                    && !SKIPPED.contains(&name.as_str())
                    && let Ok(text) = std::fs::read_to_string(&path)
                {
                    texts.insert(name, text);
                }
            }
        }
        Self::of(texts)
    }

    /// A tree made of texts: for samples, and the end of `read`.
    pub fn of(texts: BTreeMap<String, String>) -> Self {
        let rust: Vec<Source> =
            texts.iter().filter(|(path, _)| path.ends_with(".rs")).map(|(path, text)| Source::new(path, text)).collect();
        let tests = rust.iter().flat_map(test_modules).collect();
        Self { rust, texts, tests }
    }

    /// A sample of a few files.
    pub fn sample(files: &[(&str, &str)]) -> Self {
        Self::of(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    /// Whether a file is for tests only, whoever declares it so.
    pub fn is_test(&self, source: &Source) -> bool {
        source.is_test_file()
            || self.tests.iter().any(|test| source.path == format!("{test}.rs") || source.path.starts_with(&format!("{test}/")))
    }

    /// Files of the crate that are built into it, tests left out.
    pub fn product(&self) -> impl Iterator<Item = &Source> {
        self.rust.iter().filter(|source| source.path.starts_with("src/") && !self.is_test(source))
    }

    /// Files of the bot that are built into it.
    pub fn bot(&self) -> impl Iterator<Item = &Source> {
        self.rust.iter().filter(|source| source.path.starts_with("bot/src/") && !self.is_test(source))
    }

    /// The names of the crate's rooms: top-level files and folders of `src`.
    pub fn rooms(&self) -> BTreeSet<String> {
        self.rust.iter().filter_map(|source| room(&source.path)).map(str::to_owned).collect()
    }
}

/// The room a path belongs to: `store` for `src/store/blob.rs` and for `src/store.rs`.
pub fn room(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("src/")?;
    let name = rest.split_once('/').map_or_else(|| rest.trim_end_matches(".rs"), |(first, _)| first);
    (!matches!(name, "lib" | "main" | "bin")).then_some(name)
}

/// The module path of a file: `["store", "blob"]` for `src/store/blob.rs`.
pub fn module(path: &str) -> Vec<String> {
    let Some(rest) = path.strip_prefix("src/") else { return Vec::new() };
    let rest = rest.trim_end_matches(".rs");
    let rest = rest.strip_suffix("/mod").unwrap_or(rest);
    if matches!(rest, "lib" | "main") { Vec::new() } else { rest.split('/').map(str::to_owned).collect() }
}

/// What a file names of its own crate: `crate::…` and `super::…`, in `use` and in code, tests left out.
pub fn imports(source: &Source) -> Vec<Import> {
    let own = module(&source.path);
    let inline = inline_modules(source);
    let mut found = Vec::new();
    for index in 0..source.tokens.len() {
        if source.continues(index) || source.in_tests(index) || !source.colons(index + 1) {
            continue;
        }
        let (base, next) = match source.word(index) {
            Some("crate") => (Vec::new(), index + 3),
            Some("super") => {
                let supers = (0..).take_while(|more| source.is(index + more * 3, "super") && source.colons(index + more * 3 + 1)).count();
                let inside = inline.iter().filter(|range| range.contains(&index)).count();
                let Some(left) = own.len().checked_sub(supers.saturating_sub(inside)) else { continue };
                (own[..left].to_vec(), index + supers * 3)
            }
            _ => continue,
        };
        expand(source, next, &base, &mut found);
    }
    found
}

/// Follows one path or tree of paths from `index` and notes where each ends; returns the index behind it.
fn expand(source: &Source, index: usize, base: &[String], found: &mut Vec<Import>) -> usize {
    let line = source.tokens.get(index).map_or(0, |token| token.line);
    if let Some(word) = source.word(index) {
        let mut path = base.to_vec();
        if word != "self" {
            path.push(word.to_owned());
        }
        if source.colons(index + 1) && (source.word(index + 3).is_some() || source.is(index + 3, "{") || source.is(index + 3, "*")) {
            return expand(source, index + 3, &path, found);
        }
        found.push(Import { line, path });
        return if source.is(index + 1, "as") { index + 3 } else { index + 1 };
    }
    if source.is(index, "{") {
        let end = source.close(index);
        let mut at = index + 1;
        while at + 1 < end {
            at = expand(source, at, base, found).max(at + 1);
            while at < end && !source.is(at - 1, ",") {
                at += 1;
            }
        }
        return end;
    }
    found.push(Import { line, path: base.to_vec() });
    index + 1
}

fn inline_modules(source: &Source) -> Vec<std::ops::Range<usize>> {
    let opens = |index: &usize| source.is(*index, "mod") && source.word(index + 1).is_some() && source.is(index + 2, "{");
    (0..source.tokens.len()).filter(opens).map(|index| index..source.close(index + 2)).collect()
}

/// Stems of the files behind `#[cfg(test)] mod x;`.
fn test_modules(source: &Source) -> Vec<String> {
    let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let stem = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    let children = if matches!(stem, "mod" | "lib" | "main") { folder.to_owned() } else { format!("{folder}/{stem}") };
    let mut found = Vec::new();
    for range in &source.tests {
        for index in range.clone().filter(|index| source.is(*index, "mod") && source.is(index + 2, ";")) {
            let named =
                range.clone().find(|at| source.is(*at, "path") && source.is(at + 1, "=")).map(|at| source.tokens[at + 2].text.clone());
            let given = named.map(|text| format!("{folder}/{}", text.trim_matches('"').trim_end_matches(".rs")));
            found.extend(given.or_else(|| source.word(index + 1).map(|name| format!("{children}/{name}"))));
        }
    }
    found
}

#[test]
fn imports_are_found_in_groups_in_code_and_behind_super() {
    let text = "use crate::{digest::Digest, value::{self, Map as M}, name};\nuse super::super::wire::http;\n\
                fn f() -> crate::lang::Kind { crate::vault::open() }\nmod inner { use super::helper; }\n#[cfg(test)]\nmod tests { use crate::ops; }";
    let found = imports(&Source::new("src/store/blob.rs", text));
    let rooms: Vec<String> = found.iter().map(|import| import.path.join("::")).collect();
    let wanted = ["digest::Digest", "value", "value::Map", "name", "wire::http", "lang::Kind", "vault::open", "store::blob::helper"];
    assert_eq!(rooms, wanted);
}

#[test]
fn files_of_a_test_module_are_tests() {
    let tree = Tree::sample(&[
        ("src/store/mod.rs", "#[cfg(test)]\nmod scenarios;\nmod blob;\n#[cfg(test)]\n#[path = \"odd.rs\"]\nmod more;"),
        ("src/store/scenarios.rs", ""),
        ("src/store/blob.rs", ""),
        ("src/store/odd.rs", ""),
    ]);
    let product: Vec<&str> = tree.product().map(|source| source.path.as_str()).collect();
    assert_eq!(product, ["src/store/blob.rs", "src/store/mod.rs"]);
}
