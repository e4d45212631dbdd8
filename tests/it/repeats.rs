//! Builds that have nothing to work out: a second one takes over what the first found fresh, and only as long as that is what it would find itself.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::sandbox::Sandbox;

/// More steps than a graph needs to be worth repeating.
const STEPS: usize = 120;

/// Steps that look at servers whose machine is off: whole calls that contact nobody.
fn steps(fresh: &str, extra: &str) -> String {
    (0..STEPS).fold(String::new(), |mut text, step| {
        let _ = write!(
            text,
            "\n[[step]]\nname = \"s{step}\"\ncall = \"mc.status\"\nfresh = \"{fresh}\"\nwith = {{ n = \"s{step}\"{extra} }}\n"
        );
        text
    })
}

fn project(fresh: &str, extra: &str) -> Sandbox {
    let server = "type = \"minecraft/server\"\n\n[global]\nsshHost = \"\"\nserverName = '${{ inputs.n }}'\nlogPath = '${{ inputs.log }}'\n";
    let sandbox = Sandbox::new().file("Pmxfile.toml", "[project]\nname = \"repeats\"\n").file("definitions/mc.toml", server);
    let sandbox = sandbox.file("workflows/all.toml", &steps(fresh, extra));
    sandbox.file("workflows/one.toml", "[[step]]\nname = \"one\"\ncall = \"mc.status\"\nwith = { n = \"s7\", log = \"x\" }\n")
}

/// The events of a build.
fn build(sandbox: &Sandbox) -> Vec<Value> {
    let said = sandbox.pmx(&["build", "all", "--json"]).exits(0).stdout;
    said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The run that these events say they repeat.
fn repeats(events: &[Value]) -> Option<&str> {
    events.iter().find(|event| event["event"] == "run-repeats").and_then(|event| event["of"].as_str())
}

fn run(events: &[Value]) -> &str {
    events[0]["run"].as_str().expect("the first event names the run")
}

/// What the events say of each action: step, call, ending, and the sentence without the age, which goes on.
fn told(events: &[Value]) -> Vec<[String; 4]> {
    let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let age = |summary: String| summary.split(" is ").next().unwrap_or_default().to_owned();
    let ended = events.iter().filter(|event| event["event"] == "action-finished");
    let mut all: Vec<_> =
        ended.map(|event| [text(event, "step"), text(event, "call"), text(event, "ending"), age(text(event, "summary"))]).collect();
    all.sort();
    all
}

/// A project that was built twice, so that the next build may be a repeat; with the events of the second build.
fn settled(fresh: &str, extra: &str) -> (Sandbox, Vec<Value>) {
    let sandbox = project(fresh, extra);
    assert_eq!(repeats(&build(&sandbox)), None, "there was nothing to repeat");
    let second = build(&sandbox);
    assert_eq!(repeats(&second), None, "the first one found nothing fresh");
    (sandbox, second)
}

#[test]
fn a_repeat_tells_the_same_and_can_be_asked() {
    let (sandbox, second) = settled("1h", ", log = \"x\"");
    let third = build(&sandbox);
    assert_eq!(repeats(&third), Some(run(&second)));
    assert_eq!(told(&third), told(&second));
    assert_eq!(told(&third).len(), STEPS);
    assert_eq!(third.last().map(|event| &event["summary"]), second.last().map(|event| &event["summary"]));
    let again = build(&sandbox);
    assert_eq!(repeats(&again), Some(run(&second)), "a repeat records nothing that would end the next");

    let shown = sandbox.pmx(&["run", run(&third)]).exits(0).stdout;
    assert!(shown.contains("nothing was recorded and nothing had expired since run "), "{shown}");
    assert_eq!(shown.matches("  fresh ").count(), STEPS, "{shown}");
    let why = sandbox.pmx(&["why", run(&third), "s7"]).exits(0).stdout;
    assert!(why.contains("fresh: what is known is ") && why.contains("serverName"), "{why}");
    let text = sandbox.pmx(&["build", "all"]).exits(0).stderr;
    assert!(text.contains("nothing was recorded and nothing has expired since run ") && text.contains("succeeded: 120 fresh"), "{text}");
    sandbox.pmx(&["fsck"]).exits(0);
}

#[test]
fn whatever_changes_ends_the_repeats() {
    let (sandbox, _) = settled("1h", ", log = \"x\"");
    assert!(repeats(&build(&sandbox)).is_some());
    // Another run records something, though nothing that these steps read.
    sandbox.pmx(&["build", "one"]).exits(0);
    assert_eq!(repeats(&build(&sandbox)), None, "somebody has recorded something");
    assert!(repeats(&build(&sandbox)).is_some(), "and what is so now holds again");
    // A file is another one, though it says the same.
    let sandbox = sandbox.file("workflows/all.toml", &(steps("1h", ", log = \"x\"") + "# a remark\n"));
    assert_eq!(repeats(&build(&sandbox)), None, "a file has changed");
    // Old contents are dropped, and a repeat may rest on one.
    sandbox.pmx(&["gc", "--keep", "1", "--older-than", "0s"]).exits(0);
    assert_eq!(repeats(&build(&sandbox)), None, "something was taken out of the store");
    // Another input is another build.
    assert!(repeats(&build(&sandbox)).is_some());
    let sandbox = sandbox.file("workflows/all.toml", &(steps("1h", ", log = '${{ inputs.l }}'") + "\n[input.l]\ntype = \"string\"\n"));
    for (value, expected) in [("a", false), ("a", false), ("a", true), ("b", false)] {
        let said = sandbox.pmx(&["build", "all", "--json", "-i", &format!("l={value}")]).exits(0).stdout;
        assert_eq!(said.contains("run-repeats"), expected, "{value}: {said}");
    }
}

#[test]
fn what_has_expired_is_looked_at_again() {
    let sandbox = project("6s", ", log = \"x\"");
    let first = build(&sandbox);
    let fresh = |events: &[Value]| told(events).iter().filter(|action| action[2] == "fresh").count();
    assert_eq!(fresh(&first), 0);
    // However slow this machine is: whatever came before, after the window nothing is taken over.
    build(&sandbox);
    build(&sandbox);
    std::thread::sleep(Duration::from_millis(6500));
    let late = build(&sandbox);
    assert_eq!((repeats(&late), fresh(&late)), (None, 0), "{late:?}");
}

#[test]
fn what_may_be_another_each_time_is_worked_out_each_time() {
    for extra in [", log = '${{ env.HOME }}'", ", log = '${{ env.HOME + \"/log\" }}'", ", log = '${{ run.actor }}'"] {
        let (sandbox, second) = settled("1h", extra);
        let third = build(&sandbox);
        assert_eq!(repeats(&third), None, "{extra}");
        assert_eq!(told(&third), told(&second), "{extra}");
    }
}
