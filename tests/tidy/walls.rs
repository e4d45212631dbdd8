//! Walls: who may import whom, where third-party types end, and that no imports run in a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::scan::Source;
use super::tree::{Import, Offence, Tree, imports, module, room};

/// The floors of the house, lowest first; imports go down only.
const FLOORS: [&[&str]; 8] = [
    &["digest", "name", "secret", "value", "source", "event"],
    &["files"],
    &["store", "lang", "wire", "vault"],
    &["model"],
    &["plan"],
    &["exec"],
    &["ops"],
    &["cli"],
];

/// A tower of its own: it stands on the words, and only the command line starts it.
const TOWER: &str = "lab";

/// Crates whose types end in one room.
const ENDS_IN: [(&str, &[&str]); 9] = [
    ("cel", &["src/lang/"]),
    ("clap", &["src/cli/", "src/main.rs", "bot/src/environment.rs", "bot/src/main.rs"]),
    ("clap_complete", &["src/cli/", "src/main.rs"]),
    ("reqwest", &["src/wire/", "bot/src/discord.rs"]),
    ("hyper", &["src/wire/"]),
    ("russh", &["src/wire/", "src/lab/"]),
    ("russh_sftp", &["src/wire/", "src/lab/"]),
    ("rusqlite", &["src/store/"]),
    ("serenity", &["bot/src/"]),
];

/// Parts of `model` that its families share; everything else in a folder there is a family.
const SHARED: [&str; 2] = ["contract", "schema"];

/// Every wall that is broken.
pub fn check(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for source in tree.product() {
        for import in imports(source) {
            found.extend(between_rooms(tree, source, &import));
            found.extend(between_families(tree, source, &import));
        }
        strangers(source, &mut found);
    }
    for source in tree.bot() {
        bot_imports(source, &mut found);
        strangers(source, &mut found);
    }
    found.extend(circles(tree));
    found
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn between_rooms(tree: &Tree, source: &Source, import: &Import) -> Option<Offence> {
    let broken = |rule: String| Some(Offence::new(&source.path, import.line, rule));
    let to = import.path.first().filter(|to| tree.rooms().contains(*to))?.as_str();
    let from = room(&source.path)?;
    let starts_the_tower = source.path.starts_with("src/cli/lab");
    if from == to || (to == TOWER && starts_the_tower) {
        return None;
    }
    if to == TOWER {
        return broken("nobody but `src/cli/lab…` knows that the lab is there".to_owned());
    }
    let Some(below) = floor(to) else { return broken(format!("`{to}` stands on no floor: give it one in tests/tidy/walls.rs")) };
    if from == TOWER {
        return if below == 0 { None } else { broken(format!("the lab imports words only, `{to}` is none")) };
    }
    let Some(above) = floor(from) else { return broken(format!("`{from}` stands on no floor: give it one in tests/tidy/walls.rs")) };
    match (above, below) {
        (0, 0) => None,
        _ if below < above => None,
        _ if below == above => broken(format!("`{from}` and `{to}` stand on one floor and never import each other")),
        _ => broken(format!("imports go down only: `{to}` stands above `{from}`")),
    }
}

/// The family of `model` that a path leads into: a folder of it that is not shared.
fn family<'a>(tree: &Tree, path: &'a [String]) -> Option<&'a str> {
    let [first, name, ..] = path else { return None };
    let folder = format!("src/model/{name}/");
    let is_folder = tree.rust.iter().any(|source| source.path.starts_with(&folder));
    (first == "model" && is_folder && !SHARED.contains(&name.as_str())).then_some(name.as_str())
}

fn between_families(tree: &Tree, source: &Source, import: &Import) -> Option<Offence> {
    let own = module(&source.path);
    let broken = |rule: String| Some(Offence::new(&source.path, import.line, rule));
    let [model, inside, ..] = own.as_slice() else { return None };
    if model != "model" || import.path.first().is_none_or(|first| first != "model") {
        return None;
    }
    let from = family(tree, &own);
    match family(tree, &import.path) {
        Some(to) if from.is_some_and(|from| from != to) => {
            broken(format!("model families never import each other: `{inside}` imports `{to}`"))
        }
        Some(to) if from.is_none() && inside != "registry" => {
            broken(format!("only the registry knows the families: `{inside}` imports `{to}`"))
        }
        None if from.is_some() && import.path.get(1).is_some_and(|to| to == "registry") => {
            broken(format!("a family does not know the registry that lists it: `{inside}` imports it"))
        }
        _ => None,
    }
}

fn strangers(source: &Source, found: &mut Vec<Offence>) {
    for index in 0..source.tokens.len() {
        let Some(word) = source.word(index) else { continue };
        let Some((name, homes)) = ENDS_IN.into_iter().find(|(name, _)| *name == word) else { continue };
        let named = source.colons(index + 1) || (index > 0 && source.is(index - 1, "use"));
        let at_home = homes.iter().any(|home| source.path.starts_with(home));
        if named && !at_home && !source.continues(index) && !source.in_tests(index) {
            let rule = format!("types of `{name}` end in {}", homes.join(" and "));
            found.push(Offence::new(&source.path, source.tokens[index].line, rule));
        }
    }
}

fn bot_imports(source: &Source, found: &mut Vec<Offence>) {
    for index in 0..source.tokens.len() {
        if !source.is(index, "pmx") || !source.colons(index + 1) || source.continues(index) || source.in_tests(index) {
            continue;
        }
        let named = source.word(index + 3).map(str::to_owned);
        let group = (index + 4..source.close(index + 3)).filter(|at| source.is(at - 1, "{") || source.is(at - 1, ","));
        let grouped = group.filter(|_| source.is(index + 3, "{")).filter_map(|at| source.word(at).map(str::to_owned)).collect();
        for room in named.map_or(grouped, |name| vec![name]) {
            let allowed = room == "ops" || floor(&room).is_none_or(|floor| floor == 0) && room != TOWER;
            if !allowed {
                let rule = format!("the bot sees ops, words and events only, not `{room}`");
                found.push(Offence::new(&source.path, source.tokens[index].line, rule));
            }
        }
    }
}

fn circles(tree: &Tree) -> Vec<Offence> {
    let rooms = tree.rooms();
    let mut edges: BTreeMap<String, BTreeMap<String, (String, usize)>> = BTreeMap::new();
    for source in tree.product() {
        let Some(from) = room(&source.path) else { continue };
        for import in imports(source) {
            if let Some(to) = import.path.first().filter(|to| *to != from && rooms.contains(*to)) {
                edges.entry(from.to_owned()).or_default().entry(to.clone()).or_insert((source.path.clone(), import.line));
            }
        }
    }
    let reaches = |from: &str, goal: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(room) = open.pop() {
            if seen.insert(room.clone()) {
                open.extend(edges.get(&room).into_iter().flat_map(BTreeMap::keys).cloned());
            }
        }
        seen.contains(goal)
    };
    let of_room = |(from, targets): (&String, &BTreeMap<String, (String, usize)>)| {
        let back = targets.iter().filter(|(to, _)| reaches(to, from));
        back.map(|(to, (file, line))| Offence::new(file, *line, format!("imports run in a circle: `{from}` → `{to}` → … → `{from}`")))
            .collect::<Vec<_>>()
    };
    edges.iter().flat_map(of_room).collect()
}

#[cfg(test)]
mod samples {
    use super::*;

    fn rules(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::sample(files)).into_iter().map(|offence| offence.to_string()).collect()
    }

    #[test]
    fn imports_go_down_only() {
        let files = |text| [("src/store/mod.rs", ""), ("src/lang/mod.rs", ""), ("src/value.rs", ""), ("src/plan/graph.rs", text)];
        assert!(rules(&files("use crate::lang::x;\nuse crate::value::Value;")).is_empty());
        let up = [("src/plan/mod.rs", ""), ("src/store/blob.rs", "\nuse crate::plan::Graph;")];
        assert_eq!(rules(&up), ["src/store/blob.rs:2: imports go down only: `plan` stands above `store`"]);
        let side = [("src/wire/mod.rs", ""), ("src/vault/mod.rs", "fn f() { crate::wire::dial() }")];
        assert_eq!(rules(&side), ["src/vault/mod.rs:1: `vault` and `wire` stand on one floor and never import each other"]);
        assert!(rules(&[("src/odd/mod.rs", ""), ("src/cli/mod.rs", "use crate::odd::x;")])[0].contains("`odd` stands on no floor"));
        assert!(rules(&[("src/plan/mod.rs", ""), ("src/store/a.rs", "#[cfg(test)]\nmod tests { use crate::plan::x; }")]).is_empty());
    }

    #[test]
    fn the_lab_stands_alone() {
        let from_exec = [("src/lab/mod.rs", ""), ("src/exec/mod.rs", "use crate::lab::Pve;")];
        assert!(rules(&from_exec)[0].contains("nobody but `src/cli/lab…`"));
        assert!(rules(&[("src/lab/mod.rs", ""), ("src/cli/lab.rs", "use crate::lab::Pve;")]).is_empty());
        assert!(rules(&[("src/wire/mod.rs", ""), ("src/lab/mod.rs", "use crate::wire::Http;")])[0].contains("imports words only"));
    }

    #[test]
    fn families_do_not_know_each_other() {
        let base = |path, text| [("src/model/ssh/mod.rs", ""), ("src/model/contract.rs", ""), ("src/model/registry.rs", ""), (path, text)];
        let text = "use super::super::ssh::host;\nuse crate::model::contract::Row;";
        assert_eq!(
            rules(&base("src/model/docker/engine.rs", text)),
            ["src/model/docker/engine.rs:1: model families never import each other: `docker` imports `ssh`"]
        );
        assert!(rules(&base("src/model/docker/mod.rs", "use crate::model::registry::ALL;"))[0].contains("does not know the registry"));
        assert!(rules(&base("src/model/registry.rs", "use super::ssh::host;")).is_empty());
        assert!(rules(&base("src/model/schema.rs", "use super::ssh::host;"))[0].contains("only the registry"));
    }

    #[test]
    fn third_party_types_end_in_their_room() {
        assert!(rules(&[("src/lang/cel.rs", "use cel::Program;"), ("src/ops/x.rs", "use crate::lang::cel::Text;")]).is_empty());
        assert_eq!(rules(&[("src/plan/x.rs", "fn f(p: cel::Program) {}")]), ["src/plan/x.rs:1: types of `cel` end in src/lang/"]);
        assert_eq!(
            rules(&[("src/lab/x.rs", "use russh::server;\nuse reqwest::Client;")]),
            ["src/lab/x.rs:2: types of `reqwest` end in src/wire/ and bot/src/discord.rs"]
        );
        assert_eq!(rules(&[("src/ops/x.rs", "#[derive(clap::Args)]\nstruct X;")]).len(), 1);
    }

    #[test]
    fn the_bot_sees_use_cases_only() {
        assert!(rules(&[("bot/src/main.rs", "use pmx::{ops::build, event::Event};\nuse pmx::name::RunId;")]).is_empty());
        let two = rules(&[("bot/src/main.rs", "use pmx::{exec, event::Event};\nfn f() { pmx::store::open() }")]);
        assert!(two.len() == 2 && two[0].contains("not `exec`") && two[1].contains("not `store`"), "{two:?}");
    }

    #[test]
    fn circles_are_caught_even_among_words() {
        let both = [("src/name.rs", "use crate::value::Value;"), ("src/value.rs", "use crate::name::Name;")];
        assert_eq!(rules(&both)[0], "src/name.rs:1: imports run in a circle: `name` → `value` → … → `name`");
    }
}
