//! The journal: what stands in it when, that it tells the story that was heard, and that nothing in the store holds a secret.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;

use crate::event::{Ending, Event, RunState, Stamped, Stream};
use crate::exec::rig::{Rig, Told, lines};
use crate::exec::rig_types::{outcome, ticket_of, usual};
use crate::model::contract::{Acted, Failure, FailureKind};
use crate::secret::{Credential, Origin, Secret};
use crate::store::Store;
use crate::store::words::Commit;
use crate::value::{Map, Value};

fn step(name: &str, call: &str, with: &str) -> String {
    format!("[[step]]\nname = \"{name}\"\ncall = \"{call}\"\nwith = {{ {with} }}\n")
}

#[tokio::test]
async fn an_effect_and_its_task_are_in_the_journal_before_they_go_on() {
    let rig = Rig::new(&step("a", "fleet.note", "as = 'n'"));
    let store = Arc::new(Mutex::new(rig.store.another()));
    rig.on("a", move |ctx, call| {
        let store = Arc::clone(&store);
        async move {
            let journal = || lines(&store.lock().unwrap().journal(&ctx.who.run, 0, 100).unwrap());
            assert!(journal().last().is_some_and(|line| line.starts_with("started a")), "{:?}", journal());
            ctx.reporter.task("UPID:pve:1").await?;
            assert_eq!(journal().last().map(String::as_str), Some("task a: UPID:pve:1"));
            Ok(usual(&ctx, &call))
        }
    });
    assert_eq!(rig.run().await.ran.state, RunState::Succeeded);
}

fn kept(events: &[Stamped]) -> Vec<Stamped> {
    events.iter().filter(|stamped| !matches!(stamped.event, Event::Output { .. } | Event::Phase { .. })).cloned().collect()
}

#[tokio::test]
async fn the_journal_tells_what_was_heard() {
    // Old system, 7: the history showed failed workflows as completed.
    let steps = [
        step("one", "fleet.glance", "of = 'a'"),
        step("two", "fleet.put", "name = 'a'") + "after = [\"one\"]\n",
        step("three", "fleet.note", "as = 'n', x = '${{ model.fleet.resource.thing.a.attributes.none }}'"),
        step("four", "fleet.note", "as = 'm'") + "after = [\"three\"]\n",
    ];
    let rig = Rig::new(&steps.concat());
    rig.on("two", |ctx, call| async move {
        ctx.reporter.line(Stream::Out, "a line");
        ctx.reporter.phase("the guest agent", None);
        ctx.reporter.warn("slow today");
        Ok(usual(&ctx, &call))
    });
    for first in [true, false] {
        let told = rig.run().await;
        assert_eq!(told.journal, kept(&told.events));
        assert_eq!(told.ran.state, RunState::Failed);
        assert_eq!(rig.store.another().runs(1).unwrap()[0].state, RunState::Failed);
        let endings: Vec<Ending> = told.records.iter().map(|record| record.ending).collect();
        assert_eq!(endings, [if first { Ending::Done } else { Ending::Fresh }, Ending::Done], "{:#?}", told.lines());
        assert!(told.of("three").starts_with("failed: ") && told.of("four").starts_with("skipped: "));
    }
}

/// The steps of a story, each with its events in order.
fn by_step(events: &[Stamped]) -> std::collections::BTreeMap<String, Vec<String>> {
    let mut steps: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    for (stamped, line) in kept(events).iter().zip(lines(&kept(events))) {
        let json = serde_json::to_value(stamped).unwrap();
        steps.entry(json["step"].as_str().unwrap_or_default().to_owned()).or_default().push(line);
    }
    steps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_journal_of_a_busy_run_tells_each_step_in_its_order() {
    let steps: String = (0..60).map(|n| step(&format!("s{n}"), "fleet.note", &format!("as = 's{n}'"))).collect();
    let mut rig = Rig::new(&steps);
    (rig.settings.jobs, rig.settings.per_host) = (60, 60);
    rig.on("fleet.note", |ctx, call| async move {
        for n in 0..5 {
            ctx.reporter.warn(&format!("{n} of {}", ctx.who.step));
            ctx.reporter.task(&format!("UPID:{n}")).await?;
        }
        Ok(usual(&ctx, &call))
    });
    let told = rig.run().await;
    assert_eq!(told.ran.state, RunState::Succeeded);
    let (journal, events) = (by_step(&told.journal), by_step(&told.events));
    assert_eq!(journal, events);
    let first = &journal["w/s0"];
    assert!(first[0].starts_with("started") && first.last().unwrap().starts_with("done"), "{first:#?}");
    assert_eq!((journal.len(), first.len()), (60, 13));
}

/// How many records and versions a transaction has, and its journal lines.
type Shape = (usize, usize, Vec<String>);

/// A rig that keeps the shape of every transaction: records, versions, and the last event.
fn spied(rig: &mut Rig) -> Arc<Mutex<Vec<Shape>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    rig.broken = Some(Arc::new(move |commit: &Commit| {
        let told = commit.journal.as_ref().map(|(_, journal)| lines(journal)).unwrap_or_default();
        kept.lock().unwrap().push((commit.records.len(), commit.versions.len(), told));
        false
    }));
    seen
}

#[tokio::test]
async fn an_action_ends_in_one_transaction() {
    // Old system, 12: a one-step run wrote 19 files.
    let mut rig = Rig::new(&step("a", "fleet.note", "as = 'n'"));
    let seen = spied(&mut rig);
    rig.run().await;
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 3, "before the effect, after it, the end of the run: {seen:#?}");
    assert_eq!((seen[0].0, seen[0].1, seen[0].2.len()), (0, 0, 1));
    assert_eq!((seen[1].0, seen[1].1), (1, 1));
    assert_eq!(seen[1].2, ["stored fleet/note/n 1 by a, changed", "done a: did it"]);
}

fn refuse(rig: &mut Rig, times: usize, which: impl Fn(&Commit) -> bool + Send + Sync + 'static) {
    let left = AtomicUsize::new(times);
    rig.broken = Some(Arc::new(move |commit| {
        which(commit) && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }));
}

#[tokio::test]
async fn an_effect_that_cannot_be_journaled_is_not_begun() {
    let mut rig =
        Rig::new(&(step("a", "fleet.note", "as = 'n'") + &step("clean", "fleet.note", "as = 'c'") + "always = true\nafter = [\"a\"]\n"));
    refuse(&mut rig, 1, |commit| commit.records.is_empty());
    let calls = rig.spy("a");
    let told = rig.run().await;
    assert!(calls.lock().unwrap().is_empty());
    let why = "failed: the journal cannot be written, so nothing is begun: could not write the index: no space left on device";
    assert_eq!((told.of("a").as_str(), told.ran.state), (why, RunState::Failed));
    assert_eq!(told.of("clean"), "skipped: skipped: w/a failed", "nothing was begun");
    assert_eq!(told.journal, kept(&told.events), "the lines that could not be written are written later");
}

/// A method that tells the journal of each of its commands before it begins, and says which it began.
fn orders(rig: &Rig, step: &str, commands: &'static [&'static str]) -> Arc<Mutex<Vec<&'static str>>> {
    let begun = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&begun);
    rig.on(step, move |ctx, call| {
        let begun = Arc::clone(&kept);
        async move {
            for command in commands {
                ctx.reporter.task(command).await?;
                begun.lock().unwrap().push(*command);
            }
            Ok(usual(&ctx, &call))
        }
    });
    begun
}

#[tokio::test]
async fn a_command_and_the_start_of_its_action_are_one_transaction() {
    let mut rig = Rig::new(&step("a", "fleet.order", "as = 'n'"));
    let begun = orders(&rig, "a", &["SSH 1", "SSH 2"]);
    let seen = spied(&mut rig);
    let told = rig.run().await;
    assert_eq!((told.ran.state, begun.lock().unwrap().len()), (RunState::Succeeded, 2));
    let seen: Vec<Vec<String>> = seen.lock().unwrap().iter().map(|shape| shape.2.clone()).collect();
    assert_eq!(seen.len(), 4, "{seen:#?}");
    let (started, task) = (seen[0].last().unwrap(), seen[1].last().unwrap());
    assert!(started.contains("SSH 1") && seen[0].iter().any(|line| line.starts_with("started a")), "{seen:#?}");
    assert!(task.contains("SSH 2") && seen[1].len() == 1, "{seen:#?}");
    assert_eq!(told.journal, kept(&told.events));
}

#[tokio::test]
async fn a_command_whose_action_cannot_be_journaled_is_not_begun() {
    let clean = step("clean", "fleet.note", "as = 'c'") + "always = true\nafter = [\"a\"]\n";
    let mut rig = Rig::new(&(step("a", "fleet.order", "as = 'n'") + &clean));
    refuse(&mut rig, 1, |commit| commit.records.is_empty());
    let begun = orders(&rig, "a", &["SSH 1"]);
    let told = rig.run().await;
    assert_eq!(*begun.lock().unwrap(), Vec::<&str>::new());
    let why = "failed: the journal cannot be written, so nothing is begun: could not write the index: no space left on device";
    assert_eq!((told.of("a").as_str(), told.ran.state), (why, RunState::Failed));
    assert_eq!(told.of("clean"), "skipped: skipped: w/a failed", "nothing was begun");
    assert_eq!(told.journal, kept(&told.events), "the lines that could not be written are written later");
}

#[tokio::test]
async fn what_has_begun_is_not_ended_by_a_journal_that_cannot_be_written() {
    let mut rig = Rig::new(&step("a", "fleet.order", "as = 'n'"));
    let second = |commit: &Commit| {
        commit.journal.iter().flat_map(|(_, lines)| lines).any(|line| matches!(&line.event, Event::Task { id, .. } if id == "SSH 2"))
    };
    refuse(&mut rig, 1, second);
    let begun = orders(&rig, "a", &["SSH 1", "SSH 2"]);
    let told = rig.run().await;
    assert_eq!((told.ran.state, begun.lock().unwrap().clone()), (RunState::Succeeded, vec!["SSH 1", "SSH 2"]));
    assert!(told.has("warning the id of task SSH 2 could not be written to the journal"), "{:#?}", told.lines());
}

#[tokio::test]
async fn an_effect_that_cannot_be_stored_failed_but_may_have_acted() {
    let mut rig = Rig::new(&step("a", "fleet.note", "as = 'n'"));
    refuse(&mut rig, 2, |commit| !commit.records.is_empty());
    let told = rig.run().await;
    let failure = &told.ran.failures[0].1;
    assert_eq!((failure.kind, failure.acted), (FailureKind::Ours, Acted::Maybe));
    assert!(told.has("warning the failure could not be stored") && told.has("failed a: could not write the index"), "{:#?}", told.lines());
    assert_eq!(told.journal, kept(&told.events));
}

const PASSWORD: &str = "canary/1 +&'x";
const TICKET: &str = "canary:ticket==";
const FOUND: &str = "canary found by the method";

/// Everything that the store and the listeners have of a run, as one text.
fn all(rig: &Rig, told: &Told) -> String {
    let mut store = rig.store.another();
    let mut text = format!("{:?}\n{:?}\n{:?}\n{:?}\n", told.records, told.journal, told.ran, store.heads(None).unwrap());
    text.push_str(&told.journal.iter().map(|line| serde_json::to_string(line).unwrap()).collect::<String>());
    for name in store.blob_names().unwrap() {
        text.push_str(&String::from_utf8_lossy(&store.blob(&name).unwrap().unwrap()));
        text.push('\n');
    }
    text
}

#[tokio::test]
async fn no_secret_is_stored_or_told_in_the_clear() {
    // Old system, 11: the ticket stood in 61 of 575 files.
    let key = "key = '${{ vault.get(\"v\", \"password\") }}'";
    let steps = [
        step("ok", "api.note", &format!("as = 'ok', {key}")),
        step("fresh", "fleet.glance", &format!("of = 'f', {key}")),
        step("text", "fleet.note", "as = 't', key = 'user:${{ vault.get(\"v\", \"password\") }}'"),
        step("bad", "api.note", &format!("as = 'bad', {key}")) + "after = [\"ok\"]\n",
        step("worse", "fleet.note", &format!("as = '${{{{ vault.get(\"v\", \"password\") }}}}', {key}")) + "optional = true\n",
    ];
    let mut rig = Rig::new(&steps.concat());
    rig.settings.keep_going = true;
    rig.vault.insert("password".into(), PASSWORD.into());
    rig.on("login.auth", |ctx, call| async move { Ok(outcome(&ctx, &call, ticket_of(TICKET))) });
    let forms = |text: &str| {
        let url = crate::wire::percent::piece(text);
        let base64 = base64::engine::general_purpose::STANDARD.encode(text);
        [text.to_owned(), url, base64, serde_json::Value::from(text).to_string(), text.replace('\'', r"'\''")]
    };
    rig.on("ok", move |ctx, call| async move {
        let Value::Secret(ticket) = call.globals["ticket"].clone() else { panic!("no ticket") };
        let ticket = ctx.credentials.open(&Credential(ticket)).await?;
        for text in [PASSWORD, ticket.expose()].iter().flat_map(|text| forms(text)) {
            ctx.reporter.line(Stream::Err, &format!("got {text}!"));
            ctx.reporter.warn(&format!("got {text}!"));
            ctx.reporter.phase(&format!("for {text}"), None);
            ctx.reporter.task(&format!("UPID:{text}")).await?;
        }
        let found = Map::from([("list".to_owned(), Value::List(vec![Value::Secret(Secret::new(FOUND, Origin::Computed))]))]);
        let mut done = outcome(&ctx, &call, Value::Map(found));
        done.summary = format!("did it with {PASSWORD} and {FOUND}");
        Ok(done)
    });
    rig.on("bad", move |_, _| async move {
        let text = forms(TICKET).concat() + &forms(PASSWORD).concat();
        Err(Failure::theirs(format!("refused: {text}")).help(format!("try {text}")).tail(vec![text]))
    });
    for _ in 0..2 {
        let told = rig.run().await;
        assert_eq!((told.of("ok"), told.of("text")), ("done: did it with [secret] and [secret]".into(), "done: did it".into()));
        assert_eq!(told.ran.failures.len(), 1);
        assert!(told.ran.failures[0].1.help.is_some() && !told.ran.failures[0].1.tail.is_empty());
        assert!(told.of("bad").starts_with("failed: refused: [secret]"), "{}", told.of("bad"));
        let text = all(&rig, &told) + &format!("{:?}", told.events);
        let needles = [PASSWORD, TICKET, FOUND].iter().flat_map(|text| forms(text)).chain(["canary".to_owned()]);
        for needle in needles {
            let at = text.find(&needle).map(|at| &text[at.saturating_sub(200)..(at + 60).min(text.len())]);
            assert_eq!(at, None, "{needle}");
        }
    }
    let (_, attributes) = rig.head("login/login/login").unwrap();
    assert!(attributes["ticket"].get(crate::value::SEALED_KEY).is_some(), "{attributes}");
}

#[tokio::test]
async fn a_secret_that_was_printed_before_it_was_known_is_not_in_the_log() {
    let rig = Rig::new(&step("a", "login.auth", "").replace("with = {  }", ""));
    let mut rig = rig;
    rig.vault.insert("password".into(), PASSWORD.into());
    rig.on("a", |ctx, call| async move {
        ctx.reporter.line(Stream::Out, &format!("ticket: {TICKET}"));
        Ok(outcome(&ctx, &call, ticket_of(TICKET)))
    });
    let told = rig.run().await;
    let log = rig.store.another().blob(&told.record("a").log.unwrap()).unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&log), "ticket: [secret]\n");
}
