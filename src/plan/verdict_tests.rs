//! Verdicts: one golden sentence per variant, and the cases that lead to each.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::digest::Digest;
use crate::event::{Ending, Time};
use crate::name::{Actor, ResourceName, RunId};
use crate::plan::graph::Action;
use crate::plan::key::Manifest;
use crate::plan::kit::{graph_of, project};
use crate::plan::verdict::{Evidence, Verdict, verdict, window};
use crate::store::words::{ActionRecord, Made, Output, Version};

const FLEET: &str = "type = \"proxmox/vm\"\n[global]\napiUrl = \"https://10.0.0.4:8006\"\nnode = \"n\"\nticket = '${{ model.keebDev02.resource.node.node.attributes.ticket }}'\n";
const NODE: &str =
    "type = \"proxmox/node\"\n[global]\napiUrl = \"https://10.0.0.4:8006\"\nnode = \"n\"\nusername = \"root\"\npassword = \"x\"\n";
const FLOW: &str = "[[step]]\nname = \"auth\"\ncall = \"keebDev02.auth\"\n[[step]]\nname = \"look\"\ncall = \"fleet.lookup\"\nwith = { vmName = \"calamity\" }\nfresh = \"10m\"\n[[step]]\nname = \"again\"\ncall = \"fleet.lookup\"\nwith = { vmName = \"slate\" }\n[[step]]\nname = \"stop\"\ncall = \"fleet.stop\"\nwith = { vmName = \"calamity\" }\n[[step]]\nname = \"create\"\ncall = \"fleet.create\"\nwith = { vmName = \"calamity\" }\n[[step]]\nname = \"delete\"\ncall = \"fleet.delete\"\nwith = { vmName = \"calamity\" }\n";

fn action(target: &str, step: &str) -> Action {
    let files = [("definitions/fleet.toml", FLEET), ("definitions/keebDev02.toml", NODE), ("workflows/w.toml", FLOW)];
    let graph = graph_of(&project(&files), &[target], &[]).map_err(|c| crate::plan::kit::lines(&c)).unwrap();
    Action::clone(graph.actions.iter().find(|action| action.step == step).unwrap())
}

fn name(text: &str) -> ResourceName {
    text.parse().unwrap()
}

fn made(call: &str, key: &str, seconds: i64) -> Made {
    let run: RunId = "0123456789abcdef0123456789abcdef".parse().unwrap();
    Made {
        run,
        step: "start-vm/start".into(),
        call: call.into(),
        key: Digest::of(key.as_bytes()),
        at: Time(seconds * 1000),
        actor: Actor::new("cli", "root@slate"),
    }
}

fn version(resource: &str, call: &str, key: &str, seconds: i64) -> Version {
    Version { resource: name(resource), number: 1, parent: None, content: Digest::of(b"{}"), made: made(call, key, seconds), log: None }
}

fn record(key: &str, seconds: i64, outputs: &[&Version]) -> ActionRecord {
    let output =
        |version: &&Version| Output { resource: version.resource.clone(), content: version.content, version: Some(version.digest()) };
    ActionRecord {
        made: made("fleet.lookup", key, seconds),
        subject: "fleet.lookup vm/calamity".into(),
        manifest: Digest::of(b""),
        ending: Ending::Done,
        summary: String::new(),
        outputs: outputs.iter().map(output).collect(),
        reads: Vec::new(),
        log: None,
        began: Time(0),
    }
}

/// The verdict at second 1000 for an action with key `now`.
fn judge(
    action: &Action,
    same_key: Option<&ActionRecord>,
    subject: Option<(&ActionRecord, Option<&Manifest>)>,
    heads: &[&Version],
) -> Verdict {
    let heads: BTreeMap<ResourceName, Version> = heads.iter().map(|head| (head.resource.clone(), (*head).clone())).collect();
    let manifest = Manifest::stored(r#"{"arguments":{"vmName":"calamity"}}"#);
    let evidence =
        Evidence { key: Digest::of(b"now"), manifest: &manifest, same_key, same_subject: subject, heads: &heads, now: Time(1_000_000) };
    verdict(action, &evidence)
}

#[test]
fn effects_always_run() {
    for (step, sentence) in [
        ("w/stop", "runs: it looks first, and does nothing when all is so already"),
        ("w/create", "runs: it happens again each time"),
        ("w/delete", "runs: it cannot be undone, so it is never taken as done"),
    ] {
        let head = version("fleet/vm/calamity", "fleet.stop", "now", 999);
        assert_eq!(judge(&action("w", step), Some(&record("now", 999, &[&head])), None, &[&head]).to_string(), sentence);
    }
}

#[test]
fn a_step_without_a_window_looks_each_time() {
    let head = version("fleet/vm/slate", "fleet.lookup", "now", 999);
    let verdict = judge(&action("w", "w/again"), Some(&record("now", 999, &[&head])), None, &[&head]);
    assert_eq!(verdict.to_string(), "runs: it looks each time; `fresh = \"10m\"` in the step would take a younger look as it is");
}

#[test]
fn a_step_is_fresh_while_its_key_is_equal_its_outputs_are_heads_and_it_is_young() {
    let look = action("w", "w/look");
    assert_eq!(judge(&look, None, None, &[]).to_string(), "runs: it was never done here");
    let head = version("fleet/vm/calamity", "fleet.lookup", "now", 800);
    let young = record("now", 800, &[&head]);
    let fresh = judge(&look, Some(&young), None, &[&head]);
    assert_eq!((fresh.to_string().as_str(), fresh.runs()), ("fresh: what is known is 3 min 20 s old, and may be 10 min", false));
    let old_head = version("fleet/vm/calamity", "fleet.lookup", "now", 390);
    let expired = judge(&look, Some(&record("now", 390, &[&old_head])), None, &[&old_head]);
    assert_eq!((expired.to_string().as_str(), expired.runs()), ("runs: what is known is 10 min 10 s old, and may be 10 min", true));
    let moved = version("fleet/vm/calamity", "fleet.start", "k", 900);
    assert_eq!(
        judge(&look, Some(&young), None, &[&moved]).to_string(),
        "runs: fleet/vm/calamity was written since, by start-vm/start of run 9abcdef"
    );
    assert_eq!(judge(&look, Some(&young), None, &[]).to_string(), "runs: fleet/vm/calamity is not in the store any more");
}

#[test]
fn an_observation_that_lost_the_race_for_a_head_is_not_fresh() {
    let head = version("fleet/vm/calamity", "fleet.start", "k", 900);
    let mut lost = record("now", 950, &[&head]);
    lost.outputs[0].version = None;
    assert!(matches!(judge(&action("w", "w/look"), Some(&lost), None, &[&head]), Verdict::OutputMoved { .. }));
}

#[test]
fn other_arguments_than_last_time_are_named() {
    let look = action("w", "w/look");
    let before = record("before", 900, &[]);
    let old = Manifest::stored(r#"{"arguments":{"vmName":"clamity"}}"#);
    assert_eq!(judge(&look, None, Some((&before, Some(&old))), &[]).to_string(), "runs: vmName was `clamity`, is `calamity`");
    assert_eq!(
        judge(&look, None, Some((&before, None)), &[]).to_string(),
        "runs: its arguments differ from last time; the old ones are not kept any more"
    );
}

#[test]
fn an_implied_refresh_trusts_a_head_by_its_age_whoever_wrote_it() {
    let auth = action("fleet/vm/x", "fleet/vm/x (refresh keebDev02/node/node)");
    assert_eq!(judge(&auth, None, None, &[]).to_string(), "runs: nothing is known of keebDev02/node/node yet, and fleet/vm/x reads it");
    let head = |call, key, at| version("keebDev02/node/node", call, key, at);
    let young = judge(&auth, None, None, &[&head("keebDev02.other", "k", 940)]);
    assert_eq!(young.to_string(), "fresh: what is known is 1 min old, and may be 1 h 58 min");
    assert!(matches!(judge(&auth, None, None, &[&head("keebDev02.auth", "now", -7_000)]), Verdict::Expired { .. }));
    // The same observation under another key is about something else: another account, another address.
    assert!(matches!(judge(&auth, None, None, &[&head("keebDev02.auth", "before", 940)]), Verdict::KeyChanged { .. }));
}

#[test]
fn all_instances_are_trusted_by_the_last_look_at_all_of_them() {
    let list = "[[step]]\nname = \"s\"\ncall = \"fleet.start\"\nfor_each = 'model.fleet.resource.vm.map(n, n)'\nwith = { vmName = '${{ each.value }}' }\n";
    let files = [("definitions/fleet.toml", FLEET), ("definitions/keebDev02.toml", NODE), ("workflows/w.toml", list)];
    let graph = graph_of(&project(&files), &["w"], &[]).map_err(|c| crate::plan::kit::lines(&c)).unwrap();
    let sync = graph.actions.iter().find(|action| action.step == "w/s (refresh fleet/vm/*)").unwrap();
    let head = version("fleet/vm/calamity", "fleet.start", "k", 999);
    assert!(matches!(judge(sync, None, None, &[&head]), Verdict::NeverSeen { .. }), "one head is not all of them");
    assert!(!judge(sync, Some(&record("now", 900, &[])), None, &[&head]).runs(), "what moved since is younger still");
    assert!(judge(sync, Some(&record("now", 600, &[])), None, &[&head]).runs());
}

#[test]
fn windows_come_from_the_step_then_the_spec_or_the_method() {
    let seconds = |action: &Action| window(action).map(|window| window.as_secs());
    assert_eq!(seconds(&action("w", "w/look")), Some(600));
    assert_eq!(seconds(&action("w", "w/again")), Some(0));
    assert_eq!(seconds(&action("w", "w/auth")), Some(7_080));
    assert_eq!(seconds(&action("fleet/vm/x", "fleet/vm/x (refresh keebDev02/node/node)")), Some(7_080));
    let forever = Verdict::Fresh { age: Duration::from_secs(90_000), window: None };
    assert_eq!(forever.to_string(), "fresh: what is known is 1 d 1 h old, and stays true");
}
