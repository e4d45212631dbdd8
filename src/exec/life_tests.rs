//! One method's life: panics, undeclared writes, time that is up, cancellation, and what is tried again.

use std::time::Duration;

use crate::event::{Ending, RunState};
use crate::exec::engine::Stop;
use crate::exec::rig::Rig;
use crate::exec::rig_types::usual;
use crate::model::contract::{Acted, Failure, FailureKind, Outcome};
use crate::model::wait::{cancelled, pause, undeterred};
use crate::value::Value;

fn step(call: &str, with: &str, rest: &str) -> String {
    format!("[[step]]\nname = \"a\"\ncall = \"{call}\"\nwith = {{ {with} }}\n{rest}\n")
}

fn note(rest: &str) -> Rig {
    Rig::new(&step("fleet.note", "as = 'n'", rest))
}

#[tokio::test]
async fn a_method_that_panics_fails_like_any_other() {
    let rig = note("");
    rig.on("a", |ctx, _| async move {
        ctx.reporter.line(crate::event::Stream::Out, "so far so good");
        if ctx.who.step == "w/a" {
            panic!("index {} out of bounds", 7)
        }
        Ok(Outcome::default())
    });
    let told = rig.run().await;
    assert_eq!(told.of("a"), "failed: fleet.note panicked: index 7 out of bounds");
    let failure = &told.ran.failures[0].1;
    assert_eq!((failure.kind, failure.acted), (FailureKind::Ours, Acted::Maybe));
    assert_eq!((told.record("a").ending, told.record("a").log.is_some()), (Ending::Failed, true));
    assert!(told.has("failed a: fleet.note panicked"), "{:#?}", told.lines());
}

#[tokio::test]
async fn what_a_method_did_not_declare_is_not_stored() {
    for (spec, instance, complaint) in [
        ("thing", "n", "fleet.note wrote fleet/thing/n, which it does not declare"),
        ("note", "other", "fleet.note wrote fleet/note/other, which it does not declare"),
        ("note", "n", "fleet.note wrote fleet/note/n twice"),
    ] {
        let rig = note("");
        rig.on("a", move |_, _| async move {
            Ok(Outcome::changed("did it").write("note", "n", Value::Map([].into())).write(spec, instance, Value::Map([].into())))
        });
        let told = rig.run().await;
        assert_eq!(told.of("a"), format!("failed: {complaint}"));
        assert_eq!(told.ran.failures[0].1.acted, Acted::Maybe, "it did act");
        assert_eq!(told.record("a").summary, complaint);
        assert!(rig.head("fleet/note/n").is_none(), "all of it or nothing");
    }
}

#[tokio::test]
async fn a_step_that_takes_too_long_is_told_to_end_and_then_dropped() {
    let rig = note("timeout = \"60s\"");
    rig.on("a", |_, _| std::future::pending());
    let run = rig.start();
    rig.clock.pass(Duration::from_secs(60)).await;
    rig.clock.pass(Duration::from_secs(10)).await;
    let told = run.end().await;
    assert_eq!(told.of("a"), "failed: fleet.note did not end within the step's timeout of 60 s");
    assert_eq!(told.ran.failures[0].1.acted, Acted::Maybe);
}

#[tokio::test]
async fn a_step_whose_time_is_up_may_end_its_remote_task() {
    for ok in [false, true] {
        let rig = note("timeout = \"60s\"");
        rig.on("a", move |ctx, call| async move {
            ctx.reporter.cancelled().await;
            ctx.reporter.task("UPID:stopped").await?;
            if ok { Ok(usual(&ctx, &call)) } else { Err(Failure::theirs("the task was ended")) }
        });
        let run = rig.start();
        rig.clock.pass(Duration::from_secs(60)).await;
        let told = run.end().await;
        assert!(told.has("task a: UPID:stopped"));
        let timeout = "failed: fleet.note did not end within the step's timeout of 60 s";
        assert_eq!(told.of("a"), if ok { "done: did it" } else { timeout }, "what it did in the end is the truth");
        assert_eq!(told.ran.failures.first().map(|(_, failure)| failure.acted), (!ok).then_some(Acted::No));
    }
}

#[tokio::test]
async fn the_second_stop_cancels_what_runs() {
    let rig = note("");
    rig.on("a", |ctx, _| async move {
        ctx.reporter.cancelled().await;
        Err(Failure { kind: FailureKind::Cancelled, ..Failure::theirs("stopped the task UPID:1") })
    });
    let run = rig.start();
    run.until("started a").await;
    run.stop.send(Stop::Starting).unwrap();
    run.stop.send(Stop::Running).unwrap();
    let told = run.end().await;
    assert_eq!((told.of("a"), told.ran.state), ("cancelled: stopped the task UPID:1".into(), RunState::Cancelled));
    assert_eq!(told.record("a").ending, Ending::Cancelled);
}

#[tokio::test]
async fn a_method_that_ignores_cancellation_is_dropped_after_ten_seconds() {
    // Old system, 6: a grandchild was waited for.
    let rig = note("");
    rig.on("a", |_, _| std::future::pending());
    let run = rig.start();
    run.until("started a").await;
    run.stop.send(Stop::Running).unwrap();
    rig.clock.pass(Duration::from_secs(10)).await;
    let told = run.end().await;
    assert_eq!(told.of("a"), "cancelled: fleet.note was cancelled and did not end within 10 s");
    assert_eq!(told.ran.failures[0].1.acted, Acted::Maybe);
}

#[tokio::test]
async fn a_method_that_takes_back_what_is_half_made_is_given_its_time() {
    for (needs, told) in [(60, "cancelled: taken back"), (600, "cancelled: fleet.note was cancelled and did not end within 90 s")] {
        let rig = note("");
        rig.on("a", move |ctx, _| async move {
            ctx.reporter.cancelled().await;
            let calm = undeterred(&ctx, Duration::from_secs(90));
            pause(&calm, Duration::from_secs(needs)).await?;
            Err(cancelled("taken back"))
        });
        let run = rig.start();
        run.until("started a").await;
        run.stop.send(Stop::Running).unwrap();
        rig.clock.pass(Duration::from_secs(10)).await;
        rig.clock.asleep(Duration::from_secs(80)).await;
        rig.clock.advance(Duration::from_secs(needs.min(80)));
        assert_eq!(run.end().await.of("a"), told);
    }
}

/// Runs `call` with a method that always fails so; returns the waits between the tries.
async fn waits(call: (&str, &str), rest: &str, failure: Failure, expected: &[u64]) {
    let rig = Rig::new(&step(call.0, call.1, rest));
    rig.fails("a", failure.clone());
    let run = rig.start();
    for wait in expected {
        rig.clock.pass(Duration::from_millis(*wait)).await;
    }
    let told = run.end().await;
    let retries = told.lines().iter().filter(|line| line.starts_with("retry")).count();
    assert_eq!((retries, told.of("a")), (expected.len(), format!("failed: {}", failure.message)), "{call:?} {rest} {failure:?}");
}

#[tokio::test]
async fn only_what_is_harmless_is_tried_again() {
    let (look, put, act) = (("fleet.look", "name = 'x'"), ("fleet.put", "name = 'x'"), ("fleet.note", "as = 'x'"));
    let busy = || Failure::theirs("busy").transient();
    waits(look, "", busy(), &[500, 1000, 2000, 4000, 8000]).await;
    waits(put, "", busy(), &[500, 1000, 2000, 4000, 8000]).await;
    waits(put, "", busy().maybe_acted(), &[]).await;
    waits(look, "", Failure::theirs("no such VM"), &[]).await;
    waits(look, "", Failure::yours("bad").transient(), &[]).await;
    waits(act, "", busy(), &[]).await;
}

#[tokio::test]
async fn a_step_may_ask_for_more_tries() {
    let (put, act) = (("fleet.put", "name = 'x'"), ("fleet.note", "as = 'x'"));
    let no = || Failure::theirs("no");
    let retry = "retry = { times = 3, backoff = \"1s\" }";
    waits(act, retry, no(), &[1000, 2000, 4000]).await;
    waits(act, retry, no().maybe_acted(), &[]).await;
    waits(put, retry, no().maybe_acted(), &[1000, 2000, 4000]).await;
    waits(act, retry, Failure::refused("protected"), &[]).await;
    waits(act, "retry = { times = 3, backoff = \"45s\" }", no(), &[45_000, 60_000, 60_000]).await;
    waits(act, "retry = { times = 2, backoff = \"5m\" }", no(), &[300_000, 300_000]).await;
    waits(act, "retry = { times = 9, backoff = \"1s\" }\ntimeout = \"4s\"", no(), &[1000, 2000]).await;
}

#[tokio::test]
async fn a_stop_ends_the_wait_for_the_next_try() {
    let rig = note("retry = { times = 3, backoff = \"50s\" }");
    rig.fails("a", Failure::theirs("no"));
    let run = rig.start();
    rig.clock.asleep(Duration::from_secs(50)).await;
    run.stop.send(Stop::Starting).unwrap();
    assert_eq!(run.end().await.of("a"), "failed: no");
}

#[tokio::test]
async fn a_try_that_succeeds_is_the_end_of_it() {
    let rig = Rig::new(&step("fleet.look", "name = 'x'", ""));
    let tries = std::sync::atomic::AtomicUsize::new(0);
    rig.on("a", move |ctx, call| {
        let first = tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        async move { if first { Err(Failure::theirs("busy").transient()) } else { Ok(usual(&ctx, &call)) } }
    });
    let run = rig.start();
    rig.clock.pass(Duration::from_millis(500)).await;
    let told = run.end().await;
    assert_eq!(told.of("a"), "done: did it");
    assert!(told.has("retry a 2: busy"));
    assert_eq!(told.records.len(), 1);
}

#[tokio::test]
async fn an_effect_that_found_nothing_to_do_says_so() {
    let rig = Rig::new(&step("fleet.put", "name = 'x'", ""));
    rig.on("a", |_, _| async { Ok(Outcome::unchanged("x is off already")) });
    let told = rig.run().await;
    assert_eq!((told.of("a"), told.record("a").ending), ("unchanged: x is off already".into(), Ending::Unchanged));
}
