//! Growth: work counted, not timed. 64 times the actions must be little more than 64 times the work, and no length may overflow the stack.

use std::sync::Arc;

use crate::name::{Place, ResourcePattern};
use crate::plan::arrange::After;
use crate::plan::draw::{dot, mermaid};
use crate::plan::edges::connect_counted;
use crate::plan::explain::summary;
use crate::plan::graph::{Action, ActionId, BoundCall, Bounds, Flow, Graph, PlaceUse, Read, Scopes, Touch, Write};
use crate::plan::kit::{graph_of, lines, project};
use crate::plan::rows::find;
use crate::source::{Source, Span};
use crate::value::Value;

fn action(id: usize, method: &str, reads: &[String], writes: &[String], place: Option<String>) -> Arc<Action> {
    let kind = find("proxmox/vm").unwrap();
    let source = Source::new("w.toml", "");
    let reference = Span::new(&source, 0..0);
    let pattern = |text: &String| -> ResourcePattern { text.parse().unwrap() };
    let read = |text: &String| Read { resource: pattern(text), reference: reference.clone(), optional: false, credential: false };
    let write = |text: &String| Write { resource: pattern(text), possible: false };
    let touch = Touch {
        reads: reads.iter().map(read).collect(),
        writes: writes.iter().map(write).collect(),
        places: place.iter().map(|text| PlaceUse { place: Place::Machine(pattern(text)), shared: false }).collect(),
    };
    let call = BoundCall {
        def: "fleet".into(),
        kind,
        method: kind.method(method).unwrap(),
        globals: Arc::default(),
        arguments: Bounds::new(),
        variant: None,
        variant_inputs: Arc::default(),
    };
    Arc::new(Action { id: ActionId(id as u32), step: format!("s{id}"), call, flow: Flow::default(), touch, scopes: Scopes::default() })
}

/// Layers of 100 actions, each reading three of the layer before; every fifth acts at one of 50 machines, now and then all are looked at or for.
fn layered(count: usize) -> Vec<Arc<Action>> {
    let make = |id: usize| {
        let above = |n: usize| format!("d/r/{}", (id - 100) / 100 * 100 + (id * 7 + n * 13) % 100);
        let mut reads: Vec<String> = if id < 100 { Vec::new() } else { (0..3).map(above).collect() };
        let mut writes = vec![format!("d/r/{id}")];
        if id % 1000 == 500 {
            writes.push("d/vm/*".into());
        }
        if id % 500 == 250 {
            reads.push("d/vm/*".into());
        }
        if id.is_multiple_of(5) {
            writes.push(format!("d/vm/{}", id % 50));
        }
        let place = id.is_multiple_of(5).then(|| format!("d/vm/{}", id % 50));
        action(id, if id.is_multiple_of(3) { "lookup" } else { "start" }, &reads, &writes, place)
    };
    (0..count).map(make).collect()
}

/// Each action reads what the one before wrote, all at one machine.
fn chain(count: usize) -> Vec<Arc<Action>> {
    let reads = |id: usize| if id == 0 { Vec::new() } else { vec![format!("d/r/{}", id - 1)] };
    (0..count).map(|id| action(id, "start", &reads(id), &[format!("d/r/{id}")], Some("d/vm/x".into()))).collect()
}

/// One resource: written, read by a thousand, written again, and so on.
fn fans(count: usize) -> Vec<Arc<Action>> {
    let one = || vec!["d/r/x".to_owned()];
    (0..count)
        .map(|id| if id % 1000 == 0 { action(id, "start", &[], &one(), None) } else { action(id, "start", &one(), &[], None) })
        .collect()
}

/// Looks at one machine and effects there by turns, ten of each.
fn turns(count: usize) -> Vec<Arc<Action>> {
    let method = |id: usize| if (id / 10).is_multiple_of(2) { "lookup" } else { "start" };
    (0..count).map(|id| action(id, method(id), &[], &[], Some("d/vm/x".into()))).collect()
}

fn work(actions: &[Arc<Action>]) -> u64 {
    connect_counted(actions, &After::default()).1
}

#[test]
fn work_grows_with_the_list_not_with_its_square() {
    for (name, make) in [("layered", layered as fn(usize) -> Vec<Arc<Action>>), ("chain", chain), ("fans", fans), ("turns", turns)] {
        let (small, large) = (work(&make(1_000)), work(&make(64_000)));
        assert!(large <= small * 64 * 3 / 2, "{name}: {small} steps for 1,000 actions, {large} for 64,000");
    }
}

#[test]
fn a_chain_of_a_hundred_thousand_overflows_nothing() {
    let actions = chain(100_000);
    let edges = connect_counted(&actions, &After::default()).0;
    assert_eq!(edges.len(), 99_999, "one value edge each; the place says the same");
    let graph = Graph { actions, edges, ..Graph::default() };
    assert_eq!(summary(&graph).actions.len(), 100_000);
    assert!(dot(&graph).len() > 1_000_000 && mermaid(&graph).len() > 1_000_000);
}

#[test]
fn after_costs_no_product_of_its_sides() {
    let actions: Vec<Arc<Action>> = (0..2_000).map(|id| action(id, "start", &[], &[format!("d/r/{id}")], None)).collect();
    // 1,000 actions in a row by `after`: each waits for the one before, and all for the first thousand's chain.
    let needs = |id: usize| {
        let span = Span::new(&Source::new("w.toml", ""), 0..0);
        if id == 0 {
            Vec::new()
        } else if id < 1_000 {
            vec![(id - 1, span)]
        } else {
            vec![(1_000, span)]
        }
    };
    let mut groups: Vec<Vec<ActionId>> = (0..1_000).map(|id| vec![ActionId(id)]).collect();
    groups.push((0..1_000).map(ActionId).collect());
    let after = After { groups, needs: (0..2_000).map(needs).collect() };
    let (edges, _) = connect_counted(&actions, &after);
    assert_eq!(edges.len(), 999 + 1_000, "only the last of the group is waited for");
}

#[test]
fn a_fleet_of_thousands_is_lowered() {
    let fleet = "type = \"proxmox/vm\"\n[global]\napiUrl = \"https://10.0.0.4:8006\"\nnode = \"n\"\n";
    let flow = "[input.names]\ntype = \"list\"\n[[step]]\nname = \"start\"\ncall = \"fleet.start\"\nfor_each = 'inputs.names'\nwith = { vmName = '${{ each.value }}' }\n[[step]]\nname = \"stop\"\ncall = \"fleet.stop\"\nfor_each = 'inputs.names'\nwith = { vmName = '${{ each.value }}' }\n";
    let names: Vec<Value> = (0..5_000).map(|n| Value::String(format!("vm{n}"))).collect();
    let project = project(&[("definitions/fleet.toml", fleet), ("workflows/w.toml", flow)]);
    let graph = graph_of(&project, &["w"], &[("names", Value::List(names))]).map_err(|c| lines(&c)).unwrap();
    assert_eq!((graph.actions.len(), graph.edges.len()), (10_000, 10_000), "each stop waits for its own start, for two reasons");
}
