//! Values that mean harm, against the practice machines: none of them becomes a word of a shell, and what is refused is refused for its argument.

use std::time::Duration;

use pmx::lang::types::{Kind, Type};
use pmx::model::contract::{Effect, MethodRow, TypeRow};
use pmx::model::registry;
use pmx::value::Value;
use serde_json::Value as Json;

use super::super::fleet::{CALAMITY, Fleet};
use super::super::sandbox::Sandbox;
use super::{good, stem};

/// A file that only a shell that was fooled can make.
const CANARY: &str = "/tmp/pmx-canary";

/// Arguments that are commands by their meaning: a shell is to run them, so they are run.
const COMMANDS: &[(&str, &str)] = &[
    // "A command for the remote user's shell."
    ("ssh/host.exec", "command"),
    // "A text for the container's `sh -c`": inside the container, whose files are not the machine's.
    ("docker/engine.exec", "command"),
    ("docker/engine.run", "command"),
    // "What starts the server, run in its directory by a shell."
    ("minecraft/server", "startScript"),
];

/// Methods that are not run here, each with the place where their hostile arguments are.
const ELSEWHERE: &[&str] = &[
    // They are asked to be confirmed by the very name that is hostile; `library: model::proxmox::vm::tests::destroy` and
    // `library: model::alpine::install::tests::arguments_that_make_no_sense_are_refused_before_anything_is_asked` have them.
    "proxmox/vm.delete",
    "alpine/install.install",
];

/// What it is called, and the value.
fn values() -> [(&'static str, String); 8] {
    [
        ("substitution", format!("a$(touch {CANARY})`touch {CANARY}`")),
        ("sequence", format!("a; touch {CANARY} #")),
        ("single-quote", format!("a'; touch {CANARY}; '")),
        ("double-quote", format!("a\"; touch {CANARY}; \"")),
        ("line", format!("a\ntouch {CANARY}\n")),
        ("option", "--help".to_owned()),
        ("nul", "a\0b".to_owned()),
        ("long", "x".repeat(1 << 20)),
    ]
}

/// A text as TOML writes it on one line, also as a key.
fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

/// The value in the shape that the type takes; `None` when no such text gets past `pmx check`.
fn shaped(ty: &Type, value: &str) -> Option<String> {
    match &ty.kind {
        Kind::String | Kind::Any => ty.accepts(&Value::from(value)).is_ok().then(|| quoted(value)),
        Kind::List(item) => Some(format!("[{}]", shaped(item, value)?)),
        Kind::Map(item) => Some(format!("{{ KEY = {}, {} = \"x\" }}", shaped(item, value)?, quoted(value))),
        Kind::Null | Kind::Bool | Kind::Int | Kind::Float | Kind::Enum(_) | Kind::Object(_) => None,
    }
}

fn definition(row: &TypeRow, hostile: Option<(&str, &str)>) -> String {
    let secret = |path: &str| format!("'${{{{ {path} }}}}'");
    let usual = |name: &str| match name {
        "sshHost" | "host" => Some("\"10.0.0.107\"".to_owned()),
        "sshUser" | "user" | "username" => Some("\"root\"".to_owned()),
        "caFile" => Some("\"store/lab/world/certificate.pem\"".to_owned()),
        "ticket" | "csrfToken" => Some(secret(&format!("model.keebDev02.resource.node.node.attributes.{name}"))),
        "password" => Some(secret("vault.get(\"proxmox-vault\", \"password\")")),
        _ => None,
    };
    let globals = (row.globals)();
    let lines = globals.iter().filter_map(|(name, field)| {
        let given = hostile.filter(|(given, _)| given == name).map(|(_, value)| value.to_owned());
        let value = given.or_else(|| usual(name)).or_else(|| field.required.then(|| good(name, field)))?;
        Some(format!("{name} = {value}\n"))
    });
    format!("type = \"{}\"\n\n[global]\n{}", row.name, lines.collect::<String>())
}

fn step(name: &str, call: &str, method: &MethodRow, hostile: Option<(&str, &str)>) -> String {
    let given = |name: &str| hostile.filter(|(given, _)| *given == name).map(|(_, value)| value.to_owned());
    let arguments = (method.arguments)();
    let listed = arguments.iter().filter_map(|(name, field)| {
        let value = given(name)
            .or_else(|| (field.required || matches!(name.as_str(), "seconds" | "timeout" | "waitSeconds")).then(|| good(name, field)))?;
        Some(format!("{name} = {value}"))
    });
    let with = listed.collect::<Vec<_>>().join(", ");
    format!("[[step]]\nname = \"{name}\"\ncall = \"{call}.{}\"\nwith = {{ {with} }}\noptional = true\ntimeout = \"5s\"\n\n", method.name)
}

/// Every hostile call of a type as one workflow, and how many there are.
fn attack(mut sandbox: Sandbox, row: &'static TypeRow) -> (Sandbox, usize) {
    let own = stem(row.name);
    sandbox = sandbox.file(&format!("definitions/{own}.toml"), &definition(row, None));
    let mut steps = String::new();
    let mut count = 0;
    let runs = |method: &&MethodRow| !ELSEWHERE.contains(&format!("{}.{}", row.name, method.name).as_str());
    for method in row.methods.iter().filter(runs) {
        let whole = format!("{}.{}", row.name, method.name);
        for (name, field) in (method.arguments)().iter().filter(|(name, _)| !COMMANDS.contains(&(whole.as_str(), name.as_str()))) {
            for (kind, value) in values() {
                let Some(value) = shaped(&field.ty, &value) else { continue };
                steps.push_str(&step(&format!("{}-{name}-{kind}", method.name), &own, method, Some((name, &value))));
                count += 1;
            }
        }
    }
    // A hostile global argument meets one method that reads and one that acts, where there are such.
    let reads = row.methods.iter().find(|method| method.effect == Effect::Observe);
    let acts = row.methods.iter().filter(runs).find(|method| method.effect != Effect::Observe);
    for (name, field) in (row.globals)().iter().filter(|(name, _)| !COMMANDS.contains(&(row.name, name.as_str()))) {
        for (kind, value) in values() {
            let Some(value) = shaped(&field.ty, &value) else { continue };
            let def = format!("{own}-{name}-{kind}");
            sandbox = sandbox.file(&format!("definitions/{def}.toml"), &definition(row, Some((name, &value))));
            for method in reads.into_iter().chain(acts) {
                steps.push_str(&step(&format!("global-{name}-{kind}-{}", method.name), &def, method, None));
                count += 1;
            }
        }
    }
    let sandbox = if steps.is_empty() { sandbox } else { sandbox.file(&format!("workflows/attack-{own}.toml"), &steps) };
    (sandbox, count)
}

/// The machine's files once this one is among them: they are saved some time after they changed.
fn files_with(fleet: &Fleet, path: &str) -> String {
    let holds = |inside: &Json, path: &str| inside["files"].to_string().contains(&format!("\"{path}\":"));
    fleet.inside_once(CALAMITY, &format!("there is {path}"), |inside| holds(inside, path))["files"].to_string()
}

#[test]
fn no_argument_becomes_a_command() {
    let mut sandbox = Sandbox::own();
    let mut attacks = Vec::new();
    for row in registry::types() {
        let count;
        (sandbox, count) = attack(sandbox, row);
        attacks.push((stem(row.name), count));
    }
    let mut fleet = Fleet::of(sandbox);
    fleet.sandbox = fleet.sandbox.deadline(Duration::from_secs(900));
    fleet.wake();
    let mut told = Vec::new();
    for (name, count) in attacks.into_iter().filter(|(_, count)| *count > 0) {
        let target = format!("attack-{name}");
        let ran = fleet.build(&[target.as_str(), "--json", "-k"]);
        let events = ran.lines();
        let hostile = events.iter().filter(|event| {
            let step = event["step"].as_str().unwrap_or_default();
            event["event"] == "action-finished" && step.starts_with(&format!("{target}/")) && !step.contains(" (refresh ")
        });
        let word = |event: &Json, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let endings: Vec<String> =
            hostile.map(|event| format!("{} {}: {}", word(event, "step"), word(event, "ending"), short(&word(event, "summary")))).collect();
        assert_eq!(endings.len(), count, "{name}: every hostile call has an end\n{}\n{}", endings.join("\n"), short(&ran.to_string()));
        let bugs: Vec<&String> = endings.iter().filter(|line| line.contains("panicked") || line.contains("arguments: ")).collect();
        assert!(bugs.is_empty(), "{bugs:#?}");
        told.extend(endings);
    }
    assert!(told.len() > 300, "{}", told.len());
    // Nothing with a NUL in it reaches a program, so no such call may have worked.
    let done: Vec<&String> = told.iter().filter(|line| line.contains("-nul") && line.contains(" done: ")).collect();
    assert!(done.is_empty(), "{done:#?}");
    let exec =
        |command: &str| drop(fleet.build(&["testVmSsh.exec", "-i", "vmName=calamity", "-i", &format!("command={command}")]).exits(0));
    exec("touch /tmp/pmx-after");
    let files = files_with(&fleet, "/tmp/pmx-after");
    assert!(!files.contains(&format!("\"{CANARY}\":")), "a shell was fooled by one of\n{}", told.join("\n"));
    // The canary sings where a command is meant to be one.
    exec(&format!("true; touch {CANARY}"));
    files_with(&fleet, CANARY);
}

fn short(text: &str) -> String {
    text.chars().take(300).collect()
}
