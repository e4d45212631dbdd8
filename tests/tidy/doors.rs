//! Doors: each file's first sentence, and the card at each room's door with the imports it admits to.

use std::collections::BTreeSet;

use super::scan::Source;
use super::tree::{Offence, Tree, imports, module};

/// The four lines of a door card, in order.
const CARD: [&str; 4] = ["//! Holds: ", "//! Imports: ", "//! Effects: ", "//! Never: "];

/// Every missing sentence and every card that is missing or untrue.
pub fn check(tree: &Tree) -> Vec<Offence> {
    let mut found: Vec<Offence> = tree.rust.iter().filter_map(first_sentence).collect();
    found.extend(tree.product().filter(|source| source.path.ends_with("/mod.rs")).filter_map(|source| door(tree, source)));
    found
}

fn first_sentence(source: &Source) -> Option<Offence> {
    let paragraph: Vec<&str> =
        source.lines.iter().map_while(|line| line.strip_prefix("//! ")).take_while(|line| !line.starts_with("Holds: ")).collect();
    let ends = paragraph.last().is_some_and(|line| line.trim_end().ends_with(['.', ':']));
    let rule = "a file opens with one `//!` sentence that says what it holds";
    (!ends).then(|| Offence::new(&source.path, 1, rule))
}

fn door(tree: &Tree, source: &Source) -> Option<Offence> {
    let own = module(&source.path);
    let at = source.lines.iter().position(|line| line.starts_with(CARD[0]));
    let Some(at) = at else {
        // A folder inside a room may do without a card of its own.
        let rule = "a room's mod.rs carries a door card after its first sentence: the lines Holds, Imports, Effects and Never";
        return (own.len() == 1).then(|| Offence::new(&source.path, 1, rule));
    };
    let card: Vec<&str> = source.lines[at..].iter().take(4).map(String::as_str).collect();
    let filled =
        card.len() == 4 && card.iter().zip(CARD).all(|(line, start)| line.strip_prefix(start).is_some_and(|rest| !rest.trim().is_empty()));
    let behind = source.lines.get(at + 4).is_none_or(|line| !line.starts_with("//!") || line.trim() == "//!");
    if !filled || !behind {
        let rule = "a door card is exactly four lines, one each for Holds, Imports, Effects and Never, none of them empty";
        return Some(Offence::new(&source.path, at + 1, rule));
    }
    let said = card[1].trim_start_matches(CARD[1]).trim_end_matches('.');
    let true_imports = real_imports(tree, &own);
    let said_imports = said_imports(tree, said, &own);
    let rule = |wrong: Vec<&String>, words: &str| {
        let names: Vec<&str> = wrong.into_iter().map(String::as_str).collect();
        Offence::new(&source.path, at + 2, format!("the card's Imports line {words} {}", names.join(", ")))
    };
    let untold: Vec<&String> = true_imports.difference(&said_imports).collect();
    let untrue: Vec<&String> = said_imports.difference(&true_imports).collect();
    if !untold.is_empty() {
        return Some(rule(untold, "does not name"));
    }
    (!untrue.is_empty()).then(|| rule(untrue, "names, but nothing here imports,"))
}

/// Rooms that the files of `own` import, tests left out.
fn real_imports(tree: &Tree, own: &[String]) -> BTreeSet<String> {
    let rooms = tree.rooms();
    let inside = tree.product().filter(|source| module(&source.path).starts_with(own));
    let named = inside.flat_map(imports).filter_map(|import| import.path.first().cloned());
    named.filter(|room| rooms.contains(room) && room != &own[0]).collect()
}

/// Rooms that a card names; a folder inside a room may name its neighbours there too, which are not checked.
fn said_imports(tree: &Tree, said: &str, own: &[String]) -> BTreeSet<String> {
    if said.trim() == "none" {
        return BTreeSet::new();
    }
    let neighbour = |name: &String| {
        let base = format!("src/{}/{name}", own[0]);
        own.len() > 1 && tree.rust.iter().any(|source| source.path == format!("{base}.rs") || source.path.starts_with(&format!("{base}/")))
    };
    let names =
        said.split(',').map(|name| name.trim().trim_matches('`')).map(|name| name.split("::").next().unwrap_or_default().to_owned());
    names.filter(|name| !name.is_empty() && name != &own[0] && !neighbour(name)).collect()
}

#[cfg(test)]
mod samples {
    use super::*;

    fn rules(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::sample(files)).into_iter().map(|offence| offence.to_string()).collect()
    }

    fn room(imports: &str, code: &str) -> Vec<String> {
        let card =
            format!("//! Blobs.\n//!\n//! Holds: blobs.\n//! Imports: {imports}\n//! Effects: files.\n//! Never: prints.\n\nmod blob;\n");
        rules(&[
            ("src/store/mod.rs", &card),
            ("src/store/blob.rs", &format!("//! A blob.\n{code}")),
            ("src/digest.rs", "//! D."),
            ("src/name.rs", "//! N."),
        ])
    }

    #[test]
    fn a_file_without_a_sentence_is_caught() {
        assert!(rules(&[("src/a.rs", "//! Holds a thing,\n//! over two lines.\nfn a() {}")]).is_empty());
        for text in ["fn a() {}", "//! no full stop", "// not documentation.\n", "\n//! Too late.", ""] {
            assert_eq!(rules(&[("src/a.rs", text)]).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn a_card_must_be_there_whole_and_true() {
        assert!(room("digest, name", "use crate::{digest::Digest, name};").is_empty());
        assert!(room("none", "#[cfg(test)]\nmod tests { use crate::digest; }").is_empty());
        assert_eq!(
            room("digest", "use crate::{digest::Digest, name};"),
            ["src/store/mod.rs:4: the card's Imports line does not name name"]
        );
        assert_eq!(
            room("digest, name", "use crate::name;"),
            ["src/store/mod.rs:4: the card's Imports line names, but nothing here imports, digest"]
        );
        assert!(rules(&[("src/store/mod.rs", "//! Blobs.")])[0].contains("carries a door card"));
        let short = "//! Blobs.\n//!\n//! Holds: blobs.\n//! Imports: none\n//! Never: prints.\n";
        assert!(rules(&[("src/store/mod.rs", short)])[0].contains("exactly four lines"));
        let long = "//! Blobs.\n//!\n//! Holds: blobs.\n//! Imports: none\n//! Effects: none\n//! Never: prints.\n//! Nor logs.\n";
        assert!(rules(&[("src/store/mod.rs", long)])[0].contains("exactly four lines"));
    }

    #[test]
    fn a_folder_inside_a_room_may_go_without_and_may_name_its_neighbours() {
        let files = |card: &str| {
            vec![
                ("src/model/contract.rs", "//! C."),
                ("src/value.rs", "//! V."),
                ("src/model/ssh/host.rs", "//! H.\nuse crate::value::Value;\nuse crate::model::contract::Row;"),
            ]
            .into_iter()
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .chain([("src/model/ssh/mod.rs".to_owned(), card.to_owned())])
            .collect::<Vec<_>>()
        };
        let check = |card: &str| super::check(&Tree::of(files(card).into_iter().collect())).len();
        assert_eq!(check("//! SSH."), 0);
        assert_eq!(check("//! SSH.\n//!\n//! Holds: a.\n//! Imports: contract, value\n//! Effects: b.\n//! Never: c."), 0);
        assert_eq!(check("//! SSH.\n//!\n//! Holds: a.\n//! Imports: contract\n//! Effects: b.\n//! Never: c."), 1);
    }
}
