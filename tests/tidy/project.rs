//! The project at the top level: workflows compose, so that no piece of one is written twice.

use std::collections::BTreeMap;

use super::tree::{Offence, Tree};

/// Two workflows with this many equal steps are one workflow that the other should name.
const SHARED: usize = 3;

/// Every workflow that repeats another.
pub fn check(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    let mut workflows: BTreeMap<&str, Vec<toml::Value>> = BTreeMap::new();
    for (path, text) in tree.texts.iter().filter(|(path, _)| path.starts_with("workflows/") && path.ends_with(".toml")) {
        match text.parse::<toml::Table>() {
            Ok(table) => drop(workflows.insert(path, steps(&table))),
            Err(error) => found.push(Offence::new(path, 1, format!("a workflow is TOML: {error}"))),
        }
    }
    let all: Vec<(&&str, &Vec<toml::Value>)> = workflows.iter().collect();
    for (index, (path, steps)) in all.iter().enumerate() {
        for (other, theirs) in &all[..index] {
            let shared = steps.iter().filter(|step| theirs.contains(step)).count();
            if shared >= SHARED {
                let rule = format!("{shared} steps stand in {other} too: name what they share with `workflow = \"…\"`");
                found.push(Offence::new(path, 1, rule));
            }
        }
    }
    found
}

/// What each step does, whatever it is called.
fn steps(table: &toml::Table) -> Vec<toml::Value> {
    let list = table.get("step").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let does = |step: toml::Value| {
        let mut step = step.as_table().cloned().unwrap_or_default();
        step.retain(|key, _| matches!(key, "call" | "workflow" | "with"));
        toml::Value::Table(step)
    };
    list.into_iter().map(does).collect()
}

#[test]
fn a_workflow_that_repeats_another_is_caught() {
    let step = |name: &str, call: &str| format!("[[step]]\nname = \"{name}\"\ncall = \"{call}\"\n");
    let three = |mark: &str| ["x.a", "x.b", "x.c"].map(|call| step(&format!("{mark}{call}"), call)).concat();
    let check = |second: &str| check(&Tree::sample(&[("workflows/a.toml", &three("1")), ("workflows/b.toml", second)]));
    assert_eq!(
        check(&three("2"))[0].to_string(),
        "workflows/b.toml:1: 3 steps stand in workflows/a.toml too: name what they share with `workflow = \"…\"`"
    );
    assert!(check(&[step("a", "x.a"), step("b", "x.b"), step("d", "x.d")].concat()).is_empty());
    assert_eq!(check("[[step").len(), 1);
}
