//! What is taken as fresh, what is looked at again, and whose version stays in the chain.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::exec::rig::Rig;
use crate::exec::rig_types::outcome;
use crate::model::contract::Failure;
use crate::value::{Map, Value};

fn glance(x: i64) -> String {
    format!("[[step]]\nname = \"g\"\ncall = \"fleet.glance\"\nwith = {{ of = 'a', x = {x} }}\n")
}

const READ: &str = "x = '${{ model.fleet.resource.thing.a.attributes.n }}'";

fn reader(name: &str) -> String {
    format!("[[step]]\nname = \"{name}\"\ncall = \"fleet.note\"\nwith = {{ as = '{name}', {READ} }}\n")
}

/// `fleet.look` counts how often it looked.
fn counting(rig: &Rig) {
    let count = AtomicI64::new(0);
    rig.on("fleet.look", move |ctx, call| {
        let n = count.fetch_add(1, Ordering::SeqCst) + 1;
        std::future::ready(Ok(outcome(&ctx, &call, Value::Map(Map::from([("n".to_owned(), Value::Int(n))])))))
    });
}

#[tokio::test]
async fn an_observation_is_fresh_within_its_window_and_under_its_key() {
    // Old system, 13: every workflow did everything again.
    let steps =
        "[input.x]\ntype = \"integer\"\n[[step]]\nname = \"g\"\ncall = \"fleet.glance\"\nwith = { of = 'a', x = '${{ inputs.x }}' }\n";
    let mut rig = Rig::new(steps);
    let input = |x| Map::from([("x".to_owned(), Value::Int(x))]);
    rig.inputs = input(1);
    assert!(rig.run().await.has("started g: runs: it was never done here"));
    rig.clock.advance(Duration::from_secs(60));
    let told = rig.run().await;
    assert_eq!(told.of("g"), "fresh: fresh: what is known is 1 min old, and may be 10 min");
    assert!(!told.has("started"), "{:#?}", told.lines());
    let head = rig.head("fleet/seen/a").unwrap().0;
    assert_eq!((head.number, told.record("g").outputs[0].version), (1, Some(head.digest())), "the record names what it confirms");
    rig.inputs = input(2);
    assert!(rig.run().await.has("started g: runs: x was `1`, is `2`"));
    rig.inputs = input(1);
    let told = rig.run().await;
    assert!(told.lines()[0].starts_with("started g: runs: fleet/seen/a was written since, by w/g of run "), "{:#?}", told.lines());
    rig.clock.advance(Duration::from_secs(600));
    assert!(rig.run().await.has("started g: runs: what is known is 10 min old, and may be 10 min"));
}

#[tokio::test]
async fn a_failed_observation_is_not_fresh() {
    let rig = Rig::new(&glance(1));
    rig.fails("g", Failure::theirs("no"));
    rig.run().await;
    rig.on("g", |ctx, call| std::future::ready(Ok(crate::exec::rig_types::usual(&ctx, &call))));
    assert_eq!(rig.run().await.of("g"), "done: did it");
}

#[tokio::test]
async fn a_step_may_ask_for_freshness_and_effects_are_never_skipped() {
    let look = "[[step]]\nname = \"l\"\ncall = \"fleet.look\"\nwith = { name = 'b' }\nfresh = \"10m\"\n";
    let put = "[[step]]\nname = \"p\"\ncall = \"fleet.put\"\nwith = { name = 'c' }\n[[step]]\nname = \"a\"\ncall = \"fleet.note\"\nwith = { as = 'd' }\n";
    let rig = Rig::new(&[look, put].concat());
    assert_eq!(rig.run().await.of("l"), "done: did it");
    let told = rig.run().await;
    assert!(told.of("l").starts_with("fresh: "), "{}", told.of("l"));
    assert_eq!((told.of("p"), told.of("a")), ("done: did it".into(), "done: did it".into()));
    assert!(told.has("started p: runs: it looks first"), "{:#?}", told.lines());
}

#[tokio::test]
async fn an_implied_refresh_that_expired_is_made_again_before_its_later_reader() {
    let slow = "[[step]]\nname = \"slow\"\ncall = \"fleet.note\"\nwith = { as = 'slow' }\nafter = [\"early\"]\n";
    let late = reader("late") + "after = [\"slow\"]\n";
    for (passes, n) in [(299, 1), (300, 2)] {
        let rig = Rig::new(&[reader("early"), slow.to_owned(), late.clone()].concat());
        counting(&rig);
        let gate = rig.gate("slow");
        let run = rig.start();
        gate.arrived(1).await;
        rig.clock.advance(Duration::from_secs(passes));
        gate.open();
        let told = run.end().await;
        assert_eq!(rig.head("fleet/note/early").unwrap().1["x"], 1);
        assert_eq!(rig.head("fleet/note/late").unwrap().1["x"], n, "{:#?}", told.lines());
    }
}

#[tokio::test]
async fn the_list_of_a_loop_and_a_condition_are_looked_at_again_too() {
    let slow = "[[step]]\nname = \"slow\"\ncall = \"fleet.note\"\nwith = { as = 'slow' }\nafter = [\"early\"]\n";
    let note = |name: &str, rest: &str| {
        format!("[[step]]\nname = \"{name}\"\ncall = \"fleet.note\"\nwith = {{ as = '{name}' }}\nafter = [\"slow\"]\n{rest}\n")
    };
    let looped =
        note("loop", "for_each = 'model.fleet.resource.thing.a.attributes.n == 2 ? [1] : []'").replace("'loop'", "'l${{ each.key }}'");
    let conditional = note("cond", "if = 'model.fleet.resource.thing.a.attributes.n == 2'");
    let rig = Rig::new(&[reader("early"), slow.to_owned(), looped, conditional].concat());
    counting(&rig);
    let gate = rig.gate("slow");
    let run = rig.start();
    gate.arrived(1).await;
    rig.clock.advance(Duration::from_secs(301));
    gate.open();
    let told = run.end().await;
    assert_eq!((told.of("loop"), told.of("cond")), ("done: 1 item".into(), "done: did it".into()), "{:#?}", told.lines());
}

#[tokio::test]
async fn a_reader_sees_what_this_run_wrote_before_it() {
    // Old system, 3: it used the value of the run before.
    let write =
        "[input.x]\ntype = \"integer\"\n[[step]]\nname = \"w\"\ncall = \"fleet.note\"\nwith = { as = 'n', x = '${{ inputs.x }}' }\n";
    let read =
        "[[step]]\nname = \"r\"\ncall = \"fleet.note\"\nwith = { as = 'r', x = '${{ model.fleet.resource.note.n.attributes.x }}' }\n";
    let mut rig = Rig::new(&[write, read].concat());
    for x in [1, 2] {
        rig.inputs = Map::from([("x".to_owned(), Value::Int(x))]);
        let gate = rig.gate("w");
        let run = rig.start();
        gate.arrived(1).await;
        gate.open();
        let told = run.end().await;
        // Old system, 16: results were always strings.
        assert_eq!(rig.head("fleet/note/r").unwrap().1, json!({"as": "r", "x": x}));
        let read = rig.head("fleet/note/n").unwrap().0;
        assert_eq!(told.record("r").reads, [(read.resource.clone(), read.digest())]);
    }
}

const OTHER: (&str, &str) = ("workflows/v.toml", "[[step]]\nname = \"p\"\ncall = \"fleet.put\"\nwith = { name = 'a', x = 7 }\n");
const LOOK: (&str, &str) = ("workflows/w.toml", "[[step]]\nname = \"l\"\ncall = \"fleet.look\"\nwith = { name = 'a' }\n");

#[tokio::test]
async fn an_observation_whose_head_moved_stays_outside_the_chain() {
    let rig = Rig::of(&[LOOK, OTHER]);
    let gate = rig.gate("l");
    let run = rig.start();
    gate.arrived(1).await;
    rig.start_target("v").end().await;
    gate.open();
    let told = run.end().await;
    let output = &told.record("l").outputs[0];
    assert_eq!((told.of("l"), output.version), ("done: did it".into(), None));
    assert!(!told.has("stored"), "{:#?}", told.lines());
    let (head, attributes) = rig.head("fleet/thing/a").unwrap();
    assert_eq!((head.number, head.made.call.as_str(), &attributes["x"]), (1, "fleet.put", &json!(7)));
    assert_ne!(output.content, head.content, "its content is named all the same");
}

#[tokio::test]
async fn an_effect_wins_over_an_observation_at_the_same_time() {
    let rig = Rig::of(&[LOOK, OTHER]);
    let gate = rig.gate("v/p");
    let run = rig.start_target("v");
    gate.arrived(1).await;
    assert!(rig.run().await.has("stored fleet/thing/a 1 by l"));
    gate.open();
    let told = run.end().await;
    assert!(told.has("stored fleet/thing/a 2 by v/p, changed"), "{:#?}", told.lines());
    assert_eq!(rig.head("fleet/thing/a").unwrap().0.number, 2);
}
