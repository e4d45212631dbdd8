//! Leases: a run waits for those that came first and conflict with it, says for whom, and goes on; observations never wait.

use std::time::Duration;

use crate::event::{Event, RunState};
use crate::exec::engine::Stop;
use crate::exec::rig::{Gate, Rig, Running, soon};
use crate::model::contract::{Failure, FailureKind};
use crate::name::Actor;
use crate::store::Store;

const LOOK: Duration = Duration::from_millis(25);

fn note(step: &str, name: &str) -> String {
    format!("[[step]]\nname = \"{step}\"\ncall = \"fleet.note\"\nwith = {{ as = '{name}' }}\n")
}

/// `w` writes the note a; `v` writes a and c; `z` writes z; `o` only looks.
fn rig() -> Rig {
    let (w, v, z) = (note("a", "a"), note("b", "a") + &note("c", "c"), note("z", "z"));
    let o = "[[step]]\nname = \"l\"\ncall = \"fleet.look\"\nwith = { name = 'x' }\n";
    Rig::of(&[
        ("workflows/w.toml", w.as_str()),
        ("workflows/v.toml", v.as_str()),
        ("workflows/z.toml", z.as_str()),
        ("workflows/o.toml", o),
    ])
}

fn started(run: &Running) -> bool {
    run.lines().iter().any(|line| line.starts_with("started"))
}

/// Lets looks at the queue pass until the run says a line that begins so.
async fn passing(rig: &Rig, run: &Running, line: &str) {
    let said = async {
        while !run.lines().iter().any(|told| told.starts_with(line)) {
            rig.clock.advance(LOOK);
            tokio::task::yield_now().await;
        }
    };
    soon(said).await;
}

/// Nobody has anything any more.
fn nothing_is_left(rig: &Rig) {
    assert_eq!(rig.store.another().requests().unwrap(), []);
}

/// A run that acts on `a` until the gate is opened.
async fn acting(rig: &Rig) -> (Gate, Running) {
    let gate = rig.gate("a");
    let run = rig.start();
    gate.arrived(1).await;
    (gate, run)
}

#[tokio::test]
async fn a_second_run_waits_and_says_for_whom() {
    // Old system, 5: it failed after 60 s, naming a path and a pid.
    let mut rig = rig();
    rig.actor = Actor::new("discord", "1234/nick");
    let (gate, first) = acting(&rig).await;
    rig.actor = Actor::new("cli", "other");
    let second = rig.start_target("v");
    let who = format!("leases waiting for fleet/note/a: run {} by discord:1234/nick, w/a, ", first.id.short());
    second.until(&format!("{who}0 s")).await;
    for _ in 0..3 {
        rig.clock.pass(LOOK).await;
    }
    rig.clock.asleep(LOOK).await;
    rig.clock.advance(Duration::from_secs(30));
    second.until(&format!("{who}30 s")).await;
    let said = second.lines().iter().filter(|line| line.starts_with("leases waiting")).count();
    assert_eq!(said, 2, "said at first and each 30 s: {:#?}", second.lines());
    assert!(!started(&second));
    gate.open();
    let run = first.id.clone();
    assert_eq!(first.end().await.ran.state, RunState::Succeeded);
    passing(&rig, &second, "done v/c").await;
    let told = second.end().await;
    assert_eq!(told.ran.state, RunState::Succeeded);
    let lines = told.lines();
    let held = lines.iter().position(|line| line == "leases ").unwrap();
    assert!(lines.iter().position(|line| line.starts_with("started")).unwrap() > held, "{lines:#?}");
    let on = told.events.iter().find_map(|stamped| if let Event::Leases { on, .. } = &stamped.event { on.first() } else { None }).unwrap();
    assert_eq!((on.what.as_str(), &on.run, on.step.as_str()), ("fleet/note/a", &run, "w/a"));
    assert_eq!((on.actor.as_ref().map(Actor::as_str), on.since.is_some()), (Some("discord:1234/nick"), true));
    nothing_is_left(&rig);
}

#[tokio::test]
async fn independent_runs_act_side_by_side() {
    // Old system, 4: one slow start blocked every other VM.
    let rig = rig();
    let (gate, first) = acting(&rig).await;
    assert_eq!(rig.start_target("z").end().await.ran.state, RunState::Succeeded);
    gate.open();
    assert_eq!(first.end().await.ran.state, RunState::Succeeded);
}

#[tokio::test]
async fn a_run_that_may_not_wait_is_refused() {
    let mut rig = rig();
    let (gate, first) = acting(&rig).await;
    rig.wait = false;
    let told = rig.start_target("v").end().await;
    assert_eq!((told.ran.state, told.ran.failures[0].1.kind), (RunState::Failed, FailureKind::Refused));
    let why = format!("failed: fleet/note/a is taken: run {} by cli:test, w/a, 0 s", first.id.short());
    assert_eq!([told.of("v/b"), told.of("v/c")], [why.clone(), why]);
    gate.open();
    assert_eq!(first.end().await.ran.state, RunState::Succeeded);
    assert_eq!(rig.start_target("v").end().await.ran.state, RunState::Succeeded, "it was given back");
    nothing_is_left(&rig);
}

#[tokio::test]
async fn a_stop_ends_the_wait_and_leaves_the_queue() {
    let rig = rig();
    let (gate, first) = acting(&rig).await;
    let second = rig.start_target("v");
    second.until("leases waiting").await;
    let third = rig.start_target("w");
    let behind = format!("leases waiting for fleet/note/a: run {} by cli:test, w/a, 0 s (and 1 other run)", first.id.short());
    third.until(&behind).await;
    second.stop.send(Stop::Starting).unwrap();
    let told = second.end().await;
    assert_eq!(told.ran.state, RunState::Cancelled);
    let why = format!("cancelled: stopped while waiting for run {} by cli:test, w/a, 0 s", first.id.short());
    assert_eq!([told.of("v/b"), told.of("v/c")], [why.clone(), why]);
    gate.open();
    first.end().await;
    passing(&rig, &third, "done a").await;
    assert_eq!(third.end().await.ran.state, RunState::Succeeded);
    nothing_is_left(&rig);
}

#[tokio::test]
async fn observations_never_wait() {
    let rig = rig();
    let (gate, first) = acting(&rig).await;
    assert_eq!(rig.start_target("o").end().await.ran.state, RunState::Succeeded);
    gate.open();
    first.end().await;
}

#[tokio::test]
async fn what_waits_for_leases_takes_no_slot_from_observations() {
    let steps = note("b", "a") + "[[step]]\nname = \"l\"\ncall = \"fleet.look\"\nwith = { name = 'x' }\n";
    let mut rig = Rig::of(&[("workflows/w.toml", &note("a", "a")), ("workflows/v.toml", &steps)]);
    (rig.settings.jobs, rig.settings.per_host) = (1, 1);
    let (gate, first) = acting(&rig).await;
    let second = rig.start_target("v");
    second.until("done v/l").await;
    assert!(second.lines().iter().all(|line| !line.starts_with("started v/b")));
    gate.open();
    first.end().await;
    passing(&rig, &second, "done v/b").await;
    assert_eq!(second.end().await.ran.state, RunState::Succeeded);
}

#[tokio::test]
async fn conditions_are_asked_once_the_leases_are_held() {
    let flag = |x: &str| format!("[[step]]\nname = \"a\"\ncall = \"fleet.note\"\nwith = {{ as = 'flag', x = '{x}' }}\n");
    let v = note("b", "b") + "if = 'model.fleet.resource.note.flag.attributes.x == \"up\"'\n";
    let rig = Rig::of(&[("workflows/w.toml", &flag("down")), ("workflows/v.toml", &v), ("workflows/u.toml", &flag("up"))]);
    rig.start_target("u").end().await;
    let (gate, first) = acting(&rig).await;
    let second = rig.start_target("v");
    second.until("leases waiting for fleet/note/flag").await;
    gate.open();
    first.end().await;
    passing(&rig, &second, "skipped v/b").await;
    let told = second.end().await;
    assert!(told.of("v/b").ends_with("is false"), "the flag went down while it waited: {}", told.of("v/b"));
    nothing_is_left(&rig);
}

#[tokio::test]
async fn each_lease_is_given_back_after_its_last_use() {
    let rig = Rig::of(&[("workflows/w.toml", &(note("a", "a") + &note("slow", "s"))), ("workflows/v.toml", &note("b", "a"))]);
    let (gate, slow) = (rig.gate("a"), rig.gate("slow"));
    let first = rig.start();
    gate.arrived(1).await;
    slow.arrived(1).await;
    let second = rig.start_target("v");
    second.until("leases waiting").await;
    gate.open();
    first.until("done a").await;
    passing(&rig, &second, "done v/b").await;
    assert_eq!(second.end().await.ran.state, RunState::Succeeded, "the first run goes on");
    slow.open();
    first.end().await;
    nothing_is_left(&rig);
}

#[tokio::test]
async fn what_may_still_be_at_work_keeps_its_leases_to_the_end() {
    let w = note("a", "a") + "optional = true\n" + &note("slow", "s");
    let rig = Rig::of(&[("workflows/w.toml", &w), ("workflows/v.toml", &note("b", "a"))]);
    let slow = rig.gate("slow");
    rig.fails("a", Failure::theirs("the line went dead").maybe_acted());
    let first = rig.start();
    slow.arrived(1).await;
    first.until("failed a").await;
    let second = rig.start_target("v");
    second.until("leases waiting").await;
    rig.clock.pass(LOOK).await;
    rig.clock.asleep(LOOK).await;
    assert!(!started(&second));
    slow.open();
    first.end().await;
    passing(&rig, &second, "done v/b").await;
    assert_eq!(second.end().await.ran.state, RunState::Succeeded);
}

#[tokio::test]
async fn steps_that_never_run_give_back_what_they_would_have_used() {
    let w = note("a", "a") + "if = 'model.fleet.resource.note.flag.attributes.x == \"up\"'\n" + &note("slow", "s");
    let rig = Rig::of(&[
        ("workflows/w.toml", w.as_str()),
        ("workflows/v.toml", &note("b", "a")),
        ("workflows/u.toml", "[[step]]\nname = \"u\"\ncall = \"fleet.note\"\nwith = { as = 'flag', x = 'down' }\n"),
    ]);
    rig.start_target("u").end().await;
    let slow = rig.gate("slow");
    let first = rig.start();
    slow.arrived(1).await;
    first.until("skipped a").await;
    let second = rig.start_target("v");
    passing(&rig, &second, "done v/b").await;
    slow.open();
    first.end().await;
    second.end().await;
    nothing_is_left(&rig);
}

#[tokio::test]
async fn a_loop_over_unknown_items_takes_every_member() {
    let w = "[[step]]\nname = \"a\"\ncall = \"fleet.note\"\nfor_each = 'model.fleet.resource.note.list.attributes.x'\nwith = { as = '${{ each.value }}' }\n";
    let rig = Rig::of(&[
        ("workflows/w.toml", &(w.to_owned() + &note("slow", "s").replace("fleet.note", "bare.note"))),
        ("workflows/v.toml", &note("b", "q")),
        ("workflows/u.toml", "[[step]]\nname = \"u\"\ncall = \"fleet.note\"\nwith = { as = 'list', x = ['p', 'q'] }\n"),
    ]);
    rig.start_target("u").end().await;
    let gate = rig.gate("w/a[1]");
    let slow = rig.gate("slow");
    let first = rig.start();
    gate.arrived(1).await;
    slow.arrived(1).await;
    let second = rig.start_target("v");
    second.until(&format!("leases waiting for fleet/note/q: run {} by cli:test, w/a[1], 0 s", first.id.short())).await;
    gate.open();
    first.until("done a[1]").await;
    passing(&rig, &second, "done v/b").await;
    assert_eq!(second.end().await.ran.state, RunState::Succeeded, "the last item gave `*` back");
    slow.open();
    first.end().await;
    nothing_is_left(&rig);
}

#[tokio::test]
async fn a_dead_holder_lets_the_next_one_in_and_is_told_of() {
    let rig = rig();
    let (_gate, first) = acting(&rig).await;
    let second = rig.start_target("v");
    second.until("leases waiting").await;
    let dead = first.id.clone();
    first.kill(&rig).await;
    passing(&rig, &second, "done v/b").await;
    let told = second.end().await;
    assert_eq!(told.ran.state, RunState::Succeeded);
    assert!(told.lines().iter().any(|line| line.contains(dead.short()) && line.contains("w/a")), "{:#?}", told.lines());
    nothing_is_left(&rig);
}

#[tokio::test]
async fn a_killed_waiter_does_not_block_those_behind_it() {
    let rig = rig();
    let (gate, first) = acting(&rig).await;
    let second = rig.start_target("v");
    second.until("leases waiting").await;
    let third = rig.start();
    third.until("leases waiting").await;
    second.kill(&rig).await;
    gate.open();
    first.end().await;
    passing(&rig, &third, "done a").await;
    assert_eq!(third.end().await.ran.state, RunState::Succeeded);
    nothing_is_left(&rig);
}

#[tokio::test]
async fn a_run_whose_effects_are_of_no_use_any_more_stops_waiting() {
    let v = note("b", "a") + "[[step]]\nname = \"l\"\ncall = \"fleet.look\"\nwith = { name = 'x' }\n";
    let rig = Rig::of(&[("workflows/w.toml", &note("a", "a")), ("workflows/v.toml", &v)]);
    let (gate, looks) = (rig.gate("a"), rig.gate_and_fail("fleet.look", Failure::theirs("no such VM")));
    let first = rig.start();
    gate.arrived(1).await;
    let second = rig.start_target("v");
    looks.arrived(1).await;
    second.until("leases waiting").await;
    looks.open();
    let told = second.end().await;
    assert_eq!(told.ran.state, RunState::Failed);
    assert_eq!(told.of("v/b"), "skipped: skipped: v/l failed before it could start");
    gate.open();
    first.end().await;
    nothing_is_left(&rig);
}
