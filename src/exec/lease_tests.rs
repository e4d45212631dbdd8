//! Leases: the second run waits, says for whom, and goes on; observations never wait.

use std::time::Duration;

use crate::event::RunState;
use crate::exec::engine::Stop;
use crate::exec::rig::Rig;
use crate::model::contract::FailureKind;
use crate::name::Actor;

const FILES: [(&str, &str); 3] = [
    ("workflows/w.toml", "[[step]]\nname = \"a\"\ncall = \"fleet.note\"\nwith = { as = 'a' }\n"),
    (
        "workflows/v.toml",
        "[[step]]\nname = \"b\"\ncall = \"fleet.note\"\nwith = { as = 'b' }\n[[step]]\nname = \"c\"\ncall = \"fleet.note\"\nwith = { as = 'c' }\n",
    ),
    ("workflows/o.toml", "[[step]]\nname = \"l\"\ncall = \"fleet.look\"\nwith = { name = 'x' }\n"),
];
const LOOK: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_second_run_waits_and_says_for_whom() {
    // Old system, 5: it failed after 60 s, naming a path and a pid.
    let mut rig = Rig::of(&FILES);
    rig.actor = Actor::new("discord", "1234/nick");
    let gate = rig.gate("a");
    let first = rig.start();
    gate.arrived(1).await;
    rig.actor = Actor::new("cli", "other");
    let second = rig.start_target("v");
    let who = format!("leases waiting for run {} (w) by discord:1234/nick, since ", first.id.short());
    second.until(&who).await;
    for _ in 0..3 {
        rig.clock.pass(LOOK).await;
    }
    rig.clock.pass(LOOK).await;
    rig.clock.asleep(LOOK).await;
    rig.clock.advance(Duration::from_secs(30));
    rig.clock.asleep(LOOK).await;
    assert_eq!(
        second.lines().iter().filter(|line| line.starts_with(&who)).count(),
        2,
        "said at first and each 30 s: {:#?}",
        second.lines()
    );
    assert!(!second.lines().iter().any(|line| line.starts_with("started")));
    gate.open();
    assert_eq!(first.end().await.ran.state, RunState::Succeeded);
    rig.clock.pass(LOOK).await;
    let told = second.end().await;
    assert_eq!(told.ran.state, RunState::Succeeded);
    let lines = told.lines();
    let held = lines.iter().position(|line| line == "leases ").unwrap();
    assert!(lines.iter().position(|line| line.starts_with("started")).unwrap() > held, "{lines:#?}");
}

#[tokio::test]
async fn a_run_that_may_not_wait_is_refused() {
    let mut rig = Rig::of(&FILES);
    let gate = rig.gate("a");
    let first = rig.start();
    gate.arrived(1).await;
    rig.wait = false;
    let told = rig.start_target("v").end().await;
    assert_eq!((told.ran.state, told.ran.failures[0].1.kind), (RunState::Failed, FailureKind::Refused));
    assert!(told.of("v/b").starts_with(&format!("failed: the lease is held by run {} (w)", first.id.short())), "{}", told.of("v/b"));
    gate.open();
    assert_eq!(first.end().await.ran.state, RunState::Succeeded);
    assert_eq!(rig.start_target("v").end().await.ran.state, RunState::Succeeded, "it was given back");
}

#[tokio::test]
async fn a_stop_ends_the_wait_and_nothing_begins_after_it() {
    let rig = Rig::of(&FILES);
    let gate = rig.gate("a");
    let first = rig.start();
    gate.arrived(1).await;
    let second = rig.start_target("v");
    second.until("leases waiting").await;
    second.stop.send(Stop::Starting).unwrap();
    let told = second.end().await;
    assert_eq!(told.ran.state, RunState::Cancelled);
    assert!(told.of("v/b").starts_with("cancelled: stopped while waiting for run "), "{}", told.of("v/b"));
    assert_eq!(told.of("v/c"), "cancelled: stopped before it began", "it waited behind b");
    gate.open();
    first.end().await;
}

#[tokio::test]
async fn observations_never_wait() {
    let rig = Rig::of(&FILES);
    let gate = rig.gate("a");
    let first = rig.start();
    gate.arrived(1).await;
    assert_eq!(rig.start_target("o").end().await.ran.state, RunState::Succeeded);
    gate.open();
    first.end().await;
}

#[tokio::test]
async fn conditions_are_asked_once_the_leases_are_held() {
    let mut files = FILES.to_vec();
    files[0].1 = "[[step]]\nname = \"a\"\ncall = \"fleet.note\"\nwith = { as = 'flag', x = 'down' }\n";
    files[1].1 = "[[step]]\nname = \"b\"\ncall = \"fleet.note\"\nwith = { as = 'b' }\nif = 'model.fleet.resource.note.flag.attributes.x == \"up\"'\n";
    files.push(("workflows/u.toml", "[[step]]\nname = \"a\"\ncall = \"fleet.note\"\nwith = { as = 'flag', x = 'up' }\n"));
    let rig = Rig::of(&files);
    rig.start_target("u").end().await;
    let gate = rig.gate("a");
    let first = rig.start();
    gate.arrived(1).await;
    let second = rig.start_target("v");
    second.until("leases waiting").await;
    gate.open();
    first.end().await;
    rig.clock.pass(LOOK).await;
    let told = second.end().await;
    assert!(told.of("v/b").ends_with("is false"), "the flag went down while it waited: {}", told.of("v/b"));
}
