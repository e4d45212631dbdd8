//! Which action starts when: no barrier, limits, failure across edges, conditions, cleanup.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::event::{Ending, RunState};
use crate::exec::engine::Stop;
use crate::exec::rig::{Gate, Rig};
use crate::model::contract::Failure;
use crate::secret::Redactor;
use crate::store::words::Commit;

fn step(name: &str, call: &str, with: &str) -> String {
    format!("[[step]]\nname = \"{name}\"\ncall = \"{call}\"\nwith = {{ {with} }}\n")
}

fn note(name: &str) -> String {
    step(name, "fleet.note", &format!("as = '{name}'"))
}

/// A note that reads the note of another step.
fn reads(name: &str, other: &str) -> String {
    step(name, "fleet.note", &format!("as = '{name}', x = '${{{{ model.fleet.resource.note.{other}.attributes.as }}}}'"))
}

#[tokio::test]
async fn a_step_waits_for_its_own_predecessors_only() {
    // Old system, 1: `after-quick` waited for `slow`, which stood on the level before it.
    let rig = Rig::new(&[note("slow"), note("quick"), reads("after-quick", "quick"), reads("after-slow", "slow")].concat());
    let gate = rig.gate("slow");
    let run = rig.start();
    run.until("done after-quick").await;
    assert!(!run.lines().iter().any(|line| line.starts_with("started after-slow")), "{:#?}", run.lines());
    gate.open();
    let told = run.end().await;
    assert_eq!((told.ran.state, told.ran.count(Ending::Done)), (RunState::Succeeded, 4));
}

#[tokio::test]
async fn fifty_steps_on_one_model_run_side_by_side() {
    // Old system, 4: one lock per model.
    let steps: String = (0..50).map(|n| note(&format!("s{n}"))).collect();
    let mut rig = Rig::new(&steps);
    (rig.settings.jobs, rig.settings.per_host) = (50, 50);
    let gate = rig.gate("fleet.note");
    let run = rig.start();
    gate.arrived(50).await;
    gate.open();
    assert_eq!(run.end().await.ran.count(Ending::Done), 50);
}

#[tokio::test]
async fn limits_hold_and_the_lowest_goes_first() {
    let steps: String = (0..9).map(|n| note(&format!("s{n}"))).collect();
    let other = step("other", "api.note", "as = 'other'");
    let mut rig = Rig::new(&(steps + &other));
    (rig.settings.jobs, rig.settings.per_host) = (3, 2);
    rig.vault.insert("password".into(), "hunter2!".into());
    let gates: Vec<_> = (0..9).map(|n| rig.gate(&format!("s{n}"))).collect();
    let last = rig.gate("other");
    let run = rig.start();
    gates[0].arrived(1).await;
    gates[1].arrived(1).await;
    // Another definition is another endpoint, so it gets the third slot although seven stand before it.
    last.arrived(1).await;
    assert_eq!(gates.iter().map(Gate::count).collect::<Vec<_>>(), [1, 1, 0, 0, 0, 0, 0, 0, 0]);
    gates[1].open();
    gates[2].arrived(1).await;
    last.open();
    run.until("done other").await;
    assert_eq!(gates[3].count(), 0, "a free slot of the run is no slot of the host");
    gates.iter().for_each(Gate::open);
    assert_eq!(run.end().await.ran.state, RunState::Succeeded);
}

#[expect(clippy::disallowed_methods, reason = "it holds the store's thread, which knows no clock of the rig's")]
#[tokio::test]
async fn the_next_begins_at_a_host_while_the_end_of_the_last_is_stored() {
    let next = step("b", "fleet.note", "as = 'b', key = '${{ vault.get(\"v\", \"password\") }}'");
    let mut rig = Rig::new(&(note("a") + &next));
    (rig.settings.jobs, rig.settings.per_host) = (2, 1);
    rig.vault.insert("password".into(), "hunter2!".into());
    let redactor = Arc::new(OnceLock::<Redactor>::new());
    let (begun, known) = (Arc::new(AtomicBool::new(false)), Arc::clone(&redactor));
    let seen = Arc::clone(&begun);
    // The end of `a` is not stored before `b` has asked for its secret, which is then known as one.
    rig.broken = Some(Arc::new(move |commit: &Commit| {
        if commit.records.iter().any(|record| record.made.step == "w/a") {
            let asked = || known.get().is_some_and(|redactor| redactor.clean("hunter2!") != "hunter2!");
            let deadline = Instant::now() + Duration::from_secs(10);
            while !asked() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            seen.store(asked(), Ordering::SeqCst);
        }
        false
    }));
    let (gate, run) = (rig.gate("a"), rig.start());
    redactor.set(run.engine.view.redactor.clone()).ok().unwrap();
    gate.arrived(1).await;
    assert_eq!(run.engine.view.redactor.clean("hunter2!"), "hunter2!", "while a method is at the host, the next one waits");
    gate.open();
    assert_eq!(run.end().await.ran.count(Ending::Done), 2);
    assert!(begun.load(Ordering::SeqCst), "the slot was free");
}

#[tokio::test]
async fn failure_crosses_every_kind_of_edge() {
    let bad = step("bad", "fleet.put", "name = 'a'");
    let value = step("value", "fleet.note", "as = 'v', x = '${{ model.fleet.resource.thing.a.attributes.x }}'");
    let order = step("order", "fleet.create", "name = 'a'");
    let place = step("place", "fleet.look", "name = 'a'");
    let after = note("after") + "after = [\"bad\"]\n";
    let rig = Rig::new(&[bad, value, order, place, after].concat());
    rig.fails("bad", Failure::theirs("no such machine"));
    let told = rig.run().await;
    assert_eq!(told.of("bad"), "failed: no such machine");
    for name in ["value", "order", "place", "after"] {
        assert_eq!(told.of(name), "skipped: skipped: w/bad failed", "{name}");
    }
    assert_eq!(told.ran.state, RunState::Failed);
    assert_eq!(told.ran.failures.len(), 1);
}

#[tokio::test]
async fn what_runs_ends_and_independent_steps_start_only_when_the_run_keeps_going() {
    for (keep_going, waiting) in [(false, "skipped: skipped: w/bad failed before it could start"), (true, "done: did it")] {
        let mut rig = Rig::new(&[note("bad"), note("running"), note("waiting"), reads("dependent", "bad")].concat());
        (rig.settings.jobs, rig.settings.keep_going) = (2, keep_going);
        let (bad, running) = (rig.gate_and_fail("bad", Failure::theirs("no")), rig.gate("running"));
        let run = rig.start();
        bad.arrived(1).await;
        running.arrived(1).await;
        bad.open();
        // The driver knows of the failure by then.
        run.until("skipped dependent").await;
        running.open();
        let told = run.end().await;
        assert_eq!((told.of("running"), told.of("waiting")), ("done: did it".into(), waiting.into()), "{:#?}", told.lines());
        assert_eq!(told.of("dependent"), "skipped: skipped: w/bad failed");
    }
}

#[tokio::test]
async fn an_optional_failure_skips_only_those_that_need_its_value() {
    let warn = step("warn", "fleet.put", "name = 'a'") + "optional = true\n";
    let needs = step("needs", "fleet.note", "as = 'n', x = '${{ model.fleet.resource.thing.a.attributes.x }}'") + "optional = true\n";
    let stop = step("stop", "fleet.create", "name = 'a'");
    let last = note("last") + "after = [\"needs\"]\n";
    let rig = Rig::new(&[warn, needs, stop, last].concat());
    rig.fails("warn", Failure::theirs("nobody listens").maybe_acted());
    let told = rig.run().await;
    assert_eq!((told.of("warn"), told.of("needs")), ("failed: nobody listens".into(), "skipped: skipped: w/warn failed".into()));
    assert_eq!((told.of("stop"), told.of("last")), ("done: did it".into(), "done: did it".into()));
    assert_eq!((told.ran.state, told.ran.failures.len()), (RunState::Succeeded, 0));
}

#[tokio::test]
async fn a_reader_that_tolerates_absence_runs_when_its_refresh_failed() {
    let with = "as = 'n', x = '${{ has(model.fleet.resource.thing.a.attributes.ip) ? \"there\" : \"gone\" }}'";
    let rig = Rig::new(&step("n", "fleet.note", with));
    rig.fails("fleet.look", Failure::theirs("no such machine"));
    let told = rig.run().await;
    assert_eq!((told.of("n"), told.ran.state), ("done: did it".into(), RunState::Succeeded), "{:#?}", told.lines());
    assert_eq!(rig.head("fleet/note/n").unwrap().1["x"], "gone");
}

#[tokio::test]
async fn a_false_condition_skips_only_its_own_step() {
    let flag = step("flag", "fleet.note", "as = 'flag', x = 2");
    let no = note("no") + "if = 'model.fleet.resource.note.flag.attributes.x == 1'\n";
    let yes = note("yes") + "if = 'model.fleet.resource.note.flag.attributes.x == 2'\nafter = [\"no\"]\n";
    let told = Rig::new(&[flag, no, yes].concat()).run().await;
    assert_eq!(told.of("no"), "skipped: `model.fleet.resource.note.flag.attributes.x == 1` is false");
    assert_eq!((told.of("yes"), told.ran.state), ("done: did it".into(), RunState::Succeeded));
}

fn cleanup() -> String {
    note("clean") + "after = [\"bad\"]\nalways = true\n"
}

#[tokio::test]
async fn cleanup_runs_after_a_failure_once_something_has_acted() {
    // Old system, 2: it stayed pending.
    let bad = step("bad", "fleet.note", "as = 'bad'") + "after = [\"act\"]\n";
    let rig = Rig::new(&[note("act"), bad, cleanup(), note("other") + "after = [\"bad\"]\n"].concat());
    rig.fails("bad", Failure::theirs("no"));
    let told = rig.run().await;
    assert_eq!((told.of("clean"), told.of("other")), ("done: did it".into(), "skipped: skipped: w/bad failed".into()));
    assert_eq!(told.ran.state, RunState::Failed);
}

#[tokio::test]
async fn cleanup_is_skipped_when_nothing_has_acted() {
    let bad = step("bad", "fleet.note", "as = 'bad', x = '${{ model.fleet.resource.note.none.attributes.x }}'");
    let told = Rig::new(&[bad, cleanup()].concat()).run().await;
    assert!(told.of("bad").contains("no version of fleet/note/none yet"), "{}", told.of("bad"));
    assert_eq!(told.of("clean"), "skipped: skipped: w/bad failed");
}

#[tokio::test]
async fn a_first_stop_lets_cleanup_run_and_a_second_does_not() {
    for (stop, clean, state) in [
        (Stop::Starting, "done: did it", RunState::Cancelled),
        (Stop::Running, "skipped: skipped: the run was stopped", RunState::Cancelled),
    ] {
        let rig = Rig::new(&[note("bad"), cleanup(), note("next") + "after = [\"bad\"]\n"].concat());
        let gate = rig.gate("bad");
        let run = rig.start();
        gate.arrived(1).await;
        run.stop.send(stop).unwrap();
        gate.open();
        let told = run.end().await;
        assert_eq!(told.of("bad"), "done: did it", "what runs ends");
        assert_eq!((told.of("clean").as_str(), told.ran.state), (clean, state));
        assert_eq!(told.of("next"), "skipped: skipped: the run was stopped");
    }
}

#[tokio::test]
async fn a_run_that_was_stopped_after_its_last_action_succeeded() {
    let rig = Rig::new(&(note("a") + &note("no") + "if = 'run.id == \"\"'\n"));
    let gate = rig.gate("a");
    let run = rig.start();
    gate.arrived(1).await;
    run.until("skipped no").await;
    run.stop.send(Stop::Starting).unwrap();
    gate.open();
    assert_eq!(run.end().await.ran.state, RunState::Succeeded, "a false condition is no cut");
}

fn looped() -> String {
    let each = step("each", "fleet.note", "as = '${{ each.value }}'") + "for_each = 'model.fleet.resource.note.list.attributes.items'\n";
    [note("list"), each, note("after") + "after = [\"each\"]\n"].concat()
}

#[tokio::test]
async fn a_loop_over_a_resource_becomes_actions_and_its_successors_wait_for_all() {
    let rig = Rig::new(&looped());
    rig.gives("list", serde_json::json!({"items": ["x", "y"]}));
    let gate = rig.gate("each[0]");
    let run = rig.start();
    gate.arrived(1).await;
    run.until("done each[1]").await;
    run.until("done each: 2 items").await;
    assert!(!run.lines().iter().any(|line| line.starts_with("started after")));
    gate.open();
    let told = run.end().await;
    assert_eq!((told.of("after"), told.ran.actions.len()), ("done: did it".into(), 5));
    assert!(rig.head("fleet/note/x").is_some() && rig.head("fleet/note/y").is_some());
}

#[tokio::test]
async fn an_empty_loop_and_a_failing_item() {
    let rig = Rig::new(&looped());
    rig.gives("list", serde_json::json!({"items": []}));
    let told = rig.run().await;
    assert_eq!((told.of("each"), told.of("after")), ("done: 0 items".into(), "done: did it".into()));
    rig.gives("list", serde_json::json!({"items": {"k": "x", "l": "y"}}));
    rig.fails("each[l]", Failure::theirs("no"));
    let told = rig.run().await;
    assert_eq!((told.of("each[k]"), told.of("after")), ("done: did it".into(), "skipped: skipped: w/each[l] failed".into()));
    rig.gives("list", serde_json::json!({"items": "x"}));
    let told = rig.run().await;
    assert!(told.of("each").starts_with("failed: workflows/w.toml:"), "{}", told.of("each"));
    assert!(told.has("failed each: "), "told like every other end: {:#?}", told.lines());
}

#[tokio::test]
async fn a_condition_guards_the_list_of_its_loop() {
    let each = step("each", "fleet.note", "as = '${{ each.value }}'")
        + "for_each = 'model.fleet.resource.note.none.attributes.items'\nif = 'has(model.fleet.resource.note.none.attributes.items)'\n";
    let told = Rig::new(&each).run().await;
    assert_eq!(told.of("each"), "skipped: `has(model.fleet.resource.note.none.attributes.items)` is false");
}

#[tokio::test]
async fn a_long_chain_and_a_wide_field_end() {
    let chain: String =
        (0..300).map(|n| if n == 0 { note("s0") } else { note(&format!("s{n}")) + &format!("after = [\"s{}\"]\n", n - 1) }).collect();
    let wide: String = (0..1000).map(|n| note(&format!("w{n}"))).collect();
    let told = Rig::new(&(chain + &wide)).run().await;
    assert_eq!(told.ran.count(Ending::Done), 1300);
}
