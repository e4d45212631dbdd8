//! Values that mean harm, against the practice machines: none of them becomes a word of a shell, and what is refused is refused for its argument.

use std::fmt::Write as _;
use std::time::Duration;

use pmx::lang::types::{Kind, Type};
use pmx::model::contract::{Effect, MethodRow, TypeRow};
use pmx::model::registry;
use serde_json::Value as Json;

use super::super::fleet::{CALAMITY, Fleet};
use super::super::real_types::site::toml;
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
];

/// Methods that are not run here, each with the place where their hostile arguments are.
const ELSEWHERE: &[&str] = &[
    // They are asked to be confirmed by the very name that is hostile; `library: model::proxmox::vm::tests::destroy` and
    // `library: model::alpine::install::tests::arguments_that_make_no_sense_are_refused_before_anything_is_asked` have them.
    "proxmox/vm.delete",
    "alpine/install.install",
];

/// What it is called, and the value.
fn values() -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("substitution", format!("a$(touch {CANARY})`touch {CANARY}`")),
        ("sequence", format!("a; touch {CANARY} #")),
        ("single-quote", format!("a'; touch {CANARY}; '")),
        ("double-quote", format!("a\"; touch {CANARY}; \"")),
        ("line", format!("a\ntouch {CANARY}\n")),
        ("option", "--help".to_owned()),
        ("nul", "a\0b".to_owned()),
    ];
    all.push(("long", "x".repeat(1 << 20)));
    all
}

/// The value in the shape that the type takes; `None` when no text can be put there.
fn shaped(ty: &Type, value: &str) -> Option<String> {
    match &ty.kind {
        Kind::String | Kind::Any => Some(toml(value)),
        Kind::List(item) => Some(format!("[{}]", shaped(item, value)?)),
        Kind::Map(item) => Some(format!("{{ KEY = {}, {} = \"x\" }}", shaped(item, value)?, toml(value))),
        Kind::Null | Kind::Bool | Kind::Int | Kind::Float | Kind::Enum(_) | Kind::Object(_) => None,
    }
}

fn definition(row: &TypeRow, hostile: Option<(&str, &str)>) -> String {
    let mut text = format!("type = \"{}\"\n\n[global]\n", row.name);
    let globals = (row.globals)();
    for (name, field) in globals.iter().filter(|(name, _)| hostile.is_none_or(|(given, _)| given != name.as_str())) {
        match name.as_str() {
            "sshHost" | "host" => drop(writeln!(text, "{name} = \"10.0.0.107\"")),
            "sshUser" | "user" => drop(writeln!(text, "{name} = \"root\"")),
            "caFile" => drop(writeln!(text, "{name} = \"store/lab/world/certificate.pem\"")),
            "username" => drop(writeln!(text, "{name} = \"root\"")),
            "ticket" | "csrfToken" => {
                drop(writeln!(text, "{name} = '${{{{ model.keebDev02.resource.node.node.attributes.{name} }}}}'"));
            }
            "password" => drop(writeln!(text, "{name} = '${{{{ vault.get(\"proxmox-vault\", \"password\") }}}}'")),
            _ if field.required => drop(writeln!(text, "{name} = {}", good(name, field))),
            _ => {}
        }
    }
    if let Some((name, value)) = hostile {
        let _ = writeln!(text, "{name} = {value}");
    }
    text
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
    for (name, field) in &(row.globals)() {
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

fn canary(fleet: &Fleet, vmid: u32) -> bool {
    fleet.inside(vmid)["files"].to_string().contains(&format!("\"{CANARY}\":"))
}

#[test]
fn no_argument_becomes_a_command() {
    let mut sandbox = Sandbox::own();
    let mut attacks = Vec::new();
    for row in registry::types() {
        let count;
        (sandbox, count) = attack(sandbox, row);
        attacks.push((row, count));
    }
    let fleet = Fleet::of(sandbox.deadline(Duration::from_secs(600)));
    fleet.wake();
    let mut told = Vec::new();
    for (row, count) in attacks.into_iter().filter(|(_, count)| *count > 0) {
        let ran = fleet.build(&[&format!("attack-{}", stem(row.name)), "--json", "-k"]);
        let ends: Vec<Json> = ran.lines().into_iter().filter(|event| event["event"] == "action-finished").collect();
        let hostile =
            ends.iter().filter(|event| event["step"].as_str().is_some_and(|step| step.starts_with(&format!("attack-{}/", stem(row.name)))));
        let endings: Vec<(&str, &str, &str)> = hostile
            .map(|event| ["step", "ending", "summary"].map(|key| event[key].as_str().unwrap_or_default()))
            .map(|[a, b, c]| (a, b, c))
            .collect();
        assert_eq!(endings.len(), count, "{}: every hostile call has an end\n{}", row.name, short(&ran.to_string()));
        let bugs: Vec<_> = endings.iter().filter(|(_, _, summary)| summary.contains("panicked") || summary.contains("bug")).collect();
        assert!(bugs.is_empty(), "{bugs:?}");
        told.extend(endings.iter().map(|(step, ending, summary)| format!("{step} {ending}: {}", short(summary))));
        assert!(!canary(&fleet, CALAMITY), "{}: a shell was fooled\n{}", row.name, told.join("\n"));
    }
    // Nothing with a NUL in it reaches a program, so no such call may be done.
    let done: Vec<&String> = told.iter().filter(|line| line.contains("-nul") && line.contains(" done: ")).collect();
    assert!(done.is_empty(), "{done:#?}");
    // The canary sings where a command is meant to be one.
    let command = format!("command=true; touch {CANARY}");
    fleet.build(&["testVmSsh.exec", "-i", "vmName=calamity", "-i", &command]).exits(0);
    fleet.inside_once(CALAMITY, "the canary is there", |_| canary(&fleet, CALAMITY));
    if let Ok(path) = std::env::var("PMX_HOSTILE_REPORT") {
        std::fs::write(path, told.join("\n")).expect("the report can be written");
    }
}

fn short(text: &str) -> String {
    text.chars().take(2000).collect()
}
