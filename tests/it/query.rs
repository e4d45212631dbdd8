//! `pmx query`: what the store knows, asked in one expression; nothing is contacted, written or opened.

use std::collections::BTreeMap;

use serde_json::json;

use super::fleet::Fleet;
use super::sandbox::Sandbox;

const STATUS: &str = r#"model.fleet.resource.vm["calamity"].attributes.status"#;
const RUNNING: &str = r#"model.fleet.resource.vm.filter(n, model.fleet.resource.vm[n].attributes.status == "running")"#;
const TICKET: &str = "model.keebDev02.resource.node.node.attributes.ticket";

/// Everything below a directory of the project, by name.
fn files(fleet: &Fleet) -> BTreeMap<String, Vec<u8>> {
    let name = |path: &std::path::Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // The practice fleet lives there too, and its state is not the store's.
    let entries = std::fs::read_dir(fleet.store()).expect("a store is a directory").flatten();
    let paths = entries.map(|entry| entry.path()).filter(|path| path.is_file());
    // What SQLite shares between processes says who looks, too.
    paths
        .filter(|path| !name(path).ends_with("-shm"))
        .map(|path| (name(&path), std::fs::read(&path).expect("a file can be read")))
        .collect()
}

#[test]
fn a_fleet_is_asked_without_a_word_to_it() {
    let fleet = Fleet::up();
    fleet.build(&["sync-fleet"]).exits(0);
    fleet.requests();
    // The first who looks after a build may carry the log of its index over into the index, whatever it asks.
    let runs = fleet.pmx(&["runs", "--json"]).exits(0).stdout;
    let before = files(&fleet);
    let ask = |cel: &str| fleet.pmx(&["query", cel]).exits(0).stdout;
    let json = |cel: &str| fleet.pmx(&["query", cel, "--json"]).exits(0).json();

    assert_eq!((ask(STATUS), json(STATUS)), ("running\n".to_owned(), json!("running")));
    let all: Vec<String> =
        fleet.pmx(&["ls", "fleet/vm/", "--json"]).exits(0).lines().iter().map(|line| line["resource"].to_string()).collect();
    assert_eq!(json("size(model.fleet.resource.vm)"), json!(all.len()));
    let running = json(RUNNING);
    let told = json("model.fleet.resource.vm.map(n, [n, model.fleet.resource.vm[n].attributes.status])");
    let expected: Vec<_> = told.as_array().into_iter().flatten().filter(|pair| pair[1] == "running").map(|pair| pair[0].clone()).collect();
    assert!(!expected.is_empty() && expected.len() < all.len(), "{told}");
    assert_eq!(running, json!(expected));
    assert_eq!(ask("model.fleet.resource.vm.exists(n, n == 'nobody')"), "false\n");
    assert_eq!(
        json(r#"model.fleet.resource.vm["calamity"].attributes"#),
        fleet.pmx(&["show", "fleet/vm/calamity", "--json"]).json()["attributes"]
    );
    insta::assert_snapshot!(fleet.pmx(&["query", r#"{"who": "calamity", "is": model.fleet.resource.vm["calamity"].attributes.vmid, "of": [1, null]}"#]).exits(0).snapshot(), @r#"
    $ pmx --profile lab query {"who": "calamity", "is": model.fleet.resource.vm["calamity"].attributes.vmid, "of": [1, null]}
    {
      "is": 107,
      "of": [
        1,
        null
      ],
      "who": "calamity"
    }
    --- exit 0
    "#);

    assert!(fleet.requests().is_empty(), "nobody was asked");
    assert_eq!(fleet.pmx(&["runs", "--json"]).stdout, runs, "no run was made");
    assert!(files(&fleet) == before, "nothing was written");
}

#[test]
fn what_was_known_then_is_asked_the_same_way() {
    let fleet = Fleet::up();
    fleet.build(&["stop-calamity"]).exits(0);
    let first = fleet.pmx(&["show", "fleet/vm/calamity@1", "--json"]).exits(0).json()["at"].as_str().unwrap_or_default().to_owned();
    fleet.pmx(&["query", STATUS]).exits(0).says("stopped");
    fleet.pmx(&["query", "--as-of", &first, STATUS]).exits(0).says("running");
    fleet.pmx(&["query", "--as-of", &first, RUNNING, "--json"]).exits(0).says(r#"["calamity"]"#);
    fleet
        .pmx(&["query", "--as-of", "2000-01-01T00:00:00Z", STATUS])
        .exits(2)
        .says("was there at 2000-01-01")
        .says("pmx log fleet/vm/calamity");
    fleet.pmx(&["query", "--as-of", "yesterday", STATUS]).exits(2).says("`yesterday` is not a time");
}

#[test]
fn no_question_opens_a_secret() {
    let fleet = Fleet::up();
    fleet.build(&["sync-fleet"]).exits(0);
    let closed = |cel: &str, json: bool| {
        let flags: &[&str] = if json { &["query", cel, "--json"] } else { &["query", cel] };
        fleet.pmx(flags).keeps_quiet_about("PVE").keeps_quiet_about("root@pam:")
    };
    for cel in [
        TICKET.to_owned(),
        format!("'ticket: ' + {TICKET}"),
        format!("{TICKET}.split(':')[0]"),
        format!("{TICKET} + {TICKET}.substring(0, 3)"),
        format!("base64.encode(bytes({TICKET}))"),
        format!("{TICKET}.startsWith('PV')"),
        format!("size({TICKET}) > 10 ? 'long' : 'short'"),
    ] {
        assert_eq!(closed(&cel, false).exits(0).stdout, "[secret]\n", "{cel}");
        assert_eq!(closed(&cel, true).exits(0).json(), "[secret]", "{cel}");
    }
    // Beside it is none, and a name is none.
    closed("model.keebDev02.resource.node.node.attributes", false).exits(0).says(r#""ticket": "[secret]""#).says("keeb-dev-02");
    closed("model.keebDev02.resource.node", true).exits(0).says(r#""ticket":"[secret]""#);
    assert_eq!(closed("model.keebDev02.resource.node.map(n, n)", true).exits(0).json(), json!(["node"]));
    for cel in [format!("int({TICKET})"), format!("{{{TICKET}: 1}}"), format!("model.fleet.resource.vm[{TICKET}].version")] {
        closed(&cel, false).exits(2);
    }
    closed(r#"vault.get("proxmox-vault", "password")"#, false)
        .exits(2)
        .says("a query opens no secrets")
        .says("pmx vault get proxmox-vault password");
    // The key of the store is not even read.
    fleet.sandbox.shell("rm -r ~/.config/pmx/keys").exits(0);
    closed(TICKET, false).exits(0);
}

#[test]
fn mistakes_point_at_their_column_and_name_what_was_meant() {
    let fleet = Fleet::up();
    fleet.build(&["sync-fleet"]).exits(0);
    insta::assert_snapshot!(fleet.pmx(&["query", r#"model.fleet.resource.vm["calamty"].attributes.status"#]).exits(2).snapshot(), @r#"
    $ pmx --profile lab query model.fleet.resource.vm["calamty"].attributes.status
    --- stderr
    error: no version of fleet/vm/calamty yet
     --> query:1:1
      |
    1 | model.fleet.resource.vm["calamty"].attributes.status
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: did you mean `calamity`?

    --- exit 2
    "#);
    insta::assert_snapshot!(fleet.pmx(&["query", r#"1 + size(model.fleet.resource.vm["calamity"]"#]).exits(2).snapshot(), @r#"
    $ pmx --profile lab query 1 + size(model.fleet.resource.vm["calamity"]
    --- stderr
    error: the expression ends too early
     --> query:1:45
      |
    1 | 1 + size(model.fleet.resource.vm["calamity"]
      |                                             ^
      |
      = help: a bracket is missing

    --- exit 2
    "#);
    insta::assert_snapshot!(fleet.pmx(&["query", r#"model.fleet.resource.vm["calamity"].attributes.statsu"#]).exits(2).snapshot(), @r#"
    $ pmx --profile lab query model.fleet.resource.vm["calamity"].attributes.statsu
    --- stderr
    error: fleet/vm/calamity has no `statsu`
     --> query:1:1
      |
    1 | model.fleet.resource.vm["calamity"].attributes.statsu
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: did you mean `status`?

    --- exit 2
    "#);
    let says = |cel: &str, text: &str| drop(fleet.pmx(&["query", cel]).exits(2).says(text));
    says("model.flet.resource.vm.calamity.version", "did you mean `fleet`?");
    says("has(model.fleet.resource.vn.calamity)", "did you mean `vm`?");
    says("size(model.calamity.resource.result)", "no version of calamity/result/* yet");
    says("inputs.vmName", "a query has no inputs");
    says("status", "`status` is not known");
    let told = fleet.pmx(&["query", "1 +\n  nosuch(2)", "--json"]).exits(2).json();
    assert_eq!((&told["file"], &told["line"], &told["column"], &told["fault"]), (&json!("query"), &json!(2), &json!(3), &json!("yours")));
}

#[test]
fn the_store_is_enough() {
    let sandbox = Sandbox::own();
    sandbox.pmx(&["query", "1 + 1"]).exits(2).says("nothing was ever built here").says("pmx build TARGET");
    assert!(!sandbox.path("store").exists(), "asking makes no store");
    Sandbox::new().pmx(&["query", "1 + 1"]).exits(2).says("there is no Pmxfile.toml");

    let fleet = Fleet::up();
    fleet.build(&["sync-fleet"]).exits(0);
    let Fleet { sandbox, .. } = &fleet;
    for (file, text) in
        [("workflows/broken.toml", "[[step"), ("definitions/fleet.toml", "type = 'proxmox/vm"), ("definitions/bytes.toml", "\0")]
    {
        std::fs::write(sandbox.path(file), text).expect("a file can be written");
    }
    fleet.pmx(&["check"]).exits(2);
    fleet.pmx(&["query", STATUS]).exits(0).says("running");
    fleet.pmx(&["query", r#"model.fleet.resource.vm["calamty"].version"#]).exits(2).says("did you mean `calamity`?");
    std::fs::remove_file(sandbox.path("definitions/fleet.toml")).expect("a file can be removed");
    fleet.pmx(&["query", STATUS]).exits(0).says("running");
}
