//! Values that mean harm, against the practice machines: no shell runs them, no call hangs or breaks over them, and what is refused is told briefly.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use pmx::lang::types::{Kind, Object, Type};
use pmx::model::contract::{Effect, MethodRow, TypeRow};
use pmx::model::registry;
use pmx::value::Value;
use serde_json::Value as Json;

use super::super::fleet::Fleet;
use super::super::sandbox::Sandbox;
use super::{good, stem};

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

/// Arguments that are bytes, or only compared here: a NUL in them is as good as any letter.
const BYTES: &[&str] = &["writeFile-content-", "syncCode-excludes-"];

/// The machines whose shells could be fooled: those that the calls are about, and the one that the overlay goes to.
const MACHINES: [&str; 3] = ["calamity", "allthemons", "tftp-server"];

/// Arguments that are taken as they are, and then waited for in real seconds: one text is enough.
const COSTLY: &[&str] = &["envDigest"];

/// Arguments whose seconds would all pass: players are warned for that long, and a wrong key is waited for.
const WAITED: &[&str] =
    &["minecraft/server.warnShutdown seconds", "terraria/server.warnShutdown seconds", "tailscale/node.install timeout"];

/// What a shell makes files of that is fooled by a text: unquoted, in double quotes, in single quotes.
const SIGNS: [&str; 6] = ["substitution", "backquotes", "sequence", "single", "double", "line"];

/// The hostile texts by their names. A shell that is fooled makes files whose names are `canary` and one of the signs.
fn texts(canary: &str) -> Vec<(&'static str, String)> {
    let shell = format!(
        "a$(touch {canary}-substitution)`touch {canary}-backquotes`; touch {canary}-sequence; '; touch {canary}-single; '\"; touch {canary}-double; \""
    );
    vec![
        ("shell", shell),
        ("line", format!("a\ntouch {canary}-line\n")),
        ("option", "--help".to_owned()),
        ("nul", "a\0b".to_owned()),
        ("long", "x".repeat(1 << 20)),
    ]
}

/// A text as TOML writes it on one line, also as a key.
fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

/// The hostile text as a value of the type, read from the input of that name; `None` where no text fits.
fn read(ty: &Type, name: &str, text: &str) -> Option<String> {
    match &ty.kind {
        Kind::String | Kind::Any => Some(format!("'${{{{ inputs.{name} }}}}'")),
        Kind::List(item) => Some(format!("[{}]", read(item, name, text)?)),
        // A key is never an expression, and the long one is not written a second time.
        Kind::Map(item) if name == "long" => Some(format!("{{ KEY = {} }}", read(item, name, text)?)),
        Kind::Map(item) => Some(format!("{{ KEY = {}, {} = \"x\" }}", read(item, name, text)?, quoted(text))),
        Kind::Null | Kind::Bool | Kind::Int | Kind::Float | Kind::Enum(_) | Kind::Object(_) => None,
    }
}

/// The ends of the numbers that the type takes.
fn numbers(ty: &Type) -> Vec<(&'static str, String)> {
    let most = ty.max.map_or(i64::MAX, |max| max as i64);
    let fits = |number: &i64| ty.kind == Kind::Int && ty.accepts(&Value::Int(*number)).is_ok();
    let ends = [("least", i64::MIN), ("minus", -1), ("zero", 0), ("most", most)].into_iter().filter(|(_, number)| fits(number));
    ends.map(|(name, number)| (name, number.to_string())).collect()
}

type Given<'a> = Option<(&'a str, &'a str)>;

fn definition(row: &TypeRow, hostile: Given<'_>) -> String {
    let secret = |path: &str| format!("'${{{{ {path} }}}}'");
    let usual = |name: &str| match name {
        "sshHost" if row.name == "minecraft/server" => Some("\"10.0.0.108\"".to_owned()),
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

fn step(name: &str, call: &str, method: &MethodRow, hostile: Given<'_>) -> String {
    let arguments = (method.arguments)();
    // What is to be made must not be there already, else nobody looks at the rest.
    let made = |argument: &str| matches!((method.name, argument), ("create", "vmName") | ("run", "containerName")).then(|| quoted(name));
    let short = |argument: &str| matches!(argument, "seconds" | "timeout" | "waitSeconds");
    let listed = arguments.iter().filter_map(|(argument, field)| {
        let given = hostile.filter(|(given, _)| given == argument).map(|(_, value)| value.to_owned());
        let usual = || (field.required || short(argument)).then(|| made(argument).unwrap_or_else(|| good(argument, field)));
        Some(format!("{argument} = {}", given.or_else(usual)?))
    });
    let with = listed.collect::<Vec<_>>().join(", ");
    format!("[[step]]\nname = \"{name}\"\ncall = \"{call}.{}\"\nwith = {{ {with} }}\noptional = true\ntimeout = \"1m\"\n\n", method.name)
}

/// The arguments that are attacked.
fn attacked(owner: &str, arguments: Object) -> Vec<(String, Type)> {
    arguments.into_iter().filter(|(name, _)| !COMMANDS.contains(&(owner, name.as_str()))).map(|(name, field)| (name, field.ty)).collect()
}

/// Every hostile call of a type as one workflow.
struct Attack {
    row: &'static TypeRow,
    files: Vec<(String, String)>,
    steps: String,
    names: BTreeSet<String>,
}

impl Attack {
    fn of(row: &'static TypeRow, texts: &[(&'static str, String)]) -> Self {
        let own = stem(row.name);
        let files = vec![(format!("definitions/{own}.toml"), definition(row, None))];
        let mut attack = Self { row, files, steps: String::new(), names: BTreeSet::new() };
        let whole = |method: &MethodRow| format!("{}.{}", row.name, method.name);
        let methods: Vec<&MethodRow> = row.methods.iter().filter(|method| !ELSEWHERE.contains(&whole(method).as_str())).collect();
        for method in &methods {
            for (argument, ty) in attacked(&whole(method), (method.arguments)()) {
                let few = if COSTLY.contains(&argument.as_str()) { &texts[..1] } else { texts };
                let values = few.iter().filter_map(|(kind, text)| Some((*kind, read(&ty, kind, text)?)));
                let numbers = numbers(&ty)
                    .into_iter()
                    .filter(|(kind, _)| *kind != "most" || !WAITED.contains(&format!("{} {argument}", whole(method)).as_str()));
                for (kind, value) in values.chain(numbers) {
                    attack.call(format!("{}-{argument}-{kind}", method.name), &own, method, Some((&argument, &value)));
                }
            }
        }
        // A hostile global argument meets one method; those that read run side by side.
        let Some(method) = methods.iter().find(|method| method.effect == Effect::Observe).or(methods.first()) else { return attack };
        for (argument, ty) in attacked(row.name, (row.globals)()) {
            // What `pmx check` refuses in a definition never gets there.
            let text = texts
                .iter()
                .find(|(kind, text)| *kind != "long" && ty.kind == Kind::String && ty.accepts(&Value::from(text.as_str())).is_ok());
            for (kind, value) in text.map(|(kind, text)| (*kind, quoted(text))).into_iter().chain(numbers(&ty)) {
                let def = format!("{own}-{argument}-{kind}");
                attack.files.push((format!("definitions/{def}.toml"), definition(row, Some((&argument, &value)))));
                attack.call(format!("global-{argument}-{kind}"), &def, method, None);
            }
        }
        attack
    }

    fn call(&mut self, name: String, definition: &str, method: &MethodRow, hostile: Given<'_>) {
        self.steps.push_str(&step(&name, definition, method, hostile));
        self.names.insert(name);
    }

    /// Runs it, its files only there meanwhile, and tells how each call ended.
    fn run(self, fleet: &Fleet, texts: &[(&'static str, String)]) -> Vec<String> {
        let target = format!("attack-{}", stem(self.row.name));
        let mut text = String::new();
        for (name, value) in texts {
            let _ = writeln!(text, "[input.{name}]\ntype = \"string\"\ndefault = {}\n", quoted(value));
        }
        let workflow = (format!("workflows/{target}.toml"), text + &self.steps);
        let files: Vec<_> = self.files.into_iter().chain([workflow]).map(|(path, text)| (fleet.sandbox.path(&path), text)).collect();
        for (path, text) in &files {
            std::fs::write(path, text).expect("a file can be written into the project");
        }
        let ran = fleet.build(&[target.as_str(), "--json", "-k"]).exits(0);
        for (path, _) in &files {
            std::fs::remove_file(path).expect("it was just written");
        }
        let word = |event: &Json, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let mut open = self.names;
        let mut told = Vec::new();
        for event in ran.lines().iter().filter(|event| event["event"] == "action-finished") {
            let step = word(event, "step");
            if step.strip_prefix(&format!("{target}/")).is_some_and(|name| open.remove(name)) {
                told.push(format!("{step} {}: {}", word(event, "ending"), word(event, "summary")));
            }
        }
        assert!(open.is_empty(), "{target}: no end of {open:?}");
        told
    }
}

/// What is wrong with how a hostile call ended.
fn fault(line: &str) -> Option<&'static str> {
    let (step, ending) = line.split_once(' ').unwrap_or_default();
    let (_, name) = step.split_once('/').unwrap_or_default();
    let harmless = BYTES.iter().any(|bytes| name.starts_with(bytes));
    let worked = !ending.starts_with("failed: ");
    if ending.contains("panicked") || ending.starts_with("failed: arguments: ") || ending.starts_with("failed: global arguments: ") {
        Some("it got past the checker and broke something")
    } else if ending.contains("did not end within the step's timeout") || ending.starts_with("cancelled") {
        Some("it hung")
    } else if ending.len() > 5000 {
        Some("nobody reads that much")
    } else if name.ends_with("-long") && ending.contains("the connection broke") {
        Some("it ended the connection that others use")
    } else if worked && name.ends_with("-nul") && !harmless {
        Some("no program can have got a NUL")
    } else if let Some((_, made)) = ending.split_once("done: created ")
        && !made.starts_with(&format!("{name} "))
    {
        Some("it took another machine for its own")
    } else {
        None
    }
}

/// What a command says on a machine.
fn said(fleet: &Fleet, machine: &str, command: &str) -> String {
    let (machine, command) = (format!("vmName={machine}"), format!("command={command}"));
    fleet.build(&["testVmSsh.exec", "-i", &machine, "-i", &command, "--json"]).exits(0).stdout
}

#[test]
fn no_argument_becomes_a_command_or_breaks_a_method() {
    let canary = format!("/tmp/pmx-canary-{}", std::process::id());
    let texts = texts(&canary);
    let mut fleet = Fleet::of(Sandbox::own());
    fleet.sandbox = fleet.sandbox.deadline(Duration::from_secs(600));
    fleet.wake();
    let mut told = Vec::new();
    for attack in registry::types().iter().map(|row| Attack::of(row, &texts)).filter(|attack| !attack.names.is_empty()) {
        told.extend(attack.run(&fleet, &texts));
    }
    assert!(told.len() > 300, "{}", told.len());
    let faults: Vec<String> =
        told.iter().filter_map(|line| Some(format!("{}: {}", fault(line)?, line.chars().take(300).collect::<String>()))).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for machine in MACHINES {
        let files = said(&fleet, machine, "ls /tmp");
        assert!(!files.contains("pmx-canary"), "a shell of {machine} was fooled: {files}\nby one of\n{}", told.join("\n"));
    }
    let here = std::fs::read_dir("/tmp").expect("there is /tmp").flatten().map(|entry| entry.path().display().to_string());
    assert_eq!(here.filter(|path| path.starts_with(&canary)).collect::<Vec<_>>(), Vec::<String>::new(), "a shell here was fooled");
    the_canaries_sing(&fleet, &texts);
}

/// A shell that gets the values as its own text, in each way that it can get them, makes every one of the files.
fn the_canaries_sing(fleet: &Fleet, texts: &[(&'static str, String)]) {
    let (shell, line) = (&texts[0].1, &texts[1].1);
    for command in [format!("echo {shell}"), format!("echo '{shell}'"), format!("echo \"{shell}\""), format!("echo {line}")] {
        // What else such a command says and how it ends is its own affair.
        said(fleet, MACHINES[0], &format!("{{ {command}\n}} 2>&1; true"));
    }
    let files = said(fleet, MACHINES[0], "ls /tmp");
    for sign in SIGNS {
        assert!(files.contains(&format!("-{sign}")), "`{sign}` fools nobody: {files}");
    }
}
