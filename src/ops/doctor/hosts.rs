//! The hosts behind the definitions: whether a login works, whose key they show, and how long an empty command takes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Files, Finding, Health, Told};
use crate::exec::keeper::Keeper;
use crate::exec::view;
use crate::lang::definition::{Arguments, Definition};
use crate::lang::template::{Index, Root, Template};
use crate::name::ResourceName;
use crate::ops::front::Front;
use crate::ops::site::Site;
use crate::ops::world;
use crate::source::Diagnostic;
use crate::store::Store;
use crate::value::Value;
use crate::wire::Wire;
use crate::wire::command::Command;
use crate::wire::ssh::{Exec, Pinning, SshError, Target};

/// How long a login may take.
const LOGIN: Duration = Duration::from_secs(10);
/// An empty command that takes longer runs somebody's startup files.
const SLOW: Duration = Duration::from_millis(150);

/// What a definition says of its host.
enum Behind {
    /// A host by name.
    Named(String),
    /// The address of a machine.
    Machine(ResourceName),
    /// Known only with inputs.
    Later,
}

/// Logs in to each host once, whatever number of definitions means it.
pub(super) async fn look(site: &Site, front: &Front, project: &Files, tell: Told<'_>) -> Result<(), Vec<Diagnostic>> {
    let opened = world::open_or_create(site, front).map_err(|d| vec![d])?;
    let keeper = Keeper::start(opened.store);
    let wire = world::wire(site, front, &keeper).map_err(|d| vec![d])?;
    let mut seen: BTreeMap<(String, Option<String>), String> = BTreeMap::new();
    for definition in project.definitions.values() {
        let Some(behind) = behind(definition) else { continue };
        let topic = definition.name.clone();
        let target = match behind {
            Behind::Later => {
                tell(Finding::new(topic, Health::Note, "which host it means is an input; looked at when a build says so"));
                continue;
            }
            Behind::Named(host) => target(definition, format!("host:{host}"), host),
            Behind::Machine(name) => match machine(&keeper, &name).await {
                Ok((host, identity)) => target(definition, identity, host),
                Err(finding) => {
                    tell(Finding { topic, ..finding });
                    continue;
                }
            },
        };
        let key = (target.host.clone(), target.user.clone());
        if let Some(other) = seen.get(&key) {
            tell(Finding::good(topic, format!("the host of {other}")));
            continue;
        }
        seen.insert(key, topic.clone());
        tell(Finding { topic, ..one(&wire, &target).await });
    }
    Ok(())
}

/// The host argument of a definition; `None` for types that need none.
fn behind(definition: &Definition) -> Option<Behind> {
    let argument = definition.global.get("sshHost").or_else(|| definition.global.get("host"))?;
    Some(match &argument.template.value {
        Template::Literal(Value::String(host)) if !host.trim().is_empty() => Behind::Named(host.trim().to_owned()),
        Template::Expr(expr) => match &*expr.refs {
            [one] => match &*one.root {
                Root::Resource { def, spec, instance: Index::Name(instance), .. } => {
                    Behind::Machine(ResourceName::new(def.as_str(), spec.as_str(), instance.as_str()))
                }
                _ => Behind::Later,
            },
            _ => Behind::Later,
        },
        _ => Behind::Later,
    })
}

fn target(definition: &Definition, identity: String, host: String) -> Target {
    let literal = |arguments: &Arguments, name: &str| match arguments.get(name).map(|argument| argument.template.value.clone()) {
        Some(Template::Literal(value)) => Some(value),
        _ => None,
    };
    let text = |name: &str| literal(&definition.global, name).and_then(|value| value.as_str().map(str::to_owned));
    let port = ["sshPort", "port"].iter().find_map(|name| literal(&definition.global, name)?.as_int());
    // A game's `port` is the game's; only types whose host argument is `host` mean ssh by it.
    let port = if definition.global.contains_key("host") || definition.global.contains_key("sshPort") { port } else { None };
    let user = text("sshUser").or_else(|| text("user"));
    Target { host, port: port.and_then(|port| u16::try_from(port).ok()), user, identity, pinning: Pinning::Pinned }
}

/// The address and identity of a machine, as the store knows it.
async fn machine(keeper: &Keeper, name: &ResourceName) -> Result<(String, String), Finding> {
    let asked = name.clone();
    let read = move |store: &mut dyn Store| {
        let head = store.head(&asked)?;
        head.map(|head| view::attributes(store, None, &head)).transpose()
    };
    let attributes = match keeper.call(read).await {
        Ok(Some(attributes)) => attributes,
        Ok(None) => {
            return Err(Finding::new("", Health::Note, format!("{name} was never read")).help(format!("`pmx build {name}` reads it")));
        }
        Err(error) => return Err(Finding::new("", Health::Bad, error.to_string())),
    };
    let text = |field: &str| attributes.get(field).and_then(Value::as_str).map(str::to_owned);
    let Some(ip) = text("ip") else {
        let status = text("status").unwrap_or_else(|| "without an address".to_owned());
        return Err(Finding::new("", Health::Note, format!("{name} is {status}: there is no host to look at")));
    };
    let identity = text("uuid").map_or_else(|| format!("machine:{name}"), |uuid| format!("vm:{uuid}"));
    Ok((ip, identity))
}

async fn one(wire: &Wire, target: &Target) -> Finding {
    if let Err(error) = wire.ssh.wait(target, LOGIN).await {
        return refused(&error);
    }
    let began = wire.clock.elapsed();
    let empty = Exec::new(Command::script("true"), LOGIN);
    if let Err(error) = wire.ssh.exec(target, empty, &|_, _| {}).await {
        return refused(&error);
    }
    let took = wire.clock.elapsed().saturating_sub(began);
    let message = format!("{} lets us in; an empty command takes {} ms", target.host, took.as_millis());
    if took > SLOW {
        return Finding::new("", Health::Note, message)
            .help("startup files of the login shell (.bashrc, .profile) cost that at each command");
    }
    Finding::good("", message)
}

fn refused(error: &SshError) -> Finding {
    let finding = Finding::new("", Health::Bad, error.to_string());
    match error {
        SshError::KeyChanged { identity, .. } => finding.help(format!(
            "if the machine was reinstalled on purpose, `pmx doctor --forget {identity}`: the next login pins the key it shows then; else somebody is in between"
        )),
        SshError::Denied { .. } => finding.help("put your public key into the user's authorized_keys there, or set sshUser"),
        SshError::Connect { .. } => finding.help("is the machine up, and is sshd installed and running on it?"),
        _ => finding,
    }
}
