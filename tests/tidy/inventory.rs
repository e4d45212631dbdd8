//! The inventory: what has a file has a row in `docs/inventory.md`, and the tests that its rows name are in the source.

use std::collections::{BTreeMap, BTreeSet};

use super::tests_of;
use super::tree::{Offence, Tree};

const PAGE: &str = "docs/inventory.md";

/// Rows whose tests are still being written, and things whose files are: by the first word of the row.
const OPEN: &[&str] = &[];

/// The binaries whose tests a row may name, and their first files.
const BINARIES: [(&str, &str); 4] =
    [("library", "src/lib.rs"), ("it", "tests/it/main.rs"), ("bot", "bot/tests/it/main.rs"), ("tidy", "tests/tidy.rs")];

/// Methods whose mutant no test of their row has noticed yet.
const SURVIVORS: &[&str] = &[];

/// What a row of the bot says until there is a bot.
const LATER: &str = "comes with the bot";

/// The section that `just mutants` writes.
const MUTANTS: &str = "Mutants";

/// One row of one of the page's tables.
struct Row {
    line: usize,
    section: String,
    name: String,
    shown_by: String,
}

/// Every row without its thing or its tests, and every thing without its row.
pub fn check(tree: &Tree) -> Vec<Offence> {
    let Some(page) = tree.texts.get(PAGE) else { return vec![Offence::new(PAGE, 1, "the inventory is a page of this repository")] };
    let rows = rows(page);
    let present: BTreeMap<&str, BTreeSet<String>> = BINARIES.into_iter().map(|(name, root)| (name, tests_of::of(tree, root))).collect();
    let later = tree.bot().next().is_none();
    let mut found: Vec<Offence> = rows.iter().flat_map(|row| tests(row, &present, later)).collect();
    found.extend(mutants(&rows));
    for (section, folder) in [("Definitions", "definitions/"), ("Workflows", "workflows/")] {
        found.extend(files(tree, &rows, section, folder));
    }
    found
}

fn rows(page: &str) -> Vec<Row> {
    let mut section = String::new();
    let mut found = Vec::new();
    for (index, line) in page.lines().enumerate() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut section);
        }
        let Some(cells) = line.strip_prefix("| `").and_then(|rest| rest.strip_suffix(" |")) else { continue };
        let name = cells.split('`').next().unwrap_or_default().to_owned();
        let shown_by = cells.rsplit(" | ").next().unwrap_or_default().to_owned();
        found.push(Row { line: index + 1, section: section.clone(), name, shown_by });
    }
    found
}

fn tests(row: &Row, present: &BTreeMap<&str, BTreeSet<String>>, later: bool) -> Vec<Offence> {
    let offence = |rule: String| Offence::new(PAGE, row.line, rule);
    match row.shown_by.as_str() {
        LATER if later && row.section == "Bot" => return Vec::new(),
        "open" if OPEN.contains(&row.name.as_str()) => return Vec::new(),
        "SURVIVED" if row.section == MUTANTS && SURVIVORS.contains(&row.name.as_str()) => return Vec::new(),
        _ => {}
    }
    let named: Vec<&str> = row.shown_by.split('`').skip(1).step_by(2).collect();
    if named.is_empty() {
        return vec![offence(format!("no test shows `{}`", row.name))];
    }
    let missing = |test: &&str| {
        let Some((tests, path)) = test.split_once(": ").and_then(|(binary, path)| Some((present.get(binary)?, path))) else {
            return Some(offence(format!("`{test}` begins with no binary: it is `it: …`, `bot: …`, `library: …` or `tidy: …`")));
        };
        (!tests.contains(path)).then(|| offence(format!("`{test}` shows `{}`, and there is no such test", row.name)))
    };
    named.iter().filter_map(missing).collect()
}

/// A method that was never made to pretend proves nothing about its tests.
fn mutants(rows: &[Row]) -> Vec<Offence> {
    let named = |section: &str| rows.iter().filter(|row| row.section == section).map(|row| row.name.as_str()).collect::<BTreeSet<_>>();
    let (methods, tried) = (named("Model types"), named(MUTANTS));
    let rule = |name: &&str| format!("`just mutants` has not tried `{name}`, or tried what is no method");
    methods.symmetric_difference(&tried).map(|name| Offence::new(PAGE, 1, rule(name))).collect()
}

fn files(tree: &Tree, rows: &[Row], section: &str, folder: &str) -> Vec<Offence> {
    let stem = |path: &String| path.strip_prefix(folder).and_then(|name| name.strip_suffix(".toml")).map(str::to_owned);
    let there: BTreeSet<String> = tree.texts.keys().filter_map(stem).collect();
    let listed: Vec<&Row> = rows.iter().filter(|row| row.section == section).collect();
    let rowless = there.iter().filter(|name| listed.iter().all(|row| row.name != **name));
    let mut found: Vec<Offence> =
        rowless.map(|name| Offence::new(&format!("{folder}{name}.toml"), 1, format!("it has no row in {PAGE}"))).collect();
    for (index, row) in listed.iter().enumerate() {
        if !there.contains(&row.name) && !OPEN.contains(&row.name.as_str()) {
            found.push(Offence::new(PAGE, row.line, format!("{folder}{}.toml is not there", row.name)));
        }
        if listed[..index].iter().any(|other| other.name == row.name) {
            found.push(Offence::new(PAGE, row.line, format!("`{}` has two rows", row.name)));
        }
    }
    found
}

#[test]
fn rows_without_tests_and_things_without_rows_are_caught() {
    let table = |rows: &str| {
        format!("# Inventory\n\n## Definitions\n\n| definition | shown by |\n|---|---|\n{rows}\n## Bot\n\n| `x` | {LATER} |\n")
    };
    let source = ("src/lib.rs", "//! Is.\n#[cfg(test)]\nmod tests {\n#[test]\nfn shown() {}\nfn helper() {}\n}");
    let check = |rows: &str, more: &[(&str, &str)]| {
        let page = table(rows);
        let found = check(&Tree::sample(&[&[(PAGE, page.as_str()), source], more].concat()));
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let one = [("definitions/a.toml", "")];
    assert!(check("| `a` | `library: tests::shown` |", &one).is_empty());
    let helper = "docs/inventory.md:7: `library: tests::helper` shows `a`, and there is no such test";
    assert_eq!(check("| `a` | `library: tests::shown`, `library: tests::helper` |", &one), [helper]);
    assert_eq!(check("| `a` | open |", &one), ["docs/inventory.md:7: no test shows `a`"]);
    assert_eq!(check("| `a` | `tests::shown` |", &one).len(), 1);
    assert_eq!(check("", &one), ["definitions/a.toml:1: it has no row in docs/inventory.md"]);
    assert_eq!(check("| `a` | `library: tests::shown` |", &[]), ["docs/inventory.md:7: definitions/a.toml is not there"]);
    let tried = |more: &str| {
        check(&format!("| `a` | `library: tests::shown` |\n## Model types\n\n| `t.m` | `library: tests::shown` |\n{more}"), &one)
    };
    assert_eq!(tried(""), ["docs/inventory.md:1: `just mutants` has not tried `t.m`, or tried what is no method"]);
    assert_eq!(tried("## Mutants\n\n| `t.n` | `library: tests::shown` |\n").len(), 2);
    assert!(tried("## Mutants\n\n| `t.m` | `library: tests::shown` |\n").is_empty());
    assert_eq!(tried("## Mutants\n\n| `t.m` | SURVIVED |\n"), ["docs/inventory.md:13: no test shows `t.m`"]);
    // As soon as there is a bot, its rows want tests as well.
    let bot = [one[0], ("bot/src/main.rs", "//! Is.\nfn main() {}")];
    assert_eq!(check("| `a` | `library: tests::shown` |", &bot), ["docs/inventory.md:10: no test shows `x`"]);
}
