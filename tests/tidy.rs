//! The house rules as tests: they read the source tree and name the file, the line and the rule in words.
#![expect(clippy::disallowed_methods, reason = "the rules read the source tree")]
#![expect(clippy::print_stdout, reason = "raised budgets are told aloud")]

#[path = "tidy/budgets.rs"]
mod budgets;
#[path = "tidy/doors.rs"]
mod doors;
#[path = "tidy/inventory.rs"]
mod inventory;
#[path = "tidy/project.rs"]
mod project;
#[path = "tidy/scan.rs"]
mod scan;
#[path = "tidy/tests_of.rs"]
mod tests_of;
#[path = "tidy/tree.rs"]
mod tree;
#[path = "tidy/walls.rs"]
mod walls;
#[path = "tidy/words.rs"]
mod words;

use std::path::Path;

use tree::{Offence, Tree};

fn house() -> Tree {
    // Cargo's word at run time wins: a binary may outlive the folder that it was built in.
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    let tree = Tree::read(Path::new(&root));
    assert!(tree.product().count() > 3, "the rules found no source to read");
    tree
}

#[track_caller]
fn hold(mut offences: Vec<Offence>) {
    offences.sort();
    offences.dedup();
    let lines: Vec<String> = offences.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} house rules are broken:\n{}\n", lines.len(), lines.join("\n"));
}

#[test]
fn budgets_hold() {
    let house = house();
    for line in budgets::raised(&house) {
        println!("raised: {line}");
    }
    hold(budgets::check(&house));
}

#[test]
fn walls_stand() {
    hold(walls::check(&house()));
}

#[test]
fn doors_tell_the_truth() {
    hold(doors::check(&house()));
}

#[test]
fn words_are_in_place() {
    hold(words::check(&house()));
}

#[test]
fn the_project_composes() {
    hold(project::check(&house()));
}

#[test]
fn the_inventory_is_whole() {
    hold(inventory::check(&house()));
}
