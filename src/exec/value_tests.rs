//! What a method gets: values, the previous state, whose host key to expect, and the proofs before something is destroyed.

use serde_json::json;

use crate::event::RunState;
use crate::exec::engine::Stop;
use crate::exec::rig::{Rig, SaysNo};
use crate::model::contract::FailureKind;
use crate::value::Value;

fn step(name: &str, call: &str, with: &str) -> String {
    format!("[[step]]\nname = \"{name}\"\ncall = \"{call}\"\nwith = {{ {with} }}\n")
}

#[tokio::test]
async fn nothing_unresolved_reaches_a_method() {
    // Old system, 8 and 9: `${{ … }}` reached a shell, hosts arrived as the word null, and nobody said which key of which data was missing.
    let told_by = async |kind: FailureKind, with: &str| {
        let rig = Rig::new(&step("a", "fleet.note", with));
        rig.gives("fleet.look", json!({"ip": null, "name": "a"}));
        let calls = rig.spy("a");
        let told = rig.run().await;
        assert!(calls.lock().unwrap().is_empty(), "{with}");
        assert_eq!(told.ran.failures[0].1.kind, kind, "{with}");
        told.of("a")
    };
    let said = told_by(FailureKind::Yours, "as = 'a', x = 'http://${{ model.fleet.resource.thing.a.attributes.ip }}/'").await;
    assert!(
        said.starts_with("failed: workflows/w.toml:4:36: fleet/thing/a has had no ip since 2026-11-23T12:00:00.000Z, when run "),
        "{said}"
    );
    assert!(said.ends_with("null cannot stand inside a text"), "{said}");
    let said = told_by(FailureKind::Theirs, "as = 'a', x = '${{ model.fleet.resource.thing.a.attributes.port }}'").await;
    assert!(said.starts_with("failed: workflows/w.toml:4:"), "{said}");
    assert!(said.contains("fleet/thing/a has had no port since 2026-11-23T12:00:00.000Z, when run "), "{said}");
    let said = told_by(FailureKind::Yours, "as = 'a', x = '${{ model.fleet.resource.note.none.attributes.port }}'").await;
    assert!(said.contains("no version of fleet/note/none yet"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_a_name_names_nothing() {
    for (name, why) in [
        ("${{ vault.get(\"v\", \"k\") }}", "is a secret, which may only flow into secret arguments"),
        ("${{ model.fleet.resource.note.n.attributes.list }}", "`as` of fleet.note is a list, which cannot name a note"),
        ("${{ model.fleet.resource.note.n.attributes.empty }}", "`fleet/note/` is not a resource name"),
    ] {
        let mut rig = Rig::new(&(step("n", "fleet.note", "as = 'n'") + &step("a", "fleet.note", &format!("as = '{name}'"))));
        rig.vault.insert("k".into(), "secret-text".into());
        rig.gives("n", json!({"list": ["x"], "empty": ""}));
        let calls = rig.spy("a");
        let told = rig.run().await;
        assert!(told.of("a").contains(why), "{}", told.of("a"));
        assert!(calls.lock().unwrap().is_empty() && !told.lines().concat().contains("secret-text"));
    }
}

#[tokio::test]
async fn null_flows_and_a_missing_address_says_since_when_and_why() {
    // Old system, 17: a stopped VM's null ip broke the definitions that read it.
    let known = step("known", "fleet.look", "name = 'a'");
    let off = step("off", "fleet.put", "name = 'a'");
    let poke = step("poke", "box.poke", "").replace("with = {  }\n", "");
    let rig = Rig::new(&[known.clone(), off.clone(), poke.clone()].concat());
    rig.gives("known", json!({"ip": "10.0.0.7", "uuid": "u1"}));
    rig.gives("off", json!({"ip": null, "uuid": "u1"}));
    let calls = rig.spy("poke");
    assert_eq!(rig.run().await.of("poke"), "done: did it");
    assert_eq!(calls.lock().unwrap()[0].1.globals["host"], Value::Null, "null is a value: the VM is off");
    rig.clock.advance(std::time::Duration::from_secs(131));
    rig.gives("off", json!({"uuid": "u1"}));
    let told = rig.run().await;
    let said = told.of("poke");
    let run = told.id.short();
    let why = format!("fleet/thing/a has had no ip since 2026-11-23T12:02:11.000Z, when run {run} (fleet.put) wrote version 4");
    assert!(said.contains(&why), "{said}");
    assert_eq!(calls.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_method_knows_what_the_store_knew() {
    let rig = Rig::new(&(step("one", "fleet.put", "name = 'a', x = 1") + &step("two", "fleet.put", "name = 'a', x = 2")));
    let calls = rig.spy("fleet.put");
    rig.run().await;
    let calls = calls.lock().unwrap();
    let key = ("thing".to_owned(), "a".to_owned());
    assert_eq!(calls[0].0.previous.get(&key), None);
    assert_eq!(calls[1].0.previous[&key].get("x"), Some(&Value::Int(1)));
    let who = &calls[1].0.who;
    assert_eq!((who.step.as_str(), who.def.as_str(), who.actor.as_str()), ("w/two", "fleet", "cli:test"));
}

#[tokio::test]
async fn single_instances_are_kept_apart_by_inputs() {
    let one = step("one", "each.poke", "vm = 'a', x = 1");
    let late = step("late", "each.poke", "vm = '${{ model.fleet.resource.note.pick.attributes.x }}', x = 2");
    let read = step("read", "fleet.note", "as = 'r', x = '${{ model.each.resource.result.a.attributes.x }}'");
    let rig = Rig::new(&[step("pick", "fleet.note", "as = 'pick', x = 'b'"), one, late, read].concat());
    let calls = rig.spy("each.poke");
    for round in 0..2 {
        let told = rig.run().await;
        assert_eq!(told.ran.state, RunState::Succeeded, "{:#?}", told.ran.failures);
        let x = |name: &str| rig.head(name).unwrap().1["x"].clone();
        assert_eq!((x("each/result/a"), x("each/result/b"), x("fleet/note/r")), (json!(1), json!(2), json!(1)));
        assert!(rig.head("each/result/result").is_none());
        let calls = calls.lock().unwrap();
        let previous = |x: i64| calls.iter().rfind(|(_, call)| call.arguments["x"] == Value::Int(x)).unwrap().0.previous.clone();
        assert_eq!((previous(1).len(), previous(2).len()), (round, round));
        assert!(round == 0 || previous(2).contains_key(&("result".to_owned(), "b".to_owned())));
    }
}

#[tokio::test]
async fn one_instance_never_makes_another_fresh() {
    // Both have the same arguments (`tag` is false for both), and which instance is meant is known only at run time.
    let stat = |name: &str| {
        step(name, "each.stat", &format!("vm = '${{{{ model.fleet.resource.note.{name}.attributes.as }}}}'")) + "fresh = \"10m\"\n"
    };
    let notes = step("a", "fleet.note", "as = 'a'") + &step("b", "fleet.note", "as = 'b'");
    let rig =
        Rig::new(&[notes, stat("a").replace("name = \"a\"", "name = \"sa\""), stat("b").replace("name = \"b\"", "name = \"sb\"")].concat());
    let told = rig.run().await;
    assert_eq!((told.of("sa"), told.of("sb")), ("done: did it".into(), "done: did it".into()), "{:#?}", told.lines());
    let told = rig.run().await;
    assert!(told.of("sa").starts_with("fresh") && told.of("sb").starts_with("fresh"), "{:#?}", told.lines());
}

#[tokio::test]
async fn the_host_key_belongs_to_the_machine_whose_address_is_read() {
    let poke = |def: &str| step("poke", &format!("{def}.poke"), "").replace("with = {  }\n", "");
    let picked = "type = \"test/thing\"\n[global]\nhost = '${{ model.fleet.resource.thing[model.fleet.resource.note.pick.attributes.as].attributes.ip }}'\n";
    let named = "type = \"test/thing\"\n[global]\nhost = 'treehouse'\n";
    for (def, uuid, identity) in [
        ("box", json!("u1"), "vm:u1"),
        ("box", json!(""), "machine:fleet/thing/a"),
        ("picked", json!("u1"), "vm:u1"),
        ("named", json!("u1"), "host:treehouse"),
    ] {
        let steps = step("pick", "fleet.note", "as = 'a'").replace("'a'", "'pick'") + &poke(def);
        let rig = Rig::of(&[("workflows/w.toml", &steps), ("definitions/picked.toml", picked), ("definitions/named.toml", named)]);
        rig.gives("fleet.sync", json!({}));
        rig.gives("fleet.look", json!({"ip": "10.0.0.7", "uuid": uuid}));
        rig.gives("pick", json!({"as": "a"}));
        rig.on("fleet.sync", move |_, _| {
            let attributes = Value::from(json!({"ip": "10.0.0.7", "uuid": "u1"}));
            async move { Ok(crate::model::contract::Outcome::unchanged("synced").write("thing", "a", attributes)) }
        });
        let calls = rig.spy("poke");
        let told = rig.run().await;
        assert_eq!(told.ran.state, RunState::Succeeded, "{def} {:#?}", told.ran.failures);
        assert_eq!(calls.lock().unwrap()[0].0.identity, identity, "{def}");
    }
}

const DROP: &str = "[[step]]\nname = \"d\"\ncall = \"fleet.drop\"\nwith = { name = 'a' }\n";

#[tokio::test]
async fn what_is_destroyed_was_looked_at_and_confirmed() {
    let rig = Rig::new(DROP);
    rig.gives("fleet.look", json!({"uuid": "u1"}));
    let calls = rig.spy("d");
    let told = rig.run().await;
    assert_eq!((told.of("d"), told.ran.state), ("done: did it".into(), RunState::Succeeded));
    let looked = told.lines().iter().position(|line| line.starts_with("started fleet/thing/a")).unwrap();
    assert!(looked < told.lines().iter().position(|line| line.starts_with("started d")).unwrap());
    let guard = calls.lock().unwrap()[0].0.guard.clone();
    assert_eq!(guard.shown.as_ref().and_then(|shown| shown.get("uuid")).and_then(Value::as_str), Some("u1"));
    assert_eq!((guard.own_only, guard.protected), (false, vec!["precious".to_owned()]));
    let questions = rig.questions.lock().unwrap().clone();
    assert_eq!(questions.len(), 1);
    assert_eq!((questions[0].name.as_str(), questions[0].call.as_str(), questions[0].destroys), ("a", "fleet.drop", true));
    assert_eq!(questions[0].attributes, guard.shown);
}

/// An installer writes what it did, not what it erased: the machine behind its address is what must be proven, shown and named.
#[tokio::test]
async fn what_is_destroyed_on_a_machine_is_the_machine() {
    let rig = Rig::new(&step("d", "box.wipe", ""));
    rig.gives("fleet.look", json!({"ip": "10.0.0.7", "uuid": "u1"}));
    let calls = rig.spy("d");
    let told = rig.run().await;
    assert_eq!(told.ran.state, RunState::Succeeded, "{:#?}", told.ran.failures);
    let shown = calls.lock().unwrap()[0].0.guard.shown.clone();
    assert_eq!(shown.as_ref().and_then(|shown| shown.get("uuid")).and_then(Value::as_str), Some("u1"));
    let questions = rig.questions.lock().unwrap().clone();
    assert_eq!((questions[0].name.as_str(), questions[0].call.as_str(), questions[0].destroys), ("a", "box.wipe", true));

    let made = Rig::new(&(step("c", "fleet.create", "name = 'a'") + &step("d", "box.wipe", "")));
    made.gives("fleet.create", json!({"ip": "10.0.0.7", "uuid": "u1"}));
    assert_eq!(made.run().await.ran.state, RunState::Succeeded);
    assert!(made.questions.lock().unwrap().is_empty(), "the machine was made by this run");
}

#[tokio::test]
async fn a_host_that_no_resource_stands_for_is_not_destroyed() {
    let rig = Rig::new(&step("d", "bare.wipe", ""));
    let calls = rig.spy("d");
    let told = rig.run().await;
    assert_eq!(told.ran.failures[0].1.kind, FailureKind::Refused);
    assert!(told.of("d").contains("bare.wipe acts on 10.0.0.9, an address that no resource stands for"), "{}", told.of("d"));
    assert!(calls.lock().unwrap().is_empty() && rig.questions.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_confirmed_is_not_done() {
    for steps in [DROP.to_owned(), step("d", "fleet.note", "as = 'a'") + "confirm = \"really?\"\n"] {
        let mut rig = Rig::new(&steps);
        rig.asks = Some(std::sync::Arc::new(SaysNo));
        let calls = rig.spy("d");
        let told = rig.run().await;
        assert_eq!((told.ran.failures[0].1.kind, told.ran.state), (FailureKind::Refused, RunState::Failed));
        assert!(told.of("d").ends_with(" of a was not confirmed"), "{}", told.of("d"));
        assert!(calls.lock().unwrap().is_empty() && !told.has("started d"));
    }
}

#[tokio::test]
async fn what_this_run_made_needs_no_confirmation() {
    let rig = Rig::new(&(step("c", "fleet.create", "name = 'a'") + DROP));
    assert_eq!(rig.run().await.ran.state, RunState::Succeeded);
    assert!(rig.questions.lock().unwrap().is_empty());
    // The next run did not make it.
    let rig2 = Rig::new(DROP);
    rig2.run().await;
    assert_eq!(rig2.questions.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn cleanup_destroys_only_what_is_its_own() {
    let create = step("c", "fleet.create", "name = 'a'");
    let rig = Rig::new(&(create + DROP + "always = true\n"));
    rig.on("c", |_, _| async { Err(crate::model::contract::Failure::theirs("the name is taken")) });
    let calls = rig.spy("d");
    let told = rig.run().await;
    assert_eq!(told.of("d"), "done: did it", "{:#?}", told.lines());
    assert!(calls.lock().unwrap()[0].0.guard.own_only, "the method must look for this run's mark");
    assert!(rig.questions.lock().unwrap().is_empty(), "nobody is there to answer while a run is cleaned up");
}

#[tokio::test]
async fn a_machine_that_cannot_be_looked_at_is_not_destroyed() {
    let rig = Rig::new(DROP);
    rig.fails("fleet.look", crate::model::contract::Failure::theirs("there is no VM a"));
    let calls = rig.spy("d");
    let told = rig.run().await;
    assert_eq!(told.of("d"), "failed: there is no VM a");
    assert!(calls.lock().unwrap().is_empty());
}

struct Slow;

impl crate::exec::engine::Confirmer for Slow {
    fn confirm<'a>(&'a self, _: &'a crate::exec::engine::Question) -> futures_util::future::BoxFuture<'a, bool> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_stop_ends_the_wait_for_an_answer() {
    let mut rig = Rig::new(&(step("d", "fleet.note", "as = 'a'") + "confirm = \"really?\"\n"));
    rig.asks = Some(std::sync::Arc::new(Slow));
    let run = rig.start();
    run.engine.view.keeper.call(|_| ()).await;
    run.stop.send(Stop::Starting).unwrap();
    let told = run.end().await;
    assert_eq!(told.ran.state, RunState::Cancelled, "{:#?}", told.lines());
}
