//! Questions to a store in memory: values, names that are not there, secrets, moments, and what a query refuses.

use std::cell::Cell;

use super::*;
use crate::digest::Digest;
use crate::name::{Actor, ResourceName};
use crate::store::memory::MemoryStore;
use crate::store::words::{Commit, Made, NewVersion};
use crate::value::sealed_marker;

const MINUTE: i64 = 60_000;

/// Writes the next version of a resource, a minute after the one before.
fn write(store: &mut MemoryStore, name: &str, content: &str) {
    let resource: ResourceName = name.parse().unwrap();
    let head = store.head(&resource).unwrap();
    let number = head.as_ref().map_or(0, |head| head.number) + 1;
    let made = Made {
        run: format!("{number:032x}").parse().unwrap(),
        step: "sync-fleet/sync".to_owned(),
        call: "fleet.sync".to_owned(),
        key: Digest::of(b"key"),
        at: Time(1_700_000_000_000 + MINUTE * i64::try_from(number).unwrap()),
        actor: Actor::new("cli", "tester@here"),
    };
    let new = NewVersion { resource, content: content.as_bytes().to_vec(), expected: head.map(|head| head.digest()), made, log: None };
    store.commit(Commit { versions: vec![new], ..Commit::default() }).unwrap();
}

/// The keyed digest that stands for the ticket in the store.
fn marker() -> String {
    Digest::of(b"the ticket under the store's key").to_string()
}

fn fleet() -> MemoryStore {
    let mut store = MemoryStore::new();
    write(&mut store, "fleet/vm/calamity", r#"{"ip":"10.0.0.7","status":"running","tags":["game"],"vmid":107}"#);
    write(&mut store, "fleet/vm/calamity", r#"{"ip":null,"status":"stopped","tags":["game"],"vmid":107}"#);
    write(&mut store, "fleet/vm/slate", r#"{"ip":"10.0.0.2","status":"running","tags":[],"vmid":100}"#);
    write(&mut store, "fleet/vm/VM 102", r#"{"status":"running","vmid":102}"#);
    let ticket = sealed_marker(&Digest::of(b"the ticket under the store's key"));
    write(&mut store, "keebDev02/node/node", &format!(r#"{{"ticket":{ticket},"user":"root@pam","nodes":["keeb-dev-02"]}}"#));
    write(&mut store, "gone/result/result", r#"{"exitCode":0}"#);
    store
}

/// The definitions of a small project; `gone` is not among them.
fn some() -> Option<ProjectPlanner> {
    let file = |name: &str, text: &str| Source::new(format!("definitions/{name}.toml"), text);
    let (project, _) = parse(&Sources {
        pmxfile: Source::new("Pmxfile.toml", "[project]\nname = \"p\"\n"),
        definitions: vec![
            file("fleet", "type = \"proxmox/vm\"\n[global]\napiUrl = \"https://10.0.0.4:8006\"\nnode = \"keeb-dev-02\"\n"),
            file("keebDev02", "type = \"proxmox/node\"\n"),
            file("hub", "type = \"ssh/host\"\n[global]\nhost = \"hub\"\n"),
            file("broken", "type = "),
        ],
        workflows: Vec::new(),
    });
    Some(ProjectPlanner { project: Arc::new(project?), profile: None })
}

fn at(cel: &str, then: Option<Time>) -> Result<Value, String> {
    let told = |complaints: Vec<Diagnostic>| complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
    Question::parse(cel, then).map_err(told)?.answer(&mut fleet(), &some).map_err(told)
}

fn ask(cel: &str) -> String {
    at(cel, None).unwrap_or_else(|wrong| panic!("{cel}: {wrong}")).display()
}

fn refusal(cel: &str) -> String {
    at(cel, None).expect_err(cel)
}

#[test]
fn the_newest_versions_are_looked_at_as_in_workflows() {
    for (cel, value) in [
        (r#"model.fleet.resource.vm["calamity"].attributes.status"#, r#""stopped""#),
        (r#"${{ model.fleet.resource.vm.calamity.attributes.vmid }}"#, "107"),
        (r#"model.fleet.resource.vm["calamity"].version"#, "2"),
        (r#"model.fleet.resource.vm["calamity"].at"#, r#""2023-11-14T22:15:20.000Z""#),
        (r#"model.fleet.resource.vm["calamity"].run"#, r#""00000000000000000000000000000002""#),
        (r#"model.fleet.resource.vm["calamity"].attributes.ip"#, "null"),
        ("size(model.fleet.resource.vm)", "3"),
        ("model.fleet.resource.vm.size()", "3"),
        (r#""slate" in model.fleet.resource.vm"#, "true"),
        (r#"model.fleet.resource.vm.map(n, n)"#, r#"["VM 102","calamity","slate"]"#),
        (r#"model.fleet.resource.vm.filter(n, model.fleet.resource.vm[n].attributes.status == "running")"#, r#"["VM 102","slate"]"#),
        (r#"model.fleet.resource.vm.all(n, model.fleet.resource.vm[n].attributes.vmid > 99)"#, "true"),
        (r#"model.fleet.resource.vm.map(n, model.fleet.resource.vm[n].attributes.?ip.orValue("?"))"#, r#"["?",null,"10.0.0.2"]"#),
        ("has(model.fleet.resource.vm.nobody)", "false"),
        (r#"model.gone.resource.result.result.attributes.exitCode"#, "0"),
        ("1 + 1", "2"),
    ] {
        assert_eq!(ask(cel), value, "{cel}");
    }
    assert!(ask("model.fleet.resource.vm").starts_with(r#"{"VM 102":{"at":""#));
}

#[test]
fn a_name_that_is_not_there_is_told_with_what_was_meant() {
    for (cel, told) in [
        (r#"model.fleet.resource.vm["calamty"].attributes.ip"#, "query:1:1: no version of fleet/vm/calamty yet; did you mean `calamity`?"),
        (
            r#"model.fleet.resource.vm["web"].attributes.ip"#,
            "query:1:1: no version of fleet/vm/web yet; known are VM 102, calamity, slate; `pmx build fleet/vm/web` reads it",
        ),
        (r#"1 + size(model.flet.resource.vm)"#, "query:1:10: there is no definition `flet`; did you mean `fleet`?"),
        ("has(model.flet.resource.vm.x)", "query:1:5: there is no definition `flet`; did you mean `fleet`?"),
        ("model.x.resource.vm.y.version", "query:1:1: there is no definition `x`; known are fleet, gone, hub, keebDev02"),
        ("model.fleet.resource.vn.calamity.version", "query:1:1: `fleet` writes no `vn`; did you mean `vm`?"),
        ("size(model.gone.resource.file)", "query:1:6: `gone` writes no `file`; known are result"),
        ("model.fleet.resource.vm.slate.attributes.statsu", "query:1:1: fleet/vm/slate has no `statsu`; did you mean `status`?"),
        (
            "model.fleet.resource.vm.filter(n, model.fleet.resource.vm[n].attributes.statsu == \"running\")",
            "query:1:35: fleet/vm/VM 102 has no `statsu`; did you mean `status`?",
        ),
        ("size(model.hub.resource.file)", "query:1:6: no version of hub/file/* yet; it is written by hub.writeFile"),
    ] {
        assert_eq!(refusal(cel), told, "{cel}");
    }
}

#[test]
fn an_empty_store_says_what_reads_what_was_asked_for() {
    let told = |cel: &str| {
        let question = Question::parse(cel, None).unwrap();
        question.answer(&mut MemoryStore::new(), &some).unwrap_err()[0].to_string()
    };
    assert_eq!(told("size(model.fleet.resource.vm)"), "query:1:6: no version of fleet/vm/* yet; `pmx build fleet.sync` reads them");
    assert_eq!(told("model.fleet.resource.vm.x.version"), "query:1:1: no version of fleet/vm/x yet; `pmx build fleet/vm/x` reads it");
}

#[test]
fn a_field_that_a_machine_does_not_tell_is_no_slip() {
    let told = refusal(r#"model.fleet.resource.vm["VM 102"].attributes.ip"#);
    assert!(
        told.starts_with("query:1:1: fleet/vm/VM 102 has had no ip since 2023-11-14T22:14:20.000Z, when run 0000001 (fleet.sync)"),
        "{told}"
    );
}

#[test]
fn definitions_are_read_only_to_say_what_was_meant() {
    let read = Cell::new(0);
    let ask = |cel: &str| {
        let definitions = || {
            read.set(read.get() + 1);
            None
        };
        Question::parse(cel, None).unwrap().answer(&mut fleet(), &definitions).map_err(|complaints| complaints[0].to_string())
    };
    assert_eq!(ask("size(model.fleet.resource.vm)"), Ok(Value::Int(3)));
    assert_eq!(read.get(), 0);
    assert_eq!(ask("size(model.flet.resource.vm)"), Err("query:1:6: there is no definition `flet`; did you mean `fleet`?".to_owned()));
    let told = "query:1:1: no version of fleet/vm/web yet; known are VM 102, calamity, slate";
    assert_eq!(ask("model.fleet.resource.vm.web.version"), Err(told.to_owned()));
    assert_eq!(read.get(), 2);
}

#[test]
fn secrets_stay_closed_whatever_is_done_to_them() {
    const TICKET: &str = "model.keebDev02.resource.node.node.attributes.ticket";
    for cel in [
        TICKET.to_owned(),
        format!("'a' + {TICKET}"),
        format!("{TICKET}.substring(0, 1)"),
        format!("size({TICKET})"),
        format!("{TICKET} == \"[secret]\""),
        format!("base64.encode(bytes({TICKET}))"),
        format!("{TICKET}.contains(\"{}\")", &marker()[..8]),
        "string(model.keebDev02.resource.node.map(n, model.keebDev02.resource.node[n].attributes.ticket)[0])".to_owned(),
    ] {
        assert_eq!(ask(&cel), "\"[secret]\"", "{cel}");
    }
    assert_eq!(ask("model.keebDev02.resource.node.node.attributes"), r#"{"nodes":["keeb-dev-02"],"ticket":"[secret]","user":"root@pam"}"#);
    assert_eq!(ask(&format!("[{TICKET}, 'plain']")), r#"["[secret]","[secret]"]"#);
    // Names are no secrets, and neither is what stands beside one.
    assert_eq!(ask("size(model.keebDev02.resource.node)"), "1");
    assert_eq!(ask("model.keebDev02.resource.node.map(n, model.keebDev02.resource.node[n].attributes.user)"), r#"["root@pam"]"#);
    for cel in [format!("int({TICKET})"), format!("timestamp({TICKET})"), format!("model.fleet.resource.vm[{TICKET}].version")] {
        let told = refusal(&cel);
        assert!(!told.contains(&marker()), "{told}");
    }
    assert!(!format!("{:?}", at(TICKET, None)).contains(&marker()));
}

#[test]
fn what_only_a_run_has_is_refused_before_anything_is_looked_at() {
    for (cel, told) in [
        (r#"vault.get("secrets", "password")"#, "query:1:1: a query opens no secrets; `pmx vault get secrets password` prints one"),
        (r#"vault.get("a" + "b", "c")"#, "query:1:1: a query opens no secrets; `pmx vault get VAULT c` prints one"),
        ("model.fleet.resource.vm[inputs.vmName].version", "query:1:25: a query has no inputs; write the value itself"),
        ("1 + each.value", "query:1:5: `each` is only known inside `for_each`; a loop here is list.filter(x, …) or list.map(x, …)"),
        ("run.id", "query:1:1: a query is no run; the run that wrote a version is model.….run"),
        ("self.name", "query:1:1: a query stands in no definition; write model.<definition>.…"),
        ("env.HOME", "query:1:1: a query knows the store, not the environment; let the shell write the value here"),
    ] {
        let complaints = Question::parse(cel, None).expect_err(cel);
        assert_eq!(complaints.iter().map(ToString::to_string).collect::<Vec<_>>(), [told], "{cel}");
    }
}

#[test]
fn a_broken_expression_names_its_column() {
    assert_eq!(refusal("model.fleet.resource.vm[").split(": ").next(), Some("query:1:25"));
    assert_eq!(refusal("1 +\n nosuch(2)"), "query:2:2: the function `nosuch` is not known");
    let name = r#"query:1:1: `fleet/vm/calamity` is a name and no expression; write model.fleet.resource.vm["calamity"], or `pmx show fleet/vm/calamity`"#;
    assert_eq!(refusal("fleet/vm/calamity"), name);
    assert_eq!(refusal(""), "query:1:1: the expression is empty");
    assert_eq!(refusal("0.0 / 0.0"), "query:1:1: the expression gives NaN, for which JSON has no word");
    assert!(refusal("1 + 'a'").starts_with("query:1:1: `+` does not work on an integer and a string"));
}

#[test]
fn what_was_known_at_a_moment_is_asked_the_same_way() {
    let then = |minutes: i64| Some(Time(1_700_000_000_000 + minutes * MINUTE));
    let status = r#"model.fleet.resource.vm["calamity"].attributes.status"#;
    assert_eq!(at(status, then(1)), Ok("running".into()));
    assert_eq!(at(status, then(2)), Ok("stopped".into()));
    assert_eq!(
        at("model.fleet.resource.vm.map(n, model.fleet.resource.vm[n].version)", then(1)).map(|v| v.display()),
        Ok("[1,1,1]".into())
    );
    let before = at(status, then(0)).unwrap_err();
    assert_eq!(
        before,
        "query:1:1: no version of fleet/vm/calamity was there at 2023-11-14T22:13:20.000Z; `pmx log fleet/vm/calamity` tells since when there is one"
    );
    let before = at("size(model.fleet.resource.vm)", then(0)).unwrap_err();
    assert_eq!(
        before,
        "query:1:6: no version of fleet/vm/* was there at 2023-11-14T22:13:20.000Z; `pmx log` tells since when there is one"
    );
}

#[test]
fn a_store_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    let mut store = fleet();
    let lost = Digest::of(br#"{"status":"running","vmid":102}"#);
    store.drop_blobs(&[lost]).unwrap();
    for cel in [r#"model.fleet.resource.vm["VM 102"].attributes.vmid"#, r#"has(model.fleet.resource.vm["VM 102"].attributes.vmid)"#] {
        let complaints = Question::parse(cel, None).unwrap().answer(&mut store, &some).expect_err(cel);
        assert!(complaints[0].to_string().contains("the content of fleet/vm/VM 102 version 1"), "{complaints:?}");
    }
}
