//! Going on with a run: whatever prefix of its journal is left, what ended is kept, what began is called again with its tasks, and the rest is done.

use std::sync::Arc;

use crate::event::{Event, RunState, Stamped};
use crate::exec::past::{Past, Standing};
use crate::exec::rig::{Rig, Told};
use crate::exec::rig_types::usual;
use crate::model::contract::Failure;

fn step(name: &str, call: &str, with: &str) -> String {
    format!("[[step]]\nname = \"{name}\"\ncall = \"{call}\"\nwith = {{ {with} }}\n")
}

/// An observation, three effects in a row of which the second begins a task, and one beside them.
fn steps() -> String {
    [
        step("see", "fleet.look", "name = 'a'"),
        step("one", "fleet.note", "as = 'one'"),
        step("two", "fleet.note", "as = 'two', x = '${{ model.fleet.resource.note.one.attributes.as }}'"),
        step("three", "fleet.note", "as = 'three', x = '${{ model.fleet.resource.note.two.attributes.as }}'"),
        step("beside", "fleet.put", "name = 'b'"),
    ]
    .concat()
}

/// How often each step was called.
fn counted(rig: &Rig) -> impl Fn(&str) -> usize + use<> {
    let names = ["see", "one", "two", "three", "beside"];
    let calls: Vec<_> = names.iter().map(|name| (*name, rig.spy(name))).collect();
    move |step: &str| calls.iter().find(|(name, _)| *name == step).map_or(0, |(_, calls)| calls.lock().unwrap().len())
}

async fn first_life(rig: &Rig) -> Told {
    rig.on("two", |ctx, call| async move {
        ctx.reporter.task("UPID:pve:2").await?;
        Ok(usual(&ctx, &call))
    });
    rig.run().await
}

#[tokio::test]
async fn after_every_prefix_of_a_journal_nothing_that_ended_is_repeated() {
    let whole = first_life(&Rig::new(&steps())).await.journal;
    assert!(whole.len() > 15, "{whole:#?}");
    for cut in 0..=whole.len() {
        let mut rig = Rig::new(&steps());
        // The world and the store are as they were when the process died.
        first_life(&rig).await;
        let prefix = &whole[..cut];
        rig.past = Arc::new(Past::read(prefix));
        let calls = counted(&rig);
        let told = rig.run().await;
        assert_eq!(told.ran.state, RunState::Succeeded, "cut at {cut}: {:#?}", told.lines());
        for name in ["see", "one", "two", "three", "beside"] {
            let ended = matches!(rig.past.standing(&format!("w/{name}")), Standing::Ended { .. });
            assert_eq!(calls(name), usize::from(!ended), "{name}, cut at {cut}: {:#?}", told.lines());
            assert_eq!(told.ran.actions.iter().filter(|(step, ..)| *step == format!("w/{name}")).count(), 1);
        }
    }
}

#[tokio::test]
async fn a_method_is_told_of_the_tasks_that_it_had_begun() {
    let whole = first_life(&Rig::new(&steps())).await.journal;
    let task = whole.iter().position(|line| matches!(line.event, Event::Task { .. })).unwrap();
    let mut rig = Rig::new(&steps());
    first_life(&rig).await;
    rig.past = Arc::new(Past::read(&whole[..=task]));
    let (two, three) = (rig.spy("two"), rig.spy("three"));
    assert_eq!(rig.run().await.ran.state, RunState::Succeeded);
    assert_eq!(two.lock().unwrap()[0].0.unfinished, ["UPID:pve:2"]);
    assert!(three.lock().unwrap()[0].0.unfinished.is_empty());
}

#[tokio::test]
async fn a_loop_goes_over_the_items_that_it_had() {
    let list = "[[step]]\nname = \"each\"\ncall = \"fleet.note\"\nfor_each = 'model.fleet.resource.thing.l.attributes.items'\nwith = { as = '${{ each.value }}' }\n";
    let steps = step("list", "fleet.put", "name = 'l'") + list;
    let rig = Rig::new(&steps);
    rig.gives("list", serde_json::json!({"items": ["x", "y", "z"]}));
    let whole = rig.run().await.journal;
    let second = whole.iter().position(|line| matches!(&line.event, Event::ActionStarted { step, .. } if step == "w/each[1]")).unwrap();
    let mut rig = Rig::new(&steps);
    rig.gives("list", serde_json::json!({"items": ["x", "y", "z"]}));
    rig.run().await;
    // Meanwhile the list has become another one; the run goes on with its own.
    rig.gives("fleet.put", serde_json::json!({"items": ["other"]}));
    rig.past = Arc::new(Past::read(&whole[..second]));
    let told = rig.run().await;
    let steps: Vec<&str> = told.ran.actions.iter().map(|(step, ..)| step.as_str()).collect();
    assert_eq!(steps, ["w/list", "w/each", "w/each[0]", "w/each[1]", "w/each[2]"]);
    assert_eq!(told.ran.state, RunState::Succeeded);
}

#[tokio::test]
async fn a_cleanup_is_owed_to_what_began_in_an_earlier_life() {
    let steps = step("see", "fleet.look", "name = 'a'")
        + &step("act", "fleet.put", "name = 'c', x = '${{ model.fleet.resource.thing.a.attributes.name }}'")
        + &step("clean", "fleet.note", "as = 'clean'")
        + "always = true\nafter = [\"act\"]\n";
    let whole = Rig::new(&steps).run().await.journal;
    let begun = whole.iter().position(|line| matches!(&line.event, Event::ActionStarted { step, .. } if step == "w/act")).unwrap();
    // Only the start of the effect is known, and this time even the look before it fails.
    let prefix: Vec<Stamped> = whole[begun..=begun].to_vec();
    let mut rig = Rig::new(&steps);
    rig.past = Arc::new(Past::read(&prefix));
    rig.fails("see", Failure::theirs("no"));
    let told = rig.run().await;
    assert!(told.of("act").starts_with("skipped") && told.of("clean").starts_with("done"), "{:#?}", told.lines());
    let mut fresh = Rig::new(&steps);
    fresh.past = Arc::default();
    fresh.fails("see", Failure::theirs("no"));
    let told = fresh.run().await;
    assert!(told.of("clean").starts_with("skipped"), "nothing was begun: {:#?}", told.lines());
}
