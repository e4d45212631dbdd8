//! The registry against the inventory, and every type's page and row against each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::lang::types::Kind;
use crate::model::contract::{At, Effect, Instance, TypeRow};
use crate::model::registry::{find, method, types};

/// Names as users know them: type, global arguments, methods with their arguments, specs.
type Inventory = (&'static str, &'static [&'static str], &'static [(&'static str, &'static [&'static str])], &'static [&'static str]);

const TLS: [&str; 3] = ["caFile", "fingerprint", "skipTlsVerify"];

const INVENTORY: &[Inventory] = &[
    (
        "proxmox/node",
        &["apiUrl", "node", "realm", "username", "password", "tokenId", "tokenSecret", TLS[0], TLS[1], TLS[2]],
        &[("auth", &[]), ("status", &[])],
        &["node", "status"],
    ),
    (
        "proxmox/vm",
        &["apiUrl", "node", "ticket", "csrfToken", TLS[0], TLS[1], TLS[2]],
        &[
            ("lookup", &["vmName"]),
            ("sync", &[]),
            ("create", &["vmName", "memory", "cores", "sockets", "diskSize", "diskStorage", "networkBridge", "osType"]),
            ("start", &["vmName", "waitSeconds", "pollInterval"]),
            ("stop", &["vmName", "mode", "timeout"]),
            ("delete", &["vmName", "purge"]),
            ("setBootOrder", &["vmName", "boot"]),
            ("setConfig", &["vmName", "config"]),
        ],
        &["vm"],
    ),
    (
        "ssh/host",
        &["host", "user", "port"],
        &[
            ("exec", &["command", "timeout", "as"]),
            ("writeFile", &["dest", "content", "mode"]),
            ("upload", &["source", "dest"]),
            ("waitForConnection", &["timeout"]),
        ],
        &["result", "file"],
    ),
    (
        "docker/compose",
        &["sshHost", "sshUser", "sshPort", "composePath", "serviceName"],
        &[("start", &["timeout"]), ("stop", &["timeout"]), ("update", &["timeout"]), ("status", &[])],
        &["result"],
    ),
    (
        "docker/engine",
        &["sshHost", "sshUser", "sshPort"],
        &[
            ("install", &[]),
            ("build", &["imageTag", "contextPath", "dockerfilePath", "inputs"]),
            ("run", &["containerName", "imageTag", "imageId", "ports", "volumes", "env", "envFile", "envDigest", "restart", "command"]),
            ("stop", &["containerName"]),
            ("inspect", &["containerName"]),
            ("exec", &["containerName", "command", "workdir"]),
        ],
        &["result", "image", "container"],
    ),
    (
        "minecraft/server",
        &["sshHost", "sshUser", "sshPort", "tmuxSession", "serverDir", "startScript", "logPath", "serverName", "rcon", "rconPort", "port"],
        &[
            ("say", &["message"]),
            ("warnShutdown", &["seconds"]),
            ("stopMinecraftServer", &["timeout"]),
            ("startMinecraftServer", &["timeout"]),
            ("status", &[]),
            ("op", &["player"]),
            ("deop", &["player"]),
        ],
        &["server"],
    ),
    ("nginx/stream", &["sshHost", "sshUser", "sshPort", "streamDir"], &[("configure", &["vmName", "targetIp", "portMap"])], &["proxy"]),
    (
        "pmx/repo",
        &["sshHost", "sshUser", "sshPort", "remoteDir"],
        &[("syncCode", &["excludes"]), ("syncBinary", &["binaryName", "remotePath", "sourceDir", "dynamic"]), ("syncSecrets", &["folder"])],
        &["repo"],
    ),
    ("tailscale/node", &["sshHost", "sshUser", "sshPort"], &[("install", &["authKey", "timeout"])], &["result"]),
    (
        "terraria/server",
        &["sshHost", "sshUser", "sshPort", "containerName", "port"],
        &[("say", &["message"]), ("warnShutdown", &["seconds"]), ("status", &[])],
        &["server"],
    ),
    (
        "alpine/install",
        &["sshHost", "sshUser", "sshPort"],
        &[("install", &["hostname", "password", "disk", "force", "timeout"])],
        &["result"],
    ),
    ("alpine/overlay", &["sshHost", "sshUser", "sshPort"], &[("deployApkovl", &["tftpHost", "tftpPath"])], &["overlay"]),
];

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    names.into_iter().collect()
}

#[test]
fn every_name_is_the_inventorys() {
    for (name, globals, methods, specs) in INVENTORY {
        let row = find(name).unwrap();
        let present = (row.globals)();
        assert_eq!(set(present.keys().map(String::as_str)), set(globals.iter().copied()), "global arguments of {name}");
        assert_eq!(set(row.methods.iter().map(|m| m.name)), set(methods.iter().map(|(m, _)| *m)), "methods of {name}");
        assert_eq!(set(row.specs.iter().map(|s| s.name)), set(specs.iter().copied()), "specs of {name}");
        for (called, arguments) in *methods {
            let present = (method(row, called).unwrap().arguments)();
            assert_eq!(set(present.keys().map(String::as_str)), set(arguments.iter().copied()), "arguments of {name}.{called}");
        }
    }
}

#[test]
fn attributes_are_the_inventorys() {
    for (ty, spec, names) in [
        ("proxmox/node", "node", &["username", "ticket", "csrfToken"][..]),
        ("proxmox/node", "status", &["cpu", "memory", "uptime", "version"]),
        ("proxmox/vm", "vm", &["vmid", "vmName", "node", "status", "ip", "ipSource", "maxmem", "maxcpu", "uuid", "wasStarted"]),
        ("ssh/host", "result", &["stdout", "stderr", "exitCode", "command", "host", "bytes", "files", "digest"]),
        ("ssh/host", "file", &["bytes", "digest"]),
        ("docker/compose", "result", &["services"]),
        ("minecraft/server", "server", &["serverRunning", "serverReady", "online", "max", "players", "version"]),
        ("nginx/stream", "proxy", &["ports", "file", "digest"]),
        ("pmx/repo", "repo", &["remoteDir", "files", "bytes", "moved", "deleted", "digest", "binaries"]),
        ("tailscale/node", "result", &["tailscaleIp", "dnsName", "state"]),
        ("alpine/overlay", "overlay", &["file", "bytes", "digest", "target"]),
        ("terraria/server", "server", &["serverRunning", "serverReady", "online", "max", "players", "version"]),
    ] {
        let attributes = (find(ty).unwrap().spec(spec).unwrap().attributes)();
        for name in names {
            assert!(attributes.contains_key(*name), "{ty} {spec} has no {name}");
        }
    }
}

#[test]
fn defaults_are_the_inventorys() {
    let shown = |ty: &str, name: &str, argument: &str| {
        let field = (method(find(ty).unwrap(), name).unwrap().arguments)()[argument].clone();
        field.default.map_or("none".to_owned(), |default| default.display())
    };
    for (argument, default) in [
        ("memory", "2048"),
        ("cores", "2"),
        ("sockets", "1"),
        ("diskSize", "32"),
        ("diskStorage", "\"local-lvm\""),
        ("networkBridge", "\"vmbr0\""),
        ("osType", "\"l26\""),
    ] {
        assert_eq!(shown("proxmox/vm", "create", argument), default, "{argument}");
    }
    assert_eq!((shown("proxmox/vm", "start", "waitSeconds"), shown("proxmox/vm", "stop", "timeout")), ("120".into(), "60".into()));
    assert_eq!((shown("proxmox/vm", "stop", "mode"), shown("proxmox/vm", "delete", "purge")), ("\"shutdown\"".into(), "false".into()));
    assert_eq!((shown("ssh/host", "exec", "timeout"), shown("ssh/host", "exec", "as")), ("60".into(), "\"result\"".into()));
    assert_eq!(
        (shown("ssh/host", "writeFile", "mode"), shown("ssh/host", "waitForConnection", "timeout")),
        ("\"0600\"".into(), "60".into())
    );
    assert_eq!(
        (shown("alpine/install", "install", "disk"), shown("alpine/install", "install", "force")),
        ("\"auto\"".into(), "false".into())
    );
    assert_eq!(shown("terraria/server", "warnShutdown", "seconds"), "30");
    let globals = (find("terraria/server").unwrap().globals)();
    assert_eq!(globals["containerName"].default.as_ref().map(|d| d.display()), Some("\"tmodloader\"".into()));
    for (method, argument, default) in
        [("warnShutdown", "seconds", "30"), ("stopMinecraftServer", "timeout", "90"), ("startMinecraftServer", "timeout", "180")]
    {
        assert_eq!(shown("minecraft/server", method, argument), default);
    }
    for (ty, argument, default) in [
        ("minecraft/server", "tmuxSession", "\"mons\""),
        ("minecraft/server", "serverDir", "\"~/mons\""),
        ("minecraft/server", "startScript", "\"./startserver.sh\""),
        ("minecraft/server", "port", "25565"),
        ("nginx/stream", "sshUser", "\"keeb\""),
        ("nginx/stream", "streamDir", "\"~/stream\""),
    ] {
        let default_of = (find(ty).unwrap().globals)()[argument].default.as_ref().map(|d| d.display());
        assert_eq!(default_of.as_deref(), Some(default), "{ty} {argument}");
    }
    assert_eq!((find("proxmox/node").unwrap().globals)()["realm"].default.as_ref().map(|d| d.display()), Some("\"pam\"".into()));
}

#[test]
fn effects_are_the_designs() {
    let effects: BTreeMap<&str, Effect> = [
        ("auth", Effect::Observe),
        ("status", Effect::Observe),
        ("lookup", Effect::Observe),
        ("sync", Effect::Observe),
        ("waitForConnection", Effect::Observe),
        ("inspect", Effect::Observe),
        ("create", Effect::Act),
        ("exec", Effect::Act),
        ("say", Effect::Act),
        ("warnShutdown", Effect::Act),
        ("delete", Effect::Destroy),
        ("alpine/install.install", Effect::Destroy),
    ]
    .into();
    for row in types() {
        for method in row.methods {
            let name = format!("{}.{}", row.name, method.name);
            let wanted = effects.get(name.as_str()).or_else(|| effects.get(method.name)).copied().unwrap_or(Effect::Converge);
            assert_eq!(method.effect, wanted, "{name}");
        }
    }
}

#[test]
fn secrets_and_credentials_are_marked() {
    let globals = (find("proxmox/vm").unwrap().globals)();
    for name in ["ticket", "csrfToken"] {
        assert!(globals[name].ty.secret && globals[name].ty.credential, "{name}");
        let attributes = (find("proxmox/node").unwrap().spec("node").unwrap().attributes)();
        assert!(attributes[name].ty.secret && attributes[name].ty.credential, "{name}");
    }
    let node = (find("proxmox/node").unwrap().globals)();
    assert!(node["password"].ty.credential && node["tokenSecret"].ty.credential);
    let env = (method(find("docker/engine").unwrap(), "run").unwrap().arguments)()["env"].clone();
    assert!(matches!(&env.ty.kind, Kind::Map(value) if value.secret), "{env:?}");
    assert!((find("minecraft/server").unwrap().globals)()["rcon"].ty.secret);
    let key = (method(find("tailscale/node").unwrap(), "install").unwrap().arguments)()["authKey"].clone();
    assert!(key.ty.credential && key.required);
    assert!((method(find("alpine/install").unwrap(), "install").unwrap().arguments)()["password"].ty.secret);
    let content = (method(find("ssh/host").unwrap(), "writeFile").unwrap().arguments)()["content"].clone();
    assert!(content.ty.secret && !content.ty.credential && content.required);
}

#[test]
fn a_host_must_be_given_but_may_be_null() {
    let all = [
        "alpine/install",
        "alpine/overlay",
        "docker/compose",
        "docker/engine",
        "minecraft/server",
        "nginx/stream",
        "pmx/repo",
        "tailscale/node",
        "terraria/server",
    ]
    .map(|ty| (ty, "sshHost"));
    for (ty, name) in all.into_iter().chain([("ssh/host", "host")]) {
        let field = (find(ty).unwrap().globals)()[name].clone();
        assert!(field.required && field.ty.nullable && field.ty.kind == Kind::String, "{ty} {field:?}");
    }
    let ip = (find("proxmox/vm").unwrap().spec("vm").unwrap().attributes)()["ip"].clone();
    assert!(ip.ty.nullable && !ip.required, "{ip:?}");
}

/// The example between the fences of a type's page.
fn example(row: &TypeRow) -> toml::Table {
    let text = row.doc.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    text.unwrap_or_else(|| panic!("{} has no example", row.name)).parse().unwrap_or_else(|e| panic!("{}: {e}", row.name))
}

#[test]
fn every_page_has_an_example_whose_names_exist() {
    for row in types() {
        let example = example(row);
        assert_eq!(example["type"].as_str(), Some(row.name));
        let globals = (row.globals)();
        let given = example["global"].as_table().unwrap();
        for key in given.keys() {
            assert!(globals.contains_key(key), "{}: the example sets {key}", row.name);
        }
        for (name, field) in &globals {
            assert!(!field.required || given.contains_key(name), "{}: the example lacks {name}", row.name);
        }
        for (name, arguments) in example.get("methods").and_then(|m| m.as_table()).into_iter().flatten() {
            let known = (method(row, name).unwrap().arguments)();
            for key in arguments.as_table().unwrap().keys() {
                assert!(known.contains_key(key), "{}.{name}: the example sets {key}", row.name);
            }
        }
    }
}

#[test]
fn every_row_fits_itself() {
    let names: Vec<&str> = types().iter().map(|row| row.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    for row in types() {
        let globals = (row.globals)();
        for spec in row.specs {
            let Some(observer) = spec.observer else { continue };
            let one = method(row, observer.one).unwrap();
            assert!(one.effect == Effect::Observe && one.writes.iter().any(|w| w.spec == spec.name), "{} {}", row.name, spec.name);
            let arguments = (one.arguments)();
            assert!(observer.argument.is_none_or(|argument| arguments.contains_key(argument)));
            // A refresh knows nothing but the instance's name.
            assert!(arguments.iter().all(|(name, field)| !field.required || observer.argument == Some(name)), "{}.{}", row.name, one.name);
            assert!(observer.all.is_none_or(|all| method(row, all).unwrap().writes.iter().any(|w| w.instance == Instance::All)));
        }
        for method in row.methods {
            let arguments = (method.arguments)();
            let known = |name: &str| arguments.contains_key(name) || globals.contains_key(name);
            assert!(!method.doc.is_empty() && arguments.values().all(|field| !field.doc.is_empty()), "{}.{}", row.name, method.name);
            for writes in method.writes {
                assert!(row.spec(writes.spec).is_some(), "{}.{} writes {}", row.name, method.name, writes.spec);
                assert!(!matches!(writes.instance, Instance::Argument(name) if !known(name)), "{}.{}", row.name, method.name);
            }
            for acts in method.acts {
                let good = match acts.at {
                    At::Host(name) => globals.contains_key(name),
                    At::Machine(writes) => method.writes.contains(&writes),
                    At::File(host, path) => known(host) && known(path),
                };
                assert!(good, "{}.{} acts at {:?}", row.name, method.name, acts.at);
            }
            assert!(!method.effect.acts() || !method.acts.is_empty(), "{}.{} acts nowhere", row.name, method.name);
            assert!(!method.phases.is_empty(), "{}.{} waits for nothing", row.name, method.name);
            for phase in method.phases {
                let whole = |name: &str| matches!(arguments[name].ty.kind, Kind::Int);
                // Only an observation may wait for nothing but its requests, each of which has a deadline of its own.
                let bounded = phase.seconds > 0 || (phase.argument.is_none() && !method.effect.acts());
                assert!(phase.argument.is_none_or(whole) && bounded, "{}.{}: {}", row.name, method.name, phase.name);
            }
        }
        for field in globals.values() {
            assert!(!field.doc.is_empty(), "{}", row.name);
        }
    }
}

#[test]
fn unknown_names_are_told_with_the_nearest() {
    let error = |name| find(name).map(|row| row.name).unwrap_err().to_string();
    assert_eq!(error("proxmox/vms"), "there is no model type `proxmox/vms`; did you mean `proxmox/vm`?");
    assert!(error("k8s").contains("; there are ") && error("k8s").contains("docker/compose, docker/engine, "));
    let row = find("proxmox/vm").unwrap();
    let missing = method(row, "strat").map(|method| method.name).unwrap_err().to_string();
    assert_eq!(missing, "proxmox/vm has no method `strat`; did you mean `start`?");
}

#[test]
fn every_method_has_its_row_in_the_inventory() {
    let page = include_str!("../../docs/inventory.md");
    let types_part = page.split("\n## ").find(|part| part.starts_with("Model types\n")).expect("the page lists the model types");
    let rows: Vec<&str> = types_part.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(rows.len(), set(rows.iter().copied()).len(), "no method has two rows");
    let present: BTreeSet<String> =
        types().iter().flat_map(|row| row.methods.iter().map(|method| format!("{}.{}", row.name, method.name))).collect();
    let listed = set(rows.iter().copied());
    assert_eq!(listed, set(present.iter().map(String::as_str)));
    assert_eq!(rows.len(), 41);
}
