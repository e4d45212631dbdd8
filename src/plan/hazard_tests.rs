//! The property this room lives by: every order that the edges allow gives what the list in order gives, and no edge can be left out.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::plan::explain::summary;
use crate::plan::graph::{ActionId, Conflict, Graph};
use crate::plan::kit::{graph_with, lines, project};
use crate::plan::world::{DEFINITIONS, World, types};

/// One step as the generator rolls it; any numbers make a step.
#[derive(Clone, Copy, Debug)]
struct Roll {
    call: u8,
    name: u8,
    value: u8,
    flow: u8,
}

fn step(index: usize, roll: Roll) -> String {
    let vm = ["a", "b", "${{ model.fleet.resource.note.n0.attributes.pick }}"][usize::from(roll.name % 3)];
    let note = ["n0", "n1"][usize::from(roll.name % 2)];
    let svc = ["svca", "svcb"][usize::from(roll.name % 2)];
    let value = [
        "1",
        "${{ model.fleet.resource.vm.a.attributes.v }}",
        "${{ model.fleet.resource.vm.b.attributes.v }}",
        "${{ model.fleet.resource.note.n0.attributes.v }}",
        "${{ model.svca.resource.out.out.attributes.v }}",
        "${{ model.fleet.resource.vm.map(n, model.fleet.resource.vm[n].attributes.v) }}",
        "${{ model.svcb.resource.sent.s0.attributes.v + model.fleet.resource.note.n1.attributes.v }}",
    ][usize::from(roll.value % 7)];
    let looped = roll.flow % 8 == 1 && matches!(roll.call % 11, 0 | 2 | 3);
    let vm = if looped { "${{ each.value }}" } else { vm };
    let (call, with) = match roll.call % 11 {
        0 => ("fleet.look".to_owned(), format!("vm = '{vm}'")),
        1 => ("fleet.sync".to_owned(), String::new()),
        2 => ("fleet.push".to_owned(), format!("vm = '{vm}', x = '{value}'")),
        3 => ("fleet.quiet".to_owned(), format!("vm = '{vm}', x = '{value}'")),
        4 => ("fleet.note".to_owned(), format!("as = '{note}', x = '{value}'")),
        5 => ("fleet.peek".to_owned(), format!("as = '{note}', x = '{value}'")),
        6 => (format!("{svc}.poke"), format!("x = '{value}'")),
        7 | 8 => (format!("{svc}.send"), format!("as = 's{}', x = '{value}'", roll.value % 2)),
        9 => (format!("{svc}.stat"), String::new()),
        _ => ("fleet.calm".to_owned(), format!("as = '{note}', vm = '{vm}', x = '{value}'")),
    };
    let mut text = format!("[[step]]\nname = \"s{index}\"\ncall = \"{call}\"\nwith = {{ {with} }}\n");
    match roll.flow % 8 {
        0 => text.push_str("if = 'model.fleet.resource.note.n1.attributes.v > 0'\n"),
        1 if looped => text.push_str("for_each = 'model.fleet.resource.note.n1.attributes.list'\n"),
        2 if index > 0 => text.push_str(&format!("after = [\"s{}\"]\n", usize::from(roll.name) % index)),
        _ => {}
    }
    // It claims a place without changing it, so it must not be ordered there.
    if roll.call % 11 == 10 {
        text.push_str("unordered = true\n");
    }
    text
}

fn graph(rolls: &[Roll]) -> Graph {
    graph_of(rolls.iter().enumerate().map(|(index, roll)| step(index, *roll)).collect())
}

/// The same workflow with switches that differ from step to step, so that no two Observes are equal.
fn unmerged(rolls: &[Roll]) -> Graph {
    let own = |(index, roll): (usize, &Roll)| format!("{}timeout = \"{}m\"\n", step(index, *roll), index + 1);
    graph_of(rolls.iter().enumerate().map(own).collect())
}

fn graph_of(workflow: String) -> Graph {
    let mut files = DEFINITIONS.to_vec();
    files.push(("workflows/w.toml", &workflow));
    graph_with(&project(&files), &types, &["w"], &[]).unwrap_or_else(|complaints| panic!("{}\n{workflow}", lines(&complaints)))
}

/// What each action waits for.
type Waits = Vec<BTreeSet<u32>>;

fn waits(graph: &Graph) -> Waits {
    let mut waits = vec![BTreeSet::new(); graph.actions.len()];
    for edge in &graph.edges {
        assert!(edge.from < edge.to, "edges follow program order");
        waits[edge.to.index()].insert(edge.from.0);
    }
    waits
}

/// An order that the edges allow; of several ready actions the one with the least rank goes first.
fn order(waits: &Waits, rank: &dyn Fn(u32) -> u64) -> Vec<ActionId> {
    let mut done = BTreeSet::new();
    let mut order = Vec::new();
    while order.len() < waits.len() {
        let ready = (0..waits.len() as u32).filter(|id| !done.contains(id) && waits[*id as usize].is_subset(&done));
        let next = ready.min_by_key(|id| (rank(*id), *id)).unwrap();
        done.insert(next);
        order.push(ActionId(next));
    }
    order
}

/// All orders that the edges allow, at most `bound`.
fn all_orders(waits: &Waits, bound: usize) -> Vec<Vec<ActionId>> {
    let mut open = vec![Vec::new()];
    let mut whole = Vec::new();
    while let Some(begun) = open.pop() {
        if begun.len() == waits.len() {
            whole.push(begun);
            if whole.len() >= bound {
                break;
            }
            continue;
        }
        let done: BTreeSet<u32> = begun.iter().map(|id: &ActionId| id.0).collect();
        for next in (0..waits.len() as u32).filter(|id| !done.contains(id) && waits[*id as usize].is_subset(&done)) {
            let mut longer = begun.clone();
            longer.push(ActionId(next));
            open.push(longer);
        }
    }
    whole
}

fn ancestors(waits: &Waits, of: u32) -> BTreeSet<u32> {
    let mut open = vec![of];
    let mut found = BTreeSet::new();
    while let Some(at) = open.pop() {
        open.extend(waits[at as usize].iter().filter(|from| found.insert(**from)));
    }
    found
}

fn roll() -> impl Strategy<Value = Roll> {
    (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(call, name, value, flow)| Roll { call, name, value, flow })
}

/// What the list in order gives.
fn in_order(graph: &Graph, salt: u64) -> World {
    let list: Vec<ActionId> = graph.actions.iter().map(|action| action.id).collect();
    World::new(salt).run(graph, &list)
}

fn same(graph: &Graph, expected: &World, order: &[ActionId], salt: u64) -> Result<(), TestCaseError> {
    let found = World::new(salt).run(graph, order);
    prop_assert_eq!(&found, expected, "order {:?} of\n{}", order, summary(graph));
    Ok(())
}

proptest! {
    #![proptest_config(crate::walks::cases(300))]

    #[test]
    fn every_legal_order_is_the_list_in_order(rolls in prop::collection::vec(roll(), 1..9), seeds in prop::collection::vec(any::<u64>(), 12)) {
        let graph = graph(&rolls);
        let waits = waits(&graph);
        let salt = seeds[0];
        let expected = in_order(&graph, salt);
        for seed in seeds {
            let shuffled = order(&waits, &|id| seed.rotate_left(id * 7).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20);
            same(&graph, &expected, &shuffled, salt)?;
        }
        // The last first: as far from program order as the edges allow.
        same(&graph, &expected, &order(&waits, &|id| u64::from(u32::MAX - id)), salt)?;
    }

    #[test]
    fn a_merged_observe_saw_what_it_would_have_seen(rolls in prop::collection::vec(roll(), 2..9), salt in any::<u64>()) {
        // Looks come often, so that some of them are equal.
        let looks = |roll: &Roll| Roll { call: if roll.flow > 90 { [0, 1, 5, 9][usize::from(roll.call % 4)] } else { roll.call }, flow: roll.flow | 4, ..*roll };
        let rolls: Vec<Roll> = rolls.iter().map(looks).collect();
        let (merged, unmerged) = (graph(&rolls), unmerged(&rolls));
        prop_assert!(unmerged.merged.is_empty());
        let run = |graph: &Graph| {
            let list: Vec<ActionId> = graph.actions.iter().map(|action| action.id).collect();
            World::new(salt).plainly().run(graph, &list).rest()
        };
        prop_assert!(run(&merged) == run(&unmerged), "{:#?}\n{}", merged.merged, summary(&merged));
    }

    #[test]
    fn small_graphs_are_tried_in_all_orders(rolls in prop::collection::vec(roll(), 1..5), salt in any::<u64>()) {
        let graph = graph(&rolls);
        let expected = in_order(&graph, salt);
        for order in all_orders(&waits(&graph), 200) {
            same(&graph, &expected, &order, salt)?;
        }
    }
}

proptest! {
    #![proptest_config(crate::walks::cases(150))]

    #[test]
    fn no_edge_can_be_left_out(rolls in prop::collection::vec(roll(), 2..7)) {
        let graph = graph(&rolls);
        let waits = waits(&graph);
        let mut pairs: BTreeMap<(u32, u32), Vec<&Conflict>> = BTreeMap::new();
        for edge in &graph.edges {
            pairs.entry((edge.from.0, edge.to.0)).or_default().push(&edge.why);
        }
        for ((from, to), whys) in pairs {
            // `after` speaks of what no rule, and so no simulated world, can see.
            let written = whys.iter().all(|why| matches!(why, Conflict::After(_)));
            let mut without = waits.clone();
            without[to as usize].remove(&from);
            let implied = ancestors(&without, to).contains(&from);
            let value = whys.iter().any(|why| matches!(why, Conflict::Value { .. }));
            prop_assert!(!implied || value, "a path implies {} -> {} of\n{}", from, to, summary(&graph));
            if !written && !implied {
                prop_assert!(matters(&graph, &without, from, to), "nothing needs {} -> {} of\n{}", from, to, summary(&graph));
            }
        }
    }
}

/// Whether some world tells the two orders of `from` and `to` apart, when both stand side by side and all else is equal.
fn matters(graph: &Graph, without: &Waits, from: u32, to: u32) -> bool {
    let mut first: BTreeSet<u32> = ancestors(without, from);
    first.extend(ancestors(without, to));
    let rank = |id: u32| {
        if first.contains(&id) {
            0
        } else if id == from || id == to {
            1
        } else {
            2
        }
    };
    let list = order(without, &rank);
    let mut swapped = list.clone();
    let place = |id: u32| list.iter().position(|other| other.0 == id).unwrap();
    assert_eq!(place(from).abs_diff(place(to)), 1, "both stand side by side");
    swapped.swap(place(from), place(to));
    // A possible writer often writes nothing, or elsewhere: many worlds are asked.
    (0..400).any(|salt| World::new(salt).run(graph, &list) != World::new(salt).run(graph, &swapped))
}
