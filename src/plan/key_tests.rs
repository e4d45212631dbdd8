//! The action key, a test per row of the table in `docs/design/0001-action-key.md`.

use std::sync::Arc;

use crate::digest::Digest;
use crate::model::contract::{Call, MethodRow, TypeRow};
use crate::plan::graph::{Action, BoundCall};
use crate::plan::key::{Manifest, key, subject};
use crate::plan::kit::{graph_of, lines, project};
use crate::secret::{Origin, Secret};
use crate::value::{Map, Value};

const FLEET: &str = "type = \"proxmox/vm\"\n[global]\napiUrl = \"https://10.0.0.4:8006\"\nnode = \"n\"\nticket = '${{ model.keebDev02.resource.node.node.attributes.ticket }}'\n";
const NODE: &str =
    "type = \"proxmox/node\"\n[global]\napiUrl = \"https://10.0.0.4:8006\"\nnode = \"n\"\nusername = \"root\"\npassword = \"x\"\n";
const ENGINE: &str = "type = \"docker/engine\"\n[global]\nsshHost = '${{ model.fleet.resource.vm[inputs.vmName].attributes.ip }}'\n";

fn action(target: &str, inputs: &[(&str, Value)]) -> Action {
    let files = [("definitions/fleet.toml", FLEET), ("definitions/keebDev02.toml", NODE), ("definitions/dockerEngine.toml", ENGINE)];
    let graph = graph_of(&project(&files), &[target], inputs).map_err(|c| lines(&c)).unwrap();
    Action::clone(graph.actions.last().unwrap())
}

fn look() -> BoundCall {
    action("fleet.lookup", &[("vmName", "calamity".into())]).call
}

fn map(fields: &[(&str, Value)]) -> Map {
    fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn ticket(text: &str, origin: Origin) -> Value {
    Value::Secret(Secret::new(text, origin))
}

fn account(name: &str) -> Origin {
    Origin::Resource { name: name.parse().unwrap(), field: "ticket".into() }
}

fn evaluated() -> Call {
    Call {
        globals: map(&[("apiUrl", "https://10.0.0.4:8006".into()), ("ticket", ticket("PVE:root@pam:1", account("keebDev02/node/node")))]),
        arguments: map(&[("vmName", "calamity".into())]),
    }
}

fn keyed(secret: &Secret) -> Digest {
    Digest::keyed(&[7; 32], secret.expose().as_bytes())
}

fn of(call: &BoundCall, values: &Call) -> (Digest, Manifest) {
    key(call, values, &keyed)
}

/// Whether a change of the evaluated arguments changes the key.
fn changes(change: impl FnOnce(&mut Call)) -> bool {
    let mut values = evaluated();
    change(&mut values);
    of(&look(), &values).0 != of(&look(), &evaluated()).0
}

#[test]
fn the_type_its_revision_and_the_method_count() {
    let call = look();
    let with = |kind: &'static TypeRow, method: &'static MethodRow| of(&BoundCall { kind, method, ..look() }, &evaluated()).0;
    let raised: &'static TypeRow = Box::leak(Box::new(TypeRow { revision: 2, ..plain(call.kind) }));
    let renamed: &'static TypeRow = Box::leak(Box::new(TypeRow { name: "proxmox/vm2", ..plain(call.kind) }));
    let base = with(call.kind, call.method);
    assert!(base != with(raised, call.method) && base != with(renamed, call.method));
    assert_ne!(base, with(call.kind, call.kind.method("sync").unwrap()));
}

fn plain(row: &'static TypeRow) -> TypeRow {
    TypeRow { name: row.name, revision: row.revision, doc: row.doc, globals: row.globals, specs: row.specs, methods: row.methods }
}

#[test]
fn the_definition_and_its_variant_count_because_outputs_are_named_by_them() {
    let base = of(&look(), &evaluated()).0;
    assert_ne!(base, of(&BoundCall { def: "other".into(), ..look() }, &evaluated()).0);
    let install = |vm: &str| action("dockerEngine.install", &[("vmName", vm.into())]).call;
    let same = Call { globals: map(&[("sshHost", "10.0.0.9".into())]), arguments: Map::new() };
    assert_ne!(of(&install("a"), &same).0, of(&install("b"), &same).0, "one address, two names");
}

#[test]
fn every_argument_counts_by_name_kind_and_value() {
    assert!(changes(|call| drop(call.arguments.insert("vmName".into(), "allthemons".into()))));
    assert!(changes(|call| drop(call.globals.insert("apiUrl".into(), "https://10.0.0.5:8006".into()))));
    assert!(changes(|call| drop(call.arguments.insert("x".into(), Value::Int(1)))));
    let int = |value: Value| of(&look(), &Call { arguments: map(&[("n", value)]), ..evaluated() }).0;
    assert!(int(Value::Int(1)) != int(Value::Float(1.0)) && int(Value::Int(1)) != int("1".into()));
}

#[test]
fn an_argument_that_is_null_counts_as_not_set() {
    assert!(!changes(|call| drop(call.arguments.insert("purge".into(), Value::Null))));
    assert!(changes(|call| drop(call.arguments.insert("purge".into(), Value::Bool(false)))));
}

#[test]
fn a_global_and_an_argument_of_one_name_are_two() {
    let here = Call { globals: map(&[("x", "1".into())]), arguments: Map::new() };
    let there = Call { globals: Map::new(), arguments: map(&[("x", "1".into())]) };
    assert_ne!(of(&look(), &here).0, of(&look(), &there).0);
}

#[test]
fn a_credential_counts_as_its_account() {
    let renewed = |call: &mut Call| drop(call.globals.insert("ticket".into(), ticket("PVE:root@pam:2", account("keebDev02/node/node"))));
    let other = |call: &mut Call| drop(call.globals.insert("ticket".into(), ticket("PVE:root@pam:1", account("keebDev03/node/node"))));
    assert!(!changes(renewed), "a renewed ticket opens the same account");
    assert!(changes(other), "the same text from elsewhere is another account");
    let by_hand = |text: &'static str| move |call: &mut Call| drop(call.globals.insert("ticket".into(), ticket(text, Origin::Computed)));
    let mut one = evaluated();
    let mut two = evaluated();
    by_hand("a")(&mut one);
    by_hand("b")(&mut two);
    assert_ne!(of(&look(), &one).0, of(&look(), &two).0, "nothing but its value tells the account of one that was put together");
}

#[test]
fn other_secrets_count_by_keyed_digest_wherever_they_stand() {
    let content = |value: Value| of(&look(), &Call { arguments: map(&[("env", Value::Map(map(&[("TOKEN", value)])))]), ..evaluated() });
    let vault = |key: &str| Origin::Vault { vault: "v".into(), key: key.into() };
    let (base, manifest) = content(ticket("hunter2", vault("a")));
    assert_eq!(base, content(ticket("hunter2", vault("b"))).0, "the value counts, not where it came from");
    assert_ne!(base, content(ticket("hunter3", vault("a"))).0);
    assert_ne!(base, content("hunter2".into()).0, "a secret is never equal to a plain text");
    assert!(!manifest.as_str().contains("hunter2"));
}

#[test]
fn no_secret_is_in_the_manifest_even_if_it_was_written_in_the_clear() {
    let call = action("keebDev02.auth", &[]).call;
    let values = Call { globals: map(&[("password", "hunter2".into()), ("username", "root".into())]), arguments: Map::new() };
    let (_, manifest) = of(&call, &values);
    assert!(!manifest.as_str().contains("hunter2") && manifest.as_str().contains("root"), "{}", manifest.as_str());
}

#[test]
fn versions_steps_and_switches_do_not_count() {
    let one = action("fleet.lookup", &[("vmName", "calamity".into())]);
    let mut other = one.clone();
    other.step = "elsewhere/lookup".into();
    other.flow.options.fresh = Some(std::time::Duration::from_secs(600));
    other.flow.options.always = true;
    other.touch.reads.clear();
    other.scopes.inner = Arc::default();
    assert_eq!(of(&one.call, &evaluated()), of(&other.call, &evaluated()));
}

#[test]
fn the_manifest_is_canonical_and_explains() {
    let (_, manifest) = of(&look(), &evaluated());
    let json: serde_json::Value = serde_json::from_str(manifest.as_str()).unwrap();
    assert_eq!(Value::from(json).display(), manifest.as_str(), "canonical: keys in order, no blanks");
    let mut values = evaluated();
    values.arguments =
        map(&[("vmName", "allthemons".into()), ("waitSeconds", Value::Int(5)), ("env", Value::Map(map(&[("A", "1".into())])))]);
    values.globals.insert("ticket".into(), ticket("t", Origin::Vault { vault: "v".into(), key: "k".into() }));
    values.globals.remove("apiUrl");
    let told: Vec<String> = of(&look(), &values).1.differences(&manifest).iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
        env.A was not set, is `1`
        vmName was `calamity`, is `allthemons`
        waitSeconds was not set, is `5`
        apiUrl was `https://10.0.0.4:8006`, is not set any more
        ticket was the account of keebDev02/node/node, field ticket, is the account of vault v, key k
    "#);
    assert!(manifest.differences(&manifest).is_empty());
    assert!(!manifest.differences(&Manifest::stored("not json")).is_empty(), "an unreadable manifest differs in everything");
}

#[test]
fn a_subject_is_the_call_and_what_it_writes() {
    assert_eq!(subject(&action("fleet.lookup", &[("vmName", "VM 102".into())])), "fleet.lookup vm/VM 102");
    assert_eq!(subject(&action("fleet/vm/*", &[])), "fleet.sync vm/*");
}
